#include "cases.h"

#include <uvws.h>

/* Each case shortens the one limit that it is about. The others stay at tens of
 * seconds: a busy machine does not meet them, and an event that came from a
 * wrong one would come too LATE. */

enum { SHORT = 1500, ODD = 10000, LATE = 20000, MESSAGE = 10000000 };

#define SET(member, value) \
  { offsetof(uvws_options_t, member), value }
#define PINGS \
  { SET(ping_interval, SHORT / 3), SET(ping_timeout, SHORT) }

/* What comes of it. */
#define OPENS  .events = "open close", .timed = "open", .code = 1000
#define ECHOES .events = "open whole close", .timed = "whole", .code = 1000
#define FAILS(s, r) \
  .events = "error close", .timed = "error", .status = s, .reason = r
#define IS_LOST(s, r) \
  .events = "open error close", .timed = "error", .status = s, .reason = r

#define CONNECT_TIMEOUT   "connecting took too long"
#define HANDSHAKE_TIMEOUT "the opening handshake took too long"
#define CLOSE_TIMEOUT     "the closing handshake took too long"
#define PING_TIMEOUT      "no answer to a ping"
#define SEND_TIMEOUT      "the peer took nothing"

const case_t cases[] = {
    /* An address that refuses costs no delay, */
    {"refused-first",
     {SET(attempt_delay, ODD)},
     {{OPEN, "goodbye"}},
     OPENS,
     .most = ODD - 1},
    {"refused-ipv4-first",
     {SET(attempt_delay, ODD)},
     {{OPEN, "goodbye"}},
     OPENS,
     .most = ODD - 1},
    {"ipv6-unreachable",
     {SET(attempt_delay, ODD)},
     {{OPEN, "goodbye"}},
     OPENS,
     .most = ODD - 1},
    {"ipv6-no-route",
     {SET(attempt_delay, ODD)},
     {{OPEN, "goodbye"}},
     OPENS,
     .most = ODD - 1},
    /* one that swallows everything costs one. */
    {"ipv6-black-hole",
     {SET(attempt_delay, 500)},
     {{OPEN, "goodbye"}},
     OPENS,
     .least = 250,
     .most = LATE},
    {"black-hole-first",
     {SET(attempt_delay, 500)},
     {{OPEN, "goodbye"}},
     OPENS,
     .least = 250,
     .most = LATE},
    {"two-black-holes-first",
     {SET(attempt_delay, 500)},
     {{OPEN, "goodbye"}},
     OPENS,
     .least = 500,
     .most = LATE},
    /* Only addresses of its family are tried. */
    {"local-address",
     {SET(attempt_delay, ODD)},
     {{OPEN, "goodbye"}},
     .local = "10.77.1.2",
     OPENS,
     .most = ODD - 1},
    /* What the last one said is the status. */
    {"all-dead",
     {SET(attempt_delay, ODD)},
     FAILS(UV_EHOSTUNREACH, NULL),
     .tells = true,
     .most = ODD - 1},
    {"all-black-holes",
     {SET(connect_timeout, SHORT)},
     FAILS(UVWS_ETIMEOUT, CONNECT_TIMEOUT),
     .tells = true,
     .least = SHORT / 2,
     .most = LATE},
    {"lookup-terminated",
     .steps = {{LOOKUP, "hang"},
               {LATER, "terminate"},
               {CLOSED, "wait"},
               {LATER, "answer"}},
     .events = "close", .timed = "close", .status = UV_ECANCELED, .most = LATE},
    {"lookup-hangs",
     {SET(connect_timeout, SHORT)},
     {{LOOKUP, "hang"}, {CLOSED, "wait"}, {LATER, "answer"}},
     FAILS(UVWS_ETIMEOUT, CONNECT_TIMEOUT ": looking up the name"),
     .least = SHORT / 2,
     .most = LATE},

    /* The client's own link is cut. */
    {"cut-connecting",
     {SET(connect_timeout, SHORT)},
     {{LOOKUP, "cut"}},
     FAILS(UVWS_ETIMEOUT, CONNECT_TIMEOUT),
     .most = LATE},
    {"cut-upgrading",
     {SET(handshake_timeout, SHORT)},
     {{LOOKUP, "stop"}, {UPGRADING, "cut"}},
     FAILS(UVWS_ETIMEOUT, HANDSHAKE_TIMEOUT),
     .most = LATE},
    {"cut-sending",
     {SET(send_timeout, SHORT)},
     {{SENDING, "cut"}},
     MESSAGE,
     IS_LOST(UVWS_ETIMEOUT, SEND_TIMEOUT),
     .most = LATE},
    {"cut-sending-pings",
     PINGS,
     {{SENDING, "cut"}},
     MESSAGE,
     IS_LOST(UVWS_ETIMEOUT, PING_TIMEOUT),
     .most = LATE},
    {"cut-receiving",
     PINGS,
     {{RECEIVING, "cut"}},
     MESSAGE,
     IS_LOST(UVWS_ETIMEOUT, PING_TIMEOUT),
     .most = LATE},
    {"cut-closing",
     {SET(close_timeout, SHORT)},
     {{OPEN, "goodbye"}, {CLOSING, "cut"}},
     IS_LOST(UVWS_ETIMEOUT, CLOSE_TIMEOUT),
     .most = LATE},
    {"cut-idle",
     PINGS,
     {{OPEN, "cut"}},
     IS_LOST(UVWS_ETIMEOUT, PING_TIMEOUT),
     .least = SHORT / 2,
     .most = LATE},
    /* libuv has the kernel ask ten times, once a second. */
    {"cut-idle-keepalive",
     {SET(ping_interval, 0), SET(tcp_keepalive, 1)},
     {{OPEN, "cut"}},
     IS_LOST(UV_ETIMEDOUT, NULL),
     .least = LATE / 4,
     .most = 2 * LATE},
    /* Once both close frames were seen, a lost FIN is no error. */
    {"cut-answering-close",
     {SET(close_timeout, SHORT)},
     {{OPEN, "term"}, {CLOSE_CAME, "cut"}},
     .events = "open close",
     .timed = "close",
     .code = 1001,
     .most = LATE},
    {"cut-and-restored",
     .steps = {{SENDING, "cut"},
               {LATER, "restore"},
               {RECEIVING, "cut"},
               {LATER, "restore"},
               {WHOLE, "goodbye"}},
     .bytes = MESSAGE, ECHOES, .most = 2 * LATE},

    /* 100 ms each way; frames are lost, or stand still for a while. */
    {"far", .steps = {{WHOLE, "goodbye"}}, .bytes = MESSAGE / 10, ECHOES,
     .least = 600, .most = 2 * LATE},
    {"far-lossy", .steps = {{WHOLE, "goodbye"}}, .bytes = MESSAGE / 10, ECHOES,
     .least = 600, .most = 4 * LATE},
    {"far-stalled", .steps = {{WHOLE, "goodbye"}}, .bytes = MESSAGE / 10,
     ECHOES, .least = 600, .most = 4 * LATE},

    /* The server's process is killed: the kernel says FIN for it, or RST when
     * there was something that nobody had read. */
    {"killed-upgrading",
     .steps = {{LOOKUP, "stop"}, {UPGRADING, "wait"}, {LATER, "kill"}},
     FAILS(UV_ECONNRESET, NULL), .most = LATE},
    {"killed-idle", .steps = {{OPEN, "kill"}}, IS_LOST(UV_EOF, NULL),
     .most = LATE},
    {"killed-sending", .steps = {{SENDING, "stop"}, {LATER, "kill"}},
     .bytes = MESSAGE, IS_LOST(UV_ECONNRESET, NULL), .most = LATE},
    {"killed-receiving", .steps = {{RECEIVING, "kill"}}, .bytes = MESSAGE,
     IS_LOST(UV_EOF, NULL), .most = LATE},
    {"killed-closing",
     .steps = {{OPEN, "stop"}, {LATER, "goodbye"}, {LATER, "kill"}},
     IS_LOST(UV_ECONNRESET, NULL), .most = LATE},

    /* The server's machine is gone, and nobody says so. */
    {"vanished-connecting",
     {SET(connect_timeout, SHORT)},
     {{LOOKUP, "vanish"}},
     FAILS(UVWS_ETIMEOUT, CONNECT_TIMEOUT),
     .most = LATE},
    {"vanished-upgrading",
     {SET(handshake_timeout, SHORT)},
     {{LOOKUP, "stop"}, {UPGRADING, "vanish"}},
     FAILS(UVWS_ETIMEOUT, HANDSHAKE_TIMEOUT),
     .most = LATE},
    {"vanished-idle",
     PINGS,
     {{OPEN, "vanish"}},
     IS_LOST(UVWS_ETIMEOUT, PING_TIMEOUT),
     .most = LATE},
    {"vanished-sending",
     {SET(send_timeout, SHORT)},
     {{SENDING, "vanish"}},
     MESSAGE,
     IS_LOST(UVWS_ETIMEOUT, SEND_TIMEOUT),
     .most = LATE},
    {"vanished-receiving",
     PINGS,
     {{RECEIVING, "vanish"}},
     MESSAGE,
     IS_LOST(UVWS_ETIMEOUT, PING_TIMEOUT),
     .most = LATE},
    {"vanished-closing",
     {SET(close_timeout, SHORT)},
     {{OPEN, "goodbye"}, {CLOSING, "vanish"}},
     IS_LOST(UVWS_ETIMEOUT, CLOSE_TIMEOUT),
     .most = LATE},
    /* Or it is back, and knows nothing of the connection. */
    {"rebooted-idle",
     {SET(ping_interval, SHORT / 3)},
     {{OPEN, "reboot"}},
     IS_LOST(UV_ECONNRESET, NULL),
     .most = LATE},
    {"rebooted-sending", .steps = {{SENDING, "reboot"}}, .bytes = MESSAGE,
     IS_LOST(UV_ECONNRESET, NULL), .most = LATE},
    {.name = NULL},
};
