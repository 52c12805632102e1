/* Our half of the interop tests where the echo examples cannot express it.
 *
 *   peer server [--any-origin]
 *   peer client URL TARGET [PROTOCOL]...
 *
 * In either role a request target says what a socket does: the server takes
 * the client's, the client is given one of its own, whatever its URL says.
 *
 *   /echo                     sends every message back; so do the next two
 *   /ping                     and a ping of ours goes before what we do about
 *                             the first message or ping
 *   /flood?bytes=N            and sends N bytes at once; tells bufferedAmount
 *                             then, and at each message
 *   /close?code=N&reason=R    closes as soon as it is open
 *   /abort                    terminates at the first message
 *   ...?protocol=P            the subprotocol that the server chooses
 *
 * With the environment's UVWS_TLS, a directory that cmake/ca has made, the
 * server speaks TLS, and the client of a wss: URL trusts that authority.
 *
 * Each event becomes a line of stdout that begins with the socket's number,
 * so that a script can compare what we saw, event by event. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

typedef struct peer_s {
  uvws_t ws;
  unsigned number;
  char target[1024];
  bool pinged;
} peer_t;

static void must(const char* what, int status) {
  if (status == 0) return;
  fprintf(stderr, "peer: %s: %s\n", what, uvws_strerror(status));
  exit(1);
}

/* For either role; NULL when there is to be none. */
static uvws_tls_t* make_tls(void) {
  const char* directory = getenv("UVWS_TLS");
  char ca[1024], cert[1024], key[1024];
  uvws_tls_certificate_t certificate = {.cert_file = cert, .key_file = key};
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  if (directory == NULL) return NULL;
  snprintf(ca, sizeof(ca), "%s/ca.crt", directory);
  snprintf(cert, sizeof(cert), "%s/localhost.crt", directory);
  snprintf(key, sizeof(key), "%s/localhost.key", directory);
  uvws_tls_options_init(&options);
  options.ca_file = ca;
  options.certificates = &certificate;
  options.n_certificates = 1;
  must("TLS", uvws_tls_new(&tls, &options, NULL, 0));
  return tls;
}

static bool does(const peer_t* peer, const char* what) {
  size_t len = strlen(what);
  const char* target = peer->target;
  return strncmp(target, what, len) == 0 && strchr("?", target[len]) != NULL;
}

/* The value of `key` in the target's query, its escapes undone; "" for none. */
static const char* argument(const char* target, const char* key) {
  static char value[512];
  size_t key_len = strlen(key), len = 0;
  const char* p = strchr(target, '?');
  while (p != NULL && (strncmp(++p, key, key_len) != 0 || p[key_len] != '='))
    p = strchr(p, '&');
  if (p != NULL) {
    p += key_len + 1;
    while (*p != '\0' && *p != '&' && len + 1 < sizeof(value)) {
      unsigned byte;
      if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1) {
        value[len++] = (char)byte;
        p += 3;
      } else {
        value[len++] = *p++;
      }
    }
  }
  value[len] = '\0';
  return value;
}

static void print_control(const peer_t* peer, const char* event,
                          const void* data, size_t len, const char* end) {
  const unsigned char* bytes = data;
  printf("%u %s [", peer->number, event);
  for (size_t i = 0; i < len; i++) printf("%02x", bytes[i]);
  printf("]%s\n", end);
}

static void print_buffered(peer_t* peer) {
  printf("%u buffered %llu\n", peer->number,
         (unsigned long long)uvws_buffered_amount(&peer->ws));
}

/* No stretch of it looks like another, so that a piece that is lost, doubled
 * or out of its place shows. */
static void flood(peer_t* peer) {
  size_t len = strtoull(argument(peer->target, "bytes"), NULL, 10);
  unsigned char* bytes = malloc(len);
  if (bytes == NULL) must("malloc", UV_ENOMEM);
  for (size_t i = 0; i < len; i++)
    bytes[i] = (unsigned char)(i * 31 + (i >> 8) * 17 + (i >> 16) * 7);
  must("send", uvws_send(&peer->ws, bytes, len, UVWS_BINARY));
  free(bytes);
  print_buffered(peer);
}

/* As long as a ping may be, and binary. */
static void ping_once(peer_t* peer) {
  unsigned char bytes[125];
  if (peer->pinged || !does(peer, "/ping")) return;
  peer->pinged = true;
  for (unsigned i = 0; i < sizeof(bytes); i++)
    bytes[i] = (unsigned char)(i * 131);
  must("ping", uvws_ping(&peer->ws, bytes, sizeof(bytes)));
}

static void on_open(uvws_t* ws) {
  peer_t* peer = ws->data;
  printf("%u open '%s'\n", peer->number, uvws_protocol(ws));
  if (does(peer, "/close")) {
    int code = atoi(argument(peer->target, "code"));
    const char* reason = argument(peer->target, "reason");
    must("close", uvws_close(ws, code, reason, strlen(reason)));
  } else if (does(peer, "/flood")) {
    flood(peer);
  }
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  peer_t* peer = ws->data;
  printf("%u %s %zu\n", peer->number,
         message->type == UVWS_TEXT ? "text" : "binary", message->len);
  if (does(peer, "/abort")) {
    uvws_terminate(ws);
    return;
  }
  if (does(peer, "/flood")) print_buffered(peer);
  ping_once(peer);
  must("send", uvws_send(ws, message->data, message->len, message->type));
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  peer_t* peer = ws->data;
  printf("%u error %s %s\n", peer->number, uvws_err_name(status), reason);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  peer_t* peer = ws->data;
  printf("%u close %d %s %s '%s'\n", peer->number, event->code,
         event->was_clean ? "clean" : "unclean",
         event->status == 0 ? "0" : uvws_err_name(event->status),
         event->reason);
  free(peer);
}

static void on_ping(uvws_t* ws, const void* data, size_t len) {
  print_control(ws->data, "ping", data, len, "");
  ping_once(ws->data);
}

static void on_pong(uvws_t* ws, const void* data, size_t len, uint64_t rtt) {
  const char* answers = rtt > 0 ? " answers" : "";
  print_control(ws->data, "pong", data, len, answers);
}

static const uvws_events_t socket_events = {
    UVWS_EVENTS_INIT,  .open = on_open,   .message = on_message,
    .error = on_error, .close = on_close, .ping = on_ping,
    .pong = on_pong};

static peer_t* new_peer(const char* target) {
  static unsigned number;
  peer_t* peer = calloc(1, sizeof(*peer));
  if (peer == NULL) must("calloc", UV_ENOMEM);
  peer->number = ++number;
  snprintf(peer->target, sizeof(peer->target), "%s", target);
  must("init", uvws_init(uv_default_loop(), &peer->ws, &socket_events));
  peer->ws.data = peer;
  return peer;
}

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  (void)server;
  peer_t* peer = new_peer(uvws_request_target(request));
  const char* protocol = argument(peer->target, "protocol");
  uvws_accept_options_t options;
  uvws_accept_options_init(&options);
  if (*protocol != '\0') options.protocol = protocol;
  must("accept", uvws_accept(request, &peer->ws, &options));
}

static void on_accept_error(uvws_server_t* server, int status) {
  (void)server;
  must("accept", status);
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .error = on_accept_error};

static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  uvws_server_close(signal->data, 30000);
  uv_close((uv_handle_t*)signal, NULL);
}

static void serve(uvws_server_t* server, uv_signal_t* signal, bool any_origin) {
  uv_loop_t* loop = uv_default_loop();
  struct sockaddr_in address;
  int len = sizeof(address);
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  if (any_origin) options.flags = UVWS_SERVER_ANY_ORIGIN;
  options.tls = make_tls();
  must("init", uvws_server_init(loop, server, &server_events, &options));
  uvws_tls_unref(options.tls);
  uv_ip4_addr("127.0.0.1", 0, &address);
  must("listen", uvws_listen(server, (const struct sockaddr*)&address, 0, 128));
  uvws_server_getsockname(server, (struct sockaddr*)&address, &len);
  must("signal", uv_signal_init(loop, signal));
  uv_unref((uv_handle_t*)signal);
  signal->data = server;
  must("signal", uv_signal_start_oneshot(signal, on_signal, SIGTERM));
  printf("listening on %s://127.0.0.1:%d/\n", options.tls ? "wss" : "ws",
         ntohs(address.sin_port));
}

static void dial(char** argv, int argc) {
  uvws_options_t options;
  uvws_options_init(&options);
  options.protocols = (const char* const*)argv + 4;
  options.n_protocols = (unsigned)argc - 4;
  options.tls = make_tls();
  must("connect", uvws_connect(&new_peer(argv[3])->ws, argv[2], &options));
  uvws_tls_unref(options.tls);
}

int main(int argc, char** argv) {
  uvws_server_t server;
  uv_signal_t sigterm;
  const char* role = argc > 1 ? argv[1] : "";
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (strcmp(role, "server") == 0) {
    serve(&server, &sigterm, argc > 2 && strcmp(argv[2], "--any-origin") == 0);
  } else if (strcmp(role, "client") == 0 && argc >= 4) {
    dial(argv, argc);
  } else {
    fprintf(stderr,
            "usage: %s server [--any-origin]\n"
            "       %s client URL TARGET [PROTOCOL]...\n",
            argv[0], argv[0]);
    return 2;
  }
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
