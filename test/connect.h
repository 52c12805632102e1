#ifndef UVWS_TEST_CONNECT_H_
#define UVWS_TEST_CONNECT_H_

/* What the tests of connecting share: names that say what addresses they have,
 * a socket whose reasons are kept whole, and a look at the handles that are
 * open. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper.h"

/* ---- addresses ---- */

/* Of IPv4, or of IPv6 when it has a colon. */
static inline void make_address(struct sockaddr_storage* address,
                                const char* host, int port) {
  memset(address, 0, sizeof(*address));
  int status = strchr(host, ':') == NULL
                   ? uv_ip4_addr(host, port, (struct sockaddr_in*)address)
                   : uv_ip6_addr(host, port, (struct sockaddr_in6*)address);
  assert_int_equal(status, 0);
}

static inline int port_of(const uv_tcp_t* tcp) {
  struct sockaddr_in address;
  int len = sizeof(address);
  assert_int_equal(uv_tcp_getsockname(tcp, (struct sockaddr*)&address, &len),
                   0);
  return ntohs(address.sin_port);
}

/* A port at which all addresses refuse, as long as the handle is open. */
static inline int refuse(uv_tcp_t* nobody) {
  struct sockaddr_storage any;
  make_address(&any, "0.0.0.0", 0);
  uv_tcp_init(test_loop, nobody);
  assert_int_equal(uv_tcp_bind(nobody, (const struct sockaddr*)&any, 0), 0);
  return port_of(nobody);
}

/* ---- names ----
 *
 * "4-127-0-0-1.6-127-0-0-2.u.test" has the addresses 127.0.0.1,
 * ::ffff:127.0.0.2 and one of a unix socket. The loopback interface has but one
 * address of IPv6, but those that are mapped go to IPv4's. */

typedef struct names_s {
  unsigned asked;
  char host[512];         /* the last name */
  uvws_lookup_t* waiting; /* the last lookup, if it was not answered */
  int status;             /* what to answer, instead of addresses */
  bool forbidden;         /* nothing must be looked up now */
  void (*instead)(uvws_lookup_t* lookup); /* of answering inside the hook */
} names_t;

static names_t names;

static struct sockaddr* read_label(char* label) {
  struct sockaddr_storage* address = calloc(1, sizeof(*address));
  char text[64];
  assert_non_null(address);
  for (char* at = label; *at != '\0'; at++)
    if (*at == '-') *at = '.';
  snprintf(text, sizeof(text), "%s%s", label[0] == '6' ? "::ffff:" : "",
           label + 1 + strspn(label + 1, "."));
  if (label[0] == 'u')
    address->ss_family = AF_UNIX;
  else
    make_address(address, text, 9);
  return (struct sockaddr*)address;
}

/* Answers with the addresses of a name, all of it in memory that is freed; the
 * ports do not matter. */
static void answer(uvws_lookup_t* lookup, const char* host) {
  struct sockaddr* addresses[8];
  char copy[512], *save = NULL;
  unsigned n = 0;
  snprintf(copy, sizeof(copy), "%s", host);
  for (char* label = strtok_r(copy, ".", &save); strcmp(label, "test") != 0;
       label = strtok_r(NULL, ".", &save)) {
    assert_true(n < COUNT_OF(addresses));
    addresses[n++] = read_label(label);
  }
  if (names.waiting == lookup) names.waiting = NULL;
  uvws_lookup_done(lookup, names.status,
                   (const struct sockaddr* const*)addresses, n);
  while (n > 0) free(addresses[--n]);
}

static void on_lookup(uvws_lookup_t* lookup, const char* host, void* arg) {
  assert_false(names.forbidden);
  assert_ptr_equal(arg, &names);
  names.asked++;
  names.waiting = lookup;
  snprintf(names.host, sizeof(names.host), "%s", host);
  if (names.instead != NULL)
    names.instead(lookup);
  else
    answer(lookup, host);
}

static inline void names_init(uvws_options_t* options) {
  memset(&names, 0, sizeof(names));
  uvws_options_init(options);
  options->lookup = on_lookup;
  options->lookup_arg = &names;
}

/* ---- a socket ---- */

static char reason[1024]; /* of the last `error` */

static void keep_reason(uvws_t* ws, int status, const char* text) {
  snprintf(reason, sizeof(reason), "%s", text);
  peer_events.error(ws, status, text);
}

static inline void client_init(peer_t* peer) {
  static uvws_events_t events;
  peer_init(peer);
  events = peer_events;
  events.error = keep_reason;
  assert_int_equal(uvws_init(test_loop, &peer->ws, &events), 0);
  assert_int_equal(uvws_set_binary_type(&peer->ws, UVWS_ARRAYBUFFER), 0);
  reason[0] = '\0';
}

/* To ws://host:port/path; nothing is asked or told before it returns. */
static inline void client_connect(peer_t* peer, const char* host, int port,
                                  const char* path,
                                  const uvws_options_t* options) {
  char url[512];
  snprintf(url, sizeof(url), "ws://%s:%d%s", host, port, path);
  names.forbidden = true;
  assert_int_equal(uvws_connect(&peer->ws, url, options), 0);
  names.forbidden = false;
  assert_string_equal(peer->log, "");
  assert_int_equal(uvws_ready_state(&peer->ws), UVWS_CONNECTING);
}

static inline void turns(int n) {
  while (n-- > 0) uv_run(test_loop, UV_RUN_NOWAIT);
}

/* ---- the handles ---- */

typedef struct census_s {
  uv_handle_type type;
  unsigned n;
} census_t;

static void count_handle(uv_handle_t* handle, void* arg) {
  census_t* census = arg;
  if (handle->type == census->type && uvws_owns(handle)) census->n++;
}

/* How many handles of this type the library has open, or is closing. */
static inline unsigned owned(uv_handle_type type) {
  census_t census = {type, 0};
  uv_walk(test_loop, count_handle, &census);
  return census.n;
}

#endif /* UVWS_TEST_CONNECT_H_ */
