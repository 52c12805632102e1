/* A connection's TLS. mbedTLS asks for input and hands out output by callbacks,
 * which never block: input is what was fed, and output that cannot go now stays
 * in mbedTLS's own buffer, from which it is sent in the end.
 *
 * Traps lie in mbedtls_ssl_write(). While any record waits, it takes a call for
 * a second try at that record, and says that its bytes are sent: so it is
 * called only when nothing waits, once for each record; what it could not send
 * is sent by flush(). And whoever else sends a record on its way, as
 * mbedtls_ssl_read() may, would leave us thinking that it still waits: so
 * nothing but uvws__tls_write() may send what that has begun.
 *
 * WANT_READ does not mean that all input is used up. */

#include "net/tls-mbedtls.h"

#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "uvws.h"

#define SSL(tls, member) ((tls)->ssl.MBEDTLS_PRIVATE(member))

/* ---- words ---- */

static void say(uvws__tls_t* tls, const char* what, const char* detail) {
  char text[256];
  if (tls->result->text != NULL) return;
  snprintf(text, sizeof(text), "%s%s", what, detail);
  tls->result->text = uvws__strndup(text, strlen(text));
}

/* RFC 8446, 6 and B.2. */
static const char* alert_text(int alert) {
  switch (alert) {
    case 10: return "unexpected message";
    case 20: return "bad record";
    case 22: return "record overflow";
    case 40: return "handshake failure: no common cipher suite or certificate";
    case 42: return "bad certificate";
    case 43: return "unsupported certificate";
    case 44: return "certificate revoked";
    case 45: return "certificate expired";
    case 46: return "certificate unknown";
    case 47: return "illegal parameter";
    case 48: return "unknown certificate authority";
    case 49: return "access denied";
    case 50: return "decode error";
    case 51: return "decrypt error";
    case 70: return "no common TLS version";
    case 71: return "insufficient security";
    case 80: return "internal error";
    case 86: return "inappropriate fallback";
    case 90: return "cancelled by the user";
    case 100: return "no renegotiation";
    case 109: return "missing extension";
    case 110: return "unsupported extension";
    case 112: return "unrecognized name";
    case 116: return "certificate required";
    case 120: return "no common application protocol";
    default: return "unknown alert";
  }
}

bool uvws__tls_is_out_of_memory(int code) {
  /* A high-level code may have a low-level one in its last seven bits. */
  int low = -code & 0x7F;
  if (code >= 0) return false;
  switch (-(-code & ~0x7F)) {
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
    case MBEDTLS_ERR_PEM_ALLOC_FAILED:
    case MBEDTLS_ERR_ECP_ALLOC_FAILED:
    case MBEDTLS_ERR_MD_ALLOC_FAILED:
    case MBEDTLS_ERR_CIPHER_ALLOC_FAILED: return true;
    default:
      return low == -MBEDTLS_ERR_MPI_ALLOC_FAILED ||
             low == -MBEDTLS_ERR_ASN1_ALLOC_FAILED;
  }
}

static bool is_1_3(const uvws__tls_t* tls) {
#if UVWS__MBEDTLS_2
  (void)tls;
  return false;
#else
  return (int)mbedtls_ssl_get_version_number(&tls->ssl) == UVWS_TLS_1_3;
#endif
}

static uvws__failure_t failure_of(uvws__tls_t* tls, int code) {
  if (uvws__tls_is_out_of_memory(code)) return UVWS__FAIL_NO_MEMORY;
  if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
    tls->result->alert = SSL(tls, in_msg)[1];
    say(tls, "the peer ended TLS: ", alert_text(tls->result->alert));
    return UVWS__FAIL_TLS_ALERT;
  }
  if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
    tls->result->flags |= UVWS_CERT_MISSING;
    say(tls, "the peer's certificate is missing", "");
    /* RFC 5246, 7.4.6. In 1.3 mbedTLS does so. */
    if (!is_1_3(tls))
      (void)mbedtls_ssl_send_alert_message(
          &tls->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
          MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
  }
  if (tls->result->flags != 0 && tls->result->version == 0 &&
      !(tls->config->insecure && !tls->is_server))
    return UVWS__FAIL_TLS_CERTIFICATE;
  char detail[160];
  mbedtls_strerror(code, detail, sizeof(detail));
  say(tls, "TLS failed: ", detail);
  return UVWS__FAIL_TLS;
}

static int failed(uvws__tls_t* tls, int code) {
  if (tls->lost) return UVWS__TLS_LOST;
  tls->result->error = code;
  tls->failure = failure_of(tls, code);
  return UVWS__TLS_FAILED;
}

uvws__failure_t uvws__tls_failure(const uvws__tls_t* tls) {
  return tls->failure;
}

/* ---- what mbedTLS calls ---- */

static int on_send(void* data, const unsigned char* bytes, size_t len) {
  uvws__tls_t* tls = data;
  if (tls->pending > 0 && !tls->writing) return MBEDTLS_ERR_SSL_WANT_WRITE;
  int sent = tls->send(tls->owner, bytes, len);
  if (sent > 0) return sent;
  if (sent == UV_EAGAIN) return MBEDTLS_ERR_SSL_WANT_WRITE;
  tls->lost = true;
  return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int on_receive(void* data, unsigned char* out, size_t len) {
  uvws__tls_t* tls = data;
  if (len > tls->input_len) len = tls->input_len;
  if (len == 0) {
    tls->starved = true;
    return MBEDTLS_ERR_SSL_WANT_READ;
  }
  memcpy(out, tls->input, len);
  tls->input += len;
  tls->input_len -= len;
  return (int)len;
}

static uvws__tls_t* connection_of(mbedtls_ssl_context* ssl) {
  return (uvws__tls_t*)ssl;
}

int uvws__tls_on_server_name(void* config, mbedtls_ssl_context* ssl,
                             const unsigned char* name, size_t len) {
  uvws__tls_result_t* result = connection_of(ssl)->result;
  /* RFC 6066, 3: a host name; whatever else is nobody's. */
  if (len == 0 || len > 255 || memchr(name, '\0', len) != NULL) return 0;
  uvws__free(result->server_name);
  result->server_name = uvws__strndup((const char*)name, len);
  if (result->server_name != NULL)
    uvws__tls_choose_identity(config, ssl, result->server_name);
  return 0;
}

static char* put_hex(char* out, const uint8_t* bytes, size_t len) {
  for (size_t i = 0; i < len; i++) out += sprintf(out, "%02x", bytes[i]);
  return out;
}

static void log_secret(const struct uvws_tls_s* config, const char* label,
                       const uint8_t* client_random, const uint8_t* secret,
                       size_t len) {
  char line[256];
  if (len > 64) return;
  char* at = line + sprintf(line, "%s ", label);
  at = put_hex(at, client_random, 32);
  *at++ = ' ';
  put_hex(at, secret, len);
  config->keylog(line, config->arg);
  mbedtls_platform_zeroize(line, sizeof(line));
}

#if UVWS__MBEDTLS_2
int uvws__tls_export_keys(void* config, const unsigned char* secret,
                          const unsigned char* keys, size_t mac_len,
                          size_t key_len, size_t iv_len,
                          const unsigned char client_random[32],
                          const unsigned char server_random[32],
                          mbedtls_tls_prf_types prf) {
  (void)keys;
  (void)mac_len;
  (void)key_len;
  (void)iv_len;
  (void)server_random;
  (void)prf;
  log_secret(config, "CLIENT_RANDOM", client_random, secret, 48);
  return 0;
}
#else
static void export_keys(void* data, mbedtls_ssl_key_export_type type,
                        const unsigned char* secret, size_t len,
                        const unsigned char client_random[32],
                        const unsigned char server_random[32],
                        mbedtls_tls_prf_types prf) {
  const uvws__tls_t* tls = data;
  const char* label = NULL;
  (void)server_random;
  (void)prf;
  switch (type) {
    case MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET:
      label = "CLIENT_RANDOM";
      break;
#if UVWS__HAS_TLS_1_3
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_HANDSHAKE_TRAFFIC_SECRET:
      label = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
      break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_HANDSHAKE_TRAFFIC_SECRET:
      label = "SERVER_HANDSHAKE_TRAFFIC_SECRET";
      break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET:
      label = "CLIENT_TRAFFIC_SECRET_0";
      break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET:
      label = "SERVER_TRAFFIC_SECRET_0";
      break;
#endif
    default: return;
  }
  log_secret(tls->config, label, client_random, secret, len);
}
#endif

/* ---- sessions ---- */

static void resume_session(uvws__tls_t* tls) {
  size_t len;
  mbedtls_ssl_session session;
  uint8_t* data = uvws__tls_sessions_take(&tls->config->sessions, tls->host,
                                          tls->port, &len);
  if (data == NULL) return;
  mbedtls_ssl_session_init(&session);
  /* Whatever goes wrong, there will be a full handshake. */
  if (mbedtls_ssl_session_load(&session, data, len) == 0)
    (void)mbedtls_ssl_set_session(&tls->ssl, &session);
  mbedtls_ssl_session_free(&session);
  mbedtls_platform_zeroize(data, len);
  uvws__free(data);
}

/* One that began with a certificate that is not good is not kept: when it is
 * resumed, nobody looks at that again. */
static void keep_session(uvws__tls_t* tls, bool once) {
  mbedtls_ssl_session session;
  size_t len = 0;
  if (!tls->config->resumption || tls->result->flags != 0) return;
  mbedtls_ssl_session_init(&session);
  if (mbedtls_ssl_get_session(&tls->ssl, &session) == 0) {
    (void)mbedtls_ssl_session_save(&session, NULL, 0, &len);
    uint8_t* data = len == 0 ? NULL : uvws__malloc(len);
    if (data != NULL &&
        mbedtls_ssl_session_save(&session, data, len, &len) == 0)
      uvws__tls_sessions_put(&tls->config->sessions, tls->host, tls->port, data,
                             len, once);
    if (data != NULL) mbedtls_platform_zeroize(data, len);
    uvws__free(data);
  }
  mbedtls_ssl_session_free(&session);
}

/* ---- beginning and end ---- */

static void read_address(uvws__tls_t* tls) {
  if (uv_inet_pton(AF_INET, tls->host, tls->address) == 0)
    tls->address_len = 4;
  else if (uv_inet_pton(AF_INET6, tls->host, tls->address) == 0)
    tls->address_len = 16;
}

static bool set_up(uvws__tls_t* tls, const uvws__tls_peer_t* peer) {
  struct uvws_tls_s* config = tls->config;
  const char* host = peer->is_server ? "" : peer->host;
  tls->host = uvws__strndup(host, strlen(host));
  if (tls->host == NULL ||
      mbedtls_ssl_setup(
          &tls->ssl, peer->is_server ? &config->server : &config->client) != 0)
    return false;
  mbedtls_ssl_set_bio(&tls->ssl, tls, on_send, on_receive, NULL);
  mbedtls_ssl_set_verify(&tls->ssl, uvws__tls_verify, tls);
#if !UVWS__MBEDTLS_2
  if (config->keylog != NULL)
    mbedtls_ssl_set_export_keys_cb(&tls->ssl, export_keys, tls);
#endif
  if (peer->is_server) return true;
  read_address(tls);
  /* RFC 6066, 3: an address is no server name; uvws__tls_verify() compares it.
   */
  bool is_name = tls->address_len == 0;
  if (mbedtls_ssl_set_hostname(&tls->ssl, is_name ? tls->host : NULL) != 0)
    return false;
  if (is_name) tls->result->server_name = uvws__strndup(host, strlen(host));
  if (is_name && tls->result->server_name == NULL) return false;
  if (config->resumption) resume_session(tls);
  return true;
}

uvws__tls_t* uvws__tls_new(struct uvws_tls_s* config,
                           const uvws__tls_peer_t* peer,
                           uvws__tls_result_t* result) {
  uvws__tls_t* tls = uvws__calloc(1, sizeof(*tls));
  if (tls == NULL) return NULL;
  mbedtls_ssl_init(&tls->ssl);
  tls->config = uvws__tls_config_ref(config);
  tls->result = result;
  tls->send = peer->send;
  tls->owner = peer->owner;
  tls->is_server = peer->is_server;
  tls->port = peer->port;
  result->alert = -1;
  if (set_up(tls, peer)) return tls;
  uvws__tls_free(tls);
  return NULL;
}

void uvws__tls_free(uvws__tls_t* tls) {
  if (tls == NULL) return;
  mbedtls_ssl_free(&tls->ssl);
  uvws__tls_config_unref(tls->config);
  uvws__free(tls->host);
  uvws__free(tls);
}

void uvws__tls_result_clear(uvws__tls_result_t* result) {
  uvws__free(result->server_name);
  uvws__free(result->text);
}

/* ---- bytes ---- */

void uvws__tls_feed(uvws__tls_t* tls, const uint8_t* data, size_t len) {
  tls->input = data;
  tls->input_len = len;
  if (tls->began) return;
  tls->began = true;
  /* RFC 8446, 5.1: the types of records; whoever speaks something else, HTTP
   * for instance, is not answered in TLS. */
  if (data[0] < 20 || data[0] > 23) tls->failure = UVWS__FAIL_TLS_MISSING;
}

size_t uvws__tls_unfed(uvws__tls_t* tls, const uint8_t** data) {
  size_t len = tls->input_len;
  *data = tls->input;
  tls->input_len = 0;
  return len;
}

static void conclude(uvws__tls_t* tls) {
  uvws__tls_result_t* result = tls->result;
  result->version = is_1_3(tls) ? UVWS_TLS_1_3 : UVWS_TLS_1_2;
  result->resumed = !tls->full;
  result->cipher_suite = mbedtls_ssl_get_ciphersuite(&tls->ssl);
  result->alpn = mbedtls_ssl_get_alpn_protocol(&tls->ssl);
  int max = mbedtls_ssl_get_max_out_record_payload(&tls->ssl);
  tls->record_max = max > 0 ? (size_t)max : 512;
  /* A server of 1.3 sends its tickets later. */
  if (!tls->is_server && result->version == UVWS_TLS_1_2)
    keep_session(tls, false);
}

/* A server that asks without requiring goes on whatever mbedTLS found after the
 * verify callback. */
static bool is_refused(const uvws__tls_t* tls) {
  uint32_t good =
      MBEDTLS_X509_BADCERT_MISSING | MBEDTLS_X509_BADCERT_SKIP_VERIFY;
  return tls->is_server && tls->full &&
         (mbedtls_ssl_get_verify_result(&tls->ssl) & ~good) != 0;
}

int uvws__tls_handshake(uvws__tls_t* tls) {
  if (tls->failure != UVWS__OK) return UVWS__TLS_FAILED;
  while (SSL(tls, state) != MBEDTLS_SSL_HANDSHAKE_OVER) {
    if (SSL(tls, state) == MBEDTLS_SSL_SERVER_CERTIFICATE) tls->full = true;
    tls->starved = false;
    int code = mbedtls_ssl_handshake_step(&tls->ssl);
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE ||
        (code == MBEDTLS_ERR_SSL_WANT_READ && tls->starved))
      return UVWS__TLS_AGAIN;
    if (code != 0 && code != MBEDTLS_ERR_SSL_WANT_READ)
      return failed(tls, code);
  }
  if (is_refused(tls)) {
    tls->result->flags |= UVWS_CERT_OTHER;
    return failed(tls, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
  }
  conclude(tls);
  return 0;
}

int uvws__tls_read(uvws__tls_t* tls, uint8_t* out, size_t len) {
  if (tls->failure != UVWS__OK) return UVWS__TLS_FAILED;
  for (;;) {
    tls->starved = false;
    int code = mbedtls_ssl_read(&tls->ssl, out, len);
    if (code > 0) return code;
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return UVWS__TLS_CLOSED;
    if (code == MBEDTLS_ERR_SSL_WANT_WRITE ||
        (code == MBEDTLS_ERR_SSL_WANT_READ && tls->starved))
      return UVWS__TLS_AGAIN;
#if UVWS__HAS_TLS_1_3
    if (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
      keep_session(tls, true);
      continue;
    }
#endif
    /* 0 is a record without bytes. */
    if (code != 0 && code != MBEDTLS_ERR_SSL_WANT_READ)
      return failed(tls, code);
  }
}

/* What mbedTLS has made by itself. An alert that would follow it is only there
 * to make mbedTLS send what waits: while something does, no alert is made. */
static int flush(uvws__tls_t* tls) {
  if (SSL(tls, out_left) == 0) return 0;
  int code = mbedtls_ssl_send_alert_message(&tls->ssl, 1, 0);
  if (code == 0) return 0;
  return code == MBEDTLS_ERR_SSL_WANT_WRITE ? UVWS__TLS_AGAIN
                                            : failed(tls, code);
}

/* TLS 1.3: a ticket has come, of which mbedtls_ssl_read() left the rest until
 * what waited was sent. */
static int take_ticket(uvws__tls_t* tls) {
#if UVWS__HAS_TLS_1_3
  while (SSL(tls, state) != MBEDTLS_SSL_HANDSHAKE_OVER) {
    int code = mbedtls_ssl_handshake(&tls->ssl);
    if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE)
      return UVWS__TLS_AGAIN;
    if (code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
      keep_session(tls, true);
    else if (code != 0)
      return failed(tls, code);
  }
#else
  (void)tls;
#endif
  return 0;
}

static int send_record(uvws__tls_t* tls, const uint8_t* data, size_t len) {
  int status = flush(tls);
  if (status == 0) status = take_ticket(tls);
  if (status != 0) return status;
  if (len > tls->record_max) len = tls->record_max;
  int code = mbedtls_ssl_write(&tls->ssl, data, len);
  if (code > 0) return code;
  if (code != MBEDTLS_ERR_SSL_WANT_WRITE) return failed(tls, code);
  tls->pending = len;
  return UVWS__TLS_AGAIN;
}

/* The record is made, so the bytes are not needed any more. */
static int send_pending(uvws__tls_t* tls) {
  size_t len = tls->pending;
  int status = flush(tls);
  if (status != 0) return status;
  tls->pending = 0;
  return (int)len;
}

int uvws__tls_write(uvws__tls_t* tls, const uint8_t* data, size_t len) {
  if (tls->failure != UVWS__OK) return UVWS__TLS_FAILED;
  tls->writing = true;
  int status =
      tls->pending > 0 ? send_pending(tls) : send_record(tls, data, len);
  tls->writing = false;
  return status;
}

int uvws__tls_close(uvws__tls_t* tls) {
  if (tls->failure != UVWS__OK) return UVWS__TLS_FAILED;
  int status = flush(tls);
  if (status != 0 || tls->notified) return status;
  int code = mbedtls_ssl_close_notify(&tls->ssl);
  tls->notified = code == 0 || code == MBEDTLS_ERR_SSL_WANT_WRITE;
  if (code == 0) return 0;
  return tls->notified ? UVWS__TLS_AGAIN : failed(tls, code);
}

/* mbedTLS has two buffers of a record each for as long as the connection lives.
 * Between records nothing in them counts but what stands in front: a counter.
 * The pages come back, zeroed, when they are touched again. */
static void rest(uint8_t* buffer, size_t len) {
  uvws__give_back(buffer + 64, len - 64);
}

void uvws__tls_rest(uvws__tls_t* tls) {
  if (SSL(tls, state) != MBEDTLS_SSL_HANDSHAKE_OVER || SSL(tls, in_left) != 0 ||
      SSL(tls, in_offt) != NULL || SSL(tls, out_left) != 0 || tls->pending > 0)
    return;
  rest(SSL(tls, in_buf), MBEDTLS_SSL_IN_CONTENT_LEN);
  rest(SSL(tls, out_buf), MBEDTLS_SSL_OUT_CONTENT_LEN);
}

const uint8_t* uvws__tls_peer_certificate(const uvws__tls_t* tls, size_t* len) {
  const mbedtls_x509_crt* crt = mbedtls_ssl_get_peer_cert(&tls->ssl);
  if (crt == NULL) return NULL;
  *len = crt->raw.len;
  return crt->raw.p;
}
