/* SPDX-License-Identifier: MIT
 *
 * What hugetlb.c and hugetlb_pool.c share; what the others call is in kernel.h.
 */
#ifndef COWLAB_KERNEL_HUGETLB_H
#define COWLAB_KERNEL_HUGETLB_H

#include "kernel/kernel.h"

/* alloc_hugetlb_folio: a page of zeroes, from a reservation or from what is left; 0: there is
 * none. */
uint32_t hugetlb_take(cow_machine *m, bool reserved);

/* True if the PMD maps a private page; it has used the page that it was promised then. */
static inline bool maps_anon(const cow_machine *m, uint64_t pmd)
{
	return frame_at(m, pte_frame(pmd))->flags & FRAME_ANON;
}

/* True if the page lies behind the end of the VMA's file. */
static inline bool hugetlb_behind_end(const cow_machine *m, const struct vma *vma, uint64_t page)
{
	return vma->object && (object_at(m, vma->object)->flags & OBJECT_FILE) &&
	       vma_pgoff(vma, page) >= object_at(m, vma->object)->pages;
}

/* Empties a PMD, or leaves a note (PTE_UFFD, PMD_SPENT; 0: none).  Returns by how much mm->pages
 * is less.  The folio is the caller's to unmap, and the tables to prune. */
uint64_t hugetlb_clear(cow_machine *m, const struct leaf *leaf, uint64_t note);
/* A page, or a note, of a VMA with VMA_RESERVED is about to be zapped.  Returns PMD_SPENT if the
 * promise of it stays used up, else 0. */
uint64_t hugetlb_renew(cow_machine *m, uint32_t vma, const struct leaf *leaf, bool unmap);

#endif
