/* Nothing here keeps state: heads come in complete, and verdicts and messages
 * go out. Whatever points into a head lives as long as the head.
 *
 * The checks are in the order in which a peer can make sense of the answers:
 * first whether this is HTTP as we speak it, then whether it is an upgrade to
 * WebSocket, then the details of that. Of several faults the first is reported.
 */

#include "protocol/handshake.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "protocol/extensions.h"
#include "protocol/token.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 6455, 4.1 and 11.3: what may stand only once. An extension response, too,
 * is not to be split into lines, while a request's may be. */
static const char* const once_in_request[] = {"Host", "Sec-WebSocket-Key",
                                              "Sec-WebSocket-Version", NULL};
static const char* const once_in_response[] = {"Sec-WebSocket-Accept",
                                               "Sec-WebSocket-Extensions",
                                               "Sec-WebSocket-Protocol", NULL};

/* What the handshake itself writes, besides Sec-WebSocket-*. */
static const char* const owned[] = {"Connection", "Content-Length",
                                    "Host",       "Origin",
                                    "Upgrade",    "Transfer-Encoding"};

static const struct {
  const char* prefix;
  long port;
  bool secure;
} origins[] = {{"http://", 80, false},
               {"https://", 443, true},
               {"ws://", 80, false},
               {"wss://", 443, true}};

static const struct {
  unsigned status;
  const char* phrase;
} phrases[] = {
    {200, "OK"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {410, "Gone"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

/* RFC 9110, 15.5.6 and 15.5.22; RFC 6455, 4.4. */
static const struct {
  unsigned status;
  uvws__field_t field;
} required[] = {
    {405, {"Allow", "GET"}},
    {426, {"Upgrade", "websocket"}},
    {426, {"Sec-WebSocket-Version", "13"}},
};

/* Reading heads */

/* RFC 9110, 5.3: the elements of a list header, over all its lines. */
typedef struct elements_s {
  const uvws__head_t* head;
  const char* name;
  unsigned index;   /* of the next line to look at */
  const char* line; /* what is left of the current one */
} elements_t;

static bool next_element(elements_t* list, uvws__span_t* element) {
  while (list->line == NULL || !uvws__list_next(&list->line, element)) {
    list->line = uvws__head_field(list->head, list->name, &list->index);
    if (list->line == NULL) return false;
  }
  return true;
}

static bool has_element(const uvws__head_t* head, const char* name,
                        const char* text) {
  elements_t list = {.head = head, .name = name};
  uvws__span_t element;

  while (next_element(&list, &element))
    if (uvws__equals_nocase(element.at, element.len, text)) return true;
  return false;
}

static const char* first(const uvws__head_t* head, const char* name) {
  return uvws__head_field(head, name, NULL);
}

static bool is_repeated(const uvws__head_t* head, const char* name) {
  unsigned index = 0;

  return uvws__head_field(head, name, &index) != NULL &&
         uvws__head_field(head, name, &index) != NULL;
}

static bool any_is_repeated(const uvws__head_t* head,
                            const char* const* names) {
  for (; *names != NULL; names++)
    if (is_repeated(head, *names)) return true;
  return false;
}

/* RFC 9112, 6: one of two headers announces a body. Only a length of zero is
 * harmless, and neither header may be there in a 101. */
static bool has_body(const uvws__head_t* head) {
  const char* length;
  unsigned index = 0;

  if (first(head, "Transfer-Encoding") != NULL) return true;
  while ((length = uvws__head_field(head, "Content-Length", &index)) != NULL)
    if (length[strspn(length, "0")] != '\0') return true;
  return false;
}

static bool span_equals(uvws__span_t a, const char* text, size_t len) {
  return a.len == len && memcmp(a.at, text, len) == 0;
}

/* Hosts and origins */

typedef struct authority_s {
  uvws__span_t host;
  long port;
} authority_t;

/* RFC 3986, 3.2.2: what an address in brackets and what a name may have. */
#define ADDRESS_SET "0123456789abcdefABCDEF:."
#define NAME_MARKS  "-._~!$&'()*+,;=%"

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && strchr(NAME_MARKS, c) != NULL);
}

static size_t name_length(const char* s) {
  size_t len = 0;

  while (is_name_char(s[len])) len++;
  return len;
}

static size_t host_length(const char* s) {
  size_t len;

  if (*s != '[') return name_length(s);
  len = 1 + strspn(s + 1, ADDRESS_SET);
  return len > 1 && s[len] == ']' ? len + 1 : 0;
}

/* *port stays as it is when there are no digits. */
static bool parse_port(const char* s, long* port) {
  long value = 0;

  if (*s == '\0') return true;
  for (; is_digit(*s) && value <= 65535; s++) value = value * 10 + (*s - '0');
  *port = value;
  return *s == '\0' && value <= 65535;
}

/* uri-host [ ":" port ], where the host is not empty. */
static bool parse_authority(const char* s, long default_port,
                            authority_t* authority) {
  authority->host = (uvws__span_t){s, host_length(s)};
  authority->port = default_port;
  if (authority->host.len == 0) return false;
  s += authority->host.len;
  if (*s == '\0') return true;
  return *s == ':' && parse_port(s + 1, &authority->port);
}

static bool host_is_valid(const uvws__head_t* head) {
  const char* host = first(head, "Host");
  authority_t authority;

  return host != NULL && parse_authority(host, 0, &authority);
}

/* Whether the origin's host and port are those of the Host header. A Host
 * without a port takes the default of the origin's scheme: behind a proxy that
 * ends TLS the server does not know its own. */
static bool origin_is(const char* origin, const char* host, bool secure) {
  for (size_t i = 0; i < COUNT_OF(origins); i++) {
    const size_t len = strlen(origins[i].prefix);
    authority_t theirs;
    authority_t ours;

    if (uvws__matches_nocase(origin, origins[i].prefix, len))
      return (origins[i].secure || !secure) &&
             parse_authority(origin + len, origins[i].port, &theirs) &&
             parse_authority(host, origins[i].port, &ours) &&
             theirs.port == ours.port && theirs.host.len == ours.host.len &&
             uvws__matches_nocase(theirs.host.at, ours.host.at, ours.host.len);
  }
  return false;
}

bool uvws__handshake_same_origin(const uvws__head_t* head, bool secure) {
  const char* origin = first(head, "Origin");
  const char* host = first(head, "Host");

  if (origin == NULL) return true;
  return host != NULL && !is_repeated(head, "Origin") &&
         origin_is(origin, host, secure);
}

/* Server: checking a request */

static uvws__failure_t check_offered_protocols(const uvws__head_t* head) {
  elements_t list = {.head = head, .name = "Sec-WebSocket-Protocol"};
  uvws__span_t offered[UVWS__MAX_OFFERED_PROTOCOLS];
  uvws__span_t element;
  unsigned n = 0;

  while (next_element(&list, &element)) {
    if (n == COUNT_OF(offered) || !uvws__is_token(element.at, element.len))
      return UVWS__FAIL_PROTOCOL_HEADER;
    for (unsigned i = 0; i < n; i++)
      if (span_equals(offered[i], element.at, element.len))
        return UVWS__FAIL_PROTOCOL_HEADER;
    offered[n++] = element;
  }
  /* RFC 6455, 4.3: 1#token, so a header with nothing in it is malformed. */
  return n == 0 && first(head, list.name) != NULL ? UVWS__FAIL_PROTOCOL_HEADER
                                                  : UVWS__OK;
}

static bool extensions_are_valid(const uvws__head_t* head) {
  const char* value;
  unsigned index = 0;

  while ((value = uvws__head_field(head, "Sec-WebSocket-Extensions", &index)) !=
         NULL)
    if (!uvws__extensions_are_valid(value)) return false;
  return true;
}

/* RFC 6455, 4.2.1, 1: a resource name, or an absolute URL that contains it. */
const char* uvws__handshake_resource(const uvws__head_t* head) {
  const char* target = uvws__head_target(head);

  for (size_t i = 0; i < COUNT_OF(origins) && *target != '/'; i++) {
    const size_t len = strlen(origins[i].prefix);

    if (uvws__matches_nocase(target, origins[i].prefix, len))
      return strchr(target + len, '/');
  }
  return *target == '/' ? target : NULL;
}

uvws__failure_t uvws__handshake_check_request(const uvws__head_t* head) {
  const char* key = first(head, "Sec-WebSocket-Key");
  const char* version = first(head, "Sec-WebSocket-Version");
  uvws__failure_t failure;

  /* RFC 6455, 4.2.1, 1: a GET request of HTTP/1.1. */
  if (strcmp(uvws__head_method(head), "GET") != 0)
    return UVWS__FAIL_HTTP_METHOD;
  if (!uvws__head_is_http_1_1(head)) return UVWS__FAIL_HTTP_VERSION;
  if (uvws__handshake_resource(head) == NULL) return UVWS__FAIL_HTTP_TARGET;
  /* What follows the head are frames: bytes that a proxy in between takes for
   * a body must not be read as frames here. */
  if (has_body(head)) return UVWS__FAIL_HTTP_BODY;
  if (any_is_repeated(head, once_in_request)) return UVWS__FAIL_HTTP_DUPLICATE;
  /* 4.2.1, 2, and RFC 9112, 3.2. */
  if (!host_is_valid(head)) return UVWS__FAIL_HOST_HEADER;
  /* 4.2.1, 3 and 4. */
  if (!has_element(head, "Upgrade", "websocket"))
    return UVWS__FAIL_UPGRADE_HEADER;
  if (!has_element(head, "Connection", "upgrade"))
    return UVWS__FAIL_CONNECTION_HEADER;
  /* 4.2.1, 6, before 5: another version might have another sort of key. */
  if (version == NULL || strcmp(version, "13") != 0)
    return UVWS__FAIL_VERSION_HEADER;
  /* 4.2.1, 5. */
  if (key == NULL || !uvws__key_is_valid(key)) return UVWS__FAIL_KEY_HEADER;
  /* 4.2.1, 8 and 9. */
  failure = check_offered_protocols(head);
  if (failure != UVWS__OK) return failure;
  if (!extensions_are_valid(head)) return UVWS__FAIL_EXTENSIONS_HEADER;
  return UVWS__OK;
}

bool uvws__handshake_is_upgrade(const uvws__head_t* head) {
  return has_element(head, "Upgrade", "websocket") ||
         first(head, "Sec-WebSocket-Key") != NULL ||
         first(head, "Sec-WebSocket-Version") != NULL;
}

uvws__failure_t uvws__handshake_check_http(const uvws__head_t* head) {
  if (is_repeated(head, "Host")) return UVWS__FAIL_HTTP_DUPLICATE;
  /* Only HTTP/1.0 knew requests without Host. */
  if (first(head, "Host") == NULL && !uvws__head_is_http_1_1(head))
    return UVWS__OK;
  return host_is_valid(head) ? UVWS__OK : UVWS__FAIL_HOST_HEADER;
}

const char* uvws__handshake_offered_protocol(const uvws__head_t* head,
                                             unsigned index, size_t* len) {
  elements_t list = {.head = head, .name = "Sec-WebSocket-Protocol"};
  uvws__span_t element;

  do {
    if (!next_element(&list, &element)) return NULL;
  } while (index-- > 0);
  *len = element.len;
  return element.at;
}

/* Client: checking a response */

static bool names_extension(const char* offer, uvws__span_t name) {
  uvws__extension_reader_t reader = {.at = offer};
  uvws__extension_item_t item;

  do {
    item = uvws__extension_next(&reader);
    if (item == UVWS__EXTENSION_NAME &&
        span_equals(name, reader.name, reader.name_len))
      return true;
  } while (item == UVWS__EXTENSION_NAME || item == UVWS__EXTENSION_PARAMETER);
  return false;
}

/* RFC 6455, 4.1, response item 5. */
static uvws__failure_t check_extensions(const char* chosen, const char* offer) {
  uvws__extension_reader_t reader = {.at = chosen};
  uvws__extension_item_t item;

  if (!uvws__extensions_are_valid(chosen)) return UVWS__FAIL_EXTENSIONS_HEADER;
  while ((item = uvws__extension_next(&reader)) != UVWS__EXTENSION_END) {
    const uvws__span_t name = {reader.name, reader.name_len};

    if (item == UVWS__EXTENSION_NAME &&
        (offer == NULL || !names_extension(offer, name)))
      return UVWS__FAIL_EXTENSION_NOT_REQUESTED;
  }
  return UVWS__OK;
}

/* RFC 6455, 4.1, response item 6; and the WebSockets standard's "establish a
 * WebSocket connection": who asked for subprotocols must get one. */
static uvws__failure_t check_protocol(const char* chosen,
                                      const uvws__offer_t* offer) {
  if (offer->n_protocols == 0)
    return chosen == NULL ? UVWS__OK : UVWS__FAIL_PROTOCOL_NOT_REQUESTED;
  if (chosen == NULL || *chosen == '\0') return UVWS__FAIL_PROTOCOL_NOT_CHOSEN;
  for (unsigned i = 0; i < offer->n_protocols; i++)
    if (strcmp(chosen, offer->protocols[i]) == 0) return UVWS__OK;
  return UVWS__FAIL_PROTOCOL_NOT_REQUESTED;
}

static bool accepts_key(const uvws__head_t* head, const char* key) {
  const char* theirs = first(head, "Sec-WebSocket-Accept");
  char ours[UVWS__ACCEPT_SIZE];

  return theirs != NULL && uvws__accept_key(key, ours) &&
         strcmp(theirs, ours) == 0;
}

uvws__failure_t uvws__handshake_check_response(const uvws__head_t* head,
                                               const uvws__offer_t* offer,
                                               const char* key,
                                               uvws__agreement_t* agreement) {
  const char* upgrade = first(head, "Upgrade");
  const char* extensions = first(head, "Sec-WebSocket-Extensions");
  const char* protocol = first(head, "Sec-WebSocket-Protocol");
  uvws__failure_t failure;

  /* RFC 6455, 4.1, response item 1. */
  if (uvws__head_http_status(head) != 101) return UVWS__FAIL_HTTP_STATUS;
  if (!uvws__head_is_http_1_1(head)) return UVWS__FAIL_HTTP_VERSION;
  if (has_body(head)) return UVWS__FAIL_HTTP_BODY;
  if (any_is_repeated(head, once_in_response)) return UVWS__FAIL_HTTP_DUPLICATE;
  /* Item 2: here, other than in a request, it is the whole value. */
  if (upgrade == NULL || is_repeated(head, "Upgrade") ||
      !uvws__equals_nocase(upgrade, strlen(upgrade), "websocket"))
    return UVWS__FAIL_UPGRADE_HEADER;
  /* Item 3. */
  if (!has_element(head, "Connection", "upgrade"))
    return UVWS__FAIL_CONNECTION_HEADER;
  /* Item 4. */
  if (!accepts_key(head, key)) return UVWS__FAIL_ACCEPT_HEADER;
  if (extensions != NULL) {
    failure = check_extensions(extensions, offer->extensions);
    if (failure != UVWS__OK) return failure;
  }
  failure = check_protocol(protocol, offer);
  if (failure != UVWS__OK) return failure;

  agreement->protocol = protocol != NULL ? protocol : "";
  agreement->extensions = extensions != NULL ? extensions : "";
  return UVWS__OK;
}

/* Composing messages */

static bool has_field(const uvws__field_t* fields, unsigned n_fields,
                      const char* name) {
  for (unsigned i = 0; i < n_fields; i++)
    if (uvws__equals_nocase(fields[i].name, strlen(fields[i].name), name))
      return true;
  return false;
}

static void put_protocols(uvws__text_t* text, const uvws__offer_t* offer) {
  if (offer->n_protocols == 0) return;
  uvws__put_string(text, "Sec-WebSocket-Protocol: ");
  for (unsigned i = 0; i < offer->n_protocols; i++) {
    if (i > 0) uvws__put_string(text, ", ");
    uvws__put_string(text, offer->protocols[i]);
  }
  uvws__put_string(text, UVWS__CRLF);
}

/* RFC 6455, 4.1, request items 2 to 12. */
static uvws__text_t compose_request(const uvws__offer_t* offer, const char* key,
                                    const char* credentials) {
  uvws__text_t text = {NULL, 0};

  do {
    uvws__put_string(&text, "GET ");
    uvws__put_string(&text, offer->target);
    uvws__put_string(&text, " HTTP/1.1" UVWS__CRLF);
    uvws__put_field(&text, "Host", offer->authority);
    uvws__put_field(&text, "Upgrade", "websocket");
    uvws__put_field(&text, "Connection", "Upgrade");
    uvws__put_field(&text, "Sec-WebSocket-Key", key);
    uvws__put_field(&text, "Sec-WebSocket-Version", "13");
    uvws__put_optional(&text, "Origin", offer->origin);
    put_protocols(&text, offer);
    uvws__put_optional(&text, "Sec-WebSocket-Extensions", offer->extensions);
    if (credentials != NULL) {
      uvws__put_string(&text, "Authorization: Basic ");
      uvws__put_string(&text, credentials);
      uvws__put_string(&text, UVWS__CRLF);
    }
    uvws__put_fields(&text, offer->fields, offer->n_fields);
    uvws__put_string(&text, UVWS__CRLF);
  } while (uvws__compose_again(&text));
  return text;
}

uvws__text_t uvws__handshake_request(const uvws__offer_t* offer,
                                     const uint8_t nonce[UVWS__NONCE_SIZE],
                                     char key[UVWS__KEY_SIZE]) {
  uvws__text_t text = {NULL, 0};
  char* credentials = NULL;

  uvws__base64_encode(key, nonce, UVWS__NONCE_SIZE);
  if (offer->username != NULL &&
      !has_field(offer->fields, offer->n_fields, "Authorization")) {
    credentials = uvws__basic_credentials(offer->username, offer->password);
    if (credentials == NULL) return text;
  }
  text = compose_request(offer, key, credentials);
  uvws__free(credentials);
  return text;
}

/* RFC 6455, 4.2.2, 5. */
uvws__text_t uvws__handshake_response(const uvws__head_t* request,
                                      const char* protocol,
                                      const char* extensions,
                                      const uvws__field_t* fields,
                                      unsigned n_fields) {
  uvws__text_t text = {NULL, 0};
  char accept[UVWS__ACCEPT_SIZE];

  if (!uvws__accept_key(first(request, "Sec-WebSocket-Key"), accept))
    return text;
  do {
    uvws__put_string(&text, "HTTP/1.1 101 Switching Protocols" UVWS__CRLF
                            "Upgrade: websocket" UVWS__CRLF
                            "Connection: Upgrade" UVWS__CRLF);
    uvws__put_field(&text, "Sec-WebSocket-Accept", accept);
    uvws__put_optional(&text, "Sec-WebSocket-Protocol", protocol);
    uvws__put_optional(&text, "Sec-WebSocket-Extensions", extensions);
    uvws__put_fields(&text, fields, n_fields);
    uvws__put_string(&text, UVWS__CRLF);
  } while (uvws__compose_again(&text));
  return text;
}

static const char* phrase_of(unsigned http_status) {
  for (size_t i = 0; i < COUNT_OF(phrases); i++)
    if (phrases[i].status == http_status) return phrases[i].phrase;
  return http_status < 400 ? "Other" : "Error";
}

static void put_required(uvws__text_t* text, unsigned http_status,
                         const uvws__field_t* fields, unsigned n_fields) {
  for (size_t i = 0; i < COUNT_OF(required); i++) {
    const uvws__field_t* field = &required[i].field;

    if (required[i].status == http_status &&
        !has_field(fields, n_fields, field->name))
      uvws__put_field(text, field->name, field->value);
  }
}

uvws__text_t uvws__handshake_refusal(unsigned http_status,
                                     const uvws__field_t* fields,
                                     unsigned n_fields, const void* body,
                                     size_t len) {
  uvws__text_t text = {NULL, 0};
  char status[sizeof("4294967295")];
  char length[sizeof("18446744073709551615")];

  snprintf(status, sizeof(status), "%u", http_status);
  snprintf(length, sizeof(length), "%zu", len);
  do {
    uvws__put_string(&text, "HTTP/1.1 ");
    uvws__put_string(&text, status);
    uvws__put_string(&text, " ");
    uvws__put_string(&text, phrase_of(http_status));
    uvws__put_string(&text, UVWS__CRLF);
    /* RFC 9110, 7.8: an Upgrade header is announced by a connection option. */
    uvws__put_field(&text, "Connection",
                    http_status == 426 ? "close, Upgrade" : "close");
    /* RFC 9110, 8.6: not with 204. With 304 it would be another response's. */
    if (http_status != 204 && http_status != 304)
      uvws__put_field(&text, "Content-Length", length);
    put_required(&text, http_status, fields, n_fields);
    uvws__put_fields(&text, fields, n_fields);
    uvws__put_string(&text, UVWS__CRLF);
    if (body != NULL) uvws__put(&text, body, len);
  } while (uvws__compose_again(&text));
  return text;
}

bool uvws__handshake_wants_no_body(const uvws__head_t* request) {
  return strcmp(uvws__head_method(request), "HEAD") == 0;
}

uvws__text_t uvws__handshake_refuse(const uvws__head_t* request,
                                    uvws__failure_t failure) {
  const char* text = uvws__failure_text(failure);
  const char* body = uvws__handshake_wants_no_body(request) ? NULL : text;
  const uvws__field_t plain = {"Content-Type", "text/plain"};
  return uvws__handshake_refusal((unsigned)uvws__failure_http_status(failure),
                                 &plain, 1, body, strlen(text));
}

/* What callers may ask for */

/* RFC 9110, 5.5: field-value. */
static bool value_is_valid(const char* value) {
  for (; *value != '\0'; value++) {
    const unsigned char c = (unsigned char)*value;
    if ((c < ' ' && c != '\t') || c == 0x7f) return false;
  }
  return true;
}

static bool name_is_owned(const char* name) {
  const char prefix[] = "Sec-WebSocket-";

  for (size_t i = 0; i < COUNT_OF(owned); i++)
    if (uvws__equals_nocase(name, strlen(name), owned[i])) return true;
  return uvws__matches_nocase(name, prefix, sizeof(prefix) - 1);
}

bool uvws__field_is_allowed(const uvws__field_t* field) {
  return field->name != NULL && field->value != NULL &&
         uvws__is_token(field->name, strlen(field->name)) &&
         value_is_valid(field->value) && !name_is_owned(field->name);
}

bool uvws__protocols_are_valid(const char* const* protocols, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    if (protocols[i] == NULL ||
        !uvws__is_token(protocols[i], strlen(protocols[i])))
      return false;
    for (unsigned j = 0; j < i; j++)
      if (strcmp(protocols[i], protocols[j]) == 0) return false;
  }
  return true;
}
