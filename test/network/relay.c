/* A stretch of network between two interfaces: each frame that comes in at one
 * leaves by the other, some time later, unless it is lost.
 *
 *   relay LEFT RIGHT DELAY LOST STALL
 *
 * DELAY milliseconds pass, LOST of a thousand frames never arrive, and for the
 * first STALL milliseconds of each second nothing moves. Both interfaces are
 * the relay's alone: they have no addresses, so the kernel takes no part.
 *
 * The kernel leaves checksums to the hardware, which is not there. So frames
 * travel with the header that says what is still to be done about them. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <uv.h>

enum { MAX_FRAME = sizeof(struct virtio_net_hdr) + 65536 + ETH_HLEN };

typedef struct end_s {
  uv_poll_t poll;
  struct end_s* other;
  int fd;
} end_t;

typedef struct frame_s {
  struct frame_s* next;
  end_t* to;
  uint64_t due;
  size_t len;
  char bytes[];
} frame_t;

static end_t ends[2];
static frame_t* first;
static frame_t** last = &first;
static uv_timer_t timer;
static uint64_t delay, stall;
static uint32_t lost;

/* Errors of a machine that has no packet sockets are a skip for the caller. */
static void die(const char* what) {
  fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
  exit(errno == EAFNOSUPPORT || errno == EPERM ? 77 : 1);
}

/* Any sequence will do, as long as it is the same in each run. */
static bool is_lost(void) {
  static uint32_t seed = 1;
  seed = seed * 1664525 + 1013904223;
  return (seed >> 16) % 1000 < lost;
}

/* How long nothing moves from now on. */
static uint64_t stalled(uint64_t now) {
  uint64_t into = now % 1000;
  return into < stall ? stall - into : 0;
}

static void send_first(void) {
  frame_t* frame = first;
  first = frame->next;
  if (first == NULL) last = &first;
  /* What does not fit into the other interface's queue is lost, as anywhere. */
  (void)send(frame->to->fd, frame->bytes, frame->len, 0);
  free(frame);
}

static void on_due(uv_timer_t* handle) {
  uint64_t now = uv_now(handle->loop);
  uint64_t wait = stalled(now);
  while (wait == 0 && first != NULL && first->due <= now) send_first();
  if (first == NULL) return;
  if (wait == 0) wait = first->due - now;
  uv_timer_start(handle, on_due, wait, 0);
}

static void keep(end_t* to, const char* bytes, size_t len) {
  frame_t* frame = malloc(sizeof(*frame) + len);
  if (frame == NULL) return;
  frame->next = NULL;
  frame->to = to;
  frame->due = uv_now(timer.loop) + delay;
  frame->len = len;
  memcpy(frame->bytes, bytes, len);
  *last = frame;
  last = &frame->next;
}

static void on_readable(uv_poll_t* poll, int status, int events) {
  static char bytes[MAX_FRAME];
  end_t* end = poll->data;
  ssize_t n;
  (void)status;
  (void)events;
  while ((n = recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
    if (!is_lost()) keep(end->other, bytes, (size_t)n);
  on_due(&timer);
}

static void set_option(int fd, int option) {
  int on = 1;
  if (setsockopt(fd, SOL_PACKET, option, &on, sizeof(on)) != 0)
    die("setsockopt");
}

static void attach(end_t* end, end_t* other, const char* interface) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET};
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = (int)if_nametoindex(interface);
  if (address.sll_ifindex == 0) die(interface);
  end->other = other;
  end->fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (end->fd < 0) die("socket");
  set_option(end->fd, PACKET_VNET_HDR);
  set_option(end->fd, PACKET_IGNORE_OUTGOING);
  if (bind(end->fd, (struct sockaddr*)&address, sizeof(address)) != 0)
    die(interface);
  uv_poll_init(uv_default_loop(), &end->poll, end->fd);
  end->poll.data = end;
  uv_poll_start(&end->poll, UV_READABLE, on_readable);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: %s LEFT RIGHT DELAY LOST STALL\n", argv[0]);
    return 2;
  }
  delay = strtoul(argv[3], NULL, 10);
  lost = (uint32_t)strtoul(argv[4], NULL, 10);
  stall = strtoul(argv[5], NULL, 10);
  uv_timer_init(uv_default_loop(), &timer);
  attach(&ends[0], &ends[1], argv[1]);
  attach(&ends[1], &ends[0], argv[2]);
  printf("ready\n");
  fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
