#include "protocol/utf8.h"

#include <string.h>

/* What a lead byte announces: how many continuation bytes, and the range of the
 * first of them, which is where overlong forms (E0, F0), surrogates (ED) and
 * code points above U+10FFFF (F4) show. Indexed by lead byte - 0xC2; RFC 3629,
 * section 4. */
typedef struct lead_s {
  uint8_t need, low, high;
} lead_t;

static const uint8_t FIRST_LEAD = 0xC2;
static const uint8_t LAST_LEAD = 0xF4;

#define TWO \
  { 1, 0x80, 0xBF }
#define THREE \
  { 2, 0x80, 0xBF }
#define FOUR \
  { 3, 0x80, 0xBF }
#define FOUR_TIMES(x) x, x, x, x
/* clang-format off */
static const lead_t leads[] = {
    /* C2-DF */ TWO, TWO, FOUR_TIMES(TWO), FOUR_TIMES(TWO), FOUR_TIMES(TWO),
                FOUR_TIMES(TWO), FOUR_TIMES(TWO), FOUR_TIMES(TWO),
                FOUR_TIMES(TWO),
    /* E0 */    {2, 0xA0, 0xBF},
    /* E1-EC */ FOUR_TIMES(THREE), FOUR_TIMES(THREE), FOUR_TIMES(THREE),
    /* ED */    {2, 0x80, 0x9F},
    /* EE-EF */ THREE, THREE,
    /* F0 */    {3, 0x90, 0xBF},
    /* F1-F3 */ FOUR, FOUR, FOUR,
    /* F4 */    {3, 0x80, 0x8F},
};
/* clang-format on */

/* The number of bytes at the front that are ASCII, in steps of eight. */
static size_t ascii_run(const uint8_t* data, size_t len) {
  size_t i = 0;
  for (; i + 8 <= len; i += 8) {
    uint64_t word;
    memcpy(&word, data + i, 8);
    if (word & UINT64_C(0x8080808080808080)) break;
  }
  return i;
}

bool uvws__utf8_feed(uvws__utf8_t* utf8, const uint8_t* data, size_t len) {
  uvws__utf8_t state = *utf8;
  size_t i = 0;
  while (i < len) {
    uint8_t byte = data[i];
    if (state.need > 0) {
      if (byte < state.low || byte > state.high) return false;
      state = (uvws__utf8_t){state.need - 1, 0x80, 0xBF};
      i++;
    } else if (byte < 0x80) {
      size_t run = ascii_run(data + i, len - i);
      i += run > 0 ? run : 1;
    } else {
      if (byte < FIRST_LEAD || byte > LAST_LEAD) return false;
      const lead_t* lead = &leads[byte - FIRST_LEAD];
      state = (uvws__utf8_t){lead->need, lead->low, lead->high};
      i++;
    }
  }
  *utf8 = state;
  return true;
}

bool uvws__utf8_is_complete(const uvws__utf8_t* utf8) {
  return utf8->need == 0;
}

bool uvws__utf8_is_valid(const uint8_t* data, size_t len) {
  uvws__utf8_t utf8 = {0, 0, 0};
  return uvws__utf8_feed(&utf8, data, len) && uvws__utf8_is_complete(&utf8);
}
