#ifndef UVWS_TEST_DEFLATE_PAIR_H_
#define UVWS_TEST_DEFLATE_PAIR_H_

/* A client and a server with permessage-deflate on one loop, each of whose
 * messages must come to the other as it is; memory is counted. For
 * test-deflate-sockets.c and test-deflate-flow.c. */

#include <stdio.h>
#include <string.h>

#include "blob.h"
#include "counting.h"

/* ---- two sockets ---- */

static server_t server;
static peer_t client;
static char text[400000];

static struct {
  const char* data;
  size_t len;
} expected[256];

static unsigned n_expected, n_came;
static bool all_came;

/* What one side sends next must come to the other as it is. */
static const char* expect(const char* data, size_t len) {
  assert_true(n_expected < COUNT_OF(expected));
  expected[n_expected].data = data;
  expected[n_expected++].len = len;
  all_came = false;
  return data;
}

static void check_message(peer_t* peer, const uvws_message_t* message) {
  (void)peer;
  assert_true(n_came < n_expected);
  assert_int_equal(message->len, expected[n_came].len);
  assert_memory_equal(message->data, expected[n_came].data, message->len);
  all_came = ++n_came == n_expected;
}

/* Words that come again. */
static void fill_text(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof(text);) {
    x = x * 1664525 + 1013904223;
    for (uint32_t n = 2 + (x >> 28); n > 0 && i < sizeof(text); n--, i++)
      text[i] = (char)('a' + ((x >> 20) % 128 + n * n) % 26);
  }
}

/* The frames' headers that a side has sent. */
static struct {
  unsigned first_byte;
  uint64_t len;
} frames[1024];

static unsigned n_frames;

static void trace(uvws_t* ws, const uvws_trace_t* event) {
  (void)ws;
  if (event->kind != UVWS_TRACE_FRAME_SENT || n_frames == COUNT_OF(frames))
    return;
  frames[n_frames].first_byte = event->first_byte;
  frames[n_frames++].len = event->len;
}

static uvws_events_t traced_events;
static uint64_t max_memory; /* of the server; 0: the default */

static void trace_accepted(server_t* own, peer_t* peer) {
  (void)own;
  assert_int_equal(uvws_init(test_loop, &peer->ws, &traced_events), 0);
  peer->on_message = check_message;
}

static void pair_start(const uvws_deflate_options_t* of_client,
                       const uvws_deflate_options_t* of_server) {
  static uvws_server_options_t server_options;
  static uvws_options_t options;
  traced_events = peer_events;
  traced_events.trace = trace;
  n_expected = n_came = n_frames = 0;
  fill_text();
  uvws_server_options_init(&server_options);
  uvws_options_init(&options);
  server_options.deflate = of_server;
  if (max_memory > 0) server_options.max_memory = max_memory;
  options.deflate = of_client;
  server_start(&server, &server_options);
  server.stop_after = 1;
  server.on_accept = trace_accepted;
  peer_init(&client);
  assert_int_equal(uvws_init(test_loop, &client.ws, &traced_events), 0);
  client.on_message = check_message;
  peer_connect(&client, server.port, &options);
}

static void pair_open(const uvws_deflate_options_t* of_client,
                      const uvws_deflate_options_t* of_server) {
  pair_start(of_client, of_server);
  test_run_until(&client.opened);
  if (!server.peers[0].opened) test_run_until(&server.peers[0].opened);
}

static void pair_end(void) {
  uvws_terminate(&client.ws);
  test_run();
  assert_int_equal(live, 0);
}

static uvws_deflate_options_t defaults(void) {
  uvws_deflate_options_t options;
  uvws_deflate_options_init(&options);
  return options;
}

static void await_all(void) {
  if (!all_came) test_run_until(&all_came);
  assert_true(all_came);
}

static void send_blob(uvws_t* ws, uvws_blob_t* blob) {
  expect(uvws_blob_data(blob), uvws_blob_size(blob));
  assert_int_equal(uvws_send_blob(ws, blob, UVWS_TEXT), 0);
}

static void send_text(uvws_t* ws, const char* data, size_t len) {
  assert_int_equal(uvws_send(ws, expect(data, len), len, UVWS_TEXT), 0);
}

#endif /* UVWS_TEST_DEFLATE_PAIR_H_ */
