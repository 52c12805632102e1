#ifndef UVWS_SRC_PROTOCOL_ACCEPT_KEY_H_
#define UVWS_SRC_PROTOCOL_ACCEPT_KEY_H_

/* The proof in the opening handshake that the server speaks WebSocket: RFC
 * 6455, 1.3. SHA-1 is what the protocol prescribes; nothing secret hangs on
 * it. */

#include <stdbool.h>
#include <stddef.h>

/* Characters of `n` bytes in base64, NUL included. */
#define UVWS__BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

#define UVWS__NONCE_SIZE  16 /* bytes of randomness in Sec-WebSocket-Key */
#define UVWS__KEY_SIZE    UVWS__BASE64_SIZE(UVWS__NONCE_SIZE)
#define UVWS__ACCEPT_SIZE UVWS__BASE64_SIZE(20)

/* Writes UVWS__BASE64_SIZE(len) characters. */
void uvws__base64_encode(char* out, const void* data, size_t len);

/* Whether `key` is base64 for exactly UVWS__NONCE_SIZE bytes. */
bool uvws__key_is_valid(const char* key);

/* The Sec-WebSocket-Accept that answers a valid `key`; false when there is
 * none, because the key is of another length or the SHA-1 engine failed. */
bool uvws__accept_key(const char* key, char accept[UVWS__ACCEPT_SIZE]);

#endif /* UVWS_SRC_PROTOCOL_ACCEPT_KEY_H_ */
