#include "error.h"

#include <stdbool.h>
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

/* libuv allocates, and leaks, for a status that it does not know. */
static bool is_libuvs(int status) {
  switch (status) {
#define X(name, text) case UV_##name:
    UV_ERRNO_MAP(X)
#undef X
    return true;
    default: return false;
  }
}

static bool is_ours(int status) {
  return status <= statuses[0].status && status > UVWS_ERRNO_END;
}

/* The row of one of ours, which count down from the first. */
static size_t row_of(int status) {
  return (size_t)(statuses[0].status - status);
}

const char* uvws_strerror(int status) {
  if (status == 0) return "success";
  if (is_ours(status)) return statuses[row_of(status)].text;
  return is_libuvs(status) ? uv_strerror(status) : "unknown status";
}

const char* uvws_err_name(int status) {
  if (status == 0) return "OK";
  if (is_ours(status)) return statuses[row_of(status)].name;
  return is_libuvs(status) ? uv_err_name(status) : "UNKNOWN";
}
