/* uvws: the web platform's WebSocket object as a libuv handle.
 *
 * Everything here belongs to the thread that runs the handle's loop, except
 * where a comment says otherwise. Callbacks run on that thread, from inside
 * uv_run(), never from inside a call of this library. Inside any callback any
 * call may be made, on any socket of the loop, in any state; `trace` is the one
 * exception to both.
 *
 * Functions that return int return 0, or a negative status that
 * uvws_strerror() explains, and such a call has done nothing at all, unless a
 * comment says otherwise. Durations are milliseconds, sizes are bytes.
 *
 * "Standard" below means the WHATWG WebSockets Standard, "RFC" RFC 6455. */
#ifndef UVWS_H_
#define UVWS_H_

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "uvws/version.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(UVWS_BUILDING) && defined(UVWS_SHARED)
#define UVWS_EXTERN __declspec(dllexport)
#elif defined(_WIN32) && defined(UVWS_SHARED)
#define UVWS_EXTERN __declspec(dllimport)
#elif defined(__GNUC__)
#define UVWS_EXTERN __attribute__((visibility("default")))
#else
#define UVWS_EXTERN
#endif

/* ---- Status codes ----
 *
 * libuv's codes keep their meaning; these are ours, in a range that neither
 * libuv (down to -4095) nor mbedTLS (down to -0x7FFF) reaches. */
#define UVWS_ERRNO_MAP(X)                                              \
  X(ESYNTAX, -0x10000, "invalid URL, subprotocol or close reason")     \
  X(ESECURITY, -0x10001, "the port is blocked")                        \
  X(EINVALIDACCESS, -0x10002, "close code or subprotocol not allowed") \
  X(EINVALIDSTATE, -0x10003, "not allowed in this ready state")        \
  X(EPROTOCOL, -0x10004, "the peer broke the WebSocket protocol")      \
  X(EUTF8, -0x10005, "text is not valid UTF-8")                        \
  X(ETOOBIG, -0x10006, "larger than the limit")                        \
  X(ETLS, -0x10007, "TLS failed")                                      \
  X(EUPGRADE, -0x10008, "the opening handshake failed")                \
  X(ETIMEOUT, -0x10009, "a deadline of this library passed")           \
  X(EBUSY, -0x1000A, "another message is being sent in parts")         \
  X(ERATE, -0x1000B, "more often than the limit")                      \
  X(ECERT, -0x1000C, "the peer's certificate was refused")             \
  X(EPROXY, -0x1000D, "the proxy did not connect us")

enum {
#define X(name, value, text) UVWS_##name = value,
  UVWS_ERRNO_MAP(X)
#undef X
      UVWS_ERRNO_END = -0x1000E
};

/** What a status means, in words: libuv's codes and ours, anything else is
 * "unknown status". Static storage, on any thread. */
UVWS_EXTERN const char* uvws_strerror(int status);

/** The name of a status, such as "UVWS_EUTF8" or "ECONNREFUSED". Static
 * storage; understands libuv's codes and ours, on any thread. */
UVWS_EXTERN const char* uvws_err_name(int status);

/* ---- Types ---- */

typedef struct uvws_s uvws_t;
typedef struct uvws_events_s uvws_events_t;
typedef struct uvws_options_s uvws_options_t;
typedef struct uvws_message_s uvws_message_t;
typedef struct uvws_chunk_s uvws_chunk_t;
typedef struct uvws_trace_s uvws_trace_t;
typedef struct uvws_write_s uvws_write_t;
typedef struct uvws_stats_s uvws_stats_t;
typedef struct uvws_close_event_s uvws_close_event_t;
typedef struct uvws_blob_s uvws_blob_t;
typedef struct uvws_server_s uvws_server_t;
typedef struct uvws_server_events_s uvws_server_events_t;
typedef struct uvws_server_options_s uvws_server_options_t;
typedef struct uvws_request_s uvws_request_t;
typedef struct uvws_accept_options_s uvws_accept_options_t;
typedef struct uvws_lookup_s uvws_lookup_t;
typedef struct uvws_adopt_options_s uvws_adopt_options_t;
typedef struct uvws_deflate_options_s uvws_deflate_options_t;
typedef struct uvws_tls_s uvws_tls_t;
typedef struct uvws_tls_options_s uvws_tls_options_t;
typedef struct uvws_tls_certificate_s uvws_tls_certificate_t;
typedef struct uvws_tls_verify_s uvws_tls_verify_t;
typedef struct uvws_tls_info_s uvws_tls_info_t;

/** The `readyState` constants (Standard, 3.1). */
typedef enum {
  UVWS_CONNECTING = 0,
  UVWS_OPEN = 1,
  UVWS_CLOSING = 2,
  UVWS_CLOSED = 3
} uvws_ready_state_t;

/** `binaryType`: how binary messages arrive (Standard, 3.1). The initial value
 * is UVWS_BLOB, as on the web. */
typedef enum {
  UVWS_BLOB = 0,       /* message->blob is set and may be kept */
  UVWS_ARRAYBUFFER = 1 /* bytes borrowed for the callback; nothing allocated
                          when they lie whole in the loop's read buffer */
} uvws_binary_type_t;

/** Flags of uvws_send() and uvws_send_blob(): exactly one of the first two,
 * which are also the types of a message; the values are the RFC's opcodes. */
enum {
  UVWS_TEXT = 0x1,
  UVWS_BINARY = 0x2,
  UVWS_UTF8_CHECKED = 0x10, /* the caller vouches that the text is UTF-8 */
  UVWS_NO_COMPRESS = 0x20,  /* where compression was agreed on: not this one */
  UVWS_COMPRESS = 0x40      /* this one although it is below the threshold */
};

/** What becomes of a send while the queue, having passed its high-water mark,
 * has not yet fallen to the low-water mark again. */
typedef enum {
  UVWS_HIGH_WATER_TELL = 0,   /* it is queued all the same */
  UVWS_HIGH_WATER_REFUSE = 1, /* it returns UV_ENOBUFS */
  UVWS_HIGH_WATER_CLOSE = 2   /* it returns UV_ENOBUFS, and the connection fails
                                 with close code 1008 */
} uvws_high_water_policy_t;

/** One header line. Names are compared without regard to case. */
typedef struct uvws_header_s {
  const char* name;
  const char* value;
} uvws_header_t;

/* ---- Messages, blobs ---- */

/** A received message. Valid, with the bytes it points to, until the callback
 * that received it returns. */
struct uvws_message_s {
  unsigned type;    /* UVWS_TEXT or UVWS_BINARY */
  const char* data; /* text is valid UTF-8; not NUL-terminated */
  size_t len;
  uvws_blob_t* blob; /* binary under UVWS_BLOB: the same bytes, borrowed; take
                        a reference to keep it. NULL otherwise */
  void* reserved[2];
};

/** A part of a received message, for those who asked for `chunk`. Valid, with
 * the bytes it points to, until the callback returns. */
struct uvws_chunk_s {
  unsigned type;    /* of the message: UVWS_TEXT or UVWS_BINARY */
  int first;        /* nothing of the message came before */
  int last;         /* nothing follows: the message is complete */
  const char* data; /* text is valid UTF-8 as far as it came, and may end inside
                       a character unless this is the last chunk */
  size_t len;       /* 0 at most in the last */
  void* reserved[2];
};

/** A blob is an immutable, reference-counted sequence of bytes. It can be sent
 * to any number of sockets for one copy; a blob that was received as text, or
 * sent as text once, is not validated again.
 *
 * Makes a blob with a copy of `len` bytes and one reference, which is the
 * caller's; NULL when there is no memory. On any thread. */
UVWS_EXTERN uvws_blob_t* uvws_blob_new(const void* data, size_t len);

/** The message as a blob with one reference, which is the caller's, whatever
 * its type and the socket's binaryType; NULL when there is no memory. Copies
 * the bytes unless they fill a buffer of their own. To be called inside the
 * `message` event. */
UVWS_EXTERN uvws_blob_t* uvws_message_blob(const uvws_message_t* message);

/** 1 when `len` bytes are valid UTF-8, and so may be sent as UVWS_TEXT with
 * UVWS_UTF8_CHECKED; else 0. On any thread. */
UVWS_EXTERN int uvws_is_utf8(const void* data, size_t len);

/** Adds a reference and returns `blob`. On any thread. */
UVWS_EXTERN uvws_blob_t* uvws_blob_ref(uvws_blob_t* blob);

/** Drops a reference; the last one frees the blob. NULL is ignored. On any
 * thread. */
UVWS_EXTERN void uvws_blob_unref(uvws_blob_t* blob);

/** The bytes of a blob: valid as long as a reference is held. On any thread. */
UVWS_EXTERN const void* uvws_blob_data(const uvws_blob_t* blob);

/** The number of bytes of a blob. On any thread. */
UVWS_EXTERN size_t uvws_blob_size(const uvws_blob_t* blob);

/* ---- Events ---- */

/** What the `close` event tells (Standard, 6: CloseEvent). */
struct uvws_close_event_s {
  int code;           /* the peer's close code; 1005 when its close frame had
                         none, 1006 when there was no close frame (RFC 7.1.5) */
  int was_clean;      /* both close frames were seen (RFC 7.1.4) */
  int status;         /* 0; UV_ECANCELED when terminated, by uvws_terminate() or
                         uvws_server_close(); else what `error` reported */
  const char* reason; /* the peer's, UTF-8, NUL-terminated, "" for none */
  size_t reason_len;  /* at most 123 */
};

/** The events of a socket: one constant table, shared by any number of sockets,
 * that must outlive them. Every member but `size` may be NULL.
 *
 *   static const uvws_events_t events = {UVWS_EVENTS_INIT, .open = on_open};
 */
struct uvws_events_s {
  size_t size; /* UVWS_EVENTS_INIT */

  /** The connection is established; the first event unless it never is. The
   * response's headers can be read here (Standard, 4). */
  void (*open)(uvws_t* ws);

  /** A whole message, only ever in state UVWS_OPEN (Standard, 4). */
  void (*message)(uvws_t* ws, const uvws_message_t* message);

  /** The connection failed, or was lost: at most once, right before `close`.
   * `reason` says in words what `status` means here; valid until return. */
  void (*error)(uvws_t* ws, int status, const char* reason);

  /** The end: exactly once for each successful uvws_connect(), uvws_accept()
   * and uvws_adopt(), when everything inside is closed; only a name's lookup
   * that uv_getaddrinfo() is at may still keep the loop. `ws` may be freed
   * here, kept, or connected again. url, protocol, extensions and the event
   * itself are valid until return. */
  void (*close)(uvws_t* ws, const uvws_close_event_t* event);

  /** A ping came (at most 125 bytes, valid until return). Its pong is queued;
   * while another one waits for the kernel, the newest waits behind that (RFC
   * 5.5.2, 5.5.3). */
  void (*ping)(uvws_t* ws, const void* data, size_t len);

  /** A pong came. `rtt` is the round-trip time in nanoseconds when it answers
   * the last uvws_ping(), else 0: an unsolicited pong (RFC 5.5.3). */
  void (*pong)(uvws_t* ws, const void* data, size_t len, uint64_t rtt);

  /** A part of a message, as it came from the network. When this is set
   * messages come in chunks only, and `message` is never called: memory does
   * not depend on their length, but options->max_message still bounds it. */
  void (*chunk)(uvws_t* ws, const uvws_chunk_t* chunk);

  /** The queue, having passed its high-water mark or been refused memory by the
   * server's budget, has fallen to the low-water mark: sends are welcome
   * again. Once for each such crossing, in state UVWS_OPEN. */
  void (*drain)(uvws_t* ws);

  /** For debugging: each frame header that comes or goes and each change of
   * state. Unlike all others this may run inside a call of the user's, and may
   * call nothing that changes a socket. Costs nothing when it is not set. */
  void (*trace)(uvws_t* ws, const uvws_trace_t* trace);
};

#define UVWS_EVENTS_INIT .size = sizeof(uvws_events_t)

typedef enum {
  UVWS_TRACE_FRAME_RECEIVED = 0,
  UVWS_TRACE_FRAME_SENT = 1, /* queued, as uvws_queue_size() counts it */
  UVWS_TRACE_STATE = 2
} uvws_trace_kind_t;

/** What `trace` sees. Valid until it returns. */
struct uvws_trace_s {
  uvws_trace_kind_t kind;
  unsigned first_byte; /* frame: FIN, RSV1-3 and opcode (RFC 5.2) */
  int masked;          /* frame */
  uint64_t len;        /* frame: of its payload */
  const char* from;    /* state: as docs/design.md has it, such as "OPEN" */
  const char* to;      /* state */
  const char* event;   /* state: what led there, such as "CLOSE_CAME" */
  void* reserved[2];
};

/* ---- The WebSocket ---- */

/** A WebSocket. The caller owns the memory, which must stay in place from a
 * successful uvws_connect(), uvws_accept() or uvws_adopt() until the `close`
 * event. */
struct uvws_s {
  /** The user's; never touched by the library. */
  void* data;
  /** Read-only. */
  uv_loop_t* loop;

  /* Private. */
  const uvws_events_t* events;
  struct uvws__conn_s* conn;
  uint64_t buffered_amount;
  uint8_t ready_state;
  uint8_t binary_type;
  uint8_t unreferenced;
  uint8_t reserved_bytes[5];
  void* reserved[1];
};

/** Flags of uvws_options_t. */
enum {
  UVWS_CONNECT_ONE_AT_A_TIME = 0x1, /* wait while another socket of this loop
                                       that asked for the same is
                                       UVWS_CONNECTING to the same address and
                                       port, or through a proxy to the same
                                       host and port (RFC 4.1) */
  UVWS_CONNECT_ENV_PROXY = 0x2      /* when `proxy` is NULL, take the one that
                                       the environment names: for ws: ws_proxy
                                       or http_proxy, for wss: wss_proxy or
                                       https_proxy, else all_proxy; unless
                                       no_proxy has the host. In uppercase too,
                                       but for HTTP_PROXY, which a request may
                                       set in a CGI program */
};

/** Looks up a host name in the library's stead: called once, when the turn in
 * which it is needed ends, and not for addresses. `host` is valid until it
 * returns. uvws_lookup_done() must follow, in here or later, even when the
 * socket has ended meanwhile. */
typedef void (*uvws_lookup_cb)(uvws_lookup_t* lookup, const char* host,
                               void* arg);

/** What a lookup found: `status` 0 and `n` IPv4 and IPv6 addresses, the
 * preferred ones first, whose ports do not matter; or a negative status, which
 * `error` will report. Copies the addresses, and `lookup` is gone. Without any
 * address it is UV_EAI_NODATA. On the thread of the socket's loop. */
UVWS_EXTERN void uvws_lookup_done(uvws_lookup_t* lookup, int status,
                                  const struct sockaddr* const addresses[],
                                  unsigned n);

/** What uvws_connect() may be told. Set it up with uvws_options_init(), then
 * change what differs. Nothing in it needs to outlive the call. */
struct uvws_options_s {
  size_t size; /* set by uvws_options_init() */

  const char* const* protocols; /* subprotocols, in order of preference; the
                                   server must choose one when there are any
                                   (Standard, "establish a WebSocket
                                   connection") */
  const uvws_header_t* headers; /* more request headers */
  const char* origin;           /* Origin header; NULL sends none */
  const char* pipe;             /* connect to this unix socket or named pipe;
                                   the URL then only fills the request */
  unsigned n_protocols;
  unsigned n_headers;

  uint64_t max_message;       /* of a message received; 16 MiB */
  uint64_t max_discard;       /* read at most this much of what a peer goes on
                                 sending while we end; 256 MiB */
  uint32_t max_fragments;     /* of a message received; 65,536 */
  uint32_t max_head;          /* of the HTTP response's head; 16 KiB */
  uint32_t max_headers;       /* lines in it; 64 */
  uint32_t connect_timeout;   /* lookup and all addresses; 30 s, 0 = none */
  uint32_t handshake_timeout; /* request to response; 10 s, 0 = none */
  uint32_t close_timeout;     /* closing handshake; 10 s, 0 = none */
  uint64_t high_water;        /* of uvws_queue_size(); 1 MiB */
  uint64_t low_water;         /* at which `drain` comes; 256 KiB */
  uint32_t high_water_policy; /* uvws_high_water_policy_t; ..._TELL */
  uint32_t max_ping_rate;     /* pings and pongs received in a second; 1,000,
                                 0 = no limit */
  uint32_t max_fragment_rate; /* fragments below 1 KiB received in a second,
                                 last ones apart; 131,072, 0 = no limit */
  uint32_t ping_interval;     /* a peer that was silent for so long is sent a
                                 ping; 30 s, 0 = none */
  uint32_t ping_timeout;   /* then so long until it is taken for dead; 60 s */
  uint32_t idle_timeout;   /* no message came or went; 0 = none */
  uint32_t send_timeout;   /* the kernel took nothing of what waits; 60 s,
                              0 = none */
  uvws_tls_t* tls;         /* for wss:; a reference is taken. NULL: the system's
                              trust store and all defaults of uvws_tls_options_t */
  const char* server_name; /* whom to expect instead of the URL's host: the name
                              that is asked for and that the certificate must
                              have */

  uint32_t flags;         /* UVWS_CONNECT_*; 0 */
  uint32_t attempt_delay; /* so long after one address the next is tried beside
                             it (RFC 8305, 5); 250 ms, at least 10 */
  uint32_t tcp_nodelay;   /* no waiting for more to send (Nagle); 1 */
  uint32_t tcp_keepalive; /* TCP asks a peer that was silent for so many
                             seconds; 0 = no, ping_interval does */
  const struct sockaddr* local_address; /* where to connect from: only addresses
                                           of its family are tried. NULL: the
                                           system chooses */
  const char* proxy;     /* the way there: http:, https: (TLS to the proxy) or
                            socks5: (names are resolved by the proxy, as with
                            socks5h:), with Basic or SOCKS5 credentials in it:
                            "http://user:password@proxy:3128". "" or NULL:
                            none */
  uvws_tls_t* proxy_tls; /* for https: proxies; as `tls` */
  uvws_lookup_cb lookup; /* looks up names; NULL: uv_getaddrinfo() */
  void* lookup_arg;      /* the last argument of that */
  const uvws_deflate_options_t* deflate; /* offers permessage-deflate; NULL:
                                            does not */
};

/** Fills `*o` with the defaults that stand beside the members. */
#define uvws_options_init(o) uvws_options_init_sized((o), sizeof(*(o)))

/** What uvws_options_init() calls: writes no more than `size` bytes, so that a
 * program built with an older header stays right. */
UVWS_EXTERN void uvws_options_init_sized(uvws_options_t* options, size_t size);

/** Prepares a socket: state UVWS_CLOSED, binaryType UVWS_BLOB, bufferedAmount
 * 0, referenced. Allocates nothing and needs no counterpart; on a socket whose
 * `close` event has come it starts afresh. `data` is left alone. Returns
 * UV_EINVAL when an argument is NULL or events->size was not set. */
UVWS_EXTERN int uvws_init(uv_loop_t* loop, uvws_t* ws,
                          const uvws_events_t* events);

/** The constructor: begins to connect to a ws:, wss:, http: or https: URL
 * (Standard, 3.1 and 2.1). `url` is NUL-terminated UTF-8, copied. `options` may
 * be NULL. On success the state is UVWS_CONNECTING, and events follow: `open`,
 * or `error` and `close`. Errors:
 *
 *   UVWS_ESYNTAX    url is none, has a fragment or another scheme, or a non-
 *                   ASCII host (give it in its xn-- form); a subprotocol is no
 *                   token or is there twice
 *   UVWS_ESECURITY  the port is on the Fetch standard's list of bad ports
 *   UVWS_ETLS       a wss: URL, and the system's trust store is not to be found
 *   UV_EINVAL       options->deflate has a wrong value in one of its list; a
 *                   header has an invalid name or value, or one that the
 *                   handshake itself sets; options->size was not set; url is
 *                   NULL, or a list of members is; options->proxy is no URL of
 *                   a proxy, or has credentials that do not fit; local_address
 *                   is of another family than IPv4 and IPv6
 *   UV_ENAMETOOLONG options->pipe is longer than the system takes
 *   UV_EALREADY     ws is in use
 *   UV_ENOMEM, and whatever uv_random() reports */
UVWS_EXTERN int uvws_connect(uvws_t* ws, const char* url,
                             const uvws_options_t* options);

/** Sends one message: flags are UVWS_TEXT or UVWS_BINARY, and
 * UVWS_UTF8_CHECKED, UVWS_COMPRESS or UVWS_NO_COMPRESS, which wins. The bytes
 * are copied or already with the kernel on return, the caller's buffer is never
 * written to. Small messages that are sent inside one event of this library
 * leave together when it returns, others when the turn of the loop ends. `data`
 * may be NULL when `len` is 0. Errors (Standard, 3.1, send()):
 *
 *   UVWS_EINVALIDSTATE  in state UVWS_CONNECTING
 *   UVWS_EUTF8          the text is not UTF-8; surrogates are not
 *   UV_ESHUTDOWN        in state UVWS_CLOSING or UVWS_CLOSED; as on the web
 *                       bufferedAmount grows all the same
 *   UVWS_EBUSY          between uvws_begin() and uvws_end(), or while a source
 *                       is being sent
 *   UV_ENOBUFS          by the high-water policy, or the server's max_memory is
 *                       used up; `drain` follows
 *   UVWS_ETOOBIG        larger than all of the server's max_memory
 *   UV_EINVAL           wrong flags, or data is NULL and len is not 0
 *   UV_ENOMEM, whatever uv_random() reports (clients mask each frame), and once
 *   writing has failed, what it failed with, such as UV_EPIPE */
UVWS_EXTERN int uvws_send(uvws_t* ws, const void* data, size_t len,
                          unsigned flags);

/** Sends a blob as one message. Takes its own references as long as it needs
 * them; on the server role a large blob is never copied, however many sockets
 * it is sent to. Otherwise as uvws_send(). */
UVWS_EXTERN int uvws_send_blob(uvws_t* ws, uvws_blob_t* blob, unsigned flags);

/** Called when all bytes of a uvws_write() are with the kernel (0), or will
 * never be (UV_ECANCELED, or what writing failed with). */
typedef void (*uvws_write_cb)(uvws_write_t* req, int status);

/** A uvws_write() under way; the memory is the caller's. */
struct uvws_write_s {
  /** The user's; never touched by the library. */
  void* data;
  /** Read-only. */
  uvws_t* ws;

  /* Private. */
  uvws_write_cb cb;
  uvws_write_t* next;
  uint64_t end;
  void* reserved[3];
};

/** Sends one message from several buffers, as uvws_send() but for what it
 * keeps: `req`, and the bytes the buffers point to (not `bufs`), must stay in
 * place until `cb`, which is called once, asynchronously, before `close`. On
 * the server role a large message is not copied at all, on the client role it
 * is masked into one copy. Errors as uvws_send(), and UV_EINVAL when `cb` is
 * NULL; then `cb` is not called. */
UVWS_EXTERN int uvws_write(uvws_write_t* req, uvws_t* ws, const uv_buf_t bufs[],
                           unsigned nbufs, unsigned flags, uvws_write_cb cb);

/** Begins a message whose parts follow by uvws_continue() and uvws_end(); each
 * becomes a frame (RFC 5.4). Control frames may stand between them, other
 * messages may not: their sends return UVWS_EBUSY. `flags` as for uvws_send().
 * To give up is to end the connection, by uvws_close() or uvws_terminate(): a
 * message of which a part is sent cannot be taken back. Errors as uvws_send().
 */
UVWS_EXTERN int uvws_begin(uvws_t* ws, unsigned flags);

/** The next part of the message. Text may be cut inside a character. Errors as
 * uvws_send(), and UVWS_EINVALIDSTATE when no message was begun. After
 * UV_ENOBUFS or UV_ENOMEM the part may be sent again. */
UVWS_EXTERN int uvws_continue(uvws_t* ws, const void* data, size_t len);

/** The last part of the message, which may be empty. Errors as
 * uvws_continue(); UVWS_EUTF8 also when text ends inside a character. */
UVWS_EXTERN int uvws_end(uvws_t* ws, const void* data, size_t len);

/** Fills `buf` with up to `len` bytes of a message and returns how many; 0 at
 * its end; UV_EAGAIN when there are none yet, after which uvws_send_resume()
 * has it called again; any other negative status, except UV_ECANCELED, gives
 * up: the connection fails with that status and close code 1011. Not called
 * after `close`. */
typedef ssize_t (*uvws_source_cb)(uvws_t* ws, void* buf, size_t len, void* arg);

/** Sends one message whose bytes come from a callback, which is asked for more
 * until the queue passes the high-water mark, and again once it has drained;
 * never inside this call. Until it has returned 0, other sends of messages
 * return UVWS_EBUSY. Errors as uvws_begin(), and UV_EINVAL when `source` is
 * NULL. Text that is not UTF-8 fails the connection as any wrong source does,
 * with UVWS_EUTF8. */
UVWS_EXTERN int uvws_send_source(uvws_t* ws, unsigned flags,
                                 uvws_source_cb source, void* arg);

/** Has a source that returned UV_EAGAIN called again. Does nothing when there
 * is none. */
UVWS_EXTERN void uvws_send_resume(uvws_t* ws);

/** Sends a blob to each of `n` sockets of this thread's loops, validated and
 * framed once. Each socket's own policy decides about a slow one; none waits
 * for another. `statuses`, unless it is NULL, gets what uvws_send_blob() would
 * have returned for each. Returns how many accepted it; UV_EINVAL or UVWS_EUTF8
 * when flags or blob are wrong for all. */
UVWS_EXTERN int uvws_broadcast(uvws_t* const sockets[], unsigned n,
                               uvws_blob_t* blob, unsigned flags,
                               int statuses[]);

/** Sends a ping with at most 125 bytes of the caller's (RFC 5.5.2); the `pong`
 * event has the round-trip time. Errors: UV_EINVAL for more bytes, or for NULL
 * with any; UVWS_EINVALIDSTATE unless in state UVWS_OPEN; and as uvws_send(),
 * UV_ENOMEM, what uv_random() reports and what writing has failed with. */
UVWS_EXTERN int uvws_ping(uvws_t* ws, const void* data, size_t len);

/** Starts the closing handshake (Standard, 3.1, close(); RFC 7.1.2). `code` is
 * one that may stand on the wire: 1000-1003, 1007-1014, 3000-4999; 0 sends no
 * code, or 1000 when there is a reason. `reason` has `len` bytes of UTF-8, 123
 * at most. The state becomes UVWS_CLOSING and `close` follows; what was sent
 * before still arrives. While UVWS_CONNECTING the connection fails instead;
 * while UVWS_CLOSING or UVWS_CLOSED nothing happens. Errors:
 *
 *   UVWS_EINVALIDACCESS  another code
 *   UVWS_ESYNTAX         the reason is too long
 *   UVWS_EUTF8           the reason is not UTF-8
 *   UV_EINVAL            reason is NULL and len is not 0
 *   UV_ENOMEM, and whatever uv_random() reports */
UVWS_EXTERN int uvws_close(uvws_t* ws, int code, const char* reason,
                           size_t len);

/** Drops the connection at once: no closing handshake, what was queued is lost.
 * `close` follows with 1006 and UV_ECANCELED, without `error`; but what had
 * ended the connection before, a failure or a complete closing handshake, stays
 * the reason. Does nothing to a socket that is UVWS_CLOSED. */
UVWS_EXTERN void uvws_terminate(uvws_t* ws);

/** Hands what has been sent in this turn of the loop to the kernel now, as far
 * as it takes it, instead of at the end of the turn. */
UVWS_EXTERN void uvws_flush(uvws_t* ws);

/** `readyState` (Standard, 3.1). */
UVWS_EXTERN uvws_ready_state_t uvws_ready_state(const uvws_t* ws);

/** `bufferedAmount` (Standard, 3.1): bytes of message payload accepted for
 * sending and not yet handed to the kernel. It does
 * not fall within a turn of the loop, and closing does not reset it. */
UVWS_EXTERN uint64_t uvws_buffered_amount(const uvws_t* ws);

/** Bytes that wait for the kernel as they will stand on the wire, or inside
 * TLS: frame headers and control frames too. What was sent in this turn of the
 * loop waits, unless uvws_flush() was called: only what is left then tells of a
 * slow peer. 0 once the socket is UVWS_CLOSED. */
UVWS_EXTERN uint64_t uvws_queue_size(const uvws_t* ws);

/** `url` as the URL serialiser has it (Standard, 3.1); for an accepted socket
 * "ws://" or "wss://" with the request's Host and target. "" before
 * uvws_connect() and once the `close` event is over; so are the next two. */
UVWS_EXTERN const char* uvws_url(const uvws_t* ws);

/** `protocol`: the subprotocol in use, "" for none (Standard, 3.1). */
UVWS_EXTERN const char* uvws_protocol(const uvws_t* ws);

/** `extensions`: those in use, "" for none (Standard, 3.1). */
UVWS_EXTERN const char* uvws_extensions(const uvws_t* ws);

/** `binaryType` (Standard, 3.1). */
UVWS_EXTERN uvws_binary_type_t uvws_binary_type(const uvws_t* ws);

/** Sets `binaryType`, from the next message on. UV_EINVAL for a value that is
 * not of the enum. */
UVWS_EXTERN int uvws_set_binary_type(uvws_t* ws, uvws_binary_type_t type);

/** The HTTP status of the server's response, 0 before there is one: 101, or
 * what the server refused the upgrade with. A client's, until `close` is over;
 * for an accepted socket 101. */
UVWS_EXTERN int uvws_http_status(const uvws_t* ws);

/** The first header of that name in the server's response, or NULL. A client's,
 * valid inside `open`, and inside `error` and `close` when the upgrade was
 * refused. */
UVWS_EXTERN const char* uvws_response_header(const uvws_t* ws,
                                             const char* name);

/** The `index`-th header line of the server's response, as above: 0, or
 * UV_ENOENT when there are fewer. */
UVWS_EXTERN int uvws_response_header_at(const uvws_t* ws, unsigned index,
                                        uvws_header_t* header);

/** Our own address, as uv_tcp_getsockname(). Errors as the next one's. */
UVWS_EXTERN int uvws_getsockname(const uvws_t* ws, struct sockaddr* name,
                                 int* namelen);

/** The peer's address, as uv_tcp_getpeername(). UV_ENOTCONN without a
 * connection, UV_ENOTSUP on a pipe. */
UVWS_EXTERN int uvws_getpeername(const uvws_t* ws, struct sockaddr* name,
                                 int* namelen);

/** 1 when the queue has passed its high-water mark, or was refused memory, and
 * `drain` is still to come; else 0. */
UVWS_EXTERN int uvws_needs_drain(const uvws_t* ws);

/** No more events of what the peer sends until uvws_read_start(): nothing is
 * read, TCP's window fills, and the peer is held back. Neither pings nor its
 * close frame are seen, and it is not taken for dead. Reading goes on by itself
 * once the socket is UVWS_CLOSING. A socket that does not read keeps the loop
 * alive as any other. Returns UV_ENOTCONN unless ws is in use. */
UVWS_EXTERN int uvws_read_stop(uvws_t* ws);

/** Goes on where uvws_read_stop() stopped: first, when this turn of the loop
 * ends, with what had been read already. Returns UV_ENOTCONN unless ws is in
 * use. */
UVWS_EXTERN int uvws_read_start(uvws_t* ws);

/** Counters of a socket since its `open`, or of a loop. Frames, and bytes as
 * they stand on the wire, without the opening handshake. */
struct uvws_stats_s {
  uint64_t bytes_received;
  uint64_t bytes_sent; /* handed to the kernel */
  uint64_t frames_received;
  uint64_t frames_sent; /* queued */
  uint64_t messages_received;
  uint64_t messages_sent; /* queued, complete */
  uint64_t queue_size;    /* now; of a loop the sum */
  uint64_t rtt;           /* nanoseconds, the last that a ping of ours measured;
                             of a loop the longest of these; 0 = none yet */
  uint64_t sockets;       /* now; of a loop */
  uint64_t reserved[7];
};

/** Fills `*stats`: zeros before `open` and after `close`, inside which it may
 * still be asked. */
UVWS_EXTERN void uvws_stats(const uvws_t* ws, uvws_stats_t* stats);

/** The sum over all sockets the loop ever had; it starts anew after its last
 * socket and server are closed. */
UVWS_EXTERN void uvws_loop_stats(uv_loop_t* loop, uvws_stats_t* stats);

/** Keeps the loop alive as long as the socket is not closed: the initial state;
 * as uv_ref(). */
UVWS_EXTERN void uvws_ref(uvws_t* ws);

/** Lets the loop end although the socket is open, as uv_unref(). A name lookup
 * or a connect under way, and bytes that wait, keep it alive all the same. */
UVWS_EXTERN void uvws_unref(uvws_t* ws);

/** 1 when referenced, else 0. */
UVWS_EXTERN int uvws_has_ref(const uvws_t* ws);

/* ---- The server ---- */

/** The events of a server: one constant table that must outlive it. */
struct uvws_server_events_s {
  size_t size; /* UVWS_SERVER_EVENTS_INIT */

  /** A complete and correct upgrade request came. Here, or later, it is decided
   * once: uvws_accept() or uvws_reject(). */
  void (*request)(uvws_server_t* server, uvws_request_t* request);

  /** A request that was left undecided is gone: its peer left, the handshake
   * deadline passed (UVWS_ETIMEOUT), the server closes (UV_ECANCELED), or
   * there is no memory for what it went on to send (UV_ENOMEM). `request` is
   * valid until return. Whoever decides later needs this: without
   * it, a request still undecided when `request` returns is answered 500. */
  void (*abort)(uvws_server_t* server, uvws_request_t* request, int status);

  /** Accepting failed, for instance UV_EMFILE; the server goes on. */
  void (*error)(uvws_server_t* server, int status);

  /** The server is closing and one more connection has ended: `left` remain,
   * and `terminated` were cut off so far, because the deadline has passed. */
  void (*progress)(uvws_server_t* server, unsigned left, unsigned terminated);

  /** The end: exactly once, after uvws_server_close(), when every connection of
   * the server has had its own `close` event. The memory is the caller's
   * again. */
  void (*close)(uvws_server_t* server);

  /** TLS failed with a client before it could ask for anything: `status` is
   * UVWS_ETLS, UVWS_ECERT or UV_ENOMEM, `reason` says in words why, valid until
   * return. For logs: whoever scans ports makes this happen. */
  void (*tls_error)(uvws_server_t* server, int status, const char* reason);

  /** An HTTP request came that asks for no WebSocket: for a page, or whether
   * the server is well. As `request`, but the answer is uvws_respond().
   * A body it may have is not read. Without this such a request is refused,
   * mostly by a 426. Its Origin is not looked at. */
  void (*http)(uvws_server_t* server, uvws_request_t* request);

  /** A connection was accepted, of which nothing was read. When this is set the
   * server serves none that it accepts itself: `fd` is the user's, to be given
   * to a server of any loop by uvws_server_adopt_fd(), here or by uvws_post(),
   * or to be closed. Not on Windows, where a socket stays with its loop. */
  void (*connection)(uvws_server_t* server, uv_os_sock_t fd);
};

#define UVWS_SERVER_EVENTS_INIT .size = sizeof(uvws_server_events_t)

/** A server. The caller owns the memory, which must stay in place from a
 * successful uvws_server_init() until the `close` event. */
struct uvws_server_s {
  /** The user's; never touched by the library. */
  void* data;
  /** Read-only. */
  uv_loop_t* loop;

  /* Private. */
  struct uvws__server_s* impl;
  void* reserved[4];
};

enum {
  UVWS_SERVER_ANY_ORIGIN = 0x1 /* do not compare Origin with Host */
};

/** A flag of uvws_listen(), beside those of uv_tcp_bind(). */
enum {
  UVWS_LISTEN_REUSEPORT = 0x10000 /* several servers, each with a loop and a
                                     thread of its own, listen on one address,
                                     and the kernel spreads the connections
                                     over them. UV_ENOTSUP where it would
                                     not */
};

/** What a server may be told. Set it up with uvws_server_options_init(), then
 * change what differs. */
struct uvws_server_options_s {
  size_t size; /* set by uvws_server_options_init() */

  uint32_t flags;             /* UVWS_SERVER_*; 0: a request whose Origin does
                                 not match its Host is answered 403, one
                                 without Origin is not from a browser and
                                 passes (RFC 10.2) */
  uint32_t max_connections;   /* at this number accepting waits; 65,536,
                                 0 = none */
  uint64_t max_message;       /* of a message received; 1 MiB */
  uint64_t max_discard;       /* as for clients; 256 MiB */
  uint32_t max_fragments;     /* of a message received; 65,536 */
  uint32_t max_head;          /* of the HTTP request's head; 16 KiB */
  uint32_t max_headers;       /* lines in it; 64 */
  uint32_t handshake_timeout; /* connection to decision; 10 s, 0 = none */
  uint32_t close_timeout;     /* closing handshake; 10 s, 0 = none */
  uint64_t high_water;        /* of uvws_queue_size(); 1 MiB */
  uint64_t low_water;         /* at which `drain` comes; 256 KiB */
  uint32_t high_water_policy; /* uvws_high_water_policy_t; ..._TELL */
  uint32_t max_ping_rate;     /* pings and pongs received in a second; 1,000,
                                 0 = no limit */
  uint32_t max_fragment_rate; /* fragments below 1 KiB received in a second,
                                 last ones apart; 131,072, 0 = no limit */
  uint32_t ping_interval;     /* a peer that was silent for so long is sent a
                                 ping; 30 s, 0 = none */
  uint32_t ping_timeout;  /* then so long until it is taken for dead; 60 s */
  uint32_t idle_timeout;  /* no message came or went; 0 = none */
  uint32_t send_timeout;  /* the kernel took nothing of what waits; 60 s,
                             0 = none */
  uint64_t max_memory;    /* of all connections together: what waits to be
                             sent, messages being received, and zlib's
                             streams; 1 GiB, 0 = no limit */
  uvws_tls_t* tls;        /* whatever the server listens on speaks TLS (wss:); a
                             reference is taken. NULL: nothing does */
  uint32_t tcp_nodelay;   /* as for clients; 1 */
  uint32_t tcp_keepalive; /* as for clients; 0 */
  const uvws_deflate_options_t* deflate; /* accepts permessage-deflate where it
                                            is offered; NULL: does not */
};

/** Fills `*o` with the defaults that stand beside the members. */
#define uvws_server_options_init(o) \
  uvws_server_options_init_sized((o), sizeof(*(o)))

/** What uvws_server_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_server_options_init_sized(uvws_server_options_t* options,
                                                size_t size);

/** Makes a server; it does not listen yet. `options` may be NULL; nothing in it
 * needs to outlive the call. Must be ended by uvws_server_close(). Returns
 * UV_EINVAL when events lacks its size or its `request`, options its size, or
 * options->tls a certificate;
 * UV_ENOMEM. */
UVWS_EXTERN int uvws_server_init(uv_loop_t* loop, uvws_server_t* server,
                                 const uvws_server_events_t* events,
                                 const uvws_server_options_t* options);

/** Listens on a TCP address; port 0 takes a free one. `flags` are those of
 * uv_tcp_bind() and UVWS_LISTEN_REUSEPORT. May be called several times. Returns
 * UV_ECANCELED once the server closes, UV_ENOTSUP, UV_ENOMEM, or what binding
 * and listening report, such as UV_EADDRINUSE. */
UVWS_EXTERN int uvws_listen(uvws_server_t* server, const struct sockaddr* addr,
                            unsigned flags, int backlog);

/** Listens on a unix socket or named pipe. UV_ENAMETOOLONG
 * where the system would cut its name; otherwise as uvws_listen(). */
UVWS_EXTERN int uvws_listen_pipe(uvws_server_t* server, const char* name,
                                 int backlog);

/** The address of the first uvws_listen(), as uv_tcp_getsockname(): the way to
 * learn the port. UV_ENOTCONN when there is none. */
UVWS_EXTERN int uvws_server_getsockname(const uvws_server_t* server,
                                        struct sockaddr* name, int* namelen);

/** The number of connections: those in their opening handshake too. */
UVWS_EXTERN unsigned uvws_server_connections(const uvws_server_t* server);

/** Stops listening, answers pending requests 503, ends every connection with
 * close code 1001 (RFC 7.4.1) and after `deadline` milliseconds terminates
 * those left; 0 terminates them now. `close` follows. Called again, the earlier
 * of the deadlines holds. */
UVWS_EXTERN void uvws_server_close(uvws_server_t* server, uint32_t deadline);

/** Sends a blob to all open sockets of the server but `except`, which may be
 * NULL; otherwise as uvws_broadcast(). */
UVWS_EXTERN int uvws_server_broadcast(uvws_server_t* server, uvws_blob_t* blob,
                                      unsigned flags, const uvws_t* except);

/** The memory that counts towards max_memory. */
UVWS_EXTERN uint64_t uvws_server_memory(const uvws_server_t* server);

/** Keeps the loop alive as long as the server listens: the initial state. */
UVWS_EXTERN void uvws_server_ref(uvws_server_t* server);

/** Lets the loop end although the server listens, as uv_unref(). */
UVWS_EXTERN void uvws_server_unref(uvws_server_t* server);

/** The request's method, such as "GET", which an upgrade always has. */
UVWS_EXTERN const char* uvws_request_method(const uvws_request_t* request);

/** The request target as it was sent, such as "/chat?room=1". This and all that
 * the next functions return is valid until the request is decided or
 * aborted. */
UVWS_EXTERN const char* uvws_request_target(const uvws_request_t* request);

/** The first header of that name, or NULL: "Origin" and "Host" are headers like
 * any other. */
UVWS_EXTERN const char* uvws_request_header(const uvws_request_t* request,
                                            const char* name);

/** The `index`-th header line: 0, or UV_ENOENT when there are fewer. */
UVWS_EXTERN int uvws_request_header_at(const uvws_request_t* request,
                                       unsigned index, uvws_header_t* header);

/** The `index`-th subprotocol that the client offers, in its order of
 * preference; NULL when there are no more. */
UVWS_EXTERN const char* uvws_request_protocol(const uvws_request_t* request,
                                              unsigned index);

/** The client's address, as uv_tcp_getpeername(). UV_ENOTSUP on a pipe. */
UVWS_EXTERN int uvws_request_getpeername(const uvws_request_t* request,
                                         struct sockaddr* name, int* namelen);

/** A pointer of the user's that travels with an undecided request. */
UVWS_EXTERN void uvws_request_set_data(uvws_request_t* request, void* data);

/** That pointer; NULL at first. */
UVWS_EXTERN void* uvws_request_get_data(const uvws_request_t* request);

/** What uvws_accept() may be told. */
struct uvws_accept_options_s {
  size_t size;                  /* set by uvws_accept_options_init() */
  const char* protocol;         /* the subprotocol chosen; NULL for none */
  const uvws_header_t* headers; /* more response headers */
  unsigned n_headers;
};

/** Fills `*o` with zeros and its size. */
#define uvws_accept_options_init(o) \
  uvws_accept_options_init_sized((o), sizeof(*(o)))

/** What uvws_accept_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_accept_options_init_sized(uvws_accept_options_t* options,
                                                size_t size);

/** Accepts a request (RFC 4.2.2): `ws`, prepared by uvws_init() on the server's
 * loop, becomes its socket, in state UVWS_CONNECTING until its `open` event,
 * and `request` is gone. `options` may be NULL. Errors, which leave the request
 * undecided:
 *
 *   UVWS_EINVALIDACCESS  the protocol is not one that the client offers
 *   UVWS_EUPGRADE        the request came by `http`: it is no upgrade
 *   UV_EINVAL            a header has an invalid name or value, or one that the
 *                        handshake itself sets; ws is of another loop;
 *                        options->size was not set
 *   UV_EALREADY          ws is in use
 *   UV_ECANCELED         the server is closing, or this is inside `abort`
 *   UV_ENOMEM */
UVWS_EXTERN int uvws_accept(uvws_request_t* request, uvws_t* ws,
                            const uvws_accept_options_t* options);

/** Answers a request with an HTTP response other than 101, then closes the
 * connection; `request` is gone. `body` has `len` bytes, copied, and is left
 * out when the method is HEAD (RFC 9110, 9.3.2). Content-Length and Connection
 * are set by the library. Errors, which leave the request undecided: UV_EINVAL
 * for a status outside 200-599, for 204, 205 and 304 with a body, or for a
 * header that is not allowed, UV_ECANCELED inside `abort`, UV_ENOMEM. */
UVWS_EXTERN int uvws_respond(uvws_request_t* request, int http_status,
                             const uvws_header_t* headers, unsigned n_headers,
                             const void* body, size_t len);

/** The same, as the answer to an upgrade that is not wanted. */
UVWS_EXTERN int uvws_reject(uvws_request_t* request, int http_status,
                            const uvws_header_t* headers, unsigned n_headers,
                            const void* body, size_t len);

/* ---- Compression ---- */

#include "uvws/deflate.h"

/* ---- TLS ---- */

#include "uvws/tls.h"

/* ---- Streams that exist already ---- */

#include "uvws/adopt.h"

/* ---- The loop ---- */

/** 1 when a handle that uv_walk() shows is the library's own: such a handle
 * must not be closed by anyone else. To be called on the loop's thread. */
UVWS_EXTERN int uvws_owns(const uv_handle_t* handle);

/** Has `cb` called on the loop's thread: the way from one thread to another's
 * sockets. Each is called once, from uv_run(), in the order in which its thread
 * has made them; when the loop's last socket and server end, what is left is
 * called. A post does not keep the loop alive. Returns UV_ENOENT when the loop
 * has neither a socket nor a server, UV_EINVAL when `cb` is NULL, UV_ENOMEM;
 * then `cb` is not called. On any thread. */
UVWS_EXTERN int uvws_post(uv_loop_t* loop,
                          void (*cb)(uv_loop_t* loop, void* arg), void* arg);

/** Calls `cb` for each socket of the loop from its uvws_connect(),
 * uvws_accept() or uvws_adopt() until all that it had open is closed. Inside,
 * sockets may be ended but not made. */
UVWS_EXTERN void uvws_walk(uv_loop_t* loop, void (*cb)(uvws_t* ws, void* arg),
                           void* arg);

/* ---- The process ---- */

/** UVWS_VERSION_HEX of the library, at run time. On any thread. */
UVWS_EXTERN unsigned uvws_version(void);

/** The version as text, such as "0.1.0". On any thread. */
UVWS_EXTERN const char* uvws_version_string(void);

/** Replaces the library's allocator, as uv_replace_allocator() does libuv's:
 * process-wide, to be called before anything else of the library. libuv's and
 * mbedTLS's own allocators stay as they are. UV_EINVAL when one is NULL. */
UVWS_EXTERN int uvws_replace_allocator(uv_malloc_func malloc_func,
                                       uv_realloc_func realloc_func,
                                       uv_calloc_func calloc_func,
                                       uv_free_func free_func);

#ifdef __cplusplus
}
#endif

#endif /* UVWS_H_ */
