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

/* The same, and remembers the mapping for step_unmap. */
static bool step_see(cow_machine *m, const struct mapping *at, void *ctx)
{
	struct reclaim *r = ctx;

	if (r->seen < RECLAIM_SEEN)
		r->at[r->seen] = *at;
	r->seen++;
	return step_ask(m, at, r);
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

static void ask_all(cow_machine *m, struct reclaim *r)
{
	r->seen = 0;
	if (mapped_here(m, r))
		step_ask(m, &r->here, r);
	else
		rmap_walk(m, r->frame, step_see, r);
}

static void unmap_all(cow_machine *m, struct reclaim *r)
{
	if (!r->seen || r->seen > RECLAIM_SEEN) {
		each_mapping(m, r, step_unmap);
		return;
	}
	/* Two items of a KSM page may lead to one mapping. */
	for (uint32_t i = 0; i < r->seen; i++)
		if ((r->at[i].leaf.ptes[r->at[i].slot] & PTE_PRESENT) &&
		    !step_unmap(m, &r->at[i], r))
			return;
}

/* A page of an object is unmapped, and stays in the page cache, so it needs no slot.  No entry of it has
 * userfaultfd's bit, which a PTE marker would have to keep: objects cannot be registered. */
static enum cow_outcome reclaim_file(cow_machine *m, struct reclaim *r)
{
	r->stale = true;
	each_mapping(m, r, step_empty);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	return COW_OUT_MOVED;
}

/* A page that madvise free gave up is dropped if nobody has written to it since, and nobody but its
 * mappings refers to it.  If somebody has, it is an ordinary page again, which the next round may
 * swap out. */
static enum cow_outcome reclaim_lazyfree(cow_machine *m, struct reclaim *r)
{
	struct frame *frame = frame_at(m, r->frame);

	each_mapping(m, r, step_dirty);
	if (r->dirty && !PLANTED(31)) {
		frame->flags &= ~(uint32_t)FRAME_LAZYFREE;
		return COW_OUT_REFUSED;
	}
	if (frame->refcount != frame->mapcount)
		return COW_OUT_REFUSED;
	r->stale = true;
	each_mapping(m, r, step_empty);
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

	unmap_all(m, r);
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

	ask_all(m, r);
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

/* What r->here maps.  NONE: nothing is mapped, or a folio was split first. */
static enum cow_outcome reclaim_here(cow_machine *m, struct reclaim *r)
{
	uint64_t *entry = r->here.leaf.pmd ? r->here.leaf.pmd : &r->here.leaf.ptes[r->here.slot];

	if (!(*entry & PTE_PRESENT))
		return COW_OUT_NONE;
	/* can_reclaim_anon_pages: without a free slot reclaim looks at no anonymous page, clean or not,
	 * and at no shared memory; madvise pageout does. */
	if (!r->vma && !slots_left(m))
		return COW_OUT_REFUSED;
	r->frame = r->here.leaf.pmd ? pmd_frame(m, *entry, r->here.page) : pte_frame(*entry);
	if ((*entry & PTE_SPECIAL) || !pageout_allowed(m, r, entry))
		return COW_OUT_REFUSED;
	if (!frame_large(m, r->frame))
		return reclaim_frame(m, r);
	r->split = r->stale = split_folio(m, r->frame);
	return r->split ? COW_OUT_NONE : COW_OUT_REFUSED;
}

/* True if nobody looks on, and a sight says all that the policy could see. */
static inline bool alike_possible(const cow_machine *m)
{
	return !m->observer_count && m->state.marker < COW_MARKER_ADJACENT &&
	       !(m->policy->flags & COW_POLICY_NEEDS_TRUTH);
}

/*
 * The hot loop of reclaim: pages from *page on that have one mapping and nothing special about them, as
 * long as the last answer is good for them, so that no view is made and nothing is looked up twice.
 * What reclaim_anon does with such a page, it does.
 */
static inline void reclaim_alike(cow_machine *m, struct reclaim *r, uint64_t *page, uint64_t end,
			   struct cow_result *result)
{
	const struct sight *last = &m->sights[COW_DECIDE_SWAP_OUT];
	struct leaf *leaf = &r->here.leaf;
	uint64_t moved = 0;

	if (!last->rule || last->rule->action != COW_ACT_ALLOW)
		return;
	/* can_reclaim_anon_pages: see reclaim_here */
	for (; *page < end && slots_left(m); ++*page, moved++) {
		uint32_t slot = (uint32_t)(*page - leaf->first);
		uint64_t entry = leaf->ptes[slot], out;
		struct frame *frame = frame_at(m, pte_frame(entry));
		struct frame_body *body;
		struct slot *swap;
		struct sight sight;
		bool own, dirty = entry & PTE_DIRTY;

		if (!(entry & PTE_PRESENT) || frame->mapcount != 1 || !(frame->flags & FRAME_ANON) ||
		    (frame->flags & ~(uint32_t)(FRAME_ANON | FRAME_EXCLUSIVE | FRAME_SWAPCACHE)))
			break;
		own = marker_get(m, leaf, slot, frame);
		sight = sight_of(m, r->here.vma, entry, pte_frame(entry), own ? SIGHT_MARKER : 0);
		if (sight.counts != last->counts || sight.flags != last->flags)
			break;
		body = frame_body(m, pte_frame(entry));
		if (!(frame->flags & FRAME_SWAPCACHE)) {
			uint32_t new = slot_alloc(m);

			if (!new)
				break;
			cache_add(m, pte_frame(entry), new);
			dirty = true;
			slot_at(m, new)->value = body->value;
		}
		swap = slot_at(m, frame->owner);
		out = pte_make(frame->owner, PTE_SWAP | (entry & (PTE_SOFT | PTE_UFFD)));
		if (own && !PLANTED(27))
			out |= PTE_MARKER;
		leaf->ptes[slot] = out;
		swap->count++;
		swap->owner = 0; /* nothing maps the page any more: frame_unmapped */
		frame->mapcount = 0;
		frame->refcount--;
		frame->flags &= ~(uint32_t)FRAME_EXCLUSIVE;
		if (dirty || swap->value != body->value) {
			if (!PLANTED(30))
				swap->value = body->value;
			if (r->writing)
				frame->flags |= FRAME_WRITEBACK;
		}
	}
	if (!moved)
		return;
	machine_count(m, COW_COUNT_PAGE_LOCKS, moved * last->rule->locks);
	machine_count(m, COW_COUNT_ATOMICS, 2 * moved);
	machine_count(m, COW_COUNT_TLB_FLUSHES, moved);
	machine_count(m, COW_COUNT_SWAP_OUTS, moved);
	if (result)
		result_place(result, COW_OUT_MOVED, moved);
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
		r->split = false;
		outcome = reclaim_here(m, r);
		if (r->split)
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

	r->hot = !r->vma && alike_possible(m);
	if (mm_at(m, r->mm)->batch)
		batch_drain(m, r->mm);
	while (leaf_from(m, r->mm, &page, end, &r->here.leaf)) {
		uint64_t high = r->here.leaf.first + leaf_entries(m);

		r->stale = false;
		reclaim_leaf(m, r, &page, high < end ? high : end, result);
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

/* One page, straight to its PTE.  False: go the way of a range, which reserves; nothing has changed. */
static bool reclaim_one(cow_machine *m, struct reclaim *r, uint64_t page, struct cow_result *result)
{
	uint64_t behind = page;

	if (!alike_possible(m) || mm_at(m, r->mm)->batch ||
	    !leaf_of(m, r->mm, page, &r->here.leaf))
		return false;
	r->here.vma = vma_covering(m, r->mm, page);
	pool_grant(&m->pools[POOL_SLOT], pool_spare(&m->pools[POOL_SLOT])); /* it takes no other */
	if (r->here.vma)
		reclaim_alike(m, r, &behind, page + 1, result);
	return behind > page;
}

int cow_swap_out(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, bool writing,
		 struct cow_result *result)
{
	struct reclaim r;
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (error)
		return error;
	reclaim_init(&r, call.mm, 0, writing);
	if (pages == 1 && reclaim_one(m, &r, call.first, call.result))
		return 0;
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
	/* Without a free slot reclaim looks at no anonymous page. */
	if ((at->flags & FRAME_WRITEBACK) || at->mapcount || at->refcount != 1 || !slots_left(m))
		return COW_OUT_REFUSED;
	if (slot_at(m, frame_slot(m, frame))->value != frame_body(m, frame)->value && !PLANTED(30))
		slot_write(m, frame); /* written through a reference since */
	cache_remove(m, frame);
	return COW_OUT_MOVED;
}

/* The hot loop of it: pages that nobody else refers to, entries that name their slots.  Returns the page
 * behind them. */
static uint64_t drop_alone(cow_machine *m, const struct leaf *leaf, uint64_t page, uint64_t end,
			   struct cow_result *result)
{
	uint64_t first = page;

	if (leaf->pmd || m->observer_count || !slots_left(m))
		return page;
	for (; page < end; page++) {
		uint64_t entry = leaf->ptes[leaf_slot(m, page)];
		uint32_t index = pte_frame(entry);
		struct slot *slot;
		struct frame *frame;

		if (!(entry & PTE_SWAP))
			break;
		slot = slot_at(m, index);
		index = slot->frame;
		frame = frame_at(m, index);
		if (!index || frame->flags != (FRAME_ANON | FRAME_SWAPCACHE) || frame->mapcount ||
		    frame->refcount != 1)
			break;
		if (!PLANTED(30))
			slot->value = frame_body(m, index)->value;
		slot->frame = 0;
		slot->owner = 0;
		frame_free(m, index);
	}
	if (page > first) {
		machine_count(m, COW_COUNT_ATOMICS, page - first);
		result_place(result, COW_OUT_MOVED, page - first);
	}
	return page;
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
			page = drop_alone(m, &leaf, page, high < call.end ? high : call.end,
					  call.result);
			if (page < call.end && page < high)
				result_place(call.result, drop_page(m, &leaf, page++), 1);
		}
	}
	return op_end(m, &call.op, 0);
}

/* One page that nobody but its mapping refers to, straight to its PTE.  False: nothing has changed. */
static bool reclaim_freed(cow_machine *m, cow_mm handle, uint64_t addr, struct cow_result *out,
			  struct cow_result *dropped)
{
	uint64_t page = addr >> m->state.page_shift;
	struct reclaim r;

	if (!mm_known(m, handle) || page << m->state.page_shift != addr || page >= m->pages)
		return false;
	reclaim_init(&r, handle.index, 0, false);
	if (!reclaim_one(m, &r, page, NULL))
		return false;
	if (out) {
		result_clear(out);
		result_place(out, COW_OUT_MOVED, 1);
	}
	result_clear(dropped);
	if (drop_alone(m, &r.here.leaf, page, page + 1, dropped) == page)
		result_place(dropped, drop_page(m, &r.here.leaf, page), 1);
	return true;
}

int cow_reclaim(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages, struct cow_result *out,
		struct cow_result *dropped)
{
	struct cow_result unwanted;
	int error;

	if (!dropped)
		dropped = &unwanted;
	if (pages == 1 && reclaim_freed(m, mm, addr, out, dropped))
		return 0;
	result_clear(dropped);
	error = cow_swap_out(m, mm, addr, pages, false, out);
	return error ? error : cow_swap_drop(m, mm, addr, pages, dropped);
}
