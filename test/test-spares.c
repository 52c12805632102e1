/* The spare blocks of a loop, and those who use them: what was given is what is
 * taken, a budget is charged with as much as it is given back, and nothing is
 * kept for ever. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "net/outbox.h"
#include "protocol/message.h"
#include "uvws.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* ---- memory: each block knows its size, and what is freed is gone ---- */

typedef struct header_s {
  size_t size;
  size_t padding;
} header_t;

static size_t blocks;

static void* sized_malloc(size_t size) {
  header_t* header = malloc(sizeof(*header) + size);
  header->size = size;
  blocks++;
  return header + 1;
}

static void* sized_calloc(size_t count, size_t size) {
  void* block = sized_malloc(count * size);
  memset(block, 0, count * size);
  return block;
}

static size_t size_of(const void* block) {
  return ((const header_t*)block)[-1].size;
}

static void sized_free(void* block) {
  if (block == NULL) return;
  blocks--;
  free((header_t*)block - 1);
}

static void* sized_realloc(void* block, size_t size) {
  void* other = sized_malloc(size);
  if (block == NULL) return other;
  memcpy(other, block, size_of(block) < size ? size_of(block) : size);
  sized_free(block);
  return other;
}

/* ---- the blocks themselves ---- */

static uvws__spares_t spares;
static unsigned firsts;

static void on_first(uvws__spares_t* these) {
  assert_ptr_equal(these, &spares);
  assert_int_equal(these->n, 0);
  firsts++;
}

static int setup(void** state) {
  (void)state;
  memset(&spares, 0, sizeof(spares));
  spares.first = on_first;
  firsts = 0;
  assert_int_equal(blocks, 0);
  return 0;
}

/* What is held is what they say they hold. */
static void check(void) {
  size_t total = 0;
  assert_true(spares.n <= UVWS__SPARES);
  assert_true(spares.unused <= spares.n);
  for (unsigned i = 0; i < spares.n; i++) {
    assert_int_equal(spares.blocks[i].size, size_of(spares.blocks[i].block));
    total += spares.blocks[i].size;
  }
  assert_int_equal(spares.total, total);
  assert_true(total <= 16 * MIB);
}

static void give(size_t size) {
  uvws__spares_give(&spares, uvws__malloc(size), size);
  check();
}

static size_t take(uint64_t least) {
  size_t size = 0;
  void* block = uvws__spares_take(&spares, least, &size);
  check();
  if (block == NULL) return 0;
  assert_int_equal(size, size_of(block));
  assert_true(size >= least);
  uvws__free(block);
  return size;
}

static void drop(void) {
  while (uvws__spares_trim(&spares)) check();
  check();
  assert_int_equal(blocks, 0);
}

static void test_the_smallest_that_fits_is_taken(void** state) {
  (void)state;
  give(100 * KIB);
  give(40 * KIB);
  give(64 * KIB);
  give(40 * KIB);
  void* newest = spares.blocks[3].block;
  size_t size;
  void* block = uvws__spares_take(&spares, 40 * KIB, &size);
  assert_ptr_equal(block, newest);
  uvws__free(block);
  check();
  assert_int_equal(take(40 * KIB + 1), 64 * KIB);
  assert_int_equal(take(64 * KIB), 100 * KIB);
  assert_int_equal(take(64 * KIB), 0);
  assert_int_equal(take(40 * KIB), 40 * KIB);
  assert_int_equal(spares.n, 0);
  give(64 * KIB);
  give(40 * KIB);
  give(100 * KIB);
  assert_int_equal(take(40 * KIB), 40 * KIB);
  drop();
}

static void test_one_much_too_large_is_not_taken(void** state) {
  (void)state;
  give(MIB);
  assert_int_equal(take(0), 0);
  assert_int_equal(take(252 * KIB - 1), 0);
  assert_int_equal(take(UINT64_MAX), 0);
  assert_int_equal(take(252 * KIB), MIB);
  drop();
}

static void test_what_is_not_kept_is_freed(void** state) {
  (void)state;
  give(16 * KIB - 1);
  give(4 * MIB + 1);
  assert_int_equal(blocks, 0);
  for (int i = 0; i < 40; i++) give(16 * KIB);
  assert_int_equal(spares.n, UVWS__SPARES);
  for (int i = 0; i < 9; i++) give(4 * MIB);
  assert_int_equal(spares.n, 4);
  give(16 * KIB);
  assert_int_equal(spares.n, 4);
  drop();
  uvws__spares_give(NULL, uvws__malloc(MIB), MIB);
  uvws__spares_give(&spares, NULL, MIB);
  assert_int_equal(blocks, 0);
}

/* The first trim only looks: those that nobody takes until the second go. */
static void test_what_is_not_needed_goes(void** state) {
  (void)state;
  for (int i = 0; i < 5; i++) give(32 * KIB);
  assert_int_equal(firsts, 1);
  assert_true(uvws__spares_trim(&spares));
  assert_int_equal(spares.n, 5);
  assert_int_equal(take(32 * KIB), 32 * KIB);
  assert_int_equal(take(32 * KIB), 32 * KIB);
  give(32 * KIB);
  assert_int_equal(spares.n, 4);
  assert_true(uvws__spares_trim(&spares));
  assert_int_equal(spares.n, 1);
  check();
  assert_false(uvws__spares_trim(&spares));
  assert_int_equal(blocks, 0);
  give(32 * KIB);
  assert_int_equal(firsts, 2);
  drop();
}

static void test_random_blocks(void** state) {
  uint32_t x = 1;
  (void)state;
  for (int i = 0; i < 20000; i++) {
    x = x * 1664525 + 1013904223;
    size_t size = (size_t)(x >> 12) % (4 * MIB) >> (x >> 8) % 8;
    switch (x >> 29) {
      case 0: (void)uvws__spares_trim(&spares); break;
      case 1:
      case 2:
      case 3: (void)take(size); break;
      default: give(size);
    }
    check();
  }
  drop();
}

/* ---- a receiver's buffer ---- */

static uvws__budget_t budget;
static const uvws__limits_t limits = {.max_message = 64 * MIB,
                                      .max_fragments = 1000};

static void on_room(uvws__budget_t* of) {
  (void)of;
}

static void begin(uvws__receiver_t* receiver, uint64_t max) {
  budget = (uvws__budget_t){.max = max, .room = on_room};
  uvws__receiver_init(receiver, UVWS__CLIENT, &limits);
  receiver->spares = &spares;
  receiver->budget = &budget;
}

/* The first half of a binary frame of `len` bytes. */
static uvws__received_t feed_half(uvws__receiver_t* receiver, size_t len) {
  uint8_t* frame = calloc(1, len);
  uvws__received_t received;
  uint8_t* at = frame;
  size_t left = len / 2;
  left = left + uvws__frame_header_write(frame, 0x82, len, NULL);
  (void)uvws__receive(receiver, &at, &left, &received);
  free(frame);
  return received;
}

static uvws__received_kind_t feed_rest(uvws__receiver_t* receiver,
                                       uvws__received_t* received) {
  size_t left = (size_t)receiver->parser.remaining;
  uint8_t* rest = calloc(1, left);
  uint8_t* at = rest;
  uvws__received_kind_t kind = uvws__receive(receiver, &at, &left, received);
  free(rest);
  return kind;
}

static void test_a_spare_buffer_is_charged_as_it_is(void** state) {
  uvws__receiver_t receiver;
  uvws__received_t received;
  (void)state;
  begin(&receiver, MIB);
  give(200 * KIB);
  (void)feed_half(&receiver, 60 * KIB);
  assert_int_equal(spares.n, 0);
  assert_int_equal(receiver.capacity, 200 * KIB);
  assert_int_equal(budget.used, 200 * KIB);
  assert_int_equal(feed_rest(&receiver, &received), UVWS__RECEIVED_MESSAGE);
  assert_true(received.buffered);
  uvws__receiver_settle(&receiver);
  assert_int_equal(budget.used, 0);
  assert_int_equal(spares.n, 1);
  check();
  /* It is taken away: then nobody is charged with it. */
  (void)feed_half(&receiver, 60 * KIB);
  assert_int_equal(feed_rest(&receiver, &received), UVWS__RECEIVED_MESSAGE);
  uint8_t* taken = uvws__receiver_take(&receiver);
  assert_ptr_equal(taken, received.data);
  assert_int_equal(budget.used, 0);
  assert_int_equal(spares.n, 0);
  uvws__free(taken);
  uvws__receiver_clear(&receiver);
  assert_int_equal(budget.used, 0);
  drop();
}

/* One that the budget does not allow is left where it was. */
static void test_a_spare_buffer_must_fit_the_budget(void** state) {
  uvws__receiver_t receiver;
  uvws__received_t received;
  (void)state;
  begin(&receiver, 150 * KIB);
  give(200 * KIB);
  received = feed_half(&receiver, 60 * KIB);
  assert_int_equal(received.failure, UVWS__OK);
  assert_int_equal(spares.n, 1);
  assert_true(receiver.capacity < 150 * KIB);
  assert_int_equal(budget.used, receiver.capacity);
  uvws__receiver_clear(&receiver);
  assert_int_equal(budget.used, 0);
  check();
  drop();
}

/* ---- chunks of output ---- */

static void test_chunks_come_and_go(void** state) {
  (void)state;
  give(70 * KIB);
  for (int i = 0; i < 50; i++) {
    uvws__outbox_t* outbox = uvws__outbox_new(&spares);
    uvws__mark_t mark = {10, (size_t)i * 3000, 0};
    for (int k = 0; k < 5; k++)
      memset(uvws__outbox_reserve(outbox, &mark), 'x',
             (size_t)(mark.head + mark.body));
    check();
    uv_buf_t bufs[64];
    unsigned n = uvws__outbox_buffers(outbox, bufs, 64);
    uint64_t sum = 0;
    for (unsigned k = 0; k < n; k++) sum += bufs[k].len;
    assert_int_equal(sum, 5 * (mark.head + mark.body));
    (void)uvws__outbox_taken(outbox, sum / 2);
    check();
    uvws__outbox_free(outbox);
    check();
  }
  drop();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_the_smallest_that_fits_is_taken, setup),
      cmocka_unit_test_setup(test_one_much_too_large_is_not_taken, setup),
      cmocka_unit_test_setup(test_what_is_not_kept_is_freed, setup),
      cmocka_unit_test_setup(test_what_is_not_needed_goes, setup),
      cmocka_unit_test_setup(test_random_blocks, setup),
      cmocka_unit_test_setup(test_a_spare_buffer_is_charged_as_it_is, setup),
      cmocka_unit_test_setup(test_a_spare_buffer_must_fit_the_budget, setup),
      cmocka_unit_test_setup(test_chunks_come_and_go, setup),
  };
  uvws_replace_allocator(sized_malloc, sized_realloc, sized_calloc, sized_free);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
