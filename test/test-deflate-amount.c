#include "cuts.h"

/* bufferedAmount and the queue with permessage-deflate: what counts are the
 * bytes before compression, of each frame when its last byte is with the
 * kernel; what queues are those on the wire. */

static uvws_options_t client_options;
static uvws_server_options_t server_options;

static int agree(void** state) {
  static uvws_deflate_options_t deflate;
  (void)state;
  uvws_deflate_options_init(&deflate);
  uvws_options_init(&client_options);
  uvws_server_options_init(&server_options);
  client_options.deflate = server_options.deflate = &deflate;
  conn_options = &client_options;
  conn_server_options = &server_options;
  conn_deflates = true;
  return 0;
}

static void test_it_falls_with_every_partial_write(void** state) {
  uint64_t cuts[7 * COUNT_OF(mix)];
  conn_open(*state, RAW_STAY);
  put_mix();
  uint64_t all = amount();
  turn();
  assert_int_equal(amount(), all);
  size_t n = find_cuts(cuts);
  for (size_t i = 0; i < n; i++) {
    take_until(cuts[i]);
    check_turn(0);
  }
  assert_int_equal(amount(), 0);
  put_close();
  take_until(model.wire);
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  conn_end();
}

/* ---- parts, and messages that wait in the midst of others ---- */

static bool in_parts;

static void put_part(size_t len, bool last) {
  uvws_t* ws = &conn.peer->ws;
  uint8_t opcode = in_parts ? UVWS__OP_CONTINUATION : UVWS__OP_BINARY;
  if (!in_parts) assert_int_equal(uvws_begin(ws, UVWS_BINARY), 0);
  uint64_t before = amount(), start = queued();
  const char* data = payload_of(model.n);
  assert_int_equal(
      last ? uvws_end(ws, data, len) : uvws_continue(ws, data, len), 0);
  model_add_wire(opcode, last, len, !conn.is_server, queued() - start,
                 in_parts || !last || len >= 1024);
  assert_int_equal(amount(), before + len);
  in_parts = !last;
}

static unsigned n_written;

static void on_written(uvws_write_t* req, int status) {
  assert_int_equal(status, 0);
  /* All of it, and of what was sent before, is with the kernel. */
  assert_true(kernel.taken >= (uint64_t)(uintptr_t)req->data);
  n_written++;
}

static void put_write(uvws_write_t* req, size_t len) {
  const char* data = payload_of(model.n);
  size_t cut = len / 3;
  uv_buf_t bufs[] = {
      {(char*)data, cut}, {NULL, 0}, {(char*)data + cut, len - cut}};
  uint64_t before = amount(), start = queued();
  assert_int_equal(
      uvws_write(req, &conn.peer->ws, bufs, 3, UVWS_TEXT, on_written), 0);
  model_add_wire(UVWS__OP_TEXT, true, len, !conn.is_server, queued() - start,
                 len >= 1024);
  assert_int_equal(amount(), before + len);
  req->data = (void*)(uintptr_t)model.wire;
}

static void put_everything(uvws_write_t* writes) {
  put(TEXT, 2000);
  put_part(3, false);
  put(PING, 7);
  put_part(70000, false);
  put_part(1, false);
  put_part(0, true);
  put_write(&writes[0], 3000);
  put(BLOB, 50000);
  put_write(&writes[1], 200000);
  put(TEXT, 10);
  put(BINARY, 30000);
  put_part(0, true);
  put_part(5000, true);
  put(BLOB, 1500);
}

/* The first attempt to write, on a socket that was empty, is cut anywhere. */
static void test_a_cut_burst_counts_what_is_left(void** state) {
  uvws_write_t writes[2];
  conn_open(*state, RAW_STAY);
  put_everything(writes);
  uint64_t size = model.wire;
  take_until(size);
  n_written = 0;
  for (uint64_t room = 0; room <= size + 100;
       room += room < 60 ? 1 : size / 61) {
    kernel.room = room;
    uint64_t base = model.wire;
    put_everything(writes);
    turn();
    if (!test_has_tls())
      assert_int_equal(kernel.taken - base,
                       room < model.wire - base ? room : model.wire - base);
    check_turn(0);
    take_until(model.wire);
    assert_int_equal(amount(), 0);
    check_turn(0);
  }
  assert_true(n_written > 100 && n_written % 2 == 0);
  put_close();
  take_until(model.wire);
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  conn_end();
}

/* No limit but the real one: the peer does not read. */
static void test_a_full_socket_counts_what_the_kernel_left(void** state) {
  conn_open(*state, RAW_DEAF);
  kernel.room = NO_LIMIT;
  for (int i = 0; i < 90; i++) put(i % 2 == 0 ? BINARY : BLOB, 200000);
  for (int i = 0; i < 50; i++) turn();
  assert_true(kernel.taken > 0);
  assert_true(kernel.taken < model.wire);
  check_turn(0);
  uint64_t before = amount();
  put(TEXT, 2000);
  turn();
  assert_int_equal(amount(), before + 2000);
  check_turn(0);
  conn_end();
  assert_int_equal(amount(), before + 2000);
}

/* ---- within the turn ---- */

static void test_sends_count_until_the_turn_ends(void** state) {
  conn_open(*state, RAW_STAY);
  kernel.room = NO_LIMIT;
  put(TEXT, 3000);
  put(BINARY, 100000);
  uvws_flush(&conn.peer->ws);
  assert_int_equal(uvws_queue_size(&conn.peer->ws), 0);
  assert_int_equal(amount(), 103000);
  put(BLOB, 100000);
  put_part(40000, false);
  put_part(0, true);
  assert_int_equal(amount(), 243000);
  turn();
  assert_int_equal(amount(), 0);
  conn_end();
}

/* ---- endings ---- */

static void test_cancelled_bytes_stay_counted(void** state) {
  conn_open(*state, RAW_STAY);
  put_mix();
  take_until(50000); /* inside a payload, which counts as a whole */
  check_turn(0);
  put(TEXT, 1100); /* queued, never tried */
  uint64_t left = amount();
  uvws_terminate(&conn.peer->ws);
  assert_int_equal(amount(), left);
  conn_end();
  assert_int_equal(left, model_amount());
  assert_int_equal(amount(), left);
}

static void test_a_failed_write_leaves_the_rest_counted(void** state) {
  conn_open(*state, RAW_STAY);
  put_mix();
  take_until(30000);
  check_turn(0);
  uint64_t left = amount();
  kernel.error = EPIPE;
  turn();
  assert_int_equal(amount(), left);
  assert_int_equal(uvws_send(&conn.peer->ws, pattern, 3000, UVWS_TEXT),
                   UV_EPIPE);
  assert_int_equal(amount(), left);
  turn();
  assert_int_equal(amount(), left);
  raw_close(&conn.raw);
  test_run();
  assert_int_equal(amount(), left);
  conn_end();
}

static void fill_with_noise(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof(pattern); i++) {
    x = x * 1664525 + 1013904223;
    pattern[i] = (char)(x >> 24);
  }
}

/* The failure is found inside uvws_continue() or at the turn's end, for parts
 * around the size from which on they are not corked. */
static void test_parts_before_a_failed_write_stay_counted(void** state) {
  for (size_t len = 16340; len < 16380; len += 3) {
    conn_open(*state, RAW_STAY);
    fill_with_noise();
    kernel.error = EPIPE;
    assert_int_equal(uvws_begin(&conn.peer->ws, UVWS_BINARY), 0);
    assert_int_equal(uvws_continue(&conn.peer->ws, pattern, len), 0);
    assert_int_equal(amount(), len);
    turn();
    if (amount() != len)
      fail_msg("of a part of %zu bytes %zu are left", len, (size_t)amount());
    raw_close(&conn.raw);
    test_run();
    assert_int_equal(amount(), len);
    conn_end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_ROLES(test_it_falls_with_every_partial_write),
      BOTH_ROLES(test_a_cut_burst_counts_what_is_left),
      BOTH_ROLES(test_a_full_socket_counts_what_the_kernel_left),
      BOTH_ROLES(test_sends_count_until_the_turn_ends),
      BOTH_ROLES(test_cancelled_bytes_stay_counted),
      BOTH_ROLES(test_a_failed_write_leaves_the_rest_counted),
      BOTH_ROLES(test_parts_before_a_failed_write_stay_counted),
  };
  return cmocka_run_group_tests(tests, agree, NULL);
}
