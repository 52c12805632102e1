#include "reconnect.h"

/* When the helper connects again, and whether. */

/* The jitter draws four bytes, the library's pool of masks far more. */
static enum { RANDOM, ALL_ZERO, HALF, UNAVAILABLE } jitter;
static uint32_t half;

int __real_uv_random(uv_loop_t* loop, uv_random_t* req, void* buf, size_t len,
                     unsigned flags, uv_random_cb cb);
int __wrap_uv_random(uv_loop_t* loop, uv_random_t* req, void* buf, size_t len,
                     unsigned flags, uv_random_cb cb);

int __wrap_uv_random(uv_loop_t* loop, uv_random_t* req, void* buf, size_t len,
                     unsigned flags, uv_random_cb cb) {
  if (len == sizeof(half) && jitter == UNAVAILABLE) return UV_ENOSYS;
  if (len != sizeof(half) || jitter == RANDOM)
    return __real_uv_random(loop, req, buf, len, flags, cb);
  memcpy(buf, jitter == HALF ? &half : &(uint32_t){0}, len);
  return 0;
}

static int policy_setup(void** state) {
  jitter = RANDOM;
  return setup(state);
}

static int http_status;

static void refuse(server_t* s, uvws_request_t* request) {
  (void)s;
  assert_int_equal(uvws_reject(request, http_status, NULL, 0, NULL, 0), 0);
}

/* ---- how long ---- */

/* The delays of `n` waits that are not waited for. */
static void draw(unsigned n, uint32_t first, uint32_t max) {
  subject_init(&subject);
  subject.impatient = true;
  subject.stop_at_wait = n;
  when.first_delay = first;
  when.max_delay = max;
  start(&subject, port_of_nobody());
  run_until_end(&subject);
  assert_int_equal(subject.waits, n);
  end_nobody();
}

static void test_the_bound_doubles_up_to_the_cap(void** state) {
  static const uint32_t bounds[] = {1000,  2000,  4000,  8000,
                                    16000, 30000, 30000, 30000};
  (void)state;
  jitter = ALL_ZERO;
  draw(COUNT_OF(bounds), 1000, 30000);
  assert_memory_equal(subject.delays, bounds, sizeof(bounds));
  jitter = UNAVAILABLE;
  draw(COUNT_OF(bounds), 1000, 30000);
  assert_memory_equal(subject.delays, bounds, sizeof(bounds));
  jitter = ALL_ZERO;
  draw(40, 1, UINT32_MAX);
  for (unsigned i = 0; i < 40; i++)
    assert_int_equal(subject.delays[i], i < 32 ? 1u << i : UINT32_MAX);
  draw(3, UINT32_MAX, UINT32_MAX);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(subject.delays[i], UINT32_MAX);
}

/* From half the bound, if the draw is the largest that counts, to all of it;
 * one more begins again. */
static void test_the_jitter_is_half_of_the_bound(void** state) {
  (void)state;
  jitter = HALF;
  half = 500;
  draw(1, 1000, 30000);
  assert_int_equal(subject.delays[0], 500);
  half = 501;
  draw(1, 1000, 30000);
  assert_int_equal(subject.delays[0], 1000);
  half = UINT32_MAX;
  draw(1, 1, 1);
  assert_int_equal(subject.delays[0], 1);
}

static void test_delays_are_random_within_the_bounds(void** state) {
  unsigned low = 0;
  unsigned same = 0;
  (void)state;
  draw(MAX_WAITS, 1 << 20, 1 << 20);
  for (unsigned i = 0; i < MAX_WAITS; i++) {
    assert_in_range(subject.delays[i], 1 << 19, 1 << 20);
    low += subject.delays[i] < 3 << 18;
    same += i > 0 && subject.delays[i] == subject.delays[i - 1];
  }
  /* Each is missed once in 10^20 runs or less. */
  assert_in_range(low, MAX_WAITS / 4, 3 * MAX_WAITS / 4);
  assert_true(same < 20);
}

static uint64_t waited;

static void measure(uvws_t* ws, int status, const char* reason) {
  subject_t* s = subject_of(ws);
  if (s->waits > 0) waited = uv_hrtime() - s->waiting_since;
  on_error(ws, status, reason);
}

/* The loop's clock has milliseconds, and may be one behind. */
static void test_the_delay_is_waited_for(void** state) {
  static const uvws_events_t table = {UVWS_EVENTS_INIT, .error = measure};
  (void)state;
  jitter = ALL_ZERO;
  when.first_delay = 40;
  when.max_delay = 40;
  when.max_attempts = 1;
  assert_int_equal(uvws_reconnect_start(test_loop, &subject.reconnect,
                                        url_of(port_of_nobody()), NULL, &table,
                                        &events, &when),
                   0);
  run_until_end(&subject);
  assert_int_equal(subject.delays[0], 40);
  assert_true(waited >= 30 * 1000000ull);
  end_nobody();
}

static void test_attempts_have_a_limit(void** state) {
  (void)state;
  when.max_attempts = 3;
  start(&subject, port_of_nobody());
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "error(ECONNREFUSED) close(1006) wait(1) "
                      "error(ECONNREFUSED) close(1006) wait(2) "
                      "error(ECONNREFUSED) close(1006) wait(3) "
                      "error(ECONNREFUSED) close(1006) end(ECONNREFUSED 1006)");
  end_nobody();
}

static void test_a_short_connection_is_not_stable(void** state) {
  (void)state;
  serve_closing_with(1001);
  when.stable_time = UINT32_MAX;
  when.max_attempts = 2;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) open close(1001) wait(2) "
                      "open close(1001) end(0 1001)");
  end_server();
}

static void stop_soon(uv_timer_t* timer) {
  subject_t* s = timer->data;
  uvws_close(&server.peers[server.accepted - 1].ws, 1001, NULL, 0);
  uv_close((uv_handle_t*)&s->timer, NULL);
}

/* The loop's clock again: one more than what is stable. */
static void stay_for_a_while(subject_t* s) {
  uv_timer_init(test_loop, &s->timer);
  s->timer.data = s;
  uv_timer_start(&s->timer, stop_soon, when.stable_time + 1, 0);
}

static void test_a_stable_connection_starts_over(void** state) {
  (void)state;
  server_start(&server, NULL);
  jitter = ALL_ZERO;
  when.first_delay = 1;
  when.max_delay = 100;
  when.stable_time = 10;
  when.max_attempts = 1;
  subject.on_open = stay_for_a_while;
  subject.stop_at_wait = 4;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) open close(1001) wait(1) "
                      "open close(1001) wait(1) open close(1001) wait(1) "
                      "end(0 0)");
  for (unsigned i = 0; i < 4; i++) assert_int_equal(subject.delays[i], 1);
  end_server();
}

static void test_without_a_stable_time_every_open_starts_over(void** state) {
  (void)state;
  serve_closing_with(1001);
  when.stable_time = 0;
  subject.stop_at_wait = 3;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) open close(1001) wait(1) "
                      "open close(1001) wait(1) end(0 0)");
  end_server();

  /* A connection that never opened does not. */
  raw_t raw = {.bytes = "\x88\x02\x03\xe9", .len = 4, .then = RAW_FIN};
  subject_init(&subject);
  when.max_attempts = 2;
  raw_serve(&raw);
  start(&subject, raw.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) "
                      "error(ECONNREFUSED) close(1006) wait(2) "
                      "error(ECONNREFUSED) close(1006) end(ECONNREFUSED 1006)");
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

/* ---- whether ---- */

static void check_verdict(bool retries, const char* end) {
  char log[200];
  run_until_end(&subject);
  snprintf(log, sizeof(log), "%s end(%s)", retries ? "wait(1)" : "",
           retries ? "0 0" : end);
  if (subject.waits != retries ||
      strstr(subject.log, log + (retries ? 0 : 1)) == NULL) {
    print_error("%s, not %s\n", subject.log, log);
    fail();
  }
}

static void test_close_codes(void** state) {
  static const struct {
    int code; /* 0: none, which is 1005; -1: no close frame, 1006 */
    bool retries;
  } cases[] = {
      {1000, false}, {1001, true},  {1002, false}, {1003, false}, {1007, false},
      {1008, false}, {1009, false}, {1010, false}, {1011, true},  {1012, true},
      {1013, true},  {1014, true},  {3000, false}, {3999, false}, {4000, false},
      {4999, false}, {0, true},     {-1, true},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char end[32];
    subject_init(&subject);
    subject.stop_at_wait = 1;
    serve_closing_with(cases[i].code);
    start(&subject, server.port);
    snprintf(end, sizeof(end), "0 %d", cases[i].code);
    check_verdict(cases[i].retries, end);
    end_server();
  }
}

static void test_http_statuses(void** state) {
  static const struct {
    int status;
    bool retries;
  } cases[] = {
      {200, false}, {302, false}, {400, false}, {401, false}, {403, false},
      {404, false}, {407, false}, {408, true},  {409, false}, {424, false},
      {425, true},  {426, false}, {428, false}, {429, true},  {430, false},
      {499, false}, {500, true},  {502, true},  {503, true},  {504, true},
      {599, true},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    subject_init(&subject);
    subject.stop_at_wait = 1;
    server_start(&server, NULL);
    server.on_request = refuse;
    http_status = cases[i].status;
    start_with_retry(&subject, server.port);
    check_verdict(cases[i].retries, "UVWS_EUPGRADE 1006");
    assert_int_equal(subject.http_status, cases[i].status);
    end_server();
  }
}

#define BYTES(text) text, sizeof(text) - 1

static void test_failures(void** state) {
  static const struct {
    const char* head; /* NULL: a correct one */
    const char* bytes;
    size_t len;
    raw_then_t then;
    bool retries;
    const char* end;
  } cases[] = {
      {NULL, BYTES("\x83"), RAW_STAY, false, "UVWS_EPROTOCOL 1006"},
      {NULL, BYTES("\x81\x01\xff"), RAW_STAY, false, "UVWS_EUTF8 1006"},
      {NULL, BYTES("\x82\x02xx"), RAW_STAY, false, "UVWS_ETOOBIG 1006"},
      {NULL, BYTES("\x89\0\x89\0\x89\0"), RAW_STAY, false, "UVWS_ERATE 1006"},
      {NULL, BYTES(""), RAW_FIN, true, ""},
      {NULL, BYTES(""), RAW_RESET, true, ""},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
       "Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
       BYTES(""), RAW_STAY, false, "UVWS_EUPGRADE 1006"},
      {"HTTP/1.1 1", BYTES(""), RAW_FIN, true, ""},
      {"HTTP/1.1 1", BYTES(""), RAW_STAY, true, ""}, /* UVWS_ETIMEOUT */
  };
  (void)state;
  options.max_message = 1;
  options.max_ping_rate = 1;
  options.handshake_timeout = 2000;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    raw_t raw = {.head = cases[i].head,
                 .bytes = cases[i].bytes,
                 .len = cases[i].len,
                 .then = cases[i].then};
    if (i == COUNT_OF(cases) - 1) options.handshake_timeout = 1;
    subject_init(&subject);
    subject.stop_at_wait = 1;
    raw_serve(&raw);
    start(&subject, raw.port);
    check_verdict(cases[i].retries, cases[i].end);
    raw_close(&raw);
    test_run();
    raw_free(&raw);
  }
}

static void terminate(subject_t* s) {
  uvws_terminate(&s->reconnect.ws);
}

static void test_who_terminates_wants_no_more(void** state) {
  (void)state;
  server_start(&server, NULL);
  subject.on_open = terminate;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1006) end(ECANCELED 1006)");
  end_server();
}

static void test_the_user_decides(void** state) {
  (void)state;
  serve_closing_with(4000);
  subject.verdict = 1;
  when.max_attempts = 1;
  start_with_retry(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(4000) retry(4000 0) wait(1) "
                      "open close(4000) retry(4000 0) end(0 4000)");
  end_server();

  subject_init(&subject);
  subject.verdict = 0;
  serve_closing_with(1001);
  start_with_retry(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) retry(1001 1) end(0 1001)");
  end_server();
}

#define RECONNECT_TEST(name) \
  cmocka_unit_test_setup_teardown(name, policy_setup, test_loop_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      RECONNECT_TEST(test_the_bound_doubles_up_to_the_cap),
      RECONNECT_TEST(test_the_jitter_is_half_of_the_bound),
      RECONNECT_TEST(test_delays_are_random_within_the_bounds),
      RECONNECT_TEST(test_the_delay_is_waited_for),
      RECONNECT_TEST(test_attempts_have_a_limit),
      RECONNECT_TEST(test_a_short_connection_is_not_stable),
      RECONNECT_TEST(test_a_stable_connection_starts_over),
      RECONNECT_TEST(test_without_a_stable_time_every_open_starts_over),
      RECONNECT_TEST(test_close_codes),
      RECONNECT_TEST(test_http_statuses),
      RECONNECT_TEST(test_failures),
      RECONNECT_TEST(test_who_terminates_wants_no_more),
      RECONNECT_TEST(test_the_user_decides),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
