/* An HTTP server that knows nothing of WebSocket: libuv and llhttp serve one
 * page. The connections of requests that ask for an upgrade go to a
 * uvws_server_t, which listens nowhere itself, and come back as an echo.
 *
 *   http-server [PORT]
 *
 * Port 0 takes a free one. To stay short the HTTP in here has no deadlines; the
 * WebSockets have all of theirs. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llhttp.h>
#include <uvws.h>

static const char page[] =
    "<!doctype html>\n"
    "<title>uvws</title>\n"
    "<pre>connecting\n</pre>\n"
    "<script>\n"
    "  const pre = document.querySelector('pre');\n"
    "  const socket = new WebSocket('ws://' + location.host + '/echo');\n"
    "  socket.onopen = () => socket.send('hello');\n"
    "  socket.onmessage = (event) => pre.append(event.data + '\\n');\n"
    "  socket.onclose = (event) => pre.append('closed: ' + event.code);\n"
    "</script>\n";

static uvws_server_t websockets;

static void die(const char* what, int status) {
  fprintf(stderr, "http-server: %s: %s\n", what, uvws_strerror(status));
  exit(1);
}

/* ---- WebSocket: an echo ---- */

static void on_open(uvws_t* ws) {
  printf("open %s\n", uvws_url(ws));
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  /* An echo that cannot be sent must not be silently missing. */
  if (uvws_send(ws, message->data, message->len, message->type) != 0)
    uvws_terminate(ws);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)event;
  free(ws);
}

static const uvws_events_t socket_events = {UVWS_EVENTS_INIT, .open = on_open,
                                            .message = on_message,
                                            .close = on_close};

static void on_request(uvws_server_t* server, uvws_request_t* request) {
  uvws_t* ws = malloc(sizeof(*ws));
  if (ws == NULL) die("request", UV_ENOMEM);
  uvws_init(server->loop, ws, &socket_events);
  uvws_set_binary_type(ws, UVWS_ARRAYBUFFER);
  if (uvws_accept(request, ws, NULL) != 0) {
    uvws_reject(request, 500, NULL, 0, NULL, 0);
    free(ws);
  }
}

static const uvws_server_events_t server_events = {UVWS_SERVER_EVENTS_INIT,
                                                   .request = on_request};

/* ---- HTTP: a connection and the request that is being read ---- */

/* `in` keeps the request as it came, since that is what is handed over. The
 * stream has memory of its own: as a WebSocket's it goes on without the
 * rest. */
typedef struct client_s {
  uv_tcp_t* tcp;
  uv_write_t write;
  llhttp_t parser;
  const char* target; /* in `in` */
  size_t target_len;
  bool keep_alive;
  char head[256];
  char in[16 * 1024];
  size_t len;
} client_t;

static llhttp_settings_t settings;

/* A target that came in several parts stands in one piece all the same. */
static int on_target(llhttp_t* parser, const char* at, size_t len) {
  client_t* client = parser->data;
  if (client->target_len == 0) client->target = at;
  client->target_len += len;
  return HPE_OK;
}

/* What comes behind a request waits: for its answer, or with it for uvws. */
static int on_complete(llhttp_t* parser) {
  client_t* client = parser->data;
  client->keep_alive = llhttp_should_keep_alive(parser);
  return HPE_PAUSED;
}

static void on_closed(uv_handle_t* handle) {
  free(handle->data);
  free(handle);
}

static void hang_up(client_t* client) {
  uv_handle_t* handle = (uv_handle_t*)client->tcp;
  if (!uv_is_closing(handle)) uv_close(handle, on_closed);
}

/* ---- HTTP: the answer ---- */

static void read_on(client_t* client);
static void parse(client_t* client, size_t from);

static void next_request(client_t* client, size_t used) {
  client->len -= used;
  memmove(client->in, client->in + used, client->len);
  llhttp_reset(&client->parser);
  client->target_len = 0;
  read_on(client);
  parse(client, 0);
}

static void on_written(uv_write_t* write, int status) {
  client_t* client = write->data;
  const char* end = llhttp_get_error_pos(&client->parser);
  if (status == 0 && client->keep_alive)
    next_request(client, (size_t)(end - client->in));
  else
    hang_up(client);
}

static void respond(client_t* client, const char* status, const char* type,
                    const char* body) {
  int len = snprintf(client->head, sizeof(client->head),
                     "HTTP/1.1 %s\r\n"
                     "Content-Type: %s\r\n"
                     "Content-Length: %zu\r\n"
                     "Connection: %s\r\n\r\n",
                     status, type, strlen(body),
                     client->keep_alive ? "keep-alive" : "close");
  uv_buf_t bufs[2] = {uv_buf_init(client->head, (unsigned)len),
                      uv_buf_init((char*)body, (unsigned)strlen(body))};
  unsigned n = llhttp_get_method(&client->parser) == HTTP_HEAD ? 1 : 2;
  client->write.data = client;
  if (uv_write(&client->write, (uv_stream_t*)client->tcp, bufs, n,
               on_written) != 0)
    hang_up(client);
}

static void answer(client_t* client) {
  if (client->target_len == 1 && client->target[0] == '/')
    respond(client, "200 OK", "text/html; charset=utf-8", page);
  else
    respond(client, "404 Not Found", "text/plain", "There is only one page.");
}

static void refuse(client_t* client, const char* status) {
  client->keep_alive = false;
  respond(client, status, "text/plain", status);
}

/* ---- From HTTP to WebSocket ---- */

static void on_release(uv_stream_t* stream) {
  free(stream);
}

/* uvws reads the request for itself, with whatever came behind it, and copies
 * both. From now on it is uvws that answers, a wrong upgrade too, and that
 * closes; all that is left to us is the memory of the stream. */
static void hand_over(client_t* client) {
  if (uvws_server_adopt(&websockets, (uv_stream_t*)client->tcp, client->in,
                        client->len, on_release) == 0)
    free(client);
  else
    refuse(client, "503 Service Unavailable");
}

/* ---- HTTP: the request ---- */

/* Nothing is read while an answer is under way, so that a client cannot have
 * more of them wait, and nothing may be read from a stream that is handed
 * over. */
static void parse(client_t* client, size_t from) {
  llhttp_errno_t status =
      llhttp_execute(&client->parser, client->in + from, client->len - from);
  if (status == HPE_OK && client->len < sizeof(client->in)) return;
  uv_read_stop((uv_stream_t*)client->tcp);
  if (status == HPE_OK)
    refuse(client, "431 Request Header Fields Too Large");
  else if (status != HPE_PAUSED)
    refuse(client, "400 Bad Request");
  else if (llhttp_get_upgrade(&client->parser))
    hand_over(client);
  else
    answer(client);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  client_t* client = handle->data;
  (void)suggested;
  buf->base = client->in + client->len;
  buf->len = sizeof(client->in) - client->len;
}

static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  client_t* client = stream->data;
  size_t from = client->len;
  (void)buf;
  if (n < 0) {
    hang_up(client);
  } else {
    client->len += (size_t)n;
    parse(client, from);
  }
}

static void read_on(client_t* client) {
  uv_read_start((uv_stream_t*)client->tcp, on_alloc, on_read);
}

static void on_connection(uv_stream_t* listener, int status) {
  if (status != 0) return; /* libuv tries again */
  client_t* client = calloc(1, sizeof(*client));
  uv_tcp_t* tcp = malloc(sizeof(*tcp));
  if (client == NULL || tcp == NULL) die("accept", UV_ENOMEM);
  uv_tcp_init(listener->loop, tcp);
  tcp->data = client;
  client->tcp = tcp;
  llhttp_init(&client->parser, HTTP_REQUEST, &settings);
  client->parser.data = client;
  if (uv_accept(listener, (uv_stream_t*)tcp) == 0)
    read_on(client);
  else
    hang_up(client);
}

/* ---- The program ---- */

/* Of our handles the clients' alone have data. */
static void close_ours(uv_handle_t* handle, void* arg) {
  (void)arg;
  if (uvws_owns(handle) || uv_is_closing(handle)) return;
  uv_close(handle, handle->data == NULL ? NULL : on_closed);
}

/* The WebSockets have a second to say goodbye. Another signal finds no handle
 * and ends the process at once. */
static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  uvws_server_close(&websockets, 1000);
  uv_walk(signal->loop, close_ours, NULL);
}

static void listen_on(uv_tcp_t* listener, int port) {
  struct sockaddr_in address;
  struct sockaddr* name = (struct sockaddr*)&address;
  int len = sizeof(address);
  uv_ip4_addr("127.0.0.1", port, &address);
  int status = uv_tcp_bind(listener, name, 0);
  if (status == 0)
    status = uv_listen((uv_stream_t*)listener, 128, on_connection);
  if (status == 0) status = uv_tcp_getsockname(listener, name, &len);
  if (status != 0) die("listen", status);
  printf("listening on http://127.0.0.1:%d/\n", ntohs(address.sin_port));
}

int main(int argc, char** argv) {
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener = {.data = NULL};
  uv_signal_t signals[2] = {{.data = NULL}, {.data = NULL}};
  if (argc > 2) {
    fprintf(stderr, "usage: %s [PORT]\n", argv[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  llhttp_settings_init(&settings);
  settings.on_url = on_target;
  settings.on_message_complete = on_complete;
  int status = uvws_server_init(loop, &websockets, &server_events, NULL);
  if (status != 0) die("init", status);
  for (int i = 0; i < 2; i++) {
    uv_signal_init(loop, &signals[i]);
    uv_signal_start(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
  }
  uv_tcp_init(loop, &listener);
  listen_on(&listener, argc == 2 ? atoi(argv[1]) : 8080);
  return uv_run(loop, UV_RUN_DEFAULT);
}
