/* SPDX-License-Identifier: MIT
 *
 * Address spaces and their mappings: mm_create, mmap, mremap.
 */
#include "kernel/kernel.h"
#include "machine/plant.h"

int cow_mm_create(cow_machine *m, cow_mm *out)
{
	struct cow_op op = { .kind = COW_OP_MM_CREATE, .mm = COW_NONE };
	uint32_t mm;
	int error = out ? machine_reserve(m, POOL_MM, 1)
			: machine_fail(m, -EINVAL, "there is nowhere to put the handle");

	if (error)
		return error;
	op.process = m->state.processes + 1;
	error = op_begin(m, &op);
	if (error)
		return error;
	mm = pool_take(&m->pools[POOL_MM]);
	mm_at(m, mm)->number = ++m->state.processes;
	op.mm = mm;
	*out = (cow_mm){ m->identity, mm, m->state.processes };
	return op_end(m, &op, 0);
}

/* True if a VMA lies between the pages. */
static bool occupied(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint32_t vma = vma_look(m, mm, first);

	return vma && vma_at(m, vma)->start < end;
}

/* For vma_reserve: a VMA more, and what it may take to merge with its neighbours and be cut off again. */
static uint64_t map_wants(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool thp)
{
	uint32_t low = thp && first ? vma_covering(m, mm, first - 1) : 0;
	uint32_t high = thp ? vma_covering(m, mm, end) : 0;

	return 1 + (low ? 2 * (uint64_t)anon_chain_length(m, low) : 0) +
	       (high ? 2 * (uint64_t)anon_chain_length(m, high) : 0);
}

/* madvise hugepage of what was just mapped.  That may be a part of a larger VMA by now, and keeps the
 * anon_vma that it has from there. */
static void map_huge(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, uint32_t order)
{
	vma = vma_cut(m, vma, first, end);
	vma_at(m, vma)->flags |= VMA_HUGEPAGE;
	vma_at(m, vma)->order = order == pmd_order(m) ? 0 : order;
	vma_merge(m, vma);
}

int cow_mmap(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, enum cow_prot prot,
	     unsigned flags)
{
	struct cow_op op;
	struct vma *vma;
	uint64_t first;
	uint32_t mm, index;
	uint32_t order = flags >> 8;
	int error = mm_resolve(m, handle, &mm);

	if (flags & COW_MAP_HUGETLB)
		pages = hugetlb_length(m, pages);
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error && ((unsigned)prot > COW_PROT_RW ||
		       (flags & 255u & ~(unsigned)(COW_MAP_SHARED | COW_MAP_THP | COW_MAP_HUGETLB))))
		error = machine_fail(m, -EINVAL, "unknown protection or flag");
	if (!error && (flags & (COW_MAP_THP | COW_MAP_HUGETLB)) && !pmd_possible(m))
		error = machine_fail(m, -EINVAL, "this geometry has no huge pages");
	if (!error && ((flags & COW_MAP_THP ? (flags & (COW_MAP_SHARED | COW_MAP_HUGETLB)) ||
						      order == 1 || order > pmd_order(m)
					    : order != 0)))
		error = machine_fail(m, -EINVAL, "these flags do not go together");
	if (!error && occupied(m, mm, first, first + pages))
		error = machine_fail(m, -EEXIST, "something is mapped at 0x%llx already",
				     (unsigned long long)addr);
	if (!error)
		error = machine_reserve(m, POOL_OBJECT, 1);
	if (!error)
		error = vma_reserve(m, mm, first, first + pages,
				    map_wants(m, mm, first, first + pages, flags & COW_MAP_THP));
	if (error)
		return error;
	if (flags & COW_MAP_HUGETLB)
		error = hugetlb_room(m, first, pages);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MMAP, mm, addr, pages);
	op.value = prot;
	op.flags = flags;
	error = op_begin(m, &op);
	if (error)
		return error;
	index = pool_take(&m->pools[POOL_VMA]);
	vma = vma_at(m, index);
	vma->start = first;
	vma->end = first + pages;
	vma->mm = mm;
	vma->flags = vma_prot_flags(prot);
	if (flags & COW_MAP_SHARED) {
		vma->flags |= VMA_SHARED;
		vma->object = object_create(m, flags & COW_MAP_HUGETLB ? OBJECT_HUGETLB : 0u);
		object_link(m, index);
	} else {
		vma->pgoff = first;
		if (vma->flags & VMA_WRITE)
			vma->flags |= VMA_ACCOUNT;
	}
	if (flags & COW_MAP_HUGETLB) {
		vma->flags |= VMA_HUGETLB;
		hugetlb_map(m, index);
	}
	vma_link(m, index);
	index = vma_merge(m, index);
	if (flags & COW_MAP_THP)
		map_huge(m, index, first, first + pages, order);
	return op_end(m, &op, 0);
}

/* move_ptes: entries move unchanged, counts, marker and all. */
static void move_entries(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, uint64_t to,
			 bool registered)
{
	const uint64_t kept = registered ? ~PTE_UFFD : UINT64_MAX;
	uint32_t index = vma_at(m, vma)->mm;
	struct mm *mm = mm_at(m, index);
	bool side = m->state.marker >= COW_MARKER_ADJACENT;
	struct leaf from, into;

	for (uint64_t page = first; leaf_next(m, mm->root, &page, end, &from);) {
		if (from.pmd && pmd_is_note(*from.pmd)) {
			hugetlb_move_note(m, index, &from, to + (page - first), kept);
			page = from.first + pmd_pages(m);
			continue;
		}
		if (from.pmd && huge_move(m, vma, &from, to + (page - first), kept)) {
			page = from.first + pmd_pages(m);
			continue;
		}
		if (from.pmd)
			pmd_split(m, index, &from);
		for (; page < end && page < from.first + leaf_entries(m); page++) {
			uint32_t slot = leaf_slot(m, page);
			uint64_t target = to + (page - first);
			bool marker;

			if (!from.ptes[slot])
				continue;
			if (pte_is_marker(from.ptes[slot])) { /* protection stays behind */
				pte_empty(m, &from, slot);
				mm->pages--;
				continue;
			}
			leaf_make(m, &mm->root, target, &into, &mm->tables);
			/* move_soft_dirty_pte: a page that moved is a page that changed.  v6.13+:
			 * userfaultfd's protection stays behind, where it is one. */
			pte_fill(m, &into, leaf_slot(m, target),
				 ((PLANTED(20) ? from.ptes[slot] & ~PTE_MARKER : from.ptes[slot]) |
				  PTE_SOFT) & kept);
			marker = side && side_marker_get(m, &from, slot);
			if (marker) {
				side_marker_put(m, &from, slot, false);
				side_marker_put(m, &into, leaf_slot(m, target), true);
			}
			pte_empty(m, &from, slot);
		}
	}
	tables_prune(m, &mm->root, first, end, &mm->tables);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

/* copy_vma: the moved range gets a VMA of its own, on the same anons. */
static void move_vma(cow_machine *m, uint32_t index, uint64_t to)
{
	uint32_t new = pool_take(&m->pools[POOL_VMA]);
	struct vma *vma = vma_at(m, index);
	struct vma *copy = vma_at(m, new);
	uint64_t first = vma->start, end = vma->end;

	*copy = *vma;
	copy->chain = copy->left = copy->right = 0;
	vma->flags &= ~(uint32_t)VMA_RESERVED; /* the new VMA has the reservation */
	copy->flags &= ~(uint32_t)VMA_UFFD_WP;
	copy->start = to;
	copy->end = to + (end - first);
	/* A mapping with no page yet takes the offset of its new place, to merge more easily. */
	if (!vma->object && !vma->anon)
		copy->pgoff = to;
	vma_link(m, new);
	if (copy->object)
		object_link(m, new);
	anon_clone(m, new, index);
	if (!(vma->flags & VMA_SHARED))
		note(m, COW_CHANGE_MOVE, vma->mm, to, end - first, first << m->state.page_shift);
	move_entries(m, new, first, end, to, vma->flags & VMA_UFFD_WP);
	vma_remove(m, index);
	vma_merge(m, new);
}

/* A range that is to move.  `vma` is the first that it touches. */
struct mremap {
	uint32_t mm, vma;
	uint64_t first, end, to;
};

static bool lies_within_one(cow_machine *m, const struct mremap *move)
{
	return vma_at(m, move->vma)->end >= move->end;
}

/* The new place is as long as what lies in the old one: a hugetlb page moves as a whole, so that the
 * length is rounded up (align_hugetlb). */
static uint64_t room_wanted(cow_machine *m, const struct mremap *move)
{
	uint64_t pages = move->end - move->first, end = move->first;

	for (uint32_t vma = move->vma; vma && vma_at(m, vma)->start < move->end;
	     vma = vma_at(m, vma)->next) {
		bool huge = vma_at(m, vma)->flags & VMA_HUGETLB;

		end = vma_at(m, vma)->end < move->end ? vma_at(m, vma)->end : move->end;
		if (huge)
			end = (end + pmd_pages(m) - 1) & ~(pmd_pages(m) - 1);
	}
	return end - move->first > pages ? end - move->first : pages;
}

/* remap_move, v6.17+: no gap at the start; a VMA with userfaultfd moves only if it is the only one.
 * Before, the range must lie within one VMA. */
static int mremap_check(cow_machine *m, struct mremap *move)
{
	bool many = m->policy->flags & COW_POLICY_MREMAP_MANY;

	move->vma = vma_covering(m, move->mm, move->first);
	if (!move->vma || (!many && !lies_within_one(m, move)))
		return machine_fail(m, -EFAULT, "the range is not within one VMA");
	if ((vma_at(m, move->vma)->flags & VMA_UFFD_WP) && !lies_within_one(m, move))
		return machine_fail(m, -EFAULT, "a VMA of userfaultfd moves only alone");
	if ((vma_at(m, move->vma)->flags & VMA_HUGETLB) &&
	    ((move->first | move->to) & (pmd_pages(m) - 1)))
		return machine_fail(m, -EINVAL, "a hugetlb page moves as a whole only");
	return 0;
}

static int mremap_reserve(cow_machine *m, const struct mremap *move, uint64_t pages)
{
	uint64_t end = move->first + pages, more = 0, low = 0, high = 0;
	int error;

	for (uint32_t vma = move->vma; vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		more += 1 + anon_chain_length(m, vma);
		if (!(in->flags & VMA_MERGEABLE))
			continue;
		if (!high)
			low = in->start > move->first ? in->start : move->first;
		high = end < in->end ? end : in->end;
	}
	error = vma_reserve(m, move->mm, move->first, end, more);
	if (!error)
		error = tables_reserve(m, mm_at(m, move->mm)->root, move->to, move->to + pages,
				       tables_missing(m, mm_at(m, move->mm)->root, move->first, end));
	if (!error && high)
		error = fault_reserve(m, move->mm, low, high, true, 1);
	return error;
}

/* One VMA of the range, or what of it lies there: prep_move_vma, copy_vma, move_page_tables. */
static int mremap_one(cow_machine *m, const struct mremap *move, uint32_t vma)
{
	const struct vma *in = vma_at(m, vma);
	uint64_t first = in->start > move->first ? in->start : move->first;
	uint64_t end = in->end < move->end ? in->end : move->end;
	uint64_t to = move->to + (first - move->first);
	int error;

	if (in->flags & VMA_HUGETLB) {
		if ((first | to) & (pmd_pages(m) - 1))
			return machine_fail(m, -EINVAL, "a hugetlb page moves as a whole only");
		end = (end + pmd_pages(m) - 1) & ~(pmd_pages(m) - 1);
	}
	/* prep_move_vma: KSM pages of what moves are broken; the VMA stays mergeable. */
	if (in->flags & VMA_MERGEABLE) {
		error = unmerge_range(m, vma, first, end);
		if (error)
			return machine_fail(m, error, "no frame left to break a KSM page");
	}
	vma_isolate(m, move->mm, first, end);
	move_vma(m, vma_covering(m, move->mm, first), to);
	return 0;
}

/* What has moved stays where it is if a later VMA cannot. */
static int mremap_all(cow_machine *m, const struct mremap *move)
{
	uint64_t page = move->first;
	int error = 0;

	while (!error && page < move->end) {
		uint32_t vma = vma_find(m, move->mm, page);

		if (!vma || vma_at(m, vma)->start >= move->end)
			break;
		page = vma_at(m, vma)->end;
		if (vma_at(m, vma)->start > move->first && vma_at(m, vma)->flags & VMA_UFFD_WP)
			error = machine_fail(m, -EFAULT, "a VMA of userfaultfd moves only alone");
		else
			error = mremap_one(m, move, vma);
	}
	return error;
}

int cow_mremap(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, uint64_t to)
{
	struct mremap move = { 0 };
	struct cow_op op;
	int error = mm_resolve(m, handle, &move.mm);

	if (!error)
		error = range_check(m, addr, pages, &move.first);
	if (!error)
		error = range_check(m, to, pages, &move.to);
	if (error)
		return error;
	move.end = move.first + pages;
	if (move.to < move.end && move.first < move.to + pages)
		return machine_fail(m, -EINVAL, "the new place overlaps the old one");
	error = mremap_check(m, &move);
	if (error)
		return error;
	pages = room_wanted(m, &move);
	error = range_check(m, to, pages, &move.to);
	if (error)
		return error;
	if (occupied(m, move.mm, move.to, move.to + pages))
		return machine_fail(m, -EEXIST, "something is mapped at 0x%llx already",
				    (unsigned long long)to);
	error = mremap_reserve(m, &move, pages);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MREMAP, move.mm, addr, pages);
	op.value = to;
	error = op_begin(m, &op);
	if (error)
		return error;
	zap_drain(m, move.mm); /* the old range is unmapped */
	return op_end(m, &op, mremap_all(m, &move));
}
