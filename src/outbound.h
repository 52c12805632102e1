#ifndef UVWS_SRC_OUTBOUND_H_
#define UVWS_SRC_OUTBOUND_H_

/* From a send to the stream: framing and masking. */

#include "connection.h"

/* Queues one message. `blob`, when not NULL, is what `data` belongs to. */
int uvws__conn_send(uvws__conn_t* conn, uint8_t opcode, const void* data,
                    size_t len, uvws_blob_t* blob);

/* Queues a ping whose pong will tell the round-trip time; `len` <= 125. */
int uvws__conn_send_ping(uvws__conn_t* conn, const void* data, size_t len);

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
