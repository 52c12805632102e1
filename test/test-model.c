#include "model.h"

/* Anything that a program may do with what it sends, in any order, against the
 * model: bufferedAmount, the queue, `drain`, each write's callback, and every
 * byte on the wire. The seed is printed; UVWS_SEED=N repeats a run,
 * UVWS_STEPS=N makes it longer (100,000 for each role). */

enum { FRAMES = 20000 }; /* then the connection is closed, and another opened */

static const uint64_t HIGH = 100000, LOW = 30000;

static uint32_t seed;

static struct {
  bool answered;     /* something was sent in this iteration of the loop */
  uint64_t expected; /* until that turn ends */
  bool in_parts;
  bool begun;     /* and one was sent */
  uint8_t opcode; /* of the first */
  bool full;      /* as the model has it */
  unsigned drains;
  unsigned expected_drains;
  unsigned reads_wanted; /* messages that the peer sent */
  bool stopped;
  bool resumed;  /* what was held is shown at the end of a turn, not after it */
  size_t writes; /* under way */
} run;

static uint32_t random_below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed % n;
}

static size_t random_len(void) {
  uint32_t size = random_below(100);
  return size < 75   ? random_below(300)
         : size < 90 ? random_below(20000)
         : size < 95 ? 16360 + random_below(40)
                     : random_below(80000);
}

static uint64_t queue(void) {
  return uvws_queue_size(&conn.peer->ws);
}

/* ---- uvws_write() ---- */

typedef struct write_s {
  uvws_write_t req; /* first */
  uint64_t end;     /* on the wire */
} write_t;

static void on_write(uvws_write_t* req, int status) {
  write_t* write = (write_t*)req;
  assert_int_equal(status, 0);
  assert_true(kernel.taken >= write->end);
  run.writes--;
  free(write);
}

static int write_payload(const char* data, size_t len) {
  size_t cut = random_below((uint32_t)len + 1);
  uv_buf_t bufs[] = {{(char*)data, cut}, {(char*)data + cut, len - cut}};
  write_t* write = calloc(1, sizeof(*write));
  write->end = model.wire + uvws__frame_header_size(len, !conn.is_server) + len;
  int status =
      uvws_write(&write->req, &conn.peer->ws, bufs, 2, UVWS_BINARY, on_write);
  if (status == 0)
    run.writes++;
  else
    free(write);
  return status;
}

/* ---- one step ---- */

typedef enum { A_MESSAGE, A_WRITE, A_PART, AN_END } way_t;

static int send_one(way_t way, kind_t kind, const char* data, size_t len) {
  uvws_t* ws = &conn.peer->ws;
  switch (way) {
    case A_MESSAGE: return send_payload(kind, data, len);
    case A_WRITE: return write_payload(data, len);
    case A_PART: return uvws_continue(ws, data, len);
    default: return uvws_end(ws, data, len);
  }
}

/* The queue is judged after the kernel was offered everything. */
static void note_crossing(void) {
  if (queue() <= HIGH) return;
  assert_true(uvws_needs_drain(&conn.peer->ws));
  if (!run.full) run.expected_drains++;
  run.full = true;
}

/* The frame that the model expects next. */
static void expect_frame(way_t way, kind_t kind, size_t len) {
  static const uint8_t opcodes[] = {UVWS__OP_TEXT, UVWS__OP_BINARY,
                                    UVWS__OP_TEXT};
  uint8_t opcode = opcodes[kind];
  if (way == A_WRITE) opcode = UVWS__OP_BINARY;
  if (way >= A_PART) opcode = run.begun ? UVWS__OP_CONTINUATION : run.opcode;
  model_add(opcode, way != A_PART, len, !conn.is_server);
  run.in_parts = way == A_PART || (run.in_parts && way != AN_END);
  run.begun = way == A_PART;
}

/* Accepted whole, or refused whole. */
static void send_frame(way_t way, kind_t kind, size_t len) {
  uint64_t before = amount(), queued = queue();
  int status = send_one(way, kind, payload_of(model.n), len);
  if (run.full) {
    assert_int_equal(status, UV_ENOBUFS);
    assert_int_equal(amount(), before);
    assert_int_equal(queue(), queued);
    return;
  }
  assert_int_equal(status, 0);
  assert_int_equal(amount(), before + len);
  expect_frame(way, kind, len);
  run.answered = true;
  note_crossing();
}

static void begin_parts(kind_t kind) {
  unsigned type = kind == BINARY ? UVWS_BINARY : UVWS_TEXT;
  assert_int_equal(uvws_begin(&conn.peer->ws, type), 0);
  assert_int_equal(uvws_begin(&conn.peer->ws, type), UVWS_EBUSY);
  run.in_parts = true;
  run.begun = false;
  run.opcode = (uint8_t)type;
}

static void random_send(void) {
  kind_t kind = (kind_t)random_below(3);
  size_t len = random_len();
  way_t way = random_below(4) == 0 ? A_WRITE : A_MESSAGE;
  if (!run.in_parts && random_below(10) == 0) begin_parts(kind);
  if (run.in_parts) {
    assert_int_equal(send_one(way, kind, "x", 1), UVWS_EBUSY);
    way = random_below(4) == 0 ? AN_END : A_PART;
    if (way == A_PART && len == 0) len = 1;
  }
  send_frame(way, kind, len);
}

static void on_drain(peer_t* peer) {
  assert_true(run.full);
  assert_true(queue() <= LOW);
  assert_false(uvws_needs_drain(&peer->ws));
  run.full = false;
  run.drains++;
}

static void on_message(peer_t* peer, const uvws_message_t* message) {
  (void)peer;
  (void)message;
  assert_false(run.stopped);
  uint32_t n = random_below(4);
  for (; n > 0; n--) random_send();
  if (random_below(8) == 0) {
    run.stopped = true;
    uvws_read_stop(&peer->ws);
  }
  run.expected = amount();
}

static void toggle_reading(void) {
  int status = run.stopped ? uvws_read_start(&conn.peer->ws)
                           : uvws_read_stop(&conn.peer->ws);
  assert_int_equal(status, 0);
  run.stopped = !run.stopped;
  run.resumed |= !run.stopped;
}

static void random_step(void) {
  uint8_t frame[16];
  uint32_t what = random_below(100);
  uint64_t before = amount();
  if (what < 50) {
    random_send();
  } else if (what < 55) {
    put(PING, random_below(126));
  } else if (what < 58) {
    toggle_reading();
  } else if (what < 65) {
    uvws_flush(&conn.peer->ws);
    assert_int_equal(amount(), before);
  } else if (what < 80) {
    kernel.room = random_below(3) == 0 ? 0 : random_below(60000);
  } else if (what < 84) {
    size_t size = make_frame(frame, 0x81, "go", 2, conn.is_server);
    raw_send(&conn.raw, frame, size);
    run.reads_wanted++;
  } else {
    run.answered = false;
    turn();
    if (run.answered && !run.resumed)
      assert_int_equal(amount(), run.expected);
    else if (run.answered)
      assert_in_range(amount(), model_amount(), run.expected);
    else
      check_turn(0);
    run.resumed = false;
  }
}

/* All that was sent arrives, and all that was read was shown. */
static void finish_connection(void) {
  kernel.room = NO_LIMIT;
  while (run.stopped || conn.peer->messages < run.reads_wanted || run.full) {
    if (run.stopped) toggle_reading();
    turn();
  }
  if (run.in_parts) send_frame(AN_END, TEXT, 5);
  put_close();
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  assert_int_equal(run.drains, run.expected_drains);
  assert_int_equal(run.writes, 0);
  assert_int_equal(amount(), 0);
  conn_end();
}

static void test_it_equals_the_model(void** state) {
  const char* given = getenv("UVWS_SEED");
  const char* steps = getenv("UVWS_STEPS");
  uvws_options_t options;
  uvws_server_options_t server_options;
  uvws_options_init(&options);
  uvws_server_options_init(&server_options);
  options.high_water = server_options.high_water = HIGH;
  options.low_water = server_options.low_water = LOW;
  options.high_water_policy = UVWS_HIGH_WATER_REFUSE;
  server_options.high_water_policy = UVWS_HIGH_WATER_REFUSE;
  conn_options = &options;
  conn_server_options = &server_options;
  seed = given != NULL ? (uint32_t)strtoul(given, NULL, 0)
                       : (uint32_t)uv_hrtime() | 1;
  print_message("UVWS_SEED=%u\n", seed);
  long left = steps != NULL ? strtol(steps, NULL, 0) : 100000;
  unsigned long drains = 0;
  while (left > 0) {
    memset(&run, 0, sizeof(run));
    conn_open(*state, RAW_STAY);
    conn.peer->on_message = on_message;
    conn.peer->on_drain = on_drain;
    while (left > 0 && model.n < FRAMES) {
      random_step();
      left--;
    }
    finish_connection();
    drains += run.drains;
  }
  print_message("%lu drains\n", drains);
}

int main(void) {
  const struct CMUnitTest tests[] = {BOTH_ROLES(test_it_equals_the_model)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
