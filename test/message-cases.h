#ifndef UVWS_TEST_MESSAGE_CASES_H_
#define UVWS_TEST_MESSAGE_CASES_H_

/* What a peer may send, and what the receiver is to make of it. */

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
    {"817f00000000000249f0 #150000 8203 'abc'", "text(#150000) binary(abc)"},
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
    {"027f0000000000030d40 #200000 007e4e20 #20000@200000 8001 'a'",
     "binary(#220000a)"},
    {"817e8000 #30000 ff! #2767", "fail(TEXT_UTF8)"},
    {"817e8000 #32767 c3!", "fail(TEXT_UTF8)"},
    {"8101 'a' 827e8000 #32768 83! 00",
     "text(a) binary(#32768) fail(RESERVED_OPCODE)"},

    /* Memory is paid for with traffic, whatever a header declares. */
    {"< 827f0000000040000000 'abcdefghij'", ""},
    {"< 027f0000000040000000 #100000", ""},
    {"< 0201 'a' 007f0000000040000000 'abcdefghij'", ""},
};

#endif /* UVWS_TEST_MESSAGE_CASES_H_ */
