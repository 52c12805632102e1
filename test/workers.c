#include "workers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- on any thread ---- */

void end_process(const char* condition, const char* file, int line) {
  fprintf(stderr, "%s:%d: it is not true that %s\n", file, line, condition);
  _exit(1);
}

static void on_alarm(int number) {
  static const char text[] = "the threads did not come to their end\n";
  (void)number;
  ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
  _exit(n > 0 ? 1 : 2);
}

int workers_setup(void** state) {
  signal(SIGALRM, on_alarm);
  alarm(30);
  return test_loop_setup(state);
}

int workers_teardown(void** state) {
  alarm(0);
  return test_loop_teardown(state);
}

/* ---- workers ---- */

worker_t workers[N_WORKERS];

bool is_here(const worker_t* worker) {
  uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&self, &worker->self);
}

/* Says which worker serves it. */
static void on_member_open(uvws_t* ws) {
  worker_t* worker = ws->loop->data;
  char name = (char)('0' + worker->index);
  MUST(is_here(worker));
  MUST(uvws_send(ws, &name, 1, UVWS_TEXT) == 0);
}

void broadcast(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  MUST(is_here(worker));
  int open = (int)(worker->n_members - worker->n_gone);
  MUST(uvws_server_broadcast(&worker->server, arg, UVWS_TEXT, NULL) == open);
  uvws_blob_unref(arg);
}

/* To all but the sender. */
static void on_member_message(uvws_t* ws, const uvws_message_t* message) {
  worker_t* worker = ws->loop->data;
  uvws_blob_t* blob = uvws_message_blob(message);
  MUST(is_here(worker) && blob != NULL);
  uvws_server_broadcast(&worker->server, blob, UVWS_TEXT, ws);
  for (unsigned i = 0; i < N_WORKERS; i++)
    if (&workers[i] != worker)
      MUST(uvws_post(&workers[i].loop, broadcast, uvws_blob_ref(blob)) == 0);
  uvws_blob_unref(blob);
}

static void on_member_close(uvws_t* ws, const uvws_close_event_t* event) {
  worker_t* worker = ws->loop->data;
  (void)event;
  MUST(is_here(worker));
  worker->n_gone++;
}

static const uvws_events_t member_events = {
    UVWS_EVENTS_INIT, .open = on_member_open, .message = on_member_message,
    .close = on_member_close};

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  worker_t* worker = server->loop->data;
  MUST(is_here(worker) && worker->n_members < N_MEMBERS);
  uvws_t* ws = &worker->members[worker->n_members++];
  MUST(uvws_init(&worker->loop, ws, &member_events) == 0);
  MUST(uvws_accept(request, ws, NULL) == 0);
}

static void on_server_close(uvws_server_t* server) {
  worker_t* worker = server->loop->data;
  MUST(is_here(worker) && worker->n_gone == worker->n_members);
  uv_close((uv_handle_t*)&worker->awake, NULL);
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .close = on_server_close};

static void on_awake(uv_async_t* awake) {
  (void)awake;
}

/* On the test's thread, as it happens to many a loop. */
static void worker_init(worker_t* worker, unsigned index) {
  memset(worker, 0, sizeof(*worker));
  worker->index = index;
  assert_int_equal(uv_loop_init(&worker->loop), 0);
  worker->loop.data = worker;
  assert_int_equal(uv_async_init(&worker->loop, &worker->awake, on_awake), 0);
  assert_int_equal(
      uvws_server_init(&worker->loop, &worker->server, &server_events, NULL),
      0);
}

static void run_worker(void* arg) {
  worker_t* worker = arg;
  worker->self = uv_thread_self();
  uv_run(&worker->loop, UV_RUN_DEFAULT);
  worker->loop_status = uv_loop_close(&worker->loop);
}

static void worker_run(worker_t* worker) {
  assert_int_equal(uv_thread_create(&worker->thread, run_worker, worker), 0);
}

void worker_start(worker_t* worker) {
  worker_init(worker, 0);
  worker_run(worker);
}

void worker_join(worker_t* worker) {
  assert_int_equal(uv_thread_join(&worker->thread), 0);
  assert_int_equal(worker->loop_status, 0);
  assert_int_equal(uvws_post(&worker->loop, broadcast, NULL), UV_ENOENT);
}

static void close_server(uv_loop_t* loop, void* deadline) {
  worker_t* worker = loop->data;
  uvws_server_close(&worker->server, (uint32_t)(uintptr_t)deadline);
}

void worker_close(worker_t* worker, uint32_t deadline) {
  assert_int_equal(
      uvws_post(&worker->loop, close_server, (void*)(uintptr_t)deadline), 0);
}

/* ---- two ways to spread connections ---- */

int port;

static uvws_server_t acceptor; /* of the first worker, when it hands over */
static bool has_acceptor;
static unsigned n_handed;

int listen_at(uvws_server_t* server, int at, unsigned flags) {
  struct sockaddr_in addr;
  uv_ip4_addr("127.0.0.1", at, &addr);
  return uvws_listen(server, (const struct sockaddr*)&addr, flags, 128);
}

int port_of(const uvws_server_t* server) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  assert_int_equal(
      uvws_server_getsockname(server, (struct sockaddr*)&addr, &len), 0);
  return ntohs(addr.sin_port);
}

static void end_acceptor(uv_loop_t* loop, void* arg) {
  (void)loop;
  (void)arg;
  MUST(uvws_server_connections(&acceptor) == 0);
  uvws_server_close(&acceptor, 0);
}

void close_acceptor(void) {
  assert_int_equal(uvws_post(&workers[0].loop, end_acceptor, NULL), 0);
  has_acceptor = false;
}

void close_workers(uint32_t deadline) {
  if (has_acceptor) close_acceptor();
  for (unsigned i = 0; i < N_WORKERS; i++) worker_close(&workers[i], deadline);
}

void join_workers(void) {
  for (unsigned i = 0; i < N_WORKERS; i++) worker_join(&workers[i]);
}

void share_the_port(void) {
  int status = 0;
  port = 0;
  for (unsigned i = 0; i < N_WORKERS; i++) {
    worker_init(&workers[i], i);
    if (status == 0)
      status = listen_at(&workers[i].server, port, UVWS_LISTEN_REUSEPORT);
    if (status == 0 && i == 0) port = port_of(&workers[0].server);
  }
  for (unsigned i = 0; i < N_WORKERS; i++) worker_run(&workers[i]);
  if (status == 0) return;
  close_workers(0);
  join_workers();
#ifdef __linux__
  assert_int_equal(status, 0);
#endif
  assert_int_equal(status, UV_ENOTSUP);
  skip();
}

static void take(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  uv_os_sock_t fd = (uv_os_sock_t)(intptr_t)arg;
  MUST(is_here(worker));
  int status = uvws_server_adopt_fd(&worker->server, fd, NULL, 0);
  if (status == 0) return;
  MUST(status == UV_ECANCELED);
  MUST(fcntl(fd, F_GETFD) != -1); /* it is still ours */
  close(fd);
  worker->n_refused++;
}

static void on_connection(uvws_server_t* server, uv_os_sock_t fd) {
  worker_t* worker = server->loop->data;
  worker_t* to = &workers[n_handed++ % N_WORKERS];
  MUST(is_here(worker));
  int status = uvws_post(&to->loop, take, (void*)(intptr_t)fd);
  if (status == 0) return;
  MUST(status == UV_ENOENT);
  close(fd);
  worker->n_unposted++;
}

static void on_no_request(uvws_server_t* server, uvws_request_t* request) {
  (void)server;
  (void)request;
  end_process("there are no requests here", __FILE__, __LINE__);
}

void hand_over(void) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = on_no_request,
                                              .connection = on_connection};
  for (unsigned i = 0; i < N_WORKERS; i++) worker_init(&workers[i], i);
  n_handed = 0;
  has_acceptor = true;
  assert_int_equal(uvws_server_init(&workers[0].loop, &acceptor, &events, NULL),
                   0);
  assert_int_equal(listen_at(&acceptor, 0, 0), 0);
  port = port_of(&acceptor);
  for (unsigned i = 0; i < N_WORKERS; i++) worker_run(&workers[i]);
}

/* ---- clients ---- */

client_t clients[N_MEMBERS];
bool all_came;

static unsigned n_awaited;

static void on_client_message(peer_t* peer, const uvws_message_t* message) {
  client_t* client = (client_t*)peer;
  if (!client->is_greeted) {
    client->is_greeted = true;
    client->worker = (unsigned)(message->data[0] - '0');
    assert_true(client->worker < N_WORKERS);
    return;
  }
  if (client->on_line != NULL) client->on_line(client, message);
  assert_true(n_awaited > 0);
  all_came = --n_awaited == 0;
}

void await_lines(unsigned n) {
  n_awaited = n;
  all_came = n == 0;
}

void client_connect(client_t* client) {
  memset(client, 0, sizeof(*client));
  peer_init(&client->peer);
  client->peer.on_message = on_client_message;
  peer_connect(&client->peer, port, NULL);
}

void client_join(client_t* client) {
  client_connect(client);
  test_run_until(&client->is_greeted);
}

void join_with_six(void) {
  for (unsigned i = 0; i < N_CLIENTS; i++) {
    client_join(&clients[i]);
    assert_int_equal(clients[i].worker, i % N_WORKERS);
  }
}

void end_gracefully(unsigned n_clients) {
  static const char last[] = "close(1001 clean)";
  close_workers(20000);
  test_run();
  join_workers();
  for (unsigned i = 0; i < n_clients; i++) {
    const char* log = clients[i].peer.log;
    assert_true(strlen(log) > sizeof(last));
    assert_string_equal(log + strlen(log) - strlen(last), last);
    assert_null(strstr(log, "error"));
  }
  assert_int_equal(workers[0].n_members + workers[1].n_members, n_clients);
}

/* ---- bare servers ---- */

uvws_server_t bare[2];
bool bare_closed;

static void on_bare_close(uvws_server_t* server) {
  (void)server;
  bare_closed = true;
}

void bare_init(unsigned i) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = on_no_request,
                                              .close = on_bare_close};
  assert_int_equal(uvws_server_init(test_loop, &bare[i], &events, NULL), 0);
  bare_closed = false;
}

/* ---- notes ---- */

char notes[64];

void note(uv_loop_t* loop, void* letter) {
  assert_ptr_equal(loop, test_loop);
  assert_true(strlen(notes) + 1 < sizeof(notes));
  strcat(notes, letter);
}

void post_note(char* letter) {
  assert_int_equal(uvws_post(test_loop, note, letter), 0);
}
