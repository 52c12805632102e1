#include "tls-peers.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- configurations ---- */

const char* tls_file(const char* name) {
  static char paths[16][512];
  static unsigned next;
  const char* directory = getenv("UVWS_TEST_CERTS");
  char* path = paths[next++ % COUNT_OF(paths)];
  if (directory == NULL) {
    print_error("UVWS_TEST_CERTS must name what tls/make-certificates made\n");
    _exit(1);
  }
  if (name == NULL) return "";
  snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
  return path;
}

void tls_read(const char* name, tls_bytes_t* bytes) {
  FILE* file = fopen(tls_file(name), "rb");
  assert_non_null(file);
  bytes->len = fread(bytes->bytes, 1, sizeof(bytes->bytes), file);
  fclose(file);
  assert_true(bytes->len > 0 && bytes->len < sizeof(bytes->bytes));
}

uvws_tls_t* tls_new(const uvws_tls_options_t* options) {
  uvws_tls_t* tls = NULL;
  char why[256];
  int status = uvws_tls_new(&tls, options, why, sizeof(why));
  if (status != 0) print_error("%s: %s\n", uvws_err_name(status), why);
  assert_int_equal(status, 0);
  assert_string_equal(why, "");
  return tls;
}

uvws_tls_t* tls_server_config(const char* cert, const char* key) {
  uvws_tls_certificate_t certificate = {
      .cert_file = tls_file(cert == NULL ? "good.crt" : cert),
      .key_file = tls_file(key == NULL ? "leaf.key" : key)};
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  return tls_new(&options);
}

uvws_tls_t* tls_client_config(const char* ca) {
  uvws_tls_options_t options;
  uvws_tls_options_init(&options);
  options.ca_file = tls_file(ca == NULL ? "ca.crt" : ca);
  return tls_new(&options);
}

bool tls_has_1_3(void) {
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  uvws_tls_options_init(&options);
  options.min_version = UVWS_TLS_1_3;
  if (uvws_tls_new(&tls, &options, NULL, 0) != 0) return false;
  uvws_tls_unref(tls);
  return true;
}

/* ---- running ---- */

static void on_watchdog(uv_timer_t* timer) {
  (void)timer;
  print_error("the loop did not come to where it should\n");
  _exit(1);
}

static void run_while(bool (*holds)(void*), void* arg) {
  uv_timer_t watchdog;
  uv_timer_init(test_loop, &watchdog);
  uv_timer_start(&watchdog, on_watchdog, 30000, 0);
  uv_unref((uv_handle_t*)&watchdog);
  while (holds(arg) && uv_run(test_loop, UV_RUN_ONCE) != 0) continue;
  uv_close((uv_handle_t*)&watchdog, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* ---- the server ---- */

static void on_request(uvws_server_t* handle, uvws_request_t* request) {
  tls_server_t* server = (tls_server_t*)handle;
  uvws_tls_info_t info;
  uvws_request_tls_info(request, &info);
  server->flags = info.flags;
  server->resumed = info.resumed;
  server->has_certificate = info.certificate.len > 0;
  snprintf(server->server_name, sizeof(server->server_name), "%s",
           info.server_name);
  /* Tests of many connections use the places again. */
  if (server->server.accepted == server->server.gone)
    server->server.accepted = server->server.gone = 0;
  if (server->server.on_request != NULL)
    server->server.on_request(&server->server, request);
  else
    server_accept(&server->server, request);
}

static void on_tls_error(uvws_server_t* handle, int status,
                         const char* reason) {
  tls_server_t* server = (tls_server_t*)handle;
  size_t len = strlen(server->errors);
  snprintf(server->errors + len, sizeof(server->errors) - len, "%s%s",
           len > 0 ? " " : "", uvws_err_name(status));
  snprintf(server->reason, sizeof(server->reason), "%s", reason);
}

static void on_server_close(uvws_server_t* handle) {
  ((tls_server_t*)handle)->server.closed = true;
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .close = on_server_close,
    .tls_error = on_tls_error};

void tls_server_start(tls_server_t* server, uvws_tls_t* tls,
                      const uvws_server_options_t* given) {
  uvws_server_options_t options;
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uvws_server_options_init(&options);
  if (given != NULL) options = *given;
  options.tls = tls;
  memset(server, 0, sizeof(*server));
  assert_int_equal(uvws_server_init(test_loop, &server->server.server,
                                    &server_events, &options),
                   0);
  uvws_tls_unref(tls);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  assert_int_equal(uvws_listen(&server->server.server,
                               (const struct sockaddr*)&addr, 0, 128),
                   0);
  assert_int_equal(uvws_server_getsockname(&server->server.server,
                                           (struct sockaddr*)&addr, &len),
                   0);
  server->server.port = ntohs(addr.sin_port);
}

static bool has_connections(void* arg) {
  tls_server_t* server = arg;
  return uvws_server_connections(&server->server.server) > 0;
}

void tls_server_quiet(tls_server_t* server) {
  run_while(has_connections, server);
}

void tls_server_stop(tls_server_t* server) {
  tls_server_quiet(server);
  uvws_server_close(&server->server.server, 0);
  test_run();
  assert_true(server->server.closed);
}

/* ---- the client ---- */

static void note(peer_t* peer, const uvws_close_event_t* event) {
  tls_seen_t* seen = peer->data;
  uvws_tls_info_t info;
  (void)event;
  uvws_tls_info(&peer->ws, &info);
  seen->flags = info.flags;
  seen->version = info.version;
  seen->error = info.error;
  seen->alert = info.alert;
  seen->resumed = info.resumed;
}

void tls_peer_init(peer_t* peer, tls_seen_t* seen) {
  peer_init(peer);
  memset(seen, 0, sizeof(*seen));
  peer->data = seen;
  peer->on_close = note;
}

void tls_connect_with(peer_t* peer, int port, const char* host,
                      const uvws_options_t* from) {
  uvws_options_t options = *from;
  char url[64];
  snprintf(url, sizeof(url), "wss://127.0.0.1:%d/", port);
  options.server_name = host;
  assert_int_equal(uvws_connect(&peer->ws, url, &options), 0);
}

void tls_connect(peer_t* peer, int port, const char* host, uvws_tls_t* tls) {
  uvws_options_t options;
  uvws_options_init(&options);
  options.tls = tls;
  tls_connect_with(peer, port, host, &options);
}

void tls_run_until_closed(peer_t* peer) {
  test_run_until(&peer->closed);
  assert_true(peer->closed);
}

bool tls_open_once(tls_server_t* server, uvws_tls_t* tls, const char* host) {
  tls_seen_t seen;
  peer_t peer;
  tls_peer_init(&peer, &seen);
  peer.on_open = peer_close;
  tls_connect(&peer, server->server.port, host, tls);
  tls_run_until_closed(&peer);
  tls_server_quiet(server);
  assert_string_equal(peer.log, "open close(1000 clean)");
  assert_int_equal(seen.flags, 0);
  assert_int_equal(seen.resumed, server->resumed);
  return seen.resumed;
}

/* ---- the relay ---- */

static void on_end_closed(uv_handle_t* handle) {
  relay_end_t* end = (relay_end_t*)handle;
  end->used = false;
  end->relay->open--;
}

static void close_end(relay_end_t* end) {
  if (end->used && !uv_is_closing((uv_handle_t*)&end->tcp))
    uv_close((uv_handle_t*)&end->tcp, on_end_closed);
}

static void reset_end(relay_end_t* end) {
  if (!end->used || uv_is_closing((uv_handle_t*)&end->tcp)) return;
  if (uv_tcp_close_reset(&end->tcp, on_end_closed) != 0) close_end(end);
}

/* Whoever has told its end and been told is closed; until then it is read, so
 * that no byte that nobody reads makes the FIN a reset. */
static void settle_end(relay_end_t* end) {
  if (end->ended && end->told) close_end(end);
}

static void on_shutdown(uv_shutdown_t* shutdown, int status) {
  relay_end_t* end = shutdown->data;
  (void)status;
  settle_end(end);
}

static void tell_end(relay_end_t* end) {
  if (!end->used || end->told || uv_is_closing((uv_handle_t*)&end->tcp)) return;
  end->told = true;
  end->shutdown.data = end;
  if (uv_shutdown(&end->shutdown, (uv_stream_t*)&end->tcp, on_shutdown) != 0)
    close_end(end);
}

static void pass_on(relay_end_t* to, const char* bytes, size_t len) {
  uv_buf_t buf = uv_buf_init((char*)bytes, (unsigned)len);
  if (len == 0 || !to->used || to->told ||
      uv_is_closing((uv_handle_t*)&to->tcp))
    return;
  /* The kernel takes what little there is, unless the other end is gone. */
  if (uv_try_write((uv_stream_t*)&to->tcp, &buf, 1) != (int)len) reset_end(to);
}

static void strike(relay_t* relay, relay_end_t* from, relay_end_t* to,
                   char* rest, size_t len) {
  relay->done = true;
  switch (relay->then) {
    case RELAY_END:
      tell_end(from);
      tell_end(to);
      break;
    case RELAY_HALF: tell_end(to); break;
    case RELAY_RESET:
      reset_end(from);
      reset_end(to);
      break;
    case RELAY_FLIP:
      *rest = (char)(*rest ^ (1 << relay->bit));
      pass_on(to, rest, len);
      break;
    default: break;
  }
}

static bool is_cut(const relay_t* relay, const relay_end_t* from) {
  if (!relay->done || relay->then == RELAY_FLIP) return false;
  return relay->then == RELAY_END || from == &relay->ends[relay->from];
}

static void on_end_read(uv_stream_t* handle, ssize_t n, const uv_buf_t* buf) {
  relay_end_t* from = (relay_end_t*)handle;
  relay_t* relay = from->relay;
  unsigned index = (unsigned)(from - relay->ends);
  relay_end_t* to = &relay->ends[1 - index];
  if (n < 0) {
    from->ended = true;
    uv_read_stop(handle);
    if (n != UV_EOF) {
      reset_end(to);
      close_end(from);
      return;
    }
    tell_end(to);
    settle_end(from);
    return;
  }
  uint64_t before = from->came;
  if (before + (uint64_t)n <= sizeof(from->begin))
    memcpy(from->begin + before, buf->base, (size_t)n);
  from->came += (uint64_t)n;
  if (is_cut(relay, from)) return;
  /* A flip needs the byte that it spoils. */
  uint64_t needed = relay->at + (relay->then == RELAY_FLIP);
  if (relay->then == RELAY_PASS || relay->done || index != relay->from ||
      from->came < needed) {
    pass_on(to, buf->base, (size_t)n);
    return;
  }
  size_t len = (size_t)(relay->at - before);
  pass_on(to, buf->base, len);
  strike(relay, from, to, buf->base + len, (size_t)n - len);
}

static void on_end_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  static char buffer[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(buffer, sizeof(buffer));
}

static void init_end(relay_t* relay, unsigned index) {
  relay_end_t* end = &relay->ends[index];
  memset(end, 0, sizeof(*end));
  uv_tcp_init(test_loop, &end->tcp);
  end->relay = relay;
  end->used = true;
  relay->open++;
}

static void on_relay_connect(uv_connect_t* connect, int status) {
  relay_t* relay = connect->data;
  if (status != 0) return;
  for (unsigned i = 0; i < 2; i++) {
    uv_stream_t* stream = (uv_stream_t*)&relay->ends[i].tcp;
    if (!uv_is_closing((uv_handle_t*)stream))
      uv_read_start(stream, on_end_alloc, on_end_read);
  }
  if (relay->then != RELAY_PASS && relay->then != RELAY_FLIP && relay->at == 0)
    strike(relay, &relay->ends[relay->from], &relay->ends[1 - relay->from],
           NULL, 0);
}

static void on_relay_connection(uv_stream_t* listener, int status) {
  relay_t* relay = listener->data;
  struct sockaddr_in addr;
  assert_int_equal(status, 0);
  assert_int_equal(relay->open, 0);
  init_end(relay, RELAY_CLIENT);
  init_end(relay, RELAY_SERVER);
  assert_int_equal(uv_accept(listener, (uv_stream_t*)&relay->ends[0].tcp), 0);
  uv_ip4_addr("127.0.0.1", relay->target, &addr);
  relay->connect.data = relay;
  assert_int_equal(
      uv_tcp_connect(&relay->connect, &relay->ends[1].tcp,
                     (const struct sockaddr*)&addr, on_relay_connect),
      0);
}

void relay_start(relay_t* relay, int target) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  memset(relay, 0, sizeof(*relay));
  relay->target = target;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(test_loop, &relay->listener);
  relay->listener.data = relay;
  uv_tcp_bind(&relay->listener, (const struct sockaddr*)&addr, 0);
  assert_int_equal(
      uv_listen((uv_stream_t*)&relay->listener, 16, on_relay_connection), 0);
  uv_tcp_getsockname(&relay->listener, (struct sockaddr*)&addr, &len);
  relay->port = ntohs(addr.sin_port);
}

static bool is_relaying(void* arg) {
  return ((relay_t*)arg)->open > 0;
}

void relay_set(relay_t* relay, unsigned from, uint64_t at, relay_then_t then) {
  run_while(is_relaying, relay);
  relay->from = from;
  relay->at = at;
  relay->then = then;
  relay->done = false;
}

void relay_strike(relay_t* relay, unsigned from, uint64_t more,
                  relay_then_t then) {
  relay->from = from;
  relay->at = relay->ends[from].came + more;
  relay->then = then;
  relay->done = false;
  if (more == 0 && then != RELAY_FLIP)
    strike(relay, &relay->ends[from], &relay->ends[1 - from], NULL, 0);
}

void relay_stop(relay_t* relay) {
  close_end(&relay->ends[0]);
  close_end(&relay->ends[1]);
  uv_close((uv_handle_t*)&relay->listener, NULL);
  uv_run(test_loop, UV_RUN_NOWAIT);
}

/* ---- tables ---- */

unsigned tls_wrong;

void tls_expect(bool holds, const char* name, const char* what) {
  if (holds) return;
  print_error("%s: not %s\n", name, what);
  tls_wrong++;
}

void tls_expect_log(const char* log, const char* expected, const char* name) {
  if (strcmp(log, expected) == 0) return;
  print_error("%s: \"%s\" and not \"%s\"\n", name, log, expected);
  tls_wrong++;
}

void tls_expect_text(const char* reason, const char* text, const char* name) {
  char kept[128];
  if (text == NULL) return;
  snprintf(kept, sizeof(kept), "%s", text);
  tls_expect(strstr(reason, kept) != NULL, name, text);
}

/* ---- OpenSSL ---- */

static void on_openssl_exit(uv_process_t* process, int64_t status,
                            int signal_number) {
  openssl_t* openssl = (openssl_t*)process;
  (void)status;
  (void)signal_number;
  openssl->is_gone = true;
  uv_close((uv_handle_t*)process, NULL);
  if (!uv_is_closing((uv_handle_t*)&openssl->in))
    uv_close((uv_handle_t*)&openssl->in, NULL);
}

static void on_said(uv_stream_t* out, ssize_t n, const uv_buf_t* buf) {
  openssl_t* openssl = out->data;
  (void)buf;
  if (n < 0) {
    openssl->exited = true;
    openssl->said = true;
    uv_close((uv_handle_t*)out, NULL);
    return;
  }
  /* What s_client prints may hold anything; a NUL would hide the rest. */
  for (ssize_t i = 0; i < n; i++)
    if (openssl->text[openssl->len + (size_t)i] == '\0')
      openssl->text[openssl->len + (size_t)i] = '?';
  openssl->len += (size_t)n;
  openssl->text[openssl->len] = '\0';
  if (openssl->awaited != NULL &&
      strstr(openssl->text, openssl->awaited) != NULL)
    openssl->said = true;
}

static void on_out_alloc(uv_handle_t* out, size_t suggested, uv_buf_t* buf) {
  openssl_t* openssl = out->data;
  (void)suggested;
  *buf = uv_buf_init(openssl->text + openssl->len,
                     (unsigned)(sizeof(openssl->text) - openssl->len - 1));
}

enum { ARGS_MAX = 48 };

static void spawn(openssl_t* openssl, const char* first, const char* args) {
  char words[2048];
  char* argv[ARGS_MAX] = {(char*)"openssl"};
  char* save = NULL;
  unsigned n = 1;
  snprintf(words, sizeof(words), "%s %s", first, args);
  for (char* word = strtok_r(words, " ", &save);
       word != NULL && n < ARGS_MAX - 1; word = strtok_r(NULL, " ", &save))
    argv[n++] = word[0] == '@' ? (char*)tls_file(word + 1) : word;
  uv_stdio_container_t stdio[3] = {
      {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE),
       .data.stream = (uv_stream_t*)&openssl->in},
      {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE),
       .data.stream = (uv_stream_t*)&openssl->out},
      {.flags = UV_IGNORE}};
  uv_process_options_t options = {.exit_cb = on_openssl_exit,
                                  .file = "openssl",
                                  .args = argv,
                                  .stdio_count = 3,
                                  .stdio = stdio};
  memset(openssl, 0, sizeof(*openssl));
  uv_pipe_init(test_loop, &openssl->in, 0);
  uv_pipe_init(test_loop, &openssl->out, 0);
  openssl->out.data = openssl;
  assert_int_equal(uv_spawn(test_loop, &openssl->process, &options), 0);
  uv_read_start((uv_stream_t*)&openssl->out, on_out_alloc, on_said);
}

void openssl_await(openssl_t* openssl, const char* text) {
  openssl->awaited = text;
  openssl->said = openssl->exited || strstr(openssl->text, text) != NULL;
  test_run_until(&openssl->said);
}

static const char accepts[] = "ACCEPT 127.0.0.1:";

static bool is_not_listening(void* arg) {
  openssl_t* openssl = arg;
  const char* found = strstr(openssl->text, accepts);
  return !openssl->exited && (found == NULL || strchr(found, '\n') == NULL);
}

void openssl_serve(openssl_t* openssl, const char* args) {
  spawn(openssl, "s_server -accept 127.0.0.1:0 -naccept 1", args);
  run_while(is_not_listening, openssl);
  const char* found = strstr(openssl->text, accepts);
  if (found == NULL) print_error("%s\n", openssl->text);
  assert_non_null(found);
  openssl->port = atoi(found + strlen(accepts));
}

void openssl_dial(openssl_t* openssl, int port, const char* args) {
  char first[64];
  snprintf(first, sizeof(first), "s_client -connect 127.0.0.1:%d", port);
  spawn(openssl, first, args);
}

void openssl_type(openssl_t* openssl, const char* text) {
  uv_buf_t buf = uv_buf_init((char*)text, (unsigned)strlen(text));
  /* It may have ended already. */
  if (!openssl->is_gone)
    (void)uv_try_write((uv_stream_t*)&openssl->in, &buf, 1);
}

void openssl_stop(openssl_t* openssl) {
  if (!openssl->is_gone) uv_process_kill(&openssl->process, SIGTERM);
  test_run_until(&openssl->exited);
  test_run_until(&openssl->is_gone);
}
