/* Against the definition, byte by byte: RFC 6455, 5.3. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocol/mask.h"

enum { LONGEST = 100, ALIGNMENTS = 8 };

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
static uint8_t plain[LONGEST];

/* Masks from and to blocks in which the bytes begin at some offset and end
 * with the block. */
static void check(size_t len, unsigned phase, size_t src_offset,
                  size_t dst_offset) {
  uint8_t* src = malloc(src_offset + len);
  uint8_t* dst = malloc(dst_offset + len + 1);
  assert_non_null(src);
  assert_non_null(dst);
  memset(dst, 0xEE, dst_offset + len + 1);
  memcpy(src + src_offset, plain, len);

  uvws__mask(dst + dst_offset, src + src_offset, len, key, phase);
  assert_memory_equal(src + src_offset, plain, len);
  for (size_t i = 0; i < len; i++)
    assert_int_equal(dst[dst_offset + i], plain[i] ^ key[(phase + i) % 4]);
  for (size_t i = 0; i < dst_offset; i++) assert_int_equal(dst[i], 0xEE);
  assert_int_equal(dst[dst_offset + len], 0xEE);

  uvws__mask(src + src_offset, src + src_offset, len, key, phase);
  assert_memory_equal(src + src_offset, dst + dst_offset, len);
  free(src);
  free(dst);
}

static void test_lengths_phases_alignments(void** state) {
  (void)state;
  for (size_t i = 0; i < LONGEST; i++) plain[i] = (uint8_t)(i * 11 + 5);
  for (size_t len = 0; len <= LONGEST; len++)
    for (unsigned phase = 0; phase < 4; phase++)
      for (size_t offset = 0; offset < ALIGNMENTS; offset++)
        check(len, phase, offset, (offset * 3 + len) % ALIGNMENTS);
}

/* The example of RFC 6455, 5.7. */
static void test_hello(void** state) {
  uint8_t bytes[] = {0x7F, 0x9F, 0x4D, 0x51, 0x58};
  (void)state;
  uvws__mask(bytes, bytes, 2, key, 0);
  uvws__mask(bytes + 2, bytes + 2, 3, key, 2);
  assert_memory_equal(bytes, "Hello", 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lengths_phases_alignments),
      cmocka_unit_test(test_hello),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
