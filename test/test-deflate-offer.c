/* RFC 7692, 7.1: offers in heads in, answers out, and those in again. The last
 * tests let everybody who can be wished for meet everybody else. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "protocol/deflate.h"
#include "protocol/extensions.h"
#include "protocol/handshake.h"
#include "uvws.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define PMD "permessage-deflate"
#define SN  "; server_no_context_takeover"
#define CN  "; client_no_context_takeover"
#define SB  "; server_max_window_bits"
#define CB  "; client_max_window_bits"

/* Server and client without context takeover, and their window bits. */
#define PARAMS(sn, cn, sb, cb) \
  { sn, cn, sb, cb }
#define WISH(sn, cn, sb, cb) \
  { .params = PARAMS(sn, cn, sb, cb) }

static const uvws__deflate_wish_t no_wish = WISH(0, 0, 0, 0);

/* ---- heads ---- */

#define REQUEST                   \
  "GET /chat HTTP/1.1\r\n"        \
  "Host: server.example.com\r\n"  \
  "Upgrade: websocket\r\n"        \
  "Connection: Upgrade\r\n"       \
  "Sec-WebSocket-Version: 13\r\n" \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define NAME        "Sec-WebSocket-Extensions: "
#define AND         "\r\n" NAME /* one more line */
#define AND_BETWEEN "\r\nOrigin: http://a\r\nsec-websocket-extensions:"

static uvws__head_t* request_with(const char* value) {
  uvws__head_t* head = uvws__head_new(UVWS__HEAD_REQUEST, 4096, 32);
  uvws__failure_t failure;
  char text[2048];
  int len = snprintf(text, sizeof(text), REQUEST "%s%s\r\n\r\n",
                     value != NULL ? NAME : "X: x", value != NULL ? value : "");
  size_t used;

  assert_in_range(len, 1, sizeof(text) - 1);
  assert_non_null(head);
  assert_int_equal(
      uvws__head_feed(head, (uint8_t*)text, (size_t)len, &used, &failure),
      UVWS__HEAD_DONE);
  assert_int_equal(used, len);
  return head;
}

/* ---- what comes out, as it stands in a response ---- */

static void assert_params(bool any, const uvws__deflate_params_t* params,
                          const char* expected, const char* said) {
  char value[UVWS__DEFLATE_VALUE] = "none";

  if (any) uvws__deflate_write(params, value);
  if (strcmp(value, expected != NULL ? expected : "none") != 0)
    print_error("%s\n", said);
  assert_string_equal(value, expected != NULL ? expected : "none");
}

static void check_choice(const char* offer, const uvws__deflate_wish_t* wish,
                         const char* expected) {
  uvws__head_t* head = request_with(offer);
  uvws__deflate_params_t params;

  assert_int_equal(uvws__handshake_check_request(head), UVWS__OK);
  memset(&params, 0xff, sizeof(params));
  assert_params(uvws__deflate_choose(head, wish, &params), &params, expected,
                offer != NULL ? offer : "no header");
  uvws__head_free(head);
}

static void check_answer(const char* answer, const uvws__deflate_wish_t* wishes,
                         unsigned n, const char* expected) {
  char* value = strdup(answer);
  uvws__deflate_params_t params;

  assert_non_null(value);
  assert_true(uvws__extensions_are_valid(value));
  memset(&params, 0xff, sizeof(params));
  assert_params(uvws__deflate_read_response(value, wishes, n, &params), &params,
                expected, answer);
  free(value);
}

/* ---- server ---- */

static const struct {
  const char* offer;
  uvws__deflate_wish_t wish;
  const char* answer; /* NULL: none */
} choices[] = {
    /* Nobody wishes anything, or nobody is there. */
    {PMD, WISH(0, 0, 0, 0), PMD},
    {NULL, WISH(0, 0, 0, 0), NULL},
    {"x-webkit-deflate-frame", WISH(0, 0, 0, 0), NULL},
    {"permessage-deflat", WISH(0, 0, 0, 0), NULL},
    {"permessage-deflate2", WISH(0, 0, 0, 0), NULL},
    {"permessage-bzip2" SB "=10", WISH(0, 0, 0, 0), NULL},
    {"x; permessage-deflate", WISH(0, 0, 0, 0), NULL},
    {"x; y=permessage-deflate", WISH(0, 0, 0, 0), NULL},

    /* What is asked for is granted. */
    {PMD SN, WISH(0, 0, 0, 0), PMD SN},
    {PMD CN, WISH(0, 0, 0, 0), PMD CN},
    {PMD SB "=8", WISH(0, 0, 0, 0), PMD SB "=8"},
    {PMD SB "=15", WISH(0, 0, 0, 0), PMD SB "=15"},
    {PMD SB "=\"10\"", WISH(0, 0, 0, 0), PMD SB "=10"},
    {PMD CB, WISH(0, 0, 0, 0), PMD},
    {PMD CB "=8", WISH(0, 0, 0, 0), PMD CB "=8"},
    {PMD CB "=15", WISH(0, 0, 0, 0), PMD CB "=15"},
    {PMD CB "=\"10\"", WISH(0, 0, 0, 0), PMD CB "=10"},
    {PMD CB "=12" SB "=11" CN SN, WISH(0, 0, 0, 0),
     PMD SN CN SB "=11" CB "=12"},
    {"\t" PMD " ;\tserver_max_window_bits = 9 ,", WISH(0, 0, 0, 0),
     PMD SB "=9"},
    /* As Chrome, Firefox and Safari offer it. */
    {PMD CB, WISH(1, 1, 12, 12), PMD SN CN SB "=12" CB "=12"},
    {PMD, WISH(1, 1, 12, 0), PMD SN CN SB "=12"},

    /* What we wish is added. */
    {PMD, WISH(1, 0, 0, 0), PMD SN},
    {PMD, WISH(0, 1, 0, 0), PMD CN},
    {PMD SN CN, WISH(1, 1, 0, 0), PMD SN CN},
    {PMD SN, WISH(0, 1, 0, 0), PMD SN CN},
    {PMD, WISH(0, 0, 8, 0), PMD SB "=8"},
    {PMD, WISH(0, 0, 15, 0), PMD SB "=15"},
    {PMD SB "=10", WISH(0, 0, 12, 0), PMD SB "=10"},
    {PMD SB "=12", WISH(0, 0, 10, 0), PMD SB "=10"},
    {PMD SB "=8", WISH(0, 0, 15, 0), PMD SB "=8"},
    {PMD CB, WISH(0, 0, 0, 9), PMD CB "=9"},
    {PMD CB, WISH(0, 0, 0, 15), PMD CB "=15"},
    {PMD CB "=15", WISH(0, 0, 0, 9), PMD CB "=9"},
    {PMD CB "=9", WISH(0, 0, 0, 15), PMD CB "=9"},
    {PMD CB "=9", WISH(0, 0, 0, 8), PMD CB "=8"},
    {PMD CB "=8", WISH(0, 0, 0, 9), PMD CB "=8"},

    /* 7.1.2.2: but not to who did not say that it can be limited. */
    {PMD, WISH(0, 0, 0, 15), PMD},
    {PMD, WISH(0, 0, 0, 14), NULL},
    {PMD, WISH(0, 0, 0, 8), NULL},
    {PMD SN CN SB "=10", WISH(1, 1, 10, 10), NULL},
    {PMD ", " PMD SN CB, WISH(0, 0, 0, 10), PMD SN CB "=10"},
    {PMD SN ", " PMD CN, WISH(0, 0, 0, 10), NULL},

    /* The first that fits, over all lines. */
    {PMD SN ", " PMD CN, WISH(0, 0, 0, 0), PMD SN},
    {PMD CN ", " PMD SN, WISH(0, 0, 0, 0), PMD CN},
    {PMD SB "=10, " PMD, WISH(0, 0, 0, 0), PMD SB "=10"},
    {PMD "," PMD SB "=10", WISH(0, 0, 0, 0), PMD},
    {PMD "; x, " PMD SB "=16, " PMD SN "=1, " PMD CN, WISH(0, 0, 0, 0), PMD CN},
    {PMD SN AND PMD CN, WISH(0, 0, 0, 0), PMD SN},
    {PMD "; x" AND PMD CN, WISH(0, 0, 0, 0), PMD CN},
    {PMD "; x" AND_BETWEEN PMD "; y" AND_BETWEEN PMD SB "=9", WISH(0, 0, 0, 0),
     PMD SB "=9"},
    {PMD AND "x" AND PMD CB "=14", WISH(0, 0, 0, 13), PMD CB "=13"},
    {"x" AND "y", WISH(0, 0, 0, 0), NULL},

    /* Others between, whose parameters are none of ours. */
    {"x, " PMD SN ", y", WISH(0, 0, 0, 0), PMD SN},
    {"x" SN SN CB "=99, " PMD, WISH(0, 0, 0, 0), PMD},
    {"x" CB ", " PMD, WISH(0, 0, 0, 9), NULL},
    {PMD ", x" CB, WISH(0, 0, 0, 9), NULL},
    {PMD "; x, y" SN ", " PMD CN ", z", WISH(0, 0, 0, 0), PMD CN},
    {PMD "; x, y, z", WISH(0, 0, 0, 0), NULL},
    {",, x,, " PMD ",", WISH(0, 0, 0, 0), PMD},
    /* Nothing of an offer reaches the next. */
    {PMD SN CN SB "=9" CB "=9; x, " PMD, WISH(0, 0, 0, 0), PMD},
    {PMD CB "; x, " PMD, WISH(0, 0, 0, 9), NULL},
    {PMD CB "; x" AND PMD, WISH(0, 0, 0, 9), NULL},
    {PMD SN SN ", " PMD SN, WISH(0, 0, 0, 0), PMD SN},
};

static void test_choose(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(choices); i++)
    check_choice(choices[i].offer, &choices[i].wish, choices[i].answer);
}

/* ---- what nobody may say ---- */

static const char* const wrong_parameters[] = {
    /* Unknown. */
    "; x",
    "; x=10",
    "; permessage-deflate",
    "; Server_No_Context_Takeover",
    "; server_no_context_takeove",
    "; server_no_context_takeovers",
    "; no_context_takeover",
    "; CLIENT_MAX_WINDOW_BITS=10",
    "; client_max_window_bit=10",
    "; client_max_window_bits_=10",
    "; max_window_bits=10",
    SN CN SB "=10" CB "=10; x",
    /* Values where none may be. */
    SN "=1",
    SN "=0",
    SN "=true",
    SN "=\"true\"",
    SN "=server_no_context_takeover",
    CN "=1",
    CN "=\"1\"",
    CN "=15",
    /* Twice. */
    SN SN,
    CN CN,
    SN CN SN,
    SN SN "=1",
    SN "=1" SN,
    SB "=10" SB "=10",
    SB "=10" SB "=11",
    SB "=10" SN SB "=10",
    SB "=16" SB "=10",
    SB "=10" SB,
    SB SB "=10",
    CB "=10" CB "=10",
    CB "=10" CB "=11",
    CB "=10" CN CB "=10",
    CB "=16" CB "=10",
    CB "=10" CB,
    CB CB "=10",
    CB CB,
    SN SN SN,
    /* Missing. */
    SB,
    SB CB "=10",
};

static const char* const wrong_bits[] = {
    "0",    "1",     "2",     "5",      "7",      "16",    "17",
    "18",   "20",    "25",    "80",     "88",     "99",    "08",
    "09",   "010",   "015",   "0",      "00",     "8.",    "8.0",
    "+8",   "-8",    "0x8",   "1e1",    "1a",     "a0",    "x",
    "8x",   "10x",   "100",   "150",    "1000",   "264",   "4294967304",
    "1/",   "1:",    "\"7\"", "\"16\"", "\"08\"", "\"1\"", "\"100\"",
    "true", "eight", "'8'",   "1'",     "-",      "8-15",  "\"-\"",
};

static const char* const around[] = {"", SN, CN, SB "=10", CB "=10"};

/* Neither an offer nor an answer, but no harm to the offer behind. */
static void check_wrong(const char* parameters) {
  /* One that fits every answer, were it valid. */
  const uvws__deflate_wish_t wish = no_wish;
  char value[512];

  for (size_t i = 0; i < 2 * COUNT_OF(around); i++) {
    const char* more = around[i / 2];
    snprintf(value, sizeof(value), PMD "%s%s", i % 2 ? more : parameters,
             i % 2 ? parameters : more);
    if (strpbrk(value, "/:") != NULL) {
      assert_false(uvws__extensions_are_valid(value));
      continue;
    }
    check_choice(value, &wish, NULL);
    check_answer(value, &wish, 1, NULL);
    strcat(value, ", " PMD SB "=13");
    check_choice(value, &wish, PMD SB "=13");
    check_answer(value, &wish, 1, NULL);
  }
}

static void test_wrong(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(wrong_parameters); i++)
    check_wrong(wrong_parameters[i]);
  for (size_t i = 0; i < 2 * COUNT_OF(wrong_bits); i++) {
    char parameter[128];
    snprintf(parameter, sizeof(parameter), "%s=%s", i % 2 ? SB : CB,
             wrong_bits[i / 2]);
    check_wrong(parameter);
  }
}

/* And every number there is, with what is right in it. */
static void test_bits(void** state) {
  (void)state;
  for (unsigned bits = 0; bits < 300; bits++) {
    for (unsigned i = 0; i < 4; i++) {
      bool is_right = bits >= 8 && bits <= 15;
      char value[128], expected[128];
      snprintf(expected, sizeof(expected), PMD "%s=%u", i % 2 ? SB : CB, bits);
      snprintf(value, sizeof(value), PMD "%s=%s%u%s", i % 2 ? SB : CB,
               i / 2 ? "\"" : "", bits, i / 2 ? "\"" : "");
      check_choice(value, &no_wish, is_right ? expected : NULL);
      check_answer(value, &no_wish, 1, is_right ? expected : NULL);
    }
  }
}

/* What is not a list of extensions at all is refused before anybody looks for
 * one, be there a good offer, too. */
static const char* const malformed[] = {
    PMD ";",
    PMD ";" SN,
    PMD SB "=",
    PMD SB "=;",
    PMD SB "=\"\"",
    PMD SB "=\"10",
    PMD SB "=\"10\"x",
    PMD SB "=10\"",
    PMD SB "=\" 10\"",
    PMD SB "=1 0",
    PMD SB "==10",
    PMD SB "=10=10",
    PMD SB " 10",
    PMD SN " client_no_context_takeover",
    PMD "=1",
    PMD " x",
    PMD ", ;",
    PMD ", " PMD SB "=, " PMD,
    "",
    ",",
};

static void test_malformed(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(malformed); i++) {
    for (unsigned lines = 0; lines < 3; lines++) {
      char value[256];
      snprintf(value, sizeof(value), "%s%s%s", lines == 1 ? PMD AND : "",
               malformed[i], lines == 2 ? AND PMD : "");
      uvws__head_t* head = request_with(value);
      assert_int_equal(uvws__handshake_check_request(head),
                       UVWS__FAIL_EXTENSIONS_HEADER);
      uvws__head_free(head);
    }
  }
}

/* ---- client ---- */

static const struct {
  const char* answer;
  uvws__deflate_wish_t wishes[3];
  unsigned n;
  const char* params; /* NULL: the connection fails */
} answers[] = {
    {PMD, {WISH(0, 0, 0, 0)}, 1, PMD},
    {" " PMD " ,", {WISH(0, 0, 0, 0)}, 1, PMD},

    /* Not one permessage-deflate. */
    {"x", {WISH(0, 0, 0, 0)}, 1, NULL},
    {"permessage-deflat", {WISH(0, 0, 0, 0)}, 1, NULL},
    {"permessage-deflate-", {WISH(0, 0, 0, 0)}, 1, NULL},
    {"x" SN, {WISH(0, 0, 0, 0)}, 1, NULL},
    {PMD ", x", {WISH(0, 0, 0, 0)}, 1, NULL},
    {"x, " PMD, {WISH(0, 0, 0, 0)}, 1, NULL},
    {PMD ", " PMD, {WISH(0, 0, 0, 0)}, 1, NULL},
    {PMD ", " PMD SN, {WISH(0, 0, 0, 0), WISH(1, 0, 0, 0)}, 2, NULL},
    {PMD ",, " PMD, {WISH(0, 0, 0, 0)}, 1, NULL},

    /* 7.1.1.1: the server may, and must if asked to. */
    {PMD SN, {WISH(0, 0, 0, 0)}, 1, PMD SN},
    {PMD SN, {WISH(1, 0, 0, 0)}, 1, PMD SN},
    {PMD, {WISH(1, 0, 0, 0)}, 1, NULL},
    {PMD CN, {WISH(1, 0, 0, 0)}, 1, NULL},

    /* 7.1.1.2: the client must, and may if not. */
    {PMD CN, {WISH(0, 0, 0, 0)}, 1, PMD CN},
    {PMD CN, {WISH(0, 1, 0, 0)}, 1, PMD CN},
    {PMD, {WISH(0, 1, 0, 0)}, 1, PMD CN},
    {PMD SN, {WISH(0, 1, 0, 0)}, 1, PMD SN CN},
    {PMD SN CN, {WISH(1, 1, 0, 0)}, 1, PMD SN CN},

    /* 7.1.2.1: at most what was asked for, anything when it was not. */
    {PMD SB "=8", {WISH(0, 0, 0, 0)}, 1, PMD SB "=8"},
    {PMD SB "=\"15\"", {WISH(0, 0, 0, 0)}, 1, PMD SB "=15"},
    {PMD SB "=10", {WISH(0, 0, 10, 0)}, 1, PMD SB "=10"},
    {PMD SB "=9", {WISH(0, 0, 10, 0)}, 1, PMD SB "=9"},
    {PMD SB "=8", {WISH(0, 0, 15, 0)}, 1, PMD SB "=8"},
    {PMD SB "=15", {WISH(0, 0, 15, 0)}, 1, PMD SB "=15"},
    {PMD SB "=11", {WISH(0, 0, 10, 0)}, 1, NULL},
    {PMD SB "=15", {WISH(0, 0, 8, 0)}, 1, NULL},
    {PMD, {WISH(0, 0, 10, 0)}, 1, NULL},
    {PMD, {WISH(0, 0, 15, 0)}, 1, NULL},
    {PMD CB "=10", {WISH(0, 0, 10, 10)}, 1, NULL},

    /* 7.1.2.2: not unless it was allowed, with a value, and at most that. */
    {PMD CB, {WISH(0, 0, 0, 0)}, 1, NULL},
    {PMD CB, {WISH(0, 0, 0, 15)}, 1, NULL},
    {PMD CB "=8", {WISH(0, 0, 0, 0)}, 1, PMD CB "=8"},
    {PMD CB "=15", {WISH(0, 0, 0, 0)}, 1, PMD CB "=15"},
    {PMD CB "=\"9\"", {WISH(0, 0, 0, 9)}, 1, PMD CB "=9"},
    {PMD CB "=8", {WISH(0, 0, 0, 9)}, 1, PMD CB "=8"},
    {PMD CB "=10", {WISH(0, 0, 0, 9)}, 1, NULL},
    {PMD CB "=15", {WISH(0, 0, 0, 14)}, 1, NULL},
    /* Its own limit, which the server need not confirm, it keeps. */
    {PMD, {WISH(0, 0, 0, 9)}, 1, PMD CB "=9"},
    {PMD SN CN SB "=9", {WISH(1, 1, 9, 9)}, 1, PMD SN CN SB "=9" CB "=9"},

    {PMD CB "=12" CN SB "=12" SN,
     {WISH(1, 1, 12, 12)},
     1,
     PMD SN CN SB "=12" CB "=12"},
    {PMD SN CN SB "=12" CB "=12",
     {WISH(0, 0, 0, 0)},
     1,
     PMD SN CN SB "=12" CB "=12"},

    /* One of several, whole. */
    {PMD, {WISH(1, 0, 0, 0), WISH(0, 0, 0, 0)}, 2, PMD},
    {PMD SB "=12", {WISH(0, 0, 10, 0), WISH(0, 0, 12, 0)}, 2, PMD SB "=12"},
    {PMD CB "=11", {WISH(0, 0, 0, 10), WISH(0, 0, 0, 11)}, 2, PMD CB "=11"},
    {PMD, {WISH(1, 1, 0, 9), WISH(0, 1, 0, 0)}, 2, PMD CN},
    {PMD, {WISH(1, 1, 0, 9), WISH(0, 0, 8, 8), WISH(0, 0, 0, 0)}, 3, PMD},
    {PMD SN, {WISH(0, 0, 10, 0), WISH(1, 0, 0, 0)}, 2, PMD SN},
    {PMD SN, {WISH(1, 0, 10, 0), WISH(0, 1, 10, 0)}, 2, NULL},
    {PMD SN SB "=12", {WISH(1, 0, 10, 0), WISH(0, 0, 11, 0)}, 2, NULL},
    {PMD SB "=10", {WISH(1, 0, 10, 0), WISH(0, 0, 9, 0)}, 2, NULL},
    /* What fits both may have been meant for either: the server may rely on
     * what was said in it. */
    {PMD, {WISH(0, 1, 0, 0), WISH(0, 0, 0, 0)}, 2, PMD CN},
    {PMD, {WISH(0, 0, 0, 0), WISH(0, 1, 0, 0)}, 2, PMD CN},
    {PMD SN, {WISH(1, 0, 0, 10), WISH(0, 0, 0, 0)}, 2, PMD SN CB "=10"},
    /* Offers behind the n-th were not made. */
    {PMD, {WISH(1, 0, 0, 0), WISH(0, 0, 0, 0)}, 1, NULL},
    {PMD, {WISH(0, 0, 0, 0)}, 0, NULL},
};

static void test_answers(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(answers); i++)
    check_answer(answers[i].answer, answers[i].wishes, answers[i].n,
                 answers[i].params);
}

/* ---- everything that can be wished for ---- */

static const uint8_t all_bits[] = {0, 8, 9, 12, 15};

enum {
  N_BITS = COUNT_OF(all_bits),
  N_SERVERS = 4 * N_BITS * N_BITS,
  N_CLIENTS = N_SERVERS
};

static uvws__deflate_wish_t wish_at(unsigned i) {
  uvws__deflate_wish_t wish = {
      .params = {.server_no_context_takeover = i & 1,
                 .client_no_context_takeover = (i & 2) != 0,
                 .server_max_window_bits = all_bits[i / 4 % N_BITS],
                 .client_max_window_bits = all_bits[i / 4 / N_BITS]}};
  return wish;
}

static unsigned width(uint8_t bits) {
  return bits == 0 ? 15 : bits;
}

/* ---- writing ---- */

static size_t render_params(char* out, const uvws__deflate_params_t* params) {
  size_t len = (size_t)sprintf(out, "%s%s%s", PMD,
                               params->server_no_context_takeover ? SN : "",
                               params->client_no_context_takeover ? CN : "");
  if (params->server_max_window_bits != 0)
    len += (size_t)sprintf(out + len, SB "=%d", params->server_max_window_bits);
  if (params->client_max_window_bits != 0)
    len += (size_t)sprintf(out + len, CB "=%d", params->client_max_window_bits);
  return len;
}

static void test_write(void** state) {
  (void)state;
  for (unsigned i = 0; i < N_SERVERS; i++) {
    uvws__deflate_wish_t wish = wish_at(i);
    char* value = malloc(UVWS__DEFLATE_VALUE);
    char expected[256];

    assert_non_null(value);
    assert_in_range(render_params(expected, &wish.params), 1,
                    UVWS__DEFLATE_VALUE - 1);
    uvws__deflate_write(&wish.params, value);
    assert_string_equal(value, expected);
    free(value);
  }
}

static const struct {
  uvws__deflate_wish_t wishes[3];
  unsigned n;
  const char* text;
} offers[] = {
    {{WISH(0, 0, 0, 0)}, 1, PMD CB},
    {{WISH(1, 0, 0, 0)}, 1, PMD SN CB},
    {{WISH(0, 1, 0, 0)}, 1, PMD CN CB},
    {{WISH(0, 0, 9, 0)}, 1, PMD SB "=9" CB},
    {{WISH(0, 0, 0, 8)}, 1, PMD CB "=8"},
    {{WISH(0, 0, 15, 15)}, 1, PMD SB "=15" CB "=15"},
    {{WISH(1, 1, 10, 12)}, 1, PMD SN CN SB "=10" CB "=12"},
    {{WISH(0, 0, 0, 10), WISH(0, 0, 0, 0)}, 2, PMD CB "=10, " PMD CB},
};

static void test_offers(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(offers); i++) {
    char* text = uvws__deflate_offer(offers[i].wishes, offers[i].n);
    assert_non_null(text);
    assert_string_equal(text, offers[i].text);
    uvws__free(text);
  }
}

static void test_all_offers(void** state) {
  uvws__deflate_wish_t wishes[N_CLIENTS];
  char* expected = malloc(N_CLIENTS * 256);
  size_t len = 0;
  char* text;

  (void)state;
  assert_non_null(expected);
  for (unsigned i = 0; i < N_CLIENTS; i++) {
    size_t start = len;
    wishes[i] = wish_at(i);
    len += render_params(expected + len, &wishes[i].params);
    if (i < N_SERVERS && wishes[i].params.client_max_window_bits == 0)
      len += (size_t)sprintf(expected + len, "%s", CB);
    text = uvws__deflate_offer(&wishes[i], 1);
    assert_non_null(text);
    assert_string_equal(text, expected + start);
    assert_true(uvws__extensions_are_valid(text));
    uvws__free(text);
    len += (size_t)sprintf(expected + len, "%s", ", ");
  }
  expected[len - 2] = '\0';
  text = uvws__deflate_offer(wishes, N_CLIENTS);
  assert_non_null(text);
  assert_string_equal(text, expected);
  uvws__free(text);
  free(expected);
}

/* ---- both sides ---- */

static unsigned narrower(uint8_t a, uint8_t b) {
  return width(a) < width(b) ? width(a) : width(b);
}

/* Both wishes hold, and nothing more was given up than that takes. */
static void assert_pleases(const uvws__deflate_params_t* got,
                           const uvws__deflate_wish_t* client,
                           const uvws__deflate_wish_t* server) {
  const uvws__deflate_params_t* a = &client->params;
  const uvws__deflate_params_t* b = &server->params;

  assert_int_equal(
      got->server_no_context_takeover,
      a->server_no_context_takeover || b->server_no_context_takeover);
  assert_int_equal(
      got->client_no_context_takeover,
      a->client_no_context_takeover || b->client_no_context_takeover);
  assert_int_equal(
      width(got->server_max_window_bits),
      narrower(a->server_max_window_bits, b->server_max_window_bits));
  assert_int_equal(
      width(got->client_max_window_bits),
      narrower(a->client_max_window_bits, b->client_max_window_bits));
}

static void assert_same(const uvws__deflate_params_t* a,
                        const uvws__deflate_params_t* b) {
  assert_int_equal(a->server_no_context_takeover,
                   b->server_no_context_takeover);
  assert_int_equal(a->client_no_context_takeover,
                   b->client_no_context_takeover);
  assert_int_equal(a->server_max_window_bits, b->server_max_window_bits);
  assert_int_equal(a->client_max_window_bits, b->client_max_window_bits);
}

static void meet(const uvws__head_t* request,
                 const uvws__deflate_wish_t* clients, unsigned n,
                 const uvws__deflate_wish_t* server) {
  uvws__deflate_params_t chosen, read;
  char value[UVWS__DEFLATE_VALUE];

  memset(&chosen, 0xff, sizeof(chosen));
  assert_true(uvws__deflate_choose(request, server, &chosen));
  uvws__deflate_write(&chosen, value);
  assert_true(uvws__extensions_are_valid(value));
  memset(&read, 0xff, sizeof(read));
  assert_true(uvws__deflate_read_response(value, clients, n, &read));
  /* Of several offers it may have been any. */
  assert_true(width(read.client_max_window_bits) <=
              width(chosen.client_max_window_bits));
  assert_true(read.client_no_context_takeover ||
              !chosen.client_no_context_takeover);
  if (n == 1) assert_same(&chosen, &read);
  assert_pleases(&chosen, &clients[0], server);
}

/* What these clients offer, before all servers; in several lines, too. */
static void meet_all(const uvws__deflate_wish_t* clients, unsigned n) {
  char* offer = uvws__deflate_offer(clients, n);
  uvws__head_t* request;

  assert_non_null(offer);
  request = request_with(offer);
  uvws__free(offer);
  assert_int_equal(uvws__handshake_check_request(request), UVWS__OK);
  for (unsigned i = 0; i < N_SERVERS; i++) {
    uvws__deflate_wish_t server = wish_at(i);
    meet(request, clients, n, &server);
  }
  uvws__head_free(request);
}

static void test_meetings(void** state) {
  (void)state;
  for (unsigned i = 0; i < N_CLIENTS; i++) {
    uvws__deflate_wish_t client = wish_at(i);
    meet_all(&client, 1);
  }
}

/* Of lists, some. */
static void test_meetings_with_choice(void** state) {
  (void)state;
  for (unsigned i = 0; i < N_CLIENTS; i += 7) {
    for (unsigned j = 0; j < N_CLIENTS; j += 11) {
      uvws__deflate_wish_t clients[] = {wish_at(i), wish_at(j),
                                        wish_at((i + j) % N_CLIENTS)};
      meet_all(clients, 2);
      meet_all(clients, 3);
    }
  }
}

/* ---- memory ---- */

static unsigned until_failure;
static unsigned asked;

static void* failing_malloc(size_t size) {
  asked++;
  return until_failure-- == 0 ? NULL : malloc(size);
}

static void* no_realloc(void* ptr, size_t size) {
  (void)ptr;
  (void)size;
  asked++;
  return NULL;
}

static void* no_calloc(size_t count, size_t size) {
  (void)count;
  (void)size;
  asked++;
  return NULL;
}

static int restore_memory(void** state) {
  (void)state;
  return uvws_replace_allocator(malloc, realloc, calloc, free);
}

static void test_memory(void** state) {
  uvws__deflate_wish_t wishes[] = {wish_at(N_CLIENTS - 1), wish_at(99)};
  uvws__head_t* request = request_with("x" AND PMD CB);
  uvws__deflate_params_t params;
  char value[UVWS__DEFLATE_VALUE];

  (void)state;
  uvws_replace_allocator(failing_malloc, no_realloc, no_calloc, free);
  /* An offer takes one, which may fail. */
  for (unsigned n = 0; n <= 1; n++) {
    until_failure = n;
    char* text = uvws__deflate_offer(wishes, COUNT_OF(wishes));
    assert_int_equal(text != NULL, n == 1);
    uvws__free(text);
  }
  assert_int_equal(asked, 2);
  /* An answer takes none on either side. */
  until_failure = 0;
  assert_true(uvws__deflate_choose(request, &wishes[1], &params));
  uvws__deflate_write(&params, value);
  assert_true(uvws__deflate_read_response(value, wishes, 2, &params));
  assert_int_equal(asked, 2);
  restore_memory(NULL);
  uvws__head_free(request);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_choose),
      cmocka_unit_test(test_wrong),
      cmocka_unit_test(test_bits),
      cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_write),
      cmocka_unit_test(test_offers),
      cmocka_unit_test(test_all_offers),
      cmocka_unit_test(test_meetings),
      cmocka_unit_test(test_meetings_with_choice),
      cmocka_unit_test_teardown(test_memory, restore_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
