#include "adopt.h"

#include <fcntl.h>

/* Streams and descriptors that are not taken over: the call says why, and all
 * is as it was before. */

static unsigned released;
static int mark; /* what `data` points to */

static void on_release(uv_stream_t* stream) {
  assert_ptr_equal(stream->data, &mark);
  released++;
}

static void close_all(uv_handle_t* handle, void* arg) {
  (void)arg;
  if (!uvws_owns(handle) && !uv_is_closing(handle)) uv_close(handle, NULL);
}

static int setup(void** state) {
  if (test_loop_setup(state) != 0) return -1;
  server_start(&server, NULL);
  peer_init(&peer);
  uvws_options_init(&options);
  uvws_adopt_options_init(&adopt_options);
  adopt_options.role = UVWS_ROLE_SERVER;
  adopt_options.options = &options;
  adopt_options.release = on_release;
  released = 0;
  raw_clear();
  return 0;
}

static int teardown(void** state) {
  uvws_server_close(&server.server, 0);
  uv_walk(test_loop, close_all, NULL);
  uv_run(test_loop, UV_RUN_DEFAULT);
  raw_free(&raw);
  return test_loop_teardown(state);
}

/* ---- streams ---- */

static void check_nothing_happened(const void* stream) {
  assert_ptr_equal(((const uv_handle_t*)stream)->data, &mark);
  assert_int_equal(uvws_owns(stream), 0);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CLOSED);
  assert_string_equal(peer.log, "");
  assert_int_equal(uvws_server_connections(&server.server), 0);
  assert_int_equal(released, 0);
}

/* Neither a server nor a socket takes it. */
static void refuse(void* handle, int status) {
  uv_stream_t* stream = handle;
  stream->data = &mark;
  assert_int_equal(
      uvws_server_adopt(&server.server, stream, "GET", 3, on_release), status);
  assert_int_equal(uvws_adopt(&peer.ws, stream, "GET", 3, &adopt_options),
                   status);
  check_nothing_happened(stream);
}

/* Two ends of a connection, both the test's. Not on its stack, as a test that
 * fails leaves them to teardown(). */
static uv_pipe_t near, far;

static void make_pair(int ipc) {
  uv_os_sock_t fds[2];
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  uv_pipe_init(test_loop, &near, ipc);
  uv_pipe_init(test_loop, &far, ipc);
  assert_int_equal(uv_pipe_open(&near, fds[0]), 0);
  assert_int_equal(uv_pipe_open(&far, fds[1]), 0);
  near.data = &mark;
}

static void test_other_handles_are_not_taken(void** state) {
  static uv_udp_t udp;
  static uv_tty_t tty;
  (void)state;
  uv_udp_init(test_loop, &udp);
  refuse(&udp, UV_ENOTSUP);
  make_pair(1);
  refuse(&near, UV_ENOTSUP);
  /* A bare chroot has no terminals. */
  int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  if (fd >= 0) {
    assert_int_equal(uv_tty_init(test_loop, &tty, fd, 0), 0);
    refuse(&tty, UV_ENOTSUP);
  }
  uv_walk(test_loop, close_all, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

static void on_nobody(uv_stream_t* listener, int status) {
  (void)listener;
  (void)status;
}

static void test_what_is_not_connected_is_not_taken(void** state) {
  struct sockaddr_in addr;
  static uv_tcp_t tcp, listener;
  static uv_pipe_t pipe;
  (void)state;
  uv_tcp_init(test_loop, &tcp);
  refuse(&tcp, UV_ENOTCONN);
  uv_pipe_init(test_loop, &pipe, 0);
  refuse(&pipe, UV_ENOTCONN);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uv_tcp_bind(&tcp, (struct sockaddr*)&addr, 0), 0);
  refuse(&tcp, UV_ENOTCONN);
  uv_tcp_init(test_loop, &listener);
  assert_int_equal(uv_tcp_bind(&listener, (struct sockaddr*)&addr, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t*)&listener, 1, on_nobody), 0);
  refuse(&listener, UV_EBUSY);
  uv_walk(test_loop, close_all, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

static void test_closing_streams_and_other_loops_are_wrong(void** state) {
  static uv_loop_t other;
  static uv_tcp_t foreign;
  (void)state;
  make_pair(0);
  uv_close((uv_handle_t*)&near, NULL);
  refuse(&near, UV_EINVAL);
  uv_close((uv_handle_t*)&far, NULL);
  uv_loop_init(&other);
  uv_tcp_init(&other, &foreign);
  refuse(&foreign, UV_EINVAL);
  uv_close((uv_handle_t*)&foreign, NULL);
  uv_run(&other, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&other), 0);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* ---- streams with something under way ---- */

static bool told; /* the test's own callback has come */

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  static char bytes[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)buf;
  assert_ptr_equal(stream->data, &mark);
  assert_int_equal(n, 2);
  told = true;
}

static void on_read_away(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)stream;
  (void)buf;
  assert_true(n >= 0);
}

static void on_written(uv_write_t* write, int status) {
  assert_int_equal(status, 0);
  assert_ptr_equal(write->handle->data, &mark);
  told = true;
}

static void on_shutdown(uv_shutdown_t* shutdown, int status) {
  assert_int_equal(status, 0);
  assert_ptr_equal(shutdown->handle->data, &mark);
  told = true;
}

static void test_a_stream_that_is_read_is_busy(void** state) {
  uv_buf_t buf = uv_buf_init("hi", 2);
  (void)state;
  told = false;
  make_pair(0);
  assert_int_equal(uv_read_start((uv_stream_t*)&near, on_alloc, on_read), 0);
  refuse(&near, UV_EBUSY);
  assert_int_equal(uv_try_write((uv_stream_t*)&far, &buf, 1), 2);
  test_run_until(&told);
  refuse(&near, UV_EBUSY);
  uv_walk(test_loop, close_all, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

static void write_and_refuse(size_t len) {
  static char bytes[8 << 20];
  static uv_write_t write;
  uv_buf_t buf = uv_buf_init(bytes, (unsigned)len);
  told = false;
  make_pair(0);
  assert_int_equal(uv_write(&write, (uv_stream_t*)&near, &buf, 1, on_written),
                   0);
  refuse(&near, UV_EBUSY);
  uv_read_start((uv_stream_t*)&far, on_alloc, on_read_away);
  test_run_until(&told);
  uv_close((uv_handle_t*)&near, NULL);
  uv_close((uv_handle_t*)&far, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* The kernel does not take so much before some of it is read. */
static void test_a_stream_that_is_written_to_is_busy(void** state) {
  (void)state;
  write_and_refuse(8 << 20);
}

/* It took these at once, but the callback, which will look at the stream, is
 * still to come. */
static void test_a_stream_that_is_shut_down_is_not_taken(void** state) {
  static uv_shutdown_t shutdown;
  (void)state;
  told = false;
  make_pair(0);
  assert_int_equal(uv_shutdown(&shutdown, (uv_stream_t*)&near, on_shutdown), 0);
  refuse(&near, UV_ENOTCONN);
  test_run_until(&told);
  refuse(&near, UV_ENOTCONN);
  uv_close((uv_handle_t*)&near, NULL);
  uv_close((uv_handle_t*)&far, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* ---- arguments ---- */

static uv_pipe_t stream; /* the test's; raw has the other end */
static char in[1024];
static size_t in_len;
static size_t in_wanted;
static bool has;

static void on_some_alloc(uv_handle_t* handle, size_t suggested,
                          uv_buf_t* buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(in + in_len, (unsigned)(in_wanted - in_len));
}

static void on_some(uv_stream_t* handle, ssize_t n, const uv_buf_t* buf) {
  (void)buf;
  assert_true(n >= 0);
  in_len += (size_t)n;
  has = in_len == in_wanted;
  if (has) uv_read_stop(handle);
}

/* The test's own reading goes on as if nothing had been tried. */
static void read_some(size_t n) {
  has = false;
  in_wanted = in_len + n;
  assert_int_equal(uv_read_start((uv_stream_t*)&stream, on_some_alloc, on_some),
                   0);
  test_run_until(&has);
}

static void raw_connect(void) {
  uv_pipe_init(test_loop, &stream, 0);
  assert_int_equal(uv_pipe_open(&stream, dial(PIPE, "", 0)), 0);
  stream.data = &mark;
  in_len = 0;
}

static void refuse_options(const uvws_adopt_options_t* wrong, int status) {
  uv_stream_t* it = (uv_stream_t*)&stream;
  uv_os_fd_t fd;
  assert_int_equal(uvws_adopt(&peer.ws, it, in, in_len, wrong), status);
  check_nothing_happened(it);
  assert_int_equal(uv_fileno((uv_handle_t*)it, &fd), 0);
  int copy = dup(fd);
  assert_int_equal(uvws_adopt_fd(&peer.ws, copy, in, in_len, wrong), status);
  check_nothing_happened(it);
  assert_int_equal(close(copy), 0);
}

static void try_wrong_options(void) {
  static const char* const twice[] = {"a", "a"};
  static const uvws_header_t header = {"Host", "b"};
  uvws_adopt_options_t wrong = adopt_options;
  uvws_options_t inner = options;
  refuse_options(NULL, UV_EINVAL);
  wrong.size = 0;
  refuse_options(&wrong, UV_EINVAL);
  wrong = adopt_options;
  wrong.role = UVWS_ROLE_CLIENT;
  refuse_options(&wrong, UV_EINVAL);
  wrong.url = "ws://a/#b";
  refuse_options(&wrong, UVWS_ESYNTAX);
  wrong.url = "ws://a:25/";
  refuse_options(&wrong, UVWS_ESECURITY);
  wrong.url = "ws://a/";
  wrong.options = &inner;
  inner.size = 0;
  refuse_options(&wrong, UV_EINVAL);
  inner = options;
  inner.headers = &header;
  inner.n_headers = 1;
  refuse_options(&wrong, UV_EINVAL);
  wrong.role = UVWS_ROLE_SERVER;
  refuse_options(&wrong, UV_EINVAL);
  inner = options;
  inner.protocols = twice;
  inner.n_protocols = 2;
  refuse_options(&wrong, UVWS_ESYNTAX);
}

static void try_without_certificate(void) {
  uvws_adopt_options_t wrong = adopt_options;
  uvws_options_t inner = options;
  uvws_tls_options_t from;
  uvws_tls_t* tls;
  uvws_tls_options_init(&from);
  assert_int_equal(uvws_tls_new(&tls, &from, NULL, 0), 0);
  wrong.options = &inner;
  inner.tls = tls;
  refuse_options(&wrong, UV_EINVAL);
  uvws_tls_unref(tls);
}

static void try_without_head(void) {
  uv_stream_t* it = (uv_stream_t*)&stream;
  assert_int_equal(uvws_adopt(&peer.ws, it, NULL, 3, &adopt_options),
                   UV_EINVAL);
  assert_int_equal(uvws_server_adopt(&server.server, it, NULL, 3, on_release),
                   UV_EINVAL);
  check_nothing_happened(it);
}

static void test_wrong_arguments_leave_the_stream(void** state) {
  uint8_t frame[16];
  const uint8_t* payload;
  size_t len;
  (void)state;
  raw_connect();
  raw_send(&raw, REQUEST "\r\n", strlen(REQUEST "\r\n"));
  raw_send(&raw, frame, make_frame(frame, 0x81, "hi", 2, true));
  for (int i = 0; i < 3; i++) {
    try_wrong_options();
    try_without_certificate();
    try_without_head();
    read_some(10);
  }
  server.echo = true;
  assert_int_equal(uvws_server_adopt(&server.server, (uv_stream_t*)&stream, in,
                                     in_len, on_release),
                   0);
  while (raw_frame(&raw, 0, &payload, &len) < 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(len, 2);
  uvws_server_close(&server.server, 0);
  test_run();
  assert_int_equal(released, 1);
  assert_string_equal(server.peers[0].log, "open text(hi) close(1006)");
}

static void test_a_socket_in_use_takes_no_other(void** state) {
  (void)state;
  raw_connect();
  make_pair(0);
  assert_int_equal(
      uvws_adopt(&peer.ws, (uv_stream_t*)&stream, NULL, 0, &adopt_options), 0);
  assert_int_equal(
      uvws_adopt(&peer.ws, (uv_stream_t*)&near, NULL, 0, &adopt_options),
      UV_EALREADY);
  assert_ptr_equal(near.data, &mark);
  assert_int_equal(uvws_owns((uv_handle_t*)&near), 0);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CONNECTING);
  raw_send(&raw, REQUEST "\r\n", strlen(REQUEST "\r\n"));
  test_run_until(&peer.opened);
  uvws_terminate(&peer.ws);
  test_run_until(&peer.closed);
  assert_string_equal(peer.log, "open close(1006)");
  assert_int_equal(released, 1);
}

/* With bytes that were read the library does not read the stream at once. */
static void test_a_stream_is_not_taken_twice(void** state) {
  (void)state;
  for (size_t n = 0; n < 2; n++) {
    raw_connect();
    uv_stream_t* it = (uv_stream_t*)&stream;
    released = 0;
    assert_int_equal(uvws_server_adopt(&server.server, it, "G", n, on_release),
                     0);
    assert_int_equal(uvws_server_adopt(&server.server, it, "G", n, on_release),
                     UV_EBUSY);
    assert_int_equal(uvws_adopt(&peer.ws, it, "G", n, &adopt_options),
                     UV_EBUSY);
    raw_send(&raw, &(REQUEST "\r\n")[n], strlen(REQUEST "\r\n") - n);
    test_run_until(&raw.upgraded);
    raw_close(&raw);
    while (released == 0) uv_run(test_loop, UV_RUN_ONCE);
    assert_int_equal(released, 1);
  }
  assert_string_equal(server.peers[1].log, "open error(EOF) close(1006)");
}

static void test_a_full_server_takes_no_more(void** state) {
  uvws_server_options_t with;
  server_t full;
  uv_os_fd_t fd;
  (void)state;
  uvws_server_options_init(&with);
  with.max_connections = 1;
  server_start(&full, &with);
  raw_connect();
  make_pair(0);
  uv_stream_t* it = (uv_stream_t*)&near;
  assert_int_equal(uvws_server_adopt(&full.server, (uv_stream_t*)&stream, NULL,
                                     0, on_release),
                   0);
  for (int i = 0; i < 2; i++) {
    int status = i == 0 ? UV_ENOBUFS : UV_ECANCELED;
    assert_int_equal(uvws_server_adopt(&full.server, it, NULL, 0, on_release),
                     status);
    assert_ptr_equal(near.data, &mark);
    assert_int_equal(uvws_owns((uv_handle_t*)it), 0);
    assert_int_equal(uv_fileno((uv_handle_t*)it, &fd), 0);
    int copy = dup(fd);
    assert_int_equal(uvws_server_adopt_fd(&full.server, copy, NULL, 0), status);
    assert_int_equal(close(copy), 0);
    if (i == 0) uvws_server_close(&full.server, 1000);
  }
  test_run_until(&full.closed);
  assert_int_equal(released, 1);
}

/* ---- descriptors ---- */

static void refuse_fd(int fd, int status) {
  assert_true(fd >= 0);
  assert_int_equal(uvws_server_adopt_fd(&server.server, fd, "GET", 3), status);
  assert_int_equal(uvws_adopt_fd(&peer.ws, fd, "GET", 3, &adopt_options),
                   status);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CLOSED);
  assert_string_equal(peer.log, "");
  /* What failed is closed in the loop, and the descriptor is not. */
  uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(uvws_server_connections(&server.server), 0);
  assert_int_not_equal(fcntl(fd, F_GETFD), -1);
}

static void test_other_descriptors_are_not_taken(void** state) {
  static const struct {
    int domain;
    int type;
    int status;
  } sockets[] = {
      {AF_INET, SOCK_STREAM, UV_ENOTCONN},
      {AF_UNIX, SOCK_STREAM, UV_ENOTCONN},
      {AF_INET, SOCK_DGRAM, UV_ENOTSUP},
      {AF_UNIX, SOCK_DGRAM, UV_ENOTSUP},
  };
  int fds[2];
  (void)state;
  for (size_t i = 0; i < COUNT_OF(sockets); i++) {
    int fd = socket(sockets[i].domain, sockets[i].type, 0);
    refuse_fd(fd, sockets[i].status);
    close(fd);
  }
  assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
  refuse_fd(fds[0], UV_ENOTSUP);
  close(fds[0]);
  close(fds[1]);
  int null = open("/dev/null", O_RDWR);
  refuse_fd(null, UV_ENOTSUP);
  close(null);
}

static void test_a_descriptor_that_the_loop_has_is_not_taken(void** state) {
  static uv_tcp_t tcp;
  uv_os_fd_t fd;
  (void)state;
  make_pair(0);
  assert_int_equal(uv_fileno((uv_handle_t*)&near, &fd), 0);
  uv_read_start((uv_stream_t*)&near, on_alloc, on_read);
  refuse_fd(fd, UV_EEXIST);
  int client = dial(TCP, "", 0);
  uv_tcp_init(test_loop, &tcp);
  assert_int_equal(uv_tcp_open(&tcp, client), 0);
  uv_read_start((uv_stream_t*)&tcp, on_alloc, on_read);
  refuse_fd(client, UV_EEXIST);
  uv_walk(test_loop, close_all, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

#define TEST_REFUSED(name) \
  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_REFUSED(test_other_handles_are_not_taken),
      TEST_REFUSED(test_what_is_not_connected_is_not_taken),
      TEST_REFUSED(test_closing_streams_and_other_loops_are_wrong),
      TEST_REFUSED(test_a_stream_that_is_read_is_busy),
      TEST_REFUSED(test_a_stream_that_is_written_to_is_busy),
      TEST_REFUSED(test_a_stream_that_is_shut_down_is_not_taken),
      TEST_REFUSED(test_wrong_arguments_leave_the_stream),
      TEST_REFUSED(test_a_socket_in_use_takes_no_other),
      TEST_REFUSED(test_a_stream_is_not_taken_twice),
      TEST_REFUSED(test_a_full_server_takes_no_more),
      TEST_REFUSED(test_other_descriptors_are_not_taken),
      TEST_REFUSED(test_a_descriptor_that_the_loop_has_is_not_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
