/* A WebSocket server that sends every message back as it came.
 *
 *   echo-server [--host H] [--port N] [--pipe PATH] [--max-message BYTES]
 *               [--max-fragments N] [--stream yes] [--cert FILE --key FILE]
 *               [--deflate yes]
 *
 * With --stream messages go back in parts as they come, in bounded memory, and
 * have no limit but the one that is given. With a certificate and its key the
 * server speaks TLS: wss. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deflate.h"

static void die(const char* what, int status) {
  fprintf(stderr, "echo-server: %s: %s\n", what, uvws_strerror(status));
  exit(1);
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  unsigned flags = message->type;
  if (message->type == UVWS_TEXT) flags |= UVWS_UTF8_CHECKED;
  int status = uvws_send(ws, message->data, message->len, flags);
  /* An echo that cannot be sent must not be silently missing. */
  if (status != 0) uvws_terminate(ws);
}

/* Reads no faster than the client takes what goes back. */
static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  unsigned flags = chunk->type;
  if (chunk->type == UVWS_TEXT) flags |= UVWS_UTF8_CHECKED;
  int status = chunk->first ? uvws_begin(ws, flags) : 0;
  if (status == 0)
    status = chunk->last ? uvws_end(ws, chunk->data, chunk->len)
                         : uvws_continue(ws, chunk->data, chunk->len);
  if (status != 0)
    uvws_terminate(ws);
  else if (uvws_needs_drain(ws))
    uvws_read_stop(ws);
}

static void on_drain(uvws_t* ws) {
  uvws_read_start(ws);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)event;
  free(ws);
}

static const uvws_events_t socket_events = {
    UVWS_EVENTS_INIT, .message = on_message, .close = on_close};
static const uvws_events_t stream_events = {
    UVWS_EVENTS_INIT, .chunk = on_chunk, .drain = on_drain, .close = on_close};

static bool streams;

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  uvws_accept_options_t options;
  uvws_accept_options_init(&options);
  /* Any subprotocol will do for an echo. */
  options.protocol = uvws_request_protocol(request, 0);
  uvws_t* ws = malloc(sizeof(*ws));
  if (ws == NULL) {
    uvws_reject(request, 503, NULL, 0, NULL, 0);
    return;
  }
  uvws_init(server->loop, ws, streams ? &stream_events : &socket_events);
  uvws_set_binary_type(ws, UVWS_ARRAYBUFFER);
  if (uvws_accept(request, ws, &options) != 0) {
    uvws_reject(request, 500, NULL, 0, NULL, 0);
    free(ws);
  }
}

static void on_error(uvws_server_t* server, int status) {
  (void)server;
  fprintf(stderr, "echo-server: accept: %s\n", uvws_strerror(status));
}

static void on_tls_error(uvws_server_t* server, int status,
                         const char* reason) {
  (void)server;
  (void)status;
  fprintf(stderr, "echo-server: %s\n", reason);
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .error = on_error,
    .tls_error = on_tls_error};

/* The first signal ends everything within a second, the second at once. */
static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  uvws_server_close(signal->data, 1000);
  uv_close((uv_handle_t*)signal, NULL);
}

static uvws_tls_t* make_tls(const uvws_tls_certificate_t* certificate) {
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  char why[256];
  uvws_tls_options_init(&options);
  options.certificates = certificate;
  options.n_certificates = 1;
  if (uvws_tls_new(&tls, &options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "echo-server: %s\n", why);
  exit(1);
}

static void listen_tcp(uvws_server_t* server, const char* scheme,
                       const char* host, int port) {
  struct sockaddr_storage address;
  int len = sizeof(address);
  int status = uv_ip4_addr(host, port, (struct sockaddr_in*)&address);
  if (status != 0)
    status = uv_ip6_addr(host, port, (struct sockaddr_in6*)&address);
  if (status != 0) die(host, status);
  status = uvws_listen(server, (const struct sockaddr*)&address, 0, 4096);
  if (status != 0) die("listen", status);
  uvws_server_getsockname(server, (struct sockaddr*)&address, &len);
  bool six = address.ss_family == AF_INET6;
  port = ntohs(six ? ((struct sockaddr_in6*)&address)->sin6_port
                   : ((struct sockaddr_in*)&address)->sin_port);
  printf(six ? "listening on %s://[%s]:%d/\n" : "listening on %s://%s:%d/\n",
         scheme, host, port);
}

int main(int argc, char** argv) {
  uvws_server_options_t options;
  uvws_server_t server;
  uv_signal_t signals[2];
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  uvws_deflate_options_t deflate;
  const char* host = "127.0.0.1";
  const char* pipe = NULL;
  int port = 9001;
  uvws_server_options_init(&options);
  bool limited = false;
  /* An echo has nothing that a foreign page could abuse. */
  options.flags = UVWS_SERVER_ANY_ORIGIN;
  for (int i = 1; i < argc; i += 2) {
    const char* value = i + 1 < argc ? argv[i + 1] : NULL;
    if (value == NULL || strncmp(argv[i], "--", 2) != 0) {
      fprintf(stderr,
              "usage: %s [--host H] [--port N] [--pipe PATH]"
              " [--max-message BYTES] [--max-fragments N] [--stream yes]"
              " [--cert FILE --key FILE] [--deflate yes]\n",
              argv[0]);
      return 2;
    }
    if (strcmp(argv[i], "--host") == 0)
      host = value;
    else if (strcmp(argv[i], "--port") == 0)
      port = atoi(value);
    else if (strcmp(argv[i], "--pipe") == 0)
      pipe = value;
    else if (strcmp(argv[i], "--max-message") == 0)
      options.max_message = strtoull(value, NULL, 10), limited = true;
    else if (strcmp(argv[i], "--max-fragments") == 0)
      options.max_fragments = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(argv[i], "--stream") == 0)
      streams = true;
    else if (strcmp(argv[i], "--deflate") == 0 && read_deflate(value, &deflate))
      options.deflate = &deflate;
    else if (strcmp(argv[i], "--cert") == 0)
      certificate.cert_file = value;
    else if (strcmp(argv[i], "--key") == 0)
      certificate.key_file = value;
    else
      die(argv[i], UV_EINVAL);
  }

  if (streams && !limited) {
    options.max_message = UINT64_MAX;
    options.max_fragments = UINT32_MAX;
  }

  bool is_secure = certificate.cert_file != NULL;
  if (is_secure) options.tls = make_tls(&certificate);
  uv_loop_t* loop = uv_default_loop();
  signal(SIGPIPE, SIG_IGN);
  int status = uvws_server_init(loop, &server, &server_events, &options);
  if (status != 0) die("init", status);
  uvws_tls_unref(options.tls);
  if (pipe != NULL) {
    status = uvws_listen_pipe(&server, pipe, 4096);
    if (status != 0) die(pipe, status);
    printf("listening on %s\n", pipe);
  } else {
    listen_tcp(&server, is_secure ? "wss" : "ws", host, port);
  }
  fflush(stdout);
  for (int i = 0; i < 2; i++) {
    uv_signal_init(loop, &signals[i]);
    uv_unref((uv_handle_t*)&signals[i]);
    signals[i].data = &server;
    uv_signal_start_oneshot(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
