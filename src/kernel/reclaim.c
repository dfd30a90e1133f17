/* SPDX-License-Identifier: MIT
 *
 * Going out to swap, after mm/vmscan.c: shrink_folio_list, and mm/rmap.c: try_to_unmap_one.  A page
 * loses every mapping that the reverse map finds, or is left alone as it was.  A large folio is
 * split first, so that what is here is one page.  Which page may go is asked for each of its
 * mappings, before anything changes.  madvise's ways in are in lazyfree.c, the way back in swap.c.
 */
#include "kernel/ask.h"
#include "kernel/reclaim.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* ---- the steps: each visits every mapping of the page ---- */

static bool step_ask(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;
	struct question question = { COW_DECIDE_SWAP_OUT, vma_at(m, at->vma)->mm, at->page,
				     &at->leaf.ptes[at->slot] };
	struct cow_view view = view_entry(m, at->vma, &at->leaf, at->slot);

	r->refused = ask(m, question, view)->action != COW_ACT_ALLOW;
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

static bool step_dirty(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;

	(void)m;
	r->dirty |= (at->leaf.ptes[at->slot] & PTE_DIRTY) != 0;
	r->refused |= (at->leaf.ptes[at->slot] & PTE_UFFD) != 0;
	return true;
}

/* The PTE is emptied: the content is nobody's any more, or an object has it. */
static bool step_empty(cow_machine *m, const struct mapping *at, void *unused)
{
	uint32_t index = vma_at(m, at->vma)->mm;
	struct mm *mm = mm_at(m, index);
	uint32_t frame = pte_frame(at->leaf.ptes[at->slot]);

	(void)unused;
	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->page, 1, &at->leaf.ptes[at->slot]);
	if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_look(m, &at->leaf, at->slot))
		side_marker_put(m, &at->leaf, at->slot, false);
	pte_empty(m, &at->leaf, at->slot);
	mm->pages--;
	frame_unmap(m, frame, index);
	tables_prune(m, &mm->root, at->page, at->page + 1, &mm->tables);
	return true;
}

/* ---- one page ---- */

/* A page of an object is unmapped, and stays in the page cache, so it needs no slot. */
static enum cow_outcome reclaim_file(cow_machine *m, struct reclaim *r)
{
	rmap_walk(m, r->frame, step_dirty, r);
	if (r->refused) /* the marker that would keep userfaultfd's bit is not modelled */
		return COW_OUT_REFUSED;
	rmap_walk(m, r->frame, step_empty, NULL);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	return COW_OUT_MOVED;
}

/* A page that madvise free gave up is dropped if nobody has written to it since, and nobody but its
 * mappings refers to it.  If somebody has, it is an ordinary page again, which the next round may
 * swap out. */
static enum cow_outcome reclaim_lazyfree(cow_machine *m, struct reclaim *r)
{
	struct frame *frame = frame_at(m, r->frame);

	rmap_walk(m, r->frame, step_dirty, r);
	if (r->dirty && !PLANTED(31)) {
		frame->flags &= ~(uint32_t)FRAME_LAZYFREE;
		return COW_OUT_REFUSED;
	}
	if (frame->refcount != frame->mapcount)
		return COW_OUT_REFUSED;
	rmap_walk(m, r->frame, step_empty, NULL);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	machine_count(m, COW_COUNT_DROPPED, 1);
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

	rmap_walk(m, r->frame, step_unmap, r);
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

	rmap_walk(m, r->frame, step_ask, r);
	if (r->refused)
		return reclaim_refused(m, r);
	r->fresh = !(frame->flags & FRAME_SWAPCACHE);
	if (r->fresh) {
		uint32_t slot = slot_alloc(m);

		if (!slot)
			return COW_OUT_REFUSED;
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
	return flags & FRAME_LAZYFREE ? reclaim_lazyfree(m, r) : reclaim_anon(m, r);
}

/* madvise_cold_or_pageout_pte_range: is the page one that this process may page out? */
static bool pageout_allowed(cow_machine *m, const struct reclaim *r, uint64_t page,
			    const struct leaf *leaf)
{
	uint32_t slot = leaf_slot(m, page);
	uint64_t *entry = leaf->pmd ? leaf->pmd : &leaf->ptes[slot];
	struct question question = { COW_DECIDE_PAGEOUT, r->mm, page, entry };
	uint32_t frame = leaf->pmd ? pmd_frame(m, *entry, page) : pte_frame(*entry);

	if (!r->vma)
		return true;
	if (!(frame_at(m, frame)->flags & FRAME_ANON)) /* folio_maybe_mapped_shared */
		return page_folio_mapcount(m, frame) == 1;
	return ask(m, question, view_entry(m, r->vma, leaf, slot))->action == COW_ACT_ALLOW;
}

enum cow_outcome reclaim_page(cow_machine *m, struct reclaim *r, uint64_t *page)
{
	uint64_t first = *page;

	for (;;) {
		struct leaf leaf;
		uint64_t at = first, entry;

		*page = first + 1;
		if (!leaf_next(m, mm_at(m, r->mm)->root, &at, *page, &leaf))
			return COW_OUT_NONE;
		entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, first)];
		if (!(entry & PTE_PRESENT))
			return COW_OUT_NONE;
		r->frame = leaf.pmd ? pmd_frame(m, entry, first) : pte_frame(entry);
		if (!(entry & PTE_SPECIAL) && pageout_allowed(m, r, first, &leaf)) {
			if (!frame_large(m, r->frame))
				return reclaim_frame(m, r);
			if (split_folio(m, r->frame))
				continue; /* its pages are small now, and asked about as such */
		}
		if (leaf.pmd)
			*page = leaf.first + pmd_pages(m);
		return COW_OUT_REFUSED;
	}
}

void reclaim_range(cow_machine *m, struct reclaim *r, uint64_t first, uint64_t end,
		   struct cow_result *result)
{
	uint64_t page = first;
	struct leaf leaf;

	batch_drain(m, r->mm);
	while (leaf_next(m, mm_at(m, r->mm)->root, &page, end, &leaf)) {
		uint64_t start = page;
		enum cow_outcome outcome = reclaim_page(m, r, &page);

		if (page > end)
			page = end;
		result_place(result, outcome, page - start);
	}
}

/* A table, and its extra one, for each PMD that maps a folio of the range: it may be split. */
static int split_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint32_t root = mm_at(m, mm)->root, last = 0;
	uint64_t page = first, pmds = 0;
	struct leaf leaf;
	int error;

	if (!m->state.pmds)
		return 0;
	while (leaf_next(m, root, &page, end, &leaf)) {
		uint64_t entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, page)];
		const struct frame *frame = frame_at(m, entry & PTE_PRESENT ? pte_frame(entry) : 0);

		if ((frame->flags & FRAME_LARGE) && frame->owner != last) {
			last = frame->owner;
			pmds += folio_at(m, last)->entire;
		}
		page = leaf.pmd ? leaf.first + pmd_pages(m) : page + 1;
	}
	if (pmds > m->state.pmds)
		pmds = m->state.pmds;
	if (m->state.marker == COW_MARKER_EXTRA)
		pmds *= 2;
	error = machine_reserve(m, POOL_TABLE, pmds);
	/* Both pools are used at the same indices, so the second must be as large as the first. */
	return error ? error
		     : machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
}

int pageout_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t pages = mm_at(m, mm)->pages;
	int error = split_reserve(m, mm, first, end);

	return error ? error : slot_reserve(m, end - first < pages ? end - first : pages);
}

int cow_swap_out(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, bool writing,
		 struct cow_result *result)
{
	struct reclaim r = { .writing = writing };
	struct cow_result unwanted;
	struct cow_op op;
	uint64_t first;
	int error = mm_resolve(m, handle, &r.mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		error = pageout_reserve(m, r.mm, first, first + pages);
	if (error)
		return error;
	op_set(m, &op, COW_OP_SWAP_OUT, r.mm, addr, pages);
	op.value = writing;
	error = op_begin(m, &op);
	if (error)
		return error;
	reclaim_range(m, &r, first, first + pages, result);
	return op_end(m, &op, 0);
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

/* __remove_mapping for what an entry names, or maps.  A page that is mapped anywhere stays. */
static enum cow_outcome drop_page(cow_machine *m, const struct leaf *leaf, uint64_t page)
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
	if ((at->flags & FRAME_WRITEBACK) || at->mapcount || at->refcount != 1)
		return COW_OUT_REFUSED;
	if (slot_at(m, frame_slot(m, frame))->value != frame_body(m, frame)->value && !PLANTED(30))
		slot_write(m, frame); /* written through a reference since */
	cache_remove(m, frame);
	return COW_OUT_MOVED;
}

int cow_swap_drop(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		  struct cow_result *result)
{
	struct cow_result unwanted;
	struct cow_op op;
	struct leaf leaf;
	uint64_t page, end;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error)
		error = range_check(m, addr, pages, &page);
	if (error)
		return error;
	op_set(m, &op, COW_OP_SWAP_DROP, mm, addr, pages);
	error = op_begin(m, &op);
	if (error)
		return error;
	batch_drain(m, mm);
	end = page + pages;
	for (; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf); page++)
		result_place(result, drop_page(m, &leaf, page), 1);
	return op_end(m, &op, 0);
}
