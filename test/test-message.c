/* The receiving side: bytes in, events out. Each case of message-cases.h is run
 * in all ways of receive.h. */

#include "message-cases.h"

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
      {"0103 'Hel' 8905 'hello' 8002 'lo'", "ping(hello) text(Hello)"},
      {"8101 'a' 827f0000000000019000 #102400 8101 'b'",
       "text(a) binary(#102400) text(b)"},
      {"017e4e20 #20000 8903 'abc' 807e4e20 #20000@20000 8802 03e8",
       "ping(abc) text(#40000) close(1000)"},
  };
  unsigned failures = 0, survivals = 0;
  (void)state;
  for (size_t i = 0; i < 4 * COUNT_OF(ones); i++) {
    const case_t* one = &ones[i / 4];
    bytes_t bytes = build(one->frames);
    bool injected = true;
    for (unsigned n = 1; injected; n++) {
      run_t run;
      memory.calls = 0;
      memory.fail_at = n;
      begin(&run, UVWS__CLIENT, &bytes.limits, i % 2 == 1);
      feed_pieces(&run, &bytes, 1, i % 4 < 2 ? 3 : 1000);
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
  begin(&run, UVWS__CLIENT, &bytes.limits, DIRECT);
  feed_pieces(&run, &bytes, SIZE_MAX, SIZE_MAX);
  assert_string_equal(run.log,
                      "text(Hello) binary(#65536) ping(Hello) close(1000)");
  assert_int_equal(memory.calls, 0);
  end(&run);
  free(bytes.data);
}

/* An idle connection, and one that discards, costs no buffer. */
static void test_idle_receiver_holds_nothing(void** state) {
  static const case_t idle[] = {
      {"0103 'Hel' 8902 'hi' 8002 'lo' 8a02 'yo'",
       "ping(hi) text(Hello) pong(yo)"},
      {"0103 'Hel' ^ 0001 'l'", ""},
      {"0103 'Hel' ^ 8902 'hi' 8000", "ping(hi)"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(idle); i++) {
    bytes_t bytes = build(idle[i].frames);
    run_t run;
    begin(&run, UVWS__CLIENT, &bytes.limits, BUFFERED);
    feed_pieces(&run, &bytes, 1, 1);
    assert_string_equal(run.log, idle[i].events);
    assert_int_equal(memory.live, 0);
    end(&run);
    free(bytes.data);
  }
}

/* Many fragments do not mean as many allocations. */
static void test_buffer_grows_in_steps(void** state) {
  bytes_t bytes = build("0201 'a' 000162*65534 8001 'c'");
  run_t run;
  (void)state;
  memory.calls = 0;
  begin(&run, UVWS__CLIENT, &bytes.limits, BUFFERED);
  feed_pieces(&run, &bytes, SIZE_MAX, SIZE_MAX);
  assert_true(memory.calls < 9);
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
    begin(&run, UVWS__CLIENT, &bytes.limits, BUFFERED);
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
      {"027f0000000000030d40 #200000 007e4000", 16384, true},
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
    begin(&run, UVWS__CLIENT, &bytes.limits, BUFFERED);
    feed_pieces(&run, &bytes, SIZE_MAX, SIZE_MAX);
    assert_int_equal(uvws__receiver_tail(&run.receiver, &at, &room, &wanted),
                     tails[i].wanted > 0);
    assert_int_equal(wanted, tails[i].wanted);
    assert_int_equal(room > wanted, tails[i].ahead);
    assert_true(room - wanted <= READ_BUFFER);
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
      cmocka_unit_test(test_buffer_grows_in_steps),
      cmocka_unit_test(test_discard_in_an_event),
      cmocka_unit_test(test_tail),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
