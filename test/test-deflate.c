/* A message's bytes in and out of zlib, and the receiving side once
 * permessage-deflate was agreed on. */

#include "deflate-cases.h"

/* ---- what a receiver inflates with ---- */

enum {
  SCRATCH = 64 * 1024,
  ZLIB = 64 * 1024, /* an inflater with a window of 32 KiB */
  MOST = 1 << 20
};

static uint8_t scratch[SCRATCH];

static struct {
  uvws__inflater_t* inflater; /* between messages */
  bool in_use;
} context;

static uvws__failure_t begin_message(uvws__receiver_t* receiver) {
  assert_false(context.in_use);
  receiver->inflater = context.inflater;
  if (receiver->inflater == NULL) receiver->inflater = uvws__inflater_new(15);
  context.inflater = NULL;
  context.in_use = receiver->inflater != NULL;
  return context.in_use ? UVWS__OK : UVWS__FAIL_NO_MEMORY;
}

static void end_message(uvws__receiver_t* receiver) {
  assert_true(context.in_use);
  context.in_use = false;
  context.inflater = receiver->inflater;
  receiver->inflater = NULL;
}

static void allow_compression(uvws__receiver_t* receiver) {
  static const uvws__inflating_t inflating = {begin_message, end_message};
  receiver->inflating = &inflating;
  receiver->scratch = scratch;
  receiver->scratch_size = sizeof(scratch);
  receiver->parser.allows_rsv1 = true;
}

static void free_context(void) {
  assert_false(context.in_use);
  uvws__inflater_free(context.inflater);
  context.inflater = NULL;
}

static int setup_deflate(void** state) {
  let_inflate = allow_compression;
  end_inflating = free_context;
  return setup(state);
}

/* A test that has failed is no burden to the next. */
static int afresh(void** state) {
  (void)state;
  context.inflater = NULL;
  context.in_use = false;
  memset(&memory, 0, sizeof(memory));
  memory.besides = ZLIB + 2 * MOST;
  return 0;
}

#define FRESH(test) cmocka_unit_test_setup(test, afresh)

/* ---- what is compressed ---- */

static uint8_t plain[MOST + 1];
static uint8_t inflated[MOST + 1];
static uint32_t seed;

static uint32_t draw(uint32_t n) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

typedef enum { ZEROS, NOISE, WORDS, N_KINDS } data_kind_t;

/* Words: what came before comes again, from near and from far. */
static void fill(data_kind_t kind, size_t len) {
  size_t i = 0;
  seed = 1;
  memset(plain, 0, len);
  for (; kind == NOISE && i < len; i++) plain[i] = (uint8_t)draw(256);
  while (kind == WORDS && i < len) {
    size_t size = 1 + draw(40);
    size_t far = 1 + draw(1u << draw(16));
    for (; size > 0 && i < len; size--, i++)
      plain[i] = i < far ? (uint8_t)draw(256) : plain[i - far];
  }
}

static uvws__deflater_t* new_deflater(uint8_t level, uint8_t memory_level,
                                      uint8_t strategy, uint8_t bits) {
  uvws__deflate_how_t how = {level, memory_level, strategy, bits};
  uvws__deflater_t* deflater = uvws__deflater_new(&how);
  assert_non_null(deflater);
  return deflater;
}

static void compress(uvws__deflater_t* deflater, const uint8_t* data,
                     size_t len, uvws__deflate_flush_t flush,
                     uvws__bytes_t* out) {
  assert_true(uvws__deflater_add(deflater, data, len, flush, out));
  assert_true(out->len <= out->capacity);
}

static void drop(uvws__bytes_t* bytes) {
  if (!bytes->lent) counting_free(bytes->data);
  *bytes = (uvws__bytes_t){.data = NULL};
}

/* A message, all of it or a part, through an inflater, so much in and out at a
 * time. Returns how many bytes came out. With one byte at a time none can refer
 * beyond the window. */
static size_t inflate_in_steps(uvws__inflater_t* inflater,
                               const uvws__bytes_t* in, size_t step_in,
                               size_t step_out, bool last) {
  size_t done = 0, at = 0;
  do {
    size_t n = in->len - at < step_in ? in->len - at : step_in;
    uint8_t* piece = malloc(n + 1);
    uvws__inflated_t status;
    memcpy(piece, in->data + at, n);
    at += n;
    uvws__inflater_feed(inflater, piece, n, last && at == in->len);
    do {
      size_t len = step_out;
      if (len > sizeof(inflated) - done) len = sizeof(inflated) - done;
      status = uvws__inflater_take(inflater, inflated + done, &len);
      done += len;
      assert_int_not_equal(status, UVWS__INFLATED_FAILED);
    } while (status == UVWS__INFLATED_FULL);
    assert_int_equal(status, last && at == in->len ? UVWS__INFLATED_END
                                                   : UVWS__INFLATED_MORE);
    free(piece);
  } while (at < in->len);
  return done;
}

static void check_inflated(uvws__inflater_t* inflater, const uvws__bytes_t* in,
                           size_t from, size_t len, size_t step, bool last) {
  size_t n = inflate_in_steps(inflater, in, step, step, last);
  assert_int_equal(n, len);
  assert_memory_equal(inflated, plain + from, len);
}

/* ---- frames ---- */

static void put_frame(bytes_t* wire, uint8_t first_byte, const uint8_t* data,
                      size_t len) {
  uint8_t header[UVWS__FRAME_HEADER_MAX];
  size_t size = uvws__frame_header_write(header, first_byte, len, NULL);
  for (size_t i = 0; i < size; i++) put(wire, header[i]);
  for (size_t i = 0; i < len; i++) put(wire, data[i]);
}

/* A message of plain[0..len), as our own side sends it. */
static bytes_t compressed_frame(uint8_t opcode, size_t len, uint64_t limit) {
  bytes_t wire = {.fails_at = NOWHERE,
                  .discard_at = NOWHERE,
                  .limits = {limit, UINT32_MAX}};
  uvws__bytes_t out = {.data = NULL};
  uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
  compress(deflater, plain, len, UVWS__DEFLATE_END, &out);
  put_frame(&wire, UVWS__FIN | UVWS__RSV1 | opcode, out.data, out.len);
  uvws__deflater_free(deflater);
  drop(&out);
  return wire;
}

static void run_roles(const char* name, const char* events, bytes_t* wire) {
  case_t one = {name, events};
  bytes_t masked = mask_frames(wire);
  run_all_ways(&one, UVWS__CLIENT, wire);
  run_all_ways(&one, UVWS__SERVER, &masked);
  free(wire->data);
  free(masked.data);
}

static void run_case(const case_t* one) {
  bytes_t bytes = build(one->frames);
  run_roles(one->frames, one->events, &bytes);
}

/* ---- receiving ---- */

static void test_both_roles(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) run_case(&cases[i]);
}

/* RFC 7692, 7.2.1: the empty block of which the end is left out may have
 * BFINAL, as any other. */
static void test_the_last_block_may_be_final(void** state) {
  static const case_t final[] = {
      {"c101 01", "text()"},
      {"c10b 000500faff48656c6c6f01", "text(Hello)"},
      {"c201 01 c107 f248cdc9c90700 c105 f200118000 c201 01 c105 f200110000",
       "binary() text(Hello) text(Hello) binary() text(Hello)"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(final); i++) run_case(&final[i]);
}

/* A message of many small parts, each flushed, is longer compressed. */
static void test_flushing_often_is_allowed(void** state) {
  static const case_t flushed = {
      "<1000 4207 4a04000000ffff 00074a04000000ffff*399 8001 00",
      "binary(a*400)"};
  (void)state;
  run_case(&flushed);
}

/* Sizes around that of the buffer in which all is inflated. */
static void test_limits_are_exact(void** state) {
  static const size_t sizes[] = {1, 125, 65535, 65536, 65537, 131072, 200000};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t len = sizes[i];
    char name[64], events[64];
    bytes_t wire;
    for (size_t k = 0; k < len; k++) plain[k] = pattern(k);
    snprintf(name, sizeof(name), "%zu bytes", len);
    snprintf(events, sizeof(events), len > 16 ? "text(#%zu)" : "text(a)", len);
    wire = compressed_frame(UVWS__OP_TEXT, len, len);
    run_roles(name, events, &wire);
    wire = compressed_frame(UVWS__OP_TEXT, len, len - 1);
    for (way_t way = BUFFERED; way <= KEPT_CHUNKS; way++) {
      run_t run;
      begin(&run, UVWS__CLIENT, &wire.limits, way);
      feed_pieces(&run, &wire, SIZE_MAX, SIZE_MAX);
      assert_string_equal(run.log, "fail(MESSAGE_TOO_BIG)");
      end(&run);
    }
    free(wire.data);
  }
}

/* A little that becomes much costs no more than the limit allows. */
static void test_bombs(void** state) {
  static const uint64_t limits[] = {0, 1, 1000, 65535, 65536, 65537};
  (void)state;
  fill(ZEROS, MOST);
  for (size_t i = 0; i < COUNT_OF(limits); i++) {
    bytes_t wire = compressed_frame(UVWS__OP_BINARY, MOST, limits[i]);
    assert_true(wire.len < 1100);
    for (way_t way = BUFFERED; way <= KEPT_CHUNKS; way++) {
      run_t run;
      memory.peak = 0;
      begin(&run, UVWS__CLIENT, &wire.limits, way);
      feed_pieces(&run, &wire, i == 0 ? 1 : SIZE_MAX, i == 0 ? 1 : SIZE_MAX);
      assert_string_equal(run.log, "fail(MESSAGE_TOO_BIG)");
      assert_true(memory.peak <= ZLIB + wire.len +
                                     (way < IN_CHUNKS && limits[i] >= SCRATCH
                                          ? limits[i] + 64 * 1024
                                          : 0));
      end(&run);
    }
    free(wire.data);
  }
}

/* So does one in fragments, each of which is allowed. */
static void test_bombs_in_fragments(void** state) {
  bytes_t wire = {.fails_at = NOWHERE,
                  .discard_at = NOWHERE,
                  .limits = {2 * SCRATCH, UINT32_MAX}};
  uvws__deflater_t* deflater = new_deflater(9, 9, 0, 15);
  (void)state;
  fill(ZEROS, 1000);
  for (unsigned i = 0; i < 1000; i++) {
    uvws__bytes_t out = {.data = NULL};
    compress(deflater, plain, 1000, UVWS__DEFLATE_FLUSH, &out);
    put_frame(&wire, i == 0 ? UVWS__RSV1 | UVWS__OP_BINARY : 0, out.data,
              out.len);
    drop(&out);
  }
  uvws__deflater_free(deflater);
  for (way_t way = BUFFERED; way <= KEPT_CHUNKS; way++) {
    run_t run;
    memory.peak = 0;
    begin(&run, UVWS__CLIENT, &wire.limits, way);
    feed_pieces(&run, &wire, 999, 999);
    assert_string_equal(run.log, "fail(MESSAGE_TOO_BIG)");
    assert_true(memory.peak <=
                ZLIB + 1000 + (way < IN_CHUNKS ? 4 * SCRATCH : 0));
    end(&run);
  }
  free(wire.data);
}

/* Much that comes from a little arrives in parts, each no larger than the
 * buffer that all share. */
static void test_chunks_of_one_frame(void** state) {
  bytes_t wire;
  run_t run;
  (void)state;
  for (size_t k = 0; k < 5 * SCRATCH / 3; k++)
    memcpy(plain + 3 * k, "\xe2\x82\xac", 3); /* cut inside a character */
  wire = compressed_frame(UVWS__OP_TEXT, 3 * (5 * SCRATCH / 3), MOST);
  assert_true(wire.len < 1000);
  for (unsigned discards = 0; discards < 2; discards++) {
    uint8_t* at = wire.data;
    size_t left = wire.len;
    unsigned n = 0;
    uvws__received_t got;
    begin(&run, UVWS__CLIENT, &wire.limits, IN_CHUNKS);
    while (uvws__receive(&run.receiver, &at, &left, &got) ==
           UVWS__RECEIVED_CHUNK) {
      assert_true(got.len <= SCRATCH);
      assert_int_equal(got.first, n == 0);
      n++;
      if (discards && n == 2) uvws__receiver_discard(&run.receiver);
      if (got.last) break;
    }
    assert_int_equal(left, 0);
    assert_false(run.receiver.has_more);
    assert_true(discards ? n == 2 : n == 5);
    end(&run);
  }
  free(wire.data);
}

/* What is wrong is found where it comes, however much more there is. */
static void test_utf8_in_the_midst(void** state) {
  static const size_t places[] = {0, 1, 65535, 65536, 70000, 199999};
  (void)state;
  for (size_t i = 0; i < 4 * COUNT_OF(places); i++) {
    size_t place = places[i / 4];
    memset(plain, 'a', 200000);
    plain[place] = 0xC3;
    bytes_t wire = compressed_frame(UVWS__OP_TEXT, 200000, MOST);
    for (size_t step = 1; step <= 1000; step += 999) {
      run_t run;
      begin(&run, UVWS__CLIENT, &wire.limits, (way_t)(i % 4));
      size_t fed = feed_pieces(&run, &wire, step, step);
      assert_string_equal(run.log, "fail(TEXT_UTF8)");
      assert_int_equal(step == 1 && fed < wire.len,
                       step == 1 && place < 199999);
      end(&run);
    }
    free(wire.data);
  }
}

/* Each allocation fails once: no memory is no fault of the peer's. */
static void test_every_allocation_fails(void** state) {
  static const char frames[] =
      "4103 f248cd 8902 'hi' 8004 c9c90700 c105 f200110000 8101 'a'";
  static const char events[] = "ping(hi) text(Hello) text(Hello) text(a)";
  unsigned failures = 0;
  (void)state;
  for (way_t way = BUFFERED; way <= KEPT_CHUNKS; way++) {
    bytes_t bytes = build(frames);
    bool injected = true;
    for (unsigned n = 1; injected; n++) {
      run_t run;
      memory.calls = 0;
      memory.fail_at = n;
      begin(&run, UVWS__CLIENT, &bytes.limits, way);
      feed_pieces(&run, &bytes, 1, 3);
      injected = memory.calls >= n;
      if (run.failed) {
        char* failure = strstr(run.log, "fail(NO_MEMORY)");
        if (failure == NULL) fail_msg("call %u gives %s", n, run.log);
        assert_memory_equal(run.log, events, failure - run.log);
        failures++;
      } else {
        assert_string_equal(run.log, events);
      }
      end(&run);
    }
    free(bytes.data);
  }
  memory.fail_at = 0;
  assert_true(failures > 0);
}

/* ---- the deflater ---- */

/* RFC 7692, 7.2.3.1 and 7.2.3.2 */
static void test_examples(void** state) {
  static const struct {
    bool forget;
    const char* bytes;
    size_t len;
  } outs[] = {{false, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7},
              {false, "\xf2\x00\x11\x00\x00", 5},
              {true, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7}};
  uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
  (void)state;
  for (size_t i = 0; i < COUNT_OF(outs); i++) {
    uvws__bytes_t out = {.data = NULL};
    if (outs[i].forget) uvws__deflater_reset(deflater);
    compress(deflater, (const uint8_t*)"Hello", 5, UVWS__DEFLATE_END, &out);
    assert_int_equal(out.len, outs[i].len);
    assert_memory_equal(out.data, outs[i].bytes, out.len);
    drop(&out);
  }
  uvws__deflater_free(deflater);
}

/* A few messages of one context, and what the other side makes of them. */
static void check_messages(uvws__deflater_t* deflater, unsigned bits,
                           size_t len, bool takeover, size_t step) {
  uvws__inflater_t* inflater = uvws__inflater_new(bits);
  assert_non_null(inflater);
  for (unsigned i = 0; i < 3; i++) {
    size_t from = i * len / 5;
    uvws__bytes_t out = {.data = NULL};
    if (!takeover) uvws__deflater_reset(deflater);
    if (!takeover) uvws__inflater_reset(inflater);
    compress(deflater, plain + from, len - from, UVWS__DEFLATE_END, &out);
    check_inflated(inflater, &out, from, len - from, step, true);
    drop(&out);
  }
  uvws__inflater_free(inflater);
}

static void test_all_ways_of_compressing(void** state) {
  (void)state;
  fill(WORDS, 2000);
  for (uint8_t level = 0; level <= 9; level++)
    for (uint8_t memory_level = 1; memory_level <= 9; memory_level++)
      for (uint8_t strategy = 0; strategy <= 4; strategy++)
        for (uint8_t bits = 8; bits <= 15; bits++) {
          bool takeover = (level + memory_level + strategy + bits) % 2;
          uvws__deflater_t* deflater =
              new_deflater(level, memory_level, strategy, bits);
          check_messages(deflater, bits, 2000, takeover, 1);
          uvws__deflater_free(deflater);
        }
}

/* More than any window, and nothing refers beyond the one agreed upon. */
static void test_windows(void** state) {
  static const uint8_t levels[] = {1, 3, 4, 6, 9};
  (void)state;
  for (data_kind_t kind = ZEROS; kind < N_KINDS; kind++)
    for (uint8_t bits = 8; bits <= 15; bits++)
      for (size_t i = 0; i < COUNT_OF(levels); i++) {
        uvws__deflater_t* deflater =
            new_deflater(levels[i], i % 2 == 0 ? 1 : 9, 0, bits);
        size_t len = (size_t)3 << bits;
        fill(kind, len);
        check_messages(deflater, bits, len, true, 1);
        check_messages(deflater, bits, len, false, 4099);
        uvws__deflater_free(deflater);
      }
}

/* Parts of all sizes, some empty, gathered or flushed: what was flushed can be
 * read. */
static void test_parts(void** state) {
  (void)state;
  for (data_kind_t kind = ZEROS; kind < N_KINDS; kind++) {
    uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
    uvws__inflater_t* inflater = uvws__inflater_new(15);
    fill(kind, 300000);
    seed = kind;
    for (unsigned n = 0; n < 60; n++) {
      uvws__bytes_t out = {.data = NULL};
      size_t at = 0, read = 0;
      bool last = false;
      while (!last) {
        size_t len = draw(4) == 0 ? 0 : draw(1u << draw(17));
        uvws__deflate_flush_t flush = (uvws__deflate_flush_t)draw(3);
        if (len > 300000 - at) len = 300000 - at;
        last = flush == UVWS__DEFLATE_END;
        compress(deflater, plain + at, len, flush, &out);
        at += len;
        if (flush == UVWS__DEFLATE_ON) continue;
        check_inflated(inflater, &out, read, at - read, 1 + draw(1000), last);
        read = at;
        drop(&out);
      }
    }
    uvws__deflater_free(deflater);
    uvws__inflater_free(inflater);
  }
}

/* A message whose last part is empty, with or without parts before; and one of
 * no parts at all. */
static void test_empty_messages(void** state) {
  uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
  uvws__inflater_t* inflater = uvws__inflater_new(15);
  (void)state;
  memcpy(plain, "Hello", 5);
  for (unsigned i = 0; i < 64; i++) {
    uvws__bytes_t out = {.data = NULL};
    size_t len = 0;
    /* In base 4: nothing, an empty part, an empty one flushed, "Hello". */
    for (unsigned k = i; k > 0; k /= 4) {
      if (k % 4 == 1)
        compress(deflater, NULL, 0, UVWS__DEFLATE_ON, &out);
      else if (k % 4 == 2)
        compress(deflater, NULL, 0, UVWS__DEFLATE_FLUSH, &out);
      else if (k % 4 == 3)
        compress(deflater, plain, 5, UVWS__DEFLATE_FLUSH, &out);
      len += k % 4 == 3 ? 5 : 0;
    }
    compress(deflater, NULL, 0, UVWS__DEFLATE_END, &out);
    assert_true(out.len > 0);
    if (len == 0) assert_true(out.len <= 11);
    assert_int_equal(inflate_in_steps(inflater, &out, SIZE_MAX, 1, true), len);
    for (size_t at = 0; at < len; at += 5)
      assert_memory_equal(inflated + at, "Hello", 5);
    drop(&out);
  }
  uvws__deflater_free(deflater);
  uvws__inflater_free(inflater);
}

/* What does not get smaller grows by little. */
static void test_noise_grows_by_little(void** state) {
  (void)state;
  fill(NOISE, 100000);
  for (uint8_t level = 1; level <= 9; level++) {
    uvws__deflater_t* deflater = new_deflater(level, 8, 0, 15);
    uvws__bytes_t out = {.data = NULL};
    compress(deflater, plain, 100000, UVWS__DEFLATE_END, &out);
    assert_true(out.len < 100000 + 100);
    drop(&out);
    uvws__deflater_free(deflater);
  }
}

/* A buffer that is lent is used as far as it goes, behind what it has. */
static void test_lent_buffers(void** state) {
  (void)state;
  fill(WORDS, 3000);
  for (size_t capacity = 0; capacity <= 3000; capacity += capacity / 50 + 1) {
    uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
    uvws__inflater_t* inflater = uvws__inflater_new(15);
    uint8_t* lent = malloc(capacity + 1);
    uvws__bytes_t out = {lent, capacity / 3, capacity, .lent = true};
    size_t before = out.len;
    memset(lent, 0x5A, capacity);
    compress(deflater, plain, 3000, UVWS__DEFLATE_END, &out);
    assert_int_equal(out.lent, out.data == lent);
    for (size_t i = 0; i < before; i++) assert_int_equal(out.data[i], 0x5A);
    uvws__bytes_t in = {out.data + before, out.len - before, 0, .lent = true};
    check_inflated(inflater, &in, 0, 3000, SIZE_MAX, true);
    drop(&out);
    free(lent);
    uvws__deflater_free(deflater);
    uvws__inflater_free(inflater);
  }
}

/* Without memory for what comes out the deflater is one that knows nothing; and
 * it does not come to be without memory. */
static void test_deflater_without_memory(void** state) {
  uvws__deflate_how_t how = {6, 8, 0, 15};
  unsigned failures = 0;
  bool injected = true;
  (void)state;
  fill(WORDS, 100000);
  for (unsigned n = 1; injected; n++) {
    uvws__bytes_t out = {.data = NULL};
    memory.calls = 0;
    memory.fail_at = n;
    uvws__deflater_t* deflater = uvws__deflater_new(&how);
    uvws__inflater_t* inflater = uvws__inflater_new(15);
    bool made = deflater != NULL && inflater != NULL;
    bool added = made && uvws__deflater_add(deflater, plain, 100000,
                                            UVWS__DEFLATE_END, &out);
    injected = memory.calls >= n;
    memory.fail_at = 0;
    failures += !added;
    assert_int_equal(added, !injected);
    drop(&out);
    if (made && !added) {
      compress(deflater, plain + 50000, 5000, UVWS__DEFLATE_END, &out);
      check_inflated(inflater, &out, 50000, 5000, SIZE_MAX, true);
      drop(&out);
    }
    uvws__deflater_free(deflater);
    uvws__inflater_free(inflater);
    assert_int_equal(memory.live, 0);
  }
  assert_true(failures > 3);
}

static void test_what_makes_compression_the_same(void** state) {
  static const uvws__deflate_how_t how = {6, 8, 0, 15};
  static const uvws__deflate_how_t others[] = {
      {5, 8, 0, 15}, {6, 7, 0, 15}, {6, 8, 1, 15}, {6, 8, 0, 14}};
  uvws__deflate_how_t same = how;
  (void)state;
  assert_true(uvws__deflate_is_same(&how, &same));
  for (size_t i = 0; i < COUNT_OF(others); i++)
    assert_false(uvws__deflate_is_same(&how, &others[i]));
}

/* ---- the inflater ---- */

/* What is not used up may go somewhere else. */
static void test_moved_input(void** state) {
  uvws__deflater_t* deflater = new_deflater(6, 8, 0, 15);
  uvws__inflater_t* inflater = uvws__inflater_new(15);
  uvws__bytes_t out = {.data = NULL};
  const uint8_t* left;
  (void)state;
  fill(WORDS, 50000);
  compress(deflater, plain, 50000, UVWS__DEFLATE_END, &out);
  uint8_t* block = malloc(out.len);
  memcpy(block, out.data, out.len);
  uvws__inflater_feed(inflater, block, out.len, true);
  assert_int_equal(uvws__inflater_left(inflater, &left), out.len);
  assert_ptr_equal(left, block);
  size_t done = 0, n;
  uvws__inflated_t status;
  do {
    size_t len = uvws__inflater_left(inflater, &left);
    assert_true(len == 0 || left == block + (out.len - len));
    uint8_t* moved = malloc(out.len);
    memcpy(moved, block, out.len);
    uvws__inflater_move(inflater, moved + (out.len - len));
    free(block);
    block = moved;
    n = 997;
    status = uvws__inflater_take(inflater, inflated + done, &n);
    done += n;
  } while (status == UVWS__INFLATED_FULL);
  assert_int_equal(status, UVWS__INFLATED_END);
  assert_int_equal(done, 50000);
  assert_memory_equal(inflated, plain, done);
  assert_int_equal(uvws__inflater_left(inflater, &left), 0);
  free(block);
  drop(&out);
  uvws__inflater_free(inflater);
  uvws__deflater_free(deflater);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      FRESH(test_both_roles),
      FRESH(test_the_last_block_may_be_final),
      FRESH(test_flushing_often_is_allowed),
      FRESH(test_limits_are_exact),
      FRESH(test_bombs),
      FRESH(test_bombs_in_fragments),
      FRESH(test_chunks_of_one_frame),
      FRESH(test_utf8_in_the_midst),
      FRESH(test_every_allocation_fails),
      FRESH(test_examples),
      FRESH(test_all_ways_of_compressing),
      FRESH(test_windows),
      FRESH(test_parts),
      FRESH(test_empty_messages),
      FRESH(test_noise_grows_by_little),
      FRESH(test_lent_buffers),
      FRESH(test_deflater_without_memory),
      FRESH(test_what_makes_compression_the_same),
      FRESH(test_moved_input),
  };
  return cmocka_run_group_tests(tests, setup_deflate, NULL);
}
