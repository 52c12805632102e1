#ifndef UVWS_TEST_CUTS_H_
#define UVWS_TEST_CUTS_H_

/* Partial writes that end wherever a frame may be cut, for
 * test-buffered-amount.c and test-deflate-amount.c. */

#include "model.h"

/* The kernel takes all up to that byte, which may need some turns; under TLS to
 * the end of the record that has it, and a piece of the next. */
static void take_until(uint64_t offset) {
  while (kernel.taken < offset) {
    uint64_t before = kernel.taken;
    kernel.room = test_has_tls() ? 777 : offset - kernel.taken;
    for (int i = 0; i < 10000 && kernel.room > 0 && kernel.taken < offset; i++)
      turn();
    turn();
    assert_true(test_has_tls() || kernel.taken > before);
  }
  /* TLS says goodbye behind the last frame. */
  kernel.room = test_has_tls() && offset == model.wire ? 100 : 0;
  if (!test_has_tls()) assert_int_equal(kernel.taken, offset);
}

static const struct {
  kind_t kind;
  size_t len;
} mix[] = {{TEXT, 5},       {BINARY, 0},    {PING, 125},     {TEXT, 125},
           {BINARY, 126},   {PING, 0},      {BLOB, 20000},   {TEXT, 16370},
           {TEXT, 16381},   {TEXT, 16383},  {BINARY, 16384}, {BLOB, 65535},
           {BINARY, 65536}, {BLOB, 100000}, {TEXT, 1},       {BLOB, 3}};

static void put_mix(void) {
  for (size_t i = 0; i < COUNT_OF(mix); i++) put(mix[i].kind, mix[i].len);
}

/* In ascending order the offsets around each boundary of a frame: inside and
 * right behind its header, inside its payload, at its end. */
static size_t find_cuts(uint64_t* cuts) {
  uint64_t start = 0, last = 0;
  size_t n = 0;
  for (size_t i = 0; i < model.n; i++) {
    const frame_t* frame = &model.frames[i];
    uint64_t body = start + frame->header, end = body + frame->len;
    uint64_t around[] = {
        start + 1, body - 1, body, body + 1, body + frame->len / 2,
        end - 1,   end};
    for (size_t k = 0; k < COUNT_OF(around); k++)
      if (around[k] > last && around[k] <= end) cuts[n++] = last = around[k];
    start = end;
  }
  return n;
}

#endif /* UVWS_TEST_CUTS_H_ */
