#ifndef UVWS_SRC_PROTOCOL_DEFLATE_H_
#define UVWS_SRC_PROTOCOL_DEFLATE_H_

/* permessage-deflate (RFC 7692): what two sides agree on, and a message's bytes
 * in and out of zlib. */

#include "protocol/compose.h"

/* ---- negotiation: RFC 7692, 7.1 ---- */

/* Window bits are 8 to 15; 0 where a parameter is absent. */
typedef struct uvws__deflate_params_s {
  bool server_no_context_takeover;
  bool client_no_context_takeover;
  uint8_t server_max_window_bits;
  uint8_t client_max_window_bits;
} uvws__deflate_params_t;

/* What a side asks for. */
typedef struct uvws__deflate_wish_s {
  uvws__deflate_params_t params;
} uvws__deflate_wish_t;

/* Client: the header's value, an offer for each wish, in order of preference;
 * NULL when there is no memory. */
char* uvws__deflate_offer(const uvws__deflate_wish_t* wishes, unsigned n);

/* Client: what the server has chosen. False when none of the offers allows
 * that, which fails the connection. */
bool uvws__deflate_read_response(const char* value,
                                 const uvws__deflate_wish_t* wishes, unsigned n,
                                 uvws__deflate_params_t* params);

/* Server: takes the first offer that fits one's wish, over all lines of the
 * header; false when none does: there is no extension then. */
bool uvws__deflate_choose(const uvws__head_t* request,
                          const uvws__deflate_wish_t* wish,
                          uvws__deflate_params_t* params);

/* The extension with its parameters, as it stands in a response. */
enum { UVWS__DEFLATE_VALUE = 160 };
void uvws__deflate_write(const uvws__deflate_params_t* params,
                         char value[UVWS__DEFLATE_VALUE]);

/* ---- compression: RFC 7692, 7.2 ---- */

typedef struct uvws__deflate_how_s {
  uint8_t level; /* 0 to 9 */
  uint8_t memory_level;
  uint8_t strategy;    /* zlib's */
  uint8_t window_bits; /* 8 to 15 */
} uvws__deflate_how_t;

bool uvws__deflate_is_same(const uvws__deflate_how_t* a,
                           const uvws__deflate_how_t* b);

typedef struct uvws__deflater_s uvws__deflater_t;

/* What one needs, in bytes. */
size_t uvws__deflater_size(const uvws__deflate_how_t* how);

/* NULL when there is no memory. */
uvws__deflater_t* uvws__deflater_new(const uvws__deflate_how_t* how);
void uvws__deflater_free(uvws__deflater_t* deflater);

/* What is compressed next refers to nothing before. */
void uvws__deflater_reset(uvws__deflater_t* deflater);

/* Bytes that grow: from uvws__malloc(), or a buffer lent by somebody else until
 * it does not suffice. */
typedef struct uvws__bytes_s {
  uint8_t* data;
  size_t len;
  size_t capacity;
  bool lent;
} uvws__bytes_t;

typedef enum {
  UVWS__DEFLATE_ON,    /* more follows at once */
  UVWS__DEFLATE_FLUSH, /* the peer can read all that has come */
  UVWS__DEFLATE_END    /* so it can, once it has added what RFC 7692, 7.2.1, 3
                          wants left out */
} uvws__deflate_flush_t;

/* Compresses a part of a message. False when there is no memory: the deflater
 * is then reset. */
bool uvws__deflater_add(uvws__deflater_t* deflater, const uint8_t* data,
                        size_t len, uvws__deflate_flush_t flush,
                        uvws__bytes_t* out);

/* ---- decompression ---- */

typedef struct uvws__inflater_s uvws__inflater_t;

size_t uvws__inflater_size(unsigned window_bits);
uvws__inflater_t* uvws__inflater_new(unsigned window_bits);
void uvws__inflater_free(uvws__inflater_t* inflater);
void uvws__inflater_reset(uvws__inflater_t* inflater);

/* Compressed bytes of a message, which must stay until they are used up; `last`
 * when the message ends with them. */
void uvws__inflater_feed(uvws__inflater_t* inflater, const uint8_t* data,
                         size_t len, bool last);

typedef enum {
  UVWS__INFLATED_MORE, /* all that was fed is used up */
  UVWS__INFLATED_FULL, /* there is more, or may be */
  UVWS__INFLATED_END,  /* so is the message */
  UVWS__INFLATED_FAILED,
  UVWS__INFLATED_NO_MEMORY
} uvws__inflated_t;

/* Fills `out` with up to *len bytes; *len is how many it has got. */
uvws__inflated_t uvws__inflater_take(uvws__inflater_t* inflater, uint8_t* out,
                                     size_t* len);

/* What was fed and is not used up; and that it is now somewhere else. */
size_t uvws__inflater_left(const uvws__inflater_t* inflater,
                           const uint8_t** data);
void uvws__inflater_move(uvws__inflater_t* inflater, const uint8_t* data);

#endif /* UVWS_SRC_PROTOCOL_DEFLATE_H_ */
