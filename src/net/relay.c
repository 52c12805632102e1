#include "net/relay.h"

#ifndef _WIN32
#include <sys/socket.h>
#include <unistd.h>
#endif

#include "alloc.h"
#include "net/adopted.h"
#include "uvws.h"

/* Two connected sockets of our own carry the inner bytes: one is the inner
 * stream, the other the relay's, which copies between it and the outer stream.
 * TLS inside TLS could do without them, but would have to be built into every
 * line of net/secure.c, for the rarest way there is to a server.
 *
 * The relay ends with the inner stream and not before, so that whoever waits
 * for that to be closed has waited for all three handles. An end of either side
 * goes to the other. An error of the outer one does, too, behind all that came
 * before it: the server may have said why. */

enum { OUTER, LOCAL };

#ifdef _WIN32
static const uvws__transport_t PAIR = UVWS__TCP;
#else
static const uvws__transport_t PAIR = UVWS__PIPE;
#endif

static const uint64_t QUEUE_MAX = 256 * 1024; /* the other side then waits */

struct uvws__relay_s {
  uvws__stream_t* inner;
  uvws__stream_t* sides[2]; /* NULL once closed */
  int status;
  bool mute; /* the server hears nothing more */
  bool closing;
  bool inner_closed;
};

static bool is_outer(const uvws__stream_t* stream) {
  const uvws__relay_t* relay = stream->owner;
  return relay->sides[OUTER] == stream;
}

static uvws__stream_t* other_of(const uvws__stream_t* stream) {
  const uvws__relay_t* relay = stream->owner;
  return relay->sides[is_outer(stream) ? LOCAL : OUTER];
}

static void fail(uvws__relay_t* relay, int status) {
  if (relay->status == 0) relay->status = status;
  uvws__relay_close(relay);
}

static void on_read(uvws__stream_t* stream, uint8_t* data, size_t len) {
  const uvws__relay_t* relay = stream->owner;
  uvws__stream_t* to = other_of(stream);
  if (relay->mute && !is_outer(stream)) return;
  int status = uvws__stream_send(to, data, len, data, 0, 0);
  if (status != 0)
    fail(stream->owner, status);
  else if (uvws__stream_queue_size(to) > QUEUE_MAX)
    uvws__stream_read_stop(stream);
}

static void on_progress(uvws__stream_t* stream) {
  uvws__stream_t* from = other_of(stream);
  if (from == NULL || uvws__stream_queue_size(stream) > QUEUE_MAX) return;
  int status = uvws__stream_read_start(from);
  if (status != 0) fail(stream->owner, status);
}

static void fall_mute(uvws__relay_t* relay, int status) {
  if (relay->status == 0) relay->status = status;
  relay->mute = true;
}

static void on_ended(uvws__stream_t* stream, int status) {
  if (status != UV_EOF && !is_outer(stream)) {
    fail(stream->owner, status);
    return;
  }
  if (status != UV_EOF) fall_mute(stream->owner, status);
  uvws__stream_half_close(other_of(stream));
}

static void on_failed(uvws__stream_t* stream, uvws__failure_t failure) {
  (void)failure;
  on_ended(stream, UVWS_ETLS);
}

/* As without a relay, what the server has sent before is still read, and the
 * owner is told. */
static void on_write_failed(uvws__stream_t* stream, int status) {
  uvws__relay_t* relay = stream->owner;
  if (!is_outer(stream)) {
    fail(relay, status);
    return;
  }
  fall_mute(relay, status);
  uvws__stream_fail_writing(relay->inner, status);
}

static void on_closed(uvws__stream_t* stream) {
  uvws__relay_t* relay = stream->owner;
  relay->sides[is_outer(stream) ? OUTER : LOCAL] = NULL;
  if (relay->inner_closed && !uvws__relay_outlives(relay))
    uvws__stream_gone(relay->inner);
}

static const uvws__stream_events_t side_events = {
    .read = on_read,
    .ended = on_ended,
    .failed = on_failed,
    .progress = on_progress,
    .write_failed = on_write_failed,
    .closed = on_closed,
};

/* ---- beginning and end ---- */

static void close_socket(uv_os_sock_t fd) {
#ifdef _WIN32
  closesocket(fd);
#else
  close(fd);
#endif
}

static int open_pair(uvws__loop_t* loop, uvws__stream_t* streams[2]) {
  uv_os_sock_t fds[2];
  int status = uv_socketpair(SOCK_STREAM, 0, fds, 0, 0);
  if (status != 0) return status;
  for (int i = 0; i < 2; i++) {
    uvws__source_t source = {.fd = fds[i], .transport = PAIR};
    if (status == 0) status = uvws__source_prepare(&source, loop, &streams[i]);
    if (status == 0) status = uvws__source_take(&source, streams[i]);
    if (status != 0) close_socket(fds[i]);
  }
  return status;
}

static void leave_pair(uvws__stream_t* streams[2]) {
  uvws__source_t source = {.handle = NULL};
  for (int i = 0; i < 2; i++)
    if (streams[i] != NULL) uvws__source_leave(&source, streams[i]);
}

/* Only the inner stream keeps the loop alive, if its owner wants it to. */
static int start(uvws__relay_t* relay) {
  for (int i = 0; i < 2; i++) {
    uvws__stream_own(relay->sides[i], &side_events, relay);
    uvws__stream_set_ref(relay->sides[i], false);
  }
  int status = uvws__stream_read_start(relay->sides[OUTER]);
  return status == 0 ? uvws__stream_read_start(relay->sides[LOCAL]) : status;
}

int uvws__relay_new(uvws__stream_t* outer, const uint8_t* rest, size_t len,
                    uvws__stream_t** inner) {
  uvws__stream_t* pair[2] = {NULL, NULL};
  uvws__relay_t* relay = uvws__calloc(1, sizeof(*relay));
  if (relay == NULL) return UV_ENOMEM;
  int status = open_pair(outer->loop, pair);
  if (status == 0 && !uvws__stream_need_extra(pair[0])) status = UV_ENOMEM;
  if (status != 0) {
    leave_pair(pair);
    uvws__free(relay);
    return status;
  }
  relay->inner = pair[0];
  relay->sides[OUTER] = outer;
  relay->sides[LOCAL] = pair[1];
  relay->inner->extra->relay = relay;
  *inner = relay->inner;
  /* What goes wrong now comes as the inner stream's end. */
  status = start(relay);
  if (status == 0 && len > 0)
    status = uvws__stream_send(relay->sides[LOCAL], rest, len, rest, 0, 0);
  if (status != 0) fail(relay, status);
  return 0;
}

void uvws__relay_close(uvws__relay_t* relay) {
  if (relay->closing) return;
  relay->closing = true;
  for (int i = 0; i < 2; i++)
    if (relay->sides[i] != NULL) uvws__stream_close(relay->sides[i]);
}

bool uvws__relay_outlives(uvws__relay_t* relay) {
  relay->inner_closed = true;
  return relay->sides[OUTER] != NULL || relay->sides[LOCAL] != NULL;
}

int uvws__relay_status(const uvws__relay_t* relay) {
  return relay->status;
}

const uvws__stream_t* uvws__relay_outer(const uvws__relay_t* relay) {
  return relay->sides[OUTER];
}

void uvws__relay_free(uvws__relay_t* relay) {
  uvws__free(relay);
}
