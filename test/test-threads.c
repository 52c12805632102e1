#include "workers.h"

#include <stdio.h>
#include <string.h>

/* Loops of several threads: how connections are spread over the servers of two
 * threads, how what is said reaches all of them, how all of them end. */

/* ---- connections are spread ---- */

static void test_the_kernel_spreads_connections(void** state) {
  unsigned n = 0, served[N_WORKERS] = {0};
  (void)state;
  share_the_port();
  /* Each has a port of its own, of which the kernel makes a coin's toss. */
  while (n < COUNT_OF(clients) && (served[0] == 0 || served[1] == 0)) {
    client_join(&clients[n]);
    served[clients[n++].worker]++;
  }
  assert_true(served[0] > 0 && served[1] > 0);
  end_gracefully(n);
  for (unsigned i = 0; i < N_WORKERS; i++)
    assert_int_equal(workers[i].n_members, served[i]);
}

static void test_a_port_is_shared_if_both_ask_for_it(void** state) {
  static const unsigned flags[][2] = {
      {0, 0}, {UVWS_LISTEN_REUSEPORT, 0}, {0, UVWS_LISTEN_REUSEPORT}};
  (void)state;
  for (unsigned i = 0; i < COUNT_OF(flags); i++) {
    bare_init(0);
    bare_init(1);
    int status = listen_at(&bare[0], 0, flags[i][0]);
    if (status == 0) {
      status = listen_at(&bare[1], port_of(&bare[0]), flags[i][1]);
      if (flags[i][1] == 0) assert_int_equal(status, UV_EADDRINUSE);
    }
    assert_true(status == UV_EADDRINUSE || status == UV_ENOTSUP);
    uvws_server_close(&bare[0], 0);
    uvws_server_close(&bare[1], 0);
    test_run();
  }
}

static void test_an_acceptor_hands_over_what_it_accepts(void** state) {
  (void)state;
  hand_over();
  join_with_six();
  end_gracefully(N_CLIENTS);
  assert_int_equal(workers[0].n_members, N_CLIENTS / 2);
  assert_int_equal(workers[1].n_members, N_CLIENTS / 2);
}

static bool is_gone(const client_t* client) {
  return client->peer.closed && !client->peer.opened;
}

/* Comes in by the other worker, whose server takes it no more. */
static void try_to_join(client_t* client) {
  client_connect(client);
  test_run_until(&client->peer.closed);
  assert_true(is_gone(client));
}

/* A descriptor that is not taken stays the user's: first the other server is
 * closing, for want of an answer by its one client, then its loop has ended. */
static void test_a_closing_server_takes_nothing_over(void** state) {
  raw_t silent = {.then = RAW_STAY};
  (void)state;
  hand_over();
  client_join(&clients[0]);
  raw_dial(&silent, port);
  test_run_until(&silent.upgraded);
  worker_close(&workers[1], 20000);
  client_join(&clients[1]);
  try_to_join(&clients[2]);
  worker_close(&workers[1], 0);
  test_run_until(&silent.closed);
  worker_join(&workers[1]);
  client_join(&clients[3]);
  try_to_join(&clients[4]);
  close_acceptor();
  worker_close(&workers[0], 20000);
  test_run();
  worker_join(&workers[0]);
  raw_free(&silent);
  assert_int_equal(workers[0].n_members, 3);
  assert_int_equal(workers[0].n_unposted, 1);
  assert_int_equal(workers[1].n_members, 1);
  assert_int_equal(workers[1].n_refused, 1);
}

/* ---- what is said reaches all threads ---- */

enum { N_LINES = 40, LONG = 100000 };

static char long_text[LONG];

static void must_be_whole(client_t* client, const uvws_message_t* message) {
  (void)client;
  assert_int_equal(message->len, LONG);
  assert_memory_equal(message->data, long_text, LONG);
}

static void broadcast_to_all(const void* text, size_t len) {
  uvws_blob_t* blob = uvws_blob_new(text, len);
  assert_non_null(blob);
  for (unsigned i = 0; i < N_WORKERS; i++)
    assert_int_equal(
        uvws_post(&workers[i].loop, broadcast, uvws_blob_ref(blob)), 0);
  uvws_blob_unref(blob);
}

static void test_one_blob_reaches_the_sockets_of_all_threads(void** state) {
  (void)state;
  for (size_t i = 0; i < LONG; i++) long_text[i] = (char)('a' + i % 23);
  hand_over();
  join_with_six();
  for (unsigned i = 0; i < N_CLIENTS; i++) clients[i].on_line = must_be_whole;
  await_lines(N_CLIENTS);
  broadcast_to_all(long_text, LONG);
  test_run_until(&all_came);
  end_gracefully(N_CLIENTS);
  for (unsigned i = 0; i < N_CLIENTS; i++)
    assert_int_equal(clients[i].peer.messages, 2);
}

/* Of each client that speaks, every other one hears every line, in order. */
static void must_be_next(client_t* client, const uvws_message_t* message) {
  unsigned from, number;
  char line[16] = "";
  assert_true(message->len < sizeof(line));
  memcpy(line, message->data, message->len);
  assert_int_equal(sscanf(line, "%u %u", &from, &number), 2);
  assert_true(from < N_CLIENTS && client != &clients[from]);
  assert_int_equal(number, client->next_of[from]++);
}

static void test_all_hear_all_in_order(void** state) {
  char line[16];
  (void)state;
  hand_over();
  join_with_six();
  await_lines(N_CLIENTS * (N_CLIENTS - 1) * N_LINES);
  for (unsigned i = 0; i < N_CLIENTS; i++) clients[i].on_line = must_be_next;
  for (unsigned number = 0; number < N_LINES; number++)
    for (unsigned i = 0; i < N_CLIENTS; i++) {
      int len = snprintf(line, sizeof(line), "%u %u", i, number);
      assert_int_equal(
          uvws_send(&clients[i].peer.ws, line, (size_t)len, UVWS_TEXT), 0);
    }
  test_run_until(&all_came);
  end_gracefully(N_CLIENTS);
}

/* ---- the end of all threads ---- */

static void must_be_bye(client_t* client, const uvws_message_t* message) {
  (void)client;
  assert_int_equal(message->len, 3);
  assert_memory_equal(message->data, "bye", 3);
}

static void test_what_was_posted_before_the_end_still_arrives(void** state) {
  client_t late;
  (void)state;
  share_the_port();
  for (unsigned i = 0; i < N_CLIENTS; i++) {
    client_join(&clients[i]);
    clients[i].on_line = must_be_bye;
  }
  await_lines(N_CLIENTS);
  broadcast_to_all("bye", 3);
  end_gracefully(N_CLIENTS);
  assert_true(all_came);

  client_connect(&late);
  test_run();
  assert_true(is_gone(&late));
}

static void cut_members(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  (void)arg;
  for (unsigned i = 0; i < worker->n_members; i++)
    uvws_terminate(&worker->members[i]);
}

static void test_a_post_may_end_the_sockets_of_its_loop(void** state) {
  (void)state;
  hand_over();
  for (unsigned i = 0; i < 4; i++) client_join(&clients[i]);
  assert_int_equal(uvws_post(&workers[1].loop, cut_members, NULL), 0);
  test_run_until(&clients[1].peer.closed);
  test_run_until(&clients[3].peer.closed);
  close_workers(20000);
  test_run();
  join_workers();
  for (unsigned i = 0; i < 4; i++) {
    bool was_told = strstr(clients[i].peer.log, "close(1001 clean)") != NULL;
    assert_int_equal(was_told, i % 2 == 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WORKERS_TEST(test_the_kernel_spreads_connections),
      WORKERS_TEST(test_a_port_is_shared_if_both_ask_for_it),
      WORKERS_TEST(test_an_acceptor_hands_over_what_it_accepts),
      WORKERS_TEST(test_a_closing_server_takes_nothing_over),
      WORKERS_TEST(test_one_blob_reaches_the_sockets_of_all_threads),
      WORKERS_TEST(test_all_hear_all_in_order),
      WORKERS_TEST(test_what_was_posted_before_the_end_still_arrives),
      WORKERS_TEST(test_a_post_may_end_the_sockets_of_its_loop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
