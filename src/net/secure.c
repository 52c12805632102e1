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
 * Out. The engine encrypts one record at a time and offers it here. What was to
 * be sent stays in the stream's outbox until its record is with the kernel, and
 * only then counts as sent.
 *
 * As long as the kernel keeps up, the records of one flush gather and leave in
 * one write: copying 16 KiB costs a tenth of a write of its own (bench/tls).
 * What the kernel leaves of them is kept until libuv has sent it; the bytes in
 * it are `ahead` of what counts. Once it does not keep up, each record waits in
 * the engine's own buffer, where libuv's one write finds it, and nothing is
 * copied. No other record is made until that is sent. */

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
  uint8_t* rest; /* of gathered records, while libuv writes it */
  size_t ahead;  /* bytes whose records are in it, or were */
  unsigned first_ahead;
  unsigned n_ahead;
  size_t sizes[UVWS__RECORDS]; /* of each such record the bytes, */
  size_t ends[UVWS__RECORDS];  /* and where in the rest it ends */
  size_t in_flight;            /* of the write that libuv has */
  size_t written;              /* that it had: the engine is still to be told */
  int lost;                    /* why the kernel takes nothing more, or 0 */
  int ending;                  /* what the engine said in the end, or 0 */
  bool writing;                /* `write` is in use */
  bool slow; /* the kernel did not take all of the last flush */
  bool open; /* the handshake is over */
  bool over; /* nothing that the peer sends counts any more */
  bool failed;
  bool is_server;
  bool active; /* since the deadline was set */
  uvws__deadline_t quiet;
  uv_write_t write;
};

static const uint32_t QUIET_MS = 5000; /* then memory is given back */

static void on_pump(uvws__deferred_t* deferred);

/* ---- quiet ---- */

static void set_quiet_deadline(uvws__secure_t* secure) {
  uvws__loop_set_deadline(secure->stream->loop, &secure->quiet, QUIET_MS);
}

/* Traffic only writes down that there was some. */
static void note_traffic(uvws__secure_t* secure) {
  secure->active = true;
  if (secure->quiet.link == NULL) set_quiet_deadline(secure);
}

static void on_quiet(uvws__deadline_t* deadline) {
  uvws__secure_t* secure = UVWS__CONTAINER_OF(deadline, uvws__secure_t, quiet);
  if (secure->active)
    set_quiet_deadline(secure);
  else
    uvws__tls_rest(secure->tls);
  secure->active = false;
}

/* ---- out ---- */

static void on_written(uv_write_t* write, int status) {
  uvws__secure_t* secure = write->data;
  uvws__stream_t* stream = secure->stream;
  secure->writing = false;
  if (secure->rest == NULL) secure->written = secure->in_flight;
  uvws__free(secure->rest);
  secure->rest = NULL;
  if (uv_is_closing(stream->uv.handle)) return;
  if (status != 0) {
    secure->lost = status;
    uvws__stream_fail_writing(stream, status);
    return;
  }
  stream->late += (uint32_t)secure->in_flight;
  /* Input may have waited for this, or the handshake. */
  if (!secure->open || secure->kept != NULL)
    uvws__loop_defer(stream->loop, &secure->pump);
  uvws__stream_resume(stream);
}

/* libuv's one write: the bytes stay in place until it is done. */
static int write_later(uvws__secure_t* secure, const uint8_t* data,
                       size_t len) {
  uv_buf_t buf = uv_buf_init((char*)data, (unsigned)len);
  secure->write.data = secure;
  int status =
      uv_write(&secure->write, secure->stream->uv.stream, &buf, 1, on_written);
  secure->writing = status == 0;
  secure->in_flight = len;
  secure->slow = true;
  return status;
}

/* How much the kernel takes now. */
static int write_now(uvws__secure_t* secure, const uint8_t* data, size_t len) {
  uv_buf_t buf = uv_buf_init((char*)data, (unsigned)len);
  int taken = uv_try_write(secure->stream->uv.stream, &buf, 1);
  return taken == UV_EAGAIN ? 0 : taken;
}

static int keep_rest(uvws__secure_t* secure, const uint8_t* data, size_t len) {
  secure->rest = uvws__malloc(len);
  if (secure->rest == NULL) return UV_ENOMEM;
  memcpy(secure->rest, data, len);
  return write_later(secure, secure->rest, len);
}

/* The kernel gets what has gathered: how much of it, or an error. */
static int send_gathered(uvws__secure_t* secure) {
  uvws__loop_t* loop = secure->stream->loop;
  size_t len = loop->gathered;
  loop->gathered = 0;
  if (len == 0) return 0;
  int taken = write_now(secure, loop->records, len);
  if (taken >= 0 && (size_t)taken < len) {
    int status = keep_rest(secure, loop->records + taken, len - (size_t)taken);
    if (status != 0) taken = status;
  }
  if (taken < 0) secure->lost = taken;
  return taken;
}

static int gather(uvws__secure_t* secure, const uint8_t* data, size_t len) {
  uvws__loop_t* loop = secure->stream->loop;
  if (len > sizeof(loop->records) - loop->gathered) {
    int status = send_gathered(secure);
    if (status < 0) return status;
    if (secure->writing) return UV_EAGAIN;
  }
  memcpy(loop->records + loop->gathered, data, len);
  loop->gathered += len;
  return (int)len;
}

static int on_send(void* owner, const uint8_t* data, size_t len) {
  uvws__secure_t* secure = owner;
  if (secure->lost != 0) return secure->lost;
  if (secure->writing) return UV_EAGAIN;
  if (secure->written > 0) {
    int written = (int)secure->written;
    secure->written = 0;
    return written;
  }
  if (secure->stream->loop->gatherer == secure)
    return gather(secure, data, len);
  int status = write_now(secure, data, len);
  if (status > 0) return status;
  if (status == 0) status = write_later(secure, data, len);
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

size_t uvws__secure_done(const uvws__secure_t* secure) {
  size_t done = 0;
  if (!secure->writing) return secure->ahead;
  uint64_t taken = uvws__secure_taken(secure);
  for (unsigned i = secure->first_ahead;
       i < secure->n_ahead && secure->ends[i] <= taken; i++)
    done += secure->sizes[i];
  return secure->rest == NULL ? 0 : done;
}

void uvws__secure_settle(uvws__secure_t* secure, size_t done) {
  secure->ahead -= done;
  while (done > 0) done -= secure->sizes[secure->first_ahead++];
}

static bool is_more_than_a_record(const place_t* place) {
  size_t len = place->buf->len - place->offset;
  for (const uv_buf_t* buf = place->buf + 1;
       buf != place->end && len <= UVWS__RECORD_SIZE; buf++)
    len += buf->len;
  return len > UVWS__RECORD_SIZE;
}

static int write_one(uvws__secure_t* secure, const place_t* place) {
  const uint8_t* data;
  size_t len = next_bytes(secure, place, &data);
  return uvws__tls_write(secure->tls, data, len);
}

/* Several records in one write. What is in those that the kernel does not have
 * to their end will count later. */
static int write_several(uvws__secure_t* secure, const place_t* place) {
  uvws__loop_t* loop = secure->stream->loop;
  size_t ends[UVWS__RECORDS];
  int sizes[UVWS__RECORDS];
  place_t from = *place;
  unsigned n = 0;
  int status = 0, total = 0;
  loop->gatherer = secure;
  loop->gathered = 0;
  while (n < UVWS__RECORDS && from.buf != from.end) {
    status = write_one(secure, &from);
    if (status <= 0) break;
    advance(&from, (size_t)status);
    sizes[n] = status;
    ends[n++] = loop->gathered;
  }
  loop->gatherer = NULL;
  int taken = send_gathered(secure);
  if (taken < 0) return UVWS__TLS_LOST;
  secure->first_ahead = secure->n_ahead = 0;
  for (unsigned i = 0; i < n; i++) {
    if (ends[i] <= (size_t)taken) {
      total += sizes[i];
    } else {
      secure->sizes[secure->n_ahead] = (size_t)sizes[i];
      secure->ends[secure->n_ahead++] = ends[i] - (size_t)taken;
      secure->ahead += (size_t)sizes[i];
    }
  }
  if (total > 0) return total;
  return status < 0 ? status : UVWS__TLS_AGAIN;
}

int uvws__secure_try_write(uvws__secure_t* secure, const uv_buf_t* bufs,
                           unsigned n) {
  enum { MOST = 1 << 30 }; /* the sum is an int */
  place_t place = {bufs, bufs + n, 0};
  int total = (int)secure->ahead;
  if (secure->failed) return UVWS_ETLS;
  if (secure->lost != 0) return secure->lost;
  if (!secure->open || secure->writing) return UV_EAGAIN;
  note_traffic(secure);
  advance(&place, secure->ahead);
  secure->ahead = 0;
  while (place.buf != place.end && total < MOST && secure->ahead == 0) {
    bool gathers = !secure->slow && is_more_than_a_record(&place);
    int sent =
        gathers ? write_several(secure, &place) : write_one(secure, &place);
    if (sent > 0) {
      total += sent;
      advance(&place, (size_t)sent);
    } else if (total > 0 || sent == UVWS__TLS_AGAIN) {
      return total > 0 ? total : UV_EAGAIN;
    } else {
      return sent == UVWS__TLS_LOST ? secure->lost : UVWS_ETLS;
    }
  }
  if (place.buf == place.end) secure->slow = false;
  return total > 0 ? total : UV_EAGAIN;
}

bool uvws__secure_is_writing(const uvws__secure_t* secure) {
  return secure->writing;
}

uint64_t uvws__secure_taken(const uvws__secure_t* secure) {
  if (!secure->writing) return 0;
  return secure->in_flight -
         uv_stream_get_write_queue_size(secure->stream->uv.stream);
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
  (void)uv_try_write(secure->stream->uv.stream, &buf, 1);
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
         !uv_is_closing(stream->uv.handle);
}

/* Whether there may be more to do at once. */
static bool shake_hands(uvws__secure_t* secure) {
  uvws__loop_t* loop = secure->stream->loop;
  loop->gatherer = secure;
  loop->gathered = 0;
  int status = uvws__tls_handshake(secure->tls);
  loop->gatherer = NULL;
  if (send_gathered(secure) < 0 && status != UVWS__TLS_FAILED)
    status = UVWS__TLS_LOST;
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
  if (len == 0 || secure->over || uv_is_closing(stream->uv.handle)) return;
  uv_read_stop(stream->uv.stream);
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
  if (secure->over || uv_is_closing(secure->stream->uv.handle)) return;
  note_traffic(secure);
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
  if (!stream->reading || uv_is_closing(stream->uv.handle)) return;
  int status = uvws__stream_read_handle(stream);
  if (status != 0) uvws__stream_end_input(stream, status);
}

bool uvws__secure_read_start(uvws__secure_t* secure) {
  uvws__loop_defer(secure->stream->loop, &secure->pump);
  return secure->kept != NULL;
}

bool uvws__secure_keeps(const uvws__secure_t* secure) {
  return secure != NULL && secure->kept != NULL;
}

/* ---- beginning and end ---- */

int uvws__stream_secure(uvws__stream_t* stream, struct uvws_tls_s* config,
                        const char* host, uint16_t port) {
  uvws__secure_t* secure = uvws__calloc(1, sizeof(*secure));
  if (secure == NULL) return UV_ENOMEM;
  secure->stream = stream;
  secure->is_server = host == NULL;
  secure->pump.run = on_pump;
  secure->quiet.passed = on_quiet;
  if (uvws__stream_need_extra(stream))
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
  stream->extra->secure = secure;
  return 0;
}

void uvws__secure_stop(uvws__secure_t* secure) {
  uvws__loop_undefer(secure->stream->loop, &secure->pump);
  uvws__wheel_cancel(&secure->quiet);
}

void uvws__secure_free(uvws__secure_t* secure) {
  if (secure == NULL) return;
  uvws__tls_free(secure->tls);
  uvws__stream_tls_free(secure->result);
  uvws__free(secure->rest);
  uvws__free(secure->kept);
  uvws__free(secure);
}

bool uvws__stream_is_mute(const uvws__stream_t* stream) {
  return stream->extra->secure != NULL &&
         stream->extra->secure->result->version == 0;
}

const uvws__tls_result_t* uvws__stream_tls(const uvws__stream_t* stream) {
  return stream->extra->secure == NULL ? NULL : stream->extra->secure->result;
}

uvws__tls_result_t* uvws__stream_take_tls(uvws__stream_t* stream) {
  if (stream->extra->secure == NULL) return NULL;
  uvws__tls_result_t* result = stream->extra->secure->result;
  stream->extra->secure->result = NULL;
  return result;
}

void uvws__stream_tls_free(uvws__tls_result_t* result) {
  if (result == NULL) return;
  uvws__tls_result_clear(result);
  uvws__free(result);
}

const uint8_t* uvws__stream_peer_certificate(const uvws__stream_t* stream,
                                             size_t* len) {
  return stream->extra->secure == NULL
             ? NULL
             : uvws__tls_peer_certificate(stream->extra->secure->tls, len);
}
