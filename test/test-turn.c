#include "helper.h"
#include "pair.h"

#include <stdio.h>
#include <string.h>

/* What is sent leaves when the callback, or the turn of the loop, ends: in one
 * write, and without any other event that wakes the loop up. */

/* ---- what libuv is asked to do ---- */

static unsigned tries;  /* uv_try_write() */
static unsigned writes; /* uv_write() on our own handles */
static struct {
  uint8_t bytes[64];
  size_t len;
} tried; /* at last */

int __real_uv_try_write(uv_stream_t* handle, const uv_buf_t bufs[], unsigned n);
int __real_uv_write(uv_write_t* req, uv_stream_t* handle, const uv_buf_t bufs[],
                    unsigned n, uv_write_cb cb);
int __wrap_uv_try_write(uv_stream_t* handle, const uv_buf_t bufs[], unsigned n);
int __wrap_uv_write(uv_write_t* req, uv_stream_t* handle, const uv_buf_t bufs[],
                    unsigned n, uv_write_cb cb);

int __wrap_uv_try_write(uv_stream_t* handle, const uv_buf_t bufs[],
                        unsigned n) {
  tries++;
  tried.len = bufs[0].len < sizeof(tried.bytes) ? bufs[0].len : 0;
  memcpy(tried.bytes, bufs[0].base, tried.len);
  return __real_uv_try_write(handle, bufs, n);
}

int __wrap_uv_write(uv_write_t* req, uv_stream_t* handle, const uv_buf_t bufs[],
                    unsigned n, uv_write_cb cb) {
  if (uvws_owns((uv_handle_t*)handle)) writes++;
  return __real_uv_write(req, handle, bufs, n, cb);
}

/* ---- sleeping, and waking up ---- */

static bool slept;

static void on_slept(uv_timer_t* timer) {
  (void)timer;
  slept = true;
}

static void on_send_timer(uv_timer_t* timer) {
  (void)timer;
  say_hi(&client);
  assert_int_equal(uvws_ping(&client.ws, "p", 1), 0);
}

/* The next event of a loop that slept over the bytes is a timer far away. */
static void test_nothing_sleeps_over_what_a_timer_sent(void** state) {
  uv_timer_t far_away, soon;
  (void)state;
  slept = false;
  pair_open();
  server.peers[0].on_message = close_at_once;
  uv_timer_init(test_loop, &far_away);
  uv_timer_start(&far_away, on_slept, 15000, 0);
  uv_timer_init(test_loop, &soon);
  uv_timer_start(&soon, on_send_timer, 1, 0);
  test_run_until(&client.closed);
  assert_false(slept);
  uv_close((uv_handle_t*)&far_away, NULL);
  uv_close((uv_handle_t*)&soon, NULL);
  test_run();
  assert_string_equal(server.peers[0].log, "open text(hi) close(1000 clean)");
}

/* In a host that calls uv_run(UV_RUN_ONCE), which may block. */
static void test_run_once_does_not_block_over_corked_bytes(void** state) {
  uv_timer_t far_away;
  (void)state;
  slept = false;
  pair_open();
  server.echo = true;
  uv_timer_init(test_loop, &far_away);
  uv_timer_start(&far_away, on_slept, 15000, 0);
  for (int i = 0; i < 20; i++) {
    say_hi(&client);
    uv_run(test_loop, UV_RUN_ONCE);
    assert_int_equal(uvws_queue_size(&client.ws), 0);
  }
  assert_false(slept);
  uv_close((uv_handle_t*)&far_away, NULL);
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
  assert_int_equal(server.peers[0].messages, 20);
}

static void test_a_send_leaves_in_the_next_nowait_run(void** state) {
  (void)state;
  pair_open();
  for (int i = 0; i < 5; i++) {
    tries = writes = 0;
    say_hi(&client);
    say_hi(&client);
    assert_int_equal(tries, 0);
    uv_run(test_loop, UV_RUN_NOWAIT);
    assert_int_equal(tries, 1);
    assert_int_equal(writes, 0);
    assert_int_equal(uvws_queue_size(&client.ws), 0);
    assert_int_equal(uvws_buffered_amount(&client.ws), 0);
  }
  while (server.peers[0].messages < 10) uv_run(test_loop, UV_RUN_NOWAIT);
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
}

/* Zeros look like their mask, which is another for each frame, and one that
 * nobody can foresee: RFC 6455, 5.3. */
static void test_each_small_frame_has_a_mask_of_its_own(void** state) {
  uint8_t last[4] = {0, 0, 0, 0};
  (void)state;
  if (test_has_tls()) return;
  pair_open();
  for (int i = 0; i < 50; i++) {
    assert_int_equal(uvws_send(&client.ws, "\0\0\0\0", 4, UVWS_BINARY), 0);
    uvws_flush(&client.ws);
    assert_int_equal(tried.len, 10);
    assert_memory_equal(tried.bytes, "\x82\x84", 2);
    assert_memory_equal(tried.bytes + 2, tried.bytes + 6, 4);
    assert_memory_not_equal(tried.bytes + 2, last, 4);
    memcpy(last, tried.bytes + 2, 4);
  }
  uvws_close(&client.ws, 1000, NULL, 0);
  test_run();
}

/* ---- one callback, one write ---- */

static unsigned tries_before, writes_before;

static void send_many(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  if (peer->messages == 1) tries_before = tries, writes_before = writes;
  for (int i = 0; i < 20; i++) {
    say_hi(peer);
    assert_int_equal(uvws_send(&peer->ws, "\1\2", 2, UVWS_BINARY), 0);
  }
  assert_int_equal(uvws_ping(&peer->ws, "p", 1), 0);
  assert_int_equal(tries, tries_before);
}

/* Of three messages that came in one segment, and a ping whose answer waits
 * behind theirs. */
static void test_what_one_read_caused_leaves_in_one_write(void** state) {
  uint8_t bytes[64];
  size_t size = 0;
  const uint8_t* payload;
  size_t len;
  (void)state;
  memset(&raw, 0, sizeof(raw));
  server_start(&server, NULL);
  server.stop_after = 1;
  for (int i = 0; i < 3; i++)
    size += make_frame(bytes + size, 0x81, "go", 2, true);
  size += make_frame(bytes + size, 0x89, "x", 1, true);
  raw_dial(&raw, server.port);
  while (!server.peers[0].opened) uv_run(test_loop, UV_RUN_NOWAIT);
  uv_run(test_loop, UV_RUN_NOWAIT);
  server.peers[0].on_message = send_many;
  raw_send(&raw, bytes, size);
  while (server.peers[0].messages < 3) uv_run(test_loop, UV_RUN_NOWAIT);
  /* Not in the next iteration, but when the read callback ended. */
  assert_int_equal(uvws_queue_size(&server.peers[0].ws), 0);
  assert_int_equal(tries, tries_before + 1);
  while (raw_frame(&raw, 123, &payload, &len) < 0)
    uv_run(test_loop, UV_RUN_NOWAIT);
  assert_int_equal(tries, tries_before + 1);
  assert_int_equal(writes, writes_before);
  assert_int_equal(raw_frame(&raw, 123, &payload, &len), 0xA);
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

static void send_as_told(peer_t* peer, const uvws_message_t* message) {
  static const char zeros[32768];
  size_t len = 0;
  for (size_t i = 0; i < message->len; i++)
    len = 10 * len + (size_t)(message->data[i] - '0');
  assert_int_equal(uvws_send(&peer->ws, zeros, len, UVWS_BINARY), 0);
}

/* RFC 6455, 5.5.2: the ping came in the same segment as a message whose answer
 * is around the size from which frames are no longer corked. */
static void test_a_ping_is_answered_whatever_was_sent_before(void** state) {
  static const unsigned sizes[] = {0,     16379, 16380, 16381, 16382,
                                   16383, 16384, 16385, 32768};
  uint8_t bytes[64];
  char text[16];
  const uint8_t* payload;
  size_t len;
  (void)state;
  memset(&raw, 0, sizeof(raw));
  server_start(&server, NULL);
  server.stop_after = 1;
  raw_dial(&raw, server.port);
  while (!server.peers[0].opened) uv_run(test_loop, UV_RUN_NOWAIT);
  server.peers[0].on_message = send_as_told;
  for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
    size_t digits = (size_t)snprintf(text, sizeof(text), "%u", sizes[i]);
    size_t size = make_frame(bytes, 0x81, text, digits, true);
    size += make_frame(bytes + size, 0x89, text, digits, true);
    raw_send(&raw, bytes, size);
    for (int turns = 0;
         turns < 1000 && raw_frame(&raw, 2 * i + 1, &payload, &len) < 0;
         turns++)
      uv_run(test_loop, UV_RUN_NOWAIT);
    assert_int_equal(raw_frame(&raw, 2 * i + 1, &payload, &len), 0xA);
    assert_int_equal(len, digits);
    assert_memory_equal(payload, text, digits);
  }
  raw_close(&raw);
  test_run();
  raw_free(&raw);
}

static void broadcast(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  server_t* from = peer->data;
  for (int round = 0; round < 3; round++)
    for (unsigned i = 0; i < from->accepted; i++) {
      say_hi(&from->peers[i]);
      assert_int_equal(uvws_send(&from->peers[i].ws, "\1", 1, UVWS_BINARY), 0);
    }
  for (unsigned i = 0; i < from->accepted; i++)
    assert_int_equal(uvws_close(&from->peers[i].ws, 1000, NULL, 0), 0);
}

/* The cork is one for all sockets: its bytes go to the right one, in order. */
static void test_sends_to_many_sockets_in_one_callback_arrive(void** state) {
  peer_t clients[8];
  (void)state;
  server_start(&server, NULL);
  server.stop_after = COUNT_OF(clients);
  for (unsigned i = 0; i < COUNT_OF(clients); i++) {
    peer_init(&clients[i]);
    peer_connect(&clients[i], server.port, NULL);
  }
  for (unsigned i = 0; i < COUNT_OF(clients); i++)
    test_run_until(&clients[i].opened);
  server.peers[3].on_message = broadcast;
  for (unsigned i = 0; i < COUNT_OF(clients); i++) say_hi(&clients[i]);
  test_run();
  for (unsigned i = 0; i < COUNT_OF(clients); i++)
    assert_string_equal(clients[i].log,
                        "open text(hi) binary(1) text(hi) binary(1) "
                        "text(hi) binary(1) close(1000 clean)");
}

/* What came is sent on from the read buffer, where it lies: to the right one,
 * in order, and whatever is corked for another. */
static char came[20000];
static unsigned came_back;

static void send_on(peer_t* peer, const uvws_message_t* message) {
  server_t* from = peer->data;
  for (int round = 0; round < 3; round++)
    for (unsigned i = 0; i < from->accepted; i++) {
      uvws_t* ws = &from->peers[i].ws;
      if (round == 1) say_hi(&from->peers[i]);
      for (size_t len = 4096 + i; len <= message->len; len *= 2)
        assert_int_equal(uvws_send(ws, message->data, len, UVWS_BINARY), 0);
    }
  for (unsigned i = 0; i < from->accepted; i++)
    assert_int_equal(uvws_close(&from->peers[i].ws, 1000, NULL, 0), 0);
}

static void compare_with_sent(peer_t* peer, const uvws_message_t* message) {
  (void)peer;
  if (message->type != UVWS_BINARY) return;
  assert_memory_equal(message->data, came, message->len);
  came_back++;
}

static void test_a_message_goes_on_to_many_sockets(void** state) {
  peer_t clients[4];
  (void)state;
  for (size_t i = 0; i < sizeof(came); i++) came[i] = (char)(i * i >> 7);
  came_back = 0;
  server_start(&server, NULL);
  server.stop_after = COUNT_OF(clients);
  for (unsigned i = 0; i < COUNT_OF(clients); i++) {
    peer_init(&clients[i]);
    clients[i].on_message = compare_with_sent;
    peer_connect(&clients[i], server.port, NULL);
    test_run_until(&clients[i].opened);
  }
  while (!server.peers[3].opened) uv_run(test_loop, UV_RUN_NOWAIT);
  server.peers[1].on_message = send_on;
  assert_int_equal(uvws_send(&clients[1].ws, came, sizeof(came), UVWS_BINARY),
                   0);
  test_run();
  for (unsigned i = 0; i < COUNT_OF(clients); i++) {
    char log[400] = "open";
    for (int round = 0; round < 3; round++) {
      if (round == 1) strcat(log, " text(hi)");
      for (size_t len = 4096 + i; len <= sizeof(came); len *= 2)
        snprintf(log + strlen(log), 40, " binary(%u)", (unsigned)len);
    }
    strcat(log, " close(1000 clean)");
    assert_string_equal(clients[i].log, log);
  }
  assert_int_equal(came_back, 36);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_nothing_sleeps_over_what_a_timer_sent),
      TEST(test_run_once_does_not_block_over_corked_bytes),
      TEST(test_each_small_frame_has_a_mask_of_its_own),
      TEST(test_a_send_leaves_in_the_next_nowait_run),
      TEST(test_what_one_read_caused_leaves_in_one_write),
      TEST(test_a_ping_is_answered_whatever_was_sent_before),
      TEST(test_sends_to_many_sockets_in_one_callback_arrive),
      TEST(test_a_message_goes_on_to_many_sockets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
