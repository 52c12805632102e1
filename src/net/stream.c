#include "net/stream.h"

#include <string.h>
#ifndef _WIN32
#include <sys/un.h>
#endif

#include "alloc.h"
#include "net/adopted.h"
#include "net/outbox.h"
#include "net/relay.h"
#include "net/secure.h"

/* Output takes one of two ways. While the kernel keeps up, small pieces gather
 * in the loop's cork and leave by one uv_try_write() when the read callback, or
 * the turn, ends; nothing is allocated. What the kernel does not take goes to
 * the outbox, and as long as there is an outbox everything queues behind it,
 * with one uv_write() in flight at most. So a stream whose cork holds bytes has
 * no outbox, and order is kept.
 *
 * Body bytes that the kernel took are not reported to the owner before the turn
 * in which they were queued has ended; `turn` is put off exactly while that is
 * so.
 *
 * With TLS the way is the same but for its last step: instead of the kernel,
 * net/secure.c takes the bytes, a record at a time, and it has the one write
 * that libuv has; until the kernel has a record, its bytes stay in the outbox.
 *
 * When writing fails, reading goes on: what the peer sent before may still be
 * there. The stream is closed by its owner only, and freed in the handle's own
 * close callback, which libuv calls after all other callbacks. */

static const uvws__stream_extra_t no_extra;

/* For more than 4 uv_write() allocates; where that fails it has counted a
 * request that never ends, and the loop neither (libuv issue 5012). */
enum { TRY_BUFS = 16, WRITE_BUFS = 4 };

static void on_turn_end(uvws__deferred_t* deferred);

uvws__stream_t* uvws__stream_make(uvws__loop_t* loop, size_t handle_size) {
  size_t size = offsetof(uvws__stream_t, own) + handle_size;
  uvws__stream_t* stream = uvws__zalloc(size);
  if (stream == NULL) return NULL;
  stream->loop = loop;
  stream->extra = (uvws__stream_extra_t*)&no_extra;
  stream->turn.run = on_turn_end;
  return stream;
}

int uvws__stream_new(uvws__loop_t* loop, uvws__transport_t transport,
                     uvws__stream_t** result) {
  uvws__stream_t* stream = uvws__stream_make(
      loop, transport == UVWS__TCP ? sizeof(uv_tcp_t) : sizeof(uv_pipe_t));
  if (stream == NULL) return UV_ENOMEM;
  stream->uv.handle = (uv_handle_t*)&stream->own;
  int status = transport == UVWS__TCP
                   ? uv_tcp_init(loop->uv, stream->uv.tcp)
                   : uv_pipe_init(loop->uv, stream->uv.pipe, 0);
  if (status != 0) {
    uvws__free(stream);
    return status;
  }
  stream->uv.handle->data = stream;
  *result = stream;
  return 0;
}

int uvws__pipe_name_check(const char* name) {
#ifndef _WIN32
  struct sockaddr_un addr;
  if (strlen(name) >= sizeof(addr.sun_path)) return UV_ENAMETOOLONG;
#endif
  return name[0] == '\0' ? UV_EINVAL : 0;
}

void uvws__stream_own(uvws__stream_t* stream,
                      const uvws__stream_events_t* events, void* owner) {
  stream->events = events;
  stream->owner = owner;
}

bool uvws__stream_need_extra(uvws__stream_t* stream) {
  if (stream->extra != &no_extra) return true;
  uvws__stream_extra_t* extra = uvws__calloc(1, sizeof(*extra));
  if (extra != NULL) stream->extra = extra;
  return extra != NULL;
}

/* Nothing of a foreign handle is dereferenced but memory right before it, and
 * that only when its `data` points exactly there. What nobody else has there is
 * the address of what our sockets share. */
bool uvws__stream_owns(const uv_handle_t* handle) {
  uintptr_t start = (uintptr_t)handle - offsetof(uvws__stream_t, own);
  if (handle->type != UV_TCP && handle->type != UV_NAMED_PIPE) return false;
  const uvws__loop_t* loop = uvws__loop_find(handle->loop);
  if (loop == NULL) return false;
  if ((uintptr_t)handle->data == start &&
      ((const uvws__stream_t*)handle->data)->loop == loop)
    return true;
  return uvws__stream_is_adopted(handle);
}

/* A handle that was given back is closed. */
static bool is_closing(const uvws__stream_t* stream) {
  return stream->uv.handle == NULL || uv_is_closing(stream->uv.handle);
}

/* Bytes that libuv has. */
static uint64_t libuv_queue(const uvws__stream_t* stream) {
  return stream->uv.handle == NULL
             ? 0
             : uv_stream_get_write_queue_size(stream->uv.stream);
}

/* Few streams have what the second look would cost. */
static bool has_tls(const uvws__stream_t* stream) {
  return stream->extra != &no_extra && stream->extra->secure != NULL;
}

/* ---- output: the cork ---- */

/* What the kernel will never have counts as sent nowhere. */
static void drop_unsent(uvws__stream_t* stream) {
  if (stream->outbox == NULL) return;
  stream->queued -= stream->outbox->unsent_bytes;
  uvws__outbox_drop_unsent(stream->outbox);
}

/* Behind a relay what failed is not the pipe to it. */
static int true_status(const uvws__stream_t* stream, int status) {
  int outer = stream->extra->relay == NULL
                  ? 0
                  : uvws__relay_status(stream->extra->relay);
  return outer == 0 ? status : outer;
}

void uvws__stream_fail_writing(uvws__stream_t* stream, int status) {
  status = true_status(stream, status);
  if (stream->write_status == 0) stream->write_status = status;
  drop_unsent(stream);
  uvws__stream_begin_turn(stream);
}

/* As uv_try_write(). */
static int try_write(uvws__stream_t* stream, const uv_buf_t* bufs, unsigned n) {
  return has_tls(stream)
             ? uvws__secure_try_write(stream->extra->secure, bufs, n)
             : uv_try_write(stream->uv.stream, bufs, n);
}

static bool ensure_outbox(uvws__stream_t* stream) {
  if (stream->outbox == NULL)
    stream->outbox = uvws__outbox_new(&stream->loop->spares);
  return stream->outbox != NULL;
}

static void start_write(uvws__stream_t* stream);

/* The rest of a cork of which the kernel took `taken` bytes. */
static void spill_cork(uvws__stream_t* stream, size_t taken) {
  uvws__cork_t* cork = &stream->loop->cork;
  size_t size = uvws__cork_size(cork);
  unsigned first = 0;
  stream->unreported +=
      uvws__marks_take(cork->marks, &first, &cork->n_marks, taken);
  if (!ensure_outbox(stream) ||
      !uvws__outbox_append(stream->outbox, cork->bufs, taken, size - taken,
                           cork->marks + first, cork->n_marks)) {
    stream->queued -= size - taken;
    uvws__stream_fail_writing(stream, UV_ENOMEM);
  }
}

static void flush_cork(uvws__loop_t* loop) {
  uvws__cork_t* cork = &loop->cork;
  uvws__stream_t* stream = cork->owner;
  if (stream == NULL) return;
  uvws__cork_end_run(cork);
  int taken = try_write(stream, cork->bufs, cork->n_bufs);
  if (taken == UV_EAGAIN) taken = 0;
  if (taken < 0) {
    stream->queued -= uvws__cork_size(cork);
    uvws__stream_fail_writing(stream, taken);
  } else if ((size_t)taken == uvws__cork_size(cork))
    stream->unreported += cork->body;
  else
    spill_cork(stream, (size_t)taken);
  uvws__cork_empty(cork);
  if (stream->outbox != NULL) start_write(stream);
}

static void flush_own_cork(uvws__stream_t* stream) {
  if (stream->loop->cork.owner == stream) flush_cork(stream->loop);
}

/* ---- output: the outbox ---- */

static void drop_empty_outbox(uvws__stream_t* stream) {
  if (stream->outbox == NULL || stream->outbox->writing ||
      !uvws__outbox_is_empty(stream->outbox))
    return;
  uvws__outbox_free(stream->outbox);
  stream->outbox = NULL;
}

static void settle(uvws__stream_t* stream) {
  uvws__outbox_t* outbox = stream->outbox;
  if (outbox != NULL && has_tls(stream) && stream->write_status == 0) {
    size_t done = uvws__secure_done(stream->extra->secure);
    stream->unreported += uvws__outbox_taken(outbox, done);
    uvws__secure_settle(stream->extra->secure, done);
  }
  if (outbox == NULL || !outbox->writing) return;
  size_t left = uv_stream_get_write_queue_size(stream->uv.stream);
  if (left < outbox->in_flight)
    stream->unreported += uvws__outbox_settle(outbox, outbox->in_flight - left);
}

static void linger_on(uvws__stream_t* stream);

/* The owner may close the stream when it hears of its progress. */
static void tell_progress(uvws__stream_t* stream) {
  if (stream->events->progress != NULL) stream->events->progress(stream);
  if (stream->half_close || stream->lingering)
    if (!is_closing(stream)) linger_on(stream);
}

static void on_written(uv_write_t* write, int status) {
  uvws__stream_t* stream = write->data;
  uvws__outbox_t* outbox = stream->outbox;
  outbox->writing = false;
  if (status == 0) {
    stream->late += (uint32_t)outbox->submitted;
    stream->unreported += uvws__outbox_settle(outbox, outbox->in_flight);
  } else {
    stream->queued -= outbox->in_flight;
  }
  uvws__outbox_returned(outbox);
  if (is_closing(stream)) return;
  if (status != 0) uvws__stream_fail_writing(stream, status);
  uvws__stream_resume(stream);
}

void uvws__stream_resume(uvws__stream_t* stream) {
  start_write(stream);
  drop_empty_outbox(stream);
  if (!uvws__stream_is_in_turn(stream)) uvws__stream_report(stream);
  if (stream->write_status == 0) tell_progress(stream);
}

/* Tries directly first: a write that succeeds at once costs no callback. */
static void start_write(uvws__stream_t* stream) {
  uvws__outbox_t* outbox = stream->outbox;
  uv_buf_t bufs[TRY_BUFS];
  if (outbox == NULL || outbox->writing || stream->write_status != 0) return;
  while (outbox->unsent != NULL) {
    unsigned n = uvws__outbox_buffers(outbox, bufs, TRY_BUFS);
    int taken = try_write(stream, bufs, n);
    if (taken == UV_EAGAIN) break;
    if (taken < 0) {
      uvws__stream_fail_writing(stream, taken);
      return;
    }
    stream->unreported += uvws__outbox_taken(outbox, (uint64_t)taken);
  }
  if (outbox->unsent == NULL) {
    drop_empty_outbox(stream);
    return;
  }
  if (has_tls(stream)) return;
  unsigned n = uvws__outbox_buffers(outbox, bufs, WRITE_BUFS);
  uvws__outbox_submit(outbox, n);
  outbox->write.data = stream;
  outbox->writing = true;
  int status = uv_write(&outbox->write, stream->uv.stream, bufs, n, on_written);
  if (status != 0) {
    outbox->writing = false;
    stream->queued -= outbox->in_flight;
    uvws__outbox_returned(outbox);
    uvws__stream_fail_writing(stream, status);
  }
}

/* ---- output: what the owner calls ---- */

static uint8_t* reserve(uvws__stream_t* stream, const uvws__mark_t* mark) {
  size_t head = (size_t)mark->head, body = (size_t)mark->body;
  uvws__cork_t* cork = &stream->loop->cork;
  bool small = head <= UVWS__CORK_PIECE && body <= UVWS__CORK_PIECE - head;
  uint8_t* room = NULL;
  if (cork->owner != NULL && (cork->owner != stream || !small ||
                              !uvws__cork_has_room(cork, head + body)))
    flush_cork(stream->loop);
  if (cork->owner == stream ||
      (small && stream->outbox == NULL && stream->write_status == 0)) {
    cork->owner = stream;
    room = uvws__cork_add(cork, *mark);
  } else if (ensure_outbox(stream)) {
    room = uvws__outbox_reserve(stream->outbox, mark);
  }
  if (room == NULL) {
    drop_empty_outbox(stream);
    return NULL;
  }
  stream->queued += (uint64_t)head + body;
  uvws__stream_begin_turn(stream);
  return room;
}

uint8_t* uvws__stream_reserve(uvws__stream_t* stream, size_t head,
                              size_t body) {
  uvws__mark_t mark = {head, body, 0};
  return reserve(stream, &mark);
}

bool uvws__stream_put(uvws__stream_t* stream, const void* data, size_t len) {
  uint8_t* room = uvws__stream_reserve(stream, len, 0);
  if (room != NULL) memcpy(room, data, len);
  return room != NULL;
}

uint8_t* uvws__stream_reserve_whole(uvws__stream_t* stream, size_t size,
                                    uint64_t whole) {
  uvws__mark_t mark = {size, 0, whole};
  return reserve(stream, &mark);
}

/* A piece that counts as a whole has no body. */
static uvws__mark_t mark_of(size_t head, uint64_t body, uint64_t whole) {
  return whole == 0 ? (uvws__mark_t){head, body, 0}
                    : (uvws__mark_t){head + body, 0, whole};
}

bool uvws__stream_send_input(uvws__stream_t* stream, const uint8_t* head,
                             size_t head_len, const uint8_t* body,
                             size_t body_len) {
  uvws__loop_t* loop = stream->loop;
  uvws__cork_t* cork = &loop->cork;
  if (loop->reader == NULL || (uintptr_t)body < (uintptr_t)loop->read_buffer ||
      (uintptr_t)body >= (uintptr_t)loop->read_buffer + UVWS__READ_BUFFER)
    return false;
  if (stream->outbox != NULL || stream->write_status != 0 ||
      head_len + body_len > UVWS__CORK_SIZE)
    return false;
  if (cork->owner != NULL && (cork->owner != stream ||
                              !uvws__cork_has_room(cork, head_len + body_len) ||
                              !uvws__cork_can_refer(cork)))
    flush_cork(loop);
  if (stream->outbox != NULL || stream->write_status != 0) return false;
  uvws__mark_t mark = {head_len, 0, 0};
  cork->owner = stream;
  memcpy(uvws__cork_add(cork, mark), head, head_len);
  uvws__cork_refer(cork, body, body_len);
  stream->queued += (uint64_t)head_len + body_len;
  uvws__stream_begin_turn(stream);
  return true;
}

/* Memory for what the kernel may leave is found before it is given anything: a
 * frame of which half is sent cannot be refused any more. */
int uvws__stream_send(uvws__stream_t* stream, const uint8_t* head,
                      size_t head_len, const uint8_t* body, size_t body_len,
                      uint64_t whole) {
  flush_own_cork(stream);
  if (!ensure_outbox(stream)) return UV_ENOMEM;
  uvws__outbox_t* outbox = stream->outbox;
  uvws__mark_t mark = mark_of(head_len, body_len, whole);
  uint8_t* room = uvws__outbox_reserve(outbox, &mark);
  if (room == NULL) {
    drop_empty_outbox(stream);
    return UV_ENOMEM;
  }
  uint64_t piece = (uint64_t)head_len + body_len;
  stream->queued += piece;
  uvws__stream_begin_turn(stream);

  size_t done = 0;
  if (outbox->unsent_bytes == piece && !outbox->writing &&
      stream->write_status == 0) {
    uv_buf_t bufs[2] = {{(char*)head, head_len}, {(char*)body, body_len}};
    int taken = try_write(stream, bufs, 2);
    if (taken > 0) {
      done = (size_t)taken;
      stream->unreported += uvws__outbox_taken(outbox, done);
    } else if (taken < 0 && taken != UV_EAGAIN) {
      uvws__stream_fail_writing(stream, taken);
      return 0;
    }
  }
  if (done == piece) {
    drop_empty_outbox(stream);
    return 0;
  }
  if (done < head_len) {
    memcpy(room + done, head + done, head_len - done);
    memcpy(room + head_len, body, body_len);
  } else {
    memcpy(room + done, body + (done - head_len), (size_t)(piece - done));
  }
  start_write(stream);
  return 0;
}

int uvws__stream_refer(uvws__stream_t* stream, const uint8_t* head,
                       size_t head_len, const uv_buf_t* body, unsigned n,
                       const uvws__keeper_t* keeper, void* object,
                       uint64_t whole) {
  flush_own_cork(stream);
  if (!ensure_outbox(stream) ||
      !uvws__outbox_refer(stream->outbox, head, head_len, body, n, keeper,
                          object, whole)) {
    drop_empty_outbox(stream);
    return UV_ENOMEM;
  }
  stream->queued += head_len;
  for (unsigned i = 0; i < n; i++) stream->queued += body[i].len;
  uvws__stream_begin_turn(stream);
  start_write(stream);
  return 0;
}

void uvws__stream_flush(uvws__stream_t* stream) {
  if (is_closing(stream)) return;
  flush_own_cork(stream);
  start_write(stream);
}

void uvws__stream_settle(uvws__stream_t* stream) {
  /* Closing does not end the turn either: on_closed() reports the rest. */
  if (uvws__stream_is_in_turn(stream) || is_closing(stream)) return;
  settle(stream);
  uvws__stream_report(stream);
}

uint64_t uvws__stream_queue_size(const uvws__stream_t* stream) {
  uint64_t size = has_tls(stream) ? 0 : libuv_queue(stream);
  if (stream->outbox != NULL) size += stream->outbox->unsent_bytes;
  if (has_tls(stream) && stream->outbox != NULL && stream->write_status == 0)
    size -= uvws__secure_done(stream->extra->secure);
  return size + uvws__stream_corked(stream);
}

bool uvws__stream_is_waiting(const uvws__stream_t* stream) {
  return stream->outbox != NULL || stream->loop->cork.owner == stream ||
         (has_tls(stream) && uvws__secure_is_writing(stream->extra->secure));
}

uint32_t uvws__stream_taken_late(const uvws__stream_t* stream) {
  const uvws__outbox_t* outbox = stream->outbox;
  uint64_t now = 0;
  if (has_tls(stream))
    now = uvws__secure_taken(stream->extra->secure);
  else if (outbox != NULL && outbox->writing)
    now = outbox->submitted - libuv_queue(stream);
  return stream->late + (uint32_t)now;
}

void uvws__stream_wake(uvws__stream_t* stream) {
  if (is_closing(stream)) return;
  uvws__stream_begin_turn(stream);
  uvws__loop_defer(stream->loop, &stream->turn);
}

bool uvws__stream_has_sent(const uvws__stream_t* stream, uint64_t end) {
  return stream->queued - uvws__stream_queue_size(stream) >= end;
}

static void on_turn_end(uvws__deferred_t* deferred) {
  uvws__stream_t* stream = UVWS__CONTAINER_OF(deferred, uvws__stream_t, turn);
  uvws__stream_flush(stream);
  settle(stream);
  if (stream->write_status != 0) {
    drop_unsent(stream);
    drop_empty_outbox(stream);
  }
  uvws__loop_undefer(stream->loop, deferred);
  uvws__stream_report(stream);
  if (stream->write_status == 0)
    tell_progress(stream);
  else if (stream->lingering)
    linger_on(stream);
  else
    stream->events->write_failed(stream, stream->write_status);
}

/* ---- input ---- */

bool uvws__stream_place(uvws__stream_t* stream, uint8_t** base, size_t* room,
                        size_t* wanted) {
  uint8_t* tail;
  size_t tail_room, tail_wanted;
  if (!stream->places || stream->lingering ||
      !stream->events->alloc(stream, &tail, &tail_room, &tail_wanted))
    return false;
  *base = tail;
  if (room != NULL) *room = tail_room;
  if (wanted != NULL) *wanted = tail_wanted;
  return true;
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  uvws__stream_t* stream = handle->data;
  uint8_t* base = stream->loop->read_buffer;
  size_t len = UVWS__READ_BUFFER;
  (void)suggested;
  if (!stream->reading)
    len = 0;
  else if (stream->places && !has_tls(stream))
    (void)uvws__stream_place(stream, &base, &len, NULL);
  buf->base = (char*)base;
  buf->len = len;
}

void uvws__stream_end_input(uvws__stream_t* stream, int status) {
  uvws__stream_read_stop(stream);
  status = true_status(stream, status);
  stream->ended = status;
  if (!stream->lingering)
    stream->events->ended(stream, status);
  else if (status != UV_EOF || !uvws__stream_is_waiting(stream))
    stream->events->lingered(stream);
}

void uvws__stream_deliver(uvws__stream_t* stream, uint8_t* data, size_t len) {
  if (!stream->lingering) {
    stream->events->read(stream, data, len);
  } else if (len > stream->discard_left) {
    stream->events->lingered(stream);
  } else {
    stream->discard_left -= len;
  }
}

static void on_read(uv_stream_t* handle, ssize_t n, const uv_buf_t* buf) {
  uvws__stream_t* stream = handle->data;
  if (n == 0) return;
  if (!stream->reading) { /* paused: what came will be reported again */
    uv_read_stop(handle);
    return;
  }
  if (n > 0) {
    uvws__stream_input(stream, (uint8_t*)buf->base, (size_t)n);
    return;
  }
  uvws__stream_end_input(stream, (int)n);
  flush_cork(stream->loop);
}

/* What the read callback queued is not with the kernel, or the end was: then
 * the turn's is waited for after all. */
static bool has_more_to_do(const uvws__stream_t* stream) {
  return stream->sent_in == stream->loop->turn &&
         (stream->outbox != NULL || stream->write_status != 0 ||
          stream->lingering || stream->half_close) &&
         !is_closing(stream);
}

void uvws__stream_input(uvws__stream_t* stream, uint8_t* data, size_t len) {
  uvws__loop_t* loop = stream->loop;
  if (has_tls(stream)) {
    uvws__secure_read(stream->extra->secure, data, len);
    flush_cork(loop);
    return;
  }
  loop->reader = stream;
  uvws__stream_deliver(stream, data, len);
  flush_cork(loop);
  loop->reader = NULL;
  if (has_more_to_do(stream)) uvws__loop_defer(loop, &stream->turn);
}

int uvws__stream_read_handle(uvws__stream_t* stream) {
  if (stream->extra->early != NULL) {
    uvws__loop_defer(stream->loop, &stream->extra->early->deferred);
    return 0;
  }
  int status = uv_read_start(stream->uv.stream, on_alloc, on_read);
  return status == UV_EALREADY ? 0 : status; /* it was paused */
}

int uvws__stream_read_start(uvws__stream_t* stream) {
  if (stream->reading || stream->ended != 0) return 0;
  bool waits =
      has_tls(stream) && uvws__secure_read_start(stream->extra->secure);
  int status = waits ? 0 : uvws__stream_read_handle(stream);
  stream->reading = status == 0;
  return status;
}

void uvws__stream_read_stop(uvws__stream_t* stream) {
  if (!stream->reading) return;
  uv_read_stop(stream->uv.stream);
  stream->reading = false;
}

void uvws__stream_read_pause(uvws__stream_t* stream) {
  stream->reading = false;
}

/* ---- ends ---- */

static void on_shutdown(uv_shutdown_t* shutdown, int status) {
  (void)status;
  uvws__free(shutdown);
}

static int say_fin(uvws__stream_t* stream) {
  uv_shutdown_t* shutdown = uvws__malloc(sizeof(*shutdown));
  if (shutdown == NULL) return UV_ENOMEM;
  int status = uv_shutdown(shutdown, stream->uv.stream, on_shutdown);
  if (status != 0) uvws__free(shutdown);
  return status;
}

/* To be called whenever the queue may have become empty, but not from inside a
 * call of the owner's. What cannot be said any more is left unsaid. */
static void linger_on(uvws__stream_t* stream) {
  if (stream->fin_said || uvws__stream_is_waiting(stream)) return;
  if (has_tls(stream) && stream->write_status == 0 &&
      uvws__secure_end(stream->extra->secure) == UV_EAGAIN)
    return;
  if (stream->ended != 0 && stream->lingering) {
    stream->events->lingered(stream);
  } else if (stream->half_close && stream->write_status == 0) {
    stream->fin_said = true;
    if (say_fin(stream) != 0 && stream->lingering)
      stream->events->lingered(stream);
  }
}

void uvws__stream_half_close(uvws__stream_t* stream) {
  stream->half_close = true;
  uvws__stream_begin_turn(stream);
}

/* RFC 8446, 6.1. While lingering, the end of the connection is still to come,
 * and a peer that has said all may wait for ours. */
void uvws__stream_end_tls(uvws__stream_t* stream) {
  if (!stream->lingering) {
    uvws__stream_end_input(stream, UV_EOF);
    return;
  }
  stream->half_close = true;
  linger_on(stream);
}

void uvws__stream_linger(uvws__stream_t* stream, bool half_close,
                         uint64_t max_discard) {
  stream->lingering = true;
  stream->half_close = half_close;
  stream->discard_left = max_discard;
  int status = uvws__stream_read_start(stream);
  if (status != 0) stream->ended = status;
  uvws__stream_begin_turn(stream);
}

void uvws__stream_gone(uvws__stream_t* stream) {
  stream->events->closed(stream);
  uvws__stream_drop(stream);
}

void uvws__stream_drop(uvws__stream_t* stream) {
  uvws__secure_free(stream->extra->secure);
  uvws__relay_free(stream->extra->relay);
  uvws__free(stream->extra->early);
  if (stream->extra != &no_extra) uvws__free(stream->extra);
  uvws__free(stream);
}

static void on_closed(uv_handle_t* handle) {
  uvws__stream_t* stream = handle->data;
  uvws__stream_report(stream);
  uvws__outbox_free(stream->outbox);
  stream->outbox = NULL;
  if (stream->extra->adopted != NULL) uvws__stream_give_back(stream);
  if (stream->extra->relay == NULL ||
      !uvws__relay_outlives(stream->extra->relay))
    uvws__stream_gone(stream);
}

void uvws__stream_close(uvws__stream_t* stream) {
  if (is_closing(stream)) return;
  if (!uvws__stream_is_in_turn(stream)) uvws__stream_report(stream);
  settle(stream);
  if (stream->loop->cork.owner == stream) uvws__cork_empty(&stream->loop->cork);
  uvws__loop_undefer(stream->loop, &stream->turn);
  if (has_tls(stream)) uvws__secure_stop(stream->extra->secure);
  if (stream->extra->early != NULL)
    uvws__loop_undefer(stream->loop, &stream->extra->early->deferred);
  if (stream->extra->relay != NULL) uvws__relay_close(stream->extra->relay);
  uv_close(stream->uv.handle, on_closed);
}

/* That a socket could not be tuned is no reason to do without it. */
void uvws__stream_tune(uvws__stream_t* stream,
                       const uvws__tcp_settings_t* settings) {
  if (stream->uv.handle->type != UV_TCP) return;
  (void)uv_tcp_nodelay(stream->uv.tcp, settings->nodelay);
  if (settings->keepalive > 0)
    (void)uv_tcp_keepalive(stream->uv.tcp, 1, settings->keepalive);
}

/* The one that goes out into the world; NULL when it is closed. */
static const uvws__stream_t* outermost(const uvws__stream_t* stream) {
  return stream->extra->relay == NULL ? stream
                                      : uvws__relay_outer(stream->extra->relay);
}

int uvws__stream_getsockname(const uvws__stream_t* stream,
                             struct sockaddr* name, int* namelen) {
  stream = outermost(stream);
  if (stream == NULL || is_closing(stream)) return UV_ENOTCONN;
  if (stream->uv.handle->type != UV_TCP) return UV_ENOTSUP;
  return uv_tcp_getsockname(stream->uv.tcp, name, namelen);
}

int uvws__stream_getpeername(const uvws__stream_t* stream,
                             struct sockaddr* name, int* namelen) {
  stream = outermost(stream);
  if (stream == NULL || is_closing(stream)) return UV_ENOTCONN;
  if (stream->uv.handle->type != UV_TCP) return UV_ENOTSUP;
  return uv_tcp_getpeername(stream->uv.tcp, name, namelen);
}

void uvws__stream_set_ref(uvws__stream_t* stream, bool referenced) {
  if (stream->uv.handle == NULL) return;
  if (referenced)
    uv_ref(stream->uv.handle);
  else
    uv_unref(stream->uv.handle);
}
