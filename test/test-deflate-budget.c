#include "deflate-pair.h"
#include "protocol/deflate.h"

/* What compression needs is counted in a server's budget, and keeps to its part
 * of it. */

static const uint64_t DEFLATER = 288 * 1024; /* the default's */
static const uint64_t INFLATER = 48 * 1024;

static uint64_t used(void) {
  return uvws_server_memory(&server.server);
}

static void turn(void) {
  uv_run(test_loop, UV_RUN_NOWAIT);
}

static void pair_open_within(uint64_t budget,
                             const uvws_deflate_options_t* deflate) {
  max_memory = budget;
  pair_open(deflate, deflate);
  max_memory = 0;
}

static void pair_end_without_debt(void) {
  uvws_terminate(&client.ws);
  if (!server.peers[0].closed) test_run_until(&server.peers[0].closed);
  assert_int_equal(used(), 0);
  pair_end();
}

/* ---- contexts ---- */

static void test_contexts_are_counted(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  deflate.idle_timeout = 20;
  pair_open_within(64 << 20, &deflate);
  uvws_t* ws = &server.peers[0].ws;
  assert_int_equal(used(), 0);
  send_text(ws, text, 5000);
  assert_int_equal(used(), DEFLATER);
  send_text(ws, text, 5000);
  await_all();
  send_text(&client.ws, text, 5000);
  await_all();
  assert_int_equal(used(), DEFLATER + INFLATER);
  while (used() != INFLATER) turn(); /* idle */
  uvws_blob_t* blob = uvws_blob_new(text, 5000);
  send_blob(ws, blob); /* has no context of the connection's */
  uvws_blob_unref(blob);
  assert_int_equal(used(), INFLATER);
  send_text(ws, text, 5000);
  assert_int_equal(used(), DEFLATER + INFLATER);
  await_all();
  pair_end_without_debt();
}

static void test_without_takeover_nothing_stays(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  deflate.server_no_context_takeover = deflate.client_no_context_takeover = 1;
  pair_open_within(64 << 20, &deflate);
  uvws_t* ws = &server.peers[0].ws;
  send_text(ws, text, 5000);
  send_text(&client.ws, text, 5000);
  await_all();
  assert_int_equal(used(), 0);
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  assert_int_equal(used(), DEFLATER);
  expect(text, 5000);
  assert_int_equal(uvws_continue(ws, text, 2500), 0);
  assert_int_equal(uvws_end(ws, text + 2500, 2500), 0);
  assert_int_equal(used(), 0);
  await_all();
  pair_end_without_debt();
}

static void find_last_sent(uvws_t* ws, const char* data, size_t len,
                           uint64_t* size) {
  send_text(ws, data, len);
  *size = frames[n_frames - 1].len;
  assert_int_equal(frames[n_frames - 1].first_byte, 0xC1);
  await_all();
}

/* A quarter is less than one context for sending: each message is compressed,
 * but refers to none before. */
static void test_refused_contexts_are_done_without(void** state) {
  uvws_deflate_options_t deflate = defaults();
  uint64_t first, second;
  (void)state;
  for (int rich = 0; rich < 2; rich++) {
    pair_open_within(4 * DEFLATER - 1 + (uint64_t)rich, &deflate);
    uvws_t* ws = &server.peers[0].ws;
    find_last_sent(ws, text, 5000, &first);
    find_last_sent(ws, text, 5000, &second);
    assert_int_equal(used(), rich ? DEFLATER : 0);
    assert_true(rich ? second < first / 10 : second == first);
    assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
    expect(text, 9000);
    assert_int_equal(uvws_continue(ws, text, 5000), 0);
    assert_int_equal(frames[n_frames - 1].first_byte, rich ? 0x41 : 0x01);
    assert_int_equal(uvws_continue(ws, text + 5000, 1000), 0);
    assert_int_equal(uvws_end(ws, text + 6000, 3000), 0);
    await_all();
    find_last_sent(ws, text, 5000, &second);
    assert_true(rich ? second < first / 10 : second == first);
    pair_end_without_debt();
  }
}

static void test_without_an_inflater_it_closes(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  for (int rich = 0; rich < 2; rich++) {
    /* Three quarters of it. */
    pair_open_within(INFLATER / 3 * 4 - (rich ? 0 : 4), &deflate);
    send_text(&client.ws, text, 100);
    await_all();
    send_text(&client.ws, text, 5000);
    if (rich)
      await_all();
    else
      test_run_until(&client.closed);
    if (!rich) assert_non_null(strstr(client.log, "close(1013"));
    pair_end_without_debt();
  }
}

/* ---- messages ---- */

/* A fragment of a message that will not end: a few bytes of zeros, deflated,
 * are many. */
static size_t make_bomb(uint8_t* frame, size_t inflated) {
  static uint8_t zeros[300000], bytes[4096];
  uvws__deflate_how_t how = {9, 8, 0, 15};
  uvws__deflater_t* deflater = uvws__deflater_new(&how);
  uvws__bytes_t out = {bytes, 0, sizeof(bytes), .lent = true};
  assert_true(inflated <= sizeof(zeros));
  assert_true(
      uvws__deflater_add(deflater, zeros, inflated, UVWS__DEFLATE_FLUSH, &out));
  assert_true(out.lent);
  uvws__deflater_free(deflater);
  return make_frame(frame, 0x42, out.data, out.len, true);
}

enum { N_BOMBS = 12 };

static void await_frame(const uvws_t* ws) {
  uvws_stats_t stats;
  do {
    turn();
    uvws_stats(ws, &stats);
  } while (uvws_ready_state(ws) <= UVWS_OPEN && stats.frames_received == 0);
}

static void tolerate(server_t* own, peer_t* peer) {
  (void)own;
  peer->on_message = check_message;
}

/* Whoever fills memory with little traffic fills three quarters of it; messages
 * that are not compressed still have the rest. */
static void test_bombs_leave_room_for_others(void** state) {
  static uint8_t bomb[5000], part[100100];
  uvws_deflate_options_t deflate = defaults();
  uvws_server_options_t options;
  raw_t bombers[N_BOMBS], honest = {.bytes = part};
  unsigned refused = 0;
  (void)state;
  fill_text();
  n_expected = n_came = 0;
  size_t len = make_bomb(bomb, sizeof(text) / 2);
  honest.len = make_frame(part, 0x01, text, 100000, true);
  uvws_server_options_init(&options);
  options.deflate = &deflate;
  options.max_memory = 2000000;
  server_start(&server, &options);
  server.on_accept = tolerate;
  for (int i = 0; i < N_BOMBS; i++) {
    bombers[i] =
        (raw_t){.more = "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                .bytes = bomb,
                .len = len};
    raw_dial(&bombers[i], server.port);
  }
  while (server.accepted < N_BOMBS) turn();
  for (int i = 0; i < N_BOMBS; i++) await_frame(&server.peers[i].ws);
  uint64_t of_bombs = used();
  assert_in_range(of_bombs, 1000000, 1500000);
  raw_dial(&honest, server.port);
  while (used() < of_bombs + 100000) turn();
  for (int i = 0; i < N_BOMBS; i++) {
    refused += raw_close_code(&bombers[i]) == 1013;
    raw_close(&bombers[i]);
  }
  assert_in_range(refused, 8, 10);
  expect(text, 200000);
  len = make_frame(part, 0x80, text + 100000, 100000, true);
  raw_send(&honest, part, len);
  await_all();
  raw_close(&honest);
  uvws_server_close(&server.server, 0);
  test_run();
  for (int i = 0; i < N_BOMBS; i++) raw_free(&bombers[i]);
  raw_free(&honest);
  assert_int_equal(live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_contexts_are_counted),
      TEST(test_without_takeover_nothing_stays),
      TEST(test_refused_contexts_are_done_without),
      TEST(test_without_an_inflater_it_closes),
      TEST(test_bombs_leave_room_for_others),
  };
  return cmocka_run_group_tests(tests, count_allocations, NULL);
}
