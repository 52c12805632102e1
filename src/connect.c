#include <string.h>

#include "alloc.h"
#include "connection.h"
#include "net/adopted.h"
#include "opening.h"
#include "proxy.h"
#include "tls.h"

/* How a socket begins that no uvws_server_t has accepted: by connecting, or
 * with a stream that somebody else has connected. First the plan is read, that
 * is, everything is found out that a caller can have got wrong; then the
 * connection is made; then the first step is taken, after which there are only
 * events. */

typedef struct plan_s {
  uvws_options_t options;
  uvws__url_t url; /* zeroed when there is none */
  uvws__field_t* fields;
  uvws_tls_t* tls; /* or NULL */
} plan_t;

/* ---- the plan ---- */

/* WebSockets standard, 3.1, the constructor's checks, and the Fetch standard's
 * port blocking, which we report here instead of in a task. */
static int read_url(uvws__url_t* url, const char* text) {
  switch (uvws__url_parse(url, text, strlen(text))) {
    case UVWS__URL_OK: break;
    case UVWS__URL_NO_MEMORY: return UV_ENOMEM;
    default: return UVWS_ESYNTAX;
  }
  return uvws__port_is_blocked(url->port) ? UVWS_ESECURITY : 0;
}

static bool origin_is_valid(const char* origin) {
  uvws__field_t field = {"x", origin};
  return origin == NULL || uvws__field_is_allowed(&field);
}

/* RFC 6066, 3: at most what a host name can have. */
static bool server_name_is_valid(const char* name) {
  return name == NULL || (name[0] != '\0' && strlen(name) <= 255);
}

static int read_lists(plan_t* plan) {
  const uvws_options_t* options = &plan->options;
  if (options->protocols == NULL && options->n_protocols > 0) return UV_EINVAL;
  if (!uvws__protocols_are_valid(options->protocols, options->n_protocols))
    return UVWS_ESYNTAX;
  return uvws__fields_read(options->headers, options->n_headers, &plan->fields);
}

static int check_client(const plan_t* plan) {
  const uvws_options_t* options = &plan->options;
  bool local_is_valid = options->local_address == NULL ||
                        uvws__address_size(options->local_address) > 0;
  bool names_are_valid =
      server_name_is_valid(options->server_name) &&
      (!plan->url.secure || server_name_is_valid(plan->url.host));
  return origin_is_valid(options->origin) && local_is_valid && names_are_valid
             ? 0
             : UV_EINVAL;
}

/* The trust store goes last, because it may be a file to read. */
static int read_client(plan_t* plan, const char* url) {
  int status = url == NULL ? UV_EINVAL : read_url(&plan->url, url);
  if (status == 0) status = read_lists(plan);
  if (status == 0) status = check_client(plan);
  if (status == 0 && plan->url.secure)
    status = uvws__tls_for_client(plan->options.tls, &plan->tls);
  return status;
}

static int read_server(plan_t* plan) {
  uvws_tls_t* tls = plan->options.tls;
  if (tls != NULL && !uvws__tls_config_has_certificate(tls)) return UV_EINVAL;
  if (tls != NULL) plan->tls = uvws_tls_ref(tls);
  return read_lists(plan);
}

static void clear_plan(plan_t* plan) {
  uvws_tls_unref(plan->tls);
  uvws__free(plan->fields);
  uvws__url_clear(&plan->url);
}

/* ---- the connection ---- */

static int make_conn(uvws_t* ws, uvws__role_t role, uvws__state_t state,
                     const plan_t* plan, const char* url,
                     uvws__conn_t** result) {
  uvws__conn_t* conn;
  uvws__settings_t* settings;
  int status = uvws__settings_for_client(&plan->options, &settings);
  if (status != 0) return status;
  status = uvws__conn_new(ws, role, state, settings, &conn);
  uvws__settings_unref(settings);
  if (status != 0) return status;
  if (url != NULL) conn->names->url = uvws__strndup(url, strlen(url));
  if (url != NULL && conn->names->url == NULL) {
    uvws__conn_abandon(conn);
    return UV_ENOMEM;
  }
  *result = conn;
  return 0;
}

/* ---- uvws_connect() ---- */

static int prepare_dial(uvws__opening_t* opening, const plan_t* plan) {
  uvws__way_t* way;
  int status = uvws__opening_prepare(opening, &plan->url, &plan->options,
                                     plan->fields, plan->tls);
  if (status == 0) status = uvws__way_read(&plan->options, &plan->url, &way);
  if (status == 0)
    status = uvws__opening_set_route(opening, &plan->url, &plan->options, way);
  return status;
}

static int begin_dial(uvws_t* ws, const plan_t* plan) {
  uvws__conn_t* conn;
  int status = make_conn(ws, UVWS__CLIENT, UVWS__STATE_DIALING, plan,
                         plan->url.href, &conn);
  if (status != 0) return status;
  status = prepare_dial(conn->extra->opening, plan);
  /* Last, because what it makes takes a turn of the loop to unmake. */
  if (status == 0) status = uvws__conn_enter(conn);
  if (status != 0) {
    uvws__conn_abandon(conn);
    return status;
  }
  uvws__conn_begin(conn);
  uvws__opening_dial(conn->extra->opening);
  return 0;
}

int uvws_connect(uvws_t* ws, const char* url, const uvws_options_t* from) {
  plan_t plan = {.fields = NULL};
  if (ws->conn != NULL) return UV_EALREADY;
  int status = uvws__options_read(&plan.options, from);
  if (status == 0 && plan.options.pipe != NULL)
    status = uvws__pipe_name_check(plan.options.pipe);
  if (status == 0) status = read_client(&plan, url);
  if (status == 0) status = begin_dial(ws, &plan);
  clear_plan(&plan);
  return status;
}

/* ---- uvws_adopt() ---- */

typedef struct adoption_s {
  uvws_adopt_options_t how;
  uvws__source_t source;
  const void* head;
  size_t len;
  plan_t plan;
} adoption_t;

static bool is_server(const adoption_t* adoption) {
  return adoption->how.role == UVWS_ROLE_SERVER;
}

static int read_adoption(adoption_t* adoption,
                         const uvws_adopt_options_t* from) {
  uvws_adopt_options_t* how = &adoption->how;
  if (from == NULL || (adoption->head == NULL && adoption->len > 0))
    return UV_EINVAL;
  int status = uvws__adopt_options_read(how, from);
  if (status != 0) return status;
  if ((how->role != UVWS_ROLE_CLIENT && how->role != UVWS_ROLE_SERVER) ||
      (how->key != NULL && !uvws__key_is_valid(how->key)))
    return UV_EINVAL;
  status = uvws__options_read(&adoption->plan.options, how->options);
  if (status != 0 || how->upgraded) return status;
  return is_server(adoption) ? read_server(&adoption->plan)
                             : read_client(&adoption->plan, how->url);
}

static int keep_upgraded(uvws__conn_t* conn, const adoption_t* adoption) {
  uvws__opening_t* opening = conn->extra->opening;
  const char* protocol = adoption->how.protocol;
  conn->http_status = 101;
  if (protocol != NULL) {
    conn->names->protocol = uvws__strndup(protocol, strlen(protocol));
    if (conn->names->protocol == NULL) return UV_ENOMEM;
  }
  if (adoption->len == 0) return 0;
  opening->rest = uvws__malloc(adoption->len);
  if (opening->rest == NULL) return UV_ENOMEM;
  memcpy(opening->rest, adoption->head, adoption->len);
  opening->rest_len = adoption->len;
  return 0;
}

static int prepare_opening(uvws__conn_t* conn, const adoption_t* adoption) {
  uvws__opening_t* opening = conn->extra->opening;
  const plan_t* plan = &adoption->plan;
  const char* key = adoption->how.key;
  if (adoption->how.upgraded) return keep_upgraded(conn, adoption);
  opening->any_origin = adoption->how.flags & UVWS_SERVER_ANY_ORIGIN;
  if (is_server(adoption))
    return uvws__opening_prepare_server(opening, &plan->options);
  int status = uvws__opening_prepare(opening, &plan->url, &plan->options,
                                     plan->fields, plan->tls);
  if (status == 0 && key != NULL) {
    /* Somebody else has sent the request. */
    uvws__free(opening->request.data);
    opening->request.data = NULL;
    memcpy(opening->key, key, UVWS__KEY_SIZE);
  }
  return status;
}

/* All that can fail is done before the stream is touched. */
static int take_stream(uvws__conn_t* conn, const adoption_t* adoption) {
  const uvws__opening_t* opening = conn->extra->opening;
  uvws_tls_t* tls = adoption->plan.tls;
  uvws__stream_t* stream;
  int status = uvws__source_prepare(&adoption->source, conn->loop, &stream);
  if (status != 0) return status;
  if (tls != NULL)
    status = uvws__stream_secure(
        stream, tls, is_server(adoption) ? NULL : opening->server_name,
        opening->port);
  if (status == 0 && !adoption->how.upgraded &&
      !uvws__stream_unread(stream, adoption->head, adoption->len))
    status = UV_ENOMEM;
  if (status == 0) status = uvws__source_take(&adoption->source, stream);
  if (status != 0) {
    uvws__source_leave(&adoption->source, stream);
    return status;
  }
  const uvws_options_t* options = &adoption->plan.options;
  uvws__tcp_settings_t tcp = {options->tcp_nodelay != 0,
                              options->tcp_keepalive};
  uvws__stream_tune(stream, &tcp);
  uvws__conn_take_stream(conn, stream);
  return 0;
}

static int begin_adoption(uvws_t* ws, const adoption_t* adoption) {
  uvws__conn_t* conn;
  const char* href = adoption->plan.url.href;
  int status = make_conn(ws, is_server(adoption) ? UVWS__SERVER : UVWS__CLIENT,
                         UVWS__STATE_UPGRADING, &adoption->plan,
                         href != NULL ? href : adoption->how.url, &conn);
  if (status != 0) return status;
  status = prepare_opening(conn, adoption);
  if (status == 0) status = uvws__conn_enter(conn);
  if (status == 0) status = take_stream(conn, adoption);
  if (status != 0) {
    uvws__conn_abandon(conn);
    return status;
  }
  uvws__conn_begin(conn);
  if (adoption->how.upgraded) {
    uvws__opening_defer(conn->extra->opening, UVWS__EVENT_UPGRADED);
  } else {
    uvws__conn_await_handshake(conn);
    uvws__opening_send(conn->extra->opening);
  }
  return 0;
}

static int adopt(uvws_t* ws, adoption_t* adoption,
                 const uvws_adopt_options_t* options) {
  if (ws->conn != NULL) return UV_EALREADY;
  int status = read_adoption(adoption, options);
  if (status == 0) status = uvws__source_check(&adoption->source, ws->loop);
  adoption->source.release = adoption->how.release;
  if (status == 0) status = begin_adoption(ws, adoption);
  clear_plan(&adoption->plan);
  return status;
}

int uvws_adopt(uvws_t* ws, uv_stream_t* stream, const void* head, size_t len,
               const uvws_adopt_options_t* options) {
  adoption_t adoption = {.source.handle = stream, .head = head, .len = len};
  return stream == NULL ? UV_EINVAL : adopt(ws, &adoption, options);
}

int uvws_adopt_fd(uvws_t* ws, uv_os_sock_t fd, const void* head, size_t len,
                  const uvws_adopt_options_t* options) {
  adoption_t adoption = {.source.fd = fd, .head = head, .len = len};
  return adopt(ws, &adoption, options);
}
