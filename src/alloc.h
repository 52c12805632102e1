#ifndef UVWS_SRC_ALLOC_H_
#define UVWS_SRC_ALLOC_H_

/* The ground floor: every room may include this header, it includes no room.
 * All memory of the library comes from here, so that uvws_replace_allocator()
 * reaches it and a test can make any allocation fail. */

#include <stddef.h>

/* All return NULL when there is no memory, or when the size overflows. */
void* uvws__malloc(size_t size);
void* uvws__calloc(size_t count, size_t size);
void* uvws__realloc(void* ptr, size_t size);
void uvws__free(void* ptr); /* NULL is fine */

/* A NUL-terminated copy of `len` bytes. */
char* uvws__strndup(const char* s, size_t len);

#endif /* UVWS_SRC_ALLOC_H_ */
