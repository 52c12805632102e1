#ifndef UVWS_SRC_PROTOCOL_UTF8_H_
#define UVWS_SRC_PROTOCOL_UTF8_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An incremental UTF-8 validator (RFC 3629): all zeros is its initial state. */
typedef struct uvws__utf8_s {
  uint8_t need; /* continuation bytes that the current character still wants */
  uint8_t low;  /* the range of the next one */
  uint8_t high;
} uvws__utf8_t;

/* False as soon as a byte cannot continue what came before. */
bool uvws__utf8_feed(uvws__utf8_t* utf8, const uint8_t* data, size_t len);

/* The same for bytes that are masked (RFC 6455, 5.3) with `key` from its octet
 * `phase` on, and that are unmasked where they lie. */
bool uvws__utf8_feed_masked(uvws__utf8_t* utf8, uint8_t* data, size_t len,
                            const uint8_t key[4], unsigned phase);

/* uvws__utf8_feed() without vectors. */
bool uvws__utf8_feed_bytes(uvws__utf8_t* utf8, const uint8_t* data, size_t len);

/* Whether what was fed ends at the end of a character. */
bool uvws__utf8_is_complete(const uvws__utf8_t* utf8);

/* Whether `len` bytes are valid UTF-8 as a whole. */
bool uvws__utf8_is_valid(const uint8_t* data, size_t len);

#endif /* UVWS_SRC_PROTOCOL_UTF8_H_ */
