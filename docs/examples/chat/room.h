#ifndef CHAT_ROOM_H_
#define CHAT_ROOM_H_

/* The room and its members. Every worker is a thread with a loop, a server and
 * the members who came in through that server; what one of them says reaches
 * the members of the other workers by uvws_post(). */

#include <stdbool.h>

#include <uvws.h>

enum {
  MAX_WORKERS = 64,
  MAX_TEXT = 4 * 1024,
};

typedef struct member_s member_t;

/* All but the loop's address, which uvws_post() takes, is for the worker's own
 * thread only. */
typedef struct worker_s {
  uv_loop_t loop; /* its `data` is the worker */
  uv_thread_t thread;
  uv_async_t awake; /* keeps the loop, whose server may listen to nothing */
  uvws_server_t server;
  bool is_open; /* the server is, until its `close` event */
  member_t* members;
} worker_t;

/* All of them, neither moved nor freed while a thread runs: so a loop that has
 * come to its end may still be posted to, which then fails. */
extern worker_t workers[MAX_WORKERS];
extern unsigned n_workers;

/* Comes before all else. 0, or libuv's status. */
int room_init(void);

/* The `request` event of every worker's server. */
void room_on_request(uvws_server_t* server, uvws_request_t* request);

#endif /* CHAT_ROOM_H_ */
