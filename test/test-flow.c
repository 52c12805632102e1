#include "helper.h"

#include <stdio.h>
#include <string.h>

/* Messages in parts, from sources, from the caller's memory; reading that
 * stops; broadcast, counters and the trace. */

static server_t server;
static peer_t client;
static raw_t raw;

/* An open client, whose server is the raw one. */
static void open_to_raw(void) {
  memset(&raw, 0, sizeof(raw));
  raw_serve(&raw);
  peer_init(&client);
  peer_connect(&client, raw.port, NULL);
  test_run_until(&client.opened);
}

static void end_raw(void) {
  uvws_terminate(&client.ws);
  test_run();
  raw_free(&raw);
}

/* The frames that came to the raw server, as "opcode[+](payload) ...", with a
 * plus for FIN. */
static const char* frames_seen(size_t wanted) {
  static char log[4096];
  const uint8_t* at;
  size_t n = 0;
  log[0] = '\0';
  while (raw.in_len < wanted) uv_run(test_loop, UV_RUN_ONCE);
  at = (const uint8_t*)strstr(raw.in, "\r\n\r\n") + 4;
  const uint8_t* end = (const uint8_t*)raw.in + raw.in_len;
  while (at < end) {
    size_t len = at[1] & 0x7F;
    n += (size_t)snprintf(log + n, sizeof(log) - n, "%s%x%s(", n > 0 ? " " : "",
                          at[0] & 0xF, at[0] & 0x80 ? "+" : "");
    for (size_t i = 0; i < len; i++)
      log[n++] = (char)(at[6 + i] ^ at[2 + (i & 3)]);
    log[n++] = ')';
    log[n] = '\0';
    at += 6 + len;
  }
  return log;
}

/* Until the raw server has so many bytes behind the request's head. */
static const char* frames_of(size_t bytes) {
  uv_run(test_loop, UV_RUN_NOWAIT);
  while (strstr(raw.in, "\r\n\r\n") == NULL) uv_run(test_loop, UV_RUN_ONCE);
  size_t head = (size_t)(strstr(raw.in, "\r\n\r\n") + 4 - raw.in);
  return frames_seen(head + bytes);
}

/* ---- in parts ---- */

static void test_parts_are_fragments(void** state) {
  uvws_t* ws = &client.ws;
  (void)state;
  open_to_raw();
  assert_int_equal(uvws_continue(ws, "x", 1), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_end(ws, "x", 1), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_begin(ws, 0), UV_EINVAL);
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  assert_int_equal(uvws_continue(ws, "a\xe2\x82", 3), 0); /* cut inside */
  assert_int_equal(uvws_ping(ws, "p", 1), 0);
  assert_int_equal(uvws_continue(ws, "x", 1), UVWS_EUTF8);
  assert_int_equal(uvws_continue(ws, NULL, 0), 0); /* no frame */
  assert_int_equal(uvws_end(ws, NULL, 0), UVWS_EUTF8);
  assert_int_equal(uvws_continue(ws, "\xac", 1), 0);
  assert_int_equal(uvws_buffered_amount(ws), 4);
  assert_int_equal(uvws_end(ws, "z", 1), 0);
  assert_int_equal(uvws_begin(ws, UVWS_BINARY), 0);
  assert_int_equal(uvws_end(ws, "\xff", 1), 0);
  assert_string_equal(frames_of(6 * 5 + 7),
                      "1(a\xe2\x82) 9+(p) 0(\xac) 0+(z) 2+(\xff)");
  end_raw();
}

static ssize_t no_bytes(uvws_t* ws, void* buf, size_t len, void* arg) {
  (void)ws;
  (void)buf;
  (void)len;
  (void)arg;
  return UV_EAGAIN;
}

static void not_called(uvws_write_t* req, int status) {
  (void)req;
  (void)status;
  fail();
}

static void check_others(int status) {
  uvws_t* ws = &client.ws;
  uvws_write_t req;
  uv_buf_t buf = {"x", 1};
  uvws_blob_t* blob = uvws_blob_new("x", 1);
  uint64_t before = uvws_buffered_amount(ws);
  assert_int_equal(uvws_send(ws, "x", 1, UVWS_TEXT), status);
  assert_int_equal(uvws_send_blob(ws, blob, UVWS_TEXT), status);
  assert_int_equal(uvws_write(&req, ws, &buf, 1, UVWS_TEXT, not_called),
                   status);
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), status);
  assert_int_equal(uvws_send_source(ws, UVWS_TEXT, no_bytes, NULL), status);
  assert_int_equal(uvws_buffered_amount(ws) - before,
                   status == UV_ESHUTDOWN ? 3 : 0);
  uvws_blob_unref(blob);
}

static void test_others_wait(void** state) {
  uvws_t* ws = &client.ws;
  (void)state;
  open_to_raw();
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  check_others(UVWS_EBUSY);
  assert_int_equal(uvws_end(ws, "1", 1), 0);
  assert_int_equal(uvws_send_source(ws, UVWS_TEXT, no_bytes, NULL), 0);
  check_others(UVWS_EBUSY);
  assert_int_equal(uvws_continue(ws, "x", 1), UVWS_EBUSY);
  assert_int_equal(uvws_end(ws, "x", 1), UVWS_EBUSY);
  assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  check_others(UV_ESHUTDOWN);
  assert_int_equal(uvws_continue(ws, "x", 1), UV_ESHUTDOWN);
  assert_string_equal(frames_of(7 + 8), "1+(1) 8+(\x03\xe8)");
  end_raw();
}

/* ---- sources ---- */

static struct {
  unsigned calls;
  unsigned stops; /* UV_EAGAIN */
  ssize_t at_end;
  const char* letters;
  bool resume_inside;
  bool terminate;
} source;

static ssize_t next_letter(uvws_t* ws, void* buf, size_t len, void* arg) {
  assert_ptr_equal(arg, &source);
  assert_true(len >= 1024);
  assert_int_equal(uvws_ready_state(ws), UVWS_OPEN);
  unsigned call = source.calls++;
  if (call % 2 == 1) {
    source.stops++;
    if (source.resume_inside) uvws_send_resume(ws);
    return UV_EAGAIN;
  }
  if (call == 6 && source.terminate) uvws_terminate(ws);
  if (call == 6) return source.at_end;
  memcpy(buf, &source.letters[call / 2], 1);
  return 1;
}

static void start_source(bool resume_inside, ssize_t at_end, unsigned flags) {
  memset(&source, 0, sizeof(source));
  source.resume_inside = resume_inside;
  source.at_end = at_end;
  source.letters = "abc";
  open_to_raw();
  assert_int_equal(uvws_send_source(&client.ws, flags, next_letter, &source),
                   0);
  assert_int_equal(source.calls, 0); /* never inside the call */
}

static void test_a_source_is_asked_again(void** state) {
  (void)state;
  start_source(false, 0, UVWS_TEXT);
  for (unsigned stops = 1; stops <= 3; stops++) {
    while (source.stops < stops) uv_run(test_loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) uv_run(test_loop, UV_RUN_NOWAIT);
    assert_int_equal(source.calls, 2 * stops);
    uvws_send_resume(&client.ws);
  }
  assert_string_equal(frames_of(3 * 7 + 6), "1(a) 0(b) 0(c) 0+()");
  assert_int_equal(uvws_send(&client.ws, "x", 1, UVWS_TEXT), 0);
  end_raw();
  start_source(true, 0, UVWS_BINARY);
  assert_string_equal(frames_of(3 * 7 + 6), "2(a) 0(b) 0(c) 0+()");
  end_raw();
}

static void test_a_source_that_gives_up_fails_the_connection(void** state) {
  (void)state;
  start_source(true, UV_EIO, UVWS_BINARY);
  test_run_until(&client.closed);
  assert_string_equal(client.log, "open error(EIO) close(1006)");
  assert_int_equal(raw_close_code(&raw), 1011);
  end_raw();
  start_source(true, 0, UVWS_TEXT);
  source.letters = "a\xff";
  test_run_until(&client.closed);
  assert_string_equal(client.log, "open error(UVWS_EUTF8) close(1006)");
  assert_int_equal(raw_close_code(&raw), 1011);
  end_raw();
}

static void test_terminating_inside_a_source(void** state) {
  (void)state;
  start_source(true, 1, UVWS_BINARY);
  source.terminate = true;
  test_run_until(&client.closed);
  assert_string_equal(client.log, "open close(1006)");
  assert_int_equal(source.calls, 7);
  end_raw();
}

/* ---- from the caller's memory ---- */

static unsigned n_written;
static int write_status;

static void on_written(uvws_write_t* req, int status) {
  assert_false(((peer_t*)req->ws)->closed);
  assert_int_equal(*(int*)req->data, 42);
  write_status = status;
  n_written++;
}

static void test_a_write_is_called_back(void** state) {
  static char large[100000];
  static int data = 42;
  uvws_write_t small_req, large_req;
  uv_buf_t bufs[] = {{"sm", 2}, {NULL, 0}, {"all", 3}};
  uv_buf_t large_buf = {large, sizeof(large)};
  (void)state;
  n_written = 0;
  small_req.data = large_req.data = &data;
  open_to_raw();
  uvws_t* ws = &client.ws;
  assert_int_equal(uvws_write(&small_req, ws, bufs, 3, UVWS_TEXT, NULL),
                   UV_EINVAL);
  uv_buf_t cut[] = {{"\xe2", 1}, {"\x82", 1}};
  assert_int_equal(uvws_write(&small_req, ws, cut, 2, UVWS_TEXT, on_written),
                   UVWS_EUTF8);
  assert_int_equal(uvws_write(&small_req, ws, bufs, 3, UVWS_TEXT, on_written),
                   0);
  uvws_flush(ws);
  assert_int_equal(n_written, 0);
  assert_string_equal(frames_of(11), "1+(small)");
  assert_int_equal(n_written, 1);
  assert_int_equal(write_status, 0);
  /* Many, of which the last ones cannot leave. */
  uv_read_stop((uv_stream_t*)&raw.tcp);
  for (int i = 0; i < 200; i++)
    assert_int_equal(uvws_send(ws, large, sizeof(large), UVWS_BINARY), 0);
  assert_int_equal(
      uvws_write(&large_req, ws, &large_buf, 1, UVWS_BINARY, on_written), 0);
  for (int i = 0; i < 3; i++) uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(n_written, 1);
  uvws_terminate(ws);
  assert_int_equal(n_written, 1);
  test_run_until(&client.closed);
  assert_int_equal(n_written, 2);
  assert_int_equal(write_status, UV_ECANCELED);
  raw_close(&raw);
  end_raw();
}

/* ---- reading that stops ---- */

static uint8_t script[256];
static size_t script_len;

/* "1" "2" "3" in one segment, then a ping. */
static void write_script(void) {
  script_len = 0;
  for (const char* at = "123"; *at != '\0'; at++)
    script_len += make_frame(script + script_len, 0x81, at, 1, true);
  script_len += make_frame(script + script_len, 0x89, "p", 1, true);
}

static void stop(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  assert_int_equal(uvws_read_stop(&peer->ws), 0);
}

static void stop_each(server_t* self, peer_t* peer) {
  (void)self;
  peer->on_message = stop;
}

static void open_stopped(void) {
  memset(&raw, 0, sizeof(raw));
  write_script();
  raw.bytes = script;
  raw.len = script_len;
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = stop_each;
  raw_dial(&raw, server.port);
  while (server.peers[0].messages == 0) uv_run(test_loop, UV_RUN_ONCE);
  for (int i = 0; i < 5; i++) uv_run(test_loop, UV_RUN_NOWAIT);
  assert_string_equal(server.peers[0].log, "open text(1)");
}

static void test_what_was_read_comes_first_when_reading_goes_on(void** state) {
  peer_t* peer = &server.peers[0];
  uint8_t more[16];
  (void)state;
  open_stopped();
  raw_send(&raw, more, make_frame(more, 0x81, "4", 1, true));
  for (unsigned n = 2; n <= 4; n++) {
    assert_int_equal(uvws_read_start(&peer->ws), 0);
    assert_int_equal(peer->messages, n - 1); /* not inside the call */
    while (peer->messages < n) uv_run(test_loop, UV_RUN_ONCE);
    for (int i = 0; i < 5; i++) uv_run(test_loop, UV_RUN_NOWAIT);
    assert_int_equal(peer->messages, n);
  }
  assert_string_equal(peer->log,
                      "open text(1) text(2) text(3) ping(p) text(4)");
  uvws_terminate(&peer->ws);
  test_run();
  raw_free(&raw);
}

static bool open_ended;

static void answer_close(raw_t* self) {
  uint8_t answer[16];
  if (raw_close_code(self) == 0 || open_ended) return;
  open_ended = true;
  raw_send(self, answer, make_frame(answer, 0x88, "\x03\xe8", 2, true));
}

static void test_closing_reads_on(void** state) {
  (void)state;
  open_ended = false;
  open_stopped();
  raw.on_data = answer_close;
  assert_int_equal(uvws_close(&server.peers[0].ws, 1000, NULL, 0), 0);
  test_run_until(&server.peers[0].closed);
  assert_string_equal(server.peers[0].log, "open text(1) close(1000 clean)");
  test_run();
  raw_free(&raw);
}

/* What would have read on must not be forgotten over the closing. */
static void test_starting_and_closing_in_one_turn(void** state) {
  (void)state;
  open_ended = false;
  open_stopped();
  raw.on_data = answer_close;
  assert_int_equal(uvws_read_start(&server.peers[0].ws), 0);
  assert_int_equal(uvws_close(&server.peers[0].ws, 1000, NULL, 0), 0);
  test_run_until(&server.peers[0].closed);
  assert_string_equal(server.peers[0].log, "open text(1) close(1000 clean)");
  test_run();
  raw_free(&raw);
}

static void test_starting_and_terminating_in_one_turn(void** state) {
  (void)state;
  open_stopped();
  assert_int_equal(uvws_read_start(&server.peers[0].ws), 0);
  uvws_terminate(&server.peers[0].ws);
  test_run();
  assert_string_equal(server.peers[0].log, "open text(1) close(1006)");
  assert_int_equal(uvws_read_stop(&server.peers[0].ws), UV_ENOTCONN);
  assert_int_equal(uvws_read_start(&server.peers[0].ws), UV_ENOTCONN);
  raw_free(&raw);
}

/* Rule 13: it keeps the loop alive, unless it is unreferenced. */
static void test_a_stopped_socket_keeps_the_loop_alive(void** state) {
  (void)state;
  open_stopped();
  uvws_server_unref(&server.server);
  uv_unref((uv_handle_t*)&raw.tcp);
  assert_true(uv_loop_alive(test_loop));
  uvws_unref(&server.peers[0].ws);
  uv_run(test_loop, UV_RUN_NOWAIT);
  assert_false(uv_loop_alive(test_loop));
  uvws_ref(&server.peers[0].ws);
  assert_true(uv_loop_alive(test_loop));
  uvws_terminate(&server.peers[0].ws);
  test_run();
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

/* ---- to many ---- */

static void test_broadcast(void** state) {
  static peer_t peers[3];
  int statuses[4];
  (void)state;
  server_start(&server, NULL);
  server.stop_after = 3;
  for (int i = 0; i < 3; i++) {
    peer_init(&peers[i]);
    peer_connect(&peers[i], server.port, NULL);
  }
  while (!server.peers[2].opened || !peers[0].opened || !peers[1].opened ||
         !peers[2].opened)
    uv_run(test_loop, UV_RUN_ONCE);
  uvws_t* all[] = {&server.peers[0].ws, &server.peers[1].ws,
                   &server.peers[2].ws, &client.ws};
  uvws_blob_t* blob = uvws_blob_new("hey", 3);
  uvws_blob_t* bad = uvws_blob_new("\xff", 1);
  peer_init(&client); /* never connected */
  assert_int_equal(uvws_begin(all[1], UVWS_TEXT), 0);
  assert_int_equal(uvws_broadcast(all, 4, bad, UVWS_TEXT, NULL), UVWS_EUTF8);
  assert_int_equal(uvws_broadcast(all, 4, blob, UVWS_TEXT, statuses), 2);
  assert_int_equal(statuses[0], 0);
  assert_int_equal(statuses[1], UVWS_EBUSY);
  assert_int_equal(statuses[2], 0);
  assert_int_equal(statuses[3], UV_ESHUTDOWN);
  assert_int_equal(uvws_end(all[1], "mine", 4), 0);
  assert_int_equal(
      uvws_server_broadcast(&server.server, blob, UVWS_BINARY, all[0]), 2);
  uvws_blob_unref(blob);
  uvws_blob_unref(bad);
  for (int i = 0; i < 3; i++)
    assert_int_equal(uvws_close(all[i], 1000, NULL, 0), 0);
  test_run();
  /* Which of the peers is which socket's is the kernel's choice. */
  unsigned whole = 0, own = 0, first = 0;
  for (int i = 0; i < 3; i++) {
    whole +=
        !strcmp(peers[i].log, "open text(hey) binary(3) close(1000 clean)");
    own += !strcmp(peers[i].log, "open text(mine) binary(3) close(1000 clean)");
    first += !strcmp(peers[i].log, "open text(hey) close(1000 clean)");
  }
  assert_int_equal(whole, 1);
  assert_int_equal(own, 1);
  assert_int_equal(first, 1);
}

/* ---- seen ---- */

static char trace_log[1024];
static uvws_stats_t at_close;
static bool is_over;

static void on_trace(uvws_t* ws, const uvws_trace_t* trace) {
  size_t n = strlen(trace_log);
  (void)ws;
  if (trace->kind == UVWS_TRACE_STATE)
    snprintf(trace_log + n, sizeof(trace_log) - n, "%s-%s->%s ", trace->from,
             trace->event, trace->to);
  else
    snprintf(trace_log + n, sizeof(trace_log) - n, "%s%02x%s(%d) ",
             trace->kind == UVWS_TRACE_FRAME_SENT ? ">" : "<",
             trace->first_byte, trace->masked ? "m" : "", (int)trace->len);
}

static void say_hello(uvws_t* ws) {
  assert_int_equal(uvws_send(ws, "hello", 5, UVWS_TEXT), 0);
  assert_int_equal(uvws_ping(ws, "p", 1), 0);
}

static void note_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)event;
  uvws_stats(ws, &at_close);
  is_over = true;
}

static const uvws_events_t traced = {UVWS_EVENTS_INIT, .open = say_hello,
                                     .close = note_close, .trace = on_trace};

static void close_at_message(peer_t* peer, const uvws_message_t* message) {
  uvws_stats_t stats;
  (void)message;
  uvws_loop_stats(test_loop, &stats);
  assert_int_equal(stats.sockets, 2);
  assert_int_equal(stats.messages_received, 1);
  assert_int_equal(stats.messages_sent, 1);
  assert_int_equal(uvws_send(&peer->ws, "bye", 3, UVWS_TEXT), 0);
}

static void close_at_ping(peer_t* peer) {
  peer_close(peer);
}

static void accept_talker(server_t* self, peer_t* peer) {
  (void)self;
  peer->on_message = close_at_message;
  peer->on_ping = close_at_ping;
}

static void test_counters_and_trace(void** state) {
  uvws_t ws;
  char url[64];
  uvws_stats_t stats;
  (void)state;
  trace_log[0] = '\0';
  is_over = false;
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = accept_talker;
  uvws_init(test_loop, &ws, &traced);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", server.port);
  assert_int_equal(uvws_connect(&ws, url, NULL), 0);
  uvws_stats(&ws, &stats);
  assert_int_equal(stats.bytes_sent, 0);
  test_run_until(&is_over);
  assert_string_equal(
      trace_log,
      "DIALING-CONNECTED->UPGRADING UPGRADING-UPGRADED->OPEN >81m(5) >89m(1) "
      "<81(3) <8a(1) <88(2) OPEN-CLOSE_CAME->LINGERING >88m(2) "
      "LINGERING-LINGERED->RELEASING RELEASING-RELEASED->LEAVING "
      "LEAVING-LEFT->CLOSED ");
  assert_int_equal(at_close.bytes_sent, 6 + 5 + 6 + 1 + 6 + 2);
  assert_int_equal(at_close.bytes_received, 2 + 3 + 2 + 1 + 2 + 2);
  assert_int_equal(at_close.frames_sent, 3);
  assert_int_equal(at_close.frames_received, 3);
  assert_int_equal(at_close.messages_sent, 1);
  assert_int_equal(at_close.messages_received, 1);
  assert_true(at_close.rtt > 0);
  test_run();
  uvws_stats(&ws, &stats);
  assert_int_equal(stats.frames_sent, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_parts_are_fragments),
      TEST(test_others_wait),
      TEST(test_a_source_is_asked_again),
      TEST(test_a_source_that_gives_up_fails_the_connection),
      TEST(test_terminating_inside_a_source),
      TEST(test_a_write_is_called_back),
      TEST(test_what_was_read_comes_first_when_reading_goes_on),
      TEST(test_closing_reads_on),
      TEST(test_starting_and_closing_in_one_turn),
      TEST(test_starting_and_terminating_in_one_turn),
      TEST(test_a_stopped_socket_keeps_the_loop_alive),
      TEST(test_broadcast),
      TEST(test_counters_and_trace),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
