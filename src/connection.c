#include "connection.h"

#include <string.h>

#include "alloc.h"
#include "deflate.h"
#include "error.h"
#include "flow.h"
#include "inbound.h"
#include "lending.h"
#include "liveness.h"
#include "opening.h"
#include "outbound.h"
#include "protocol/close-code.h"
#include "server.h"
#include "stats.h"

/* The state machine of a WebSocket: every change of state goes through
 * uvws__conn_event() and the table below.
 *
 * Lifetimes. The shell (uvws_t) is the user's and points to the connection from
 * connect or accept until its `close` event; in between neither moves nor goes.
 * A connection is freed in one place, right after that event, which comes from
 * a close callback or the end of a turn and so from no call of the user's: code
 * that has just run a callback may go on using `conn`, but must look at its
 * state again. The shell may be freed inside the `close` event, so nothing
 * touches it after that call; for the attributes that must still be readable
 * inside, the connection is found through `closing`.
 *
 * A connection has at most one open handle: the dial's while it dials, then the
 * stream's. UVWS__STATE_RELEASING waits for it. */

typedef void (*action_t)(uvws__conn_t* conn);

static void send_request(uvws__conn_t* conn);
static void open_up(uvws__conn_t* conn);
static void stop_messages(uvws__conn_t* conn);
static void await_end(uvws__conn_t* conn);
static void answer_close(uvws__conn_t* conn);
static void send_failure(uvws__conn_t* conn);
static void linger(uvws__conn_t* conn);
static void release(uvws__conn_t* conn);
static void leave(uvws__conn_t* conn);
static void finish(uvws__conn_t* conn);

typedef struct transition_s {
  uvws__state_t next;
  action_t action; /* NULL: the event means nothing in this state */
} transition_t;

#define ON(event, next, action) \
  [UVWS__EVENT_##event] = {UVWS__STATE_##next, action}

static const transition_t table[UVWS__STATE_COUNT][UVWS__EVENT_COUNT] = {
    [UVWS__STATE_DIALING] =
        {
            ON(CONNECTED, UPGRADING, send_request),
            ON(CLOSE, RELEASING, release),
            ON(LOST, RELEASING, release),
            ON(DEADLINE, RELEASING, release),
            ON(TERMINATE, RELEASING, release),
        },
    [UVWS__STATE_UPGRADING] =
        {
            ON(UPGRADED, OPEN, open_up),
            ON(CLOSE, RELEASING, release),
            ON(FAIL, RELEASING, release),
            ON(REFUSED, LINGERING, linger),
            ON(LOST, RELEASING, release),
            ON(MUTE, RELEASING, release),
            ON(DEADLINE, RELEASING, release),
            ON(TERMINATE, RELEASING, release),
        },
    [UVWS__STATE_OPEN] =
        {
            ON(CLOSE, CLOSE_SENT, stop_messages),
            ON(CLOSE_CAME, LINGERING, answer_close),
            ON(FAIL, LINGERING, send_failure),
            ON(LOST, RELEASING, release),
            /* What the peer sent before may still come: wait for its end. */
            ON(MUTE, OPEN, uvws__liveness_mute),
            ON(DEADLINE, RELEASING, release),
            ON(TERMINATE, RELEASING, release),
        },
    [UVWS__STATE_CLOSE_SENT] =
        {
            ON(CLOSE_CAME, LINGERING, linger),
            ON(FAIL, LINGERING, linger),
            ON(LOST, RELEASING, release),
            ON(DEADLINE, RELEASING, release),
            ON(TERMINATE, RELEASING, release),
        },
    [UVWS__STATE_LINGERING] =
        {
            ON(LINGERED, RELEASING, release),
            ON(DEADLINE, RELEASING, release),
            ON(TERMINATE, RELEASING, release),
        },
    [UVWS__STATE_RELEASING] = {ON(RELEASED, LEAVING, leave)},
    [UVWS__STATE_LEAVING] = {ON(LEFT, CLOSED, finish)},
};

static const uint8_t ready_states[UVWS__STATE_COUNT] = {
    [UVWS__STATE_DIALING] = UVWS_CONNECTING,
    [UVWS__STATE_UPGRADING] = UVWS_CONNECTING,
    [UVWS__STATE_OPEN] = UVWS_OPEN,
    [UVWS__STATE_CLOSE_SENT] = UVWS_CLOSING,
    [UVWS__STATE_LINGERING] = UVWS_CLOSING,
    [UVWS__STATE_RELEASING] = UVWS_CLOSING,
    [UVWS__STATE_LEAVING] = UVWS_CLOSING,
    [UVWS__STATE_CLOSED] = UVWS_CLOSED,
};

static const char* const state_names[UVWS__STATE_COUNT] = {
    "DIALING",   "UPGRADING", "OPEN",    "CLOSE_SENT",
    "LINGERING", "RELEASING", "LEAVING", "CLOSED",
};

static const char* const event_names[UVWS__EVENT_COUNT] = {
    "CONNECTED", "UPGRADED", "CLOSE", "CLOSE_CAME", "FAIL",
    "REFUSED",   "LOST",     "MUTE",  "LINGERED",   "DEADLINE",
    "TERMINATE", "RELEASED", "LEFT",
};

/* ---- what few have ---- */

const uvws__extra_t uvws__no_extra;

bool uvws__conn_need_extra(uvws__conn_t* conn) {
  if (conn->extra != &uvws__no_extra) return true;
  uvws__extra_t* extra = uvws__calloc(1, sizeof(*extra));
  if (extra == NULL) return false;
  extra->writes_end = &extra->writes;
  conn->extra = extra;
  return true;
}

/* Of TLS something will be left when the stream is gone. */
static bool is_empty(const uvws__conn_t* conn) {
  const uvws__extra_t* extra = conn->extra;
  return extra->opening == NULL && extra->text == NULL &&
         extra->ping_sent == 0 && extra->deflate == NULL &&
         extra->tls == NULL && extra->ping == NULL && extra->pong == NULL &&
         extra->sending == NULL && extra->held == NULL &&
         extra->writes == NULL && extra->wanted == 0 && extra->charged == 0 &&
         extra->detail == NULL && extra->reason == NULL &&
         (conn->stream == NULL || uvws__stream_tls(conn->stream) == NULL);
}

void uvws__conn_spare_extra(uvws__conn_t* conn) {
  if (conn->extra == &uvws__no_extra || !is_empty(conn)) return;
  uvws__free(conn->extra);
  conn->extra = (uvws__extra_t*)&uvws__no_extra;
}

/* ---- events ---- */

static void trace_state(const uvws__conn_t* conn, uvws__state_t from,
                        uvws__event_t event) {
  uvws_trace_t trace = {.kind = UVWS_TRACE_STATE,
                        .from = state_names[from],
                        .to = state_names[conn->state],
                        .event = event_names[event]};
  conn->ws->events->trace(conn->ws, &trace);
}

uvws__cause_t uvws__cause_of(uvws__failure_t failure) {
  return (uvws__cause_t){uvws__failure_status(failure),
                         (uint16_t)uvws__failure_code(failure),
                         uvws__failure_text(failure)};
}

uvws__cause_t uvws__cause_of_status(int status) {
  return (uvws__cause_t){status, UVWS__CLOSE_ABNORMAL, uvws_strerror(status)};
}

void uvws__conn_event(uvws__conn_t* conn, uvws__event_t event,
                      const uvws__cause_t* cause) {
  const transition_t* transition = &table[conn->state][event];
  if (transition->action == NULL) return;
  if (cause != NULL && conn->status == 0) {
    conn->status = cause->status;
    /* Without memory for more the status has to say it. */
    if (cause->text != uvws_strerror(cause->status) &&
        uvws__conn_need_extra(conn))
      conn->extra->text = cause->text;
    conn->fail_code = cause->code;
  }
  uvws__state_t from = (uvws__state_t)conn->state;
  conn->state = (uint8_t)transition->next;
  conn->ws->ready_state = ready_states[conn->state];
  if (EMITS(conn->ws, trace)) trace_state(conn, from, event);
  if (from == UVWS__STATE_OPEN && conn->state != UVWS__STATE_OPEN) {
    uvws__liveness_end(conn);
    uvws__flow_end(conn);
  }
  transition->action(conn);
}

void uvws__conn_fail(uvws__conn_t* conn, uvws__failure_t failure) {
  uvws__cause_t cause = uvws__cause_of(failure);
  uvws__conn_event(conn, UVWS__EVENT_FAIL, &cause);
}

static void on_deadline(uvws__deadline_t* deadline) {
  uvws__conn_t* conn = UVWS__CONTAINER_OF(deadline, uvws__conn_t, deadline);
  if (conn->state == UVWS__STATE_OPEN) {
    uvws__liveness_look(conn);
    return;
  }
  uvws__cause_t cause = uvws__cause_of(UVWS__FAIL_CLOSE_TIMEOUT);
  if (conn->state == UVWS__STATE_DIALING) {
    cause = uvws__cause_of(UVWS__FAIL_CONNECT_TIMEOUT);
    if (conn->extra->opening->dial != NULL)
      conn->extra->detail =
          uvws__dial_tell(conn->extra->opening->dial, cause.text);
    if (conn->extra->detail != NULL) cause.text = conn->extra->detail;
  }
  if (conn->state == UVWS__STATE_UPGRADING) {
    cause = uvws__cause_of(UVWS__FAIL_HANDSHAKE_TIMEOUT);
    if (conn->is_server && uvws__opening_refuse(conn->extra->opening,
                                                UVWS__FAIL_HANDSHAKE_TIMEOUT))
      return;
  }
  uvws__conn_event(conn, UVWS__EVENT_DEADLINE, &cause);
}

static void set_deadline(uvws__conn_t* conn, uint32_t ms) {
  uvws__loop_set_deadline(conn->loop, &conn->deadline, ms);
}

/* ---- what the stream tells ---- */

static bool on_alloc(uvws__stream_t* stream, uint8_t** base, size_t* len,
                     size_t* wanted) {
  uvws__conn_t* conn = stream->owner;
  return conn->state == UVWS__STATE_OPEN && conn->receiver != NULL &&
         uvws__receiver_tail(conn->receiver, base, len, wanted);
}

static bool is_shared(const uvws__loop_t* loop, const uint8_t* data) {
  return data == loop->read_buffer || data == loop->plain_buffer;
}

/* What stands behind the response are frames already. */
static UVWS__NOINLINE void read_opening(uvws__conn_t* conn, uint8_t* data,
                                        size_t len) {
  size_t used = uvws__opening_receive(conn->extra->opening, data, len);
  if (conn->extra->opening != NULL) return; /* refused: a body */
  conn->bytes_received += len - used;
  uvws__conn_receive(conn, data + used, len - used);
}

/* Read straight into the message; what is beyond its end moves. */
static UVWS__NOINLINE void read_tail(uvws__conn_t* conn, uint8_t* data,
                                     size_t len) {
  uint64_t remaining = conn->receiver->parser.remaining;
  size_t wanted = len > remaining ? (size_t)remaining : len;
  size_t beyond = len - wanted;
  memcpy(conn->loop->read_buffer, data + wanted, beyond);
  uvws__conn_receive(conn, data, wanted);
  if (beyond > 0) uvws__conn_receive(conn, conn->loop->read_buffer, beyond);
}

static void on_read(uvws__stream_t* stream, uint8_t* data, size_t len) {
  uvws__conn_t* conn = stream->owner;
  if (conn->state == UVWS__STATE_UPGRADING) {
    read_opening(conn, data, len);
    return;
  }
  uint64_t frames = uvws__lending_frames(conn);
  conn->bytes_received += len;
  if (conn->receiver == NULL || is_shared(conn->loop, data))
    uvws__conn_receive(conn, data, len);
  else
    read_tail(conn, data, len);
  if (uvws__lending_frames(conn) != frames) len += UVWS__TINY;
  uvws__liveness_heard(conn, len);
  /* What the end of the turn does, which may not be waited for. */
  if (conn->extra != &uvws__no_extra) uvws__conn_spare_extra(conn);
  if (conn->starved) uvws__stream_wake(conn->stream);
}

static void on_ended(uvws__stream_t* stream, int status) {
  uvws__conn_t* conn = stream->owner;
  uvws__cause_t cause = uvws__cause_of_status(
      stream->write_status != 0 ? stream->write_status : status);
  if (status == UV_EOF && stream->write_status == 0) {
    cause.text = "connection closed without a close frame";
    if (conn->state == UVWS__STATE_UPGRADING)
      cause.text = uvws__stream_is_mute(stream)
                       ? "connection closed during the TLS handshake"
                       : "connection closed during the opening handshake";
  }
  uvws__conn_event(conn, UVWS__EVENT_LOST, &cause);
}

/* Nothing can be told to the peer any more, but what TLS itself has told. */
static void on_failed(uvws__stream_t* stream, uvws__failure_t failure) {
  uvws__cause_t cause = uvws__cause_of(failure);
  const char* text = uvws__stream_tls(stream)->text;
  if (text != NULL) cause.text = text;
  uvws__conn_event(stream->owner, UVWS__EVENT_LOST, &cause);
}

static void on_sent(uvws__stream_t* stream, uint64_t body) {
  uvws__conn_t* conn = stream->owner;
  conn->ws->buffered_amount -= body;
}

static void on_progress(uvws__stream_t* stream) {
  uvws__flow_progress(stream->owner);
}

static void on_write_failed(uvws__stream_t* stream, int status) {
  uvws__cause_t cause = uvws__cause_of_status(status);
  uvws__conn_t* conn = stream->owner;
  const uvws__tls_result_t* tls = uvws__stream_tls(stream);
  if (status == UVWS_ETLS && tls->text != NULL) cause.text = tls->text;
  uvws__flow_lost(conn, status);
  uvws__conn_event(conn, UVWS__EVENT_MUTE, &cause);
  uvws__flow_resume(conn);
}

static void on_lingered(uvws__stream_t* stream) {
  /* Why our close frame did not get through; no matter when it did. */
  int status = stream->write_status != 0 ? stream->write_status : stream->ended;
  if (status == 0 || status == UV_EOF) status = UV_ECONNABORTED;
  uvws__cause_t cause = uvws__cause_of_status(status);
  uvws__conn_event(stream->owner, UVWS__EVENT_LINGERED, &cause);
}

static void on_closed(uvws__stream_t* stream) {
  uvws__conn_t* conn = stream->owner;
  uvws__flow_lost(
      conn, stream->write_status == 0 ? UV_ECANCELED : stream->write_status);
  uvws__tls_result_t* tls = uvws__stream_take_tls(stream);
  if (tls != NULL) conn->extra->tls = tls;
  conn->stream = NULL;
  uvws__conn_event(conn, UVWS__EVENT_RELEASED, NULL);
}

static const uvws__stream_events_t stream_events = {
    .alloc = on_alloc,
    .read = on_read,
    .ended = on_ended,
    .failed = on_failed,
    .sent = on_sent,
    .progress = on_progress,
    .write_failed = on_write_failed,
    .lingered = on_lingered,
    .closed = on_closed,
};

void uvws__conn_take_stream(uvws__conn_t* conn, uvws__stream_t* stream) {
  conn->stream = stream;
  uvws__stream_own(stream, &stream_events, conn);
  uvws__stream_set_ref(stream, !conn->ws->unreferenced);
}

/* ---- actions ---- */

void uvws__conn_await_handshake(uvws__conn_t* conn) {
  set_deadline(conn, conn->settings->handshake_timeout);
}

static void send_request(uvws__conn_t* conn) {
  uvws__conn_await_handshake(conn);
  uvws__opening_send(conn->extra->opening);
}

/* RFC 6455, 4.1: the connection is established. */
static void open_up(uvws__conn_t* conn) {
  uvws__opening_t* opening = conn->extra->opening;
  set_deadline(conn, 0);
  conn->bytes_before = conn->stream->queued;
  uvws__liveness_begin(conn);
  /* A stream whose handshake others have read is not being read yet. */
  int status = uvws__flow_open(conn);
  if (EMITS(conn->ws, open)) conn->ws->events->open(conn->ws);
  if (status != 0) {
    uvws__cause_t cause = uvws__cause_of_status(status);
    uvws__conn_event(conn, UVWS__EVENT_LOST, &cause);
  }
  conn->bytes_received += opening->rest_len;
  if (opening->rest != NULL)
    uvws__conn_receive(conn, opening->rest, opening->rest_len);
  if (conn->settings->server != NULL)
    uvws__server_conn_open(conn->settings->server, conn->ws);
  conn->extra->opening = NULL;
  uvws__opening_free(opening);
  uvws__conn_spare_extra(conn);
}

/* Who fell mute while open has waited since. */
static void await_end(uvws__conn_t* conn) {
  uint32_t ms = conn->settings->close_timeout;
  uint32_t waited = conn->mute ? uvws__liveness_now(conn) - conn->taken_at : 0;
  if (conn->deadline.link != NULL || ms == 0) return;
  set_deadline(conn, waited < ms ? ms - waited : 1);
}

static void discard(uvws__conn_t* conn) {
  if (conn->receiver != NULL) uvws__receiver_discard(conn->receiver);
}

static void stop_messages(uvws__conn_t* conn) {
  discard(conn);
  await_end(conn);
}

/* RFC 6455, 7.1.1: the server closes the TCP connection first, the client waits
 * for that; whoever fails the connection (7.1.7) does not wait to be told. */
static void linger(uvws__conn_t* conn) {
  discard(conn);
  bool half_close = conn->is_server || conn->status != 0;
  await_end(conn);
  uvws__stream_linger(conn->stream, half_close, conn->settings->max_discard);
}

/* RFC 6455, 5.5.1: the answer echoes the status code. Without memory for it
 * there is only the end of the connection left to say it. */
static void answer_close(uvws__conn_t* conn) {
  unsigned code = conn->code == UVWS__CLOSE_NO_STATUS ? 0 : conn->code;
  (void)uvws__conn_send_close(conn, code, NULL, 0);
  linger(conn);
}

static const char* text_of(const uvws__conn_t* conn) {
  const char* text = conn->extra->text;
  return text != NULL ? text : uvws_strerror(conn->status);
}

static void send_failure(uvws__conn_t* conn) {
  if (conn->fail_code != UVWS__CLOSE_ABNORMAL)
    (void)uvws__conn_send_close(conn, conn->fail_code, text_of(conn),
                                strlen(text_of(conn)));
  linger(conn);
}

static void release(uvws__conn_t* conn) {
  uvws__opening_t* opening = conn->extra->opening;
  set_deadline(conn, 0);
  conn->resuming = false;
  if (opening != NULL) uvws__loop_undefer(conn->loop, &opening->deferred);
  if (conn->stream != NULL) {
    /* RFC 6455, 7.1.4: both close frames made it, whatever became of TLS's own
     * goodbye. */
    conn->clean = conn->close_sent && conn->code != 0 &&
                  uvws__stream_queue_size(conn->stream) == 0 &&
                  conn->stream->write_status == 0;
    uvws__stats_keep(conn);
    uvws__stream_close(conn->stream);
  } else if (opening->dial != NULL) {
    uvws__dial_cancel(opening->dial);
  } else {
    uvws__opening_defer(opening, UVWS__EVENT_RELEASED);
  }
}

static void on_left(void* arg) {
  uvws__conn_event(arg, UVWS__EVENT_LEFT, NULL);
}

static void leave(uvws__conn_t* conn) {
  uvws__loop_t* loop = conn->loop;
  uvws__stats_add_to_loop(conn);
  uvws__lending_drop(conn);
  uvws__deflate_end(conn);
  *conn->link = conn->next;
  if (conn->next != NULL) conn->next->link = conn->link;
  conn->link = NULL;
  if (conn->extra->opening != NULL)
    uvws__loop_undefer(loop, &conn->extra->opening->deferred);
  uvws__loop_leave(loop, on_left, conn);
}

/* ---- beginning and end ---- */

int uvws__conn_new(uvws_t* ws, uvws__role_t role, uvws__state_t state,
                   uvws__settings_t* settings, uvws__conn_t** result) {
  uvws__conn_t* conn = uvws__zalloc(sizeof(*conn));
  if (conn == NULL) return UV_ENOMEM;
  conn->extra = (uvws__extra_t*)&uvws__no_extra;
  conn->names = uvws__names_new();
  if (conn->names != NULL && uvws__conn_need_extra(conn))
    conn->extra->opening = uvws__opening_new(conn);
  if (conn->extra->opening == NULL) {
    uvws__conn_spare_extra(conn);
    uvws__names_unref(conn->names);
    uvws__free(conn);
    return UV_ENOMEM;
  }
  conn->ws = ws;
  conn->settings = uvws__settings_ref(settings);
  conn->state = (uint8_t)state;
  conn->is_server = role == UVWS__SERVER;
  conn->is_plain = !EMITS(ws, chunk) && !EMITS(ws, trace) &&
                   settings->high_water >= UVWS__CORK_SIZE;
  conn->deadline.passed = on_deadline;
  conn->bytes_before = UINT64_MAX;
  *result = conn;
  return 0;
}

int uvws__conn_enter(uvws__conn_t* conn) {
  return uvws__loop_enter(conn->ws->loop, &conn->loop);
}

static void free_conn(uvws__conn_t* conn) {
  uvws__extra_t* extra = conn->extra;
  uvws__opening_free(extra->opening);
  uvws__flow_free(conn);
  uvws__settings_unref(conn->settings);
  uvws__names_unref(conn->names);
  if (extra != &uvws__no_extra) {
    uvws__free(extra->ping);
    uvws__free(extra->pong);
    uvws__free(extra->reason);
    uvws__free(extra->detail);
    uvws__stream_tls_free(extra->tls);
    uvws__free(extra);
  }
  uvws__free(conn);
}

void uvws__conn_abandon(uvws__conn_t* conn) {
  uvws__deflate_end(conn);
  if (conn->loop != NULL) uvws__loop_leave(conn->loop, NULL, NULL);
  free_conn(conn);
}

void uvws__conn_begin(uvws__conn_t* conn) {
  uvws_t* ws = conn->ws;
  ws->conn = conn;
  ws->buffered_amount = 0;
  ws->ready_state = ready_states[conn->state];
  conn->link = &conn->loop->conns;
  conn->next = conn->loop->conns;
  if (conn->next != NULL) conn->next->link = &conn->next;
  conn->loop->conns = conn;
  if (conn->state == UVWS__STATE_DIALING)
    set_deadline(conn, conn->settings->connect_timeout);
}

/* The `close` event that is running, for each loop that this thread runs: one
 * may be run inside a callback of another. */
typedef struct closing_s {
  const uvws_t* ws;
  uvws__conn_t* conn;
  struct closing_s* outer;
} closing_t;

static _Thread_local closing_t* closing;

uvws__conn_t* uvws__conn_of(const uvws_t* ws) {
  if (ws->conn != NULL) return ws->conn;
  for (closing_t* at = closing; at != NULL; at = at->outer)
    if (at->ws == ws) return at->conn;
  return NULL;
}

void uvws__conn_forget(const uvws_t* ws) {
  for (closing_t* at = closing; at != NULL; at = at->outer)
    if (at->ws == ws) at->ws = NULL;
}

/* WebSockets standard, section 4, "when the WebSocket connection is closed". A
 * termination is the caller's own doing, and no error. */
static void finish(uvws__conn_t* conn) {
  uvws_t* ws = conn->ws;
  closing_t frame = {ws, conn, closing};
  uvws_close_event_t event = {
      .code = conn->code == 0 ? UVWS__CLOSE_ABNORMAL : conn->code,
      .reason = conn->extra->reason == NULL ? "" : conn->extra->reason,
      .reason_len = conn->reason_len,
      .was_clean = conn->clean,
      .status = conn->clean ? 0 : conn->status,
  };
  if (event.status != 0 && event.status != UV_ECANCELED && EMITS(ws, error))
    ws->events->error(ws, event.status, text_of(conn));
  ws->conn = NULL;
  closing = &frame;
  if (EMITS(ws, close)) ws->events->close(ws, &event);
  closing = frame.outer;
  uvws__server_t* server = conn->settings->server;
  free_conn(conn);
  if (server != NULL) uvws__server_conn_gone(server);
}
