/* SPDX-License-Identifier: MIT
 *
 * split_folio: makes base pages of a large folio, wherever it is mapped, for those who can only do
 * with base pages (KSM, UFFDIO_MOVE).  A folio with a reference that no mapping explains stays
 * whole, and so do its PMDs, as in can_split_folio.  Never decides whether a split is wanted.
 */
#include "kernel/split.h"
#include "machine/plant.h"

uint64_t split_pmds(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint32_t root = mm_at(m, mm)->root, last = 0;
	uint64_t page = first, pmds = 0;
	struct leaf leaf;

	while (m->state.pmds && leaf_next(m, root, &page, end, &leaf)) {
		uint64_t high = leaf.first + leaf_entries(m);

		for (; page < end && page < high; page = leaf.pmd ? high : page + 1) {
			uint64_t entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, page)];
			uint32_t frame = entry & PTE_PRESENT ? pte_frame(entry) : 0;

			if (frame_large(m, frame) && frame_at(m, frame)->owner != last) {
				last = frame_at(m, frame)->owner;
				pmds += folio_at(m, last)->entire;
			}
		}
	}
	return pmds < m->state.pmds ? pmds : m->state.pmds;
}

/* A table for each, and its extra one.  Tables and what is known of them lie at the same
 * indices, so the second pool must be as large as the first. */
int split_folio_reserve(cow_machine *m, uint64_t pmds)
{
	int error = machine_reserve(m, POOL_TABLE,
				    m->state.marker == COW_MARKER_EXTRA ? 2 * pmds : pmds);

	return error ? error : machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
}

/* Finds one PMD: tables must not change while the reverse map is walked. */
static bool find_pmd(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	(void)m;
	if (!mapping->leaf.pmd)
		return true;
	*(struct mapping *)ctx = *mapping;
	return false;
}

/* v6.12+: try_to_map_unused_to_zeropage, of one mapping. */
static bool map_zero_page(cow_machine *m, const struct mapping *at, void *unused)
{
	uint64_t *pte = &at->leaf.ptes[at->slot];
	uint32_t frame = pte_frame(*pte);
	uint64_t kept = *pte & (PTE_SOFT | PTE_UFFD);

	(void)unused;
	marker_put(m, &at->leaf, at->slot, frame_at(m, frame), false);
	*pte = pte_make(0, kept | entry_flags(vma_at(m, at->vma)) | PTE_SPECIAL);
	note_page(m, COW_CHANGE_MERGE, at->vma, at->page, 0, 0, frame);
	frame_unmap(m, frame, vma_at(m, at->vma)->mm);
	return true;
}

/* remap_page: base pages that hold nothing but zeroes are given up for the zero page. */
static void remap_zeroes(cow_machine *m, uint32_t head, uint32_t frames)
{
	for (uint32_t frame = head; frame < head + frames; frame++)
		if (frame_at(m, frame)->mapcount && !frame_body(m, frame)->value)
			rmap_walk(m, frame, map_zero_page, NULL);
}

/* try_to_migrate: what is dirty in a page table is dirty, all of the folio. */
static bool note_dirty(cow_machine *m, const struct mapping *at, void *unused)
{
	uint64_t entry = at->leaf.pmd ? *at->leaf.pmd : at->leaf.ptes[at->slot];

	(void)unused;
	if (entry & PTE_DIRTY)
		page_make_dirty(m, pte_frame(entry));
	return !(entry & PTE_DIRTY);
}

uint64_t folio_batch(const cow_machine *m, const struct leaf *leaf, uint32_t slot, uint64_t most)
{
	const uint64_t bits = PTE_PRESENT | PTE_PROTNONE | PTE_UFFD;
	uint64_t first = leaf->ptes[slot], count = 1;
	const struct folio *folio = folio_of(m, pte_frame(first));

	if (most > leaf_entries(m) - slot)
		most = leaf_entries(m) - slot;
	if (most > folio->head + folio_frames(folio) - pte_frame(first))
		most = folio->head + folio_frames(folio) - pte_frame(first);
	while (count < most && pte_frame(leaf->ptes[slot + count]) == pte_frame(first) + count &&
	       !((leaf->ptes[slot + count] ^ first) & bits))
		count++;
	return count;
}

static bool split_folio_unmapping(cow_machine *m, uint32_t frame)
{
	uint32_t index = frame_at(m, frame)->owner;
	const struct folio *folio = folio_at(m, index);

	if ((folio->flags & FOLIO_HUGETLB) || folio->refcount != folio->mapcount)
		return false;
	if (!(folio->flags & FOLIO_DIRTY) && !PLANTED(71))
		folio_rmap_walk(m, index, note_dirty, NULL);
	while (folio->entire) {
		struct mapping at = { 0 };

		folio_rmap_walk(m, index, find_pmd, &at);
		if (!at.leaf.pmd)
			return false;
		pmd_split_alike(m, vma_at(m, at.vma)->mm, &at.leaf);
	}
	folio_split(m, index);
	return true;
}

bool split_folio(cow_machine *m, uint32_t frame)
{
	const struct folio *folio = folio_of(m, frame);
	uint32_t head = folio->head, frames = folio_frames(folio);

	if (!split_folio_unmapping(m, frame))
		return false;
	if (m->policy->flags & COW_POLICY_SPLIT_MAPS_ZERO)
		remap_zeroes(m, head, frames);
	return true;
}
