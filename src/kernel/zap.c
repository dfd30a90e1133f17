/* SPDX-License-Identifier: MIT
 *
 * Giving pages up: zap_page_range, munmap, exit.  References survive, and hold the frames then.
 */
#include "kernel/kernel.h"
#include "machine/plant.h"

/* The markers of what is about to be zapped, where they live beside the table. */
static void zap_markers(cow_machine *m, const struct leaf *leaf, uint32_t slot, uint32_t end)
{
	for (; slot < end; slot++)
		if (leaf->ptes[slot] && side_marker_look(m, leaf, slot))
			side_marker_put(m, leaf, slot, false);
}

/* zap_pte_range: the hot loop of exit and munmap. */
static uint32_t zap_leaf(cow_machine *m, uint32_t mm, const struct leaf *leaf, uint32_t slot,
			 uint32_t slots)
{
	uint64_t *pte = &leaf->ptes[slot], *end = pte + slots;
	uint32_t gone = 0;

	if (m->state.marker >= COW_MARKER_ADJACENT)
		zap_markers(m, leaf, slot, slot + slots);
	for (; pte < end; pte++) {
		uint64_t old = *pte;

		if (!old)
			continue;
		*pte = 0;
		gone++;
		if (PLANTED(11) && !(old & (PTE_SPECIAL | PTE_SWAP)))
			frame_at(m, pte_frame(old))->refcount++;
		if (!(old & (PTE_SPECIAL | PTE_SWAP)))
			frame_unmap(m, pte_frame(old), mm);
		else if (old & PTE_SWAP)
			slot_put_and_cache(m, pte_frame(old));
	}
	table_info(m, leaf->table)->used -= gone;
	return gone;
}

void zap_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	uint32_t index = vma_at(m, vma)->mm;
	struct mm *mm = mm_at(m, index);
	uint64_t page = first;
	uint64_t gone = 0;
	struct leaf leaf;

	if (!(vma_at(m, vma)->flags & VMA_SHARED))
		note(m, COW_CHANGE_DROP, index, first, end - first, 0);
	while (leaf_next(m, mm->root, &page, end, &leaf)) {
		uint32_t slot = leaf_slot(m, page);
		uint64_t slots = leaf_entries(m) - slot;

		if (slots > end - page)
			slots = end - page;
		if (leaf.pmd && slots == pmd_pages(m)) {
			hugetlb_restore(m, vma, &leaf);
			huge_zap(m, vma, &leaf);
			gone += slots;
			page += slots;
			continue;
		}
		if (leaf.pmd)
			pmd_split(m, index, &leaf);
		note_entries(m, COW_CHANGE_UNMAP, vma, page, slots, &leaf.ptes[slot]);
		gone += zap_leaf(m, index, &leaf, slot, (uint32_t)slots);
		page += slots;
	}
	mm->pages -= gone;
	if (gone)
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	tables_prune(m, &mm->root, first, end, &mm->tables);
}

/* until v6.12 at least: unmap_region and zap_page_range_single call lru_add_drain. */
void zap_drain(cow_machine *m, uint32_t mm)
{
	if ((m->policy->flags & COW_POLICY_ZAP_DRAINS_LRU) && !PLANTED(12))
		batch_drain(m, mm);
}

void unmap_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint32_t vma;

	zap_drain(m, mm);
	vma_isolate(m, mm, first, end);
	while ((vma = vma_find(m, mm, first)) && vma_at(m, vma)->start < end) {
		zap_range(m, vma, vma_at(m, vma)->start, vma_at(m, vma)->end);
		if (vma_at(m, vma)->flags & VMA_RESERVED)
			hugetlb_unmap(m, vma);
		vma_remove(m, vma);
	}
}

int cow_munmap(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages)
{
	uint64_t first;
	uint32_t mm;
	struct cow_op op;
	int error = mm_resolve(m, handle, &mm);

	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error && !hugetlb_aligned(m, mm, first, first + pages))
		error = machine_fail(m, -EINVAL, "the range cuts a hugetlb page");
	if (!error)
		error = vma_reserve(m, mm, first, first + pages, 0);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MUNMAP, mm, addr, pages);
	error = op_begin(m, &op);
	if (error)
		return error;
	unmap_range(m, mm, first, first + pages);
	return op_end(m, &op, 0);
}

void mm_destroy(cow_machine *m, uint32_t mm)
{
	unmap_range(m, mm, 0, m->pages);
	batch_drain(m, mm); /* the batch is its CPU's in truth, and here its CPU ends with it */
	pool_give(&m->pools[POOL_MM], mm);
	machine_forget(m);
}

int cow_mm_exit(cow_machine *m, cow_mm handle)
{
	struct cow_op op;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (error)
		return error;
	op_set(m, &op, COW_OP_MM_EXIT, mm, 0, m->pages);
	error = op_begin(m, &op);
	if (error)
		return error;
	mm_destroy(m, mm);
	return op_end(m, &op, 0);
}
