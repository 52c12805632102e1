#include "helper.h"

#include <stdio.h>
#include <string.h>

/* The life of a request and of a server: each request is decided once, or its
 * abort is told; any call inside any event; one `close` event, soon. */

/* ---- a server and its one client ---- */

typedef enum {
  ACCEPT,
  REJECT,
  ACCEPT_LATER,
  REJECT_LATER,
  NOTHING,
  PEER_LEAVES,
  SERVER_CLOSES
} decision_t;

static struct {
  uvws_server_t server;
  int port;
  decision_t decision;
  uvws_request_t* request;
  uvws_server_events_t events;
  uv_timer_t timer;
  peer_t accepted;
  peer_t client;
  int http_status;
  void (*act)(void);
  enum { IN_REQUEST, IN_ABORT, IN_ERROR, IN_CLOSE } act_in;
  unsigned closes;
  unsigned failing_accepts;
  char log[256];
} gate;

int __real_uv_accept(uv_stream_t* server, uv_stream_t* client);
int __wrap_uv_accept(uv_stream_t* server, uv_stream_t* client);

int __wrap_uv_accept(uv_stream_t* server, uv_stream_t* client) {
  if (gate.failing_accepts == 0) return __real_uv_accept(server, client);
  gate.failing_accepts--;
  return UV_EMFILE;
}

static void note(const char* event) {
  size_t len = strlen(gate.log);
  snprintf(gate.log + len, sizeof(gate.log) - len, "%s%s", len > 0 ? " " : "",
           event);
}

static void accept_now(void) {
  peer_init(&gate.accepted);
  assert_int_equal(uvws_accept(gate.request, &gate.accepted.ws, NULL), 0);
}

static void reject_now(void) {
  static const uvws_header_t retry = {"Retry-After", "7"};
  assert_int_equal(uvws_reject(gate.request, 429, &retry, 1, "slow down", 9),
                   0);
}

static void on_decision_time(uv_timer_t* timer) {
  uv_close((uv_handle_t*)timer, NULL);
  if (gate.decision == ACCEPT_LATER)
    accept_now();
  else
    reject_now();
}

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  note("request");
  gate.request = request;
  if (gate.act_in == IN_REQUEST && gate.act != NULL) gate.act();
  switch (gate.decision) {
    case ACCEPT: accept_now(); break;
    case REJECT: reject_now(); break;
    case NOTHING: break;
    case PEER_LEAVES: uvws_terminate(&gate.client.ws); break;
    case SERVER_CLOSES: uvws_server_close(server, 5000); break;
    default:
      uv_timer_init(test_loop, &gate.timer);
      uv_timer_start(&gate.timer, on_decision_time, 1, 0);
  }
}

static void on_abort(uvws_server_t* server, uvws_request_t* request,
                     int status) {
  uvws_t ws;
  note("abort");
  note(uvws_err_name(status));
  assert_ptr_equal(request, gate.request);
  assert_string_equal(uvws_request_target(request), "/");
  assert_int_equal(uvws_init(test_loop, &ws, &peer_events), 0);
  assert_int_equal(uvws_accept(request, &ws, NULL), UV_ECANCELED);
  assert_int_equal(uvws_reject(request, 400, NULL, 0, NULL, 0), UV_ECANCELED);
  if (gate.act_in == IN_ABORT && gate.act != NULL) gate.act();
  if (gate.decision == PEER_LEAVES) uvws_server_close(server, 5000);
}

static void on_server_error(uvws_server_t* server, int status) {
  (void)server;
  note(uvws_err_name(status));
  if (gate.act_in == IN_ERROR && gate.act != NULL) gate.act();
}

static void on_server_close(uvws_server_t* server) {
  (void)server;
  gate.closes++;
  if (gate.act_in == IN_CLOSE && gate.act != NULL) gate.act();
}

static void close_client(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 1000, "bye", 3), 0);
}

static void note_status(peer_t* peer) {
  gate.http_status = uvws_http_status(&peer->ws);
}

static void close_gate(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  uvws_server_close(&gate.server, 5000);
}

/* Its one client connects when `with_client`. */
static void start_gate(decision_t decision, bool with_client) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uvws_server_options_t options;
  memset(&gate, 0, sizeof(gate));
  gate.decision = decision;
  gate.events = (uvws_server_events_t){
      UVWS_SERVER_EVENTS_INIT, .request = on_request, .abort = on_abort,
      .error = on_server_error, .close = on_server_close};
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(30);
  options.close_timeout = 0;
  assert_int_equal(
      uvws_server_init(test_loop, &gate.server, &gate.events, &options), 0);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(
      uvws_listen(&gate.server, (const struct sockaddr*)&addr, 0, 8), 0);
  uvws_server_getsockname(&gate.server, (struct sockaddr*)&addr, &len);
  gate.port = ntohs(addr.sin_port);
  if (!with_client) return;
  peer_init(&gate.client);
  gate.client.on_open = close_client;
  gate.client.on_error = note_status;
  if (decision != PEER_LEAVES) gate.client.on_close = close_gate;
  peer_connect(&gate.client, gate.port, NULL);
}

typedef struct request_case_s {
  decision_t decision;
  bool no_abort;
  const char* server; /* its log */
  const char* client;
  int http_status;
} request_case_t;

#define REFUSED "error(UVWS_EUPGRADE) close(1006)"

static const request_case_t request_cases[] = {
    {ACCEPT, false, "request", "open close(1000 clean)", 0},
    {ACCEPT_LATER, false, "request", "open close(1000 clean)", 0},
    {REJECT, false, "request", REFUSED, 429},
    {REJECT_LATER, false, "request", REFUSED, 429},
    {REJECT, true, "request", REFUSED, 429},
    {NOTHING, false, "request abort UVWS_ETIMEOUT", REFUSED, 408},
    {NOTHING, true, "request", REFUSED, 500},
    {PEER_LEAVES, false, "request abort EOF", "close(1006)", 0},
    {SERVER_CLOSES, false, "request abort ECANCELED", REFUSED, 503},
    {SERVER_CLOSES, true, "request", REFUSED, 500},
};

static void test_a_request_is_decided_once(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(request_cases); i++) {
    const request_case_t* c = &request_cases[i];
    start_gate(c->decision, true);
    if (c->no_abort) gate.events.abort = NULL;
    test_run();
    /* Who leaves with a session ticket unread resets the connection. */
    bool may_reset = test_has_tls() && c->decision == PEER_LEAVES;
    if (!may_reset || strcmp(gate.log, "request abort ECONNRESET") != 0)
      assert_string_equal(gate.log, c->server);
    assert_string_equal(gate.client.log, c->client);
    assert_int_equal(gate.http_status, c->http_status);
    assert_int_equal(gate.closes, 1);
    if (c->decision == ACCEPT || c->decision == ACCEPT_LATER)
      assert_string_equal(gate.accepted.log, "open close(1000 clean bye)");
  }
}

/* ---- any call inside the events of a server ---- */

static void gate_close_now(void) {
  uvws_server_close(&gate.server, 0);
}

static void gate_close_soon(void) {
  uvws_server_close(&gate.server, 5000);
}

static void gate_close_twice(void) {
  uvws_server_close(&gate.server, 5000);
  uvws_server_close(&gate.server, 0);
}

static void gate_rest(void) {
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  uvws_server_unref(&gate.server);
  uvws_server_ref(&gate.server);
  (void)uvws_server_getsockname(&gate.server, (struct sockaddr*)&addr, &len);
  assert_true(uvws_server_connections(&gate.server) <= 1);
  if (gate.closes > 0)
    assert_int_equal(
        uvws_listen(&gate.server, (const struct sockaddr*)&addr, 0, 1),
        UV_ECANCELED);
}

static void test_any_call_inside_any_event_of_a_server(void** state) {
  static void (*const acts[])(void) = {gate_close_now, gate_close_soon,
                                       gate_close_twice, gate_rest};
  static const struct {
    decision_t decision;
    int act_in;
  } places[] = {
      {REJECT, IN_REQUEST},      {NOTHING, IN_REQUEST},
      {PEER_LEAVES, IN_REQUEST}, {REJECT_LATER, IN_CLOSE},
      {NOTHING, IN_ABORT},       {PEER_LEAVES, IN_ABORT},
      {SERVER_CLOSES, IN_ABORT}, {REJECT, IN_ERROR},
      {ACCEPT, IN_CLOSE},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(places); i++)
    for (size_t j = 0; j < COUNT_OF(acts); j++) {
      start_gate(places[i].decision, true);
      gate.act = acts[j];
      gate.act_in = places[i].act_in;
      if (gate.act_in == IN_ERROR) gate.failing_accepts = 1;
      test_run();
      assert_int_equal(gate.closes, 1);
      const char* close = strstr(gate.client.log, "close(");
      assert_non_null(close);
      assert_null(strstr(close + 1, "close("));
    }
}

/* ---- the end of a server ---- */

static void test_closing_now_does_not_wait_for_a_silent_peer(void** state) {
  static const char* const heads[] = {"GET ", NULL};
  (void)state;
  /* There is no other timeout: with a request that never ends, and undecided.
   */
  for (size_t i = 0; i < COUNT_OF(heads); i++) {
    raw_t raw = {.head = heads[i], .then = RAW_DEAF};
    start_gate(NOTHING, false);
    gate.act = gate_close_now;
    gate.act_in = IN_REQUEST;
    raw_dial(&raw, gate.port);
    while (uvws_server_connections(&gate.server) == 0)
      uv_run(test_loop, UV_RUN_ONCE);
    uvws_server_close(&gate.server, 0);
    while (gate.closes == 0) uv_run(test_loop, UV_RUN_ONCE);
    raw_close(&raw);
    test_run();
    raw_free(&raw);
  }
}

static void on_turn(uv_idle_t* idle) {
  /* Every deadline is earlier than the one before. */
  unsigned* turns = idle->data;
  uvws_server_close(&gate.server, 5000 - 1000 * ++*turns);
  if (*turns == 5) uv_close((uv_handle_t*)idle, NULL);
}

static void test_a_server_may_be_closed_while_it_leaves(void** state) {
  uv_idle_t idle;
  unsigned turns = 0;
  (void)state;
  start_gate(NOTHING, false);
  uv_idle_init(test_loop, &idle);
  idle.data = &turns;
  uv_idle_start(&idle, on_turn);
  test_run();
  assert_int_equal(turns, 5);
  assert_int_equal(gate.closes, 1);
}

static void test_a_listen_that_failed_leaves_nothing(void** state) {
  struct sockaddr_in addr, name;
  int len = sizeof(name);
  uvws_server_t server;
  (void)state;
  start_gate(NOTHING, false);
  uv_ip4_addr("127.0.0.1", gate.port, &addr);
  assert_int_equal(uvws_server_init(test_loop, &server, &gate.events, NULL), 0);
  assert_int_equal(uvws_listen(&server, (const struct sockaddr*)&addr, 0, 1),
                   UV_EADDRINUSE);
  assert_int_equal(
      uvws_server_getsockname(&server, (struct sockaddr*)&name, &len),
      UV_ENOTCONN);
  addr.sin_port = 0;
  assert_int_equal(uvws_listen(&server, (const struct sockaddr*)&addr, 0, 1),
                   0);
  assert_int_equal(
      uvws_server_getsockname(&server, (struct sockaddr*)&name, &len), 0);
  assert_int_not_equal(name.sin_port, 0);
  uvws_server_close(&server, 0);
  uvws_server_close(&gate.server, 0);
  test_run();
  assert_int_equal(gate.closes, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_request_is_decided_once),
      TEST(test_any_call_inside_any_event_of_a_server),
      TEST(test_closing_now_does_not_wait_for_a_silent_peer),
      TEST(test_a_server_may_be_closed_while_it_leaves),
      TEST(test_a_listen_that_failed_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
