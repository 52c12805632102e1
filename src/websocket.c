#include <assert.h>
#include <string.h>

#include "alloc.h"
#include "blob.h"
#include "connection.h"
#include "flow.h"
#include "opening.h"
#include "outbound.h"
#include "protocol/close-code.h"
#include "protocol/utf8.h"
#include "server.h"

/* The calls of include/uvws.h on a socket that has begun: the checks that the
 * standard makes, in its order, then one step into the connection. */

/* Rule 12: every call belongs to the thread of the socket's loop. */
static void check_thread(const uvws_t* ws) {
  assert(ws->conn == NULL || uvws__loop_is_here(ws->conn->loop));
  (void)ws;
}

static uvws__conn_t* conn_of(const uvws_t* ws) {
  check_thread(ws);
  return uvws__conn_of(ws);
}

static uvws__stream_t* stream_of(const uvws_t* ws) {
  uvws__conn_t* conn = conn_of(ws);
  return conn == NULL ? NULL : conn->stream;
}

int uvws_init(uv_loop_t* loop, uvws_t* ws, const uvws_events_t* events) {
  if (loop == NULL || ws == NULL || events == NULL ||
      events->size <= sizeof(size_t))
    return UV_EINVAL;
  void* data = ws->data;
  uvws__conn_forget(ws);
  memset(ws, 0, sizeof(*ws));
  ws->data = data;
  ws->loop = loop;
  ws->events = events;
  ws->ready_state = UVWS_CLOSED;
  ws->binary_type = UVWS_BLOB;
  return 0;
}

bool uvws__flags_are_valid(unsigned flags) {
  unsigned type = flags & (UVWS_TEXT | UVWS_BINARY);
  return (type == UVWS_TEXT || type == UVWS_BINARY) &&
         !(flags & ~(unsigned)(UVWS_TEXT | UVWS_BINARY | UVWS_UTF8_CHECKED |
                               UVWS_COMPRESS | UVWS_NO_COMPRESS));
}

static bool has_utf8_to_check(unsigned flags) {
  return (flags & UVWS_TEXT) && !(flags & UVWS_UTF8_CHECKED);
}

/* WebSockets standard, 3.1, send(): the state is looked at first, then the text
 * is; one that comes too late is counted, but not if it could not be sent. */
int uvws_send(uvws_t* ws, const void* data, size_t len, unsigned flags) {
  if (!uvws__flags_are_valid(flags) || (data == NULL && len > 0))
    return UV_EINVAL;
  if (ws->ready_state == UVWS_CONNECTING) return UVWS_EINVALIDSTATE;
  if (has_utf8_to_check(flags) && !uvws__utf8_is_valid(data, len))
    return UVWS_EUTF8;
  check_thread(ws);
  return uvws__send(ws, data, len, flags);
}

static int check_blob(uvws_blob_t* blob, unsigned flags) {
  if (!uvws__flags_are_valid(flags) || blob == NULL) return UV_EINVAL;
  if (has_utf8_to_check(flags) && !uvws__blob_is_text(blob)) return UVWS_EUTF8;
  return 0;
}

/* A message that can be sent to many. */
static uvws__outgoing_t message_of(uvws_blob_t* blob, unsigned flags,
                                   uv_buf_t* buf) {
  *buf = (uv_buf_t){(char*)uvws_blob_data(blob), uvws_blob_size(blob)};
  return (uvws__outgoing_t){
      uvws__first_byte(flags), buf, 1, buf->len, .blob = blob, .flags = flags};
}

static int send_one(uvws_t* ws, uvws__outgoing_t* out) {
  int status = uvws__check_send(ws, out->len, false);
  return status != 0 ? status : uvws__conn_send(conn_of(ws), out);
}

int uvws_send_blob(uvws_t* ws, uvws_blob_t* blob, unsigned flags) {
  uv_buf_t buf;
  if (!uvws__flags_are_valid(flags) || blob == NULL) return UV_EINVAL;
  if (ws->ready_state == UVWS_CONNECTING) return UVWS_EINVALIDSTATE;
  int status = check_blob(blob, flags);
  if (status != 0) return status;
  uvws__outgoing_t out = message_of(blob, flags, &buf);
  return send_one(ws, &out);
}

int uvws_broadcast(uvws_t* const sockets[], unsigned n, uvws_blob_t* blob,
                   unsigned flags, int statuses[]) {
  uv_buf_t buf;
  int accepted = check_blob(blob, flags);
  if (accepted != 0) return accepted;
  uvws__outgoing_t out = message_of(blob, flags, &buf);
  for (unsigned i = 0; i < n; i++) {
    int status = send_one(sockets[i], &out);
    if (statuses != NULL) statuses[i] = status;
    accepted += status == 0;
  }
  return accepted;
}

int uvws_server_broadcast(uvws_server_t* shell, uvws_blob_t* blob,
                          unsigned flags, const uvws_t* except) {
  uv_buf_t buf;
  int accepted = check_blob(blob, flags);
  if (accepted != 0 || shell->impl == NULL || shell->impl->loop == NULL)
    return accepted;
  uvws__outgoing_t out = message_of(blob, flags, &buf);
  uvws__conn_t* conn = shell->impl->loop->conns;
  for (; conn != NULL; conn = conn->next)
    if (conn->settings->server == shell->impl &&
        conn->state == UVWS__STATE_OPEN && conn->ws != except)
      accepted += send_one(conn->ws, &out) == 0;
  return accepted;
}

static bool check_bufs(const uv_buf_t bufs[], unsigned n, uint64_t* len) {
  *len = 0;
  if (bufs == NULL && n > 0) return false;
  for (unsigned i = 0; i < n; i++) {
    if (bufs[i].base == NULL && bufs[i].len > 0) return false;
    *len += bufs[i].len;
  }
  return *len <= SIZE_MAX;
}

static bool is_text(const uv_buf_t bufs[], unsigned n) {
  uvws__utf8_t utf8 = {0, 0, 0};
  for (unsigned i = 0; i < n; i++)
    if (!uvws__utf8_feed(&utf8, (const uint8_t*)bufs[i].base, bufs[i].len))
      return false;
  return uvws__utf8_is_complete(&utf8);
}

int uvws_write(uvws_write_t* req, uvws_t* ws, const uv_buf_t bufs[], unsigned n,
               unsigned flags, uvws_write_cb cb) {
  uint64_t len;
  if (!uvws__flags_are_valid(flags) || cb == NULL || !check_bufs(bufs, n, &len))
    return UV_EINVAL;
  if (ws->ready_state == UVWS_CONNECTING) return UVWS_EINVALIDSTATE;
  if (has_utf8_to_check(flags) && !is_text(bufs, n)) return UVWS_EUTF8;
  int status = uvws__check_send(ws, len, false);
  if (status != 0) return status;
  uvws__conn_t* conn = conn_of(ws);
  if (!uvws__conn_need_extra(conn)) return UV_ENOMEM;
  uvws__outgoing_t out = {
      uvws__first_byte(flags), bufs,          n, (size_t)len,
      .borrowed = true,        .flags = flags};
  status = uvws__conn_send(conn, &out);
  if (status == 0) uvws__flow_await(conn, req, cb);
  return status;
}

int uvws_ping(uvws_t* ws, const void* data, size_t len) {
  if (len > UVWS__CONTROL_MAX || (data == NULL && len > 0)) return UV_EINVAL;
  if (ws->ready_state != UVWS_OPEN) return UVWS_EINVALIDSTATE;
  return uvws__conn_send_ping(conn_of(ws), data, len);
}

/* WebSockets standard, 3.1, close() */
int uvws_close(uvws_t* ws, int code, const char* reason, size_t len) {
  uvws__conn_t* conn = conn_of(ws);
  if (code != 0 && (code < 0 || !uvws__close_code_is_valid((unsigned)code)))
    return UVWS_EINVALIDACCESS;
  if (len > UVWS__CLOSE_REASON_MAX) return UVWS_ESYNTAX;
  if (reason == NULL && len > 0) return UV_EINVAL;
  if (!uvws__utf8_is_valid((const uint8_t*)reason, len)) return UVWS_EUTF8;
  if (ws->ready_state == UVWS_CONNECTING) {
    uvws__cause_t cause = uvws__cause_of(UVWS__FAIL_ABORTED);
    uvws__conn_event(conn, UVWS__EVENT_CLOSE, &cause);
  } else if (ws->ready_state == UVWS_OPEN) {
    if (code == 0 && len > 0) code = UVWS__CLOSE_NORMAL;
    int status = uvws__conn_send_close(conn, (unsigned)code, reason, len);
    if (status != 0) return status;
    uvws__conn_event(conn, UVWS__EVENT_CLOSE, NULL);
  }
  return 0;
}

void uvws_terminate(uvws_t* ws) {
  uvws__cause_t cause = {UV_ECANCELED, UVWS__CLOSE_ABNORMAL, "terminated"};
  if (ws->conn != NULL)
    uvws__conn_event(conn_of(ws), UVWS__EVENT_TERMINATE, &cause);
}

void uvws_flush(uvws_t* ws) {
  uvws__stream_t* stream = stream_of(ws);
  if (stream != NULL) uvws__stream_flush(stream);
}

uvws_ready_state_t uvws_ready_state(const uvws_t* ws) {
  return (uvws_ready_state_t)ws->ready_state;
}

uint64_t uvws_buffered_amount(const uvws_t* ws) {
  uvws__stream_t* stream = stream_of(ws);
  if (stream != NULL) uvws__stream_settle(stream);
  return ws->buffered_amount;
}

uint64_t uvws_queue_size(const uvws_t* ws) {
  const uvws__stream_t* stream = stream_of(ws);
  return stream == NULL ? 0 : uvws__stream_queue_size(stream);
}

static const char* or_empty(const char* string) {
  return string == NULL ? "" : string;
}

const char* uvws_url(const uvws_t* ws) {
  const uvws__conn_t* conn = conn_of(ws);
  return conn == NULL ? "" : or_empty(conn->names->url);
}

const char* uvws_protocol(const uvws_t* ws) {
  const uvws__conn_t* conn = conn_of(ws);
  return conn == NULL ? "" : or_empty(conn->names->protocol);
}

const char* uvws_extensions(const uvws_t* ws) {
  const uvws__conn_t* conn = conn_of(ws);
  return conn == NULL ? "" : or_empty(conn->names->extensions);
}

uvws_binary_type_t uvws_binary_type(const uvws_t* ws) {
  return (uvws_binary_type_t)ws->binary_type;
}

int uvws_set_binary_type(uvws_t* ws, uvws_binary_type_t type) {
  if (type != UVWS_BLOB && type != UVWS_ARRAYBUFFER) return UV_EINVAL;
  ws->binary_type = (uint8_t)type;
  return 0;
}

int uvws_http_status(const uvws_t* ws) {
  const uvws__conn_t* conn = conn_of(ws);
  return conn == NULL ? 0 : conn->http_status;
}

/* The response's head, as long as it is there and something is known of it. */
static const uvws__head_t* response_of(const uvws_t* ws) {
  const uvws__conn_t* conn = conn_of(ws);
  if (conn == NULL || conn->is_server || conn->extra->opening == NULL ||
      conn->http_status == 0)
    return NULL;
  return conn->extra->opening->head;
}

const char* uvws_response_header(const uvws_t* ws, const char* name) {
  const uvws__head_t* head = response_of(ws);
  return head == NULL ? NULL : uvws__head_field(head, name, NULL);
}

int uvws_response_header_at(const uvws_t* ws, unsigned index,
                            uvws_header_t* header) {
  const uvws__head_t* head = response_of(ws);
  if (head == NULL || index >= uvws__head_field_count(head)) return UV_ENOENT;
  uvws__field_t field = uvws__head_field_at(head, index);
  *header = (uvws_header_t){field.name, field.value};
  return 0;
}

int uvws_getsockname(const uvws_t* ws, struct sockaddr* name, int* namelen) {
  const uvws__stream_t* stream = stream_of(ws);
  if (stream == NULL) return UV_ENOTCONN;
  return uvws__stream_getsockname(stream, name, namelen);
}

int uvws_getpeername(const uvws_t* ws, struct sockaddr* name, int* namelen) {
  const uvws__stream_t* stream = stream_of(ws);
  if (stream == NULL) return UV_ENOTCONN;
  return uvws__stream_getpeername(stream, name, namelen);
}

static void set_ref(uvws_t* ws, bool referenced) {
  uvws__conn_t* conn = conn_of(ws);
  ws->unreferenced = !referenced;
  if (conn == NULL) return;
  uvws__flow_update_hold(conn);
  if (conn->stream != NULL)
    uvws__stream_set_ref(conn->stream, referenced);
  else if (conn->extra->opening != NULL && conn->extra->opening->dial != NULL)
    uvws__dial_set_ref(conn->extra->opening->dial, referenced);
}

void uvws_ref(uvws_t* ws) {
  set_ref(ws, true);
}

void uvws_unref(uvws_t* ws) {
  set_ref(ws, false);
}

int uvws_has_ref(const uvws_t* ws) {
  return !ws->unreferenced;
}

int uvws_owns(const uv_handle_t* handle) {
  return uvws__stream_owns(handle) || uvws__loop_owns(handle);
}

int uvws_post(uv_loop_t* loop, void (*cb)(uv_loop_t* loop, void* arg),
              void* arg) {
  return cb == NULL ? UV_EINVAL : uvws__loop_post(loop, cb, arg);
}

void uvws_walk(uv_loop_t* uv, void (*cb)(uvws_t* ws, void* arg), void* arg) {
  uvws__loop_t* loop = uvws__loop_find(uv);
  if (loop == NULL) return;
  uvws__conn_t* conn = loop->conns;
  while (conn != NULL) {
    /* Ending a socket does not unlink it: that waits for a later turn. */
    uvws__conn_t* next = conn->next;
    cb(conn->ws, arg);
    conn = next;
  }
}

int uvws_is_utf8(const void* data, size_t len) {
  return uvws__utf8_is_valid(data, len);
}

unsigned uvws_version(void) {
  return UVWS_VERSION_HEX;
}

#define STRING(x) #x
#define DOTTED(major, minor, patch) \
  STRING(major) "." STRING(minor) "." STRING(patch)

const char* uvws_version_string(void) {
  return DOTTED(UVWS_VERSION_MAJOR, UVWS_VERSION_MINOR, UVWS_VERSION_PATCH);
}
