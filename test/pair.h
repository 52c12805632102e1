#ifndef UVWS_TEST_PAIR_H_
#define UVWS_TEST_PAIR_H_

/* A client and a server that answers, on one loop, for test-guest.c and
 * test-turn.c. */

#include "helper.h"

static server_t server;
static peer_t client;
static raw_t raw;

static void pair_start(void) {
  server_start(&server, NULL);
  server.stop_after = 1;
  peer_init(&client);
}

static void pair_open(void) {
  pair_start();
  peer_connect(&client, server.port, NULL);
  test_run_until(&client.opened);
  assert_true(server.peers[0].opened);
}

static void say_hi(peer_t* peer) {
  assert_int_equal(uvws_send(&peer->ws, "hi", 2, UVWS_TEXT), 0);
}

static void close_at_once(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  assert_int_equal(uvws_close(&peer->ws, 1000, NULL, 0), 0);
}

#endif /* UVWS_TEST_PAIR_H_ */
