#ifndef UVWS_SRC_SERVER_H_
#define UVWS_SRC_SERVER_H_

/* What stands behind a uvws_server_t, shared by server.c (listening, closing)
 * and request.c (from a connection to a decision). */

#include "alloc.h"
#include "names.h"
#include "net/adopted.h"
#include "net/listener.h"
#include "options.h"
#include "uvws.h"

typedef struct uvws__server_s uvws__server_t;

typedef struct uvws__listening_s {
  struct uvws__listening_s* next;
  uvws__server_t* server;
  uvws__stream_t* stream;
  bool is_listening_tcp;
  bool has_waiting;  /* a connection that was not accepted yet */
  bool has_accepted; /* and so knows the next */
  bool passes_on;    /* the TCP settings, to those that it accepts */
} uvws__listening_t;

struct uvws__server_s {
  uvws_server_t* shell;
  const uvws_server_events_t* events;
  uvws__loop_t* loop; /* NULL once it has left */
  uvws__settings_t* settings;
  uvws__listening_t* listenings; /* in the order of the calls */
  uvws_request_t* requests;
  uvws__deadline_t deadline; /* of closing; before, of another try to accept */
  uvws__deferred_t finish;
  uint64_t closing_at;  /* uv_hrtime() of the deadline */
  uvws__names_t* names; /* of the socket accepted last, or NULL */
  uvws__budget_t budget;
  uvws__deferred_t room; /* put off: there is some in the budget again */
  uvws_tls_t* tls;       /* or NULL */
  uvws__tcp_settings_t tcp;
  uint32_t flags;
  uint32_t max_connections;
  unsigned connections; /* requests and sockets, until they are closed */
  unsigned given_away;  /* not closed yet, and nobody's concern */
  unsigned terminated;  /* of them, cut off when the server closed */
  bool closing;
  bool terminating; /* closing, and out of patience */
  bool unreferenced;
};

/* Whether the user wants to hear of an event, and knew it when he was built. */
#define SERVER_EMITS(server, event)                                  \
  ((server)->events->size > offsetof(uvws_server_events_t, event) && \
   (server)->events->event != NULL)

/* An accepted socket is open: a server that closes meanwhile ends it now. */
void uvws__server_conn_open(const uvws__server_t* server, uvws_t* ws);

/* One connection less. */
void uvws__server_conn_gone(uvws__server_t* server);

/* A connection of somebody else's, and what he has read of it. */
typedef struct uvws__gift_s {
  uvws__source_t source;
  const void* head;
  size_t len;
} uvws__gift_t;

/* request.c: takes over a stream that was just accepted or, with a gift, one
 * that is still to be taken. When it fails the stream is still the caller's. */
int uvws__request_begin(uvws__server_t* server, uvws__stream_t* stream,
                        const uvws__gift_t* gift);

/* The server is closing: an end for each request when the turn ends, without
 * any more words when it is terminating. */
void uvws__requests_cancel(uvws__server_t* server);

#endif /* UVWS_SRC_SERVER_H_ */
