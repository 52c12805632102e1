#include "protocol/deflate.h"

#include <string.h>
#define ZLIB_CONST
#include <zlib.h>

#include "alloc.h"

/* A message is compressed to an end that is a byte's (Z_SYNC_FLUSH), and the
 * empty block that makes it one is left out: 00 00 ff ff. Whoever reads the
 * message adds it again, and must then stand between two blocks.
 *
 * zlib does not compress with a window of 256 bytes. With one of 512 it looks
 * back at most 250 bytes (its MAX_DIST), which a peer with 256 can follow. */

static const uint8_t tail[] = {0x00, 0x00, 0xFF, 0xFF};

/* All memory of a stream is one block, of the size that zlib's versions are
 * known to need (zconf.h); what needs more is allocated. Freed piece by piece
 * between others' memory it would stay with the process: so its pages are given
 * back first. */
typedef struct arena_s {
  uint8_t* bytes;
  size_t used;
  size_t size;
} arena_t;

enum { STATE_SIZE = 16 * 1024, ALIGNMENT = 16 };

static voidpf zalloc(voidpf opaque, uInt n, uInt size) {
  arena_t* arena = opaque;
  size_t len = ((size_t)n * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (len > arena->size - arena->used) return uvws__calloc(n, size);
  arena->used += len;
  return arena->bytes + (arena->used - len);
}

static void zfree(voidpf opaque, voidpf address) {
  const arena_t* arena = opaque;
  uintptr_t at = (uintptr_t)address, start = (uintptr_t)arena->bytes;
  if (at < start || at >= start + arena->size) uvws__free(address);
}

static bool make_arena(arena_t* arena, size_t size) {
  arena->bytes = uvws__malloc(size);
  arena->size = size;
  return arena->bytes != NULL;
}

static void free_arena(arena_t* arena) {
  if (arena->bytes != NULL) uvws__give_back(arena->bytes, arena->size);
  uvws__free(arena->bytes);
}

/* ---- compression ---- */

struct uvws__deflater_s {
  z_stream z;
  arena_t arena;
};

bool uvws__deflate_is_same(const uvws__deflate_how_t* a,
                           const uvws__deflate_how_t* b) {
  return a->level == b->level && a->memory_level == b->memory_level &&
         a->strategy == b->strategy && a->window_bits == b->window_bits;
}

static void destroy_deflater(uvws__deflater_t* deflater) {
  free_arena(&deflater->arena);
  uvws__free(deflater);
}

static int bits_of(const uvws__deflate_how_t* how) {
  return how->window_bits < 9 ? 9 : how->window_bits;
}

size_t uvws__deflater_size(const uvws__deflate_how_t* how) {
  return STATE_SIZE + ((size_t)4 << bits_of(how)) +
         ((size_t)2 << (how->memory_level + 7)) +
         ((size_t)5 << (how->memory_level + 6));
}

uvws__deflater_t* uvws__deflater_new(const uvws__deflate_how_t* how) {
  uvws__deflater_t* deflater = uvws__calloc(1, sizeof(*deflater));
  if (deflater == NULL) return NULL;
  deflater->z.zalloc = zalloc;
  deflater->z.zfree = zfree;
  deflater->z.opaque = &deflater->arena;
  if (make_arena(&deflater->arena, uvws__deflater_size(how)) &&
      deflateInit2(&deflater->z, how->level, Z_DEFLATED, -bits_of(how),
                   how->memory_level, how->strategy) == Z_OK)
    return deflater;
  destroy_deflater(deflater);
  return NULL;
}

void uvws__deflater_free(uvws__deflater_t* deflater) {
  if (deflater == NULL) return;
  deflateEnd(&deflater->z);
  destroy_deflater(deflater);
}

void uvws__deflater_reset(uvws__deflater_t* deflater) {
  deflateReset(&deflater->z);
}

static bool grow(uvws__bytes_t* out, size_t more) {
  size_t capacity = 2 * out->capacity + more + 64;
  uint8_t* data =
      out->lent ? uvws__malloc(capacity) : uvws__realloc(out->data, capacity);
  if (data == NULL) return false;
  if (out->lent) memcpy(data, out->data, out->len);
  out->data = data;
  out->capacity = capacity;
  out->lent = false;
  return true;
}

/* Until zlib leaves some of the room, there is more to come. Six bytes are what
 * a flush may need at once (zlib.h). */
static bool run(uvws__deflater_t* deflater, int flush, uvws__bytes_t* out) {
  z_stream* z = &deflater->z;
  do {
    if (out->capacity - out->len < 16 && !grow(out, z->avail_in / 4))
      return false;
    size_t room = out->capacity - out->len;
    z->next_out = out->data + out->len;
    z->avail_out = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    uInt before = z->avail_out;
    deflate(z, flush);
    out->len += before - z->avail_out;
  } while (z->avail_out == 0 || z->avail_in > 0);
  return true;
}

static bool add(uvws__deflater_t* deflater, const uint8_t* data, size_t len,
                int flush, uvws__bytes_t* out) {
  do {
    uInt part = len > UINT32_MAX ? UINT32_MAX : (uInt)len;
    deflater->z.next_in = data;
    deflater->z.avail_in = part;
    if (part > 0) data += part;
    len -= part;
    if (!run(deflater, len > 0 ? Z_NO_FLUSH : flush, out)) return false;
  } while (len > 0);
  return true;
}

/* RFC 7692, 7.2.1. A flush right after another one writes nothing: then the
 * message ends in one more empty block, whose tail is left out. */
static bool cut_tail(uvws__bytes_t* out, size_t start) {
  if (out->len - start >= sizeof(tail)) {
    out->len -= sizeof(tail);
    return true;
  }
  if (out->len == out->capacity && !grow(out, 1)) return false;
  out->data[out->len++] = 0;
  return true;
}

bool uvws__deflater_add(uvws__deflater_t* deflater, const uint8_t* data,
                        size_t len, uvws__deflate_flush_t flush,
                        uvws__bytes_t* out) {
  size_t start = out->len;
  bool done = add(deflater, data, len,
                  flush == UVWS__DEFLATE_ON ? Z_NO_FLUSH : Z_SYNC_FLUSH, out);
  if (done && flush == UVWS__DEFLATE_END) done = cut_tail(out, start);
  if (!done) uvws__deflater_reset(deflater);
  return done;
}

/* ---- decompression ---- */

struct uvws__inflater_s {
  z_stream z;
  arena_t arena;
  bool last;    /* the tail follows what was fed */
  bool at_tail; /* it is being read */
  bool between; /* two blocks, as of the last byte that was read */
};

static void destroy_inflater(uvws__inflater_t* inflater) {
  free_arena(&inflater->arena);
  uvws__free(inflater);
}

size_t uvws__inflater_size(unsigned window_bits) {
  return STATE_SIZE + ((size_t)1 << window_bits);
}

uvws__inflater_t* uvws__inflater_new(unsigned window_bits) {
  uvws__inflater_t* inflater = uvws__calloc(1, sizeof(*inflater));
  if (inflater == NULL) return NULL;
  inflater->z.zalloc = zalloc;
  inflater->z.zfree = zfree;
  inflater->z.opaque = &inflater->arena;
  if (make_arena(&inflater->arena, uvws__inflater_size(window_bits)) &&
      inflateInit2(&inflater->z, -(int)window_bits) == Z_OK)
    return inflater;
  destroy_inflater(inflater);
  return NULL;
}

void uvws__inflater_free(uvws__inflater_t* inflater) {
  if (inflater == NULL) return;
  inflateEnd(&inflater->z);
  destroy_inflater(inflater);
}

void uvws__inflater_reset(uvws__inflater_t* inflater) {
  inflateReset(&inflater->z);
  inflater->z.avail_in = 0;
}

void uvws__inflater_feed(uvws__inflater_t* inflater, const uint8_t* data,
                         size_t len, bool last) {
  inflater->z.next_in = data;
  inflater->z.avail_in = (uInt)len;
  inflater->last = last;
  inflater->at_tail = false;
}

/* RFC 7692, 7.2.2, 1. */
static bool feed_tail(uvws__inflater_t* inflater) {
  if (!inflater->last || inflater->at_tail) return false;
  inflater->z.next_in = tail;
  inflater->z.avail_in = sizeof(tail);
  inflater->at_tail = true;
  return true;
}

/* zlib.h, data_type: 128 is set between two blocks, and the lower bits count
 * those that are left over in the last byte. */
static bool is_between_blocks(const uvws__inflater_t* inflater) {
  return (inflater->z.data_type & 128) && (inflater->z.data_type & 63) == 0;
}

/* Without input zlib may still have output, but it would forget where it
 * stands. A block may say that it is the last one (7.2.3.4); more follows all
 * the same, and may refer to what came before it. */
static int inflate_some(uvws__inflater_t* inflater) {
  z_stream* z = &inflater->z;
  bool had_input = z->avail_in > 0;
  int status = inflate(z, Z_SYNC_FLUSH);
  if (had_input)
    inflater->between = status == Z_STREAM_END || is_between_blocks(inflater);
  if (status == Z_STREAM_END) inflateResetKeep(z);
  return status == Z_STREAM_END || status == Z_BUF_ERROR ? Z_OK : status;
}

uvws__inflated_t uvws__inflater_take(uvws__inflater_t* inflater, uint8_t* out,
                                     size_t* len) {
  z_stream* z = &inflater->z;
  size_t room = *len;
  *len = 0;
  z->next_out = out;
  z->avail_out = (uInt)room;
  while (!(inflater->at_tail && z->avail_in == 0 && inflater->between)) {
    int status = inflate_some(inflater);
    *len = room - z->avail_out;
    if (status == Z_MEM_ERROR) return UVWS__INFLATED_NO_MEMORY;
    if (status != Z_OK) return UVWS__INFLATED_FAILED;
    if (z->avail_out == 0) return UVWS__INFLATED_FULL;
    if (z->avail_in > 0 || feed_tail(inflater)) continue;
    if (!inflater->last) return UVWS__INFLATED_MORE;
    if (!inflater->between) return UVWS__INFLATED_FAILED;
  }
  return UVWS__INFLATED_END;
}

size_t uvws__inflater_left(const uvws__inflater_t* inflater,
                           const uint8_t** data) {
  *data = inflater->z.next_in;
  return inflater->at_tail ? 0 : inflater->z.avail_in;
}

void uvws__inflater_move(uvws__inflater_t* inflater, const uint8_t* data) {
  inflater->z.next_in = data;
}
