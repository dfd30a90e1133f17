/* SPDX-License-Identifier: MIT
 *
 * Coming back from swap, after mm/memory.c: do_swap_page, mm/swap_state.c: read_swap_cache_async,
 * and mm/swapfile.c: unuse_pte, try_to_unuse.  The swap device is no RAM disk: what is read from a
 * slot goes through the swap cache.  How the page is mapped is asked, never decided, here.  How it
 * went out is in reclaim.c.
 */
#include "kernel/ask.h"
#include "kernel/reclaim.h"
#include "machine/plant.h"

/* Out of line, so that what is read from the cache, and decided as the last page was, keeps its
 * registers. */
#define COLD __attribute__((noinline))

/* read_swap_cache_async: the frame that the swap cache has for a slot, or a new one that the slot's
 * content was read into.  0: there is no frame left. */
static COLD uint32_t slot_read(cow_machine *m, const struct fault *at, uint32_t slot)
{
	uint32_t frame = frame_alloc(m);

	if (!frame)
		return 0;
	frame_at(m, frame)->flags = FRAME_ANON;
	frame_body(m, frame)->value = slot_at(m, slot)->value;
	frame_body(m, frame)->index = vma_pgoff(vma_at(m, at->vma), at->page);
	note_page(m, COW_CHANGE_SWAP_READ, at->vma, at->page, frame, frame_body(m, frame)->value,
		  slot);
	cache_add(m, frame, slot);
	return frame;
}

static inline uint32_t swap_read(cow_machine *m, const struct fault *at, uint32_t slot)
{
	uint32_t frame = slot_at(m, slot)->frame;

	return frame ? frame : slot_read(m, at, slot);
}

/* True if an item of a cached KSM page leads to the place.  It need not: an ordinary page may have become
 * one again while entries of an earlier merge still name its slot. */
static COLD bool items_lead(const cow_machine *m, const struct fault *at, uint32_t frame)
{
	const struct vma *vma = vma_at(m, at->vma);

	for (uint32_t item = slot_at(m, frame_slot(m, frame))->owner; item;
	     item = item_at(m, item)->next)
		for (uint32_t avc = vma->chain; avc; avc = avc_at(m, avc)->next_of_vma)
			if (item_at(m, item)->index == vma_pgoff(vma, at->page) &&
			    item_at(m, item)->anon == avc_at(m, avc)->anon)
				return true;
	return false;
}

/* ksm_might_need_to_copy: what was a KSM page when it was written may be wanted at places that one
 * anon and one offset do not lead to.  A KSM page that stayed in the swap cache is still found. */
static inline bool swap_foreign(const cow_machine *m, const struct fault *at, uint32_t index)
{
	const struct frame *frame = frame_at(m, index);
	const struct vma *vma = vma_at(m, at->vma);

	if (frame->flags & FRAME_KSM)
		return !items_lead(m, at, index);
	if (frame_body(m, index)->index != vma_pgoff(vma, at->page))
		return true;
	return frame->mapcount && anon_root(m, page_anon(m, index)) != anon_root(m, vma->anon);
}

/* A copy of a cached page that is nobody's yet and has no reference but the caller's.  0: there is
 * no frame left. */
static COLD uint32_t swap_copy(cow_machine *m, const struct fault *at, uint32_t cached)
{
	uint32_t frame = frame_alloc(m);

	if (!frame)
		return 0;
	if (frame_body(m, cached)->value != slot_at(m, frame_slot(m, cached))->value)
		slot_write(m, cached);
	frame_at(m, frame)->flags = FRAME_ANON | FRAME_DIRTY;
	frame_at(m, frame)->refcount = 1;
	frame_body(m, frame)->value = frame_body(m, cached)->value;
	frame_body(m, frame)->index = vma_pgoff(vma_at(m, at->vma), at->page);
	note_page(m, COW_CHANGE_SWAP_READ, at->vma, at->page, frame, frame_body(m, frame)->value,
		  frame_slot(m, cached));
	return frame;
}

/* do_swap_page, first step: at->old is the cached page, at->new the one that will be mapped, with a
 * reference for that.  False: there is no frame left. */
static bool swap_find(cow_machine *m, struct fault *at)
{
	uint32_t slot = pte_frame(at->leaf.ptes[at->slot]);
	bool fresh = !slot_at(m, slot)->frame;

	at->old = at->new = swap_read(m, at, slot);
	if (!at->old)
		return false;
	if (fresh)
		batch_add(m, at->mm, at->old);
	anon_prepare(m, at->vma);
	if (!swap_foreign(m, at, at->old)) {
		frame_get(frame_at(m, at->new));
		machine_count(m, COW_COUNT_ATOMICS, 1);
		return true;
	}
	at->new = swap_copy(m, at, at->old);
	if (!at->new)
		return false;
	batch_add(m, at->mm, at->new);
	return true;
}

static struct cow_view swap_view(cow_machine *m, const struct fault *at)
{
	const struct vma *vma = vma_at(m, at->vma);
	uint64_t entry = at->leaf.ptes[at->slot];
	bool fresh = at->new != at->old; /* a copy is the process's own */
	struct cow_view view = view_frame(m, at->new);

	view = view_pte(view, entry & PTE_UFFD, fresh || swap_marker_get(m, &at->leaf, at->slot));
	view = view_vma(view, mm_at(m, at->mm), vma);
	if (m->state.marker == COW_MARKER_NONE || view.ksm)
		view.exclusive = false;
	view.soft_dirty = soft_dirty_needed(vma, entry);
	view.req_write = (at->flags & FAULT_WRITE) != 0;
	return view;
}

/* Asks until the answer is final: the LRU batch may be drained for it, and the swap cache freed,
 * once each. */
static COLD struct cow_view swap_ask(cow_machine *m, struct fault *at, struct question question,
				bool freed)
{
	bool drained = false;

	for (;;) {
		struct cow_view view = swap_view(m, at);

		view.drained = drained;
		view.swap_freed = freed;
		at->rule = ask_frame(m, question, at->new, view);
		if (at->rule->action == COW_ACT_DRAIN_LRU && !drained) {
			batch_drain(m, at->mm);
			drained = true;
		} else if (at->rule->action == COW_ACT_FREE_SWAP && !freed) {
			cache_free(m, at->new);
			freed = true;
		} else {
			return view;
		}
	}
}

/* What swap_view and `freed` come to. */
static inline struct sight swap_sight(cow_machine *m, const struct fault *at, bool freed)
{
	enum { FRESH = 4, FREED = 8 }; /* beside enum fault_flags */
	bool marker = swap_marker_get(m, &at->leaf, at->slot);

	return sight_of(m, at->vma, at->leaf.ptes[at->slot], at->new,
			at->flags | (at->new != at->old ? FRESH : 0) | (freed ? FREED : 0) |
				(marker ? SIGHT_MARKER : 0));
}

/* Second step: the slot's count goes down, and the policy says how the page is to be mapped. */
static void swap_decide(cow_machine *m, struct fault *at)
{
	struct question question = { COW_DECIDE_SWAP_IN, at->mm, at->page,
				     &at->leaf.ptes[at->slot] };
	uint32_t slot = pte_frame(at->leaf.ptes[at->slot]);
	struct sight sight;
	bool freed = false;

	if (at->new != at->old)
		slot_put_and_cache(m, slot);
	else if (!PLANTED(28))
		slot_put(m, slot);
	/* should_try_to_free_swap: a slot of a full swap is worth more than what it saves. */
	if (swap_full(m) && at->new == at->old)
		freed = cache_free(m, at->new);
	/* A look at a side table is counted, so it is done once. */
	if (!sight_possible(m, frame_at(m, at->new)) || m->state.marker >= COW_MARKER_ADJACENT) {
		swap_ask(m, at, question, freed);
		return;
	}
	sight = swap_sight(m, at, freed);
	at->rule = sight_ask(m, question, &sight);
	if (!at->rule) {
		struct cow_view view = swap_ask(m, at, question, freed);

		if (!view.drained && view.swap_freed == freed)
			sight_keep(m, COW_DECIDE_SWAP_IN, sight, view, at->rule);
	}
}

/* set_pte_at, folio_add_anon_rmap_pte: a present PTE takes the place of the swap entry.  `own`: the
 * page is the process's own. */
static void swap_map(cow_machine *m, const struct fault *at, uint64_t flags, bool own)
{
	uint64_t *pte = &at->leaf.ptes[at->slot];
	struct frame *frame = frame_at(m, at->new);

	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->page, 1, pte);
	if (!frame->mapcount && !(frame->flags & FRAME_KSM)) {
		uint32_t anon = vma_at(m, at->vma)->anon;

		page_set_anon(m, at->new, own ? anon : anon_root(m, anon));
	}
	frame->mapcount++;
	machine_count(m, COW_COUNT_ATOMICS, 1);
	*pte = pte_make(at->new, flags | (PLANTED(32) ? 0 : *pte & (PTE_SOFT | PTE_UFFD)));
	if (own || m->state.marker != COW_MARKER_FRAME)
		marker_put(m, &at->leaf, at->slot, frame, own);
	note_entries(m, COW_CHANGE_MAP, at->vma, at->page, 1, pte);
	machine_count(m, COW_COUNT_SWAP_INS, 1);
}

/* Third step.  True: the write needs nothing more. */
static bool swap_install(cow_machine *m, struct fault *at)
{
	const struct vma *vma = vma_at(m, at->vma);
	bool ownable = page_ownable(m, at->new);
	bool writable = ownable && at->rule->action == COW_ACT_WRITABLE;
	bool written = writable && (at->flags & FAULT_WRITE);
	uint64_t flags = entry_flags(vma);

	if (writable)
		flags |= vma->flags & VMA_WRITE ? PTE_WRITE : 0;
	if (written)
		flags |= PTE_DIRTY | PTE_SOFT;
	if (uffd_protects(vma, at->leaf.ptes[at->slot]))
		flags &= ~PTE_WRITE;
	swap_map(m, at, flags, writable || (ownable && at->rule->action == COW_ACT_OWN));
	if (writable)
		note_page(m, COW_CHANGE_REUSE, at->vma, at->page, at->new, 0, 0);
	return written;
}

enum cow_outcome fault_swap(cow_machine *m, struct fault *at)
{
	enum cow_outcome outcome;

	if (!swap_find(m, at))
		return COW_OUT_OOM;
	swap_decide(m, at);
	outcome = at->new == at->old ? COW_OUT_SWAP_IN : COW_OUT_COPY;
	machine_count(m, COW_COUNT_COPIES, outcome == COW_OUT_COPY);
	at->wp = swap_install(m, at); /* VM_FAULT_WRITE */
	return uffd_blocks(vma_at(m, at->vma), at->leaf.ptes[at->slot], at->flags) ? COW_OUT_BLOCKED
										   : outcome;
}

/* ---- readahead ---- */

/* swapin_walk_pmd_entry: one page of the place.  NONE: it is no swap entry, or cached already. */
static enum cow_outcome ahead_page(cow_machine *m, struct fault *at)
{
	uint64_t entry = at->leaf.ptes ? at->leaf.ptes[at->slot] : 0;

	if (!(entry & PTE_SWAP) || slot_at(m, pte_frame(entry))->frame)
		return COW_OUT_NONE;
	at->vma = vma_covering(m, at->mm, at->page);
	at->new = swap_read(m, at, pte_frame(entry));
	if (!at->new)
		return COW_OUT_REFUSED;
	batch_add(m, at->mm, at->new);
	return COW_OUT_MOVED;
}

static void ahead_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			struct cow_result *result)
{
	struct fault at = { .mm = mm, .page = first };

	while (leaf_next(m, mm_at(m, mm)->root, &at.page, end, &at.leaf)) {
		at.slot = leaf_slot(m, at.page);
		result_place(result, ahead_page(m, &at), 1);
		at.page++;
	}
	batch_drain(m, mm);
}

/* Frames and the links of an LRU batch for as many pages. */
static int ahead_reserve(cow_machine *m, uint64_t pages)
{
	int error = frame_reserve(m, pages);

	if (!error && m->state.lru_batch)
		error = machine_reserve(m, POOL_LINK, (uint64_t)m->state.lru_batch + 2);
	return error;
}

int cow_swap_in(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		struct cow_result *result)
{
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);
	uint64_t most = error ? 0 : mm_at(m, call.mm)->pages;

	if (!error)
		error = ahead_reserve(m, pages < most ? pages : most);
	if (!error)
		error = call_begin(m, &call, COW_OP_SWAP_IN, 0);
	if (error)
		return error;
	ahead_range(m, call.mm, call.first, call.end, call.result);
	return op_end(m, &call.op, 0);
}

/* ---- swapoff ---- */

/* unuse_pte: mapped read-only, with the entry's marker.  False: there is no frame left. */
static bool unuse_page(cow_machine *m, struct fault *at)
{
	uint64_t entry = at->leaf.ptes[at->slot];
	bool own = swap_marker_get(m, &at->leaf, at->slot);

	at->old = at->new = swap_read(m, at, pte_frame(entry));
	if (!at->old)
		return false;
	if (swap_foreign(m, at, at->old)) {
		at->new = swap_copy(m, at, at->old);
		if (!at->new)
			return false;
		own = true;
	} else {
		frame_at(m, at->new)->refcount++;
		machine_count(m, COW_COUNT_ATOMICS, 1);
	}
	if (at->new != at->old)
		slot_put_and_cache(m, pte_frame(entry));
	else
		slot_put(m, pte_frame(entry));
	swap_map(m, at, entry_flags(vma_at(m, at->vma)) & ~PTE_YOUNG, own);
	return true;
}

/* unuse_mm */
static bool unuse_mm(cow_machine *m, uint32_t mm)
{
	struct fault at = { .mm = mm };

	while (leaf_next(m, mm_at(m, mm)->root, &at.page, m->pages, &at.leaf)) {
		at.slot = leaf_slot(m, at.page);
		if (at.leaf.ptes && (at.leaf.ptes[at.slot] & PTE_SWAP)) {
			at.vma = vma_covering(m, mm, at.page);
			if (!unuse_page(m, &at))
				return false;
		}
		at.page = at.leaf.pmd ? at.leaf.first + pmd_pages(m) : at.page + 1;
	}
	return true;
}

/* try_to_unuse: what comes back is written out no more, and then leaves the swap cache. */
static bool unuse_all(cow_machine *m)
{
	slots_written(m);
	for (uint32_t mm = 1; mm < m->pools[POOL_MM].used; mm++)
		if (mm_at(m, mm)->number && !unuse_mm(m, mm))
			return false;
	slots_free_cached(m);
	return true;
}

/* A frame for each entry at most, and one for what it is copied from; and where markers are in extra
 * tables, the first one of a leaf table, for what is copied.  A VMA with a page in swap has an anon
 * already. */
static int unuse_reserve(cow_machine *m)
{
	uint64_t entries = 0, tables = m->pools[POOL_TABLE].live;
	int error = 0;

	for (uint32_t slot = 1; slot < m->pools[POOL_SLOT].used; slot++)
		entries += slot_at(m, slot)->count;
	if (entries && m->state.marker == COW_MARKER_EXTRA)
		error = machine_reserve(m, POOL_TABLE, entries < tables ? entries : tables);
	if (!error)
		error = machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
	return error ? error : frame_reserve(m, entries + m->pools[POOL_SLOT].live);
}

int cow_swapoff(cow_machine *m)
{
	struct cow_op op = { .kind = COW_OP_SWAPOFF, .mm = COW_NONE };
	int error = unuse_reserve(m);

	if (error)
		return error;
	error = op_begin(m, &op);
	if (error)
		return error;
	if (!unuse_all(m))
		return op_end(m, &op, machine_fail(m, -ENOMEM, "no frame left to bring swap back"));
	m->state.slots = 0;
	return op_end(m, &op, 0);
}
