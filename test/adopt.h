#ifndef UVWS_TEST_ADOPT_H_
#define UVWS_TEST_ADOPT_H_

/* Connections that somebody else has made, for test-adopt.c, test-release.c and
 * test-adopt-errors.c. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

#define UPGRADE                                   \
  "Upgrade: websocket\r\nConnection: Upgrade\r\n" \
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"
#define KEY     "dGhlIHNhbXBsZSBub25jZQ=="
#define REQUEST "GET /chat?x HTTP/1.1\r\nHost: example.com\r\n" UPGRADE

static server_t server;
static raw_t raw;
static peer_t peer;
static uvws_options_t options;
static uvws_adopt_options_t adopt_options;

/* Of a server, under TLS. */
static inline uvws_tls_t* make_certified(void) {
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  uvws_tls_options_t from;
  uvws_tls_t* tls;
  char cert[512], key[512];
  snprintf(cert, sizeof(cert), "%s/localhost.crt", getenv("UVWS_TEST_TLS"));
  snprintf(key, sizeof(key), "%s/localhost.key", getenv("UVWS_TEST_TLS"));
  certificate.cert_file = cert;
  certificate.key_file = key;
  uvws_tls_options_init(&from);
  from.certificates = &certificate;
  from.n_certificates = 1;
  assert_int_equal(uvws_tls_new(&tls, &from, NULL, 0), 0);
  return tls;
}

/* ---- a connection: one end is a raw peer's ---- */

typedef enum { TCP, PIPE } kind_t;

/* The raw peer of a socket that is connected. */
static void raw_open(uv_os_sock_t fd) {
  uv_tcp_init(test_loop, &raw.tcp);
  raw.tcp.data = &raw;
  assert_int_equal(uv_tcp_open(&raw.tcp, fd), 0);
  raw.connected = true;
  raw_listen_up(&raw);
}

static void raw_clear(void) {
  raw_free(&raw);
  memset(&raw, 0, sizeof(raw));
}

static uv_os_sock_t dial_tcp(void) {
  struct sockaddr_in addr;
  socklen_t len = sizeof(addr);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(bind(listener, (struct sockaddr*)&addr, len), 0);
  assert_int_equal(listen(listener, 1), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr*)&addr, &len), 0);
  raw_dial(&raw, ntohs(addr.sin_port));
  int fd = accept(listener, NULL, NULL);
  assert_true(fd >= 0);
  close(listener);
  return fd;
}

/* The other end of what the raw peer says `bytes` to, which must stay. */
static uv_os_sock_t dial(kind_t kind, const void* bytes, size_t len) {
  uv_os_sock_t fds[2];
  raw_clear();
  if (kind == TCP) {
    raw.head = "";
    raw.bytes = bytes;
    raw.len = len;
    return dial_tcp();
  }
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0), 0);
  raw_open(fds[1]);
  if (len > 0) raw_send(&raw, bytes, len);
  return fds[0];
}

static inline void turns(int n) {
  while (n-- > 0) uv_run(test_loop, UV_RUN_NOWAIT);
}

/* A stream of the test's own, in memory from malloc() unless there is some. */
static inline uv_stream_t* wrap(kind_t kind, uv_os_sock_t fd, void* memory) {
  union uv_any_handle* any = memory;
  if (any == NULL) any = malloc(sizeof(*any));
  assert_non_null(any);
  if (kind == TCP) {
    uv_tcp_init(test_loop, &any->tcp);
    assert_int_equal(uv_tcp_open(&any->tcp, fd), 0);
  } else {
    uv_pipe_init(test_loop, &any->pipe, 0);
    assert_int_equal(uv_pipe_open(&any->pipe, fd), 0);
  }
  return &any->stream;
}

#endif /* UVWS_TEST_ADOPT_H_ */
