/* SPDX-License-Identifier: MIT
 *
 * What fork does to page tables, after copy_page_range.  Pages with equal views are decided once: the
 * loop over a table asks anew only where counts or flags differ from the page before.
 */
#include "kernel/fork.h"
#include "kernel/row.h"
#include "machine/plant.h"

struct cow_view fork_view(cow_machine *m, const struct fork *fork, uint64_t page,
			  const uint64_t *pte, bool marker)
{
	struct question question = { COW_DECIDE_FORK, fork->parent, page, pte };
	struct cow_view view = view_frame(m, pte_frame(*pte));

	view = view_pte(view, *pte, marker);
	view = view_vma(view, mm_at(m, fork->parent), vma_at(m, fork->vma));
	view.soft_dirty = soft_dirty_needed(vma_at(m, fork->vma), *pte);
	return m->policy->flags & COW_POLICY_NEEDS_TRUTH ? view_truth(m, question, 0, view) : view;
}
/* copy_present_page: the child gets a copy, the parent's PTE is left alone. */
static bool early_copy(cow_machine *m, struct fork *fork, const struct leaf *to, uint64_t page,
		       uint32_t old)
{
	uint32_t slot = leaf_slot(m, page);
	uint32_t new = frame_alloc(m);
	const struct vma *vma = vma_at(m, fork->child_vma);
	uint64_t flags = entry_flags(vma) | entry_written(vma) | PTE_DIRTY | PTE_SOFT;

	if (!new)
		return false;
	frame_make_anon(m, new, fork->child_vma, page);
	frame_body(m, new)->value = PLANTED(5) ? 0 : frame_body(m, old)->value;
	note_page(m, COW_CHANGE_EARLY_COPY, fork->child_vma, page, new, 0, old);
	pte_fill(m, to, slot,
		 pte_make(new, flags));
	marker_put(m, to, slot, frame_at(m, new), true);
	batch_add(m, fork->parent, new); /* fork runs on the parent's CPU */
	fork->result->counts[COW_OUT_EARLY_COPY]++;
	machine_count(m, COW_COUNT_EARLY_COPIES, 1);
	return true;
}

static const uint32_t decisive = PTE_WRITE | PTE_DIRTY | PTE_MARKER | PTE_SOFT | PTE_UFFD;

/* True if counts and flags of the frame are all that a view is made of. */
static bool is_plain(const struct frame *frame)
{
	return !(frame->flags & (FRAME_LARGE | FRAME_SWAPCACHE));
}

static uint32_t pte_seen(cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	uint32_t seen = (uint32_t)leaf->ptes[slot] & decisive;

	if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_get(m, leaf, slot))
		seen |= (uint32_t)PTE_MARKER;
	return seen;
}

/* Asks about a page, unless the last answer is good for it. */
static void fork_decide(cow_machine *m, struct fork *fork, const struct leaf *from, uint32_t slot)
{
	const struct frame *frame = frame_at(m, pte_frame(from->ptes[slot]));
	uint32_t seen = pte_seen(m, from, slot);
	uint64_t counts;

	memcpy(&counts, frame, sizeof(counts));
	if (fork->rule && fork->counts == counts && fork->flags == frame->flags &&
	    fork->pte == seen && !(m->policy->flags & COW_POLICY_NEEDS_TRUTH) && is_plain(frame))
		return;
	fork->counts = counts;
	fork->flags = frame->flags;
	fork->pte = seen;
	fork->view = fork_view(m, fork, from->first + slot, &from->ptes[slot],
			       m->state.marker == COW_MARKER_FRAME ? frame_exclusive(m, frame)
								   : seen & (uint32_t)PTE_MARKER);
	fork->rule = answer(m, COW_DECIDE_FORK, fork->view);
}

/* A frame with a sharer more. */
static inline struct frame frame_shared(const struct frame *frame)
{
	struct frame shared = *frame;

	shared.refcount++;
	shared.mapcount++;
	if (!PLANTED(1))
		shared.flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	return shared;
}

/* The PTE of a shared page, in the parent; the child's is not young. */
static inline uint64_t pte_shared(uint64_t pte)
{
	return pte & ~((PLANTED(3) ? 0 : PTE_WRITE) | PTE_MARKER);
}

/* Shares a row if all its pages look like the one decided last, down to the owner.  False: nothing was
 * changed. */
static bool share_row(const cow_machine *m, const struct fork *fork, uint64_t *restrict source,
		      uint64_t *restrict target)
{
	const uint64_t first = source[0], step = source[1] - first;
	const uint64_t shared = pte_shared(first), parent = PLANTED(2) ? first : shared;
	struct frame *frames, frame;
	uint64_t counts;
	uint32_t low;

	if ((first & (decisive | PTE_PRESENT | PTE_SPECIAL)) != (fork->pte | PTE_PRESENT))
		return false;
	low = row_low(source);
	if (!low)
		return false;
	frames = frame_at(m, low);
	memcpy(&counts, frames, sizeof(counts));
	if (counts != fork->counts || frames->flags != fork->flags || !frames_alike(frames))
		return false;
	frame = frame_shared(frames);
	for (uint32_t i = 0; i < ROW; i++)
		frames[i] = frame;
	for (uint32_t i = 0; i < ROW; i++) {
		source[i] = parent + i * step;
		target[i] = (shared & ~(PTE_YOUNG | PTE_UFFD)) + i * step;
	}
	return true;
}

/*
 * The hot loop of fork: shares pages from `slot` on as long as they look like the one decided last.
 * Both PTEs become read-only, both counts go up, and nobody owns the page outright any more.
 * Returns the slot behind them.
 */
static uint32_t share_run(const cow_machine *m, const struct fork *fork, const struct leaf *from,
			  const struct leaf *to, uint32_t slot, uint32_t end)
{
	const uint64_t look = decisive | PTE_PRESENT | PTE_SPECIAL;
	const uint64_t want = fork->pte | PTE_PRESENT;
	const uint64_t counts = fork->counts;
	const uint64_t counted = counts + (UINT64_C(1) << 32 | 1);
	const uint32_t flags = fork->flags;
	const uint32_t shared = PLANTED(1) ? flags : flags & ~(uint32_t)FRAME_EXCLUSIVE;

	/* Neighbours in a table are mostly neighbours in memory, so the chunk of frames is looked up
	 * anew only where it changes. */
	uint32_t chunk = pte_frame(from->ptes[slot]) >> FRAME_SHIFT;
	struct frame *frames = frame_at(m, chunk << FRAME_SHIFT);
	uint64_t *source = from->ptes, *target = to->ptes;

	while (slot < end) {
		uint32_t stop = end - slot < PAUSE ? end : slot + PAUSE;

		if (end - slot >= ROW && share_row(m, fork, &source[slot], &target[slot])) {
			slot += ROW;
			continue;
		}
		for (; slot < stop; slot++) {
			uint64_t pte = source[slot];
			struct frame *frame;
			uint64_t now;

			if (pte_frame(pte) >> FRAME_SHIFT != chunk) {
				chunk = pte_frame(pte) >> FRAME_SHIFT;
				frames = frame_at(m, chunk << FRAME_SHIFT);
			}
			frame = frames + (pte_frame(pte) & ((1u << FRAME_SHIFT) - 1));
			memcpy(&now, frame, sizeof(now));
			if (((pte & look) ^ want) | (now ^ counts) | (frame->flags ^ flags))
				return slot;
			memcpy(frame, &counted, sizeof(counted));
			frame->flags = shared;
			if (!PLANTED(2))
				source[slot] = pte_shared(pte);
			target[slot] = pte_shared(pte) & ~(PTE_YOUNG | PTE_UFFD);
		}
	}
	return slot;
}

/* The same a page at a time: the marker is in a side table, each page has a truth of its own, or the
 * counts are those of a large folio. */
static void share_counted(cow_machine *m, const struct fork *fork, const struct leaf *from,
		       const struct leaf *to, uint32_t slot)
{
	uint64_t pte = from->ptes[slot] & ~(PTE_WRITE | PTE_MARKER);
	struct frame *frame = frame_at(m, pte_frame(pte));

	if (frame->flags & FRAME_LARGE) {
		folio_settle(m, frame->owner);
		page_map(m, pte_frame(pte), fork->child);
	} else {
		frame->refcount++;
		frame->mapcount++;
	}
	frame->flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	from->ptes[slot] = pte;
	to->ptes[slot] = pte & ~(PTE_YOUNG | PTE_UFFD);
	if (m->state.marker >= COW_MARKER_ADJACENT && (fork->pte & (uint32_t)PTE_MARKER))
		side_marker_put(m, from, slot, false);
}

/* copy_nonpresent_pte: neither owns the swapped page outright any more. */
static void share_swapped(cow_machine *m, const struct leaf *from, const struct leaf *to,
			  uint32_t slot)
{
	uint64_t pte = from->ptes[slot];

	slot_get(m, pte_frame(pte));
	if (m->state.marker >= COW_MARKER_ADJACENT) {
		if (side_marker_get(m, from, slot))
			side_marker_put(m, from, slot, false);
	} else {
		pte &= ~PTE_MARKER;
	}
	from->ptes[slot] = pte;
	to->ptes[slot] = pte & ~PTE_UFFD;
}

/* A page of a file is shared as it is: nobody writes to it through a private mapping. */
static void share_file(cow_machine *m, const struct fork *fork, const struct leaf *from,
		       const struct leaf *to, uint32_t slot)
{
	page_map(m, pte_frame(from->ptes[slot]), fork->child);
	to->ptes[slot] = from->ptes[slot] & ~(PTE_YOUNG | PTE_UFFD);
}

/* True if the entry is copied without asking. */
static bool copy_unasked(cow_machine *m, const struct fork *fork, const struct leaf *from,
			 const struct leaf *to, uint32_t slot)
{
	uint64_t pte = from->ptes[slot];

	if (!(pte & ~PTE_UFFD) || (pte & PTE_SPECIAL)) /* a PTE marker stays behind */
		to->ptes[slot] = pte & ~(PTE_YOUNG | PTE_UFFD);
	else if (pte & PTE_SWAP)
		share_swapped(m, from, to, slot);
	else if (frame_at(m, pte_frame(pte))->flags & FRAME_SHARED)
		share_file(m, fork, from, to, slot);
	else
		return false;
	return true;
}

/* copy_pte_range for one pair of leaf tables.  False: out of frames. */
static bool copy_leaf(cow_machine *m, struct fork *fork, const struct leaf *from,
		      const struct leaf *to, uint32_t first, uint32_t end)
{
	bool runs = m->state.marker < COW_MARKER_ADJACENT &&
		    !(m->policy->flags & COW_POLICY_NEEDS_TRUTH);
	uint64_t shared = 0, others = 0;
	uint32_t slot = first;
	bool room = true;

	while (slot < end && room) {
		struct question question = { COW_DECIDE_FORK, fork->parent, from->first + slot,
					     &from->ptes[slot] };
		uint64_t pte = from->ptes[slot];
		uint32_t next = slot + 1;

		if (copy_unasked(m, fork, from, to, slot)) {
			others += to->ptes[slot] != 0;
			slot = next;
			continue;
		}
		fork_decide(m, fork, from, slot);
		if (fork->rule->action == COW_ACT_EARLY_COPY) {
			room = early_copy(m, fork, to, from->first + slot, pte_frame(pte));
			if (PLANTED(6)) {
				from->ptes[slot] = to->ptes[slot];
				to->ptes[slot] = pte;
			}
		} else {
			fork->flush |= (pte & PTE_WRITE) != 0;
			if (runs && is_plain(frame_at(m, pte_frame(pte))))
				next = share_run(m, fork, from, to, slot, end);
			else
				share_counted(m, fork, from, to, slot);
			shared += next - slot;
		}
		machine_count(m, COW_COUNT_PAGE_LOCKS, (uint64_t)fork->rule->locks * (next - slot));
		if (m->decision_observers)
			decision_tell(m, question, fork->view, fork->rule, next - slot, question.pte);
		slot = next;
	}
	note_entries(m, COW_CHANGE_MAP, fork->child_vma, to->first + first, slot - first,
		     &to->ptes[first]);
	table_info(m, to->table)->used += (uint32_t)(shared + others);
	mm_at(m, fork->child)->pages += shared + others;
	fork->result->counts[COW_OUT_SHARE] += shared + others;
	machine_count(m, COW_COUNT_ATOMICS, 2 * shared);
	machine_count(m, COW_COUNT_FORK_PAGES, shared + others);
	return room;
}

/* copy_huge_pmd, copy_hugetlb_page_range.  Moves *behind behind the PMDs that are done.  COW_OUT_NONE:
 * the PMD was split, *from is the table. */
static enum cow_outcome copy_pmd(cow_machine *m, struct fork *fork, struct leaf *from,
				 uint64_t *behind)
{
	uint64_t pages;
	uint32_t pmds;

	fork->flush |= (*from->pmd & PTE_WRITE) != 0;
	if (vma_at(m, fork->vma)->flags & VMA_HUGETLB)
		return hugetlb_fork(m, fork->vma, fork->child_vma, from, fork->result)
			       ? COW_OUT_SHARE
			       : COW_OUT_OOM;
	pmds = huge_fork(m, fork->vma, fork->child_vma, from);
	if (!pmds)
		return COW_OUT_NONE;
	pages = pmds * pmd_pages(m);
	*behind = from->first + pages;
	mm_at(m, fork->child)->pages += pages;
	fork->result->counts[COW_OUT_SHARE] += pages;
	machine_count(m, COW_COUNT_FORK_PAGES, pmds);
	return COW_OUT_SHARE;
}

bool copy_pages(cow_machine *m, struct fork *fork)
{
	const struct vma *vma = vma_at(m, fork->vma);
	uint64_t page = vma->start;
	struct leaf from, to;

	fork->rule = NULL; /* the VMA is part of the view */
	while (leaf_next(m, mm_at(m, fork->parent)->root, &page, vma->end, &from)) {
		uint64_t behind = from.first + leaf_entries(m);
		uint64_t end = vma->end < behind ? vma->end : behind;
		uint32_t slot = leaf_slot(m, page);
		uint64_t before = fork->result->counts[COW_OUT_EARLY_COPY];
		bool room;

		if (from.pmd) {
			enum cow_outcome outcome = copy_pmd(m, fork, &from, &behind);

			if (outcome == COW_OUT_OOM)
				return false;
			if (outcome != COW_OUT_NONE) {
				page = behind;
				continue;
			}
		}
		leaf_make(m, &mm_at(m, fork->child)->root, page, &to,
			  &mm_at(m, fork->child)->tables);
		room = copy_leaf(m, fork, &from, &to, slot, slot + (uint32_t)(end - page));
		mm_at(m, fork->child)->pages += fork->result->counts[COW_OUT_EARLY_COPY] - before;
		if (!table_info(m, to.table)->used)
			tables_prune(m, &mm_at(m, fork->child)->root, page, end,
				     &mm_at(m, fork->child)->tables);
		if (!room)
			return false;
		page = behind;
	}
	return true;
}
