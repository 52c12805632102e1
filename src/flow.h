#ifndef UVWS_SRC_FLOW_H_
#define UVWS_SRC_FLOW_H_

/* What flows, and what holds it back: water marks, the server's budget, writes
 * that wait, reading that is stopped. */

#include "connection.h"

void uvws__flow_free(uvws__conn_t* conn);

/* The connection is open: begins to read, unless that was stopped before. */
int uvws__flow_open(uvws__conn_t* conn);

/* It is open no more: reads on, for the end must be seen. */
void uvws__flow_end(uvws__conn_t* conn);

/* What most sends find: nothing waits, and the budget has far more. */
static inline bool uvws__flow_is_easy(const uvws__conn_t* conn, size_t len) {
  const uvws__budget_t* budget = conn->settings->budget;
  uint64_t more = uvws__stream_corked(conn->stream) + len;
  return !conn->full && conn->stream->outbox == NULL &&
         (budget == NULL || budget->used + more < budget->max / 2 ||
          budget->max == 0);
}

/* Whether `len` more bytes may be queued: 0, or the status that refuses them.
 * The connection may have failed over it. */
int uvws__flow_admit(uvws__conn_t* conn, uint64_t len);

/* The largest frame that may ever be admitted. */
uint64_t uvws__flow_most(const uvws__conn_t* conn);

/* A frame was queued. */
void uvws__flow_queued(uvws__conn_t* conn);

/* Has `cb` called when all that is queued is with the kernel. */
void uvws__flow_await(uvws__conn_t* conn, uvws_write_t* req, uvws_write_cb cb);

/* The kernel may have taken something, or there is room for more. */
void uvws__flow_progress(uvws__conn_t* conn);

/* The turn has ended: goes on with what was read, if that is to be, and with
 * reading. */
void uvws__flow_resume(uvws__conn_t* conn);

/* Has that done. */
void uvws__flow_resume_soon(uvws__conn_t* conn);

/* What is still queued is lost. */
void uvws__flow_lost(uvws__conn_t* conn, int status);

/* Keeps what was read when reading was stopped, to be parsed later. */
void uvws__flow_hold(uvws__conn_t* conn, const uint8_t* data, size_t len);

/* To be called when what keeps the loop alive may have changed. */
void uvws__flow_update_hold(uvws__conn_t* conn);

/* There is room in the server's budget again. */
void uvws__flow_room(uvws__loop_t* loop, const struct uvws__server_s* server);

#endif /* UVWS_SRC_FLOW_H_ */
