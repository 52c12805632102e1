#include "raw-clients.h"

/* From a connection to a decision, seen from raw clients: what the server
 * refuses by itself and how, who decides the rest, and when. */

/* ---- what is refused ---- */

static void test_origin_must_match_host_by_default(void** state) {
  static const struct {
    const char* host;
    const char* origin;
    int status;
  } cases[] = {
      {"example.com", NULL, 101},
      {"example.com", "http://example.com", 101},
      {"example.com", "https://example.com", 101},
      {"example.com", "HTTP://EXAMPLE.Com", 101},
      {"Example.COM", "http://example.com", 101},
      {"example.com", "http://example.com:80", 101},
      {"example.com", "https://example.com:443", 101},
      {"example.com:80", "http://example.com", 101},
      {"example.com:443", "https://example.com", 101},
      {"example.com:8080", "http://example.com:8080", 101},
      {"[::1]:8080", "http://[::1]:8080", 101},
      {"127.0.0.1", "http://127.0.0.1", 101},
      {"example.com", "null", 403},
      {"example.com", "", 403},
      {"example.com", "example.com", 403},
      {"example.com", "http://", 403},
      {"example.com", "http://example.com:8080", 403},
      {"example.com", "http://example.com:443", 403},
      {"example.com:8080", "http://example.com", 403},
      {"example.com:8080", "http://example.com:80", 403},
      {"example.com:80", "https://example.com", 403},
      {"example.com", "http://www.example.com", 403},
      {"www.example.com", "http://example.com", 403},
      {"example.com", "http://example.com.evil.com", 403},
      {"example.com", "http://evil.com/example.com", 403},
      {"example.com", "http://example.com@evil.com", 403},
      {"example.com", "http://example.co", 403},
      {"example.com", "http://example.com/", 403},
      {"example.com", "ftp://example.com", 403},
      {"example.com", "http://example.com http://evil.com", 403},
      {"example.com", "http://example.com\r\nOrigin: http://evil.com", 403},
      {"[::1]", "http://[::2]", 403},
  };
  uvws_server_options_t options;
  char text[512];
  unsigned accepted = 0;
  (void)state;
  uvws_server_options_init(&options);
  for (int any = 0; any < 2; any++) {
    if (any) options.flags = UVWS_SERVER_ANY_ORIGIN;
    server_start(&server, &options);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
      snprintf(text, sizeof(text),
               "GET / HTTP/1.1\r\n%s%s%sHost: %s\r\n" UPGRADE VERSION KEY
               "\r\n",
               cases[i].origin == NULL ? "" : "Origin: ",
               cases[i].origin == NULL ? "" : cases[i].origin,
               cases[i].origin == NULL ? "" : "\r\n", cases[i].host);
      /* A page that anybody may have changed is not of a server with TLS. */
      bool is_plain = cases[i].origin != NULL && test_has_tls() &&
                      strncasecmp(cases[i].origin, "http:", 5) == 0;
      int status = is_plain ? 403 : cases[i].status;
      assert_int_equal(ask(text), any ? 101 : status);
      if (!any) accepted += status == 101;
      if (any || status == 101) continue;
      assert_string_equal(body_of(&raw), "Origin does not match Host");
      assert_non_null(strstr(raw.in, "\r\nContent-Type: text/plain\r\n"));
    }
    assert_int_equal(server.accepted, any ? COUNT_OF(cases) : accepted);
    server_end();
  }
}

static void test_what_is_no_upgrade_is_refused(void** state) {
  static const struct {
    const char* text;
    int status;
    const char* header;
  } cases[] = {
      {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400, ""},
      {"hello\r\n\r\n", 400, ""},
      {"GET / HTTP/1.1\nHost: a\n\n", 400, ""},
      {"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400, ""},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, ""},
      {"GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE VERSION KEY "\r\n", 505, ""},
      {"POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE VERSION KEY "\r\n", 405,
       "\r\nAllow: GET\r\n"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n" UPGRADE VERSION KEY "\r\n", 405,
       "\r\nAllow: GET\r\n"},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426, "\r\nUpgrade: websocket\r\n"},
      {REQUEST "Content-Length: 5\r\n\r\n", 400, ""},
      {REQUEST "Transfer-Encoding: chunked\r\n\r\n", 400, ""},
      {REQUEST KEY "\r\n", 400, ""},
      {REQUEST "Host: example.com\r\n\r\n", 400, ""},
      {"GET / HTTP/1.1\r\n" UPGRADE VERSION KEY "\r\n", 400, ""},
      {"GET / HTTP/1.1\r\nHost: a\r\n" UPGRADE VERSION "\r\n", 400, ""},
      {"GET / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY "\r\n", 426,
       "\r\nSec-WebSocket-Version: 13\r\n"},
      {"GET / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY
       "Sec-WebSocket-Version: 8\r\n\r\n",
       426, "\r\nSec-WebSocket-Version: 13\r\n"},
      {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" VERSION KEY "\r\n",
       400, ""},
      {REQUEST "Sec-WebSocket-Protocol: a b\r\n\r\n", 400, ""},
      {REQUEST "Sec-WebSocket-Extensions: ;\r\n\r\n", 400, ""},
  };
  (void)state;
  server_start(&server, NULL);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_int_equal(ask(cases[i].text), cases[i].status);
    assert_non_null(strstr(raw.in, cases[i].header));
  }
  assert_string_equal(server.log, "");
  /* After all that, it still serves. */
  assert_int_equal(ask(REQUEST "\r\n"), 101);
  server_end();
}

/* A request whose head is `size` bytes in `lines` header lines. */
static size_t make_head(char* out, size_t size, unsigned lines) {
  size_t len = (size_t)sprintf(out, REQUEST);
  for (unsigned i = 5; i < lines - 1; i++)
    len += (size_t)sprintf(out + len, "X: y\r\n");
  len += (size_t)sprintf(out + len, "Filler: ");
  while (len < size - 4) out[len++] = 'z';
  memcpy(out + len, "\r\n\r\n", 5);
  return len + 4;
}

static void test_heads_are_limited(void** state) {
  static char text[20000];
  uvws_server_options_t options;
  (void)state;
  server_start(&server, NULL);
  assert_int_equal(ask_with(text, make_head(text, 16384, 10)), 101);
  assert_int_equal(ask_with(text, make_head(text, 16385, 10)), 431);
  assert_int_equal(ask_with(text, make_head(text, 1000, 64)), 101);
  assert_int_equal(ask_with(text, make_head(text, 1000, 65)), 431);
  /* No end in sight: it does not wait for one. */
  memset(text, 'a', sizeof(text));
  memcpy(text, "GET /", 5);
  assert_int_equal(ask_with(text, 16385), 431);
  assert_int_equal(ask_with(text, sizeof(text)), 431);
  server_end();
  uvws_server_options_init(&options);
  options.max_head = 300;
  options.max_headers = 8;
  server_start(&server, &options);
  assert_int_equal(ask_with(text, make_head(text, 300, 8)), 101);
  assert_int_equal(ask_with(text, make_head(text, 301, 8)), 431);
  assert_int_equal(ask_with(text, make_head(text, 300, 9)), 431);
  server_end();
}

/* ---- who decides ---- */

static void reject_with_body(server_t* to, uvws_request_t* request) {
  static const uvws_header_t headers[] = {
      {"WWW-Authenticate", "Basic realm=\"x\""}, {"X-Empty", ""}};
  static const uvws_header_t bad[] = {{"X", "a\r\nY: b"},
                                      {"Content-Length", "3"},
                                      {"Transfer-Encoding", "chunked"},
                                      {"connection", "keep-alive"},
                                      {"", "a"},
                                      {"X Y", "a"}};
  static const int bad_status[] = {-1, 0, 99, 101, 199, 204, 600, 65536 + 404};
  (void)to;
  for (size_t i = 0; i < COUNT_OF(bad_status); i++)
    assert_int_equal(uvws_reject(request, bad_status[i], NULL, 0, "no", 2),
                     UV_EINVAL);
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    assert_int_equal(uvws_reject(request, 401, &bad[i], 1, NULL, 0), UV_EINVAL);
  assert_int_equal(uvws_reject(request, 401, headers, 2, "go\0away", 7), 0);
}

static void test_reject_answers_as_told(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.on_request = reject_with_body;
  dial(&raw, REQUEST "\r\n");
  test_run_until(&raw.closed);
  assert_true(raw.saw_eof);
  assert_string_equal(raw.in,
                      "HTTP/1.1 401 Unauthorized\r\n"
                      "Connection: close\r\n"
                      "Content-Length: 7\r\n"
                      "WWW-Authenticate: Basic realm=\"x\"\r\n"
                      "X-Empty: \r\n\r\ngo");
  assert_memory_equal(raw.in + raw.in_len - 7, "go\0away", 7);
  server_end();
  assert_string_equal(server.log, "request(/) close");
}

static void accept_after_refused_tries(server_t* to, uvws_request_t* request) {
  static const uvws_header_t bad = {"Sec-WebSocket-Accept", "x"};
  uvws_accept_options_t options;
  uv_loop_t other_loop;
  uvws_t other;
  assert_int_equal(uvws_reject(request, 700, NULL, 0, NULL, 0), UV_EINVAL);
  uvws_accept_options_init(&options);
  options.headers = &bad;
  options.n_headers = 1;
  peer_t* peer = &to->peers[40];
  peer_init(peer);
  assert_int_equal(uvws_accept(request, &peer->ws, &options), UV_EINVAL);
  uvws_accept_options_init(&options);
  options.protocol = "x";
  assert_int_equal(uvws_accept(request, &peer->ws, &options),
                   UVWS_EINVALIDACCESS);
  assert_int_equal(uvws_init(&other_loop, &other, &peer_events), 0);
  assert_int_equal(uvws_accept(request, &other, NULL), UV_EINVAL);
  if (to->accepted > 0)
    assert_int_equal(uvws_accept(request, &to->peers[0].ws, NULL), UV_EALREADY);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  server_accept(to, request);
}

/* Whatever was refused, the request can still be decided. */
static void test_a_refused_decision_leaves_the_request(void** state) {
  raw_t first;
  (void)state;
  server_start(&server, NULL);
  server.on_request = accept_after_refused_tries;
  dial(&first, REQUEST "\r\n");
  test_run_until(&first.upgraded);
  assert_int_equal(ask(REQUEST "\r\n"), 101);
  assert_string_equal(server.peers[40].log, "");
  raw_close(&first);
  server_end();
  raw_free(&first);
}

/* What a test keeps for later. */
static struct {
  uvws_request_t* request;
  bool came;
  uv_timer_t timer;
} later;

static void keep(server_t* to, uvws_request_t* request) {
  (void)to;
  later.request = request;
  later.came = true;
  assert_null(uvws_request_get_data(request));
  uvws_request_set_data(request, &later);
}

static void later_init(void) {
  memset(&later, 0, sizeof(later));
  uv_timer_init(test_loop, &later.timer);
  server.on_request = keep;
}

static void check_kept(void) {
  uvws_header_t header;
  assert_ptr_equal(uvws_request_get_data(later.request), &later);
  assert_string_equal(uvws_request_target(later.request), "/?a");
  assert_string_equal(uvws_request_header(later.request, "HOST"), "a:1");
  assert_string_equal(uvws_request_protocol(later.request, 0), "one");
  assert_string_equal(uvws_request_protocol(later.request, 1), "two");
  assert_null(uvws_request_protocol(later.request, 2));
  assert_int_equal(uvws_request_header_at(later.request, 0, &header), 0);
  assert_string_equal(header.name, "Host");
}

static void accept_later(uv_timer_t* timer) {
  check_kept();
  server_accept(&server, later.request);
  uv_close((uv_handle_t*)timer, NULL);
}

static void reject_later(uv_timer_t* timer) {
  check_kept();
  assert_int_equal(uvws_reject(later.request, 404, NULL, 0, NULL, 0), 0);
  uv_close((uv_handle_t*)timer, NULL);
}

static const char kept_request[] =
    "GET /?a HTTP/1.1\r\nHost: a:1\r\n" UPGRADE VERSION KEY
    "Sec-WebSocket-Protocol: one\r\nSec-WebSocket-Protocol: two\r\n\r\n";

static void test_a_request_may_be_rejected_later(void** state) {
  (void)state;
  server_start(&server, NULL);
  later_init();
  dial(&raw, kept_request);
  test_run_until(&later.came);
  turns(3);
  assert_int_equal(uvws_server_connections(&server.server), 1);
  uv_timer_start(&later.timer, reject_later, 1, 0);
  test_run_until(&raw.closed);
  assert_int_equal(status_of(&raw), 404);
  assert_true(raw.saw_eof);
  server_end();
}

/* Frames that came meanwhile, with the request and behind it, wait for the
 * decision. */
static void test_a_request_may_be_accepted_later(void** state) {
  static uint8_t bytes[512];
  size_t len = strlen(kept_request);
  (void)state;
  server_start(&server, NULL);
  later_init();
  memcpy(bytes, kept_request, len);
  len += make_frame(bytes + len, 0x81, "one", 3, true);
  size_t split = make_frame(bytes + len, 0x81, "two", 3, true) - 2;
  dial_with(&raw, bytes, len + split);
  test_run_until(&later.came);
  raw_send(&raw, bytes + len + split, 2);
  turns(3);
  len += make_frame(bytes + len, 0x81, "three", 5, true);
  raw_send(&raw, bytes + len - 11, 11);
  turns(3);
  assert_int_equal(server.accepted, 0);
  uv_timer_start(&later.timer, accept_later, 1, 0);
  test_run_until(&raw.upgraded);
  assert_int_equal(status_of(&raw), 101);
  assert_non_null(strstr(raw.in, "\r\nSec-WebSocket-Protocol: one\r\n"));
  turns(3);
  raw_send(&raw, bytes, make_frame(bytes, 0x88, "\x03\xe8", 2, true));
  test_run_until(&raw.closed);
  server_end();
  assert_string_equal(server.peers[0].log,
                      "open text(one) text(two) text(three) close(1000 clean)");
}

static void accept_now(uv_async_t* async) {
  server_accept(&server, later.request);
  uv_close((uv_handle_t*)async, NULL);
}

/* One poll reports first what has the request accepted, and then what the
 * client did. */
static void test_what_comes_in_the_turn_of_an_accept_comes_after_open(
    void** state) {
  static const char* const logs[] = {"open text(hi) close(1000 clean)",
                                     "open error(EOF) close(1006)"};
  uint8_t bytes[64];
  size_t len = make_frame(bytes, 0x81, "hi", 2, true);
  (void)state;
  len += make_frame(bytes + len, 0x88, "\x03\xe8", 2, true);
  for (unsigned i = 0; i < COUNT_OF(logs); i++) {
    uv_async_t async;
    server_start(&server, NULL);
    later_init();
    dial(&raw, kept_request);
    test_run_until(&later.came);
    turns(3);
    uv_async_init(test_loop, &async, accept_now);
    uv_async_send(&async);
    if (i == 0)
      raw_send(&raw, bytes, len);
    else
      raw_shutdown(&raw);
    while (server.gone == 0) turns(1);
    uv_close((uv_handle_t*)&later.timer, NULL);
    server_end();
    assert_string_equal(server.peers[0].log, logs[i]);
  }
}

static void leave_undecided(uvws_server_t* to, uvws_request_t* request) {
  (void)to;
  (void)request;
}

static void test_without_an_abort_handler_undecided_is_500(void** state) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = leave_undecided};
  struct sockaddr_in addr;
  int len = sizeof(addr);
  (void)state;
  memset(&server, 0, sizeof(server));
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_server_init(test_loop, &server.server, &events, NULL),
                   0);
  assert_int_equal(uvws_listen(&server.server, (struct sockaddr*)&addr, 0, 8),
                   0);
  assert_int_equal(
      uvws_server_getsockname(&server.server, (struct sockaddr*)&addr, &len),
      0);
  server.port = ntohs(addr.sin_port);
  assert_int_equal(ask(REQUEST "\r\n"), 500);
  assert_int_equal(ask(REQUEST "\r\n"), 500);
  uvws_server_close(&server.server, 0);
  test_run();
  raw_free(&raw);
}

/* Whose client leaves there is nothing to decide. */
static void test_a_client_that_leaves_aborts_its_request(void** state) {
  static const struct {
    raw_then_t then;
    const char* log;
  } cases[] = {{RAW_FIN, "request(/) abort(EOF) close"},
               {RAW_RESET, "request(/) abort(ECONNRESET) close"}};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    server_start(&server, NULL);
    later_init();
    uv_close((uv_handle_t*)&later.timer, NULL);
    dial(&raw, REQUEST "\r\n");
    test_run_until(&later.came);
    if (cases[i].then == RAW_FIN)
      raw_close(&raw);
    else
      raw_reset(&raw);
    while (strstr(server.log, "abort") == NULL) uv_run(test_loop, UV_RUN_ONCE);
    server_end();
    assert_string_equal(server.log, cases[i].log);
  }
}

/* The stream is then closed under the request's feet. */
static void test_the_server_may_be_closed_over_a_bad_record(void** state) {
  static const char record[] = "\x17\x03\x03\x00\x10sixteen wrong ones";
  (void)state;
  if (!test_has_tls()) skip();
  server_start(&server, NULL);
  server.close_in_abort = true;
  later_init();
  uv_close((uv_handle_t*)&later.timer, NULL);
  dial(&raw, REQUEST "\r\n");
  test_run_until(&later.came);
  raw_inject(&raw, record, 21);
  test_run_until(&server.closed);
  assert_string_equal(server.log, "request(/) abort(UVWS_ETLS) close");
  raw_close(&raw);
  server_end();
}

/* ---- the handshake's deadline ---- */

static void test_a_slow_request_is_answered_408(void** state) {
  static const char* const parts[] = {"", "G", "GET / HTTP/1.1\r\nHost: a",
                                      REQUEST};
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(40);
  server_start(&server, &options);
  for (size_t i = 0; i < COUNT_OF(parts); i++)
    assert_int_equal(ask(parts[i]), 408);
  assert_string_equal(server.log, "");
  server_end();
}

static void test_a_late_decision_is_aborted(void** state) {
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(40);
  server_start(&server, &options);
  later_init();
  uv_close((uv_handle_t*)&later.timer, NULL);
  assert_int_equal(ask(REQUEST "\r\n"), 408);
  server_end();
  assert_string_equal(server.log, "request(/) abort(UVWS_ETIMEOUT) close");
}

/* The deadline is that of the handshake: who is open may be silent. */
static void test_the_deadline_ends_with_the_handshake(void** state) {
  uvws_server_options_t options;
  raw_t quiet;
  (void)state;
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(40);
  server_start(&server, &options);
  dial(&quiet, REQUEST "\r\n");
  test_run_until(&quiet.upgraded);
  assert_int_equal(ask("GET"), 408);
  assert_int_equal(ask("GET"), 408);
  assert_false(quiet.closed);
  assert_string_equal(server.peers[0].log, "open");
  raw_close(&quiet);
  server_end();
  raw_free(&quiet);
}

/* Nobody may hold the answer's connection for ever. */
static void test_a_refused_client_that_stays_is_dropped(void** state) {
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.close_timeout = 40;
  server_start(&server, &options);
  dial(&raw, "GET / HTTP/1.1\r\n\r\n");
  raw.then = RAW_DEAF;
  test_run_until(&raw.upgraded);
  while (uvws_server_connections(&server.server) > 0)
    uv_run(test_loop, UV_RUN_ONCE);
  raw_close(&raw);
  server_end();
}

/* ---- bytes, split anywhere ---- */

static void check_split_request(server_t* to, uvws_request_t* request) {
  (void)to;
  assert_string_equal(uvws_request_target(request), "/split?x=y");
  assert_string_equal(uvws_request_header(request, "x-last"), "end of head");
  assert_int_equal(uvws_reject(request, 299, NULL, 0, "ok", 2), 0);
}

static void test_a_head_may_be_split_at_every_byte(void** state) {
  static const char text[] =
      "GET /split?x=y HTTP/1.1\r\nHost: a\r\n" UPGRADE VERSION KEY
      "X-Last: end of head\r\n\r\n";
  const size_t len = sizeof(text) - 1;
  (void)state;
  server_start(&server, NULL);
  server.on_request = check_split_request;
  for (size_t split = 1; split < len; split++) {
    memset(server.log, 0, sizeof(server.log));
    raw_free(&raw);
    dial_with(&raw, text, split);
    while (uvws_server_connections(&server.server) == 0)
      uv_run(test_loop, UV_RUN_ONCE);
    uv_tcp_nodelay(&raw.tcp, 1);
    turns(2);
    assert_string_equal(server.log, "");
    raw_send(&raw, text + split, len - split);
    test_run_until(&raw.closed);
    assert_int_equal(status_of(&raw), 299);
    assert_string_equal(body_of(&raw), "ok");
  }
  server_end();
}

/* They are read together with the head, and belong to the socket. */
static void test_frames_right_behind_the_request_come_after_open(void** state) {
  static uint8_t bytes[1024];
  static const char head[] = REQUEST "\r\n";
  size_t len = sizeof(head) - 1;
  (void)state;
  server_start(&server, NULL);
  memcpy(bytes, head, len);
  len += make_frame(bytes + len, 0x81, "at once", 7, true);
  len += make_frame(bytes + len, 0x89, "p", 1, true);
  len += make_frame(bytes + len, 0x02, "\1\2", 2, true);
  len += make_frame(bytes + len, 0x80, "\3", 1, true);
  len += make_frame(bytes + len, 0x88, "\x03\xe8", 2, true);
  dial_with(&raw, bytes, len);
  test_run_until(&raw.closed);
  assert_int_equal(status_of(&raw), 101);
  server_end();
  assert_string_equal(server.peers[0].log,
                      "open text(at once) ping(p) binary(3) close(1000 clean)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_origin_must_match_host_by_default),
      TEST(test_what_is_no_upgrade_is_refused),
      TEST(test_heads_are_limited),
      TEST(test_reject_answers_as_told),
      TEST(test_a_refused_decision_leaves_the_request),
      TEST(test_a_request_may_be_rejected_later),
      TEST(test_a_request_may_be_accepted_later),
      TEST(test_what_comes_in_the_turn_of_an_accept_comes_after_open),
      TEST(test_without_an_abort_handler_undecided_is_500),
      TEST(test_a_client_that_leaves_aborts_its_request),
      TEST(test_the_server_may_be_closed_over_a_bad_record),
      TEST(test_a_slow_request_is_answered_408),
      TEST(test_a_late_decision_is_aborted),
      TEST(test_the_deadline_ends_with_the_handshake),
      TEST(test_a_refused_client_that_stays_is_dropped),
      TEST(test_a_head_may_be_split_at_every_byte),
      TEST(test_frames_right_behind_the_request_come_after_open),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
