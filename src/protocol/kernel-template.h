/* The vector kernels, written once: kernels.c includes this for each
 * instruction set, with these defined.
 *
 *   NAME(x)             the name of a function
 *   TARGET              the attribute that lets it use the instructions
 *   vec_t               a vector of bytes
 *   LOAD, STORE, XOR, AND, AND3, OR, SPLAT(byte), SPLAT8(eight bytes)
 *   HIGH_NIBBLES(v)     each byte's upper half, for LOOKUP
 *   LOW_NIBBLES(v)      and its lower half
 *   LOOKUP(table, v)    the table's entry for each byte of v
 *   TABLE(bytes)        such a table
 *   SATURATING_SUB(a, b)
 *   BEFORE(n, v, last)  the bytes n before those of v, which follows `last`
 *   IS_ASCII(v), IS_ZERO(v)
 *
 * How UTF-8 is validated: J. Keiser and D. Lemire, "Validating UTF-8 in less
 * than one instruction per byte" (2021). Two bytes that follow each other are
 * enough to see every error but one: three tables, by the first's halves and
 * the second's upper half, give the errors that each of them still allows, and
 * what all three allow is one. What two bytes cannot tell is whether a
 * continuation byte is the third or fourth of its character: TWO_CONTS, an
 * error unless the byte two or three before says so. */

TARGET ALWAYS_INLINE vec_t NAME(errors)(vec_t bytes, vec_t last) {
  vec_t first = BEFORE(1, bytes, last);
  vec_t errors = AND3(LOOKUP(TABLE(first_high), HIGH_NIBBLES(first)),
                      LOOKUP(TABLE(first_low), LOW_NIBBLES(first)),
                      LOOKUP(TABLE(second_high), HIGH_NIBBLES(bytes)));
  vec_t third = SATURATING_SUB(BEFORE(2, bytes, last), SPLAT(0xE0 - TWO_CONTS));
  vec_t fourth =
      SATURATING_SUB(BEFORE(3, bytes, last), SPLAT(0xF0 - TWO_CONTS));
  return XOR(AND(OR(third, fourth), SPLAT(TWO_CONTS)), errors);
}

/* Loads `n` vectors, unmasked; whether all are ASCII. */
TARGET ALWAYS_INLINE bool NAME(take)(vec_t* v, uint8_t* data, int n,
                                     bool masked, vec_t wide) {
  vec_t all = SPLAT(0);
#pragma GCC unroll 4
  for (int j = 0; j < n; j++) {
    v[j] = LOAD(data + (size_t)j * sizeof(vec_t));
    if (masked) {
      v[j] = XOR(v[j], wide);
      STORE(data + (size_t)j * sizeof(vec_t), v[j]);
    }
    all = OR(all, v[j]);
  }
  return IS_ASCII(all);
}

/* ASCII behind ASCII needs no more than to be seen as such. `masked` is known
 * where this is inlined. */
TARGET ALWAYS_INLINE bool NAME(scan)(uint8_t* data, size_t len, bool masked,
                                     uint64_t key) {
  enum { STEP = UNROLL * sizeof(vec_t) };
  vec_t errors = SPLAT(0), last = SPLAT(0), v[UNROLL];
  bool was_ascii = true, is_ascii;
  size_t odd = len % UVWS__BLOCK;
  if (odd > 0) {
    /* As the end of a block: its last bytes are what the next vector follows.
     */
    uint8_t block[UVWS__BLOCK] = {0};
    uint8_t* start = block + UVWS__BLOCK - odd;
    memcpy(start, data, odd);
    if (masked) {
      key = xor_odd(start, odd, key);
      memcpy(data, start, odd);
    }
    for (size_t i = 0; i < UVWS__BLOCK; i += sizeof(vec_t)) {
      was_ascii = NAME(take)(v, block + i, 1, false, last);
      errors = OR(errors, NAME(errors)(v[0], last));
      last = v[0];
    }
    data += odd;
    len -= odd;
  }
  vec_t wide = SPLAT8(key);
  for (; len >= STEP; data += STEP, len -= STEP) {
    is_ascii = NAME(take)(v, data, UNROLL, masked, wide);
    if (is_ascii && was_ascii) continue;
    was_ascii = is_ascii;
#pragma GCC unroll 4
    for (int j = 0; j < UNROLL; j++) {
      errors = OR(errors, NAME(errors)(v[j], last));
      last = v[j];
    }
  }
  for (; len > 0; data += sizeof(vec_t), len -= sizeof(vec_t)) {
    NAME(take)(v, data, 1, masked, wide);
    errors = OR(errors, NAME(errors)(v[0], last));
    last = v[0];
  }
  return IS_ZERO(errors);
}

TARGET static bool NAME(validate)(const uint8_t* data, size_t len) {
  return NAME(scan)((uint8_t*)data, len, false, 0);
}

TARGET static bool NAME(unmask_text)(uint8_t* data, size_t len, uint64_t key) {
  return NAME(scan)(data, len, true, key);
}

TARGET static void NAME(mask)(uint8_t* dst, const uint8_t* src, size_t len,
                              uint64_t key) {
  vec_t wide = SPLAT8(key);
  for (; len >= UNROLL * sizeof(vec_t); len -= UNROLL * sizeof(vec_t)) {
    vec_t v[UNROLL];
#pragma GCC unroll 4
    for (int j = 0; j < UNROLL; j++)
      v[j] = XOR(LOAD(src + (size_t)j * sizeof(vec_t)), wide);
#pragma GCC unroll 4
    for (int j = 0; j < UNROLL; j++)
      STORE(dst + (size_t)j * sizeof(vec_t), v[j]);
    src += UNROLL * sizeof(vec_t);
    dst += UNROLL * sizeof(vec_t);
  }
  for (; len > 0; len -= sizeof(vec_t)) {
    STORE(dst, XOR(LOAD(src), wide));
    src += sizeof(vec_t);
    dst += sizeof(vec_t);
  }
}

static const uvws__kernels_t NAME(kernels) = {
    NAME_TEXT, NAME(mask), NAME(validate), NAME(unmask_text)};

#undef NAME
#undef NAME_TEXT
#undef TARGET
#undef vec_t
#undef LOAD
#undef STORE
#undef XOR
#undef AND
#undef AND3
#undef OR
#undef SPLAT
#undef SPLAT8
#undef HIGH_NIBBLES
#undef LOW_NIBBLES
#undef LOOKUP
#undef TABLE
#undef SATURATING_SUB
#undef BEFORE
#undef IS_ASCII
#undef IS_ZERO
