/* A client whose network fails it.
 *
 *   reach CASE ADDRESS...
 *
 * The name that it connects to has the given addresses, in that order, of which
 * the last is the server's. What then happens, and must come of it, is a row of
 * the table in cases.c; where that changes the network, $NETWORK is run. Prints
 * "case | event | milliseconds". */
#include "cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uvws.h>

enum { MOMENT_MS = 300, MAX_ADDRESSES = 8 };

static const case_t* test;
static const step_t* step; /* the next one */
static char** names;       /* of the addresses */
static unsigned n_names;

static uvws_t ws;
static uv_timer_t moment;
static uvws_lookup_t* lookup; /* while it hangs */
static bool hangs;
static size_t n_sent, n_received;

static char events[256];
static char told[512]; /* of the event that is timed */
static char reason[512];
static uint64_t since, took;
static int error_status, n_failed;
static uvws_close_event_t end;

static void fail(const char* format, ...) {
  va_list args;
  n_failed++;
  printf("reach: %s: ", test->name);
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
}

static void note(const char* event, const char* detail) {
  size_t len = strlen(events);
  snprintf(events + len, sizeof(events) - len, "%s%s", len > 0 ? " " : "",
           event);
  if (strcmp(event, test->timed) != 0) return;
  took = (uv_hrtime() - since) / 1000000;
  snprintf(told, sizeof(told), "%s%s", event, detail);
}

/* ---- the steps ---- */

static void address_of(const char* name, struct sockaddr_storage* address) {
  if (uv_ip4_addr(name, 0, (struct sockaddr_in*)address) != 0 &&
      uv_ip6_addr(name, 0, (struct sockaddr_in6*)address) != 0)
    fail("%s is no address", name);
}

static void answer(void) {
  struct sockaddr_storage addresses[MAX_ADDRESSES];
  const struct sockaddr* pointers[MAX_ADDRESSES];
  for (unsigned i = 0; i < n_names; i++) {
    address_of(names[i], &addresses[i]);
    pointers[i] = (const struct sockaddr*)&addresses[i];
  }
  uvws_lookup_done(lookup, 0, pointers, n_names);
}

/* The loop stands still meanwhile, so the client stays at this very point. */
static void change_network(const char* what) {
  char command[64];
  snprintf(command, sizeof(command), "\"$NETWORK\" %s", what);
  since = uv_hrtime();
  if (system(command) != 0) fail("%s", command);
}

static void do_step(const char* what) {
  if (strcmp(what, "hang") == 0)
    hangs = true;
  else if (strcmp(what, "answer") == 0)
    answer();
  else if (strcmp(what, "goodbye") == 0)
    uvws_close(&ws, 1000, NULL, 0);
  else if (strcmp(what, "terminate") == 0)
    uvws_terminate(&ws);
  else if (strcmp(what, "wait") != 0)
    change_network(what);
}

static void reached(point_t point);

static void on_moment(uv_timer_t* timer) {
  (void)timer;
  reached(LATER);
}

static void reached(point_t point) {
  if (step->when != point) return;
  do_step(step++->what);
  if (step->when == LATER) uv_timer_start(&moment, on_moment, MOMENT_MS, 0);
}

/* ---- the message ---- */

static char byte_at(size_t at) {
  return (char)(at ^ at >> 8 ^ at >> 16);
}

static ssize_t on_source(uvws_t* socket, void* buf, size_t len, void* arg) {
  char* bytes = buf;
  size_t left = test->bytes - n_sent;
  (void)socket;
  (void)arg;
  if (len > left) len = left;
  for (size_t i = 0; i < len; i++) bytes[i] = byte_at(n_sent + i);
  n_sent += len;
  if (n_sent >= test->bytes / 2) reached(SENDING);
  return (ssize_t)len;
}

static void on_chunk(uvws_t* socket, const uvws_chunk_t* chunk) {
  (void)socket;
  for (size_t i = 0; i < chunk->len; i++)
    if (chunk->data[i] != byte_at(n_received + i)) {
      fail("byte %zu came back wrong", n_received + i);
      break;
    }
  n_received += chunk->len;
  if (n_received >= test->bytes / 2) reached(RECEIVING);
  if (!chunk->last) return;
  if (n_received != test->bytes) fail("%zu bytes came back", n_received);
  note("whole", " message");
  reached(WHOLE);
}

/* ---- the other events ---- */

static void on_lookup(uvws_lookup_t* asked, const char* host, void* arg) {
  (void)host;
  (void)arg;
  lookup = asked;
  reached(LOOKUP);
  if (!hangs) answer();
}

static void name_of(const struct sockaddr_storage* address, char* name,
                    size_t size) {
  if (address->ss_family == AF_INET)
    uv_ip4_name((const struct sockaddr_in*)address, name, size);
  else
    uv_ip6_name((const struct sockaddr_in6*)address, name, size);
}

/* The peer's address must be the last of those given. */
static void check_addresses(char* peer, size_t size) {
  struct sockaddr_storage address;
  char self[64];
  int len = sizeof(address);
  uvws_getpeername(&ws, (struct sockaddr*)&address, &len);
  name_of(&address, peer, size);
  if (strcmp(peer, names[n_names - 1]) != 0) fail("connected to %s", peer);
  len = sizeof(address);
  uvws_getsockname(&ws, (struct sockaddr*)&address, &len);
  name_of(&address, self, sizeof(self));
  if (test->local != NULL && strcmp(self, test->local) != 0)
    fail("connected from %s", self);
}

static void on_open(uvws_t* socket) {
  char detail[64] = " ";
  check_addresses(detail + 1, sizeof(detail) - 1);
  note("open", detail);
  if (test->bytes > 0 &&
      uvws_send_source(socket, UVWS_BINARY, on_source, NULL) != 0)
    fail("uvws_send_source");
  reached(OPEN);
}

static void on_error(uvws_t* socket, int status, const char* why) {
  char detail[512];
  (void)socket;
  error_status = status;
  snprintf(reason, sizeof(reason), "%s", why);
  snprintf(detail, sizeof(detail), " %s: %s", uvws_err_name(status), why);
  note("error", detail);
}

static void on_close(uvws_t* socket, const uvws_close_event_t* event) {
  char detail[64];
  (void)socket;
  end = *event;
  snprintf(detail, sizeof(detail), " %d %s", event->code,
           event->status != 0 ? uvws_err_name(event->status) : "clean");
  note("close", detail);
  reached(CLOSED);
}

static void on_trace(uvws_t* socket, const uvws_trace_t* trace) {
  (void)socket;
  bool is_close = trace->first_byte == 0x88;
  if (trace->kind == UVWS_TRACE_STATE && strcmp(trace->to, "UPGRADING") == 0)
    reached(UPGRADING);
  else if (trace->kind == UVWS_TRACE_FRAME_SENT && is_close)
    reached(CLOSING);
  else if (trace->kind == UVWS_TRACE_FRAME_RECEIVED && is_close)
    reached(CLOSE_CAME);
}

static const uvws_events_t socket_events = {
    UVWS_EVENTS_INIT,  .open = on_open,   .chunk = on_chunk,
    .error = on_error, .close = on_close, .trace = on_trace};

/* ---- what came of it ---- */

static void check_reason(void) {
  if (test->reason != NULL && strstr(reason, test->reason) == NULL)
    fail("the reason is '%s'", reason);
  for (unsigned i = 0; test->tells && i < n_names; i++)
    if (strstr(reason, names[i]) == NULL)
      fail("'%s' does not tell of %s", reason, names[i]);
}

static void check_close(void) {
  int code = test->code != 0 ? test->code : 1006;
  if (end.code != code) fail("the close code is %d", end.code);
  if (end.was_clean != (test->code != 0)) fail("clean: %d", end.was_clean);
  if (end.status != test->status)
    fail("the status of close is %s", uvws_err_name(end.status));
}

static void check(void) {
  if (strcmp(events, test->events) != 0) fail("the events are '%s'", events);
  if (strstr(events, "error") != NULL && error_status != test->status)
    fail("the status of error is %s", uvws_err_name(error_status));
  check_reason();
  check_close();
  if (step->when != NEVER) fail("'%s' was never done", step->what);
  if (took < test->least || took > test->most)
    fail("%s after %d ms, not %u to %u", test->timed, (int)took, test->least,
         test->most);
}

static const case_t* find_case(const char* name) {
  for (const case_t* at = cases; at->name != NULL; at++)
    if (strcmp(at->name, name) == 0) return at;
  fprintf(stderr, "reach: there is no case '%s'\n", name);
  exit(2);
}

static void connect_to_name(void) {
  struct sockaddr_storage local;
  uvws_options_t options;
  uvws_options_init(&options);
  for (const setting_t* set = test->settings; set->member != 0; set++)
    memcpy((char*)&options + set->member, &set->value, sizeof(set->value));
  if (test->local != NULL) {
    address_of(test->local, &local);
    options.local_address = (struct sockaddr*)&local;
  }
  options.lookup = on_lookup;
  since = uv_hrtime();
  if (uvws_connect(&ws, "ws://server.test:9001/", &options) != 0)
    fail("uvws_connect");
}

int main(int argc, char** argv) {
  if (argc < 3 || argc > 2 + MAX_ADDRESSES) {
    fprintf(stderr, "usage: %s CASE ADDRESS...\n", argv[0]);
    return 2;
  }
  test = find_case(argv[1]);
  step = test->steps;
  names = argv + 2;
  n_names = (unsigned)argc - 2;
  alarm(100);
  uv_timer_init(uv_default_loop(), &moment);
  uvws_init(uv_default_loop(), &ws, &socket_events);
  connect_to_name();
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  check();
  printf("%-22s | %s | %d\n", test->name, told, (int)took);
  uv_close((uv_handle_t*)&moment, NULL);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  if (uv_loop_close(uv_default_loop()) != 0) fail("the loop is not empty");
  return n_failed > 0;
}
