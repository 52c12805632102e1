#include "liveness.h"

#include <string.h>

#include "outbound.h"

/* One deadline on the wheel for all of a connection's. Input and output only
 * note when they happened; when the deadline passes, check() works out from the
 * notes what is due and when to look again.
 *
 * A sign of life is a frame header, UVWS__TINY bytes of payload, or the kernel
 * taking bytes that it had refused, for then the peer must have read some. A
 * byte now and then is none, and neither is what the kernel takes at once.
 *
 * A process that slept finds its deadlines passed before it has looked at the
 * input that came meanwhile. So nobody is declared dead the first time: the
 * loop polls once in between. */

static const char PREFIX[] = {'u', 'v', 'w', 's'};

enum { PING_SIZE = sizeof(PREFIX) + 4 };

static void ping_payload(const uvws__conn_t* conn, uint8_t out[PING_SIZE]) {
  memcpy(out, PREFIX, sizeof(PREFIX));
  memcpy(out + sizeof(PREFIX), &conn->n_pings, 4);
}

static void send_ping(uvws__conn_t* conn) {
  uint8_t payload[PING_SIZE];
  conn->n_pings++;
  ping_payload(conn, payload);
  /* Without memory for it the silence goes on, and the deadline too. */
  (void)uvws__conn_send_keepalive(conn, payload, sizeof(payload));
  /* Nor is it timed then. */
  if (uvws__conn_need_extra(conn)) conn->extra->ping_sent = uv_hrtime();
}

bool uvws__liveness_take_pong(uvws__conn_t* conn, const void* data,
                              size_t len) {
  uint8_t payload[PING_SIZE];
  ping_payload(conn, payload);
  if (conn->extra->ping_sent == 0 || len != sizeof(payload) ||
      memcmp(data, payload, len) != 0)
    return false;
  uint64_t elapsed = uv_hrtime() - conn->extra->ping_sent;
  conn->rtt = elapsed > 0 ? elapsed : 1;
  conn->extra->ping_sent = 0;
  uvws__conn_spare_extra(conn);
  return true;
}

static void sign_of_life(uvws__conn_t* conn) {
  conn->heard_at = uvws__liveness_now(conn);
  conn->pinged = false;
}

/* Whether `limit` has passed since `at`; else *due, the time until the next
 * look, is that of this limit at the latest. */
static bool passed(uint32_t* due, uint32_t now, uint32_t at, uint32_t limit) {
  uint32_t elapsed = now - at;
  if (limit == 0) return false;
  if (elapsed >= limit) return true;
  if (*due == 0 || limit - elapsed < *due) *due = limit - elapsed;
  return false;
}

static void see_output(uvws__conn_t* conn, uint32_t now) {
  uint32_t taken = uvws__stream_taken_late(conn->stream);
  if (taken != conn->taken_late && !conn->mute) {
    conn->taken_at = now;
    sign_of_life(conn);
  }
  conn->taken_late = taken;
  if (conn->stream->outbox == NULL) conn->blocked = false;
}

static uvws__failure_t judge(uvws__conn_t* conn, uint32_t* due, uint32_t now) {
  const uvws__settings_t* settings = conn->settings;
  if (conn->read_stopped) sign_of_life(conn);
  if (!conn->pinged &&
      passed(due, now, conn->heard_at, settings->ping_interval)) {
    send_ping(conn);
    conn->pinged = true;
    conn->heard_at = now;
  }
  /* Without a deadline it is a ping now and then, whatever comes of it. */
  if (conn->pinged && settings->ping_timeout == 0) {
    sign_of_life(conn);
    (void)passed(due, now, now, settings->ping_interval);
  }
  if (conn->pinged && passed(due, now, conn->heard_at, settings->ping_timeout))
    return UVWS__FAIL_PING_TIMEOUT;
  /* Seen to move or not, it is looked at often enough to be found late by a
   * quarter at most. */
  if (conn->blocked && passed(due, now, conn->taken_at, settings->send_timeout))
    return UVWS__FAIL_SEND_TIMEOUT;
  if (conn->blocked && settings->send_timeout > 0)
    (void)passed(due, now, now, settings->send_timeout / 4 + 1);
  if (conn->mute && passed(due, now, conn->taken_at, settings->close_timeout))
    return UVWS__FAIL_CLOSE_TIMEOUT;
  if (passed(due, now, conn->active_at, settings->idle_timeout))
    return UVWS__FAIL_IDLE_TIMEOUT;
  return UVWS__OK;
}

void uvws__liveness_look(uvws__conn_t* conn) {
  uint32_t due = 0;
  uint32_t now = uvws__liveness_now(conn);
  see_output(conn, now);
  uvws__failure_t failure = judge(conn, &due, now);
  if (failure == UVWS__OK) {
    conn->suspect = false;
    uvws__loop_set_deadline(conn->loop, &conn->deadline, due);
    return;
  }
  if (!conn->suspect) {
    conn->suspect = true;
    uvws__loop_set_deadline(conn->loop, &conn->deadline, 1);
    return;
  }
  uvws__cause_t cause = failure == UVWS__FAIL_CLOSE_TIMEOUT
                            ? uvws__cause_of_status(conn->stream->write_status)
                            : uvws__cause_of(failure);
  /* An idle peer can be told. */
  uvws__conn_event(conn,
                   failure == UVWS__FAIL_IDLE_TIMEOUT ? UVWS__EVENT_FAIL
                                                      : UVWS__EVENT_DEADLINE,
                   &cause);
}

/* Has it looked at soon, but from nobody's call, and after the next poll. */
static void look_soon(uvws__conn_t* conn) {
  if (conn->state == UVWS__STATE_OPEN)
    uvws__loop_set_deadline(conn->loop, &conn->deadline, 1);
}

/* The deadline of a ping that was answered is too late for the next one. */
void uvws__liveness_look_closer(uvws__conn_t* conn, size_t len) {
  bool pinged = conn->pinged;
  if (len < UVWS__TINY - (size_t)conn->trickle) {
    conn->trickle = (uint16_t)(conn->trickle + len);
    return;
  }
  conn->trickle = 0;
  sign_of_life(conn);
  if (pinged) look_soon(conn);
}

void uvws__liveness_reading(uvws__conn_t* conn) {
  sign_of_life(conn);
  look_soon(conn);
}

void uvws__liveness_begin(uvws__conn_t* conn) {
  conn->heard_at = conn->active_at = uvws__liveness_now(conn);
  uvws__liveness_look(conn);
}

void uvws__liveness_end(uvws__conn_t* conn) {
  uvws__wheel_cancel(&conn->deadline);
}

void uvws__liveness_blocked(uvws__conn_t* conn) {
  if (conn->blocked || conn->mute) return;
  conn->blocked = true;
  conn->taken_at = uvws__liveness_now(conn);
  conn->taken_late = uvws__stream_taken_late(conn->stream);
  look_soon(conn);
}

void uvws__liveness_mute(uvws__conn_t* conn) {
  if (conn->mute) return;
  conn->mute = true;
  conn->blocked = false;
  conn->taken_at = uvws__liveness_now(conn);
  look_soon(conn);
}
