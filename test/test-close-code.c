#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "protocol/close-code.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 6455, 7.4.2: the codes that may stand in a close frame begin, or end, at
 * each of these. */
static void test_every_code(void** state) {
  static const unsigned changes[] = {1000, 1004, 1007, 1015, 3000, 5000};
  unsigned n = 0;
  (void)state;
  for (unsigned code = 0; code <= 0xFFFF; code++) {
    if (n < COUNT_OF(changes) && code == changes[n]) n++;
    assert_int_equal(uvws__close_code_is_valid(code), n % 2);
  }
  assert_false(uvws__close_code_is_valid(0x10000 + 1000));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_code),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
