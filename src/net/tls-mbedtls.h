#ifndef UVWS_SRC_NET_TLS_MBEDTLS_H_
#define UVWS_SRC_NET_TLS_MBEDTLS_H_

/* What the files of the engine share, and all that differs between mbedTLS 2.28
 * and 3.6. */

#include <stdatomic.h>

#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#include "net/tls-sessions.h"
#include "net/tls.h"

/* A configuration is shared by threads, and mbedTLS writes to keys when it uses
 * them. */
#if !defined(MBEDTLS_THREADING_C)
#error "uvws needs an mbedTLS with MBEDTLS_THREADING_C"
#endif

/* Fields that have no accessor in either version. */
#ifndef MBEDTLS_PRIVATE
#define MBEDTLS_PRIVATE(member) member
#endif

#if MBEDTLS_VERSION_MAJOR < 3
#define UVWS__MBEDTLS_2 1
#else
#define UVWS__MBEDTLS_2 0
#endif

#if !UVWS__MBEDTLS_2 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define UVWS__HAS_TLS_1_3 1
#else
#define UVWS__HAS_TLS_1_3 0
#endif

typedef struct uvws__identity_s {
  mbedtls_x509_crt chain;
  mbedtls_pk_context key;
} uvws__identity_t;

struct uvws_tls_s {
  atomic_uint refs;
  mbedtls_ssl_config client;
  mbedtls_ssl_config server; /* when there are identities */
  mbedtls_x509_crt ca;
  mbedtls_x509_crl crl;
  uvws__identity_t* identities;
  unsigned n_identities;
  mbedtls_ssl_ticket_context tickets;
  uvws__tls_sessions_t sessions;
  bool needs_system; /* under the lock of the system's trust store */
  bool insecure;
  bool resumption;
  uint32_t (*verify)(const struct uvws_tls_verify_s* verify, void* arg);
  void (*keylog)(const char* line, void* arg);
  void* arg;
};

enum { UVWS__TLS_CHAIN_MAX = MBEDTLS_X509_MAX_INTERMEDIATE_CA + 2 };

struct uvws__tls_s {
  mbedtls_ssl_context ssl; /* first: mbedTLS's callbacks lead from it to us */
  struct uvws_tls_s* config;
  uvws__tls_result_t* result;
  uvws__tls_send_cb send;
  void* owner;
  const uint8_t* input;
  size_t input_len;
  size_t pending; /* of this much that was to be written the record is made, but
                     not yet sent; 0: no such */
  size_t record_max;
  uvws__failure_t failure;
  char* host; /* client; "" when there is none to verify */
  uint16_t port;
  uint8_t address[16]; /* the host's, when it is one */
  uint8_t address_len;
  bool is_server;
  bool began;    /* the first byte has come */
  bool starved;  /* mbedTLS has asked for more than there was */
  bool writing;  /* inside uvws__tls_write() */
  bool lost;     /* send() has failed */
  bool full;     /* the handshake has certificates: nothing is resumed */
  bool notified; /* our close_notify is made */

  /* While the peer's chain is verified. */
  const mbedtls_x509_crt* chain[UVWS__TLS_CHAIN_MAX];
  unsigned n_chain;
  uint32_t engine_flags;
};

/* Whether that is what a code of mbedTLS's means. */
bool uvws__tls_is_out_of_memory(int code);

/* mbedTLS's way to ask for random numbers. */
int uvws__tls_random(void* unused, unsigned char* out, size_t len);

/* tls-mbedtls-verify.c: for mbedtls_ssl_set_verify(); `tls` is a uvws__tls_t.
 */
int uvws__tls_verify(void* tls, mbedtls_x509_crt* crt, int depth,
                     uint32_t* flags);

/* Whether a certificate is for a DNS name. */
bool uvws__tls_names(const mbedtls_x509_crt* crt, const char* name);

/* tls-mbedtls-config.c: for a server's handshake, when the client has told whom
 * it wants. */
void uvws__tls_choose_identity(struct uvws_tls_s* config,
                               mbedtls_ssl_context* ssl, const char* name);

/* tls-mbedtls.c: a client tells whom it wants. */
int uvws__tls_on_server_name(void* config, mbedtls_ssl_context* ssl,
                             const unsigned char* name, size_t len);

#if UVWS__MBEDTLS_2
/* tls-mbedtls.c: later versions have it for each connection. */
int uvws__tls_export_keys(void* config, const unsigned char* secret,
                          const unsigned char* keys, size_t mac_len,
                          size_t key_len, size_t iv_len,
                          const unsigned char client_random[32],
                          const unsigned char server_random[32],
                          mbedtls_tls_prf_types prf);
#endif

#endif /* UVWS_SRC_NET_TLS_MBEDTLS_H_ */
