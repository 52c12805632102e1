#ifndef UVWS_SRC_PROTOCOL_KERNELS_H_
#define UVWS_SRC_PROTOCOL_KERNELS_H_

/* The loops over payload bytes, in the fastest form that the processor has:
 * chosen at run time, once. mask.h and utf8.h are what to call. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a kernel works on at a time. A vector that lies in two of the cache's
 * lines is two accesses, so the caller lets the blocks begin where lines do. */
#define UVWS__BLOCK 64

/* `key` is the mask of the first eight bytes, in memory's order. For `mask` the
 * length is a multiple of UVWS__BLOCK; what it is more for the others comes
 * before the first block. */
typedef struct uvws__kernels_s {
  const char* name;
  /* Writes `src` XORed with the key; `dst` is `src`, or does not overlap it. */
  void (*mask)(uint8_t* dst, const uint8_t* src, size_t len, uint64_t key);
  /* Whether the bytes are UTF-8, but for a character at their end that goes on
   * behind it. They begin with a character. */
  bool (*validate)(const uint8_t* data, size_t len);
  /* Both in one pass, in place. */
  bool (*unmask_text)(uint8_t* data, size_t len, uint64_t key);
} uvws__kernels_t;

/* Those to be used. */
const uvws__kernels_t* uvws__kernels(void);

/* For tests and benchmarks: the i-th that this processor has, the best one
 * first and the portable one last; then NULL. And the choice of one: NULL is
 * the best. */
const uvws__kernels_t* uvws__kernels_at(unsigned i);
void uvws__kernels_use(const uvws__kernels_t* kernels);

#endif /* UVWS_SRC_PROTOCOL_KERNELS_H_ */
