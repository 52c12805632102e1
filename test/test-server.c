#include "raw-clients.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* The server as a whole, seen from raw clients: how many it takes, where it
 * listens, how it ends. test-request.c has what it refuses. */

/* ---- a listener that fails ---- */

static int accept_status; /* what the next uv_accept() returns */

int __real_uv_accept(uv_stream_t* server, uv_stream_t* client);
int __wrap_uv_accept(uv_stream_t* server, uv_stream_t* client);

int __wrap_uv_accept(uv_stream_t* from, uv_stream_t* client) {
  int status = accept_status;
  if (!uvws_owns((uv_handle_t*)from) || status == 0)
    return __real_uv_accept(from, client);
  accept_status = 0;
  return status;
}

/* Requests that a test leaves undecided. */
static struct {
  uvws_request_t* request;
  bool came;
} later;

static void keep(server_t* to, uvws_request_t* request) {
  (void)to;
  later.request = request;
  later.came = true;
}

static void keep_requests(void) {
  memset(&later, 0, sizeof(later));
  server.on_request = keep;
}

static void leave_undecided(uvws_server_t* to, uvws_request_t* request) {
  (void)to;
  (void)request;
}

/* ---- how many ---- */

static void accept_two_at_most(server_t* to, uvws_request_t* request) {
  assert_true(uvws_server_connections(&to->server) <= 2);
  server_accept(to, request);
}

static void test_at_the_cap_accepting_waits_for_one_to_leave(void** state) {
  raw_t clients[6];
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.max_connections = 2;
  server_start(&server, &options);
  server.on_request = accept_two_at_most;
  for (size_t i = 0; i < COUNT_OF(clients); i++) {
    dial(&clients[i], REQUEST "\r\n");
    test_run_until(&clients[i].connected);
  }
  for (size_t i = 0; i < COUNT_OF(clients); i++) {
    test_run_until(&clients[i].upgraded);
    turns(10);
    for (size_t k = i + 2; k < COUNT_OF(clients); k++)
      assert_false(clients[k].upgraded);
    raw_close(&clients[i]);
  }
  server_end();
  assert_int_equal(server.accepted, COUNT_OF(clients));
  for (size_t i = 0; i < COUNT_OF(clients); i++) raw_free(&clients[i]);
}

/* A request that is not decided counts; so do all the server's listeners. */
static void test_the_cap_counts_requests_of_all_listeners(void** state) {
  uvws_server_options_t options;
  uvws_options_t over_pipe;
  char path[64];
  raw_t silent;
  peer_t peer;
  (void)state;
  snprintf(path, sizeof(path), "/tmp/uvws-cap-%d.sock", (int)uv_os_getpid());
  uvws_server_options_init(&options);
  options.max_connections = 1;
  server_start(&server, &options);
  assert_int_equal(uvws_listen_pipe(&server.server, path, 8), 0);
  dial(&silent, "GET");
  while (uvws_server_connections(&server.server) == 0)
    uv_run(test_loop, UV_RUN_ONCE);
  uvws_options_init(&over_pipe);
  over_pipe.pipe = path;
  peer_init(&peer);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &over_pipe), 0);
  dial(&raw, REQUEST "\r\n");
  turns(10);
  assert_int_equal(uvws_server_connections(&server.server), 1);
  assert_false(peer.opened);
  assert_false(raw.upgraded);
  raw_close(&silent);
  while (!peer.opened && !raw.upgraded) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(uvws_server_connections(&server.server), 1);
  if (peer.opened)
    uvws_terminate(&peer.ws);
  else
    raw_close(&raw);
  while (!peer.opened || !raw.upgraded) uv_run(test_loop, UV_RUN_ONCE);
  uvws_terminate(&peer.ws);
  raw_close(&raw);
  server_end();
  raw_free(&silent);
}

static void test_a_failed_accept_is_reported_and_tried_again(void** state) {
  (void)state;
  server_start(&server, NULL);
  accept_status = UV_EMFILE;
  assert_int_equal(ask(REQUEST "\r\n"), 101);
  server_end();
  assert_string_equal(server.log, "error(EMFILE) request(/) close");
}

/* From accepting to the closed handle. */
static void test_connections_are_counted(void** state) {
  raw_t clients[2];
  (void)state;
  server_start(&server, NULL);
  assert_int_equal(uvws_server_connections(&server.server), 0);
  dial(&clients[0], "GET");
  dial(&clients[1], REQUEST "\r\n");
  test_run_until(&clients[1].upgraded);
  while (uvws_server_connections(&server.server) < 2)
    uv_run(test_loop, UV_RUN_ONCE);
  raw_close(&clients[0]);
  while (uvws_server_connections(&server.server) > 1)
    uv_run(test_loop, UV_RUN_ONCE);
  raw_close(&clients[1]);
  while (uvws_server_connections(&server.server) > 0)
    uv_run(test_loop, UV_RUN_ONCE);
  assert_true(server.peers[0].closed);
  server_end();
  raw_free(&clients[0]);
  raw_free(&clients[1]);
}

/* ---- where it listens ---- */

static void test_a_failed_listen_leaves_the_server_usable(void** state) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  char path[64];
  raw_t other;
  (void)state;
  snprintf(path, sizeof(path), "/tmp/uvws-two-%d.sock", (int)uv_os_getpid());
  memset(&other, 0, sizeof(other));
  server_start(&server, NULL);
  raw_serve(&other);
  uv_ip4_addr("127.0.0.1", other.port, &addr);
  const struct sockaddr* taken = (const struct sockaddr*)&addr;
  assert_int_equal(uvws_listen(&server.server, taken, 0, 8), UV_EADDRINUSE);
  assert_int_equal(uvws_listen_pipe(&server.server, path, 8), 0);
  assert_int_equal(uvws_listen_pipe(&server.server, path, 8), UV_EADDRINUSE);
  assert_int_equal(uvws_listen_pipe(&server.server, "/no/such/directory", 8),
                   UV_EACCES);
  assert_int_equal(
      uvws_server_getsockname(&server.server, (struct sockaddr*)&addr, &len),
      0);
  assert_int_equal(ntohs(addr.sin_port), server.port);
  assert_int_equal(ask(REQUEST "\r\n"), 101);
  raw_close(&other);
  server_end();
}

/* The failure comes first; the address asked for is that of the success. */
static void test_getsockname_passes_over_a_failed_listen(void** state) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = leave_undecided};
  struct sockaddr_in addr;
  struct sockaddr* name = (struct sockaddr*)&addr;
  int len = sizeof(addr);
  raw_t other;
  (void)state;
  memset(&other, 0, sizeof(other));
  memset(&server, 0, sizeof(server));
  raw_serve(&other);
  uvws_server_t* it = &server.server;
  assert_int_equal(uvws_server_init(test_loop, it, &events, NULL), 0);
  assert_int_equal(uvws_server_getsockname(it, name, &len), UV_ENOTCONN);
  uv_ip4_addr("127.0.0.1", other.port, &addr);
  assert_int_equal(uvws_listen(it, name, 0, 8), UV_EADDRINUSE);
  assert_int_equal(uvws_server_getsockname(it, name, &len), UV_ENOTCONN);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_listen(it, name, 0, 8), 0);
  assert_int_equal(uvws_server_getsockname(it, name, &len), 0);
  assert_int_not_equal(ntohs(addr.sin_port), other.port);
  server.port = ntohs(addr.sin_port);
  turns(2);
  assert_int_equal(ask(REQUEST "\r\n"), 500);
  raw_close(&other);
  uvws_server_close(it, 0);
  assert_int_equal(uvws_listen(it, name, 0, 8), UV_ECANCELED);
  assert_int_equal(uvws_listen_pipe(it, "/tmp/uvws-never", 8), UV_ECANCELED);
  test_run();
  raw_free(&raw);
}

static void test_all_listeners_are_served_and_closed(void** state) {
  struct sockaddr_in addr;
  uvws_options_t over_pipe;
  char path[64];
  peer_t peers[3];
  (void)state;
  snprintf(path, sizeof(path), "/tmp/uvws-all-%d.sock", (int)uv_os_getpid());
  server_start(&server, NULL);
  assert_int_equal(uvws_listen_pipe(&server.server, path, 8), 0);
  /* A third one, whose port we choose because nobody has it. */
  memset(&raw, 0, sizeof(raw));
  raw_serve(&raw);
  int port = raw.port;
  raw_close(&raw);
  turns(1);
  uv_ip4_addr("127.0.0.1", port, &addr);
  assert_int_equal(
      uvws_listen(&server.server, (const struct sockaddr*)&addr, 0, 8), 0);
  for (int i = 0; i < 3; i++) peer_init(&peers[i]);
  uvws_options_init(&over_pipe);
  over_pipe.pipe = path;
  assert_int_equal(uvws_connect(&peers[0].ws, "ws://a/", &over_pipe), 0);
  peer_connect(&peers[1], server.port, NULL);
  peer_connect(&peers[2], port, NULL);
  for (int i = 0; i < 3; i++) test_run_until(&peers[i].opened);
  uvws_server_close(&server.server, 5000);
  test_run();
  assert_true(server.closed);
  for (int i = 0; i < 3; i++)
    assert_string_equal(peers[i].log, "open close(1001 clean)");
  peer_connect(&peers[0], server.port, NULL);
  assert_int_equal(uvws_connect(&peers[1].ws, "ws://a/", &over_pipe), 0);
  peer_connect(&peers[2], port, NULL);
  test_run();
  for (int i = 0; i < 3; i++) assert_false(peers[i].status == 0);
}

/* ---- how it ends ---- */

static void test_init_checks_its_arguments(void** state) {
  static const uvws_server_events_t no_request = {UVWS_SERVER_EVENTS_INIT,
                                                  .close = NULL};
  static const uvws_server_events_t no_size = {.request = leave_undecided};
  static const uvws_server_events_t good = {UVWS_SERVER_EVENTS_INIT,
                                            .request = leave_undecided};
  uvws_server_options_t options = {0};
  uvws_server_t it;
  (void)state;
  assert_int_equal(uvws_server_init(NULL, &it, &good, NULL), UV_EINVAL);
  assert_int_equal(uvws_server_init(test_loop, NULL, &good, NULL), UV_EINVAL);
  assert_int_equal(uvws_server_init(test_loop, &it, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvws_server_init(test_loop, &it, &no_request, NULL),
                   UV_EINVAL);
  assert_int_equal(uvws_server_init(test_loop, &it, &no_size, NULL), UV_EINVAL);
  assert_int_equal(uvws_server_init(test_loop, &it, &good, &options),
                   UV_EINVAL);
}

static void test_close_before_listening(void** state) {
  static const uvws_server_events_t good = {UVWS_SERVER_EVENTS_INIT,
                                            .request = leave_undecided};
  int mark;
  uvws_server_t it;
  (void)state;
  for (uint32_t ms = 0; ms < 6000; ms += 5000) {
    it.data = &mark;
    assert_int_equal(uvws_server_init(test_loop, &it, &good, NULL), 0);
    uvws_server_close(&it, ms);
    uvws_server_close(&it, ms / 2);
    assert_int_equal(uvws_server_connections(&it), 0);
    test_run();
    /* The `close` event has passed: it answers every call, and does nothing. */
    assert_ptr_equal(it.data, &mark);
    uvws_server_close(&it, 0);
    uvws_server_ref(&it);
    uvws_server_unref(&it);
    assert_int_equal(uvws_server_connections(&it), 0);
    assert_int_equal(uvws_server_getsockname(&it, NULL, NULL), UV_ENOTCONN);
  }
}

static void test_close_says_1001_to_all_and_503_to_who_asked(void** state) {
  raw_t asked, half;
  peer_t peers[3];
  (void)state;
  server_start(&server, NULL);
  for (int i = 0; i < 3; i++) {
    peer_init(&peers[i]);
    peer_connect(&peers[i], server.port, NULL);
    test_run_until(&peers[i].opened);
  }
  keep_requests();
  dial(&half, "GET");
  dial(&asked, REQUEST "\r\n");
  test_run_until(&later.came);
  while (uvws_server_connections(&server.server) < 5)
    uv_run(test_loop, UV_RUN_ONCE);
  uvws_server_close(&server.server, 10000);
  uvws_t ws;
  assert_int_equal(uvws_init(test_loop, &ws, &peer_events), 0);
  assert_int_equal(uvws_accept(later.request, &ws, NULL), UV_ECANCELED);
  test_run();
  assert_string_equal(server.log,
                      "request(/) request(/) request(/) "
                      "request(/) abort(ECANCELED) close");
  assert_int_equal(status_of(&asked), 503);
  assert_int_equal(status_of(&half), 503);
  check_refusal(&asked);
  check_refusal(&half);
  for (int i = 0; i < 3; i++)
    assert_string_equal(peers[i].log, "open close(1001 clean)");
  raw_free(&asked);
  raw_free(&half);
}

/* Four clients of whom none answers: one does not answer the close frame, one
 * reads nothing, one has sent half a head, one waits for a decision. */
static raw_t stubborn[4];

static void stubborn_start(const uvws_server_options_t* options) {
  server_start(&server, options);
  dial(&stubborn[0], REQUEST "\r\n");
  test_run_until(&stubborn[0].upgraded);
  dial(&stubborn[1], REQUEST "\r\n");
  stubborn[1].then = RAW_DEAF;
  test_run_until(&stubborn[1].upgraded);
  keep_requests();
  dial(&stubborn[2], "GET");
  dial(&stubborn[3], REQUEST "\r\n");
  test_run_until(&later.came);
  while (uvws_server_connections(&server.server) < 4)
    uv_run(test_loop, UV_RUN_ONCE);
  for (int i = 2; i < 4; i++) uv_read_stop((uv_stream_t*)&stubborn[i].tcp);
}

static void stubborn_end(void) {
  for (int i = 0; i < 4; i++) raw_close(&stubborn[i]);
  test_run();
  for (int i = 0; i < 4; i++) raw_free(&stubborn[i]);
  for (int i = 0; i < 2; i++) {
    assert_string_equal(server.peers[i].log, "open close(1006)");
    assert_int_equal(server.peers[i].status, UV_ECANCELED);
  }
  assert_string_equal(server.log,
                      "request(/) request(/) request(/) abort(ECANCELED) "
                      "close");
}

/* Without any other deadline that could do it. */
static void test_the_deadline_ends_those_that_do_not_answer(void** state) {
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.close_timeout = options.handshake_timeout = 0;
  stubborn_start(&options);
  uvws_server_close(&server.server, 50);
  test_run_until(&server.closed);
  turns(3);
  assert_int_equal(raw_close_code(&stubborn[0]), 1001);
  stubborn_end();
}

static void test_deadline_0_ends_all_at_once(void** state) {
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.close_timeout = options.handshake_timeout = 0;
  stubborn_start(&options);
  uvws_server_close(&server.server, 0);
  test_run_until(&server.closed);
  turns(3);
  assert_int_equal(raw_close_code(&stubborn[0]), 0);
  stubborn_end();
}

static void test_the_earlier_of_two_deadlines_holds(void** state) {
  static const uint32_t deadlines[][2] = {
      {4000000, 50}, {50, 4000000}, {4000000, 0}, {0, 4000000}};
  uvws_server_options_t options;
  (void)state;
  uvws_server_options_init(&options);
  options.close_timeout = options.handshake_timeout = 0;
  for (size_t i = 0; i < COUNT_OF(deadlines); i++) {
    stubborn_start(&options);
    uvws_server_close(&server.server, deadlines[i][0]);
    if (i % 2 == 0) turns(2);
    uvws_server_close(&server.server, deadlines[i][1]);
    test_run_until(&server.closed);
    stubborn_end();
  }
}

static uint32_t next_deadline;

static void close_again(uv_check_t* check) {
  (void)check;
  if (!server.closed && next_deadline > 0)
    uvws_server_close(&server.server, next_deadline -= 1000);
}

/* In each turn with an earlier deadline: also in those in which all that is
 * left is closing. */
static void test_close_may_be_called_in_every_turn(void** state) {
  uv_check_t check;
  peer_t peer;
  (void)state;
  for (int i = 0; i < 2; i++) {
    server_start(&server, NULL);
    peer_init(&peer);
    if (i == 1) {
      peer_connect(&peer, server.port, NULL);
      test_run_until(&peer.opened);
    }
    next_deadline = 1000000;
    uv_check_init(test_loop, &check);
    uv_check_start(&check, close_again);
    for (int k = 0; k < 1000 && !server.closed; k++) turns(1);
    assert_true(server.closed);
    uv_close((uv_handle_t*)&check, NULL);
    test_run();
  }
}

static uint32_t deadline_inside;

static void close_in_request(server_t* to, uvws_request_t* request) {
  uvws_server_close(&to->server, deadline_inside);
  uvws_t ws;
  assert_int_equal(uvws_init(test_loop, &ws, &peer_events), 0);
  assert_int_equal(uvws_accept(request, &ws, NULL), UV_ECANCELED);
}

static void close_and_reject(server_t* to, uvws_request_t* request) {
  uvws_server_close(&to->server, deadline_inside);
  assert_int_equal(uvws_reject(request, 404, NULL, 0, NULL, 0), 0);
}

static void reject_and_close(server_t* to, uvws_request_t* request) {
  assert_int_equal(uvws_reject(request, 404, NULL, 0, NULL, 0), 0);
  uvws_server_close(&to->server, deadline_inside);
}

static void accept_and_close(server_t* to, uvws_request_t* request) {
  server_accept(to, request);
  uvws_server_close(&to->server, deadline_inside);
}

static void close_the_server(peer_t* peer) {
  (void)peer;
  uvws_server_close(&server.server, deadline_inside);
}

static void close_the_server_of_message(peer_t* peer,
                                        const uvws_message_t* message) {
  (void)message;
  close_the_server(peer);
}

static void close_the_server_of_close(peer_t* peer,
                                      const uvws_close_event_t* event) {
  (void)event;
  close_the_server(peer);
}

static void set_open(server_t* to, peer_t* peer) {
  (void)to;
  peer->on_open = close_the_server;
}

static void set_message(server_t* to, peer_t* peer) {
  (void)to;
  peer->on_message = close_the_server_of_message;
}

static void set_close(server_t* to, peer_t* peer) {
  (void)to;
  peer->on_close = close_the_server_of_close;
}

static void set_error(server_t* to, peer_t* peer) {
  (void)to;
  peer->on_error = close_the_server;
}

/* A message, then something that makes the server fail the connection. */
static size_t make_trouble(uint8_t* out) {
  static const char head[] = REQUEST "\r\n";
  size_t len = sizeof(head) - 1;
  memcpy(out, head, len);
  len += make_frame(out + len, 0x81, "hi", 2, true);
  len += make_frame(out + len, 0x83, "hi", 2, true);
  return len;
}

static void test_the_server_may_be_closed_in_every_event(void** state) {
  static const struct {
    void (*on_request)(server_t*, uvws_request_t*);
    void (*on_accept)(server_t*, peer_t*);
  } cases[] = {{close_in_request, NULL}, {close_and_reject, NULL},
               {reject_and_close, NULL}, {accept_and_close, NULL},
               {NULL, set_open},         {NULL, set_message},
               {NULL, set_error},        {NULL, set_close}};
  static uint8_t bytes[1024];
  size_t len = make_trouble(bytes);
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
    deadline_inside = i % 2 == 0 ? 0 : 5000;
    server_start(&server, NULL);
    server.on_request = cases[i / 2].on_request;
    server.on_accept = cases[i / 2].on_accept;
    raw_free(&raw);
    dial_with(&raw, bytes, len);
    test_run();
    assert_true(server.closed);
    assert_true(raw.closed);
    /* One `close`, and it is the last. */
    assert_string_equal(strstr(server.log, "close"), "close");
    assert_int_equal(server.accepted > 0, server.peers[0].closed);
  }
  raw_free(&raw);
}

/* The events that this helper's server has no callback for. */
static uvws_server_t bare;
static unsigned bare_closes;

static void bare_abort(uvws_server_t* it, uvws_request_t* request, int status) {
  (void)status;
  assert_int_equal(uvws_reject(request, 404, NULL, 0, NULL, 0), UV_ECANCELED);
  uvws_server_close(it, deadline_inside);
  uvws_server_close(it, deadline_inside / 2);
}

static void bare_error(uvws_server_t* it, int status) {
  assert_int_equal(status, UV_ENFILE);
  uvws_server_close(it, deadline_inside);
}

static void bare_close(uvws_server_t* it) {
  bare_closes++;
  uvws_server_close(it, 0);
  assert_int_equal(uvws_server_connections(it), 0);
}

static const uvws_server_events_t bare_events = {
    UVWS_SERVER_EVENTS_INIT, .request = leave_undecided, .abort = bare_abort,
    .error = bare_error, .close = bare_close};

static void listen_anywhere(uvws_server_t* it) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_listen(it, (struct sockaddr*)&addr, 0, 16), 0);
  assert_int_equal(uvws_server_getsockname(it, (struct sockaddr*)&addr, &len),
                   0);
  server.port = ntohs(addr.sin_port);
}

static void bare_start(void) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  options.handshake_timeout = test_handshake_ms(40);
  bare_closes = 0;
  assert_int_equal(uvws_server_init(test_loop, &bare, &bare_events, &options),
                   0);
  listen_anywhere(&bare);
}

typedef enum { BY_DEADLINE, BY_EOF, BY_CLOSE, BY_ERROR, WAYS } way_t;

static void test_the_server_may_be_closed_in_abort_and_error(void** state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    way_t way = (way_t)(i / 2);
    deadline_inside = i % 2 == 0 ? 0 : 5000;
    bare_start();
    if (way == BY_ERROR) accept_status = UV_ENFILE;
    raw_free(&raw);
    dial(&raw, REQUEST "\r\n");
    if (way == BY_EOF) raw.then = RAW_FIN;
    if (way == BY_CLOSE) {
      while (uvws_server_connections(&bare) == 0)
        uv_run(test_loop, UV_RUN_ONCE);
      turns(2);
      uvws_server_close(&bare, 20000);
    }
    test_run();
    assert_int_equal(bare_closes, 1);
  }
  raw_free(&raw);
}

/* Kept, it may be started again in its own `close` event. */
static unsigned restarts;

static void restart(uvws_server_t* it) {
  static const uvws_server_events_t events = {
      UVWS_SERVER_EVENTS_INIT, .request = leave_undecided, .close = restart};
  if (++restarts > 3) return;
  assert_int_equal(uvws_server_init(it->loop, it, &events, NULL), 0);
  uvws_server_close(it, 0);
}

static void test_a_server_may_start_again_in_its_close_event(void** state) {
  (void)state;
  restarts = 0;
  bare.loop = test_loop;
  restart(&bare);
  test_run();
  assert_int_equal(restarts, 4);
}

/* ---- connections that are given away ---- */

enum { N_BURST = 10 };

typedef enum { DROP, KEEP, ADOPT, CLOSE_SERVER } use_t;

static struct {
  use_t use;
  uint32_t deadline;
  uint32_t max;
  unsigned n_events;
  bool all_came;
  uv_os_sock_t kept[N_BURST];
  unsigned n_progress;
} given;

static void on_given(uvws_server_t* it, uv_os_sock_t fd) {
  assert_false(server.closed);
  assert_true(given.n_events < N_BURST);
  given.kept[given.n_events++] = fd;
  given.all_came = given.n_events == N_BURST;
  if (given.use == ADOPT) {
    assert_true(uvws_server_connections(it) < given.max);
    assert_int_equal(uvws_server_adopt_fd(it, fd, NULL, 0), 0);
    return;
  }
  assert_int_equal(uvws_server_connections(it), 0);
  if (given.use == CLOSE_SERVER) {
    uvws_server_close(it, given.deadline);
    assert_int_equal(uvws_server_adopt_fd(it, fd, NULL, 0), UV_ECANCELED);
  }
  if (given.use != KEEP) close(fd);
}

static void on_given_request(uvws_server_t* it, uvws_request_t* request) {
  assert_true(uvws_server_connections(it) <= given.max);
  server_accept(&server, request);
}

static void on_given_progress(uvws_server_t* it, unsigned left,
                              unsigned terminated) {
  (void)it;
  (void)left;
  (void)terminated;
  given.n_progress++;
}

static void on_given_close(uvws_server_t* it) {
  (void)it;
  assert_false(server.closed);
  server.closed = true;
}

static void give(use_t use, uint32_t max) {
  static const uvws_server_events_t events = {
      UVWS_SERVER_EVENTS_INIT,       .request = on_given_request,
      .progress = on_given_progress, .close = on_given_close,
      .connection = on_given,
  };
  uvws_server_options_t options;
  memset(&given, 0, sizeof(given));
  memset(&server, 0, sizeof(server));
  given.use = use;
  given.max = max;
  uvws_server_options_init(&options);
  options.max_connections = max;
  assert_int_equal(
      uvws_server_init(test_loop, &server.server, &events, &options), 0);
  listen_anywhere(&server.server);
}

/* All are there before the server looks. */
static void come(int clients[], unsigned n) {
  struct sockaddr_in addr;
  uv_ip4_addr("127.0.0.1", server.port, &addr);
  for (unsigned i = 0; i < n; i++) {
    clients[i] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(clients[i], (struct sockaddr*)&addr, sizeof(addr)),
                     0);
  }
}

/* Whoever was given away is no connection of this server's, and holds no place
 * under its cap. */
static void test_a_burst_is_given_away_at_the_cap(void** state) {
  static const uint32_t caps[] = {1, 4};
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(caps); i++) {
    int clients[N_BURST];
    char byte;
    give(i % 2 == 0 ? DROP : KEEP, caps[i / 2]);
    come(clients, N_BURST);
    test_run_until(&given.all_came);
    assert_int_equal(given.n_events, N_BURST);
    for (unsigned k = 0; k < N_BURST; k++) {
      /* Its end comes only when the last descriptor is closed. */
      if (given.use == KEEP) {
        assert_int_equal(write(given.kept[k], "x", 1), 1);
        assert_int_equal(read(clients[k], &byte, 1), 1);
        close(given.kept[k]);
      }
      assert_int_equal(read(clients[k], &byte, 1), 0);
      close(clients[k]);
    }
    server_end();
    assert_int_equal(given.n_progress, 0);
  }
}

static void test_a_server_adopts_what_it_gives_away(void** state) {
  static const uint32_t caps[] = {1, 4};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(caps); i++) {
    raw_t clients[N_BURST];
    give(ADOPT, caps[i]);
    for (unsigned k = 0; k < N_BURST; k++) {
      dial(&clients[k], REQUEST "\r\n");
      test_run_until(&clients[k].connected);
    }
    for (unsigned k = 0; k < N_BURST; k++) {
      test_run_until(&clients[k].upgraded);
      assert_int_equal(status_of(&clients[k]), 101);
      raw_close(&clients[k]);
    }
    server_end();
    assert_int_equal(given.n_events, N_BURST);
    assert_int_equal(server.accepted, N_BURST);
    for (unsigned k = 0; k < N_BURST; k++) raw_free(&clients[k]);
  }
}

/* Our own handle of it still has to close. */
static void test_the_server_may_be_closed_while_it_gives_away(void** state) {
  (void)state;
  for (unsigned i = 0; i < 4; i++) {
    int clients[2];
    unsigned n = i % 2 + 1;
    give(CLOSE_SERVER, 1);
    given.deadline = i < 2 ? 0 : 20000;
    come(clients, n);
    test_run();
    assert_true(server.closed);
    assert_int_equal(given.n_events, 1);
    assert_int_equal(given.n_progress, 0);
    for (unsigned k = 0; k < n; k++) close(clients[k]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_at_the_cap_accepting_waits_for_one_to_leave),
      TEST(test_the_cap_counts_requests_of_all_listeners),
      TEST(test_a_failed_accept_is_reported_and_tried_again),
      TEST(test_connections_are_counted),
      TEST(test_a_failed_listen_leaves_the_server_usable),
      TEST(test_getsockname_passes_over_a_failed_listen),
      TEST(test_all_listeners_are_served_and_closed),
      TEST(test_init_checks_its_arguments),
      TEST(test_close_before_listening),
      TEST(test_close_says_1001_to_all_and_503_to_who_asked),
      TEST(test_the_deadline_ends_those_that_do_not_answer),
      TEST(test_deadline_0_ends_all_at_once),
      TEST(test_the_earlier_of_two_deadlines_holds),
      TEST(test_close_may_be_called_in_every_turn),
      TEST(test_the_server_may_be_closed_in_every_event),
      TEST(test_the_server_may_be_closed_in_abort_and_error),
      TEST(test_a_server_may_start_again_in_its_close_event),
      TEST(test_a_burst_is_given_away_at_the_cap),
      TEST(test_a_server_adopts_what_it_gives_away),
      TEST(test_the_server_may_be_closed_while_it_gives_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
