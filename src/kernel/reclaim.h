/* SPDX-License-Identifier: MIT
 *
 * What swap.c, reclaim.c and lazyfree.c share: pages on their way out, and what a call over a place
 * came to.
 */
#ifndef COWLAB_KERNEL_RECLAIM_H
#define COWLAB_KERNEL_RECLAIM_H

#include "kernel/kernel.h"

/* A page on its way out; nothing is kept elsewhere between its steps. */
struct reclaim {
	uint32_t mm;    /* whose place it is */
	uint32_t vma;   /* of madvise pageout: asks the policy first; 0: reclaim */
	bool writing;   /* leave it under writeback */
	uint32_t frame;
	bool fresh;     /* it was not in the swap cache before */
	bool dirty;     /* somebody has written to it since its slot was */
	bool refused;
};

/* Reclaims what is mapped at *page, and moves *page behind it.  NONE: nothing is mapped. */
enum cow_outcome reclaim_page(cow_machine *m, struct reclaim *r, uint64_t *page);
/* The same for pages first to end-1, once the LRU batch is drained. */
void reclaim_range(cow_machine *m, struct reclaim *r, uint64_t first, uint64_t end,
		   struct cow_result *result);

/* Pages of a place are done.  The place as a whole was refused if one of them was, and moved if one
 * of them was; pages that there was nothing to do about are counted in `done` alone. */
static inline void result_place(struct cow_result *result, enum cow_outcome outcome, uint64_t pages)
{
	result->done += pages;
	if (outcome != COW_OUT_NONE)
		result->counts[outcome] += pages;
	result->outcome = result->counts[COW_OUT_REFUSED] ? COW_OUT_REFUSED
			  : result->counts[COW_OUT_MOVED] ? COW_OUT_MOVED
							  : COW_OUT_NONE;
}

#endif
