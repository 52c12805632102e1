#ifndef UVWS_SRC_NET_TUNNEL_H_
#define UVWS_SRC_NET_TUNNEL_H_

/* From a stream that is connected to a proxy to one that the proxy has
 * connected to a host. */

#include "net/stream.h"
#include "protocol/proxy.h"

typedef struct uvws__proxy_s {
  uvws__proxy_kind_t kind;
  const char* host; /* without brackets */
  uint16_t port;
  const char* username; /* with `password`, or both NULL */
  const char* password;
  struct uvws_tls_s* tls; /* to the proxy, or NULL */
  size_t max_head;
  unsigned max_headers;
} uvws__proxy_t;

/* What went wrong: a failure of ours, or else a status; and what it means here,
 * or NULL: to be freed with uvws__free(). */
typedef struct uvws__trouble_s {
  uvws__failure_t failure;
  int status;
  char* text;
} uvws__trouble_t;

typedef struct uvws__tunnel_s uvws__tunnel_t;

/* Exactly one of them is called, once, and never from inside a function of this
 * header; the tunnel is freed on return. */
typedef struct uvws__tunnel_events_s {
  /* The stream, perhaps another one, is the owner's now. */
  void (*through)(void* owner, uvws__stream_t* stream);
  /* The stream is closed. */
  void (*failed)(void* owner, uvws__trouble_t trouble);
  void (*cancelled)(void* owner);
} uvws__tunnel_events_t;

/* The stream is the tunnel's from now on. All else must outlive it. NULL when
 * there is no memory; every other failure comes as an event. */
uvws__tunnel_t* uvws__tunnel_new(uvws__stream_t* stream,
                                 const uvws__proxy_t* proxy, const char* host,
                                 uint16_t port,
                                 const uvws__tunnel_events_t* events,
                                 void* owner);

void uvws__tunnel_cancel(uvws__tunnel_t* tunnel);

/* "a: b", from uvws__malloc(); NULL when there is no memory. */
char* uvws__join(const char* a, const char* separator, const char* b);

#endif /* UVWS_SRC_NET_TUNNEL_H_ */
