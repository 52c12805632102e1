/* Heads of requests and responses: how they are split must not matter, and
 * what came out may be asked everything.
 *
 * The input begins with the kind, the limits and four lengths of pieces. */

#include <string.h>

#include "fuzz.h"
#include "protocol/handshake.h"

enum { SETTINGS = 7 };

typedef struct result_s {
  uvws__head_t* head;
  uvws__head_status_t status;
  uvws__failure_t failure;
  size_t used;
} result_t;

static result_t run(const uint8_t* settings, const uint8_t* pieces,
                    const uint8_t* bytes, size_t len) {
  result_t result = {.status = UVWS__HEAD_MORE};
  result.head = uvws__head_new(
      settings[0] % 2 == 0 ? UVWS__HEAD_REQUEST : UVWS__HEAD_RESPONSE,
      8u * settings[1], settings[2]);
  CHECK(result.head != NULL);
  for (unsigned i = 0; result.used < len && result.status == UVWS__HEAD_MORE;
       i++) {
    size_t n = len - result.used, used = 0;
    if (pieces != NULL && n > pieces[i % 4] + 1u) n = pieces[i % 4] + 1u;
    uint8_t* copy = malloc(n);
    CHECK(copy != NULL);
    memcpy(copy, bytes + result.used, n);
    result.status =
        uvws__head_feed(result.head, copy, n, &used, &result.failure);
    free(copy);
    CHECK(used <= n);
    CHECK(used == n || result.status != UVWS__HEAD_MORE);
    result.used += used;
  }
  return result;
}

static void check_same(const uvws__head_t* a, const uvws__head_t* b) {
  unsigned n = uvws__head_field_count(a);
  CHECK(n == uvws__head_field_count(b));
  for (unsigned i = 0; i < n; i++) {
    uvws__field_t one = uvws__head_field_at(a, i);
    uvws__field_t other = uvws__head_field_at(b, i);
    CHECK(strcmp(one.name, other.name) == 0);
    CHECK(strcmp(one.value, other.value) == 0);
    CHECK(uvws__head_field(a, one.name, NULL) != NULL);
  }
  CHECK(uvws__head_is_http_1_1(a) == uvws__head_is_http_1_1(b));
}

static void ask_request(const uvws__head_t* head) {
  size_t len;
  CHECK(uvws__head_method(head)[0] != '\0');
  CHECK(uvws__head_target(head)[0] != '\0');
  (void)uvws__handshake_same_origin(head, false);
  unsigned n = 0;
  while (uvws__handshake_offered_protocol(head, n, &len) != NULL) n++;
  if (uvws__handshake_check_request(head) != UVWS__OK) return;
  CHECK(uvws__head_is_http_1_1(head));
  CHECK(n <= UVWS__MAX_OFFERED_PROTOCOLS);
  uvws__text_t answer = uvws__handshake_response(head, "", "", NULL, 0);
  CHECK(answer.data != NULL);
  free(answer.data);
}

static void ask_response(const uvws__head_t* head) {
  static const char* const protocols[] = {"chat", "superchat"};
  const uvws__offer_t offer = {.target = "/",
                               .authority = "localhost",
                               .protocols = protocols,
                               .n_protocols = 2,
                               .extensions = "permessage-deflate"};
  uvws__agreement_t agreement = {NULL, NULL};
  CHECK(uvws__head_http_status(head) == 101 ||
        uvws__handshake_check_response(
            head, &offer, "dGhlIHNhbXBsZSBub25jZQ==", &agreement) != UVWS__OK);
  if (uvws__handshake_check_response(
          head, &offer, "dGhlIHNhbXBsZSBub25jZQ==", &agreement) != UVWS__OK)
    return;
  CHECK(agreement.protocol != NULL && agreement.extensions != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len < SETTINGS) return 0;
  result_t whole = run(data, NULL, data + SETTINGS, len - SETTINGS);
  result_t split = run(data, data + 3, data + SETTINGS, len - SETTINGS);
  CHECK(whole.status == split.status);
  if (whole.status == UVWS__HEAD_FAILED) CHECK(whole.failure == split.failure);
  if (whole.status == UVWS__HEAD_DONE) {
    CHECK(whole.used == split.used);
    check_same(whole.head, split.head);
    if (data[0] % 2 == 0)
      ask_request(whole.head);
    else
      ask_response(whole.head);
  }
  uvws__head_free(whole.head);
  uvws__head_free(split.head);
  return 0;
}
