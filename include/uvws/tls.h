/* TLS for uvws: what uvws.h includes for wss:. See there for what holds of all
 * calls. "RFC 8446" is TLS 1.3, "RFC 5246" TLS 1.2. */
#ifndef UVWS_TLS_H_
#define UVWS_TLS_H_

#ifndef UVWS_H_
#error "include uvws.h"
#endif

/** The values of min_version and max_version, and of a connection's version:
 * as they stand on the wire (RFC 8446, 4.2.1). */
enum {
  UVWS_TLS_1_2 = 0x0303,
  UVWS_TLS_1_3 = 0x0304 /* where the TLS library has it: mbedTLS 3.6 */
};

/* What can be wrong with a certificate: bits of a verdict. */
#define UVWS_CERT_MAP(X)                                         \
  X(EXPIRED, 0x0001, "has expired")                              \
  X(NOT_YET_VALID, 0x0002, "is not valid yet")                   \
  X(WRONG_HOST, 0x0004, "is for another host")                   \
  X(UNKNOWN_ISSUER, 0x0008, "is from an unknown issuer")         \
  X(REVOKED, 0x0010, "was revoked")                              \
  X(WEAK_HASH, 0x0020, "is signed with a weak hash")             \
  X(WEAK_KEY, 0x0040, "has a weak key")                          \
  X(WRONG_USAGE, 0x0080, "is not meant for this use")            \
  X(MISSING, 0x0100, "is missing")                               \
  X(BAD_CRL, 0x0200, "cannot be checked for revocation")         \
  X(REFUSED, 0x0400, "was refused by the program's verify hook") \
  X(OTHER, 0x0800, "is not acceptable")

enum {
#define X(name, value, text) UVWS_CERT_##name = value,
  UVWS_CERT_MAP(X)
#undef X
      UVWS_CERT_END = 0x1000
};

/** Flags of a configuration. */
enum {
  UVWS_TLS_INSECURE = 0x01,    /* a client's connections go on whatever the
                                  certificate; the verify hook is not called.
                                  For tests */
  UVWS_TLS_ENVIRONMENT = 0x02, /* SSL_CERT_FILE and SSL_CERT_DIR, if set, name
                                  the trust store; never in a set-uid program */
  UVWS_TLS_SYSTEM_CA = 0x04,   /* the system's trust store in addition to the
                                  authorities given */
  UVWS_TLS_ASK_CLIENT = 0x08,  /* a server asks for a certificate; one that is
                                  sent must be good. Such a server resumes no
                                  sessions, which may forget it */
  UVWS_TLS_REQUIRE_CLIENT = 0x10, /* a server refuses clients without a good
                                     certificate */
  UVWS_TLS_NO_RESUMPTION = 0x20   /* each connection has a full handshake */
};

/** A certificate with what proves that it is ours. Files and memory may hold
 * PEM or DER; PEM may hold the chain behind the certificate. */
struct uvws_tls_certificate_s {
  const char* cert_file;
  const void* cert; /* instead of the file */
  size_t cert_len;
  const char* key_file;
  const void* key; /* instead of the file */
  size_t key_len;
  const char* passphrase; /* of an encrypted key; NULL for none */
  void* reserved[2];
};

/** What the verify hook sees. Valid until it returns. */
struct uvws_tls_verify_s {
  const char* host; /* that the certificate should name; NULL on a server */
  uint32_t flags;   /* UVWS_CERT_*: the library's verdict; 0: good */
  unsigned n_chain; /* certificates: the peer's first, then its issuers */
  const uv_buf_t* chain;         /* DER */
  uv_buf_t public_key;           /* of the peer's: SubjectPublicKeyInfo, DER */
  uint8_t public_key_sha256[32]; /* what pins are made of (RFC 7469, 2.4) */
  void* reserved[2];
};

/** What a configuration is made of. Set it up with uvws_tls_options_init(),
 * then change what differs. Nothing in it needs to outlive the call but `arg`.
 */
struct uvws_tls_options_s {
  size_t size; /* set by uvws_tls_options_init() */

  uint32_t flags;       /* UVWS_TLS_*; 0 */
  uint32_t min_version; /* UVWS_TLS_1_2 */
  uint32_t max_version; /* 0: the newest that the TLS library has */

  /* Whom to trust: the system's trust store unless authorities are given, or no
   * host but those that `verify` accepts when UVWS_TLS_SYSTEM_CA is not set and
   * `ca` is not NULL with ca_len 0. */
  const char* ca_file;
  const void* ca; /* instead of the file, or in addition */
  size_t ca_len;
  const char* crl_file; /* revocation lists of these authorities */
  const void* crl;
  size_t crl_len;

  /* Who we are. A server needs one at least; a client sends the first when it
   * is asked. A server chooses the first that has the name which the client
   * asks for, by its DNS names, else the first. */
  const struct uvws_tls_certificate_s* certificates;
  unsigned n_certificates;

  uint32_t session_lifetime; /* how long sessions may be resumed; 2 h */
  uint32_t max_sessions;     /* a client's cache; 256 */

  /** Has the last word on a peer's certificate: returns the verdict, which is
   * `verify->flags` to agree, 0 to accept, UVWS_CERT_REFUSED to refuse; only
   * UVWS_CERT_WRONG_USAGE it cannot lift. Called once for each full handshake
   * in which the peer showed a certificate, on the thread of that connection's
   * loop; no call of the library may be made. A session that is resumed was
   * verified when it began (RFC 8446, 2.2). */
  uint32_t (*verify)(const struct uvws_tls_verify_s* verify, void* arg);

  /** For debugging: a line of the NSS key log format, without a newline, for
   * tools such as Wireshark. Whoever has them can read the connection. */
  void (*keylog)(const char* line, void* arg);
  void* arg;
};

/** Fills `*o` with the defaults that stand beside the members. */
#define uvws_tls_options_init(o) uvws_tls_options_init_sized((o), sizeof(*(o)))

/** What uvws_tls_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_tls_options_init_sized(uvws_tls_options_t* options,
                                             size_t size);

/** Makes a TLS configuration with one reference, which is the caller's: an
 * immutable object that any number of sockets and servers of any threads share.
 * Sockets that are made from one share its client's sessions. Files are read,
 * and blocks of memory copied, now; the system's trust store is read once in
 * the process, when the first client needs it. `options` may be NULL. When it
 * fails `why`, unless it is NULL, has a sentence of at most `size` bytes. On
 * any thread. Errors:
 *
 *   UVWS_ETLS  a certificate, key or list cannot be read or does not fit the
 *              other; the TLS library does not have such versions
 *   UV_EINVAL  options->size was not set, a list of certificates is NULL, there
 *              is a certificate without a key, or clients are asked for theirs
 *              and there is neither an authority nor a verify hook
 *   UV_ENOENT, UV_EACCES and whatever reading a file reports; UV_ENOMEM */
UVWS_EXTERN int uvws_tls_new(uvws_tls_t** tls,
                             const uvws_tls_options_t* options, char* why,
                             size_t size);

/** Adds a reference and returns `tls`. On any thread. */
UVWS_EXTERN uvws_tls_t* uvws_tls_ref(uvws_tls_t* tls);

/** Drops a reference; the last one, of which each connection has one, frees it.
 * NULL is ignored. On any thread. */
UVWS_EXTERN void uvws_tls_unref(uvws_tls_t* tls);

/** What TLS did for a connection. */
struct uvws_tls_info_s {
  int version; /* UVWS_TLS_1_2 or UVWS_TLS_1_3; 0: no TLS, or not yet */
  int resumed; /* the session was resumed */
  const char* cipher_suite; /* the TLS library's name; "" */
  const char* alpn;         /* what was negotiated: "http/1.1", or "" */
  const char* server_name;  /* what the client asked for; "" */
  uv_buf_t certificate;     /* the peer's, DER; of a resumed session it may be
                               missing. Empty inside `error` and `close` */
  uint32_t flags;           /* UVWS_CERT_*: the verdict on it, which stands also
                               where UVWS_TLS_INSECURE went on */
  int error; /* the TLS library's own code when TLS failed; else 0 */
  int alert; /* the alert that the peer ended TLS with (RFC 8446, 6),
                -1: none */
  void* reserved[4];
};

/** Fills `*info` with what is known so far, from uvws_connect() or
 * uvws_accept() until `close`, inside which it may still be asked; at other
 * times, and for a connection without TLS, everything is 0 and "", `alert` -1.
 * What it points to is valid until the callback returns, or outside of one
 * until the loop runs on. */
UVWS_EXTERN void uvws_tls_info(const uvws_t* ws, uvws_tls_info_t* info);

/** The same of a client whose request is being decided, for instance to look at
 * its certificate. */
UVWS_EXTERN void uvws_request_tls_info(const uvws_request_t* request,
                                       uvws_tls_info_t* info);

/** From now on the server's new connections have this configuration, and those
 * there are keep theirs: for a new certificate. UV_EINVAL when the server has
 * no TLS, or `tls` no certificate; UV_ECANCELED once the server closes. */
UVWS_EXTERN int uvws_server_set_tls(uvws_server_t* server, uvws_tls_t* tls);

#endif /* UVWS_TLS_H_ */
