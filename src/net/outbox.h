#ifndef UVWS_SRC_NET_OUTBOX_H_
#define UVWS_SRC_NET_OUTBOX_H_

/* What a stream could not give the kernel yet: bytes in chunks, and beside them
 * the marks that say which of the bytes bufferedAmount counts. Two queues that
 * advance by the same bytes; no libuv call is made here. */

#include <stdbool.h>

#include "net/loop.h"
#include "net/stream.h"

typedef struct uvws__chunk_s uvws__chunk_t;

typedef struct uvws__outbox_s {
  uvws__spares_t* spares; /* where blocks come from, or NULL */
  uvws__chunk_t* first;
  uvws__chunk_t* last;
  uvws__chunk_t* unsent; /* the first chunk that libuv does not have yet */
  uint64_t unsent_bytes;
  uint64_t submitted; /* bytes in the write that libuv has */
  uint64_t in_flight; /* bytes that libuv has and that are not yet settled */
  uvws__mark_t* marks;
  unsigned first_mark;
  unsigned n_marks;
  unsigned mark_capacity;
  bool writing; /* `write` is in use */
  uv_write_t write;
} uvws__outbox_t;

uvws__outbox_t* uvws__outbox_new(uvws__spares_t* spares);
void uvws__outbox_free(uvws__outbox_t* outbox);

/* Adds a piece. Contiguous room for all of its head + body bytes, or NULL. */
uint8_t* uvws__outbox_reserve(uvws__outbox_t* outbox, const uvws__mark_t* mark);

/* Adds a piece whose body stays where it is: kept by a reference to `object`,
 * or, without a keeper, by whoever asked. With `whole` it counts as that. */
bool uvws__outbox_refer(uvws__outbox_t* outbox, const uint8_t* head,
                        size_t head_len, const uv_buf_t* body, unsigned n,
                        const uvws__keeper_t* keeper, void* object,
                        uint64_t whole);

/* Adds a copy of `len` bytes that were marked elsewhere: what the buffers have
 * behind the first `skip`. */
bool uvws__outbox_append(uvws__outbox_t* outbox, const uv_buf_t* bufs,
                         size_t skip, size_t len, const uvws__mark_t* marks,
                         unsigned n_marks);

/* Takes `bytes` off the front of an array of marks: *first and *n move on.
 * Returns the body bytes among them. */
uint64_t uvws__marks_take(uvws__mark_t* marks, unsigned* first, unsigned* n,
                          uint64_t bytes);

/* The unsent bytes as at most `max` buffers; returns how many. */
unsigned uvws__outbox_buffers(const uvws__outbox_t* outbox, uv_buf_t* bufs,
                              unsigned max);

/* The kernel took `n` unsent bytes directly: frees what is done. Returns the
 * body bytes among them. */
uint64_t uvws__outbox_taken(uvws__outbox_t* outbox, uint64_t n);

/* libuv has the first `n` buffers' bytes now. */
void uvws__outbox_submit(uvws__outbox_t* outbox, unsigned n);

/* The kernel took `n` of the bytes in flight. Returns the body bytes. */
uint64_t uvws__outbox_settle(uvws__outbox_t* outbox, uint64_t n);

/* libuv has given back all that was submitted: frees it. */
void uvws__outbox_returned(uvws__outbox_t* outbox);

/* Frees what libuv does not have. */
void uvws__outbox_drop_unsent(uvws__outbox_t* outbox);

bool uvws__outbox_is_empty(const uvws__outbox_t* outbox);

#endif /* UVWS_SRC_NET_OUTBOX_H_ */
