#include "flow.h"

#include <string.h>

#include "alloc.h"
#include "inbound.h"
#include "liveness.h"
#include "outbound.h"
#include "sending.h"
#include "server.h"

/* Out. `full` latches when the queue passes its high-water mark, `starved` when
 * the server's budget refuses a send; both are cleared in one place, with the
 * `drain` event, so that each crossing has exactly one. The mark is only looked
 * at after the kernel was offered everything: what merely waits for the end of
 * the turn says nothing about the peer. The budget is charged with what really
 * waits, by the difference to what it was charged with before.
 *
 * In. While reading is stopped nothing is parsed, control frames included; what
 * had been read already waits in `held`, as it came. */

struct uvws__held_s {
  size_t start; /* bytes before have been parsed */
  size_t len;
  uint8_t bytes[];
};

void uvws__flow_free(uvws__conn_t* conn) {
  uvws__free(conn->extra->held);
  uvws__sending_free(conn);
}

/* ---- out ---- */

/* What cannot be noted is not charged either. */
static void charge(uvws__conn_t* conn, uint64_t waiting) {
  uint64_t before = conn->extra->charged;
  if (waiting == before || !uvws__conn_need_extra(conn)) return;
  conn->extra->charged = waiting;
  if (waiting > before)
    uvws__budget_take(conn->settings->budget, waiting - before, UVWS__FOR_ANY);
  else
    uvws__budget_give(conn->settings->budget, before - waiting, UVWS__FOR_ANY);
}

/* What the kernel has refused so far. */
static uint64_t waiting_in(const uvws__conn_t* conn) {
  return conn->stream->outbox == NULL ? 0
                                      : uvws__stream_queue_size(conn->stream);
}

static bool has_room(const uvws__conn_t* conn, uint64_t len) {
  bool is_slow = conn->stream->outbox != NULL;
  return uvws__budget_allows(conn->settings->budget, len,
                             is_slow ? UVWS__FOR_SLOW : UVWS__FOR_ANY);
}

uint64_t uvws__flow_most(const uvws__conn_t* conn) {
  const uvws__budget_t* budget = conn->settings->budget;
  return budget == NULL || budget->max == 0 ? UINT64_MAX : budget->max;
}

int uvws__flow_admit(uvws__conn_t* conn, uint64_t len) {
  if (len > uvws__flow_most(conn)) return UVWS_ETOOBIG;
  if (conn->full && conn->settings->high_water_policy != UVWS_HIGH_WATER_TELL) {
    if (conn->settings->high_water_policy == UVWS_HIGH_WATER_CLOSE)
      uvws__conn_fail(conn, UVWS__FAIL_HIGH_WATER);
    return UV_ENOBUFS;
  }
  bool admitted = has_room(conn, uvws__stream_corked(conn->stream) + len);
  if (conn->extra->wanted != 0) conn->extra->wanted = 0;
  if (admitted) return 0;
  /* Without memory for it `drain` comes as soon as there is any room. */
  if (uvws__conn_need_extra(conn)) conn->extra->wanted = len;
  conn->starved = true;
  /* What this turn has queued may be gone when it ends. */
  if (uvws__stream_is_in_turn(conn->stream)) uvws__stream_wake(conn->stream);
  return UV_ENOBUFS;
}

void uvws__flow_queued(uvws__conn_t* conn) {
  uvws__liveness_active(conn);
  /* What the kernel refuses is charged: much is offered to it at once, but in a
   * read callback, which ends soon. */
  if (conn->loop->reader == NULL &&
      uvws__stream_corked(conn->stream) >= UVWS__CORK_PIECE)
    uvws__stream_flush(conn->stream);
  /* A peer that keeps up has no more than the cork. */
  if (conn->stream->outbox == NULL &&
      conn->settings->high_water >= UVWS__CORK_SIZE)
    return;
  if (uvws__stream_queue_size(conn->stream) > conn->settings->high_water) {
    uvws__stream_flush(conn->stream);
    if (uvws__stream_queue_size(conn->stream) > conn->settings->high_water)
      conn->full = true;
  }
  if (conn->stream->outbox == NULL) return;
  charge(conn, waiting_in(conn));
  uvws__liveness_blocked(conn);
}

void uvws__flow_await(uvws__conn_t* conn, uvws_write_t* req, uvws_write_cb cb) {
  req->ws = conn->ws;
  req->cb = cb;
  req->end = conn->stream->queued;
  req->next = NULL;
  *conn->extra->writes_end = req;
  conn->extra->writes_end = &req->next;
  uvws__stream_wake(conn->stream);
}

/* Calls back the writes that end at or before `end`. */
static void complete_writes(uvws__conn_t* conn, uint64_t end, int status) {
  while (conn->extra->writes != NULL && conn->extra->writes->end <= end) {
    uvws_write_t* req = conn->extra->writes;
    conn->extra->writes = req->next;
    if (conn->extra->writes == NULL)
      conn->extra->writes_end = &conn->extra->writes;
    req->cb(req, status);
  }
}

static bool is_drained(const uvws__conn_t* conn) {
  return uvws__stream_queue_size(conn->stream) <= conn->settings->low_water &&
         has_room(conn, conn->extra->wanted);
}

/* Each callback may end the connection. Closing a stream sends nothing more,
 * so what is complete by then can be told all the same. */
void uvws__flow_progress(uvws__conn_t* conn) {
  uvws__stream_t* stream = conn->stream;
  charge(conn, waiting_in(conn));
  if (conn->extra->writes != NULL)
    complete_writes(conn, stream->queued - uvws__stream_queue_size(stream), 0);
  if (conn->extra->pong != NULL && (conn->state == UVWS__STATE_OPEN ||
                                    conn->state == UVWS__STATE_CLOSE_SENT))
    uvws__conn_send_waiting_pong(conn);
  if ((conn->full || conn->starved) && uvws_needs_drain(conn->ws) &&
      is_drained(conn)) {
    conn->full = conn->starved = false;
    if (EMITS(conn->ws, drain)) conn->ws->events->drain(conn->ws);
  }
  if (conn->state == UVWS__STATE_OPEN && conn->extra->sending != NULL)
    uvws__sending_pull(conn);
  /* What was corked may have turned out to wait. */
  if (conn->state == UVWS__STATE_OPEN && stream->outbox != NULL)
    uvws__liveness_blocked(conn);
  if (conn->resuming) uvws__flow_resume(conn);
  if (conn->extra != &uvws__no_extra) uvws__conn_spare_extra(conn);
}

void uvws__flow_lost(uvws__conn_t* conn, int status) {
  charge(conn, 0);
  complete_writes(conn, UINT64_MAX, status);
}

void uvws__flow_room(uvws__loop_t* loop, const uvws__server_t* server) {
  for (uvws__conn_t* conn = loop->conns; conn != NULL; conn = conn->next)
    if (conn->settings->server == server && uvws_needs_drain(conn->ws))
      uvws__stream_wake(conn->stream);
}

int uvws_needs_drain(const uvws_t* ws) {
  const uvws__conn_t* conn = ws->conn;
  return conn != NULL && conn->state == UVWS__STATE_OPEN &&
         (conn->full || conn->starved);
}

/* ---- in ---- */

/* An open socket that does not read has no active handle. */
void uvws__flow_update_hold(uvws__conn_t* conn) {
  bool hold = conn->state == UVWS__STATE_OPEN && conn->read_stopped &&
              !conn->ws->unreferenced;
  if (hold == conn->holding) return;
  conn->holding = hold;
  if (hold)
    uvws__loop_hold(conn->loop);
  else
    uvws__loop_unhold(conn->loop);
}

static int read_on(uvws__conn_t* conn) {
  if (!conn->read_stopped) return uvws__stream_read_start(conn->stream);
  uvws__stream_read_stop(conn->stream);
  return 0;
}

int uvws__flow_open(uvws__conn_t* conn) {
  uvws__flow_update_hold(conn);
  return read_on(conn);
}

void uvws__flow_end(uvws__conn_t* conn) {
  uvws__flow_update_hold(conn);
  if (conn->state != UVWS__STATE_CLOSE_SENT)
    conn->resuming = false;
  else if (conn->read_stopped)
    uvws__flow_resume_soon(conn);
  conn->read_stopped = false;
}

void uvws__flow_hold(uvws__conn_t* conn, const uint8_t* data, size_t len) {
  struct uvws__held_s* held = conn->extra->held;
  if (conn->receiver != NULL) uvws__receiver_settle(conn->receiver);
  if (len == 0) return;
  if (held != NULL) { /* these are its own last bytes */
    held->start = held->len - len;
    return;
  }
  if (uvws__conn_need_extra(conn)) held = uvws__malloc(sizeof(*held) + len);
  if (held == NULL) {
    uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
    return;
  }
  held->start = 0;
  held->len = len;
  memcpy(held->bytes, data, len);
  conn->extra->held = held;
}

void uvws__flow_resume_soon(uvws__conn_t* conn) {
  conn->resuming = true;
  uvws__stream_wake(conn->stream);
}

/* First what was held; it may be held again in part. */
void uvws__flow_resume(uvws__conn_t* conn) {
  if (!conn->resuming) return;
  conn->resuming = false;
  struct uvws__held_s* held = conn->extra->held;
  conn->paused = false;
  if (held != NULL) {
    size_t start = held->start;
    held->start = held->len;
    uvws__conn_receive(conn, held->bytes + start, held->len - start);
    if (held->start == held->len) {
      uvws__free(held);
      conn->extra->held = NULL;
    }
  } else if (conn->receiver != NULL && conn->receiver->has_more) {
    uvws__conn_receive(conn, NULL, 0);
  }
  if (conn->read_stopped || conn->paused ||
      (conn->state != UVWS__STATE_OPEN &&
       conn->state != UVWS__STATE_CLOSE_SENT))
    return;
  int status = uvws__stream_read_start(conn->stream);
  if (status == 0) return;
  uvws__cause_t cause = uvws__cause_of_status(status);
  uvws__conn_event(conn, UVWS__EVENT_LOST, &cause);
}

int uvws_read_stop(uvws_t* ws) {
  uvws__conn_t* conn = ws->conn;
  if (conn == NULL) return UV_ENOTCONN;
  if (ws->ready_state > UVWS_OPEN) return 0;
  conn->read_stopped = true;
  if (conn->state != UVWS__STATE_OPEN) return 0;
  conn->resuming = false;
  uvws__stream_read_stop(conn->stream);
  uvws__flow_update_hold(conn);
  return 0;
}

int uvws_read_start(uvws_t* ws) {
  uvws__conn_t* conn = ws->conn;
  if (conn == NULL) return UV_ENOTCONN;
  if (!conn->read_stopped) return 0;
  conn->read_stopped = false;
  if (conn->state != UVWS__STATE_OPEN) return 0;
  uvws__liveness_reading(conn);
  uvws__flow_resume_soon(conn);
  uvws__flow_update_hold(conn);
  return 0;
}
