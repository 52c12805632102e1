/* Values of Sec-WebSocket-Extensions: what is read lies in the value and is
 * made of tokens, and what was read, written out again, reads the same. */

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "protocol/extensions.h"
#include "protocol/token.h"

/* Appends "<before><bytes>". */
static size_t put(char* out, size_t at, char before, const char* bytes,
                  size_t len) {
  out[at] = before;
  memcpy(out + at + 1, bytes, len);
  return at + 1 + len;
}

/* Writes the items of `value` as a new value; false when it is malformed. */
static bool rewrite(const char* value, char* out) {
  const char* end = value + strlen(value);
  uvws__extension_reader_t reader = {.at = value};
  size_t len = 0;
  for (;;) {
    const char* before = reader.at;
    uvws__extension_item_t item = uvws__extension_next(&reader);
    out[len] = '\0';
    if (item == UVWS__EXTENSION_END || item == UVWS__EXTENSION_MALFORMED)
      return item == UVWS__EXTENSION_END;
    CHECK(reader.at > before && reader.at <= end);
    CHECK(reader.name >= value && reader.name + reader.name_len <= end);
    CHECK(uvws__is_token(reader.name, reader.name_len));
    len = put(out, len, item == UVWS__EXTENSION_NAME ? ',' : ';', reader.name,
              reader.name_len);
    if (reader.value == NULL) continue;
    CHECK(item == UVWS__EXTENSION_PARAMETER);
    CHECK(reader.value_len > 0 && reader.value + reader.value_len <= end);
    len = put(out, len, '=', "\"", 1);
    len = put(out, len - 1, '"', reader.value, reader.value_len);
    out[len++] = '"';
  }
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  char* value = malloc(len + 1);
  char* once = malloc(3 * len + 2);
  char* twice = malloc(3 * len + 2);
  CHECK(value != NULL && once != NULL && twice != NULL);
  memcpy(value, data, len);
  value[len] = '\0';
  bool valid = rewrite(value, once);
  CHECK(valid == uvws__extensions_are_valid(value));
  if (valid) {
    CHECK(rewrite(once, twice));
    CHECK(strcmp(once, twice) == 0);
  }
  free(value);
  free(once);
  free(twice);
  return 0;
}
