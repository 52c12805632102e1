#include "messages.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const size_t POOL = 256 * 1024;

static uint32_t random_below(uint64_t* state, uint32_t n) {
  *state ^= *state << 13; /* xorshift64 */
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return (uint32_t)(*state >> 32) % n;
}

static const char* any_word(uint64_t* state) {
  static const char* const words[] = {
      "about", "after", "again", "build", "can",   "could", "does",  "first",
      "from",  "have",  "here",  "it",    "later", "look",  "maybe", "more",
      "need",  "no",    "not",   "of",    "on",    "patch", "quite", "see",
      "seems", "some",  "sure",  "test",  "that",  "the",   "then",  "there",
      "think", "this",  "time",  "to",    "today", "try",   "twice", "under",
      "until", "very",  "wait",  "was",   "we",    "what",  "when",  "where",
      "which", "while", "why",   "will",  "with",  "work",  "would", "write",
      "wrong", "yes",   "yet",   "you",   "your",  "queue", "fix",   "done"};
  return words[random_below(state, 64)];
}

static const char* any_name(uint64_t* state) {
  static const char* const names[] = {"mira", "jonas", "aiko", "pavel",
                                      "lena", "tariq", "zoe",  "ines"};
  return names[random_below(state, 8)];
}

__attribute__((format(printf, 3, 4))) static size_t add(char* out, size_t at,
                                                        const char* format,
                                                        ...) {
  va_list args;
  va_start(args, format);
  int n = vsprintf(out + at, format, args);
  va_end(args);
  return at + (size_t)n;
}

static size_t add_text(char* out, size_t at, uint64_t* state, uint32_t words) {
  for (uint32_t i = 0; i < words; i++)
    at = add(out, at, i == 0 ? "%s" : " %s", any_word(state));
  return at;
}

/* A line of a chat. */
static size_t make_record(char* out, uint64_t* state) {
  size_t at = add(out, 0, "{\"id\":%u,\"user\":{\"name\":\"%s\",\"id\":%u},",
                  100000 + random_below(state, 900000), any_name(state),
                  1000 + random_below(state, 9000));
  at = add(out, at, "\"at\":\"2026-%02u-%02uT%02u:%02u:%02u.%03uZ\",",
           1 + random_below(state, 12), 1 + random_below(state, 28),
           random_below(state, 24), random_below(state, 60),
           random_below(state, 60), random_below(state, 1000));
  at = add(out, at, "\"edited\":%s,\"likes\":%u,\"text\":\"",
           random_below(state, 2) ? "true" : "false", random_below(state, 100));
  at = add_text(out, at, state, 4 + random_below(state, 12));
  return add(out, at, "\"}");
}

/* As many records as there is room for, then one more text to fill it. */
static void make_message(uint8_t* to, size_t size, uint64_t* state) {
  static const char end[] = "\"}";
  char part[512];
  char* out = malloc(size + sizeof(part));
  if (out == NULL) abort();
  size_t last = size - (sizeof(end) - 1);
  size_t at =
      add(out, 0, "{\"seq\":%u,\"lines\":[", random_below(state, 1000000));
  for (unsigned n = 0;; n++) {
    size_t len = make_record(part, state);
    if (at + len + sizeof("],\"next\":\"") > last) break;
    at = add(out, at, n == 0 ? "%s" : ",%s", part);
  }
  at = add(out, at, "],\"next\":\"");
  while (at < last) at = add(out, at, "%s ", any_word(state));
  memcpy(out + last, end, sizeof(end) - 1);
  memcpy(to, out, size);
  free(out);
}

static void pack(messages_t* messages, int level, bool keep) {
  z_stream z = {.zalloc = Z_NULL};
  if (deflateInit2(&z, level, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL,
                   Z_DEFAULT_STRATEGY) != Z_OK)
    abort();
  for (unsigned i = 0; i < messages->n; i++) {
    packed_t* packed = &messages->packed[i];
    size_t room = deflateBound(&z, messages->size) + 16;
    packed->bytes = malloc(room);
    if (packed->bytes == NULL) abort();
    if (!keep) deflateReset(&z);
    z.next_in = messages->bytes + i * messages->size;
    z.avail_in = (uInt)messages->size;
    z.next_out = packed->bytes;
    z.avail_out = (uInt)room;
    deflate(&z, Z_SYNC_FLUSH);
    packed->len = room - z.avail_out - TAIL;
  }
  deflateEnd(&z);
}

messages_t messages_make(size_t size, int level, bool keep) {
  messages_t messages = {.size = size, .n = (unsigned)(POOL / size)};
  uint64_t state = 88172645463325252u;
  if (messages.n < 16) messages.n = 16;
  messages.bytes = malloc(messages.n * size);
  messages.packed = malloc(messages.n * sizeof(*messages.packed));
  if (messages.bytes == NULL || messages.packed == NULL) abort();
  for (unsigned i = 0; i < messages.n; i++)
    make_message(messages.bytes + i * size, size, &state);
  pack(&messages, level, keep);
  return messages;
}
