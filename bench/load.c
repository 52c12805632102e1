/* Sends messages to an echo server, one at a time or several deep, and waits
 * for each to come back: the load under which a server's instructions are
 * counted.
 *
 *   load PORT CONNECTIONS MESSAGES SIZE DEPTH [raw]
 *
 * MESSAGES are per connection, SIZE is at most 125 bytes of payload. With `raw`
 * there is no handshake and no frame, only as many bytes. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void send_all(int fd, const void* data, size_t len) {
  const char* at = data;
  while (len > 0) {
    ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
    if (n <= 0) die("send");
    at += n;
    len -= (size_t)n;
  }
}

static void receive_all(int fd, void* data, size_t len) {
  char* at = data;
  while (len > 0) {
    ssize_t n = recv(fd, at, len, 0);
    if (n <= 0) die("recv");
    at += n;
    len -= (size_t)n;
  }
}

static int dial(int port, bool raw) {
  static const char request[] =
      "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  struct sockaddr_in addr = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char head[1024] = "";
  int one = 1;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&addr, sizeof(addr)) != 0)
    die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (raw) return fd;
  send_all(fd, request, sizeof(request) - 1);
  for (size_t n = 0; strstr(head, "\r\n\r\n") == NULL; n++)
    if (n == sizeof(head) - 1 || recv(fd, head + n, 1, 0) != 1) die("upgrade");
  return fd;
}

/* `depth` masked binary frames, or as many bytes without a head. */
static size_t compose(uint8_t* out, size_t size, int depth, bool raw) {
  uint8_t* at = out;
  for (int i = 0; i < depth; i++) {
    if (!raw) {
      *at++ = 0x82;
      *at++ = (uint8_t)(0x80 | size);
      memcpy(at, "\x11\x22\x33\x44", 4);
      at += 4;
    }
    memset(at, 'm', size);
    at += size;
  }
  return (size_t)(at - out);
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  int port = atoi(argv[1]), connections = atoi(argv[2]);
  int messages = atoi(argv[3]), depth = atoi(argv[5]);
  size_t size = (size_t)atoi(argv[4]);
  bool raw = argc > 6;
  static uint8_t out[65536], in[65536];
  if (size > 125 || (size_t)depth * (size + 6) > sizeof(out)) return 2;
  size_t len = compose(out, size, depth, raw);
  size_t echoed = (size_t)depth * (size + (raw ? 0 : 2));
  int* fds = calloc((size_t)connections, sizeof(*fds));
  if (fds == NULL) die("calloc");
  for (int i = 0; i < connections; i++) fds[i] = dial(port, raw);
  for (int done = 0; done < messages; done += depth) {
    for (int i = 0; i < connections; i++) {
      send_all(fds[i], out, len);
      receive_all(fds[i], in, echoed);
    }
  }
  for (int i = 0; i < connections; i++) close(fds[i]);
  free(fds);
  return 0;
}
