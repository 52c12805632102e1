#include "soak.h"

/* A socket's ending loses nothing: many connections on which one side sends
 * some messages and closes at once, and three failures that must reach a peer
 * which goes on sending. */

enum { AT_ONCE = 64, LAST = 0x4C415354 };

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed % n;
}

/* ---- the last message ---- */

typedef struct client_s {
  uvws_t ws;   /* first */
  bool speaks; /* it, and not the server, says something and closes */
} client_t;

static client_t clients[AT_ONCE];
static unsigned tries_left, n_lasts, n_closes, n_running;
static int port;
static const uvws_events_t hearing, speaking;
static uvws_options_t client_options;

static void say_and_close(uvws_t* ws) {
  static char bytes[200000], last[200000];
  uint32_t begin = LAST;
  for (unsigned n = random_below(5); n > 0; n--)
    CHECK(uvws_send(ws, bytes, random_below(sizeof(bytes)), UVWS_BINARY) == 0);
  /* Half of them small: these leave another way. */
  size_t more = random_below(random_below(2) ? 100 : sizeof(last) - 4);
  memcpy(last, &begin, sizeof(begin));
  CHECK(uvws_send(ws, last, sizeof(begin) + more, UVWS_BINARY) == 0);
  CHECK(uvws_close(ws, 1000, NULL, 0) == 0);
}

static void hear(uvws_t* ws, const uvws_message_t* message) {
  uint32_t begin;
  (void)ws;
  if (message->len < sizeof(begin)) return;
  memcpy(&begin, message->data, sizeof(begin));
  n_lasts += begin == LAST;
}

static void try_again(client_t* client);

static void on_client_close(uvws_t* ws, const uvws_close_event_t* event) {
  CHECK(event->was_clean && event->code == 1000);
  n_closes++;
  n_running--;
  try_again((client_t*)ws);
}

static const uvws_events_t hearing = {UVWS_EVENTS_INIT, .message = hear,
                                      .close = on_client_close};
static const uvws_events_t speaking = {UVWS_EVENTS_INIT, .open = say_and_close,
                                       .close = on_client_close};

static void try_again(client_t* client) {
  if (tries_left == 0) {
    if (n_running == 0) uvws_server_close(&server, 1000);
    return;
  }
  tries_left--;
  n_running++;
  client->speaks = random_below(2);
  n_accepted = 0;
  connect_to(&client->ws, port, client->speaks ? &speaking : &hearing,
             &client_options);
}

/* The server knows by the request's path who speaks; a socket's memory is its
 * own here, for there are more of them than `accepted` has. */
static void on_close_free(uvws_t* ws, const uvws_close_event_t* event) {
  CHECK(event->was_clean);
  free(ws);
}

static const uvws_events_t server_hearing = {UVWS_EVENTS_INIT, .message = hear,
                                             .close = on_close_free};
static const uvws_events_t server_speaking = {
    UVWS_EVENTS_INIT, .open = say_and_close, .close = on_close_free};

static bool is_speaker(const uvws_request_t* request) {
  struct sockaddr_in peer, mine;
  int len = sizeof(peer), mine_len = sizeof(mine);
  uvws_request_getpeername(request, (struct sockaddr*)&peer, &len);
  for (unsigned i = 0; i < AT_ONCE; i++)
    if (uvws_getsockname(&clients[i].ws, (struct sockaddr*)&mine, &mine_len) ==
            0 &&
        mine.sin_port == peer.sin_port)
      return !clients[i].speaks;
  CHECK(false);
  return false;
}

static void on_request(uvws_server_t* self, uvws_request_t* request) {
  uvws_t* ws = calloc(1, sizeof(*ws));
  CHECK(ws != NULL);
  uvws_init(self->loop, ws,
            is_speaker(request) ? &server_speaking : &server_hearing);
  CHECK(uvws_accept(request, ws, NULL) == 0);
}

static const uvws_server_events_t server_events = {UVWS_SERVER_EVENTS_INIT,
                                                   .request = on_request};

void run_endings(unsigned tries) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  uint64_t begin = uv_hrtime();
  uvws_options_init(&client_options);
  uv_ip4_addr("127.0.0.1", 0, &addr);
  init_server(&server_events, NULL);
  CHECK(uvws_listen(&server, (const struct sockaddr*)&addr, 0, 4096) == 0);
  uvws_server_getsockname(&server, (struct sockaddr*)&addr, &len);
  port = ntohs(addr.sin_port);
  tries_left = tries;
  for (unsigned i = 0; i < AT_ONCE; i++) try_again(&clients[i]);
  uv_run(loop, UV_RUN_DEFAULT);
  CHECK(n_closes == tries && n_lasts == tries);
  printf("endings: %u of %u last messages, in %.2f s\n", n_lasts, tries,
         (double)(uv_hrtime() - begin) / 1e9);
}

/* ---- failures ---- */

enum { FLOOD = 100 * 1024 * 1024 };

static size_t flooded;
static int code;
static bool wrong_text;
static unsigned failures;

static ssize_t flood(uvws_t* ws, void* buf, size_t len, void* arg) {
  (void)ws;
  (void)arg;
  if (len > FLOOD - flooded) len = FLOOD - flooded;
  memset(buf, 'x', len);
  if (wrong_text && flooded < FLOOD / 10 && flooded + len >= FLOOD / 10)
    memset(buf, 0xFF, len);
  flooded += len;
  return (ssize_t)len;
}

static void flood_it(uvws_t* ws) {
  unsigned flags = UVWS_TEXT | UVWS_UTF8_CHECKED; /* a lie, once */
  CHECK(uvws_send_source(ws, flags, flood, NULL) == 0);
}

static void on_flooder_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  code = event->code;
  CHECK(flooded < FLOOD);
  uvws_server_close(&server, 0);
}

static const uvws_events_t flooding = {UVWS_EVENTS_INIT, .open = flood_it,
                                       .close = on_flooder_close};

static void go_away(uvws_t* ws, const uvws_chunk_t* chunk) {
  (void)ws;
  (void)chunk;
  uvws_server_close(&server, 10000);
}

static const uvws_events_t leaving = {UVWS_EVENTS_INIT, .chunk = go_away};
static const uvws_events_t reading = {UVWS_EVENTS_INIT};

static void fail_with(int wanted, const uvws_events_t* events,
                      uint64_t max_message) {
  uvws_server_options_t options;
  uvws_t ws;
  flooded = 0;
  code = 0;
  wrong_text = wanted == 1007;
  uvws_server_options_init(&options);
  options.max_message = max_message;
  port = start_server(&options, events);
  connect_to(&ws, port, &flooding, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  CHECK(code == wanted);
  printf("  %d: after %.1f MiB of 100\n", code, (double)flooded / 1048576);
  failures++;
}

void run_failing(void) {
  fail_with(1009, &reading, 1024 * 1024);
  fail_with(1007, &reading, FLOOD);
  fail_with(1001, &leaving, FLOOD);
  printf("failing: %u of 3 codes reached a peer that sent on\n", failures);
}
