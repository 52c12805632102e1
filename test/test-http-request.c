#include "raw-clients.h"

/* HTTP requests that ask for no WebSocket, seen from raw clients: which of them
 * reach `http`, and what becomes of the answers. */

#define HEAD "Host: example.com\r\n"

static struct {
  uvws_request_t* request; /* of "/later" */
  bool came;
  int status; /* of uvws_respond() inside `abort` */
} later;

static void note(const char* what, const char* method, const char* target) {
  size_t len = strlen(server.log);
  snprintf(server.log + len, sizeof(server.log) - len, "%s%s(%s %s)",
           len > 0 ? " " : "", what, method, target);
}

static const uvws_header_t type = {"Content-Type", "text/html"};

static void answer(uvws_request_t* request) {
  assert_int_equal(uvws_respond(request, 200, &type, 1, "hello", 5), 0);
}

static void answer_after_refused_tries(uvws_request_t* request) {
  static const int bad_status[] = {-1, 0, 99, 101, 199, 600, 65536 + 200};
  static const int bodiless[] = {204, 205, 304};
  static const uvws_header_t bad[] = {{"X", "a\r\nY: b"},
                                      {"Content-Length", "5"},
                                      {"connection", "keep-alive"},
                                      {"X Y", "a"}};
  peer_t* peer = &server.peers[0];
  peer_init(peer);
  assert_int_equal(uvws_accept(request, &peer->ws, NULL), UVWS_EUPGRADE);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  assert_string_equal(peer->log, "");
  for (size_t i = 0; i < COUNT_OF(bad_status); i++)
    assert_int_equal(uvws_respond(request, bad_status[i], NULL, 0, "no", 2),
                     UV_EINVAL);
  for (size_t i = 0; i < COUNT_OF(bodiless); i++)
    assert_int_equal(uvws_respond(request, bodiless[i], NULL, 0, "no", 2),
                     UV_EINVAL);
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    assert_int_equal(uvws_respond(request, 200, &bad[i], 1, "no", 2),
                     UV_EINVAL);
  answer(request);
}

/* The target says what is to be done. */
static void on_http(uvws_server_t* handle, uvws_request_t* request) {
  const char* target = uvws_request_target(request);
  int status = 0;
  assert_ptr_equal(handle, &server.server);
  note("http", uvws_request_method(request), target);
  assert_null(uvws_request_protocol(request, 0));
  if (sscanf(target, "/status/%d", &status) == 1) {
    assert_int_equal(uvws_respond(request, status, NULL, 0, NULL, 0), 0);
  } else if (strcmp(target, "/tries") == 0) {
    answer_after_refused_tries(request);
  } else if (strcmp(target, "/later") == 0) {
    later.request = request;
    later.came = true;
  } else {
    answer(request);
  }
}

static void on_request(uvws_server_t* handle, uvws_request_t* request) {
  assert_ptr_equal(handle, &server.server);
  note("request", uvws_request_method(request), uvws_request_target(request));
  if (strcmp(uvws_request_target(request), "/no") == 0)
    assert_int_equal(uvws_respond(request, 401, &type, 1, "no", 2), 0);
  else
    server_accept(&server, request);
}

static void on_abort(uvws_server_t* handle, uvws_request_t* request,
                     int status) {
  (void)handle;
  note("abort", uvws_request_method(request), uvws_err_name(status));
  later.status = uvws_respond(request, 200, NULL, 0, NULL, 0);
}

static void on_server_close(uvws_server_t* handle) {
  (void)handle;
  server.closed = true;
}

static const uvws_server_events_t events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .abort = on_abort,
    .close = on_server_close, .http = on_http};

static void start(const uvws_server_events_t* with,
                  const uvws_server_options_t* options) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  memset(&server, 0, sizeof(server));
  memset(&later, 0, sizeof(later));
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_server_init(test_loop, &server.server, with, options),
                   0);
  assert_int_equal(uvws_listen(&server.server, (struct sockaddr*)&addr, 0, 8),
                   0);
  assert_int_equal(
      uvws_server_getsockname(&server.server, (struct sockaddr*)&addr, &len),
      0);
  server.port = ntohs(addr.sin_port);
}

/* The whole answer, behind which a FIN stands and no reset, in raw.in. */
static int fetch_with(const void* bytes, size_t len) {
  raw_free(&raw);
  dial_with(&raw, bytes, len);
  test_run_until(&raw.closed);
  assert_true(raw.saw_eof);
  assert_false(raw.saw_reset);
  assert_non_null(raw.in);
  assert_non_null(strstr(raw.in, "\r\nConnection: close\r\n"));
  return status_of(&raw);
}

static int fetch(const char* text) {
  return fetch_with(text, strlen(text));
}

/* ---- what is answered ---- */

static void test_a_page_is_answered_as_told(void** state) {
  (void)state;
  start(&events, NULL);
  assert_int_equal(fetch("GET /page?x HTTP/1.1\r\n" HEAD "\r\n"), 200);
  assert_string_equal(raw.in,
                      "HTTP/1.1 200 OK\r\n"
                      "Connection: close\r\n"
                      "Content-Length: 5\r\n"
                      "Content-Type: text/html\r\n\r\nhello");
  assert_string_equal(server.log, "http(GET /page?x)");
  server_end();
}

static void test_head_has_no_body(void** state) {
  (void)state;
  start(&events, NULL);
  assert_int_equal(fetch("HEAD / HTTP/1.1\r\n" HEAD "\r\n"), 200);
  assert_non_null(strstr(raw.in, "\r\nContent-Length: 5\r\n"));
  assert_string_equal(body_of(&raw), "");
  assert_string_equal(server.log, "http(HEAD /)");
  server_end();
}

/* It comes all the same, and must not turn the end into a reset that takes the
 * answer with it. */
static void test_the_body_of_a_request_is_not_read(void** state) {
  static char text[1 << 20];
  static const size_t sizes[] = {0, 1, 5, 70000, 1000000};
  char log[64] = "";
  (void)state;
  start(&events, NULL);
  memset(text, 'b', sizeof(text));
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    int len = sprintf(
        text, "POST /form HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n",
        sizes[i]);
    text[len] = 'b';
    server.log[0] = '\0';
    assert_int_equal(fetch_with(text, (size_t)len + sizes[i]), 200);
    assert_string_equal(body_of(&raw), "hello");
    snprintf(log, sizeof(log), "http(POST /form)");
    assert_string_equal(server.log, log);
  }
  assert_int_equal(
      fetch("PUT / HTTP/1.1\r\n" HEAD "Transfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n0\r\n\r\n"),
      200);
  server_end();
}

static void test_some_answers_have_no_body(void** state) {
  static const int statuses[] = {204, 304};
  char text[128], line[32];
  (void)state;
  start(&events, NULL);
  for (size_t i = 0; i < COUNT_OF(statuses); i++) {
    snprintf(text, sizeof(text), "GET /status/%d HTTP/1.1\r\n" HEAD "\r\n",
             statuses[i]);
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", statuses[i]);
    assert_int_equal(fetch(text), statuses[i]);
    assert_memory_equal(raw.in, line, strlen(line));
    assert_null(strstr(raw.in, "\r\nContent-Length"));
    assert_string_equal(body_of(&raw), "");
  }
  assert_int_equal(fetch("GET /status/205 HTTP/1.1\r\n" HEAD "\r\n"), 205);
  assert_string_equal(body_of(&raw), "");
  assert_int_equal(fetch("GET /status/404 HTTP/1.1\r\n" HEAD "\r\n"), 404);
  assert_non_null(strstr(raw.in, "\r\nContent-Length: 0\r\n"));
  server_end();
}

/* Whoever asks whether the server is well may be simple; a page of another
 * origin may ask, as it may ask any HTTP server. */
static void test_whatever_is_http_is_answered(void** state) {
  static const char* const texts[] = {
      "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.0\r\n" HEAD "\r\n",
      "HEAD / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\n" HEAD "Origin: http://evil.example\r\n\r\n",
      "GET / HTTP/1.1\r\n" HEAD "Connection: keep-alive\r\n\r\n",
      "GET / HTTP/1.1\r\n" HEAD
      "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\n" HEAD "\r\n",
      "DELETE / HTTP/1.1\r\n" HEAD "\r\n",
  };
  (void)state;
  start(&events, NULL);
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    server.log[0] = '\0';
    assert_int_equal(fetch(texts[i]), 200);
    assert_memory_equal(server.log, "http(", 5);
  }
  server_end();
}

static void test_a_refused_answer_leaves_the_request(void** state) {
  (void)state;
  start(&events, NULL);
  assert_int_equal(fetch("GET /tries HTTP/1.1\r\n" HEAD "\r\n"), 200);
  assert_string_equal(body_of(&raw), "hello");
  assert_string_equal(server.log, "http(GET /tries)");
  server_end();
}

/* Of two in a row the first alone is answered: the answer says so. */
static void test_one_request_per_connection(void** state) {
  (void)state;
  start(&events, NULL);
  assert_int_equal(
      fetch("GET /1 HTTP/1.1\r\n" HEAD "\r\nGET /2 HTTP/1.1\r\n" HEAD "\r\n"),
      200);
  assert_string_equal(body_of(&raw), "hello");
  assert_string_equal(server.log, "http(GET /1)");
  server_end();
}

static void test_a_request_may_be_split_at_every_byte(void** state) {
  static const char text[] = "GET /split HTTP/1.1\r\n" HEAD "X: y\r\n\r\n";
  const size_t len = sizeof(text) - 1;
  (void)state;
  start(&events, NULL);
  for (size_t split = 1; split < len; split++) {
    server.log[0] = '\0';
    raw_free(&raw);
    dial_with(&raw, text, split);
    while (uvws_server_connections(&server.server) == 0)
      uv_run(test_loop, UV_RUN_ONCE);
    turns(2);
    assert_string_equal(server.log, "");
    if (test_has_tls()) test_run_until(&raw.is_secure);
    raw_send(&raw, text + split, len - split);
    test_run_until(&raw.closed);
    assert_string_equal(server.log, "http(GET /split)");
    assert_string_equal(body_of(&raw), "hello");
  }
  server_end();
}

/* ---- what is none of these ---- */

static void test_a_wrong_upgrade_is_refused_as_ever(void** state) {
  static const struct {
    const char* text;
    int status;
  } cases[] = {
      {"GET / HTTP/1.1\r\n" HEAD UPGRADE VERSION
       "Sec-WebSocket-Key: short\r\n\r\n",
       400},
      {"GET / HTTP/1.1\r\n" HEAD UPGRADE VERSION "\r\n", 400},
      {"GET / HTTP/1.1\r\n" HEAD UPGRADE KEY "\r\n", 426},
      {"GET / HTTP/1.1\r\n" HEAD UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n",
       426},
      {"GET / HTTP/1.1\r\n" UPGRADE VERSION KEY "\r\n", 400},
      {"GET / HTTP/1.1\r\n" HEAD "Upgrade: websocket\r\n" VERSION KEY "\r\n",
       400},
      {"POST / HTTP/1.1\r\n" HEAD UPGRADE VERSION KEY "\r\n", 405},
      {"GET / HTTP/1.0\r\n" HEAD UPGRADE VERSION KEY "\r\n", 505},
      {REQUEST "Content-Length: 5\r\n\r\n", 400},
      {REQUEST "Origin: http://evil.example\r\n\r\n", 403},
      {REQUEST "Sec-WebSocket-Protocol: a b\r\n\r\n", 400},
      {"hello\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400},
  };
  (void)state;
  start(&events, NULL);
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(ask(cases[i].text), cases[i].status);
  assert_string_equal(server.log, "");
  assert_int_equal(ask(REQUEST "\r\n"), 101);
  assert_string_equal(server.log, "request(GET /)");
  server_end();
}

static void test_an_upgrade_may_be_answered_too(void** state) {
  (void)state;
  start(&events, NULL);
  assert_int_equal(
      fetch("GET /no HTTP/1.1\r\n" HEAD UPGRADE VERSION KEY "\r\n"), 401);
  assert_string_equal(raw.in,
                      "HTTP/1.1 401 Unauthorized\r\n"
                      "Connection: close\r\n"
                      "Content-Length: 2\r\n"
                      "Content-Type: text/html\r\n\r\nno");
  assert_string_equal(server.log, "request(GET /no)");
  server_end();
}

static void test_without_http_all_else_is_426(void** state) {
  static const char* const texts[] = {
      "GET / HTTP/1.1\r\n" HEAD "\r\n",
      "GET / HTTP/1.1\r\n" HEAD "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
  };
  (void)state;
  server_start(&server, NULL);
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    assert_int_equal(ask(texts[i]), 426);
    assert_non_null(strstr(raw.in, "\r\nUpgrade: websocket\r\n"));
  }
  server_end();
  assert_string_equal(server.log, "close");
}

/* RFC 9110, 9.3.2: whatever becomes of HEAD, there is a length and no body. */
static void check_bodiless(int status) {
  unsigned length = 0;
  assert_int_equal(status_of(&raw), status);
  const char* found = strstr(raw.in, "\r\nContent-Length: ");
  assert_non_null(found);
  assert_int_equal(sscanf(found, "\r\nContent-Length: %u\r\n", &length), 1);
  assert_true(length > 0);
  assert_string_equal(body_of(&raw), "");
}

static void test_refusals_of_head_have_no_body(void** state) {
  static const struct {
    const char* text;
    int status;      /* without `http` */
    int http_status; /* with it */
  } cases[] = {
      {"HEAD / HTTP/1.1\r\n" HEAD "\r\n", 405, 200},
      {"HEAD / HTTP/1.0\r\n" HEAD "\r\n", 405, 200},
      {"HEAD / HTTP/1.1\r\n" HEAD UPGRADE VERSION KEY "\r\n", 405, 405},
      {"HEAD / HTTP/1.1\r\nbad header\r\n\r\n", 400, 400},
      {"HEAD / HTTP/1.1\r\n" HEAD "Content-Length: x\r\n\r\n", 400, 400},
  };
  (void)state;
  for (int i = 0; i < 2; i++) {
    if (i == 0)
      server_start(&server, NULL);
    else
      start(&events, NULL);
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
      fetch(cases[k].text);
      check_bodiless(i == 0 ? cases[k].status : cases[k].http_status);
    }
    server_end();
  }
}

/* ---- who decides later, or never ---- */

static const char asked[] = "GET /later HTTP/1.1\r\n" HEAD "\r\n";
static const char head_asked[] = "HEAD /later HTTP/1.1\r\n" HEAD "\r\n";

static void test_undecided_is_500(void** state) {
  static const uvws_server_events_t hasty = {
      UVWS_SERVER_EVENTS_INIT, .request = on_request, .close = on_server_close,
      .http = on_http};
  (void)state;
  start(&hasty, NULL);
  assert_int_equal(fetch(asked), 500);
  assert_int_equal(fetch(asked), 500);
  check_refusal(&raw);
  fetch(head_asked);
  check_bodiless(500);
  server_end();
}

static void test_an_answer_may_come_later(void** state) {
  (void)state;
  start(&events, NULL);
  dial(&raw, asked);
  test_run_until(&later.came);
  turns(3);
  assert_string_equal(uvws_request_method(later.request), "GET");
  assert_string_equal(uvws_request_target(later.request), "/later");
  assert_string_equal(uvws_request_header(later.request, "host"),
                      "example.com");
  answer(later.request);
  test_run_until(&raw.closed);
  assert_true(raw.saw_eof);
  assert_string_equal(body_of(&raw), "hello");
  assert_string_equal(server.log, "http(GET /later)");
  server_end();
}

static void test_a_client_that_leaves_aborts(void** state) {
  (void)state;
  start(&events, NULL);
  dial(&raw, asked);
  test_run_until(&later.came);
  raw_reset(&raw);
  while (strstr(server.log, "abort") == NULL) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(server.log, "http(GET /later) abort(GET ECONNRESET)");
  assert_int_equal(later.status, UV_ECANCELED);
  server_end();
}

static void test_closing_the_server_aborts(void** state) {
  (void)state;
  start(&events, NULL);
  dial(&raw, asked);
  test_run_until(&later.came);
  uvws_server_close(&server.server, 5000);
  test_run();
  assert_int_equal(status_of(&raw), 503);
  assert_true(raw.saw_eof);
  assert_string_equal(server.log, "http(GET /later) abort(GET ECANCELED)");
  assert_int_equal(later.status, UV_ECANCELED);
  server_end();

  start(&events, NULL);
  dial(&raw, head_asked);
  test_run_until(&later.came);
  uvws_server_close(&server.server, 5000);
  test_run();
  check_bodiless(503);
  server_end();
}

static void test_a_late_answer_is_aborted(void** state) {
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(40);
  start(&events, &options);
  assert_int_equal(fetch(asked), 408);
  assert_string_equal(server.log, "http(GET /later) abort(GET UVWS_ETIMEOUT)");
  fetch(head_asked);
  check_bodiless(408);
  server_end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_page_is_answered_as_told),
      TEST(test_head_has_no_body),
      TEST(test_the_body_of_a_request_is_not_read),
      TEST(test_some_answers_have_no_body),
      TEST(test_whatever_is_http_is_answered),
      TEST(test_a_refused_answer_leaves_the_request),
      TEST(test_one_request_per_connection),
      TEST(test_a_request_may_be_split_at_every_byte),
      TEST(test_a_wrong_upgrade_is_refused_as_ever),
      TEST(test_an_upgrade_may_be_answered_too),
      TEST(test_without_http_all_else_is_426),
      TEST(test_refusals_of_head_have_no_body),
      TEST(test_undecided_is_500),
      TEST(test_an_answer_may_come_later),
      TEST(test_a_client_that_leaves_aborts),
      TEST(test_closing_the_server_aborts),
      TEST(test_a_late_answer_is_aborted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
