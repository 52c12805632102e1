/* The receiving side as data: bytes in, events out. Each case is run on both
 * roles; whole, byte by byte, in two at every point and in reads of several
 * sizes; from blocks of just that size, and through the receiver's tail where
 * it offers one. The allocator checks at every call how much is held. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/message.h"
#include "uvws.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the cases ---- */

/* `frames` are written without masks, as a server sends them; for our server
 * role they are masked, each frame with another key. Notation:
 *   81 05   bytes in hex             00*9   nine times the bytes before
 *   'Hello' bytes as text            #20    20 bytes of an endless pattern
 *   !       behind the byte that     #20@5  20 bytes of it from the sixth on
 *           makes it fail            ^      the receiver is told to discard
 *   |       the same, behind a whole header: for masked frames, behind the key
 *   <5      no message of more than 5 bytes (otherwise 1 MiB; "<" alone: any)
 *   &9      of no more than 9 fragments (otherwise 1 Mi)
 * In `events`, "a*9" are nine "a" and "#20" is the pattern. */
typedef struct case_s {
  const char* frames;
  const char* events;
} case_t;

static const case_t cases[] = {
    /* RFC 6455, 5.7 */
    {"8105 'Hello'", "text(Hello)"},
    {"0103 'Hel' 8002 'lo'", "text(Hello)"},
    {"8905 'Hello' 8a05 'Hello'", "ping(Hello) pong(Hello)"},
    {"827e0100 #256", "binary(#256)"},
    {"827f0000000000010000 #65536", "binary(#65536)"},

    /* RFC 6455, 5.2: payload lengths */
    {"8100", "text()"},
    {"8200", "binary()"},
    {"8201 'a'", "binary(a)"},
    {"827d #125", "binary(#125)"},
    {"827e007e #126", "binary(#126)"},
    {"817e007f #127", "text(#127)"},
    {"827effff #65535", "binary(#65535)"},
    {"817f0000000000010001 #65537", "text(#65537)"},
    {"827e0000! 8100", "fail(LENGTH_NOT_MINIMAL)"},
    {"827e007d! 8100", "fail(LENGTH_NOT_MINIMAL)"},
    {"827f0000000000000000! 8100", "fail(LENGTH_NOT_MINIMAL)"},
    {"827f000000000000007d!", "fail(LENGTH_NOT_MINIMAL)"},
    {"827f000000000000007e!", "fail(LENGTH_NOT_MINIMAL)"},
    {"827f000000000000ffff!", "fail(LENGTH_NOT_MINIMAL)"},
    {"< 827f8000000000000000! 00", "fail(LENGTH_TOO_LARGE)"},
    {"< 827fffffffffffffffff! 00", "fail(LENGTH_TOO_LARGE)"},
    {"< 827f7fffffffffffffff 'abc'", ""},
    {"", ""},
    {"81", ""},
    {"827e00", ""},
    {"827f00000000000100", ""},
    {"8105 'Hell'", ""},

    /* RFC 6455, 5.2: reserved bits and opcodes */
    {"c1! 00", "fail(RESERVED_BITS)"},
    {"a1! 00", "fail(RESERVED_BITS)"},
    {"91! 00", "fail(RESERVED_BITS)"},
    {"f2! 00", "fail(RESERVED_BITS)"},
    {"c9! 00", "fail(RESERVED_BITS)"},
    {"a8! 00", "fail(RESERVED_BITS)"},
    {"0200 d0! 00", "fail(RESERVED_BITS)"},
    {"8101 'a' 41! 00", "text(a) fail(RESERVED_BITS)"},
    {"83! 00", "fail(RESERVED_OPCODE)"},
    {"84! 00", "fail(RESERVED_OPCODE)"},
    {"85! 00", "fail(RESERVED_OPCODE)"},
    {"86! 00", "fail(RESERVED_OPCODE)"},
    {"87! 00", "fail(RESERVED_OPCODE)"},
    {"8b! 00", "fail(RESERVED_OPCODE)"},
    {"8c! 00", "fail(RESERVED_OPCODE)"},
    {"8d! 00", "fail(RESERVED_OPCODE)"},
    {"8e! 00", "fail(RESERVED_OPCODE)"},
    {"8f! 00", "fail(RESERVED_OPCODE)"},
    {"03! 00", "fail(RESERVED_OPCODE)"},
    {"0b! 00", "fail(RESERVED_OPCODE)"},
    {"0100 87! 00", "fail(RESERVED_OPCODE)"},

    /* RFC 6455, 5.4: fragments */
    {"0100 8000", "text()"},
    {"0200 0000*5 8000", "binary()"},
    {"0201 'a' 0000 0002 'bc' 8000", "binary(abc)"},
    {"0100 8001 'a'", "text(a)"},
    {"0101 'a' 8000", "text(a)"},
    {"0103 'abc' 8003 'def' 8203 'ghi'", "text(abcdef) binary(ghi)"},
    {"0101 'a' 8901 'x' 0001 'b' 8a01 'y' 8001 'c'",
     "ping(x) pong(y) text(abc)"},
    {"0200 8900 8900 8000", "ping() ping() binary()"},
    {"8101 'a' 0101 'b' 8001 'c' 8101 'd'", "text(a) text(bc) text(d)"},
    {"80! 00", "fail(CONTINUATION_UNEXPECTED)"},
    {"00! 00", "fail(CONTINUATION_UNEXPECTED)"},
    {"8101 'a' 80! 00", "text(a) fail(CONTINUATION_UNEXPECTED)"},
    {"0101 'a' 8001 'b' 00! 00", "text(ab) fail(CONTINUATION_UNEXPECTED)"},
    {"8900 80! 00", "ping() fail(CONTINUATION_UNEXPECTED)"},
    {"0101 'a' 81! 00", "fail(CONTINUATION_EXPECTED)"},
    {"0101 'a' 01! 00", "fail(CONTINUATION_EXPECTED)"},
    {"0200 82! 00", "fail(CONTINUATION_EXPECTED)"},
    {"0101 'a' 8900 0001 'b' 81! 00", "ping() fail(CONTINUATION_EXPECTED)"},

    /* RFC 6455, 5.5: control frames */
    {"8900 8a00", "ping() pong()"},
    {"897d #125 8a7d #125", "ping(#125) pong(#125)"},
    {"8903 'abc' 8902 'de' 8a01 'f' 8900", "ping(abc) ping(de) pong(f) ping()"},
    {"8902 c328 8a01 ff", "ping(\\c3() pong(\\ff)"},
    {"09! 00", "fail(CONTROL_FRAGMENTED)"},
    {"0a! 00", "fail(CONTROL_FRAGMENTED)"},
    {"08! 00", "fail(CONTROL_FRAGMENTED)"},
    {"897e! 007e #126", "fail(CONTROL_TOO_LONG)"},
    {"8a7f! 0000000000010000", "fail(CONTROL_TOO_LONG)"},
    {"887e! 0002 03e8", "fail(CONTROL_TOO_LONG)"},
    {"0101 'a' 897e! 007e", "fail(CONTROL_TOO_LONG)"},

    /* RFC 6455, 5.5.1 and 7.4: close frames */
    {"8800", "close(1005)"},
    {"8801 03! 8100", "fail(CLOSE_LENGTH)"},
    {"8802 03e8", "close(1000)"},
    {"8802 03eb", "close(1003)"},
    {"8802 03ef", "close(1007)"},
    {"8802 03f6", "close(1014)"},
    {"8802 0bb8", "close(3000)"},
    {"8802 1387", "close(4999)"},
    {"8802 0000!", "fail(CLOSE_CODE)"},
    {"8802 03e7!", "fail(CLOSE_CODE)"},
    {"8802 03ec!", "fail(CLOSE_CODE)"},
    {"8802 03ed!", "fail(CLOSE_CODE)"},
    {"8802 03ee!", "fail(CLOSE_CODE)"},
    {"8802 03f7!", "fail(CLOSE_CODE)"},
    {"8802 0bb7!", "fail(CLOSE_CODE)"},
    {"8802 1388!", "fail(CLOSE_CODE)"},
    {"8802 ffff!", "fail(CLOSE_CODE)"},
    {"8805 03e8 'bye'", "close(1000,bye)"},
    {"887d 03e9 #123", "close(1001,#123)"},
    {"8806 03e8 f09f9880", "close(1000,\\f0\\9f\\98\\80)"},
    {"8804 03e8 c328!", "fail(CLOSE_UTF8)"},
    {"8803 03e8 e2!", "fail(CLOSE_UTF8)"},
    {"8805 03e8 eda080!", "fail(CLOSE_UTF8)"},
    {"8804 03ed c328!", "fail(CLOSE_CODE)"},
    {"8101 'a' 8802 03e8", "text(a) close(1000)"},
    {"0101 'a' 8804 03e8 'go'", "close(1000,go)"},

    /* RFC 6455, 8.1: text is UTF-8, and fails at the first byte that is not */
    {"8104 24c2a224", "text($\\c2\\a2$)"},
    {"8107 e282ac f0908d88", "text(\\e2\\82\\ac\\f0\\90\\8d\\88)"},
    {"8104 f48fbfbf", "text(\\f4\\8f\\bf\\bf)"},
    {"8106 ed9fbf ee8080", "text(\\ed\\9f\\bf\\ee\\80\\80)"},
    {"8103 007f0a", "text(\\00\\7f\\0a)"},
    {"8105 'a' c3 'b'! 'cd'", "fail(TEXT_UTF8)"},
    {"8103 80! 'ab'", "fail(TEXT_UTF8)"},
    {"8103 c0! 8041", "fail(TEXT_UTF8)"},
    {"8103 c1! bf41", "fail(TEXT_UTF8)"},
    {"8104 e09f! bf41", "fail(TEXT_UTF8)"},
    {"8104 eda0! 8041", "fail(TEXT_UTF8)"},
    {"8104 edbf! bf41", "fail(TEXT_UTF8)"},
    {"8105 f08f! bfbf41", "fail(TEXT_UTF8)"},
    {"8105 f490! 808041", "fail(TEXT_UTF8)"},
    {"8105 f5! 80808041", "fail(TEXT_UTF8)"},
    {"8102 ff! 41", "fail(TEXT_UTF8)"},
    {"8105 e282ac 82! 41", "fail(TEXT_UTF8)"},
    {"810b '01234567' fe! 'ab'", "fail(TEXT_UTF8)"},
    {"8114 '0123456701234567' c3 '0'! 'ab'", "fail(TEXT_UTF8)"},
    {"8101 c3!", "fail(TEXT_UTF8)"},
    {"8102 e282!", "fail(TEXT_UTF8)"},
    {"8103 f09f98! 8100", "fail(TEXT_UTF8)"},
    {"0101 c3 8001 a9", "text(\\c3\\a9)"},
    {"0101 f0 0001 9f 8900 0000 0001 98 8001 80",
     "ping() text(\\f0\\9f\\98\\80)"},
    {"0101 c3 8000|", "fail(TEXT_UTF8)"},
    {"0101 c3 8001 28!", "fail(TEXT_UTF8)"},
    {"0102 61e2 8002 28! ac", "fail(TEXT_UTF8)"},
    {"0101 ff! 8000", "fail(TEXT_UTF8)"},
    {"0103 'abc' 0001 80! 8000", "fail(TEXT_UTF8)"},
    {"8202 c328 8102 c3a9", "binary(\\c3() text(\\c3\\a9)"},
    {"0201 c3 8001 28 8101 'a'", "binary(\\c3() text(a)"},
    {"0101 'a' 8001 'b' 8201 ff", "text(ab) binary(\\ff)"},

    /* What was valid before a failure is reported before it. */
    {"8101 'a' 0201 'b' 8901 'c' 8001 'd' 8802 03e8 83! 00",
     "text(a) ping(c) binary(bd) close(1000) fail(RESERVED_OPCODE)"},
    {"8101 'a' 8101 80!", "text(a) fail(TEXT_UTF8)"},

    /* RFC 6455, 10.4: limits, by what a header declares */
    {"<5 8105 'Hello' 8205 'Hello'", "text(Hello) binary(Hello)"},
    {"<5 8106| 'Hello!'", "fail(MESSAGE_TOO_BIG)"},
    {"<125 827e007e|", "fail(MESSAGE_TOO_BIG)"},
    {"<65535 827f0000000000010000|", "fail(MESSAGE_TOO_BIG)"},
    {"<5 827f7fffffffffffffff|", "fail(MESSAGE_TOO_BIG)"},
    {"827f0000000000100001|", "fail(MESSAGE_TOO_BIG)"},
    {"<5 0103 'Hel' 8002 'lo'", "text(Hello)"},
    {"<5 0103 'Hel' 8003| 'lo!'", "fail(MESSAGE_TOO_BIG)"},
    {"<5 0105 'Hello' 897d #125 0000 8000", "ping(#125) text(Hello)"},
    {"<5 0105 'Hello' 0001|", "fail(MESSAGE_TOO_BIG)"},
    {"<5 0203 'abc' 007f7fffffffffffffff|", "fail(MESSAGE_TOO_BIG)"},
    {"< 0203 'abc' 007f7fffffffffffffff 'd'", ""},
    {"< 0203 'abc' 007ffffffffffffffffd!", "fail(LENGTH_TOO_LARGE)"},
    {"<5 0104 'abcd' 8001 'e' 0104 'abcd' 8001 'e'", "text(abcde) text(abcde)"},
    {"<1 &2 0100 8000", "text()"},
    {"<1 &2 0100 8000 0100 8000 8100", "text() text() text()"},
    {"<1 &2 0100 8900 0000 8900 8000|",
     "ping() ping() fail(TOO_MANY_FRAGMENTS)"},
    {"<9 &1 0101 'a' 8001|", "fail(TOO_MANY_FRAGMENTS)"},
    {"<1 &65535 0200 0000*65534 8000|", "fail(TOO_MANY_FRAGMENTS)"},
    {"&65536 0201 'a' 000162*65534 8001 'c'", "binary(ab*65534c)"},

    /* Discarding: frames are still checked, messages are not. */
    {"<3 ^ 8105 'Hello' 8901 'x' 8802 03e8", "ping(x) close(1000)"},
    {"^ 8101 ff 8a00", "pong()"},
    {"8101 'a' ^ 8101 'b' 8800", "text(a) close(1005)"},
    {"0103 'abc' ^ 8003 'def' 8900", "ping()"},
    {"8105 'He' ^ 'llo' 8900", "ping()"},
    {"0102 61c3 8902 'x' ^ 'y' 8002 '((' 8900", "ping(xy) ping()"},
    {"<1 &2 ^ 0100 0000*9 8000 8900", "ping()"},
    {"^ 827f7fffffffffffffff 'abc'", ""},
    {"^ 83! 00", "fail(RESERVED_OPCODE)"},
    {"^ 0100 81! 00", "fail(CONTINUATION_EXPECTED)"},
    {"^ 80! 00", "fail(CONTINUATION_UNEXPECTED)"},
    {"^ 8802 03ed!", "fail(CLOSE_CODE)"},
    {"827f0000000000019000 #70000 ^ #32400 8900", "ping()"},

    /* Messages in several reads, with what follows them right behind. */
    {"827f0000000000019000 #102400 8101 'a' 8900",
     "binary(#102400) text(a) ping()"},
    {"817f0000000000049400 #300032 8203 'abc'", "text(#300032) binary(abc)"},
    {"827e4e20 #20000 827e4e20 #20000 827e4e20 #20000",
     "binary(#20000) binary(#20000) binary(#20000)"},
    {"027e4e20 #20000 007e4e20 #20000@20000 8901 'x' 807e4e20 #20000@40000 "
     "8900",
     "ping(x) binary(#60000) ping()"},
    {"0203 #3 007f0000000000014000 #81920@3 8000 8900",
     "binary(#81923) ping()"},
    {"017e8000 c3a9*16384 8001 'a'", "text(\\c3\\a9*16384a)"},
    {"017e8001 c3a9*16384 c3 807e8001 a9 'a'*32768",
     "text(\\c3\\a9*16385a*32768)"},
    {"817e8000 #30000 ff! #2767", "fail(TEXT_UTF8)"},
    {"817e8000 #32767 c3!", "fail(TEXT_UTF8)"},
    {"8101 'a' 827e8000 #32768 83! 00",
     "text(a) binary(#32768) fail(RESERVED_OPCODE)"},

    /* Memory is paid for with traffic, whatever a header declares. */
    {"< 827f0000000040000000 'abcdefghij'", ""},
    {"< 027f0000000040000000 #100000", ""},
    {"< 0201 'a' 007f0000000040000000 'abcdefghij'", ""},
};

static const char* failure_name(uvws__failure_t failure) {
  static const char* const names[] = {
    "OK",
#define X(name, status, code, http, text) #name,
    UVWS__FAILURE_MAP(X)
#undef X
  };
  return names[failure];
}

/* ---- from the notation to bytes ---- */

#define NOWHERE SIZE_MAX

typedef struct bytes_s {
  uint8_t* data;
  size_t len;
  size_t capacity;
  size_t fails_at;   /* it fails when so many have come */
  size_t discard_at; /* and discards when so many have */
  bool after_key;    /* of fails_at */
  uvws__limits_t limits;
} bytes_t;

static void put(bytes_t* bytes, uint8_t byte) {
  if (bytes->len == bytes->capacity) {
    bytes->capacity = 2 * bytes->capacity + 64;
    bytes->data = realloc(bytes->data, bytes->capacity);
    assert_non_null(bytes->data);
  }
  bytes->data[bytes->len++] = byte;
}

static uint8_t pattern(size_t i) {
  return (uint8_t)('a' + i % 23);
}

static unsigned hex_digit(char c) {
  assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Whatever is not a mark: returns what is behind it. `item` is where the last
 * bytes that may be repeated begin. */
static const char* put_item(bytes_t* bytes, const char* s, size_t* item) {
  char* end;
  if (*s == '*') {
    size_t size = bytes->len - *item;
    for (unsigned long n = strtoul(s + 1, &end, 10); n > 1; n--)
      for (size_t i = 0; i < size; i++) put(bytes, bytes->data[*item + i]);
    return end;
  }
  *item = bytes->len;
  if (*s == '#') {
    unsigned long n = strtoul(s + 1, &end, 10);
    unsigned long from = *end == '@' ? strtoul(end + 1, &end, 10) : 0;
    for (size_t i = 0; i < n; i++) put(bytes, pattern(from + i));
    return end;
  }
  if (*s == '\'') {
    while (*++s != '\'') put(bytes, (uint8_t)*s);
    return s + 1;
  }
  for (; *s != '\0' && strchr(" !|*", *s) == NULL; s += 2)
    put(bytes, (uint8_t)(hex_digit(s[0]) << 4 | hex_digit(s[1])));
  return s;
}

/* What stands for no bytes. */
static const char* read_mark(bytes_t* bytes, const char* s) {
  char* end = (char*)s + 1;
  switch (*s) {
    case '^': bytes->discard_at = bytes->len; break;
    case '|': bytes->after_key = true; /* fall through */
    case '!': bytes->fails_at = bytes->len; break;
    case '<':
      bytes->limits.max_message =
          *end == ' ' ? UINT64_MAX : strtoul(end, &end, 10);
      break;
    case '&': bytes->limits.max_fragments = (uint32_t)strtoul(end, &end, 10);
  }
  return end;
}

static bytes_t build(const char* s) {
  bytes_t bytes = {
      .fails_at = NOWHERE, .discard_at = NOWHERE, .limits = {1 << 20, 1 << 20}};
  size_t item = 0;
  while (*s != '\0')
    s = strchr(" ^!|<&", *s) != NULL ? read_mark(&bytes, s)
                                     : put_item(&bytes, s, &item);
  return bytes;
}

/* Puts one byte of `from`; a mark behind it moves along. */
static void copy(bytes_t* wire, const bytes_t* from, size_t i, uint8_t key) {
  put(wire, from->data[i] ^ key);
  if (from->fails_at == i + 1 && !from->after_key) wire->fails_at = wire->len;
  if (from->discard_at == i + 1) wire->discard_at = wire->len;
}

/* The same frames as a client sends them. */
static bytes_t mask_frames(const bytes_t* from) {
  bytes_t wire = {
      .fails_at = NOWHERE, .discard_at = NOWHERE, .limits = from->limits};
  uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
  size_t i = 0;
  if (from->discard_at == 0) wire.discard_at = 0;
  while (i < from->len) {
    uint64_t payload = i + 1 < from->len ? from->data[i + 1] : 0;
    size_t length_size = payload == 127 ? 8 : payload == 126 ? 2 : 0;
    size_t begin = i + 2 + length_size;
    if (length_size > 0) payload = 0;
    for (size_t k = 0; i < begin && i < from->len; k++, i++) {
      copy(&wire, from, i, k == 1 ? 0x80 : 0);
      if (k > 1) payload = payload << 8 | from->data[i];
    }
    if (i < begin) break;
    for (size_t k = 0; k < 4; k++) put(&wire, key[k]);
    if (from->fails_at == i && from->after_key) wire.fails_at = wire.len;
    for (size_t k = 0; k < payload && i < from->len; k++, i++)
      copy(&wire, from, i, key[k & 3]);
    for (size_t k = 0; k < 4; k++) key[k] = (uint8_t)(key[k] * 5 + 1);
  }
  return wire;
}

/* ---- memory ---- */

typedef union block_u {
  size_t size;
  max_align_t align;
} block_t;

static struct {
  size_t live;
  size_t received; /* bytes that the receiver was given so far */
  unsigned calls;
  unsigned fail_at; /* the call that fails; 0 for none */
} memory;

/* A message's buffer exceeds the bytes received by at most max(64 KiB, bytes
 * received); beside it there may be one control frame. */
static void assert_memory_is_bounded(void) {
  size_t most = memory.received > 65536 ? memory.received : 65536;
  assert_true(memory.live <= memory.received + most + UVWS__CONTROL_MAX);
}

/* Always moves, so that a pointer kept into the old block is seen. */
static void* counting_realloc(void* ptr, size_t size) {
  block_t* block = ptr == NULL ? NULL : (block_t*)ptr - 1;
  size_t old = block == NULL ? 0 : block->size;
  if (++memory.calls == memory.fail_at) return NULL;
  memory.live += size - old;
  assert_memory_is_bounded();
  block_t* moved = malloc(sizeof(*moved) + size);
  assert_non_null(moved);
  moved->size = size;
  if (block != NULL) memcpy(moved + 1, block + 1, old < size ? old : size);
  free(block);
  return moved + 1;
}

static void* counting_malloc(size_t size) {
  return counting_realloc(NULL, size);
}

static void* counting_calloc(size_t count, size_t size) {
  void* ptr = counting_realloc(NULL, count * size);
  return ptr == NULL ? NULL : memset(ptr, 0, count * size);
}

static void counting_free(void* ptr) {
  if (ptr == NULL) return;
  memory.live -= ((block_t*)ptr - 1)->size;
  free((block_t*)ptr - 1);
}

static int setup(void** state) {
  (void)state;
  memset(&memory, 0, sizeof(memory));
  return uvws_replace_allocator(counting_malloc, counting_realloc,
                                counting_calloc, counting_free);
}

/* ---- running them ---- */

typedef struct run_s {
  uvws__receiver_t receiver;
  bool direct; /* use the tail, take the buffers */
  bool failed;
  bool discard_in_event;
  size_t log_len;
  char log[1024];
} run_t;

static void say(run_t* run, const char* format, ...) {
  size_t room = sizeof(run->log) - run->log_len;
  va_list args;
  va_start(args, format);
  int n = vsnprintf(run->log + run->log_len, room, format, args);
  va_end(args);
  assert_true(n >= 0 && (size_t)n < room);
  run->log_len += (size_t)n;
}

static bool is_pattern(const uint8_t* data, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (data[i] != pattern(i)) return false;
  return len > 16;
}

/* How often the `size` bytes at the front stand there in a row. */
static size_t count_repeats(const uint8_t* data, size_t len, size_t size) {
  size_t n = 1;
  while ((n + 1) * size <= len && memcmp(data, data + n * size, size) == 0) n++;
  return n;
}

static void say_bytes(run_t* run, const uint8_t* data, size_t len) {
  if (is_pattern(data, len)) {
    say(run, "#%zu", len);
    return;
  }
  while (len > 0) {
    size_t size = data[0] >= 0xC0 && len > 1 ? 2 : 1;
    size_t n = count_repeats(data, len, size);
    if (n < 9) size = n = 1;
    for (size_t i = 0; i < size; i++)
      say(run, data[i] < ' ' || data[i] > '~' ? "\\%02x" : "%c", data[i]);
    if (n > 1) say(run, "*%zu", n);
    data += n * size;
    len -= n * size;
  }
}

/* "name(bytes)", or, for a close frame, "close(code,reason)". */
static void say_event(run_t* run, const char* name, unsigned code,
                      const uint8_t* data, size_t len) {
  say(run, "%s%s(", run->log_len > 0 ? " " : "", name);
  if (code > 0) say(run, len > 0 ? "%u," : "%u", code);
  say_bytes(run, data, len);
  say(run, ")");
}

static void say_message(run_t* run, const uvws__received_t* received) {
  const char* name = received->type == UVWS__OP_TEXT ? "text" : "binary";
  const uint8_t* data = received->data;
  uint8_t* taken = NULL;
  assert_true(received->type == UVWS__OP_TEXT ||
              received->type == UVWS__OP_BINARY);
  if (received->buffered) {
    assert_ptr_equal(data, run->receiver.buffer);
    if (run->direct) data = taken = uvws__receiver_take(&run->receiver);
  }
  say_event(run, name, 0, data, received->len);
  counting_free(taken);
}

static void receive(run_t* run, uint8_t* at, size_t left) {
  uvws__received_t got;
  memory.received += left;
  for (;;) {
    uvws__received_kind_t kind =
        uvws__receive(&run->receiver, &at, &left, &got);
    if (run->discard_in_event && kind == UVWS__RECEIVED_MESSAGE)
      uvws__receiver_discard(&run->receiver);
    switch (kind) {
      case UVWS__RECEIVED_NOTHING: assert_int_equal(left, 0); return;
      case UVWS__RECEIVED_MESSAGE: say_message(run, &got); break;
      case UVWS__RECEIVED_PING:
        say_event(run, "ping", 0, got.data, got.len);
        break;
      case UVWS__RECEIVED_PONG:
        say_event(run, "pong", 0, got.data, got.len);
        break;
      case UVWS__RECEIVED_CLOSE:
        say_event(run, "close", got.code, got.data, got.len);
        break;
      case UVWS__RECEIVED_FAILURE: {
        const char* name = failure_name(got.failure);
        say_event(run, "fail", 0, (const uint8_t*)name, strlen(name));
        run->failed = true;
        return;
      }
    }
  }
}

/* Gives the bytes as src/connection.c does: into the tail, where one is
 * offered, and what is beyond the wanted ones again from elsewhere. */
static void feed(run_t* run, const uint8_t* bytes, size_t len) {
  while (len > 0 && !run->failed) {
    uint8_t* at;
    size_t room, wanted, n = len;
    if (run->direct &&
        uvws__receiver_tail(&run->receiver, &at, &room, &wanted)) {
      assert_true(wanted > 0 && wanted <= room);
      if (n > room) n = room;
      memcpy(at, bytes, n);
      if (n > wanted) n = wanted;
      receive(run, at, n);
    } else {
      at = malloc(n);
      assert_non_null(at);
      memcpy(at, bytes, n);
      receive(run, at, n);
      free(at);
    }
    bytes += n;
    len -= n;
  }
}

static void begin(run_t* run, uvws__role_t role, const uvws__limits_t* limits,
                  bool direct) {
  memset(run, 0, sizeof(*run));
  run->direct = direct;
  memory.received = 0;
  uvws__receiver_init(&run->receiver, role, limits);
}

static void end(run_t* run) {
  uvws__receiver_clear(&run->receiver);
  assert_int_equal(memory.live, 0);
}

/* First `first` bytes, then pieces of `step`. Returns how many came until it
 * failed. */
static size_t feed_pieces(run_t* run, const bytes_t* wire, size_t first,
                          size_t step) {
  size_t at = 0;
  for (size_t n = first; at < wire->len && !run->failed; at += n, n = step) {
    if (at == wire->discard_at) uvws__receiver_discard(&run->receiver);
    if (n > wire->len - at) n = wire->len - at;
    if (at < wire->discard_at && n > wire->discard_at - at)
      n = wire->discard_at - at;
    feed(run, wire->data + at, n);
  }
  return at;
}

static void run_pieces(const case_t* one, uvws__role_t role,
                       const bytes_t* wire, size_t first, size_t step,
                       bool direct) {
  run_t run;
  begin(&run, role, &wire->limits, direct);
  size_t fed = feed_pieces(&run, wire, first, step);
  bool late = run.failed && step == 1 && fed != wire->fails_at;
  if (late || strcmp(run.log, one->events) != 0)
    fail_msg(
        "%s\n  on the %s's role, %zu bytes, then by %zu%s\n"
        "  gives %s at byte %zu\n  instead of %s at %zu",
        one->frames, role == UVWS__SERVER ? "server" : "client", first, step,
        direct ? ", direct" : "", run.log, fed, one->events, wire->fails_at);
  end(&run);
}

/* Every point of a short one; of a long one those of its first header, the last
 * one, and some between. */
static size_t next_split(size_t len, size_t at) {
  size_t stride = 1 + len / 500 * (len / 500);
  if (at < UVWS__FRAME_HEADER_MAX || at + 1 >= len) return at + 1;
  return at + stride >= len ? len - 1 : at + stride;
}

static void run_all_ways(const case_t* one, uvws__role_t role,
                         const bytes_t* wire) {
  static const size_t steps[] = {1, 3, 1000, 16384, 65536, SIZE_MAX};
  for (int direct = 0; direct < 2; direct++) {
    for (size_t i = 0; i < COUNT_OF(steps); i++)
      run_pieces(one, role, wire, steps[i], steps[i], direct);
    for (size_t at = 1; at < wire->len; at = next_split(wire->len, at))
      run_pieces(one, role, wire, at, SIZE_MAX, direct);
  }
}

static void test_both_roles(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    bytes_t bytes = build(cases[i].frames);
    bytes_t masked = mask_frames(&bytes);
    run_all_ways(&cases[i], UVWS__CLIENT, &bytes);
    run_all_ways(&cases[i], UVWS__SERVER, &masked);
    free(bytes.data);
    free(masked.data);
  }
}

/* RFC 6455, 5.1; the first is 5.7's masked example. */
static void test_direction_of_masking(void** state) {
  static const struct {
    uvws__role_t role;
    case_t one;
  } raw[] = {
      {UVWS__SERVER, {"8185 37fa213d 7f9f4d5158", "text(Hello)"}},
      {UVWS__SERVER, {"8180 00000000 8a80 ffffffff", "text() pong()"}},
      {UVWS__SERVER, {"8105! 'Hello'", "fail(MASK_MISSING)"}},
      {UVWS__SERVER, {"8900!", "fail(MASK_MISSING)"}},
      {UVWS__SERVER, {"827e! 0100", "fail(MASK_MISSING)"}},
      {UVWS__SERVER, {"0181 00000000 'a' 8001! 'b'", "fail(MASK_MISSING)"}},
      {UVWS__CLIENT, {"8185! 37fa213d 7f9f4d5158", "fail(MASK_UNEXPECTED)"}},
      {UVWS__CLIENT, {"8980! 00000000", "fail(MASK_UNEXPECTED)"}},
      {UVWS__CLIENT, {"0101 'a' 8081! 0000", "fail(MASK_UNEXPECTED)"}},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(raw); i++) {
    bytes_t bytes = build(raw[i].one.frames);
    run_all_ways(&raw[i].one, raw[i].role, &bytes);
    free(bytes.data);
  }
}

/* Each allocation fails once: what was reported before stays, no more comes
 * but the failure. Without its tail a receiver still works. */
static void test_every_allocation_fails(void** state) {
  static const case_t ones[] = {
      {"0103 'Hel' 8902 'hi' 8002 'lo'", "ping(hi) text(Hello)"},
      {"8101 'a' 827f0000000000019000 #102400 8101 'b'",
       "text(a) binary(#102400) text(b)"},
      {"017e4e20 #20000 8903 'abc' 807e4e20 #20000@20000 8802 03e8",
       "ping(abc) text(#40000) close(1000)"},
  };
  unsigned failures = 0, survivals = 0;
  (void)state;
  for (size_t i = 0; i < 2 * COUNT_OF(ones); i++) {
    const case_t* one = &ones[i / 2];
    bytes_t bytes = build(one->frames);
    bool injected = true;
    for (unsigned n = 1; injected; n++) {
      run_t run;
      memory.calls = 0;
      memory.fail_at = n;
      begin(&run, UVWS__CLIENT, &bytes.limits, i % 2 == 1);
      feed_pieces(&run, &bytes, 1, 1000);
      injected = memory.calls >= n;
      if (run.failed) {
        char* failure = strstr(run.log, "fail(NO_MEMORY)");
        assert_non_null(failure);
        assert_memory_equal(run.log, one->events, failure - run.log);
        failures++;
      } else {
        assert_string_equal(run.log, one->events);
        survivals += injected;
      }
      end(&run);
    }
    free(bytes.data);
  }
  memory.fail_at = 0;
  assert_true(failures > 0 && survivals > 0);
}

/* Frames that lie whole in the input are reported there. */
static void test_whole_frames_need_no_memory(void** state) {
  bytes_t bytes =
      build("8105 'Hello' 827f0000000000010000 #65536 8905 'Hello' 8802 03e8");
  run_t run;
  (void)state;
  memory.calls = 0;
  begin(&run, UVWS__CLIENT, &bytes.limits, true);
  feed_pieces(&run, &bytes, SIZE_MAX, SIZE_MAX);
  assert_string_equal(run.log,
                      "text(Hello) binary(#65536) ping(Hello) close(1000)");
  assert_int_equal(memory.calls, 0);
  end(&run);
  free(bytes.data);
}

/* After each event nothing is held: an idle connection costs no buffer. */
static void test_idle_receiver_holds_nothing(void** state) {
  bytes_t bytes = build("0103 'Hel' 8902 'hi' 8002 'lo' 8a02 'yo'");
  run_t run;
  (void)state;
  begin(&run, UVWS__CLIENT, &bytes.limits, false);
  feed_pieces(&run, &bytes, 1, 1);
  assert_string_equal(run.log, "ping(hi) text(Hello) pong(yo)");
  assert_int_equal(memory.live, 0);
  end(&run);
  free(bytes.data);
}

/* A message that is being looked at survives the order to discard, be it in
 * the input or in the receiver's buffer. */
static void test_discard_in_an_event(void** state) {
  bytes_t bytes = build("8105 'Hello' 8101 'b' 8900");
  (void)state;
  for (size_t first = 1; first <= bytes.len; first++) {
    run_t run;
    begin(&run, UVWS__CLIENT, &bytes.limits, false);
    run.discard_in_event = true;
    feed_pieces(&run, &bytes, first, SIZE_MAX);
    assert_string_equal(
        run.log, first < 7 ? "text(Hello) ping()" : "text(Hello) ping()");
    end(&run);
  }
  free(bytes.data);
}

/* Where the next bytes are wanted, and how many, after these. */
static void test_tail(void** state) {
  static const struct {
    const char* frames;
    size_t wanted; /* 0: no tail is offered */
    bool ahead;    /* there is room for more */
  } tails[] = {
      {"827e4000", 16384, true},
      {"0201 'a' 007e4000", 16384, true},
      {"< 827f0000000001000000", 65536, false},
      {"< 827f0000000001000000 #100", 65536, false},
      {"< 827f0000000001000000 #70000", 70000, false},
      {"", 0, false},
      {"827e40", 0, false},
      {"827e3fff", 0, false},
      {"827e5000 #4097", 0, false},
      {"827e4000 #16384", 0, false},
      {"0103 'abc'", 0, false},
      {"897d", 0, false},
      {"017e4000 #16384 897d #3", 0, false},
      {"^ 827e4000", 0, false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(tails); i++) {
    bytes_t bytes = build(tails[i].frames);
    uint8_t* at;
    size_t room = 0, wanted = 0;
    run_t run;
    begin(&run, UVWS__CLIENT, &bytes.limits, false);
    feed_pieces(&run, &bytes, SIZE_MAX, SIZE_MAX);
    assert_int_equal(uvws__receiver_tail(&run.receiver, &at, &room, &wanted),
                     tails[i].wanted > 0);
    assert_int_equal(wanted, tails[i].wanted);
    assert_int_equal(room > wanted, tails[i].ahead);
    if (room > 0) memset(at, 0, room);
    end(&run);
    free(bytes.data);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_roles),
      cmocka_unit_test(test_direction_of_masking),
      cmocka_unit_test(test_every_allocation_fails),
      cmocka_unit_test(test_whole_frames_need_no_memory),
      cmocka_unit_test(test_idle_receiver_holds_nothing),
      cmocka_unit_test(test_discard_in_an_event),
      cmocka_unit_test(test_tail),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
