#ifndef UVWS_SRC_PROTOCOL_TOKEN_H_
#define UVWS_SRC_PROTOCOL_TOKEN_H_

/* What the headers of the opening handshake are made of: RFC 9110, 5.6. */

#include <stdbool.h>
#include <stddef.h>

/* A stretch of a longer string, without a NUL of its own. */
typedef struct uvws__span_s {
  const char* at;
  size_t len;
} uvws__span_t;

/* RFC 9110, 5.6.2: token = 1*tchar. */
bool uvws__is_tchar(unsigned char c);
bool uvws__is_token(const char* s, size_t len);

/* Optional whitespace, RFC 9110, 5.6.3: the first byte behind it. */
const char* uvws__skip_ows(const char* s);

/* Comparisons without regard to the case of ASCII letters, whatever the locale:
 * of two stretches, and of a stretch with a whole string. One of the two may
 * end in a NUL before `len` as long as the other does not. */
bool uvws__matches_nocase(const char* a, const char* b, size_t len);
bool uvws__equals_nocase(const char* s, size_t len, const char* text);

/* RFC 9110, 5.6.1: moves *at, in the value of a list header, behind the next
 * element that is not empty and reports it without the whitespace around it;
 * false at the end. Quoted strings are not known: no list read this way may
 * have any. */
bool uvws__list_next(const char** at, uvws__span_t* element);

#endif /* UVWS_SRC_PROTOCOL_TOKEN_H_ */
