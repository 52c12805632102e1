#include "protocol/proxy.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"

/* An answer of SOCKS is gathered until it has as many bytes as it says it has;
 * an HTTP answer is a head like any other. Neither takes a byte beyond its end:
 * that is the server's already. */

enum {
  SOCKS_VERSION = 5,
  SOCKS_CONNECT = 1,
  /* RFC 1928, 3: methods */
  SOCKS_NO_AUTHENTICATION = 0,
  SOCKS_PASSWORD = 2,
  /* RFC 1928, 4 and 5: address types */
  SOCKS_IPV4 = 1,
  SOCKS_NAME = 3,
  SOCKS_IPV6 = 4,
  SOCKS_PASSWORD_VERSION = 1, /* RFC 1929, 2 */
  SOCKS_MAX = 255,            /* of a name, and of credentials */
  SOCKS_HEAD = 4              /* version, reply, reserved, address type */
};

/* What the proxy says next. */
typedef enum { METHOD, PASSWORD, REPLY } step_t;

struct uvws__talk_s {
  uvws__proxy_request_t request;
  uvws__text_t say;
  uvws__head_t* head; /* HTTP */
  step_t step;        /* SOCKS: this, and what has come of it */
  size_t len;
  uint8_t answer[SOCKS_HEAD + 1 + SOCKS_MAX + 2];
  char detail[48];
};

/* ---- what we say ---- */

static bool compose_connect(uvws__talk_t* talk) {
  const uvws__proxy_request_t* request = &talk->request;
  uvws__text_t text = {NULL, 0};
  char authority[SOCKS_MAX + sizeof("[]:65535")];
  char* credentials = NULL;
  snprintf(authority, sizeof(authority),
           request->address_len == 16 ? "[%s]:%u" : "%s:%u", request->host,
           (unsigned)request->port);
  if (request->username != NULL) {
    credentials = uvws__basic_credentials(request->username, request->password);
    if (credentials == NULL) return false;
  }
  do {
    uvws__put_string(&text, "CONNECT ");
    uvws__put_string(&text, authority);
    uvws__put_string(&text, " HTTP/1.1" UVWS__CRLF);
    uvws__put_field(&text, "Host", authority);
    if (credentials != NULL) {
      uvws__put_string(&text, "Proxy-Authorization: Basic ");
      uvws__put_string(&text, credentials);
      uvws__put_string(&text, UVWS__CRLF);
    }
    uvws__put_string(&text, UVWS__CRLF);
  } while (uvws__compose_again(&text));
  uvws__free(credentials);
  talk->say = text;
  return text.data != NULL;
}

static void put_byte(uvws__text_t* text, unsigned byte) {
  uint8_t b = (uint8_t)byte;
  uvws__put(text, &b, 1);
}

static void put_short_string(uvws__text_t* text, const char* s) {
  put_byte(text, (unsigned)strlen(s));
  uvws__put_string(text, s);
}

/* RFC 1928, 3 */
static void put_methods(const uvws__talk_t* talk, uvws__text_t* text) {
  bool may_tell = talk->request.username != NULL;
  put_byte(text, SOCKS_VERSION);
  put_byte(text, may_tell ? 2 : 1);
  put_byte(text, SOCKS_NO_AUTHENTICATION);
  if (may_tell) put_byte(text, SOCKS_PASSWORD);
}

/* RFC 1929, 2 */
static void put_password(const uvws__talk_t* talk, uvws__text_t* text) {
  put_byte(text, SOCKS_PASSWORD_VERSION);
  put_short_string(text, talk->request.username);
  put_short_string(text, talk->request.password);
}

/* RFC 1928, 4: a name is the proxy's to look up. */
static void put_request(const uvws__talk_t* talk, uvws__text_t* text) {
  const uvws__proxy_request_t* request = &talk->request;
  put_byte(text, SOCKS_VERSION);
  put_byte(text, SOCKS_CONNECT);
  put_byte(text, 0);
  if (request->address_len > 0) {
    put_byte(text, request->address_len == 16 ? SOCKS_IPV6 : SOCKS_IPV4);
    uvws__put(text, request->address, request->address_len);
  } else {
    put_byte(text, SOCKS_NAME);
    put_short_string(text, request->host);
  }
  put_byte(text, request->port >> 8);
  put_byte(text, request->port & 0xFF);
}

/* What comes before the answer of that step. */
static bool compose_socks(uvws__talk_t* talk, step_t step) {
  static void (*const put[])(const uvws__talk_t*, uvws__text_t*) = {
      [METHOD] = put_methods, [PASSWORD] = put_password, [REPLY] = put_request};
  talk->step = step;
  talk->len = 0;
  uvws__free(talk->say.data);
  talk->say = (uvws__text_t){NULL, 0};
  do put[step](talk, &talk->say);
  while (uvws__compose_again(&talk->say));
  return talk->say.data != NULL;
}

const void* uvws__talk_say(const uvws__talk_t* talk, size_t* len) {
  *len = talk->say.len;
  return talk->say.data;
}

/* ---- what we hear ---- */

static uvws__talk_status_t fail(uvws__failure_t* failure, uvws__failure_t why) {
  *failure = why;
  return UVWS__TALK_FAILED;
}

/* RFC 9110, 9.3.6: any 2xx, without a body whatever it says. */
static uvws__talk_status_t feed_http(uvws__talk_t* talk, const uint8_t* data,
                                     size_t len, size_t* used,
                                     uvws__failure_t* failure) {
  uvws__head_status_t status =
      uvws__head_feed(talk->head, data, len, used, failure);
  unsigned code = uvws__head_http_status(talk->head);
  if (status == UVWS__HEAD_MORE) return UVWS__TALK_MORE;
  bool connected = code >= 200 && code < 300;
  if (*failure == UVWS__FAIL_NO_MEMORY) return UVWS__TALK_FAILED;
  if (status == UVWS__HEAD_FAILED &&
      (connected || *failure != UVWS__FAIL_HTTP_STATUS))
    return fail(failure, UVWS__FAIL_PROXY_ANSWER);
  if (connected) return UVWS__TALK_DONE;
  snprintf(talk->detail, sizeof(talk->detail), "%u", code);
  return fail(failure, code == 407 ? UVWS__FAIL_PROXY_CREDENTIALS
                                   : UVWS__FAIL_PROXY_REFUSED);
}

/* How long an answer is, as far as its beginning tells. */
static size_t answer_size(const uvws__talk_t* talk) {
  if (talk->step != REPLY) return 2;
  if (talk->len < SOCKS_HEAD) return SOCKS_HEAD;
  switch (talk->answer[3]) {
    case SOCKS_IPV4: return SOCKS_HEAD + 4 + 2;
    case SOCKS_IPV6: return SOCKS_HEAD + 16 + 2;
    case SOCKS_NAME:
      if (talk->len == SOCKS_HEAD) return SOCKS_HEAD + 1;
      return SOCKS_HEAD + 1 + (size_t)talk->answer[SOCKS_HEAD] + 2;
    default: return SOCKS_HEAD; /* there is no such address */
  }
}

static uvws__talk_status_t say(uvws__talk_t* talk, step_t step,
                               uvws__failure_t* failure) {
  return compose_socks(talk, step) ? UVWS__TALK_SAY
                                   : fail(failure, UVWS__FAIL_NO_MEMORY);
}

static uvws__talk_status_t on_method(uvws__talk_t* talk,
                                     uvws__failure_t* failure) {
  if (talk->answer[0] != SOCKS_VERSION)
    return fail(failure, UVWS__FAIL_PROXY_ANSWER);
  switch (talk->answer[1]) {
    case SOCKS_NO_AUTHENTICATION: return say(talk, REPLY, failure);
    case SOCKS_PASSWORD:
      if (talk->request.username != NULL) return say(talk, PASSWORD, failure);
      return fail(failure, UVWS__FAIL_PROXY_ANSWER);
    default: return fail(failure, UVWS__FAIL_PROXY_CREDENTIALS);
  }
}

/* RFC 1928, 6 */
static uvws__talk_status_t on_reply(uvws__talk_t* talk,
                                    uvws__failure_t* failure) {
  static const char* const replies[] = {"",
                                        "general failure",
                                        "not allowed by its rules",
                                        "network unreachable",
                                        "host unreachable",
                                        "connection refused",
                                        "time to live expired",
                                        "command not supported",
                                        "address type not supported"};
  unsigned reply = talk->answer[1], type = talk->answer[3];
  if (reply == 0) {
    bool known = type == SOCKS_IPV4 || type == SOCKS_IPV6 || type == SOCKS_NAME;
    return known ? UVWS__TALK_DONE : fail(failure, UVWS__FAIL_PROXY_ANSWER);
  }
  if (reply < sizeof(replies) / sizeof(replies[0]))
    snprintf(talk->detail, sizeof(talk->detail), "%s", replies[reply]);
  else
    snprintf(talk->detail, sizeof(talk->detail), "reply %u", reply);
  return fail(failure, UVWS__FAIL_PROXY_REFUSED);
}

static uvws__talk_status_t on_answer(uvws__talk_t* talk,
                                     uvws__failure_t* failure) {
  switch (talk->step) {
    case METHOD: return on_method(talk, failure);
    case PASSWORD:
      if (talk->answer[0] != SOCKS_PASSWORD_VERSION)
        return fail(failure, UVWS__FAIL_PROXY_ANSWER);
      if (talk->answer[1] != 0)
        return fail(failure, UVWS__FAIL_PROXY_CREDENTIALS);
      return say(talk, REPLY, failure);
    default: return on_reply(talk, failure);
  }
}

/* A refusal may end before it has an address: it is known from its first two
 * bytes. Bytes that come before we have asked are no answer. */
static uvws__talk_status_t feed_socks(uvws__talk_t* talk, const uint8_t* data,
                                      size_t len, size_t* used,
                                      uvws__failure_t* failure) {
  for (*used = 0; *used < len;) {
    talk->answer[talk->len++] = data[(*used)++];
    if (talk->step == REPLY && talk->answer[0] != SOCKS_VERSION)
      return fail(failure, UVWS__FAIL_PROXY_ANSWER);
    bool refused = talk->step == REPLY && talk->len == 2 && talk->answer[1];
    if (talk->len < answer_size(talk) && !refused) continue;
    uvws__talk_status_t status = on_answer(talk, failure);
    if (status == UVWS__TALK_SAY && *used < len)
      return fail(failure, UVWS__FAIL_PROXY_ANSWER);
    return status;
  }
  return UVWS__TALK_MORE;
}

uvws__talk_status_t uvws__talk_feed(uvws__talk_t* talk, const uint8_t* data,
                                    size_t len, size_t* used,
                                    uvws__failure_t* failure) {
  *failure = UVWS__OK;
  return talk->request.kind == UVWS__PROXY_HTTP
             ? feed_http(talk, data, len, used, failure)
             : feed_socks(talk, data, len, used, failure);
}

const char* uvws__talk_detail(const uvws__talk_t* talk) {
  return talk->detail;
}

/* ---- beginning and end ---- */

uvws__talk_t* uvws__talk_new(const uvws__proxy_request_t* request) {
  uvws__talk_t* talk = uvws__calloc(1, sizeof(*talk));
  if (talk == NULL) return NULL;
  talk->request = *request;
  bool made;
  if (request->kind == UVWS__PROXY_HTTP) {
    talk->head = uvws__head_new(UVWS__HEAD_CONNECTED, request->max_head,
                                request->max_headers);
    made = talk->head != NULL && compose_connect(talk);
  } else {
    made = compose_socks(talk, METHOD);
  }
  if (made) return talk;
  uvws__talk_free(talk);
  return NULL;
}

void uvws__talk_free(uvws__talk_t* talk) {
  if (talk == NULL) return;
  uvws__free(talk->say.data);
  uvws__head_free(talk->head);
  uvws__free(talk);
}

static bool has_control_character(const char* s) {
  for (; *s != '\0'; s++)
    if ((unsigned char)*s < ' ' || *s == 0x7F) return true;
  return false;
}

/* RFC 7617, 2: no colon in a user name, no control characters. RFC 1929, 2: 1
 * to 255 bytes each. */
bool uvws__credentials_are_valid(uvws__proxy_kind_t kind, const char* username,
                                 const char* password) {
  size_t name_len = strlen(username), len = strlen(password);
  if (kind == UVWS__PROXY_SOCKS5)
    return name_len > 0 && name_len <= SOCKS_MAX && len > 0 && len <= SOCKS_MAX;
  return strchr(username, ':') == NULL && !has_control_character(username) &&
         !has_control_character(password);
}
