#include "helper.h"
#include "connection.h"

#include <stdlib.h>
#include <string.h>

/* Rule 10: endings lose nothing. */

/* A frame of 100 MB towards a peer whose limit is 1 MiB: the peer fails the
 * connection while we are still sending, and its close frame arrives because it
 * goes on reading. */
static uint8_t* make_huge(size_t* len, bool mask) {
  size_t payload_len = 100 * 1000 * 1000;
  uint8_t* frame = malloc(payload_len + 14);
  uint8_t* payload = calloc(payload_len, 1);
  assert_non_null(frame);
  assert_non_null(payload);
  *len = make_frame(frame, 0x82, payload, payload_len, mask);
  free(payload);
  return frame;
}

static void test_1009_reaches_a_client_that_is_still_sending(void** state) {
  server_t server;
  raw_t raw = {.then = RAW_STAY};
  uint8_t* huge = make_huge(&raw.len, true);
  (void)state;
  raw.bytes = huge;
  server_start(&server, NULL);
  server.stop_after = 1;
  raw_dial(&raw, server.port);
  test_run();
  assert_string_equal(server.peers[0].log,
                      "open error(UVWS_ETOOBIG) close(1006)");
  assert_int_equal(raw_close_code(&raw), 1009);
  assert_true(raw.saw_eof);
  raw_free(&raw);
  free(huge);
}

static void test_1009_reaches_a_server_that_is_still_sending(void** state) {
  peer_t peer;
  raw_t raw = {.then = RAW_STAY};
  uint8_t* huge = make_huge(&raw.len, false);
  (void)state;
  raw.bytes = huge;
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, NULL);
  test_run();
  assert_string_equal(peer.log, "open error(UVWS_ETOOBIG) close(1006)");
  assert_int_equal(raw_close_code(&raw), 1009);
  assert_true(raw.saw_eof);
  raw_free(&raw);
  free(huge);
}

/* But not for ever: there is a byte cap. */
static void test_discarding_has_a_limit(void** state) {
  uvws_options_t options;
  peer_t peer;
  raw_t raw = {.then = RAW_STAY};
  uint8_t* huge = make_huge(&raw.len, false);
  (void)state;
  raw.bytes = huge;
  uvws_options_init(&options);
  options.max_discard = 1000;
  options.close_timeout = 0; /* so that only the cap can end it */
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, &options);
  test_run();
  assert_string_equal(peer.log, "open error(UVWS_ETOOBIG) close(1006)");
  raw_free(&raw);
  free(huge);
}

/* ---- the last message before a close is never lost ---- */

static uint8_t payload[3 * 1000 * 1000];

static size_t payload_len;

static void send_and_close(peer_t* peer) {
  assert_int_equal(uvws_send(&peer->ws, "first", 5, UVWS_TEXT), 0);
  assert_int_equal(uvws_send(&peer->ws, payload, payload_len, UVWS_BINARY), 0);
  assert_int_equal(uvws_send(&peer->ws, "last", 4, UVWS_TEXT), 0);
  assert_int_equal(uvws_close(&peer->ws, 1000, "bye", 3), 0);
}

static void send_and_close_accepted(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = send_and_close;
}

static const size_t sizes[] = {0, 1, 125, 16384, 65536, 1000000, 3000000};

static void test_what_a_client_sent_before_close_arrives(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    uvws_server_options_t options;
    server_t server;
    peer_t client;
    payload_len = sizes[i];
    uvws_server_options_init(&options);
    options.max_message = sizeof(payload);
    server_start(&server, &options);
    server.stop_after = 1;
    peer_init(&client);
    client.on_open = send_and_close;
    peer_connect(&client, server.port, NULL);
    test_run();
    assert_int_equal(server.peers[0].messages, 3);
    assert_int_equal(server.peers[0].bytes, payload_len + 9);
    assert_non_null(strstr(server.peers[0].log, "text(last) close(1000 clean"));
    assert_string_equal(client.log, "open close(1000 clean)");
    assert_int_equal(uvws_buffered_amount(&client.ws), 0);
  }
}

static void test_what_a_server_sent_before_close_arrives(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    server_t server;
    peer_t client;
    payload_len = sizes[i];
    server_start(&server, NULL);
    server.stop_after = 1;
    server.on_accept = send_and_close_accepted;
    peer_init(&client);
    peer_connect(&client, server.port, NULL);
    test_run();
    assert_int_equal(client.messages, 3);
    assert_int_equal(client.bytes, payload_len + 9);
    assert_non_null(strstr(client.log, "text(last) close(1000 clean bye)"));
    assert_string_equal(server.peers[0].log, "open close(1000 clean)");
  }
}

/* Both close at the same time, with data under way in both directions. */
static void test_a_simultaneous_close_is_clean(void** state) {
  server_t server;
  peer_t client;
  (void)state;
  payload_len = 200000;
  server_start(&server, NULL);
  server.stop_after = 1;
  server.on_accept = send_and_close_accepted;
  peer_init(&client);
  client.on_open = send_and_close;
  peer_connect(&client, server.port, NULL);
  test_run();
  /* Neither is OPEN any more when the other's messages come. */
  assert_string_equal(client.log, "open close(1000 clean bye)");
  assert_string_equal(server.peers[0].log, "open close(1000 clean bye)");
}

/* ---- who closes the TCP connection ---- */

/* This raw server answers the close frame and leaves the FIN to the client,
 * which must not take it: RFC 6455, 7.1.1. The client's patience ends with its
 * deadline; had it said FIN, the server would have seen the end while the
 * client was still waiting. */
typedef struct fin_s {
  raw_t raw;
  peer_t peer;
  bool answered;
  bool fin_came_early;
} fin_t;

static void answer_close(raw_t* raw) {
  fin_t* fin = (fin_t*)raw;
  uint8_t frame[8];
  if (fin->answered || raw_close_code(raw) != 1000) return;
  fin->answered = true;
  raw_send(raw, frame, make_frame(frame, 0x88, "\x03\xe8", 2, false));
}

static void on_fin(raw_t* raw) {
  fin_t* fin = (fin_t*)raw;
  const uvws__conn_t* conn = fin->peer.ws.conn;
  fin->fin_came_early = conn != NULL && conn->state < UVWS__STATE_RELEASING;
}

static void test_the_client_waits_for_the_servers_fin(void** state) {
  fin_t fin = {
      .raw = {.then = RAW_STAY, .on_data = answer_close, .on_end = on_fin}};
  uvws_options_t options;
  (void)state;
  uvws_options_init(&options);
  options.close_timeout = 1000;
  raw_serve(&fin.raw);
  peer_init(&fin.peer);
  fin.peer.on_open = peer_close;
  peer_connect(&fin.peer, fin.raw.port, &options);
  test_run();
  assert_string_equal(fin.peer.log, "open close(1000 clean)");
  assert_true(fin.answered);
  assert_true(fin.raw.closed);
  assert_false(fin.fin_came_early);
  raw_free(&fin.raw);
}

/* A peer that half-closes after its last message gets what we still had. */
static void test_a_half_closed_peer_gets_the_close_frame(void** state) {
  uint8_t bytes[32];
  raw_t raw = {.bytes = bytes, .then = RAW_FIN};
  peer_t peer;
  (void)state;
  raw.len = make_frame(bytes, 0x81, "x", 1, false);
  raw.len += make_frame(bytes + raw.len, 0x88, "\x0f\xa0", 2, false);
  raw_serve(&raw);
  peer_init(&peer);
  peer_connect(&peer, raw.port, NULL);
  test_run();
  assert_string_equal(peer.log, "open text(x) close(4000 clean)");
  assert_int_equal(raw_close_code(&raw), 4000);
  raw_free(&raw);
}

/* Only termination skips the ending. */
static void terminate_with_queue(peer_t* peer) {
  /* More than any socket buffer holds. */
  for (int i = 0; i < 8; i++)
    assert_int_equal(
        uvws_send(&peer->ws, payload, sizeof(payload), UVWS_BINARY), 0);
  uvws_terminate(&peer->ws);
}

static void test_terminate_sends_no_close_frame(void** state) {
  raw_t raw = {.then = RAW_STAY};
  peer_t peer;
  (void)state;
  raw_serve(&raw);
  peer_init(&peer);
  peer.on_open = terminate_with_queue;
  peer_connect(&peer, raw.port, NULL);
  test_run();
  assert_string_equal(peer.log, "open close(1006)");
  assert_int_equal(peer.status, UV_ECANCELED);
  assert_int_equal(raw_close_code(&raw), 0);
  assert_true(uvws_buffered_amount(&peer.ws) > 0);
  raw_free(&raw);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_1009_reaches_a_client_that_is_still_sending),
      TEST(test_1009_reaches_a_server_that_is_still_sending),
      TEST(test_discarding_has_a_limit),
      TEST(test_what_a_client_sent_before_close_arrives),
      TEST(test_what_a_server_sent_before_close_arrives),
      TEST(test_a_simultaneous_close_is_clean),
      TEST(test_the_client_waits_for_the_servers_fin),
      TEST(test_a_half_closed_peer_gets_the_close_frame),
      TEST(test_terminate_sends_no_close_frame),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
