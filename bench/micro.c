/* What our functions cost one by one, beside memcpy() in the same run.
 *
 *   micro [--rounds N] [--only TEXT]
 *
 * Each round runs every row for some 20 ms of processor time, one after the
 * other; --only keeps to rows whose name has TEXT. The figures are medians over
 * the rounds: GB/s (bytes per nanosecond), or ns of one operation. The ratio is
 * that of the rates, bytes per time, within a round, to memcpy() of what lies
 * in L2. In parentheses the interval in which the median lies with a
 * probability of 95 % (from 6 rounds on; with fewer, all that was seen). */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "messages.h"
#include "protocol/deflate.h"
#include "protocol/handshake.h"
#include "protocol/mask.h"
#include "protocol/message.h"
#include "protocol/utf8.h"

#define KIB      1024
#define TEXT_LEN (64 * KIB)
#define FRAMES   256
#define ROOM     (TEXT_LEN + FRAMES * UVWS__FRAME_HEADER_MAX)

static const double SLICE = 0.02;

typedef struct row_s {
  const char* name;
  size_t bytes;                         /* of one operation; 0: no rate */
  void (*run)(const struct row_s* row); /* so many operations: */
  unsigned operations;
  bool in_ns;    /* the figure is the time of one operation */
  uint8_t* data; /* what `run` works on */
  uvws__role_t role;
} row_t;

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "micro: %s\n", what);
  exit(1);
}

/* The compiler must have written all there is to `p`, and forgets what it knew
 * of it. */
static void keep(const void* p) {
  __asm__ volatile("" : : "r"(p) : "memory");
}

/* ---- data ---- */

static uint8_t from[128 * KIB], to[128 * KIB + KIB];
static uint8_t korean[TEXT_LEN], ascii[TEXT_LEN], mix[TEXT_LEN];
/* Frames, one behind the other. */
static uint8_t masked_text[ROOM], masked_binary[ROOM], plain_text[ROOM],
    large_korean[ROOM], large_binary[ROOM];

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
/* Text stays text, however often it is unmasked where it lies. */
static const uint8_t zeros[4] = {0, 0, 0, 0};

static uint32_t any(uint32_t n) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13; /* xorshift64 */
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % n;
}

static size_t put_character(uint8_t* out, uint32_t c) {
  if (c < 0x80) {
    out[0] = (uint8_t)c;
    return 1;
  }
  size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (size_t i = size - 1; i > 0; i--, c >>= 6) out[i] = 0x80 | (c & 0x3F);
  out[0] = (uint8_t)(lead[size] | c);
  return size;
}

static uint32_t any_ascii(void) {
  return ' ' + any(95);
}

static uint32_t any_hangul(void) {
  return 0xAC00 + any(11172);
}

static uint32_t any_latin_or_emoji(void) {
  return any(2) ? 0xC0 + any(0x180) : 0x1F300 + any(0x300);
}

/* What is left at the end is too short for a character, but not for ASCII. */
static void fill(uint8_t* text, uint32_t (*character)(void)) {
  size_t at = 0;
  while (at + 4 <= TEXT_LEN) at += put_character(text + at, character());
  while (at < TEXT_LEN) text[at++] = ' ';
}

static void frame_all(uint8_t* out, unsigned n, uint8_t opcode,
                      const uint8_t* mask, const uint8_t* payload, size_t len) {
  for (; n > 0; n--) {
    out += uvws__frame_header_write(out, UVWS__FIN | opcode, len, mask);
    memcpy(out, payload, len);
    out += len;
  }
}

static void make_data(void) {
  fill(korean, any_hangul);
  fill(ascii, any_ascii);
  fill(mix, any_latin_or_emoji);
  memset(from, 'm', sizeof(from));
  memset(to, 'm', sizeof(to));
  frame_all(masked_text, FRAMES, UVWS__OP_TEXT, zeros, ascii, 64);
  frame_all(masked_binary, FRAMES, UVWS__OP_BINARY, key, ascii, 64);
  frame_all(plain_text, FRAMES, UVWS__OP_TEXT, NULL, ascii, 64);
  frame_all(large_korean, 1, UVWS__OP_TEXT, zeros, korean, TEXT_LEN);
  frame_all(large_binary, 1, UVWS__OP_BINARY, key, ascii, TEXT_LEN);
}

/* ---- what is measured ---- */

static void copy(const row_t* row) {
  memcpy(to, from, row->bytes);
  keep(to);
}

static void validate(const row_t* row) {
  for (unsigned i = 0; i < row->operations; i++)
    check(uvws__utf8_is_valid(row->data + i * row->bytes, row->bytes),
          "text that is none");
}

/* Payloads lie where frames have them: mostly not aligned. */
static void unmask(const row_t* row) {
  size_t header = uvws__frame_header_size(row->bytes, true);
  uint8_t* at = row->data;
  for (unsigned i = 0; i < row->operations; i++, at += row->bytes) {
    at += header;
    uvws__mask(at, at, row->bytes, key, 0);
  }
  keep(row->data);
}

/* As a client sends: from a buffer of the caller's into a frame. */
static void mask_into(const row_t* row) {
  size_t header = uvws__frame_header_size(row->bytes, true);
  uint8_t* at = to;
  for (unsigned i = 0; i < row->operations; i++, at += row->bytes) {
    at += header;
    uvws__mask(at, row->data + i * row->bytes, row->bytes, key, 0);
  }
  keep(to);
}

static void unmask_and_validate(const row_t* row) {
  for (unsigned i = 0; i < row->operations; i++) {
    uint8_t* at = row->data + i * row->bytes;
    uvws__mask(at, at, row->bytes, zeros, 0);
    check(uvws__utf8_is_valid(at, row->bytes), "text that is none");
  }
  keep(row->data);
}

static void unmask_and_validate_at_once(const row_t* row) {
  for (unsigned i = 0; i < row->operations; i++) {
    uvws__utf8_t utf8 = {0, 0, 0};
    check(uvws__utf8_feed_masked(&utf8, row->data + i * row->bytes, row->bytes,
                                 zeros, 0),
          "text that is none");
  }
  keep(row->data);
}

static size_t frames_size(const row_t* row) {
  size_t header =
      uvws__frame_header_size(row->bytes, row->role == UVWS__SERVER);
  return row->operations * (header + row->bytes);
}

static void parse(const row_t* row) {
  uvws__parser_t parser;
  uvws__parsed_t parsed;
  uvws__failure_t failure;
  uint8_t *at = row->data, *payload;
  size_t left = frames_size(row), len;
  unsigned n = 0;
  uvws__parser_init(&parser, row->role);
  do {
    parsed = uvws__parse(&parser, &at, &left, &payload, &len, &failure);
    n += parsed == UVWS__PARSED_PAYLOAD;
  } while (parsed == UVWS__PARSED_HEADER || parsed == UVWS__PARSED_PAYLOAD);
  check(n == row->operations, "frames that are none");
  keep(row->data);
}

static void receive(const row_t* row) {
  static const uvws__limits_t limits = {1024 * KIB, 65536};
  uvws__receiver_t receiver;
  uvws__received_t received;
  uint8_t* at = row->data;
  size_t left = frames_size(row);
  unsigned n = 0;
  uvws__receiver_init(&receiver, row->role, &limits);
  while (uvws__receive(&receiver, &at, &left, &received) ==
         UVWS__RECEIVED_MESSAGE)
    n++;
  check(n == row->operations, "messages that are none");
  uvws__receiver_clear(&receiver);
  keep(row->data);
}

static void receive_whole(const row_t* row) {
  static const uvws__limits_t limits = {1024 * KIB, 65536};
  uvws__received_t received;
  uint8_t* at = row->data;
  size_t left = frames_size(row);
  unsigned n = 0;
  while (uvws__receive_whole(row->role == UVWS__SERVER, &limits, &at, &left,
                             &received) == UVWS__RECEIVED_MESSAGE)
    n++;
  check(n == row->operations, "messages that are none");
  keep(row->data);
}

static void write_header(const row_t* row) {
  uint8_t header[UVWS__FRAME_HEADER_MAX];
  for (unsigned i = 0; i < row->operations; i++) {
    uvws__frame_header_write(header, UVWS__FIN | UVWS__OP_BINARY, 64, key);
    keep(header);
  }
}

/* As a browser asks. */
static const char request[] =
    "GET /chat?room=1 HTTP/1.1\r\n"
    "Host: chat.example.org:8443\r\n"
    "Connection: Upgrade\r\n"
    "Pragma: no-cache\r\n"
    "Cache-Control: no-cache\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, "
    "like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    "Upgrade: websocket\r\n"
    "Origin: https://chat.example.org:8443\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "\r\n";

/* As src/request.c does it. */
static void shake_hands(const row_t* row) {
  size_t used;
  uvws__failure_t failure;
  uvws__head_t* head = uvws__head_new(UVWS__HEAD_REQUEST, 16 * KIB, 64);
  check(uvws__head_feed(head, (const uint8_t*)request, row->bytes, &used,
                        &failure) == UVWS__HEAD_DONE &&
            uvws__handshake_check_request(head) == UVWS__OK &&
            uvws__handshake_same_origin(head, true),
        "a request that is none");
  uvws__text_t response = uvws__handshake_response(head, NULL, NULL, NULL, 0);
  check(response.data != NULL, "no response");
  uvws__free(response.data);
  uvws__head_free(head);
}

static void parse_head(const row_t* row) {
  size_t used;
  uvws__failure_t failure;
  uvws__head_t* head = uvws__head_new(UVWS__HEAD_REQUEST, 16 * KIB, 64);
  check(uvws__head_feed(head, (const uint8_t*)request, row->bytes, &used,
                        &failure) == UVWS__HEAD_DONE,
        "a head that is none");
  uvws__head_free(head);
}

static void accept_key(const row_t* row) {
  char accept[UVWS__ACCEPT_SIZE];
  (void)row;
  check(uvws__accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept), "no SHA-1");
  keep(accept);
}

/* ---- compression, of messages without a common context ---- */

static messages_t messages;
static uvws__deflater_t* deflater;
static uvws__inflater_t* inflater;

static void set_up_zlib(void) {
  uvws__deflate_how_t how = {
      .level = 6, .memory_level = MEMORY_LEVEL, .window_bits = WINDOW_BITS};
  messages = messages_make(KIB, how.level, false);
  deflater = uvws__deflater_new(&how);
  inflater = uvws__inflater_new(WINDOW_BITS);
  check(deflater != NULL && inflater != NULL, "no memory");
}

static void compress_all(const row_t* row) {
  for (unsigned i = 0; i < row->operations; i++) {
    uvws__bytes_t bytes = {to, 0, sizeof(to), .lent = true};
    check(uvws__deflater_add(deflater, message_at(&messages, i), KIB,
                             UVWS__DEFLATE_END, &bytes),
          "no memory");
    uvws__deflater_reset(deflater);
  }
}

static void inflate_all(const row_t* row) {
  for (unsigned i = 0; i < row->operations; i++) {
    const packed_t* packed = &messages.packed[i];
    size_t len = sizeof(to);
    uvws__inflater_feed(inflater, packed->bytes, packed->len, true);
    check(uvws__inflater_take(inflater, to, &len) == UVWS__INFLATED_END &&
              len == KIB,
          "a message that is none");
    uvws__inflater_reset(inflater);
  }
}

/* ---- the table ---- */

#define BYTES(name, bytes, run, operations, ...) \
  { name, bytes, run, operations, false, __VA_ARGS__ }
#define NS(name, bytes, run, operations, ...) \
  { name, bytes, run, operations, true, __VA_ARGS__ }

/* The first is what all others are compared with. A set is what both sides take
 * of the cache. */
static const row_t rows[] = {
    BYTES("memcpy, set of 256 KiB (L2)", 128 * KIB, copy, 1, NULL, 0),
    BYTES("memcpy, set of 16 KiB (L1)", 8 * KIB, copy, 1, NULL, 0),
    BYTES("validate 64 KiB Korean", TEXT_LEN, validate, 1, korean, 0),
    BYTES("validate 64 KiB ASCII", TEXT_LEN, validate, 1, ascii, 0),
    BYTES("validate 64 KiB Latin, emoji", TEXT_LEN, validate, 1, mix, 0),
    BYTES("validate 1 KiB ASCII", KIB, validate, 16, ascii, 0),
    BYTES("validate 64 B ASCII", 64, validate, FRAMES, ascii, 0),
    BYTES("unmask in place 64 B", 64, unmask, FRAMES, from, 0),
    BYTES("unmask in place 1 KiB", KIB, unmask, 16, from, 0),
    BYTES("unmask in place 16 KiB", 16 * KIB, unmask, 1, from, 0),
    BYTES("unmask in place 64 KiB", 64 * KIB, unmask, 1, from, 0),
    BYTES("mask into 64 B", 64, mask_into, FRAMES, from, 0),
    BYTES("mask into 1 KiB", KIB, mask_into, 16, from, 0),
    BYTES("mask into 16 KiB", 16 * KIB, mask_into, 1, from, 0),
    BYTES("mask into 64 KiB", 64 * KIB, mask_into, 1, from, 0),
    BYTES("unmask, validate 64 B ASCII", 64, unmask_and_validate, FRAMES, ascii,
          0),
    BYTES("unmask, validate 64 KiB ASCII", TEXT_LEN, unmask_and_validate, 1,
          ascii, 0),
    BYTES("unmask, validate 64 KiB Korean", TEXT_LEN, unmask_and_validate, 1,
          korean, 0),
    BYTES("unmask, validate 64 KiB Latin, emoji", TEXT_LEN, unmask_and_validate,
          1, mix, 0),
    BYTES("both in one pass 64 B ASCII", 64, unmask_and_validate_at_once,
          FRAMES, ascii, 0),
    BYTES("both in one pass 64 KiB ASCII", TEXT_LEN,
          unmask_and_validate_at_once, 1, ascii, 0),
    BYTES("both in one pass 64 KiB Korean", TEXT_LEN,
          unmask_and_validate_at_once, 1, korean, 0),
    BYTES("both in one pass 64 KiB Latin, emoji", TEXT_LEN,
          unmask_and_validate_at_once, 1, mix, 0),
    BYTES("receive 64 KiB Korean, server", TEXT_LEN, receive, 1, large_korean,
          UVWS__SERVER),
    BYTES("receive 64 KiB binary, server", TEXT_LEN, receive, 1, large_binary,
          UVWS__SERVER),
    NS("parse a frame of 64 B, server", 64, parse, FRAMES, masked_binary,
       UVWS__SERVER),
    NS("parse a frame of 64 B, client", 64, parse, FRAMES, plain_text,
       UVWS__CLIENT),
    NS("receive 64 B text, server", 64, receive, FRAMES, masked_text,
       UVWS__SERVER),
    NS("receive 64 B binary, server", 64, receive, FRAMES, masked_binary,
       UVWS__SERVER),
    NS("receive 64 B text, client", 64, receive, FRAMES, plain_text,
       UVWS__CLIENT),
    NS("the short way: text, server", 64, receive_whole, FRAMES, masked_text,
       UVWS__SERVER),
    NS("the short way: binary, server", 64, receive_whole, FRAMES,
       masked_binary, UVWS__SERVER),
    NS("the short way: text, client", 64, receive_whole, FRAMES, plain_text,
       UVWS__CLIENT),
    NS("write a masked frame's header", 0, write_header, FRAMES, NULL, 0),
    NS("parse a request's head", sizeof(request) - 1, parse_head, 1, NULL, 0),
    NS("accept key", 0, accept_key, 1, NULL, 0),
    NS("handshake as a server", sizeof(request) - 1, shake_hands, 1, NULL, 0),
    NS("deflate 1 KiB JSON", KIB, compress_all, 16, NULL, 0),
    NS("inflate 1 KiB JSON", KIB, inflate_all, 16, NULL, 0),
};
enum { ROWS = sizeof(rows) / sizeof(*rows), MOST_ROUNDS = 1000 };

/* ---- measuring ---- */

static unsigned rounds = 25;
static unsigned times[ROWS];         /* calls in a slice; 0: not asked for */
static double ns[ROWS][MOST_ROUNDS]; /* of one operation */

static double seconds_of(unsigned i, unsigned calls) {
  struct timespec start, end;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
  for (; calls > 0; calls--) rows[i].run(&rows[i]);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return (double)(end.tv_sec - start.tv_sec) +
         (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

static void calibrate(unsigned i) {
  double seconds;
  for (times[i] = 1; (seconds = seconds_of(i, times[i])) < SLICE / 10;)
    times[i] *= 2;
  times[i] = (unsigned)(times[i] * SLICE / seconds) + 1;
}

static int compare(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Prints the median and its interval, which is by order as that of measure.py.
 * Sorts the values. */
static void print_median(double* values, int digits, int width) {
  unsigned n = rounds, k = 0;
  double term = 1, tail;
  char interval[48];
  qsort(values, n, sizeof(*values), compare);
  for (unsigned i = 0; i < n; i++) term /= 2;
  /* The probability that at most k values are below the median. */
  for (tail = term; tail <= 0.025 && k < n / 2; tail += term) {
    term *= (double)(n - k) / (k + 1);
    k++;
  }
  unsigned low = k > 0 ? k - 1 : 0;
  snprintf(interval, sizeof(interval), "(%.*f-%.*f)", digits, values[low],
           digits, values[n - 1 - low]);
  printf("%11.*f %-*s", digits, (values[(n - 1) / 2] + values[n / 2]) / 2,
         width, interval);
}

static double rate(unsigned i, unsigned round) {
  return (double)rows[i].bytes / ns[i][round];
}

static void print_row(unsigned i) {
  double figures[MOST_ROUNDS], ratios[MOST_ROUNDS];
  for (unsigned r = 0; r < rounds; r++) {
    figures[r] = rows[i].in_ns ? ns[i][r] : rate(i, r);
    ratios[r] = rate(i, r) / rate(0, r);
  }
  printf("%-38s%s", rows[i].name, rows[i].in_ns ? "ns  " : "GB/s");
  print_median(figures, rows[i].in_ns ? 1 : 2, rows[i].bytes > 0 ? 19 : 0);
  if (rows[i].bytes > 0) print_median(ratios, 3, 0);
  printf("\n");
}

static void usage(void) {
  fprintf(stderr, "usage: micro [--rounds N] [--only TEXT]\n");
  exit(2);
}

int main(int argc, char** argv) {
  const char* only = "";
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) usage();
    if (strcmp(argv[i], "--rounds") == 0)
      rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
    else if (strcmp(argv[i], "--only") == 0)
      only = argv[i + 1];
    else
      usage();
  }
  if (rounds < 1 || rounds > MOST_ROUNDS) usage();
  make_data();
  set_up_zlib();
  for (unsigned i = 0; i < ROWS; i++)
    if (i == 0 || strstr(rows[i].name, only) != NULL) calibrate(i);
  for (unsigned r = 0; r < rounds; r++)
    for (unsigned i = 0; i < ROWS; i++)
      if (times[i] > 0)
        ns[i][r] =
            seconds_of(i, times[i]) * 1e9 / times[i] / rows[i].operations;
  printf("%-38s%-35s%s\n", "", "    median of the rounds",
         "      rate / memcpy's");
  for (unsigned i = 0; i < ROWS; i++)
    if (times[i] > 0) print_row(i);
  return 0;
}
