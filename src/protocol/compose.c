#include "protocol/compose.h"

#include <string.h>

#include "alloc.h"
#include "protocol/accept-key.h"

void uvws__put(uvws__text_t* text, const void* data, size_t len) {
  if (text->data != NULL && len > 0) memcpy(text->data + text->len, data, len);
  text->len += len;
}

void uvws__put_string(uvws__text_t* text, const char* s) {
  uvws__put(text, s, strlen(s));
}

void uvws__put_field(uvws__text_t* text, const char* name, const char* value) {
  uvws__put_string(text, name);
  uvws__put_string(text, ": ");
  uvws__put_string(text, value);
  uvws__put_string(text, UVWS__CRLF);
}

void uvws__put_optional(uvws__text_t* text, const char* name,
                        const char* value) {
  if (value != NULL && *value != '\0') uvws__put_field(text, name, value);
}

void uvws__put_fields(uvws__text_t* text, const uvws__field_t* fields,
                      unsigned n_fields) {
  for (unsigned i = 0; i < n_fields; i++)
    uvws__put_field(text, fields[i].name, fields[i].value);
}

bool uvws__compose_again(uvws__text_t* text) {
  if (text->data != NULL) return false;
  text->data = uvws__malloc(text->len);
  text->len = 0;
  return text->data != NULL;
}

char* uvws__basic_credentials(const char* username, const char* password) {
  uvws__text_t plain = {NULL, 0};
  char* credentials;

  do {
    uvws__put_string(&plain, username);
    uvws__put_string(&plain, ":");
    uvws__put_string(&plain, password);
  } while (uvws__compose_again(&plain));
  if (plain.data == NULL) return NULL;

  credentials = uvws__malloc(UVWS__BASE64_SIZE(plain.len));
  if (credentials != NULL)
    uvws__base64_encode(credentials, plain.data, plain.len);
  uvws__free(plain.data);
  return credentials;
}
