#include "tls-peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Configurations: what they are made of, whom they trust, whom they ask. */

/* ---- making one ---- */

typedef struct new_row_s {
  const char* name;
  const char* cert; /* files; NULL leaves the member NULL */
  const char* key;
  const char* passphrase;
  const char* ca;
  const char* crl;
  uint32_t min_version;
  uint32_t max_version;
  uint32_t flags;
  int status;
  const char* why;
} new_row_t;

#define CERT(c, k) .cert = c, .key = k
#define ETLS(text) .status = UVWS_ETLS, .why = text
#define MISSING    .status = UV_ENOENT, .why = "/nothing: no such file"

static const new_row_t rows[] = {
    {"a certificate and its key", CERT("good.crt", "leaf.key")},
    {"DER", CERT("good.der", "leaf.der")},
    {"DER and PEM", CERT("good.der", "leaf.key")},
    {"a chain", CERT("chain.crt", "leaf.key")},
    {"RSA", CERT("rsa.crt", "rsa.key")},
    {"an encrypted key", CERT("good.crt", "encrypted.key"),
     .passphrase = "secret"},
    {"an encrypted key, RSA", CERT("rsa.crt", "encrypted-rsa.key"),
     .passphrase = "secret"},
    {"an encrypted key, PKCS #8", CERT("good.crt", "encrypted-des3.key"),
     .passphrase = "secret"},
    {"a passphrase too many", CERT("good.crt", "leaf.key"),
     .passphrase = "secret"},
    {"authorities and a list", .ca = "both-ca.crt", .crl = "ca.crl"},
    {"a list as DER", .ca = "ca.der", .crl = "ca-crl.der"},
    {"TLS 1.2 only", .min_version = UVWS_TLS_1_2, .max_version = UVWS_TLS_1_2},

    {"clients are asked", CERT("good.crt", "leaf.key"), .ca = "ca.crt",
     .flags = UVWS_TLS_ASK_CLIENT},
    {"clients are asked, and nobody is trusted", CERT("good.crt", "leaf.key"),
     .flags = UVWS_TLS_ASK_CLIENT, .status = UV_EINVAL,
     .why = "there is no authority to trust"},
    {"clients are required, and nobody is trusted",
     CERT("good.crt", "leaf.key"), .flags = UVWS_TLS_REQUIRE_CLIENT,
     .status = UV_EINVAL, .why = "there is no authority to trust"},
    {"no such certificate", CERT("nothing", "leaf.key"), MISSING},
    {"no such key", CERT("good.crt", "nothing"), MISSING},
    {"no such authorities", .ca = "nothing", MISSING},
    {"no such list", .crl = "nothing", MISSING},
    {"a directory", .ca = ".", .status = UV_EINVAL, .why = "/.: "},
    {"no key", CERT("good.crt", NULL), .status = UV_EINVAL,
     .why = "one lacks its certificate or its key"},
    {"no certificate", CERT(NULL, "leaf.key"), .status = UV_EINVAL,
     .why = "one lacks its certificate or its key"},
    {"a certificate that is none", CERT("garbage", "leaf.key"),
     ETLS("a certificate cannot be read: X509 - ")},
    {"a certificate of garbage", CERT("garbage.crt", "leaf.key"),
     ETLS("a certificate cannot be read: X509 - ")},
    {"half a certificate", CERT("torn.crt", "leaf.key"),
     ETLS("a certificate cannot be read: ")},
    {"an empty certificate", CERT("empty", "leaf.key"),
     ETLS("a certificate cannot be read: ")},
    {"a key as a certificate", CERT("leaf.key", "leaf.key"),
     ETLS("a certificate cannot be read: ")},
    {"a key that is none", CERT("good.crt", "garbage"),
     ETLS("a key cannot be read: ")},
    {"an empty key", CERT("good.crt", "empty"), ETLS("a key cannot be read: ")},
    {"a certificate as a key", CERT("good.crt", "good.crt"),
     ETLS("a key cannot be read: ")},
    {"another key", CERT("good.crt", "other.key"),
     ETLS("a key is not its certificate's: ")},
    {"another kind of key", CERT("good.crt", "rsa.key"),
     ETLS("a key is not its certificate's: ")},
    {"a chain that begins at its end", CERT("chain-reversed.crt", "leaf.key"),
     ETLS("a key is not its certificate's: ")},
    {"an unknown critical extension", CERT("critical.crt", "leaf.key"),
     ETLS("a certificate cannot be read: X509 - ")},
    {"no passphrase", CERT("good.crt", "encrypted.key"),
     ETLS("a key needs its passphrase")},
    {"a wrong passphrase", CERT("good.crt", "encrypted.key"),
     .passphrase = "guess", ETLS("a key's passphrase is wrong")},
    {"no passphrase, RSA", CERT("rsa.crt", "encrypted-rsa.key"),
     ETLS("a key needs its passphrase")},
    {"a wrong passphrase, RSA", CERT("rsa.crt", "encrypted-rsa.key"),
     .passphrase = "guess", ETLS("a key's passphrase is wrong")},
    {"no passphrase, PKCS #8", CERT("good.crt", "encrypted-des3.key"),
     ETLS("a key needs its passphrase")},
    {"a wrong passphrase, PKCS #8", CERT("good.crt", "encrypted-des3.key"),
     .passphrase = "guess", ETLS("a key's passphrase is wrong")},
    {"authorities that are none", .ca = "garbage",
     ETLS("a certificate authority cannot be read: ")},
    {"no authorities in the file", .ca = "empty",
     ETLS("a certificate authority cannot be read: ")},
    {"a list that is none", .crl = "garbage",
     ETLS("a revocation list cannot be read: ")},
    {"a certificate as a list", .crl = "ca.crt",
     ETLS("a revocation list cannot be read: ")},
    {"TLS 1.1", .min_version = 0x0302, ETLS("no such TLS versions")},
    {"TLS 1.4", .max_version = 0x0305, ETLS("no such TLS versions")},
    {"TLS 1.4 at least", .min_version = 0x0305, ETLS("no such TLS versions")},
    {"no versions in between", .min_version = UVWS_TLS_1_3,
     .max_version = UVWS_TLS_1_2, ETLS("no such TLS versions")},
    {"a version that is none", .min_version = 1, ETLS("no such TLS versions")},
};

static const char* file_or_null(const char* name) {
  return name == NULL ? NULL : tls_file(name);
}

static void check_new(const new_row_t* row) {
  uvws_tls_certificate_t certificate = {.cert_file = file_or_null(row->cert),
                                        .key_file = file_or_null(row->key),
                                        .passphrase = row->passphrase};
  uvws_tls_options_t options;
  uvws_tls_t* tls = NULL;
  char why[256] = "what was there";
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = row->cert != NULL || row->key != NULL;
  options.ca_file = file_or_null(row->ca);
  options.crl_file = file_or_null(row->crl);
  if (row->min_version != 0) options.min_version = row->min_version;
  options.max_version = row->max_version;
  options.flags = row->flags;
  int status = uvws_tls_new(&tls, &options, why, sizeof(why));
  print_message("%-35s %s %s\n", row->name,
                status == 0 ? "0" : uvws_err_name(status), why);
  tls_expect(status == row->status, row->name, "its status");
  tls_expect((tls != NULL) == (row->status == 0), row->name, "as it says");
  if (row->status == 0)
    tls_expect_log(why, "", row->name);
  else
    tls_expect_text(why, row->why, row->name);
  uvws_tls_unref(tls);
}

static void test_what_a_configuration_is_made_of(void** state) {
  (void)state;
  tls_wrong = 0;
  for (size_t i = 0; i < COUNT_OF(rows); i++) check_new(&rows[i]);
  assert_int_equal(tls_wrong, 0);
}

/* mbedTLS 2.28 knows only DES in such a key. */
static void test_a_key_with_aes_is_read_or_refused(void** state) {
  uvws_tls_certificate_t certificate = {
      .cert_file = tls_file("good.crt"),
      .key_file = tls_file("encrypted-aes.key"),
      .passphrase = "secret"};
  uvws_tls_options_t options;
  uvws_tls_t* tls = NULL;
  char why[128];
  (void)state;
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  int status = uvws_tls_new(&tls, &options, why, sizeof(why));
  print_message("%d %s\n", status, why);
  if (status != 0) {
    assert_int_equal(status, UVWS_ETLS);
    assert_non_null(strstr(why, "a key cannot be read: "));
  }
  uvws_tls_unref(tls);
}

static void test_options_that_are_none(void** state) {
  uvws_tls_options_t options;
  uvws_tls_t* tls = NULL;
  char why[64];
  (void)state;
  memset(&options, 0, sizeof(options));
  assert_int_equal(uvws_tls_new(&tls, &options, why, sizeof(why)), UV_EINVAL);
  assert_string_equal(why, uvws_strerror(UV_EINVAL));
  uvws_tls_options_init(&options);
  options.n_certificates = 1;
  assert_int_equal(uvws_tls_new(&tls, &options, why, sizeof(why)), UV_EINVAL);
  assert_string_equal(why, uvws_strerror(UV_EINVAL));
  assert_null(tls);
  assert_int_equal(uvws_tls_new(&tls, NULL, why, sizeof(why)), 0);
  assert_string_equal(why, "");
  uvws_tls_unref(tls);
  uvws_tls_unref(NULL);
}

/* Never more than there is room for, and nowhere without any. */
static void test_why_has_a_size(void** state) {
  uvws_tls_options_t options;
  uvws_tls_t* tls = NULL;
  char why[8] = "1234567";
  (void)state;
  uvws_tls_options_init(&options);
  options.max_version = 1;
  assert_int_equal(uvws_tls_new(&tls, &options, NULL, 100), UVWS_ETLS);
  assert_int_equal(uvws_tls_new(&tls, &options, why, 0), UVWS_ETLS);
  assert_string_equal(why, "1234567");
  assert_int_equal(uvws_tls_new(&tls, &options, why, 4), UVWS_ETLS);
  assert_string_equal(why, "the");
  assert_int_equal(why[4], '5');
}

/* On the heap with no byte behind it, so that one that is read shows. */
static void* exactly(const char* name, size_t* len) {
  tls_bytes_t blob;
  tls_read(name, &blob);
  void* bytes = malloc(blob.len);
  assert_non_null(bytes);
  memcpy(bytes, blob.bytes, blob.len);
  *len = blob.len;
  return bytes;
}

static void test_memory_instead_of_files(void** state) {
  static const char* const files[][3] = {
      {"chain.crt", "leaf.key", "both-ca.crt"},
      {"good.der", "leaf.der", "ca.der"}};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(files); i++) {
    uvws_tls_certificate_t certificate = {.cert_file = "nothing",
                                          .key_file = "nothing"};
    uvws_tls_options_t options;
    tls_server_t server;
    uvws_tls_options_init(&options);
    void* cert = exactly(files[i][0], &certificate.cert_len);
    void* key = exactly(files[i][1], &certificate.key_len);
    void* ca = exactly(files[i][2], &options.ca_len);
    certificate.cert = cert;
    certificate.key = key;
    options.certificates = &certificate;
    options.n_certificates = 1;
    options.ca = ca;
    /* One for both roles. */
    uvws_tls_t* tls = tls_new(&options);
    memset(cert, 'x', certificate.cert_len);
    memset(key, 'x', certificate.key_len);
    memset(ca, 'x', options.ca_len);
    free(cert);
    free(key);
    free(ca);
    tls_server_start(&server, uvws_tls_ref(tls), NULL);
    assert_false(tls_open_once(&server, tls, "good.test"));
    tls_server_stop(&server);
    uvws_tls_unref(tls);
  }
}

/* ---- whom to trust ---- */

/* The server's certificate is good.crt, by ca.crt. */
static int status_with(const uvws_tls_options_t* options) {
  tls_server_t server;
  tls_seen_t seen;
  peer_t peer;
  uvws_tls_t* tls = tls_new(options);
  uvws_options_t with;
  uvws_options_init(&with);
  with.tls = tls;
  with.server_name = "good.test";
  tls_server_start(&server, tls_server_config(NULL, NULL), NULL);
  tls_peer_init(&peer, &seen);
  peer.on_open = peer_close;
  char url[64];
  snprintf(url, sizeof(url), "wss://127.0.0.1:%d/", server.server.port);
  int status = uvws_connect(&peer.ws, url, &with);
  if (status == 0) {
    tls_run_until_closed(&peer);
    status = peer.status;
    if (status == UVWS_ECERT)
      assert_int_equal(seen.flags, UVWS_CERT_UNKNOWN_ISSUER);
  }
  tls_server_stop(&server);
  uvws_tls_unref(tls);
  return status;
}

static void test_authorities_from_file_and_memory(void** state) {
  uvws_tls_options_t options;
  tls_bytes_t ca;
  (void)state;
  tls_read("ca.crt", &ca);
  uvws_tls_options_init(&options);
  options.ca_file = tls_file("other-ca.crt");
  assert_int_equal(status_with(&options), UVWS_ECERT);
  options.ca = ca.bytes;
  options.ca_len = ca.len;
  assert_int_equal(status_with(&options), 0);
  options.ca_file = NULL;
  assert_int_equal(status_with(&options), 0);
  /* Nobody. */
  options.ca_len = 0;
  assert_int_equal(status_with(&options), UVWS_ECERT);
}

/* Nobody trusts our authority but by the environment, if it may tell. */
static void test_the_environment_tells_whom_to_trust(void** state) {
  uvws_tls_options_t options;
  uvws_tls_t* tls = NULL;
  char why[128];
  (void)state;
  uvws_tls_options_init(&options);
  setenv("SSL_CERT_FILE", tls_file("ca.crt"), 1);
  int status = status_with(&options);
  /* This machine may have no trust store. */
  assert_true(status == UVWS_ECERT || status == UVWS_ETLS);
  options.flags = UVWS_TLS_ENVIRONMENT;
  assert_int_equal(status_with(&options), 0);
  /* Authorities that were given are enough ... */
  options.ca_file = tls_file("other-ca.crt");
  assert_int_equal(status_with(&options), UVWS_ECERT);
  /* ... unless the system's are to be added. */
  options.flags |= UVWS_TLS_SYSTEM_CA;
  assert_int_equal(status_with(&options), 0);
  setenv("SSL_CERT_FILE", tls_file("nothing"), 1);
  assert_int_equal(uvws_tls_new(&tls, &options, why, sizeof(why)), UVWS_ETLS);
  assert_string_equal(why, "the system's trust store: not found");
  unsetenv("SSL_CERT_FILE");
  setenv("SSL_CERT_DIR", tls_file("hashed"), 1);
  assert_int_equal(status_with(&options), 0);
  options.ca_file = NULL;
  options.flags = UVWS_TLS_ENVIRONMENT;
  assert_int_equal(status_with(&options), 0);
  options.flags = 0;
  status = status_with(&options);
  assert_true(status == UVWS_ECERT || status == UVWS_ETLS);
  unsetenv("SSL_CERT_DIR");
}

/* ---- the verify hook ---- */

static struct {
  unsigned calls;
  uint32_t flags;
  char host[64];
  unsigned n_chain;
  bool has_host;
  bool shows_good; /* the first of the chain is good.crt */
  char pin[65];
  uint32_t verdict;
  bool agree;
} hook;

static uint32_t verify(const uvws_tls_verify_t* seen, void* arg) {
  tls_bytes_t good;
  assert_ptr_equal(arg, &hook);
  tls_read("good.der", &good);
  hook.calls++;
  hook.flags = seen->flags;
  hook.has_host = seen->host != NULL;
  snprintf(hook.host, sizeof(hook.host), "%s",
           seen->host == NULL ? "" : seen->host);
  hook.n_chain = seen->n_chain;
  hook.shows_good = seen->chain[0].len == good.len &&
                    memcmp(seen->chain[0].base, good.bytes, good.len) == 0;
  for (unsigned i = 0; i < 32; i++)
    sprintf(hook.pin + 2 * i, "%02x", seen->public_key_sha256[i]);
  assert_true(seen->public_key.len > 32);
  return hook.agree ? seen->flags : hook.verdict;
}

/* The key that leaf.pin tells, as OpenSSL computes it, and nothing else. */
static uint32_t verify_pin(const uvws_tls_verify_t* seen, void* arg) {
  tls_bytes_t pin;
  tls_read("leaf.pin", &pin);
  (void)verify(seen, arg);
  return memcmp(pin.bytes, hook.pin, 64) == 0 ? 0 : UVWS_CERT_REFUSED;
}

static void reset_hook(void) {
  memset(&hook, 0, sizeof(hook));
}

/* With a server that shows `cert`. */
static void ask_hook(uint32_t (*function)(const uvws_tls_verify_t*, void*),
                     const char* ca, uint32_t flags, const char* cert,
                     const char* key, peer_t* peer, tls_seen_t* seen) {
  uvws_tls_options_t options;
  tls_server_t server;
  uvws_tls_options_init(&options);
  options.verify = function;
  options.arg = &hook;
  options.flags = flags;
  if (ca != NULL)
    options.ca_file = tls_file(ca);
  else
    options.ca = "";
  uvws_tls_t* tls = tls_new(&options);
  tls_server_start(&server, tls_server_config(cert, key), NULL);
  tls_peer_init(peer, seen);
  peer->on_open = peer_close;
  tls_connect(peer, server.server.port, "good.test", tls);
  tls_run_until_closed(peer);
  tls_server_stop(&server);
  uvws_tls_unref(tls);
}

static void test_a_hook_sees_all_and_agrees(void** state) {
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  reset_hook();
  hook.agree = true;
  ask_hook(verify, "ca.crt", 0, "good.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_int_equal(hook.calls, 1);
  assert_int_equal(hook.flags, 0);
  assert_string_equal(hook.host, "good.test");
  assert_true(hook.shows_good);
  assert_true(hook.n_chain >= 1);
  ask_hook(verify, "ca.crt", 0, "chain.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_true(hook.n_chain >= 2);
  ask_hook(verify, "ca.crt", 0, "expired-other.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "error(UVWS_ECERT) close(1006)");
  assert_int_equal(hook.flags, UVWS_CERT_EXPIRED | UVWS_CERT_WRONG_HOST);
  assert_int_equal(seen.flags, hook.flags);
  assert_int_equal(hook.calls, 3);
}

static void test_a_hook_has_the_last_word(void** state) {
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  reset_hook();
  ask_hook(verify, "ca.crt", 0, "expired.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_int_equal(seen.flags, 0);
  hook.verdict = UVWS_CERT_REFUSED;
  ask_hook(verify, "ca.crt", 0, "good.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "error(UVWS_ECERT) close(1006)");
  assert_int_equal(seen.flags, UVWS_CERT_REFUSED);
  assert_string_equal(peer.reason,
                      "the peer's certificate was refused by the program's "
                      "verify hook");
  /* A verdict that is none of the library's own. */
  hook.verdict = 0x80000000;
  ask_hook(verify, "ca.crt", 0, "good.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "error(UVWS_ECERT) close(1006)");
  assert_int_equal(hook.calls, 3);
}

static void test_pins(void** state) {
  static const struct {
    const char* name;
    const char* ca; /* NULL: nobody */
    const char* cert;
    const char* key;
    uint32_t flags; /* that the hook sees */
    bool opens;
  } pins[] = {
      {"the key, self-signed", NULL, "self.crt", NULL, UVWS_CERT_UNKNOWN_ISSUER,
       true},
      {"the key, and an authority", "ca.crt", "good.crt", NULL, 0, true},
      {"the key, in another certificate", "ca.crt", "expired.crt", NULL,
       UVWS_CERT_EXPIRED, true},
      {"another key, by the authority", "ca.crt", "other.crt", "other.key", 0,
       false},
      {"another key", NULL, "rsa.crt", "rsa.key", UVWS_CERT_UNKNOWN_ISSUER,
       false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(pins); i++) {
    tls_seen_t seen;
    peer_t peer;
    reset_hook();
    ask_hook(verify_pin, pins[i].ca, 0, pins[i].cert, pins[i].key, &peer,
             &seen);
    print_message("%-35s %s %s\n", pins[i].name, peer.log, peer.reason);
    assert_string_equal(peer.log, pins[i].opens
                                      ? "open close(1000 clean)"
                                      : "error(UVWS_ECERT) close(1006)");
    assert_int_equal(seen.flags, pins[i].opens ? 0 : UVWS_CERT_REFUSED);
    assert_int_equal(hook.flags, pins[i].flags);
    assert_int_equal(hook.calls, 1);
  }
}

static void test_an_insecure_client_asks_no_hook(void** state) {
  tls_seen_t seen;
  peer_t peer;
  (void)state;
  reset_hook();
  hook.verdict = UVWS_CERT_REFUSED;
  ask_hook(verify, "ca.crt", UVWS_TLS_INSECURE, "self.crt", NULL, &peer, &seen);
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_int_equal(hook.calls, 0);
}

static void test_a_hook_of_a_server(void** state) {
  static const uint32_t flags[] = {UVWS_TLS_ASK_CLIENT,
                                   UVWS_TLS_REQUIRE_CLIENT};
  (void)state;
  for (unsigned i = 0; i < 4; i++) {
    uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                          .key_file = tls_file("leaf.key")};
    uvws_tls_certificate_t shown = {.cert_file = tls_file("client-self.crt"),
                                    .key_file = tls_file("leaf.key")};
    uvws_tls_options_t options;
    tls_server_t server;
    tls_seen_t seen;
    peer_t peer;
    reset_hook();
    hook.verdict = i < 2 ? 0 : UVWS_CERT_REFUSED;
    uvws_tls_options_init(&options);
    options.certificates = &certificate;
    options.n_certificates = 1;
    options.ca = "";
    options.verify = verify;
    options.arg = &hook;
    options.flags = flags[i % 2];
    tls_server_start(&server, tls_new(&options), NULL);
    uvws_tls_options_init(&options);
    options.ca_file = tls_file("ca.crt");
    options.certificates = &shown;
    options.n_certificates = 1;
    uvws_tls_t* tls = tls_new(&options);
    tls_peer_init(&peer, &seen);
    peer.on_open = peer_close;
    tls_connect(&peer, server.server.port, "good.test", tls);
    tls_run_until_closed(&peer);
    tls_server_quiet(&server);
    assert_int_equal(hook.calls, 1);
    assert_false(hook.has_host);
    assert_int_equal(hook.flags, UVWS_CERT_UNKNOWN_ISSUER);
    assert_string_equal(peer.log, i < 2 ? "open close(1000 clean)"
                                        : "error(UVWS_ETLS) close(1006)");
    assert_string_equal(server.errors, i < 2 ? "" : "UVWS_ECERT");
    tls_server_stop(&server);
    uvws_tls_unref(tls);
  }
}

/* ---- main ---- */

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_what_a_configuration_is_made_of),
      TEST(test_a_key_with_aes_is_read_or_refused),
      TEST(test_options_that_are_none),
      TEST(test_why_has_a_size),
      TEST(test_memory_instead_of_files),
      TEST(test_authorities_from_file_and_memory),
      TEST(test_the_environment_tells_whom_to_trust),
      TEST(test_a_hook_sees_all_and_agrees),
      TEST(test_a_hook_has_the_last_word),
      TEST(test_pins),
      TEST(test_an_insecure_client_asks_no_hook),
      TEST(test_a_hook_of_a_server),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
