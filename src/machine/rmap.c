/* SPDX-License-Identifier: MIT
 *
 * The reverse map, after rmap_walk_anon, rmap_walk_ksm and rmap_walk_file.
 */
#include "machine/object.h"
#include "machine/rmap.h"

/* What is being looked for: pages index to index+pages-1, if the entry maps one of those frames. */
struct search {
	uint32_t frame;     /* first frame, and */
	uint32_t frames;    /* how many */
	uint64_t index;     /* of the first one */
	rmap_fn *visit;
	void *ctx;
};

/* folio_not_mapped: there is nothing left to find. */
static bool search_done(const cow_machine *m, const struct search *search)
{
	const struct frame *frame = frame_at(m, search->frame);

	return search->frames == 1 && !(frame->flags & FRAME_LARGE) && !frame->mapcount;
}

/* Returns false when the walk is over. */
static bool search_page(cow_machine *m, const struct search *search, uint32_t vma, uint64_t page,
			uint64_t *next)
{
	struct mapping mapping = { .vma = vma, .page = page };
	uint32_t mm = vma_at(m, vma)->mm;
	uint64_t end = page + 1;
	uint32_t found;

	*next = page + 1;
	if (!leaf_near(m, mm, page, &mapping.leaf) &&
	    !leaf_next(m, mm_at(m, mm)->root, &page, end, &mapping.leaf))
		return true;
	if (mapping.leaf.pmd) {
		uint64_t pmd = *mapping.leaf.pmd;

		*next = mapping.leaf.first + pmd_pages(m);
		mapping.page = mapping.leaf.first;
		if ((pmd & (PTE_SPECIAL | PTE_PRESENT)) != PTE_PRESENT ||
		    pte_frame(pmd) > search->frame + search->frames - 1 ||
		    pte_frame(pmd) + pmd_pages(m) <= search->frame)
			return true;
		return search->visit(m, &mapping, search->ctx) && !search_done(m, search);
	}
	mapping.slot = leaf_slot(m, page);
	found = pte_frame(mapping.leaf.ptes[mapping.slot]);
	if (!(mapping.leaf.ptes[mapping.slot] & PTE_PRESENT) ||
	    (mapping.leaf.ptes[mapping.slot] & PTE_SPECIAL) || found < search->frame ||
	    found - search->frame >= search->frames)
		return true;
	return search->visit(m, &mapping, search->ctx) && !search_done(m, search);
}

/* The part of a VMA where the pages may be. */
static bool search_vma(cow_machine *m, const struct search *search, uint32_t index)
{
	const struct vma *vma = vma_at(m, index);
	uint64_t pgoff = vma->pgoff, start = vma->start;
	uint64_t low = search->index > pgoff ? search->index : pgoff;
	uint64_t high = search->index + search->frames;
	uint64_t end = pgoff + (vma->end - start);

	if (high > end)
		high = end;
	for (uint64_t at = low, next; at < high; at = next - start + pgoff)
		if (!search_page(m, search, index, start + (at - pgoff), &next))
			return false;
	return true;
}

static bool search_anon(cow_machine *m, const struct search *search, uint32_t anon)
{
	for (uint32_t at = anon ? anon_at(m, anon)->chain : 0, next; at; at = next) {
		next = avc_at(m, at)->next_of_anon;
		if (!search_vma(m, search, avc_at(m, at)->vma))
			return false;
	}
	return true;
}

static void search_all(cow_machine *m, struct search *search)
{
	const struct frame *frame = frame_at(m, search->frame);

	if (frame->flags & FRAME_SHARED) {
		uint32_t object = page_object(m, search->frame);

		for (uint32_t at = object_at(m, object)->first, next; at; at = next) {
			next = vma_at(m, at)->next_of_object;
			if (!search_vma(m, search, at))
				return;
		}
	} else if (frame->flags & FRAME_KSM) {
		uint32_t at = frame->flags & FRAME_SWAPCACHE ? slot_at(m, frame->owner)->owner
							     : frame->owner;

		while (at) {
			struct item item = *item_at(m, at);

			search->index = item.index;
			if (!search_anon(m, search, item.anon))
				return;
			at = item.next;
		}
	} else {
		search_anon(m, search, page_anon(m, search->frame));
	}
}

void rmap_walk(cow_machine *m, uint32_t frame, rmap_fn *visit, void *ctx)
{
	struct search search = { frame, 1, page_index(m, frame), visit, ctx };

	search_all(m, &search);
}

void folio_rmap_walk(cow_machine *m, uint32_t folio, rmap_fn *visit, void *ctx)
{
	const struct folio *of = folio_at(m, folio);
	struct search search = { of->head, folio_frames(of), of->index, visit, ctx };

	search_all(m, &search);
}

uint32_t rmap_places(cow_machine *m, uint32_t frame, struct place *places, uint32_t most)
{
	uint32_t anon = page_anon(m, frame), mapcount = frame_at(m, frame)->mapcount, found = 0;
	uint64_t index = frame_body(m, frame)->index;

	if (!anon || mapcount > most)
		return 0;
	for (uint32_t at = anon_at(m, anon)->chain; at && found < mapcount;
	     at = avc_at(m, at)->next_of_anon) {
		uint32_t in = avc_at(m, at)->vma;
		const struct vma *vma = vma_at(m, in);
		uint64_t page = vma->start + (index - vma->pgoff);
		struct leaf leaf;
		uint64_t *pte;

		/* What lies below the first page is a large number here. */
		if (index - vma->pgoff >= vma->end - vma->start ||
		    !leaf_near(m, vma->mm, page, &leaf))
			continue;
		pte = &leaf.ptes[leaf_slot(m, page)];
		if (pte_frame(*pte) == frame && (*pte & PTE_PRESENT))
			places[found++] = (struct place){ pte, in };
	}
	return found;
}

uint32_t item_add(cow_machine *m, uint32_t first, uint32_t anon, uint64_t index)
{
	uint32_t at = pool_take(&m->pools[POOL_ITEM]);

	*item_at(m, at) = (struct item){ .next = first, .anon = anon, .index = index };
	anon_at(m, anon)->items++;
	return at;
}

void items_free(cow_machine *m, uint32_t first)
{
	while (first) {
		struct item item = *item_at(m, first);

		pool_give(&m->pools[POOL_ITEM], first);
		anon_at(m, item.anon)->items--;
		anon_free_unused(m, item.anon);
		first = item.next;
	}
}

static void ksm_link(cow_machine *m, uint32_t frame, uint32_t previous, uint32_t next)
{
	frame_body(m, frame)->index = (uint64_t)previous << 32 | next;
}

/* What comes after `previous` on the list, and before `next`; 0: its ends. */
static void ksm_tell(cow_machine *m, uint32_t previous, uint32_t next, uint32_t after,
		     uint32_t before)
{
	if (previous)
		ksm_link(m, previous, ksm_previous(m, previous), after);
	else
		m->state.ksm = after;
	if (next)
		ksm_link(m, next, before, ksm_next(m, next));
}

void ksm_add(cow_machine *m, uint32_t frame)
{
	uint32_t next = m->state.ksm;

	frame_at(m, frame)->flags |= FRAME_KSM;
	*ksm_items(m, frame) = 0;
	ksm_link(m, frame, 0, next);
	ksm_tell(m, 0, next, frame, frame);
}

void ksm_lose(cow_machine *m, uint32_t frame)
{
	items_free(m, *ksm_items(m, frame));
	*ksm_items(m, frame) = 0;
}

void ksm_remove(cow_machine *m, uint32_t frame)
{
	uint32_t previous = ksm_previous(m, frame), next = ksm_next(m, frame);

	items_free(m, *ksm_items(m, frame));
	frame_at(m, frame)->flags &= ~(uint32_t)FRAME_KSM;
	ksm_link(m, frame, 0, 0);
	ksm_tell(m, previous, next, next, previous);
}

void ksm_replace(cow_machine *m, uint32_t frame, uint32_t by)
{
	uint32_t previous = ksm_previous(m, frame), next = ksm_next(m, frame);

	ksm_link(m, by, previous, next);
	ksm_link(m, frame, 0, 0);
	ksm_tell(m, previous, next, by, by);
}
