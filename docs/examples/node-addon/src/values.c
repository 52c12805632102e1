#include <stdlib.h>
#include <string.h>

#include "addon.h"

/* A call's arguments and options in C's terms, and results in JavaScript's. */

addon_t* get_args(napi_env env, napi_callback_info info, napi_value args[]) {
  size_t n = MAX_ARGS;
  napi_get_cb_info(env, info, &n, args, NULL, NULL);
  return addon_of(env);
}

void* get_external(napi_env env, napi_value value) {
  void* data = NULL;
  return napi_get_value_external(env, value, &data) == napi_ok ? data : NULL;
}

napi_value make_int(napi_env env, int value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value make_number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

napi_value make_bool(napi_env env, bool value) {
  napi_value result = NULL;
  napi_get_boolean(env, value, &result);
  return result;
}

static bool is_ascii(const char* text, size_t len) {
  uint64_t words[4] = {0}, all = 0;
  size_t i = 0;
  for (; i + sizeof(words) <= len; i += sizeof(words)) {
    memcpy(words, text + i, sizeof(words));
    all |= words[0] | words[1] | words[2] | words[3];
  }
  for (; i < len; i++) all |= (uint64_t)(unsigned char)text[i];
  return (all & 0x8080808080808080) == 0;
}

/* Whoever has only ASCII spares V8 the decoder. */
napi_value make_string(napi_env env, const char* text, size_t len) {
  napi_value result = NULL;
  if (is_ascii(text, len))
    napi_create_string_latin1(env, text, len, &result);
  else
    napi_create_string_utf8(env, text, len, &result);
  return result;
}

napi_value make_text(napi_env env, const char* text) {
  return make_string(env, text, strlen(text));
}

/* ---- options ---- */

struct piece_s {
  struct piece_s* next;
  max_align_t bytes[];
};

static void* allocate(options_t* options, size_t size) {
  struct piece_s* piece = malloc(sizeof(*piece) + size);
  if (piece == NULL) {
    options->failed = true;
    return NULL;
  }
  piece->next = options->pieces;
  options->pieces = piece;
  return piece->bytes;
}

void options_free(options_t* options) {
  while (options->pieces != NULL) {
    struct piece_s* piece = options->pieces;
    options->pieces = piece->next;
    free(piece);
  }
}

bool get_member(options_t* options, const char* name, napi_value* value) {
  napi_valuetype type;
  return napi_get_named_property(options->env, options->object, name, value) ==
             napi_ok &&
         napi_typeof(options->env, *value, &type) == napi_ok &&
         type != napi_undefined && type != napi_null;
}

char* get_string(options_t* options, napi_value value, size_t* len) {
  size_t size = 0;
  if (napi_get_value_string_utf8(options->env, value, NULL, 0, &size) !=
      napi_ok)
    return NULL;
  char* text = allocate(options, size + 1);
  if (text == NULL) return NULL;
  napi_get_value_string_utf8(options->env, value, text, size + 1, &size);
  if (len != NULL) *len = size;
  return text;
}

char* get_string_member(options_t* options, const char* name) {
  napi_value value;
  return get_member(options, name, &value) ? get_string(options, value, NULL)
                                           : NULL;
}

static bool get_number(options_t* options, const char* name, double* number) {
  napi_value value;
  return get_member(options, name, &value) &&
         napi_get_value_double(options->env, value, number) == napi_ok &&
         *number >= 0;
}

void get_uint32_member(options_t* options, const char* name, uint32_t* value) {
  double number;
  if (get_number(options, name, &number))
    *value = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

void get_int_member(options_t* options, const char* name, int* value) {
  double number;
  if (get_number(options, name, &number))
    *value = number > INT32_MAX ? INT32_MAX : (int)number;
}

void get_uint64_member(options_t* options, const char* name, uint64_t* value) {
  double number;
  if (get_number(options, name, &number))
    *value = number < 0x1p63 ? (uint64_t)number : UINT64_MAX;
}

bool get_bool_member(options_t* options, const char* name) {
  napi_value value;
  bool result = false;
  return get_member(options, name, &value) &&
         napi_get_value_bool(options->env, value, &result) == napi_ok && result;
}

const char* const* get_strings(options_t* options, const char* name,
                               unsigned* n) {
  napi_value array, element;
  uint32_t length = 0;
  *n = 0;
  if (!get_member(options, name, &array) ||
      napi_get_array_length(options->env, array, &length) != napi_ok)
    return NULL;
  const char** strings = allocate(options, (length + 1) * sizeof(*strings));
  for (uint32_t i = 0; strings != NULL && i < length; i++) {
    strings[i] = NULL;
    if (napi_get_element(options->env, array, i, &element) == napi_ok)
      strings[i] = get_string(options, element, NULL);
    if (strings[i] == NULL) return NULL;
  }
  if (strings != NULL) *n = length;
  return strings;
}

const uvws_header_t* get_headers(options_t* options, const char* name,
                                 unsigned* n) {
  unsigned length;
  const char* const* strings = get_strings(options, name, &length);
  *n = 0;
  if (strings == NULL) return NULL;
  uvws_header_t* headers = allocate(options, (length + 1) * sizeof(*headers));
  for (unsigned i = 0; headers != NULL && i + 1 < length; i += 2)
    headers[(*n)++] = (uvws_header_t){strings[i], strings[i + 1]};
  return headers;
}

const uvws_deflate_options_t* get_deflate(options_t* options,
                                          uvws_deflate_options_t* deflate) {
  options_t own = {.env = options->env};
  if (!get_member(options, "deflate", &own.object)) return NULL;
  uvws_deflate_options_init(deflate);
  deflate->server_no_context_takeover =
      get_bool_member(&own, "serverNoContextTakeover");
  deflate->client_no_context_takeover =
      get_bool_member(&own, "clientNoContextTakeover");
  get_uint32_member(&own, "serverMaxWindowBits",
                    &deflate->server_max_window_bits);
  get_uint32_member(&own, "clientMaxWindowBits",
                    &deflate->client_max_window_bits);
  get_int_member(&own, "level", &deflate->level);
  get_int_member(&own, "memLevel", &deflate->memory_level);
  get_uint32_member(&own, "threshold", &deflate->threshold);
  return deflate;
}

/* ---- TLS ---- */

static void on_tls_gone(napi_env env, void* data, void* hint) {
  (void)env;
  (void)hint;
  uvws_tls_unref(data);
}

uvws_tls_t* get_tls(options_t* options) {
  napi_value value;
  return get_member(options, "tls", &value) ? get_external(options->env, value)
                                            : NULL;
}

/* tls({ca, cert, key, passphrase, insecure}): PEM texts; throws. */
static napi_value make_tls(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], result = NULL;
  uvws_tls_options_t tls;
  uvws_tls_certificate_t certificate = {.cert = NULL};
  uvws_tls_t* config = NULL;
  char reason[256];
  get_args(env, info, args);
  options_t options = {.env = env, .object = args[0]};
  uvws_tls_options_init(&tls);
  tls.ca = get_string_member(&options, "ca");
  tls.ca_len = tls.ca == NULL ? 0 : strlen(tls.ca);
  certificate.cert = get_string_member(&options, "cert");
  certificate.key = get_string_member(&options, "key");
  certificate.passphrase = get_string_member(&options, "passphrase");
  if (certificate.cert != NULL) {
    certificate.cert_len = strlen(certificate.cert);
    certificate.key_len = certificate.key == NULL ? 0 : strlen(certificate.key);
    tls.certificates = &certificate;
    tls.n_certificates = 1;
  }
  tls.flags = UVWS_TLS_ENVIRONMENT;
  if (tls.ca != NULL) tls.flags |= UVWS_TLS_SYSTEM_CA;
  if (get_bool_member(&options, "insecure")) tls.flags |= UVWS_TLS_INSECURE;
  int status = uvws_tls_new(&config, &tls, reason, sizeof(reason));
  options_free(&options);
  if (status != 0)
    napi_throw_error(env, uvws_err_name(status), reason);
  else if (napi_create_external(env, config, on_tls_gone, NULL, &result) !=
           napi_ok)
    uvws_tls_unref(config);
  return result;
}

void define_tls(napi_env env, napi_value exports) {
  define(env, exports, "tls", make_tls);
}
