#ifndef UVWS_SRC_NET_DIAL_H_
#define UVWS_SRC_NET_DIAL_H_

/* From a host name to a connected stream: lookup, all addresses, proxy. */

#include "net/claim.h"
#include "net/tunnel.h"

typedef struct uvws__dial_s uvws__dial_t;

/* Where to go, and how. It must outlive the dial. */
typedef struct uvws__route_s {
  const char* host; /* without brackets */
  uint16_t port;
  const char* pipe;             /* instead, or NULL */
  const uvws__proxy_t* proxy;   /* by way of it, or NULL */
  const struct sockaddr* local; /* from there, or NULL */
  uint32_t attempt_delay;       /* milliseconds */
  uvws__tcp_settings_t tcp;
  uvws__resolver_t resolver;
  uvws__claim_t* claim; /* RFC 6455, 4.1; zeroed; NULL for none. What was won is
                           still claimed in the end */
} uvws__route_t;

/* Exactly one of them is called, once, and never from inside a function of this
 * header; the dial is freed on return. */
typedef struct uvws__dial_events_s {
  /* The stream is the owner's now. */
  void (*connected)(void* owner, uvws__stream_t* stream);
  /* It did not work. */
  void (*failed)(void* owner, uvws__trouble_t trouble);
  /* After uvws__dial_cancel(), when nothing is open any more. */
  void (*cancelled)(void* owner);
} uvws__dial_events_t;

/* NULL when there is no memory; every other failure comes as an event. */
uvws__dial_t* uvws__dial_new(uvws__loop_t* loop, const uvws__route_t* route,
                             const uvws__dial_events_t* events, void* owner);

/* What has been tried so far, in words behind `what`; to be freed with
 * uvws__free(). NULL when there is no memory. */
char* uvws__dial_tell(const uvws__dial_t* dial, const char* what);

/* Gives up. A lookup inside the resolver cannot be stopped: it is left behind,
 * and the loop waits for it. */
void uvws__dial_cancel(uvws__dial_t* dial);

/* As uv_ref() and uv_unref(), for what is open now or will be. */
void uvws__dial_set_ref(uvws__dial_t* dial, bool referenced);

#endif /* UVWS_SRC_NET_DIAL_H_ */
