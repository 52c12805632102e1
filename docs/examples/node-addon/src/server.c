#include <stdlib.h>
#include <string.h>

#include "addon.h"

/* A server that listens by itself. Requests are decided by JavaScript, at once
 * or later; one that is gone before answers UV_ECANCELED. */

typedef struct server_s {
  uvws_server_t server;
  addon_t* addon;
  struct server_s* next;
  struct server_s** link;
  napi_ref target;
  bool is_open;    /* its `close` is to come */
  bool has_handle; /* JavaScript may call it */
} server_t;

typedef struct request_s {
  uvws_request_t* request; /* NULL once it is decided, or gone */
} request_t;

static void free_if_unused(server_t* server) {
  if (!server->is_open && !server->has_handle) free(server);
}

static server_t* server_of(uvws_server_t* server) {
  return CONTAINER_OF(server, server_t, server);
}

void server_leave(server_t* server) {
  uvws_server_close(&server->server, 0);
}

server_t* server_next(server_t* server) {
  return server->next;
}

/* ---- requests ---- */

static void on_request_gone(napi_env env, void* data, void* hint) {
  request_t* request = data;
  (void)env;
  (void)hint;
  if (request->request != NULL) {
    uvws_request_set_data(request->request, NULL);
    uvws_reject(request->request, 500, NULL, 0, NULL, 0);
  }
  free(request);
}

static napi_value make_headers(napi_env env, const uvws_request_t* request) {
  napi_value headers = NULL;
  uvws_header_t header;
  napi_create_array(env, &headers);
  for (unsigned i = 0; uvws_request_header_at(request, i, &header) == 0; i++) {
    /* Bytes, as Node's http has them. */
    napi_value name = NULL, value = NULL;
    napi_create_string_latin1(env, header.name, NAPI_AUTO_LENGTH, &name);
    napi_create_string_latin1(env, header.value, NAPI_AUTO_LENGTH, &value);
    napi_set_element(env, headers, 2 * i, name);
    napi_set_element(env, headers, 2 * i + 1, value);
  }
  return headers;
}

/* An address of neither family has no name, and port 0. */
static void read_address(const struct sockaddr_storage* addr, char name[64],
                         int* port) {
  const struct sockaddr_in6* six = (const struct sockaddr_in6*)addr;
  const struct sockaddr_in* four = (const struct sockaddr_in*)addr;
  name[0] = '\0';
  *port = 0;
  if (addr->ss_family == AF_INET6) {
    uv_ip6_name(six, name, 64);
    *port = ntohs(six->sin6_port);
  } else if (addr->ss_family == AF_INET) {
    uv_ip4_name(four, name, 64);
    *port = ntohs(four->sin_port);
  }
}

static void get_peer(const uvws_request_t* request, char name[64], int* port) {
  struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
  int len = sizeof(addr);
  uvws_request_getpeername(request, (struct sockaddr*)&addr, &len);
  read_address(&addr, name, port);
}

static void on_request(uvws_server_t* handle, uvws_request_t* incoming) {
  server_t* server = server_of(handle);
  napi_env env = server->addon->env;
  napi_value external;
  task_t task;
  char name[64];
  int port;
  if (!task_begin(&task, server->addon, server->target)) return;
  request_t* request = malloc(sizeof(*request));
  if (request == NULL || napi_create_external(env, request, on_request_gone,
                                              NULL, &external) != napi_ok) {
    free(request);
    napi_close_handle_scope(env, task.scope);
    uvws_reject(incoming, 500, NULL, 0, NULL, 0);
    return;
  }
  request->request = incoming;
  uvws_request_set_data(incoming, request);
  get_peer(incoming, name, &port);
  napi_value args[] = {
      external,
      make_text(env, uvws_request_target(incoming)),
      make_headers(env, incoming),
      make_text(env, name),
      make_int(env, port),
  };
  task_end(&task, EVENT_REQUEST, 5, args);
}

static void on_abort(uvws_server_t* server, uvws_request_t* incoming,
                     int status) {
  request_t* request = uvws_request_get_data(incoming);
  (void)server;
  (void)status;
  if (request != NULL) request->request = NULL;
}

/* accept(request, target, protocol, headers in a row): a handle, or a status.
 */
static napi_value accept_request(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], handle;
  addon_t* addon = get_args(env, info, args);
  request_t* request = get_external(env, args[0]);
  options_t from = {.env = env, .object = args[2]};
  uvws_accept_options_t options;
  if (request->request == NULL) return make_int(env, UV_ECANCELED);
  socket_t* socket = socket_new(addon, args[1], &handle);
  if (socket == NULL) return make_int(env, UV_ENOMEM);
  uvws_accept_options_init(&options);
  options.protocol = get_string_member(&from, "protocol");
  options.headers = get_headers(&from, "headers", &options.n_headers);
  int status = from.failed
                   ? UV_ENOMEM
                   : uvws_accept(request->request, &socket->ws, &options);
  if (status == 0) request->request = NULL;
  options_free(&from);
  return socket_begin(socket, status, handle);
}

/* reject(request, http status): a status. */
static napi_value reject_request(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t http_status = 500;
  get_args(env, info, args);
  request_t* request = get_external(env, args[0]);
  napi_get_value_int32(env, args[1], &http_status);
  if (request->request == NULL) return make_int(env, UV_ECANCELED);
  int status = uvws_reject(request->request, http_status, NULL, 0, NULL, 0);
  if (status == 0) request->request = NULL;
  return make_int(env, status);
}

/* ---- events ---- */

static void on_server_error(uvws_server_t* handle, int status) {
  server_t* server = server_of(handle);
  task_t task;
  if (!task_begin(&task, server->addon, server->target)) return;
  napi_value arg = make_int(server->addon->env, status);
  task_end(&task, EVENT_SERVER_ERROR, 1, &arg);
}

static void on_server_close(uvws_server_t* handle) {
  server_t* server = server_of(handle);
  addon_t* addon = server->addon;
  task_t task;
  *server->link = server->next;
  if (server->next != NULL) server->next->link = server->link;
  if (task_begin(&task, addon, server->target))
    task_end(&task, EVENT_SERVER_CLOSE, 0, NULL);
  napi_delete_reference(addon->env, server->target);
  server->target = NULL;
  server->is_open = false;
  free_if_unused(server);
  addon_release(addon);
}

static const uvws_server_events_t events = {
    UVWS_SERVER_EVENTS_INIT,  .request = on_request,    .abort = on_abort,
    .error = on_server_error, .close = on_server_close,
};

/* ---- calls ---- */

static void on_handle_gone(napi_env env, void* data, void* hint) {
  server_t* server = data;
  (void)env;
  (void)hint;
  server->has_handle = false;
  if (server->is_open) uvws_server_close(&server->server, 0);
  free_if_unused(server);
}

static int start(server_t* server, options_t* from) {
  uvws_server_options_t options;
  uvws_deflate_options_t deflate;
  uvws_server_options_init(&options);
  options.deflate = get_deflate(from, &deflate);
  options.tls = get_tls(from);
  if (get_bool_member(from, "anyOrigin"))
    options.flags = UVWS_SERVER_ANY_ORIGIN;
  get_uint64_member(from, "maxMessage", &options.max_message);
  get_uint64_member(from, "maxMemory", &options.max_memory);
  return uvws_server_init(server->addon->loop, &server->server, &events,
                          &options);
}

/* serve(target, options): a handle, or a status. The object is held until the
 * server is closed. */
static napi_value serve(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], handle;
  addon_t* addon = get_args(env, info, args);
  options_t from = {.env = env, .object = args[1]};
  server_t* server = calloc(1, sizeof(*server));
  if (server == NULL) return make_int(env, UV_ENOMEM);
  server->addon = addon;
  if (napi_create_external(env, server, on_handle_gone, NULL, &handle) !=
      napi_ok) {
    free(server);
    return make_int(env, UV_ENOMEM);
  }
  server->has_handle = true;
  int status = start(server, &from);
  options_free(&from);
  if (status != 0) return make_int(env, status);
  napi_create_reference(env, args[0], 1, &server->target);
  server->next = addon->servers;
  server->link = &addon->servers;
  if (server->next != NULL) server->next->link = &server->next;
  addon->servers = server;
  server->is_open = true;
  addon_hold(addon);
  return handle;
}

/* listen(server, address, port, backlog): a status. */
static napi_value listen_on(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct sockaddr_storage addr;
  char host[64] = "";
  size_t len;
  int32_t port = 0, backlog = 0;
  get_args(env, info, args);
  server_t* server = get_external(env, args[0]);
  napi_get_value_string_utf8(env, args[1], host, sizeof(host), &len);
  napi_get_value_int32(env, args[2], &port);
  napi_get_value_int32(env, args[3], &backlog);
  if (uv_ip4_addr(host, port, (struct sockaddr_in*)&addr) != 0 &&
      uv_ip6_addr(host, port, (struct sockaddr_in6*)&addr) != 0)
    return make_int(env, UV_EINVAL);
  return make_int(
      env, uvws_listen(&server->server, (struct sockaddr*)&addr, 0, backlog));
}

/* serverAddress(server): [address, port], or a status. */
static napi_value server_address(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], result = NULL;
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  char name[64];
  int port;
  get_args(env, info, args);
  server_t* server = get_external(env, args[0]);
  int status =
      uvws_server_getsockname(&server->server, (struct sockaddr*)&addr, &len);
  if (status != 0) return make_int(env, status);
  read_address(&addr, name, &port);
  napi_create_array(env, &result);
  napi_set_element(env, result, 0, make_text(env, name));
  napi_set_element(env, result, 1, make_int(env, port));
  return result;
}

/* serverClose(server, deadline in milliseconds). */
static napi_value server_close(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  uint32_t deadline = 0;
  get_args(env, info, args);
  server_t* server = get_external(env, args[0]);
  napi_get_value_uint32(env, args[1], &deadline);
  if (server->is_open) uvws_server_close(&server->server, deadline);
  return NULL;
}

/* serverReference(server, whether): keeps the process alive. */
static napi_value server_reference(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  bool referenced = true;
  get_args(env, info, args);
  server_t* server = get_external(env, args[0]);
  napi_get_value_bool(env, args[1], &referenced);
  if (!server->is_open) return NULL;
  if (referenced)
    uvws_server_ref(&server->server);
  else
    uvws_server_unref(&server->server);
  return NULL;
}

void define_server(napi_env env, napi_value exports) {
  define(env, exports, "serve", serve);
  define(env, exports, "listen", listen_on);
  define(env, exports, "accept", accept_request);
  define(env, exports, "reject", reject_request);
  define(env, exports, "serverAddress", server_address);
  define(env, exports, "serverClose", server_close);
  define(env, exports, "serverReference", server_reference);
}
