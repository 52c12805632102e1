#ifndef UVWS_TEST_RAW_CLIENTS_H_
#define UVWS_TEST_RAW_CLIENTS_H_

/* Raw clients and the server that they ask, for test-request.c and
 * test-server.c. */

#include <stdio.h>
#include <string.h>

#include "helper.h"

#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define REQUEST "GET / HTTP/1.1\r\nHost: example.com\r\n" UPGRADE VERSION KEY

static server_t server;
static raw_t raw;

static void turns(int n) {
  while (n-- > 0) uv_run(test_loop, UV_RUN_NOWAIT);
}

/* `bytes` must stay. */
static void dial_with(raw_t* client, const void* bytes, size_t len) {
  memset(client, 0, sizeof(*client));
  client->head = "";
  client->bytes = bytes;
  client->len = len;
  raw_dial(client, server.port);
}

static void dial(raw_t* client, const char* text) {
  dial_with(client, text, strlen(text));
}

static int status_of(const raw_t* client) {
  int status = 0;
  if (client->in != NULL) sscanf(client->in, "HTTP/1.1 %d ", &status);
  return status;
}

static const char* body_of(const raw_t* client) {
  return strstr(client->in, "\r\n\r\n") + 4;
}

/* A response that refuses is whole, and the connection ends behind it. */
static void check_refusal(const raw_t* client) {
  char length[48];
  assert_true(client->saw_eof);
  assert_non_null(strstr(client->in, "\r\nConnection: close"));
  snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n",
           strlen(body_of(client)));
  assert_non_null(strstr(client->in, length));
}

/* The status that the server answers with; the response stays in raw.in. */
static int ask_with(const void* bytes, size_t len) {
  raw_free(&raw);
  dial_with(&raw, bytes, len);
  test_run_until(&raw.upgraded);
  if (status_of(&raw) == 101) raw_close(&raw);
  test_run_until(&raw.closed);
  if (status_of(&raw) != 101) check_refusal(&raw);
  return status_of(&raw);
}

static int ask(const char* text) {
  return ask_with(text, strlen(text));
}

static void server_end(void) {
  uvws_server_close(&server.server, 0);
  test_run();
  assert_true(server.closed);
  assert_int_equal(uvws_server_connections(&server.server), 0);
  raw_free(&raw);
}

#endif /* UVWS_TEST_RAW_CLIENTS_H_ */
