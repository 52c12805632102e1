/* The outbox against a model that knows, for each byte ever added, its value
 * and whether it is counted; by random steps in the order in which a stream may
 * take them. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/outbox.h"
#include "uvws.h"

enum {
  EPISODES = 60, /* outboxes, from new to free */
  STEPS = 400,   /* in each */
  MOST_BYTES = 8 * 1024 * 1024,
  PIECES = 2 * STEPS
};

static uint64_t seed;

/* xorshift64 */
static size_t draw(size_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (size_t)(seed % below);
}

/* ---- memory ---- */

static int fail_in; /* the so many-th call from now on fails; 0 for none */
static int live;

static bool fails(void) {
  return fail_in > 0 && --fail_in == 0;
}

static void* counting_malloc(size_t size) {
  if (fails()) return NULL;
  live++;
  return malloc(size);
}

static void* counting_calloc(size_t count, size_t size) {
  if (fails()) return NULL;
  live++;
  return calloc(count, size);
}

static void* counting_realloc(void* ptr, size_t size) {
  if (fails()) return NULL;
  if (ptr == NULL) live++;
  return realloc(ptr, size);
}

static void counting_free(void* ptr) {
  if (ptr != NULL) live--;
  free(ptr);
}

/* ---- the model ---- */

/* A block that pieces refer to; it is freed with its last reference. */
typedef struct object_s {
  int refs;
  uint8_t bytes[];
} object_t;

static void* ref(void* arg) {
  object_t* object = arg;
  object->refs++;
  return object;
}

static void unref(void* arg) {
  object_t* object = arg;
  assert_true(object->refs > 0);
  if (--object->refs == 0) free(object);
}

static const uvws__keeper_t keeper = {ref, unref};

static struct {
  uvws__outbox_t* outbox;
  uint8_t* value;   /* of each byte */
  uint16_t* counts; /* as how many: 1 when it is a body's */
  size_t end;       /* added so far */
  size_t begin;     /* bytes before are freed */
  size_t settled;   /* bytes before have been reported */
  size_t unsent;    /* bytes before libuv has, or had */
  struct {
    object_t* object; /* the test's own reference */
    size_t end;
  } kept[PIECES];
  unsigned n_kept;
} model;

static void put(size_t n, bool is_counted) {
  assert_true(model.end + n < MOST_BYTES);
  for (; n > 0; n--) {
    model.value[model.end] = (uint8_t)draw(256);
    model.counts[model.end++] = is_counted;
  }
}

static uint64_t count(size_t from, size_t to) {
  uint64_t n = 0;
  while (from < to) n += model.counts[from++];
  return n;
}

/* All that waits, in its order, and as long as it should be. */
static void check(void) {
  uv_buf_t bufs[PIECES];
  size_t at = model.unsent;
  unsigned n = uvws__outbox_buffers(model.outbox, bufs, PIECES);
  assert_true(n < PIECES);
  for (unsigned i = 0; i < n; i++) {
    assert_true(bufs[i].len > 0 && bufs[i].len <= model.end - at);
    assert_memory_equal(bufs[i].base, model.value + at, bufs[i].len);
    at += bufs[i].len;
  }
  assert_int_equal(at, model.end);
  assert_int_equal(model.outbox->unsent_bytes, model.end - model.unsent);
  assert_int_equal(model.outbox->in_flight, model.unsent - model.settled);
  assert_int_equal(uvws__outbox_is_empty(model.outbox),
                   model.begin == model.end);
  /* What is done is let go at once, and nothing else. */
  for (unsigned i = 0; i < model.n_kept; i++)
    assert_int_equal(model.kept[i].object->refs,
                     model.kept[i].end > model.begin ? 2 : 1);
}

/* ---- steps ---- */

static size_t some_size(void) {
  switch (draw(8)) {
    case 0: return 0;
    case 1: return draw(40000);
    case 2: return 16000 + draw(800);
    default: return draw(300);
  }
}

/* Half of the steps that add have no memory. */
static void starve(void) {
  fail_in = draw(2) == 0 ? (int)draw(4) : 0;
}

/* The piece added last counts as something else, at its end. */
static uvws__mark_t recount(size_t start) {
  uint16_t whole = (uint16_t)draw(60000);
  for (size_t i = start; i < model.end; i++) model.counts[i] = 0;
  model.counts[model.end - 1] = whole;
  return (uvws__mark_t){model.end - start, 0, whole};
}

static uint8_t* reserve_piece(size_t head, size_t body) {
  uvws__mark_t mark = {head, body, 0};
  return uvws__outbox_reserve(model.outbox, &mark);
}

static void reserve(void) {
  size_t head = 2 + draw(13), body = some_size(), end = model.end;
  uvws__mark_t mark = {head, body, 0};
  put(head, false);
  put(body, true);
  if (draw(3) == 0) mark = recount(end);
  starve();
  uint8_t* room = uvws__outbox_reserve(model.outbox, &mark);
  fail_in = 0;
  if (room == NULL)
    model.end = end;
  else
    memcpy(room, model.value + end, head + body);
}

/* As from a cork of which the kernel took a part: the first mark may have lost
 * its head. */
static void append(void) {
  uvws__mark_t marks[40];
  unsigned n = 1 + (unsigned)draw(40);
  size_t end = model.end;
  for (unsigned i = 0; i < n; i++) {
    size_t start = model.end;
    marks[i].head = i == 0 ? draw(3) : 2 + draw(13);
    marks[i].body = i == 0 ? 1 + draw(200) : draw(200);
    marks[i].whole = 0;
    put((size_t)marks[i].head, false);
    put((size_t)marks[i].body, true);
    if (draw(3) == 0) marks[i] = recount(start);
  }
  starve();
  /* In two buffers, of which a part went elsewhere. */
  size_t skip = end < 20 ? end : draw(20), cut = draw(model.end - end + skip);
  uint8_t* from = model.value + end - skip;
  uv_buf_t bufs[] = {{(char*)from, cut},
                     {(char*)from + cut, model.end - end + skip - cut}};
  if (!uvws__outbox_append(model.outbox, bufs, skip, model.end - end, marks, n))
    model.end = end;
  fail_in = 0;
}

static void refer(void) {
  size_t head = 2 + draw(13), body = 1 + some_size(), end = model.end;
  object_t* object = malloc(sizeof(*object) + body);
  assert_non_null(object);
  object->refs = 1;
  put(head, false);
  put(body, true);
  memcpy(object->bytes, model.value + end + head, body);
  uv_buf_t buf = {(char*)object->bytes, body};
  uint64_t whole = draw(3) == 0 ? recount(end).whole : 0;
  if (whole == 0)
    for (size_t i = end; i < model.end; i++) model.counts[i] = i >= end + head;
  starve();
  bool added = uvws__outbox_refer(model.outbox, model.value + end, head, &buf,
                                  1, &keeper, object, whole);
  fail_in = 0;
  if (added) {
    model.kept[model.n_kept].object = object;
    model.kept[model.n_kept++].end = model.end;
  } else {
    assert_int_equal(object->refs, 1);
    unref(object);
    model.end = end;
  }
}

/* The kernel takes a part of the first buffers. */
static void take(void) {
  uv_buf_t bufs[16];
  unsigned n = uvws__outbox_buffers(model.outbox, bufs, 1 + (unsigned)draw(16));
  size_t size = 0;
  for (unsigned i = 0; i < n; i++) size += bufs[i].len;
  if (size == 0) return;
  size = draw(3) == 0 ? size : draw(size + 1);
  uint64_t body = uvws__outbox_taken(model.outbox, size);
  assert_int_equal(body, count(model.unsent, model.unsent + size));
  model.begin = model.settled = model.unsent += size;
}

static void submit(void) {
  uv_buf_t bufs[8];
  unsigned n = uvws__outbox_buffers(model.outbox, bufs, 1 + (unsigned)draw(8));
  uvws__outbox_submit(model.outbox, n);
  for (unsigned i = 0; i < n; i++) model.unsent += bufs[i].len;
}

static void settle(void) {
  size_t n = draw(model.unsent - model.settled + 1);
  uint64_t body = uvws__outbox_settle(model.outbox, n);
  assert_int_equal(body, count(model.settled, model.settled + n));
  model.settled += n;
}

static void finish_write(void) {
  size_t n = model.unsent - model.settled;
  uint64_t body = uvws__outbox_settle(model.outbox, n);
  assert_int_equal(body, count(model.settled, model.unsent));
  uvws__outbox_returned(model.outbox);
  model.begin = model.settled = model.unsent;
}

static void step(void) {
  bool in_flight = model.begin < model.unsent;
  switch (draw(8)) {
    case 0:
    case 1: reserve(); break;
    case 2: append(); break;
    case 3: refer(); break;
    case 4: in_flight ? settle() : submit(); break;
    case 5: in_flight ? finish_write() : take(); break;
    default: in_flight ? settle() : take();
  }
}

static void drop_unsent(void) {
  uvws__outbox_drop_unsent(model.outbox);
  model.end = model.unsent;
  while (model.n_kept > 0 && model.kept[model.n_kept - 1].end > model.end) {
    model.n_kept--;
    assert_int_equal(model.kept[model.n_kept].object->refs, 1);
    unref(model.kept[model.n_kept].object);
  }
  check();
}

/* Writing fails: what libuv does not have is dropped at once, and so is what
 * is still added in that turn; the rest when it comes back. */
static void fail_writing(void) {
  drop_unsent();
  reserve();
  refer();
  check();
  drop_unsent();
  uvws__outbox_returned(model.outbox);
  model.begin = model.settled = model.unsent;
  check();
}

static void begin_episode(void) {
  model.outbox = uvws__outbox_new(NULL);
  assert_non_null(model.outbox);
  model.begin = model.settled = model.unsent = model.end = 0;
  model.n_kept = 0;
}

static void end_episode(void) {
  uvws__outbox_free(model.outbox);
  assert_int_equal(live, 0);
  for (unsigned i = 0; i < model.n_kept; i++) {
    assert_int_equal(model.kept[i].object->refs, 1);
    unref(model.kept[i].object);
  }
}

static void test_against_a_model(void** state) {
  (void)state;
  model.value = malloc(MOST_BYTES);
  model.counts = malloc(MOST_BYTES * sizeof(*model.counts));
  assert_true(model.value != NULL && model.counts != NULL);
  for (unsigned i = 0; i < EPISODES; i++) {
    begin_episode();
    for (unsigned k = 0; k < STEPS; k++) {
      step();
      check();
    }
    if (i % 2 == 0) fail_writing();
    end_episode();
  }
  free(model.value);
  free(model.counts);
}

static void test_marks(void** state) {
  static const struct {
    uint64_t bytes, body;
    unsigned first; /* afterwards */
  } takes[] = {
      {1, 0, 0},  {1, 0, 0}, {1, 1, 0},   {0, 0, 0}, {4, 4, 1},
      {3, 0, 3},  {2, 2, 4}, {5, 1, 5},   {2, 2, 6}, {5, 0, 6},
      {1, 30, 7}, {2, 7, 8}, {9, 99, 10},
  };
  /* The last ones count at their ends. */
  uvws__mark_t marks[] = {{2, 5, 0},  {2, 0, 0}, {1, 0, 0},  {0, 2, 0},
                          {4, 1, 0},  {0, 2, 0}, {6, 0, 30}, {2, 0, 7},
                          {3, 0, 90}, {6, 0, 9}};
  unsigned first = 0, n = 10;
  (void)state;
  for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
    assert_int_equal(uvws__marks_take(marks, &first, &n, takes[i].bytes),
                     takes[i].body);
    assert_int_equal(first, takes[i].first);
    assert_int_equal(n, 10 - first);
  }
}

/* Small pieces share chunks, so that one write carries many of them. */
static void test_small_pieces_share_buffers(void** state) {
  uv_buf_t bufs[16];
  (void)state;
  begin_episode();
  for (unsigned i = 0; i < 100; i++) assert_non_null(reserve_piece(2, 100));
  assert_int_equal(uvws__outbox_buffers(model.outbox, bufs, 16), 1);
  assert_int_equal(uvws__outbox_buffers(model.outbox, bufs, 0), 0);
  /* libuv has the first one now. */
  uvws__outbox_submit(model.outbox, 1);
  assert_int_equal(uvws__outbox_buffers(model.outbox, bufs, 16), 0);
  assert_non_null(reserve_piece(2, 100));
  assert_int_equal(uvws__outbox_buffers(model.outbox, bufs, 16), 1);
  assert_int_equal(bufs[0].len, 102);
  end_episode();
}

/* A long-lived queue that never empties keeps no room for marks it is done
 * with. */
static void test_marks_do_not_pile_up(void** state) {
  (void)state;
  begin_episode();
  assert_non_null(reserve_piece(2, 10));
  for (unsigned i = 0; i < 10000; i++) {
    assert_non_null(reserve_piece(2, 10));
    assert_int_equal(uvws__outbox_taken(model.outbox, 12), 10);
  }
  assert_true(model.outbox->mark_capacity < 100);
  end_episode();
}

static void test_impossible_sizes(void** state) {
  (void)state;
  begin_episode();
  assert_null(reserve_piece(14, SIZE_MAX - 13));
  assert_null(reserve_piece(14, SIZE_MAX - 14));
  check();
  end_episode();
  uvws__outbox_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_a_model),
      cmocka_unit_test(test_marks),
      cmocka_unit_test(test_small_pieces_share_buffers),
      cmocka_unit_test(test_marks_do_not_pile_up),
      cmocka_unit_test(test_impossible_sizes),
  };
  const char* given = getenv("UVWS_TEST_SEED");
  seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
  print_message("UVWS_TEST_SEED=%llu\n", (unsigned long long)seed);
  seed = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
  uvws_replace_allocator(counting_malloc, counting_realloc, counting_calloc,
                         counting_free);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
