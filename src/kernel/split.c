/* SPDX-License-Identifier: MIT
 *
 * split_folio: makes base pages of a large folio, wherever it is mapped, for those who can only do
 * with base pages (KSM, UFFDIO_MOVE).  A folio with a reference that no mapping explains stays
 * whole, and so do its PMDs, as in can_split_folio.  Never decides whether a split is wanted.
 */
#include "kernel/split.h"

int split_folio_reserve(cow_machine *m)
{
	int error = machine_reserve(m, POOL_TABLE, 2 * (uint64_t)m->state.pmds);

	return error ? error : machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
}

/* Finds one PMD: tables must not change while the reverse map is walked. */
static bool find_pmd(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	(void)m;
	if (!mapping->leaf.pmd)
		return true;
	*(struct mapping *)ctx = *mapping;
	return false;
}

bool split_folio(cow_machine *m, uint32_t frame)
{
	uint32_t index = frame_at(m, frame)->owner;
	const struct folio *folio = folio_at(m, index);

	if ((folio->flags & FOLIO_HUGETLB) || folio->refcount != folio->mapcount)
		return false;
	while (folio->entire) {
		struct mapping at = { 0 };

		folio_rmap_walk(m, index, find_pmd, &at);
		if (!at.leaf.pmd)
			return false;
		pmd_split(m, vma_at(m, at.vma)->mm, &at.leaf);
	}
	folio_split(m, index);
	return true;
}
