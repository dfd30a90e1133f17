/* SPDX-License-Identifier: MIT
 *
 * What events of swap ask of workers and of reclaim.  All return 0, or -EIO with run->dead.
 */
#ifndef COWLAB_HOST_SWAP_H
#define COWLAB_HOST_SWAP_H

#include "host/host.h"

/* madvise by a worker; its result is in the answer. */
int swap_advise(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages, int advice);
/* Drains the LRU batch. */
int swap_drain(struct host_run *run, uint32_t slot);
/* Which pages are in memory or in the swap cache: into the board's touch[].value. */
int swap_in_core(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages);
/* Reads a page into the swap cache, and waits until it is there. */
int swap_bring_in(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages);
/*
 * Reads again those pages of a place that are wanted and not in core.  Their entries are in
 * run->after; `wanted` is asked by index.
 */
typedef bool swap_wanted_fn(void *ctx, uint64_t page);
int swap_bring_back(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages,
		    swap_wanted_fn *wanted, void *ctx);
/* Reclaims the first `targets` pages of run->before, and the event's place in the swap cache.  Of madvise
 * free or not: those of the other kind stay. */
int swap_reclaim(struct host_run *run, const struct cow_event *event, uint32_t slot,
		 uint64_t targets, bool lazyfree);

/* ---- leftover.c ---- */

/* What MADV_PAGEOUT leaves alone, since others map it too. */
struct left_alone {
	bool ordinary, lazyfree; /* pages, and pages of madvise free */
	bool large;              /* of large folios, which nothing can be done about */
};

/* Pages of run->before that are in run->after still, and shared; true: there is one. */
bool swap_left(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages,
	       struct left_alone *shared);
/* Anonymous, and given up by madvise free: reclaim takes it without swap too. */
bool swap_given_up(const struct host_run *run, const struct host_page *page);

#endif
