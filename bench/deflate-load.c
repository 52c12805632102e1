/* Sends messages to an echo server that compresses, and only counts those that
 * come back, so that the server has the work and not the client.
 *
 *   deflate-load PORT PID CONNECTIONS SIZE DEPTH SECONDS KIND [LEVEL]
 *
 * KIND is what is sent, and expected, in its frames:
 *
 *   plain    JSON, without an extension
 *   packed   the same, compressed, yet without an extension: binary messages
 *   fresh    permessage-deflate, no context takeover at all
 *   keep     the same, but the server keeps its context
 *
 * Frames are compressed and masked before the clock starts. First every message
 * goes to and fro once and is compared. Then in each turn all connections send
 * DEPTH messages at once and wait for as many: the server, once awake, has its
 * hands full however fast it is. Waiting is spinning, so that nobody has to be
 * woken at the server's cost. Prints the processor time of the process PID,
 * user and system, per message. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "messages.h"

enum { HEADER_MAX = 14, INPUT = 512 * 1024 };
static const double WARM_UP = 0.3, GIVE_UP = 20;
static const char NO_CONTEXT[] =
    "permessage-deflate; client_no_context_takeover";

typedef struct client_s {
  int fd;
  unsigned turn;
  const uint8_t* out; /* what is still to be sent */
  size_t out_len;
  unsigned waits; /* messages still to come */
  uint8_t header[HEADER_MAX];
  size_t header_len;
  uint64_t payload_left;
} client_t;

static int port, depth;
static unsigned n_clients;
static bool is_packed, is_deflate, is_fresh;
static client_t* clients;
static messages_t messages;
static uint8_t* frames;   /* all messages, and the first `depth` again */
static size_t* starts;    /* where each one's frame is */
static uint64_t received; /* payload bytes */
static char agreed[256];
static uint8_t input[INPUT];

static void die(const char* what) {
  fprintf(stderr, "deflate-load: %s%s%s\n", what, errno ? ": " : "",
          errno ? strerror(errno) : "");
  exit(1);
}

static double clock_seconds(clockid_t id) {
  struct timespec now;
  if (clock_gettime(id, &now) != 0) die("clock");
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- frames ---- */

static size_t put_frame(uint8_t* to, unsigned i) {
  static const uint8_t mask[4] = {0x9d, 0x3c, 0x71, 0xe6};
  bool small = is_packed || is_deflate;
  const uint8_t* data =
      small ? messages.packed[i].bytes : message_at(&messages, i);
  size_t len = small ? messages.packed[i].len : messages.size, at = 2;
  to[0] = is_packed ? 0x82 : is_deflate ? 0xC1 : 0x81;
  if (len < 126) {
    to[1] = (uint8_t)(0x80 | len);
  } else {
    unsigned bytes = len < 65536 ? 2 : 8;
    to[1] = bytes == 2 ? 0xFE : 0xFF;
    for (unsigned n = bytes; n-- > 0;)
      to[at++] = (uint8_t)((uint64_t)len >> (8 * n));
  }
  memcpy(to + at, mask, 4);
  at += 4;
  for (size_t n = 0; n < len; n++) to[at + n] = data[n] ^ mask[n & 3];
  return at + len;
}

static void make_frames(void) {
  unsigned n = messages.n + (unsigned)depth;
  frames = malloc(n * (messages.size + messages.size / 8 + 64));
  starts = malloc((n + 1) * sizeof(*starts));
  if (frames == NULL || starts == NULL) die("memory");
  starts[0] = 0;
  for (unsigned i = 0; i < n; i++)
    starts[i + 1] = starts[i] + put_frame(frames + starts[i], i % messages.n);
}

/* ---- a connection ---- */

static void read_answer(const char* head) {
  static const char name[] = "\r\nsec-websocket-extensions: ";
  const char* at = strcasestr(head, name);
  if (strncmp(head, "HTTP/1.1 101", 12) != 0) die(head);
  if (at == NULL && is_deflate) die("no extension was agreed on");
  if (at == NULL) return;
  at += sizeof(name) - 1;
  snprintf(agreed, sizeof(agreed), "%.*s", (int)strcspn(at, "\r"), at);
  if (strstr(agreed, "client_no_context_takeover") == NULL ||
      (strstr(agreed, "server_no_context_takeover") != NULL) != is_fresh ||
      strstr(agreed, "bits") != NULL)
    die(agreed);
}

static void dial(client_t* client) {
  struct sockaddr_in addr = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char text[1024];
  int one = 1, room = 2 * 1024 * 1024;
  int fd = client->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  /* A turn's echoes have room, so that the server never has to wait. */
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (connect(fd, (struct sockaddr*)&addr, sizeof(addr)) != 0) die("connect");
  int len = snprintf(
      text, sizeof(text),
      "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s%s\r\n",
      is_deflate ? "Sec-WebSocket-Extensions: " : "",
      is_deflate ? NO_CONTEXT : "",
      is_fresh ? "; server_no_context_takeover" : "", is_deflate ? "\r\n" : "");
  if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len) die("send");
  size_t at = 0;
  for (text[0] = '\0'; strstr(text, "\r\n\r\n") == NULL; text[++at] = '\0')
    if (at == sizeof(text) - 1 || recv(fd, text + at, 1, 0) != 1)
      die("upgrade");
  read_answer(text);
}

static void begin_turn(client_t* client, unsigned s, unsigned n) {
  unsigned i = message_of(&messages, n_clients, s, client->turn);
  client->turn += n;
  client->out = frames + starts[i];
  client->out_len = starts[i + n] - starts[i];
  client->waits = n;
}

static void send_on(client_t* client) {
  if (client->out_len == 0) return;
  ssize_t n = send(client->fd, client->out, client->out_len,
                   MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) die("send");
  if (n < 0) return;
  client->out += n;
  client->out_len -= (size_t)n;
}

static size_t header_size(const uint8_t* header) {
  return header[1] < 126 ? 2 : header[1] == 126 ? 4 : 10;
}

static void read_header(client_t* client) {
  const uint8_t* header = client->header;
  size_t size = header_size(header);
  errno = 0;
  /* A server may have sent as it is what does not become smaller. */
  if (header[0] != (is_packed ? 0x82 : 0x81) &&
      !(is_deflate && header[0] == 0xC1))
    die("not the frame that was expected");
  client->payload_left = header[1];
  if (size > 2) client->payload_left = 0;
  for (size_t i = 2; i < size; i++)
    client->payload_left = client->payload_left << 8 | header[i];
  received += client->payload_left;
}

static void feed(client_t* client, const uint8_t* at, size_t len) {
  while (len > 0) {
    if (client->header_len < 2 ||
        client->header_len < header_size(client->header)) {
      client->header[client->header_len++] = *at++;
      len--;
      if (client->header_len < 2 ||
          client->header_len < header_size(client->header))
        continue;
      read_header(client);
    }
    uint64_t n = client->payload_left < len ? client->payload_left : len;
    at += n;
    len -= n;
    client->payload_left -= n;
    if (client->payload_left > 0) return;
    client->header_len = 0;
    client->waits--;
  }
}

/* Between two looks it lets the server have the socket for itself. */
static ssize_t receive(client_t* client) {
  ssize_t n = recv(client->fd, input, sizeof(input), MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN)) die("recv");
  for (volatile int i = 0; n < 0 && i < 1000; i++) continue;
  return n;
}

static void take_turn(void) {
  double start = clock_seconds(CLOCK_MONOTONIC);
  for (unsigned s = 0; s < n_clients; s++) {
    begin_turn(&clients[s], s, (unsigned)depth);
    send_on(&clients[s]);
  }
  for (unsigned s = 0; s < n_clients; s++) {
    while (clients[s].waits > 0) {
      for (unsigned other = s; other < n_clients; other++)
        send_on(&clients[other]);
      ssize_t n = receive(&clients[s]);
      if (n > 0) feed(&clients[s], input, (size_t)n);
      errno = 0;
      if (n < 0 && clock_seconds(CLOCK_MONOTONIC) - start > GIVE_UP)
        die("an echo does not come");
    }
  }
}

/* ---- before: is every echo what was sent? ---- */

static void compare(z_stream* z, unsigned i, uint8_t* data, size_t len,
                    bool is_deflated) {
  static uint8_t out[65536 + 1];
  const uint8_t* wanted = message_at(&messages, i);
  size_t size = messages.size;
  if (is_packed) {
    wanted = messages.packed[i].bytes;
    size = messages.packed[i].len;
  }
  if (is_deflated) {
    memcpy(data + len, "\0\0\xFF\xFF", TAIL);
    z->next_in = data;
    z->avail_in = (uInt)len + TAIL;
    z->next_out = out;
    z->avail_out = sizeof(out);
    inflate(z, Z_SYNC_FLUSH);
    if (z->avail_in > 0) die("cannot be inflated");
    if (is_fresh) inflateReset(z);
    data = out;
    len = sizeof(out) - z->avail_out;
  }
  errno = 0;
  if (len != size || memcmp(data, wanted, size) != 0)
    die("an echo is not what was sent");
}

static void try_all(void) {
  client_t client = {.fd = -1};
  z_stream z = {.zalloc = Z_NULL};
  inflateInit2(&z, -WINDOW_BITS);
  dial(&client);
  for (unsigned i = 0; i < messages.n; i++) {
    size_t len = 0;
    begin_turn(&client, 0, 1);
    while (client.waits > 0) {
      send_on(&client);
      ssize_t n = recv(client.fd, input + len, sizeof(input) - len - TAIL, 0);
      if (n <= 0) die("recv");
      feed(&client, input + len, (size_t)n);
      len += (size_t)n;
    }
    size_t header = header_size(input);
    compare(&z, i, input + header, len - header, input[0] & 0x40);
  }
  inflateEnd(&z);
  close(client.fd);
}

/* ---- what others did meanwhile ---- */

static double machine_busy(void) {
  unsigned long long t[7] = {0};
  FILE* file = fopen("/proc/stat", "r");
  if (file == NULL ||
      fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1],
             &t[2], &t[3], &t[4], &t[5], &t[6]) != 7)
    die("/proc/stat");
  fclose(file);
  return (double)(t[0] + t[1] + t[2] + t[5] + t[6]) /
         (double)sysconf(_SC_CLK_TCK);
}

typedef struct marks_s {
  double now, server, client, busy;
} marks_t;

static marks_t mark(clockid_t server) {
  return (marks_t){clock_seconds(CLOCK_MONOTONIC), clock_seconds(server),
                   clock_seconds(CLOCK_PROCESS_CPUTIME_ID), machine_busy()};
}

static uint64_t run_for(double seconds) {
  double end = clock_seconds(CLOCK_MONOTONIC) + seconds;
  uint64_t turns = 0;
  for (; clock_seconds(CLOCK_MONOTONIC) < end; turns++) take_turn();
  return turns * n_clients * (unsigned)depth;
}

int main(int argc, char** argv) {
  clockid_t server;
  if (argc < 8) return 2;
  port = atoi(argv[1]);
  n_clients = (unsigned)atoi(argv[3]);
  depth = atoi(argv[5]);
  is_packed = strcmp(argv[7], "packed") == 0;
  is_fresh = strcmp(argv[7], "fresh") == 0;
  is_deflate = is_fresh || strcmp(argv[7], "keep") == 0;
  size_t size = (size_t)atoi(argv[4]);
  if (size < 64 || size > 65536) return 2;
  if (clock_getcpuclockid(atoi(argv[2]), &server) != 0) die("no such process");
  messages = messages_make(size, argc > 8 ? atoi(argv[8]) : 6, false);
  if (n_clients < 1 || n_clients > messages.n || depth < 1 ||
      (unsigned)depth > messages.n)
    return 2;
  clients = calloc(n_clients, sizeof(*clients));
  if (clients == NULL) die("memory");
  make_frames();
  try_all();
  for (unsigned i = 0; i < n_clients; i++) dial(&clients[i]);
  run_for(WARM_UP);
  received = 0;
  marks_t a = mark(server);
  uint64_t n = run_for(atof(argv[6]));
  marks_t b = mark(server);
  double seconds = b.now - a.now, cpu = b.server - a.server;
  double client = b.client - a.client;
  printf(
      "{\"agreed\":\"%s\",\"messages\":%llu,\"per_s\":%.1f,\"us\":%.4f,"
      "\"bytes\":%.1f,\"server\":%.1f,\"client\":%.1f,\"others\":%.1f}\n",
      agreed, (unsigned long long)n, (double)n / seconds, cpu * 1e6 / (double)n,
      (double)received / (double)n, cpu / seconds * 100, client / seconds * 100,
      (b.busy - a.busy - cpu - client) / seconds * 100);
  for (unsigned i = 0; i < n_clients; i++) close(clients[i].fd);
  return 0;
}
