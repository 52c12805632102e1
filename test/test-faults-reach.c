#include "faults-reach.h"

#include <fcntl.h>

#include "net/tls.h"

/* See faults.h. Here: how a client finds its way, and how a server listens and
 * answers. */

static uvws_tls_t* proxy_tls; /* the client's */

static struct {
  uvws_lookup_t* lookup; /* unanswered */
  int hanging[3];        /* a port that does not answer */
  unsigned n_hanging;
  int answer; /* the HTTP status that the raw client has */
} reach;

/* More than anybody keeps on the way. */
static void say_much(uvws_t* ws) {
  must(ws, uvws_ping(ws, "ping", 4));
  must(ws, uvws_send(ws, "hello", 5, UVWS_TEXT));
  must(ws, uvws_send(ws, big, sizeof(big), UVWS_BINARY));
}

static void on_soon_terminate(uv_timer_t* timer) {
  (void)timer;
  if (world.clients[0].begun) uvws_terminate(&world.clients[0].ws);
}

/* ---- lookups ---- */

static void answer(uvws_lookup_t* lookup) {
  struct sockaddr_in6 six;
  uv_ip6_addr("::1", 1, &six);
  /* Nobody listens at two of them; one may hang. */
  const struct sockaddr* addresses[] = {
      loopback(reach.n_hanging > 0 ? 3 : 2, 2), (const struct sockaddr*)&six,
      loopback(2, 3), loopback(1, 4)};
  uvws_lookup_done(lookup, 0, addresses, COUNT_OF(addresses));
}

static void on_soon_answer(uv_timer_t* timer) {
  uvws_lookup_t* lookup = reach.lookup;
  (void)timer;
  reach.lookup = NULL;
  answer(lookup);
}

static void look_up(uvws_lookup_t* lookup, const char* host, void* arg) {
  (void)arg;
  require(strcmp(host, "x.test") == 0, "another name is looked up");
  answer(lookup);
}

static void look_up_later(uvws_lookup_t* lookup, const char* host, void* arg) {
  (void)host;
  (void)arg;
  reach.lookup = lookup;
  do_soon(on_soon_answer);
}

static void look_up_never(uvws_lookup_t* lookup, const char* host, void* arg) {
  (void)host;
  (void)arg;
  reach.lookup = lookup;
  do_soon(on_soon_terminate);
}

static void connect_by_hook(uvws_lookup_cb lookup) {
  uvws_options_t options;
  client_options(&options);
  options.lookup = lookup;
  options.attempt_delay = 10;
  options.local_address = loopback(1, 0);
  /* Only one may be left to be waited for, and that one hangs. */
  if (plan.fault != NO_FAULT) options.connect_timeout = 200;
  connect_to(&world.clients[0], "x.test", world.hosts[0].port, &options);
}

static void start_hook(void) {
  if (start_server()) connect_by_hook(look_up);
}

static void start_later_hook(void) {
  if (start_server()) connect_by_hook(look_up_later);
}

static void start_endless_hook(void) {
  if (start_server()) connect_by_hook(look_up_never);
}

static void start_libuv_lookup(void) {
  uvws_options_t options;
  client_options(&options);
  options.attempt_delay = 10;
  if (start_server())
    connect_to(&world.clients[0], "x.test", world.hosts[0].port, &options);
}

static void start_cancelled_lookup(void) {
  start_libuv_lookup();
  on_soon_terminate(NULL);
}

/* The deadline passes in the turn in which something was short. */
static void start_late(void) {
  uvws_options_t options;
  client_options(&options);
  options.connect_timeout = 1;
  if (!start_server()) return;
  connect_to(&world.clients[0], "x.test", world.hosts[0].port, &options);
  uv_sleep(40);
}

/* ---- the race ---- */

static void hang(int port) {
  const struct sockaddr* address = loopback(3, port);
  plan.resting = true;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int on = 1; /* as libuv's: a connection of somebody's may have the port */
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  reach.hanging[reach.n_hanging++] = fd;
  require(
      bind(fd, address, sizeof(struct sockaddr_in)) == 0 && listen(fd, 0) == 0,
      "no port to hang");
  /* Who comes behind one that nobody accepts gets no answer. */
  while (reach.n_hanging < COUNT_OF(reach.hanging)) {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)connect(fd, address, sizeof(struct sockaddr_in));
    reach.hanging[reach.n_hanging++] = fd;
  }
  plan.resting = false;
}

static void start_race(void) {
  if (!start_server()) return;
  hang(world.hosts[0].port);
  connect_by_hook(look_up);
}

static void start_cancelled_race(void) {
  start_race();
  do_soon(on_soon_terminate);
}

/* ---- claims ---- */

static void connect_both(const char* proxy) {
  uvws_options_t options;
  client_options(&options);
  options.flags = UVWS_CONNECT_ONE_AT_A_TIME;
  options.proxy = proxy;
  if (proxy == NULL) options.lookup = look_up;
  for (size_t i = 0; i < ENDS; i++)
    connect_to(&world.clients[i], "x.test", world.hosts[0].port, &options);
}

static void start_claims(void) {
  if (start_server()) connect_both(NULL);
}

/* The second, which waits. */
static void start_cancelled_claim(void) {
  start_claims();
  if (world.clients[1].begun) uvws_terminate(&world.clients[1].ws);
}

/* ---- proxies ---- */

typedef enum { HTTP, SOCKS, REFUSING, SILENT } way_t;

typedef struct link_s {
  uv_tcp_t near, far; /* the client's side, the server's */
  uv_connect_t connect;
  uv_shutdown_t shutdown[2];
  char in[512];
  size_t len;
  unsigned step;
  bool through; /* what comes is the server's */
  bool near_ended, far_ended;
  uvws__tls_t* tls;
  uvws__tls_result_t result;
  bool is_secure;
} link_t;

static struct {
  uv_tcp_t listener;
  bool is_open;
  int port;
  way_t way;
  bool has_tls;
  link_t links[ENDS];
  unsigned n_links;
} proxy;

static void on_near_closed(uv_handle_t* handle) {
  link_t* link = handle->data;
  if (link->tls == NULL) return;
  uvws__tls_free(link->tls);
  uvws__tls_result_clear(&link->result);
  link->tls = NULL;
}

static void close_link(link_t* link) {
  if (uv_is_closing((uv_handle_t*)&link->near)) return;
  uv_close((uv_handle_t*)&link->near, on_near_closed);
  uv_close((uv_handle_t*)&link->far, NULL);
}

static void stop_proxy(bool now) {
  if (proxy.is_open) uv_close((uv_handle_t*)&proxy.listener, NULL);
  proxy.is_open = false;
  for (unsigned i = 0; i < proxy.n_links && now; i++)
    close_link(&proxy.links[i]);
}

static void on_sent(uv_write_t* write, int status) {
  (void)status;
  free(write);
}

static void forward(uv_tcp_t* to, const void* bytes, size_t len) {
  uv_write_t* write = malloc(sizeof(*write) + len);
  require(write != NULL, "no memory");
  memcpy(write + 1, bytes, len);
  uv_buf_t buf = uv_buf_init((char*)(write + 1), (unsigned)len);
  if (uv_write(write, (uv_stream_t*)to, &buf, 1, on_sent) != 0) free(write);
}

static int on_ciphertext(void* owner, const uint8_t* data, size_t len) {
  forward(&((link_t*)owner)->near, data, len);
  return (int)len;
}

static void answer_client(link_t* link, const void* bytes, size_t len) {
  const uint8_t* at = bytes;
  if (link->tls == NULL) {
    forward(&link->near, bytes, len);
    return;
  }
  while (len > 0) {
    int n = uvws__tls_write(link->tls, at, len);
    require(n > 0, "the proxy's TLS");
    at += n;
    len -= (size_t)n;
  }
}

/* An end goes on to the other side; the second is the last. */
static void end_side(link_t* link, bool near, ssize_t status) {
  bool* ended = near ? &link->near_ended : &link->far_ended;
  uv_tcp_t* other = near ? &link->far : &link->near;
  *ended = true;
  if (status != UV_EOF || !link->through ||
      (link->near_ended && link->far_ended)) {
    close_link(link);
    return;
  }
  test_in_peer = true;
  if (!near && link->tls != NULL) uvws__tls_close(link->tls);
  test_in_peer = false;
  uv_shutdown(&link->shutdown[near], (uv_stream_t*)other, NULL);
}

static void on_far_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  link_t* link = stream->data;
  test_in_peer = true;
  if (n > 0) answer_client(link, buf->base, (size_t)n);
  test_in_peer = false;
  if (n < 0) end_side(link, false, n);
}

static void on_far_connect(uv_connect_t* connect, int status) {
  static const char socks[10] = {5, 0, 0, 1};
  static const char http[] = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
  link_t* link = connect->data;
  if (status != 0) {
    close_link(link);
    return;
  }
  link->through = true;
  uv_tcp_nodelay(&link->far, 1);
  test_in_peer = true;
  answer_client(link, proxy.way == SOCKS ? socks : http,
                proxy.way == SOCKS ? sizeof(socks) : strlen(http));
  test_in_peer = false;
  uv_read_start((uv_stream_t*)&link->far, on_alloc, on_far_read);
}

static void connect_far(link_t* link) {
  link->connect.data = link;
  if (uv_tcp_connect(&link->connect, &link->far,
                     loopback(1, world.hosts[0].port), on_far_connect) != 0)
    close_link(link);
}

static void on_http_request(link_t* link) {
  static const char no[] = "HTTP/1.1 407 No\r\nX: y\r\n\r\n";
  link->in[link->len] = '\0';
  if (strstr(link->in, "\r\n\r\n") == NULL || proxy.way == SILENT) return;
  require(strstr(link->in, "CONNECT x.test:") == link->in &&
              strstr(link->in, "\r\nProxy-Authorization: Basic dTpw\r\n"),
          "what the proxy is asked");
  if (proxy.way == REFUSING)
    answer_client(link, no, strlen(no));
  else
    connect_far(link);
}

/* Method, password, request: each as long as it says. */
static void on_socks_request(link_t* link) {
  static const char answers[2][2] = {{5, 2}, {1, 0}};
  const uint8_t* in = (const uint8_t*)link->in;
  size_t n = link->len;
  bool complete =
      n > 1 &&
      (link->step == 0   ? n == 2u + in[1]
       : link->step == 1 ? n > 2u + in[1] && n == 3u + in[1] + in[2 + in[1]]
                         : n > 4 && n == 7u + in[4]);
  if (!complete) return;
  link->len = 0;
  if (link->step == 2)
    connect_far(link);
  else
    answer_client(link, answers[link->step], 2);
  link->step++;
}

static void on_near_bytes(link_t* link, const void* bytes, size_t n) {
  if (link->through) {
    forward(&link->far, bytes, n);
    return;
  }
  require(link->len + n < sizeof(link->in), "much is asked of the proxy");
  memcpy(link->in + link->len, bytes, n);
  link->len += n;
  if (proxy.way == SOCKS)
    on_socks_request(link);
  else
    on_http_request(link);
}

/* Whose TLS fails is hung up on. */
static void on_near_secured(link_t* link, const void* bytes, size_t len) {
  static uint8_t plain[65536];
  int n = 0;
  uvws__tls_feed(link->tls, bytes, len);
  if (!link->is_secure) n = uvws__tls_handshake(link->tls);
  link->is_secure = link->is_secure || n == 0;
  while (link->is_secure && !uv_is_closing((uv_handle_t*)&link->near)) {
    n = uvws__tls_read(link->tls, plain, sizeof(plain));
    if (n <= 0) break;
    on_near_bytes(link, plain, (size_t)n);
  }
  if (n == UVWS__TLS_FAILED) close_link(link);
}

static void on_near_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  link_t* link = stream->data;
  test_in_peer = true;
  if (n > 0 && link->tls != NULL)
    on_near_secured(link, buf->base, (size_t)n);
  else if (n > 0)
    on_near_bytes(link, buf->base, (size_t)n);
  test_in_peer = false;
  if (n < 0) end_side(link, true, n);
}

static void on_proxy_connection(uv_stream_t* listener, int status) {
  require(status == 0 && proxy.n_links < ENDS, "the proxy's connections");
  link_t* link = &proxy.links[proxy.n_links++];
  uv_tcp_init(test_loop, &link->near);
  uv_tcp_init(test_loop, &link->far);
  link->near.data = link->far.data = link;
  require(uv_accept(listener, (uv_stream_t*)&link->near) == 0, "accepting");
  uv_tcp_nodelay(&link->near, 1);
  if (proxy.has_tls) {
    uvws__tls_peer_t peer = {.is_server = true,
                             .host = "localhost",
                             .send = on_ciphertext,
                             .owner = link};
    test_in_peer = true;
    link->tls = uvws__tls_new(server_tls, &peer, &link->result);
    test_in_peer = false;
    require(link->tls != NULL, "the proxy's TLS");
  }
  uv_read_start((uv_stream_t*)&link->near, on_alloc, on_near_read);
}

/* The URL of a proxy that is up. */
static const char* start_proxy(const char* scheme, way_t way) {
  static char url[64];
  memset(&proxy, 0, sizeof(proxy));
  proxy.way = way;
  proxy.has_tls = strcmp(scheme, "https") == 0;
  proxy.port = listen_at(&proxy.listener, on_proxy_connection);
  proxy.is_open = true;
  snprintf(url, sizeof(url), "%s://u:p@localhost:%d", scheme, proxy.port);
  return url;
}

static void connect_by_proxy(const char* url) {
  uvws_options_t options;
  client_options(&options);
  options.proxy = url;
  options.proxy_tls = proxy_tls;
  connect_to(&world.clients[0], "x.test", 80, &options);
}

static void start_http_proxy(void) {
  if (start_server()) connect_by_proxy(start_proxy("http", HTTP));
}

static void start_refusing_proxy(void) {
  if (start_server()) connect_by_proxy(start_proxy("http", REFUSING));
}

static void start_silent_proxy(void) {
  if (!start_server()) return;
  connect_by_proxy(start_proxy("http", SILENT));
  do_soon(on_soon_terminate);
}

static void start_socks_proxy(void) {
  if (start_server()) connect_by_proxy(start_proxy("socks5", SOCKS));
}

static void start_secure_proxy(void) {
  if (start_server()) connect_by_proxy(start_proxy("https", HTTP));
}

static void start_secure_silent_proxy(void) {
  if (!start_server()) return;
  connect_by_proxy(start_proxy("https", SILENT));
  do_soon(on_soon_terminate);
}

static void start_claims_by_proxy(void) {
  if (start_server()) connect_both(start_proxy("http", HTTP));
}

static void start_environment_proxy(void) {
  uvws_options_t options;
  client_options(&options);
  options.flags = UVWS_CONNECT_ENV_PROXY;
  if (!start_server()) return;
  setenv(test_has_tls() ? "HTTPS_PROXY" : "http_proxy",
         start_proxy("http", HTTP), 1);
  setenv("no_proxy", "x.example, 10.0.0.0/8", 1);
  connect_to(&world.clients[0], "x.test", 80, &options);
  unsetenv(test_has_tls() ? "HTTPS_PROXY" : "http_proxy");
  unsetenv("no_proxy");
}

/* ---- HTTP, and how servers listen ---- */

static void on_http(uvws_server_t* server, uvws_request_t* request) {
  static const uvws_header_t header = {"X-Well", "yes"};
  (void)server;
  if (uvws_respond(request, 200, &header, 1, big, 20000) != 0 &&
      uvws_respond(request, 503, NULL, 0, NULL, 0) != 0)
    leave_undecided(request);
}

static void on_http_data(raw_t* client) {
  (void)sscanf(client->in, "HTTP/1.1 %d ", &reach.answer);
}

static void start_http(void) {
  static uvws_server_events_t events;
  events = fault_server_events;
  events.http = on_http;
  if (!start_host(&world.hosts[0], &events, 0)) return;
  raw.head = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
  dial_raw(RAW_STAY, "some body", 9);
  raw.on_data = on_http_data;
}

static void start_shared_port(void) {
  if (start_host(&world.hosts[0], &fault_server_events, UVWS_LISTEN_REUSEPORT))
    connect_client("localhost", world.hosts[0].port, NULL);
}

/* ---- all of them ---- */

static void check(void) {
  require(reach.answer == 200 || plan.fault != NO_FAULT ||
              world.scenario->start != start_http,
          "no answer by HTTP");
  /* Whoever was asked answers, however late. */
  if (reach.lookup != NULL) answer(reach.lookup);
  for (unsigned i = 0; i < reach.n_hanging; i++) close(reach.hanging[i]);
  memset(&reach, 0, sizeof(reach));
  memset(&proxy, 0, sizeof(proxy));
}

#define HOOKS      .stop = stop_proxy, .check = check
#define ALONE      .wanted = TALK, TALKS, HOOKS
#define BOTH       .wanted = TALK "; " TALK, TALKS, HOOKS
#define ENDS_EARLY .decide = accept_request, .wanted = "0 0 0 0 1006, ", HOOKS

static const scenario_t scenarios[] = {
    {.name = "hook", .start = start_hook, ALONE},
    {.name = "hook, later", .start = start_later_hook, ALONE},
    {.name = "hook, never", .start = start_endless_hook, ENDS_EARLY},
    {.name = "several",
     .start = start_libuv_lookup,
     .has_several = true,
     ALONE},
    {.name = "lookup, cancelled", .start = start_cancelled_lookup, ENDS_EARLY},
    {.name = "late", .start = start_late, ENDS_EARLY},
    {.name = "race", .start = start_race, ALONE},
    {.name = "race, cancelled", .start = start_cancelled_race, ENDS_EARLY},
    {.name = "claims", .start = start_claims, BOTH},
    {.name = "claims, cancelled",
     .start = start_cancelled_claim,
     .wanted = TALK "; 0 0 0 0 1006, ",
     TALKS,
     HOOKS},
    {.name = "HTTP proxy", .start = start_http_proxy, ALONE},
    {.name = "refusing proxy", .start = start_refusing_proxy, ENDS_EARLY},
    {.name = "silent proxy", .start = start_silent_proxy, ENDS_EARLY},
    {.name = "SOCKS proxy", .start = start_socks_proxy, ALONE},
    {.name = "environment", .start = start_environment_proxy, ALONE},
    {.name = "claims by proxy", .start = start_claims_by_proxy, BOTH},
    {.name = "HTTP", .start = start_http, .wanted = ", ", HOOKS},
    {.name = "shared port", .start = start_shared_port, ALONE},
    /* The rest under TLS only. */
    {.name = "https proxy", .start = start_secure_proxy, ALONE},
    {.name = "https proxy, silent",
     .start = start_secure_silent_proxy,
     ENDS_EARLY},
    {.name = "https proxy, plain inside",
     .start = start_secure_proxy,
     .is_plain = true,
     .is_variant = true,
     ALONE},
    {.name = "https proxy, much",
     .start = start_secure_proxy,
     .is_variant = true,
     .decide = accept_request,
     .client_open = say_much,
     .accepted_message = echo,
     .messages = 2,
     .pongs = 1,
     .wanted = "2 1000005 0 1 1000 clean, 2 1000005 1 0 1000 clean",
     HOOKS},
};

enum { UNDER_TLS = 4, SECURE_PROXY = COUNT_OF(scenarios) - UNDER_TLS };

static void make_proxy_tls(void) {
  uvws_tls_options_t from;
  uvws_tls_options_init(&from);
  from.ca_file = tls_file("ca.crt");
  from.flags = UVWS_TLS_NO_RESUMPTION;
  require(uvws_tls_new(&proxy_tls, &from, NULL, 0) == 0, "a client's TLS");
}

int main(void) {
  suite_t suite = {scenarios, SECURE_PROXY, &scenarios[SECURE_PROXY]};
  if (test_has_tls()) {
    suite.n += UNDER_TLS;
    make_server_tls();
    make_proxy_tls();
  }
  spare(&proxy, sizeof(proxy));
  return run_suite(&suite);
}
