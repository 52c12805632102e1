#ifdef __linux__
#define _GNU_SOURCE /* secure_getenv() */
#endif

#include "environment.h"

#include <stdlib.h>
#if !defined(__linux__) && !defined(_WIN32)
#include <unistd.h>
#endif

const char* uvws__environment(const char* name) {
#if defined(__linux__)
  return secure_getenv(name);
#elif defined(_WIN32)
  return getenv(name);
#else
  return issetugid() ? NULL : getenv(name);
#endif
}
