#include "net/outbox.h"

#include <string.h>

#include "alloc.h"

/* Chunks form one list: those that libuv has, then from `unsent` on those that
 * it has not. Bytes are only ever added to the last chunk, and only while libuv
 * does not have it.
 *
 * Every function that adds either adds all of a piece and its mark, or nothing:
 * room for the mark is made first, because an unused one does no harm. */

static const size_t CHUNK_MIN = 16 * 1024;

struct uvws__chunk_s {
  struct uvws__chunk_s* next;
  const uint8_t* base;
  size_t start; /* [start, end) of base is still to be written */
  size_t end;
  size_t capacity;        /* of `bytes` */
  uvws__spares_t* spares; /* where it goes in the end */
  const uvws__keeper_t* keeper;
  void* object; /* what base belongs to, when there is a keeper */
  uint8_t bytes[];
};

uvws__outbox_t* uvws__outbox_new(uvws__spares_t* spares) {
  uvws__outbox_t* outbox = uvws__calloc(1, sizeof(*outbox));
  if (outbox != NULL) outbox->spares = spares;
  return outbox;
}

static void free_chunk(uvws__chunk_t* chunk) {
  if (chunk->keeper != NULL) chunk->keeper->unref(chunk->object);
  uvws__spares_give(chunk->spares, chunk, sizeof(*chunk) + chunk->capacity);
}

static void free_chunks(uvws__chunk_t* list) {
  while (list != NULL) {
    uvws__chunk_t* chunk = list;
    list = chunk->next;
    free_chunk(chunk);
  }
}

void uvws__outbox_free(uvws__outbox_t* outbox) {
  if (outbox == NULL) return;
  free_chunks(outbox->first);
  uvws__free(outbox->marks);
  uvws__free(outbox);
}

bool uvws__outbox_is_empty(const uvws__outbox_t* outbox) {
  return outbox->first == NULL;
}

static bool make_mark_room(uvws__outbox_t* outbox, unsigned more) {
  unsigned used = outbox->first_mark + outbox->n_marks;
  if (used + more <= outbox->mark_capacity) return true;
  /* At least half of the room is at the front: move instead of growing. */
  if (outbox->n_marks + more <= outbox->mark_capacity / 2) {
    memmove(outbox->marks, outbox->marks + outbox->first_mark,
            outbox->n_marks * sizeof(*outbox->marks));
    outbox->first_mark = 0;
    return true;
  }
  unsigned capacity = 2 * (used + more);
  uvws__mark_t* marks =
      uvws__realloc(outbox->marks, capacity * sizeof(*outbox->marks));
  if (marks == NULL) return false;
  outbox->marks = marks;
  outbox->mark_capacity = capacity;
  return true;
}

static void add_mark(uvws__outbox_t* outbox, const uvws__mark_t* mark) {
  outbox->marks[outbox->first_mark + outbox->n_marks++] = *mark;
}

static void add_chunk(uvws__outbox_t* outbox, uvws__chunk_t* chunk) {
  chunk->next = NULL;
  if (outbox->first == NULL)
    outbox->first = chunk;
  else
    outbox->last->next = chunk;
  outbox->last = chunk;
  if (outbox->unsent == NULL) outbox->unsent = chunk;
}

static uvws__chunk_t* new_chunk(uvws__outbox_t* outbox, size_t capacity) {
  if (capacity > SIZE_MAX - sizeof(uvws__chunk_t)) return NULL;
  size_t size = sizeof(uvws__chunk_t) + capacity;
  uvws__chunk_t* chunk = NULL;
  if (capacity >= CHUNK_MIN)
    chunk = uvws__spares_take(outbox->spares, size, &size);
  if (chunk == NULL) {
    size = sizeof(*chunk) + capacity;
    chunk = uvws__malloc(size);
  }
  if (chunk == NULL) return NULL;
  memset(chunk, 0, sizeof(*chunk));
  chunk->base = chunk->bytes;
  chunk->capacity = size - sizeof(*chunk);
  chunk->spares = outbox->spares;
  return chunk;
}

/* Contiguous room for `len` unsent bytes at the end; a new chunk has at least
 * `min`. */
static uint8_t* make_byte_room(uvws__outbox_t* outbox, size_t len, size_t min) {
  uvws__chunk_t* chunk = outbox->unsent == NULL ? NULL : outbox->last;
  if (chunk == NULL || chunk->base != chunk->bytes ||
      chunk->capacity - chunk->end < len) {
    chunk = new_chunk(outbox, len > min ? len : min);
    if (chunk == NULL) return NULL;
    add_chunk(outbox, chunk);
  }
  uint8_t* room = chunk->bytes + chunk->end;
  chunk->end += len;
  outbox->unsent_bytes += len;
  return room;
}

uint8_t* uvws__outbox_reserve(uvws__outbox_t* outbox,
                              const uvws__mark_t* mark) {
  size_t head = (size_t)mark->head, body = (size_t)mark->body;
  if (body > SIZE_MAX - head || !make_mark_room(outbox, 1)) return NULL;
  uint8_t* room = make_byte_room(outbox, head + body, CHUNK_MIN);
  if (room != NULL) add_mark(outbox, mark);
  return room;
}

bool uvws__outbox_append(uvws__outbox_t* outbox, const uv_buf_t* bufs,
                         size_t skip, size_t len, const uvws__mark_t* marks,
                         unsigned n_marks) {
  if (!make_mark_room(outbox, n_marks)) return false;
  uint8_t* room = make_byte_room(outbox, len, CHUNK_MIN);
  if (room == NULL) return false;
  for (uint8_t* end = room + len; room < end; bufs++) {
    size_t past = skip < bufs->len ? skip : bufs->len;
    memcpy(room, bufs->base + past, bufs->len - past);
    room += bufs->len - past;
    skip -= past;
  }
  memcpy(outbox->marks + outbox->first_mark + outbox->n_marks, marks,
         n_marks * sizeof(*marks));
  outbox->n_marks += n_marks;
  return true;
}

/* A list of chunks that refer to the buffers; NULL when there is no memory for
 * all of them. */
static uvws__chunk_t* new_references(uvws__outbox_t* outbox,
                                     const uv_buf_t* body, unsigned n) {
  uvws__chunk_t* list = NULL;
  while (n-- > 0) {
    uvws__chunk_t* chunk = new_chunk(outbox, 0);
    if (chunk == NULL) {
      free_chunks(list);
      return NULL;
    }
    chunk->base = (const uint8_t*)body[n].base;
    chunk->end = body[n].len;
    chunk->next = list;
    list = chunk;
  }
  return list;
}

bool uvws__outbox_refer(uvws__outbox_t* outbox, const uint8_t* head,
                        size_t head_len, const uv_buf_t* body, unsigned n,
                        const uvws__keeper_t* keeper, void* object,
                        uint64_t whole) {
  uvws__chunk_t* list = new_references(outbox, body, n);
  uint8_t* room = NULL;
  uint64_t body_len = 0;
  if (list != NULL && make_mark_room(outbox, 1))
    room = make_byte_room(outbox, head_len, 0); /* nothing follows the head */
  if (room == NULL) {
    free_chunks(list);
    return false;
  }
  memcpy(room, head, head_len);
  while (list != NULL) {
    uvws__chunk_t* chunk = list;
    list = chunk->next;
    chunk->keeper = keeper;
    if (keeper != NULL) chunk->object = keeper->ref(object);
    body_len += chunk->end;
    add_chunk(outbox, chunk);
  }
  outbox->unsent_bytes += body_len;
  uvws__mark_t mark = {head_len, body_len, 0};
  if (whole != 0) mark = (uvws__mark_t){head_len + body_len, 0, whole};
  add_mark(outbox, &mark);
  return true;
}

unsigned uvws__outbox_buffers(const uvws__outbox_t* outbox, uv_buf_t* bufs,
                              unsigned max) {
  unsigned n = 0;
  const uvws__chunk_t* chunk = outbox->unsent;
  for (; chunk != NULL && n < max; chunk = chunk->next) {
    bufs[n].base = (char*)chunk->base + chunk->start;
    bufs[n].len = chunk->end - chunk->start;
    n++;
  }
  return n;
}

uint64_t uvws__marks_take(uvws__mark_t* marks, unsigned* first, unsigned* n,
                          uint64_t bytes) {
  uint64_t total = 0;
  while (bytes > 0) {
    uvws__mark_t* mark = &marks[*first];
    uint64_t head = bytes < mark->head ? bytes : mark->head;
    mark->head -= head;
    bytes -= head;
    uint64_t body = bytes < mark->body ? bytes : mark->body;
    mark->body -= body;
    bytes -= body;
    total += body;
    if (mark->head + mark->body > 0) break;
    total += mark->whole;
    ++*first;
    --*n;
  }
  return total;
}

static uint64_t take_marks(uvws__outbox_t* outbox, uint64_t bytes) {
  return uvws__marks_take(outbox->marks, &outbox->first_mark, &outbox->n_marks,
                          bytes);
}

uint64_t uvws__outbox_taken(uvws__outbox_t* outbox, uint64_t n) {
  uint64_t left = n;
  outbox->unsent_bytes -= n;
  while (outbox->first != NULL) {
    uvws__chunk_t* chunk = outbox->first;
    size_t size = chunk->end - chunk->start;
    if (left < size) {
      chunk->start += (size_t)left;
      break;
    }
    left -= size;
    outbox->first = outbox->unsent = chunk->next;
    free_chunk(chunk);
  }
  return take_marks(outbox, n);
}

void uvws__outbox_submit(uvws__outbox_t* outbox, unsigned n) {
  outbox->submitted = 0;
  for (; n > 0; n--) {
    size_t size = outbox->unsent->end - outbox->unsent->start;
    outbox->unsent_bytes -= size;
    outbox->in_flight += size;
    outbox->submitted += size;
    outbox->unsent = outbox->unsent->next;
  }
}

uint64_t uvws__outbox_settle(uvws__outbox_t* outbox, uint64_t n) {
  outbox->in_flight -= n;
  return take_marks(outbox, n);
}

void uvws__outbox_returned(uvws__outbox_t* outbox) {
  outbox->in_flight = 0;
  while (outbox->first != outbox->unsent) {
    uvws__chunk_t* chunk = outbox->first;
    outbox->first = chunk->next;
    free_chunk(chunk);
  }
}

void uvws__outbox_drop_unsent(uvws__outbox_t* outbox) {
  uvws__chunk_t** link = &outbox->first;
  outbox->last = NULL;
  while (*link != outbox->unsent) {
    outbox->last = *link;
    link = &(*link)->next;
  }
  free_chunks(outbox->unsent);
  outbox->unsent = NULL;
  *link = NULL;
  outbox->unsent_bytes = 0;
}
