#ifndef UVWS_SRC_PROXY_H_
#define UVWS_SRC_PROXY_H_

/* By way of whom a client connects: what options or the environment say. */

#include "net/tunnel.h"
#include "protocol/url.h"
#include "uvws.h"

/* A proxy, and the URL that its strings are in. */
typedef struct uvws__way_s {
  uvws__proxy_t proxy;
  uvws__url_t url;
} uvws__way_t;

/* *way is NULL when there is none, else to be freed. UV_EINVAL when what stands
 * there makes no sense, and what uvws__tls_for_client() reports. */
int uvws__way_read(const uvws_options_t* options, const uvws__url_t* to,
                   uvws__way_t** way);
void uvws__way_free(uvws__way_t* way);

#endif /* UVWS_SRC_PROXY_H_ */
