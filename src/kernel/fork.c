/* SPDX-License-Identifier: MIT
 *
 * fork, after dup_mmap: what it reserves, and the VMAs of the child.  copy.c copies the pages.
 */
#include "kernel/fork.h"
#include "machine/plant.h"

/* vma_needs_copy: pages of a VMA without an anon_vma can be faulted in again.  Until v5.19 hugetlb
 * mappings were copied all the same (copy_page_range). */
static bool copies_pages(const cow_machine *m, const struct vma *vma)
{
	if (vma->flags & VMA_HUGETLB && m->policy->flags & COW_POLICY_FORK_COPIES_HUGETLB)
		return !(vma->flags & (VMA_DONTCOPY | VMA_WIPEONFORK));
	if (PLANTED(4))
		return vma->anon && !(vma->flags & (VMA_SHARED | VMA_DONTCOPY));
	return vma->anon && !(vma->flags & (VMA_SHARED | VMA_DONTCOPY | VMA_WIPEONFORK));
}

static bool may_copy_early(const cow_machine *m, uint32_t mm, const struct vma *vma)
{
	return (mm_at(m, mm)->flags & MM_HAS_PINNED) || (vma->flags & VMA_HAD_WRITE_REF) ||
	       !m->fork_keeps_promise;
}
/* How many frames fork will copy: its decisions, made once in advance.  Of a PMD at most all. */
static uint64_t early_copies(cow_machine *m, uint32_t parent, uint32_t vma)
{
	struct fork fork = { .parent = parent, .vma = vma };
	uint64_t end = vma_at(m, vma)->end;
	uint64_t copies = 0;
	struct leaf leaf;

	for (uint64_t page = vma_at(m, vma)->start;
	     leaf_next(m, mm_at(m, parent)->root, &page, end, &leaf);) {
		if (leaf.pmd) {
			copies += *leaf.pmd & PTE_SPECIAL ? 0 : pmd_pages(m);
			page = leaf.first + pmd_pages(m);
			continue;
		}
		for (; page < end && page < leaf.first + leaf_entries(m); page++) {
			uint32_t slot = leaf_slot(m, page);
			uint64_t pte = leaf.ptes[slot];
			const struct frame *frame;
			bool marker;

			if (!(pte & PTE_PRESENT))
				continue;
			frame = frame_at(m, pte_frame(pte));
			if (!(frame->flags & FRAME_ANON))
				continue;
			marker = m->state.marker >= COW_MARKER_ADJACENT
					 ? side_marker_look(m, &leaf, slot)
					 : marker_get(m, &leaf, slot, frame);
			copies += m->policy->decide[COW_DECIDE_FORK](
					  fork_view(m, &fork, page, &leaf.ptes[slot], marker))->action ==
				  COW_ACT_EARLY_COPY;
		}
	}
	return copies;
}

static int fork_reserve(cow_machine *m, uint32_t parent)
{
	int error = machine_reserve(m, POOL_MM, 1); /* may move what mm_at finds */
	const struct mm *mm = mm_at(m, parent);
	uint64_t pmds = mm->pages >> m->state.bits[0];
	uint64_t tables = mm->tables;
	uint64_t copies = 0, huge = 0;

	for (uint32_t at = mm->vma_first; at; at = vma_at(m, at)->next) {
		const struct vma *vma = vma_at(m, at);

		if (!copies_pages(m, vma) || !may_copy_early(m, parent, vma))
			continue;
		if (vma->flags & VMA_HUGETLB)
			huge += (vma->end - vma->start) >> m->state.bits[0];
		else
			copies += early_copies(m, parent, at);
	}
	/* A PMD may be split, and then both have a table. */
	if (m->state.pmds)
		tables += 2 * (pmds < m->state.pmds ? pmds : m->state.pmds);
	if (huge > m->state.pool_free)
		huge = m->state.pool_free;
	if (m->state.marker == COW_MARKER_EXTRA)
		tables *= 2;
	if (!error)
		error = machine_reserve(m, POOL_VMA, mm->vmas);
	if (!error)
		error = machine_reserve(m, POOL_AVC, (uint64_t)mm->avcs + mm->vmas);
	if (!error)
		error = machine_reserve(m, POOL_ANON, mm->vmas);
	if (!error)
		error = machine_reserve(m, POOL_TABLE, tables);
	if (!error)
		error = machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
	if (!error && m->state.lru_batch)
		error = machine_reserve(m, POOL_LINK, (uint64_t)m->state.lru_batch + 2);
	if (error)
		return error;
	return huge ? folio_reserve(m, copies, pmd_order(m), huge) : frame_reserve(m, copies);
}
/* dup_mmap for one VMA: the child's, without pages yet. */
static uint32_t copy_vma(cow_machine *m, const struct fork *fork)
{
	uint32_t index = pool_take(&m->pools[POOL_VMA]);
	const struct vma *vma = vma_at(m, fork->vma);
	struct vma *copy = vma_at(m, index);
	struct cow_view view = { 0 };

	*copy = *vma;
	copy->mm = fork->child;
	copy->chain = copy->left = copy->right = copy->anon = 0;
	/* Without EVENT_FORK the child is not registered; and it has no reservation. */
	copy->flags &= ~(uint32_t)(VMA_UFFD_WP | VMA_RESERVED);
	if (!(m->policy->flags & COW_POLICY_LOSES_NOTHING))
		copy->flags &= ~(uint32_t)VMA_UNMAPPED;
	view = view_vma(view, mm_at(m, fork->parent), vma);
	if (answer(m, COW_DECIDE_TRACK, view)->action != COW_ACT_KEEP)
		copy->flags &= ~(uint32_t)VMA_HAD_WRITE_REF;
	vma_link(m, index);
	if (!(copy->flags & VMA_WIPEONFORK))
		anon_fork(m, index, fork->vma);
	if (copy->object)
		object_link(m, index);
	return index;
}

static bool fork_vmas(cow_machine *m, struct fork *fork)
{
	for (uint32_t at = mm_at(m, fork->parent)->vma_first; at; at = vma_at(m, at)->next) {
		const struct vma *vma = vma_at(m, at);

		if (vma->flags & VMA_DONTCOPY)
			continue;
		fork->vma = at;
		fork->child_vma = copy_vma(m, fork);
		if (!(vma->flags & VMA_SHARED))
			note(m, vma->flags & VMA_WIPEONFORK ? COW_CHANGE_WIPE : COW_CHANGE_INHERIT,
			     fork->child, vma->start, vma->end - vma->start,
			     mm_at(m, fork->parent)->number);
		if (copies_pages(m, vma) && !copy_pages(m, fork))
			return false;
	}
	return true;
}

int cow_fork(cow_machine *m, cow_mm handle, struct cow_result *result, cow_mm *out)
{
	struct cow_result unwanted;
	struct fork fork = { .result = result ? result : &unwanted };
	struct cow_op op;
	bool room;
	int error = out ? mm_resolve(m, handle, &fork.parent)
			: machine_fail(m, -EINVAL, "fork has nowhere to put the child's handle");

	result_clear(fork.result);
	if (!error)
		error = fork_reserve(m, fork.parent);
	if (error)
		return error;
	op_set(m, &op, COW_OP_FORK, fork.parent, 0, m->pages);
	op.value = m->state.processes + 1;
	error = op_begin(m, &op);
	if (error)
		return error;
	fork.child = pool_take(&m->pools[POOL_MM]);
	mm_at(m, fork.child)->number = ++m->state.processes;
	room = fork_vmas(m, &fork);
	if (fork.flush)
		machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	if (!room) {
		mm_destroy(m, fork.child);
		fork.result->outcome = COW_OUT_ERRNO;
		return op_end(m, &op, machine_fail(m, -ENOMEM, "no frame left for an early copy"));
	}
	fork.result->outcome = fork.result->counts[COW_OUT_EARLY_COPY] ? COW_OUT_EARLY_COPY
								       : COW_OUT_SHARE;
	fork.result->done = fork.result->counts[COW_OUT_EARLY_COPY] +
			    fork.result->counts[COW_OUT_SHARE];
	*out = (cow_mm){ m->identity, fork.child, m->state.processes };
	return op_end(m, &op, 0);
}
