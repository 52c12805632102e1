#include "tls-peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/accept-key.h"

/* Peers that do not keep to TLS, or have nothing in common with us: what each
 * end gets, and that it ends at all. */

#define BYTES(s) s, sizeof(s) - 1
#define RECORD   "\x16\x03\x03"
#define FATAL    "\x15\x03\x03\x00\x02\x02"
#define WARNING  "\x15\x03\x03\x00\x02\x01"
#define NONSENSE "\x00\x05\xff\x00\x00\x01x" /* whole, and of no kind */
#define RANDOM   "0123456789abcdef0123456789abcdef"

/* ---- bytes instead of a server's ---- */

typedef struct bytes_row_s {
  const char* name;
  const char* bytes;
  size_t len;
  bool fin; /* behind them; else whoever they are sent to has to leave */
  int status;
  int alert; /* 0: none came */
  const char* text;
} bytes_row_t;

static const bytes_row_t as_server[] = {
    {"HTTP", BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), false, UVWS_ETLS, 0,
     "does not speak TLS"},
    {"SSH", BYTES("SSH-2.0-x\r\n"), false, UVWS_ETLS, 0, "does not speak TLS"},
    {"a zero", BYTES("\0"), false, UVWS_ETLS, 0, "does not speak TLS"},
    {"heartbeat", BYTES("\x18\x03\x03\x00\x03\x01\x40\x00"), false, UVWS_ETLS,
     0, "does not speak TLS"},
    {"a handshake of garbage", BYTES(RECORD NONSENSE), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a version that is none", BYTES("\x16\x09\x09\x00\x05hello"), false,
     UVWS_ETLS, 0, "TLS failed: "},
    {"a record too long", BYTES(RECORD "\xff\xff"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a record without bytes", BYTES(RECORD "\x00\x00"), true, UVWS_ETLS, 0,
     "TLS failed: "},
    {"data", BYTES("\x17\x03\x03\x00\x01x"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a change of ciphers, and garbage",
     BYTES("\x14\x03\x03\x00\x01\x01" RECORD NONSENSE), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"alert: handshake failure", BYTES(FATAL "\x28"), false, UVWS_ETLS, 40,
     "the peer ended TLS: handshake failure"},
    {"alert: version", BYTES(FATAL "\x46"), false, UVWS_ETLS, 70,
     "the peer ended TLS: no common TLS version"},
    {"alert: name", BYTES(FATAL "\x70"), false, UVWS_ETLS, 112,
     "the peer ended TLS: unrecognized name"},
    {"alert: protocol", BYTES(FATAL "\x78"), false, UVWS_ETLS, 120,
     "the peer ended TLS: no common application protocol"},
    {"alert: unknown", BYTES(FATAL "\xc8"), false, UVWS_ETLS, 200,
     "the peer ended TLS: unknown alert"},
    {"alert: too short", BYTES("\x15\x03\x03\x00\x01\x02"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"close_notify", BYTES(WARNING "\x00"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a warning, and the end", BYTES(WARNING "\x70"), true, UV_EOF, 0,
     "connection closed during the TLS handshake"},
    {"half a header, and the end", BYTES("\x16\x03"), true, UV_EOF, 0,
     "connection closed during the TLS handshake"},
    {"half a record, and the end", BYTES(RECORD "\x00\x50\x02\x00"), true,
     UV_EOF, 0, "connection closed during the TLS handshake"},
    {"the end", BYTES(""), true, UV_EOF, 0,
     "connection closed during the TLS handshake"},
    {"a server's hello that is too short",
     BYTES(RECORD "\x00\x06\x02\x00\x00\x02\x03\x03"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a server's hello of TLS 1.0",
     BYTES(RECORD "\x00\x2a\x02\x00\x00\x26"
                  "\x03\x01" RANDOM "\x00\x00\x2f\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"a server's hello of SSL 3",
     BYTES(RECORD "\x00\x2a\x02\x00\x00\x26"
                  "\x03\x00" RANDOM "\x00\x00\x2f\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"a suite that was not offered",
     BYTES(RECORD "\x00\x2a\x02\x00\x00\x26"
                  "\x03\x03" RANDOM "\x00\x00\x2f\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"compression",
     BYTES(RECORD "\x00\x2a\x02\x00\x00\x26"
                  "\x03\x03" RANDOM "\x00\xc0\x2b\x01"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"extensions longer than the hello",
     BYTES(RECORD "\x00\x2c\x02\x00\x00\x28\x03\x03" RANDOM
                  "\x00\xc0\x2b\x00\x00\xff"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"a client's hello",
     BYTES(RECORD "\x00\x2d\x01\x00\x00\x29\x03\x03" RANDOM
                  "\x00\x00\x02\xc0\x2b\x01\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
};

/* ---- bytes instead of a client's ---- */

/* The status is that of tls_error, 0 for none. */
static const bytes_row_t as_client[] = {
    {"HTTP", BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false, UVWS_ETLS, 0,
     "the peer does not speak TLS"},
    {"SSH", BYTES("SSH-2.0-x\r\n"), false, UVWS_ETLS, 0,
     "the peer does not speak TLS"},
    {"a zero", BYTES("\0"), false, UVWS_ETLS, 0, "the peer does not speak TLS"},
    {"a hello of SSL 2", BYTES("\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"),
     false, UVWS_ETLS, 0, "the peer does not speak TLS"},
    {"heartbeat", BYTES("\x18\x03\x03\x00\x03\x01\x40\x00"), false, UVWS_ETLS,
     0, "the peer does not speak TLS"},
    {"a handshake of garbage", BYTES(RECORD NONSENSE), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a version that is none", BYTES("\x16\x09\x09\x00\x05hello"), false,
     UVWS_ETLS, 0, "TLS failed: "},
    {"a record too long", BYTES(RECORD "\xff\xff"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"data", BYTES("\x17\x03\x03\x00\x01x"), false, UVWS_ETLS, 0,
     "TLS failed: "},
    {"a change of ciphers", BYTES("\x14\x03\x03\x00\x01\x01" RECORD NONSENSE),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"an alert", BYTES(FATAL "\x28"), false, UVWS_ETLS, 0, NULL},
    {"close_notify", BYTES(WARNING "\x00"), true, UVWS_ETLS, 0, NULL},
    {"a hello of TLS 1.0",
     BYTES("\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01" RANDOM
           "\x00\x00\x02\xc0\x2b\x01\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"a hello of TLS 1.1",
     BYTES("\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x02" RANDOM
           "\x00\x00\x02\xc0\x2b\x01\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"no suite of ours",
     BYTES(RECORD "\x00\x2d\x01\x00\x00\x29\x03\x03" RANDOM
                  "\x00\x00\x02\x00\x2f\x01\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"suites longer than the hello",
     BYTES(RECORD "\x00\x2d\x01\x00\x00\x29\x03\x03" RANDOM
                  "\x00\xff\xfe\xc0\x2b\x01\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"a server's hello",
     BYTES(RECORD "\x00\x2a\x02\x00\x00\x26\x03\x03" RANDOM "\x00\xc0\x2b\x00"),
     false, UVWS_ETLS, 0, "TLS failed: "},
    {"half a record, and the end", BYTES(RECORD "\x00\x50\x01\x00"), true, 0, 0,
     NULL},
    {"the end", BYTES(""), true, 0, 0, NULL},
};

static const bytes_row_t* row;

static void say_row(raw_t* raw) {
  raw->on_data = NULL;
  if (row->len > 0) raw_send(raw, row->bytes, row->len);
  if (row->fin) uv_shutdown(&raw->shutdown, (uv_stream_t*)&raw->tcp, NULL);
}

static void test_bytes_instead_of_a_server(void** state) {
  uvws_tls_t* tls = tls_client_config(NULL);
  (void)state;
  tls_wrong = 0;
  for (size_t i = 0; i < COUNT_OF(as_server); i++) {
    raw_t raw = {.on_data = say_row};
    char log[96];
    tls_seen_t seen;
    peer_t peer;
    row = &as_server[i];
    raw_serve(&raw);
    tls_peer_init(&peer, &seen);
    tls_connect(&peer, raw.port, "good.test", tls);
    test_run();
    print_message("%-35s %s: %s\n", row->name, uvws_err_name(peer.status),
                  peer.reason);
    snprintf(log, sizeof(log), "error(%s) close(1006)",
             uvws_err_name(row->status));
    tls_expect_log(peer.log, log, row->name);
    tls_expect_text(peer.reason, row->text, row->name);
    tls_expect(seen.alert == (row->alert == 0 ? -1 : row->alert), row->name,
               "its alert");
    tls_expect(seen.flags == 0 && seen.version == 0 && !seen.resumed, row->name,
               "without a verdict");
    raw_free(&raw);
  }
  uvws_tls_unref(tls);
  assert_int_equal(tls_wrong, 0);
}

/* Whoever speaks something else is answered in HTTP, whoever speaks TLS by an
 * alert or not at all. */
static bool is_answered(const bytes_row_t* what, const raw_t* raw) {
  static const char http[] = "HTTP/1.1 400 Bad Request\r\n";
  unsigned first = (unsigned char)what->bytes[0];
  if (what->len > 0 && (first < 20 || first > 23))
    return raw->in != NULL && strncmp(raw->in, http, strlen(http)) == 0 &&
           strstr(raw->in, "\r\n\r\nThis port is for TLS only.\n") != NULL;
  return raw->in_len == 0 || raw->in[0] == 0x15;
}

static void test_bytes_instead_of_a_client(void** state) {
  tls_server_t server;
  (void)state;
  tls_server_start(&server, tls_server_config(NULL, NULL), NULL);
  tls_wrong = 0;
  for (size_t i = 0; i < COUNT_OF(as_client); i++) {
    raw_t raw = {.head = ""};
    row = &as_client[i];
    raw.bytes = row->bytes;
    raw.len = row->len;
    raw.then = row->fin ? RAW_FIN : RAW_STAY;
    server.errors[0] = server.reason[0] = '\0';
    raw_dial(&raw, server.server.port);
    test_run_until(&raw.closed);
    tls_server_quiet(&server);
    print_message("%-35s %s: %s\n", row->name, server.errors, server.reason);
    tls_expect_log(server.errors,
                   row->status == 0 ? "" : uvws_err_name(row->status),
                   row->name);
    tls_expect_text(server.reason, row->text, row->name);
    tls_expect(is_answered(row, &raw), row->name, "answered");
    tls_expect(raw.saw_eof, row->name, "ended by a FIN");
    raw_free(&raw);
  }
  assert_int_equal(server.server.accepted, 0);
  tls_server_stop(&server);
  assert_int_equal(tls_wrong, 0);
}

static void test_a_client_that_stops_inside_its_hello(void** state) {
  uvws_server_options_t options;
  raw_t raw = {.head = "", .bytes = RECORD "\x00\x50\x01\x00", .len = 7};
  tls_server_t server;
  (void)state;
  uvws_server_options_init(&options);
  options.handshake_timeout = 20;
  tls_server_start(&server, tls_server_config(NULL, NULL), &options);
  uint64_t start = uv_hrtime();
  raw_dial(&raw, server.server.port);
  test_run_until(&raw.closed);
  assert_string_equal(server.errors, "UVWS_ETIMEOUT");
  assert_string_equal(server.reason, "the opening handshake took too long");
  tls_server_stop(&server);
  raw_free(&raw);
  /* There is nothing to be said in TLS, and so nothing to wait for:
   * close_timeout is ten seconds. */
  assert_true(uv_hrtime() - start < 5000000000);
}

static void test_a_server_that_says_nothing(void** state) {
  uvws_options_t options;
  raw_t raw = {.then = RAW_STAY};
  uvws_tls_t* tls = tls_client_config(NULL);
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  uvws_options_init(&options);
  options.handshake_timeout = 20;
  options.tls = tls;
  raw_serve(&raw);
  tls_peer_init(&peer, &seen);
  tls_connect_with(&peer, raw.port, "good.test", &options);
  test_run();
  assert_string_equal(peer.log, "error(UVWS_ETIMEOUT) close(1006)");
  raw_free(&raw);
  uvws_tls_unref(tls);
}

/* ---- one that speaks TLS, one that does not ---- */

static void test_tls_to_a_server_without(void** state) {
  uvws_tls_t* tls = tls_client_config(NULL);
  server_t server;
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  server_start(&server, NULL);
  tls_peer_init(&peer, &seen);
  tls_connect(&peer, server.port, "good.test", tls);
  tls_run_until_closed(&peer);
  print_message("%s\n", peer.reason);
  assert_string_equal(peer.log, "error(UVWS_ETLS) close(1006)");
  assert_non_null(strstr(peer.reason, "does not speak TLS"));
  assert_string_equal(server.log, "");
  uvws_server_close(&server.server, 0);
  test_run();
  uvws_tls_unref(tls);
}

static void test_no_tls_to_a_server_with(void** state) {
  tls_server_t server;
  char url[64];
  peer_t peer;
  (void)state;
  tls_server_start(&server, tls_server_config(NULL, NULL), NULL);
  peer_init(&peer);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", server.server.port);
  assert_int_equal(uvws_connect(&peer.ws, url, NULL), 0);
  tls_run_until_closed(&peer);
  tls_server_quiet(&server);
  print_message("%s; %s\n", peer.reason, server.reason);
  /* It is answered in HTTP, and that is what it speaks. */
  assert_string_equal(peer.log, "error(UVWS_EUPGRADE) close(1006)");
  assert_string_equal(server.errors, "UVWS_ETLS");
  assert_string_equal(server.reason, "the peer does not speak TLS");
  tls_server_stop(&server);
}

/* Most others answer by an alert. */
static void test_no_tls_to_another_server_with(void** state) {
  raw_t raw = {.head = "\x15\x03\x01"};
  char url[64];
  peer_t peer;
  (void)state;
  raw_serve(&raw);
  peer_init(&peer);
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", raw.port);
  assert_int_equal(uvws_connect(&peer.ws, url, NULL), 0);
  test_run();
  print_message("%s\n", peer.reason);
  assert_string_equal(peer.log, "error(UVWS_ETLS) close(1006)");
  assert_non_null(strstr(peer.reason, "the peer speaks TLS"));
  raw_free(&raw);
}

/* ---- nothing in common ---- */

typedef struct common_row_s {
  const char* name;
  const char* args; /* of OpenSSL */
  uint32_t max_version;
  int alert;
  const char* text;
} common_row_t;

static const common_row_t servers[] = {
    {"TLS 1.1", "-tls1_1 -cipher ALL@SECLEVEL=0", 0, 0, NULL},
    {"TLS 1.0", "-tls1 -cipher ALL@SECLEVEL=0", 0, 0, NULL},
    {"TLS 1.3, where we stop at 1.2", "-tls1_3", UVWS_TLS_1_2, 70,
     "no common TLS version"},
    {"CBC", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", 0, 40, NULL},
    {"no forward secrecy",
     "-tls1_2 -cipher AES128-GCM-SHA256 -cert @rsa.crt -key @rsa.key", 0, 40,
     NULL},
    {"Diffie-Hellman without curves",
     "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256 -cert @rsa.crt -key @rsa.key",
     0, 40, NULL},
    {"no certificate", "-nocert -tls1_2 -cipher ALL:aNULL@SECLEVEL=0", 0, 40,
     NULL},
    {"a curve of its own", "-tls1_2 -groups X448", 0, 40, NULL},
    {"another protocol", "-alpn h2", 0, 120, "no common application protocol"},
};

static const common_row_t clients[] = {
    {"TLS 1.1", "-tls1_1 -cipher ALL@SECLEVEL=0", 0, 0, NULL},
    {"TLS 1.0", "-tls1 -cipher ALL@SECLEVEL=0", 0, 0, NULL},
    {"TLS 1.3, where we stop at 1.2", "-tls1_3", UVWS_TLS_1_2, 0, NULL},
    {"CBC", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", 0, 0, NULL},
    {"no forward secrecy", "-tls1_2 -cipher AES128-GCM-SHA256", 0, 0, NULL},
    {"a curve of its own", "-tls1_2 -groups X448", 0, 0, NULL},
    {"another protocol", "-alpn h2", 0, 0, NULL},
    {"another kind of key", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", 0, 0,
     NULL},
};

static void test_servers_with_nothing_in_common(void** state) {
  (void)state;
  tls_wrong = 0;
  for (size_t i = 0; i < COUNT_OF(servers); i++) {
    static openssl_t openssl;
    char args[256];
    uvws_tls_options_t options;
    tls_seen_t seen;
    peer_t peer;
    bool has_cert = strstr(servers[i].args, "cert") != NULL;
    snprintf(args, sizeof(args), "%s %s", servers[i].args,
             has_cert ? "" : "-cert @good.crt -key @leaf.key");
    uvws_tls_options_init(&options);
    options.ca_file = tls_file("ca.crt");
    options.max_version = servers[i].max_version;
    uvws_tls_t* tls = tls_new(&options);
    openssl_serve(&openssl, args);
    tls_peer_init(&peer, &seen);
    tls_connect(&peer, openssl.port, "good.test", tls);
    tls_run_until_closed(&peer);
    openssl_stop(&openssl);
    print_message("%-35s %s: %s\n", servers[i].name, uvws_err_name(peer.status),
                  peer.reason);
    tls_expect_log(peer.log, "error(UVWS_ETLS) close(1006)", servers[i].name);
    tls_expect(servers[i].alert == 0 || seen.alert == servers[i].alert,
               servers[i].name, "its alert");
    tls_expect_text(peer.reason, servers[i].text, servers[i].name);
    uvws_tls_unref(tls);
  }
  assert_int_equal(tls_wrong, 0);
}

static void test_clients_with_nothing_in_common(void** state) {
  (void)state;
  tls_wrong = 0;
  for (size_t i = 0; i < COUNT_OF(clients); i++) {
    static openssl_t openssl;
    uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                          .key_file = tls_file("leaf.key")};
    uvws_tls_options_t options;
    tls_server_t server;
    uvws_tls_options_init(&options);
    options.certificates = &certificate;
    options.n_certificates = 1;
    options.max_version = clients[i].max_version;
    tls_server_start(&server, tls_new(&options), NULL);
    openssl_dial(&openssl, server.server.port, clients[i].args);
    test_run_until(&openssl.exited);
    openssl_stop(&openssl);
    tls_server_quiet(&server);
    print_message("%-35s %s: %s\n", clients[i].name, server.errors,
                  server.reason);
    tls_expect_log(server.errors, "UVWS_ETLS", clients[i].name);
    tls_expect_text(server.reason, "TLS failed: ", clients[i].name);
    tls_expect(server.server.accepted == 0, clients[i].name, "refused");
    tls_server_stop(&server);
  }
  assert_int_equal(tls_wrong, 0);
}

/* ---- a second handshake inside the first ---- */

static const char request[] =
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/* `letter` is what makes s_client begin one: R, or K for new keys in 1.3. */
static void begin_again(const char* args, const char* letter, bool opened) {
  static openssl_t openssl;
  tls_server_t server;
  tls_server_start(&server, tls_server_config(NULL, NULL), NULL);
  openssl_dial(&openssl, server.server.port, args);
  openssl_await(&openssl, "Verify return code");
  assert_false(openssl.exited);
  if (opened) {
    openssl_type(&openssl, request);
    openssl_await(&openssl, "101 Switching Protocols");
  }
  openssl_type(&openssl, letter);
  openssl_await(&openssl, letter[0] == 'R' ? "RENEGOTIATING" : "KEYUPDATE");
  /* It may go on, or give up: OpenSSL takes a refusal for the end. */
  openssl_type(&openssl, "Q\n");
  test_run_until(&openssl.exited);
  openssl_stop(&openssl);
  tls_server_quiet(&server);
  print_message("%s, %s: %s; %s %s\n", args,
                opened ? "open" : "before the request",
                server.server.peers[0].log, server.errors, server.reason);
  if (opened) {
    assert_non_null(strstr(server.server.peers[0].log, "open error("));
    assert_non_null(strstr(server.server.peers[0].log, ") close(1006)"));
  } else {
    assert_int_equal(server.server.accepted, 0);
  }
  tls_server_stop(&server);
}

static void test_a_client_that_renegotiates(void** state) {
  (void)state;
  begin_again("-tls1_2", "R\n", false);
  begin_again("-tls1_2", "R\n", true);
}

/* close_notify is the end of TLS, and no close frame. */
static void test_a_client_that_only_ends_tls(void** state) {
  static openssl_t openssl;
  tls_server_t server;
  (void)state;
  tls_server_start(&server, tls_server_config(NULL, NULL), NULL);
  openssl_dial(&openssl, server.server.port, "");
  openssl_type(&openssl, request);
  openssl_await(&openssl, "101 Switching Protocols");
  openssl_type(&openssl, "Q\n");
  test_run_until(&openssl.exited);
  openssl_stop(&openssl);
  tls_server_quiet(&server);
  assert_string_equal(server.server.peers[0].log,
                      "open error(EOF) close(1006)");
  assert_string_equal(server.errors, "");
  tls_server_stop(&server);
}

static void test_a_client_that_renews_its_keys(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  begin_again("-tls1_3", "K\n", false);
  begin_again("-tls1_3", "K\n", true);
}

/* Completes s_server's side of the upgrade, which it knows nothing about. */
static void answer(openssl_t* openssl) {
  char key[32] = "", accept[UVWS__ACCEPT_SIZE], head[256];
  openssl_await(openssl, "\r\n\r\n");
  const char* found = strstr(openssl->text, "Sec-WebSocket-Key: ");
  assert_non_null(found);
  sscanf(found + strlen("Sec-WebSocket-Key: "), "%31s", key);
  uvws__accept_key(key, accept);
  snprintf(head, sizeof(head),
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
           accept);
  openssl_type(openssl, head);
}

static void test_a_server_that_renegotiates(void** state) {
  static openssl_t openssl;
  uvws_tls_t* tls = tls_client_config(NULL);
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  openssl_serve(&openssl, "-tls1_2 -cert @good.crt -key @leaf.key");
  tls_peer_init(&peer, &seen);
  tls_connect(&peer, openssl.port, "good.test", tls);
  answer(&openssl);
  test_run_until(&peer.opened);
  assert_int_equal(uvws_ready_state(&peer.ws), UVWS_OPEN);
  openssl_type(&openssl, "r\n");
  openssl_await(&openssl, "SSL_do_handshake");
  openssl_type(&openssl, "Q\n");
  tls_run_until_closed(&peer);
  openssl_stop(&openssl);
  print_message("%s: %s\n", peer.log, peer.reason);
  assert_non_null(strstr(peer.log, "open error("));
  assert_non_null(strstr(peer.log, ") close(1006)"));
  uvws_tls_unref(tls);
}

/* ---- main ---- */

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_bytes_instead_of_a_server),
      TEST(test_bytes_instead_of_a_client),
      TEST(test_a_client_that_stops_inside_its_hello),
      TEST(test_a_server_that_says_nothing),
      TEST(test_tls_to_a_server_without),
      TEST(test_no_tls_to_a_server_with),
      TEST(test_no_tls_to_another_server_with),
      TEST(test_servers_with_nothing_in_common),
      TEST(test_clients_with_nothing_in_common),
      TEST(test_a_client_that_renegotiates),
      TEST(test_a_client_that_only_ends_tls),
      TEST(test_a_client_that_renews_its_keys),
      TEST(test_a_server_that_renegotiates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
