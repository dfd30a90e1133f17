/* SPDX-License-Identifier: MIT
 *
 * Migration by move_pages(2), to another memory node, of one page after the other.  With one node
 * there is nothing that moves a given page and harms nobody: see docs/host.md.
 */
#define _GNU_SOURCE

#include "host/swap.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { MOVE_ALL = 1 << 2, NODES = 64 }; /* MPOL_MF_MOVE_ALL: pages that others map too */

/* The node of the page; negative: an errno, no page is there. */
static int node_of(pid_t pid, uint64_t addr)
{
	void *page = (void *)(uintptr_t)addr;
	int status = -ENOENT;

	return syscall(SYS_move_pages, pid, 1UL, &page, NULL, &status, 0) ? -errno : status;
}

/* To the first other node that takes it. */
static void move_page(pid_t pid, uint64_t addr)
{
	void *page = (void *)(uintptr_t)addr;
	int from = node_of(pid, addr);

	for (int node = 0; node < NODES && from >= 0; node++) {
		int status = -EBUSY;

		if (node != from &&
		    !syscall(SYS_move_pages, pid, 1UL, &page, &node, &status, MOVE_ALL))
			break;
	}
}

static void add(struct host_seen *seen, enum cow_outcome outcome)
{
	seen->counts[outcome]++;
	seen->done += outcome == COW_OUT_MOVED;
	if (outcome == COW_OUT_REFUSED || seen->outcome == COW_OUT_NONE)
		seen->outcome = outcome;
}

int migrate_apply(struct host_run *run, const struct cow_event *event, struct host_seen *seen)
{
	uint32_t slot = event->target;
	uint64_t addr = host_addr(run, event->region, event->first);
	int pagemap = run->process[slot].pagemap;
	int error = swap_drain(run, slot);

	if (!error)
		error = host_look(run->host, pagemap, addr, event->pages, run->before);
	if (error)
		return error;
	if (run->region[event->region].hugetlb) {
		run->skipped = true;
		host_say(run->host, "%.100s:%u: move_pages(2) takes hugetlb pages, which compaction "
			 "does not", cow_scenario_name(run->scenario), run->line);
		return -EIO;
	}
	look_deeply(run->host, pagemap, addr, event->pages, run->before);
	for (uint64_t i = 0; i < event->pages; i++) {
		struct host_page now;

		/* a page of a folio goes with the others: who has moved already is not moved back */
		if (!run->before[i].present || run->before[i].zero ||
		    host_look(run->host, pagemap, addr + i * HOST_PAGE, 1, &now))
			continue;
		if (now.entry == run->before[i].entry)
			move_page(run->process[slot].pid, addr + i * HOST_PAGE);
		if (!host_look(run->host, pagemap, addr + i * HOST_PAGE, 1, &now))
			add(seen, now.entry == run->before[i].entry ? COW_OUT_REFUSED
								     : COW_OUT_MOVED);
	}
	return swap_drain(run, slot);
}
