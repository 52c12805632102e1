#include "protocol/mask.h"

#include <string.h>

/* Eight bytes at a time through memcpy, which needs no alignment and which the
 * compiler turns into vector loads and stores. */

void uvws__mask(uint8_t* dst, const uint8_t* src, size_t len,
                const uint8_t key[4], unsigned phase) {
  uint8_t turned[8];
  uint64_t wide;
  size_t i = 0;
  for (unsigned k = 0; k < 8; k++) turned[k] = key[(phase + k) & 3];
  memcpy(&wide, turned, 8);
  for (; i + 8 <= len; i += 8) {
    uint64_t word;
    memcpy(&word, src + i, 8);
    word ^= wide;
    memcpy(dst + i, &word, 8);
  }
  for (; i < len; i++) dst[i] = src[i] ^ turned[i & 7];
}
