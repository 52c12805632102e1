#include "protocol/message.h"

#include <string.h>

#include "alloc.h"
#include "protocol/close-code.h"

/* A message that lies whole in one frame and one piece of input is reported
 * where it lies; the buffer exists only for messages that come in several
 * pieces. Its size follows the bytes received, never the length that a header
 * declares: at most max(64 KiB, bytes received) of it may be unused, so a peer
 * pays for memory with traffic. The loop's spare buffers, which are few, may be
 * larger.
 *
 * Text is validated as its bytes come, so the first byte that cannot be UTF-8
 * fails the connection, wherever in a frame it stands.
 *
 * A compressed message is inflated into a buffer that all share, and from there
 * it takes the same ways: reported where it lies when that is all of it, or a
 * chunk, or a part to be gathered. Inflating stops one byte beyond the limit.
 *
 * A receiver that discards has no buffer to grow and no text to validate, but
 * keeps checking frames: the close frame must still be found. */

static const size_t SLACK = 64 * 1024;
static const size_t DIRECT_MIN = 16 * 1024; /* below, one copy is cheaper than
                                               a read that carries only this */
static const size_t READ_AHEAD = 4 * 1024;
static const size_t READ_MAX = 256 * 1024; /* so that the nearer caches still
                                              have it when it is unmasked */

void uvws__receiver_init(uvws__receiver_t* receiver, uvws__role_t role,
                         const uvws__limits_t* limits) {
  memset(receiver, 0, sizeof(*receiver));
  uvws__parser_init(&receiver->parser, role);
  receiver->limits = limits;
}

static uvws__use_t use_of(const uvws__receiver_t* receiver) {
  return receiver->compressed ? UVWS__FOR_INFLATING : UVWS__FOR_ANY;
}

static void drop_buffer(uvws__receiver_t* receiver) {
  uvws__budget_give(receiver->budget, receiver->capacity, use_of(receiver));
  uvws__spares_give(receiver->spares, receiver->buffer, receiver->capacity);
  receiver->buffer = NULL;
  receiver->len = receiver->capacity = 0;
  receiver->delivered = false;
}

static void end_inflating(uvws__receiver_t* receiver) {
  if (receiver->inflater != NULL) receiver->inflating->end(receiver);
  receiver->has_more = false;
  uvws__free(receiver->kept);
  receiver->kept = NULL;
}

void uvws__receiver_clear(uvws__receiver_t* receiver) {
  drop_buffer(receiver);
  end_inflating(receiver);
  uvws__free(receiver->control);
  receiver->control = NULL;
}

void uvws__receiver_settle(uvws__receiver_t* receiver) {
  if (receiver->buffer != NULL && receiver->delivered) drop_buffer(receiver);
  receiver->delivered = false;
}

void uvws__receiver_discard(uvws__receiver_t* receiver) {
  receiver->discarding = true;
  if (!receiver->delivered) drop_buffer(receiver);
  end_inflating(receiver);
}

uint8_t* uvws__receiver_take(uvws__receiver_t* receiver) {
  uint8_t* buffer = receiver->buffer;
  receiver->buffer = NULL;
  drop_buffer(receiver);
  return buffer;
}

static bool is_data(const uvws__parser_t* parser) {
  return parser->opcode <= UVWS__OP_BINARY;
}

static bool take_spare(uvws__receiver_t* receiver, uint64_t least) {
  size_t size;
  uint8_t* buffer = uvws__spares_take(receiver->spares, least, &size);
  if (buffer == NULL) return false;
  if (!uvws__budget_allows(receiver->budget, size, use_of(receiver))) {
    uvws__spares_give(receiver->spares, buffer, size);
    return false;
  }
  uvws__budget_take(receiver->budget, size, use_of(receiver));
  receiver->buffer = buffer;
  receiver->capacity = size;
  return true;
}

/* At least `capacity` bytes; the message, and what may be read behind it, would
 * be at home in `whole`. */
static uvws__failure_t resize(uvws__receiver_t* receiver, size_t capacity,
                              uint64_t whole) {
  if (receiver->buffer == NULL &&
      (take_spare(receiver, whole) || take_spare(receiver, capacity)))
    return UVWS__OK;
  size_t more = capacity - receiver->capacity;
  if (!uvws__budget_allows(receiver->budget, more, use_of(receiver)))
    return UVWS__FAIL_MEMORY_BUDGET;
  uint8_t* buffer = uvws__realloc(receiver->buffer, capacity);
  if (buffer == NULL) return UVWS__FAIL_NO_MEMORY;
  uvws__budget_take(receiver->budget, more, use_of(receiver));
  receiver->buffer = buffer;
  receiver->capacity = capacity;
  return UVWS__OK;
}

/* What may be allocated beyond `received` bytes: see above. */
static size_t spare(size_t received, uint64_t useful) {
  size_t most = received > SLACK ? received : SLACK;
  return useful < most ? (size_t)useful : most;
}

/* Makes room for `len` bytes that have come. */
static uvws__failure_t grow(uvws__receiver_t* receiver, size_t len) {
  const uvws__parser_t* parser = &receiver->parser;
  size_t needed = receiver->len + len;
  uint64_t useful = parser->fin && !receiver->compressed
                        ? parser->remaining + READ_AHEAD
                        : UINT64_MAX / 2;
  if (needed <= receiver->capacity) return UVWS__OK;
  return resize(receiver, needed + spare(needed, useful), needed + useful);
}

bool uvws__receiver_tail(uvws__receiver_t* receiver, uint8_t** tail,
                         size_t* room, size_t* wanted) {
  const uvws__parser_t* parser = &receiver->parser;
  if (!parser->in_payload || !is_data(parser) || receiver->discarding ||
      receiver->in_chunks || receiver->compressed ||
      parser->remaining < DIRECT_MIN)
    return false;
  uint64_t useful = parser->remaining + READ_AHEAD;
  if (receiver->capacity - receiver->len < DIRECT_MIN &&
      resize(receiver, receiver->len + spare(receiver->len, useful),
             receiver->len + useful) != UVWS__OK)
    return false;
  *tail = receiver->buffer + receiver->len;
  *room = receiver->capacity - receiver->len;
  if (*room > READ_MAX) *room = READ_MAX;
  *wanted = *room;
  if (*wanted > parser->remaining) *wanted = (size_t)parser->remaining;
  if (*room > *wanted + READ_AHEAD) *room = *wanted + READ_AHEAD;
  return true;
}

/* No compressor makes its input longer by more than an eighth, which is what
 * fixed codes can cost, and some bytes for each flush; a message beyond
 * consists of empty blocks. */
static uvws__failure_t begin_compressed(uvws__receiver_t* receiver) {
  uint64_t most = receiver->limits->max_message;
  most = most > UINT64_MAX / 2
             ? UINT64_MAX
             : most + most / 8 + 16 * (uint64_t)receiver->fragments + 1024;
  if (receiver->parser.remaining > most - receiver->wire)
    return UVWS__FAIL_MESSAGE_TOO_BIG;
  receiver->wire += receiver->parser.remaining;
  return UVWS__OK;
}

/* RFC 6455, 5.4 and 10.4: limits are checked on what a header declares, before
 * any of its payload has come. */
static uvws__failure_t begin_data(uvws__receiver_t* receiver) {
  const uvws__parser_t* parser = &receiver->parser;
  if (!parser->fin && parser->remaining < UVWS__TINY) receiver->tiny++;
  if (receiver->discarding) return UVWS__OK;
  if (parser->opcode != UVWS__OP_CONTINUATION) {
    receiver->type = parser->opcode;
    receiver->fragments = 0;
    receiver->received = 0;
    receiver->wire = 0;
    receiver->chunked = false;
    receiver->compressed = parser->rsv1;
  }
  if (++receiver->fragments > receiver->limits->max_fragments)
    return UVWS__FAIL_TOO_MANY_FRAGMENTS;
  if (receiver->compressed) return begin_compressed(receiver);
  if (parser->remaining > receiver->limits->max_message - receiver->received)
    return UVWS__FAIL_MESSAGE_TOO_BIG;
  return UVWS__OK;
}

static uvws__received_kind_t fail(uvws__received_t* received,
                                  uvws__failure_t failure) {
  received->failure = failure;
  return UVWS__RECEIVED_FAILURE;
}

/* Only a message's end may be reported without bytes. */
static uvws__received_kind_t take_chunk(uvws__receiver_t* receiver,
                                        const uint8_t* data, size_t len,
                                        bool last, uvws__received_t* received) {
  if (len == 0 && !last) return UVWS__RECEIVED_NOTHING;
  received->data = data;
  received->len = len;
  received->type = receiver->type;
  received->first = !receiver->chunked;
  received->last = last;
  receiver->chunked = true;
  return UVWS__RECEIVED_CHUNK;
}

/* A part of a message, as its sender had it. */
static inline uvws__received_kind_t take_plain(uvws__receiver_t* receiver,
                                               const uint8_t* data, size_t len,
                                               bool last,
                                               uvws__received_t* received) {
  receiver->received += len;
  if (receiver->in_chunks)
    return take_chunk(receiver, data, len, last, received);
  if (last && receiver->len == 0 && data != receiver->buffer) {
    received->data = data;
    received->len = len;
    received->buffered = false;
  } else {
    bool in_place =
        receiver->buffer != NULL && data == receiver->buffer + receiver->len;
    if (!in_place && len > 0) {
      received->failure = grow(receiver, len);
      if (received->failure != UVWS__OK) return UVWS__RECEIVED_FAILURE;
      memcpy(receiver->buffer + receiver->len, data, len);
    }
    receiver->len += len;
    if (!last) return UVWS__RECEIVED_NOTHING;
    received->data = receiver->buffer;
    received->len = receiver->len;
    received->buffered = true;
  }
  received->type = receiver->type;
  receiver->delivered = true;
  return UVWS__RECEIVED_MESSAGE;
}

static bool is_text_whole(const uvws__receiver_t* receiver, bool last) {
  return !last || uvws__utf8_is_complete(&receiver->utf8);
}

/* RFC 6455, 8.1 */
static bool take_text(uvws__receiver_t* receiver, uint8_t* data, size_t len,
                      bool last) {
  uvws__parser_t* parser = &receiver->parser;
  const uint8_t* key = uvws__is_masked(parser) ? parser->mask : NULL;
  bool valid = uvws__feed_text(&receiver->utf8, data, len, key, parser->phase);
  uvws__move_phase(parser, len);
  return valid && is_text_whole(receiver, last);
}

/* The next part of what the inflater has. */
static uvws__received_kind_t inflate_part(uvws__receiver_t* receiver,
                                          uvws__received_t* received) {
  uint64_t left = receiver->limits->max_message - receiver->received;
  size_t len = receiver->scratch_size;
  if (left < len) len = (size_t)left + 1;
  uvws__inflated_t status =
      uvws__inflater_take(receiver->inflater, receiver->scratch, &len);
  if (status == UVWS__INFLATED_FAILED)
    return fail(received, UVWS__FAIL_INFLATE);
  if (status == UVWS__INFLATED_NO_MEMORY)
    return fail(received, UVWS__FAIL_NO_MEMORY);
  if (len > left) return fail(received, UVWS__FAIL_MESSAGE_TOO_BIG);
  bool last = status == UVWS__INFLATED_END;
  receiver->has_more = status == UVWS__INFLATED_FULL;
  receiver->inflated += len;
  if (last) end_inflating(receiver);
  if (receiver->type == UVWS__OP_TEXT &&
      !(uvws__utf8_feed(&receiver->utf8, receiver->scratch, len) &&
        is_text_whole(receiver, last)))
    return fail(received, UVWS__FAIL_TEXT_UTF8);
  return take_plain(receiver, receiver->scratch, len, last, received);
}

static UVWS__NOINLINE uvws__received_kind_t
inflate_on(uvws__receiver_t* receiver, uvws__received_t* received) {
  uvws__received_kind_t kind = UVWS__RECEIVED_NOTHING;
  if (receiver->discarding) end_inflating(receiver);
  while (receiver->has_more && kind == UVWS__RECEIVED_NOTHING)
    kind = inflate_part(receiver, received);
  if (!receiver->has_more && receiver->kept != NULL) {
    uvws__free(receiver->kept);
    receiver->kept = NULL;
  }
  return kind;
}

static uvws__received_kind_t take_compressed(uvws__receiver_t* receiver,
                                             const uint8_t* data, size_t len,
                                             bool last,
                                             uvws__received_t* received) {
  if (receiver->inflater == NULL) {
    received->failure = receiver->inflating->begin(receiver);
    if (received->failure != UVWS__OK) return UVWS__RECEIVED_FAILURE;
  }
  uvws__inflater_feed(receiver->inflater, data, len, last);
  receiver->has_more = true;
  return inflate_on(receiver, received);
}

static uvws__received_kind_t take_data(uvws__receiver_t* receiver,
                                       uint8_t* data, size_t len,
                                       uvws__received_t* received) {
  uvws__parser_t* parser = &receiver->parser;
  bool last = parser->fin && parser->remaining == 0;
  if (receiver->discarding) {
    drop_buffer(receiver);
    end_inflating(receiver);
    return UVWS__RECEIVED_NOTHING;
  }
  bool is_text = receiver->type == UVWS__OP_TEXT && !receiver->compressed;
  if (!is_text)
    uvws__unmask(parser, data, len);
  else if (!take_text(receiver, data, len, last))
    return fail(received, UVWS__FAIL_TEXT_UTF8);
  return receiver->compressed
             ? take_compressed(receiver, data, len, last, received)
             : take_plain(receiver, data, len, last, received);
}

bool uvws__receiver_keep(uvws__receiver_t* receiver) {
  const uint8_t* data;
  if (!receiver->has_more) return true;
  size_t len = uvws__inflater_left(receiver->inflater, &data);
  if (len == 0 || receiver->kept != NULL) return true;
  receiver->kept = uvws__malloc(len);
  if (receiver->kept == NULL) return false;
  memcpy(receiver->kept, data, len);
  uvws__inflater_move(receiver->inflater, receiver->kept);
  return true;
}

/* RFC 6455, 5.5.1 and 7.4 */
static uvws__received_kind_t read_close(uvws__received_t* received) {
  if (received->len == 0) {
    received->code = UVWS__CLOSE_NO_STATUS;
    return UVWS__RECEIVED_CLOSE;
  }
  received->failure = UVWS__FAIL_CLOSE_LENGTH;
  if (received->len < 2) return UVWS__RECEIVED_FAILURE;
  received->code = (uint16_t)(received->data[0] << 8 | received->data[1]);
  received->data += 2;
  received->len -= 2;
  received->failure = UVWS__FAIL_CLOSE_CODE;
  if (!uvws__close_code_is_valid(received->code)) return UVWS__RECEIVED_FAILURE;
  received->failure = UVWS__FAIL_CLOSE_UTF8;
  if (!uvws__utf8_is_valid(received->data, received->len))
    return UVWS__RECEIVED_FAILURE;
  received->failure = UVWS__OK;
  return UVWS__RECEIVED_CLOSE;
}

static UVWS__NOINLINE uvws__received_kind_t
take_control(uvws__receiver_t* receiver, uint8_t* data, size_t len,
             uvws__received_t* received) {
  uvws__parser_t* parser = &receiver->parser;
  uvws__unmask(parser, data, len);
  bool whole = parser->remaining == 0 && receiver->control_len == 0;
  if (!whole) {
    if (receiver->control == NULL)
      receiver->control = uvws__malloc(UVWS__CONTROL_MAX);
    if (receiver->control == NULL) {
      received->failure = UVWS__FAIL_NO_MEMORY;
      return UVWS__RECEIVED_FAILURE;
    }
    memcpy(receiver->control + receiver->control_len, data, len);
    receiver->control_len = (uint8_t)(receiver->control_len + len);
    if (parser->remaining > 0) return UVWS__RECEIVED_NOTHING;
  }
  received->data = whole ? data : receiver->control;
  received->len = whole ? len : receiver->control_len;
  receiver->control_len = 0;
  switch (parser->opcode) {
    case UVWS__OP_PING: return UVWS__RECEIVED_PING;
    case UVWS__OP_PONG: return UVWS__RECEIVED_PONG;
    default: return read_close(received);
  }
}

uvws__received_kind_t uvws__receive(uvws__receiver_t* receiver, uint8_t** at,
                                    size_t* left, uvws__received_t* received) {
  *received = (uvws__received_t){.failure = UVWS__OK};
  uvws__receiver_settle(receiver);
  if (receiver->control != NULL && receiver->control_len == 0) {
    uvws__free(receiver->control);
    receiver->control = NULL;
  }
  if (receiver->has_more) {
    uvws__received_kind_t kind = inflate_on(receiver, received);
    if (kind != UVWS__RECEIVED_NOTHING) return kind;
  }
  for (;;) {
    uint8_t* payload;
    size_t len;
    uvws__received_kind_t kind = UVWS__RECEIVED_NOTHING;
    switch (uvws__parse(&receiver->parser, at, left, &payload, &len,
                        &received->failure)) {
      case UVWS__PARSED_MORE: return UVWS__RECEIVED_NOTHING;
      case UVWS__PARSED_FAILED: return UVWS__RECEIVED_FAILURE;
      case UVWS__PARSED_HEADER:
        receiver->frames++;
        if (receiver->header != NULL) receiver->header(receiver);
        if (is_data(&receiver->parser))
          received->failure = begin_data(receiver);
        if (received->failure != UVWS__OK) return UVWS__RECEIVED_FAILURE;
        break;
      case UVWS__PARSED_PAYLOAD:
        kind = is_data(&receiver->parser)
                   ? take_data(receiver, payload, len, received)
                   : take_control(receiver, payload, len, received);
        if (kind != UVWS__RECEIVED_NOTHING) return kind;
        break;
    }
  }
}
