#include "soak.h"

/* One message of up to 2^31-1 bytes, from a client's process to a server's: in
 * parts, which takes no more memory than any other message, or whole. */

static uint64_t total, received, sent;

/* ---- the client ---- */

static ssize_t next_bytes(uvws_t* ws, void* buf, size_t len, void* arg) {
  (void)ws;
  (void)arg;
  if (len > total - sent) len = (size_t)(total - sent);
  memcpy(buf, pattern(sent, len), len);
  sent += len;
  return (ssize_t)len;
}

static void stream(uvws_t* ws) {
  CHECK(uvws_send_source(ws, UVWS_BINARY, next_bytes, NULL) == 0);
}

static void send_whole(uvws_t* ws) {
  char* all = malloc(total);
  CHECK(all != NULL);
  for (uint64_t at = 0; at < total; at += PATTERN_MAX) {
    size_t len = total - at < PATTERN_MAX ? (size_t)(total - at) : PATTERN_MAX;
    memcpy(all + at, pattern(at, len), len);
  }
  CHECK(uvws_send(ws, all, total, UVWS_BINARY) == 0);
  free(all);
}

static void on_client_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  CHECK(event->was_clean && event->code == 1000);
  printf("  client: %ld KiB at most\n", memory_kib("VmHWM:"));
}

static const uvws_events_t streaming = {UVWS_EVENTS_INIT, .open = stream,
                                        .close = on_client_close};
static const uvws_events_t sending = {UVWS_EVENTS_INIT, .open = send_whole,
                                      .close = on_client_close};

static void stream_to(int port) {
  uvws_t ws;
  connect_to(&ws, port, &streaming, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
}

static void send_to(int port) {
  uvws_t ws;
  uvws_options_t options;
  uvws_options_init(&options);
  options.close_timeout = 60000;
  connect_to(&ws, port, &sending, &options);
  uv_run(loop, UV_RUN_DEFAULT);
}

/* ---- the server ---- */

static void take(const char* data, size_t len) {
  while (len > 0) {
    size_t n = len < PATTERN_MAX ? len : PATTERN_MAX;
    CHECK(memcmp(data, pattern(received, n), n) == 0);
    received += n;
    data += n;
    len -= n;
  }
}

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  CHECK(chunk->first == (received == 0));
  take(chunk->data, chunk->len);
  if (chunk->last) CHECK(uvws_close(ws, 1000, NULL, 0) == 0);
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  take(message->data, message->len);
  CHECK(uvws_close(ws, 1000, NULL, 0) == 0);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  (void)event;
  CHECK(received == total);
  printf("  server: %ld KiB at most\n", memory_kib("VmHWM:"));
  uvws_server_close(&server, 1000);
}

static const uvws_events_t in_chunks = {UVWS_EVENTS_INIT, .chunk = on_chunk,
                                        .close = on_close};
static const uvws_events_t in_one = {UVWS_EVENTS_INIT, .message = on_message,
                                     .close = on_close};

void run_huge(uint64_t bytes, bool whole) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  options.max_message = total = bytes;
  options.max_memory = 0;
  uint64_t begin = uv_hrtime();
  int port = start_server(&options, whole ? &in_one : &in_chunks);
  int pid = start_peer(whole ? send_to : stream_to, port);
  uv_run(loop, UV_RUN_DEFAULT);
  join_peer(pid);
  printf("%s: %llu bytes in %.2f s\n", whole ? "whole" : "huge",
         (unsigned long long)received, (double)(uv_hrtime() - begin) / 1e9);
}
