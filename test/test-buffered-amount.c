#include "helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "protocol/frame.h"

/* bufferedAmount (WebSockets standard, 3.1) against a model that knows how many
 * bytes the kernel took. This program has its own write() and writev(), which
 * libuv calls: on one socket they take as much as a test allows, so that a
 * partial write can end anywhere. */

/* ---- the kernel ---- */

#define NO_LIMIT UINT64_MAX

static struct {
  int fd;
  uint64_t room;  /* it takes so many more bytes */
  uint64_t taken; /* since the connection is open */
  int error;      /* or fails so */
} kernel = {.fd = -1};

static ssize_t kernel_take(const struct iovec* vec, int n) {
  struct iovec some[64];
  uint64_t left = kernel.room;
  int used = 0;
  if (kernel.error != 0 || left == 0) {
    errno = kernel.error != 0 ? kernel.error : EAGAIN;
    return -1;
  }
  for (; used < n && used < (int)COUNT_OF(some) && left > 0; used++) {
    some[used] = vec[used];
    if (some[used].iov_len > left) some[used].iov_len = (size_t)left;
    left -= some[used].iov_len;
  }
  ssize_t taken = syscall(SYS_writev, kernel.fd, some, used);
  if (taken < 0) return -1;
  kernel.taken += (uint64_t)taken;
  if (kernel.room != NO_LIMIT) kernel.room -= (uint64_t)taken;
  return taken;
}

ssize_t write(int fd, const void* data, size_t len) {
  struct iovec vec = {(void*)data, len};
  return fd == kernel.fd ? kernel_take(&vec, 1)
                         : syscall(SYS_write, fd, data, len);
}

ssize_t writev(int fd, const struct iovec* vec, int n) {
  return fd == kernel.fd ? kernel_take(vec, n)
                         : syscall(SYS_writev, fd, vec, n);
}

/* ---- the model ---- */

typedef struct frame_s {
  uint8_t opcode;
  size_t len;
  size_t header;
} frame_t;

static struct {
  frame_t frames[32768];
  size_t n;
  size_t first;     /* the first that the kernel does not have completely */
  uint64_t gone;    /* wire bytes before it */
  uint64_t wire;    /* of all */
  uint64_t waiting; /* payload from `first` on */
} model;

static uint64_t counted(const frame_t* frame) {
  return frame->opcode < UVWS__OP_CLOSE ? frame->len : 0;
}

static void model_add(uint8_t opcode, size_t len, bool masked) {
  frame_t frame = {opcode, len, uvws__frame_header_size(len, masked)};
  assert_true(model.n < COUNT_OF(model.frames));
  model.frames[model.n++] = frame;
  model.wire += frame.header + len;
  model.waiting += counted(&frame);
}

/* What bufferedAmount is once the turn has ended. */
static uint64_t model_amount(void) {
  for (; model.first < model.n; model.first++) {
    const frame_t* frame = &model.frames[model.first];
    uint64_t in = kernel.taken - model.gone;
    if (in < frame->header + frame->len) {
      uint64_t payload = in > frame->header ? in - frame->header : 0;
      return model.waiting - (counted(frame) > 0 ? payload : 0);
    }
    model.gone += frame->header + frame->len;
    model.waiting -= counted(frame);
  }
  return 0;
}

/* ---- one socket, and a raw peer that checks every byte ---- */

static struct {
  raw_t raw; /* first */
  server_t server;
  peer_t client;
  peer_t* peer; /* the one under test */
  bool is_server;
  bool beyond_head;
  uvws__parser_t parser;
  size_t received; /* frames */
  size_t offset;   /* in the one that is coming */
} conn;

static char pattern[300000];

/* Each frame's payload is another stretch of the pattern. */
static const char* payload_of(size_t frame) {
  return pattern + frame * 37 % 1000;
}

static void fill_pattern(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof(pattern); i++) {
    x = x * 1664525 + 1013904223;
    pattern[i] = (char)('a' + (x >> 24) % 26);
  }
}

static void on_frame_end(const frame_t* frame) {
  uint8_t answer[8];
  conn.received++;
  conn.offset = 0;
  if (frame->opcode != UVWS__OP_CLOSE) return;
  size_t size = make_frame(answer, 0x88, "\x03\xe8", 2, conn.is_server);
  raw_send(&conn.raw, answer, size);
  /* RFC 6455, 7.1.1: the server closes the TCP connection first. */
  if (!conn.is_server)
    uv_shutdown(&conn.raw.shutdown, (uv_stream_t*)&conn.raw.tcp, NULL);
}

static void check_bytes(raw_t* raw) {
  if (!raw->upgraded) return;
  uint8_t* at = (uint8_t*)raw->in;
  size_t left = raw->in_len, len;
  uint8_t* payload;
  uvws__failure_t failure;
  uvws__parsed_t parsed;
  if (!conn.beyond_head) {
    at = (uint8_t*)strstr(raw->in, "\r\n\r\n") + 4;
    left -= (size_t)(at - (uint8_t*)raw->in);
    conn.beyond_head = true;
  }
  raw->in_len = 0;
  while ((parsed = uvws__parse(&conn.parser, &at, &left, &payload, &len,
                               &failure)) != UVWS__PARSED_MORE) {
    const frame_t* frame = &model.frames[conn.received];
    assert_int_not_equal(parsed, UVWS__PARSED_FAILED);
    assert_true(conn.received < model.n);
    if (parsed == UVWS__PARSED_HEADER) {
      assert_int_equal(conn.parser.opcode, frame->opcode);
      assert_int_equal(conn.parser.remaining, frame->len);
      continue;
    }
    if (frame->opcode != UVWS__OP_CLOSE)
      assert_memory_equal(payload, payload_of(conn.received) + conn.offset,
                          len);
    conn.offset += len;
    if (conn.parser.remaining == 0) on_frame_end(frame);
  }
}

static void find_connection(uv_handle_t* handle, void* arg) {
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  (void)arg;
  if (uvws_owns(handle) && handle->type == UV_TCP &&
      uv_tcp_getpeername((uv_tcp_t*)handle, (struct sockaddr*)&addr, &len) == 0)
    assert_int_equal(uv_fileno(handle, &kernel.fd), 0);
}

static void turn(void) {
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* An open connection of which the kernel takes nothing. */
static void conn_open(const bool* is_server, raw_then_t then) {
  memset(&conn, 0, sizeof(conn));
  memset(&model, 0, sizeof(model));
  memset(&kernel, 0, sizeof(kernel));
  kernel.fd = -1;
  fill_pattern();
  conn.is_server = *is_server;
  conn.raw.then = then;
  conn.raw.on_data = check_bytes;
  uvws__parser_init(&conn.parser, conn.is_server ? UVWS__CLIENT : UVWS__SERVER);
  if (conn.is_server) {
    server_start(&conn.server, NULL);
    conn.server.stop_after = 1;
    conn.peer = &conn.server.peers[0];
    raw_dial(&conn.raw, conn.server.port);
  } else {
    conn.peer = &conn.client;
    raw_serve(&conn.raw);
    peer_init(&conn.client);
    peer_connect(&conn.client, conn.raw.port, NULL);
  }
  test_run_until(&conn.peer->opened);
  while (!conn.raw.upgraded) turn();
  uv_walk(test_loop, find_connection, NULL);
  assert_int_not_equal(kernel.fd, -1);
}

static void conn_end(void) {
  kernel.room = NO_LIMIT;
  if (!conn.peer->closed) {
    uvws_terminate(&conn.peer->ws);
    raw_close(&conn.raw);
  }
  test_run();
  kernel.fd = -1;
  raw_free(&conn.raw);
}

static uint64_t amount(void) {
  return uvws_buffered_amount(&conn.peer->ws);
}

typedef enum { TEXT, BINARY, BLOB, PING } kind_t;

static int send_payload(kind_t kind, const char* data, size_t len) {
  uvws_t* ws = &conn.peer->ws;
  if (kind == TEXT) return uvws_send(ws, data, len, UVWS_TEXT);
  if (kind == BINARY) return uvws_send(ws, data, len, UVWS_BINARY);
  if (kind == PING) return uvws_ping(ws, data, len);
  uvws_blob_t* blob = uvws_blob_new(data, len);
  int status = uvws_send_blob(ws, blob, UVWS_TEXT);
  uvws_blob_unref(blob);
  return status;
}

/* Sends a frame: bufferedAmount grows by its payload at once. */
static void put(kind_t kind, size_t len) {
  static const uint8_t opcodes[] = {UVWS__OP_TEXT, UVWS__OP_BINARY,
                                    UVWS__OP_TEXT, UVWS__OP_PING};
  uint64_t before = amount();
  assert_int_equal(send_payload(kind, payload_of(model.n), len), 0);
  model_add(opcodes[kind], len, !conn.is_server);
  assert_int_equal(amount(), before + (kind == PING ? 0 : len));
}

static void put_close(void) {
  uint64_t before = amount();
  assert_int_equal(uvws_close(&conn.peer->ws, 1000, "bye", 3), 0);
  model_add(UVWS__OP_CLOSE, 5, !conn.is_server);
  assert_int_equal(amount(), before);
}

/* At a turn's end: what is counted besides, as sent too late, is `phantom`. */
static void check_turn(uint64_t phantom) {
  assert_int_equal(amount(), model_amount() + phantom);
  assert_int_equal(uvws_queue_size(&conn.peer->ws), model.wire - kernel.taken);
}

/* The kernel takes all up to that byte, which may need some turns. */
static void take_until(uint64_t offset) {
  kernel.room = offset - kernel.taken;
  for (int i = 0; i < 10000 && kernel.room > 0; i++) turn();
  turn();
  assert_int_equal(kernel.taken, offset);
}

/* A test's initial state: the role of the socket under test. */
static bool roles[] = {false, true};

#define ROLE(test, role, name) \
  { #test " " name, test, test_loop_setup, test_loop_teardown, &roles[role] }
#define BOTH_ROLES(test) ROLE(test, 0, "(client)"), ROLE(test, 1, "(server)")

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
  assert_int_equal(uvws_send(ws, pattern, 20000, UVWS_BINARY), 0);
  assert_int_equal(uvws_queue_size(ws), 0);
  assert_int_equal(uvws_buffered_amount(ws), 20010);
  assert_int_equal(uvws_ping(ws, "x", 1), 0);
  uvws_flush(ws);
  assert_int_equal(uvws_send(ws, pattern, 5, UVWS_TEXT), 0);
  assert_int_equal(uvws_buffered_amount(ws), 20015);
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
  assert_int_equal(uvws_buffered_amount(&phases.peer->ws), 20015);
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

/* ---- how far it falls: partial writes ---- */

static const struct {
  kind_t kind;
  size_t len;
} mix[] = {{TEXT, 5},       {BINARY, 0},    {PING, 125},     {TEXT, 125},
           {BINARY, 126},   {PING, 0},      {BLOB, 20000},   {TEXT, 16370},
           {TEXT, 16381},   {TEXT, 16383},  {BINARY, 16384}, {BLOB, 65535},
           {BINARY, 65536}, {BLOB, 100000}, {TEXT, 1},       {BLOB, 3}};

static void put_mix(void) {
  for (size_t i = 0; i < COUNT_OF(mix); i++) put(mix[i].kind, mix[i].len);
}

/* In ascending order the offsets around each boundary of a frame: inside and
 * right behind its header, inside its payload, at its end. */
static size_t find_cuts(uint64_t* cuts) {
  uint64_t start = 0, last = 0;
  size_t n = 0;
  for (size_t i = 0; i < model.n; i++) {
    const frame_t* frame = &model.frames[i];
    uint64_t body = start + frame->header, end = body + frame->len;
    uint64_t around[] = {
        start + 1, body - 1, body, body + 1, body + frame->len / 2,
        end - 1,   end};
    for (size_t k = 0; k < COUNT_OF(around); k++)
      if (around[k] > last && around[k] <= end) cuts[n++] = last = around[k];
    start = end;
  }
  return n;
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

/* The first attempt to write, on a socket that was empty, is cut at `room`. */
static void try_burst(const kind_t* kinds, const size_t* lens, size_t n,
                      uint64_t room) {
  uint64_t base = model.wire;
  kernel.room = room;
  for (size_t i = 0; i < n; i++) put(kinds[i], lens[i]);
  turn();
  assert_int_equal(kernel.taken, base + room);
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
      {{BINARY}, {20000}, 1},
      {{BLOB}, {20000}, 1},
      {{TEXT, BLOB, TEXT}, {7, 70000, 9}, 3},
      {{TEXT, BINARY, PING, BLOB}, {7, 70000, 1, 16384}, 4},
      {{BINARY, BINARY}, {16383, 16382}, 2},
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
  put(BINARY, 20000);
  assert_int_equal(send_payload(BLOB, pattern, 20000), UV_EPIPE);
  assert_int_equal(send_payload(TEXT, pattern, 20), UV_EPIPE);
  assert_int_equal(amount(), 20010);
  turn();
  assert_int_equal(amount(), 20010);
  raw_close(&conn.raw);
  test_run();
  assert_int_equal(at_close, 20010);
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

/* ---- anything, in any order ---- */

static uint32_t seed;
static bool answered;     /* a message, in this iteration of the loop */
static uint64_t expected; /* until that turn ends */

static uint32_t random_below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed % n;
}

static void random_send(void) {
  uint32_t size = random_below(100);
  size_t len = size < 75   ? random_below(300)
               : size < 90 ? random_below(20000)
               : size < 95 ? 16360 + random_below(40)
                           : random_below(80000);
  put((kind_t)random_below(3), len);
}

static void random_answer(peer_t* peer, const uvws_message_t* message) {
  (void)peer;
  (void)message;
  uint32_t n = random_below(4);
  if (n > 0) answered = true;
  for (; n > 0; n--) random_send();
  expected = amount();
}

static void random_step(void) {
  uint8_t frame[16];
  uint32_t what = random_below(100);
  uint64_t before = amount();
  if (what < 50) {
    random_send();
  } else if (what < 57) {
    put(PING, random_below(126));
  } else if (what < 65) {
    uvws_flush(&conn.peer->ws);
    assert_int_equal(amount(), before);
  } else if (what < 80) {
    kernel.room = random_below(3) == 0 ? 0 : random_below(60000);
  } else if (what < 84) {
    size_t size = make_frame(frame, 0x81, "go", 2, conn.is_server);
    raw_send(&conn.raw, frame, size);
  } else {
    answered = false;
    turn();
    if (answered)
      assert_int_equal(amount(), expected);
    else
      check_turn(0);
  }
}

static void test_it_equals_the_model(void** state) {
  const char* given = getenv("UVWS_SEED");
  seed = given != NULL ? (uint32_t)strtoul(given, NULL, 0)
                       : (uint32_t)uv_hrtime() | 1;
  print_message("UVWS_SEED=%u\n", seed);
  conn_open(*state, RAW_STAY);
  conn.peer->on_message = random_answer;
  for (int i = 0; i < 20000; i++) random_step();
  put_close();
  kernel.room = NO_LIMIT;
  test_run_until(&conn.peer->closed);
  assert_int_equal(conn.received, model.n);
  assert_int_equal(amount(), 0);
  conn_end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_ROLES(test_only_payload_counts),
      BOTH_ROLES(test_sends_of_a_message_event_count_until_the_turn_ends),
      BOTH_ROLES(test_sends_of_a_timer_count_until_the_turn_ends),
      BOTH_ROLES(test_sends_outside_of_uv_run_count_until_the_next_turn),
      BOTH_ROLES(test_terminate_does_not_lower_it_within_the_turn),
      BOTH_ROLES(test_it_falls_with_every_partial_write),
      BOTH_ROLES(test_a_cut_burst_counts_what_is_left),
      BOTH_ROLES(test_a_full_socket_counts_what_the_kernel_left),
      BOTH_ROLES(test_cancelled_bytes_stay_counted),
      BOTH_ROLES(test_sends_that_come_too_late_count_but_do_not_queue),
      BOTH_ROLES(test_a_failed_write_leaves_the_rest_counted),
      BOTH_ROLES(test_what_was_accepted_before_a_failed_write_stays_counted),
      TEST(test_refused_sends_do_not_count),
      BOTH_ROLES(test_it_equals_the_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
