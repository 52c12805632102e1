#include "net/claim.h"

#include <string.h>

/* The list of a loop's claims is in the order in which they were made, and who
 * waits is granted his when no claim before it conflicts, also not one that
 * waits itself. So nobody is overtaken for good, and as all is claimed at once,
 * no two wait for each other. */

static bool is_same_host(const uvws__claim_t* a, const uvws__claim_t* b) {
  return a->host != NULL && b->host != NULL && a->port == b->port &&
         strcmp(a->host, b->host) == 0;
}

static bool conflicts(const uvws__claim_t* a, const uvws__claim_t* b) {
  for (unsigned i = 0; i < a->addresses.n; i++)
    for (unsigned j = 0; j < b->addresses.n; j++)
      if (uvws__address_equals(&a->addresses.list[i], &b->addresses.list[j]))
        return true;
  return is_same_host(a, b);
}

static bool is_free(const uvws__claim_t* claim) {
  const uvws__claim_t* earlier = claim->loop->claims;
  while (earlier != claim && !conflicts(earlier, claim))
    earlier = earlier->next;
  return earlier == claim;
}

static void on_deferred(uvws__deferred_t* deferred) {
  uvws__claim_t* claim = UVWS__CONTAINER_OF(deferred, uvws__claim_t, deferred);
  claim->grant(claim);
}

static void grant_if_free(uvws__claim_t* claim) {
  if (claim->granted || !is_free(claim)) return;
  claim->granted = true;
  uvws__loop_defer(claim->loop, &claim->deferred);
}

/* Something was given up: those behind it may have waited for that. */
static void grant_from(uvws__claim_t* claim) {
  for (; claim != NULL; claim = claim->next) grant_if_free(claim);
}

void uvws__claim_make(uvws__claim_t* claim, uvws__loop_t* loop) {
  uvws__claim_t** link = &loop->claims;
  while (*link != NULL) link = &(*link)->next;
  claim->loop = loop;
  claim->deferred.run = on_deferred;
  claim->link = link;
  *link = claim;
  grant_if_free(claim);
}

void uvws__claim_narrow(uvws__claim_t* claim,
                        const struct sockaddr_storage* address) {
  if (claim->link == NULL || claim->host != NULL) return;
  claim->won = *address;
  claim->addresses = (uvws__addresses_t){&claim->won, 1};
  grant_from(claim->next);
}

void uvws__claim_drop(uvws__claim_t* claim) {
  uvws__claim_t* next = claim->next;
  if (claim->link == NULL) return;
  uvws__loop_undefer(claim->loop, &claim->deferred);
  *claim->link = next;
  if (next != NULL) next->link = claim->link;
  claim->next = NULL;
  claim->link = NULL;
  grant_from(next);
}
