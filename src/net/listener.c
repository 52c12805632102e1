#include "net/listener.h"

#ifndef _WIN32
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

/* What spreads connections over the sockets that are bound to one address;
 * where SO_REUSEPORT does not, it would give all of them to the last one. */
#if defined(__linux__)
#define SPREADS SO_REUSEPORT
#elif defined(SO_REUSEPORT_LB)
#define SPREADS SO_REUSEPORT_LB
#endif

static void on_connection(uv_stream_t* handle, int status) {
  uvws__stream_t* listener = handle->data;
  listener->events->connection(listener, status);
}

static int listen_on(uvws__stream_t* listener, int bound, int backlog,
                     const uvws__stream_events_t* events, void* owner) {
  int status = bound;
  uvws__stream_own(listener, events, owner);
  if (status == 0)
    status = uv_listen(listener->uv.stream, backlog, on_connection);
  if (status != 0) uvws__stream_close(listener);
  return status;
}

/* libuv has a flag for this from 1.49 on. Before, the socket has to be there
 * already when the option is set, that is, libuv has to be given one. */
#ifdef SPREADS
static int make_socket(int family, int* fd) {
  int on = 1;
  *fd = socket(family, SOCK_STREAM, 0);
  if (*fd < 0) return uv_translate_sys_error(errno);
  if (fcntl(*fd, F_SETFD, FD_CLOEXEC) == 0 &&
      setsockopt(*fd, SOL_SOCKET, SPREADS, &on, sizeof(on)) == 0)
    return 0;
  return uv_translate_sys_error(errno);
}

static int reuse_port(uv_tcp_t* tcp, int family) {
  int fd;
  int status = make_socket(family, &fd);
  if (status == 0) status = uv_tcp_open(tcp, fd);
  if (status != 0 && fd >= 0) close(fd);
  return status;
}
#else
static int reuse_port(uv_tcp_t* tcp, int family) {
  (void)tcp;
  (void)family;
  return UV_ENOTSUP;
}
#endif

int uvws__listener_tcp(uvws__loop_t* loop, const struct sockaddr* addr,
                       unsigned flags, int backlog,
                       const uvws__tcp_settings_t* settings,
                       const uvws__stream_events_t* events, void* owner,
                       uvws__stream_t** listener) {
  *listener = NULL;
  int status = uvws__stream_new(loop, UVWS__TCP, listener);
  if (status != 0) return status;
  if (flags & UVWS__LISTEN_REUSEPORT)
    status = reuse_port((*listener)->uv.tcp, addr->sa_family);
  if (status == 0)
    status =
        uv_tcp_bind((*listener)->uv.tcp, addr, flags & ~UVWS__LISTEN_REUSEPORT);
  /* Before it listens: what it passes on is settled when a client connects. */
  if (status == 0) uvws__stream_tune(*listener, settings);
  return listen_on(*listener, status, backlog, events, owner);
}

int uvws__listener_pipe(uvws__loop_t* loop, const char* name, int backlog,
                        const uvws__stream_events_t* events, void* owner,
                        uvws__stream_t** listener) {
  *listener = NULL;
  int status = uvws__stream_new(loop, UVWS__PIPE, listener);
  if (status != 0) return status;
  status = uvws__pipe_name_check(name);
  if (status == 0) status = uv_pipe_bind((*listener)->uv.pipe, name);
  return listen_on(*listener, status, backlog, events, owner);
}

int uvws__listener_accept(uvws__stream_t* listener, uvws__stream_t** stream) {
  bool tcp = listener->uv.handle->type == UV_TCP;
  *stream = NULL;
  int status =
      uvws__stream_new(listener->loop, tcp ? UVWS__TCP : UVWS__PIPE, stream);
  if (status != 0) return status;
  status = uv_accept(listener->uv.stream, (*stream)->uv.stream);
  return status;
}

#ifdef _WIN32
bool uvws__listener_passed_on(const uvws__stream_t* stream,
                              const uvws__tcp_settings_t* settings) {
  (void)stream;
  (void)settings;
  return false;
}

int uvws__stream_duplicate(const uvws__stream_t* stream, uv_os_sock_t* fd) {
  (void)stream;
  (void)fd;
  return UV_ENOTSUP;
}
#else
bool uvws__listener_passed_on(const uvws__stream_t* stream,
                              const uvws__tcp_settings_t* settings) {
  uv_os_fd_t fd;
  int nodelay = 0;
  socklen_t len = sizeof(nodelay);
  return settings->keepalive == 0 && uv_fileno(stream->uv.handle, &fd) == 0 &&
         getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len) == 0 &&
         (nodelay != 0) == settings->nodelay;
}

int uvws__stream_duplicate(const uvws__stream_t* stream, uv_os_sock_t* fd) {
  uv_os_fd_t own;
  int status = uv_fileno(stream->uv.handle, &own);
  if (status != 0) return status;
  *fd = fcntl(own, F_DUPFD_CLOEXEC, 0);
  return *fd < 0 ? uv_translate_sys_error(errno) : 0;
}
#endif
