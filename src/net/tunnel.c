#include "net/tunnel.h"

#include <string.h>

#include "alloc.h"
#include "net/adopted.h"
#include "net/relay.h"
#include "net/secure.h"

/* What comes behind the proxy's answer is the server's, and the next owner of
 * the stream finds it there to be read. */

struct uvws__tunnel_s {
  uvws__stream_t* stream;
  const uvws__proxy_t* proxy;
  uvws__talk_t* talk;
  const uvws__tunnel_events_t* events;
  void* owner;
  uvws__trouble_t trouble; /* why the stream is closing */
  bool cancelled;
  uint8_t address[16]; /* of the host, when it is one */
};

char* uvws__join(const char* a, const char* separator, const char* b) {
  uvws__text_t text = {NULL, 0};
  do {
    uvws__put_string(&text, a);
    uvws__put_string(&text, separator);
    uvws__put_string(&text, b);
    uvws__put(&text, "", 1);
  } while (uvws__compose_again(&text));
  return text.data;
}

static void free_tunnel(uvws__tunnel_t* tunnel) {
  uvws__talk_free(tunnel->talk);
  uvws__free(tunnel->trouble.text);
  uvws__free(tunnel);
}

/* The first trouble is what it was. */
static void fail(uvws__tunnel_t* tunnel, uvws__trouble_t trouble) {
  if (tunnel->trouble.failure != UVWS__OK || tunnel->trouble.status != 0) {
    uvws__free(trouble.text);
    return;
  }
  tunnel->trouble = trouble;
  uvws__stream_close(tunnel->stream);
}

static void fail_by_status(uvws__tunnel_t* tunnel, int status) {
  fail(tunnel,
       (uvws__trouble_t){.status = status,
                         .text = uvws__join("the connection to the proxy", ": ",
                                            uv_strerror(status))});
}

static void say(uvws__tunnel_t* tunnel) {
  size_t len;
  const void* data = uvws__talk_say(tunnel->talk, &len);
  if (!uvws__stream_put(tunnel->stream, data, len))
    fail_by_status(tunnel, UV_ENOMEM);
}

/* Hands over the stream, or the one inside its TLS. */
static int go_through(uvws__tunnel_t* tunnel, const uint8_t* rest, size_t len) {
  uvws__stream_t* stream = tunnel->stream;
  uvws__stream_read_stop(stream);
  if (tunnel->proxy->tls != NULL) {
    int status = uvws__relay_new(stream, rest, len, &stream);
    if (status != 0) return status;
  } else if (!uvws__stream_unread(stream, rest, len)) {
    return UV_ENOMEM;
  }
  tunnel->events->through(tunnel->owner, stream);
  free_tunnel(tunnel);
  return 0;
}

static void on_refused(uvws__tunnel_t* tunnel, uvws__failure_t failure) {
  const char* detail = uvws__talk_detail(tunnel->talk);
  uvws__trouble_t trouble = {.failure = failure};
  if (detail[0] != '\0')
    trouble.text = uvws__join(uvws__failure_text(failure), ": ", detail);
  fail(tunnel, trouble);
}

static void on_read(uvws__stream_t* stream, uint8_t* data, size_t len) {
  uvws__tunnel_t* tunnel = stream->owner;
  uvws__failure_t failure;
  size_t used;
  int status = 0;
  switch (uvws__talk_feed(tunnel->talk, data, len, &used, &failure)) {
    case UVWS__TALK_MORE: break;
    case UVWS__TALK_SAY: say(tunnel); break;
    case UVWS__TALK_DONE:
      status = go_through(tunnel, data + used, len - used);
      break;
    case UVWS__TALK_FAILED: on_refused(tunnel, failure); break;
  }
  if (status != 0) fail_by_status(tunnel, status);
}

static void on_ended(uvws__stream_t* stream, int status) {
  if (status == UV_EOF)
    fail(stream->owner, (uvws__trouble_t){.failure = UVWS__FAIL_PROXY_CLOSED});
  else
    fail_by_status(stream->owner, status);
}

static void on_failed(uvws__stream_t* stream, uvws__failure_t failure) {
  const char* text = uvws__stream_tls(stream)->text;
  if (text == NULL) text = uvws__failure_text(failure);
  fail(stream->owner,
       (uvws__trouble_t){.failure = failure,
                         .text = uvws__join("TLS to the proxy", ": ", text)});
}

static void on_write_failed(uvws__stream_t* stream, int status) {
  fail_by_status(stream->owner, status);
}

static void on_closed(uvws__stream_t* stream) {
  uvws__tunnel_t* tunnel = stream->owner;
  uvws__trouble_t trouble = tunnel->trouble;
  if (tunnel->cancelled) {
    tunnel->events->cancelled(tunnel->owner);
  } else {
    tunnel->trouble.text = NULL;
    tunnel->events->failed(tunnel->owner, trouble);
  }
  free_tunnel(tunnel);
}

static const uvws__stream_events_t stream_events = {
    .read = on_read,
    .ended = on_ended,
    .failed = on_failed,
    .write_failed = on_write_failed,
    .closed = on_closed,
};

/* An address is told to a SOCKS proxy as one. */
static unsigned read_address(const char* host, uint8_t address[16]) {
  if (uv_inet_pton(AF_INET, host, address) == 0) return 4;
  return uv_inet_pton(AF_INET6, host, address) == 0 ? 16 : 0;
}

static void start(uvws__tunnel_t* tunnel) {
  const uvws__proxy_t* proxy = tunnel->proxy;
  uvws__stream_t* stream = tunnel->stream;
  int status = 0;
  uvws__stream_own(stream, &stream_events, tunnel);
  if (proxy->tls != NULL)
    status = uvws__stream_secure(stream, proxy->tls, proxy->host, proxy->port);
  if (status == 0) status = uvws__stream_read_start(stream);
  if (status == 0)
    say(tunnel);
  else
    fail_by_status(tunnel, status);
}

uvws__tunnel_t* uvws__tunnel_new(uvws__stream_t* stream,
                                 const uvws__proxy_t* proxy, const char* host,
                                 uint16_t port,
                                 const uvws__tunnel_events_t* events,
                                 void* owner) {
  uvws__tunnel_t* tunnel = uvws__calloc(1, sizeof(*tunnel));
  if (tunnel == NULL) return NULL;
  uvws__proxy_request_t request = {
      .kind = proxy->kind,
      .host = host,
      .port = port,
      .address = tunnel->address,
      .address_len = read_address(host, tunnel->address),
      .username = proxy->username,
      .password = proxy->password,
      .max_head = proxy->max_head,
      .max_headers = proxy->max_headers,
  };
  tunnel->talk = uvws__talk_new(&request);
  if (tunnel->talk == NULL) {
    uvws__free(tunnel);
    return NULL;
  }
  tunnel->stream = stream;
  tunnel->proxy = proxy;
  tunnel->events = events;
  tunnel->owner = owner;
  start(tunnel);
  return tunnel;
}

void uvws__tunnel_cancel(uvws__tunnel_t* tunnel) {
  tunnel->cancelled = true;
  uvws__stream_close(tunnel->stream);
}
