/* A terminal client of chat-server: sends each line of its input, prints each
 * line that comes, and leaves at the end of the input or at Ctrl-C. At a
 * terminal it comes back when its connection is lost, and keeps the line that
 * is being typed; from a file or a pipe it gives up then, as programs do whose
 * input nobody would type again.
 *
 *   chat [--ca FILE] [--insecure] [--proxy URL] [--proxy-ca FILE]
 *        [--env-proxy yes] URL NICK
 *
 * Of a wss: URL the certificate must be of an authority in FILE, or of one that
 * the system trusts, unless --insecure says that anybody will do. The way there
 * may lead through an http:, https: or socks5: proxy, which is given, or which
 * the environment names; --proxy-ca is for the certificate of an https: one. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>
#include <uvws/reconnect.h>

#include "line.h"

enum {
  STDIN = 0,
  MAX_LINE = LINE_MAX_BYTES, /* as the server has it; a longer one goes in
                                pieces */
  MAX_GHOST = 120 * 1000,    /* how long our own lost connection may still hold
                                our nick: the server's keepalive takes 90 s */
};

/* A line of the terminal's that the server is not known to have. */
typedef struct sent_s {
  struct sent_s* next;
  size_t len;
  char text[];
} sent_t;

typedef struct chat_s {
  uvws_reconnect_t reconnect;
  const char* url;
  bool joined;   /* once */
  bool was_open; /* this connection */
  bool is_leaving;
  bool failed;
  uint64_t lost_at; /* uv_now(), when joined and without a connection */
  char why[256];    /* the last connection ended so; "" for as it should */

  /* A terminal. */
  line_t line;
  sent_t* sent; /* the oldest */
  sent_t** last_sent;
  unsigned n_sent;
  unsigned n_pinged; /* the first so many, by the ping that is under way */

  /* Anything else. */
  union uv_any_handle input; /* of an unknown type until it is open */
  uv_fs_t file;              /* the read under way, when input is a file */
  size_t len;
  char text[MAX_LINE]; /* input that no newline has ended yet */
} chat_t;

static uvws_t* socket_of(chat_t* chat) {
  return &chat->reconnect.ws;
}

/* ---- To the terminal ---- */

/* A space for each control character, also for the two-byte ones from U+0080
 * on: nobody in the room shall command our terminal, or fake a line. */
static void put_text(FILE* to, const char* text, size_t len) {
  const unsigned char* at = (const unsigned char*)text;
  const unsigned char* end = at + len;
  for (; at < end; at++) {
    bool wide = *at == 0xC2 && at[1] < 0xA0;
    putc(wide || *at < ' ' || *at == 0x7F ? ' ' : *at, to);
    at += wide;
  }
}

/* A line of the room's, or "* what" and a text of our own. */
static int print_line(chat_t* chat, const char* what, const char* text,
                      size_t len) {
  line_hide(&chat->line);
  fputs(what, stdout);
  put_text(stdout, text, len);
  putchar('\n');
  int status = fflush(stdout) == 0 ? 0 : uv_translate_sys_error(errno);
  line_show(&chat->line);
  return status;
}

static void notice(chat_t* chat, const char* what, const char* text) {
  print_line(chat, what, text, strlen(text));
}

static void complain(chat_t* chat, const char* what, const char* why) {
  line_hide(&chat->line);
  fflush(stdout);
  fprintf(stderr, "chat: %s: ", what);
  put_text(stderr, why, strlen(why));
  putc('\n', stderr);
  line_show(&chat->line);
  chat->failed = true;
}

/* Says goodbye; asked again leaves without. The terminal is given back at once:
 * a goodbye may take a while. */
static void leave(chat_t* chat) {
  line_stop(&chat->line);
  if (chat->is_leaving)
    uvws_terminate(socket_of(chat));
  else
    uvws_reconnect_stop(&chat->reconnect);
  chat->is_leaving = true;
}

/* ---- From a terminal to the server ---- */

/* What a send accepts may still be lost on its way, and the room does not
 * answer. A pong does: whoever sends it has read all that came before its ping.
 * So one ping at a time runs behind the lines. */
static const char our_ping[] = "line"; /* the library has pings of its own */

static void ask_for_a_pong(chat_t* chat) {
  if (chat->n_pinged > 0 || chat->n_sent == 0) return;
  if (uvws_ping(socket_of(chat), our_ping, strlen(our_ping)) == 0)
    chat->n_pinged = chat->n_sent;
}

static void forget_first(chat_t* chat) {
  sent_t* first = chat->sent;
  chat->sent = first->next;
  if (chat->sent == NULL) chat->last_sent = &chat->sent;
  chat->n_sent--;
  free(first);
}

static void on_pong(uvws_t* ws, const void* data, size_t len, uint64_t rtt) {
  chat_t* chat = ws->data;
  (void)rtt;
  if (len != strlen(our_ping) || memcmp(data, our_ping, len) != 0) return;
  for (; chat->n_pinged > 0; chat->n_pinged--) forget_first(chat);
  ask_for_a_pong(chat);
}

static void tell_what_may_be_lost(chat_t* chat) {
  while (chat->sent != NULL) {
    print_line(chat, "* may not have arrived: ", chat->sent->text,
               chat->sent->len);
    forget_first(chat);
    chat->failed = true;
  }
  chat->n_pinged = 0;
}

/* The line stays, unless it is sent. */
static bool on_line(line_t* line, const char* text, size_t len) {
  chat_t* chat = line->data;
  if (uvws_ready_state(socket_of(chat)) != UVWS_OPEN) {
    notice(chat, "* not connected, the line waits", "");
    uvws_reconnect_now(&chat->reconnect);
    return false;
  }
  sent_t* sent = malloc(sizeof(*sent) + len);
  int status = sent == NULL ? UV_ENOMEM
                            : uvws_send(socket_of(chat), text, len, UVWS_TEXT);
  if (status != 0) {
    notice(chat, "* not sent: ", uvws_strerror(status));
    free(sent);
    return false;
  }
  *sent = (sent_t){.len = len};
  memcpy(sent->text, text, len);
  *chat->last_sent = sent;
  chat->last_sent = &sent->next;
  chat->n_sent++;
  ask_for_a_pong(chat);
  return true;
}

static void on_line_end(line_t* line, int status) {
  chat_t* chat = line->data;
  if (status != 0 && status != UV_EOF)
    complain(chat, "input", uvws_strerror(status));
  leave(chat);
}

/* ---- From any other input to the server ---- */

static void send_text(chat_t* chat, const char* text, size_t len) {
  if (len == 0) return;
  int status = uvws_send(socket_of(chat), text, len, UVWS_TEXT);
  if (status != 0) complain(chat, "a line is not sent", uvws_strerror(status));
}

/* Sends the whole lines that the buffer has. One that fills it all loses a
 * piece, up to the last character, which may not be whole yet. */
static void send_lines(chat_t* chat) {
  char* start = chat->text;
  char* end = start + chat->len;
  char* newline;
  while ((newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
    send_text(chat, start, (size_t)(newline - start));
    start = newline + 1;
  }
  if (end - start == MAX_LINE) {
    char* whole = end - 1;
    while (whole > end - 4 && (*whole & 0xC0) == 0x80) whole--;
    send_text(chat, start, (size_t)(whole - start));
    start = whole;
  }
  chat->len = (size_t)(end - start);
  memmove(chat->text, start, chat->len);
}

/* `n` more bytes are in the buffer; or the input has ended. */
static void on_input(chat_t* chat, ssize_t n) {
  if (uvws_ready_state(socket_of(chat)) != UVWS_OPEN) return;
  if (n >= 0) {
    chat->len += (size_t)n;
    send_lines(chat);
    return;
  }
  if (n != UV_EOF) complain(chat, "input", uvws_strerror((int)n));
  send_text(chat, chat->text, chat->len);
  leave(chat);
}

static uv_buf_t room(chat_t* chat) {
  return uv_buf_init(chat->text + chat->len,
                     (unsigned)(sizeof(chat->text) - chat->len));
}

static void on_alloc(uv_handle_t* handle, size_t size, uv_buf_t* buf) {
  (void)size;
  *buf = room(handle->data);
}

static void on_read(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)buf;
  if (n < 0) uv_read_stop(stream);
  on_input(stream->data, n);
}

static int read_file(chat_t* chat);

static void on_file_read(uv_fs_t* file) {
  chat_t* chat = file->data;
  ssize_t n = file->result == 0 ? UV_EOF : file->result;
  uv_fs_req_cleanup(file);
  on_input(chat, n);
  if (n <= 0 || uvws_ready_state(socket_of(chat)) != UVWS_OPEN) return;
  int status = read_file(chat);
  if (status != 0) on_input(chat, status);
}

static int read_file(chat_t* chat) {
  uv_buf_t buf = room(chat);
  chat->file.data = chat;
  return uv_fs_read(socket_of(chat)->loop, &chat->file, STDIN, &buf, 1, -1,
                    on_file_read);
}

static int start_input(chat_t* chat) {
  union uv_any_handle* input = &chat->input;
  uv_loop_t* loop = socket_of(chat)->loop;
  int status;
  if (line_is_possible()) {
    chat->line.data = chat;
    chat->line.on_line = on_line;
    chat->line.on_end = on_line_end;
    return line_start(loop, &chat->line);
  }
  switch (uv_guess_handle(STDIN)) {
    case UV_FILE: return read_file(chat);
    case UV_TTY: status = uv_tty_init(loop, &input->tty, STDIN, 1); break;
    case UV_NAMED_PIPE:
      status = uv_pipe_init(loop, &input->pipe, 0);
      if (status == 0) status = uv_pipe_open(&input->pipe, STDIN);
      break;
    default: return UV_ENOTSUP;
  }
  input->handle.data = chat;
  return status != 0 ? status
                     : uv_read_start(&input->stream, on_alloc, on_read);
}

/* ---- From the server ---- */

static void on_open(uvws_t* ws) {
  chat_t* chat = ws->data;
  chat->was_open = true;
  if (chat->joined) notice(chat, "* back", "");
}

/* The first message tells that we have joined. Input may not start earlier: it
 * may end at once, and who is closing hears no more. */
static void on_message(uvws_t* ws, const uvws_message_t* message) {
  chat_t* chat = ws->data;
  const char* what = "output";
  int status = print_line(chat, "", message->data, message->len);
  if (status == 0 && !chat->joined) {
    chat->joined = true;
    what = "input";
    status = start_input(chat);
  }
  if (status == 0) return;
  complain(chat, what, uvws_strerror(status));
  leave(chat);
}

/* As on the web the body of a refusal is not to be had; its status is. */
static const char* meaning_of(int http_status) {
  switch (http_status) {
    case 400: return "that is no nick";
    case 409: return "the nick is in use";
    default: return "no chat server?";
  }
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  chat_t* chat = ws->data;
  int http_status = uvws_http_status(ws);
  if (status == UVWS_EUPGRADE && http_status != 101 && http_status != 0)
    snprintf(chat->why, sizeof(chat->why), "HTTP status %d: %s", http_status,
             meaning_of(http_status));
  else
    snprintf(chat->why, sizeof(chat->why), "%s", reason);
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  chat_t* chat = ws->data;
  if (event->status == 0 && event->code != 1000)
    snprintf(chat->why, sizeof(chat->why), "the server hung up: %d %s",
             event->code, event->reason);
  /* Lines were cut off by our own impatience. */
  if (event->status == UV_ECANCELED && chat->was_open) chat->failed = true;
  /* When we are the first to close, the server has read it all. */
  while (chat->is_leaving && event->was_clean && chat->sent != NULL)
    forget_first(chat);
  tell_what_may_be_lost(chat);
}

/* After a refusal nothing more is tried, but one: the nick may be in use by our
 * own last connection, which the server has not yet found dead. */
static int on_retry(uvws_reconnect_t* reconnect,
                    const uvws_close_event_t* event, int advice) {
  chat_t* chat = reconnect->data;
  uint64_t now = uv_now(reconnect->ws.loop);
  (void)event;
  if (!chat->joined || !line_is_possible()) return 0;
  if (chat->was_open) chat->lost_at = now;
  return advice || (uvws_http_status(&reconnect->ws) == 409 &&
                    now - chat->lost_at < MAX_GHOST);
}

static void on_wait(uvws_reconnect_t* reconnect, uint32_t delay,
                    unsigned attempt) {
  chat_t* chat = reconnect->data;
  char text[sizeof(chat->why) + 64];
  (void)attempt;
  snprintf(text, sizeof(text), "%s (%s), again in %u s",
           chat->was_open ? "connection lost" : "no connection", chat->why,
           (unsigned)((delay + 999) / 1000));
  notice(chat, "* ", text);
  chat->was_open = false;
  chat->why[0] = '\0';
}

static void on_end(uvws_reconnect_t* reconnect, int status, int code) {
  chat_t* chat = reconnect->data;
  (void)status;
  (void)code;
  line_stop(&chat->line);
  if (chat->why[0] != '\0') complain(chat, chat->url, chat->why);
  if (chat->input.handle.type != UV_UNKNOWN_HANDLE)
    uv_close(&chat->input.handle, NULL);
}

static const uvws_events_t events = {UVWS_EVENTS_INIT,      .open = on_open,
                                     .message = on_message, .error = on_error,
                                     .close = on_close,     .pong = on_pong};

static const uvws_reconnect_events_t reconnect_events = {
    UVWS_RECONNECT_EVENTS_INIT, .retry = on_retry, .wait = on_wait,
    .end = on_end};

static void on_signal(uv_signal_t* signal, int number) {
  (void)number;
  leave(signal->data);
}

/* The URL with the nick in its query; NULL when there is no memory. */
static char* url_with_nick(const char* url, const char* nick) {
  size_t size = strlen(url) + strlen("?nick=") + 3 * strlen(nick) + 1;
  char* result = malloc(size);
  if (result == NULL) return NULL;
  char* end = result + snprintf(result, size, "%s%cnick=", url,
                                strchr(url, '?') == NULL ? '?' : '&');
  for (; *nick != '\0'; nick++) {
    bool plain = isalnum((unsigned char)*nick) || strchr("-._~", *nick);
    end += snprintf(end, sizeof("%00"), plain ? "%c" : "%%%02X",
                    (unsigned char)*nick);
  }
  return result;
}

static uvws_tls_t* make_tls(const uvws_tls_options_t* options) {
  uvws_tls_t* tls;
  char why[256];
  if (uvws_tls_new(&tls, options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "chat: %s\n", why);
  exit(1);
}

/* Returns the index of what follows the options. */
static int parse(int argc, char** argv, uvws_options_t* options,
                 uvws_tls_options_t* tls, uvws_tls_options_t* proxy_tls) {
  int at = 1;
  for (; at < argc - 2 && strncmp(argv[at], "--", 2) == 0; at++) {
    const char* name = argv[at];
    const char* value = argv[at + 1];
    if (strcmp(name, "--insecure") == 0) {
      tls->flags |= UVWS_TLS_INSECURE;
      continue;
    }
    if (strcmp(name, "--ca") == 0)
      tls->ca_file = value;
    else if (strcmp(name, "--proxy") == 0)
      options->proxy = value;
    else if (strcmp(name, "--proxy-ca") == 0)
      proxy_tls->ca_file = value;
    else if (strcmp(name, "--env-proxy") == 0)
      options->flags |= UVWS_CONNECT_ENV_PROXY;
    else
      break;
    at++;
  }
  return at;
}

int main(int argc, char** argv) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  static const char* const protocols[] = {"chat"};
  static chat_t chat;
  uvws_options_t options;
  uv_signal_t signals[3];
  uvws_tls_options_t tls, proxy_tls;
  uvws_deflate_options_t deflate;
  uvws_options_init(&options);
  uvws_deflate_options_init(&deflate);
  options.deflate = &deflate;
  uvws_tls_options_init(&tls);
  uvws_tls_options_init(&proxy_tls);
  int at = parse(argc, argv, &options, &tls, &proxy_tls);
  if (argc != at + 2) {
    fprintf(stderr,
            "usage: %s [--ca FILE] [--insecure] [--proxy URL] [--proxy-ca FILE]"
            " [--env-proxy yes] URL NICK\n",
            argv[0]);
    return 2;
  }

  uv_loop_t* loop = uv_default_loop();
  signal(SIGPIPE, SIG_IGN);
  /* Each line is flushed, and leaves in one piece. */
  setvbuf(stdout, NULL, _IOFBF, 2 * MAX_LINE);
  chat.url = argv[at];
  chat.last_sent = &chat.sent;
  chat.reconnect.data = &chat;
  chat.reconnect.ws.data = &chat;
  options.protocols = protocols;
  options.n_protocols = 1;
  options.tls = make_tls(&tls);
  if (proxy_tls.ca_file != NULL) options.proxy_tls = make_tls(&proxy_tls);
  char* url = url_with_nick(argv[at], argv[at + 1]);
  int status = url == NULL
                   ? UV_ENOMEM
                   : uvws_reconnect_start(loop, &chat.reconnect, url, &options,
                                          &events, &reconnect_events, NULL);
  free(url);
  uvws_tls_unref(options.tls);
  uvws_tls_unref(options.proxy_tls);
  if (status != 0) {
    complain(&chat, chat.url, uvws_strerror(status));
    return 1;
  }

  for (int i = 0; i < 3; i++) {
    uv_signal_init(loop, &signals[i]);
    uv_unref((uv_handle_t*)&signals[i]);
    signals[i].data = &chat;
    uv_signal_start(&signals[i], on_signal, numbers[i]);
  }
  uv_run(loop, UV_RUN_DEFAULT);
  return chat.failed || !chat.joined;
}
