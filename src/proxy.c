#include "proxy.h"

#include <string.h>

#include "alloc.h"
#include "environment.h"
#include "protocol/token.h"
#include "tls.h"

/* No standard describes the environment's variables; this is what curl, Go and
 * Python agree on. */

enum { HOST_MAX = 255 }; /* RFC 1928, 4; and no name in the DNS is longer */

/* ---- the URL of a proxy ---- */

static const struct {
  const char* prefix;
  uvws__proxy_kind_t kind;
  bool secure;
  uint16_t port; /* unless the URL has one */
} schemes[] = {{"http://", UVWS__PROXY_HTTP, false, 80},
               {"https://", UVWS__PROXY_HTTP, true, 443},
               {"socks5://", UVWS__PROXY_SOCKS5, false, 1080},
               {"socks5h://", UVWS__PROXY_SOCKS5, false, 1080}};

enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

/* The URL parser knows the schemes of WebSockets; what follows a scheme has the
 * same syntax for all. */
static int parse_as(uvws__url_t* url, const char* scheme, const char* rest) {
  char* text = uvws__join(scheme, "", rest);
  if (text == NULL) return UV_ENOMEM;
  uvws__url_status_t status = uvws__url_parse(url, text, strlen(text));
  uvws__free(text);
  if (status == UVWS__URL_NO_MEMORY) return UV_ENOMEM;
  return status == UVWS__URL_OK ? 0 : UV_EINVAL;
}

/* A port that changes with the scheme is the scheme's. */
static int find_port(const char* rest, uint16_t otherwise, uint16_t* port) {
  uvws__url_t url;
  int status = parse_as(&url, "https://", rest);
  if (status != 0) return status;
  if (*port == 80 && url.port == 443) *port = otherwise;
  uvws__url_clear(&url);
  return 0;
}

static int parse(uvws__way_t* way, const char* text) {
  uvws__proxy_t* proxy = &way->proxy;
  size_t row = 0, len = 0;
  for (size_t i = 0; i < SCHEMES && len == 0; i++) {
    row = i;
    if (uvws__matches_nocase(text, schemes[i].prefix,
                             strlen(schemes[i].prefix)))
      len = strlen(schemes[i].prefix);
  }
  /* The environment's often have none. */
  if (len == 0) row = 0;
  if (len == 0 && strstr(text, "://") != NULL) return UV_EINVAL;
  int status = parse_as(&way->url, "http://", text + len);
  if (status != 0) return status;
  proxy->kind = schemes[row].kind;
  proxy->host = way->url.host;
  proxy->port = way->url.port;
  if (way->url.has_userinfo) {
    proxy->username = way->url.username;
    proxy->password = way->url.password;
    if (!uvws__credentials_are_valid(proxy->kind, proxy->username,
                                     proxy->password))
      return UV_EINVAL;
  }
  return find_port(text + len, schemes[row].port, &proxy->port);
}

static bool is_secure(const char* text) {
  return uvws__matches_nocase(text, "https://", strlen("https://"));
}

/* ---- the environment ---- */

/* Lowercase goes first; http_proxy has no uppercase, which a web server makes
 * of a request's "Proxy" header for its CGI programs. */
static const char* variable(const char* name) {
  char upper[16];
  size_t i = 0;
  const char* value = uvws__environment(name);
  if (value != NULL || strcmp(name, "http_proxy") == 0) return value;
  for (; name[i] != '\0' && i < sizeof(upper) - 1; i++)
    upper[i] =
        name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 32) : name[i];
  upper[i] = '\0';
  return uvws__environment(upper);
}

/* All of `len` bytes, up to `max`. */
static bool read_number(const char* text, size_t len, long* number, long max) {
  long n = 0;
  if (len == 0 || len > 5) return false;
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    n = 10 * n + (text[i] - '0');
  }
  *number = n;
  return n <= max;
}

static bool is_address(const char* host) {
  uint8_t address[16];
  return uv_inet_pton(AF_INET, host, address) == 0 ||
         uv_inet_pton(AF_INET6, host, address) == 0;
}

/* "10.0.0.0/8" */
static bool is_in_network(const char* host, const char* network, size_t len) {
  uint8_t theirs[16], ours[16];
  char text[INET6_ADDRSTRLEN];
  const char* slash = memchr(network, '/', len);
  size_t address_len = slash == NULL ? len : (size_t)(slash - network);
  if (address_len >= sizeof(text)) return false;
  memcpy(text, network, address_len);
  text[address_len] = '\0';
  int family = strchr(text, ':') == NULL ? AF_INET : AF_INET6;
  long bits = family == AF_INET ? 32 : 128;
  if (uv_inet_pton(family, text, theirs) != 0 ||
      uv_inet_pton(family, host, ours) != 0)
    return false;
  if (slash != NULL &&
      !read_number(slash + 1, (size_t)(network + len - slash - 1), &bits, bits))
    return false;
  size_t bytes = (size_t)bits / 8;
  unsigned rest = (unsigned)bits % 8, mask = 0xFF00u >> rest & 0xFF;
  return memcmp(ours, theirs, bytes) == 0 &&
         (rest == 0 || ((ours[bytes] ^ theirs[bytes]) & mask) == 0);
}

/* "example.com" and ".example.com" are that host and all below it. */
static bool is_in_domain(const char* host, const char* domain, size_t len) {
  size_t host_len = strlen(host);
  /* A name in the DNS may end in a dot, and means the same. */
  if (host_len > 1 && host[host_len - 1] == '.') host_len--;
  if (len > 1 && domain[len - 1] == '.') len--;
  if (len > 0 && *domain == '*') domain++, len--;
  if (len > 0 && *domain == '.') domain++, len--;
  if (len == 0 || len > host_len) return false;
  const char* tail = host + host_len - len;
  return uvws__matches_nocase(tail, domain, len) &&
         (tail == host || tail[-1] == '.');
}

/* An entry's ":port", unless it is a part of an address. */
static size_t split_port(const char* entry, size_t len, long* port) {
  const char* colon = entry + len;
  while (colon > entry && *colon != ':') colon--;
  bool has_other = memchr(entry, ':', (size_t)(colon - entry)) != NULL;
  *port = 0;
  if (*colon != ':' || (has_other && *entry != '[') || colon[-1] == ':' ||
      (has_other && colon[-1] != ']'))
    return len;
  if (!read_number(colon + 1, (size_t)(entry + len - colon - 1), port, 65535))
    return len;
  return (size_t)(colon - entry);
}

static bool entry_has(const char* entry, size_t len, const uvws__url_t* to) {
  long port;
  if (len == 1 && *entry == '*') return true;
  len = split_port(entry, len, &port);
  if (port != 0 && port != to->port) return false;
  if (len > 1 && *entry == '[' && entry[len - 1] == ']') entry++, len -= 2;
  return is_address(to->host) ? is_in_network(to->host, entry, len)
                              : is_in_domain(to->host, entry, len);
}

static bool is_excepted(const uvws__url_t* to) {
  const char* list = variable("no_proxy");
  while (list != NULL && *list != '\0') {
    size_t len = strcspn(list, ", \t");
    if (len > 0 && entry_has(list, len, to)) return true;
    list += len + strspn(list + len, ", \t");
  }
  return false;
}

static const char* from_environment(const uvws__url_t* to) {
  static const char* const names[2][3] = {
      {"ws_proxy", "http_proxy", "all_proxy"},
      {"wss_proxy", "https_proxy", "all_proxy"}};
  if (is_excepted(to)) return NULL;
  for (size_t i = 0; i < 3; i++) {
    const char* value = variable(names[to->secure][i]);
    if (value != NULL) return value;
  }
  return NULL;
}

/* ---- the way ---- */

static int make(uvws__way_t* way, const char* text,
                const uvws_options_t* options, const uvws__url_t* to) {
  uvws_tls_t* tls;
  if (strlen(to->host) > HOST_MAX) return UV_EINVAL;
  int status = parse(way, text);
  if (status != 0 || !is_secure(text)) return status;
  status = uvws__tls_for_client(options->proxy_tls, &tls);
  if (status == 0) way->proxy.tls = tls;
  return status;
}

int uvws__way_read(const uvws_options_t* options, const uvws__url_t* to,
                   uvws__way_t** result) {
  const char* text = options->proxy;
  *result = NULL;
  if (text == NULL && (options->flags & UVWS_CONNECT_ENV_PROXY))
    text = from_environment(to);
  if (text == NULL || *text == '\0' || options->pipe != NULL) return 0;
  uvws__way_t* way = uvws__calloc(1, sizeof(*way));
  if (way == NULL) return UV_ENOMEM;
  int status = make(way, text, options, to);
  way->proxy.max_head = options->max_head;
  way->proxy.max_headers = options->max_headers;
  if (status == 0)
    *result = way;
  else
    uvws__way_free(way);
  return status;
}

void uvws__way_free(uvws__way_t* way) {
  if (way == NULL) return;
  uvws_tls_unref(way->proxy.tls);
  uvws__url_clear(&way->url);
  uvws__free(way);
}
