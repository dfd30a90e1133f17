/* SPDX-License-Identifier: MIT
 *
 * Asking the policy: fills the view of what this kernel can see, and remembers the last answer,
 * which a pure policy would only repeat.  Decides nothing itself.
 */
#ifndef COWLAB_KERNEL_ASK_H
#define COWLAB_KERNEL_ASK_H

#include "kernel/kernel.h"

/* What a decision is about. */
struct question {
	enum cow_decision_id id;
	uint32_t mm;
	uint64_t page;
	const uint64_t *pte;
};

static inline unsigned saturate(uint32_t count, uint32_t most)
{
	return count < most ? count : most;
}

/* What only pages of large folios and pages in the swap cache have. */
struct cow_view view_special(const cow_machine *m, uint32_t frame, struct cow_view view);

/* The view of a mapped frame, without the request. */
static inline struct cow_view view_frame(const cow_machine *m, uint32_t index)
{
	const struct frame *frame = frame_at(m, index);
	struct cow_view view = {
		.refcount = saturate(frame->refcount, 8191),
		.mapcount = saturate(frame->mapcount, 4095),
		.mapped_most = saturate(frame->mapcount, 3),
		.anon = (frame->flags & FRAME_ANON) != 0,
		.ksm = (frame->flags & FRAME_KSM) != 0,
		.zero = (frame->flags & FRAME_ZERO) != 0,
		.in_batch = (frame->flags & FRAME_BATCHED) != 0,
		.maybe_pinned = frame->refcount >= PIN_BIAS,
	};

	return frame->flags & (FRAME_LARGE | FRAME_SWAPCACHE) ? view_special(m, index, view) : view;
}

static inline struct cow_view view_pte(struct cow_view view, uint64_t pte, bool marker)
{
	view.pte_write = (pte & PTE_WRITE) != 0;
	view.pte_dirty = (pte & PTE_DIRTY) != 0;
	view.uffd_wp = (pte & PTE_UFFD) != 0;
	view.exclusive = marker;
	return view;
}

static inline struct cow_view view_vma(struct cow_view view, const struct mm *mm,
				       const struct vma *vma)
{
	view.mm_has_pinned = (mm->flags & MM_HAS_PINNED) != 0;
	view.uffd_wp &= (vma->flags & VMA_UFFD_WP) != 0; /* userfaultfd_pte_wp */
	view.vma_write = (vma->flags & VMA_WRITE) != 0;
	view.vma_cow = !(vma->flags & VMA_SHARED);
	view.vma_had_write_ref = (vma->flags & VMA_HAD_WRITE_REF) != 0;
	return view;
}

/* pte_needs_soft_dirty_wp: the next write must be noticed.  A pinned page that clear_refs left writable
 * is past that. */
static inline bool soft_dirty_needed(const struct vma *vma, uint64_t entry)
{
	return (vma->flags & VMA_TRACKED) && !(entry & (PTE_SOFT | PTE_WRITE));
}

/* The view of what the PTE at leaf->ptes[slot], or the PMD leaf->pmd, maps in a VMA. */
struct cow_view view_entry(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint32_t slot);

static inline uint64_t view_word(struct cow_view view)
{
	uint64_t word;

	_Static_assert(sizeof(view) == sizeof(word), "a view is one word");
	memcpy(&word, &view, sizeof(word));
	return word;
}

/* Fills the truth bits, if the policy wants them.  `frame`: of a page that is not mapped yet; 0: what the
 * entry maps. */
struct cow_view view_truth(cow_machine *m, struct question question, uint32_t frame,
			   struct cow_view view);
/* Tells observers of a decision over a run of pages. */
void decision_tell(cow_machine *m, struct question question, struct cow_view view,
		   const struct cow_rule *rule, uint64_t pages, const uint64_t *entries);

/* The answer to a view, from memory if it is the last one again. */
static inline const struct cow_rule *answer(cow_machine *m, enum cow_decision_id id,
					    struct cow_view view)
{
	struct memo *memo = &m->memo[id];
	uint64_t word = view_word(view);

	if (!memo->rule || memo->word != word) {
		memo->rule = m->policy->decide[id](view);
		memo->word = word;
	}
	return memo->rule;
}

/* Asks about one page, which is in `frame` if it is not mapped yet. */
static inline const struct cow_rule *ask_frame(cow_machine *m, struct question question,
					       uint32_t frame, struct cow_view view)
{
	const struct cow_rule *rule;

	if (m->policy->flags & COW_POLICY_NEEDS_TRUTH)
		view = view_truth(m, question, frame, view);
	rule = answer(m, question.id, view);
	machine_count(m, COW_COUNT_PAGE_LOCKS, rule->locks);
	if (m->decision_observers)
		decision_tell(m, question, view, rule, 1, question.pte);
	return rule;
}

/* Asks about one page that is mapped. */
static inline const struct cow_rule *ask(cow_machine *m, struct question question,
					 struct cow_view view)
{
	return ask_frame(m, question, 0, view);
}

/* ---- base pages by the million: the view is not made where it would be the last one again ---- */

/* True if a sight says all that the policy could see. */
static inline bool sight_possible(const cow_machine *m, const struct frame *frame)
{
	return !(frame->flags & FRAME_LARGE) && !(m->policy->flags & COW_POLICY_NEEDS_TRUTH);
}

enum { SIGHT_MARKER = 256 }; /* in `more`; below it a request's own bits */

/* What the view of a base page is made of beside its counts, packed: of the page itself (FRAME_DIRTY, which no
 * policy sees, falls on PTE_PRESENT, which each decision finds alike), */
static inline __attribute__((always_inline)) uint64_t sight_of_frame(const cow_machine *m, uint32_t frame)
{
	const struct frame *at = frame_at(m, frame);

	return at->flags & FRAME_SWAPCACHE
		       ? at->flags | (uint64_t)saturate(slot_at(m, at->owner)->count, 7) << 57
		       : at->flags;
}

/* of where it is mapped, */
static inline uint64_t sight_of_vma(const cow_machine *m, uint32_t vma)
{
	const struct vma *in = vma_at(m, vma);

	_Static_assert(FRAME_DETACHED < 1 << 12 && FRAME_DIRTY == PTE_PRESENT << 12 &&
			       PTE_SWAP < 1 << 12 && VMA_NOHUGEPAGE < 1 << 16 &&
		       MM_HAS_PINNED < 1 << 8 && SIGHT_MARKER < 1 << 9, "the flags fit");
	return (uint64_t)in->flags << 24 | (uint64_t)mm_at(m, in->mm)->flags << 40;
}

/* and of the entry.  `more`: 9 bits.  No policy sees whether an entry is young. */
static inline uint64_t sight_of_entry(uint64_t entry, unsigned more)
{
	return (entry & (0xfff & ~PTE_YOUNG)) << 12 | (uint64_t)more << 48;
}

static inline struct sight sight_of(const cow_machine *m, uint32_t vma, uint64_t entry,
				    uint32_t frame, unsigned more)
{
	struct sight sight;

	memcpy(&sight.counts, frame_at(m, frame), sizeof(sight.counts));
	sight.flags = sight_of_frame(m, frame) | sight_of_vma(m, vma) | sight_of_entry(entry, more);
	return sight;
}

/* Asks about one page by a sight of it.  NULL: the view must be made. */
static inline const struct cow_rule *sight_ask(cow_machine *m, struct question question,
					       const struct sight *sight)
{
	const struct sight *last = &m->sights[question.id];

	if (!last->rule || sight->counts != last->counts || sight->flags != last->flags)
		return NULL;
	machine_count(m, COW_COUNT_PAGE_LOCKS, last->rule->locks);
	if (m->decision_observers)
		decision_tell(m, question, last->view, last->rule, 1, question.pte);
	return last->rule;
}

/* The view was made, and answered. */
static inline void sight_keep(cow_machine *m, enum cow_decision_id id, struct sight sight,
			      struct cow_view view, const struct cow_rule *rule)
{
	sight.view = view;
	sight.rule = rule;
	m->sights[id] = sight;
}

#endif
