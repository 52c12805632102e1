/* A part of uvws.h: permessage-deflate, the compression of messages (RFC 7692).
 *
 * It is off unless options ask for it. Then a client offers it, a server
 * accepts it where it is offered, and uvws_extensions() tells what was agreed
 * on.
 *
 * Its memory is what has ruined others. Here the sockets of a loop share zlib's
 * streams: one that does not keep its context from message to message (`no
 * context takeover`) has one of its own only while a message is under way. One
 * that does has it from its first compressed message until it was idle for
 * idle_timeout; what was received can only be given back so when the peer does
 * not rely on it. A stream for compressing costs some 290 KiB (less with a
 * smaller window and memory level), one for inflating 48 KiB. */
#ifndef UVWS_DEFLATE_H_
#define UVWS_DEFLATE_H_

#ifndef UVWS_H_
#error "include uvws.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** How to compress, and what to ask for. Set it up with
 * uvws_deflate_options_init(), then change what differs. It is copied. */
struct uvws_deflate_options_s {
  size_t size; /* set by uvws_deflate_options_init() */

  const uvws_deflate_options_t* next; /* client: what else to offer, in order of
                                         preference: of these only the four
                                         parameters count; NULL */
  int level;                          /* zlib's, 1 (fast) to 9 (small); 6 */
  int memory_level;                   /* zlib's, 1 to 9; 8 */
  int strategy;                       /* zlib's, such as Z_FILTERED; 0 */
  int server_no_context_takeover; /* the server's messages do not refer to those
                                     before (RFC 7.1.1.1 of 7692); 0 */
  int client_no_context_takeover; /* nor do the client's (7.1.1.2); 0 */
  unsigned server_max_window_bits; /* the server looks back 2^bits bytes at
                                      most, 8 to 15 (7.1.2.1); 0 = 15, unsaid */
  unsigned client_max_window_bits; /* so does the client (7.1.2.2); 0 = 15. A
                                      server that limits it declines offers of
                                      clients that cannot be limited */
  uint32_t threshold;    /* smaller messages are not compressed, unless they are
                            sent in parts; 1 KiB */
  uint32_t idle_timeout; /* without a compressed message, until contexts are
                            given back where that is allowed; 10 s, 0 = never */
};

/** Fills `*o` with the defaults that stand beside the members. */
#define uvws_deflate_options_init(o) \
  uvws_deflate_options_init_sized((o), sizeof(*(o)))

/** What uvws_deflate_options_init() calls; see uvws_options_init_sized(). */
UVWS_EXTERN void uvws_deflate_options_init_sized(
    uvws_deflate_options_t* options, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* UVWS_DEFLATE_H_ */
