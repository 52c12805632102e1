#ifndef UVWS_TEST_HELPER_H_
#define UVWS_TEST_HELPER_H_

/* What the tests of sockets share: one loop with a watchdog, sockets that write
 * down their events, servers, and a raw TCP peer that can misbehave. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include <uvws.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the loop ---- */

/* For cmocka's setup and teardown: a fresh loop for each test, and at its end
 * uv_loop_close() must succeed at once. */
int test_loop_setup(void** state);
int test_loop_teardown(void** state);
extern uv_loop_t* test_loop;

/* uv_run() until nothing is left; ends the process after half a minute. */
void test_run(void);

/* uv_run() until *flag is true; ends the process after half a minute. */
void test_run_until(const bool* flag);

/* ---- TLS ----
 *
 * With UVWS_TEST_TLS, a directory that cmake/ca made, in the environment the
 * same tests run over TLS: whoever is told ws: means wss:, and servers and raw
 * peers speak it. */

bool test_has_tls(void);

/* For programs that count memory, before they begin to: what TLS keeps from one
 * test to the next is made now, and there will be no sessions to keep. */
void test_keep_nothing(void);

/* For programs that read records, before there are any: TLS 1.2, whose records
 * are as long as what stands in them, and no more than a constant. */
void test_limit_tls(void);

/* A raw peer's TLS is being worked at, which is not to fail. */
extern bool test_in_peer;

/* The URL's scheme: "ws" or "wss". */
const char* test_scheme(void);

/* The origin of a page of such a server at 127.0.0.1. */
const char* test_origin(void);

/* A deadline for HTTP's handshake that leaves a busy machine time for TLS's. */
uint32_t test_handshake_ms(uint32_t ms);

/* What the calls of these names do in a test. */
int test_connect(uvws_t* ws, const char* url, const uvws_options_t* options);
int test_server_init(uv_loop_t* loop, uvws_server_t* server,
                     const uvws_server_events_t* events,
                     const uvws_server_options_t* options);
#define uvws_connect     test_connect
#define uvws_server_init test_server_init

/* The options with TLS, for calls that take them along. */
const uvws_options_t* test_options(const uvws_options_t* options);

#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

/* ---- sockets that write down their events ---- */

/* `log` holds, for instance,
 *   "open text(hi) binary(3) ping() pong(x) error(UVWS_EUTF8) close(1006)"
 * with "close(1000 clean)" when it was, "close(1001 clean bye)" with a reason.
 * Texts longer than 40 bytes stand as their length. */
typedef struct peer_s {
  uvws_t ws; /* first */
  char log[4096];
  bool opened;
  bool closed;
  int status;       /* of `close` */
  uint64_t rtt;     /* of the last pong */
  char reason[160]; /* of `error` */
  unsigned messages;
  uint64_t bytes;
  /* Called after the event was written down; any may be NULL. */
  void (*on_open)(struct peer_s* peer);
  void (*on_message)(struct peer_s* peer, const uvws_message_t* message);
  void (*on_error)(struct peer_s* peer);
  void (*on_close)(struct peer_s* peer, const uvws_close_event_t* event);
  void (*on_ping)(struct peer_s* peer);
  void (*on_pong)(struct peer_s* peer);
  void (*on_drain)(struct peer_s* peer);
  void* data;
} peer_t;

extern const uvws_events_t peer_events;

/* Zeroes, uvws_init(), binaryType ARRAYBUFFER. */
void peer_init(peer_t* peer);

/* Connects to ws://127.0.0.1:port/. `options` may be NULL. */
void peer_connect(peer_t* peer, int port, const uvws_options_t* options);

/* uvws_close() with 1000 and no reason: also as an on_open. */
void peer_close(peer_t* peer);

/* ---- a server whose sockets are peers ---- */

typedef struct server_s {
  uvws_server_t server; /* first */
  int port;
  peer_t peers[64]; /* accepted, in order */
  unsigned accepted;
  unsigned gone; /* closed again */
  unsigned
      stop_after; /* uvws_server_close(0) when so many are gone; 0: never */
  bool closed;
  bool close_in_abort; /* uvws_server_close(0) */
  bool echo;
  char log[1024]; /* "request(/target) abort(UV_EOF) error(...) close" */
  /* Instead of accepting. */
  void (*on_request)(struct server_s* server, uvws_request_t* request);
  /* After a peer was initialised, before it is accepted. */
  void (*on_accept)(struct server_s* server, peer_t* peer);
  void* data;
} server_t;

/* Zeroes and initialises; listens on 127.0.0.1, port 0. Set the callbacks
 * afterwards. `options` may be NULL. */
void server_start(server_t* server, const uvws_server_options_t* options);

/* What it does with a request unless on_request is set. */
peer_t* server_accept(server_t* server, uvws_request_t* request);

/* ---- a raw TCP peer ---- */

typedef enum {
  RAW_STAY,  /* close when the other side does */
  RAW_FIN,   /* shut down after the bytes, then as above */
  RAW_RESET, /* after the bytes and `reset_after` bytes of input */
  RAW_DEAF   /* read no more: until raw_listen_up() or raw_close() */
} raw_then_t;

typedef struct raw_s {
  uv_tcp_t listener;
  uv_tcp_t tcp;
  uv_connect_t connect;
  uv_write_t write;
  uv_shutdown_t shutdown;
  int port; /* of a raw server */
  bool is_server;
  const char* head;  /* the HTTP head to send; NULL: a correct one */
  const char* more;  /* lines for that; NULL: none */
  const void* bytes; /* sent behind it */
  size_t len;
  raw_then_t then;
  size_t reset_after;
  char* in; /* all that came, the head first */
  size_t in_len;
  size_t in_capacity;
  uint8_t* frames;         /* what raw_frame() looked at last */
  struct uvws__tls_s* tls; /* under TLS */
  void* tls_result;
  bool is_secure; /* its handshake is over */
  bool connected;
  bool upgraded; /* a server's has seen the end of the request */
  bool saw_eof;
  bool saw_reset;
  bool closed;
  void (*on_data)(struct raw_s* raw);
  void (*on_end)(struct raw_s* raw);
} raw_t;

/* Zero the struct, set what differs, then start. */
void raw_serve(raw_t* raw);
void raw_dial(raw_t* raw, int port);
void raw_send(raw_t* raw, const void* bytes, size_t len);   /* copied */
void raw_inject(raw_t* raw, const void* bytes, size_t len); /* around TLS */
void raw_shutdown(raw_t* raw);
void raw_reset(raw_t* raw);
void raw_listen_up(raw_t* raw);
void raw_close(raw_t* raw);
void raw_free(raw_t* raw);

/* The first frame behind the head that came in: its opcode, or -1; unmasked
 * payload into *payload, *len. */
int raw_frame(raw_t* raw, unsigned index, const uint8_t** payload, size_t* len);

/* The close code in the first close frame that came in; 1005 for an empty one,
 * 0 when none came. */
int raw_close_code(raw_t* raw);

/* A frame in `out`, which has room for it; masked with a fixed key when `mask`.
 * Returns its size. */
size_t make_frame(uint8_t* out, unsigned first_byte, const void* payload,
                  size_t len, bool mask);

#endif /* UVWS_TEST_HELPER_H_ */
