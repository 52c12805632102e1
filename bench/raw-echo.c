/* The bare libuv TCP echo: what the same reads and writes cost with no protocol
 * in between.
 *
 *   raw-echo [PORT [BYTES]]     prints "listening on 127.0.0.1:PORT"
 *
 * BYTES is what it reads at most at once, 65536 if not given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

static char* buffer;
static size_t buffer_size = 65536;

static void on_close(uv_handle_t* handle) {
  free(handle);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, (unsigned)buffer_size);
}

static void on_write(uv_write_t* write, int status) {
  (void)status;
  free(write);
}

static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  if (n < 0) uv_close((uv_handle_t*)stream, on_close);
  if (n <= 0) return;
  uv_buf_t out = uv_buf_init(buf->base, (unsigned)n);
  int taken = uv_try_write(stream, &out, 1);
  if (taken == n) return;
  size_t left = (size_t)(taken < 0 ? n : n - taken);
  uv_write_t* write = malloc(sizeof(*write) + left);
  if (write == NULL) abort();
  memcpy(write + 1, buf->base + (n - (ssize_t)left), left);
  out = uv_buf_init((char*)(write + 1), (unsigned)left);
  uv_write(write, stream, &out, 1, on_write);
}

static void on_connection(uv_stream_t* server, int status) {
  uv_tcp_t* tcp = malloc(sizeof(*tcp));
  if (tcp == NULL || status != 0) abort();
  uv_tcp_init(server->loop, tcp);
  if (uv_accept(server, (uv_stream_t*)tcp) != 0) abort();
  uv_tcp_nodelay(tcp, 1);
  uv_read_start((uv_stream_t*)tcp, on_alloc, on_read);
}

static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  uv_stop(signal->loop);
}

int main(int argc, char** argv) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uv_tcp_t server;
  uv_signal_t signal;
  uv_loop_t* loop = uv_default_loop();
  if (argc > 2) buffer_size = strtoul(argv[2], NULL, 10);
  buffer = malloc(buffer_size);
  if (buffer == NULL) return 1;
  uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &addr);
  uv_tcp_init(loop, &server);
  uv_tcp_bind(&server, (const struct sockaddr*)&addr, 0);
  if (uv_listen((uv_stream_t*)&server, 4096, on_connection) != 0) return 1;
  uv_tcp_getsockname(&server, (struct sockaddr*)&addr, &len);
  printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
  fflush(stdout);
  uv_signal_init(loop, &signal);
  uv_signal_start(&signal, on_signal, SIGTERM);
  return uv_run(loop, UV_RUN_DEFAULT) < 0;
}
