#ifndef UVWS_SRC_PROTOCOL_FAILURE_H_
#define UVWS_SRC_PROTOCOL_FAILURE_H_

/* Every way in which the library itself can find a connection at fault, once.
 *
 * X(name, status, close code, HTTP status, text)
 *
 * `status` is what the `error` and `close` events report; it is a name from
 * uvws.h that only src/error.c expands, because this room does not know libuv.
 * `close code` is what the peer is told in a close frame once
 * the connection is open. `HTTP status` is what a server answers when the
 * failure is found in the opening handshake; 0 where that cannot happen.
 */
#define UVWS__FAILURE_MAP(X)                                                   \
  /* RFC 6455, 5.2: the frame header */                                        \
  X(RESERVED_BITS, UVWS_EPROTOCOL, 1002, 0,                                    \
    "a reserved bit is set without an extension that defines it")              \
  X(RESERVED_OPCODE, UVWS_EPROTOCOL, 1002, 0, "reserved opcode")               \
  X(LENGTH_NOT_MINIMAL, UVWS_EPROTOCOL, 1002, 0,                               \
    "payload length is not in its shortest form")                              \
  X(LENGTH_TOO_LARGE, UVWS_EPROTOCOL, 1002, 0,                                 \
    "payload length has its most significant bit set")                         \
  X(MASK_MISSING, UVWS_EPROTOCOL, 1002, 0,                                     \
    "frame from a client is not masked")                                       \
  X(MASK_UNEXPECTED, UVWS_EPROTOCOL, 1002, 0, "frame from a server is masked") \
  /* RFC 6455, 5.4 and 5.5: fragments and control frames */                    \
  X(CONTROL_FRAGMENTED, UVWS_EPROTOCOL, 1002, 0,                               \
    "control frame is fragmented")                                             \
  X(CONTROL_TOO_LONG, UVWS_EPROTOCOL, 1002, 0,                                 \
    "control frame is longer than 125 bytes")                                  \
  X(CONTINUATION_UNEXPECTED, UVWS_EPROTOCOL, 1002, 0,                          \
    "continuation frame without a message to continue")                        \
  X(CONTINUATION_EXPECTED, UVWS_EPROTOCOL, 1002, 0,                            \
    "new message inside an unfinished one")                                    \
  X(CLOSE_LENGTH, UVWS_EPROTOCOL, 1002, 0, "close frame of one byte")          \
  X(CLOSE_CODE, UVWS_EPROTOCOL, 1002, 0, "close code that must not be sent")   \
  X(CLOSE_UTF8, UVWS_EUTF8, 1007, 0, "close reason is not UTF-8")              \
  /* RFC 6455, 8.1, and the limits of 10.4 */                                  \
  X(TEXT_UTF8, UVWS_EUTF8, 1007, 0, "text message is not UTF-8")               \
  X(INFLATE, UVWS_EPROTOCOL, 1007, 0, "compressed data is malformed")          \
  X(MESSAGE_TOO_BIG, UVWS_ETOOBIG, 1009, 0,                                    \
    "message is larger than the limit")                                        \
  X(TOO_MANY_FRAGMENTS, UVWS_ETOOBIG, 1008, 0,                                 \
    "message has more fragments than the limit")                               \
  X(NO_MEMORY, UV_ENOMEM, 1011, 500, "out of memory")                          \
  X(MEMORY_BUDGET, UV_ENOBUFS, 1013, 0,                                        \
    "the server's memory for connections is used up")                          \
  X(PING_RATE, UVWS_ERATE, 1008, 0, "more pings than the limit")               \
  X(FRAGMENT_RATE, UVWS_ERATE, 1008, 0, "more tiny fragments than the limit")  \
  /* RFC 6455, 4.1 and 4.2: the opening handshake, either role */              \
  X(HTTP_SYNTAX, UVWS_EUPGRADE, 1006, 400, "malformed HTTP head")              \
  X(HTTP_VERSION, UVWS_EUPGRADE, 1006, 505, "HTTP version is not 1.1")         \
  X(HTTP_HEAD_SIZE, UVWS_ETOOBIG, 1006, 431,                                   \
    "HTTP head is larger than the limit")                                      \
  X(HTTP_HEADER_COUNT, UVWS_ETOOBIG, 1006, 431,                                \
    "HTTP head has more header lines than the limit")                          \
  X(HTTP_DUPLICATE, UVWS_EUPGRADE, 1006, 400,                                  \
    "a header that must stand once is repeated")                               \
  X(HTTP_BODY, UVWS_EUPGRADE, 1006, 400, "upgrade with a message body")        \
  X(UPGRADE_HEADER, UVWS_EUPGRADE, 1006, 426,                                  \
    "Upgrade header does not say websocket")                                   \
  X(CONNECTION_HEADER, UVWS_EUPGRADE, 1006, 400,                               \
    "Connection header does not say upgrade")                                  \
  X(PROTOCOL_HEADER, UVWS_EUPGRADE, 1006, 400,                                 \
    "malformed Sec-WebSocket-Protocol header")                                 \
  X(EXTENSIONS_HEADER, UVWS_EUPGRADE, 1006, 400,                               \
    "malformed Sec-WebSocket-Extensions header")                               \
  /* found by the client */                                                    \
  X(HTTP_STATUS, UVWS_EUPGRADE, 1006, 0, "the server refused the upgrade")     \
  X(ACCEPT_HEADER, UVWS_EUPGRADE, 1006, 0,                                     \
    "Sec-WebSocket-Accept header does not match the key")                      \
  X(PROTOCOL_NOT_REQUESTED, UVWS_EUPGRADE, 1006, 0,                            \
    "the server chose a subprotocol that was not requested")                   \
  X(PROTOCOL_NOT_CHOSEN, UVWS_EUPGRADE, 1006, 0,                               \
    "the server chose none of the requested subprotocols")                     \
  X(EXTENSION_NOT_REQUESTED, UVWS_EUPGRADE, 1006, 0,                           \
    "the server chose an extension that was not requested")                    \
  X(EXTENSION_PARAMETERS, UVWS_EUPGRADE, 1006, 0,                              \
    "the server chose parameters of an extension that were not offered")       \
  /* found by the server */                                                    \
  X(HTTP_METHOD, UVWS_EUPGRADE, 1006, 405, "upgrade method is not GET")        \
  X(HTTP_TARGET, UVWS_EUPGRADE, 1006, 400,                                     \
    "request target is neither a path nor an http URL")                        \
  X(HOST_HEADER, UVWS_EUPGRADE, 1006, 400, "missing or malformed Host header") \
  X(KEY_HEADER, UVWS_EUPGRADE, 1006, 400,                                      \
    "missing or malformed Sec-WebSocket-Key header")                           \
  X(VERSION_HEADER, UVWS_EUPGRADE, 1006, 426,                                  \
    "Sec-WebSocket-Version is not 13")                                         \
  X(ORIGIN, UVWS_EUPGRADE, 1006, 403, "Origin does not match Host")            \
  X(SHUTTING_DOWN, UV_ECANCELED, 1006, 503, "the server is closing")           \
  X(UNDECIDED, UVWS_EUPGRADE, 1006, 500, "the request was left undecided")     \
  /* deadlines and local decisions */                                          \
  X(CONNECT_TIMEOUT, UVWS_ETIMEOUT, 1006, 0, "connecting took too long")       \
  X(HANDSHAKE_TIMEOUT, UVWS_ETIMEOUT, 1006, 408,                               \
    "the opening handshake took too long")                                     \
  X(CLOSE_TIMEOUT, UVWS_ETIMEOUT, 1006, 0,                                     \
    "the closing handshake took too long")                                     \
  X(PING_TIMEOUT, UVWS_ETIMEOUT, 1006, 0,                                      \
    "the peer is dead: no answer to a ping")                                   \
  X(SEND_TIMEOUT, UVWS_ETIMEOUT, 1006, 0,                                      \
    "the peer took nothing of what waits for it")                              \
  X(IDLE_TIMEOUT, UVWS_ETIMEOUT, 1001, 0, "no message for too long")           \
  X(HIGH_WATER, UV_ENOBUFS, 1008, 0,                                           \
    "the peer reads more slowly than it is sent to")                           \
  X(SOURCE_UTF8, UVWS_EUTF8, 1011, 0, "the source's text is not UTF-8")        \
  /* TLS: there is often a better text */                                      \
  X(TLS, UVWS_ETLS, 1006, 0, "TLS failed")                                     \
  X(TLS_MISSING, UVWS_ETLS, 1006, 0, "the peer does not speak TLS")            \
  X(TLS_UNEXPECTED, UVWS_ETLS, 1006, 400,                                      \
    "the peer speaks TLS, this connection does not")                           \
  X(TLS_ALERT, UVWS_ETLS, 1006, 0, "the peer ended TLS")                       \
  X(TLS_CERTIFICATE, UVWS_ECERT, 1006, 0,                                      \
    "the peer's certificate was refused")                                      \
  /* proxies: often with a detail of the proxy's */                            \
  X(PROXY_REFUSED, UVWS_EPROXY, 1006, 0, "the proxy refused to connect")       \
  X(PROXY_CREDENTIALS, UVWS_EPROXY, 1006, 0,                                   \
    "the proxy wants other credentials")                                       \
  X(PROXY_ANSWER, UVWS_EPROXY, 1006, 0, "the proxy's answer is malformed")     \
  X(PROXY_CLOSED, UVWS_EPROXY, 1006, 0, "the proxy closed the connection")     \
  X(ABORTED, UV_ECONNABORTED, 1006, 0,                                         \
    "closed before the connection was established")

typedef enum {
  UVWS__OK = 0,
#define X(name, status, code, http, text) UVWS__FAIL_##name,
  UVWS__FAILURE_MAP(X)
#undef X
      UVWS__FAILURE_COUNT
} uvws__failure_t;

/* Rows of the table above; UVWS__OK and anything out of range give 0 and "". */
int uvws__failure_code(uvws__failure_t failure);
int uvws__failure_http_status(uvws__failure_t failure);
const char* uvws__failure_text(uvws__failure_t failure);

#endif /* UVWS_SRC_PROTOCOL_FAILURE_H_ */
