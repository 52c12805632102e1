#include "net/listener.h"

static void on_connection(uv_stream_t* handle, int status) {
  uvws__stream_t* listener = handle->data;
  listener->events->connection(listener, status);
}

static int listen_on(uvws__stream_t* listener, int bound, int backlog,
                     const uvws__stream_events_t* events, void* owner) {
  int status = bound;
  uvws__stream_own(listener, events, owner);
  if (status == 0)
    status = uv_listen(&listener->uv.stream, backlog, on_connection);
  if (status != 0) uvws__stream_close(listener);
  return status;
}

int uvws__listener_tcp(uvws__loop_t* loop, const struct sockaddr* addr,
                       unsigned flags, int backlog,
                       const uvws__stream_events_t* events, void* owner,
                       uvws__stream_t** listener) {
  *listener = NULL;
  int status = uvws__stream_new(loop, UVWS__TCP, listener);
  if (status != 0) return status;
  status = uv_tcp_bind(&(*listener)->uv.tcp, addr, flags);
  return listen_on(*listener, status, backlog, events, owner);
}

int uvws__listener_pipe(uvws__loop_t* loop, const char* name, int backlog,
                        const uvws__stream_events_t* events, void* owner,
                        uvws__stream_t** listener) {
  *listener = NULL;
  int status = uvws__stream_new(loop, UVWS__PIPE, listener);
  if (status != 0) return status;
  status = uvws__pipe_name_check(name);
  if (status == 0) status = uv_pipe_bind(&(*listener)->uv.pipe, name);
  return listen_on(*listener, status, backlog, events, owner);
}

int uvws__listener_accept(uvws__stream_t* listener, uvws__stream_t** stream) {
  bool tcp = listener->uv.handle.type == UV_TCP;
  *stream = NULL;
  int status =
      uvws__stream_new(listener->loop, tcp ? UVWS__TCP : UVWS__PIPE, stream);
  if (status != 0) return status;
  status = uv_accept(&listener->uv.stream, &(*stream)->uv.stream);
  if (status == 0 && tcp) uv_tcp_nodelay(&(*stream)->uv.tcp, 1);
  return status;
}
