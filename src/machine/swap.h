/* SPDX-License-Identifier: MIT
 *
 * Swap slots and the swap cache.  A slot is in use while a page-table entry names it or the cache
 * has a frame for it; the cache holds one reference to that frame.  Large folios are split before
 * they come here.
 *
 * A cached frame that nothing maps has no anon: it gets that of the VMA which maps it next.  A KSM
 * page keeps its items as long as something maps it or names its slot.  Nothing is decided here;
 * read kernel/reclaim.c and kernel/swap.c next.
 */
#ifndef COWLAB_MACHINE_SWAP_H
#define COWLAB_MACHINE_SWAP_H

#include "machine/folio.h"

/* Slots that can still be taken. */
static inline uint64_t slots_left(const cow_machine *m)
{
	return m->state.slots - m->pools[POOL_SLOT].live;
}

static inline bool frame_cached(const cow_machine *m, uint32_t frame)
{
	return frame_at(m, frame)->flags & FRAME_SWAPCACHE;
}

/* The slot of a frame in the swap cache. */
static inline uint32_t frame_slot(const cow_machine *m, uint32_t frame)
{
	return frame_at(m, frame)->owner;
}

/* vm_swap_full: less than half of the slots is left, so that slots are worth more than what is in
 * the swap cache. */
static inline bool swap_full(const cow_machine *m)
{
	return slots_left(m) * 2 < m->state.slots;
}

/* Entries that name the frame's slot; 0 if it is not in the swap cache. */
static inline uint32_t frame_swapcount(const cow_machine *m, uint32_t frame)
{
	return frame_cached(m, frame) ? slot_at(m, frame_slot(m, frame))->count : 0;
}

/* Makes room for more slots, as far as the machine has them.  Returns 0 or -ENOMEM. */
int slot_reserve(cow_machine *m, uint64_t more);
/* get_swap_page: a slot that nothing names yet, from those reserved; 0: there is none left.  Before
 * it says so, it takes one that only the swap cache has, as scan_swap_map does if swap is full. */
uint32_t slot_alloc(cow_machine *m);
/* swap_writepage: the slot of a cached frame holds what the frame does.  Tells the observers. */
void slot_write(cow_machine *m, uint32_t frame);

/* add_to_swap_cache, and its reference, of a page without FRAME_DIRTY.  Tells the observers. */
void cache_add(cow_machine *m, uint32_t frame, uint32_t slot);
/* delete_from_swap_cache, and its reference, of a page that is not under writeback: it is dirty then.  Frees
 * the slot if nothing names it, and the frame with its last reference.  Tells the observers. */
void cache_remove(cow_machine *m, uint32_t frame);
/* folio_free_swap: the same if nothing names the slot and it is not being written. */
bool cache_free(cow_machine *m, uint32_t frame);

/* swap_duplicate: one entry more that names the slot. */
static inline void slot_get(cow_machine *m, uint32_t slot)
{
	slot_at(m, slot)->count++;
}

/* swap_free: one entry less.  The page stays in the cache. */
static inline void slot_put(cow_machine *m, uint32_t index)
{
	struct slot *slot = slot_at(m, index);

	if (!--slot->count && !slot->frame)
		pool_give(&m->pools[POOL_SLOT], index);
}
/* free_swap_and_cache: the same for an entry that is given up; a cached page that nothing maps goes
 * with its last entry, or, if it is being written, when that is done. */
void slot_put_and_cache(cow_machine *m, uint32_t slot);
/* folio_end_writeback for all frames; those that nobody can want any more are freed. */
void slots_written(cow_machine *m);
/* folio_free_swap for every frame of the swap cache. */
void slots_free_cached(cow_machine *m);

/* The marker of a swap entry (pte_swp_exclusive), which stands in for that of the page. */
static inline bool swap_marker_get(cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	if (m->state.marker >= COW_MARKER_ADJACENT)
		return side_marker_get(m, leaf, slot);
	return leaf->ptes[slot] & PTE_MARKER;
}

static inline void swap_marker_put(cow_machine *m, const struct leaf *leaf, uint32_t slot, bool set)
{
	if (m->state.marker >= COW_MARKER_ADJACENT)
		side_marker_put(m, leaf, slot, set);
	else if (m->state.marker != COW_MARKER_NONE && set)
		leaf->ptes[slot] |= PTE_MARKER;
	else
		leaf->ptes[slot] &= ~PTE_MARKER;
}

#endif
