/* SPDX-License-Identifier: MIT
 *
 * Handles, ranges and observers: the edges of every call.
 */
#include "kernel/ask.h"

int mm_refuse(cow_machine *m, cow_mm handle)
{
	if (handle.owner != m->identity)
		return machine_fail(m, -EXDEV, "the address space belongs to another machine");
	return machine_fail(m, -ESRCH, "the address space has ended");
}

int ref_resolve(cow_machine *m, cow_ref handle, uint32_t *index)
{
	if (handle.owner != m->identity)
		return machine_fail(m, -EXDEV, "the reference belongs to another machine");
	if (!handle.index || handle.index >= m->pools[POOL_REF].used || !handle.generation ||
	    ref_at(m, handle.index)->number != handle.generation)
		return machine_fail(m, -ESRCH, "the reference has been released");
	*index = handle.index;
	return 0;
}

int range_refuse(cow_machine *m, uint64_t addr, uint64_t pages)
{
	if (addr >> m->state.page_shift << m->state.page_shift != addr)
		return machine_fail(m, -EINVAL, "address 0x%llx is not a multiple of the page size",
				    (unsigned long long)addr);
	return machine_fail(m, -EINVAL, "%llu pages at 0x%llx do not lie within the address space",
			    (unsigned long long)pages, (unsigned long long)addr);
}

int call_check(cow_machine *m, struct call *call, cow_mm mm, uint64_t addr, uint64_t pages,
	       struct cow_result *result)
{
	int error = mm_resolve(m, mm, &call->mm);

	call->result = result ? result : &call->unwanted;
	result_clear(call->result);
	if (!error)
		error = range_check(m, addr, pages, &call->first);
	if (!error)
		call->end = call->first + pages;
	return error;
}

int call_begin(cow_machine *m, struct call *call, enum cow_op_kind kind, uint64_t value)
{
	op_set(m, &call->op, kind, call->mm, call->first << m->state.page_shift,
	       call->end - call->first);
	call->op.value = value;
	return op_begin(m, &call->op);
}

int op_veto(cow_machine *m, const struct cow_op *op)
{
	for (uint32_t i = 0; i < m->observer_count; i++) {
		const struct cow_observer *observer = &m->observers[i];
		int error = observer->before ? observer->before(observer->ctx, op) : 0;

		if (error) {
			machine_fail(m, error, "an observer refused the call");
			m->error.host = error == -ENOMEM;
			return error;
		}
	}
	return 0;
}

void op_tell(cow_machine *m, struct cow_op *op, int result)
{
	op->result = result;
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].after)
			m->observers[i].after(m->observers[i].ctx, op);
}

struct cow_view view_special(const cow_machine *m, uint32_t index, struct cow_view view)
{
	const struct frame *frame = frame_at(m, index);

	if (frame->flags & FRAME_LARGE) {
		const struct folio *folio = folio_at(m, frame->owner);

		view.refcount = saturate(folio->refcount, 8191);
		view.mapcount = saturate(folio->mapcount, 4095);
		view.mapped_most = m->policy->flags & COW_POLICY_COUNTS_PAGES
					   ? saturate(folio_mapped_most(m, folio), 3)
					   : 0;
		view.maybe_pinned = folio->pincount > 0;
		view.order = folio->order;
		view.mm_ids_shared = (folio->flags & FOLIO_SHARED) != 0;
		view.hugetlb = (folio->flags & FOLIO_HUGETLB) != 0;
	}
	if (frame->flags & FRAME_SWAPCACHE) {
		view.swapcache = true;
		view.swapcount = saturate(frame_swapcount(m, index), 7);
		view.writeback = (frame->flags & FRAME_WRITEBACK) != 0;
		view.stable_writes = (m->state.options & MACHINE_STABLE_WRITES) != 0;
	}
	return view;
}

struct cow_view view_entry(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint32_t slot)
{
	const struct vma *in = vma_at(m, vma);
	uint64_t entry = leaf->pmd ? *leaf->pmd : leaf->ptes[slot];
	uint32_t frame = pte_frame(entry);
	bool marker = frame_at(m, frame)->flags & FRAME_ANON &&
		      (leaf->pmd ? pmd_marker_get(m, entry)
				 : marker_get(m, leaf, slot, frame_at(m, frame)));
	struct cow_view view = view_pte(view_frame(m, frame), entry, marker);

	view.pmd = leaf->pmd != NULL;
	view.soft_dirty = soft_dirty_needed(in, entry);
	return view_vma(view, mm_at(m, in->mm), in);
}

struct cow_view view_truth(cow_machine *m, struct question question, uint32_t frame,
			   struct cow_view view)
{
	uint64_t entry = *question.pte;
	uint32_t pages = (entry & PTE_HUGE) && !(entry & PTE_SPECIAL) ? (uint32_t)pmd_pages(m) : 1;
	uint64_t first = pages > 1 ? pmd_first(m, question.page) : question.page;
	bool sole = true, pinned = false;

	if (!frame)
		frame = pte_frame(entry);
	for (uint32_t page = 0; page < pages; page++) {
		for (uint32_t i = 0; i < m->observer_count; i++)
			if (m->observers[i].truth)
				m->observers[i].truth(m->observers[i].ctx, question.mm,
						      (first + page) << m->state.page_shift,
						      frame + page, &view);
		sole &= view.truth_sole;
		pinned |= view.truth_pinned;
	}
	view.truth_sole = sole;
	view.truth_pinned = pinned;
	return view;
}

void decision_tell(cow_machine *m, struct question question, struct cow_view view,
		   const struct cow_rule *rule, uint64_t pages, const uint64_t *entries)
{
	struct cow_decision decision = {
		.id = question.id,
		.view = view,
		.rule = rule,
		.mm = question.mm,
		.process = mm_at(m, question.mm)->number,
		.addr = question.page << m->state.page_shift,
		.pages = pages,
		.entries = entries,
	};

	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].decision)
			m->observers[i].decision(m->observers[i].ctx, &decision);
}
