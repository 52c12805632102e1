#ifndef UVWS_SRC_TLS_H_
#define UVWS_SRC_TLS_H_

/* uvws_tls_t: what its options name is read here, and a client that was told
 * nothing has one for the whole process. */

#include "net/secure.h"
#include "uvws.h"

/* The configuration of a client, with a reference: `tls`, or the default. 0,
 * UVWS_ETLS when there is nobody to trust, UV_ENOMEM. */
int uvws__tls_for_client(uvws_tls_t* tls, uvws_tls_t** result);

/* Fills `*info` with what is known; `stream` may be NULL. */
void uvws__tls_info_fill(uvws_tls_info_t* info,
                         const uvws__tls_result_t* result,
                         const uvws__stream_t* stream);

/* src/trust.c: whom the system trusts: false when that is not to be found.
 * Freed with uvws__free(). */
bool uvws__trust_read(uvws__tls_text_t* text);

/* The same, but where the environment says, if it does. */
bool uvws__trust_read_environment(uvws__tls_text_t* text);

/* All of a file, NUL-terminated. */
int uvws__file_read(const char* name, uvws__tls_text_t* text);

#endif /* UVWS_SRC_TLS_H_ */
