#ifndef UVWS_SRC_BLOB_H_
#define UVWS_SRC_BLOB_H_

#include <stdbool.h>

#include "net/stream.h"
#include "uvws.h"

/* A blob that takes over `data`, which came from uvws__malloc(); NULL when
 * there is no memory, and `data` is still the caller's. */
uvws_blob_t* uvws__blob_adopt(void* data, size_t len, bool is_text);

/* Whether the bytes are UTF-8; found out once. */
bool uvws__blob_is_text(uvws_blob_t* blob);
void uvws__blob_set_text(uvws_blob_t* blob);

/* For uvws__stream_send(). */
extern const uvws__keeper_t uvws__blob_keeper;

#endif /* UVWS_SRC_BLOB_H_ */
