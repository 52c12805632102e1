#ifndef UVWS_SRC_NET_LISTENER_H_
#define UVWS_SRC_NET_LISTENER_H_

/* Listening streams, and the connected ones that come out of them. */

#include "net/stream.h"

/* Makes a stream that listens; its owner hears `connection` and `closed`. On
 * failure *listener may still be set: it closes itself, and the owner, who must
 * wait for it, hears only `closed`. */
int uvws__listener_tcp(uvws__loop_t* loop, const struct sockaddr* addr,
                       unsigned flags, int backlog,
                       const uvws__tcp_settings_t* settings,
                       const uvws__stream_events_t* events, void* owner,
                       uvws__stream_t** listener);
int uvws__listener_pipe(uvws__loop_t* loop, const char* name, int backlog,
                        const uvws__stream_events_t* events, void* owner,
                        uvws__stream_t** listener);

/* Among the flags: see UVWS_LISTEN_REUSEPORT. */
#define UVWS__LISTEN_REUSEPORT 0x10000u

/* Takes one connection as a stream without an owner, which the caller must give
 * it. On failure *stream may still be set, owned by nobody: the caller closes
 * it. */
int uvws__listener_accept(uvws__stream_t* listener, uvws__stream_t** stream);

/* Whether an accepted stream has the settings already: Linux, like others, has
 * a listening socket pass on most options, but nobody promises it. */
bool uvws__listener_passed_on(const uvws__stream_t* stream,
                              const uvws__tcp_settings_t* settings);

/* A connected stream's descriptor once more, for another loop. */
int uvws__stream_duplicate(const uvws__stream_t* stream, uv_os_sock_t* fd);

#endif /* UVWS_SRC_NET_LISTENER_H_ */
