/* Frames on both roles: whatever comes, it must not matter how it is split, or
 * whether it is read straight into the message; and where it is not, whole
 * messages take the short way.
 *
 * The input begins with the limits, when to discard, and four lengths of
 * pieces; the rest is what the peer sends. */

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "protocol/close-code.h"
#include "protocol/message.h"

enum { SETTINGS = 8, MOST_EVENTS = 64 };

/* What was reported; of more events than fit only the first count. */
typedef struct log_s {
  unsigned n;
  bool failed;
  struct {
    uvws__received_kind_t kind;
    uint8_t type;
    uint16_t code;
    uvws__failure_t failure;
    size_t len;
    uint64_t sum;
  } events[MOST_EVENTS];
} log_t;

/* FNV-1a */
static uint64_t sum_of(const uint8_t* data, size_t len) {
  uint64_t sum = UINT64_C(0xCBF29CE484222325);
  for (size_t i = 0; i < len; i++)
    sum = (sum ^ data[i]) * UINT64_C(0x100000001B3);
  return sum;
}

static void check_event(const uvws__receiver_t* receiver,
                        uvws__received_kind_t kind,
                        const uvws__received_t* received) {
  switch (kind) {
    case UVWS__RECEIVED_CHUNK:
    case UVWS__RECEIVED_MESSAGE:
      CHECK(!receiver->discarding);
      CHECK(received->len <= receiver->limits->max_message);
      CHECK(received->type == UVWS__OP_BINARY ||
            uvws__utf8_is_valid(received->data, received->len));
      CHECK(!received->buffered || received->data == receiver->buffer);
      break;
    case UVWS__RECEIVED_CLOSE:
      CHECK(received->code == UVWS__CLOSE_NO_STATUS ||
            uvws__close_code_is_valid(received->code));
      CHECK(received->len <= UVWS__CLOSE_REASON_MAX);
      CHECK(uvws__utf8_is_valid(received->data, received->len));
      break;
    case UVWS__RECEIVED_FAILURE: CHECK(received->failure != UVWS__OK); break;
    default: CHECK(received->len <= UVWS__CONTROL_MAX);
  }
}

static void feed(uvws__receiver_t* receiver, uint8_t* at, size_t left,
                 bool direct, log_t* log) {
  bool is_plain = !direct && !receiver->discarding &&
                  uvws__parser_is_at_rest(&receiver->parser);
  for (;;) {
    uvws__received_t received;
    uvws__received_kind_t kind = UVWS__RECEIVED_NOTHING;
    if (is_plain)
      kind = uvws__receive_whole(uvws__is_masked(&receiver->parser),
                                 receiver->limits, &at, &left, &received);
    is_plain = kind == UVWS__RECEIVED_MESSAGE;
    if (kind == UVWS__RECEIVED_NOTHING)
      kind = uvws__receive(receiver, &at, &left, &received);
    CHECK(receiver->len <= receiver->capacity);
    if (kind == UVWS__RECEIVED_NOTHING) {
      CHECK(left == 0);
      return;
    }
    check_event(receiver, kind, &received);
    log->failed = kind == UVWS__RECEIVED_FAILURE;
    if (log->n < MOST_EVENTS) {
      log->events[log->n].kind = kind;
      log->events[log->n].failure = received.failure;
      if (!log->failed) {
        log->events[log->n].type = received.type;
        log->events[log->n].code = received.code;
        log->events[log->n].len = received.len;
        log->events[log->n].sum = sum_of(received.data, received.len);
      }
      log->n++;
    }
    if (log->failed) return;
  }
}

/* One read: returns how many of the bytes it took. */
static size_t feed_piece(uvws__receiver_t* receiver, const uint8_t* bytes,
                         size_t len, bool direct, log_t* log) {
  uint8_t* at;
  size_t room, wanted;
  if (direct && uvws__receiver_tail(receiver, &at, &room, &wanted)) {
    if (len > room) len = room;
    memcpy(at, bytes, len);
    if (len > wanted) len = wanted;
    feed(receiver, at, len, direct, log);
    return len;
  }
  uint8_t* copy = malloc(len);
  CHECK(copy != NULL);
  memcpy(copy, bytes, len);
  feed(receiver, copy, len, direct, log);
  free(copy);
  return len;
}

/* Discards from the byte `discard_at` on. */
static void run(log_t* log, uvws__role_t role, const uvws__limits_t* limits,
                size_t discard_at, const uint8_t* pieces, const uint8_t* bytes,
                size_t len) {
  uvws__receiver_t receiver;
  size_t at = 0;
  memset(log, 0, sizeof(*log));
  uvws__receiver_init(&receiver, role, limits);
  for (unsigned i = 0; at < len && !log->failed; i++) {
    size_t n = len - at;
    if (at >= discard_at) uvws__receiver_discard(&receiver);
    /* A length of 255 stands for a long one. */
    if (pieces != NULL) n = pieces[i % 4] < 255 ? pieces[i % 4] + 1u : 20000;
    if (n > len - at) n = len - at;
    if (at < discard_at && n > discard_at - at) n = discard_at - at;
    at += feed_piece(&receiver, bytes + at, n, pieces != NULL, log);
  }
  uvws__receiver_clear(&receiver);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  static log_t whole, split;
  if (len < SETTINGS) return 0;
  uvws__limits_t limits = {UINT64_C(1) << (data[0] % 64), 1u + data[1]};
  size_t discard_at = (size_t)data[2] << 8 | data[3];
  const uint8_t* pieces = data + 4;
  data += SETTINGS;
  len -= SETTINGS;
  for (int role = UVWS__CLIENT; role <= UVWS__SERVER; role++) {
    run(&whole, role, &limits, discard_at, NULL, data, len);
    run(&split, role, &limits, discard_at, pieces, data, len);
    CHECK(memcmp(&whole, &split, sizeof(whole)) == 0);
  }
  return 0;
}
