#ifndef UVWS_TEST_COUNTING_H_
#define UVWS_TEST_COUNTING_H_

/* An allocator that counts the bytes that are in use, and can fail. */

#include "helper.h"

#include <malloc.h>
#include <stdlib.h>

static size_t live; /* bytes */
static unsigned calls;
static unsigned fail_at; /* the allocation from now that fails; 0: none */

static bool fails(void) {
  calls++;
  return fail_at > 0 && --fail_at == 0;
}

static void* count(void* ptr) {
  live += malloc_usable_size(ptr);
  return ptr;
}

static void* counting_malloc(size_t size) {
  return fails() ? NULL : count(malloc(size));
}

static void* counting_calloc(size_t n, size_t size) {
  return fails() ? NULL : count(calloc(n, size));
}

static void* counting_realloc(void* ptr, size_t size) {
  if (fails()) return NULL;
  live -= malloc_usable_size(ptr);
  return count(realloc(ptr, size));
}

static void counting_free(void* ptr) {
  live -= malloc_usable_size(ptr);
  free(ptr);
}

static int count_allocations(void** state) {
  (void)state;
  test_keep_nothing();
  return uvws_replace_allocator(counting_malloc, counting_realloc,
                                counting_calloc, counting_free);
}

#endif /* UVWS_TEST_COUNTING_H_ */
