#ifndef UVWS_SRC_DEFLATE_H_
#define UVWS_SRC_DEFLATE_H_

/* permessage-deflate on a connection, and the streams of zlib that the sockets
 * of a loop share. */

#include "connection.h"
#include "outbound.h"

/* What options ask for. */
typedef struct uvws__deflate_plan_s {
  uvws__deflate_wish_t* wishes; /* a server's is one */
  unsigned n;
  uvws__deflate_how_t how;
  uint32_t threshold;
  uint32_t idle_timeout;
} uvws__deflate_plan_t;

/* *plan is NULL when `options` is. UV_EINVAL, UV_ENOMEM. */
int uvws__deflate_plan_read(const uvws_deflate_options_t* options,
                            uvws__deflate_plan_t** plan);
void uvws__deflate_plan_free(uvws__deflate_plan_t* plan);

/* Server: takes an offer of the request's, if one will do: then the connection
 * has its `extensions`. False when there is no memory. */
bool uvws__deflate_accept(uvws__conn_t* conn, const uvws__head_t* request);

/* Client: what the server has answered. */
uvws__failure_t uvws__deflate_take_answer(uvws__conn_t* conn,
                                          const char* value);

/* The connection's receiver, which it was just lent, learns to inflate; and
 * forgets that before it goes back. */
void uvws__deflate_equip(uvws__conn_t* conn);
void uvws__deflate_strip(uvws__conn_t* conn);

/* The connection leaves the loop: what it holds goes back. */
void uvws__deflate_end(uvws__conn_t* conn);

/* Whether a message is to be compressed; `flags` are the caller's. */
bool uvws__deflate_wants(const uvws__conn_t* conn, uint64_t len,
                         unsigned flags);

/* A message in parts is to be compressed: false when there is no memory for
 * that. Until it is finished nothing else is compressed on the connection. */
bool uvws__deflate_begin(uvws__conn_t* conn);
void uvws__deflate_finish(uvws__conn_t* conn);

/* Compresses a message, or a part of one that was begun: *packed is then to be
 * sent instead, before anything else is compressed on the loop, and released.
 * False when that is not worth it, or there is no memory: `out` itself is to be
 * sent, unless *status says that it is a part for which there is none. */
bool uvws__deflate_pack(uvws__conn_t* conn, const uvws__outgoing_t* out,
                        uvws__outgoing_t* packed, int* status);
void uvws__deflate_unpack(uvws__outgoing_t* packed);

/* The last frame packed could not be queued: nothing may refer to it. */
void uvws__deflate_forget(uvws__conn_t* conn);

#endif /* UVWS_SRC_DEFLATE_H_ */
