#include "sending.h"

#include "alloc.h"
#include "deflate.h"
#include "flow.h"
#include "outbound.h"
#include "protocol/utf8.h"

/* From uvws_begin() until the last part is queued the connection has a
 * `sending`; it is not freed while its source runs, which may end the
 * connection and go on to write into `buffer`. */

static const unsigned PULLS = 4; /* in one turn, then others have theirs */

struct uvws__sending_s {
  uint8_t opcode; /* of the next part */
  bool check_text;
  bool paused;    /* the source has nothing yet */
  unsigned flags; /* of all frames: compressed, or not */
  uvws__utf8_t utf8;
  uvws_source_cb source; /* NULL: the parts come by calls */
  void* arg;
  uint8_t buffer[]; /* SOURCE_SIZE bytes for a source */
};

static const size_t SOURCE_SIZE = 64 * 1024;

void uvws__sending_free(uvws__conn_t* conn) {
  uvws__deflate_finish(conn);
  if (conn->extra->sending == NULL) return;
  uvws__free(conn->extra->sending);
  conn->extra->sending = NULL;
}

static int begin(uvws_t* ws, unsigned flags, uvws_source_cb source, void* arg) {
  int status = uvws__check_send(ws, 0, false);
  if (status != 0) return status;
  uvws__conn_t* conn = ws->conn;
  if (conn->stream->write_status != 0) return conn->stream->write_status;
  if (!uvws__conn_need_extra(conn)) return UV_ENOMEM;
  size_t room = source == NULL ? 0 : SOURCE_SIZE;
  struct uvws__sending_s* sending = uvws__malloc(sizeof(*sending) + room);
  if (sending == NULL) return UV_ENOMEM;
  bool packs =
      uvws__deflate_wants(conn, UINT64_MAX, flags) && uvws__deflate_begin(conn);
  *sending = (struct uvws__sending_s){
      .opcode = flags & UVWS_TEXT ? UVWS__OP_TEXT : UVWS__OP_BINARY,
      .check_text = (flags & UVWS_TEXT) && !(flags & UVWS_UTF8_CHECKED),
      .flags = packs ? UVWS_COMPRESS : UVWS_NO_COMPRESS,
      .source = source,
      .arg = arg,
  };
  conn->extra->sending = sending;
  return 0;
}

/* Queues one part, or changes nothing. */
static int send_part(uvws__conn_t* conn, const void* data, size_t len,
                     bool last) {
  struct uvws__sending_s* sending = conn->extra->sending;
  uvws__utf8_t utf8 = sending->utf8;
  if (sending->check_text && (!uvws__utf8_feed(&utf8, data, len) ||
                              (last && !uvws__utf8_is_complete(&utf8))))
    return UVWS_EUTF8;
  uv_buf_t buf = {(char*)data, len};
  uvws__outgoing_t out = {
      .first_byte = sending->opcode | (last ? UVWS__FIN : 0),
      .bufs = &buf,
      .n = 1,
      .len = len,
      .flags = sending->flags,
  };
  int status = uvws__conn_send(conn, &out);
  if (status != 0) return status;
  sending->utf8 = utf8;
  sending->opcode = UVWS__OP_CONTINUATION;
  if (last) uvws__sending_free(conn);
  return 0;
}

/* A part by a call: not into the midst of a source's. */
static int send_called(uvws_t* ws, const void* data, size_t len, bool last) {
  if (data == NULL && len > 0) return UV_EINVAL;
  int status = uvws__check_send(ws, len, true);
  if (status != 0) return status;
  if (ws->conn->extra->sending->source != NULL) return UVWS_EBUSY;
  return len == 0 && !last ? 0 : send_part(ws->conn, data, len, last);
}

int uvws_begin(uvws_t* ws, unsigned flags) {
  return uvws__flags_are_valid(flags) ? begin(ws, flags, NULL, NULL)
                                      : UV_EINVAL;
}

int uvws_continue(uvws_t* ws, const void* data, size_t len) {
  return send_called(ws, data, len, false);
}

int uvws_end(uvws_t* ws, const void* data, size_t len) {
  return send_called(ws, data, len, true);
}

int uvws_send_source(uvws_t* ws, unsigned flags, uvws_source_cb source,
                     void* arg) {
  if (!uvws__flags_are_valid(flags) || source == NULL) return UV_EINVAL;
  int status = begin(ws, flags, source, arg);
  if (status == 0) uvws__stream_wake(ws->conn->stream);
  return status;
}

void uvws_send_resume(uvws_t* ws) {
  uvws__conn_t* conn = ws->conn;
  if (ws->ready_state != UVWS_OPEN || conn->extra->sending == NULL) return;
  conn->extra->sending->paused = false;
  uvws__stream_wake(conn->stream);
}

static void fail(uvws__conn_t* conn, int status) {
  uvws__cause_t cause = uvws__cause_of(UVWS__FAIL_NO_MEMORY);
  if (status == UVWS_EUTF8)
    cause = uvws__cause_of(UVWS__FAIL_SOURCE_UTF8);
  else if (status != UV_ENOMEM)
    cause = (uvws__cause_t){status, cause.code, uvws_strerror(status)};
  uvws__conn_event(conn, UVWS__EVENT_FAIL, &cause);
}

/* Whether there may be more at once. */
static bool pull(uvws__conn_t* conn) {
  struct uvws__sending_s* sending = conn->extra->sending;
  size_t size = SOURCE_SIZE;
  if (size > uvws__flow_most(conn)) size = (size_t)uvws__flow_most(conn);
  if (conn->state != UVWS__STATE_OPEN || sending == NULL ||
      sending->source == NULL || sending->paused ||
      uvws_needs_drain(conn->ws) || conn->stream->write_status != 0 ||
      uvws__flow_admit(conn, size) != 0)
    return false;
  sending->paused = true; /* unless it resumes itself */
  ssize_t n = sending->source(conn->ws, sending->buffer, size, sending->arg);
  if (conn->state != UVWS__STATE_OPEN) return false;
  if (n == UV_EAGAIN) return false;
  sending->paused = false;
  if (n > (ssize_t)size) n = UV_EINVAL;
  int status =
      n < 0 ? (int)n : send_part(conn, sending->buffer, (size_t)n, n == 0);
  if (status == 0) return true;
  fail(conn, status);
  return false;
}

void uvws__sending_pull(uvws__conn_t* conn) {
  unsigned pulls = 0;
  while (pulls < PULLS && pull(conn)) pulls++;
  if (pulls == PULLS) uvws__stream_wake(conn->stream);
}
