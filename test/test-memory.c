#include "counting.h"

#include <string.h>

/* What is held in memory, counted by an allocator of our own: for what, how
 * much, and that nothing is left of a call that failed for want of it. */

/* ---- received ---- */

enum { N_KEPT = 1000 };

static uvws_blob_t* kept[N_KEPT];
static size_t live_at_first, live_at_last;

static void keep(peer_t* peer, const uvws_message_t* message) {
  live_at_last = live;
  if (peer->messages == 1) live_at_first = live;
  kept[peer->messages - 1] = uvws_blob_ref(message->blob);
  if (peer->messages == N_KEPT) uvws_terminate(&peer->ws);
}

static void keep_blobs(server_t* server, peer_t* peer) {
  (void)server;
  uvws_set_binary_type(&peer->ws, UVWS_BLOB);
  peer->on_message = keep;
}

/* A message of two fragments has a buffer with room to grow, which a blob that
 * is kept must not hold on to. */
static void test_a_kept_blob_costs_what_was_received(void** state) {
  static uint8_t frames[N_KEPT * 14];
  raw_t raw = {.bytes = frames};
  server_t server;
  (void)state;
  for (int i = 0; i < N_KEPT; i++) {
    raw.len += make_frame(frames + raw.len, 0x02, "a", 1, true);
    raw.len += make_frame(frames + raw.len, 0x80, "b", 1, true);
  }
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = keep_blobs;
  raw_dial(&raw, server.port);
  test_run_until(&server.peers[0].closed);
  assert_int_equal(server.peers[0].messages, N_KEPT);
  assert_true(live_at_last - live_at_first < N_KEPT * 128);
  for (int i = 0; i < N_KEPT; i++) {
    assert_memory_equal(uvws_blob_data(kept[i]), "ab", 2);
    uvws_blob_unref(kept[i]);
  }
  test_run();
  raw_free(&raw);
  assert_int_equal(live, 0);
}

/* ---- sent ---- */

static size_t queued_memory;
static uint64_t queued_bytes;

static void queue_one_blob_often(peer_t* peer) {
  static uint8_t payload[16384];
  uvws_blob_t* blob = uvws_blob_new(payload, sizeof(payload));
  size_t before = live;
  for (int i = 0; i < 2000; i++)
    assert_int_equal(uvws_send_blob(&peer->ws, blob, UVWS_BINARY), 0);
  queued_memory = live - before;
  queued_bytes = uvws_queue_size(&peer->ws);
  uvws_blob_unref(blob);
  uvws_terminate(&peer->ws);
}

static void send_to_the_deaf(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = queue_one_blob_often;
}

static void test_a_blob_that_waits_is_not_copied(void** state) {
  raw_t raw = {.then = RAW_DEAF};
  server_t server;
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = send_to_the_deaf;
  raw_dial(&raw, server.port);
  test_run_until(&server.closed);
  raw_close(&raw);
  test_run();
  assert_true(queued_bytes > 16 * 1024 * 1024);
  assert_true(queued_memory < 1024 * 1024);
  raw_free(&raw);
  assert_int_equal(live, 0);
}

static uint64_t queue_at[3];
static unsigned n_pings;
static bool all_pings_came;

static void fill_the_queue(peer_t* peer) {
  static const uint8_t payload[1000000];
  for (int i = 0; i < 20; i++)
    assert_int_equal(
        uvws_send(&peer->ws, payload, sizeof(payload), UVWS_BINARY), 0);
}

static void note_queue(peer_t* peer) {
  queue_at[n_pings++] = uvws_queue_size(&peer->ws);
  all_pings_came = n_pings == 3;
}

static void answer_pings_behind_a_full_queue(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = fill_the_queue;
  peer->on_ping = note_queue;
}

static bool both_pongs_came;

static void look_for_pongs(raw_t* raw) {
  static const char wanted[] =
      "\x8a\x01"
      "1"
      "\x8a\x01"
      "3";
  const size_t len = sizeof(wanted) - 1;
  both_pongs_came = raw->in_len > len &&
                    memcmp(raw->in + raw->in_len - len, wanted, len) == 0;
}

/* Rule 5: the first pong is queued at once, behind what is there, for the queue
 * may never be empty; of those that follow only the newest is kept. */
static void test_one_pong_waits_in_a_full_queue(void** state) {
  uint8_t pings[32];
  raw_t raw = {.then = RAW_DEAF, .on_data = look_for_pongs};
  server_t server;
  size_t len = 0;
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = answer_pings_behind_a_full_queue;
  raw_dial(&raw, server.port);
  test_run_until(&server.peers[0].opened);
  uint64_t before = uvws_queue_size(&server.peers[0].ws);
  assert_true(before > 0);
  for (int i = 0; i < 3; i++)
    len += make_frame(pings + len, 0x89, &"123"[i], 1, true);
  raw_send(&raw, pings, len);
  test_run_until(&all_pings_came);
  for (int i = 0; i < 3; i++) assert_int_equal(queue_at[i], before + 3);
  raw.then = RAW_STAY;
  raw_listen_up(&raw);
  test_run_until(&both_pongs_came);
  uvws_terminate(&server.peers[0].ws);
  test_run();
  raw_free(&raw);
  assert_int_equal(live, 0);
}

/* ---- refused ---- */

static const uvws_events_t no_events = {UVWS_EVENTS_INIT};

/* Rule 1: a call that fails leaves nothing behind, no handle either, although
 * this would be the loop's first socket. */
static void test_a_failed_connect_leaves_nothing(void** state) {
  static const char* const protocols[] = {"a", "b"};
  uvws_options_t options;
  int status = UV_ENOMEM;
  (void)state;
  uvws_options_init(&options);
  options.protocols = protocols;
  options.n_protocols = 2;
  for (unsigned n = 1; status == UV_ENOMEM; n++) {
    uv_loop_t loop;
    uvws_t ws;
    uv_loop_init(&loop);
    uvws_init(&loop, &ws, &no_events);
    fail_at = n;
    status = uvws_connect(&ws, "ws://127.0.0.1/", &options);
    fail_at = 0;
    if (status == 0) {
      uvws_terminate(&ws);
      uv_run(&loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(live, 0);
  }
  assert_int_equal(status, 0);
}

/* ---- a full server ---- */

static bool fail_after_accept;

int __real_uv_accept(uv_stream_t* listener, uv_stream_t* stream);
int __wrap_uv_accept(uv_stream_t* listener, uv_stream_t* stream);

int __wrap_uv_accept(uv_stream_t* listener, uv_stream_t* stream) {
  if (fail_after_accept) fail_at = 1;
  fail_after_accept = false;
  return __real_uv_accept(listener, stream);
}

/* The connection for which there was no memory held the only place. */
static void test_a_full_server_recovers_from_a_lack_of_memory(void** state) {
  uvws_server_options_t options;
  server_t server;
  peer_t first, second;
  (void)state;
  uvws_server_options_init(&options);
  options.max_connections = 1;
  server_start(&server, &options);
  server.stop_after = 1;
  peer_init(&first);
  peer_init(&second);
  second.on_open = peer_close;
  fail_after_accept = true;
  peer_connect(&first, server.port, NULL);
  peer_connect(&second, server.port, NULL);
  test_run();
  assert_string_equal(server.log, "error(ENOMEM) request(/) close");
  assert_string_equal(second.log, "open close(1000 clean)");
  assert_int_equal(live, 0);
}

/* ---- spare blocks ---- */

static size_t live_with_spares;

static void on_tick(uv_timer_t* timer) {
  (void)timer;
}

/* What a burst has left is kept for the next one, and for two seconds or four;
 * a loop that ends does not wait for that. */
static void test_what_a_burst_has_left_goes(void** state) {
  static uint8_t payload[1000000];
  server_t server;
  peer_t client;
  uv_timer_t timer;
  (void)state;
  for (int wait = 0; wait < 2; wait++) {
    server_start(&server, NULL);
    server.stop_after = 1;
    server.echo = true;
    peer_init(&client);
    peer_connect(&client, server.port, NULL);
    test_run_until(&client.opened);
    size_t before = live;
    for (int i = 0; i < 8; i++)
      assert_int_equal(
          uvws_send(&client.ws, payload, sizeof(payload), UVWS_BINARY), 0);
    while (client.messages < 8) uv_run(test_loop, UV_RUN_ONCE);
    live_with_spares = live;
    assert_true(live_with_spares > before + sizeof(payload));
    uv_timer_init(test_loop, &timer);
    uv_timer_start(&timer, on_tick, 100, 100);
    for (uint64_t start = uv_hrtime();
         wait && live > before + sizeof(payload) / 2 &&
         uv_hrtime() - start < UINT64_C(20000000000);)
      uv_run(test_loop, UV_RUN_ONCE);
    if (wait) assert_true(live <= before + sizeof(payload) / 2);
    uv_close((uv_handle_t*)&timer, NULL);
    peer_close(&client);
    test_run();
    assert_int_equal(live, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_kept_blob_costs_what_was_received),
      TEST(test_a_blob_that_waits_is_not_copied),
      TEST(test_one_pong_waits_in_a_full_queue),
      TEST(test_a_failed_connect_leaves_nothing),
      TEST(test_a_full_server_recovers_from_a_lack_of_memory),
      TEST(test_what_a_burst_has_left_goes),
  };
  return cmocka_run_group_tests(tests, count_allocations, NULL);
}
