#include "deflate.h"

#include <string.h>

#include "alloc.h"
#include "blob.h"
#include "lending.h"

/* A stream of zlib is taken from the loop's pool when a message begins. Without
 * context takeover it goes back when the message ends; with it the connection
 * keeps it, until it was idle for a while.
 *
 * What we send we may start afresh whenever we like (RFC 7692, 7.2.1: a message
 * need not refer to those before), so our own context can always be given back,
 * and a message that did not become smaller is sent as it was: the peer has not
 * seen what the context then has. What we receive refers to what the peer
 * likes: only its promise of no takeover lets us forget.
 *
 * A server's budget counts an inflater from its message's begin, and a deflater
 * that stays beyond a call; if there is no room, each message is compressed by
 * itself.
 *
 * A blob is compressed once for each way of compressing, referring to nothing
 * before it, whatever was agreed upon; what comes behind it then must not
 * either. */

enum { POOL_MAX = 4 }; /* unused streams of each sort */

typedef struct spare_s {
  struct spare_s* next;
  uvws__deflate_how_t how; /* deflaters */
  unsigned window_bits;    /* inflaters */
  uvws__deflater_t* deflater;
  uvws__inflater_t* inflater;
} spare_t;

struct uvws__pool_s {
  spare_t* spares;
  unsigned n_deflaters;
  unsigned n_inflaters;
  uint8_t inflated[64 * 1024];
  uint8_t deflated[64 * 1024];
};

struct uvws__deflate_s {
  uvws__conn_t* conn;
  uvws__deflate_how_t how;
  uint8_t inflate_bits;
  bool keeps_deflater; /* context takeover */
  bool keeps_inflater;
  bool packing; /* a message in parts is under way, and compressed */
  bool stale;   /* the context has what the peer has not seen */
  uvws__deflater_t* deflater;
  uvws__inflater_t* inflater;
  size_t charged;    /* to the server's budget, for the deflater */
  uint64_t inflated; /* the receiver's, while it is not lent */
  uvws__deadline_t idle;
};

/* ---- the pool ---- */

static void free_spare(spare_t* spare) {
  uvws__deflater_free(spare->deflater);
  uvws__inflater_free(spare->inflater);
  uvws__free(spare);
}

static void free_pool(void* arg) {
  struct uvws__pool_s* pool = arg;
  while (pool->spares != NULL) {
    spare_t* spare = pool->spares;
    pool->spares = spare->next;
    free_spare(spare);
  }
  uvws__free(pool);
}

static struct uvws__pool_s* pool_of(uvws__loop_t* loop) {
  if (loop->pool == NULL) {
    struct uvws__pool_s* pool = uvws__malloc(sizeof(*pool));
    if (pool == NULL) return NULL;
    memset(pool, 0, offsetof(struct uvws__pool_s, inflated));
    loop->pool = pool;
    loop->free_pool = free_pool;
  }
  return loop->pool;
}

static uvws__deflater_t* take_deflater(uvws__loop_t* loop,
                                       const uvws__deflate_how_t* how) {
  spare_t** link = &loop->pool->spares;
  while (*link != NULL && ((*link)->deflater == NULL ||
                           !uvws__deflate_is_same(&(*link)->how, how)))
    link = &(*link)->next;
  spare_t* spare = *link;
  if (spare == NULL) return uvws__deflater_new(how);
  uvws__deflater_t* deflater = spare->deflater;
  *link = spare->next;
  loop->pool->n_deflaters--;
  uvws__free(spare);
  return deflater;
}

static uvws__inflater_t* take_inflater(uvws__loop_t* loop, unsigned bits) {
  spare_t** link = &loop->pool->spares;
  while (*link != NULL &&
         ((*link)->inflater == NULL || (*link)->window_bits != bits))
    link = &(*link)->next;
  spare_t* spare = *link;
  if (spare == NULL) return uvws__inflater_new(bits);
  uvws__inflater_t* inflater = spare->inflater;
  *link = spare->next;
  loop->pool->n_inflaters--;
  uvws__free(spare);
  return inflater;
}

/* The oldest of its sort makes room: nobody may want it any more. */
static void evict(struct uvws__pool_s* pool, bool deflaters) {
  spare_t** oldest = NULL;
  for (spare_t** link = &pool->spares; *link != NULL; link = &(*link)->next)
    if (((*link)->deflater != NULL) == deflaters) oldest = link;
  spare_t* spare = *oldest;
  *oldest = spare->next;
  free_spare(spare);
}

static spare_t* add_spare(struct uvws__pool_s* pool, bool deflaters) {
  unsigned* n = deflaters ? &pool->n_deflaters : &pool->n_inflaters;
  spare_t* spare = uvws__calloc(1, sizeof(*spare));
  if (spare == NULL) return NULL;
  if (*n == POOL_MAX)
    evict(pool, deflaters);
  else
    ++*n;
  spare->next = pool->spares;
  pool->spares = spare;
  return spare;
}

static void give_deflater(uvws__loop_t* loop, const uvws__deflate_how_t* how,
                          uvws__deflater_t* deflater) {
  spare_t* spare = add_spare(loop->pool, true);
  if (spare == NULL) {
    uvws__deflater_free(deflater);
    return;
  }
  uvws__deflater_reset(deflater);
  spare->how = *how;
  spare->deflater = deflater;
}

static void give_inflater(uvws__loop_t* loop, unsigned bits,
                          uvws__inflater_t* inflater) {
  spare_t* spare = add_spare(loop->pool, false);
  if (spare == NULL) {
    uvws__inflater_free(inflater);
    return;
  }
  uvws__inflater_reset(inflater);
  spare->window_bits = bits;
  spare->inflater = inflater;
}

/* ---- what a connection keeps ---- */

static uvws__budget_t* budget_of(const struct uvws__deflate_s* deflate) {
  return deflate->conn->settings->budget;
}

/* Whether the server can afford that the deflater stays for a while. */
static bool charge_deflater(struct uvws__deflate_s* deflate) {
  size_t size = uvws__deflater_size(&deflate->how);
  if (deflate->charged > 0) return true;
  if (!uvws__budget_allows(budget_of(deflate), size, UVWS__FOR_DEFLATING))
    return false;
  uvws__budget_take(budget_of(deflate), size, UVWS__FOR_DEFLATING);
  deflate->charged = size;
  return true;
}

static void drop_deflater(struct uvws__deflate_s* deflate) {
  if (deflate->deflater != NULL)
    give_deflater(deflate->conn->loop, &deflate->how, deflate->deflater);
  deflate->deflater = NULL;
  deflate->stale = false;
  uvws__budget_give(budget_of(deflate), deflate->charged, UVWS__FOR_DEFLATING);
  deflate->charged = 0;
}

static void on_idle(uvws__deadline_t* deadline) {
  struct uvws__deflate_s* deflate =
      UVWS__CONTAINER_OF(deadline, struct uvws__deflate_s, idle);
  if (!deflate->packing) drop_deflater(deflate);
}

static void note_use(struct uvws__deflate_s* deflate) {
  const uvws__conn_t* conn = deflate->conn;
  uvws__loop_set_deadline(conn->loop, &deflate->idle,
                          conn->settings->deflate->idle_timeout);
}

/* ---- in ---- */

static uvws__failure_t begin_message(uvws__receiver_t* receiver) {
  uvws__conn_t* conn = uvws__lending_conn(receiver);
  struct uvws__deflate_s* deflate = conn->extra->deflate;
  size_t size = uvws__inflater_size(deflate->inflate_bits);
  receiver->inflater = deflate->inflater;
  deflate->inflater = NULL;
  if (receiver->inflater != NULL) return UVWS__OK;
  if (!uvws__budget_allows(receiver->budget, size, UVWS__FOR_INFLATING))
    return UVWS__FAIL_MEMORY_BUDGET;
  receiver->inflater = take_inflater(conn->loop, deflate->inflate_bits);
  if (receiver->inflater == NULL) return UVWS__FAIL_NO_MEMORY;
  uvws__budget_take(receiver->budget, size, UVWS__FOR_INFLATING);
  return UVWS__OK;
}

static void drop_inflater(struct uvws__deflate_s* deflate,
                          uvws__inflater_t* inflater) {
  give_inflater(deflate->conn->loop, deflate->inflate_bits, inflater);
  uvws__budget_give(budget_of(deflate),
                    uvws__inflater_size(deflate->inflate_bits),
                    UVWS__FOR_INFLATING);
}

static void end_message(uvws__receiver_t* receiver) {
  struct uvws__deflate_s* deflate =
      uvws__lending_conn(receiver)->extra->deflate;
  if (deflate->keeps_inflater)
    deflate->inflater = receiver->inflater;
  else
    drop_inflater(deflate, receiver->inflater);
  receiver->inflater = NULL;
}

static const uvws__inflating_t inflating = {begin_message, end_message};

void uvws__deflate_equip(uvws__conn_t* conn) {
  struct uvws__pool_s* pool = conn->loop->pool;
  conn->receiver->inflating = &inflating;
  conn->receiver->scratch = pool->inflated;
  conn->receiver->scratch_size = sizeof(pool->inflated);
  conn->receiver->parser.allows_rsv1 = true;
  conn->receiver->inflated = conn->extra->deflate->inflated;
}

void uvws__deflate_strip(uvws__conn_t* conn) {
  conn->extra->deflate->inflated = conn->receiver->inflated;
  conn->receiver->inflating = NULL;
  conn->receiver->parser.allows_rsv1 = false;
  conn->receiver->inflated = 0;
}

/* ---- out ---- */

static uvws__deflater_t* use_deflater(struct uvws__deflate_s* deflate) {
  if (deflate->deflater == NULL)
    deflate->deflater = take_deflater(deflate->conn->loop, &deflate->how);
  else if (deflate->stale)
    uvws__deflater_reset(deflate->deflater);
  deflate->stale = false;
  return deflate->deflater;
}

static void leave_deflater(struct uvws__deflate_s* deflate) {
  if (deflate->keeps_deflater && charge_deflater(deflate))
    note_use(deflate);
  else
    drop_deflater(deflate);
}

static void free_bytes(uvws__bytes_t* bytes) {
  if (!bytes->lent) uvws__free(bytes->data);
}

static bool add_all(uvws__deflater_t* deflater, const uvws__outgoing_t* out,
                    uvws__bytes_t* bytes) {
  bool last = out->first_byte & UVWS__FIN;
  uvws__deflate_flush_t end = last ? UVWS__DEFLATE_END : UVWS__DEFLATE_FLUSH;
  if (out->n == 0) return uvws__deflater_add(deflater, NULL, 0, end, bytes);
  for (unsigned i = 0; i < out->n; i++)
    if (!uvws__deflater_add(deflater, (const uint8_t*)out->bufs[i].base,
                            out->bufs[i].len,
                            i + 1 < out->n ? UVWS__DEFLATE_ON : end, bytes))
      return false;
  return true;
}

static uvws__outgoing_t packed_frame(const uvws__outgoing_t* out) {
  bool first = (out->first_byte & 0x0F) != UVWS__OP_CONTINUATION;
  return (uvws__outgoing_t){
      .first_byte = out->first_byte | (first ? UVWS__RSV1 : 0),
      .n = 1,
      .packed = true,
      .counts = out->len,
  };
}

static void set_bytes(uvws__outgoing_t* packed, const uint8_t* data,
                      size_t len) {
  packed->own = (uv_buf_t){(char*)data, len};
  packed->bufs = &packed->own;
  packed->len = len;
}

static bool is_whole(const uvws__outgoing_t* out) {
  return (out->first_byte & UVWS__FIN) &&
         (out->first_byte & 0x0F) != UVWS__OP_CONTINUATION;
}

static bool pack_bytes(struct uvws__deflate_s* deflate,
                       const uvws__outgoing_t* out, uvws__outgoing_t* packed,
                       int* status) {
  uvws__loop_t* loop = deflate->conn->loop;
  uvws__bytes_t bytes = {loop->pool->deflated, 0, sizeof(loop->pool->deflated),
                         .lent = true};
  uvws__deflater_t* deflater = use_deflater(deflate);
  bool done = deflater != NULL && add_all(deflater, out, &bytes);
  bool useless = done && is_whole(out) && bytes.len >= out->len;
  if (useless) deflate->stale = true;
  if (deflater != NULL && !deflate->packing) leave_deflater(deflate);
  *status = done || !deflate->packing ? 0 : UV_ENOMEM;
  if (!done || useless) {
    free_bytes(&bytes);
    return false;
  }
  *packed = packed_frame(out);
  set_bytes(packed, bytes.data, bytes.len);
  packed->owned = bytes.lent ? NULL : bytes.data;
  return true;
}

/* ---- blobs ---- */

static uvws__variant_t* make_variant(struct uvws__deflate_s* deflate,
                                     const uvws__outgoing_t* out) {
  uvws__loop_t* loop = deflate->conn->loop;
  uvws__bytes_t bytes = {loop->pool->deflated, 0, sizeof(loop->pool->deflated),
                         .lent = true};
  uvws__deflater_t* deflater = take_deflater(loop, &deflate->how);
  uvws__variant_t* variant = NULL;
  if (deflater == NULL) return NULL;
  if (add_all(deflater, out, &bytes))
    variant = uvws__blob_add_variant(out->blob, &deflate->how, bytes.data,
                                     bytes.len < out->len ? bytes.len : 0);
  give_deflater(loop, &deflate->how, deflater);
  free_bytes(&bytes);
  return variant;
}

/* Our own context has not seen what the peer's will have. */
static bool pack_blob(struct uvws__deflate_s* deflate,
                      const uvws__outgoing_t* out, uvws__outgoing_t* packed) {
  uvws__variant_t* variant = uvws__blob_variant(out->blob, &deflate->how);
  if (variant == NULL) variant = make_variant(deflate, out);
  if (variant == NULL || variant->len == 0) return false;
  deflate->stale = true;
  *packed = packed_frame(out);
  packed->blob = out->blob;
  set_bytes(packed, variant->bytes, variant->len);
  return true;
}

bool uvws__deflate_pack(uvws__conn_t* conn, const uvws__outgoing_t* out,
                        uvws__outgoing_t* packed, int* status) {
  *status = 0;
  if (out->blob != NULL) return pack_blob(conn->extra->deflate, out, packed);
  return pack_bytes(conn->extra->deflate, out, packed, status);
}

void uvws__deflate_unpack(uvws__outgoing_t* packed) {
  uvws__free(packed->owned);
  packed->owned = NULL;
}

void uvws__deflate_forget(uvws__conn_t* conn) {
  conn->extra->deflate->stale = true;
}

bool uvws__deflate_begin(uvws__conn_t* conn) {
  struct uvws__deflate_s* deflate = conn->extra->deflate;
  if (use_deflater(deflate) == NULL) return false;
  deflate->packing = charge_deflater(deflate);
  if (!deflate->packing) drop_deflater(deflate);
  return deflate->packing;
}

void uvws__deflate_finish(uvws__conn_t* conn) {
  struct uvws__deflate_s* deflate = conn->extra->deflate;
  if (deflate == NULL || !deflate->packing) return;
  deflate->packing = false;
  leave_deflater(deflate);
}

bool uvws__deflate_wants(const uvws__conn_t* conn, uint64_t len,
                         unsigned flags) {
  if (conn->extra->deflate == NULL || (flags & UVWS_NO_COMPRESS)) return false;
  return (flags & UVWS_COMPRESS) || len >= conn->settings->deflate->threshold;
}

/* ---- beginning and end ---- */

static uint8_t bits_of(uint8_t agreed, uint8_t otherwise) {
  return agreed == 0 ? otherwise : agreed;
}

static bool begin(uvws__conn_t* conn, const uvws__deflate_params_t* params) {
  struct uvws__pool_s* pool = pool_of(conn->loop);
  struct uvws__deflate_s* deflate = uvws__calloc(1, sizeof(*deflate));
  if (pool == NULL || deflate == NULL) {
    uvws__free(deflate);
    return false;
  }
  bool server = conn->is_server;
  deflate->conn = conn;
  deflate->how = conn->settings->deflate->how;
  deflate->how.window_bits = bits_of(
      server ? params->server_max_window_bits : params->client_max_window_bits,
      15);
  deflate->inflate_bits = bits_of(
      server ? params->client_max_window_bits : params->server_max_window_bits,
      15);
  deflate->keeps_deflater = !(server ? params->server_no_context_takeover
                                     : params->client_no_context_takeover);
  deflate->keeps_inflater = !(server ? params->client_no_context_takeover
                                     : params->server_no_context_takeover);
  deflate->idle.passed = on_idle;
  conn->extra->deflate = deflate;
  return true;
}

bool uvws__deflate_accept(uvws__conn_t* conn, const uvws__head_t* request) {
  const uvws__deflate_plan_t* plan = conn->settings->deflate;
  uvws__deflate_params_t params;
  char value[UVWS__DEFLATE_VALUE];
  if (plan == NULL || !uvws__deflate_choose(request, plan->wishes, &params))
    return true;
  uvws__deflate_write(&params, value);
  conn->names->extensions = uvws__strndup(value, strlen(value));
  return conn->names->extensions != NULL && begin(conn, &params);
}

uvws__failure_t uvws__deflate_take_answer(uvws__conn_t* conn,
                                          const char* value) {
  const uvws__deflate_plan_t* plan = conn->settings->deflate;
  uvws__deflate_params_t params;
  if (plan == NULL ||
      !uvws__deflate_read_response(value, plan->wishes, plan->n, &params))
    return UVWS__FAIL_EXTENSION_PARAMETERS;
  conn->names->extensions = uvws__strndup(value, strlen(value));
  return conn->names->extensions != NULL && begin(conn, &params)
             ? UVWS__OK
             : UVWS__FAIL_NO_MEMORY;
}

void uvws__deflate_end(uvws__conn_t* conn) {
  struct uvws__deflate_s* deflate = conn->extra->deflate;
  if (deflate == NULL) return;
  drop_deflater(deflate);
  if (deflate->inflater != NULL) drop_inflater(deflate, deflate->inflater);
  uvws__wheel_cancel(&deflate->idle);
  uvws__free(deflate);
  conn->extra->deflate = NULL;
}

/* ---- options ---- */

static bool bits_are_valid(unsigned bits) {
  return bits == 0 || (bits >= 8 && bits <= 15);
}

static bool are_valid(const uvws_deflate_options_t* options) {
  return options->level >= 1 && options->level <= 9 &&
         options->memory_level >= 1 && options->memory_level <= 9 &&
         options->strategy >= 0 && options->strategy <= 4 &&
         bits_are_valid(options->server_max_window_bits) &&
         bits_are_valid(options->client_max_window_bits);
}

static uvws__deflate_wish_t wish_of(const uvws_deflate_options_t* options) {
  return (uvws__deflate_wish_t){
      .params = {
          .server_no_context_takeover = options->server_no_context_takeover,
          .client_no_context_takeover = options->client_no_context_takeover,
          .server_max_window_bits = (uint8_t)options->server_max_window_bits,
          .client_max_window_bits = (uint8_t)options->client_max_window_bits,
      }};
}

static int read_wishes(const uvws_deflate_options_t* from,
                       uvws__deflate_plan_t* plan) {
  uvws_deflate_options_t options;
  for (; from != NULL; from = options.next) {
    int status = uvws__deflate_options_read(&options, from);
    if (status != 0) return status;
    if (!are_valid(&options)) return UV_EINVAL;
    uvws__deflate_wish_t* wishes =
        uvws__realloc(plan->wishes, (plan->n + 1) * sizeof(*plan->wishes));
    if (wishes == NULL) return UV_ENOMEM;
    plan->wishes = wishes;
    plan->wishes[plan->n] = wish_of(&options);
    if (plan->n++ > 0) continue;
    plan->how =
        (uvws__deflate_how_t){.level = (uint8_t)options.level,
                              .memory_level = (uint8_t)options.memory_level,
                              .strategy = (uint8_t)options.strategy};
    plan->threshold = options.threshold;
    plan->idle_timeout = options.idle_timeout;
  }
  return 0;
}

int uvws__deflate_plan_read(const uvws_deflate_options_t* options,
                            uvws__deflate_plan_t** result) {
  *result = NULL;
  if (options == NULL) return 0;
  uvws__deflate_plan_t* plan = uvws__calloc(1, sizeof(*plan));
  if (plan == NULL) return UV_ENOMEM;
  int status = read_wishes(options, plan);
  if (status == 0)
    *result = plan;
  else
    uvws__deflate_plan_free(plan);
  return status;
}

void uvws__deflate_plan_free(uvws__deflate_plan_t* plan) {
  if (plan == NULL) return;
  uvws__free(plan->wishes);
  uvws__free(plan);
}
