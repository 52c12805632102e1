#include "alloc.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "uvws.h"

static uv_malloc_func malloc_func = malloc;
static uv_realloc_func realloc_func = realloc;
static uv_calloc_func calloc_func = calloc;
static uv_free_func free_func = free;

int uvws_replace_allocator(uv_malloc_func new_malloc,
                           uv_realloc_func new_realloc,
                           uv_calloc_func new_calloc, uv_free_func new_free) {
  if (new_malloc == NULL || new_realloc == NULL || new_calloc == NULL ||
      new_free == NULL)
    return UV_EINVAL;
  malloc_func = new_malloc;
  realloc_func = new_realloc;
  calloc_func = new_calloc;
  free_func = new_free;
  return 0;
}

void* uvws__malloc(size_t size) {
  return malloc_func(size);
}

void* uvws__calloc(size_t count, size_t size) {
  return calloc_func(count, size);
}

/* glibc's calloc() passes by the blocks that free() keeps at hand. They then
 * stay full, and every free() goes the long way, too. */
void* uvws__zalloc(size_t size) {
  void* block = uvws__malloc(size);
  if (block != NULL) memset(block, 0, size);
  return block;
}

void* uvws__realloc(void* ptr, size_t size) {
  return realloc_func(ptr, size);
}

void uvws__free(void* ptr) {
  free_func(ptr);
}

char* uvws__strndup(const char* s, size_t len) {
  char* copy = uvws__malloc(len + 1);
  if (copy == NULL) return NULL;
  memcpy(copy, s, len);
  copy[len] = '\0';
  return copy;
}

static const size_t SPARE_MIN = 16 * 1024; /* smaller ones are cheap anyway */
static const size_t SPARE_MAX = 4 * 1024 * 1024;
static const size_t SPARES_TOTAL = 16 * 1024 * 1024;

static void* take_spare(uvws__spares_t* spares, unsigned i) {
  void* block = spares->blocks[i].block;
  spares->total -= spares->blocks[i].size;
  spares->n--;
  memmove(&spares->blocks[i], &spares->blocks[i + 1],
          (spares->n - i) * sizeof(spares->blocks[0]));
  if (spares->unused > spares->n) spares->unused = spares->n;
  return block;
}

/* The smallest that fits, and the newest of these, which is still in the
 * cache. One that is much too large would be missed elsewhere. */
void* uvws__spares_take(uvws__spares_t* spares, uint64_t least, size_t* size) {
  unsigned best = UVWS__SPARES;
  if (spares == NULL || least > SPARE_MAX) return NULL;
  *size = 4 * (size_t)least + SPARE_MIN;
  for (unsigned i = 0; i < spares->n; i++) {
    if (spares->blocks[i].size < least || spares->blocks[i].size > *size)
      continue;
    best = i;
    *size = spares->blocks[i].size;
  }
  return best == UVWS__SPARES ? NULL : take_spare(spares, best);
}

void uvws__spares_give(uvws__spares_t* spares, void* block, size_t size) {
  if (spares == NULL || block == NULL || size < SPARE_MIN || size > SPARE_MAX) {
    uvws__free(block);
    return;
  }
  while (spares->n == UVWS__SPARES || spares->total > SPARES_TOTAL - size)
    uvws__free(take_spare(spares, 0));
  if (spares->n == 0 && spares->first != NULL) spares->first(spares);
  spares->blocks[spares->n].block = block;
  spares->blocks[spares->n].size = size;
  spares->n++;
  spares->total += size;
}

bool uvws__spares_trim(uvws__spares_t* spares) {
  for (unsigned unused = spares->unused; unused > 0; unused--)
    uvws__free(take_spare(spares, 0));
  spares->unused = spares->n;
  return spares->n > 0;
}

static bool fits(uint64_t n, uint64_t used, uint64_t max) {
  return used <= max && n <= max - used;
}

bool uvws__budget_allows(uvws__budget_t* budget, uint64_t n, uvws__use_t use) {
  if (budget == NULL || budget->max == 0) return true;
  uint64_t max = budget->max;
  if (use == UVWS__FOR_DEFLATING)
    return fits(n, budget->used, max) && fits(n, budget->of_deflate, max / 4);
  if (use == UVWS__FOR_INFLATING && !fits(n, budget->of_deflate, max - max / 4))
    return false;
  if (fits(n, budget->used, use == UVWS__FOR_SLOW ? max - max / 8 : max))
    return true;
  budget->scarce = true;
  return false;
}

static bool is_of_deflate(uvws__use_t use) {
  return use == UVWS__FOR_INFLATING || use == UVWS__FOR_DEFLATING;
}

void uvws__budget_take(uvws__budget_t* budget, uint64_t n, uvws__use_t use) {
  if (budget == NULL) return;
  budget->used += n;
  if (is_of_deflate(use)) budget->of_deflate += n;
}

/* A quarter must be free before senders are called back, or each would be
 * called for the few bytes that the one before has left. */
void uvws__budget_give(uvws__budget_t* budget, uint64_t n, uvws__use_t use) {
  if (budget == NULL) return;
  budget->used -= n;
  if (is_of_deflate(use)) budget->of_deflate -= n;
  if (!budget->scarce || budget->used > budget->max - budget->max / 4) return;
  budget->scarce = false;
  budget->room(budget);
}

void uvws__give_back(void* block, size_t len) {
#if defined(__linux__)
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t start = ((uintptr_t)block + page - 1) / page * page;
  uintptr_t end = ((uintptr_t)block + len) / page * page;
  if (end > start) (void)madvise((void*)start, end - start, MADV_DONTNEED);
#else
  (void)block;
  (void)len;
#endif
}
