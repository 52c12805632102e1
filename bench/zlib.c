/* Bare zlib, with nothing around it: the processor time that inflating and
 * compressing one message takes; and what src/protocol/deflate.c makes of it.
 *
 *   zlib SIZE LEVEL IN OUT SECONDS [STREAMS DEPTH]
 *
 * IN and OUT are `keep` or `fresh`: whether the context is kept from message to
 * message. With STREAMS each kept context is there so often, and they have
 * turns of DEPTH messages, as a server's connections have. Prints nanoseconds
 * per message; `both` inflates a message and compresses it again. All six run
 * in turn in slices of a few milliseconds. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "messages.h"
#include "protocol/deflate.h"

enum { STREAMS_MAX = 256 };
static const double SLICE = 0.004;

typedef enum { INFLATE = 1, DEFLATE = 2, BOTH = 3 } what_t;

/* One of those that are compared. */
typedef struct runner_s {
  const char* name;
  what_t what;
  bool ours;
  unsigned at; /* messages so far */
  double seconds;
  union {
    z_stream z;
    uvws__inflater_t* own;
  } in[STREAMS_MAX];
  union {
    z_stream z;
    uvws__deflater_t* own;
  } out[STREAMS_MAX];
} runner_t;

static runner_t runners[] = {
    {.name = "raw_inflate", .what = INFLATE},
    {.name = "own_inflate", .what = INFLATE, .ours = true},
    {.name = "raw_deflate", .what = DEFLATE},
    {.name = "own_deflate", .what = DEFLATE, .ours = true},
    {.name = "raw_both", .what = BOTH},
    {.name = "own_both", .what = BOTH, .ours = true}};
enum { RUNNERS = sizeof(runners) / sizeof(*runners) };

static messages_t messages;
static bool keeps_in, keeps_out;
static unsigned streams = 1, depth = 1;
/* As large as a loop's, see src/deflate.c. */
static uint8_t inflated[64 * 1024], deflated[64 * 1024 + 1024];

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "zlib: %s\n", what);
  exit(1);
}

static void set_up(runner_t* runner, int level) {
  uvws__deflate_how_t how = {.level = (uint8_t)level,
                             .memory_level = MEMORY_LEVEL,
                             .window_bits = WINDOW_BITS};
  for (unsigned i = 0; i < (keeps_in ? streams : 1); i++) {
    if (runner->ours)
      runner->in[i].own = uvws__inflater_new(WINDOW_BITS);
    else
      inflateInit2(&runner->in[i].z, -WINDOW_BITS);
  }
  for (unsigned i = 0; i < (keeps_out ? streams : 1); i++) {
    if (runner->ours)
      runner->out[i].own = uvws__deflater_new(&how);
    else
      deflateInit2(&runner->out[i].z, level, Z_DEFLATED, -WINDOW_BITS,
                   MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
  }
}

/* ---- as zlib's manual has it ---- */

static size_t raw_inflate(z_stream* z, const packed_t* packed) {
  z->next_in = packed->bytes;
  z->avail_in = (uInt)(packed->len + TAIL);
  z->next_out = inflated;
  z->avail_out = sizeof(inflated);
  inflate(z, Z_SYNC_FLUSH);
  size_t len = sizeof(inflated) - z->avail_out;
  if (!keeps_in) inflateReset(z);
  return len;
}

static size_t raw_deflate(z_stream* z, const uint8_t* data, size_t len) {
  z->next_in = (Bytef*)data;
  z->avail_in = (uInt)len;
  z->next_out = deflated;
  z->avail_out = sizeof(deflated);
  deflate(z, Z_SYNC_FLUSH);
  size_t size = sizeof(deflated) - z->avail_out - TAIL;
  if (!keeps_out) deflateReset(z);
  return size;
}

/* ---- as src/protocol/message.c and src/deflate.c do it ---- */

static size_t own_inflate(uvws__inflater_t* inflater, const packed_t* packed) {
  size_t all = 0;
  uvws__inflated_t status;
  uvws__inflater_feed(inflater, packed->bytes, packed->len, true);
  do {
    size_t len = sizeof(inflated);
    status = uvws__inflater_take(inflater, inflated, &len);
    all += len;
  } while (status == UVWS__INFLATED_FULL);
  if (!keeps_in) uvws__inflater_reset(inflater);
  return all;
}

static size_t own_deflate(uvws__deflater_t* deflater, const uint8_t* data,
                          size_t len) {
  uvws__bytes_t bytes = {deflated, 0, sizeof(deflated), .lent = true};
  uvws__deflater_add(deflater, data, len, UVWS__DEFLATE_ON, &bytes);
  uvws__deflater_add(deflater, NULL, 0, UVWS__DEFLATE_END, &bytes);
  check(bytes.lent, "a message that does not become smaller");
  if (!keeps_out) uvws__deflater_reset(deflater);
  return bytes.len;
}

/* The next message, and how large it became. */
static size_t run_one(runner_t* runner, unsigned* which) {
  unsigned s = runner->at / depth % streams;
  unsigned turn = runner->at / depth / streams * depth + runner->at % depth;
  unsigned i = message_of(&messages, streams, s, turn);
  unsigned in = keeps_in ? s : 0, out = keeps_out ? s : 0;
  const uint8_t* data = message_at(&messages, i);
  size_t len = messages.size;
  const packed_t* packed = &messages.packed[i];
  runner->at++;
  *which = i;
  if (runner->what & INFLATE) {
    data = inflated;
    len = runner->ours ? own_inflate(runner->in[in].own, packed)
                       : raw_inflate(&runner->in[in].z, packed);
  }
  if (!(runner->what & DEFLATE)) return len;
  return runner->ours ? own_deflate(runner->out[out].own, data, len)
                      : raw_deflate(&runner->out[out].z, data, len);
}

/* Every message once: is it what it should be? */
static size_t try_out(runner_t* runner) {
  size_t all = 0;
  for (unsigned n = 0; n < messages.n * streams; n++) {
    unsigned i;
    size_t len = run_one(runner, &i);
    all += len;
    if (runner->what & INFLATE)
      check(memcmp(inflated, message_at(&messages, i), messages.size) == 0 &&
                (len == messages.size || runner->what == BOTH),
            "inflated to something else");
  }
  return all / messages.n / streams;
}

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double time_of(runner_t* runner, unsigned times) {
  unsigned which;
  double start = cpu_seconds();
  while (times-- > 0) run_one(runner, &which);
  return cpu_seconds() - start;
}

int main(int argc, char** argv) {
  check(argc == 6 || argc == 8,
        "usage: zlib SIZE LEVEL keep|fresh keep|fresh SECONDS [STREAMS DEPTH]");
  size_t size = (size_t)atoi(argv[1]), packed = 0;
  int level = atoi(argv[2]);
  keeps_in = strcmp(argv[3], "keep") == 0;
  keeps_out = strcmp(argv[4], "keep") == 0;
  double left = atof(argv[5]);
  if (argc == 8) {
    streams = (unsigned)atoi(argv[6]);
    depth = (unsigned)atoi(argv[7]);
  }
  check(size >= 64 && size <= 65536 && level >= 1 && level <= 9, "numbers");
  check(streams >= 1 && streams <= (keeps_in ? 1 : STREAMS_MAX) && depth >= 1,
        "streams");
  messages = messages_make(size, level, keeps_in);
  check(streams <= messages.n, "streams");
  for (unsigned i = 0; i < RUNNERS; i++) {
    set_up(&runners[i], level);
    packed = try_out(&runners[i]);
  }
  unsigned times = 1, passes = 0;
  while (time_of(&runners[RUNNERS - 1], times) < SLICE) times *= 2;
  /* Who comes second finds the messages in the cache, so they take turns. */
  for (; left > 0; passes++) {
    for (unsigned i = 0; i < RUNNERS; i++) {
      runner_t* runner = &runners[i ^ (passes & 1)];
      double seconds = time_of(runner, times);
      runner->seconds += seconds;
      left -= seconds;
    }
  }
  printf("{\"packed\":%zu", packed);
  for (unsigned i = 0; i < RUNNERS; i++)
    printf(",\"%s\":%.1f", runners[i].name,
           runners[i].seconds * 1e9 / passes / times);
  printf("}\n");
  return 0;
}
