#include <string.h>

#include "alloc.h"
#include "connection.h"
#include "deflate.h"
#include "error.h"
#include "opening.h"
#include "protocol/handshake.h"
#include "server.h"
#include "tls.h"

/* A request lives from an accepted stream to a decision: accepted, its stream
 * goes to a connection; otherwise it answers, lingers as every ending does, and
 * closes the stream itself. It is freed when the stream is gone from it, but
 * never while the user's own callback for it is running. */

typedef enum {
  READING,   /* the head is coming */
  UNDECIDED, /* the user has been asked */
  ANSWERED,  /* a response other than 101 is on its way, or the stream closes */
  ACCEPTED   /* the stream is a connection's */
} request_state_t;

struct uvws_request_s {
  uvws__server_t* server;
  uvws__stream_t* stream;
  uvws__head_t* head;
  uvws_request_t* next;
  uvws_request_t** link;
  uvws__deadline_t deadline;
  uvws__deferred_t cancel; /* the server closes */
  uint8_t* rest;           /* what came behind the head */
  size_t rest_len;
  char** protocols; /* offered; one allocation */
  unsigned n_protocols;
  request_state_t state;
  bool is_upgrade;
  bool in_callback;
  void* data;
};

static void free_request(uvws_request_t* request) {
  *request->link = request->next;
  if (request->next != NULL) request->next->link = request->link;
  uvws__wheel_cancel(&request->deadline);
  uvws__loop_undefer(request->server->loop, &request->cancel);
  uvws__head_free(request->head);
  uvws__free(request->rest);
  uvws__free(request->protocols);
  uvws__free(request);
}

static void close_stream(uvws_request_t* request) {
  request->state = ANSWERED;
  uvws__loop_undefer(request->server->loop, &request->cancel);
  uvws__stream_close(request->stream);
}

/* Ends the connection when what is queued is sent. */
static void end_quietly(uvws_request_t* request) {
  const uvws__settings_t* settings = request->server->settings;
  request->state = ANSWERED;
  uvws__loop_undefer(request->server->loop, &request->cancel);
  uvws__loop_set_deadline(request->server->loop, &request->deadline,
                          settings->close_timeout);
  uvws__stream_linger(request->stream, true, settings->max_discard);
}

/* Sends a response and ends the connection. Without memory for the response the
 * end is the answer. */
static void end_with(uvws_request_t* request, uvws__text_t response) {
  uvws__stream_t* stream = request->stream;
  /* `abort` may have closed the stream, by way of the server. */
  bool terminating = request->server->terminating;
  bool may_say =
      response.data != NULL && !terminating && !uvws__stream_is_mute(stream);
  if (may_say && uvws__stream_put(stream, response.data, response.len))
    end_quietly(request);
  else
    close_stream(request);
}

static void refuse(uvws_request_t* request, uvws__failure_t failure) {
  uvws__text_t response = uvws__handshake_refuse(request->head, failure);
  end_with(request, response);
  uvws__free(response.data);
}

/* The user, who has been asked, is told that there is nothing to decide. */
static void tell_abort(uvws_request_t* request, int status) {
  uvws__server_t* server = request->server;
  request->state = ANSWERED;
  if (SERVER_EMITS(server, abort))
    server->events->abort(server->shell, request, status);
}

/* TLS failed with somebody whom the user does not know yet. */
static void tell_tls_error(uvws_request_t* request, uvws__failure_t failure) {
  uvws__server_t* server = request->server;
  const char* text = uvws__stream_tls(request->stream)->text;
  if (!SERVER_EMITS(server, tls_error)) return;
  if (text == NULL) text = uvws__failure_text(failure);
  server->events->tls_error(server->shell, uvws__failure_status(failure), text);
}

static void on_deadline(uvws__deadline_t* deadline) {
  uvws_request_t* request =
      UVWS__CONTAINER_OF(deadline, uvws_request_t, deadline);
  if (request->state == ANSWERED) {
    uvws__stream_close(request->stream);
    return;
  }
  if (request->state == UNDECIDED)
    tell_abort(request, UVWS_ETIMEOUT);
  else if (uvws__stream_is_mute(request->stream))
    tell_tls_error(request, UVWS__FAIL_HANDSHAKE_TIMEOUT);
  refuse(request, UVWS__FAIL_HANDSHAKE_TIMEOUT);
}

static void on_cancel(uvws__deferred_t* deferred) {
  uvws_request_t* request =
      UVWS__CONTAINER_OF(deferred, uvws_request_t, cancel);
  if (request->state == UNDECIDED) tell_abort(request, UV_ECANCELED);
  if (request->server->terminating)
    close_stream(request);
  else
    refuse(request, UVWS__FAIL_SHUTTING_DOWN);
}

void uvws__requests_cancel(uvws__server_t* server) {
  for (uvws_request_t* request = server->requests; request != NULL;
       request = request->next) {
    if (request->state != ANSWERED)
      uvws__loop_defer(server->loop, &request->cancel);
    else if (server->terminating)
      uvws__stream_close(request->stream);
    server->terminated += server->terminating && request->state != ACCEPTED;
  }
}

/* ---- reading ---- */

static bool keep_rest(uvws_request_t* request, const uint8_t* data,
                      size_t len) {
  if (len == 0) return true;
  uint8_t* rest = uvws__realloc(request->rest, request->rest_len + len);
  if (rest == NULL) return false;
  memcpy(rest + request->rest_len, data, len);
  request->rest = rest;
  request->rest_len += len;
  return true;
}

/* The offered subprotocols as strings of their own. */
static bool read_protocols(uvws_request_t* request) {
  const uvws__head_t* head = request->head;
  size_t len, size = 0;
  unsigned n = 0;
  while (uvws__handshake_offered_protocol(head, n, &len) != NULL) {
    size += sizeof(char*) + len + 1;
    n++;
  }
  if (n == 0) return true;
  request->protocols = uvws__malloc(size);
  if (request->protocols == NULL) return false;
  char* at = (char*)(request->protocols + n);
  for (unsigned i = 0; i < n; i++) {
    const char* protocol = uvws__handshake_offered_protocol(head, i, &len);
    request->protocols[i] = at;
    memcpy(at, protocol, len);
    at[len] = '\0';
    at += len + 1;
  }
  request->n_protocols = n;
  return true;
}

static uvws__failure_t check(uvws_request_t* request) {
  request->is_upgrade = !SERVER_EMITS(request->server, http) ||
                        uvws__handshake_is_upgrade(request->head);
  if (!request->is_upgrade) return uvws__handshake_check_http(request->head);
  uvws__failure_t failure = uvws__handshake_check_request(request->head);
  if (failure != UVWS__OK) return failure;
  /* RFC 6455, 10.2: a page of another origin has no business here unless the
   * server says so. */
  if (!(request->server->flags & UVWS_SERVER_ANY_ORIGIN) &&
      !uvws__handshake_same_origin(request->head, request->server->tls != NULL))
    return UVWS__FAIL_ORIGIN;
  return UVWS__OK;
}

static void ask(uvws_request_t* request) {
  uvws__server_t* server = request->server;
  request->state = UNDECIDED;
  request->in_callback = true;
  if (request->is_upgrade)
    server->events->request(server->shell, request);
  else
    server->events->http(server->shell, request);
  request->in_callback = false;
  if (request->state == ACCEPTED)
    free_request(request);
  else if (request->state == UNDECIDED && !SERVER_EMITS(server, abort))
    refuse(request, UVWS__FAIL_UNDECIDED);
}

static void on_head(uvws_request_t* request, const uint8_t* data, size_t len,
                    size_t used) {
  uvws__failure_t failure = check(request);
  /* What comes behind any other request is its body, or the next one. */
  if (failure == UVWS__OK && request->is_upgrade &&
      !(keep_rest(request, data + used, len - used) && read_protocols(request)))
    failure = UVWS__FAIL_NO_MEMORY;
  if (failure == UVWS__OK)
    ask(request);
  else
    refuse(request, failure);
}

static void on_read(uvws__stream_t* stream, uint8_t* data, size_t len) {
  uvws_request_t* request = stream->owner;
  size_t used;
  uvws__failure_t failure;
  if (request->state == UNDECIDED) {
    /* A client that does not wait for the answer is read on to notice when it
     * leaves, but not without bound. */
    if (!request->is_upgrade) return;
    if (!keep_rest(request, data, len)) {
      tell_abort(request, UV_ENOMEM);
      refuse(request, UVWS__FAIL_NO_MEMORY);
    } else if (request->rest_len > request->server->settings->max_head) {
      uvws__stream_read_stop(stream);
    }
    return;
  }
  switch (uvws__head_feed(request->head, data, len, &used, &failure)) {
    case UVWS__HEAD_MORE: break;
    case UVWS__HEAD_DONE: on_head(request, data, len, used); break;
    case UVWS__HEAD_FAILED: refuse(request, failure); break;
  }
}

static void on_ended(uvws__stream_t* stream, int status) {
  uvws_request_t* request = stream->owner;
  if (request->state == UNDECIDED) tell_abort(request, status);
  close_stream(request);
}

/* Whoever failed in TLS has been told by an alert, or in HTTP, and that must
 * arrive. */
static void on_failed(uvws__stream_t* stream, uvws__failure_t failure) {
  uvws_request_t* request = stream->owner;
  uvws__server_t* server = request->server;
  if (request->state == UNDECIDED)
    tell_abort(request, uvws__failure_status(failure));
  else
    tell_tls_error(request, failure);
  /* Either may have closed the stream, by way of the server. */
  if (server->terminating)
    close_stream(request);
  else
    end_quietly(request);
}

static void on_write_failed(uvws__stream_t* stream, int status) {
  uvws_request_t* request = stream->owner;
  if (request->state == UNDECIDED) tell_abort(request, status);
  close_stream(request);
}

static void on_lingered(uvws__stream_t* stream) {
  uvws__stream_close(stream);
}

static void on_closed(uvws__stream_t* stream) {
  uvws_request_t* request = stream->owner;
  uvws__server_t* server = request->server;
  free_request(request);
  uvws__server_conn_gone(server);
}

static const uvws__stream_events_t stream_events = {
    .read = on_read,
    .ended = on_ended,
    .failed = on_failed,
    .write_failed = on_write_failed,
    .lingered = on_lingered,
    .closed = on_closed,
};

/* All that can fail is done before a gift is touched. */
static int prepare_stream(const uvws__server_t* server, uvws__stream_t* stream,
                          const uvws__gift_t* gift) {
  int status = server->tls == NULL
                   ? 0
                   : uvws__stream_secure(stream, server->tls, NULL, 0);
  if (status != 0) return status;
  if (gift == NULL) return uvws__stream_read_start(stream);
  if (!uvws__stream_unread(stream, gift->head, gift->len)) return UV_ENOMEM;
  return uvws__source_take(&gift->source, stream);
}

int uvws__request_begin(uvws__server_t* server, uvws__stream_t* stream,
                        const uvws__gift_t* gift) {
  const uvws__settings_t* settings = server->settings;
  uvws_request_t* request = uvws__zalloc(sizeof(*request));
  if (request == NULL) return UV_ENOMEM;
  request->head = uvws__head_new(UVWS__HEAD_REQUEST, settings->max_head,
                                 settings->max_headers);
  int status =
      request->head == NULL ? UV_ENOMEM : prepare_stream(server, stream, gift);
  if (status != 0) {
    uvws__head_free(request->head);
    uvws__free(request);
    return status;
  }
  request->server = server;
  request->stream = stream;
  request->deadline.passed = on_deadline;
  request->cancel.run = on_cancel;
  uvws__stream_own(stream, &stream_events, request);
  request->next = server->requests;
  request->link = &server->requests;
  if (request->next != NULL) request->next->link = &request->next;
  server->requests = request;
  uvws__loop_set_deadline(server->loop, &request->deadline,
                          settings->handshake_timeout);
  /* A gift that cannot be read is a connection that has ended. */
  if (gift != NULL && uvws__stream_read_start(stream) != 0)
    close_stream(request);
  return 0;
}

/* ---- the calls ---- */

void uvws_request_tls_info(const uvws_request_t* request,
                           uvws_tls_info_t* info) {
  uvws__tls_info_fill(info, uvws__stream_tls(request->stream), request->stream);
}

const char* uvws_request_method(const uvws_request_t* request) {
  return uvws__head_method(request->head);
}

const char* uvws_request_target(const uvws_request_t* request) {
  return uvws__head_target(request->head);
}

const char* uvws_request_header(const uvws_request_t* request,
                                const char* name) {
  return uvws__head_field(request->head, name, NULL);
}

int uvws_request_header_at(const uvws_request_t* request, unsigned index,
                           uvws_header_t* header) {
  if (index >= uvws__head_field_count(request->head)) return UV_ENOENT;
  uvws__field_t field = uvws__head_field_at(request->head, index);
  *header = (uvws_header_t){field.name, field.value};
  return 0;
}

const char* uvws_request_protocol(const uvws_request_t* request,
                                  unsigned index) {
  return index < request->n_protocols ? request->protocols[index] : NULL;
}

int uvws_request_getpeername(const uvws_request_t* request,
                             struct sockaddr* name, int* namelen) {
  return uvws__stream_getpeername(request->stream, name, namelen);
}

void uvws_request_set_data(uvws_request_t* request, void* data) {
  request->data = data;
}

void* uvws_request_get_data(const uvws_request_t* request) {
  return request->data;
}

static bool is_offered(const uvws_request_t* request, const char* protocol) {
  for (unsigned i = 0; i < request->n_protocols; i++)
    if (strcmp(request->protocols[i], protocol) == 0) return true;
  return false;
}

/* The url attribute of an accepted socket. */
static char* make_url(const uvws_request_t* request) {
  bool secure = uvws__stream_tls(request->stream) != NULL;
  const char* scheme = secure ? "wss://" : "ws://";
  const char* host = uvws__head_field(request->head, "Host", NULL);
  const char* target = uvws__handshake_resource(request->head);
  uvws__text_t url = {NULL, 0};
  do {
    uvws__put_string(&url, scheme);
    uvws__put_string(&url, host);
    uvws__put_string(&url, target);
    uvws__put(&url, "", 1);
  } while (uvws__compose_again(&url));
  return url.data;
}

/* Everything that may fail, the last step queueing the 101 itself. */
static int prepare(uvws_request_t* request,
                   const uvws_accept_options_t* options,
                   const uvws__field_t* fields, uvws__conn_t* conn) {
  const char* protocol = options->protocol;
  if (!uvws__deflate_accept(conn, request->head)) return UV_ENOMEM;
  uvws__text_t response =
      uvws__handshake_response(request->head, protocol, conn->names->extensions,
                               fields, options->n_headers);
  conn->names->url = make_url(request);
  if (protocol != NULL)
    conn->names->protocol = uvws__strndup(protocol, strlen(protocol));
  bool queued = response.data != NULL && conn->names->url != NULL &&
                (protocol == NULL || conn->names->protocol != NULL) &&
                uvws__stream_put(request->stream, response.data, response.len);
  uvws__free(response.data);
  if (queued) uvws__names_share(&conn->names, &request->server->names);
  return queued ? 0 : UV_ENOMEM;
}

static void hand_over(uvws_request_t* request, uvws__conn_t* conn) {
  uvws__stream_t* stream = request->stream;
  /* Nothing may be read before `open` has come, at the end of the turn. */
  uvws__stream_read_pause(stream);
  conn->http_status = 101;
  conn->extra->opening->rest = request->rest;
  conn->extra->opening->rest_len = request->rest_len;
  request->rest = NULL;
  uvws__conn_take_stream(conn, stream);
  uvws__conn_begin(conn);
  uvws__opening_defer(conn->extra->opening, UVWS__EVENT_UPGRADED);
  request->state = ACCEPTED;
  if (!request->in_callback) free_request(request);
}

static int accept_with(uvws_request_t* request, uvws_t* ws,
                       const uvws_accept_options_t* options,
                       const uvws__field_t* fields) {
  uvws__conn_t* conn;
  int status = uvws__conn_new(ws, UVWS__SERVER, UVWS__STATE_UPGRADING,
                              request->server->settings, &conn);
  if (status != 0) return status;
  status = uvws__conn_enter(conn);
  if (status == 0) status = prepare(request, options, fields, conn);
  if (status != 0)
    uvws__conn_abandon(conn);
  else
    hand_over(request, conn);
  return status;
}

int uvws_accept(uvws_request_t* request, uvws_t* ws,
                const uvws_accept_options_t* from) {
  uvws_accept_options_t options;
  uvws__field_t* fields;
  if (request->state != UNDECIDED || request->server->closing)
    return UV_ECANCELED;
  if (ws->conn != NULL) return UV_EALREADY;
  if (ws->loop != request->server->loop->uv) return UV_EINVAL;
  if (!request->is_upgrade) return UVWS_EUPGRADE;
  int status = uvws__accept_options_read(&options, from);
  if (status != 0) return status;
  if (options.protocol != NULL && !is_offered(request, options.protocol))
    return UVWS_EINVALIDACCESS;
  status = uvws__fields_read(options.headers, options.n_headers, &fields);
  if (status != 0) return status;
  status = accept_with(request, ws, &options, fields);
  uvws__free(fields);
  return status;
}

int uvws_reject(uvws_request_t* request, int http_status,
                const uvws_header_t* headers, unsigned n_headers,
                const void* body, size_t len) {
  return uvws_respond(request, http_status, headers, n_headers, body, len);
}

int uvws_respond(uvws_request_t* request, int http_status,
                 const uvws_header_t* headers, unsigned n_headers,
                 const void* body, size_t len) {
  uvws__field_t* fields;
  if (request->state != UNDECIDED) return UV_ECANCELED;
  if (body == NULL && len > 0) return UV_EINVAL;
  /* RFC 9110, 15.3.5, 15.3.6, 15.4.5: these have no content. */
  bool empty = http_status == 204 || http_status == 205 || http_status == 304;
  if (http_status < 200 || http_status > 599 || (empty && len > 0))
    return UV_EINVAL;
  int status = uvws__fields_read(headers, n_headers, &fields);
  if (status != 0) return status;
  if (uvws__handshake_wants_no_body(request->head)) body = NULL;
  uvws__text_t response = uvws__handshake_refusal((unsigned)http_status, fields,
                                                  n_headers, body, len);
  uvws__free(fields);
  if (response.data == NULL) return UV_ENOMEM;
  end_with(request, response);
  uvws__free(response.data);
  return 0;
}
