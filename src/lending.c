#include "lending.h"

#include "alloc.h"
#include "deflate.h"
#include "stats.h"

/* What a receiver knows matters while a message is under way, and no longer:
 * between two messages it stands as it stood at first. So it is lent. The loop
 * keeps one, which is enough for all connections whose messages lie whole in
 * their reads, because no two of them parse at a time; for others more are
 * made.
 *
 * Who borrows mostly has the settings and the events of the one before, and
 * then the receiver need not be told anything. It may only be told nothing as
 * long as that one is there, or others' settings might lie where his did. */

struct uvws__lent_s {
  uvws__receiver_t receiver;
  uvws__conn_t* conn;
  const uvws__settings_t* settings; /* that it is made up for; NULL for none */
  const uvws_events_t* events;
};

static struct uvws__lent_s* lent_of(uvws__receiver_t* receiver) {
  return UVWS__CONTAINER_OF(receiver, struct uvws__lent_s, receiver);
}

uvws__conn_t* uvws__lending_conn(uvws__receiver_t* receiver) {
  return lent_of(receiver)->conn;
}

static void make_up(struct uvws__lent_s* lent, const uvws__conn_t* conn) {
  uvws__receiver_t* receiver = &lent->receiver;
  uvws__receiver_init(receiver, conn->is_server ? UVWS__SERVER : UVWS__CLIENT,
                      &conn->settings->limits);
  receiver->spares = &conn->loop->spares;
  receiver->budget = conn->settings->budget;
  receiver->in_chunks = EMITS(conn->ws, chunk);
  if (EMITS(conn->ws, trace)) receiver->header = uvws__stats_trace_header;
  lent->settings = conn->settings;
  lent->events = conn->ws->events;
}

static void lend(uvws__conn_t* conn, struct uvws__lent_s* lent) {
  lent->conn = conn;
  conn->receiver = &lent->receiver;
  conn->stream->places = true;
}

static bool begin_anew(uvws__conn_t* conn) {
  struct uvws__lent_s* lent = conn->loop->lent;
  conn->loop->lent = NULL;
  if (lent == NULL) lent = uvws__malloc(sizeof(*lent));
  if (lent == NULL) return false;
  make_up(lent, conn);
  lend(conn, lent);
  if (conn->extra->deflate != NULL) uvws__deflate_equip(conn);
  if (conn->state != UVWS__STATE_OPEN) uvws__receiver_discard(conn->receiver);
  return true;
}

bool uvws__lending_begin(uvws__conn_t* conn) {
  struct uvws__lent_s* lent = conn->loop->lent;
  if (lent == NULL || lent->settings != conn->settings ||
      lent->events != conn->ws->events || conn->extra != &uvws__no_extra ||
      conn->state != UVWS__STATE_OPEN)
    return begin_anew(conn);
  conn->loop->lent = NULL;
  lend(conn, lent);
  return true;
}

static void give_back(uvws__conn_t* conn) {
  struct uvws__lent_s* lent = lent_of(conn->receiver);
  conn->frames_received += conn->receiver->frames;
  conn->receiver->frames = 0;
  conn->receiver = NULL;
  if (conn->stream != NULL) conn->stream->places = false;
  if (conn->loop->lent == NULL)
    conn->loop->lent = lent;
  else
    uvws__free(lent);
}

/* One that discards is no use to others. */
static void end_for_good(uvws__conn_t* conn) {
  if (conn->extra->deflate != NULL) uvws__deflate_strip(conn);
  if (conn->receiver->discarding) lent_of(conn->receiver)->settings = NULL;
  give_back(conn);
}

void uvws__lending_end(uvws__conn_t* conn) {
  if (!uvws__parser_is_at_rest(&conn->receiver->parser)) return;
  if (conn->extra != &uvws__no_extra || conn->state != UVWS__STATE_OPEN)
    end_for_good(conn);
  else
    give_back(conn);
}

void uvws__lending_drop(uvws__conn_t* conn) {
  struct uvws__lent_s* lent = conn->loop->lent;
  if (lent != NULL && lent->settings == conn->settings) lent->settings = NULL;
  if (conn->receiver == NULL) return;
  uvws__receiver_clear(conn->receiver);
  lent_of(conn->receiver)->settings = NULL;
  give_back(conn);
}
