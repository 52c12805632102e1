#ifndef UVWS_SRC_PROTOCOL_MESSAGE_H_
#define UVWS_SRC_PROTOCOL_MESSAGE_H_

/* The receiving side of RFC 6455 above the frames: messages, control frames,
 * close frames. Bytes in, events out. */

#include "alloc.h"
#include "protocol/deflate.h"
#include "protocol/frame.h"
#include "protocol/utf8.h"

#define UVWS__TINY 1024 /* a fragment below is hardly worth its header */

/* The limits of RFC 6455, 10.4; they may be shared by many receivers. */
typedef struct uvws__limits_s {
  uint64_t max_message;
  uint32_t max_fragments;
} uvws__limits_t;

struct uvws__receiver_s;

/* Where a receiver has its inflater from. */
typedef struct uvws__inflating_s {
  /* A compressed message begins: sets the receiver's `inflater`. */
  uvws__failure_t (*begin)(struct uvws__receiver_s* receiver);
  /* It is complete, or will never be: takes it away. */
  void (*end)(struct uvws__receiver_s* receiver);
} uvws__inflating_t;

typedef struct uvws__receiver_s {
  const uvws__limits_t* limits;
  const uvws__inflating_t* inflating; /* NULL: nothing may be compressed */
  uvws__inflater_t* inflater;         /* of the message, while it comes */
  uint8_t* scratch;                   /* to inflate into; shared */
  size_t scratch_size;
  uint8_t* kept; /* compressed bytes that outlive the input they came in */
  uvws__budget_t* budget; /* of the buffer's memory, or NULL */
  uvws__spares_t* spares; /* buffers for whoever needs one, or NULL */
  /* Told of each frame's header; NULL when nobody asks. */
  void (*header)(struct uvws__receiver_s* receiver);
  /* The message being assembled; NULL while none needs to be. */
  uint8_t* buffer;
  size_t len;
  size_t capacity;
  uint8_t* control;  /* a control frame's payload that was split; else NULL */
  uint64_t received; /* of the message, inflated */
  uint64_t wire;     /* of a compressed one, as it came */
  uint64_t inflated; /* bytes; the owner may reset it */
  uint64_t frames;   /* all that ever were */
  uvws__parser_t parser;
  uint32_t fragments;
  uint32_t tiny; /* fragments below UVWS__TINY; the owner may reset it */
  uvws__utf8_t utf8;
  uint8_t control_len;
  uint8_t type;    /* UVWS__OP_TEXT or UVWS__OP_BINARY: of the message */
  bool delivered;  /* the message was reported: the next call drops it */
  bool in_chunks;  /* messages are reported in parts, without a buffer */
  bool chunked;    /* a part of the message was reported */
  bool discarding; /* data frames are checked as frames, then thrown away */
  bool compressed; /* the message is */
  bool has_more;   /* the inflater has input, or the message's end */
} uvws__receiver_t;

typedef enum {
  UVWS__RECEIVED_NOTHING, /* all input was taken */
  UVWS__RECEIVED_MESSAGE,
  UVWS__RECEIVED_CHUNK,
  UVWS__RECEIVED_PING,
  UVWS__RECEIVED_PONG,
  UVWS__RECEIVED_CLOSE,
  UVWS__RECEIVED_FAILURE /* feed no more */
} uvws__received_kind_t;

typedef struct uvws__received_s {
  /* A message, the payload of a ping or pong, a close reason: valid until the
   * next call. */
  const uint8_t* data;
  size_t len;
  uint8_t type;  /* message, chunk: UVWS__OP_TEXT or UVWS__OP_BINARY */
  bool first;    /* chunk */
  bool last;     /* chunk */
  bool buffered; /* message: it is the receiver's buffer, which may be taken */
  uint16_t code; /* close: the code, or 1005 when the frame had none */
  uvws__failure_t failure;
} uvws__received_t;

void uvws__receiver_init(uvws__receiver_t* receiver, uvws__role_t role,
                         const uvws__limits_t* limits);
void uvws__receiver_clear(uvws__receiver_t* receiver);

/* Takes bytes from *at, *left, which move on, until there is something to
 * report. To be called again, also with *left 0, until it reports nothing. */
uvws__received_kind_t uvws__receive(uvws__receiver_t* receiver, uint8_t** at,
                                    size_t* left, uvws__received_t* received);

/* RFC 6455, 8.1: text is UTF-8. Unmasks it in the same pass; `key` is NULL when
 * it is not masked. */
static inline bool uvws__feed_text(uvws__utf8_t* utf8, uint8_t* data,
                                   size_t len, const uint8_t* key,
                                   unsigned phase) {
  return key == NULL ? uvws__utf8_feed(utf8, data, len)
                     : uvws__utf8_feed_masked(utf8, data, len, key, phase);
}

/* The short way between two messages, without a receiver, for what most are:
 * one frame (RFC 6455, 5.2) that is all here, final, masked as it must be, not
 * compressed, with a length of 7 or 16 bits, and within the limits. Whatever is
 * not clearly one is left, untouched, to uvws__receive(), which finds out what
 * is wrong with it. */
static inline uvws__received_kind_t uvws__receive_whole(
    bool masked, const uvws__limits_t* limits, uint8_t** at, size_t* left,
    uvws__received_t* received) {
  uint8_t* in = *at;
  size_t header = masked ? 6 : 2;
  if (*left < header + 2) return UVWS__RECEIVED_NOTHING;
  uint8_t type = in[0] ^ UVWS__FIN;
  size_t len = in[1] ^ (masked ? UVWS__MASKED : 0);
  if (type != UVWS__OP_TEXT && type != UVWS__OP_BINARY)
    return UVWS__RECEIVED_NOTHING;
  if (len == 126) {
    header += 2;
    len = (size_t)in[2] << 8 | in[3];
    if (len < 126) return UVWS__RECEIVED_NOTHING;
  } else if (len > 126) {
    return UVWS__RECEIVED_NOTHING;
  }
  if (len > *left - header || len > limits->max_message ||
      limits->max_fragments == 0)
    return UVWS__RECEIVED_NOTHING;
  uint8_t* data = in + header;
  *at = data + len;
  *left -= header + len;
  *received = (uvws__received_t){.data = data, .len = len, .type = type};
  const uint8_t* key = masked ? data - 4 : NULL;
  if (type == UVWS__OP_BINARY) {
    if (masked && len < UVWS__MASK_LARGE)
      uvws__mask_small(data, data, len, uvws__mask_key(key, 0));
    else if (masked)
      uvws__mask(data, data, len, key, 0);
    return UVWS__RECEIVED_MESSAGE;
  }
  uvws__utf8_t utf8 = {0, 0, 0};
  if (uvws__feed_text(&utf8, data, len, key, 0) &&
      uvws__utf8_is_complete(&utf8))
    return UVWS__RECEIVED_MESSAGE;
  received->failure = UVWS__FAIL_TEXT_UTF8;
  return UVWS__RECEIVED_FAILURE;
}

/* From now on only control frames are reported. May be called at any time, even
 * while a reported message is still in use. */
void uvws__receiver_discard(uvws__receiver_t* receiver);

/* Input goes away before all that it had was reported. False when there is no
 * memory. */
bool uvws__receiver_keep(uvws__receiver_t* receiver);

/* The message last reported is not needed any more. */
void uvws__receiver_settle(uvws__receiver_t* receiver);

/* Takes the buffer of the message just reported, which must be `buffered`; the
 * caller frees it by uvws__free(). */
uint8_t* uvws__receiver_take(uvws__receiver_t* receiver);

/* Where the next bytes of input may be put so that they need not be copied:
 * false when the loop's own buffer serves as well. *wanted is the number of
 * bytes that belong there; *room, which is more where possible, lets a read end
 * short and so spares a second one. Whatever is read beyond *wanted must be
 * moved elsewhere before uvws__receive() is called for the first *wanted. */
bool uvws__receiver_tail(uvws__receiver_t* receiver, uint8_t** tail,
                         size_t* room, size_t* wanted);

#endif /* UVWS_SRC_PROTOCOL_MESSAGE_H_ */
