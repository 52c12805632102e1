/* The bare cipher of a TLS connection: the processor time that decrypting one
 * record and encrypting one takes, with nothing else around it. No echo over
 * TLS by mbedTLS can cost less than this and what it costs without TLS.
 *
 *   cipher SUITE SECONDS [IN OUT]
 *
 * SUITE is the name of a cipher suite as any library spells it; IN and OUT are
 * the bytes in a record, by default 16384. Prints nanoseconds per byte that
 * comes in and goes out again, and per pair of records. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/chachapoly.h>
#include <mbedtls/gcm.h>

enum { RECORD_MAX = 16384, NONCE = 12, TAG = 16, AAD = 13, BATCH = 64 };

static struct {
  mbedtls_gcm_context gcm;
  mbedtls_chachapoly_context chachapoly;
  bool is_chachapoly;
  uint8_t key[32], nonce[NONCE], aad[AAD];
  /* As in TLS, bytes are replaced where they are. What is decrypted would not
   * be ciphertext a second time, so it is copied from here. */
  uint8_t sealed[RECORD_MAX], tag[TAG], in[RECORD_MAX];
  uint8_t out[RECORD_MAX], out_tag[TAG];
} self;

static void check(bool truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "cipher: %s\n", what);
  exit(1);
}

/* AES128, AES-128 or AES_128. */
static unsigned aes_bits(const char* suite) {
  const char* aes = strstr(suite, "AES");
  check(aes != NULL && strstr(suite, "GCM") != NULL, "which cipher?");
  aes += strcspn(aes, "0123456789");
  return (unsigned)atoi(aes);
}

static const char* set_up(const char* suite) {
  self.is_chachapoly = strstr(suite, "CHACHA20") != NULL;
  if (self.is_chachapoly) {
    mbedtls_chachapoly_init(&self.chachapoly);
    check(mbedtls_chachapoly_setkey(&self.chachapoly, self.key) == 0, "key");
    return "mbedtls_chachapoly";
  }
  mbedtls_gcm_init(&self.gcm);
  check(mbedtls_gcm_setkey(&self.gcm, MBEDTLS_CIPHER_ID_AES, self.key,
                           aes_bits(suite)) == 0,
        "key");
  return "mbedtls_gcm";
}

static void encrypt(uint8_t* bytes, size_t len, uint8_t* tag) {
  int code = self.is_chachapoly
                 ? mbedtls_chachapoly_encrypt_and_tag(&self.chachapoly, len,
                                                      self.nonce, self.aad, AAD,
                                                      bytes, bytes, tag)
                 : mbedtls_gcm_crypt_and_tag(&self.gcm, MBEDTLS_GCM_ENCRYPT,
                                             len, self.nonce, NONCE, self.aad,
                                             AAD, bytes, bytes, TAG, tag);
  check(code == 0, "encrypt");
}

static void decrypt(uint8_t* bytes, size_t len, const uint8_t* tag) {
  int code =
      self.is_chachapoly
          ? mbedtls_chachapoly_auth_decrypt(&self.chachapoly, len, self.nonce,
                                            self.aad, AAD, tag, bytes, bytes)
          : mbedtls_gcm_auth_decrypt(&self.gcm, len, self.nonce, NONCE,
                                     self.aad, AAD, tag, TAG, bytes, bytes);
  check(code == 0, "decrypt");
}

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The copy is not the cipher's: it is done apart, and its time taken off. */
static double time_of(size_t in, size_t out, bool only_copy, double seconds) {
  double start = cpu_seconds(), now = start;
  uint64_t pairs = 0;
  for (; now - start < seconds; now = cpu_seconds()) {
    for (int i = 0; i < BATCH; i++) {
      memcpy(self.in, self.sealed, in);
      __asm__ volatile("" : : "r"(self.in) : "memory");
      if (only_copy) continue;
      decrypt(self.in, in, self.tag);
      encrypt(self.out, out, self.out_tag);
    }
    pairs += BATCH;
  }
  return (now - start) / (double)pairs;
}

int main(int argc, char** argv) {
  check(argc == 3 || argc == 5, "usage: cipher SUITE SECONDS [IN OUT]");
  size_t in = argc == 5 ? (size_t)atoi(argv[3]) : RECORD_MAX;
  size_t out = argc == 5 ? (size_t)atoi(argv[4]) : RECORD_MAX;
  double seconds = atof(argv[2]);
  check(in > 0 && in <= RECORD_MAX && out > 0 && out <= RECORD_MAX, "sizes");
  check(seconds > 0 && seconds < 60, "seconds");
  const char* name = set_up(argv[1]);
  encrypt(self.sealed, in, self.tag);
  double copy = time_of(in, out, true, seconds / 10);
  double both = time_of(in, out, false, seconds) - copy;
  printf(
      "{\"cipher\":\"%s\",\"in\":%zu,\"out\":%zu,\"ns_per_byte\":%.5f,"
      "\"ns_per_pair\":%.1f}\n",
      name, in, out, both * 2e9 / (double)(in + out), both * 1e9);
  return 0;
}
