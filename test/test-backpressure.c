#include "helper.h"

#include <string.h>

/* High-water marks, policies, the server's memory, with raw clients that read
 * nothing until they are told to; and how a closing server counts. */

enum { PIECE = 64 * 1024, MEGABYTE = 1024 * 1024 };

static server_t server;
static raw_t raws[2];
static uvws_server_options_t options;
static const uint8_t bytes[8 * MEGABYTE];
static unsigned drains[2];
static uint64_t most_memory, sent[2];

static void note_drain(peer_t* peer) {
  drains[peer - server.peers]++;
  assert_false(uvws_needs_drain(&peer->ws));
  assert_true(uvws_queue_size(&peer->ws) <= options.low_water);
}

static void watch_drains(server_t* self, peer_t* peer) {
  (void)self;
  peer->on_drain = note_drain;
}

static void begin(uint32_t policy) {
  memset(raws, 0, sizeof(raws));
  memset(drains, 0, sizeof(drains));
  memset(sent, 0, sizeof(sent));
  most_memory = 0;
  uvws_server_options_init(&options);
  options.high_water_policy = policy;
  options.ping_interval = options.send_timeout = 0;
}

static void connect_deaf(unsigned n) {
  server_start(&server, &options);
  server.on_accept = watch_drains;
  server.stop_after = n;
  for (unsigned i = 0; i < n; i++) {
    raws[i].then = RAW_DEAF;
    raw_dial(&raws[i], server.port);
    while (!server.peers[i].opened) uv_run(test_loop, UV_RUN_ONCE);
  }
}

static int send_piece(unsigned i, size_t len) {
  int status = uvws_send(&server.peers[i].ws, bytes, len, UVWS_BINARY);
  uint64_t memory = uvws_server_memory(&server.server);
  if (status == 0) sent[i] += len + (len > 65535 ? 10 : 4);
  if (memory > most_memory) most_memory = memory;
  return status;
}

/* Until the kernel's buffers and the queue are full. */
static void fill(unsigned i) {
  for (int n = 0; n < 1000 && !uvws_needs_drain(&server.peers[i].ws); n++)
    (void)send_piece(i, PIECE);
  assert_true(uvws_needs_drain(&server.peers[i].ws));
}

static void finish(void) {
  for (unsigned i = 0; i < 2; i++)
    if (server.accepted > i) uvws_terminate(&server.peers[i].ws);
  test_run();
  for (unsigned i = 0; i < 2; i++) {
    raw_close(&raws[i]);
    test_run();
    raw_free(&raws[i]);
  }
}

static void drain(unsigned i) {
  unsigned before = drains[i];
  raws[i].then = RAW_STAY;
  raw_listen_up(&raws[i]);
  while (drains[i] == before) uv_run(test_loop, UV_RUN_ONCE);
}

/* All that was accepted arrives, and nothing else. */
static void check_arrived(unsigned i) {
  while (uvws_queue_size(&server.peers[i].ws) > 0)
    uv_run(test_loop, UV_RUN_ONCE);
  const char* end = strstr(raws[i].in, "\r\n\r\n") + 4;
  uint64_t head = (uint64_t)(end - raws[i].in);
  while (raws[i].in_len < head + sent[i]) uv_run(test_loop, UV_RUN_ONCE);
  for (int n = 0; n < 3; n++) uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(raws[i].in_len, head + sent[i]);
}

static void test_tell(void** state) {
  (void)state;
  begin(UVWS_HIGH_WATER_TELL);
  connect_deaf(1);
  fill(0);
  assert_true(uvws_queue_size(&server.peers[0].ws) > options.high_water);
  for (int n = 0; n < 10; n++) assert_int_equal(send_piece(0, PIECE), 0);
  assert_int_equal(drains[0], 0);
  drain(0);
  check_arrived(0);
  assert_int_equal(drains[0], 1);
  finish();
}

static void test_each_crossing_has_its_drain(void** state) {
  (void)state;
  begin(UVWS_HIGH_WATER_TELL);
  connect_deaf(1);
  for (unsigned n = 1; n <= 3; n++) {
    fill(0);
    drain(0);
    check_arrived(0);
    assert_int_equal(drains[0], n);
    uv_read_stop((uv_stream_t*)&raws[0].tcp);
  }
  finish();
}

/* What a quick reader's kernel takes is no crossing, nor what waits for the end
 * of the turn. */
static void test_an_empty_queue_takes_any_message(void** state) {
  (void)state;
  begin(UVWS_HIGH_WATER_REFUSE);
  options.high_water = 1000;
  options.low_water = 0;
  connect_deaf(1);
  for (int n = 0; n < 20; n++) assert_int_equal(send_piece(0, 500), 0);
  assert_false(uvws_needs_drain(&server.peers[0].ws));
  assert_int_equal(send_piece(0, sizeof(bytes)), 0);
  assert_true(uvws_needs_drain(&server.peers[0].ws));
  drain(0);
  check_arrived(0);
  finish();
}

static void test_refuse(void** state) {
  (void)state;
  begin(UVWS_HIGH_WATER_REFUSE);
  connect_deaf(1);
  uvws_t* ws = &server.peers[0].ws;
  fill(0);
  uv_run(test_loop, UV_RUN_NOWAIT); /* the turn ends */
  uint64_t amount = uvws_buffered_amount(ws), queue = uvws_queue_size(ws);
  for (int n = 0; n < 10; n++) {
    assert_int_equal(send_piece(0, 1), UV_ENOBUFS);
    uv_run(test_loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(uvws_buffered_amount(ws), amount);
  assert_int_equal(uvws_queue_size(ws), queue);
  assert_int_equal(uvws_ready_state(ws), UVWS_OPEN);
  drain(0);
  assert_int_equal(send_piece(0, 1), 0);
  sent[0] -= 2; /* its header has two bytes */
  check_arrived(0);
  assert_int_equal(drains[0], 1);
  finish();
}

static int code_seen;

static void note_code(raw_t* raw) {
  code_seen = raw_close_code(raw);
}

static void test_close(void** state) {
  (void)state;
  begin(UVWS_HIGH_WATER_CLOSE);
  connect_deaf(1);
  fill(0);
  peer_t* peer = &server.peers[0];
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_OPEN);
  assert_int_equal(send_piece(0, 1), UV_ENOBUFS);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSING);
  assert_int_equal(send_piece(0, 1), UV_ESHUTDOWN);
  raws[0].on_end = note_code;
  raws[0].then = RAW_STAY;
  raw_listen_up(&raws[0]);
  test_run_until(&peer->closed);
  assert_string_equal(peer->log, "open error(ENOBUFS) close(1006)");
  test_run();
  assert_int_equal(code_seen, 1008);
  finish();
}

/* ---- the server's memory ---- */

static void limit_memory(uint64_t max) {
  begin(UVWS_HIGH_WATER_TELL);
  options.max_memory = max;
  options.max_message = 100 * MEGABYTE;
  options.high_water = options.low_water = 100 * MEGABYTE;
}

/* Until the server refuses. */
static void exhaust(unsigned i) {
  int status = 0;
  for (int n = 0; n < 1000 && status == 0; n++) status = send_piece(i, PIECE);
  assert_int_equal(status, UV_ENOBUFS);
  assert_true(uvws_needs_drain(&server.peers[i].ws));
}

static void test_memory_is_shared_and_bounded(void** state) {
  (void)state;
  limit_memory(2 * MEGABYTE);
  connect_deaf(2);
  exhaust(0);
  assert_int_equal(send_piece(0, 2 * MEGABYTE + 1), UVWS_ETOOBIG);
  exhaust(1);
  assert_true(most_memory <= options.max_memory);
  assert_true(most_memory > options.max_memory / 2);
  assert_int_equal(drains[0] + drains[1], 0);
  /* What one frees, the other is told of. */
  raws[0].then = RAW_STAY;
  raw_listen_up(&raws[0]);
  while (drains[0] == 0 || drains[1] == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(send_piece(1, PIECE), 0);
  check_arrived(0);
  raws[1].then = RAW_STAY;
  raw_listen_up(&raws[1]);
  check_arrived(1);
  for (int n = 0; n < 3; n++) uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(uvws_server_memory(&server.server), 0);
  finish();
}

static void test_terminating_gives_memory_back(void** state) {
  (void)state;
  limit_memory(2 * MEGABYTE);
  connect_deaf(2);
  exhaust(0);
  exhaust(1);
  uvws_terminate(&server.peers[0].ws);
  while (drains[1] == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(send_piece(1, PIECE), 0);
  finish();
}

static size_t asked;

static ssize_t ask_once(uvws_t* ws, void* buf, size_t len, void* arg) {
  (void)ws;
  (void)arg;
  if (asked > 0) return 0;
  memset(buf, 'x', len);
  asked = len;
  return (ssize_t)len;
}

static void test_a_source_fits_in_a_small_memory(void** state) {
  (void)state;
  limit_memory(30000);
  asked = 0;
  connect_deaf(1);
  assert_int_equal(
      uvws_send_source(&server.peers[0].ws, UVWS_BINARY, ask_once, NULL), 0);
  while (asked == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(asked, 30000);
  finish();
}

/* The policy is about the socket's own queue. */
static void test_others_memory_closes_nobody(void** state) {
  (void)state;
  limit_memory(2 * MEGABYTE);
  options.high_water_policy = UVWS_HIGH_WATER_CLOSE;
  connect_deaf(2);
  exhaust(0);
  exhaust(1);
  assert_int_equal(send_piece(1, PIECE), UV_ENOBUFS);
  assert_int_equal(uvws_ready_state(&server.peers[1].ws), UVWS_OPEN);
  finish();
}

/* A frame of 4 MiB of which so much comes. */
static uint8_t* begin_large(raw_t* raw, size_t len) {
  static uint8_t start[14 + MEGABYTE];
  static const uint8_t header[] = {0x82, 0xFF, 0, 0, 0, 0, 0,
                                   64,   0,    0, 0, 0, 0, 0};
  memcpy(start, header, sizeof(header));
  raw->bytes = start;
  raw->len = sizeof(header) + len;
  return start;
}

static void test_receiving_beyond_it_fails(void** state) {
  (void)state;
  limit_memory(300000);
  server_start(&server, &options);
  server.stop_after = 1;
  begin_large(&raws[0], MEGABYTE);
  raws[0].on_end = note_code;
  raw_dial(&raws[0], server.port);
  test_run_until(&server.peers[0].closed);
  assert_string_equal(server.peers[0].log, "open error(ENOBUFS) close(1006)");
  test_run();
  assert_int_equal(code_seen, 1013);
  finish();
}

static bool is_received(void) {
  return uvws_server_memory(&server.server) > 1000000;
}

static void test_a_message_dropped_gives_memory_back(void** state) {
  (void)state;
  limit_memory(2 * MEGABYTE);
  server_start(&server, &options);
  server.on_accept = watch_drains;
  server.stop_after = 2;
  begin_large(&raws[1], 1000000);
  raws[0].then = RAW_DEAF;
  raw_dial(&raws[0], server.port);
  while (!server.peers[0].opened) uv_run(test_loop, UV_RUN_ONCE);
  raw_dial(&raws[1], server.port);
  while (!is_received()) uv_run(test_loop, UV_RUN_ONCE);
  exhaust(0);
  raw_close(&raws[1]);
  while (drains[0] == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(send_piece(0, PIECE), 0);
  finish();
}

/* ---- a server that closes ---- */

static struct {
  unsigned left[8];
  unsigned n;
  unsigned terminated;
  bool closed;
} closing;

static peer_t accepted[3];
static unsigned n_accepted;

static void on_request(uvws_server_t* self, uvws_request_t* request) {
  (void)self;
  peer_init(&accepted[n_accepted]);
  assert_int_equal(uvws_accept(request, &accepted[n_accepted++].ws, NULL), 0);
}

static void on_progress(uvws_server_t* self, unsigned left,
                        unsigned terminated) {
  assert_int_equal(uvws_server_connections(self), left);
  closing.left[closing.n++] = left;
  closing.terminated = terminated;
}

static void on_close(uvws_server_t* self) {
  (void)self;
  closing.closed = true;
}

static const uvws_server_events_t events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .progress = on_progress,
    .close = on_close};

static void test_progress_is_told(void** state) {
  uvws_server_t self;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  peer_t client;
  (void)state;
  begin(UVWS_HIGH_WATER_TELL);
  memset(&closing, 0, sizeof(closing));
  n_accepted = 0;
  assert_int_equal(uvws_server_init(test_loop, &self, &events, NULL), 0);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_listen(&self, (const struct sockaddr*)&addr, 0, 128),
                   0);
  uvws_server_getsockname(&self, (struct sockaddr*)&addr, &len);
  int port = ntohs(addr.sin_port);
  peer_init(&client);
  peer_connect(&client, port, NULL);
  for (int i = 0; i < 2; i++) raw_dial(&raws[i], port); /* never answer */
  while (n_accepted < 3 || !accepted[2].opened || !client.opened)
    uv_run(test_loop, UV_RUN_ONCE);
  uvws_server_close(&self, 2000);
  test_run_until(&closing.closed);
  assert_int_equal(closing.n, 3);
  for (unsigned i = 0; i < 3; i++) assert_int_equal(closing.left[i], 2 - i);
  assert_int_equal(closing.terminated, 2);
  assert_string_equal(client.log, "open close(1001 clean)");
  test_run();
  for (int i = 0; i < 2; i++) {
    assert_int_equal(raw_close_code(&raws[i]), 1001);
    raw_free(&raws[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_tell),
      TEST(test_each_crossing_has_its_drain),
      TEST(test_an_empty_queue_takes_any_message),
      TEST(test_refuse),
      TEST(test_close),
      TEST(test_memory_is_shared_and_bounded),
      TEST(test_a_source_fits_in_a_small_memory),
      TEST(test_others_memory_closes_nobody),
      TEST(test_terminating_gives_memory_back),
      TEST(test_receiving_beyond_it_fails),
      TEST(test_a_message_dropped_gives_memory_back),
      TEST(test_progress_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
