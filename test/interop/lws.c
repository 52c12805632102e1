/* libwebsockets, in either role, for one connection.
 *
 *   lws server PROTOCOL STEPS END...         prints its port
 *   lws client PROTOCOL STEPS END... PORT TARGET OFFERED
 *
 * PROTOCOL is the subprotocol that must be agreed on, OFFERED a list with
 * commas; either may be empty. STEPS is what to send, and to
 * hear of it, on the open connection: a name of `scripts` below. END is
 *
 *   close CODE REASON    ours, after the steps
 *   closed CODE REASON   theirs
 *   lost                 theirs, without a close frame
 *   die                  ours, by a signal
 *
 * With the environment's UVWS_TLS, a directory that cmake/ca has made, it is
 * over TLS, of no other version than UVWS_TLS_VERSION.
 *
 * The exit status tells whether all came as said. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>

#define MIB16   (16u << 20)
#define CONTROL 125

typedef enum { STOP, GO_ON, ECHO, PONG } after_t;

/* One frame, and what must come before the next: nothing, an echo of the whole
 * message, a pong. Without `data` it has `len` bytes of our making. */
typedef struct step_s {
  int how;
  size_t len;
  const char* data;
  after_t after;
} step_t;

enum {
  START = LWS_WRITE_TEXT | LWS_WRITE_NO_FIN,
  MIDDLE = LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN
};

#define END_STEPS \
  { 0, 0, NULL, STOP }

static const step_t none[] = {END_STEPS};
static const step_t one[] = {{LWS_WRITE_TEXT, 1, "x", ECHO}, END_STEPS};
static const step_t unanswered[] = {{LWS_WRITE_TEXT, 1, "x", GO_ON}, END_STEPS};

#define DATA(type)                                                       \
  {type, 0, NULL, ECHO}, {type, 1, NULL, ECHO}, {type, 125, NULL, ECHO}, \
      {type, 126, NULL, ECHO}, {type, 65535, NULL, ECHO},                \
      {type, 65536, NULL, ECHO}, {                                       \
    type, MIB16, NULL, ECHO                                              \
  }
static const step_t data[] = {DATA(LWS_WRITE_TEXT), DATA(LWS_WRITE_BINARY),
                              END_STEPS};

/* Cut inside the euro sign and the emoji. No empty ping: a server of lws 4.1
 * does not tell of an empty pong. */
static const step_t fragments[] = {
    {START, 2, "1\xe2", GO_ON},
    {LWS_WRITE_PING, 5, "first", PONG},
    {LWS_WRITE_PING, 1, "\0", PONG},
    {MIDDLE, 0, "", GO_ON},
    {MIDDLE, 3, "\x82\xac\xf0", GO_ON},
    {LWS_WRITE_PING, CONTROL, NULL, PONG},
    {LWS_WRITE_CONTINUATION, 4, "\x9f\x98\x80\x32", ECHO},
    END_STEPS};

static const struct {
  const char* name;
  const step_t* steps;
} scripts[] = {{"none", none},
               {"one", one},
               {"unanswered", unanswered},
               {"data", data},
               {"fragments", fragments}};

static struct {
  const step_t* step;
  char** end;
  const char* protocol; /* the one that must be in use */
  bool waiting;         /* for what step->after says */
  bool closing;         /* we began it */
  bool closed;
  bool peer_closed;
  bool binary;
  size_t sent_len, heard_len;
  unsigned char* sent; /* of the message under way */
  unsigned char* heard;
} self;

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "lws: %s\n", what);
  exit(1);
}

static bool ends_with(const char* how) {
  return strcmp(self.end[0], how) == 0;
}

/* No stretch of it looks like another; text is ASCII. */
static void make(unsigned char* bytes, size_t len, bool text) {
  for (size_t i = 0; i < len; i++) {
    size_t byte = i * 31 + (i >> 8) * 17 + (i >> 16) * 7;
    bytes[i] = (unsigned char)(text ? ' ' + byte % 95 : byte);
  }
}

/* A control frame's payload is `sent` too, but only until its pong: the bytes
 * of a message around it stay before it. */
static void write_frame(struct lws* wsi) {
  const step_t* step = self.step;
  int type = step->how & 0xf;
  unsigned char* buffer = malloc(LWS_PRE + step->len + 1);
  unsigned char* bytes = buffer + LWS_PRE;
  if (step->data == NULL)
    make(bytes, step->len, type == LWS_WRITE_TEXT);
  else
    memcpy(bytes, step->data, step->len);
  memcpy(self.sent + self.sent_len, bytes, step->len);
  self.sent_len += step->len;
  if (type != LWS_WRITE_CONTINUATION && type != LWS_WRITE_PING)
    self.binary = type == LWS_WRITE_BINARY;
  int written =
      lws_write(wsi, bytes, step->len, (enum lws_write_protocol)step->how);
  check(written >= (int)step->len, "lws_write");
  free(buffer);
  self.waiting = step->after != GO_ON;
  if (!self.waiting) self.step++;
}

static int act(struct lws* wsi) {
  if (self.waiting) return 0;
  if (self.step->after != STOP) {
    write_frame(wsi);
    lws_callback_on_writable(wsi);
    return 0;
  }
  if (ends_with("die")) raise(SIGKILL);
  if (!ends_with("close")) return 0;
  int code = atoi(self.end[1]);
  unsigned char reason[123];
  size_t len = strlen(self.end[2]);
  memcpy(reason, self.end[2], len);
  lws_close_reason(wsi, (enum lws_close_status)code, reason, len);
  self.closing = true;
  return -1;
}

static void go_on(struct lws* wsi) {
  self.waiting = false;
  self.step++;
  lws_callback_on_writable(wsi);
}

static void hear_message(struct lws* wsi, const void* in, size_t len) {
  check(self.waiting && self.step->after == ECHO, "a message unasked for");
  check(self.heard_len + len <= self.sent_len, "too much came back");
  memcpy(self.heard + self.heard_len, in, len);
  self.heard_len += len;
  if (!lws_is_final_fragment(wsi)) return;
  check(self.heard_len == self.sent_len, "too little came back");
  check(memcmp(self.heard, self.sent, self.sent_len) == 0, "it is changed");
  check(!!lws_frame_is_binary(wsi) == self.binary, "it is of the other type");
  self.heard_len = self.sent_len = 0;
  go_on(wsi);
}

static void hear_pong(struct lws* wsi, const void* in, size_t len) {
  check(self.waiting && self.step->after == PONG, "a pong unasked for");
  check(len == self.step->len, "a pong of another length");
  self.sent_len -= len;
  check(memcmp(in, self.sent + self.sent_len, len) == 0, "another pong");
  go_on(wsi);
}

static void hear_close(const unsigned char* in, size_t len) {
  check(ends_with("closed"), "a close frame unasked for");
  const char* reason = self.end[2];
  int code = len < 2 ? 1005 : in[0] << 8 | in[1];
  check(code == atoi(self.end[1]), "another close code");
  len -= len < 2 ? len : 2;
  check(len == strlen(reason) && memcmp(in + 2, reason, len) == 0,
        "another close reason");
  self.peer_closed = true;
}

static int on_event(struct lws* wsi, enum lws_callback_reasons event,
                    void* user, void* in, size_t len) {
  (void)user;
  switch (event) {
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      check(strcmp(lws_get_protocol(wsi)->name, self.protocol) == 0,
            "another protocol");
      lws_callback_on_writable(wsi);
      return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_CLIENT_WRITEABLE: return act(wsi);
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_CLIENT_RECEIVE: hear_message(wsi, in, len); return 0;
    case LWS_CALLBACK_RECEIVE_PONG:
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG: hear_pong(wsi, in, len); return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: hear_close(in, len); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      check(false, in == NULL ? "no connection" : in);
      return -1;
    case LWS_CALLBACK_CLOSED:
    case LWS_CALLBACK_CLIENT_CLOSED:
      check(self.peer_closed == ends_with("closed"), "no close frame");
      check(self.closing == ends_with("close"), "closed too early");
      self.closed = true;
      return 0;
    default: return 0;
  }
}

static struct lws_protocols protocols[] = {{.name = "", .callback = on_event},
                                           {.name = NULL}};

/* All others but the one, for OpenSSL would fall into the gap between two. */
static long unwanted_versions(void) {
  const char* version = getenv("UVWS_TLS_VERSION");
  if (version == NULL) return 0;
  bool is_1_2 = strcmp(version, "1.2") == 0;
  return (long)(SSL_OP_NO_SSL_MASK &
                ~(is_1_2 ? SSL_OP_NO_TLSv1_2 : SSL_OP_NO_TLSv1_3));
}

static void use_tls(struct lws_context_creation_info* info,
                    const char* directory) {
  static char ca[1024], cert[1024], key[1024]; /* lws keeps pointers */
  snprintf(ca, sizeof(ca), "%s/ca.crt", directory);
  snprintf(cert, sizeof(cert), "%s/localhost.crt", directory);
  snprintf(key, sizeof(key), "%s/localhost.key", directory);
  info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  info->alpn = "http/1.1";
  if (info->port == CONTEXT_PORT_NO_LISTEN) {
    info->client_ssl_ca_filepath = ca;
    info->ssl_client_options_set = unwanted_versions();
  } else {
    info->ssl_cert_filepath = cert;
    info->ssl_private_key_filepath = key;
    info->ssl_options_set = unwanted_versions();
  }
}

static void listen_once(struct lws_context* context,
                        struct lws_context_creation_info* info) {
  struct lws_vhost* vhost = lws_create_vhost(context, info);
  check(vhost != NULL, "lws_create_vhost");
  printf("%d\n", lws_get_vhost_listen_port(vhost));
  fflush(stdout);
}

static void dial(struct lws_context* context,
                 struct lws_context_creation_info* info, char** args) {
  struct lws_client_connect_info to = {.context = context};
  to.vhost = lws_create_vhost(context, info);
  check(to.vhost != NULL, "lws_create_vhost");
  to.port = atoi(args[0]);
  to.path = args[1];
  to.address = to.host = "127.0.0.1";
  to.origin = "http://127.0.0.1";
  to.alpn = info->alpn;
  if (to.alpn != NULL) {
    to.origin = "https://127.0.0.1";
    to.ssl_connection = LCCSCF_USE_SSL;
  }
  to.protocol = *args[2] == '\0' ? NULL : args[2];
  to.local_protocol_name = self.protocol;
  check(lws_client_connect_via_info(&to) != NULL, "no connection");
}

int main(int argc, char** argv) {
  check(argc >= 5, "the arguments?");
  bool client = strcmp(argv[1], "client") == 0;
  self.protocol = argv[2];
  for (size_t i = 0; i < sizeof(scripts) / sizeof(*scripts); i++)
    if (strcmp(scripts[i].name, argv[3]) == 0) self.step = scripts[i].steps;
  self.end = argv + 4;
  check(self.step != NULL, "the steps?");
  self.sent = malloc(MIB16 + CONTROL);
  self.heard = malloc(MIB16 + CONTROL);

  if (*self.protocol != '\0') protocols[0].name = self.protocol;
  struct lws_context_creation_info info = {
      .port = client ? CONTEXT_PORT_NO_LISTEN : 0,
      .iface = client ? NULL : "127.0.0.1",
      .protocols = protocols,
      /* Older ones would call the origin http: under TLS too. */
      .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                 LWS_SERVER_OPTION_JUST_USE_RAW_ORIGIN,
      .gid = (gid_t)-1,
      .uid = (uid_t)-1};
  const char* tls = getenv("UVWS_TLS");
  if (tls != NULL) use_tls(&info, tls);
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context* context = lws_create_context(&info);
  check(context != NULL, "lws_create_context");
  if (client)
    dial(context, &info, argv + argc - 3);
  else
    listen_once(context, &info);
  while (!self.closed && lws_service(context, 0) >= 0) continue;
  lws_context_destroy(context);
  free(self.sent);
  free(self.heard);
  check(self.closed, "lws_service");
  return 0;
}
