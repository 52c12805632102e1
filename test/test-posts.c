#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What uvws_post() promises, to the loop of another thread and to its own. */

/* ---- order and number ---- */

typedef struct poster_s {
  uv_thread_t thread;
  worker_t* worker;
  unsigned index;
  unsigned limit;
  unsigned n_posted;
} poster_t;

typedef struct parcel_s {
  unsigned from;
  unsigned number;
} parcel_t;

static uv_barrier_t barrier;

/* What another thread wrote is seen here, and is ours. */
static void count(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  parcel_t* parcel = arg;
  MUST(is_here(worker));
  MUST(parcel->number == worker->next_of[parcel->from]);
  worker->next_of[parcel->from]++;
  free(parcel);
}

/* Whatever the loop does not take is freed here. */
static int post_next(poster_t* poster) {
  parcel_t* parcel = malloc(sizeof(*parcel));
  MUST(parcel != NULL);
  parcel->from = poster->index;
  parcel->number = poster->n_posted;
  int status = uvws_post(&poster->worker->loop, count, parcel);
  if (status == 0)
    poster->n_posted++;
  else
    free(parcel);
  return status;
}

static void run_poster(void* arg) {
  poster_t* poster = arg;
  int status = 0;
  uv_barrier_wait(&barrier);
  while (status == 0 && poster->n_posted < poster->limit)
    status = post_next(poster);
  MUST(status == 0 || status == UV_ENOENT);
}

static void start_posters(poster_t posters[], worker_t* worker,
                          unsigned limit) {
  assert_int_equal(uv_barrier_init(&barrier, N_POSTERS + 1), 0);
  for (unsigned i = 0; i < N_POSTERS; i++) {
    posters[i] = (poster_t){.worker = worker, .index = i, .limit = limit};
    assert_int_equal(
        uv_thread_create(&posters[i].thread, run_poster, &posters[i]), 0);
  }
  uv_barrier_wait(&barrier);
}

static void join_posters(poster_t posters[]) {
  for (unsigned i = 0; i < N_POSTERS; i++)
    assert_int_equal(uv_thread_join(&posters[i].thread), 0);
  uv_barrier_destroy(&barrier);
}

static void test_posts_of_one_thread_are_called_in_order(void** state) {
  worker_t* worker = &workers[0];
  poster_t poster = {.worker = worker, .limit = 10000};
  (void)state;
  worker_start(worker);
  while (poster.n_posted < poster.limit)
    assert_int_equal(post_next(&poster), 0);
  worker_close(worker, 0);
  worker_join(worker);
  assert_int_equal(worker->next_of[0], poster.limit);
}

static void test_posts_of_several_threads_are_all_called(void** state) {
  worker_t* worker = &workers[0];
  poster_t posters[N_POSTERS];
  (void)state;
  worker_start(worker);
  start_posters(posters, worker, 3000);
  join_posters(posters);
  worker_close(worker, 0);
  worker_join(worker);
  for (unsigned i = 0; i < N_POSTERS; i++) {
    assert_int_equal(posters[i].n_posted, 3000);
    assert_int_equal(worker->next_of[i], 3000);
  }
}

/* They go on until they are told that the loop has ended, or so long that it
 * will have: what was taken was called once, and nothing else was. */
static void test_posts_race_with_the_end(void** state) {
  worker_t* worker = &workers[0];
  poster_t posters[N_POSTERS];
  (void)state;
  for (unsigned round = 0; round < 50; round++) {
    worker_start(worker);
    start_posters(posters, worker, 50000);
    worker_close(worker, 0);
    worker_join(worker);
    join_posters(posters);
    for (unsigned i = 0; i < N_POSTERS; i++)
      assert_int_equal(worker->next_of[i], posters[i].n_posted);
  }
}

/* ---- what is refused, when it is called ---- */

/* The connection is given up before anybody could answer. */
enum { NO_PORT = 65535 };

static void test_a_post_needs_a_socket_or_a_server(void** state) {
  peer_t peer;
  (void)state;
  notes[0] = '\0';
  assert_int_equal(uvws_post(test_loop, note, "x"), UV_ENOENT);

  bare_init(0);
  assert_int_equal(uvws_post(test_loop, NULL, "x"), UV_EINVAL);
  post_note("a");
  uvws_server_close(&bare[0], 0);
  post_note("b");
  test_run();
  assert_string_equal(notes, "ab");
  assert_int_equal(uvws_post(test_loop, note, "x"), UV_ENOENT);

  peer_init(&peer);
  assert_int_equal(uvws_post(test_loop, note, "x"), UV_ENOENT);
  peer_connect(&peer, NO_PORT, NULL);
  post_note("c");
  uvws_terminate(&peer.ws);
  test_run();
  assert_string_equal(notes, "abc");
  assert_int_equal(uvws_post(test_loop, note, "x"), UV_ENOENT);
  assert_string_equal(peer.log, "close(1006)");
}

static void note_and_post(uv_loop_t* loop, void* arg) {
  note(loop, "a");
  post_note("c");
  note(loop, arg);
}

static void close_bare(uv_loop_t* loop, void* arg) {
  (void)loop;
  (void)arg;
  uvws_server_close(&bare[0], 0);
}

static void test_a_post_is_never_called_inside_a_call(void** state) {
  (void)state;
  notes[0] = '\0';
  bare_init(0);
  assert_int_equal(listen_at(&bare[0], 0, 0), 0);
  assert_int_equal(uvws_post(test_loop, note_and_post, "b"), 0);
  assert_string_equal(notes, "");
  while (strlen(notes) < 3) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(notes, "abc");
  assert_int_equal(uvws_post(test_loop, close_bare, NULL), 0);
  test_run();
}

static void must_be_ours(uv_handle_t* handle, void* arg) {
  unsigned* n = arg;
  assert_true(uvws_owns(handle));
  ++*n;
}

static void test_a_post_keeps_no_loop_alive(void** state) {
  unsigned n = 0;
  (void)state;
  notes[0] = '\0';
  bare_init(0);
  assert_int_equal(listen_at(&bare[0], 0, 0), 0);
  uvws_server_unref(&bare[0]);
  assert_int_equal(uv_loop_alive(test_loop), 0);
  post_note("a");
  assert_int_equal(uv_loop_alive(test_loop), 0);
  assert_int_equal(uv_run(test_loop, UV_RUN_DEFAULT), 0);
  uv_walk(test_loop, must_be_ours, &n);
  assert_true(n > 1);
  post_note("b");
  uvws_server_close(&bare[0], 0);
  test_run();
  assert_string_equal(notes, "ab");
}

/* ---- posts and the end of their loop ---- */

typedef struct phases_s {
  uv_idle_t idle;
  uv_prepare_t prepare;
  uv_check_t check;
  void (*cb)(uv_loop_t* loop, void* arg);
  unsigned n_posted;
  unsigned n_called;
} phases_t;

static phases_t phases;

static void post_in_phase(void) {
  int status = uvws_post(test_loop, phases.cb, NULL);
  if (status == 0) {
    phases.n_posted++;
    return;
  }
  assert_int_equal(status, UV_ENOENT);
  uv_close((uv_handle_t*)&phases.idle, NULL);
  uv_close((uv_handle_t*)&phases.prepare, NULL);
  uv_close((uv_handle_t*)&phases.check, NULL);
}

static void on_idle(uv_idle_t* idle) {
  (void)idle;
  post_in_phase();
}

static void on_prepare(uv_prepare_t* prepare) {
  (void)prepare;
  post_in_phase();
}

static void on_check(uv_check_t* check) {
  (void)check;
  post_in_phase();
}

/* In every phase of the loop, until it takes no more. */
static void run_with_posts(void (*cb)(uv_loop_t* loop, void* arg)) {
  phases = (phases_t){.cb = cb};
  uv_idle_init(test_loop, &phases.idle);
  uv_idle_start(&phases.idle, on_idle);
  uv_prepare_init(test_loop, &phases.prepare);
  uv_prepare_start(&phases.prepare, on_prepare);
  uv_check_init(test_loop, &phases.check);
  uv_check_start(&phases.check, on_check);
  test_run();
  assert_true(phases.n_posted > 0);
  assert_int_equal(phases.n_called, phases.n_posted);
}

/* A server that closes takes every call, until its `close` event. */
static void use_server(uv_loop_t* loop, void* arg) {
  uv_os_sock_t fds[2];
  (void)arg;
  phases.n_called++;
  assert_ptr_equal(loop, test_loop);
  if (bare_closed) return;
  assert_int_equal(uvws_server_connections(&bare[0]), 0);
  assert_int_equal(uvws_server_memory(&bare[0]), 0);
  assert_int_equal(listen_at(&bare[0], 0, 0), UV_ECANCELED);
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  assert_int_equal(uvws_server_adopt_fd(&bare[0], fds[0], NULL, 0),
                   UV_ECANCELED);
  close(fds[0]);
  close(fds[1]);
  uvws_blob_t* blob = uvws_blob_new("x", 1);
  assert_int_equal(uvws_server_broadcast(&bare[0], blob, UVWS_TEXT, NULL), 0);
  uvws_blob_unref(blob);
  uvws_server_unref(&bare[0]);
  uvws_server_ref(&bare[0]);
  uvws_server_close(&bare[0], 1000);
  uvws_server_close(&bare[0], 0);
}

static void test_posts_until_the_last_server_has_ended(void** state) {
  (void)state;
  bare_init(0);
  uvws_server_close(&bare[0], 20000);
  run_with_posts(use_server);
  assert_true(bare_closed);

  bare_init(0);
  assert_int_equal(listen_at(&bare[0], 0, 0), 0);
  uvws_server_close(&bare[0], 20000);
  run_with_posts(use_server);
  assert_true(bare_closed);
}

static peer_t last;

/* And so does a socket that has been terminated. */
static void use_socket(uv_loop_t* loop, void* arg) {
  (void)arg;
  phases.n_called++;
  assert_ptr_equal(loop, test_loop);
  assert_true(uvws_ready_state(&last.ws) >= UVWS_CLOSING);
  assert_int_equal(uvws_send(&last.ws, "x", 1, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_close(&last.ws, 1000, NULL, 0), 0);
  uvws_unref(&last.ws);
  uvws_ref(&last.ws);
  uvws_terminate(&last.ws);
}

static void test_posts_until_the_last_socket_has_ended(void** state) {
  (void)state;
  peer_init(&last);
  peer_connect(&last, NO_PORT, NULL);
  uvws_terminate(&last.ws);
  run_with_posts(use_socket);
  assert_string_equal(last.log, "close(1006)");
}

/* One more server on the loop, with posts of its own, between the end of the
 * last one and that of what all of them shared. */
static void begin_anew(uv_prepare_t* prepare) {
  bare_init(1);
  post_note("c");
  uvws_server_close(&bare[1], 0);
  post_note("d");
  uv_close((uv_handle_t*)prepare, NULL);
}

static void test_posts_keep_their_order_over_an_end(void** state) {
  uv_prepare_t prepare;
  (void)state;
  notes[0] = '\0';
  uv_prepare_init(test_loop, &prepare);
  uv_prepare_start(&prepare, begin_anew);
  bare_init(0);
  post_note("a");
  uvws_server_close(&bare[0], 0);
  post_note("b");
  test_run();
  assert_string_equal(notes, "abcd");
  assert_int_equal(uvws_post(test_loop, note, "x"), UV_ENOENT);
}

static bool is_told;

static void tell(uv_loop_t* loop, void* arg) {
  assert_ptr_equal(loop, test_loop);
  assert_null(arg);
  is_told = true;
}

static void begin_anew_and_listen(uv_prepare_t* prepare) {
  bare_init(1);
  assert_int_equal(listen_at(&bare[1], 0, 0), 0);
  uv_close((uv_handle_t*)prepare, NULL);
}

/* Nobody need post again for them to be called. */
static void test_posts_over_an_end_wake_the_loop(void** state) {
  uv_prepare_t prepare;
  (void)state;
  is_told = false;
  uv_prepare_init(test_loop, &prepare);
  uv_prepare_start(&prepare, begin_anew_and_listen);
  bare_init(0);
  assert_int_equal(uvws_post(test_loop, tell, NULL), 0);
  uvws_server_close(&bare[0], 0);
  test_run_until(&is_told);
  uvws_server_close(&bare[1], 0);
  test_run();
}

/* ---- posts that connect ---- */

static void join_late(uv_loop_t* loop, void* client) {
  assert_ptr_equal(loop, test_loop);
  client_connect(client);
  post_note("b");
}

static void test_the_last_post_may_connect_a_socket(void** state) {
  client_t* client = &clients[0];
  (void)state;
  notes[0] = '\0';
  client->is_greeted = false;
  hand_over();
  bare_init(0);
  uvws_server_close(&bare[0], 0);
  assert_int_equal(uvws_post(test_loop, join_late, client), 0);
  post_note("a");
  test_run_until(&client->is_greeted);
  assert_true(bare_closed);
  assert_string_equal(notes, "ab");
  end_gracefully(1);
}

typedef struct visitor_s {
  uvws_t ws; /* first */
  worker_t* worker;
  uv_sem_t gone;
  char heard;
  int code;
} visitor_t;

static void on_visitor_message(uvws_t* ws, const uvws_message_t* message) {
  visitor_t* visitor = (visitor_t*)ws;
  MUST(is_here(visitor->worker));
  visitor->heard = message->data[0];
  MUST(uvws_close(ws, 1000, NULL, 0) == 0);
}

static void on_visitor_close(uvws_t* ws, const uvws_close_event_t* event) {
  visitor_t* visitor = (visitor_t*)ws;
  MUST(is_here(visitor->worker));
  visitor->code = event->code;
  uv_sem_post(&visitor->gone);
}

static void visit(uv_loop_t* loop, void* arg) {
  static const uvws_events_t events = {UVWS_EVENTS_INIT,
                                       .message = on_visitor_message,
                                       .close = on_visitor_close};
  visitor_t* visitor = arg;
  char url[64];
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port);
  visitor->worker = loop->data;
  MUST(uvws_init(loop, &visitor->ws, &events) == 0);
  MUST(uvws_connect(&visitor->ws, url, NULL) == 0);
}

/* From the second worker's loop to the servers of both. */
static void test_a_post_may_connect_a_socket_to_another_thread(void** state) {
  (void)state;
  hand_over();
  for (unsigned i = 0; i < N_WORKERS; i++) {
    visitor_t visitor;
    memset(&visitor, 0, sizeof(visitor));
    assert_int_equal(uv_sem_init(&visitor.gone, 0), 0);
    assert_int_equal(uvws_post(&workers[1].loop, visit, &visitor), 0);
    uv_sem_wait(&visitor.gone);
    uv_sem_destroy(&visitor.gone);
    assert_int_equal(visitor.heard, '0' + (int)i);
    assert_int_equal(visitor.code, 1000);
  }
  close_workers(20000);
  join_workers();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORKERS_TEST(test_posts_of_one_thread_are_called_in_order),
      WORKERS_TEST(test_posts_of_several_threads_are_all_called),
      WORKERS_TEST(test_posts_race_with_the_end),
      WORKERS_TEST(test_a_post_needs_a_socket_or_a_server),
      WORKERS_TEST(test_a_post_is_never_called_inside_a_call),
      WORKERS_TEST(test_a_post_keeps_no_loop_alive),
      WORKERS_TEST(test_posts_until_the_last_server_has_ended),
      WORKERS_TEST(test_posts_until_the_last_socket_has_ended),
      WORKERS_TEST(test_posts_keep_their_order_over_an_end),
      WORKERS_TEST(test_posts_over_an_end_wake_the_loop),
      WORKERS_TEST(test_the_last_post_may_connect_a_socket),
      WORKERS_TEST(test_a_post_may_connect_a_socket_to_another_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
