#include "protocol/close-code.h"

#include <stddef.h>

/* RFC 6455, 7.4 and IANA's registry: 1004 is reserved, 1005, 1006 and 1015 are
 * for local use only, 1016-2999 wait for the protocol's own future, 3000-3999
 * are registered by libraries, 4000-4999 private. */
static const struct {
  unsigned first, last;
} allowed[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};

bool uvws__close_code_is_valid(unsigned code) {
  for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
    if (code >= allowed[i].first && code <= allowed[i].last) return true;
  return false;
}
