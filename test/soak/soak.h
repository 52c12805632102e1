#ifndef UVWS_TEST_SOAK_H_
#define UVWS_TEST_SOAK_H_

/* What the long runs share: a server in this process, peers in another, and
 * bytes that show where they belong. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

/* Ends the process, and so its peer, which finds its connections lost. */
#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

extern uv_loop_t* loop;

/* Bytes [at, at + len) of an endless pattern; len <= PATTERN_MAX. */
#define PATTERN_MAX (64 * 1024)
const char* pattern(uint64_t at, size_t len);

/* Runs `peer` with the port in a process of its own; its loop is its own, too.
 */
int start_peer(void (*peer)(int port), int port);

/* Waits for its end, which must be a good one. */
void join_peer(int pid);

/* "VmRSS" or "VmHWM" of this process, in KiB. */
long memory_kib(const char* what);

/* A server on 127.0.0.1; each socket it accepts has `events` and is kept in
 * `accepted`, which the runs read. */
enum { MAX_SOCKETS = 16384 };
extern uvws_server_t server;
extern uvws_t accepted[MAX_SOCKETS];
extern unsigned n_accepted;
int start_server(const uvws_server_options_t* options,
                 const uvws_events_t* events);
extern unsigned server_terminated;

/* uvws_server_init() of `server`. */
void init_server(const uvws_server_events_t* events,
                 const uvws_server_options_t* options);

void connect_to(uvws_t* ws, int port, const uvws_events_t* events,
                const uvws_options_t* options);

/* The runs. */
void run_huge(uint64_t bytes, bool whole);
void run_slow(unsigned readers, unsigned seconds, uint64_t budget);
void run_endings(unsigned tries);
void run_failing(void);
void run_idle(unsigned n);

#endif /* UVWS_TEST_SOAK_H_ */
