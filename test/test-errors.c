#include "helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every failure that the peer can cause, provoked by a raw peer: the status and
 * the close code at this end, the close code that the peer is told, and that
 * what was valid before the fault was delivered. */

/* ---- faults in the frames, on both roles ---- */

typedef struct fault_s {
  const char* name;
  unsigned first_byte;
  const char* payload;
  size_t len;
  int status;
  int code; /* told to the peer */
  uint64_t max_message;
  uint32_t max_fragments;
} fault_t;

#define BYTES(s) s, sizeof(s) - 1

static const fault_t faults[] = {
    {"reserved bit 1", 0xC1, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"reserved bit 2", 0xA1, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"reserved bit 3", 0x91, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"reserved data opcode", 0x83, BYTES(""), UVWS_EPROTOCOL, 1002, 0, 0},
    {"reserved control opcode", 0x8B, BYTES(""), UVWS_EPROTOCOL, 1002, 0, 0},
    {"fragmented ping", 0x09, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"stray continuation", 0x80, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close frame of one byte", 0x88, BYTES("x"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close code 999", 0x88, BYTES("\x03\xe7"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close code 1005", 0x88, BYTES("\x03\xed"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close code 1006", 0x88, BYTES("\x03\xee"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close code 5000", 0x88, BYTES("\x13\x88"), UVWS_EPROTOCOL, 1002, 0, 0},
    {"close reason", 0x88, BYTES("\x03\xe8\xff"), UVWS_EUTF8, 1007, 0, 0},
    {"text", 0x81, BYTES("a\xffz"), UVWS_EUTF8, 1007, 0, 0},
    {"text cut off", 0x81, BYTES("a\xc3"), UVWS_EUTF8, 1007, 0, 0},
    {"text with a surrogate", 0x81, BYTES("\xed\xa0\x80"), UVWS_EUTF8, 1007, 0,
     0},
    {"unfinished text", 0x01, BYTES("\xf8"), UVWS_EUTF8, 1007, 0, 0},
    {"message too big", 0x82, BYTES("12345"), UVWS_ETOOBIG, 1009, 4, 0},
    {"fragment too many", 0x02, BYTES("1"), UVWS_ETOOBIG, 1008, 0, 0},
};

/* Two good messages, then the fault, then a message that must not arrive. */
static size_t compose(uint8_t* out, const fault_t* fault, bool mask) {
  size_t n = 0;
  n += make_frame(out + n, 0x81, "one", 3, mask);
  n += make_frame(out + n, 0x82, "two", 3, mask);
  n += make_frame(out + n, fault->first_byte, fault->payload, fault->len, mask);
  if (strcmp(fault->name, "fragment too many") == 0) {
    n += make_frame(out + n, 0x00, "2", 1, mask);
    n += make_frame(out + n, 0x00, "3", 1, mask);
  }
  n += make_frame(out + n, 0x81, "after", 5, mask);
  return n;
}

static void check_fault(const fault_t* fault, const peer_t* peer, raw_t* raw) {
  char expected[128];
  snprintf(expected, sizeof(expected),
           "open text(one) binary(3) error(%s) close(1006)",
           uvws_err_name(fault->status));
  print_message("%s: %s\n", fault->name, peer->reason);
  assert_string_equal(peer->log, expected);
  assert_int_equal(peer->status, fault->status);
  assert_int_equal(raw_close_code(raw), fault->code);
  /* The end is a FIN, not a reset. */
  assert_true(raw->saw_eof);
}

static void test_a_server_at_fault_is_told_and_left(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(faults); i++) {
    uvws_options_t options;
    uint8_t bytes[256];
    raw_t raw = {.bytes = bytes, .then = RAW_STAY};
    peer_t peer;
    raw.len = compose(bytes, &faults[i], false);
    uvws_options_init(&options);
    if (faults[i].max_message > 0) options.max_message = 4;
    options.max_fragments = 2;
    raw_serve(&raw);
    peer_init(&peer);
    peer_connect(&peer, raw.port, &options);
    test_run();
    check_fault(&faults[i], &peer, &raw);
    raw_free(&raw);
  }
}

static void test_a_client_at_fault_is_told_and_left(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(faults); i++) {
    uvws_server_options_t options;
    uint8_t bytes[256];
    raw_t raw = {.bytes = bytes, .then = RAW_STAY};
    server_t server;
    raw.len = compose(bytes, &faults[i], true);
    uvws_server_options_init(&options);
    if (faults[i].max_message > 0) options.max_message = 4;
    options.max_fragments = 2;
    server_start(&server, &options);
    server.stop_after = 1;
    raw_dial(&raw, server.port);
    test_run();
    check_fault(&faults[i], &server.peers[0], &raw);
    raw_free(&raw);
  }
}

/* Faults that are in the header itself and so need bytes, not frames. */
static void test_headers_at_fault(void** state) {
  static const struct {
    const char* name;
    const char* bytes;
    size_t len;
  } cases[] = {
      {"masked by a server", BYTES("\x81\x81\0\0\0\0x")},
      {"two bytes for 125", BYTES("\x82\x7e\x00\x7d")},
      {"eight bytes for 65535", BYTES("\x82\x7f\0\0\0\0\0\0\xff\xff")},
      {"bit 63", BYTES("\x82\x7f\x80\0\0\0\0\0\0\0")},
      {"ping of 126 bytes", BYTES("\x89\x7e\x00\x7e")},
      {"a message inside another", BYTES("\x01\x01x\x81\x01y")},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    raw_t raw = {.bytes = cases[i].bytes, .len = cases[i].len};
    peer_t peer;
    raw_serve(&raw);
    peer_init(&peer);
    peer_connect(&peer, raw.port, NULL);
    test_run();
    print_message("%s: %s\n", cases[i].name, peer.reason);
    assert_string_equal(peer.log, "open error(UVWS_EPROTOCOL) close(1006)");
    assert_int_equal(raw_close_code(&raw), 1002);
    raw_free(&raw);
  }
}

static void test_an_unmasked_frame_of_a_client(void** state) {
  raw_t raw = {.bytes = "\x81\x01x", .len = 3};
  server_t server;
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 1;
  raw_dial(&raw, server.port);
  test_run();
  assert_string_equal(server.peers[0].log,
                      "open error(UVWS_EPROTOCOL) close(1006)");
  assert_int_equal(raw_close_code(&raw), 1002);
  raw_free(&raw);
}

/* ---- faults in the server's answer ---- */

#define HEAD_101 "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE  "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static void test_answers_that_are_no_upgrade(void** state) {
  static const struct {
    const char* head;
    int status;
    int http_status;
  } cases[] = {
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", UVWS_EUPGRADE,
       403},
      {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
       UVWS_EUPGRADE, 302},
      {"HTTP/1.1 200 OK\r\n\r\n", UVWS_EUPGRADE, 200},
      {"HTTP/1.1 101\r\n\r\n", UVWS_EUPGRADE, 101},
      {HEAD_101 UPGRADE "\r\n", UVWS_EUPGRADE, 101},
      {HEAD_101 UPGRADE "Sec-WebSocket-Accept: AAAA\r\n\r\n", UVWS_EUPGRADE,
       101},
      {HEAD_101 UPGRADE " folded\r\n\r\n", UVWS_EUPGRADE, 0},
      {"\x16\x03\x01\x02\r\n\r\n", UVWS_ETLS, 0},
      {"\x88\x02\x03\xe8", UVWS_EUPGRADE, 0},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    raw_t raw = {.head = cases[i].head};
    peer_t peer;
    raw_serve(&raw);
    peer_init(&peer);
    peer_connect(&peer, raw.port, NULL);
    test_run();
    print_message("%zu: %s\n", i, peer.reason);
    assert_string_equal(peer.log, cases[i].status == UVWS_ETLS
                                      ? "error(UVWS_ETLS) close(1006)"
                                      : "error(UVWS_EUPGRADE) close(1006)");
    assert_int_equal(peer.status, cases[i].status);
    raw_free(&raw);
  }
}

static void see_refusal(peer_t* peer) {
  uvws_header_t header;
  assert_int_equal(uvws_http_status(&peer->ws), 429);
  assert_string_equal(uvws_response_header(&peer->ws, "Retry-After"), "7");
  assert_int_equal(uvws_response_header_at(&peer->ws, 0, &header), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
}

static void see_refusal_again(peer_t* peer, const uvws_close_event_t* event) {
  assert_int_equal(event->status, UVWS_EUPGRADE);
  see_refusal(peer);
}

static void test_a_refusal_can_be_read(void** state) {
  raw_t raw = {.head =
                   "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n"
                   "Content-Length: 0\r\n\r\n"};
  peer_t peer;
  (void)state;
  raw_serve(&raw);
  peer_init(&peer);
  peer.on_error = see_refusal;
  peer.on_close = see_refusal_again;
  peer_connect(&peer, raw.port, NULL);
  test_run();
  assert_true(peer.closed);
  raw_free(&raw);
}

static void test_the_heads_limits_are_options(void** state) {
  char head[2048] = "HTTP/1.1 103 Early Hints\r\n";
  uvws_options_t options;
  (void)state;
  for (int i = 0; i < 30; i++) strcat(head, "Link: </style.css>; rel=x\r\n");
  strcat(head, "\r\n");
  for (int i = 0; i < 2; i++) {
    raw_t raw = {.head = head};
    peer_t peer;
    uvws_options_init(&options);
    if (i == 0)
      options.max_head = 512;
    else
      options.max_headers = 29;
    raw_serve(&raw);
    peer_init(&peer);
    peer_connect(&peer, raw.port, &options);
    test_run();
    assert_string_equal(peer.log, "error(UVWS_ETOOBIG) close(1006)");
    raw_free(&raw);
  }
}

/* A server that upgrades without a word on the subprotocols: WebSockets
 * standard, "establish a WebSocket connection". */
static void test_no_subprotocol_chosen(void** state) {
  static const char* const protocols[] = {"chat"};
  uvws_options_t options;
  raw_t raw = {.then = RAW_STAY};
  peer_t peer;
  (void)state;
  uvws_options_init(&options);
  options.protocols = protocols;
  options.n_protocols = 1;
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, &options);
  test_run();
  assert_string_equal(peer.log, "error(UVWS_EUPGRADE) close(1006)");
  raw_free(&raw);
}

/* ---- the network ---- */

static void test_a_closed_port_refuses(void** state) {
  raw_t raw = {.then = RAW_STAY};
  peer_t peer;
  (void)state;
  raw_serve(&raw);
  int port = raw.port;
  raw_close(&raw);
  test_run();
  peer_init(&peer);
  peer_connect(&peer, port, NULL);
  test_run();
  assert_string_equal(peer.log, "error(ECONNREFUSED) close(1006)");
}

static void test_a_name_that_does_not_exist(void** state) {
  peer_t peer;
  (void)state;
  peer_init(&peer);
  assert_int_equal(uvws_connect(&peer.ws, "ws://does-not-exist.invalid/", NULL),
                   0);
  test_run();
  assert_true(strncmp(peer.log, "error(EAI_", 10) == 0);
  assert_non_null(strstr(peer.log, "close(1006)"));
}

static void test_a_pipe_that_does_not_exist(void** state) {
  uvws_options_t options;
  peer_t peer;
  (void)state;
  uvws_options_init(&options);
  options.pipe = "/nonexistent/socket";
  peer_init(&peer);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), 0);
  test_run();
  assert_string_equal(peer.log, "error(ENOENT) close(1006)");
}

/* libuv would cut the name, and reach another socket. */
static void test_a_pipe_with_too_long_a_name(void** state) {
  uvws_options_t options;
  char name[256];
  server_t server;
  peer_t peer;
  (void)state;
  memset(name, 'x', sizeof(name) - 1);
  name[sizeof(name) - 1] = '\0';
  uvws_options_init(&options);
  options.pipe = name;
  peer_init(&peer);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options),
                   UV_ENAMETOOLONG);
  options.pipe = "";
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UV_EINVAL);
  server_start(&server, NULL);
  assert_int_equal(uvws_listen_pipe(&server.server, name, 8), UV_ENAMETOOLONG);
  uvws_server_close(&server.server, 0);
  test_run();
}

/* A name with two addresses, of which the first refuses: the machine need not
 * know any name. */
int __real_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* request,
                          uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints);
int __wrap_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* request,
                          uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints);

static uv_getaddrinfo_cb lookup_cb;

static void add_second_address(uv_getaddrinfo_t* request, int status,
                               struct addrinfo* addresses) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  assert_int_equal(status, 0);
  assert_null(addresses->ai_next);
  assert_int_equal(getaddrinfo("127.0.0.1", NULL, &hints, &addresses->ai_next),
                   0);
  lookup_cb(request, status, addresses);
}

int __wrap_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* request,
                          uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints) {
  if (strcmp(node, "two.example") != 0)
    return __real_uv_getaddrinfo(loop, request, cb, node, service, hints);
  lookup_cb = cb;
  return __real_uv_getaddrinfo(loop, request, add_second_address, "127.0.0.2",
                               service, hints);
}

static void test_each_address_is_tried(void** state) {
  server_t server;
  peer_t peer;
  char url[64];
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 1;
  peer_init(&peer);
  peer.on_open = peer_close;
  snprintf(url, sizeof(url), "ws://two.example:%d/", server.port);
  assert_int_equal(uvws_connect(&peer.ws, url, NULL), 0);
  test_run();
  assert_string_equal(peer.log, "open close(1000 clean)");
}

/* Cut after each byte of a conversation: an error, a close, no hang, and the
 * message arrives if and only if it was whole. */
static void test_a_connection_cut_anywhere(void** state) {
  uint8_t bytes[16];
  size_t len = make_frame(bytes, 0x81, "hello", 5, false);
  (void)state;
  for (int then = RAW_FIN; then <= RAW_RESET; then++) {
    for (size_t cut = 0; cut <= len; cut++) {
      raw_t raw = {.bytes = bytes, .len = cut, .then = (raw_then_t)then};
      peer_t peer;
      raw_serve(&raw);
      peer_init(&peer);
      peer_connect(&peer, raw.port, NULL);
      test_run();
      assert_non_null(strstr(peer.log, "close(1006)"));
      assert_int_equal(
          strstr(peer.log, " text(hello) ") != NULL,
          then == RAW_FIN ? cut == len : strstr(peer.log, "text") != NULL);
      /* libuv says EOF when a reset comes together with the last bytes. */
      assert_true(
          strstr(peer.log, "error(EOF)") != NULL ||
          (then == RAW_RESET && strstr(peer.log, "error(ECONNRESET)") != NULL));
      raw_free(&raw);
    }
  }
}

static void test_a_connection_cut_inside_the_answer(void** state) {
  static const char head[] = HEAD_101 UPGRADE "Sec-WebSocket-Accept: ";
  char part[sizeof(head)];
  (void)state;
  for (size_t cut = 0; cut < sizeof(head) - 1; cut++) {
    raw_t raw = {.head = part, .then = RAW_FIN};
    peer_t peer;
    memcpy(part, head, cut);
    part[cut] = '\0';
    raw_serve(&raw);
    peer_init(&peer);
    peer_connect(&peer, raw.port, NULL);
    test_run();
    assert_string_equal(peer.log, "error(EOF) close(1006)");
    raw_free(&raw);
  }
}

/* ---- deadlines ---- */

static void on_filler(uv_connect_t* request, int status) {
  (void)request;
  (void)status;
}

static void test_connecting_has_a_deadline(void** state) {
  uvws_options_t options;
  peer_t peer;
  (void)state;
  /* A listener whose backlog is full does not answer: so does one that never
   * accepts, once its queue of one is taken. */
  uv_tcp_t listener;
  uv_tcp_t fillers[8];
  uv_connect_t requests[8];
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(test_loop, &listener);
  uv_tcp_bind(&listener, (const struct sockaddr*)&addr, 0);
  uv_tcp_getsockname(&listener, (struct sockaddr*)&addr, &len);
  uv_os_fd_t fd;
  uv_fileno((uv_handle_t*)&listener, &fd);
  assert_int_equal(listen(fd, 0), 0);
  for (int i = 0; i < 8; i++) {
    uv_tcp_init(test_loop, &fillers[i]);
    uv_tcp_connect(&requests[i], &fillers[i], (const struct sockaddr*)&addr,
                   on_filler);
  }
  uv_run(test_loop, UV_RUN_NOWAIT);
  uvws_options_init(&options);
  options.connect_timeout = 100;
  peer_init(&peer);
  peer_connect(&peer, ntohs(addr.sin_port), &options);
  test_run_until(&peer.closed);
  assert_string_equal(peer.log, "error(UVWS_ETIMEOUT) close(1006)");
  char reason[64];
  snprintf(reason, sizeof(reason),
           "connecting took too long: 127.0.0.1:%u: no answer",
           (unsigned)ntohs(addr.sin_port));
  assert_string_equal(peer.reason, reason);
  for (int i = 0; i < 8; i++) uv_close((uv_handle_t*)&fillers[i], NULL);
  uv_close((uv_handle_t*)&listener, NULL);
  test_run();
}

static void test_the_opening_handshake_has_a_deadline(void** state) {
  raw_t raw = {.head = "HTTP/1.1 101 Switching", .then = RAW_STAY};
  uvws_options_t options;
  peer_t peer;
  (void)state;
  uvws_options_init(&options);
  options.handshake_timeout = 50;
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, &options);
  test_run();
  assert_string_equal(peer.log, "error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(peer.reason, "the opening handshake took too long");
  raw_free(&raw);
}

static void test_the_closing_handshake_has_a_deadline(void** state) {
  raw_t raw = {.then = RAW_STAY};
  uvws_options_t options;
  peer_t peer;
  (void)state;
  uvws_options_init(&options);
  options.close_timeout = 50;
  raw_serve(&raw);
  peer_init(&peer);
  peer.on_open = peer_close;
  peer_connect(&peer, raw.port, &options);
  test_run();
  assert_string_equal(peer.log, "open error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(peer.reason, "the closing handshake took too long");
  assert_int_equal(raw_close_code(&raw), 1000);
  raw_free(&raw);
}

/* RFC 6455, 7.1.1: the client waits for the server's FIN, but not for ever; the
 * closing handshake was clean all the same. */
static void test_a_server_that_keeps_the_connection(void** state) {
  uint8_t bytes[8];
  raw_t raw = {.bytes = bytes, .then = RAW_STAY};
  uvws_options_t options;
  peer_t peer;
  (void)state;
  raw.len = make_frame(bytes, 0x88, "\x03\xe8", 2, false);
  uvws_options_init(&options);
  options.close_timeout = 50;
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, &options);
  test_run();
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_int_equal(peer.status, 0);
  raw_free(&raw);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_server_at_fault_is_told_and_left),
      TEST(test_a_client_at_fault_is_told_and_left),
      TEST(test_headers_at_fault),
      TEST(test_an_unmasked_frame_of_a_client),
      TEST(test_answers_that_are_no_upgrade),
      TEST(test_a_refusal_can_be_read),
      TEST(test_the_heads_limits_are_options),
      TEST(test_no_subprotocol_chosen),
      TEST(test_a_closed_port_refuses),
      TEST(test_a_name_that_does_not_exist),
      TEST(test_a_pipe_that_does_not_exist),
      TEST(test_a_pipe_with_too_long_a_name),
      TEST(test_each_address_is_tried),
      TEST(test_a_connection_cut_anywhere),
      TEST(test_a_connection_cut_inside_the_answer),
      TEST(test_connecting_has_a_deadline),
      TEST(test_the_opening_handshake_has_a_deadline),
      TEST(test_the_closing_handshake_has_a_deadline),
      TEST(test_a_server_that_keeps_the_connection),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
