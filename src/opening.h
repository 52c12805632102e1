#ifndef UVWS_SRC_OPENING_H_
#define UVWS_SRC_OPENING_H_

/* What a connection needs until it is open, and not any more afterwards. */

#include "connection.h"
#include "net/dial.h"
#include "protocol/handshake.h"
#include "protocol/url.h"

typedef struct uvws__opening_s {
  uvws__conn_t* conn;
  uvws__dial_t* dial;   /* client, while dialing */
  uvws__head_t* head;   /* client: the response */
  uvws__text_t request; /* client: until it is sent */
  char** protocols;     /* client: as offered */
  unsigned n_protocols;
  char key[UVWS__KEY_SIZE];  /* client */
  uvws_tls_t* tls;           /* client: for wss, or NULL */
  char* server_name;         /* client: for wss */
  uint16_t port;             /* client */
  uvws__deferred_t deferred; /* an event that waits for the end of the turn */
  uvws__event_t event;       /* that one */
  int status;                /* and why, or 0 */
  uint8_t* rest;             /* server: what came behind the request */
  size_t rest_len;
} uvws__opening_t;

uvws__opening_t* uvws__opening_new(uvws__conn_t* conn);
void uvws__opening_free(uvws__opening_t* opening);

/* An event of the connection's, once the turn has ended. */
void uvws__opening_defer(uvws__opening_t* opening, uvws__event_t event);

/* Client: everything that can be refused at once. Takes a reference to `tls`,
 * which is NULL for ws. */
int uvws__opening_prepare(uvws__opening_t* opening, const uvws__url_t* url,
                          const uvws_options_t* options,
                          const uvws__field_t* fields, uvws_tls_t* tls);

/* Client: the first step; whatever goes wrong from here on comes as an event.
 */
void uvws__opening_dial(uvws__opening_t* opening, const uvws__url_t* url,
                        const char* pipe);

/* Client: the connection stands, the request goes out. */
void uvws__opening_send(uvws__opening_t* opening);

/* Client: bytes of the response. Returns how many of them belonged to it; the
 * connection has changed its state when it is complete or wrong. */
size_t uvws__opening_receive(uvws__opening_t* opening, const uint8_t* data,
                             size_t len);

#endif /* UVWS_SRC_OPENING_H_ */
