/* Heads as bytes. Each one is fed whole, byte by byte and in two at every
 * point, always from a block of just that size that is gone after the call, so
 * that a sanitizer sees a read beyond it or a pointer kept into it. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/head.h"
#include "uvws.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A literal that may have NULs. */
#define BYTES(s) (s), sizeof(s) - 1

#define REQ UVWS__HEAD_REQUEST
#define RES UVWS__HEAD_RESPONSE
#define CON UVWS__HEAD_CONNECTED

typedef struct result_s {
  uvws__head_status_t status;
  uvws__failure_t failure;
  size_t taken;
  uvws__head_t* head;
} result_t;

static uvws__head_status_t feed_copy(uvws__head_t* head, const char* data,
                                     size_t len, size_t* used,
                                     uvws__failure_t* failure) {
  uint8_t* copy = malloc(len > 0 ? len : 1);
  uvws__head_status_t status;

  assert_non_null(copy);
  memcpy(copy, data, len);
  status = uvws__head_feed(head, copy, len, used, failure);
  free(copy);
  return status;
}

/* First `first` bytes, then pieces of `step`. */
static result_t feed(uvws__head_kind_t kind, const char* data, size_t len,
                     size_t first, size_t step, size_t max_bytes,
                     unsigned max_fields) {
  result_t result = {.head = uvws__head_new(kind, max_bytes, max_fields)};
  size_t piece = first;

  assert_non_null(result.head);
  result.status = UVWS__HEAD_MORE;
  for (size_t at = 0; at < len && result.status == UVWS__HEAD_MORE;
       at += piece, piece = step) {
    size_t used;

    if (piece > len - at) piece = len - at;
    result.status =
        feed_copy(result.head, data + at, piece, &used, &result.failure);
    if (result.status == UVWS__HEAD_MORE) assert_int_equal(used, piece);
    result.taken = at + used;
  }
  return result;
}

/* Splits the input in every way the tests know. */
static void feed_all_ways(uvws__head_kind_t kind, const char* data, size_t len,
                          size_t max_bytes, unsigned max_fields,
                          void (*check)(const result_t*, const void*),
                          const void* expected) {
  result_t result;

  for (size_t first = 0; first <= len; first++) {
    result = feed(kind, data, len, first, len, max_bytes, max_fields);
    check(&result, expected);
    uvws__head_free(result.head);
  }
  result = feed(kind, data, len, 1, 1, max_bytes, max_fields);
  check(&result, expected);
  uvws__head_free(result.head);
}

typedef struct good_s {
  uvws__head_kind_t kind;
  const char* text;
  unsigned fields;
  const char* rendered; /* start line, then each field between brackets */
  const char* tail;
} good_t;

#define STATUS_101 "HTTP/1.1 101 Switching Protocols\r\n"

static const good_t good[] = {
    {REQ, "GET / HTTP/1.1\r\n\r\n", 0, "GET / new", ""},
    {REQ, "GET / HTTP/1.0\r\n\r\n", 0, "GET / old", ""},
    {REQ, "GET /\r\n\r\n", 0, "GET / old", ""},
    {REQ, "GET / HTTP/2.0\r\n\r\n", 0, "GET / old", ""},
    {REQ, "POST /a?b=%20c HTTP/1.1\r\nHost: h\r\n\r\n", 1,
     "POST /a?b=%20c new[Host=h]", "body"},
    {REQ, "\r\n\r\nGET /chat HTTP/1.1\r\nHost: h\r\n\r\n", 1,
     "GET /chat new[Host=h]", "\x81\x80\1\2\3\4"},
    {REQ,
     "GET http://h:80/x HTTP/1.1\r\nA:\r\nB: \t \r\nC:c\r\n"
     "D: \t d \td\t \r\na: again\r\n\r\n",
     5, "GET http://h:80/x new[A=][B=][C=c][D=d \td][a=again]",
     "GET / HTTP/1.1\r\n\r\n"},
    {REQ,
     "GET / HTTP/1.1\r\nContent-Length: 5\r\nConnection: Upgrade, close\r\n"
     "Upgrade: h2c\r\n\r\n",
     3, "GET / new[Content-Length=5][Connection=Upgrade, close][Upgrade=h2c]",
     "01234"},
    {REQ, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 1,
     "GET / new[Transfer-Encoding=chunked]", "0\r\n\r\n"},
    {REQ, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 1,
     "CONNECT h:80 new[Host=h:80]", "x"},
    {REQ, "GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~9zZ: \x80\xff:\"(),/\r\n\r\n", 1,
     "GET / new[!#$%&'*+-.^_`|~9zZ=\x80\xff:\"(),/]", ""},
    {RES, STATUS_101 "\r\n", 0, "101 new", "\x81\x01x"},
    {RES, "HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n", 1,
     "101 new[Upgrade=websocket]", "\r\n"},
    {RES, "HTTP/1.1 101 \tna\xc3\xafve: yes\r\n\r\n", 0, "101 new", ""},
    {RES, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 1,
     "200 old[Content-Length=5]", "hello"},
    {RES, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", 1,
     "404 new[Transfer-Encoding=chunked]", "0\r\n\r\n"},
    {RES,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: "
     "a\r\n\r\n" STATUS_101 "A: b\r\n\r\n",
     1, "101 new[A=b]", STATUS_101 "\r\n"},
    {RES, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", 0,
     "503 new", ""},
};

static void render(const uvws__head_t* head, uvws__head_kind_t kind, char* out,
                   size_t size) {
  const char* version = uvws__head_is_http_1_1(head) ? "new" : "old";
  int len =
      kind == REQ
          ? snprintf(out, size, "%s %s %s", uvws__head_method(head),
                     uvws__head_target(head), version)
          : snprintf(out, size, "%u %s", uvws__head_http_status(head), version);

  for (unsigned i = 0; i < uvws__head_field_count(head); i++) {
    const uvws__field_t field = uvws__head_field_at(head, i);
    len += snprintf(out + len, size - (size_t)len, "[%s=%s]", field.name,
                    field.value);
  }
}

static void check_good(const result_t* result, const void* expected) {
  const good_t* row = expected;
  char rendered[256];

  assert_int_equal(result->failure, UVWS__OK);
  assert_int_equal(result->status, UVWS__HEAD_DONE);
  assert_int_equal(result->taken, strlen(row->text));
  render(result->head, row->kind, rendered, sizeof(rendered));
  assert_string_equal(rendered, row->rendered);
}

/* The limits are exactly met, and what follows the head does not count. */
static void test_good(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    char text[512];

    snprintf(text, sizeof(text), "%s%s", good[i].text, good[i].tail);
    feed_all_ways(good[i].kind, text, strlen(text), strlen(good[i].text),
                  good[i].fields, check_good, &good[i]);
  }
}

static void check_failure(const result_t* result, const void* expected) {
  assert_int_equal(result->status, UVWS__HEAD_FAILED);
  assert_int_equal(result->failure, *(const uvws__failure_t*)expected);
}

/* One byte, or one line, less is too little. */
static void test_limits(void** state) {
  const uvws__failure_t size = UVWS__FAIL_HTTP_HEAD_SIZE;
  const uvws__failure_t count = UVWS__FAIL_HTTP_HEADER_COUNT;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    const good_t* row = &good[i];
    const size_t len = strlen(row->text);

    feed_all_ways(row->kind, row->text, len, len - 1, row->fields,
                  check_failure, &size);
    if (row->fields > 0)
      feed_all_ways(row->kind, row->text, len, len, row->fields - 1,
                    check_failure, &count);
  }
}

/* The byte that goes beyond a limit is the one that fails. */
static void test_limits_are_met_early(void** state) {
  static const char text[] = "GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n";
  static const struct {
    size_t max_bytes;
    unsigned max_fields;
    size_t at;
    uvws__failure_t failure;
  } cases[] = {
      {0, 0, 0, UVWS__FAIL_HTTP_HEAD_SIZE},
      {9, 9, 9, UVWS__FAIL_HTTP_HEAD_SIZE},
      {99, 0, 16, UVWS__FAIL_HTTP_HEADER_COUNT},
      {99, 1, 22, UVWS__FAIL_HTTP_HEADER_COUNT},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    result_t result = feed(REQ, text, cases[i].at, 1, 1, cases[i].max_bytes,
                           cases[i].max_fields);

    assert_int_equal(result.status, UVWS__HEAD_MORE);
    uvws__head_free(result.head);
    result = feed(REQ, text, cases[i].at + 1, 1, 1, cases[i].max_bytes,
                  cases[i].max_fields);
    check_failure(&result, &cases[i].failure);
    uvws__head_free(result.head);
  }
}

/* `at` is the byte that must be refused, where our own automaton does it;
 * LLHTTP where the place is llhttp's affair. */
#define LLHTTP SIZE_MAX
#define SYNTAX UVWS__FAIL_HTTP_SYNTAX
#define BODY   UVWS__FAIL_HTTP_BODY
#define STATUS UVWS__FAIL_HTTP_STATUS

static const struct {
  uvws__head_kind_t kind;
  const char* text;
  size_t len;
  size_t at;
  uvws__failure_t failure;
} bad[] = {
    /* Not HTTP at all: a TLS ClientHello, and HTTP/2's preface. */
    {REQ, BYTES("\x16\x03\x01\x02\x00\x01\x00"), 0, UVWS__FAIL_TLS_UNEXPECTED},
    {REQ, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), LLHTTP, SYNTAX},
    {RES, BYTES("SSH-2.0-OpenSSH_9.2\r\n\r\n"), LLHTTP, SYNTAX},
    {RES, BYTES("\x15\x03\x03\x00\x02\x02\x28"), 0, UVWS__FAIL_TLS_UNEXPECTED},
    {REQ, BYTES("FETCH / HTTP/1.1\r\n\r\n"), LLHTTP, SYNTAX},
    {REQ, BYTES("get / HTTP/1.1\r\n\r\n"), LLHTTP, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.9\r\n\r\n"), LLHTTP, SYNTAX},
    {REQ, BYTES("GET / HTTX/1.1\r\n\r\n"), LLHTTP, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1 \r\n\r\n"), LLHTTP, SYNTAX},
    {REQ, BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"), LLHTTP, SYNTAX},
    {RES, BYTES("GET / HTTP/1.1\r\n\r\n"), LLHTTP, SYNTAX},
    {RES, BYTES("HTTP/1.1 1o1 Switching\r\n\r\n"), LLHTTP, SYNTAX},
    /* Bare LF and bare CR, at every place where CRLF may stand. */
    {REQ, BYTES("\nGET / HTTP/1.1\r\n\r\n"), 0, SYNTAX},
    {REQ, BYTES("\r\rGET / HTTP/1.1\r\n\r\n"), 1, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\n\r\n"), 14, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\rA: b\r\n\r\n"), 15, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\n\n"), 16, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\n\rA"), 17, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\n\r\n"), 20, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n"), 21, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\r\r\n\r\n"), 21, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA:\n\r\n"), 18, SYNTAX},
    {RES, BYTES("HTTP/1.1 101 OK\n\r\n"), 15, SYNTAX},
    {RES, BYTES("HTTP/1.1 101 O\rK\r\n\r\n"), 15, SYNTAX},
    /* A server ignores empty lines before the message, a client does not. */
    {RES, BYTES("\r\nHTTP/1.1 101 OK\r\n\r\n"), 0, SYNTAX},
    /* obs-fold, and whitespace before the first line and before the colon. */
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), 22, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"), 22, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA:\r\n b\r\n\r\n"), 20, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\n A: b\r\n\r\n"), 16, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA : b\r\n\r\n"), 17, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA\t: b\r\n\r\n"), 17, SYNTAX},
    {REQ, BYTES(" GET / HTTP/1.1\r\n\r\n"), 0, SYNTAX},
    /* Names. */
    {REQ, BYTES("GET / HTTP/1.1\r\n: b\r\n\r\n"), 16, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA\r\n\r\n"), 17, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA(: b\r\n\r\n"), 17, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA\x80: b\r\n\r\n"), 17, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA\0: b\r\n\r\n"), 17, SYNTAX},
    /* Control characters; whitespace and bytes beyond ASCII in a target. */
    {REQ, BYTES("GET /\0 HTTP/1.1\r\n\r\n"), 5, SYNTAX},
    {REQ, BYTES("GET /\t HTTP/1.1\r\n\r\n"), 5, SYNTAX},
    {REQ, BYTES("GET /\xc3\xa4 HTTP/1.1\r\n\r\n"), 5, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n"), 20, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\x01\r\n\r\n"), 20, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n"), 20, SYNTAX},
    {REQ, BYTES("GET / HTTP/1.1\r\nA:\0\r\n\r\n"), 18, SYNTAX},
    {RES, BYTES("HTTP/1.1 101 \0\r\n\r\n"), 13, SYNTAX},
    /* Lengths that llhttp refuses to make sense of. */
    {REQ, BYTES("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), LLHTTP, BODY},
    {REQ, BYTES("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), LLHTTP, BODY},
    {REQ, BYTES("GET / HTTP/1.1\r\nContent-Length:\r\n\r\n"), LLHTTP, BODY},
    {REQ,
     BYTES("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
     LLHTTP, BODY},
    {REQ,
     BYTES("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
     LLHTTP, BODY},
    {REQ,
     BYTES("GET / HTTP/1.1\r\nContent-Length: 0\r\n"
           "Transfer-Encoding: chunked\r\n\r\n"),
     LLHTTP, BODY},
    {REQ,
     BYTES("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
           "Content-Length: 0\r\n\r\n"),
     LLHTTP, BODY},
    {REQ, BYTES("GET / HTTP/1.1\r\nTransfer-Encoding: chunked, x\r\n\r\n"),
     LLHTTP, BODY},
    {RES, BYTES(STATUS_101 "Content-Length: x\r\n\r\n"), LLHTTP, BODY},
    {RES, BYTES("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), LLHTTP,
     STATUS},
    /* What follows an interim head is a head again. */
    {RES, BYTES("HTTP/1.1 100 Continue\r\n\r\n\x81\x01x"), 25, SYNTAX},
};

static void test_bad(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    feed_all_ways(bad[i].kind, bad[i].text, bad[i].len, 4096, 16, check_failure,
                  &bad[i].failure);
    if (bad[i].at != LLHTTP) {
      result_t result =
          feed(bad[i].kind, bad[i].text, bad[i].at, 1, 1, 4096, 16);

      assert_int_equal(result.status, UVWS__HEAD_MORE);
      uvws__head_free(result.head);
      result = feed(bad[i].kind, bad[i].text, bad[i].at + 1, 1, 1, 4096, 16);
      assert_int_equal(result.status, UVWS__HEAD_FAILED);
      uvws__head_free(result.head);
    }
  }
}

/* RFC 9110, 9.3.6: what a 2xx says about a body means nothing behind CONNECT,
 * even where llhttp can make no sense of it. */
#define OK_200   "HTTP/1.1 200 OK\r\n"
#define INTERIM  "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"
#define CHUNKED  "Transfer-Encoding: chunked\r\n"
#define LENGTH_5 "Content-Length: 5\r\n"

static const struct connected {
  const char* text;
  unsigned fields;
  unsigned http_status;
  bool is_bad_elsewhere;
} connected[] = {
    {OK_200 "\r\n", 0, 200, false},
    {OK_200 LENGTH_5 "\r\n", 1, 200, false},
    {OK_200 CHUNKED "\r\n", 1, 200, false},
    {"HTTP/1.1 299 Odd\r\nVia: x\r\n" LENGTH_5 "\r\n", 2, 299, false},
    {OK_200 "Content-Length: x\r\n\r\n", 1, 200, true},
    {OK_200 "Content-Length:\r\n\r\n", 1, 200, true},
    {OK_200 "Content-Length: -1\r\nVia: x\r\n\r\n", 2, 200, true},
    {OK_200 "Content-Length: 99999999999999999999\r\n\r\n", 1, 200, true},
    {OK_200 LENGTH_5 LENGTH_5 "Via: x\r\n\r\n", 3, 200, true},
    {OK_200 LENGTH_5 "Content-Length: 6\r\n\r\n", 2, 200, true},
    {OK_200 LENGTH_5 CHUNKED "\r\n", 2, 200, true},
    {OK_200 CHUNKED LENGTH_5 "\r\n", 2, 200, true},
    {OK_200 CHUNKED CHUNKED LENGTH_5 "Content-Length: x\r\n\r\n", 4, 200, true},
    {"HTTP/1.0 204 Empty\r\n" LENGTH_5 CHUNKED "\r\n", 2, 204, true},
    {"HTTP/1.1 299 Odd\r\nContent-Length: x\r\nA: b\r\n\r\n", 2, 299, true},
    {INTERIM OK_200 "Content-Length: x\r\nVia: y\r\n\r\n", 2, 200, true},
};

static void check_connected(const result_t* result, const void* expected) {
  const struct connected* row = expected;
  assert_int_equal(result->failure, UVWS__OK);
  assert_int_equal(result->status, UVWS__HEAD_DONE);
  assert_int_equal(result->taken, strlen(row->text));
  assert_int_equal(uvws__head_http_status(result->head), row->http_status);
}

static void test_a_tunnel_has_no_body(void** state) {
  const uvws__failure_t size = UVWS__FAIL_HTTP_HEAD_SIZE;
  const uvws__failure_t count = UVWS__FAIL_HTTP_HEADER_COUNT;
  const uvws__failure_t status = UVWS__FAIL_HTTP_STATUS;

  (void)state;
  for (size_t i = 0; i < COUNT_OF(connected); i++) {
    const struct connected* row = &connected[i];
    const size_t len = strlen(row->text);
    char text[512];

    /* What stands behind it is not HTTP. */
    snprintf(text, sizeof(text), "%s\x16\x03\r\n\n: ", row->text);
    feed_all_ways(CON, text, strlen(text), len, row->fields, check_connected,
                  row);
    feed_all_ways(CON, text, len, len - 1, row->fields, check_failure, &size);
    if (row->fields > 1 || (row->fields == 1 && row->text[9] == '2'))
      feed_all_ways(CON, text, len, len, row->fields - 1, check_failure,
                    &count);
    if (row->is_bad_elsewhere)
      feed_all_ways(RES, text, len, len, row->fields, check_failure, &status);
    else
      feed_all_ways(RES, text, strlen(text), len, row->fields, check_connected,
                    row);
  }
}

/* Elsewhere than in a 2xx it is as wrong as ever, and so is all else in one. */
static void test_what_is_wrong_before_a_tunnel(void** state) {
  static const struct {
    const char* text;
    uvws__failure_t failure;
  } cases[] = {
      {"HTTP/1.1 407 Who\r\nContent-Length: x\r\n\r\n", STATUS},
      {"HTTP/1.1 302 Found\r\n" LENGTH_5 CHUNKED "\r\n", STATUS},
      {"HTTP/1.1 500 Oh\r\n" LENGTH_5 LENGTH_5 "\r\n", STATUS},
      {STATUS_101 "Content-Length: x\r\n\r\n", BODY},
      {STATUS_101 LENGTH_5 LENGTH_5 "\r\n", BODY},
      {"HTTP/1.1 100 Continue\r\nContent-Length: x\r\n\r\n" OK_200 "\r\n",
       BODY},
      {OK_200 "Content-Length: x\r\nA: b\n\r\n", SYNTAX},
      {OK_200 "Content-Length: x\r\n b\r\n\r\n", SYNTAX},
      {OK_200 "Content-Length: x\r\nA : b\r\n\r\n", SYNTAX},
      {OK_200 LENGTH_5 LENGTH_5 "A: \x01\r\n\r\n", SYNTAX},
      {OK_200 "Content-Length: x\r\n\rA", SYNTAX},
      {"HTTP/1.1 2000 OK\r\n\r\n", SYNTAX},
      {"HTTP/1.1 200OK\r\n" LENGTH_5 "\r\n", SYNTAX},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    feed_all_ways(CON, cases[i].text, strlen(cases[i].text), 4096, 16,
                  check_failure, &cases[i].failure);
}

/* Garbage is not waited out: each of these fails without a line's end. */
static void test_garbage_fails_fast(void** state) {
  static const char* const garbage[] = {"XYZZY ", "GET / FTP/1.1",
                                        "GET / HTTP/9.9", "12345 "};

  (void)state;
  for (size_t i = 0; i < COUNT_OF(garbage); i++) {
    result_t result = feed(REQ, garbage[i], strlen(garbage[i]), 1, 1, 4096, 16);

    assert_int_equal(result.failure, SYNTAX);
    uvws__head_free(result.head);
  }
}

static void test_empty_input(void** state) {
  uvws__head_t* head = uvws__head_new(REQ, 0, 0);
  uvws__failure_t failure;
  size_t used;

  (void)state;
  assert_int_equal(uvws__head_feed(head, NULL, 0, &used, &failure),
                   UVWS__HEAD_MORE);
  assert_int_equal(used, 0);
  uvws__head_free(head);
  uvws__head_free(NULL);
}

static void test_lookup(void** state) {
  static const char text[] =
      "GET / HTTP/1.1\r\nAb: 1\r\nAbc: 2\r\nAB: 3\r\nA: 4\r\naB: 5\r\n\r\n";
  result_t result =
      feed(REQ, text, sizeof(text) - 1, sizeof(text) - 1, 1, 4096, 16);
  const uvws__head_t* head = result.head;
  unsigned index = 0;

  (void)state;
  assert_string_equal(uvws__head_field(head, "ab", NULL), "1");
  assert_string_equal(uvws__head_field(head, "ABC", NULL), "2");
  assert_null(uvws__head_field(head, "abcd", NULL));
  assert_null(uvws__head_field(head, "", NULL));
  assert_string_equal(uvws__head_field(head, "aB", &index), "1");
  assert_int_equal(index, 1);
  assert_string_equal(uvws__head_field(head, "aB", &index), "3");
  assert_string_equal(uvws__head_field(head, "aB", &index), "5");
  assert_int_equal(index, 5);
  assert_null(uvws__head_field(head, "aB", &index));
  assert_null(uvws__head_field(head, "aB", &index));
  uvws__head_free(result.head);
}

/* More lines, and longer ones, than the first blocks have room for. */
static void test_growth(void** state) {
  enum { LINES = 300, LINE = 64 };
  static char text[32 + LINES * LINE];
  int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");
  result_t result;

  (void)state;
  for (int i = 0; i < LINES; i++)
    len += snprintf(text + len, sizeof(text) - (size_t)len, "Name-%d: %0*d\r\n",
                    i, i % 40, i);
  len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
  result = feed(REQ, text, (size_t)len, 7, 7, (size_t)len, LINES);
  assert_int_equal(result.status, UVWS__HEAD_DONE);
  assert_string_equal(uvws__head_target(result.head), "/");
  assert_int_equal(uvws__head_field_count(result.head), LINES);
  for (int i = 0; i < LINES; i++) {
    const uvws__field_t field = uvws__head_field_at(result.head, (unsigned)i);
    char name[32];
    char value[64];

    snprintf(name, sizeof(name), "Name-%d", i);
    snprintf(value, sizeof(value), "%0*d", i % 40, i);
    assert_string_equal(field.name, name);
    assert_string_equal(field.value, value);
  }
  uvws__head_free(result.head);
}

static unsigned allocations_left;

static void* scarce_malloc(size_t size) {
  return allocations_left > 0 && allocations_left-- > 0 ? malloc(size) : NULL;
}

static void* scarce_realloc(void* ptr, size_t size) {
  return allocations_left > 0 && allocations_left-- > 0 ? realloc(ptr, size)
                                                        : NULL;
}

static void* scarce_calloc(size_t count, size_t size) {
  return allocations_left > 0 && allocations_left-- > 0 ? calloc(count, size)
                                                        : NULL;
}

static void test_no_memory(void** state) {
  static const char text[] = "GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n";
  uvws__head_status_t status = UVWS__HEAD_FAILED;
  unsigned n = 0;

  (void)state;
  uvws_replace_allocator(scarce_malloc, scarce_realloc, scarce_calloc, free);
  for (; status == UVWS__HEAD_FAILED; n++) {
    uvws__failure_t failure;
    uvws__head_t* head;
    size_t used;

    allocations_left = n;
    head = uvws__head_new(REQ, 4096, 16);
    assert_true((head == NULL) == (n == 0));
    if (head == NULL) continue;
    status = uvws__head_feed(head, (const uint8_t*)text, sizeof(text) - 1,
                             &used, &failure);
    assert_int_equal(
        failure, status == UVWS__HEAD_DONE ? UVWS__OK : UVWS__FAIL_NO_MEMORY);
    uvws__head_free(head);
  }
  uvws_replace_allocator(malloc, realloc, calloc, free);
  assert_int_equal(status, UVWS__HEAD_DONE);
  assert_int_equal(n, 4); /* the head, its text, its entries: each failed */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_limits_are_met_early),
      cmocka_unit_test(test_bad),
      cmocka_unit_test(test_a_tunnel_has_no_body),
      cmocka_unit_test(test_what_is_wrong_before_a_tunnel),
      cmocka_unit_test(test_garbage_fails_fast),
      cmocka_unit_test(test_empty_input),
      cmocka_unit_test(test_lookup),
      cmocka_unit_test(test_growth),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
