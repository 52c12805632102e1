#ifndef UVWS_TEST_TLS_PEERS_H_
#define UVWS_TEST_TLS_PEERS_H_

/* What the tests of TLS share: configurations by the names of files, a server
 * that writes down its `tls_error`, a relay that damages what it passes on, and
 * OpenSSL's command as a peer that mbedTLS would not be. */

#include <stdarg.h>

#include "helper.h"

/* ---- configurations ---- */

/* The path of one of the files of tls/make-certificates, or "" for NULL. Valid
 * until sixteen more were asked for. */
const char* tls_file(const char* name);

typedef struct tls_bytes_s {
  uint8_t bytes[8192];
  size_t len;
} tls_bytes_t;

/* What is in one of them. */
void tls_read(const char* name, tls_bytes_t* bytes);

/* uvws_tls_new() which must succeed. */
uvws_tls_t* tls_new(const uvws_tls_options_t* options);

/* With `cert` and `key`, which may be NULL: all defaults otherwise. */
uvws_tls_t* tls_server_config(const char* cert, const char* key);

/* That trusts the authorities in `ca`. */
uvws_tls_t* tls_client_config(const char* ca);

/* Whether the TLS library has TLS 1.3. */
bool tls_has_1_3(void);

/* ---- the server ---- */

typedef struct tls_server_s {
  server_t server;  /* first */
  char errors[256]; /* the names of the statuses of `tls_error` */
  char reason[512]; /* of the last */
  uint32_t flags;   /* uvws_request_tls_info() of the last request */
  char server_name[256];
  bool has_certificate;
  bool resumed;
} tls_server_t;

/* Listens on 127.0.0.1. Drops its own reference of `tls`; `options` may be NULL
 * and then has it alone. */
void tls_server_start(tls_server_t* server, uvws_tls_t* tls,
                      const uvws_server_options_t* options);

/* uv_run() until it has no connection; ends the process after half a minute. */
void tls_server_quiet(tls_server_t* server);

/* Waits for that, and ends the server and whatever else the loop has. */
void tls_server_stop(tls_server_t* server);

/* ---- the client ---- */

/* uvws_tls_info() inside `close`, copied. */
typedef struct tls_seen_s {
  uint32_t flags;
  int version;
  int error;
  int alert;
  bool resumed;
} tls_seen_t;

/* peer_init(), and notes what it sees in `seen`. */
void tls_peer_init(peer_t* peer, tls_seen_t* seen);

/* uvws_connect() to wss://127.0.0.1:port/, as if that were `host`, unless that
 * is NULL. */
void tls_connect(peer_t* peer, int port, const char* host, uvws_tls_t* tls);

/* The same with other options. */
void tls_connect_with(peer_t* peer, int port, const char* host,
                      const uvws_options_t* options);

/* uv_run() until it is closed. */
void tls_run_until_closed(peer_t* peer);

/* One connection as `host` to its clean end: whether its session was resumed,
 * on which both ends agree. */
bool tls_open_once(tls_server_t* server, uvws_tls_t* tls, const char* host);

/* ---- the relay ---- */

typedef enum {
  RELAY_PASS,  /* everything, unharmed */
  RELAY_END,   /* nothing more in either direction: both ends see a FIN */
  RELAY_HALF,  /* nothing more in this direction, and a FIN */
  RELAY_RESET, /* both ends see a reset */
  RELAY_STALL, /* nothing more in this direction */
  RELAY_FLIP   /* one bit of the next byte is wrong */
} relay_then_t;

enum { RELAY_CLIENT = 0, RELAY_SERVER = 1 };

typedef struct relay_end_s {
  uv_tcp_t tcp; /* first */
  uv_shutdown_t shutdown;
  struct relay_s* relay;
  uint64_t came; /* bytes, since it was connected */
  bool used;
  bool ended;          /* its FIN came */
  uint8_t begin[4096]; /* of what came, as it came */
  bool told;           /* was sent a FIN */
} relay_end_t;

/* One connection at a time. */
typedef struct relay_s {
  uv_tcp_t listener;
  uv_connect_t connect;
  int port;
  int target;
  relay_end_t ends[2];
  unsigned from; /* the end whose bytes are counted for ... */
  uint64_t at;   /* ... so many, and ... */
  relay_then_t then;
  unsigned bit; /* of RELAY_FLIP */
  bool done;    /* that has happened */
  unsigned open;
} relay_t;

/* Zeroes, and listens on 127.0.0.1. */
void relay_start(relay_t* relay, int target);

/* What becomes of the next connection. */
void relay_set(relay_t* relay, unsigned from, uint64_t at, relay_then_t then);

/* What becomes of the connection that is there, when so many more bytes have
 * come from that end. */
void relay_strike(relay_t* relay, unsigned from, uint64_t more,
                  relay_then_t then);

/* Ends all that it has. */
void relay_stop(relay_t* relay);

/* ---- tables ---- */

/* How many rows are not as they should be: all of them are looked at. */
extern unsigned tls_wrong;

void tls_expect(bool holds, const char* name, const char* what);
void tls_expect_log(const char* log, const char* expected, const char* name);

/* That `text`, if it is one, is in `reason`, as far as that was kept. */
void tls_expect_text(const char* reason, const char* text, const char* name);

/* ---- OpenSSL ---- */

typedef struct openssl_s {
  uv_process_t process; /* first */
  uv_pipe_t in;
  uv_pipe_t out;
  char text[1 << 17]; /* all that it said */
  size_t len;
  int port;     /* of a server that listens */
  bool is_gone; /* the process */
  bool exited;  /* and nothing more of its words comes */
  const char* awaited;
  bool said; /* what is awaited */
} openssl_t;

/* openssl s_server on a free port, or s_client on `port`. `args` are separated
 * by blanks, and "@x" among them is tls_file("x"). Returns when a server
 * listens. */
void openssl_serve(openssl_t* openssl, const char* args);
void openssl_dial(openssl_t* openssl, int port, const char* args);

/* To its standard input. */
void openssl_type(openssl_t* openssl, const char* text);

/* uv_run() until it has said that, or has ended. */
void openssl_await(openssl_t* openssl, const char* text);

/* Ends it, and waits for that. */
void openssl_stop(openssl_t* openssl);

#endif /* UVWS_TEST_TLS_PEERS_H_ */
