/* SPDX-License-Identifier: MIT
 *
 * madvise.  Holes do not stop it: what is mapped is done, and then it fails with ENOMEM.
 */
#include "kernel/kernel.h"
#include "machine/plant.h"

static const bool modelled[COW_ADVICE_COUNT] = {
#define X(id, name, is_modelled) [COW_ADV_##id] = is_modelled,
	COW_ADVICES(X)
#undef X
};

/* madvise_vma_behavior for advice that changes the VMA's flags.  Returns 0 or -EINVAL. */
static int advise_flags(const struct vma *vma, enum cow_advice advice, uint32_t *flags)
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
		if (vma->flags & VMA_SHARED)
			return -EINVAL;
		*flags |= VMA_WIPEONFORK;
		break;
	case COW_ADV_KEEPONFORK:
		*flags &= ~(uint32_t)VMA_WIPEONFORK;
		break;
	default:
		break;
	}
	return 0;
}

/* A VMA's part of the range.  *vma is the VMA that covers it then. */
static int advise_vma(cow_machine *m, uint32_t *vma, uint64_t first, uint64_t end,
		      enum cow_advice advice)
{
	const struct vma *in = vma_at(m, *vma);
	uint32_t flags;
	int error = advise_flags(in, advice, &flags);

	if (error)
		return error;
	if (advice == COW_ADV_DONTNEED && !PLANTED(17))
		zap_range(m, *vma, first > in->start ? first : in->start,
			  end < in->end ? end : in->end);
	if (flags != in->flags) {
		*vma = vma_cut(m, *vma, first, end);
		vma_at(m, *vma)->flags = flags;
		*vma = vma_merge(m, *vma);
	}
	return 0;
}

static int advise_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			enum cow_advice advice)
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
		if (advise_vma(m, &vma, page, end, advice))
			return machine_fail(m, -EINVAL, "the advice does not fit the mapping");
		page = vma_at(m, vma)->end;
	}
	if (hole || page < end)
		return machine_fail(m, -ENOMEM, "the range has holes");
	return 0;
}

/* madvise_populate: faults pages in, and breaks COW for POPULATE_WRITE; takes no reference. */
static int populate(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		    struct cow_result *result)
{
	struct fault at = { .mm = mm, .flags = write ? FAULT_WRITE : 0 };

	for (at.page = first; at.page < end; at.page++) {
		enum cow_outcome outcome = COW_OUT_HIT;
		uint64_t pte = 0;

		at.vma = vma_covering(m, mm, at.page);
		if (!at.vma)
			return machine_fail(m, -ENOMEM, "the range has holes");
		if (!(vma_at(m, at.vma)->flags & (write ? VMA_WRITE : VMA_READ)))
			return machine_fail(m, -EINVAL, "the protection forbids populating");
		if (leaf_of(m, mm, at.page, &at.leaf))
			pte = at.leaf.ptes[leaf_slot(m, at.page)];
		if (!pte || (write && !(pte & PTE_WRITE)))
			outcome = fault_handle(m, &at, false);
		result_add(result, outcome);
		if (outcome == COW_OUT_OOM)
			return machine_fail(m, -ENOMEM, "no frame left");
		result->done++;
	}
	return 0;
}

int cow_madvise(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		enum cow_advice advice, struct cow_result *result)
{
	bool write = advice == COW_ADV_POPULATE_WRITE;
	bool populates = write || advice == COW_ADV_POPULATE_READ;
	struct cow_result unwanted;
	struct cow_op op;
	uint64_t first;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error && (unsigned)advice >= COW_ADVICE_COUNT)
		error = machine_fail(m, -EINVAL, "unknown advice");
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error && !modelled[advice])
		error = machine_fail(m, -ENOSYS, "this advice is not modelled yet");
	if (!error)
		error = vma_reserve(m, mm, first, first + pages, 2);
	if (!error && populates)
		error = fault_reserve(m, mm, first, first + pages, write, 1);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MADVISE, mm, addr, pages);
	op.value = advice;
	error = op_begin(m, &op);
	if (error)
		return error;
	error = populates ? populate(m, mm, first, first + pages, write, result)
			  : advise_range(m, mm, first, first + pages, advice);
	return op_end(m, &op, error);
}
