#ifndef UVWS_BENCH_MESSAGES_H_
#define UVWS_BENCH_MESSAGES_H_

/* The messages of the benchmark of compression: JSON as programs send it, the
 * same bytes in every program and every run. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* How everybody who is compared compresses, but for the level. */
enum { MEMORY_LEVEL = 8, WINDOW_BITS = 15 };

/* What ends a compressed message and is left out: RFC 7692, 7.2.1. */
enum { TAIL = 4 };

typedef struct packed_s {
  uint8_t* bytes; /* TAIL more of them are there */
  size_t len;
} packed_t;

/* `n` different messages of `size` bytes each, one behind the other. There are
 * so many of them that none comes again while a window (32 KiB) has it. */
typedef struct messages_s {
  size_t size;
  unsigned n;
  uint8_t* bytes;
  packed_t* packed;
} messages_t;

/* With `keep` each compressed message refers to those before it, and the first
 * one to none. */
messages_t messages_make(size_t size, int level, bool keep);

static inline const uint8_t* message_at(const messages_t* messages,
                                        unsigned i) {
  return messages->bytes + (size_t)i * messages->size;
}

/* The message that stream `s` of `streams` has in its turn `turn`: what streams
 * do at the same time is never the same. */
static inline unsigned message_of(const messages_t* messages, unsigned streams,
                                  unsigned s, unsigned turn) {
  return (turn + s * (messages->n / streams)) % messages->n;
}

#endif /* UVWS_BENCH_MESSAGES_H_ */
