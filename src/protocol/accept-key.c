/* The only file of this room that includes mbedTLS. All buffers have the fixed
 * sizes of RFC 6455; what has another length is refused before it is copied. */

#include "protocol/accept-key.h"

#include <string.h>

#include <mbedtls/sha1.h>
#include <mbedtls/version.h>

/* 2.28 still has the old function without a result under the plain name. */
#if MBEDTLS_VERSION_MAJOR < 3
#define sha1 mbedtls_sha1_ret
#else
#define sha1 mbedtls_sha1
#endif

/* RFC 6455, 1.3. */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#define KEY_LENGTH (UVWS__KEY_SIZE - 1)

/* RFC 4648, 4, table 1. Sums instead of the table: what is encoded may be a
 * password, and must not choose the memory that is read. */
static char digit(unsigned six_bits) {
  const int value = (int)six_bits;

  return (char)('A' + value + (value > 25) * ('a' - 'Z' - 1) -
                (value > 51) * ('z' + 1 - '0') -
                (value > 61) * ('9' + 1 - '+') +
                (value > 62) * ('/' - '+' - 1));
}

void uvws__base64_encode(char* out, const void* data, size_t len) {
  const unsigned char* in = data;

  for (; len > 0; in += 3) {
    const unsigned second = len > 1 ? in[1] : 0;
    const unsigned third = len > 2 ? in[2] : 0;
    const unsigned bits = (unsigned)in[0] << 16 | second << 8 | third;

    *out++ = digit(bits >> 18);
    *out++ = digit(bits >> 12 & 63);
    *out++ = len > 1 ? digit(bits >> 6 & 63) : '=';
    *out++ = len > 2 ? digit(bits & 63) : '=';
    len -= len < 3 ? len : 3;
  }
  *out = '\0';
}

static bool is_digit(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* RFC 4648, 4: six bits a character, so 22 of them and the padding. */
bool uvws__key_is_valid(const char* key) {
  size_t n = 0;

  while (is_digit(key[n])) n++;
  return n == KEY_LENGTH - 2 && strcmp(key + n, "==") == 0;
}

bool uvws__accept_key(const char* key, char accept[UVWS__ACCEPT_SIZE]) {
  unsigned char text[KEY_LENGTH + sizeof(GUID) - 1];
  unsigned char hash[20];

  if (strlen(key) != KEY_LENGTH) return false;
  memcpy(text, key, KEY_LENGTH);
  memcpy(text + KEY_LENGTH, GUID, sizeof(GUID) - 1);
  if (sha1(text, sizeof(text), hash) != 0) return false;
  uvws__base64_encode(accept, hash, sizeof(hash));
  return true;
}
