#include "net/adopted.h"

#include <string.h>
#ifndef _WIN32
#include <sys/socket.h>
#endif

#include "alloc.h"
#include "net/secure.h"

/* From the check on nothing of a foreign handle is changed before all that can
 * fail has not. Then its `data` is ours until libuv has closed it. */

/* ---- which are ours ---- */

static int compare_handles(const uvws__adopted_t* a, const uvws__adopted_t* b) {
  uintptr_t x = (uintptr_t)a->handle, y = (uintptr_t)b->handle;
  return (x > y) - (x < y);
}

RB_HEAD(tree, uvws__adopted_s);
RB_GENERATE_STATIC(tree, uvws__adopted_s, entry, compare_handles)

bool uvws__stream_is_adopted(const uv_handle_t* handle) {
  const uvws__loop_t* loop = uvws__loop_find(handle->loop);
  struct tree tree = {loop == NULL ? NULL : loop->adopted};
  uvws__adopted_t key = {.handle = handle};
  return RB_FIND(tree, &tree, &key) != NULL;
}

static void remember(uvws__loop_t* loop, uvws__adopted_t* adopted) {
  struct tree tree = {loop->adopted};
  RB_INSERT(tree, &tree, adopted);
  loop->adopted = tree.rbh_root;
}

static void forget(uvws__loop_t* loop, uvws__adopted_t* adopted) {
  struct tree tree = {loop->adopted};
  RB_REMOVE(tree, &tree, adopted);
  loop->adopted = tree.rbh_root;
}

/* ---- checks ---- */

static int check_handle(const uv_stream_t* stream, const uv_loop_t* uv) {
  const uv_handle_t* handle = (const uv_handle_t*)stream;
  if (handle->loop != uv || uv_is_closing(handle)) return UV_EINVAL;
  if (handle->type != UV_TCP && handle->type != UV_NAMED_PIPE)
    return UV_ENOTSUP;
  if (handle->type == UV_NAMED_PIPE && ((const uv_pipe_t*)handle)->ipc)
    return UV_ENOTSUP;
  if (uv_is_active(handle) || uv_stream_get_write_queue_size(stream) > 0 ||
      uvws__stream_is_adopted(handle))
    return UV_EBUSY;
  if (!uv_is_readable(stream) || !uv_is_writable(stream)) return UV_ENOTCONN;
  return 0;
}

static int check_fd(uv_os_sock_t fd, uvws__transport_t* transport) {
  struct sockaddr_storage peer;
  int type = 0;
  socklen_t len = sizeof(peer), type_len = sizeof(type);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, (void*)&type, &type_len) != 0 ||
      type != SOCK_STREAM)
    return UV_ENOTSUP;
  if (getpeername(fd, (struct sockaddr*)&peer, &len) != 0) return UV_ENOTCONN;
  switch (peer.ss_family) {
    case AF_INET:
    case AF_INET6: *transport = UVWS__TCP; return 0;
#ifndef _WIN32
    case AF_UNIX: *transport = UVWS__PIPE; return 0;
#endif
    default: return UV_ENOTSUP;
  }
}

int uvws__source_check(uvws__source_t* source, const uv_loop_t* uv) {
  return source->handle != NULL ? check_handle(source->handle, uv)
                                : check_fd(source->fd, &source->transport);
}

/* ---- somebody's handle ---- */

static int prepare_handle(uvws__loop_t* loop, const uvws__source_t* source,
                          uvws__stream_t** result) {
  uvws__stream_t* stream = uvws__stream_make(loop, 0);
  uvws__adopted_t* adopted = uvws__malloc(sizeof(*adopted));
  if (stream == NULL || adopted == NULL || !uvws__stream_need_extra(stream)) {
    uvws__free(stream);
    uvws__free(adopted);
    return UV_ENOMEM;
  }
  adopted->handle = (uv_handle_t*)source->handle;
  adopted->release = source->release;
  stream->extra->adopted = adopted;
  stream->uv.stream = source->handle;
  *result = stream;
  return 0;
}

static void take_handle(uvws__stream_t* stream) {
  uvws__adopted_t* adopted = stream->extra->adopted;
  adopted->data = stream->uv.handle->data;
  remember(stream->loop, adopted);
  stream->uv.handle->data = stream;
  uv_ref(stream->uv.handle);
}

void uvws__stream_give_back(uvws__stream_t* stream) {
  uvws__adopted_t* adopted = stream->extra->adopted;
  uv_stream_t* handle = stream->uv.stream;
  forget(stream->loop, adopted);
  handle->data = adopted->data;
  stream->extra->adopted = NULL;
  stream->uv.stream = NULL;
  if (adopted->release != NULL) adopted->release(handle);
  uvws__free(adopted);
}

/* ---- a descriptor ---- */

#ifndef _WIN32
typedef struct search_s {
  uv_os_fd_t fd;
  bool found;
} search_t;

static void compare(uv_handle_t* handle, void* arg) {
  search_t* search = arg;
  uv_os_fd_t fd;
  if (uv_fileno(handle, &fd) == 0 && fd == search->fd) search->found = true;
}

/* uv_pipe_open() does not look for this, as uv_tcp_open() does; the loop would
 * abort later. */
static int open_pipe(uv_pipe_t* pipe, uv_os_sock_t fd) {
  search_t search = {fd, false};
  uv_walk(pipe->loop, compare, &search);
  return search.found ? UV_EEXIST : uv_pipe_open(pipe, fd);
}
#endif

static int take_fd(uvws__stream_t* stream, uv_os_sock_t fd) {
#ifndef _WIN32
  if (stream->uv.handle->type == UV_NAMED_PIPE)
    return open_pipe(stream->uv.pipe, fd);
#endif
  return uv_tcp_open(stream->uv.tcp, fd);
}

/* ---- both ---- */

int uvws__source_prepare(const uvws__source_t* source, uvws__loop_t* loop,
                         uvws__stream_t** stream) {
  return source->handle != NULL
             ? prepare_handle(loop, source, stream)
             : uvws__stream_new(loop, source->transport, stream);
}

int uvws__source_take(const uvws__source_t* source, uvws__stream_t* stream) {
  if (source->handle == NULL) return take_fd(stream, source->fd);
  take_handle(stream);
  return 0;
}

/* A handle of ours is one more user of the loop until it is closed. */
static void on_left(uvws__stream_t* stream) {
  uvws__loop_leave(stream->loop, NULL, NULL);
}

static const uvws__stream_events_t left_events = {.closed = on_left};

void uvws__source_leave(const uvws__source_t* source, uvws__stream_t* stream) {
  if (source->handle != NULL) {
    uvws__free(stream->extra->adopted);
    stream->extra->adopted = NULL;
    uvws__stream_drop(stream);
    return;
  }
  stream->loop->users++;
  uvws__stream_own(stream, &left_events, NULL);
  uvws__stream_close(stream);
}

/* ---- bytes ---- */

static bool is_read(const uvws__stream_t* stream) {
  return stream->reading && stream->ended == 0 &&
         !uv_is_closing(stream->uv.handle);
}

/* By way of the loop's buffer, as if they had just come. TLS keeps ciphertext
 * for an owner who stops, and goes on before us. */
static void on_early(uvws__deferred_t* deferred) {
  uvws__early_t* early = UVWS__CONTAINER_OF(deferred, uvws__early_t, deferred);
  uvws__stream_t* stream = early->stream;
  uint8_t* buffer = stream->loop->read_buffer;
  while (early->start < early->len && is_read(stream) &&
         !uvws__secure_keeps(stream->extra->secure)) {
    size_t len = early->len - early->start;
    if (len > UVWS__READ_BUFFER) len = UVWS__READ_BUFFER;
    memcpy(buffer, early->bytes + early->start, len);
    early->start += len;
    uvws__stream_input(stream, buffer, len);
  }
  if (early->start < early->len) return;
  /* The owner may have stopped and started. */
  uvws__loop_undefer(stream->loop, &early->deferred);
  stream->extra->early = NULL;
  uvws__free(early);
  if (!is_read(stream) || uvws__secure_keeps(stream->extra->secure)) return;
  int status = uvws__stream_read_handle(stream);
  if (status != 0) uvws__stream_end_input(stream, status);
}

bool uvws__stream_unread(uvws__stream_t* stream, const void* data, size_t len) {
  if (len == 0) return true;
  if (!uvws__stream_need_extra(stream)) return false;
  uvws__early_t* early = uvws__malloc(sizeof(*early) + len);
  if (early == NULL) return false;
  *early =
      (uvws__early_t){.stream = stream, .deferred.run = on_early, .len = len};
  memcpy(early->bytes, data, len);
  stream->extra->early = early;
  return true;
}
