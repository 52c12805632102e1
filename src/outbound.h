#ifndef UVWS_SRC_OUTBOUND_H_
#define UVWS_SRC_OUTBOUND_H_

/* From a send to the stream: framing and masking. */

#include "connection.h"

/* One data frame. */
typedef struct uvws__outgoing_s {
  uint8_t first_byte; /* opcode, and UVWS__FIN in the last of a message */
  const uv_buf_t* bufs;
  unsigned n;
  size_t len;        /* of all of them */
  uvws_blob_t* blob; /* what they belong to, or NULL */
  bool borrowed;     /* they stay until they are sent or lost */
  bool packed;       /* it was compressed, from `counts` bytes */
  unsigned flags;    /* of the caller: UVWS_COMPRESS, UVWS_NO_COMPRESS */
  size_t counts;     /* packed: towards bufferedAmount */
  uv_buf_t own;      /* packed: what bufs points to */
  uint8_t* owned;    /* packed: to be freed; or NULL */
} uvws__outgoing_t;

/* Exactly one type, and nothing that is unknown. */
bool uvws__flags_are_valid(unsigned flags);

/* The standard's checks before a message, or a part of one, is sent; in the
 * wrong state it is counted all the same. `in_parts` tells whether the message
 * is one that was begun. */
int uvws__check_send(uvws_t* ws, uint64_t len, bool in_parts);

/* The first byte of a message in one frame. */
static inline uint8_t uvws__first_byte(unsigned flags) {
  return UVWS__FIN | (flags & UVWS_TEXT ? UVWS__OP_TEXT : UVWS__OP_BINARY);
}

/* Checks, and queues, one message; its text has been checked. */
int uvws__send(uvws_t* ws, const void* data, size_t len, unsigned flags);

/* Queues one frame, which must have passed the check. */
int uvws__conn_send(uvws__conn_t* conn, const uvws__outgoing_t* out);

/* Queues a ping whose pong will tell the round-trip time; `len` <= 125. */
int uvws__conn_send_ping(uvws__conn_t* conn, const void* data, size_t len);

/* Queues one that is not remembered. */
int uvws__conn_send_keepalive(uvws__conn_t* conn, const void* data, size_t len);

/* Queues the answer to a ping, or keeps it until the queue is empty: then only
 * the last one is sent, as RFC 6455, 5.5.3 allows. */
int uvws__conn_send_pong(uvws__conn_t* conn, const void* data, size_t len);
void uvws__conn_send_waiting_pong(uvws__conn_t* conn);

/* The time since the ping that this pong answers, in nanoseconds; 0 when it
 * answers none. */
uint64_t uvws__conn_take_pong(uvws__conn_t* conn, const void* data, size_t len);

/* Queues our one close frame: code 0 for an empty one, `len` <= 123. */
int uvws__conn_send_close(uvws__conn_t* conn, unsigned code, const char* reason,
                          size_t len);

#endif /* UVWS_SRC_OUTBOUND_H_ */
