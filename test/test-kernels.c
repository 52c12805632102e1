/* Each form of the vector kernels that this processor has, against what needs
 * no vectors: masking byte by byte, and the validator that test-utf8.c has
 * compared with a decoder. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/kernels.h"
#include "protocol/mask.h"
#include "protocol/utf8.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
static const uvws__kernels_t* kernels;

static void with_each(void (*check)(void)) {
  unsigned n = 0;
  for (; (kernels = uvws__kernels_at(n)) != NULL; n++) {
    uvws__kernels_use(kernels);
    check();
  }
  uvws__kernels_use(NULL);
  assert_true(n >= 1);
}

/* ---- masks ---- */

static void mask_from(size_t len, unsigned phase, size_t offset) {
  /* Of just that size, so that a sanitizer sees what lies beyond. */
  uint8_t* src = malloc(offset + len);
  uint8_t* dst = malloc(2 * offset + len);
  assert_true(src != NULL && dst != NULL);
  for (size_t i = 0; i < len; i++) src[offset + i] = (uint8_t)(i * 11 + 5);
  uvws__mask(dst + 2 * offset, src + offset, len, key, phase);
  for (size_t i = 0; i < len; i++)
    if (dst[2 * offset + i] !=
        (uint8_t)((uint8_t)(i * 11 + 5) ^ key[(phase + i) % 4]))
      fail_msg("%s: byte %zu of %zu, phase %u, offset %zu", kernels->name, i,
               len, phase, offset);
  uvws__mask(src + offset, src + offset, len, key, phase);
  assert_memory_equal(src + offset, dst + 2 * offset, len);
  free(src);
  free(dst);
}

static void masks(void) {
  for (size_t len = 500; len < 720; len++)
    for (unsigned phase = 0; phase < 4; phase++)
      mask_from(len, phase, (len * 7 + phase) % 67 + 1);
  for (size_t offset = 1; offset < 66; offset++) mask_from(4096, 3, offset);
}

static void test_masks(void** state) {
  (void)state;
  with_each(masks);
}

/* ---- text ---- */

static bool is_same(const uvws__utf8_t* a, const uvws__utf8_t* b) {
  return a->need == b->need &&
         (a->need == 0 || (a->low == b->low && a->high == b->high));
}

/* In two pieces, plain and masked, and what is known after each. */
static void check_text(const uint8_t* text, size_t len, size_t split) {
  uvws__utf8_t wanted = {0, 0, 0}, plain = {0, 0, 0}, masked = {0, 0, 0};
  size_t offset = (len + split) % UVWS__BLOCK;
  uint8_t* block = malloc(offset + len);
  uint8_t* bytes = block + offset;
  assert_non_null(block);
  for (size_t i = 0; i < len; i++) bytes[i] = text[i] ^ key[(i + 1) % 4];
  for (size_t at = 0, n = split; at < len; at += n, n = len - split) {
    bool valid = uvws__utf8_feed_bytes(&wanted, text + at, n);
    if (uvws__utf8_feed(&plain, text + at, n) != valid ||
        uvws__utf8_feed_masked(&masked, bytes + at, n, key,
                               (unsigned)(at + 1)) != valid ||
        (valid && (!is_same(&plain, &wanted) || !is_same(&masked, &wanted)))) {
      for (size_t i = 0; i < len; i++) fprintf(stderr, "%02x", text[i]);
      fail_msg("%s: %zu bytes in two, %zu first", kernels->name, len, split);
    }
    if (!valid) break;
    assert_memory_equal(bytes + at, text + at, n);
    if (len == split) break;
  }
  free(block);
}

/* Around the end of a block, and of the vectors in it, whatever stands in them:
 * each start of a character with each way to go on, good and bad. */
static void check_at_edges(const char* filler) {
  static const uint8_t first[] = {0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xC2,
                                  0xDF, 0xE0, 0xE1, 0xED, 0xEE, 0xEF,
                                  0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
  static const uint8_t next[] = {0x00, 0x80, 0x8F, 0x90, 0x9F,
                                 0xA0, 0xBF, 0xC2, 0xE1};
  enum { LEN = 3 * UVWS__BLOCK + 9 };
  uint8_t text[LEN + 4];
  size_t size = strlen(filler);
  for (size_t i = 0; i < LEN; i++) text[i] = (uint8_t)filler[i % size];
  for (size_t edge = 16; edge <= 2 * UVWS__BLOCK; edge *= 2)
    for (size_t at = edge - 4; at <= edge; at++)
      for (size_t f = 0; f < sizeof(first); f++)
        for (size_t n = 0; n < 9 * 9 * 9; n++) {
          /* The filler goes on as it was behind them. */
          size_t start = at / size * size;
          uint8_t put[4] = {first[f], next[n / 81], next[n / 9 % 9],
                            next[n % 9]};
          uint8_t kept[4];
          memcpy(kept, text + start, 4);
          memcpy(text + start, put, 4);
          check_text(text, LEN, f + n % 5 * UVWS__BLOCK / 2);
          memcpy(text + start, kept, 4);
        }
}

static void edges(void) {
  check_at_edges("a");
  check_at_edges("\xE4\x95\x88"); /* as Korean has them */
  check_at_edges("\xF0\x9F\x98\x80");
}

static void test_text_at_edges(void** state) {
  (void)state;
  with_each(edges);
}

static uint32_t seed;

static uint32_t random_below(uint32_t n) {
  seed = seed * 1664525 + 1013904223;
  return (uint32_t)((uint64_t)seed * n >> 32);
}

/* Random text, most of it of one kind, and now and then one wrong byte. */
static void random_texts(void) {
  static const char* const pieces[] = {"a",
                                       "0123456789abcdefghijklmnopqrstuvwxyz",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEA\xB0\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
  enum { LONG = 1000, LONGEST = 20000 };
  uint8_t text[LONGEST + 40];
  seed = 1;
  for (int round = 0; round < 20000; round++) {
    size_t len = 0, most = 1 + random_below(round % 16 > 0 ? LONG : LONGEST);
    const char* usual = pieces[random_below(COUNT_OF(pieces))];
    while (len < most) {
      const char* piece =
          random_below(4) > 0 ? usual : pieces[random_below(COUNT_OF(pieces))];
      memcpy(text + len, piece, strlen(piece));
      len += strlen(piece);
    }
    if (random_below(2) > 0)
      text[random_below((uint32_t)len)] ^= (uint8_t)(1u << random_below(8));
    check_text(text, len, random_below((uint32_t)len + 1));
  }
}

static void test_random_texts(void** state) {
  (void)state;
  with_each(random_texts);
}

/* The best one is what is used. */
static void test_choice(void** state) {
  (void)state;
  assert_ptr_equal(uvws__kernels(), uvws__kernels_at(0));
  for (unsigned i = 0; uvws__kernels_at(i) != NULL; i++)
    print_message("%s\n", uvws__kernels_at(i)->name);
}

/* ---- text that is ASCII but for one place ---- */

/* A character, or a part of one, wherever the odd bytes at the front, a vector
 * or a step of several may end: what is ASCII on both sides of such an end is
 * passed over quickly. */
static void check_place(uint8_t* text, size_t len, size_t at,
                        const char* bytes) {
  size_t n = strlen(bytes);
  uvws__utf8_t wanted = {0, 0, 0}, plain = {0, 0, 0}, masked = {0, 0, 0};
  memset(text, 'a', len);
  memcpy(text + at, bytes, n);
  bool valid = uvws__utf8_feed_bytes(&wanted, text, len);
  if (uvws__utf8_feed(&plain, text, len) != valid)
    fail_msg("%s: %zu bytes at %zu of %zu", kernels->name, n, at, len);
  uvws__mask(text, text, len, key, 1);
  if (uvws__utf8_feed_masked(&masked, text, len, key, 1) != valid)
    fail_msg("%s: masked, %zu bytes at %zu of %zu", kernels->name, n, at, len);
}

static void places(void) {
  static const char* const parts[] = {
      "\xc3",         "\xc3\xa9",         "\xe2\x82", "\xe2\x82\xac",
      "\xf0\x9f\x98", "\xf0\x9f\x98\x80", "\x80"};
  static const size_t offsets[] = {0, 1, 13, 47, 63};
  enum { LEN = 4096 + 64 };
  for (size_t i = 0; i < COUNT_OF(offsets); i++) {
    uint8_t* block = aligned_alloc(64, LEN + 64);
    assert_non_null(block);
    for (size_t at = 0; at < 600; at++)
      for (size_t k = 0; k < COUNT_OF(parts); k++)
        check_place(block + offsets[i], LEN, at, parts[k]);
    free(block);
  }
}

static void test_text_at_one_place(void** state) {
  (void)state;
  with_each(places);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_masks),
      cmocka_unit_test(test_text_at_edges),
      cmocka_unit_test(test_text_at_one_place),
      cmocka_unit_test(test_random_texts),
      cmocka_unit_test(test_choice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
