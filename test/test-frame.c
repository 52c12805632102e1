/* Headers as they are written, and as they are parsed again. What the parser
 * refuses is in test-message.c. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocol/frame.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};

/* RFC 6455, 5.2: the header of a final binary frame, without a key. */
static const struct {
  uint64_t len;
  size_t size;
  uint8_t header[10];
} headers[] = {
    {0, 2, {0x82, 0}},
    {1, 2, {0x82, 1}},
    {125, 2, {0x82, 125}},
    {126, 4, {0x82, 126, 0, 126}},
    {127, 4, {0x82, 126, 0, 127}},
    {0x1234, 4, {0x82, 126, 0x12, 0x34}},
    {65535, 4, {0x82, 126, 0xFF, 0xFF}},
    {65536, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
    {UINT32_MAX, 10, {0x82, 127, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
    {UINT64_C(0x0123456789ABCDEF),
     10,
     {0x82, 127, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF}},
    {INT64_MAX, 10, {0x82, 127, 0x7F, 255, 255, 255, 255, 255, 255, 255}},
};

static void test_write(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(headers); i++) {
    uint64_t len = headers[i].len;
    size_t size = headers[i].size;
    uint8_t out[UVWS__FRAME_HEADER_MAX + 1];

    memset(out, 0xEE, sizeof(out));
    assert_int_equal(uvws__frame_header_size(len, false), size);
    assert_int_equal(
        uvws__frame_header_write(out, UVWS__FIN | UVWS__OP_BINARY, len, NULL),
        size);
    assert_memory_equal(out, headers[i].header, size);
    assert_int_equal(out[size], 0xEE);

    memset(out, 0xEE, sizeof(out));
    assert_int_equal(uvws__frame_header_size(len, true), size + 4);
    assert_int_equal(
        uvws__frame_header_write(out, UVWS__FIN | UVWS__OP_BINARY, len, key),
        size + 4);
    assert_int_equal(out[1], headers[i].header[1] | 0x80);
    assert_memory_equal(out + 2, headers[i].header + 2, size - 2);
    assert_memory_equal(out + size, key, 4);
    assert_int_equal(out[size + 4], 0xEE);
  }
}

static void test_opcodes(void** state) {
  static const uint8_t opcodes[] = {UVWS__OP_CONTINUATION, UVWS__OP_TEXT,
                                    UVWS__OP_BINARY,       UVWS__OP_CLOSE,
                                    UVWS__OP_PING,         UVWS__OP_PONG};
  static const uint8_t bytes[] = {0x80, 0x81, 0x82, 0x88, 0x89, 0x8A};
  uint8_t out[UVWS__FRAME_HEADER_MAX];
  (void)state;
  for (size_t i = 0; i < COUNT_OF(opcodes); i++) {
    uvws__frame_header_write(out, UVWS__FIN | opcodes[i], 0, NULL);
    assert_int_equal(out[0], bytes[i]);
  }
}

/* Pieces of `step` bytes, each in a block of its own, until the header is
 * there; returns how many bytes it had. */
static size_t parse_header(uvws__parser_t* parser, const uint8_t* bytes,
                           size_t len, size_t step) {
  size_t done = 0;
  for (;;) {
    size_t left = step < len - done ? step : len - done;
    size_t given = left;
    uint8_t* block = malloc(left);
    uint8_t* at = block;
    uint8_t* payload;
    size_t payload_len;
    uvws__failure_t failure;
    memcpy(block, bytes + done, left);
    uvws__parsed_t parsed =
        uvws__parse(parser, &at, &left, &payload, &payload_len, &failure);
    assert_int_equal(at - block, given - left);
    free(block);
    done += given - left;
    if (parsed == UVWS__PARSED_HEADER) return done;
    assert_int_equal(parsed, UVWS__PARSED_MORE);
    assert_int_equal(left, 0);
    assert_true(done < len);
  }
}

static void test_round_trip(void** state) {
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(headers); i++) {
    uint64_t len = headers[i / 2].len;
    uvws__role_t role = i % 2 == 0 ? UVWS__SERVER : UVWS__CLIENT;
    uint8_t bytes[UVWS__FRAME_HEADER_MAX + 3] = {0};
    size_t size =
        uvws__frame_header_write(bytes, UVWS__FIN | UVWS__OP_BINARY, len,
                                 role == UVWS__SERVER ? key : NULL);
    for (size_t step = 1; step <= size + 3; step++) {
      uvws__parser_t parser;
      uvws__parser_init(&parser, role);
      assert_int_equal(parse_header(&parser, bytes, size + 3, step), size);
      assert_int_equal(parser.opcode, UVWS__OP_BINARY);
      assert_true(parser.fin);
      assert_true(parser.remaining == len);
    }
  }
}

/* Payload is unmasked where it lies, and the key goes on where it stopped. */
static void test_payload(void** state) {
  static const uint8_t masked[] = {0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D,
                                   0x7F, 0x9F, 0x4D, 0x51, 0x58, 0x89,
                                   0x80, 0,    0,    0,    0};
  (void)state;
  for (size_t first = 6; first <= 11; first++) {
    uint8_t bytes[sizeof(masked)];
    uint8_t* at = bytes;
    uint8_t* payload;
    size_t left = first, len;
    uvws__failure_t failure;
    uvws__parser_t parser;
    memcpy(bytes, masked, sizeof(masked));
    uvws__parser_init(&parser, UVWS__SERVER);
    assert_int_equal(uvws__parse(&parser, &at, &left, &payload, &len, &failure),
                     UVWS__PARSED_HEADER);
    for (size_t seen = 0; seen < 5; seen += len) {
      if (left == 0) {
        if (seen < 5)
          assert_int_equal(
              uvws__parse(&parser, &at, &left, &payload, &len, &failure),
              UVWS__PARSED_MORE);
        left = sizeof(masked) - first;
      }
      assert_int_equal(
          uvws__parse(&parser, &at, &left, &payload, &len, &failure),
          UVWS__PARSED_PAYLOAD);
      uvws__unmask(&parser, payload, len);
      assert_ptr_equal(payload, bytes + 6 + seen);
      assert_int_equal(parser.remaining, 5 - seen - len);
    }
    assert_memory_equal(bytes + 6, "Hello", 5);

    /* A ping without payload: the event comes all the same. */
    if (left == 0) left = sizeof(masked) - first;
    assert_int_equal(uvws__parse(&parser, &at, &left, &payload, &len, &failure),
                     UVWS__PARSED_HEADER);
    assert_int_equal(parser.opcode, UVWS__OP_PING);
    assert_int_equal(left, 0);
    assert_int_equal(uvws__parse(&parser, &at, &left, &payload, &len, &failure),
                     UVWS__PARSED_PAYLOAD);
    assert_int_equal(len, 0);
    assert_int_equal(uvws__parse(&parser, &at, &left, &payload, &len, &failure),
                     UVWS__PARSED_MORE);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_write),
      cmocka_unit_test(test_opcodes),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_payload),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
