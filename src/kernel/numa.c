/* SPDX-License-Identifier: MIT
 *
 * NUMA balancing: entries become protnone, so that the next access tells where it comes from;
 * after change_prot_numa, do_numa_page, do_huge_pmd_numa_page.  Nothing is moved to another node
 * here: there is one.
 *
 * What matters to copy-on-write is the write permission meanwhile: until v6.1 it is saved in the
 * entry, since v6.2 the hint fault asks whether the page may be writable.  Read migrate.c next.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

static uint64_t *hint_entry(const cow_machine *m, const struct leaf *leaf, uint64_t page)
{
	return leaf->pmd ? leaf->pmd : &leaf->ptes[leaf_slot(m, page)];
}

/* change_pte_range and change_huge_pmd with MM_CP_PROT_NUMA.  NONE: there is nothing to hint at. */
static enum cow_outcome hint_page(cow_machine *m, uint32_t vma, const struct leaf *leaf,
				  uint64_t page)
{
	uint64_t *entry = hint_entry(m, leaf, page);
	struct question question = { COW_DECIDE_NUMA, vma_at(m, vma)->mm, page, entry };
	const struct cow_rule *rule;

	if (!(*entry & PTE_PRESENT) || (*entry & PTE_SPECIAL))
		return COW_OUT_NONE;
	if (*entry & PTE_PROTNONE)
		return COW_OUT_MOVED; /* it waits already */
	rule = ask(m, question, view_entry(m, vma, leaf, leaf_slot(m, page)));
	if (rule->action == COW_ACT_REFUSE)
		return COW_OUT_REFUSED;
	if (rule->action == COW_ACT_DEMOTE)
		*entry &= ~PTE_WRITE;
	*entry |= PTE_PROTNONE;
	return COW_OUT_MOVED;
}

/* A PMD becomes protnone as a whole, wherever in it the range ends: task_numa_work scans whole
 * ones. */
static void hint_vma(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end,
		     struct cow_result *result)
{
	uint32_t mm = vma_at(m, vma)->mm;
	struct leaf leaf;

	for (uint64_t page = first; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);) {
		uint64_t high = leaf.first + leaf_entries(m);

		if (high > end)
			high = end;
		for (uint64_t step; page < high; page += step) {
			enum cow_outcome outcome = hint_page(m, vma, &leaf, page);

			step = leaf.pmd ? high - page : 1;
			result->counts[outcome] += outcome == COW_OUT_NONE ? 0 : step;
		}
	}
}

static void hint_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
		       struct cow_result *result)
{
	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		/* task_numa_work: neither hugetlb nor what cannot be accessed at all */
		if (!(in->flags & VMA_HUGETLB) && (in->flags & VMA_READ))
			hint_vma(m, vma, in->start > first ? in->start : first,
				 in->end < end ? in->end : end, result);
	}
	result->done = result->counts[COW_OUT_MOVED];
	result->outcome = result->counts[COW_OUT_REFUSED] ? COW_OUT_REFUSED
			  : result->done		  ? COW_OUT_MOVED
							  : COW_OUT_NONE;
	machine_count(m, COW_COUNT_TLB_FLUSHES, result->done != 0);
}

int cow_numa_hint(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		  struct cow_result *result)
{
	struct call call;
	int error = call_check(m, &call, handle, addr, pages, result);

	if (!error)
		error = call_begin(m, &call, COW_OP_NUMA_HINT, 0);
	if (error)
		return error;
	hint_range(m, call.mm, call.first, call.end, call.result);
	return op_end(m, &call.op, 0);
}

/* Does this kernel save the write permission while the entry is protnone?  Then a hint fault gives
 * back what was there, and no more.  Asked of a page that no era would refuse. */
static bool write_is_saved(const cow_machine *m)
{
	const struct cow_view sole = { .refcount = 1, .mapcount = 1, .mapped_most = 1, .anon = 1,
				       .exclusive = m->state.marker != COW_MARKER_NONE,
				       .vma_write = 1, .vma_cow = 1, .pte_write = 1,
				       .truth_sole = 1 };

	return m->policy->decide[COW_DECIDE_NUMA](sole)->action == COW_ACT_ALLOW;
}

/* v6.2+: can_change_pte_writable, can_change_pmd_writable */
static bool may_upgrade(cow_machine *m, const struct fault *fault)
{
	const struct vma *in = vma_at(m, fault->vma);
	const uint64_t *entry = at_entry(fault);
	struct question question = { COW_DECIDE_PROTECT, fault->mm, fault->page, entry };

	if (!(in->flags & VMA_WRITE) || uffd_protects(in, *entry) || write_is_saved(m))
		return false;
	if (in->flags & VMA_SHARED)
		return !(in->flags & VMA_UFFD_WP) && !soft_dirty_needed(in, *entry);
	return page_ownable(m, pte_frame(*entry)) &&
	       ask(m, question, view_entry(m, fault->vma, &fault->leaf, fault->slot))->action ==
		       COW_ACT_WRITABLE;
}

void numa_fault(cow_machine *m, struct fault *fault)
{
	uint64_t *entry = at_entry(fault);
	uint64_t first = fault->leaf.pmd ? fault->leaf.first : fault->page;

	*entry = (*entry & ~PTE_PROTNONE) | PTE_YOUNG;
	if ((*entry & PTE_WRITE) || !may_upgrade(m, fault))
		return;
	*entry |= PTE_WRITE;
	if (frame_at(m, pte_frame(*entry))->flags & FRAME_ANON)
		for (uint64_t i = 0; i < (fault->leaf.pmd ? pmd_pages(m) : 1); i++)
			note_page(m, COW_CHANGE_REUSE, fault->vma, first + i,
				  pte_frame(*entry) + (uint32_t)i, 0, 0);
	machine_count(m, COW_COUNT_UPGRADES, 1);
}
