#include "soak.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Many idle connections: what they cost, what a broadcast to all of them takes,
 * and how the dead are found. The pauses of the loop are the gaps between the
 * calls of a timer that is due each millisecond. */

enum { BATCH = 500, INTERVAL_MS = 1000, TIMEOUT_MS = 4000 };

static unsigned n_wanted;
static int to_parent[2]; /* the peers tell: opened, heard */

/* ---- the peers ---- */

static uvws_t* peers;
static unsigned n_started, n_opened, n_heard;
static int server_port;

static void tell(char what) {
  CHECK(write(to_parent[1], &what, 1) == 1);
}

static const uvws_events_t peer_events;

static void start_some(void) {
  for (unsigned i = 0; i < BATCH && n_started < n_wanted; i++) {
    uvws_options_t options;
    uvws_options_init(&options);
    options.ping_interval = 0;
    /* All begin at once; under TLS and a sanitizer that takes a while. */
    options.handshake_timeout = 120000;
    connect_to(&peers[n_started++], server_port, &peer_events, &options);
  }
}

static void on_open(uvws_t* ws) {
  (void)ws;
  if (++n_opened == n_wanted)
    tell('o');
  else if (n_opened == n_started)
    start_some();
}

static void on_message(uvws_t* ws, const uvws_message_t* message) {
  (void)ws;
  (void)message;
  if (++n_heard == n_wanted) tell('h');
}

static const uvws_events_t peer_events = {UVWS_EVENTS_INIT, .open = on_open,
                                          .message = on_message};

static void be_idle(int port) {
  server_port = port;
  peers = calloc(n_wanted, sizeof(*peers));
  CHECK(peers != NULL);
  start_some();
  uv_run(loop, UV_RUN_DEFAULT);
  free(peers);
}

/* ---- the server ---- */

static uv_pipe_t from_peers;
static uv_timer_t heartbeat;
static uint64_t last_beat, longest, since;
static unsigned n_dead;
static long before;
static int peer_pid;
static char told[16];

static double ms(uint64_t ns) {
  return (double)ns / 1e6;
}

static void on_beat(uv_timer_t* timer) {
  uint64_t now = uv_hrtime();
  (void)timer;
  if (now - last_beat > longest) longest = now - last_beat;
  last_beat = now;
}

static void measure_anew(void) {
  since = last_beat = uv_hrtime();
  longest = 0;
}

static void on_opened(void) {
  long kib = memory_kib("VmRSS:") - before;
  printf("idle: %u connections, %.2f KiB each\n", n_wanted,
         (double)kib / n_wanted);
  uvws_blob_t* blob = uvws_blob_new(pattern(0, 64), 64);
  measure_anew();
  CHECK(uvws_server_broadcast(&server, blob, UVWS_TEXT, NULL) == (int)n_wanted);
  printf("  broadcast: the call %.1f ms", ms(uv_hrtime() - since));
  uvws_blob_unref(blob);
}

static void on_heard(void) {
  printf(", heard by all after %.1f ms, longest pause %.1f ms\n",
         ms(uv_hrtime() - since), ms(longest));
  CHECK(kill(peer_pid, SIGSTOP) == 0);
  measure_anew();
}

static void on_told(uv_stream_t* stream, ssize_t n, const uv_buf_t* buf) {
  (void)stream;
  for (ssize_t i = 0; i < n; i++)
    if (buf->base[i] == 'o')
      on_opened();
    else
      on_heard();
}

static void on_alloc(uv_handle_t* handle, size_t size, uv_buf_t* buf) {
  (void)handle;
  (void)size;
  *buf = uv_buf_init(told, sizeof(told));
}

static void on_dead(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  CHECK(event->status == UVWS_ETIMEOUT && event->code == 1006);
  if (++n_dead < n_wanted) return;
  printf(
      "  stopped: all %u found dead after %.0f ms (%d + %d ms), longest"
      " pause %.1f ms\n",
      n_dead, ms(uv_hrtime() - since), INTERVAL_MS, TIMEOUT_MS, ms(longest));
  uvws_server_close(&server, 0);
  uv_close((uv_handle_t*)&from_peers, NULL);
  uv_close((uv_handle_t*)&heartbeat, NULL);
}

static const uvws_events_t server_events = {UVWS_EVENTS_INIT, .close = on_dead};

void run_idle(unsigned n) {
  uvws_server_options_t options;
  n_wanted = n;
  uvws_server_options_init(&options);
  options.ping_interval = INTERVAL_MS;
  options.handshake_timeout = 120000;
  options.ping_timeout = TIMEOUT_MS;
  CHECK(pipe(to_parent) == 0);
  int port = start_server(&options, &server_events);
  peer_pid = start_peer(be_idle, port);
  before = memory_kib("VmRSS:");
  uv_pipe_init(loop, &from_peers, 0);
  uv_pipe_open(&from_peers, to_parent[0]);
  uv_read_start((uv_stream_t*)&from_peers, on_alloc, on_told);
  uv_timer_init(loop, &heartbeat);
  uv_timer_start(&heartbeat, on_beat, 1, 1);
  uv_run(loop, UV_RUN_DEFAULT);
  kill(peer_pid, SIGKILL);
  waitpid(peer_pid, NULL, 0);
  close(to_parent[1]);
}
