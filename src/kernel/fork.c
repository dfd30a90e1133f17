/* SPDX-License-Identifier: MIT
 *
 * fork, after dup_mmap and copy_page_range.  Pages with equal views are decided once: the loop over
 * a table asks anew only where counts or flags differ from the page before.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

struct fork {
	uint32_t parent, child;          /* mms */
	uint32_t vma, child_vma;
	bool flush;                      /* a PTE was writable */
	struct cow_result *result;
	/* What the last answer is good for. */
	uint64_t counts;                 /* refcount and mapcount */
	uint32_t flags;                  /* of the frame */
	uint32_t pte;                    /* PTE_WRITE, PTE_DIRTY and the marker */
	struct cow_view view;
	const struct cow_rule *rule;     /* NULL: ask */
};

/* vma_needs_copy: pages of a VMA without an anon_vma can be faulted in again. */
static bool copies_pages(const struct vma *vma)
{
	if (PLANTED(4))
		return vma->anon && !(vma->flags & (VMA_SHARED | VMA_DONTCOPY));
	return vma->anon && !(vma->flags & (VMA_SHARED | VMA_DONTCOPY | VMA_WIPEONFORK));
}

static bool may_copy_early(const cow_machine *m, uint32_t mm, const struct vma *vma)
{
	return (mm_at(m, mm)->flags & MM_HAS_PINNED) || (vma->flags & VMA_HAD_WRITE_REF) ||
	       !m->fork_keeps_promise;
}

static struct cow_view fork_view(cow_machine *m, const struct fork *fork, uint64_t page,
				 const uint64_t *pte, bool marker)
{
	struct question question = { COW_DECIDE_FORK, fork->parent, page, pte };
	struct cow_view view = view_frame(frame_at(m, pte_frame(*pte)));

	view = view_pte(view, *pte, marker);
	view = view_vma(view, mm_at(m, fork->parent), vma_at(m, fork->vma));
	return m->policy->flags & COW_POLICY_NEEDS_TRUTH ? view_truth(m, question, view) : view;
}

/* How many frames fork will copy: its decisions, made once in advance. */
static uint64_t early_copies(cow_machine *m, uint32_t parent, uint32_t vma)
{
	struct fork fork = { .parent = parent, .vma = vma };
	uint64_t end = vma_at(m, vma)->end;
	uint64_t copies = 0;
	struct leaf leaf;

	for (uint64_t page = vma_at(m, vma)->start;
	     leaf_next(m, mm_at(m, parent)->root, &page, end, &leaf);) {
		for (; page < end && page < leaf.first + leaf_entries(m); page++) {
			uint32_t slot = leaf_slot(m, page);
			uint64_t pte = leaf.ptes[slot];
			const struct frame *frame = frame_at(m, pte_frame(pte));
			bool marker;

			if (!(frame->flags & FRAME_ANON) || !pte)
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
	const struct mm *mm = mm_at(m, parent);
	uint64_t tables = mm->tables;
	uint64_t copies = 0;
	int error = machine_reserve(m, POOL_MM, 1);

	for (uint32_t at = mm->vma_first; at; at = vma_at(m, at)->next)
		if (copies_pages(vma_at(m, at)) && may_copy_early(m, parent, vma_at(m, at)))
			copies += early_copies(m, parent, at);
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
	return error ? error : frame_reserve(m, copies);
}

/* copy_present_page: the child gets a copy, the parent's PTE is left alone. */
static bool early_copy(cow_machine *m, struct fork *fork, const struct leaf *to, uint64_t page,
		       uint32_t old)
{
	uint32_t slot = leaf_slot(m, page);
	uint32_t new = frame_alloc(m);
	uint32_t prot = vma_at(m, fork->child_vma)->flags;
	uint64_t flags = PTE_PRESENT | PTE_DIRTY | PTE_YOUNG | (prot & VMA_WRITE ? PTE_WRITE : 0) |
			 (prot & VMA_READ ? 0 : PTE_PROTNONE);

	if (!new)
		return false;
	frame_make_anon(m, new, fork->child_vma, page);
	frame_body(m, new)->value = PLANTED(5) ? 0 : frame_body(m, old)->value;
	note_page(m, COW_CHANGE_EARLY_COPY, fork->child_vma, page, new, 0, old);
	pte_fill(m, to, slot,
		 pte_make(new, flags));
	marker_put(m, to, slot, frame_at(m, new), true);
	batch_add(m, fork->parent, new); /* fork runs on the parent's CPU */
	fork->result->counts[COW_OUT_EARLY_COPY]++;
	machine_count(m, COW_COUNT_EARLY_COPIES, 1);
	return true;
}

static const uint32_t decisive = PTE_WRITE | PTE_DIRTY | PTE_MARKER;

static uint32_t pte_seen(cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	uint32_t seen = (uint32_t)leaf->ptes[slot] & decisive;

	if (m->state.marker >= COW_MARKER_ADJACENT && side_marker_get(m, leaf, slot))
		seen |= (uint32_t)PTE_MARKER;
	return seen;
}

/* Asks about a page, unless the last answer is good for it. */
static void fork_decide(cow_machine *m, struct fork *fork, const struct leaf *from, uint32_t slot)
{
	const struct frame *frame = frame_at(m, pte_frame(from->ptes[slot]));
	uint32_t seen = pte_seen(m, from, slot);
	uint64_t counts;

	memcpy(&counts, frame, sizeof(counts));
	if (fork->rule && fork->counts == counts && fork->flags == frame->flags &&
	    fork->pte == seen && !(m->policy->flags & COW_POLICY_NEEDS_TRUTH))
		return;
	fork->counts = counts;
	fork->flags = frame->flags;
	fork->pte = seen;
	fork->view = fork_view(m, fork, from->first + slot, &from->ptes[slot],
			       m->state.marker == COW_MARKER_FRAME ? frame->flags & FRAME_EXCLUSIVE
								   : seen & (uint32_t)PTE_MARKER);
	fork->rule = answer(m, COW_DECIDE_FORK, fork->view);
}

/*
 * The hot loop of fork: shares pages from `slot` on as long as they look like the one decided last.
 * Both PTEs become read-only, both counts go up, and nobody owns the page outright any more.
 * Returns the slot behind them.
 */
static uint32_t share_run(const cow_machine *m, const struct fork *fork, const struct leaf *from,
			  const struct leaf *to, uint32_t slot, uint32_t end)
{
	const uint64_t look = decisive | PTE_PRESENT | PTE_SPECIAL;
	const uint64_t want = fork->pte | PTE_PRESENT;
	const uint64_t counts = fork->counts;
	const uint64_t counted = counts + (UINT64_C(1) << 32 | 1);
	const uint32_t flags = fork->flags;
	const uint32_t shared = PLANTED(1) ? flags : flags & ~(uint32_t)FRAME_EXCLUSIVE;

	/* Neighbours in a table are mostly neighbours in memory, so the chunk of frames is looked up
	 * anew only where it changes. */
	uint32_t chunk = pte_frame(from->ptes[slot]) >> FRAME_SHIFT;
	struct frame *frames = frame_at(m, chunk << FRAME_SHIFT);
	uint64_t *source = from->ptes, *target = to->ptes;

	for (; slot < end; slot++) {
		uint64_t pte = source[slot];
		struct frame *frame;
		uint64_t now;

		if (pte_frame(pte) >> FRAME_SHIFT != chunk) {
			chunk = pte_frame(pte) >> FRAME_SHIFT;
			frames = frame_at(m, chunk << FRAME_SHIFT);
		}
		frame = frames + (pte_frame(pte) & ((1u << FRAME_SHIFT) - 1));
		memcpy(&now, frame, sizeof(now));
		if (((pte & look) ^ want) | (now ^ counts) | (frame->flags ^ flags))
			break;
		memcpy(frame, &counted, sizeof(counted));
		frame->flags = shared;
		pte &= ~(PTE_WRITE | PTE_MARKER);
		if (PLANTED(3))
			pte |= source[slot] & PTE_WRITE;
		if (!PLANTED(2))
			source[slot] = pte;
		target[slot] = pte & ~PTE_YOUNG;
	}
	return slot;
}

/* The same a page at a time: the marker is in a side table, or each page has a truth of its own. */
static void share_side(cow_machine *m, const struct fork *fork, const struct leaf *from,
		       const struct leaf *to, uint32_t slot)
{
	uint64_t pte = from->ptes[slot] & ~(PTE_WRITE | PTE_MARKER);
	struct frame *frame = frame_at(m, pte_frame(pte));

	frame->refcount++;
	frame->mapcount++;
	frame->flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	from->ptes[slot] = pte;
	to->ptes[slot] = pte & ~PTE_YOUNG;
	if (m->state.marker >= COW_MARKER_ADJACENT && (fork->pte & (uint32_t)PTE_MARKER))
		side_marker_put(m, from, slot, false);
}

/* copy_pte_range for one pair of leaf tables.  False: out of frames. */
static bool copy_leaf(cow_machine *m, struct fork *fork, const struct leaf *from,
		      const struct leaf *to, uint32_t first, uint32_t end)
{
	bool runs = m->state.marker < COW_MARKER_ADJACENT &&
		    !(m->policy->flags & COW_POLICY_NEEDS_TRUTH);
	uint64_t shared = 0, zeros = 0;
	uint32_t slot = first;
	bool room = true;

	while (slot < end && room) {
		struct question question = { COW_DECIDE_FORK, fork->parent, from->first + slot,
					     &from->ptes[slot] };
		uint64_t pte = from->ptes[slot];
		uint32_t next = slot + 1;

		if (!pte || (pte & PTE_SPECIAL)) {
			to->ptes[slot] = pte & ~PTE_YOUNG;
			zeros += pte != 0;
			slot = next;
			continue;
		}
		fork_decide(m, fork, from, slot);
		if (fork->rule->action == COW_ACT_EARLY_COPY) {
			room = early_copy(m, fork, to, from->first + slot, pte_frame(pte));
			if (PLANTED(6)) {
				from->ptes[slot] = to->ptes[slot];
				to->ptes[slot] = pte;
			}
		} else {
			fork->flush |= (pte & PTE_WRITE) != 0;
			if (runs)
				next = share_run(m, fork, from, to, slot, end);
			else
				share_side(m, fork, from, to, slot);
			shared += next - slot;
		}
		machine_count(m, COW_COUNT_PAGE_LOCKS, (uint64_t)fork->rule->locks * (next - slot));
		if (m->decision_observers)
			decision_tell(m, question, fork->view, fork->rule, next - slot, question.pte);
		slot = next;
	}
	note_entries(m, COW_CHANGE_MAP, fork->child_vma, to->first + first, slot - first,
		     &to->ptes[first]);
	table_info(m, to->table)->used += (uint32_t)(shared + zeros);
	mm_at(m, fork->child)->pages += shared + zeros;
	fork->result->counts[COW_OUT_SHARE] += shared + zeros;
	machine_count(m, COW_COUNT_ATOMICS, 2 * shared);
	machine_count(m, COW_COUNT_FORK_PAGES, shared + zeros);
	return room;
}

/* copy_page_range for one VMA.  False: out of frames. */
static bool copy_pages(cow_machine *m, struct fork *fork)
{
	const struct vma *vma = vma_at(m, fork->vma);
	uint64_t page = vma->start;
	struct leaf from, to;

	fork->rule = NULL; /* the VMA is part of the view */
	while (leaf_next(m, mm_at(m, fork->parent)->root, &page, vma->end, &from)) {
		uint64_t behind = from.first + leaf_entries(m);
		uint64_t end = vma->end < behind ? vma->end : behind;
		uint32_t slot = leaf_slot(m, page);
		uint64_t before = fork->result->counts[COW_OUT_EARLY_COPY];
		bool room;

		leaf_make(m, &mm_at(m, fork->child)->root, page, &to,
			  &mm_at(m, fork->child)->tables);
		room = copy_leaf(m, fork, &from, &to, slot, slot + (uint32_t)(end - page));
		mm_at(m, fork->child)->pages += fork->result->counts[COW_OUT_EARLY_COPY] - before;
		if (!table_info(m, to.table)->used)
			tables_prune(m, &mm_at(m, fork->child)->root, page, end,
				     &mm_at(m, fork->child)->tables);
		if (!room)
			return false;
		page = behind;
	}
	return true;
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
	view = view_vma(view, mm_at(m, fork->parent), vma);
	if (answer(m, COW_DECIDE_TRACK, view)->action != COW_ACT_KEEP)
		copy->flags &= ~(uint32_t)VMA_HAD_WRITE_REF;
	vma_link(m, index);
	if (!(copy->flags & VMA_WIPEONFORK))
		anon_fork(m, index, fork->vma);
	if (copy->object)
		object_at(m, copy->object)->vmas++;
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
		if (!vma->object)
			note(m, vma->flags & VMA_WIPEONFORK ? COW_CHANGE_WIPE : COW_CHANGE_INHERIT,
			     fork->child, vma->start, vma->end - vma->start,
			     mm_at(m, fork->parent)->number);
		if (copies_pages(vma) && !copy_pages(m, fork))
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
