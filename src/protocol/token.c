/* Bytes are classified by the table below and never by <ctype.h>, which asks
 * the locale. */

#include "protocol/token.h"

#include <string.h>

/* ASCII from NUL to DEL, 16 to the line: '1' where RFC 9110 has a tchar. */
static const char tchars[] =
    "0000000000000000"
    "0000000000000000"
    "0101111100110110"  /*  !"#$%&'()*+,-./ */
    "1111111111000000"  /* 0123456789:;<=>? */
    "0111111111111111"  /* @ABCDEFGHIJKLMNO */
    "1111111111100011"  /* PQRSTUVWXYZ[\]^_ */
    "1111111111111111"  /* `abcdefghijklmno */
    "1111111111101010"; /* pqrstuvwxyz{|}~  */

bool uvws__is_tchar(unsigned char c) {
  return c < sizeof(tchars) - 1 && tchars[c] == '1';
}

bool uvws__is_token(const char* s, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (!uvws__is_tchar((unsigned char)s[i])) return false;
  return len > 0;
}

const char* uvws__skip_ows(const char* s) {
  return s + strspn(s, " \t");
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool uvws__matches_nocase(const char* a, const char* b, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return false;
  return true;
}

bool uvws__equals_nocase(const char* s, size_t len, const char* text) {
  return uvws__matches_nocase(s, text, len) && text[len] == '\0';
}

bool uvws__list_next(const char** at, uvws__span_t* element) {
  const char* start = *at + strspn(*at, ", \t");
  size_t len = strcspn(start, ",");

  *at = start + len;
  while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t')) len--;
  *element = (uvws__span_t){start, len};
  return len > 0;
}
