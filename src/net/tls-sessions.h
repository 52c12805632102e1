#ifndef UVWS_SRC_NET_TLS_SESSIONS_H_
#define UVWS_SRC_NET_TLS_SESSIONS_H_

/* The sessions that a configuration's clients may resume: bytes that only the
 * engine understands, by host and port. Any thread may call. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

struct uvws__tls_session_s;

typedef struct uvws__tls_sessions_s {
  uv_mutex_t mutex;
  struct uvws__tls_session_s* first; /* the newest */
  unsigned n;
  unsigned max;
  uint64_t lifetime; /* seconds */
} uvws__tls_sessions_t;

int uvws__tls_sessions_init(uvws__tls_sessions_t* sessions, unsigned max,
                            uint32_t lifetime);
void uvws__tls_sessions_clear(uvws__tls_sessions_t* sessions);

/* Keeps a copy, if there is memory for one, instead of what is older than the
 * lifetime or beyond the maximum. One that may be used `once` does not take the
 * place of another of the same host's, and goes when it is taken (RFC 8446,
 * C.4). */
void uvws__tls_sessions_put(uvws__tls_sessions_t* sessions, const char* host,
                            uint16_t port, const uint8_t* data, size_t len,
                            bool once);

/* The newest: the caller frees it. NULL when there is none. */
uint8_t* uvws__tls_sessions_take(uvws__tls_sessions_t* sessions,
                                 const char* host, uint16_t port, size_t* len);

#endif /* UVWS_SRC_NET_TLS_SESSIONS_H_ */
