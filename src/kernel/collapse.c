/* SPDX-License-Identifier: MIT
 *
 * Making huge pages of small ones, and the other way: madvise collapse, after madvise_collapse,
 * hpage_collapse_scan_pmd and collapse_huge_page; and the splitting of PMDs on request.
 *
 * A collapse copies, even where the pages lie in one folio already, as Linux does with anonymous
 * memory. Never decides whether a page may be taken: the policy is asked of each.  Read hugetlb.c
 * next.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* What became of one huge page (enum scan_result): id, errno, whether the call ends with it. */
#define SCANS(X)                                                                                 \
	X(SUCCEED, 0, false)                                                                     \
	X(PMD_MAPPED, 0, false)                                                                  \
	X(PMD_NULL, -EINVAL, false) X(PMD_NONE, -EINVAL, true)                                   \
	X(PTE_UFFD_WP, -EINVAL, false) X(PAGE_COUNT, -EAGAIN, false) X(PAGE_RO, -EINVAL, false)  \
		X(EXCEED_NONE_PTE, -EBUSY, true) X(ALLOC_HUGE_PAGE_FAIL, -ENOMEM, true)          \
			X(PAGE_ANON, -EINVAL, true) X(FAIL, -EINVAL, true)

enum scan {
#define X(id, error, ends) SCAN_##id,
	SCANS(X)
#undef X
};

static const struct {
	int error; /* madvise_collapse_errno */
	bool ends;
} scans[] = {
#define X(id, error, ends) { error, ends },
	SCANS(X)
#undef X
};

/* One huge page on its way; nothing is kept elsewhere between its steps. */
struct collapse {
	uint32_t mm, vma;
	uint64_t first;   /* its first page */
	struct leaf leaf; /* of the pages that are there */
	uint32_t swapped; /* pages that have to come back first */
	bool writable;    /* one of them is */
	uint32_t folio;   /* new */
};

/* Looks at the page of a slot: may it be collapsed? */
static enum scan scan_page(cow_machine *m, struct collapse *at, uint32_t slot)
{
	uint64_t *pte = &at->leaf.ptes[slot];
	struct question question = { COW_DECIDE_COLLAPSE, at->mm, at->first + slot, pte };

	if (!*pte || (*pte & PTE_SPECIAL))
		return vma_at(m, at->vma)->flags & VMA_UFFD_WP ? SCAN_EXCEED_NONE_PTE
							       : SCAN_SUCCEED;
	if (*pte & PTE_UFFD)
		return SCAN_PTE_UFFD_WP;
	if (*pte & PTE_SWAP) {
		at->swapped++;
		return SCAN_SUCCEED;
	}
	if (ask(m, question, view_entry(m, at->vma, &at->leaf, slot))->action != COW_ACT_ALLOW &&
	    !PLANTED(38))
		return SCAN_PAGE_COUNT;
	at->writable |= (*pte & PTE_WRITE) != 0;
	return SCAN_SUCCEED;
}

/* hpage_collapse_scan_pmd, and again __collapse_huge_page_isolate. */
static enum scan scan_pages(cow_machine *m, struct collapse *at)
{
	enum scan scan = SCAN_SUCCEED;

	at->swapped = 0;
	at->writable = !(m->policy->flags & COW_POLICY_COLLAPSE_WRITABLE);
	for (uint32_t slot = 0; slot < leaf_entries(m) && scan == SCAN_SUCCEED; slot++)
		scan = scan_page(m, at, slot);
	return scan == SCAN_SUCCEED && !at->writable ? SCAN_PAGE_RO : scan;
}

/* alloc_charge_folio, then hugepage_vma_revalidate. */
static enum scan collapse_alloc(cow_machine *m, struct collapse *at)
{
	const struct vma *vma = vma_at(m, at->vma);

	at->folio = folio_alloc(m, pmd_order(m), false);
	if (!at->folio)
		return SCAN_ALLOC_HUGE_PAGE_FAIL;
	folio_make_anon(m, at->folio, vma->anon, vma_pgoff(vma, at->first));
	return vma->anon ? SCAN_SUCCEED : SCAN_PAGE_ANON;
}

/* __collapse_huge_page_swapin: a read fault for each, by the rules of swap. */
static enum scan collapse_swap_in(cow_machine *m, struct collapse *at)
{
	for (uint32_t slot = 0; slot < leaf_entries(m); slot++) {
		struct fault fault = { .mm = at->mm,
				       .vma = at->vma,
				       .page = at->first + slot,
				       .leaf = at->leaf,
				       .slot = slot };

		if ((at->leaf.ptes[slot] & PTE_SWAP) && fault_failed(fault_swap(m, &fault)))
			return SCAN_FAIL;
	}
	batch_drain(m, at->mm);
	return scan_pages(m, at);
}

/* __collapse_huge_page_copy */
static void collapse_copy(cow_machine *m, const struct collapse *at)
{
	uint32_t head = folio_at(m, at->folio)->head;

	for (uint32_t slot = 0; slot < leaf_entries(m); slot++) {
		/* Where there is no page, that is as good as the zero page. */
		uint32_t old = pte_frame(at->leaf.ptes[slot]);

		frame_body(m, head + slot)->value = frame_body(m, old)->value;
		note_page(m, COW_CHANGE_COLLAPSE, at->vma, at->first + slot, head + slot, 0, old);
	}
}

/* __collapse_huge_page_copy_succeeded: the table and what it maps go. */
static void collapse_unmap(cow_machine *m, struct collapse *at)
{
	struct mm *mm = mm_at(m, at->mm);
	struct table_info *info = table_info(m, at->leaf.table);

	note_entries(m, COW_CHANGE_UNMAP, at->vma, at->first, leaf_entries(m), at->leaf.ptes);
	for (uint32_t slot = 0; slot < leaf_entries(m); slot++) {
		uint64_t pte = at->leaf.ptes[slot];

		if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_look(m, &at->leaf, slot))
			side_marker_put(m, &at->leaf, slot, false);
		at->leaf.ptes[slot] = 0;
		if (pte && !(pte & PTE_SPECIAL))
			frame_unmap(m, pte_frame(pte), at->mm);
	}
	mm->pages -= info->used;
	info->used = 0;
	tables_prune(m, &mm->root, at->first, at->first + pmd_pages(m), &mm->tables);
}

/* The PMD is dirty, and writable where the VMA is, whatever the PTEs were. */
static void collapse_install(cow_machine *m, const struct collapse *at)
{
	const struct vma *vma = vma_at(m, at->vma);
	struct mm *mm = mm_at(m, at->mm);
	uint64_t pmd =
		pte_make(folio_at(m, at->folio)->head,
			 entry_flags(vma) | entry_written(vma) | PTE_DIRTY | PTE_SOFT | PTE_HUGE);

	folio_map_new(m, at->folio, at->mm);
	pmd_marker_put(m, &pmd, true);
	pmd_fill(m, &mm->root, at->first, &mm->tables, pmd);
	mm->pages += pmd_pages(m);
	note_pmd(m, COW_CHANGE_MAP_HUGE, at->vma, at->first, pmd);
	batch_drain(m, at->mm);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	machine_count(m, COW_COUNT_COLLAPSES, 1);
}

/* find_pmd_or_thp_or_none: a table of PMDs is there, with nothing in this one. */
static bool table_of_pmds(cow_machine *m, const struct collapse *at)
{
	uint64_t span = pmd_pages(m) << m->state.bits[1];
	uint64_t page = at->first & ~(span - 1);
	struct leaf leaf;

	return leaf_next(m, mm_at(m, at->mm)->root, &page, (at->first | (span - 1)) + 1, &leaf);
}

/* collapse_huge_page */
static enum scan collapse_one(cow_machine *m, struct collapse *at)
{
	enum scan scan;
	struct leaf leaf;

	if (pmd_find(m, mm_at(m, at->mm)->root, at->first, &leaf))
		return SCAN_PMD_MAPPED;
	if (!leaf_find(m, mm_at(m, at->mm)->root, at->first, &at->leaf))
		return table_of_pmds(m, at) ? SCAN_PMD_NONE : SCAN_PMD_NULL;
	at->folio = 0;
	scan = scan_pages(m, at);
	if (scan == SCAN_SUCCEED)
		scan = collapse_alloc(m, at);
	if (scan == SCAN_SUCCEED && at->swapped)
		scan = collapse_swap_in(m, at);
	if (scan != SCAN_SUCCEED) {
		if (at->folio)
			folio_put(m, at->folio, 1);
		return scan;
	}
	collapse_copy(m, at);
	collapse_unmap(m, at);
	collapse_install(m, at);
	return SCAN_SUCCEED;
}

/* lru_add_drain_all */
static void drain_all(cow_machine *m)
{
	for (uint32_t mm = 1; mm < m->pools[POOL_MM].used; mm++)
		if (mm_at(m, mm)->number)
			batch_drain(m, mm);
}

/* The part of a range that is made of whole huge pages. */
static uint64_t whole_first(const cow_machine *m, uint64_t first)
{
	return pmd_first(m, first + pmd_pages(m) - 1);
}

/* madvise_collapse */
int collapse_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	const struct vma *in = vma_at(m, vma);
	struct collapse at = { .mm = in->mm, .vma = vma };
	uint64_t low = whole_first(m, first), high = pmd_first(m, end);
	enum scan last = SCAN_SUCCEED;

	/* thp_vma_allowable_order, which wants an anon_vma of all but a fault; and Linux counts a range
	 * without any huge page as none done of many */
	if (!pmd_possible(m) || !in->anon || in->object || (in->flags & VMA_HUGETLB) ||
	    whole_first(m, in->start) >= pmd_first(m, in->end) || low > high)
		return -EINVAL;
	drain_all(m);
	for (at.first = low; at.first < high; at.first += pmd_pages(m)) {
		enum scan scan = collapse_one(m, &at);

		if (scans[scan].error)
			last = scan;
		if (scans[scan].ends)
			break;
	}
	return scans[last].error;
}

int collapse_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t folios = 0, swapped = 0, most = m->state.frames >> pmd_order(m);
	struct leaf leaf;
	int error;

	if (!pmd_possible(m))
		return 0;
	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);
	     page = leaf.first + leaf_entries(m)) {
		if (leaf.pmd)
			continue;
		folios++;
		for (uint32_t slot = 0; slot < leaf_entries(m); slot++)
			swapped += (leaf.ptes[slot] & PTE_SWAP) != 0;
	}
	if (!folios)
		return 0;
	/* What swapping in may need is what faults may need; then its frames again, with the
	 * folios. */
	error = fault_reserve(m, mm, first, end, false, 1);
	/* Not only of those frames that are free now: each collapse gives back the small pages. */
	if (folios > most)
		folios = most;
	return error ? error : folio_reserve(m, 2 * swapped, pmd_order(m), folios);
}

/* ---- splitting ---- */

/* The pages of a range whose PMD was split. */
static uint64_t split_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t split = 0, next;
	struct leaf leaf;

	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);
	     page = next) {
		next = leaf.first + leaf_entries(m);
		if (next > end)
			next = end;
		if (!leaf.pmd || (vma_at(m, vma_covering(m, mm, page))->flags & VMA_HUGETLB))
			continue;
		pmd_split(m, mm, &leaf);
		split += next - page;
	}
	return split;
}

int cow_split(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
	      struct cow_result *result)
{
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (!error && m->state.pmds)
		error = tables_reserve(m, mm_at(m, call.mm)->root, call.first, call.end, 0);
	if (!error)
		error = call_begin(m, &call, COW_OP_SPLIT, 0);
	if (error)
		return error;
	result = call.result;
	result->done = split_range(m, call.mm, call.first, call.end);
	result->outcome = result->done ? COW_OUT_MOVED : COW_OUT_REFUSED;
	result->counts[result->outcome] = result->done ? result->done : pages;
	return op_end(m, &call.op, 0);
}
