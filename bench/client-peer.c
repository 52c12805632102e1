/* What clients are measured against: a server of one thread that does next to
 * nothing.
 *
 *   client-peer echo|source|sink SIZE text|binary COUNTERS
 *
 * Prints "listening on 127.0.0.1:PORT". Each connection is upgraded, then has
 * every message answered by one of SIZE bytes (echo), is sent such messages as
 * fast as it takes them (source), or is read from (sink). What comes must be
 * whole masked frames of SIZE bytes. The first of each connection is compared
 * with what clients send: byte i is 'a' + i % 23. The file COUNTERS has two
 * numbers of 64 bits: connections upgraded, and messages answered, sent or
 * read. */
#define _GNU_SOURCE /* accept4() */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/accept-key.h"

enum { FIN = 0x80, MASKED = 0x80, CONTROL = 0x08, HEADER_MAX = 14 };
enum { EVENTS = 128 };

typedef enum { ECHO, SOURCE, SINK } what_t;

typedef struct conn_s {
  int fd;
  bool open;
  bool checked; /* the first message was compared */
  char head[4096];
  size_t head_len;
  uint8_t header[HEADER_MAX]; /* of a frame */
  size_t header_len;
  uint64_t left; /* payload of the frame that is still to come */
  size_t sent;   /* source: of `frames` */
} conn_t;

static what_t what;
static size_t size;
static uint8_t first_byte;
/* So many unmasked frames, one behind the other. */
static uint8_t* frames;
static size_t frame_size, n_frames;
static volatile uint64_t* counters;
static uint8_t input[256 * 1024];

static void die(const char* text) {
  perror(text);
  exit(1);
}

static void check(bool truth, const char* text) {
  if (truth) return;
  fprintf(stderr, "client-peer: %s\n", text);
  exit(1);
}

static uint8_t payload_at(size_t i) {
  return (uint8_t)('a' + i % 23);
}

static void make_frames(void) {
  uint8_t header[HEADER_MAX] = {first_byte};
  size_t header_size = size < 126 ? 2 : size < 65536 ? 4 : 10;
  if (header_size == 2) header[1] = (uint8_t)size;
  if (header_size == 4) header[1] = 126;
  if (header_size == 10) header[1] = 127;
  for (size_t i = 2; i < header_size; i++)
    header[i] = (uint8_t)((uint64_t)size >> (8 * (header_size - 1 - i)));
  frame_size = header_size + size;
  n_frames = sizeof(input) / frame_size + 1;
  frames = malloc(n_frames * frame_size);
  if (frames == NULL) die("malloc");
  for (uint8_t* at = frames; at < frames + n_frames * frame_size;) {
    memcpy(at, header, header_size);
    at += header_size;
    for (size_t i = 0; i < size; i++) *at++ = payload_at(i);
  }
}

/* ---- the opening handshake ---- */

static void answer(conn_t* conn) {
  static const char name[] = "\r\nsec-websocket-key:";
  char accept[UVWS__ACCEPT_SIZE], key[UVWS__KEY_SIZE], response[256];
  char* at = strcasestr(conn->head, name);
  check(at != NULL, "a request without a key");
  at += sizeof(name) - 1;
  at += strspn(at, " ");
  snprintf(key, sizeof(key), "%s", at);
  check(uvws__accept_key(key, accept), "a wrong key");
  int len = snprintf(response, sizeof(response),
                     "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n",
                     accept);
  if (send(conn->fd, response, (size_t)len, MSG_NOSIGNAL) != len) die("send");
  conn->open = true;
  counters[0]++;
}

/* Clients wait for the answer, so nothing follows the head. */
static void read_head(conn_t* conn, const uint8_t* data, size_t len) {
  check(conn->head_len + len < sizeof(conn->head), "a long request");
  memcpy(conn->head + conn->head_len, data, len);
  conn->head_len += len;
  if (strstr(conn->head, "\r\n\r\n") != NULL) answer(conn);
}

/* ---- frames ---- */

static size_t header_size(const conn_t* conn) {
  if (conn->header_len < 2) return 2;
  uint8_t len = conn->header[1] & 0x7F;
  return 2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + 4;
}

static bool is_control(const conn_t* conn) {
  return conn->header[0] & CONTROL;
}

static void read_header(conn_t* conn) {
  const uint8_t* header = conn->header;
  size_t len = header_size(conn) - 6;
  check(header[1] & MASKED, "a frame without a mask");
  conn->left = len == 0 ? header[1] & 0x7F : 0;
  for (size_t i = 0; i < len; i++) conn->left = conn->left << 8 | header[2 + i];
  check(is_control(conn) || (header[0] == first_byte && conn->left == size),
        "another frame than was expected");
}

static void compare(const conn_t* conn, const uint8_t* data, size_t len) {
  const uint8_t* mask = conn->header + header_size(conn) - 4;
  size_t at = size - conn->left;
  for (size_t i = 0; i < len; i++)
    check((data[i] ^ mask[(at + i) & 3]) == payload_at(at + i),
          "another payload than was expected");
}

/* Returns the number of messages that ended. */
static size_t read_frames(conn_t* conn, const uint8_t* data, size_t len) {
  const uint8_t* end = data + len;
  size_t n = 0;
  while (data < end) {
    if (conn->header_len < header_size(conn)) {
      size_t more = header_size(conn) - conn->header_len;
      if (more > (size_t)(end - data)) more = (size_t)(end - data);
      memcpy(conn->header + conn->header_len, data, more);
      conn->header_len += more;
      data += more;
      if (conn->header_len < 6 || conn->header_len < header_size(conn))
        continue;
      read_header(conn);
    }
    size_t take = (size_t)(end - data);
    if (take > conn->left) take = (size_t)conn->left;
    if (!conn->checked && !is_control(conn)) compare(conn, data, take);
    data += take;
    conn->left -= take;
    if (conn->left > 0) break;
    if (!is_control(conn)) {
      conn->checked = true;
      n++;
    }
    conn->header_len = 0;
  }
  return n;
}

/* ---- connections ---- */

static void echo(conn_t* conn, size_t n) {
  while (n > 0) {
    size_t now = n < n_frames ? n : n_frames;
    ssize_t len = (ssize_t)(now * frame_size);
    check(send(conn->fd, frames, (size_t)len, MSG_NOSIGNAL) == len,
          "a client that does not read");
    n -= now;
  }
}

static void source(conn_t* conn) {
  ssize_t n = send(conn->fd, frames + conn->sent,
                   n_frames * frame_size - conn->sent, MSG_NOSIGNAL);
  if (n < 0) return; /* gone, which reading will tell, or full */
  size_t before = conn->sent / frame_size;
  conn->sent += (size_t)n;
  counters[1] += conn->sent / frame_size - before;
  if (conn->sent == n_frames * frame_size) conn->sent = 0;
}

static void on_input(conn_t* conn) {
  ssize_t n = recv(conn->fd, input, sizeof(input), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    close(conn->fd);
    free(conn);
    return;
  }
  if (!conn->open) {
    read_head(conn, input, (size_t)n);
    return;
  }
  size_t ended = read_frames(conn, input, (size_t)n);
  if (what == ECHO) echo(conn, ended);
  if (what != SOURCE) counters[1] += ended;
}

static void on_event(const struct epoll_event* event) {
  conn_t* conn = event->data.ptr;
  if (conn->open && (event->events & EPOLLOUT)) source(conn);
  if (event->events & ~(uint32_t)EPOLLOUT) on_input(conn);
}

/* A source has an event for as long as there is room to write. Before the
 * upgrade, that does not last. */
static void take(int epoll, int server) {
  int one = 1, fd = accept4(server, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) die("accept");
  conn_t* conn = calloc(1, sizeof(*conn));
  if (conn == NULL) die("calloc");
  conn->fd = fd;
  struct epoll_event event = {
      .events = what == SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN,
      .data.ptr = conn};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static int start(void) {
  struct sockaddr_in addr = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr*)&addr, len) != 0 ||
      listen(fd, 4096) != 0 || getsockname(fd, (void*)&addr, &len) != 0)
    die("listen");
  printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
  fflush(stdout);
  return fd;
}

static volatile uint64_t* map(const char* name) {
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, 2 * sizeof(uint64_t)) != 0) die(name);
  void* at = mmap(NULL, 2 * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                  MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) die("mmap");
  return at;
}

int main(int argc, char** argv) {
  struct epoll_event events[EVENTS];
  if (argc != 5) return 2;
  what = strcmp(argv[1], "echo") == 0     ? ECHO
         : strcmp(argv[1], "source") == 0 ? SOURCE
                                          : SINK;
  size = strtoul(argv[2], NULL, 10);
  first_byte = strcmp(argv[3], "text") == 0 ? FIN | 0x1 : FIN | 0x2;
  counters = map(argv[4]);
  make_frames();
  int epoll = epoll_create1(0), server = start();
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event) != 0) die("epoll_ctl");
  for (;;) {
    int n = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr == NULL)
        take(epoll, server);
      else
        on_event(&events[i]);
    }
  }
}
