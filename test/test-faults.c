#include "faults.h"

#include <stdio.h>
#include <string.h>

/* See faults.h. Here: what is said on a connection, in all the ways that it can
 * be said, and how it ends. */

static char pipe_name[64];

static void send_blob(uvws_t* ws, size_t len, unsigned flags) {
  uvws_blob_t* blob = uvws_blob_new(big, len);
  must(ws, blob == NULL ? UV_ENOMEM : uvws_send_blob(ws, blob, flags));
  uvws_blob_unref(blob);
}

static void start_talk(void) {
  if (start_server()) connect_client("localhost", world.hosts[0].port, NULL);
}

static void say_all(uvws_t* ws) {
  struct sockaddr_storage addr;
  int len = sizeof(addr);
  must(ws, uvws_ping(ws, "ping", 4));
  must(ws, uvws_send(ws, "hello", 5, UVWS_TEXT));
  must(ws, uvws_send(ws, big, 100000, UVWS_TEXT));
  must(ws, uvws_send(ws, big, 7, UVWS_BINARY));
  must(ws, uvws_send(ws, big, 100000, UVWS_BINARY));
  send_blob(ws, 100000, UVWS_BINARY);
  (void)uvws_getpeername(ws, (struct sockaddr*)&addr, &len);
}

static void start_pipe(void) {
  if (!start_server()) return;
  int status = uvws_listen_pipe(&world.hosts[0].server, pipe_name, 8);
  if (status == 0)
    connect_client("x.test", 80, pipe_name);
  else
    uvws_server_close(&world.hosts[0].server, 0);
}

static void reject_with_body(uvws_request_t* request) {
  static const uvws_header_t header = {"X-Why", "because"};
  world.undecided = NULL;
  if (uvws_reject(request, 403, &header, 1, big, 20000) != 0)
    leave_undecided(request);
}

/* Nobody reads, so all of it piles up; then the end, wherever it stands. */
static void on_soon_terminate(uv_timer_t* timer) {
  (void)timer;
  if (world.clients[0].begun) uvws_terminate(&world.clients[0].ws);
  if (world.accepted[0].begun) uvws_terminate(&world.accepted[0].ws);
}

static void say_much(uvws_t* ws) {
  for (int i = 0; i < 4; i++) {
    must(ws, uvws_send(ws, big, sizeof(big), UVWS_BINARY));
    must(ws, uvws_send(ws, "x", 1, UVWS_TEXT));
    if (i == 0) must(ws, uvws_ping(ws, "p", 1));
    send_blob(ws, sizeof(big), UVWS_TEXT);
    uvws_flush(ws);
  }
}

static void say_too_much(uvws_t* ws) {
  say_much(ws);
  do_soon(on_soon_terminate);
}

static void start_slow_client(void) {
  if (start_server()) dial_raw(RAW_DEAF, NULL, 0);
}

static void start_slow_server(void) {
  raw.then = RAW_DEAF;
  raw_serve(&raw);
  uv_unref((uv_handle_t*)&raw.listener);
  connect_client("127.0.0.1", raw.port, NULL);
}

/* The peer resets the connection while much waits. */
static void start_reset(void) {
  raw.reset_after = 1000; /* no refusal is that long */
  if (start_server()) dial_raw(RAW_RESET, NULL, 0);
}

/* Fragments of a message, a control frame between them, and all of it cut in
 * the middle of control frames. */
static uint8_t script[130000];
static size_t script_len, script_cut;

static void write_script(void) {
  size_t at = 0;
  at += make_frame(script + at, 0x01, "frag", 4, true);
  at += make_frame(script + at, 0x89, "between", 7, true);
  at += make_frame(script + at, 0x80, "mented", 6, true);
  at += make_frame(script + at, 0x02, big, 50000, true);
  at += make_frame(script + at, 0x80, big, 50000, true);
  script_cut = at + 9; /* in the next one's payload */
  at += make_frame(script + at, 0x89, "split ping", 10, true);
  at += make_frame(script + at, 0x81, "text", 4, true);
  at += make_frame(script + at, 0x88, "\x03\xe8reason", 8, true);
  script_len = at;
}

static void on_soon_send_rest(uv_timer_t* timer) {
  (void)timer;
  if (!raw.connected || uv_is_closing((uv_handle_t*)&raw.tcp)) return;
  raw_send(&raw, script + script_cut, script_len - script_cut);
}

static void start_fragments(void) {
  if (!start_server()) return;
  dial_raw(RAW_STAY, script, script_cut);
}

static void send_rest_soon(uvws_t* ws) {
  (void)ws;
  do_soon(on_soon_send_rest);
}

/* A decision that comes later than the client's first frames. */
static void on_soon_accept(uv_timer_t* timer) {
  (void)timer;
  if (world.undecided != NULL) accept_request(world.undecided);
}

static void accept_later(uvws_request_t* request) {
  world.undecided = request;
  do_soon(on_soon_accept);
}

static void start_early_frames(void) {
  if (start_server()) dial_raw(RAW_STAY, script, script_len);
}

static void on_soon_close_server(uv_timer_t* timer) {
  (void)timer;
  uvws_server_close(&world.hosts[0].server, 1000);
}

static void never_decide(uvws_request_t* request) {
  world.undecided = request;
  do_soon(on_soon_close_server);
}

/* Messages in parts, from a source and from the caller's memory, to a reader
 * that stops. */
static void on_write(uvws_write_t* req, int status) {
  seen_t* seen = (seen_t*)req->ws;
  (void)status;
  assert_true(seen->is_writing);
  seen->is_writing = false;
}

static void write_big(uvws_t* ws) {
  seen_t* seen = (seen_t*)ws;
  uv_buf_t bufs[] = {{(char*)big, 7}, {(char*)big, sizeof(big) - 7}};
  int status = uvws_write(&seen->write, ws, bufs, 2, UVWS_BINARY, on_write);
  seen->is_writing = status == 0;
  must(ws, status);
}

static ssize_t next_bytes(uvws_t* ws, void* buf, size_t len, void* arg) {
  size_t* left = arg;
  size_t n = len < *left ? len : *left;
  (void)ws;
  memset(buf, 'b', n);
  *left -= n;
  return (ssize_t)n;
}

static void stream_all(uvws_t* ws) {
  static size_t left;
  left = 300000;
  must(ws, uvws_ping(ws, "ping", 4));
  must(ws, uvws_begin(ws, UVWS_TEXT));
  must(ws, uvws_continue(ws, big, 50000));
  must(ws, uvws_end(ws, big, 50000));
  write_big(ws);
  must(ws, uvws_send_source(ws, UVWS_BINARY, next_bytes, &left));
}

static void on_soon_read(uv_timer_t* timer) {
  (void)timer;
  if (world.accepted[0].begun) uvws_read_start(&world.accepted[0].ws);
}

static void stop_and_echo(uvws_t* ws, const uvws_message_t* message) {
  uvws_read_stop(ws);
  echo(ws, message);
  if (world.soon_set)
    uvws_read_start(ws);
  else
    do_soon(on_soon_read);
}

enum { TALK = 1 };

static const scenario_t scenarios[] = {
    {.name = "flow",
     .wanted = "4 2400000 0 1 1000 clean, 3 1400000 1 0 1000 clean",
     .start = start_talk,
     .decide = accept_request,
     .client_open = stream_all,
     .accepted_open = write_big,
     .accepted_message = stop_and_echo,
     .messages = 4,
     .pongs = 1},
    {.name = "talk",
     .wanted = "5 300012 0 1 1000 clean, 5 300012 1 0 1000 clean",
     .start = start_talk,
     .decide = accept_request,
     .client_open = say_all,
     .accepted_message = echo,
     .messages = 5,
     .pongs = 1},
    {.name = "talk over a pipe",
     .wanted = "5 300012 0 1 1000 clean, 5 300012 1 0 1000 clean",
     .start = start_pipe,
     .decide = accept_request,
     .client_open = say_all,
     .accepted_message = echo,
     .messages = 5,
     .pongs = 1},
    {.name = "rejection",
     .wanted = "0 0 0 0 1006, ",
     .start = start_talk,
     .decide = reject_with_body},
    {.name = "slow client",
     .wanted = ", 0 0 0 0 1006",
     .start = start_slow_client,
     .decide = accept_request,
     .accepted_open = say_too_much},
    {.name = "slow server",
     .wanted = "0 0 0 0 1006, ",
     .start = start_slow_server,
     .client_open = say_too_much},
    {.name = "reset",
     .wanted = ", 0 0 0 0 1006",
     .start = start_reset,
     .decide = accept_request,
     .accepted_open = say_too_much},
    {.name = "bulk",
     .wanted = "12 8000004 1 0 1000 clean, 0 0 0 1 1000 clean",
     .start = start_talk,
     .decide = accept_request,
     .accepted_open = say_much,
     .messages = 12},
    {.name = "fragments",
     .wanted = ", 3 100014 2 0 1000 clean",
     .start = start_fragments,
     .decide = accept_request,
     .accepted_open = send_rest_soon},
    {.name = "early frames",
     .wanted = ", 3 100014 2 0 1000 clean",
     .start = start_early_frames,
     .decide = accept_later},
    {.name = "no decision",
     .wanted = "0 0 0 0 1006, ",
     .start = start_talk,
     .decide = never_decide},
};

int main(void) {
  const suite_t suite = {scenarios, COUNT_OF(scenarios), &scenarios[TALK]};
  write_script();
  snprintf(pipe_name, sizeof(pipe_name), "/tmp/uvws-faults-%d.sock",
           (int)uv_os_getpid());
  return run_suite(&suite);
}
