#include "net/wheel.h"

#include <string.h>

/* A deadline lies in the slot of the first tick that is not before it, modulo
 * the number of slots; one that is more than a turn of the wheel away is met
 * there early and put back. */

static uint64_t tick_of(uint64_t at) {
  return (at + UVWS__WHEEL_TICK - 1) / UVWS__WHEEL_TICK;
}

static void link_into(uvws__deadline_t** list, uvws__deadline_t* deadline) {
  deadline->next = *list;
  deadline->link = list;
  if (deadline->next != NULL) deadline->next->link = &deadline->next;
  *list = deadline;
}

void uvws__wheel_init(uvws__wheel_t* wheel, uint64_t now) {
  memset(wheel, 0, sizeof(*wheel));
  wheel->tick = now / UVWS__WHEEL_TICK;
}

void uvws__wheel_cancel(uvws__deadline_t* deadline) {
  if (deadline->link == NULL) return;
  *deadline->link = deadline->next;
  if (deadline->next != NULL) deadline->next->link = deadline->link;
  deadline->next = NULL;
  deadline->link = NULL;
}

void uvws__wheel_set(uvws__wheel_t* wheel, uvws__deadline_t* deadline,
                     uint64_t at) {
  uint64_t tick = tick_of(at);
  if (tick <= wheel->tick) tick = wheel->tick + 1;
  uvws__wheel_cancel(deadline);
  deadline->at = at;
  link_into(&wheel->slots[tick % UVWS__WHEEL_SLOTS], deadline);
}

uvws__deadline_t* uvws__wheel_pop(uvws__wheel_t* wheel, uint64_t now) {
  uint64_t last = now / UVWS__WHEEL_TICK;
  /* After a long sleep one turn sees every slot. */
  if (last > wheel->tick + UVWS__WHEEL_SLOTS)
    wheel->tick = last - UVWS__WHEEL_SLOTS;
  for (;;) {
    while (wheel->current != NULL) {
      uvws__deadline_t* deadline = wheel->current;
      uvws__wheel_cancel(deadline);
      if (deadline->at <= now) return deadline;
      uvws__wheel_set(wheel, deadline, deadline->at);
    }
    if (wheel->tick >= last) return NULL;
    wheel->tick++;
    uvws__deadline_t** slot = &wheel->slots[wheel->tick % UVWS__WHEEL_SLOTS];
    wheel->current = *slot;
    *slot = NULL;
    if (wheel->current != NULL) wheel->current->link = &wheel->current;
  }
}

bool uvws__wheel_next(const uvws__wheel_t* wheel, uint64_t* at) {
  if (wheel->current != NULL) {
    *at = wheel->tick * UVWS__WHEEL_TICK;
    return true;
  }
  for (uint64_t i = 1; i <= UVWS__WHEEL_SLOTS; i++) {
    if (wheel->slots[(wheel->tick + i) % UVWS__WHEEL_SLOTS] == NULL) continue;
    *at = (wheel->tick + i) * UVWS__WHEEL_TICK;
    return true;
  }
  return false;
}
