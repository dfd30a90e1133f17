/* SPDX-License-Identifier: MIT
 *
 * Compaction: a page, or a large folio as a whole, moves to another frame, and every entry that
 * maps it, in whatever mm, and the page cache and the swap cache follow; after migrate_pages,
 * try_to_migrate and remove_migration_ptes.  An entry keeps all that it is: writable, exclusive,
 * or neither.
 *
 * What is not moved: places where no page is, or the zero page, are passed over, and so are swap
 * entries, whose page nothing maps; hugetlb pages and pages under writeback are refused, as
 * compaction does; so is a page for which no frame is left.
 *
 * Never decides whether a page may move: the policy is asked with the view of the mapping that the
 * call names.  Read move.c next.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* A migration on its way: frames from..., and where they go. */
struct migration {
	uint32_t from, to;     /* first frames */
	uint32_t frames;       /* how many: 1, or those of a folio */
	uint32_t source, target; /* folios, of a large one */
	uint32_t vma;          /* the mapping that was asked for, and */
	uint64_t page;         /* the page there of the first frame */
};

/* What one call has moved, by new first frame: a hash set, so that the page of many entries of the
 * range moves once. */
struct moved {
	uint32_t *frames; /* 0: empty */
	uint64_t slots;
};

static uint32_t *moved_slot(const struct moved *moved, uint32_t frame)
{
	uint64_t at = (frame * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (moved->slots - 1);

	while (moved->frames[at] && moved->frames[at] != frame)
		at = (at + 1) & (moved->slots - 1);
	return &moved->frames[at];
}

/* The frame by which a page, or its folio, is known. */
static uint32_t first_frame(const cow_machine *m, uint32_t frame)
{
	return frame_large(m, frame) ? folio_of(m, frame)->head : frame;
}

/* First step: a new page of the same size. */
static bool migrate_alloc(cow_machine *m, struct migration *to, uint32_t frame)
{
	to->from = first_frame(m, frame);
	if (!frame_large(m, frame)) {
		to->frames = 1;
		to->to = frame_alloc(m);
		return to->to;
	}
	to->source = frame_at(m, frame)->owner;
	to->frames = folio_frames(folio_at(m, to->source));
	to->target = folio_alloc(m, folio_at(m, to->source)->order, false);
	if (!to->target)
		return false;
	to->to = folio_at(m, to->target)->head;
	return true;
}

/* Second step, for each entry: try_to_migrate and remove_migration_pte in one. */
static bool migrate_entry(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	const struct migration *to = ctx;
	uint64_t *entry = mapping->leaf.pmd ? mapping->leaf.pmd : &mapping->leaf.ptes[mapping->slot];

	if (*entry & PTE_DIRTY)
		page_make_dirty(m, pte_frame(*entry));
	*entry = pte_make(pte_frame(*entry) - to->from + to->to, *entry & UINT32_MAX);
	if (PLANTED(47))
		*entry &= ~PTE_MARKER;
	return !PLANTED(48);
}

/* Third step: folio_migrate_mapping of a base page.  Mappings and caches take their references
 * along; others, if the policy let them be, stay with the old frame. */
static uint32_t migrate_page(cow_machine *m, const struct migration *to)
{
	struct frame *old = frame_at(m, to->from), *new = frame_at(m, to->to);
	uint32_t held = old->mapcount + ((old->flags & FRAME_SWAPCACHE) != 0) +
			((old->flags & FRAME_SHARED) != 0);

	*new = *old;
	new->refcount = held;
	*frame_body(m, to->to) = *frame_body(m, to->from);
	if (old->flags & FRAME_KSM)
		ksm_replace(m, to->from, to->to);
	if (old->flags & FRAME_SWAPCACHE)
		slot_at(m, old->owner)->frame = to->to;
	if (old->flags & FRAME_SHARED)
		object_replace(m, old->owner, frame_body(m, to->from)->index, to->to);
	/* What the old frame was now belongs to the new one: items, slot, place in the page cache. */
	*old = (struct frame){ .refcount = old->refcount,
			       .flags = old->flags & FRAME_SHARED ? FRAME_DETACHED : FRAME_ANON };
	return held;
}

/* The same of a large folio. */
static uint32_t migrate_folio(cow_machine *m, const struct migration *to)
{
	struct folio *old = folio_at(m, to->source), *new = folio_at(m, to->target);
	bool shared = frame_at(m, old->head)->flags & FRAME_SHARED;
	bool headless = !shared && !page_mapcount(m, old->head);
	uint32_t held = old->mapcount + shared;

	*new = *old;
	new->head = to->to;
	new->refcount = held;
	new->pincount = 0;
	if (headless) /* remove_migration_pte marks what is mapped */
		new->flags |= FOLIO_HEAD_SHARED;
	for (uint32_t i = 0; i < to->frames; i++) {
		struct frame *frame = frame_at(m, to->from + i);

		*frame_at(m, to->to + i) = *frame;
		frame_at(m, to->to + i)->owner = to->target;
		*frame_body(m, to->to + i) = *frame_body(m, to->from + i);
		if (shared)
			object_replace(m, old->owner, old->index + i, to->to + i);
		*frame = (struct frame){ .flags = FRAME_LARGE | (shared ? FRAME_DETACHED : FRAME_ANON),
					 .owner = to->source };
	}
	*old = (struct folio){ .head = old->head, .order = old->order, .refcount = old->refcount,
			       .pincount = old->pincount };
	return held;
}

static void migrate_tell(cow_machine *m, const struct migration *to)
{
	for (uint32_t i = 0; i < to->frames; i++)
		note_page(m, COW_CHANGE_MIGRATE, to->vma, to->page + i, to->to + i,
			  frame_body(m, to->to + i)->value, to->from + i);
	machine_count(m, COW_COUNT_MIGRATED, to->frames);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

/* migrate_folio_unmap and _move for the page at hand, whose entry maps `frame`. */
static enum cow_outcome migrate_one(cow_machine *m, struct moved *moved, uint32_t vma,
				    const struct leaf *leaf, uint64_t page, uint32_t frame)
{
	uint32_t slot = leaf_slot(m, page);
	struct question question = { COW_DECIDE_MIGRATE, vma_at(m, vma)->mm, page,
				     leaf->pmd ? leaf->pmd : &leaf->ptes[slot] };
	struct migration to = { .vma = vma };
	uint32_t held;

	if (*moved_slot(moved, first_frame(m, frame)))
		return COW_OUT_MOVED;
	if ((frame_at(m, frame)->flags & (FRAME_WRITEBACK | FRAME_POOLED)) || ksm_lost(m, frame) ||
	    ask(m, question, view_entry(m, vma, leaf, slot))->action != COW_ACT_ALLOW ||
	    !migrate_alloc(m, &to, frame))
		return COW_OUT_REFUSED;
	to.page = page - (frame - to.from);
	if (to.source)
		folio_rmap_walk(m, to.source, migrate_entry, &to);
	else
		rmap_walk(m, to.from, migrate_entry, &to);
	held = to.source ? migrate_folio(m, &to) : migrate_page(m, &to);
	migrate_tell(m, &to);
	if (to.source)
		folio_put(m, to.source, held);
	else
		frame_put(m, to.from, held);
	*moved_slot(moved, to.to) = to.to;
	return COW_OUT_MOVED;
}

static void migrate_vma(cow_machine *m, struct moved *moved, uint32_t vma, uint64_t first,
			uint64_t end, struct cow_result *result)
{
	uint32_t mm = vma_at(m, vma)->mm;
	struct leaf leaf;

	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);) {
		uint64_t high = leaf.first + leaf_entries(m);

		if (high > end)
			high = end;
		for (uint64_t step; page < high; page += step) {
			uint64_t entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, page)];

			step = leaf.pmd ? high - page : 1;
			if (!(entry & PTE_PRESENT) || (entry & PTE_SPECIAL))
				continue;
			result->counts[migrate_one(m, moved, vma, &leaf, page,
						   leaf.pmd ? pmd_frame(m, entry, page)
							    : pte_frame(entry))] += step;
		}
	}
}

static void migrate_range(cow_machine *m, struct moved *moved, uint32_t mm, uint64_t first,
			  uint64_t end, struct cow_result *result)
{
	for (uint32_t at = 1; at < m->pools[POOL_MM].used; at++)
		if (mm_at(m, at)->number)
			batch_drain(m, at); /* lru_add_drain_all */
	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		migrate_vma(m, moved, vma, in->start > first ? in->start : first,
			    in->end < end ? in->end : end, result);
	}
	result->done = result->counts[COW_OUT_MOVED];
	result->outcome = result->counts[COW_OUT_REFUSED] ? COW_OUT_REFUSED
			  : result->done		  ? COW_OUT_MOVED
							  : COW_OUT_NONE;
}

/* How many base pages and folios, and of which order at most, a range may move. */
static void count_pages(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			uint64_t *small, uint64_t *large, uint32_t *order)
{
	uint32_t last = 0; /* folio */
	struct leaf leaf;

	*small = *large = *order = 0;
	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);) {
		uint64_t high = leaf.first + leaf_entries(m);

		for (; page < end && page < high; page++) {
			uint64_t entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, page)];
			uint32_t frame = pte_frame(entry);

			if (!(entry & PTE_PRESENT) || (entry & PTE_SPECIAL))
				continue;
			if (!frame_large(m, frame)) {
				++*small;
			} else if (frame_at(m, frame)->owner != last) {
				last = frame_at(m, frame)->owner;
				++*large;
				if (folio_at(m, last)->order > *order)
					*order = folio_at(m, last)->order;
			}
		}
	}
}

static int migrate_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			   struct moved *moved)
{
	uint64_t small, large;
	uint32_t order;

	count_pages(m, mm, first, end, &small, &large, &order);
	for (moved->slots = 16; moved->slots < 2 * (small + large);)
		moved->slots *= 2;
	moved->frames = cow_zalloc_(&m->allocator, moved->slots * sizeof(*moved->frames));
	if (!moved->frames) {
		machine_fail(m, -ENOMEM, "no host memory to move %llu pages",
			     (unsigned long long)small);
		m->error.host = true;
		return -ENOMEM;
	}
	return folio_reserve(m, small, order, large);
}

int cow_migrate(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		struct cow_result *result)
{
	struct moved moved = { 0 };
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (!error)
		error = migrate_reserve(m, call.mm, call.first, call.end, &moved);
	if (!error)
		error = call_begin(m, &call, COW_OP_MIGRATE, 0);
	if (!error) {
		migrate_range(m, &moved, call.mm, call.first, call.end, call.result);
		op_end(m, &call.op, 0);
	}
	cow_release_(&m->allocator, moved.frames, moved.slots * sizeof(*moved.frames));
	return error;
}
