/* SPDX-License-Identifier: MIT
 *
 * PMDs that map folios: making and taking away such a mapping, and splitting it into PTEs.  Whether
 * that is wanted is decided elsewhere.
 */
#ifndef COWLAB_MACHINE_PMD_H
#define COWLAB_MACHINE_PMD_H

#include "machine/folio.h"

/* True if huge pages are possible at all. */
static inline bool pmd_possible(const cow_machine *m)
{
	return pmd_order(m) >= 2;
}

/* The first page of the huge page that a page is in. */
static inline uint64_t pmd_first(const cow_machine *m, uint64_t page)
{
	return page & ~(pmd_pages(m) - 1);
}

/* Splits the PMD of an mm into PTEs that map the same, its marker replicated; *leaf is the table
 * then. Needs a table in reserve, and one more where the marker lives in an extra table.  Never
 * of hugetlb. */
void pmd_split(cow_machine *m, uint32_t mm, struct leaf *leaf);
/* The same on the way to splitting the folio: the PTEs are as dirty as the PMD was, whatever
 * COW_POLICY_SPLIT_CLEANS says. */
void pmd_split_alike(cow_machine *m, uint32_t mm, struct leaf *leaf);
/* The same if a PMD maps pages on both sides of a page (vma_adjust_trans_huge). */
void pmd_split_at(cow_machine *m, uint32_t mm, uint64_t page);
/* Reserves what splits at both ends of a range may need.  Returns 0 or -ENOMEM. */
int pmd_split_reserve(cow_machine *m);

#endif
