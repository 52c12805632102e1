#ifndef UVWS_SRC_BLOB_H_
#define UVWS_SRC_BLOB_H_

#include <stdbool.h>

#include "net/stream.h"
#include "protocol/deflate.h"
#include "uvws.h"

/* A blob that takes over `data`, which came from uvws__malloc(); NULL when
 * there is no memory, and `data` is still the caller's. */
uvws_blob_t* uvws__blob_adopt(void* data, size_t len, bool is_text);

/* Whether the bytes are UTF-8; found out once. */
bool uvws__blob_is_text(uvws_blob_t* blob);
void uvws__blob_set_text(uvws_blob_t* blob);

/* The bytes compressed in one way; `len` 0: they did not become fewer. */
typedef struct uvws__variant_s {
  struct uvws__variant_s* next;
  uvws__deflate_how_t how;
  size_t len;
  uint8_t bytes[];
} uvws__variant_t;

/* NULL when there is none yet; the second when there is no memory. */
uvws__variant_t* uvws__blob_variant(const uvws_blob_t* blob,
                                    const uvws__deflate_how_t* how);
uvws__variant_t* uvws__blob_add_variant(uvws_blob_t* blob,
                                        const uvws__deflate_how_t* how,
                                        const uint8_t* bytes, size_t len);

/* For uvws__stream_send(). */
extern const uvws__keeper_t uvws__blob_keeper;

#endif /* UVWS_SRC_BLOB_H_ */
