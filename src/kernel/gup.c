/* SPDX-License-Identifier: MIT
 *
 * Taking references: get_user_pages and pin_user_pages, slow and fast, and the FOLL_FORCE write.
 * After mm/gup.c: __get_user_pages, follow_page_pte, gup_pte_range, faultin_page, try_grab_page.
 * What is done with a reference, and how it is dropped, is in ref.c.
 */
#include "kernel/ask.h"
#include "kernel/ref.h"
#include "machine/plant.h"

enum { ROUNDS = 8 }; /* a policy that never takes is refused after as many tries */

struct gup {
	uint32_t mm;
	unsigned flags;  /* COW_GUP_* */
	bool cow_broken; /* FOLL_COW: a write fault has been through do_wp_page */
	struct fault at;
};

/* What is known when there is a VMA and no page yet. */
static struct cow_view gup_vma_view(cow_machine *m, const struct gup *gup)
{
	struct cow_view view = { 0 };

	view = view_vma(view, mm_at(m, gup->mm), vma_at(m, gup->at.vma));
	view.req_write = (gup->flags & COW_GUP_WRITE) != 0;
	view.req_pin = (gup->flags & COW_GUP_PIN) != 0;
	view.req_longterm = (gup->flags & COW_GUP_LONGTERM) != 0;
	view.req_cow_broken = gup->cow_broken;
	return view;
}

static struct cow_view gup_view(cow_machine *m, const struct gup *gup, bool fast, bool force)
{
	struct cow_view view = view_entry(m, gup->at.vma, &gup->at.leaf, gup->at.slot);

	if (fast) {
		view.mm_has_pinned = view.vma_write = view.vma_cow = view.vma_had_write_ref = 0;
		view.soft_dirty = 0;
	}
	view.req_write = force || (gup->flags & COW_GUP_WRITE);
	view.req_pin = (gup->flags & COW_GUP_PIN) != 0;
	view.req_longterm = (gup->flags & COW_GUP_LONGTERM) != 0;
	view.req_fast = fast;
	view.req_cow_broken = gup->cow_broken;
	return view;
}

/* The entry that can be followed; 0: a fault is needed first.  A NUMA hint is one too. */
static uint64_t gup_entry(cow_machine *m, struct gup *gup)
{
	uint64_t entry = at_find(m, &gup->at) ? *at_entry(&gup->at) : 0;

	if (!(entry & PTE_PRESENT) ||
	    ((entry & PTE_PROTNONE) && (vma_at(m, gup->at.vma)->flags & VMA_READ)))
		return 0;
	return entry;
}

static struct question gup_question(const struct gup *gup, enum cow_decision_id id)
{
	return (struct question){ id, gup->mm, gup->at.page, at_entry(&gup->at) };
}

/* gup_pte_range: knows the PTE and the page, nothing else.  True: the page may be taken. */
static bool gup_fast(cow_machine *m, struct gup *gup)
{
	uint64_t entry = gup_entry(m, gup);

	if (!entry_allows(entry, gup->flags & COW_GUP_WRITE))
		return false;
	return ask(m, gup_question(gup, COW_DECIDE_GUP), gup_view(m, gup, true, false))
		       ->action == COW_ACT_TAKE;
}

/* faultin_page; returns an error, or the outcome, the gravest so far being kept. */
static enum cow_outcome gup_fault(cow_machine *m, struct gup *gup, unsigned flags,
				  enum cow_outcome before)
{
	enum cow_outcome outcome;

	gup->at.flags = flags;
	outcome = fault_handle(m, &gup->at, false);
	if (gup->at.wp && (flags & FAULT_WRITE) && !PLANTED(16) &&
	    !(vma_at(m, gup->at.vma)->flags & VMA_WRITE))
		gup->cow_broken = true;
	if (fault_failed(outcome) || before == COW_OUT_HIT)
		return outcome;
	/* What a reference came to is the copy, if one was made; else what happened first. */
	return outcome == COW_OUT_COPY || outcome == COW_OUT_UNSHARE ? outcome : before;
}

/* __get_user_pages for one page: faults until the policy lets it be taken. */
static enum cow_outcome gup_page(cow_machine *m, struct gup *gup)
{
	bool write = gup->flags & COW_GUP_WRITE;
	enum cow_outcome outcome = COW_OUT_HIT;

	gup->cow_broken = false;
	if ((gup->flags & COW_GUP_FAST) && gup_fast(m, gup))
		return outcome;
	for (int round = 0; round < ROUNDS && !fault_failed(outcome); round++) {
		uint64_t entry = gup_entry(m, gup);

		if (write && !(entry & PTE_WRITE)) {
			outcome = gup_fault(m, gup, FAULT_WRITE, outcome);
			continue;
		}
		if (!entry) {
			/* v5.8: should_force_cow_break looks at the VMA alone, so it is asked before
			 * there is a page. */
			bool force = m->policy->decide[COW_DECIDE_GUP](gup_vma_view(m, gup))->action ==
				     COW_ACT_BREAK;

			outcome = gup_fault(m, gup, force ? FAULT_WRITE : 0, outcome);
			continue;
		}
		switch (ask(m, gup_question(gup, COW_DECIDE_GUP), gup_view(m, gup, false, false))
				->action) {
		case COW_ACT_BREAK:
			outcome = gup_fault(m, gup, FAULT_WRITE, outcome);
			break;
		case COW_ACT_UNSHARE:
			outcome = gup_fault(m, gup, FAULT_UNSHARE, outcome);
			break;
		case COW_ACT_REFUSE:
			return COW_OUT_SEGV;
		default:
			return outcome;
		}
	}
	return fault_failed(outcome) ? outcome : COW_OUT_SEGV;
}

/* check_vma_flags */
static bool gup_allowed(cow_machine *m, struct gup *gup)
{
	gup->at.vma = vma_covering(m, gup->mm, gup->at.page);
	return gup->at.vma && (vma_at(m, gup->at.vma)->flags &
			       (gup->flags & COW_GUP_WRITE ? VMA_WRITE : VMA_READ));
}

/* try_grab_page */
static bool grab(cow_machine *m, uint32_t index, unsigned flags, uint32_t times)
{
	struct frame *frame = frame_at(m, index);
	bool large = frame->flags & FRAME_LARGE;
	uint32_t *refcount = large ? &folio_at(m, frame->owner)->refcount : &frame->refcount;
	uint64_t more = (flags & COW_GUP_PIN) && !large
				? (uint64_t)times * (PLANTED(13) ? 1 : PIN_BIAS)
				: times;

	if ((flags & COW_GUP_PIN) && (frame->flags & FRAME_ZERO) && !PLANTED(14))
		return true; /* the zero page needs no pin */
	if (*refcount + more > REFCOUNT_LIMIT)
		return false;
	*refcount += (uint32_t)more;
	if (large && (flags & COW_GUP_PIN))
		folio_at(m, frame->owner)->pincount += times;
	machine_count(m, COW_COUNT_ATOMICS, times);
	return true;
}

static int gup_errno(enum cow_outcome outcome)
{
	return outcome == COW_OUT_OOM ? -ENOMEM : outcome == COW_OUT_BLOCKED ? -EAGAIN : -EFAULT;
}

static int gup_range(cow_machine *m, struct gup *gup, uint64_t first, uint64_t pages,
		     uint32_t slot, struct cow_result *result)
{
	struct ref *ref = ref_at(m, slot);
	uint32_t *tail = &ref->first;
	enum cow_outcome outcome = COW_OUT_HIT;

	for (gup->at.page = first; gup->at.page < first + pages; gup->at.page++) {
		uint32_t frame, link;

		if (!gup_allowed(m, gup))
			return machine_fail(m, -EFAULT, "no reference is possible at 0x%llx",
					    (unsigned long long)(gup->at.page << m->state.page_shift));
		outcome = gup_page(m, gup);
		if (fault_failed(outcome) || outcome == COW_OUT_SEGV) {
			result->outcome = outcome;
			return machine_fail(m, gup_errno(outcome), "no reference could be taken at 0x%llx",
					    (unsigned long long)(gup->at.page << m->state.page_shift));
		}
		frame = at_frame(m, &gup->at);
		if (!grab(m, frame, gup->flags, ref->times))
			return machine_fail(m, -ENOMEM, "the reference count would overflow");
		if (gup->flags & COW_GUP_WRITE) {
			*at_entry(&gup->at) |= PTE_DIRTY;
			vma_at(m, gup->at.vma)->flags |= VMA_HAD_WRITE_REF;
		}
		if ((gup->flags & COW_GUP_PIN) && frame)
			machine_count(m, COW_COUNT_PINS_ACQUIRED, ref->times);
		link = pool_take(&m->pools[POOL_LINK]);
		link_at(m, link)->frame = frame;
		*tail = link;
		tail = &link_at(m, link)->next;
		result_add(result, outcome);
		result->done++;
		ref_tell(m, COW_CHANGE_GET, slot, gup->mm, gup->at.page << m->state.page_shift,
			 gup->at.page - first, frame, 0);
	}
	return 0;
}

/* The first page from which on nothing is mapped, or `end`: so far a reference can come at most. */
static uint64_t gup_reach(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t page = first;

	while (page < end) {
		uint32_t vma = vma_covering(m, mm, page);

		if (!vma)
			break;
		page = vma_at(m, vma)->end;
	}
	return page > first ? (page < end ? page : end) : first + 1;
}

int cow_gup(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, unsigned flags,
	    uint32_t times, struct cow_result *result, cow_ref *out)
{
	struct cow_result unwanted;
	struct gup gup = { .flags = flags };
	struct cow_op op;
	struct ref *ref;
	uint64_t first, end = 0;
	uint32_t slot;
	int error = mm_resolve(m, handle, &gup.mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error && !out)
		error = machine_fail(m, -EINVAL, "there is nowhere to put the handle");
	if (!error && (flags & ~15u))
		error = machine_fail(m, -EINVAL, "unknown flag");
	if (!error && (flags & COW_GUP_LONGTERM) && !(flags & COW_GUP_PIN))
		error = machine_fail(m, -EINVAL, "FOLL_LONGTERM needs FOLL_PIN");
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		end = gup_reach(m, gup.mm, first, first + pages);
	/* A page can be allocated, and copied at once, for one reference. */
	if (!error)
		error = fault_reserve(m, gup.mm, first, end, true, 2);
	if (!error)
		error = machine_reserve(m, POOL_REF, 1);
	if (!error)
		error = machine_reserve(m, POOL_LINK, end - first + m->state.lru_batch + 2);
	if (error)
		return error;
	gup.at.mm = gup.mm;
	slot = m->pools[POOL_REF].free ? m->pools[POOL_REF].free : m->pools[POOL_REF].used;
	op_set(m, &op, COW_OP_GUP, gup.mm, addr, end - first);
	op.flags = flags;
	op.ref = slot;
	error = op_begin(m, &op);
	if (error)
		return error;
	if ((flags & COW_GUP_PIN) && !PLANTED(15))
		mm_at(m, gup.mm)->flags |= MM_HAS_PINNED;
	slot = pool_take(&m->pools[POOL_REF]);
	ref = ref_at(m, slot);
	ref->flags = flags;
	ref->times = times ? times : 1;
	ref->pages = pages;
	ref->process = mm_at(m, gup.mm)->number;
	ref->number = ++m->state.references;
	error = gup_range(m, &gup, first, pages, slot, result);
	if (error)
		ref_drop(m, slot, result->done);
	else
		*out = (cow_ref){ m->identity, slot, ref->number };
	return op_end(m, &op, error);
}

/* __access_remote_vm with FOLL_FORCE: write faults until can_follow_write_pte lets it through. */
static enum cow_outcome force_page(cow_machine *m, struct gup *gup)
{
	enum cow_outcome outcome = COW_OUT_HIT;

	for (int round = 0; round < ROUNDS && !fault_failed(outcome); round++) {
		uint64_t entry = gup_entry(m, gup);

		if (entry & PTE_WRITE)
			return outcome;
		/* A writable VMA is written through an ordinary fault, FOLL_FORCE or not. */
		if (entry && !(entry & PTE_SPECIAL) &&
		    !(vma_at(m, gup->at.vma)->flags & VMA_WRITE) &&
		    ask(m, gup_question(gup, COW_DECIDE_FORCE), gup_view(m, gup, false, true))
				    ->action == COW_ACT_TAKE)
			return outcome;
		outcome = gup_fault(m, gup, FAULT_WRITE, outcome);
	}
	return fault_failed(outcome) ? outcome : COW_OUT_SEGV;
}

/* v6.2 to v6.13: check_vma_flags refuses hugetlb before any fault, so the policy is asked without a page.
 * v6.0 and v6.1.0 made the page first, and then hugetlb_wp refused. */
static bool force_refused(cow_machine *m, const struct gup *gup)
{
	const struct vma *vma = vma_at(m, gup->at.vma);
	struct cow_view view;

	if (!(vma->flags & VMA_HUGETLB) || (vma->flags & VMA_WRITE))
		return false;
	view = gup_vma_view(m, gup);
	view.hugetlb = true;
	view.order = pmd_order(m);
	return m->policy->decide[COW_DECIDE_FORCE](view)->action == COW_ACT_REFUSE;
}

int cow_force_write(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t value,
		    enum cow_outcome *outcome)
{
	struct gup gup = { .flags = COW_GUP_WRITE };
	enum cow_outcome came_to = COW_OUT_NONE;
	struct cow_op op;
	const struct vma *vma;
	uint64_t page;
	uint32_t frame;
	int error = mm_resolve(m, handle, &gup.mm);

	if (outcome)
		*outcome = COW_OUT_NONE;
	if (!error)
		error = range_check(m, addr, 1, &page);
	if (!error)
		error = fault_reserve(m, gup.mm, page, page + 1, true, 2);
	if (error)
		return error;
	gup.at.mm = gup.mm;
	gup.at.page = page;
	gup.at.vma = vma_covering(m, gup.mm, page);
	vma = gup.at.vma ? vma_at(m, gup.at.vma) : NULL;
	/* check_vma_flags: FOLL_FORCE overrides a missing VM_WRITE of private mappings alone. */
	if (!vma || (!(vma->flags & VMA_WRITE) && (vma->flags & VMA_SHARED)) ||
	    force_refused(m, &gup))
		return machine_fail(m, -EFAULT, "no forced write is possible at 0x%llx",
				    (unsigned long long)addr);
	op_set(m, &op, COW_OP_FORCE_WRITE, gup.mm, addr, 1);
	op.value = value;
	error = op_begin(m, &op);
	if (error)
		return error;
	came_to = force_page(m, &gup);
	if (outcome)
		*outcome = came_to;
	if (fault_failed(came_to))
		return op_end(m, &op, machine_fail(m, gup_errno(came_to), "no forced write at 0x%llx: %s",
						   (unsigned long long)addr,
						   cow_outcome_name(came_to)));
	if (came_to == COW_OUT_SEGV)
		return op_end(m, &op, machine_fail(m, -EFAULT, "the policy never lets it through"));
	frame = at_frame(m, &gup.at);
	frame_body(m, frame)->value = value;
	page_make_dirty(m, frame); /* set_page_dirty_lock; the entry is left alone */
	note_page(m, COW_CHANGE_WRITE, gup.at.vma, page, frame, value, 0);
	return op_end(m, &op, 0);
}
