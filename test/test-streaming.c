#include "helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/frame.h"

/* Messages in parts and in chunks, on both roles against a raw peer: what
 * stands on the wire, and what is left of it behind a cut, a stop, an end. What
 * needs one role only is in test-flow.c. */

static struct {
  raw_t raw; /* first */
  server_t server;
  peer_t client;
  peer_t* peer; /* the one under test */
  bool is_server;
} conn;

static char chunks[4096]; /* "t<(ab) t>(c)": of a text the first, the last */
static unsigned n_chunks;
static bool stop_at_chunk;

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  size_t n = strlen(chunks);
  assert_true(chunk->len > 0 || chunk->last);
  n_chunks++;
  if (chunk->first)
    n += (size_t)snprintf(chunks + n, sizeof(chunks) - n, "%c<",
                          chunk->type == UVWS_TEXT ? 't' : 'b');
  n += (size_t)snprintf(chunks + n, sizeof(chunks) - n, "%.*s", (int)chunk->len,
                        chunk->data);
  if (chunk->last) snprintf(chunks + n, sizeof(chunks) - n, "> ");
  if (stop_at_chunk) assert_int_equal(uvws_read_stop(ws), 0);
}

static uvws_events_t chunk_events; /* peer_events and `chunk` */
static bool in_chunks;

static void init_chunks(peer_t* peer) {
  chunk_events = peer_events;
  chunk_events.chunk = on_chunk;
  if (in_chunks)
    assert_int_equal(uvws_init(test_loop, &peer->ws, &chunk_events), 0);
}

static void (*at_open)(peer_t* peer);

static void on_accept(server_t* server, peer_t* peer) {
  (void)server;
  init_chunks(peer);
  peer->on_open = at_open;
}

static void turns(int n) {
  while (n-- > 0) uv_run(test_loop, UV_RUN_NOWAIT);
}

/* Limits for both roles: 0 is the default. */
static void open_limited(const bool* is_server, raw_then_t then,
                         uint64_t max_message, uint64_t high_water) {
  uvws_options_t options;
  uvws_server_options_t server_options;
  uvws_options_init(&options);
  uvws_server_options_init(&server_options);
  if (max_message > 0)
    options.max_message = server_options.max_message = max_message;
  if (high_water > 0) {
    options.high_water = server_options.high_water = high_water;
    options.low_water = server_options.low_water = high_water / 4;
  }
  memset(&conn, 0, sizeof(conn));
  chunks[0] = '\0';
  n_chunks = 0;
  conn.is_server = *is_server;
  conn.raw.then = then;
  if (conn.is_server) {
    server_start(&conn.server, &server_options);
    conn.server.stop_after = 1;
    conn.server.on_accept = on_accept;
    conn.peer = &conn.server.peers[0];
    raw_dial(&conn.raw, conn.server.port);
  } else {
    conn.peer = &conn.client;
    raw_serve(&conn.raw);
    peer_init(&conn.client);
    init_chunks(&conn.client);
    conn.client.on_open = at_open;
    peer_connect(&conn.client, conn.raw.port, &options);
  }
  test_run_until(&conn.peer->opened);
  while (!conn.raw.upgraded) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(uv_tcp_nodelay(&conn.raw.tcp, 1), 0); /* pieces are many */
}

static void open_conn(const bool* is_server) {
  open_limited(is_server, RAW_STAY, 0, 0);
}

static void end_conn(void) {
  if (!conn.peer->closed) uvws_terminate(&conn.peer->ws);
  raw_close(&conn.raw);
  test_run();
  raw_free(&conn.raw);
}

static uint64_t received(void) {
  uvws_stats_t stats;
  uvws_stats(&conn.peer->ws, &stats);
  return stats.bytes_received;
}

/* The bytes are sent, and have been read by the socket. */
static void deliver(const uint8_t* bytes, size_t len) {
  uint64_t wanted = received() + len;
  raw_send(&conn.raw, bytes, len);
  while (received() < wanted) uv_run(test_loop, UV_RUN_ONCE);
}

static size_t add_frame(uint8_t* out, unsigned first_byte, const char* text) {
  return make_frame(out, first_byte, text, strlen(text), conn.is_server);
}

/* The frames that the raw peer got, "1(ab) 0+(c)", with a plus for FIN; long
 * payloads as their length. All payloads of data one behind the other go into
 * `payload`, which may be NULL. */
static const char* frames(char* payload) {
  static char log[1024];
  uvws__parser_t parser;
  uvws__failure_t failure;
  uvws__parsed_t parsed;
  uint8_t* part;
  size_t len, n = 0;
  char* head = strstr(conn.raw.in, "\r\n\r\n") + 4;
  size_t left = conn.raw.in_len - (size_t)(head - conn.raw.in);
  uint8_t* copy = malloc(left + 1);
  uint8_t* at = copy;
  assert_non_null(copy);
  memcpy(copy, head, left);
  log[0] = '\0';
  uvws__parser_init(&parser, conn.is_server ? UVWS__CLIENT : UVWS__SERVER);
  while ((parsed = uvws__parse(&parser, &at, &left, &part, &len, &failure)) !=
         UVWS__PARSED_MORE) {
    assert_int_not_equal(parsed, UVWS__PARSED_FAILED);
    if (parsed == UVWS__PARSED_PAYLOAD) uvws__unmask(&parser, part, len);
    if (parsed == UVWS__PARSED_HEADER || parser.remaining > 0) continue;
    if (n > sizeof(log) - 64) n = 0; /* nobody looks at so many */
    n += (size_t)snprintf(log + n, sizeof(log) - n, "%s%x%s(", n > 0 ? " " : "",
                          parser.opcode, parser.fin ? "+" : "");
    n += len <= 20 ? (size_t)snprintf(log + n, sizeof(log) - n, "%.*s)",
                                      (int)len, (const char*)part)
                   : (size_t)snprintf(log + n, sizeof(log) - n, "%zu)", len);
    if (payload != NULL && parser.opcode < UVWS__OP_CLOSE) {
      memcpy(payload, part, len);
      payload += len;
    }
  }
  free(copy);
  return log;
}

/* Until the raw peer has so many bytes behind the head. */
static void await_bytes(size_t len) {
  char* head = strstr(conn.raw.in, "\r\n\r\n") + 4;
  size_t wanted = (size_t)(head - conn.raw.in) + len;
  while (conn.raw.in_len < wanted) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(conn.raw.in_len, wanted);
}

static size_t mask(void) {
  return conn.is_server ? 0 : 4;
}

/* ---- sending in parts ---- */

static void test_parts_on_the_wire(void** state) {
  static char large[70000];
  static char payload[80000];
  memset(large, 'x', sizeof(large));
  open_conn(*state);
  uvws_t* ws = &conn.peer->ws;
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  assert_int_equal(uvws_end(ws, "whole", 5), 0);
  assert_int_equal(uvws_begin(ws, UVWS_BINARY), 0);
  assert_int_equal(uvws_end(ws, NULL, 0), 0);
  assert_int_equal(uvws_begin(ws, UVWS_BINARY), 0);
  assert_int_equal(uvws_continue(ws, large, sizeof(large)), 0);
  assert_int_equal(uvws_ping(ws, "p", 1), 0);
  assert_int_equal(uvws_end(ws, "end", 3), 0);
  await_bytes(4 * (2 + mask()) + 5 + 1 + 3 + 10 + mask() + sizeof(large));
  assert_string_equal(frames(payload), "1+(whole) 2+() 2(70000) 9+(p) 0+(end)");
  assert_memory_equal(payload, "whole", 5);
  assert_memory_equal(payload + 5, large, sizeof(large));
  end_conn();
}

static void test_a_wrong_part_changes_nothing(void** state) {
  open_conn(*state);
  uvws_t* ws = &conn.peer->ws;
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  assert_int_equal(uvws_continue(ws, "a\xf0\x9f", 3), 0);
  uint64_t queued = uvws_queue_size(ws);
  assert_int_equal(uvws_continue(ws, "\x98x", 2), UVWS_EUTF8);
  assert_int_equal(uvws_end(ws, "\x98", 1), UVWS_EUTF8);
  assert_int_equal(uvws_continue(ws, NULL, 1), UV_EINVAL);
  assert_int_equal(uvws_buffered_amount(ws), 3);
  assert_int_equal(uvws_queue_size(ws), queued);
  assert_int_equal(uvws_end(ws, "\x98\x80", 2), 0);
  assert_int_equal(uvws_end(ws, "x", 1), UVWS_EINVALIDSTATE);
  await_bytes(2 * (2 + mask()) + 5);
  assert_string_equal(frames(NULL), "1(a\xf0\x9f) 0+(\x98\x80)");
  assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
  assert_int_equal(uvws_continue(ws, "z", 1), 0);
  assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  uint64_t amount = uvws_buffered_amount(ws);
  assert_int_equal(uvws_end(ws, "1234567", 7), UV_ESHUTDOWN);
  assert_int_equal(uvws_buffered_amount(ws), amount + 7);
  end_conn();
}

/* ---- sources ---- */

enum { SOURCE_LEN = 3000000 };

static struct {
  size_t done;
  unsigned calls;
  bool close;
  bool over; /* its socket's `close` has come */
} source;

static char source_byte(size_t at) {
  return (char)(at * 2654435761u >> 13);
}

static ssize_t long_source(uvws_t* ws, void* buf, size_t len, void* arg) {
  (void)arg;
  assert_false(source.over);
  assert_false(uvws_needs_drain(ws));
  source.calls++;
  if (source.close) assert_int_equal(uvws_close(ws, 1000, NULL, 0), 0);
  if (len > SOURCE_LEN - source.done) len = SOURCE_LEN - source.done;
  if (source.calls % 2 == 0 && len > 1) len /= 2; /* less is not the end */
  for (size_t i = 0; i < len; i++)
    ((char*)buf)[i] = source_byte(source.done + i);
  source.done += len;
  return (ssize_t)len;
}

static unsigned drains;

static void count_drain(peer_t* peer) {
  (void)peer;
  drains++;
}

/* Far more than the kernel's buffers hold would be needed to be sure that they
 * do not take all: so an ordinary message comes first. */
static void test_a_source_stops_at_the_high_water_mark(void** state) {
  static char payload[SOURCE_LEN];
  static char filling[1 << 20];
  const size_t n_filling = 20;
  open_limited(*state, RAW_DEAF, 0, 100000);
  uvws_t* ws = &conn.peer->ws;
  memset(&source, 0, sizeof(source));
  drains = 0;
  conn.peer->on_drain = count_drain;
  for (size_t i = 0; i < n_filling; i++)
    assert_int_equal(uvws_send(ws, filling, sizeof(filling), UVWS_BINARY), 0);
  assert_int_equal(uvws_send_source(ws, UVWS_BINARY, long_source, NULL), 0);
  turns(50);
  assert_true(uvws_needs_drain(ws));
  assert_int_equal(source.calls, 0);
  assert_int_equal(drains, 0);
  raw_listen_up(&conn.raw);
  while (source.done < SOURCE_LEN) uv_run(test_loop, UV_RUN_ONCE);
  assert_true(drains > 0);
  /* The end frame is empty, and behind all else. */
  while (uvws_queue_size(ws) > 0 || uvws_begin(ws, UVWS_BINARY) != 0)
    uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(uvws_end(ws, "end", 3), 0);
  for (const char* end = "";
       conn.raw.in_len < n_filling * sizeof(filling) + SOURCE_LEN ||
       (end = frames(NULL), strstr(end, "2+(end)") == NULL);)
    uv_run(test_loop, UV_RUN_ONCE);
  char* all = malloc(n_filling * sizeof(filling) + SOURCE_LEN + 3);
  assert_non_null(all);
  frames(all);
  for (size_t i = 0; i < SOURCE_LEN; i++) payload[i] = source_byte(i);
  assert_memory_equal(all + n_filling * sizeof(filling), payload, SOURCE_LEN);
  free(all);
  end_conn();
}

static void note_over(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  source.over = true;
}

/* What it returns then goes nowhere. */
static void test_closing_inside_a_source(void** state) {
  open_conn(*state);
  memset(&source, 0, sizeof(source));
  source.close = true;
  conn.client.on_close = note_over;
  assert_int_equal(
      uvws_send_source(&conn.peer->ws, UVWS_BINARY, long_source, NULL), 0);
  await_bytes(2 + mask() + 2);
  uvws_send_resume(&conn.peer->ws);
  turns(5);
  assert_int_equal(source.calls, 1);
  assert_string_equal(frames(NULL), "8+(\x03\xe8)");
  end_conn();
}

/* ---- uvws_write() ---- */

static unsigned n_written;
static int write_status;
static uint64_t size_when_written;

static void on_written(uvws_write_t* req, int status) {
  n_written++;
  write_status = status;
  size_when_written = uvws_queue_size(req->ws);
}

static void test_a_large_write_of_several_buffers(void** state) {
  static char first[33333], second[50001], before[33333];
  static char all[33333 + 50001 + 1];
  uvws_write_t req;
  uv_buf_t bufs[] = {
      {first, sizeof(first)}, {NULL, 0}, {second, sizeof(second)}, {"!", 1}};
  for (size_t i = 0; i < sizeof(first); i++) first[i] = source_byte(i);
  memset(second, 's', sizeof(second));
  memcpy(before, first, sizeof(first));
  open_conn(*state);
  n_written = 0;
  assert_int_equal(
      uvws_write(&req, &conn.peer->ws, bufs, 4, UVWS_BINARY, on_written), 0);
  memset(bufs, 0, sizeof(bufs)); /* these need not stay */
  assert_int_equal(n_written, 0);
  await_bytes(10 + mask() + sizeof(all));
  while (n_written == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(write_status, 0);
  assert_int_equal(size_when_written, 0);
  assert_string_equal(frames(all), "2+(83335)");
  assert_memory_equal(all, before, sizeof(before));
  assert_memory_equal(all + sizeof(first), second, sizeof(second));
  assert_int_equal(all[sizeof(all) - 1], '!');
  assert_memory_equal(first, before, sizeof(first)); /* not masked in place */
  turns(3);
  assert_int_equal(n_written, 1);
  end_conn();
}

static void test_a_write_waits_for_the_kernel(void** state) {
  const size_t len = 30000000;
  char* large = calloc(1, len);
  uvws_write_t req;
  uv_buf_t buf = {large, len};
  assert_non_null(large);
  open_limited(*state, RAW_DEAF, 0, 0);
  n_written = 0;
  assert_int_equal(
      uvws_write(&req, &conn.peer->ws, &buf, 1, UVWS_BINARY, on_written), 0);
  turns(50);
  assert_true(uvws_queue_size(&conn.peer->ws) > 0);
  assert_int_equal(n_written, 0);
  raw_listen_up(&conn.raw);
  while (n_written == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(write_status, 0);
  assert_int_equal(size_when_written, 0);
  end_conn();
  free(large);
}

/* ---- receiving in chunks ---- */

/* Two texts of which one is cut inside characters, with a ping in the midst, an
 * empty message, a binary one. */
static size_t make_script(uint8_t* out) {
  size_t n = add_frame(out, 0x01, "a\xc3\xa9\xe2\x82");
  n += add_frame(out + n, 0x89, "p");
  n += add_frame(out + n, 0x00, "");
  n += add_frame(out + n, 0x80, "\xac\xf0\x9f\x98\x80z");
  n += add_frame(out + n, 0x82, "");
  n += add_frame(out + n, 0x82, "\xfe\xff");
  return n;
}

static const char script_chunks[] =
    "t<a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z> b<> b<\xfe\xff> ";

static void test_chunks_whatever_the_cuts(void** state) {
  uint8_t script[128];
  in_chunks = true;
  open_conn(*state);
  size_t len = make_script(script);
  for (size_t cut = 1; cut < len; cut++) {
    chunks[0] = '\0';
    deliver(script, cut);
    deliver(script + cut, len - cut);
    assert_string_equal(chunks, script_chunks);
  }
  chunks[0] = '\0';
  for (size_t i = 0; i < len; i++) deliver(script + i, 1);
  assert_string_equal(chunks, script_chunks);
  assert_int_equal(conn.peer->messages, 0);
  end_conn();
}

/* The rest of the frame never comes. */
static void test_wrong_text_fails_at_once(void** state) {
  uint8_t frame[128];
  char text[100];
  in_chunks = true;
  open_conn(*state);
  memset(text, 'a', sizeof(text));
  text[20] = '\xff';
  size_t len = make_frame(frame, 0x81, text, sizeof(text), conn.is_server);
  size_t header = len - sizeof(text);
  deliver(frame, header + 10);
  assert_string_equal(chunks, "t<aaaaaaaaaa");
  raw_send(&conn.raw, frame + header + 10, 11);
  while (raw_close_code(&conn.raw) == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(raw_close_code(&conn.raw), 1007);
  assert_int_equal(n_chunks, 1);
  end_conn();
}

static void test_chunks_are_bounded_too(void** state) {
  uint8_t script[64];
  in_chunks = true;
  open_limited(*state, RAW_STAY, 10, 0);
  size_t len = add_frame(script, 0x82, "0123456789");
  len += add_frame(script + len, 0x02, "abcdef");
  len += add_frame(script + len, 0x80, "ghijk");
  raw_send(&conn.raw, script, len);
  while (raw_close_code(&conn.raw) == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(raw_close_code(&conn.raw), 1009);
  assert_string_equal(chunks, "b<0123456789> b<abcdef");
  end_conn();
}

static void test_stopping_at_each_chunk(void** state) {
  uint8_t script[128];
  in_chunks = stop_at_chunk = true;
  open_conn(*state);
  size_t len = make_script(script);
  deliver(script, len);
  for (unsigned n = 1; n <= 4; n++) {
    turns(5);
    assert_int_equal(n_chunks, n);
    assert_int_equal(uvws_read_start(&conn.peer->ws), 0);
    assert_int_equal(n_chunks, n);
  }
  assert_string_equal(chunks, script_chunks);
  end_conn();
}

/* ---- reading that stops ---- */

static void stop_peer(peer_t* peer) {
  assert_int_equal(uvws_read_stop(&peer->ws), 0);
}

/* On the client role the script comes right behind the head. */
static void test_stopping_in_open_and_ping(void** state) {
  uint8_t script[64];
  at_open = stop_peer;
  open_conn(*state);
  conn.peer->on_ping = stop_peer;
  size_t len = add_frame(script, 0x81, "1");
  len += add_frame(script + len, 0x89, "p");
  len += add_frame(script + len, 0x81, "2");
  raw_send(&conn.raw, script, len);
  turns(20);
  assert_string_equal(conn.peer->log, "open");
  assert_int_equal(uvws_read_start(&conn.peer->ws), 0);
  while (received() < len) uv_run(test_loop, UV_RUN_ONCE);
  turns(5);
  assert_string_equal(conn.peer->log, "open text(1) ping(p)");
  assert_int_equal(uvws_read_start(&conn.peer->ws), 0);
  while (conn.peer->messages < 2) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(conn.peer->log, "open text(1) ping(p) text(2)");
  end_conn();
}

/* Before the connection is open there is nothing to read but the head. */
static void test_stopping_before_open(void** state) {
  uint8_t frame[16];
  memset(&conn, 0, sizeof(conn));
  (void)state;
  conn.peer = &conn.client;
  raw_serve(&conn.raw);
  peer_init(&conn.client);
  peer_connect(&conn.client, conn.raw.port, NULL);
  assert_int_equal(uvws_read_stop(&conn.client.ws), 0);
  test_run_until(&conn.client.opened);
  size_t len = add_frame(frame, 0x81, "1");
  raw_send(&conn.raw, frame, len);
  turns(20);
  assert_int_equal(received(), 0);
  assert_int_equal(uvws_read_start(&conn.client.ws), 0);
  while (conn.client.messages == 0) uv_run(test_loop, UV_RUN_ONCE);
  assert_string_equal(conn.client.log, "open text(1)");
  end_conn();
}

/* More than any kernel buffers between two sockets: the writer is held back,
 * and nothing is lost. */
static void test_stopping_reaches_the_writer(void** state) {
  static char large[1000000];
  const unsigned n = 40;
  server_t* server = &conn.server;
  (void)state;
  memset(&conn, 0, sizeof(conn));
  server_start(server, NULL);
  server->stop_after = 1;
  peer_init(&conn.client);
  peer_connect(&conn.client, server->port, NULL);
  test_run_until(&conn.client.opened);
  while (!server->peers[0].opened) uv_run(test_loop, UV_RUN_ONCE);
  uvws_t* writer = &conn.client.ws;
  assert_int_equal(uvws_read_stop(&server->peers[0].ws), 0);
  for (unsigned i = 0; i < n; i++)
    assert_int_equal(uvws_send(writer, large, sizeof(large), UVWS_BINARY), 0);
  turns(200);
  assert_true(uvws_queue_size(writer) > 0);
  assert_int_equal(server->peers[0].messages, 0);
  assert_int_equal(uvws_read_start(&server->peers[0].ws), 0);
  while (server->peers[0].messages < n) uv_run(test_loop, UV_RUN_ONCE);
  assert_int_equal(server->peers[0].bytes, n * sizeof(large));
  assert_int_equal(uvws_queue_size(writer), 0);
  peer_close(&conn.client);
  test_run();
}

static void answer_close(raw_t* raw) {
  uint8_t answer[16];
  if (raw_close_code(raw) == 0) return;
  raw->on_data = NULL;
  raw_send(raw, answer,
           make_frame(answer, 0x88, "\x03\xe8", 2, conn.is_server));
  if (!conn.is_server)
    uv_shutdown(&raw->shutdown, (uv_stream_t*)&raw->tcp, NULL);
}

/* All in one turn: the end must be seen, and what was held is let go. */
static void test_closing_right_after_reading_goes_on(void** state) {
  open_conn(*state);
  conn.raw.on_data = answer_close;
  assert_int_equal(uvws_read_stop(&conn.peer->ws), 0);
  turns(3);
  assert_int_equal(uvws_read_start(&conn.peer->ws), 0);
  peer_close(conn.peer);
  test_run_until(&conn.peer->closed);
  assert_string_equal(conn.peer->log, "open close(1000 clean)");
  end_conn();
}

/* ---- counters ---- */

static uvws_stats_t at_close;

static void note_stats(peer_t* peer, const uvws_close_event_t* event) {
  (void)event;
  uvws_stats(&peer->ws, &at_close);
}

static void test_a_refused_upgrade_counts_nothing(void** state) {
  uvws_stats_t zeros;
  (void)state;
  memset(&conn, 0, sizeof(conn));
  memset(&zeros, 0, sizeof(zeros));
  memset(&at_close, 0xFF, sizeof(at_close));
  conn.peer = &conn.client;
  conn.raw.head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello";
  raw_serve(&conn.raw);
  peer_init(&conn.client);
  conn.client.on_close = note_stats;
  peer_connect(&conn.client, conn.raw.port, NULL);
  test_run_until(&conn.client.closed);
  assert_memory_equal(&at_close, &zeros, sizeof(zeros));
  end_conn();
}

/* A reset that only writing can see: what was dropped was never sent. */
static void test_what_is_lost_was_not_sent(void** state) {
  static char large[1000000];
  const bool client = false;
  uvws_stats_t before;
  (void)state;
  open_limited(&client, RAW_DEAF, 0, 0);
  uvws_t* ws = &conn.client.ws;
  conn.client.on_close = note_stats;
  assert_int_equal(uvws_read_stop(ws), 0);
  for (int i = 0; i < 30; i++)
    assert_int_equal(uvws_send(ws, large, sizeof(large), UVWS_BINARY), 0);
  turns(50);
  uvws_stats(ws, &before);
  assert_true(before.queue_size > 0);
  assert_int_equal(before.bytes_sent + before.queue_size, 30 * 1000014);
  raw_reset(&conn.raw);
  while (uvws_queue_size(ws) > 0) uv_run(test_loop, UV_RUN_ONCE);
  turns(2);
  assert_int_not_equal(uvws_send(ws, "x", 1, UVWS_TEXT), 0);
  assert_int_not_equal(uvws_begin(ws, UVWS_TEXT), 0);
  uvws_terminate(ws);
  test_run_until(&conn.client.closed);
  assert_int_equal(at_close.bytes_sent, before.bytes_sent);
  end_conn();
}

/* The server keeps the loop's sums while its sockets come and go. */
static void test_the_loop_remembers(void** state) {
  uvws_stats_t stats;
  (void)state;
  memset(&conn, 0, sizeof(conn));
  server_start(&conn.server, NULL);
  conn.server.echo = true;
  for (unsigned n = 1; n <= 2; n++) {
    peer_init(&conn.client);
    peer_connect(&conn.client, conn.server.port, NULL);
    test_run_until(&conn.client.opened);
    assert_int_equal(uvws_send(&conn.client.ws, "hello", 5, UVWS_TEXT), 0);
    while (conn.client.messages == 0) uv_run(test_loop, UV_RUN_ONCE);
    peer_close(&conn.client);
    while (!conn.client.closed || conn.server.gone < n)
      uv_run(test_loop, UV_RUN_ONCE);
    uvws_loop_stats(test_loop, &stats);
    assert_int_equal(stats.sockets, 0);
    assert_int_equal(stats.messages_sent, 2 * n);
    assert_int_equal(stats.messages_received, 2 * n);
    assert_int_equal(stats.frames_sent, 4 * n);
    assert_int_equal(stats.frames_received, 4 * n);
    /* Masked and not: "hello" and a close frame each. */
    assert_int_equal(stats.bytes_sent, (11 + 8 + 7 + 4) * n);
    assert_int_equal(stats.bytes_received, (11 + 8 + 7 + 4) * n);
  }
  uvws_server_close(&conn.server.server, 0);
  test_run();
  uvws_loop_stats(test_loop, &stats);
  assert_int_equal(stats.bytes_sent, 0);
}

static int setup(void** state) {
  void* none = NULL;
  (void)state; /* stays the role */
  in_chunks = stop_at_chunk = false;
  at_open = NULL;
  alarm(60); /* what a test waits for may never come */
  return test_loop_setup(&none);
}

static int teardown(void** state) {
  alarm(0);
  return test_loop_teardown(state);
}

static bool roles[] = {false, true};

#define ROLE(test, role, name) \
  { #test name, test, setup, teardown, &roles[role] }
#define BOTH_ROLES(test) ROLE(test, 0, " (client)"), ROLE(test, 1, " (server)")

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_ROLES(test_parts_on_the_wire),
      BOTH_ROLES(test_a_wrong_part_changes_nothing),
      BOTH_ROLES(test_a_source_stops_at_the_high_water_mark),
      BOTH_ROLES(test_closing_inside_a_source),
      BOTH_ROLES(test_a_large_write_of_several_buffers),
      BOTH_ROLES(test_a_write_waits_for_the_kernel),
      BOTH_ROLES(test_chunks_whatever_the_cuts),
      BOTH_ROLES(test_wrong_text_fails_at_once),
      BOTH_ROLES(test_chunks_are_bounded_too),
      BOTH_ROLES(test_stopping_at_each_chunk),
      BOTH_ROLES(test_stopping_in_open_and_ping),
      ROLE(test_stopping_before_open, 0, ""),
      ROLE(test_stopping_reaches_the_writer, 0, ""),
      BOTH_ROLES(test_closing_right_after_reading_goes_on),
      ROLE(test_a_refused_upgrade_counts_nothing, 0, ""),
      ROLE(test_what_is_lost_was_not_sent, 0, ""),
      ROLE(test_the_loop_remembers, 0, ""),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
