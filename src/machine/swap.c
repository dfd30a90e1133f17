/* SPDX-License-Identifier: MIT
 *
 * Swap slots and the swap cache, after mm/swapfile.c and mm/swap_state.c.
 */
#include "machine/swap.h"
#include "machine/plant.h"
#include "machine/rmap.h"

int slot_reserve(cow_machine *m, uint64_t more)
{
	return machine_reserve(m, POOL_SLOT, more < slots_left(m) ? more : slots_left(m));
}

/* The frame that the swap cache has for a slot, in use or not; 0: none. */
static uint32_t slot_frame(const cow_machine *m, uint32_t slot)
{
	uint32_t frame = slot_at(m, slot)->frame; /* of a free slot: the next free one */

	return frame < m->pools[POOL_FRAME].used && frame_cached(m, frame) &&
			       frame_slot(m, frame) == slot
		       ? frame
		       : 0;
}

uint32_t slot_alloc(cow_machine *m)
{
	struct pool *pool = &m->pools[POOL_SLOT];

	return slots_left(m) && pool_spare(pool) ? pool_take(pool) : 0;
}

static void cache_tell(cow_machine *m, enum cow_change_kind kind, uint32_t frame, uint32_t slot)
{
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = kind, .frame = frame, .from = slot,
						     .pages = 1,
						     .value = frame_body(m, frame)->value });
}

void slot_write(cow_machine *m, uint32_t index)
{
	uint32_t slot = frame_slot(m, index);

	slot_at(m, slot)->value = frame_body(m, index)->value;
	cache_tell(m, COW_CHANGE_SWAP_WRITE, index, slot);
}

void cache_add(cow_machine *m, uint32_t index, uint32_t slot)
{
	struct frame *frame = frame_at(m, index);

	slot_at(m, slot)->frame = index;
	slot_at(m, slot)->owner = frame->owner;
	frame->owner = slot;
	frame->flags |= FRAME_SWAPCACHE;
	frame->refcount++;
	machine_count(m, COW_COUNT_ATOMICS, 1);
	cache_tell(m, COW_CHANGE_CACHE, index, slot);
}

void cache_remove(cow_machine *m, uint32_t index)
{
	struct frame *frame = frame_at(m, index);
	uint32_t slot = frame->owner;

	cache_tell(m, COW_CHANGE_UNCACHE, index, slot);
	frame->owner = slot_at(m, slot)->owner;
	frame->flags += FRAME_DIRTY - FRAME_SWAPCACHE; /* it has the one, and not the other */
	slot_at(m, slot)->frame = 0;
	slot_at(m, slot)->owner = 0;
	if (!slot_at(m, slot)->count)
		pool_give(&m->pools[POOL_SLOT], slot);
	frame_put(m, index, 1);
}

bool cache_free(cow_machine *m, uint32_t index)
{
	const struct frame *frame = frame_at(m, index);

	if (!(frame->flags & FRAME_SWAPCACHE) || (frame->flags & FRAME_WRITEBACK) ||
	    frame_swapcount(m, index))
		return false;
	cache_remove(m, index);
	return true;
}

/* Nothing maps an anonymous frame any more, and no entry names its slot: it lives on for its
 * references alone, and can never be mapped again. */
static void orphan(cow_machine *m, uint32_t index)
{
	struct frame *frame = frame_at(m, index);
	uint32_t *owner = frame->flags & FRAME_SWAPCACHE ? &slot_at(m, frame->owner)->owner
							 : &frame->owner;

	if (frame->flags & FRAME_KSM)
		items_free(m, *owner);
	*owner = 0;
}

void slot_put_and_cache(cow_machine *m, uint32_t index)
{
	uint32_t frame = slot_at(m, index)->frame;
	bool last = slot_at(m, index)->count == 1;

	slot_put(m, index);
	if (frame && last && !frame_at(m, frame)->mapcount) {
		orphan(m, frame);
		cache_free(m, frame);
	}
}

void frame_unmapped(cow_machine *m, uint32_t index)
{
	struct frame *frame = frame_at(m, index);

	if (!(frame->flags & FRAME_ANON))
		return;
	frame->flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	if (!(frame->flags & FRAME_KSM) || !frame_swapcount(m, index))
		orphan(m, index);
	/* free_swap_cache: a page that no entry names leaves the cache with its last mapping. */
	cache_free(m, index);
}

void slots_written(cow_machine *m)
{
	for (uint32_t slot = 1; slot < m->pools[POOL_SLOT].used; slot++) {
		uint32_t frame = slot_frame(m, slot);

		if (!frame)
			continue;
		frame_at(m, frame)->flags &= ~(uint32_t)FRAME_WRITEBACK;
		if (!frame_at(m, frame)->mapcount)
			cache_free(m, frame);
	}
}

void slots_free_cached(cow_machine *m)
{
	for (uint32_t slot = 1; slot < m->pools[POOL_SLOT].used; slot++) {
		uint32_t frame = slot_frame(m, slot);

		if (frame)
			cache_free(m, frame);
	}
}
