#ifndef UVWS_TEST_MODEL_H_
#define UVWS_TEST_MODEL_H_

#include "helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "connection.h"
#include "net/tls.h"
#include "protocol/deflate.h"

/* bufferedAmount and the queue against a model that knows how many bytes the
 * kernel took, for test-buffered-amount.c and test-model.c. Their programs have
 * their own write() and writev(), which libuv calls: on one socket they take as
 * much as a test allows, so that a partial write can end anywhere. Under TLS
 * what the kernel took is what stood in the records that it has to their end.
 */

/* ---- the kernel ---- */

#define NO_LIMIT UINT64_MAX

static struct {
  int fd;
  uint64_t room;   /* it takes so many more bytes */
  uint64_t taken;  /* since the connection is open */
  int error;       /* or fails so */
  size_t overhead; /* of a TLS record, behind its header; 0: no TLS */
  uint8_t header[5];
  size_t n_header;
  size_t record; /* bytes of it still to come */
} kernel = {.fd = -1};

/* RFC 8446, 5.1: type, version, length. */
static void scan_records(const uint8_t* at, size_t len) {
  for (; len > 0; at++, len--) {
    if (kernel.n_header < sizeof(kernel.header)) {
      kernel.header[kernel.n_header++] = *at;
      kernel.record = (size_t)kernel.header[3] << 8 | kernel.header[4];
    } else if (--kernel.record == 0) {
      size_t size = (size_t)kernel.header[3] << 8 | kernel.header[4];
      bool is_data = kernel.header[0] == 23;
      if (is_data) kernel.taken += size - kernel.overhead;
      kernel.n_header = 0;
    }
  }
}

static void note_taken(const struct iovec* vec, size_t taken) {
  if (kernel.overhead == 0) kernel.taken += taken;
  for (; kernel.overhead > 0 && taken > 0; vec++) {
    size_t len = vec->iov_len < taken ? vec->iov_len : taken;
    scan_records(vec->iov_base, len);
    taken -= len;
  }
}

/* RFC 5288 has an explicit nonce. */
static size_t overhead_of(const uvws__tls_result_t* tls) {
  return strstr(tls->cipher_suite, "GCM") != NULL ? 8 + 16 : 16;
}

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
  note_taken(some, (size_t)taken);
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
  bool fin;
  size_t len;
  size_t header;
  size_t counts; /* towards bufferedAmount */
  bool packed;   /* it was compressed, and counts at its end */
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
  return frame->opcode < UVWS__OP_CLOSE ? frame->counts : 0;
}

/* A frame of `len` bytes, on the wire `size` with its header. */
static void model_add_wire(uint8_t opcode, bool fin, size_t len, bool masked,
                           uint64_t size, bool packed) {
  frame_t frame = {opcode, fin, .counts = len, .packed = packed};
  for (frame.header = 2; frame.header < UVWS__FRAME_HEADER_MAX; frame.header++)
    if (frame.header <= size &&
        uvws__frame_header_size(size - frame.header, masked) == frame.header)
      break;
  frame.len = (size_t)size - frame.header;
  assert_int_equal(uvws__frame_header_size(frame.len, masked), frame.header);
  assert_true(packed || frame.len == len);
  assert_true(model.n < COUNT_OF(model.frames));
  model.frames[model.n++] = frame;
  model.wire += frame.header + frame.len;
  model.waiting += counted(&frame);
}

static void model_add(uint8_t opcode, bool fin, size_t len, bool masked) {
  model_add_wire(opcode, fin, len, masked,
                 uvws__frame_header_size(len, masked) + len, false);
}

/* What bufferedAmount is once the turn has ended. */
static uint64_t model_amount(void) {
  for (; model.first < model.n; model.first++) {
    const frame_t* frame = &model.frames[model.first];
    uint64_t in = kernel.taken - model.gone;
    if (in < frame->header + frame->len) {
      uint64_t payload = in > frame->header ? in - frame->header : 0;
      return model.waiting -
             (counted(frame) > 0 && !frame->packed ? payload : 0);
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
  size_t offset;   /* in the one that is coming, inflated */
  uvws__inflater_t* inflater;
} conn;

static bool conn_deflates; /* permessage-deflate is agreed on */

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

/* Each part of a message was flushed. */
static void check_packed(const frame_t* frame, const uint8_t* data,
                         size_t len) {
  static uint8_t out[4096];
  bool last = frame->fin && conn.parser.remaining == 0;
  uvws__inflated_t status;
  uvws__inflater_feed(conn.inflater, data, len, last);
  do {
    size_t n = sizeof(out);
    status = uvws__inflater_take(conn.inflater, out, &n);
    assert_memory_equal(out, payload_of(conn.received) + conn.offset, n);
    conn.offset += n;
  } while (status == UVWS__INFLATED_FULL);
  assert_int_equal(status, last ? UVWS__INFLATED_END : UVWS__INFLATED_MORE);
  if (conn.parser.remaining == 0) assert_int_equal(conn.offset, frame->counts);
}

static void on_frame_end(const frame_t* frame) {
  uint8_t answer[8];
  conn.received++;
  conn.offset = 0;
  if (frame->opcode != UVWS__OP_CLOSE) return;
  size_t size = make_frame(answer, 0x88, "\x03\xe8", 2, conn.is_server);
  raw_send(&conn.raw, answer, size);
  /* RFC 6455, 7.1.1: the server closes the TCP connection first. */
  if (!conn.is_server) raw_shutdown(&conn.raw);
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
      assert_int_equal(conn.parser.fin, frame->fin);
      assert_int_equal(conn.parser.remaining, frame->len);
      assert_int_equal(conn.parser.rsv1, frame->packed && frame->opcode != 0);
      continue;
    }
    uvws__unmask(&conn.parser, payload, len);
    if (frame->packed) {
      check_packed(frame, payload, len);
    } else {
      if (frame->opcode != UVWS__OP_CLOSE)
        assert_memory_equal(payload, payload_of(conn.received) + conn.offset,
                            len);
      conn.offset += len;
    }
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

static const uvws_options_t* conn_options; /* of the next client */
static const uvws_server_options_t* conn_server_options;

/* An open connection of which the kernel takes nothing. */
static void conn_open(const bool* is_server, raw_then_t then) {
  memset(&conn, 0, sizeof(conn));
  memset(&model, 0, sizeof(model));
  memset(&kernel, 0, sizeof(kernel));
  kernel.fd = -1;
  fill_pattern();
  test_limit_tls();
  conn.is_server = *is_server;
  conn.raw.then = then;
  conn.raw.on_data = check_bytes;
  uvws__parser_init(&conn.parser, conn.is_server ? UVWS__CLIENT : UVWS__SERVER);
  if (conn_deflates) {
    conn.raw.more = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    conn.parser.allows_rsv1 = true;
    conn.inflater = uvws__inflater_new(15);
  }
  if (conn.is_server) {
    server_start(&conn.server, conn_server_options);
    conn.server.stop_after = 1;
    conn.peer = &conn.server.peers[0];
    raw_dial(&conn.raw, conn.server.port);
  } else {
    conn.peer = &conn.client;
    raw_serve(&conn.raw);
    peer_init(&conn.client);
    peer_connect(&conn.client, conn.raw.port, conn_options);
  }
  test_run_until(&conn.peer->opened);
  while (!conn.raw.upgraded) turn();
  uv_walk(test_loop, find_connection, NULL);
  assert_int_not_equal(kernel.fd, -1);
  if (test_has_tls()) kernel.overhead = overhead_of(conn.raw.tls_result);
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
  uvws__inflater_free(conn.inflater);
}

/* All that ever was queued, as it stands on the wire. */
static uint64_t queued(void) {
  return conn.peer->ws.conn->stream->queued;
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
  uint64_t before = amount(), start = queued();
  assert_int_equal(send_payload(kind, payload_of(model.n), len), 0);
  bool packed = conn_deflates && kind != PING && len >= 1024;
  model_add_wire(opcodes[kind], true, len, !conn.is_server, queued() - start,
                 packed);
  assert_int_equal(amount(), before + (kind == PING ? 0 : len));
}

static void put_close(void) {
  uint64_t before = amount();
  assert_int_equal(uvws_close(&conn.peer->ws, 1000, "bye", 3), 0);
  model_add(UVWS__OP_CLOSE, true, 5, !conn.is_server);
  assert_int_equal(amount(), before);
}

/* At a turn's end: what is counted besides, as sent too late, is `phantom`. */
static void check_turn(uint64_t phantom) {
  assert_int_equal(amount(), model_amount() + phantom);
  assert_int_equal(uvws_queue_size(&conn.peer->ws), model.wire - kernel.taken);
}

/* A test's initial state: the role of the socket under test. */
static bool roles[] = {false, true};

#define ROLE(test, role, name) \
  { #test " " name, test, test_loop_setup, test_loop_teardown, &roles[role] }
#define BOTH_ROLES(test) ROLE(test, 0, "(client)"), ROLE(test, 1, "(server)")

#endif /* UVWS_TEST_MODEL_H_ */
