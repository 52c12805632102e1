#ifndef UVWS_SRC_NET_LOOP_H_
#define UVWS_SRC_NET_LOOP_H_

/* What all sockets of one uv_loop_t share: the read buffer, the cork, the end
 * of the turn, the deadlines, the random numbers. */

#include <uv.h>

#include "alloc.h"
#include "net/cork.h"
#include "net/wheel.h"

#define UVWS__READ_BUFFER (512 * 1024)
#define UVWS__RANDOM_POOL 4096
#define UVWS__RECORD_SIZE (16 * 1024)
#define UVWS__RECORDS     5 /* that leave in one write */

/* The struct that a deferred call, a deadline, is a member of. */
#define UVWS__CONTAINER_OF(ptr, type, member) \
  ((type*)((char*)(ptr)-offsetof(type, member)))

struct uvws__post_s;

/* A call put off to the end of the turn. Zeroed memory is one not put off. */
typedef struct uvws__deferred_s {
  struct uvws__deferred_s* next;
  struct uvws__deferred_s** link; /* what points to us; NULL when not put off */
  void (*run)(struct uvws__deferred_s* deferred);
} uvws__deferred_t;

typedef struct uvws__loop_s {
  struct uvws__loop_s* next; /* in the process-wide list */
  uv_loop_t* uv;
  unsigned users;
  unsigned handles; /* of the next three, not yet closed */
  unsigned holds;   /* reasons to live that no handle of theirs shows */
  uv_idle_t idle;   /* active while `deferred` has something */
  uv_timer_t timer; /* for the wheel; referenced while there are holds */
  uv_async_t async; /* wakes the loop for `posts` */
  uint64_t timer_at;
  uint16_t turn;                 /* its number, which may wrap */
  bool turn_began;               /* and its end is waited for */
  struct uvws__stream_s* reader; /* without TLS, inside its read callback: the
                                    read buffer stays as it is; or NULL */
  uvws__deferred_t* deferred;
  uvws__deferred_t** deferred_end;
  struct uvws__conn_s* conns;      /* of src/connection.c, for uvws_walk() */
  struct uvws__adopted_s* adopted; /* root of those taken over */
  struct uvws__claim_s* claims;    /* in the order in which they were made */
  struct uvws__post_s* posts;      /* from any thread, under the lock */
  struct uvws__post_s** posts_end;
  uint64_t totals[6];        /* of src/stats.c: of those that are gone */
  struct uvws__lent_s* lent; /* of src/lending.c, or NULL */
  struct uvws__pool_s* pool; /* of src/deflate.c, or NULL */
  void (*free_pool)(void* pool);
  uvws__spares_t spares; /* buffers of messages, blocks of output */
  uvws__deadline_t trim; /* of these */
  void (*left)(void*);   /* the last user's, once the handles are closed */
  void* left_arg;
  uv_thread_t thread;
  bool thread_is_known; /* from the first callback on */
  uvws__wheel_t wheel;
  unsigned random_left;
  uint8_t random[UVWS__RANDOM_POOL];
  uvws__cork_t cork;
  uint8_t read_buffer[UVWS__READ_BUFFER];
  uint8_t plain_buffer[UVWS__READ_BUFFER]; /* TLS: decrypted from the other */
  uint8_t record[UVWS__RECORD_SIZE];       /* TLS: gathered to be encrypted */
  struct uvws__secure_s*
      gatherer; /* TLS: whose records gather below, or NULL */
  size_t gathered;
  uint8_t records[UVWS__RECORDS * (UVWS__RECORD_SIZE + 512)];
} uvws__loop_t;

/* Finds or makes what the loop's sockets share and counts one more user. */
int uvws__loop_enter(uv_loop_t* uv, uvws__loop_t** loop);

/* One user less. `left` is called at once, except for the last user: then when
 * the shared handles are closed and uv_loop_close() may succeed. */
void uvws__loop_leave(uvws__loop_t* loop, void (*left)(void*), void* arg);

/* The state of a loop that has users, or NULL. */
uvws__loop_t* uvws__loop_find(const uv_loop_t* uv);

/* Whether a handle is one that sockets share, or shared and is closing. */
bool uvws__loop_owns(const uv_handle_t* handle);

/* Whether this thread may call: see rule 12 in docs/design.md. */
bool uvws__loop_is_here(const uvws__loop_t* loop);

/* The turn will be counted. */
void uvws__loop_begin_turn(uvws__loop_t* loop);

/* Calls deferred->run when this turn of the loop ends. Does nothing when it is
 * put off already. */
void uvws__loop_defer(uvws__loop_t* loop, uvws__deferred_t* deferred);
void uvws__loop_undefer(uvws__loop_t* loop, uvws__deferred_t* deferred);

/* Calls deadline->passed in `ms` milliseconds; 0 cancels it. */
void uvws__loop_set_deadline(uvws__loop_t* loop, uvws__deadline_t* deadline,
                             uint32_t ms);

/* Keeps the loop alive, as an open socket must that does not read; or not any
 * more. */
void uvws__loop_hold(uvws__loop_t* loop);
void uvws__loop_unhold(uvws__loop_t* loop);

/* Has cb(loop, arg) called on the loop's thread. On any thread: UV_ENOENT when
 * the loop has no users, UV_ENOMEM. */
int uvws__loop_post(uv_loop_t* uv, void (*cb)(uv_loop_t* loop, void* arg),
                    void* arg);

/* Bytes from the system's CSPRNG, drawn through a pool. */
int uvws__loop_random(uvws__loop_t* loop, uint8_t* out, unsigned len);

#endif /* UVWS_SRC_NET_LOOP_H_ */
