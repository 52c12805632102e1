#ifndef UVWS_SRC_PROTOCOL_PROXY_H_
#define UVWS_SRC_PROTOCOL_PROXY_H_

/* What a client and a proxy say to each other before the proxy steps aside:
 * HTTP's CONNECT (RFC 9110, 9.3.6) with Basic credentials (RFC 7617), or SOCKS
 * 5 (RFC 1928) with a user name and password (RFC 1929). */

#include "protocol/compose.h"

typedef enum { UVWS__PROXY_HTTP, UVWS__PROXY_SOCKS5 } uvws__proxy_kind_t;

/* The strings must outlive the talk. */
typedef struct uvws__proxy_request_s {
  uvws__proxy_kind_t kind;
  const char* host; /* where to connect; an IPv6 address has no brackets */
  uint16_t port;
  const uint8_t* address; /* the same, when it is one: 4 or 16 bytes */
  unsigned address_len;   /* else 0 */
  const char* username;   /* with `password`, or both NULL */
  const char* password;
  size_t max_head; /* of an HTTP answer, as for uvws__head_new() */
  unsigned max_headers;
} uvws__proxy_request_t;

typedef enum {
  UVWS__TALK_MORE,  /* all bytes were taken, the answer goes on */
  UVWS__TALK_SAY,   /* so they were; there is something to say */
  UVWS__TALK_DONE,  /* connected: bytes from *used on are not the proxy's */
  UVWS__TALK_FAILED /* *failure tells why */
} uvws__talk_status_t;

typedef struct uvws__talk_s uvws__talk_t;

/* NULL when there is no memory. */
uvws__talk_t* uvws__talk_new(const uvws__proxy_request_t* request);
void uvws__talk_free(uvws__talk_t* talk);

/* What is to be sent: first right after uvws__talk_new(), then after each
 * UVWS__TALK_SAY. Valid until the next call. */
const void* uvws__talk_say(const uvws__talk_t* talk, size_t* len);

/* Takes bytes of the proxy's, split anywhere. */
uvws__talk_status_t uvws__talk_feed(uvws__talk_t* talk, const uint8_t* data,
                                    size_t len, size_t* used,
                                    uvws__failure_t* failure);

/* How the proxy put its refusal, such as "403" or "host unreachable"; "" when
 * it did not. */
const char* uvws__talk_detail(const uvws__talk_t* talk);

/* Whether credentials fit into what the proxy speaks. */
bool uvws__credentials_are_valid(uvws__proxy_kind_t kind, const char* username,
                                 const char* password);

#endif /* UVWS_SRC_PROTOCOL_PROXY_H_ */
