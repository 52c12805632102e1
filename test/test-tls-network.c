#include "tls-peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A network that cuts and damages what passes, at every byte of the handshake
 * and behind it: each end is told once, and nothing stays. */

/* ---- a network that cuts ---- */

static relay_t relay;
static tls_server_t server;
static uvws_tls_t* client_tls;

static void cut_start(uint32_t version, uint32_t handshake_timeout) {
  uvws_server_options_t options;
  uvws_tls_options_t tls_options;
  uvws_server_options_init(&options);
  options.handshake_timeout = options.close_timeout = handshake_timeout;
  uvws_tls_options_init(&tls_options);
  tls_options.ca_file = tls_file("ca.crt");
  tls_options.flags = UVWS_TLS_NO_RESUMPTION;
  tls_options.max_version = version;
  client_tls = tls_new(&tls_options);
  tls_server_start(&server, tls_server_config("address.crt", NULL), &options);
  relay_start(&relay, server.server.port);
}

static void cut_stop(void) {
  tls_server_quiet(&server);
  relay_stop(&relay);
  tls_server_stop(&server);
  uvws_tls_unref(client_tls);
}

/* One connection through the relay, to its end; a client that opens closes. */
static void cut(peer_t* peer, tls_seen_t* seen, unsigned from, uint64_t at,
                relay_then_t then, uint32_t handshake_timeout) {
  uvws_options_t options;
  uvws_options_init(&options);
  options.handshake_timeout = handshake_timeout;
  options.tls = client_tls;
  relay_set(&relay, from, at, then);
  server.errors[0] = '\0';
  tls_peer_init(peer, seen);
  peer->on_open = peer_close;
  tls_connect_with(peer, relay.port, NULL, &options);
  tls_run_until_closed(peer);
  tls_server_quiet(&server);
}

static uint64_t came[2];

static void measure(peer_t* peer) {
  came[RELAY_CLIENT] = relay.ends[RELAY_CLIENT].came;
  came[RELAY_SERVER] = relay.ends[RELAY_SERVER].came;
  peer_close(peer);
}

/* How many bytes come from each end until the client is open. */
static void measure_handshake(void) {
  tls_seen_t seen;
  peer_t peer;
  relay_set(&relay, RELAY_CLIENT, 0, RELAY_PASS);
  tls_peer_init(&peer, &seen);
  peer.on_open = measure;
  tls_connect(&peer, relay.port, NULL, client_tls);
  tls_run_until_closed(&peer);
  assert_string_equal(peer.log, "open close(1000 clean)");
  print_message("the client sends %d bytes, the server %d\n",
                (int)came[RELAY_CLIENT], (int)came[RELAY_SERVER]);
  assert_true(came[RELAY_CLIENT] > 300 && came[RELAY_SERVER] > 500);
}

/* Valgrind takes its time. */
static unsigned stride(void) {
  const char* preload = getenv("LD_PRELOAD");
  return preload != NULL && strstr(preload, "valgrind") != NULL ? 37 : 1;
}

static void check_cut(const peer_t* peer, int status) {
  char log[96];
  snprintf(log, sizeof(log), "error(%s) close(1006)", uvws_err_name(status));
  if (strcmp(peer->log, log) != 0)
    print_error("after %d bytes of %s\n", (int)relay.at,
                relay.from == RELAY_CLIENT ? "the client" : "the server");
  assert_string_equal(peer->log, log);
  assert_string_equal(server.errors, "");
  assert_int_equal(server.server.accepted, server.server.gone);
}

/* A reset right behind some bytes is, for libuv, the end. */
static int status_of_cut(const peer_t* peer, relay_then_t then) {
  if (then != RELAY_RESET) return UV_EOF;
  return peer->status == UV_EOF ? UV_EOF : UV_ECONNRESET;
}

/* Signatures differ in length by a few bytes, and records of TLS 1.3 by what
 * mbedTLS fills them up to: sixteen. */
enum { SPREAD = 24 };

static void cut_everywhere(uint32_t version, relay_then_t then, unsigned step) {
  cut_start(version, 10000);
  measure_handshake();
  for (unsigned from = 0; from < 2; from++)
    for (uint64_t at = 0; at + SPREAD < came[from]; at += step) {
      tls_seen_t seen;
      peer_t peer;
      cut(&peer, &seen, from, at, then, 10000);
      check_cut(&peer, status_of_cut(&peer, then));
      if (then == RELAY_END)
        assert_non_null(strstr(peer.reason, "connection closed during the "));
    }
  cut_stop();
}

static void test_cut_at_every_byte_in_tls_1_2(void** state) {
  (void)state;
  cut_everywhere(UVWS_TLS_1_2, RELAY_END, stride());
}

static void test_cut_at_every_byte_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  cut_everywhere(UVWS_TLS_1_3, RELAY_END, stride());
}

static void test_reset_at_many_bytes(void** state) {
  (void)state;
  cut_everywhere(0, RELAY_RESET, 11 * stride());
}

/* Only one direction ends; the other one is still passed on. */
static void test_half_closed_at_many_bytes(void** state) {
  (void)state;
  cut_start(0, 10000);
  measure_handshake();
  for (unsigned from = 0; from < 2; from++)
    for (uint64_t at = 0; at + SPREAD < came[from]; at += 11 * stride()) {
      tls_seen_t seen;
      peer_t peer;
      cut(&peer, &seen, from, at, RELAY_HALF, 10000);
      check_cut(&peer, UV_EOF);
    }
  cut_stop();
}

static void test_stalled_at_some_bytes(void** state) {
  (void)state;
  cut_start(0, 20);
  for (unsigned from = 0; from < 2; from++)
    for (uint64_t at = 0; at < 300; at += 60) {
      tls_seen_t seen;
      peer_t peer;
      cut(&peer, &seen, from, at, RELAY_STALL, 20);
      /* Whose deadline passes first is open, and whether the server's own was
       * still the one of its handshake. */
      assert_true(peer.status == UVWS_ETIMEOUT || peer.status == UV_EOF);
      assert_true(server.errors[0] == '\0' ||
                  strcmp(server.errors, "UVWS_ETIMEOUT") == 0);
      server.errors[0] = '\0';
      check_cut(&peer, peer.status);
    }
  cut_stop();
}

/* ---- a network that damages ---- */

/* Nothing in a record's header is protected while there are no keys, and of its
 * version nobody should make anything (RFC 8446, 5.1). */
static bool is_version(const relay_end_t* end, uint64_t at) {
  uint64_t header = 0;
  while (header + 5 <= end->came && header + 5 <= sizeof(end->begin)) {
    if (at == header + 1 || at == header + 2) return true;
    if (at < header + 5) return false;
    header +=
        5 + (uint64_t)(end->begin[header + 3] << 8) + end->begin[header + 4];
  }
  return false;
}

static void flip(unsigned from, uint64_t at) {
  tls_seen_t seen;
  peer_t peer;
  relay.bit = (unsigned)at % 8;
  /* A busy machine may need more time to come so far. */
  for (uint32_t ms = 250; ms <= 16000; ms *= 4) {
    cut(&peer, &seen, from, at, RELAY_FLIP, ms);
    if (relay.done) break;
  }
  assert_true(relay.done);
  if (strcmp(peer.log, "open close(1000 clean)") == 0) {
    assert_true(is_version(&relay.ends[from], at));
    return;
  }
  char log[96];
  snprintf(log, sizeof(log), "error(%s) close(1006)",
           uvws_err_name(peer.status));
  assert_string_equal(peer.log, log);
  assert_true(peer.status == UVWS_ETLS || peer.status == UVWS_ECERT ||
              peer.status == UVWS_ETIMEOUT || peer.status == UV_EOF);
  assert_int_equal(server.server.accepted, server.server.gone);
}

static void flip_everywhere(uint32_t version) {
  cut_start(version, 250);
  measure_handshake();
  for (unsigned from = 0; from < 2; from++)
    for (uint64_t at = from; at + SPREAD < came[from]; at += 5 * stride())
      flip(from, at);
  cut_stop();
}

static void test_one_wrong_bit_in_tls_1_2(void** state) {
  (void)state;
  flip_everywhere(UVWS_TLS_1_2);
}

static void test_one_wrong_bit_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  flip_everywhere(UVWS_TLS_1_3);
}

/* ---- once it is open ---- */

static struct {
  unsigned from;
  uint64_t more;
  relay_then_t then;
} blow;

static void send_under_the_blow(peer_t* peer) {
  relay_strike(&relay, blow.from, blow.more, blow.then);
  peer_t* sender = blow.from == RELAY_CLIENT ? peer : &server.server.peers[0];
  assert_int_equal(uvws_send(&sender->ws, "hello", 5, UVWS_TEXT), 0);
}

static bool is_closed;

static void note_close(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  is_closed = true;
}

static void check_open(const char* name, unsigned from, uint64_t more,
                       relay_then_t then, const char* client_log,
                       const char* server_log) {
  tls_seen_t seen;
  peer_t peer;
  blow.from = from;
  blow.more = more;
  blow.then = then;
  relay_set(&relay, RELAY_CLIENT, 0, RELAY_PASS);
  tls_peer_init(&peer, &seen);
  peer.on_open = send_under_the_blow;
  peer.on_close = note_close;
  tls_connect(&peer, relay.port, NULL, client_tls);
  tls_run_until_closed(&peer);
  tls_server_quiet(&server);
  print_message("%-35s %s; %s\n", name, peer.log, server.server.peers[0].log);
  tls_expect_log(peer.log, client_log, name);
  tls_expect_log(server.server.peers[0].log, server_log, name);
}

#define LOST   "open error(EOF) close(1006)"
#define BROKEN "open error(UVWS_ETLS) close(1006)"

/* A FIN without close_notify is never a clean end. */
static void open_rows(void) {
  check_open("a FIN both ways", RELAY_CLIENT, 0, RELAY_END, LOST, LOST);
  check_open("a FIN to the server", RELAY_CLIENT, 0, RELAY_HALF, LOST, LOST);
  check_open("a FIN to the client", RELAY_SERVER, 0, RELAY_HALF, LOST, LOST);
  check_open("a header cut", RELAY_CLIENT, 3, RELAY_END, LOST, LOST);
  check_open("a record cut", RELAY_CLIENT, 12, RELAY_END, LOST, LOST);
  check_open("a server's record cut", RELAY_SERVER, 12, RELAY_END, LOST, LOST);
  check_open("a reset", RELAY_CLIENT, 0, RELAY_RESET,
             "open error(ECONNRESET) close(1006)",
             "open error(ECONNRESET) close(1006)");
  /* Whoever is at fault is told by an alert. */
  check_open("a wrong bit", RELAY_CLIENT, 8, RELAY_FLIP, BROKEN, BROKEN);
  check_open("a server's wrong bit", RELAY_SERVER, 8, RELAY_FLIP, BROKEN,
             BROKEN);
  check_open("a wrong type", RELAY_CLIENT, 0, RELAY_FLIP, BROKEN, BROKEN);
}

static void test_blows_to_an_open_connection_in_tls_1_2(void** state) {
  (void)state;
  cut_start(UVWS_TLS_1_2, 10000);
  tls_wrong = 0;
  relay.bit = 1;
  open_rows();
  cut_stop();
  assert_int_equal(tls_wrong, 0);
}

static void test_blows_to_an_open_connection_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  cut_start(UVWS_TLS_1_3, 10000);
  tls_wrong = 0;
  relay.bit = 1;
  open_rows();
  cut_stop();
  assert_int_equal(tls_wrong, 0);
}

/* ---- main ---- */

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_cut_at_every_byte_in_tls_1_2),
      TEST(test_cut_at_every_byte_in_tls_1_3),
      TEST(test_reset_at_many_bytes),
      TEST(test_half_closed_at_many_bytes),
      TEST(test_stalled_at_some_bytes),
      TEST(test_one_wrong_bit_in_tls_1_2),
      TEST(test_one_wrong_bit_in_tls_1_3),
      TEST(test_blows_to_an_open_connection_in_tls_1_2),
      TEST(test_blows_to_an_open_connection_in_tls_1_3),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
