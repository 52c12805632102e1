#include "tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "connection.h"
#include "server.h"

/* A configuration is the engine's; this file reads what the options name, and
 * wipes it from memory when the engine has made its own of it. */

static const uvws_tls_options_t defaults = {
    .size = sizeof(uvws_tls_options_t),
    .min_version = UVWS_TLS_1_2,
    .session_lifetime = 2 * 3600 * 1000,
    .max_sessions = 256,
};

void uvws_tls_options_init_sized(uvws_tls_options_t* options, size_t size) {
  uvws__init_sized(options, size, &defaults, sizeof(defaults));
}

/* ---- reading ---- */

/* All that the options name, from files and memory. */
typedef struct material_s {
  uvws__tls_text_t ca[2];
  unsigned n_ca;
  uvws__tls_text_t system_ca;
  uvws__tls_text_t crl;
  uvws__tls_identity_t* identities;
  unsigned n_identities;
  char* why;
  size_t size;
} material_t;

static void clear(uvws__tls_text_t* text) {
  if (text->data == NULL) return;
  uvws__tls_wipe(text->data, text->len);
  uvws__free(text->data);
}

static void clear_material(material_t* material) {
  for (unsigned i = 0; i < material->n_ca; i++) clear(&material->ca[i]);
  clear(&material->system_ca);
  clear(&material->crl);
  for (unsigned i = 0; i < material->n_identities; i++) {
    clear(&material->identities[i].cert);
    clear(&material->identities[i].key);
  }
  uvws__free(material->identities);
}

static int complain(const material_t* material, int status, const char* what,
                    const char* detail) {
  if (material->why != NULL && material->size > 0)
    snprintf(material->why, material->size, "%s: %s", what, detail);
  return status;
}

static int read_one(const material_t* material, const char* file,
                    const void* memory, size_t len, uvws__tls_text_t* text) {
  if (memory == NULL && file != NULL) {
    int status = uvws__file_read(file, text);
    return status == 0
               ? 0
               : complain(material, status, file, uvws_strerror(status));
  }
  if (memory == NULL) return 0;
  text->data = (uint8_t*)uvws__strndup(memory, len);
  text->len = len;
  return text->data == NULL ? UV_ENOMEM : 0;
}

static int read_identity(material_t* material,
                         const uvws_tls_certificate_t* from) {
  uvws__tls_identity_t* to = &material->identities[material->n_identities++];
  to->passphrase = from->passphrase;
  if ((from->cert_file == NULL && from->cert == NULL) ||
      (from->key_file == NULL && from->key == NULL))
    return complain(material, UV_EINVAL, "certificates",
                    "one lacks its certificate or its key");
  int status = read_one(material, from->cert_file, from->cert, from->cert_len,
                        &to->cert);
  return status != 0 ? status
                     : read_one(material, from->key_file, from->key,
                                from->key_len, &to->key);
}

static int read_identities(material_t* material,
                           const uvws_tls_options_t* options) {
  if (options->n_certificates == 0) return 0;
  if (options->certificates == NULL) return UV_EINVAL;
  material->identities =
      uvws__calloc(options->n_certificates, sizeof(*material->identities));
  if (material->identities == NULL) return UV_ENOMEM;
  for (unsigned i = 0; i < options->n_certificates; i++) {
    int status = read_identity(material, &options->certificates[i]);
    if (status != 0) return status;
  }
  return 0;
}

static bool has_authorities(const uvws_tls_options_t* options) {
  return options->ca_file != NULL || options->ca != NULL;
}

static bool asks_clients(const uvws_tls_options_t* options) {
  return options->flags & (UVWS_TLS_ASK_CLIENT | UVWS_TLS_REQUIRE_CLIENT);
}

static int read_authorities(material_t* material,
                            const uvws_tls_options_t* options) {
  int status = 0;
  if (options->ca_file != NULL)
    status = read_one(material, options->ca_file, NULL, 0,
                      &material->ca[material->n_ca++]);
  if (status == 0 && options->ca != NULL && options->ca_len > 0)
    status = read_one(material, NULL, options->ca, options->ca_len,
                      &material->ca[material->n_ca++]);
  if (status != 0) return status;
  bool by_environment = options->flags & UVWS_TLS_ENVIRONMENT;
  bool in_addition =
      (options->flags & UVWS_TLS_SYSTEM_CA) && has_authorities(options);
  if (!in_addition && (has_authorities(options) || !by_environment)) return 0;
  if (by_environment ? uvws__trust_read_environment(&material->system_ca)
                     : uvws__trust_read(&material->system_ca))
    return 0;
  return complain(material, UVWS_ETLS, "the system's trust store", "not found");
}

static int read_material(material_t* material,
                         const uvws_tls_options_t* options) {
  int status = read_authorities(material, options);
  if (status == 0)
    status = read_one(material, options->crl_file, options->crl,
                      options->crl_len, &material->crl);
  return status != 0 ? status : read_identities(material, options);
}

/* ---- configurations ---- */

static int status_of(uvws__tls_made_t made) {
  switch (made) {
    case UVWS__TLS_OK: return 0;
    case UVWS__TLS_NO_MEMORY: return UV_ENOMEM;
    default: return UVWS_ETLS;
  }
}

static int make(uvws_tls_t** tls, const uvws_tls_options_t* options,
                const material_t* material) {
  bool insecure = options->flags & UVWS_TLS_INSECURE;
  uvws__tls_setup_t setup = {
      .ca = material->ca,
      .n_ca = material->n_ca,
      .system_ca = material->system_ca,
      .crl = material->crl,
      .needs_system = !insecure && !has_authorities(options) &&
                      material->system_ca.len == 0,
      .identities = material->identities,
      .n_identities = material->n_identities,
      .min_version = options->min_version,
      .max_version = options->max_version,
      .insecure = insecure,
      .ask_client = options->flags & UVWS_TLS_ASK_CLIENT,
      .require_client = options->flags & UVWS_TLS_REQUIRE_CLIENT,
      .resumption = !(options->flags & UVWS_TLS_NO_RESUMPTION),
      .session_lifetime = options->session_lifetime / 1000,
      .max_sessions = options->max_sessions,
      .verify = options->verify,
      .keylog = options->keylog,
      .arg = options->arg,
  };
  return status_of(
      uvws__tls_config_new(&setup, tls, material->why, material->size));
}

int uvws_tls_new(uvws_tls_t** tls, const uvws_tls_options_t* from, char* why,
                 size_t size) {
  uvws_tls_options_t options;
  material_t material = {.why = why, .size = size};
  if (why != NULL && size > 0) why[0] = '\0';
  int status = uvws__read_sized(&options, from, &defaults, sizeof(defaults));
  if (status == 0 && asks_clients(&options) && !has_authorities(&options) &&
      options.verify == NULL)
    status = complain(&material, UV_EINVAL, "client certificates",
                      "there is no authority to trust");
  if (status == 0) status = read_material(&material, &options);
  if (status == 0) status = make(tls, &options, &material);
  clear_material(&material);
  if (status != 0 && why != NULL && size > 0 && why[0] == '\0')
    snprintf(why, size, "%s", uvws_strerror(status));
  return status;
}

uvws_tls_t* uvws_tls_ref(uvws_tls_t* tls) {
  return uvws__tls_config_ref(tls);
}

void uvws_tls_unref(uvws_tls_t* tls) {
  uvws__tls_config_unref(tls);
}

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t mutex;
static uvws_tls_t* default_tls; /* from its first use on */

static void init_mutex(void) {
  if (uv_mutex_init(&mutex) != 0) abort();
}

static int ref_default(uvws_tls_t** result) {
  int status = 0;
  uv_once(&once, init_mutex);
  uv_mutex_lock(&mutex);
  if (default_tls == NULL) status = uvws_tls_new(&default_tls, NULL, NULL, 0);
  if (status == 0) *result = uvws_tls_ref(default_tls);
  uv_mutex_unlock(&mutex);
  return status;
}

int uvws__tls_for_client(uvws_tls_t* tls, uvws_tls_t** result) {
  *result = NULL;
  if (tls != NULL) {
    *result = uvws_tls_ref(tls);
  } else {
    int status = ref_default(result);
    if (status != 0) return status;
  }
  int status = status_of(uvws__tls_config_trust(*result, uvws__trust_read));
  if (status == 0) return 0;
  uvws_tls_unref(*result);
  *result = NULL;
  return status;
}

/* ---- what became of it ---- */

static const char* or_empty(const char* string) {
  return string == NULL ? "" : string;
}

void uvws__tls_info_fill(uvws_tls_info_t* info,
                         const uvws__tls_result_t* result,
                         const uvws__stream_t* stream) {
  memset(info, 0, sizeof(*info));
  info->cipher_suite = info->alpn = info->server_name = "";
  info->alert = -1;
  if (result == NULL) return;
  info->version = result->version;
  info->resumed = result->resumed && result->version != 0;
  info->cipher_suite = or_empty(result->cipher_suite);
  info->alpn = or_empty(result->alpn);
  info->server_name = or_empty(result->server_name);
  info->flags = result->flags;
  info->error = result->error;
  info->alert = result->alert;
  if (stream == NULL) return;
  size_t len;
  const uint8_t* der = uvws__stream_peer_certificate(stream, &len);
  if (der != NULL) info->certificate = uv_buf_init((char*)der, (unsigned)len);
}

void uvws_tls_info(const uvws_t* ws, uvws_tls_info_t* info) {
  const uvws__conn_t* conn = uvws__conn_of(ws);
  const uvws__stream_t* stream = conn == NULL ? NULL : conn->stream;
  const uvws__tls_result_t* result = conn == NULL ? NULL : conn->extra->tls;
  if (stream != NULL) result = uvws__stream_tls(stream);
  uvws__tls_info_fill(info, result, stream);
}
