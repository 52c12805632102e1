/* The clients of bench/deflate-memory: many connections to an echo server, on
 * each of which some messages go to and fro, and then none.
 *
 *   deflate-memory-client PORT CONNECTIONS SIZE [plain]
 *
 * Offers permessage-deflate, unless it is to be plain, and checks each echo.
 * Prints "open EXTENSIONS" when all connections are open. Each line of stdin is
 * then one message of SIZE bytes of JSON on each of them, and a line "echoed"
 * once all are back. The end of stdin is the end of it. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

enum {
  BATCH = 200,       /* connections that open, or echoes that are awaited */
  PER_ADDRESS = 5000 /* connections from one address have a port each */
};

typedef struct client_s {
  uvws_t ws;
  char* message; /* what is to come back */
} client_t;

static uv_loop_t* loop;
static uvws_options_t options;
static uvws_deflate_options_t deflate;
static int port;
static unsigned n_clients, n_started, n_opened, n_sent, n_echoed;
static unsigned round_number;
static size_t size;
static client_t* clients;
static uv_pipe_t input;
static char input_bytes[64];

static void die(const char* what, const char* why) {
  fprintf(stderr, "deflate-memory-client: %s: %s\n", what, why);
  exit(1);
}

static void must(const char* what, int status) {
  if (status != 0) die(what, uvws_strerror(status));
}

/* What a program tells: names that repeat, and values that differ. */
static char* make_message(unsigned seed) {
  static const char* const states[] = {"open", "filled", "cancelled", "new"};
  char* text = malloc(size + 256);
  size_t len = 0;
  uint32_t x = seed * 2654435761u + 1;
  if (text == NULL) must("malloc", UV_ENOMEM);
  while (len < size) {
    x = x * 1664525 + 1013904223;
    len += (size_t)sprintf(
        text + len,
        "{\"id\":%u,\"account\":\"%08x\",\"state\":\"%s\",\"price\":%u.%02u,"
        "\"quantity\":%u,\"updated\":\"2026-11-%02uT%02u:%02u:00Z\"},",
        x >> 8, x, states[x >> 30], (x >> 12) % 1000, (x >> 9) % 100,
        (x >> 20) % 500, 1 + (x >> 7) % 28, (x >> 5) % 24, (x >> 11) % 60);
  }
  text[size] = '\0';
  return text;
}

static void open_some(void) {
  for (unsigned i = 0; i < BATCH && n_started < n_clients; i++) {
    struct sockaddr_in from;
    char host[32], url[64];
    uvws_t* ws = &clients[n_started].ws;
    snprintf(host, sizeof(host), "127.0.0.%u", 2 + n_started / PER_ADDRESS);
    snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port);
    must("address", uv_ip4_addr(host, 0, &from));
    options.local_address = (const struct sockaddr*)&from;
    must("connect", uvws_connect(ws, url, &options));
    n_started++;
  }
}

static void send_some(void) {
  for (unsigned i = 0; i < BATCH && n_sent < n_clients; i++, n_sent++) {
    client_t* client = &clients[n_sent];
    client->message = make_message(round_number * n_clients + n_sent);
    must("send", uvws_send(&client->ws, client->message, size, UVWS_TEXT));
  }
}

static void on_open(uvws_t* ws) {
  if ((*uvws_extensions(ws) != '\0') != (options.deflate != NULL))
    die("extensions", uvws_extensions(ws));
  if (++n_opened == n_clients)
    printf("open %s\n", uvws_extensions(ws));
  else if (n_opened == n_started)
    open_some();
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  client_t* client = ws->data;
  if (message->len != size || memcmp(message->data, client->message, size) != 0)
    die("echo", "not what was sent");
  free(client->message);
  client->message = NULL;
  if (++n_echoed == n_clients)
    printf("echoed\n");
  else if (n_echoed == n_sent)
    send_some();
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  if (event->code != 1000) die("close", event->reason);
}

static const uvws_events_t events = {UVWS_EVENTS_INIT, .open = on_open,
                                     .message = on_message, .close = on_close};

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(input_bytes, sizeof(input_bytes));
}

static void on_input(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)stream;
  (void)buf;
  if (n < 0) exit(0);
  n_sent = n_echoed = 0;
  round_number++;
  send_some();
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  loop = uv_default_loop();
  port = atoi(argv[1]);
  n_clients = (unsigned)atoi(argv[2]);
  size = (size_t)atoi(argv[3]);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  uvws_options_init(&options);
  uvws_deflate_options_init(&deflate);
  /* It has better things to do with its own memory. */
  deflate.level = 1;
  deflate.idle_timeout = 100;
  options.deflate = strcmp(argv[argc - 1], "plain") == 0 ? NULL : &deflate;
  clients = calloc(n_clients, sizeof(*clients));
  if (clients == NULL) must("calloc", UV_ENOMEM);
  for (unsigned i = 0; i < n_clients; i++) {
    must("init", uvws_init(loop, &clients[i].ws, &events));
    clients[i].ws.data = &clients[i];
  }
  open_some();
  must("stdin", uv_pipe_init(loop, &input, 0));
  must("stdin", uv_pipe_open(&input, 0));
  must("stdin", uv_read_start((uv_stream_t*)&input, on_alloc, on_input));
  return uv_run(loop, UV_RUN_DEFAULT);
}
