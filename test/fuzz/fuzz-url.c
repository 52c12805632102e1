/* URLs: what was parsed, serialised, is parsed to the same again. */

#include <string.h>

#include "fuzz.h"
#include "protocol/url.h"

/* Nothing in it may end a line of the request, or be anything but ASCII. */
static void check_text(const char* s) {
  for (; *s != '\0'; s++) CHECK(*s > ' ' && *s <= '~');
}

static void check_url(const uvws__url_t* url) {
  check_text(url->href);
  check_text(url->host);
  check_text(url->authority);
  check_text(url->origin_host);
  check_text(url->target);
  CHECK(url->host[0] != '\0');
  CHECK(url->target[0] == '/');
  CHECK(strncmp(url->href, url->secure ? "wss://" : "ws://",
                url->secure ? 6 : 5) == 0);
  CHECK(strstr(url->href, url->authority) != NULL);
  CHECK(strncmp(url->authority, url->origin_host, strlen(url->origin_host)) ==
        0);
  CHECK(strchr(url->href, '#') == NULL);
  size_t before = strlen(url->href) - strlen(url->target);
  CHECK(strcmp(url->href + before, url->target) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  uvws__url_t url, again;
  if (uvws__url_parse(&url, (const char*)data, len) != UVWS__URL_OK) return 0;
  check_url(&url);
  CHECK(uvws__url_parse(&again, url.href, strlen(url.href)) == UVWS__URL_OK);
  CHECK(strcmp(again.href, url.href) == 0);
  CHECK(strcmp(again.host, url.host) == 0);
  CHECK(strcmp(again.authority, url.authority) == 0);
  CHECK(strcmp(again.target, url.target) == 0);
  CHECK(strcmp(again.username, url.username) == 0);
  CHECK(strcmp(again.password, url.password) == 0);
  CHECK(again.port == url.port && again.secure == url.secure);
  CHECK(again.has_userinfo == url.has_userinfo);
  uvws__url_clear(&url);
  uvws__url_clear(&again);
  return 0;
}
