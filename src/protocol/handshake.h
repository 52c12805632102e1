#ifndef UVWS_SRC_PROTOCOL_HANDSHAKE_H_
#define UVWS_SRC_PROTOCOL_HANDSHAKE_H_

/* The opening handshake of RFC 6455, section 4, on both roles: pure functions
 * from heads to answers. */

#include "protocol/accept-key.h"
#include "protocol/compose.h"
#include "protocol/head.h"

/* How many subprotocols a request may offer. RFC 6455 names no limit; without
 * one, looking for duplicates takes time quadratic in what a peer sends. */
#define UVWS__MAX_OFFERED_PROTOCOLS 128

/* What a client asks for. An Authorization line among the fields wins over the
 * credentials. */
typedef struct uvws__offer_s {
  const char* target;    /* request target: path and query */
  const char* authority; /* Host header */
  const char* username;  /* Basic credentials, both NULL for none */
  const char* password;
  const char* origin; /* or NULL */
  const char* const* protocols;
  unsigned n_protocols;
  const char* extensions;      /* Sec-WebSocket-Extensions offer, or NULL */
  const uvws__field_t* fields; /* the caller's own header lines */
  unsigned n_fields;
} uvws__offer_t;

/* What came out of a handshake; the strings point into the head. */
typedef struct uvws__agreement_s {
  const char* protocol;   /* "" for none */
  const char* extensions; /* the header's value as sent, "" for none */
} uvws__agreement_t;

/* Writes the key for `nonce` into `key` and builds the request. */
uvws__text_t uvws__handshake_request(const uvws__offer_t* offer,
                                     const uint8_t nonce[UVWS__NONCE_SIZE],
                                     char key[UVWS__KEY_SIZE]);

/* Client: checks the server's final response against what was offered. The
 * agreement is filled in when it is UVWS__OK. */
uvws__failure_t uvws__handshake_check_response(const uvws__head_t* head,
                                               const uvws__offer_t* offer,
                                               const char* key,
                                               uvws__agreement_t* agreement);

/* Server: checks everything in a request that the protocol prescribes (4.2.1).
 * The Origin is a question of policy: see the next function. */
uvws__failure_t uvws__handshake_check_request(const uvws__head_t* head);

/* Whether it asks for an upgrade to WebSocket at all, however wrongly. */
bool uvws__handshake_is_upgrade(const uvws__head_t* head);

/* Server: checks what HTTP prescribes for any other request (RFC 9112, 3.2). */
uvws__failure_t uvws__handshake_check_http(const uvws__head_t* head);

/* The path and query that a request is for; NULL when its target has none. */
const char* uvws__handshake_resource(const uvws__head_t* head);

/* Whether the Origin header is absent, or names the host (and port) that the
 * request was sent to, compared with scheme default ports filled in. */
bool uvws__handshake_same_origin(const uvws__head_t* head, bool secure);

/* The `index`-th subprotocol that the request offers, over all its
 * Sec-WebSocket-Protocol lines: its length is put into *len; NULL when there
 * are no more. Not NUL-terminated. */
const char* uvws__handshake_offered_protocol(const uvws__head_t* head,
                                             unsigned index, size_t* len);

/* Server: the 101 response to a request that has passed the check. protocol
 * and extensions may be NULL or "" for none. */
uvws__text_t uvws__handshake_response(const uvws__head_t* request,
                                      const char* protocol,
                                      const char* extensions,
                                      const uvws__field_t* fields,
                                      unsigned n_fields);

/* Server: any other final response; it says Connection: close. Without a body
 * `len` is what its length would be (RFC 9110, 8.6). The headers that a status
 * needs (Upgrade and Sec-WebSocket-Version with 426, Allow with 405) are added
 * unless `fields` has it, which only Allow can be. */
uvws__text_t uvws__handshake_refusal(unsigned http_status,
                                     const uvws__field_t* fields,
                                     unsigned n_fields, const void* body,
                                     size_t len);

/* The same for a failure of a request: its HTTP status, and its text as the
 * body, unless the request is known to be HEAD. */
uvws__text_t uvws__handshake_refuse(const uvws__head_t* request,
                                    uvws__failure_t failure);

/* RFC 9110, 9.3.2: whether the response must not have a body. */
bool uvws__handshake_wants_no_body(const uvws__head_t* request);

/* Whether a caller may add this header line: name a token, value without CR,
 * LF, NUL and other control characters but HTAB, and not one of the names that
 * the handshake itself owns. */
bool uvws__field_is_allowed(const uvws__field_t* field);

/* WebSockets standard, constructor step on protocols: each a token of RFC 9110
 * and none twice (compared case-sensitively). */
bool uvws__protocols_are_valid(const char* const* protocols, unsigned n);

#endif /* UVWS_SRC_PROTOCOL_HANDSHAKE_H_ */
