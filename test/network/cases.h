#ifndef UVWS_NETWORK_CASES_H_
#define UVWS_NETWORK_CASES_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is done to a client and to its network, and what must come of it. */

typedef enum {
  NEVER,
  LOOKUP,    /* the addresses are asked for */
  UPGRADING, /* TCP is connected */
  OPEN,
  SENDING,   /* half of the message is sent, or waits to be */
  RECEIVING, /* half of it has come back */
  WHOLE,     /* all of it has */
  CLOSING,   /* our close frame is queued */
  CLOSE_CAME,
  CLOSED,
  LATER /* a moment after the step before */
} point_t;

/* `what` is done by the client: "hang" (the lookup does not end), "answer" (now
 * it does), "goodbye", "terminate", "wait"; or to the network, by `run`: "cut",
 * "restore", "stop", "kill", "term", "vanish", "reboot". */
typedef struct step_s {
  point_t when;
  const char* what;
} step_t;

/* A member of uvws_options_t, whose durations all have one type. */
typedef struct setting_s {
  size_t member;
  uint32_t value;
} setting_t;

typedef struct case_s {
  const char* name;
  setting_t settings[3];
  step_t steps[6];
  size_t bytes;      /* of a message that is sent and comes back; 0: none */
  const char* local; /* options->local_address; NULL: none */
  bool tells;        /* the reason of `error` has each address */

  const char* events; /* in their order */
  const char* timed;  /* the one whose time is told: since connecting, or since
                         the network was last changed */
  int status;         /* of `error` and `close` */
  const char* reason; /* a part of it; NULL: any */
  int code;           /* of a clean close; 0: 1006 */
  uint32_t least;     /* milliseconds, far from what is right */
  uint32_t most;
} case_t;

extern const case_t cases[]; /* the last one has no name */

#endif
