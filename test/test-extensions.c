/* The grammar of Sec-WebSocket-Extensions, as values and what is read from
 * them. Each value is read from a block of just its size. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/extensions.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Each name between brackets, each parameter as {name} or {name=value}; "!" is
 * where the reader found the value malformed. */
static const struct {
  const char* value;
  const char* items;
} cases[] = {
    {"a", "[a]"},
    {"permessage-deflate", "[permessage-deflate]"},
    {"a, b", "[a][b]"},
    {"a,b,a", "[a][b][a]"},
    {"a;b", "[a]{b}"},
    {"a;b=c", "[a]{b=c}"},
    {"a;b=10;c", "[a]{b=10}{c}"},
    {"permessage-deflate; client_max_window_bits; server_max_window_bits=10, "
     "permessage-deflate",
     "[permessage-deflate]{client_max_window_bits}{server_max_window_bits=10}"
     "[permessage-deflate]"},
    {"a;b;b=c;b", "[a]{b}{b=c}{b}"},
    {"!#$%&'*+-.^_`|~09azAZ;~=`", "[!#$%&'*+-.^_`|~09azAZ]{~=`}"},
    /* A quoted value is a token, too. */
    {"a;b=\"c\"", "[a]{b=c}"},
    {"a;b=\"c\\d\"", "[a]{b=c\\d}"},
    {"a;b=\"c\";d,e", "[a]{b=c}{d}[e]"},
    /* RFC 2616, 2.1: implied whitespace, and empty elements of a list. */
    {" \ta \t;\t b \t=\t c \t,\t d \t", "[a]{b=c}[d]"},
    {"a; b = \"c\" , d", "[a]{b=c}[d]"},
    {",a", "[a]"},
    {"a,", "[a]"},
    {" , ,a,, ,b , ,", "[a][b]"},
    {"a;b,,c", "[a]{b}[c]"},
    /* But one element there must be. */
    {"", "!"},
    {" ", "!"},
    {",", "!"},
    {" , ,\t", "!"},
    /* Names and what is between them. */
    {";a", "!"},
    {"=a", "!"},
    {"\"a\"", "!"},
    {"a b", "[a]!"},
    {"a=b", "[a]!"},
    {"a\"b\"", "[a]!"},
    {"a/b", "[a]!"},
    {"a, (", "[a]!"},
    {"\x80", "!"},
    {"a\x80", "[a]!"},
    {"a\x01", "[a]!"},
    {"a;", "[a]!"},
    {"a; ", "[a]!"},
    {"a;;b", "[a]!"},
    {"a;,b", "[a]!"},
    {"a;=b", "[a]!"},
    {"a;b c", "[a]{b}!"},
    {"a;b=", "[a]!"},
    {"a;b= ", "[a]!"},
    {"a;b=;c", "[a]!"},
    {"a;b=,c", "[a]!"},
    {"a;b==c", "[a]!"},
    {"a;b=c=d", "[a]{b=c}!"},
    {"a;b=c d", "[a]{b=c}!"},
    {"a;b=c\"d\"", "[a]{b=c}!"},
    /* Quotes that do not close, or hold no token. */
    {"a;b=\"", "[a]!"},
    {"a;b=\"c", "[a]!"},
    {"a;b=\"c\\", "[a]!"},
    {"a;b=\"c\\\"", "[a]!"},
    {"a;b=\"\\", "[a]!"},
    {"a;b=\"\"", "[a]!"},
    {"a;b=\"c d\"", "[a]!"},
    {"a;b=\"c,d\"", "[a]!"},
    {"a;b=\"c;d\"", "[a]!"},
    {"a;b=\"\\\"\"", "[a]!"},
    {"a;b=\"\\\\\"", "[a]!"},
    {"a;b=\"c\"d", "[a]{b=c}!"},
    {"a;b=\"c\"\"d\"", "[a]{b=c}!"},
    {"a;b='c d'", "[a]{b='c}!"},
};

static void read_items(const char* value, char* out, size_t size) {
  uvws__extension_reader_t reader = {.at = value};
  size_t len = 0;

  out[0] = '\0';
  for (;;) {
    const uvws__extension_item_t item = uvws__extension_next(&reader);
    const char* text = "!";
    char rendered[128];

    switch (item) {
      case UVWS__EXTENSION_END: return;
      case UVWS__EXTENSION_NAME:
        snprintf(rendered, sizeof(rendered), "[%.*s]", (int)reader.name_len,
                 reader.name);
        text = rendered;
        break;
      case UVWS__EXTENSION_PARAMETER:
        snprintf(rendered, sizeof(rendered), "{%.*s%s%.*s}",
                 (int)reader.name_len, reader.name,
                 reader.value != NULL ? "=" : "", (int)reader.value_len,
                 reader.value != NULL ? reader.value : "");
        text = rendered;
        break;
      case UVWS__EXTENSION_MALFORMED: break;
    }
    len += (size_t)snprintf(out + len, size - len, "%s", text);
    if (item == UVWS__EXTENSION_MALFORMED) return;
  }
}

static void test_items(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const char* end = strchr(cases[i].items, '\0');
    const bool valid = end[-1] != '!';
    char* value = strdup(cases[i].value);
    char items[512];

    assert_non_null(value);
    read_items(value, items, sizeof(items));
    assert_string_equal(items, cases[i].items);
    assert_int_equal(uvws__extensions_are_valid(value), valid);
    free(value);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_items),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
