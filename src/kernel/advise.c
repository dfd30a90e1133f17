/* SPDX-License-Identifier: MIT
 *
 * madvise.  Holes do not stop it: what is mapped is done, and then it fails with ENOMEM.
 */
#include "kernel/kernel.h"
#include "machine/plant.h"

/* madvise_vma_behavior for advice that changes the VMA's flags.  Returns 0 or -EINVAL. */
static int advise_flags(const cow_machine *m, const struct vma *vma, enum cow_advice advice,
			uint32_t *flags)
{
	*flags = vma->flags;
	switch (advice) {
	case COW_ADV_DONTFORK:
		*flags |= VMA_DONTCOPY;
		break;
	case COW_ADV_DOFORK:
		*flags &= ~(uint32_t)VMA_DONTCOPY;
		break;
	case COW_ADV_WIPEONFORK:
		/* of anonymous memory alone; hugetlb always has a file */
		if (vma->object || (vma->flags & VMA_HUGETLB))
			return -EINVAL;
		*flags |= VMA_WIPEONFORK;
		break;
	case COW_ADV_KEEPONFORK:
		*flags &= ~(uint32_t)VMA_WIPEONFORK;
		break;
	case COW_ADV_MERGEABLE:
		/* vma_ksm_compatible: on others the advice is without effect. */
		if (!(vma->flags & (VMA_SHARED | VMA_HUGETLB)))
			*flags |= VMA_MERGEABLE;
		break;
	case COW_ADV_UNMERGEABLE:
		*flags &= ~(uint32_t)VMA_MERGEABLE;
		break;
	case COW_ADV_HUGEPAGE:
		/* v4.8+: of any memory, whether a huge page can ever be there or not */
		if (!pmd_possible(m))
			return -EINVAL;
		*flags = (*flags & ~(uint32_t)VMA_NOHUGEPAGE) | VMA_HUGEPAGE;
		break;
	case COW_ADV_NOHUGEPAGE:
		*flags = (*flags & ~(uint32_t)VMA_HUGEPAGE) | VMA_NOHUGEPAGE;
		break;
	case COW_ADV_FREE:
		/* madvise_free_single_vma: anonymous memory only */
		if (vma->object || (vma->flags & VMA_HUGETLB))
			return -EINVAL;
		break;
	case COW_ADV_COLLAPSE:
		/* thp_vma_allowable_order; files are not collapsed here */
		if (!pmd_possible(m) || vma->object || (vma->flags & (VMA_HUGETLB | VMA_NOHUGEPAGE)))
			return -EINVAL;
		break;
	case COW_ADV_COLD:
	case COW_ADV_PAGEOUT:
		if (vma->flags & VMA_HUGETLB)
			return -EINVAL; /* can_madv_lru_vma */
		break;
	default:
		break;
	}
	return 0;
}

/* A VMA's part of the range.  *vma is the VMA that covers it then. */
static int advise_vma(cow_machine *m, uint32_t *vma, uint64_t first, uint64_t end,
		      enum cow_advice advice, struct cow_result *result)
{
	const struct vma *in = vma_at(m, *vma);
	uint64_t low = first > in->start ? first : in->start;
	uint64_t high = end < in->end ? end : in->end;
	uint32_t flags;
	int error = advise_flags(m, in, advice, &flags);

	if (!error && flags != in->flags && !hugetlb_splits(m, *vma, first, end))
		error = -EINVAL;
	if (!error && advice == COW_ADV_DONTNEED && (in->flags & VMA_HUGETLB)) {
		/* madvise_dontneed_free_valid_vma: whoever rounds up loses nothing */
		if (low & (pmd_pages(m) - 1))
			error = -EINVAL;
		high &= ~(uint64_t)(pmd_pages(m) - 1);
	}
	if (!error && advice == COW_ADV_UNMERGEABLE && (in->flags & VMA_MERGEABLE))
		error = unmerge_range(m, *vma, low, high);
	if (!error && advice == COW_ADV_COLLAPSE)
		error = collapse_range(m, *vma, low, high);
	if (error)
		return error;
	if (advice == COW_ADV_DONTNEED && low < high && !PLANTED(17))
		zap_range(m, *vma, low, high, 0);
	if (advice == COW_ADV_FREE)
		free_range(m, *vma, low, high);
	if (advice == COW_ADV_COLD)
		cold_range(m, *vma, low, high);
	if (advice == COW_ADV_PAGEOUT)
		pageout_range(m, *vma, low, high, result);
	if (flags != in->flags) {
		*vma = vma_cut(m, *vma, first, end);
		if (advice == COW_ADV_HUGEPAGE)
			vma_at(m, *vma)->order = 0;
		vma_at(m, *vma)->flags = flags;
		*vma = vma_merge(m, *vma);
	}
	return 0;
}

static int advise_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			enum cow_advice advice, struct cow_result *result)
{
	uint64_t page = first;
	bool hole = false;
	uint32_t vma;

	if (advice == COW_ADV_COLD)
		batch_drain(m, mm);
	if (advice == COW_ADV_DONTNEED)
		zap_drain(m, mm);
	while (page < end && (vma = vma_find(m, mm, page)) && vma_at(m, vma)->start < end) {
		hole |= vma_at(m, vma)->start > page;
		int error = advise_vma(m, &vma, page, end, advice, result);

		if (error)
			return machine_fail(m, error, error == -EINVAL
							      ? "the advice does not fit the mapping"
							      : "the advice cannot be followed now");
		page = vma_at(m, vma)->end;
	}
	if (hole || page < end)
		return machine_fail(m, -ENOMEM, "the range has holes");
	return 0;
}

/* FOLL_TOUCH of a write: follow_page_pte makes a page dirty whose PTE is not, touch_pmd the PMD. */
static void touch(cow_machine *m, const struct fault *at)
{
	uint64_t *entry = at_entry(at);

	if (at->leaf.pmd)
		*entry |= PTE_DIRTY;
	else if (!(*entry & PTE_DIRTY) && !PLANTED(72))
		page_make_dirty(m, pte_frame(*entry));
}

/* madvise_populate: faults pages in, and breaks COW for POPULATE_WRITE; takes no reference. */
static int populate(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		    struct cow_result *result)
{
	struct fault at = { .mm = mm, .flags = write ? FAULT_WRITE : 0 };

	for (at.page = first; at.page < end; at.page++) {
		enum cow_outcome outcome = COW_OUT_HIT;

		at.vma = vma_covering(m, mm, at.page);
		if (!at.vma)
			return machine_fail(m, -ENOMEM, "the range has holes");
		if (!(vma_at(m, at.vma)->flags & (write ? VMA_WRITE : VMA_READ)))
			return machine_fail(m, -EINVAL, "the protection forbids populating");
		if (!at_find(m, &at) || !entry_allows(*at_entry(&at), write))
			outcome = fault_handle(m, &at, false);
		result_add(result, outcome);
		if (write && !fault_failed(outcome))
			touch(m, &at);
		if (fault_failed(outcome))
			return machine_fail(m, outcome == COW_OUT_OOM	     ? -ENOMEM
					       : outcome == COW_OUT_BLOCKED ? -EAGAIN
									    : -EFAULT,
					    "populating came to %s", cow_outcome_name(outcome));
		result->done++;
	}
	return 0;
}

int cow_madvise(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		enum cow_advice advice, struct cow_result *result)
{
	bool write = advice == COW_ADV_POPULATE_WRITE;
	bool populates = write || advice == COW_ADV_POPULATE_READ;
	bool breaks = advice == COW_ADV_UNMERGEABLE;
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (!error && (unsigned)advice >= COW_ADVICE_COUNT)
		error = machine_fail(m, -EINVAL, "unknown advice");
	if (!error)
		error = vma_reserve(m, call.mm, call.first, call.end, 0);
	if (!error && (populates || breaks))
		error = fault_reserve(m, call.mm, call.first, call.end, write || breaks, 1);
	if (!error &&
	    (advice == COW_ADV_PAGEOUT || advice == COW_ADV_FREE || advice == COW_ADV_COLD))
		error = pageout_reserve(m, call.mm, call.first, call.end);
	if (!error && advice == COW_ADV_COLLAPSE)
		error = collapse_reserve(m, call.mm, call.first, call.end);
	if (!error)
		error = call_begin(m, &call, COW_OP_MADVISE, advice);
	if (error)
		return error;
	error = populates ? populate(m, call.mm, call.first, call.end, write, call.result)
			  : advise_range(m, call.mm, call.first, call.end, advice, call.result);
	return op_end(m, &call.op, error);
}
