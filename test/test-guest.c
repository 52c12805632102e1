#include "helper.h"
#include "pair.h"

#include <stdio.h>
#include <string.h>

/* A guest on the loop (rule 13 of docs/design.md): the host's own handles run
 * as they would without us, uv_walk() shows whose handle is whose, nothing
 * keeps the loop from sleeping, from waking up or from ending. */

/* ---- a host ---- */

typedef struct host_s {
  uv_idle_t idle;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_timer_t timer;
  unsigned idles;
  unsigned prepares;
  unsigned checks;
  void (*look)(void); /* in each iteration, after the poll */
} host_t;

static int mark; /* what loop->data points to */

static void on_host_idle(uv_idle_t* idle) {
  ((host_t*)idle->data)->idles++;
  assert_ptr_equal(idle->loop->data, &mark);
}

static void on_host_prepare(uv_prepare_t* prepare) {
  ((host_t*)prepare->data)->prepares++;
  assert_ptr_equal(prepare->loop->data, &mark);
}

static void on_host_check(uv_check_t* check) {
  host_t* host = check->data;
  host->checks++;
  assert_ptr_equal(check->loop->data, &mark);
  if (host->look != NULL) host->look();
}

static void host_init(host_t* host) {
  memset(host, 0, sizeof(*host));
  test_loop->data = &mark;
  uv_idle_init(test_loop, &host->idle);
  uv_prepare_init(test_loop, &host->prepare);
  uv_check_init(test_loop, &host->check);
  uv_timer_init(test_loop, &host->timer);
  host->idle.data = host->prepare.data = host->check.data = host;
  host->timer.data = host;
}

/* A look in each iteration, which does not keep the loop alive. */
static void host_look(host_t* host, void (*look)(void)) {
  host_init(host);
  host->look = look;
  uv_check_start(&host->check, on_host_check);
  uv_unref((uv_handle_t*)&host->check);
}

static void host_close(host_t* host) {
  uv_close((uv_handle_t*)&host->idle, NULL);
  uv_close((uv_handle_t*)&host->prepare, NULL);
  uv_close((uv_handle_t*)&host->check, NULL);
  uv_close((uv_handle_t*)&host->timer, NULL);
}

static int dead_port; /* where nobody listens */

static int find_dead_port(void** state) {
  test_loop_setup(state);
  raw_serve(&raw);
  raw_close(&raw);
  uv_run(test_loop, UV_RUN_NOWAIT);
  dead_port = raw.port;
  return test_loop_teardown(state);
}

/* ---- the host's own handles ---- */

static void host_start(host_t* host) {
  host_init(host);
  uv_idle_start(&host->idle, on_host_idle);
  uv_prepare_start(&host->prepare, on_host_prepare);
  uv_check_start(&host->check, on_host_check);
}

static host_t early, late;

static void start_late(peer_t* peer) {
  host_start(&late);
  say_hi(peer);
}

static void stop_both(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  host_close(&early);
  host_close(&late);
}

/* Each runs once in an iteration, whether it was started before or after our
 * own; `late` starts between an iteration's idle and check handles. */
static void test_the_hosts_handles_run_as_without_us(void** state) {
  (void)state;
  host_start(&early);
  pair_start();
  server.echo = true;
  client.on_open = start_late;
  client.on_message = close_at_once;
  client.on_close = stop_both;
  peer_connect(&client, server.port, NULL);
  test_run();
  assert_string_equal(client.log, "open text(hi) close(1000 clean)");
  assert_true(early.checks > late.checks);
  assert_int_equal(early.idles, early.prepares);
  assert_int_equal(early.idles, early.checks);
  assert_int_equal(late.idles, late.prepares);
  assert_int_equal(late.checks, late.idles + 1);
  assert_ptr_equal(test_loop->data, &mark);
}

/* ---- whose handle is whose ---- */

static const uv_handle_t* hosts[16];
static unsigned n_hosts;
static unsigned n_ours;
static unsigned n_spinning; /* ours that make the poll timeout zero */

static void host_add(void* handle) {
  assert_true(n_hosts < COUNT_OF(hosts));
  hosts[n_hosts++] = handle;
}

static void survey_one(uv_handle_t* handle, void* arg) {
  bool is_ours = true;
  (void)arg;
  for (unsigned i = 0; i < n_hosts; i++)
    if (hosts[i] == handle) is_ours = false;
  assert_int_equal(uvws_owns(handle), is_ours);
  n_ours += is_ours;
  n_spinning += is_ours && handle->type == UV_IDLE && uv_is_active(handle);
}

/* All handles but those of `hosts` are ours. Returns how many. */
static unsigned survey(void) {
  n_ours = n_spinning = 0;
  uv_walk(test_loop, survey_one, NULL);
  return n_ours;
}

static void look_at_handles(void) {
  (void)survey();
}

static struct {
  host_t host;
  uv_tcp_t tcp[3]; /* data: NULL, itself, somewhere in the host's memory */
  uv_pipe_t pipe;
  uv_timer_t timer;
} zoo;

static void zoo_start(void (*look)(void)) {
  memset(&zoo, 0, sizeof(zoo));
  n_hosts = 0;
  host_look(&zoo.host, look);
  for (unsigned i = 0; i < COUNT_OF(zoo.tcp); i++) {
    uv_tcp_init(test_loop, &zoo.tcp[i]);
    host_add(&zoo.tcp[i]);
  }
  zoo.tcp[1].data = &zoo.tcp[1];
  zoo.tcp[2].data = &zoo;
  uv_pipe_init(test_loop, &zoo.pipe, 0);
  zoo.pipe.data = &zoo.pipe;
  uv_timer_init(test_loop, &zoo.timer);
  zoo.timer.data = &zoo.timer;
  host_add(&zoo.pipe);
  host_add(&zoo.timer);
  host_add(&zoo.host.idle);
  host_add(&zoo.host.prepare);
  host_add(&zoo.host.check);
  host_add(&zoo.host.timer);
}

static void zoo_end(void) {
  assert_int_equal(survey(), 0);
  for (unsigned i = 0; i < COUNT_OF(zoo.tcp); i++)
    uv_close((uv_handle_t*)&zoo.tcp[i], NULL);
  uv_close((uv_handle_t*)&zoo.pipe, NULL);
  uv_close((uv_handle_t*)&zoo.timer, NULL);
  host_close(&zoo.host);
  uv_run(test_loop, UV_RUN_DEFAULT);
}

/* Without the helper's watchdog, whose timer would be one more handle. */
static void run_bare_until(const bool* flag) {
  for (int i = 0; i < 100000 && !*flag; i++) uv_run(test_loop, UV_RUN_ONCE);
  assert_true(*flag);
}

static void test_owns_tells_our_handles_at_every_stage(void** state) {
  (void)state;
  zoo_start(look_at_handles);
  assert_int_equal(survey(), 0);
  pair_start();
  assert_int_equal(survey(), 4); /* idle, timer, async, listener */
  peer_connect(&client, server.port, NULL);
  assert_int_equal(survey(), 5);
  run_bare_until(&client.opened);
  assert_int_equal(survey(), 6);
  uvws_close(&client.ws, 1000, NULL, 0);
  assert_int_equal(survey(), 6);
  run_bare_until(&client.closed);
  run_bare_until(&server.closed);
  zoo_end();
}

static void test_owns_tells_our_handles_when_all_goes_wrong(void** state) {
  peer_t lost, refused, cancelled;
  raw_t gone;
  (void)state;
  zoo_start(look_at_handles);
  memset(&raw, 0, sizeof(raw));
  memset(&gone, 0, sizeof(gone));
  raw.then = RAW_RESET;
  raw_serve(&raw);
  host_add(&raw.listener);
  host_add(&raw.tcp);
  peer_init(&lost);
  peer_init(&refused);
  peer_init(&cancelled);
  peer_connect(&lost, raw.port, NULL);
  peer_connect(&refused, dead_port, NULL);
  peer_connect(&cancelled, raw.port, NULL);
  assert_int_equal(survey(), 6);
  uvws_terminate(&cancelled.ws);
  assert_int_equal(survey(), 6);
  run_bare_until(&lost.closed);
  run_bare_until(&refused.closed);
  run_bare_until(&cancelled.closed);
  raw_free(&raw);
  zoo_end();
}

/* ---- uvws_walk() ---- */

static uvws_t* known[8];
static unsigned n_known;
static bool visited[8];

static void visit(uvws_t* ws, void* arg) {
  unsigned i = 0;
  assert_ptr_equal(arg, &mark);
  while (i < n_known && known[i] != ws) i++;
  assert_true(i < n_known);
  assert_false(visited[i]);
  visited[i] = true;
}

static void look_at_sockets(void) {
  memset(visited, 0, sizeof(visited));
  uvws_walk(test_loop, visit, &mark);
  for (unsigned i = 0; i < n_known; i++)
    assert_int_equal(visited[i], uvws_ready_state(known[i]) != UVWS_CLOSED);
}

static void know(server_t* from, peer_t* peer) {
  (void)from;
  known[n_known++] = &peer->ws;
}

static void look_in_event(peer_t* peer) {
  (void)peer;
  look_at_sockets();
}

static void look_in_close(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  look_in_event(peer);
}

static void test_walk_visits_the_sockets_that_are_not_closed(void** state) {
  host_t host;
  peer_t refused;
  (void)state;
  host_look(&host, look_at_sockets);
  n_known = 0;
  look_at_sockets();
  pair_start();
  look_at_sockets();
  server.on_accept = know;
  peer_init(&refused);
  know(NULL, &client);
  know(NULL, &refused);
  client.on_open = client.on_error = look_in_event;
  refused.on_error = look_in_event;
  client.on_close = refused.on_close = look_in_close;
  peer_connect(&client, server.port, NULL);
  peer_connect(&refused, dead_port, NULL);
  look_at_sockets();
  test_run_until(&client.opened);
  look_at_sockets();
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run_until(&server.closed);
  look_at_sockets();
  host_close(&host);
  test_run();
}

static void end_all(uvws_t* ws, void* arg) {
  unsigned* n = arg;
  /* This one in one way, and all of them in another. */
  if (*n % 2 == 0)
    uvws_terminate(ws);
  else
    assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  if (++*n == 3)
    for (unsigned i = 0; i < n_known; i++) uvws_terminate(known[i]);
}

static void test_walk_may_end_the_sockets(void** state) {
  peer_t clients[5];
  unsigned n = 0;
  (void)state;
  n_known = 0;
  server_start(&server, NULL);
  for (unsigned i = 0; i < COUNT_OF(clients); i++) {
    peer_init(&clients[i]);
    know(NULL, &clients[i]);
    peer_connect(&clients[i], server.port, NULL);
  }
  for (unsigned i = 0; i < COUNT_OF(clients) - 1; i++)
    test_run_until(&clients[i].opened);
  uvws_walk(test_loop, end_all, &n);
  assert_true(n >= COUNT_OF(clients));
  for (unsigned i = 0; i < COUNT_OF(clients); i++)
    test_run_until(&clients[i].closed);
  uvws_server_close(&server.server, 0);
  test_run();
}

/* ---- when the loop ends ---- */

static void test_unreferenced_ones_let_the_loop_end(void** state) {
  (void)state;
  pair_open();
  uvws_unref(&client.ws);
  uvws_unref(&server.peers[0].ws);
  assert_int_equal(uv_run(test_loop, UV_RUN_NOWAIT), 1); /* the listener */
  uvws_server_unref(&server.server);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uvws_ready_state(&client.ws), UVWS_OPEN);
  uvws_server_ref(&server.server);
  assert_int_equal(uv_loop_alive(test_loop), 1);
  uvws_server_unref(&server.server);
  assert_int_equal(uv_loop_alive(test_loop), 0);
  uvws_ref(&server.peers[0].ws);
  assert_int_equal(uv_loop_alive(test_loop), 1);
  uvws_unref(&server.peers[0].ws);
  assert_int_equal(uv_loop_alive(test_loop), 0);
  uvws_ref(&client.ws);
  uvws_ref(&client.ws); /* a state, not a count */
  uvws_unref(&client.ws);
  assert_int_equal(uv_loop_alive(test_loop), 0);
  uvws_ref(&client.ws);
  assert_int_equal(uv_loop_alive(test_loop), 1);
  uvws_ref(&server.peers[0].ws);
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
  assert_string_equal(client.log, "open close(1000 clean)");
}

/* What is not open yet obeys as well. */
static void test_unref_counts_from_before_the_connection(void** state) {
  (void)state;
  server_start(&server, NULL);
  uvws_server_unref(&server.server);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  peer_init(&client);
  uvws_unref(&client.ws);
  peer_connect(&client, server.port, NULL);
  test_run_until(&client.opened);
  uvws_unref(&server.peers[0].ws);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uvws_ready_state(&client.ws), UVWS_OPEN);
  assert_int_equal(uvws_has_ref(&client.ws), 0);
  uvws_terminate(&client.ws);
  uvws_server_close(&server.server, 0);
  test_run();
}

/* A deadline alone is no reason to live. */
static void test_a_deadline_does_not_keep_the_loop_alive(void** state) {
  (void)state;
  memset(&raw, 0, sizeof(raw));
  raw.head = ""; /* no answer */
  raw_serve(&raw);
  peer_init(&client);
  peer_connect(&client, raw.port, NULL);
  test_run_until(&raw.upgraded);
  uv_unref((uv_handle_t*)&raw.tcp);
  assert_int_equal(uv_run(test_loop, UV_RUN_NOWAIT), 1);
  uvws_unref(&client.ws);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uvws_ready_state(&client.ws), UVWS_CONNECTING);
  uvws_terminate(&client.ws);
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

/* The loop does not exit over bytes that are still corked. */
static void test_unreferenced_bytes_leave_before_the_loop_ends(void** state) {
  (void)state;
  pair_open();
  uvws_unref(&client.ws);
  uvws_server_unref(&server.server);
  uvws_unref(&server.peers[0].ws);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  say_hi(&client);
  assert_true(uvws_queue_size(&client.ws) > 0);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uvws_queue_size(&client.ws), 0);
  uvws_ref(&client.ws);
  uvws_ref(&server.peers[0].ws);
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
  assert_string_equal(server.peers[0].log, "open text(hi) close(1000 clean)");
}

static void expect_no_handles(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  (void)peer;
  assert_int_equal(survey(), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
}

/* uv_loop_close() would succeed right behind the last `close` event. */
static void test_the_last_close_event_finds_no_handle_of_ours(void** state) {
  (void)state;
  n_hosts = 0;
  peer_init(&client);
  client.on_close = expect_no_handles;
  peer_connect(&client, dead_port, NULL);
  run_bare_until(&client.closed);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  /* The same when it was open. */
  memset(&raw, 0, sizeof(raw));
  raw_serve(&raw);
  host_add(&raw.listener);
  host_add(&raw.tcp);
  peer_init(&client);
  client.on_close = expect_no_handles;
  peer_connect(&client, raw.port, NULL);
  run_bare_until(&client.opened);
  uvws_terminate(&client.ws);
  run_bare_until(&client.closed);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  raw_free(&raw);
}

static void call_everything(peer_t* peer) {
  uvws_t* ws = &peer->ws;
  uvws_header_t header;
  assert_int_equal(uvws_ready_state(ws), UVWS_CLOSED);
  assert_int_equal(uvws_send(ws, "abc", 3, UVWS_TEXT), UV_ESHUTDOWN);
  assert_true(uvws_buffered_amount(ws) >= 3);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_non_null(strstr(uvws_url(ws), "://127.0.0.1:"));
  assert_string_equal(uvws_protocol(ws), "");
  assert_string_equal(uvws_extensions(ws), "");
  assert_int_equal(uvws_http_status(ws), 0);
  assert_null(uvws_response_header(ws, "Server"));
  assert_int_equal(uvws_response_header_at(ws, 0, &header), UV_ENOENT);
  assert_int_equal(uvws_getpeername(ws, NULL, NULL), UV_ENOTCONN);
  assert_int_equal(uvws_ping(ws, NULL, 0), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  uvws_flush(ws);
  uvws_ref(ws);
  uvws_unref(ws);
  uvws_terminate(ws);
}

static void call_everything_in_close(peer_t* peer,
                                     const uvws_close_event_t* event) {
  (void)event;
  call_everything(peer);
}

/* Rule 2, where nothing is left to stand on. */
static void test_the_last_socket_answers_every_call_in_its_last_events(
    void** state) {
  (void)state;
  peer_init(&client);
  client.on_error = call_everything;
  client.on_close = call_everything_in_close;
  peer_connect(&client, dead_port, NULL);
  test_run();
  assert_string_equal(client.log, "error(ECONNREFUSED) close(1006)");
}

static void connect_again(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  if (++peer->messages < 3) peer_connect(peer, dead_port, NULL);
}

/* The loop that one of our states is leaving gets another. */
static void test_sockets_may_start_when_the_last_one_ended(void** state) {
  (void)state;
  peer_init(&client);
  client.on_close = connect_again;
  peer_connect(&client, dead_port, NULL);
  test_run();
  assert_int_equal(client.messages, 3);
  for (int i = 0; i < 3; i++) {
    pair_open();
    uvws_close(&client.ws, 1000, NULL, 0);
    test_run();
    assert_string_equal(client.log, "open close(1000 clean)");
    assert_int_equal(uv_loop_alive(test_loop), 0);
  }
}

static peer_t crowd[6];
static unsigned n_crowd;

static void connect_one_more(void) {
  if (n_crowd == COUNT_OF(crowd)) return;
  peer_init(&crowd[n_crowd]);
  peer_connect(&crowd[n_crowd++], dead_port, NULL);
}

/* One in each iteration: while our own handles are closing, too. */
static void test_sockets_may_start_while_the_last_one_ends(void** state) {
  host_t host;
  (void)state;
  zoo_start(look_at_handles);
  host_look(&host, connect_one_more);
  host_add(&host.idle);
  host_add(&host.prepare);
  host_add(&host.check);
  host_add(&host.timer);
  n_crowd = 0;
  connect_one_more();
  for (unsigned i = 0; i < COUNT_OF(crowd); i++) {
    run_bare_until(&crowd[i].closed);
    assert_int_equal(crowd[i].status, UV_ECONNREFUSED);
  }
  host_close(&host);
  uv_run(test_loop, UV_RUN_NOWAIT);
  zoo_end();
}

static void on_no_request(uvws_server_t* from, uvws_request_t* request) {
  (void)from;
  (void)request;
  fail();
}

/* A loop of the test's own, closed as soon as uv_run() returns. */
static void test_loop_close_succeeds_after_the_last_close_event(void** state) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = on_no_request};
  uv_loop_t other;
  uvws_server_t lonely;
  (void)state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(uv_loop_init(&other), 0);
    if (i != 1) {
      assert_int_equal(uvws_server_init(&other, &lonely, &events, NULL), 0);
      uvws_server_close(&lonely, 0);
    }
    if (i != 0) {
      peer_init(&client);
      assert_int_equal(uvws_init(&other, &client.ws, &peer_events), 0);
      peer_connect(&client, dead_port, NULL);
    }
    assert_int_equal(uv_run(&other, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&other), 0);
  }
}

/* An active idle handle makes the loop spin. */
static void test_a_quiet_loop_sleeps(void** state) {
  (void)state;
  n_hosts = 0;
  pair_start();
  peer_connect(&client, server.port, NULL);
  run_bare_until(&client.opened);
  say_hi(&client);
  while (server.peers[0].messages == 0) uv_run(test_loop, UV_RUN_NOWAIT);
  for (int i = 0; i < 3; i++) uv_run(test_loop, UV_RUN_NOWAIT);
  (void)survey();
  assert_int_equal(n_spinning, 0);
  assert_int_not_equal(uv_backend_timeout(test_loop), 0);
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
}

/* ---- two loops ---- */

enum { ROUNDS = 200 };

/* What a thread has; cmocka's assertions are for the main thread only. */
typedef struct world_s {
  uv_loop_t loop;
  uvws_server_t server;
  uvws_t client;
  uvws_t accepted;
  uvws_blob_t* blob; /* the same in both */
  unsigned failures;
  unsigned echoes;
  unsigned closes;
} world_t;

#define EXPECT(world, condition) ((world)->failures += (condition) ? 0 : 1)

static void world_on_open(uvws_t* ws) {
  world_t* world = ws->data;
  if (ws == &world->client)
    EXPECT(world, uvws_send_blob(ws, world->blob, UVWS_TEXT) == 0);
}

static void world_on_message(uvws_t* ws, const uvws_message_t* message) {
  world_t* world = ws->data;
  EXPECT(world, message->len == uvws_blob_size(world->blob));
  if (ws == &world->client && ++world->echoes == ROUNDS)
    EXPECT(world, uvws_close(ws, 1000, NULL, 0) == 0);
  else
    EXPECT(world, uvws_send_blob(ws, world->blob, UVWS_TEXT) == 0);
}

static void world_on_close(uvws_t* ws, const uvws_close_event_t* event) {
  world_t* world = ws->data;
  EXPECT(world, event->was_clean);
  world->closes++;
  if (ws == &world->accepted) uvws_server_close(&world->server, 0);
}

static const uvws_events_t world_events = {
    UVWS_EVENTS_INIT, .open = world_on_open, .message = world_on_message,
    .close = world_on_close};

static void world_on_request(uvws_server_t* from, uvws_request_t* request) {
  world_t* world = from->data;
  EXPECT(world, uvws_init(&world->loop, &world->accepted, &world_events) == 0);
  EXPECT(world, uvws_accept(request, &world->accepted, NULL) == 0);
}

static const uvws_server_events_t world_server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = world_on_request};

static void world_round(world_t* world) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  char url[64];
  world->echoes = world->closes = 0;
  EXPECT(world, uv_loop_init(&world->loop) == 0);
  EXPECT(world, uvws_server_init(&world->loop, &world->server,
                                 &world_server_events, NULL) == 0);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  EXPECT(world,
         uvws_listen(&world->server, (struct sockaddr*)&addr, 0, 8) == 0);
  EXPECT(world, uvws_server_getsockname(&world->server, (struct sockaddr*)&addr,
                                        &len) == 0);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", ntohs(addr.sin_port));
  EXPECT(world, uvws_init(&world->loop, &world->client, &world_events) == 0);
  EXPECT(world, uvws_connect(&world->client, url, NULL) == 0);
  EXPECT(world, uv_run(&world->loop, UV_RUN_DEFAULT) == 0);
  EXPECT(world, uv_loop_close(&world->loop) == 0);
  EXPECT(world, world->echoes == ROUNDS && world->closes == 2);
}

static void world_run(void* arg) {
  world_t* world = arg;
  world->server.data = world->client.data = world->accepted.data = world;
  for (int i = 0; i < 5; i++) world_round(world);
  uvws_blob_unref(world->blob);
}

static void test_two_loops_run_in_two_threads(void** state) {
  static world_t worlds[2];
  uv_thread_t threads[2];
  (void)state;
  uvws_blob_t* blob = uvws_blob_new("two worlds, one blob", 20);
  for (int i = 0; i < 2; i++) {
    worlds[i].blob = uvws_blob_ref(blob);
    assert_int_equal(uv_thread_create(&threads[i], world_run, &worlds[i]), 0);
  }
  uvws_blob_unref(blob);
  for (int i = 0; i < 2; i++) {
    uv_thread_join(&threads[i]);
    assert_int_equal(worlds[i].failures, 0);
    assert_int_equal(worlds[i].echoes, ROUNDS);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_hosts_handles_run_as_without_us),
      TEST(test_owns_tells_our_handles_at_every_stage),
      TEST(test_owns_tells_our_handles_when_all_goes_wrong),
      TEST(test_walk_visits_the_sockets_that_are_not_closed),
      TEST(test_walk_may_end_the_sockets),
      TEST(test_unreferenced_ones_let_the_loop_end),
      TEST(test_unref_counts_from_before_the_connection),
      TEST(test_a_deadline_does_not_keep_the_loop_alive),
      TEST(test_unreferenced_bytes_leave_before_the_loop_ends),
      TEST(test_the_last_close_event_finds_no_handle_of_ours),
      TEST(test_the_last_socket_answers_every_call_in_its_last_events),
      TEST(test_sockets_may_start_when_the_last_one_ended),
      TEST(test_sockets_may_start_while_the_last_one_ends),
      TEST(test_loop_close_succeeds_after_the_last_close_event),
      TEST(test_a_quiet_loop_sleeps),
      TEST(test_two_loops_run_in_two_threads),
  };
  return cmocka_run_group_tests(tests, find_dead_port, NULL);
}
