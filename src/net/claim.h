#ifndef UVWS_SRC_NET_CLAIM_H_
#define UVWS_SRC_NET_CLAIM_H_

/* RFC 6455, 4.1: at most one connection in state CONNECTING to each address and
 * port. Who wants to connect claims all addresses he may try, and waits until
 * no earlier claim on the loop has any of them. */

#include "net/lookup.h"

typedef struct uvws__claim_s {
  struct uvws__claim_s* next;  /* in the order in which they were made */
  struct uvws__claim_s** link; /* NULL: nothing is claimed */
  uvws__loop_t* loop;
  uvws__addresses_t addresses; /* the claimant's, or `won` */
  const char* host; /* through a proxy, whose addresses tell nothing: the
                       claimant's, or NULL */
  uint16_t port;    /* of that */
  bool granted;
  struct sockaddr_storage won;
  uvws__deferred_t deferred;
  void (*grant)(struct uvws__claim_s* claim);
  void* owner;
} uvws__claim_t;

/* Claims the addresses, or the host and port, that stand in `claim`, whose
 * other members but owner and grant() are zeros. That is called when a turn
 * ends: at the end of this one at the earliest. */
void uvws__claim_make(uvws__claim_t* claim, uvws__loop_t* loop);

/* Gives up all but one of the addresses. */
void uvws__claim_narrow(uvws__claim_t* claim,
                        const struct sockaddr_storage* address);

/* Gives up the rest. Does nothing to a claim that was not made. */
void uvws__claim_drop(uvws__claim_t* claim);

#endif /* UVWS_SRC_NET_CLAIM_H_ */
