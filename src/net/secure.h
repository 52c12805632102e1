#ifndef UVWS_SRC_NET_SECURE_H_
#define UVWS_SRC_NET_SECURE_H_

/* TLS on a stream. Its owner notices little: what is queued waits for the
 * handshake, and what is read was decrypted. All that a stream counts, its
 * queue for instance, are the bytes inside TLS. */

#include "net/stream.h"
#include "net/tls.h"

typedef struct uvws__secure_s uvws__secure_t;

/* ---- for a stream's owner ---- */

/* From now on the stream speaks TLS: to be called before anything is read or
 * queued. UV_ENOMEM. A client knows whom it wants to speak to; on a server
 * `host` is NULL. */
int uvws__stream_secure(uvws__stream_t* stream, struct uvws_tls_s* config,
                        const char* host, uint16_t port);

/* Whether nothing can be said yet: TLS's handshake is not over. */
bool uvws__stream_is_mute(const uvws__stream_t* stream);

/* What is known of a stream's TLS; NULL without any. */
const uvws__tls_result_t* uvws__stream_tls(const uvws__stream_t* stream);

/* The same, which is the caller's from now on: inside `closed`. To be ended by
 * uvws__stream_tls_free(). */
uvws__tls_result_t* uvws__stream_take_tls(uvws__stream_t* stream);
void uvws__stream_tls_free(uvws__tls_result_t* result);

/* The peer's certificate; NULL when there is none. */
const uint8_t* uvws__stream_peer_certificate(const uvws__stream_t* stream,
                                             size_t* len);

/* ---- for stream.c ---- */

/* As uv_try_write(): how many bytes are with the kernel, record by record. */
int uvws__secure_try_write(uvws__secure_t* secure, const uv_buf_t* bufs,
                           unsigned n);

/* A record is with libuv; and how much of it the kernel has taken. */
bool uvws__secure_is_writing(const uvws__secure_t* secure);
uint64_t uvws__secure_taken(const uvws__secure_t* secure);

/* Of the bytes that were not yet told to be with the kernel, so many are; and
 * now they were told. */
size_t uvws__secure_done(const uvws__secure_t* secure);
void uvws__secure_settle(uvws__secure_t* secure, size_t done);

/* Ciphertext came. */
void uvws__secure_read(uvws__secure_t* secure, const uint8_t* data, size_t len);

/* Reading starts: whether the handle must wait for what was read before. */
bool uvws__secure_read_start(uvws__secure_t* secure);

/* Ciphertext waits, of which the owner wants nothing now. */
bool uvws__secure_keeps(const uvws__secure_t* secure);

/* Says that nothing follows: 0, UV_EAGAIN until that is sent, or an error. */
int uvws__secure_end(uvws__secure_t* secure);

/* The handle closes, is closed. */
void uvws__secure_stop(uvws__secure_t* secure);
void uvws__secure_free(uvws__secure_t* secure);

#endif /* UVWS_SRC_NET_SECURE_H_ */
