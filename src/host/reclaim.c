/* SPDX-License-Identifier: MIT
 *
 * Reclaim of the workers' control group, for what MADV_PAGEOUT leaves alone.  It takes what it
 * finds: everything that is not meant is locked in memory meanwhile (on fault, which touches no entry),
 * and what cannot be locked, pages of the swap cache, is read again.
 */
#define _GNU_SOURCE

#include "host/swap.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int swap_advise(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages, int advice)
{
	struct host_order order = { .kind = ORDER_MADVISE, .addr = addr, .pages = pages,
				    .advice = advice };

	return process_order(run, slot, &order);
}

int swap_drain(struct host_run *run, uint32_t slot)
{
	struct host_order order = { .kind = ORDER_DRAIN };

	return process_order(run, slot, &order);
}

/* Which pages of the place are in memory or in the swap cache: into the board's touch[].value. */
int swap_in_core(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages)
{
	struct host_order order = { .kind = ORDER_MINCORE, .addr = addr, .pages = pages };

	return process_order(run, slot, &order);
}

/* True if the frame is one of those that are to go. */
static bool is_target(const struct host_run *run, uint64_t frame, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (run->before[i].present && run->before[i].entry == frame)
			return true;
	return false;
}

enum lock { LOCK_ALL, UNLOCK_TARGETS, UNLOCK_ALL };

/* One lock holds a page; a second would only confuse its count. */
static bool concerns(const struct host_run *run, const struct host_page *page, uint64_t targets,
		     enum lock lock)
{
	if (!page->present)
		return false;
	if (lock == UNLOCK_TARGETS)
		return is_target(run, page->entry, targets);
	return lock == UNLOCK_ALL ||
	       !(frame_flags(run->host, page->entry) & UINT64_C(1) << KPF_MLOCKED_BIT);
}

/* Locks or unlocks present pages of a process, run by run. */
static int lock_region(struct host_run *run, uint32_t slot, uint32_t region, uint64_t targets,
		       enum lock lock)
{
	uint64_t pages = run->scenario->region_info[region].pages, from = 0;
	int error = host_look(run->host, run->process[slot].pagemap, host_addr(run, region, 0), pages,
			 run->after);

	while (from < pages && !error) {
		struct host_order order = { .kind = lock == LOCK_ALL ? ORDER_MLOCK
								    : ORDER_MUNLOCK };
		uint64_t end = from;

		while (end < pages && concerns(run, &run->after[end], targets, lock))
			end++;
		order.addr = host_addr(run, region, from);
		order.pages = end - from;
		if (end > from)
			error = process_order(run, slot, &order);
		from = end + 1;
	}
	return error;
}

static int lock_pages(struct host_run *run, uint64_t targets, enum lock lock)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++)
			if (run->process[slot].pid)
				error = lock_region(run, slot, i, targets, lock);
	return error;
}

/* Twice: what is busy the first time, under other load, may be free the second. */
static void reclaim_group(const struct cow_host *host)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/memory.force_empty", host->guard.journal->cgroup);
	if (!access(path, F_OK)) {
		file_put(path, "0");
		file_put(path, "0");
		return;
	}
	snprintf(path, sizeof(path), "%s/memory.reclaim", host->guard.journal->cgroup);
	for (int i = 0; i < 4; i++)
		file_put(path, "64M");
}

/* Pages that were just used are not taken; clear_refs 1 makes them look unused, no more. */
static void forget_use(const struct host_run *run)
{
	char path[40];

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++) {
		if (!run->process[slot].pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)run->process[slot].pid);
		file_put(path, "1");
	}
}

/* Reads that are under way come to an end. */
int swap_bring_in(struct host_run *run, uint32_t slot, uint64_t addr)
{
	struct timespec step = { 0, 500000 };
	int error = swap_advise(run, slot, addr, 1, MADV_WILLNEED);

	for (int i = 0; i < 1000 && !error; i++) {
		error = swap_in_core(run, slot, addr, 1);
		if (error || run->host->board->touch[0].value)
			break;
		nanosleep(&step, NULL);
	}
	return error;
}

/* Unmapped pages of the swap cache cannot be locked: which are there, by slot. */
static int note_slots(struct host_run *run, bool *cached)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;

			if (!run->process[slot].pid)
				break;
			error = host_look(run->host, run->process[slot].pagemap, host_addr(run, i, 0),
				     pages, run->after);
			for (uint64_t j = 0; j < pages && !error; j++) {
				if (!run->after[j].swapped)
					continue;
				error = swap_in_core(run, slot, host_addr(run, i, j), 1);
				cached[swap_offset(run, run->after[j].entry)] =
					run->host->board->touch[0].value;
			}
		}
	return error;
}

/* Those that went although they were not meant are read again. */
static int bring_back(struct host_run *run, const bool *cached, const struct cow_event *event,
		      uint32_t target)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;

			if (!run->process[slot].pid)
				break;
			host_look(run->host, run->process[slot].pagemap, host_addr(run, i, 0), pages,
			     run->after);
			for (uint64_t j = 0; j < pages && !error; j++) {
				if (!run->after[j].swapped ||
				    !cached[swap_offset(run, run->after[j].entry)] ||
				    (slot == target && i == event->region && j >= event->first &&
				     j < event->first + event->pages))
					continue;
				error = swap_in_core(run, slot, host_addr(run, i, j), 1);
				if (error || run->host->board->touch[0].value)
					continue;
				*cached_frame(run, run->after[j].entry) = 0;
				error = swap_bring_in(run, slot, host_addr(run, i, j));
			}
		}
	return error;
}

/* targets: pages of run->before that may go; 0: none that is mapped. */
int swap_reclaim(struct host_run *run, const struct cow_event *event, uint32_t slot,
			   uint64_t targets)
{
	size_t slots = run->host->swap_pages + 2;
	bool *cached = cow_zalloc_(&run->host->allocator, slots);
	int error = cached ? note_slots(run, cached) : -ENOMEM;

	if (!error)
		error = lock_pages(run, targets, LOCK_ALL);

	if (!error)
		error = swap_drain(run, slot);
	if (!error) /* they had been locked too, for that makes them inactive */
		error = lock_pages(run, targets, UNLOCK_TARGETS);
	if (!error)
		error = swap_drain(run, slot);
	if (!error) {
		forget_use(run);
		reclaim_group(run->host);
	}
	if (!error)
		error = lock_pages(run, targets, UNLOCK_ALL);
	if (!error)
		error = swap_drain(run, slot); /* munlock has a batch of its own */
	if (!error)
		error = bring_back(run, cached, event, slot);
	cow_release_(&run->host->allocator, cached, slots);
	return error ? error : swap_drain(run, slot);
}
