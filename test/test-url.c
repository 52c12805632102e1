/* uvws__url_parse against the WHATWG URL standard. The encode sets and the
 * forbidden code points are tried with every ASCII byte; the rest is tables. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/url.h"
#include "uvws.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define TEXT(s)      s, sizeof(s) - 1

/* The library's memory: how many blocks live, and how many more allocations
 * succeed (negative: all do). */
static int live_blocks;
static int allocations_left = -1;

static bool allocation_fails(void) {
  if (allocations_left == 0) return true;
  if (allocations_left > 0) allocations_left--;
  return false;
}

static void* counting_malloc(size_t size) {
  if (allocation_fails()) return NULL;
  live_blocks++;
  return malloc(size);
}

static void* counting_calloc(size_t count, size_t size) {
  if (allocation_fails()) return NULL;
  live_blocks++;
  return calloc(count, size);
}

static void* counting_realloc(void* ptr, size_t size) {
  if (allocation_fails()) return NULL;
  if (ptr == NULL) live_blocks++;
  return realloc(ptr, size);
}

static void counting_free(void* ptr) {
  if (ptr != NULL) live_blocks--;
  free(ptr);
}

/* Parses a copy without a NUL behind it, so that sanitizers see an overrun. */
static uvws__url_status_t parse(uvws__url_t* url, const char* input,
                                size_t len) {
  char* copy = malloc(len > 0 ? len : 1);
  uvws__url_status_t status;

  assert_non_null(copy);
  memcpy(copy, input, len);
  status = uvws__url_parse(url, copy, len);
  free(copy);
  return status;
}

static void assert_zeroed(const uvws__url_t* url) {
  const uvws__url_t zero = {0};
  assert_memory_equal(url, &zero, sizeof(zero));
}

static void assert_href(const char* input, size_t len, const char* href) {
  uvws__url_t url;

  if (parse(&url, input, len) != UVWS__URL_OK) fail_msg("refused: %s", input);
  assert_string_equal(url.href, href);
  uvws__url_clear(&url);

  /* What is serialised parses to itself. */
  assert_int_equal(parse(&url, href, strlen(href)), UVWS__URL_OK);
  assert_string_equal(url.href, href);
  uvws__url_clear(&url);
}

static void assert_refused(const char* input, size_t len,
                           uvws__url_status_t expected) {
  uvws__url_t url;
  const uvws__url_status_t status = parse(&url, input, len);

  if (status != expected) fail_msg("status %d for: %s", (int)status, input);
  assert_zeroed(&url);
}

static void test_parts(void** state) {
  static const struct {
    const char* input;
    uvws__url_t url;
  } cases[] = {
      {"ws://example.com",
       {.href = "ws://example.com/",
        .host = "example.com",
        .authority = "example.com",
        .origin_host = "example.com",
        .target = "/",
        .username = "",
        .password = "",
        .port = 80}},
      {"https://u%3As%65r:p%40:ss@[2001:DB8::1]:8443/chat/./room?a=b?c",
       {.href = "wss://u%3As%65r:p%40%3Ass@[2001:db8::1]:8443/chat/room?a=b?c",
        .host = "2001:db8::1",
        .authority = "[2001:db8::1]:8443",
        .origin_host = "[2001:db8::1]",
        .target = "/chat/room?a=b?c",
        .username = "u:ser",
        .password = "p@:ss",
        .port = 8443,
        .secure = true,
        .has_userinfo = true}},
      /* Credentials are bytes: percent-encoded ones need not be UTF-8. */
      {"http://%C3%A9%ff%@127.1:443?",
       {.href = "ws://%C3%A9%ff%@127.0.0.1:443/?",
        .host = "127.0.0.1",
        .authority = "127.0.0.1:443",
        .origin_host = "127.0.0.1",
        .target = "/?",
        .username = "\xc3\xa9\xff%",
        .password = "",
        .port = 443,
        .has_userinfo = true}},
      /* Only a password; a "%00" must not cut it short. */
      {"wss://:a%00b@[::]:443",
       {.href = "wss://:a%00b@[::]/",
        .host = "::",
        .authority = "[::]",
        .origin_host = "[::]",
        .target = "/",
        .username = "",
        .password = "a%00b",
        .port = 443,
        .secure = true,
        .has_userinfo = true}},
      {"wss://:@h:0/",
       {.href = "wss://h:0/",
        .host = "h",
        .authority = "h:0",
        .origin_host = "h",
        .target = "/",
        .username = "",
        .password = "",
        .port = 0,
        .secure = true}},
  };

  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++) {
    const uvws__url_t* want = &cases[i].url;
    uvws__url_t url;

    assert_int_equal(parse(&url, cases[i].input, strlen(cases[i].input)),
                     UVWS__URL_OK);
    assert_string_equal(url.href, want->href);
    assert_string_equal(url.host, want->host);
    assert_string_equal(url.authority, want->authority);
    assert_string_equal(url.origin_host, want->origin_host);
    assert_string_equal(url.target, want->target);
    assert_string_equal(url.username, want->username);
    assert_string_equal(url.password, want->password);
    assert_int_equal(url.port, want->port);
    assert_int_equal(url.secure, want->secure);
    assert_int_equal(url.has_userinfo, want->has_userinfo);
    uvws__url_clear(&url);
    assert_zeroed(&url);
  }
}

static void test_accepted(void** state) {
  static const struct {
    const char* input;
    size_t len;
    const char* href;
  } cases[] = {
      /* schemes and slashes */
      {TEXT("WS://h"), "ws://h/"},
      {TEXT("hTTp://h"), "ws://h/"},
      {TEXT("HTTPS://h"), "wss://h/"},
      {TEXT("ws:h"), "ws://h/"},
      {TEXT("ws:/h"), "ws://h/"},
      {TEXT("ws:///h"), "ws://h/"},
      {TEXT("wss:\\\\h\\a\\b?\\"), "wss://h/a/b?\\"},
      {TEXT("ws:/\\/\\h:81\\x"), "ws://h:81/x"},
      {TEXT("ws:ws://h"), "ws://ws//h"},
      /* white space and control characters */
      {TEXT(" \t\x01\0ws://h/ \x1f\0\n"), "ws://h/"},
      {TEXT("w\ts\n:\r/\t/h\n:\t8\r1/\na?\tb"), "ws://h:81/a?b"},
      {TEXT("ws://h/%\t2e/%2\nE%2e/x"), "ws://h/x"},
      {TEXT("ws://h/a b?c d"), "ws://h/a%20b?c%20d"},
      {TEXT("ws://h/\0?\0"), "ws://h/%00?"},
      {TEXT("ws://\0:\0@h/?\0'"), "ws://%00:%00@h/?%00%27"},
      /* userinfo */
      {TEXT("ws://@h"), "ws://h/"},
      {TEXT("ws://:@h"), "ws://h/"},
      {TEXT("ws://u:@h"), "ws://u@h/"},
      {TEXT("ws://a@b@c"), "ws://a%40b@c/"},
      {TEXT("ws://a@b:c@d:e@h:81"), "ws://a%40b:c%40d%3Ae@h:81/"},
      {TEXT("ws://a[b:c]@h"), "ws://a%5Bb:c%5D@h/"},
      {TEXT("ws://u\xc3\xa9:\xff@h"), "ws://u%C3%A9:%EF%BF%BD@h/"},
      {TEXT("ws://a/@h"), "ws://a/@h"},
      {TEXT("ws://a?@h"), "ws://a/?@h"},
      /* domains */
      {TEXT("ws://ExAmPlE.COM"), "ws://example.com/"},
      {TEXT("ws://%65X%41mple%2ecom"), "ws://example.com/"},
      {TEXT("ws://XN--FA-HIA.example"), "ws://xn--fa-hia.example/"},
      {TEXT("ws://h."), "ws://h./"},
      {TEXT("ws://."), "ws://./"},
      {TEXT("ws://1.2.3.4.."), "ws://1.2.3.4../"},
      {TEXT("ws://1.0x7g"), "ws://1.0x7g/"},
      {TEXT("ws://1.2.3.4a"), "ws://1.2.3.4a/"},
      {TEXT("ws://a..b"), "ws://a..b/"},
      /* ports */
      {TEXT("ws://h:"), "ws://h/"},
      {TEXT("ws://h:80/"), "ws://h/"},
      {TEXT("ws://h:00000000000000000000080/"), "ws://h/"},
      {TEXT("ws://h:443/"), "ws://h:443/"},
      {TEXT("https://h:443/"), "wss://h/"},
      {TEXT("https://h:80/"), "wss://h:80/"},
      {TEXT("ws://h:65535?"), "ws://h:65535/?"},
      /* dot segments */
      {TEXT("ws://h/."), "ws://h/"},
      {TEXT("ws://h/.."), "ws://h/"},
      {TEXT("ws://h/a/."), "ws://h/a/"},
      {TEXT("ws://h/a/.."), "ws://h/"},
      {TEXT("ws://h/a/b/.."), "ws://h/a/"},
      {TEXT("ws://h/a/b/../"), "ws://h/a/"},
      {TEXT("ws://h/a/../../../b"), "ws://h/b"},
      {TEXT("ws://h/.a/b/.."), "ws://h/.a/"},
      {TEXT("ws://h/a//../b"), "ws://h/a/b"},
      {TEXT("ws://h//.."), "ws://h/"},
      {TEXT("ws://h//"), "ws://h//"},
      {TEXT("ws://h/%2E"), "ws://h/"},
      {TEXT("ws://h/a/b/%2e%2E/c"), "ws://h/a/c"},
      {TEXT("ws://h/a/b/.%2e\\c"), "ws://h/a/c"},
      {TEXT("ws://h/a/b/%2E./c"), "ws://h/a/c"},
      {TEXT("ws://h/..."), "ws://h/..."},
      {TEXT("ws://h/%2e%2e%2e"), "ws://h/%2e%2e%2e"},
      {TEXT("ws://h/a/..b/.c/d.."), "ws://h/a/..b/.c/d.."},
      {TEXT("ws://h/%2"), "ws://h/%2"},
      {TEXT("ws://h/%252e"), "ws://h/%252e"},
      {TEXT("ws://h?/../x"), "ws://h/?/../x"},
      /* beyond ASCII, well-formed and not */
      {TEXT("ws://h/\xc3\xa9?\xf0\x9f\x98\x80"), "ws://h/%C3%A9?%F0%9F%98%80"},
      {TEXT("ws://h/\x7f\xc2\x80"), "ws://h/%7F%C2%80"},
      {TEXT("ws://h/\xff"
            "a"),
       "ws://h/%EF%BF%BDa"},
      {TEXT("ws://h/\xc3"), "ws://h/%EF%BF%BD"},
      {TEXT("ws://h/\xc3\t\xa9"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xe2\x82"
            "a"),
       "ws://h/%EF%BF%BDa"},
      {TEXT("ws://h/\xf0\x9f\x98\xc3\xa9"), "ws://h/%EF%BF%BD%C3%A9"},
      {TEXT("ws://h/\xc0\x80"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xed\xa0"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xe0\x9f"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xf0\x8f"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xf4\x90"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xf5\x80"), "ws://h/%EF%BF%BD%EF%BF%BD"},
      {TEXT("ws://h/\xf4\x8f\xbf\xbf\xed\x9f\xbf"),
       "ws://h/%F4%8F%BF%BF%ED%9F%BF"},
  };

  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++)
    assert_href(cases[i].input, cases[i].len, cases[i].href);
}

static void test_refused(void** state) {
  static const struct {
    const char* input;
    size_t len;
    uvws__url_status_t status;
  } cases[] = {
      {TEXT(""), UVWS__URL_SYNTAX},
      {TEXT(" \t\n"), UVWS__URL_SYNTAX},
      /* no scheme, or another one */
      {TEXT("example.com"), UVWS__URL_SYNTAX},
      {TEXT("//example.com/"), UVWS__URL_SYNTAX},
      {TEXT("/path"), UVWS__URL_SYNTAX},
      {TEXT("?query"), UVWS__URL_SYNTAX},
      {TEXT("ws"), UVWS__URL_SYNTAX},
      {TEXT("ws//h"), UVWS__URL_SYNTAX},
      {TEXT("wsss://h"), UVWS__URL_SYNTAX},
      {TEXT("w://h"), UVWS__URL_SYNTAX},
      {TEXT("ftp://h"), UVWS__URL_SYNTAX},
      {TEXT("file:///h"), UVWS__URL_SYNTAX},
      {TEXT("mailto:a@b"), UVWS__URL_SYNTAX},
      {TEXT("ws\x1a//h"), UVWS__URL_SYNTAX},
      {TEXT("\xef\xbb\xbfws://h"), UVWS__URL_SYNTAX},
      /* fragments */
      {TEXT("ws://h/#"), UVWS__URL_SYNTAX},
      {TEXT("ws://h#f"), UVWS__URL_SYNTAX},
      {TEXT("ws://h/?q#f"), UVWS__URL_SYNTAX},
      {TEXT("ws://h/ #\x01"), UVWS__URL_SYNTAX},
      /* no host */
      {TEXT("ws:"), UVWS__URL_SYNTAX},
      {TEXT("ws://"), UVWS__URL_SYNTAX},
      {TEXT("ws:///"), UVWS__URL_SYNTAX},
      {TEXT("ws://?q"), UVWS__URL_SYNTAX},
      {TEXT("ws://:81"), UVWS__URL_SYNTAX},
      {TEXT("ws://u@"), UVWS__URL_SYNTAX},
      {TEXT("ws://u@/h"), UVWS__URL_SYNTAX},
      {TEXT("ws://u:p@:81/"), UVWS__URL_SYNTAX},
      /* ports */
      {TEXT("ws://h:65536"), UVWS__URL_SYNTAX},
      {TEXT("ws://h:18446744073709551617"), UVWS__URL_SYNTAX},
      {TEXT("ws://h:8a"), UVWS__URL_SYNTAX},
      {TEXT("ws://h:-1"), UVWS__URL_SYNTAX},
      {TEXT("ws://h:8 0"), UVWS__URL_SYNTAX},
      {TEXT("ws://h:80:80"), UVWS__URL_SYNTAX},
      {TEXT("ws://[::1]81"), UVWS__URL_SYNTAX},
      /* hosts */
      {TEXT("ws://%"), UVWS__URL_SYNTAX},
      {TEXT("ws://a%2"), UVWS__URL_SYNTAX},
      {TEXT("ws://a%zz"), UVWS__URL_SYNTAX},
      {TEXT("ws://a%2525"), UVWS__URL_SYNTAX},
      {TEXT("ws://a%00b"), UVWS__URL_SYNTAX},
      {TEXT("ws://a\0b"), UVWS__URL_SYNTAX},
      {TEXT("ws://\xc3\xa9.example"), UVWS__URL_NON_ASCII_HOST},
      {TEXT("ws://%C3%A9.example"), UVWS__URL_NON_ASCII_HOST},
      {TEXT("ws://u:p@\xe2\x98\x83:81/"), UVWS__URL_NON_ASCII_HOST},
      {TEXT("ws://h\xff"), UVWS__URL_NON_ASCII_HOST},
      {TEXT("ws://\xc3\xa9/#"), UVWS__URL_SYNTAX},
  };

  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++)
    assert_refused(cases[i].input, cases[i].len, cases[i].status);
}

/* NULL: not a host. */
typedef struct host_case_s {
  const char* input;
  const char* serialised;
} host_case_t;

static void check_hosts(const host_case_t* cases, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char input[128];
    char href[128];

    snprintf(input, sizeof(input), "ws://%s", cases[i].input);
    if (cases[i].serialised == NULL) {
      assert_refused(input, strlen(input), UVWS__URL_SYNTAX);
    } else {
      snprintf(href, sizeof(href), "ws://%s/", cases[i].serialised);
      assert_href(input, strlen(input), href);
    }
  }
}

static void test_ipv4(void** state) {
  static const host_case_t cases[] = {
      {"1.2.3.4", "1.2.3.4"},
      {"1.2.3.4.", "1.2.3.4"},
      {"1.2.3", "1.2.0.3"},
      {"1.2", "1.0.0.2"},
      {"1", "0.0.0.1"},
      {"0", "0.0.0.0"},
      {"0x", "0.0.0.0"},
      {"0X7F.1", "127.0.0.1"},
      {"0x7f000001", "127.0.0.1"},
      {"017700000001", "127.0.0.1"},
      {"0300.0250.01.02", "192.168.1.2"},
      {"0x00000000000000000000000ff.1", "255.0.0.1"},
      {"00.01.0x2.3", "0.1.2.3"},
      {"%30%78%63%30%2e0250.01", "192.168.0.1"},
      {"255.255.255.255", "255.255.255.255"},
      {"255.255.65535", "255.255.255.255"},
      {"255.16777215", "255.255.255.255"},
      {"4294967295", "255.255.255.255"},
      {"1.2.3.256", NULL},
      {"1.2.65536", NULL},
      {"1.16777216", NULL},
      {"4294967296", NULL},
      {"256.1", NULL},
      {"1.256.3.4", NULL},
      {"18446744073709551617", NULL},
      {"0x10000000000000000", NULL},
      {"1.2.3.4.5", NULL},
      {"1.2.3.08", NULL},
      {"09", NULL},
      {"a.1", NULL},
      {"a.0x1f", NULL},
      {"a.0x", NULL},
      {"1..2", NULL},
      {".1", NULL},
      {"1.2.3.0xg.", "1.2.3.0xg."},
  };

  (void)state;
  check_hosts(cases, COUNT(cases));
}

static void test_ipv6(void** state) {
  static const host_case_t cases[] = {
      {"[::]", "[::]"},
      {"[::1]", "[::1]"},
      {"[1::]", "[1::]"},
      {"[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7:8]"},
      {"[0001:ABCD:eF::0]", "[1:abcd:ef::]"},
      /* which run of zeros is compressed */
      {"[0:0:1:0:0:0:1:1]", "[0:0:1::1:1]"},
      {"[1:0:0:2:3:0:0:4]", "[1::2:3:0:0:4]"},
      {"[1:0:2:0:3:0:4:0]", "[1:0:2:0:3:0:4:0]"},
      {"[1:2:3:4:5:6:0:0]", "[1:2:3:4:5:6::]"},
      {"[1::3:4:5:6:7:8]", "[1:0:3:4:5:6:7:8]"},
      {"[::2:3:4:5:6:7:8]", "[0:2:3:4:5:6:7:8]"},
      {"[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:0]"},
      {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]",
       "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"},
      /* embedded IPv4 */
      {"[::1.2.3.4]", "[::102:304]"},
      {"[64:ff9b::192.0.2.33]", "[64:ff9b::c000:221]"},
      {"[1:2:3:4:5::0.0.0.1]", "[1:2:3:4:5::1]"},
      {"[1:2:3:4:5:6:7:1.2.3.4]", NULL},
      {"[1:2:3:4:5:1.2.3.4]", NULL},
      {"[::1.2.3.4:5]", NULL},
      {"[::1.2.3]", NULL},
      {"[::1.2.3.]", NULL},
      {"[::1.2.3.4.]", NULL},
      {"[::1.2.3.4.5]", NULL},
      {"[::1..3.4]", NULL},
      {"[::.2.3.4]", NULL},
      {"[::1.2.3.256]", NULL},
      {"[::1.2.3.01]", NULL},
      {"[::00.2.3.4]", NULL},
      {"[::1.2.3.a]", NULL},
      {"[::a.2.3.4]", NULL},
      {"[1.2.3.4]", NULL},
      /* malformed */
      {"[]", NULL},
      {"[", NULL},
      {"[::1", NULL},
      {"::1]", NULL},
      {"[:]", NULL},
      {"[:1]", NULL},
      {"[:1::]", NULL},
      {"[1:]", NULL},
      {"[1:2:3:4:5:6:7:]", NULL},
      {"[:::]", NULL},
      {"[1:::2]", NULL},
      {"[1::2::3]", NULL},
      {"[1:2:3:4:5:6:7]", NULL},
      {"[1:2:3:4:5:6:7:8:9]", NULL},
      {"[1:2:3:4:5:6:7:8:]", NULL},
      {"[1:2:3:4:5:6:7:8::]", NULL},
      {"[::1:2:3:4:5:6:7:8]", NULL},
      {"[12345::]", NULL},
      {"[::g]", NULL},
      {"[::1%eth0]", NULL},
      {"[::1%25eth0]", NULL},
      {"[%3a%3a]", NULL},
      {"[[::1]]", NULL},
      {"a[::1]", NULL},
      {"[::1]a", NULL},
  };

  (void)state;
  check_hosts(cases, COUNT(cases));
}

/* Puts every printable ASCII byte but `delimiters` between `before` and "z",
 * and expects it escaped if and only if it is in `escaped`. */
static void check_encode_set(const char* before, const char* after,
                             const char* delimiters, const char* escaped) {
  for (int c = 0x20; c <= 0x7f; c++) {
    char input[64];
    char href[64];
    const bool escape = c == 0x7f || strchr(escaped, c) != NULL;

    if (c != 0x7f && strchr(delimiters, c) != NULL) continue;
    snprintf(input, sizeof(input), "%s%cz%s", before, c, after);
    snprintf(href, sizeof(href), escape ? "%s%%%02Xz%s" : "%s%cz%s", before, c,
             after);
    assert_href(input, strlen(input), href);
  }
}

static void test_encode_sets(void** state) {
  (void)state;
  check_encode_set("ws://h/a", "", "#?\\", " \"<>^`{}");
  check_encode_set("ws://h/?a", "", "#", " \"'<>");
  check_encode_set("ws://a", "@h/", "#?/\\:", " \"<>^`{};=@[]|");
  check_encode_set("ws://:a", "@h/", "#?/\\", " \"<>^`{}:;=@[]|");
}

/* URL, 3.2: the forbidden domain code points, percent-encoded and as they are;
 * what cannot get into a domain as it is, because it delimits or vanishes, only
 * percent-encoded. */
static void test_forbidden_in_domain(void** state) {
  static const char forbidden[] = " #%/:<>?@[\\]^|";
  static const char elsewhere[] = "/\\?@\t\n\r";

  (void)state;
  for (int c = 0; c < 0x80; c++) {
    const bool refused = c < 0x20 || c == 0x7f || strchr(forbidden, c) != NULL;
    char raw[] = "ws://a-z/";
    char encoded[32];
    char href[] = "ws://a-z/";

    snprintf(encoded, sizeof(encoded), "ws://a%%%02xz/", (unsigned)c);
    raw[6] = (char)c;
    href[6] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    if (refused)
      assert_refused(encoded, strlen(encoded), UVWS__URL_SYNTAX);
    else
      assert_href(encoded, strlen(encoded), href);

    if (c != 0 && strchr(elsewhere, c) != NULL) continue;
    if (refused)
      assert_refused(TEXT(raw), UVWS__URL_SYNTAX);
    else
      assert_href(TEXT(raw), href);
  }
}

static void test_length_is_respected(void** state) {
  uvws__url_t url;

  (void)state;
  assert_int_equal(uvws__url_parse(&url, "ws://h/abc#", 9), UVWS__URL_OK);
  assert_string_equal(url.href, "ws://h/ab");
  uvws__url_clear(&url);
  assert_int_equal(uvws__url_parse(&url, NULL, 0), UVWS__URL_SYNTAX);
  assert_zeroed(&url);
}

/* Quadratic work on any of these would run into ctest's timeout. */
static void test_long_inputs(void** state) {
  static const struct {
    const char* before;
    const char* unit;
    const char* after;
    uvws__url_status_t status;
  } cases[] = {
      {"ws://h/", "a/../", "", UVWS__URL_OK},
      {"ws://h/", "%2e/", "", UVWS__URL_OK},
      {"ws://h/", "a/", "..", UVWS__URL_OK},
      {"ws://h/?", "\xff", "", UVWS__URL_OK},
      {"ws://", "@", "h", UVWS__URL_OK},
      {"ws://", ":", "@h", UVWS__URL_OK},
      {"ws:", "/", "h", UVWS__URL_OK},
      {"ws://h", ".a", "", UVWS__URL_OK},
      {"ws://0x", "0", "1", UVWS__URL_OK},
      {"ws://", "1.", "1", UVWS__URL_SYNTAX},
      {"ws://[", "0:", "]", UVWS__URL_SYNTAX},
      {"ws://h:", "0", "81", UVWS__URL_OK},
      {"ws://h:", "9", "", UVWS__URL_SYNTAX},
      {" ", "\t", "ws://h", UVWS__URL_OK},
  };
  const size_t units = 1 << 20;

  (void)state;
  for (size_t i = 0; i < COUNT(cases); i++) {
    const size_t before = strlen(cases[i].before);
    const size_t unit = strlen(cases[i].unit);
    const size_t after = strlen(cases[i].after);
    const size_t len = before + units * unit + after;
    char* input = malloc(len);
    uvws__url_t url;

    assert_non_null(input);
    memcpy(input, cases[i].before, before);
    for (size_t k = 0; k < units; k++)
      memcpy(input + before + k * unit, cases[i].unit, unit);
    memcpy(input + len - after, cases[i].after, after);
    assert_int_equal(uvws__url_parse(&url, input, len), cases[i].status);
    uvws__url_clear(&url);
    free(input);
  }
}

static void test_every_allocation_fails(void** state) {
  static const char input[] =
      "wss://user:\xff\xff\xff\xff\xff\xff@[1:2:3:4:5:6:7:8]:81/a^/b^/c^/"
      "d^?'''";
  uvws__url_status_t status = UVWS__URL_NO_MEMORY;
  uvws__url_t url;
  int n;

  (void)state;
  for (n = 0; status == UVWS__URL_NO_MEMORY; n++) {
    allocations_left = n;
    status = uvws__url_parse(&url, TEXT(input));
    allocations_left = -1;
    if (status != UVWS__URL_NO_MEMORY) break;
    assert_zeroed(&url);
    assert_int_equal(live_blocks, 0);
  }
  assert_int_equal(status, UVWS__URL_OK);
  assert_true(n >= 2);
  assert_string_equal(url.target, "/a%5E/b%5E/c%5E/d%5E?%27%27%27");
  assert_int_equal(live_blocks, 1);
  uvws__url_clear(&url);
}

static void test_blocked_ports(void** state) {
  static const uint16_t blocked[] = {0,    1,    21,   25,   179,  515,  587,
                                     990,  2049, 4190, 6000, 6665, 6666, 6667,
                                     6668, 6669, 6679, 6697, 10080};
  static const uint16_t allowed[] = {2,    80,   81,   443,   1024,
                                     6664, 6670, 8080, 10081, 65535};
  unsigned total = 0;

  (void)state;
  for (size_t i = 0; i < COUNT(blocked); i++)
    assert_true(uvws__port_is_blocked(blocked[i]));
  for (size_t i = 0; i < COUNT(allowed); i++)
    assert_false(uvws__port_is_blocked(allowed[i]));
  for (unsigned port = 0; port <= UINT16_MAX; port++)
    if (uvws__port_is_blocked((uint16_t)port)) total++;
  assert_int_equal(total, 83);
}

static int replace_allocator(void** state) {
  (void)state;
  return uvws_replace_allocator(counting_malloc, counting_realloc,
                                counting_calloc, counting_free);
}

static int no_block_leaks(void** state) {
  (void)state;
  return live_blocks;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_accepted),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_ipv4),
      cmocka_unit_test(test_ipv6),
      cmocka_unit_test(test_encode_sets),
      cmocka_unit_test(test_forbidden_in_domain),
      cmocka_unit_test(test_length_is_respected),
      cmocka_unit_test(test_long_inputs),
      cmocka_unit_test(test_every_allocation_fails),
      cmocka_unit_test(test_blocked_ports),
  };
  return cmocka_run_group_tests(tests, replace_allocator, no_block_leaks);
}
