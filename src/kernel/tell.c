/* SPDX-License-Identifier: MIT
 *
 * Handles, ranges and observers: the edges of every call.
 */
#include "kernel/ask.h"

int mm_resolve(cow_machine *m, cow_mm handle, uint32_t *index)
{
	if (handle.owner != m->identity)
		return machine_fail(m, -EXDEV, "the address space belongs to another machine");
	if (!mm_known(m, handle))
		return machine_fail(m, -ESRCH, "the address space has ended");
	*index = handle.index;
	return 0;
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

int range_check(cow_machine *m, uint64_t addr, uint64_t pages, uint64_t *first)
{
	uint64_t page = addr >> m->state.page_shift;

	if (page << m->state.page_shift != addr)
		return machine_fail(m, -EINVAL, "address 0x%llx is not a multiple of the page size",
				    (unsigned long long)addr);
	if (!pages || page >= m->pages || pages > m->pages - page)
		return machine_fail(m, -EINVAL,
				    "%llu pages at 0x%llx do not lie within the address space",
				    (unsigned long long)pages, (unsigned long long)addr);
	*first = page;
	return 0;
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

void change_tell(cow_machine *m, const struct cow_change *change)
{
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].change)
			m->observers[i].change(m->observers[i].ctx, change);
}

struct cow_view view_truth(cow_machine *m, struct question question, struct cow_view view)
{
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].truth)
			m->observers[i].truth(m->observers[i].ctx, question.mm,
					      question.page << m->state.page_shift, pte_frame(*question.pte),
					      &view);
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
