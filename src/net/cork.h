#ifndef UVWS_SRC_NET_CORK_H_
#define UVWS_SRC_NET_CORK_H_

/* Where small pieces of output gather, of one stream at a time, to leave in one
 * write. What a read callback sends of the bytes it was given stays where they
 * lie, in the loop's read buffer. */

#include <stdbool.h>
#include <uv.h>

#define UVWS__CORK_SIZE  (260 * 1024)
#define UVWS__CORK_PIECE (65 * 1024) /* a larger piece is not corked */
#define UVWS__CORK_MARKS 2048
#define UVWS__CORK_BUFS  64

struct uvws__stream_s;

/* Of a piece of output: `head` bytes that bufferedAmount does not count, then
 * `body` bytes that it does; behind them `whole` is counted at once. */
typedef struct uvws__mark_s {
  uint64_t head;
  uint64_t body;
  uint64_t whole;
} uvws__mark_t;

typedef struct uvws__cork_s {
  struct uvws__stream_s* owner; /* NULL: then it is empty */
  size_t len;                   /* of `bytes` */
  size_t run;                   /* from here on they are in no buffer yet */
  size_t referred;              /* bytes that are elsewhere */
  uint64_t body;                /* the sum over the marks */
  unsigned n_marks;
  unsigned n_bufs;
  uvws__mark_t marks[UVWS__CORK_MARKS];
  uv_buf_t bufs[UVWS__CORK_BUFS];
  uint8_t bytes[UVWS__CORK_SIZE];
} uvws__cork_t;

static inline void uvws__cork_empty(uvws__cork_t* cork) {
  cork->owner = NULL;
  cork->len = cork->run = cork->referred = 0;
  cork->body = 0;
  cork->n_marks = cork->n_bufs = 0;
}

/* Bytes that are to leave. */
static inline size_t uvws__cork_size(const uvws__cork_t* cork) {
  return cork->len + cork->referred;
}

/* Whether there is room for one more piece. */
static inline bool uvws__cork_has_room(const uvws__cork_t* cork, size_t len) {
  return cork->n_marks < UVWS__CORK_MARKS &&
         len <= UVWS__CORK_SIZE - uvws__cork_size(cork);
}

/* Adds one. Returns where it must be written. */
static inline uint8_t* uvws__cork_add(uvws__cork_t* cork, uvws__mark_t mark) {
  uint8_t* room = cork->bytes + cork->len;
  cork->len += (size_t)(mark.head + mark.body);
  cork->body += mark.body + mark.whole;
  cork->marks[cork->n_marks++] = mark;
  return room;
}

/* What was added last has its buffer. */
static inline void uvws__cork_end_run(uvws__cork_t* cork) {
  if (cork->run == cork->len) return;
  cork->bufs[cork->n_bufs++] = (uv_buf_t){
      .base = (char*)cork->bytes + cork->run, .len = cork->len - cork->run};
  cork->run = cork->len;
}

/* Whether there are buffers for bytes that are elsewhere, and for what stands
 * before and behind them. */
static inline bool uvws__cork_can_refer(const uvws__cork_t* cork) {
  return cork->n_bufs + 3 <= UVWS__CORK_BUFS;
}

/* Adds the body of the piece added last, where it lies. */
static inline void uvws__cork_refer(uvws__cork_t* cork, const uint8_t* body,
                                    size_t len) {
  uvws__cork_end_run(cork);
  cork->bufs[cork->n_bufs++] = (uv_buf_t){.base = (char*)body, .len = len};
  cork->referred += len;
  cork->body += len;
  cork->marks[cork->n_marks - 1].body = len;
}

#endif /* UVWS_SRC_NET_CORK_H_ */
