#include "net/dial.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"

/* One attempt at a time: an address that fails has its stream closed before the
 * next is tried. Every ending waits for the end of the turn or for a close
 * callback, so that the owner is never called from inside his own call.
 *
 * The lookup is an object of its own, because libuv cannot always cancel it: a
 * dial that ends first cuts itself off and leaves it to its callback. */

typedef struct lookup_s {
  uv_getaddrinfo_t request;
  uvws__dial_t* dial; /* NULL: nobody waits any more */
} lookup_t;

struct uvws__dial_s {
  uvws__loop_t* loop;
  const uvws__dial_events_t* events;
  void* owner;
  lookup_t* lookup; /* while it is under way */
  struct addrinfo* addresses;
  const struct addrinfo* next;
  struct sockaddr_storage literal; /* an address that needed no lookup */
  bool literal_left;
  uvws__stream_t* stream; /* the attempt */
  uv_connect_t connect;
  uvws__deferred_t deferred;
  int status; /* of the last attempt */
  bool cancelled;
  bool referenced;
  char* pipe; /* or NULL */
  uint16_t port;
};

static void advance(uvws__dial_t* dial);

static void finish(uvws__dial_t* dial) {
  if (dial->cancelled)
    dial->events->cancelled(dial->owner);
  else if (dial->stream != NULL)
    dial->events->connected(dial->owner, dial->stream);
  else
    dial->events->failed(dial->owner, dial->status);
  uv_freeaddrinfo(dial->addresses);
  uvws__free(dial->pipe);
  uvws__free(dial);
}

static void on_deferred(uvws__deferred_t* deferred) {
  finish(UVWS__CONTAINER_OF(deferred, uvws__dial_t, deferred));
}

static void finish_later(uvws__dial_t* dial) {
  uvws__loop_defer(dial->loop, &dial->deferred);
}

static void on_attempt_closed(uvws__stream_t* stream) {
  uvws__dial_t* dial = stream->owner;
  dial->stream = NULL;
  if (dial->cancelled)
    finish(dial);
  else
    advance(dial);
}

static const uvws__stream_events_t attempt_events = {.closed =
                                                         on_attempt_closed};

static void on_connect(uv_connect_t* connect, int status) {
  uvws__dial_t* dial = connect->data;
  if (dial->cancelled) return;
  dial->status = status;
  if (status != 0)
    uvws__stream_close(dial->stream);
  else
    finish(dial);
}

static const struct sockaddr* next_address(uvws__dial_t* dial) {
  if (dial->literal_left) {
    dial->literal_left = false;
    return (const struct sockaddr*)&dial->literal;
  }
  if (dial->next == NULL) return NULL;
  const struct sockaddr* address = dial->next->ai_addr;
  dial->next = dial->next->ai_next;
  return address;
}

static int connect_tcp(uvws__dial_t* dial, const struct sockaddr* address) {
  uv_tcp_t* tcp = &dial->stream->uv.tcp;
  int status = uv_tcp_connect(&dial->connect, tcp, address, on_connect);
  /* Frames leave as whole writes; Nagle could only delay the last of them. */
  if (status == 0) uv_tcp_nodelay(tcp, 1);
  return status;
}

/* Tries the next address; when there is none, that was the end. */
static void advance(uvws__dial_t* dial) {
  const struct sockaddr* address = NULL;
  if (dial->pipe == NULL) {
    address = next_address(dial);
    if (address == NULL) {
      finish_later(dial);
      return;
    }
  }
  int status = uvws__stream_new(
      dial->loop, address == NULL ? UVWS__PIPE : UVWS__TCP, &dial->stream);
  if (status != 0) {
    dial->status = status;
    finish_later(dial);
    return;
  }
  uvws__stream_own(dial->stream, &attempt_events, dial);
  uvws__dial_set_ref(dial, dial->referenced);
  dial->connect.data = dial;
  if (address == NULL) {
    uv_pipe_connect(&dial->connect, &dial->stream->uv.pipe, dial->pipe,
                    on_connect);
    uvws__free(dial->pipe);
    dial->pipe = NULL;
    return;
  }
  status = connect_tcp(dial, address);
  if (status != 0) {
    dial->status = status;
    uvws__stream_close(dial->stream);
  }
}

static void on_lookup(uv_getaddrinfo_t* request, int status,
                      struct addrinfo* addresses) {
  lookup_t* lookup = (lookup_t*)request->data;
  uvws__dial_t* dial = lookup->dial;
  uvws__free(lookup);
  if (dial == NULL) {
    uv_freeaddrinfo(addresses);
    return;
  }
  dial->lookup = NULL;
  dial->status = status;
  dial->addresses = addresses;
  dial->next = addresses;
  advance(dial);
}

static int look_up(uvws__dial_t* dial, const char* host) {
  struct addrinfo hints;
  char service[6];
  lookup_t* lookup = uvws__malloc(sizeof(*lookup));
  if (lookup == NULL) return UV_ENOMEM;
  memset(&hints, 0, sizeof(hints));
  hints.ai_socktype = SOCK_STREAM;
  snprintf(service, sizeof(service), "%u", (unsigned)dial->port);
  lookup->dial = dial;
  lookup->request.data = lookup;
  int status = uv_getaddrinfo(dial->loop->uv, &lookup->request, on_lookup, host,
                              service, &hints);
  if (status == 0)
    dial->lookup = lookup;
  else
    uvws__free(lookup);
  return status;
}

static bool is_literal(uvws__dial_t* dial, const char* host) {
  return uv_ip4_addr(host, dial->port, (struct sockaddr_in*)&dial->literal) ==
             0 ||
         uv_ip6_addr(host, dial->port, (struct sockaddr_in6*)&dial->literal) ==
             0;
}

static void start(uvws__dial_t* dial, const char* host) {
  if (dial->pipe == NULL && !is_literal(dial, host)) {
    dial->status = look_up(dial, host);
    if (dial->status != 0) finish_later(dial);
    return;
  }
  dial->literal_left = dial->pipe == NULL;
  advance(dial);
}

uvws__dial_t* uvws__dial_new(uvws__loop_t* loop, const char* host,
                             uint16_t port, const char* pipe,
                             const uvws__dial_events_t* events, void* owner) {
  uvws__dial_t* dial = uvws__calloc(1, sizeof(*dial));
  if (dial == NULL) return NULL;
  dial->loop = loop;
  dial->events = events;
  dial->owner = owner;
  dial->port = port;
  dial->referenced = true;
  dial->deferred.run = on_deferred;
  if (pipe != NULL) {
    dial->pipe = uvws__strndup(pipe, strlen(pipe));
    if (dial->pipe == NULL) {
      uvws__free(dial);
      return NULL;
    }
  }
  start(dial, host);
  return dial;
}

void uvws__dial_cancel(uvws__dial_t* dial) {
  if (dial->cancelled) return;
  dial->cancelled = true;
  if (dial->lookup != NULL) {
    uv_cancel((uv_req_t*)&dial->lookup->request);
    dial->lookup->dial = NULL;
    dial->lookup = NULL;
  }
  if (dial->stream != NULL)
    uvws__stream_close(dial->stream);
  else
    finish_later(dial);
}

void uvws__dial_set_ref(uvws__dial_t* dial, bool referenced) {
  dial->referenced = referenced;
  if (dial->stream != NULL) uvws__stream_set_ref(dial->stream, referenced);
}
