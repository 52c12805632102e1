/* uvws: a socket that connects again when its connection is lost. A helper on
 * top of uvws.h, whose general remarks hold here, too. */
#ifndef UVWS_RECONNECT_H_
#define UVWS_RECONNECT_H_

#include "uvws.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uvws_reconnect_s uvws_reconnect_t;
typedef struct uvws_reconnect_events_s uvws_reconnect_events_t;
typedef struct uvws_reconnect_options_s uvws_reconnect_options_t;

/** A socket and what connects it again. The caller owns the memory, which must
 * stay in place from a successful uvws_reconnect_start() until `end`. */
struct uvws_reconnect_s {
  /** The user's; never touched by the library. */
  void* data;
  /** The socket: one for all connections. Whatever may be called on a socket
   * may be called on it, but uvws_init() and uvws_connect() are the helper's;
   * ws.data is the user's. Its binaryType is set once, after
   * uvws_reconnect_start(). So is uvws_unref(), which holds for the waits
   * between connections as well, from the next one on. */
  uvws_t ws;

  /* Private. */
  struct uvws__reconnect_s* impl;
  void* reserved[4];
};

/** The events of the helper; the socket's own come as ever, `error` and `close`
 * for each connection that ends. Every member but `size` may be NULL. */
struct uvws_reconnect_events_s {
  size_t size; /* UVWS_RECONNECT_EVENTS_INIT */

  /** Whether to connect again; asked right after each `close`, while the
   * response of a refused upgrade can still be read, unless
   * uvws_reconnect_stop() was called. `advice` is 1 or 0, and is what happens
   * without this callback. It is 0 after
   *
   *   close codes  1000, 1002, 1003, 1007-1010 and 3000-4999: the peer is done
   *                with us, or would have to say the same again
   *   statuses     UVWS_EPROTOCOL, UVWS_EUTF8, UVWS_ETOOBIG, UVWS_ERATE: the
   *                peer would do the same again; UV_ECANCELED: the socket was
   *                terminated; UVWS_EUPGRADE: the upgrade was refused, unless
   *                the HTTP status is 408, 425, 429 or 5xx
   *
   * and 1 after everything else. */
  int (*retry)(uvws_reconnect_t* reconnect, const uvws_close_event_t* event,
               int advice);

  /** There is no connection; the next is begun in `delay` milliseconds. It will
   * be the `attempt`-th, from 1, since there was a stable one. */
  void (*wait)(uvws_reconnect_t* reconnect, uint32_t delay, unsigned attempt);

  /** The end: exactly once, when everything inside is closed. The memory is the
   * caller's again: it may be freed or started again here. Both numbers are 0
   * after uvws_reconnect_stop(); else they are those of the last `close`, or
   * of an uvws_connect() that failed: its status and 1006. */
  void (*end)(uvws_reconnect_t* reconnect, int status, int code);
};

#define UVWS_RECONNECT_EVENTS_INIT .size = sizeof(uvws_reconnect_events_t)

/** When to connect again. Set it up with uvws_reconnect_options_init(), then
 * change what differs.
 *
 * Each wait has a bound: the first has `first_delay`, and with each attempt it
 * doubles up to `max_delay`. Its length is random, from half the bound to all
 * of it, so that the clients of a server that failed do not come back all at
 * once (RFC 7.2.3). */
struct uvws_reconnect_options_s {
  size_t size; /* set by uvws_reconnect_options_init() */

  uint32_t first_delay;  /* 1 s; 1 ms at least */
  uint32_t max_delay;    /* 30 s; first_delay at least */
  uint32_t stable_time;  /* a connection that was open for so long is a stable
                            one: the bound starts over; 60 s */
  uint32_t max_attempts; /* in a row, without a stable connection; 0 = no
                            limit */
};

/** Fills `*o` with the defaults that stand beside the members. */
#define uvws_reconnect_options_init(o) \
  uvws_reconnect_options_init_sized((o), sizeof(*(o)))

/** What uvws_reconnect_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_reconnect_options_init_sized(
    uvws_reconnect_options_t* options, size_t size);

/** Prepares the socket with uvws_init() and begins the first connection with
 * uvws_connect(), to which `url` and `options` go; `options` and `when` may be
 * NULL. Everything is copied: nothing needs to outlive the call. Returns
 * UV_EINVAL when a pointer that may not be NULL is, a size was not set or a
 * delay is out of its range; UV_ENOMEM; and what uvws_connect() returns. Then
 * no event follows.
 *
 * The memory for it is malloc()'s, whatever uvws_replace_allocator() says. */
UVWS_EXTERN int uvws_reconnect_start(uv_loop_t* loop,
                                     uvws_reconnect_t* reconnect,
                                     const char* url,
                                     const uvws_options_t* options,
                                     const uvws_events_t* socket_events,
                                     const uvws_reconnect_events_t* events,
                                     const uvws_reconnect_options_t* when);

/** No more connections: `end` follows, never from inside this call. An open
 * socket is closed with code 1000, and what was sent before still arrives; one
 * that is connecting is terminated; a wait is over. To end at once,
 * uvws_terminate() the socket after this call. Does nothing when called again,
 * or inside `end`. */
UVWS_EXTERN void uvws_reconnect_stop(uvws_reconnect_t* reconnect);

/** Ends a wait, perhaps because the network is known to be back: the connection
 * is begun when the loop comes to it. Does nothing at other times. */
UVWS_EXTERN void uvws_reconnect_now(uvws_reconnect_t* reconnect);

/** 1 when a handle that uv_walk() shows is the timer of a helper, as
 * uvws_owns(): such a handle must not be closed by anyone else. To be called on
 * the loop's thread. */
UVWS_EXTERN int uvws_reconnect_owns(const uv_handle_t* handle);

#ifdef __cplusplus
}
#endif

#endif /* UVWS_RECONNECT_H_ */
