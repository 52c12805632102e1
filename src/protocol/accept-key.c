/* The only file of this room that includes mbedTLS. All buffers have the fixed
 * sizes of RFC 6455; what has another length is refused before it is copied. */

#include "protocol/accept-key.h"

#include <string.h>

#include <mbedtls/base64.h>
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

#define ALPHABET               \
  "ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
  "abcdefghijklmnopqrstuvwxyz" \
  "0123456789+/"

void uvws__base64_encode(char* out, const void* data, size_t len) {
  size_t written;

  /* It can only fail for want of room. */
  (void)mbedtls_base64_encode((unsigned char*)out, UVWS__BASE64_SIZE(len),
                              &written, data, len);
}

/* RFC 4648, 4: six bits a character, so 22 of them and the padding. Not
 * mbedTLS's decoder: it passes over blanks. */
bool uvws__key_is_valid(const char* key) {
  return strspn(key, ALPHABET) == KEY_LENGTH - 2 &&
         strcmp(key + KEY_LENGTH - 2, "==") == 0;
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
