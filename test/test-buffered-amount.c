#include "cuts.h"

/* bufferedAmount: WebSockets standard, 3.1. */

/* ---- what counts ---- */

static void test_only_payload_counts(void** state) {
  conn_open(*state, RAW_DEAF);
  const uint64_t mask = conn.is_server ? 0 : 4;
  uvws_t* ws = &conn.peer->ws;
  /* Characters of two, three and four bytes. */
  assert_int_equal(
      uvws_send(ws, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, UVWS_TEXT), 0);
  assert_int_equal(amount(), 9);
  assert_int_equal(uvws_queue_size(ws), 2 + mask + 9);
  assert_int_equal(uvws_send(ws, "\0\xff\0", 3, UVWS_BINARY), 0);
  assert_int_equal(amount(), 12);
  assert_int_equal(uvws_send(ws, NULL, 0, UVWS_TEXT), 0);
  assert_int_equal(uvws_send(ws, NULL, 0, UVWS_BINARY), 0);
  assert_int_equal(amount(), 12);
  assert_int_equal(uvws_queue_size(ws), 4 * (2 + mask) + 12);
  assert_int_equal(uvws_ping(ws, pattern, 125), 0);
  assert_int_equal(amount(), 12);
  assert_int_equal(uvws_queue_size(ws), 5 * (2 + mask) + 12 + 125);
  assert_int_equal(send_payload(BLOB, pattern, 70000), 0);
  assert_int_equal(amount(), 70012);
  assert_int_equal(uvws_queue_size(ws), 5 * (2 + mask) + 10 + mask + 70137);
  assert_int_equal(uvws_close(ws, 1000, "bye", 3), 0);
  assert_int_equal(amount(), 70012);
  assert_int_equal(uvws_queue_size(ws), 6 * (2 + mask) + 10 + mask + 70142);
  turn();
  assert_int_equal(amount(), 70012);
  assert_int_equal(uvws_queue_size(ws), 6 * (2 + mask) + 10 + mask + 70142);
  conn_end();
}

/* ---- when it falls ---- */

static bool sent;

/* The sends of one callback, on a socket that takes everything. */
static void send_and_flush(peer_t* peer) {
  uvws_t* ws = &peer->ws;
  assert_int_equal(uvws_buffered_amount(ws), 0);
  assert_int_equal(uvws_send(ws, pattern, 10, UVWS_TEXT), 0);
  assert_int_equal(uvws_buffered_amount(ws), 10);
  uvws_flush(ws);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_int_equal(uvws_buffered_amount(ws), 10);
  /* Large enough to be tried at once. */
  assert_int_equal(uvws_send(ws, pattern, 70000, UVWS_BINARY), 0);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_int_equal(uvws_buffered_amount(ws), 70010);
  assert_int_equal(uvws_ping(ws, "x", 1), 0);
  uvws_flush(ws);
  assert_int_equal(uvws_send(ws, pattern, 5, UVWS_TEXT), 0);
  assert_int_equal(uvws_buffered_amount(ws), 70015);
  sent = true;
}

/* The loop's phases: timers, idle, prepare, poll, check. Each handle looks once
 * after the sends. */
static struct {
  uv_timer_t timer;
  uv_prepare_t prepare;
  uv_check_t check;
  peer_t* peer;
  bool counted_in_check;
  bool looked;
} phases;

static void on_phase_check(uv_check_t* check) {
  (void)check;
  if (!sent || phases.looked) return;
  assert_int_equal(uvws_buffered_amount(&phases.peer->ws), 70015);
  phases.counted_in_check = true;
}

static void on_phase_prepare(uv_prepare_t* prepare) {
  (void)prepare;
  if (!sent || phases.looked) return;
  assert_int_equal(uvws_buffered_amount(&phases.peer->ws), 0);
  phases.looked = true;
}

static void phases_start(peer_t* peer) {
  memset(&phases, 0, sizeof(phases));
  sent = false;
  phases.peer = peer;
  uv_timer_init(test_loop, &phases.timer);
  uv_prepare_init(test_loop, &phases.prepare);
  uv_prepare_start(&phases.prepare, on_phase_prepare);
  uv_check_init(test_loop, &phases.check);
  uv_check_start(&phases.check, on_phase_check);
}

static void phases_stop(void) {
  uv_close((uv_handle_t*)&phases.timer, NULL);
  uv_close((uv_handle_t*)&phases.prepare, NULL);
  uv_close((uv_handle_t*)&phases.check, NULL);
}

static void send_on_message(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  send_and_flush(peer);
}

static void test_sends_of_a_message_event_count_until_the_turn_ends(
    void** state) {
  uint8_t frame[16];
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  conn.peer->on_message = send_on_message;
  phases_start(conn.peer);
  raw_send(&conn.raw, frame, make_frame(frame, 0x81, "go", 2, conn.is_server));
  test_run_until(&phases.looked);
  assert_true(phases.counted_in_check);
  phases_stop();
  conn_end();
}

/* Nobody asks between the two. */
static void send_in_each_turn(peer_t* peer, const uvws_message_t* message) {
  size_t len = 100 + peer->messages;
  (void)message;
  assert_int_equal(uvws_send(&peer->ws, pattern, len, UVWS_BINARY), 0);
  assert_int_equal(uvws_buffered_amount(&peer->ws), len);
}

static void test_sends_of_a_turn_do_not_count_in_the_next(void** state) {
  uint8_t frame[16];
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  conn.peer->on_message = send_in_each_turn;
  for (unsigned n = 1; n <= 3; n++) {
    raw_send(&conn.raw, frame,
             make_frame(frame, 0x81, "go", 2, conn.is_server));
    while (conn.peer->messages < n) uv_run(test_loop, UV_RUN_ONCE);
  }
  uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(uvws_buffered_amount(&conn.peer->ws), 0);
  conn_end();
}

static void on_phase_timer(uv_timer_t* timer) {
  (void)timer;
  send_and_flush(phases.peer);
}

/* The turn of a timer ends in the same iteration, before the loop polls. */
static void test_sends_of_a_timer_count_until_the_turn_ends(void** state) {
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  phases_start(conn.peer);
  uv_timer_start(&phases.timer, on_phase_timer, 1, 0);
  test_run_until(&phases.looked);
  assert_false(phases.counted_in_check);
  phases_stop();
  conn_end();
}

static void test_sends_outside_of_uv_run_count_until_the_next_turn(
    void** state) {
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  send_and_flush(conn.peer);
  turn();
  assert_int_equal(amount(), 0);
  conn_end();
}

/* The turn goes on, whether the kernel has all of it or never saw it. */
static void test_terminate_does_not_lower_it_within_the_turn(void** state) {
  for (uint64_t left = 0; left <= 100; left += 100) {
    conn_open(*state, RAW_STAY);
    kernel.room = NO_LIMIT;
    put(TEXT, 100);
    if (left == 0) uvws_flush(&conn.peer->ws);
    assert_int_equal(kernel.taken, left == 0 ? model.wire : 0);
    uvws_terminate(&conn.peer->ws);
    assert_int_equal(amount(), 100);
    conn_end();
    assert_int_equal(amount(), left);
  }
}

/* ---- what a read callback leaves to the end of the turn ---- */

static void put_hundred(peer_t* peer, const uvws_message_t* message) {
  (void)peer;
  (void)message;
  put(TEXT, 100);
}

/* The peer says something, and what that causes is over, and its turn. */
static void go(void (*on_message)(peer_t*, const uvws_message_t*)) {
  uint8_t frame[16];
  unsigned before = conn.peer->messages;
  conn.peer->on_message = on_message;
  raw_send(&conn.raw, frame, make_frame(frame, 0x81, "go", 2, conn.is_server));
  while (conn.peer->messages == before) uv_run(test_loop, UV_RUN_ONCE);
  turn();
}

/* Nobody asks before. */
static void test_terminate_does_not_hide_that_it_has_fallen(void** state) {
  conn_open(*state, RAW_STAY);
  kernel.room = NO_LIMIT;
  go(put_hundred);
  assert_int_equal(kernel.taken, model.wire);
  uvws_terminate(&conn.peer->ws);
  assert_int_equal(amount(), 0);
  conn_end();
  assert_int_equal(amount(), 0);
}

/* Only then can a peer that takes nothing be noticed, and its share of the
 * memory be counted. */
static void test_what_a_read_callback_could_not_send_is_seen_to_wait(
    void** state) {
  conn_open(*state, RAW_STAY);
  go(put_hundred);
  const uvws__conn_t* it = conn.peer->ws.conn;
  assert_int_equal(amount(), 100);
  assert_true(it->blocked);
  assert_int_equal(it->extra->charged, uvws_queue_size(&conn.peer->ws));
  conn_end();
}

static void test_a_write_that_fails_in_a_read_callback_is_noticed(
    void** state) {
  conn_open(*state, RAW_STAY);
  kernel.error = EPIPE;
  go(put_hundred);
  assert_true(conn.peer->ws.conn->mute);
  assert_int_equal(amount(), 100);
  conn_end();
}

static void fail_then_send(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  put(TEXT, 100);
  uvws_flush(&peer->ws);
  assert_int_equal(uvws_send(&peer->ws, "x", 1, UVWS_TEXT), UV_EPIPE);
}

static void test_a_send_behind_a_failed_write_is_refused(void** state) {
  conn_open(*state, RAW_STAY);
  kernel.error = EPIPE;
  go(fail_then_send);
  assert_int_equal(amount(), 100);
  conn_end();
}

/* More pieces, then more bytes, than the cork has room for. */
static void overflow(peer_t* peer, const uvws_message_t* message) {
  const uvws__cork_t* cork = &peer->ws.conn->loop->cork;
  (void)message;
  for (unsigned i = 0; i < 2 * UVWS__CORK_MARKS + 100; i++) {
    put(BINARY, i % 8);
    assert_true(cork->n_marks <= UVWS__CORK_MARKS);
  }
  for (unsigned i = 0; i < 2 * UVWS__CORK_SIZE / 4000 + 10; i++) {
    put(TEXT, 4000);
    assert_true(uvws__cork_size(cork) <= UVWS__CORK_SIZE);
  }
}

static void test_small_sends_overflow_the_cork(void** state) {
  conn_open(*state, RAW_STAY);
  kernel.room = NO_LIMIT;
  go(overflow);
  while (conn.received < model.n) turn();
  assert_int_equal(amount(), 0);
  conn_end();
}

/* The end of its own read callback, which does not come, is not waited for. */
static void test_what_another_s_read_callback_sent_is_seen_to_wait(
    void** state) {
  static server_t others;
  peer_t other;
  conn_open(*state, RAW_STAY);
  server_start(&others, NULL);
  others.stop_after = 1;
  others.echo = true;
  peer_init(&other);
  other.on_message = put_hundred;
  peer_connect(&other, others.port, NULL);
  test_run_until(&other.opened);
  assert_int_equal(uvws_send(&other.ws, "go", 2, UVWS_TEXT), 0);
  while (other.messages == 0) uv_run(test_loop, UV_RUN_ONCE);
  turn();
  assert_true(conn.peer->ws.conn->blocked);
  uvws_terminate(&other.ws);
  conn_end();
}

static uvws_write_t written;
static unsigned n_written;

static void on_written(uvws_write_t* req, int status) {
  assert_ptr_equal(req, &written);
  assert_int_equal(status, 0);
  n_written++;
}

static void write_hundred(peer_t* peer, const uvws_message_t* message) {
  uv_buf_t buf = {pattern, 100};
  (void)message;
  assert_int_equal(
      uvws_write(&written, &peer->ws, &buf, 1, UVWS_BINARY, on_written), 0);
  uvws_flush(&peer->ws);
  assert_int_equal(n_written, 0);
}

/* Nothing else waits. */
static void test_a_write_in_a_read_callback_is_called_back(void** state) {
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  n_written = 0;
  go(write_hundred);
  assert_int_equal(n_written, 1);
  conn_end();
}

static void send_in_parts(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  assert_int_equal(uvws_begin(&peer->ws, UVWS_BINARY), 0);
  assert_int_equal(uvws_end(&peer->ws, pattern, 10), 0);
}

/* A socket that sends only in its read callbacks must not keep, for good, what
 * one message in parts needed. */
static void test_a_read_callback_leaves_nothing_behind(void** state) {
  conn_open(*state, RAW_STAY);
  conn.raw.on_data = NULL;
  kernel.room = NO_LIMIT;
  turn();
  const uvws__extra_t* extra = conn.peer->ws.conn->extra;
  go(send_in_parts);
  assert_ptr_equal(conn.peer->ws.conn->extra, extra);
  conn_end();
}

/* ---- what small sends must not slip past ---- */

static void test_small_sends_fill_a_small_budget(void** state) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  options.max_memory = 20000;
  conn_server_options = &options;
  conn_open(*state, RAW_STAY);
  conn_server_options = NULL;
  for (int i = 0; i < 6; i++) put(TEXT, 3000);
  assert_int_equal(uvws_send(&conn.peer->ws, pattern, 3000, UVWS_TEXT),
                   UV_ENOBUFS);
  assert_true(uvws_needs_drain(&conn.peer->ws));
  assert_int_equal(amount(), 18000);
  conn_end();
}

static void test_small_sends_pass_a_low_mark(void** state) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  options.high_water = 1000;
  options.low_water = 100;
  conn_server_options = &options;
  conn_open(*state, RAW_STAY);
  conn_server_options = NULL;
  for (int i = 0; i < 4; i++) {
    assert_false(uvws_needs_drain(&conn.peer->ws));
    put(TEXT, 300);
  }
  assert_true(uvws_needs_drain(&conn.peer->ws));
  conn_end();
}

/* ---- how far it falls: partial writes ---- */

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

/* The first attempt to write, on a socket that was empty, is cut at `room`. */
static void try_burst(const kind_t* kinds, const size_t* lens, size_t n,
                      uint64_t room) {
  uint64_t base = model.wire;
  kernel.room = room;
  for (size_t i = 0; i < n; i++) put(kinds[i], lens[i]);
  turn();
  if (!test_has_tls()) assert_int_equal(kernel.taken, base + room);
  check_turn(0);
  take_until(model.wire);
  assert_int_equal(amount(), 0);
}

static void test_a_cut_burst_counts_what_is_left(void** state) {
  static const struct {
    kind_t kinds[4];
    size_t lens[4];
    size_t n;
  } bursts[] = {
      {{TEXT, BINARY, PING, TEXT}, {5, 0, 3, 130}, 4},
      {{PING, TEXT}, {0, 1}, 2},
      {{BINARY}, {70000}, 1},
      {{BLOB}, {20000}, 1},
      {{TEXT, BLOB, TEXT}, {7, 70000, 9}, 3},
      {{TEXT, BINARY, PING, BLOB}, {7, 70000, 1, 16384}, 4},
      {{BINARY, BINARY}, {66545, 66546}, 2},
      {{TEXT, TEXT, TEXT, TEXT}, {16300, 16300, 16300, 16300}, 4},
  };
  conn_open(*state, RAW_STAY);
  for (size_t i = 0; i < COUNT_OF(bursts); i++) {
    uint64_t size = 0;
    for (size_t k = 0; k < bursts[i].n; k++)
      size += uvws__frame_header_size(bursts[i].lens[k], !conn.is_server) +
              bursts[i].lens[k];
    /* Each byte at both ends, and a few between. */
    for (uint64_t room = 0; room <= size; room++) {
      if (room > 200 && room + 40 < size)
        room += size / 7 < size - room - 40 ? size / 7 : size - room - 40;
      try_burst(bursts[i].kinds, bursts[i].lens, bursts[i].n, room);
    }
  }
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
  for (int i = 0; i < 60; i++) put(i % 2 == 0 ? BINARY : BLOB, 200000);
  for (int i = 0; i < 50; i++) turn();
  assert_true(kernel.taken > 0);
  assert_true(kernel.taken < model.wire);
  check_turn(0);
  uint64_t before = amount();
  put(TEXT, 10);
  turn();
  assert_int_equal(amount(), before + 10);
  check_turn(0);
  conn_end();
  assert_int_equal(amount(), before + 10);
}

/* ---- what goes back as it came ---- */

static const struct {
  kind_t kind;
  size_t len;
} answers[][5] = {
    {{BINARY, 5000}},
    {{BINARY, 4096}, {BINARY, 4095}, {BINARY, 6000}, {BINARY, 4096}},
    {{TEXT, 7}, {BINARY, 5000}, {PING, 3}, {BINARY, 20000}, {TEXT, 9}},
    {{BINARY, 16384}, {BLOB, 20000}, {BINARY, 28000}, {PING, 0}, {TEXT, 1}},
    {{BINARY, 5000}, {BINARY, 70000}, {BINARY, 5000}, {TEXT, 300}},
};

static struct {
  size_t i;        /* of `answers` */
  unsigned rounds; /* they are sent so often */
  size_t flush_at; /* the one behind which the kernel is offered all */
  bool refers;
  bool wrote; /* in two buffers, for this message */
} back;

static void on_put_back(uvws_write_t* req, int status) {
  assert_int_equal(status, 0);
  free(req); /* of a two_t */
}

typedef struct two_s {
  uvws_write_t req; /* first */
  char last;
} two_t;

/* In two buffers, of which only the first lies where input does: what stands
 * behind it there is something else. */
static int write_back(const char* data, size_t len) {
  two_t* two = calloc(1, sizeof(*two));
  two->last = payload_of(model.n)[len - 1];
  ((char*)data)[len - 1] = '#';
  uv_buf_t bufs[] = {{(char*)data, len - 1}, {&two->last, 1}};
  return uvws_write(&two->req, &conn.peer->ws, bufs, 2, UVWS_BINARY,
                    on_put_back);
}

/* The next frame's payload, out of the message if it has so much. */
static void put_back(const uvws_message_t* message, kind_t kind, size_t len) {
  size_t at = (size_t)(payload_of(model.n) - pattern);
  bool in_two = len == 6000;
  if (kind != BINARY || at + len > message->len || (in_two && back.wrote)) {
    put(kind, len);
    return;
  }
  uint64_t before = amount(), start = queued();
  const char* data = message->data + at;
  int status = in_two ? write_back(data, len)
                      : uvws_send(&conn.peer->ws, data, len, UVWS_BINARY);
  back.wrote = back.wrote || in_two;
  assert_int_equal(status, 0);
  model_add(UVWS__OP_BINARY, true, len, false);
  assert_int_equal(queued() - start, uvws__frame_header_size(len, false) + len);
  assert_int_equal(amount(), before + len);
}

static void send_back(peer_t* peer, const uvws_message_t* message) {
  uvws__loop_t* loop = peer->ws.conn->loop;
  const uvws__cork_t* cork = &loop->cork;
  /* More than the cork may ever have. */
  assert_false(uvws__stream_send_input(peer->ws.conn->stream, (uint8_t*)"", 1,
                                       loop->read_buffer, UVWS__CORK_SIZE));
  for (unsigned round = 0; round < back.rounds; round++)
    for (size_t k = 0; k < COUNT_OF(answers[0]); k++) {
      size_t len = answers[back.i][k].len;
      if (len == 0 && answers[back.i][k].kind != PING) continue;
      put_back(message, answers[back.i][k].kind, len);
      assert_true(cork->n_bufs <= UVWS__CORK_BUFS);
      assert_true(uvws__cork_size(cork) <= UVWS__CORK_SIZE);
      if (cork->n_bufs > 1) back.refers = true;
      if (round == 0 && k == back.flush_at) uvws_flush(&peer->ws);
    }
}

/* The kernel takes `room` bytes of what one message caused. */
static void try_answers(unsigned rounds, size_t flush_at, uint64_t room) {
  static uint8_t frame[30014];
  unsigned messages = conn.peer->messages;
  back.rounds = rounds;
  back.flush_at = flush_at;
  back.wrote = false;
  kernel.room = room;
  raw_send(&conn.raw, frame, make_frame(frame, 0x82, pattern, 30000, true));
  while (conn.peer->messages == messages) turn();
  /* What is left was copied: the read buffer has something else now. */
  memset(conn.peer->ws.conn->loop->read_buffer, '#', UVWS__READ_BUFFER);
  turn();
  check_turn(0);
  take_until(model.wire);
  check_turn(0);
  assert_int_equal(amount(), 0);
}

static void test_what_goes_back_is_cut_anywhere(void** state) {
  if (test_has_tls()) return; /* decrypted bytes lie elsewhere */
  conn_open(*state, RAW_STAY);
  conn.peer->on_message = send_back;
  for (back.i = 0; back.i < COUNT_OF(answers); back.i++) {
    back.refers = false;
    for (size_t flush_at = 0; flush_at <= COUNT_OF(answers[0]); flush_at++)
      for (uint64_t room = 0; room < 150000; room += room / 3 + 1)
        try_answers(1, flush_at, room);
    assert_true(back.refers);
  }
  put_close();
  take_until(model.wire);
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  conn_end();
}

/* More than the cork has buffers for, and more bytes: it is flushed in the
 * midst, and what comes then waits behind what is left. */
static void test_what_goes_back_overflows_the_cork(void** state) {
  if (test_has_tls()) return; /* decrypted bytes lie elsewhere */
  conn_open(*state, RAW_STAY);
  conn.peer->on_message = send_back;
  for (back.i = 0; back.i < COUNT_OF(answers); back.i++)
    for (uint64_t room = 0; room < 600000; room += room / 2 + 977)
      try_answers(40, 7, room);
  put_close();
  take_until(model.wire);
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  conn_end();
}

/* ---- endings ---- */

static uint64_t at_close;

static void note_at_close(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  at_close = uvws_buffered_amount(&peer->ws);
  assert_int_equal(uvws_queue_size(&peer->ws), 0);
  if (peer->data != NULL) {
    server_t* server = peer->data;
    uvws_server_close(&server->server, 0);
  }
}

static void test_cancelled_bytes_stay_counted(void** state) {
  conn_open(*state, RAW_STAY);
  conn.peer->on_close = note_at_close;
  put_mix();
  take_until(50000); /* inside a payload */
  check_turn(0);
  put(TEXT, 11); /* corked or queued, never tried */
  uint64_t left = amount();
  assert_true(left > 0);
  uvws_terminate(&conn.peer->ws);
  assert_int_equal(uvws_ready_state(&conn.peer->ws), UVWS_CLOSING);
  assert_int_equal(amount(), left);
  conn_end();
  assert_int_equal(conn.peer->status, UV_ECANCELED);
  assert_int_equal(left, model_amount());
  assert_int_equal(at_close, left);
  assert_int_equal(amount(), left);
  assert_int_equal(uvws_queue_size(&conn.peer->ws), 0);
}

/* WebSockets standard, 3.1, send(): "if the connection is closing or closed,
 * increase bufferedAmount". And close() does not reset it. */
static void test_sends_that_come_too_late_count_but_do_not_queue(void** state) {
  uint64_t cuts[7 * (COUNT_OF(mix) + 1)];
  uint64_t phantom = 0;
  conn_open(*state, RAW_STAY);
  uvws_t* ws = &conn.peer->ws;
  put_mix();
  put_close();
  assert_int_equal(uvws_ready_state(ws), UVWS_CLOSING);
  check_turn(0);
  size_t n = find_cuts(cuts);
  /* With the last byte the end may come. */
  for (size_t i = 0; i < n - 1; i++) {
    assert_int_equal(uvws_send(ws, pattern, 7, UVWS_TEXT), UV_ESHUTDOWN);
    assert_int_equal(send_payload(BLOB, pattern, 20000), UV_ESHUTDOWN);
    assert_int_equal(uvws_ping(ws, pattern, 100), UVWS_EINVALIDSTATE);
    assert_int_equal(uvws_send(ws, pattern, 9, 0), UV_EINVAL);
    phantom += 20007;
    assert_int_equal(uvws_queue_size(ws), model.wire - kernel.taken);
    take_until(cuts[i]);
    check_turn(phantom);
  }
  take_until(model.wire);
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  assert_non_null(strstr(conn.peer->log, "clean"));
  assert_int_equal(amount(), phantom);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_int_equal(uvws_send(ws, pattern, 1, UVWS_BINARY), UV_ESHUTDOWN);
  assert_int_equal(amount(), phantom + 1);
  conn_end();
  assert_int_equal(amount(), phantom + 1);
  assert_int_equal(uvws_init(test_loop, ws, &peer_events), 0);
  assert_int_equal(amount(), 0);
}

static void test_a_failed_write_leaves_the_rest_counted(void** state) {
  conn_open(*state, RAW_STAY);
  conn.peer->on_close = note_at_close;
  put_mix();
  take_until(30000);
  check_turn(0);
  uint64_t left = amount();
  assert_true(left > 0);
  kernel.error = EPIPE;
  turn();
  assert_int_equal(amount(), left);
  /* Refused while OPEN: nothing is added. */
  assert_int_equal(uvws_ready_state(&conn.peer->ws), UVWS_OPEN);
  assert_int_equal(uvws_send(&conn.peer->ws, "abc", 3, UVWS_TEXT), UV_EPIPE);
  assert_int_equal(amount(), left);
  turn();
  assert_int_equal(amount(), left);
  assert_int_equal(uvws_queue_size(&conn.peer->ws), 0);
  raw_close(&conn.raw);
  test_run();
  assert_int_equal(at_close, left);
  assert_int_equal(conn.peer->status, UV_EPIPE);
  conn_end();
}

/* The failure is found inside uvws_send(), or at the turn's end: what was
 * accepted is lost, and stays counted. */
static void test_what_was_accepted_before_a_failed_write_stays_counted(
    void** state) {
  conn_open(*state, RAW_STAY);
  conn.peer->on_close = note_at_close;
  kernel.error = EPIPE;
  put(TEXT, 10);
  /* What is lost is not what was queued any more: nothing for the model. */
  assert_int_equal(send_payload(BINARY, pattern, 70000), 0);
  assert_int_equal(send_payload(BLOB, pattern, 20000), UV_EPIPE);
  assert_int_equal(send_payload(TEXT, pattern, 20), UV_EPIPE);
  assert_int_equal(amount(), 70010);
  turn();
  assert_int_equal(amount(), 70010);
  raw_close(&conn.raw);
  test_run();
  assert_int_equal(at_close, 70010);
  conn_end();
}

/* And a new connection has a new count. */
static void test_refused_sends_do_not_count(void** state) {
  peer_t peer;
  server_t server;
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 1;
  peer_init(&peer);
  uvws_t* ws = &peer.ws;
  assert_int_equal(uvws_send(ws, "abc", 3, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_buffered_amount(ws), 3);
  peer_connect(&peer, server.port, NULL);
  assert_int_equal(uvws_buffered_amount(ws), 0);
  assert_int_equal(uvws_send(ws, "a", 1, UVWS_TEXT), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_buffered_amount(ws), 0);
  test_run_until(&peer.opened);
  assert_int_equal(uvws_send(ws, "a", 1, 0), UV_EINVAL);
  assert_int_equal(uvws_send(ws, "\xc0\x80", 2, UVWS_TEXT), UVWS_EUTF8);
  assert_int_equal(uvws_send(ws, NULL, 2, UVWS_BINARY), UV_EINVAL);
  assert_int_equal(uvws_buffered_amount(ws), 0);
  assert_int_equal(uvws_queue_size(ws), 0);
  uvws_terminate(ws);
  test_run();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_ROLES(test_only_payload_counts),
      BOTH_ROLES(test_sends_of_a_message_event_count_until_the_turn_ends),
      BOTH_ROLES(test_sends_of_a_turn_do_not_count_in_the_next),
      BOTH_ROLES(test_sends_of_a_timer_count_until_the_turn_ends),
      BOTH_ROLES(test_sends_outside_of_uv_run_count_until_the_next_turn),
      BOTH_ROLES(test_terminate_does_not_lower_it_within_the_turn),
      BOTH_ROLES(test_terminate_does_not_hide_that_it_has_fallen),
      BOTH_ROLES(test_what_a_read_callback_could_not_send_is_seen_to_wait),
      BOTH_ROLES(test_a_write_that_fails_in_a_read_callback_is_noticed),
      BOTH_ROLES(test_a_send_behind_a_failed_write_is_refused),
      BOTH_ROLES(test_small_sends_overflow_the_cork),
      BOTH_ROLES(test_what_another_s_read_callback_sent_is_seen_to_wait),
      BOTH_ROLES(test_a_write_in_a_read_callback_is_called_back),
      BOTH_ROLES(test_a_read_callback_leaves_nothing_behind),
      ROLE(test_small_sends_fill_a_small_budget, 1, "(server)"),
      ROLE(test_small_sends_pass_a_low_mark, 1, "(server)"),
      BOTH_ROLES(test_it_falls_with_every_partial_write),
      BOTH_ROLES(test_a_cut_burst_counts_what_is_left),
      BOTH_ROLES(test_a_full_socket_counts_what_the_kernel_left),
      ROLE(test_what_goes_back_is_cut_anywhere, 1, "(server)"),
      ROLE(test_what_goes_back_overflows_the_cork, 1, "(server)"),
      BOTH_ROLES(test_cancelled_bytes_stay_counted),
      BOTH_ROLES(test_sends_that_come_too_late_count_but_do_not_queue),
      BOTH_ROLES(test_a_failed_write_leaves_the_rest_counted),
      BOTH_ROLES(test_what_was_accepted_before_a_failed_write_stays_counted),
      TEST(test_refused_sends_do_not_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
