#ifndef UVWS_TEST_DEFLATE_CASES_H_
#define UVWS_TEST_DEFLATE_CASES_H_

/* What a peer may send once permessage-deflate was agreed on, its context taken
 * over, and what the receiver is to make of it; the notation is receive.h's. */

#include "receive.h"

static const case_t cases[] = {
    /* RFC 7692, 7.2.3.1: one block, whole and in fragments */
    {"c107 f248cdc9c90700", "text(Hello)"},
    {"4103 f248cd 8004 c9c90700", "text(Hello)"},
    {"4101 f2 000148 0001cd 0001c9 0001c9 000107 800100", "text(Hello)"},
    {"4100 0007 f248cdc9c90700 8000", "text(Hello)"},
    {"4103 f248cd 8901 'x' 8004 c9c90700 8a00", "ping(x) text(Hello) pong()"},
    /* 7.2.3.2: sharing the window */
    {"c107 f248cdc9c90700 c107 f248cdc9c90700", "text(Hello) text(Hello)"},
    {"c107 f248cdc9c90700 c105 f200110000", "text(Hello) text(Hello)"},
    {"c207 f248cdc9c90700 8905 'World' 4203 f20011 8002 0000",
     "binary(Hello) ping(World) binary(Hello)"},
    /* 7.2.3.3: no compression */
    {"c10b 000500faff48656c6c6f00", "text(Hello)"},
    {"4105 000500faff 0002 4865 8004 6c6c6f00", "text(Hello)"},
    {"c10b 000500faff48656c6c6f00 c105 f200110000", "text(Hello) text(Hello)"},
    /* 7.2.3.4: BFINAL */
    {"c108 f348cdc9c9070000", "text(Hello)"},
    {"c108 f348cdc9c9070000 c105 f200110000", "text(Hello) text(Hello)"},
    {"c108 f348cdc9c9070000 c108 f348cdc9c9070000", "text(Hello) text(Hello)"},
    {"c10b 010500faff48656c6c6f00 c105 f200110000", "text(Hello) text(Hello)"},
    {"c10f f348cdc9c90700f348cdc9c9070000", "text(HelloHello)"},
    {"c10c f348cdc9c90700f200110000", "text(HelloHello)"},
    /* 7.2.3.5: two blocks */
    {"c10d f24805000000ffffcac9c90700", "text(Hello)"},
    {"4107 f24805000000ff 8006 ffcac9c90700", "text(Hello)"},
    {"c10d f24805000000ffffcac9c90700 c105 f200110000",
     "text(Hello) text(Hello)"},
    /* 7.2.3.6: an empty fragment; empty messages */
    {"c101 00", "text()"},
    {"c201 00 c107 f248cdc9c90700 c201 00 c105 f200110000",
     "binary() text(Hello) binary() text(Hello)"},
    {"410b f248cdc9c907000000ffff 8001 00", "text(Hello)"},
    {"4105 000000ffff 8001 00", "text()"},
    {"4105 000000ffff 0005 000000ffff 8906 'middle' 8006 000000ffff00",
     "ping(middle) text()"},
    {"4101 00 8000", "text()"},
    {"4100 8001 00", "text()"},
    /* Not all messages need be compressed (6.1), nor touch the context. */
    {"8105 'Hello' c107 f248cdc9c90700 8105 'World' c105 f200110000 8101 'a'",
     "text(Hello) text(Hello) text(World) text(Hello) text(a)"},
    {"c107 f248cdc9c90700 0103 'Hel' 8002 'lo' c105 f200110000",
     "text(Hello) text(Hello) text(Hello)"},
    {"0101 'a' 8001 'b' 4103 f248cd 8004 c9c90700", "text(ab) text(Hello)"},

    /* RFC 7692, 6: where the bit may stand; RFC 6455, 5.2: no other may */
    {"4103 f248cd c0! 04 c9c90700", "fail(RESERVED_BITS)"},
    {"4103 f248cd 40! 04 c9c90700", "fail(RESERVED_BITS)"},
    {"0103 'Hel' c0! 02", "fail(RESERVED_BITS)"},
    {"c0! 00", "fail(RESERVED_BITS)"},
    {"c8! 00", "fail(RESERVED_BITS)"},
    {"c9! 00", "fail(RESERVED_BITS)"},
    {"ca! 00", "fail(RESERVED_BITS)"},
    {"a1! 00", "fail(RESERVED_BITS)"},
    {"e1! 00", "fail(RESERVED_BITS)"},
    {"91! 00", "fail(RESERVED_BITS)"},
    {"d2! 00", "fail(RESERVED_BITS)"},
    {"c3! 00", "fail(RESERVED_OPCODE)"},
    {"4103 f248cd 41! 00", "fail(CONTINUATION_EXPECTED)"},
    {"4103 f248cd c1! 00", "fail(CONTINUATION_EXPECTED)"},
    {"c107 f248cdc9c90700 c0! 00", "text(Hello) fail(RESERVED_BITS)"},

    /* Data that is malformed fails at the first byte that shows it. */
    {"c105 07! 00000000", "fail(INFLATE)"},
    {"c105 06! 00000000", "fail(INFLATE)"},
    {"4101 07! 8000", "fail(INFLATE)"},
    {"c106 000500faf1! 48", "fail(INFLATE)"},
    {"c105 f20011! 0000", "fail(INFLATE)"},
    {"c109 f348cdc9c90700 06! 00", "fail(INFLATE)"},
    {"c107 f248cdc9c90700 c10d f24805000000fffe! cac9c90700",
     "text(Hello) fail(INFLATE)"},
    {"c105 f40000! 0000", "fail(INFLATE)"},
    {"c107 f248cdc9c90700 8101 'a' c101 07!",
     "text(Hello) text(a) fail(INFLATE)"},
    /* A message must end where another block may begin. */
    {"c100|", "fail(INFLATE)"},
    {"4100 8000|", "fail(INFLATE)"},
    {"c106 f248cdc9c907!", "fail(INFLATE)"},
    {"c105 f248cdc9c9!", "fail(INFLATE)"},
    {"c101 f2!", "fail(INFLATE)"},
    {"c103 000500!", "fail(INFLATE)"},
    {"c108 000500faff48656c!", "fail(INFLATE)"},
    {"c10b f248cdc9c907000000ffff!", "fail(INFLATE)"},
    {"410b f248cdc9c907000000ffff 8000|", "fail(INFLATE)"},
    {"c107 f348cdc9c90700!", "fail(INFLATE)"},
    {"c108 f248cdc9c9070000!", "fail(INFLATE)"},
    {"c108 f248cdc9c90700ff!", "fail(INFLATE)"},
    {"4107 f248cdc9c90700 8901 'x' 8001 ff!", "ping(x) fail(INFLATE)"},

    /* RFC 6455, 8.1: what comes out is UTF-8, and fails before it is all there
     */
    {"c10d 000100feffc3 000100feffa9 00", "text(\\c3\\a9)"},
    {"4106 000100feffc3 8900 0006 000100feffa9 8001 00",
     "ping() text(\\c3\\a9)"},
    {"c10b 000500faff6162 ff! 636400", "fail(TEXT_UTF8)"},
    {"410a 000500faff6162 ff! 6364 8001 00", "fail(TEXT_UTF8)"},
    {"4106 000100feffc3 0006 000100feff28! 8001 00", "fail(TEXT_UTF8)"},
    {"c107 000100feffc3 00!", "fail(TEXT_UTF8)"},
    {"4106 000100feffe2 8001 00!", "fail(TEXT_UTF8)"},
    {"c207 000100feffc3 00 c107 000100feff41 00", "binary(\\c3) text(A)"},

    /* RFC 6455, 10.4: limits are those of what comes out */
    {"<5 c107 f248cdc9c90700", "text(Hello)"},
    {"<4 c107 f248cdc9c907! 00", "fail(MESSAGE_TOO_BIG)"},
    {"<5 c10b 000500faff48656c6c6f00 c105 f200110000",
     "text(Hello) text(Hello)"},
    {"<4 c10b 000500faff48656c6c6f! 00", "fail(MESSAGE_TOO_BIG)"},
    {"<0 c107 f248! cdc9c90700", "fail(MESSAGE_TOO_BIG)"},
    {"<0 c101 00 8100 c201 00", "text() text() binary()"},
    {"<9 410b f248cdc9c907000000ffff 8005 f20011! 0000",
     "fail(MESSAGE_TOO_BIG)"},
    {"<10 410b f248cdc9c907000000ffff 8005 f200110000", "text(HelloHello)"},
    {"&1 4103 f248cd 8004|", "fail(TOO_MANY_FRAGMENTS)"},
    {"&2 4103 f248cd 8004 c9c90700", "text(Hello)"},
    /* Nor can empty blocks go on for ever. */
    {"<5 c17e0405 000000ffff*202 000100feff61*3 00", "text(aaa)"},
    {"<5 c17e0416|", "fail(MESSAGE_TOO_BIG)"},
    {"<5 c27e7fff|", "fail(MESSAGE_TOO_BIG)"},
    {"<5 c27f7fffffffffffffff|", "fail(MESSAGE_TOO_BIG)"},

    /* Discarding: nothing is inflated. */
    {"^ c105 0700000000 8901 'x' 8802 03e8", "ping(x) close(1000)"},
    {"4103 f248cd ^ 8004 c9c90700 8900", "ping()"},
    {"c107 f248 ^ cdc9c90700 c101 07 8900", "ping()"},
    {"^ c0! 00", "fail(RESERVED_BITS)"},
};

#endif /* UVWS_TEST_DEFLATE_CASES_H_ */
