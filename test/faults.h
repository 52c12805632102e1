#ifndef UVWS_TEST_FAULTS_H_
#define UVWS_TEST_FAULTS_H_

/* Every allocation, and every call of libuv that the library makes and that can
 * fail, fails: the first of a scenario, then the second, and so on until the
 * scenario runs through. Whatever failed: each socket that a call took has
 * exactly one `close` event, one that a call refused has none, each server has
 * its own, no memory and no descriptor is left, and the loop ends and can be
 * closed.
 *
 * Not among the calls: those that return void (uv_close, uv_ref, uv_unref,
 * uv_walk, uv_read_stop's and uv_idle_stop's 0, uv_freeaddrinfo,
 * uv_pipe_connect, whose failure comes as its callback's), those that fail for
 * wrong arguments only (uv_idle_start, uv_timer_start, uv_async_send,
 * uv_ip4_addr, uv_ip6_addr, uv_inet_pton), the clock, the threads' and the
 * strings'. */

#include "helper.h"

/* ---- faults ---- */

enum {
  NO_FAULT,
  ALLOCATION,
  ENGINES_ALLOCATION, /* mbedTLS's */
  TRY_WRITE,
  FIRST_CALL /* and all behind it: libuv's */
};

typedef struct plan_s {
  unsigned fault;
  unsigned at;     /* the call that fails */
  bool for_good;   /* and so do all behind it */
  unsigned calls;  /* so far */
  size_t try_most; /* uv_try_write() takes no more than this, then nothing */
  bool try_none;
  bool calling; /* the test, a function of the library that enters the loop */
  bool resting; /* the test's own calls do not fail */
} plan_t;

extern plan_t plan;

/* Handles of the test's own, which never fail, lie in here. */
void spare(const void* memory, size_t size);

int replace_allocators(void** state);
extern long live; /* allocations */
unsigned count_descriptors(void);

/* Of FIRST_CALL and those behind it: the end. */
extern const unsigned faults_end;
const char* fault_name(unsigned fault);

/* ---- the world of a scenario ---- */

/* Of a socket: what a call promised, and what came. */
typedef struct seen_s {
  uvws_t ws; /* first */
  bool begun;
  unsigned opens, messages, pings, pongs, errors, closes;
  uvws_write_t write;
  bool is_writing;
  uint64_t bytes;
  int code;
  bool clean;
} seen_t;

typedef struct host_s {
  uvws_server_t server; /* first */
  bool begun;
  unsigned closes;
  int port;
} host_t;

typedef struct scenario_s {
  const char* name;
  const char* wanted; /* what comes when nothing fails */
  void (*start)(void);
  const uvws_events_t* events; /* the sockets'; NULL: fault_events */
  void (*server_options)(uvws_server_options_t* options);
  void (*decide)(uvws_request_t* request);
  void (*client_open)(uvws_t* ws);
  void (*accepted_open)(uvws_t* ws);
  void (*accepted_message)(uvws_t* ws, const uvws_message_t* message);
  unsigned messages; /* that a client has when it closes */
  unsigned pongs;
  bool is_plain;           /* also under TLS */
  bool is_variant;         /* of another: fewer samples will do */
  bool has_several;        /* each name has several addresses */
  void (*stop)(bool now);  /* what else there is; else once it may end */
  void (*closed)(seen_t*); /* inside `close` */
  void (*check)(void);     /* when all is over */
} scenario_t;

enum { ENDS = 2 };

extern struct world_s {
  const scenario_t* scenario;
  host_t hosts[2];
  seen_t clients[ENDS];
  seen_t accepted[ENDS];
  unsigned going;   /* sockets and servers without their `close` */
  unsigned refused; /* calls */
  uvws_request_t* undecided;
  uv_timer_t end;
  bool hung;
  uv_timer_t soon;
  bool soon_set;
} world;

extern raw_t raw;
extern uint8_t big[1000000];
extern const uvws_events_t fault_events;
extern const uvws_server_events_t fault_server_events;

/* Ends the process: what is left behind would fail all that follow. */
void require(bool condition, const char* what);

/* A socket on which a call failed has no other way to go on. */
void must(uvws_t* ws, int status);

/* What a call that makes a socket returned; true when it has begun. */
bool begin(seen_t* seen, int status);

/* Whoever ends, the others end, too. */
void wind_down(void);

/* `cb` in a while, once in a scenario. */
void do_soon(uv_timer_cb cb);

/* False when it was not to be. */
bool start_host(host_t* host, const uvws_server_events_t* events,
                unsigned flags);
bool start_server(void);

/* What all clients have in common. */
void client_options(uvws_options_t* options);
void begin_client(seen_t* client, const char* url,
                  const uvws_options_t* options);
void connect_client(const char* host, int port, const char* pipe);

/* Decides a request. */
void accept_request(uvws_request_t* request);
void leave_undecided(uvws_request_t* request);

/* Asks the server as a raw client. */
void dial_raw(raw_then_t then, const void* bytes, size_t len);

/* Sends back what came. */
void echo(uvws_t* ws, const uvws_message_t* message);

/* ---- main() ---- */

typedef struct suite_s {
  const scenario_t* scenarios;
  size_t n;
  const scenario_t* engines; /* the one in which the TLS engine fails */
} suite_t;

/* Under TLS there are thousands of calls, most of them alike: a handshake's
 * allocations are numbers', a long message has a write for each record. There
 * the later ones are tried by samples; with UVWS_EVERY in the environment each
 * is. */
int run_suite(const suite_t* suite);

#endif /* UVWS_TEST_FAULTS_H_ */
