/* SPDX-License-Identifier: MIT
 *
 * madvise free and pageout, after mm/madvise.c: madvise_free_pte_range, madvise_free_huge_pmd,
 * madvise_pageout.  Free marks pages; reclaim.c drops them if it comes by before the next write.
 * Pageout is reclaim for what the policy lets this process page out.
 */
#include "kernel/reclaim.h"
#include "kernel/split.h"

/* Pages of a VMA that are being given up. */
struct giveup {
	uint32_t mm, vma;
	uint64_t page, end;
	struct leaf leaf;
	bool flush;
};

/* The page may be dropped from now on, until it is dirty again. */
static void lazyfree_mark(cow_machine *m, struct giveup *at, uint32_t frame, uint64_t *entry,
			  uint64_t pages)
{
	at->flush |= (*entry & (PTE_DIRTY | PTE_YOUNG)) != 0;
	*entry &= ~(PTE_DIRTY | PTE_YOUNG);
	for (uint64_t i = 0; i < pages; i++)
		frame_at(m, frame + (uint32_t)i)->flags |= FRAME_LAZYFREE;
	note(m, COW_CHANGE_FREE, at->mm, at->page, pages, 0);
}

/* free_swap_and_cache: a swapped page is not worth reading back. */
static void giveup_swapped(cow_machine *m, struct giveup *at)
{
	uint32_t slot = leaf_slot(m, at->page);
	uint64_t entry = at->leaf.ptes[slot];

	note(m, COW_CHANGE_FREE, at->mm, at->page, 1, 0);
	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->page, 1, &at->leaf.ptes[slot]);
	swap_marker_put(m, &at->leaf, slot, false);
	pte_empty(m, &at->leaf, slot);
	mm_at(m, at->mm)->pages--;
	slot_put_and_cache(m, pte_frame(entry));
}

/* folio_maybe_mapped_shared */
static bool folio_shared(const struct folio *folio)
{
	return folio->mapcount > 1 && (folio->flags & FOLIO_SHARED);
}

/* True if PTEs from at->page on map a whole folio, all within the range and nowhere else. */
static bool maps_whole(const cow_machine *m, const struct giveup *at, const struct folio *folio)
{
	uint32_t slot = leaf_slot(m, at->page);

	if (folio->mapcount != folio_frames(folio) || at->end - at->page < folio_frames(folio) ||
	    slot + folio_frames(folio) > leaf_entries(m))
		return false;
	for (uint32_t i = 0; i < folio_frames(folio); i++)
		if (!(at->leaf.ptes[slot + i] & PTE_PRESENT) ||
		    pte_frame(at->leaf.ptes[slot + i]) != folio->head + i)
			return false;
	return true;
}

/* A page of a large folio that PTEs map.  Returns how many pages are done; 0: it was split. */
static uint64_t giveup_large(cow_machine *m, struct giveup *at, uint32_t frame)
{
	const struct folio *folio = folio_of(m, frame);
	uint32_t pages = folio_frames(folio);

	if (!maps_whole(m, at, folio))
		return !folio_shared(folio) && split_folio(m, frame) ? 0 : 1;
	for (uint32_t i = 0; i < pages; i++, at->page++)
		lazyfree_mark(m, at, frame + i, &at->leaf.ptes[leaf_slot(m, at->page)], 1);
	at->page -= pages;
	return pages;
}

/* madvise_free_huge_pmd.  Returns how many pages are done; 0: the folio was split. */
static uint64_t giveup_pmd(cow_machine *m, struct giveup *at)
{
	uint64_t pmd = *at->leaf.pmd;
	uint64_t left = at->leaf.first + pmd_pages(m) - at->page;
	const struct folio *folio;

	if (left > at->end - at->page)
		left = at->end - at->page;
	if (pmd & PTE_SPECIAL)
		return left;
	folio = folio_of(m, pte_frame(pmd));
	if (folio_shared(folio) || (folio->flags & FOLIO_HUGETLB))
		return left;
	if (left != pmd_pages(m))
		return split_folio(m, pte_frame(pmd)) ? 0 : left;
	lazyfree_mark(m, at, pte_frame(pmd), at->leaf.pmd, left);
	return left;
}

static bool is_dirty(cow_machine *m, const struct mapping *at, void *ctx)
{
	bool *dirty = ctx;

	(void)m;
	*dirty = at->leaf.ptes[at->slot] & PTE_DIRTY;
	return *dirty;
}

/* folio_test_dirty: then nobody else may map the page, nor if it is in the swap cache.  What is kept nowhere
 * else is dirty itself, unless all its entries are or it was given up before. */
static bool giveup_allowed(cow_machine *m, uint32_t frame)
{
	uint32_t flags = frame_at(m, frame)->flags;
	bool dirty = true;

	if (frame_at(m, frame)->mapcount == 1)
		return !(flags & FRAME_SWAPCACHE) || cache_free(m, frame);
	if (flags & (FRAME_SWAPCACHE | FRAME_KSM))
		return false;
	if (!(flags & FRAME_LAZYFREE))
		rmap_walk(m, frame, is_dirty, &dirty);
	return dirty;
}

/* madvise_free_pte_range for one entry.  Returns how many pages are done; 0: look again. */
static uint64_t giveup_entry(cow_machine *m, struct giveup *at)
{
	uint64_t *pte = &at->leaf.ptes[leaf_slot(m, at->page)];
	uint32_t frame = pte_frame(*pte);

	if (*pte & PTE_SWAP) {
		giveup_swapped(m, at);
		return 1;
	}
	if (!(*pte & PTE_PRESENT) || (*pte & PTE_SPECIAL) ||
	    !(frame_at(m, frame)->flags & FRAME_ANON))
		return 1;
	if (frame_large(m, frame))
		return giveup_large(m, at, frame);
	if (!giveup_allowed(m, frame))
		return 1;
	lazyfree_mark(m, at, frame, pte, 1);
	return 1;
}

void free_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	struct giveup at = { .mm = vma_at(m, vma)->mm, .vma = vma, .page = first, .end = end };
	struct mm *mm = mm_at(m, at.mm);

	batch_drain(m, at.mm);
	while (leaf_next(m, mm->root, &at.page, end, &at.leaf))
		at.page += at.leaf.pmd ? giveup_pmd(m, &at) : giveup_entry(m, &at);
	if (at.flush)
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	tables_prune(m, &mm->root, first, end, &mm->tables);
}

/* madvise_folio_pte_batch: how many PTEs from at->page on map pages of the folio behind each other. */
static uint64_t batch_of(const cow_machine *m, const struct giveup *at, const struct folio *folio)
{
	uint32_t slot = leaf_slot(m, at->page), frame = pte_frame(at->leaf.ptes[slot]), pages = 1;
	uint64_t most = leaf_entries(m) - slot;

	if (most > at->end - at->page)
		most = at->end - at->page;
	if (most > folio->head + folio_frames(folio) - frame)
		most = folio->head + folio_frames(folio) - frame;
	while (pages < most && (at->leaf.ptes[slot + pages] & PTE_PRESENT) &&
	       pte_frame(at->leaf.ptes[slot + pages]) == frame + pages)
		pages++;
	return pages;
}

/* madvise_cold_or_pageout_pte_range: splits a folio of which only a part is meant, unless others map it.
 * Returns how many pages are done; 0: the folio was split. */
static uint64_t cold_entry(cow_machine *m, struct giveup *at)
{
	uint64_t entry = at->leaf.pmd ? *at->leaf.pmd : at->leaf.ptes[leaf_slot(m, at->page)];
	uint64_t left = at->leaf.first + leaf_entries(m) - at->page;
	const struct folio *folio;

	if (left > at->end - at->page)
		left = at->end - at->page;
	if (!(entry & PTE_PRESENT) || (entry & PTE_SPECIAL) || !frame_large(m, pte_frame(entry)))
		return at->leaf.pmd ? left : 1;
	folio = folio_of(m, pte_frame(entry));
	if (!at->leaf.pmd)
		left = batch_of(m, at, folio);
	if (left == folio_frames(folio) || folio_shared(folio))
		return left;
	return split_folio(m, pte_frame(entry)) ? 0 : left;
}

void cold_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	struct giveup at = { .mm = vma_at(m, vma)->mm, .vma = vma, .page = first, .end = end };

	while (leaf_next(m, mm_at(m, at.mm)->root, &at.page, end, &at.leaf))
		at.page += cold_entry(m, &at);
}

void pageout_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end,
		   struct cow_result *result)
{
	struct reclaim r;

	reclaim_init(&r, vma_at(m, vma)->mm, vma, false);
	reclaim_range(m, &r, first, end, result);
}
