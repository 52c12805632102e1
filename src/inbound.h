#ifndef UVWS_SRC_INBOUND_H_
#define UVWS_SRC_INBOUND_H_

#include "connection.h"

/* Bytes from behind the handshake, which may be written to, become events. */
void uvws__conn_receive(uvws__conn_t* conn, uint8_t* data, size_t len);

#endif /* UVWS_SRC_INBOUND_H_ */
