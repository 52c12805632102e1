#ifndef UVWS_SRC_LIVENESS_H_
#define UVWS_SRC_LIVENESS_H_

/* Whether there is still a peer: keepalive pings, and the deadlines of an open
 * connection. */

#include "connection.h"

void uvws__liveness_begin(uvws__conn_t* conn);
void uvws__liveness_end(uvws__conn_t* conn);

/* The loop's cached time in milliseconds, which may wrap. */
static inline uint32_t uvws__liveness_now(const uvws__conn_t* conn) {
  return (uint32_t)uv_now(conn->loop->uv);
}

/* Input came: `len` bytes of whatever it is; a frame's header counts as
 * UVWS__TINY of them. */
void uvws__liveness_look_closer(uvws__conn_t* conn, size_t len);
static inline void uvws__liveness_heard(uvws__conn_t* conn, size_t len) {
  if (len < UVWS__TINY || conn->pinged) {
    uvws__liveness_look_closer(conn, len);
  } else {
    conn->trickle = 0;
    conn->heard_at = uvws__liveness_now(conn);
  }
}

/* A message came or went. */
static inline void uvws__liveness_active(uvws__conn_t* conn) {
  if (conn->settings->idle_timeout > 0)
    conn->active_at = uvws__liveness_now(conn);
}

/* Reading starts again: silence until now was our own doing. */
void uvws__liveness_reading(uvws__conn_t* conn);

/* The deadline has passed. */
void uvws__liveness_look(uvws__conn_t* conn);

/* Writing has failed: what the peer sent before may still come, for a while. */
void uvws__liveness_mute(uvws__conn_t* conn);

/* The kernel did not take all. */
void uvws__liveness_blocked(uvws__conn_t* conn);

/* Whether a pong answers one of our own pings. */
bool uvws__liveness_take_pong(uvws__conn_t* conn, const void* data, size_t len);

#endif /* UVWS_SRC_LIVENESS_H_ */
