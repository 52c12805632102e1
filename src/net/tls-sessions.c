#include "net/tls-sessions.h"

#include <string.h>

#include "alloc.h"
#include "net/tls.h"

typedef struct uvws__tls_session_s {
  struct uvws__tls_session_s* next;
  uint64_t expires; /* uv_hrtime() */
  uint8_t* data;
  size_t len;
  uint16_t port;
  bool once;
  char host[];
} session_t;

static const uint64_t SECOND = 1000000000;

int uvws__tls_sessions_init(uvws__tls_sessions_t* sessions, unsigned max,
                            uint32_t lifetime) {
  memset(sessions, 0, sizeof(*sessions));
  sessions->max = max;
  sessions->lifetime = lifetime;
  return uv_mutex_init(&sessions->mutex);
}

static void free_session(session_t* session) {
  if (session == NULL) return;
  if (session->data != NULL) uvws__tls_wipe(session->data, session->len);
  uvws__free(session->data);
  uvws__free(session);
}

/* Takes out the one that *link points to. */
static session_t* unlink_at(uvws__tls_sessions_t* sessions, session_t** link) {
  session_t* session = *link;
  *link = session->next;
  sessions->n--;
  return session;
}

void uvws__tls_sessions_clear(uvws__tls_sessions_t* sessions) {
  while (sessions->first != NULL)
    free_session(unlink_at(sessions, &sessions->first));
  uv_mutex_destroy(&sessions->mutex);
}

static bool is_for(const session_t* session, const char* host, uint16_t port) {
  return session->port == port && strcmp(session->host, host) == 0;
}

static session_t* new_session(const char* host, uint16_t port,
                              const uint8_t* data, size_t len) {
  size_t host_size = strlen(host) + 1;
  session_t* session = uvws__malloc(sizeof(*session) + host_size);
  if (session == NULL) return NULL;
  memset(session, 0, sizeof(*session));
  memcpy(session->host, host, host_size);
  session->port = port;
  session->len = len;
  session->data = uvws__malloc(len);
  if (session->data == NULL) {
    uvws__free(session);
    return NULL;
  }
  memcpy(session->data, data, len);
  return session;
}

/* Those that are too old, or that a new one replaces. */
static void drop_old(uvws__tls_sessions_t* sessions, const session_t* newest,
                     uint64_t now) {
  session_t** link = &sessions->first;
  unsigned kept = 1;
  while (*link != NULL) {
    session_t* session = *link;
    bool replaced =
        !newest->once && is_for(session, newest->host, newest->port);
    if (replaced || session->expires <= now || kept == sessions->max) {
      free_session(unlink_at(sessions, link));
    } else {
      kept++;
      link = &session->next;
    }
  }
}

void uvws__tls_sessions_put(uvws__tls_sessions_t* sessions, const char* host,
                            uint16_t port, const uint8_t* data, size_t len,
                            bool once) {
  session_t* session =
      sessions->max == 0 ? NULL : new_session(host, port, data, len);
  if (session == NULL) return;
  uint64_t now = uv_hrtime();
  session->once = once;
  session->expires = now + sessions->lifetime * SECOND;
  uv_mutex_lock(&sessions->mutex);
  drop_old(sessions, session, now);
  session->next = sessions->first;
  sessions->first = session;
  sessions->n++;
  uv_mutex_unlock(&sessions->mutex);
}

static uint8_t* copy_of(const session_t* session) {
  uint8_t* data = uvws__malloc(session->len);
  if (data != NULL) memcpy(data, session->data, session->len);
  return data;
}

uint8_t* uvws__tls_sessions_take(uvws__tls_sessions_t* sessions,
                                 const char* host, uint16_t port, size_t* len) {
  uint8_t* data = NULL;
  uint64_t now = uv_hrtime();
  uv_mutex_lock(&sessions->mutex);
  session_t** link = &sessions->first;
  while (*link != NULL && !is_for(*link, host, port)) link = &(*link)->next;
  session_t* found = *link;
  if (found != NULL && found->expires > now) {
    data = copy_of(found);
    *len = found->len;
  }
  if (found != NULL && found->once) free_session(unlink_at(sessions, link));
  uv_mutex_unlock(&sessions->mutex);
  return data;
}
