#ifndef UVWS_TEST_ADOPT_H_
#define UVWS_TEST_ADOPT_H_

/* Connections that somebody else has made, for test-adopt.c and
 * test-adopt-errors.c. */

#include <netinet/in.h>
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

#endif /* UVWS_TEST_ADOPT_H_ */
