#ifndef UVWS_SRC_OPTIONS_H_
#define UVWS_SRC_OPTIONS_H_

/* The limits and deadlines of a connection, from the options of either role. A
 * server's connections share one. */

#include "protocol/head.h"
#include "protocol/message.h"
#include "uvws.h"

struct uvws__deflate_plan_s;

typedef struct uvws__settings_s {
  unsigned refs;
  struct uvws__server_s* server; /* whose connections share it, or NULL */
  uvws__budget_t* budget;        /* that server's, or NULL */
  struct uvws__deflate_plan_s* deflate; /* or NULL */
  uvws__limits_t limits;
  uint64_t max_discard;
  uint32_t max_head;
  uint32_t max_headers;
  uint32_t connect_timeout;
  uint32_t handshake_timeout;
  uint32_t close_timeout;
  uint64_t high_water;
  uint64_t low_water;
  uint32_t high_water_policy;
  uint32_t max_ping_rate;
  uint32_t max_fragment_rate;
  uint32_t ping_interval;
  uint32_t ping_timeout;
  uint32_t idle_timeout;
  uint32_t send_timeout;
} uvws__settings_t;

/* One reference is the caller's. UV_EINVAL when what is asked of compression
 * makes no sense, UV_ENOMEM. */
int uvws__settings_for_client(const uvws_options_t* options,
                              uvws__settings_t** settings);
int uvws__settings_for_server(const uvws_server_options_t* options,
                              uvws__settings_t** settings);
uvws__settings_t* uvws__settings_ref(uvws__settings_t* settings);
void uvws__settings_unref(uvws__settings_t* settings);

/* What every options struct does: see the comment in options.c. */
void uvws__init_sized(void* to, size_t to_size, const void* defaults,
                      size_t size);
int uvws__read_sized(void* to, const void* from, const void* defaults,
                     size_t size);

/* Copies what the caller's header knew over the defaults; `from` may be NULL.
 * UV_EINVAL when its size was not set. */
int uvws__options_read(uvws_options_t* to, const uvws_options_t* from);
int uvws__server_options_read(uvws_server_options_t* to,
                              const uvws_server_options_t* from);
int uvws__accept_options_read(uvws_accept_options_t* to,
                              const uvws_accept_options_t* from);

/* The caller's headers as the protocol room wants them: *fields must be freed.
 * UV_EINVAL when one is not allowed, UV_ENOMEM. */
int uvws__fields_read(const uvws_header_t* headers, unsigned n,
                      uvws__field_t** fields);

/* Headers that are allowed, as one block; not NULL for none. */
uvws__field_t* uvws__fields_copy(const uvws_header_t* headers, unsigned n);
int uvws__deflate_options_read(uvws_deflate_options_t* to,
                               const uvws_deflate_options_t* from);
int uvws__adopt_options_read(uvws_adopt_options_t* to,
                             const uvws_adopt_options_t* from);

#endif /* UVWS_SRC_OPTIONS_H_ */
