/* A user of the public interface, and of nothing else. What it needs beside the
 * caller's memory is one block: the timer, whose size the caller must not
 * know, and copies of all that the next uvws_connect() takes.
 *
 * At any time either the socket is in use and its `close` will come, or the
 * timer runs, or the timer is closing and `end` will come. Of the socket's
 * events only `open` and `close` pass through here; all others are the user's
 * own. The block is freed in the timer's close callback and nowhere else, so it
 * outlives every callback that is made here. */
#include "uvws/reconnect.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct uvws__reconnect_s {
  const char* tag;
  uv_timer_t timer; /* `data` points to this struct */
  uvws_reconnect_t* owner;
  enum { IN_USE, WAITING, ENDING } state;
  bool is_stopped;
  bool was_open;
  uint64_t open_since; /* uv_now() */
  uint32_t attempts;   /* since the last stable connection */
  int status;          /* for `end` */
  int code;
  uvws_events_t user; /* the socket's events as the user has them */
  uvws_events_t own;  /* and as the socket has them */
  uvws_reconnect_events_t events;
  uvws_reconnect_options_t when;
  uvws_options_t
      options; /* for uvws_connect(): these point behind the struct */
  const char* url;
} uvws__reconnect_t;

static const char tag[] = "uvws_reconnect";

/* ---- Copies ---- */

/* Structs that begin with their size: members that the older side does not know
 * keep what is in `to`, whose own size stays. */
static int copy_sized(void* to, size_t to_size, const void* from) {
  size_t size;
  memcpy(&size, from, sizeof(size));
  if (size <= sizeof(size)) return UV_EINVAL;
  if (size > to_size) size = to_size;
  memcpy((char*)to + sizeof(size), (const char*)from + sizeof(size),
         size - sizeof(size));
  return 0;
}

static size_t size_of(const char* text) {
  return text == NULL ? 0 : strlen(text) + 1;
}

static const char* put(char** at, const char* text) {
  size_t size = size_of(text);
  if (size == 0) return NULL;
  char* copy = memcpy(*at, text, size);
  *at += size;
  return copy;
}

/* What uvws_connect() would refuse anyway is not read. */
static bool has_lists(const uvws_options_t* options) {
  return (options->protocols != NULL || options->n_protocols == 0) &&
         (options->headers != NULL || options->n_headers == 0);
}

/* Of other families uvws_connect() takes none. */
static size_t size_of_address(const struct sockaddr* address) {
  return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                        : sizeof(struct sockaddr_in);
}

/* A list, of which each may be of an older or newer version. What has no size
 * has no `next` either: uvws_connect() will refuse it. */
static const uvws_deflate_options_t* next_deflate(
    const uvws_deflate_options_t* deflate) {
  return deflate->size > offsetof(uvws_deflate_options_t, next) ? deflate->next
                                                                : NULL;
}

static size_t size_of_deflate(const uvws_deflate_options_t* deflate) {
  size_t n = 0;
  for (; deflate != NULL; deflate = next_deflate(deflate)) n++;
  return n * sizeof(*deflate);
}

static const uvws_deflate_options_t* put_deflate(
    char** at, const uvws_deflate_options_t* from) {
  uvws_deflate_options_t* first = (uvws_deflate_options_t*)*at;
  uvws_deflate_options_t* to = first;
  if (from == NULL) return NULL;
  for (; from != NULL; from = next_deflate(from)) {
    uvws_deflate_options_init(to);
    if (copy_sized(to, sizeof(*to), from) != 0) to->size = 0;
    to->next = next_deflate(from) == NULL ? NULL : to + 1;
    to++;
  }
  *at = (char*)to;
  return first;
}

static size_t size_of_options(const uvws_options_t* options) {
  size_t size = options->n_protocols * sizeof(*options->protocols) +
                options->n_headers * sizeof(*options->headers) +
                size_of(options->origin) + size_of(options->pipe) +
                size_of(options->server_name) + size_of(options->proxy);
  if (options->local_address != NULL) size += sizeof(struct sockaddr_storage);
  size += size_of_deflate(options->deflate);
  for (unsigned i = 0; i < options->n_protocols; i++)
    size += size_of(options->protocols[i]);
  for (unsigned i = 0; i < options->n_headers; i++)
    size +=
        size_of(options->headers[i].name) + size_of(options->headers[i].value);
  return size;
}

/* Moves all that the options point to to `at`: lists first, as they need their
 * alignment. */
static void keep_options(uvws_options_t* options, char* at) {
  if (options->local_address != NULL) {
    memcpy(at, options->local_address, size_of_address(options->local_address));
    options->local_address = (struct sockaddr*)at;
    at += sizeof(struct sockaddr_storage);
  }
  options->deflate = put_deflate(&at, options->deflate);
  uvws_header_t* headers = (uvws_header_t*)at;
  const char** protocols = (const char**)(headers + options->n_headers);
  at = (char*)(protocols + options->n_protocols);
  for (unsigned i = 0; i < options->n_headers; i++) {
    headers[i].name = put(&at, options->headers[i].name);
    headers[i].value = put(&at, options->headers[i].value);
  }
  for (unsigned i = 0; i < options->n_protocols; i++)
    protocols[i] = put(&at, options->protocols[i]);
  options->headers = headers;
  options->protocols = protocols;
  options->origin = put(&at, options->origin);
  options->pipe = put(&at, options->pipe);
  options->server_name = put(&at, options->server_name);
  options->proxy = put(&at, options->proxy);
}

/* ---- Whether and when ---- */

static bool code_forbids(int code) {
  return code == 1000 || code == 1002 || code == 1003 ||
         (code >= 1007 && code <= 1010) || (code >= 3000 && code <= 4999);
}

static bool http_forbids(int status) {
  return status != 408 && status != 425 && status != 429 &&
         (status < 500 || status > 599);
}

static bool status_forbids(int status, int http_status) {
  switch (status) {
    case UVWS_EPROTOCOL:
    case UVWS_EUTF8:
    case UVWS_ETOOBIG:
    case UVWS_ERATE:
    case UVWS_ECERT:
    case UV_ECANCELED: return true;
    case UVWS_EUPGRADE: return http_forbids(http_status);
    default: return false;
  }
}

/* The next wait. Without random numbers there is no jitter, but still a
 * wait. */
static uint32_t draw_delay(const uvws__reconnect_t* impl) {
  const uvws_reconnect_options_t* when = &impl->when;
  uint64_t bound = when->max_delay;
  uint32_t random = 0;
  if (impl->attempts < 32 &&
      (uint64_t)when->first_delay << impl->attempts < bound)
    bound = (uint64_t)when->first_delay << impl->attempts;
  if (uv_random(NULL, NULL, &random, sizeof(random), 0, NULL) != 0) random = 0;
  return (uint32_t)(bound - random % (bound / 2 + 1));
}

/* ---- From one connection to the next ---- */

static void release(uvws__reconnect_t* impl) {
  uvws_tls_unref(impl->options.tls);
  uvws_tls_unref(impl->options.proxy_tls);
  free(impl);
}

static void on_timer_closed(uv_handle_t* timer) {
  uvws__reconnect_t* impl = timer->data;
  uvws_reconnect_t* reconnect = impl->owner;
  void (*end)(uvws_reconnect_t*, int, int) = impl->events.end;
  int status = impl->status;
  int code = impl->code;
  release(impl);
  reconnect->impl = NULL;
  if (end != NULL) end(reconnect, status, code);
}

static void finish(uvws__reconnect_t* impl, int status, int code) {
  impl->state = ENDING;
  impl->status = status;
  impl->code = code;
  uv_close((uv_handle_t*)&impl->timer, on_timer_closed);
}

static void on_timer(uv_timer_t* timer);

/* The timer keeps the loop alive when the socket would. */
static void start_timer(uvws__reconnect_t* impl, uint32_t delay) {
  uv_timer_start(&impl->timer, on_timer, delay, 0);
  if (uvws_has_ref(&impl->owner->ws))
    uv_ref((uv_handle_t*)&impl->timer);
  else
    uv_unref((uv_handle_t*)&impl->timer);
}

/* The connection is gone, with this status and code. */
static void go_on(uvws__reconnect_t* impl, bool retry, int status, int code) {
  uint32_t max = impl->when.max_attempts;
  if (!retry || (max != 0 && impl->attempts >= max)) {
    finish(impl, status, code);
    return;
  }
  uint32_t delay = draw_delay(impl);
  if (impl->attempts < UINT32_MAX) impl->attempts++;
  impl->state = WAITING;
  start_timer(impl, delay);
  if (impl->events.wait != NULL)
    impl->events.wait(impl->owner, delay, impl->attempts);
}

/* What failed now but not in uvws_reconnect_start() may be better next time:
 * memory, for instance. */
static void on_timer(uv_timer_t* timer) {
  uvws__reconnect_t* impl = timer->data;
  impl->state = IN_USE;
  int status = uvws_connect(&impl->owner->ws, impl->url, &impl->options);
  if (status != 0) go_on(impl, true, status, 1006);
}

static uvws__reconnect_t* impl_of(uvws_t* ws) {
  char* start = (char*)ws - offsetof(uvws_reconnect_t, ws);
  return ((uvws_reconnect_t*)start)->impl;
}

static void on_open(uvws_t* ws) {
  uvws__reconnect_t* impl = impl_of(ws);
  impl->was_open = true;
  impl->open_since = uv_now(ws->loop);
  if (impl->user.open != NULL) impl->user.open(ws);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  uvws__reconnect_t* impl = impl_of(ws);
  if (impl->was_open &&
      uv_now(ws->loop) - impl->open_since >= impl->when.stable_time)
    impl->attempts = 0;
  impl->was_open = false;
  if (impl->user.close != NULL) impl->user.close(ws, event);
  int retry = !code_forbids(event->code) &&
              !status_forbids(event->status, uvws_http_status(ws));
  if (!impl->is_stopped && impl->events.retry != NULL)
    retry = impl->events.retry(impl->owner, event, retry);
  if (impl->is_stopped)
    finish(impl, 0, 0);
  else
    go_on(impl, retry != 0, event->status, event->code);
}

/* ---- The calls ---- */

void uvws_reconnect_options_init_sized(uvws_reconnect_options_t* options,
                                       size_t size) {
  uvws_reconnect_options_t defaults = {.size = size,
                                       .first_delay = 1000,
                                       .max_delay = 30000,
                                       .stable_time = 60000,
                                       .max_attempts = 0};
  memset(options, 0, size);
  memcpy(options, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}

/* All that the user gave, in one block; NULL when there is no memory. */
static uvws__reconnect_t* keep(const uvws__reconnect_t* from, const char* url) {
  size_t more = size_of_options(&from->options);
  uvws__reconnect_t* impl = malloc(sizeof(*impl) + more + size_of(url));
  if (impl == NULL) return NULL;
  *impl = *from;
  char* end = (char*)(impl + 1) + more;
  keep_options(&impl->options, (char*)(impl + 1));
  impl->url = put(&end, url);
  if (impl->options.tls != NULL) uvws_tls_ref(impl->options.tls);
  if (impl->options.proxy_tls != NULL) uvws_tls_ref(impl->options.proxy_tls);
  return impl;
}

int uvws_reconnect_start(uv_loop_t* loop, uvws_reconnect_t* reconnect,
                         const char* url, const uvws_options_t* options,
                         const uvws_events_t* socket_events,
                         const uvws_reconnect_events_t* events,
                         const uvws_reconnect_options_t* when) {
  uvws__reconnect_t from = {.tag = tag,
                            .owner = reconnect,
                            .own = {UVWS_EVENTS_INIT},
                            .user = {UVWS_EVENTS_INIT}};
  int status = 0;
  if (loop == NULL || reconnect == NULL || url == NULL ||
      socket_events == NULL || events == NULL)
    return UV_EINVAL;
  uvws_options_init(&from.options);
  uvws_reconnect_options_init(&from.when);
  if (options != NULL)
    status = copy_sized(&from.options, sizeof(from.options), options);
  if (status == 0 && when != NULL)
    status = copy_sized(&from.when, sizeof(from.when), when);
  if (status == 0)
    status = copy_sized(&from.user, sizeof(from.user), socket_events);
  if (status == 0)
    status = copy_sized(&from.events, sizeof(from.events), events);
  if (status != 0) return status;
  if (from.when.first_delay == 0 ||
      from.when.max_delay < from.when.first_delay || !has_lists(&from.options))
    return UV_EINVAL;

  uvws__reconnect_t* impl = keep(&from, url);
  if (impl == NULL) return UV_ENOMEM;
  impl->own = impl->user;
  impl->own.open = on_open;
  impl->own.close = on_close;
  status = uvws_init(loop, &reconnect->ws, &impl->own);
  if (status == 0)
    status = uvws_connect(&reconnect->ws, impl->url, &impl->options);
  if (status != 0) {
    release(impl);
    return status;
  }
  /* Cannot fail; a handle that needs closing comes last. */
  uv_timer_init(loop, &impl->timer);
  impl->timer.data = impl;
  reconnect->impl = impl;
  return 0;
}

void uvws_reconnect_stop(uvws_reconnect_t* reconnect) {
  uvws__reconnect_t* impl = reconnect->impl;
  uvws_t* ws = &reconnect->ws;
  if (impl == NULL) return;
  impl->is_stopped = true;
  if (impl->state == WAITING)
    finish(impl, 0, 0);
  else if (uvws_ready_state(ws) == UVWS_CONNECTING ||
           uvws_close(ws, 1000, NULL, 0) != 0)
    uvws_terminate(ws);
}

void uvws_reconnect_now(uvws_reconnect_t* reconnect) {
  uvws__reconnect_t* impl = reconnect->impl;
  if (impl != NULL && impl->state == WAITING) start_timer(impl, 0);
}

int uvws_reconnect_owns(const uv_handle_t* handle) {
  uintptr_t start = (uintptr_t)handle - offsetof(uvws__reconnect_t, timer);
  return handle->type == UV_TIMER && (uintptr_t)handle->data == start &&
         ((const uvws__reconnect_t*)handle->data)->tag == tag;
}
