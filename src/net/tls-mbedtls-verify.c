/* The verdict on a peer's certificate. mbedTLS builds the chain and judges it;
 * here its flags become ours, names that are IP addresses are compared, which
 * 2.28 cannot, the user's hook has its word, and all becomes a sentence. */

#include <stdio.h>
#include <string.h>

#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>

#include "alloc.h"
#include "net/tls-mbedtls.h"
#include "uvws.h"

#if UVWS__MBEDTLS_2
#define sha256 mbedtls_sha256_ret
#else
#define sha256 mbedtls_sha256
#endif

/* mbedTLS's flag, ours. Whatever is not here is UVWS_CERT_OTHER. */
static const struct {
  uint32_t theirs;
  uint32_t ours;
} flags_map[] = {
    {MBEDTLS_X509_BADCERT_EXPIRED, UVWS_CERT_EXPIRED},
    {MBEDTLS_X509_BADCERT_FUTURE, UVWS_CERT_NOT_YET_VALID},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, UVWS_CERT_WRONG_HOST},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, UVWS_CERT_UNKNOWN_ISSUER},
    {MBEDTLS_X509_BADCERT_REVOKED, UVWS_CERT_REVOKED},
    {MBEDTLS_X509_BADCERT_BAD_MD, UVWS_CERT_WEAK_HASH},
    {MBEDTLS_X509_BADCERT_BAD_PK, UVWS_CERT_WEAK_KEY},
    {MBEDTLS_X509_BADCERT_BAD_KEY, UVWS_CERT_WEAK_KEY},
    {MBEDTLS_X509_BADCERT_KEY_USAGE, UVWS_CERT_WRONG_USAGE},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, UVWS_CERT_WRONG_USAGE},
    {MBEDTLS_X509_BADCERT_NS_CERT_TYPE, UVWS_CERT_WRONG_USAGE},
    {MBEDTLS_X509_BADCERT_MISSING, UVWS_CERT_MISSING},
    {MBEDTLS_X509_BADCRL_NOT_TRUSTED, UVWS_CERT_BAD_CRL},
    {MBEDTLS_X509_BADCRL_EXPIRED, UVWS_CERT_BAD_CRL},
    {MBEDTLS_X509_BADCRL_FUTURE, UVWS_CERT_BAD_CRL},
    {MBEDTLS_X509_BADCRL_BAD_MD, UVWS_CERT_BAD_CRL},
    {MBEDTLS_X509_BADCRL_BAD_PK, UVWS_CERT_BAD_CRL},
    {MBEDTLS_X509_BADCRL_BAD_KEY, UVWS_CERT_BAD_CRL},
};

static uint32_t our_flags(uint32_t theirs) {
  uint32_t ours = 0;
  for (size_t i = 0; i < sizeof(flags_map) / sizeof(flags_map[0]); i++) {
    if (theirs & flags_map[i].theirs) ours |= flags_map[i].ours;
    theirs &= ~flags_map[i].theirs;
  }
  return theirs != 0 ? ours | UVWS_CERT_OTHER : ours;
}

/* ---- names ---- */

static unsigned kind_of(const mbedtls_x509_sequence* name) {
  return (unsigned)name->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
}

static bool has_alt_names(const mbedtls_x509_crt* crt) {
  return crt->subject_alt_names.buf.p != NULL;
}

static bool equals_lower(const uint8_t* a, const char* b, size_t len) {
  for (size_t i = 0; i < len; i++) {
    unsigned x = a[i], y = (unsigned char)b[i];
    if (x - 'A' < 26) x |= 0x20;
    if (y - 'A' < 26) y |= 0x20;
    if (x != y) return false;
  }
  return true;
}

/* RFC 6125, 6.4.3: a wildcard is the whole leftmost label and stands for one.
 */
static bool matches(const uint8_t* pattern, size_t len, const char* name) {
  size_t name_len = strlen(name);
  if (len > 2 && pattern[0] == '*' && pattern[1] == '.') {
    const char* dot = strchr(name, '.');
    if (dot == NULL || dot == name) return false;
    pattern++;
    len--;
    name_len -= (size_t)(dot - name);
    name = dot;
  }
  return len == name_len && equals_lower(pattern, name, len);
}

static const mbedtls_x509_buf* common_name(const mbedtls_x509_name* name) {
  for (; name != NULL; name = name->next)
    if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &name->oid) == 0) return &name->val;
  return NULL;
}

bool uvws__tls_names(const mbedtls_x509_crt* crt, const char* name) {
  if (!has_alt_names(crt)) {
    const mbedtls_x509_buf* cn = common_name(&crt->subject);
    return cn != NULL && matches(cn->p, cn->len, name);
  }
  const mbedtls_x509_sequence* alt = &crt->subject_alt_names;
  for (; alt != NULL; alt = alt->next)
    if (kind_of(alt) == MBEDTLS_X509_SAN_DNS_NAME &&
        matches(alt->buf.p, alt->buf.len, name))
      return true;
  return false;
}

/* RFC 2818, 3.1: an address must be among the alternative names. */
static bool names_address(const mbedtls_x509_crt* crt, const uint8_t* address,
                          size_t len) {
  const mbedtls_x509_sequence* alt = &crt->subject_alt_names;
  if (!has_alt_names(crt)) return false;
  for (; alt != NULL; alt = alt->next)
    if (kind_of(alt) == MBEDTLS_X509_SAN_IP_ADDRESS && alt->buf.len == len &&
        memcmp(alt->buf.p, address, len) == 0)
      return true;
  return false;
}

/* ---- words ---- */

typedef struct words_s {
  char text[512];
  size_t len;
} words_t;

static void say(words_t* words, const char* text) {
  size_t len = strlen(text);
  if (len > sizeof(words->text) - 1 - words->len)
    len = sizeof(words->text) - 1 - words->len;
  memcpy(words->text + words->len, text, len);
  words->len += len;
  words->text[words->len] = '\0';
}

/* What the peer wrote may hold anything. */
static void say_foreign(words_t* words, const uint8_t* text, size_t len) {
  char one[2] = {0, 0};
  for (size_t i = 0; i < len && i < 100; i++) {
    one[0] = (char)text[i];
    if (text[i] < 0x20 || text[i] >= 0x7F) one[0] = '?';
    say(words, one);
  }
}

static void say_date(words_t* words, const mbedtls_x509_time* at) {
  char date[48];
  snprintf(date, sizeof(date), "%04d-%02d-%02d", at->year, at->mon, at->day);
  say(words, date);
}

static void say_address(words_t* words, const mbedtls_x509_buf* buf) {
  char text[48] = "?";
  uv_inet_ntop(buf->len == 4 ? AF_INET : AF_INET6, buf->p, text, sizeof(text));
  say(words, text);
}

/* The names that a certificate is for: a few of them. */
static void say_names(words_t* words, const mbedtls_x509_crt* crt) {
  const mbedtls_x509_sequence* alt = &crt->subject_alt_names;
  const mbedtls_x509_buf* cn = common_name(&crt->subject);
  unsigned said = 0, n = 0;
  for (; alt != NULL && has_alt_names(crt); alt = alt->next) {
    unsigned kind = kind_of(alt);
    bool is_address =
        kind == MBEDTLS_X509_SAN_IP_ADDRESS && alt->buf.len % 12 == 4;
    if (kind != MBEDTLS_X509_SAN_DNS_NAME && !is_address) continue;
    if (n++ >= 4) continue;
    if (said++ > 0) say(words, ", ");
    if (is_address)
      say_address(words, &alt->buf);
    else
      say_foreign(words, alt->buf.p, alt->buf.len);
  }
  if (n > said) say(words, " …");
  if (n > 0) return;
  if (cn != NULL)
    say_foreign(words, cn->p, cn->len);
  else
    say(words, "no host");
}

/* Which of the chain has expired, or begins in the future. */
static const mbedtls_x509_crt* outdated(const uvws__tls_t* tls, bool past) {
  for (unsigned i = 0; i < tls->n_chain; i++) {
    const mbedtls_x509_crt* crt = tls->chain[i];
    if (past ? mbedtls_x509_time_is_past(&crt->valid_to)
             : mbedtls_x509_time_is_future(&crt->valid_from))
      return crt;
  }
  return tls->chain[0];
}

static void say_issuer(words_t* words, const mbedtls_x509_crt* last) {
  if (last->issuer_raw.len == last->subject_raw.len &&
      memcmp(last->issuer_raw.p, last->subject_raw.p, last->issuer_raw.len) ==
          0) {
    say(words, " (self-signed)");
    return;
  }
  const mbedtls_x509_buf* cn = common_name(&last->issuer);
  if (cn == NULL) return;
  say(words, " (");
  say_foreign(words, cn->p, cn->len);
  say(words, ")");
}

static void say_detail(words_t* words, const uvws__tls_t* tls, uint32_t flag) {
  switch (flag) {
    case UVWS_CERT_EXPIRED:
      say(words, " (on ");
      say_date(words, &outdated(tls, true)->valid_to);
      say(words, ")");
      break;
    case UVWS_CERT_NOT_YET_VALID:
      say(words, " (before ");
      say_date(words, &outdated(tls, false)->valid_from);
      say(words, ")");
      break;
    case UVWS_CERT_WRONG_HOST:
      say(words, " (");
      say_names(words, tls->chain[0]);
      say(words, ") and not for ");
      say_foreign(words, (const uint8_t*)tls->host, strlen(tls->host));
      break;
    case UVWS_CERT_UNKNOWN_ISSUER:
      say_issuer(words, tls->chain[tls->n_chain - 1]);
      break;
    default: break;
  }
}

static char* in_words(const uvws__tls_t* tls, uint32_t flags) {
  static const struct {
    uint32_t flag;
    const char* text;
  } verdicts[] = {
#define X(name, value, text) {value, text},
    UVWS_CERT_MAP(X)
#undef X
  };
  words_t words = {.len = 0};
  say(&words, "the peer's certificate ");
  size_t start = words.len;
  for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
    if (!(flags & verdicts[i].flag)) continue;
    if (words.len > start) say(&words, ", ");
    say(&words, verdicts[i].text);
    say_detail(&words, tls, verdicts[i].flag);
  }
  return uvws__strndup(words.text, words.len);
}

/* ---- the verdict ---- */

static uv_buf_t buf_of(const mbedtls_x509_buf* buf) {
  return uv_buf_init((char*)buf->p, (unsigned)buf->len);
}

static uint32_t ask_hook(uvws__tls_t* tls, uint32_t flags) {
  uv_buf_t chain[UVWS__TLS_CHAIN_MAX];
  const mbedtls_x509_crt* own = tls->chain[0];
  for (unsigned i = 0; i < tls->n_chain; i++)
    chain[i] = buf_of(&tls->chain[i]->raw);
  uvws_tls_verify_t verify = {
      .host = tls->is_server ? NULL : tls->host,
      .flags = flags,
      .n_chain = tls->n_chain,
      .chain = chain,
      .public_key = buf_of(&own->pk_raw),
  };
  if (sha256(own->pk_raw.p, own->pk_raw.len, verify.public_key_sha256, 0) != 0)
    return flags | UVWS_CERT_OTHER;
  return tls->config->verify(&verify, tls->config->arg);
}

/* mbedTLS looks at this only after the callback, and not at all when a server
 * asks without requiring. */
static bool is_meant_for(const mbedtls_x509_crt* crt, bool client) {
  const char* use = client ? MBEDTLS_OID_CLIENT_AUTH : MBEDTLS_OID_SERVER_AUTH;
  size_t len = client ? MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)
                      : MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH);
  return mbedtls_x509_crt_check_key_usage(
             crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) == 0 &&
         mbedtls_x509_crt_check_extended_key_usage(crt, use, len) == 0;
}

static int judge(uvws__tls_t* tls, uint32_t* their_flags) {
  struct uvws_tls_s* config = tls->config;
  if (tls->address_len > 0 &&
      !names_address(tls->chain[0], tls->address, tls->address_len))
    *their_flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  if (!is_meant_for(tls->chain[0], tls->is_server))
    *their_flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
  /* mbedTLS passes over a certificate that it cannot read, and judges nothing.
   */
  bool is_there = tls->chain[0]->raw.p != NULL;
  uint32_t flags = is_there ? our_flags(*their_flags) : UVWS_CERT_OTHER;
  bool goes_on = config->insecure && !tls->is_server;
  bool is_asked = config->verify != NULL && !goes_on && is_there;
  /* Nor would mbedTLS accept one of the wrong usage if the hook did. */
  if (is_asked) flags = ask_hook(tls, flags) | (flags & UVWS_CERT_WRONG_USAGE);
  tls->result->flags = flags;
  if (flags == 0)
    *their_flags = 0;
  else if (*their_flags == 0)
    *their_flags = MBEDTLS_X509_BADCERT_OTHER;
  if (flags == 0 || goes_on) return 0;
  uvws__free(tls->result->text);
  tls->result->text = in_words(tls, flags);
  /* A server that asks without requiring would go on by itself. */
  return tls->is_server ? MBEDTLS_ERR_X509_FATAL_ERROR : 0;
}

/* mbedTLS calls this for each certificate of the chain, the peer's own last.
 * What is wrong with any is held back until then. */
int uvws__tls_verify(void* data, mbedtls_x509_crt* crt, int depth,
                     uint32_t* flags) {
  uvws__tls_t* tls = data;
  if (tls->n_chain == 0) tls->n_chain = (unsigned)depth + 1;
  if ((unsigned)depth >= UVWS__TLS_CHAIN_MAX)
    return MBEDTLS_ERR_X509_FATAL_ERROR;
  tls->chain[depth] = crt;
  tls->engine_flags |= *flags;
  *flags = 0;
  if (depth > 0) return 0;
  *flags = tls->engine_flags;
  int status = judge(tls, flags);
  tls->n_chain = 0;
  tls->engine_flags = 0;
  return status;
}
