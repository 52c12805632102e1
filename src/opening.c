#include "opening.h"

#include <string.h>

#include "alloc.h"
#include "deflate.h"
#include "error.h"
#include "options.h"

/* The request is built before the first step, so that all that a caller got
 * wrong, and a lack of memory, is known while uvws_connect() can still say so;
 * what the network does comes as events. */

static void on_deferred(uvws__deferred_t* deferred) {
  uvws__opening_t* opening =
      UVWS__CONTAINER_OF(deferred, uvws__opening_t, deferred);
  uvws__cause_t cause = uvws__cause_of_status(opening->status);
  uvws__conn_event(opening->conn, opening->event,
                   opening->status == 0 ? NULL : &cause);
}

uvws__opening_t* uvws__opening_new(uvws__conn_t* conn) {
  uvws__opening_t* opening = uvws__zalloc(sizeof(*opening));
  if (opening == NULL) return NULL;
  opening->conn = conn;
  opening->deferred.run = on_deferred;
  return opening;
}

void uvws__opening_free(uvws__opening_t* opening) {
  if (opening == NULL) return;
  uvws__claim_drop(&opening->claim);
  uvws__way_free(opening->way);
  uvws__free(opening->host);
  uvws__free(opening->pipe);
  for (unsigned i = 0; i < opening->n_protocols; i++)
    uvws__free(opening->protocols[i]);
  uvws__free(opening->protocols);
  uvws__free(opening->fields);
  uvws__free(opening->extensions);
  uvws__free(opening->request.data);
  uvws__free(opening->rest);
  uvws__free(opening->server_name);
  uvws_tls_unref(opening->tls);
  uvws__head_free(opening->head);
  uvws__loop_undefer(opening->conn->loop, &opening->deferred);
  uvws__free(opening);
}

void uvws__opening_defer(uvws__opening_t* opening, uvws__event_t event) {
  opening->event = event;
  uvws__loop_defer(opening->conn->loop, &opening->deferred);
}

static void on_connected(void* owner, uvws__stream_t* stream) {
  uvws__conn_t* conn = owner;
  conn->extra->opening->dial = NULL;
  uvws__opening_t* opening = conn->extra->opening;
  uvws__conn_take_stream(conn, stream);
  int status = opening->tls == NULL
                   ? 0
                   : uvws__stream_secure(stream, opening->tls,
                                         opening->server_name, opening->port);
  uvws__cause_t cause = uvws__cause_of_status(status);
  uvws__conn_event(conn, status == 0 ? UVWS__EVENT_CONNECTED : UVWS__EVENT_LOST,
                   status == 0 ? NULL : &cause);
}

static void on_failed(void* owner, uvws__trouble_t trouble) {
  uvws__conn_t* conn = owner;
  uvws__cause_t cause = trouble.failure != UVWS__OK
                            ? uvws__cause_of(trouble.failure)
                            : uvws__cause_of_status(trouble.status);
  conn->extra->opening->dial = NULL;
  conn->extra->detail = trouble.text;
  if (conn->extra->detail != NULL) cause.text = conn->extra->detail;
  uvws__conn_event(conn, UVWS__EVENT_LOST, &cause);
}

static void on_cancelled(void* owner) {
  uvws__conn_t* conn = owner;
  conn->extra->opening->dial = NULL;
  uvws__conn_event(conn, UVWS__EVENT_RELEASED, NULL);
}

static const uvws__dial_events_t dial_events = {on_connected, on_failed,
                                                on_cancelled};

static bool copy_protocols(uvws__opening_t* opening,
                           const char* const* protocols, unsigned n) {
  if (n == 0) return true;
  opening->protocols = uvws__calloc(n, sizeof(*opening->protocols));
  if (opening->protocols == NULL) return false;
  for (; opening->n_protocols < n; opening->n_protocols++) {
    const char* protocol = protocols[opening->n_protocols];
    char* copy = uvws__strndup(protocol, strlen(protocol));
    if (copy == NULL) return false;
    opening->protocols[opening->n_protocols] = copy;
  }
  return true;
}

static bool prepare_tls(uvws__opening_t* opening, const uvws__url_t* url,
                        const uvws_options_t* options, uvws_tls_t* tls) {
  if (tls == NULL) return true;
  const char* name =
      options->server_name == NULL ? url->host : options->server_name;
  opening->tls = uvws_tls_ref(tls);
  opening->port = url->port;
  /* RFC 6066, 3: without the dot that may end a host name in the DNS. */
  size_t len = strlen(name);
  if (len > 1 && name[len - 1] == '.') len--;
  opening->server_name = uvws__strndup(name, len);
  return opening->server_name != NULL;
}

int uvws__opening_prepare(uvws__opening_t* opening, const uvws__url_t* url,
                          const uvws_options_t* options,
                          const uvws__field_t* fields, uvws_tls_t* tls) {
  uvws__conn_t* conn = opening->conn;
  uint8_t nonce[UVWS__NONCE_SIZE];
  const uvws__deflate_plan_t* deflate = conn->settings->deflate;
  if (deflate != NULL) {
    opening->extensions = uvws__deflate_offer(deflate->wishes, deflate->n);
    if (opening->extensions == NULL) return UV_ENOMEM;
  }
  uvws__offer_t offer = {
      .extensions = opening->extensions,
      .target = url->target,
      .authority = url->authority,
      .username = url->has_userinfo ? url->username : NULL,
      .password = url->has_userinfo ? url->password : NULL,
      .origin = options->origin,
      .protocols = options->protocols,
      .n_protocols = options->n_protocols,
      .fields = fields,
      .n_fields = options->n_headers,
  };
  int status = uv_random(NULL, NULL, nonce, sizeof(nonce), 0, NULL);
  if (status != 0) return status;
  opening->request = uvws__handshake_request(&offer, nonce, opening->key);
  opening->head = uvws__head_new(UVWS__HEAD_RESPONSE, conn->settings->max_head,
                                 conn->settings->max_headers);
  if (opening->request.data == NULL || opening->head == NULL ||
      !copy_protocols(opening, options->protocols, options->n_protocols) ||
      !prepare_tls(opening, url, options, tls))
    return UV_ENOMEM;
  return 0;
}

/* What the dial refers to must be as lasting as the dial. */
int uvws__opening_set_route(uvws__opening_t* opening, const uvws__url_t* url,
                            const uvws_options_t* options, uvws__way_t* way) {
  const char* pipe = options->pipe;
  opening->way = way;
  opening->host = uvws__strndup(url->host, strlen(url->host));
  if (pipe != NULL) opening->pipe = uvws__strndup(pipe, strlen(pipe));
  if (opening->host == NULL || (pipe != NULL && opening->pipe == NULL))
    return UV_ENOMEM;
  opening->route = (uvws__route_t){
      .host = opening->host,
      .port = url->port,
      .pipe = opening->pipe,
      .proxy = way == NULL ? NULL : &way->proxy,
      .attempt_delay =
          options->attempt_delay < 10 ? 10 : options->attempt_delay,
      .tcp = {options->tcp_nodelay != 0, options->tcp_keepalive},
      .resolver = {options->lookup, options->lookup_arg},
  };
  if (options->local_address != NULL) {
    const struct sockaddr* local = options->local_address;
    memcpy(&opening->local, local, uvws__address_size(local));
    opening->route.local = (struct sockaddr*)&opening->local;
  }
  if (options->flags & UVWS_CONNECT_ONE_AT_A_TIME)
    opening->route.claim = &opening->claim;
  return 0;
}

void uvws__opening_dial(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  opening->dial =
      uvws__dial_new(conn->loop, &opening->route, &dial_events, conn);
  if (opening->dial != NULL) {
    uvws__dial_set_ref(opening->dial, !conn->ws->unreferenced);
  } else {
    opening->status = UV_ENOMEM;
    uvws__opening_defer(opening, UVWS__EVENT_LOST);
  }
}

static int send_request(uvws__opening_t* opening) {
  uvws__stream_t* stream = opening->conn->stream;
  uvws__text_t request = opening->request;
  if (request.data == NULL) return 0;
  if (!uvws__stream_put(stream, request.data, request.len)) return UV_ENOMEM;
  uvws__stream_flush(stream);
  uvws__free(request.data);
  opening->request.data = NULL;
  return 0;
}

void uvws__opening_send(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  int status = uvws__stream_read_start(conn->stream);
  if (status == 0) status = send_request(opening);
  if (status == 0) return;
  /* This may be inside a call, which says that the socket is CONNECTING. */
  opening->status = status;
  uvws__opening_defer(opening, UVWS__EVENT_FAIL);
}

/* ---- the answer of a server ---- */

static uvws__failure_t agree(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  uvws__agreement_t agreement;
  uvws__offer_t offer = {
      .protocols = (const char* const*)opening->protocols,
      .n_protocols = opening->n_protocols,
      .extensions = opening->extensions,
  };
  uvws__failure_t failure = uvws__handshake_check_response(
      opening->head, &offer, opening->key, &agreement);
  if (failure == UVWS__OK && agreement.extensions[0] != '\0')
    failure = uvws__deflate_take_answer(conn, agreement.extensions);
  if (failure != UVWS__OK || agreement.protocol[0] == '\0') return failure;
  conn->names->protocol =
      uvws__strndup(agreement.protocol, strlen(agreement.protocol));
  return conn->names->protocol == NULL ? UVWS__FAIL_NO_MEMORY : UVWS__OK;
}

/* ---- the request to a server that was not accepted by a uvws_server_t ---- */

int uvws__opening_prepare_server(uvws__opening_t* opening,
                                 const uvws_options_t* options) {
  const uvws__conn_t* conn = opening->conn;
  opening->head = uvws__head_new(UVWS__HEAD_REQUEST, conn->settings->max_head,
                                 conn->settings->max_headers);
  opening->fields = uvws__fields_copy(options->headers, options->n_headers);
  if (opening->fields != NULL) opening->n_fields = options->n_headers;
  if (opening->head == NULL || opening->fields == NULL ||
      !copy_protocols(opening, options->protocols, options->n_protocols))
    return UV_ENOMEM;
  return 0;
}

/* RFC 6455, 4.2.2, 5, /subprotocol/: of those that we speak the one that the
 * client likes best; NULL for none. */
static const char* choose_protocol(const uvws__opening_t* opening) {
  size_t len;
  const char* offered;
  for (unsigned i = 0; (offered = uvws__handshake_offered_protocol(
                            opening->head, i, &len)) != NULL;
       i++)
    for (unsigned j = 0; j < opening->n_protocols; j++)
      if (strlen(opening->protocols[j]) == len &&
          memcmp(opening->protocols[j], offered, len) == 0)
        return opening->protocols[j];
  return NULL;
}

static bool queue(uvws__stream_t* stream, uvws__text_t response) {
  bool queued = response.data != NULL &&
                uvws__stream_put(stream, response.data, response.len);
  uvws__free(response.data);
  return queued;
}

static uvws__failure_t accept_request(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  bool is_secure = uvws__stream_tls(conn->stream) != NULL;
  uvws__failure_t failure = uvws__handshake_check_request(opening->head);
  if (failure != UVWS__OK) return failure;
  if (!opening->any_origin &&
      !uvws__handshake_same_origin(opening->head, is_secure))
    return UVWS__FAIL_ORIGIN;
  const char* protocol = choose_protocol(opening);
  if (protocol != NULL) {
    conn->names->protocol = uvws__strndup(protocol, strlen(protocol));
    if (conn->names->protocol == NULL) return UVWS__FAIL_NO_MEMORY;
  }
  if (!uvws__deflate_accept(conn, opening->head)) return UVWS__FAIL_NO_MEMORY;
  if (!queue(conn->stream, uvws__handshake_response(
                               opening->head, protocol, conn->names->extensions,
                               opening->fields, opening->n_fields)))
    return UVWS__FAIL_NO_MEMORY;
  conn->http_status = 101;
  return UVWS__OK;
}

bool uvws__opening_refuse(uvws__opening_t* opening, uvws__failure_t failure) {
  uvws__conn_t* conn = opening->conn;
  uvws__cause_t cause = uvws__cause_of(failure);
  if (uvws__stream_is_mute(conn->stream) ||
      !queue(conn->stream, uvws__handshake_refuse(opening->head, failure)))
    return false;
  uvws__conn_event(conn, UVWS__EVENT_REFUSED, &cause);
  return true;
}

/* ---- either ---- */

size_t uvws__opening_receive(uvws__opening_t* opening, const uint8_t* data,
                             size_t len) {
  uvws__conn_t* conn = opening->conn;
  size_t used = 0;
  uvws__failure_t failure = UVWS__OK;
  uvws__head_status_t status =
      uvws__head_feed(opening->head, data, len, &used, &failure);
  if (status == UVWS__HEAD_MORE) return len;
  /* A refusal may be known before its head is complete. */
  if (!conn->is_server &&
      (status == UVWS__HEAD_DONE || failure == UVWS__FAIL_HTTP_STATUS))
    conn->http_status = (uint16_t)uvws__head_http_status(opening->head);
  if (status == UVWS__HEAD_DONE)
    failure = conn->is_server ? accept_request(opening) : agree(opening);
  if (failure == UVWS__OK)
    uvws__conn_event(conn, UVWS__EVENT_UPGRADED, NULL);
  else if (!conn->is_server || !uvws__opening_refuse(opening, failure))
    uvws__conn_fail(conn, failure);
  return used;
}
