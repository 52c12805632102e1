#include "deflate-pair.h"

/* permessage-deflate when things do not go straight on: parts of a message that
 * are not wanted yet, or never; contexts that are given back; no memory. */

/* ---- chunks ---- */

typedef enum { GO_ON, STOP, STOP_AND_START, CLOSE, TERMINATE } in_chunk_t;

static struct {
  in_chunk_t what;
  size_t len;
  unsigned n;
  bool stopped;
  bool ended; /* the last message came */
} sink;

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  assert_false(sink.stopped);
  assert_true(chunk->len <= 64 * 1024);
  assert_int_equal(chunk->first, sink.len == 0);
  if (chunk->len > 0)
    assert_memory_equal(chunk->data, text + sink.len, chunk->len);
  sink.len += chunk->len;
  sink.n++;
  sink.ended = chunk->last && sink.len == 5;
  if (chunk->last) sink.len = 0;
  if (sink.what == STOP || sink.what == STOP_AND_START) {
    assert_int_equal(uvws_read_stop(ws), 0);
    sink.stopped = sink.what == STOP;
  }
  if (sink.what == STOP_AND_START) assert_int_equal(uvws_read_start(ws), 0);
  if (sink.what == CLOSE) assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  if (sink.what == TERMINATE) uvws_terminate(ws);
}

static uvws_events_t sink_events;

static void accept_sink(server_t* own, peer_t* peer) {
  (void)own;
  assert_int_equal(uvws_init(test_loop, &peer->ws, &sink_events), 0);
}

/* One small frame is many chunks; between any two reading may stop, and what
 * came behind it waits. */
static void sink_open(in_chunk_t what, bool takeover) {
  uvws_deflate_options_t deflate = defaults();
  deflate.client_no_context_takeover = !takeover;
  memset(&sink, 0, sizeof(sink));
  sink.what = what;
  sink_events = peer_events;
  sink_events.chunk = on_chunk;
  pair_start(&deflate, &deflate);
  memset(text, 'x', sizeof(text));
  server.on_accept = accept_sink;
  test_run_until(&client.opened);
}

static void run_sink(void) {
  for (unsigned i = 0; i < 100000 && !sink.ended; i++) {
    uv_run(test_loop, UV_RUN_NOWAIT);
    if (!sink.stopped || i % 2 == 0) continue;
    sink.stopped = false;
    assert_int_equal(uvws_read_start(&server.peers[0].ws), 0);
  }
  assert_true(sink.ended);
  sink.stopped = false;
  assert_int_equal(uvws_read_start(&server.peers[0].ws), 0);
}

static void test_chunks_of_a_small_frame(void** state) {
  (void)state;
  for (int i = 0; i < 6; i++) {
    sink_open((in_chunk_t)(GO_ON + i % 3), i < 3);
    for (int k = 0; k < 3; k++) {
      uvws_send(&client.ws, text, 300000, UVWS_TEXT);
      uvws_ping(&client.ws, "x", 1);
      uvws_begin(&client.ws, UVWS_TEXT);
      uvws_continue(&client.ws, text, 100000);
      uvws_continue(&client.ws, text + 100000, 1);
      uvws_end(&client.ws, text + 100001, 200000);
    }
    uvws_send(&client.ws, text, 5, UVWS_TEXT | UVWS_NO_COMPRESS);
    assert_true(uvws_queue_size(&client.ws) < 20000);
    run_sink();
    assert_true(sink.n >= 3 * 10);
    pair_end();
  }
}

static void test_an_end_inside_a_chunk(void** state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    sink_open(i % 2 == 0 ? CLOSE : TERMINATE, i < 2);
    uvws_send(&client.ws, text, 300000, UVWS_TEXT);
    uvws_send(&client.ws, text, 300000, UVWS_TEXT);
    test_run_until(&client.closed);
    assert_int_equal(sink.n, 1);
    if (i % 2 == 0) assert_string_equal(client.log, "open close(1000 clean)");
    test_run();
    assert_int_equal(live, 0);
  }
}

/* Both while it does not read and there is more of the message. */
static void test_an_end_between_chunks(void** state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    sink_open(STOP, i < 2);
    uvws_send(&client.ws, text, 300000, UVWS_TEXT);
    uvws_send(&client.ws, text, 300000, UVWS_TEXT);
    test_run_until(&sink.stopped);
    sink.what = GO_ON;
    if (i % 2 == 0)
      assert_int_equal(uvws_close(&server.peers[0].ws, 1000, NULL, 0), 0);
    else
      uvws_terminate(&server.peers[0].ws);
    test_run_until(&client.closed);
    assert_int_equal(sink.n, 1);
    if (i % 2 == 0) assert_string_equal(client.log, "open close(1000 clean)");
    test_run();
    assert_int_equal(live, 0);
  }
}

/* ---- idle ---- */

static bool passed;

static void on_passed(uv_timer_t* timer) {
  uv_close((uv_handle_t*)timer, NULL);
  passed = true;
}

static void pass_time(unsigned ms) {
  uv_timer_t timer;
  passed = false;
  uv_timer_init(test_loop, &timer);
  uv_timer_start(&timer, on_passed, ms, 0);
  test_run_until(&passed);
}

static uint64_t size_of_send(uvws_t* ws) {
  n_frames = 0;
  send_text(ws, text, 3000);
  n_expected = n_came = 0;
  expect(text, 3000);
  await_all();
  return frames[0].len;
}

/* A context that was given back is seen by the messages' sizes; after how long
 * does not matter. */
static void test_idle_contexts_are_given_back(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  for (int side = 0; side < 2; side++) {
    unsigned ms = 1;
    deflate.idle_timeout = 1;
    pair_open(&deflate, &deflate);
    uvws_t* ws = side == 0 ? &client.ws : &server.peers[0].ws;
    uint64_t first = size_of_send(ws);
    for (n_frames = 0; n_frames < 2;)
      send_text(ws, text, 3000); /* at once: refers to the one before */
    assert_true(frames[1].len < first / 4);
    await_all();
    for (pass_time(ms); size_of_send(ws) < first; ms *= 2) pass_time(ms);
    /* Not in the midst of a message. */
    n_expected = n_came = 0;
    expect(text, 6000);
    assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
    assert_int_equal(uvws_continue(ws, text, 3000), 0);
    pass_time(4 * ms);
    assert_int_equal(uvws_continue(ws, text + 3000, 2000), 0);
    pass_time(4 * ms);
    assert_int_equal(uvws_end(ws, text + 5000, 1000), 0);
    await_all();
    pass_time(4 * ms);
    uvws_blob_t* blob = uvws_blob_new(text, 3000);
    send_blob(ws, blob);
    pass_time(4 * ms);
    send_text(ws, text, 3000);
    await_all();
    uvws_blob_unref(blob);
    pair_end();
  }
}

/* ---- the loop's others ---- */

static unsigned in_turn, most_in_turn;

static void on_prepare(uv_prepare_t* prepare) {
  (void)prepare;
  in_turn = 0;
}

static void count_in_turn(peer_t* peer, const uvws_message_t* message) {
  check_message(peer, message);
  if (++in_turn > most_in_turn) most_in_turn = in_turn;
}

/* A few bytes that inflate to much do not keep the loop: after 1 MiB, here the
 * third message, it goes round once. Between two callbacks of a prepare handle
 * it reads, and ends a turn. */
static void test_much_is_inflated_in_several_turns(void** state) {
  uvws_deflate_options_t deflate = defaults();
  uv_prepare_t prepare;
  (void)state;
  most_in_turn = 0;
  uv_prepare_init(test_loop, &prepare);
  uv_unref((uv_handle_t*)&prepare);
  uv_prepare_start(&prepare, on_prepare);
  pair_open(&deflate, &deflate);
  memset(text, 'x', sizeof(text));
  server.peers[0].on_message = count_in_turn;
  for (unsigned i = 0; i < 40; i++) {
    expect(text, sizeof(text));
    assert_int_equal(uvws_send(&client.ws, text, sizeof(text), UVWS_BINARY), 0);
  }
  await_all();
  assert_in_range(most_in_turn, 3, 6);
  uv_close((uv_handle_t*)&prepare, NULL);
  pair_end();
}

/* ---- accepting ---- */

/* Each allocation of uvws_accept() fails once, and leaves nothing behind. */
static void accept_without_memory(server_t* own, uvws_request_t* request) {
  peer_t* peer = &own->peers[0];
  int status = UV_ENOMEM;
  for (unsigned n = 1; status != 0; n++) {
    peer_init(peer);
    fail_at = n;
    status = uvws_accept(request, &peer->ws, NULL);
    fail_at = 0;
    if (status == 0) break;
    assert_int_equal(status, UV_ENOMEM);
  }
  own->accepted = 1;
  uvws_terminate(&peer->ws);
  uvws_server_close(&own->server, 0);
}

static void test_accept_without_memory(void** state) {
  uvws_deflate_options_t deflate;
  uvws_server_options_t server_options;
  uvws_options_t options;
  (void)state;
  uvws_deflate_options_init(&deflate);
  uvws_server_options_init(&server_options);
  uvws_options_init(&options);
  server_options.deflate = options.deflate = &deflate;
  server_start(&server, &server_options);
  server.on_request = accept_without_memory;
  peer_init(&client);
  peer_connect(&client, server.port, &options);
  test_run();
  assert_int_equal(live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_chunks_of_a_small_frame),
      TEST(test_an_end_inside_a_chunk),
      TEST(test_an_end_between_chunks),
      TEST(test_idle_contexts_are_given_back),
      TEST(test_much_is_inflated_in_several_turns),
      TEST(test_accept_without_memory),
  };
  return cmocka_run_group_tests(tests, count_allocations, NULL);
}
