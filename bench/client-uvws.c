/* Our client for bench/client.
 *
 *   client-uvws PORT echo|receive|chunks|send SIZE CONNECTIONS DEPTH
 *     text|binary
 *
 * `chunks` receives messages in parts. Runs until it is killed. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

static bool echoes, sends, compared;
static unsigned type;
static size_t size, depth;
static char* payload;

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "client-uvws: %s\n", what);
  exit(1);
}

static void send_one(uvws_t* ws) {
  check(uvws_send(ws, payload, size, type) == 0, "sending failed");
}

static void send_on(uvws_t* ws) {
  while (!uvws_needs_drain(ws)) send_one(ws);
}

static void on_open(uvws_t* ws) {
  if (sends) send_on(ws);
  for (size_t i = 0; echoes && i < depth; i++) send_one(ws);
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  check(message->len == size && message->type == type, "another message");
  if (!compared)
    check(memcmp(message->data, payload, size) == 0, "another payload");
  compared = true;
  if (echoes) send_one(ws);
}

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  (void)ws;
  check(chunk->type == type && chunk->len <= size, "another message");
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  (void)ws;
  (void)status;
  fprintf(stderr, "client-uvws: %s\n", reason);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  (void)event;
  check(false, "the connection is lost");
}

static const uvws_events_t by_message = {
    UVWS_EVENTS_INIT, .open = on_open,   .message = on_message,
    .drain = send_on, .error = on_error, .close = on_close};
static const uvws_events_t by_chunk = {UVWS_EVENTS_INIT, .chunk = on_chunk,
                                       .error = on_error, .close = on_close};

int main(int argc, char** argv) {
  char url[64];
  uvws_options_t options;
  uv_loop_t* loop = uv_default_loop();
  check(argc == 7, "six arguments");
  snprintf(url, sizeof(url), "ws://127.0.0.1:%s/", argv[1]);
  echoes = strcmp(argv[2], "echo") == 0;
  sends = strcmp(argv[2], "send") == 0;
  const uvws_events_t* events =
      strcmp(argv[2], "chunks") == 0 ? &by_chunk : &by_message;
  size = strtoul(argv[3], NULL, 10);
  size_t n = strtoul(argv[4], NULL, 10);
  depth = strtoul(argv[5], NULL, 10);
  type = strcmp(argv[6], "text") == 0 ? UVWS_TEXT : UVWS_BINARY;
  payload = malloc(size);
  uvws_t* sockets = calloc(n, sizeof(*sockets));
  check(payload != NULL && sockets != NULL, "no memory");
  for (size_t i = 0; i < size; i++) payload[i] = (char)('a' + i % 23);
  uvws_options_init(&options);
  if (sends) {
    options.high_water = depth * size;
    options.low_water = options.high_water / 4;
  }
  for (uvws_t* ws = sockets; ws < sockets + n; ws++) {
    check(uvws_init(loop, ws, events) == 0, "no socket");
    uvws_set_binary_type(ws, UVWS_ARRAYBUFFER);
    check(uvws_connect(ws, url, &options) == 0, "no connection");
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
