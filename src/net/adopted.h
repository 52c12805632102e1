#ifndef UVWS_SRC_NET_ADOPTED_H_
#define UVWS_SRC_NET_ADOPTED_H_

/* Streams that somebody else has opened, and bytes that he has read. */

#include <uv/tree.h>

#include "net/stream.h"

/* What is given back, in the loop's tree of such streams. */
typedef struct uvws__adopted_s {
  RB_ENTRY(uvws__adopted_s) entry;
  const uv_handle_t* handle;
  void* data;                    /* the owner's */
  void (*release)(uv_stream_t*); /* or NULL */
} uvws__adopted_t;

/* Bytes that were read before the stream came to us. */
typedef struct uvws__early_s {
  uvws__stream_t* stream;
  uvws__deferred_t deferred;
  size_t start; /* bytes before are used up */
  size_t len;
  uint8_t bytes[];
} uvws__early_t;

/* What is to be taken over: a handle or, when that is NULL, a descriptor. */
typedef struct uvws__source_s {
  uv_stream_t* handle;
  void (*release)(uv_stream_t*); /* or NULL */
  uv_os_sock_t fd;
  uvws__transport_t transport; /* of the descriptor, once it was checked */
} uvws__source_t;

/* Whether it can be, on this loop: 0, or what uvws/adopt.h says. */
int uvws__source_check(uvws__source_t* source, const uv_loop_t* uv);

/* Taking over is two steps, so that whatever else can fail may fail in between,
 * when the source is still what it was: a stream without an owner, and the
 * source in it. The second fails only for a descriptor that the loop refuses.
 */
int uvws__source_prepare(const uvws__source_t* source, uvws__loop_t* loop,
                         uvws__stream_t** stream);
int uvws__source_take(const uvws__source_t* source, uvws__stream_t* stream);

/* Instead of the second, or when it has failed. */
void uvws__source_leave(const uvws__source_t* source, uvws__stream_t* stream);

/* Bytes, copied, that are to be read before all others: to be called while
 * reading is stopped. False when there is no memory. */
bool uvws__stream_unread(uvws__stream_t* stream, const void* data, size_t len);

/* ---- for net/stream.c ---- */

bool uvws__stream_is_adopted(const uv_handle_t* handle);
void uvws__stream_give_back(uvws__stream_t* stream);

#endif /* UVWS_SRC_NET_ADOPTED_H_ */
