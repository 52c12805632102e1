#include "connect.h"

/* UVWS_CONNECT_ONE_AT_A_TIME (RFC 6455, 4.1): who waits for whom, what ends the
 * waiting, and that nobody else waits. */

enum { CLIENTS = 20 };

static server_t server;
static peer_t clients[CLIENTS];
static uvws_options_t options;
static unsigned begun, opened; /* clients */
static unsigned order[CLIENTS];
static uvws_request_t* held; /* the last request for /hold */
static bool is_held;

static int claim_setup(void** state) {
  names_init(&options);
  options.flags = UVWS_CONNECT_ONE_AT_A_TIME;
  begun = opened = 0;
  is_held = false;
  return test_loop_setup(state);
}

#undef TEST
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, claim_setup, test_loop_teardown)

static void note_open(peer_t* peer) {
  order[opened++] = (unsigned)(peer - clients);
}

/* The i-th client, to one of the server's addresses. */
static void begin(unsigned i, const char* host, int port, const char* path) {
  if (i >= begun) begun = i + 1;
  client_init(&clients[i]);
  clients[i].on_open = note_open;
  client_connect(&clients[i], host, port, path, &options);
}

static void hold_some(server_t* s, uvws_request_t* request) {
  if (strcmp(uvws_request_target(request), "/hold") != 0) {
    server_accept(s, request);
    return;
  }
  held = request;
  is_held = true;
}

/* At 127.0.0.1 and 127.0.0.2. */
static void serve(void) {
  struct sockaddr_storage address;
  server_start(&server, NULL);
  server.on_request = hold_some;
  make_address(&address, "127.0.0.2", server.port);
  assert_int_equal(
      uvws_listen(&server.server, (const struct sockaddr*)&address, 0, 128), 0);
}

static void end_all(void) {
  uvws_server_close(&server.server, 0);
  for (unsigned i = 0; i < begun; i++) uvws_terminate(&clients[i].ws);
  test_run();
  assert_true(server.closed);
}

/* The first client is connected, and its request is not answered. */
static void begin_held(const char* host) {
  is_held = false;
  begin(0, host, server.port, "/hold");
  test_run_until(&is_held);
  assert_true(is_held);
}

static void expect_waiting(unsigned i, unsigned connections) {
  turns(10);
  assert_string_equal(clients[i].log, "");
  assert_int_equal(uvws_ready_state(&clients[i].ws), UVWS_CONNECTING);
  assert_int_equal(uvws_server_connections(&server.server), connections);
}

static void expect_open(unsigned i) {
  test_run_until(&clients[i].opened);
  assert_string_equal(clients[i].log, "open");
}

/* ---- one after the other ---- */

static uv_idle_t idle;
static unsigned idle_turns;

static void on_idle(uv_idle_t* handle) {
  uvws_request_t* request = held;
  if (--idle_turns > 0) return;
  uv_idle_stop(handle);
  held = NULL;
  server_accept(&server, request);
}

/* The others are open already: but for this one nobody is here. */
static void answer_later(server_t* s, uvws_request_t* request) {
  assert_null(held);
  assert_int_equal(uvws_server_connections(&s->server), opened + 1);
  held = request;
  idle_turns = 5;
  uv_idle_start(&idle, on_idle);
}

static void test_one_after_the_other(void** state) {
  (void)state;
  serve();
  server.on_request = answer_later;
  held = NULL;
  uv_idle_init(test_loop, &idle);
  for (unsigned i = 0; i < CLIENTS; i++) {
    char host[64];
    /* Different names of one address, and the address itself. */
    snprintf(host, sizeof(host), "%.*s4-127-0-0-1.test", (int)(i % 5 * 2),
             "u.u.u.u.");
    begin(i, i % 7 == 3 ? "127.0.0.1" : host, server.port, "/");
  }
  test_run_until(&clients[CLIENTS - 1].opened);
  assert_int_equal(opened, CLIENTS);
  /* Addresses need no lookup, and so come first. */
  for (unsigned i = 0, n = 0; i < 2 * CLIENTS; i++)
    if ((i % CLIENTS % 7 == 3) == (i < CLIENTS))
      assert_int_equal(order[n++], i % CLIENTS);
  uv_close((uv_handle_t*)&idle, NULL);
  end_all();
}

static void test_failures_one_after_the_other(void** state) {
  uv_tcp_t nobody;
  char expected[128];
  int port = refuse(&nobody);
  (void)state;
  for (unsigned i = 0; i < 5; i++) begin(i, "4-127-0-0-1.test", port, "/");
  for (unsigned i = 0; i < 5; i++) {
    assert_string_equal(clients[i].log, "");
    while (!clients[i].closed) {
      /* At most one that tries, and one that is being closed. */
      assert_true(owned(UV_TCP) <= 2);
      uv_run(test_loop, UV_RUN_ONCE);
    }
    assert_string_equal(clients[i].log, "error(ECONNREFUSED) close(1006)");
  }
  snprintf(expected, sizeof(expected), "127.0.0.1:%d: %s", port,
           uv_strerror(UV_ECONNREFUSED));
  assert_string_equal(reason, expected);
  uv_close((uv_handle_t*)&nobody, NULL);
  turns(1);
}

/* ---- who waits ---- */

static void test_the_same_address_waits(void** state) {
  static const char* const hosts[] = {"127.0.0.1", "4-127-0-0-1.test",
                                      /* One of the addresses is enough. */
                                      "4-127-0-0-2.4-127-0-0-1.test",
                                      "4-127-0-0-1.4-127-0-0-2.test"};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(hosts); i++) {
    serve();
    begin_held("4-127-0-0-1.test");
    begin(1, hosts[i], server.port, "/");
    expect_waiting(1, 1);
    uvws_terminate(&clients[0].ws);
    expect_open(1);
    end_all();
  }
}

static void test_other_addresses_do_not_wait(void** state) {
  raw_t raw = {.then = RAW_STAY};
  (void)state;
  serve();
  raw_serve(&raw);
  begin_held("4-127-0-0-1.test");
  begin(1, "4-127-0-0-2.test", server.port, "/");
  expect_open(1);
  begin(2, "127.0.0.2", server.port, "/");
  expect_open(2);
  begin(3, "4-127-0-0-1.test", raw.port, "/");
  expect_open(3);
  assert_string_equal(clients[0].log, "");
  assert_int_equal(uvws_ready_state(&clients[0].ws), UVWS_CONNECTING);
  end_all();
  raw_free(&raw);
}

/* Who is connected has but one of his addresses left. */
static void test_a_claim_narrows(void** state) {
  (void)state;
  serve();
  begin_held("4-127-0-0-1.4-127-0-0-2.test");
  begin(1, "4-127-0-0-2.test", server.port, "/");
  begin(2, "4-127-0-0-1.test", server.port, "/");
  expect_open(1);
  expect_waiting(2, 2);
  assert_int_equal(uvws_ready_state(&clients[0].ws), UVWS_CONNECTING);
  uvws_terminate(&clients[0].ws);
  expect_open(2);
  end_all();
}

/* Nobody is overtaken by those behind him, or he might wait for ever. */
static void test_nobody_is_overtaken(void** state) {
  (void)state;
  serve();
  begin_held("4-127-0-0-1.test");
  begin(1, "4-127-0-0-1.4-127-0-0-2.test", server.port, "/");
  turns(3);
  begin(2, "4-127-0-0-2.test", server.port, "/");
  expect_waiting(2, 1);
  uvws_terminate(&clients[0].ws);
  expect_open(2);
  assert_int_equal(opened, 2);
  assert_int_equal(order[0], 1);
  end_all();
}

static void test_only_those_who_ask_wait(void** state) {
  (void)state;
  serve();
  options.flags = 0;
  begin_held("4-127-0-0-1.test");
  options.flags = UVWS_CONNECT_ONE_AT_A_TIME;
  begin(1, "4-127-0-0-1.test", server.port, "/");
  expect_open(1);
  is_held = false;
  begin(2, "4-127-0-0-1.test", server.port, "/hold");
  test_run_until(&is_held);
  options.flags = 0;
  begin(3, "4-127-0-0-1.test", server.port, "/");
  expect_open(3);
  assert_string_equal(clients[0].log, "");
  assert_string_equal(clients[2].log, "");
  end_all();
}

/* ---- what ends the waiting ---- */

static void terminate(void) {
  uvws_terminate(&clients[0].ws);
}

static void close_it(void) {
  assert_int_equal(uvws_close(&clients[0].ws, 1000, NULL, 0), 0);
}

static void reject(void) {
  assert_int_equal(uvws_reject(held, 403, NULL, 0, NULL, 0), 0);
}

static void accept_it(void) {
  server_accept(&server, held);
}

static void do_nothing(void) {
}

static void test_an_end_lets_the_next_go(void** state) {
  static const struct {
    void (*end)(void);
    uint32_t handshake_timeout;
    const char* log;
  } cases[] = {
      {terminate, 0, "close(1006)"},
      {close_it, 0, "error(ECONNABORTED) close(1006)"},
      {reject, 0, "error(UVWS_EUPGRADE) close(1006)"},
      {accept_it, 0, "open"},
      {do_nothing, 500, "error(UVWS_ETIMEOUT) close(1006)"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    opened = 0;
    serve();
    options.handshake_timeout = cases[i].handshake_timeout;
    begin_held("4-127-0-0-1.test");
    options.handshake_timeout = 0;
    begin(1, "4-127-0-0-1.test", server.port, "/");
    begin(2, "127.0.0.1", server.port, "/");
    if (cases[i].end != do_nothing) expect_waiting(1, 1);
    cases[i].end();
    expect_open(1);
    expect_open(2);
    assert_string_equal(clients[0].log, cases[i].log);
    end_all();
  }
}

/* Whoever gives up waiting is gone at once, and in nobody's way. */
static void test_an_end_while_waiting(void** state) {
  (void)state;
  serve();
  begin_held("4-127-0-0-1.test");
  for (unsigned i = 1; i <= 3; i++)
    begin(i, "4-127-0-0-1.test", server.port, "/");
  expect_waiting(3, 1);
  uvws_terminate(&clients[1].ws);
  assert_int_equal(uvws_close(&clients[2].ws, 1000, NULL, 0), 0);
  test_run_until(&clients[2].closed);
  assert_string_equal(clients[1].log, "close(1006)");
  assert_string_equal(clients[2].log, "error(ECONNABORTED) close(1006)");
  expect_waiting(3, 1);
  uvws_terminate(&clients[0].ws);
  expect_open(3);
  end_all();
}

/* All at once, from the middle of a turn. */
static void test_all_end_together(void** state) {
  (void)state;
  serve();
  begin_held("4-127-0-0-1.test");
  for (unsigned i = 1; i < CLIENTS; i++)
    begin(i, "4-127-0-0-1.test", server.port, "/");
  turns(5);
  for (unsigned i = 0; i < CLIENTS; i++) uvws_terminate(&clients[i].ws);
  uvws_server_close(&server.server, 0);
  test_run();
  for (unsigned i = 0; i < CLIENTS; i++)
    assert_string_equal(clients[i].log, "close(1006)");
  assert_true(server.closed);
}

static void test_waiting_has_a_deadline(void** state) {
  (void)state;
  serve();
  begin_held("4-127-0-0-1.test");
  options.connect_timeout = 50;
  begin(1, "4-127-0-0-1.test", server.port, "/");
  test_run_until(&clients[1].closed);
  assert_string_equal(clients[1].log, "error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(reason, "connecting took too long: waiting for its turn");
  options.connect_timeout = 0;
  begin(2, "4-127-0-0-1.test", server.port, "/");
  expect_waiting(2, 1);
  uvws_terminate(&clients[0].ws);
  expect_open(2);
  end_all();
}

/* Who waits keeps the loop alive, referenced or not, as a connect under way
 * does; and no longer. */
static void test_waiting_keeps_the_loop_alive(void** state) {
  raw_t raw = {.head = "", .then = RAW_STAY};
  (void)state;
  raw_serve(&raw);
  begin(0, "4-127-0-0-1.test", raw.port, "/");
  test_run_until(&raw.upgraded);
  uv_unref((uv_handle_t*)&raw.tcp);
  uvws_unref(&clients[0].ws);
  turns(5);
  assert_false(uv_loop_alive(test_loop));
  begin(1, "4-127-0-0-1.test", raw.port, "/");
  uvws_unref(&clients[1].ws);
  turns(5);
  assert_true(uv_loop_alive(test_loop));
  uvws_terminate(&clients[1].ws);
  test_run();
  assert_string_equal(clients[1].log, "close(1006)");
  assert_string_equal(clients[0].log, "");
  assert_false(uv_loop_alive(test_loop));
  uvws_terminate(&clients[0].ws);
  test_run_until(&clients[0].closed);
  uv_ref((uv_handle_t*)&raw.tcp);
  test_run();
  raw_free(&raw);
}

static void test_unreferenced_sockets_open_in_order(void** state) {
  (void)state;
  serve();
  for (unsigned i = 0; i < 5; i++) {
    begin(i, "4-127-0-0-1.test", server.port, "/");
    uvws_unref(&clients[i].ws);
  }
  expect_open(4);
  for (unsigned i = 0; i < 5; i++) {
    assert_int_equal(order[i], i);
    assert_false(uvws_has_ref(&clients[i].ws));
  }
  end_all();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_one_after_the_other),
      TEST(test_failures_one_after_the_other),
      TEST(test_the_same_address_waits),
      TEST(test_other_addresses_do_not_wait),
      TEST(test_a_claim_narrows),
      TEST(test_nobody_is_overtaken),
      TEST(test_only_those_who_ask_wait),
      TEST(test_an_end_lets_the_next_go),
      TEST(test_an_end_while_waiting),
      TEST(test_all_end_together),
      TEST(test_waiting_has_a_deadline),
      TEST(test_waiting_keeps_the_loop_alive),
      TEST(test_unreferenced_sockets_open_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
