#include "protocol/utf8.h"

#include <string.h>

#include "protocol/kernels.h"
#include "protocol/mask.h"

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

bool uvws__utf8_feed_bytes(uvws__utf8_t* utf8, const uint8_t* data,
                           size_t len) {
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

/* How many bytes at the end are a character that goes on behind it, or what
 * looks like one. There are three bytes at least. */
static size_t unfinished(const uint8_t* end) {
  if (end[-1] >= 0xC0) return 1;
  if (end[-2] >= 0xE0) return 2;
  return end[-3] >= 0xF0 ? 3 : 0;
}

/* How many bytes a kernel takes: up to the end of a line of the cache, then
 * whole lines. For a few of them that is not worth it. */
static size_t blocks_in(const uint8_t* data, size_t len) {
  size_t odd = len < 64 * UVWS__BLOCK ? 0 : -(uintptr_t)data % UVWS__BLOCK;
  return odd + (len - odd) / UVWS__BLOCK * UVWS__BLOCK;
}

/* The bytes that the current character still wants are fed singly, then whole
 * blocks; and a character that these leave unfinished once more, for what it
 * wants. */
bool uvws__utf8_feed(uvws__utf8_t* utf8, const uint8_t* data, size_t len) {
  size_t wanted = utf8->need;
  if (len < wanted + UVWS__BLOCK) return uvws__utf8_feed_bytes(utf8, data, len);
  if (!uvws__utf8_feed_bytes(utf8, data, wanted)) return false;
  data += wanted;
  len -= wanted;
  size_t blocks = blocks_in(data, len);
  if (!uvws__kernels()->validate(data, blocks)) return false;
  size_t done = blocks - unfinished(data + blocks);
  return uvws__utf8_feed_bytes(utf8, data + done, len - done);
}

bool uvws__utf8_feed_masked(uvws__utf8_t* utf8, uint8_t* data, size_t len,
                            const uint8_t key[4], unsigned phase) {
  size_t wanted = utf8->need;
  if (len < wanted + 2 * UVWS__BLOCK) {
    uvws__mask(data, data, len, key, phase);
    return uvws__utf8_feed_bytes(utf8, data, len);
  }
  uvws__mask(data, data, wanted, key, phase);
  if (!uvws__utf8_feed_bytes(utf8, data, wanted)) return false;
  data += wanted;
  len -= wanted;
  phase += (unsigned)wanted;
  size_t blocks = blocks_in(data, len);
  if (!uvws__kernels()->unmask_text(data, blocks, uvws__mask_key(key, phase)))
    return false;
  uvws__mask(data + blocks, data + blocks, len - blocks, key,
             (unsigned)(phase + blocks));
  size_t done = blocks - unfinished(data + blocks);
  return uvws__utf8_feed_bytes(utf8, data + done, len - done);
}

bool uvws__utf8_is_complete(const uvws__utf8_t* utf8) {
  return utf8->need == 0;
}

bool uvws__utf8_is_valid(const uint8_t* data, size_t len) {
  uvws__utf8_t utf8 = {0, 0, 0};
  return uvws__utf8_feed(&utf8, data, len) && uvws__utf8_is_complete(&utf8);
}
