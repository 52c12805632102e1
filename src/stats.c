#include "stats.h"

#include <string.h>

#include "lending.h"

/* The counters are where they cost least: the receiver counts frames, the
 * stream bytes. A loop's sum is made when it is asked for, from the connections
 * that are there and the totals of those that are gone. */

static uint64_t count_sent(const uvws__conn_t* conn) {
  const uvws__stream_t* stream = conn->stream;
  uint64_t sent = stream->queued - uvws__stream_queue_size(stream);
  return sent > conn->bytes_before ? sent - conn->bytes_before : 0;
}

void uvws__stats_keep(uvws__conn_t* conn) {
  conn->bytes_sent = count_sent(conn);
}

static uint64_t bytes_sent(const uvws__conn_t* conn) {
  bool kept = conn->stream == NULL || conn->state >= UVWS__STATE_RELEASING;
  return kept ? conn->bytes_sent : count_sent(conn);
}

static void read_conn(const uvws__conn_t* conn, uvws_stats_t* stats) {
  *stats = (uvws_stats_t){
      .bytes_received = conn->bytes_received,
      .bytes_sent = bytes_sent(conn),
      .frames_received = uvws__lending_frames(conn),
      .frames_sent = conn->frames_sent,
      .messages_received = conn->messages_received,
      .messages_sent = conn->messages_sent,
      .queue_size = uvws_queue_size(conn->ws),
      .rtt = conn->rtt,
  };
}

void uvws__stats_add_to_loop(uvws__conn_t* conn) {
  uint64_t* totals = conn->loop->totals;
  totals[0] += conn->bytes_received;
  totals[1] += conn->bytes_sent;
  totals[2] += uvws__lending_frames(conn);
  totals[3] += conn->frames_sent;
  totals[4] += conn->messages_received;
  totals[5] += conn->messages_sent;
}

void uvws_stats(const uvws_t* ws, uvws_stats_t* stats) {
  const uvws__conn_t* conn = uvws__conn_of(ws);
  memset(stats, 0, sizeof(*stats));
  if (conn != NULL && conn->state >= UVWS__STATE_OPEN) read_conn(conn, stats);
}

void uvws_loop_stats(uv_loop_t* uv, uvws_stats_t* stats) {
  const uvws__loop_t* loop = uvws__loop_find(uv);
  memset(stats, 0, sizeof(*stats));
  if (loop == NULL) return;
  stats->bytes_received = loop->totals[0];
  stats->bytes_sent = loop->totals[1];
  stats->frames_received = loop->totals[2];
  stats->frames_sent = loop->totals[3];
  stats->messages_received = loop->totals[4];
  stats->messages_sent = loop->totals[5];
  for (const uvws__conn_t* conn = loop->conns; conn != NULL;
       conn = conn->next) {
    uvws_stats_t one;
    stats->sockets++;
    uvws_stats(conn->ws, &one);
    stats->bytes_received += one.bytes_received;
    stats->bytes_sent += one.bytes_sent;
    stats->frames_received += one.frames_received;
    stats->frames_sent += one.frames_sent;
    stats->messages_received += one.messages_received;
    stats->messages_sent += one.messages_sent;
    stats->queue_size += one.queue_size;
    if (one.rtt > stats->rtt) stats->rtt = one.rtt;
  }
}

void uvws__stats_trace_header(uvws__receiver_t* receiver) {
  uvws__conn_t* conn = uvws__lending_conn(receiver);
  const uvws__parser_t* parser = &receiver->parser;
  uvws_trace_t trace = {
      .kind = UVWS_TRACE_FRAME_RECEIVED,
      .first_byte = parser->opcode | (parser->fin ? UVWS__FIN : 0) |
                    (parser->rsv1 ? UVWS__RSV1 : 0),
      .masked = parser->role == UVWS__SERVER,
      .len = parser->remaining,
  };
  conn->ws->events->trace(conn->ws, &trace);
}
