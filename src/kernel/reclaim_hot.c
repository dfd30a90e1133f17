/* SPDX-License-Identifier: MIT
 *
 * The short way out to swap, of pages that nothing is special about while nobody looks on: one that
 * looks like the last one gets the answer of that one, no view is made, and nothing is looked up
 * twice.  What reclaim.c and drop.c do with such a page is done here, and what is not such a page is
 * left to them with nothing changed.  tests/unit/test_reclaim_twins.c holds one way against the other.
 */
#include "kernel/ask.h"
#include "kernel/reclaim.h"
#include "machine/plant.h"

/* One page at a time is done in registers, unless it has many mappings. */
#define ALWAYS inline __attribute__((always_inline))
#define COLD __attribute__((noinline))

bool reclaim_unwatched(const cow_machine *m)
{
	return !m->observer_count && m->state.marker < COW_MARKER_ADJACENT &&
	       !(m->policy->flags & COW_POLICY_NEEDS_TRUTH);
}

/* ---- out: reclaim_anon ---- */

/* A page that more entries map is left to reclaim.c. */
enum { PLACES = 64 };

/* What pages are held against, and what they came to. */
struct alike {
	uint64_t counts, flags; /* what the last page that was asked about looked like, and */
	uint32_t locks;         /* what the answer costs */
	uint32_t vma;           /* where they are found, and */
	uint64_t here;          /* what a sight says of that */
	bool writing;
	uint64_t pages, mappings, fresh;
};

static inline bool alike_init(const cow_machine *m, struct alike *alike, uint32_t vma,
			      bool writing)
{
	const struct sight *last = &m->sights[COW_DECIDE_SWAP_OUT];

	if (!last->rule || last->rule->action != COW_ACT_ALLOW)
		return false;
	alike->counts = last->counts;
	alike->flags = last->flags;
	alike->locks = last->rule->locks;
	alike->vma = vma;
	alike->here = sight_of_vma(m, vma);
	alike->writing = writing;
	alike->pages = alike->mappings = alike->fresh = 0;
	return true;
}

static inline void alike_count(cow_machine *m, const struct alike *alike)
{
	machine_count(m, COW_COUNT_PAGE_LOCKS, alike->mappings * alike->locks);
	machine_count(m, COW_COUNT_ATOMICS, 2 * alike->mappings + alike->fresh);
	machine_count(m, COW_COUNT_TLB_FLUSHES, alike->pages);
	machine_count(m, COW_COUNT_SWAP_OUTS, alike->pages);
}

/* The marker of a mapping, in the frame or in the PTE. */
static inline bool own(const cow_machine *m, uint32_t flags, uint64_t entry)
{
	return m->state.marker == COW_MARKER_FRAME ? flags & FRAME_EXCLUSIVE
	       : m->state.marker == COW_MARKER_PTE ? (entry & PTE_MARKER) != 0
						   : false;
}

static inline uint64_t entry_sight(uint64_t entry, bool mine)
{
	return sight_of_entry(entry, mine ? SIGHT_MARKER : 0);
}

/* step_unmap for one mapping.  Not 0: it was dirty. */
static inline uint64_t unmap_to(uint64_t *pte, uint32_t slot, bool mine)
{
	uint64_t entry = *pte;

	*pte = pte_make(slot, PTE_SWAP | (entry & (PTE_SOFT | PTE_UFFD)) |
				      (mine && !PLANTED(27) ? PTE_MARKER : 0));
	return entry & PTE_DIRTY;
}

/* All of the page's mappings but `left` have become swap entries; `fresh`: its slot is new. */
static ALWAYS void page_left(cow_machine *m, struct alike *alike, uint32_t index, uint32_t slot,
			     bool fresh, bool dirty, uint32_t gone, uint32_t left)
{
	struct frame *frame = frame_at(m, index);
	const struct frame_body *body = frame_body(m, index);
	struct slot *swap = slot_at(m, slot);
	uint32_t flags = frame->flags | FRAME_SWAPCACHE;

	swap->frame = index;
	swap->count += gone;
	if (!left) { /* frame_unmapped */
		swap->owner = 0;
		flags &= ~(uint32_t)(FRAME_EXCLUSIVE | FRAME_DIRTY);
	} else if (fresh) {
		swap->owner = frame->owner;
	}
	if (fresh || dirty || swap->value != body->value) {
		if (fresh || !PLANTED(30))
			swap->value = body->value;
		if (alike->writing)
			flags |= FRAME_WRITEBACK;
	}
	frame->refcount += fresh - gone;
	frame->mapcount = left;
	frame->flags = flags;
	frame->owner = slot;
	alike->pages++;
	alike->mappings += gone;
	alike->fresh += fresh;
}

/* Finds the mappings of a page; true if all of them look as the last one did. */
static bool places_alike(cow_machine *m, const struct alike *alike, uint32_t index, uint64_t sight,
			 struct place *places)
{
	uint32_t flags = frame_at(m, index)->flags, count = rmap_places(m, index, places, PLACES);

	if (count != frame_at(m, index)->mapcount)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t entry = *places[i].pte;

		if ((sight | sight_of_vma(m, places[i].vma) |
		     entry_sight(entry, own(m, flags, entry))) != alike->flags)
			return false;
	}
	return true;
}

/* page_out of a page with more than one mapping. */
static COLD bool page_out_many(cow_machine *m, struct alike *alike, uint32_t index, uint64_t sight)
{
	uint32_t flags = frame_at(m, index)->flags, count = frame_at(m, index)->mapcount, slot, gone;
	bool fresh = !(flags & FRAME_SWAPCACHE);
	struct place places[PLACES];
	uint64_t dirty = 0;

	if (!places_alike(m, alike, index, sight, places))
		return false;
	slot = fresh ? slot_alloc(m) : frame_at(m, index)->owner;
	if (!slot)
		return false;
	gone = PLANTED(29) ? 1 : count;
	for (uint32_t i = 0; i < gone; i++)
		dirty |= unmap_to(places[i].pte, slot, own(m, flags, *places[i].pte));
	page_left(m, alike, index, slot, fresh, dirty, gone, count - gone);
	return true;
}

/* The page that a PTE maps.  False: it is not such a page, and nothing has changed. */
static ALWAYS bool page_out(cow_machine *m, struct alike *alike, uint64_t *pte)
{
	uint64_t entry = *pte;
	uint32_t index = pte_frame(entry), slot;
	struct frame *frame = frame_at(m, index);
	uint32_t flags = frame->flags;
	bool fresh = !(flags & FRAME_SWAPCACHE), mine = own(m, flags, entry);
	uint64_t counts, seen;

	if ((flags & ~(uint32_t)(FRAME_EXCLUSIVE | FRAME_SWAPCACHE | FRAME_DIRTY)) != FRAME_ANON)
		return false;
	memcpy(&counts, frame, sizeof(counts));
	if (counts != alike->counts)
		return false;
	seen = sight_of_frame(m, index);
	if (frame->mapcount != 1) {
		struct alike many = *alike; /* whose address is taken, as that of *alike never is */
		bool out = page_out_many(m, &many, index, seen);

		*alike = many;
		return out;
	}
	if ((seen | alike->here | entry_sight(entry, mine)) != alike->flags)
		return false;
	slot = fresh ? slot_alloc(m) : frame->owner;
	if (!slot)
		return false;
	page_left(m, alike, index, slot, fresh, unmap_to(pte, slot, mine), 1, 0);
	return true;
}

void reclaim_alike(cow_machine *m, struct reclaim *r, uint64_t *page, uint64_t end,
		   struct cow_result *result)
{
	struct alike alike;

	if (!alike_init(m, &alike, r->here.vma, r->writing))
		return;
	/* can_reclaim_anon_pages: see reclaim_here */
	for (; *page < end && slots_left(m); ++*page) {
		uint64_t *pte = &r->here.leaf.ptes[*page - r->here.leaf.first];

		if (!(*pte & PTE_PRESENT) || !page_out(m, &alike, pte))
			break;
	}
	if (!alike.pages)
		return;
	alike_count(m, &alike);
	result_place(result, COW_OUT_MOVED, alike.pages);
}

/* One page, straight to its PTE, which is *at. */
static ALWAYS bool out_one(cow_machine *m, cow_mm handle, uint64_t page, bool writing,
			   struct leaf *leaf)
{
	struct alike alike;
	uint64_t *pte;
	uint32_t vma;

	if (!mm_known(m, handle) || page >= m->pages || !reclaim_unwatched(m) ||
	    mm_at(m, handle.index)->batch || !leaf_of(m, handle.index, page, leaf))
		return false;
	vma = vma_covering(m, handle.index, page);
	if (!vma || !slots_left(m) || !alike_init(m, &alike, vma, writing))
		return false;
	pool_grant(&m->pools[POOL_SLOT], pool_spare(&m->pools[POOL_SLOT])); /* it takes no other */
	pte = &leaf->ptes[page - leaf->first];
	if (!(*pte & PTE_PRESENT) || !page_out(m, &alike, pte))
		return false;
	alike_count(m, &alike);
	return true;
}

bool reclaim_one(cow_machine *m, cow_mm handle, uint64_t addr, bool writing)
{
	uint64_t page = addr >> m->state.page_shift;
	struct leaf leaf;

	return page << m->state.page_shift == addr && out_one(m, handle, page, writing, &leaf);
}

/* ---- and away: drop_page ---- */

/* What the swap cache has for a slot.  False: nothing, or somebody else refers to it; nothing has
 * changed. */
static inline bool page_drop(cow_machine *m, uint32_t at)
{
	struct slot *slot = slot_at(m, at);
	uint32_t index = slot->frame;
	const struct frame *frame = frame_at(m, index);

	if (!index || frame->flags != (FRAME_ANON | FRAME_SWAPCACHE) || frame->mapcount ||
	    frame->refcount != 1)
		return false;
	if (!PLANTED(30))
		slot->value = frame_body(m, index)->value;
	slot->frame = 0;
	slot->owner = 0;
	frame_free(m, index);
	machine_count(m, COW_COUNT_ATOMICS, 1);
	return true;
}

uint64_t drop_alone(cow_machine *m, const struct leaf *leaf, uint64_t page, uint64_t end,
		    struct cow_result *result)
{
	uint64_t first = page;

	if (!slots_left(m))
		return page;
	for (; page < end; page++) {
		uint64_t entry = leaf->ptes[page - leaf->first];

		if (!(entry & PTE_SWAP) || !page_drop(m, pte_frame(entry)))
			break;
	}
	if (page > first)
		result_place(result, COW_OUT_MOVED, page - first);
	return page;
}

bool reclaim_freed(cow_machine *m, cow_mm handle, uint64_t addr, struct cow_result *dropped)
{
	uint64_t page = addr >> m->state.page_shift;
	struct leaf leaf;

	if (page << m->state.page_shift != addr || !out_one(m, handle, page, false, &leaf))
		return false;
	if (slots_left(m) && page_drop(m, pte_frame(leaf.ptes[page - leaf.first])))
		result_place(dropped, COW_OUT_MOVED, 1);
	else
		result_place(dropped, drop_page(m, &leaf, page), 1);
	return true;
}
