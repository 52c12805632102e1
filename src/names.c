#include "names.h"

#include <stdbool.h>
#include <string.h>

#include "alloc.h"

uvws__names_t* uvws__names_new(void) {
  uvws__names_t* names = uvws__calloc(1, sizeof(*names));
  if (names != NULL) names->refs = 1;
  return names;
}

void uvws__names_unref(uvws__names_t* names) {
  if (names == NULL || --names->refs > 0) return;
  uvws__free(names->url);
  uvws__free(names->protocol);
  uvws__free(names->extensions);
  uvws__free(names);
}

static bool is_same(const char* a, const char* b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

void uvws__names_share(uvws__names_t** names, uvws__names_t** last) {
  const uvws__names_t* a = *names;
  const uvws__names_t* b = *last;
  bool same = b != NULL && is_same(a->url, b->url) &&
              is_same(a->protocol, b->protocol) &&
              is_same(a->extensions, b->extensions);
  uvws__names_t** from = same ? last : names;
  uvws__names_t** to = same ? names : last;
  (*from)->refs++;
  uvws__names_unref(*to);
  *to = *from;
}
