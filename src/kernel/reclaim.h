/* SPDX-License-Identifier: MIT
 *
 * What swap.c, reclaim.c, discard.c, drop.c and lazyfree.c share: pages on their way out, and what a call
 * over a place came to.
 */
#ifndef COWLAB_KERNEL_RECLAIM_H
#define COWLAB_KERNEL_RECLAIM_H

#include "kernel/kernel.h"

enum { RECLAIM_SEEN = 16 };

/* A page on its way out; nothing is kept elsewhere between its steps. */
struct reclaim {
	uint32_t mm;    /* whose place it is */
	uint32_t vma;   /* of madvise pageout: asks the policy first; 0: reclaim */
	bool writing;   /* leave it under writeback */
	bool hot;       /* no observer, no truth, no side table: see reclaim_alike */
	uint32_t frame;
	struct mapping here; /* where it was found */
	uint64_t end;        /* of the range, as far as the table of here goes */
	uint64_t vma_end;    /* of here.vma, which is looked up when the pages come to it */
	bool stale;     /* tables have changed: here.leaf has to be found again */
	bool split;     /* nothing was done but a split: the page has to be looked at again */
	uint64_t done;  /* pages of a folio that were done as one, and counted */
	bool gone;      /* of a page of madvise free: the mapping where it was found is */
	uint32_t kept;  /* the last page of madvise free that was an ordinary one again: not taken twice */
	bool fresh;     /* it was not in the swap cache before */
	bool dirty;     /* somebody has written to it since its slot was */
	bool refused;
	uint32_t seen;  /* mappings of a page that was given up, and the last of them */
	struct mapping at[RECLAIM_SEEN];
};

/* Sets it up; what changes from page to page is not touched. */
static inline void reclaim_init(struct reclaim *r, uint32_t mm, uint32_t vma, bool writing)
{
	r->mm = mm;
	r->vma = vma;
	r->writing = writing;
	r->vma_end = 0;
	r->kept = 0;
}

/* Reclaims what is mapped from page first to page end-1, once the LRU batch is drained. */
void reclaim_range(cow_machine *m, struct reclaim *r, uint64_t first, uint64_t end,
		   struct cow_result *result);

/* The PTE is emptied: the content is nobody's any more, or an object has it.  What userfaultfd protects of an
 * object leaves a PTE marker.  An rmap_fn. */
bool reclaim_empty(cow_machine *m, const struct mapping *at, void *unused);

/* ---- discard.c ---- */

/* The page r->frame of madvise free, which is no large folio's.  The outcome is that of r->here. */
enum cow_outcome reclaim_lazyfree(cow_machine *m, struct reclaim *r);
/* The folio of r->frame, of which r->here and the pages behind it map all; counts what it came to there. */
void reclaim_lazyfree_folio(cow_machine *m, struct reclaim *r, uint64_t pages,
			    struct cow_result *result);

/* ---- reclaim_hot.c ---- */

/* True if nobody looks on, and a sight says all that the policy could see. */
bool reclaim_unwatched(const cow_machine *m);
/* Reclaims pages of r->here.leaf and r->here.vma from *page on, as long as they are ordinary ones which the
 * last answer is good for; *page is behind them then.  Needs reclaim_unwatched. */
void reclaim_alike(cow_machine *m, struct reclaim *r, uint64_t *page, uint64_t end,
		   struct cow_result *result);
/* One page, straight to its PTE.  False: go the way of a range, which reserves; nothing has changed. */
bool reclaim_one(cow_machine *m, cow_mm handle, uint64_t addr, bool writing);
/* The same, and then what cow_swap_drop does. */
bool reclaim_freed(cow_machine *m, cow_mm handle, uint64_t addr, struct cow_result *dropped);
/* Drops pages of a leaf table from `page` on, as long as nobody but their slots refers to them, while
 * nobody looks on.  Returns the page behind them. */
uint64_t drop_alone(cow_machine *m, const struct leaf *leaf, uint64_t page, uint64_t end,
		    struct cow_result *result);

/* ---- drop.c ---- */

/* __remove_mapping for what an entry names, or maps.  A page that is mapped anywhere stays. */
enum cow_outcome drop_page(cow_machine *m, const struct leaf *leaf, uint64_t page);

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
