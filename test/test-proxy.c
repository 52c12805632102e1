/* What a proxy says in, what it is told and what becomes of it out: each talk
 * is held with the proxy's bytes whole, one by one, and cut in two everywhere;
 * how they are split must never matter. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/proxy.h"
#include "uvws.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { STEPS = 3, MAX_HEAD = 200, MAX_HEADERS = 4 };

typedef struct bytes_s {
  const char* at;
  size_t len;
} bytes_t;

#define BYTES(s) \
  { s, sizeof(s) - 1 }

#define TEN(x) x x x x x x x x x x

/* 255 and 256 bytes. */
#define FIFTY   TEN("abcde")
#define LONGEST FIFTY FIFTY FIFTY FIFTY FIFTY "fghij"
#define TOOLONG LONGEST "k"

/* ---- whom we ask, and for what ---- */

#define LIMITS .max_head = MAX_HEAD, .max_headers = MAX_HEADERS

static const uint8_t ipv4[] = {127, 0, 0, 1};
static const uint8_t ipv6[] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0,
                               0,    0, 0,   0,    0, 0, 0, 1};

static const uvws__proxy_request_t http = {UVWS__PROXY_HTTP, "example.com", 80,
                                           LIMITS};
static const uvws__proxy_request_t socks = {UVWS__PROXY_SOCKS5, "example.com",
                                            80, LIMITS};
static const uvws__proxy_request_t socks_user = {
    UVWS__PROXY_SOCKS5, "example.com",        80,
    .username = "user", .password = "secret", LIMITS};

/* ---- a talk ---- */

typedef struct talk_case_s {
  const char* name;
  const uvws__proxy_request_t* request;
  bytes_t hear[STEPS]; /* up to the first without bytes */
  bytes_t say[STEPS];  /* before each of these; not looked at when NULL */
  uvws__talk_status_t status;
  uvws__failure_t failure;
  const char* detail;
  size_t left; /* of the last step, when the proxy has stepped aside */
} talk_case_t;

enum { WHOLE = 0, ONE_BY_ONE = -1 }; /* else where to cut */

static void complain(const talk_case_t* c, long cut) {
  print_error("%s, %s %ld: ", c->name, "cut at", cut);
}

static void check_said(const talk_case_t* c, const uvws__talk_t* talk,
                       unsigned step) {
  size_t len;
  const void* said = uvws__talk_say(talk, &len);
  if (c->say[step].at == NULL) return;
  if (len != c->say[step].len) complain(c, (long)step);
  assert_int_equal(len, c->say[step].len);
  assert_memory_equal(said, c->say[step].at, len);
}

/* How many of `len` bytes come together, `at` being how many came before. */
static size_t piece_of(size_t len, size_t at, long cut) {
  if (cut == ONE_BY_ONE) return 1;
  size_t first = (size_t)cut > at ? (size_t)cut - at : len;
  return first < len ? first : len;
}

/* From a block of just its size. */
static uvws__talk_status_t feed(uvws__talk_t* talk, const char* bytes,
                                size_t len, size_t* used,
                                uvws__failure_t* failure) {
  uint8_t* copy = malloc(len);
  assert_non_null(copy);
  memcpy(copy, bytes, len);
  uvws__talk_status_t status = uvws__talk_feed(talk, copy, len, used, failure);
  free(copy);
  return status;
}

static void check_end(const talk_case_t* c, const uvws__talk_t* talk,
                      uvws__talk_status_t status, uvws__failure_t failure,
                      size_t left, long cut) {
  if (status != c->status || failure != c->failure ||
      strcmp(uvws__talk_detail(talk), c->detail) != 0)
    complain(c, cut);
  assert_int_equal(status, c->status);
  assert_int_equal(failure, c->failure);
  assert_string_equal(uvws__talk_detail(talk), c->detail);
  if (status != UVWS__TALK_DONE) return;
  if (left != c->left) complain(c, cut);
  assert_int_equal(left, c->left);
}

static void hold(const talk_case_t* c, long cut) {
  uvws__talk_t* talk = uvws__talk_new(c->request);
  uvws__talk_status_t status = UVWS__TALK_SAY;
  uvws__failure_t failure = UVWS__OK;
  size_t at = 0, left = 0;
  assert_non_null(talk);
  for (unsigned i = 0; i < STEPS && c->hear[i].at != NULL; i++) {
    if (status != UVWS__TALK_SAY || left != 0) complain(c, cut);
    assert_int_equal(status, UVWS__TALK_SAY);
    assert_int_equal(left, 0);
    check_said(c, talk, i);
    status = UVWS__TALK_MORE;
    left = c->hear[i].len;
    while (left > 0 && status == UVWS__TALK_MORE) {
      size_t used = 0, len = piece_of(left, at, cut);
      status = feed(talk, c->hear[i].at + c->hear[i].len - left, len, &used,
                    &failure);
      at += used;
      left -= used;
      assert_true(used <= len);
      if (status == UVWS__TALK_MORE) assert_int_equal(used, len);
    }
  }
  check_end(c, talk, status, failure, left, cut);
  uvws__talk_free(talk);
}

static void hold_all(const talk_case_t* cases, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t len = 0;
    for (unsigned j = 0; j < STEPS; j++) len += cases[i].hear[j].len;
    hold(&cases[i], WHOLE);
    hold(&cases[i], ONE_BY_ONE);
    for (size_t cut = 1; cut < len; cut++) hold(&cases[i], (long)cut);
  }
}

#define DONE    UVWS__TALK_DONE, UVWS__OK, ""
#define MORE    UVWS__TALK_MORE, UVWS__OK, "", 0
#define REFUSED UVWS__TALK_FAILED, UVWS__FAIL_PROXY_REFUSED
#define WANTS   UVWS__TALK_FAILED, UVWS__FAIL_PROXY_CREDENTIALS
#define BROKEN  UVWS__TALK_FAILED, UVWS__FAIL_PROXY_ANSWER, "", 0

/* ---- HTTP: RFC 9110, 9.3.6 ---- */

#define OK  "HTTP/1.1 200 Connection established\r\n"
#define END "\r\n"

#define HTTP(name, bytes, ...) \
  { name, &http, {BYTES(bytes)}, {{NULL, 0}}, __VA_ARGS__ }

static const talk_case_t http_cases[] = {
    HTTP("200", OK END, DONE, 0),
    HTTP("200 and a header", OK "Via: 1.1 x\r\n" END, DONE, 0),
    HTTP("no reason", "HTTP/1.1 200\r\n" END, DONE, 0),
    HTTP("201", "HTTP/1.1 201 Created\r\n" END, DONE, 0),
    HTTP("204", "HTTP/1.1 204 No Content\r\n" END, DONE, 0),
    HTTP("299", "HTTP/1.1 299 Fine\r\n" END, DONE, 0),
    HTTP("HTTP/1.0", "HTTP/1.0 200 OK\r\n" END, DONE, 0),
    HTTP("HTTP/1.0 that closes",
         "HTTP/1.0 200 OK\r\nConnection: close\r\nProxy-Agent: x\r\n" END, DONE,
         0),
    HTTP("200 to an upgrade",
         OK "Upgrade: x\r\nConnection: upgrade\r\n" END "z", DONE, 1),

    /* The server's bytes are nobody else's, however the head is worded. */
    HTTP("200 and bytes", OK END "\r\n\x16\x03\x01", DONE, 5),
    HTTP("a body that is none", OK "Content-Length: 5\r\n" END "12345", DONE,
         5),
    HTTP("an empty body", OK "Content-Length: 0\r\n" END "12345", DONE, 5),
    HTTP("chunks that are none",
         OK "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n", DONE, 5),
    HTTP("204 and bytes", "HTTP/1.1 204 No Content\r\n" END "x", DONE, 1),

    /* RFC 9110, 15.2: passed over, but 101. */
    HTTP("100 first", "HTTP/1.1 100 Continue\r\n" END OK END "x", DONE, 1),
    HTTP("hints first",
         "HTTP/1.1 103 Hints\r\nLink: x\r\n" END
         "HTTP/1.1 102 Processing\r\n" END OK END,
         DONE, 0),
    HTTP("100 alone", "HTTP/1.1 100 Continue\r\n" END, MORE),
    HTTP("100 before a refusal",
         "HTTP/1.1 100 Continue\r\n" END "HTTP/1.1 502 Bad\r\n" END, REFUSED,
         "502", 0),
    HTTP("101", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n" END, REFUSED, "101",
         0),

    HTTP("300", "HTTP/1.1 300 Choices\r\n" END, REFUSED, "300", 0),
    HTTP("302", "HTTP/1.1 302 Found\r\nLocation: /\r\n" END, REFUSED, "302", 0),
    HTTP("400", "HTTP/1.1 400 Bad\r\n" END, REFUSED, "400", 0),
    HTTP("403", "HTTP/1.1 403 No\r\nContent-Length: 4\r\n" END "body", REFUSED,
         "403", 0),
    HTTP("407",
         "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\n" END,
         WANTS, "407", 0),
    HTTP("401", "HTTP/1.1 401 Who\r\n" END, REFUSED, "401", 0),
    HTTP("502", "HTTP/1.1 502 Bad Gateway\r\n" END, REFUSED, "502", 0),
    HTTP("504 of HTTP/1.0", "HTTP/1.0 504 Late\r\n" END, REFUSED, "504", 0),
    HTTP("a refusal whose body makes no sense",
         "HTTP/1.1 403 No\r\nContent-Length: x\r\n" END, REFUSED, "403", 0),
    HTTP("a challenge whose body makes no sense",
         "HTTP/1.1 407 No\r\nContent-Length: x\r\n" END, WANTS, "407", 0),

    HTTP("an answer that goes on", OK, MORE),
    HTTP("an answer without its last byte", OK "\r", MORE),
    HTTP("SOCKS", "\5\0", BROKEN),
    HTTP("TLS", "\x15\x03\x01\0\2\2\x46", BROKEN),
    HTTP("SSH", "SSH-2.0-OpenSSH_9.2p1\r\n", BROKEN),
    HTTP("a page", "<html>", BROKEN),
    HTTP("a request", "GET / HTTP/1.1\r\n" END, BROKEN),
    HTTP("an empty line first", "\r\n" OK END, BROKEN),
    HTTP("no CR", "HTTP/1.1 200 OK\n\n", BROKEN),
    HTTP("a folded line", OK "A: b\r\n c\r\n" END, BROKEN),
    HTTP("a header without a name", OK ": b\r\n" END, BROKEN),

    HTTP("four headers", OK "A:\r\nB:\r\nC:\r\nD:\r\n" END "x", DONE, 1),
    HTTP("five headers", OK "A:\r\nB:\r\nC:\r\nD:\r\nE:\r\n" END, BROKEN),
    /* 37 + 2 + 159 + 2 bytes. */
    HTTP("200 bytes",
         OK "A:" TEN("0123456789") FIFTY "0123456"
                                         "\r\n" END "x",
         DONE, 1),
    HTTP("201 bytes",
         OK "A:" TEN("0123456789") FIFTY "01234567"
                                         "\r\n" END,
         BROKEN),
    HTTP("201 bytes with a head that was passed over",
         "HTTP/1.1 100 Continue\r\n" END OK "A:" TEN("0123456789")
             TEN("abc") "012\r\n" END,
         BROKEN),
};

static void test_http(void** state) {
  (void)state;
  hold_all(http_cases, COUNT_OF(http_cases));
}

/* "A client MUST ignore any Content-Length or Transfer-Encoding": also those
 * that would be an error elsewhere. */
static void test_http_with_bodies_at_odds(void** state) {
  static const talk_case_t cases[] = {
      HTTP("a body of both kinds",
           OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END "1",
           DONE, 1),
      HTTP("a body of either kind",
           OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "1",
           DONE, 1),
      HTTP("two bodies",
           OK "Content-Length: 5\r\nContent-Length: 6\r\n" END "1", DONE, 1),
  };
  (void)state;
  hold_all(cases, COUNT_OF(cases));
}

/* ---- SOCKS: RFC 1928 and 1929 ---- */

#define ANY      "\5\1\0"   /* no authentication */
#define ANY_USER "\5\2\0\2" /* that, or a password */
#define PASSWORD "\1\4user\6secret"
#define CONNECT \
  "\5\1\0\3\xb" \
  "example.com\0\x50"
#define BOUND "\5\0\0\1\x7f\0\0\1\0\x50"

/* The last step, when what comes before is as it should be. */
#define REPLY(name, bytes, ...)                                                \
  {                                                                            \
    name, &socks, {BYTES("\5\0"), BYTES(bytes)}, {BYTES(ANY), BYTES(CONNECT)}, \
        __VA_ARGS__                                                            \
  }

#define METHOD(name, request, bytes, ...) \
  { name, request, {BYTES(bytes)}, {{NULL, 0}}, __VA_ARGS__ }

#define CHECKED(name, bytes, ...)                       \
  {                                                     \
    name, &socks_user, {BYTES("\5\2"), BYTES(bytes)},   \
        {BYTES(ANY_USER), BYTES(PASSWORD)}, __VA_ARGS__ \
  }

static const talk_case_t socks_cases[] = {
    REPLY("no authentication", BOUND, DONE, 0),
    REPLY("bytes behind", BOUND "\x16\x03\x01", DONE, 3),
    REPLY("an answer behind the answer", BOUND BOUND, DONE, 10),
    {"a password that is not asked for",
     &socks_user,
     {BYTES("\5\0"), BYTES(BOUND)},
     {BYTES(ANY_USER), BYTES(CONNECT)},
     DONE,
     0},
    {"a password",
     &socks_user,
     {BYTES("\5\2"), BYTES("\1\0"), BYTES(BOUND "x")},
     {BYTES(ANY_USER), BYTES(PASSWORD), BYTES(CONNECT)},
     DONE,
     1},
    CHECKED("a wrong password", "\1\1", WANTS, "", 0),
    CHECKED("another wrong password", "\1\xff", WANTS, "", 0),
    CHECKED("a password's answer of another version", "\5\0", BROKEN),
    CHECKED("half a password's answer", "\1", MORE),

    METHOD("nothing acceptable", &socks, "\5\xff", WANTS, "", 0),
    METHOD("nothing acceptable with a password", &socks_user, "\5\xff", WANTS,
           "", 0),
    METHOD("GSSAPI", &socks_user, "\5\1", WANTS, "", 0),
    METHOD("a method of nobody's", &socks, "\5\x80", WANTS, "", 0),
    METHOD("a password though we have none", &socks, "\5\2", BROKEN),
    METHOD("SOCKS 4", &socks, "\4\0", BROKEN),
    METHOD("SOCKS 4's answer", &socks, "\0\x5a\0\0\0\0\0\0", BROKEN),
    METHOD("HTTP", &socks, "HTTP/1.1 400 Bad\r\n\r\n", BROKEN),
    METHOD("half a method", &socks, "\5", MORE),

    REPLY("an IPv6 address",
          "\5\0\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\x50"
          "x",
          DONE, 1),
    REPLY("a name", "\5\0\0\3\3abc\0\x50xy", DONE, 2),
    REPLY("a name of no length", "\5\0\0\3\0\0\x50x", DONE, 1),
    REPLY("the longest name", "\5\0\0\3\xff" LONGEST "\0\x50x", DONE, 1),
    REPLY("an IPv4 address but for a byte", "\5\0\0\1\x7f\0\0\1\0", MORE),
    REPLY("an IPv6 address but for a byte",
          "\5\0\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0", MORE),
    REPLY("a name but for a byte", "\5\0\0\3\3abc\0", MORE),
    REPLY("the longest name but for a byte", "\5\0\0\3\xff" LONGEST "\0", MORE),
    REPLY("no length yet", "\5\0\0\3", MORE),

    REPLY("1", "\5\1\0\1\0\0\0\0\0\0", REFUSED, "general failure", 0),
    REPLY("2", "\5\2\0\1\0\0\0\0\0\0", REFUSED, "not allowed by its rules", 0),
    REPLY("3", "\5\3\0\1\0\0\0\0\0\0", REFUSED, "network unreachable", 0),
    REPLY("4", "\5\4\0\1\0\0\0\0\0\0", REFUSED, "host unreachable", 0),
    REPLY("5", "\5\5\0\1\0\0\0\0\0\0", REFUSED, "connection refused", 0),
    REPLY("6", "\5\6\0\1\0\0\0\0\0\0", REFUSED, "time to live expired", 0),
    REPLY("7", "\5\7\0\1\0\0\0\0\0\0", REFUSED, "command not supported", 0),
    REPLY("8", "\5\x8\0\1\0\0\0\0\0\0", REFUSED, "address type not supported",
          0),
    REPLY("9", "\5\x9\0\1\0\0\0\0\0\0", REFUSED, "reply 9", 0),
    REPLY("255", "\5\xff\0\1\0\0\0\0\0\0", REFUSED, "reply 255", 0),
    /* Some hang up behind these. */
    REPLY("a refusal of two bytes", "\5\5", REFUSED, "connection refused", 0),
    REPLY("a refusal of four bytes", "\5\2\0\1", REFUSED,
          "not allowed by its rules", 0),
    REPLY("a refusal with half an address", "\5\4\0\1\0\0", REFUSED,
          "host unreachable", 0),
    REPLY("a refusal with an unknown address", "\5\x8\0\0", REFUSED,
          "address type not supported", 0),
    REPLY("another version", "\4\0\0\1\x7f\0\0\1\0\x50", BROKEN),
    REPLY("one byte of another version", "\0", BROKEN),
    REPLY("HTTP behind the method", "HTTP", BROKEN),
};

static void test_socks(void** state) {
  (void)state;
  hold_all(socks_cases, COUNT_OF(socks_cases));
}

/* Of an unknown type nobody knows where it ends: no byte behind it may be
 * waited for. */
static void test_addresses_of_unknown_types(void** state) {
  static const talk_case_t cases[] = {
      REPLY("an address of type 0", "\5\0\0\0\x7f\0\0\1\0\x50", BROKEN),
      REPLY("an address of type 2", "\5\0\0\2\x7f\0\0\1\0\x50", BROKEN),
      REPLY("an address of type 5", "\5\0\0\5\x7f\0\0\1\0\x50", BROKEN),
  };
  (void)state;
  hold_all(cases, COUNT_OF(cases));
}

/* Who answers what was not asked yet: together with the answer before it, where
 * it cannot be an answer. */
static void test_answers_that_come_too_early(void** state) {
  static const struct {
    const uvws__proxy_request_t* request;
    bytes_t before, early;
  } cases[] = {
      {&socks, {NULL, 0}, BYTES("\5\0\5")},
      {&socks, {NULL, 0}, BYTES("\5\0" BOUND)},
      {&socks_user, {NULL, 0}, BYTES("\5\2\1")},
      {&socks_user, {NULL, 0}, BYTES("\5\2\1\0")},
      {&socks_user, BYTES("\5\2"), BYTES("\1\0\5")},
      {&socks_user, BYTES("\5\2"), BYTES("\1\0" BOUND)},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    uvws__talk_t* talk = uvws__talk_new(cases[i].request);
    uvws__failure_t failure;
    size_t used;
    if (cases[i].before.len > 0)
      assert_int_equal(
          feed(talk, cases[i].before.at, cases[i].before.len, &used, &failure),
          UVWS__TALK_SAY);
    assert_int_equal(
        feed(talk, cases[i].early.at, cases[i].early.len, &used, &failure),
        UVWS__TALK_FAILED);
    assert_int_equal(failure, UVWS__FAIL_PROXY_ANSWER);
    uvws__talk_free(talk);
  }
}

/* ---- what is said ---- */

#define CONNECT_TO(authority) \
  "CONNECT " authority " HTTP/1.1\r\nHost: " authority "\r\n"
#define BASIC(base64) "Proxy-Authorization: Basic " base64 "\r\n"

static const struct {
  uvws__proxy_request_t request;
  bytes_t first;
} requests[] = {
    {{UVWS__PROXY_HTTP, "example.com", 80, LIMITS},
     BYTES(CONNECT_TO("example.com:80") END)},
    {{UVWS__PROXY_HTTP, "example.com", 65535, LIMITS},
     BYTES(CONNECT_TO("example.com:65535") END)},
    {{UVWS__PROXY_HTTP, "127.0.0.1", 443, ipv4, 4, LIMITS},
     BYTES(CONNECT_TO("127.0.0.1:443") END)},
    {{UVWS__PROXY_HTTP, "2001:db8::1", 443, ipv6, 16, LIMITS},
     BYTES(CONNECT_TO("[2001:db8::1]:443") END)},
    {{UVWS__PROXY_HTTP, LONGEST, 65535, LIMITS},
     BYTES(CONNECT_TO(LONGEST ":65535") END)},
    /* RFC 7617, 2 and 2.1. */
    {{UVWS__PROXY_HTTP, "a", 1, NULL, 0, "Aladdin", "open sesame", LIMITS},
     BYTES(CONNECT_TO("a:1") BASIC("QWxhZGRpbjpvcGVuIHNlc2FtZQ==") END)},
    {{UVWS__PROXY_HTTP, "a", 1, NULL, 0, "test", "123\xc2\xa3", LIMITS},
     BYTES(CONNECT_TO("a:1") BASIC("dGVzdDoxMjPCow==") END)},
    {{UVWS__PROXY_HTTP, "a", 1, NULL, 0, "user", "", LIMITS},
     BYTES(CONNECT_TO("a:1") BASIC("dXNlcjo=") END)},
    {{UVWS__PROXY_HTTP, "a", 1, NULL, 0, "", "a:b", LIMITS},
     BYTES(CONNECT_TO("a:1") BASIC("OmE6Yg==") END)},
    {{UVWS__PROXY_SOCKS5, "a", 1, LIMITS}, BYTES(ANY)},
    {{UVWS__PROXY_SOCKS5, "a", 1, NULL, 0, "u", "p", LIMITS}, BYTES(ANY_USER)},
};

static void test_what_is_said_first(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(requests); i++) {
    uvws__talk_t* talk = uvws__talk_new(&requests[i].request);
    size_t len;
    assert_non_null(talk);
    const void* said = uvws__talk_say(talk, &len);
    assert_int_equal(len, requests[i].first.len);
    assert_memory_equal(said, requests[i].first.at, len);
    uvws__talk_free(talk);
  }
}

#define SOCKS_TO(name, host, port, address, len, bytes)                    \
  {                                                                        \
    name,                                                                  \
        &(const uvws__proxy_request_t){                                    \
            UVWS__PROXY_SOCKS5, host, port, address, len, LIMITS},         \
        {BYTES("\5\0"), BYTES(BOUND)}, {BYTES(ANY), BYTES(bytes)}, DONE, 0 \
  }

static void test_what_a_socks_proxy_is_asked(void** state) {
  const talk_case_t cases[] = {
      SOCKS_TO("a name", "a.b", 443, NULL, 0, "\5\1\0\3\3a.b\1\xbb"),
      SOCKS_TO("the longest name", LONGEST, 65535, NULL, 0,
               "\5\1\0\3\xff" LONGEST "\xff\xff"),
      SOCKS_TO("IPv4", "127.0.0.1", 80, ipv4, 4, "\5\1\0\1\x7f\0\0\1\0\x50"),
      SOCKS_TO("IPv6", "2001:db8::1", 256, ipv6, 16,
               "\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\0"),
      {"the longest credentials",
       &(const uvws__proxy_request_t){UVWS__PROXY_SOCKS5, "a", 1, NULL, 0,
                                      LONGEST, LONGEST, LIMITS},
       {BYTES("\5\2"), BYTES("\1\0"), BYTES(BOUND)},
       {BYTES(ANY_USER), BYTES("\1\xff" LONGEST "\xff" LONGEST),
        BYTES("\5\1\0\3\1a\0\1")},
       DONE,
       0},
  };
  (void)state;
  hold_all(cases, COUNT_OF(cases));
}

/* ---- credentials ---- */

static const struct {
  const char* username;
  const char* password;
  bool http;
  bool socks;
} credentials[] = {
    {"user", "password", true, true},
    {"u", "p", true, true},
    {"", "p", true, false},
    {"u", "", true, false},
    {"", "", true, false},
    {LONGEST, LONGEST, true, true},
    {TOOLONG, "p", true, false},
    {"u", TOOLONG, true, false},
    {"u:", "p", false, true},
    {":", "p", false, true},
    {"u", ":p:", true, true},
    {"u v", " p ", true, true},
    {"\xc3\xbc", "\xc3\x9f", true, true},
    /* RFC 7617, 2: CTL, which is all below the space, and DEL. */
    {"u\x1f", "p", false, true},
    {"\x01", "p", false, true},
    {"u", "p\n", false, true},
    {"u", "\x1f", false, true},
    {"u\x7f", "p", false, true},
    {"u", "p\x7f", false, true},
};

static void test_credentials(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(credentials); i++) {
    const char* username = credentials[i].username;
    const char* password = credentials[i].password;
    print_message("%zu\n", i);
    assert_int_equal(
        uvws__credentials_are_valid(UVWS__PROXY_HTTP, username, password),
        credentials[i].http);
    assert_int_equal(
        uvws__credentials_are_valid(UVWS__PROXY_SOCKS5, username, password),
        credentials[i].socks);
  }
}

/* ---- memory ---- */

static unsigned fail_at; /* the allocation from now that fails; 0: none */
static int allocations;

static void* failing_malloc(size_t size) {
  void* ptr = fail_at > 0 && --fail_at == 0 ? NULL : malloc(size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_calloc(size_t n, size_t size) {
  void* ptr = fail_at > 0 && --fail_at == 0 ? NULL : calloc(n, size);
  allocations += ptr != NULL;
  return ptr;
}

static void* failing_realloc(void* ptr, size_t size) {
  if (fail_at > 0 && --fail_at == 0) return NULL;
  allocations += ptr == NULL;
  return realloc(ptr, size);
}

static void failing_free(void* ptr) {
  allocations -= ptr != NULL;
  free(ptr);
}

/* A talk of which the n-th allocation fails: false when it has fewer. */
static bool starve(const talk_case_t* c, unsigned n) {
  uvws__failure_t failure = UVWS__OK;
  size_t used;
  fail_at = n;
  uvws__talk_t* talk = uvws__talk_new(c->request);
  for (unsigned i = 0; talk != NULL && failure == UVWS__OK && i < STEPS; i++)
    if (c->hear[i].at != NULL)
      uvws__talk_feed(talk, (const uint8_t*)c->hear[i].at, c->hear[i].len,
                      &used, &failure);
  bool failed = fail_at == 0;
  fail_at = 0;
  if (failed && talk != NULL)
    assert_int_equal(failure, UVWS__FAIL_NO_MEMORY);
  else if (!failed)
    assert_int_equal(failure, UVWS__OK);
  uvws__talk_free(talk);
  assert_int_equal(allocations, 0);
  return failed;
}

static void test_any_allocation_may_fail(void** state) {
  const talk_case_t cases[] = {
      HTTP("HTTP", OK "A: b\r\n" END, DONE, 0),
      {"HTTP with a password",
       &(const uvws__proxy_request_t){UVWS__PROXY_HTTP, "a", 1, NULL, 0, "u",
                                      "p", LIMITS},
       {BYTES(OK "A: b\r\n" END)},
       {{NULL, 0}},
       DONE,
       0},
      {"SOCKS",
       &socks_user,
       {BYTES("\5\2"), BYTES("\1\0"), BYTES(BOUND)},
       {{NULL, 0}},
       DONE,
       0},
  };
  (void)state;
  allocations = 0;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    unsigned n = 1;
    while (starve(&cases[i], n)) n++;
    assert_true(n > 3);
  }
}

static int replace_allocator(void** state) {
  (void)state;
  return uvws_replace_allocator(failing_malloc, failing_realloc, failing_calloc,
                                failing_free);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_http),
      cmocka_unit_test(test_http_with_bodies_at_odds),
      cmocka_unit_test(test_socks),
      cmocka_unit_test(test_addresses_of_unknown_types),
      cmocka_unit_test(test_answers_that_come_too_early),
      cmocka_unit_test(test_what_is_said_first),
      cmocka_unit_test(test_what_a_socks_proxy_is_asked),
      cmocka_unit_test(test_credentials),
      cmocka_unit_test(test_any_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, replace_allocator, NULL);
}
