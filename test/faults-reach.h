#ifndef UVWS_TEST_FAULTS_REACH_H_
#define UVWS_TEST_FAULTS_REACH_H_

/* For test-faults-reach.c and test-faults-adopt.c, the ways to a connection. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faults.h"

/* Little is said, and comes back. */
#define TALK "2 20005 0 1 1000 clean, 2 20005 1 0 1000 clean"
#define TALKS                                          \
  .decide = accept_request, .client_open = say_little, \
  .accepted_message = echo, .messages = 2, .pongs = 1

static uvws_tls_t* server_tls; /* or NULL */

static const struct sockaddr* loopback(unsigned n, int port) {
  static struct sockaddr_in list[4];
  char name[16];
  snprintf(name, sizeof(name), "127.0.0.%u", n);
  uv_ip4_addr(name, port, &list[n]);
  return (const struct sockaddr*)&list[n];
}

static void say_little(uvws_t* ws) {
  must(ws, uvws_ping(ws, "ping", 4));
  must(ws, uvws_send(ws, "hello", 5, UVWS_TEXT));
  must(ws, uvws_send(ws, big, 20000, UVWS_BINARY));
}

static void connect_to(seen_t* client, const char* host, int port,
                       const uvws_options_t* options) {
  char url[64];
  snprintf(url, sizeof(url), "ws://%s:%d/x", host, port);
  begin_client(client, url, options);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  static char buffer[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, sizeof(buffer));
}

static int listen_at(uv_tcp_t* listener, uv_connection_cb cb) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uv_tcp_init(test_loop, listener);
  uv_tcp_bind(listener, loopback(1, 0), 0);
  require(uv_listen((uv_stream_t*)listener, 8, cb) == 0, "listening");
  uv_tcp_getsockname(listener, (struct sockaddr*)&addr, &len);
  return ntohs(addr.sin_port);
}

static const char* tls_file(const char* name) {
  static char path[4][512];
  static unsigned n;
  n = (n + 1) % 4;
  snprintf(path[n], sizeof(path[n]), "%s/%s", getenv("UVWS_TEST_TLS"), name);
  return path[n];
}

/* Before anything is counted. */
static void make_server_tls(void) {
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  uvws_tls_options_t from;
  certificate.cert_file = tls_file("localhost.crt");
  certificate.key_file = tls_file("localhost.key");
  uvws_tls_options_init(&from);
  from.certificates = &certificate;
  from.n_certificates = 1;
  require(uvws_tls_new(&server_tls, &from, NULL, 0) == 0, "a server's TLS");
}

#endif /* UVWS_TEST_FAULTS_REACH_H_ */
