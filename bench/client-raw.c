/* The bare libuv client: the same bytes as those of the other clients of
 * bench/client, but made only once, and not looked at when they come.
 *
 *   client-raw PORT echo|receive|send SIZE CONNECTIONS DEPTH text|binary
 *
 * Runs until it is killed. */
#define _GNU_SOURCE /* memmem() */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

typedef struct client_s {
  uv_tcp_t tcp;
  uv_connect_t connect;
  uv_write_t write;
  size_t echoed; /* bytes of a frame that is not complete */
  bool open;
} client_t;

static const char request[] =
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static bool echoes, sends;
static size_t depth, frame_size, echo_size;
static char* frames;           /* `depth` of them, masked */
static char input[256 * 1024]; /* as large as ours */

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "client-raw: %s\n", what);
  exit(1);
}

static void make_frames(size_t size, bool text) {
  static const char mask[4] = {0x37, 0x7A, 0x21, 0x3D};
  unsigned bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  echo_size = 2 + bytes + size;
  frame_size = echo_size + sizeof(mask);
  frames = malloc(depth * frame_size);
  check(frames != NULL, "no memory");
  char* at = frames;
  for (size_t n = 0; n < depth; n++) {
    *at++ = (char)(0x80 | (text ? 0x1 : 0x2));
    *at++ = (char)(0x80 | (bytes == 0 ? size : bytes == 2 ? 126u : 127u));
    for (unsigned i = bytes; i > 0;) *at++ = (char)((uint64_t)size >> 8 * --i);
    memcpy(at, mask, sizeof(mask));
    at += sizeof(mask);
    for (size_t i = 0; i < size; i++)
      *at++ = (char)(('a' + i % 23) ^ (size_t)mask[i & 3]);
  }
}

static void send_frames(client_t* client, size_t n) {
  uv_buf_t buf = uv_buf_init(frames, (unsigned)(n * frame_size));
  check(uv_try_write((uv_stream_t*)&client->tcp, &buf, 1) == (int)buf.len,
        "a peer that does not read");
}

/* All again and again, each in a turn of the loop of its own. */
static void send_on(uv_write_t* write, int status) {
  client_t* client = write->data;
  uv_buf_t buf = uv_buf_init(frames, (unsigned)(depth * frame_size));
  check(status == 0 &&
            uv_write(write, (uv_stream_t*)&client->tcp, &buf, 1, send_on) == 0,
        "writing failed");
}

/* What a source sends may follow at once. */
static void read_head(client_t* client, const char* data, size_t len) {
  check(memmem(data, len, "\r\n\r\n", 4) != NULL, "a response in parts");
  client->open = true;
  if (echoes) send_frames(client, depth);
  if (sends) send_on(&client->write, 0);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(input, sizeof(input));
}

static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  client_t* client = stream->data;
  check(n >= 0, "the connection is lost");
  if (!client->open) {
    if (n > 0) read_head(client, buf->base, (size_t)n);
    return;
  }
  if (!echoes) return;
  client->echoed += (size_t)n;
  size_t whole = client->echoed / echo_size;
  client->echoed %= echo_size;
  if (whole > 0) send_frames(client, whole);
}

static void on_connect(uv_connect_t* connect, int status) {
  client_t* client = connect->data;
  uv_stream_t* stream = (uv_stream_t*)&client->tcp;
  uv_buf_t buf = uv_buf_init((char*)request, sizeof(request) - 1);
  check(status == 0, "no connection");
  uv_tcp_nodelay(&client->tcp, 1);
  check(uv_try_write(stream, &buf, 1) == (int)buf.len, "no request");
  uv_read_start(stream, on_alloc, on_read);
}

int main(int argc, char** argv) {
  struct sockaddr_in addr;
  uv_loop_t* loop = uv_default_loop();
  check(argc == 7, "six arguments");
  uv_ip4_addr("127.0.0.1", atoi(argv[1]), &addr);
  echoes = strcmp(argv[2], "echo") == 0;
  sends = strcmp(argv[2], "send") == 0;
  depth = strtoul(argv[5], NULL, 10);
  make_frames(strtoul(argv[3], NULL, 10), strcmp(argv[6], "text") == 0);
  size_t n = strtoul(argv[4], NULL, 10);
  client_t* clients = calloc(n, sizeof(*clients));
  check(clients != NULL, "no memory");
  for (client_t* client = clients; client < clients + n; client++) {
    uv_tcp_init(loop, &client->tcp);
    client->tcp.data = client->connect.data = client->write.data = client;
    check(uv_tcp_connect(&client->connect, &client->tcp,
                         (const struct sockaddr*)&addr, on_connect) == 0,
          "no connection");
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
