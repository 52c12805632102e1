/* Heads in, verdicts and messages out. The last test looks whether every
 * failure that the opening handshake can have has been seen by then. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "protocol/handshake.h"
#include "uvws.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 6455, 1.3. */
#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static const uint8_t nonce[] = "the sample nonce";

#define MAX_BYTES  2048
#define MAX_FIELDS 16

static bool seen[UVWS__FAILURE_COUNT];

/* The head of `text`, which must be all of it; or NULL and why. */
static uvws__head_t* head_of(uvws__head_kind_t kind, const char* text,
                             size_t len, uvws__failure_t* failure) {
  uvws__head_t* head = uvws__head_new(kind, MAX_BYTES, MAX_FIELDS);
  size_t used;

  assert_non_null(head);
  if (uvws__head_feed(head, (const uint8_t*)text, len, &used, failure) ==
      UVWS__HEAD_DONE) {
    assert_int_equal(used, len);
    return head;
  }
  assert_int_not_equal(*failure, UVWS__OK);
  uvws__head_free(head);
  return NULL;
}

static uvws__head_t* request_of(const char* text) {
  uvws__failure_t failure;
  uvws__head_t* head =
      head_of(UVWS__HEAD_REQUEST, text, strlen(text), &failure);
  assert_non_null(head);
  return head;
}

#define GET        "GET /chat HTTP/1.1\r\n"
#define HOST       "Host: server.example.com\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define VERSION    "Sec-WebSocket-Version: 13\r\n"
#define KEY_LINE   "Sec-WebSocket-Key: " KEY "\r\n"
#define END        "\r\n"

#define WITHOUT_KEY GET HOST UPGRADE CONNECTION VERSION
#define REQUEST     WITHOUT_KEY KEY_LINE
#define PROTOCOL    "Sec-WebSocket-Protocol: "
#define EXTENSIONS  "Sec-WebSocket-Extensions: "

#define TEN(x) x x x x x x x x x x

/* 125 different tokens. */
#define FIVE(x)  x "a," x "b," x "c," x "d," x "e,"
#define FIVE2(x) FIVE(x "a") FIVE(x "b") FIVE(x "c") FIVE(x "d") FIVE(x "e")
#define FIVE3    FIVE2("a") FIVE2("b") FIVE2("c") FIVE2("d") FIVE2("e")

static const struct {
  const char* text;
  uvws__failure_t failure;
} requests[] = {
    /* As in RFC 6455, 1.2, and as the rules allow it to vary. */
    {REQUEST "Origin: http://example.com\r\n" PROTOCOL
             "chat, superchat\r\n" END,
     UVWS__OK},
    {GET "host: h:8080\r\nUPGRADE: WebSocket\r\nconnection: UPGRADE\r\n"
         "sec-websocket-version:13\r\nSEC-WEBSOCKET-KEY:  " KEY "  \r\n" END,
     UVWS__OK},
    {GET HOST
     "Upgrade: h2c,\twebsocket , x\r\n"
     "Connection: keep-alive\r\nConnection: , Upgrade\r\n" VERSION KEY_LINE END,
     UVWS__OK},
    {GET HOST
     "Upgrade: h2c\r\nUpgrade: websocket\r\n" CONNECTION VERSION KEY_LINE END,
     UVWS__OK},
    {GET "Host: [::1]:80\r\n" UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__OK},
    {GET "Host: a_b.c%20d:\r\n" UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__OK},
    {REQUEST "Content-Length: 0\r\n" END, UVWS__OK},
    {REQUEST "Content-Length: 00\r\n" END, UVWS__OK},
    {REQUEST PROTOCOL "a\r\n" PROTOCOL "A,,b,\r\n" END, UVWS__OK},
    {REQUEST PROTOCOL FIVE3 "x, y, z\r\n" END, UVWS__OK},
    {REQUEST EXTENSIONS "a; b=\"c\"\r\n" EXTENSIONS "d\r\n" END, UVWS__OK},
    {WITHOUT_KEY "Sec-WebSocket-Key: ABCxyz0129+/ABCxyz0129==\r\n" END,
     UVWS__OK},

    /* Not a head. */
    {REQUEST "A : b\r\n" END, UVWS__FAIL_HTTP_SYNTAX},
    {REQUEST "A: " TEN(TEN("abcdefghijklmnopqrstuvwxyz")) "\r\n" END,
     UVWS__FAIL_HTTP_HEAD_SIZE},
    {REQUEST TEN("A: b\r\n") "A: b\r\n" END, UVWS__OK},
    {REQUEST TEN("A: b\r\n") "A: b\r\nA: b\r\n" END,
     UVWS__FAIL_HTTP_HEADER_COUNT},

    /* 4.2.1, 1; the earlier fault is reported, here and below. */
    {"POST / HTTP/1.0\r\n" END, UVWS__FAIL_HTTP_METHOD},
    {"HEAD /chat HTTP/1.1\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__FAIL_HTTP_METHOD},
    {"GET /chat HTTP/1.0\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__FAIL_HTTP_VERSION},
    {"GET /chat\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__FAIL_HTTP_VERSION},
    {"GET /chat HTTP/2.0\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__FAIL_HTTP_VERSION},

    {"GET http://h/chat HTTP/1.1\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE
         END,
     UVWS__OK},
    {"GET http://h HTTP/1.1\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE END,
     UVWS__FAIL_HTTP_TARGET},
    {"GET ftp://h/chat HTTP/1.1\r\n" HOST UPGRADE CONNECTION VERSION KEY_LINE
         END,
     UVWS__FAIL_HTTP_TARGET},

    /* Bodies, however they are announced. */
    {REQUEST "Content-Length: 1\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Content-Length: +0\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Content-Length: 0, 0\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Content-Length: 0\r\nContent-Length: 0\r\n" END,
     UVWS__FAIL_HTTP_BODY},
    {REQUEST "Content-Length:\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Transfer-Encoding: chunked\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Transfer-Encoding: identity\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "transfer-encoding: x\r\n" END, UVWS__FAIL_HTTP_BODY},
    {REQUEST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" END,
     UVWS__FAIL_HTTP_BODY},
    {GET "Content-Length: 1\r\n" END, UVWS__FAIL_HTTP_BODY},

    {REQUEST HOST END, UVWS__FAIL_HTTP_DUPLICATE},
    {REQUEST KEY_LINE END, UVWS__FAIL_HTTP_DUPLICATE},
    {REQUEST VERSION END, UVWS__FAIL_HTTP_DUPLICATE},
    {REQUEST "host: other\r\n" END, UVWS__FAIL_HTTP_DUPLICATE},

    {GET END, UVWS__FAIL_HOST_HEADER},
    {GET UPGRADE CONNECTION VERSION KEY_LINE END, UVWS__FAIL_HOST_HEADER},
    {GET "Host:\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: :80\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: a b\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: a/b\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: u@h\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: \xc3\xa4\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: h:x\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: h:80x\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: h:65536\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: h:18446744073709551696\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: ::1\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: []\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: [::1\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: [::1]x\r\n" END, UVWS__FAIL_HOST_HEADER},
    {GET "Host: [g::1]\r\n" END, UVWS__FAIL_HOST_HEADER},

    /* A browser that just looks. */
    {GET HOST END, UVWS__FAIL_UPGRADE_HEADER},
    {GET HOST "Upgrade:\r\n" END, UVWS__FAIL_UPGRADE_HEADER},
    {GET HOST "Upgrade: websockets, web socket\r\n" END,
     UVWS__FAIL_UPGRADE_HEADER},
    {GET HOST "Upgrade: websocke\r\n" END, UVWS__FAIL_UPGRADE_HEADER},
    {GET HOST "Upgrade: websocket/13\r\n" END, UVWS__FAIL_UPGRADE_HEADER},

    {GET HOST UPGRADE END, UVWS__FAIL_CONNECTION_HEADER},
    {GET HOST UPGRADE "Connection: keep-alive, Upgraded\r\n" END,
     UVWS__FAIL_CONNECTION_HEADER},

    {GET HOST UPGRADE CONNECTION END, UVWS__FAIL_VERSION_HEADER},
    {GET HOST UPGRADE CONNECTION "Sec-WebSocket-Version: 8\r\n" KEY_LINE END,
     UVWS__FAIL_VERSION_HEADER},
    {GET HOST UPGRADE CONNECTION
     "Sec-WebSocket-Version: 13, 8\r\n" KEY_LINE END,
     UVWS__FAIL_VERSION_HEADER},
    {GET HOST UPGRADE CONNECTION "Sec-WebSocket-Version: 013\r\n" KEY_LINE END,
     UVWS__FAIL_VERSION_HEADER},

    {WITHOUT_KEY END, UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key:\r\n" END, UVWS__FAIL_KEY_HEADER},
    /* 15 and 17 bytes, and 16 without padding. */
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA===\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAA AAAAAAAAAAA==\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAA-AAAAAAAAAAA==\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA=A=\r\n" END,
     UVWS__FAIL_KEY_HEADER},
    {WITHOUT_KEY "Sec-WebSocket-Key: " KEY ", " KEY "\r\n" END,
     UVWS__FAIL_KEY_HEADER},

    {REQUEST PROTOCOL "\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL ", ,\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL "a, b c\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL "a/b\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL "a, b, a\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL "a\r\n" PROTOCOL "a\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},
    {REQUEST PROTOCOL FIVE3 "w, x, y, z\r\n" END, UVWS__FAIL_PROTOCOL_HEADER},

    {REQUEST EXTENSIONS "\r\n" END, UVWS__FAIL_EXTENSIONS_HEADER},
    {REQUEST EXTENSIONS "a\r\n" EXTENSIONS "b;\r\n" END,
     UVWS__FAIL_EXTENSIONS_HEADER},
};

static uvws__failure_t verdict_on_request(const char* text, size_t len) {
  uvws__failure_t failure;
  uvws__head_t* head = head_of(UVWS__HEAD_REQUEST, text, len, &failure);

  if (head == NULL) return failure;
  failure = uvws__handshake_check_request(head);
  uvws__head_free(head);
  return failure;
}

static void test_check_request(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(requests); i++) {
    const char* text = requests[i].text;
    const uvws__failure_t failure = verdict_on_request(text, strlen(text));

    if (failure != requests[i].failure) print_error("%s\n", text);
    assert_int_equal(failure, requests[i].failure);
    seen[failure] = true;
  }
}

#define SWITCHING   "HTTP/1.1 101 Switching Protocols\r\n"
#define ACCEPT_LINE "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define RESPONSE    SWITCHING UPGRADE CONNECTION ACCEPT_LINE

static const char* const chats[] = {"chat", "superchat"};

/* What is offered: nothing, subprotocols, extensions. */
static const uvws__offer_t plain;
static const uvws__offer_t with_protocols = {.protocols = chats,
                                             .n_protocols = 2};
static const uvws__offer_t with_extensions = {
    .extensions = "permessage-deflate; client_max_window_bits, x-mux"};

static const struct {
  const char* text;
  const uvws__offer_t* offer;
  uvws__failure_t failure;
  const char* protocol;
  const char* extensions;
} responses[] = {
    {RESPONSE END, &plain, UVWS__OK, "", ""},
    {SWITCHING "upgrade: WebSocket\r\nCONNECTION: x, upgrade\r\n"
               "sec-websocket-accept:\t" ACCEPT " \r\n" END,
     &plain, UVWS__OK, "", ""},
    {RESPONSE "Content-Length: 0\r\n" END, &plain, UVWS__OK, "", ""},
    {RESPONSE PROTOCOL "superchat\r\n" END, &with_protocols, UVWS__OK,
     "superchat", ""},
    {RESPONSE EXTENSIONS "x-mux, permessage-deflate;a=\"b\"\r\n" END,
     &with_extensions, UVWS__OK, "", "x-mux, permessage-deflate;a=\"b\""},
    {RESPONSE END, &with_extensions, UVWS__OK, "", ""},

    {"HTTP/1.1 200 OK\r\n" END, &plain, UVWS__FAIL_HTTP_STATUS, NULL, NULL},
    {"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 9\r\n" END, &plain,
     UVWS__FAIL_HTTP_STATUS, NULL, NULL},
    {"HTTP/1.0 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n" END, &plain,
     UVWS__FAIL_HTTP_STATUS, NULL, NULL},
    {"HTTP/1.1 500 Oh\r\nContent-Length: much\r\n" END, &plain,
     UVWS__FAIL_HTTP_STATUS, NULL, NULL},
    {"HTTP/1.0 101 Switching\r\n" UPGRADE CONNECTION ACCEPT_LINE END, &plain,
     UVWS__FAIL_HTTP_VERSION, NULL, NULL},

    {RESPONSE "Content-Length: 1\r\n" END, &plain, UVWS__FAIL_HTTP_BODY, NULL,
     NULL},
    {RESPONSE "Transfer-Encoding: chunked\r\n" END, &plain,
     UVWS__FAIL_HTTP_BODY, NULL, NULL},

    {RESPONSE ACCEPT_LINE END, &plain, UVWS__FAIL_HTTP_DUPLICATE, NULL, NULL},
    {RESPONSE PROTOCOL "chat\r\n" PROTOCOL "chat\r\n" END, &with_protocols,
     UVWS__FAIL_HTTP_DUPLICATE, NULL, NULL},
    {RESPONSE EXTENSIONS "x-mux\r\n" EXTENSIONS "x-mux\r\n" END,
     &with_extensions, UVWS__FAIL_HTTP_DUPLICATE, NULL, NULL},

    {SWITCHING CONNECTION ACCEPT_LINE END, &plain, UVWS__FAIL_UPGRADE_HEADER,
     NULL, NULL},
    {SWITCHING "Upgrade: h2c, websocket\r\n" CONNECTION ACCEPT_LINE END, &plain,
     UVWS__FAIL_UPGRADE_HEADER, NULL, NULL},
    {RESPONSE UPGRADE END, &plain, UVWS__FAIL_UPGRADE_HEADER, NULL, NULL},

    {SWITCHING UPGRADE ACCEPT_LINE END, &plain, UVWS__FAIL_CONNECTION_HEADER,
     NULL, NULL},
    {SWITCHING UPGRADE "Connection: close\r\n" ACCEPT_LINE END, &plain,
     UVWS__FAIL_CONNECTION_HEADER, NULL, NULL},

    {SWITCHING UPGRADE CONNECTION END, &plain, UVWS__FAIL_ACCEPT_HEADER, NULL,
     NULL},
    {SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept:\r\n" END, &plain,
     UVWS__FAIL_ACCEPT_HEADER, NULL, NULL},
    {SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: " KEY "\r\n" END,
     &plain, UVWS__FAIL_ACCEPT_HEADER, NULL, NULL},
    {SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: " ACCEPT "x\r\n" END,
     &plain, UVWS__FAIL_ACCEPT_HEADER, NULL, NULL},
    {SWITCHING UPGRADE CONNECTION
     "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n" END,
     &plain, UVWS__FAIL_ACCEPT_HEADER, NULL, NULL},

    {RESPONSE EXTENSIONS "\r\n" END, &with_extensions,
     UVWS__FAIL_EXTENSIONS_HEADER, NULL, NULL},
    {RESPONSE EXTENSIONS "unknown, x-mux;\r\n" END, &with_extensions,
     UVWS__FAIL_EXTENSIONS_HEADER, NULL, NULL},
    {RESPONSE EXTENSIONS "x-mux\r\n" END, &plain,
     UVWS__FAIL_EXTENSION_NOT_REQUESTED, NULL, NULL},
    {RESPONSE EXTENSIONS "x-mux, unknown\r\n" END, &with_extensions,
     UVWS__FAIL_EXTENSION_NOT_REQUESTED, NULL, NULL},
    {RESPONSE EXTENSIONS "x-mu\r\n" END, &with_extensions,
     UVWS__FAIL_EXTENSION_NOT_REQUESTED, NULL, NULL},
    /* A parameter's name in the offer is not an extension's. */
    {RESPONSE EXTENSIONS "client_max_window_bits\r\n" END, &with_extensions,
     UVWS__FAIL_EXTENSION_NOT_REQUESTED, NULL, NULL},

    {RESPONSE END, &with_protocols, UVWS__FAIL_PROTOCOL_NOT_CHOSEN, NULL, NULL},
    {RESPONSE PROTOCOL "\r\n" END, &with_protocols,
     UVWS__FAIL_PROTOCOL_NOT_CHOSEN, NULL, NULL},
    {RESPONSE PROTOCOL "Chat\r\n" END, &with_protocols,
     UVWS__FAIL_PROTOCOL_NOT_REQUESTED, NULL, NULL},
    {RESPONSE PROTOCOL "chat, superchat\r\n" END, &with_protocols,
     UVWS__FAIL_PROTOCOL_NOT_REQUESTED, NULL, NULL},
    {RESPONSE PROTOCOL "chat\r\n" END, &plain,
     UVWS__FAIL_PROTOCOL_NOT_REQUESTED, NULL, NULL},
    {RESPONSE PROTOCOL "\r\n" END, &plain, UVWS__FAIL_PROTOCOL_NOT_REQUESTED,
     NULL, NULL},
};

static void test_check_response(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(responses); i++) {
    const char* text = responses[i].text;
    uvws__agreement_t agreement;
    uvws__failure_t failure;
    uvws__head_t* head =
        head_of(UVWS__HEAD_RESPONSE, text, strlen(text), &failure);

    if (head != NULL)
      failure = uvws__handshake_check_response(head, responses[i].offer, KEY,
                                               &agreement);
    if (failure != responses[i].failure) print_error("%s\n", text);
    assert_int_equal(failure, responses[i].failure);
    seen[failure] = true;
    if (failure == UVWS__OK) {
      assert_string_equal(agreement.protocol, responses[i].protocol);
      assert_string_equal(agreement.extensions, responses[i].extensions);
    }
    uvws__head_free(head);
  }
}

static void assert_text(uvws__text_t text, const char* expected) {
  assert_non_null(text.data);
  assert_int_equal(text.len, strlen(expected));
  assert_memory_equal(text.data, expected, text.len);
  uvws__free(text.data);
}

static const uvws__field_t agent = {"User-Agent", "x"};
static const uvws__field_t own_authorization[] = {{"authorization", "Bearer t"},
                                                  {"X", ""}};

static const struct {
  uvws__offer_t offer;
  const char* text;
} offers[] = {
    {{.target = "/chat", .authority = "server.example.com"},
     GET HOST UPGRADE CONNECTION KEY_LINE VERSION END},
    {{.target = "/?q",
      .authority = "[::1]:8080",
      .username = "Aladdin",
      .password = "open sesame",
      .origin = "https://a.example",
      .protocols = chats,
      .n_protocols = 2,
      .extensions = "permessage-deflate",
      .fields = &agent,
      .n_fields = 1},
     "GET /?q HTTP/1.1\r\nHost: [::1]:8080\r\n" UPGRADE CONNECTION KEY_LINE
         VERSION "Origin: https://a.example\r\n" PROTOCOL
     "chat, superchat\r\n" EXTENSIONS "permessage-deflate\r\n"
     "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"
     "User-Agent: x\r\n" END},
    /* RFC 7617, 2.1: UTF-8. */
    {{.target = "/chat",
      .authority = "server.example.com",
      .username = "test",
      .password = "123\xc2\xa3",
      .protocols = chats,
      .n_protocols = 1},
     GET HOST UPGRADE CONNECTION KEY_LINE VERSION PROTOCOL
     "chat\r\nAuthorization: Basic dGVzdDoxMjPCow==\r\n" END},
    {{.target = "/chat",
      .authority = "server.example.com",
      .username = "",
      .password = ""},
     GET HOST UPGRADE CONNECTION KEY_LINE VERSION
     "Authorization: Basic Og==\r\n" END},
    {{.target = "/chat",
      .authority = "server.example.com",
      .username = "u",
      .password = "p",
      .fields = own_authorization,
      .n_fields = 2},
     GET HOST UPGRADE CONNECTION KEY_LINE VERSION
     "authorization: Bearer t\r\nX: \r\n" END},
};

static void test_request(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(offers); i++) {
    char key[UVWS__KEY_SIZE];
    uvws__text_t text = uvws__handshake_request(&offers[i].offer, nonce, key);

    assert_string_equal(key, KEY);
    assert_non_null(text.data);
    assert_int_equal(verdict_on_request(text.data, text.len), UVWS__OK);
    assert_text(text, offers[i].text);
  }
}

static void test_response(void** state) {
  uvws__head_t* request = request_of(REQUEST END);
  const uvws__field_t fields[] = {{"A", "b"}, {"Set-Cookie", "c=d"}};

  (void)state;
  assert_text(uvws__handshake_response(request, NULL, NULL, NULL, 0),
              RESPONSE END);
  assert_text(uvws__handshake_response(request, "", "", NULL, 0), RESPONSE END);
  assert_text(uvws__handshake_response(request, "chat", "x; y=1", fields, 2),
              RESPONSE PROTOCOL "chat\r\n" EXTENSIONS
                                "x; y=1\r\nA: b\r\n"
                                "Set-Cookie: c=d\r\n" END);
  uvws__head_free(request);
}

static const uvws__field_t allow = {"allow", "GET, POST"};
static const uvws__field_t location = {"Location", "/"};

static const struct {
  unsigned status;
  const uvws__field_t* field;
  const char* body;
  const char* text;
} refusals[] = {
    {400, NULL, "",
     "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
     "Content-Length: 0\r\n\r\n"},
    {403, NULL, "no.",
     "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"
     "Content-Length: 3\r\n\r\nno."},
    {302, &location, "",
     "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n"
     "Location: /\r\n\r\n"},
    {405, NULL, "",
     "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n"
     "Content-Length: 0\r\nAllow: GET\r\n\r\n"},
    {405, &allow, "",
     "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n"
     "Content-Length: 0\r\nallow: GET, POST\r\n\r\n"},
    {426, NULL, "",
     "HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n"
     "Content-Length: 0\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Version: 13\r\n\r\n"},
    {299, NULL, "",
     "HTTP/1.1 299 Other\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
    {499, NULL, "",
     "HTTP/1.1 499 Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
};

static void test_refusal(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(refusals); i++)
    assert_text(
        uvws__handshake_refusal(refusals[i].status, refusals[i].field,
                                refusals[i].field != NULL, refusals[i].body,
                                strlen(refusals[i].body)),
        refusals[i].text);
}

static const struct {
  const char* headers;
  bool same;
} origins[] = {
    {HOST, true},
    {HOST "Origin: http://server.example.com\r\n", true},
    {HOST "Origin: HTTPS://SERVER.example.COM\r\n", true},
    {HOST "Origin: ws://server.example.com:80\r\n", true},
    {HOST "Origin: wss://server.example.com:443\r\n", true},
    {"Host: h:443\r\nOrigin: https://h\r\n", true},
    {"Host: h:80\r\nOrigin: http://h\r\n", true},
    {"Host: h:\r\nOrigin: http://h\r\n", true},
    {"Host: h:8080\r\nOrigin: http://h:8080\r\n", true},
    {"Host: [::1]:1\r\nOrigin: http://[::1]:1\r\n", true},
    {"Host: h\r\nOrigin: https://h:80\r\n", false},
    {"Host: h:80\r\nOrigin: https://h\r\n", false},
    {"Host: h:8080\r\nOrigin: http://h\r\n", false},
    {"Host: h\r\nOrigin: http://h:8080\r\n", false},
    {"Host: h\r\nOrigin: http://hh\r\n", false},
    {"Host: hh\r\nOrigin: http://h\r\n", false},
    {"Host: h\r\nOrigin: http://h.example\r\n", false},
    {"Host: h\r\nOrigin: null\r\n", false},
    {"Host: null\r\nOrigin: null\r\n", false},
    {"Host: h\r\nOrigin:\r\n", false},
    {"Host: h\r\nOrigin: h\r\n", false},
    {"Host: h\r\nOrigin: //h\r\n", false},
    {"Host: h\r\nOrigin: ftp://h\r\n", false},
    {"Host: h\r\nOrigin: http:\r\n", false},
    {"Host: h\r\nOrigin: http://\r\n", false},
    {"Host: h\r\nOrigin: http://h/\r\n", false},
    {"Host: h\r\nOrigin: http://h:80x\r\n", false},
    {"Host: h\r\nOrigin: http://evil@h\r\n", false},
    {"Host: h\r\nOrigin: http://h, http://h\r\n", false},
    {"Host: h\r\nOrigin: http://h\r\nOrigin: http://h\r\n", false},
    {"Host: h/\r\nOrigin: http://h\r\n", false},
    {"Origin: http://h\r\n", false},
};

static void test_same_origin(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(origins); i++) {
    char text[256] = GET;
    uvws__head_t* head;

    strcat(strcat(text, origins[i].headers), END);
    head = request_of(text);
    if (uvws__handshake_same_origin(head, false) != origins[i].same)
      print_error("%s\n", text);
    assert_int_equal(uvws__handshake_same_origin(head, false), origins[i].same);
    /* A page that anybody may have changed is not of a server with TLS. */
    bool is_plain = strstr(text, "Origin: http:") || strstr(text, " ws:");
    assert_int_equal(uvws__handshake_same_origin(head, true),
                     origins[i].same && !is_plain);
    uvws__head_free(head);
  }
}

static void test_offered_protocols(void** state) {
  static const char* const expected[] = {"a", "bc", "D"};
  uvws__head_t* head = request_of(
      REQUEST PROTOCOL " a \t,\t,bc\r\nX: no\r\n" PROTOCOL "D,\r\n" END);
  const char* protocol;
  size_t len;

  (void)state;
  for (unsigned i = 0; i < COUNT_OF(expected); i++) {
    protocol = uvws__handshake_offered_protocol(head, i, &len);
    assert_non_null(protocol);
    assert_int_equal(len, strlen(expected[i]));
    assert_memory_equal(protocol, expected[i], len);
  }
  assert_null(uvws__handshake_offered_protocol(head, COUNT_OF(expected), &len));
  uvws__head_free(head);
  head = request_of(REQUEST END);
  assert_null(uvws__handshake_offered_protocol(head, 0, &len));
  uvws__head_free(head);
}

static const struct {
  uvws__field_t field;
  bool allowed;
} fields[] = {
    {{"Cookie", "a=b"}, true},
    {{"X", ""}, true},
    {{"X", "a\tb \x80\xff~"}, true},
    {{"Authorization", "Bearer t"}, true},
    {{"Hosts", "h"}, true},
    {{"Sec-WebSocke", "x"}, true},
    {{"Sec-WebSocketX", "x"}, true},
    {{"", "x"}, false},
    {{"A B", "x"}, false},
    {{"A:", "x"}, false},
    {{"A\r\nB", "x"}, false},
    {{"A\x7f", "x"}, false},
    {{"A\x80", "x"}, false},
    {{"X", "a\r\nHost: evil"}, false},
    {{"X", "a\n"}, false},
    {{"X", "\r"}, false},
    {{"X", "a\x01"}, false},
    {{"X", "a\x7f"}, false},
    {{NULL, "x"}, false},
    {{"X", NULL}, false},
    {{"Host", "h"}, false},
    {{"HOST", "h"}, false},
    {{"Connection", "close"}, false},
    {{"upgrade", "h2c"}, false},
    {{"Content-Length", "1"}, false},
    {{"Transfer-Encoding", "chunked"}, false},
    {{"Origin", "http://h"}, false},
    {{"Sec-WebSocket-Key", KEY}, false},
    {{"sec-websocket-anything", ""}, false},
    {{"Sec-WebSocket-", ""}, false},
};

static void test_field_is_allowed(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(fields); i++)
    assert_int_equal(uvws__field_is_allowed(&fields[i].field),
                     fields[i].allowed);
}

static void test_protocols_are_valid(void** state) {
  static const struct {
    const char* protocols[3];
    unsigned n;
    bool valid;
  } cases[] = {
      {{NULL}, 0, true},
      {{"a"}, 1, true},
      {{"a", "A", "aa"}, 3, true},
      {{"a", "b", "a"}, 3, false},
      {{"a", "b", "b"}, 3, false},
      {{""}, 1, false},
      {{"a b"}, 1, false},
      {{"a,b"}, 1, false},
      {{"a", "\xc3\xa4"}, 2, false},
      {{"a", NULL}, 2, false},
  };

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(uvws__protocols_are_valid(cases[i].protocols, cases[i].n),
                     cases[i].valid);
}

static void test_accept_key(void** state) {
  char accept[UVWS__ACCEPT_SIZE];

  (void)state;
  assert_true(uvws__accept_key(KEY, accept));
  assert_string_equal(accept, ACCEPT);
  assert_false(uvws__accept_key("", accept));
  assert_false(uvws__accept_key(KEY "=", accept));
}

/* RFC 4648, 10, and each of the 64 digits. */
static void test_base64(void** state) {
  static const struct {
    const char* data;
    const char* text;
  } cases[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51"
       "\x55\x97\x61\x96\x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7\xa2\x9a"
       "\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf",
       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"},
  };
  char text[UVWS__BASE64_SIZE(48)];

  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const size_t len = strlen(cases[i].text) == 64 ? 48 : strlen(cases[i].data);

    uvws__base64_encode(text, cases[i].data, len);
    assert_string_equal(text, cases[i].text);
  }
}

static unsigned until_failure;

static void* failing_malloc(size_t size) {
  return until_failure-- == 0 ? NULL : malloc(size);
}

/* How many allocations the message takes. If any one of them fails it is NULL,
 * and a leak checker sees whether something is left behind. */
static unsigned allocations_of(uvws__text_t (*compose)(const void*),
                               const void* argument) {
  uvws__text_t text;
  unsigned n = 0;

  uvws_replace_allocator(failing_malloc, realloc, calloc, free);
  for (;; n++) {
    until_failure = n;
    text = compose(argument);
    if (text.data != NULL) break;
    assert_int_equal(text.len, 0);
  }
  uvws_replace_allocator(malloc, realloc, calloc, free);
  free(text.data);
  return n;
}

static uvws__text_t compose_request(const void* offer) {
  char key[UVWS__KEY_SIZE];
  return uvws__handshake_request(offer, nonce, key);
}

static uvws__text_t compose_response(const void* request) {
  return uvws__handshake_response(request, "chat", NULL, NULL, 0);
}

static uvws__text_t compose_refusal(const void* field) {
  return uvws__handshake_refusal(400, field, 1, "body", 4);
}

static void test_no_memory(void** state) {
  uvws__head_t* request = request_of(REQUEST END);

  (void)state;
  assert_int_equal(allocations_of(compose_request, &offers[0].offer), 1);
  assert_int_equal(allocations_of(compose_request, &offers[1].offer), 3);
  assert_int_equal(allocations_of(compose_response, request), 1);
  assert_int_equal(allocations_of(compose_refusal, &location), 1);
  uvws__head_free(request);
}

static void test_failures(void** state) {
  (void)state;
  assert_int_equal(uvws__failure_code(UVWS__FAIL_TEXT_UTF8), 1007);
  assert_int_equal(uvws__failure_http_status(UVWS__FAIL_TEXT_UTF8), 0);
  assert_int_equal(uvws__failure_code(UVWS__FAIL_VERSION_HEADER), 1006);
  assert_int_equal(uvws__failure_http_status(UVWS__FAIL_VERSION_HEADER), 426);
  assert_string_equal(uvws__failure_text(UVWS__FAIL_VERSION_HEADER),
                      "Sec-WebSocket-Version is not 13");
  for (int i = 1; i < UVWS__FAILURE_COUNT; i++)
    assert_string_not_equal(uvws__failure_text((uvws__failure_t)i), "");

  static const int none[] = {UVWS__OK, UVWS__FAILURE_COUNT, 4096, -1};
  for (size_t i = 0; i < COUNT_OF(none); i++) {
    assert_int_equal(uvws__failure_code((uvws__failure_t)none[i]), 0);
    assert_int_equal(uvws__failure_http_status((uvws__failure_t)none[i]), 0);
    assert_string_equal(uvws__failure_text((uvws__failure_t)none[i]), "");
  }
}

static void test_every_failure_was_seen(void** state) {
  (void)state;
  for (int i = UVWS__FAIL_HTTP_SYNTAX; i <= UVWS__FAIL_VERSION_HEADER; i++) {
    if (i == UVWS__FAIL_EXTENSION_PARAMETERS) continue; /* test-deflate.c */
    if (!seen[i]) print_error("%s\n", uvws__failure_text((uvws__failure_t)i));
    assert_true(seen[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_check_request),
      cmocka_unit_test(test_check_response),
      cmocka_unit_test(test_request),
      cmocka_unit_test(test_response),
      cmocka_unit_test(test_refusal),
      cmocka_unit_test(test_same_origin),
      cmocka_unit_test(test_offered_protocols),
      cmocka_unit_test(test_field_is_allowed),
      cmocka_unit_test(test_protocols_are_valid),
      cmocka_unit_test(test_accept_key),
      cmocka_unit_test(test_base64),
      cmocka_unit_test(test_no_memory),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_every_failure_was_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
