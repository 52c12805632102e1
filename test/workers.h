#ifndef UVWS_TEST_WORKERS_H_
#define UVWS_TEST_WORKERS_H_

/* What the tests of several threads share: threads with a loop and a server,
 * two ways to spread connections over them, and, on the test's own thread and
 * loop, clients and servers with nobody in them. */

#include "helper.h"

/* ---- on any thread ---- */

/* cmocka's assertions are for the test's thread only. */
#define MUST(condition) \
  ((condition) ? (void)0 : end_process(#condition, __FILE__, __LINE__))

/* Says that it is not true, and exits. */
void end_process(const char* condition, const char* file, int line);

/* Those of helper.h, and all threads must have come to their end after half a
 * minute. */
int workers_setup(void** state);
int workers_teardown(void** state);

#define WORKERS_TEST(name) \
  cmocka_unit_test_setup_teardown(name, workers_setup, workers_teardown)

/* ---- workers: threads with a loop and a server ---- */

/* A member, which is the server's end of a connection, first says which worker
 * serves it; what it is told is passed on to all others, on all threads. */

enum { N_WORKERS = 2, N_MEMBERS = 64, N_POSTERS = 4 };

typedef struct worker_s {
  uv_loop_t loop; /* its `data` is the worker */
  uv_thread_t thread;
  uv_thread_t self;
  uv_async_t awake; /* as long as the server is there, listening or not */
  uvws_server_t server;
  unsigned index;
  uvws_t members[N_MEMBERS];
  unsigned n_members;
  unsigned n_gone;
  unsigned n_refused;          /* descriptors, by the server */
  unsigned n_unposted;         /* descriptors, by the other loop */
  unsigned next_of[N_POSTERS]; /* the number of the post that is to come */
  int loop_status;             /* of uv_loop_close() */
} worker_t;

extern worker_t workers[N_WORKERS];

/* Whether this is its thread. */
bool is_here(const worker_t* worker);

/* One alone, that listens nowhere. */
void worker_start(worker_t* worker);

/* Posts that its server shall close. */
void worker_close(worker_t* worker, uint32_t deadline);

/* Waits for its end, which must leave nothing. */
void worker_join(worker_t* worker);

/* To be posted to a worker, with a reference of a blob: to all its members. */
void broadcast(uv_loop_t* loop, void* blob);

/* All of them, and the acceptor. */
void close_workers(uint32_t deadline);
void join_workers(void);

/* ---- two ways to spread connections ---- */

extern int port; /* that the workers are reached at */

/* All workers listen at the same port, and the kernel spreads; where it cannot,
 * the test is skipped. */
void share_the_port(void);

/* The first worker accepts: the first connection is its own, the next one the
 * other's, and so on. */
void hand_over(void);

/* Posts that no more shall be accepted. */
void close_acceptor(void);

/* uvws_listen() on 127.0.0.1. */
int listen_at(uvws_server_t* server, int at, unsigned flags);
int port_of(const uvws_server_t* server);

/* ---- clients, on the test's thread ---- */

enum { N_CLIENTS = 6 };

typedef struct client_s {
  peer_t peer; /* first */
  bool is_greeted;
  unsigned worker;
  void (*on_line)(struct client_s* client, const uvws_message_t* message);
  unsigned next_of[N_CLIENTS]; /* the number of the line that is to come */
} client_t;

extern client_t clients[N_MEMBERS];

void client_connect(client_t* client);

/* And waits until it was greeted. */
void client_join(client_t* client);

/* N_CLIENTS of them, after hand_over(). */
void join_with_six(void);

/* So many lines are to come, to all clients together; then `all_came`. */
void await_lines(unsigned n);
extern bool all_came;

/* Closes and joins the workers: each client is told, and nothing was lost
 * before. */
void end_gracefully(unsigned n_clients);

/* ---- bare servers, on the test's loop, with nobody in them ---- */

extern uvws_server_t bare[2];
extern bool bare_closed; /* one of them, since the last bare_init() */

void bare_init(unsigned i);

/* ---- notes, of what was called on the test's loop ---- */

extern char notes[64];

/* To be posted; with cmocka's assertions. */
void note(uv_loop_t* loop, void* letter);

/* Posts it. */
void post_note(char* letter);

#endif /* UVWS_TEST_WORKERS_H_ */
