#define _GNU_SOURCE
#include "load-figures.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Latencies, each in a bucket that is less than a percent wide. */

static uint32_t buckets[58 * 128];
static uint64_t n_latencies, longest;

void count_latency(uint64_t ns) {
  unsigned shift = ns < 256 ? 0 : 56 - (unsigned)__builtin_clzll(ns);
  buckets[shift * 128 + (unsigned)(ns >> shift)]++;
  n_latencies++;
  if (ns > longest) longest = ns;
}

/* In microseconds, the middle of the bucket. */
double latency_quantile(double part) {
  uint64_t below = 0, wanted = (uint64_t)(part * (double)n_latencies);
  for (unsigned i = 0; i < sizeof(buckets) / sizeof(*buckets); i++) {
    below += buckets[i];
    if (below <= wanted) continue;
    unsigned shift = i < 256 ? 0 : i / 128 - 1;
    return ((double)(i - shift * 128) + 0.5) * (double)(1ull << shift) / 1000;
  }
  return 0;
}

double longest_latency(void) {
  return (double)longest / 1000;
}

static double in_seconds(struct timespec time) {
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Of all its threads, in nanoseconds, other than in /proc/PID/stat; what runs
 * right now is exact to the last tick of the scheduler. */
static double server_time(int pid) {
  clockid_t clock;
  struct timespec time;
  if (pid == 0) return 0;
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
    die("no process %d", pid);
  return in_seconds(time);
}

usage_t usage(int pid) {
  usage_t used = {.server = server_time(pid), .time = now()};
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  used.own = in_seconds(time);
  unsigned long long t[8] = {0};
  FILE* file = fopen("/proc/stat", "r");
  if (file == NULL ||
      fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1],
             &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 8)
    die("no /proc/stat");
  fclose(file);
  double hz = (double)sysconf(_SC_CLK_TCK);
  /* Neither idle nor waiting for a disk. */
  used.machine = (double)(t[0] + t[1] + t[2] + t[5] + t[6]) / hz;
  used.stolen = (double)t[7] / hz;
  return used;
}

long server_memory(int pid) {
  char line[256];
  long kib = -1;
  if (pid == 0) return -1;
  snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", pid);
  FILE* file = fopen(line, "r");
  if (file == NULL) die("no process %d", pid);
  while (kib < 0 && fgets(line, sizeof(line), file) != NULL)
    if (sscanf(line, "Rss: %ld", &kib) != 1) kib = -1;
  fclose(file);
  return kib;
}
