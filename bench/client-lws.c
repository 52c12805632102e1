/* libwebsockets' client for bench/client.
 *
 *   client-lws PORT echo|receive|send SIZE CONNECTIONS DEPTH text|binary
 *
 * It receives messages in parts, as libwebsockets has them, and checks text as
 * the others do. Runs until it is killed. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>

/* libwebsockets keeps one of these for each connection. */
typedef struct session_s {
  size_t owed;     /* messages to send */
  size_t received; /* of a message */
} session_t;

static bool echoes, sends;
static enum lws_write_protocol type;
static size_t size, depth;
static unsigned char *payload, *room; /* LWS_PRE bytes before it */

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "client-lws: %s\n", what);
  exit(1);
}

/* Masks what it is given where it lies, so it is a copy each time. */
static void send_one(struct lws* wsi) {
  memcpy(room + LWS_PRE, payload, size);
  check(lws_write(wsi, room + LWS_PRE, size, type) >= (int)size,
        "sending failed");
}

static void send_on(struct lws* wsi, session_t* session) {
  if (sends) session->owed = depth;
  while (session->owed > 0) {
    send_one(wsi);
    session->owed--;
    if (lws_send_pipe_choked(wsi)) break;
  }
  if (sends || session->owed > 0) lws_callback_on_writable(wsi);
}

static void receive(struct lws* wsi, session_t* session, size_t len) {
  session->received += len;
  if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0)
    return;
  check(session->received == size, "another message");
  session->received = 0;
  if (!echoes) return;
  session->owed++;
  lws_callback_on_writable(wsi);
}

static int on_event(struct lws* wsi, enum lws_callback_reasons event,
                    void* user, void* in, size_t len) {
  session_t* session = user;
  switch (event) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
      session->owed = echoes || sends ? depth : 0;
      session->received = 0;
      if (session->owed > 0) lws_callback_on_writable(wsi);
      return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: receive(wsi, session, len); return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE: send_on(wsi, session); return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
      check(false, in == NULL ? "no connection" : in);
      return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
      check(false, "the connection is lost");
      return 0;
    default: return 0;
  }
}

int main(int argc, char** argv) {
  static const struct lws_protocols protocols[] = {
      {.name = "bench",
       .callback = on_event,
       .per_session_data_size = sizeof(session_t),
       .rx_buffer_size = 64 * 1024},
      {.name = NULL}};
  struct lws_context_creation_info info = {
      .port = CONTEXT_PORT_NO_LISTEN,
      .protocols = protocols,
      .options = LWS_SERVER_OPTION_VALIDATE_UTF8,
      .pt_serv_buf_size = 64 * 1024, /* the size of its reads */
      .gid = (gid_t)-1,
      .uid = (uid_t)-1};
  check(argc == 7, "six arguments");
  echoes = strcmp(argv[2], "echo") == 0;
  sends = strcmp(argv[2], "send") == 0;
  size = strtoul(argv[3], NULL, 10);
  depth = strtoul(argv[5], NULL, 10);
  type = strcmp(argv[6], "text") == 0 ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
  payload = malloc(size);
  room = malloc(LWS_PRE + size);
  check(payload != NULL && room != NULL, "no memory");
  for (size_t i = 0; i < size; i++) payload[i] = (unsigned char)('a' + i % 23);
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context* context = lws_create_context(&info);
  check(context != NULL, "no context");
  struct lws_client_connect_info connect = {.context = context,
                                            .address = "127.0.0.1",
                                            .port = atoi(argv[1]),
                                            .path = "/",
                                            .host = "127.0.0.1",
                                            .local_protocol_name = "bench"};
  for (size_t n = strtoul(argv[4], NULL, 10); n > 0; n--)
    check(lws_client_connect_via_info(&connect) != NULL, "no connection");
  while (lws_service(context, 0) >= 0) continue;
  return 1;
}
