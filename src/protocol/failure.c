/* The one table behind the three accessors. It leaves out the status column:
 * its names come from libuv, which this room does not know. */

#include "protocol/failure.h"

#include <stddef.h>

static const struct {
  int code;
  int http_status;
  const char* text;
  /* clang-format off */
} rows[UVWS__FAILURE_COUNT] = {
    [UVWS__OK] = {0, 0, ""},
#define X(name, status, code, http, text) \
    [UVWS__FAIL_##name] = {code, http, text},
    UVWS__FAILURE_MAP(X)
#undef X
};
/* clang-format on */

static size_t row_of(uvws__failure_t failure) {
  const size_t row = (size_t)failure;
  return row < UVWS__FAILURE_COUNT ? row : UVWS__OK;
}

int uvws__failure_code(uvws__failure_t failure) {
  return rows[row_of(failure)].code;
}

int uvws__failure_http_status(uvws__failure_t failure) {
  return rows[row_of(failure)].http_status;
}

const char* uvws__failure_text(uvws__failure_t failure) {
  return rows[row_of(failure)].text;
}
