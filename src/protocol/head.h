#ifndef UVWS_SRC_PROTOCOL_HEAD_H_
#define UVWS_SRC_PROTOCOL_HEAD_H_

/* An HTTP/1.1 head, collected over llhttp from bytes split anywhere. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/failure.h"

/* One header line; both strings are NUL-terminated, the value is trimmed. */
typedef struct uvws__field_s {
  const char* name;
  const char* value;
} uvws__field_t;

typedef enum {
  UVWS__HEAD_REQUEST,
  UVWS__HEAD_RESPONSE,
  UVWS__HEAD_CONNECTED /* the response to a CONNECT: in a 2xx, headers about a
                          body are ignored (RFC 9110, 9.3.6) */
} uvws__head_kind_t;

typedef enum {
  UVWS__HEAD_MORE,  /* all bytes were taken, the head goes on */
  UVWS__HEAD_DONE,  /* the head is complete; *used tells where it ended */
  UVWS__HEAD_FAILED /* *failure tells why */
} uvws__head_status_t;

typedef struct uvws__head_s uvws__head_t;

/* NULL when there is no memory. `max_bytes` bounds the whole head (for a
 * response: all informational heads before the final one included),
 * `max_fields` the number of header lines. */
uvws__head_t* uvws__head_new(uvws__head_kind_t kind, size_t max_bytes,
                             unsigned max_fields);
void uvws__head_free(uvws__head_t* head);

/* Takes bytes up to and including the empty line, never beyond: *used is then
 * less than `len` when something follows the head, and that something is not
 * HTTP any more. Informational responses (1xx but 101) are skipped. The first
 * failure does not depend on how the bytes are split over calls; after it, as
 * after UVWS__HEAD_DONE, the head takes no more. */
uvws__head_status_t uvws__head_feed(uvws__head_t* head, const uint8_t* data,
                                    size_t len, size_t* used,
                                    uvws__failure_t* failure);

/* Everything below is valid from UVWS__HEAD_DONE until uvws__head_free. */

/* Of a request: "GET", and the target as it was sent. */
const char* uvws__head_method(const uvws__head_t* head);
const char* uvws__head_target(const uvws__head_t* head);

/* Of a response: 101. Valid after UVWS__FAIL_HTTP_STATUS, too. */
unsigned uvws__head_http_status(const uvws__head_t* head);

/* 1.1 or a later 1.x: another major version has another syntax. */
bool uvws__head_is_http_1_1(const uvws__head_t* head);

unsigned uvws__head_field_count(const uvws__head_t* head);
uvws__field_t uvws__head_field_at(const uvws__head_t* head, unsigned index);

/* The first field of that name (case-insensitive) at or after *index, which is
 * then moved behind it; NULL at the end. `index` may be NULL for "the first".
 */
const char* uvws__head_field(const uvws__head_t* head, const char* name,
                             unsigned* index);

#endif /* UVWS_SRC_PROTOCOL_HEAD_H_ */
