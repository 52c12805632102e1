#include "protocol/frame.h"

#include <string.h>

#include "alloc.h"

/* The parser holds no payload: it is a filter that finds the frames in a stream
 * of bytes cut anywhere. Whatever lies whole in the input is parsed there; only
 * a header that the input cuts is collected in `header`. The first byte, the
 * second and the length are each judged when they have come, so that a frame
 * which cannot be valid fails however little of it there is.
 *
 * Both roles share every line; they differ in one expectation, the direction of
 * masking. */

static const uint8_t RESERVED = 0x70;

static bool is_control(uint8_t opcode) {
  return opcode & 0x8;
}

void uvws__parser_init(uvws__parser_t* parser, uvws__role_t role) {
  memset(parser, 0, sizeof(*parser));
  parser->role = (uint8_t)role;
}

static inline uvws__failure_t check_first_byte(const uvws__parser_t* parser,
                                               uint8_t byte) {
  uint8_t opcode = byte & 0x0F;
  /* RFC 6455, 5.2: RSV bits must be 0 unless an extension defines them. RFC
   * 7692, 6: RSV1, in the first frame of a message. */
  uint8_t defined = parser->allows_rsv1 && !is_control(opcode) &&
                            opcode != UVWS__OP_CONTINUATION
                        ? UVWS__RSV1
                        : 0;
  if (byte & RESERVED & ~defined) return UVWS__FAIL_RESERVED_BITS;
  if (is_control(opcode)) {
    if (opcode > UVWS__OP_PONG) return UVWS__FAIL_RESERVED_OPCODE;
    /* RFC 6455, 5.5: control frames must not be fragmented, but may stand
     * between the fragments of a message. */
    return byte & UVWS__FIN ? UVWS__OK : UVWS__FAIL_CONTROL_FRAGMENTED;
  }
  if (opcode > UVWS__OP_BINARY) return UVWS__FAIL_RESERVED_OPCODE;
  /* RFC 6455, 5.4: fragments of one message are not interleaved with those of
   * another. */
  if (opcode == UVWS__OP_CONTINUATION && !parser->in_message)
    return UVWS__FAIL_CONTINUATION_UNEXPECTED;
  if (opcode != UVWS__OP_CONTINUATION && parser->in_message)
    return UVWS__FAIL_CONTINUATION_EXPECTED;
  return UVWS__OK;
}

static inline uvws__failure_t check_second_byte(const uvws__parser_t* parser,
                                                uint8_t first, uint8_t byte) {
  /* RFC 6455, 5.1: a client masks all frames, a server masks none. */
  bool masked = byte & UVWS__MASKED;
  if (masked != (parser->role == UVWS__SERVER))
    return masked ? UVWS__FAIL_MASK_UNEXPECTED : UVWS__FAIL_MASK_MISSING;
  /* RFC 6455, 5.5: at most 125 bytes in a control frame. */
  if (is_control(first) && (byte & 0x7F) > UVWS__CONTROL_MAX)
    return UVWS__FAIL_CONTROL_TOO_LONG;
  return UVWS__OK;
}

static unsigned length_bytes(uint8_t second) {
  uint8_t len = second & 0x7F;
  return len < 126 ? 0 : len == 126 ? 2 : 8;
}

static unsigned header_size(uint8_t second) {
  return 2 + length_bytes(second) + (second & UVWS__MASKED ? 4 : 0);
}

/* The payload length of a header whose length bytes are all there. */
static inline uvws__failure_t read_length(const uint8_t* header,
                                          uint64_t* length) {
  unsigned bytes = length_bytes(header[1]);
  uint64_t value = 0;
  *length = header[1] & 0x7F;
  if (bytes == 0) return UVWS__OK;
  for (unsigned i = 0; i < bytes; i++) value = value << 8 | header[2 + i];
  /* RFC 6455, 5.2: the most significant bit must be 0, and the shortest form
   * must be used. */
  if (value >> 63) return UVWS__FAIL_LENGTH_TOO_LARGE;
  if (value < (bytes == 2 ? 126 : UINT16_MAX + 1))
    return UVWS__FAIL_LENGTH_NOT_MINIMAL;
  *length = value;
  return UVWS__OK;
}

static inline uvws__failure_t begin_frame(uvws__parser_t* parser,
                                          const uint8_t* header) {
  uvws__failure_t failure = read_length(header, &parser->remaining);
  if (failure != UVWS__OK) return failure;
  parser->opcode = header[0] & 0x0F;
  parser->fin = header[0] & UVWS__FIN;
  parser->rsv1 = header[0] & UVWS__RSV1;
  parser->phase = 0;
  parser->in_payload = true;
  parser->have = 0;
  if (header[1] & UVWS__MASKED)
    memcpy(parser->mask, header + 2 + length_bytes(header[1]), 4);
  if (!is_control(parser->opcode)) parser->in_message = !parser->fin;
  return UVWS__OK;
}

/* Judges the header's byte at `have`, which was just added. */
static uvws__failure_t check_split_header(const uvws__parser_t* parser) {
  const uint8_t* header = parser->header;
  uint64_t ignored;
  if (parser->have == 1) return check_first_byte(parser, header[0]);
  if (parser->have == 2) return check_second_byte(parser, header[0], header[1]);
  if (parser->have == 2 + length_bytes(header[1]))
    return read_length(header, &ignored);
  return UVWS__OK;
}

/* A header that the input cuts: byte by byte. */
static UVWS__NOINLINE uvws__parsed_t
parse_split_header(uvws__parser_t* parser, uint8_t** at, size_t* left,
                   uvws__failure_t* failure) {
  while (*left > 0) {
    parser->header[parser->have++] = *(*at)++;
    --*left;
    *failure = check_split_header(parser);
    if (*failure != UVWS__OK) return UVWS__PARSED_FAILED;
    if (parser->have >= 2 && parser->have == header_size(parser->header[1])) {
      *failure = begin_frame(parser, parser->header);
      return *failure == UVWS__OK ? UVWS__PARSED_HEADER : UVWS__PARSED_FAILED;
    }
  }
  return UVWS__PARSED_MORE;
}

uvws__parsed_t uvws__parse_header(uvws__parser_t* parser, uint8_t** at,
                                  size_t* left, uvws__failure_t* failure) {
  const uint8_t* in = *at;
  if (parser->have > 0 || *left < 2)
    return parse_split_header(parser, at, left, failure);
  unsigned size = header_size(in[1]);
  if (*left < size) return parse_split_header(parser, at, left, failure);
  *failure = check_first_byte(parser, in[0]);
  if (*failure != UVWS__OK) return UVWS__PARSED_FAILED;
  *failure = check_second_byte(parser, in[0], in[1]);
  if (*failure != UVWS__OK) return UVWS__PARSED_FAILED;
  *failure = begin_frame(parser, in);
  if (*failure != UVWS__OK) return UVWS__PARSED_FAILED;
  *at += size;
  *left -= size;
  return UVWS__PARSED_HEADER;
}
