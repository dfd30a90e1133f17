/* SPDX-License-Identifier: MIT
 *
 * UFFDIO_MOVE (v6.8+): pages go from one private anonymous mapping of a process to another,
 * without a copy; after mm/userfaultfd.c, move_pages, move_pages_pte, move_pages_huge_pmd.  What
 * moves must be the process's own, so its anon and offset change with it, and the entry is made
 * anew.
 *
 * Never decides whether a page is the process's own enough: the policy is asked.  Of a swap entry,
 * and so of a page that nothing maps, the marker alone says it.  Read split.c for large folios.
 */
#include "kernel/ask.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* A move on its way: the page at hand, and where it goes. */
struct move {
	struct fault from;
	uint32_t vma;   /* destination */
	uint64_t to;    /* page there */
	uint64_t pages; /* left */
};

/* The entry of a page that has moved: writable, as both mappings are, if the page is known to be
 * ours. */
static uint64_t moved_entry(const cow_machine *m, const struct move *move, uint64_t old,
			    bool marker)
{
	return (old & ~UINT64_C(0xffffffff)) | entry_flags(vma_at(m, move->vma)) | PTE_SOFT |
	       (old & (PTE_DIRTY | PTE_MARKER | PTE_HUGE)) | (marker ? PTE_WRITE : old & PTE_WRITE);
}

static void move_note(cow_machine *m, const struct move *move, uint64_t pages)
{
	note(m, COW_CHANGE_MOVE, move->from.mm, move->to, pages,
	     move->from.page << m->state.page_shift);
}

/* An entry leaves its table for that of the new place, and so does its marker beside the tables. */
static void move_entry(cow_machine *m, struct move *move, uint64_t entry)
{
	struct leaf into;
	bool side = m->state.marker >= COW_MARKER_ADJACENT &&
		    side_marker_get(m, &move->from.leaf, move->from.slot);

	leaf_make_of(m, move->from.mm, move->to, &into);
	if (side)
		side_marker_put(m, &move->from.leaf, move->from.slot, false);
	pte_empty(m, &move->from.leaf, move->from.slot);
	pte_fill(m, &into, leaf_slot(m, move->to), entry);
	if (side)
		side_marker_put(m, &into, leaf_slot(m, move->to), true);
}

/* folio_move_anon_rmap, and the new offset; a page that nothing maps has no anon until it is
 * mapped. */
static void move_frame(cow_machine *m, const struct move *move, uint32_t frame)
{
	const struct vma *into = vma_at(m, move->vma);

	if (page_mapcount(m, frame))
		page_set_anon(m, frame, into->anon);
	if (frame_large(m, frame))
		folio_of(m, frame)->index = vma_pgoff(into, move->to);
	else
		frame_body(m, frame)->index = vma_pgoff(into, move->to);
}

/* move_pages_pte asks for the marker of a folio's first page, wherever that is mapped and whichever is
 * to move; once the folio is split, for the page's own. */
static bool move_allowed(cow_machine *m, const struct move *move)
{
	struct question question = { COW_DECIDE_MOVE, move->from.mm, move->from.page,
				     at_entry(&move->from) };
	struct cow_view view = view_entry(m, move->from.vma, &move->from.leaf, move->from.slot);
	uint32_t frame = pte_frame(*question.pte);

	if (!move->from.leaf.pmd && frame_large(m, frame) &&
	    m->state.marker != COW_MARKER_NONE && !PLANTED(60))
		view.exclusive = !(folio_of(m, frame)->flags & FOLIO_HEAD_SHARED);
	return ask(m, question, view)->action == COW_ACT_ALLOW;
}

/* move_swap_pte; a page in the swap cache goes along, and so does userfaultfd's mark. */
static int move_swapped(cow_machine *m, struct move *move)
{
	uint64_t entry = *at_entry(&move->from);
	const struct slot *slot = slot_at(m, pte_frame(entry));
	bool mapped = slot->frame && frame_at(m, slot->frame)->mapcount;
	bool exclusive = m->state.marker == COW_MARKER_NONE ? slot->count == 1
			 : m->state.marker >= COW_MARKER_ADJACENT
				 ? side_marker_get(m, &move->from.leaf, move->from.slot)
				 : (entry & PTE_MARKER) != 0;

	if (!exclusive || mapped || (slot->frame && (frame_at(m, slot->frame)->flags & FRAME_KSM)))
		return -EBUSY;
	move_note(m, move, 1);
	if (slot->frame)
		move_frame(m, move, slot->frame);
	move_entry(m, move, entry | PTE_SOFT);
	return 0;
}

/* move_present_pte, move_zeropage_pte.  -EAGAIN: a folio was split, look again. */
static int move_present(cow_machine *m, struct move *move)
{
	uint64_t entry = *at_entry(&move->from);
	uint32_t frame = pte_frame(entry);
	bool marker;

	if (entry & PTE_SPECIAL) {
		move_note(m, move, 1);
		move_entry(m, move, pte_make(0, entry_flags(vma_at(m, move->vma)) | PTE_SPECIAL));
		return 0;
	}
	if (!move_allowed(m, move))
		return -EBUSY;
	if (frame_large(m, frame))
		return split_folio(m, frame) ? -EAGAIN : -EBUSY;
	if (frame_at(m, frame)->mapcount != 1 || (frame_at(m, frame)->flags & FRAME_KSM))
		return -EBUSY; /* whatever the policy says: others would not be found any more */
	marker = marker_get(m, &move->from.leaf, move->from.slot, frame_at(m, frame));
	move_note(m, move, 1);
	move_frame(m, move, frame);
	move_entry(m, move, moved_entry(m, move, entry, marker));
	return 0;
}

/* move_pages_huge_pmd, where both sides are whole; else the PMD is split (-EAGAIN).  *pages:
 * moved. */
static int move_huge(cow_machine *m, struct move *move, uint64_t *pages)
{
	struct mm *mm = mm_at(m, move->from.mm);
	uint64_t pmd = *move->from.leaf.pmd;
	uint64_t size = pmd_pages(m);
	struct leaf into;
	bool whole = move->from.page == move->from.leaf.first && move->pages >= size &&
		     !(move->to & (size - 1)) && !leaf_of(m, move->from.mm, move->to, &into);

	/* What is split need only be the process's own: a pin shows when its page is to move. */
	if (!(pmd & PTE_SPECIAL) && (whole || !pmd_marker_get(m, pmd)) && !move_allowed(m, move))
		return -EBUSY;
	if (!whole) {
		pmd_split(m, move->from.mm, &move->from.leaf);
		return -EAGAIN;
	}
	if (pmd & PTE_SPECIAL) {
		pmd = pte_make(0, entry_flags(vma_at(m, move->vma)) | PTE_SPECIAL | PTE_HUGE);
	} else {
		if (folio_of(m, pte_frame(pmd))->mapcount != 1)
			return -EBUSY;
		move_frame(m, move, pte_frame(pmd));
		pmd = moved_entry(m, move, pmd, pmd_marker_get(m, pmd));
	}
	move_note(m, move, size);
	pmd_empty(m, &move->from.leaf);
	pmd_fill(m, &mm->root, move->to, &mm->tables, pmd);
	*pages = size;
	return 0;
}

/* The page at hand.  -ENOENT: there is none; -EEXIST: there is one at the new place already. */
static int move_page(cow_machine *m, struct move *move, uint64_t *pages)
{
	struct fault into = { .mm = move->from.mm, .page = move->to };

	*pages = 1;
	if (!at_find(m, &move->from) || !*at_entry(&move->from))
		return -ENOENT;
	if (at_find(m, &into) && *at_entry(&into))
		return -EEXIST;
	if (move->from.leaf.pmd)
		return move_huge(m, move, pages);
	return *at_entry(&move->from) & PTE_SWAP ? move_swapped(m, move) : move_present(m, move);
}

/* Page after page, up to the first that cannot move; what was moved stays moved. */
static int move_range(cow_machine *m, struct move *move, uint64_t pages, struct cow_result *result)
{
	uint64_t first = move->from.page, to = move->to, step;
	struct mm *mm = mm_at(m, move->from.mm);
	int error = 0;

	anon_prepare(m, move->vma);
	while (!error && result->done < pages) {
		move->from.page = first + result->done;
		move->to = to + result->done;
		move->pages = pages - result->done;
		do
			error = move_page(m, move, &step);
		while (error == -EAGAIN);
		if (!error)
			result->done += step;
	}
	tables_prune(m, &mm->root, first, first + pages, &mm->tables);
	machine_count(m, COW_COUNT_TLB_FLUSHES, result->done != 0);
	result->counts[COW_OUT_MOVED] = result->done;
	result->counts[COW_OUT_REFUSED] = error == -EBUSY;
	result->outcome = error == -EBUSY ? COW_OUT_REFUSED : error ? COW_OUT_NONE : COW_OUT_MOVED;
	if (error)
		return machine_fail(m, error, "the page at 0x%llx cannot move: %s",
				    (unsigned long long)(move->from.page << m->state.page_shift),
				    error == -EBUSY    ? "it is shared or pinned"
				    : error == -ENOENT ? "there is none"
						       : "there is one at the new place");
	return 0;
}

/* find_vmas_mm_locked, validate_move_areas: one private anonymous writable VMA on each side. */
static int move_check(cow_machine *m, uint32_t vma, uint64_t end)
{
	const struct vma *in = vma ? vma_at(m, vma) : NULL;

	if (!in)
		return machine_fail(m, -ENOENT, "nothing is mapped at one of the places");
	if (in->end < end || in->object || (in->flags & (VMA_SHARED | VMA_HUGETLB)) ||
	    !(in->flags & VMA_WRITE))
		return machine_fail(m, -EINVAL, "both places must lie in a private, anonymous and "
						"writable mapping each");
	return 0;
}

static int move_reserve(cow_machine *m, const struct move *move, uint64_t pages)
{
	uint32_t root = mm_at(m, move->from.mm)->root;
	uint64_t splits = 2 * (uint64_t)m->state.pmds;
	int error = machine_reserve(m, POOL_ANON, 1);

	if (!error)
		error = machine_reserve(m, POOL_AVC, 1);
	return error ? error : tables_reserve(m, root, move->to, move->to + pages, splits);
}

int cow_uffd_move(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, uint64_t to,
		  struct cow_result *result)
{
	struct cow_result unwanted;
	struct move move = { 0 };
	struct cow_op op;
	int error = mm_resolve(m, handle, &move.from.mm);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error)
		error = range_check(m, addr, pages, &move.from.page);
	if (!error)
		error = range_check(m, to, pages, &move.to);
	if (error)
		return error;
	if (move.to < move.from.page + pages && move.from.page < move.to + pages)
		return machine_fail(m, -EINVAL, "the new place overlaps the old one");
	move.from.vma = vma_covering(m, move.from.mm, move.from.page);
	error = move_check(m, move.from.vma, move.from.page + pages);
	move.vma = error ? 0 : vma_covering(m, move.from.mm, move.to);
	if (!error)
		error = move_check(m, move.vma, move.to + pages);
	if (!error)
		error = move_reserve(m, &move, pages);
	if (error)
		return error;
	op_set(m, &op, COW_OP_UFFD_MOVE, move.from.mm, addr, pages);
	op.value = to;
	error = op_begin(m, &op);
	if (error)
		return error;
	return op_end(m, &op, move_range(m, &move, pages, result));
}
