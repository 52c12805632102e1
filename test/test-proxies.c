#include "fake-proxy.h"

#include "uvws/reconnect.h"

/* By way of a proxy of each kind, to a server without or with TLS: what the
 * proxy is told, what becomes of its answers, its silence and its death, and
 * which one is taken. What is said byte for byte is test-proxy.c's. */

static server_t server;
static peer_t client;

enum { MEGABYTE = 1000 * 1000 };

static void end_server(void) {
  uvws_server_close(&server.server, 0);
  test_run();
  assert_true(server.closed);
}

/* Begins to connect to a name that only the proxy knows. */
static void begin(int port) {
  client_init(&client);
  client_connect(&client, "4-127-0-0-9.test", port, "/", &options);
}

static void expect_nothing_open(peer_t* peer, const uvws_close_event_t* event) {
  (void)peer;
  (void)event;
  assert_int_equal(owned(UV_TCP), 0);
  assert_int_equal(owned(UV_NAMED_PIPE), 0);
}

/* To the end, without a server of ours. */
static void run_to_close(int port) {
  begin(port);
  client.on_close = expect_nothing_open;
  test_run_until(&client.closed);
  assert_int_equal(names.asked, 0);
}

/* ---- through each proxy ---- */

static void say_hi(peer_t* peer) {
  assert_int_equal(uvws_send(&peer->ws, "hi", 2, UVWS_TEXT), 0);
}

/* The connection is the one to the proxy. */
static void say_hi_from_here(peer_t* peer) {
  struct sockaddr_in name;
  int len = sizeof(name);
  assert_int_equal(uvws_getpeername(&peer->ws, (struct sockaddr*)&name, &len),
                   0);
  assert_int_equal(ntohs(name.sin_port), proxy.port);
  len = sizeof(name);
  assert_int_equal(uvws_getsockname(&peer->ws, (struct sockaddr*)&name, &len),
                   0);
  assert_int_equal(ntohs(name.sin_port), proxy.from_port);
  say_hi(peer);
}

static void close_on_message(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  peer_close(peer);
}

static void check_told(size_t kind, bool credentials, int port) {
  char expected[512];
  if (kinds[kind].is_socks) {
    assert_memory_equal(proxy.told, credentials ? "\5\2\0\2" : "\5\1\0",
                        credentials ? 4 : 3);
    assert_int_equal(proxy.type, 3);
  } else {
    snprintf(expected, sizeof(expected),
             "CONNECT 4-127-0-0-9.test:%d HTTP/1.1\r\n"
             "Host: 4-127-0-0-9.test:%d\r\n%s\r\n",
             port, port,
             credentials ? "Proxy-Authorization: Basic bcO8OnMlIDpA\r\n" : "");
    assert_string_equal(proxy.told, expected);
  }
  snprintf(expected, sizeof(expected), "4-127-0-0-9.test:%d", port);
  assert_string_equal(proxy.asked, expected);
}

/* The server's name is the proxy's to look up. The credentials are "mü" and
 * "s% :@", as a URL has them. */
static void test_a_message_through_each(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.echo = true;
  for (EACH_KIND(kind))
    for (int i = 0; i < 4; i++) {
      bool credentials = i & 1;
      start_proxy(kind, credentials ? "m%C3%BC:s%25%20%3A%40@" : "");
      proxy.dribble = i & 2;
      if (credentials)
        proxy.credentials =
            kinds[kind].is_socks ? "m\xc3\xbc:s% :@" : "bcO8OnMlIDpA";
      begin(server.port);
      client.on_open = say_hi_from_here;
      client.on_message = close_on_message;
      test_run_until(&client.closed);
      assert_string_equal(client.log, "open text(hi) close(1000 clean)");
      assert_int_equal(proxy.connections, 1);
      assert_int_equal(names.asked, 0);
      check_told(kind, credentials, server.port);
      fake_stop(&proxy);
    }
  end_server();
}

static void test_an_address_through_each(void** state) {
  static const struct {
    const char* host;
    const char* asked;
    int type;
  } cases[] = {{"127.0.0.7", "127.0.0.7:", 1}, {"[::7]", "::7:", 4}};
  (void)state;
  server_start(&server, NULL);
  for (EACH_KIND(kind))
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
      char asked[32];
      bool brackets = !kinds[kind].is_socks && i == 1;
      start_proxy(kind, "");
      client_init(&client);
      client.on_open = peer_close;
      client_connect(&client, cases[i].host, server.port, "/", &options);
      test_run_until(&client.closed);
      assert_string_equal(client.log, "open close(1000 clean)");
      snprintf(asked, sizeof(asked), "%s%d",
               brackets ? "[::7]:" : cases[i].asked, server.port);
      assert_string_equal(proxy.asked, asked);
      if (kinds[kind].is_socks) assert_int_equal(proxy.type, cases[i].type);
      fake_stop(&proxy);
    }
  end_server();
}

static uint8_t much[MEGABYTE];

static void send_much(peer_t* peer) {
  for (size_t i = 0; i < sizeof(much); i++)
    much[i] = (uint8_t)(i * 31 + i / 251);
  assert_int_equal(uvws_send(&peer->ws, much, sizeof(much), UVWS_BINARY), 0);
}

static void check_much(peer_t* peer, const uvws_message_t* message) {
  assert_int_equal(message->len, sizeof(much));
  assert_memory_equal(message->data, much, sizeof(much));
  peer_close(peer);
}

static void test_a_megabyte_each_way(void** state) {
  (void)state;
  server_start(&server, NULL);
  server.echo = true;
  for (EACH_KIND(kind)) {
    start_proxy(kind, "");
    begin(server.port);
    client.on_open = send_much;
    client.on_message = check_much;
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open binary(1000000) close(1000 clean)");
    fake_stop(&proxy);
  }
  end_server();
}

/* ---- ends ---- */

static void close_from_there(server_t* s, peer_t* peer) {
  (void)s;
  peer->on_open = peer_close;
}

static void terminate_there(peer_t* peer) {
  uvws_terminate(&peer->ws);
}

static void terminate_from_there(server_t* s, peer_t* peer) {
  (void)s;
  peer->on_open = terminate_there;
}

static void test_the_servers_ends(void** state) {
  (void)state;
  server_start(&server, NULL);
  for (EACH_KIND(kind))
    for (int i = 0; i < 2; i++) {
      server.on_accept = i == 0 ? close_from_there : terminate_from_there;
      start_proxy(kind, "");
      begin(server.port);
      test_run_until(&client.closed);
      assert_string_equal(client.log, i == 0 ? "open close(1000 clean)"
                                             : "open error(EOF) close(1006)");
      fake_stop(&proxy);
    }
  end_server();
}

static void send_much_and_close(peer_t* peer) {
  send_much(peer);
  peer_close(peer);
}

/* What was sent before arrives, in either direction. */
static void test_ends_lose_nothing(void** state) {
  uint8_t frame[8];
  size_t len = make_frame(frame, 0x81, "bye", 3, false);
  (void)state;
  server_start(&server, NULL);
  for (EACH_KIND(kind)) {
    raw_t raw = {.bytes = frame, .len = len, .then = RAW_FIN};
    server.accepted = 0;
    start_proxy(kind, "");
    begin(server.port);
    client.on_open = send_much_and_close;
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open close(1000 clean)");
    while (server.gone < kind + 1) turns(1);
    assert_string_equal(server.peers[0].log,
                        "open binary(1000000) close(1000 clean)");
    raw_serve(&raw);
    begin(raw.port);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open text(bye) error(EOF) close(1006)");
    fake_stop(&proxy);
    raw_close(&raw);
    turns(2);
    raw_free(&raw);
  }
  end_server();
}

static void (*strike)(void);

static void strike_in_the_middle(raw_t* raw) {
  if (raw->in_len < 100000 || strike == NULL) return;
  void (*now)(void) = strike;
  strike = NULL;
  now();
}

static void terminate(void) {
  uvws_terminate(&client.ws);
}

static void cut(void) {
  fake_cut(&proxy, false);
}

static void cut_hard(void) {
  fake_cut(&proxy, true);
}

/* While a megabyte is on its way. */
static void test_ends_in_the_middle(void** state) {
  static void (*const ends[])(void) = {terminate, cut, cut_hard};
  (void)state;
  for (EACH_KIND(kind))
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
      raw_t raw = {.then = RAW_STAY, .on_data = strike_in_the_middle};
      strike = ends[i];
      raw_serve(&raw);
      start_proxy(kind, "");
      begin(raw.port);
      client.on_open = send_much;
      client.on_close = expect_nothing_open;
      test_run_until(&client.closed);
      assert_null(strike);
      if (ends[i] == terminate) {
        assert_string_equal(client.log, "open close(1006)");
        assert_int_equal(client.status, UV_ECANCELED);
      } else {
        /* A reset may find us reading or writing. */
        assert_true(client.status == UV_ECONNRESET ||
                    client.status == UV_EPIPE || client.status == UV_EOF);
        assert_int_equal(strncmp(client.log, "open error(E", 12), 0);
      }
      fake_stop(&proxy);
      test_run();
      assert_true(raw.closed);
      raw_free(&raw);
    }
}

/* While nothing is. */
static void test_the_death_of_a_quiet_proxy(void** state) {
  (void)state;
  for (EACH_KIND(kind))
    for (int hard = 0; hard < 2; hard++) {
      raw_t raw = {.then = RAW_STAY};
      raw_serve(&raw);
      start_proxy(kind, "");
      begin(raw.port);
      client.on_close = expect_nothing_open;
      test_run_until(&client.opened);
      turns(5);
      fake_cut(&proxy, hard);
      test_run_until(&client.closed);
      assert_string_equal(client.log, hard
                                          ? "open error(ECONNRESET) close(1006)"
                                          : "open error(EOF) close(1006)");
      fake_stop(&proxy);
      test_run();
      raw_free(&raw);
    }
}

/* ---- answers ---- */

static void expect_no_http(peer_t* peer, const uvws_close_event_t* event) {
  assert_int_equal(uvws_http_status(&peer->ws), 0);
  expect_nothing_open(peer, event);
}

#define BYTES(s) s, sizeof(s) - 1

static void test_refusals(void** state) {
  static const struct {
    bool is_socks;
    const char* answer;
    size_t len;
    const char* reason;
  } cases[] = {
      {false, BYTES("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
       "the proxy refused to connect: 403"},
      {false, BYTES("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
       "the proxy refused to connect: 502"},
      {false, BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
       "the proxy refused to connect: 101"},
      {false, BYTES("HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"),
       "the proxy wants other credentials: 407"},
      {false, BYTES("SSH-2.0-x\r\n"), "the proxy's answer is malformed"},
      {true, BYTES("\5\5\0\1\0\0\0\0\0\0"),
       "the proxy refused to connect: connection refused"},
      {true, BYTES("\5\x2a"), "the proxy refused to connect: reply 42"},
      {true, BYTES("\4\0"), "the proxy's answer is malformed"},
  };
  (void)state;
  for (EACH_KIND(kind))
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
      if (cases[i].is_socks != kinds[kind].is_socks) continue;
      start_proxy(kind, "");
      proxy.answer = cases[i].answer;
      proxy.answer_len = cases[i].len;
      begin(80);
      client.on_close = expect_no_http;
      test_run_until(&client.closed);
      assert_string_equal(client.log, "error(UVWS_EPROXY) close(1006)");
      assert_string_equal(reason, cases[i].reason);
      fake_stop(&proxy);
    }
}

static void test_credentials_that_are_wrong(void** state) {
  (void)state;
  for (EACH_KIND(kind))
    for (int i = 0; i < 2; i++) {
      start_proxy(kind, i == 0 ? "" : "me:wrong@");
      proxy.credentials = kinds[kind].is_socks ? "me:right" : "bWU6cmlnaHQ=";
      run_to_close(80);
      assert_string_equal(client.log, "error(UVWS_EPROXY) close(1006)");
      assert_string_equal(reason,
                          kinds[kind].is_socks
                              ? "the proxy wants other credentials"
                              : "the proxy wants other credentials: 407");
      fake_stop(&proxy);
    }
}

/* The server's first bytes, in one write with the proxy's last ones. */
static void test_bytes_behind_the_answer(void** state) {
  static const char forbidden[] = "HTTP/1.1 403 Forbidden\r\nX-Padding: ";
  static const char alert[] = "\x15\x03\x03\0\2\2\x28"; /* handshake_failure */
  (void)state;
  for (EACH_KIND(kind)) {
    static char answer[9000];
    size_t len;
    raw_t raw = {.head = "", .then = RAW_STAY};
    raw_serve(&raw);
    start_proxy(kind, "");
    len = kinds[kind].is_socks ? 10
                               : (size_t)snprintf(answer, sizeof(answer), "%s",
                                                  "HTTP/1.1 200 OK\r\n\r\n");
    if (kinds[kind].is_socks) memcpy(answer, "\5\0\0\1\0\0\0\0\0\0", 10);
    if (test_has_tls()) {
      memcpy(answer + len, alert, sizeof(alert) - 1);
      len += sizeof(alert) - 1;
    } else {
      memset(answer + len, 'x', sizeof(answer) - len);
      memcpy(answer + len, forbidden, sizeof(forbidden) - 1);
      memcpy(answer + sizeof(answer) - 4, "\r\n\r\n", 4);
      len = sizeof(answer);
    }
    proxy.answer = answer;
    proxy.answer_len = len;
    begin(raw.port);
    test_run_until(&client.closed);
    if (test_has_tls()) {
      assert_string_equal(client.log, "error(UVWS_ETLS) close(1006)");
      assert_non_null(strstr(reason, "handshake"));
    } else {
      assert_string_equal(client.log, "error(UVWS_EUPGRADE) close(1006)");
      assert_string_equal(reason, "the server refused the upgrade");
    }
    raw_close(&raw);
    fake_stop(&proxy);
  }
}

/* ---- silence, and worse ---- */

/* How far a talk of that kind comes. */
static at_t step_of(size_t kind, unsigned i) {
  static const at_t http[] = {AT_CONNECTION, AT_REQUEST, NEVER};
  static const at_t socks[] = {AT_CONNECTION, AT_GREETING, AT_PASSWORD,
                               AT_REQUEST, NEVER};
  return kinds[kind].is_socks ? socks[i] : http[i];
}

static void test_a_proxy_that_hangs_up(void** state) {
  (void)state;
  for (EACH_KIND(kind))
    for (unsigned i = 0; step_of(kind, i) != NEVER; i++) {
      start_proxy_with_password(kind);
      proxy.hang_up = step_of(kind, i);
      run_to_close(80);
      assert_string_equal(client.log, "error(UVWS_EPROXY) close(1006)");
      assert_string_equal(reason, "the proxy closed the connection");
      fake_stop(&proxy);
    }
}

static void test_a_proxy_that_says_nothing(void** state) {
  (void)state;
  options.connect_timeout = 300;
  for (EACH_KIND(kind))
    for (unsigned i = 0; step_of(kind, i) != NEVER; i++) {
      start_proxy_with_password(kind);
      proxy.fall_silent = step_of(kind, i);
      run_to_close(80);
      assert_string_equal(client.log, "error(UVWS_ETIMEOUT) close(1006)");
      assert_string_equal(reason, "connecting took too long: asking the proxy");
      fake_stop(&proxy);
    }
}

static void test_ends_while_asking(void** state) {
  (void)state;
  for (EACH_KIND(kind))
    for (unsigned i = 0; step_of(kind, i) != NEVER; i++)
      for (int gently = 0; gently < 2; gently++) {
        start_proxy_with_password(kind);
        proxy.fall_silent = step_of(kind, i);
        begin(80);
        client.on_close = expect_nothing_open;
        test_run_until(&proxy.is_silent);
        turns(3);
        if (gently)
          assert_int_equal(uvws_close(&client.ws, 1000, NULL, 0), 0);
        else
          uvws_terminate(&client.ws);
        test_run_until(&client.closed);
        assert_string_equal(client.log, gently
                                            ? "error(ECONNABORTED) close(1006)"
                                            : "close(1006)");
        fake_stop(&proxy);
      }
}

static void unref_another(uv_handle_t* handle, void* arg) {
  (void)arg;
  if (!uvws_owns(handle)) uv_unref(handle);
}

/* As a connect under way does, referenced or not. */
static void test_asking_keeps_the_loop_alive(void** state) {
  (void)state;
  for (EACH_KIND(kind)) {
    start_proxy(kind, "");
    proxy.fall_silent = AT_CONNECTION;
    begin(80);
    uvws_unref(&client.ws);
    test_run_until(&proxy.is_silent);
    turns(5);
    uv_walk(test_loop, unref_another, NULL);
    assert_true(uv_loop_alive(test_loop));
    uvws_terminate(&client.ws);
    test_run();
    assert_string_equal(client.log, "close(1006)");
    assert_false(uv_loop_alive(test_loop));
    fake_stop(&proxy);
  }
}

/* In the midst of its answer, too. */
static void test_half_an_answer(void** state) {
  (void)state;
  for (EACH_KIND(kind)) {
    start_proxy(kind, "");
    proxy.answer = kinds[kind].is_socks ? "\5\0\0\3\7exa" : "HTTP/1.1 200 O";
    proxy.answer_len = kinds[kind].is_socks ? 8 : 14;
    begin(80);
    client.on_close = expect_nothing_open;
    while (proxy.asked[0] == '\0') turns(1);
    turns(5);
    assert_string_equal(client.log, "");
    fake_cut(&proxy, false);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "error(UVWS_EPROXY) close(1006)");
    assert_string_equal(reason, "the proxy closed the connection");
    fake_stop(&proxy);
  }
}

/* ---- the way to the proxy ---- */

/* Its name is looked up, and all of its addresses are tried. */
static void test_the_proxys_addresses(void** state) {
  (void)state;
  server_start(&server, NULL);
  for (EACH_KIND(kind)) {
    char url[256], expected[160];
    uv_tcp_t nobody;
    int port = refuse(&nobody);
    snprintf(url, sizeof(url), "%s4-127-0-0-2.4-127-0-0-3.test:%d",
             kinds[kind].scheme, port);
    options.proxy = url;
    options.attempt_delay = 3600 * 1000;
    begin(server.port);
    test_run_until(&client.closed);
    assert_string_equal(client.log, "error(ECONNREFUSED) close(1006)");
    snprintf(expected, sizeof(expected),
             "the proxy at 127.0.0.2:%d: %s; the proxy at 127.0.0.3:%d: %s",
             port, uv_strerror(UV_ECONNREFUSED), port,
             uv_strerror(UV_ECONNREFUSED));
    assert_string_equal(reason, expected);
    assert_string_equal(names.host, "4-127-0-0-2.4-127-0-0-3.test");
    uv_close((uv_handle_t*)&nobody, NULL);
    turns(1);
    if (kinds[kind].is_secure) continue; /* it has no such name */

    start_proxy(kind, "");
    snprintf(url, sizeof(url), "%s4-127-0-0-2.4-127-0-0-1.test:%d",
             kinds[kind].scheme, proxy.port);
    options.proxy = url;
    begin(server.port);
    client.on_open = peer_close;
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open close(1000 clean)");
    assert_string_equal(names.host, "4-127-0-0-2.4-127-0-0-1.test");
    fake_stop(&proxy);
  }
  assert_int_equal(names.asked, 7);
  end_server();
}

static void test_from_a_local_address(void** state) {
  struct sockaddr_storage local;
  (void)state;
  server_start(&server, NULL);
  make_address(&local, "127.0.0.5", 0);
  options.local_address = (const struct sockaddr*)&local;
  for (EACH_KIND(kind)) {
    start_proxy(kind, "");
    begin(server.port);
    client.on_open = peer_close;
    test_run_until(&client.closed);
    assert_string_equal(client.log, "open close(1000 clean)");
    assert_string_equal(proxy.from, "127.0.0.5");
    fake_stop(&proxy);
  }
  end_server();
}

static void test_trust_in_the_proxy(void** state) {
  static const struct {
    const char* certificate; /* of the proxy; NULL: it has no TLS */
    const char* ca;
    int status;
    const char* reason;
  } cases[] = {
      {"address.crt", "other-ca.crt", UVWS_ECERT, "TLS to the proxy: "},
      {"second-good.crt", "ca.crt", UVWS_ECERT, "127.0.0.1"},
      {"expired.crt", "ca.crt", UVWS_ECERT, "TLS to the proxy: "},
      {NULL, "ca.crt", UVWS_ETLS,
       "TLS to the proxy: the peer does not speak TLS"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    uvws_tls_t* server_tls =
        cases[i].certificate == NULL
            ? NULL
            : tls_server_config(cases[i].certificate, NULL);
    uvws_tls_t* client_tls = tls_client_config(cases[i].ca);
    char url[64];
    fake_start(&proxy, server_tls);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d", proxy.port);
    options.proxy = url;
    options.proxy_tls = client_tls;
    if (server_tls == NULL) proxy.first = "HTTP/1.1 400 Bad Request\r\n\r\n";
    /* Whom the server must be says nothing about the proxy. */
    options.server_name = "second.test";
    run_to_close(443);
    assert_int_equal(client.status, cases[i].status);
    assert_non_null(strstr(reason, cases[i].reason));
    assert_null(strstr(proxy.told, "CONNECT"));
    fake_stop(&proxy);
    uvws_tls_unref(server_tls);
    uvws_tls_unref(client_tls);
  }
}

/* ---- one at a time ---- */

static bool is_held;

static void hold(server_t* s, uvws_request_t* request) {
  if (strcmp(uvws_request_target(request), "/hold") == 0)
    is_held = true;
  else
    server_accept(s, request);
}

/* RFC 6455, 4.1: through a proxy it is the host's name and the port that count,
 * not whose proxy it is. */
static void test_one_at_a_time(void** state) {
  static peer_t peers[5];
  (void)state;
  for (EACH_KIND(kind)) {
    fake_proxy_t other;
    raw_t raw = {.then = RAW_STAY};
    char url[64];
    server_start(&server, NULL);
    server.on_request = hold;
    raw_serve(&raw);
    start_proxy(kind, "");
    fake_start(&other, NULL);
    snprintf(url, sizeof(url), "socks5://127.0.0.1:%d", other.port);
    options.flags = UVWS_CONNECT_ONE_AT_A_TIME;
    for (unsigned i = 0; i < 5; i++) client_init(&peers[i]);
    is_held = false;
    client_connect(&peers[0], "a.test", server.port, "/hold", &options);
    test_run_until(&is_held);
    client_connect(&peers[1], "a.test", server.port, "/", &options);
    client_connect(&peers[2], "b.test", server.port, "/", &options);
    client_connect(&peers[3], "a.test", raw.port, "/", &options);
    options.proxy = url;
    client_connect(&peers[4], "a.test", server.port, "/", &options);
    test_run_until(&peers[2].opened);
    test_run_until(&peers[3].opened);
    turns(10);
    assert_int_equal(proxy.connections, 3);
    assert_int_equal(other.connections, 0);
    assert_string_equal(peers[0].log, "");
    assert_string_equal(peers[1].log, "");
    uvws_terminate(&peers[0].ws);
    test_run_until(&peers[1].opened);
    test_run_until(&peers[4].opened);
    assert_int_equal(other.connections, 1);
    for (unsigned i = 0; i < 5; i++) uvws_terminate(&peers[i].ws);
    test_run_until(&peers[4].closed);
    fake_stop(&proxy);
    fake_stop(&other);
    end_server();
    raw_free(&raw);
  }
}

/* ---- connecting again ---- */

static uvws_reconnect_t reconnect;
static unsigned closes;
static bool has_ended;

static void on_again_open(uvws_t* ws) {
  assert_int_equal(uvws_close(ws, 1001, NULL, 0), 0);
}

static void on_again_close(uvws_t* ws, const uvws_close_event_t* event) {
  assert_int_equal(event->code, 1001);
  assert_string_equal(proxy.from, "127.0.0.6");
  if (++closes == 3) uvws_reconnect_stop(&reconnect);
  (void)ws;
}

static void on_again_end(uvws_reconnect_t* again, int status, int code) {
  (void)again;
  (void)status;
  (void)code;
  has_ended = true;
}

/* All that the options point to is freed before anything is done with it. */
static void test_connecting_again(void** state) {
  static const uvws_events_t socket_events = {
      UVWS_EVENTS_INIT, .open = on_again_open, .close = on_again_close};
  static const uvws_reconnect_events_t events = {UVWS_RECONNECT_EVENTS_INIT,
                                                 .end = on_again_end};
  (void)state;
  server_start(&server, NULL);
  for (EACH_KIND(kind)) {
    struct sockaddr_storage* local = malloc(sizeof(*local));
    uvws_reconnect_options_t when;
    char url[64];
    assert_non_null(local);
    make_address(local, "127.0.0.6", 0);
    start_proxy_with_password(kind);
    options.proxy = strdup(options.proxy);
    options.local_address = (const struct sockaddr*)local;
    uvws_reconnect_options_init(&when);
    when.first_delay = when.max_delay = 1;
    snprintf(url, sizeof(url), "%s://again.test:%d/", test_scheme(),
             server.port);
    closes = 0;
    has_ended = false;
    assert_int_equal(
        uvws_reconnect_start(test_loop, &reconnect, url, test_options(&options),
                             &socket_events, &events, &when),
        0);
    free((void*)options.proxy);
    free(local);
    test_run_until(&has_ended);
    assert_int_equal(closes, 3);
    assert_int_equal(proxy.connections, 3);
    fake_stop(&proxy);
  }
  end_server();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_message_through_each),
      TEST(test_an_address_through_each),
      TEST(test_a_megabyte_each_way),
      TEST(test_the_servers_ends),
      TEST(test_ends_lose_nothing),
      TEST(test_ends_in_the_middle),
      TEST(test_the_death_of_a_quiet_proxy),
      TEST(test_refusals),
      TEST(test_credentials_that_are_wrong),
      TEST(test_bytes_behind_the_answer),
      TEST(test_a_proxy_that_hangs_up),
      TEST(test_a_proxy_that_says_nothing),
      TEST(test_ends_while_asking),
      TEST(test_asking_keeps_the_loop_alive),
      TEST(test_half_an_answer),
      TEST(test_the_proxys_addresses),
      TEST(test_from_a_local_address),
      TEST(test_trust_in_the_proxy),
      TEST(test_one_at_a_time),
      TEST(test_connecting_again),
  };
  return cmocka_run_group_tests(tests, make_configurations,
                                drop_configurations);
}
