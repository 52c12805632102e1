#include "net/lookup.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "uvws.h"

/* A lookup has an owner who waits, and often a resolver that works; it is freed
 * when neither is left. libuv cannot always cancel its own, and a user's calls
 * uvws_lookup_done() when he likes: until then the loop is held, as a request
 * of libuv's would hold it. Results are told at the end of a turn, since he may
 * do so inside any call. */

struct uvws_lookup_s {
  uvws__loop_t* loop;
  uvws__found_cb found; /* NULL: nobody waits any more */
  void* owner;
  bool resolving;
  bool in_hook; /* its caller frees it */
  int status;
  uvws__addresses_t addresses;
  uvws__resolver_t resolver;
  uv_getaddrinfo_t request;
  uvws__deferred_t deferred;
  uint16_t port;
  char host[];
};

/* ---- addresses ---- */

size_t uvws__address_size(const struct sockaddr* address) {
  switch (address->sa_family) {
    case AF_INET: return sizeof(struct sockaddr_in);
    case AF_INET6: return sizeof(struct sockaddr_in6);
    default: return 0;
  }
}

bool uvws__address_equals(const struct sockaddr_storage* a,
                          const struct sockaddr_storage* b) {
  if (a->ss_family != b->ss_family) return false;
  if (a->ss_family == AF_INET) {
    const struct sockaddr_in* x = (const struct sockaddr_in*)a;
    const struct sockaddr_in* y = (const struct sockaddr_in*)b;
    return x->sin_port == y->sin_port &&
           x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  const struct sockaddr_in6* x = (const struct sockaddr_in6*)a;
  const struct sockaddr_in6* y = (const struct sockaddr_in6*)b;
  return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
         memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

void uvws__address_text(const struct sockaddr* address,
                        char text[UVWS__ADDRESS_TEXT]) {
  char name[UVWS__ADDRESS_TEXT - sizeof("[]:65535")] = "";
  bool six = address->sa_family == AF_INET6;
  const struct sockaddr_in6* in6 = (const struct sockaddr_in6*)address;
  const struct sockaddr_in* in = (const struct sockaddr_in*)address;
  if (six)
    uv_ip6_name(in6, name, sizeof(name));
  else
    uv_ip4_name(in, name, sizeof(name));
  snprintf(text, UVWS__ADDRESS_TEXT, six ? "[%s]:%u" : "%s:%u", name,
           (unsigned)ntohs(six ? in6->sin6_port : in->sin_port));
}

static void set_port(struct sockaddr_storage* address, uint16_t port) {
  if (address->ss_family == AF_INET6)
    ((struct sockaddr_in6*)address)->sin6_port = htons(port);
  else
    ((struct sockaddr_in*)address)->sin_port = htons(port);
}

/* RFC 8305, 4: the families take turns, beginning with that of the first
 * address; within a family the order stays. */
static void interleave(uvws__addresses_t* to, const uvws__addresses_t* from) {
  unsigned next[2] = {0, 0};
  bool other = false;
  while (to->n < from->n) {
    unsigned* at = &next[other];
    while (*at < from->n &&
           (from->list[*at].ss_family != from->list[0].ss_family) != other)
      ++*at;
    if (*at < from->n) to->list[to->n++] = from->list[(*at)++];
    other = !other;
  }
}

static int sort(uvws__addresses_t* addresses) {
  uvws__addresses_t sorted = {NULL, 0};
  if (addresses->n < 2) return 0;
  sorted.list = uvws__calloc(addresses->n, sizeof(*sorted.list));
  if (sorted.list == NULL) return UV_ENOMEM;
  interleave(&sorted, addresses);
  uvws__free(addresses->list);
  *addresses = sorted;
  return 0;
}

/* ---- a lookup ---- */

static void free_lookup(uvws__lookup_t* lookup) {
  uvws__loop_undefer(lookup->loop, &lookup->deferred);
  uvws__free(lookup->addresses.list);
  uvws__free(lookup);
}

static void tell(uvws__lookup_t* lookup) {
  uvws__addresses_t addresses = lookup->addresses;
  uvws__found_cb found = lookup->found;
  void* owner = lookup->owner;
  int status = lookup->status;
  lookup->addresses = (uvws__addresses_t){NULL, 0};
  if (status == 0 && addresses.n == 0) status = UV_EAI_NODATA;
  if (status == 0) status = sort(&addresses);
  if (status != 0) {
    uvws__free(addresses.list);
    addresses = (uvws__addresses_t){NULL, 0};
  }
  free_lookup(lookup);
  found(owner, status, addresses);
}

static bool make_room(uvws__lookup_t* lookup, size_t n) {
  lookup->addresses.list = uvws__calloc(n + 1, sizeof(*lookup->addresses.list));
  if (lookup->addresses.list == NULL) lookup->status = UV_ENOMEM;
  return lookup->addresses.list != NULL;
}

/* Neither IPv4 nor IPv6 cannot be connected to. */
static void add(uvws__lookup_t* lookup, const struct sockaddr* address) {
  size_t size = uvws__address_size(address);
  if (size == 0) return;
  struct sockaddr_storage* to = &lookup->addresses.list[lookup->addresses.n++];
  memcpy(to, address, size);
  set_port(to, lookup->port);
}

/* libuv's callback is no call of the user's, so the result can be told. */
static void on_addresses(uv_getaddrinfo_t* request, int status,
                         struct addrinfo* result) {
  uvws__lookup_t* lookup = request->data;
  size_t n = 0;
  lookup->resolving = false;
  if (lookup->found == NULL) {
    uv_freeaddrinfo(result);
    uvws__free(lookup);
    return;
  }
  lookup->status = status;
  for (struct addrinfo* at = result; at != NULL; at = at->ai_next) n++;
  if (n > 0 && make_room(lookup, n))
    for (struct addrinfo* at = result; at != NULL; at = at->ai_next)
      add(lookup, at->ai_addr);
  uv_freeaddrinfo(result);
  tell(lookup);
}

void uvws_lookup_done(uvws__lookup_t* lookup, int status,
                      const struct sockaddr* const addresses[], unsigned n) {
  lookup->resolving = false;
  if (lookup->found == NULL) {
    if (!lookup->in_hook) uvws__free(lookup);
    return;
  }
  uvws__loop_unhold(lookup->loop);
  lookup->status = status;
  if (status == 0 && make_room(lookup, n))
    for (unsigned i = 0; i < n; i++) add(lookup, addresses[i]);
  uvws__loop_defer(lookup->loop, &lookup->deferred);
}

static int ask_libuv(uvws__lookup_t* lookup) {
  struct addrinfo hints;
  memset(&hints, 0, sizeof(hints));
  hints.ai_socktype = SOCK_STREAM;
  lookup->request.data = lookup;
  return uv_getaddrinfo(lookup->loop->uv, &lookup->request, on_addresses,
                        lookup->host, NULL, &hints);
}

/* The end of the first turn: the user is asked, or a failure is told; the end
 * of a later one: what the user has answered. */
static void on_deferred(uvws__deferred_t* deferred) {
  uvws__lookup_t* lookup =
      UVWS__CONTAINER_OF(deferred, uvws__lookup_t, deferred);
  void (*cb)(uvws__lookup_t*, const char*, void*) = lookup->resolver.cb;
  if (cb == NULL) {
    tell(lookup);
    return;
  }
  lookup->resolver.cb = NULL;
  lookup->resolving = true;
  uvws__loop_hold(lookup->loop);
  lookup->in_hook = true;
  cb(lookup, lookup->host, lookup->resolver.arg);
  lookup->in_hook = false;
  if (lookup->found == NULL && !lookup->resolving) free_lookup(lookup);
}

bool uvws__address_read(const char* host, uint16_t port,
                        struct sockaddr_storage* address) {
  memset(address, 0, sizeof(*address));
  return uv_ip4_addr(host, port, (struct sockaddr_in*)address) == 0 ||
         uv_ip6_addr(host, port, (struct sockaddr_in6*)address) == 0;
}

static void start(uvws__lookup_t* lookup) {
  if (lookup->resolver.cb == NULL) {
    lookup->status = ask_libuv(lookup);
    lookup->resolving = lookup->status == 0;
    if (lookup->resolving) return;
  }
  uvws__loop_defer(lookup->loop, &lookup->deferred);
}

uvws__lookup_t* uvws__lookup_new(uvws__loop_t* loop, const char* host,
                                 uint16_t port,
                                 const uvws__resolver_t* resolver,
                                 uvws__found_cb found, void* owner) {
  size_t size = strlen(host) + 1;
  uvws__lookup_t* lookup = uvws__calloc(1, sizeof(*lookup) + size);
  if (lookup == NULL) return NULL;
  lookup->loop = loop;
  lookup->found = found;
  lookup->owner = owner;
  lookup->resolver = *resolver;
  lookup->deferred.run = on_deferred;
  lookup->port = port;
  memcpy(lookup->host, host, size);
  start(lookup);
  return lookup;
}

void uvws__lookup_cancel(uvws__lookup_t* lookup) {
  lookup->found = NULL;
  if (!lookup->resolving) {
    uvws__loop_undefer(lookup->loop, &lookup->deferred);
    if (!lookup->in_hook) free_lookup(lookup);
    return;
  }
  if (lookup->request.data != NULL)
    uv_cancel((uv_req_t*)&lookup->request);
  else
    uvws__loop_unhold(lookup->loop);
}
