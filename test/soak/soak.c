#include "soak.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/*   soak huge BYTES | whole BYTES | slow READERS SECONDS BUDGET
 *        | endings TRIES | failing | idle N */

uv_loop_t* loop;
uvws_server_t server;
uvws_t accepted[MAX_SOCKETS];
unsigned n_accepted;
unsigned server_terminated;

static const uvws_events_t* accepted_events;

enum { PERIOD = 65521 }; /* a prime: no power of two repeats with it */

const char* pattern(uint64_t at, size_t len) {
  static char bytes[PERIOD + PATTERN_MAX];
  if (bytes[1] == 0) {
    uint32_t x = 1;
    for (size_t i = 0; i < PERIOD; i++) {
      x = x * 1664525 + 1013904223;
      bytes[i] = (char)('!' + (x >> 24) % 90);
    }
    for (size_t i = 0; i < PATTERN_MAX; i++)
      bytes[PERIOD + i] = bytes[i % PERIOD];
  }
  CHECK(len <= PATTERN_MAX);
  return bytes + at % PERIOD;
}

int start_peer(void (*peer)(int port), int port) {
  fflush(stdout);
  int pid = fork();
  CHECK(pid >= 0);
  if (pid > 0) return pid;
  loop = calloc(1, sizeof(*loop));
  CHECK(uv_loop_init(loop) == 0);
  peer(port);
  CHECK(uv_loop_close(loop) == 0);
  free(loop);
  exit(0);
}

void join_peer(int pid) {
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

long memory_kib(const char* what) {
  char line[128];
  long kib = -1;
  FILE* file = fopen("/proc/self/status", "r");
  CHECK(file != NULL);
  while (fgets(line, sizeof(line), file) != NULL)
    if (strncmp(line, what, strlen(what)) == 0)
      kib = strtol(line + strlen(what) + 1, NULL, 10);
  fclose(file);
  return kib;
}

static void on_request(uvws_server_t* self, uvws_request_t* request) {
  uvws_t* ws = &accepted[n_accepted++];
  CHECK(n_accepted <= MAX_SOCKETS);
  uvws_init(self->loop, ws, accepted_events);
  uvws_set_binary_type(ws, UVWS_ARRAYBUFFER);
  CHECK(uvws_accept(request, ws, NULL) == 0);
}

static void on_progress(uvws_server_t* self, unsigned left,
                        unsigned terminated) {
  (void)self;
  (void)left;
  server_terminated = terminated;
}

static const uvws_server_events_t server_events = {
    UVWS_SERVER_EVENTS_INIT, .request = on_request, .progress = on_progress};

/* A file of the directory in UVWS_TEST_TLS, which cmake/ca made: there are
 * certificates, and so the same runs go over TLS. */
static const char* certificate_file(const char* name) {
  static char path[2][512];
  static unsigned n;
  n ^= 1;
  snprintf(path[n], sizeof(path[n]), "%s/%s", getenv("UVWS_TEST_TLS"), name);
  return path[n];
}

static uvws_tls_t* server_tls(void) {
  uvws_tls_certificate_t certificate = {.cert_file = NULL};
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  if (getenv("UVWS_TEST_TLS") == NULL) return NULL;
  certificate.cert_file = certificate_file("localhost.crt");
  certificate.key_file = certificate_file("localhost.key");
  uvws_tls_options_init(&options);
  options.certificates = &certificate;
  options.n_certificates = 1;
  CHECK(uvws_tls_new(&tls, &options, NULL, 0) == 0);
  return tls;
}

static uvws_tls_t* client_tls(void) {
  static uvws_tls_t* tls;
  uvws_tls_options_t options;
  if (tls != NULL || getenv("UVWS_TEST_TLS") == NULL) return tls;
  uvws_tls_options_init(&options);
  options.ca_file = certificate_file("ca.crt");
  CHECK(uvws_tls_new(&tls, &options, NULL, 0) == 0);
  return tls;
}

void init_server(const uvws_server_events_t* events,
                 const uvws_server_options_t* from) {
  uvws_server_options_t options;
  uvws_server_options_init(&options);
  if (from != NULL) options = *from;
  options.tls = server_tls();
  CHECK(uvws_server_init(loop, &server, events, &options) == 0);
  uvws_tls_unref(options.tls);
}

int start_server(const uvws_server_options_t* options,
                 const uvws_events_t* events) {
  struct sockaddr_in addr;
  int len = sizeof(addr);
  accepted_events = events;
  n_accepted = server_terminated = 0;
  uv_ip4_addr("127.0.0.1", 0, &addr);
  init_server(&server_events, options);
  CHECK(uvws_listen(&server, (const struct sockaddr*)&addr, 0, 4096) == 0);
  uvws_server_getsockname(&server, (struct sockaddr*)&addr, &len);
  return ntohs(addr.sin_port);
}

void connect_to(uvws_t* ws, int port, const uvws_events_t* events,
                const uvws_options_t* from) {
  uvws_options_t options;
  char url[64];
  uvws_options_init(&options);
  if (from != NULL) options = *from;
  options.tls = client_tls();
  snprintf(url, sizeof(url), "%s://127.0.0.1:%d/",
           options.tls == NULL ? "ws" : "wss", port);
  CHECK(uvws_init(loop, ws, events) == 0);
  uvws_set_binary_type(ws, UVWS_ARRAYBUFFER);
  CHECK(uvws_connect(ws, url, &options) == 0);
}

int main(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  unsigned long long number[3] = {0, 0, 0};
  for (int i = 2; i < argc && i < 5; i++)
    number[i - 2] = strtoull(argv[i], NULL, 0);
  signal(SIGPIPE, SIG_IGN);
  loop = uv_default_loop();
  if (strcmp(name, "huge") == 0)
    run_huge(number[0], false);
  else if (strcmp(name, "whole") == 0)
    run_huge(number[0], true);
  else if (strcmp(name, "slow") == 0)
    run_slow((unsigned)number[0], (unsigned)number[1], number[2]);
  else if (strcmp(name, "endings") == 0)
    run_endings((unsigned)number[0]);
  else if (strcmp(name, "failing") == 0)
    run_failing();
  else if (strcmp(name, "idle") == 0)
    run_idle((unsigned)number[0]);
  else
    return 2;
  CHECK(uv_loop_close(loop) == 0);
  return 0;
}
