#ifndef UVWS_SRC_PROTOCOL_URL_H_
#define UVWS_SRC_PROTOCOL_URL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A WebSocket URL, taken apart by the rules of the WHATWG URL standard and of
 * the WebSockets standard's section 3.1 (constructor): http becomes ws, https
 * becomes wss, any other scheme and any fragment is a syntax error.
 *
 * All strings lie in one block owned by the struct; absent parts are "". */
typedef struct uvws__url_s {
  char* href;        /* the serialised URL: the `url` attribute */
  char* host;        /* for the resolver: no brackets around IPv6 */
  char* authority;   /* for the Host header: brackets, port unless default */
  char* origin_host; /* host as serialised (with brackets), without port */
  char* target;      /* path and query: the request target, never empty */
  char* username;    /* percent-decoded, but for "%00" */
  char* password;    /* likewise */
  uint16_t port;
  bool secure;       /* wss */
  bool has_userinfo; /* a username or password was given */
  void* memory;
} uvws__url_t;

typedef enum {
  UVWS__URL_OK = 0,
  UVWS__URL_SYNTAX, /* not a URL, wrong scheme, fragment, bad host or port */
  UVWS__URL_NON_ASCII_HOST, /* would need IDNA, which uvws leaves to callers */
  UVWS__URL_NO_MEMORY
} uvws__url_status_t;

/* `input` need not be NUL-terminated. It is taken for UTF-8: what is ill-formed
 * in it becomes U+FFFD. On failure `url` is left zeroed. */
uvws__url_status_t uvws__url_parse(uvws__url_t* url, const char* input,
                                   size_t len);

/* Frees the strings and zeroes `url`; a zeroed one is fine. */
void uvws__url_clear(uvws__url_t* url);

/* The Fetch standard's "bad port" list. */
bool uvws__port_is_blocked(uint16_t port);

#endif /* UVWS_SRC_PROTOCOL_URL_H_ */
