#ifndef UVWS_SRC_CONNECTION_H_
#define UVWS_SRC_CONNECTION_H_

/* What stands behind a uvws_t from a successful connect or accept until its
 * `close` event: the state machine, and the way of a byte from the stream to an
 * event. */

#include "names.h"
#include "net/secure.h"
#include "options.h"
#include "protocol/message.h"
#include "uvws.h"

typedef struct uvws__conn_s uvws__conn_t;

/* Finer than the ready state, which follows from it. */
typedef enum {
  UVWS__STATE_DIALING,   /* client: lookup and connect */
  UVWS__STATE_UPGRADING, /* client: the request is sent; server: accepted */
  UVWS__STATE_OPEN,
  UVWS__STATE_CLOSE_SENT, /* our close frame is queued, the peer's has not come
                           */
  UVWS__STATE_LINGERING,  /* all is said: write the rest, FIN, discard */
  UVWS__STATE_RELEASING,  /* handles are closing */
  UVWS__STATE_LEAVING,    /* so are, after the loop's last socket, its own */
  UVWS__STATE_CLOSED,
  UVWS__STATE_COUNT
} uvws__state_t;

typedef enum {
  UVWS__EVENT_CONNECTED,
  UVWS__EVENT_UPGRADED,
  UVWS__EVENT_CLOSE,      /* uvws_close(): its close frame is queued */
  UVWS__EVENT_CLOSE_CAME, /* the peer's close frame */
  UVWS__EVENT_FAIL,       /* the peer, or a limit, is at fault */
  UVWS__EVENT_REFUSED,    /* adopted server: the request, and it is told so */
  UVWS__EVENT_LOST,       /* no more input without a close frame */
  UVWS__EVENT_MUTE,       /* writing failed */
  UVWS__EVENT_LINGERED,
  UVWS__EVENT_DEADLINE,
  UVWS__EVENT_TERMINATE,
  UVWS__EVENT_RELEASED, /* the connection's handles are closed */
  UVWS__EVENT_LEFT,     /* uv_loop_close() would not meet any of ours */
  UVWS__EVENT_COUNT
} uvws__event_t;

/* What a quiet open connection has none of. */
typedef struct uvws__extra_s {
  struct uvws__opening_s* opening; /* NULL once open */
  struct uvws__deflate_s* deflate; /* permessage-deflate, or NULL */
  uvws__tls_result_t* tls;         /* once the stream is gone; or NULL */
  struct uvws__ping_s* ping;       /* the last one sent, unanswered */
  struct uvws__pong_s* pong;       /* waits for the one before to be sent */
  struct uvws__sending_s* sending; /* the message being sent in parts */
  struct uvws__held_s* held;       /* what was read before reading stopped */
  uvws_write_t* writes;            /* not yet with the kernel, in order */
  uvws_write_t** writes_end;
  uint64_t wanted;    /* the size that the server's budget refused last */
  uint64_t charged;   /* to the server's budget, of what waits */
  const char* text;   /* what `status` means here; NULL: what it always does */
  char* detail;       /* what `status` means here, when it is nowhere else */
  char* reason;       /* the peer's; NULL for "" */
  uint64_t ping_sent; /* uv_hrtime() of liveness.c's own, unanswered; or 0 */
} uvws__extra_t;

struct uvws__conn_s {
  uvws_t* ws;
  uvws__loop_t* loop;
  uvws__stream_t* stream; /* NULL while dialing and once closed */
  uvws__settings_t* settings;
  uvws__extra_t* extra;       /* never NULL: see below */
  uvws__receiver_t* receiver; /* lent, while a message is under way */
  uvws__conn_t* next;         /* among the loop's */
  uvws__conn_t** link;
  uvws__names_t* names;
  int status; /* why it failed; 0 */
  uint16_t http_status;
  uint16_t code;      /* the peer's, or 1005; 0 before its close frame */
  uint16_t fail_code; /* to tell the peer, with `status` */
  uint8_t state;
  uint8_t reason_len;
  bool is_server : 1;
  bool close_sent : 1;
  bool clean : 1;
  bool is_plain : 1; /* nobody asks for chunks or traces, and what is corked is
                        below the water marks: the short ways will do */

  /* flow.c */
  bool full : 1; /* the queue passed its high-water mark: `drain` is to come */
  bool starved : 1; /* the budget refused a send: the same */
  bool read_stopped : 1;
  bool resuming : 1; /* input goes on when the turn ends */
  bool paused : 1;   /* enough was inflated in this turn: until then */
  bool holding : 1;  /* the loop, by uvws__loop_hold() */

  /* liveness.c */
  bool pinged : 1;  /* our ping awaits a sign of life */
  bool blocked : 1; /* the kernel was seen not to take all */
  bool mute : 1;    /* writing has failed */
  bool suspect : 1; /* a deadline has passed; input may still be waiting */
  uint16_t trickle; /* bytes since the last frame header */
  /* uv_now(), which may wrap */
  uint32_t heard_at; /* the last sign of life; while `pinged`, our ping */
  uint32_t active_at;
  uint32_t taken_at;   /* by the kernel; when it is `mute`, its last refusal */
  uint32_t taken_late; /* as last seen */
  uint32_t n_pings;

  /* inbound.c: how often, in the second that began last */
  uint32_t rate_second;
  uint32_t pings;
  uint32_t fragments;

  uint64_t pong_end;         /* where the last one ends in the stream */
  uvws__deadline_t deadline; /* of the state; while OPEN liveness.c's */

  /* stats.c */
  uint64_t bytes_received;
  uint64_t frames_received; /* but for those that `receiver` counts */
  union {
    uint64_t bytes_before; /* of the stream's: the handshake's, once open */
    uint64_t bytes_sent;   /* once the stream is closing */
  };
  uint64_t messages_received;
  uint64_t messages_sent;
  uint64_t frames_sent;
  uint64_t rtt;
};

/* What made an event happen. */
typedef struct uvws__cause_s {
  int status;
  uint16_t code; /* to tell the peer, when there is a way */
  const char* text;
} uvws__cause_t;

uvws__cause_t uvws__cause_of(uvws__failure_t failure);
uvws__cause_t uvws__cause_of_status(int status);

/* Whether the user wants to hear of an event, and knew it when he was built. */
#define EMITS(ws, event)                                  \
  ((ws)->events->size > offsetof(uvws_events_t, event) && \
   (ws)->events->event != NULL)

/* Makes a connection for `ws`, which does not know it yet. Then let it enter
 * the loop, when all else that can fail has not, and begin; or abandon it. */
int uvws__conn_new(uvws_t* ws, uvws__role_t role, uvws__state_t state,
                   uvws__settings_t* settings, uvws__conn_t** conn);
int uvws__conn_enter(uvws__conn_t* conn);
void uvws__conn_abandon(uvws__conn_t* conn);

/* From now on `ws` is in use, and its `close` event will come. */
void uvws__conn_begin(uvws__conn_t* conn);

/* The connection stands already: under which deadline it opens. */
void uvws__conn_await_handshake(uvws__conn_t* conn);

/* The stream is the connection's from now on. */
void uvws__conn_take_stream(uvws__conn_t* conn, uvws__stream_t* stream);

/* Those that have nothing extra share one that is empty and constant: reading
 * needs no check, and whoever writes something but zero makes one of the
 * connection's own first. False when there is no memory. */
extern const uvws__extra_t uvws__no_extra;
bool uvws__conn_need_extra(uvws__conn_t* conn);

/* Frees the connection's own if it is empty. To be called by nobody whose
 * caller may still look at it. */
void uvws__conn_spare_extra(uvws__conn_t* conn);

/* The one way to change the state; `cause` may be NULL. */
void uvws__conn_event(uvws__conn_t* conn, uvws__event_t event,
                      const uvws__cause_t* cause);
void uvws__conn_fail(uvws__conn_t* conn, uvws__failure_t failure);

/* What answers for `ws`: its connection, or inside its `close` event the one
 * that is ending, else NULL. */
uvws__conn_t* uvws__conn_of(const uvws_t* ws);

/* The `close` event that may be running for this shell is not its any more. */
void uvws__conn_forget(const uvws_t* ws);

#endif /* UVWS_SRC_CONNECTION_H_ */
