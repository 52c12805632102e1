/* Two parsers read every byte of a head. An automaton of our own goes first. It
 * knows nothing but the frame of HTTP/1.1 (lines that end in CRLF, names and
 * colons, no control characters), so that obs-fold, a bare CR or LF and other
 * things that versions of llhttp judge differently are refused by all of them,
 * at the byte where they stand. It also counts, and finds the end. llhttp gets
 * the bytes that passed and gives them meaning.
 *
 * The automaton stops in front of a byte that is at fault, and what precedes it
 * still reaches llhttp: which failure is reported does not depend on how the
 * bytes were split. Where the head ends, both must agree: a disagreement about
 * that is what request smuggling lives on.
 *
 * Strings are appended to one buffer as llhttp's spans arrive and known by
 * their offsets, because the buffer moves when it grows. It never holds more
 * than the head's bytes: a NUL takes the place of a delimiter each time. */

#include "protocol/head.h"

#include <string.h>

#include <llhttp.h>

#include "alloc.h"
#include "protocol/token.h"

/* What the automaton expects of the next byte. */
typedef enum place_e {
  NOWHERE, /* the byte is at fault; also what the table has by default */
  BEFORE_REQUEST,
  BEFORE_REQUEST_LF, /* of an empty line */
  REQUEST_LINE,
  BEFORE_STATUS,
  STATUS_LINE,
  LINE_LF, /* the line's CR was seen */
  LINE_START,
  NAME,
  VALUE,
  END_LF, /* the CR of the empty line was seen */
  END,
  PLACE_COUNT
} place_t;

typedef enum byte_class_e {
  CONTROL, /* but the three that have a use */
  CR,
  LF,
  COLON,
  TCHAR, /* RFC 9110, 5.6.2 */
  ASCII, /* any other that is visible, or a space */
  OTHER, /* HTAB and obs-text */
  CLASS_COUNT
} byte_class_t;

typedef struct entry_s {
  size_t name;
  size_t value; /* right behind the NUL of the name */
} entry_t;

struct uvws__head_s {
  llhttp_t parser;
  uvws__head_kind_t kind;
  size_t max_bytes;
  size_t n_bytes; /* of all heads, skipped ones too */
  unsigned max_fields;
  unsigned n_lines; /* header lines that have begun */
  place_t place;
  bool no_memory; /* why a callback told llhttp to stop */

  char* text; /* the request target first */
  size_t text_len;
  size_t text_size;
  size_t begun; /* where the string begins that is being appended to */

  size_t name; /* of the line whose value is being read */
  entry_t* entries;
  unsigned n_entries;
  unsigned entries_size;
};

static const unsigned char next_place[PLACE_COUNT][CLASS_COUNT] = {
    /* RFC 9112, 2.2: a server ignores empty lines before the request. */
    [BEFORE_REQUEST] = {[CR] = BEFORE_REQUEST_LF, [TCHAR] = REQUEST_LINE},
    [BEFORE_REQUEST_LF] = {[LF] = BEFORE_REQUEST},
    /* RFC 9112, 3: nothing but ASCII. */
    [REQUEST_LINE] = {[CR] = LINE_LF,
                      [COLON] = REQUEST_LINE,
                      [TCHAR] = REQUEST_LINE,
                      [ASCII] = REQUEST_LINE},
    [BEFORE_STATUS] = {[TCHAR] = STATUS_LINE},
    /* RFC 9112, 4: the reason phrase may have HTAB and obs-text. */
    [STATUS_LINE] = {[CR] = LINE_LF,
                     [COLON] = STATUS_LINE,
                     [TCHAR] = STATUS_LINE,
                     [ASCII] = STATUS_LINE,
                     [OTHER] = STATUS_LINE},
    [LINE_LF] = {[LF] = LINE_START},
    /* RFC 9112, 5.2: no obs-fold, so no line begins with whitespace. */
    [LINE_START] = {[CR] = END_LF, [TCHAR] = NAME},
    /* RFC 9112, 5.1: no whitespace between the name and the colon. */
    [NAME] = {[COLON] = VALUE, [TCHAR] = NAME},
    /* RFC 9110, 5.5: field-value. */
    [VALUE] = {[CR] = LINE_LF,
               [COLON] = VALUE,
               [TCHAR] = VALUE,
               [ASCII] = VALUE,
               [OTHER] = VALUE},
    [END_LF] = {[LF] = END},
};

/* ASCII from NUL to DEL, 16 to the line: the classes by their numbers. */
static const char ascii_classes[] =
    "0000000006200100" /* HTAB, LF, CR */
    "0000000000000000"
    "5454444455445445"  /*  !"#$%&'()*+,-./ */
    "4444444444355555"  /* 0123456789:;<=>? */
    "5444444444444444"  /* @ABCDEFGHIJKLMNO */
    "4444444444455544"  /* PQRSTUVWXYZ[\]^_ */
    "4444444444444444"  /* `abcdefghijklmno */
    "4444444444454540"; /* pqrstuvwxyz{|}~  */

static byte_class_t class_of(uint8_t c) {
  return c < 0x80 ? (byte_class_t)(ascii_classes[c] - '0') : OTHER;
}

/* RFC 8446, 5.1: a record with an alert or of a handshake, where HTTP should
 * begin. */
static bool is_tls(place_t place, uint8_t c) {
  return (place == BEFORE_REQUEST || place == BEFORE_STATUS) &&
         (c == 0x15 || c == 0x16);
}

/* How many of the bytes may go to llhttp. Fewer than `len` when the head ends
 * there, or when the next byte is at fault: then *failure is set. */
static size_t scan(uvws__head_t* head, const uint8_t* data, size_t len,
                   uvws__failure_t* failure) {
  const size_t left = head->max_bytes - head->n_bytes;
  const size_t end = len < left ? len : left;
  place_t place = head->place;
  const unsigned char* next = next_place[place];
  size_t n = 0;

  for (; n < end && place != END; n++) {
    const place_t to = next[class_of(data[n])];

    /* Most bytes change nothing: that is asked first. */
    if (to == place) continue;
    if (to == NOWHERE) {
      *failure = is_tls(place, data[n]) ? UVWS__FAIL_TLS_UNEXPECTED
                                        : UVWS__FAIL_HTTP_SYNTAX;
      break;
    }
    if (to == NAME && head->n_lines++ == head->max_fields) {
      *failure = UVWS__FAIL_HTTP_HEADER_COUNT;
      break;
    }
    place = to;
    next = next_place[place];
  }
  if (n == left && n < len && place != END)
    *failure = UVWS__FAIL_HTTP_HEAD_SIZE;
  head->place = place;
  head->n_bytes += n;
  return n;
}

static int append(llhttp_t* parser, const char* at, size_t len) {
  uvws__head_t* head = parser->data;

  if (len > head->text_size - head->text_len) {
    const size_t size = 2 * (head->text_len + len) + 256;
    char* text = uvws__realloc(head->text, size);

    head->no_memory = text == NULL;
    if (head->no_memory) return -1;
    head->text = text;
    head->text_size = size;
  }
  memcpy(head->text + head->text_len, at, len);
  head->text_len += len;
  return 0;
}

/* Ends the string that was being appended to; *offset is where it begins. */
static int finish(llhttp_t* parser, size_t* offset) {
  uvws__head_t* head = parser->data;

  *offset = head->begun;
  if (append(parser, "", 1) != 0) return -1;
  head->begun = head->text_len;
  return 0;
}

static int on_target_complete(llhttp_t* parser) {
  size_t offset;
  return finish(parser, &offset);
}

static int on_name_complete(llhttp_t* parser) {
  uvws__head_t* head = parser->data;
  return finish(parser, &head->name);
}

static bool ends_in_whitespace(const uvws__head_t* head) {
  const char last = head->text[head->text_len - 1];
  return last == ' ' || last == '\t';
}

static int on_value_complete(llhttp_t* parser) {
  uvws__head_t* head = parser->data;
  entry_t entry = {.name = head->name};

  /* RFC 9112, 5.1: the value is without the whitespace around it; llhttp has
   * passed over what precedes it. */
  while (head->text_len > head->begun && ends_in_whitespace(head))
    head->text_len--;
  if (finish(parser, &entry.value) != 0) return -1;

  if (head->n_entries == head->entries_size) {
    const unsigned size = 2 * head->entries_size + 8;
    entry_t* entries =
        uvws__realloc(head->entries, size * sizeof(head->entries[0]));

    head->no_memory = entries == NULL;
    if (head->no_memory) return -1;
    head->entries = entries;
    head->entries_size = size;
  }
  head->entries[head->n_entries++] = entry;
  return 0;
}

/* "No body, and what follows is not HTTP": llhttp then stops behind the empty
 * line with HPE_PAUSED_UPGRADE, whatever the headers say. */
static int on_head_complete(llhttp_t* parser) {
  (void)parser;
  return 2;
}

static const llhttp_settings_t settings = {
    .on_url = append,
    .on_url_complete = on_target_complete,
    .on_header_field = append,
    .on_header_field_complete = on_name_complete,
    .on_header_value = append,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head_complete,
};

static void begin(uvws__head_t* head) {
  const bool request = head->kind == UVWS__HEAD_REQUEST;

  llhttp_init(&head->parser, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
  head->parser.data = head;
  head->place = request ? BEFORE_REQUEST : BEFORE_STATUS;
  head->n_lines = 0;
  head->text_len = 0;
  head->begun = 0;
  head->n_entries = 0;
}

static bool is_about_body(llhttp_errno_t err) {
  return err == HPE_INVALID_CONTENT_LENGTH ||
         err == HPE_UNEXPECTED_CONTENT_LENGTH ||
         err == HPE_INVALID_TRANSFER_ENCODING;
}

static uvws__failure_t failure_of(const uvws__head_t* head,
                                  llhttp_errno_t err) {
  if (head->no_memory) return UVWS__FAIL_NO_MEMORY;
  if (!is_about_body(err)) return UVWS__FAIL_HTTP_SYNTAX;
  /* The body of a refusal is never read, so its framing is no matter. */
  return uvws__head_http_status(head) >= 200 ? UVWS__FAIL_HTTP_STATUS
                                             : UVWS__FAIL_HTTP_BODY;
}

/* llhttp has stopped then, and says so again each time: it need not go on. */
static bool is_ignored(const uvws__head_t* head, llhttp_errno_t err) {
  return head->kind == UVWS__HEAD_CONNECTED && is_about_body(err) &&
         uvws__head_http_status(head) / 100 == 2;
}

static uvws__failure_t parse(uvws__head_t* head, const char* data, size_t len) {
  const llhttp_errno_t err = llhttp_execute(&head->parser, data, len);

  if (is_ignored(head, err)) return UVWS__OK;
  if (err == HPE_OK && head->place != END) return UVWS__OK;
  if (err == HPE_PAUSED_UPGRADE && head->place == END &&
      llhttp_get_error_pos(&head->parser) == data + len)
    return UVWS__OK;
  return failure_of(head, err);
}

/* RFC 9110, 15.2: a client passes over interim responses; 101 is final. */
static bool is_interim(const uvws__head_t* head) {
  const unsigned status = uvws__head_http_status(head);
  return status >= 100 && status < 200 && status != 101;
}

uvws__head_t* uvws__head_new(uvws__head_kind_t kind, size_t max_bytes,
                             unsigned max_fields) {
  uvws__head_t* head = uvws__zalloc(sizeof(*head));
  if (head == NULL) return NULL;
  head->kind = kind;
  head->max_bytes = max_bytes;
  head->max_fields = max_fields;
  begin(head);
  return head;
}

void uvws__head_free(uvws__head_t* head) {
  if (head == NULL) return;
  uvws__free(head->entries);
  uvws__free(head->text);
  uvws__free(head);
}

uvws__head_status_t uvws__head_feed(uvws__head_t* head, const uint8_t* data,
                                    size_t len, size_t* used,
                                    uvws__failure_t* failure) {
  *used = 0;
  *failure = UVWS__OK;
  while (*used < len) {
    const uint8_t* from = data + *used;
    uvws__failure_t fault = UVWS__OK;
    const size_t n = scan(head, from, len - *used, &fault);

    *used += n;
    if (n > 0) *failure = parse(head, (const char*)from, n);
    if (*failure == UVWS__OK) *failure = fault;
    if (*failure != UVWS__OK) return UVWS__HEAD_FAILED;
    if (head->place == END && !is_interim(head)) return UVWS__HEAD_DONE;
    if (head->place == END) begin(head);
  }
  return UVWS__HEAD_MORE;
}

/* llhttp's getters take a parser that is not const, though they only read. */

const char* uvws__head_method(const uvws__head_t* head) {
  return llhttp_method_name((llhttp_method_t)head->parser.method);
}

const char* uvws__head_target(const uvws__head_t* head) {
  return head->text;
}

unsigned uvws__head_http_status(const uvws__head_t* head) {
  return head->parser.status_code;
}

bool uvws__head_is_http_1_1(const uvws__head_t* head) {
  return head->parser.http_major == 1 && head->parser.http_minor >= 1;
}

unsigned uvws__head_field_count(const uvws__head_t* head) {
  return head->n_entries;
}

uvws__field_t uvws__head_field_at(const uvws__head_t* head, unsigned index) {
  const entry_t entry = head->entries[index];
  return (uvws__field_t){head->text + entry.name, head->text + entry.value};
}

/* Most write a name as it was defined: that is the quicker question. */
static bool is_named(const uvws__head_t* head, entry_t entry, const char* name,
                     size_t len) {
  const char* own = head->text + entry.name;

  return entry.value - entry.name - 1 == len &&
         (memcmp(own, name, len) == 0 || uvws__matches_nocase(own, name, len));
}

const char* uvws__head_field(const uvws__head_t* head, const char* name,
                             unsigned* index) {
  const size_t len = strlen(name);

  for (unsigned i = index != NULL ? *index : 0; i < head->n_entries; i++) {
    if (!is_named(head, head->entries[i], name, len)) continue;
    if (index != NULL) *index = i + 1;
    return head->text + head->entries[i].value;
  }
  if (index != NULL) *index = head->n_entries;
  return NULL;
}
