#ifndef UVWS_SRC_STATS_H_
#define UVWS_SRC_STATS_H_

#include "connection.h"

/* The stream is about to close: what it counted is kept. */
void uvws__stats_keep(uvws__conn_t* conn);

/* The connection leaves its loop. */
void uvws__stats_add_to_loop(uvws__conn_t* conn);

/* Shows a received frame's header to whoever traces. */
void uvws__stats_trace_header(uvws__receiver_t* receiver);

#endif /* UVWS_SRC_STATS_H_ */
