/* SPDX-License-Identifier: MIT
 *
 * What the files of the kernel's side share: the worker's requests, children of the worker, and
 * what it reads about itself in /proc.  Nothing here is seen by the simulator's side.
 * Next: host_worker.c (the process), then host_kernel.c, host_swap.c, host_ksm.c, host_huge.c.
 */
#ifndef COWLAB_BENCH_HOST_H
#define COWLAB_BENCH_HOST_H

#include <sys/types.h>

#include "bench.h"

#define HOST_SPARE (UINT64_C(1) << 28) /* bytes left alone for page tables and everybody else */

/* A child that waits on a pipe and exits when told to. */
struct child {
	pid_t pid;
	int tell;
};

/* host_worker.c */
int read_all(int fd, void *bytes, size_t size);
int write_all(int fd, const void *bytes, size_t size);
/* @return 0 with the time that fork took in the parent, or a negative errno. */
int child_fork(struct child *child, double *ns);
/* @return 0 with the time from the word to exit until the child has been waited for. */
int child_exit(struct child *child, double *ns);
/* What fork and exit cost while the worker holds nothing. */
int host_baseline(double *fork_ns, double *exit_ns);
long minor_faults(void);
/* A difference that is not above zero was lost in noise, and is no sample. */
void sample_difference(struct sample *out, double ns, double empty, uint64_t units);
/* A new region of whole huge pages, so aligned.  @return NULL with the reason in errno. */
char *region_map(uint64_t bytes, int advice);
/* @return whether the machine has so much; else the reason is set. */
bool host_has_memory(uint64_t bytes, char reason[BENCH_REASON]);
/* The number in a file that holds nothing else, or behind the word.  @return -1: it is not there */
long long number_in(const char *path);
long long number_behind(const char *path, const char *word);

/* One pass each, in the worker. */
void host_base(uint64_t pages, struct pass *out);
void host_swap(uint64_t pages, struct feature_pass *out);
void host_ksm(uint64_t pages, struct feature_pass *out);
void host_huge(uint64_t pmds, struct feature_pass *out);

#endif
