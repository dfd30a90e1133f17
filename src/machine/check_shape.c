/* SPDX-License-Identifier: MIT
 *
 * The debug check, first part: what a frame, a folio, a swap slot and an item of a KSM page say of
 * themselves.  A forged snapshot may say anything; what passes here can be followed.  Read
 * check_vma.c next.
 */
#include "machine/check.h"

static const uint32_t of_large = FRAME_LARGE | FRAME_ANON | FRAME_SHARED | FRAME_DETACHED |
				 FRAME_EXCLUSIVE | FRAME_LAZYFREE | FRAME_POOLED;
static const uint32_t of_anon = FRAME_ANON | FRAME_EXCLUSIVE | FRAME_BATCHED | FRAME_KSM |
				FRAME_SWAPCACHE | FRAME_WRITEBACK | FRAME_LAZYFREE | FRAME_DIRTY;
static const uint32_t of_object = FRAME_SHARED | FRAME_DETACHED | FRAME_BATCHED;
static const uint32_t kinds = FRAME_ANON | FRAME_SHARED | FRAME_DETACHED;

/* True if exactly one of the kinds is set. */
static bool one_kind(uint32_t flags)
{
	uint32_t kind = flags & kinds;

	return kind && !(kind & (kind - 1));
}

static bool exclusive_possible(const cow_machine *m, uint32_t flags)
{
	return !(flags & FRAME_EXCLUSIVE) || (m->state.marker == COW_MARKER_FRAME &&
					      (flags & FRAME_ANON) && !(flags & FRAME_KSM));
}

static bool large_shape(const struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct frame *frame = frame_at(m, index);
	const struct folio *folio;

	if ((frame->flags & ~of_large) || frame->refcount ||
	    !in_use(check, POOL_FOLIO, frame->owner))
		return false;
	folio = folio_at(m, frame->owner);
	/* Its folio has been looked at: the head is a frame in use. */
	return index >= folio->head && index - folio->head < folio_frames(folio) &&
	       !((frame->flags ^ frame_at(m, folio->head)->flags) &
		 (kinds | FRAME_POOLED | FRAME_LAZYFREE)) &&
	       !(frame->flags & FRAME_POOLED) == !(folio->flags & FOLIO_HUGETLB);
}

/* The list of the ways to a KSM page. */
static int check_items(struct check *check, uint32_t index, uint32_t first)
{
	for (uint32_t at = first; at; at = item_at(check->m, at)->next) {
		int error = reach(check, POOL_ITEM, at, "a KSM page");

		if (error)
			return error;
		if (!in_use(check, POOL_ANON, item_at(check->m, at)->anon))
			return bad(check, "an item of frame %u names no anon", index);
		check->anons[item_at(check->m, at)->anon].items++;
	}
	return 0;
}

static bool is_ksm(const cow_machine *m, uint32_t index)
{
	return index < m->pools[POOL_FRAME].used && (frame_at(m, index)->flags & FRAME_KSM);
}

/* A KSM page is where its neighbours say; so the list ends, and holds nothing else. */
static bool on_list(const cow_machine *m, uint32_t index)
{
	uint32_t previous = ksm_previous(m, index), next = ksm_next(m, index);

	return (previous ? is_ksm(m, previous) && ksm_next(m, previous) == index
			 : m->state.ksm == index) &&
	       (!next || (is_ksm(m, next) && ksm_previous(m, next) == index));
}

static int anon_shape(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct frame *frame = frame_at(m, index);
	uint32_t owner = frame->owner;
	bool wanted;

	if ((frame->flags & ~of_anon) ||
	    (frame->flags & FRAME_SWAPCACHE ? frame->flags & (FRAME_LAZYFREE | FRAME_DIRTY)
					    : frame->flags & FRAME_WRITEBACK))
		return bad(check, "frame %u is flagged as what it is not", index);
	if (frame->flags & FRAME_SWAPCACHE) {
		if (!in_use(check, POOL_SLOT, owner) || slot_at(m, owner)->frame != index)
			return bad(check, "frame %u is in the swap cache, and its slot has another",
				   index);
		owner = slot_at(m, owner)->owner;
	}
	/* A KSM page that is in the swap cache alone can be mapped again wherever it was. */
	wanted = frame->mapcount ||
		 ((frame->flags & FRAME_KSM) && (frame->flags & FRAME_SWAPCACHE) &&
		  slot_at(m, frame->owner)->count);
	if (!owner != !wanted && !(wanted && ksm_lost(m, index)))
		return bad(check,
			   wanted ? "frame %u is mapped and the reverse map has lost it"
				  : "frame %u is owned, and not mapped",
			   index);
	if (frame->flags & FRAME_KSM)
		return on_list(m, index)
			       ? check_items(check, index, owner)
			       : bad(check, "frame %u is not on the list of KSM pages", index);
	return !owner || in_use(check, POOL_ANON, owner)
		       ? 0
		       : bad(check, "frame %u has a foreign anon", index);
}

static int frame_shape(struct check *check, uint32_t index)
{
	const struct frame *frame = frame_at(check->m, index);

	if (!index)
		return frame->flags == FRAME_ZERO && !frame->owner &&
				       (!check->m->state.ksm || is_ksm(check->m, check->m->state.ksm))
			       ? 0
			       : bad(check, "frame 0 is flagged as what it is not");
	if (!one_kind(frame->flags) || !exclusive_possible(check->m, frame->flags))
		return bad(check, "frame %u is flagged as what it is not", index);
	if (frame->flags & FRAME_LARGE)
		return large_shape(check, index)
			       ? 0
			       : bad(check, "frame %u is no page of its folio", index);
	if (frame->flags & FRAME_ANON)
		return anon_shape(check, index);
	if (frame->flags & ~of_object)
		return bad(check, "frame %u is flagged as what it is not", index);
	return frame->flags & FRAME_SHARED
		       ? in_use(check, POOL_OBJECT, frame->owner)
				 ? 0
				 : bad(check, "frame %u has a foreign object", index)
	       : !frame->owner ? 0
			       : bad(check, "frame %u is owned, and of no object any more", index);
}

static bool ids_possible(const struct check *check, const struct folio *folio)
{
	for (int i = 0; i < 2; i++)
		if (folio->mm[i] ? !in_use(check, POOL_MM, folio->mm[i]) || !folio->mm_mapcount[i]
				 : folio->mm_mapcount[i])
			return false;
	return !folio->mm[0] || folio->mm[0] != folio->mm[1];
}

static bool folio_owned(const struct check *check, const struct folio *folio)
{
	uint32_t kind = frame_at(check->m, folio->head)->flags & kinds;

	if (kind == FRAME_SHARED)
		return in_use(check, POOL_OBJECT, folio->owner);
	if (kind == FRAME_ANON && folio->mapcount)
		return in_use(check, POOL_ANON, folio->owner);
	return !folio->owner;
}

static int folio_shape(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct folio *folio = folio_at(m, index);

	if (!folio->order || folio->order >= MACHINE_ORDERS || !folio->head ||
	    (folio->head & (folio_frames(folio) - 1)) || folio->head >= m->pools[POOL_FRAME].used ||
	    m->pools[POOL_FRAME].used - folio->head < folio_frames(folio))
		return bad(check, "folio %u is at no place where a folio can be", index);
	for (uint32_t i = 0; i < folio_frames(folio); i++)
		if (check->seen[POOL_FRAME][folio->head + i] == FREE ||
		    !(frame_at(m, folio->head + i)->flags & FRAME_LARGE) ||
		    frame_at(m, folio->head + i)->owner != index)
			return bad(check, "frame %u is no page of its folio", folio->head + i);
	if ((folio->flags & ~(uint32_t)(FOLIO_SHARED | FOLIO_HUGETLB | FOLIO_EXCLUSIVE |
					FOLIO_HEAD_SHARED | FOLIO_DIRTY | FOLIO_PROMISED)) ||
	    ((folio->flags & FOLIO_DIRTY) &&
	     (frame_at(m, folio->head)->flags & (FRAME_ANON | FRAME_POOLED)) != FRAME_ANON) ||
	    ((folio->flags & FOLIO_EXCLUSIVE) && m->state.marker != COW_MARKER_FRAME) ||
	    ((folio->flags & FOLIO_HUGETLB) && folio->order != pmd_order(m)) ||
	    ((folio->flags & FOLIO_PROMISED) && !(folio->flags & FOLIO_HUGETLB)))
		return bad(check, "folio %u is flagged as what it is not", index);
	if (!ids_possible(check, folio))
		return bad(check, "folio %u tells mms apart that are none", index);
	return folio_owned(check, folio) ? 0 : bad(check, "folio %u has a foreign owner", index);
}

static int slot_shape(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct slot *slot = slot_at(m, index);

	if (!slot->count && !slot->frame)
		return bad(check, "swap slot %u is in use, and nobody uses it", index);
	if (slot->frame ? !in_use(check, POOL_FRAME, slot->frame) ||
				  !(frame_at(m, slot->frame)->flags & FRAME_SWAPCACHE) ||
				  frame_at(m, slot->frame)->owner != index
			: slot->owner)
		return bad(check, "swap slot %u and its cached frame do not agree", index);
	return 0;
}

int check_shapes(struct check *check)
{
	static const struct {
		enum pool_id id;
		uint32_t first;
		int (*shape)(struct check *check, uint32_t index);
	} parts[] = {
		{ POOL_FOLIO, 1, folio_shape },
		{ POOL_SLOT, 1, slot_shape },
		{ POOL_FRAME, 0, frame_shape },
	};

	for (int i = 0; i < 3; i++)
		for (uint32_t at = parts[i].first; at < check->m->pools[parts[i].id].used; at++) {
			int error = check->seen[parts[i].id][at] == FREE
					    ? 0
					    : parts[i].shape(check, at);

			if (error)
				return error;
		}
	return 0;
}
