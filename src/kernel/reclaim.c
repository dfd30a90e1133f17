/* SPDX-License-Identifier: MIT
 *
 * Going out to swap, after mm/vmscan.c: shrink_folio_list, and mm/rmap.c: try_to_unmap_one.  A page
 * loses every mapping that the reverse map finds, or is left alone as it was.  A large folio is
 * split first, so that what is here is one page.  Which page may go is asked for each of its
 * mappings, before anything changes.  Ordinary pages that nobody looks on at go the short way of
 * reclaim_hot.c, pages of madvise free that of discard.c.  madvise's ways in are in lazyfree.c, the end
 * of a clean page in drop.c, the way back in swap.c.
 */
#include "kernel/ask.h"
#include "kernel/reclaim.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* ---- the steps: each visits every mapping of the page ---- */

/* The answer about an anonymous base page. */
static const struct cow_rule *ask_mapping(cow_machine *m, enum cow_decision_id id,
					  const struct mapping *at)
{
	uint64_t *pte = &at->leaf.ptes[at->slot];
	const struct frame *frame = frame_at(m, pte_frame(*pte));
	struct question question = { id, vma_at(m, at->vma)->mm, at->page, pte };
	const struct cow_rule *rule;
	struct cow_view view;
	struct sight sight;

	/* A look at a side table is counted, so it is done once. */
	if (!sight_possible(m, frame) || m->state.marker >= COW_MARKER_ADJACENT)
		return ask(m, question, view_entry(m, at->vma, &at->leaf, at->slot));
	sight = sight_of(m, at->vma, *pte, pte_frame(*pte),
			 marker_get(m, &at->leaf, at->slot, frame) ? SIGHT_MARKER : 0);
	rule = sight_ask(m, question, &sight);
	if (rule)
		return rule;
	view = view_entry(m, at->vma, &at->leaf, at->slot);
	rule = ask(m, question, view);
	sight_keep(m, id, sight, view, rule);
	return rule;
}

static bool step_ask(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;

	r->refused = ask_mapping(m, COW_DECIDE_SWAP_OUT, at)->action != COW_ACT_ALLOW;
	return !r->refused;
}

/* The PTE becomes a swap entry; soft-dirty, userfaultfd's bit and the marker go with it. */
static bool step_unmap(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;
	uint64_t *pte = &at->leaf.ptes[at->slot];
	struct frame *frame = frame_at(m, r->frame);
	uint32_t slot = frame_slot(m, r->frame);
	bool own = marker_get(m, &at->leaf, at->slot, frame) && !PLANTED(27);

	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->page, 1, pte);
	r->dirty |= (*pte & PTE_DIRTY) != 0;
	slot_get(m, slot);
	*pte = pte_make(slot, PTE_SWAP | (*pte & (PTE_SOFT | PTE_UFFD)));
	swap_marker_put(m, &at->leaf, at->slot, own);
	note_entries(m, COW_CHANGE_MAP, at->vma, at->page, 1, pte);
	frame_unmap(m, r->frame, vma_at(m, at->vma)->mm);
	return !PLANTED(29);
}

bool reclaim_empty(cow_machine *m, const struct mapping *at, void *unused)
{
	uint32_t index = vma_at(m, at->vma)->mm;
	struct mm *mm = mm_at(m, index);
	uint32_t frame = pte_frame(at->leaf.ptes[at->slot]);
	bool mark = (at->leaf.ptes[at->slot] & PTE_UFFD) && vma_at(m, at->vma)->object;

	(void)unused;
	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->page, 1, &at->leaf.ptes[at->slot]);
	if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_look(m, &at->leaf, at->slot))
		side_marker_put(m, &at->leaf, at->slot, false);
	if (mark) {
		at->leaf.ptes[at->slot] = PTE_UFFD;
		frame_unmap(m, frame, index);
		return true;
	}
	pte_empty(m, &at->leaf, at->slot);
	mm->pages--;
	frame_unmap(m, frame, index);
	tables_prune(m, &mm->root, at->page, at->page + 1, &mm->tables);
	return true;
}

/* ---- one page ---- */

/* A page with one mapping is mapped where it was found, and nowhere else. */
static inline bool mapped_here(const cow_machine *m, const struct reclaim *r)
{
	return frame_at(m, r->frame)->mapcount == 1;
}

static inline void each_mapping(cow_machine *m, struct reclaim *r, rmap_fn *step)
{
	if (mapped_here(m, r))
		step(m, &r->here, r);
	else
		rmap_walk(m, r->frame, step, r);
}

/* A page of an object is unmapped, and stays in the page cache, so it needs no slot. */
static enum cow_outcome reclaim_file(cow_machine *m, struct reclaim *r)
{
	r->stale = true;
	each_mapping(m, r, reclaim_empty);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	return COW_OUT_MOVED;
}

/* activate_locked: what is left alone gives its slot back where slots are rare. */
static enum cow_outcome reclaim_refused(cow_machine *m, struct reclaim *r)
{
	if (swap_full(m))
		cache_free(m, r->frame);
	return COW_OUT_REFUSED;
}

/* try_to_unmap, pageout: the page is in the swap cache. */
static enum cow_outcome reclaim_out(cow_machine *m, struct reclaim *r)
{
	struct frame *frame = frame_at(m, r->frame);
	uint32_t slot = frame_slot(m, r->frame);

	each_mapping(m, r, step_unmap);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	machine_count(m, COW_COUNT_SWAP_OUTS, 1);
	if (!r->dirty && slot_at(m, slot)->value == frame_body(m, r->frame)->value)
		return COW_OUT_MOVED; /* the slot has its content already */
	if (r->fresh || !PLANTED(30))
		slot_write(m, r->frame);
	if (r->writing)
		frame->flags |= FRAME_WRITEBACK;
	return COW_OUT_MOVED;
}

static enum cow_outcome reclaim_anon(cow_machine *m, struct reclaim *r)
{
	struct frame *frame = frame_at(m, r->frame);

	if (ksm_lost(m, r->frame)) /* rmap_walk_ksm finds nobody to unmap it from */
		return COW_OUT_REFUSED;
	each_mapping(m, r, step_ask);
	if (r->refused)
		return reclaim_refused(m, r);
	r->fresh = !(frame->flags & FRAME_SWAPCACHE);
	if (r->fresh) {
		uint32_t slot = slot_alloc(m);

		if (!slot)
			return COW_OUT_REFUSED;
		page_make_clean(m, r->frame);
		cache_add(m, r->frame, slot);
		r->dirty = true;
	}
	return reclaim_out(m, r);
}

/* shrink_folio_list for one page of a small folio. */
static enum cow_outcome reclaim_frame(cow_machine *m, struct reclaim *r)
{
	uint32_t flags = frame_at(m, r->frame)->flags;

	r->dirty = r->refused = false;
	if (flags & FRAME_BATCHED) /* in the batch of another CPU, so not on the LRU list */
		return COW_OUT_REFUSED;
	if (flags & FRAME_SHARED)
		return reclaim_file(m, r);
	if (!(flags & FRAME_ANON) || (flags & FRAME_WRITEBACK))
		return COW_OUT_REFUSED;
	if (flags & FRAME_LAZYFREE)
		return reclaim_lazyfree(m, r);
	return r->frame == r->kept ? COW_OUT_REFUSED : reclaim_anon(m, r);
}

/* madvise_cold_or_pageout_pte_range: is the page one that this process may page out? */
static bool pageout_allowed(cow_machine *m, const struct reclaim *r, const uint64_t *entry)
{
	struct question question = { COW_DECIDE_PAGEOUT, r->mm, r->here.page, entry };

	if (!r->vma)
		return true;
	if (!(frame_at(m, r->frame)->flags & FRAME_ANON)) /* folio_maybe_mapped_shared */
		return page_folio_mapcount(m, r->frame) == 1;
	return ask(m, question, view_entry(m, r->vma, &r->here.leaf, r->here.slot))->action ==
	       COW_ACT_ALLOW;
}

/* madvise_cold_or_pageout_pte_range: how many pages of the place map a large folio of madvise free from its
 * first frame on, if that is all of them: then nobody splits it.  0: it is meant in part. */
static uint64_t given_up_whole(cow_machine *m, const struct reclaim *r)
{
	const struct folio *folio = folio_of(m, r->frame);
	uint64_t pages = folio_frames(folio);

	if (!(frame_at(m, r->frame)->flags & FRAME_LAZYFREE) || r->frame != folio->head ||
	    r->end - r->here.page < pages || (m->policy->flags & COW_POLICY_LAZYFREE_SPLITS))
		return 0;
	if (r->here.leaf.pmd)
		return r->here.page == r->here.leaf.first ? pages : 0;
	return folio_batch(m, &r->here.leaf, r->here.slot, pages) == pages ? pages : 0;
}

/* A page of a large folio.  NONE: it was dropped or left alone as a whole, or split first. */
static enum cow_outcome reclaim_large(cow_machine *m, struct reclaim *r, struct cow_result *result)
{
	uint64_t pages = given_up_whole(m, r);
	bool elsewhere = folio_of(m, r->frame)->mapcount != (r->here.leaf.pmd ? 1 : pages);

	if (pages && r->vma && elsewhere) {
		result_place(result, COW_OUT_REFUSED, pages);
		r->done = pages;
		return COW_OUT_NONE;
	}
	if (pages) {
		reclaim_lazyfree_folio(m, r, pages, result);
		r->done = pages;
		return COW_OUT_NONE;
	}
	r->split = r->stale = split_folio(m, r->frame);
	return r->split ? COW_OUT_NONE : COW_OUT_REFUSED;
}

/* What r->here maps.  NONE: nothing is mapped, or a folio was split first, or counted (r->done). */
static enum cow_outcome reclaim_here(cow_machine *m, struct reclaim *r, struct cow_result *result)
{
	uint64_t *entry = r->here.leaf.pmd ? r->here.leaf.pmd : &r->here.leaf.ptes[r->here.slot];

	if (!(*entry & PTE_PRESENT))
		return COW_OUT_NONE;
	r->frame = r->here.leaf.pmd ? pmd_frame(m, *entry, r->here.page) : pte_frame(*entry);
	/* can_reclaim_anon_pages: without a free slot reclaim looks at no anonymous page, clean or not,
	 * and at no shared memory; madvise pageout does.  Pages of madvise free are on the list of files. */
	if (!r->vma && !slots_left(m) && !(frame_at(m, r->frame)->flags & FRAME_LAZYFREE))
		return COW_OUT_REFUSED;
	if ((*entry & PTE_SPECIAL) || !pageout_allowed(m, r, entry))
		return COW_OUT_REFUSED;
	return frame_large(m, r->frame) ? reclaim_large(m, r, result) : reclaim_frame(m, r);
}

/* Pages of one leaf table, or of a PMD, from *page on, until it has to be found again. */
static void reclaim_leaf(cow_machine *m, struct reclaim *r, uint64_t *page, uint64_t end,
			 struct cow_result *result)
{
	while (*page < end && !r->stale) {
		uint64_t pages = 1;
		enum cow_outcome outcome;

		if (*page >= r->vma_end) {
			r->here.vma = vma_covering(m, r->mm, *page);
			r->vma_end = r->here.vma ? vma_at(m, r->here.vma)->end : *page + 1;
		}
		if (r->hot && !r->here.leaf.pmd && r->here.vma) {
			reclaim_alike(m, r, page, end < r->vma_end ? end : r->vma_end, result);
			if (*page >= end)
				break;
			if (*page >= r->vma_end)
				continue;
		}
		r->here.page = *page;
		r->here.slot = leaf_slot(m, *page);
		r->end = end;
		r->split = false;
		r->done = 0;
		outcome = reclaim_here(m, r, result);
		*page += r->done;
		if (r->split || r->done)
			continue;
		if (r->here.leaf.pmd)
			pages = end - *page;
		result_place(result, outcome, pages);
		*page += pages;
	}
}

void reclaim_range(cow_machine *m, struct reclaim *r, uint64_t first, uint64_t end,
		   struct cow_result *result)
{
	uint64_t page = first;

	r->hot = !r->vma && reclaim_unwatched(m);
	if (mm_at(m, r->mm)->batch)
		batch_drain(m, r->mm);
	while (leaf_from(m, r->mm, &page, end, &r->here.leaf)) {
		uint64_t high = r->here.leaf.first + leaf_entries(m);

		r->stale = false;
		reclaim_leaf(m, r, &page, high < end ? high : end, result);
	}
}

int pageout_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t pages = mm_at(m, mm)->pages;
	int error = split_folio_reserve(m, split_pmds(m, mm, first, end));

	return error ? error : slot_reserve(m, end - first < pages ? end - first : pages);
}

int cow_swap_out(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, bool writing,
		 struct cow_result *result)
{
	struct reclaim r;
	struct call call;
	int error;

	if (pages == 1 && reclaim_one(m, handle, addr, writing)) {
		if (result) {
			result_clear(result);
			result_place(result, COW_OUT_MOVED, 1);
		}
		return 0;
	}
	error = call_check(m, &call, handle, addr, pages, result);
	if (error)
		return error;
	reclaim_init(&r, call.mm, 0, writing);
	error = pageout_reserve(m, call.mm, call.first, call.end);
	if (!error)
		error = call_begin(m, &call, COW_OP_SWAP_OUT, writing);
	if (error)
		return error;
	reclaim_range(m, &r, call.first, call.end, call.result);
	return op_end(m, &call.op, 0);
}

int cow_writeback_done(cow_machine *m)
{
	struct cow_op op = { .kind = COW_OP_WRITEBACK_DONE, .mm = COW_NONE };
	int error = op_begin(m, &op);

	if (error)
		return error;
	slots_written(m);
	return op_end(m, &op, 0);
}
