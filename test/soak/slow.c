#include "soak.h"

/* Writers that are fast against readers that are slow: what waits stays at the
 * high-water mark, or within the server's budget, and nothing is lost. */

enum { MESSAGE = 16 * 1024, PERIOD_MS = 10 };

/* ---- the readers ---- */

typedef struct reader_s {
  uvws_t ws; /* first */
  uint64_t received;
  unsigned in_this_period;
} reader_t;

static reader_t* readers;
static unsigned n_readers, n_open, per_period;
static uv_timer_t pace;

static void on_read(uvws_t* ws, const uvws_message_t* message) {
  reader_t* reader = (reader_t*)ws;
  CHECK(message->len == MESSAGE);
  CHECK(memcmp(message->data, pattern(reader->received, MESSAGE), MESSAGE) ==
        0);
  reader->received += MESSAGE;
  if (++reader->in_this_period >= per_period) uvws_read_stop(ws);
}

/* Each period the next tenth of the readers may read on, or the only one. */
static void on_pace(uv_timer_t* timer) {
  static unsigned turn;
  (void)timer;
  unsigned step = n_readers > 10 ? 10 : 1;
  turn++;
  for (unsigned i = turn % step; i < n_readers; i += step) {
    readers[i].in_this_period = 0;
    uvws_read_start(&readers[i].ws);
  }
}

static uint64_t total_read;

static void on_reader_close(uvws_t* ws, const uvws_close_event_t* event) {
  reader_t* reader = (reader_t*)ws;
  uint64_t sent = 0;
  CHECK(event->was_clean && event->code == 1000);
  /* The writer's count is its reason. */
  sent = strtoull(event->reason, NULL, 10);
  CHECK(reader->received == sent);
  total_read += sent;
  if (--n_open == 0) uv_close((uv_handle_t*)&pace, NULL);
}

static const uvws_events_t reader_events = {
    UVWS_EVENTS_INIT, .message = on_read, .close = on_reader_close};

static void read_slowly(int port) {
  uvws_options_t options;
  uvws_options_init(&options);
  options.close_timeout = 120000;
  readers = calloc(n_readers, sizeof(*readers));
  CHECK(readers != NULL);
  n_open = n_readers;
  per_period = n_readers > 1 ? 1 : 4;
  uv_timer_init(loop, &pace);
  uv_timer_start(&pace, on_pace, PERIOD_MS, PERIOD_MS);
  for (unsigned i = 0; i < n_readers; i++)
    connect_to(&readers[i].ws, port, &reader_events, &options);
  uv_run(loop, UV_RUN_DEFAULT);
  printf("  readers: %ld KiB at most, %.0f MiB read\n", memory_kib("VmHWM:"),
         (double)total_read / 1048576);
  free(readers);
}

/* ---- the writers ---- */

static uint64_t written[MAX_SOCKETS], most_queued, most_memory, drains;
static uint64_t budget_left;
static long rss_low, rss_high;
static uv_timer_t end, sample;
static unsigned n_closed;
static bool ending;

static void note_queue(uvws_t* ws) {
  uint64_t queued = uvws_queue_size(ws), memory = uvws_server_memory(&server);
  if (queued > most_queued) most_queued = queued;
  if (memory > most_memory) most_memory = memory;
  CHECK(budget_left == 0 || memory <= budget_left);
}

static void write_on(uvws_t* ws) {
  uint64_t* at = &written[ws - accepted];
  while (!uvws_needs_drain(ws)) {
    int status = uvws_send(ws, pattern(*at, MESSAGE), MESSAGE, UVWS_BINARY);
    note_queue(ws);
    if (status == UV_ENOBUFS) break;
    CHECK(status == 0);
    *at += MESSAGE;
  }
}

static void on_drain(uvws_t* ws) {
  drains++;
  if (!ending) write_on(ws);
}

static void on_writer_close(uvws_t* ws, const uvws_close_event_t* event) {
  (void)ws;
  CHECK(event->was_clean);
  if (++n_closed == n_readers) uvws_server_close(&server, 1000);
}

static const uvws_events_t writer_events = {UVWS_EVENTS_INIT, .open = write_on,
                                            .drain = on_drain,
                                            .close = on_writer_close};

static void on_end(uv_timer_t* timer) {
  char count[32];
  uv_close((uv_handle_t*)timer, NULL);
  uv_close((uv_handle_t*)&sample, NULL);
  ending = true;
  CHECK(n_accepted == n_readers);
  for (unsigned i = 0; i < n_accepted; i++) {
    int len =
        snprintf(count, sizeof(count), "%llu", (unsigned long long)written[i]);
    CHECK(uvws_close(&accepted[i], 1000, count, (size_t)len) == 0);
  }
}

static void on_sample(uv_timer_t* timer) {
  long rss = memory_kib("VmRSS:");
  (void)timer;
  if (rss_low == 0 || rss < rss_low) rss_low = rss;
  if (rss > rss_high) rss_high = rss;
}

void run_slow(unsigned n, unsigned seconds, uint64_t budget) {
  uvws_server_options_t options;
  n_readers = n;
  budget_left = budget;
  uvws_server_options_init(&options);
  options.max_memory = budget;
  options.close_timeout = 120000;
  int port = start_server(&options, &writer_events);
  int pid = start_peer(read_slowly, port);
  uv_timer_init(loop, &end);
  uv_timer_start(&end, on_end, 1000 * seconds, 0);
  uv_timer_init(loop, &sample);
  uv_timer_start(&sample, on_sample, 200 * seconds, 100);
  uv_run(loop, UV_RUN_DEFAULT);
  join_peer(pid);
  CHECK(drains > 0 || seconds < 30);
  printf(
      "slow: %u readers, %u s: %llu drains, at most %llu KiB queued by one,"
      " %llu KiB by all; resident %ld to %ld KiB\n",
      n, seconds, (unsigned long long)drains,
      (unsigned long long)most_queued / 1024,
      (unsigned long long)most_memory / 1024, rss_low, rss_high);
}
