#include "opening.h"

#include <string.h>

#include "alloc.h"
#include "error.h"

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
  uvws__opening_t* opening = uvws__calloc(1, sizeof(*opening));
  if (opening == NULL) return NULL;
  opening->conn = conn;
  opening->deferred.run = on_deferred;
  return opening;
}

void uvws__opening_free(uvws__opening_t* opening) {
  if (opening == NULL) return;
  for (unsigned i = 0; i < opening->n_protocols; i++)
    uvws__free(opening->protocols[i]);
  uvws__free(opening->protocols);
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
  conn->opening->dial = NULL;
  uvws__opening_t* opening = conn->opening;
  uvws__conn_take_stream(conn, stream);
  int status = opening->tls == NULL
                   ? 0
                   : uvws__stream_secure(stream, opening->tls,
                                         opening->server_name, opening->port);
  uvws__cause_t cause = uvws__cause_of_status(status);
  uvws__conn_event(conn, status == 0 ? UVWS__EVENT_CONNECTED : UVWS__EVENT_LOST,
                   status == 0 ? NULL : &cause);
}

static void on_failed(void* owner, int status) {
  uvws__conn_t* conn = owner;
  uvws__cause_t cause = uvws__cause_of_status(status);
  conn->opening->dial = NULL;
  uvws__conn_event(conn, UVWS__EVENT_LOST, &cause);
}

static void on_cancelled(void* owner) {
  uvws__conn_t* conn = owner;
  conn->opening->dial = NULL;
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
  uvws__offer_t offer = {
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

void uvws__opening_dial(uvws__opening_t* opening, const uvws__url_t* url,
                        const char* pipe) {
  uvws__conn_t* conn = opening->conn;
  opening->dial = uvws__dial_new(conn->loop, url->host, url->port, pipe,
                                 &dial_events, conn);
  if (opening->dial != NULL) {
    uvws__dial_set_ref(opening->dial, !conn->ws->unreferenced);
  } else {
    opening->status = UV_ENOMEM;
    uvws__opening_defer(opening, UVWS__EVENT_LOST);
  }
}

void uvws__opening_send(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  uvws__text_t request = opening->request;
  int status = uvws__stream_read_start(conn->stream);
  uint8_t* room =
      status == 0 ? uvws__stream_reserve(conn->stream, request.len, 0) : NULL;
  if (status == 0 && room == NULL) status = UV_ENOMEM;
  if (status != 0) {
    uvws__cause_t cause = uvws__cause_of_status(status);
    uvws__conn_event(conn, UVWS__EVENT_FAIL, &cause);
    return;
  }
  memcpy(room, request.data, request.len);
  uvws__stream_flush(conn->stream);
  uvws__free(request.data);
  opening->request.data = NULL;
}

static uvws__failure_t agree(uvws__opening_t* opening) {
  uvws__conn_t* conn = opening->conn;
  uvws__agreement_t agreement;
  uvws__offer_t offer = {
      .protocols = (const char* const*)opening->protocols,
      .n_protocols = opening->n_protocols,
  };
  conn->http_status = (uint16_t)uvws__head_http_status(opening->head);
  uvws__failure_t failure = uvws__handshake_check_response(
      opening->head, &offer, opening->key, &agreement);
  if (failure != UVWS__OK || agreement.protocol[0] == '\0') return failure;
  conn->protocol =
      uvws__strndup(agreement.protocol, strlen(agreement.protocol));
  return conn->protocol == NULL ? UVWS__FAIL_NO_MEMORY : UVWS__OK;
}

size_t uvws__opening_receive(uvws__opening_t* opening, const uint8_t* data,
                             size_t len) {
  size_t used = 0;
  uvws__failure_t failure = UVWS__OK;
  uvws__head_status_t status =
      uvws__head_feed(opening->head, data, len, &used, &failure);
  if (status == UVWS__HEAD_MORE) return len;
  /* A refusal may be known before its head is complete. */
  if (status == UVWS__HEAD_DONE || failure == UVWS__FAIL_HTTP_STATUS)
    opening->conn->http_status =
        (uint16_t)uvws__head_http_status(opening->head);
  if (status == UVWS__HEAD_DONE) failure = agree(opening);
  if (failure == UVWS__OK)
    uvws__conn_event(opening->conn, UVWS__EVENT_UPGRADED, NULL);
  else
    uvws__conn_fail(opening->conn, failure);
  return used;
}
