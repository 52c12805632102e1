#include "error.h"

#include <stddef.h>

#include "uvws.h"

static const struct {
  int status;
  const char* name;
  const char* text;
} statuses[] = {
#define X(name, value, text) {value, "UVWS_" #name, text},
    UVWS_ERRNO_MAP(X)
#undef X
};

static const int failure_statuses[] = {[UVWS__OK] = 0,
#define X(name, status, code, http, text) [UVWS__FAIL_##name] = status,
                                       UVWS__FAILURE_MAP(X)
#undef X
};

int uvws__failure_status(uvws__failure_t failure) {
  return failure_statuses[failure];
}

/* The row of one of our own statuses, which count down from the first. */
static size_t row_of(int status) {
  return (size_t)(statuses[0].status - status);
}

static int is_ours(int status) {
  return status <= statuses[0].status && status > UVWS_ERRNO_END;
}

const char* uvws_strerror(int status) {
  if (status == 0) return "success";
  return is_ours(status) ? statuses[row_of(status)].text : uv_strerror(status);
}

const char* uvws_err_name(int status) {
  if (status == 0) return "OK";
  return is_ours(status) ? statuses[row_of(status)].name : uv_err_name(status);
}
