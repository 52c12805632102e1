#ifndef UVWS_SRC_ENVIRONMENT_H_
#define UVWS_SRC_ENVIRONMENT_H_

/* getenv(), but NULL in a set-uid program: its caller must not decide whom it
 * trusts and by whose way it goes. */
const char* uvws__environment(const char* name);

#endif /* UVWS_SRC_ENVIRONMENT_H_ */
