#ifndef UVWS_SRC_ERROR_H_
#define UVWS_SRC_ERROR_H_

#include "protocol/failure.h"

/* The status that a failure of the protocol room is reported with. */
int uvws__failure_status(uvws__failure_t failure);

#endif /* UVWS_SRC_ERROR_H_ */
