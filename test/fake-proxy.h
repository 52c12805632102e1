#ifndef UVWS_TEST_FAKE_PROXY_H_
#define UVWS_TEST_FAKE_PROXY_H_

/* A proxy in the loop of the test, for test-proxies.c and
 * test-proxy-faults.c: it speaks HTTP or SOCKS
 * 5, whichever it is spoken to in, inside TLS if it has any, writes down what
 * it was told, and does as it is told to by the test. Wherever it is to
 * connect, it goes to 127.0.0.1. */

#include "net/tls.h"
#include "tls-peers.h"

#include "connect.h"

typedef enum {
  AT_CONNECTION,
  AT_GREETING,
  AT_PASSWORD,
  AT_REQUEST,
  NEVER
} at_t;

typedef struct fake_proxy_s {
  uv_tcp_t listener;
  int port;
  /* What it does. */
  uvws_tls_t* tls;         /* or NULL */
  const char* credentials; /* in HTTP the base64 of what they are in SOCKS */
  const char* answer;      /* to a request, instead of connecting */
  size_t answer_len;
  const char* first; /* right away, around TLS; or NULL */
  at_t fall_silent;  /* there, instead of answering */
  at_t hang_up;
  bool dribble; /* a byte of the answer in each turn of the loop */
  /* What it was told. */
  char told[2048]; /* before it stepped aside */
  size_t told_len;
  char asked[300]; /* "host:port" of the last request */
  int type;        /* of the address in it: SOCKS */
  char from[64];   /* the last client's address */
  int from_port;
  unsigned connections;
  bool is_silent;
  struct link_s* links;
  const char* rest; /* of the answer */
  size_t rest_len;
  uv_idle_t idle;
} fake_proxy_t;

typedef struct link_s {
  uv_tcp_t sides[2]; /* the client's and the target's */
  uv_connect_t connect;
  uv_shutdown_t shutdowns[2];
  struct link_s* next;
  fake_proxy_t* proxy;
  unsigned open;
  bool ended[2];
  at_t step;
  bool through;
  char in[1024]; /* not understood yet */
  size_t in_len;
  uvws__tls_t* tls;
  uvws__tls_result_t result;
  bool is_secure;
} link_t;

enum { CLIENT, TARGET };

/* ---- the ends of a link ---- */

static void on_side_closed(uv_handle_t* handle) {
  link_t* link = handle->data;
  link_t** at = &link->proxy->links;
  if (--link->open > 0) return;
  while (*at != link) at = &(*at)->next;
  *at = link->next;
  uvws__tls_free(link->tls);
  uvws__tls_result_clear(&link->result);
  free(link);
}

static void link_close(link_t* link, bool reset) {
  for (int i = 0; i < 2; i++) {
    uv_handle_t* handle = (uv_handle_t*)&link->sides[i];
    if (uv_is_closing(handle)) continue;
    if (!reset || uv_tcp_close_reset(&link->sides[i], on_side_closed) != 0)
      uv_close(handle, on_side_closed);
  }
}

static void on_fake_written(uv_write_t* write, int status) {
  (void)status;
  free(write);
}

static void link_write(link_t* link, int side, const void* bytes, size_t len) {
  uv_write_t* write = malloc(sizeof(*write) + len);
  assert_non_null(write);
  memcpy(write + 1, bytes, len);
  uv_buf_t buf = uv_buf_init((char*)(write + 1), (unsigned)len);
  if (uv_write(write, (uv_stream_t*)&link->sides[side], &buf, 1,
               on_fake_written) != 0)
    free(write);
}

static int on_fake_ciphertext(void* owner, const uint8_t* data, size_t len) {
  link_write(owner, CLIENT, data, len);
  return (int)len;
}

static void say(link_t* link, const void* bytes, size_t len) {
  const uint8_t* at = bytes;
  if (link->tls == NULL) link_write(link, CLIENT, bytes, len);
  test_in_peer = true;
  while (link->tls != NULL && len > 0) {
    int n = uvws__tls_write(link->tls, at, len);
    assert_true(n > 0);
    at += n;
    len -= (size_t)n;
  }
  test_in_peer = false;
}

static void link_end(link_t* link, int side) {
  if (side == CLIENT && link->tls != NULL)
    assert_int_equal(uvws__tls_close(link->tls), 0);
  uv_shutdown(&link->shutdowns[side], (uv_stream_t*)&link->sides[side], NULL);
}

/* ---- its answers ---- */

static void on_fake_idle(uv_idle_t* idle) {
  fake_proxy_t* proxy = idle->data;
  if (proxy->rest_len == 0 || proxy->links == NULL) {
    uv_idle_stop(idle);
    return;
  }
  say(proxy->links, proxy->rest++, 1);
  proxy->rest_len--;
}

static void say_answer(link_t* link, const char* answer, size_t len) {
  fake_proxy_t* proxy = link->proxy;
  if (!proxy->dribble) {
    say(link, answer, len);
    return;
  }
  proxy->rest = answer;
  proxy->rest_len = len;
  uv_idle_start(&proxy->idle, on_fake_idle);
}

static void on_fake_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf);

static void on_fake_alloc(uv_handle_t* handle, size_t suggested,
                          uv_buf_t* buf) {
  static char buffer[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, sizeof(buffer));
}

static void on_target(uv_connect_t* connect, int status) {
  static const char http[] = "HTTP/1.1 200 OK\r\nVia: 1.1 fake\r\n\r\n";
  static const char socks[] = "\5\0\0\1\x7f\0\0\1\0\x50";
  link_t* link = connect->data;
  if (status != 0) {
    link_close(link, false);
    return;
  }
  link->through = true;
  if (link->in[0] == '\5')
    say_answer(link, socks, sizeof(socks) - 1);
  else
    say_answer(link, http, sizeof(http) - 1);
  uv_read_start((uv_stream_t*)&link->sides[TARGET], on_fake_alloc,
                on_fake_read);
}

static void go_to_target(link_t* link) {
  fake_proxy_t* proxy = link->proxy;
  struct sockaddr_storage target;
  const char* port = strrchr(proxy->asked, ':');
  if (proxy->answer != NULL) {
    link->step = NEVER;
    say_answer(link, proxy->answer, proxy->answer_len);
    return;
  }
  assert_non_null(port);
  make_address(&target, "127.0.0.1", atoi(port + 1));
  link->connect.data = link;
  assert_int_equal(uv_tcp_connect(&link->connect, &link->sides[TARGET],
                                  (const struct sockaddr*)&target, on_target),
                   0);
}

/* Whether the talk is over, here. */
static bool falls(link_t* link, at_t at) {
  fake_proxy_t* proxy = link->proxy;
  if (proxy->hang_up == at) link_close(link, false);
  if (proxy->fall_silent == at) proxy->is_silent = true;
  return proxy->hang_up == at || proxy->fall_silent == at;
}

static void hear_http(link_t* link) {
  fake_proxy_t* proxy = link->proxy;
  static const char refusal[] =
      "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n";
  char wanted[256];
  if (strstr(link->in, "\r\n\r\n") == NULL || falls(link, AT_REQUEST)) return;
  assert_int_equal(sscanf(link->in, "CONNECT %299s HTTP/1.1\r\n", proxy->asked),
                   1);
  snprintf(wanted, sizeof(wanted), "\r\nProxy-Authorization: Basic %s\r\n",
           proxy->credentials == NULL ? "" : proxy->credentials);
  if (proxy->credentials == NULL || strstr(link->in, wanted) != NULL)
    go_to_target(link);
  else
    say(link, refusal, sizeof(refusal) - 1);
}

static void hear_greeting(link_t* link) {
  const char* wanted = link->proxy->credentials;
  if (link->in_len < 2 || link->in_len < 2 + (size_t)link->in[1] ||
      falls(link, AT_GREETING))
    return;
  assert_int_equal(link->in_len, 2 + link->in[1]);
  link->step = wanted == NULL ? AT_REQUEST : AT_PASSWORD;
  if (wanted == NULL)
    say(link, "\5\0", 2);
  else
    say(link, link->in[1] == 2 ? "\5\2" : "\5\xff", 2);
  link->in_len = 0;
}

static void hear_password(link_t* link) {
  char given[600];
  size_t name_len = link->in_len < 2 ? 0 : (uint8_t)link->in[1];
  if (link->in_len < 3 + name_len ||
      link->in_len < 3 + name_len + (uint8_t)link->in[2 + name_len] ||
      falls(link, AT_PASSWORD))
    return;
  snprintf(given, sizeof(given), "%.*s:%.*s", (int)name_len, link->in + 2,
           (uint8_t)link->in[2 + name_len], link->in + 3 + name_len);
  link->step = AT_REQUEST;
  say(link, strcmp(given, link->proxy->credentials) == 0 ? "\1\0" : "\1\1", 2);
  link->in_len = 0;
}

static void hear_request(link_t* link) {
  fake_proxy_t* proxy = link->proxy;
  const uint8_t* in = (const uint8_t*)link->in;
  char host[256] = "";
  if (link->in_len < 5) return;
  size_t len = in[3] == 1 ? 4 : in[3] == 4 ? 16 : 1 + (size_t)in[4];
  if (link->in_len < 4 + len + 2 || falls(link, AT_REQUEST)) return;
  assert_int_equal(link->in_len, 4 + len + 2);
  if (in[3] == 3)
    memcpy(host, in + 5, len - 1);
  else
    uv_inet_ntop(in[3] == 1 ? AF_INET : AF_INET6, in + 4, host, sizeof(host));
  proxy->type = in[3];
  snprintf(proxy->asked, sizeof(proxy->asked), "%s:%d", host,
           in[4 + len] << 8 | in[5 + len]);
  go_to_target(link);
}

static void hear(link_t* link, const char* bytes, size_t n) {
  fake_proxy_t* proxy = link->proxy;
  if (link->through) {
    link_write(link, TARGET, bytes, n);
    return;
  }
  if (link->step == NEVER) return;
  assert_true(link->in_len + n < sizeof(link->in));
  assert_true(proxy->told_len + n < sizeof(proxy->told));
  memcpy(link->in + link->in_len, bytes, n);
  link->in_len += n;
  link->in[link->in_len] = '\0';
  memcpy(proxy->told + proxy->told_len, bytes, n);
  proxy->told_len += n;
  proxy->told[proxy->told_len] = '\0';
  if (link->step == AT_GREETING && link->in[0] != '\5')
    hear_http(link);
  else if (link->step == AT_GREETING)
    hear_greeting(link);
  else if (link->step == AT_PASSWORD)
    hear_password(link);
  else
    hear_request(link);
}

/* ---- what comes ---- */

static void hear_secured(link_t* link, const char* bytes, size_t len) {
  static uint8_t plain[65536];
  int n = 0;
  test_in_peer = true;
  uvws__tls_feed(link->tls, (const uint8_t*)bytes, len);
  if (!link->is_secure) {
    n = uvws__tls_handshake(link->tls);
    link->is_secure = n == 0;
  }
  test_in_peer = false;
  while (link->is_secure && !uv_is_closing((uv_handle_t*)&link->sides[0])) {
    n = uvws__tls_read(link->tls, plain, sizeof(plain));
    if (n < 0) break;
    hear(link, (const char*)plain, (size_t)n);
  }
  uvws__tls_rest(link->tls);
  if (n == UVWS__TLS_FAILED) link_close(link, false);
}

static void on_side_ended(link_t* link, int side, ssize_t status) {
  link->ended[side] = true;
  if (status != UV_EOF || !link->through || link->ended[1 - side])
    link_close(link, false);
  else
    link_end(link, 1 - side);
}

static void on_fake_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  link_t* link = stream->data;
  int side = stream == (uv_stream_t*)&link->sides[CLIENT] ? CLIENT : TARGET;
  if (n < 0)
    on_side_ended(link, side, n);
  else if (side == TARGET)
    say(link, buf->base, (size_t)n);
  else if (link->tls != NULL)
    hear_secured(link, buf->base, (size_t)n);
  else
    hear(link, buf->base, (size_t)n);
}

static void link_secure(link_t* link) {
  uvws__tls_peer_t peer = {
      .is_server = true, .send = on_fake_ciphertext, .owner = link};
  if (link->proxy->tls == NULL) return;
  test_in_peer = true;
  link->tls = uvws__tls_new(link->proxy->tls, &peer, &link->result);
  test_in_peer = false;
  assert_non_null(link->tls);
}

static void on_fake_connection(uv_stream_t* listener, int status) {
  fake_proxy_t* proxy = listener->data;
  struct sockaddr_in name;
  int len = sizeof(name);
  link_t* link = calloc(1, sizeof(*link));
  assert_int_equal(status, 0);
  assert_non_null(link);
  for (int i = 0; i < 2; i++) {
    uv_tcp_init(test_loop, &link->sides[i]);
    link->sides[i].data = link;
  }
  link->open = 2;
  link->step = AT_GREETING;
  link->proxy = proxy;
  link->next = proxy->links;
  proxy->links = link;
  proxy->connections++;
  assert_int_equal(uv_accept(listener, (uv_stream_t*)&link->sides[CLIENT]), 0);
  uv_tcp_getpeername(&link->sides[CLIENT], (struct sockaddr*)&name, &len);
  uv_ip4_name(&name, proxy->from, sizeof(proxy->from));
  proxy->from_port = ntohs(name.sin_port);
  if (falls(link, AT_CONNECTION)) return;
  link_secure(link);
  if (proxy->first != NULL)
    link_write(link, CLIENT, proxy->first, strlen(proxy->first));
  uv_read_start((uv_stream_t*)&link->sides[CLIENT], on_fake_alloc,
                on_fake_read);
}

/* ---- beginning and end ---- */

static inline void fake_start(fake_proxy_t* proxy, uvws_tls_t* tls) {
  struct sockaddr_storage address;
  memset(proxy, 0, sizeof(*proxy));
  proxy->tls = tls;
  proxy->fall_silent = proxy->hang_up = NEVER;
  make_address(&address, "127.0.0.1", 0);
  uv_idle_init(test_loop, &proxy->idle);
  proxy->idle.data = proxy;
  uv_tcp_init(test_loop, &proxy->listener);
  proxy->listener.data = proxy;
  uv_tcp_bind(&proxy->listener, (const struct sockaddr*)&address, 0);
  assert_int_equal(
      uv_listen((uv_stream_t*)&proxy->listener, 16, on_fake_connection), 0);
  proxy->port = port_of(&proxy->listener);
}

/* Ends all that goes through it. */
static inline void fake_cut(fake_proxy_t* proxy, bool reset) {
  for (link_t* link = proxy->links; link != NULL; link = link->next)
    link_close(link, reset);
}

static inline void fake_stop(fake_proxy_t* proxy) {
  fake_cut(proxy, false);
  uv_close((uv_handle_t*)&proxy->idle, NULL);
  uv_close((uv_handle_t*)&proxy->listener, NULL);
  turns(2);
  assert_null(proxy->links);
}

/* ---- one of each kind ---- */

static fake_proxy_t proxy;
static uvws_options_t options;
static uvws_tls_t* proxy_server_tls;
static uvws_tls_t* proxy_client_tls;

static const struct {
  const char* scheme;
  bool is_secure;
  bool is_socks;
} kinds[] = {{"http://", false, false},
             {"https://", true, false},
             {"socks5://", false, true},
             {"socks5h://", false, true}};

#define EACH_KIND(kind)   \
  size_t kind = 0;        \
  kind < COUNT_OF(kinds); \
  kind++

static inline int make_configurations(void** state) {
  (void)state;
  proxy_server_tls = tls_server_config("address.crt", NULL);
  proxy_client_tls = tls_client_config(NULL);
  return 0;
}

static int drop_configurations(void** state) {
  (void)state;
  uvws_tls_unref(proxy_server_tls);
  uvws_tls_unref(proxy_client_tls);
  return 0;
}

static int proxy_setup(void** state) {
  names_init(&options);
  options.proxy_tls = proxy_client_tls;
  return test_loop_setup(state);
}

#undef TEST
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, proxy_setup, test_loop_teardown)

/* A proxy of that kind, and options to go there. */
static void start_proxy(size_t kind, const char* userinfo) {
  static char url[256];
  fake_start(&proxy, kinds[kind].is_secure ? proxy_server_tls : NULL);
  snprintf(url, sizeof(url), "%s%s127.0.0.1:%d", kinds[kind].scheme, userinfo,
           proxy.port);
  options.proxy = url;
}

static inline void start_proxy_with_password(size_t kind) {
  start_proxy(kind, "me:right@");
  proxy.credentials = kinds[kind].is_socks ? "me:right" : "bWU6cmlnaHQ=";
}

#endif /* UVWS_TEST_FAKE_PROXY_H_ */
