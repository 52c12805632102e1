#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* The environment's end may come at any time: the process exits, a worker is
 * terminated. Its loop then still runs until whoever asked for it is ready, so
 * that every handle can be closed; JavaScript must not be called any more. */

addon_t* addon_of(napi_env env) {
  void* addon = NULL;
  napi_get_instance_data(env, &addon);
  return addon;
}

static void leave_if_last(addon_t* addon) {
  if (!addon->leaving || addon->open > 0 || addon->hook == NULL) return;
  napi_async_cleanup_hook_handle hook = addon->hook;
  addon->hook = NULL;
  napi_delete_reference(addon->env, addon->dispatch);
  napi_async_destroy(addon->env, addon->context);
  napi_remove_async_cleanup_hook(hook);
}

void addon_hold(addon_t* addon) {
  addon->open++;
}

void addon_release(addon_t* addon) {
  addon->open--;
  leave_if_last(addon);
}

/* What is terminated here has its `close` later, from the loop. */
static void leave(napi_async_cleanup_hook_handle handle, void* arg) {
  addon_t* addon = arg;
  (void)handle;
  addon->leaving = true;
  for (socket_t* socket = addon->sockets; socket != NULL; socket = socket->next)
    uvws_terminate(&socket->ws);
  for (struct server_s* server = addon->servers; server != NULL;
       server = server_next(server))
    server_leave(server);
  lookups_cancel(addon);
  leave_if_last(addon);
}

static void free_addon(napi_env env, void* data, void* hint) {
  addon_t* addon = data;
  (void)env;
  (void)hint;
  free(addon->text);
  free(addon);
}

bool task_begin(task_t* task, addon_t* addon, napi_ref target) {
  task->addon = addon;
  task->target = NULL;
  if (addon->leaving || target == NULL) return false;
  if (napi_open_handle_scope(addon->env, &task->scope) != napi_ok) return false;
  napi_get_reference_value(addon->env, target, &task->target);
  if (task->target != NULL) return true;
  napi_close_handle_scope(addon->env, task->scope);
  return false;
}

/* JavaScript's listeners do not throw into us: what they throw is reported by
 * the EventTarget. */
void task_end(task_t* task, event_t event, size_t n, const napi_value args[]) {
  napi_env env = task->addon->env;
  napi_value all[MAX_ARGS + 2] = {task->target}, dispatch, result, error;
  bool is_pending = false;
  napi_create_uint32(env, event, &all[1]);
  for (size_t i = 0; i < n; i++) all[i + 2] = args[i];
  if (napi_get_reference_value(env, task->addon->dispatch, &dispatch) ==
          napi_ok &&
      napi_make_callback(env, task->addon->context, task->target, dispatch,
                         n + 2, all, &result) == napi_pending_exception &&
      napi_is_exception_pending(env, &is_pending) == napi_ok && is_pending &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok)
    napi_fatal_exception(env, error);
  napi_close_handle_scope(env, task->scope);
}

void define(napi_env env, napi_value exports, const char* name,
            napi_callback callback) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL,
                           &function) == napi_ok)
    napi_set_named_property(env, exports, name, function);
}

/* setup(dispatch): before all else. */
static napi_value setup(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  addon_t* addon = get_args(env, info, args);
  napi_create_reference(env, args[0], 1, &addon->dispatch);
  return NULL;
}

/* version(): of the library. */
static napi_value version(napi_env env, napi_callback_info info) {
  const char* text = uvws_version_string();
  (void)info;
  return make_string(env, text, strlen(text));
}

static bool start(addon_t* addon) {
  napi_value name;
  return addon->text != NULL &&
         napi_get_uv_event_loop(addon->env, &addon->loop) == napi_ok &&
         napi_create_string_utf8(addon->env, "uvws", NAPI_AUTO_LENGTH, &name) ==
             napi_ok &&
         napi_async_init(addon->env, NULL, name, &addon->context) == napi_ok &&
         napi_add_async_cleanup_hook(addon->env, leave, addon, &addon->hook) ==
             napi_ok;
}

NAPI_MODULE_INIT() {
  addon_t* addon = calloc(1, sizeof(*addon));
  if (addon == NULL) return NULL;
  addon->env = env;
  addon->text = malloc(TEXT_SIZE);
  if (!start(addon) ||
      napi_set_instance_data(env, addon, free_addon, NULL) != napi_ok) {
    napi_throw_error(env, NULL, "uvws: no environment");
    return NULL;
  }
  define(env, exports, "setup", setup);
  define(env, exports, "version", version);
  define_socket(env, exports);
  define_server(env, exports);
  define_tls(env, exports);
  return exports;
}
