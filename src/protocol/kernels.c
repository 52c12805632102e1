#include "protocol/kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "protocol/mask.h"
#include "protocol/utf8.h"

/* ---- portable ---- */

static void portable_mask(uint8_t* dst, const uint8_t* src, size_t len,
                          uint64_t key) {
  for (size_t i = 0; i < len; i += 8) {
    uint64_t word;
    memcpy(&word, src + i, 8);
    word ^= key;
    memcpy(dst + i, &word, 8);
  }
}

static bool portable_validate(const uint8_t* data, size_t len) {
  uvws__utf8_t utf8 = {0, 0, 0};
  return uvws__utf8_feed_bytes(&utf8, data, len);
}

/* In pieces that stay in the nearest cache between the two. */
static bool portable_unmask_text(uint8_t* data, size_t len, uint64_t key) {
  enum { PIECE = 64 * UVWS__BLOCK };
  uvws__utf8_t utf8 = {0, 0, 0};
  uint8_t octets[4];
  memcpy(octets, &key, 4);
  for (size_t i = 0, n; i < len; i += n) {
    n = len - i < PIECE ? len - i : PIECE;
    uvws__mask(data + i, data + i, n, octets, 0);
    if (!uvws__utf8_feed_bytes(&utf8, data + i, n)) return false;
  }
  return true;
}

static const uvws__kernels_t portable_kernels = {
    "portable", portable_mask, portable_validate, portable_unmask_text};

/* ---- vectors ---- */

#if defined(__GNUC__) && \
    (defined(__x86_64__) || (defined(__aarch64__) && defined(__ARM_NEON)))

enum { UNROLL = 4 }; /* vectors */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* What can be wrong with two bytes that follow each other. The last three are
 * what the first byte's lower half says nothing about. */
enum {
  TOO_SHORT = 1 << 0,      /* a lead, then no continuation */
  TOO_LONG = 1 << 1,       /* ASCII, then a continuation */
  OVERLONG_3 = 1 << 2,     /* E0, then 80-9F */
  TOO_LARGE = 1 << 3,      /* F4, then 90-BF; F5-FF, then 90-BF */
  SURROGATE = 1 << 4,      /* ED, then A0-BF */
  OVERLONG_2 = 1 << 5,     /* C0 or C1 */
  TOO_LARGE_1000 = 1 << 6, /* F5-FF, then 80-8F */
  OVERLONG_4 = 1 << 6,     /* F0, then 80-8F */
  TWO_CONTS = 1 << 7,
  ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTS
};

/* XORs fewer bytes than a block; returns the key of what follows. */
static uint64_t xor_odd(uint8_t* data, size_t len, uint64_t key) {
  uint8_t octets[8], next[8];
  memcpy(octets, &key, 8);
  for (size_t i = 0; i < len; i++) data[i] ^= octets[i & 3];
  for (size_t i = 0; i < 8; i++) next[i] = octets[(len + i) & 3];
  memcpy(&key, next, 8);
  return key;
}

/* clang-format off */
static const uint8_t first_high[16] = {
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TWO_CONTS, TWO_CONTS, TWO_CONTS, TWO_CONTS,
    /* C0 */ TOO_SHORT | OVERLONG_2,
    /* D0 */ TOO_SHORT,
    /* E0 */ TOO_SHORT | OVERLONG_3 | SURROGATE,
    /* F0 */ TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4};
static const uint8_t first_low[16] = {
    /* x0 */ ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4,
    /* x1 */ ANY_LOW | OVERLONG_2,
    /* x2 */ ANY_LOW,
    /* x3 */ ANY_LOW,
    /* x4 */ ANY_LOW | TOO_LARGE,
    /* x5 */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* x6 */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* x7 */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* x8 */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* x9 */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* xA */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* xB */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* xC */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* xD */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000 | SURROGATE,
    /* xE */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
    /* xF */ ANY_LOW | TOO_LARGE | TOO_LARGE_1000};
static const uint8_t second_high[16] = {
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    /* 80 */ TOO_LONG | TWO_CONTS | OVERLONG_2 | OVERLONG_3 | OVERLONG_4 |
             TOO_LARGE_1000,
    /* 90 */ TOO_LONG | TWO_CONTS | OVERLONG_2 | OVERLONG_3 | TOO_LARGE,
    /* A0 */ TOO_LONG | TWO_CONTS | OVERLONG_2 | SURROGATE | TOO_LARGE,
    /* B0 */ TOO_LONG | TWO_CONTS | OVERLONG_2 | SURROGATE | TOO_LARGE,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT};
/* clang-format on */

#endif

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>

#define NAME(x)              ssse3_##x
#define NAME_TEXT            "ssse3"
#define TARGET               __attribute__((target("ssse3")))
#define vec_t                __m128i
#define LOAD(p)              _mm_loadu_si128((const __m128i*)(p))
#define STORE(p, v)          _mm_storeu_si128((__m128i*)(p), v)
#define XOR(a, b)            _mm_xor_si128(a, b)
#define AND(a, b)            _mm_and_si128(a, b)
#define AND3(a, b, c)        AND(AND(a, b), c)
#define OR(a, b)             _mm_or_si128(a, b)
#define SPLAT(byte)          _mm_set1_epi8((char)(byte))
#define SPLAT8(bytes)        _mm_set1_epi64x((long long)(bytes))
#define HIGH_NIBBLES(v)      AND(_mm_srli_epi16(v, 4), SPLAT(0x0F))
#define LOW_NIBBLES(v)       AND(v, SPLAT(0x0F))
#define LOOKUP(table, v)     _mm_shuffle_epi8(table, v)
#define TABLE(bytes)         LOAD(bytes)
#define SATURATING_SUB(a, b) _mm_subs_epu8(a, b)
#define BEFORE(n, v, last)   _mm_alignr_epi8(v, last, 16 - (n))
#define IS_ASCII(v)          (_mm_movemask_epi8(v) == 0)
#define IS_ZERO(v)           (_mm_movemask_epi8(_mm_cmpeq_epi8(v, SPLAT(0))) == 0xFFFF)
#include "protocol/kernel-template.h"

#define NAME(x)          avx2_##x
#define NAME_TEXT        "avx2"
#define TARGET           __attribute__((target("avx2")))
#define vec_t            __m256i
#define LOAD(p)          _mm256_loadu_si256((const __m256i*)(p))
#define STORE(p, v)      _mm256_storeu_si256((__m256i*)(p), v)
#define XOR(a, b)        _mm256_xor_si256(a, b)
#define AND(a, b)        _mm256_and_si256(a, b)
#define AND3(a, b, c)    AND(AND(a, b), c)
#define OR(a, b)         _mm256_or_si256(a, b)
#define SPLAT(byte)      _mm256_set1_epi8((char)(byte))
#define SPLAT8(bytes)    _mm256_set1_epi64x((long long)(bytes))
#define HIGH_NIBBLES(v)  AND(_mm256_srli_epi16(v, 4), SPLAT(0x0F))
#define LOW_NIBBLES(v)   AND(v, SPLAT(0x0F))
#define LOOKUP(table, v) _mm256_shuffle_epi8(table, v)
#define TABLE(bytes) \
  _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)(bytes)))
#define SATURATING_SUB(a, b) _mm256_subs_epu8(a, b)
#define BEFORE(n, v, last) \
  _mm256_alignr_epi8(v, _mm256_permute2x128_si256(last, v, 0x21), 16 - (n))
#define IS_ASCII(v) (_mm256_movemask_epi8(v) == 0)
#define IS_ZERO(v)  _mm256_testz_si256(v, v)
#include "protocol/kernel-template.h"

/* A lookup looks at six bits, and the table is there four times: what else is
 * in the byte does not matter. */
#define NAME(x)          avx512_##x
#define NAME_TEXT        "avx512"
#define TARGET           __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define vec_t            __m512i
#define LOAD(p)          _mm512_loadu_si512(p)
#define STORE(p, v)      _mm512_storeu_si512(p, v)
#define XOR(a, b)        _mm512_xor_si512(a, b)
#define AND(a, b)        _mm512_and_si512(a, b)
#define AND3(a, b, c)    _mm512_ternarylogic_epi64(a, b, c, 0x80)
#define OR(a, b)         _mm512_or_si512(a, b)
#define SPLAT(byte)      _mm512_set1_epi8((char)(byte))
#define SPLAT8(bytes)    _mm512_set1_epi64((long long)(bytes))
#define HIGH_NIBBLES(v)  _mm512_srli_epi16(v, 4)
#define LOW_NIBBLES(v)   (v)
#define LOOKUP(table, v) _mm512_permutexvar_epi8(v, table)
#define TABLE(bytes) \
  _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)(bytes)))
#define SATURATING_SUB(a, b) _mm512_subs_epu8(a, b)
#define BEFORE(n, v, last) \
  _mm512_alignr_epi8(v, _mm512_alignr_epi64(v, last, 6), 16 - (n))
#define IS_ASCII(v) (_mm512_movepi8_mask(v) == 0)
#define IS_ZERO(v)  (_mm512_test_epi8_mask(v, v) == 0)
#include "protocol/kernel-template.h"

/* Processors with AVX-512 but without VBMI, of 2017 to 2019, lower their clock
 * for it. */
static bool has_avx512(void) {
  return __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vbmi");
}

static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2");
}

static bool has_ssse3(void) {
  return __builtin_cpu_supports("ssse3");
}
#endif

#if defined(__GNUC__) && defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

#define NAME(x)   neon_##x
#define NAME_TEXT "neon"
#define TARGET
#define vec_t                uint8x16_t
#define LOAD(p)              vld1q_u8(p)
#define STORE(p, v)          vst1q_u8(p, v)
#define XOR(a, b)            veorq_u8(a, b)
#define AND(a, b)            vandq_u8(a, b)
#define AND3(a, b, c)        AND(AND(a, b), c)
#define OR(a, b)             vorrq_u8(a, b)
#define SPLAT(byte)          vdupq_n_u8(byte)
#define SPLAT8(bytes)        vreinterpretq_u8_u64(vdupq_n_u64(bytes))
#define HIGH_NIBBLES(v)      vshrq_n_u8(v, 4)
#define LOW_NIBBLES(v)       AND(v, SPLAT(0x0F))
#define LOOKUP(table, v)     vqtbl1q_u8(table, v)
#define TABLE(bytes)         LOAD(bytes)
#define SATURATING_SUB(a, b) vqsubq_u8(a, b)
#define BEFORE(n, v, last)   vextq_u8(last, v, 16 - (n))
#define IS_ASCII(v)          (vmaxvq_u8(v) < 0x80)
#define IS_ZERO(v)           (vmaxvq_u8(v) == 0)
#include "protocol/kernel-template.h"
#endif

/* ---- the choice ---- */

static bool always(void) {
  return true;
}

static const struct {
  const uvws__kernels_t* kernels;
  bool (*is_there)(void);
} known[] = {
#if defined(__GNUC__) && defined(__x86_64__)
    {&avx512_kernels, has_avx512},
    {&avx2_kernels, has_avx2},
    {&ssse3_kernels, has_ssse3},
#elif defined(__GNUC__) && defined(__aarch64__) && defined(__ARM_NEON)
    {&neon_kernels, always},
#endif
    {&portable_kernels, always},
};

const uvws__kernels_t* uvws__kernels_at(unsigned i) {
  for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
    if (known[k].is_there() && i-- == 0) return known[k].kernels;
  return NULL;
}

/* Threads may choose at the same time, and choose the same. */
static _Atomic(const uvws__kernels_t*) chosen;

const uvws__kernels_t* uvws__kernels(void) {
  const uvws__kernels_t* kernels =
      atomic_load_explicit(&chosen, memory_order_relaxed);
  if (kernels != NULL) return kernels;
  kernels = uvws__kernels_at(0);
  uvws__kernels_use(kernels);
  return kernels;
}

void uvws__kernels_use(const uvws__kernels_t* kernels) {
  atomic_store_explicit(&chosen, kernels, memory_order_relaxed);
}
