#include "deflate.h"

#include <stdio.h>
#include <string.h>

static bool read_one(const char* name, unsigned value,
                     uvws_deflate_options_t* options) {
  if (strcmp(name, "server_no_context_takeover") == 0)
    options->server_no_context_takeover = 1;
  else if (strcmp(name, "client_no_context_takeover") == 0)
    options->client_no_context_takeover = 1;
  else if (strcmp(name, "server_max_window_bits") == 0)
    options->server_max_window_bits = value;
  else if (strcmp(name, "client_max_window_bits") == 0)
    options->client_max_window_bits = value;
  else if (strcmp(name, "level") == 0)
    options->level = (int)value;
  else if (strcmp(name, "memory_level") == 0)
    options->memory_level = (int)value;
  else if (strcmp(name, "threshold") == 0)
    options->threshold = value;
  else
    return false;
  return true;
}

bool read_deflate(const char* text, uvws_deflate_options_t* options) {
  uvws_deflate_options_init(options);
  if (strcmp(text, "yes") == 0) return true;
  while (*text != '\0') {
    char name[64];
    unsigned value = 0;
    int len = 0;
    if (sscanf(text, " %63[a-z_]%n", name, &len) != 1) return false;
    text += len;
    if (sscanf(text, "=%u%n", &value, &len) == 1) text += len;
    if (!read_one(name, value, options)) return false;
    text += strspn(text, " ;");
  }
  return true;
}
