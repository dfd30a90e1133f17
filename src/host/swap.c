/* SPDX-License-Identifier: MIT
 *
 * Events of swap: MADV_PAGEOUT by the owner, reclaim for what others map too, MADV_WILLNEED to read
 * ahead, swapoff.  Reclaim that writes asynchronously leaves the page in the swap cache; so do
 * these.
 */
#define _GNU_SOURCE

#include "host/swap.h"
#include "host/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

enum { DROP_TRIES = 4, OUT_TRIES = 4 };

static void wait_for_writeback(const struct host_run *run, uint64_t pages)
{
	struct timespec step = { 0, 200000 };

	for (uint64_t i = 0; i < pages; i++)
		for (int round = 0; round < 10000 && run->before[i].present; round++) {
			uint64_t flags = frame_flags(run->host, run->before[i].entry);

			if (!(flags & UINT64_C(1) << KPF_WRITEBACK_BIT))
				break;
			nanosleep(&step, NULL);
		}
}

static void note_cached(struct host_run *run, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (run->before[i].present && !run->before[i].large && run->after[i].swapped)
			*cached_frame(run, run->after[i].entry) = run->before[i].entry;
}

static bool went_out(void *ctx, uint64_t page)
{
	const struct host_run *run = ctx;

	return run->before[page].present && run->after[page].swapped;
}

/* What went out for good comes back to the swap cache, where asynchronous reclaim leaves it. */
static int cache_again(struct host_run *run, const struct cow_event *event, uint32_t slot)
{
	uint64_t addr = host_addr(run, event->region, event->first);
	bool any = false;
	int error;

	for (uint64_t i = 0; i < event->pages; i++)
		any |= went_out(run, i);
	error = any ? swap_bring_back(run, slot, addr, event->pages, went_out, run) : 0;
	return error ? error : swap_drain(run, slot);
}

/* Without swap, reclaim comes by nothing of a place but what was given up. */
static int advise_given_up(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages)
{
	uint64_t first = 0, end;
	int error = 0;

	for (; first < pages && !error; first = end + 1) {
		for (end = first; end < pages && swap_given_up(run, &run->before[end]); end++)
			;
		if (end > first)
			error = swap_advise(run, slot, addr + first * HOST_PAGE, end - first,
					    HOST_PAGEOUT);
	}
	return error;
}

/* True if a page that was to go is still there.  One of madvise free that was given up is no more of these. */
static bool any_left(const struct host_run *run, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (run->before[i].present && !run->before[i].zero && !run->before[i].lazyfree &&
		    run->after[i].present)
			return true;
	return false;
}

static bool any_lazyfree(const struct host_run *run, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (run->before[i].lazyfree && run->after[i].present && run->after[i].lazyfree)
			return true;
	return false;
}

/* Reclaim of the group.  It spares a page that was used, or that looks so, once or twice. */
static int out_of_group(struct host_run *run, const struct cow_event *event, uint32_t slot,
			const struct left_alone *shared)
{
	uint64_t addr = host_addr(run, event->region, event->first);
	int pagemap = run->process[slot].pagemap, error = 0;

	if (!run->host->guard.journal->cgroup[0] || shared->large) {
		run->skipped = true;
		host_say(run->host, "%.100s:%u: no way to reclaim %s that is shared",
			 cow_scenario_name(run->scenario), run->line,
			 shared->large ? "one page of a huge one" : "a page");
		return -EIO;
	}
	look_deeply(run->host, pagemap, addr, event->pages, run->after);
	for (int i = 0; i < OUT_TRIES && !error && shared->lazyfree && any_lazyfree(run, event->pages);
	     i++) {
		error = swap_reclaim(run, event, slot, event->pages, true);
		host_look(run->host, pagemap, addr, event->pages, run->after);
		look_deeply(run->host, pagemap, addr, event->pages, run->after);
	}
	for (int i = 0; i < OUT_TRIES && !error && shared->ordinary && any_left(run, event->pages);
	     i++) {
		error = swap_reclaim(run, event, slot, event->pages, false);
		host_look(run->host, pagemap, addr, event->pages, run->after);
	}
	return error;
}

/*
 * Why reclaim of the group did not get as far as a page that was to go; NULL: it did, or the page cannot
 * go.  Pages of a file that nobody maps cannot be locked, so that they go too.  Before 6.0 the counters
 * of a group are late by dozens of pages, so that it may not be seen that the active list is the longer.
 */
static const char *stopped_by(struct host_run *run, uint64_t pages)
{
	struct sysinfo info;

	if (!any_left(run, pages))
		return NULL;
	if (run->scenario->file_count && run->host->swap_pages && !sysinfo(&info) && !info.freeswap)
		return "reclaim took a file first, which fills the swap";
	for (uint64_t i = 0; i < pages && run->host->kernel.major < 6; i++)
		if (run->before[i].present && run->after[i].present && !run->before[i].zero &&
		    !run->before[i].lazyfree &&
		    frame_flags(run->host, run->after[i].entry) & UINT64_C(1) << KPF_ACTIVE_BIT)
			return "reclaim of a small group spares a page of the active list";
	return NULL;
}

static int swap_out(struct host_run *run, const struct cow_event *event, uint32_t slot, bool advice,
		    struct host_seen *seen)
{
	uint64_t addr = host_addr(run, event->region, event->first);
	int pagemap = run->process[slot].pagemap;
	int error = swap_drain(run, slot);
	struct left_alone shared = { false };
	const char *reason;

	if (!error)
		error = host_look(run->host, pagemap, addr, event->pages, run->before);
	look_deeply(run->host, pagemap, addr, event->pages, run->before);
	if (!error)
		error = advice || run->host->swap_pages ?
				swap_advise(run, slot, addr, event->pages, HOST_PAGEOUT) :
				advise_given_up(run, slot, addr, event->pages);
	if (!error && advice && process_answer(run, slot)->result) {
		seen->failed = true;
		seen->outcome = COW_OUT_ERRNO;
		seen->error = (int)-process_answer(run, slot)->result;
	}
	if (error)
		return error;
	wait_for_writeback(run, event->pages);
	error = host_look(run->host, pagemap, addr, event->pages, run->after);
	if (!error && !advice && swap_left(run, slot, addr, event->pages, &shared))
		error = out_of_group(run, event, slot, &shared);
	reason = error || advice ? NULL : stopped_by(run, event->pages);
	if (reason) {
		run->skipped = true;
		host_say(run->host, "%.100s:%u: %s", cow_scenario_name(run->scenario), run->line,
			 reason);
		return -EIO;
	}
	note_cached(run, event->pages);
	return error ? error : cache_again(run, event, slot);
}

static void add(struct host_seen *seen, enum cow_outcome outcome)
{
	seen->counts[outcome]++;
	seen->done += outcome == COW_OUT_MOVED;
	if (outcome == COW_OUT_REFUSED || seen->outcome == COW_OUT_NONE)
		seen->outcome = outcome;
}

static bool any_in_core(const struct host_run *run, const bool *was, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (was[i] && run->host->board->touch[i].value)
			return true;
	return false;
}

/* True if a page of the swap cache is mapped somewhere, or might be. */
static bool may_be_mapped(struct host_run *run, uint64_t entry)
{
	uint64_t known = *cached_frame(run, entry);
	bool may = false;

	for (uint32_t slot = 0; slot < HOST_PROCESSES && !may; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;
			uint64_t addr = host_addr(run, i, 0);

			if (!run->process[slot].pid)
				break;
			host_look(run->host, run->process[slot].pagemap, addr, pages, run->after);
			look_deeply(run->host, run->process[slot].pagemap, addr, pages, run->after);
			for (uint64_t j = 0; j < pages; j++)
				may |= run->after[j].present && run->after[j].swapcache &&
				       (!known || known == run->after[j].entry);
		}
	return may;
}

/* What the process may not touch is touched by FOLL_FORCE. */
static bool touch_by_force(const struct host_run *run, uint32_t slot, uint64_t addr)
{
	char path[40];
	uint64_t word;
	bool touched;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)run->process[slot].pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	touched = fd >= 0 && pread(fd, &word, sizeof(word), (off_t)addr) == (ssize_t)sizeof(word);
	if (fd >= 0)
		close(fd);
	return touched;
}

/*
 * Maps an unmapped page of the swap cache for a moment and pages it out: it is clean, so that
 * nothing is written, and is freed if nothing else holds it.  The entry is what it was.  Reclaim
 * alone spares a page that was read in not long ago.
 */
static int touch_and_go(struct host_run *run, uint32_t slot, uint64_t addr)
{
	struct host_order order = { .kind = ORDER_READ, .addr = addr, .pages = 1 };
	int error = process_order(run, slot, &order);

	if (error || (run->host->board->touch[0].signal && !touch_by_force(run, slot, addr)))
		return error;
	error = swap_drain(run, slot);
	return error ? error : swap_advise(run, slot, addr, 1, HOST_PAGEOUT);
}

static int try_alone(struct host_run *run, uint32_t slot, uint64_t addr, const bool *was,
		     uint64_t pages)
{
	int error = 0;

	for (uint64_t i = 0; i < pages && !error; i++)
		if (was[i] && !may_be_mapped(run, run->before[i].entry))
			error = touch_and_go(run, slot, addr + i * HOST_PAGE);
	return error ? error : swap_in_core(run, slot, addr, pages);
}

/* Who was read in and not seen since may be mapped somewhere, and is not touched therefore; reclaim alone
 * spares it for a while, so that nothing can be told. */
static int spared(struct host_run *run, const bool *was, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		if (!was[i] || !run->host->board->touch[i].value ||
		    *cached_frame(run, run->before[i].entry))
			continue;
		run->skipped = true;
		host_say(run->host, "%.100s:%u: reclaim spares a page that was read in just now",
			 cow_scenario_name(run->scenario), run->line);
		return -EIO;
	}
	return 0;
}

static int drop(struct host_run *run, const struct cow_event *event, uint32_t slot,
		struct host_seen *seen)
{
	uint64_t addr = host_addr(run, event->region, event->first);
	bool was[64] = { false };
	int error = swap_in_core(run, slot, addr, event->pages);
	bool any = event->pages > 64;

	host_look(run->host, run->process[slot].pagemap, addr, event->pages, run->before);
	look_deeply(run->host, run->process[slot].pagemap, addr, event->pages, run->before);
	for (uint64_t i = 0; i < event->pages && i < 64 && !error; i++) {
		was[i] = run->host->board->touch[i].value && run->before[i].swapped;
		any |= was[i];
	}
	if (any && (!run->host->guard.journal->cgroup[0] || event->pages > 64)) {
		run->skipped = true;
		host_say(run->host, "%.100s:%u: no way to reclaim from the swap cache here",
			 cow_scenario_name(run->scenario), run->line);
		return -EIO;
	}
	if (!error)
		error = try_alone(run, slot, addr, was, event->pages);
	for (int i = 0; i < DROP_TRIES && !error && any_in_core(run, was, event->pages); i++) {
		error = swap_reclaim(run, event, slot, 0, false);
		if (!error)
			error = swap_in_core(run, slot, addr, event->pages);
	}
	if (!error)
		error = spared(run, was, event->pages);
	for (uint64_t i = 0; i < event->pages && !error; i++) {
		bool is = run->host->board->touch[i].value;

		if (was[i])
			add(seen, is ? COW_OUT_REFUSED : COW_OUT_MOVED);
		else if (run->before[i].present && run->before[i].swapcache)
			add(seen, COW_OUT_REFUSED);
		if (was[i] && !is)
			*cached_frame(run, run->before[i].entry) = 0;
	}
	return error;
}

static int swap_in(struct host_run *run, const struct cow_event *event, uint32_t slot,
		   struct host_seen *seen)
{
	uint64_t addr = host_addr(run, event->region, event->first);
	int error = host_look(run->host, run->process[slot].pagemap, addr, event->pages, run->before);

	for (uint64_t i = 0; i < event->pages && !error; i++) {
		error = swap_in_core(run, slot, addr + i * HOST_PAGE, 1);
		if (error || !run->before[i].swapped || run->host->board->touch[0].value)
			continue;
		error = swap_bring_in(run, slot, addr + i * HOST_PAGE, 1);
		add(seen, run->host->board->touch[0].value ? COW_OUT_MOVED : COW_OUT_REFUSED);
	}
	return error ? error : swap_drain(run, slot);
}

static int swap_off(struct host_run *run, struct host_seen *seen)
{
	int error = run->host->swap_pages ? swap_remove(run->host->guard.journal->swap) : 0;

	if (!error) {
		swap_end(run->host); /* it stays off, as in the language */
		return 0;
	}
	seen->failed = true;
	seen->outcome = COW_OUT_ERRNO;
	seen->error = -error;
	return 0;
}

int reclaim_apply(struct host_run *run, const struct cow_event *event, struct host_seen *seen)
{
	bool advice = event->verb == COW_EV_MADVISE;
	uint32_t slot = advice ? event->process : event->target;
	int error;

	switch (event->verb) {
	case COW_EV_DROP:
		return drop(run, event, slot, seen);
	case COW_EV_SWAP_IN:
		return swap_in(run, event, slot, seen);
	case COW_EV_SWAPOFF:
		return swap_off(run, seen);
	case COW_EV_WRITEBACK_DONE:
		return 0;
	default:
		break;
	}
	error = swap_out(run, event, slot, advice, seen);
	for (uint64_t i = 0; i < event->pages && !error && !seen->failed; i++)
		if (run->before[i].present)
			add(seen, run->after[i].present ? COW_OUT_REFUSED : COW_OUT_MOVED);
	return error;
}
