#include "fake-proxy.h"

/* Whatever can fail on the way through a proxy fails once, one thing in each
 * connection: memory, or a call of libuv's. The socket is told, and nothing is
 * left of it. */

static peer_t client;
static uint8_t much[300000];

static unsigned fail_at; /* the call from now that fails; 0: none */
static int allocations;

static bool fails(void) {
  return !test_in_peer && fail_at > 0 && --fail_at == 0;
}

/* ---- memory ---- */

static void* failing_malloc(size_t size) {
  void* ptr = fails() ? NULL : malloc(size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_calloc(size_t n, size_t size) {
  void* ptr = fails() ? NULL : calloc(n, size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_realloc(void* ptr, size_t size) {
  if (fails()) return NULL;
  allocations += ptr == NULL;
  return realloc(ptr, size);
}

static void failing_free(void* ptr) {
  allocations -= ptr != NULL;
  free(ptr);
}

/* ---- libuv ----
 *
 * Only what is done to handles of the library's. */

#define WRAP(name, handle, parameters, arguments)                             \
  int __real_##name parameters;                                               \
  int __wrap_##name parameters;                                               \
  int __wrap_##name parameters {                                              \
    if (uvws_owns((const uv_handle_t*)(handle)) && fails()) return UV_ENOMEM; \
    return __real_##name arguments;                                           \
  }

WRAP(uv_tcp_bind, tcp,
     (uv_tcp_t * tcp, const struct sockaddr* address, unsigned flags),
     (tcp, address, flags))
WRAP(uv_tcp_connect, tcp,
     (uv_connect_t * request, uv_tcp_t* tcp, const struct sockaddr* address,
      uv_connect_cb cb),
     (request, tcp, address, cb))
WRAP(uv_read_start, stream,
     (uv_stream_t * stream, uv_alloc_cb alloc, uv_read_cb read),
     (stream, alloc, read))
WRAP(uv_pipe_open, pipe, (uv_pipe_t * pipe, uv_file fd), (pipe, fd))
WRAP(uv_shutdown, stream,
     (uv_shutdown_t * request, uv_stream_t* stream, uv_shutdown_cb cb),
     (request, stream, cb))

int __real_uv_socketpair(int type, int protocol, uv_os_sock_t sockets[2],
                         int flags0, int flags1);
int __wrap_uv_socketpair(int type, int protocol, uv_os_sock_t sockets[2],
                         int flags0, int flags1);

int __wrap_uv_socketpair(int type, int protocol, uv_os_sock_t sockets[2],
                         int flags0, int flags1) {
  return fails()
             ? UV_ENOMEM
             : __real_uv_socketpair(type, protocol, sockets, flags0, flags1);
}

int __real_uv_pipe_init(uv_loop_t* loop, uv_pipe_t* pipe, int ipc);
int __wrap_uv_pipe_init(uv_loop_t* loop, uv_pipe_t* pipe, int ipc);

int __wrap_uv_pipe_init(uv_loop_t* loop, uv_pipe_t* pipe, int ipc) {
  return fails() ? UV_ENOMEM : __real_uv_pipe_init(loop, pipe, ipc);
}

/* ---- one connection ---- */

static void send_much(peer_t* peer) {
  int status = uvws_send(&peer->ws, much, sizeof(much), UVWS_BINARY);
  assert_true(status == 0 || status == UV_ENOMEM);
}

/* Inside TLS to a proxy an end may be noticed in writing first. */
static void check_outcome(int status, bool failed, bool is_secure) {
  if (status != 0) {
    assert_true(failed);
    assert_int_equal(status, UV_ENOMEM);
    assert_string_equal(client.log, "");
  } else if (!failed) {
    assert_string_equal(client.log, "open close(1000 clean)");
  } else if (!client.opened && is_secure && client.status == UV_EPIPE) {
    assert_string_equal(client.log, "error(EPIPE) close(1006)");
  } else if (!client.opened) {
    assert_string_equal(client.log, "error(ENOMEM) close(1006)");
  } else {
    /* Some failures do no harm. */
    assert_int_equal(strncmp(client.log, "open ", 5), 0);
    assert_true(client.closed);
  }
}

/* Whether there was an n-th call to fail. */
static bool connect_with_fault(size_t kind, unsigned n) {
  uint8_t frame[8];
  size_t len = make_frame(frame, 0x88, "\x03\xe8", 2, false);
  raw_t raw = {.bytes = frame, .len = len, .then = RAW_FIN};
  struct sockaddr_storage local;
  int before = allocations;
  char url[128], target[64];
  raw_serve(&raw);
  start_proxy_with_password(kind);
  make_address(&local, "127.0.0.1", 0);
  options.local_address = (const struct sockaddr*)&local;
  /* Its certificate has an address. */
  snprintf(url, sizeof(url), "%sme:right@%s:%d", kinds[kind].scheme,
           kinds[kind].is_secure ? "127.0.0.1"
                                 : "4-127-0-0-2.6-127-0-0-3.4-127-0-0-1.test",
           proxy.port);
  options.proxy = url;
  options.close_timeout = 100; /* where the last FIN is what fails */
  snprintf(target, sizeof(target), "ws://target.test:%d/", raw.port);
  client_init(&client);
  client.on_open = send_much;
  fail_at = n;
  int status = uvws_connect(&client.ws, target, &options);
  if (status == 0) test_run_until(&client.closed);
  bool failed = fail_at == 0;
  fail_at = 0;
  turns(2);
  assert_int_equal(owned(UV_TCP) + owned(UV_NAMED_PIPE), 0);
  check_outcome(status, failed, kinds[kind].is_secure);
  raw_close(&raw);
  fake_stop(&proxy);
  test_run();
  raw_free(&raw);
  assert_int_equal(allocations, before);
  return failed;
}

static void test_anything_may_fail(void** state) {
  (void)state;
  for (EACH_KIND(kind)) {
    unsigned n = 1;
    /* What is made once in a process is made now. */
    assert_false(connect_with_fault(kind, 0xFFFFFF));
    while (connect_with_fault(kind, n)) n++;
    print_message("%s: %u calls\n", kinds[kind].scheme, n - 1);
    assert_true(n > 30);
  }
}

static int start(void** state) {
  uvws_tls_options_t tls_options;
  int status = uvws_replace_allocator(failing_malloc, failing_realloc,
                                      failing_calloc, failing_free);
  if (status != 0) return status;
  test_keep_nothing();
  status = make_configurations(state);
  uvws_tls_unref(proxy_client_tls);
  uvws_tls_options_init(&tls_options);
  tls_options.ca_file = tls_file("ca.crt");
  tls_options.flags = UVWS_TLS_NO_RESUMPTION;
  proxy_client_tls = tls_new(&tls_options);
  return status;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_anything_may_fail),
  };
  return cmocka_run_group_tests(tests, start, drop_configurations);
}
