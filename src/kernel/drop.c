/* SPDX-License-Identifier: MIT
 *
 * The end of a page in the swap cache, after mm/vmscan.c: __remove_mapping: what is clean, and nobody's
 * but its slot's, is freed.  How it got there is in reclaim.c.
 */
#include "kernel/reclaim.h"
#include "machine/plant.h"

enum cow_outcome drop_page(cow_machine *m, const struct leaf *leaf, uint64_t page)
{
	uint64_t entry = leaf->pmd ? 0 : leaf->ptes[leaf_slot(m, page)];
	uint32_t frame = 0;
	const struct frame *at;

	if (entry & PTE_SWAP)
		frame = slot_at(m, pte_frame(entry))->frame;
	else if ((entry & PTE_PRESENT) && frame_cached(m, pte_frame(entry)))
		return COW_OUT_REFUSED;
	if (!frame)
		return COW_OUT_NONE;
	at = frame_at(m, frame);
	/* Without a free slot reclaim looks at no anonymous page. */
	if ((at->flags & FRAME_WRITEBACK) || at->mapcount || at->refcount != 1 || !slots_left(m))
		return COW_OUT_REFUSED;
	if (slot_at(m, frame_slot(m, frame))->value != frame_body(m, frame)->value && !PLANTED(30))
		slot_write(m, frame); /* written through a reference since */
	cache_remove(m, frame);
	return COW_OUT_MOVED;
}

int cow_swap_drop(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		  struct cow_result *result)
{
	struct call call;
	struct leaf leaf;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (!error)
		error = call_begin(m, &call, COW_OP_SWAP_DROP, 0);
	if (error)
		return error;
	if (mm_at(m, call.mm)->batch)
		batch_drain(m, call.mm);
	for (uint64_t page = call.first; leaf_from(m, call.mm, &page, call.end, &leaf);) {
		uint64_t high = leaf.first + leaf_entries(m);

		while (page < call.end && page < high) {
			uint64_t end = high < call.end ? high : call.end;

			if (!leaf.pmd && !m->observer_count)
				page = drop_alone(m, &leaf, page, end, call.result);
			if (page < call.end && page < high)
				result_place(call.result, drop_page(m, &leaf, page++), 1);
		}
	}
	return op_end(m, &call.op, 0);
}

int cow_reclaim(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages, struct cow_result *out,
		struct cow_result *dropped)
{
	struct cow_result unwanted;
	int error;

	if (!dropped)
		dropped = &unwanted;
	result_clear(dropped);
	if (pages == 1 && reclaim_freed(m, mm, addr, dropped)) {
		if (out) {
			result_clear(out);
			result_place(out, COW_OUT_MOVED, 1);
		}
		return 0;
	}
	error = cow_swap_out(m, mm, addr, pages, false, out);
	return error ? error : cow_swap_drop(m, mm, addr, pages, dropped);
}
