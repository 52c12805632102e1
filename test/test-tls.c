#include "tls-peers.h"

#include <stdio.h>
#include <string.h>
#ifndef _WIN32
#include <netdb.h>
#endif

/* Certificates, good and bad, each shown by a server to a client or by a client
 * to a server: the status, the verdict, and the words that each end gets. What
 * is shown is made by tls/make-certificates. */

/* ---- what servers show ---- */

enum {
  BY_OPENSSL = 1, /* it is OpenSSL's server */
  OPENS = 2,      /* whatever the verdict */
  TELLS = 4,      /* our server ends TLS */
  ONLY_1_2 = 8,
  ONLY_1_3 = 16
};

/* What is not set is as in a handshake that succeeds: the file good.crt, the
 * host good.test, a client that trusts ca.crt. */
typedef struct row_s {
  const char* name;
  const char* cert;
  const char* key;
  const char* host; /* "" leaves it to the URL: 127.0.0.1 */
  const char* ca;
  const char* crl;
  uint32_t client_flags;
  unsigned how;
  int status;
  uint32_t flags;
  int alert; /* of the server's; 0: none */
  const char* text;
} row_t;

#define BAD(verdict) .status = UVWS_ECERT, .flags = UVWS_CERT_##verdict
#define NO_COMMON                                                  \
  "the peer ended TLS: handshake failure: no common cipher suite " \
  "or certificate"
#define AND(verdict) | UVWS_CERT_##verdict
#define FOR(names, host)                                       \
  .status = UVWS_ECERT, .flags = UVWS_CERT_WRONG_HOST,         \
  .text = "the peer's certificate is for another host (" names \
          ") and not for " host

static const row_t servers[] = {
    /* Those that are good. */
    {.name = "a name"},
    {"a name in capitals", .host = "GOOD.Test"},
    {"a certificate in capitals", .cert = "capitals.crt",
     .host = "capitals.test"},
    {"a wildcard of a certificate in capitals", .cert = "capitals.crt",
     .host = "a.capitals.test"},
    {"a name that is not the first", .host = "localhost"},
    {"a wildcard", .cert = "wild.crt", .host = "a.wild.test"},
    {"a wildcard in capitals", .cert = "wild.crt", .host = "A.WILD.TEST"},
    {"an IPv4 address", .host = ""},
    {"an IPv4 address of several", .host = "127.0.0.1"},
    {"an IPv4 address alone", .cert = "address.crt", .host = ""},
    {"an IPv6 address", .host = "::1"},
    {"an IPv6 address, written out", .host = "0:0:0:0:0:0:0:1"},
    {"a common name, for want of others", .cert = "named.crt",
     .host = "cn.test"},
    {"an intermediate", .cert = "chain.crt"},
    {"two intermediates", .cert = "chain-deep.crt"},
    {"a chain with its root", .cert = "chain-root.crt"},
    {"a chain with a foreign certificate", .cert = "chain-foreign.crt"},
    {"a missing intermediate that is trusted", .cert = "below.crt",
     .ca = "intermediate.crt"},
    {"one of two authorities", .ca = "both-ca.crt"},
    {"the other of two authorities", .cert = "of-other.crt",
     .ca = "both-ca.crt"},
    {"an authority as DER", .ca = "ca.der"},
    {"self-signed and trusted", .cert = "self.crt", .ca = "self.crt"},
    {"RSA, 2048 bits", .cert = "rsa.crt", .key = "rsa.key"},
    {"P-384", .cert = "p384.crt", .key = "p384.key"},
    {"P-521", .cert = "p521.crt", .key = "p521.key"},
    {"any usage", .cert = "usage-any.crt"},
    {"not revoked", .crl = "ca.crl"},
    {"not revoked, by a list as DER", .crl = "ca-crl.der"},
    {"an empty list", .crl = "empty.crl"},
    {"the list of another authority", .crl = "other.crl"},
    {"an intermediate that is not revoked", .cert = "chain.crt",
     .crl = "ca.crl"},

    /* Dates. */
    {"expired", .cert = "expired.crt", BAD(EXPIRED),
     .text = "the peer's certificate has expired (on 2020-01-01)"},
    {"not yet valid", .cert = "future.crt", BAD(NOT_YET_VALID),
     .text = "the peer's certificate is not valid yet (before 2090-01-01)"},
    {"an intermediate that has expired", .cert = "chain-past.crt", BAD(EXPIRED),
     .text = "has expired (on 2020-01-01)"},
    {"an intermediate that is not yet valid", .cert = "chain-future.crt",
     BAD(NOT_YET_VALID), .text = "is not valid yet (before 2090-01-01)"},
    {"an authority that has expired", .cert = "of-old.crt", .ca = "old-ca.crt",
     BAD(EXPIRED), .text = "has expired (on 2020-01-01)"},

    /* Hosts. */
    {"another host", .host = "evil.test",
     FOR("good.test, localhost, 127.0.0.1, ::1", "evil.test")},
    {"a domain above", .host = "test",
     FOR("good.test, localhost, 127.0.0.1, ::1", "test")},
    {"a domain below", .host = "www.good.test",
     FOR("good.test, localhost, 127.0.0.1, ::1", "www.good.test")},
    {"a name that ends alike", .host = "xgood.test",
     FOR("good.test, localhost, 127.0.0.1, ::1", "xgood.test")},
    {"a wildcard for its domain", .cert = "wild.crt", .host = "wild.test",
     FOR("*.wild.test", "wild.test")},
    {"a wildcard for two labels", .cert = "wild.crt", .host = "a.b.wild.test",
     FOR("*.wild.test", "a.b.wild.test")},
    {"a wildcard for no label", .cert = "wild.crt", .host = ".wild.test",
     FOR("*.wild.test", ".wild.test")},
    {"a wildcard that is part of a label", .cert = "partial.crt",
     .host = "www.part.test",
     FOR("w*.part.test, a.*.part.test, *", "www.part.test")},
    {"a wildcard that is not leftmost", .cert = "partial.crt",
     .host = "a.b.part.test",
     FOR("w*.part.test, a.*.part.test, *", "a.b.part.test")},
    {"a wildcard alone", .cert = "partial.crt", .host = "localhost",
     FOR("w*.part.test, a.*.part.test, *", "localhost")},
    {"a name that begins with a dot", .cert = "dotted.crt",
     .host = "a.dot.test", FOR(".dot.test", "a.dot.test")},
    {"more names than are said", .cert = "many.crt",
     FOR("a.test, b.test, c.test, 10.0.0.1 …", "good.test")},
    {"another IPv4 address", .cert = "address-other.crt", .host = "",
     FOR("127.0.0.2, ::2", "127.0.0.1")},
    {"another IPv6 address", .cert = "address-other.crt", .host = "::1",
     FOR("127.0.0.2, ::2", "::1")},
    {"an IPv4 address inside IPv6", .cert = "address.crt",
     .host = "::ffff:127.0.0.1", FOR("127.0.0.1", "::ffff:127.0.0.1")},
    {"an address as a DNS name, and a wildcard", .cert = "address-text.crt",
     .host = "", FOR("127.0.0.1, *.0.0.1", "127.0.0.1")},
    {"an address as the common name", .cert = "named-address.crt", .host = "",
     FOR("127.0.0.1", "127.0.0.1")},
    {"an address instead of a name", .cert = "address.crt",
     FOR("127.0.0.1", "good.test")},
    {"a common name besides others", .cert = "named-besides.crt",
     .host = "cn.test", FOR("san.test", "cn.test")},
    {"another common name", .cert = "named.crt", FOR("cn.test", "good.test")},
    {"no name", .cert = "nameless.crt", FOR("no host", "good.test")},
    {"mail addresses and URLs", .cert = "mail.crt", BAD(WRONG_HOST),
     .text = "and not for good.test"},
    {"a name with a NUL", .cert = "nul.crt",
     FOR("good.test?.evil", "good.test")},
    {"another host's and expired", .cert = "expired-other.crt",
     BAD(EXPIRED) AND(WRONG_HOST),
     .text = "has expired (on 2020-01-01), is for another host (other.test) "
             "and not for good.test"},

    /* Issuers. */
    {"self-signed", .cert = "self.crt", BAD(UNKNOWN_ISSUER),
     .text = "the peer's certificate is from an unknown issuer (self-signed)"},
    {"an unknown authority", .cert = "of-other.crt", BAD(UNKNOWN_ISSUER),
     .text = "is from an unknown issuer (uvws other CA)"},
    {"an impostor of the same name", .cert = "of-impostor.crt",
     BAD(UNKNOWN_ISSUER), .text = "unknown issuer (uvws test CA)"},
    {"a missing intermediate", .cert = "below.crt", BAD(UNKNOWN_ISSUER),
     .text = "unknown issuer (uvws intermediate)"},
    {"the root in its intermediate's place", .cert = "chain-missing.crt",
     BAD(UNKNOWN_ISSUER), .text = "unknown issuer (uvws intermediate)"},
    {"one of two intermediates is missing", .cert = "chain-gap.crt",
     BAD(UNKNOWN_ISSUER), .text = "unknown issuer (uvws second)"},
    {"a chain out of order", .cert = "chain-disordered.crt",
     BAD(UNKNOWN_ISSUER), .text = "unknown issuer (uvws intermediate)"},
    {"issued by a server", .cert = "chain-leaf.crt", BAD(UNKNOWN_ISSUER),
     .text = "unknown issuer"},
    {"an intermediate that is no authority", .cert = "chain-end.crt",
     BAD(UNKNOWN_ISSUER), .text = "unknown issuer"},
    {"an authority that may not sign", .cert = "of-mute.crt",
     .ca = "mute-ca.crt", BAD(UNKNOWN_ISSUER),
     .text = "unknown issuer (uvws mute CA)"},
    {"a chain too long for its root", .cert = "chain-sealed.crt",
     .ca = "sealed-ca.crt", BAD(UNKNOWN_ISSUER), .text = "unknown issuer"},

    /* Weakness. */
    {"SHA-1", .cert = "sha1.crt", BAD(WEAK_HASH),
     .text = "the peer's certificate is signed with a weak hash"},
    {"MD5", .cert = "md5.crt", .ca = "rsa-ca.crt", BAD(WEAK_HASH),
     .text = "is signed with a weak hash"},
    {"an intermediate with SHA-1", .cert = "chain-sha1.crt", BAD(WEAK_HASH),
     .text = "is signed with a weak hash"},
    {"RSA, 1024 bits", .cert = "short.crt", .key = "short.key", BAD(WEAK_KEY),
     .text = "the peer's certificate has a weak key"},
    {"an intermediate with RSA, 1024 bits", .cert = "chain-short.crt",
     BAD(WEAK_KEY), .text = "has a weak key"},

    /* Usage: mbedTLS's server would not show these. */
    {"a client's", .cert = "usage-client.crt", .how = BY_OPENSSL,
     BAD(WRONG_USAGE),
     .text = "the peer's certificate is not meant for this use"},
    {"for mail", .cert = "usage-mail.crt", .how = BY_OPENSSL, BAD(WRONG_USAGE),
     .text = "is not meant for this use"},
    {"not for signatures", .cert = "usage-sign.crt",
     .how = BY_OPENSSL | ONLY_1_3, BAD(WRONG_USAGE),
     .text = "is not meant for this use"},
    {"for key agreement", .cert = "usage-agree.crt",
     .how = BY_OPENSSL | ONLY_1_3, BAD(WRONG_USAGE),
     .text = "is not meant for this use"},

    /* These are not even OpenSSL's to show. */
    {"not for signatures, in TLS 1.2", .cert = "usage-sign.crt",
     .how = BY_OPENSSL | ONLY_1_2, .status = UVWS_ETLS, .alert = 40,
     .text = NO_COMMON},
    {"for key agreement, in TLS 1.2", .cert = "usage-agree.crt",
     .how = BY_OPENSSL | ONLY_1_2, .status = UVWS_ETLS, .alert = 40,
     .text = NO_COMMON},
    {"not for signatures, by us", .cert = "usage-sign.crt", .how = TELLS,
     .status = UVWS_ETLS, .alert = 40, .text = NO_COMMON},
    {"Ed25519", .cert = "ed25519.crt", .key = "ed25519.key", .how = BY_OPENSSL,
     .status = UVWS_ETLS, .alert = 40, .text = NO_COMMON},
    {"a curve that no client of ours knows", .cert = "p224.crt",
     .key = "p224.key", .how = BY_OPENSSL, .status = UVWS_ETLS, .alert = 40,
     .text = NO_COMMON},

    /* Revocation. */
    {"revoked", .cert = "revoked.crt", .crl = "ca.crl", BAD(REVOKED),
     .text = "the peer's certificate was revoked"},
    {"revoked, by a list as DER", .cert = "revoked.crt", .crl = "ca-crl.der",
     BAD(REVOKED), .text = "was revoked"},
    {"a revoked intermediate", .cert = "chain-revoked.crt", .crl = "ca.crl",
     BAD(REVOKED), .text = "was revoked"},
    {"an old list", .crl = "expired.crl", BAD(BAD_CRL),
     .text = "cannot be checked for revocation"},
    {"a list of the future", .crl = "future.crl", BAD(BAD_CRL),
     .text = "cannot be checked for revocation"},
    {"a forged list", .crl = "forged.crl", BAD(BAD_CRL),
     .text = "cannot be checked for revocation"},
    {"a list with SHA-1", .crl = "sha1.crl", BAD(BAD_CRL),
     .text = "cannot be checked for revocation"},
    {"revoked, and the list is old", .cert = "revoked.crt",
     .crl = "expired.crl", BAD(BAD_CRL) AND(REVOKED), .text = "was revoked"},

    /* mbedTLS passes over a certificate whose signature it does not know, and
     * nothing is left to judge. In TLS 1.3 it does not. */
    {"an unknown kind of signature", .cert = "of-ed25519.crt",
     .how = BY_OPENSSL | ONLY_1_2, BAD(OTHER),
     .text = "the peer's certificate is not acceptable"},
    {"an unknown kind of signature, in TLS 1.3", .cert = "of-ed25519.crt",
     .how = BY_OPENSSL | ONLY_1_3, .status = UVWS_ETLS, .text = "TLS failed: "},

    /* What cannot be understood is no verdict. */
    {"an unknown critical extension", .cert = "critical.crt", .how = BY_OPENSSL,
     .status = UVWS_ETLS, .text = "TLS failed: X509"},

    /* For tests the verdict stands, and nothing comes of it. */
    {"insecure: another host", .host = "evil.test", .how = OPENS,
     .client_flags = UVWS_TLS_INSECURE, .flags = UVWS_CERT_WRONG_HOST},
    {"insecure: another address", .cert = "address-other.crt", .host = "",
     .how = OPENS, .client_flags = UVWS_TLS_INSECURE,
     .flags = UVWS_CERT_WRONG_HOST},
    {"insecure: expired", .cert = "expired.crt", .how = OPENS,
     .client_flags = UVWS_TLS_INSECURE, .flags = UVWS_CERT_EXPIRED},
    {"insecure: self-signed", .cert = "self.crt", .how = OPENS,
     .client_flags = UVWS_TLS_INSECURE, .flags = UVWS_CERT_UNKNOWN_ISSUER},
    {"insecure: a good one", .client_flags = UVWS_TLS_INSECURE},
};

static uvws_tls_t* client_of(const row_t* row, uint32_t max_version) {
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.ca_file = tls_file(row->ca == NULL ? "ca.crt" : row->ca);
  if (row->crl != NULL) options.crl_file = tls_file(row->crl);
  options.flags = row->client_flags;
  options.max_version = max_version;
  return tls_new(&options);
}

static const char* host_of(const row_t* row) {
  if (row->host == NULL) return "good.test";
  return row->host[0] == '\0' ? NULL : row->host;
}

static bool is_1_3;

static void check(const row_t* row, const peer_t* peer,
                  const tls_seen_t* seen) {
  char log[96] = "open close(1000 clean)";
  bool fails = row->status != 0;
  if (fails)
    snprintf(log, sizeof(log), "error(%s) close(1006)",
             uvws_err_name(row->status));
  print_message("%-45s %s%s%s\n", row->name,
                fails ? uvws_err_name(peer->status) : "opens",
                fails ? ": " : "", peer->reason);
  tls_expect_log(peer->log, log, row->name);
  tls_expect(peer->status == row->status, row->name, "its status");
  tls_expect(seen->flags == row->flags, row->name, "its verdict");
  tls_expect((seen->error != 0) == fails, row->name,
             "an error of the engine's");
  tls_expect(seen->alert == (row->alert == 0 ? -1 : row->alert), row->name,
             "its alert");
  tls_expect((seen->version != 0) == !fails, row->name, "its version");
  tls_expect_text(peer->reason, row->text, row->name);
}

static void shown_by_us(const row_t* row, peer_t* peer, uvws_tls_t* tls) {
  tls_server_t server;
  tls_server_start(&server, tls_server_config(row->cert, row->key), NULL);
  tls_connect(peer, server.server.port, host_of(row), tls);
  tls_run_until_closed(peer);
  tls_server_quiet(&server);
  if (row->status == 0) {
    tls_expect_log(server.server.peers[0].log, "open close(1000 clean)",
                   row->name);
    tls_expect_log(server.errors, "", row->name);
  } else {
    /* It is told by an alert. */
    tls_expect(server.server.accepted == 0, row->name, "refused");
    tls_expect_log(server.errors, "UVWS_ETLS", row->name);
    /* mbedTLS's client of 1.3 sends it before it has keys, and its server takes
     * that for damage. */
    tls_expect(strstr(server.reason, "the peer ended TLS: ") != NULL ||
                   (row->how & TELLS) || is_1_3,
               row->name, "ended by an alert");
  }
  tls_server_stop(&server);
}

static void shown_by_openssl(const row_t* row, peer_t* peer, uvws_tls_t* tls) {
  static openssl_t openssl;
  char args[256];
  snprintf(args, sizeof(args), "-cert @%s -key @%s", row->cert,
           row->key == NULL ? "leaf.key" : row->key);
  openssl_serve(&openssl, args);
  tls_connect(peer, openssl.port, host_of(row), tls);
  tls_run_until_closed(peer);
  openssl_stop(&openssl);
}

static void check_server(const row_t* row, uint32_t max_version) {
  uvws_tls_t* tls = client_of(row, max_version);
  tls_seen_t seen;
  peer_t peer;
  tls_peer_init(&peer, &seen);
  if (row->status == 0) peer.on_open = peer_close;
  if (row->how & BY_OPENSSL)
    shown_by_openssl(row, &peer, tls);
  else
    shown_by_us(row, &peer, tls);
  check(row, &peer, &seen);
  uvws_tls_unref(tls);
}

static void check_servers(uint32_t version) {
  unsigned other = version == UVWS_TLS_1_2 ? ONLY_1_3 : ONLY_1_2;
  tls_wrong = 0;
  is_1_3 = version == UVWS_TLS_1_3;
  for (size_t i = 0; i < COUNT_OF(servers); i++)
    if (!(servers[i].how & other)) check_server(&servers[i], version);
  assert_int_equal(tls_wrong, 0);
}

static void test_certificates_of_servers_in_tls_1_2(void** state) {
  (void)state;
  check_servers(UVWS_TLS_1_2);
}

static void test_certificates_of_servers_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  check_servers(UVWS_TLS_1_3);
}

/* A bare chroot knows no names, not even its own. */
static bool is_known(const char* host) {
  struct addrinfo* addresses = NULL;
  bool is_name = (host[0] | 0x20) == 'l';
  if (is_name && getaddrinfo(host, NULL, NULL, &addresses) != 0) return false;
  if (is_name) freeaddrinfo(addresses);
  return true;
}

/* The URL's own host is what is verified. */
static void test_hosts_of_urls(void** state) {
  static const struct {
    const char* host;
    const char* cert;
    bool opens;
  } urls[] = {
      {"[::1]", "good.crt", true},     {"[0::1]", "good.crt", true},
      {"[::1]", "address.crt", false}, {"127.0.0.1", "address.crt", true},
      {"127.1", "address.crt", true},  {"localhost", "good.crt", true},
      {"LocalHost", "good.crt", true}, {"localhost", "address.crt", false}};
  uvws_tls_t* tls = tls_client_config(NULL);
  (void)state;
  for (size_t i = 0; i < COUNT_OF(urls); i++) {
    struct sockaddr_in6 addr;
    uvws_options_t options;
    tls_server_t server;
    tls_seen_t seen;
    char url[64];
    peer_t peer;
    bool is_6 = urls[i].host[0] == '[';
    uvws_options_init(&options);
    options.tls = tls;
    tls_server_start(&server, tls_server_config(urls[i].cert, NULL), NULL);
    uv_ip6_addr("::1", server.server.port, &addr);
    /* Not every machine has IPv6. */
    int status = uvws_listen(&server.server.server,
                             (const struct sockaddr*)&addr, 0, 16);
    if ((status == 0 || !is_6) && is_known(urls[i].host)) {
      snprintf(url, sizeof(url), "wss://%s:%d/", urls[i].host,
               server.server.port);
      tls_peer_init(&peer, &seen);
      peer.on_open = peer_close;
      assert_int_equal(uvws_connect(&peer.ws, url, &options), 0);
      tls_run_until_closed(&peer);
      print_message("%s: %s %s\n", url, peer.log, peer.reason);
      assert_string_equal(peer.log, urls[i].opens
                                        ? "open close(1000 clean)"
                                        : "error(UVWS_ECERT) close(1006)");
      assert_int_equal(seen.flags, urls[i].opens ? 0 : UVWS_CERT_WRONG_HOST);
    }
    tls_server_stop(&server);
  }
  uvws_tls_unref(tls);
}

/* ---- what clients show ---- */

typedef struct client_row_s {
  const char* name;
  const char* cert; /* NULL: none */
  const char* key;
  const char* crl;
  uint32_t server_flags;
  int status; /* of the server's tls_error */
  const char* text;
} client_row_t;

#define ASK     .server_flags = UVWS_TLS_ASK_CLIENT
#define REQUIRE .server_flags = UVWS_TLS_REQUIRE_CLIENT
#define REFUSED .status = UVWS_ECERT

static const client_row_t clients[] = {
    {"nobody asks", .cert = "client.crt"},
    {"asked: a good one", .cert = "client.crt", ASK},
    {"asked: none", .cert = NULL, ASK},
    {"required: a good one", .cert = "client.crt", REQUIRE},
    {"required: RSA", .cert = "client-rsa.crt", .key = "rsa.key", REQUIRE},
    {"required: not revoked", .cert = "client.crt", .crl = "ca.crl", REQUIRE},

    {"required: none", REQUIRE, REFUSED,
     .text = "the peer's certificate is missing"},
    {"asked: expired", .cert = "client-expired.crt", ASK, REFUSED,
     .text = "the peer's certificate has expired (on 2020-01-01)"},
    {"required: expired", .cert = "client-expired.crt", REQUIRE, REFUSED,
     .text = "the peer's certificate has expired (on 2020-01-01)"},
    {"asked: not yet valid", .cert = "client-future.crt", ASK, REFUSED,
     .text = "is not valid yet (before 2090-01-01)"},
    {"required: not yet valid", .cert = "client-future.crt", REQUIRE, REFUSED,
     .text = "is not valid yet (before 2090-01-01)"},
    {"asked: an unknown authority", .cert = "client-other.crt", ASK, REFUSED,
     .text = "is from an unknown issuer (uvws other CA)"},
    {"required: an unknown authority", .cert = "client-other.crt", REQUIRE,
     REFUSED, .text = "is from an unknown issuer (uvws other CA)"},
    {"asked: self-signed", .cert = "client-self.crt", ASK, REFUSED,
     .text = "is from an unknown issuer (self-signed)"},
    {"required: self-signed", .cert = "client-self.crt", REQUIRE, REFUSED,
     .text = "is from an unknown issuer (self-signed)"},
    {"asked: a server's", .cert = "client-server.crt", ASK, REFUSED,
     .text = "is not meant for this use"},
    {"required: a server's", .cert = "client-server.crt", REQUIRE, REFUSED,
     .text = "is not meant for this use"},
    {"required: not for signatures", .cert = "client-sign.crt", REQUIRE,
     REFUSED, .text = "is not meant for this use"},
    {"asked: SHA-1", .cert = "client-sha1.crt", ASK, REFUSED,
     .text = "is signed with a weak hash"},
    {"required: RSA, 1024 bits", .cert = "client-short.crt", .key = "short.key",
     REQUIRE, REFUSED, .text = "has a weak key"},
    {"asked: revoked", .cert = "client-revoked.crt", .crl = "ca.crl", ASK,
     REFUSED, .text = "was revoked"},
    {"required: revoked", .cert = "client-revoked.crt", .crl = "ca.crl",
     REQUIRE, REFUSED, .text = "was revoked"},
    /* A server has no use for the flag. */
    {"required, and insecure: expired", .cert = "client-expired.crt",
     .server_flags = UVWS_TLS_REQUIRE_CLIENT | UVWS_TLS_INSECURE, REFUSED,
     .text = "has expired"},
    {"required, and insecure: none",
     .server_flags = UVWS_TLS_REQUIRE_CLIENT | UVWS_TLS_INSECURE, REFUSED,
     .text = "is missing"},
    {"asked, and insecure: expired", .cert = "client-expired.crt",
     .server_flags = UVWS_TLS_ASK_CLIENT | UVWS_TLS_INSECURE, REFUSED,
     .text = "has expired"},
};

static uvws_tls_t* asking(const client_row_t* row, uint32_t version) {
  uvws_tls_certificate_t certificate = {.cert_file = tls_file("good.crt"),
                                        .key_file = tls_file("leaf.key")};
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  options.ca_file = tls_file("ca.crt");
  if (row->crl != NULL) options.crl_file = tls_file(row->crl);
  options.flags = row->server_flags;
  options.max_version = version;
  return tls_new(&options);
}

static uvws_tls_t* showing(const client_row_t* row) {
  uvws_tls_certificate_t certificate = {
      .cert_file = tls_file(row->cert),
      .key_file = tls_file(row->key == NULL ? "leaf.key" : row->key)};
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = row->cert != NULL;
  options.ca_file = tls_file("ca.crt");
  return tls_new(&options);
}

static void check_client(const client_row_t* row, const peer_t* peer,
                         const tls_seen_t* seen, tls_server_t* server) {
  const char* log = row->status == 0 ? "open close(1000 clean)"
                                     : "error(UVWS_ETLS) close(1006)";
  print_message("%-35s %s: %s; %s\n", row->name,
                row->status == 0 ? "opens" : server->errors, server->reason,
                peer->reason);
  tls_expect_log(peer->log, log, row->name);
  tls_expect_log(server->errors,
                 row->status == 0 ? "" : uvws_err_name(row->status), row->name);
  tls_expect((server->server.accepted == 1) == (row->status == 0), row->name,
             "accepted");
  tls_expect(server->flags == 0, row->name, "its verdict");
  tls_expect(seen->flags == 0, row->name, "a good server");
  if (row->status == 0) return;
  tls_expect_text(server->reason, row->text, row->name);
  /* mbedTLS's server of 1.3 sends it with keys that its client has left. */
  if (is_1_3) return;
  tls_expect(seen->alert > 0, row->name, "told by an alert");
  tls_expect_text(peer->reason, "the peer ended TLS: ", row->name);
}

static void check_clients(uint32_t version) {
  tls_wrong = 0;
  is_1_3 = version == UVWS_TLS_1_3;
  for (size_t i = 0; i < COUNT_OF(clients); i++) {
    uvws_tls_t* tls = showing(&clients[i]);
    tls_server_t server;
    tls_seen_t seen;
    peer_t peer;
    tls_server_start(&server, asking(&clients[i], version), NULL);
    tls_peer_init(&peer, &seen);
    peer.on_open = peer_close;
    tls_connect(&peer, server.server.port, "good.test", tls);
    tls_run_until_closed(&peer);
    tls_server_quiet(&server);
    check_client(&clients[i], &peer, &seen, &server);
    tls_server_stop(&server);
    uvws_tls_unref(tls);
  }
  assert_int_equal(tls_wrong, 0);
}

static void test_certificates_of_clients_in_tls_1_2(void** state) {
  (void)state;
  check_clients(UVWS_TLS_1_2);
}

static void test_certificates_of_clients_in_tls_1_3(void** state) {
  (void)state;
  if (!tls_has_1_3()) skip();
  check_clients(UVWS_TLS_1_3);
}

/* ---- main ---- */

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_certificates_of_servers_in_tls_1_2),
      TEST(test_certificates_of_servers_in_tls_1_3),
      TEST(test_hosts_of_urls),
      TEST(test_certificates_of_clients_in_tls_1_2),
      TEST(test_certificates_of_clients_in_tls_1_3),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
