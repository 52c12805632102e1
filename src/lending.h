#ifndef UVWS_SRC_LENDING_H_
#define UVWS_SRC_LENDING_H_

/* The receivers of a loop's connections, which are lent: one that is quiet has
 * none. */

#include "connection.h"

/* The connection has a receiver from now on: false when there is no memory. */
bool uvws__lending_begin(uvws__conn_t* conn);

/* All input was taken: between two messages the receiver goes back. */
void uvws__lending_end(uvws__conn_t* conn);

/* It goes back with whatever it holds; none is fine. */
void uvws__lending_drop(uvws__conn_t* conn);

/* Who has it. */
uvws__conn_t* uvws__lending_conn(uvws__receiver_t* receiver);

/* The frames that the connection has received. */
static inline uint64_t uvws__lending_frames(const uvws__conn_t* conn) {
  return conn->frames_received +
         (conn->receiver == NULL ? 0 : conn->receiver->frames);
}

#endif /* UVWS_SRC_LENDING_H_ */
