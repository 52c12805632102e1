#include "adopt.h"

/* Streams that are given back, and writes that are lost: whatever is called
 * when the connection is closed and `close` is still to come. And what was read
 * before a stream was taken over, however its reader stops and starts. */

enum { BIG = 16 * 1000 * 1000 };

static char big[BIG];
static uvws_tls_t* certified; /* a server's; NULL without TLS */

static int setup(void** state) {
  if (test_loop_setup(state) != 0) return -1;
  memset(&server, 0, sizeof(server));
  memset(&peer, 0, sizeof(peer));
  certified = test_has_tls() ? make_certified() : NULL;
  return 0;
}

static int teardown(void** state) {
  raw_clear();
  uvws_tls_unref(certified);
  return test_loop_teardown(state);
}

/* Under TLS the raw peer has TCP only. */
static kind_t last_kind(void) {
  return test_has_tls() ? TCP : PIPE;
}

/* ---- a stream of ours that is taken over ---- */

static uv_stream_t* stream; /* NULL once it is freed */
static unsigned released;
static void (*in_release)(void);

/* Gone first of all, and looking like an open stream with bytes to write:
 * whoever still looks at it is found out. */
static void on_release(uv_stream_t* it) {
  assert_ptr_equal(it, stream);
  assert_int_equal(uvws_owns((uv_handle_t*)it), 0);
  volatile char* memory = (char*)it;
  for (size_t i = 0; i < sizeof(union uv_any_handle); i++) memory[i] = 0x54;
  free(it);
  stream = NULL;
  released++;
  if (in_release != NULL) in_release();
}

/* A socket in the server's role, whose options the test may change. */
static void socket_init(void) {
  peer_init(&peer);
  uvws_options_init(&options);
  options.tls = certified;
  uvws_adopt_options_init(&adopt_options);
  adopt_options.role = UVWS_ROLE_SERVER;
  adopt_options.options = &options;
  adopt_options.release = on_release;
  released = 0;
  in_release = NULL;
}

static void socket_adopt(const void* head, size_t len) {
  assert_int_equal(uvws_adopt(&peer.ws, stream, head, len, &adopt_options), 0);
}

/* Asked by a raw peer that hears no more than the response. */
static void socket_begin(kind_t kind) {
  stream = wrap(kind, dial(kind, REQUEST "\r\n", strlen(REQUEST "\r\n")), NULL);
  raw.then = RAW_DEAF;
  socket_adopt(NULL, 0);
}

static void raw_end(void) {
  if (raw.connected) raw_close(&raw);
  test_run_until(&raw.closed);
}

static void terminate(peer_t* it) {
  uvws_terminate(&it->ws);
}

/* ---- every call on a socket whose connection is closed ---- */

static unsigned walked;

static void must_be(uvws_t* ws, void* arg) {
  walked += ws == arg;
}

static void never_written(uvws_write_t* write, int status) {
  (void)write;
  (void)status;
  fail();
}

static void refuse_all(uvws_t* ws) {
  uvws_blob_t* blob = uvws_blob_new("x", 1);
  uv_buf_t buf = uv_buf_init("x", 1);
  uvws_write_t write;
  int status = 0;
  assert_int_equal(uvws_send(ws, "x", 1, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_send_blob(ws, blob, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_write(&write, ws, &buf, 1, UVWS_TEXT, never_written),
                   UV_ESHUTDOWN);
  assert_int_equal(uvws_broadcast(&ws, 1, blob, UVWS_TEXT, &status), 0);
  assert_int_equal(status, UV_ESHUTDOWN);
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_ping(ws, NULL, 0), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_connect(ws, "ws://127.0.0.1/", NULL), UV_EALREADY);
  uvws_blob_unref(blob);
}

static void ask_all(uvws_t* ws) {
  struct sockaddr_storage name;
  struct sockaddr* to = (struct sockaddr*)&name;
  int len = sizeof(name);
  uvws_stats_t stats;
  uvws_tls_info_t info;
  assert_int_equal(uvws_ready_state(ws), UVWS_CLOSING);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_int_equal(uvws_getpeername(ws, to, &len), UV_ENOTCONN);
  assert_int_equal(uvws_getsockname(ws, to, &len), UV_ENOTCONN);
  assert_int_equal(uvws_needs_drain(ws), 0);
  uvws_stats(ws, &stats);
  assert_int_equal(stats.queue_size, 0);
  uvws_loop_stats(test_loop, &stats);
  assert_int_equal(stats.queue_size, 0);
  assert_true(stats.sockets > 0);
  uvws_tls_info(ws, &info);
  walked = 0;
  uvws_walk(test_loop, must_be, ws);
  assert_int_equal(walked, 1);
}

static void call_all(uvws_t* ws, uint64_t amount) {
  for (int i = 0; i < 2; i++) {
    ask_all(ws);
    assert_int_equal(uvws_buffered_amount(ws), amount);
    uvws_unref(ws);
    assert_int_equal(uvws_has_ref(ws), 0);
    uvws_ref(ws);
    uvws_flush(ws);
    uvws_send_resume(ws);
    assert_int_equal(uvws_read_stop(ws), 0);
    assert_int_equal(uvws_read_start(ws), 0);
    uvws_terminate(ws);
    assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  }
  refuse_all(ws);
  /* As on the web, what is refused counts: of four sends a byte each. */
  assert_int_equal(uvws_buffered_amount(ws), amount + 4);
}

/* ---- inside `release` ---- */

static void call_all_in_release(void) {
  assert_false(peer.closed);
  call_all(&peer.ws, 0);
}

static void test_every_call_may_be_made_in_release(void** state) {
  static void (*const ends[])(peer_t*) = {terminate, peer_close};
  (void)state;
  for (kind_t kind = TCP; kind <= last_kind(); kind++)
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
      socket_init();
      in_release = call_all_in_release;
      peer.on_open = ends[i];
      options.close_timeout = 20;
      socket_begin(kind);
      test_run_until(&peer.closed);
      assert_int_equal(released, 1);
      assert_string_equal(peer.log, i == 0 ? "open close(1006)"
                                           : "open error(UVWS_ETIMEOUT) "
                                             "close(1006)");
      raw_end();
    }
}

/* The socket is not opened yet. */
static void test_every_call_may_be_made_in_an_early_release(void** state) {
  (void)state;
  for (kind_t kind = TCP; kind <= last_kind(); kind++) {
    socket_init();
    in_release = call_all_in_release;
    stream = wrap(kind, dial(kind, "GET", 3), NULL);
    socket_adopt(test_has_tls() ? NULL : "HEAD", test_has_tls() ? 0 : 4);
    uvws_terminate(&peer.ws);
    test_run_until(&peer.closed);
    assert_int_equal(released, 1);
    assert_string_equal(peer.log, "close(1006)");
    test_run_until(&raw.connected);
    raw_end();
  }
}

/* The memory of one stream becomes the next. */

static void keep_and_adopt_again(uv_stream_t* it) {
  uv_os_sock_t fds[2];
  released++;
  if (released > 3) {
    free(it);
    return;
  }
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  close(fds[1]);
  uv_stream_t* next = wrap(PIPE, fds[0], it);
  assert_int_equal(
      uvws_server_adopt(&server.server, next, NULL, 0, keep_and_adopt_again),
      0);
  assert_int_equal(uvws_owns((uv_handle_t*)next), 1);
}

static void test_memory_may_be_used_again_in_release(void** state) {
  uv_os_sock_t fds[2];
  (void)state;
  server_start(&server, NULL);
  released = 0;
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  close(fds[1]);
  assert_int_equal(uvws_server_adopt(&server.server, wrap(PIPE, fds[0], NULL),
                                     NULL, 0, keep_and_adopt_again),
                   0);
  while (released < 4) uv_run(test_loop, UV_RUN_ONCE);
  uvws_server_close(&server.server, 0);
  test_run();
  assert_string_equal(server.log, "close");
}

/* ---- the server may be closed inside ---- */

static uint32_t deadline_inside;
static bool is_asked;

static void close_server_in_release(void) {
  uvws_blob_t* blob = uvws_blob_new("x", 1);
  assert_false(server.closed);
  assert_true(uvws_server_connections(&server.server) > 0);
  uvws_server_memory(&server.server);
  uvws_server_broadcast(&server.server, blob, UVWS_TEXT, NULL);
  uvws_server_unref(&server.server);
  uvws_server_ref(&server.server);
  for (int i = 0; i < 2; i++)
    uvws_server_close(&server.server, deadline_inside);
  uvws_blob_unref(blob);
}

static void leave_undecided(server_t* to, uvws_request_t* request) {
  (void)to;
  (void)request;
  is_asked = true;
}

static void leave(void) {
  raw_reset(&raw);
}

static void hang_up(void) {
  raw_shutdown(&raw);
}

static void terminate_accepted(void) {
  uvws_terminate(&server.peers[1].ws);
}

static void close_already(void) {
  uvws_server_close(&server.server, 20000);
}

static const struct closing {
  const char* request;
  bool is_kept;
  void (*end)(void); /* NULL: it ends by itself */
  const char* log;   /* of the server, behind the other one's request */
} closings[] = {
    {"GET", false, leave, "close"},
    {"GET", false, hang_up, "close"},
    {"GET", false, close_already, "close"},
    {"hello\r\n\r\n", false, NULL, "close"},
    {REQUEST "\r\n", true, leave, "request(/chat?x) abort(ECONNRESET) close"},
    {REQUEST "\r\n", true, hang_up, "request(/chat?x) abort(EOF) close"},
    {REQUEST "\r\n", true, close_already,
     "request(/chat?x) abort(ECANCELED) close"},
    {REQUEST "\r\n", false, terminate_accepted, "request(/chat?x) close"},
    {REQUEST "\r\n", false, leave, "request(/chat?x) close"},
};

/* There is one more socket, which has to end as well. */
static void server_close_in_release(kind_t kind, const struct closing* it) {
  peer_t other;
  server_start(&server, NULL);
  peer_init(&other);
  peer_connect(&other, server.port, NULL);
  test_run_until(&other.opened);
  is_asked = false;
  if (it->is_kept) server.on_request = leave_undecided;
  released = 0;
  in_release = close_server_in_release;
  stream = wrap(kind, dial(kind, it->request, strlen(it->request)), NULL);
  assert_int_equal(
      uvws_server_adopt(&server.server, stream, NULL, 0, on_release), 0);
  test_run_until(test_has_tls() ? &raw.is_secure : &raw.connected);
  if (it->is_kept) test_run_until(&is_asked);
  if (it->end == terminate_accepted || it->end == leave)
    while (strlen(it->request) > 20 && !it->is_kept && !raw.upgraded)
      uv_run(test_loop, UV_RUN_ONCE);
  turns(3);
  if (it->end != NULL) it->end();
  test_run();
  assert_int_equal(released, 1);
  assert_memory_equal(server.log, "request(/) ", 11);
  assert_string_equal(server.log + 11, it->log);
  assert_true(other.closed);
}

static void test_a_server_may_be_closed_in_release(void** state) {
  (void)state;
  for (kind_t kind = TCP; kind <= last_kind(); kind++)
    for (size_t i = 0; i < 2 * COUNT_OF(closings); i++) {
      const struct closing* it = &closings[i / 2];
      /* A raw peer of a pipe cannot reset it. */
      if (kind == PIPE && it->end == leave) continue;
      deadline_inside = i % 2 == 0 ? 0 : 20000;
      server_close_in_release(kind, it);
    }
}

/* ---- inside the callbacks of writes that are lost ---- */

enum { N_WRITES = 3 };

static struct {
  uvws_write_t requests[N_WRITES];
  unsigned n_called;
  uint64_t amount; /* before the end */
  bool is_adopted;
  bool is_at_once; /* ended in the turn in which they were made */
} lost;

static void on_lost(uvws_write_t* write, int status) {
  assert_ptr_equal(write, &lost.requests[lost.n_called]);
  assert_int_equal(status, UV_ECANCELED);
  assert_int_equal(uvws_ready_state(write->ws), UVWS_CLOSING);
  if (lost.is_adopted) assert_int_equal(released, 1);
  /* What the kernel took in this turn was not counted at the end. */
  uint64_t amount = uvws_buffered_amount(write->ws);
  if (lost.is_at_once)
    assert_true(amount > 0 && amount <= lost.amount);
  else
    assert_int_equal(amount, lost.amount);
  call_all(write->ws, amount);
  lost.amount = uvws_buffered_amount(write->ws);
  lost.is_at_once = false;
  lost.n_called++;
}

static void write_all(peer_t* it) {
  uv_buf_t buf = uv_buf_init(big, BIG);
  lost.n_called = 0;
  for (int i = 0; i < N_WRITES; i++)
    assert_int_equal(
        uvws_write(&lost.requests[i], &it->ws, &buf, 1, UVWS_BINARY, on_lost),
        0);
  lost.amount = uvws_buffered_amount(&it->ws);
}

static void write_and_terminate(peer_t* it) {
  write_all(it);
  uvws_terminate(&it->ws);
}

/* Now, or when the kernel has taken what it takes at first. */
static void lose(peer_t* it) {
  if (!lost.is_at_once) {
    while (!it->opened || !raw.upgraded) uv_run(test_loop, UV_RUN_ONCE);
    turns(10);
    lost.amount = uvws_buffered_amount(&it->ws);
    assert_true(uvws_queue_size(&it->ws) > 0);
    uvws_terminate(&it->ws);
  }
  test_run_until(&it->closed);
  assert_string_equal(it->log, "open close(1006)");
  assert_int_equal(lost.n_called, N_WRITES);
  assert_int_equal(uvws_buffered_amount(&it->ws), lost.amount);
  assert_int_equal(uvws_queue_size(&it->ws), 0);
  raw_end();
}

static void lose_by(peer_t* it, int at_once) {
  memset(&lost, 0, sizeof(lost));
  lost.is_at_once = at_once == 1;
  it->on_open = lost.is_at_once ? write_and_terminate : write_all;
}

static void test_lost_writes_of_an_adopted_socket(void** state) {
  (void)state;
  for (kind_t kind = TCP; kind <= last_kind(); kind++)
    for (int at_once = 0; at_once < 2; at_once++) {
      socket_init();
      lose_by(&peer, at_once);
      lost.is_adopted = true;
      socket_begin(kind);
      lose(&peer);
    }
}

static void test_lost_writes_of_a_client(void** state) {
  (void)state;
  for (int at_once = 0; at_once < 2; at_once++) {
    raw_clear();
    raw.then = RAW_DEAF;
    raw_serve(&raw);
    peer_init(&peer);
    lose_by(&peer, at_once);
    peer_connect(&peer, raw.port, NULL);
    lose(&peer);
  }
}

static int next_at_once;

static void lose_accepted(server_t* to, peer_t* it) {
  (void)to;
  lose_by(it, next_at_once);
}

static void test_lost_writes_of_an_accepted_socket(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.on_accept = lose_accepted;
  for (next_at_once = 0; next_at_once < 2; next_at_once++) {
    server.accepted = 0;
    memset(&server.peers[0], 0, sizeof(server.peers[0]));
    raw_clear();
    raw.then = RAW_DEAF;
    raw_dial(&raw, server.port);
    while (server.accepted == 0) uv_run(test_loop, UV_RUN_ONCE);
    lose(&server.peers[0]);
  }
  uvws_server_close(&server.server, 0);
  test_run();
}

/* ---- bytes that were read before, and a reader who stops ---- */

static uint8_t head[400 * 1000];
static size_t head_len;

static void overflow(peer_t* it, const uvws_message_t* message) {
  int status = 0;
  (void)message;
  assert_int_equal(uvws_read_stop(&it->ws), 0);
  for (int n = 0; n < 1000 && status == 0; n++)
    status = uvws_send(&it->ws, big, 1000 * 1000, UVWS_BINARY);
  assert_int_equal(status, UV_ENOBUFS);
  assert_int_equal(uvws_ready_state(&it->ws), UVWS_CLOSING);
  assert_int_equal(uvws_read_stop(&it->ws), 0);
  assert_int_equal(uvws_read_start(&it->ws), 0);
}

static void head_begin(const char* text) {
  head_len = strlen(text);
  memcpy(head, text, head_len);
}

static void head_add(unsigned first_byte, const void* payload, size_t len) {
  assert_true(head_len + len + 14 < sizeof(head));
  head_len += make_frame(head + head_len, first_byte, payload, len, true);
}

/* Failing goes on to read, to wait for the end: in the midst of what had been
 * read, with more of it or without. */
static void test_an_overflow_inside_a_message_of_the_head(void** state) {
  (void)state;
  if (test_has_tls()) skip();
  for (kind_t kind = TCP; kind <= PIPE; kind++)
    for (unsigned more = 0; more < 3; more++) {
      head_begin(REQUEST "\r\n");
      head_add(0x81, "x", 1);
      if (more > 0) head_add(0x81, "y", 1);
      if (more > 1) head_add(0x82, big, 200 * 1000);
      socket_init();
      peer.on_message = overflow;
      options.high_water = 1000;
      options.low_water = 100;
      options.high_water_policy = UVWS_HIGH_WATER_CLOSE;
      stream = wrap(kind, dial(kind, "", 0), NULL);
      socket_adopt(head, head_len);
      test_run_until(&peer.closed);
      test_run_until(&raw.closed);
      assert_string_equal(peer.log, "open text(x) error(ENOBUFS) close(1006)");
      assert_int_equal(peer.status, UV_ENOBUFS);
      assert_int_equal(raw_close_code(&raw), 1008);
      assert_int_equal(released, 1);
    }
}

/* What the reader does inside each message, in turns: "s" stops, "g" goes on.
 * Whoever has stopped goes on in the next turn of the loop. */
static const char* const habits[] = {
    "s", "s g",  "sg",        "sgs",      "sgsg",
    "g", "gs g", "sg s sgs ", "sgsgs sg", "  s  sg sgs"};

enum { N_FRAMES = 60 }; /* two digits */

static const char* habit;
static const char* next_habit;
static peer_t* reader;

static void on_numbered(peer_t* it, const uvws_message_t* message) {
  assert_int_equal(strtoul(message->data, NULL, 10), it->messages - 1);
  for (; *next_habit != '\0' && *next_habit != ' '; next_habit++)
    assert_int_equal(
        *next_habit == 's' ? uvws_read_stop(&it->ws) : uvws_read_start(&it->ws),
        0);
  next_habit = *next_habit == '\0' ? habit : next_habit + 1;
}

static void go_on(uv_prepare_t* prepare) {
  (void)prepare;
  if (reader != NULL && uvws_ready_state(&reader->ws) == UVWS_OPEN)
    assert_int_equal(uvws_read_start(&reader->ws), 0);
}

/* Small ones, and some that the loop's buffer has no room for. */
static void make_numbered(const char* text) {
  static char payload[90 * 1000];
  head_begin(text);
  memset(payload, '.', sizeof(payload));
  for (unsigned i = 0; i < N_FRAMES; i++) {
    payload[0] = (char)('0' + i / 10);
    payload[1] = (char)('0' + i % 10);
    head_add(0x82, payload, i % 20 == 19 ? sizeof(payload) : 10 + i * i);
  }
  head_add(0x88, "\x03\xe8", 2);
}

static void set_reader(server_t* to, peer_t* it) {
  (void)to;
  it->on_message = on_numbered;
  reader = it;
}

static bool adopts_by_server;

static void adopt_numbered(kind_t kind, size_t n) {
  server.accepted = 0;
  socket_init();
  reader = NULL;
  next_habit = habit;
  options.max_message = 1000 * 1000;
  stream = wrap(kind, dial(kind, head + n, head_len - n), NULL);
  if (adopts_by_server) {
    assert_int_equal(
        uvws_server_adopt(&server.server, stream, head, n, on_release), 0);
  } else {
    set_reader(&server, &peer);
    socket_adopt(head, n);
  }
  test_run_until(&raw.closed);
  while (released == 0 || !reader->closed) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(reader->messages, N_FRAMES);
  assert_non_null(strstr(reader->log, " close(1000 clean)"));
  assert_null(strstr(reader->log, "error"));
}

/* However much was read, each message comes once, and in its place. */
static void test_a_reader_may_stop_and_start(void** state) {
  uv_prepare_t prepare;
  (void)state;
  if (test_has_tls()) skip();
  server_start(&server, NULL);
  server.on_accept = set_reader;
  uv_prepare_init(test_loop, &prepare);
  uv_prepare_start(&prepare, go_on);
  uv_unref((uv_handle_t*)&prepare);
  make_numbered(REQUEST "\r\n");
  const size_t begun = strlen(REQUEST "\r\n");
  const size_t parts[] = {0,           begun - 1, begun,        begun + 1,
                          begun + 100, 70 * 1000, head_len / 2, head_len - 1,
                          head_len};
  for (size_t i = 0; i < COUNT_OF(habits); i++)
    for (size_t k = 0; k < 4 * COUNT_OF(parts); k++) {
      habit = habits[i];
      adopts_by_server = k % 2 == 1;
      adopt_numbered(k % 4 < 2 ? TCP : PIPE, parts[k / 4]);
    }
  uv_close((uv_handle_t*)&prepare, NULL);
  uvws_server_close(&server.server, 0);
  test_run();
}

/* ---- whose handle it is ---- */

typedef struct look_s {
  const void* handle; /* kept beyond its `release` */
  unsigned n_seen;    /* by uv_walk() */
} look_t;

static look_t look;

static void look_at(uv_handle_t* handle, void* arg) {
  (void)arg;
  if (handle == look.handle) {
    assert_int_equal(uvws_owns(handle), released == 0);
    look.n_seen++;
  }
}

static void on_look(uv_prepare_t* prepare) {
  (void)prepare;
  uv_walk(test_loop, look_at, NULL);
  assert_int_equal(uvws_owns(look.handle), released == 0);
}

static void check_owned(peer_t* it) {
  (void)it;
  assert_int_equal(uvws_owns(look.handle), 1);
}

static void check_owned_in_message(peer_t* it, const uvws_message_t* message) {
  (void)message;
  check_owned(it);
}

static void check_not_owned(peer_t* it, const uvws_close_event_t* event) {
  (void)it;
  (void)event;
  assert_int_equal(released, 1);
  assert_int_equal(uvws_owns(look.handle), 0);
}

static void on_kept_release(uv_stream_t* it) {
  assert_ptr_equal(it, look.handle);
  assert_int_equal(uvws_owns(look.handle), 0);
  released++;
  assert_int_equal(uvws_owns(look.handle), 0);
}

static void check_owned_until_the_end(peer_t* it) {
  it->on_open = it->on_error = check_owned;
  it->on_message = check_owned_in_message;
  it->on_close = check_not_owned;
}

static void check_accepted(server_t* to, peer_t* it) {
  (void)to;
  check_owned_until_the_end(it);
}

static void test_a_handle_is_ours_until_it_is_released(void** state) {
  static uint8_t bytes[1024];
  uv_prepare_t prepare;
  (void)state;
  size_t len = strlen(REQUEST "\r\n");
  memcpy(bytes, REQUEST "\r\n", len);
  len += make_frame(bytes + len, 0x81, "hi", 2, true);
  len += make_frame(bytes + len, 0x88, "\x03\xe8", 2, true);
  server_start(&server, NULL);
  server.on_accept = check_accepted;
  for (kind_t kind = TCP; kind <= last_kind(); kind++)
    for (int by_server = 0; by_server < 2; by_server++) {
      union uv_any_handle memory;
      server.accepted = 0;
      socket_init();
      adopt_options.release = on_kept_release;
      check_owned_until_the_end(&peer);
      look = (look_t){wrap(kind, dial(kind, bytes, len), &memory), 0};
      stream = &memory.stream;
      assert_int_equal(uvws_owns(look.handle), 0);
      if (by_server)
        assert_int_equal(
            uvws_server_adopt(&server.server, stream, NULL, 0, on_kept_release),
            0);
      else
        socket_adopt(NULL, 0);
      assert_int_equal(uvws_owns(look.handle), 1);
      uv_prepare_init(test_loop, &prepare);
      uv_prepare_start(&prepare, on_look);
      test_run_until(&raw.closed);
      while (released == 0) uv_run(test_loop, UV_RUN_ONCE);
      const peer_t* it = by_server ? &server.peers[0] : &peer;
      while (!it->closed) uv_run(test_loop, UV_RUN_ONCE);
      assert_string_equal(it->log, "open text(hi) close(1000 clean)");
      assert_true(look.n_seen > 0);
      uv_close((uv_handle_t*)&prepare, NULL);
      turns(1);
      assert_int_equal(uvws_owns(look.handle), 0);
    }
  uvws_server_close(&server.server, 0);
  test_run();
}

/* ---- a server's end has no response ---- */

static void check_no_response(peer_t* it) {
  uvws_header_t header = {NULL, NULL};
  assert_null(uvws_response_header(&it->ws, "Host"));
  assert_null(uvws_response_header(&it->ws, "Upgrade"));
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(uvws_response_header_at(&it->ws, i, &header), UV_ENOENT);
  assert_null(header.name);
}

static void check_no_response_in_open(peer_t* it) {
  check_no_response(it);
  peer_close(it);
}

static void check_no_response_in_close(peer_t* it,
                                       const uvws_close_event_t* event) {
  (void)event;
  check_no_response(it);
}

static void serve(const char* request, size_t n) {
  peer.on_open = check_no_response_in_open;
  peer.on_error = check_no_response;
  peer.on_close = check_no_response_in_close;
  stream = wrap(TCP, dial(TCP, request, strlen(request)), NULL);
  socket_adopt(n == 0 ? NULL : request, n);
  check_no_response(&peer);
}

/* What the client has asked is no answer. */
static void test_the_request_is_no_response(void** state) {
  static uint8_t frame[16];
  (void)state;
  size_t len = make_frame(frame, 0x88, "\x03\xe8", 2, true);
  socket_init();
  serve(REQUEST "Cookie: secret\r\n\r\n", 0);
  test_run_until(&raw.upgraded);
  raw_send(&raw, frame, len);
  test_run_until(&peer.closed);
  assert_string_equal(peer.log, "open close(1000 clean)");
  raw_end();

  socket_init();
  serve("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
  test_run_until(&peer.closed);
  assert_string_equal(peer.log, "error(UVWS_EUPGRADE) close(1006)");
  raw_end();
}

/* RFC 9110, 9.3.2 */
static void test_the_refusal_of_head_has_no_body(void** state) {
  (void)state;
  socket_init();
  serve("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
  test_run_until(&peer.closed);
  assert_string_equal(peer.log, "error(UVWS_EUPGRADE) close(1006)");
  raw_end();
  assert_memory_equal(raw.in, "HTTP/1.1 405 ", 13);
  assert_non_null(strstr(raw.in, "\r\nContent-Length: "));
  assert_string_equal(strstr(raw.in, "\r\n\r\n"), "\r\n\r\n");
}

/* Nothing was asked, or not all. */
static void test_a_client_that_does_not_ask_gets_408(void** state) {
  static const char* const requests[] = {"", "G", "GET / HTTP/1.1\r\nHost: a"};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(requests); i++) {
    socket_init();
    options.handshake_timeout = test_handshake_ms(40);
    serve(requests[i], 0);
    test_run_until(&peer.closed);
    assert_string_equal(peer.log, "error(UVWS_ETIMEOUT) close(1006)");
    assert_int_equal(released, 1);
    raw_end();
    assert_memory_equal(raw.in, "HTTP/1.1 408 ", 13);
    assert_true(raw.saw_eof);
  }
}

#define TEST_RELEASE(name) \
  cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_RELEASE(test_every_call_may_be_made_in_release),
      TEST_RELEASE(test_every_call_may_be_made_in_an_early_release),
      TEST_RELEASE(test_memory_may_be_used_again_in_release),
      TEST_RELEASE(test_a_server_may_be_closed_in_release),
      TEST_RELEASE(test_lost_writes_of_an_adopted_socket),
      TEST_RELEASE(test_lost_writes_of_a_client),
      TEST_RELEASE(test_lost_writes_of_an_accepted_socket),
      TEST_RELEASE(test_an_overflow_inside_a_message_of_the_head),
      TEST_RELEASE(test_a_reader_may_stop_and_start),
      TEST_RELEASE(test_a_handle_is_ours_until_it_is_released),
      TEST_RELEASE(test_the_request_is_no_response),
      TEST_RELEASE(test_the_refusal_of_head_has_no_body),
      TEST_RELEASE(test_a_client_that_does_not_ask_gets_408),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
