#ifndef UVWS_SRC_ALLOC_H_
#define UVWS_SRC_ALLOC_H_

/* The ground floor: every room may include this header, it includes no room.
 * All memory of the library comes from here, so that uvws_replace_allocator()
 * reaches it and a test can make any allocation fail. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is rarely called must not make its caller save registers for it. */
#if defined(__GNUC__)
#define UVWS__NOINLINE __attribute__((noinline))
#else
#define UVWS__NOINLINE
#endif

/* All return NULL when there is no memory, or when the size overflows. */
void* uvws__malloc(size_t size);
void* uvws__calloc(size_t count, size_t size);
void* uvws__zalloc(size_t size); /* zeroed: for what comes and goes often */
void* uvws__realloc(void* ptr, size_t size);
void uvws__free(void* ptr); /* NULL is fine */

/* A NUL-terminated copy of `len` bytes. */
char* uvws__strndup(const char* s, size_t len);

/* Large blocks that nobody uses, kept for whoever needs one next: from message
 * to message the system's allocator would give their pages back and ask for
 * them again. Zeroed memory has none. Instead of a pointer to one, NULL keeps
 * nothing. */
#define UVWS__SPARES 16

typedef struct uvws__spares_s {
  struct {
    void* block;
    size_t size;
  } blocks[UVWS__SPARES]; /* the oldest first */
  unsigned n;
  unsigned unused; /* so many were not needed since the last trim */
  size_t total;    /* bytes */
  void (*first)(struct uvws__spares_s* spares); /* there were none */
} uvws__spares_t;

/* A block of `least` bytes or some more; *size is what it has. NULL when there
 * is none. */
void* uvws__spares_take(uvws__spares_t* spares, uint64_t least, size_t* size);

/* Frees a block, or keeps it. */
void uvws__spares_give(uvws__spares_t* spares, void* block, size_t size);

/* Frees what was not needed since the last time; whether any is left. */
bool uvws__spares_trim(uvws__spares_t* spares);

/* What the connections of a server may use together; `max` 0 is no limit.
 * Zeroed memory is an unlimited one, and so is NULL. */
typedef struct uvws__budget_s {
  uint64_t used;
  uint64_t of_deflate; /* among them */
  uint64_t max;
  bool scarce; /* somebody was refused: call `room` once there is some again */
  void (*room)(struct uvws__budget_s* budget);
} uvws__budget_t;

/* What for. A peer that does not keep up and has memory already leaves the last
 * eighth to the others. Compressed messages make much of little traffic: all
 * that they need may be three quarters. And contexts for sending, which we can
 * do without, are refused when that is one quarter. */
typedef enum {
  UVWS__FOR_ANY,
  UVWS__FOR_SLOW,
  UVWS__FOR_INFLATING,
  UVWS__FOR_DEFLATING
} uvws__use_t;

/* Whether `n` more bytes would fit. */
bool uvws__budget_allows(uvws__budget_t* budget, uint64_t n, uvws__use_t use);
void uvws__budget_take(uvws__budget_t* budget, uint64_t n, uvws__use_t use);
void uvws__budget_give(uvws__budget_t* budget, uint64_t n, uvws__use_t use);

/* Gives the system the whole pages of a block that will be written before it is
 * read again. It stays allocated. */
void uvws__give_back(void* block, size_t len);

#endif /* UVWS_SRC_ALLOC_H_ */
