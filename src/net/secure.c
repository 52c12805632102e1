#include "net/secure.h"

#include <string.h>

#include "alloc.h"
#include "uvws.h"

/* In. Ciphertext comes in the loop's read buffer. The engine takes it record by
 * record, and what it decrypts goes straight to its place: the message's own
 * buffer when the owner has one, else the loop's second buffer, where records
 * gather so that the owner sees as much at a time as he would without TLS. When
 * the owner stops in the midst, what ciphertext is left is kept, and the handle
 * does not read before that is used up.
 *
 * Out. The engine encrypts one record at a time and offers it here. What the
 * kernel does not take of it stays in the engine's buffer, where libuv's one
 * write finds it, and the bytes it was made from stay in the stream's outbox:
 * so nothing is copied, and a byte counts as sent when its record is with the
 * kernel. No other record is made until then. */

typedef struct kept_s {
  size_t start; /* bytes before are used up */
  size_t len;
  uint8_t bytes[];
} kept_t;

struct uvws__secure_s {
  uvws__stream_t* stream;
  uvws__tls_t* tls;
  uvws__tls_result_t* result;
  kept_t* kept;
  uvws__deferred_t pump;
  size_t in_flight; /* of the write that libuv has */
  size_t written;   /* that it had: the engine is still to be told */
  int lost;         /* why the kernel takes nothing more, or 0 */
  int ending;       /* what the engine said in the end, or 0 */
  bool writing;     /* `write` is in use */
  bool open;        /* the handshake is over */
  bool over;        /* nothing that the peer sends counts any more */
  bool failed;
  bool is_server;
  uv_write_t write;
};

static void on_pump(uvws__deferred_t* deferred);

/* ---- out ---- */

static void on_written(uv_write_t* write, int status) {
  uvws__secure_t* secure = write->data;
  uvws__stream_t* stream = secure->stream;
  secure->writing = false;
  if (uv_is_closing(&stream->uv.handle)) return;
  if (status != 0) {
    secure->lost = status;
    uvws__stream_fail_writing(stream, status);
    return;
  }
  secure->written = secure->in_flight;
  stream->late += secure->in_flight;
  /* Input may have waited for this, or the handshake. */
  if (!secure->open || secure->kept != NULL)
    uvws__loop_defer(stream->loop, &secure->pump);
  uvws__stream_resume(stream);
}

static int on_send(void* owner, const uint8_t* data, size_t len) {
  uvws__secure_t* secure = owner;
  uvws__stream_t* stream = secure->stream;
  if (secure->lost != 0) return secure->lost;
  if (secure->writing) return UV_EAGAIN;
  if (secure->written > 0) {
    int written = (int)secure->written;
    secure->written = 0;
    return written;
  }
  uv_buf_t buf = uv_buf_init((char*)data, (unsigned)len);
  int status = uv_try_write(&stream->uv.stream, &buf, 1);
  if (status > 0) return status;
  if (status == UV_EAGAIN) {
    secure->write.data = secure;
    status = uv_write(&secure->write, &stream->uv.stream, &buf, 1, on_written);
    secure->writing = status == 0;
    secure->in_flight = len;
  }
  if (secure->writing) return UV_EAGAIN;
  secure->lost = status;
  return status;
}

/* Where in a list of buffers. */
typedef struct place_s {
  const uv_buf_t* buf;
  const uv_buf_t* end;
  size_t offset;
} place_t;

static void advance(place_t* place, size_t n) {
  while (place->buf != place->end && n >= place->buf->len - place->offset) {
    n -= place->buf->len - place->offset;
    place->buf++;
    place->offset = 0;
  }
  place->offset += n;
}

/* The next bytes, as many as one record may have: where they lie, or gathered
 * from several buffers, so that a header does not leave in a record, and a
 * segment, of its own. */
static size_t next_bytes(uvws__secure_t* secure, const place_t* place,
                         const uint8_t** data) {
  uint8_t* record = secure->stream->loop->record;
  size_t len = place->buf->len - place->offset;
  *data = (const uint8_t*)place->buf->base + place->offset;
  if (len >= UVWS__RECORD_SIZE || place->buf + 1 == place->end) return len;
  *data = record;
  size_t n = 0;
  place_t from = *place;
  while (from.buf != from.end && n < UVWS__RECORD_SIZE) {
    len = from.buf->len - from.offset;
    if (len > UVWS__RECORD_SIZE - n) len = UVWS__RECORD_SIZE - n;
    if (len > 0) memcpy(record + n, from.buf->base + from.offset, len);
    n += len;
    advance(&from, len);
  }
  return n;
}

int uvws__secure_try_write(uvws__secure_t* secure, const uv_buf_t* bufs,
                           unsigned n) {
  enum { MOST = 1 << 30 }; /* the sum is an int */
  place_t place = {bufs, bufs + n, 0};
  int total = 0;
  if (secure->failed) return UVWS_ETLS;
  if (!secure->open) return UV_EAGAIN;
  advance(&place, 0);
  while (place.buf != place.end && total < MOST) {
    const uint8_t* data;
    size_t len = next_bytes(secure, &place, &data);
    int sent = uvws__tls_write(secure->tls, data, len);
    if (sent > 0) {
      total += sent;
      advance(&place, (size_t)sent);
    } else if (total > 0) {
      break;
    } else {
      switch (sent) {
        case UVWS__TLS_AGAIN: return UV_EAGAIN;
        case UVWS__TLS_LOST: return secure->lost;
        default: return UVWS_ETLS;
      }
    }
  }
  return total;
}

bool uvws__secure_is_writing(const uvws__secure_t* secure) {
  return secure->writing;
}

uint64_t uvws__secure_taken(const uvws__secure_t* secure) {
  if (!secure->writing) return 0;
  return secure->in_flight -
         uv_stream_get_write_queue_size(&secure->stream->uv.stream);
}

int uvws__secure_end(uvws__secure_t* secure) {
  if (!secure->open || secure->failed) return 0;
  switch (uvws__tls_close(secure->tls)) {
    case 0: return 0;
    case UVWS__TLS_AGAIN: return UV_EAGAIN;
    default: return UVWS_ETLS;
  }
}

/* ---- in ---- */

/* A browser, or a client of ours, that was told the wrong scheme. */
static void answer_in_http(uvws__secure_t* secure) {
  static const char answer[] =
      "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
      "Content-Type: text/plain\r\nContent-Length: 27\r\n\r\n"
      "This port is for TLS only.\n";
  uv_buf_t buf = uv_buf_init((char*)answer, sizeof(answer) - 1);
  (void)uv_try_write(&secure->stream->uv.stream, &buf, 1);
}

static void fail(uvws__secure_t* secure, int status) {
  uvws__stream_t* stream = secure->stream;
  secure->over = true;
  if (status == UVWS__TLS_LOST) {
    uvws__stream_fail_writing(stream, secure->lost);
    return;
  }
  uvws__failure_t failure = uvws__tls_failure(secure->tls);
  secure->failed = true;
  if (secure->is_server && failure == UVWS__FAIL_TLS_MISSING)
    answer_in_http(secure);
  if (stream->lingering)
    stream->events->lingered(stream);
  else
    stream->events->failed(stream, failure);
}

static bool is_wanted(const uvws__secure_t* secure) {
  const uvws__stream_t* stream = secure->stream;
  return stream->reading && stream->ended == 0 && !secure->over &&
         !uv_is_closing(&stream->uv.handle);
}

/* Whether there may be more to do at once. */
static bool shake_hands(uvws__secure_t* secure) {
  int status = uvws__tls_handshake(secure->tls);
  if (status == UVWS__TLS_AGAIN) return false;
  secure->open = status == 0;
  if (secure->open)
    uvws__stream_resume(secure->stream);
  else
    fail(secure, status);
  return secure->open;
}

/* As many bytes as there are, or as fit. */
static size_t decrypt(uvws__secure_t* secure, uint8_t* out, size_t len) {
  size_t total = 0;
  while (total < len && secure->ending == 0) {
    int n = uvws__tls_read(secure->tls, out + total, len - total);
    if (n == UVWS__TLS_AGAIN) break;
    if (n > 0)
      total += (size_t)n;
    else
      secure->ending = n;
  }
  return total;
}

/* The end waits for an owner who has stopped at what comes before. */
static bool take(uvws__secure_t* secure) {
  uvws__stream_t* stream = secure->stream;
  uint8_t* out = stream->loop->plain_buffer;
  size_t len = UVWS__READ_BUFFER;
  (void)uvws__stream_place(stream, &out, NULL, &len);
  size_t n = decrypt(secure, out, len);
  if (n > 0) {
    if (!stream->lingering) uvws__stream_deliver(stream, out, n);
    return true;
  }
  if (secure->ending == UVWS__TLS_CLOSED) {
    secure->over = true;
    uvws__stream_end_tls(stream);
  } else if (secure->ending != 0) {
    fail(secure, secure->ending);
  }
  return false;
}

static void pump(uvws__secure_t* secure) {
  while (is_wanted(secure) &&
         (secure->open ? take(secure) : shake_hands(secure)))
    continue;
}

static void keep(uvws__secure_t* secure) {
  const uint8_t* rest;
  uvws__stream_t* stream = secure->stream;
  size_t len = uvws__tls_unfed(secure->tls, &rest);
  if (len == 0 || secure->over || uv_is_closing(&stream->uv.handle)) return;
  uv_read_stop(&stream->uv.stream);
  secure->kept = uvws__malloc(sizeof(kept_t) + len);
  if (secure->kept == NULL) {
    uvws__stream_end_input(stream, UV_ENOMEM);
    return;
  }
  secure->kept->start = 0;
  secure->kept->len = len;
  memcpy(secure->kept->bytes, rest, len);
}

void uvws__secure_read(uvws__secure_t* secure, const uint8_t* data,
                       size_t len) {
  /* While lingering all that comes counts, not only what stands in it. */
  if (secure->stream->lingering)
    uvws__stream_deliver(secure->stream, NULL, len);
  if (secure->over || uv_is_closing(&secure->stream->uv.handle)) return;
  uvws__tls_feed(secure->tls, data, len);
  pump(secure);
  keep(secure);
}

/* What was kept goes first; then the handle may read again. */
static void on_pump(uvws__deferred_t* deferred) {
  uvws__secure_t* secure = UVWS__CONTAINER_OF(deferred, uvws__secure_t, pump);
  uvws__stream_t* stream = secure->stream;
  kept_t* kept = secure->kept;
  const uint8_t* rest;
  if (kept == NULL) {
    pump(secure);
    return;
  }
  uvws__tls_feed(secure->tls, kept->bytes + kept->start,
                 kept->len - kept->start);
  pump(secure);
  kept->start = kept->len - uvws__tls_unfed(secure->tls, &rest);
  if (kept->start < kept->len && !secure->over) return;
  uvws__free(kept);
  secure->kept = NULL;
  if (!stream->reading || uv_is_closing(&stream->uv.handle)) return;
  int status = uvws__stream_read_handle(stream);
  if (status != 0) uvws__stream_end_input(stream, status);
}

bool uvws__secure_read_start(uvws__secure_t* secure) {
  uvws__loop_defer(secure->stream->loop, &secure->pump);
  return secure->kept != NULL;
}

/* ---- beginning and end ---- */

int uvws__stream_secure(uvws__stream_t* stream, struct uvws_tls_s* config,
                        const char* host, uint16_t port) {
  uvws__secure_t* secure = uvws__calloc(1, sizeof(*secure));
  if (secure == NULL) return UV_ENOMEM;
  secure->stream = stream;
  secure->is_server = host == NULL;
  secure->pump.run = on_pump;
  secure->result = uvws__calloc(1, sizeof(*secure->result));
  uvws__tls_peer_t peer = {.is_server = secure->is_server,
                           .host = host,
                           .port = port,
                           .send = on_send,
                           .owner = secure};
  if (secure->result != NULL)
    secure->tls = uvws__tls_new(config, &peer, secure->result);
  if (secure->tls == NULL) {
    uvws__secure_free(secure);
    return UV_ENOMEM;
  }
  stream->secure = secure;
  return 0;
}

void uvws__secure_stop(uvws__secure_t* secure) {
  uvws__loop_undefer(secure->stream->loop, &secure->pump);
}

void uvws__secure_free(uvws__secure_t* secure) {
  if (secure == NULL) return;
  uvws__tls_free(secure->tls);
  uvws__stream_tls_free(secure->result);
  uvws__free(secure->kept);
  uvws__free(secure);
}

const uvws__tls_result_t* uvws__stream_tls(const uvws__stream_t* stream) {
  return stream->secure == NULL ? NULL : stream->secure->result;
}

uvws__tls_result_t* uvws__stream_take_tls(uvws__stream_t* stream) {
  if (stream->secure == NULL) return NULL;
  uvws__tls_result_t* result = stream->secure->result;
  stream->secure->result = NULL;
  return result;
}

void uvws__stream_tls_free(uvws__tls_result_t* result) {
  if (result == NULL) return;
  uvws__tls_result_clear(result);
  uvws__free(result);
}

const uint8_t* uvws__stream_peer_certificate(const uvws__stream_t* stream,
                                             size_t* len) {
  return stream->secure == NULL
             ? NULL
             : uvws__tls_peer_certificate(stream->secure->tls, len);
}
