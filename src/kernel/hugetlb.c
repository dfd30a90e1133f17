/* SPDX-License-Identifier: MIT
 *
 * hugetlb, after mm/hugetlb.c: pages of a pool of their own, each mapped by a PMD, never split,
 * never swapped, never merged.  Faults, fork and mprotect of them.  NUMA hints and soft-dirty
 * tracking leave hugetlb alone here.  The pool, and what is promised of it, is in hugetlb_pool.c;
 * what userfaultfd protects, and the end of a page, in hugetlb_guard.c.
 */
#include "kernel/ask.h"
#include "kernel/hugetlb.h"
#include "machine/plant.h"

/* ---- a page is mapped ---- */

static uint32_t folio_index(const cow_machine *m, uint64_t pmd)
{
	return frame_at(m, pte_frame(pmd))->owner;
}

static uint64_t pgoff_of(const cow_machine *m, const struct fault *fault)
{
	return vma_pgoff(vma_at(m, fault->vma), pmd_first(m, fault->page));
}

/* True if what a write fault maps is writable (until v5.19 make_huge_pte and set_huge_ptep_writable do
 * not ask the VMA, which FOLL_FORCE has overridden). */
static bool opens(const cow_machine *m, const struct vma *vma)
{
	return (vma->flags & VMA_WRITE) ||
	       ((m->policy->flags & COW_POLICY_FORCE_OPENS_HUGETLB) && !PLANTED(63));
}

/* make_huge_pte */
static uint64_t make_pmd(const cow_machine *m, const struct vma *vma, uint32_t folio, bool write)
{
	return pte_make(folio_at(m, folio)->head,
			PTE_HUGE | entry_flags(vma) |
				(write && opens(m, vma) ? PTE_WRITE | PTE_DIRTY | PTE_SOFT : 0));
}

/* Fills the empty PMD of the fault; the mapping has been counted. */
static void set_pmd(cow_machine *m, struct fault *fault, uint64_t pmd)
{
	struct mm *mm = mm_at(m, fault->mm);

	pmd_fill(m, &mm->root, fault->page, &mm->tables, pmd);
	mm->pages += pmd_pages(m);
	pmd_find(m, mm->root, fault->page, &fault->leaf);
}

/* The one reference that an anonymous folio was made with is its first mapping's. */
static void count_first(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct folio *folio = folio_at(m, index);

	folio->entire++;
	folio_add(folio, mm, 1);
	machine_count(m, COW_COUNT_ATOMICS, 1);
}

/* Tells of each page of a huge page: it was made fresh, or of `from`, or reused. */
static void tell_pages(cow_machine *m, enum cow_change_kind kind, const struct fault *fault,
		       uint32_t frame, uint32_t from)
{
	uint64_t first = pmd_first(m, fault->page);

	for (uint32_t i = 0; m->observer_count && i < pmd_pages(m); i++)
		note_page(m, kind, fault->vma, first + i, frame + i, 0, from ? from + i : 0);
}

static void copy_pages(cow_machine *m, uint32_t to, uint32_t from)
{
	for (uint32_t i = 0; i < (PLANTED(53) ? 1 : pmd_pages(m)); i++)
		frame_body(m, to + i)->value = frame_body(m, from + i)->value;
}

/* True if the fault may take a page that its mapping was promised. */
static bool promised(const struct vma *vma, const struct fault *fault)
{
	return (vma->flags & VMA_RESERVED) && !(fault->flags & FAULT_SPENT);
}

/* hugetlb_no_page for a private mapping: there is no huge zero page for it. */
static enum cow_outcome fault_anon(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint32_t folio = hugetlb_take(m, promised(vma, fault));
	uint64_t pmd;

	if (!folio)
		return COW_OUT_SIGBUS;
	anon_prepare(m, fault->vma);
	folio_make_anon(m, folio, vma->anon, pgoff_of(m, fault));
	count_first(m, folio, fault->mm);
	pmd = make_pmd(m, vma, folio, fault->flags & FAULT_WRITE);
	set_pmd(m, fault, pmd);
	pmd_marker_put(m, fault->leaf.pmd, true);
	tell_pages(m, COW_CHANGE_FRESH, fault, folio_at(m, folio)->head, 0);
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* The folio of the object's page, made if need be; 0: the pool has none. */
static uint32_t object_page(cow_machine *m, const struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t index = pgoff_of(m, fault);
	uint32_t frame = object_frame(m, vma->object, index);
	bool reserved = object_at(m, vma->object)->reserved;
	uint32_t folio;

	if (frame)
		return frame_at(m, frame)->owner;
	folio = hugetlb_page(m, vma->object, index, reserved);
	if (!folio)
		return 0;
	if (reserved)
		object_at(m, vma->object)->reserved--;
	tell_pages(m, COW_CHANGE_ADD, fault, folio_at(m, folio)->head, 0);
	return folio;
}

/* A private huge page takes the place of the page that the PMD of the fault maps. */
static void install_copy(cow_machine *m, struct fault *fault, uint32_t folio)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t old = *fault->leaf.pmd;
	bool write = fault->flags & FAULT_WRITE;
	bool unmarks = (m->policy->flags & COW_POLICY_HUGETLB_UNSHARE_UNMARKS) && !PLANTED(80);
	uint64_t kept = unmarks ? PTE_SOFT : PTE_SOFT | PTE_UFFD;

	fault->new = folio_at(m, folio)->head;
	anon_prepare(m, fault->vma);
	folio_make_anon(m, folio, vma->anon, pgoff_of(m, fault));
	count_first(m, folio, fault->mm);
	copy_pages(m, fault->new, fault->old);
	pmd_marker_put(m, fault->leaf.pmd, false);
	*fault->leaf.pmd = make_pmd(m, vma, folio, write) |
			   (write ? PTE_DIRTY | PTE_SOFT : old & kept);
	pmd_marker_put(m, fault->leaf.pmd, true);
	tell_pages(m, COW_CHANGE_COPY, fault, fault->new, fault->old);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	folio_unmap_pmd(m, folio_index(m, old), fault->mm);
}

/* hugetlb_no_page for a page of an object, after which hugetlb_wp copies it for a private write. */
static enum cow_outcome fault_object(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	bool shared = vma->flags & VMA_SHARED;
	bool write = fault->flags & FAULT_WRITE;
	uint32_t folio = object_page(m, fault), copy;
	uint64_t pmd;

	if (!folio)
		return COW_OUT_SIGBUS;
	pmd = make_pmd(m, vma, folio, shared && write);
	if (shared && (vma->flags & VMA_WRITE))
		pmd |= PTE_WRITE;
	folio_map_pmd(m, folio, fault->mm);
	set_pmd(m, fault, pmd);
	note_pmd(m, COW_CHANGE_MAP_HUGE, fault->vma, fault->leaf.first, pmd);
	if (write && !shared) {
		copy = hugetlb_take(m, promised(vma, fault));
		if (!copy)
			return COW_OUT_SIGBUS; /* the page of the file stays mapped */
		fault->old = pte_frame(pmd);
		install_copy(m, fault, copy);
	}
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* ---- a page is written that is mapped read-only ---- */

/* What unmap_ref_private looks for: a private mapping of the folio that is not `mine`. */
struct victim {
	uint32_t mine;
	struct mapping found;
};

static bool find_victim(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	struct victim *victim = ctx;
	const struct vma *vma = vma_at(m, mapping->vma);

	if (mapping->vma == victim->mine || (vma->flags & (VMA_SHARED | VMA_RESERVED)))
		return true;
	victim->found = *mapping;
	return false;
}

/* __unmap_hugepage_range for one page of a child: its VMA remembers that it was robbed. */
static void rob(cow_machine *m, const struct mapping *from)
{
	struct vma *vma = vma_at(m, from->vma);
	struct mm *mm = mm_at(m, vma->mm);
	uint64_t pmd = *from->leaf.pmd;

	note_pmd(m, COW_CHANGE_UNMAP_HUGE, from->vma, from->page, pmd);
	if (!PLANTED(54))
		vma->flags |= VMA_UNMAPPED;
	mm->pages -= hugetlb_clear(m, &from->leaf, *from->leaf.pmd & PTE_UFFD);
	folio_unmap_pmd(m, folio_index(m, pmd), vma->mm);
	tables_prune(m, &mm->root, from->page, from->page + pmd_pages(m), &mm->tables);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

/* unmap_ref_private: the owner of the reservation has the page's other mappings taken away. */
static void steal(cow_machine *m, const struct fault *fault)
{
	struct victim victim;

	do {
		victim = (struct victim){ .mine = fault->vma };
		folio_rmap_walk(m, folio_index(m, *fault->leaf.pmd), find_victim, &victim);
		if (victim.found.vma)
			rob(m, &victim.found);
	} while (victim.found.vma);
}

static enum cow_action wp_ask(cow_machine *m, struct fault *fault)
{
	struct question question = { COW_DECIDE_HUGETLB, fault->mm, fault->leaf.first,
				     fault->leaf.pmd };
	struct cow_view view = view_entry(m, fault->vma, &fault->leaf, 0);

	view.req_write = (fault->flags & FAULT_WRITE) != 0;
	view.req_unshare = (fault->flags & FAULT_UNSHARE) != 0;
	fault->rule = ask(m, question, view);
	return fault->rule->action;
}

/* The page stays; of an unshare fault read-only. */
static enum cow_outcome wp_reuse(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t *pmd = fault->leaf.pmd;

	if (maps_anon(m, *pmd)) {
		/* page_move_anon_rmap, where nobody else must go on finding it */
		if (folio_of(m, fault->old)->mapcount == 1)
			page_set_anon(m, fault->old, vma->anon);
		pmd_marker_put(m, pmd, true);
		tell_pages(m, COW_CHANGE_REUSE, fault, fault->old, 0);
	}
	if (fault->flags & FAULT_WRITE) {
		*pmd |= PTE_DIRTY | PTE_YOUNG | PTE_SOFT;
		if (opens(m, vma))
			*pmd |= PTE_WRITE;
		machine_count(m, COW_COUNT_REUSES, 1);
	}
	return COW_OUT_REUSE;
}

/* Takes a page for a copy, by force if this mapping was promised one; 0: there is none.  *again:
 * the others' mappings are gone, so that it may be ours now. */
static uint32_t wp_page(cow_machine *m, struct fault *fault, bool *again)
{
	bool owner = vma_at(m, fault->vma)->flags & VMA_RESERVED;
	bool anon = maps_anon(m, *fault->leaf.pmd);
	uint32_t folio = hugetlb_take(m, owner && !anon);
	bool stolen = *again;

	*again = !folio && owner && anon && !stolen;
	if (*again)
		steal(m, fault);
	return folio;
}

/* hugetlb_wp */
static enum cow_outcome fault_wp_huge(cow_machine *m, struct fault *fault)
{
	bool again = false;
	uint32_t folio;

	fault->wp = true;
	fault->old = pte_frame(*fault->leaf.pmd);
	if (vma_at(m, fault->vma)->flags & VMA_SHARED)
		return wp_reuse(m, fault);
	do {
		if (maps_anon(m, *fault->leaf.pmd) && wp_ask(m, fault) == COW_ACT_REUSE)
			return wp_reuse(m, fault);
		folio = wp_page(m, fault, &again);
	} while (again);
	if (!folio)
		return COW_OUT_SIGBUS;
	install_copy(m, fault, folio);
	if (fault->flags & FAULT_UNSHARE) {
		machine_count(m, COW_COUNT_UNSHARES, 1);
		return COW_OUT_UNSHARE;
	}
	machine_count(m, COW_COUNT_COPIES, 1);
	return COW_OUT_COPY;
}

/* hugetlb_no_page */
static enum cow_outcome fault_none(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);

	fault->leaf = (struct leaf){ 0 };
	if ((vma->flags & VMA_UNMAPPED) || hugetlb_behind_end(m, vma, fault->page))
		return COW_OUT_SIGBUS;
	/* Where the file has no page, a private mapping gets one of its own at once, to read too. */
	if (vma->object && !(vma->flags & VMA_SHARED) &&
	    !object_frame(m, vma->object, pgoff_of(m, fault)))
		return fault_anon(m, fault);
	return vma->object ? fault_object(m, fault) : fault_anon(m, fault);
}

/* The same where an entry told something.  userfaultfd has left a marker: the page comes, and is
 * protected; a write maps it as a read does, for hugetlb_wp leaves it alone then, and waits. */
static enum cow_outcome fault_note(cow_machine *m, struct fault *fault)
{
	const uint64_t note = *fault->leaf.pmd;
	const unsigned flags = fault->flags;
	struct mm *mm = mm_at(m, fault->mm);
	enum cow_outcome outcome;

	pmd_empty(m, &fault->leaf);
	mm->pages -= pmd_pages(m);
	if (note & PTE_UFFD)
		fault->flags &= ~(unsigned)FAULT_WRITE;
	if (note & PMD_SPENT)
		fault->flags |= FAULT_SPENT;
	outcome = fault_none(m, fault);
	fault->flags = flags;
	if (fault_failed(outcome) && !fault->leaf.pmd) {
		set_pmd(m, fault, note);
		return outcome;
	}
	if ((note & PMD_SPENT) && !maps_anon(m, *fault->leaf.pmd))
		m->state.pool_reserved++; /* nothing is left that tells; see docs/hugetlb.md */
	if (!(note & PTE_UFFD) || PLANTED(76))
		return outcome;
	*fault->leaf.pmd = (*fault->leaf.pmd | PTE_UFFD) & ~PTE_WRITE;
	return flags & FAULT_WRITE ? COW_OUT_BLOCKED : outcome;
}

enum cow_outcome hugetlb_fault(cow_machine *m, struct fault *fault)
{
	if (!pmd_find(m, mm_at(m, fault->mm)->root, fault->page, &fault->leaf))
		return fault_none(m, fault);
	if (pmd_is_note(*fault->leaf.pmd))
		return fault_note(m, fault);
	if (uffd_blocks(vma_at(m, fault->vma), *fault->leaf.pmd, fault->flags) && !PLANTED(78))
		return COW_OUT_BLOCKED;
	return fault_wp_huge(m, fault);
}

/* ---- fork and mprotect ---- */

/* hugetlb_install_folio: the child gets a copy, and the parent's PMD is left alone. */
static bool early_copy(cow_machine *m, uint32_t child_vma, const struct leaf *from, uint64_t *pmd)
{
	const struct vma *vma = vma_at(m, child_vma);
	uint32_t folio = hugetlb_take(m, false);
	uint32_t new;

	if (!folio)
		return false;
	new = folio_at(m, folio)->head;
	folio_make_anon(m, folio, vma->anon, vma_pgoff(vma, from->first));
	count_first(m, folio, vma->mm);
	copy_pages(m, new, pte_frame(*from->pmd));
	for (uint32_t i = 0; m->observer_count && i < pmd_pages(m); i++)
		note_page(m, COW_CHANGE_EARLY_COPY, child_vma, from->first + i, new + i, 0,
			  pte_frame(*from->pmd) + i);
	*pmd = make_pmd(m, vma, folio, true) | PTE_DIRTY | PTE_SOFT;
	if ((m->policy->flags & COW_POLICY_FORK_OPENS_HUGETLB) && !PLANTED(64))
		*pmd |= PTE_WRITE; /* until v6.13 make_huge_pte does not ask the child's VMA */
	pmd_marker_put(m, pmd, true);
	machine_count(m, COW_COUNT_EARLY_COPIES, 1);
	return true;
}

/* copy_hugetlb_page_range for one page.  Pages of the file need no asking: they are read-only. */
bool hugetlb_fork(cow_machine *m, uint32_t vma, uint32_t child_vma, const struct leaf *from,
		  struct cow_result *result)
{
	uint32_t parent = vma_at(m, vma)->mm;
	struct mm *child = mm_at(m, vma_at(m, child_vma)->mm);
	enum cow_outcome outcome = COW_OUT_SHARE;
	uint64_t pmd;

	if (pmd_is_note(*from->pmd)) /* the child is not registered, and was promised nothing */
		return true;
	if (maps_anon(m, *from->pmd) &&
	    ask(m, (struct question){ COW_DECIDE_FORK, parent, from->first, from->pmd },
		view_entry(m, vma, from, 0))
			    ->action == COW_ACT_EARLY_COPY) {
		outcome = COW_OUT_EARLY_COPY;
		if (!early_copy(m, child_vma, from, &pmd))
			return false;
	} else {
		if (maps_anon(m, *from->pmd))
			pmd_marker_put(m, from->pmd, false);
		if (!PLANTED(52) && !(vma_at(m, vma)->flags & VMA_SHARED))
			*from->pmd &= ~PTE_WRITE;
		pmd = *from->pmd & ~(PTE_YOUNG | PTE_UFFD);
		if (!(vma_at(m, vma)->flags & VMA_SHARED))
			pmd &= ~PTE_WRITE;
		folio_map_pmd(m, folio_index(m, pmd), vma_at(m, child_vma)->mm);
	}
	pmd_fill(m, &child->root, from->first, &child->tables, pmd);
	child->pages += pmd_pages(m);
	note_pmd(m, COW_CHANGE_MAP_HUGE, child_vma, from->first, pmd);
	result->counts[outcome] += pmd_pages(m);
	machine_count(m, COW_COUNT_FORK_PAGES, 1);
	return true;
}

/* hugetlb_change_protection: a private mapping never becomes writable by it, nor does a shared one
 * that is registered (vma_wants_writenotify). */
void hugetlb_protect(cow_machine *m, uint32_t index, const struct leaf *leaf)
{
	const struct vma *vma = vma_at(m, index);

	(void)m;
	if (pmd_is_note(*leaf->pmd))
		return;
	*leaf->pmd &= ~(PTE_WRITE | PTE_PROTNONE);
	if (!(vma->flags & VMA_READ))
		*leaf->pmd |= PTE_PROTNONE;
	if ((vma->flags & (VMA_WRITE | VMA_SHARED | VMA_UFFD_WP)) == (VMA_WRITE | VMA_SHARED))
		*leaf->pmd |= PTE_WRITE;
}
