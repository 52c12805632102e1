#ifndef UVWS_SRC_PROTOCOL_MASK_H_
#define UVWS_SRC_PROTOCOL_MASK_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The key's eight bytes from its octet `phase` on, as they lie in memory. */
static inline uint64_t uvws__mask_key(const uint8_t key[4], unsigned phase) {
  uint8_t turned[4];
  uint32_t word;
  memcpy(&word, key, 4);
  if ((phase & 3) != 0) {
    for (unsigned i = 0; i < 4; i++) turned[i] = key[(phase + i) & 3];
    memcpy(&word, turned, 4);
  }
  return (uint64_t)word << 32 | word;
}

/* Two words, through memcpy, which needs no alignment and which compilers make
 * one vector of. */
static inline void uvws__mask_words(uint8_t* dst, const uint8_t* src,
                                    uint64_t wide) {
  uint64_t words[2];
  memcpy(words, src, 16);
  words[0] ^= wide;
  words[1] ^= wide;
  memcpy(dst, words, 16);
}

/* Below, what is gained by vectors would not pay for their choice. */
#define UVWS__MASK_LARGE 512

/* RFC 6455, 5.3: writes `len` bytes of `src` XORed with the key, which begins
 * at its octet `phase` (0-3). `dst` is `src`, or does not overlap it. */
void uvws__mask(uint8_t* dst, const uint8_t* src, size_t len,
                const uint8_t key[4], unsigned phase);

/* The same for fewer bytes than UVWS__MASK_LARGE; `wide` is the key. */
static inline void uvws__mask_small(uint8_t* dst, const uint8_t* src,
                                    size_t len, uint64_t wide) {
  size_t i = 0;
  for (; i + 64 <= len; i += 64) {
    uvws__mask_words(dst + i, src + i, wide);
    uvws__mask_words(dst + i + 16, src + i + 16, wide);
    uvws__mask_words(dst + i + 32, src + i + 32, wide);
    uvws__mask_words(dst + i + 48, src + i + 48, wide);
  }
  for (; i + 16 <= len; i += 16) uvws__mask_words(dst + i, src + i, wide);
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

#endif /* UVWS_SRC_PROTOCOL_MASK_H_ */
