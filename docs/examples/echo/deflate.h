#ifndef ECHO_DEFLATE_H_
#define ECHO_DEFLATE_H_

#include <stdbool.h>

#include <uvws.h>

/* Reads what --deflate is given: "yes", or parameters as they stand in the
 * header, such as "server_no_context_takeover; client_max_window_bits=10", and
 * besides "level=1", "memory_level=9", "threshold=0". False when it is neither.
 */
bool read_deflate(const char* text, uvws_deflate_options_t* options);

#endif /* ECHO_DEFLATE_H_ */
