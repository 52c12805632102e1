/* The basic URL parser of the WHATWG URL standard, cut down to what can come
 * out of the WebSocket constructor: absolute URLs with a special scheme and
 * without a fragment. For those the standard's state machine comes down to
 * splitting at delimiters:
 *
 *   input -> text, decoded and stripped -> parts, spans of the text
 *         -> one block with every string of uvws__url_t
 *
 * Each step goes over its input a fixed number of times and writes at most nine
 * bytes for one, so time and memory are linear. A string remembers that memory
 * ran out and ignores what is appended from then on: only the ends of the steps
 * ask. */

#include "protocol/url.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "protocol/host.h"

typedef struct string_s {
  char* data;
  size_t len;
  size_t capacity;
  bool failed;
} string_t;

typedef struct span_s {
  const char* at;
  size_t len;
} span_t;

typedef struct parts_s {
  bool secure;
  uint16_t default_port;
  uint16_t port;
  span_t username; /* as written, that is percent-encoded */
  span_t password;
  span_t host;
  span_t path;
  span_t query; /* with its "?"; empty when there is none */
} parts_t;

/* The memory of a uvws__url_t: its strings, and where they start. The first is
 * origin_host; `target` is the tail of `href`. */
typedef struct block_s {
  string_t strings;
  size_t host;
  size_t authority;
  size_t username;
  size_t password;
  size_t href;
  size_t target;
} block_t;

static const struct {
  const char* name;
  uint16_t port;
  bool secure;
} schemes[] = {
    {"ws:", 80, false},
    {"wss:", 443, true},
    {"http:", 80, false},
    {"https:", 443, true},
};

/* URL, 1.3: what a percent-encode set has beyond the C0 control set. */
#define SPECIAL_QUERY_SET " \"#<>'"
#define PATH_SET          " \"#<>?^`{}"
#define USERINFO_SET      PATH_SET "/:;=@[\\]|"

/* Where to write `more` bytes; NULL when memory has run out. There is always a
 * byte to spare, so that even an empty string has data. */
static char* reserve(string_t* s, size_t more) {
  if (!s->failed && more >= s->capacity - s->len) {
    const bool fits = more < SIZE_MAX / 4 && s->len < SIZE_MAX / 4;
    const size_t capacity = fits ? 2 * (s->len + more) + 1 : 0;
    char* data = fits ? uvws__realloc(s->data, capacity) : NULL;

    s->failed = data == NULL;
    if (!s->failed) {
      s->data = data;
      s->capacity = capacity;
    }
  }
  return s->failed ? NULL : s->data + s->len;
}

static void append(string_t* s, const char* bytes, size_t len) {
  char* to = reserve(s, len);
  if (to == NULL) return;
  memcpy(to, bytes, len);
  s->len += len;
}

/* The same for bytes of the string itself, which may move. */
static void append_again(string_t* s, size_t from, size_t len) {
  char* to = reserve(s, len);
  if (to == NULL) return;
  memcpy(to, s->data + from, len);
  s->len += len;
}

/* Ends one C string; returns where the next one starts. */
static size_t end_string(string_t* s) {
  append(s, "", 1);
  return s->len;
}

/* Never asked for a NUL, which is in every set. */
static bool is_one_of(char c, const char* set) {
  return strchr(set, c) != NULL;
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* How many bytes stand before the first of `set`. */
static size_t length_before(span_t s, const char* set) {
  size_t n = 0;
  while (n < s.len && !is_one_of(s.at[n], set)) n++;
  return n;
}

static span_t take(span_t* rest, size_t len) {
  const span_t head = {rest->at, len};
  rest->at += len;
  rest->len -= len;
  return head;
}

/* Encoding standard, UTF-8 decoder: the length of the code point at `in`, or,
 * when it is ill-formed, of what one U+FFFD stands for. */
static size_t code_point_length(const uint8_t* in, size_t len, bool* valid) {
  const uint8_t lead = in[0];
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  size_t need = 0;
  size_t n = 1;

  if (lead < 0x80)
    need = 1;
  else if (lead >= 0xc2 && lead < 0xe0)
    need = 2;
  else if (lead >= 0xe0 && lead < 0xf0)
    need = 3;
  else if (lead >= 0xf0 && lead < 0xf5)
    need = 4;

  while (n < need && n < len && in[n] >= low && in[n] <= high) {
    n++;
    low = 0x80;
    high = 0xbf;
  }
  *valid = n == need;
  return n;
}

/* URL, 4.4, basic URL parser, 1 and 3: C0 controls and spaces go from both
 * ends, tabs and newlines from everywhere. A NUL within is escaped here, as it
 * will be wherever it may stand: the text can then do without any. */
static void append_input(string_t* s, const char* input, size_t len) {
  const uint8_t* in = (const uint8_t*)input;

  while (len > 0 && in[len - 1] <= ' ') len--;
  for (; len > 0 && in[0] <= ' '; len--) in++;

  reserve(s, len);
  while (len > 0) {
    bool valid;
    const size_t n = code_point_length(in, len, &valid);

    if (!valid)
      append(s, "\xef\xbf\xbd", 3);
    else if (in[0] == '\0')
      append(s, "%00", 3);
    else if (!is_one_of((char)in[0], "\t\n\r"))
      append(s, (const char*)in, n);
    in += n;
    len -= n;
  }
}

/* URL, 4.4, scheme state; WebSockets, 3.1: only these schemes. */
static bool take_scheme(span_t* rest, parts_t* parts) {
  for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
    const char* name = schemes[i].name;
    size_t n = 0;

    while (n < rest->len && name[n] != '\0' && lower(rest->at[n]) == name[n])
      n++;
    if (name[n] != '\0') continue;

    take(rest, n);
    parts->default_port = schemes[i].port;
    parts->port = schemes[i].port;
    parts->secure = schemes[i].secure;
    return true;
  }
  return false;
}

/* URL, 4.4, authority state: the last "@" ends the userinfo, and its first ":"
 * the username. */
static void take_userinfo(span_t* authority, parts_t* parts) {
  span_t userinfo = {authority->at, 0};
  size_t n = authority->len;

  while (n > 0 && authority->at[n - 1] != '@') n--;
  if (n > 0) {
    userinfo = take(authority, n);
    userinfo.len--;
  }
  parts->username = take(&userinfo, length_before(userinfo, ":"));
  if (userinfo.len > 0) take(&userinfo, 1);
  parts->password = userinfo;
}

/* URL, 4.4, host state: a ":" within brackets belongs to the address. */
static span_t take_host(span_t* authority) {
  bool bracketed = false;
  size_t n = 0;

  for (; n < authority->len; n++) {
    const char c = authority->at[n];
    if (c == ':' && !bracketed) break;
    if (c == '[') bracketed = true;
    if (c == ']') bracketed = false;
  }
  return take(authority, n);
}

/* URL, 4.4, port state: ":" alone leaves the default port. */
static bool parse_port(span_t rest, uint16_t* port) {
  uint32_t value = 0;

  if (rest.len < 2) return true;
  for (size_t i = 1; i < rest.len; i++) {
    if (rest.at[i] < '0' || rest.at[i] > '9') return false;
    value = value * 10 + (uint32_t)(rest.at[i] - '0');
    if (value > UINT16_MAX) return false;
  }
  *port = (uint16_t)value;
  return true;
}

static bool split(parts_t* parts, span_t rest) {
  span_t authority;

  /* WebSockets, 3.1: a fragment, even an empty one, is a SyntaxError. */
  if (length_before(rest, "#") < rest.len) return false;
  if (!take_scheme(&rest, parts)) return false;

  /* URL, 4.4, special authority ignore slashes state: any number of slashes,
   * of either kind, opens the authority; so does none. */
  while (rest.len > 0 && is_one_of(rest.at[0], "/\\")) take(&rest, 1);
  authority = take(&rest, length_before(rest, "/\\?"));
  parts->path = take(&rest, length_before(rest, "?"));
  parts->query = rest;

  take_userinfo(&authority, parts);
  parts->host = take_host(&authority);
  return parse_port(authority, &parts->port);
}

static void append_encoded(string_t* s, span_t part, const char* set) {
  static const char hex[] = "0123456789ABCDEF";

  for (size_t i = 0; i < part.len; i++) {
    const uint8_t c = (uint8_t)part.at[i];
    const char escape[] = {'%', hex[c >> 4], hex[c & 15]};

    /* URL, 1.3, C0 control percent-encode set: below " " and above "~". */
    if (c < ' ' || c > '~' || is_one_of((char)c, set))
      append(s, escape, sizeof(escape));
    else
      append(s, part.at + i, 1);
  }
}

static void append_decoded(string_t* s, span_t part) {
  char* to = reserve(s, part.len);
  if (to != NULL) s->len += uvws__percent_decode(to, part.at, part.len);
}

/* How many dots the segment consists of; 0 when there is anything else. URL,
 * single-dot and double-dot URL path segments: "%2e" is a dot too. */
static size_t count_dots(span_t segment) {
  size_t dots = 0;

  for (; segment.len > 0; dots++) {
    const char* at = segment.at;

    if (at[0] == '.')
      take(&segment, 1);
    else if (segment.len > 2 && at[0] == '%' && at[1] == '2' &&
             lower(at[2]) == 'e')
      take(&segment, 3);
    else
      return 0;
  }
  return dots;
}

/* URL, 4.4, path state. */
static void append_path(string_t* s, span_t path) {
  const size_t root = s->len;

  do {
    span_t segment;
    size_t dots;

    if (path.len > 0) take(&path, 1); /* the slash, of either kind */
    segment = take(&path, length_before(path, "/\\"));
    dots = count_dots(segment);
    if (dots == 2)
      while (s->len > root && s->data[--s->len] != '/') continue;
    if (dots != 1 && dots != 2) {
      append(s, "/", 1);
      append_encoded(s, segment, PATH_SET);
    } else if (path.len == 0) {
      append(s, "/", 1); /* dots at the end leave an empty segment there */
    }
  } while (path.len > 0);
}

/* URL, 4.5, URL serializer, up to the host. */
static void append_before_host(string_t* s, const parts_t* parts) {
  if (parts->secure)
    append(s, "wss://", 6);
  else
    append(s, "ws://", 5);

  if (parts->username.len == 0 && parts->password.len == 0) return;
  append_encoded(s, parts->username, USERINFO_SET);
  if (parts->password.len > 0) append(s, ":", 1);
  append_encoded(s, parts->password, USERINFO_SET);
  append(s, "@", 1);
}

/* URL, 4.4, port state: the port unless it is the scheme's default. */
static void append_port(string_t* s, const parts_t* parts) {
  char port[sizeof(":65535")];

  if (parts->port == parts->default_port) return;
  snprintf(port, sizeof(port), ":%u", (unsigned)parts->port);
  append(s, port, strlen(port));
}

static uvws__url_status_t write_host(block_t* block, const parts_t* parts) {
  string_t* s = &block->strings;
  const span_t in = parts->host;
  char* out = reserve(s, in.len + UVWS__HOST_EXTRA);
  uvws__url_status_t status;
  size_t brackets;
  size_t len;

  if (out == NULL) return UVWS__URL_NO_MEMORY;
  status = uvws__host_parse(out, &len, in.at, in.len);
  if (status != UVWS__URL_OK) return status;
  brackets = out[0] == '[' ? 1 : 0;
  s->len = len;

  block->host = end_string(s);
  append_again(s, brackets, len - 2 * brackets);

  block->authority = end_string(s);
  append_again(s, 0, len);
  append_port(s, parts);
  return UVWS__URL_OK;
}

static void write_rest(block_t* block, const parts_t* parts) {
  string_t* s = &block->strings;
  const size_t authority_len = s->len - block->authority;

  block->username = end_string(s);
  append_decoded(s, parts->username);
  block->password = end_string(s);
  append_decoded(s, parts->password);

  block->href = end_string(s);
  append_before_host(s, parts);
  append_again(s, block->authority, authority_len);
  block->target = s->len;
  append_path(s, parts->path);
  append_encoded(s, parts->query, SPECIAL_QUERY_SET);
  end_string(s);
}

static uvws__url_status_t build(uvws__url_t* url, const parts_t* parts) {
  block_t block = {.strings = {NULL, 0, 0, false}};
  uvws__url_status_t status = write_host(&block, parts);
  char* base;

  if (status == UVWS__URL_OK) {
    write_rest(&block, parts);
    if (block.strings.failed) status = UVWS__URL_NO_MEMORY;
  }
  base = block.strings.data;
  if (status != UVWS__URL_OK) {
    uvws__free(base);
    return status;
  }

  url->memory = base;
  url->origin_host = base;
  url->host = base + block.host;
  url->authority = base + block.authority;
  url->username = base + block.username;
  url->password = base + block.password;
  url->href = base + block.href;
  url->target = base + block.target;
  url->port = parts->port;
  url->secure = parts->secure;
  url->has_userinfo = parts->username.len > 0 || parts->password.len > 0;
  return UVWS__URL_OK;
}

uvws__url_status_t uvws__url_parse(uvws__url_t* url, const char* input,
                                   size_t len) {
  uvws__url_status_t status = UVWS__URL_NO_MEMORY;
  string_t text = {NULL, 0, 0, false};
  parts_t parts;

  memset(url, 0, sizeof(*url));
  append_input(&text, input, len);
  if (!text.failed) {
    status = UVWS__URL_SYNTAX;
    if (split(&parts, (span_t){text.data, text.len}))
      status = build(url, &parts);
  }
  uvws__free(text.data);
  return status;
}

void uvws__url_clear(uvws__url_t* url) {
  uvws__free(url->memory);
  memset(url, 0, sizeof(*url));
}

/* Fetch, 2.9, port blocking. */
bool uvws__port_is_blocked(uint16_t port) {
  static const uint16_t bad[] = {
      0,    1,    7,    9,    11,   13,   15,   17,   19,   20,   21,   22,
      23,   25,   37,   42,   43,   53,   69,   77,   79,   87,   95,   101,
      102,  103,  104,  109,  110,  111,  113,  115,  117,  119,  123,  135,
      137,  139,  143,  161,  179,  389,  427,  465,  512,  513,  514,  515,
      526,  530,  531,  532,  540,  548,  554,  556,  563,  587,  601,  636,
      989,  990,  993,  995,  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
      5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080};

  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    if (port == bad[i]) return true;
  return false;
}
