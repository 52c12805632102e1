#include "inbound.h"

#include <string.h>

#include "alloc.h"
#include "blob.h"
#include "flow.h"
#include "lending.h"
#include "liveness.h"
#include "outbound.h"

/* From the stream to an event. A callback may end the connection, but not free
 * it, so after each one only the state needs to be looked at again.
 *
 * Once our close frame is queued the receiver discards messages: WebSockets
 * standard, section 4, "when a WebSocket message has been received", step 1.
 * Pings and the peer's close frame still mean something. */

static const uint64_t INFLATED_PER_TURN = 1024 * 1024;

/* A message on its way to the user. */
typedef struct delivery_s {
  uvws_message_t message; /* first: the user gets a pointer to it */
  uvws_blob_t* blob;
  uvws__receiver_t* receiver; /* when it has the bytes in a buffer of its own */
} delivery_t;

/* The message as a blob, made once. */
static uvws_blob_t* make_blob(delivery_t* delivery) {
  const uvws_message_t* message = &delivery->message;
  bool is_text = message->type == UVWS_TEXT;
  if (delivery->blob != NULL) return delivery->blob;
  /* A buffer that is mostly empty is not worth keeping: two fragments of one
   * byte have 64 KiB. */
  if (delivery->receiver != NULL &&
      delivery->receiver->capacity / 2 <= message->len) {
    delivery->blob =
        uvws__blob_adopt(delivery->receiver->buffer, message->len, is_text);
    if (delivery->blob != NULL) uvws__receiver_take(delivery->receiver);
  } else {
    delivery->blob = uvws_blob_new(message->data, message->len);
    if (delivery->blob != NULL && is_text) uvws__blob_set_text(delivery->blob);
  }
  return delivery->blob;
}

uvws_blob_t* uvws_message_blob(const uvws_message_t* message) {
  uvws_blob_t* blob = make_blob((delivery_t*)message);
  return blob == NULL ? NULL : uvws_blob_ref(blob);
}

static void on_chunk(uvws__conn_t* conn, const uvws__received_t* received) {
  uvws_chunk_t chunk = {
      .type = received->type,
      .first = received->first,
      .last = received->last,
      .data = (const char*)received->data,
      .len = received->len,
  };
  conn->messages_received += received->last;
  uvws__liveness_active(conn);
  conn->ws->events->chunk(conn->ws, &chunk);
}

static void on_message(uvws__conn_t* conn, const uvws__received_t* received) {
  uvws_t* ws = conn->ws;
  delivery_t delivery = {
      .message = {.type = received->type,
                  .data = (const char*)received->data,
                  .len = received->len},
      .receiver = received->buffered ? conn->receiver : NULL,
  };
  conn->messages_received++;
  uvws__liveness_active(conn);
  if (!EMITS(ws, message)) return;
  if (received->type == UVWS__OP_BINARY && ws->binary_type == UVWS_BLOB) {
    delivery.message.blob = make_blob(&delivery);
    if (delivery.blob == NULL) {
      uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
      return;
    }
    delivery.message.data = uvws_blob_data(delivery.blob);
  }
  ws->events->message(ws, &delivery.message);
  if (delivery.blob != NULL) uvws_blob_unref(delivery.blob);
}

/* RFC 6455, 5.5.2: a ping is answered until the peer's close frame has come,
 * even when ours is sent. */
static void on_ping(uvws__conn_t* conn, const uvws__received_t* received) {
  if (uvws__conn_send_pong(conn, received->data, received->len) != 0)
    uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
  else if (conn->state == UVWS__STATE_OPEN && EMITS(conn->ws, ping))
    conn->ws->events->ping(conn->ws, received->data, received->len);
}

static void on_pong(uvws__conn_t* conn, const uvws__received_t* received) {
  if (uvws__liveness_take_pong(conn, received->data, received->len)) return;
  uint64_t rtt = uvws__conn_take_pong(conn, received->data, received->len);
  if (EMITS(conn->ws, pong))
    conn->ws->events->pong(conn->ws, received->data, received->len, rtt);
}

static void on_close(uvws__conn_t* conn, const uvws__received_t* received) {
  conn->code = received->code;
  if (received->len > 0 && uvws__conn_need_extra(conn))
    conn->extra->reason =
        uvws__strndup((const char*)received->data, received->len);
  if (conn->extra->reason != NULL) conn->reason_len = (uint8_t)received->len;
  uvws__conn_event(conn, UVWS__EVENT_CLOSE_CAME, NULL);
}

static inline bool is_receiving(const uvws__conn_t* conn) {
  return (conn->state == UVWS__STATE_OPEN && !conn->read_stopped &&
          !conn->paused) ||
         conn->state == UVWS__STATE_CLOSE_SENT;
}

/* Counts `n` more of something in this second; a second begins when the clock's
 * does. */
static void check_rate(uvws__conn_t* conn, uint32_t* count, uint32_t n,
                       uint32_t max, uvws__failure_t failure) {
  uint32_t second = uvws__liveness_now(conn) / 1000;
  if (second != conn->rate_second) conn->pings = conn->fragments = 0;
  conn->rate_second = second;
  *count += n;
  if (max > 0 && *count > max) uvws__conn_fail(conn, failure);
}

static void check_pings(uvws__conn_t* conn) {
  check_rate(conn, &conn->pings, 1, conn->settings->max_ping_rate,
             UVWS__FAIL_PING_RATE);
}

/* What was complete before the limit was passed has been delivered. */
static inline void check_fragments(uvws__conn_t* conn) {
  uint32_t n = conn->receiver->tiny;
  if (n == 0) return;
  conn->receiver->tiny = 0;
  check_rate(conn, &conn->fragments, n, conn->settings->max_fragment_rate,
             UVWS__FAIL_FRAGMENT_RATE);
}

/* A read of 64 KiB may inflate to 64 MiB, and libuv reads again at once: the
 * loop's other sockets would wait for all of it. */
static inline void pause_if_enough(uvws__conn_t* conn) {
  if (conn->receiver->inflated < INFLATED_PER_TURN ||
      conn->state != UVWS__STATE_OPEN || conn->read_stopped)
    return;
  conn->receiver->inflated = 0;
  conn->paused = true;
  uvws__stream_read_stop(conn->stream);
  uvws__flow_resume_soon(conn);
}

static UVWS__NOINLINE void receive_all(uvws__conn_t* conn, uint8_t* data,
                                       size_t len) {
  uvws__received_t received;
  while (is_receiving(conn)) {
    if (conn->receiver == NULL && !uvws__lending_begin(conn)) {
      uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
      return;
    }
    uvws__received_kind_t kind =
        uvws__receive(conn->receiver, &data, &len, &received);
    bool open = conn->state == UVWS__STATE_OPEN;
    switch (kind) {
      case UVWS__RECEIVED_NOTHING:
        check_fragments(conn);
        uvws__lending_end(conn);
        return;
      case UVWS__RECEIVED_MESSAGE:
        if (open) on_message(conn, &received);
        break;
      case UVWS__RECEIVED_CHUNK:
        if (open) on_chunk(conn, &received);
        break;
      case UVWS__RECEIVED_PING:
        check_pings(conn);
        if (is_receiving(conn)) on_ping(conn, &received);
        break;
      case UVWS__RECEIVED_PONG:
        check_pings(conn);
        if (conn->state == UVWS__STATE_OPEN) on_pong(conn, &received);
        break;
      case UVWS__RECEIVED_CLOSE: on_close(conn, &received); break;
      case UVWS__RECEIVED_FAILURE:
        uvws__conn_fail(conn, received.failure);
        break;
    }
    check_fragments(conn);
    pause_if_enough(conn);
  }
  if (conn->state != UVWS__STATE_OPEN) return;
  if (conn->receiver == NULL || uvws__receiver_keep(conn->receiver))
    uvws__flow_hold(conn, data, len);
  else
    uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
}

/* Delivers messages for as long as each lies whole in the input. Whether that
 * was all of the input. */
static bool receive_whole(uvws__conn_t* conn, uint8_t** data, size_t* len) {
  uvws__received_t received;
  while (conn->state == UVWS__STATE_OPEN && is_receiving(conn)) {
    switch (uvws__receive_whole(conn->is_server, &conn->settings->limits, data,
                                len, &received)) {
      case UVWS__RECEIVED_MESSAGE:
        conn->frames_received++;
        on_message(conn, &received);
        break;
      case UVWS__RECEIVED_FAILURE:
        conn->frames_received++;
        uvws__conn_fail(conn, received.failure);
        break;
      default: return *len == 0;
    }
  }
  return false;
}

void uvws__conn_receive(uvws__conn_t* conn, uint8_t* data, size_t len) {
  if (conn->receiver != NULL || !conn->is_plain ||
      !receive_whole(conn, &data, &len))
    receive_all(conn, data, len);
}
