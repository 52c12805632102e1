#include "room.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NICK = 32 };

/* In the list of all nicks as long as somebody has it. */
typedef struct nick_s {
  struct nick_s* next;
  char text[MAX_NICK + 1];
} nick_t;

struct member_s {
  uvws_t ws;
  member_t* next;
  worker_t* worker;
  bool joined;
  nick_t nick;
};

worker_t workers[MAX_WORKERS];
unsigned n_workers = 1;

/* ---- Nicks: nobody has that of another, whoever serves the two ---- */

static uv_mutex_t mutex;
static nick_t* nicks;

int room_init(void) {
  return uv_mutex_init(&mutex);
}

/* Whether it was not in use, and is now. */
static bool take_nick(nick_t* nick) {
  uv_mutex_lock(&mutex);
  const nick_t* other = nicks;
  while (other != NULL && strcmp(other->text, nick->text) != 0)
    other = other->next;
  if (other == NULL) {
    nick->next = nicks;
    nicks = nick;
  }
  uv_mutex_unlock(&mutex);
  return other == NULL;
}

static void give_back(nick_t* nick) {
  uv_mutex_lock(&mutex);
  nick_t** link = &nicks;
  while (*link != nick) link = &(*link)->next;
  *link = nick->next;
  uv_mutex_unlock(&mutex);
}

/* ---- What is said ---- */

/* Closes with a reason, or without when there is no memory for it. */
static void hang_up(uvws_t* ws, int code, const char* why) {
  if (uvws_close(ws, code, why, strlen(why)) != 0) uvws_terminate(ws);
}

/* Who misses a line must not stay: a slow reader's connection has then failed
 * by the high-water policy, anybody else's is cut off. */
static void send_line(member_t* to, uvws_blob_t* line) {
  int status = uvws_send_blob(&to->ws, line, UVWS_TEXT);
  if (status != 0 && uvws_ready_state(&to->ws) == UVWS_OPEN)
    uvws_terminate(&to->ws);
}

static void say_here(worker_t* worker, uvws_blob_t* line,
                     const member_t* except) {
  for (member_t* to = worker->members; to != NULL; to = to->next)
    if (to != except && uvws_ready_state(&to->ws) == UVWS_OPEN)
      send_line(to, line);
}

/* On the thread it was posted to, with a reference of its own to the line. */
static void on_line(uv_loop_t* loop, void* arg) {
  uvws_blob_t* line = arg;
  say_here(loop->data, line, NULL);
  uvws_blob_unref(line);
}

/* Whose loop has ended by now has nobody left to hear it. */
static bool say_there(worker_t* worker, uvws_blob_t* line) {
  int status = uvws_post(&worker->loop, on_line, uvws_blob_ref(line));
  if (status != 0) uvws_blob_unref(line);
  return status == 0 || status == UV_ENOENT;
}

/* One blob for everybody in the room but `except`, on all threads. What is said
 * on two threads at once may be heard in another order on each. */
static bool broadcast(worker_t* worker, const member_t* except,
                      const char* text, size_t len) {
  uvws_blob_t* line = uvws_blob_new(text, len);
  if (line == NULL) return false;
  bool reached_all = true;
  say_here(worker, line, except);
  for (unsigned i = 0; i < n_workers; i++)
    if (&workers[i] != worker && !say_there(&workers[i], line))
      reached_all = false;
  uvws_blob_unref(line);
  return reached_all;
}

static bool announce(const member_t* member, const char* what) {
  char line[MAX_NICK + 16];
  int len = snprintf(line, sizeof(line), "* %s %s", member->nick.text, what);
  return broadcast(member->worker, NULL, line, (size_t)len);
}

/* ---- Members ---- */

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
  size_t len = (size_t)snprintf(line, sizeof(line), "%s: ", member->nick.text);
  memcpy(line + len, message->data, message->len);
  /* What somebody did not hear must not be silently missing. */
  if (!broadcast(member->worker, member, line, len + message->len))
    uvws_terminate(ws);
}

/* Nothing above takes a member off the list while another function walks it:
 * events come from uv_run(), not from inside a call of the library. */
static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)event;
  member_t* member = ws->data;
  member_t** link = &member->worker->members;
  while (*link != member) link = &(*link)->next;
  *link = member->next;
  if (member->joined) announce(member, "left");
  give_back(&member->nick);
  free(member);
}

static const uvws_events_t member_events = {UVWS_EVENTS_INIT, .open = on_open,
                                            .message = on_message,
                                            .close = on_close};

/* ---- Who comes in ---- */

/* Finds "nick=" in the query, which is encoded as a form's fields are. */
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

static void refuse(uvws_request_t* request, int http_status, const char* why) {
  static const uvws_header_t type = {"Content-Type", "text/plain"};
  uvws_reject(request, http_status, &type, 1, why, strlen(why));
}

static int let_in(uvws_request_t* request, member_t* member) {
  uvws_accept_options_t options;
  const char* offer;
  uvws_accept_options_init(&options);
  for (unsigned i = 0; (offer = uvws_request_protocol(request, i)); i++)
    if (strcmp(offer, "chat") == 0) options.protocol = offer;

  worker_t* worker = member->worker;
  uvws_init(&worker->loop, &member->ws, &member_events);
  int status = uvws_accept(request, &member->ws, &options);
  if (status != 0) return status;
  member->next = worker->members;
  worker->members = member;
  return 0;
}

/* A request left undecided, here for want of memory, is answered 500. */
void room_on_request(uvws_server_t* server, uvws_request_t* request) {
  member_t* member = calloc(1, sizeof(*member));
  if (member == NULL) return;
  member->worker = server->loop->data;
  member->ws.data = member;
  if (!read_nick(uvws_request_target(request), member->nick.text)) {
    refuse(request, 400, "Come as ?nick=NAME, with 1 to 32 bytes of text.\n");
    free(member);
  } else if (!take_nick(&member->nick)) {
    refuse(request, 409, "The nick is in use.\n");
    free(member);
  } else if (let_in(request, member) != 0) {
    give_back(&member->nick);
    free(member);
  }
}
