#include "reconnect.h"

#include <stdlib.h>

/* The helper that connects again: its arguments and memory, the events that it
 * passes on, and its ends. When it tries again is test-reconnect-policy.c's. */

/* ---- what fails ---- */

static unsigned fail_at; /* the allocation from now that fails; 0: none */
static int allocations;

void* __real_malloc(size_t size);
void* __wrap_malloc(size_t size);

/* The helper's own malloc(). */
void* __wrap_malloc(size_t size) {
  return fail_at > 0 && --fail_at == 0 ? NULL : __real_malloc(size);
}

static void* failing_malloc(size_t size) {
  void* ptr = malloc(size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_calloc(size_t n, size_t size) {
  void* ptr = fail_at > 0 && --fail_at == 0 ? NULL : calloc(n, size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_realloc(void* ptr, size_t size) {
  if (fail_at > 0 && --fail_at == 0) return NULL;
  allocations += ptr == NULL;
  return realloc(ptr, size);
}

static void failing_free(void* ptr) {
  allocations -= ptr != NULL;
  free(ptr);
}

static int replace_allocator(void** state) {
  (void)state;
  test_keep_nothing();
  return uvws_replace_allocator(failing_malloc, failing_realloc, failing_calloc,
                                failing_free);
}

static int memory_setup(void** state) {
  fail_at = 0;
  allocations = 0;
  return setup(state);
}

/* Nothing is left, in the loop or in memory. */
static int memory_teardown(void** state) {
  int status = test_loop_teardown(state);
  return status == 0 && allocations == 0 ? 0 : -1;
}

/* ---- options and arguments ---- */

static void test_the_defaults(void** state) {
  struct {
    uvws_reconnect_options_t known;
    char behind;
  } o;
  (void)state;
  memset(&o, 0x55, sizeof(o));
  uvws_reconnect_options_init(&o.known);
  assert_int_equal(o.known.size, sizeof(o.known));
  assert_int_equal(o.known.first_delay, 1000);
  assert_int_equal(o.known.max_delay, 30000);
  assert_int_equal(o.known.stable_time, 60000);
  assert_int_equal(o.known.max_attempts, 0);
  assert_int_equal(o.behind, 0x55);

  /* A program built with an older header: not a byte more. */
  memset(&o, 0x55, sizeof(o));
  uvws_reconnect_options_init_sized(
      &o.known, offsetof(uvws_reconnect_options_t, stable_time));
  assert_int_equal(o.known.max_delay, 30000);
  assert_int_equal(o.known.stable_time, 0x55555555);
}

static void test_what_start_refuses_leaves_nothing(void** state) {
  static const char* const twice[] = {"a", "a"};
  static const uvws_header_t bad_header = {"X", "a\nY: b"};
  uvws_events_t no_size = {0};
  uvws_reconnect_events_t none = {0};
  uvws_reconnect_t* rc = &subject.reconnect;
  (void)state;
#define START(loop, rc, url, options, socket, events, when) \
  uvws_reconnect_start(loop, rc, url, options, socket, events, when)
  assert_int_equal(
      START(NULL, rc, "ws://a/", NULL, &socket_events, &events, NULL),
      UV_EINVAL);
  assert_int_equal(
      START(test_loop, NULL, "ws://a/", NULL, &socket_events, &events, NULL),
      UV_EINVAL);
  assert_int_equal(
      START(test_loop, rc, NULL, NULL, &socket_events, &events, NULL),
      UV_EINVAL);
  assert_int_equal(START(test_loop, rc, "ws://a/", NULL, NULL, &events, NULL),
                   UV_EINVAL);
  assert_int_equal(
      START(test_loop, rc, "ws://a/", NULL, &no_size, &events, NULL),
      UV_EINVAL);
  assert_int_equal(
      START(test_loop, rc, "ws://a/", NULL, &socket_events, NULL, NULL),
      UV_EINVAL);
  assert_int_equal(
      START(test_loop, rc, "ws://a/", NULL, &socket_events, &none, NULL),
      UV_EINVAL);
#undef START
  when.first_delay = 0;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  when.first_delay = when.max_delay + 1;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  when.first_delay = when.max_delay;
  when.size = 0;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  when.size = sizeof(when);

  /* What uvws_connect() finds. */
  assert_int_equal(start_url(&subject, "nonsense"), UVWS_ESYNTAX);
  assert_int_equal(start_url(&subject, "ws://a:25/"), UVWS_ESECURITY);
  options.n_protocols = 2;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  options.protocols = twice;
  assert_int_equal(start_url(&subject, "ws://a/"), UVWS_ESYNTAX);
  uvws_options_init(&options);
  options.n_headers = 1;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  options.headers = &bad_header;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  options.size = 0;
  assert_int_equal(start_url(&subject, "ws://a/"), UV_EINVAL);
  test_run();
  assert_string_equal(subject.log, "");
}

static void test_any_allocation_of_start_may_fail(void** state) {
  int port = port_of_nobody();
  int status = UV_ENOMEM;
  unsigned n = 0;
  (void)state;
  while (status == UV_ENOMEM) {
    fail_at = ++n;
    status = start_url(&subject, url_of(port));
    fail_at = 0;
    if (status != 0) assert_int_equal(allocations, 0);
  }
  assert_int_equal(status, 0);
  assert_true(n > 3);
  uvws_reconnect_stop(&subject.reconnect);
  run_until_end(&subject);
  assert_string_equal(subject.log, "close(1006) end(0 0)");
  end_nobody();
}

/* ---- what is copied ---- */

static unsigned asked;

static void check_request(server_t* s, uvws_request_t* request) {
  asked++;
  assert_string_equal(uvws_request_target(request), "/room?x=1");
  assert_string_equal(uvws_request_header(request, "X-One"), "1");
  assert_string_equal(uvws_request_header(request, "X-Two"), "");
  assert_string_equal(uvws_request_header(request, "Origin"), "http://o");
  assert_string_equal(uvws_request_protocol(request, 0), "alpha");
  assert_string_equal(uvws_request_protocol(request, 1), "b");
  assert_null(uvws_request_protocol(request, 2));
  server_accept(s, request);
}

static void* copy_of(const void* bytes, size_t size) {
  void* copy = malloc(size);
  assert_non_null(copy);
  memcpy(copy, bytes, size);
  return copy;
}

#define TEXT(text) copy_of(text, sizeof(text))

/* Everything is in memory that is freed, which ASan and valgrind watch, before
 * even the first request is sent. */
static void test_nothing_outlives_start(void** state) {
  char* texts[] = {TEXT("X-One"),    TEXT("1"),
                   TEXT("X-Two"),    TEXT(""),
                   TEXT("alpha"),    TEXT("b"),
                   TEXT("http://o"), TEXT("wss://127.0.0.1:65535/room?x=1")};
  const uvws_header_t on_stack[] = {{texts[0], texts[1]}, {texts[2], texts[3]}};
  const char* const names[] = {texts[4], texts[5]};
  (void)state;
  uvws_server_options_t any_origin;
  uvws_server_options_init(&any_origin);
  any_origin.flags = UVWS_SERVER_ANY_ORIGIN;
  server_start(&server, &any_origin);
  server.on_request = check_request;
  server.on_accept = accept_and_end;
  server_code = 1001;
  options.headers = copy_of(on_stack, sizeof(on_stack));
  options.n_headers = 2;
  options.protocols = copy_of(names, sizeof(names));
  options.n_protocols = 2;
  options.origin = texts[6];
  snprintf(texts[7], sizeof("wss://127.0.0.1:65535/room?x=1"),
           "%s://127.0.0.1:%d/room?x=1", test_scheme(), server.port);
  void* parts[] = {
      (void*)options.headers,
      (void*)options.protocols,
      copy_of(&options, sizeof(options)),
      copy_of(&socket_events, sizeof(socket_events)),
      copy_of(&events, sizeof(events)),
      copy_of(&when, sizeof(when)),
  };
  subject.stop_at_wait = 3;
  asked = 0;
  assert_int_equal(uvws_reconnect_start(test_loop, &subject.reconnect, texts[7],
                                        parts[2], parts[3], parts[4], parts[5]),
                   0);
  for (size_t i = 0; i < COUNT_OF(texts); i++) free(texts[i]);
  for (size_t i = 0; i < COUNT_OF(parts); i++) free(parts[i]);
  run_until_end(&subject);
  assert_int_equal(asked, 3);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) open close(1001) wait(2) "
                      "open close(1001) wait(3) end(0 0)");
  end_server();
}

/* The struct as an older program has it. */
static void* older(const void* newer, size_t size) {
  void* copy = copy_of(newer, size);
  memcpy(copy, &size, sizeof(size));
  return copy;
}

/* An older program's structs end early: what lies behind is not read. */
static void test_smaller_structs_are_not_read_beyond(void** state) {
  size_t known = test_has_tls() ? offsetof(uvws_options_t, server_name)
                                : offsetof(uvws_options_t, max_message);
  void* parts[] = {
      older(&options, known),
      older(&socket_events, offsetof(uvws_events_t, message)),
      older(&events, offsetof(uvws_reconnect_events_t, end)),
      older(&when, offsetof(uvws_reconnect_options_t, stable_time)),
  };
  (void)state;
  serve_closing_with(1001);
  subject.stop_at_wait = 2;
  assert_int_equal(
      uvws_reconnect_start(test_loop, &subject.reconnect, url_of(server.port),
                           parts[0], parts[1], parts[2], parts[3]),
      0);
  for (size_t i = 0; i < COUNT_OF(parts); i++) free(parts[i]);
  while (subject.reconnect.impl != NULL) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(subject.log, "open wait(1) open wait(2)");
  end_server();
}

/* A newer program's end later: what this library does not know stays unread. */
static void test_larger_structs_are_not_copied_whole(void** state) {
  struct {
    uvws_reconnect_options_t known;
    char unknown[1024];
  } newer = {.known = when};
  newer.known.size = sizeof(newer);
  (void)state;
  serve_closing_with(1000);
  assert_int_equal(uvws_reconnect_start(test_loop, &subject.reconnect,
                                        url_of(server.port), test_options(NULL),
                                        &socket_events, &events, &newer.known),
                   0);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1000) end(0 1000)");
  end_server();
}

/* ---- the socket's events ---- */

static void speak(peer_t* peer) {
  assert_int_equal(uvws_send(&peer->ws, "hi", 2, UVWS_TEXT), 0);
  assert_int_equal(uvws_ping(&peer->ws, "p", 1), 0);
}

static void speak_and_close(peer_t* peer) {
  speak(peer);
  assert_int_equal(uvws_close(&peer->ws, 4000, NULL, 0), 0);
}

static void speak_on_open(server_t* s, peer_t* peer) {
  (void)s;
  peer->on_open = speak_and_close;
}

static void test_all_events_reach_the_user(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.on_accept = speak_on_open;
  start(&subject, server.port);
  assert_ptr_equal(subject.reconnect.data, &subject);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open text(hi) ping(p) close(4000) end(0 4000)");
  end_server();
}

static void ping(subject_t* s) {
  assert_int_equal(uvws_ping(&s->reconnect.ws, "q", 1), 0);
}

static void close_on_ping(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 1000, NULL, 0), 0);
}

static void expect_ping(server_t* s, peer_t* peer) {
  (void)s;
  peer->on_ping = close_on_ping;
}

static void test_pongs_reach_the_user(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.on_accept = expect_ping;
  subject.on_open = ping;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open pong(q) close(1000) end(0 1000)");
  end_server();
}

static void no_message(uvws_t* ws, const uvws_message_t* message) {
  (void)ws;
  (void)message;
  fail();
}

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  note(subject_of(ws), "chunk", "(%.*s)", (int)chunk->len, chunk->data);
}

static void on_trace(uvws_t* ws, const uvws_trace_t* trace) {
  if (trace->kind == UVWS_TRACE_STATE) subject_of(ws)->flag = true;
}

/* Asked for chunks, the socket has no messages; `open` and `close`, which the
 * helper needs for itself, may be missing. */
static void test_only_the_events_of_the_table_are_set(void** state) {
  static const uvws_events_t table = {UVWS_EVENTS_INIT, .message = no_message,
                                      .chunk = on_chunk, .trace = on_trace};
  (void)state;
  server_start(&server, NULL);
  server.on_accept = speak_on_open;
  assert_int_equal(
      uvws_reconnect_start(test_loop, &subject.reconnect, url_of(server.port),
                           test_options(NULL), &table, &events, NULL),
      0);
  run_until_end(&subject);
  assert_string_equal(subject.log, "chunk(hi) end(0 4000)");
  assert_true(subject.flag);
  end_server();
}

static void test_binary_type_is_kept(void** state) {
  (void)state;
  serve_closing_with(1001);
  subject.stop_at_wait = 2;
  start(&subject, server.port);
  uvws_set_binary_type(&subject.reconnect.ws, UVWS_ARRAYBUFFER);
  run_until_end(&subject);
  assert_int_equal(uvws_binary_type(&subject.reconnect.ws), UVWS_ARRAYBUFFER);
  end_server();
}

/* ---- stopping ---- */

static void test_stop_while_connecting(void** state) {
  (void)state;
  start(&subject, port_of_nobody());
  uvws_reconnect_stop(&subject.reconnect);
  uvws_reconnect_stop(&subject.reconnect);
  assert_string_equal(subject.log, "");
  run_until_end(&subject);
  assert_string_equal(subject.log, "close(1006) end(0 0)");
  uvws_reconnect_stop(&subject.reconnect);
  uvws_reconnect_now(&subject.reconnect);
  end_nobody();
}

static void send_and_stop(subject_t* s) {
  assert_int_equal(uvws_send(&s->reconnect.ws, "bye", 3, UVWS_TEXT), 0);
  uvws_reconnect_now(&s->reconnect); /* nothing */
  uvws_reconnect_stop(&s->reconnect);
  assert_int_equal(uvws_ready_state(&s->reconnect.ws), UVWS_CLOSING);
  uvws_reconnect_stop(&s->reconnect);
}

static void test_stop_while_open_loses_nothing(void** state) {
  (void)state;
  server_start(&server, NULL);
  subject.on_open = send_and_stop;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1000) end(0 0)");
  end_server();
  assert_string_equal(server.peers[0].log, "open text(bye) close(1000 clean)");
}

static void close_and_stop(subject_t* s) {
  assert_int_equal(uvws_close(&s->reconnect.ws, 1001, NULL, 0), 0);
  uvws_reconnect_stop(&s->reconnect);
}

static void test_stop_while_closing(void** state) {
  (void)state;
  server_start(&server, NULL);
  subject.on_open = close_and_stop;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1001) end(0 0)");
  end_server();
}

static void send_stop_and_terminate(subject_t* s) {
  uvws_reconnect_stop(&s->reconnect);
  uvws_terminate(&s->reconnect.ws);
}

static void test_stop_and_terminate(void** state) {
  (void)state;
  server_start(&server, NULL);
  subject.on_open = send_stop_and_terminate;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1006) end(0 0)");
  end_server();
}

static void set_flag(subject_t* s) {
  s->flag = true;
}

/* The long way: nobody wakes the timer. */
static void test_stop_while_waiting(void** state) {
  (void)state;
  when.first_delay = when.max_delay = UINT32_MAX;
  subject.on_wait = set_flag;
  start(&subject, port_of_nobody());
  test_run_until(&subject.flag);
  uvws_reconnect_stop(&subject.reconnect);
  uvws_reconnect_now(&subject.reconnect); /* nothing: it is ending */
  assert_false(subject.ended);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "error(ECONNREFUSED) close(1006) wait(1) end(0 0)");
  end_nobody();
}

static void test_stop_inside_each_event(void** state) {
  static const struct {
    const char* event;
    const char* log;
  } cases[] = {
      {"open", "open close(1000) end(0 0)"},
      {"text", "open text(hi) close(1000) end(0 0)"},
      {"ping", "open text(hi) ping(p) close(1000) end(0 0)"},
      {"error",
       "open text(hi) ping(p) error(UVWS_EPROTOCOL) close(1006) "
       "end(0 0)"},
      {"close",
       "open text(hi) ping(p) error(UVWS_EPROTOCOL) close(1006) "
       "end(0 0)"},
      {"retry",
       "open text(hi) ping(p) error(UVWS_EPROTOCOL) close(1006) "
       "retry(1006 0) end(0 0)"},
      {"wait",
       "open text(hi) ping(p) error(UVWS_EPROTOCOL) close(1006) "
       "retry(1006 0) wait(1) end(0 0)"},
  };
  static const char close_frame[] = "\x88\x02\x03\xe8";
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    bool fails = i > 2;
    raw_t raw = {.bytes = "\x81\2hi\x89\1p\x83", .len = fails ? 8 : 7};
    subject_init(&subject);
    subject.stop_in = cases[i].event;
    subject.verdict = 1;
    raw_serve(&raw);
    start_with_retry(&subject, raw.port);
    while (!fails && raw_close_code(&raw) == 0) uv_run(test_loop, UV_RUN_ONCE);
    if (!fails) {
      assert_int_equal(raw_close_code(&raw), 1000);
      raw_send(&raw, close_frame, sizeof(close_frame) - 1);
      raw_close(&raw);
    }
    run_until_end(&subject);
    assert_string_equal(subject.log, cases[i].log);
    raw_close(&raw);
    test_run();
    raw_free(&raw);
  }
}

static void start_again(subject_t* s) {
  uvws_reconnect_stop(&s->reconnect);
  s->on_end = NULL;
  s->ended = false;
  start(s, server.port);
}

static void test_start_again_inside_end(void** state) {
  (void)state;
  serve_closing_with(1000);
  subject.on_end = start_again;
  start(&subject, server.port);
  test_run_until(&subject.ended);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1000) end(0 1000) "
                      "open close(1000) end(0 1000)");
  end_server();
}

static bool freed;

static void free_subject(subject_t* s) {
  free(s);
  freed = true;
}

static void test_free_inside_end(void** state) {
  subject_t* s = malloc(sizeof(*s));
  (void)state;
  assert_non_null(s);
  subject_init(s);
  serve_closing_with(1001);
  freed = false;
  s->stop_at_wait = 2;
  s->on_end = free_subject;
  start(s, server.port);
  test_run_until(&freed);
  assert_true(freed);
  end_server();
}

/* ---- the loop ---- */

static void count_handles(uv_handle_t* handle, void* arg) {
  unsigned* count = arg;
  if (uvws_reconnect_owns(handle)) {
    assert_false(uvws_owns(handle));
    assert_int_equal(handle->type, UV_TIMER);
    assert_false(uv_is_closing(handle));
    (*count)++;
  }
}

static void test_a_walk_knows_the_timer(void** state) {
  uv_timer_t other;
  unsigned count = 0;
  (void)state;
  uv_timer_init(test_loop, &other);
  other.data = &other;
  start(&subject, port_of_nobody());
  uv_walk(test_loop, count_handles, &count);
  assert_int_equal(count, 1);
  uvws_reconnect_stop(&subject.reconnect);
  run_until_end(&subject);
  count = 0;
  uv_walk(test_loop, count_handles, &count);
  assert_int_equal(count, 0);
  uv_close((uv_handle_t*)&other, NULL);
  end_nobody();
}

static void test_an_unreferenced_wait_lets_the_loop_end(void** state) {
  (void)state;
  when.first_delay = when.max_delay = UINT32_MAX;
  start(&subject, port_of_nobody());
  uvws_unref(&subject.reconnect.ws);
  test_run();
  assert_string_equal(subject.log, "error(ECONNREFUSED) close(1006) wait(1)");
  assert_false(uv_loop_alive(test_loop));

  /* Referenced again, from the next wait on; this one is over. */
  uvws_ref(&subject.reconnect.ws);
  uvws_reconnect_now(&subject.reconnect);
  while (subject.waits < 2) uv_run(test_loop, UV_RUN_NOWAIT);
  assert_true(uv_loop_alive(test_loop));
  uvws_reconnect_stop(&subject.reconnect);
  run_until_end(&subject);
  end_nobody();
}

static void fail_once(subject_t* s) {
  (void)s;
  if (s->waits == 1) fail_at = 1;
}

/* There is no connection, so no `close`; the next attempt works. */
static void test_no_memory_for_the_next_connection(void** state) {
  (void)state;
  serve_closing_with(1001);
  subject.on_wait = fail_once;
  subject.stop_at_wait = 3;
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log,
                      "open close(1001) wait(1) wait(2) "
                      "open close(1001) wait(3) end(0 0)");
  end_server();

  subject_init(&subject);
  subject.on_wait = fail_once;
  when.max_attempts = 1;
  serve_closing_with(1001);
  start(&subject, server.port);
  run_until_end(&subject);
  assert_string_equal(subject.log, "open close(1001) wait(1) end(ENOMEM 1006)");
  end_server();
}

#define RECONNECT_TEST(name) \
  cmocka_unit_test_setup_teardown(name, memory_setup, memory_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      RECONNECT_TEST(test_the_defaults),
      RECONNECT_TEST(test_what_start_refuses_leaves_nothing),
      RECONNECT_TEST(test_any_allocation_of_start_may_fail),
      RECONNECT_TEST(test_nothing_outlives_start),
      RECONNECT_TEST(test_smaller_structs_are_not_read_beyond),
      RECONNECT_TEST(test_larger_structs_are_not_copied_whole),
      RECONNECT_TEST(test_all_events_reach_the_user),
      RECONNECT_TEST(test_pongs_reach_the_user),
      RECONNECT_TEST(test_only_the_events_of_the_table_are_set),
      RECONNECT_TEST(test_binary_type_is_kept),
      RECONNECT_TEST(test_stop_while_connecting),
      RECONNECT_TEST(test_stop_while_open_loses_nothing),
      RECONNECT_TEST(test_stop_while_closing),
      RECONNECT_TEST(test_stop_and_terminate),
      RECONNECT_TEST(test_stop_while_waiting),
      RECONNECT_TEST(test_stop_inside_each_event),
      RECONNECT_TEST(test_start_again_inside_end),
      RECONNECT_TEST(test_free_inside_end),
      RECONNECT_TEST(test_a_walk_knows_the_timer),
      RECONNECT_TEST(test_an_unreferenced_wait_lets_the_loop_end),
      RECONNECT_TEST(test_no_memory_for_the_next_connection),
  };
  return cmocka_run_group_tests(tests, replace_allocator, NULL);
}
