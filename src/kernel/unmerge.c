/* SPDX-License-Identifier: MIT
 *
 * madvise unmergeable, after unmerge_ksm_pages and break_ksm: every page of KSM in the range
 * becomes the process's own again, by a fault that nobody raised.  Which kind of fault is for the
 * policy to say. Read fault.c for what that fault does.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

enum { ROUNDS = 8 }; /* a policy that never gives the page up is let be after as many tries */

/* break_ksm.  Until v6.1 it raises a write fault, which ends with SIGBUS where userfaultfd
 * write-protects the page: nobody can be told to wait, and the page stays with KSM; nor does that
 * break_ksm know the zero page. */
static int break_page(cow_machine *m, struct fault *at)
{
	struct question question = { COW_DECIDE_UNMERGE, at->mm, at->page, NULL };

	for (int round = 0; round < ROUNDS && at_find(m, at) && !at->leaf.pmd; round++) {
		uint64_t pte = *at_entry(at);
		bool zero = (pte & PTE_SPECIAL) && (pte & PTE_DIRTY);
		enum cow_outcome outcome;
		enum cow_action action;

		if (!(pte & PTE_PRESENT) ||
		    !(zero || (frame_at(m, pte_frame(pte))->flags & FRAME_KSM)))
			break;
		question.pte = at_entry(at);
		action = ask(m, question, view_entry(m, at->vma, &at->leaf, at->slot))->action;
		if (action != COW_ACT_UNSHARE && (action != COW_ACT_BREAK || zero))
			break;
		at->flags = action == COW_ACT_UNSHARE ? FAULT_UNSHARE : FAULT_WRITE;
		outcome = fault_handle(m, at, true);
		if (outcome == COW_OUT_OOM)
			return -ENOMEM;
		if (fault_failed(outcome))
			break;
	}
	return 0;
}

/* v6.1: follow_page finds no page there (gup_can_follow_protnone), and break_ksm is content. */
static bool stays_merged(const cow_machine *m, uint32_t vma)
{
	return !(vma_at(m, vma)->flags & VMA_READ) &&
	       m->policy->flags & COW_POLICY_KSM_KEEPS_UNREADABLE;
}

void break_cow(cow_machine *m, struct fault *at)
{
	if (!stays_merged(m, at->vma))
		break_page(m, at);
}

int unmerge_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	uint32_t mm = vma_at(m, vma)->mm;
	struct leaf leaf;
	int error = 0;

	if (PLANTED(46))
		return 0;
	if (stays_merged(m, vma))
		return 0;
	for (uint64_t page = first; !error && leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);)
		for (uint64_t high = leaf.first + leaf_entries(m); !error && page < end && page < high;
		     page++) {
			struct fault at = { .mm = mm, .vma = vma, .page = page };

			error = break_page(m, &at);
		}
	return error;
}
