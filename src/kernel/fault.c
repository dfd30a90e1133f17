/* SPDX-License-Identifier: MIT
 *
 * Page faults, after mm/memory.c: handle_pte_fault, do_anonymous_page, do_wp_page.  Faults on what is
 * swapped, of a file, mapped by a PMD or of hugetlb are handed to the files of these.
 * Each fault is a short row of steps over a struct fault; a step is what the kernel does under one
 * hold of the page-table lock.  Whether to reuse or to copy is asked, never decided, here.
 */
#include "kernel/run.h"

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
	if ((in->flags & (VMA_HUGEPAGE | VMA_HUGETLB)) || m->state.pmds) {
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
	if (pool_spare(&m->pools[POOL_FRAME]) < (frames << (m->pools[POOL_SLOT].live != 0)) * times)
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

/* The steps of the hot paths take what has been looked up already: what a fault names by number the
 * compiler would look up again after every store. */
static inline void make_anon(cow_machine *m, uint32_t index, const struct vma *vma, uint64_t page)
{
	*frame_at(m, index) = (struct frame){ .refcount = 1, .mapcount = 1, .flags = FRAME_ANON,
					      .owner = vma->anon };
	frame_body(m, index)->index = vma_pgoff(vma, page);
	machine_count(m, COW_COUNT_ATOMICS, 2);
}

void frame_make_anon(cow_machine *m, uint32_t index, uint32_t vma, uint64_t page)
{
	make_anon(m, index, vma_at(m, vma), page);
}

/* A new anonymous page is mapped: it is the process's own. */
static inline void anon_mapped(cow_machine *m, const struct fault *fault, uint32_t new)
{
	marker_put(m, &fault->leaf, fault->slot, frame_at(m, new), true);
	batch_add(m, fault->mm, new);
}

/* do_anonymous_page */
static inline enum cow_outcome fault_anon(cow_machine *m, struct fault *fault,
					  const struct vma *vma)
{
	uint32_t new;

	if (!(fault->flags & FAULT_WRITE)) {
		pte_fill(m, &fault->leaf, fault->slot,
			 pte_make(0, PTE_PRESENT | PTE_YOUNG | PTE_SPECIAL));
		mm_at(m, fault->mm)->pages++;
		machine_count(m, COW_COUNT_ZEROS, 1);
		return COW_OUT_ZERO;
	}
	new = frame_alloc(m);
	if (!new)
		return COW_OUT_OOM;
	anon_prepare(m, fault->vma);
	make_anon(m, new, vma, fault->page);
	/* maybe_mkwrite: a FOLL_FORCE write leaves the PTE of a read-only VMA read-only; only
	 * do_wp_page makes that dirty, do_anonymous_page does not. */
	pte_fill(m, &fault->leaf, fault->slot,
		 pte_make(new, entry_flags(vma) | entry_written(vma)));
	anon_mapped(m, fault, new);
	note_page(m, COW_CHANGE_FRESH, fault->vma, fault->page, new, 0, 0);
	mm_at(m, fault->mm)->pages++;
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
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

/* Asks, and remembers the answer where another page that looks alike must get the same.  Out of line,
 * so that what is remembered costs no more than a look. */
static __attribute__((noinline)) void wp_ask_anew(cow_machine *m, struct fault *fault,
						  uint64_t counts, uint64_t flags)
{
	const struct frame *frame = frame_at(m, fault->old);
	struct cow_view view = wp_ask(m, fault);

	/* More than the sight may have been looked at: a folio, a slot, the truth; or what was seen first
	 * is not what was decided on. */
	if ((frame->flags & (FRAME_LARGE | FRAME_SWAPCACHE)) || view.drained || view.swap_freed ||
	    (m->policy->flags & COW_POLICY_NEEDS_TRUTH))
		return;
	m->sight = (struct sight){ counts, flags, view, fault->rule };
}

static __attribute__((noinline)) void sight_tell(cow_machine *m, const struct fault *fault)
{
	struct question question = { COW_DECIDE_WRITE, fault->mm, fault->page,
				     &fault->leaf.ptes[fault->slot] };

	decision_tell(m, question, m->sight.view, fault->rule, 1, question.pte);
}

/* do_wp_page, first step: what does the policy say of the page that is mapped? */
static inline const struct cow_rule *wp_decide(cow_machine *m, struct fault *fault,
					       const struct vma *vma, const struct frame *frame)
{
	uint64_t flags = wp_flags(m, fault->mm, vma, frame, fault->leaf.ptes[fault->slot], fault->flags,
				  marker_get(m, &fault->leaf, fault->slot, frame));
	uint64_t counts;

	memcpy(&counts, frame, sizeof(counts));
	if (!m->sight.rule || counts != m->sight.counts || flags != m->sight.flags) {
		wp_ask_anew(m, fault, counts, flags);
		return fault->rule;
	}
	fault->rule = m->sight.rule;
	machine_count(m, COW_COUNT_PAGE_LOCKS, fault->rule->locks);
	if (m->decision_observers)
		sight_tell(m, fault);
	return fault->rule;
}

/* v5.1 to v5.8: reuse_ksm_page makes an ordinary page of it. */
static void ksm_release(cow_machine *m, struct fault *fault)
{
	ksm_remove(m, fault->old);
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
		if (frame->flags & FRAME_LARGE)
			folio_head_owned(m, fault->old);
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
static inline uint32_t wp_copy_prepare(cow_machine *m, const struct fault *fault,
				       const struct vma *vma)
{
	uint32_t new = frame_alloc(m);

	if (!new)
		return 0;
	anon_prepare(m, fault->vma);
	make_anon(m, new, vma, fault->page);
	frame_body(m, new)->value = PLANTED(8) ? 0 : frame_body(m, fault->old)->value;
	return new;
}

/* Unsharing is no write: what the new entry takes from the old one.  Linux has the new page clean, too. */
static uint64_t unshared(cow_machine *m, uint32_t new, uint64_t pte)
{
	if (m->policy->flags & COW_POLICY_LOSES_NOTHING)
		page_make_dirty(m, new);
	return pte & (PTE_SOFT | PTE_UFFD);
}

/* Second step: the PTE changes over, and the old page's mapping is dropped only after. */
static inline void wp_copy_install(cow_machine *m, const struct fault *fault,
				   const struct vma *vma)
{
	uint64_t *pte = &fault->leaf.ptes[fault->slot];
	uint64_t flags = entry_flags(vma);

	if ((fault->flags & FAULT_WRITE) || PLANTED(7))
		flags |= entry_written(vma) | PTE_DIRTY | PTE_SOFT;
	else
		flags |= unshared(m, fault->new, *pte);
	*pte = pte_make(fault->new, flags);
	anon_mapped(m, fault, fault->new);
	note_page(m, COW_CHANGE_COPY, fault->vma, fault->page, fault->new, 0, fault->old);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	if (fault->old && !PLANTED(9))
		frame_unmap(m, fault->old, fault->mm);
}

static inline enum cow_outcome wp_copy(cow_machine *m, struct fault *fault, const struct vma *vma)
{
	fault->new = wp_copy_prepare(m, fault, vma);
	if (!fault->new)
		return COW_OUT_OOM;
	wp_copy_install(m, fault, vma);
	if (fault->flags & FAULT_UNSHARE) {
		machine_count(m, COW_COUNT_UNSHARES, 1);
		return COW_OUT_UNSHARE;
	}
	machine_count(m, COW_COUNT_COPIES, 1);
	return COW_OUT_COPY;
}

/* do_wp_page */
static enum cow_outcome fault_wp(cow_machine *m, struct fault *fault, const struct vma *vma)
{
	struct frame *frame;
	bool copy = false;

	fault->wp = true;
	fault->old = pte_frame(fault->leaf.ptes[fault->slot]);
	frame = frame_at(m, fault->old);
	if (!(vma->flags & VMA_SHARED)) {
		copy = true;
		if (frame->flags & FRAME_ANON)
			copy = wp_decide(m, fault, vma, frame)->action != COW_ACT_REUSE;
	}
	/* Called from one place each, they are inlined. */
	return copy ? wp_copy(m, fault, vma) : wp_reuse(m, fault, vma, frame);
}

/* What do_wp_page cannot have yet: a PTE that is swapped, protnone, or waits for userfaultfd.
 * True: the fault ends here, with *outcome. */
static bool fault_ends(cow_machine *m, struct fault *fault, enum cow_outcome *outcome)
{
	const uint64_t *pte = &fault->leaf.ptes[fault->slot];

	*outcome = COW_OUT_NONE;
	if (pte_is_marker(*pte)) {
		*outcome = fault_marker(m, fault);
		return true;
	}
	if (!(*pte & PTE_PRESENT)) {
		*outcome = fault_swap(m, fault);
		return fault_failed(*outcome) || fault->wp || !(fault->flags & FAULT_WRITE);
	}
	if ((*pte & PTE_PROTNONE) && (vma_at(m, fault->vma)->flags & VMA_READ)) {
		numa_fault(m, fault);
		*outcome = COW_OUT_HIT;
		if (entry_allows(*pte, fault->flags & FAULT_WRITE))
			return true;
	}
	*outcome = uffd_blocks(vma_at(m, fault->vma), *pte, fault->flags) ? COW_OUT_BLOCKED
									  : COW_OUT_NONE;
	return *outcome == COW_OUT_BLOCKED;
}

/* handle_pte_fault */
static inline enum cow_outcome fault_pte(cow_machine *m, struct fault *fault)
{
	const uint64_t pte = fault->leaf.ptes[fault->slot];
	const struct vma *vma = vma_at(m, fault->vma);
	enum cow_outcome before = COW_OUT_NONE, outcome;

	if (!pte)
		return vma->object ? fault_file(m, fault) : fault_anon(m, fault, vma);
	if ((pte & (PTE_PRESENT | PTE_PROTNONE | PTE_UFFD)) != PTE_PRESENT &&
	    fault_ends(m, fault, &before))
		return before;
	/* Called from here alone, also where do_swap_page ends in it, do_wp_page is inlined. */
	outcome = fault_wp(m, fault, vma);
	return outcome == COW_OUT_REUSE && before != COW_OUT_NONE ? before : outcome;
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
