/* A program outside the tree: the installed library is the one whose header it
 * was built with, and links with all that it needs. */

#include <stdio.h>

#include <uvws.h>

int main(void) {
  static const uvws_events_t events = {UVWS_EVENTS_INIT};
  uvws_t ws;

  puts(uvws_version_string());
  if (uvws_version() != UVWS_VERSION_HEX) return 1;
  if (uvws_init(uv_default_loop(), &ws, &events) != 0) return 1;
  return uvws_connect(&ws, "mailto:nobody", NULL) != UVWS_ESYNTAX;
}
