#include "helper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/tls.h"
#include "protocol/accept-key.h"
#include "protocol/frame.h"

/* ---- the loop ---- */

uv_loop_t* test_loop;

int test_loop_setup(void** state) {
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  test_loop = malloc(sizeof(*test_loop));
  return test_loop == NULL ? -1 : uv_loop_init(test_loop);
}

static void print_handle(uv_handle_t* handle, void* arg) {
  (void)arg;
  print_message("left open: %s%s%s\n", uv_handle_type_name(handle->type),
                uv_is_closing(handle) ? " closing" : "",
                uvws_owns(handle) ? " (ours)" : "");
}

/* A loop that is not empty is left behind: its handles may lie on the stack of
 * the test that is over. */
int test_loop_teardown(void** state) {
  (void)state;
  if (uv_loop_close(test_loop) != 0) {
    uv_walk(test_loop, print_handle, NULL);
    return -1;
  }
  free(test_loop);
  return 0;
}

static void on_watchdog(uv_timer_t* timer) {
  (void)timer;
  /* The state is beyond repair: the tests behind this one would hang as well.
   */
  print_error("the loop did not come to its end\n");
  uv_walk(test_loop, print_handle, NULL);
  _exit(1);
}

static const bool never = false;

void test_run_until(const bool* flag) {
  uv_timer_t watchdog;
  uv_timer_init(test_loop, &watchdog);
  uv_timer_start(&watchdog, on_watchdog, 30000, 0);
  uv_unref((uv_handle_t*)&watchdog);
  while (!*flag && uv_run(test_loop, UV_RUN_ONCE) != 0) continue;
  uv_close((uv_handle_t*)&watchdog, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

void test_run(void) {
  test_run_until(&never);
}

/* ---- TLS ---- */

#undef uvws_connect
#undef uvws_server_init

bool test_has_tls(void) {
  return getenv("UVWS_TEST_TLS") != NULL;
}

const char* test_scheme(void) {
  return test_has_tls() ? "wss" : "ws";
}

const char* test_origin(void) {
  return test_has_tls() ? "https://127.0.0.1" : "http://127.0.0.1";
}

uint32_t test_handshake_ms(uint32_t ms) {
  return test_has_tls() ? ms + 500 : ms;
}

static const char* file_in(const char* name) {
  static char path[4][512];
  static unsigned n;
  n = (n + 1) % 4;
  snprintf(path[n], sizeof(path[n]), "%s/%s", getenv("UVWS_TEST_TLS"), name);
  return path[n];
}

static uvws_tls_t* server_tls;
static uvws_tls_t* client_tls;

static uint32_t tls_flags;
static uint32_t tls_max_version;
bool test_in_peer;

/* Both from the first use to the process's end. */
static void make_tls(void) {
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  uvws_tls_options_t options;
  if (server_tls != NULL) return;
  certificate.cert_file = file_in("localhost.crt");
  certificate.key_file = file_in("localhost.key");
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  assert_int_equal(uvws_tls_new(&server_tls, &options, NULL, 0), 0);
  uvws_tls_options_init(&options);
  options.ca_file = file_in("ca.crt");
  options.flags = tls_flags;
  options.max_version = tls_max_version;
  assert_int_equal(uvws_tls_new(&client_tls, &options, NULL, 0), 0);
}

void test_keep_nothing(void) {
  tls_flags = UVWS_TLS_NO_RESUMPTION;
  if (test_has_tls()) make_tls();
}

void test_limit_tls(void) {
  tls_max_version = UVWS_TLS_1_2;
}

const uvws_options_t* test_options(const uvws_options_t* from) {
  static uvws_options_t options;
  if (!test_has_tls()) return from;
  make_tls();
  uvws_options_init(&options);
  /* One whose size was not set is to be refused. */
  if (from != NULL && from->size < sizeof(options)) return from;
  if (from != NULL) options = *from;
  options.tls = client_tls;
  if (options.server_name == NULL) options.server_name = "localhost";
  return &options;
}

int test_connect(uvws_t* ws, const char* url, const uvws_options_t* options) {
  char secure[512];
  if (!test_has_tls() || url == NULL) return uvws_connect(ws, url, options);
  bool is_plain = strncmp(url, "ws:", 3) == 0;
  snprintf(secure, sizeof(secure), is_plain ? "wss%s" : "%s",
           is_plain ? url + 2 : url);
  return uvws_connect(ws, secure, test_options(options));
}

int test_server_init(uv_loop_t* loop, uvws_server_t* server,
                     const uvws_server_events_t* events,
                     const uvws_server_options_t* from) {
  uvws_server_options_t options;
  if (!test_has_tls() || (from != NULL && from->size < sizeof(options)))
    return uvws_server_init(loop, server, events, from);
  make_tls();
  uvws_server_options_init(&options);
  if (from != NULL) options = *from;
  options.tls = server_tls;
  return uvws_server_init(loop, server, events, &options);
}

/* ---- sockets that write down their events ---- */

static void append(char* log, size_t size, const char* format, ...) {
  size_t len = strlen(log);
  va_list args;
  va_start(args, format);
  if (len > 0 && len + 1 < size) log[len++] = ' ';
  vsnprintf(log + len, size - len, format, args);
  va_end(args);
}

static void on_open(uvws_t* ws) {
  peer_t* peer = (peer_t*)ws;
  peer->opened = true;
  append(peer->log, sizeof(peer->log), "open");
  if (peer->on_open != NULL) peer->on_open(peer);
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  peer_t* peer = (peer_t*)ws;
  peer->messages++;
  peer->bytes += message->len;
  if (message->type == UVWS_TEXT && message->len <= 40)
    append(peer->log, sizeof(peer->log), "text(%.*s)", (int)message->len,
           message->data);
  else
    append(peer->log, sizeof(peer->log), "%s(%zu)",
           message->type == UVWS_TEXT ? "text" : "binary", message->len);
  if (peer->on_message != NULL) peer->on_message(peer, message);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  peer_t* peer = (peer_t*)ws;
  append(peer->log, sizeof(peer->log), "error(%s)", uvws_err_name(status));
  snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
  if (peer->on_error != NULL) peer->on_error(peer);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  peer_t* peer = (peer_t*)ws;
  peer->closed = true;
  peer->status = event->status;
  append(peer->log, sizeof(peer->log), "close(%d%s%s%s)", event->code,
         event->was_clean ? " clean" : "", event->reason_len > 0 ? " " : "",
         event->reason);
  if (peer->on_close != NULL) peer->on_close(peer, event);
}

static void on_ping(uvws_t* ws, const void* data, size_t len) {
  peer_t* peer = (peer_t*)ws;
  append(peer->log, sizeof(peer->log), "ping(%.*s)", (int)len,
         (const char*)data);
  if (peer->on_ping != NULL) peer->on_ping(peer);
}

static void on_pong(uvws_t* ws, const void* data, size_t len, uint64_t rtt) {
  peer_t* peer = (peer_t*)ws;
  peer->rtt = rtt;
  append(peer->log, sizeof(peer->log), "pong(%.*s)", (int)len,
         (const char*)data);
  if (peer->on_pong != NULL) peer->on_pong(peer);
}

static void on_drain(uvws_t* ws) {
  peer_t* peer = (peer_t*)ws;
  if (peer->on_drain != NULL) peer->on_drain(peer);
}

const uvws_events_t peer_events = {UVWS_EVENTS_INIT,      .open = on_open,
                                   .message = on_message, .error = on_error,
                                   .close = on_close,     .ping = on_ping,
                                   .drain = on_drain,     .pong = on_pong};

void peer_init(peer_t* peer) {
  memset(peer, 0, sizeof(*peer));
  assert_int_equal(uvws_init(test_loop, &peer->ws, &peer_events), 0);
  assert_int_equal(uvws_set_binary_type(&peer->ws, UVWS_ARRAYBUFFER), 0);
}

void peer_connect(peer_t* peer, int port, const uvws_options_t* options) {
  char url[64];
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port);
  assert_int_equal(test_connect(&peer->ws, url, options), 0);
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CONNECTING);
}

void peer_close(peer_t* peer) {
  assert_int_equal(uvws_close(&peer->ws, 1000, NULL, 0), 0);
}

/* ---- a server ---- */

static void on_accepted_message(peer_t* peer, const uvws_message_t* message) {
  assert_int_equal(
      uvws_send(&peer->ws, message->data, message->len, message->type), 0);
}

static void on_accepted_close(peer_t* peer, const uvws_close_event_t* event) {
  server_t* server = peer->data;
  (void)event;
  server->gone++;
  if (server->gone == server->stop_after) uvws_server_close(&server->server, 0);
}

peer_t* server_accept(server_t* server, uvws_request_t* request) {
  uvws_accept_options_t options;
  assert_true(server->accepted < COUNT_OF(server->peers));
  peer_t* peer = &server->peers[server->accepted++];
  peer_init(peer);
  peer->data = server;
  peer->on_close = on_accepted_close;
  if (server->echo) peer->on_message = on_accepted_message;
  if (server->on_accept != NULL) server->on_accept(server, peer);
  uvws_accept_options_init(&options);
  options.protocol = uvws_request_protocol(request, 0);
  assert_int_equal(uvws_accept(request, &peer->ws, &options), 0);
  return peer;
}

static void on_request(uvws_server_t* handle, uvws_request_t* request) {
  server_t* server = (server_t*)handle;
  append(server->log, sizeof(server->log), "request(%s)",
         uvws_request_target(request));
  if (server->on_request != NULL)
    server->on_request(server, request);
  else
    server_accept(server, request);
}

static void on_abort(uvws_server_t* handle, uvws_request_t* request,
                     int status) {
  server_t* server = (server_t*)handle;
  (void)request;
  append(server->log, sizeof(server->log), "abort(%s)", uvws_err_name(status));
  if (server->close_in_abort) uvws_server_close(&server->server, 0);
}

static void on_server_error(uvws_server_t* handle, int status) {
  server_t* server = (server_t*)handle;
  append(server->log, sizeof(server->log), "error(%s)", uvws_err_name(status));
}

static void on_server_close(uvws_server_t* handle) {
  server_t* server = (server_t*)handle;
  server->closed = true;
  append(server->log, sizeof(server->log), "close");
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .abort = on_abort,
    .error = on_server_error, .close = on_server_close};

void server_start(server_t* server, const uvws_server_options_t* options) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  memset(server, 0, sizeof(*server));
  assert_int_equal(
      test_server_init(test_loop, &server->server, &server_events, options), 0);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(
      uvws_listen(&server->server, (const struct sockaddr*)&addr, 0, 128), 0);
  assert_int_equal(
      uvws_server_getsockname(&server->server, (struct sockaddr*)&addr, &len),
      0);
  server->port = ntohs(addr.sin_port);
}

/* ---- a raw TCP peer ---- */

static void on_raw_closed(uv_handle_t* handle) {
  raw_t* raw = handle->data;
  raw->closed = true;
  uvws__tls_free(raw->tls);
  raw->tls = NULL;
  if (raw->tls_result != NULL) uvws__tls_result_clear(raw->tls_result);
  free(raw->tls_result);
  raw->tls_result = NULL;
}

void raw_close(raw_t* raw) {
  if (raw->is_server && !uv_is_closing((uv_handle_t*)&raw->listener))
    uv_close((uv_handle_t*)&raw->listener, NULL);
  if (raw->connected && !uv_is_closing((uv_handle_t*)&raw->tcp))
    uv_close((uv_handle_t*)&raw->tcp, on_raw_closed);
}

void raw_free(raw_t* raw) {
  free(raw->in);
  free(raw->frames);
  raw->in = NULL;
  raw->frames = NULL;
}

static void on_raw_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  static char buffer[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, sizeof(buffer));
}

static void on_raw_written(uv_write_t* write, int status) {
  (void)status;
  free(write);
}

void raw_inject(raw_t* raw, const void* bytes, size_t len) {
  uv_write_t* write = malloc(sizeof(*write) + len);
  assert_non_null(write);
  memcpy(write + 1, bytes, len);
  uv_buf_t buf = uv_buf_init((char*)(write + 1), (unsigned)len);
  assert_int_equal(
      uv_write(write, (uv_stream_t*)&raw->tcp, &buf, 1, on_raw_written), 0);
}

static int on_raw_ciphertext(void* owner, const uint8_t* data, size_t len) {
  raw_inject(owner, data, len);
  return (int)len;
}

static void begin_tls(raw_t* raw) {
  raw->tls_result = calloc(1, sizeof(uvws__tls_result_t));
  assert_non_null(raw->tls_result);
  uvws__tls_peer_t peer = {.is_server = raw->is_server,
                           .host = "localhost",
                           .send = on_raw_ciphertext,
                           .owner = raw};
  make_tls();
  test_in_peer = true;
  raw->tls = uvws__tls_new(raw->is_server ? server_tls : client_tls, &peer,
                           raw->tls_result);
  test_in_peer = false;
  assert_non_null(raw->tls);
}

void raw_send(raw_t* raw, const void* bytes, size_t len) {
  const uint8_t* at = bytes;
  if (raw->tls == NULL) {
    raw_inject(raw, bytes, len);
    return;
  }
  while (len > 0) {
    int n = uvws__tls_write(raw->tls, at, len);
    assert_true(n > 0);
    at += n;
    len -= (size_t)n;
  }
}

void raw_reset(raw_t* raw) {
  if (uv_is_closing((uv_handle_t*)&raw->tcp)) return;
  if (raw->is_server && !uv_is_closing((uv_handle_t*)&raw->listener))
    uv_close((uv_handle_t*)&raw->listener, NULL);
  assert_int_equal(uv_tcp_close_reset(&raw->tcp, on_raw_closed), 0);
}

void raw_shutdown(raw_t* raw) {
  if (raw->tls != NULL) assert_int_equal(uvws__tls_close(raw->tls), 0);
  uv_shutdown(&raw->shutdown, (uv_stream_t*)&raw->tcp, NULL);
}

static void on_raw_written_then(uv_write_t* write, int status) {
  raw_t* raw = write->data;
  if (status != 0 || uv_is_closing((uv_handle_t*)&raw->tcp)) return;
  if (raw->then == RAW_FIN)
    raw_shutdown(raw);
  else if (raw->then == RAW_RESET && raw->in_len >= raw->reset_after)
    raw_reset(raw);
}

/* The head and the bytes in one write. */
static void raw_speak(raw_t* raw, const char* head) {
  uv_buf_t bufs[2] = {uv_buf_init((char*)head, (unsigned)strlen(head)),
                      uv_buf_init((char*)raw->bytes, (unsigned)raw->len)};
  raw->write.data = raw;
  /* libuv copies the list, and tries at once; what is left must stay. */
  static char kept[1024];
  snprintf(kept, sizeof(kept), "%s", head);
  bufs[0].base = kept;
  if (raw->tls != NULL) {
    raw_send(raw, head, strlen(head));
    raw_send(raw, raw->bytes, raw->len);
    bufs[0].len = raw->len = 0; /* for its callback */
  }
  assert_int_equal(uv_write(&raw->write, (uv_stream_t*)&raw->tcp, bufs,
                            raw->len > 0 ? 2 : 1, on_raw_written_then),
                   0);
}

static void raw_answer(raw_t* raw) {
  char head[512];
  char key[32] = "";
  char accept[UVWS__ACCEPT_SIZE];
  const char* found = strstr(raw->in, "Sec-WebSocket-Key: ");
  assert_non_null(found);
  sscanf(found + strlen("Sec-WebSocket-Key: "), "%31s", key);
  uvws__accept_key(key, accept);
  snprintf(head, sizeof(head),
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
           accept, raw->more != NULL ? raw->more : "");
  raw_speak(raw, raw->head != NULL ? raw->head : head);
}

static void on_raw_bytes(raw_t* raw, const void* bytes, size_t n) {
  if (raw->in_len + n + 1 > raw->in_capacity) {
    raw->in_capacity = 2 * (raw->in_len + n + 1);
    raw->in = realloc(raw->in, raw->in_capacity);
    assert_non_null(raw->in);
  }
  memcpy(raw->in + raw->in_len, bytes, n);
  raw->in_len += n;
  raw->in[raw->in_len] = '\0';
  if (!raw->upgraded && strstr(raw->in, "\r\n\r\n") != NULL) {
    raw->upgraded = true;
    if (raw->is_server) raw_answer(raw);
    if (raw->then == RAW_DEAF) uv_read_stop((uv_stream_t*)&raw->tcp);
  }
  if (raw->then == RAW_RESET && raw->in_len >= raw->reset_after &&
      raw->upgraded)
    raw_reset(raw);
  else if (raw->on_data != NULL)
    raw->on_data(raw);
}

static void raw_speak_first(raw_t* raw);

static void on_raw_ended(raw_t* raw, ssize_t status) {
  raw->saw_eof = status == UV_EOF;
  raw->saw_reset = status == UV_ECONNRESET;
  if (raw->on_end != NULL) raw->on_end(raw);
  raw_close(raw);
}

static int shake_hands(raw_t* raw) {
  test_in_peer = true;
  int status = uvws__tls_handshake(raw->tls);
  test_in_peer = false;
  return status;
}

/* A peer whose TLS fails hangs up. */
static void on_raw_secured(raw_t* raw, const void* bytes, size_t len) {
  static uint8_t plain[65536];
  int n = 0;
  uvws__tls_feed(raw->tls, bytes, len);
  if (!raw->is_secure) {
    n = shake_hands(raw);
    raw->is_secure = n == 0;
    if (raw->is_secure && !raw->is_server) raw_speak_first(raw);
  }
  while (raw->is_secure && raw->tls != NULL &&
         !uv_is_closing((uv_handle_t*)&raw->tcp)) {
    n = uvws__tls_read(raw->tls, plain, sizeof(plain));
    if (n < 0) break;
    on_raw_bytes(raw, plain, (size_t)n);
  }
  /* Whatever it forgets must not have counted. */
  if (raw->tls != NULL) uvws__tls_rest(raw->tls);
  if (n == UVWS__TLS_FAILED) on_raw_ended(raw, UV_EPROTO);
}

static void on_raw_read(uv_stream_t* handle, ssize_t n, const uv_buf_t* buf) {
  raw_t* raw = handle->data;
  if (n < 0)
    on_raw_ended(raw, n);
  else if (raw->tls != NULL)
    on_raw_secured(raw, buf->base, (size_t)n);
  else
    on_raw_bytes(raw, buf->base, (size_t)n);
}

void raw_listen_up(raw_t* raw) {
  assert_int_equal(
      uv_read_start((uv_stream_t*)&raw->tcp, on_raw_alloc, on_raw_read), 0);
}

static void raw_begin(raw_t* raw) {
  raw->connected = true;
  if (test_has_tls()) begin_tls(raw);
  raw_listen_up(raw);
}

static void on_raw_connection(uv_stream_t* listener, int status) {
  raw_t* raw = listener->data;
  assert_int_equal(status, 0);
  uv_tcp_init(test_loop, &raw->tcp);
  raw->tcp.data = raw;
  assert_int_equal(uv_accept(listener, (uv_stream_t*)&raw->tcp), 0);
  uv_close((uv_handle_t*)listener, NULL);
  raw_begin(raw);
}

void raw_serve(raw_t* raw) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  raw->is_server = true;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(test_loop, &raw->listener);
  raw->listener.data = raw;
  uv_tcp_bind(&raw->listener, (const struct sockaddr*)&addr, 0);
  assert_int_equal(
      uv_listen((uv_stream_t*)&raw->listener, 1, on_raw_connection), 0);
  uv_tcp_getsockname(&raw->listener, (struct sockaddr*)&addr, &len);
  raw->port = ntohs(addr.sin_port);
}

static void raw_speak_first(raw_t* raw) {
  char head[512];
  snprintf(head, sizeof(head),
           "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
           "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
           raw->more != NULL ? raw->more : "");
  raw_speak(raw, raw->head != NULL ? raw->head : head);
}

static void on_raw_connect(uv_connect_t* connect, int status) {
  raw_t* raw = connect->data;
  assert_int_equal(status, 0);
  raw_begin(raw);
  if (raw->tls == NULL)
    raw_speak_first(raw);
  else
    assert_int_equal(shake_hands(raw), UVWS__TLS_AGAIN);
}

void raw_dial(raw_t* raw, int port) {
  struct sockaddr_in addr;
  uv_ip4_addr("127.0.0.1", port, &addr);
  uv_tcp_init(test_loop, &raw->tcp);
  raw->tcp.data = raw;
  raw->connect.data = raw;
  assert_int_equal(
      uv_tcp_connect(&raw->connect, &raw->tcp, (const struct sockaddr*)&addr,
                     on_raw_connect),
      0);
}

int raw_frame(raw_t* raw, unsigned index, const uint8_t** payload,
              size_t* len) {
  /* The parser unmasks in place, so it gets a copy. */
  const char* end = raw->in == NULL ? NULL : strstr(raw->in, "\r\n\r\n");
  uvws__parser_t parser;
  uvws__failure_t failure;
  uint8_t* part;
  size_t part_len;
  if (end == NULL) return -1;
  size_t left = raw->in_len - (size_t)(end + 4 - raw->in);
  free(raw->frames);
  raw->frames = malloc(left + 1);
  assert_non_null(raw->frames);
  memcpy(raw->frames, end + 4, left);
  uint8_t* at = raw->frames;
  uvws__parser_init(&parser, raw->is_server ? UVWS__SERVER : UVWS__CLIENT);
  for (;;) {
    switch (uvws__parse(&parser, &at, &left, &part, &part_len, &failure)) {
      case UVWS__PARSED_HEADER: break;
      case UVWS__PARSED_PAYLOAD:
        uvws__unmask(&parser, part, part_len);
        if (parser.in_payload) break;
        if (index-- > 0) break;
        *payload = part;
        *len = part_len;
        return parser.opcode;
      default: return -1;
    }
  }
}

int raw_close_code(raw_t* raw) {
  const uint8_t* payload = NULL;
  size_t len = 0;
  int opcode;
  for (unsigned i = 0; (opcode = raw_frame(raw, i, &payload, &len)) >= 0; i++)
    if (opcode == UVWS__OP_CLOSE)
      return len < 2 ? 1005 : payload[0] << 8 | payload[1];
  return 0;
}

size_t make_frame(uint8_t* out, unsigned first_byte, const void* payload,
                  size_t len, bool mask) {
  static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
  size_t size = uvws__frame_header_write(out, 0, len, mask ? key : NULL);
  out[0] = (uint8_t)first_byte;
  if (len > 0) memcpy(out + size, payload, len);
  for (size_t i = 0; mask && i < len; i++) out[size + i] ^= key[i & 3];
  return size + len;
}
