/* The wheel against a plain array of deadlines, step by random step; what it
 * promises is then looked at case by case. */

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

#include "net/wheel.h"

enum { STEPS = 100000, DEADLINES = 40, TICK = UVWS__WHEEL_TICK };
static const uint64_t TURN = (uint64_t)TICK * UVWS__WHEEL_SLOTS;

static uint64_t seed;

/* xorshift64 */
static uint64_t draw(uint64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed % below;
}

typedef struct model_s {
  uvws__deadline_t deadline; /* first */
  bool set;
  uint64_t at;
  uint64_t due;  /* the first tick that is not before it */
  bool in_order; /* unless it lay in the past: then the next one */
} model_t;

static uvws__wheel_t wheel;
static model_t models[DEADLINES];
static uint64_t now;
static uint64_t looked_at; /* when the wheel had nothing left */

static uint64_t some_delay(void) {
  switch (draw(4)) {
    case 0: return draw(3 * TICK);
    case 1: return draw(TURN);
    case 2: return TURN - TICK + draw(2 * TICK);
    default: return draw(20 * TURN);
  }
}

static void set(model_t* model) {
  uint64_t tick = now / TICK + 1;
  model->at = draw(20) == 0 ? now - draw(now) : now + some_delay();
  model->set = true;
  model->due = (model->at + TICK - 1) / TICK;
  model->in_order = model->due >= tick;
  if (!model->in_order) model->due = tick;
  uvws__wheel_set(&wheel, &model->deadline, model->at);
}

static void cancel(model_t* model) {
  uvws__wheel_cancel(&model->deadline);
  model->set = false;
}

/* Pops at most `max`. Ticks come in their order unless the wheel was asleep for
 * longer than a turn. */
static void pop(unsigned max) {
  bool slept = now / TICK - looked_at / TICK > UVWS__WHEEL_SLOTS;
  uint64_t last = 0;
  for (; max > 0; max--) {
    model_t* model = (model_t*)uvws__wheel_pop(&wheel, now);
    if (model == NULL) {
      looked_at = now;
      return;
    }
    assert_true(model->set);
    assert_true(model->at <= now);
    assert_null(model->deadline.link);
    assert_true(model->deadline.at == model->at);
    if (!slept && model->in_order && model->due <= now / TICK) {
      assert_true(model->due >= last);
      last = model->due;
    }
    model->set = false;
  }
}

static void check(void) {
  uint64_t first = UINT64_MAX, at;
  for (unsigned i = 0; i < DEADLINES; i++)
    if (models[i].set && models[i].due < first) first = models[i].due;
  bool any = uvws__wheel_next(&wheel, &at);
  assert_int_equal(any, first != UINT64_MAX);
  if (any) assert_true(at <= first * TICK || at <= now);
  if (looked_at != now) return;
  /* None that is due was left, and none is to be met again at once. */
  assert_true(first > now / TICK);
  if (any) assert_true(at > now);
}

static void step(void) {
  model_t* model = &models[draw(DEADLINES)];
  switch (draw(8)) {
    case 0:
    case 1:
    case 2: set(model); break;
    case 3: cancel(model); break;
    case 4: now += some_delay(); break;
    case 5: now += draw(2 * TICK); break;
    case 6: pop((unsigned)draw(4)); break;
    default: pop(UINT32_MAX);
  }
  check();
}

static void begin(uint64_t time) {
  memset(models, 0, sizeof(models));
  now = looked_at = time;
  uvws__wheel_init(&wheel, now);
}

static void test_against_a_model(void** state) {
  (void)state;
  begin(1 + draw(UINT64_C(1) << 40));
  for (unsigned i = 0; i < STEPS; i++) step();
}

/* Met at the first tick that is not before it, wherever in a tick it is set and
 * however far away it lies. */
static void test_when_it_passes(void** state) {
  const uint64_t delays[] = {1,      TICK - 1, TICK,     TICK + 1,     TURN - 1,
                             TURN,   TURN + 1, 2 * TURN, 5 * TURN + 7, 60000,
                             3600000};
  (void)state;
  for (uint64_t begun = 5 * TURN; begun < 5 * TURN + 2 * TICK; begun++) {
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
      uint64_t at = begun + delays[i], next;
      uvws__deadline_t deadline = {.at = 0};
      begin(begun);
      uvws__wheel_set(&wheel, &deadline, at);
      /* As the loop's timer does. */
      while (assert_true(uvws__wheel_next(&wheel, &next)),
             uvws__wheel_pop(&wheel, next) == NULL)
        assert_true(next > begun && next < at);
      assert_true(next >= at && next < at + TICK);
      assert_false(uvws__wheel_next(&wheel, &next));
    }
  }
}

/* What is set or cancelled between two pops of one tick. */
static void test_changes_between_pops(void** state) {
  uvws__deadline_t a = {.at = 0}, b = {.at = 0}, c = {.at = 0}, d = {.at = 0};
  (void)state;
  begin(1000);
  uvws__wheel_set(&wheel, &a, 1100);
  uvws__wheel_set(&wheel, &b, 1101);
  uvws__wheel_set(&wheel, &c, 1102);
  uvws__wheel_set(&wheel, &d, 1103);
  uvws__deadline_t* popped = uvws__wheel_pop(&wheel, 1104);
  assert_non_null(popped);
  uvws__deadline_t* rest[3];
  unsigned n = 0;
  for (unsigned i = 0; i < 4; i++) {
    uvws__deadline_t* all[] = {&a, &b, &c, &d};
    if (all[i] != popped) rest[n++] = all[i];
  }
  uvws__wheel_cancel(rest[0]);
  uvws__wheel_cancel(rest[0]);
  uvws__wheel_set(&wheel, rest[1], 2000);
  uvws__wheel_set(&wheel, popped, 1100);
  assert_ptr_equal(uvws__wheel_pop(&wheel, 1104), rest[2]);
  assert_null(uvws__wheel_pop(&wheel, 1104));
  assert_ptr_equal(uvws__wheel_pop(&wheel, 1120), popped);
  assert_null(uvws__wheel_pop(&wheel, 1999));
  assert_ptr_equal(uvws__wheel_pop(&wheel, 2000), rest[1]);
  assert_null(uvws__wheel_pop(&wheel, 2000));
  assert_null(uvws__wheel_pop(&wheel, 2000 + 9 * TURN));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_a_model),
      cmocka_unit_test(test_when_it_passes),
      cmocka_unit_test(test_changes_between_pops),
  };
  const char* given = getenv("UVWS_TEST_SEED");
  seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
  print_message("UVWS_TEST_SEED=%llu\n", (unsigned long long)seed);
  seed = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
