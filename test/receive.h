#ifndef UVWS_TEST_RECEIVE_H_
#define UVWS_TEST_RECEIVE_H_

/* The receiving side on frames in the notation of message-cases.h, for
 * test-message.c and test-deflate.c: on both roles; whole, byte by byte, in two
 * at every point and in reads of several sizes; from blocks of just that size,
 * through the receiver's tail where it offers one, in chunks, and in chunks
 * behind each of which the input goes away. The allocator checks at every call
 * how much is held. */

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

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { READ_BUFFER = 64 * 1024 };

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
  size_t besides;  /* what else may be held */
  size_t peak;     /* the most that was */
  unsigned calls;
  unsigned fail_at; /* the call that fails; 0 for none */
} memory;

/* A message's buffer exceeds the bytes received by at most max(64 KiB, bytes
 * received); beside it there may be one control frame, and what was inflated or
 * inflates. */
static void assert_memory_is_bounded(void) {
  size_t most = memory.received > 65536 ? memory.received : 65536;
  if (memory.live > memory.peak) memory.peak = memory.live;
  assert_true(memory.live <=
              memory.received + most + UVWS__CONTROL_MAX + memory.besides);
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

/* How messages are received. */
typedef enum { BUFFERED, DIRECT, IN_CHUNKS, KEPT_CHUNKS } way_t;

typedef struct run_s {
  uvws__receiver_t receiver;
  bool direct; /* use the tail, take the buffers */
  bool keeps;  /* the input goes away behind each chunk */
  bool failed;
  bool discard_in_event;
  size_t log_len;
  char log[1024];
  uint8_t* chunks; /* of a message that comes in parts */
  size_t chunks_len, chunks_capacity;
  bool in_message;
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

/* How many bytes at the front are the pattern's. */
static size_t count_pattern(const uint8_t* data, size_t len) {
  size_t n = 0;
  while (n < len && data[n] == pattern(n)) n++;
  return n;
}

/* How often the `size` bytes at the front stand there in a row. */
static size_t count_repeats(const uint8_t* data, size_t len, size_t size) {
  size_t n = 1;
  while ((n + 1) * size <= len && memcmp(data, data + n * size, size) == 0) n++;
  return n;
}

static void say_bytes(run_t* run, const uint8_t* data, size_t len) {
  size_t front = count_pattern(data, len);
  if (front > 16) {
    say(run, "#%zu", front);
    data += front;
    len -= front;
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
  assert_int_equal(received->buffered, data == run->receiver.buffer);
  if (received->buffered && run->direct)
    data = taken = uvws__receiver_take(&run->receiver);
  say_event(run, name, 0, data, received->len);
  counting_free(taken);
}

/* Chunks are put together again, and the result must be the message. */
static void say_chunk(run_t* run, const uvws__received_t* received) {
  assert_int_equal(received->first, run->chunks_len == 0 && !run->in_message);
  assert_true(received->len > 0 || received->last);
  run->in_message = !received->last;
  if (run->chunks_len + received->len >= run->chunks_capacity) {
    run->chunks_capacity = 2 * (run->chunks_len + received->len) + 1;
    run->chunks = realloc(run->chunks, run->chunks_capacity);
    assert_non_null(run->chunks);
  }
  memcpy(run->chunks + run->chunks_len, received->data, received->len);
  run->chunks_len += received->len;
  if (!received->last) return;
  say_event(run, received->type == UVWS__OP_TEXT ? "text" : "binary", 0,
            run->chunks, run->chunks_len);
  run->chunks_len = 0;
}

/* As when reading is stopped: what is left of the input is moved. */
static void move_input(run_t* run, uint8_t** block, uint8_t** at, size_t left) {
  uint8_t* moved = malloc(left);
  assert_true(moved != NULL || left == 0);
  assert_true(uvws__receiver_keep(&run->receiver));
  if (left > 0) memcpy(moved, *at, left);
  uvws__receiver_settle(&run->receiver);
  free(*block);
  *block = *at = moved;
}

/* As src/inbound.c, which takes the short way first; but the long one must do
 * without it. */
static uvws__received_kind_t receive_next(run_t* run, bool* is_plain,
                                          uint8_t** at, size_t* left,
                                          uvws__received_t* got) {
  uvws__receiver_t* receiver = &run->receiver;
  if (*is_plain && !receiver->discarding) {
    uvws__received_kind_t kind = uvws__receive_whole(
        uvws__is_masked(&receiver->parser), receiver->limits, at, left, got);
    if (kind != UVWS__RECEIVED_NOTHING) return kind;
  }
  *is_plain = false;
  return uvws__receive(receiver, at, left, got);
}

/* `block`, when it is not NULL, is freed. */
static void receive(run_t* run, uint8_t* block, uint8_t* at, size_t left) {
  uvws__received_t got;
  bool is_plain = !run->direct && !run->receiver.in_chunks &&
                  uvws__parser_is_at_rest(&run->receiver.parser);
  memory.received += left;
  for (;;) {
    uvws__received_kind_t kind = receive_next(run, &is_plain, &at, &left, &got);
    if (run->discard_in_event &&
        (kind == UVWS__RECEIVED_MESSAGE || kind == UVWS__RECEIVED_CHUNK))
      uvws__receiver_discard(&run->receiver);
    assert_int_equal(got.failure != UVWS__OK, kind == UVWS__RECEIVED_FAILURE);
    switch (kind) {
      case UVWS__RECEIVED_NOTHING:
        assert_int_equal(left, 0);
        free(block);
        return;
      case UVWS__RECEIVED_CHUNK:
        say_chunk(run, &got);
        if (run->keeps) move_input(run, &block, &at, left);
        break;
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
        free(block);
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
      assert_true(room - wanted <=
                  READ_BUFFER); /* what is beyond moves there */
      if (n > room) n = room;
      memcpy(at, bytes, n);
      if (n > wanted) n = wanted;
      receive(run, NULL, at, n);
    } else {
      at = malloc(n);
      assert_non_null(at);
      memcpy(at, bytes, n);
      receive(run, at, at, n);
    }
    bytes += n;
    len -= n;
  }
}

/* Gives a receiver what it inflates with, and takes it back. */
static void (*let_inflate)(uvws__receiver_t* receiver);
static void (*end_inflating)(void);

static void begin(run_t* run, uvws__role_t role, const uvws__limits_t* limits,
                  way_t way) {
  memset(run, 0, sizeof(*run));
  run->direct = way == DIRECT;
  memory.received = 0;
  uvws__receiver_init(&run->receiver, role, limits);
  run->receiver.in_chunks = way >= IN_CHUNKS;
  run->keeps = way == KEPT_CHUNKS;
  if (let_inflate != NULL) let_inflate(&run->receiver);
}

static void end(run_t* run) {
  uvws__receiver_clear(&run->receiver);
  if (end_inflating != NULL) end_inflating();
  free(run->chunks);
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
                       way_t way) {
  static const char* const names[] = {"", ", direct", ", in chunks",
                                      ", in chunks that are kept"};
  run_t run;
  begin(&run, role, &wire->limits, way);
  size_t fed = feed_pieces(&run, wire, first, step);
  bool late = run.failed && step == 1 && fed != wire->fails_at;
  if (late || strcmp(run.log, one->events) != 0)
    fail_msg(
        "%s\n  on the %s's role, %zu bytes, then by %zu%s\n"
        "  gives %s at byte %zu\n  instead of %s at %zu",
        one->frames, role == UVWS__SERVER ? "server" : "client", first, step,
        names[way], run.log, fed, one->events, wire->fails_at);
  end(&run);
}

/* Every point of a short one; of a long one those of its first header, the last
 * one, and some between. */
static size_t next_split(size_t len, size_t at) {
  size_t stride = 1 + len / 400 * (len / 400);
  if (at < UVWS__FRAME_HEADER_MAX || at + 1 >= len) return at + 1;
  return at + stride >= len ? len - 1 : at + stride;
}

static void run_all_ways(const case_t* one, uvws__role_t role,
                         const bytes_t* wire) {
  static const size_t steps[] = {1, 1000, 16384, SIZE_MAX};
  for (way_t way = BUFFERED; way <= KEPT_CHUNKS; way++) {
    for (size_t i = 0; i < COUNT_OF(steps); i++)
      run_pieces(one, role, wire, steps[i], steps[i], way);
    /* A long one in chunks is cut everywhere by the steps. */
    if (way >= IN_CHUNKS && wire->len > READ_BUFFER) continue;
    for (size_t at = 1; at < wire->len; at = next_split(wire->len, at))
      run_pieces(one, role, wire, at, SIZE_MAX, way);
  }
}

#endif /* UVWS_TEST_RECEIVE_H_ */
