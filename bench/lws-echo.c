/* An echo server by libwebsockets and OpenSSL, to stand beside ours.
 *
 *   lws-echo [CERT KEY]     prints "listening on 127.0.0.1:PORT"
 *
 * With TLS it speaks version 1.2, as ours does by mbedTLS 2.28. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>
#include <openssl/ssl.h>

typedef struct message_s {
  struct message_s* next;
  size_t len;
  bool binary;
  unsigned char bytes[]; /* LWS_PRE bytes for lws to write to come first */
} message_t;

/* libwebsockets keeps one of these for each connection. */
typedef struct session_s {
  message_t* under_way;
  message_t* first;
  message_t** end;
} session_t;

static void receive(struct lws* wsi, session_t* session, const void* in,
                    size_t len) {
  message_t* message = session->under_way;
  size_t had = message == NULL ? 0 : message->len;
  message = realloc(message, sizeof(*message) + LWS_PRE + had + len);
  if (message == NULL) abort();
  memcpy(message->bytes + LWS_PRE + had, in, len);
  message->len = had + len;
  message->binary = lws_frame_is_binary(wsi);
  message->next = NULL;
  session->under_way = message;
  if (!lws_is_final_fragment(wsi)) return;
  session->under_way = NULL;
  *session->end = message;
  session->end = &message->next;
  lws_callback_on_writable(wsi);
}

static message_t* take_first(session_t* session) {
  message_t* message = session->first;
  session->first = message->next;
  if (session->first == NULL) session->end = &session->first;
  return message;
}

static bool send_first(struct lws* wsi, session_t* session) {
  message_t* message = take_first(session);
  int written = lws_write(wsi, message->bytes + LWS_PRE, message->len,
                          message->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
  bool sent = written >= (int)message->len;
  free(message);
  return sent;
}

/* As many as the socket takes, not one for each turn of the loop. */
static int send_all(struct lws* wsi, session_t* session) {
  while (session->first != NULL && !lws_send_pipe_choked(wsi))
    if (!send_first(wsi, session)) return -1;
  if (session->first != NULL) lws_callback_on_writable(wsi);
  return 0;
}

static int on_event(struct lws* wsi, enum lws_callback_reasons event,
                    void* user, void* in, size_t len) {
  session_t* session = user;
  switch (event) {
    case LWS_CALLBACK_ESTABLISHED:
      memset(session, 0, sizeof(*session));
      session->end = &session->first;
      return 0;
    case LWS_CALLBACK_RECEIVE: receive(wsi, session, in, len); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return send_all(wsi, session);
    case LWS_CALLBACK_CLOSED:
      free(session->under_way);
      while (session->first != NULL) free(take_first(session));
      return 0;
    default: return 0;
  }
}

static const struct lws_protocols protocols[] = {
    {.name = "echo",
     .callback = on_event,
     .per_session_data_size = sizeof(session_t)},
    {.name = NULL}};

int main(int argc, char** argv) {
  struct lws_context_creation_info info = {.iface = "127.0.0.1",
                                           .protocols = protocols,
                                           .gid = (gid_t)-1,
                                           .uid = (uid_t)-1};
  /* By default it reads, and lets the kernel keep, 4 KiB at a time. */
  info.pt_serv_buf_size = 65536;
  /* With IPv6 it would not keep to the address, and listen on all. */
  info.options =
      LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DISABLE_IPV6;
  if (argc > 2) {
    info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.ssl_cert_filepath = argv[1];
    info.ssl_private_key_filepath = argv[2];
    info.ssl_options_set = (long)SSL_OP_NO_TLSv1_3;
  }
  lws_set_log_level(LLL_ERR, NULL);
  struct lws_context* context = lws_create_context(&info);
  if (context == NULL) return 1;
  struct lws_vhost* vhost = lws_create_vhost(context, &info);
  if (vhost == NULL) return 1;
  printf("listening on 127.0.0.1:%d\n", lws_get_vhost_listen_port(vhost));
  fflush(stdout);
  /* It ends with the signal that ends it. */
  while (lws_service(context, 0) >= 0) continue;
  lws_context_destroy(context);
  return 0;
}
