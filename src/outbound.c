#include "outbound.h"

#include <string.h>

#include "alloc.h"
#include "blob.h"
#include "deflate.h"
#include "flow.h"
#include "liveness.h"
#include "protocol/close-code.h"
#include "protocol/mask.h"

/* A frame is built in the place it is sent from, which the stream hands out, so
 * that copying and masking are one pass. Only a large frame of a server, which
 * needs no mask, is sent from where it lies, and not copied at all when its
 * bytes are a blob's or the caller leaves them in place.
 *
 * The stream counts a message's payload as body, which is what bufferedAmount
 * sums up; headers and control frames are head, and count nowhere but in the
 * queue. */

/* Below, a copy is cheaper than a system call of its own. Together with its
 * header a smaller frame is one that the stream corks. */
static const size_t DIRECT_MIN = UVWS__CORK_PIECE - UVWS__FRAME_HEADER_MAX;

/* From here on bytes that stay where they are are not copied at all; and from
 * here on, what goes back as it came. */
static const size_t REFER_MIN = 16 * 1024;
static const size_t RETURN_MIN = 4 * 1024;

/* The last ping or pong that has to be remembered. */
struct uvws__ping_s {
  uint64_t sent_at;
  size_t len;
  uint8_t data[UVWS__CONTROL_MAX];
};

struct uvws__pong_s {
  size_t len;
  uint8_t data[UVWS__CONTROL_MAX];
};

static bool is_client(const uvws__conn_t* conn) {
  return !conn->is_server;
}

/* Counts a frame that was queued, and shows it to whoever traces. */
static void queued(uvws__conn_t* conn, uint8_t first_byte, uint64_t len) {
  conn->frames_sent++;
  if (!EMITS(conn->ws, trace)) return;
  uvws_trace_t trace = {.kind = UVWS_TRACE_FRAME_SENT,
                        .first_byte = first_byte,
                        .masked = is_client(conn),
                        .len = len};
  conn->ws->events->trace(conn->ws, &trace);
}

static int send_control(uvws__conn_t* conn, uint8_t opcode, const void* data,
                        size_t len) {
  uint8_t first_byte = UVWS__FIN | opcode;
  uint8_t header[UVWS__FRAME_HEADER_MAX];
  uint8_t mask[4] = {0, 0, 0, 0};
  /* RFC 6455, 5.3: a fresh, unpredictable key for each frame. */
  int status =
      is_client(conn) ? uvws__loop_random(conn->loop, mask, sizeof(mask)) : 0;
  if (status != 0) return status;
  size_t size = uvws__frame_header_write(header, first_byte, len,
                                         is_client(conn) ? mask : NULL);
  uint8_t* room = uvws__stream_reserve(conn->stream, size + len, 0);
  if (room == NULL) return UV_ENOMEM;
  memcpy(room, header, size);
  uvws__mask(room + size, data, len, mask, 0);
  queued(conn, first_byte, len);
  return 0;
}

/* Where a frame with a header of that size is built. */
static uint8_t* reserve(uvws__conn_t* conn, const uvws__outgoing_t* out,
                        size_t header) {
  return out->packed ? uvws__stream_reserve_whole(
                           conn->stream, header + out->len, out->counts)
                     : uvws__stream_reserve(conn->stream, header, out->len);
}

static int send_masked(uvws__conn_t* conn, const uvws__outgoing_t* out) {
  uint8_t mask[4];
  int status = uvws__loop_random(conn->loop, mask, sizeof(mask));
  if (status != 0) return status;
  size_t size = uvws__frame_header_size(out->len, true);
  uint8_t* room = reserve(conn, out, size);
  if (room == NULL) return UV_ENOMEM;
  uvws__frame_header_write(room, out->first_byte, out->len, mask);
  room += size;
  size_t done = 0;
  for (unsigned i = 0; i < out->n; i++) {
    uvws__mask(room + done, (const uint8_t*)out->bufs[i].base, out->bufs[i].len,
               mask, done & 3);
    done += out->bufs[i].len;
  }
  if (out->len >= DIRECT_MIN) uvws__stream_flush(conn->stream);
  return 0;
}

/* A frame whose bytes are sent from where they lie, if they can be: else false.
 */
static bool send_from_there(uvws__conn_t* conn, const uvws__outgoing_t* out,
                            int* status) {
  uint8_t header[UVWS__FRAME_HEADER_MAX];
  size_t size =
      uvws__frame_header_write(header, out->first_byte, out->len, NULL);
  const uint8_t* data = out->n == 0 ? NULL : (uint8_t*)out->bufs->base;
  *status = 0;
  if (out->len >= REFER_MIN && (out->blob != NULL || out->borrowed))
    *status = uvws__stream_refer(conn->stream, header, size, out->bufs, out->n,
                                 out->blob == NULL ? NULL : &uvws__blob_keeper,
                                 out->blob, out->counts);
  else if (out->n == 1 &&
           uvws__stream_send_input(conn->stream, header, size, data, out->len))
    return true;
  else if (out->len >= DIRECT_MIN)
    *status = uvws__stream_send(conn->stream, header, size, data, out->len,
                                out->counts);
  else
    return false;
  return true;
}

static int send_plain(uvws__conn_t* conn, const uvws__outgoing_t* out) {
  int status;
  if (out->len >= RETURN_MIN && send_from_there(conn, out, &status))
    return status;
  size_t size = uvws__frame_header_size(out->len, false);
  uint8_t* room = reserve(conn, out, size);
  if (room == NULL) return UV_ENOMEM;
  uvws__frame_header_write(room, out->first_byte, out->len, NULL);
  room += size;
  for (unsigned i = 0; i < out->n; i++) {
    if (out->bufs[i].len > 0) memcpy(room, out->bufs[i].base, out->bufs[i].len);
    room += out->bufs[i].len;
  }
  return 0;
}

int uvws__check_send(uvws_t* ws, uint64_t len, bool in_parts) {
  if (ws->ready_state == UVWS_CONNECTING) return UVWS_EINVALIDSTATE;
  if (ws->ready_state != UVWS_OPEN) {
    ws->buffered_amount += len;
    return UV_ESHUTDOWN;
  }
  if (in_parts)
    return ws->conn->extra->sending == NULL ? UVWS_EINVALIDSTATE : 0;
  return ws->conn->extra->sending == NULL ? 0 : UVWS_EBUSY;
}

/* A frame that counts as `counts` bytes towards bufferedAmount. */
static int send_frame(uvws__conn_t* conn, const uvws__outgoing_t* out,
                      size_t counts) {
  int status = is_client(conn) ? send_masked(conn, out) : send_plain(conn, out);
  if (status != 0) return status;
  conn->ws->buffered_amount += counts;
  conn->messages_sent += (out->first_byte & UVWS__FIN) != 0;
  queued(conn, out->first_byte, out->len);
  uvws__flow_queued(conn);
  return 0;
}

/* Compressed, unless that does not make it shorter. */
static int send_packed(uvws__conn_t* conn, const uvws__outgoing_t* out) {
  uvws__outgoing_t packed;
  int status;
  if (!uvws__deflate_pack(conn, out, &packed, &status))
    return status != 0 ? status : send_frame(conn, out, out->len);
  status = send_frame(conn, &packed, packed.counts);
  if (status != 0) uvws__deflate_forget(conn);
  uvws__deflate_unpack(&packed);
  return status;
}

int uvws__conn_send(uvws__conn_t* conn, const uvws__outgoing_t* out) {
  if (conn->stream->write_status != 0) return conn->stream->write_status;
  int status = uvws__flow_admit(conn, out->len);
  if (status != 0) return status;
  return uvws__deflate_wants(conn, out->len, out->flags)
             ? send_packed(conn, out)
             : send_frame(conn, out, out->len);
}

/* The short way of what most messages are: small, on a connection that has
 * nothing out of the ordinary, and of which nothing waits but in the cork.
 * False, and nothing has happened, when it is not so simple. */
static inline bool send_small(uvws__conn_t* conn, const void* data, size_t len,
                              unsigned flags) {
  uvws__stream_t* stream = conn->stream;
  uint8_t mask[4];
  bool masked = is_client(conn);
  size_t size = uvws__frame_header_size(len, masked);
  if (len >= RETURN_MIN || conn->extra != &uvws__no_extra || !conn->is_plain ||
      !uvws__flow_is_easy(conn, len))
    return false;
  if (conn->loop->reader == NULL &&
      uvws__stream_corked(stream) + size + len >= UVWS__CORK_PIECE)
    return false;
  if (masked && uvws__loop_random(conn->loop, mask, sizeof(mask)) != 0)
    return false;
  uint8_t* room = uvws__stream_cork(stream, size, len);
  if (room == NULL) return false;
  uvws__frame_header_write(room, uvws__first_byte(flags), len,
                           masked ? mask : NULL);
  if (masked)
    uvws__mask(room + size, data, len, mask, 0);
  else if (len > 0)
    memcpy(room + size, data, len);
  conn->ws->buffered_amount += len;
  conn->messages_sent++;
  conn->frames_sent++;
  uvws__liveness_active(conn);
  return true;
}

static UVWS__NOINLINE int send_long(uvws_t* ws, const void* data, size_t len,
                                    unsigned flags) {
  int status = uvws__check_send(ws, len, false);
  if (status != 0) return status;
  uv_buf_t buf = {(char*)data, len};
  uvws__outgoing_t out = {uvws__first_byte(flags), &buf, 1, len,
                          .flags = flags};
  return uvws__conn_send(ws->conn, &out);
}

int uvws__send(uvws_t* ws, const void* data, size_t len, unsigned flags) {
  if (ws->ready_state == UVWS_OPEN && send_small(ws->conn, data, len, flags))
    return 0;
  return send_long(ws, data, len, flags);
}

int uvws__conn_send_ping(uvws__conn_t* conn, const void* data, size_t len) {
  if (conn->stream->write_status != 0) return conn->stream->write_status;
  if (!uvws__conn_need_extra(conn)) return UV_ENOMEM;
  struct uvws__ping_s* ping = uvws__malloc(sizeof(*ping));
  if (ping == NULL) return UV_ENOMEM;
  int status = send_control(conn, UVWS__OP_PING, data, len);
  if (status != 0) {
    uvws__free(ping);
    return status;
  }
  ping->sent_at = uv_hrtime();
  ping->len = len;
  if (len > 0) memcpy(ping->data, data, len);
  uvws__free(conn->extra->ping);
  conn->extra->ping = ping;
  return 0;
}

int uvws__conn_send_keepalive(uvws__conn_t* conn, const void* data,
                              size_t len) {
  return send_control(conn, UVWS__OP_PING, data, len);
}

uint64_t uvws__conn_take_pong(uvws__conn_t* conn, const void* data,
                              size_t len) {
  struct uvws__ping_s* ping = conn->extra->ping;
  if (ping == NULL || ping->len != len || memcmp(ping->data, data, len) != 0)
    return 0;
  uint64_t elapsed = uv_hrtime() - ping->sent_at;
  conn->extra->ping = NULL;
  uvws__free(ping);
  uvws__conn_spare_extra(conn);
  conn->rtt = elapsed > 0 ? elapsed : 1;
  return conn->rtt;
}

/* While the kernel keeps up every ping has its pong; else one pong is queued at
 * a time, and one more, the newest, waits for it to be sent (RFC 6455, 5.5.3).
 * It must not wait for the queue to empty: that may never happen. */
static bool may_pong(const uvws__conn_t* conn) {
  return conn->stream->outbox == NULL ||
         uvws__stream_has_sent(conn->stream, conn->pong_end);
}

static int queue_pong(uvws__conn_t* conn, const void* data, size_t len) {
  int status = send_control(conn, UVWS__OP_PONG, data, len);
  if (status == 0) conn->pong_end = conn->stream->queued;
  return status;
}

int uvws__conn_send_pong(uvws__conn_t* conn, const void* data, size_t len) {
  if (conn->extra->pong == NULL && may_pong(conn))
    return queue_pong(conn, data, len);
  if (!uvws__conn_need_extra(conn)) return UV_ENOMEM;
  if (conn->extra->pong == NULL)
    conn->extra->pong = uvws__malloc(sizeof(*conn->extra->pong));
  if (conn->extra->pong == NULL) return UV_ENOMEM;
  conn->extra->pong->len = len;
  memcpy(conn->extra->pong->data, data, len);
  return 0;
}

void uvws__conn_send_waiting_pong(uvws__conn_t* conn) {
  struct uvws__pong_s* pong = conn->extra->pong;
  if (pong == NULL || !may_pong(conn)) return;
  conn->extra->pong = NULL;
  if (queue_pong(conn, pong->data, pong->len) != 0)
    uvws__conn_fail(conn, UVWS__FAIL_NO_MEMORY);
  uvws__free(pong);
}

int uvws__conn_send_close(uvws__conn_t* conn, unsigned code, const char* reason,
                          size_t len) {
  uint8_t payload[UVWS__CONTROL_MAX];
  size_t size = 0;
  if (code != 0) {
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    if (len > 0) memcpy(payload + 2, reason, len);
    size = 2 + len;
  }
  int status = send_control(conn, UVWS__OP_CLOSE, payload, size);
  if (status == 0) conn->close_sent = true;
  return status;
}
