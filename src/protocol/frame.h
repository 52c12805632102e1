#ifndef UVWS_SRC_PROTOCOL_FRAME_H_
#define UVWS_SRC_PROTOCOL_FRAME_H_

/* The frame codec of RFC 6455, section 5: one header encoder, and one streaming
 * parser for both roles. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "protocol/failure.h"
#include "protocol/mask.h"

/* Our own role; the peer has the other one. */
typedef enum { UVWS__CLIENT, UVWS__SERVER } uvws__role_t;

/* RFC 6455, 11.8 */
enum {
  UVWS__OP_CONTINUATION = 0x0,
  UVWS__OP_TEXT = 0x1,
  UVWS__OP_BINARY = 0x2,
  UVWS__OP_CLOSE = 0x8,
  UVWS__OP_PING = 0x9,
  UVWS__OP_PONG = 0xA
};

#define UVWS__FRAME_HEADER_MAX 14
#define UVWS__CONTROL_MAX      125 /* RFC 6455, 5.5 */

/* The size that a frame header for `len` bytes of payload has. */
static inline size_t uvws__frame_header_size(uint64_t len, bool masked) {
  size_t size = len < 126 ? 2 : len <= UINT16_MAX ? 4 : 10;
  return masked ? size + 4 : size;
}

/* Bits of a frame's first byte: it is the last of its message; and, in the
 * first of one, the message is compressed (RFC 7692, 6). */
#define UVWS__FIN  0x80
#define UVWS__RSV1 0x40

/* The bit of its second byte. */
#define UVWS__MASKED 0x80

/* Writes such a header; `first_byte` is the opcode, with UVWS__FIN in the last
 * frame of a message; `mask` is NULL on the server role. Returns its size. */
static inline size_t uvws__frame_header_write(uint8_t* out, uint8_t first_byte,
                                              uint64_t len,
                                              const uint8_t mask[4]) {
  uint8_t* at = out;
  uint8_t masked = mask == NULL ? 0 : UVWS__MASKED;
  unsigned bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
  *at++ = first_byte;
  *at++ = masked | (uint8_t)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
  while (bytes-- > 0) *at++ = (uint8_t)(len >> (8 * bytes));
  if (mask != NULL) {
    memcpy(at, mask, 4);
    at += 4;
  }
  return (size_t)(at - out);
}

typedef struct uvws__parser_s {
  uint64_t remaining; /* payload of the current frame that is still to come */
  uint8_t mask[4];    /* of the current frame; zeros when it is not masked */
  uint8_t opcode;     /* of the current frame */
  bool fin;
  bool rsv1;
  bool allows_rsv1; /* permessage-deflate was negotiated */
  uint8_t role;
  bool in_payload; /* a header is complete, its payload is not */
  bool in_message; /* a data frame without FIN is waiting for continuations */
  uint8_t phase;   /* position in the mask */
  uint8_t have;    /* bytes of a header that was split */
  uint8_t header[UVWS__FRAME_HEADER_MAX];
} uvws__parser_t;

typedef enum {
  UVWS__PARSED_MORE,    /* all input was taken */
  UVWS__PARSED_HEADER,  /* opcode, fin and remaining are those of a new frame */
  UVWS__PARSED_PAYLOAD, /* bytes as they came, possibly none; the frame's last
                           ones when remaining is 0 */
  UVWS__PARSED_FAILED
} uvws__parsed_t;

void uvws__parser_init(uvws__parser_t* parser, uvws__role_t role);

/* Between two messages, and of the next one nothing has come. */
static inline bool uvws__parser_is_at_rest(const uvws__parser_t* parser) {
  return !parser->in_payload && !parser->in_message && parser->have == 0;
}

/* Of uvws__parse(): between frames. */
uvws__parsed_t uvws__parse_header(uvws__parser_t* parser, uint8_t** at,
                                  size_t* left, uvws__failure_t* failure);

/* Takes bytes from *at, *left, which move on, and reports the next event.
 * Payload stays where it lies: *payload points to it with *len bytes. It is to
 * be unmasked before the next call, if anybody wants to know it. */
static inline uvws__parsed_t uvws__parse(uvws__parser_t* parser, uint8_t** at,
                                         size_t* left, uint8_t** payload,
                                         size_t* len,
                                         uvws__failure_t* failure) {
  *payload = NULL;
  *len = 0;
  if (!parser->in_payload) return uvws__parse_header(parser, at, left, failure);
  if (*left == 0 && parser->remaining > 0) return UVWS__PARSED_MORE;
  size_t take = *left;
  if (take > parser->remaining) take = (size_t)parser->remaining;
  *payload = *at;
  *len = take;
  *at += take;
  *left -= take;
  parser->remaining -= take;
  parser->in_payload = parser->remaining > 0;
  return UVWS__PARSED_PAYLOAD;
}

/* Whether payload is masked: a client's is (RFC 6455, 5.1). */
static inline bool uvws__is_masked(const uvws__parser_t* parser) {
  return parser->role == UVWS__SERVER;
}

/* RFC 6455, 5.3: octet i is XORed with octet i mod 4 of the key. Whoever does
 * that himself for `len` bytes of payload, from the key's octet `phase` on,
 * moves the phase. */
static inline void uvws__move_phase(uvws__parser_t* parser, size_t len) {
  parser->phase = (uint8_t)((parser->phase + len) & 3);
}

static inline void uvws__unmask(uvws__parser_t* parser, uint8_t* payload,
                                size_t len) {
  if (!uvws__is_masked(parser)) return;
  uvws__mask(payload, payload, len, parser->mask, parser->phase);
  uvws__move_phase(parser, len);
}

#endif /* UVWS_SRC_PROTOCOL_FRAME_H_ */
