/* A part of uvws.h: taking over streams and descriptors that exist already.
 *
 * A stream that is taken over is of the same loop, a uv_tcp_t or a uv_pipe_t
 * (not for IPC), connected, not being read, not shut down, and all of its
 * writes have had their callbacks. Its memory stays the caller's. From then on
 * it is the library's: its `data` and callbacks are not to be touched, and the
 * library closes it, as no other use is left for a connection that was a
 * WebSocket. In the end `data` is what it was, and the handle is given back.
 *
 * A descriptor that is taken over belongs to the library, which closes it. It
 * is the way to another thread's loop, to servers under inetd, and from hosts
 * that hide their streams: those give a duplicate (dup()), and close their own
 * without shutting it down.
 *
 * What stands in somebody else's TLS session cannot be taken over: its keys are
 * not in the stream. A server without TLS then answers 400, and a client finds
 * no HTTP in what comes.
 *
 * Errors of all of these, which leave everything as it was:
 *
 *   UV_EINVAL     the stream is of another loop, or closing; options are
 *                 missing, or their size or what they need is; head is NULL and
 *                 len is not 0
 *   UV_ENOTSUP    neither TCP nor pipe, or a pipe for IPC; no descriptor of a
 *                 TCP or unix stream socket
 *   UV_ENOTCONN   it is not connected, or the stream was shut down
 *   UV_EBUSY      the stream is being read, listens, is being written to, or
 *                 was taken over already
 *   UV_EEXIST     a descriptor that the loop is at work on for a stream:
 *                 duplicate it
 *   UV_ENOMEM, and what opening the descriptor reports */
#ifndef UVWS_ADOPT_H_
#define UVWS_ADOPT_H_

#ifndef UVWS_H_
#error "include uvws.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** A stream that was taken over is given back: closed, its `data` restored, and
 * nothing points to it any more, so that its memory may be freed in here.
 * Called once, before the `close` event of its socket, if it has one. */
typedef void (*uvws_release_cb)(uv_stream_t* stream);

/** Who we are on a connection (RFC 1.2). */
typedef enum {
  UVWS_ROLE_CLIENT = 0, /* masks what it sends (RFC 5.3) */
  UVWS_ROLE_SERVER = 1
} uvws_role_t;

/** What uvws_adopt() must be told. Set it up with uvws_adopt_options_init(),
 * then change what differs. Nothing in it needs to outlive the call. */
struct uvws_adopt_options_s {
  size_t size; /* set by uvws_adopt_options_init() */

  uvws_role_t role; /* UVWS_ROLE_CLIENT */
  int upgraded;     /* the opening handshake is complete, whoever did it: `open`
                       follows, and what comes are frames; 0 */
  const char* url;  /* client: as for uvws_connect(). With wss: the library
                       speaks TLS on the stream. Server, or upgraded: what
                       uvws_url() shall be; NULL for "" */
  const char* key;  /* client: the request was sent by somebody else, with this
                       Sec-WebSocket-Key, and the answer is read. NULL: send
                       it */
  const char* protocol; /* upgraded: the subprotocol in use; NULL for none */
  const uvws_options_t* options; /* as for uvws_connect(); may be NULL. Of a
                                    server: `protocols` are those it speaks,
                                    from which the client's first choice is
                                    taken; `headers` go into the response; with
                                    `tls`, which needs a certificate, it speaks
                                    TLS; the limits are the client's unless
                                    they are set */
  uint32_t flags;                /* server: UVWS_SERVER_ANY_ORIGIN; 0 */
  uvws_release_cb release;       /* of a stream; NULL when nobody cares */
};

/** Fills `*o` with zeros and its size. */
#define uvws_adopt_options_init(o) \
  uvws_adopt_options_init_sized((o), sizeof(*(o)))

/** What uvws_adopt_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_adopt_options_init_sized(uvws_adopt_options_t* options,
                                               size_t size);

/** Makes `ws`, prepared by uvws_init(), the WebSocket of a stream. `head` has
 * the `len` bytes that were read of it since the other side's request (server)
 * or response (client) began, or behind it when that is `upgraded`: none, some,
 * all, or more. They are copied. On success the state is UVWS_CONNECTING, and
 * events follow as after uvws_connect(), under handshake_timeout; a server
 * answers a wrong request as uvws_server_t does, then the socket ends with what
 * was wrong, mostly UVWS_EUPGRADE. Errors: those above, those of
 * uvws_connect(), and UV_EALREADY when ws is in use. */
UVWS_EXTERN int uvws_adopt(uvws_t* ws, uv_stream_t* stream, const void* head,
                           size_t len, const uvws_adopt_options_t* options);

/** As uvws_adopt(), of a connected socket's descriptor. `release` is not
 * called. */
UVWS_EXTERN int uvws_adopt_fd(uvws_t* ws, uv_os_sock_t fd, const void* head,
                              size_t len, const uvws_adopt_options_t* options);

/** Gives a server a connection as if it had accepted it: `head` has the `len`
 * bytes that were read of the request, none, some, all, or more, or of TLS when
 * the server has that. `request`, or `http`, follows when the request is
 * complete, at the end of this turn at the earliest. `release` may be NULL.
 * Errors: those above, UV_ECANCELED once the server closes, UV_ENOBUFS when it
 * has all the connections it may have. */
UVWS_EXTERN int uvws_server_adopt(uvws_server_t* server, uv_stream_t* stream,
                                  const void* head, size_t len,
                                  uvws_release_cb release);

/** As uvws_server_adopt(), of a connected socket's descriptor. */
UVWS_EXTERN int uvws_server_adopt_fd(uvws_server_t* server, uv_os_sock_t fd,
                                     const void* head, size_t len);

#ifdef __cplusplus
}
#endif

#endif /* UVWS_ADOPT_H_ */
