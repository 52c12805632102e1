#ifndef UVWS_SRC_SENDING_H_
#define UVWS_SRC_SENDING_H_

/* A message that is sent in parts: RFC 6455, 5.4. */

#include "connection.h"

void uvws__sending_free(uvws__conn_t* conn);

/* Asks the source for more, as far as there is room. */
void uvws__sending_pull(uvws__conn_t* conn);

#endif /* UVWS_SRC_SENDING_H_ */
