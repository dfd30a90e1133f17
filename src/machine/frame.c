/* SPDX-License-Identifier: MIT
 *
 * Frames: reservation, the exact pin count, and the LRU batch with its extra references.
 */
#include "machine/frame.h"
#include "machine/plant.h"

int frame_reserve(cow_machine *m, uint64_t more)
{
	uint64_t left = m->state.frames - m->state.frames_used;
	int error;

	if (more > left)
		more = left;
	if (pool_spare(&m->pools[POOL_FRAME]) >= more && pool_spare(&m->pools[POOL_BODY]) >= more)
		return 0;
	error = machine_reserve(m, POOL_FRAME, more);
	return error ? error : machine_reserve(m, POOL_BODY, more);
}

uint32_t frame_alloc_single(cow_machine *m)
{
	return frame_alloc(m);
}

uint32_t frame_pincount(const cow_machine *m, uint32_t index)
{
	uint32_t pins = 0;

	for (uint32_t slot = 1; slot < m->pools[POOL_REF].used; slot++) {
		const struct ref *ref = ref_at(m, slot);

		if (!ref->number || !(ref->flags & COW_GUP_PIN) || !index)
			continue;
		for (uint32_t link = ref->first; link; link = link_at(m, link)->next)
			if (link_at(m, link)->frame == index)
				pins += ref->times;
	}
	return pins;
}

void batch_drain(cow_machine *m, uint32_t index)
{
	struct mm *mm = mm_at(m, index);

	if (mm->batch)
		machine_count(m, COW_COUNT_DRAINS, 1);
	while (mm->batch) {
		uint32_t slot = mm->batch;
		uint32_t frame = link_at(m, slot)->frame;

		mm->batch = link_at(m, slot)->next;
		pool_give(&m->pools[POOL_LINK], slot);
		frame_at(m, frame)->flags &= ~(uint32_t)FRAME_BATCHED;
		frame_put(m, frame, PLANTED(21) ? 2 : 1);
	}
	mm->batched = 0;
}

/* v5.10: lru_cache_add, __pagevec_lru_add; v6.18: folio_batch_add_and_move. */
void batch_take(cow_machine *m, uint32_t index, uint32_t frame)
{
	struct mm *mm = mm_at(m, index);
	uint32_t slot;

	slot = pool_take(&m->pools[POOL_LINK]);
	link_at(m, slot)->frame = frame;
	link_at(m, slot)->next = mm->batch;
	mm->batch = slot;
	frame_at(m, frame)->flags |= FRAME_BATCHED;
	frame_at(m, frame)->refcount++;
	machine_count(m, COW_COUNT_ATOMICS, 1);
	if (++mm->batched > m->state.lru_batch)
		batch_drain(m, index);
}
