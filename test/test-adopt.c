#include "adopt.h"

#include <stdio.h>
#include <stdlib.h>

/* Streams and descriptors that somebody else has opened, and read a part of:
 * wherever he stopped, the WebSocket is the same as without him, and in the end
 * he has his stream back. test-adopt-errors.c has what is not taken over. */

#define ANSWER                                                            \
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"            \
  "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+" \
  "xOo=\r\n\r\n"
#define ECHOED "open text(one) text(two) close(1000 clean)"

/* What raw_close() expects of a server. */
static void raw_be_server(void) {
  raw.is_server = true;
  uv_tcp_init(test_loop, &raw.listener);
}

/* The other end of a raw server that says FIN behind its answer. */
static uv_os_sock_t serve(kind_t kind, const char* head, const void* bytes,
                          size_t len) {
  struct sockaddr_in addr;
  uv_os_sock_t fds[2];
  raw_clear();
  raw.head = head;
  raw.bytes = bytes;
  raw.len = len;
  raw.then = RAW_FIN;
  if (kind == TCP) {
    raw_serve(&raw);
    uv_ip4_addr("127.0.0.1", raw.port, &addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr*)&addr, sizeof(addr)), 0);
    return fd;
  }
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  raw_be_server();
  raw_open(fds[1]);
  return fds[0];
}

/* ---- the host: who has the other end, reads a part, then hands over ---- */

static struct {
  uv_stream_t* stream;
  char in[2048];
  size_t len;
  size_t wanted;
  void (*hand_over)(void);
  bool handed;
  unsigned released;
  bool gone; /* released, or closed by the host */
} host;

static void hand_over(void) {
  host.handed = true;
  host.hand_over();
  /* Whatever they had to be copied for. */
  memset(host.in, 0xee, sizeof(host.in));
}

static void on_host_alloc(uv_handle_t* handle, size_t suggested,
                          uv_buf_t* buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(host.in + host.len, (unsigned)(host.wanted - host.len));
}

static void on_host_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)buf;
  assert_true(n >= 0);
  host.len += (size_t)n;
  if (host.len < host.wanted) return;
  uv_read_stop(stream);
  hand_over();
}

/* Reads exactly `wanted` bytes, then calls `to`. */
static void host_start(kind_t kind, uv_os_sock_t fd, size_t wanted,
                       void (*to)(void)) {
  memset(&host, 0, sizeof(host));
  host.stream = wrap(kind, fd, NULL);
  host.stream->data = &host;
  host.wanted = wanted;
  host.hand_over = to;
  if (wanted == 0)
    hand_over();
  else
    assert_int_equal(uv_read_start(host.stream, on_host_alloc, on_host_read),
                     0);
}

/* Closed, and as it was; `close` is still to come. */
static void on_release(uv_stream_t* stream) {
  assert_ptr_equal(stream, host.stream);
  assert_ptr_equal(stream->data, &host);
  assert_true(uv_is_closing((uv_handle_t*)stream));
  assert_int_equal(uvws_owns((uv_handle_t*)stream), 0);
  assert_false(peer.closed);
  assert_false(server.peers[0].closed);
  host.released++;
  host.gone = true;
  free(stream);
}

static void on_host_closed(uv_handle_t* handle) {
  host.gone = true;
  free(handle);
}

static const void* head(void) {
  return host.len == 0 ? NULL : host.in;
}

/* A duplicate of the descriptor; the host's own stream closes. */
static uv_os_sock_t duplicate(void) {
  uv_os_fd_t fd;
  assert_int_equal(uv_fileno((uv_handle_t*)host.stream, &fd), 0);
  uv_os_sock_t copy = dup(fd);
  assert_true(copy >= 0);
  uv_close((uv_handle_t*)host.stream, on_host_closed);
  return copy;
}

static void to_server(void) {
  assert_int_equal(uvws_owns((uv_handle_t*)host.stream), 0);
  assert_int_equal(uvws_server_adopt(&server.server, host.stream, head(),
                                     host.len, on_release),
                   0);
  assert_int_equal(uvws_owns((uv_handle_t*)host.stream), 1);
  assert_int_equal(uvws_server_connections(&server.server), 1);
}

static void to_server_fd(void) {
  assert_int_equal(
      uvws_server_adopt_fd(&server.server, duplicate(), head(), host.len), 0);
}

static void to_socket(void) {
  assert_int_equal(
      uvws_adopt(&peer.ws, host.stream, head(), host.len, &adopt_options), 0);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CONNECTING);
  assert_int_equal(uvws_owns((uv_handle_t*)host.stream), 1);
}

static void to_socket_fd(void) {
  assert_int_equal(
      uvws_adopt_fd(&peer.ws, duplicate(), head(), host.len, &adopt_options),
      0);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CONNECTING);
}

/* The ways to hand over; `log` is where the socket writes its events. */
static const struct way {
  void (*to)(void);
  const char* log;
  bool is_fd;
} to_servers[] = {{to_server, server.peers[0].log, false},
                  {to_server_fd, server.peers[0].log, true}},
  to_sockets[] = {{to_socket, peer.log, false}, {to_socket_fd, peer.log, true}};

/* ---- what is adopted ---- */

static void say_back(peer_t* it, const uvws_message_t* message) {
  assert_int_equal(
      uvws_send(&it->ws, message->data, message->len, message->type), 0);
}

static uvws_tls_t* certified; /* a server's; NULL without TLS */

static int setup(void** state) {
  if (test_loop_setup(state) != 0) return -1;
  memset(&server, 0, sizeof(server));
  memset(&peer, 0, sizeof(peer));
  certified = test_has_tls() ? make_certified() : NULL;
  return 0;
}

static int teardown(void** state) {
  raw_free(&raw);
  uvws_tls_unref(certified);
  return test_loop_teardown(state);
}

/* An echo, whose options the test may change. */
static void socket_init(uvws_role_t role) {
  peer_init(&peer);
  peer.on_message = say_back;
  server.peers[0].closed = false;
  uvws_options_init(&options);
  if (role == UVWS_ROLE_SERVER) options.tls = certified;
  if (role == UVWS_ROLE_CLIENT) options = *test_options(&options);
  uvws_adopt_options_init(&adopt_options);
  adopt_options.role = role;
  adopt_options.options = &options;
  adopt_options.release = on_release;
  if (role == UVWS_ROLE_CLIENT)
    adopt_options.url =
        test_has_tls() ? "wss://example.com/chat?x" : "ws://example.com/chat?x";
}

static uint8_t script[1024];
static size_t script_len;

/* A head with two messages and a close frame right behind it. */
static void make_script(const char* text, bool mask) {
  script_len = strlen(text);
  memcpy(script, text, script_len);
  script_len += make_frame(script + script_len, 0x81, "one", 3, mask);
  script_len += make_frame(script + script_len, 0x81, "two", 3, mask);
  script_len += make_frame(script + script_len, 0x88, "\x03\xe8", 2, mask);
}

static void check_frame(unsigned index, const char* text) {
  const uint8_t* payload;
  size_t len;
  assert_int_equal(raw_frame(&raw, index, &payload, &len), 1);
  assert_int_equal(len, strlen(text));
  assert_memory_equal(payload, text, len);
}

/* Both messages went there and back, everything is closed and given back. */
static void check_echo(const struct way* way) {
  test_run_until(&raw.closed);
  test_run_until(&host.gone);
  while (uvws_server_connections(&server.server) > 0)
    uv_run(test_loop, UV_RUN_ONCE);
  while (strstr(way->log, "close") == NULL) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(way->log, ECHOED);
  assert_int_equal(host.released, way->is_fd ? 0 : 1);
  check_frame(0, "one");
  check_frame(1, "two");
  assert_int_equal(raw_close_code(&raw), 1000);
}

/* ---- a request that was read in part ---- */

static void server_begin(const uvws_server_options_t* with) {
  server_start(&server, with);
  server.echo = true;
}

static void server_end(void) {
  uvws_server_close(&server.server, 0);
  test_run();
  assert_true(server.closed);
  assert_int_equal(uvws_server_connections(&server.server), 0);
}

/* `later`: what was not read is not even sent before the hand-over. */
static void adopt_request(kind_t kind, size_t n, bool later,
                          const struct way* way) {
  server.accepted = 0;
  socket_init(UVWS_ROLE_SERVER);
  host_start(kind, dial(kind, script, later ? n : script_len), n, way->to);
  if (later) {
    test_run_until(&raw.connected);
    test_run_until(&host.handed);
    turns(2);
    raw_send(&raw, script + n, script_len - n);
  }
  check_echo(way);
}

/* Under TLS these are bytes of the ClientHello: more do not come at first. */
static void adopt_requests(const struct way* ways) {
  size_t last = test_has_tls() ? 150 : script_len;
  size_t step = test_has_tls() ? 15 : 1;
  for (kind_t kind = TCP; kind <= PIPE; kind++)
    for (size_t n = 0; n <= last; n += step)
      for (size_t i = 0; i < COUNT_OF(to_servers); i++) {
        if (kind == PIPE && test_has_tls()) continue;
        adopt_request(kind, n, false, &ways[i]);
        if (!test_has_tls() && n < script_len)
          adopt_request(kind, n, true, &ways[i]);
      }
}

static void test_a_server_goes_on_at_every_byte(void** state) {
  (void)state;
  server_begin(NULL);
  make_script(REQUEST "\r\n", true);
  adopt_requests(to_servers);
  server_end();
}

static void test_a_socket_serves_from_every_byte(void** state) {
  (void)state;
  server_begin(NULL);
  make_script(REQUEST "\r\n", true);
  adopt_requests(to_sockets);
  server_end();
}

/* The kernel gave the host all of it, more than the loop's own buffer takes. */
static void test_much_may_have_been_read(void** state) {
  enum { BODY = 200000 };
  static uint8_t body[BODY], bytes[BODY + 1024];
  (void)state;
  if (test_has_tls()) skip();
  server_begin(NULL);
  size_t len = strlen(REQUEST "\r\n");
  memcpy(bytes, REQUEST "\r\n", len);
  memset(body, 'x', sizeof(body));
  len += make_frame(bytes + len, 0x82, body, sizeof(body), true);
  len += make_frame(bytes + len, 0x88, "\x03\xe8", 2, true);
  for (int i = 0; i < 2; i++) {
    const uint8_t* payload;
    size_t payload_len;
    server.accepted = 0;
    socket_init(UVWS_ROLE_SERVER);
    memset(&host, 0, sizeof(host));
    host.stream = wrap(TCP, dial(TCP, "", 0), NULL);
    host.stream->data = &host;
    assert_int_equal(
        i == 0 ? uvws_server_adopt(&server.server, host.stream, bytes, len,
                                   on_release)
               : uvws_adopt(&peer.ws, host.stream, bytes, len, &adopt_options),
        0);
    test_run_until(&raw.closed);
    test_run_until(&host.gone);
    assert_int_equal(raw_frame(&raw, 0, &payload, &payload_len), 2);
    assert_int_equal(payload_len, BODY);
    assert_memory_equal(payload, body, BODY);
    assert_int_equal(raw_close_code(&raw), 1000);
  }
  server_end();
}

/* A socket keeps the loop alive, whatever the host had asked of its stream. */
static void to_server_unreferenced(void) {
  uv_unref((uv_handle_t*)host.stream);
  to_server();
  assert_int_equal(uv_has_ref((uv_handle_t*)host.stream), 1);
}

static void to_socket_unreferenced(void) {
  uv_unref((uv_handle_t*)host.stream);
  to_socket();
  assert_int_equal(uv_has_ref((uv_handle_t*)host.stream), 1);
}

static void test_a_stream_is_referenced_again(void** state) {
  static const struct way ways[] = {
      {to_server_unreferenced, server.peers[0].log, false},
      {to_socket_unreferenced, peer.log, false}};
  (void)state;
  server_begin(NULL);
  make_script(REQUEST "\r\n", true);
  for (size_t i = 0; i < COUNT_OF(ways); i++)
    adopt_request(TCP, 0, false, &ways[i]);
  server_end();
}

/* As the server answers, so does a socket. */
static void test_a_socket_answers_as_a_server(void** state) {
  static const struct {
    const char* request;
    uint32_t flags;
    int status;
    const char* header; /* of the response */
    const char* protocol;
  } cases[] = {
      {REQUEST "\r\n", 0, 101, "\r\nX-Mine: yes\r\n", ""},
      {REQUEST "Sec-WebSocket-Protocol: x, b, a\r\n\r\n", 0, 101,
       "\r\nSec-WebSocket-Protocol: b\r\n", "b"},
      {REQUEST "Sec-WebSocket-Protocol: x\r\n\r\n", 0, 101, "", ""},
      {REQUEST "Origin: null\r\n\r\n", 0, 403, "", NULL},
      {REQUEST "Origin: null\r\n\r\n", UVWS_SERVER_ANY_ORIGIN, 101, "", ""},
      {REQUEST "Content-Length: 5\r\n\r\n", 0, 400, "", NULL},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 426,
       "\r\nUpgrade: websocket\r\n", NULL},
      {"POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE "\r\n", 0, 405,
       "\r\nAllow: GET\r\n", NULL},
      {"GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE "\r\n", 0, 505, "", NULL},
      {"hello\r\n\r\n", 0, 400, "", NULL},
  };
  static const char* const spoken[] = {"a", "b"};
  static const uvws_header_t mine = {"X-Mine", "yes"};
  char line[32];
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
    bool all = i % 2 == 1; /* was read before */
    size_t k = i / 2;
    size_t len = strlen(cases[k].request);
    if (all && test_has_tls()) continue;
    memcpy(script, cases[k].request, len);
    script_len = len + make_frame(script + len, 0x88, "\x03\xe8", 2, true);
    socket_init(UVWS_ROLE_SERVER);
    options.protocols = spoken;
    options.n_protocols = COUNT_OF(spoken);
    options.headers = &mine;
    options.n_headers = 1;
    adopt_options.flags = cases[k].flags;
    adopt_options.url = "ws://mine/";
    host_start(TCP, dial(TCP, script, script_len), all ? len : 0, to_socket);
    test_run_until(&raw.closed);
    test_run_until(&peer.closed);
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", cases[k].status);
    assert_memory_equal(raw.in, line, strlen(line));
    assert_non_null(strstr(raw.in, cases[k].header));
    if (cases[k].protocol == NULL || cases[k].protocol[0] == '\0')
      assert_null(strstr(raw.in, "\r\nSec-WebSocket-Protocol"));
    assert_true(raw.saw_eof);
    assert_int_equal(host.released, 1);
    assert_string_equal(peer.log, cases[k].status == 101
                                      ? "open close(1000 clean)"
                                      : "error(UVWS_EUPGRADE) close(1006)");
  }
}

static void check_attributes(peer_t* it) {
  assert_string_equal(uvws_url(&it->ws),
                      adopt_options.url == NULL ? "" : adopt_options.url);
  assert_string_equal(uvws_protocol(&it->ws), adopt_options.protocol == NULL
                                                  ? ""
                                                  : adopt_options.protocol);
}

/* ---- an answer that was read in part ---- */

static void to_socket_after_request(void) {
  adopt_options.key = KEY;
  to_socket();
}

static void to_socket_fd_after_request(void) {
  adopt_options.key = KEY;
  to_socket_fd();
}

static const struct way after_requests[] = {
    {to_socket_after_request, peer.log, false},
    {to_socket_fd_after_request, peer.log, true}};

/* The host asks, and reads `n` bytes of the answer. */
static void adopt_answer(kind_t kind, size_t n, const struct way* way,
                         const char* answer) {
  uv_buf_t request = uv_buf_init(REQUEST "\r\n", sizeof(REQUEST "\r\n") - 1);
  size_t behind = strlen(ANSWER);
  socket_init(UVWS_ROLE_CLIENT);
  peer.on_open = check_attributes;
  uv_os_sock_t fd = serve(kind, answer, script + behind, script_len - behind);
  assert_int_equal(write(fd, request.base, request.len), request.len);
  host_start(kind, fd, n, way->to);
}

static void test_a_client_goes_on_at_every_byte(void** state) {
  (void)state;
  if (test_has_tls()) skip();
  server_begin(NULL);
  make_script(ANSWER, false);
  for (kind_t kind = TCP; kind <= PIPE; kind++)
    for (size_t n = 0; n <= script_len; n++)
      for (size_t i = 0; i < COUNT_OF(after_requests); i++) {
        adopt_answer(kind, n, &after_requests[i], ANSWER);
        check_echo(&after_requests[i]);
      }
  server_end();
}

/* Without a key it has not been asked yet. */
static void test_a_client_asks_itself(void** state) {
  static const char line[] = "GET /chat?x HTTP/1.1\r\nHost: example.com\r\n";
  (void)state;
  server_begin(NULL);
  make_script("", false);
  for (kind_t kind = TCP; kind <= PIPE; kind++)
    for (size_t i = 0; i < COUNT_OF(to_sockets); i++) {
      if (kind == PIPE && test_has_tls()) continue;
      socket_init(UVWS_ROLE_CLIENT);
      peer.on_open = check_attributes;
      host_start(kind, serve(kind, NULL, script, script_len), 0,
                 to_sockets[i].to);
      check_echo(&to_sockets[i]);
      assert_memory_equal(raw.in, line, strlen(line));
    }
  server_end();
}

static void test_a_client_refuses_a_wrong_answer(void** state) {
  static const struct {
    const char* text;
    const char* log;
  } answers[] = {
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
       "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+"
       "xOO=\r\n\r\n",
       "error(UVWS_EUPGRADE) close(1006)"},
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
       "error(UVWS_EUPGRADE) close(1006)"},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n",
       "error(UVWS_EUPGRADE) close(1006)"},
      {"hello\r\n\r\n", "error(UVWS_EUPGRADE) close(1006)"},
      {"\x16\x03\x01\x02\r\n\r\n", "error(UVWS_ETLS) close(1006)"},
  };
  (void)state;
  if (test_has_tls()) skip();
  make_script(ANSWER, false);
  for (size_t i = 0; i < COUNT_OF(answers); i++)
    for (size_t k = 0; k < 2; k++) {
      size_t n = k == 0 ? 0 : strlen(answers[i].text);
      adopt_answer(TCP, n, &after_requests[0], answers[i].text);
      test_run_until(&peer.closed);
      raw_close(&raw);
      test_run();
      assert_string_equal(peer.log, answers[i].log);
      assert_int_equal(host.released, 1);
    }
}

/* ---- what is a WebSocket already ---- */

/* raw_frame() looks behind a head. */
static void raw_pretend(void) {
  raw.in = strdup("\r\n\r\n");
  raw.in_len = 4;
  raw.upgraded = true;
}

static void test_an_upgraded_stream_goes_on_at_every_byte(void** state) {
  (void)state;
  if (test_has_tls()) skip();
  server_begin(NULL);
  for (int role = UVWS_ROLE_CLIENT; role <= UVWS_ROLE_SERVER; role++) {
    make_script("", role == UVWS_ROLE_SERVER);
    for (kind_t kind = TCP; kind <= PIPE; kind++)
      for (size_t n = 0; n <= script_len; n++)
        for (size_t i = 0; i < COUNT_OF(to_sockets); i++) {
          socket_init(role);
          peer.on_open = check_attributes;
          adopt_options.upgraded = 1;
          adopt_options.url = n % 2 == 0 ? NULL : "ws://somewhere/";
          adopt_options.protocol = n % 2 == 0 ? "chat" : NULL;
          uv_os_sock_t fd = dial(kind, script, script_len);
          raw_pretend();
          if (role == UVWS_ROLE_CLIENT) {
            raw_be_server();
            raw.then = RAW_FIN;
            if (kind == PIPE) raw_shutdown(&raw);
          }
          host_start(kind, fd, n, to_sockets[i].to);
          check_echo(&to_sockets[i]);
        }
  }
  server_end();
}

/* ---- all ways to end ---- */

static void end_at_once(void) {
  to_socket();
  uvws_terminate(&peer.ws);
  assert_int_equal(host.released, 0);
}

static void end_in_open(peer_t* it) {
  uvws_terminate(&it->ws);
}

static void end_in_message(peer_t* it, const uvws_message_t* message) {
  (void)message;
  uvws_terminate(&it->ws);
}

/* With bytes that were read, and others that were not. */
static void test_terminating_gives_the_stream_back(void** state) {
  static const struct {
    void (*to)(void);
    void (*on_open)(peer_t*);
    void (*on_message)(peer_t*, const uvws_message_t*);
    const char* log;
  } cases[] = {
      {end_at_once, NULL, NULL, "close(1006)"},
      {to_socket, end_in_open, NULL, "open close(1006)"},
      {to_socket, NULL, end_in_message, "open text(one) close(1006)"},
  };
  (void)state;
  make_script(REQUEST "\r\n", true);
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    for (size_t n = 0; n <= 100; n += 50) {
      socket_init(UVWS_ROLE_SERVER);
      peer.on_open = cases[i].on_open;
      peer.on_message = cases[i].on_message;
      host_start(TCP, dial(TCP, script, script_len), n, cases[i].to);
      test_run_until(&peer.closed);
      test_run_until(&raw.closed);
      test_run();
      assert_string_equal(peer.log, cases[i].log);
      assert_int_equal(peer.status, UV_ECANCELED);
      assert_int_equal(host.released, 1);
    }
}

/* A connection that still reads, one that asks, one that is open. */
static void test_closing_the_server_gives_streams_back(void** state) {
  static const struct {
    size_t n;
    uint32_t deadline;
    const char* log;
  } cases[] = {
      {0, 0, ""},
      {0, 5000, ""},
      {40, 0, ""},
      {40, 5000, ""},
      {sizeof(REQUEST "\r\n") - 1, 0, "open close(1006)"},
      {sizeof(REQUEST "\r\n") - 1, 5000, "open close(1001 clean)"},
  };
  (void)state;
  if (test_has_tls()) skip();
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    bool opens = cases[i].log[0] != '\0';
    server_begin(NULL);
    host_start(TCP, dial(TCP, REQUEST "\r\n", cases[i].n), cases[i].n,
               to_server);
    if (opens)
      test_run_until(&raw.upgraded);
    else
      test_run_until(&host.handed);
    uint8_t frame[16];
    size_t len = make_frame(frame, 0x88, "\x03\xe9", 2, true);
    uvws_server_close(&server.server, cases[i].deadline);
    if (opens) raw_send(&raw, frame, len);
    test_run();
    assert_true(server.closed);
    assert_int_equal(host.released, 1);
    assert_string_equal(server.peers[0].log, cases[i].log);
    if (!opens && cases[i].deadline > 0)
      assert_memory_equal(raw.in, "HTTP/1.1 503 ", 13);
  }
}

/* Closed right behind the hand-over, in the same callback. */
static void to_server_that_closes(void) {
  to_server();
  uvws_server_close(&server.server, 0);
}

static void test_a_server_may_close_behind_the_hand_over(void** state) {
  (void)state;
  make_script(REQUEST "\r\n", true);
  for (size_t n = 0; n <= 100; n += 50) {
    server_begin(NULL);
    host_start(TCP, dial(TCP, script, script_len), n, to_server_that_closes);
    test_run();
    assert_true(server.closed);
    assert_int_equal(host.released, 1);
    assert_string_equal(server.log, "close");
  }
}

/* Before the request is whole, and when it is. */
static void test_the_peer_may_leave(void** state) {
  static const struct {
    const char* request;
    raw_then_t then;
    const char* log;
  } cases[] = {
      {"GET / HT", RAW_FIN, "error(EOF) close(1006)"},
      {"GET / HT", RAW_RESET, "error(ECONNRESET) close(1006)"},
      {REQUEST "\r\n", RAW_FIN, "open error(EOF) close(1006)"},
      {REQUEST "\r\n", RAW_RESET, "open error(ECONNRESET) close(1006)"},
  };
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
    bool is_server = i % 2 == 1;
    size_t k = i / 2;
    bool opens = cases[k].request[4] == '/' && strlen(cases[k].request) > 20;
    server_begin(NULL);
    socket_init(UVWS_ROLE_SERVER);
    host_start(TCP, dial(TCP, cases[k].request, strlen(cases[k].request)),
               test_has_tls() ? 0 : 5, is_server ? to_server : to_socket);
    test_run_until(test_has_tls() ? &raw.is_secure : &raw.connected);
    test_run_until(&host.handed);
    if (opens) test_run_until(&raw.upgraded);
    if (!opens) turns(3);
    if (cases[k].then == RAW_FIN)
      raw_shutdown(&raw);
    else
      raw_reset(&raw);
    test_run_until(&host.gone);
    assert_int_equal(host.released, 1);
    server_end();
    if (!is_server)
      assert_string_equal(peer.log, cases[k].log);
    else
      assert_string_equal(server.peers[0].log, opens ? cases[k].log : "");
  }
}

static void test_silence_is_ended_by_the_deadline(void** state) {
  uvws_server_options_t with;
  (void)state;
  uvws_server_options_init(&with);
  with.handshake_timeout = test_handshake_ms(40);
  server_begin(&with);
  for (size_t n = 0; n <= 3; n += 3) {
    if (n > 0 && test_has_tls()) continue;
    socket_init(UVWS_ROLE_SERVER);
    host_start(TCP, dial(TCP, "GET", 3), n, to_server);
    test_run_until(&raw.closed);
    test_run_until(&host.gone);
    assert_memory_equal(raw.in, "HTTP/1.1 408 ", 13);
    options.handshake_timeout = with.handshake_timeout;
    host_start(TCP, dial(TCP, "GET", 3), n, to_socket);
    test_run_until(&raw.closed);
    test_run_until(&peer.closed);
    assert_string_equal(peer.log, "error(UVWS_ETIMEOUT) close(1006)");
    assert_int_equal(host.released, 1);
  }
  server_end();
  assert_string_equal(server.log, "close");
}

/* The keys of somebody else's TLS are not in the stream. */
static void test_tls_is_answered_in_http(void** state) {
  static const char hello[] = "\x16\x03\x01\x02\x01\x01\xfc\x03\x03";
  (void)state;
  if (test_has_tls()) skip();
  server_begin(NULL);
  for (size_t n = 0; n < sizeof(hello); n++) {
    host_start(TCP, dial(TCP, hello, sizeof(hello) - 1), n, to_server);
    test_run_until(&raw.closed);
    test_run_until(&host.gone);
    assert_memory_equal(raw.in, "HTTP/1.1 400 ", 13);
    assert_true(raw.saw_eof);
    assert_int_equal(host.released, 1);
  }
  server_end();
  assert_string_equal(server.log, "close");
}

#define TEST_ADOPT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST_ADOPT(test_a_server_goes_on_at_every_byte),
      TEST_ADOPT(test_a_socket_serves_from_every_byte),
      TEST_ADOPT(test_much_may_have_been_read),
      TEST_ADOPT(test_a_stream_is_referenced_again),
      TEST_ADOPT(test_a_socket_answers_as_a_server),
      TEST_ADOPT(test_a_client_goes_on_at_every_byte),
      TEST_ADOPT(test_a_client_asks_itself),
      TEST_ADOPT(test_a_client_refuses_a_wrong_answer),
      TEST_ADOPT(test_an_upgraded_stream_goes_on_at_every_byte),
      TEST_ADOPT(test_terminating_gives_the_stream_back),
      TEST_ADOPT(test_closing_the_server_gives_streams_back),
      TEST_ADOPT(test_a_server_may_close_behind_the_hand_over),
      TEST_ADOPT(test_the_peer_may_leave),
      TEST_ADOPT(test_silence_is_ended_by_the_deadline),
      TEST_ADOPT(test_tls_is_answered_in_http),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
