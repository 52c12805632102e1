#include "faults.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/deflate.h"

/* See faults.h. Here: connections with permessage-deflate. Whatever fails, each
 * message that a call took comes as it was, in its turn, or the connection
 * ends: no context refers to what the peer has not seen. To show that, who is
 * refused memory asks once more. */

/* ---- what is said ---- */

static char words[70000];     /* that come again */
static uint8_t noise[3000];   /* cannot become less */
static char letters[180000];  /* can, but stay more than a buffer has */
static uint8_t much[1300000]; /* becomes little */

/* What is to come to a socket, in this order. */
typedef struct inbox_s {
  struct {
    const void* data;
    size_t len;
    unsigned type;
  } list[24];
  unsigned n, came;
  size_t at; /* of the one that is coming */
} inbox_t;

static struct {
  inbox_t inboxes[2 * ENDS]; /* the clients', the accepted ones' */
  unsigned client_of[ENDS];  /* of an accepted one */
  size_t source_at[2 * ENDS];
  uvws_blob_t* blobs[2];
  uvws_deflate_options_t server, clients[ENDS], more[2];
  void (*in_chunk)(uvws_t* ws); /* of an accepted socket */
  unsigned chunks;
  unsigned opened; /* of two */
  bool gives_up;   /* what was sent need not come */
  bool is_broken;  /* nor be right */
} talk;

static unsigned index_of(const uvws_t* ws) {
  const seen_t* seen = (const seen_t*)ws;
  return seen >= world.accepted && seen < world.accepted + ENDS
             ? ENDS + (unsigned)(seen - world.accepted)
             : (unsigned)(seen - world.clients);
}

static inbox_t* inbox_of_peer(const uvws_t* ws) {
  unsigned index = index_of(ws);
  if (index >= ENDS) return &talk.inboxes[talk.client_of[index - ENDS]];
  return &talk.inboxes[ENDS + (talk.client_of[0] != index)];
}

static void expect(inbox_t* inbox, const void* data, size_t len,
                   unsigned flags) {
  require(inbox->n < COUNT_OF(inbox->list), "too many messages");
  inbox->list[inbox->n].data = data;
  inbox->list[inbox->n].len = len;
  inbox->list[inbox->n++].type = flags & (UVWS_TEXT | UVWS_BINARY);
}

/* What a call returned; when it took a message, that will come. */
static void sent(uvws_t* ws, int status, const void* data, size_t len,
                 unsigned flags) {
  if (status == 0) expect(inbox_of_peer(ws), data, len, flags);
  must(ws, status);
}

static void check_part(uvws_t* ws, unsigned type, const void* data, size_t len,
                       bool last) {
  inbox_t* inbox = &talk.inboxes[index_of(ws)];
  require(inbox->came < inbox->n, "a message that nobody sent");
  require(type == inbox->list[inbox->came].type, "a message of another type");
  size_t left = inbox->list[inbox->came].len - inbox->at;
  require(last ? len == left : len <= left, "a message of another length");
  const char* wanted = inbox->list[inbox->came].data;
  require(len == 0 || memcmp(data, wanted + inbox->at, len) == 0,
          "a message of other bytes");
  inbox->at = last ? 0 : inbox->at + len;
  inbox->came += last;
}

static void check_message(uvws_t* ws, const uvws_message_t* message) {
  check_part(ws, message->type, message->data, message->len, true);
  fault_events.message(ws, message);
}

/* Whatever one side has no memory for, the other one understands it. */
static void check_error(uvws_t* ws, int status, const char* reason) {
  require(talk.is_broken || (status != UVWS_EPROTOCOL && status != UVWS_EUTF8),
          reason);
  fault_events.error(ws, status, reason);
}

/* Once more: what was refused has changed nothing. */
static int last_status;
#define TWICE(call) \
  (last_status = (call), last_status == UV_ENOMEM ? (call) : last_status)

static void say(uvws_t* ws, const void* data, size_t len, unsigned flags) {
  sent(ws, TWICE(uvws_send(ws, data, len, flags)), data, len, flags);
}

static void say_blob(uvws_t* ws, uvws_blob_t* blob, const void* data,
                     size_t len, unsigned flags) {
  int status = UV_ENOMEM;
  if (blob != NULL) status = TWICE(uvws_send_blob(ws, blob, flags));
  sent(ws, status, data, len, flags);
}

static uvws_blob_t* make_blob(const void* data, size_t len) {
  uvws_blob_t* blob = uvws_blob_new(data, len);
  return blob != NULL ? blob : uvws_blob_new(data, len);
}

static void say_as_blob(uvws_t* ws, const void* data, size_t len,
                        unsigned flags) {
  uvws_blob_t* blob = make_blob(data, len);
  say_blob(ws, blob, data, len, flags);
  uvws_blob_unref(blob);
}

static void say_words(uvws_t* ws) {
  say(ws, words, 3000, UVWS_TEXT);
}

static void ping(uvws_t* ws) {
  must(ws, TWICE(uvws_ping(ws, "ping", 4)));
}

/* From the caller's own bytes, in pieces: much output grows again and again.
 */
static void on_write(uvws_write_t* req, int status) {
  seen_t* seen = (seen_t*)req->ws;
  (void)status;
  assert_true(seen->is_writing);
  seen->is_writing = false;
}

static void write_letters(uvws_t* ws, size_t len) {
  seen_t* seen = (seen_t*)ws;
  uv_buf_t bufs[6];
  size_t part = len / COUNT_OF(bufs);
  for (unsigned i = 0; i < COUNT_OF(bufs); i++)
    bufs[i] = uv_buf_init(letters + i * part, (unsigned)part);
  int status = TWICE(uvws_write(&seen->write, ws, bufs, COUNT_OF(bufs),
                                UVWS_BINARY, on_write));
  seen->is_writing = status == 0;
  sent(ws, status, letters, len, UVWS_BINARY);
}

static void say_words_back(uvws_t* ws, const uvws_message_t* message) {
  (void)message;
  say_words(ws);
}

/* In parts by calls, with a ping between them; `flags` as for uvws_begin(). */
static void say_parts(uvws_t* ws, const void* data, size_t len,
                      unsigned flags) {
  const char* at = data;
  size_t part = len / 3;
  if (uvws_ready_state(ws) != UVWS_OPEN) return;
  int status = TWICE(uvws_begin(ws, flags));
  if (status == 0) status = TWICE(uvws_continue(ws, at, part));
  if (status == 0) status = TWICE(uvws_ping(ws, "between", 7));
  if (status == 0) status = TWICE(uvws_continue(ws, at + part, 1));
  if (status == 0) status = TWICE(uvws_end(ws, at + part + 1, len - part - 1));
  sent(ws, status, data, len, flags);
}

static ssize_t read_words(uvws_t* ws, void* buf, size_t len, void* arg) {
  size_t* at = arg;
  size_t n = sizeof(words) - *at < 30011 ? sizeof(words) - *at : 30011;
  (void)ws;
  if (n > len) n = len;
  memcpy(buf, words + *at, n);
  *at += n;
  return (ssize_t)n;
}

static void say_source(uvws_t* ws) {
  size_t* at = &talk.source_at[index_of(ws)];
  *at = 0;
  sent(ws, TWICE(uvws_send_source(ws, UVWS_TEXT, read_words, at)), words,
       sizeof(words), UVWS_TEXT);
}

/* Sends back what came, from where it was sent. */
static void answer(uvws_t* ws, const uvws_message_t* message) {
  const inbox_t* inbox = &talk.inboxes[index_of(ws)];
  const void* data = inbox->list[inbox->came - 1].data;
  if (message->type == UVWS_TEXT) {
    say(ws, data, message->len, UVWS_TEXT);
    return;
  }
  uvws_blob_t* blob = uvws_message_blob(message);
  if (blob == NULL) blob = uvws_message_blob(message);
  say_blob(ws, blob, data, message->len, UVWS_BINARY);
  uvws_blob_unref(blob);
}

/* ---- what is agreed upon ---- */

static void defaults(uvws_deflate_options_t* options) {
  uvws_deflate_options_init(options);
  options->level = 1;
  options->memory_level = 4;
}

static void set_defaults(void) {
  defaults(&talk.server);
  for (size_t i = 0; i < ENDS; i++) {
    defaults(&talk.clients[i]);
    defaults(&talk.more[i]);
  }
}

/* zlib takes its time: an end may be late without having failed. */
static uint32_t close_timeout(void) {
  return plan.fault == NO_FAULT ? 4000 : 50;
}

static void server_options(uvws_server_options_t* options) {
  options->deflate = &talk.server;
  options->close_timeout = close_timeout();
  options->max_message = 2 * sizeof(much);
}

/* For inflating, but not for a context to send with. */
static void scarce_options(uvws_server_options_t* options) {
  server_options(options);
  options->max_memory = 400000;
}

/* Each asks for its own name. */
static void connect_clients(unsigned n) {
  char url[64];
  if (!start_server()) return;
  for (unsigned i = 0; i < n; i++) {
    uvws_options_t options;
    client_options(&options);
    options.deflate = &talk.clients[i];
    options.close_timeout = close_timeout();
    snprintf(url, sizeof(url), "ws://127.0.0.1:%d/%u", world.hosts[0].port, i);
    begin_client(&world.clients[i], url, &options);
  }
}

static void accept_client(uvws_request_t* request) {
  unsigned client = uvws_request_target(request)[1] == '1';
  talk.client_of[world.accepted[0].begun] = client;
  accept_request(request);
}

static void start_talk(void) {
  set_defaults();
  connect_clients(1);
}

static void start_without_takeover(void) {
  set_defaults();
  talk.server.server_no_context_takeover = 1;
  talk.clients[0].client_no_context_takeover = 1;
  connect_clients(1);
}

/* All goes by way of the outbox. */
static void start_queued(void) {
  plan.try_none = true;
  start_talk();
}

static void start_queued_without_takeover(void) {
  plan.try_none = true;
  start_without_takeover();
}

/* The server takes the first, and narrows it. */
static void start_offers(void) {
  set_defaults();
  talk.clients[0].next = &talk.more[0];
  talk.more[0].next = &talk.more[1];
  talk.clients[0].client_max_window_bits = 12;
  talk.more[0].server_max_window_bits = 10;
  talk.server.client_max_window_bits = 10;
  connect_clients(1);
}

/* ---- talk ---- */

static void say_all(uvws_t* ws) {
  ping(ws);
  say(ws, "hello", 5, UVWS_TEXT | UVWS_COMPRESS);
  say_words(ws);
  say_words(ws);
  say(ws, words + 100, 20000, UVWS_BINARY);
  say_as_blob(ws, words, 20000, UVWS_BINARY);
  say_words(ws);
}

static void say_little(uvws_t* ws) {
  ping(ws);
  say_words(ws);
  say_words(ws);
}

static void say_part_of_words(uvws_t* ws) {
  say_parts(ws, words + 50, 9000, UVWS_TEXT);
}

static void say_in_parts(uvws_t* ws) {
  say_words(ws);
  say_parts(ws, letters, 120000, UVWS_BINARY | UVWS_COMPRESS);
  say_words(ws);
  say_parts(ws, words, 9000, UVWS_TEXT | UVWS_NO_COMPRESS);
  write_letters(ws, 30000);
  say_source(ws);
}

/* Sent as it is, in parts it becomes more; what comes behind it does not refer
 * to it. */
static void say_noise(uvws_t* ws) {
  say_words(ws);
  say(ws, noise, sizeof(noise), UVWS_BINARY);
  say_words(ws);
  say(ws, "abc", 3, UVWS_TEXT | UVWS_COMPRESS);
  say_as_blob(ws, noise, sizeof(noise), UVWS_BINARY);
  say_parts(ws, noise, sizeof(noise), UVWS_BINARY);
  say_words(ws);
}

/* With all of it on its way. */
static void say_and_terminate(uvws_t* ws) {
  say_words(ws);
  write_letters(ws, sizeof(letters));
  say_as_blob(ws, letters, sizeof(letters), UVWS_BINARY);
  uvws_flush(ws);
  uvws_terminate(ws);
}

/* ---- blobs ---- */

/* Who has closed reads no more. */
static void give_up(void) {
  talk.gives_up = true;
  wind_down();
}

static void start_two(void) {
  talk.blobs[0] = make_blob(letters, 24000);
  talk.blobs[1] = make_blob(noise, sizeof(noise));
  connect_clients(2);
  if (!world.clients[0].begun || !world.clients[1].begun) give_up();
}

static void start_blobs(void) {
  set_defaults();
  start_two();
}

static void start_blobs_in_several_ways(void) {
  set_defaults();
  talk.clients[1].server_max_window_bits = 9;
  start_two();
}

/* The second has what the first one has made. When both are open, both have
 * one more. */
static void send_blobs(uvws_t* ws) {
  uvws_t* both[] = {&world.accepted[0].ws, &world.accepted[1].ws};
  int statuses[] = {UV_ENOMEM, UV_ENOMEM};
  say_blob(ws, talk.blobs[0], letters, 24000, UVWS_TEXT);
  say_words(ws);
  say_blob(ws, talk.blobs[1], noise, sizeof(noise), UVWS_BINARY);
  say_blob(ws, talk.blobs[0], letters, 24000, UVWS_TEXT);
  say_words(ws);
  if (++talk.opened < ENDS) return;
  uvws_blob_t* blob = make_blob(words, 5000);
  if (blob != NULL) uvws_broadcast(both, 2, blob, UVWS_TEXT, statuses);
  for (size_t i = 0; i < ENDS; i++) {
    if (blob != NULL && statuses[i] == UV_ENOMEM)
      statuses[i] = uvws_send_blob(both[i], blob, UVWS_TEXT);
    sent(both[i], statuses[i], words, 5000, UVWS_TEXT);
  }
  uvws_blob_unref(blob);
}

static void end_both(seen_t* seen) {
  if (seen->code != 1000) give_up();
}

/* ---- much ---- */

static void say_much(uvws_t* ws) {
  say(ws, much, sizeof(much), UVWS_BINARY);
  say_words(ws);
  say_parts(ws, much, sizeof(much), UVWS_BINARY);
  say_words(ws);
}

static void on_soon_read(uv_timer_t* timer) {
  (void)timer;
  if (world.accepted[0].begun) uvws_read_start(&world.accepted[0].ws);
}

/* First for a while, then until the turn ends. */
static void stop_reading(uvws_t* ws) {
  uvws_read_stop(ws);
  if (world.soon_set)
    uvws_read_start(ws);
  else
    do_soon(on_soon_read);
}

static void stop_and_say_back(uvws_t* ws, const uvws_message_t* message) {
  stop_reading(ws);
  say_words_back(ws, message);
}

/* ---- chunks ---- */

static uvws_events_t checked_events, chunk_events;

static void take_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  inbox_t* inbox = &talk.inboxes[index_of(ws)];
  uvws_message_t message = {.type = chunk->type, .len = inbox->at + chunk->len};
  require(!chunk->first == (inbox->at > 0), "not the first chunk");
  check_part(ws, chunk->type, chunk->data, chunk->len, chunk->last);
  if (chunk->last) fault_events.message(ws, &message);
}

static void on_chunk(uvws_t* ws, const uvws_chunk_t* chunk) {
  take_chunk(ws, chunk);
  if (index_of(ws) < ENDS) return;
  talk.chunks++;
  talk.in_chunk(ws);
}

/* In the midst of a message, also of its fragments. Once the other side has
 * something to read then, into the buffer that both share. */
static void stop_now_and_then(uvws_t* ws) {
  if (talk.chunks % 7 == 4) stop_reading(ws);
  if (talk.chunks % 7 != 1) return;
  if (talk.chunks == 1) say_words(ws);
  uvws_read_stop(ws);
  if (world.soon_set)
    uv_timer_start(&world.soon, on_soon_read, 0, 0);
  else
    do_soon(on_soon_read);
}

static void close_at_third(uvws_t* ws) {
  if (talk.chunks == 3) must(ws, TWICE(uvws_close(ws, 1000, NULL, 0)));
}

static void on_soon_terminate(uv_timer_t* timer) {
  (void)timer;
  if (world.accepted[0].begun) uvws_terminate(&world.accepted[0].ws);
}

/* What came with the chunk is kept until then. */
static void stop_and_terminate(uvws_t* ws) {
  uvws_read_stop(ws);
  do_soon(on_soon_terminate);
}

static void start_chunks(void) {
  talk.in_chunk = stop_now_and_then;
  start_talk();
}

static void start_terminated_at_rest(void) {
  talk.in_chunk = stop_and_terminate;
  talk.gives_up = true;
  start_talk();
}

static void start_closed(void) {
  talk.in_chunk = close_at_third;
  talk.gives_up = true;
  start_talk();
}

/* ---- contexts that were given back ---- */

static void start_idle(void) {
  set_defaults();
  talk.server.idle_timeout = talk.clients[0].idle_timeout = 1;
  connect_clients(1);
}

/* The server's was, and the client's is in use. */
static void on_idle(uv_timer_t* timer) {
  uvws_t* ws = &world.clients[0].ws;
  (void)timer;
  if (uvws_ready_state(ws) != UVWS_OPEN) return;
  sent(ws, TWICE(uvws_end(ws, words + 2000, 3000)), words, 5000, UVWS_TEXT);
  say_words(ws);
}

/* Nothing of libuv's that can fail is called meanwhile. */
static void on_soon_wait(uv_timer_t* timer) {
  uv_timer_start(timer, on_idle, plan.fault < FIRST_CALL ? 40 : 0, 0);
}

static void say_and_wait(uvws_t* ws) {
  say_words(ws);
  say_words(ws);
  must(ws, TWICE(uvws_begin(ws, UVWS_TEXT)));
  must(ws, TWICE(uvws_continue(ws, words, 2000)));
  do_soon(on_soon_wait);
}

/* ---- raw clients ---- */

static uint8_t script[200000];
static size_t script_len, script_cut;

/* RFC 7692, 7.2.3: "Hello" in two fragments, then referring to itself, in a
 * block that is not compressed, in a last one, and in two. */
static const uint8_t hello[] = {0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};
static const uint8_t hello_again[] = {0xf2, 0x00, 0x11, 0x00, 0x00};
static const uint8_t hello_stored[] = {0x00, 0x05, 0x00, 0xfa, 0xff, 0x48,
                                       0x65, 0x6c, 0x6c, 0x6f, 0x00};
static const uint8_t hello_last[] = {0xf3, 0x48, 0xcd, 0xc9,
                                     0xc9, 0x07, 0x00, 0x00};
static const uint8_t hello_in_two[] = {0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff,
                                       0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00};

/* In a fragment, then by a block of a type that there is not. */
static uint8_t broken[64];
static size_t broken_len;

static size_t compress(uint8_t* out, size_t size, const void* data,
                       size_t len) {
  uvws__deflate_how_t how = {1, 8, 0, 15};
  uvws__bytes_t bytes = {out, 0, size, .lent = true};
  uvws__deflater_t* deflater = uvws__deflater_new(&how);
  assert_true(
      deflater != NULL &&
      uvws__deflater_add(deflater, data, len, UVWS__DEFLATE_END, &bytes) &&
      bytes.lent);
  uvws__deflater_free(deflater);
  return bytes.len;
}

/* Also between fragments, and cut in the middle, stand control frames. */
static void write_script(void) {
  static uint8_t packed[100000];
  uint8_t* at = script;
  at += make_frame(at, 0x41, hello, 3, true);
  at += make_frame(at, 0x89, "between", 7, true);
  at += make_frame(at, 0x80, hello + 3, 4, true);
  at += make_frame(at, 0xc1, hello_again, sizeof(hello_again), true);
  at += make_frame(at, 0xc1, hello_stored, sizeof(hello_stored), true);
  at += make_frame(at, 0xc1, hello_last, sizeof(hello_last), true);
  at += make_frame(at, 0xc1, hello_in_two, sizeof(hello_in_two), true);
  size_t len = compress(packed, sizeof(packed), letters, 100000);
  at += make_frame(at, 0x42, packed, 30000, true);
  at += make_frame(at, 0x00, "", 0, true);
  at += make_frame(at, 0x00, packed + 30000, 1, true);
  script_cut = (size_t)(at - script) + 9; /* in the next one's payload */
  at += make_frame(at, 0x89, "split ping", 10, true);
  at += make_frame(at, 0x80, packed + 30001, len - 30001, true);
  len = compress(packed, sizeof(packed), much, sizeof(much));
  at += make_frame(at, 0xc2, packed, len, true);
  at += make_frame(at, 0x81, "text", 4, true);
  at += make_frame(at, 0x88, "\x03\xe8reason", 8, true);
  script_len = (size_t)(at - script);
  broken_len = make_frame(broken, 0x41, hello, 3, true);
  broken_len += make_frame(broken + broken_len, 0x80, "\x07", 1, true);
}

static void dial(const void* bytes, size_t len) {
  set_defaults();
  if (!start_server()) return;
  raw.more = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
  dial_raw(RAW_STAY, bytes, len);
}

static void dial_script(size_t len) {
  inbox_t* inbox = &talk.inboxes[ENDS];
  for (int i = 0; i < 5; i++) expect(inbox, "Hello", 5, UVWS_TEXT);
  expect(inbox, letters, 100000, UVWS_BINARY);
  expect(inbox, much, sizeof(much), UVWS_BINARY);
  expect(inbox, "text", 4, UVWS_TEXT);
  dial(script, len);
}

static void start_fragments(void) {
  dial_script(script_cut);
}

static void on_soon_send_rest(uv_timer_t* timer) {
  (void)timer;
  if (!raw.connected || uv_is_closing((uv_handle_t*)&raw.tcp)) return;
  raw_send(&raw, script + script_cut, script_len - script_cut);
}

static void send_rest_soon(uvws_t* ws) {
  (void)ws;
  do_soon(on_soon_send_rest);
}

static void on_soon_accept(uv_timer_t* timer) {
  (void)timer;
  if (world.undecided != NULL) accept_request(world.undecided);
}

static void accept_later(uvws_request_t* request) {
  world.undecided = request;
  do_soon(on_soon_accept);
}

static void start_early_frames(void) {
  dial_script(script_len);
}

static void start_broken(void) {
  talk.is_broken = true;
  dial(broken, broken_len);
}

/* ---- adopted ---- */

static void adopt(seen_t* seen, uv_os_sock_t fd, uvws_role_t role) {
  uvws_options_t options;
  uvws_adopt_options_t how;
  client_options(&options);
  options.deflate = &talk.clients[0];
  uvws_adopt_options_init(&how);
  how.options = &options;
  how.role = role;
  how.url = "ws://somebody/0";
  assert_int_equal(uvws_init(test_loop, &seen->ws, &checked_events), 0);
  plan.calling = true;
  int status = uvws_adopt_fd(&seen->ws, fd, NULL, 0, &how);
  plan.calling = false;
  if (!begin(seen, status)) close(fd);
}

static void start_adopted(void) {
  int fds[2];
  set_defaults();
  require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "a connection");
  adopt(&world.clients[0], fds[0], UVWS_ROLE_CLIENT);
  adopt(&world.accepted[0], fds[1], UVWS_ROLE_SERVER);
}

/* ---- all of them ---- */

static void check_inbox(const seen_t* seen, const inbox_t* inbox) {
  require(!seen->clean || seen->code != 1000 || talk.gives_up ||
              inbox->came == inbox->n,
          "a message is lost");
}

static void check(void) {
  for (size_t i = 0; i < ENDS; i++) {
    check_inbox(&world.clients[i], &talk.inboxes[i]);
    check_inbox(&world.accepted[i], &talk.inboxes[ENDS + i]);
  }
  for (size_t i = 0; i < COUNT_OF(talk.blobs); i++)
    uvws_blob_unref(talk.blobs[i]);
  memset(&talk, 0, sizeof(talk));
}

#define TALKS                                            \
  .client_open = say_all, .accepted_open = say_words,    \
  .accepted_message = answer, .messages = 7, .pongs = 1, \
  .wanted = "7 52005 0 1 1000 clean, 6 49005 1 0 1000 clean"
#define PARTS                                                      \
  .client_open = say_in_parts, .accepted_open = say_part_of_words, \
  .accepted_message = say_words_back, .messages = 7, .pongs = 2,   \
  .wanted = "7 27000 1 2 1000 clean, 6 235000 2 1 1000 clean"
#define BLOBS                                                                \
  .client_open = say_words, .accepted_open = send_blobs, .closed = end_both, \
  .messages = 6,                                                             \
  .wanted =                                                                  \
      "6 62000 0 0 1000 clean, 1 3000 0 0 1000 clean; "                      \
      "6 62000 0 0 1000 clean, 1 3000 0 0 1000 clean"
#define ALL .events = &checked_events, .check = check
#define HOST                                                 \
  .server_options = server_options, .decide = accept_client, \
  .events = &checked_events, .check = check
#define CHUNKS                                               \
  .server_options = server_options, .decide = accept_client, \
  .events = &chunk_events, .check = check

static const scenario_t scenarios[] = {
    {.name = "talk", .start = start_talk, TALKS, HOST},
    {.name = "parts", .start = start_talk, PARTS, HOST},
    {.name = "blobs", .start = start_blobs, BLOBS, HOST},
    {.name = "much",
     .wanted = "4 12000 0 1 1000 clean, 4 2606000 1 0 1000 clean",
     .start = start_talk,
     .client_open = say_much,
     .accepted_message = stop_and_say_back,
     .messages = 4,
     .pongs = 1,
     HOST},
    {.name = "chunks",
     .wanted = "5 15000 0 1 1000 clean, 4 2606000 1 0 1000 clean",
     .start = start_chunks,
     .client_open = say_much,
     .accepted_message = say_words_back,
     .messages = 5,
     .pongs = 1,
     CHUNKS},
    {.name = "terminated at rest",
     .wanted = "0 0 0 0 1006, 0 0 0 0 1006",
     .start = start_terminated_at_rest,
     .is_variant = true,
     .client_open = say_much,
     CHUNKS},
    {.name = "closed in a chunk",
     .wanted = "0 0 0 0 1000 clean, 0 0 0 0 1000 clean",
     .start = start_closed,
     .is_variant = true,
     .client_open = say_much,
     CHUNKS},
    {.name = "terminated while all waits",
     .wanted = "1 3000 0 0 1006, 0 0 0 0 1006",
     .start = start_queued,
     .is_variant = true,
     .accepted_open = say_and_terminate,
     HOST},
    /* The rest without TLS only. */
    {.name = "talk without takeover",
     .start = start_without_takeover,
     .is_variant = true,
     TALKS,
     HOST},
    {.name = "parts without takeover, queued",
     .start = start_queued_without_takeover,
     .is_variant = true,
     PARTS,
     HOST},
    {.name = "noise",
     .wanted = "7 18003 0 1 1000 clean, 7 18003 1 0 1000 clean",
     .start = start_talk,
     .client_open = say_noise,
     .accepted_message = answer,
     .messages = 7,
     .pongs = 1,
     HOST},
    {.name = "blobs in several ways",
     .start = start_blobs_in_several_ways,
     .is_variant = true,
     BLOBS,
     HOST},
    {.name = "idle",
     .wanted = "4 14000 0 0 1000 clean, 4 14000 0 0 1000 clean",
     .start = start_idle,
     .is_variant = true,
     .client_open = say_and_wait,
     .accepted_message = answer,
     .messages = 4,
     HOST},
    {.name = "fragments",
     .wanted = ", 8 1400029 2 0 1000 clean",
     .start = start_fragments,
     .accepted_open = send_rest_soon,
     HOST},
    {.name = "early frames",
     .wanted = ", 8 1400029 2 0 1000 clean",
     .start = start_early_frames,
     .is_variant = true,
     .server_options = server_options,
     .decide = accept_later,
     ALL},
    {.name = "offers, and little memory",
     .wanted = "3 15000 1 1 1000 clean, 2 6000 1 1 1000 clean",
     .start = start_offers,
     .is_variant = true,
     .server_options = scarce_options,
     .decide = accept_client,
     .client_open = say_little,
     .accepted_open = say_part_of_words,
     .accepted_message = answer,
     .messages = 3,
     .pongs = 1,
     ALL},
    {.name = "broken",
     .wanted = ", 0 0 0 0 1006",
     .start = start_broken,
     .is_variant = true,
     HOST},
    {.name = "adopted",
     .wanted = "3 9000 0 1 1000 clean, 2 6000 1 0 1000 clean",
     .start = start_adopted,
     .is_plain = true,
     .is_variant = true,
     .client_open = say_little,
     .accepted_open = say_words,
     .accepted_message = answer,
     .messages = 3,
     .pongs = 1,
     ALL},
};

enum { TALK = 0, UNDER_TLS = 8 };

/* The same in each run. */
static void fill_all(void) {
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof(words);) {
    x = x * 1664525 + 1013904223;
    for (uint32_t n = 2 + (x >> 28); n > 0 && i < sizeof(words); n--, i++)
      words[i] = (char)('a' + ((x >> 20) % 128 + n * n) % 26);
  }
  for (size_t i = 0; i < sizeof(noise); i++) {
    x = x * 1664525 + 1013904223;
    noise[i] = (uint8_t)(x >> 24);
  }
  for (size_t i = 0; i < sizeof(letters); i++) {
    x = x * 1664525 + 1013904223;
    letters[i] = (char)(x >> 25);
  }
  memset(much, 'm', sizeof(much));
}

int main(void) {
  suite_t suite = {scenarios, COUNT_OF(scenarios), &scenarios[TALK]};
  if (test_has_tls()) suite.n = UNDER_TLS;
  fill_all();
  write_script();
  checked_events = chunk_events = fault_events;
  checked_events.message = check_message;
  checked_events.error = chunk_events.error = check_error;
  chunk_events.chunk = on_chunk;
  return run_suite(&suite);
}
