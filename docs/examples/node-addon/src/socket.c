#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addon.h"

/* JavaScript's object and its socket need each other in turn. The object holds
 * the handle; the socket holds the object only while JavaScript says so, which
 * it does as long as an event may come that somebody listens to (Standard,
 * "Garbage collection"). An object that nobody can reach takes its handle with
 * it: then the socket closes by itself. */

/* ---- lifetime ---- */

static void enlist(socket_t* socket) {
  addon_t* addon = socket->addon;
  socket->next = addon->sockets;
  socket->link = &addon->sockets;
  if (socket->next != NULL) socket->next->link = &socket->next;
  addon->sockets = socket;
}

static void delist(socket_t* socket) {
  *socket->link = socket->next;
  if (socket->next != NULL) socket->next->link = socket->link;
}

static void free_if_unused(socket_t* socket) {
  if (!socket->is_open && !socket->has_handle) free(socket);
}

static void drop_target(socket_t* socket) {
  if (socket->target != NULL)
    napi_delete_reference(socket->addon->env, socket->target);
  socket->target = NULL;
}

static void on_handle_gone(napi_env env, void* data, void* hint) {
  socket_t* socket = data;
  (void)env;
  (void)hint;
  socket->has_handle = false;
  if (socket->is_open && uvws_close(&socket->ws, 0, NULL, 0) != 0)
    uvws_terminate(&socket->ws);
  free_if_unused(socket);
}

/* ---- events ---- */

static socket_t* socket_of(uvws_t* ws) {
  return CONTAINER_OF(ws, socket_t, ws);
}

static void on_open(uvws_t* ws) {
  socket_t* socket = socket_of(ws);
  task_t task;
  if (!task_begin(&task, socket->addon, socket->target)) return;
  napi_value args[] = {
      make_text(socket->addon->env, uvws_protocol(ws)),
      make_text(socket->addon->env, uvws_extensions(ws)),
  };
  task_end(&task, EVENT_OPEN, 2, args);
}

/* A copy: Node marks buffers of memory that is not V8's as untransferable, and
 * a page may transfer what it receives (HTML, 2.7.6). */
static napi_value make_buffer(napi_env env, const void* bytes, size_t len) {
  napi_value result = NULL;
  void* data;
  if (napi_create_arraybuffer(env, len, &data, &result) == napi_ok && len > 0)
    memcpy(data, bytes, len);
  return result;
}

static napi_value make_data(napi_env env, const uvws_message_t* message) {
  return message->type == UVWS_TEXT
             ? make_string(env, message->data, message->len)
             : make_buffer(env, message->data, message->len);
}

/* A text may be longer than JavaScript's strings are. Buffers are not to be had
 * when JavaScript ends, of which nothing has told us yet. */
static void on_message(uvws_t* ws, const uvws_message_t* message) {
  socket_t* socket = socket_of(ws);
  task_t task;
  if (!task_begin(&task, socket->addon, socket->target)) return;
  napi_value data = make_data(socket->addon->env, message);
  if (data != NULL) {
    task_end(&task, EVENT_MESSAGE, 1, &data);
    return;
  }
  napi_close_handle_scope(socket->addon->env, task.scope);
  if (message->type == UVWS_TEXT)
    uvws_close(ws, 1009, NULL, 0);
  else
    uvws_terminate(ws);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  socket_t* socket = socket_of(ws);
  task_t task;
  if (!task_begin(&task, socket->addon, socket->target)) return;
  napi_value args[] = {
      make_text(socket->addon->env, uvws_err_name(status)),
      make_text(socket->addon->env, reason),
  };
  task_end(&task, EVENT_ERROR, 2, args);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  socket_t* socket = socket_of(ws);
  addon_t* addon = socket->addon;
  task_t task;
  delist(socket);
  if (task_begin(&task, addon, socket->target)) {
    napi_value args[] = {
        make_int(addon->env, event->code),
        make_string(addon->env, event->reason, event->reason_len),
        make_bool(addon->env, event->was_clean),
    };
    task_end(&task, EVENT_CLOSE, 3, args);
  }
  drop_target(socket);
  socket->is_open = false;
  free_if_unused(socket);
  addon_release(addon);
}

static void on_drain(uvws_t* ws) {
  socket_t* socket = socket_of(ws);
  task_t task;
  if (task_begin(&task, socket->addon, socket->target))
    task_end(&task, EVENT_DRAIN, 0, NULL);
}

static const uvws_events_t events = {
    UVWS_EVENTS_INIT,  .open = on_open,   .message = on_message,
    .error = on_error, .close = on_close, .drain = on_drain,
};

/* ---- making one ---- */

socket_t* socket_new(addon_t* addon, napi_value target, napi_value* handle) {
  socket_t* socket = calloc(1, sizeof(*socket));
  if (socket == NULL) return NULL;
  socket->addon = addon;
  uvws_init(addon->loop, &socket->ws, &events);
  uvws_set_binary_type(&socket->ws, UVWS_ARRAYBUFFER);
  if (napi_create_reference(addon->env, target, 0, &socket->target) ==
          napi_ok &&
      napi_create_external(addon->env, socket, on_handle_gone, NULL, handle) ==
          napi_ok) {
    socket->has_handle = true;
    return socket;
  }
  drop_target(socket);
  free(socket);
  return NULL;
}

napi_value socket_begin(socket_t* socket, int status, napi_value handle) {
  addon_t* addon = socket->addon;
  if (status != 0) {
    drop_target(socket);
    return make_int(addon->env, status);
  }
  socket->is_open = true;
  enlist(socket);
  addon_hold(addon);
  return handle;
}

/* ---- names ---- */

/* A lookup cannot be called off once a thread is at it, and outlives its
 * socket; the loop must outlive both, so that each counts. */
typedef struct lookup_s {
  uv_getaddrinfo_t request;
  addon_t* addon;
  uvws_lookup_t* lookup;
  struct lookup_s* next;
  struct lookup_s** link;
} lookup_t;

enum { MAX_ADDRESSES = 64 };

static void on_addresses(uv_getaddrinfo_t* request, int status,
                         struct addrinfo* result) {
  lookup_t* own = CONTAINER_OF(request, lookup_t, request);
  addon_t* addon = own->addon;
  const struct sockaddr* addresses[MAX_ADDRESSES];
  unsigned n = 0;
  for (const struct addrinfo* at = result; at != NULL && n < MAX_ADDRESSES;
       at = at->ai_next)
    addresses[n++] = at->ai_addr;
  uvws_lookup_done(own->lookup, status, addresses, n);
  uv_freeaddrinfo(result);
  *own->link = own->next;
  if (own->next != NULL) own->next->link = own->link;
  free(own);
  addon_release(addon);
}

static void look_up(uvws_lookup_t* lookup, const char* host, void* arg) {
  addon_t* addon = arg;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  lookup_t* own = malloc(sizeof(*own));
  int status = own == NULL ? UV_ENOMEM
                           : uv_getaddrinfo(addon->loop, &own->request,
                                            on_addresses, host, NULL, &hints);
  if (status != 0) {
    free(own);
    uvws_lookup_done(lookup, status, NULL, 0);
    return;
  }
  own->addon = addon;
  own->lookup = lookup;
  own->next = addon->lookups;
  own->link = &addon->lookups;
  if (own->next != NULL) own->next->link = &own->next;
  addon->lookups = own;
  addon_hold(addon);
}

void lookups_cancel(addon_t* addon) {
  for (lookup_t* own = addon->lookups; own != NULL; own = own->next)
    uv_cancel((uv_req_t*)&own->request);
}

static const char* const texts[] = {"origin", "proxy", "serverName"};

static void read_options(options_t* from, uvws_options_t* options,
                         uvws_deflate_options_t* deflate) {
  const char** const to[] = {&options->origin, &options->proxy,
                             &options->server_name};
  uvws_options_init(options);
  for (size_t i = 0; i < sizeof(to) / sizeof(*to); i++)
    *to[i] = get_string_member(from, texts[i]);
  options->protocols = get_strings(from, "protocols", &options->n_protocols);
  options->headers = get_headers(from, "headers", &options->n_headers);
  options->deflate = get_deflate(from, deflate);
  options->tls = get_tls(from);
  get_uint64_member(from, "maxMessage", &options->max_message);
  get_uint64_member(from, "highWater", &options->high_water);
  get_uint64_member(from, "lowWater", &options->low_water);
  get_uint32_member(from, "handshakeTimeout", &options->handshake_timeout);
  get_uint32_member(from, "connectTimeout", &options->connect_timeout);
  get_uint32_member(from, "closeTimeout", &options->close_timeout);
  options->flags = UVWS_CONNECT_ONE_AT_A_TIME;
  options->lookup = look_up;
  options->lookup_arg = addon_of(from->env);
}

/* connect(target, url, options): a handle, or a status. */
static napi_value connect_socket(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], handle;
  addon_t* addon = get_args(env, info, args);
  options_t from = {.env = env, .object = args[2]};
  uvws_options_t options;
  uvws_deflate_options_t deflate;
  socket_t* socket = socket_new(addon, args[0], &handle);
  if (socket == NULL) return make_int(env, UV_ENOMEM);
  read_options(&from, &options, &deflate);
  const char* url = get_string(&from, args[1], NULL);
  int status =
      from.failed ? UV_ENOMEM : uvws_connect(&socket->ws, url, &options);
  options_free(&from);
  return socket_begin(socket, status, handle);
}

/* A duplicate, for the caller's own is closed by its own. */
static int adopt_duplicate(uvws_t* ws, int fd, const void* head, size_t len,
                           const uvws_adopt_options_t* options) {
  int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return uv_translate_sys_error(errno);
  int status = uvws_adopt_fd(ws, own, head, len, options);
  if (status != 0) close(own);
  return status;
}

/* adopt(target, fd, head, options): as a server; `head` is the request, a
 * buffer. A handle, or a status. */
static napi_value adopt(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], handle;
  addon_t* addon = get_args(env, info, args);
  options_t from = {.env = env, .object = args[3]};
  uvws_options_t options;
  uvws_adopt_options_t adopt_options;
  uvws_deflate_options_t deflate;
  void* head;
  size_t len;
  int32_t fd;
  if (napi_get_value_int32(env, args[1], &fd) != napi_ok ||
      napi_get_buffer_info(env, args[2], &head, &len) != napi_ok)
    return make_int(env, UV_EINVAL);
  socket_t* socket = socket_new(addon, args[0], &handle);
  if (socket == NULL) return make_int(env, UV_ENOMEM);
  read_options(&from, &options, &deflate);
  uvws_adopt_options_init(&adopt_options);
  adopt_options.role = UVWS_ROLE_SERVER;
  adopt_options.options = &options;
  if (get_bool_member(&from, "anyOrigin"))
    adopt_options.flags = UVWS_SERVER_ANY_ORIGIN;
  int status =
      from.failed ? UV_ENOMEM
                  : adopt_duplicate(&socket->ws, fd, head, len, &adopt_options);
  options_free(&from);
  return socket_begin(socket, status, handle);
}

/* ---- calls ---- */

/* The socket of a call whose first argument is its handle. */
static socket_t* get_socket(napi_env env, napi_callback_info info,
                            napi_value args[]) {
  get_args(env, info, args);
  return get_external(env, args[0]);
}

/* Of at most three bytes each. */
static int send_short(socket_t* socket, napi_value text) {
  addon_t* addon = socket->addon;
  size_t len;
  if (napi_get_value_string_utf8(addon->env, text, addon->text, TEXT_SIZE,
                                 &len) != napi_ok)
    return UV_EINVAL;
  return uvws_send(&socket->ws, addon->text, len,
                   UVWS_TEXT | UVWS_UTF8_CHECKED);
}

static int send_long(socket_t* socket, napi_value text, size_t units) {
  napi_env env = socket->addon->env;
  size_t len = 0;
  napi_get_value_string_utf8(env, text, NULL, 0, &len);
  char* own = len < TEXT_SIZE ? NULL : malloc(len + 1);
  char* bytes = len < TEXT_SIZE ? socket->addon->text : own;
  if (bytes == NULL) return UV_ENOMEM;
  /* ASCII goes faster as what V8 has it in. */
  if (len == units)
    napi_get_value_string_latin1(env, text, bytes, len + 1, &len);
  else
    napi_get_value_string_utf8(env, text, bytes, len + 1, &len);
  int status =
      uvws_send(&socket->ws, bytes, len, UVWS_TEXT | UVWS_UTF8_CHECKED);
  free(own);
  return status;
}

/* sendText(handle, string): lone surrogates become U+FFFD. A status. */
static napi_value send_text(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  size_t units = 0;
  napi_get_value_string_utf16(env, args[1], NULL, 0, &units);
  bool is_short = units < TEXT_SIZE / 3;
  return make_int(env, is_short ? send_short(socket, args[1])
                                : send_long(socket, args[1], units));
}

/* The bytes of an ArrayBuffer or a view; none of another value. */
static void get_bytes(napi_env env, napi_value value, void** data,
                      size_t* len) {
  *data = NULL;
  *len = 0;
  if (napi_get_arraybuffer_info(env, value, data, len) != napi_ok)
    napi_get_buffer_info(env, value, data, len);
}

/* sendBinary(handle, bytes): a status. */
static napi_value send_binary(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  void* data;
  size_t len;
  get_bytes(env, args[1], &data, &len);
  return make_int(env, uvws_send(&socket->ws, data, len, UVWS_BINARY));
}

/* copy(bytes): as they are now, in an ArrayBuffer. */
static napi_value copy_bytes(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  void* data;
  size_t len;
  get_args(env, info, args);
  get_bytes(env, args[0], &data, &len);
  return make_buffer(env, data, len);
}

/* sizeOf(bytes). */
static napi_value size_of_bytes(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  void* data;
  size_t len;
  get_args(env, info, args);
  get_bytes(env, args[0], &data, &len);
  return make_number(env, (double)len);
}

/* close(handle, code, reason): code 0 for none. A status. */
static napi_value close_socket(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  char reason[128]; /* 123 bytes at most */
  size_t len = 0;
  int32_t code = 0;
  napi_get_value_int32(env, args[1], &code);
  napi_get_value_string_utf8(env, args[2], reason, sizeof(reason), &len);
  return make_int(env, uvws_close(&socket->ws, code, reason, len));
}

static napi_value terminate(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  uvws_terminate(&get_socket(env, info, args)->ws);
  return NULL;
}

static napi_value ready_state(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  return make_int(env, uvws_ready_state(&get_socket(env, info, args)->ws));
}

static napi_value buffered_amount(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  return make_number(
      env, (double)uvws_buffered_amount(&get_socket(env, info, args)->ws));
}

static napi_value needs_drain(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  return make_bool(env, uvws_needs_drain(&get_socket(env, info, args)->ws));
}

/* hold(handle, whether): keeps the object alive. */
static napi_value hold(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  bool held = false;
  napi_get_value_bool(env, args[1], &held);
  if (socket->target == NULL || held == socket->held) return NULL;
  socket->held = held;
  if (held)
    napi_reference_ref(env, socket->target, NULL);
  else
    napi_reference_unref(env, socket->target, NULL);
  return NULL;
}

/* reference(handle, whether): keeps the process alive. */
static napi_value reference(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  bool referenced = true;
  napi_get_value_bool(env, args[1], &referenced);
  if (referenced)
    uvws_ref(&socket->ws);
  else
    uvws_unref(&socket->ws);
  return NULL;
}

/* read(handle, whether). */
static napi_value read_on(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  socket_t* socket = get_socket(env, info, args);
  bool reads = true;
  napi_get_value_bool(env, args[1], &reads);
  return make_int(
      env, reads ? uvws_read_start(&socket->ws) : uvws_read_stop(&socket->ws));
}

/* errName(status), strerror(status). */
static napi_value err_name(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t status = 0;
  get_args(env, info, args);
  napi_get_value_int32(env, args[0], &status);
  return make_text(env, uvws_err_name(status));
}

static napi_value err_text(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t status = 0;
  get_args(env, info, args);
  napi_get_value_int32(env, args[0], &status);
  return make_text(env, uvws_strerror(status));
}

void define_socket(napi_env env, napi_value exports) {
  define(env, exports, "connect", connect_socket);
  define(env, exports, "adopt", adopt);
  define(env, exports, "sendText", send_text);
  define(env, exports, "sendBinary", send_binary);
  define(env, exports, "copy", copy_bytes);
  define(env, exports, "sizeOf", size_of_bytes);
  define(env, exports, "close", close_socket);
  define(env, exports, "terminate", terminate);
  define(env, exports, "readyState", ready_state);
  define(env, exports, "bufferedAmount", buffered_amount);
  define(env, exports, "needsDrain", needs_drain);
  define(env, exports, "hold", hold);
  define(env, exports, "reference", reference);
  define(env, exports, "read", read_on);
  define(env, exports, "errName", err_name);
  define(env, exports, "strerror", err_text);
}
