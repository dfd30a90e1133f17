/* SPDX-License-Identifier: MIT
 *
 * CPU accesses: the path of a load or a store, page by page.  What the MMU allows is a hit; the
 * rest is a fault, and a fault that the VMA forbids is a segv.
 */
#include "kernel/ask.h"

struct access {
	uint32_t mm;
	bool write;
	uint64_t value;         /* to write */
	const uint64_t *expect; /* to compare with; NULL: anything */
};

static bool access_allowed(const struct vma *vma, bool write)
{
	return vma->flags & (write ? VMA_WRITE : VMA_READ);
}

static bool pte_allows(uint64_t pte, bool write)
{
	return (pte & PTE_PRESENT) && !(pte & PTE_PROTNONE) && (!write || (pte & PTE_WRITE));
}

/* The access itself, once the PTE allows it. */
static void access_page(cow_machine *m, const struct access *access, struct fault *at,
			struct cow_result *result)
{
	uint64_t *pte = &at->leaf.ptes[at->slot];
	uint32_t frame = pte_frame(*pte);
	uint64_t *content = &frame_body(m, frame)->value;

	if (access->write) {
		*pte |= PTE_DIRTY | PTE_YOUNG;
		*content = access->value;
		if (m->observer_count)
			note_vma(m, COW_CHANGE_WRITE, at->vma, at->page, &frame, *content);
		return;
	}
	*pte |= PTE_YOUNG;
	result->value = *content;
	if (access->expect && *content != *access->expect && !result->mismatch) {
		result->mismatch = true;
		result->bad_page = result->done;
		result->bad_value = *content;
	}
	if (m->observer_count)
		note_vma(m, COW_CHANGE_READ, at->vma, at->page, &frame, *content);
}

/* Accesses pages first to end-1; stops at the first error. */
static int access_range(cow_machine *m, const struct access *access, uint64_t first, uint64_t end,
			struct cow_result *result)
{
	struct fault at = { .mm = access->mm, .flags = access->write ? FAULT_WRITE : 0 };
	uint64_t vma_end = 0, leaf_end = 0, hits = 0;

	for (at.page = first; at.page < end; at.page++) {
		if (at.page >= vma_end) {
			at.vma = vma_covering(m, at.mm, at.page);
			if (!at.vma || !access_allowed(vma_at(m, at.vma), access->write)) {
				result_add(result, COW_OUT_SEGV);
				break;
			}
			vma_end = vma_at(m, at.vma)->end;
		}
		if (at.page >= leaf_end && leaf_of(m, at.mm, at.page, &at.leaf))
			leaf_end = at.leaf.first + leaf_entries(m);
		at.slot = leaf_slot(m, at.page);
		if (at.page < leaf_end && pte_allows(at.leaf.ptes[at.slot], access->write)) {
			hits++;
			result->outcome = COW_OUT_HIT;
		} else {
			enum cow_outcome outcome = fault_handle(m, &at);

			result_add(result, outcome);
			if (outcome == COW_OUT_OOM)
				break;
			leaf_end = at.leaf.first + leaf_entries(m);
		}
		access_page(m, access, &at, result);
		result->done++;
	}
	result->counts[COW_OUT_HIT] += hits;
	machine_count(m, COW_COUNT_HITS, hits);
	if (result->outcome == COW_OUT_SEGV)
		return machine_fail(m, -EFAULT, "segv at 0x%llx",
				    (unsigned long long)(at.page << m->state.page_shift));
	if (result->outcome == COW_OUT_OOM)
		return machine_fail(m, -ENOMEM, "no frame left at 0x%llx",
				    (unsigned long long)(at.page << m->state.page_shift));
	return 0;
}

static int access_call(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		       struct access access, struct cow_result *result)
{
	struct cow_result unwanted;
	struct cow_op op;
	uint64_t first;
	int error = mm_resolve(m, handle, &access.mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		error = fault_reserve(m, access.mm, first, first + pages, access.write, 1);
	if (error)
		return error;
	op = op_make(m, access.write ? COW_OP_WRITE : COW_OP_READ, access.mm, addr, pages);
	op.value = access.value;
	error = op_begin(m, &op);
	if (error)
		return error;
	return op_end(m, &op, access_range(m, &access, first, first + pages, result));
}

int cow_read_range(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages,
		   const uint64_t *expect, struct cow_result *result)
{
	return access_call(m, mm, addr, pages, (struct access){ .expect = expect }, result);
}

int cow_write_range(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages, uint64_t value,
		    struct cow_result *result)
{
	return access_call(m, mm, addr, pages, (struct access){ .write = true, .value = value },
			   result);
}

int cow_read(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t *value, enum cow_outcome *outcome)
{
	struct cow_result result;
	int error = access_call(m, mm, addr, 1, (struct access){ 0 }, &result);

	if (value)
		*value = result.value;
	if (outcome)
		*outcome = result.outcome;
	return error;
}

int cow_write(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t value, enum cow_outcome *outcome)
{
	struct cow_result result;
	int error = access_call(m, mm, addr, 1, (struct access){ .write = true, .value = value },
				&result);

	if (outcome)
		*outcome = result.outcome;
	return error;
}
