/* SPDX-License-Identifier: MIT
 *
 * What reclaim makes of pages of madvise free, after mm/rmap.c: try_to_unmap_one, folio_unmap_pte_batch,
 * and mm/huge_memory.c: unmap_huge_pmd_locked.  Their mappings are dropped one by one, the oldest
 * first, until one is dirty: then the page, or the folio, is an ordinary one again, which the next
 * round may swap out.  What somebody else refers to stays as it is.  What was dropped before stays so.
 *
 * Never marks a page, and never writes one to swap: lazyfree.c, reclaim.c.
 */
#include "kernel/reclaim.h"
#include "machine/plant.h"

/* ---- base pages ---- */

/* Remembers the last ones of a walk, which are the oldest mappings. */
static bool step_last(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;

	(void)m;
	r->at[r->seen++ % RECLAIM_SEEN] = *at;
	return true;
}

/* v6.15+: what somebody refers to is left as it is, and what is dirty has PG_swapbacked again; until v6.14
 * either has.  Returns false: the page stays. */
static bool discardable(cow_machine *m, uint32_t frame)
{
	bool dirty = page_dirty(m, frame);
	bool held = page_refcount(m, frame) != page_folio_mapcount(m, frame);

	if (dirty || (held && (m->policy->flags & COW_POLICY_LAZYFREE_BY_PAGE)))
		page_lazyfree(m, frame, false);
	return !dirty && !held;
}

static bool unmap_one(cow_machine *m, struct reclaim *r, const struct mapping *at)
{
	if ((at->leaf.ptes[at->slot] & PTE_DIRTY) && !PLANTED(31))
		page_make_dirty(m, r->frame);
	if (!discardable(m, r->frame))
		return false;
	r->gone |= at->vma == r->here.vma && at->page == r->here.page;
	return reclaim_empty(m, at, r);
}

/* anon_vma_interval_tree: by where the VMA begins, and what begins at one place by age. */
static bool is_before(const cow_machine *m, const struct mapping *one, const struct mapping *other)
{
	return vma_at(m, one->vma)->pgoff < vma_at(m, other->vma)->pgoff;
}

/* The mappings that were seen last, in the order of the reverse map's tree, where these are all. */
static uint32_t order_seen(const cow_machine *m, struct reclaim *r)
{
	uint32_t count = r->seen < RECLAIM_SEEN ? r->seen : RECLAIM_SEEN;
	struct mapping sorted[RECLAIM_SEEN];

	for (uint32_t i = 0; i < count; i++) {
		struct mapping at = r->at[--r->seen % RECLAIM_SEEN];
		uint32_t k = i;

		for (; k && is_before(m, &at, &sorted[k - 1]); k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = at;
	}
	memcpy(r->at, sorted, count * sizeof(*sorted));
	return count;
}

enum cow_outcome reclaim_lazyfree(cow_machine *m, struct reclaim *r)
{
	uint32_t mapped = frame_at(m, r->frame)->mapcount, left = mapped;
	bool more = !ksm_lost(m, r->frame); /* rmap_walk_ksm finds nobody to unmap it from */

	r->gone = false;
	while (left && more) {
		uint32_t count;

		r->seen = 0;
		if (mapped == 1)
			step_last(m, &r->here, r);
		else /* the one that is left need not be r->here */
			rmap_walk(m, r->frame, step_last, r);
		count = order_seen(m, r);
		more = count;
		for (uint32_t n = 0; n < count && more; n++) {
			more = unmap_one(m, r, &r->at[n]);
			left -= more;
		}
	}
	if (left < mapped) {
		r->stale = true;
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	}
	machine_count(m, COW_COUNT_DROPPED, !left);
	r->kept = left ? r->frame : 0;
	return r->gone ? COW_OUT_MOVED : COW_OUT_REFUSED;
}

/* ---- folios ---- */

/* A folio on its way out, VMA by VMA. */
struct discard {
	uint32_t head, frames;
	uint64_t index;  /* page offset of the first frame */
	uint32_t left;   /* PTEs and PMDs that map it still */
	uint32_t vmas[RECLAIM_SEEN], seen; /* the last of a walk */
};

static bool step_vma(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct discard *d = ctx;

	(void)m;
	if (!d->seen || d->vmas[(d->seen - 1) % RECLAIM_SEEN] != at->vma)
		d->vmas[d->seen++ % RECLAIM_SEEN] = at->vma;
	return true;
}

/* unmap_huge_pmd_locked, v6.12+.  False: it stays. */
static bool discard_pmd(cow_machine *m, struct discard *d, uint32_t vma, const struct leaf *leaf)
{
	uint32_t mm = vma_at(m, vma)->mm;

	if ((*leaf->pmd & PTE_DIRTY) && !PLANTED(31))
		page_make_dirty(m, d->head);
	if (!discardable(m, d->head))
		return false;
	huge_zap(m, vma, leaf);
	mm_at(m, mm)->pages -= d->frames;
	d->left--;
	return true;
}

/* A PMD that cannot go as it is, is split, and goes the way of its PTEs. */
static void discard_split(cow_machine *m, uint32_t vma, struct leaf *leaf)
{
	const struct folio *folio = folio_of(m, pte_frame(*leaf->pmd));

	if ((*leaf->pmd & PTE_DIRTY) || (folio->flags & FOLIO_DIRTY) ||
	    folio->refcount != folio->mapcount)
		pmd_split(m, vma_at(m, vma)->mm, leaf);
}

/* folio_unmap_pte_batch: as many PTEs behind each other as map frames behind each other, and are
 * alike.  Until v6.14 each goes alone. */
static uint32_t batch_alike(const cow_machine *m, const struct leaf *leaf, uint32_t slot, uint32_t most)
{
	const uint64_t bits = PTE_PRESENT | PTE_WRITE | PTE_PROTNONE | PTE_SOFT | PTE_UFFD;
	uint64_t first = leaf->ptes[slot];
	uint32_t count = 1;

	if (m->policy->flags & COW_POLICY_LAZYFREE_BY_PAGE)
		return 1;
	while (count < most && pte_frame(leaf->ptes[slot + count]) == pte_frame(first) + count &&
	       !((leaf->ptes[slot + count] ^ first) & bits))
		count++;
	return count;
}

static bool discard_batch(cow_machine *m, struct discard *d, uint32_t vma, uint64_t page,
			  const struct leaf *leaf, uint32_t count)
{
	uint32_t slot = leaf_slot(m, page), mm = vma_at(m, vma)->mm;

	for (uint32_t i = slot; i < slot + count; i++)
		if ((leaf->ptes[i] & PTE_DIRTY) && !PLANTED(31))
			page_make_dirty(m, d->head);
	if (!discardable(m, d->head))
		return false;
	note_entries(m, COW_CHANGE_UNMAP, vma, page, count, &leaf->ptes[slot]);
	for (uint32_t i = slot; i < slot + count; i++) {
		uint32_t frame = pte_frame(leaf->ptes[i]);

		if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_look(m, leaf, i))
			side_marker_put(m, leaf, i, false);
		pte_empty(m, leaf, i);
		frame_unmap(m, frame, mm);
	}
	mm_at(m, mm)->pages -= count;
	d->left -= count;
	return true;
}

/* try_to_unmap_one.  False: the folio stays. */
static bool discard_vma(cow_machine *m, struct discard *d, uint32_t vma)
{
	struct mm *mm = mm_at(m, vma_at(m, vma)->mm);
	uint64_t pgoff = vma_at(m, vma)->pgoff, start = vma_at(m, vma)->start;
	uint64_t low = d->index > pgoff ? d->index : pgoff;
	uint64_t first = start + (low - pgoff), end = start + (d->index + d->frames - pgoff);
	uint64_t page = first;
	bool more = true;
	struct leaf leaf;

	if (end > vma_at(m, vma)->end)
		end = vma_at(m, vma)->end;
	while (d->left && more && leaf_next(m, mm->root, &page, end, &leaf)) {
		uint32_t slot = leaf_slot(m, page), most = leaf_entries(m) - slot, count = 1;
		uint64_t entry;

		if (leaf.pmd && pte_frame(*leaf.pmd) == d->head)
			discard_split(m, vma, &leaf);
		if (leaf.pmd) {
			more = pte_frame(*leaf.pmd) != d->head || discard_pmd(m, d, vma, &leaf);
			page = leaf.first + pmd_pages(m);
			continue;
		}
		entry = leaf.ptes[slot];
		if (most > end - page)
			most = (uint32_t)(end - page);
		if ((entry & PTE_PRESENT) && !(entry & PTE_SPECIAL) &&
		    pte_frame(entry) - d->head < d->frames) {
			count = batch_alike(m, &leaf, slot, most);
			more = discard_batch(m, d, vma, page, &leaf, count);
		}
		page += count;
	}
	tables_prune(m, &mm->root, first, end, &mm->tables);
	return more;
}

/* How many of the places where the folio was meant to be dropped are empty now. */
static uint64_t places_gone(const cow_machine *m, const struct reclaim *r, uint64_t first, uint64_t end)
{
	uint64_t gone = end - first;
	struct leaf leaf;

	while (leaf_next(m, mm_at(m, r->mm)->root, &first, end, &leaf)) {
		if (leaf.pmd)
			return 0;
		gone -= leaf.ptes[leaf_slot(m, first)] != 0;
		first++;
	}
	return gone;
}

void reclaim_lazyfree_folio(cow_machine *m, struct reclaim *r, uint64_t pages,
			    struct cow_result *result)
{
	const struct folio *folio = folio_of(m, r->frame);
	uint32_t index = frame_at(m, r->frame)->owner, mapped = folio->mapcount;
	struct discard d = { .head = folio->head, .frames = folio_frames(folio),
			     .index = folio->index, .left = mapped };
	bool more = true;
	uint64_t gone;

	while (d.left && more) {
		d.seen = 0;
		folio_rmap_walk(m, index, step_vma, &d);
		more = d.seen;
		for (uint32_t n = d.seen < RECLAIM_SEEN ? d.seen : RECLAIM_SEEN; n && more; n--)
			more = discard_vma(m, &d, d.vmas[--d.seen % RECLAIM_SEEN]);
	}
	r->stale = true;
	machine_count(m, COW_COUNT_TLB_FLUSHES, d.left < mapped);
	if (!d.left)
		machine_count(m, COW_COUNT_DROPPED, d.frames);
	gone = places_gone(m, r, r->here.page, r->here.page + pages);
	if (gone)
		result_place(result, COW_OUT_MOVED, gone);
	if (gone < pages)
		result_place(result, COW_OUT_REFUSED, pages - gone);
}
