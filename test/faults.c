#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- faults ---- */

plan_t plan;

static struct {
  const char* start;
  size_t size;
} spared[4];

void spare(const void* memory, size_t size) {
  size_t i = 0;
  while (spared[i].start != NULL) i++;
  assert_true(i < COUNT_OF(spared) - 1);
  spared[i].start = memory;
  spared[i].size = size;
}

/* For names: the machine need not know any. */
static const char* address_of(const char* node) {
  (void)node;
  return "127.0.0.1";
}

static bool has_several(void) {
  return world.scenario->has_several;
}

/* Without a type there is one for each type. */
static const struct addrinfo* hints_of(const struct addrinfo* hints) {
  static struct addrinfo any;
  any = *hints;
  any.ai_socktype = 0;
  return has_several() ? &any : hints;
}

static uv_getaddrinfo_cb found;

/* On Linux nobody listens at the first one, but somebody is there. */
static void on_several(uv_getaddrinfo_t* req, int status,
                       struct addrinfo* result) {
  if (status == 0)
    uv_ip4_addr("127.0.0.2", 0, (struct sockaddr_in*)result->ai_addr);
  found(req, status, result);
}

static uv_getaddrinfo_cb callback_of(uv_getaddrinfo_cb cb) {
  found = cb;
  return has_several() ? on_several : cb;
}

/* name, parameters, arguments, the handle that tells whose call it is or NULL,
 * status */
#define CALLS(X)                                                              \
  X(uv_tcp_init, (uv_loop_t * loop, uv_tcp_t * h), (loop, h), h, UV_EMFILE)   \
  X(uv_pipe_init, (uv_loop_t * loop, uv_pipe_t * h, int ipc), (loop, h, ipc), \
    h, UV_EMFILE)                                                             \
  X(uv_idle_init, (uv_loop_t * loop, uv_idle_t * h), (loop, h), h, UV_ENOMEM) \
  X(uv_timer_init, (uv_loop_t * loop, uv_timer_t * h), (loop, h), h,          \
    UV_ENOMEM)                                                                \
  X(uv_async_init, (uv_loop_t * loop, uv_async_t * h, uv_async_cb cb),        \
    (loop, h, cb), h, UV_EMFILE)                                              \
  X(uv_tcp_open, (uv_tcp_t * h, uv_os_sock_t fd), (h, fd), h, UV_EEXIST)      \
  X(uv_pipe_open, (uv_pipe_t * h, uv_file fd), (h, fd), h, UV_EBADF)          \
  X(uv_socketpair,                                                            \
    (int type, int protocol, uv_os_sock_t fds[2], int flags0, int flags1),    \
    (type, protocol, fds, flags0, flags1), NULL, UV_EMFILE)                   \
  X(uv_fileno, (const uv_handle_t* h, uv_os_fd_t* fd), (h, fd), h, UV_EBADF)  \
  X(uv_tcp_connect,                                                           \
    (uv_connect_t * req, uv_tcp_t * h, const struct sockaddr* addr,           \
     uv_connect_cb cb),                                                       \
    (req, h, addr, cb), h, UV_ENETUNREACH)                                    \
  X(uv_getaddrinfo,                                                           \
    (uv_loop_t * loop, uv_getaddrinfo_t * req, uv_getaddrinfo_cb cb,          \
     const char* node, const char* service, const struct addrinfo* hints),    \
    (loop, req, callback_of(cb), address_of(node), service, hints_of(hints)), \
    NULL, UV_ENOMEM)                                                          \
  X(uv_cancel, (uv_req_t * req), (req), NULL, UV_EBUSY)                       \
  X(uv_random,                                                                \
    (uv_loop_t * loop, uv_random_t * req, void* buf, size_t len,              \
     unsigned flags, uv_random_cb cb),                                        \
    (loop, req, buf, len, flags, cb), NULL, UV_EIO)                           \
  X(uv_tcp_nodelay, (uv_tcp_t * h, int on), (h, on), h, UV_EINVAL)            \
  X(uv_tcp_keepalive, (uv_tcp_t * h, int on, unsigned delay), (h, on, delay), \
    h, UV_EINVAL)                                                             \
  X(uv_tcp_bind, (uv_tcp_t * h, const struct sockaddr* addr, unsigned flags), \
    (h, addr, flags), h, UV_EADDRNOTAVAIL)                                    \
  X(uv_pipe_bind, (uv_pipe_t * h, const char* name), (h, name), h, UV_EACCES) \
  X(uv_listen, (uv_stream_t * h, int backlog, uv_connection_cb cb),           \
    (h, backlog, cb), h, UV_EADDRINUSE)                                       \
  X(uv_accept, (uv_stream_t * h, uv_stream_t * client), (h, client), h,       \
    UV_EMFILE)                                                                \
  X(uv_read_start, (uv_stream_t * h, uv_alloc_cb alloc, uv_read_cb cb),       \
    (h, alloc, cb), h, UV_ENOTCONN)                                           \
  X(uv_write,                                                                 \
    (uv_write_t * req, uv_stream_t * h, const uv_buf_t bufs[], unsigned n,    \
     uv_write_cb cb),                                                         \
    (req, h, bufs, n, cb), h, UV_ENOMEM)                                      \
  X(uv_shutdown, (uv_shutdown_t * req, uv_stream_t * h, uv_shutdown_cb cb),   \
    (req, h, cb), h, UV_ENOTCONN)                                             \
  X(uv_tcp_getsockname, (const uv_tcp_t* h, struct sockaddr* name, int* len), \
    (h, name, len), h, UV_EBADF)                                              \
  X(uv_tcp_getpeername, (const uv_tcp_t* h, struct sockaddr* name, int* len), \
    (h, name, len), h, UV_ENOTCONN)

/* The system's, that the library makes itself, and how they differ from those
 * that libuv makes. */
#define SYSTEM_CALLS(X)                                                     \
  X(socket, (int family, int type, int protocol), (family, type, protocol), \
    type == SOCK_STREAM, EMFILE)                                            \
  X(setsockopt,                                                             \
    (int fd, int level, int name, const void* value, socklen_t len),        \
    (fd, level, name, value, len), name == SO_REUSEPORT, ENOPROTOOPT)       \
  X(getsockopt, (int fd, int level, int name, void* value, socklen_t* len), \
    (fd, level, name, value, len), name == SO_TYPE, ENOTSOCK)               \
  X(getpeername, (int fd, struct sockaddr* name, socklen_t* len),           \
    (fd, name, len), plan.calling, ENOTCONN)

enum {
  BEFORE_CALLS = FIRST_CALL - 1,
#define X(name, ...) CALL_##name,
  CALLS(X) SYSTEM_CALLS(X)
#undef X
      CALL_fcntl,
  CALLS_END
};

static const char* const names[] = {
    [NO_FAULT] = "no fault",
    [ALLOCATION] = "allocation",
    [ENGINES_ALLOCATION] = "engine's allocation",
    [TRY_WRITE] = "uv_try_write",
#define X(name, ...) [CALL_##name] = #name,
    CALLS(X) SYSTEM_CALLS(X)
#undef X
        [CALL_fcntl] = "fcntl"};

static bool fails(unsigned fault) {
  if (plan.fault != fault || test_in_peer || plan.resting) return false;
  plan.calls++;
  return plan.calls == plan.at || (plan.for_good && plan.calls > plan.at);
}

/* The test's own handles are not to fail: the raw peer's, the watchdog. */
static bool is_spared(const void* handle) {
  const char* at = handle;
  for (size_t i = 0; spared[i].start != NULL; i++)
    if (at >= spared[i].start && at < spared[i].start + spared[i].size)
      return true;
  return false;
}

static bool may_fail(unsigned fault, const void* handle) {
  if (fault == CALL_uv_timer_init || fault == CALL_uv_idle_init)
    return plan.calling;
  return !is_spared(handle);
}

#define X(name, params, args, handle, status)                               \
  int __real_##name params;                                                 \
  int __wrap_##name params;                                                 \
  int __wrap_##name params {                                                \
    if (may_fail(CALL_##name, handle) && fails(CALL_##name)) return status; \
    return __real_##name args;                                              \
  }
CALLS(X)
#undef X

#define X(name, params, args, ours, error) \
  int __real_##name params;                \
  int __wrap_##name params;                \
  int __wrap_##name params {               \
    if (!(ours) || !fails(CALL_##name)) {  \
      return __real_##name args;           \
    }                                      \
    errno = error;                         \
    return -1;                             \
  }
SYSTEM_CALLS(X)
#undef X

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_fcntl(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  long arg = va_arg(args, long);
  va_end(args);
  if ((command != F_DUPFD_CLOEXEC && command != F_SETFD) || !fails(CALL_fcntl))
    return __real_fcntl(fd, command, arg);
  errno = EMFILE;
  return -1;
}

int __real_uv_try_write(uv_stream_t* h, const uv_buf_t bufs[], unsigned n);
int __wrap_uv_try_write(uv_stream_t* h, const uv_buf_t bufs[], unsigned n);

int __wrap_uv_try_write(uv_stream_t* h, const uv_buf_t bufs[], unsigned n) {
  static bool again;
  uv_buf_t buf = bufs[0];
  if (plan.resting) return __real_uv_try_write(h, bufs, n);
  if (fails(TRY_WRITE)) return UV_EPIPE;
  if (plan.try_none) return UV_EAGAIN;
  if (plan.try_most == 0) return __real_uv_try_write(h, bufs, n);
  again = !again;
  if (again) return UV_EAGAIN;
  if (buf.len > plan.try_most) buf.len = plan.try_most;
  return __real_uv_try_write(h, &buf, 1);
}

long live;

static void* counted(void* ptr) {
  if (ptr != NULL) live++;
  return ptr;
}

static void* fault_malloc(size_t size) {
  return fails(ALLOCATION) ? NULL : counted(malloc(size));
}

/* Compilers make a calloc() of malloc() and memset(), unless they do not know
 * what is called. */
static void* (*volatile plain_malloc)(size_t size) = malloc;

static void* zeroed(size_t count, size_t size) {
  if (size > 0 && count > SIZE_MAX / size) return NULL;
  void* ptr = plain_malloc(count * size);
  if (ptr != NULL) memset(ptr, 0, count * size);
  return ptr;
}

/* The program's own comes before the C library's. mbedTLS, which has no other
 * hook in Debian's builds, allocates with nothing else; the library and libuv
 * have theirs, next to this. */
void* calloc(size_t count, size_t size) {
  return fails(ENGINES_ALLOCATION) ? NULL : zeroed(count, size);
}

static void* fault_calloc(size_t count, size_t size) {
  return fails(ALLOCATION) ? NULL : counted(zeroed(count, size));
}

static void* fault_realloc(void* ptr, size_t size) {
  if (fails(ALLOCATION)) return NULL;
  return ptr == NULL ? counted(malloc(size)) : realloc(ptr, size);
}

/* libuv ends the process when its list of watchers cannot grow. */
static void* uv_realloc(void* ptr, size_t size) {
  return ptr == NULL ? counted(malloc(size)) : realloc(ptr, size);
}

static void fault_free(void* ptr) {
  if (ptr != NULL) live--;
  free(ptr);
}

int replace_allocators(void** state) {
  test_keep_nothing();
  spare(&raw, sizeof(raw));
  if (uv_replace_allocator(fault_malloc, uv_realloc, fault_calloc,
                           fault_free) != 0 ||
      uvws_replace_allocator(fault_malloc, fault_realloc, fault_calloc,
                             fault_free) != 0)
    return -1;
  /* The first loop of a process makes what stays. */
  return test_loop_setup(state) == 0 ? test_loop_teardown(state) : -1;
}

unsigned count_descriptors(void) {
  unsigned n = 0;
  for (int fd = 0; fd < 256; fd++) n += __real_fcntl(fd, F_GETFD, 0) >= 0;
  return n;
}

const unsigned faults_end = CALLS_END;

const char* fault_name(unsigned fault) {
  return names[fault];
}
