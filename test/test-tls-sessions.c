#include "tls-peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls-sessions.h"

/* What goes on between connections of one configuration: the certificate that
 * a server chooses, or changes, the sessions that are resumed; and what is told
 * of each. */

/* ---- certificates by name ---- */

static uvws_tls_t* several(void) {
  uvws_tls_certificate_t certificates[] = {
      {.cert_file = tls_file("good.crt"), .key_file = tls_file("leaf.key")},
      {.cert_file = tls_file("second-good.crt"),
       .key_file = tls_file("leaf.key")},
      {.cert_file = tls_file("wild.crt"), .key_file = tls_file("leaf.key")},
      {.cert_file = tls_file("capitals.crt"), .key_file = tls_file("leaf.key")},
      {.cert_file = tls_file("rsa.crt"), .key_file = tls_file("rsa.key")}};
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.certificates = certificates;
  options.n_certificates = COUNT_OF(certificates);
  return tls_new(&options);
}

static bool is_first; /* the certificate that was shown last */

static void note_certificate(peer_t* peer) {
  uvws_tls_info_t info;
  tls_bytes_t good;
  tls_read("good.der", &good);
  uvws_tls_info(&peer->ws, &info);
  is_first = info.certificate.len == good.len &&
             memcmp(info.certificate.base, good.bytes, good.len) == 0;
  assert_true(info.certificate.len > 0);
  assert_string_equal(info.alpn, "http/1.1");
  assert_true(info.version >= UVWS_TLS_1_2);
  assert_true(strlen(info.cipher_suite) > 10);
  assert_int_equal(info.error, 0);
  assert_int_equal(info.alert, -1);
  peer_close(peer);
}

static void test_a_certificate_for_each_name(void** state) {
  static const struct {
    const char* host;
    const char* asked;
    bool first;
    uint32_t flags; /* of an insecure client */
  } names[] = {
      {"good.test", "good.test", true, 0},
      {"localhost", "localhost", true, 0},
      {"second.test", "second.test", false, 0},
      {"SECOND.test", "SECOND.test", false, 0},
      {"a.wild.test", "a.wild.test", false, 0},
      {"capitals.test", "capitals.test", false, 0},
      {"A.Capitals.Test", "A.Capitals.Test", false, 0},
      {".wild.test", ".wild.test", true, UVWS_CERT_WRONG_HOST},
      {"wild.test", "wild.test", true, UVWS_CERT_WRONG_HOST},
      {"unknown.test", "unknown.test", true, UVWS_CERT_WRONG_HOST},
      {"a.b.wild.test", "a.b.wild.test", true, UVWS_CERT_WRONG_HOST},
      /* An address is asked for by no name. */
      {NULL, "", true, 0},
      {"::1", "", true, 0},
  };
  uvws_tls_options_t options;
  tls_server_t server;
  (void)state;
  uvws_tls_options_init(&options);
  options.ca_file = tls_file("ca.crt");
  options.flags = UVWS_TLS_INSECURE | UVWS_TLS_NO_RESUMPTION;
  uvws_tls_t* tls = tls_new(&options);
  tls_server_start(&server, several(), NULL);
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    tls_seen_t seen;
    peer_t peer;
    tls_peer_init(&peer, &seen);
    peer.on_open = note_certificate;
    tls_connect(&peer, server.server.port, names[i].host, tls);
    tls_run_until_closed(&peer);
    tls_server_quiet(&server);
    print_message("%s: %s\n",
                  names[i].host == NULL ? "an address" : names[i].host,
                  is_first ? "the first" : "its own");
    assert_string_equal(peer.log, "open close(1000 clean)");
    assert_int_equal(is_first, names[i].first);
    assert_int_equal(seen.flags, names[i].flags);
    assert_string_equal(server.server_name, names[i].asked);
  }
  tls_server_stop(&server);
  uvws_tls_unref(tls);
}

/* Two have the name, and the client's suites say which it can take. */
static void test_a_certificate_for_each_kind_of_key(void** state) {
  static const char* const suites[][2] = {
      {"ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
      {"ECDHE-ECDSA-AES128-GCM-SHA256", "good"}};
  tls_server_t server;
  (void)state;
  tls_server_start(&server, several(), NULL);
  for (size_t i = 0; i < COUNT_OF(suites); i++) {
    static openssl_t openssl;
    char args[128], name[16] = "";
    snprintf(args, sizeof(args), "-tls1_2 -servername good.test -cipher %s",
             suites[i][0]);
    openssl_dial(&openssl, server.server.port, args);
    openssl_await(&openssl, "Verify return code");
    const char* subject = strstr(openssl.text, "subject=CN");
    assert_non_null(subject);
    sscanf(subject + strlen("subject=CN"), " = %15s", name);
    assert_string_equal(name, suites[i][1]);
    openssl_stop(&openssl);
  }
  tls_server_stop(&server);
}

/* ---- another certificate for a server that runs ---- */

static void note_only(peer_t* peer) {
  uvws_tls_info_t info;
  tls_bytes_t good;
  tls_read("good.der", &good);
  uvws_tls_info(&peer->ws, &info);
  is_first = info.certificate.len == good.len &&
             memcmp(info.certificate.base, good.bytes, good.len) == 0;
}

static bool is_echoed;

static void note_echo(peer_t* peer, const uvws_message_t* message) {
  (void)message;
  is_echoed = true;
  peer_close(peer);
}

static void test_a_new_certificate_while_connections_are_open(void** state) {
  uvws_tls_t* client_tls = tls_client_config(NULL);
  uvws_tls_t* without = tls_client_config(NULL);
  tls_seen_t seen[2];
  tls_server_t server;
  peer_t old, new;
  (void)state;
  tls_server_start(&server, tls_server_config("good.crt", NULL), NULL);
  server.server.echo = true;
  tls_peer_init(&old, &seen[0]);
  old.on_open = note_only;
  old.on_message = note_echo;
  tls_connect(&old, server.server.port, "good.test", client_tls);
  test_run_until(&old.opened);
  assert_true(is_first);

  assert_int_equal(uvws_server_set_tls(&server.server.server, NULL), UV_EINVAL);
  assert_int_equal(uvws_server_set_tls(&server.server.server, without),
                   UV_EINVAL);
  uvws_tls_t* next = tls_server_config("second-good.crt", NULL);
  assert_int_equal(uvws_server_set_tls(&server.server.server, next), 0);
  uvws_tls_unref(next);

  tls_peer_init(&new, &seen[1]);
  new.on_open = note_certificate;
  tls_connect(&new, server.server.port, "second.test", client_tls);
  tls_run_until_closed(&new);
  assert_string_equal(new.log, "open close(1000 clean)");
  assert_false(is_first);

  is_echoed = false;
  assert_int_equal(uvws_send(&old.ws, "still", 5, UVWS_TEXT), 0);
  tls_run_until_closed(&old);
  assert_true(is_echoed);
  assert_string_equal(old.log, "open text(still) close(1000 clean)");

  tls_server_quiet(&server);
  next = tls_server_config(NULL, NULL);
  uvws_server_close(&server.server.server, 0);
  assert_int_equal(uvws_server_set_tls(&server.server.server, next),
                   UV_ECANCELED);
  uvws_tls_unref(next);
  test_run();
  uvws_tls_unref(client_tls);
  uvws_tls_unref(without);
}

/* What is not for a server is refused at once. */
static void test_servers_need_a_certificate(void** state) {
  static const uvws_server_events_t none = {UVWS_SERVER_EVENTS_INIT};
  uvws_tls_t* tls = tls_client_config(NULL);
  uvws_tls_t* good = tls_server_config(NULL, NULL);
  uvws_server_options_t options;
  uvws_server_t handle;
  server_t plain;
  (void)state;
  uvws_server_options_init(&options);
  options.tls = tls;
  assert_int_equal(uvws_server_init(test_loop, &handle, &none, &options),
                   UV_EINVAL);
  server_start(&plain, NULL);
  assert_int_equal(uvws_server_set_tls(&plain.server, good), UV_EINVAL);
  uvws_server_close(&plain.server, 0);
  test_run();
  uvws_tls_unref(tls);
  uvws_tls_unref(good);
}

/* ---- resumption ---- */

static unsigned asked; /* how often the verify hook was called */

static uint32_t agree(const uvws_tls_verify_t* seen, void* arg) {
  (void)arg;
  asked++;
  return seen->flags;
}

static uvws_tls_t* client_with(uint32_t flags, uint32_t version,
                               uint32_t max_sessions) {
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.ca_file = tls_file("ca.crt");
  options.flags = flags;
  options.max_version = version;
  options.max_sessions = max_sessions;
  options.verify = agree;
  return tls_new(&options);
}

static uvws_tls_t* server_with(uint32_t flags) {
  uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                        .key_file = tls_file("leaf.key")};
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  options.flags = flags;
  return tls_new(&options);
}

static void resume_in(uint32_t version) {
  uvws_tls_t* tls = client_with(0, version, 256);
  uvws_tls_t* other = client_with(0, version, 256);
  tls_server_t server, second;
  asked = 0;
  uvws_tls_t* shared = server_with(0);
  tls_server_start(&second, uvws_tls_ref(shared), NULL);
  tls_server_start(&server, shared, NULL);
  assert_false(tls_open_once(&server, tls, "good.test"));
  assert_int_equal(asked, 1);
  assert_true(tls_open_once(&server, tls, "good.test"));
  assert_true(tls_open_once(&server, tls, "good.test"));
  /* It was verified when it began. */
  assert_int_equal(asked, 1);
  /* Neither another name, nor another port, nor another configuration. */
  assert_false(tls_open_once(&server, tls, "localhost"));
  assert_false(tls_open_once(&server, tls, NULL));
  assert_false(tls_open_once(&second, tls, "good.test"));
  assert_false(tls_open_once(&server, other, "good.test"));
  assert_int_equal(asked, 5);
  assert_true(tls_open_once(&server, tls, "localhost"));
  assert_true(tls_open_once(&server, tls, NULL));
  assert_int_equal(asked, 5);
  /* The server has forgotten, and goes on as if nothing had been. */
  uvws_tls_t* next = server_with(0);
  assert_int_equal(uvws_server_set_tls(&server.server.server, next), 0);
  uvws_tls_unref(next);
  assert_false(tls_open_once(&server, tls, "good.test"));
  assert_true(tls_open_once(&server, tls, "good.test"));
  uvws_server_close(&second.server.server, 0);
  tls_server_stop(&server);
  uvws_tls_unref(tls);
  uvws_tls_unref(other);
}

static void test_sessions_are_resumed_in_tls_1_2(void** state) {
  (void)state;
  resume_in(UVWS_TLS_1_2);
}

static void test_sessions_are_resumed_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  resume_in(UVWS_TLS_1_3);
}

static void test_no_resumption(void** state) {
  uvws_tls_t* tls = client_with(UVWS_TLS_NO_RESUMPTION, 0, 256);
  uvws_tls_t* forgetful = client_with(0, 0, 0);
  uvws_tls_t* willing = client_with(0, 0, 256);
  tls_server_t server;
  (void)state;
  tls_server_start(&server, server_with(0), NULL);
  for (int i = 0; i < 3; i++) {
    assert_false(tls_open_once(&server, tls, "good.test"));
    assert_false(tls_open_once(&server, forgetful, "good.test"));
  }
  tls_server_stop(&server);
  tls_server_start(&server, server_with(UVWS_TLS_NO_RESUMPTION), NULL);
  for (int i = 0; i < 3; i++)
    assert_false(tls_open_once(&server, willing, "good.test"));
  tls_server_stop(&server);
  uvws_tls_unref(tls);
  uvws_tls_unref(forgetful);
  uvws_tls_unref(willing);
}

/* A session may forget who its client was, so whoever asks asks each time. */
static void test_whoever_asks_for_certificates_resumes_nothing(void** state) {
  static const uint32_t flags[] = {UVWS_TLS_ASK_CLIENT,
                                   UVWS_TLS_REQUIRE_CLIENT};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(flags); i++) {
    uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                          .key_file = tls_file("leaf.key")};
    uvws_tls_certificate_t shown = {.cert_file = tls_file("client.crt"),
                                    .key_file = tls_file("leaf.key")};
    uvws_tls_options_t options;
    tls_server_t server;
    uvws_tls_options_init(&options);
    options.certificates = &certificate;
    options.n_certificates = 1;
    options.ca_file = tls_file("ca.crt");
    options.flags = flags[i];
    tls_server_start(&server, tls_new(&options), NULL);
    options.certificates = &shown;
    options.flags = 0;
    uvws_tls_t* tls = tls_new(&options);
    for (int n = 0; n < 3; n++) {
      assert_false(tls_open_once(&server, tls, "good.test"));
      assert_true(server.has_certificate);
    }
    tls_server_stop(&server);
    uvws_tls_unref(tls);
  }
}

/* Else its verdict would be gone from then on. */
static void test_a_session_that_began_badly_is_not_resumed(void** state) {
  uvws_tls_t* tls = client_with(UVWS_TLS_INSECURE, 0, 256);
  tls_server_t server;
  (void)state;
  tls_server_start(&server, tls_server_config("expired.crt", NULL), NULL);
  for (int i = 0; i < 3; i++) {
    tls_seen_t seen;
    peer_t peer;
    tls_peer_init(&peer, &seen);
    peer.on_open = peer_close;
    tls_connect(&peer, server.server.port, "good.test", tls);
    tls_run_until_closed(&peer);
    tls_server_quiet(&server);
    assert_string_equal(peer.log, "open close(1000 clean)");
    assert_int_equal(seen.flags, UVWS_CERT_EXPIRED);
    assert_false(seen.resumed);
  }
  tls_server_stop(&server);
  uvws_tls_unref(tls);
}

/* ---- the cache of sessions ---- */

static void put(uvws__tls_sessions_t* sessions, const char* host, uint16_t port,
                const char* data, bool once) {
  uvws__tls_sessions_put(sessions, host, port, (const uint8_t*)data,
                         strlen(data) + 1, once);
}

static void expect_taken(uvws__tls_sessions_t* sessions, const char* host,
                         uint16_t port, const char* data) {
  size_t len = 0;
  char* taken = (char*)uvws__tls_sessions_take(sessions, host, port, &len);
  if (data == NULL) {
    assert_null(taken);
    return;
  }
  assert_non_null(taken);
  assert_int_equal(len, strlen(data) + 1);
  assert_string_equal(taken, data);
  free(taken);
}

static void test_a_cache_of_sessions(void** state) {
  uvws__tls_sessions_t sessions;
  (void)state;
  assert_int_equal(uvws__tls_sessions_init(&sessions, 3, 3600), 0);
  expect_taken(&sessions, "a", 1, NULL);
  put(&sessions, "a", 1, "a1", false);
  put(&sessions, "a", 2, "a2", false);
  put(&sessions, "b", 1, "b1", false);
  expect_taken(&sessions, "a", 1, "a1");
  expect_taken(&sessions, "a", 1, "a1");
  expect_taken(&sessions, "a", 2, "a2");
  expect_taken(&sessions, "b", 1, "b1");
  expect_taken(&sessions, "b", 2, NULL);
  /* A newer one takes its place, and no other's. */
  put(&sessions, "a", 1, "newer", false);
  assert_int_equal(sessions.n, 3);
  expect_taken(&sessions, "a", 1, "newer");
  expect_taken(&sessions, "a", 2, "a2");
  /* The oldest goes. */
  put(&sessions, "c", 1, "c1", false);
  assert_int_equal(sessions.n, 3);
  expect_taken(&sessions, "a", 2, NULL);
  expect_taken(&sessions, "b", 1, "b1");
  for (uint16_t i = 0; i < 100; i++) {
    put(&sessions, "d", i, "d", i % 2 == 0);
    assert_int_equal(sessions.n, 3);
  }
  uvws__tls_sessions_clear(&sessions);
}

static void test_a_cache_of_sessions_that_are_used_once(void** state) {
  uvws__tls_sessions_t sessions;
  (void)state;
  assert_int_equal(uvws__tls_sessions_init(&sessions, 3, 3600), 0);
  put(&sessions, "a", 1, "first", true);
  put(&sessions, "a", 1, "second", true);
  expect_taken(&sessions, "a", 1, "second");
  expect_taken(&sessions, "a", 1, "first");
  expect_taken(&sessions, "a", 1, NULL);
  assert_int_equal(sessions.n, 0);
  for (int i = 0; i < 10; i++) put(&sessions, "a", 1, "many", true);
  assert_int_equal(sessions.n, 3);
  uvws__tls_sessions_clear(&sessions);
}

static void test_a_cache_that_keeps_nothing(void** state) {
  uvws__tls_sessions_t sessions;
  (void)state;
  assert_int_equal(uvws__tls_sessions_init(&sessions, 0, 3600), 0);
  put(&sessions, "a", 1, "a1", false);
  expect_taken(&sessions, "a", 1, NULL);
  assert_int_equal(sessions.n, 0);
  uvws__tls_sessions_clear(&sessions);
  /* A lifetime that is over at once; the next one sweeps. */
  assert_int_equal(uvws__tls_sessions_init(&sessions, 10, 0), 0);
  put(&sessions, "a", 1, "a1", false);
  expect_taken(&sessions, "a", 1, NULL);
  put(&sessions, "b", 1, "b1", false);
  assert_int_equal(sessions.n, 1);
  uvws__tls_sessions_clear(&sessions);
}

/* ---- the key log ---- */

typedef struct keys_s {
  char lines[16][256];
  unsigned n;
} keys_t;

static void on_keys(const char* line, void* arg) {
  keys_t* keys = arg;
  assert_true(keys->n < COUNT_OF(keys->lines));
  snprintf(keys->lines[keys->n++], sizeof(keys->lines[0]), "%s", line);
}

/* LABEL, the client's random number, the secret. */
static void check_line(const char* line) {
  size_t label = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0");
  assert_true(label > 0 && line[label] == ' ');
  const char* random = line + label + 1;
  assert_int_equal(strspn(random, "0123456789abcdef"), 64);
  assert_int_equal(random[64], ' ');
  size_t secret = strspn(random + 65, "0123456789abcdef");
  assert_true(secret == 64 || secret == 96);
  assert_int_equal(random[65 + secret], '\0');
}

static bool has_line(const keys_t* keys, const char* line) {
  for (unsigned i = 0; i < keys->n; i++)
    if (strcmp(keys->lines[i], line) == 0) return true;
  return false;
}

static void log_keys(uint32_t version, unsigned n, const char* label) {
  uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                        .key_file = tls_file("leaf.key")};
  uvws_tls_options_t options;
  tls_server_t server;
  keys_t of_server = {.n = 0}, of_client = {.n = 0};
  uvws_tls_options_init(&options);
  options.keylog = on_keys;
  options.arg = &of_server;
  options.certificates = &certificate;
  options.n_certificates = 1;
  options.max_version = version;
  uvws_tls_t* server_tls = tls_new(&options);
  options.arg = &of_client;
  options.n_certificates = 0;
  options.ca_file = tls_file("ca.crt");
  uvws_tls_t* tls = tls_new(&options);
  tls_server_start(&server, server_tls, NULL);
  assert_false(tls_open_once(&server, tls, "good.test"));
  tls_server_stop(&server);
  uvws_tls_unref(tls);
  assert_int_equal(of_client.n, n);
  assert_int_equal(of_server.n, n);
  for (unsigned i = 0; i < n; i++) {
    check_line(of_client.lines[i]);
    assert_true(has_line(&of_server, of_client.lines[i]));
  }
  assert_int_equal(strncmp(of_client.lines[n - 1], label, strlen(label)), 0);
}

static void test_the_key_log(void** state) {
  (void)state;
  log_keys(UVWS_TLS_1_2, 1, "CLIENT_RANDOM ");
  if (tls_has_1_3()) log_keys(UVWS_TLS_1_3, 4, "");
}

/* ---- what is known without TLS ---- */

static void see_nothing(peer_t* peer) {
  uvws_tls_info_t info;
  uvws_tls_info(&peer->ws, &info);
  assert_int_equal(info.version, 0);
  assert_int_equal(info.resumed, 0);
  assert_int_equal(info.flags, 0);
  assert_int_equal(info.error, 0);
  assert_string_equal(info.cipher_suite, "");
  assert_string_equal(info.alpn, "");
  assert_string_equal(info.server_name, "");
  assert_int_equal(info.certificate.len, 0);
}

static void close_seeing_nothing(peer_t* peer) {
  see_nothing(peer);
  peer_close(peer);
}

static void test_without_tls_there_is_nothing_to_know(void** state) {
  server_t plain;
  peer_t peer;
  (void)state;
  server_start(&plain, NULL);
  plain.stop_after = 1;
  peer_init(&peer);
  see_nothing(&peer);
  peer.on_open = close_seeing_nothing;
  peer_connect(&peer, plain.port, NULL);
  test_run();
  assert_string_equal(peer.log, "open close(1000 clean)");
  see_nothing(&peer);
}

/* ---- main ---- */

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_certificate_for_each_name),
      TEST(test_a_certificate_for_each_kind_of_key),
      TEST(test_a_new_certificate_while_connections_are_open),
      TEST(test_servers_need_a_certificate),
      TEST(test_sessions_are_resumed_in_tls_1_2),
      TEST(test_sessions_are_resumed_in_tls_1_3),
      TEST(test_no_resumption),
      TEST(test_whoever_asks_for_certificates_resumes_nothing),
      TEST(test_a_session_that_began_badly_is_not_resumed),
      TEST(test_a_cache_of_sessions),
      TEST(test_a_cache_of_sessions_that_are_used_once),
      TEST(test_a_cache_that_keeps_nothing),
      TEST(test_the_key_log),
      TEST(test_without_tls_there_is_nothing_to_know),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
