/* SPDX-License-Identifier: MIT
 *
 * madvise free and pageout, after mm/madvise.c: madvise_free_pte_range, madvise_free_huge_pmd,
 * madvise_pageout.  Free marks pages; reclaim.c drops them if it comes by before the next write.
 * Pageout is reclaim for what the policy lets this process page out.
 */
#include "kernel/reclaim.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* Pages of a VMA that are being given up. */
struct giveup {
	uint32_t mm, vma;
	uint64_t page, end;
	struct leaf leaf;
	bool flush;
};

/* folio_mark_lazyfree, once entries are neither dirty nor young any more, of the page or folio of a frame. */
static void lazyfree_mark(cow_machine *m, struct giveup *at, uint32_t frame, uint64_t *entries,
			  uint64_t count, uint64_t pages)
{
	for (uint64_t i = 0; i < count; i++) {
		at->flush |= (entries[i] & (PTE_DIRTY | PTE_YOUNG)) != 0;
		entries[i] &= ~(PTE_DIRTY | PTE_YOUNG);
	}
	page_lazyfree(m, frame, true);
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

/* v6.15+: folio_maybe_mapped_shared; v6.9+: folio_likely_mapped_shared, which guesses by the first page. */
static bool folio_shared(const cow_machine *m, const struct folio *folio)
{
	if (folio->mapcount <= 1)
		return false;
	if (!(m->policy->flags & COW_POLICY_LAZYFREE_BY_PAGE))
		return folio->flags & FOLIO_SHARED;
	return folio->entire || folio->mapcount > folio_frames(folio) ||
	       page_mapcount(m, folio->head) > 1;
}

/* Until v6.9: splits a folio that PTEs map, or goes on behind the page table.  Returns how many pages are
 * done; 0: it was split. */
static uint64_t split_or_end(cow_machine *m, const struct giveup *at, uint32_t frame)
{
	if (page_mapcount(m, frame) == 1 && split_folio(m, frame))
		return 0;
	return at->leaf.first + leaf_entries(m) - at->page;
}

/* Splits a folio that is meant in part, unless others map it.  Returns how many pages are done; 0: it was
 * split. */
static uint64_t split_part(cow_machine *m, uint32_t frame, uint64_t pages)
{
	return !folio_shared(m, folio_of(m, frame)) && split_folio(m, frame) ? 0 : pages;
}

/* What is dirty itself, or in the swap cache, can be given up by who maps it alone: it is clean then. */
static bool giveup_cleans(cow_machine *m, uint32_t frame, uint32_t pages)
{
	if (!frame_cached(m, frame) && !(page_dirty(m, frame) && !PLANTED(73)))
		return true;
	if (page_folio_mapcount(m, frame) != pages ||
	    (frame_cached(m, frame) && !cache_free(m, frame)))
		return false;
	page_make_clean(m, frame);
	return true;
}

/* madvise_free_pte_range for a page of a large folio, or for all of it.  Returns how many pages are done;
 * 0: it was split. */
static uint64_t giveup_large(cow_machine *m, struct giveup *at, uint32_t frame)
{
	uint32_t slot = leaf_slot(m, at->page), frames = folio_frames(folio_of(m, frame));
	uint64_t pages;

	if (m->policy->flags & COW_POLICY_ADVICE_SPLITS)
		return split_or_end(m, at, frame);
	pages = folio_batch(m, &at->leaf, slot, at->end - at->page);
	if (pages < frames)
		return split_part(m, frame, pages);
	if (giveup_cleans(m, frame, frames))
		lazyfree_mark(m, at, frame, &at->leaf.ptes[slot], pages, pages);
	return pages;
}

/* madvise_free_huge_pmd.  Returns how many pages are done; 0: the folio was split. */
static uint64_t giveup_pmd(cow_machine *m, struct giveup *at)
{
	uint32_t frame = pte_frame(*at->leaf.pmd);
	uint64_t left = at->leaf.first + pmd_pages(m) - at->page;
	bool old = m->policy->flags & COW_POLICY_ADVICE_SPLITS;

	if (left > at->end - at->page)
		left = at->end - at->page;
	if ((*at->leaf.pmd & PTE_SPECIAL) || (folio_of(m, frame)->flags & FOLIO_HUGETLB))
		return left;
	if (old ? page_mapcount(m, frame) != 1 : folio_shared(m, folio_of(m, frame)))
		return left;
	if (left != pmd_pages(m))
		return split_folio(m, frame) ? 0 : left;
	page_make_clean(m, frame);
	lazyfree_mark(m, at, frame, at->leaf.pmd, 1, left);
	return left;
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
	if (giveup_cleans(m, frame, 1))
		lazyfree_mark(m, at, frame, pte, 1, 1);
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

/* madvise_cold_or_pageout_pte_range: splits a folio of which only a part is meant, unless others map it.
 * Returns how many pages are done; 0: the folio was split. */
static uint64_t cold_entry(cow_machine *m, struct giveup *at)
{
	uint64_t entry = at->leaf.pmd ? *at->leaf.pmd : at->leaf.ptes[leaf_slot(m, at->page)];
	uint64_t left = at->leaf.first + leaf_entries(m) - at->page;
	uint32_t frame = pte_frame(entry);

	if (left > at->end - at->page)
		left = at->end - at->page;
	if (!(entry & PTE_PRESENT) || (entry & PTE_SPECIAL) || !frame_large(m, frame))
		return at->leaf.pmd ? left : 1;
	if (!at->leaf.pmd && (m->policy->flags & COW_POLICY_ADVICE_SPLITS))
		return split_or_end(m, at, frame);
	if (!at->leaf.pmd)
		left = folio_batch(m, &at->leaf, leaf_slot(m, at->page), left);
	return left == folio_frames(folio_of(m, frame)) ? left : split_part(m, frame, left);
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
