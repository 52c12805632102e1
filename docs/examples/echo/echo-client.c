/* A WebSocket client that sends back every message until the peer closes, for
 * each URL in turn.
 *
 *   echo-client [--max-message BYTES] [--max-fragments N] [--ca FILE]
 *               [--insecure] [--proxy URL] [--proxy-ca FILE]
 *               [--env-proxy yes] [--connect-timeout MS] [--deflate yes] URL...
 *
 * Of wss: URLs the certificate must be of an authority in FILE, or of one that
 * the system trusts, unless --insecure says that anybody will do. The way there
 * may lead through an http:, https: or socks5: proxy, which is given, or which
 * the environment names; --proxy-ca is for the certificate of an https: one. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deflate.h"

typedef struct client_s {
  uvws_options_t options;
  uvws_deflate_options_t deflate;
  char** urls; /* NULL at the end */
  bool unclean;
} client_t;

static void next_url(uvws_t* ws) {
  client_t* client = ws->data;
  while (*client->urls != NULL) {
    const char* url = *client->urls++;
    int status = uvws_connect(ws, url, &client->options);
    if (status == 0) return;
    fprintf(stderr, "echo-client: %s: %s\n", url, uvws_strerror(status));
    client->unclean = true;
  }
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  unsigned flags = message->type;
  if (message->type == UVWS_TEXT) flags |= UVWS_UTF8_CHECKED;
  /* An echo that cannot be sent must not be silently missing. */
  if (uvws_send(ws, message->data, message->len, flags) != 0)
    uvws_terminate(ws);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  fprintf(stderr, "echo-client: %s: %s (%s)\n", uvws_url(ws), reason,
          uvws_err_name(status));
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  client_t* client = ws->data;
  if (!event->was_clean) client->unclean = true;
  next_url(ws);
}

static const uvws_events_t events = {UVWS_EVENTS_INIT, .message = on_message,
                                     .error = on_error, .close = on_close};

static uvws_tls_t* make_tls(const uvws_tls_options_t* options) {
  uvws_tls_t* tls;
  char why[256];
  if (uvws_tls_new(&tls, options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "echo-client: %s\n", why);
  exit(1);
}

static void usage(const char* program) {
  fprintf(stderr,
          "usage: %s [--max-message BYTES] [--max-fragments N] [--ca FILE]"
          " [--insecure] [--proxy URL] [--proxy-ca FILE] [--env-proxy yes]"
          " [--connect-timeout MS] [--deflate yes] URL...\n",
          program);
  exit(2);
}

/* Returns the index of the first URL. */
static int parse(int argc, char** argv, client_t* client,
                 uvws_tls_options_t* tls, uvws_tls_options_t* proxy_tls) {
  uvws_options_t* options = &client->options;
  int i = 1;
  for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i++) {
    const char* name = argv[i];
    const char* value = argv[i + 1];
    if (strcmp(name, "--insecure") == 0) {
      tls->flags |= UVWS_TLS_INSECURE;
      continue;
    }
    i++;
    if (strcmp(name, "--max-message") == 0)
      options->max_message = strtoull(value, NULL, 10);
    else if (strcmp(name, "--max-fragments") == 0)
      options->max_fragments = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--ca") == 0)
      tls->ca_file = value;
    else if (strcmp(name, "--proxy") == 0)
      options->proxy = value;
    else if (strcmp(name, "--proxy-ca") == 0)
      proxy_tls->ca_file = value;
    else if (strcmp(name, "--env-proxy") == 0)
      options->flags |= UVWS_CONNECT_ENV_PROXY;
    else if (strcmp(name, "--connect-timeout") == 0)
      options->connect_timeout = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--deflate") == 0 &&
             read_deflate(value, &client->deflate))
      options->deflate = &client->deflate;
    else
      usage(argv[0]);
  }
  if (i >= argc) usage(argv[0]);
  return i;
}

int main(int argc, char** argv) {
  client_t client = {.unclean = false};
  uvws_tls_options_t tls, proxy_tls;
  uvws_t ws;
  uvws_options_init(&client.options);
  uvws_tls_options_init(&tls);
  uvws_tls_options_init(&proxy_tls);
  int i = parse(argc, argv, &client, &tls, &proxy_tls);
  client.urls = argv + i;
  client.options.tls = make_tls(&tls);
  if (proxy_tls.ca_file != NULL)
    client.options.proxy_tls = make_tls(&proxy_tls);
  signal(SIGPIPE, SIG_IGN);
  uvws_init(uv_default_loop(), &ws, &events);
  uvws_set_binary_type(&ws, UVWS_ARRAYBUFFER);
  ws.data = &client;
  next_url(&ws);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  uvws_tls_unref(client.options.tls);
  uvws_tls_unref(client.options.proxy_tls);
  return client.unclean;
}
