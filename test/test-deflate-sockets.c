#include "deflate-pair.h"

/* permessage-deflate between two sockets: what is agreed on, what is compressed
 * and what becomes of it. */

/* ---- what is agreed on ---- */

static void test_extensions_attribute(void** state) {
  static const struct {
    int server_no, client_no;
    unsigned server_bits, client_bits;
    bool by_server;
    const char* extensions;
  } wishes[] = {
      {0, 0, 0, 0, false, "permessage-deflate"},
      {1, 0, 0, 0, false, "permessage-deflate; server_no_context_takeover"},
      {0, 1, 0, 0, false, "permessage-deflate; client_no_context_takeover"},
      {0, 0, 10, 0, false, "permessage-deflate; server_max_window_bits=10"},
      {0, 0, 0, 9, false, "permessage-deflate; client_max_window_bits=9"},
      {1, 0, 0, 0, true, "permessage-deflate; server_no_context_takeover"},
      {0, 1, 0, 0, true, "permessage-deflate; client_no_context_takeover"},
      {0, 0, 8, 0, true, "permessage-deflate; server_max_window_bits=8"},
      {0, 0, 0, 15, true, "permessage-deflate; client_max_window_bits=15"},
      {1, 1, 11, 12, true,
       "permessage-deflate; server_no_context_takeover;"
       " client_no_context_takeover; server_max_window_bits=11;"
       " client_max_window_bits=12"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(wishes); i++) {
    uvws_deflate_options_t plain = defaults(), wish = defaults();
    wish.server_no_context_takeover = wishes[i].server_no;
    wish.client_no_context_takeover = wishes[i].client_no;
    wish.server_max_window_bits = wishes[i].server_bits;
    wish.client_max_window_bits = wishes[i].client_bits;
    pair_open(wishes[i].by_server ? &plain : &wish,
              wishes[i].by_server ? &wish : &plain);
    assert_string_equal(uvws_extensions(&client.ws), wishes[i].extensions);
    assert_string_equal(uvws_extensions(&server.peers[0].ws),
                        wishes[i].extensions);
    for (int k = 0; k < 3; k++) {
      uvws_send(&client.ws, expect(text + 500 * k, 5000), 5000, UVWS_TEXT);
      await_all();
      uvws_send(&server.peers[0].ws, expect(text + 300 * k, 9000), 9000,
                UVWS_TEXT);
      await_all();
    }
    pair_end();
  }
}

static void test_without_agreement(void** state) {
  uvws_deflate_options_t plain = defaults(), strict = defaults();
  (void)state;
  for (int i = 0; i < 2; i++) {
    pair_open(i == 0 ? &plain : NULL, i == 0 ? NULL : &strict);
    assert_string_equal(uvws_extensions(&client.ws), "");
    assert_string_equal(uvws_extensions(&server.peers[0].ws), "");
    uvws_send(&client.ws, expect(text, 5000), 5000, UVWS_TEXT | UVWS_COMPRESS);
    await_all();
    assert_int_equal(frames[0].first_byte, 0x81);
    assert_int_equal(frames[0].len, 5000);
    pair_end();
  }
}

/* RFC 7692, 5.1: what was not offered fails the connection. */
static void test_answers_that_were_not_offered(void** state) {
  static const struct {
    bool offers;
    const char* line;
  } answers[] = {
      {false, "permessage-deflate"},
      {true, "permessage-deflate; server_max_window_bits"},
      {true, "permessage-deflate; server_max_window_bits=7"},
      {true, "permessage-deflate; client_max_window_bits"},
      {true, "permessage-deflate; server_no_context_takeover=1"},
      {true, "permessage-deflate; x"},
      {true, "permessage-deflate, permessage-deflate"},
      {true, "permessage-deflate, x-other"},
      {true, "x-webkit-deflate-frame"},
  };
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  for (size_t i = 0; i < COUNT_OF(answers); i++) {
    char line[128];
    raw_t raw = {.more = line};
    uvws_options_t options;
    snprintf(line, sizeof(line), "Sec-WebSocket-Extensions: %s\r\n",
             answers[i].line);
    uvws_options_init(&options);
    if (answers[i].offers) options.deflate = &deflate;
    raw_serve(&raw);
    peer_init(&client);
    peer_connect(&client, raw.port, &options);
    test_run();
    assert_string_equal(client.log, "error(UVWS_EUPGRADE) close(1006)");
    raw_free(&raw);
    assert_int_equal(live, 0);
  }
}

static void refuse(uvws_server_t* handle, uvws_request_t* request) {
  (void)handle;
  (void)request;
}

static void test_options_are_checked(void** state) {
  (void)state;
  for (int i = 0; i < 24; i++) {
    uvws_deflate_options_t good = defaults(), bad = defaults();
    uvws_server_options_t server_options;
    uvws_options_t options;
    uvws_server_t handle;
    bool valid = false;
    switch (i) {
      case 0: bad.level = 0; break;
      case 1: bad.level = 10; break;
      case 2: bad.level = -1; break;
      case 3: bad.memory_level = 0; break;
      case 4: bad.memory_level = 10; break;
      case 5: bad.strategy = -1; break;
      case 6: bad.strategy = 5; break;
      case 7: bad.server_max_window_bits = 7; break;
      case 8: bad.server_max_window_bits = 16; break;
      case 9: bad.client_max_window_bits = 7; break;
      case 10: bad.client_max_window_bits = 16; break;
      case 11: bad.client_max_window_bits = 256 + 8; break;
      case 12: bad.server_max_window_bits = 256 + 15; break;
      case 13: bad.server_max_window_bits = 1; break;
      case 14: bad.level = 256 + 6; break;
      case 15: bad.size = 0; break;
      case 16: bad.size = sizeof(size_t); break;
      case 17: bad.memory_level = 256 + 8; break;
      default:
        valid = true;
        bad.level = 1 + i % 9;
        bad.memory_level = 9 - i % 9;
        bad.strategy = i % 5;
        bad.server_max_window_bits = 8 + (unsigned)i % 8;
        bad.client_max_window_bits = 15 - (unsigned)i % 8;
    }
    uvws_options_init(&options);
    uvws_server_options_init(&server_options);
    options.deflate = server_options.deflate = &bad;
    peer_init(&client);
    int status = uvws_connect(&client.ws, "ws://127.0.0.1:1234/", &options);
    assert_int_equal(status, valid ? 0 : UV_EINVAL);
    if (valid) uvws_terminate(&client.ws);
    test_run();
    good.next = &bad;
    options.deflate = &good;
    status = uvws_connect(&client.ws, "ws://127.0.0.1:1234/", &options);
    assert_int_equal(status, valid ? 0 : UV_EINVAL);
    if (valid) uvws_terminate(&client.ws);
    test_run();
    uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT};
    events.request = refuse;
    status = uvws_server_init(test_loop, &handle, &events, &server_options);
    assert_int_equal(status, valid ? 0 : UV_EINVAL);
    if (valid) uvws_server_close(&handle, 0);
    test_run();
    assert_int_equal(live, 0);
  }
}

/* ---- what is compressed ---- */

static void test_threshold_and_flags(void** state) {
  static const struct {
    size_t len;
    unsigned flags;
    bool packed;
  } sends[] = {
      {1023, 0, false},
      {1024, 0, true},
      {100000, 0, true},
      {1024, UVWS_NO_COMPRESS, false},
      {100000, UVWS_NO_COMPRESS, false},
      {200, UVWS_COMPRESS, true},
      {1, UVWS_COMPRESS, false}, /* becomes no smaller */
      {0, UVWS_COMPRESS, false},
      {0, 0, false},
  };
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  pair_open(&deflate, &deflate);
  memset(text, 'x', 200);
  for (int side = 0; side < 2; side++) {
    for (size_t i = 0; i < 2 * COUNT_OF(sends); i++) {
      size_t len = sends[i / 2].len;
      unsigned type = side == 0 ? UVWS_TEXT : UVWS_BINARY;
      uvws_t* ws = side == 0 ? &client.ws : &server.peers[0].ws;
      n_frames = 0;
      expect(text, len);
      if (i % 2 == 0) {
        assert_int_equal(uvws_send(ws, text, len, type | sends[i / 2].flags),
                         0);
      } else {
        uvws_blob_t* blob = uvws_blob_new(text, len);
        assert_int_equal(uvws_send_blob(ws, blob, type | sends[i / 2].flags),
                         0);
        uvws_blob_unref(blob);
      }
      assert_int_equal(n_frames, 1);
      assert_int_equal(frames[0].first_byte,
                       0x80 | type | (sends[i / 2].packed ? 0x40 : 0));
      assert_int_equal(frames[0].len < len, sends[i / 2].packed);
    }
    await_all();
  }
  pair_end();
}

/* ---- parts ---- */

static void test_parts(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  for (int mode = 0; mode < 4; mode++) {
    deflate.server_no_context_takeover = deflate.client_no_context_takeover =
        mode % 2;
    pair_open(&deflate, &deflate);
    uvws_t* ws = mode < 2 ? &client.ws : &server.peers[0].ws;
    for (int i = 0; i < 3; i++) {
      n_frames = 0;
      expect(text, 70007);
      assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
      assert_int_equal(uvws_continue(ws, text, 5), 0);
      assert_int_equal(uvws_continue(ws, NULL, 0), 0);
      assert_int_equal(uvws_ping(ws, "x", 1), 0);
      assert_int_equal(uvws_continue(ws, text + 5, 1), 0);
      assert_int_equal(uvws_continue(ws, text + 6, 70000), 0);
      assert_int_equal(uvws_send(ws, text, 5, UVWS_TEXT), UVWS_EBUSY);
      assert_int_equal(uvws_end(ws, text + 70006, 1), 0);
      assert_int_equal(frames[0].first_byte, 0x41);
      assert_int_equal(frames[1].first_byte, 0x89);
      assert_int_equal(frames[2].first_byte, 0x00);
      assert_int_equal(frames[4].first_byte, 0x80);
      assert_int_equal(n_frames, 5);
      uvws_send(ws, expect(text + 1000, 3000), 3000, UVWS_TEXT);
      /* An empty last part; no part at all; nothing compressed. */
      uvws_begin(ws, UVWS_BINARY);
      uvws_continue(ws, expect(text, 3000), 3000);
      assert_int_equal(uvws_end(ws, NULL, 0), 0);
      uvws_begin(ws, UVWS_BINARY);
      expect(text, 0);
      assert_int_equal(uvws_end(ws, NULL, 0), 0);
      n_frames = 0;
      uvws_begin(ws, UVWS_BINARY | UVWS_NO_COMPRESS);
      uvws_continue(ws, expect(text, 3000), 3000);
      uvws_end(ws, NULL, 0);
      assert_int_equal(frames[0].first_byte, 0x02);
      assert_int_equal(frames[0].len, 3000);
      uvws_send(ws, expect(text + 2000, 3000), 3000, UVWS_TEXT);
      await_all();
    }
    pair_end();
  }
}

static ssize_t read_text(uvws_t* ws, void* buf, size_t len, void* arg) {
  size_t* at = arg;
  size_t n = 300000 - *at < 20011 ? 300000 - *at : 20011;
  (void)ws;
  if (n > len) n = len;
  memcpy(buf, text + *at, n);
  *at += n;
  return (ssize_t)n;
}

static void test_sources(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  pair_open(&deflate, &deflate);
  for (int i = 0; i < 4; i++) {
    size_t at = 0;
    uvws_t* ws = i % 2 == 0 ? &client.ws : &server.peers[0].ws;
    expect(text, 300000);
    n_frames = 0;
    assert_int_equal(uvws_send_source(ws, UVWS_TEXT, read_text, &at), 0);
    await_all();
    assert_int_equal(frames[0].first_byte, 0x41);
    assert_true(frames[0].len < 20011);
    assert_int_equal(frames[n_frames - 1].first_byte, 0x80);
  }
  pair_end();
}

/* ---- blobs ---- */

/* What refers to nothing stands between messages that refer to each other. */
static void test_blobs_between_other_messages(void** state) {
  uvws_deflate_options_t deflate = defaults();
  (void)state;
  for (int mode = 0; mode < 4; mode++) {
    deflate.server_no_context_takeover = deflate.client_no_context_takeover =
        mode % 2;
    pair_open(&deflate, &deflate);
    uvws_t* ws = mode < 2 ? &client.ws : &server.peers[0].ws;
    uvws_blob_t* small = uvws_blob_new(text, 3000);
    uvws_blob_t* large = uvws_blob_new(text, 200000);
    for (int i = 0; i < 3; i++) {
      send_blob(ws, small);
      send_text(ws, text, 3000);
      send_text(ws, text, 3000);
      send_blob(ws, large);
      send_blob(ws, small);
      send_text(ws, text + 100, 3000);
      assert_int_equal(uvws_begin(ws, UVWS_TEXT), 0);
      assert_int_equal(uvws_continue(ws, expect(text, 4000), 3000), 0);
      assert_int_equal(uvws_end(ws, text + 3000, 1000), 0);
      send_blob(ws, large);
      await_all();
    }
    for (unsigned i = 0; i < n_frames; i++)
      assert_int_equal(frames[i].first_byte & 0x40,
                       frames[i].first_byte & 0x0F ? 0x40 : 0);
    uvws_blob_unref(small);
    uvws_blob_unref(large);
    pair_end();
  }
}

enum { N_CLIENTS = 6 };

static struct {
  peer_t peers[N_CLIENTS];
  unsigned came;
  bool all_came;
} crowd;

static void check_broadcast(peer_t* peer, const uvws_message_t* message) {
  unsigned n = peer->messages - 1;
  assert_int_equal(message->len, expected[n].len);
  assert_memory_equal(message->data, expected[n].data, message->len);
  crowd.all_came = ++crowd.came == N_CLIENTS * n_expected;
}

static unsigned count_variants(uvws_blob_t* blob, uint8_t bits) {
  uvws__deflate_how_t how = {6, 8, 0, bits};
  const uvws__variant_t* variant = uvws__blob_variant(blob, &how);
  unsigned n = 0;
  for (; variant != NULL; variant = variant->next)
    n += uvws__deflate_is_same(&variant->how, &how);
  return n;
}

/* Once for each way of compressing, however many sockets there are. */
static void test_a_broadcast_is_compressed_once_for_each_way(void** state) {
  static const unsigned bits[N_CLIENTS] = {0, 9, 0, 9, 0, 12};
  static uvws_options_t options;
  uvws_deflate_options_t deflate = defaults();
  uvws_t* sockets[N_CLIENTS];
  int statuses[N_CLIENTS];
  (void)state;
  pair_start(&deflate, &deflate);
  memset(&crowd, 0, sizeof(crowd));
  server.stop_after = 1 + N_CLIENTS;
  for (unsigned i = 0; i < N_CLIENTS; i++) {
    deflate.server_max_window_bits = bits[i];
    deflate.server_no_context_takeover = i % 4 == 0;
    uvws_options_init(&options);
    options.deflate = i == 4 ? NULL : &deflate;
    peer_init(&crowd.peers[i]);
    crowd.peers[i].on_message = check_broadcast;
    peer_connect(&crowd.peers[i], server.port, &options);
    test_run_until(&crowd.peers[i].opened);
  }
  uvws_terminate(&client.ws);
  while (server.gone == 0) uv_run(test_loop, UV_RUN_ONCE);
  for (unsigned i = 0; i < N_CLIENTS; i++) sockets[i] = &server.peers[i + 1].ws;

  uvws_blob_t* blob = uvws_blob_new(text, 100000);
  expect(text, 100000);
  assert_int_equal(
      uvws_broadcast(sockets, N_CLIENTS, blob, UVWS_TEXT, statuses), N_CLIENTS);
  expect(text, 100000);
  assert_int_equal(uvws_server_broadcast(&server.server, blob, UVWS_TEXT, NULL),
                   N_CLIENTS);
  assert_int_equal(count_variants(blob, 15), 1);
  assert_int_equal(count_variants(blob, 9), 1);
  assert_int_equal(count_variants(blob, 12), 1);
  unsigned before = calls;
  for (unsigned i = 0; i < N_CLIENTS; i++)
    assert_int_equal(uvws_send_blob(sockets[i], blob, UVWS_TEXT), 0);
  expect(text, 100000);
  /* No deflater, no output: at most what waits for the kernel. */
  assert_true(calls - before <= 4 * N_CLIENTS);
  uvws_blob_unref(blob);

  /* What becomes no smaller goes as it is, and is not tried again. */
  blob = uvws_blob_new("abc", 3);
  expect("abc", 3);
  for (unsigned i = 0; i < N_CLIENTS; i++)
    assert_int_equal(
        uvws_send_blob(sockets[i], blob, UVWS_TEXT | UVWS_COMPRESS), 0);
  assert_int_equal(frames[n_frames - 1].first_byte, 0x81);
  assert_int_equal(count_variants(blob, 15), 1);
  uvws_blob_unref(blob);
  test_run_until(&crowd.all_came);
  for (unsigned i = 0; i < N_CLIENTS; i++) uvws_terminate(&crowd.peers[i].ws);
  test_run();
  assert_int_equal(live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_extensions_attribute),
      TEST(test_without_agreement),
      TEST(test_answers_that_were_not_offered),
      TEST(test_options_are_checked),
      TEST(test_threshold_and_flags),
      TEST(test_parts),
      TEST(test_sources),
      TEST(test_blobs_between_other_messages),
      TEST(test_a_broadcast_is_compressed_once_for_each_way),
  };
  return cmocka_run_group_tests(tests, count_allocations, NULL);
}
