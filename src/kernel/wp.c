/* SPDX-License-Identifier: MIT
 *
 * Write protection that is not mprotect's: userfaultfd, after mwriteprotect_range and
 * change_pte_range, and soft-dirty tracking, after clear_refs_write.  Both leave the marker alone:
 * the page is as much the process's own as before, only its next write is wanted to be seen.
 *
 * Never decides whether a resolved page becomes writable, nor whether a pinned page may be
 * write-protected: the policy is asked.  Read numa.c next.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* ---- userfaultfd ---- */

/* change_pte_range, change_huge_pmd with MM_CP_UFFD_WP. */
static void uffd_protect(uint64_t *entry)
{
	*entry |= PTE_UFFD;
	if (!PLANTED(40))
		*entry &= ~PTE_WRITE;
}

/* The same with MM_CP_UFFD_WP_RESOLVE.  v6.3+: MM_CP_TRY_CHANGE_WRITABLE, so that entries which
 * were not protected are asked about too. */
static void uffd_resolve(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t page)
{
	const struct vma *in = vma_at(m, vma);
	uint32_t slot = leaf_slot(m, page);
	uint64_t *entry = leaf->pmd ? leaf->pmd : &leaf->ptes[slot];
	struct question question = { COW_DECIDE_UFFD, in->mm, page, entry };
	bool was_writable = *entry & PTE_WRITE;

	if (pte_is_marker(*entry)) {
		pte_empty(m, leaf, slot);
		mm_at(m, in->mm)->pages--;
		return;
	}
	/* vm_page_prot is read-only: of private memory always, and of shared memory for the first write
	 * to be seen.  So entries that were not protected lose the permission as well. */
	*entry &= ~(PTE_UFFD | PTE_WRITE);
	if (!(in->flags & VMA_WRITE) || !(*entry & PTE_PRESENT) || (in->flags & VMA_SHARED) ||
	    (*entry & (PTE_PROTNONE | PTE_SPECIAL)) || !page_ownable(m, pte_frame(*entry)) ||
	    ask(m, question, view_entry(m, vma, leaf, slot))->action != COW_ACT_WRITABLE)
		return;
	*entry |= PTE_WRITE;
	if (was_writable)
		return;
	for (uint64_t i = 0; i < (leaf->pmd ? pmd_pages(m) : 1); i++)
		note_page(m, COW_CHANGE_REUSE, vma, page + i, pte_frame(*entry) + (uint32_t)i, 0, 0);
	machine_count(m, COW_COUNT_UPGRADES, 1);
}

/* change_pte_range where nothing is mapped of a file or of shared memory (userfaultfd_wp_use_markers). */
static void uffd_mark(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	struct mm *mm = mm_at(m, vma_at(m, vma)->mm);
	struct leaf leaf;

	for (uint64_t page = first; page < end; page++) {
		leaf_make(m, &mm->root, page, &leaf, &mm->tables);
		if (leaf.ptes[leaf_slot(m, page)])
			continue;
		pte_fill(m, &leaf, leaf_slot(m, page), PTE_UFFD);
		mm->pages++;
	}
}

/* uffd_wp_range for pages of one VMA.  An anonymous page that is not there stays unprotected: so it is
 * without UFFD_FEATURE_WP_UNPOPULATED. */
static void uffd_entries(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, bool on)
{
	uint32_t mm = vma_at(m, vma)->mm;
	bool changed = false;
	struct leaf leaf;

	if (vma_at(m, vma)->flags & VMA_HUGETLB) {
		hugetlb_guard(m, vma, first, end, on);
		return;
	}
	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);) {
		if (leaf.pmd && (page != leaf.first || end - page < pmd_pages(m)))
			pmd_split(m, mm, &leaf); /* change_pmd_range: it is covered in part */
		if (leaf.pmd) {
			if (on)
				uffd_protect(leaf.pmd);
			else
				uffd_resolve(m, vma, &leaf, page);
			changed = true;
			page += pmd_pages(m);
			continue;
		}
		for (; page < end && page < leaf.first + leaf_entries(m); page++) {
			uint64_t *pte = &leaf.ptes[leaf_slot(m, page)];

			if (!*pte)
				continue;
			if (on)
				uffd_protect(pte);
			else
				uffd_resolve(m, vma, &leaf, page);
			changed = true;
		}
	}
	machine_count(m, COW_COUNT_TLB_FLUSHES, changed);
	if (!vma_at(m, vma)->object)
		return;
	if (on)
		uffd_mark(m, vma, first, end);
	else /* of markers */
		tables_prune(m, &mm_at(m, mm)->root, first, end, &mm_at(m, mm)->tables);
}

/* Tables for markers. */
static int uffd_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t low = end, high = first;

	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		if (!in->object && !(in->flags & VMA_HUGETLB))
			continue;
		low = in->start > first ? (low < in->start ? low : in->start) : first;
		high = in->end < end ? in->end : end;
	}
	return low < high ? tables_reserve(m, mm_at(m, mm)->root, low, high, 0) : 0;
}

static bool cuts_huge(const cow_machine *m, uint64_t page)
{
	return page & (pmd_pages(m) - 1);
}

/* userfaultfd_register.  Up to v5.18 private anonymous memory alone may be, and since files,
 * shared memory and hugetlb too, of which the range must cut no page at its start, nor where it
 * ends.  Holes are passed over (WRITEPROTECT: v6.4+), but something must be there. */
static int uffd_check(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool on)
{
	bool files = m->policy->flags & COW_POLICY_UFFD_FILES;
	uint32_t vma = vma_find(m, mm, first);
	bool cut;

	if (!vma || vma_at(m, vma)->start >= end)
		return machine_fail(m, on ? -EINVAL : -ENOENT, "nothing is mapped at 0x%llx",
				    (unsigned long long)(first << m->state.page_shift));
	cut = (vma_at(m, vma)->flags & VMA_HUGETLB) && cuts_huge(m, first);
	for (; on && vma && vma_at(m, vma)->start < end; vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		cut |= (in->flags & VMA_HUGETLB) && end <= in->end && cuts_huge(m, end);
		if ((in->object || (in->flags & VMA_HUGETLB)) && !files)
			return machine_fail(m, -EINVAL, "the memory at 0x%llx cannot be registered",
					    (unsigned long long)(in->start << m->state.page_shift));
	}
	return on && cut ? machine_fail(m, -EINVAL, "the range cuts a hugetlb page") : 0;
}

/* userfaultfd_register: every VMA of the range. */
static void uffd_register(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t page = first;
	uint32_t vma;

	while (page < end && (vma = vma_find(m, mm, page)) && vma_at(m, vma)->start < end) {
		if (!(vma_at(m, vma)->flags & VMA_UFFD_WP)) {
			vma = vma_cut(m, vma, page, end);
			vma_at(m, vma)->flags |= VMA_UFFD_WP;
			vma = vma_merge(m, vma);
		}
		page = vma_at(m, vma)->end;
	}
}

/* mwriteprotect_range, which goes up to the first VMA that is not registered, or of whose hugetlb
 * pages the ends of the range cut one.  Returns 0, -ENOENT or -EINVAL. */
static int uffd_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool on)
{
	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);
		uint64_t low = in->start > first ? in->start : first;

		if (!(in->flags & VMA_UFFD_WP))
			return machine_fail(m, -ENOENT, "nothing is registered at 0x%llx",
					    (unsigned long long)(low << m->state.page_shift));
		if ((in->flags & VMA_HUGETLB) && (cuts_huge(m, first) || cuts_huge(m, end)))
			return machine_fail(m, -EINVAL, "the range cuts a hugetlb page");
		uffd_entries(m, vma, low, in->end < end ? in->end : end, on);
	}
	return 0;
}

int cow_uffd_wp(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, bool on)
{
	struct cow_op op;
	uint64_t first;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		error = uffd_check(m, mm, first, first + pages, on);
	if (!error)
		error = vma_reserve(m, mm, first, first + pages, 0);
	if (!error && on)
		error = uffd_reserve(m, mm, first, first + pages);
	if (error)
		return error;
	op_set(m, &op, COW_OP_UFFD_WP, mm, addr, pages);
	op.value = on;
	error = op_begin(m, &op);
	if (error)
		return error;
	if (on)
		uffd_register(m, mm, first, first + pages);
	return op_end(m, &op, uffd_range(m, mm, first, first + pages, on));
}

/* ---- soft-dirty ---- */

/* pte_is_pinned: of what can be written of a private mapping, the policy may want to keep some. */
static bool clean_refused(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t page)
{
	const struct vma *in = vma_at(m, vma);
	uint32_t slot = leaf_slot(m, page);
	const uint64_t *entry = leaf->pmd ? leaf->pmd : &leaf->ptes[slot];
	struct question question = { COW_DECIDE_CLEAN, in->mm, page, entry };

	if (!(*entry & PTE_WRITE) || !(frame_at(m, pte_frame(*entry))->flags & FRAME_ANON))
		return false;
	return ask(m, question, view_entry(m, vma, leaf, slot))->action == COW_ACT_WRITABLE;
}

/* clear_soft_dirty, clear_soft_dirty_pmd.  A page that is kept writable stays soft-dirty too. */
static void clean_entry(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t page)
{
	uint64_t *entry = leaf->pmd ? leaf->pmd : &leaf->ptes[leaf_slot(m, page)];

	if (*entry & PTE_SWAP)
		*entry &= ~PTE_SOFT;
	else if (*entry && (PLANTED(41) || !clean_refused(m, vma, leaf, page)))
		*entry &= ~(PTE_SOFT | PTE_WRITE);
}

static void clean_vma(cow_machine *m, uint32_t vma)
{
	const struct vma *in = vma_at(m, vma);
	struct leaf leaf;

	for (uint64_t page = in->start; leaf_next(m, mm_at(m, in->mm)->root, &page, in->end, &leaf);) {
		uint64_t end = leaf.first + leaf_entries(m);

		if (leaf.pmd) {
			clean_entry(m, vma, &leaf, page);
			page = end;
			continue;
		}
		for (; page < end && page < in->end; page++)
			clean_entry(m, vma, &leaf, page);
	}
}

int cow_clear_refs(cow_machine *m, cow_mm handle)
{
	struct cow_op op;
	uint32_t mm;
	int error = mm_resolve(m, handle, &mm);

	if (error)
		return error;
	op_set(m, &op, COW_OP_CLEAR_REFS, mm, 0, m->pages);
	error = op_begin(m, &op);
	if (error)
		return error;
	for (uint32_t vma = mm_at(m, mm)->vma_first; vma; vma = vma_at(m, vma)->next) {
		/* walk_page_range calls clear_refs back for no hugetlb page. */
		if (!(vma_at(m, vma)->flags & VMA_HUGETLB))
			clean_vma(m, vma);
		if (!PLANTED(42))
			vma_at(m, vma)->flags |= VMA_TRACKED;
	}
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1); /* flush_tlb_mm, whatever was found */
	return op_end(m, &op, 0);
}
