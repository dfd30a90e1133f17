/* SPDX-License-Identifier: MIT
 *
 * Transparent huge pages: first touches, and write faults on a PMD; after mm/huge_memory.c and
 * alloc_anon_folio.  Never decides whether a huge page is reused, copied or split: the policy is
 * asked.  Nothing here walks the pages of a folio one by one unless somebody watches.  Read
 * thp_whole.c next: what fork, munmap, mprotect and mremap do to a PMD; then collapse.c.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

void note_pages(cow_machine *m, enum cow_change_kind kind, uint32_t vma, uint64_t first,
		const struct folio *folio, uint32_t from)
{
	if (m->observer_count)
		for (uint32_t i = 0; i < folio_frames(folio); i++)
			note_page(m, kind, vma, first + i, folio->head + i, 0, from ? from + i : 0);
}

/* ---- first touches ---- */

/* thp_vma_suitable_order: the aligned range of a page lies within the VMA. */
static bool fits(const struct vma *vma, uint64_t page, uint32_t order)
{
	uint64_t first = page >> order << order;

	return first >= vma->start && vma->end - first >= UINT64_C(1) << order;
}

/* The order that a first touch of the VMA takes; 0: a base page's. */
static uint32_t touch_order(const cow_machine *m, const struct vma *vma)
{
	if (!(vma->flags & VMA_HUGEPAGE) || vma->object || !pmd_possible(m))
		return 0;
	return vma->order ? vma->order : pmd_order(m);
}

/* A PMD maps the fault's huge page now. */
static void install_pmd(cow_machine *m, struct fault *fault, uint64_t pmd)
{
	struct mm *mm = mm_at(m, fault->mm);

	pmd_fill(m, &mm->root, fault->page, &mm->tables, pmd);
	mm->pages += pmd_pages(m);
	pmd_find(m, mm->root, fault->page, &fault->leaf);
}

/* do_huge_pmd_anonymous_page, read: the huge zero page.  Unlike a base page's fault it has
 * prepared the anon_vma by then. */
static enum cow_outcome fault_huge_zero(cow_machine *m, struct fault *fault)
{
	anon_prepare(m, fault->vma);
	install_pmd(m, fault, pte_make(0, PTE_PRESENT | PTE_YOUNG | PTE_SPECIAL | PTE_HUGE));
	machine_count(m, COW_COUNT_ZEROS, 1);
	return COW_OUT_ZERO;
}

/* A new folio for the huge page of a fault, with one reference, which its PMD will be.  0: no
 * room. */
static uint32_t huge_alloc(cow_machine *m, const struct fault *fault)
{
	uint32_t folio = folio_alloc(m, pmd_order(m), false);
	uint64_t first = pmd_first(m, fault->page);

	if (!folio)
		return 0;
	anon_prepare(m, fault->vma);
	folio_make_anon(m, folio, vma_at(m, fault->vma)->anon,
			vma_pgoff(vma_at(m, fault->vma), first));
	folio_map_new(m, folio, fault->mm);
	return folio;
}

/* map_anon_folio_pmd: dirty whatever the VMA allows, and its process's own. */
static uint64_t huge_entry(cow_machine *m, const struct fault *fault, uint32_t folio,
			   uint64_t flags)
{
	uint64_t pmd = pte_make(folio_at(m, folio)->head,
				entry_flags(vma_at(m, fault->vma)) | PTE_HUGE | flags);

	pmd_marker_put(m, &pmd, true);
	return pmd;
}

/* A large folio does not wait in the LRU batch: it drains it. */
static void huge_lru_add(cow_machine *m, uint32_t mm)
{
	if (m->state.lru_batch)
		batch_drain(m, mm);
}

static enum cow_outcome fault_pmd(cow_machine *m, struct fault *fault)
{
	uint32_t folio;

	if (!(fault->flags & FAULT_WRITE))
		return fault_huge_zero(m, fault);
	folio = huge_alloc(m, fault);
	if (!folio)
		return COW_OUT_NONE;
	install_pmd(m, fault,
		    huge_entry(m, fault, folio,
			       entry_written(vma_at(m, fault->vma)) | PTE_DIRTY | PTE_SOFT));
	note_pages(m, COW_CHANGE_FRESH, fault->vma, fault->leaf.first, folio_at(m, folio), 0);
	huge_lru_add(m, fault->mm);
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* pte_range_none */
static bool range_none(const struct leaf *leaf, uint32_t slot, uint32_t pages)
{
	uint64_t any = 0;

	for (uint32_t i = 0; i < pages; i++)
		any |= leaf->ptes[slot + i];
	return !any;
}

/* set_ptes: maps the pages of a new folio from a slot on. */
static void install_ptes(cow_machine *m, const struct fault *fault, uint32_t slot, uint32_t index)
{
	const struct vma *vma = vma_at(m, fault->vma);
	const struct folio *folio = folio_at(m, index);
	uint64_t flags = entry_flags(vma) | entry_written(vma) |
			 (m->state.marker == COW_MARKER_PTE ? PTE_MARKER : 0);
	uint32_t pages = folio_frames(folio);

	for (uint32_t i = 0; i < pages; i++)
		fault->leaf.ptes[slot + i] = pte_make(folio->head + i, flags);
	if (m->state.marker >= COW_MARKER_ADJACENT)
		for (uint32_t i = 0; i < pages; i++)
			side_marker_put(m, &fault->leaf, slot + i, true);
	table_info(m, fault->leaf.table)->used += pages;
	mm_at(m, fault->mm)->pages += pages;
}

/* do_anonymous_page with a large folio: an aligned range where no page is yet. */
static enum cow_outcome fault_large(cow_machine *m, struct fault *fault, uint32_t order)
{
	uint64_t first = fault->page >> order << order;
	uint32_t slot = leaf_slot(m, first);
	uint32_t folio;

	/* v6.8+: alloc_anon_folio: userfaultfd wants each page to fault */
	if (!(fault->flags & FAULT_WRITE) || (vma_at(m, fault->vma)->flags & VMA_UFFD_WP))
		return COW_OUT_NONE;
	if (leaf_of(m, fault->mm, fault->page, &fault->leaf) &&
	    !range_none(&fault->leaf, slot, 1u << order) && !PLANTED(33))
		return COW_OUT_NONE;
	folio = folio_alloc(m, order, false);
	if (!folio)
		return COW_OUT_NONE;
	leaf_make_of(m, fault->mm, fault->page, &fault->leaf);
	anon_prepare(m, fault->vma);
	folio_make_mapped(m, folio, vma_at(m, fault->vma)->anon,
			  vma_pgoff(vma_at(m, fault->vma), first), fault->mm);
	install_ptes(m, fault, slot, folio);
	note_pages(m, COW_CHANGE_FRESH, fault->vma, first, folio_at(m, folio), 0);
	huge_lru_add(m, fault->mm);
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

enum cow_outcome huge_fault(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint32_t order = touch_order(m, vma);
	struct leaf leaf;

	fault->slot = leaf_slot(m, fault->page);
	if (!order || (!fits(vma, fault->page, order) && !PLANTED(34)))
		return COW_OUT_NONE;
	if (order < pmd_order(m))
		return fault_large(m, fault, order);
	if (leaf_of(m, fault->mm, fault->page, &leaf))
		return COW_OUT_NONE; /* some page of it is there */
	return fault_pmd(m, fault);
}

/* Folios that touches of a part of a leaf table's pages may take. */
static uint64_t wanted_of_table(const cow_machine *m, const struct leaf *leaf, uint64_t first,
				uint64_t end, uint32_t order)
{
	uint64_t wanted = 0;

	for (uint64_t page = first >> order << order; page < end; page += UINT64_C(1) << order)
		wanted += range_none(leaf, leaf_slot(m, page), 1u << order);
	return wanted;
}

/* Huge pages of a hugetlb range that are not there, or would be copied by a write. */
static uint64_t wanted_of_pool(const cow_machine *m, const struct vma *vma, uint64_t first,
			       uint64_t end)
{
	uint64_t wanted = 0;
	struct leaf leaf;

	for (uint64_t page = pmd_first(m, first); page < end; page += pmd_pages(m))
		wanted += !pmd_find(m, mm_at(m, vma->mm)->root, page, &leaf) ||
			  !(*leaf.pmd & PTE_WRITE);
	return wanted < m->state.pool_free ? wanted : m->state.pool_free;
}

/* Where nothing is advised: huge zero pages, which may be written all the same. */
static uint64_t wanted_of_zero(const cow_machine *m, const struct vma *vma, uint64_t first,
			       uint64_t end)
{
	uint64_t left = (m->state.frames - m->state.frames_used) >> pmd_order(m);
	uint64_t wanted = 0;
	struct leaf leaf;

	if (!(m->policy->flags & COW_POLICY_HUGE_ZERO_UNADVISED) || !m->state.pmds || vma->object)
		return 0;
	for (uint64_t page = pmd_first(m, first); page < end; page += pmd_pages(m))
		wanted += pmd_find(m, mm_at(m, vma->mm)->root, page, &leaf) &&
			  (*leaf.pmd & PTE_SPECIAL);
	return wanted < left ? wanted : left;
}

uint64_t huge_wanted(const cow_machine *m, const struct vma *vma, uint64_t first, uint64_t end,
		     uint32_t *order)
{
	uint32_t root = mm_at(m, vma->mm)->root;
	uint32_t small = touch_order(m, vma);
	uint64_t left = m->state.frames - m->state.frames_used;
	uint64_t wanted = 0, next;
	struct leaf leaf;

	*order = small ? small : pmd_order(m);
	if (vma->flags & VMA_HUGETLB)
		return wanted_of_pool(m, vma, first, end);
	if (!small)
		return wanted_of_zero(m, vma, first, end);
	for (uint64_t page = first; page < end; page = next) {
		next = pmd_first(m, page) + pmd_pages(m);
		if (pmd_find(m, root, page, &leaf)) {
			/* A copy of it, and as much again to align that behind smaller folios. */
			if (!(*leaf.pmd & PTE_WRITE))
				wanted += small == pmd_order(m)
						  ? 1
						  : UINT64_C(2) << (pmd_order(m) - small);
		} else if (!leaf_find(m, root, page, &leaf)) {
			uint64_t last = (next < end ? next : end) - 1;

			wanted += (last >> small) - (page >> small) + 1;
		} else if (small < pmd_order(m)) {
			wanted += wanted_of_table(m, &leaf, page, next < end ? next : end, small);
		}
	}
	return wanted < left >> small ? wanted : left >> small;
}

/* ---- write faults ---- */

/* do_huge_pmd_wp_page, first step: asks until the answer is final. */
static void huge_decide(cow_machine *m, struct fault *fault)
{
	struct question question = { COW_DECIDE_PMD, fault->mm, fault->page, fault->leaf.pmd };
	bool drained = false, freed = false;

	for (;;) {
		struct cow_view view = view_entry(m, fault->vma, &fault->leaf, 0);

		view.req_write = (fault->flags & FAULT_WRITE) != 0;
		view.req_unshare = (fault->flags & FAULT_UNSHARE) != 0;
		view.drained = drained;
		view.swap_freed = freed;
		fault->rule = ask(m, question, view);
		if (fault->rule->action == COW_ACT_DRAIN_LRU && !drained) {
			batch_drain(m, fault->mm);
			drained = true;
		} else if (fault->rule->action == COW_ACT_FREE_SWAP && !freed) {
			freed = true; /* a large folio is never in the swap cache */
		} else {
			return;
		}
	}
}

static enum cow_outcome huge_reuse(cow_machine *m, struct fault *fault)
{
	uint64_t *pmd = fault->leaf.pmd;
	struct folio *folio = folio_of(m, pte_frame(*pmd));

	if (folio->mapcount == 1)
		folio->owner = vma_at(m, fault->vma)->anon; /* folio_move_anon_rmap */
	pmd_marker_put(m, pmd, true);
	note_pages(m, COW_CHANGE_REUSE, fault->vma, fault->leaf.first, folio, 0);
	if (fault->flags & FAULT_WRITE) {
		*pmd |= PTE_DIRTY | PTE_YOUNG | PTE_SOFT;
		if (vma_at(m, fault->vma)->flags & VMA_WRITE)
			*pmd |= PTE_WRITE;
		machine_count(m, COW_COUNT_REUSES, 1);
	}
	return COW_OUT_REUSE;
}

/* Until v5.7: do_huge_pmd_wp_page with a new page; v6.13+: do_huge_zero_wp_pmd.  False: no room. */
static bool huge_copy_prepare(cow_machine *m, struct fault *fault)
{
	/* until v5.7: __transparent_hugepage_enabled; do_huge_zero_wp_pmd asks for no advice */
	bool wanted = (vma_at(m, fault->vma)->flags & VMA_HUGEPAGE) ||
		      (!fault->old && (m->policy->flags & COW_POLICY_HUGE_ZERO_UNADVISED) &&
		       !PLANTED(59));

	fault->new = wanted ? huge_alloc(m, fault) : 0;
	if (!fault->new)
		return false;
	if (fault->old && !PLANTED(35))
		folio_copy(m, fault->new, fault->old);
	return true;
}

static enum cow_outcome huge_copy_install(cow_machine *m, struct fault *fault)
{
	bool unshare = fault->flags & FAULT_UNSHARE;
	uint64_t *pmd = fault->leaf.pmd;
	uint64_t pages = pmd_pages(m);
	uint64_t flags;

	/* do_huge_zero_wp_pmd makes no difference between writing and unsharing. */
	if (unshare && fault->old)
		flags = *pmd & (PTE_SOFT | PTE_UFFD);
	else
		flags = entry_written(vma_at(m, fault->vma)) | PTE_DIRTY | PTE_SOFT;
	*pmd = huge_entry(m, fault, fault->new, flags);
	if (unshare && (m->policy->flags & COW_POLICY_LOSES_NOTHING))
		page_make_dirty(m, pte_frame(*pmd));
	note_pages(m, COW_CHANGE_COPY, fault->vma, fault->leaf.first, folio_at(m, fault->new),
		   fault->old);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	machine_count(m, unshare ? COW_COUNT_UNSHARES : COW_COUNT_COPIES, pages);
	if (fault->old)
		folio_unmap_pmd(m, frame_at(m, fault->old)->owner, fault->mm);
	huge_lru_add(m, fault->mm);
	return unshare ? COW_OUT_UNSHARE : COW_OUT_COPY;
}

/* do_huge_pmd_wp_page */
static enum cow_outcome huge_wp_page(cow_machine *m, struct fault *fault)
{
	fault->wp = true;
	fault->old = pte_frame(*fault->leaf.pmd); /* 0: the huge zero page */
	huge_decide(m, fault);
	if (fault->rule->action == COW_ACT_REUSE && fault->old)
		return huge_reuse(m, fault);
	if (fault->rule->action == COW_ACT_COPY && huge_copy_prepare(m, fault))
		return huge_copy_install(m, fault);
	pmd_split(m, fault->mm, &fault->leaf);
	fault->slot = leaf_slot(m, fault->page);
	return COW_OUT_NONE;
}

enum cow_outcome huge_wp(cow_machine *m, struct fault *fault)
{
	if ((*fault->leaf.pmd & PTE_PROTNONE) && (vma_at(m, fault->vma)->flags & VMA_READ)) {
		numa_fault(m, fault);
		if (entry_allows(*fault->leaf.pmd, fault->flags & FAULT_WRITE))
			return COW_OUT_HIT;
	}
	if (uffd_blocks(vma_at(m, fault->vma), *fault->leaf.pmd, fault->flags) && !PLANTED(36))
		return COW_OUT_BLOCKED;
	return huge_wp_page(m, fault);
}
