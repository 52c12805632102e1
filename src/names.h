#ifndef UVWS_SRC_NAMES_H_
#define UVWS_SRC_NAMES_H_

/* The url, protocol and extensions of a socket. Those of a server's sockets are
 * mostly the same, and then they are there once. */

typedef struct uvws__names_s {
  unsigned refs;
  char* url; /* each NULL for "" */
  char* protocol;
  char* extensions;
} uvws__names_t;

/* Empty ones, with one reference; NULL when there is no memory. */
uvws__names_t* uvws__names_new(void);
void uvws__names_unref(uvws__names_t* names); /* NULL is fine */

/* What was there last, if *names say the same, takes their place; else they are
 * what was there last. */
void uvws__names_share(uvws__names_t** names, uvws__names_t** last);

#endif /* UVWS_SRC_NAMES_H_ */
