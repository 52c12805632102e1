/* Against another decoder: one that computes code points and looks at them
 * only then. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocol/utf8.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* How a string of bytes can go on. */
typedef enum { DEAD, INSIDE, WHOLE } verdict_t;

static size_t sequence_length(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC0 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF8) return 4;
  return 0;
}

/* Whether any of these code points takes `size` bytes in UTF-8. */
static bool any_is_valid(uint32_t first, uint32_t last, size_t size) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (first < least[size]) first = least[size];
  if (last > 0x10FFFF) last = 0x10FFFF;
  if (first > last) return false;
  return first < 0xD800 || last > 0xDFFF;
}

static verdict_t judge(const uint8_t* s, size_t len) {
  while (len > 0) {
    size_t size = sequence_length(s[0]);
    size_t have = size < len ? size : len;
    if (size == 0) return DEAD;
    uint32_t point = size == 1 ? s[0] : s[0] & (0x7Fu >> size);
    for (size_t i = 1; i < have; i++) {
      if ((s[i] & 0xC0) != 0x80) return DEAD;
      point = point << 6 | (s[i] & 0x3F);
    }
    unsigned open = 6 * (unsigned)(size - have);
    if (!any_is_valid(point << open, ((point + 1) << open) - 1, size))
      return DEAD;
    if (have < size) return INSIDE;
    s += size;
    len -= size;
  }
  return WHOLE;
}

static verdict_t verdict_of(const uvws__utf8_t* utf8) {
  return uvws__utf8_is_complete(utf8) ? WHOLE : INSIDE;
}

/* Each byte that may follow the first `len` of `s`, and all that may follow
 * those, up to `max` bytes: a byte is refused exactly where it stands. Of the
 * bytes at `sparse_from` and later only some are tried. */
static void check_tree(uint8_t* s, size_t len, size_t max, size_t sparse_from,
                       const uvws__utf8_t* before) {
  static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F,
                                  0xA0, 0xBF, 0xC0, 0xC2, 0xF4, 0xFF};
  bool sparse = len >= sparse_from;
  size_t n = sparse ? COUNT_OF(edges) : 256;
  for (size_t i = 0; i < n; i++) {
    uvws__utf8_t utf8 = *before;
    s[len] = sparse ? edges[i] : (uint8_t)i;
    verdict_t verdict = judge(s, len + 1);
    bool fed = uvws__utf8_feed(&utf8, s + len, 1);
    if (fed != (verdict != DEAD) || (fed && verdict_of(&utf8) != verdict))
      fail_msg("%02x %02x %02x %02x, %zu of them", s[0], s[1], s[2], s[3],
               len + 1);
    if (fed && len + 1 < max) check_tree(s, len + 1, max, sparse_from, &utf8);
  }
}

static void test_all_short_sequences(void** state) {
  const uvws__utf8_t start = {0, 0, 0};
  uint8_t s[5] = {0};
  (void)state;
  check_tree(s, 0, 3, 3, &start);
  check_tree(s, 0, 5, 2, &start);
}

static size_t encode(uint32_t point, uint8_t* out) {
  size_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = size; i-- > 0; point >>= 6)
    out[i] = (uint8_t)(i > 0 ? 0x80 | (point & 0x3F) : lead[size] | point);
  return size;
}

static void test_all_code_points(void** state) {
  uint8_t s[4];
  (void)state;
  for (uint32_t point = 0; point < 0x1FFFFF; point++) {
    bool valid = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    size_t size = encode(point, s);
    if (uvws__utf8_is_valid(s, size) != valid) fail_msg("U+%04X", point);
    if (valid && uvws__utf8_is_valid(s, size - 1) != (size == 1))
      fail_msg("U+%04X without its last byte", point);
  }
}

/* A sequence anywhere in ASCII, at any alignment, in two pieces. */
static void test_among_ascii(void** state) {
  static const char* const sequences[] = {
      "\xC2\x80", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC3(",
      "\x80",     "\xE2\x82(",    "\xF0\x9F(",        "\xED\xA0\x80",
      "\xFF",     "\xC0\x80",     "\xC3\xA9\x80",     "\xC2"};
  enum { LONGEST = 26 };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(sequences); i++) {
    size_t size = strlen(sequences[i]);
    for (size_t len = size; len <= LONGEST; len++) {
      uint8_t* s = malloc(len);
      assert_non_null(s);
      for (size_t at = 0; at + size <= len; at++) {
        memset(s, 'a', len);
        memcpy(s + at, sequences[i], size);
        verdict_t verdict = judge(s, len);
        assert_int_equal(uvws__utf8_is_valid(s, len), verdict == WHOLE);
        for (size_t split = 0; split <= len; split++) {
          uvws__utf8_t utf8 = {0, 0, 0};
          bool fed = uvws__utf8_feed(&utf8, s, split);
          assert_int_equal(fed, judge(s, split) != DEAD);
          fed = fed && uvws__utf8_feed(&utf8, s + split, len - split);
          assert_int_equal(fed, verdict != DEAD);
          if (fed) assert_int_equal(verdict_of(&utf8), verdict);
        }
      }
      free(s);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_short_sequences),
      cmocka_unit_test(test_all_code_points),
      cmocka_unit_test(test_among_ascii),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
