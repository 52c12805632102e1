#include "net/dial.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"

/* Lookup, claim, race, proxy: each begins when the one before it has ended, and
 * the dial is in one of them at a time.
 *
 * The race is RFC 8305, 5: the next address is tried as soon as one has failed,
 * or when `attempt_delay` has passed; the first that answers wins, and the
 * others are closed. Nothing goes on before they are: whoever is told that a
 * dial has ended finds no handle of it open. Closing takes no time but the rest
 * of the loop's turn. */

typedef struct attempt_s {
  struct attempt_s* next;
  uvws__dial_t* dial;
  uvws__stream_t* stream;
  const struct sockaddr_storage* address; /* NULL: the pipe */
  uv_connect_t connect;
} attempt_t;

struct uvws__dial_s {
  uvws__loop_t* loop;
  const uvws__route_t* route;
  const uvws__dial_events_t* events;
  void* owner;
  uvws__lookup_t* lookup; /* while it is under way */
  uvws__addresses_t addresses;
  unsigned next;          /* of these to be tried */
  attempt_t* attempts;    /* not closed yet */
  uvws__stream_t* stream; /* the winner's */
  uvws__tunnel_t* tunnel; /* while it is under way */
  uvws__deadline_t stagger;
  uvws__deferred_t deferred;
  uvws__trouble_t trouble; /* the last; its text has all */
  bool waiting;            /* for the claim */
  bool cancelled;
  bool referenced;
};

static void start_next(uvws__dial_t* dial);

/* ---- trouble ---- */

static void add_text(uvws__dial_t* dial, const char* text) {
  char* before = dial->trouble.text;
  char* all = before == NULL ? uvws__join("", "", text)
                             : uvws__join(before, "; ", text);
  if (all == NULL) return;
  uvws__free(before);
  dial->trouble.text = all;
}

enum { NAME_MAX_LEN = sizeof("the proxy at ") + UVWS__ADDRESS_TEXT };

static void name_attempt(const uvws__dial_t* dial,
                         const struct sockaddr_storage* address,
                         char name[NAME_MAX_LEN]) {
  char text[UVWS__ADDRESS_TEXT];
  if (address != NULL)
    uvws__address_text((const struct sockaddr*)address, text);
  else
    snprintf(text, sizeof(text), "%s", dial->route->pipe);
  snprintf(name, NAME_MAX_LEN, "%s%s",
           dial->route->proxy == NULL ? "" : "the proxy at ", text);
}

static void note(uvws__dial_t* dial, const struct sockaddr_storage* address,
                 int status) {
  char name[NAME_MAX_LEN];
  name_attempt(dial, address, name);
  dial->trouble.status = status;
  char* text = uvws__join(name, ": ", uv_strerror(status));
  if (text != NULL) add_text(dial, text);
  uvws__free(text);
}

char* uvws__dial_tell(const uvws__dial_t* dial, const char* what) {
  char name[NAME_MAX_LEN];
  char* all = uvws__join(what, ": ",
                         dial->lookup != NULL         ? "looking up the name"
                         : dial->waiting              ? "waiting for its turn"
                         : dial->tunnel != NULL       ? "asking the proxy"
                         : dial->trouble.text != NULL ? dial->trouble.text
                                                      : "");
  const char* separator = dial->trouble.text == NULL ? "" : "; ";
  attempt_t* attempt = dial->attempts;
  for (; attempt != NULL && all != NULL; attempt = attempt->next) {
    name_attempt(dial, attempt->address, name);
    char* before = all;
    char* more = uvws__join(before, separator, name);
    all = more == NULL ? NULL : uvws__join(more, ": ", "no answer");
    separator = "; ";
    uvws__free(more);
    uvws__free(before);
  }
  return all;
}

/* ---- the end ---- */

static void tell_owner(uvws__dial_t* dial) {
  uvws__trouble_t trouble = dial->trouble;
  if (dial->cancelled) {
    dial->events->cancelled(dial->owner);
  } else if (dial->stream != NULL) {
    dial->events->connected(dial->owner, dial->stream);
  } else {
    dial->trouble.text = NULL;
    dial->events->failed(dial->owner, trouble);
  }
}

static void finish(uvws__dial_t* dial) {
  if (dial->route->claim != NULL && (dial->cancelled || dial->stream == NULL))
    uvws__claim_drop(dial->route->claim);
  uvws__wheel_cancel(&dial->stagger);
  tell_owner(dial);
  uvws__free(dial->addresses.list);
  uvws__free(dial->trouble.text);
  uvws__free(dial);
}

static void on_deferred(uvws__deferred_t* deferred) {
  finish(UVWS__CONTAINER_OF(deferred, uvws__dial_t, deferred));
}

static void finish_later(uvws__dial_t* dial) {
  uvws__loop_defer(dial->loop, &dial->deferred);
}

/* ---- the proxy ---- */

static void leave_tunnel(uvws__dial_t* dial) {
  dial->tunnel = NULL;
  uvws__loop_unhold(dial->loop);
}

static void on_through(void* owner, uvws__stream_t* stream) {
  uvws__dial_t* dial = owner;
  leave_tunnel(dial);
  dial->stream = stream;
  finish(dial);
}

static void on_tunnel_failed(void* owner, uvws__trouble_t trouble) {
  uvws__dial_t* dial = owner;
  leave_tunnel(dial);
  uvws__free(dial->trouble.text);
  dial->trouble = trouble;
  finish(dial);
}

static void on_tunnel_cancelled(void* owner) {
  leave_tunnel(owner);
  finish(owner);
}

static const uvws__tunnel_events_t tunnel_events = {
    on_through, on_tunnel_failed, on_tunnel_cancelled};

/* The winner's, until it has an owner who knows what to do with it. */
static void on_winner_closed(uvws__stream_t* stream) {
  uvws__dial_t* dial = stream->owner;
  dial->stream = NULL;
  if (dial->attempts == NULL) finish(dial);
}

static const uvws__stream_events_t winner_events = {.closed = on_winner_closed};

static void use_winner(uvws__dial_t* dial) {
  const uvws__route_t* route = dial->route;
  if (route->proxy == NULL) {
    finish(dial);
    return;
  }
  dial->tunnel = uvws__tunnel_new(dial->stream, route->proxy, route->host,
                                  route->port, &tunnel_events, dial);
  if (dial->tunnel != NULL) {
    uvws__loop_hold(dial->loop);
    dial->stream = NULL;
  } else {
    dial->trouble.status = UV_ENOMEM;
    uvws__stream_close(dial->stream);
  }
}

/* ---- the race ---- */

static void remove_attempt(attempt_t* attempt) {
  attempt_t** link = &attempt->dial->attempts;
  while (*link != attempt) link = &(*link)->next;
  *link = attempt->next;
  uvws__free(attempt);
}

/* To be called when an attempt is gone. */
static void look_for_end(uvws__dial_t* dial) {
  if (dial->attempts != NULL) return;
  if (dial->cancelled) {
    if (dial->stream == NULL) finish(dial);
  } else if (dial->stream != NULL) {
    use_winner(dial);
  } else if (dial->next == dial->addresses.n) {
    finish(dial);
  }
}

static void on_attempt_closed(uvws__stream_t* stream) {
  attempt_t* attempt = stream->owner;
  uvws__dial_t* dial = attempt->dial;
  remove_attempt(attempt);
  look_for_end(dial);
}

static const uvws__stream_events_t attempt_events = {.closed =
                                                         on_attempt_closed};

static void close_attempts(uvws__dial_t* dial) {
  for (attempt_t* attempt = dial->attempts; attempt != NULL;
       attempt = attempt->next)
    uvws__stream_close(attempt->stream);
}

static void win(attempt_t* attempt) {
  uvws__dial_t* dial = attempt->dial;
  dial->stream = attempt->stream;
  uvws__stream_own(dial->stream, &winner_events, dial);
  uvws__stream_tune(dial->stream, &dial->route->tcp);
  if (dial->route->claim != NULL && attempt->address != NULL)
    uvws__claim_narrow(dial->route->claim, attempt->address);
  uvws__wheel_cancel(&dial->stagger);
  remove_attempt(attempt);
  close_attempts(dial);
  look_for_end(dial);
}

static void on_connect(uv_connect_t* connect, int status) {
  attempt_t* attempt = connect->data;
  uvws__dial_t* dial = attempt->dial;
  if (dial->cancelled || dial->stream != NULL) return;
  if (status == 0) {
    win(attempt);
    return;
  }
  note(dial, attempt->address, status);
  uvws__stream_close(attempt->stream);
  start_next(dial);
}

static int connect_tcp(attempt_t* attempt) {
  const struct sockaddr* to = (const struct sockaddr*)attempt->address;
  const struct sockaddr* from = attempt->dial->route->local;
  uv_tcp_t* tcp = attempt->stream->uv.tcp;
  int status = 0;
  if (from != NULL && from->sa_family != to->sa_family)
    status = UV_EAFNOSUPPORT;
  else if (from != NULL)
    status = uv_tcp_bind(tcp, from, 0);
  if (status != 0) return status;
  return uv_tcp_connect(&attempt->connect, tcp, to, on_connect);
}

static int make_attempt(uvws__dial_t* dial,
                        const struct sockaddr_storage* address,
                        attempt_t** result) {
  attempt_t* attempt = uvws__calloc(1, sizeof(*attempt));
  if (attempt == NULL) return UV_ENOMEM;
  int status = uvws__stream_new(
      dial->loop, address == NULL ? UVWS__PIPE : UVWS__TCP, &attempt->stream);
  if (status != 0) {
    uvws__free(attempt);
    return status;
  }
  attempt->dial = dial;
  attempt->address = address;
  attempt->connect.data = attempt;
  attempt->next = dial->attempts;
  dial->attempts = attempt;
  uvws__stream_own(attempt->stream, &attempt_events, attempt);
  uvws__stream_set_ref(attempt->stream, dial->referenced);
  *result = attempt;
  return 0;
}

/* Whether an attempt is under way. */
static bool start_attempt(uvws__dial_t* dial,
                          const struct sockaddr_storage* address) {
  attempt_t* attempt;
  int status = make_attempt(dial, address, &attempt);
  if (status == 0) {
    if (address == NULL) {
      uv_pipe_connect(&attempt->connect, attempt->stream->uv.pipe,
                      dial->route->pipe, on_connect);
      return true;
    }
    status = connect_tcp(attempt);
    if (status == 0) return true;
    uvws__stream_close(attempt->stream);
  }
  note(dial, address, status);
  return false;
}

/* Tries addresses until an attempt is under way; when there are none left and
 * none is, that was the end. */
static void start_next(uvws__dial_t* dial) {
  const uvws__addresses_t* addresses = &dial->addresses;
  bool started = false;
  while (dial->next < addresses->n && !started)
    started = start_attempt(dial, &addresses->list[dial->next++]);
  uvws__loop_set_deadline(
      dial->loop, &dial->stagger,
      dial->next < addresses->n ? dial->route->attempt_delay : 0);
  if (dial->attempts == NULL) finish_later(dial);
}

static void on_stagger(uvws__deadline_t* deadline) {
  start_next(UVWS__CONTAINER_OF(deadline, uvws__dial_t, stagger));
}

/* ---- the lookup, and the claim before or behind it ---- */

static void await_turn(uvws__dial_t* dial);

static void use_addresses(uvws__dial_t* dial) {
  uvws__claim_t* claim = dial->route->claim;
  if (claim == NULL || dial->route->proxy != NULL) {
    start_next(dial);
  } else {
    claim->addresses = dial->addresses;
    await_turn(dial);
  }
}

static void on_found(void* owner, int status, uvws__addresses_t addresses) {
  uvws__dial_t* dial = owner;
  dial->lookup = NULL;
  dial->addresses = addresses;
  dial->trouble.status = status;
  if (status == 0)
    use_addresses(dial);
  else
    finish(dial);
}

static bool begin_lookup(uvws__dial_t* dial, const char* host, uint16_t port) {
  struct sockaddr_storage address;
  if (!uvws__address_read(host, port, &address)) {
    dial->lookup = uvws__lookup_new(dial->loop, host, port,
                                    &dial->route->resolver, on_found, dial);
    return dial->lookup != NULL;
  }
  dial->addresses.list = uvws__malloc(sizeof(address));
  if (dial->addresses.list == NULL) return false;
  dial->addresses.list[0] = address;
  dial->addresses.n = 1;
  use_addresses(dial);
  return true;
}

static void look_up(uvws__dial_t* dial) {
  const uvws__route_t* route = dial->route;
  const uvws__proxy_t* proxy = route->proxy;
  if (proxy == NULL ? begin_lookup(dial, route->host, route->port)
                    : begin_lookup(dial, proxy->host, proxy->port))
    return;
  dial->trouble.status = UV_ENOMEM;
  finish_later(dial);
}

static void on_granted(uvws__claim_t* granted) {
  uvws__dial_t* dial = granted->owner;
  dial->waiting = false;
  uvws__loop_unhold(dial->loop);
  if (dial->addresses.n == 0)
    look_up(dial);
  else
    start_next(dial);
}

static void await_turn(uvws__dial_t* dial) {
  uvws__claim_t* claim = dial->route->claim;
  dial->waiting = true;
  uvws__loop_hold(dial->loop);
  claim->owner = dial;
  claim->grant = on_granted;
  uvws__claim_make(claim, dial->loop);
}

static void start(uvws__dial_t* dial) {
  const uvws__route_t* route = dial->route;
  if (route->pipe != NULL) {
    if (!start_attempt(dial, NULL) && dial->attempts == NULL)
      finish_later(dial);
  } else if (route->claim != NULL && route->proxy != NULL) {
    route->claim->host = route->host;
    route->claim->port = route->port;
    await_turn(dial);
  } else {
    look_up(dial);
  }
}

uvws__dial_t* uvws__dial_new(uvws__loop_t* loop, const uvws__route_t* route,
                             const uvws__dial_events_t* events, void* owner) {
  uvws__dial_t* dial = uvws__calloc(1, sizeof(*dial));
  if (dial == NULL) return NULL;
  dial->loop = loop;
  dial->route = route;
  dial->events = events;
  dial->owner = owner;
  dial->referenced = true;
  dial->stagger.passed = on_stagger;
  dial->deferred.run = on_deferred;
  start(dial);
  return dial;
}

static void stop_waiting(uvws__dial_t* dial) {
  uvws__wheel_cancel(&dial->stagger);
  if (dial->lookup != NULL) uvws__lookup_cancel(dial->lookup);
  dial->lookup = NULL;
  if (dial->waiting) uvws__loop_unhold(dial->loop);
  dial->waiting = false;
  if (dial->route->claim != NULL) uvws__claim_drop(dial->route->claim);
}

void uvws__dial_cancel(uvws__dial_t* dial) {
  if (dial->cancelled) return;
  dial->cancelled = true;
  stop_waiting(dial);
  close_attempts(dial);
  if (dial->tunnel != NULL)
    uvws__tunnel_cancel(dial->tunnel);
  else if (dial->stream != NULL)
    uvws__stream_close(dial->stream);
  else if (dial->attempts == NULL)
    finish_later(dial);
}

void uvws__dial_set_ref(uvws__dial_t* dial, bool referenced) {
  dial->referenced = referenced;
  attempt_t* attempt = dial->attempts;
  for (; attempt != NULL; attempt = attempt->next)
    uvws__stream_set_ref(attempt->stream, referenced);
  if (dial->stream != NULL) uvws__stream_set_ref(dial->stream, referenced);
}
