/* In the place of libFuzzer: runs a target over a corpus, which is a text file
 * of one input a line, in the notation of printf '%b'. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len);

static char* decode_escape(char* s, uint8_t* byte) {
  static const char letters[] = "\\\\n\nr\rt\t";
  if (*s == 'x') {
    char digits[3] = {s[1], s[2], '\0'};
    *byte = (uint8_t)strtoul(digits, NULL, 16);
    return s + 3;
  }
  for (const char* pair = letters; *pair != '\0'; pair += 2)
    if (*pair == *s) *byte = (uint8_t)pair[1];
  return s + 1;
}

/* In place: no escape is shorter than its byte. */
static size_t decode(char* line) {
  uint8_t* out = (uint8_t*)line;
  size_t len = 0;
  for (char* s = line; *s != '\0' && *s != '\n'; len++) {
    if (*s == '\\')
      s = decode_escape(s + 1, &out[len]);
    else
      out[len] = (uint8_t)*s++;
  }
  return len;
}

int main(int argc, char** argv) {
  static char line[65536];
  unsigned n = 0;
  FILE* corpus = argc == 2 ? fopen(argv[1], "r") : NULL;
  if (corpus == NULL) {
    fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
    return 2;
  }
  for (; fgets(line, sizeof(line), corpus) != NULL; n++) {
    size_t len = decode(line);
    /* A block of just that size: a sanitizer sees a read beyond it. */
    uint8_t* input = malloc(len);
    if (input == NULL && len > 0) abort();
    memcpy(input, line, len);
    LLVMFuzzerTestOneInput(input, len);
    free(input);
  }
  fclose(corpus);
  printf("%u inputs\n", n);
  return n > 0 ? 0 : 1;
}
