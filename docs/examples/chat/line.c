#define _XOPEN_SOURCE 700 /* wcwidth() */
#include "line.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <uvws.h>

enum { STDIN = 0, STDOUT = 1 };

static const char prompt[] = "> ";

/* ---- Characters: code points, as UTF-8 ---- */

static bool is_inside(char byte) {
  return (byte & 0xC0) == 0x80;
}

static size_t after(const line_t* line, size_t at) {
  if (at < line->len) at++;
  while (at < line->len && is_inside(line->text[at])) at++;
  return at;
}

static size_t before(const line_t* line, size_t at) {
  if (at > 0) at--;
  while (at > 0 && is_inside(line->text[at])) at--;
  return at;
}

/* The columns that the character takes: 0 for a combining one, 2 for a wide
 * one. */
static int columns_of(const char* at) {
  unsigned char lead = (unsigned char)*at;
  if (lead < 0x80) return 1;
  unsigned n = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  wchar_t code = lead & (0x3F >> n);
  while (n-- > 0) code = code << 6 | (*++at & 0x3F);
  int columns = wcwidth(code);
  return columns < 0 ? 1 : columns;
}

static int columns(const line_t* line, size_t from, size_t to) {
  int n = 0;
  for (; from < to; from = after(line, from))
    n += columns_of(line->text + from);
  return n;
}

/* ---- On the screen ---- */

static int room(const line_t* line) {
  int width = 0;
  int height;
  if (uv_tty_get_winsize((uv_tty_t*)&line->tty, &width, &height) != 0 ||
      width == 0)
    width = 80;
  /* The last column stays free, or some terminals would begin a new row. */
  return width - (int)strlen(prompt) - 1;
}

void line_hide(line_t* line) {
  if (line->is_open) fputs("\r\033[K", stdout);
}

/* A line that is too long is shown in part, around the cursor: with
 * a third of the row before it, where there is so much. */
void line_show(line_t* line) {
  if (!line->is_open) return;
  int width = room(line);
  if (line->at < line->first) line->first = line->at;
  while (line->first > 0 && columns(line, line->first, line->at) < width / 3)
    line->first = before(line, line->first);
  while (columns(line, line->first, line->at) > width)
    line->first = after(line, line->first);
  size_t end = line->at;
  while (end < line->len &&
         columns(line, line->first, after(line, end)) <= width)
    end = after(line, end);
  fputs("\r\033[K", stdout);
  fputs(prompt, stdout);
  fwrite(line->text + line->first, 1, end - line->first, stdout);
  printf("\r\033[%dC",
         (int)strlen(prompt) + columns(line, line->first, line->at));
  fflush(stdout);
}

/* ---- Editing ---- */

/* The cursor is at one of the two ends. */
static void cut(line_t* line, size_t from, size_t to) {
  memmove(line->text + from, line->text + to, line->len - to);
  line->len -= to - from;
  line->at = from;
  if (line->first > line->at) line->first = line->at;
}

static void insert(line_t* line, const char* bytes, size_t n) {
  if (line->len + n > sizeof(line->text)) {
    putchar('\a');
    return;
  }
  memmove(line->text + line->at + n, line->text + line->at,
          line->len - line->at);
  memcpy(line->text + line->at, bytes, n);
  line->len += n;
  line->at += n;
}

static size_t word_start(const line_t* line) {
  size_t at = line->at;
  while (at > 0 && line->text[at - 1] == ' ') at--;
  while (at > 0 && line->text[at - 1] != ' ') at--;
  return at;
}

/* The whole line stays above, however little of it was shown. */
static void let_go(line_t* line) {
  line_hide(line);
  printf("%s%.*s\n", prompt, (int)line->len, line->text);
  line->len = line->at = line->first = 0;
}

static void enter(line_t* line) {
  if (line->len > 0 && line->on_line(line, line->text, line->len) &&
      line->is_open)
    let_go(line);
}

/* ---- From the terminal ---- */

static void on_sequence(line_t* line, char final) {
  int key = final == '~' ? line->parameter : final;
  switch (key) {
    case 'D': line->at = before(line, line->at); break;
    case 'C': line->at = after(line, line->at); break;
    case 'H':
    case 1:
    case 7: line->at = 0; break;
    case 'F':
    case 4:
    case 8: line->at = line->len; break;
    case 3: cut(line, line->at, after(line, line->at)); break;
    default: break;
  }
}

static void on_control(line_t* line, char byte) {
  enum { CTRL = 0x40 };
  switch (byte | CTRL) {
    case 'A': line->at = 0; break;
    case 'B': line->at = before(line, line->at); break;
    case 'C': line->on_end(line, 0); break;
    case 'D':
      if (line->len == 0)
        line->on_end(line, 0);
      else
        cut(line, line->at, after(line, line->at));
      break;
    case 'E': line->at = line->len; break;
    case 'F': line->at = after(line, line->at); break;
    case 'H':
    case 0x7F: cut(line, before(line, line->at), line->at); break;
    case 'I': insert(line, " ", 1); break;
    case 'J':
    case 'M': enter(line); break;
    case 'K': cut(line, line->at, line->len); break;
    case 'U': cut(line, 0, line->at); break;
    case 'W': cut(line, word_start(line), line->at); break;
    case '[': line->state = ESCAPE; break;
    default: break;
  }
}

/* A character that is no UTF-8 could not be sent, and is left out; so are the
 * control characters from U+0080 on. */
static void on_text(line_t* line, char byte) {
  if (!is_inside(byte)) line->n_pending = 0;
  line->pending[line->n_pending++] = byte;
  unsigned n = line->n_pending;
  if (uvws_is_utf8(line->pending, n)) {
    bool is_control = n == 2 && line->pending[0] == '\xC2' &&
                      (unsigned char)line->pending[1] < 0xA0;
    if (!is_control) insert(line, line->pending, n);
    line->n_pending = 0;
  } else if (n == sizeof(line->pending)) {
    line->n_pending = 0;
  }
}

static void on_byte(line_t* line, char byte) {
  switch (line->state) {
    case PLAIN:
      if ((unsigned char)byte < ' ' || byte == 0x7F)
        on_control(line, byte);
      else
        on_text(line, byte);
      break;
    case ESCAPE:
      line->state = byte == '[' || byte == 'O' ? SEQUENCE : PLAIN;
      line->parameter = 0;
      break;
    case SEQUENCE:
      if (byte >= '0' && byte <= '9' && line->parameter == 0)
        line->parameter = byte - '0';
      if (byte < '@') break;
      line->state = PLAIN;
      on_sequence(line, byte);
      break;
  }
}

static void on_alloc(uv_handle_t* handle, size_t size, uv_buf_t* buf) {
  static char bytes[4096];
  (void)handle;
  (void)size;
  *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t* tty, ssize_t n, const uv_buf_t* buf) {
  line_t* line = tty->data;
  if (n < 0) line->on_end(line, (int)n);
  for (ssize_t i = 0; i < n && line->is_open; i++) on_byte(line, buf->base[i]);
  line_show(line);
}

/* ---- The terminal ---- */

bool line_is_possible(void) {
  return uv_guess_handle(STDIN) == UV_TTY && uv_guess_handle(STDOUT) == UV_TTY;
}

static void restore(void) {
  uv_tty_reset_mode();
}

int line_start(uv_loop_t* loop, line_t* line) {
  int status = uv_tty_init(loop, &line->tty, STDIN, 1);
  if (status != 0) return status;
  line->is_open = true;
  line->tty.data = line;
  setlocale(LC_CTYPE, "");
  atexit(restore);
  status = uv_tty_set_mode(&line->tty, UV_TTY_MODE_RAW);
  if (status == 0)
    status = uv_read_start((uv_stream_t*)&line->tty, on_alloc, on_read);
  if (status != 0) {
    line_stop(line);
    return status;
  }
  line_show(line);
  return 0;
}

void line_stop(line_t* line) {
  if (!line->is_open) return;
  if (line->len > 0)
    let_go(line);
  else
    line_hide(line);
  fflush(stdout);
  line->is_open = false;
  uv_tty_set_mode(&line->tty, UV_TTY_MODE_NORMAL);
  uv_close((uv_handle_t*)&line->tty, NULL);
}
