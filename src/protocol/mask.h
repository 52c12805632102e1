#ifndef UVWS_SRC_PROTOCOL_MASK_H_
#define UVWS_SRC_PROTOCOL_MASK_H_

#include <stddef.h>
#include <stdint.h>

/* RFC 6455, 5.3: writes `len` bytes of `src` XORed with the key, which begins
 * at its octet `phase` (0-3). `dst` is `src`, or does not overlap it. */
void uvws__mask(uint8_t* dst, const uint8_t* src, size_t len,
                const uint8_t key[4], unsigned phase);

/* The key's eight bytes from its octet `phase` on, as they lie in memory. */
uint64_t uvws__mask_key(const uint8_t key[4], unsigned phase);

#endif /* UVWS_SRC_PROTOCOL_MASK_H_ */
