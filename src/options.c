#include "options.h"

#include <string.h>

#include "alloc.h"
#include "deflate.h"
#include "protocol/handshake.h"

/* Every options struct begins with its size as the caller's header has it, so
 * that either side may be the newer one: members that one of them does not know
 * keep their defaults. */

/* What is the same for both roles. */
#define FLOW_DEFAULTS                                                         \
  .high_water = 1024 * 1024, .low_water = 256 * 1024, .max_ping_rate = 1000,  \
  .max_fragment_rate = 131072, .ping_interval = 30000, .ping_timeout = 60000, \
  .send_timeout = 60000

static const uvws_options_t client_defaults = {
    .size = sizeof(uvws_options_t),
    .max_message = 16 * 1024 * 1024,
    .max_discard = 256 * 1024 * 1024,
    .max_fragments = 65536,
    .max_head = 16 * 1024,
    .max_headers = 64,
    .connect_timeout = 30000,
    .handshake_timeout = 10000,
    .close_timeout = 10000,
    FLOW_DEFAULTS,
    .attempt_delay = 250,
    .tcp_nodelay = 1,
};

static const uvws_server_options_t server_defaults = {
    .size = sizeof(uvws_server_options_t),
    .max_connections = 65536,
    .max_message = 1024 * 1024,
    .max_discard = 256 * 1024 * 1024,
    .max_fragments = 65536,
    .max_head = 16 * 1024,
    .max_headers = 64,
    .handshake_timeout = 10000,
    .close_timeout = 10000,
    FLOW_DEFAULTS,
    .max_memory = 1024 * 1024 * 1024,
    .tcp_nodelay = 1,
};

static const uvws_adopt_options_t adopt_defaults = {
    .size = sizeof(uvws_adopt_options_t),
};

static const uvws_deflate_options_t deflate_defaults = {
    .size = sizeof(uvws_deflate_options_t),
    .level = 6,
    .memory_level = 8,
    .threshold = 1024,
    .idle_timeout = 10000,
};

static const uvws_accept_options_t accept_defaults = {
    .size = sizeof(uvws_accept_options_t),
};

void uvws__init_sized(void* to, size_t to_size, const void* defaults,
                      size_t size) {
  memset(to, 0, to_size);
  memcpy(to, defaults, to_size < size ? to_size : size);
  if (to_size >= sizeof(size_t)) memcpy(to, &to_size, sizeof(size_t));
}

void uvws_options_init_sized(uvws_options_t* options, size_t size) {
  uvws__init_sized(options, size, &client_defaults, sizeof(client_defaults));
}

void uvws_server_options_init_sized(uvws_server_options_t* options,
                                    size_t size) {
  uvws__init_sized(options, size, &server_defaults, sizeof(server_defaults));
}

void uvws_accept_options_init_sized(uvws_accept_options_t* options,
                                    size_t size) {
  uvws__init_sized(options, size, &accept_defaults, sizeof(accept_defaults));
}

void uvws_adopt_options_init_sized(uvws_adopt_options_t* options, size_t size) {
  uvws__init_sized(options, size, &adopt_defaults, sizeof(adopt_defaults));
}

void uvws_deflate_options_init_sized(uvws_deflate_options_t* options,
                                     size_t size) {
  uvws__init_sized(options, size, &deflate_defaults, sizeof(deflate_defaults));
}

int uvws__read_sized(void* to, const void* from, const void* defaults,
                     size_t size) {
  memcpy(to, defaults, size);
  if (from == NULL) return 0;
  size_t known;
  memcpy(&known, from, sizeof(known));
  if (known <= sizeof(known)) return UV_EINVAL;
  memcpy(to, from, known < size ? known : size);
  return 0;
}

int uvws__options_read(uvws_options_t* to, const uvws_options_t* from) {
  return uvws__read_sized(to, from, &client_defaults, sizeof(client_defaults));
}

int uvws__server_options_read(uvws_server_options_t* to,
                              const uvws_server_options_t* from) {
  return uvws__read_sized(to, from, &server_defaults, sizeof(server_defaults));
}

int uvws__accept_options_read(uvws_accept_options_t* to,
                              const uvws_accept_options_t* from) {
  return uvws__read_sized(to, from, &accept_defaults, sizeof(accept_defaults));
}

int uvws__adopt_options_read(uvws_adopt_options_t* to,
                             const uvws_adopt_options_t* from) {
  return uvws__read_sized(to, from, &adopt_defaults, sizeof(adopt_defaults));
}

int uvws__deflate_options_read(uvws_deflate_options_t* to,
                               const uvws_deflate_options_t* from) {
  return uvws__read_sized(to, from, &deflate_defaults,
                          sizeof(deflate_defaults));
}

/* Both roles' options have members of the same names. */
#define SETTINGS_OF(options)                                                 \
  (uvws__settings_t) {                                                       \
    .refs = 1, .limits = {(options)->max_message, (options)->max_fragments}, \
    .max_discard = (options)->max_discard, .max_head = (options)->max_head,  \
    .max_headers = (options)->max_headers,                                   \
    .handshake_timeout = (options)->handshake_timeout,                       \
    .close_timeout = (options)->close_timeout,                               \
    .high_water = (options)->high_water, .low_water = (options)->low_water,  \
    .high_water_policy = (options)->high_water_policy,                       \
    .max_ping_rate = (options)->max_ping_rate,                               \
    .max_fragment_rate = (options)->max_fragment_rate,                       \
    .ping_interval = (options)->ping_interval,                               \
    .ping_timeout = (options)->ping_timeout,                                 \
    .idle_timeout = (options)->idle_timeout,                                 \
    .send_timeout = (options)->send_timeout,                                 \
  }

/* Takes over what was allocated. */
static int finish(uvws__settings_t* settings,
                  const uvws_deflate_options_t* deflate,
                  uvws__settings_t** result) {
  int status = settings == NULL
                   ? UV_ENOMEM
                   : uvws__deflate_plan_read(deflate, &settings->deflate);
  *result = status == 0 ? settings : NULL;
  if (status != 0) uvws__free(settings);
  return status;
}

int uvws__settings_for_client(const uvws_options_t* options,
                              uvws__settings_t** result) {
  uvws__settings_t* settings = uvws__malloc(sizeof(*settings));
  if (settings != NULL) {
    *settings = SETTINGS_OF(options);
    settings->connect_timeout = options->connect_timeout;
  }
  return finish(settings, options->deflate, result);
}

int uvws__settings_for_server(const uvws_server_options_t* options,
                              uvws__settings_t** result) {
  uvws__settings_t* settings = uvws__malloc(sizeof(*settings));
  if (settings != NULL) *settings = SETTINGS_OF(options);
  return finish(settings, options->deflate, result);
}

uvws__settings_t* uvws__settings_ref(uvws__settings_t* settings) {
  settings->refs++;
  return settings;
}

void uvws__settings_unref(uvws__settings_t* settings) {
  if (settings == NULL || --settings->refs > 0) return;
  uvws__deflate_plan_free(settings->deflate);
  uvws__free(settings);
}

int uvws__fields_read(const uvws_header_t* headers, unsigned n,
                      uvws__field_t** fields) {
  *fields = NULL;
  if (headers == NULL && n > 0) return UV_EINVAL;
  if (n == 0) return 0;
  *fields = uvws__calloc(n, sizeof(**fields));
  if (*fields == NULL) return UV_ENOMEM;
  for (unsigned i = 0; i < n; i++) {
    (*fields)[i] = (uvws__field_t){headers[i].name, headers[i].value};
    if (uvws__field_is_allowed(&(*fields)[i])) continue;
    uvws__free(*fields);
    *fields = NULL;
    return UV_EINVAL;
  }
  return 0;
}

uvws__field_t* uvws__fields_copy(const uvws_header_t* headers, unsigned n) {
  size_t size = sizeof(uvws__field_t) * (n + 1);
  for (unsigned i = 0; i < n; i++)
    size += strlen(headers[i].name) + strlen(headers[i].value) + 2;
  uvws__field_t* fields = uvws__malloc(size);
  if (fields == NULL) return NULL;
  char* at = (char*)(fields + n + 1);
  for (unsigned i = 0; i < n; i++) {
    fields[i].name = strcpy(at, headers[i].name);
    at += strlen(at) + 1;
    fields[i].value = strcpy(at, headers[i].value);
    at += strlen(at) + 1;
  }
  return fields;
}
