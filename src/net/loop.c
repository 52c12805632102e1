#include "net/loop.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/random.h>
#endif

#include "alloc.h"

/* The state lives from a loop's first user to its last and is found through one
 * process-wide list under a lock: nothing of the loop's own (loop->data, its
 * other handles) is touched.
 *
 * A turn of the loop ends, for us, when the idle handle's callback runs. The
 * handle is active only while something has been put off, and being active it
 * makes the poll timeout zero: the loop neither sleeps nor exits over output
 * that is still corked. (An unreferenced prepare handle would let it do both.)
 * What a deferred call puts off again runs in the next turn.
 *
 * The timer is unreferenced, since a deadline alone is no reason to live; the
 * sockets' own handles are. Only for a socket whose handle is idle, because it
 * does not read, the timer is referenced instead, and kept active.
 *
 * Only `posts` is for other threads. The state leaves the list under the same
 * lock, so whoever finds it there may wake the loop. What is left by then is
 * called when the handles are closed: no post is lost. */

static const unsigned DEADLINES_PER_TURN = 256;
static const uint32_t SPARES_KEPT = 2000;     /* ms, when they are not needed */
static const uint64_t DAY = 24 * 3600 * 1000; /* any time would do: see above */

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t mutex;
static uvws__loop_t* loops;
static uvws__loop_t* ending; /* without users, their handles not yet closed */

static void init_mutex(void) {
  if (uv_mutex_init(&mutex) != 0) abort();
}

static void lock(void) {
  uv_once(&once, init_mutex);
  uv_mutex_lock(&mutex);
}

static uvws__loop_t** find_link(const uv_loop_t* uv) {
  uvws__loop_t** link = &loops;
  while (*link != NULL && (*link)->uv != uv) link = &(*link)->next;
  return link;
}

uvws__loop_t* uvws__loop_find(const uv_loop_t* uv) {
  lock();
  uvws__loop_t* loop = *find_link(uv);
  uv_mutex_unlock(&mutex);
  return loop;
}

static bool has_handle(const uvws__loop_t* list, const uv_handle_t* handle) {
  for (; list != NULL; list = list->next)
    if (handle == (const uv_handle_t*)&list->idle ||
        handle == (const uv_handle_t*)&list->timer ||
        handle == (const uv_handle_t*)&list->async)
      return true;
  return false;
}

bool uvws__loop_owns(const uv_handle_t* handle) {
  lock();
  bool owns = has_handle(loops, handle) || has_handle(ending, handle);
  uv_mutex_unlock(&mutex);
  return owns;
}

/* A loop may be set up by one thread and run by another, so the thread that
 * counts is the one that runs our first callback. */
static void learn_thread(uvws__loop_t* loop) {
  if (loop->thread_is_known) return;
  loop->thread = uv_thread_self();
  loop->thread_is_known = true;
}

bool uvws__loop_is_here(const uvws__loop_t* loop) {
  uv_thread_t self = uv_thread_self();
  return !loop->thread_is_known || uv_thread_equal(&self, &loop->thread);
}

static uint64_t now_ms(void) {
  return uv_hrtime() / 1000000;
}

static void on_turn_end(uv_idle_t* idle) {
  uvws__loop_t* loop = idle->data;
  learn_thread(loop);
  loop->turn++;
  loop->turn_began = false;
  uvws__deferred_t* list = loop->deferred;
  loop->deferred = NULL;
  loop->deferred_end = &loop->deferred;
  if (list != NULL) list->link = &list;
  while (list != NULL) {
    uvws__deferred_t* deferred = list;
    uvws__loop_undefer(loop, deferred);
    deferred->run(deferred);
  }
  if (!loop->turn_began) uv_idle_stop(idle);
}

void uvws__loop_begin_turn(uvws__loop_t* loop) {
  if (loop->turn_began) return;
  loop->turn_began = true;
  uv_idle_start(&loop->idle, on_turn_end);
}

void uvws__loop_defer(uvws__loop_t* loop, uvws__deferred_t* deferred) {
  if (deferred->link != NULL) return;
  deferred->next = NULL;
  deferred->link = loop->deferred_end;
  *loop->deferred_end = deferred;
  loop->deferred_end = &deferred->next;
  uvws__loop_begin_turn(loop);
}

void uvws__loop_undefer(uvws__loop_t* loop, uvws__deferred_t* deferred) {
  if (deferred->link == NULL) return;
  *deferred->link = deferred->next;
  if (deferred->next != NULL) deferred->next->link = deferred->link;
  if (loop->deferred_end == &deferred->next)
    loop->deferred_end = deferred->link;
  deferred->next = NULL;
  deferred->link = NULL;
}

static void on_timer(uv_timer_t* timer);

static bool is_armed(const uvws__loop_t* loop, uint64_t at) {
  return uv_is_active((const uv_handle_t*)&loop->timer) && loop->timer_at <= at;
}

static void arm_timer(uvws__loop_t* loop, uint64_t now) {
  uint64_t at = now + DAY;
  if (!uvws__wheel_next(&loop->wheel, &at) && loop->holds == 0) return;
  if (is_armed(loop, at)) return;
  loop->timer_at = at;
  /* libuv counts from the loop's cached time, which may lie behind ours: the
   * timer then fires early, finds nothing due and is set again. */
  uv_timer_start(&loop->timer, on_timer, at > now ? at - now : 0, 0);
}

static void on_timer(uv_timer_t* timer) {
  uvws__loop_t* loop = timer->data;
  uint64_t now = now_ms();
  learn_thread(loop);
  for (unsigned i = 0; i < DEADLINES_PER_TURN; i++) {
    uvws__deadline_t* deadline = uvws__wheel_pop(&loop->wheel, now);
    if (deadline == NULL) break;
    deadline->passed(deadline);
  }
  if (loop->users > 0) arm_timer(loop, now);
}

void uvws__loop_set_deadline(uvws__loop_t* loop, uvws__deadline_t* deadline,
                             uint32_t ms) {
  if (ms == 0) {
    uvws__wheel_cancel(deadline);
    return;
  }
  uint64_t now = now_ms(), at = now + ms;
  uvws__wheel_set(&loop->wheel, deadline, at);
  /* To find the earliest deadline the wheel is looked through: not for one
   * that comes after what the timer waits for. */
  if (!is_armed(loop, at)) arm_timer(loop, now);
}

static void on_trim(uvws__deadline_t* deadline) {
  uvws__loop_t* loop = UVWS__CONTAINER_OF(deadline, uvws__loop_t, trim);
  if (uvws__spares_trim(&loop->spares))
    uvws__loop_set_deadline(loop, deadline, SPARES_KEPT);
}

static void on_first_spare(uvws__spares_t* spares) {
  uvws__loop_t* loop = UVWS__CONTAINER_OF(spares, uvws__loop_t, spares);
  uvws__loop_set_deadline(loop, &loop->trim, SPARES_KEPT);
}

void uvws__loop_hold(uvws__loop_t* loop) {
  if (loop->holds++ > 0) return;
  uv_ref((uv_handle_t*)&loop->timer);
  arm_timer(loop, now_ms());
}

void uvws__loop_unhold(uvws__loop_t* loop) {
  if (--loop->holds == 0) uv_unref((uv_handle_t*)&loop->timer);
}

/* uv_random() would ask for 256 bytes at a time. */
static int fill_pool(uvws__loop_t* loop) {
#if defined(__linux__)
  if (getrandom(loop->random, sizeof(loop->random), 0) ==
      (ssize_t)sizeof(loop->random))
    return 0;
#endif
  return uv_random(NULL, NULL, loop->random, sizeof(loop->random), 0, NULL);
}

int uvws__loop_random(uvws__loop_t* loop, uint8_t* out, unsigned len) {
  if (loop->random_left < len) {
    int status = fill_pool(loop);
    if (status != 0) return status;
    loop->random_left = sizeof(loop->random);
  }
  loop->random_left -= len;
  memcpy(out, loop->random + loop->random_left, len);
  return 0;
}

/* ---- posts ---- */

typedef struct uvws__post_s {
  struct uvws__post_s* next;
  void (*cb)(uv_loop_t* loop, void* arg);
  void* arg;
} post_t;

int uvws__loop_post(uv_loop_t* uv, void (*cb)(uv_loop_t* loop, void* arg),
                    void* arg) {
  post_t* post = uvws__malloc(sizeof(*post));
  if (post == NULL) return UV_ENOMEM;
  *post = (post_t){NULL, cb, arg};
  lock();
  uvws__loop_t* loop = *find_link(uv);
  if (loop != NULL) {
    *loop->posts_end = post;
    loop->posts_end = &post->next;
    uv_async_send(&loop->async);
  }
  uv_mutex_unlock(&mutex);
  if (loop != NULL) return 0;
  uvws__free(post);
  return UV_ENOENT;
}

static void run_posts(uvws__loop_t* loop) {
  uv_loop_t* uv = loop->uv;
  lock();
  post_t* post = loop->posts;
  loop->posts = NULL;
  loop->posts_end = &loop->posts;
  uv_mutex_unlock(&mutex);
  while (post != NULL) {
    post_t* next = post->next;
    post->cb(uv, post->arg);
    uvws__free(post);
    post = next;
  }
}

static void on_async(uv_async_t* async) {
  uvws__loop_t* loop = async->data;
  learn_thread(loop);
  run_posts(loop);
}

/* ---- beginning and end ---- */

static void on_handle_closed(uv_handle_t* handle) {
  uvws__loop_t* loop = handle->data;
  if (--loop->handles > 0) return;
  lock();
  uvws__loop_t** link = &ending;
  while (*link != NULL && *link != loop) link = &(*link)->next;
  if (*link == loop) *link = loop->next;
  uv_mutex_unlock(&mutex);
  run_posts(loop);
  /* The last user may still ask whose thread this is. */
  if (loop->left != NULL) loop->left(loop->left_arg);
  if (loop->pool != NULL) loop->free_pool(loop->pool);
  uvws__free(loop->lent);
  while (uvws__spares_trim(&loop->spares)) continue;
  uvws__free(loop);
}

static int init_handles(uvws__loop_t* loop) {
  int status = uv_idle_init(loop->uv, &loop->idle);
  if (status != 0) return status;
  loop->handles = 1;
  loop->idle.data = loop;
  status = uv_timer_init(loop->uv, &loop->timer);
  if (status != 0) return status;
  loop->handles = 2;
  loop->timer.data = loop;
  uv_unref((uv_handle_t*)&loop->timer);
  status = uv_async_init(loop->uv, &loop->async, on_async);
  if (status != 0) return status;
  loop->handles = 3;
  loop->async.data = loop;
  uv_unref((uv_handle_t*)&loop->async);
  return 0;
}

static void close_handles(uvws__loop_t* loop) {
  unsigned handles = loop->handles;
  if (handles == 0) uvws__free(loop);
  if (handles > 0) uv_close((uv_handle_t*)&loop->idle, on_handle_closed);
  if (handles > 1) uv_close((uv_handle_t*)&loop->timer, on_handle_closed);
  if (handles > 2) uv_close((uv_handle_t*)&loop->async, on_handle_closed);
}

/* What was posted to the state before this one comes first. */
static void inherit_posts(uvws__loop_t* loop) {
  for (uvws__loop_t* old = ending; old != NULL; old = old->next) {
    if (old->uv != loop->uv || old->posts == NULL) continue;
    *loop->posts_end = old->posts;
    loop->posts_end = old->posts_end;
    old->posts = NULL;
    old->posts_end = &old->posts;
    uv_async_send(&loop->async);
  }
}

/* Only the arrays are left as they come: they are written before they are
 * read, and untouched pages cost nothing. */
static int make(uv_loop_t* uv, uvws__loop_t** result) {
  uvws__loop_t* loop = uvws__malloc(sizeof(*loop));
  if (loop == NULL) return UV_ENOMEM;
  memset(loop, 0, offsetof(uvws__loop_t, wheel));
  loop->uv = uv;
  loop->users = 1;
  loop->turn = 1; /* not that of a stream which has sent nothing */
  loop->deferred_end = &loop->deferred;
  loop->posts_end = &loop->posts;
  loop->spares.first = on_first_spare;
  loop->trim.passed = on_trim;
  uvws__wheel_init(&loop->wheel, now_ms());
  loop->random_left = 0;
  uvws__cork_empty(&loop->cork);
  loop->gatherer = NULL;
  int status = init_handles(loop);
  if (status != 0) {
    close_handles(loop);
    return status;
  }
  lock();
  loop->next = loops;
  loops = loop;
  inherit_posts(loop);
  uv_mutex_unlock(&mutex);
  *result = loop;
  return 0;
}

int uvws__loop_enter(uv_loop_t* uv, uvws__loop_t** loop) {
  *loop = uvws__loop_find(uv);
  if (*loop == NULL) return make(uv, loop);
  (*loop)->users++;
  return 0;
}

void uvws__loop_leave(uvws__loop_t* loop, void (*left)(void*), void* arg) {
  if (--loop->users > 0) {
    if (left != NULL) left(arg);
    return;
  }
  lock();
  *find_link(loop->uv) = loop->next;
  loop->next = ending;
  ending = loop;
  uv_mutex_unlock(&mutex);
  loop->left = left;
  loop->left_arg = arg;
  close_handles(loop);
}
