#include "server.h"

#include <string.h>

#include "alloc.h"
#include "connection.h"
#include "flow.h"
#include "net/tls.h"
#include "protocol/close-code.h"

/* A server counts every connection from the accepted stream to the closed
 * handle, whether a request or a socket stands behind it, and every listening
 * handle. When it closes and both counts are zero, it leaves the loop and its
 * `close` event comes.
 *
 * At the connection cap, or when there is no memory, a connection is simply not
 * accepted: libuv then stops polling that listening handle, and the kernel's
 * backlog holds back the rest. */

static const uint32_t RETRY_MS = 100; /* after accepting failed */

static void accept_waiting(uvws__server_t* server);

static void on_left(void* arg) {
  uvws__server_t* server = arg;
  uvws_server_t* shell = server->shell;
  const uvws_server_events_t* events = server->events;
  bool emits = SERVER_EMITS(server, close);
  uvws__settings_unref(server->settings);
  uvws__names_unref(server->names);
  uvws_tls_unref(server->tls);
  uvws__free(server);
  shell->impl = NULL;
  if (emits) events->close(shell);
}

static void on_finish(uvws__deferred_t* deferred) {
  uvws__server_t* server = UVWS__CONTAINER_OF(deferred, uvws__server_t, finish);
  uvws__loop_t* loop = server->loop;
  uvws__loop_undefer(loop, &server->room);
  uvws__wheel_cancel(&server->deadline);
  server->loop = NULL;
  uvws__loop_leave(loop, on_left, server);
}

static void finish_if_done(uvws__server_t* server) {
  if (server->closing && server->connections == 0 && server->given_away == 0 &&
      server->listenings == NULL)
    uvws__loop_defer(server->loop, &server->finish);
}

static void count_gone(uvws__server_t* server) {
  server->connections--;
  if (server->closing && SERVER_EMITS(server, progress))
    server->events->progress(server->shell, server->connections,
                             server->terminated);
}

void uvws__server_conn_gone(uvws__server_t* server) {
  count_gone(server);
  accept_waiting(server);
  finish_if_done(server);
}

/* ---- accepting ---- */

static bool is_full(const uvws__server_t* server) {
  return server->max_connections > 0 &&
         server->connections >= server->max_connections;
}

static void report_error(uvws__server_t* server, int status) {
  if (SERVER_EMITS(server, error)) server->events->error(server->shell, status);
}

/* Trying again at once would most likely fail again: that waits. */
static void on_orphan_closed(uvws__stream_t* stream) {
  uvws__server_t* server = stream->owner;
  count_gone(server);
  finish_if_done(server);
}

/* A stream that could not be accepted, or has nobody to take it. */
static const uvws__stream_events_t orphan_events = {.closed = on_orphan_closed};

static void orphan(uvws__server_t* server, uvws__stream_t* stream) {
  uvws__stream_own(stream, &orphan_events, server);
  uvws__stream_close(stream);
}

static void on_given_closed(uvws__stream_t* stream) {
  uvws__server_t* server = stream->owner;
  server->given_away--;
  finish_if_done(server);
}

static const uvws__stream_events_t given_events = {.closed = on_given_closed};

/* The user will have it served elsewhere: by a duplicate, since our handle
 * closes the descriptor that it has. It is no connection of this server's. */
static int give_away(uvws__server_t* server, uvws__stream_t* stream) {
  uv_os_sock_t fd;
  int status = uvws__stream_duplicate(stream, &fd);
  if (status != 0) return status;
  server->connections--;
  server->given_away++;
  uvws__stream_own(stream, &given_events, server);
  uvws__stream_close(stream);
  server->events->connection(server->shell, fd);
  return 0;
}

/* Saves a system call for each connection but the first. */
static void tune(uvws__listening_t* listening, uvws__stream_t* stream) {
  const uvws__tcp_settings_t* settings = &listening->server->tcp;
  if (!listening->has_accepted)
    listening->passes_on = uvws__listener_passed_on(stream, settings);
  listening->has_accepted = true;
  if (!listening->passes_on) uvws__stream_tune(stream, settings);
}

static int serve(uvws__server_t* server, uvws__stream_t* stream) {
  return SERVER_EMITS(server, connection)
             ? give_away(server, stream)
             : uvws__request_begin(server, stream, NULL);
}

static void accept_one(uvws__listening_t* listening) {
  uvws__server_t* server = listening->server;
  uvws__stream_t* stream;
  listening->has_waiting = true;
  if (server->closing || is_full(server)) return;
  int status = uvws__listener_accept(listening->stream, &stream);
  if (stream != NULL) {
    server->connections++;
    listening->has_waiting = status != 0;
    if (status == 0) {
      tune(listening, stream);
      status = serve(server, stream);
    }
    if (status != 0) orphan(server, stream);
  }
  if (status == 0) return;
  /* Also when only the stream was lost: it held a place under the cap. */
  uvws__loop_set_deadline(server->loop, &server->deadline, RETRY_MS);
  report_error(server, status);
}

static void accept_waiting(uvws__server_t* server) {
  uvws__listening_t* listening = server->listenings;
  for (; listening != NULL; listening = listening->next)
    if (listening->has_waiting) accept_one(listening);
}

static void on_connection(uvws__stream_t* listener, int status) {
  uvws__listening_t* listening = listener->owner;
  if (status == 0)
    accept_one(listening);
  else
    report_error(listening->server, status);
}

static void remove_listening(uvws__listening_t* listening) {
  uvws__listening_t** link = &listening->server->listenings;
  while (*link != listening) link = &(*link)->next;
  *link = listening->next;
  uvws__free(listening);
}

static void on_listener_closed(uvws__stream_t* listener) {
  uvws__listening_t* listening = listener->owner;
  uvws__server_t* server = listening->server;
  remove_listening(listening);
  finish_if_done(server);
}

static const uvws__stream_events_t listener_events = {
    .connection = on_connection, .closed = on_listener_closed};

/* ---- the calls ---- */

static void on_deadline(uvws__deadline_t* deadline);

static void on_room(uvws__deferred_t* deferred) {
  uvws__server_t* server = UVWS__CONTAINER_OF(deferred, uvws__server_t, room);
  uvws__flow_room(server->loop, server);
}

/* May be called from anywhere. */
static void on_budget_room(uvws__budget_t* budget) {
  uvws__server_t* server = UVWS__CONTAINER_OF(budget, uvws__server_t, budget);
  uvws__loop_defer(server->loop, &server->room);
}

int uvws_server_init(uv_loop_t* loop, uvws_server_t* shell,
                     const uvws_server_events_t* events,
                     const uvws_server_options_t* from) {
  uvws_server_options_t options;
  if (loop == NULL || shell == NULL || events == NULL ||
      events->size <= offsetof(uvws_server_events_t, request) ||
      events->request == NULL)
    return UV_EINVAL;
  int status = uvws__server_options_read(&options, from);
  if (status != 0) return status;
  if (options.tls != NULL && !uvws__tls_config_has_certificate(options.tls))
    return UV_EINVAL;
  uvws__server_t* server = uvws__calloc(1, sizeof(*server));
  if (server == NULL) return UV_ENOMEM;
  status = uvws__settings_for_server(&options, &server->settings);
  if (status == 0) status = uvws__loop_enter(loop, &server->loop);
  if (status != 0) {
    uvws__settings_unref(server->settings);
    uvws__free(server);
    return status;
  }
  server->settings->server = server;
  server->settings->budget = &server->budget;
  server->shell = shell;
  server->events = events;
  if (options.tls != NULL) server->tls = uvws_tls_ref(options.tls);
  server->tcp =
      (uvws__tcp_settings_t){options.tcp_nodelay != 0, options.tcp_keepalive};
  server->flags = options.flags;
  server->max_connections = options.max_connections;
  server->deadline.passed = on_deadline;
  server->finish.run = on_finish;
  server->room.run = on_room;
  server->budget.max = options.max_memory;
  server->budget.room = on_budget_room;
  void* data = shell->data;
  memset(shell, 0, sizeof(*shell));
  shell->data = data;
  shell->loop = loop;
  shell->impl = server;
  return 0;
}

int uvws_server_set_tls(uvws_server_t* shell, uvws_tls_t* tls) {
  uvws__server_t* server = shell->impl;
  if (server == NULL || server->closing) return UV_ECANCELED;
  if (server->tls == NULL || tls == NULL ||
      !uvws__tls_config_has_certificate(tls))
    return UV_EINVAL;
  uvws_tls_ref(tls);
  uvws_tls_unref(server->tls);
  server->tls = tls;
  return 0;
}

/* Adds an entry at the end, before its stream exists. */
static int add_listening(uvws_server_t* shell, uvws__listening_t** result) {
  uvws__server_t* server = shell->impl;
  if (server == NULL || server->closing) return UV_ECANCELED;
  uvws__listening_t* listening = uvws__calloc(1, sizeof(*listening));
  if (listening == NULL) return UV_ENOMEM;
  listening->server = server;
  uvws__listening_t** link = &server->listenings;
  while (*link != NULL) link = &(*link)->next;
  *link = listening;
  *result = listening;
  return 0;
}

/* One that failed with a stream goes when that is closed. */
static int check_listening(uvws__listening_t* listening, int status) {
  if (listening->stream == NULL)
    remove_listening(listening);
  else if (listening->server->unreferenced)
    uvws__stream_set_ref(listening->stream, false);
  return status;
}

int uvws_listen(uvws_server_t* server, const struct sockaddr* addr,
                unsigned flags, int backlog) {
  uvws__listening_t* listening;
  int status = add_listening(server, &listening);
  if (status != 0) return status;
  status = uvws__listener_tcp(listening->server->loop, addr, flags, backlog,
                              &listening->server->tcp, &listener_events,
                              listening, &listening->stream);
  listening->is_listening_tcp = status == 0;
  return check_listening(listening, status);
}

int uvws_listen_pipe(uvws_server_t* server, const char* name, int backlog) {
  uvws__listening_t* listening;
  int status = add_listening(server, &listening);
  if (status != 0) return status;
  status = uvws__listener_pipe(listening->server->loop, name, backlog,
                               &listener_events, listening, &listening->stream);
  return check_listening(listening, status);
}

int uvws_server_getsockname(const uvws_server_t* shell, struct sockaddr* name,
                            int* namelen) {
  const uvws__listening_t* listening =
      shell->impl == NULL || shell->impl->closing ? NULL
                                                  : shell->impl->listenings;
  while (listening != NULL && !listening->is_listening_tcp)
    listening = listening->next;
  if (listening == NULL) return UV_ENOTCONN;
  return uvws__stream_getsockname(listening->stream, name, namelen);
}

unsigned uvws_server_connections(const uvws_server_t* shell) {
  return shell->impl == NULL ? 0 : shell->impl->connections;
}

uint64_t uvws_server_memory(const uvws_server_t* shell) {
  return shell->impl == NULL ? 0 : shell->impl->budget.used;
}

/* ---- connections of somebody else's ---- */

static int take_gift(uvws_server_t* shell, uvws__gift_t* gift) {
  uvws__server_t* server = shell->impl;
  uvws__stream_t* stream;
  if (gift->head == NULL && gift->len > 0) return UV_EINVAL;
  if (server == NULL || server->closing) return UV_ECANCELED;
  int status = uvws__source_check(&gift->source, shell->loop);
  if (status != 0) return status;
  if (is_full(server)) return UV_ENOBUFS;
  status = uvws__source_prepare(&gift->source, server->loop, &stream);
  if (status != 0) return status;
  status = uvws__request_begin(server, stream, gift);
  if (status != 0) {
    uvws__source_leave(&gift->source, stream);
    return status;
  }
  server->connections++;
  uvws__stream_tune(stream, &server->tcp);
  return 0;
}

int uvws_server_adopt(uvws_server_t* server, uv_stream_t* stream,
                      const void* head, size_t len, uvws_release_cb release) {
  uvws__gift_t gift = {{.handle = stream, .release = release}, head, len};
  return stream == NULL ? UV_EINVAL : take_gift(server, &gift);
}

int uvws_server_adopt_fd(uvws_server_t* server, uv_os_sock_t fd,
                         const void* head, size_t len) {
  uvws__gift_t gift = {{.fd = fd}, head, len};
  return take_gift(server, &gift);
}

/* ---- closing ---- */

/* RFC 6455, 7.4.1: 1001, the server goes down. */
static void go_away(uvws_t* ws) {
  if (uvws_close(ws, UVWS__CLOSE_GOING_AWAY, NULL, 0) != 0) uvws_terminate(ws);
}

void uvws__server_conn_open(const uvws__server_t* server, uvws_t* ws) {
  if (server->closing) go_away(ws);
}

static void terminate(uvws__conn_t* conn) {
  if (conn->state < UVWS__STATE_RELEASING) conn->settings->server->terminated++;
  uvws_terminate(conn->ws);
}

/* Those that were accepted in this turn are ended when they open. */
static void end_sockets(uvws__server_t* server) {
  for (uvws__conn_t* conn = server->loop->conns; conn != NULL;
       conn = conn->next) {
    if (conn->settings->server != server) continue;
    if (server->terminating)
      terminate(conn);
    else if (conn->state != UVWS__STATE_UPGRADING)
      go_away(conn->ws);
  }
}

static void on_deadline(uvws__deadline_t* deadline) {
  uvws__server_t* server =
      UVWS__CONTAINER_OF(deadline, uvws__server_t, deadline);
  if (!server->closing) {
    accept_waiting(server);
    return;
  }
  server->terminating = true;
  end_sockets(server);
  uvws__requests_cancel(server);
}

void uvws_server_close(uvws_server_t* shell, uint32_t ms) {
  uvws__server_t* server = shell->impl;
  if (server == NULL || server->loop == NULL) return;
  uint64_t at = uv_hrtime() + (uint64_t)ms * 1000000;
  if (server->closing && at >= server->closing_at) return;
  bool again = server->closing;
  server->closing = true;
  server->closing_at = at;
  uvws__loop_set_deadline(server->loop, &server->deadline, ms);
  if (!again) {
    uvws__listening_t* listening = server->listenings;
    for (; listening != NULL; listening = listening->next)
      uvws__stream_close(listening->stream);
  }
  server->terminating = ms == 0;
  if (!again || server->terminating) {
    end_sockets(server);
    uvws__requests_cancel(server);
  }
  finish_if_done(server);
}

static void set_ref(uvws_server_t* shell, bool referenced) {
  uvws__server_t* server = shell->impl;
  if (server == NULL) return;
  server->unreferenced = !referenced;
  uvws__listening_t* listening = server->listenings;
  for (; listening != NULL; listening = listening->next)
    uvws__stream_set_ref(listening->stream, referenced);
}

void uvws_server_ref(uvws_server_t* server) {
  set_ref(server, true);
}

void uvws_server_unref(uvws_server_t* server) {
  set_ref(server, false);
}
