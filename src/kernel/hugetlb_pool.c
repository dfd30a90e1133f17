/* SPDX-License-Identifier: MIT
 *
 * The hugetlb pool, after mm/hugetlb.c: alloc_hugetlb_folio and the reservations.
 *
 * A private mapping is promised its pages when it is made (VMA_RESERVED): so many pages of the
 * pool that are free are reserved for it as it has PMDs that do not map an anonymous page yet.
 * That is a function of the page tables, so there is no resv_map; a page that is given up by
 * madvise dontneed is promised again, as since v6.9.  Shared anonymous memory keeps its promise in
 * the object, by number.  Children have none.  Who gets a page, and whose is taken away for it, is
 * in hugetlb.c.
 */
#include "kernel/hugetlb.h"
#include "machine/plant.h"

/* Pages of the pool that nobody was promised. */
static uint32_t unreserved(const cow_machine *m)
{
	uint32_t free = m->state.pool_free, reserved = m->state.pool_reserved;

	return free > reserved ? free - reserved : 0;
}

bool hugetlb_spare(const cow_machine *m, uint64_t pages)
{
	return pages <= unreserved(m);
}

uint32_t hugetlb_take(cow_machine *m, bool reserved)
{
	uint32_t folio;

	if (reserved ? !m->state.pool_free : !unreserved(m) && !(PLANTED(55) && m->state.pool_free))
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
		return machine_fail(m, -ENOMEM, "%u pages of the hugetlb pool are free",
				    unreserved(m));
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
	m->state.pool_reserved += pages;
}

void hugetlb_unmap(cow_machine *m, uint32_t index)
{
	const struct vma *vma = vma_at(m, index);

	m->state.pool_reserved -= (uint32_t)((vma->end - vma->start) >> m->state.bits[0]);
}

void hugetlb_restore(cow_machine *m, uint32_t vma, const struct leaf *leaf)
{
	if ((vma_at(m, vma)->flags & VMA_RESERVED) && maps_anon(m, *leaf->pmd))
		m->state.pool_reserved++;
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
