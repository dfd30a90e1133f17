/* SPDX-License-Identifier: MIT
 *
 * What is remembered for quick.h.
 */
#include "kernel/quick.h"

/* What a write-protected page must look like to be written quickly; it has just been asked about. */
static void keep_rule(struct quick *quick, const cow_machine *m, const struct vma *vma,
		      const struct cow_rule *rule, const struct frame *frame, uint64_t pte)
{
	const bool reuse = rule->action == COW_ACT_REUSE;
	const uint32_t marker = frame_marker(m);

	if ((frame->flags & (FRAME_ANON | FRAME_LARGE | FRAME_SWAPCACHE | FRAME_KSM)) != FRAME_ANON ||
	    (pte & (PTE_PRESENT | PTE_PROTNONE | PTE_UFFD)) != PTE_PRESENT)
		return;
	/* A page that others map too stays on their anon; a copy of one that nobody else maps frees it. */
	if (reuse ? frame->mapcount != 1 : frame->mapcount < 2)
		return;
	quick->rule = rule;
	quick->pte = (uint32_t)pte;
	quick->frame_flags = frame->flags;
	memcpy(&quick->counts, frame, sizeof(quick->counts));
	quick->fewer = quick->counts - (PLANTED(9) ? 0 : UINT64_C(1) << 32 | 1);
	quick->reused[0] = PLANTED(10) ? frame->flags & ~marker : frame->flags | marker;
	quick->reused[1] = vma->anon;
}

void quick_keep(cow_machine *m, const struct fault *at, const struct cow_rule *rule,
		const struct frame *frame, uint64_t pte)
{
	const struct vma *vma = vma_at(m, at->vma);
	const uint64_t behind = at->leaf.first + leaf_entries(m);
	struct quick *quick = &m->quick;
	uint64_t end = vma->end < behind ? vma->end : behind;

	if (!runs_possible(m) || !vma_runs(vma) || !(vma->flags & VMA_WRITE))
		return;
	quick->handle = (cow_mm){ m->identity, at->mm, mm_at(m, at->mm)->number };
	quick->first = vma->start > at->leaf.first ? vma->start : at->leaf.first;
	quick->pages = end - quick->first;
	quick->within = (UINT64_C(1) << m->state.page_shift) - 1;
	quick->ptes = &at->leaf.ptes[quick->first - at->leaf.first];
	quick->mm = mm_at(m, at->mm);
	quick->info = table_info(m, at->leaf.table);
	quick->pgoff = vma_pgoff(vma, quick->first);
	quick->fresh = (struct frame){ 1, 1, FRAME_ANON | frame_marker(m), vma->anon };
	quick->flags = entry_flags(vma) | entry_written(vma) | entry_marker(m);
	quick->pte = 0; /* no entry that is in use */
	if (rule)
		keep_rule(quick, m, vma, rule, frame, pte);
}
