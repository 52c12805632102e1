#include "protocol/mask.h"

#include <string.h>

#include "alloc.h"
#include "protocol/kernels.h"

static void mask_large(uint8_t* dst, const uint8_t* src, size_t len,
                       const uint8_t key[4], unsigned phase) {
  /* A vector that lies in two lines of the cache is two accesses. */
  size_t head = -(uintptr_t)dst % UVWS__BLOCK;
  size_t blocks = (len - head) / UVWS__BLOCK * UVWS__BLOCK;
  uvws__mask_small(dst, src, head, uvws__mask_key(key, phase));
  uint64_t wide = uvws__mask_key(key, (unsigned)(phase + head));
  uvws__kernels()->mask(dst + head, src + head, blocks, wide);
  head += blocks;
  uvws__mask_small(dst + head, src + head, len - head, wide);
}

void uvws__mask(uint8_t* dst, const uint8_t* src, size_t len,
                const uint8_t key[4], unsigned phase) {
  if (len < UVWS__MASK_LARGE)
    uvws__mask_small(dst, src, len, uvws__mask_key(key, phase));
  else
    mask_large(dst, src, len, key, phase);
}
