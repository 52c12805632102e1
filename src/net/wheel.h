#ifndef UVWS_SRC_NET_WHEEL_H_
#define UVWS_SRC_NET_WHEEL_H_

/* A timer wheel: any number of deadlines, constant time to set and to cancel.
 * It knows no clock: times are milliseconds that the caller counts. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UVWS__WHEEL_TICK  16 /* ms: deadlines are met less than this late */
#define UVWS__WHEEL_SLOTS 512

/* Zeroed memory is an unset deadline. */
typedef struct uvws__deadline_s {
  struct uvws__deadline_s* next;
  struct uvws__deadline_s** link; /* what points to us; NULL when not set */
  uint64_t at;
  void (*passed)(struct uvws__deadline_s* deadline);
} uvws__deadline_t;

typedef struct uvws__wheel_s {
  uint64_t tick;             /* slots up to this one have been looked through */
  uvws__deadline_t* current; /* the rest of the slot being looked through */
  uvws__deadline_t* slots[UVWS__WHEEL_SLOTS];
} uvws__wheel_t;

void uvws__wheel_init(uvws__wheel_t* wheel, uint64_t now);

/* Sets, or moves, a deadline; one that lies in the past is due with the next
 * tick. */
void uvws__wheel_set(uvws__wheel_t* wheel, uvws__deadline_t* deadline,
                     uint64_t at);
void uvws__wheel_cancel(uvws__deadline_t* deadline);

/* Takes out one deadline that is due, in no particular order; NULL when there
 * are none left. */
uvws__deadline_t* uvws__wheel_pop(uvws__wheel_t* wheel, uint64_t now);

/* When to call uvws__wheel_pop() next: not later than the next deadline's tick,
 * or now. False when no deadline is set. */
bool uvws__wheel_next(const uvws__wheel_t* wheel, uint64_t* at);

#endif /* UVWS_SRC_NET_WHEEL_H_ */
