#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the world of a scenario ---- */

struct world_s world;
raw_t raw;
uint8_t big[1000000];

void require(bool condition, const char* what) {
  if (condition) return;
  print_error("%s, fault %s, call %u%s: %s\n", world.scenario->name,
              fault_name(plan.fault), plan.at, plan.for_good ? " and on" : "",
              what);
  fflush(NULL);
  _exit(1);
}

void must(uvws_t* ws, int status) {
  if (status != 0) uvws_terminate(ws);
}

static bool is_client(const seen_t* seen) {
  return seen >= world.clients && seen < world.clients + ENDS;
}

bool begin(seen_t* seen, int status) {
  seen->begun = status == 0;
  world.going += seen->begun;
  world.refused += !seen->begun;
  require(uvws_ready_state(&seen->ws) ==
              (seen->begun ? UVWS_CONNECTING : UVWS_CLOSED),
          "the wrong state after a call");
  return seen->begun;
}

/* The watchdog, a timer, has no `data` to be looked at; ours goes with the rest
 * of the loop's. */
static void find_ours(uv_handle_t* handle, void* arg) {
  (void)arg;
  require(handle->type == UV_TIMER || !uvws_owns(handle),
          "a handle is left when all was closed");
}

static void one_has_gone(void) {
  if (--world.going == 0 && world.refused == 0)
    uv_walk(test_loop, find_ours, NULL);
}

static void on_open(uvws_t* ws) {
  const scenario_t* scenario = world.scenario;
  seen_t* seen = (seen_t*)ws;
  bool client = is_client(seen);
  assert_true(seen->begun);
  assert_int_equal(seen->opens++ + seen->errors + seen->closes, 0);
  if (client && scenario->client_open != NULL) scenario->client_open(ws);
  if (!client && scenario->accepted_open != NULL) scenario->accepted_open(ws);
}

static void close_when_all_came(seen_t* seen) {
  const scenario_t* scenario = world.scenario;
  if (is_client(seen) && scenario->messages > 0 &&
      seen->messages == scenario->messages && seen->pongs == scenario->pongs)
    must(&seen->ws, uvws_close(&seen->ws, 1000, "bye", 3));
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  seen_t* seen = (seen_t*)ws;
  assert_int_equal(uvws_ready_state(ws), UVWS_OPEN);
  assert_int_equal(seen->opens, 1);
  seen->messages++;
  seen->bytes += message->len;
  if (!is_client(seen) && world.scenario->accepted_message != NULL)
    world.scenario->accepted_message(ws, message);
  close_when_all_came(seen);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  seen_t* seen = (seen_t*)ws;
  assert_true(seen->begun);
  assert_true(status < 0);
  assert_non_null(reason);
  assert_int_equal(seen->errors++ + seen->closes, 0);
}

static bool one_goes_on(const seen_t seen[ENDS]) {
  for (size_t i = 0; i < ENDS; i++)
    if (seen[i].begun && seen[i].closes == 0) return true;
  return false;
}

static void close_hosts(uint32_t deadline) {
  for (size_t i = 0; i < COUNT_OF(world.hosts); i++)
    if (world.hosts[i].begun)
      uvws_server_close(&world.hosts[i].server, deadline);
}

void wind_down(void) {
  close_hosts(1000);
  raw_close(&raw);
  if (world.scenario->stop != NULL) world.scenario->stop(false);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  seen_t* seen = (seen_t*)ws;
  assert_true(seen->begun);
  assert_int_equal(seen->closes++, 0);
  assert_false(seen->is_writing);
  assert_int_equal(seen->errors,
                   event->status != 0 && event->status != UV_ECANCELED);
  seen->code = event->code;
  seen->clean = event->was_clean;
  if (world.scenario->closed != NULL) world.scenario->closed(seen);
  one_has_gone();
  if (!world.clients[1].begun || !one_goes_on(world.clients)) wind_down();
}

static void on_ping(uvws_t* ws, const void* data, size_t len) {
  seen_t* seen = (seen_t*)ws;
  (void)data;
  (void)len;
  assert_int_equal(uvws_ready_state(ws), UVWS_OPEN);
  seen->pings++;
}

static void on_pong(uvws_t* ws, const void* data, size_t len, uint64_t rtt) {
  seen_t* seen = (seen_t*)ws;
  (void)data;
  (void)len;
  (void)rtt;
  seen->pongs++;
  close_when_all_came(seen);
}

const uvws_events_t fault_events = {UVWS_EVENTS_INIT,      .open = on_open,
                                    .message = on_message, .error = on_error,
                                    .close = on_close,     .ping = on_ping,
                                    .pong = on_pong};

static const uvws_events_t* events_of_all(void) {
  return world.scenario->events == NULL ? &fault_events
                                        : world.scenario->events;
}

/* ---- servers ---- */

void leave_undecided(uvws_request_t* request) {
  world.undecided = request;
  uvws_server_close(&world.hosts[0].server, 0);
}

void accept_request(uvws_request_t* request) {
  static const uvws_header_t header = {"X-Extra", "yes"};
  uvws_accept_options_t options;
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  seen_t* seen = &world.accepted[world.accepted[0].begun];
  uvws_accept_options_init(&options);
  options.protocol = uvws_request_protocol(request, 1);
  options.headers = &header;
  options.n_headers = 1;
  (void)uvws_request_getpeername(request, (struct sockaddr*)&addr, &len);
  require(!seen->begun, "too many requests");
  assert_int_equal(uvws_init(test_loop, &seen->ws, events_of_all()), 0);
  world.undecided = NULL;
  if (begin(seen, uvws_accept(request, &seen->ws, &options))) return;
  if (uvws_reject(request, 503, NULL, 0, NULL, 0) != 0)
    leave_undecided(request);
}

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  (void)server;
  world.scenario->decide(request);
}

static void on_abort(uvws_server_t* server, uvws_request_t* request,
                     int status) {
  (void)server;
  assert_true(status < 0);
  assert_true(world.undecided == NULL || world.undecided == request);
  world.undecided = NULL;
}

static void on_server_error(uvws_server_t* server, int status) {
  (void)server;
  assert_true(status < 0);
}

static void on_server_close(uvws_server_t* server) {
  host_t* host = (host_t*)server;
  assert_true(host->begun);
  host->closes++;
  one_has_gone();
}

const uvws_server_events_t fault_server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .abort = on_abort,
    .error = on_server_error, .close = on_server_close};

bool start_host(host_t* host, const uvws_server_events_t* events,
                unsigned flags) {
  uvws_server_options_t options;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uvws_server_options_init(&options);
  options.close_timeout = plan.fault == NO_FAULT ? 4000 : 20;
  options.tcp_keepalive = 7;
  if (world.scenario->server_options != NULL)
    world.scenario->server_options(&options);
  plan.calling = true;
#undef uvws_server_init
  int status = (world.scenario->is_plain ? uvws_server_init : test_server_init)(
      test_loop, &host->server, events, &options);
  plan.calling = false;
  if (status != 0) {
    world.refused++;
    return false;
  }
  host->begun = true;
  world.going++;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  status = uvws_listen(&host->server, (const struct sockaddr*)&addr, flags, 8);
  if (status == 0)
    status =
        uvws_server_getsockname(&host->server, (struct sockaddr*)&addr, &len);
  host->port = ntohs(addr.sin_port);
  if (status != 0) uvws_server_close(&host->server, 0);
  return status == 0;
}

bool start_server(void) {
  return start_host(&world.hosts[0], &fault_server_events, 0);
}

/* ---- clients ---- */

void client_options(uvws_options_t* options) {
  static const uvws_header_t header = {"X-Mine", "1"};
  uvws_options_init(options);
  options->headers = &header;
  options->n_headers = 1;
  options->close_timeout = plan.fault == NO_FAULT ? 4000 : 20;
  options->tcp_keepalive = 7;
}

void begin_client(seen_t* client, const char* url,
                  const uvws_options_t* options) {
  assert_int_equal(uvws_init(test_loop, &client->ws, events_of_all()), 0);
  plan.calling = true;
#undef uvws_connect
  int status = (world.scenario->is_plain ? uvws_connect : test_connect)(
      &client->ws, url, options);
  plan.calling = false;
  if (!begin(client, status) && !one_goes_on(world.clients)) wind_down();
}

void connect_client(const char* host, int port, const char* pipe) {
  static const char* const protocols[] = {"soap", "chat"};
  uvws_options_t options;
  char url[64];
  client_options(&options);
  options.protocols = protocols;
  options.n_protocols = port == raw.port ? 0 : 2;
  options.pipe = pipe;
  snprintf(url, sizeof(url), "ws://u:p@%s:%d/x", host, port);
  begin_client(&world.clients[0], url, &options);
}

void echo(uvws_t* ws, const uvws_message_t* message) {
  if (message->type == UVWS_TEXT) {
    must(ws, uvws_send(ws, message->data, message->len, UVWS_TEXT));
    return;
  }
  uvws_blob_t* blob = uvws_message_blob(message);
  must(ws, blob == NULL ? UV_ENOMEM : uvws_send_blob(ws, blob, UVWS_BINARY));
  uvws_blob_unref(blob);
}

/* ---- raw clients ---- */

static void on_raw_end(raw_t* ended) {
  (void)ended;
  close_hosts(1000);
}

/* A deaf peer would not notice the end behind a refusal. */
static void on_raw_data(raw_t* spoken) {
  if (spoken->upgraded && strncmp(spoken->in, "HTTP/1.1 101", 12) != 0)
    on_raw_end(spoken);
}

void dial_raw(raw_then_t then, const void* bytes, size_t len) {
  raw.then = then;
  raw.bytes = bytes;
  raw.len = len;
  raw.on_data = on_raw_data;
  raw.on_end = on_raw_end;
  raw_dial(&raw, world.hosts[0].port);
}

/* ---- time ---- */

void do_soon(uv_timer_cb cb) {
  if (world.soon_set) return;
  world.soon_set = true;
  uv_timer_init(test_loop, &world.soon);
  uv_timer_start(&world.soon, cb, 3, 0);
  uv_unref((uv_handle_t*)&world.soon);
}

static void end_all(void) {
  for (size_t i = 0; i < ENDS; i++) {
    if (world.clients[i].begun) uvws_terminate(&world.clients[i].ws);
    if (world.accepted[i].begun) uvws_terminate(&world.accepted[i].ws);
  }
  close_hosts(0);
  raw_close(&raw);
  if (world.scenario->stop != NULL) world.scenario->stop(true);
}

/* One fault, once, must not make anybody wait; without any memory to spare
 * some wait for what cannot come. */
static void on_end(uv_timer_t* timer) {
  (void)timer;
  world.hung = true;
  end_all();
}

/* ---- runs ---- */

static void print_seen(char** at, const char* before, const seen_t* seen) {
  *at += sprintf(*at, "%s", before);
  if (seen->begun)
    *at += sprintf(*at, "%u %llu %u %u %d%s", seen->messages,
                   (unsigned long long)seen->bytes, seen->pings, seen->pongs,
                   seen->code, seen->clean ? " clean" : "");
}

static void print_all(char* out) {
  print_seen(&out, "", &world.clients[0]);
  print_seen(&out, ", ", &world.accepted[0]);
  if (!world.clients[1].begun && !world.accepted[1].begun) return;
  print_seen(&out, "; ", &world.clients[1]);
  print_seen(&out, ", ", &world.accepted[1]);
}

static void check_seen(const seen_t* seen) {
  require(seen->closes == seen->begun, "not one close event");
  require(!seen->clean || uvws_buffered_amount(&seen->ws) == 0,
          "bufferedAmount after all was sent");
  if (seen->begun)
    require(uvws_ready_state(&seen->ws) == UVWS_CLOSED, "not closed");
  else
    require(seen->opens + seen->errors + seen->messages == 0,
            "an event for a call that was refused");
}

static void check_world(void) {
  for (size_t i = 0; i < ENDS; i++) {
    check_seen(&world.clients[i]);
    check_seen(&world.accepted[i]);
  }
  for (size_t i = 0; i < COUNT_OF(world.hosts); i++)
    require(world.hosts[i].closes == world.hosts[i].begun,
            "not one server close");
  require(world.undecided == NULL, "a request without an end");
  require(!world.hung || plan.for_good, "it hung");
}

/* Returns whether nothing failed. */
static bool run(const scenario_t* scenario) {
  char all[320];
  unsigned failing = plan.at, before = count_descriptors();
  unsigned fault = plan.fault;
  memset(&world, 0, sizeof(world));
  memset(&raw, 0, sizeof(raw));
  world.scenario = scenario;
  plan.fault = NO_FAULT;
  assert_int_equal(test_loop_setup(NULL), 0);
  uv_timer_init(test_loop, &world.end);
  uv_timer_start(&world.end, on_end, plan.for_good ? 30 : 20000, 0);
  uv_unref((uv_handle_t*)&world.end);
  plan.calls = 0;
  plan.fault = fault;
  scenario->start();
  test_run();
  plan.fault = NO_FAULT;
  end_all();
  uv_close((uv_handle_t*)&world.end, NULL);
  if (world.soon_set) uv_close((uv_handle_t*)&world.soon, NULL);
  test_run();
  raw_free(&raw);
  plan.fault = fault;
  check_world();
  if (scenario->check != NULL) scenario->check();
  plan.fault = NO_FAULT;
  require(test_loop_teardown(NULL) == 0, "the loop cannot be closed");
  plan.fault = fault;
  require(live == 0, "memory is left");
  require(count_descriptors() == before, "a descriptor is left");
  if (plan.calls >= failing && failing > 0) return false;
  /* A search that found its end had short deadlines, and its peers may have
   * been late for them. */
  print_all(all);
  require(strcmp(all, scenario->wanted) == 0 || fault != NO_FAULT, all);
  return true;
}

static unsigned next_after(const scenario_t* scenario, unsigned at) {
  bool samples = test_has_tls() && getenv("UVWS_EVERY") == NULL;
  unsigned all = scenario->is_variant ? 6 : 30;
  unsigned part = scenario->is_variant ? 3 : 8;
  return at + 1 + (samples && at > all ? at / part : 0);
}

static void run_each(const scenario_t* scenario, unsigned fault,
                     bool for_good) {
  memset(&plan, 0, sizeof(plan));
  plan.fault = fault;
  plan.for_good = for_good;
  do {
    plan.at = next_after(scenario, plan.at);
  } while (!run(scenario));
}

static suite_t suite;

static void run_all(unsigned fault, bool for_good) {
  for (size_t i = 0; i < suite.n; i++)
    run_each(&suite.scenarios[i], fault, for_good);
}

static void test_nothing_fails(void** state) {
  (void)state;
  run_all(NO_FAULT, false);
}

static void test_each_allocation_fails(void** state) {
  (void)state;
  run_all(ALLOCATION, false);
}

static void test_memory_runs_out(void** state) {
  (void)state;
  run_all(ALLOCATION, true);
}

static void test_allocations_of_the_tls_engine_fail(void** state) {
  (void)state;
  if (!test_has_tls()) skip();
  run_each(suite.engines, ENGINES_ALLOCATION, false);
}

static void test_the_tls_engines_memory_runs_out(void** state) {
  (void)state;
  if (!test_has_tls()) skip();
  run_each(suite.engines, ENGINES_ALLOCATION, true);
}

static void test_each_call_of_libuv_fails(void** state) {
  (void)state;
  for (unsigned call = FIRST_CALL; call < faults_end; call++)
    run_all(call, false);
}

static void test_each_direct_write_fails(void** state) {
  (void)state;
  run_all(TRY_WRITE, false);
}

static void test_direct_writes_take_little_or_nothing(void** state) {
  static const size_t most[] = {0, 1, 5, 12, 1000, 16384, 70000};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(most); i++)
    for (size_t j = 0; j < suite.n; j++) {
      memset(&plan, 0, sizeof(plan));
      plan.try_most = most[i];
      plan.try_none = most[i] == 0;
      assert_true(run(&suite.scenarios[j]));
    }
}

int run_suite(const suite_t* given) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_fails),
      cmocka_unit_test(test_each_allocation_fails),
      cmocka_unit_test(test_memory_runs_out),
      cmocka_unit_test(test_allocations_of_the_tls_engine_fail),
      cmocka_unit_test(test_the_tls_engines_memory_runs_out),
      cmocka_unit_test(test_each_call_of_libuv_fails),
      cmocka_unit_test(test_each_direct_write_fails),
      cmocka_unit_test(test_direct_writes_take_little_or_nothing),
  };
  suite = *given;
  memset(big, 'b', sizeof(big));
  return cmocka_run_group_tests(tests, replace_allocators, NULL);
}
