/* A terminal client of chat-server: sends each line of its input, prints each
 * line that comes, and leaves at the end of the input or at Ctrl-C.
 *
 *   chat URL NICK */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

enum {
  STDIN = 0,
  MAX_LINE = 4 * 1024, /* as the server has it; a longer one goes in pieces */
};

typedef struct chat_s {
  uvws_t ws;
  union uv_any_handle input; /* of an unknown type until it is open */
  uv_fs_t file;              /* the read under way, when input is a file */
  bool joined;
  bool failed;
  size_t len;
  char line[MAX_LINE]; /* input that no newline has ended yet */
} chat_t;

static void complain(chat_t* chat, const char* what, const char* why) {
  fprintf(stderr, "chat: %s: %s\n", what, why);
  chat->failed = true;
}

/* Says goodbye; asked again, or when even that fails, leaves without. */
static void leave(chat_t* chat) {
  if (uvws_ready_state(&chat->ws) == UVWS_CLOSING ||
      uvws_close(&chat->ws, 1000, NULL, 0) != 0)
    uvws_terminate(&chat->ws);
}

/* ---- From the input to the server ---- */

static void send_text(chat_t* chat, const char* text, size_t len) {
  if (len == 0) return;
  int status = uvws_send(&chat->ws, text, len, UVWS_TEXT);
  if (status != 0) complain(chat, "a line is not sent", uvws_strerror(status));
}

/* Sends the whole lines that the buffer has. One that fills it all loses a
 * piece, up to the last character, which may not be whole yet. */
static void send_lines(chat_t* chat) {
  char* start = chat->line;
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
  memmove(chat->line, start, chat->len);
}

/* `n` more bytes are in the buffer; or the input has ended. */
static void on_input(chat_t* chat, ssize_t n) {
  if (uvws_ready_state(&chat->ws) != UVWS_OPEN) return;
  if (n >= 0) {
    chat->len += (size_t)n;
    send_lines(chat);
    return;
  }
  if (n != UV_EOF) complain(chat, "input", uvws_strerror((int)n));
  send_text(chat, chat->line, chat->len);
  leave(chat);
}

static uv_buf_t room(chat_t* chat) {
  return uv_buf_init(chat->line + chat->len,
                     (unsigned)(sizeof(chat->line) - chat->len));
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
  if (n <= 0 || uvws_ready_state(&chat->ws) != UVWS_OPEN) return;
  int status = read_file(chat);
  if (status != 0) on_input(chat, status);
}

static int read_file(chat_t* chat) {
  uv_buf_t buf = room(chat);
  chat->file.data = chat;
  return uv_fs_read(chat->ws.loop, &chat->file, STDIN, &buf, 1, -1,
                    on_file_read);
}

/* The terminal stays in its own mode, in which it edits and shows the line. */
static int start_input(chat_t* chat) {
  union uv_any_handle* input = &chat->input;
  uv_loop_t* loop = chat->ws.loop;
  int status;
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

/* ---- From the server to the terminal ---- */

/* A space for each control character, also for the two-byte ones from U+0080
 * on: nobody in the room shall command our terminal, or fake a line. */
static int print_line(FILE* to, const char* text, size_t len) {
  const unsigned char* at = (const unsigned char*)text;
  const unsigned char* end = at + len;
  for (; at < end; at++) {
    bool wide = *at == 0xC2 && at[1] < 0xA0;
    putc(wide || *at < ' ' || *at == 0x7F ? ' ' : *at, to);
    at += wide;
  }
  putc('\n', to);
  return fflush(to) == 0 ? 0 : uv_translate_sys_error(errno);
}

/* The first message tells that we have joined. Input may not start earlier: it
 * may end at once, and who is closing hears no more. */
static void on_message(uvws_t* ws, const uvws_message_t* message) {
  chat_t* chat = ws->data;
  const char* what = "output";
  int status = print_line(stdout, message->data, message->len);
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
  complain(chat, uvws_url(ws), reason);
  if (status == UVWS_EUPGRADE && uvws_http_status(ws) != 101)
    fprintf(stderr, "chat: HTTP status %d: %s\n", uvws_http_status(ws),
            meaning_of(uvws_http_status(ws)));
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  chat_t* chat = ws->data;
  if (!event->was_clean || event->code != 1000) chat->failed = true;
  if (event->was_clean && event->code != 1000) {
    fprintf(stderr, "chat: the server hung up: %d ", event->code);
    print_line(stderr, event->reason, event->reason_len);
  }
  if (chat->input.handle.type != UV_UNKNOWN_HANDLE)
    uv_close(&chat->input.handle, NULL);
}

static const uvws_events_t events = {UVWS_EVENTS_INIT, .message = on_message,
                                     .error = on_error, .close = on_close};

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

int main(int argc, char** argv) {
  static const char* const protocols[] = {"chat"};
  static chat_t chat;
  uvws_options_t options;
  uv_signal_t interrupt;
  if (argc != 3) {
    fprintf(stderr, "usage: %s URL NICK\n", argv[0]);
    return 2;
  }

  uv_loop_t* loop = uv_default_loop();
  signal(SIGPIPE, SIG_IGN);
  /* Each line is flushed, and leaves in one piece. */
  setvbuf(stdout, NULL, _IOFBF, 2 * MAX_LINE);
  uvws_init(loop, &chat.ws, &events);
  chat.ws.data = &chat;
  uvws_options_init(&options);
  options.protocols = protocols;
  options.n_protocols = 1;
  char* url = url_with_nick(argv[1], argv[2]);
  int status = url == NULL ? UV_ENOMEM : uvws_connect(&chat.ws, url, &options);
  free(url);
  if (status != 0) {
    complain(&chat, argv[1], uvws_strerror(status));
    return 1;
  }

  uv_signal_init(loop, &interrupt);
  uv_unref((uv_handle_t*)&interrupt);
  interrupt.data = &chat;
  uv_signal_start(&interrupt, on_signal, SIGINT);
  uv_run(loop, UV_RUN_DEFAULT);
  return chat.failed;
}
