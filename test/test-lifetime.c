#include "helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

/* The rules of an ending: any call, in any state, inside any callback; exactly
 * one `close` event for each connection, never from inside a call; nothing left
 * behind. Two matrices, one of events and one of states, try each action at
 * each place: a cell has a loop of its own, which must end and be closable. */

/* ---- actions ---- */

typedef enum {
  NEUTRAL,
  CLOSES,
  TERMINATES,
  SERVER_NOW, /* uvws_server_close() without a deadline */
  SERVER_SOON /* with one */
} kind_t;

typedef struct action_s {
  const char* name;
  kind_t kind;
  void (*act)(uvws_t* ws);
} action_t;

static uint8_t bytes[100000];
static uvws_server_t* running; /* NULL when the cell has none */

static int send_status(const uvws_t* ws) {
  switch (uvws_ready_state(ws)) {
    case UVWS_CONNECTING: return UVWS_EINVALIDSTATE;
    case UVWS_OPEN: return 0;
    default: return UV_ESHUTDOWN;
  }
}

static void send_bytes(uvws_t* ws, size_t len) {
  int status = send_status(ws);
  uint64_t before = uvws_buffered_amount(ws);
  assert_int_equal(uvws_send(ws, bytes, len, UVWS_BINARY), status);
  if (status == UVWS_EINVALIDSTATE) len = 0;
  assert_int_equal(uvws_buffered_amount(ws), before + len);
}

static void send_small(uvws_t* ws) {
  send_bytes(ws, 1);
}

/* Just too large for the cork, and too small to be written at once. */
static void send_middle(uvws_t* ws) {
  send_bytes(ws, 16383);
}

static void send_large(uvws_t* ws) {
  send_bytes(ws, sizeof(bytes));
}

static void send_blob(uvws_t* ws) {
  uvws_blob_t* blob = uvws_blob_new(bytes, sizeof(bytes));
  assert_int_equal(uvws_send_blob(ws, blob, UVWS_BINARY), send_status(ws));
  uvws_blob_unref(blob);
}

static void ping(uvws_t* ws) {
  bool open = uvws_ready_state(ws) == UVWS_OPEN;
  assert_int_equal(uvws_ping(ws, "x", 1), open ? 0 : UVWS_EINVALIDSTATE);
}

static void ref_unref(uvws_t* ws) {
  uvws_unref(ws);
  assert_int_equal(uvws_has_ref(ws), 0);
  uvws_ref(ws);
  assert_int_equal(uvws_has_ref(ws), 1);
}

static void call_getters(uvws_t* ws) {
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  uvws_header_t header;
  assert_non_null(uvws_url(ws));
  assert_non_null(uvws_protocol(ws));
  assert_string_equal(uvws_extensions(ws), "");
  assert_true(uvws_http_status(ws) == 0 || uvws_http_status(ws) == 101);
  (void)uvws_response_header(ws, "Upgrade");
  (void)uvws_response_header_at(ws, 0, &header);
  (void)uvws_getpeername(ws, (struct sockaddr*)&addr, &len);
  assert_true(uvws_queue_size(ws) == 0 || uvws_ready_state(ws) < UVWS_CLOSED);
  (void)uvws_buffered_amount(ws);
  assert_int_equal(uvws_set_binary_type(ws, uvws_binary_type(ws)), 0);
}

static void connect_again(uvws_t* ws) {
  int status = uvws_connect(ws, "ws://127.0.0.1:1/", NULL);
  /* Inside `error` the connection is still the old one. */
  assert_int_equal(status, ws->conn != NULL ? UV_EALREADY : UVWS_ESECURITY);
}

static void close_with_code(uvws_t* ws) {
  assert_int_equal(uvws_close(ws, 1000, "bye", 3), 0);
  assert_true(uvws_ready_state(ws) >= UVWS_CLOSING);
}

static void terminate(uvws_t* ws) {
  uvws_terminate(ws);
  assert_true(uvws_ready_state(ws) >= UVWS_CLOSING);
}

static void terminate_in_walk(uvws_t* ws, void* arg) {
  if (ws == arg) terminate(ws);
}

static void walk(uvws_t* ws) {
  uvws_walk(ws->loop, terminate_in_walk, ws);
}

static void call_the_rest(uvws_t* ws) {
  send_small(ws);
  send_large(ws);
  send_blob(ws);
  ping(ws);
  ref_unref(ws);
  uvws_flush(ws);
  call_getters(ws);
}

static void queue_then_terminate_then_all(uvws_t* ws) {
  send_middle(ws);
  terminate(ws);
  call_the_rest(ws);
  close_with_code(ws);
  terminate(ws);
}

static void queue_then_close_then_all(uvws_t* ws) {
  send_large(ws);
  close_with_code(ws);
  call_the_rest(ws);
}

static void server_close_now(uvws_t* ws) {
  (void)ws;
  uvws_server_close(running, 0);
}

static void server_close_soon(uvws_t* ws) {
  (void)ws;
  uvws_server_close(running, 5000);
}

static void server_close_sooner_and_sooner(uvws_t* ws) {
  server_close_soon(ws);
  uvws_server_close(running, 50);
  uvws_server_close(running, 0);
}

static const action_t actions[] = {
    {"close", CLOSES, close_with_code},
    {"terminate", TERMINATES, terminate},
    {"terminate in a walk", TERMINATES, walk},
    {"terminate, then everything", TERMINATES, queue_then_terminate_then_all},
    {"close, then everything", CLOSES, queue_then_close_then_all},
    {"send 1", NEUTRAL, send_small},
    {"send 16383", NEUTRAL, send_middle},
    {"send 100000", NEUTRAL, send_large},
    {"send a blob", NEUTRAL, send_blob},
    {"ping", NEUTRAL, ping},
    {"flush", NEUTRAL, uvws_flush},
    {"ref, unref", NEUTRAL, ref_unref},
    {"getters", NEUTRAL, call_getters},
    {"connect", NEUTRAL, connect_again},
    {"everything", NEUTRAL, call_the_rest},
    {"close the server now", SERVER_NOW, server_close_now},
    {"close the server soon", SERVER_SOON, server_close_soon},
    {"close the server thrice", SERVER_NOW, server_close_sooner_and_sooner},
};

/* ---- a cell of a matrix ---- */

typedef enum { OPEN, MESSAGE, ERROR, CLOSE, PING, PONG } event_t;

static struct {
  char name[128];
  const action_t* action;
  bool accepted; /* the acting socket is the server's */
  bool by_state; /* else by event */
  event_t event;
  uvws__state_t state;
  void (*at_open)(uvws_t* ws);
  bool ends_itself;
  bool fired;
  bool calling;
  bool has_raw;
  server_t server;
  peer_t client;
  raw_t raw;
} cell;

static bool is_acting(const peer_t* peer) {
  return cell.accepted == (peer != &cell.client);
}

static void act(uvws_t* ws) {
  assert_false(cell.fired);
  cell.fired = true;
  cell.calling = true;
  cell.action->act(ws);
  cell.calling = false;
}

static void on_event(peer_t* peer, event_t event) {
  assert_false(cell.calling);
  if (!cell.by_state && event == cell.event && is_acting(peer) && !cell.fired)
    act(&peer->ws);
}

/* Both say and ask something; when the client has heard both, it closes. */
static void on_open(peer_t* peer) {
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_OPEN);
  on_event(peer, OPEN);
  if (cell.by_state || cell.has_raw) {
    if (cell.at_open != NULL) cell.at_open(&peer->ws);
    return;
  }
  (void)uvws_send(&peer->ws, "hi", 2, UVWS_TEXT);
  (void)uvws_ping(&peer->ws, "p", 1);
}

static void close_when_all_came(peer_t* peer) {
  if (peer == &cell.client && peer->messages > 0 &&
      strstr(peer->log, "pong(p)") != NULL)
    assert_int_equal(uvws_close(&peer->ws, 1000, NULL, 0), 0);
}

static void on_message(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_OPEN);
  on_event(peer, MESSAGE);
  close_when_all_came(peer);
}

static void on_ping(peer_t* peer) {
  on_event(peer, PING);
}

static void on_pong(peer_t* peer) {
  on_event(peer, PONG);
  close_when_all_came(peer);
}

static void on_error(peer_t* peer) {
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  on_event(peer, ERROR);
}

static void on_close(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  on_event(peer, CLOSE);
  if (peer != &cell.client) uvws_server_close(&cell.server.server, 0);
}

static void watch(peer_t* peer) {
  peer->on_open = on_open;
  peer->on_message = on_message;
  peer->on_error = on_error;
  peer->on_close = on_close;
  peer->on_ping = on_ping;
  peer->on_pong = on_pong;
}

static void watch_accepted(server_t* server, peer_t* peer) {
  (void)server;
  watch(peer);
}

static void start_server(void) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  options.close_timeout = cell.has_raw ? 30 : 20000; /* a raw peer is silent */
  server_start(&cell.server, &options);
  cell.server.on_accept = watch_accepted;
  running = &cell.server.server;
}

/* A raw server must not keep the loop alive when nobody comes. */
static void start_raw_server(const char* head, const void* frames, size_t len) {
  cell.has_raw = true;
  cell.raw.head = head;
  cell.raw.bytes = frames;
  cell.raw.len = len;
  raw_serve(&cell.raw);
  uv_unref((uv_handle_t*)&cell.raw.listener);
}

static void accept_one(void) {
  cell.has_raw = true;
  start_server();
  raw_dial(&cell.raw, cell.server.port);
}

static void connect_client(const char* host, int port) {
  uvws_options_t options;
  char url[64];
  uvws_options_init(&options);
  options.close_timeout = cell.has_raw ? 30 : 20000;
  peer_init(&cell.client);
  watch(&cell.client);
  snprintf(url, sizeof(url), "ws://%s:%d/", host, port);
  assert_int_equal(uvws_connect(&cell.client.ws, url, &options), 0);
}

static void require(bool condition, const char* what, const char* log) {
  if (condition) return;
  print_error("%s: %s: \"%s\"\n", cell.name, what, log);
  fail();
}

/* What must be true of every socket's events. */
static void check_order(const peer_t* peer) {
  const char* log = peer->log;
  const char* open = strstr(log, "open");
  const char* error = strstr(log, "error(");
  const char* close = strstr(log, "close(");
  require(close != NULL, "no close event", log);
  require(strstr(close + 1, "close(") == NULL, "two close events", log);
  require(strchr(close, ')')[1] == '\0', "an event after close", log);
  require(open == NULL || open == log, "open is not first", log);
  require(open != NULL || close == log || error == log, "not open", log);
  if (error != NULL)
    require(strchr(error, ' ') + 1 == close &&
                strncmp(error + 6, uvws_err_name(peer->status),
                        strlen(uvws_err_name(peer->status))) == 0,
            "error is not right before close", log);
  else
    require(peer->status == (strstr(close, "clean") ? 0 : UV_ECANCELED),
            "status", log);
}

/* A closed shell that is kept answers every call, and nothing happens. */
static void check_kept_shell(peer_t* peer) {
  char log[sizeof(peer->log)];
  memcpy(log, peer->log, sizeof(log));
  for (size_t i = 0; i < COUNT_OF(actions); i++)
    if (actions[i].kind < SERVER_NOW) actions[i].act(&peer->ws);
  assert_string_equal(uvws_url(&peer->ws), "");
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  uv_run(test_loop, UV_RUN_NOWAIT);
  assert_string_equal(peer->log, log);
}

static peer_t* acting_peer(void) {
  return cell.accepted ? &cell.server.peers[0] : &cell.client;
}

static void begin_cell(const char* place, const action_t* action) {
  memset(&cell, 0, sizeof(cell));
  snprintf(cell.name, sizeof(cell.name), "%s: %s", place, action->name);
  cell.action = action;

  running = NULL;
  assert_int_equal(test_loop_setup(NULL), 0);
}

static void end_cell(void) {
  if (cell.has_raw) {
    raw_close(&cell.raw);
    test_run();
    raw_free(&cell.raw);
  }
  require(cell.fired, "never came there", acting_peer()->log);
  require(running == NULL || cell.server.closed, "server", cell.server.log);
  check_order(acting_peer());
  check_kept_shell(acting_peer());
  test_loop_teardown(NULL);
}

/* ---- the matrix of events ---- */

typedef struct event_place_s {
  const char* name;
  bool accepted;
  event_t event;
} event_place_t;

static const event_place_t event_places[] = {
    {"client, open", false, OPEN},    {"client, message", false, MESSAGE},
    {"client, error", false, ERROR},  {"client, close", false, CLOSE},
    {"client, ping", false, PING},    {"client, pong", false, PONG},
    {"accepted, open", true, OPEN},   {"accepted, message", true, MESSAGE},
    {"accepted, error", true, ERROR}, {"accepted, close", true, CLOSE},
    {"accepted, ping", true, PING},   {"accepted, pong", true, PONG},
};

/* The end of the log, and whether there is an error. */
static void check_event_cell(const event_place_t* place, kind_t kind) {
  const peer_t* peer = acting_peer();
  const char* close = strstr(peer->log, "close(");
  bool clean = strstr(peer->log, " clean") != NULL;
  bool error = strstr(peer->log, "error(") != NULL;
  if (place->event == ERROR) {
    assert_string_equal(peer->log, "open error(UVWS_EPROTOCOL) close(1006)");
    return;
  }
  if (place->event == CLOSE || kind == NEUTRAL)
    require(strcmp(close, "close(1000 clean)") == 0, "not clean", peer->log);
  else if (kind == CLOSES || kind == SERVER_SOON)
    require(clean && !error, "not clean", peer->log);
  else if (kind == SERVER_NOW && !place->accepted)
    require(!clean && error, "not lost", peer->log);
  else
    require(!clean && !error, "not terminated", peer->log);
}

static void run_event_cell(const event_place_t* place, const action_t* action) {
  static const char bad[] = "\x83\x80\0\0\0\0"; /* a reserved opcode */
  bool by_raw = place->event == ERROR;
  if (action->kind >= SERVER_NOW && by_raw && !place->accepted) return;
  begin_cell(place->name, action);
  cell.accepted = place->accepted;
  cell.event = place->event;
  if (by_raw && place->accepted) {
    cell.raw.bytes = bad;
    cell.raw.len = 6;
    accept_one();
  } else if (by_raw) {
    start_raw_server(NULL, "\x83\0", 2);
    connect_client("127.0.0.1", cell.raw.port);
  } else {
    start_server();
    connect_client("127.0.0.1", cell.server.port);
  }
  test_run();
  check_event_cell(place, action->kind);
  if (!by_raw) {
    check_order(&cell.client);
    /* Nobody is accepted when the server closed before. */
    if (cell.server.accepted > 0) check_order(&cell.server.peers[0]);
  }
  end_cell();
}

static void test_any_call_inside_any_event(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(event_places); i++)
    for (size_t j = 0; j < COUNT_OF(actions); j++)
      run_event_cell(&event_places[i], &actions[j]);
}

/* ---- the matrix of states ---- */

static int listening_and_full(int fds[5]) {
  struct sockaddr_in addr;
  socklen_t len = sizeof(addr);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  fds[0] = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fds[0], (struct sockaddr*)&addr, len), 0);
  assert_int_equal(listen(fds[0], 0), 0);
  assert_int_equal(getsockname(fds[0], (struct sockaddr*)&addr, &len), 0);
  for (int i = 1; i < 5; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)connect(fds[i], (struct sockaddr*)&addr, len);
  }
  return ntohs(addr.sin_port);
}

static int fds[5];

static void close_fds(void) {
  for (int i = 0; i < 5; i++) {
    if (fds[i] > 0) close(fds[i]);
    fds[i] = 0;
  }
}

static void dial_by_name(void) {
  start_raw_server("", NULL, 0);
  connect_client("localhost", cell.raw.port);
}

static void dial_nobody(void) {
  int port = listening_and_full(fds);
  close_fds();
  connect_client("127.0.0.1", port);
}

static void dial_hanging(void) {
  connect_client("127.0.0.1", listening_and_full(fds));
}

static void await_answer(void) {
  start_raw_server("HTTP/1.1 101 ", NULL, 0);
  connect_client("127.0.0.1", cell.raw.port);
}

static void open_up(void) {
  start_raw_server(NULL, NULL, 0);
  connect_client("127.0.0.1", cell.raw.port);
}

static void be_closed(void) {
  start_raw_server(NULL, "\x88\x02\x03\xe8", 4);
  connect_client("127.0.0.1", cell.raw.port);
}

static void accept_and_be_closed(void) {
  cell.raw.bytes = "\x88\x82\0\0\0\0\x03\xe8";
  cell.raw.len = 8;
  accept_one();
}

#define ABORTED    "error(ECONNABORTED) close(1006)"
#define TERMINATED "close(1006)"
#define ENDED      "open close(1006)" /* terminated, too */
#define TIMED_OUT  "open error(UVWS_ETIMEOUT) close(1006)"
#define CLEAN      "open close(1000 clean)"

/* In the order of kind_t; NULL: any. The raw peer never answers a close frame.
 * What would only wait for more is terminated in the turn after the action.
 * Once both close frames were seen a termination does not undo that. */
static const char* const connecting[] = {TERMINATED, ABORTED, TERMINATED};
static const char* const refused[] = {"error(ECONNREFUSED) close(1006)",
                                      ABORTED, TERMINATED};
static const char* const accepting[] = {ENDED, ABORTED, TERMINATED, TERMINATED,
                                        TIMED_OUT};
static const char* const opened[] = {ENDED, TIMED_OUT, ENDED, ENDED, TIMED_OUT};
static const char* const closing[] = {TIMED_OUT, TIMED_OUT, ENDED, ENDED,
                                      TIMED_OUT};
static const char* const both_closed[] = {CLEAN, CLEAN, CLEAN};
static const char* const to_be_flushed[] = {CLEAN, CLEAN, NULL, NULL, CLEAN};
static const char* const released[] = {ENDED, ENDED, ENDED, ENDED, ENDED};

typedef struct state_place_s {
  const char* name;
  bool accepted;
  uvws__state_t state;
  void (*start)(void);
  void (*at_open)(uvws_t* ws);
  const char* const* logs;
} state_place_t;

#define PLACE(name, accepted, state, start, at_open, logs) \
  { name, accepted, UVWS__STATE_##state, start, at_open, logs }

static const state_place_t state_places[] = {
    PLACE("looking up", false, DIALING, dial_by_name, NULL, connecting),
    PLACE("connecting", false, DIALING, await_answer, NULL, connecting),
    PLACE("full backlog", false, DIALING, dial_hanging, NULL, connecting),
    PLACE("refused", false, DIALING, dial_nobody, NULL, refused),
    PLACE("upgrading", false, UPGRADING, await_answer, NULL, connecting),
    PLACE("open", false, OPEN, open_up, NULL, opened),
    PLACE("closing", false, CLOSE_SENT, open_up, close_with_code, closing),
    PLACE("lingering", false, LINGERING, be_closed, NULL, both_closed),
    PLACE("releasing", false, RELEASING, open_up, terminate, released),
    PLACE("leaving", false, LEAVING, open_up, terminate, released),
    PLACE("accepted", true, UPGRADING, accept_one, NULL, accepting),
    PLACE("accepted, open", true, OPEN, accept_one, NULL, opened),
    PLACE("accepted, closing", true, CLOSE_SENT, accept_one, close_with_code,
          closing),
    PLACE("accepted, lingering", true, LINGERING, accept_and_be_closed, NULL,
          to_be_flushed),
    PLACE("accepted, releasing", true, RELEASING, accept_one, terminate,
          released),
};

/* Once a turn: act as soon as the state is there. */
static void look(void) {
  uvws_t* ws = &acting_peer()->ws;
  if (ws->conn == NULL) return;
  uvws__state_t now = ws->conn->state;
  if (!cell.fired && now == cell.state)
    act(ws);
  else if (cell.fired && now <= UVWS__STATE_OPEN && !cell.ends_itself &&
           cell.action->kind == NEUTRAL)
    uvws_terminate(ws);
}

static void on_check(uv_check_t* check) {
  (void)check;
  look();
}

static void on_timer(uv_timer_t* timer) {
  (void)timer;
}

static void run_state_cell(const state_place_t* place, const action_t* action) {
  uv_check_t check;
  uv_timer_t timer;
  begin_cell(place->name, action);
  cell.accepted = place->accepted;
  cell.by_state = true;
  cell.state = place->state;
  cell.at_open = place->at_open;
  cell.ends_itself = place->start == dial_nobody;
  uv_check_init(test_loop, &check);
  uv_check_start(&check, on_check);
  uv_unref((uv_handle_t*)&check);
  /* Turns come even when nothing else does. */
  uv_timer_init(test_loop, &timer);
  uv_timer_start(&timer, on_timer, 5, 5);
  uv_unref((uv_handle_t*)&timer);
  place->start();
  look();
  test_run();
  const char* wanted = place->logs[action->kind];
  const char* log = acting_peer()->log;
  if (wanted != NULL && strcmp(log, wanted) != 0)
    print_error("wanted \"%s\"\n", wanted);
  require(wanted == NULL || strcmp(log, wanted) == 0, "log", log);
  close_fds();
  uv_close((uv_handle_t*)&check, NULL);
  uv_close((uv_handle_t*)&timer, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
  end_cell();
}

static void test_any_call_in_any_state(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(state_places); i++)
    for (size_t j = 0; j < COUNT_OF(actions); j++)
      if (actions[j].kind < SERVER_NOW || state_places[i].accepted)
        run_state_cell(&state_places[i], &actions[j]);
}

/* ---- shells ---- */

static void free_shell(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  free(peer);
}

static void free_accepted_shell(peer_t* peer, const uvws_close_event_t* event) {
  server_t* server = peer->data;
  (void)event;
  server->gone++;
  free(peer);
  if (server->gone == 2) uvws_server_close(&server->server, 0);
}

static void accept_on_the_heap(server_t* server, uvws_request_t* request) {
  peer_t* peer = malloc(sizeof(*peer));
  peer_init(peer);
  peer->data = server;
  peer->on_close = free_accepted_shell;
  assert_int_equal(uvws_accept(request, &peer->ws, NULL), 0);
}

static void close_peer(peer_t* peer) {
  close_with_code(&peer->ws);
}

static void terminate_peer(peer_t* peer) {
  terminate(&peer->ws);
}

static void test_a_shell_may_be_freed_in_close(void** state) {
  server_t server;
  (void)state;
  server_start(&server, NULL);
  server.on_request = accept_on_the_heap;
  for (int i = 0; i < 3; i++) {
    peer_t* peer = malloc(sizeof(*peer));
    peer_init(peer);
    peer->on_open = i == 0 ? close_peer : terminate_peer;
    peer->on_close = free_shell;
    if (i == 2) /* fails to connect */
      assert_int_equal(uvws_connect(&peer->ws, "ws://127.0.0.1:2/", NULL), 0);
    else
      peer_connect(peer, server.port, NULL);
  }
  test_run();
  assert_int_equal(server.gone, 2);
  assert_true(server.closed);
}

static void reconnect(peer_t* peer, const uvws_close_event_t* event) {
  server_t* server = peer->data;
  assert_int_equal(event->code, 1000);
  if (server->accepted == 6) return;
  assert_int_equal(uvws_send(&peer->ws, "x", 1, UVWS_TEXT), UV_ESHUTDOWN);
  if (server->accepted % 2 == 0) {
    assert_int_equal(uvws_init(test_loop, &peer->ws, &peer_events), 0);
    assert_int_equal(uvws_binary_type(&peer->ws), UVWS_BLOB);
  }
  peer_connect(peer, server->port, NULL);
  assert_int_equal(uvws_buffered_amount(&peer->ws), 0);
  assert_string_equal(uvws_protocol(&peer->ws), "");
  assert_int_equal(uvws_http_status(&peer->ws), 0);
}

static void test_a_shell_may_connect_again_in_close(void** state) {
  server_t server;
  peer_t peer;
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 6;
  peer_init(&peer);
  peer.data = &server;
  peer.on_open = close_peer;
  peer.on_close = reconnect;
  peer_connect(&peer, server.port, NULL);
  test_run();
  assert_int_equal(server.accepted, 6);
  for (int i = 0; i < 6; i++)
    assert_string_equal(server.peers[i].log, "open close(1000 clean bye)");
}

/* Alone on its loop a socket takes what the loop's sockets share with it, and
 * so finds none when it starts again. */
static void connect_twice(peer_t* peer, const uvws_close_event_t* event) {
  assert_int_equal(event->status, UV_ECONNREFUSED);
  if (peer->data != NULL) return;
  peer->data = peer;
  assert_int_equal(uvws_connect(&peer->ws, "ws://127.0.0.1:2/", NULL), 0);
}

static void test_the_last_socket_may_connect_again_in_close(void** state) {
  peer_t peer;
  (void)state;
  peer_init(&peer);
  peer.on_close = connect_twice;
  assert_int_equal(uvws_connect(&peer.ws, "ws://127.0.0.1:2/", NULL), 0);
  test_run();
  assert_string_equal(peer.log,
                      "error(ECONNREFUSED) close(1006) "
                      "error(ECONNREFUSED) close(1006)");
}

/* ---- what was sent before an ending ---- */

static void send_then_close(peer_t* peer) {
  send_small(&peer->ws);
  send_large(&peer->ws);
  send_small(&peer->ws);
  close_with_code(&peer->ws);
  send_small(&peer->ws);
}

static void send_then_close_accepted(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = send_then_close;
}

static void test_what_was_sent_before_close_arrives(void** state) {
  static const char all[] =
      "open binary(1) binary(100000) binary(1) close(1000 clean bye)";
  server_t server;
  peer_t peer;
  (void)state;
  for (int i = 0; i < 2; i++) {
    server_start(&server, NULL);
    server.stop_after = 1;
    peer_init(&peer);
    if (i == 0)
      peer.on_open = send_then_close;
    else
      server.on_accept = send_then_close_accepted;
    peer_connect(&peer, server.port, NULL);
    test_run();
    assert_string_equal(i == 0 ? server.peers[0].log : peer.log, all);
  }
}

static void close_at_first(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  close_with_code(&peer->ws);
}

static void test_messages_after_our_close_are_dropped(void** state) {
  server_t server;
  peer_t peer;
  (void)state;
  server_start(&server, NULL);
  server.on_accept = send_then_close_accepted;
  server.stop_after = 1;
  peer_init(&peer);
  peer.on_message = close_at_first;
  peer_connect(&peer, server.port, NULL);
  test_run();
  assert_string_equal(peer.log, "open binary(1) close(1000 clean bye)");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_call_inside_any_event),
      cmocka_unit_test(test_any_call_in_any_state),
      TEST(test_a_shell_may_be_freed_in_close),
      TEST(test_a_shell_may_connect_again_in_close),
      TEST(test_the_last_socket_may_connect_again_in_close),
      TEST(test_what_was_sent_before_close_arrives),
      TEST(test_messages_after_our_close_are_dropped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
