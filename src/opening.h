#ifndef UVWS_SRC_OPENING_H_
#define UVWS_SRC_OPENING_H_

/* What a connection needs until it is open, and not any more afterwards. */

#include "connection.h"
#include "net/dial.h"
#include "protocol/handshake.h"
#include "proxy.h"

typedef struct uvws__opening_s {
  uvws__conn_t* conn;
  uvws__dial_t* dial;  /* client, while dialing */
  uvws__route_t route; /* client: where to; the next five are parts of it */
  uvws__claim_t claim;
  uvws__way_t* way; /* or NULL */
  struct sockaddr_storage local;
  char* host;
  char* pipe;           /* or NULL */
  uvws__head_t* head;   /* of the other side */
  uvws__text_t request; /* client: until it is sent */
  char* extensions;     /* client: as offered; or NULL */
  char** protocols;     /* client: as offered; adopted server: as spoken */
  unsigned n_protocols;
  uvws__field_t* fields; /* adopted server: for its response */
  unsigned n_fields;
  bool any_origin;           /* adopted server */
  char key[UVWS__KEY_SIZE];  /* client */
  uvws_tls_t* tls;           /* or NULL */
  char* server_name;         /* client: for wss */
  uint16_t port;             /* client */
  uvws__deferred_t deferred; /* an event that waits for the end of the turn */
  uvws__event_t event;       /* that one */
  int status;                /* and why, or 0 */
  uint8_t* rest; /* what came behind the handshake that others have read */
  size_t rest_len;
} uvws__opening_t;

uvws__opening_t* uvws__opening_new(uvws__conn_t* conn);
void uvws__opening_free(uvws__opening_t* opening);

/* An event of the connection's, once the turn has ended. */
void uvws__opening_defer(uvws__opening_t* opening, uvws__event_t event);

/* Everything that can be refused at once. Client: `tls`, to which a reference
 * is taken, is NULL for ws. */
int uvws__opening_prepare(uvws__opening_t* opening, const uvws__url_t* url,
                          const uvws_options_t* options,
                          const uvws__field_t* fields, uvws_tls_t* tls);
int uvws__opening_prepare_server(uvws__opening_t* opening,
                                 const uvws_options_t* options);

/* Client: where to. Takes over `way`, which may be NULL. */
int uvws__opening_set_route(uvws__opening_t* opening, const uvws__url_t* url,
                            const uvws_options_t* options, uvws__way_t* way);

/* Client: the first step; whatever goes wrong from here on comes as an event.
 */
void uvws__opening_dial(uvws__opening_t* opening);

/* The connection stands: a client's request goes out, if there is one left to
 * be sent, and the other side is listened to. */
void uvws__opening_send(uvws__opening_t* opening);

/* Adopted server: answers the request with a failure. False when nothing can be
 * said. */
bool uvws__opening_refuse(uvws__opening_t* opening, uvws__failure_t failure);

/* Bytes of the other side's head. Returns how many of them belonged to it; the
 * connection has changed its state when it is complete or wrong. */
size_t uvws__opening_receive(uvws__opening_t* opening, const uint8_t* data,
                             size_t len);

#endif /* UVWS_SRC_OPENING_H_ */
