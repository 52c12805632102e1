#ifndef UVWS_SRC_NET_LOOKUP_H_
#define UVWS_SRC_NET_LOOKUP_H_

/* From a host name to the addresses to try, in their order. */

#include <stdbool.h>

#include "net/loop.h"

typedef struct uvws_lookup_s uvws__lookup_t;

typedef struct uvws__addresses_s {
  struct sockaddr_storage* list; /* from uvws__malloc(); NULL for none */
  unsigned n;
} uvws__addresses_t;

/* The addresses are the owner's; or status is not 0. The lookup is gone. Never
 * called from inside a function of this header. */
typedef void (*uvws__found_cb)(void* owner, int status,
                               uvws__addresses_t addresses);

/* How to look up instead of by uv_getaddrinfo(); cb is NULL for that. */
typedef struct uvws__resolver_s {
  void (*cb)(uvws__lookup_t* lookup, const char* host, void* arg);
  void* arg;
} uvws__resolver_t;

/* Begins to look up a host, which is copied.
 * NULL when there is no memory; every other failure comes as an event. */
uvws__lookup_t* uvws__lookup_new(uvws__loop_t* loop, const char* host,
                                 uint16_t port,
                                 const uvws__resolver_t* resolver,
                                 uvws__found_cb found, void* owner);

/* Its owner does not wait any more. What is inside a resolver cannot be
 * stopped: it is left behind. */
void uvws__lookup_cancel(uvws__lookup_t* lookup);

/* An address as text, such as "[::1]:80". */
enum { UVWS__ADDRESS_TEXT = 64 };
void uvws__address_text(const struct sockaddr* address,
                        char text[UVWS__ADDRESS_TEXT]);

/* A host that is an address, and needs no lookup; else false. */
bool uvws__address_read(const char* host, uint16_t port,
                        struct sockaddr_storage* address);

/* Of IPv4 and IPv6; 0 for another family. */
size_t uvws__address_size(const struct sockaddr* address);
bool uvws__address_equals(const struct sockaddr_storage* a,
                          const struct sockaddr_storage* b);

#endif /* UVWS_SRC_NET_LOOKUP_H_ */
