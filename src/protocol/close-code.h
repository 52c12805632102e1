#ifndef UVWS_SRC_PROTOCOL_CLOSE_CODE_H_
#define UVWS_SRC_PROTOCOL_CLOSE_CODE_H_

#include <stdbool.h>

/* RFC 6455, 7.4.1, the codes that the library itself uses or reports. */
enum {
  UVWS__CLOSE_NORMAL = 1000,
  UVWS__CLOSE_GOING_AWAY = 1001,
  UVWS__CLOSE_NO_STATUS = 1005, /* never on the wire */
  UVWS__CLOSE_ABNORMAL = 1006   /* never on the wire */
};

#define UVWS__CLOSE_REASON_MAX 123 /* 125 less the code; RFC 6455, 5.5.1 */

/* Whether a code may stand in a close frame. */
bool uvws__close_code_is_valid(unsigned code);

#endif /* UVWS_SRC_PROTOCOL_CLOSE_CODE_H_ */
