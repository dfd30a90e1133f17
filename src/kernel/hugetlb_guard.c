/* SPDX-License-Identifier: MIT
 *
 * What userfaultfd write-protects of hugetlb (v5.19+), after hugetlb_change_protection, and the
 * end of a hugetlb page, after __unmap_hugepage_range, which leaves that protection behind.
 *
 * A huge page is protected whole: its PMD has the mark, or, where nothing is mapped, is a note that
 * has it, in private memory too.  Another note says that a promise is used up.  A note counts in
 * mm->pages as the PMD does that it stands for.  Never takes pages of the pool, nor decides
 * anything: faults are in hugetlb.c, promises in hugetlb_pool.c, the calls in wp.c.
 */
#include "kernel/hugetlb.h"
#include "machine/plant.h"

void hugetlb_guard(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, bool on)
{
	struct mm *mm = mm_at(m, vma_at(m, vma)->mm);
	struct leaf leaf;

	for (uint64_t page = first; page < end; page += pmd_pages(m)) {
		bool there = pmd_find(m, mm->root, page, &leaf);

		if (there && !pmd_is_note(*leaf.pmd)) {
			/* vm_page_prot is read-only: of private memory always, and of shared
			 * memory for the first write to be seen.  So what was not protected loses
			 * the permission. */
			*leaf.pmd &= ~(PTE_WRITE | PTE_UFFD);
			*leaf.pmd |= on ? PTE_UFFD : 0;
		} else if (there) {
			mm->pages -= hugetlb_clear(m, &leaf, (*leaf.pmd & PMD_SPENT) |
								     (on ? PTE_UFFD : 0));
		} else if (on) {
			pmd_fill(m, &mm->root, page, &mm->tables, PTE_HUGE | PTE_UFFD);
			mm->pages += pmd_pages(m);
		}
	}
	tables_prune(m, &mm->root, first, end, &mm->tables); /* of notes */
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

uint64_t hugetlb_clear(cow_machine *m, const struct leaf *leaf, uint64_t note)
{
	if (note) {
		*leaf->pmd = PTE_HUGE | note;
		return 0;
	}
	pmd_empty(m, leaf);
	return pmd_pages(m);
}

uint64_t hugetlb_zap(cow_machine *m, uint32_t vma, const struct leaf *leaf, unsigned flags)
{
	uint64_t pmd = *leaf->pmd, gone;
	uint64_t note = flags & ZAP_MARKERS || PLANTED(75) ? 0 : pmd & PTE_UFFD;

	note |= hugetlb_renew(m, vma, leaf, flags & ZAP_UNMAP);
	if (pmd_is_note(pmd))
		return hugetlb_clear(m, leaf, note);
	note_pmd(m, COW_CHANGE_UNMAP_HUGE, vma, leaf->first, pmd);
	gone = hugetlb_clear(m, leaf, note);
	folio_unmap_pmd(m, frame_at(m, pte_frame(pmd))->owner, vma_at(m, vma)->mm);
	return gone;
}

void hugetlb_move_note(cow_machine *m, uint32_t index, const struct leaf *leaf, uint64_t to,
		       uint64_t kept)
{
	struct mm *mm = mm_at(m, index);
	uint64_t note = *leaf->pmd & kept;

	pmd_empty(m, leaf);
	if (note & (PTE_UFFD | PMD_SPENT))
		pmd_fill(m, &mm->root, to, &mm->tables, note);
	else
		mm->pages -= pmd_pages(m);
}
