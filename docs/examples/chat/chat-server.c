/* A chat room. Whoever connects to ws://127.0.0.1:PORT/?nick=NAME hears what
 * the others say, one line in each text message.
 *
 *   chat-server [--cert FILE --key FILE] [PORT]
 *
 * The port is 8080 unless given; 0 takes a free one. With a certificate and its
 * key the room is at wss://127.0.0.1:PORT/. */
#include <ctype.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

enum {
  MAX_NICK = 32,
  MAX_TEXT = 4 * 1024,
  MAX_QUEUE = 1024 * 1024, /* what may wait for a slow reader */
};

typedef struct member_s {
  uvws_t ws;
  struct member_s* next;
  bool joined;
  char nick[MAX_NICK + 1];
} member_t;

/* From the accepted request to the `close` event. Nothing below takes a member
 * off the list while another function walks it: events come from uv_run(), not
 * from inside a call of the library. */
static member_t* members;

static void die(const char* what, int status) {
  fprintf(stderr, "chat-server: %s: %s\n", what, uvws_strerror(status));
  exit(1);
}

/* Closes with a reason, or without when there is no memory for it. */
static void hang_up(uvws_t* ws, int code, const char* why) {
  if (uvws_close(ws, code, why, strlen(why)) != 0) uvws_terminate(ws);
}

/* Who misses a line must not stay: a slow reader's connection has then failed
 * by the high-water policy, anybody else's is cut off. */
static void send_line(member_t* to, uvws_blob_t* line) {
  int status = uvws_send_blob(&to->ws, line, UVWS_TEXT);
  if (status != 0 && status != UVWS_EUTF8 &&
      uvws_ready_state(&to->ws) == UVWS_OPEN)
    uvws_terminate(&to->ws);
}

/* One blob for everybody in the room but `except`. */
static bool broadcast(const member_t* except, const char* text, size_t len) {
  uvws_blob_t* line = uvws_blob_new(text, len);
  if (line == NULL) return false;
  for (member_t* to = members; to != NULL; to = to->next)
    if (to != except && uvws_ready_state(&to->ws) == UVWS_OPEN)
      send_line(to, line);
  uvws_blob_unref(line);
  return true;
}

static bool announce(const member_t* member, const char* what) {
  char line[MAX_NICK + 16];
  int len = snprintf(line, sizeof(line), "* %s %s", member->nick, what);
  return broadcast(NULL, line, (size_t)len);
}

static void on_open(uvws_t* ws) {
  member_t* member = ws->data;
  member->joined = announce(member, "joined");
  if (!member->joined) uvws_close(ws, 1011, NULL, 0);
}

/* A terminal shows its user what he types, so the sender is left out. */
static void on_message(uvws_t* ws, const uvws_message_t* message) {
  const member_t* member = ws->data;
  char line[MAX_NICK + 2 + MAX_TEXT];
  if (message->type == UVWS_BINARY) {
    hang_up(ws, 1003, "only text, please");
    return;
  }
  /* Text is not a C string: no NUL at its end, perhaps some within. The
   * server's max_message holds for its length. */
  size_t len = (size_t)snprintf(line, sizeof(line), "%s: ", member->nick);
  memcpy(line + len, message->data, message->len);
  /* What nobody heard must not be silently missing. */
  if (!broadcast(member, line, len + message->len)) uvws_terminate(ws);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)event;
  member_t* member = ws->data;
  member_t** link = &members;
  while (*link != member) link = &(*link)->next;
  *link = member->next;
  if (member->joined) announce(member, "left");
  free(member);
}

static const uvws_events_t member_events = {UVWS_EVENTS_INIT, .open = on_open,
                                            .message = on_message,
                                            .close = on_close};

/* Finds "nick=" in the query, which is encoded as a form's fields are. Whether
 * the nick is UTF-8 shows when its joining is announced. */
static bool read_nick(const char* target, char nick[MAX_NICK + 1]) {
  const char* at = strchr(target, '?');
  size_t len = 0;
  while (at != NULL && strncmp(at + 1, "nick=", 5) != 0)
    at = strchr(at + 1, '&');
  if (at == NULL) return false;
  for (at += strlen("?nick="); *at != '\0' && *at != '&'; at++) {
    unsigned c = *at == '+' ? ' ' : (unsigned char)*at;
    if (c == '%' && isxdigit((unsigned char)at[1]) &&
        isxdigit((unsigned char)at[2])) {
      sscanf(at + 1, "%2x", &c);
      at += 2;
    }
    if (c < ' ' || c == 0x7F || len == MAX_NICK) return false;
    nick[len++] = (char)c;
  }
  nick[len] = '\0';
  return len > 0 && uvws_is_utf8(nick, len);
}

static bool is_in_use(const char* nick) {
  const member_t* member = members;
  while (member != NULL && strcmp(member->nick, nick) != 0)
    member = member->next;
  return member != NULL;
}

static void refuse(uvws_request_t* request, int http_status, const char* why) {
  static const uvws_header_t type = {"Content-Type", "text/plain"};
  uvws_reject(request, http_status, &type, 1, why, strlen(why));
}

/* A request left undecided, here for want of memory, is answered 500. */
static void on_request(uvws_server_t* server, uvws_request_t* request) {
  uvws_accept_options_t options;
  char nick[MAX_NICK + 1] = "";
  if (!read_nick(uvws_request_target(request), nick)) {
    refuse(request, 400, "Come as ?nick=NAME, with 1 to 32 bytes of text.\n");
    return;
  }
  if (is_in_use(nick)) {
    refuse(request, 409, "The nick is in use.\n");
    return;
  }
  member_t* member = calloc(1, sizeof(*member));
  if (member == NULL) return;
  memcpy(member->nick, nick, sizeof(nick));
  member->ws.data = member;

  uvws_accept_options_init(&options);
  const char* offer;
  for (unsigned i = 0; (offer = uvws_request_protocol(request, i)); i++)
    if (strcmp(offer, "chat") == 0) options.protocol = offer;

  uvws_init(server->loop, &member->ws, &member_events);
  if (uvws_accept(request, &member->ws, &options) != 0) {
    free(member);
    return;
  }
  member->next = members;
  members = member;
}

static void on_error(uvws_server_t* server, int status) {
  (void)server;
  fprintf(stderr, "chat-server: accept: %s\n", uvws_strerror(status));
}

static void on_tls_error(uvws_server_t* server, int status,
                         const char* reason) {
  (void)server;
  (void)status;
  fprintf(stderr, "chat-server: %s\n", reason);
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .error = on_error,
    .tls_error = on_tls_error};

/* The first signal ends everything within two seconds, a second one at once. */
static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  uvws_server_close(signal->data, 2000);
  uv_close((uv_handle_t*)signal, NULL);
}

static uvws_tls_t* make_tls(const uvws_tls_certificate_t* certificate) {
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  char why[256];
  uvws_tls_options_init(&options);
  options.certificates = certificate;
  options.n_certificates = 1;
  if (uvws_tls_new(&tls, &options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "chat-server: %s\n", why);
  exit(1);
}

int main(int argc, char** argv) {
  uvws_server_options_t options;
  uvws_server_t server;
  uv_signal_t signals[2];
  struct sockaddr_in address;
  int len = sizeof(address);
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  char* end = "";
  int at = 1;
  for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
    if (strcmp(argv[at], "--cert") == 0)
      certificate.cert_file = argv[at + 1];
    else if (strcmp(argv[at], "--key") == 0)
      certificate.key_file = argv[at + 1];
    else
      break;
  }
  long port = at < argc ? strtol(argv[at], &end, 10) : 8080;
  if (argc > at + 1 || *end != '\0' || port < 0 || port > 65535) {
    fprintf(stderr, "usage: %s [--cert FILE --key FILE] [PORT]\n", argv[0]);
    return 2;
  }

  uv_loop_t* loop = uv_default_loop();
  signal(SIGPIPE, SIG_IGN);
  uvws_server_options_init(&options);
  options.max_message = MAX_TEXT; /* more is answered with close code 1009 */
  options.high_water = MAX_QUEUE; /* and a slower reader with 1008 */
  options.high_water_policy = UVWS_HIGH_WATER_CLOSE;
  bool is_secure = certificate.cert_file != NULL;
  if (is_secure) options.tls = make_tls(&certificate);
  int status = uvws_server_init(loop, &server, &server_events, &options);
  if (status != 0) die("init", status);
  uvws_tls_unref(options.tls);
  uv_ip4_addr("127.0.0.1", (int)port, &address);
  status = uvws_listen(&server, (const struct sockaddr*)&address, 0, 128);
  if (status != 0) die("listen", status);
  uvws_server_getsockname(&server, (struct sockaddr*)&address, &len);
  printf("listening on %s://127.0.0.1:%d/\n", is_secure ? "wss" : "ws",
         ntohs(address.sin_port));
  fflush(stdout);

  for (int i = 0; i < 2; i++) {
    uv_signal_init(loop, &signals[i]);
    uv_unref((uv_handle_t*)&signals[i]);
    signals[i].data = &server;
    uv_signal_start_oneshot(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
  }
  return uv_run(loop, UV_RUN_DEFAULT);
}
