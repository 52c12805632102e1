/* A host is an IPv6 address if it opens with a bracket, else a domain, and a
 * domain whose last label is a number must be an IPv4 address. That last rule
 * is the security-relevant one: 0x7f.1 is 127.0.0.1 here before anyone checks
 * or resolves it, and never a name.
 *
 * What is serialised is what was checked: every byte of a domain has been
 * percent-decoded, lowered and found neither forbidden nor beyond ASCII, every
 * address is written anew from its value. Domains beyond ASCII would need IDNA,
 * whose tables are the caller's to bring; labels in punycode pass. */

#include "protocol/host.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define IPV4_PARTS  4
#define IPV6_PIECES 8

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* The value of an ASCII hex digit, -1 for anything else. */
static int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

size_t uvws__percent_decode(char* out, const char* in, size_t len) {
  size_t n = 0;

  for (size_t i = 0; i < len; i++) {
    int high = -1;
    int low = -1;

    if (in[i] == '%' && len - i > 2) {
      high = hex_value(in[i + 1]);
      low = hex_value(in[i + 2]);
    }
    if (high >= 0 && low >= 0 && high + low > 0) {
      out[n++] = (char)(high << 4 | low);
      i += 2;
    } else {
      out[n++] = in[i];
    }
  }
  return n;
}

/* URL, 3.5, IPv4 number parser. A value too large for any address becomes
 * UINT32_MAX + 1, so that the number of digits is not bounded. */
static bool parse_ipv4_number(uint64_t* value, const char* s, size_t len) {
  int radix = 10;

  if (len == 0) return false;
  if (len >= 2 && s[0] == '0') {
    radix = s[1] == 'x' ? 16 : 8;
    s += radix == 16 ? 2 : 1;
    len -= radix == 16 ? 2 : 1;
  }

  *value = 0; /* also that of a mere "0x" */
  for (size_t i = 0; i < len; i++) {
    int digit = hex_value(s[i]);
    if (digit < 0 || digit >= radix) return false;
    *value = *value * (uint64_t)radix + (uint64_t)digit;
    if (*value > UINT32_MAX) *value = (uint64_t)UINT32_MAX + 1;
  }
  return true;
}

/* URL, 3.5, ends-in-a-number checker; the trailing dot is already gone. */
static bool ends_in_number(const char* s, size_t len) {
  size_t start = len;
  size_t digits = len;
  uint64_t ignored;

  while (start > 0 && s[start - 1] != '.') start--;
  while (digits > start && is_digit(s[digits - 1])) digits--;
  /* All digits suffice, even those that are no number, such as "09". */
  if (start < len && digits == start) return true;
  return parse_ipv4_number(&ignored, s + start, len - start);
}

/* URL, 3.5, IPv4 parser: one to four numbers, of which the last fills all the
 * bytes that the others leave. */
static bool parse_ipv4(uint32_t* address, const char* s, size_t len) {
  uint64_t part[IPV4_PARTS];
  size_t n = 0;
  size_t start = 0;

  for (size_t i = 0; i <= len; i++) {
    if (i < len && s[i] != '.') continue;
    if (n == IPV4_PARTS) return false;
    if (!parse_ipv4_number(&part[n++], s + start, i - start)) return false;
    start = i + 1;
  }

  n--;
  if (part[n] >> (8 * (IPV4_PARTS - n)) != 0) return false;
  *address = (uint32_t)part[n];
  for (size_t i = 0; i < n; i++) {
    if (part[i] > 255) return false;
    *address |= (uint32_t)part[i] << (8 * (IPV4_PARTS - 1 - i));
  }
  return true;
}

/* The dotted tail of an IPv6 address: four decimal bytes and nothing else. */
static bool parse_ipv6_tail(uint16_t pieces[2], const char* s, size_t len) {
  size_t i = 0;

  for (unsigned part = 0; part < IPV4_PARTS; part++) {
    unsigned value = 0;
    size_t start;

    if (part > 0 && (i == len || s[i++] != '.')) return false;
    for (start = i; i < len && is_digit(s[i]); i++) {
      /* URL, 3.5, IPv6 parser: no leading zeros. */
      if (i > start && value == 0) return false;
      value = value * 10 + (unsigned)(s[i] - '0');
      if (value > 255) return false;
    }
    if (i == start) return false;
    pieces[part / 2] = (uint16_t)(pieces[part / 2] << 8 | value);
  }
  return i == len;
}

/* URL, 3.5, IPv6 parser; `s` is what stands between the brackets. A zone id has
 * no place in its grammar. */
static bool parse_ipv6(uint16_t pieces[IPV6_PIECES], const char* s,
                       size_t len) {
  size_t n = 0;
  size_t gap = 0; /* where "::" ends, counting it as one piece; 0 for none */
  size_t i = 0;

  memset(pieces, 0, IPV6_PIECES * sizeof(*pieces));
  if (len > 0 && s[0] == ':') {
    if (len == 1 || s[1] != ':') return false;
    i = 2;
    gap = ++n;
  }

  while (i < len) {
    const size_t start = i;
    unsigned value = 0;

    if (n == IPV6_PIECES) return false;
    if (s[i] == ':') {
      if (gap != 0) return false;
      i++;
      gap = ++n;
      continue;
    }

    for (; i < len && i - start < 4 && hex_value(s[i]) >= 0; i++)
      value = value << 4 | (unsigned)hex_value(s[i]);
    if (i < len && s[i] == '.') {
      if (n > IPV6_PIECES - 2) return false;
      if (!parse_ipv6_tail(pieces + n, s + start, len - start)) return false;
      n += 2;
      break;
    }

    if (i < len && (s[i++] != ':' || i == len)) return false;
    pieces[n++] = (uint16_t)value;
  }

  if (gap == 0) return n == IPV6_PIECES;
  /* The gap widens until what follows it stands at the end. */
  memmove(pieces + IPV6_PIECES - (n - gap), pieces + gap,
          (n - gap) * sizeof(*pieces));
  memset(pieces + gap, 0, (IPV6_PIECES - n) * sizeof(*pieces));
  return true;
}

/* URL, 3.6, IPv6 serializer: the first longest run of two or more zero pieces
 * becomes "::". */
static size_t write_ipv6(char* out, const uint16_t pieces[IPV6_PIECES]) {
  size_t gap = 0;
  size_t gap_len = 1;
  size_t n = 0;

  for (size_t i = 0, run = 0; i < IPV6_PIECES; i++) {
    run = pieces[i] == 0 ? run + 1 : 0;
    if (run <= gap_len) continue;
    gap_len = run;
    gap = i + 1 - run;
  }

  out[n++] = '[';
  for (size_t i = 0; i < IPV6_PIECES; i++) {
    if (gap_len > 1 && i == gap) {
      if (i == 0) out[n++] = ':';
      out[n++] = ':';
      i += gap_len - 1;
      continue;
    }
    n += (size_t)snprintf(out + n, UVWS__HOST_EXTRA - n, "%x", pieces[i]);
    if (i < IPV6_PIECES - 1) out[n++] = ':';
  }
  out[n++] = ']';
  return n;
}

/* URL, 3.3, domain to ASCII for a domain that is ASCII: lowercase; then the
 * forbidden domain code points of 3.2. */
static uvws__url_status_t check_domain(char* s, size_t len) {
  for (size_t i = 0; i < len; i++) {
    const unsigned char c = (unsigned char)s[i];
    if (c >= 0x80) return UVWS__URL_NON_ASCII_HOST;
    if (c <= 0x20 || c == 0x7f) return UVWS__URL_SYNTAX;
    if (strchr("#%/:<>?@[\\]^|", c) != NULL) return UVWS__URL_SYNTAX;
    if (c >= 'A' && c <= 'Z') s[i] = (char)(c + ('a' - 'A'));
  }
  return UVWS__URL_OK;
}

uvws__url_status_t uvws__host_parse(char* out, size_t* out_len, const char* in,
                                    size_t len) {
  uvws__url_status_t status;
  uint16_t pieces[IPV6_PIECES];
  uint32_t address;
  size_t n;
  size_t labels;

  /* URL, 4.4, host state: a special scheme has a host. */
  if (len == 0) return UVWS__URL_SYNTAX;

  if (in[0] == '[') {
    if (in[len - 1] != ']') return UVWS__URL_SYNTAX;
    if (!parse_ipv6(pieces, in + 1, len - 2)) return UVWS__URL_SYNTAX;
    n = write_ipv6(out, pieces);
  } else {
    n = uvws__percent_decode(out, in, len);
    status = check_domain(out, n);
    if (status != UVWS__URL_OK) return status;

    labels = out[n - 1] == '.' ? n - 1 : n;
    if (ends_in_number(out, labels)) {
      if (!parse_ipv4(&address, out, labels)) return UVWS__URL_SYNTAX;
      n = (size_t)snprintf(
          out, UVWS__HOST_EXTRA, "%u.%u.%u.%u", (unsigned)(address >> 24),
          (unsigned)(address >> 16 & 255), (unsigned)(address >> 8 & 255),
          (unsigned)(address & 255));
    }
  }

  out[n] = '\0';
  *out_len = n;
  return UVWS__URL_OK;
}
