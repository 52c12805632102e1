#ifndef UVWS_SRC_NET_DIAL_H_
#define UVWS_SRC_NET_DIAL_H_

/* From a host name to a connected stream, each address in turn. */

#include "net/stream.h"

typedef struct uvws__dial_s uvws__dial_t;

/* Exactly one of them is called, once, and never from inside a function of this
 * header; the dial is freed on return. */
typedef struct uvws__dial_events_s {
  /* The stream is the owner's now. */
  void (*connected)(void* owner, uvws__stream_t* stream);
  /* No address worked: what the last one said, or the lookup. */
  void (*failed)(void* owner, int status);
  /* After uvws__dial_cancel(), when nothing is open any more. */
  void (*cancelled)(void* owner);
} uvws__dial_events_t;

/* Begins to connect, to `pipe` when that is not NULL. The strings are copied.
 * NULL when there is no memory; every other failure comes as an event. */
uvws__dial_t* uvws__dial_new(uvws__loop_t* loop, const char* host,
                             uint16_t port, const char* pipe,
                             const uvws__dial_events_t* events, void* owner);

/* Gives up. A lookup inside the resolver cannot be stopped: it is left behind,
 * and the loop waits for it. */
void uvws__dial_cancel(uvws__dial_t* dial);

/* As uv_ref() and uv_unref(), for what is open now or will be. */
void uvws__dial_set_ref(uvws__dial_t* dial, bool referenced);

#endif /* UVWS_SRC_NET_DIAL_H_ */
