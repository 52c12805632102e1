#ifndef UVWS_TEST_RECONNECT_H_
#define UVWS_TEST_RECONNECT_H_

/* A helper that connects again and writes down its events, and the servers that
 * it meets, for test-reconnect.c and test-reconnect-policy.c. Waits last a few
 * milliseconds, or are ended by uvws_reconnect_now(). */

#include <stdio.h>
#include <string.h>

#include "helper.h"

#include "uvws/reconnect.h"

enum { MAX_WAITS = 300 };

typedef struct subject_s {
  uvws_reconnect_t reconnect; /* first */
  char log[4096];
  bool ended;
  unsigned waits;
  uint32_t delays[MAX_WAITS];
  uint64_t waiting_since; /* uv_hrtime() */
  unsigned stop_at_wait;  /* 0: never */
  bool impatient;         /* waits are ended at once */
  int verdict;            /* of `retry`; -1 takes the advice */
  int http_status;        /* read in `retry` */
  /* In which event to stop, by its name in the log. */
  const char* stop_in;
  void (*on_open)(struct subject_s* subject);
  void (*on_wait)(struct subject_s* subject);
  void (*on_end)(struct subject_s* subject);
  uv_timer_t timer;
  bool flag;
} subject_t;

static subject_t subject;

/* Most tests ask for one thing only of these. */
static uvws_options_t options;
static uvws_reconnect_options_t when;

static void note(subject_t* s, const char* event, const char* format, ...) {
  size_t len = strlen(s->log);
  va_list args;
  if (len + 100 < sizeof(s->log)) {
    if (len > 0) s->log[len++] = ' ';
    len += (size_t)snprintf(s->log + len, sizeof(s->log) - len, "%s", event);
    va_start(args, format);
    vsnprintf(s->log + len, sizeof(s->log) - len, format, args);
    va_end(args);
  }
  if (s->stop_in != NULL && strcmp(s->stop_in, event) == 0)
    uvws_reconnect_stop(&s->reconnect);
}

static subject_t* subject_of(uvws_t* ws) {
  return ws->data;
}

static void on_open(uvws_t* ws) {
  subject_t* s = subject_of(ws);
  note(s, "open", "");
  if (s->on_open != NULL) s->on_open(s);
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  note(subject_of(ws), "text", "(%.*s)", (int)message->len, message->data);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  assert_true(strlen(reason) > 0);
  note(subject_of(ws), "error", "(%s)", uvws_err_name(status));
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  note(subject_of(ws), "close", "(%d)", event->code);
}

static void on_ping(uvws_t* ws, const void* data, size_t len) {
  note(subject_of(ws), "ping", "(%.*s)", (int)len, (const char*)data);
}

static void on_pong(uvws_t* ws, const void* data, size_t len, uint64_t rtt) {
  assert_true(rtt > 0);
  note(subject_of(ws), "pong", "(%.*s)", (int)len, (const char*)data);
}

static const uvws_events_t socket_events = {
    UVWS_EVENTS_INIT,  .open = on_open,   .message = on_message,
    .error = on_error, .close = on_close, .ping = on_ping,
    .pong = on_pong,
};

static int on_retry(uvws_reconnect_t* reconnect,
                    const uvws_close_event_t* event, int advice) {
  subject_t* s = (subject_t*)reconnect;
  s->http_status = uvws_http_status(&reconnect->ws);
  note(s, "retry", "(%d %d)", event->code, advice);
  return s->verdict < 0 ? advice : s->verdict;
}

static void on_wait(uvws_reconnect_t* reconnect, uint32_t delay,
                    unsigned attempt) {
  subject_t* s = (subject_t*)reconnect;
  assert_true(s->waits < MAX_WAITS);
  s->delays[s->waits++] = delay;
  s->waiting_since = uv_hrtime();
  note(s, "wait", "(%u)", attempt);
  if (s->on_wait != NULL) s->on_wait(s);
  if (s->waits == s->stop_at_wait)
    uvws_reconnect_stop(reconnect);
  else if (s->impatient)
    uvws_reconnect_now(reconnect);
}

static void on_end(uvws_reconnect_t* reconnect, int status, int code) {
  subject_t* s = (subject_t*)reconnect;
  assert_false(s->ended);
  assert_int_equal(uvws_ready_state(&reconnect->ws), UVWS_CLOSED);
  s->ended = true;
  note(s, "end", "(%s %d)", status == 0 ? "0" : uvws_err_name(status), code);
  if (s->on_end != NULL) s->on_end(s);
}

static const uvws_reconnect_events_t events = {UVWS_RECONNECT_EVENTS_INIT,
                                               .wait = on_wait, .end = on_end};

static const uvws_reconnect_events_t events_with_retry = {
    UVWS_RECONNECT_EVENTS_INIT, .retry = on_retry, .wait = on_wait,
    .end = on_end};

static void subject_init(subject_t* s) {
  memset(s, 0, sizeof(*s));
  s->verdict = -1;
  s->reconnect.data = s;
  s->reconnect.ws.data = s;
}

static inline int setup(void** state) {
  subject_init(&subject);
  uvws_options_init(&options);
  options = *test_options(&options);
  uvws_reconnect_options_init(&when);
  when.first_delay = 2;
  when.max_delay = 4;
  return test_loop_setup(state);
}

static inline int start_url(subject_t* s, const char* url) {
  return uvws_reconnect_start(test_loop, &s->reconnect, url, &options,
                              &socket_events, &events, &when);
}

static const char* url_of(int port) {
  static char url[64];
  snprintf(url, sizeof(url), "%s://127.0.0.1:%d/", test_scheme(), port);
  return url;
}

static void start(subject_t* s, int port) {
  assert_int_equal(start_url(s, url_of(port)), 0);
  assert_int_equal(uvws_ready_state(&s->reconnect.ws), UVWS_CONNECTING);
}

static inline void start_with_retry(subject_t* s, int port) {
  assert_int_equal(
      uvws_reconnect_start(test_loop, &s->reconnect, url_of(port), &options,
                           &socket_events, &events_with_retry, &when),
      0);
}

/* ---- servers ---- */

/* A port at which connections are refused, as long as the handle is open. */
static uv_tcp_t nobody;

static inline int port_of_nobody(void) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  uv_tcp_init(test_loop, &nobody);
  uv_tcp_bind(&nobody, (const struct sockaddr*)&addr, 0);
  uv_tcp_getsockname(&nobody, (struct sockaddr*)&addr, &len);
  return ntohs(addr.sin_port);
}

static inline void run_until_end(subject_t* s) {
  test_run_until(&s->ended);
  assert_true(s->ended);
}

static inline void end_nobody(void) {
  uv_close((uv_handle_t*)&nobody, NULL);
  test_run();
}

static server_t server;
static int server_code; /* to close with; -1 terminates */

static void end_as_told(peer_t* peer) {
  if (server_code == -1)
    uvws_terminate(&peer->ws);
  else
    assert_int_equal(uvws_close(&peer->ws, server_code, NULL, 0), 0);
}

static inline void accept_and_end(server_t* s, peer_t* peer) {
  (void)s;
  peer->on_open = end_as_told;
}

static inline void serve_closing_with(int code) {
  server_start(&server, NULL);
  server.on_accept = accept_and_end;
  server_code = code;
}

static inline void end_server(void) {
  uvws_server_close(&server.server, 0);
  test_run();
  assert_true(server.closed);
}

#endif /* UVWS_TEST_RECONNECT_H_ */
