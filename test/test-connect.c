#include "connect.h"

#include <netinet/tcp.h>

/* From a name to a connection: which addresses are tried, in which order and
 * from where, the lookup that a program does itself, and what is set on the
 * sockets. Who waits for whom is test-claim.c's, what a proxy adds
 * test-proxies.c's. */

static server_t server;
static peer_t client;
static uvws_options_t options;

static int connect_setup(void** state) {
  names_init(&options);
  return test_loop_setup(state);
}

#undef TEST
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, connect_setup, test_loop_teardown)

enum { FOREVER = 3600 * 1000 };

static void end_server(void) {
  uvws_server_close(&server.server, 0);
  test_run();
  assert_true(server.closed);
}

/* ---- a look in each turn of the loop, before it polls ---- */

static uv_prepare_t prepare;
static unsigned most; /* TCP handles at once */
static void (*look)(void);

static void on_prepare(uv_prepare_t* handle) {
  unsigned n = owned(UV_TCP);
  (void)handle;
  if (n > most) most = n;
  if (look != NULL) look();
}

static void look_begin(void (*function)(void)) {
  most = 0;
  look = function;
  uv_prepare_init(test_loop, &prepare);
  uv_prepare_start(&prepare, on_prepare);
  uv_unref((uv_handle_t*)&prepare);
}

static void look_end(void) {
  uv_close((uv_handle_t*)&prepare, NULL);
  turns(1);
}

/* ---- an address that does not answer ---- */

typedef struct silent_s {
  uv_tcp_t listener;
  uv_tcp_t fillers[8];
  uv_connect_t requests[8];
} silent_t;

static void on_filler(uv_connect_t* request, int status) {
  (void)request;
  (void)status;
}

/* Nobody accepts, and the backlog is full. */
static void silent_start(silent_t* silent, const char* host, int port) {
  struct sockaddr_storage address;
  uv_os_fd_t fd;
  make_address(&address, host, port);
  uv_tcp_init(test_loop, &silent->listener);
  assert_int_equal(
      uv_tcp_bind(&silent->listener, (const struct sockaddr*)&address, 0), 0);
  make_address(&address, host, port_of(&silent->listener));
  uv_fileno((uv_handle_t*)&silent->listener, &fd);
  assert_int_equal(listen(fd, 0), 0);
  for (unsigned i = 0; i < COUNT_OF(silent->fillers); i++) {
    uv_tcp_init(test_loop, &silent->fillers[i]);
    uv_tcp_connect(&silent->requests[i], &silent->fillers[i],
                   (const struct sockaddr*)&address, on_filler);
  }
  turns(1);
}

static void silent_stop(silent_t* silent) {
  for (unsigned i = 0; i < COUNT_OF(silent->fillers); i++)
    uv_close((uv_handle_t*)&silent->fillers[i], NULL);
  uv_close((uv_handle_t*)&silent->listener, NULL);
  turns(1);
}

/* ---- the order of the addresses ---- */

/* RFC 8305, 4: the families take turns. All refuse, and the reason has each. */
static void test_families_take_turns(void** state) {
  static const struct {
    const char* host;
    const char* order; /* the last byte of each, behind its family */
  } cases[] = {
      {"4-127-0-0-2.test", "42"},
      {"6-127-0-0-2.test", "62"},
      {"4-127-0-0-2.4-127-0-0-3.6-127-0-0-4.6-127-0-0-5.test", "42644365"},
      {"6-127-0-0-2.6-127-0-0-3.4-127-0-0-4.4-127-0-0-5.test", "62446345"},
      {"4-127-0-0-2.4-127-0-0-3.4-127-0-0-4.6-127-0-0-5.test", "42654344"},
      {"4-127-0-0-2.6-127-0-0-3.6-127-0-0-4.6-127-0-0-5.test", "42636465"},
      {"4-127-0-0-3.4-127-0-0-2.4-127-0-0-4.test", "434244"},
      {"6-127-0-0-2.4-127-0-0-3.6-127-0-0-4.4-127-0-0-5.test", "62436445"},
      {"u.4-127-0-0-2.u.u.4-127-0-0-3.6-127-0-0-4.u.test", "426443"},
  };
  uv_tcp_t nobody;
  int port = refuse(&nobody);
  (void)state;
  options.attempt_delay = FOREVER;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char expected[512] = "";
    for (const char* at = cases[i].order; *at != '\0'; at += 2) {
      size_t len = strlen(expected);
      bool six = at[0] == '6';
      snprintf(expected + len, sizeof(expected) - len,
               "%s%s127.0.0.%c%s:%d: %s", len > 0 ? "; " : "",
               six ? "[::ffff:" : "", at[1], six ? "]" : "", port,
               uv_strerror(UV_ECONNREFUSED));
    }
    client_init(&client);
    client_connect(&client, cases[i].host, port, "/", &options);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "error(ECONNREFUSED) close(1006)");
    assert_string_equal(reason, expected);
    assert_int_equal(names.asked, i + 1);
  }
  uv_close((uv_handle_t*)&nobody, NULL);
  turns(1);
}

/* Not after attempt_delay. */
static void test_a_refusal_leads_on_at_once(void** state) {
  raw_t raw = {.then = RAW_STAY};
  (void)state;
  options.attempt_delay = FOREVER;
  raw_serve(&raw);
  client_init(&client);
  client_connect(&client, "4-127-0-0-2.4-127-0-0-3.4-127-0-0-1.test", raw.port,
                 "/", &options);
  test_run_until(&client.opened);
  assert_string_equal(client.log, "open");
  assert_int_equal(owned(UV_TCP), 1);
  uvws_terminate(&client.ws);
  test_run_until(&client.closed);
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

/* The status is what the last address said: one that cannot even be tried is an
 * address like any other. */
static void test_the_last_address_has_the_status(void** state) {
  static const struct {
    const char* host;
    int status;
  } cases[] = {
      {"4-127-0-0-1.6-127-0-0-2.test", UV_EAFNOSUPPORT},
      {"6-127-0-0-2.4-127-0-0-1.test", UV_ECONNREFUSED},
      {"6-127-0-0-2.6-127-0-0-3.test", UV_EAFNOSUPPORT},
      {"6-127-0-0-2.4-127-0-0-1.6-127-0-0-3.test", UV_EAFNOSUPPORT},
  };
  struct sockaddr_storage local;
  uv_tcp_t nobody;
  int port = refuse(&nobody);
  (void)state;
  make_address(&local, "127.0.0.1", 0);
  options.local_address = (const struct sockaddr*)&local;
  options.attempt_delay = FOREVER;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char log[96];
    client_init(&client);
    client_connect(&client, cases[i].host, port, "/", &options);
    test_run_until(&client.closed);
    snprintf(log, sizeof(log), "error(%s) close(1006)",
             uvws_err_name(cases[i].status));
    assert_string_equal(client.log, log);
    assert_int_equal(client.status, cases[i].status);
    for (const char* at = cases[i].host; (at = strstr(at, "-0-0-")) != NULL;) {
      char name[32];
      at += strlen("-0-0-");
      snprintf(name, sizeof(name), "127.0.0.%c", *at);
      assert_non_null(strstr(reason, name));
    }
  }
  uv_close((uv_handle_t*)&nobody, NULL);
  turns(1);
}

/* ---- the race ---- */

static void count_at_open(peer_t* peer) {
  assert_int_equal(owned(UV_TCP), 1);
  uvws_terminate(&peer->ws);
}

static void count_at_close(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  assert_int_equal(owned(UV_TCP), 0);
}

/* The second is tried beside the first, which is closed before `open`. An
 * attempt_delay of 0 is the shortest there is. */
static void test_the_first_that_answers_wins(void** state) {
  (void)state;
  for (uint32_t delay = 0; delay <= 20; delay += 10) {
    raw_t raw = {.then = RAW_STAY};
    silent_t silent;
    raw_serve(&raw);
    silent_start(&silent, "127.0.0.2", raw.port);
    options.attempt_delay = delay;
    client_init(&client);
    client.on_open = count_at_open;
    client.on_close = count_at_close;
    look_begin(NULL);
    client_connect(&client, "4-127-0-0-2.4-127-0-0-1.test", raw.port, "/",
                   &options);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open close(1006)");
    assert_int_equal(most, 2);
    look_end();
    silent_stop(&silent);
    raw_free(&raw);
  }
}

/* Before attempt_delay has passed nobody else is tried. */
static void test_the_second_waits_for_the_delay(void** state) {
  raw_t raw = {.then = RAW_STAY};
  silent_t silent;
  char expected[96];
  (void)state;
  raw_serve(&raw);
  silent_start(&silent, "127.0.0.2", raw.port);
  options.attempt_delay = FOREVER;
  options.connect_timeout = 100;
  client_init(&client);
  look_begin(NULL);
  client_connect(&client, "4-127-0-0-2.4-127-0-0-1.test", raw.port, "/",
                 &options);
  test_run_until(&client.closed);
  assert_string_equal(client.log, "error(UVWS_ETIMEOUT) close(1006)");
  snprintf(expected, sizeof(expected),
           "connecting took too long: 127.0.0.2:%d: no answer", raw.port);
  assert_string_equal(reason, expected);
  assert_int_equal(most, 1);
  look_end();
  raw_close(&raw);
  silent_stop(&silent);
}

/* The reason has what was said and who said nothing. */
static void test_a_refusal_and_no_answer(void** state) {
  silent_t silent;
  char expected[160];
  (void)state;
  silent_start(&silent, "127.0.0.1", 0);
  int port = port_of(&silent.listener);
  options.attempt_delay = FOREVER;
  options.connect_timeout = 500;
  client_init(&client);
  client_connect(&client, "4-127-0-0-2.4-127-0-0-1.4-127-0-0-3.test", port, "/",
                 &options);
  test_run_until(&client.closed);
  snprintf(expected, sizeof(expected),
           "connecting took too long: 127.0.0.2:%d: %s; "
           "127.0.0.1:%d: no answer",
           port, uv_strerror(UV_ECONNREFUSED), port);
  assert_string_equal(reason, expected);
  silent_stop(&silent);
}

static void (*ending)(uvws_t* ws);

static void end_in_the_race(void) {
  if (owned(UV_TCP) == 3 && ending != NULL) {
    ending(&client.ws);
    ending = NULL;
  }
}

static void end_by_close(uvws_t* ws) {
  assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
}

/* Whoever ends a race has no handle of it open in `close`. */
static void test_the_end_of_a_race(void** state) {
  static const struct {
    void (*end)(uvws_t* ws);
    const char* log;
  } cases[] = {
      {uvws_terminate, "close(1006)"},
      {end_by_close, "error(ECONNABORTED) close(1006)"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    static const char* const hosts[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    silent_t silent[3];
    int port = 0;
    for (unsigned j = 0; j < 3; j++) {
      silent_start(&silent[j], hosts[j], port);
      port = port_of(&silent[0].listener);
    }
    options.attempt_delay = 10;
    ending = cases[i].end;
    client_init(&client);
    client.on_close = count_at_close;
    look_begin(end_in_the_race);
    client_connect(&client, "4-127-0-0-1.4-127-0-0-2.4-127-0-0-3.test", port,
                   "/", &options);
    test_run_until(&client.closed);
    assert_string_equal(client.log, cases[i].log);
    look_end();
    for (unsigned j = 0; j < 3; j++) silent_stop(&silent[j]);
  }
}

/* ---- the lookup hook ---- */

static void test_a_name_is_asked_for_once(void** state) {
  (void)state;
  server_start(&server, NULL);
  client_init(&client);
  client.on_open = peer_close;
  client_connect(&client, "4-127-0-0-1.TeST", server.port, "/", &options);
  assert_int_equal(names.asked, 0);
  test_run_until(&client.closed);
  assert_int_equal(names.asked, 1);
  assert_string_equal(names.host, "4-127-0-0-1.test");
  assert_string_equal(client.log, "open close(1000 clean)");
  end_server();
}

static void test_addresses_are_not_asked_for(void** state) {
  static const char* const hosts[] = {"127.0.0.1", "0x7f.1", "2130706433",
                                      "[::1]", "[::ffff:127.0.0.1]"};
  uv_tcp_t nobody;
  int port = refuse(&nobody);
  (void)state;
  for (size_t i = 0; i < COUNT_OF(hosts); i++) {
    client_init(&client);
    client_connect(&client, hosts[i], port, "/", &options);
    test_run_until(&client.closed);
    assert_int_equal(names.asked, 0);
    assert_non_null(strstr(reason, i < 3 ? "127.0.0.1:" : "]:"));
  }
  uv_close((uv_handle_t*)&nobody, NULL);
  turns(1);
}

static void test_what_a_lookup_may_find(void** state) {
  static const struct {
    const char* host;
    int status;
    const char* log;
  } cases[] = {
      {"test", 0, "error(EAI_NODATA) close(1006)"},
      {"u.test", 0, "error(EAI_NODATA) close(1006)"},
      {"u.u.test", 0, "error(EAI_NODATA) close(1006)"},
      {"u.4-127-0-0-1.u.test", 0, "open close(1000 clean)"},
      {"u.6-127-0-0-2.u.4-127-0-0-1.test", 0, "open close(1000 clean)"},
      {"test", UV_EAI_NONAME, "error(EAI_NONAME) close(1006)"},
      {"4-127-0-0-1.test", UV_EAI_FAIL, "error(EAI_FAIL) close(1006)"},
      {"4-127-0-0-1.test", UV_ETIMEDOUT, "error(ETIMEDOUT) close(1006)"},
  };
  (void)state;
  server_start(&server, NULL);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    names.status = cases[i].status;
    client_init(&client);
    client.on_open = peer_close;
    client_connect(&client, cases[i].host, server.port, "/", &options);
    test_run_until(&client.closed);
    assert_string_equal(client.log, cases[i].log);
    if (client.status != 0)
      assert_string_equal(reason, uvws_strerror(client.status));
  }
  end_server();
}

static void leave_waiting(uvws_lookup_t* lookup) {
  (void)lookup;
}

static void answer_waiting(void) {
  uvws_lookup_t* lookup = names.waiting;
  answer(lookup, names.host);
}

/* A program that answers later may have nothing of its own in the loop: another
 * thread's uvws_post() is enough. */
static void test_a_lookup_keeps_the_loop_alive(void** state) {
  (void)state;
  names.instead = leave_waiting;
  client_init(&client);
  client_connect(&client, "4-127-0-0-1.test", 80, "/", &options);
  turns(3);
  assert_non_null(names.waiting);
  assert_true(uv_loop_alive(test_loop));
  uvws_unref(&client.ws);
  assert_true(uv_loop_alive(test_loop));
  uvws_terminate(&client.ws);
  test_run();
  assert_string_equal(client.log, "close(1006)");
  assert_false(uv_loop_alive(test_loop));
  answer_waiting();
}

/* Nothing happens inside uvws_lookup_done(). */
static void test_an_answer_that_comes_later(void** state) {
  (void)state;
  server_start(&server, NULL);
  names.instead = leave_waiting;
  client_init(&client);
  client.on_open = peer_close;
  client_connect(&client, "4-127-0-0-1.test", server.port, "/", &options);
  turns(10);
  assert_int_equal(uvws_server_connections(&server.server), 0);
  assert_int_equal(uvws_ready_state(&client.ws), UVWS_CONNECTING);
  answer_waiting();
  assert_string_equal(client.log, "");
  test_run_until(&client.closed);
  assert_string_equal(client.log, "open close(1000 clean)");
  assert_int_equal(names.asked, 1);
  end_server();
}

static void test_a_failure_that_comes_later(void** state) {
  (void)state;
  names.instead = leave_waiting;
  names.status = UV_EAI_AGAIN;
  client_init(&client);
  client_connect(&client, "4-127-0-0-1.test", 80, "/", &options);
  turns(3);
  answer_waiting();
  assert_string_equal(client.log, "");
  test_run();
  assert_string_equal(client.log, "error(EAI_AGAIN) close(1006)");
}

static void terminate_client(uvws_lookup_t* lookup) {
  (void)lookup;
  uvws_terminate(&client.ws);
}

static void terminate_and_answer(uvws_lookup_t* lookup) {
  uvws_terminate(&client.ws);
  answer(lookup, names.host);
}

static void answer_and_terminate(uvws_lookup_t* lookup) {
  answer(lookup, names.host);
  uvws_terminate(&client.ws);
}

static void close_client(uvws_lookup_t* lookup) {
  (void)lookup;
  end_by_close(&client.ws);
}

/* Whoever ends a socket need not wait for the lookup, and uv_loop_close() may
 * come before it is done. */
static void test_ends_during_a_lookup(void** state) {
  static const struct {
    void (*instead)(uvws_lookup_t* lookup);
    void (*end)(uvws_t* ws);
    const char* log;
  } cases[] = {
      {leave_waiting, uvws_terminate, "close(1006)"},
      {leave_waiting, end_by_close, "error(ECONNABORTED) close(1006)"},
      {terminate_client, NULL, "close(1006)"},
      {close_client, NULL, "error(ECONNABORTED) close(1006)"},
      {terminate_and_answer, NULL, "close(1006)"},
      {answer_and_terminate, NULL, "close(1006)"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    peer_t* peer = i < 2 ? malloc(sizeof(*peer)) : &client;
    names.instead = cases[i].instead;
    client_init(peer);
    client_connect(peer, "4-127-0-0-1.test", 80, "/", &options);
    turns(2);
    if (cases[i].end != NULL) cases[i].end(&peer->ws);
    test_run();
    assert_string_equal(peer->log, cases[i].log);
    assert_int_equal(names.asked, i + 1);
    if (peer != &client) free(peer);
    assert_int_equal(uv_loop_close(test_loop), 0);
    assert_int_equal(names.waiting != NULL, i < 4);
    if (names.waiting != NULL) answer_waiting();
    assert_int_equal(uv_loop_init(test_loop), 0);
  }
}

/* An answer that was given but not looked at yet, or not yet asked for. */
static void test_ends_around_a_lookup(void** state) {
  (void)state;
  client_init(&client);
  client_connect(&client, "4-127-0-0-1.test", 80, "/", &options);
  uvws_terminate(&client.ws);
  test_run();
  assert_string_equal(client.log, "close(1006)");
  assert_int_equal(names.asked, 0);

  names.instead = leave_waiting;
  client_init(&client);
  client_connect(&client, "4-127-0-0-1.test", 80, "/", &options);
  turns(2);
  answer_waiting();
  uvws_terminate(&client.ws);
  test_run();
  assert_string_equal(client.log, "close(1006)");
  assert_int_equal(names.asked, 1);
}

/* The same socket connects again while its last lookup is still under way, and
 * is not told what that one found. */
static void test_an_answer_to_an_older_question(void** state) {
  (void)state;
  server_start(&server, NULL);
  names.instead = leave_waiting;
  client_init(&client);
  client_connect(&client, "4-127-0-0-2.test", server.port, "/", &options);
  turns(2);
  uvws_lookup_t* older = names.waiting;
  uvws_terminate(&client.ws);
  test_run_until(&client.closed);
  client_init(&client);
  client.on_open = peer_close;
  client_connect(&client, "4-127-0-0-1.test", server.port, "/", &options);
  turns(2);
  answer(older, "4-127-0-0-2.test");
  turns(3);
  assert_string_equal(client.log, "");
  answer_waiting();
  test_run_until(&client.closed);
  assert_string_equal(client.log, "open close(1000 clean)");
  end_server();
}

static void test_a_lookup_has_a_deadline(void** state) {
  (void)state;
  options.connect_timeout = 50;
  names.instead = leave_waiting;
  client_init(&client);
  client_connect(&client, "4-127-0-0-1.test", 80, "/", &options);
  test_run();
  assert_string_equal(client.log, "error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(reason, "connecting took too long: looking up the name");
  answer_waiting();
  test_run();
}

/* ---- where to connect from ---- */

static char came_from[64];

static void note_origin(server_t* s, uvws_request_t* request) {
  struct sockaddr_in name;
  int len = sizeof(name);
  assert_int_equal(
      uvws_request_getpeername(request, (struct sockaddr*)&name, &len), 0);
  uv_ip4_name(&name, came_from, sizeof(came_from));
  server_accept(s, request);
}

static void test_the_local_address(void** state) {
  static const char* const hosts[] = {"127.0.0.1", "4-127-0-0-1.test",
                                      "6-127-0-0-1.4-127-0-0-1.test"};
  (void)state;
  server_start(&server, NULL);
  server.on_request = note_origin;
  for (size_t i = 0; i < COUNT_OF(hosts); i++) {
    struct sockaddr_storage* local = malloc(sizeof(*local));
    assert_non_null(local);
    make_address(local, i == 0 ? "127.0.0.2" : "127.0.0.3", 0);
    options.local_address = (const struct sockaddr*)local;
    client_init(&client);
    client.on_open = peer_close;
    client_connect(&client, hosts[i], server.port, "/", &options);
    free(local);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open close(1000 clean)");
    assert_string_equal(came_from, i == 0 ? "127.0.0.2" : "127.0.0.3");
  }
  end_server();
}

static void test_local_addresses_that_do_not_fit(void** state) {
  static const struct {
    const char* local;
    const char* to;
    int status;
  } cases[] = {
      {"127.0.0.1", "[::1]", UV_EAFNOSUPPORT},
      {"::1", "127.0.0.1", UV_EAFNOSUPPORT},
      {"192.0.2.1", "127.0.0.1", UV_EADDRNOTAVAIL},
  };
  struct sockaddr_storage local;
  uv_tcp_t nobody;
  int port = refuse(&nobody);
  (void)state;
  options.local_address = (const struct sockaddr*)&local;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char expected[96];
    make_address(&local, cases[i].local, 0);
    client_init(&client);
    client_connect(&client, cases[i].to, port, "/", &options);
    test_run_until(&client.closed);
    assert_int_equal(client.status, cases[i].status);
    snprintf(expected, sizeof(expected), "%s:%d: %s", cases[i].to, port,
             uv_strerror(cases[i].status));
    assert_string_equal(reason, expected);
  }
  memset(&local, 0, sizeof(local));
  local.ss_family = AF_UNIX;
  assert_int_equal(uvws_connect(&client.ws, "ws://127.0.0.1/", &options),
                   UV_EINVAL);
  local.ss_family = AF_UNSPEC;
  assert_int_equal(uvws_connect(&client.ws, "ws://127.0.0.1/", &options),
                   UV_EINVAL);
  uv_close((uv_handle_t*)&nobody, NULL);
  turns(1);
}

/* ---- what is set on the sockets ---- */

typedef struct search_s {
  int port;
  bool is_server;
  uv_os_fd_t fd;
} search_t;

static void find_socket(uv_handle_t* handle, void* arg) {
  search_t* search = arg;
  struct sockaddr_in peer;
  int len = sizeof(peer);
  if (handle->type != UV_TCP || !uvws_owns(handle) ||
      uv_tcp_getpeername((uv_tcp_t*)handle, (struct sockaddr*)&peer, &len) != 0)
    return;
  if ((ntohs(peer.sin_port) != search->port) == search->is_server)
    uv_fileno(handle, &search->fd);
}

static int option_of(const search_t* search, int level, int name) {
  int value = -1;
  socklen_t len = sizeof(value);
  assert_int_equal(getsockopt(search->fd, level, name, &value, &len), 0);
  return value;
}

static void check_socket(bool is_server, uint32_t nodelay, uint32_t keepalive) {
  search_t search = {server.port, is_server, -1};
  uv_walk(test_loop, find_socket, &search);
  assert_int_not_equal(search.fd, -1);
  assert_int_equal(option_of(&search, IPPROTO_TCP, TCP_NODELAY) != 0,
                   nodelay != 0);
  assert_int_equal(option_of(&search, SOL_SOCKET, SO_KEEPALIVE) != 0,
                   keepalive != 0);
#ifdef TCP_KEEPIDLE
  if (keepalive != 0)
    assert_int_equal(option_of(&search, IPPROTO_TCP, TCP_KEEPIDLE), keepalive);
#endif
}

static void test_tcp_settings(void** state) {
  static const struct {
    uint32_t nodelay, keepalive;
  } cases[][2] = {
      {{1, 0}, {1, 0}}, {{0, 0}, {1, 0}},   {{1, 0}, {0, 0}},
      {{1, 7}, {0, 0}}, {{0, 0}, {1, 900}}, {{2, 30}, {7, 40}},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    uvws_server_options_t server_options;
    uvws_server_options_init(&server_options);
    uvws_options_init(&options);
    /* The first row are the defaults. */
    if (i > 0) {
      options.tcp_nodelay = cases[i][0].nodelay;
      options.tcp_keepalive = cases[i][0].keepalive;
      server_options.tcp_nodelay = cases[i][1].nodelay;
      server_options.tcp_keepalive = cases[i][1].keepalive;
    }
    server_start(&server, &server_options);
    client_init(&client);
    client_connect(&client, "127.0.0.1", server.port, "/", &options);
    test_run_until(&client.opened);
    check_socket(false, cases[i][0].nodelay, cases[i][0].keepalive);
    check_socket(true, cases[i][1].nodelay, cases[i][1].keepalive);
    end_server();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_families_take_turns),
      TEST(test_a_refusal_leads_on_at_once),
      TEST(test_the_last_address_has_the_status),
      TEST(test_the_first_that_answers_wins),
      TEST(test_the_second_waits_for_the_delay),
      TEST(test_a_refusal_and_no_answer),
      TEST(test_the_end_of_a_race),
      TEST(test_a_name_is_asked_for_once),
      TEST(test_addresses_are_not_asked_for),
      TEST(test_what_a_lookup_may_find),
      TEST(test_a_lookup_keeps_the_loop_alive),
      TEST(test_an_answer_that_comes_later),
      TEST(test_a_failure_that_comes_later),
      TEST(test_ends_during_a_lookup),
      TEST(test_ends_around_a_lookup),
      TEST(test_an_answer_to_an_older_question),
      TEST(test_a_lookup_has_a_deadline),
      TEST(test_the_local_address),
      TEST(test_local_addresses_that_do_not_fit),
      TEST(test_tcp_settings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
