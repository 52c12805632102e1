#ifndef UVWS_SRC_PROTOCOL_HOST_H_
#define UVWS_SRC_PROTOCOL_HOST_H_

/* The host of a URL with a special scheme: WHATWG URL standard, 3.5. */

#include <stddef.h>

#include "protocol/url.h"

/* What an address can be longer than the text it was parsed from ("1" is
 * 0.0.0.1), and the terminating NUL. */
#define UVWS__HOST_EXTRA sizeof("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]")

/* Writes the serialised host (an IPv6 address in brackets, an IPv4 address
 * dotted, a domain in lowercase) and a NUL into `out`, which has room for
 * len + UVWS__HOST_EXTRA bytes and does not overlap `in`. */
uvws__url_status_t uvws__host_parse(char* out, size_t* out_len, const char* in,
                                    size_t len);

/* Writes at most `len` bytes into `out` and returns how many. "%00" stays as it
 * is: whoever decodes wants a C string, and a '%' is refused in a domain just
 * as a NUL would be. */
size_t uvws__percent_decode(char* out, const char* in, size_t len);

#endif /* UVWS_SRC_PROTOCOL_HOST_H_ */
