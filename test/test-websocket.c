#include "helper.h"

#include <stdio.h>
#include <string.h>

/* The interface of the WebSocket object (WebSockets standard, section 3), and
 * the order and meaning of its events. */

static void test_constants_have_the_standard_numbers(void** state) {
  (void)state;
  assert_int_equal(UVWS_CONNECTING, 0);
  assert_int_equal(UVWS_OPEN, 1);
  assert_int_equal(UVWS_CLOSING, 2);
  assert_int_equal(UVWS_CLOSED, 3);
}

static void test_init_checks_its_arguments(void** state) {
  uvws_t ws;
  uvws_events_t events = {0};
  (void)state;
  assert_int_equal(uvws_init(NULL, &ws, &peer_events), UV_EINVAL);
  assert_int_equal(uvws_init(test_loop, NULL, &peer_events), UV_EINVAL);
  assert_int_equal(uvws_init(test_loop, &ws, NULL), UV_EINVAL);
  assert_int_equal(uvws_init(test_loop, &ws, &events), UV_EINVAL);
}

/* Between init and connect a socket is CLOSED and answers every call. */
static void test_an_initialised_socket_is_closed(void** state) {
  uvws_t ws;
  int mark;
  (void)state;
  ws.data = &mark;
  assert_int_equal(uvws_init(test_loop, &ws, &peer_events), 0);
  assert_ptr_equal(ws.data, &mark);
  assert_ptr_equal(ws.loop, test_loop);
  assert_int_equal(uvws_ready_state(&ws), UVWS_CLOSED);
  assert_int_equal(uvws_buffered_amount(&ws), 0);
  assert_int_equal(uvws_binary_type(&ws), UVWS_BLOB);
  assert_string_equal(uvws_url(&ws), "");
  assert_string_equal(uvws_protocol(&ws), "");
  assert_string_equal(uvws_extensions(&ws), "");
  assert_int_equal(uvws_http_status(&ws), 0);
  assert_null(uvws_response_header(&ws, "Upgrade"));
  assert_int_equal(uvws_has_ref(&ws), 1);
  assert_int_equal(uvws_queue_size(&ws), 0);
  assert_int_equal(uvws_close(&ws, 1000, NULL, 0), 0);
  uvws_terminate(&ws);
  uvws_flush(&ws);
  uvws_unref(&ws);
  assert_int_equal(uvws_has_ref(&ws), 0);
  uvws_ref(&ws);
  assert_int_equal(uvws_ping(&ws, NULL, 0), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_getpeername(&ws, NULL, NULL), UV_ENOTCONN);
  assert_int_equal(uvws_getsockname(&ws, NULL, NULL), UV_ENOTCONN);
  assert_int_equal(uvws_send(&ws, "abc", 3, UVWS_TEXT), UV_ESHUTDOWN);
  assert_int_equal(uvws_buffered_amount(&ws), 3);
}

static void test_binary_type_takes_only_its_values(void** state) {
  peer_t peer;
  (void)state;
  peer_init(&peer);
  assert_int_equal(uvws_binary_type(&peer.ws), UVWS_ARRAYBUFFER);
  assert_int_equal(uvws_set_binary_type(&peer.ws, (uvws_binary_type_t)2),
                   UV_EINVAL);
  assert_int_equal(uvws_binary_type(&peer.ws), UVWS_ARRAYBUFFER);
}

/* The exceptions of the constructor; nothing may be left behind, which the
 * teardown sees. */
static void test_connect_refuses_what_the_constructor_throws_for(void** state) {
  static const struct {
    const char* url;
    int status;
  } cases[] = {
      {"", UVWS_ESYNTAX},
      {"/relative", UVWS_ESYNTAX},
      {"ftp://a/", UVWS_ESYNTAX},
      {"ws://a/#x", UVWS_ESYNTAX},
      {"ws://a/#", UVWS_ESYNTAX},
      {"ws://\xc3\xa4.example/", UVWS_ESYNTAX},
      {"ws://a:25/", UVWS_ESECURITY},
      {"http://a:6000/", UVWS_ESECURITY},
  };
  peer_t peer;
  (void)state;
  peer_init(&peer);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_int_equal(uvws_connect(&peer.ws, cases[i].url, NULL),
                     cases[i].status);
    assert_int_equal(uvws_ready_state(&peer.ws), UVWS_CLOSED);
  }
  test_run();
  assert_string_equal(peer.log, "");
}

static void test_connect_checks_protocols_headers_and_origin(void** state) {
  static const char* const twice[] = {"a", "b", "a"};
  static const char* const no_token[] = {"a b"};
  static const char* const empty[] = {""};
  static const uvws_header_t bad_headers[] = {
      {"X", "a\r\nY: b"},
      {"X\r\n", "a"},
      {"", "a"},
      {"Host", "a"},
      {"Sec-WebSocket-Key", "a"},
      {"connection", "close"},
  };
  uvws_options_t options;
  peer_t peer;
  (void)state;
  peer_init(&peer);
#define WITH(member, value)    \
  uvws_options_init(&options); \
  options.member = value;      \
  options.n_protocols = options.protocols == NULL ? 0 : 1
  WITH(protocols, no_token);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UVWS_ESYNTAX);
  WITH(protocols, empty);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UVWS_ESYNTAX);
  WITH(protocols, twice);
  options.n_protocols = 3;
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UVWS_ESYNTAX);
  for (size_t i = 0; i < COUNT_OF(bad_headers); i++) {
    WITH(headers, &bad_headers[i]);
    options.n_headers = 1;
    assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UV_EINVAL);
  }
  WITH(origin, "http://a\nX: y");
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UV_EINVAL);
  WITH(size, 0);
  assert_int_equal(uvws_connect(&peer.ws, "ws://a/", &options), UV_EINVAL);
}

/* ---- a connection ---- */

typedef struct pair_s {
  server_t server;
  peer_t client;
} pair_t;

static void pair_start(pair_t* pair) {
  server_start(&pair->server, NULL);
  pair->server.stop_after = 1;
  peer_init(&pair->client);
}

static void hello(peer_t* peer) {
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_OPEN);
  assert_int_equal(uvws_send(&peer->ws, "hello", 5, UVWS_TEXT), 0);
  assert_int_equal(uvws_send(&peer->ws, "\0\1", 2, UVWS_BINARY), 0);
  assert_int_equal(uvws_send(&peer->ws, NULL, 0, UVWS_TEXT), 0);
}

static void close_after_three(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  if (peer->messages == 3) peer_close(peer);
}

static void test_events_come_in_order(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.server.echo = true;
  pair.client.on_open = hello;
  pair.client.on_message = close_after_three;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_string_equal(pair.client.log,
                      "open text(hello) binary(2) text() close(1000 clean)");
  assert_string_equal(pair.server.peers[0].log,
                      "open text(hello) binary(2) text() close(1000 clean)");
  assert_string_equal(pair.server.log, "request(/) close");
  assert_int_equal(uvws_ready_state(&pair.client.ws), UVWS_CLOSED);
  assert_int_equal(uvws_buffered_amount(&pair.client.ws), 0);
}

static void read_attributes(peer_t* peer) {
  uvws_header_t header;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  char url[64];
  server_t* server = peer->data;
  snprintf(url, sizeof(url), "%s://u:p%%3aw@127.0.0.1:%d/p?q", test_scheme(),
           server->port);
  assert_string_equal(uvws_url(&peer->ws), url);
  assert_string_equal(uvws_protocol(&peer->ws), "chat");
  assert_string_equal(uvws_extensions(&peer->ws), "");
  assert_int_equal(uvws_http_status(&peer->ws), 101);
  assert_string_equal(uvws_response_header(&peer->ws, "x-extra"), "yes");
  assert_null(uvws_response_header(&peer->ws, "x-none"));
  assert_int_equal(uvws_response_header_at(&peer->ws, 0, &header), 0);
  assert_string_equal(header.name, "Upgrade");
  assert_int_equal(uvws_response_header_at(&peer->ws, 99, &header), UV_ENOENT);
  assert_int_equal(uvws_getpeername(&peer->ws, (struct sockaddr*)&addr, &len),
                   0);
  assert_int_equal(ntohs(addr.sin_port), server->port);
  assert_int_equal(uvws_getsockname(&peer->ws, (struct sockaddr*)&addr, &len),
                   0);
  assert_int_not_equal(ntohs(addr.sin_port), server->port);
  peer_close(peer);
}

static void accept_with_header(server_t* server, uvws_request_t* request) {
  static const uvws_header_t extra = {"X-Extra", "yes"};
  uvws_accept_options_t options;
  uvws_header_t header;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  peer_t* peer = &server->peers[0];
  assert_string_equal(uvws_request_target(request), "/p?q");
  assert_string_equal(uvws_request_header(request, "origin"), test_origin());
  assert_string_equal(uvws_request_header(request, "X-Mine"), "1");
  assert_string_equal(uvws_request_header(request, "Authorization"),
                      "Basic dTpwOnc=");
  assert_null(uvws_request_header(request, "X-None"));
  assert_int_equal(uvws_request_header_at(request, 0, &header), 0);
  assert_int_equal(uvws_request_header_at(request, 64, &header), UV_ENOENT);
  assert_string_equal(uvws_request_protocol(request, 0), "soap");
  assert_string_equal(uvws_request_protocol(request, 1), "chat");
  assert_null(uvws_request_protocol(request, 2));
  assert_int_equal(
      uvws_request_getpeername(request, (struct sockaddr*)&addr, &len), 0);
  peer_init(peer);
  uvws_accept_options_init(&options);
  options.protocol = "other";
  assert_int_equal(uvws_accept(request, &peer->ws, &options),
                   UVWS_EINVALIDACCESS);
  options.protocol = "chat";
  options.headers = &extra;
  options.n_headers = 1;
  assert_int_equal(uvws_accept(request, &peer->ws, &options), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CONNECTING);
  uvws_server_close(&server->server, 5000);
}

static void test_attributes_and_headers_are_those_agreed_on(void** state) {
  static const char* const protocols[] = {"soap", "chat"};
  static const uvws_header_t mine = {"X-Mine", "1"};
  uvws_server_options_t server_options;
  uvws_options_t options;
  char url[64];
  pair_t pair;
  (void)state;
  uvws_server_options_init(&server_options);
  server_options.flags = UVWS_SERVER_ANY_ORIGIN;
  server_start(&pair.server, &server_options);
  pair.server.on_request = accept_with_header;
  peer_init(&pair.client);
  pair.client.data = &pair.server;
  pair.client.on_open = read_attributes;
  uvws_options_init(&options);
  options.protocols = protocols;
  options.n_protocols = 2;
  options.headers = &mine;
  options.n_headers = 1;
  options.origin = test_origin();
  snprintf(url, sizeof(url), "%s://u:p%%3aw@127.0.0.1:%d/p?q",
           test_has_tls() ? "https" : "http", pair.server.port);
  assert_int_equal(uvws_connect(&pair.client.ws, url, &options), 0);
  test_run();
  /* The server closed right after accepting; whom it accepted still opens. */
  assert_string_equal(pair.client.log, "open close(1001 clean)");
  assert_string_equal(pair.server.peers[0].log, "open close(1000 clean)");
  /* The attributes go with the connection. */
  assert_string_equal(uvws_url(&pair.client.ws), "");
  assert_string_equal(uvws_protocol(&pair.client.ws), "");
}

static void attributes_are_there(peer_t* peer,
                                 const uvws_close_event_t* event) {
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSED);
  assert_non_null(strstr(uvws_url(&peer->ws), "://127.0.0.1:"));
  assert_string_equal(event->reason, "f\xc3\xbcr immer");
  assert_int_equal(event->reason_len, 10);
  assert_int_equal(uvws_http_status(&peer->ws), 101);
  /* A fresh start inside the event has none of it. */
  assert_int_equal(uvws_init(test_loop, &peer->ws, &peer_events), 0);
  assert_string_equal(uvws_url(&peer->ws), "");
}

static void close_with_reason(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 4999, "f\xc3\xbcr immer", 10), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSING);
}

static void close_from_server(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = close_with_reason;
}

static void test_attributes_are_valid_inside_close(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.server.on_accept = close_from_server;
  pair.client.on_close = attributes_are_there;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_string_equal(pair.client.log,
                      "open close(4999 clean f\xc3\xbcr immer)");
  /* RFC 6455, 5.5.1: the answer echoes the code, not the reason. */
  assert_string_equal(pair.server.peers[0].log, "open close(4999 clean)");
}

static void close_badly(peer_t* peer) {
  static const int bad[] = {-1,   1,    999,  1004, 1005,        1006,
                            1015, 1016, 2999, 5000, 65536 + 1000};
  char reason[125];
  memset(reason, 'x', sizeof(reason));
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    assert_int_equal(uvws_close(&peer->ws, bad[i], NULL, 0),
                     UVWS_EINVALIDACCESS);
  assert_int_equal(uvws_close(&peer->ws, 1000, reason, 124), UVWS_ESYNTAX);
  /* An unpaired surrogate, encoded as if it were a character. */
  assert_int_equal(uvws_close(&peer->ws, 1000, "\xed\xa0\x80", 3), UVWS_EUTF8);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_OPEN);
  assert_int_equal(uvws_close(&peer->ws, 3000, reason, 123), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CLOSING);
  /* The first one counts. */
  assert_int_equal(uvws_close(&peer->ws, 1000, NULL, 0), 0);
}

static void test_close_checks_code_and_reason(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.client.on_open = close_badly;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_string_equal(pair.client.log, "open close(3000 clean)");
  assert_int_equal(
      strncmp(pair.server.peers[0].log, "open close(3000 clean xxx", 25), 0);
}

static void close_empty(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 0, NULL, 0), 0);
}

static void test_close_without_code_is_1005(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.client.on_open = close_empty;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_string_equal(pair.client.log, "open close(1005 clean)");
  assert_string_equal(pair.server.peers[0].log, "open close(1005 clean)");
}

static void close_with_reason_only(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 0, "why", 3), 0);
}

static void test_a_reason_without_code_brings_1000(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.client.on_open = close_with_reason_only;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_string_equal(pair.server.peers[0].log, "open close(1000 clean why)");
}

static void test_is_utf8_judges_whole_strings(void** state) {
  (void)state;
  assert_int_equal(uvws_is_utf8("", 0), 1);
  assert_int_equal(uvws_is_utf8("\xe2\x82\xac", 3), 1);
  assert_int_equal(uvws_is_utf8("\xe2\x82", 2), 0);
  assert_int_equal(uvws_is_utf8("\xed\xa0\x80", 3), 0);
}

static void send_badly(peer_t* peer) {
  uvws_blob_t* blob = uvws_blob_new("\xff", 1);
  assert_int_equal(uvws_send(&peer->ws, "a", 1, 0), UV_EINVAL);
  assert_int_equal(uvws_send(&peer->ws, "a", 1, UVWS_TEXT | UVWS_BINARY),
                   UV_EINVAL);
  assert_int_equal(uvws_send(&peer->ws, "a", 1, UVWS_TEXT | 0x80), UV_EINVAL);
  assert_int_equal(uvws_send(&peer->ws, NULL, 1, UVWS_BINARY), UV_EINVAL);
  assert_int_equal(uvws_send(&peer->ws, "\xff", 1, UVWS_TEXT), UVWS_EUTF8);
  assert_int_equal(uvws_send(&peer->ws, "\xed\xb0\x80", 3, UVWS_TEXT),
                   UVWS_EUTF8);
  assert_int_equal(uvws_send_blob(&peer->ws, blob, UVWS_TEXT), UVWS_EUTF8);
  assert_int_equal(uvws_send_blob(&peer->ws, blob, UVWS_TEXT), UVWS_EUTF8);
  assert_int_equal(uvws_send_blob(&peer->ws, NULL, UVWS_TEXT), UV_EINVAL);
  assert_int_equal(uvws_ping(&peer->ws, "x", 126), UV_EINVAL);
  /* A refused send does not count. */
  assert_int_equal(uvws_buffered_amount(&peer->ws), 0);
  assert_int_equal(uvws_send_blob(&peer->ws, blob, UVWS_BINARY), 0);
  assert_int_equal(uvws_buffered_amount(&peer->ws), 1);
  uvws_blob_unref(blob);
  peer_close(peer);
}

static void test_send_checks_flags_and_text(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.client.on_open = send_badly;
  peer_connect(&pair.client, pair.server.port, NULL);
  assert_int_equal(uvws_send(&pair.client.ws, "a", 1, UVWS_TEXT),
                   UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_buffered_amount(&pair.client.ws), 0);
  assert_int_equal(uvws_ping(&pair.client.ws, "a", 1), UVWS_EINVALIDSTATE);
  assert_int_equal(uvws_connect(&pair.client.ws, "ws://a/", NULL), UV_EALREADY);
  test_run();
  assert_string_equal(pair.server.peers[0].log,
                      "open binary(1) close(1000 clean)");
}

/* Lies in memory that cannot be written to. */
static const uint8_t constant[40000] = {1, 2, 3};

static void send_constant(peer_t* peer) {
  assert_int_equal(uvws_send(&peer->ws, constant, 100, UVWS_BINARY), 0);
  assert_int_equal(uvws_send(&peer->ws, constant, sizeof(constant), UVWS_TEXT),
                   0);
  assert_int_equal(uvws_ping(&peer->ws, constant, 125), 0);
}

static void send_constant_accepted(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = send_constant;
}

static void close_after_two(peer_t* peer, const uvws_message_t* message) {
  assert_memory_equal(message->data, constant, message->len);
  if (peer->messages == 2) peer_close(peer);
}

static void test_a_senders_buffer_is_never_written_to(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.server.on_accept = send_constant_accepted;
  pair.client.on_open = send_constant;
  pair.client.on_message = close_after_two;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_int_equal(pair.client.bytes, 100 + sizeof(constant));
  assert_int_equal(pair.server.peers[0].bytes, 100 + sizeof(constant));
}

/* ---- ping, pong ---- */

static void ping(peer_t* peer) {
  char payload[125];
  memset(payload, 'p', sizeof(payload));
  assert_int_equal(uvws_ping(&peer->ws, payload, 125), 0);
  assert_int_equal(uvws_ping(&peer->ws, "abc", 3), 0);
  assert_int_equal(uvws_queue_size(&peer->ws), 6 + 125 + 6 + 3);
  assert_int_equal(uvws_buffered_amount(&peer->ws), 0);
}

static void close_after_second_pong(peer_t* peer) {
  if (strstr(peer->log, "pong(abc)") == NULL) {
    assert_int_equal(peer->rtt, 0); /* not the last ping */
    return;
  }
  assert_true(peer->rtt > 0);
  assert_true(peer->rtt < UINT64_C(60000000000));
  peer_close(peer);
}

static void test_a_pong_tells_the_round_trip_time(void** state) {
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.client.on_open = ping;
  pair.client.on_pong = close_after_second_pong;
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_non_null(strstr(pair.client.log, "pong(abc) close(1000 clean)"));
  assert_non_null(strstr(pair.server.peers[0].log, "ping(abc)"));
}

/* ---- blobs ---- */

static void keep_blobs(peer_t* peer, const uvws_message_t* message) {
  uvws_blob_t** kept = peer->data;
  if (message->type == UVWS_TEXT) {
    assert_null(message->blob);
    kept[0] = uvws_message_blob(message);
    uvws_blob_t* again = uvws_message_blob(message);
    assert_ptr_equal(again, kept[0]);
    uvws_blob_unref(again);
  } else {
    assert_non_null(message->blob);
    assert_int_equal(uvws_blob_size(message->blob), message->len);
    assert_ptr_equal(uvws_blob_data(message->blob), message->data);
    kept[message->len > 3 ? 2 : 1] = uvws_blob_ref(message->blob);
  }
  if (peer->messages == 3) peer_close(peer);
}

static uint8_t big[300000];

static void send_blobs(peer_t* peer) {
  for (size_t i = 0; i < sizeof(big); i++) big[i] = (uint8_t)(i * 7);
  uvws_blob_t* blob = uvws_blob_new(big, sizeof(big));
  assert_int_equal(uvws_send(&peer->ws, "text", 4, UVWS_TEXT), 0);
  assert_int_equal(uvws_send(&peer->ws, "\1\2\3", 3, UVWS_BINARY), 0);
  assert_int_equal(uvws_send_blob(&peer->ws, blob, UVWS_BINARY), 0);
  uvws_blob_unref(blob);
}

static void send_blobs_from_server(server_t* server, peer_t* peer) {
  (void)server;
  peer->on_open = send_blobs;
}

static void test_blobs_outlive_their_message(void** state) {
  uvws_blob_t* kept[3] = {NULL, NULL, NULL};
  pair_t pair;
  (void)state;
  pair_start(&pair);
  pair.server.on_accept = send_blobs_from_server;
  pair.client.data = kept;
  pair.client.on_message = keep_blobs;
  assert_int_equal(uvws_set_binary_type(&pair.client.ws, UVWS_BLOB), 0);
  peer_connect(&pair.client, pair.server.port, NULL);
  test_run();
  assert_memory_equal(uvws_blob_data(kept[0]), "text", 4);
  assert_memory_equal(uvws_blob_data(kept[1]), "\1\2\3", 3);
  assert_int_equal(uvws_blob_size(kept[2]), sizeof(big));
  assert_memory_equal(uvws_blob_data(kept[2]), big, sizeof(big));
  for (int i = 0; i < 3; i++) uvws_blob_unref(kept[i]);
}

/* ---- a pipe ---- */

static void test_client_and_server_speak_over_a_pipe(void** state) {
  uvws_options_t options;
  char path[64];
  pair_t pair;
  (void)state;
  snprintf(path, sizeof(path), "/tmp/uvws-test-%d.sock", (int)uv_os_getpid());
  pair_start(&pair);
  pair.server.echo = true;
  pair.client.on_open = hello;
  pair.client.on_message = close_after_three;
  assert_int_equal(uvws_listen_pipe(&pair.server.server, path, 8), 0);
  uvws_options_init(&options);
  options.pipe = path;
  assert_int_equal(uvws_connect(&pair.client.ws, "ws://some.host/", &options),
                   0);
  test_run();
  assert_string_equal(pair.client.log,
                      "open text(hello) binary(2) text() close(1000 clean)");
}

/* ---- strings ---- */

static void test_every_status_has_a_name_and_a_text(void** state) {
  (void)state;
#define X(name, value, text)                                      \
  assert_string_equal(uvws_err_name(UVWS_##name), "UVWS_" #name); \
  assert_string_equal(uvws_strerror(UVWS_##name), text);
  UVWS_ERRNO_MAP(X)
#undef X
  assert_string_equal(uvws_err_name(UV_ECONNREFUSED), "ECONNREFUSED");
  assert_string_equal(uvws_strerror(UV_ECONNREFUSED), "connection refused");
  assert_string_equal(uvws_strerror(0), "success");
  /* Disjoint from libuv's range and mbedTLS's. */
  assert_true(UVWS_ESYNTAX < -0x7FFF);
}

static void test_the_version_is_the_headers(void** state) {
  (void)state;
  assert_int_equal(uvws_version(), UVWS_VERSION_HEX);
  assert_string_equal(uvws_version_string(), "0.1.0");
}

/* A program built with an older, shorter header. */
static void test_options_respect_the_callers_size(void** state) {
  uvws_options_t options;
  const size_t old = offsetof(uvws_options_t, close_timeout);
  (void)state;
  memset(&options, 0xAA, sizeof(options));
  uvws_options_init_sized(&options, old);
  assert_int_equal(options.size, old);
  assert_int_equal(options.max_message, 16 * 1024 * 1024);
  assert_int_equal(options.close_timeout, 0xAAAAAAAA);
  uvws_options_init(&options);
  assert_int_equal(options.size, sizeof(options));
  assert_int_equal(options.close_timeout, 10000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_constants_have_the_standard_numbers),
      TEST(test_init_checks_its_arguments),
      TEST(test_an_initialised_socket_is_closed),
      TEST(test_binary_type_takes_only_its_values),
      TEST(test_connect_refuses_what_the_constructor_throws_for),
      TEST(test_connect_checks_protocols_headers_and_origin),
      TEST(test_events_come_in_order),
      TEST(test_attributes_and_headers_are_those_agreed_on),
      TEST(test_attributes_are_valid_inside_close),
      TEST(test_close_checks_code_and_reason),
      TEST(test_close_without_code_is_1005),
      TEST(test_a_reason_without_code_brings_1000),
      TEST(test_is_utf8_judges_whole_strings),
      TEST(test_send_checks_flags_and_text),
      TEST(test_a_senders_buffer_is_never_written_to),
      TEST(test_a_pong_tells_the_round_trip_time),
      TEST(test_blobs_outlive_their_message),
      TEST(test_client_and_server_speak_over_a_pipe),
      TEST(test_every_status_has_a_name_and_a_text),
      TEST(test_the_version_is_the_headers),
      TEST(test_options_respect_the_callers_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
