/* SPDX-License-Identifier: MIT
 *
 * The real kernel's KSM: two full scans of ksmd over a mergeable region of the worker, all pages
 * equal or all distinct.  The first scan only takes checksums, so two are what it needs to merge.
 * The time is the CPU time of ksmd, from its schedstat: it sleeps, and shares a CPU with nobody's
 * leave.  The guard has set ksmd up, and sets it right again.
 * Next: ksm.c (the simulator's side).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

#define KSM_FOLDER "/sys/kernel/mm/ksm/"
#define SCANS 2
#define SCAN_MS 60000 /* longest wait */

/* @return the process of that name, or -1. */
static int process_find(const char *name)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	int found = -1;

	while (folder && found < 0 && (entry = readdir(folder))) {
		char path[300], word[64] = "";
		FILE *file;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(word, sizeof(word), file) && !strncmp(word, name, strlen(name)) &&
		    word[strlen(name)] == '\n')
			found = atoi(entry->d_name);
		fclose(file);
	}
	if (folder)
		closedir(folder);
	return found;
}

/* @return 0 or a negative errno. */
static int run_set(const char *value)
{
	int fd = open(KSM_FOLDER "run", O_WRONLY | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	error = write_all(fd, value, 1);
	close(fd);
	return error;
}

/* Lets ksmd scan everything twice. @return 0 with its CPU time, or a negative errno */
static int scan(const char *schedstat, double *ns)
{
	long long wanted = number_in(KSM_FOLDER "full_scans") + SCANS, before, after;
	int error;

	before = number_in(schedstat);
	if (before < 0)
		return -ENODATA;
	error = run_set("1");
	if (error)
		return error;
	for (unsigned ms = 0; number_in(KSM_FOLDER "full_scans") < wanted; ms++) {
		if (ms == SCAN_MS) {
			(void)run_set("0");
			return -ETIMEDOUT;
		}
		usleep(1000);
	}
	error = run_set("0"); /* waits for the scan that may have begun */
	after = number_in(schedstat);
	*ns = (double)(after - before);
	return error;
}

static void fill(char *region, uint64_t pages, size_t page_size, bool distinct)
{
	for (uint64_t i = 0; i < pages; i++)
		*(volatile uint64_t *)(region + i * page_size) = distinct ? i + 1 : 1;
}

static int measure(char *region, uint64_t pages, bool distinct, const char *schedstat,
		   struct sample *out)
{
	long long saved;
	double ns = 0;
	int error;

	fill(region, pages, (size_t)sysconf(_SC_PAGESIZE), distinct);
	if (madvise(region, pages * (size_t)sysconf(_SC_PAGESIZE), MADV_MERGEABLE))
		return -errno;
	error = scan(schedstat, &ns);
	if (error)
		return error;
	saved = number_in(KSM_FOLDER "pages_sharing") + number_in(KSM_FOLDER "pages_shared");
	if (saved == (distinct ? 0 : (long long)pages))
		sample_set(out, ns, pages);
	else
		sample_skip(out, "%lld of %llu pages merged", saved, (unsigned long long)pages);
	return 0;
}

/* Each content gets a region of its own, and ksmd forgets it before the next. */
static int measure_fresh(uint64_t pages, bool distinct, const char *schedstat, struct sample *out)
{
	uint64_t bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	char *region = region_map(bytes, MADV_NOHUGEPAGE);
	int error, forget;

	if (!region)
		return -errno;
	error = measure(region, pages, distinct, schedstat, out);
	munmap(region, bytes);
	forget = run_set("2");
	return error ? error : forget;
}

void host_ksm(uint64_t pages, struct feature_pass *out)
{
	char reason[BENCH_REASON], schedstat[64];
	int ksmd = process_find("ksmd"), error;

	if (!host_has_memory(pages * (uint64_t)sysconf(_SC_PAGESIZE), reason)) {
		features_skip(out, PART_KSM, reason);
		return;
	}
	snprintf(schedstat, sizeof(schedstat), "/proc/%d/schedstat", ksmd);
	if (ksmd < 0 || number_in(schedstat) < 0) {
		features_skip(out, PART_KSM,
			      ksmd < 0 ? "no process ksmd" : "ksmd has no schedstat");
		return;
	}
	error = measure_fresh(pages, false, schedstat, &out->feature[FEATURE_KSM_EQUAL]);
	if (!error)
		error = measure_fresh(pages, true, schedstat, &out->feature[FEATURE_KSM_DISTINCT]);
	if (error)
		features_skip(out, PART_KSM, strerror(-error));
}
