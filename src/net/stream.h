#ifndef UVWS_SRC_NET_STREAM_H_
#define UVWS_SRC_NET_STREAM_H_

/* A connected TCP socket or pipe: one way in, one write queue, one accounting
 * of bytes. It knows nothing of WebSocket frames. */

#include "net/loop.h"
#include "protocol/failure.h"

typedef struct uvws__stream_s uvws__stream_t;

/* What a stream tells its owner. None is called from inside a function of this
 * header, except `sent`. */
typedef struct uvws__stream_events_s {
  /* Where to put the next bytes: false for a buffer of the loop's.
   * There is room for *len; the first *wanted belong there. */
  bool (*alloc)(uvws__stream_t* stream, uint8_t** base, size_t* len,
                size_t* wanted);
  /* Bytes came; they may be written to. */
  void (*read)(uvws__stream_t* stream, uint8_t* data, size_t len);
  /* No more will: UV_EOF, or why reading failed. */
  void (*ended)(uvws__stream_t* stream, int status);
  /* TLS has failed: nothing can be read or written any more. */
  void (*failed)(uvws__stream_t* stream, uvws__failure_t failure);
  /* So many body bytes are with the kernel. */
  void (*sent)(uvws__stream_t* stream, uint64_t body);
  /* The kernel may have taken something; also while lingering. */
  void (*progress)(uvws__stream_t* stream);
  /* What was queued, and all that will be, is lost. Bytes that the peer sent
   * before may still come. */
  void (*write_failed)(uvws__stream_t* stream, int status);
  /* uvws__stream_linger() came to its end. */
  void (*lingered)(uvws__stream_t* stream);
  /* After uvws__stream_close(); the stream is freed on return. */
  void (*closed)(uvws__stream_t* stream);
  /* A listening one: uvws__listener_accept() has something, or status < 0. */
  void (*connection)(uvws__stream_t* stream, int status);
} uvws__stream_events_t;

typedef enum { UVWS__TCP, UVWS__PIPE } uvws__transport_t;

/* What few streams have. */
typedef struct uvws__stream_extra_s {
  struct uvws__secure_s* secure;   /* TLS, or NULL */
  struct uvws__early_s* early;     /* bytes to be read first, or NULL */
  struct uvws__adopted_s* adopted; /* what to give back in the end, or NULL */
  struct uvws__relay_s* relay;     /* through TLS to a proxy, or NULL */
} uvws__stream_extra_t;

struct uvws__stream_s {
  uvws__loop_t* loop; /* first: it tells our handles from others' */
  const uvws__stream_events_t* events;
  void* owner;
  union {
    uv_handle_t* handle;
    uv_stream_t* stream;
    uv_tcp_t* tcp;
    uv_pipe_t* pipe;
  } uv;                          /* `own`, or one that was taken over */
  uvws__stream_extra_t* extra;   /* not NULL; see uvws__stream_need_extra() */
  struct uvws__outbox_s* outbox; /* NULL while nothing waits in memory */
  uvws__deferred_t turn;         /* put off: bytes were queued in this turn */
  uint64_t queued;     /* wire bytes, all that ever were but for what is lost */
  uint64_t unreported; /* body bytes that the kernel has, and sent() does not */
  uint64_t discard_left; /* input that lingering still tolerates */
  uint32_t late; /* bytes that the kernel took only after a while; may wrap */
  int write_status; /* not 0: writing has failed */
  int ended;        /* not 0: no more input, UV_EOF or why */
  uint16_t sent_in; /* the loop's turn in which its read callback queued some */
  bool reading : 1;
  bool lingering : 1;
  bool half_close : 1; /* say FIN once all is written */
  bool fin_said : 1;
  bool places : 1; /* the owner may want input elsewhere: `alloc` is asked */
  union {
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } own; /* last, and only as large as the stream needs */
};

/* UV_ENAMETOOLONG when libuv would cut the name of a pipe, UV_EINVAL when it is
 * empty. */
int uvws__pipe_name_check(const char* name);

/* Makes a stream of the loop; it must be ended by uvws__stream_close(). The
 * owner, and its events, may change hands with uvws__stream_own(). */
int uvws__stream_new(uvws__loop_t* loop, uvws__transport_t transport,
                     uvws__stream_t** stream);
void uvws__stream_own(uvws__stream_t* stream,
                      const uvws__stream_events_t* events, void* owner);

/* Once it is connected. */
int uvws__stream_read_start(uvws__stream_t* stream);
void uvws__stream_read_stop(uvws__stream_t* stream);

/* The same for what is left of a turn: libuv learns of it only when something
 * comes, and so does not change what it polls for twice. */
void uvws__stream_read_pause(uvws__stream_t* stream);

/* Queues one piece of output: `head` uncounted bytes, then `body` counted ones.
 * Returns where the caller must write all of them before he calls anything
 * else; NULL, and nothing is queued, when there is no memory. It leaves when
 * the read callback or the turn ends. */
uint8_t* uvws__stream_reserve(uvws__stream_t* stream, size_t head, size_t body);

/* Whether something was queued in this turn of the loop. */
static inline bool uvws__stream_is_in_turn(const uvws__stream_t* stream) {
  return stream->turn.link != NULL || stream->sent_in == stream->loop->turn;
}

/* Tells the owner of the body bytes that the kernel has. */
static inline void uvws__stream_report(uvws__stream_t* stream) {
  uint64_t body = stream->unreported;
  if (body == 0) return;
  stream->unreported = 0;
  stream->events->sent(stream, body);
}

/* Something is queued: what was in earlier turns is reported by now. Inside the
 * stream's own read callback the end of the turn need not be waited for yet: as
 * a rule all is with the kernel when that ends. */
static inline void uvws__stream_begin_turn(uvws__stream_t* stream) {
  if (!uvws__stream_is_in_turn(stream)) uvws__stream_report(stream);
  if (stream->loop->reader == stream) {
    stream->sent_in = stream->loop->turn;
    uvws__loop_begin_turn(stream->loop);
  } else {
    uvws__loop_defer(stream->loop, &stream->turn);
  }
}

/* The same for what most pieces are: so small that it is corked, of a stream of
 * which nothing waits but in the cork. NULL, and nothing is queued, when it is
 * not so simple. */
static inline uint8_t* uvws__stream_cork(uvws__stream_t* stream, size_t head,
                                         size_t body) {
  uvws__cork_t* cork = &stream->loop->cork;
  if (stream->outbox != NULL || stream->write_status != 0) return NULL;
  if (cork->owner == NULL) {
    cork->owner = stream;
    uvws__stream_begin_turn(stream);
  } else if (cork->owner != stream || !uvws__cork_has_room(cork, head + body)) {
    return NULL;
  }
  stream->queued += head + body;
  return uvws__cork_add(cork, (uvws__mark_t){head, body, 0});
}

/* Queues a copy of bytes of which none are counted; false when there is no
 * memory. */
bool uvws__stream_put(uvws__stream_t* stream, const void* data, size_t len);

/* The same as uvws__stream_reserve() for a piece of `size` bytes that counts as
 * `whole` bytes, once all of it is sent. */
uint8_t* uvws__stream_reserve_whole(uvws__stream_t* stream, size_t size,
                                    uint64_t whole);

/* Bytes that outlive the call, for uvws__stream_refer(). */
typedef struct uvws__keeper_s {
  void* (*ref)(void* object);
  void (*unref)(void* object);
} uvws__keeper_t;

/* Queues one large piece whose body is elsewhere, and tries to write it at
 * once. What the kernel does not take is copied. UV_ENOMEM, and nothing is
 * queued, when there is no memory. Unless `whole` is 0 the piece counts as
 * that, once all of it is sent. */
int uvws__stream_send(uvws__stream_t* stream, const uint8_t* head,
                      size_t head_len, const uint8_t* body, size_t body_len,
                      uint64_t whole);

/* The same for a body that lies in the loop's read buffer, inside the read
 * callback that brought it: it leaves from there when that ends. False when
 * it does not, or cannot leave now; then nothing is queued. */
bool uvws__stream_send_input(uvws__stream_t* stream, const uint8_t* head,
                             size_t head_len, const uint8_t* body,
                             size_t body_len);

/* The same without a copy: the body is kept by a reference to `object` or,
 * without a keeper, by the caller, until it has been sent or is lost. */
int uvws__stream_refer(uvws__stream_t* stream, const uint8_t* head,
                       size_t head_len, const uv_buf_t* body, unsigned n,
                       const uvws__keeper_t* keeper, void* object,
                       uint64_t whole);

/* Gives the kernel what it takes now. */
void uvws__stream_flush(uvws__stream_t* stream);

/* Reports body bytes that the kernel has taken since, unless some were queued
 * in this turn. */
void uvws__stream_settle(uvws__stream_t* stream);

/* Bytes that wait for the end of the read callback, or of the turn. */
static inline size_t uvws__stream_corked(const uvws__stream_t* stream) {
  const uvws__cork_t* cork = &stream->loop->cork;
  return cork->owner == stream ? uvws__cork_size(cork) : 0;
}

/* Wire bytes that wait. */
uint64_t uvws__stream_queue_size(const uvws__stream_t* stream);
bool uvws__stream_is_waiting(const uvws__stream_t* stream);

/* How many bytes the kernel has taken after having refused them at first: it
 * changes only when the peer reads, and may wrap. */
uint32_t uvws__stream_taken_late(const uvws__stream_t* stream);

/* Has `progress` called when the turn ends. */
void uvws__stream_wake(uvws__stream_t* stream);

/* Whether the kernel has the first `end` of all wire bytes ever queued. */
bool uvws__stream_has_sent(const uvws__stream_t* stream, uint64_t end);

/* Says FIN when all that is queued is written; reading goes on. */
void uvws__stream_half_close(uvws__stream_t* stream);

/* The end that loses nothing: writes what is queued, says FIN when
 * `half_close`, then reads and throws away until the peer's FIN, an error or
 * `max_discard` bytes, and calls `lingered`. The owner closes. */
void uvws__stream_linger(uvws__stream_t* stream, bool half_close,
                         uint64_t max_discard);

/* At once; `closed` follows, and before it perhaps a last `sent`. The owner
 * gets no other event any more. */
void uvws__stream_close(uvws__stream_t* stream);

/* What is set on every TCP socket; nothing on a pipe. */
typedef struct uvws__tcp_settings_s {
  bool nodelay;
  uint32_t keepalive; /* seconds; 0 for none */
} uvws__tcp_settings_t;

void uvws__stream_tune(uvws__stream_t* stream,
                       const uvws__tcp_settings_t* settings);

/* As uv_tcp_getsockname() and uv_tcp_getpeername(). */
int uvws__stream_getsockname(const uvws__stream_t* stream,
                             struct sockaddr* name, int* namelen);
int uvws__stream_getpeername(const uvws__stream_t* stream,
                             struct sockaddr* name, int* namelen);

/* As uv_ref() and uv_unref(). */
void uvws__stream_set_ref(uvws__stream_t* stream, bool referenced);

/* Whether a handle is some stream's. */
bool uvws__stream_owns(const uv_handle_t* handle);

/* ---- for net/adopted.c, net/relay.c and net/secure.c ---- */

/* Streams that have nothing extra share one that is empty and constant: before
 * something is put there the stream needs its own. False when there is no
 * memory. */
bool uvws__stream_need_extra(uvws__stream_t* stream);

/* A stream whose handle is still to come, with room for one of that size. */
uvws__stream_t* uvws__stream_make(uvws__loop_t* loop, size_t handle_size);

/* Bytes came from the handle, or as if they did. */
void uvws__stream_input(uvws__stream_t* stream, uint8_t* data, size_t len);

/* Nothing is open any more: the owner is told, and the stream freed. The second
 * is for one that never had a handle. */
void uvws__stream_gone(uvws__stream_t* stream);
void uvws__stream_drop(uvws__stream_t* stream);

/* ---- for net/secure.c ---- */

/* Where the owner wants the next bytes: false for a buffer of the loop's. One
 * of `room` and `wanted`, which see `alloc` above, may be NULL. */
bool uvws__stream_place(uvws__stream_t* stream, uint8_t** base, size_t* room,
                        size_t* wanted);

/* Bytes came; while lingering only their number counts, and `data` is NULL. */
void uvws__stream_deliver(uvws__stream_t* stream, uint8_t* data, size_t len);

/* No more will; or the peer has said so inside TLS. */
void uvws__stream_end_input(uvws__stream_t* stream, int status);
void uvws__stream_end_tls(uvws__stream_t* stream);

/* The kernel takes nothing more. */
void uvws__stream_fail_writing(uvws__stream_t* stream, int status);

/* It may take more again, or has taken something. */
void uvws__stream_resume(uvws__stream_t* stream);

/* As uv_read_start(), but for bytes that are to be read first. */
int uvws__stream_read_handle(uvws__stream_t* stream);

#endif /* UVWS_SRC_NET_STREAM_H_ */
