#include "blob.h"

#include <stdatomic.h>
#include <string.h>

#include "alloc.h"
#include "protocol/utf8.h"

/* The bytes never change after the blob is made, so any thread may read them;
 * the count, what is known of the text and the list of variants are atomic. Two
 * threads may validate or compress at the same time and will find the same: the
 * list then has two that are alike. */

enum { TEXT_UNKNOWN, TEXT_VALID, TEXT_INVALID };

struct uvws_blob_s {
  atomic_uint refs;
  atomic_uchar text;
  _Atomic(uvws__variant_t*) variants; /* only ever added to */
  size_t len;
  uint8_t* data; /* `bytes`, or a buffer that was adopted */
  uint8_t bytes[];
};

static uvws_blob_t* make(size_t inline_size, void* data, size_t len) {
  if (inline_size > SIZE_MAX - sizeof(uvws_blob_t)) return NULL;
  uvws_blob_t* blob = uvws__malloc(sizeof(*blob) + inline_size);
  if (blob == NULL) return NULL;
  atomic_init(&blob->refs, 1);
  atomic_init(&blob->text, TEXT_UNKNOWN);
  atomic_init(&blob->variants, NULL);
  blob->len = len;
  blob->data = data == NULL ? blob->bytes : data;
  return blob;
}

uvws_blob_t* uvws_blob_new(const void* data, size_t len) {
  uvws_blob_t* blob = make(len, NULL, len);
  if (blob != NULL && len > 0) memcpy(blob->bytes, data, len);
  return blob;
}

uvws_blob_t* uvws__blob_adopt(void* data, size_t len, bool is_text) {
  uvws_blob_t* blob = make(0, data, len);
  if (blob != NULL && is_text) uvws__blob_set_text(blob);
  return blob;
}

uvws_blob_t* uvws_blob_ref(uvws_blob_t* blob) {
  atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
  return blob;
}

void uvws_blob_unref(uvws_blob_t* blob) {
  if (blob == NULL ||
      atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) > 1)
    return;
  uvws__variant_t* variant = atomic_load(&blob->variants);
  while (variant != NULL) {
    uvws__variant_t* next = variant->next;
    uvws__free(variant);
    variant = next;
  }
  if (blob->data != blob->bytes) uvws__free(blob->data);
  uvws__free(blob);
}

const void* uvws_blob_data(const uvws_blob_t* blob) {
  return blob->data;
}

size_t uvws_blob_size(const uvws_blob_t* blob) {
  return blob->len;
}

bool uvws__blob_is_text(uvws_blob_t* blob) {
  unsigned char text = atomic_load_explicit(&blob->text, memory_order_relaxed);
  if (text == TEXT_UNKNOWN) {
    text =
        uvws__utf8_is_valid(blob->data, blob->len) ? TEXT_VALID : TEXT_INVALID;
    atomic_store_explicit(&blob->text, text, memory_order_relaxed);
  }
  return text == TEXT_VALID;
}

void uvws__blob_set_text(uvws_blob_t* blob) {
  atomic_store_explicit(&blob->text, TEXT_VALID, memory_order_relaxed);
}

uvws__variant_t* uvws__blob_variant(const uvws_blob_t* blob,
                                    const uvws__deflate_how_t* how) {
  uvws__variant_t* variant = atomic_load(&blob->variants);
  while (variant != NULL && !uvws__deflate_is_same(&variant->how, how))
    variant = variant->next;
  return variant;
}

uvws__variant_t* uvws__blob_add_variant(uvws_blob_t* blob,
                                        const uvws__deflate_how_t* how,
                                        const uint8_t* bytes, size_t len) {
  uvws__variant_t* variant = uvws__malloc(sizeof(*variant) + len);
  if (variant == NULL) return NULL;
  variant->how = *how;
  variant->len = len;
  if (len > 0) memcpy(variant->bytes, bytes, len);
  variant->next = atomic_load(&blob->variants);
  while (
      !atomic_compare_exchange_weak(&blob->variants, &variant->next, variant))
    continue;
  return variant;
}

static void* keep(void* object) {
  return uvws_blob_ref(object);
}

static void release(void* object) {
  uvws_blob_unref(object);
}

const uvws__keeper_t uvws__blob_keeper = {keep, release};
