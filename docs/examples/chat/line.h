#ifndef CHAT_LINE_H_
#define CHAT_LINE_H_

/* The line that is being typed at a terminal, which stays whole while other
 * text is printed: the terminal is in raw mode, and the line is edited here.
 *
 *   Enter        on_line        Ctrl-A Home  to the start
 *   Ctrl-C       on_end         Ctrl-E End   to the end
 *   Ctrl-D       on_end if the  arrows       one character
 *                line is empty, Backspace    delete to the left
 *                else as Delete Delete       delete to the right
 *   Ctrl-U       delete to the  Ctrl-W       delete the word to the left
 *                start          Ctrl-K       delete to the end */

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

enum { LINE_MAX_BYTES = 4 * 1024 };

typedef struct line_s line_t;

struct line_s {
  void* data; /* the user's */

  /* Enter: whether the line is done with, else it stays to be edited. Not
   * called for an empty one. */
  bool (*on_line)(line_t* line, const char* text, size_t len);
  /* Ctrl-C, Ctrl-D or, with a status other than 0, no more terminal. */
  void (*on_end)(line_t* line, int status);

  /* Private. */
  uv_tty_t tty;
  bool is_open;
  size_t len;
  size_t at;    /* the cursor; this and the next always between characters */
  size_t first; /* the first character that is shown */
  char text[LINE_MAX_BYTES];
  unsigned n_pending; /* bytes of a character that is not whole yet */
  char pending[4];
  enum { PLAIN, ESCAPE, SEQUENCE } state;
  int parameter; /* the first digit in an escape sequence */
};

/* Whether somebody sits at a terminal, with which this works. */
bool line_is_possible(void);

/* Shows an empty line. Set the two callbacks before. 0, or libuv's status. */
int line_start(uv_loop_t* loop, line_t* line);

/* Around whatever is printed. Nothing happens unless the line is shown. */
void line_hide(line_t* line);
void line_show(line_t* line);

/* The terminal is as it was before. May be called again. */
void line_stop(line_t* line);

#endif /* CHAT_LINE_H_ */
