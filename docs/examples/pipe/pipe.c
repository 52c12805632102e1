/* Sends its standard input as one message, however long, and writes the message
 * that comes back to its standard output; neither is ever held in memory.
 *
 *   pipe [--ca FILE] URL < FILE > COPY          with echo-server --stream at
 * the other end
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvws.h>

enum { STDIN = 0, STDOUT = 1, BUFFER = 64 * 1024 };

typedef struct copy_s {
  uvws_t ws;
  uv_fs_t read;
  uv_fs_t write;
  bool reading;
  bool failed;
  bool is_last; /* of the chunk that is being written */
  ssize_t in;   /* bytes in `input`; 0 at its end */
  size_t in_at;
  size_t out;
  size_t out_at;
  char input[BUFFER];
  char* output; /* as large as the largest chunk was */
  size_t output_size;
} copy_t;

static void fail(copy_t* copy, const char* what, int status) {
  fprintf(stderr, "pipe: %s: %s\n", what, uvws_strerror(status));
  copy->failed = true;
  uvws_terminate(&copy->ws);
}

/* ---- From the input to the server ---- */

static void on_input(uv_fs_t* read) {
  copy_t* copy = read->data;
  copy->reading = false;
  copy->in = read->result;
  copy->in_at = 0;
  uv_fs_req_cleanup(read);
  uvws_send_resume(&copy->ws);
}

static int read_on(copy_t* copy) {
  uv_buf_t buf = uv_buf_init(copy->input, BUFFER);
  copy->read.data = copy;
  copy->reading = true;
  return uv_fs_read(copy->ws.loop, &copy->read, STDIN, &buf, 1, -1, on_input);
}

/* Asked when the socket has room: what was read, then wait for more. */
static ssize_t next_bytes(uvws_t* ws, void* buf, size_t len, void* arg) {
  copy_t* copy = ws->data;
  (void)arg;
  if (copy->reading) return UV_EAGAIN;
  if (copy->in <= 0) return copy->in;
  size_t left = (size_t)copy->in - copy->in_at;
  if (left == 0) {
    int status = read_on(copy);
    return status == 0 ? UV_EAGAIN : status;
  }
  if (len > left) len = left;
  memcpy(buf, copy->input + copy->in_at, len);
  copy->in_at += len;
  return (ssize_t)len;
}

static void on_open(uvws_t* ws) {
  copy_t* copy = ws->data;
  int status = read_on(copy);
  if (status == 0) status = uvws_send_source(ws, UVWS_BINARY, next_bytes, NULL);
  if (status != 0) fail(copy, "input", status);
}

/* ---- From the server to the output ---- */

static void write_on(copy_t* copy);

static void on_written(uv_fs_t* write) {
  copy_t* copy = write->data;
  ssize_t result = write->result;
  uv_fs_req_cleanup(write);
  if (result < 0) {
    fail(copy, "output", (int)result);
    return;
  }
  copy->out_at += (size_t)result;
  if (copy->out_at < copy->out)
    write_on(copy);
  else if (copy->is_last)
    uvws_close(&copy->ws, 1000, NULL, 0);
  else
    uvws_read_start(&copy->ws);
}

static void write_on(copy_t* copy) {
  uv_buf_t buf = uv_buf_init(copy->output + copy->out_at,
                             (unsigned)(copy->out - copy->out_at));
  copy->write.data = copy;
  int status =
      uv_fs_write(copy->ws.loop, &copy->write, STDOUT, &buf, 1, -1, on_written);
  if (status != 0) fail(copy, "output", status);
}

static bool make_room(copy_t* copy, size_t size) {
  if (size <= copy->output_size) return true;
  char* output = realloc(copy->output, size);
  if (output == NULL) return false;
  copy->output = output;
  copy->output_size = size;
  return true;
}

/* While one chunk is being written no other may come. */
static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  copy_t* copy = ws->data;
  if (!make_room(copy, chunk->len)) {
    fail(copy, "output", UV_ENOMEM);
    return;
  }
  if (chunk->len > 0) memcpy(copy->output, chunk->data, chunk->len);
  copy->out = chunk->len;
  copy->out_at = 0;
  copy->is_last = chunk->last;
  uvws_read_stop(ws);
  if (chunk->len == 0)
    uvws_close(ws, 1000, NULL, 0);
  else
    write_on(copy);
}

static void on_error(uvws_t* ws, int status, const char* reason) {
  fprintf(stderr, "pipe: %s: %s (%s)\n", uvws_url(ws), reason,
          uvws_err_name(status));
}

static void on_close(uvws_t* ws, const uvws_close_event_t* event) {
  copy_t* copy = ws->data;
  if (!event->was_clean || !copy->is_last) copy->failed = true;
}

static const uvws_events_t events = {UVWS_EVENTS_INIT, .open = on_open,
                                     .chunk = on_chunk, .error = on_error,
                                     .close = on_close};

static uvws_tls_t* make_tls(const char* ca_file) {
  uvws_tls_options_t options;
  uvws_tls_t* tls;
  char why[256];
  uvws_tls_options_init(&options);
  options.ca_file = ca_file;
  if (uvws_tls_new(&tls, &options, why, sizeof(why)) == 0) return tls;
  fprintf(stderr, "pipe: %s\n", why);
  exit(1);
}

int main(int argc, char** argv) {
  static copy_t copy;
  uvws_options_t options;
  bool has_ca = argc == 4 && strcmp(argv[1], "--ca") == 0;
  const char* url = argv[argc - 1];
  if (argc != 2 && !has_ca) {
    fprintf(stderr, "usage: %s [--ca FILE] URL < FILE > COPY\n", argv[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  uvws_options_init(&options);
  if (has_ca) options.tls = make_tls(argv[2]);
  options.max_message = UINT64_MAX;
  options.max_fragments = UINT32_MAX;
  uvws_init(uv_default_loop(), &copy.ws, &events);
  copy.ws.data = &copy;
  int status = uvws_connect(&copy.ws, url, &options);
  uvws_tls_unref(options.tls);
  if (status != 0) {
    fprintf(stderr, "pipe: %s: %s\n", url, uvws_strerror(status));
    return 1;
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  free(copy.output);
  return copy.failed;
}
