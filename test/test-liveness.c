#include "helper.h"

#include <string.h>

/* Whether there is still a peer, and whether it keeps to the limits in time:
 * each deadline and rate against a raw client that provokes it. Deadlines that
 * must pass are short, those that must not are long. */

static server_t server;
static raw_t raw;
static peer_t* peer; /* the server's socket */
static uvws_server_options_t options;
static uv_timer_t timer;
static unsigned ticks;

static void begin(uint32_t ping_interval, uint32_t ping_timeout) {
  memset(&raw, 0, sizeof(raw));
  uvws_server_options_init(&options);
  options.ping_interval = ping_interval;
  options.ping_timeout = ping_timeout;
  uv_timer_init(test_loop, &timer);
  uv_unref((uv_handle_t*)&timer);
  peer = &server.peers[0];
  ticks = 0;
}

static void connect_raw(void) {
  server_start(&server, &options);
  server.stop_after = 1;
  raw_dial(&raw, server.port);
}

static void finish(void) {
  test_run();
  raw_close(&raw);
  uv_close((uv_handle_t*)&timer, NULL);
  test_run();
  raw_free(&raw);
}

static void send_frame(unsigned first_byte, const void* data, size_t len) {
  uint8_t frame[4096 + 14];
  raw_send(&raw, frame, make_frame(frame, first_byte, data, len, true));
}

static void test_a_silent_peer_is_pinged_then_dead(void** state) {
  const uint8_t* payload;
  size_t len;
  (void)state;
  begin(30, 50);
  connect_raw();
  test_run_until(&peer->closed);
  assert_string_equal(peer->log, "open error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(peer->reason, "the peer is dead: no answer to a ping");
  assert_int_equal(raw_frame(&raw, 0, &payload, &len), 0x9);
  assert_int_equal(raw_close_code(&raw), 0);
  finish();
}

static void answer_ping(raw_t* self) {
  const uint8_t* payload;
  size_t len;
  if (raw_frame(self, ticks, &payload, &len) != 0x9) return;
  send_frame(0x8A, payload, len);
  if (++ticks == 6) uvws_close(&peer->ws, 1000, NULL, 0);
}

static void note_rtt(peer_t* self, const uvws_close_event_t* event) {
  uvws_stats_t stats;
  (void)event;
  uvws_stats(&self->ws, &stats);
  self->rtt = stats.rtt;
  uvws_server_close(&server.server, 0);
}

static void note_rtt_at_close(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_close = note_rtt;
}

/* The answers are not the program's: it sent no ping. */
static void test_a_peer_that_answers_lives_on(void** state) {
  (void)state;
  begin(10, 20000);
  options.close_timeout = 20;
  raw.on_data = answer_ping;
  connect_raw();
  server.on_accept = note_rtt_at_close;
  test_run_until(&peer->closed);
  assert_int_equal(ticks, 6);
  assert_null(strstr(peer->log, "pong"));
  assert_true(peer->rtt > 0);
  finish();
}

/* ---- bytes that are no sign of life, and such that are ---- */

static size_t piece;

static void send_piece(uv_timer_t* self) {
  static const uint8_t zeros[4096];
  (void)self;
  if (peer->closed) return;
  if (ticks++ == 0) {
    uint8_t header[] = {0x82, 0xFF, 0, 0, 0, 0, 0, 16, 0, 0, 1, 2, 3, 4};
    raw_send(&raw, header, sizeof(header)); /* of 1 MiB */
  }
  raw_send(&raw, zeros, piece);
}

static void trickle(peer_t* self) {
  (void)self;
  uv_timer_start(&timer, send_piece, 10, 10);
}

static void trickle_when_open(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_open = trickle;
}

static void test_a_byte_now_and_then_is_no_sign_of_life(void** state) {
  (void)state;
  begin(30, 100);
  piece = 1;
  connect_raw();
  server.on_accept = trickle_when_open;
  test_run_until(&peer->closed);
  assert_string_equal(peer->log, "open error(UVWS_ETIMEOUT) close(1006)");
  assert_true(ticks > 3);
  finish();
}

/* No pong can stand in the midst of a frame. */
static void test_a_large_frame_is_a_sign_of_life(void** state) {
  uint64_t start = uv_hrtime();
  (void)state;
  begin(50, 3000);
  piece = 2048;
  connect_raw();
  server.on_accept = trickle_when_open;
  while (uv_hrtime() - start < 3500000000 && !peer->closed)
    uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(peer->log, "open");
  uv_timer_stop(&timer);
  uvws_terminate(&peer->ws);
  finish();
}

/* ---- reading, ours and theirs ---- */

static void say_much(peer_t* self) {
  static const char bytes[1000000];
  for (int i = 0; i < 20; i++)
    assert_int_equal(uvws_send(&self->ws, bytes, sizeof(bytes), UVWS_BINARY),
                     0);
}

static void say_much_when_open(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_open = say_much;
}

static void test_a_peer_that_reads_nothing_is_found(void** state) {
  (void)state;
  begin(0, 0);
  options.send_timeout = 50;
  raw.then = RAW_DEAF;
  connect_raw();
  server.on_accept = say_much_when_open;
  test_run_until(&peer->closed);
  assert_string_equal(peer->log, "open error(UVWS_ETIMEOUT) close(1006)");
  assert_string_equal(peer->reason,
                      "the peer took nothing of what waits for it");
  finish();
}

static bool waited;

static void on_waited(uv_timer_t* self) {
  (void)self;
  waited = true;
}

static void stop_reading(peer_t* self) {
  assert_int_equal(uvws_read_stop(&self->ws), 0);
  waited = false;
  uv_timer_start(&timer, on_waited, 200, 0);
}

static void stop_when_open(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_open = stop_reading;
}

/* Who does not listen has no right to call others dead. And the stopped socket
 * alone keeps the loop alive. */
static void test_silence_does_not_count_while_we_do_not_read(void** state) {
  (void)state;
  begin(10, 20);
  connect_raw();
  server.on_accept = stop_when_open;
  test_run_until(&waited);
  assert_string_equal(peer->log, "open");
  uvws_terminate(&peer->ws);
  finish();
}

static void sleep_over_deadline(raw_t* self) {
  const uint8_t* payload;
  size_t len;
  if (raw_frame(self, 0, &payload, &len) != 0x9 || ticks++ > 0) return;
  send_frame(0x81, "hi", 2);
  uv_sleep(300);
}

static void end_it(peer_t* self, const uvws_message_t* message) {
  (void)message;
  uvws_terminate(&self->ws);
}

static void end_at_message(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_message = end_it;
}

/* The loop was blocked beyond the deadline, and the answer lay in the kernel.
 */
static void test_what_came_while_we_slept_counts(void** state) {
  (void)state;
  begin(30, 100);
  raw.on_data = sleep_over_deadline;
  connect_raw();
  server.on_accept = end_at_message;
  test_run_until(&peer->closed);
  assert_string_equal(peer->log, "open text(hi) close(1006)");
  finish();
}

/* It may have read our end already, while our socket has not seen its. */
static bool raw_is_there(void) {
  return !uv_is_closing((uv_handle_t*)&raw.tcp) &&
         uv_is_writable((uv_stream_t*)&raw.tcp);
}

static void ping_on(uv_timer_t* self) {
  (void)self;
  if (raw_is_there() && ticks++ < 20) send_frame(0x89, "x", 1);
}

static void ping_often(peer_t* self) {
  (void)self;
  uv_timer_start(&timer, ping_on, 5, 5);
}

static void ping_often_when_open(server_t* self, peer_t* accepted) {
  (void)self;
  accepted->on_open = ping_often;
}

/* Pings are no messages. */
static void test_an_idle_peer_is_told(void** state) {
  (void)state;
  begin(20000, 20000);
  options.idle_timeout = 50;
  connect_raw();
  server.on_accept = ping_often_when_open;
  test_run_until(&peer->closed);
  assert_non_null(strstr(peer->log, "error(UVWS_ETIMEOUT) close(1006)"));
  assert_string_equal(peer->reason, "no message for too long");
  assert_int_equal(raw_close_code(&raw), 1001);
  finish();
}

/* ---- too often ---- */

static uint8_t script[1024];

/* One message, then 30 of something: more than two seconds' worth. */
static void flood(unsigned first_byte) {
  raw.bytes = script;
  raw.len = make_frame(script, 0x81, "hi", 2, true);
  if (first_byte == 0)
    raw.len += make_frame(script + raw.len, 0x01, "a", 1, true);
  for (int i = 0; i < 30; i++)
    raw.len += make_frame(script + raw.len, first_byte, "a", 1, true);
  if (first_byte == 0)
    raw.len += make_frame(script + raw.len, 0x80, "a", 1, true);
  raw.len += make_frame(script + raw.len, 0x88, "\x03\xe8", 2, true);
  connect_raw();
  finish();
}

static void check_flood(const char* reason) {
  assert_non_null(strstr(peer->log, "open text(hi)"));
  assert_non_null(strstr(peer->log, "error(UVWS_ERATE) close(1006)"));
  assert_string_equal(peer->reason, reason);
}

static int code_seen;

static void note_code(raw_t* self) {
  code_seen = raw_close_code(self);
}

static void test_pings_have_a_rate(void** state) {
  (void)state;
  begin(0, 0);
  options.max_ping_rate = 10;
  raw.on_end = note_code;
  flood(0x89);
  check_flood("more pings than the limit");
  assert_int_equal(code_seen, 1008);
}

static void test_pongs_are_pings(void** state) {
  (void)state;
  begin(0, 0);
  options.max_ping_rate = 10;
  raw.on_end = note_code;
  flood(0x8A);
  check_flood("more pings than the limit");
  assert_int_equal(code_seen, 1008);
}

static void test_tiny_fragments_have_a_rate(void** state) {
  (void)state;
  begin(0, 0);
  options.max_fragment_rate = 10;
  raw.on_end = note_code;
  flood(0x00);
  check_flood("more tiny fragments than the limit");
  assert_int_equal(code_seen, 1008);
}

static void test_no_rate_is_no_limit(void** state) {
  (void)state;
  begin(0, 0);
  options.max_ping_rate = options.max_fragment_rate = 0;
  flood(0x00);
  assert_non_null(strstr(peer->log, "close(1000 clean)"));
  begin(0, 0);
  options.max_ping_rate = options.max_fragment_rate = 0;
  flood(0x89);
  assert_non_null(strstr(peer->log, "close(1000 clean)"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_silent_peer_is_pinged_then_dead),
      TEST(test_a_peer_that_answers_lives_on),
      TEST(test_a_byte_now_and_then_is_no_sign_of_life),
      TEST(test_a_large_frame_is_a_sign_of_life),
      TEST(test_a_peer_that_reads_nothing_is_found),
      TEST(test_silence_does_not_count_while_we_do_not_read),
      TEST(test_what_came_while_we_slept_counts),
      TEST(test_an_idle_peer_is_told),
      TEST(test_pings_have_a_rate),
      TEST(test_pongs_are_pings),
      TEST(test_tiny_fragments_have_a_rate),
      TEST(test_no_rate_is_no_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
