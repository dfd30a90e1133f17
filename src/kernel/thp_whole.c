/* SPDX-License-Identifier: MIT
 *
 * What fork, munmap, mprotect and mremap do to a whole PMD, after mm/huge_memory.c: copy_huge_pmd,
 * zap_huge_pmd, change_huge_pmd, move_huge_pmd.  What covers a PMD in part splits it
 * (machine/pmd.c) and goes on with PTEs.  Never decides whether fork shares a huge page, nor
 * whether mprotect makes it writable: the policy is asked.  Read collapse.c next.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* The PMD of a folio that is shared now: the parent's.  The child's is not young. */
static uint64_t pmd_shared(cow_machine *m, uint64_t pmd)
{
	pmd &= ~PTE_WRITE;
	pmd_marker_put(m, &pmd, PLANTED(37) && pmd_marker_get(m, pmd));
	return pmd;
}

/* True if the policy would see the same of both PMDs, and map counts are those of PMDs alone. */
static bool pmds_alike(const cow_machine *m, uint64_t pmd, const struct folio *folio,
		       uint32_t flags, uint64_t other)
{
	const struct frame *head = frame_at(m, pte_frame(other));
	const struct folio *of;

	if ((uint32_t)pmd != (uint32_t)other || head->flags != flags)
		return false;
	of = folio_at(m, head->owner);
	return of->refcount == folio->refcount && of->mapcount == folio->mapcount &&
	       of->entire == folio->mapcount && of->entire == folio->entire &&
	       of->pincount == folio->pincount && of->flags == folio->flags;
}

/*
 * The hot loop of fork: shares the PMDs behind from->pmd, in the same table, that look as it did;
 * `pmd`, `folio` and `flags` (of the first frame) are what it was.  Returns how many.
 */
static uint32_t share_alike(cow_machine *m, const struct leaf *from, const struct leaf *to,
			    uint32_t most, uint32_t child, uint64_t pmd, struct folio folio,
			    uint32_t flags)
{
	uint32_t done = 0;

	while (done < most && pmds_alike(m, pmd, &folio, flags, from->pmd[done + 1])) {
		uint64_t shared = pmd_shared(m, from->pmd[done + 1]);
		struct folio *of = folio_of(m, pte_frame(shared));

		of->refcount++;
		of->entire++;
		folio_add(of, child, 1);
		done++;
		from->pmd[done] = shared;
		to->pmd[done] = shared & ~(PTE_YOUNG | PTE_UFFD);
	}
	table_info(m, to->table)->used += done;
	m->state.pmds += done;
	machine_count(m, COW_COUNT_ATOMICS, 2 * (uint64_t)done);
	return done;
}

/* PMDs of a VMA behind one of them, up to the end of the table that it is in. */
static uint32_t pmds_behind(const cow_machine *m, const struct vma *vma, uint64_t first)
{
	uint64_t left = ((vma->end - first) >> m->state.bits[0]) - 1;
	uint32_t slots = 1u << m->state.bits[1];
	uint32_t slot = (uint32_t)(first >> m->shifts[1]) & (slots - 1);

	return left < slots - 1 - slot ? (uint32_t)left : slots - 1 - slot;
}

uint32_t huge_fork(cow_machine *m, uint32_t vma, uint32_t child_vma, struct leaf *from)
{
	uint32_t parent = vma_at(m, vma)->mm, child = vma_at(m, child_vma)->mm;
	struct mm *mm = mm_at(m, child);
	struct question question = { COW_DECIDE_FORK_PMD, parent, from->first, from->pmd };
	bool alone = m->observer_count || (m->policy->flags & COW_POLICY_NEEDS_TRUTH);
	const struct cow_rule *rule;
	uint64_t pmd = *from->pmd;
	struct folio before;
	uint32_t flags, done;
	struct leaf to;

	if (pmd & PTE_SPECIAL) {
		pmd_fill(m, &mm->root, from->first, &mm->tables, pmd & ~(PTE_YOUNG | PTE_UFFD));
		return 1;
	}
	rule = ask(m, question, view_entry(m, vma, from, 0));
	if (rule->action != COW_ACT_SHARE) {
		pmd_split(m, parent, from);
		return 0;
	}
	before = *folio_of(m, pte_frame(pmd));
	flags = frame_at(m, pte_frame(pmd))->flags;
	*from->pmd = pmd_shared(m, pmd);
	folio_map_pmd(m, frame_at(m, pte_frame(pmd))->owner, child);
	pmd_fill(m, &mm->root, from->first, &mm->tables, *from->pmd & ~(PTE_YOUNG | PTE_UFFD));
	note_pmd(m, COW_CHANGE_MAP_HUGE, child_vma, from->first, *from->pmd);
	if (alone || !pmd_find(m, mm->root, from->first, &to))
		return 1;
	done = share_alike(m, from, &to, pmds_behind(m, vma_at(m, vma), from->first), child, pmd,
			   before, flags);
	machine_count(m, COW_COUNT_PAGE_LOCKS, (uint64_t)rule->locks * done);
	return 1 + done;
}

void huge_zap(cow_machine *m, uint32_t vma, const struct leaf *leaf)
{
	uint64_t pmd = *leaf->pmd;

	note_pmd(m, COW_CHANGE_UNMAP_HUGE, vma, leaf->first, pmd);
	pmd_empty(m, leaf);
	if (!(pmd & PTE_SPECIAL))
		folio_unmap_pmd(m, frame_at(m, pte_frame(pmd))->owner, vma_at(m, vma)->mm);
}

/* change_huge_pmd */
void huge_protect(cow_machine *m, uint32_t vma, const struct leaf *leaf)
{
	const struct vma *in = vma_at(m, vma);
	struct question question = { COW_DECIDE_PROTECT, in->mm, leaf->first, leaf->pmd };

	*leaf->pmd = (*leaf->pmd & ~(PTE_WRITE | PTE_PROTNONE)) |
		     (in->flags & VMA_READ ? 0 : PTE_PROTNONE);
	/* v6.2+: can_change_pmd_writable, as far as it is not the policy's to say */
	if (!(in->flags & VMA_WRITE) || (*leaf->pmd & (PTE_UFFD | PTE_SPECIAL)) ||
	    ask(m, question, view_entry(m, vma, leaf, 0))->action != COW_ACT_WRITABLE)
		return;
	*leaf->pmd |= PTE_WRITE;
	note_pages(m, COW_CHANGE_REUSE, vma, leaf->first, folio_of(m, pte_frame(*leaf->pmd)), 0);
	machine_count(m, COW_COUNT_UPGRADES, 1);
}

/* move_huge_pmd */
bool huge_move(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t to, uint64_t kept)
{
	struct mm *mm = mm_at(m, vma_at(m, vma)->mm);
	uint64_t pmd = (*leaf->pmd | PTE_SOFT) & (PLANTED(61) ? UINT64_MAX : kept);
	struct leaf into;

	if (to != pmd_first(m, to) || leaf_find(m, mm->root, to, &into))
		return false;
	pmd_empty(m, leaf);
	pmd_fill(m, &mm->root, to, &mm->tables, pmd);
	return true;
}
