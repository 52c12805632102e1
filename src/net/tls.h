#ifndef UVWS_SRC_NET_TLS_H_
#define UVWS_SRC_NET_TLS_H_

/* TLS behind an interface that knows no engine: bytes in, bytes out, no sockets
 * and no loop. net/secure.c joins it to a stream. The engine is mbedTLS
 * (net/tls-mbedtls*.c); a second one would be other files behind this header.
 *
 * A configuration (struct uvws_tls_s, which users see as uvws_tls_t) never
 * changes once it is made, but for what it keeps under locks: the sessions of
 * its clients, and the system's trust store, which is added when the first
 * client needs it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/failure.h"

struct uvws_tls_s;
struct uvws_tls_verify_s;

/* ---- configurations ---- */

/* Bytes that end with a NUL which `len` does not count: PEM or DER. */
typedef struct uvws__tls_text_s {
  uint8_t* data;
  size_t len;
} uvws__tls_text_t;

typedef struct uvws__tls_identity_s {
  uvws__tls_text_t cert;
  uvws__tls_text_t key;
  const char* passphrase; /* or NULL */
} uvws__tls_identity_t;

typedef struct uvws__tls_setup_s {
  const uvws__tls_text_t* ca; /* whom to trust */
  unsigned n_ca;
  uvws__tls_text_t system_ca; /* the same; some of it may be unreadable */
  uvws__tls_text_t crl;
  bool needs_system; /* uvws__tls_config_trust() will tell whom to trust */
  const uvws__tls_identity_t* identities;
  unsigned n_identities;
  uint32_t min_version;
  uint32_t max_version; /* 0: the newest */
  bool insecure;
  bool ask_client;
  bool require_client;
  bool resumption;
  uint32_t session_lifetime; /* seconds */
  uint32_t max_sessions;
  uint32_t (*verify)(const struct uvws_tls_verify_s* verify, void* arg);
  void (*keylog)(const char* line, void* arg);
  void* arg;
} uvws__tls_setup_t;

typedef enum {
  UVWS__TLS_OK = 0,
  UVWS__TLS_NO_MEMORY,
  UVWS__TLS_BAD_CONFIG /* `why` says in words */
} uvws__tls_made_t;

/* With one reference. On failure `why`, unless it is NULL, has a sentence. */
uvws__tls_made_t uvws__tls_config_new(const uvws__tls_setup_t* setup,
                                      struct uvws_tls_s** config, char* why,
                                      size_t size);
struct uvws_tls_s* uvws__tls_config_ref(struct uvws_tls_s* config);
void uvws__tls_config_unref(struct uvws_tls_s* config);

/* Overwrites bytes that nobody shall find. */
void uvws__tls_wipe(void* data, size_t len);

/* Whether it can be a server's. */
bool uvws__tls_config_has_certificate(const struct uvws_tls_s* config);

/* Before a client's first use of a configuration that needs it: whom the system
 * trusts. The text is looked at once in the process: `read` makes it, if it
 * can, and its data is freed with uvws__free(). */
uvws__tls_made_t uvws__tls_config_trust(struct uvws_tls_s* config,
                                        bool (*read)(uvws__tls_text_t* text));

/* ---- connections ---- */

typedef struct uvws__tls_s uvws__tls_t;

/* What is known of a connection; it outlives the engine. */
typedef struct uvws__tls_result_s {
  uint16_t version; /* 0: the handshake is not over */
  bool resumed;
  int alert; /* of the peer's; -1 */
  int error; /* the engine's code; 0 */
  uint32_t flags;
  const char* cipher_suite; /* static, or NULL */
  const char* alpn;         /* the configuration's, or NULL */
  char* server_name;        /* or NULL */
  char* text;               /* why it failed, in words; or NULL */
} uvws__tls_result_t;

/* Takes ciphertext: how many bytes of it, or UV_EAGAIN; then it is called with
 * the same bytes, in the same place, again. Else a negative status. */
typedef int (*uvws__tls_send_cb)(void* owner, const uint8_t* data, size_t len);

typedef struct uvws__tls_peer_s {
  bool is_server;   /* we are */
  const char* host; /* client: the name to verify; copied */
  uint16_t port;    /* client: sessions are kept for host and port */
  uvws__tls_send_cb send;
  void* owner;
} uvws__tls_peer_t;

/* What the calls below return, next to numbers of bytes. */
enum {
  UVWS__TLS_AGAIN = -1,  /* more input, or room for output, is needed */
  UVWS__TLS_CLOSED = -2, /* the peer has said that nothing follows */
  UVWS__TLS_LOST = -3,   /* send() failed, and knows why */
  UVWS__TLS_FAILED = -4  /* see uvws__tls_failure() */
};

/* NULL when there is no memory. The result is the caller's. */
uvws__tls_t* uvws__tls_new(struct uvws_tls_s* config,
                           const uvws__tls_peer_t* peer,
                           uvws__tls_result_t* result);
void uvws__tls_free(uvws__tls_t* tls);
void uvws__tls_result_clear(uvws__tls_result_t* result);

/* Ciphertext that came: it must stay until all of it has been taken, or is
 * taken back. */
void uvws__tls_feed(uvws__tls_t* tls, const uint8_t* data, size_t len);
size_t uvws__tls_unfed(uvws__tls_t* tls, const uint8_t** data);

/* 0 when the handshake is over. */
int uvws__tls_handshake(uvws__tls_t* tls);

/* Once it is: bytes of the peer's, into `out`. UVWS__TLS_AGAIN means that
 * everything that was fed is used up, unless something waits to be sent. */
int uvws__tls_read(uvws__tls_t* tls, uint8_t* out, size_t len);

/* How many bytes were sent; at most a record's worth. After UVWS__TLS_AGAIN the
 * next calls are about the same bytes, which need not be there any more. */
int uvws__tls_write(uvws__tls_t* tls, const uint8_t* data, size_t len);

/* Says that nothing follows (close_notify); 0 when that is sent. */
int uvws__tls_close(uvws__tls_t* tls);

/* Gives the system back what memory holds nothing while the connection is
 * quiet. */
void uvws__tls_rest(uvws__tls_t* tls);

/* Why the last call returned UVWS__TLS_FAILED. */
uvws__failure_t uvws__tls_failure(const uvws__tls_t* tls);

/* The peer's certificate, DER; NULL when there is none. */
const uint8_t* uvws__tls_peer_certificate(const uvws__tls_t* tls, size_t* len);

#endif /* UVWS_SRC_NET_TLS_H_ */
