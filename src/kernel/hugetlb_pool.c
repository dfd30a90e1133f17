/* SPDX-License-Identifier: MIT
 *
 * The hugetlb pool, after mm/hugetlb.c: alloc_hugetlb_folio and the reservations.
 *
 * A private mapping is promised its pages when it is made (VMA_RESERVED): so many pages of the
 * pool that are free are reserved for it as it has PMDs that neither map an anonymous page nor say
 * that their promise is used up.  That is a function of the page tables, so there is no resv_map.
 * Shared anonymous memory keeps its promise in the object, by number.  Children have none.  Who gets
 * a page, and whose is taken away for it, is in hugetlb.c.
 */
#include "kernel/hugetlb.h"
#include "machine/plant.h"

/* Pages of the pool that nobody was promised; where some are promised that are still in use, more
 * than there are. */
static int64_t unreserved(const cow_machine *m)
{
	return (int64_t)m->state.pool_free - m->state.pool_reserved;
}

bool hugetlb_spare(const cow_machine *m, uint64_t pages)
{
	/* hugetlb_acct_memory: gather_surplus_pages, and then allowed_mems_nr */
	return pages <= m->state.pool_free && (int64_t)pages <= unreserved(m);
}

uint32_t hugetlb_take(cow_machine *m, bool reserved)
{
	uint32_t folio;

	if (!m->state.pool_free || (!reserved && unreserved(m) <= 0 && !PLANTED(55)))
		return 0;
	folio = folio_alloc(m, pmd_order(m), true);
	if (!folio)
		return 0;
	folio_at(m, folio)->flags = FOLIO_HUGETLB;
	m->state.pool_free--;
	if (reserved)
		m->state.pool_reserved--;
	return folio;
}

uint32_t hugetlb_page(cow_machine *m, uint32_t object, uint64_t index, bool reserved)
{
	uint32_t folio = hugetlb_take(m, reserved);

	if (folio) {
		folio_make_shared(m, folio, object, index);
		object_add_huge(m, object, index, folio);
	}
	return folio;
}

int hugetlb_room(cow_machine *m, uint64_t first, uint64_t pages)
{
	if ((first | pages) & (pmd_pages(m) - 1))
		return machine_fail(m, -EINVAL, "hugetlb memory has whole huge pages");
	if (!hugetlb_spare(m, pages >> m->state.bits[0]))
		return machine_fail(m, -ENOMEM, "%lld pages of the hugetlb pool are free",
				    (long long)unreserved(m));
	return 0;
}

void hugetlb_map(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	uint32_t pages = (uint32_t)((vma->end - vma->start) >> m->state.bits[0]);

	if (!(vma->flags & VMA_SHARED)) {
		vma->flags |= VMA_RESERVED;
	} else {
		if (object_at(m, vma->object)->flags & OBJECT_FILE)
			return;
		object_at(m, vma->object)->reserved += pages;
	}
	m->state.pool_reserved += (int32_t)pages;
}

void hugetlb_unmap(cow_machine *m, uint32_t index)
{
	const struct vma *vma = vma_at(m, index);

	m->state.pool_reserved -= (int32_t)((vma->end - vma->start) >> m->state.bits[0]);
}

/* v6.9+: __unmap_hugepage_range renews the promise of a page, and whoever frees the page counts it
 * (free_huge_folio).  v6.12.117 and v7.3 do not where others map it. */
static bool renews(const cow_machine *m, const struct folio *folio)
{
	unsigned flags = m->policy->flags;

	return flags & COW_POLICY_HUGETLB_RENEWS &&
	       (folio->mapcount == 1 || flags & COW_POLICY_HUGETLB_RENEWS_SHARED);
}

uint64_t hugetlb_renew(cow_machine *m, uint32_t vma, const struct leaf *leaf, bool unmap)
{
	uint64_t pmd = *leaf->pmd;

	if (!(vma_at(m, vma)->flags & VMA_RESERVED) ||
	    (pmd_is_note(pmd) ? !(pmd & PMD_SPENT) : !maps_anon(m, pmd)))
		return 0;
	if (!pmd_is_note(pmd) && renews(m, folio_of(m, pte_frame(pmd))) && !PLANTED(79)) {
		folio_of(m, pte_frame(pmd))->flags |= FOLIO_PROMISED;
		return 0;
	}
	m->state.pool_reserved += unmap; /* hugetlb_unmap gives back all that was promised */
	return unmap ? 0 : PMD_SPENT;
}

uint64_t hugetlb_length(const cow_machine *m, uint64_t pages)
{
	if (!pmd_possible(m) || pages >= m->pages)
		return pages;
	return (pages + pmd_pages(m) - 1) & ~(pmd_pages(m) - 1);
}

bool hugetlb_splits(const cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	const struct vma *in = vma_at(m, vma);

	return !(in->flags & VMA_HUGETLB) ||
	       !((in->start < first ? first & (pmd_pages(m) - 1) : 0) |
		 (in->end > end ? end & (pmd_pages(m) - 1) : 0));
}

bool hugetlb_aligned(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	const uint64_t ends[2] = { first, end };

	for (int i = 0; i < 2; i++) {
		uint32_t vma = ends[i] & (pmd_pages(m) - 1) ? vma_look(m, mm, ends[i]) : 0;

		if (vma && vma_at(m, vma)->start < ends[i] && (vma_at(m, vma)->flags & VMA_HUGETLB))
			return false;
	}
	return true;
}

bool hugetlb_starved(const cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t index = vma_look(m, mm, page);
	const struct vma *vma = vma_at(m, index);

	return index && vma->start <= page && (vma->flags & VMA_HUGETLB) &&
	       !hugetlb_behind_end(m, vma, page);
}
