/* Puts a load on an echo server and tells what it has cost there. It knows
 * nothing about the server, does little for each message, so that it is the
 * server which limits, and tells how busy it was itself. --help has the rest.
 *
 * In order: one connection is opened and echoes, the server's memory is read,
 * the others are opened and echo, the memory is read again; then comes the
 * load. Every connection's first echo is compared byte by byte, of the others
 * the heads and lengths. Whatever goes wrong ends the run: half a load is no
 * measurement. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef LOAD_TLS
#include <openssl/ssl.h>
#endif

#include "load-figures.h"

#define RECEIVE_SIZE (512 * 1024)
/* Small messages leave together, about so many bytes at once. */
#define TOGETHER (64 * 1024)
/* What would wait longer has met a server that is too slow. */
#define MOST_WAITING 65536
/* Connections that are opened at the same time. */
#define OPENING 128
#define SECOND  1000000000u

/* RFC 6455's example, whose answer needs no SHA-1. */
#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

typedef enum { CLOSED, CONNECTING, SECURING, UPGRADING, OPEN } state_t;

typedef struct {
  int fd;
  state_t state;
  bool compares;    /* the payload of the message that comes */
  bool in_message;  /* between the frames of one */
  bool is_last;     /* the frame that comes ends its message */
  bool is_control;  /* the frame that comes belongs to none */
  bool in_frame;    /* its head has been read */
  uint8_t head_len; /* of the next frame's head, what has come */
  uint8_t head[10]; /* ... so far */
  uint64_t frame;   /* payload bytes of the frame still to come */
  size_t got;       /* payload bytes of the message that have come */
  uint64_t to_send; /* bytes */
  size_t sent_to;   /* where in the wire image to go on */
  uint64_t* times;  /* since when each message is on its way: a ring */
  uint32_t oldest, waiting, room;
  size_t reply_len;
  char reply[1024];
#ifdef LOAD_TLS
  SSL* ssl;
#endif
} conn_t;

static struct {
  int port, pid, connections, idle, size, depth, messages;
  double seconds, warm_up, settle, rate;
  const char* kind;
  bool raw, tls, churn, compares;
} options = {.connections = 1,
             .size = 64,
             .depth = 1,
             .seconds = 4,
             .warm_up = 0.5,
             .settle = 0.3,
             .kind = "binary"};

static size_t size; /* of a message's payload */
static bool is_text;
static int epoll;
static conn_t* conns;
static uint8_t* payload;
static uint8_t* wire; /* one message, again and again */
static size_t message_len, wire_len;
static char request[256];
static uint8_t received[RECEIVE_SIZE];
static int n_open, n_opening;
static uint64_t n_handshakes;
static uint64_t n_bytes;        /* of payload that have come back */
static bool refills;            /* what has come back is sent again */
static uint64_t measured_since; /* when what is sent counts; 0: not yet */

void die(const char* format, ...) {
  va_list args;
  va_start(args, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

static void* allocate(size_t n, size_t each) {
  void* memory = calloc(n, each);
  if (memory == NULL) die("out of memory");
  return memory;
}

/* What is sent. */

static uint32_t random_bits(void) {
  static uint64_t state = 20111206;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}

static void make_payload(void) {
  size_t n = 0;
  payload = allocate(size, 1);
  if (strcmp(options.kind, "korean") == 0) {
    while (n + 3 <= size) {
      uint32_t syllable = 0xac00 + random_bits() % 11172;
      payload[n++] = (uint8_t)(0xe0 | syllable >> 12);
      payload[n++] = (uint8_t)(0x80 | (syllable >> 6 & 0x3f));
      payload[n++] = (uint8_t)(0x80 | (syllable & 0x3f));
    }
    while (n < size) payload[n++] = '.';
  } else if (strcmp(options.kind, "ascii") == 0) {
    while (n < size) payload[n++] = (uint8_t)(' ' + random_bits() % 95);
  } else if (!is_text) {
    while (n < size) payload[n++] = (uint8_t)random_bits();
  } else {
    die("--kind is binary, ascii or korean");
  }
}

static size_t make_head(uint8_t* head) {
  static const uint8_t mask[4] = {0x6d, 0xa4, 0x17, 0xc3};
  size_t n = 2;
  int len_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  head[0] = is_text ? 0x81 : 0x82;
  size_t len7 = len_bytes == 0 ? size : len_bytes == 2 ? 126 : 127;
  head[1] = (uint8_t)(0x80 | len7);
  while (len_bytes-- > 0)
    head[n++] = (uint8_t)((uint64_t)size >> 8 * len_bytes);
  memcpy(head + n, mask, 4);
  return n + 4;
}

static void make_wire(void) {
  uint8_t head[14];
  size_t n = options.raw ? 0 : make_head(head);
  message_len = n + size;
  size_t times = TOGETHER / message_len;
  if (times > (size_t)options.depth) times = (size_t)options.depth;
  if (times == 0) times = 1;
  wire_len = times * message_len;
  wire = allocate(times, message_len);
  memcpy(wire, head, n);
  for (size_t i = 0; i < size; i++)
    wire[n + i] = payload[i] ^ (options.raw ? 0 : head[n - 4 + i % 4]);
  for (size_t i = 1; i < times; i++)
    memcpy(wire + i * message_len, wire, message_len);
}

/* Connections. */

#ifdef LOAD_TLS
static SSL_CTX* make_tls(void) {
  SSL_CTX* tls = SSL_CTX_new(TLS_client_method());
  if (tls == NULL) die("no TLS");
  SSL_CTX_set_mode(
      tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  /* Several records by one recv. */
  SSL_CTX_set_read_ahead(tls, 1);
  SSL_CTX_set_default_read_buffer_len(tls, 128 * 1024);
  return tls;
}

static void secure(conn_t* conn) {
  static SSL_CTX* tls;
  if (tls == NULL) tls = make_tls();
  conn->ssl = SSL_new(tls);
  if (conn->ssl == NULL) die("out of memory");
  SSL_set_fd(conn->ssl, conn->fd);
  SSL_set_connect_state(conn->ssl);
}

/* -1 when it has to wait. */
static ssize_t tls_result(conn_t* conn, int result) {
  if (result > 0) return result;
  int error = SSL_get_error(conn->ssl, result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
    die("the server has ended TLS");
  return -1;
}
#endif

static ssize_t send_some(conn_t* conn, const void* data, size_t len) {
#ifdef LOAD_TLS
  if (conn->ssl != NULL)
    return tls_result(conn, SSL_write(conn->ssl, data, (int)len));
#endif
  ssize_t n = send(conn->fd, data, len, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) die("send: %s", strerror(errno));
  return n;
}

static ssize_t receive_some(conn_t* conn) {
#ifdef LOAD_TLS
  if (conn->ssl != NULL)
    return tls_result(conn,
                      SSL_read(conn->ssl, received, (int)sizeof(received)));
#endif
  ssize_t n = recv(conn->fd, received, sizeof(received), 0);
  if (n == 0) die("the server has closed a connection");
  if (n < 0 && errno != EAGAIN) die("recv: %s", strerror(errno));
  return n;
}

static void start(conn_t* conn) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)options.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                              .data.ptr = conn};
  int one = 1;
  conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (conn->fd < 0) die("socket: %s", strerror(errno));
  setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (connect(conn->fd, (struct sockaddr*)&address, sizeof(address)) != 0 &&
      errno != EINPROGRESS)
    die("connect: %s", strerror(errno));
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0)
    die("epoll_ctl: %s", strerror(errno));
  conn->state = CONNECTING;
  conn->compares = true;
  conn->reply_len = 0;
  n_opening++;
}

/* By a reset, so that the port is free at once. */
static void drop(conn_t* conn) {
  struct linger linger = {.l_onoff = 1};
#ifdef LOAD_TLS
  SSL_free(conn->ssl);
  conn->ssl = NULL;
#endif
  setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
  close(conn->fd);
  conn->state = CLOSED;
  n_open--;
}

static void flush(conn_t* conn) {
  while (conn->to_send > 0) {
    size_t len = wire_len - conn->sent_to;
    if (len > conn->to_send) len = (size_t)conn->to_send;
    ssize_t n = send_some(conn, wire + conn->sent_to, len);
    if (n < 0) return;
    conn->sent_to = (conn->sent_to + (size_t)n) % wire_len;
    conn->to_send -= (uint64_t)n;
  }
  /* All are whole, so that the next ones can leave in one piece again. */
  conn->sent_to = 0;
}

static void remember(conn_t* conn, uint64_t time) {
  if (conn->waiting == conn->room) {
    uint32_t room = conn->room == 0 ? (uint32_t)options.depth : conn->room * 2;
    if (room > MOST_WAITING && conn->room > 0) die("the server falls behind");
    uint64_t* times = allocate(room, sizeof(*times));
    for (uint32_t i = 0; i < conn->waiting; i++)
      times[i] = conn->times[(conn->oldest + i) % conn->room];
    free(conn->times);
    conn->times = times;
    conn->oldest = 0;
    conn->room = room;
  }
  uint32_t at = conn->oldest + conn->waiting++;
  conn->times[at < conn->room ? at : at - conn->room] = time;
}

/* To be flushed. */
static void add_message(conn_t* conn, uint64_t time) {
  remember(conn, time);
  conn->to_send += message_len;
}

static void on_echo(conn_t* conn, uint64_t time) {
  if (conn->waiting == 0) die("an echo of nothing");
  uint64_t since = conn->times[conn->oldest];
  if (++conn->oldest == conn->room) conn->oldest = 0;
  conn->waiting--;
  conn->got = 0;
  conn->compares = options.compares;
  if (measured_since != 0 && since >= measured_since)
    count_latency(time - since);
  if (refills) add_message(conn, time);
}

static void take_payload(conn_t* conn, const uint8_t* data, size_t len) {
  if (len > size - conn->got) die("an echo is too long");
  if (conn->compares && memcmp(payload + conn->got, data, len) != 0)
    die("an echo differs");
  conn->got += len;
  n_bytes += len;
}

static void on_bytes(conn_t* conn, const uint8_t* data, size_t len,
                     uint64_t time) {
  while (len > 0) {
    size_t n = size - conn->got;
    if (n > len) n = len;
    take_payload(conn, data, n);
    data += n;
    len -= n;
    if (conn->got == size) on_echo(conn, time);
  }
}

static void on_head(conn_t* conn) {
  const uint8_t* head = conn->head;
  uint8_t opcode = head[0] & 0x0f;
  size_t len_bytes = conn->head_len - 2u;
  conn->frame = len_bytes == 0 ? head[1] : 0;
  for (size_t i = 0; i < len_bytes; i++)
    conn->frame = conn->frame << 8 | head[2 + i];
  conn->head_len = 0;
  conn->in_frame = true;
  conn->is_last = (head[0] & 0x80) != 0;
  conn->is_control = (opcode & 8) != 0;
  if (opcode == 8) die("the server has closed a WebSocket");
  if (conn->is_control) return;
  int wanted = conn->in_message ? 0 : is_text ? 1 : 2;
  if ((head[0] & 0x70) != 0 || opcode != wanted) die("a wrong frame");
  conn->in_message = !conn->is_last;
}

/* Takes bytes of a head until it is complete; returns how many. */
static size_t take_head(conn_t* conn, const uint8_t* data, size_t len) {
  size_t n = 0, needed = 2;
  while (n < len) {
    conn->head[conn->head_len++] = data[n++];
    if (conn->head_len >= 2) {
      uint8_t len7 = conn->head[1];
      if (len7 > 127) die("a masked frame");
      needed = len7 == 127 ? 10 : len7 == 126 ? 4 : 2;
    }
    if (conn->head_len < needed) continue;
    on_head(conn);
    break;
  }
  return n;
}

static void on_frames(conn_t* conn, const uint8_t* data, size_t len,
                      uint64_t time) {
  /* A frame without payload ends with its head. */
  while (len > 0) {
    if (!conn->in_frame) {
      size_t n = take_head(conn, data, len);
      data += n;
      len -= n;
      if (!conn->in_frame) return;
    }
    size_t n = conn->frame < len ? (size_t)conn->frame : len;
    if (!conn->is_control) take_payload(conn, data, n);
    data += n;
    len -= n;
    conn->frame -= n;
    if (conn->frame > 0) return;
    conn->in_frame = false;
    if (conn->is_control || !conn->is_last) continue;
    if (conn->got != size) die("an echo is too short");
    on_echo(conn, time);
  }
}

static void opened(conn_t* conn) {
  conn->state = OPEN;
  n_opening--;
  n_open++;
  n_handshakes++;
}

static void on_reply(conn_t* conn, const uint8_t* data, size_t len,
                     uint64_t time) {
  size_t had = conn->reply_len;
  size_t n = sizeof(conn->reply) - 1 - had;
  if (n > len) n = len;
  memcpy(conn->reply + had, data, n);
  conn->reply_len += n;
  conn->reply[conn->reply_len] = '\0';
  char* end = strstr(conn->reply, "\r\n\r\n");
  if (end == NULL && n == len) return;
  if (end == NULL || strncmp(conn->reply, "HTTP/1.1 101", 12) != 0 ||
      strstr(conn->reply, ACCEPT) == NULL)
    die("the server does not upgrade: %.60s", conn->reply);
  opened(conn);
  if (options.churn) {
    drop(conn);
    if (refills) start(conn);
    return;
  }
  n = (size_t)(end + 4 - conn->reply) - had;
  on_frames(conn, data + n, len - n, time);
}

/* Now that bytes can go. */
static void advance(conn_t* conn) {
  if (conn->state == CONNECTING) {
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) die("connect: %s", strerror(error));
    conn->state = SECURING;
#ifdef LOAD_TLS
    if (options.tls) secure(conn);
#endif
  }
#ifdef LOAD_TLS
  if (conn->ssl != NULL && tls_result(conn, SSL_do_handshake(conn->ssl)) < 0)
    return;
#endif
  if (options.raw) {
    opened(conn);
    return;
  }
  conn->state = UPGRADING;
  size_t len = strlen(request);
  if (send_some(conn, request, len) != (ssize_t)len) die("no room to send");
}

static void on_event(conn_t* conn, uint32_t events) {
  if (conn->state == CONNECTING || conn->state == SECURING) {
    if (conn->state == CONNECTING && (events & ~(uint32_t)EPOLLIN) == 0) return;
    advance(conn);
    if (conn->state != UPGRADING && conn->state != OPEN) return;
  }
  if (events & EPOLLOUT) flush(conn);
  if ((events & ~(uint32_t)EPOLLOUT) == 0) return;
  int fd = conn->fd;
  uint64_t time = now();
  ssize_t n;
  do {
    n = receive_some(conn);
    if (n < 0) break;
    if (options.raw)
      on_bytes(conn, received, (size_t)n, time);
    else if (conn->state == OPEN)
      on_frames(conn, received, (size_t)n, time);
    else
      on_reply(conn, received, (size_t)n, time);
    /* It may have been dropped, and even be another now. */
    if (conn->state == CLOSED || conn->fd != fd || conn->state == CONNECTING)
      return;
    /* Less than there is room for was all there is. */
  } while (options.tls || n == (ssize_t)sizeof(received));
  flush(conn);
}

static void poll_once(int timeout) {
  struct epoll_event events[512];
  int n = epoll_wait(epoll, events, 512, timeout);
  for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
}

/* Phases. */

static void run_for(double seconds) {
  uint64_t end = now() + (uint64_t)(seconds * SECOND), time;
  while ((time = now()) < end) {
    uint64_t ms = (end - time) / 1000000;
    poll_once(ms < 50 ? (int)ms : 50);
  }
}

static void send_messages(conn_t* conn, int n) {
  while (n-- > 0) add_message(conn, now());
  flush(conn);
}

static void wait_for_echoes(const conn_t* conn) {
  while (conn->waiting > 0) poll_once(100);
}

/* The connections from `begin` up to `end`; those that will be idle do not
 * echo. */
static void open_all(int begin, int end) {
  for (int next = begin; n_open < end;) {
    while (next < end && n_opening < OPENING) start(&conns[next++]);
    poll_once(100);
  }
  if (end > options.connections) end = options.connections;
  for (int i = begin; i < end; i++) send_messages(&conns[i], 1);
  for (int i = begin; i < end; i++) wait_for_echoes(&conns[i]);
}

/* One connection after another, so that the server does the same in every
 * run: what it reads at once does not depend on time. */
static void run_in_turn(void) {
  int depth = options.depth;
  for (int left = options.messages; left > 0; left -= depth) {
    if (depth > left) depth = left;
    for (int i = 0; i < options.connections; i++) {
      send_messages(&conns[i], depth);
      wait_for_echoes(&conns[i]);
    }
  }
}

/* Handshakes are counted in all, not per connection. */
static void churn_in_turn(void) {
  while (n_handshakes < (uint64_t)options.messages) {
    uint64_t before = n_handshakes;
    start(&conns[0]);
    while (n_handshakes == before) poll_once(100);
  }
}

/* Each message at its time, whether or not others are back. What is late to
 * leave has been late since it was due: nothing that the server makes wait is
 * left out. It does not sleep, so that its own waking is not in the figures. */
static void run_at_rate(double seconds) {
  static int next;
  double step = SECOND / options.rate;
  uint64_t begin = now(), n = 0;
  uint64_t total = (uint64_t)(seconds * options.rate);
  while (n < total) {
    uint64_t time = now(), due;
    while (n < total && (due = begin + (uint64_t)((double)n * step)) <= time) {
      add_message(&conns[next], due);
      flush(&conns[next]);
      next = (next + 1) % options.connections;
      n++;
    }
    poll_once(0);
  }
}

static void run_load(double seconds) {
  if (options.rate > 0)
    run_at_rate(seconds);
  else
    run_for(seconds);
}

static void report(usage_t from, usage_t to, double count, long before,
                   long idle) {
  double seconds = (double)(to.time - from.time) / SECOND;
  if (seconds <= 0) seconds = 1e-9;
  double server = to.server - from.server, own = to.own - from.own;
  double others = to.machine - from.machine - server - own;
  int others_open = options.connections + options.idle - 1;
  double per_connection = -1;
  if (idle >= 0 && others_open > 0 && !options.churn)
    per_connection = (double)(idle - before) / others_open;
  printf(
      "{\"count\":%.1f,\"seconds\":%.4f,\"per_s\":%.1f,\"srv_us_per\":%.4f,"
      "\"srv_cpu_pct\":%.1f,\"cli_cpu_pct\":%.1f,\"other_cpu_pct\":%.1f,"
      "\"steal_s\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
      "\"max_us\":%.2f,\"rss_before_kib\":%ld,\"rss_idle_kib\":%ld,"
      "\"kib_per_conn\":%.3f}\n",
      count, seconds, count / seconds, count > 0 ? server * 1e6 / count : 0,
      server * 100 / seconds, own * 100 / seconds, others * 100 / seconds,
      to.stolen - from.stolen, latency_quantile(.5), latency_quantile(.99),
      latency_quantile(.999), longest_latency(), before, idle, per_connection);
}

static void churn(void) {
  usage_t from = usage(options.pid);
  if (options.messages > 0) {
    churn_in_turn();
    report(from, usage(options.pid), (double)n_handshakes, -1, -1);
    return;
  }
  refills = true;
  for (int i = 0; i < options.connections; i++) start(&conns[i]);
  run_for(options.warm_up);
  uint64_t before = n_handshakes;
  from = usage(options.pid);
  run_for(options.seconds);
  report(from, usage(options.pid), (double)(n_handshakes - before), -1, -1);
}

static void echo(void) {
  int all = options.connections + options.idle;
  open_all(0, 1);
  long before = server_memory(options.pid);
  open_all(1, all);
  run_for(options.settle);
  long idle = server_memory(options.pid);
  bool in_turn = options.messages > 0, timed = !in_turn && options.seconds > 0;
  refills = timed && options.rate == 0;
  for (int i = 0; refills && i < options.connections; i++)
    send_messages(&conns[i], options.depth);
  if (timed) run_load(options.warm_up);
  uint64_t bytes = n_bytes;
  usage_t from = usage(options.pid);
  measured_since = from.time;
  if (in_turn) run_in_turn();
  if (timed) run_load(options.seconds);
  usage_t to = usage(options.pid);
  bytes = n_bytes - bytes;
  /* The last ones of an open loop count, too. */
  refills = false;
  for (int i = 0; i < options.connections; i++) wait_for_echoes(&conns[i]);
  report(from, to, (double)bytes / (double)size, before, idle);
  for (int i = 0; i < all; i++) drop(&conns[i]);
}

static const char help[] =
    "usage: load --port PORT [OPTION]...\n"
    "Puts a load on the WebSocket echo server of 127.0.0.1:PORT.\n"
    "\n"
    "  --pid PID          the server's process: its time, its memory\n"
    "  --connections N    that echo, at the same time (1)\n"
    "  --idle N           more that are only opened (0)\n"
    "  --size BYTES       of a message (64)\n"
    "  --kind KIND        binary, ascii or korean, both text (binary)\n"
    "  --depth N          messages on their way on each connection (1)\n"
    "  --seconds S        how long to measure (4); 0: only the memory\n"
    "  --warm-up S        the same load before that (0.5)\n"
    "  --settle S         pause before the memory is read (0.3)\n"
    "  --rate R           instead of --depth: R messages per second in all,\n"
    "                     at even times; latencies count from those times on\n"
    "  --messages N       instead of --seconds: N on each connection, --depth\n"
    "                     of them at once, one connection after another\n"
    "  --churn            open and drop connections and count the handshakes;\n"
    "                     with --messages so many in all, one at a time\n"
    "  --raw              the bytes alone, without WebSocket\n"
    "  --tls              wss, with any certificate\n"
    "  --compare          every echo, not only each connection's first\n"
    "\n"
    "Prints one line of JSON: count and per_s of messages, in whole and in\n"
    "part, or of handshakes; srv_us_per, the server's processor time for "
    "each;\n"
    "srv_cpu_pct, cli_cpu_pct and other_cpu_pct, what the server, the load "
    "and\n"
    "all else took, in percent of one processor; p50_us to max_us, from "
    "sending\n"
    "to the last byte of the echo; rss_before_kib and rss_idle_kib, the\n"
    "server's memory with one and with all connections, kib_per_conn the\n"
    "difference for each. What is not known is -1.\n";

static const struct option names[] = {
    {"port", 1, NULL, 'p'},        {"pid", 1, NULL, 'P'},
    {"connections", 1, NULL, 'c'}, {"idle", 1, NULL, 'i'},
    {"size", 1, NULL, 's'},        {"kind", 1, NULL, 'k'},
    {"depth", 1, NULL, 'd'},       {"seconds", 1, NULL, 'S'},
    {"warm-up", 1, NULL, 'w'},     {"settle", 1, NULL, 'e'},
    {"rate", 1, NULL, 'r'},        {"messages", 1, NULL, 'm'},
    {"churn", 0, NULL, 'C'},       {"raw", 0, NULL, 'R'},
    {"tls", 0, NULL, 'T'},         {"compare", 0, NULL, 'V'},
    {"help", 0, NULL, 'h'},        {NULL, 0, NULL, 0}};

static void read_options(int argc, char** argv) {
  int name;
  while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
    switch (name) {
      case 'p': options.port = atoi(optarg); break;
      case 'P': options.pid = atoi(optarg); break;
      case 'c': options.connections = atoi(optarg); break;
      case 'i': options.idle = atoi(optarg); break;
      case 's': options.size = atoi(optarg); break;
      case 'k': options.kind = optarg; break;
      case 'd': options.depth = atoi(optarg); break;
      case 'S': options.seconds = atof(optarg); break;
      case 'w': options.warm_up = atof(optarg); break;
      case 'e': options.settle = atof(optarg); break;
      case 'r': options.rate = atof(optarg); break;
      case 'm': options.messages = atoi(optarg); break;
      case 'C': options.churn = true; break;
      case 'R': options.raw = true; break;
      case 'T': options.tls = true; break;
      case 'V': options.compares = true; break;
      case 'h': fputs(help, stdout); exit(0);
      default: fputs(help, stderr); exit(2);
    }
  }
  if (optind < argc || options.port < 1 || options.connections < 1 ||
      options.idle < 0 || options.size < 1 || options.depth < 1 ||
      options.messages < 0 || (options.raw && options.churn)) {
    fputs(help, stderr);
    exit(2);
  }
#ifndef LOAD_TLS
  if (options.tls) die("it was built without OpenSSL");
#endif
}

int main(int argc, char** argv) {
  struct rlimit files;
  read_options(argc, argv);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  /* Whatever the server does, it ends. */
  if (options.messages == 0)
    alarm((unsigned)(options.warm_up + options.settle + options.seconds) + 100);
  size = (size_t)options.size;
  is_text = strcmp(options.kind, "binary") != 0;
  make_payload();
  make_wire();
  snprintf(request, sizeof(request),
           "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY
           "\r\nSec-WebSocket-Version: 13\r\n\r\n",
           options.port);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll: %s", strerror(errno));
  conns =
      allocate((size_t)(options.connections + options.idle), sizeof(*conns));
  if (options.churn)
    churn();
  else
    echo();
  return 0;
}
