/* A chat room. Whoever connects to ws://127.0.0.1:PORT/?nick=NAME hears what
 * the others say, one line in each text message.
 *
 *   chat-server [--cert FILE --key FILE] [--threads N] [--hand-over] [PORT]
 *
 * The port is 8080 unless given; 0 takes a free one. With a certificate and its
 * key the room is at wss://127.0.0.1:PORT/. The members are spread over
 * N threads, 1 unless given and 64 at most: by the kernel where it can, else,
 * or with --hand-over, by the first thread, which accepts for all. room.c has
 * what happens in the room. */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uvws.h>

#include "room.h"

enum { MAX_QUEUE = 1024 * 1024 /* what may wait for a slow reader */ };

typedef struct settings_s {
  uvws_tls_certificate_t certificate;
  long threads;
  long port;
  bool hand_over;
} settings_t;

static uvws_server_t acceptor; /* accepts for all, on the first loop */
static bool is_accepting;
static uv_signal_t signals[2]; /* on the first loop too */
static atomic_uint n_open;     /* workers whose server is */

static void die(const char* what, int status) {
  fprintf(stderr, "chat-server: %s: %s\n", what, uvws_strerror(status));
  exit(1);
}

/* ---- The servers' events ---- */

static void on_error(uvws_server_t* server, int status) {
  (void)server;
  fprintf(stderr, "chat-server: accept: %s\n", uvws_strerror(status));
}

static void on_tls_error(uvws_server_t* server, int status,
                         const char* reason) {
  (void)server;
  (void)status;
  fprintf(stderr, "chat-server: %s\n", reason);
}

/* The last one to close wakes the first thread, which ends the process. */
static void on_close(uvws_server_t* server) {
  worker_t* worker = server->loop->data;
  worker->is_open = false;
  if (worker != &workers[0]) uv_close((uv_handle_t*)&worker->awake, NULL);
  if (atomic_fetch_sub(&n_open, 1) == 1) uv_async_send(&workers[0].awake);
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = room_on_request, .error = on_error,
    .tls_error = on_tls_error, .close = on_close};

/* ---- One port for all workers ---- */

static int listen_at(uvws_server_t* server, long* port, unsigned flags) {
  struct sockaddr_in address;
  int len = sizeof(address);
  uv_ip4_addr("127.0.0.1", (int)*port, &address);
  int status =
      uvws_listen(server, (const struct sockaddr*)&address, flags, 128);
  if (status != 0) return status;
  uvws_server_getsockname(server, (struct sockaddr*)&address, &len);
  *port = ntohs(address.sin_port);
  return 0;
}

/* Each server listens. Port 0 is what the first one gets. */
static int listen_with_all(long* port) {
  unsigned flags = n_workers > 1 ? UVWS_LISTEN_REUSEPORT : 0;
  int status = 0;
  for (unsigned i = 0; i < n_workers && status == 0; i++)
    status = listen_at(&workers[i].server, port, flags);
  return status;
}

/* On the worker's thread: a descriptor that its server does not take is still
 * ours, as when the server has begun to close, or is gone, meanwhile. */
static void take(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  uv_os_sock_t fd = (uv_os_sock_t)(intptr_t)arg;
  int status = UV_ECANCELED;
  if (worker->is_open)
    status = uvws_server_adopt_fd(&worker->server, fd, NULL, 0);
  if (status == 0) return;
  close(fd);
  if (status != UV_ECANCELED) on_error(&worker->server, status);
}

static void on_connection(uvws_server_t* server, uv_os_sock_t fd) {
  static unsigned next;
  worker_t* worker = &workers[next++ % n_workers];
  (void)server;
  if (uvws_post(&worker->loop, take, (void*)(intptr_t)fd) != 0) close(fd);
}

/* One more server listens, which hands on every connection, so that no request
 * comes to it. The others have nothing to listen to. */
static int listen_for_all(long* port) {
  static const uvws_server_events_t events = {
      UVWS_SERVER_EVENTS_INIT, .request = room_on_request, .error = on_error,
      .connection = on_connection};
  int status = uvws_server_init(&workers[0].loop, &acceptor, &events, NULL);
  if (status != 0) return status;
  is_accepting = true;
  return listen_at(&acceptor, port, 0);
}

/* ---- The end ---- */

static void close_server(uv_loop_t* loop, void* arg) {
  worker_t* worker = loop->data;
  if (worker->is_open)
    uvws_server_close(&worker->server, (uint32_t)(uintptr_t)arg);
}

/* The first signal ends everything within two seconds, a second one at once. A
 * worker that cannot be posted to has ended, or waits for another signal. */
static void on_signal(uv_signal_t* handle, int number) {
  static uintptr_t deadline = 2000;
  (void)handle;
  (void)number;
  if (is_accepting) uvws_server_close(&acceptor, 0);
  is_accepting = false;
  for (unsigned i = 0; i < n_workers; i++)
    uvws_post(&workers[i].loop, close_server, (void*)deadline);
  deadline = 0;
}

/* The other threads are about to end, if they have not: nothing keeps their
 * loops. The same is now true for the first. */
static void on_all_closed(uv_async_t* awake) {
  for (unsigned i = 1; i < n_workers; i++) uv_thread_join(&workers[i].thread);
  uv_close((uv_handle_t*)awake, NULL);
  for (int i = 0; i < 2; i++) uv_close((uv_handle_t*)&signals[i], NULL);
}

/* ---- The beginning ---- */

static uvws_tls_t* make_tls(const uvws_tls_certificate_t* certificate) {
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  char why[256];
  uvws_tls_options_init(&options);
  options.certificates = certificate;
  options.n_certificates = 1;
  if (uvws_tls_new(&tls, &options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "chat-server: %s\n", why);
  exit(1);
}

static int open_worker(worker_t* worker, const uvws_server_options_t* options) {
  int status = uv_loop_init(&worker->loop);
  if (status != 0) return status;
  worker->loop.data = worker;
  status = uv_async_init(&worker->loop, &worker->awake, on_all_closed);
  if (status != 0) return status;
  worker->is_open = true;
  return uvws_server_init(&worker->loop, &worker->server, &server_events,
                          options);
}

/* On the first thread, like all that happens before the others run. */
static void open_workers(const uvws_tls_certificate_t* certificate) {
  uvws_server_options_t options;
  uvws_deflate_options_t deflate;
  uvws_server_options_init(&options);
  uvws_deflate_options_init(&deflate);
  /* Each line is compressed once, for all who have agreed to that. */
  options.deflate = &deflate;
  options.max_message = MAX_TEXT; /* more is answered with close code 1009 */
  options.high_water = MAX_QUEUE; /* and a slower reader with 1008 */
  options.high_water_policy = UVWS_HIGH_WATER_CLOSE;
  if (certificate->cert_file != NULL) options.tls = make_tls(certificate);
  int status = room_init();
  for (unsigned i = 0; i < n_workers && status == 0; i++)
    status = open_worker(&workers[i], &options);
  if (status != 0) die("init", status);
  atomic_init(&n_open, n_workers);
  uvws_tls_unref(options.tls); /* each server has a reference of its own */
}

static void run(void* worker) {
  uv_run(&((worker_t*)worker)->loop, UV_RUN_DEFAULT);
}

/* The first worker's thread is the one that main() runs on. */
static void run_workers(void) {
  for (unsigned i = 1; i < n_workers; i++) {
    int status = uv_thread_create(&workers[i].thread, run, &workers[i]);
    if (status != 0) die("thread", status);
  }
  run(&workers[0]);
  for (unsigned i = 0; i < n_workers; i++) uv_loop_close(&workers[i].loop);
}

static bool read_number(const char* text, long min, long max, long* number) {
  char* end;
  *number = strtol(text, &end, 10);
  return end != text && *end == '\0' && *number >= min && *number <= max;
}

static bool parse(int argc, char** argv, settings_t* settings) {
  int at = 1;
  for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
    const char* option = argv[at];
    if (strcmp(option, "--hand-over") == 0) {
      settings->hand_over = true;
      continue;
    }
    if (++at == argc) return false;
    if (strcmp(option, "--cert") == 0)
      settings->certificate.cert_file = argv[at];
    else if (strcmp(option, "--key") == 0)
      settings->certificate.key_file = argv[at];
    else if (strcmp(option, "--threads") != 0 ||
             !read_number(argv[at], 1, MAX_WORKERS, &settings->threads))
      return false;
  }
  if (at == argc) return true;
  return at + 1 == argc && read_number(argv[at], 0, 65535, &settings->port);
}

int main(int argc, char** argv) {
  settings_t settings = {.threads = 1, .port = 8080};
  if (!parse(argc, argv, &settings)) {
    fprintf(stderr,
            "usage: %s [--cert FILE --key FILE] [--threads N] [--hand-over]"
            " [PORT]\n",
            argv[0]);
    return 2;
  }

  signal(SIGPIPE, SIG_IGN);
  n_workers = (unsigned)settings.threads;
  open_workers(&settings.certificate);
  int status = UV_ENOTSUP;
  if (!settings.hand_over) status = listen_with_all(&settings.port);
  if (status == UV_ENOTSUP) status = listen_for_all(&settings.port);
  if (status != 0) die("listen", status);
  for (int i = 0; i < 2; i++) {
    uv_signal_init(&workers[0].loop, &signals[i]);
    uv_signal_start(&signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
  }
  printf("listening on %s://127.0.0.1:%ld/\n",
         settings.certificate.cert_file != NULL ? "wss" : "ws", settings.port);
  fflush(stdout);
  run_workers();
  return 0;
}
