/* SPDX-License-Identifier: MIT
 *
 * Page faults, after mm/memory.c: handle_pte_fault, do_anonymous_page, do_wp_page.  Faults on what is
 * swapped, of a file, mapped by a PMD or of hugetlb are handed to the files of these.
 * Each fault is a short row of steps over a struct fault; a step is what the kernel does under one
 * hold of the page-table lock.  Whether to reuse or to copy is asked, never decided, here.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* Pages of a leaf, or of a hole of the same size, that a fault would give a new frame. */
static uint64_t frames_wanted(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end,
			      bool write)
{
	uint64_t wanted = 0;

	while (first < end) {
		uint64_t next = (first | (leaf_entries(m) - 1)) + 1;
		struct leaf leaf;

		if (next > end)
			next = end;
		if (pmd_find(m, mm_at(m, mm)->root, first, &leaf)) {
			wanted += write && !(*leaf.pmd & PTE_WRITE) ? next - first : 0;
		} else if (!leaf_find(m, mm_at(m, mm)->root, first, &leaf)) {
			wanted += next - first;
		} else {
			const uint64_t needed = write ? PTE_WRITE : PTE_PRESENT;

			/* What is not there has neither.  What is swapped is read, and copied then. */
			for (uint64_t page = first; page < next; page++) {
				uint64_t pte = leaf.ptes[leaf_slot(m, page)];

				wanted += !(pte & needed) + !!(pte & PTE_SWAP);
			}
		}
		first = next;
	}
	return wanted;
}

/* What the VMAs of a range may need beside frames. */
struct wants {
	uint64_t vmas;
	uint64_t frames;  /* more than one a page: a private copy of a hole of a file is two */
	uint64_t tables;  /* of the trees of objects */
	uint64_t folios;
	uint32_t order;   /* the largest of theirs */
};

static void vma_wants(cow_machine *m, const struct vma *in, uint64_t first, uint64_t end,
		      struct wants *wants)
{
	uint32_t order;

	wants->vmas++;
	if (in->object)
		wants->tables += tables_missing(m, object_at(m, in->object)->root,
						vma_pgoff(in, first), vma_pgoff(in, end - 1) + 1);
	if (in->object && !(in->flags & (VMA_SHARED | VMA_HUGETLB)))
		wants->frames += end - first;
	if (in->flags & (VMA_HUGEPAGE | VMA_HUGETLB)) {
		wants->folios += huge_wanted(m, in, first, end, &order) << (in->object != 0);
		if (order > wants->order)
			wants->order = order;
	}
}

int fault_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		  unsigned times)
{
	uint64_t frames = end - first;
	struct wants wants = { 0 };
	int error;

	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		vma_wants(m, in, in->start > first ? in->start : first,
			  in->end < end ? in->end : end, &wants);
	}
	if (!wants.vmas)
		return 0;
	if (pool_spare(&m->pools[POOL_FRAME]) < 2 * frames * times)
		frames = frames_wanted(m, mm, first, end, write);
	frames += wants.frames;
	error = wants.folios
			? folio_reserve(m, frames * times, wants.order, wants.folios * times)
			: frame_reserve(m, frames * times);
	if (!error)
		error = tables_reserve(m, mm_at(m, mm)->root, first, end, wants.tables);
	if (!error)
		error = machine_reserve(m, POOL_ANON, wants.vmas);
	if (!error)
		error = machine_reserve(m, POOL_AVC, wants.vmas);
	if (!error && m->state.lru_batch)
		error = machine_reserve(m, POOL_LINK, (uint64_t)m->state.lru_batch + 2);
	return error;
}

void frame_make_anon(cow_machine *m, uint32_t index, uint32_t vma, uint64_t page)
{
	struct frame *frame = frame_at(m, index);

	*frame = (struct frame){ .refcount = 1, .mapcount = 1, .flags = FRAME_ANON,
				 .owner = vma_at(m, vma)->anon };
	frame_body(m, index)->index = vma_pgoff(vma_at(m, vma), page);
	machine_count(m, COW_COUNT_ATOMICS, 2);
}

uint64_t entry_flags(const struct vma *vma)
{
	return PTE_PRESENT | PTE_YOUNG | (vma->flags & VMA_READ ? 0 : PTE_PROTNONE);
}

uint64_t entry_written(const struct vma *vma)
{
	return vma->flags & VMA_WRITE ? PTE_WRITE | PTE_DIRTY | PTE_SOFT : 0;
}

/* Maps a new anonymous frame: writable and dirty as the VMA and the fault want it. */
static void install_anon(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t *pte = &fault->leaf.ptes[fault->slot];
	uint64_t flags = entry_flags(vma);

	/* maybe_mkwrite: a FOLL_FORCE write leaves the PTE of a read-only VMA read-only; only
	 * do_wp_page makes that dirty, do_anonymous_page does not. */
	if ((fault->flags & FAULT_WRITE) || PLANTED(7))
		flags |= entry_written(vma) | (fault->wp ? PTE_DIRTY | PTE_SOFT : 0);
	else if (*pte)
		flags |= *pte & (PTE_SOFT | PTE_UFFD); /* unsharing is no write */
	if (*pte)
		*pte = pte_make(fault->new, flags);
	else
		pte_fill(m, &fault->leaf, fault->slot, pte_make(fault->new, flags));
	marker_put(m, &fault->leaf, fault->slot, frame_at(m, fault->new), true);
	batch_add(m, fault->mm, fault->new);
}

/* do_anonymous_page */
static enum cow_outcome fault_anon(cow_machine *m, struct fault *fault)
{
	if (!(fault->flags & FAULT_WRITE)) {
		pte_fill(m, &fault->leaf, fault->slot,
			 pte_make(0, PTE_PRESENT | PTE_YOUNG | PTE_SPECIAL));
		mm_at(m, fault->mm)->pages++;
		machine_count(m, COW_COUNT_ZEROS, 1);
		return COW_OUT_ZERO;
	}
	fault->new = frame_alloc(m);
	if (!fault->new)
		return COW_OUT_OOM;
	anon_prepare(m, fault->vma);
	frame_make_anon(m, fault->new, fault->vma, fault->page);
	install_anon(m, fault);
	note_page(m, COW_CHANGE_FRESH, fault->vma, fault->page, fault->new, 0, 0);
	mm_at(m, fault->mm)->pages++;
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* All that the view of a write fault is made of beside the counts, packed without making it. */
static uint64_t sight_flags(const cow_machine *m, const struct fault *fault,
			    const struct frame *frame, bool marker)
{
	_Static_assert(FRAME_DETACHED < 1 << 12 && PTE_SWAP < 1 << 12 && VMA_NOHUGEPAGE < 1 << 16,
		       "the flags fit");
	return (uint64_t)frame->flags | (fault->leaf.ptes[fault->slot] & 0xfff) << 12 |
	       (uint64_t)vma_at(m, fault->vma)->flags << 24 |
	       (uint64_t)mm_at(m, fault->mm)->flags << 40 | (uint64_t)fault->flags << 48 |
	       (uint64_t)marker << 56;
}

static struct cow_view wp_view(cow_machine *m, const struct fault *fault)
{
	struct cow_view view = view_entry(m, fault->vma, &fault->leaf, fault->slot);

	view.req_write = (fault->flags & FAULT_WRITE) != 0;
	view.req_unshare = (fault->flags & FAULT_UNSHARE) != 0;
	return view;
}

/* Asks until the answer is final: the LRU batch may be drained for it, and the swap cache freed, once
 * each. */
static struct cow_view wp_ask(cow_machine *m, struct fault *fault)
{
	struct question question = { COW_DECIDE_WRITE, fault->mm, fault->page,
				     &fault->leaf.ptes[fault->slot] };
	bool drained = false, freed = false;

	for (;;) {
		struct cow_view view = wp_view(m, fault);

		view.drained = drained;
		view.swap_freed = freed;
		fault->rule = ask(m, question, view);
		if (fault->rule->action == COW_ACT_DRAIN_LRU && !drained) {
			batch_drain(m, fault->mm);
			drained = true;
		} else if (fault->rule->action == COW_ACT_FREE_SWAP && !freed) {
			cache_free(m, fault->old);
			freed = true;
		} else {
			return view;
		}
	}
}

/* do_wp_page, first step: what does the policy say of the page that is mapped? */
static void wp_decide(cow_machine *m, struct fault *fault)
{
	const struct frame *frame = frame_at(m, fault->old);
	uint64_t flags = sight_flags(m, fault, frame,
				     marker_get(m, &fault->leaf, fault->slot, frame));
	uint64_t counts;
	struct cow_view view;

	memcpy(&counts, frame, sizeof(counts));
	if (m->sight.rule && counts == m->sight.counts && flags == m->sight.flags) {
		struct question question = { COW_DECIDE_WRITE, fault->mm, fault->page,
					     &fault->leaf.ptes[fault->slot] };

		fault->rule = m->sight.rule;
		machine_count(m, COW_COUNT_PAGE_LOCKS, fault->rule->locks);
		if (m->decision_observers)
			decision_tell(m, question, m->sight.view, fault->rule, 1, question.pte);
		return;
	}
	view = wp_ask(m, fault);
	/* More than the sight may have been looked at: a folio, a slot, the truth; or what was seen first
	 * is not what was decided on. */
	if ((frame->flags & (FRAME_LARGE | FRAME_SWAPCACHE)) || view.drained || view.swap_freed ||
	    (m->policy->flags & COW_POLICY_NEEDS_TRUTH))
		return;
	m->sight = (struct sight){ counts, flags, view, fault->rule };
}

/* v5.1 to v5.8: reuse_ksm_page makes an ordinary page of it. */
static void ksm_release(cow_machine *m, struct fault *fault)
{
	struct frame *frame = frame_at(m, fault->old);

	items_free(m, frame->flags & FRAME_SWAPCACHE ? slot_at(m, frame->owner)->owner
						     : frame->owner);
	frame->flags &= ~(uint32_t)FRAME_KSM;
	frame_body(m, fault->old)->index = vma_pgoff(vma_at(m, fault->vma), fault->page);
}

/* page_move_anon_rmap for a page whose anon is kept elsewhere. */
static void move_anon(cow_machine *m, struct fault *fault, uint32_t anon)
{
	if (page_folio_mapcount(m, fault->old) > 1)
		return;
	if (frame_at(m, fault->old)->flags & FRAME_KSM)
		ksm_release(m, fault);
	page_set_anon(m, fault->old, anon);
}

/* wp_page_reuse; of an unshare fault: the page stays read-only but is known to be ours. */
static enum cow_outcome wp_reuse(cow_machine *m, struct fault *fault, const struct vma *vma,
				 struct frame *frame)
{
	uint64_t *pte = &fault->leaf.ptes[fault->slot];

	if (frame->flags & FRAME_ANON) {
		/* page_move_anon_rmap; where others map the page too, they must go on finding it. */
		if (frame->flags & (FRAME_LARGE | FRAME_SWAPCACHE | FRAME_KSM))
			move_anon(m, fault, vma->anon);
		else if (frame->mapcount == 1)
			frame->owner = vma->anon;
		marker_put(m, &fault->leaf, fault->slot, frame, !PLANTED(10));
		note_page(m, COW_CHANGE_REUSE, fault->vma, fault->page, fault->old, 0, 0);
	}
	if (fault->flags & FAULT_WRITE) {
		*pte |= PTE_DIRTY | PTE_YOUNG | PTE_SOFT;
		if (vma->flags & VMA_WRITE)
			*pte |= PTE_WRITE;
		machine_count(m, COW_COUNT_REUSES, 1); /* PGREUSE does not count unsharing */
	}
	return COW_OUT_REUSE;
}

/* wp_page_copy, first step: a page of our own with the old one's content. */
static bool wp_copy_prepare(cow_machine *m, struct fault *fault)
{
	fault->new = frame_alloc(m);
	if (!fault->new)
		return false;
	anon_prepare(m, fault->vma);
	frame_make_anon(m, fault->new, fault->vma, fault->page);
	frame_body(m, fault->new)->value = PLANTED(8) ? 0 : frame_body(m, fault->old)->value;
	return true;
}

/* Second step: the PTE changes over, and the old page's mapping is dropped only after. */
static void wp_copy_install(cow_machine *m, struct fault *fault)
{
	install_anon(m, fault);
	note_page(m, COW_CHANGE_COPY, fault->vma, fault->page, fault->new, 0, fault->old);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	if (fault->old && !PLANTED(9))
		frame_unmap(m, fault->old, fault->mm);
}

static enum cow_outcome wp_copy(cow_machine *m, struct fault *fault)
{
	if (!wp_copy_prepare(m, fault))
		return COW_OUT_OOM;
	wp_copy_install(m, fault);
	if (fault->flags & FAULT_UNSHARE) {
		machine_count(m, COW_COUNT_UNSHARES, 1);
		return COW_OUT_UNSHARE;
	}
	machine_count(m, COW_COUNT_COPIES, 1);
	return COW_OUT_COPY;
}

/* do_wp_page */
enum cow_outcome fault_wp(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	struct frame *frame;
	bool copy = false;

	fault->wp = true;
	fault->old = pte_frame(fault->leaf.ptes[fault->slot]);
	frame = frame_at(m, fault->old);
	if (!(vma->flags & VMA_SHARED)) {
		copy = true;
		if (frame->flags & FRAME_ANON) {
			wp_decide(m, fault);
			copy = fault->rule->action != COW_ACT_REUSE;
		}
	}
	/* Called from one place each, they are inlined. */
	return copy ? wp_copy(m, fault) : wp_reuse(m, fault, vma, frame);
}

/* A fault on a present PTE. */
static enum cow_outcome fault_present(cow_machine *m, struct fault *fault)
{
	uint64_t *pte = &fault->leaf.ptes[fault->slot];

	if ((*pte & PTE_PROTNONE) && (vma_at(m, fault->vma)->flags & VMA_READ)) {
		numa_fault(m, fault);
		if (entry_allows(*pte, fault->flags & FAULT_WRITE))
			return COW_OUT_HIT;
	}
	if (uffd_blocks(*pte, fault->flags))
		return COW_OUT_BLOCKED;
	return fault_wp(m, fault);
}

/* handle_pte_fault */
static enum cow_outcome fault_pte(cow_machine *m, struct fault *fault)
{
	uint64_t pte = fault->leaf.ptes[fault->slot];

	if (pte & PTE_PRESENT)
		return fault_present(m, fault);
	if (pte)
		return fault_swap(m, fault);
	return vma_at(m, fault->vma)->object ? fault_file(m, fault) : fault_anon(m, fault);
}

/* __handle_mm_fault, where no leaf table was found: a PMD, a huge page, or a new table.
 * COW_OUT_NONE: the leaf table is there. */
static enum cow_outcome fault_table(cow_machine *m, struct fault *fault)
{
	enum cow_outcome outcome = COW_OUT_NONE;
	const struct vma *vma = vma_at(m, fault->vma);

	fault->slot = leaf_slot(m, fault->page);
	if (vma->flags & VMA_HUGETLB)
		return hugetlb_fault(m, fault);
	if (pmd_find(m, mm_at(m, fault->mm)->root, fault->page, &fault->leaf))
		return huge_wp(m, fault);
	if (vma->flags & VMA_HUGEPAGE)
		outcome = huge_fault(m, fault);
	if (outcome == COW_OUT_NONE)
		leaf_make_of(m, fault->mm, fault->page, &fault->leaf);
	return outcome;
}

/* handle_mm_fault */
enum cow_outcome fault_handle(cow_machine *m, struct fault *fault, bool walked)
{
	enum cow_outcome outcome = COW_OUT_NONE;

	machine_count(m, COW_COUNT_FAULTS, 1);
	fault->wp = false;
	if (!walked)
		outcome = fault_table(m, fault);
	if (outcome == COW_OUT_NONE)
		outcome = fault_pte(m, fault);
	/* A table that was made in vain goes again. */
	if (fault_failed(outcome) && !fault->leaf.pmd)
		tables_prune(m, &mm_at(m, fault->mm)->root, fault->page, fault->page + 1,
			     &mm_at(m, fault->mm)->tables);
	return outcome;
}
