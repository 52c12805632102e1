#ifndef UVWS_SRC_PROTOCOL_COMPOSE_H_
#define UVWS_SRC_PROTOCOL_COMPOSE_H_

/* HTTP messages, composed twice by the same lines: once to measure them, and
 * once more to write them into memory of just that size.
 *
 *   uvws__text_t text = {NULL, 0};
 *   do
 *     uvws__put_string(&text, ...);
 *   while (uvws__compose_again(&text)); */

#include "protocol/head.h"

#define UVWS__CRLF "\r\n"

/* A built message: `len` bytes at `data`, from uvws__malloc; data is NULL when
 * there was no memory. */
typedef struct uvws__text_s {
  char* data;
  size_t len;
} uvws__text_t;

void uvws__put(uvws__text_t* text, const void* data, size_t len);
void uvws__put_string(uvws__text_t* text, const char* s);
void uvws__put_field(uvws__text_t* text, const char* name, const char* value);
void uvws__put_fields(uvws__text_t* text, const uvws__field_t* fields,
                      unsigned n_fields);

/* Nothing when the value is NULL or empty. */
void uvws__put_optional(uvws__text_t* text, const char* name,
                        const char* value);

/* Between measuring and writing: whether to compose the message once more. */
bool uvws__compose_again(uvws__text_t* text);

/* RFC 7617, 2: the user-pass in base64, from uvws__malloc; NULL when there is
 * no memory. */
char* uvws__basic_credentials(const char* username, const char* password);

#endif /* UVWS_SRC_PROTOCOL_COMPOSE_H_ */
