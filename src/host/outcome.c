/* SPDX-License-Identifier: MIT
 *
 * What an event came to, from what was seen: the entry and the frame before and after, the faults
 * that the thread took at that page, and its signals.  Where these do not decide, nothing is said.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

static void add(struct host_seen *seen, enum cow_outcome outcome)
{
	seen->outcome = outcome;
	seen->counts[outcome]++;
	seen->done++;
	seen->vague |= outcome == COW_OUT_NONE;
}

static void fail(struct host_seen *seen, enum cow_outcome outcome, int error)
{
	seen->failed = true;
	seen->outcome = outcome;
	seen->error = error;
}

/* True if an entry anywhere names the slot that this page was in. */
static bool slot_is_shared(struct host_run *run, uint64_t entry)
{
	bool shared = false;

	for (uint32_t slot = 0; slot < HOST_PROCESSES && !shared; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count; i++) {
			struct host_page page;

			if (!run->process[slot].pid || !run->region[i].made)
				continue;
			for (uint64_t j = 0; j < run->scenario->region_info[i].pages; j++)
				shared |= !host_look(run->host, run->process[slot].pagemap,
						host_addr(run, i, j), 1, &page) &&
					  page.swapped && page.entry == entry;
		}
	return shared;
}

/*
 * A write to a swapped page kept the page, or copied it: the page that is there now is the one of
 * the swap cache if it still is in it; it has left it only if no other entry names the slot.
 */
static enum cow_outcome swap_write(struct host_run *run, uint64_t page)
{
	const struct host_page *after = &run->after[page];
	uint64_t entry = run->before[page].entry, cached = *cached_frame(run, entry);

	if (!run->host->kernel.counts || !after->present)
		return COW_OUT_NONE;
	if (after->swapcache || after->entry == cached)
		return COW_OUT_SWAP_IN;
	if (cached && cached != after->entry)
		return COW_OUT_COPY;
	return slot_is_shared(run, entry) ? COW_OUT_COPY : COW_OUT_SWAP_IN;
}

/* A pin that only reads wants the page to be its own (FAULT_FLAG_UNSHARE), as a write does. */
enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_PIN };

/* A page after at least one fault, or a call that took one. */
static enum cow_outcome came_to(struct host_run *run, uint64_t page, enum access access,
				uint32_t faults)
{
	const struct host_page *before = &run->before[page], *after = &run->after[page];

	if (!faults)
		return COW_OUT_HIT;
	if (before->swapped)
		return access == ACCESS_READ ? COW_OUT_SWAP_IN : swap_write(run, page);
	if (!run->host->kernel.frames || !after->present)
		return COW_OUT_NONE;
	if (!before->present && access != ACCESS_WRITE && !run->host->kernel.counts)
		return COW_OUT_NONE; /* it may be the zero page */
	if (!before->present)
		return after->zero ? COW_OUT_ZERO : COW_OUT_ALLOC;
	if (before->entry != after->entry)
		return COW_OUT_COPY;
	return access == ACCESS_READ ? COW_OUT_HIT : COW_OUT_REUSE;
}

static void look_after(struct host_run *run, const struct cow_event *event, uint32_t slot)
{
	uint64_t addr = host_addr(run, event->region, event->first);

	host_look(run->host, run->process[slot].pagemap, addr, event->pages, run->after);
	look_deeply(run->host, run->process[slot].pagemap, addr, event->pages, run->after);
	for (uint64_t i = 0; i < event->pages; i++)
		if (run->before[i].swapped && run->after[i].present && run->after[i].swapcache)
			*cached_frame(run, run->before[i].entry) = run->after[i].entry;
}

/* userfaultfd stopped a write, where a write was stopped at all.  Before 5.14 pagemap does not show
 * its mark; then nothing else can stop one to anonymous memory. */
static bool blocks(const struct host_run *run, const struct cow_event *event, uint64_t page)
{
	const struct host_region *region = &run->region[event->region];
	const struct host_page *before = &run->before[page];

	/* behind a PTE marker the page comes first, and may not */
	if (before->uffd_wp && !before->present && !before->swapped)
		return run->after[page].present;
	return before->uffd_wp ||
	       (!run->host->kernel.uffd_wp_shown && region->guarded && region->file == COW_NONE &&
		!region->hugetlb && (before->present || before->swapped));
}

void outcome_of_access(struct host_run *run, const struct cow_event *event,
		       const struct host_order *answer, struct host_seen *seen)
{
	const struct host_touch *touch = run->host->board->touch;
	bool write = event->verb == COW_EV_WRITE;
	bool faulted = false;

	for (uint64_t i = 0; i < answer->done; i++)
		faulted |= touch[i].faults || touch[i].signal;
	if (faulted)
		look_after(run, event, event->process);
	for (uint64_t i = 0; i < answer->done; i++) {
		if (touch[i].signal) {
			fail(seen, touch[i].signal == SIGSEGV ? COW_OUT_SEGV :
				   blocks(run, event, i)      ? COW_OUT_BLOCKED
							      : COW_OUT_SIGBUS, 0);
			return;
		}
		add(seen, came_to(run, i, write ? ACCESS_WRITE : ACCESS_READ, touch[i].faults));
		seen->mixed |= touch[i].value != touch[0].value;
		seen->value = touch[i].value;
	}
	seen->has_value = !write;
}

/* True if the page lies behind the end of the file that is mapped there. */
static bool behind_the_end(const struct host_run *run, const struct cow_event *event, uint64_t page)
{
	const struct host_region *region = &run->region[event->region];
	struct stat status;

	if (region->file == COW_NONE || fstat(run->file[region->file], &status))
		return false;
	return (region->offset + event->first + page) * HOST_PAGE >= (uint64_t)status.st_size;
}

enum { LEAVE_READ = 1, LEAVE_WRITE = 2, LEAVE_FORCE = 4 };

/* What the VMA at an address lets a reference do. */
static unsigned leave_of(const struct host_run *run, uint32_t slot, uint64_t addr)
{
	char path[40], line[512], flags[5];
	unsigned long long from, to;
	unsigned leave = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)run->process[slot].pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %4s", &from, &to, flags) == 3 && addr >= from &&
		    addr < to)
			leave = (flags[0] == 'r' ? LEAVE_READ : 0) |
				(flags[1] == 'w' ? LEAVE_WRITE | LEAVE_FORCE : 0) |
				(flags[3] == 'p' ? LEAVE_FORCE : 0);
	if (maps)
		fclose(maps);
	return leave;
}

/* True if a call that came to EFAULT got as far as a fault at this page. */
static bool may_fault(const struct host_run *run, const struct cow_event *event, uint32_t slot,
		      uint64_t page, bool write)
{
	unsigned leave = leave_of(run, slot, host_addr(run, event->region, event->first + page));

	/* check_vma_flags of those versions says EFAULT before any fault */
	if (event->verb == COW_EV_FORCE_WRITE && run->region[event->region].hugetlb &&
	    run->host->kernel.hugetlb_unforced)
		leave &= leave & LEAVE_WRITE ? ~0u : ~(unsigned)LEAVE_FORCE;
	return leave & (event->verb == COW_EV_FORCE_WRITE ? LEAVE_FORCE :
			write			       ? LEAVE_WRITE : LEAVE_READ);
}

/* What the fault came to that a call tells as EFAULT. */
static enum cow_outcome fault_behind(const struct host_run *run, const struct cow_event *event,
				     uint64_t page, bool write)
{
	if (write && blocks(run, event, page))
		return COW_OUT_BLOCKED;
	if (behind_the_end(run, event, page) || run->region[event->region].hugetlb)
		return COW_OUT_SIGBUS;
	return COW_OUT_ERRNO;
}

/* An errno; of a call that took a reference, what the fault in it came to where that shows. */
static void fail_by_fault(struct host_run *run, const struct cow_event *event, uint32_t slot,
			  const struct host_order *answer, bool write, struct host_seen *seen)
{
	uint64_t last = event->verb == COW_EV_PIN ? event->pages : answer->done + 1;
	enum cow_outcome outcome = COW_OUT_ERRNO;
	int error = (int)-answer->result;

	if (error == EIO && event->verb == COW_EV_FORCE_WRITE)
		error = EFAULT; /* what /proc/PID/mem makes of it */
	for (uint64_t page = answer->done; page < last && error == EFAULT &&
					   outcome == COW_OUT_ERRNO; page++) {
		if (!may_fault(run, event, slot, page, write))
			break;
		outcome = fault_behind(run, event, page, write);
	}
	if (answer->kind == ORDER_POPULATE && outcome == COW_OUT_SIGBUS)
		outcome = COW_OUT_ERRNO; /* madvise has an errno, and no access */
	fail(seen, outcome, outcome == COW_OUT_ERRNO ? error : 0);
}

/* A reader who finds a private copy asked for one. */
static enum cow_outcome referenced(struct host_run *run, uint64_t page, enum access access,
				   uint32_t faults)
{
	enum cow_outcome outcome = came_to(run, page, access, faults);

	return access == ACCESS_PIN && outcome == COW_OUT_COPY ? COW_OUT_UNSHARE : outcome;
}

/*
 * Of a call over all pages at once only the sum of faults is known.  Who changed had a fault, or
 * was changed by that of a neighbour in the same folio; what is left was of those that did not.
 */
static void of_the_whole(struct host_run *run, const struct cow_event *event, enum access access,
			 uint32_t faults, struct host_seen *seen)
{
	uint64_t kept = 0;
	uint32_t left = faults;
	bool twice = false; /* swapped in to be read, and then unshared: two faults of a page */

	/* nobody knows who changed, or which came with a neighbour */
	if (!run->host->kernel.frames || (!run->host->kernel.counts && run->host->huge)) {
		for (uint64_t i = 0; i < event->pages; i++)
			add(seen, faults ? COW_OUT_NONE : COW_OUT_HIT);
		return;
	}
	for (uint64_t i = 0; i < event->pages; i++) {
		kept += run->before[i].present && run->before[i].entry == run->after[i].entry;
		twice |= access == ACCESS_PIN && run->before[i].swapped;
	}
	for (uint64_t i = 0; i < event->pages; i++) {
		bool same = run->before[i].present && run->before[i].entry == run->after[i].entry;

		if (same)
			continue;
		if (i && run->after[i].large && !run->after[i].head &&
		    run->after[i].entry == run->after[i - 1].entry + 1 &&
		    run->before[i - 1].entry != run->after[i - 1].entry) {
			add(seen, COW_OUT_HIT); /* its neighbour's fault brought the folio */
			continue;
		}
		add(seen, left ? referenced(run, i, access, 1) : COW_OUT_HIT);
		left -= left > 0;
	}
	for (uint64_t i = 0; i < kept; i++)
		add(seen, !left ? COW_OUT_HIT :
			  !twice && (left == kept || kept == 1) ? COW_OUT_REUSE : COW_OUT_NONE);
}

void outcome_of_reference(struct host_run *run, const struct cow_event *event, uint32_t slot,
			  const struct host_order *answer, struct host_seen *seen)
{
	const struct host_touch *touch = run->host->board->touch;
	bool write = answer->kind == ORDER_PIN || answer->kind == ORDER_FORCE_WRITE ||
		     (answer->kind == ORDER_POPULATE && event->flags == COW_ADV_POPULATE_WRITE);

	look_after(run, event, slot);
	if (answer->result) {
		fail_by_fault(run, event, slot, answer, write, seen);
		return;
	}
	seen->vague = run->region[event->region].hugetlb && !run->host->kernel.gup_counts;
	if (event->verb == COW_EV_PIN) {
		of_the_whole(run, event, write ? ACCESS_WRITE : ACCESS_PIN, touch[0].faults, seen);
		return;
	}
	for (uint64_t i = 0; i < event->pages; i++)
		add(seen, referenced(run, i, write ? ACCESS_WRITE : ACCESS_READ, touch[i].faults));
}

void outcome_of_fork(struct host_run *run, const struct cow_event *event, struct host_seen *seen)
{
	int parent = run->process[event->process].pagemap;
	int child = run->process[event->target].pagemap;

	seen->outcome = COW_OUT_SHARE;
	seen->vague = !run->host->kernel.frames;
	for (uint32_t i = 0; i < run->scenario->region_count; i++) {
		uint64_t pages = run->scenario->region_info[i].pages;
		uint64_t addr = host_addr(run, i, 0);

		if (!run->region[i].made || host_look(run->host, parent, addr, pages, run->before) ||
		    host_look(run->host, child, addr, pages, run->after))
			continue;
		for (uint64_t j = 0; j < pages; j++)
			if (run->before[j].present && run->after[j].present &&
			    run->before[j].entry != run->after[j].entry)
				seen->outcome = COW_OUT_EARLY_COPY;
	}
}
