/* What the load finds out: how late its messages came back, and what the kernel
 * says about the server, the load and the machine. */
#ifndef LOAD_FIGURES_H
#define LOAD_FIGURES_H

#include <stdint.h>

typedef struct {
  double server, own, machine, stolen; /* seconds of processors */
  uint64_t time;
} usage_t;

/* Ends the program. */
_Noreturn void die(const char* format, ...);

/* In nanoseconds. */
uint64_t now(void);

void count_latency(uint64_t ns);

/* In microseconds; 0 if none was counted. */
double latency_quantile(double part);
double longest_latency(void);

/* A `pid` of 0 is no process, whose time is 0 and whose memory -1. */
usage_t usage(int pid);

/* In KiB; exact, other than in /proc/PID/status. */
long server_memory(int pid);

#endif
