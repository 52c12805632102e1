/* A reader only ever moves forward: after each item it stands right behind it,
 * and what must follow (";", "," or the end) is checked by the next call.
 *
 * RFC 6455, 9.1 borrows the rules of RFC 2616: whitespace may stand between any
 * two parts, and elements of a list may be empty as long as one is not. */

#include "protocol/extensions.h"

#include "protocol/token.h"

static size_t token_length(const char* s) {
  size_t len = 0;
  while (uvws__is_tchar((unsigned char)s[len])) len++;
  return len;
}

/* The content of a quoted-string, from behind its opening quote; 0 unless it is
 * closed and, unescaped, a token. */
static size_t quoted_length(const char* s) {
  size_t len = 0;

  while (s[len] != '"') {
    if (s[len] == '\\') len++;
    if (!uvws__is_tchar((unsigned char)s[len])) return 0;
    len++;
  }
  return len;
}

/* Reads the name at `at` and returns the byte behind it. */
static const char* take_name(uvws__extension_reader_t* reader, const char* at) {
  reader->name = at;
  reader->name_len = token_length(at);
  reader->value = NULL;
  reader->value_len = 0;
  return at + reader->name_len;
}

/* The same for a value, quoted or not. */
static const char* take_value(uvws__extension_reader_t* reader,
                              const char* at) {
  const bool quoted = *at == '"';

  reader->value = at + quoted;
  reader->value_len =
      quoted ? quoted_length(reader->value) : token_length(reader->value);
  return reader->value_len > 0 ? reader->value + reader->value_len + quoted
                               : NULL;
}

/* `at` is behind the ";". */
static uvws__extension_item_t read_parameter(uvws__extension_reader_t* reader,
                                             const char* at) {
  const char* equals;

  at = take_name(reader, uvws__skip_ows(at));
  if (reader->name_len == 0) return UVWS__EXTENSION_MALFORMED;
  equals = uvws__skip_ows(at);
  if (*equals == '=') at = take_value(reader, uvws__skip_ows(equals + 1));
  if (at == NULL) return UVWS__EXTENSION_MALFORMED;
  reader->at = at;
  return UVWS__EXTENSION_PARAMETER;
}

uvws__extension_item_t uvws__extension_next(uvws__extension_reader_t* reader) {
  const char* at = uvws__skip_ows(reader->at);

  if (reader->started) {
    if (*at == '\0') return UVWS__EXTENSION_END;
    if (*at == ';') return read_parameter(reader, at + 1);
    if (*at != ',') return UVWS__EXTENSION_MALFORMED;
  }
  while (*at == ',') at = uvws__skip_ows(at + 1);
  if (*at == '\0' && reader->started) return UVWS__EXTENSION_END;

  at = take_name(reader, at);
  if (reader->name_len == 0) return UVWS__EXTENSION_MALFORMED;
  reader->at = at;
  reader->started = true;
  return UVWS__EXTENSION_NAME;
}

bool uvws__extensions_are_valid(const char* value) {
  uvws__extension_reader_t reader = {.at = value};
  uvws__extension_item_t item;

  do {
    item = uvws__extension_next(&reader);
  } while (item == UVWS__EXTENSION_NAME || item == UVWS__EXTENSION_PARAMETER);
  return item == UVWS__EXTENSION_END;
}
