/* SPDX-License-Identifier: MIT
 *
 * The real kernel's huge pages: fault, fork, PMD split, on a MADV_HUGEPAGE region in the worker.
 * Every row is proved by AnonHugePages of /proc/self/smaps_rollup; huge pages that did not come are
 * a reason to skip.  Changes no setting of the system.
 * Next: huge.c (the simulator's side).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

struct huge_region {
	char *start;
	uint64_t pmds;
	size_t page_size, pmd_size;
};

/* @return bytes that PMDs map in this process, or -1. */
static long long bytes_in_pmds(void)
{
	long long kib = number_behind("/proc/self/smaps_rollup", "AnonHugePages:");

	return kib < 0 ? -1 : kib << 10;
}

static double write_each(const struct huge_region *region)
{
	volatile char *start = region->start;
	double begin = now_ns();

	for (uint64_t i = 0; i < region->pmds; i++)
		start[i * region->pmd_size] = (char)i;
	return now_ns() - begin;
}

/* @return 0 with the time to give up that one page of each PMD, or a negative errno. */
static int give_up_each(const struct huge_region *region, unsigned page, double *ns)
{
	double begin = now_ns();

	for (uint64_t i = 0; i < region->pmds; i++)
		if (madvise(region->start + i * region->pmd_size + page * region->page_size,
			    region->page_size, MADV_DONTNEED))
			return -errno;
	*ns = now_ns() - begin;
	return 0;
}

/* @return whether so many PMDs are mapped; else the sample is skipped. */
static bool pmds_are(const struct huge_region *region, uint64_t wanted, struct sample *out)
{
	long long bytes = bytes_in_pmds();

	if (bytes >= 0 && (uint64_t)bytes == wanted * region->pmd_size)
		return true;
	if (bytes < 0)
		sample_skip(out, "no AnonHugePages in /proc/self/smaps_rollup");
	else
		sample_skip(out, "%llu of %llu PMDs map a huge page",
			    (unsigned long long)bytes / region->pmd_size,
			    (unsigned long long)region->pmds);
	return false;
}

static int fork_once(const struct huge_region *region, double empty, struct sample *out)
{
	struct child child;
	double ns, ignored;
	int error = child_fork(&child, &ns);

	if (!error)
		error = child_exit(&child, &ignored);
	if (!error)
		sample_difference(out, ns, empty, region->pmds);
	return error;
}

/*
 * MADV_DONTNEED of one page splits the PMD and takes one PTE away; of a second page of the same PMD
 * it only takes a PTE away.  The difference is the split.
 */
static int split(const struct huge_region *region, struct sample *out)
{
	double both = 0, rest = 0;
	int error = give_up_each(region, 0, &both);

	if (!error && !pmds_are(region, 0, out))
		return 0;
	if (!error)
		error = give_up_each(region, 1, &rest);
	if (!error)
		sample_difference(out, both, rest, region->pmds);
	return error;
}

static int sequence(const struct huge_region *region, struct feature_pass *out)
{
	double fork_empty, exit_empty, ns;
	int error = host_baseline(&fork_empty, &exit_empty);

	if (error)
		return error;
	memory_warm(region->pmds * region->pmd_size);
	ns = write_each(region);
	if (!pmds_are(region, region->pmds, &out->feature[FEATURE_THP_FAULT])) {
		features_skip(out, PART_HUGE, out->feature[FEATURE_THP_FAULT].skipped);
		return 0;
	}
	sample_set(&out->feature[FEATURE_THP_FAULT], ns, region->pmds);
	error = fork_once(region, fork_empty, &out->feature[FEATURE_THP_FORK]);
	if (error)
		return error;
	write_each(region); /* the parent's own again */
	return split(region, &out->feature[FEATURE_PMD_SPLIT]);
}

void host_huge(uint64_t pmds, struct feature_pass *out)
{
	long long size = number_in("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
	struct huge_region region = { .pmds = pmds, .page_size = (size_t)sysconf(_SC_PAGESIZE) };
	char reason[BENCH_REASON];
	int error;

	if (size <= 0) {
		features_skip(out, PART_HUGE, "the kernel has no transparent huge pages");
		return;
	}
	region.pmd_size = (size_t)size;
	if (!host_has_memory(pmds * region.pmd_size, reason)) {
		features_skip(out, PART_HUGE, reason);
		return;
	}
	region.start = region_map(pmds * region.pmd_size, MADV_HUGEPAGE);
	if (!region.start) {
		features_skip(out, PART_HUGE, strerror(errno));
		return;
	}
	error = sequence(&region, out);
	if (error)
		features_skip(out, PART_HUGE, error == -ECHILD ? "the child was killed" :
							 strerror(-error));
	munmap(region.start, pmds * region.pmd_size);
}
