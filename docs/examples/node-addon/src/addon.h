#ifndef UVWS_NODE_ADDON_H_
#define UVWS_NODE_ADDON_H_

/* uvws for Node: the native half, on Node-API and the host's libuv. JavaScript
 * has the classes; here are sockets and servers without any behaviour of their
 * own, whose events go to one function of JavaScript's:
 *
 *   dispatch(target, event, ...)
 *
 * `target` is the object that was named when the socket was made. */

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <uvws.h>

#define CONTAINER_OF(ptr, type, member) \
  ((type*)((char*)(ptr)-offsetof(type, member)))

/* As lib/native.mjs has them. */
typedef enum {
  EVENT_OPEN,    /* protocol, extensions */
  EVENT_MESSAGE, /* a string or an ArrayBuffer */
  EVENT_ERROR,   /* name of the status, what it means */
  EVENT_CLOSE,   /* code, reason, wasClean */
  EVENT_DRAIN,
  EVENT_REQUEST, /* request, target, headers in a row, address, port */
  EVENT_SERVER_ERROR,
  EVENT_SERVER_CLOSE
} event_t;

/* ---- what belongs to one environment: the main thread, or a worker ---- */

typedef struct addon_s {
  napi_env env;
  uv_loop_t* loop;
  napi_ref dispatch;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  unsigned open; /* sockets and servers whose end is still to come */
  bool leaving;  /* the environment ends: nothing may call JavaScript */
  struct socket_s* sockets; /* those open */
  struct server_s* servers;
  struct lookup_s* lookups; /* under way in the thread pool */
  char* text;               /* to hold what is sent, TEXT_SIZE bytes */
} addon_t;

enum { TEXT_SIZE = 256 * 1024 };

addon_t* addon_of(napi_env env);

/* One more, or one less, that must end before the environment may. */
void addon_hold(addon_t* addon);
void addon_release(addon_t* addon);

/* An event on its way to JavaScript, in a task of its own: microtasks run
 * behind it. Between the two calls values can be made. */
typedef struct task_s {
  addon_t* addon;
  napi_handle_scope scope;
  napi_value target;
} task_t;

/* False when there is nobody to hear of it. */
bool task_begin(task_t* task, addon_t* addon, napi_ref target);
void task_end(task_t* task, event_t event, size_t n, const napi_value args[]);

/* ---- values ---- */

enum { MAX_ARGS = 6 };

/* The call's arguments; those that are missing are undefined. */
addon_t* get_args(napi_env env, napi_callback_info info, napi_value args[]);

/* What an external has; NULL when the value is none. */
void* get_external(napi_env env, napi_value value);

napi_value make_int(napi_env env, int value);
napi_value make_number(napi_env env, double value);
napi_value make_bool(napi_env env, bool value);

/* NULL when JavaScript has no strings that long. */
napi_value make_string(napi_env env, const char* text, size_t len);
napi_value make_text(napi_env env, const char* text); /* NUL-terminated */

/* What JavaScript's options hold is copied for as long as a call lasts. */
typedef struct options_s {
  napi_env env;
  napi_value object;
  struct piece_s* pieces;
  bool failed; /* there was no memory */
} options_t;

void options_free(options_t* options);
bool get_member(options_t* options, const char* name, napi_value* value);
char* get_string(options_t* options, napi_value value, size_t* len);
char* get_string_member(options_t* options, const char* name);
void get_uint32_member(options_t* options, const char* name, uint32_t* value);
void get_int_member(options_t* options, const char* name, int* value);
void get_uint64_member(options_t* options, const char* name, uint64_t* value);
bool get_bool_member(options_t* options, const char* name);

/* "name", "value", "name", "value"... */
const uvws_header_t* get_headers(options_t* options, const char* name,
                                 unsigned* n);
const char* const* get_strings(options_t* options, const char* name,
                               unsigned* n);

/* The member `deflate`, an object; NULL when it is not there. */
const uvws_deflate_options_t* get_deflate(options_t* options,
                                          uvws_deflate_options_t* deflate);

/* The member `tls`, an external; NULL when it is not there. */
uvws_tls_t* get_tls(options_t* options);

/* ---- what JavaScript calls ---- */

/* Each adds its functions to `exports`. */
void define_socket(napi_env env, napi_value exports);
void define_server(napi_env env, napi_value exports);
void define_tls(napi_env env, napi_value exports);
void define(napi_env env, napi_value exports, const char* name,
            napi_callback callback);

/* ---- sockets ---- */

/* From the socket's making until it is closed and JavaScript has let go of its
 * handle, whichever comes last. */
typedef struct socket_s {
  uvws_t ws;
  addon_t* addon;
  struct socket_s* next;
  struct socket_s** link;
  napi_ref target; /* weak, unless it is held */
  bool held;
  bool is_open;    /* its `close` is to come */
  bool has_handle; /* JavaScript may call it */
} socket_t;

/* A socket for `target`, not yet in use, and JavaScript's handle to it; NULL
 * when there is no memory. */
socket_t* socket_new(addon_t* addon, napi_value target, napi_value* handle);

/* It is in use from now on. Returns the handle; or, when `status` is not 0, the
 * status, and the socket is given up. */
napi_value socket_begin(socket_t* socket, int status, napi_value handle);

/* Gives up the lookups that no thread is at yet. */
void lookups_cancel(addon_t* addon);

/* ---- servers ---- */

void server_leave(struct server_s* server);
struct server_s* server_next(struct server_s* server);

#endif /* UVWS_NODE_ADDON_H_ */
