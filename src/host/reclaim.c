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

enum { RECLAIM_TURNS = 4 };

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

/* What is to go: of the first pages of run->before those of madvise free, or all others. */
struct targets {
	uint64_t pages;
	bool lazyfree;
	bool locked; /* others were, for LOCK_OTHERS */
};

/* True if the frame is one of those that are to go. */
static bool is_target(const struct host_run *run, uint64_t frame, const struct targets *targets)
{
	for (uint64_t i = 0; i < targets->pages; i++)
		if (run->before[i].present && run->before[i].entry == frame &&
		    run->before[i].lazyfree == targets->lazyfree)
			return true;
	return false;
}

/* LOCK_OTHERS: of madvise free, and not meant.  REORDER: see reorder_end. */
enum lock { LOCK_ALL, LOCK_OTHERS, UNLOCK_TARGETS, UNLOCK_ALL, REORDER };

/* One lock holds a page; a second would only confuse its count. */
static bool concerns(const struct host_run *run, const struct host_page *page,
		     const struct targets *targets, enum lock lock)
{
	uint64_t flags;

	if (!page->present)
		return false;
	if (lock == UNLOCK_TARGETS || lock == REORDER)
		return is_target(run, page->entry, targets);
	if (lock == UNLOCK_ALL)
		return true;
	flags = frame_flags(run->host, page->entry);
	if (lock == LOCK_OTHERS &&
	    (!(flags & UINT64_C(1) << KPF_ANON_BIT) || flags & UINT64_C(1) << KPF_SWAPBACKED_BIT ||
	     is_target(run, page->entry, targets)))
		return false;
	return !(flags & UINT64_C(1) << KPF_MLOCKED_BIT);
}

/*
 * Reclaim of a page of madvise free ends at the first mapping that is dirty, and comes by them in the order of
 * where their VMAs begin, and then in that in which they were last split or merged, as a lock of a part does
 * (anon_vma_interval_tree_post_update_vma).  Once there was one, REORDER and this split and merge them once
 * more, in the order of the processes' births.
 */
static int reorder_end(struct host_run *run)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++)
			if (run->process[slot].pid && run->region[i].made)
				error = swap_advise(run, slot, host_addr(run, i, 0),
						    run->scenario->region_info[i].pages,
						    MADV_DODUMP);
	return error;
}

/* Locks or unlocks present pages of a process, run by run. */
static int lock_region(struct host_run *run, uint32_t slot, uint32_t region,
		       struct targets *targets, enum lock lock)
{
	uint64_t pages = run->scenario->region_info[region].pages, from = 0;
	int error = host_look(run->host, run->process[slot].pagemap, host_addr(run, region, 0), pages,
			 run->after);

	while (from < pages && !error) {
		bool locks = lock == LOCK_ALL || lock == LOCK_OTHERS;
		struct host_order order = { .kind = locks ? ORDER_MLOCK : ORDER_MUNLOCK };
		uint64_t end = from;

		while (end < pages && concerns(run, &run->after[end], targets, lock))
			end++;
		order.addr = host_addr(run, region, from);
		order.pages = end - from;
		targets->locked |= end > from && lock == LOCK_OTHERS;
		if (end > from)
			error = lock == REORDER ? swap_advise(run, slot, order.addr, order.pages,
							      MADV_DONTDUMP)
						: process_order(run, slot, &order);
		from = end + 1;
	}
	return error;
}

static int lock_pages(struct host_run *run, struct targets *targets, enum lock lock)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++)
			if (run->process[slot].pid && run->region[i].made)
				error = lock_region(run, slot, i, targets, lock);
	return error;
}

/*
 * A few times, since the first only writes what it finds.  A limit that nobody can keep reclaims until
 * nothing more goes; so does force_empty, which up to 5.15 sleeps for a tenth of a second each time.
 * Pages of madvise free are on the list of files: without swappiness reclaim comes by no other anonymous
 * page, so that one that it gives up is not taken in the next round.
 */
static int reclaim_group(const struct cow_host *host, bool files)
{
	const char *group = host->guard.journal->cgroup;
	char path[200], swappiness[200], before[16];
	bool amounts;
	int error = 0;

	snprintf(path, sizeof(path), "%s/memory.reclaim", group);
	amounts = !access(path, F_OK);
	if (!amounts)
		snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", group);
	snprintf(swappiness, sizeof(swappiness), "%s/memory.swappiness", group);
	if (files && !amounts) {
		error = file_get(swappiness, before, sizeof(before));
		if (!error)
			error = file_put(swappiness, "0");
	}
	for (int i = 0; i < RECLAIM_TURNS && !error; i++) {
		int result = file_put(path, !amounts ? "0" : files ? "64M swappiness=0" : "64M");

		if (files && amounts && result == -EINVAL)
			error = result;
	}
	if (!amounts)
		file_put(path, "-1");
	if (files && !amounts && !error)
		error = file_put(swappiness, before);
	return error;
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

/* True if all of the pages are in core by what the board says. */
static bool all_in_core(const struct host_run *run, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (!run->host->board->touch[i].value)
			return false;
	return true;
}

/* madvise_willneed of a mapping of a file reads the file's pages, and not the private copies. */
static bool is_copy_of_file(const struct host_run *run, uint64_t addr)
{
	for (uint32_t i = 0; i < run->scenario->region_count; i++)
		if (addr >= host_addr(run, i, 0) &&
		    addr < host_addr(run, i, run->scenario->region_info[i].pages))
			return run->region[i].file != COW_NONE && !run->region[i].shared;
	return false;
}

/* Reads that are under way come to an end. */
int swap_bring_in(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages)
{
	struct timespec step = { 0, 200000 };
	int error;

	if (is_copy_of_file(run, addr)) {
		run->skipped = true;
		host_say(run->host, "%.100s:%u: no way to read a private copy of a file's page ahead",
			 cow_scenario_name(run->scenario), run->line);
		return -EIO;
	}
	error = swap_advise(run, slot, addr, pages, MADV_WILLNEED);

	for (int i = 0; i < 2500 && !error; i++) {
		error = swap_in_core(run, slot, addr, pages);
		if (error || all_in_core(run, pages))
			break;
		nanosleep(&step, NULL);
	}
	return error;
}

int swap_bring_back(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages,
		    swap_wanted_fn *wanted, void *ctx)
{
	int error = swap_in_core(run, slot, addr, pages);
	uint64_t first = 0, end = 0;

	for (uint64_t i = 0; i < pages && !error; i++) { /* the board is used again: note first */
		run->after[i].lost = !run->host->board->touch[i].value && wanted(ctx, i);
		if (run->after[i].lost)
			*cached_frame(run, run->after[i].entry) = 0;
	}
	for (; first < pages && !error; first = end + 1) {
		for (end = first; end < pages && run->after[end].lost; end++)
			;
		if (end > first)
			error = swap_bring_in(run, slot, addr + first * HOST_PAGE, end - first);
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
			uint64_t addr = host_addr(run, i, 0);
			bool any = false;

			if (!run->process[slot].pid || !run->region[i].made)
				continue;
			error = host_look(run->host, run->process[slot].pagemap, addr, pages,
					  run->after);
			for (uint64_t j = 0; j < pages && !error; j++)
				any |= run->after[j].swapped;
			if (any && !error)
				error = swap_in_core(run, slot, addr, pages);
			for (uint64_t j = 0; j < pages && any && !error; j++)
				if (run->after[j].swapped)
					cached[swap_offset(run, run->after[j].entry)] =
						run->host->board->touch[j].value;
		}
	return error;
}

struct spared {
	const struct host_run *run;
	const struct cow_event *event;
	const bool *cached; /* by slot */
	bool target;        /* the region is the one whose pages were to go */
	bool mapped;        /* of the place, only what was mapped was to go */
};

/* A page of the place was to go, unless it had gone before and only mapped ones were meant. */
static bool was_meant(const struct spared *spared, uint64_t page)
{
	uint64_t first = spared->event->first;

	return spared->target && page >= first && page < first + spared->event->pages &&
	       (!spared->mapped || spared->run->before[page - first].present);
}

static bool was_spared(void *ctx, uint64_t page)
{
	const struct spared *spared = ctx;
	const struct host_page *at = &spared->run->after[page];

	return at->swapped && spared->cached[swap_offset(spared->run, at->entry)] &&
	       !was_meant(spared, page);
}

/* Those that went although they were not meant are read again. */
static int bring_back(struct host_run *run, const bool *cached, const struct cow_event *event,
		      uint32_t target, bool mapped)
{
	int error = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;
			struct spared spared = { run, event, cached,
						 slot == target && i == event->region, mapped };
			bool any = false;

			if (!run->process[slot].pid || !run->region[i].made)
				continue;
			error = host_look(run->host, run->process[slot].pagemap,
					  host_addr(run, i, 0), pages, run->after);
			for (uint64_t j = 0; j < pages && !error; j++)
				any |= was_spared(&spared, j);
			if (any && !error)
				error = swap_bring_back(run, slot, host_addr(run, i, 0), pages,
							was_spared, &spared);
		}
	return error;
}

/*
 * How many mapped pages that are not to go are in the swap cache.  Before 5.18 reclaim comes by locked
 * pages, too (mlock_vma_page marks what it cannot take off its list), and frees the slot of one that no
 * entry names (shrink_page_list: activate_locked).
 */
static int count_cached(struct host_run *run, const struct targets *targets, uint64_t *count)
{
	int error = 0;

	*count = 0;
	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !error; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;

			if (!run->process[slot].pid || !run->region[i].made)
				continue;
			error = host_look(run->host, run->process[slot].pagemap,
					  host_addr(run, i, 0), pages, run->after);
			for (uint64_t j = 0; j < pages && !error; j++)
				*count += run->after[j].present &&
					  !is_target(run, run->after[j].entry, targets) &&
					  frame_flags(run->host, run->after[j].entry) >>
							  KPF_SWAPCACHE_BIT & 1;
		}
	return error;
}

static int skip_if_freed(struct host_run *run, const struct targets *targets, uint64_t cached)
{
	uint64_t left;
	int error = count_cached(run, targets, &left);

	if (error || left >= cached)
		return error;
	run->skipped = true;
	host_say(run->host, "%.100s:%u: reclaim freed the slot of a page that is locked",
		 cow_scenario_name(run->scenario), run->line);
	return -EIO;
}

/* pages: of run->before, that may go; 0: none that is mapped. */
int swap_reclaim(struct host_run *run, const struct cow_event *event, uint32_t slot,
		 uint64_t pages, bool lazyfree)
{
	struct targets what = { pages, lazyfree, false }, *targets = &what;
	bool frees_locked = run->host->kernel.major < 6;
	size_t slots = run->host->swap_pages + 2;
	uint64_t mapped = 0;
	bool *cached;
	int error;

	if (run->host->huge) { /* shrink_slab: deferred_split_scan */
		run->skipped = true;
		host_say(run->host, "%.100s:%u: reclaim of a control group splits huge pages too",
			 cow_scenario_name(run->scenario), run->line);
		return -EIO;
	}
	cached = cow_zalloc_(&run->host->allocator, slots);
	error = cached ? note_slots(run, cached) : -ENOMEM;
	if (!error && frees_locked)
		error = count_cached(run, targets, &mapped);
	if (!error)
		error = lock_pages(run, targets, lazyfree ? LOCK_OTHERS : LOCK_ALL);

	if (!error)
		error = swap_drain(run, slot);
	if (!error && !lazyfree) /* they had been locked too, for that makes them inactive */
		error = lock_pages(run, targets, UNLOCK_TARGETS);
	if (!error && lazyfree && (what.locked || run->reordered))
		error = lock_pages(run, targets, REORDER);
	if (!error && lazyfree && run->reordered && !what.locked)
		error = reorder_end(run); /* else what is locked keeps them apart */
	if (!error)
		error = swap_drain(run, slot);
	if (!error)
		forget_use(run);
	if (!error && reclaim_group(run->host, lazyfree)) { /* memory.reclaim knows no swappiness */
		run->skipped = true;
		host_say(run->host, "%.100s:%u: no way to reclaim a page of madvise free that is shared",
			 cow_scenario_name(run->scenario), run->line);
		error = -EIO;
	}
	if (!error)
		error = lock_pages(run, targets, UNLOCK_ALL);
	if (!error && what.locked)
		error = reorder_end(run);
	run->reordered |= what.locked || !lazyfree;
	if (!error)
		error = swap_drain(run, slot); /* munlock has a batch of its own */
	if (!error && mapped)
		error = skip_if_freed(run, targets, mapped);
	if (!error)
		error = bring_back(run, cached, event, slot, pages != 0);
	cow_release_(&run->host->allocator, cached, slots);
	return error ? error : swap_drain(run, slot);
}
