/* SPDX-License-Identifier: MIT
 *
 * Giving pages up: zap_page_range, munmap, exit.  References survive, and hold the frames then.
 */
#include "kernel/kernel.h"
#include "kernel/row.h"
#include "machine/plant.h"

/* The markers of what is about to be zapped, where they live beside the table. */
static void zap_markers(cow_machine *m, const struct leaf *leaf, uint32_t slot, uint32_t end)
{
	for (; slot < end; slot++)
		if (leaf->ptes[slot] && side_marker_look(m, leaf, slot))
			side_marker_put(m, leaf, slot, false);
}

/* frame_free of a row, the last entry's first. */
static void free_row(cow_machine *m, uint32_t low, bool rising)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	struct frame *frames = frame_at(m, low);
	const uint32_t next = rising ? low + 1 : low - 1;

	for (uint32_t i = 0; i < ROW; i++)
		frames[i] = (struct frame){ .refcount = next + i };
	frames[rising ? ROW - 1 : 0].refcount = pool->free;
	memset(frame_body(m, low), 0, ROW * sizeof(struct frame_body));
	pool->free = rising ? low : low + ROW - 1;
	pool->live -= ROW;
	m->pools[POOL_BODY].live = pool->live;
	m->state.frames_used -= ROW;
}

/* Unmaps a row of base pages that others map too, or that nothing else holds.  False: nothing was
 * changed. */
static bool zap_row(cow_machine *m, uint64_t *ptes)
{
	const bool rising = ptes[1] > ptes[0];
	struct frame *frames;
	uint32_t low;

	if ((ptes[0] & (PTE_PRESENT | PTE_SPECIAL | PTE_SWAP)) != PTE_PRESENT || PLANTED(11))
		return false;
	low = row_low(ptes);
	if (!low)
		return false;
	frames = frame_at(m, low);
	if ((frames->flags & (FRAME_LARGE | FRAME_KSM)) || !frames_alike(frames))
		return false;
	if (frames->mapcount > 1) {
		struct frame frame = *frames;

		frame.refcount--;
		frame.mapcount--;
		for (uint32_t i = 0; i < ROW; i++)
			frames[i] = frame;
	} else if (frames->refcount == 1 && frames->mapcount == 1) {
		free_row(m, low, rising);
	} else {
		return false;
	}
	memset(ptes, 0, ROW * sizeof(*ptes));
	machine_count(m, COW_COUNT_ATOMICS, 2 * ROW);
	return true;
}

/* One that is not empty. */
static inline void zap_entry(cow_machine *m, uint32_t mm, uint64_t *pte)
{
	const uint64_t old = *pte;

	*pte = 0;
	if (PLANTED(11) && (old & (PTE_SPECIAL | PTE_PRESENT)) == PTE_PRESENT)
		frame_at(m, pte_frame(old))->refcount++;
	if ((old & (PTE_SPECIAL | PTE_PRESENT)) == PTE_PRESENT)
		frame_unmap(m, pte_frame(old), mm);
	else if (old & PTE_SWAP)
		slot_put_and_cache(m, pte_frame(old));
}

/* zap_pte_range: the hot loop of exit and munmap. */
static uint32_t zap_leaf(cow_machine *m, uint32_t mm, const struct leaf *leaf, uint32_t slot,
			 uint32_t slots)
{
	uint64_t *first = &leaf->ptes[slot], *pte = first + slots;
	uint32_t gone = 0;

	if (m->state.marker >= COW_MARKER_ADJACENT)
		zap_markers(m, leaf, slot, slot + slots);
	while (pte > first) {
		uint64_t *stop = pte - first < PAUSE ? first : pte - PAUSE;

		if (pte - first >= ROW && zap_row(m, pte - ROW)) {
			pte -= ROW;
			gone += ROW;
			continue;
		}
		while (pte > stop)
			if (*--pte) {
				zap_entry(m, mm, pte);
				gone++;
			}
	}
	table_info(m, leaf->table)->used -= gone;
	return gone;
}

/* pte_install_uffd_wp_if_needed: what userfaultfd protects of an object leaves a PTE marker, and markers
 * stay. */
static uint32_t zap_marked(cow_machine *m, uint32_t mm, const struct leaf *leaf, uint32_t slot,
			   uint32_t slots)
{
	uint32_t gone = 0;

	for (uint32_t end = slot + slots; slot < end; slot++) {
		uint64_t old = leaf->ptes[slot];

		if (pte_is_marker(old))
			continue;
		gone += zap_leaf(m, mm, leaf, slot, 1);
		if (!(old & PTE_UFFD))
			continue;
		pte_fill(m, leaf, slot, PTE_UFFD);
		gone--;
	}
	return gone;
}

/* From the end to the start: what is given back last is taken first, so frames and tables will be taken
 * in rising order again. */
void zap_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, unsigned flags)
{
	bool keeps = !(flags & ZAP_MARKERS) && vma_at(m, vma)->object &&
		     (vma_at(m, vma)->flags & VMA_UFFD_WP) && !PLANTED(57);
	uint32_t index = vma_at(m, vma)->mm;
	struct mm *mm = mm_at(m, index);
	uint64_t high = end;
	uint64_t gone = 0;
	struct leaf leaf;

	if (!(vma_at(m, vma)->flags & VMA_SHARED))
		note(m, COW_CHANGE_DROP, index, first, end - first, 0);
	while (leaf_prev(m, mm->root, first, &high, &leaf)) {
		uint64_t page = leaf.first > first ? leaf.first : first;
		uint32_t slot = leaf_slot(m, page);
		uint64_t slots = high - page;

		high = page;
		if (leaf.pmd && (vma_at(m, vma)->flags & VMA_HUGETLB)) {
			gone += hugetlb_zap(m, vma, &leaf, flags);
			continue;
		}
		if (leaf.pmd && slots == pmd_pages(m)) {
			huge_zap(m, vma, &leaf);
			gone += slots;
			continue;
		}
		if (leaf.pmd)
			pmd_split(m, index, &leaf);
		note_entries(m, COW_CHANGE_UNMAP, vma, page, slots, &leaf.ptes[slot]);
		gone += keeps ? zap_marked(m, index, &leaf, slot, (uint32_t)slots)
			      : zap_leaf(m, index, &leaf, slot, (uint32_t)slots);
		/* At once, while the CPU has it in its cache. */
		if (!table_info(m, leaf.table)->used)
			tables_prune(m, &mm->root, page, page + slots, &mm->tables);
	}
	mm->pages -= gone;
	if (gone)
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	tables_prune(m, &mm->root, first, end, &mm->tables);
}

/* until v6.13: unmap_region and zap_page_range_single call lru_add_drain. */
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
		zap_range(m, vma, vma_at(m, vma)->start, vma_at(m, vma)->end,
			  ZAP_MARKERS | ZAP_UNMAP);
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
