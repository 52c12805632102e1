#include "faults-reach.h"

#include <fcntl.h>

/* See faults.h. Here: connections that are taken over. What a call refuses is
 * what it was: a stream can still be read by its owner, a descriptor is open.
 * What a call took is released once, right before the end. */

static struct {
  uv_tcp_t gate; /* listens for streams that are then given away */
  bool gate_is_open;
  unsigned posts, called;
} reach;

/* ---- streams and descriptors that are given away ---- */

typedef struct lent_s {
  uv_stream_t* stream; /* NULL once it is gone, and for a descriptor */
  uv_os_sock_t fd;
  bool is_tcp;
  bool is_given; /* a call took it */
  bool is_stream;
  bool is_late; /* its peer may have gone */
  unsigned releases;
  seen_t* socket; /* that has it, or NULL */
  void (*give)(struct lent_s* lent, const void* head, size_t len);
} lent_t;

static lent_t lents[ENDS];

/* In memory of its own, that is gone with it. */
static void make_stream(lent_t* lent, bool is_tcp) {
  union {
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  }* stream = malloc(sizeof(*stream));
  require(stream != NULL, "no memory");
  if (is_tcp)
    uv_tcp_init(test_loop, &stream->tcp);
  else
    uv_pipe_init(test_loop, &stream->pipe, 0);
  stream->tcp.data = lent;
  lent->stream = (uv_stream_t*)stream;
}

static void open_stream(lent_t* lent) {
  plan.resting = true;
  make_stream(lent, lent->is_tcp);
  int status = lent->is_tcp ? uv_tcp_open((uv_tcp_t*)lent->stream, lent->fd)
                            : uv_pipe_open((uv_pipe_t*)lent->stream, lent->fd);
  plan.resting = false;
  require(status == 0, "opening a descriptor");
}

static void on_lent_closed(uv_handle_t* handle) {
  lent_t* lent = handle->data;
  lent->stream = NULL;
  free(handle);
}

static void close_lent(lent_t* lent) {
  if (lent->is_given || lent->stream == NULL) return;
  if (!uv_is_closing((uv_handle_t*)lent->stream))
    uv_close((uv_handle_t*)lent->stream, on_lent_closed);
}

static void on_release(uv_stream_t* stream) {
  lent_t* lent = stream->data;
  require(lent == &lents[0] || lent == &lents[1], "data is another");
  require(lent->is_given && lent->stream == stream, "not to be released");
  require(lent->socket == NULL || lent->socket->closes == 0,
          "released behind the close event");
  require(uv_is_closing((uv_handle_t*)stream), "released, not closed");
  lent->releases++;
  lent->stream = NULL;
  free(stream);
}

static void on_test_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  lent_t* lent = stream->data;
  (void)buf;
  if (n == 0) return;
  require(n > 0 || plan.for_good || lent->is_late,
          "nothing can be read after a refusal");
  close_lent(lent);
  wind_down();
}

/* The peer has said something, or answers this. */
static void test_stream(lent_t* lent) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  uv_buf_t buf = uv_buf_init((char*)request, sizeof(request) - 1);
  plan.resting = true;
  int n = uv_try_write(lent->stream, &buf, 1);
  int status = uv_read_start(lent->stream, on_alloc, on_test_read);
  plan.resting = false;
  require((n == (int)buf.len && status == 0) || plan.for_good || lent->is_late,
          "a stream is not what it was");
  if (status != 0) close_lent(lent);
}

static void check_refused(lent_t* lent) {
  const uv_handle_t* handle = (const uv_handle_t*)lent->stream;
  require(lent->releases == 0, "released after a refusal");
  if (!lent->is_stream) {
    require(fcntl(lent->fd, F_GETFD) >= 0, "a descriptor is closed");
    return;
  }
  require(handle->data == lent, "data is another after a refusal");
  require(!uv_is_closing(handle), "closing after a refusal");
  require(!uv_is_active(handle), "being read after a refusal");
  require(!uvws_owns(handle), "owned after a refusal");
  require(uv_is_readable(lent->stream) && uv_is_writable(lent->stream),
          "of no use after a refusal");
}

/* What a call has returned. */
static void settle(lent_t* lent, int status) {
  plan.calling = false;
  lent->is_given = status == 0;
  if (status == 0) {
    require(!lent->is_stream || uvws_owns((uv_handle_t*)lent->stream),
            "not owned");
    return;
  }
  lent->is_late = status == UV_ECANCELED;
  check_refused(lent);
  if (!lent->is_stream) open_stream(lent);
  test_stream(lent);
}

static void adopt(lent_t* lent, seen_t* seen, const void* head, size_t len,
                  const uvws_adopt_options_t* how) {
  assert_int_equal(uvws_init(test_loop, &seen->ws, &fault_events), 0);
  lent->socket = seen;
  plan.calling = true;
  int status = lent->is_stream
                   ? uvws_adopt(&seen->ws, lent->stream, head, len, how)
                   : uvws_adopt_fd(&seen->ws, lent->fd, head, len, how);
  begin(seen, status);
  settle(lent, status);
}

static uvws_options_t options;

static void common_options(uvws_adopt_options_t* how) {
  uvws_adopt_options_init(how);
  client_options(&options);
  how->options = &options;
  how->release = on_release;
}

static bool has_tls(void) {
  return test_has_tls() && !world.scenario->is_plain;
}

static void adopt_client(lent_t* lent, const char* key) {
  uvws_adopt_options_t how;
  common_options(&how);
  how.key = key;
  how.url = has_tls() ? "wss://localhost/x" : "ws://localhost/x";
  if (has_tls()) how.options = test_options(&options);
  adopt(lent, &world.clients[0], NULL, 0, &how);
}

static void adopt_server(lent_t* lent, const void* head, size_t len) {
  static const char* const protocols[] = {"chat"};
  uvws_adopt_options_t how;
  common_options(&how);
  how.role = UVWS_ROLE_SERVER;
  how.url = "ws://somebody/x";
  options.protocols = protocols;
  options.n_protocols = 1;
  if (has_tls()) options.tls = server_tls;
  adopt(lent, &world.accepted[0], head, len, &how);
}

static void adopt_upgraded(lent_t* lent, uvws_role_t role) {
  uint8_t early[16];
  bool client = role == UVWS_ROLE_CLIENT;
  uvws_adopt_options_t how;
  common_options(&how);
  how.role = role;
  how.upgraded = 1;
  how.url = "ws://somebody/x";
  how.protocol = "chat";
  size_t len = make_frame(early, 0x81, "early", 5, !client);
  adopt(lent, client ? &world.clients[0] : &world.accepted[0], early, len,
        &how);
}

static void give_to_server(lent_t* lent, const void* head, size_t len) {
  uvws_server_t* server = &world.hosts[0].server;
  plan.calling = true;
  int status =
      lent->is_stream
          ? uvws_server_adopt(server, lent->stream, head, len, on_release)
          : uvws_server_adopt_fd(server, lent->fd, head, len);
  world.refused += status != 0;
  settle(lent, status);
}

/* Both ends of a connection. */
static void make_pair(bool is_tcp, bool is_stream) {
  int fds[2];
  plan.resting = true;
  if (is_tcp) {
    struct sockaddr_in addr;
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    require(bind(listener, loopback(1, 0), sizeof(addr)) == 0 &&
                listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr*)&addr, &len) == 0 &&
                connect(fds[0], (struct sockaddr*)&addr, len) == 0,
            "a connection");
    fds[1] = accept(listener, NULL, NULL);
    close(listener);
  } else {
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "a connection");
  }
  plan.resting = false;
  for (int i = 0; i < 2; i++) {
    lents[i].fd = fds[i];
    lents[i].is_tcp = is_tcp;
    lents[i].is_stream = is_stream;
    if (is_stream) open_stream(&lents[i]);
  }
}

/* A connection to the server that somebody else has made. */
static void dial_server(bool is_stream) {
  plan.resting = true;
  lents[0].fd = socket(AF_INET, SOCK_STREAM, 0);
  require(connect(lents[0].fd, loopback(1, world.hosts[0].port),
                  sizeof(struct sockaddr_in)) == 0,
          "a connection");
  plan.resting = false;
  lents[0].is_tcp = true;
  lents[0].is_stream = is_stream;
  if (is_stream) open_stream(&lents[0]);
}

static void start_adopted_client(void) {
  if (!start_server()) return;
  dial_server(true);
  adopt_client(&lents[0], NULL);
}

/* The request is sent already, the answer still to come. */
static void start_adopted_asker(void) {
  static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
  char request[256];
  if (!start_server()) return;
  dial_server(true);
  int len = snprintf(request, sizeof(request),
                     "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: %s\r\n\r\n",
                     key);
  require(send(lents[0].fd, request, (size_t)len, 0) == len, "sending");
  adopt_client(&lents[0], key);
}

static void adopt_pair(void) {
  adopt_client(&lents[0], NULL);
  adopt_server(&lents[1], NULL, 0);
}

static void start_adopted_descriptors(void) {
  make_pair(false, false);
  adopt_pair();
}

static void start_adopted_sockets(void) {
  make_pair(true, false);
  adopt_pair();
}

static void start_adopted_pipes(void) {
  make_pair(false, true);
  adopt_pair();
}

/* Before either has done anything. */
static void start_terminated_pair(void) {
  start_adopted_pipes();
  lents[0].is_late = lents[1].is_late = true;
  if (world.clients[0].begun) uvws_terminate(&world.clients[0].ws);
  if (world.accepted[0].begun) uvws_terminate(&world.accepted[0].ws);
}

static void adopt_upgraded_pair(void) {
  adopt_upgraded(&lents[0], UVWS_ROLE_CLIENT);
  adopt_upgraded(&lents[1], UVWS_ROLE_SERVER);
}

static void start_upgraded_streams(void) {
  make_pair(true, true);
  adopt_upgraded_pair();
}

static void start_upgraded_descriptors(void) {
  make_pair(true, false);
  adopt_upgraded_pair();
}

/* ---- what comes through the gate is given away ---- */

/* Not all of the request. */
static void on_gate_alloc(uv_handle_t* handle, size_t suggested,
                          uv_buf_t* buf) {
  static char buffer[16];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, sizeof(buffer));
}

static void on_gate_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  lent_t* lent = stream->data;
  if (n == 0) return;
  uv_read_stop(stream);
  if (n < 0)
    close_lent(lent);
  else
    lent->give(lent, buf->base, (size_t)n);
}

static void on_gate_connection(uv_stream_t* gate, int status) {
  lent_t* lent = &lents[0];
  require(status == 0 && lent->stream == NULL, "the gate's connections");
  plan.resting = true;
  lent->is_stream = lent->is_tcp = true;
  make_stream(lent, true);
  require(uv_accept(gate, lent->stream) == 0, "accepting");
  uv_read_start(lent->stream, on_gate_alloc, on_gate_read);
  plan.resting = false;
}

static void connect_to_gate(void (*give)(lent_t*, const void*, size_t)) {
  uvws_options_t common;
  lents[0].give = give;
  int port = listen_at(&reach.gate, on_gate_connection);
  reach.gate_is_open = true;
  client_options(&common);
  connect_to(&world.clients[0], "127.0.0.1", port, &common);
}

static void start_adopted_server(void) {
  connect_to_gate(adopt_server);
}

static void start_given_stream(void) {
  if (start_server()) connect_to_gate(give_to_server);
}

static void start_given_descriptor(void) {
  if (!start_server()) return;
  make_pair(false, false);
  adopt_client(&lents[0], NULL);
  give_to_server(&lents[1], NULL, 0);
}

static void start_given_to_the_closing(void) {
  if (!start_server()) return;
  make_pair(true, true);
  adopt_client(&lents[0], NULL);
  give_to_server(&lents[1], NULL, 0);
  lents[0].is_late = lents[1].is_late = true;
  uvws_server_close(&world.hosts[0].server, 0);
}

/* ---- another loop's, by way of a post ---- */

static void on_handed_over(uv_loop_t* loop, void* arg) {
  require(loop == test_loop && arg == &lents[0], "another post");
  reach.called++;
  give_to_server(&lents[0], NULL, 0);
}

static void on_connection(uvws_server_t* front, uv_os_sock_t fd) {
  (void)front;
  lents[0].fd = fd;
  lents[0].is_tcp = true;
  if (uvws_post(test_loop, on_handed_over, &lents[0]) == 0)
    reach.posts++;
  else
    close(fd);
}

static void start_hand_over(void) {
  static uvws_server_events_t front_events;
  uvws_options_t common;
  front_events = fault_server_events;
  front_events.connection = on_connection;
  if (!start_server()) return;
  if (!start_host(&world.hosts[1], &front_events, 0)) {
    wind_down();
    return;
  }
  client_options(&common);
  connect_to(&world.clients[0], "127.0.0.1", world.hosts[1].port, &common);
}

static void on_post(uv_loop_t* loop, void* arg) {
  require(loop == test_loop && arg == &reach, "another post");
  reach.called++;
}

static void post(uvws_t* ws) {
  (void)ws;
  reach.posts += uvws_post(test_loop, on_post, &reach) == 0;
}

static void post_and_say(uvws_t* ws) {
  post(ws);
  post(ws);
  say_little(ws);
}

static void post_in_close(seen_t* seen) {
  post(&seen->ws);
}

static void start_posts(void) {
  if (start_server()) connect_client("localhost", world.hosts[0].port, NULL);
}

/* ---- all of them ---- */

static void stop(bool now) {
  if (reach.gate_is_open) uv_close((uv_handle_t*)&reach.gate, NULL);
  reach.gate_is_open = false;
  for (size_t i = 0; i < ENDS && now; i++) close_lent(&lents[i]);
}

static void check(void) {
  for (size_t i = 0; i < ENDS; i++) {
    require(lents[i].releases == (lents[i].is_stream && lents[i].is_given),
            "not one release");
    require(lents[i].stream == NULL, "a stream is left");
  }
  require(reach.called == reach.posts, "not each post was called");
  memset(&reach, 0, sizeof(reach));
  memset(lents, 0, sizeof(lents));
}

#define HOOKS .stop = stop, .check = check
#define ALONE .wanted = TALK, TALKS, HOOKS

/* Each end has read a message before. */
#define EARLY                                                             \
  .client_open = say_little, .accepted_message = echo, .messages = 4,     \
  .pongs = 1, .wanted = "4 20015 0 1 1000 clean, 3 20010 1 0 1000 clean", \
  HOOKS

static const scenario_t scenarios[] = {
    {.name = "client", .start = start_adopted_client, ALONE},
    {.name = "asker", .start = start_adopted_asker, .is_plain = true, ALONE},
    {.name = "server", .start = start_adopted_server, ALONE},
    {.name = "descriptors", .start = start_adopted_descriptors, ALONE},
    {.name = "sockets", .start = start_adopted_sockets, ALONE},
    {.name = "pipes", .start = start_adopted_pipes, ALONE},
    {.name = "terminated",
     .start = start_terminated_pair,
     .wanted = "0 0 0 0 1006, 0 0 0 0 1006",
     HOOKS},
    {.name = "upgraded streams", .start = start_upgraded_streams, EARLY},
    {.name = "upgraded descriptors",
     .start = start_upgraded_descriptors,
     EARLY},
    {.name = "given stream", .start = start_given_stream, ALONE},
    {.name = "given descriptor", .start = start_given_descriptor, ALONE},
    {.name = "given to the closing",
     .start = start_given_to_the_closing,
     .wanted = "0 0 0 0 1006, ",
     HOOKS},
    {.name = "hand-over", .start = start_hand_over, ALONE},
    {.name = "posts",
     .start = start_posts,
     .decide = accept_request,
     .client_open = post_and_say,
     .accepted_message = echo,
     .closed = post_in_close,
     .messages = 2,
     .pongs = 1,
     .wanted = TALK,
     HOOKS},
};

enum { DESCRIPTORS = 3 };

int main(void) {
  const suite_t suite = {scenarios, COUNT_OF(scenarios),
                         &scenarios[DESCRIPTORS]};
  if (test_has_tls()) make_server_tls();
  spare(&reach, sizeof(reach));
  return run_suite(&suite);
}
