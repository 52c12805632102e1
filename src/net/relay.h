#ifndef UVWS_SRC_NET_RELAY_H_
#define UVWS_SRC_NET_RELAY_H_

/* A stream inside another: what comes through TLS to a proxy is a connection of
 * its own, which may have TLS again. */

#include "net/stream.h"

typedef struct uvws__relay_s uvws__relay_t;

/* Makes `*inner`, a stream without an owner whose bytes are `rest`, which was
 * read already, and then those inside `outer`, whose reading is stopped, and
 * which is the relay's from now on. On failure it is still the caller's. */
int uvws__relay_new(uvws__stream_t* outer, const uint8_t* rest, size_t len,
                    uvws__stream_t** inner);

/* ---- for net/stream.c, about the inner stream's relay ---- */

/* The inner stream closes. */
void uvws__relay_close(uvws__relay_t* relay);

/* It is closed: whether it must wait for the relay, which then calls
 * uvws__stream_gone(). */
bool uvws__relay_outlives(uvws__relay_t* relay);

/* Why the outer stream has failed; 0. */
int uvws__relay_status(const uvws__relay_t* relay);

/* NULL once it is closed. */
const uvws__stream_t* uvws__relay_outer(const uvws__relay_t* relay);

void uvws__relay_free(uvws__relay_t* relay);

#endif /* UVWS_SRC_NET_RELAY_H_ */
