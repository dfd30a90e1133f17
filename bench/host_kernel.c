/* SPDX-License-Identifier: MIT
 *
 * The real kernel's side: the same operations by mmap, fork, stores, _exit and munmap.
 * They run in the worker (host_worker.c), so that what fork and exit cost is the cost of the
 * region.  The worker never simulates anything.
 * Next: README.md, "What is measured".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

/* Writes one byte to each page; a page that took no fault of its own makes the sample worthless. */
static void write_pages(struct sample *out, volatile char *region, uint64_t pages, size_t page_size)
{
	long before = minor_faults(), taken;
	double start = now_ns();

	for (uint64_t i = 0; i < pages; i++)
		region[i * page_size] = (char)i;
	sample_set(out, now_ns() - start, pages);
	taken = minor_faults() - before;
	if (taken < 0 || (uint64_t)taken < pages)
		sample_skip(out, "%ld faults for %llu pages", taken, (unsigned long long)pages);
}

/* The writes that copy double the region, as far as there is memory for that. */
static uint64_t pages_to_copy(uint64_t pages, size_t page_size)
{
	uint64_t available = memory_available();
	uint64_t fit = available > HOST_SPARE ? (available - HOST_SPARE) / page_size : 0;

	return fit < pages ? fit : pages;
}

static void region_sequence(char *region, uint64_t pages, size_t page_size, struct pass *out)
{
	double fork_empty, exit_empty, ns, ignored;
	struct child child;
	int error = host_baseline(&fork_empty, &exit_empty);

	if (error)
		goto failed;
	memory_warm(pages * page_size);
	write_pages(&out->op[OP_FIRST_FRESH], region, pages, page_size);
	/* A kernel's frames are there from boot: it knows no fresh machine. */
	out->op[OP_FIRST_USED] = out->op[OP_FIRST_FRESH];

	error = child_fork(&child, &ns);
	if (error)
		goto failed;
	sample_difference(&out->op[OP_FORK], ns, fork_empty, pages);
	error = child_exit(&child, &ns);
	if (error)
		goto failed;
	sample_difference(&out->op[OP_EXIT], ns, exit_empty, pages);
	write_pages(&out->op[OP_REUSE], region, pages, page_size);

	error = child_fork(&child, &ignored);
	if (error)
		goto failed;
	out->copied_pages = pages_to_copy(pages, page_size);
	if (out->copied_pages >= pages / 8) {
		memory_warm(out->copied_pages * page_size);
		write_pages(&out->op[OP_COPY], region, out->copied_pages, page_size);
	} else {
		sample_skip(&out->op[OP_COPY], "not enough memory for the copies");
	}
	error = child_exit(&child, &ignored);
	if (error)
		goto failed;
	return;
failed:
	pass_skip(out, error == -ECHILD ? "the child was killed" : strerror(-error));
}

void host_base(uint64_t pages, struct pass *out)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	char reason[BENCH_REASON], *region;
	double start;

	if (!host_has_memory(pages * page_size, reason)) {
		pass_skip(out, reason);
		return;
	}
	region = region_map(pages * page_size, MADV_NOHUGEPAGE);
	if (!region) {
		pass_skip(out, strerror(errno));
		return;
	}
	region_sequence(region, pages, page_size, out);
	start = now_ns();
	munmap(region, pages * page_size);
	if (!out->op[OP_FIRST_FRESH].skipped[0])
		sample_set(&out->op[OP_MUNMAP], now_ns() - start, pages);
	else
		sample_skip(&out->op[OP_MUNMAP], "%s", out->op[OP_FIRST_FRESH].skipped);
}

