#ifndef UVWS_VERSION_H_
#define UVWS_VERSION_H_

/* Versions follow semver: the ABI changes with the major number only (while it
 * is 0, with the minor one). */
#define UVWS_VERSION_MAJOR 0
#define UVWS_VERSION_MINOR 1
#define UVWS_VERSION_PATCH 0

/* 0xMMmmpp, comparable with < and >. */
#define UVWS_VERSION_HEX                                    \
  ((UVWS_VERSION_MAJOR << 16) | (UVWS_VERSION_MINOR << 8) | \
   (UVWS_VERSION_PATCH))

#endif /* UVWS_VERSION_H_ */
