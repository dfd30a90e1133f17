/* SPDX-License-Identifier: MIT
 *
 * mprotect, after mprotect_fixup and change_pte_range.  A private mapping that becomes writable
 * leaves its PTEs read-only, for a write fault to decide, unless the policy upgrades them at once.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* can_change_pte_writable, as far as it is not the policy's to say. */
static bool may_upgrade(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t page)
{
	uint32_t slot = leaf_slot(m, page);
	struct question question = { COW_DECIDE_PROTECT, vma_at(m, vma)->mm, page, &leaf->ptes[slot] };
	struct cow_view view;

	if (!page_ownable(m, pte_frame(leaf->ptes[slot])) ||
	    uffd_protects(vma_at(m, vma), leaf->ptes[slot]))
		return false;
	view = view_entry(m, vma, leaf, slot);
	if (PLANTED(18))
		view.exclusive = true;
	return ask(m, question, view)->action == COW_ACT_WRITABLE;
}

static void change_entries(cow_machine *m, uint32_t vma)
{
	const struct vma *in = vma_at(m, vma);
	bool write = in->flags & VMA_WRITE;
	bool shared = in->flags & VMA_SHARED;
	uint64_t keep = PTE_DIRTY | PTE_YOUNG | PTE_SPECIAL | PTE_MARKER | PTE_PRESENT | PTE_SOFT |
			PTE_UFFD;
	/* vma_wants_writenotify is asked with the old vm_page_prot, so that no entry of a shared
	 * mapping is upgraded alone. */
	bool seen = in->flags & (VMA_UFFD_WP | VMA_TRACKED);
	bool changed = false;
	struct leaf leaf;

	for (uint64_t page = in->start; leaf_next(m, mm_at(m, in->mm)->root, &page, in->end, &leaf);) {
		if (leaf.pmd) {
			if (in->flags & VMA_HUGETLB)
				hugetlb_protect(m, vma, &leaf);
			else
				huge_protect(m, vma, &leaf);
			changed = true;
			page = leaf.first + pmd_pages(m);
			continue;
		}
		for (; page < in->end && page < leaf.first + leaf_entries(m); page++) {
			uint64_t *pte = &leaf.ptes[leaf_slot(m, page)];
			uint64_t old = *pte;

			if (!(old & PTE_PRESENT))
				continue; /* a swap entry has no permission */
			*pte = (old & (keep | ~UINT64_C(0xffffffff))) |
			       (in->flags & VMA_READ ? 0 : PTE_PROTNONE) |
			       (shared && write && !seen ? PTE_WRITE : 0) |
			       (PLANTED(19) ? old & PTE_WRITE : 0);
			if (write && !shared && may_upgrade(m, vma, &leaf, page)) {
				*pte |= PTE_WRITE;
				note_page(m, COW_CHANGE_REUSE, vma, page, pte_frame(*pte), 0, 0);
				machine_count(m, COW_COUNT_UPGRADES, 1);
			}
			changed |= *pte != old;
		}
	}
	if (changed)
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

/* mprotect_fixup for a VMA's part of a range.  Returns the VMA that covers it then. */
static uint32_t protect_vma(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end,
			    uint32_t flags)
{
	struct vma *in = vma_at(m, vma);
	uint32_t all = (in->flags & ~(uint32_t)(VMA_READ | VMA_WRITE)) | flags;

	if (all == in->flags)
		return vma;
	if ((flags & VMA_WRITE) && !(in->flags & VMA_SHARED))
		all |= VMA_ACCOUNT;
	else if (!(flags & VMA_WRITE) && !in->anon)
		all &= ~(uint32_t)VMA_ACCOUNT; /* v6.7+ gives the charge back */
	vma = vma_cut(m, vma, first, end);
	vma_at(m, vma)->flags = all;
	change_entries(m, vma);
	return vma_merge(m, vma);
}

/* do_mprotect_pkey: VMA after VMA, up to the first hole. */
static int protect_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, uint32_t flags)
{
	uint64_t page = first;

	while (page < end) {
		uint32_t vma = vma_covering(m, mm, page);

		if (!vma)
			return machine_fail(m, -ENOMEM, "nothing is mapped at 0x%llx",
					    (unsigned long long)(page << m->state.page_shift));
		if (!hugetlb_splits(m, vma, page, end) &&
		    (vma_at(m, vma)->flags & (VMA_READ | VMA_WRITE)) != flags)
			return machine_fail(m, -EINVAL, "the range cuts a hugetlb page");
		vma = protect_vma(m, vma, page, end, flags);
		page = vma_at(m, vma)->end;
	}
	return 0;
}

int cow_mprotect(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, enum cow_prot prot)
{
	struct cow_op op;
	uint64_t first;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error && (unsigned)prot > COW_PROT_RW)
		error = machine_fail(m, -EINVAL, "unknown protection");
	if (!error)
		error = vma_reserve(m, mm, first, first + pages, 0);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MPROTECT, mm, addr, pages);
	op.value = prot;
	error = op_begin(m, &op);
	if (error)
		return error;
	return op_end(m, &op, protect_range(m, mm, first, first + pages, vma_prot_flags(prot)));
}
