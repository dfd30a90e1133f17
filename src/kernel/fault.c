/* SPDX-License-Identifier: MIT
 *
 * Page faults on base pages, after mm/memory.c: do_anonymous_page, do_shared_fault, do_wp_page.
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
		if (!leaf_find(m, mm_at(m, mm)->root, first, &leaf)) {
			wanted += next - first;
		} else {
			for (uint64_t page = first; page < next; page++) {
				uint64_t pte = leaf.ptes[leaf_slot(m, page)];

				wanted += !pte || (write && !(pte & PTE_WRITE));
			}
		}
		first = next;
	}
	return wanted;
}

int fault_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		  unsigned times)
{
	uint64_t vmas = 0, objects = 0;
	uint64_t frames = end - first;
	int error;

	for (uint32_t vma = vma_find(m, mm, first); vma && vma_at(m, vma)->start < end;
	     vma = vma_at(m, vma)->next) {
		const struct vma *in = vma_at(m, vma);

		vmas++;
		if (in->object) {
			uint64_t low = in->start > first ? in->start : first;
			uint64_t high = in->end < end ? in->end : end;

			objects += tables_missing(m, object_at(m, in->object)->root,
						  vma_pgoff(in, low), vma_pgoff(in, high - 1) + 1);
		}
	}
	if (!vmas)
		return 0;
	if (pool_spare(&m->pools[POOL_FRAME]) < frames * times)
		frames = frames_wanted(m, mm, first, end, write);
	error = frame_reserve(m, frames * times);
	if (!error)
		error = tables_reserve(m, mm_at(m, mm)->root, first, end, objects);
	if (!error)
		error = machine_reserve(m, POOL_ANON, vmas);
	if (!error)
		error = machine_reserve(m, POOL_AVC, vmas);
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

/* Maps a new anonymous frame: writable and dirty as the VMA and the fault want it. */
static void install_anon(cow_machine *m, struct fault *fault)
{
	bool may_write = vma_at(m, fault->vma)->flags & VMA_WRITE;
	uint64_t flags = PTE_PRESENT | PTE_YOUNG;

	if (!(vma_at(m, fault->vma)->flags & VMA_READ))
		flags |= PTE_PROTNONE; /* a FOLL_FORCE write into a PROT_NONE mapping */
	/* maybe_mkwrite: a FOLL_FORCE write leaves the PTE of a read-only VMA read-only; only
	 * do_wp_page makes that dirty, do_anonymous_page does not. */
	if ((fault->flags & FAULT_WRITE) || PLANTED(7))
		flags |= (may_write ? PTE_WRITE | PTE_DIRTY : 0) | (fault->wp ? PTE_DIRTY : 0);
	if (fault->leaf.ptes[fault->slot])
		fault->leaf.ptes[fault->slot] = pte_make(fault->new, flags);
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

/* do_read_fault, do_shared_fault on shared anonymous memory, which needs no dirty tracking. */
static enum cow_outcome fault_shared(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t index = vma_pgoff(vma, fault->page);
	uint32_t frame = object_frame(m, vma->object, index);
	uint64_t flags = PTE_PRESENT | PTE_YOUNG;

	if (!frame) {
		frame = frame_alloc(m);
		if (!frame)
			return COW_OUT_OOM;
		object_add(m, vma->object, index, frame);
		note_page(m, COW_CHANGE_ADD, fault->vma, fault->page, frame, 0, 0);
	}
	frame_at(m, frame)->refcount++;
	frame_at(m, frame)->mapcount++;
	machine_count(m, COW_COUNT_ATOMICS, 2);
	if (vma->flags & VMA_WRITE)
		flags |= PTE_WRITE;
	if (fault->flags & FAULT_WRITE)
		flags |= PTE_DIRTY;
	pte_fill(m, &fault->leaf, fault->slot, pte_make(frame, flags));
	mm_at(m, fault->mm)->pages++;
	note_entries(m, COW_CHANGE_MAP, fault->vma, fault->page, 1, &fault->leaf.ptes[fault->slot]);
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* All that the view of a write fault is made of, packed without making it. */
static struct sight sight_of(const cow_machine *m, const struct fault *fault,
			     const struct frame *frame, bool marker)
{
	struct sight sight;

	memcpy(&sight.counts, frame, sizeof(sight.counts));
	sight.flags = (uint64_t)frame->flags | (fault->leaf.ptes[fault->slot] & 0xff) << 8 |
		      (uint64_t)vma_at(m, fault->vma)->flags << 16 |
		      (uint64_t)mm_at(m, fault->mm)->flags << 32 | (uint64_t)fault->flags << 40 |
		      (uint64_t)marker << 48;
	return sight;
}

static struct cow_view wp_view(cow_machine *m, const struct fault *fault, bool marker)
{
	struct cow_view view = view_frame(frame_at(m, fault->old));

	view = view_pte(view, fault->leaf.ptes[fault->slot], marker);
	view = view_vma(view, mm_at(m, fault->mm), vma_at(m, fault->vma));
	view.req_write = (fault->flags & FAULT_WRITE) != 0;
	view.req_unshare = (fault->flags & FAULT_UNSHARE) != 0;
	return view;
}

/* do_wp_page, first step: what does the policy say of the page that is mapped? */
static void wp_decide(cow_machine *m, struct fault *fault)
{
	const struct frame *frame = frame_at(m, fault->old);
	struct question question = { COW_DECIDE_WRITE, fault->mm, fault->page,
				     &fault->leaf.ptes[fault->slot] };
	bool marker = marker_get(m, &fault->leaf, fault->slot, frame);
	struct sight sight = sight_of(m, fault, frame, marker);
	struct cow_view view;

	if (m->sight.rule && sight.counts == m->sight.counts && sight.flags == m->sight.flags) {
		fault->rule = m->sight.rule;
		machine_count(m, COW_COUNT_PAGE_LOCKS, fault->rule->locks);
		if (m->decision_observers)
			decision_tell(m, question, m->sight.view, fault->rule, 1, question.pte);
		return;
	}
	view = wp_view(m, fault, marker);
	fault->rule = ask(m, question, view);
	if (fault->rule->action == COW_ACT_DRAIN_LRU) {
		batch_drain(m, fault->mm);
		view = wp_view(m, fault, marker);
		view.drained = true;
		fault->rule = ask(m, question, view);
		return;
	}
	if (m->policy->flags & COW_POLICY_NEEDS_TRUTH)
		return; /* the truth is no part of what was seen */
	sight.rule = fault->rule;
	sight.view = view;
	m->sight = sight;
}

/* wp_page_reuse; of an unshare fault: the page stays read-only but is known to be ours. */
static enum cow_outcome wp_reuse(cow_machine *m, struct fault *fault)
{
	struct frame *frame = frame_at(m, fault->old);
	uint64_t *pte = &fault->leaf.ptes[fault->slot];

	if (frame->flags & FRAME_ANON) {
		/* page_move_anon_rmap; where others map the page too, they must go on finding it. */
		if (frame->mapcount == 1)
			frame->owner = vma_at(m, fault->vma)->anon;
		marker_put(m, &fault->leaf, fault->slot, frame, !PLANTED(10));
		note_page(m, COW_CHANGE_REUSE, fault->vma, fault->page, fault->old, 0, 0);
	}
	if (fault->flags & FAULT_WRITE) {
		*pte |= PTE_DIRTY | PTE_YOUNG;
		if (vma_at(m, fault->vma)->flags & VMA_WRITE)
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
		frame_unmap(m, fault->old);
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
static enum cow_outcome fault_wp(cow_machine *m, struct fault *fault)
{
	const struct frame *frame;

	fault->wp = true;
	fault->old = pte_frame(fault->leaf.ptes[fault->slot]);
	frame = frame_at(m, fault->old);
	if (vma_at(m, fault->vma)->flags & VMA_SHARED)
		return wp_reuse(m, fault);
	if (!(frame->flags & FRAME_ANON))
		return wp_copy(m, fault);
	wp_decide(m, fault);
	return fault->rule->action == COW_ACT_REUSE ? wp_reuse(m, fault) : wp_copy(m, fault);
}

/* handle_pte_fault */
enum cow_outcome fault_handle(cow_machine *m, struct fault *fault, bool walked)
{
	enum cow_outcome outcome;

	machine_count(m, COW_COUNT_FAULTS, 1);
	fault->wp = false;
	if (!walked) {
		leaf_make_of(m, fault->mm, fault->page, &fault->leaf);
		fault->slot = leaf_slot(m, fault->page);
	}
	if (fault->leaf.ptes[fault->slot])
		return fault_wp(m, fault);
	outcome = vma_at(m, fault->vma)->object ? fault_shared(m, fault) : fault_anon(m, fault);
	if (outcome == COW_OUT_OOM)
		tables_prune(m, &mm_at(m, fault->mm)->root, fault->page, fault->page + 1,
			     &mm_at(m, fault->mm)->tables);
	return outcome;
}
