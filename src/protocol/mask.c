#include "protocol/mask.h"

#include <string.h>

#include "alloc.h"
#include "protocol/kernels.h"

/* Below, what is gained would not pay for the choice. */
static const size_t LARGE = 512;

uint64_t uvws__mask_key(const uint8_t key[4], unsigned phase) {
  uint8_t turned[4];
  uint32_t word;
  memcpy(&word, key, 4);
  if ((phase & 3) != 0) {
    for (unsigned i = 0; i < 4; i++) turned[i] = key[(phase + i) & 3];
    memcpy(&word, turned, 4);
  }
  return (uint64_t)word << 32 | word;
}

/* Two words at a time, through memcpy, which needs no alignment and which
 * compilers make one vector of. */
static inline void mask_small(uint8_t* dst, const uint8_t* src, size_t len,
                              uint64_t wide) {
  size_t i = 0;
  for (; i + 16 <= len; i += 16) {
    uint64_t words[2];
    memcpy(words, src + i, 16);
    words[0] ^= wide;
    words[1] ^= wide;
    memcpy(dst + i, words, 16);
  }
  if (i + 8 <= len) {
    uint64_t word;
    memcpy(&word, src + i, 8);
    word ^= wide;
    memcpy(dst + i, &word, 8);
    i += 8;
  }
  uint8_t turned[8];
  if (i < len) memcpy(turned, &wide, 8);
  for (; i < len; i++) dst[i] = src[i] ^ turned[i & 7];
}

static UVWS__NOINLINE void mask_large(uint8_t* dst, const uint8_t* src,
                                      size_t len, const uint8_t key[4],
                                      unsigned phase) {
  /* A vector that lies in two lines of the cache is two accesses. */
  size_t head = -(uintptr_t)dst % UVWS__BLOCK;
  size_t blocks = (len - head) / UVWS__BLOCK * UVWS__BLOCK;
  mask_small(dst, src, head, uvws__mask_key(key, phase));
  uint64_t wide = uvws__mask_key(key, (unsigned)(phase + head));
  uvws__kernels()->mask(dst + head, src + head, blocks, wide);
  head += blocks;
  mask_small(dst + head, src + head, len - head, wide);
}

void uvws__mask(uint8_t* dst, const uint8_t* src, size_t len,
                const uint8_t key[4], unsigned phase) {
  if (len < LARGE)
    mask_small(dst, src, len, uvws__mask_key(key, phase));
  else
    mask_large(dst, src, len, key, phase);
}
