#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "protocol/deflate.h"
#include "protocol/extensions.h"
#include "protocol/token.h"

/* RFC 7692, 7.1: four parameters, each at most once. An element that says
 * anything else is no offer that a server could take, and no answer that a
 * client could. */

static const char name[] = "permessage-deflate";
static const char server_takeover[] = "server_no_context_takeover";
static const char client_takeover[] = "client_no_context_takeover";
static const char server_bits[] = "server_max_window_bits";
static const char client_bits[] = "client_max_window_bits";

/* An element of the header. */
typedef struct element_s {
  uvws__deflate_params_t params;
  bool has_client_bits; /* with or, in an offer, without a value */
  bool is_ours;         /* it is permessage-deflate */
  bool is_valid;
} element_t;

/* ---- reading ---- */

static bool is_called(const uvws__extension_reader_t* reader,
                      const char* text) {
  return reader->name_len == strlen(text) &&
         memcmp(reader->name, text, reader->name_len) == 0;
}

/* 7.1.2: 8 to 15, without leading zeros; 0 for anything else. */
static uint8_t read_bits(const uvws__extension_reader_t* reader) {
  const char* value = reader->value;
  if (value == NULL) return 0;
  if (reader->value_len == 1 && (value[0] == '8' || value[0] == '9'))
    return (uint8_t)(value[0] - '0');
  if (reader->value_len == 2 && value[0] == '1' && value[1] >= '0' &&
      value[1] <= '5')
    return (uint8_t)(10 + value[1] - '0');
  return 0;
}

static bool set_flag(bool* flag, const uvws__extension_reader_t* reader) {
  bool valid = !*flag && reader->value == NULL;
  *flag = true;
  return valid;
}

static bool set_bits(uint8_t* bits, const uvws__extension_reader_t* reader) {
  bool again = *bits != 0;
  *bits = read_bits(reader);
  return !again && *bits != 0;
}

static bool read_parameter(element_t* element,
                           const uvws__extension_reader_t* reader) {
  uvws__deflate_params_t* params = &element->params;
  if (is_called(reader, server_takeover))
    return set_flag(&params->server_no_context_takeover, reader);
  if (is_called(reader, client_takeover))
    return set_flag(&params->client_no_context_takeover, reader);
  if (is_called(reader, server_bits))
    return set_bits(&params->server_max_window_bits, reader);
  if (!is_called(reader, client_bits) || element->has_client_bits) return false;
  element->has_client_bits = true;
  return reader->value == NULL ||
         set_bits(&params->client_max_window_bits, reader);
}

/* The next element of a value; false at the end. *next is what the reader has
 * read of the one behind. */
static bool next_element(uvws__extension_reader_t* reader,
                         uvws__extension_item_t* next, element_t* element) {
  if (*next != UVWS__EXTENSION_NAME) return false;
  *element = (element_t){.is_ours = is_called(reader, name), .is_valid = true};
  while ((*next = uvws__extension_next(reader)) == UVWS__EXTENSION_PARAMETER)
    if (element->is_ours && !read_parameter(element, reader))
      element->is_valid = false;
  if (*next == UVWS__EXTENSION_MALFORMED) element->is_valid = false;
  return true;
}

/* ---- server ---- */

static uint8_t smaller(uint8_t a, uint8_t b) {
  if (a == 0 || b == 0) return a == 0 ? b : a;
  return a < b ? a : b;
}

/* 7.1.1 and 7.1.2: what the offer asks for is granted, and what we wish is
 * added where the offer allows it. */
static bool accept_offer(const element_t* offer,
                         const uvws__deflate_wish_t* wish,
                         uvws__deflate_params_t* params) {
  const uvws__deflate_params_t* ours = &wish->params;
  const uvws__deflate_params_t* theirs = &offer->params;
  /* 7.1.2.2: a client that does not say so cannot be told to use less. */
  uint8_t limit = offer->has_client_bits ? ours->client_max_window_bits : 0;
  if (ours->client_max_window_bits % 15 != limit % 15) return false;
  *params = (uvws__deflate_params_t){
      .server_no_context_takeover = ours->server_no_context_takeover ||
                                    theirs->server_no_context_takeover,
      .client_no_context_takeover = ours->client_no_context_takeover ||
                                    theirs->client_no_context_takeover,
      .server_max_window_bits =
          smaller(ours->server_max_window_bits, theirs->server_max_window_bits),
      .client_max_window_bits = smaller(limit, theirs->client_max_window_bits),
  };
  return true;
}

bool uvws__deflate_choose(const uvws__head_t* request,
                          const uvws__deflate_wish_t* wish,
                          uvws__deflate_params_t* params) {
  const char* value;
  unsigned index = 0;
  element_t offer;
  while ((value = uvws__head_field(request, "Sec-WebSocket-Extensions",
                                   &index)) != NULL) {
    uvws__extension_reader_t reader = {.at = value};
    uvws__extension_item_t next = uvws__extension_next(&reader);
    while (next_element(&reader, &next, &offer))
      if (offer.is_ours && offer.is_valid && accept_offer(&offer, wish, params))
        return true;
  }
  return false;
}

/* ---- client ---- */

/* 7.1.1 and 7.1.2: whether the answer is one to this offer. */
static bool answers(const element_t* answer, const uvws__deflate_wish_t* wish) {
  const uvws__deflate_params_t* asked = &wish->params;
  const uvws__deflate_params_t* got = &answer->params;
  if (asked->server_no_context_takeover && !got->server_no_context_takeover)
    return false;
  if (asked->server_max_window_bits != 0 &&
      (got->server_max_window_bits == 0 ||
       got->server_max_window_bits > asked->server_max_window_bits))
    return false;
  if (!answer->has_client_bits) return true;
  if (got->client_max_window_bits == 0) return false;
  return asked->client_max_window_bits == 0 ||
         got->client_max_window_bits <= asked->client_max_window_bits;
}

bool uvws__deflate_read_response(const char* value,
                                 const uvws__deflate_wish_t* wishes, unsigned n,
                                 uvws__deflate_params_t* params) {
  uvws__extension_reader_t reader = {.at = value};
  uvws__extension_item_t next = uvws__extension_next(&reader);
  element_t answer, another;
  if (!next_element(&reader, &next, &answer) || !answer.is_ours ||
      !answer.is_valid || next_element(&reader, &next, &another))
    return false;
  *params = answer.params;
  bool is_answer = false;
  /* 7.1.1.2 and 7.1.2.2: what we have said of ourselves holds, in every offer
   * that the server may have meant. */
  for (unsigned i = 0; i < n; i++) {
    const uvws__deflate_params_t* said = &wishes[i].params;
    if (!answers(&answer, &wishes[i])) continue;
    is_answer = true;
    params->client_no_context_takeover |= said->client_no_context_takeover;
    params->client_max_window_bits =
        smaller(params->client_max_window_bits, said->client_max_window_bits);
  }
  return is_answer;
}

/* ---- writing ---- */

static void put_bits(uvws__text_t* text, const char* parameter, uint8_t bits) {
  char number[8];
  if (bits == 0) return;
  snprintf(number, sizeof(number), "=%u", (unsigned)bits);
  uvws__put_string(text, "; ");
  uvws__put_string(text, parameter);
  uvws__put_string(text, number);
}

static void put_flag(uvws__text_t* text, const char* parameter, bool is_set) {
  if (!is_set) return;
  uvws__put_string(text, "; ");
  uvws__put_string(text, parameter);
}

static void put_element(uvws__text_t* text,
                        const uvws__deflate_params_t* params) {
  uvws__put_string(text, name);
  put_flag(text, server_takeover, params->server_no_context_takeover);
  put_flag(text, client_takeover, params->client_no_context_takeover);
  put_bits(text, server_bits, params->server_max_window_bits);
  put_bits(text, client_bits, params->client_max_window_bits);
}

char* uvws__deflate_offer(const uvws__deflate_wish_t* wishes, unsigned n) {
  uvws__text_t text = {NULL, 0};
  do {
    for (unsigned i = 0; i < n; i++) {
      const uvws__deflate_params_t* params = &wishes[i].params;
      if (i > 0) uvws__put_string(&text, ", ");
      put_element(&text, params);
      put_flag(&text, client_bits, params->client_max_window_bits == 0);
    }
    uvws__put(&text, "", 1);
  } while (uvws__compose_again(&text));
  return text.data;
}

void uvws__deflate_write(const uvws__deflate_params_t* params,
                         char value[UVWS__DEFLATE_VALUE]) {
  uvws__text_t text = {value, 0};
  put_element(&text, params);
  value[text.len] = '\0';
}
