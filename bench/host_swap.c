/* SPDX-License-Identifier: MIT
 *
 * The real kernel's swap: MADV_PAGEOUT and read faults, on base pages, in the worker, while the
 * guard's swap file is on.  What went out is proved by /proc/self/pagemap, what came in by the
 * faults and by the content.
 * Next: swap.c (the simulator's side).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host.h"

#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_CHUNK 4096
#define WRITEBACK_MS 10000 /* longest wait for the device */

struct swap_region {
	char *start;
	uint64_t pages;
	size_t page_size;
};

/* @return pages whose entry names a swap slot, or a negative errno. */
static int64_t pages_swapped(const struct swap_region *region)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry[PAGEMAP_CHUNK], first = (uintptr_t)region->start / region->page_size;
	int64_t swapped = 0;

	if (fd < 0)
		return -errno;
	for (uint64_t i = 0; i < region->pages;) {
		uint64_t left = region->pages - i, n = left < PAGEMAP_CHUNK ? left : PAGEMAP_CHUNK;
		ssize_t got = pread(fd, entry, n * sizeof(*entry),
				    (off_t)((first + i) * sizeof(*entry)));

		if (got < (ssize_t)sizeof(*entry)) {
			swapped = got < 0 ? -errno : -EIO;
			break;
		}
		n = (uint64_t)got / sizeof(*entry);
		for (uint64_t k = 0; k < n; k++)
			swapped += (entry[k] & PAGEMAP_SWAPPED) != 0;
		i += n;
	}
	close(fd);
	return swapped;
}

/* Not one page of zeroes, which the kernel does not write, and no two alike. */
static void fill(const struct swap_region *region)
{
	for (uint64_t i = 0; i < region->pages; i++)
		*(volatile uint64_t *)(region->start + i * region->page_size) = i + 1;
}

static int page_out(const struct swap_region *region, struct sample *out)
{
	double start = now_ns(), ns;
	int64_t swapped;

	if (madvise(region->start, region->pages * region->page_size, MADV_PAGEOUT))
		return -errno;
	ns = now_ns() - start;
	swapped = pages_swapped(region);
	if (swapped < 0)
		return (int)swapped;
	if ((uint64_t)swapped == region->pages)
		sample_set(out, ns, region->pages);
	else
		sample_skip(out, "only %lld of %llu pages went out", (long long)swapped,
			    (unsigned long long)region->pages);
	return 0;
}

static long major_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_majflt;
}

/* Reads every page. @param cached each is in the swap cache, so that no device is waited for */
static void read_in(const struct swap_region *region, bool cached, struct sample *out)
{
	long minor = minor_faults(), major = major_faults();
	uint64_t wrong = 0;
	double start = now_ns();

	for (uint64_t i = 0; i < region->pages; i++)
		wrong += *(volatile uint64_t *)(region->start + i * region->page_size) != i + 1;
	sample_set(out, now_ns() - start, region->pages);
	minor = minor_faults() - minor;
	major = major_faults() - major;
	if (wrong)
		sample_skip(out, "%llu pages came back changed", (unsigned long long)wrong);
	else if (minor + major < (long)region->pages)
		sample_skip(out, "%ld faults for %llu pages", minor + major,
			    (unsigned long long)region->pages);
	else if (cached ? major > 0 : major == 0)
		sample_skip(out, "%ld of the faults waited for the device", major);
}

/* Pages under writeback cannot be freed, and the writing takes time from what follows. */
static void wait_for_writeback(void)
{
	for (unsigned ms = 0; ms < WRITEBACK_MS; ms++) {
		if (number_behind("/proc/vmstat", "nr_writeback ") <= 0)
			return;
		usleep(1000);
	}
}

static int sequence(const struct swap_region *region, struct feature_pass *out)
{
	int error;

	memory_warm(region->pages * region->page_size);
	fill(region);
	error = page_out(region, &out->feature[FEATURE_OUT]);
	if (error)
		return error;
	wait_for_writeback();
	read_in(region, true, &out->feature[FEATURE_IN_CACHE]);
	error = page_out(region, &out->feature[FEATURE_OUT_CLEAN]);
	if (error)
		return error;
	wait_for_writeback();
	read_in(region, false, &out->feature[FEATURE_IN]);
	return 0;
}

void host_swap(uint64_t pages, struct feature_pass *out)
{
	struct swap_region region = { .pages = pages, .page_size = (size_t)sysconf(_SC_PAGESIZE) };
	char reason[BENCH_REASON];
	int error;

	if (!host_has_memory(pages * region.page_size, reason)) {
		features_skip(out, PART_SWAP, reason);
		return;
	}
	region.start = region_map(pages * region.page_size, MADV_NOHUGEPAGE);
	if (!region.start) {
		features_skip(out, PART_SWAP, strerror(errno));
		return;
	}
	error = sequence(&region, out);
	if (error)
		features_skip(out, PART_SWAP, strerror(-error));
	munmap(region.start, pages * region.page_size);
}
