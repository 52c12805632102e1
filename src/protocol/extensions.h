#ifndef UVWS_SRC_PROTOCOL_EXTENSIONS_H_
#define UVWS_SRC_PROTOCOL_EXTENSIONS_H_

/* The Sec-WebSocket-Extensions grammar of RFC 6455, section 9.1:
 *
 *   extension-list  = 1#extension
 *   extension       = extension-token *( ";" extension-param )
 *   extension-param = token [ "=" ( token / quoted-string ) ]
 *
 * where the unescaped content of a quoted-string must be a token as well. It is
 * read as a stream of names and parameters, so nothing is allocated. */

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  UVWS__EXTENSION_NAME,      /* a new extension begins: name is set */
  UVWS__EXTENSION_PARAMETER, /* of the extension last named; value may be NULL
                              */
  UVWS__EXTENSION_END,
  UVWS__EXTENSION_MALFORMED
} uvws__extension_item_t;

typedef struct uvws__extension_reader_s {
  const char* at; /* start with the header's value, NUL-terminated */
  const char* name;
  size_t name_len;
  const char* value; /* NULL for a parameter without a value */
  size_t value_len;  /* without quotes; may hold quoted-pair backslashes */
  /* private */
  bool started;
} uvws__extension_reader_t;

/* After END or MALFORMED the reader is done with. */
uvws__extension_item_t uvws__extension_next(uvws__extension_reader_t* reader);

/* Whether the whole value fits the grammar. */
bool uvws__extensions_are_valid(const char* value);

#endif /* UVWS_SRC_PROTOCOL_EXTENSIONS_H_ */
