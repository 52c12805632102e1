/* A configuration: mbedTLS's own, one for each role, and what they point to. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/chachapoly.h>
#include <mbedtls/gcm.h>

#include "alloc.h"
#include "net/tls-mbedtls.h"

#if UVWS__HAS_TLS_1_3
#include <psa/crypto.h>
#endif

static uv_once_t once = UV_ONCE_INIT;

/* The system's trust store, from its first use to the process's end. */
static uv_mutex_t system_mutex;
static mbedtls_x509_crt system_ca;
static bool system_is_there;

int uvws__tls_random(void* unused, unsigned char* out, size_t len) {
  (void)unused;
  return uv_random(NULL, NULL, out, len, 0, NULL) == 0
             ? 0
             : MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
}

/* ---- what this machine does fastest ---- */

enum { SPEED_RUNS = 8, SPEED_LEN = 8 * 1024 };

typedef struct probe_s {
  uint8_t key[32];
  uint8_t nonce[12];
  uint8_t tag[16];
  uint8_t bytes[SPEED_LEN];
} probe_t;

static bool run_gcm(probe_t* probe, void* context) {
  return mbedtls_gcm_crypt_and_tag(context, MBEDTLS_GCM_ENCRYPT, SPEED_LEN,
                                   probe->nonce, sizeof(probe->nonce), NULL, 0,
                                   probe->bytes, probe->bytes,
                                   sizeof(probe->tag), probe->tag) == 0;
}

static bool run_chachapoly(probe_t* probe, void* context) {
  return mbedtls_chachapoly_encrypt_and_tag(context, SPEED_LEN, probe->nonce,
                                            NULL, 0, probe->bytes, probe->bytes,
                                            probe->tag) == 0;
}

/* The least of a few times: what else runs can only add to it. */
static uint64_t time_of(bool (*run)(probe_t*, void*), probe_t* probe,
                        void* context) {
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < SPEED_RUNS; i++) {
    uint64_t start = uv_hrtime();
    if (!run(probe, context)) return UINT64_MAX;
    uint64_t took = uv_hrtime() - start;
    if (took < least) least = took;
  }
  return least;
}

static bool is_aes_faster(void) {
  static probe_t probe;
  mbedtls_gcm_context gcm;
  mbedtls_chachapoly_context chachapoly;
  uint64_t aes = UINT64_MAX, chacha = UINT64_MAX;
  mbedtls_gcm_init(&gcm);
  mbedtls_chachapoly_init(&chachapoly);
  if (mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, probe.key, 128) == 0)
    aes = time_of(run_gcm, &probe, &gcm);
  if (mbedtls_chachapoly_setkey(&chachapoly, probe.key) == 0)
    chacha = time_of(run_chachapoly, &probe, &chachapoly);
  mbedtls_gcm_free(&gcm);
  mbedtls_chachapoly_free(&chachapoly);
  return aes <= chacha;
}

/* Forward secrecy and AEAD only, in TLS 1.2 as in 1.3 (RFC 9325, 4.2). */
#define AES_SUITES                                     \
  MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,     \
      MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,   \
      MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
      MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
#define CHACHA_SUITES                                    \
  MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
      MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256

#if UVWS__HAS_TLS_1_3
#define AES_SUITES_1_3 \
  MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#define CHACHA_SUITES_1_3 MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#else
#define AES_SUITES_1_3
#define CHACHA_SUITES_1_3
#endif

static const int aes_first[] = {AES_SUITES_1_3 CHACHA_SUITES_1_3 AES_SUITES,
                                CHACHA_SUITES, 0};
static const int chacha_first[] = {
    CHACHA_SUITES_1_3 AES_SUITES_1_3 CHACHA_SUITES, AES_SUITES, 0};
static const int* suites;

/* The first is what mbedTLS computes fastest in a handshake (measured: X25519
 * 0.88 ms, P-256 1.11 ms), and what every peer has. */
#if UVWS__MBEDTLS_2
static const mbedtls_ecp_group_id groups[] = {
    MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1,
    MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1, MBEDTLS_ECP_DP_NONE};
/* 2.28 would still offer SHA-1 (RFC 9155). */
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384,
                             MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE};
#else
static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_SECP521R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
#endif

static void init_once(void) {
  if (uv_mutex_init(&system_mutex) != 0) abort();
#if UVWS__HAS_TLS_1_3
  /* A failure shows in the first handshake. */
  (void)psa_crypto_init();
#endif
  suites = is_aes_faster() ? aes_first : chacha_first;
}

/* ---- errors ---- */

/* Where and why making a configuration failed. */
typedef struct maker_s {
  struct uvws_tls_s* config;
  char* why;
  size_t size;
} maker_t;

static uvws__tls_made_t bad(const maker_t* maker, const char* what, int code) {
  char detail[128] = "";
  if (uvws__tls_is_out_of_memory(code)) return UVWS__TLS_NO_MEMORY;
  if (code < 0) mbedtls_strerror(code, detail, sizeof(detail));
  if (maker->why != NULL && maker->size > 0)
    snprintf(maker->why, maker->size, "%s%s%s", what,
             detail[0] == '\0' ? "" : ": ", detail);
  return UVWS__TLS_BAD_CONFIG;
}

/* mbedTLS wants PEM with its NUL, DER without. */
static size_t size_for(const uvws__tls_text_t* text) {
  bool is_pem = strstr((const char*)text->data, "-----BEGIN ") != NULL;
  return text->len + is_pem;
}

/* ---- identities ---- */

static int parse_key(mbedtls_pk_context* key,
                     const uvws__tls_identity_t* identity) {
  const char* pass = identity->passphrase;
  size_t pass_len = pass == NULL ? 0 : strlen(pass);
  return mbedtls_pk_parse_key(key, identity->key.data, size_for(&identity->key),
                              (const unsigned char*)pass, pass_len
#if !UVWS__MBEDTLS_2
                              ,
                              uvws__tls_random, NULL
#endif
  );
}

static int check_pair(uvws__identity_t* identity) {
#if UVWS__MBEDTLS_2
  return mbedtls_pk_check_pair(&identity->chain.pk, &identity->key);
#else
  return mbedtls_pk_check_pair(&identity->chain.pk, &identity->key,
                               uvws__tls_random, NULL);
#endif
}

static uvws__tls_made_t add_identity(const maker_t* maker,
                                     const uvws__tls_identity_t* from) {
  struct uvws_tls_s* config = maker->config;
  uvws__identity_t* identity = &config->identities[config->n_identities++];
  mbedtls_x509_crt_init(&identity->chain);
  mbedtls_pk_init(&identity->key);
  int code = mbedtls_x509_crt_parse(&identity->chain, from->cert.data,
                                    size_for(&from->cert));
  if (code != 0) return bad(maker, "a certificate cannot be read", code);
  code = parse_key(&identity->key, from);
  if (code == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
    return bad(maker, "a key needs its passphrase", code);
  if (code == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
    return bad(maker, "a key's passphrase is wrong", code);
  if (code != 0) return bad(maker, "a key cannot be read", code);
  code = check_pair(identity);
  if (code != 0) return bad(maker, "a key is not its certificate's", code);
  return UVWS__TLS_OK;
}

static uvws__tls_made_t add_identities(const maker_t* maker,
                                       const uvws__tls_setup_t* setup) {
  if (setup->n_identities == 0) return UVWS__TLS_OK;
  maker->config->identities =
      uvws__calloc(setup->n_identities, sizeof(*maker->config->identities));
  if (maker->config->identities == NULL) return UVWS__TLS_NO_MEMORY;
  for (unsigned i = 0; i < setup->n_identities; i++) {
    uvws__tls_made_t made = add_identity(maker, &setup->identities[i]);
    if (made != UVWS__TLS_OK) return made;
  }
  return UVWS__TLS_OK;
}

static bool is_named(const uvws__identity_t* identity, const char* name) {
  return uvws__tls_names(&identity->chain, name);
}

/* All that have the name, so that mbedTLS can choose by the key's type. */
void uvws__tls_choose_identity(struct uvws_tls_s* config,
                               mbedtls_ssl_context* ssl, const char* name) {
  for (unsigned i = 0; i < config->n_identities; i++) {
    uvws__identity_t* identity = &config->identities[i];
    /* Without memory it has the default. */
    if (is_named(identity, name))
      (void)mbedtls_ssl_set_hs_own_cert(ssl, &identity->chain, &identity->key);
  }
}

/* ---- configurations ---- */

#if UVWS__MBEDTLS_2
static int minor_of(unsigned version) {
  return (int)(version & 0xFF);
}
#endif

static uvws__tls_made_t set_versions(const maker_t* maker,
                                     mbedtls_ssl_config* ssl,
                                     const uvws__tls_setup_t* setup) {
#if UVWS__HAS_TLS_1_3
  unsigned newest = MBEDTLS_SSL_VERSION_TLS1_3;
#else
  unsigned newest = 0x0303;
#endif
  unsigned max = setup->max_version == 0 ? newest : setup->max_version;
  if (setup->min_version < 0x0303 || setup->min_version > max || max > newest)
    return bad(maker, "there are no such TLS versions here", 0);
#if UVWS__MBEDTLS_2
  mbedtls_ssl_conf_min_version(ssl, 3, minor_of(setup->min_version));
  mbedtls_ssl_conf_max_version(ssl, 3, minor_of(max));
#else
  mbedtls_ssl_conf_min_tls_version(
      ssl, (mbedtls_ssl_protocol_version)setup->min_version);
  mbedtls_ssl_conf_max_tls_version(ssl, (mbedtls_ssl_protocol_version)max);
#endif
  return UVWS__TLS_OK;
}

static const char* const alpn_protocols[] = {"http/1.1", NULL};

static uvws__tls_made_t configure(const maker_t* maker, mbedtls_ssl_config* ssl,
                                  bool is_server,
                                  const uvws__tls_setup_t* setup) {
  struct uvws_tls_s* config = maker->config;
  int code = mbedtls_ssl_config_defaults(
      ssl, is_server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
      MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  if (code != 0) return bad(maker, "TLS cannot be set up", code);
  int auth = MBEDTLS_SSL_VERIFY_REQUIRED;
  if (is_server && !setup->require_client)
    auth = setup->ask_client ? MBEDTLS_SSL_VERIFY_OPTIONAL
                             : MBEDTLS_SSL_VERIFY_NONE;
  else if (!is_server && setup->insecure)
    auth = MBEDTLS_SSL_VERIFY_OPTIONAL;
  mbedtls_ssl_conf_authmode(ssl, auth);
  mbedtls_ssl_conf_rng(ssl, uvws__tls_random, NULL);
  mbedtls_ssl_conf_ca_chain(ssl, &config->ca, &config->crl);
  mbedtls_ssl_conf_ciphersuites(ssl, suites);
  mbedtls_ssl_conf_renegotiation(ssl, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#if UVWS__MBEDTLS_2
  mbedtls_ssl_conf_curves(ssl, groups);
  mbedtls_ssl_conf_sig_hashes(ssl, hashes);
  if (setup->keylog != NULL)
    mbedtls_ssl_conf_export_keys_ext_cb(ssl, uvws__tls_export_keys, config);
#else
  mbedtls_ssl_conf_groups(ssl, groups);
#endif
#if UVWS__HAS_TLS_1_3
  mbedtls_ssl_conf_tls13_key_exchange_modes(
      ssl, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
#endif
  code = mbedtls_ssl_conf_alpn_protocols(ssl, (const char**)alpn_protocols);
  /* A client has one identity, a server more by its client's wish. */
  if (code == 0 && config->n_identities > 0)
    code = mbedtls_ssl_conf_own_cert(ssl, &config->identities[0].chain,
                                     &config->identities[0].key);
  if (code != 0) return bad(maker, "TLS cannot be set up", code);
  return set_versions(maker, ssl, setup);
}

static uvws__tls_made_t set_resumption(const maker_t* maker,
                                       const uvws__tls_setup_t* setup) {
  struct uvws_tls_s* config = maker->config;
  mbedtls_ssl_conf_session_tickets(&config->client,
                                   setup->resumption
                                       ? MBEDTLS_SSL_SESSION_TICKETS_ENABLED
                                       : MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
  if (!setup->resumption) return UVWS__TLS_OK;
#if UVWS__HAS_TLS_1_3 && MBEDTLS_VERSION_NUMBER >= 0x03060100
  mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
      &config->client, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
  /* A session of TLS 1.3 does not remember its client's certificate. */
  if (config->n_identities == 0 || setup->ask_client || setup->require_client)
    return UVWS__TLS_OK;
  int code = mbedtls_ssl_ticket_setup(&config->tickets, uvws__tls_random, NULL,
                                      MBEDTLS_CIPHER_AES_256_GCM,
                                      setup->session_lifetime);
  if (code != 0) return bad(maker, "session tickets cannot be set up", code);
  mbedtls_ssl_conf_session_tickets_cb(&config->server, mbedtls_ssl_ticket_write,
                                      mbedtls_ssl_ticket_parse,
                                      &config->tickets);
  return UVWS__TLS_OK;
}

static uvws__tls_made_t add_authorities(const maker_t* maker,
                                        const uvws__tls_setup_t* setup) {
  mbedtls_x509_crt* ca = &maker->config->ca;
  const uvws__tls_text_t* system = &setup->system_ca;
  for (unsigned i = 0; i < setup->n_ca; i++) {
    int code =
        mbedtls_x509_crt_parse(ca, setup->ca[i].data, size_for(&setup->ca[i]));
    if (code != 0)
      return bad(maker, "a certificate authority cannot be read", code);
  }
  if (system->len == 0) return UVWS__TLS_OK;
  int code = mbedtls_x509_crt_parse(ca, system->data, size_for(system));
  return code < 0 ? bad(maker, "the trust store cannot be read", code)
                  : UVWS__TLS_OK;
}

static uvws__tls_made_t make(const maker_t* maker,
                             const uvws__tls_setup_t* setup) {
  struct uvws_tls_s* config = maker->config;
  uvws__tls_made_t made = add_authorities(maker, setup);
  if (made != UVWS__TLS_OK) return made;
  int code = 0;
  if (setup->crl.len > 0)
    code = mbedtls_x509_crl_parse(&config->crl, setup->crl.data,
                                  size_for(&setup->crl));
  if (code != 0) return bad(maker, "a revocation list cannot be read", code);
  made = add_identities(maker, setup);
  if (made == UVWS__TLS_OK)
    made = configure(maker, &config->client, false, setup);
  if (made == UVWS__TLS_OK && config->n_identities > 0) {
    made = configure(maker, &config->server, true, setup);
    mbedtls_ssl_conf_sni(&config->server, uvws__tls_on_server_name, config);
  }
  return made == UVWS__TLS_OK ? set_resumption(maker, setup) : made;
}

static void free_config(struct uvws_tls_s* config) {
  mbedtls_ssl_config_free(&config->client);
  mbedtls_ssl_config_free(&config->server);
  mbedtls_ssl_ticket_free(&config->tickets);
  for (unsigned i = 0; i < config->n_identities; i++) {
    mbedtls_x509_crt_free(&config->identities[i].chain);
    mbedtls_pk_free(&config->identities[i].key);
  }
  uvws__free(config->identities);
  mbedtls_x509_crt_free(&config->ca);
  mbedtls_x509_crl_free(&config->crl);
  uvws__tls_sessions_clear(&config->sessions);
  uvws__free(config);
}

uvws__tls_made_t uvws__tls_config_new(const uvws__tls_setup_t* setup,
                                      struct uvws_tls_s** result, char* why,
                                      size_t size) {
  uv_once(&once, init_once);
  struct uvws_tls_s* config = uvws__calloc(1, sizeof(*config));
  if (config == NULL) return UVWS__TLS_NO_MEMORY;
  if (uvws__tls_sessions_init(&config->sessions, setup->max_sessions,
                              setup->session_lifetime) != 0) {
    uvws__free(config);
    return UVWS__TLS_NO_MEMORY;
  }
  atomic_init(&config->refs, 1);
  mbedtls_ssl_config_init(&config->client);
  mbedtls_ssl_config_init(&config->server);
  mbedtls_ssl_ticket_init(&config->tickets);
  mbedtls_x509_crt_init(&config->ca);
  mbedtls_x509_crl_init(&config->crl);
  config->needs_system = setup->needs_system;
  config->insecure = setup->insecure;
  config->resumption = setup->resumption;
  config->verify = setup->verify;
  config->keylog = setup->keylog;
  config->arg = setup->arg;
  maker_t maker = {config, why, size};
  uvws__tls_made_t made = make(&maker, setup);
  if (made != UVWS__TLS_OK) {
    free_config(config);
    return made;
  }
  *result = config;
  return UVWS__TLS_OK;
}

struct uvws_tls_s* uvws__tls_config_ref(struct uvws_tls_s* config) {
  atomic_fetch_add_explicit(&config->refs, 1, memory_order_relaxed);
  return config;
}

void uvws__tls_config_unref(struct uvws_tls_s* config) {
  if (config == NULL ||
      atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) > 1)
    return;
  free_config(config);
}

void uvws__tls_wipe(void* data, size_t len) {
  mbedtls_platform_zeroize(data, len);
}

bool uvws__tls_config_has_certificate(const struct uvws_tls_s* config) {
  return config->n_identities > 0;
}

/* ---- the system's trust store ---- */

static uvws__tls_made_t read_system(bool (*read)(uvws__tls_text_t*)) {
  uvws__tls_text_t text;
  if (system_is_there) return UVWS__TLS_OK;
  if (!read(&text)) return UVWS__TLS_BAD_CONFIG;
  mbedtls_x509_crt_init(&system_ca);
  /* Some may be of a kind that mbedTLS does not know: their number comes. */
  int code = mbedtls_x509_crt_parse(&system_ca, text.data, size_for(&text));
  uvws__free(text.data);
  system_is_there = code >= 0 && system_ca.raw.p != NULL;
  if (system_is_there) return UVWS__TLS_OK;
  mbedtls_x509_crt_free(&system_ca);
  return uvws__tls_is_out_of_memory(code) ? UVWS__TLS_NO_MEMORY
                                          : UVWS__TLS_BAD_CONFIG;
}

uvws__tls_made_t uvws__tls_config_trust(struct uvws_tls_s* config,
                                        bool (*read)(uvws__tls_text_t*)) {
  uvws__tls_made_t made = UVWS__TLS_OK;
  uv_mutex_lock(&system_mutex);
  if (config->needs_system) made = read_system(read);
  if (config->needs_system && made == UVWS__TLS_OK) {
    mbedtls_ssl_conf_ca_chain(&config->client, &system_ca, &config->crl);
    config->needs_system = false;
  }
  uv_mutex_unlock(&system_mutex);
  return made;
}
