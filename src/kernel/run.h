/* SPDX-License-Identifier: MIT
 *
 * Runs: what an access does to pages behind each other that look alike, in one leaf table and one VMA.
 * The same steps as in fault.c, for base pages of private anonymous memory alone, and without a
 * struct fault for each: what is the same for all of them is looked up once, and counted once.
 * Nothing is decided here: a page is reused or copied only as wp_decide was answered last, for a page
 * of which the policy would see the same.  Who comes across anything else stops before it.
 *
 * Inline, as a run of one page is what a single access is.  Read access.c next.
 */
#ifndef COWLAB_KERNEL_RUN_H
#define COWLAB_KERNEL_RUN_H

#include "kernel/ask.h"
#include "machine/plant.h"

/* Where a run is. */
struct run {
	uint32_t mm;
	uint32_t table;
	uint32_t slot;         /* the first page's */
	uint32_t end;          /* slot behind the last page that may be done */
	uint64_t page;         /* the first page */
	uint64_t *ptes;        /* of the table */
	const struct vma *vma;
	uint64_t *before;      /* entries that were copied from go there; NULL: nobody wants to know */
};

/* True if runs are possible at all: whoever watches takes them as they are, and the marker is where it
 * can be set with the page. */
static inline bool runs_possible(const cow_machine *m)
{
	return !m->page_observers && m->state.marker < COW_MARKER_ADJACENT && !m->state.lru_batch;
}

/* True if faults in a VMA may be runs. */
static inline bool vma_runs(const struct vma *vma)
{
	return !(vma->object | (vma->flags & (VMA_SHARED | VMA_HUGEPAGE | VMA_HUGETLB | VMA_UFFD_WP)));
}

/* The marker of a page that is the process's own, as a flag of the frame or of the entry. */
static inline uint32_t frame_marker(const cow_machine *m)
{
	return m->state.marker == COW_MARKER_FRAME ? (uint32_t)FRAME_EXCLUSIVE : 0;
}

static inline uint64_t entry_marker(const cow_machine *m)
{
	return m->state.marker == COW_MARKER_PTE ? PTE_MARKER : 0;
}

/* All that the view of a write fault is made of beside the counts, packed without making it.  No policy sees
 * FRAME_DIRTY, which falls where PTE_PRESENT is set. */
static inline uint64_t wp_flags(const cow_machine *m, uint32_t mm, const struct vma *vma,
				const struct frame *frame, uint64_t pte, unsigned request,
				uint64_t marker)
{
	_Static_assert(FRAME_DETACHED < 1 << 12 && FRAME_DIRTY == PTE_PRESENT << 12 &&
			       PTE_SWAP < 1 << 12 && VMA_NOHUGEPAGE < 1 << 16, "the flags fit");
	return (uint64_t)frame->flags | (pte & 0xfff) << 12 | (uint64_t)vma->flags << 24 |
	       (uint64_t)mm_at(m, mm)->flags << 40 | (uint64_t)request << 48 | marker << 56;
}

/* The frames that a run takes, in the order of frame_alloc. */
struct taking {
	uint32_t free, used; /* as in the pool */
	uint32_t room;       /* behind the last that may be used for the first time */
};

static inline struct taking taking_begin(const cow_machine *m)
{
	const struct pool *pool = &m->pools[POOL_FRAME], *body = &m->pools[POOL_BODY];
	uint32_t room = pool->capacity < body->capacity ? pool->capacity : body->capacity;

	/* A free run of frames is broken up elsewhere. */
	return (struct taking){ pool->free, pool->used, m->state.blocked ? 0 : room };
}

static inline uint32_t taking_next(struct taking *taking, char *const *frames)
{
	uint32_t index = taking->free;

	if (index) {
		const struct frame *frame = (const void *)frames[index >> FRAME_SHIFT];

		taking->free = frame[index & ((1u << FRAME_SHIFT) - 1)].refcount;
		return index;
	}
	return taking->used < taking->room ? taking->used++ : 0;
}

static inline void taking_end(cow_machine *m, const struct taking *taking, uint32_t taken)
{
	struct pool *pool = &m->pools[POOL_FRAME], *body = &m->pools[POOL_BODY];

	pool->free = taking->free;
	pool->used = body->used = taking->used;
	pool->live += taken;
	body->live = pool->live;
	m->state.frames_used += taken;
	if (m->state.frames_used > m->counters[COW_COUNT_PEAK_FRAMES])
		m->counters[COW_COUNT_PEAK_FRAMES] = m->state.frames_used;
}

/* True if a frame can be taken at once. */
static inline bool taking_possible(const cow_machine *m)
{
	const struct taking taking = taking_begin(m);

	return m->state.frames_used < m->state.frames &&
	       (taking.free || taking.used < taking.room);
}

/* Where a run has to stop if it takes a frame for each page. */
static inline uint32_t run_limit(const cow_machine *m, const struct run *run)
{
	uint64_t left = m->state.frames - m->state.frames_used;

	return left < run->end - run->slot ? run->slot + (uint32_t)left : run->end;
}

static inline struct frame *chunk_frame(char *const *chunks, uint32_t index)
{
	return (struct frame *)(void *)chunks[index >> FRAME_SHIFT] +
	       (index & ((1u << FRAME_SHIFT) - 1));
}

static inline struct frame_body *chunk_body(char *const *chunks, uint32_t index)
{
	return (struct frame_body *)(void *)chunks[index >> FRAME_SHIFT] +
	       (index & ((1u << FRAME_SHIFT) - 1));
}

/* Writes to pages that allow it.  Returns the slot behind the last. */
static inline uint32_t run_hit(const cow_machine *m, const struct run *run, uint64_t value)
{
	const uint64_t look = PTE_PRESENT | PTE_PROTNONE | PTE_WRITE;
	char *const *bodies = m->pools[POOL_BODY].chunks;
	uint32_t slot = run->slot;

	for (; slot < run->end; slot++) {
		uint64_t pte = run->ptes[slot];

		if ((pte & look) != (PTE_PRESENT | PTE_WRITE))
			break;
		run->ptes[slot] = pte | PTE_DIRTY | PTE_YOUNG;
		chunk_body(bodies, pte_frame(pte))->value = value;
	}
	return slot;
}

/* do_anonymous_page for a write; the VMA has an anon. */
static inline uint32_t run_touch(cow_machine *m, const struct run *run, uint64_t value)
{
	const struct vma *vma = run->vma;
	const struct frame fresh = { 1, 1, FRAME_ANON | frame_marker(m), vma->anon };
	const uint64_t flags = entry_flags(vma) | entry_written(vma) | PTE_DIRTY | PTE_YOUNG |
			       entry_marker(m);
	char *const *frames = m->pools[POOL_FRAME].chunks, *const *bodies = m->pools[POOL_BODY].chunks;
	const uint64_t pgoff = vma_pgoff(vma, run->page) - run->slot;
	const uint32_t end = run_limit(m, run);
	struct taking taking = taking_begin(m);
	uint32_t slot = run->slot, pages;

	for (; slot < end && !run->ptes[slot]; slot++) {
		uint32_t new = taking_next(&taking, frames);

		if (!new)
			break;
		*chunk_frame(frames, new) = fresh;
		*chunk_body(bodies, new) = (struct frame_body){ value, pgoff + slot };
		run->ptes[slot] = pte_make(new, flags);
	}
	pages = slot - run->slot;
	taking_end(m, &taking, pages);
	table_info(m, run->table)->used += pages;
	mm_at(m, run->mm)->pages += pages;
	machine_count(m, COW_COUNT_FAULTS, pages);
	machine_count(m, COW_COUNT_ALLOCS, pages);
	machine_count(m, COW_COUNT_ATOMICS, 2 * (uint64_t)pages);
	return slot;
}

/*
 * do_wp_page: the answer to the last page that looked like the first of the run.  NULL: ask.  Also where
 * more than the frame and the entry would have to change.
 */
static inline const struct cow_rule *run_rule(cow_machine *m, const struct run *run)
{
	const uint64_t pte = run->ptes[run->slot];
	const struct frame *frame = frame_at(m, pte_frame(pte));
	const uint32_t plain = FRAME_ANON | FRAME_LARGE | FRAME_SWAPCACHE | FRAME_KSM;
	const uint32_t owned = frame->flags & frame_marker(m);
	const uint64_t marker = owned || (pte & entry_marker(m));
	uint64_t counts;

	memcpy(&counts, frame, sizeof(counts));
	if ((pte & (PTE_PRESENT | PTE_PROTNONE | PTE_UFFD)) != PTE_PRESENT ||
	    (frame->flags & plain) != FRAME_ANON || counts != m->sight.counts ||
	    wp_flags(m, run->mm, run->vma, frame, pte, FAULT_WRITE, marker) != m->sight.flags ||
	    !m->sight.rule)
		return NULL;
	/* A copy of a page that nobody else maps frees it. */
	return m->sight.rule->action == COW_ACT_REUSE || (frame->mapcount > 1 && run->vma->anon)
		       ? m->sight.rule
		       : NULL;
}

/* What is counted of pages about which the answer was the same. */
static inline void run_count(cow_machine *m, const struct cow_rule *rule, uint32_t pages)
{
	machine_count(m, COW_COUNT_FAULTS, pages);
	machine_count(m, COW_COUNT_PAGE_LOCKS, (uint64_t)rule->locks * pages);
}

/* wp_page_reuse, and the write. */
static inline uint32_t run_reuse(cow_machine *m, const struct run *run, const struct cow_rule *rule,
				 uint64_t value)
{
	const uint64_t first = run->ptes[run->slot], counts = m->sight.counts;
	const struct frame seen = *frame_at(m, pte_frame(first));
	const uint64_t more = PTE_DIRTY | PTE_YOUNG | PTE_SOFT |
			      (run->vma->flags & VMA_WRITE ? PTE_WRITE : 0) |
			      (PLANTED(10) ? 0 : entry_marker(m));
	const uint32_t flags = PLANTED(10) ? seen.flags & ~frame_marker(m)
					   : seen.flags | frame_marker(m);
	const uint32_t anon = run->vma->anon;
	char *const *frames = m->pools[POOL_FRAME].chunks, *const *bodies = m->pools[POOL_BODY].chunks;
	uint32_t slot = run->slot;

	for (; slot < run->end; slot++) {
		uint64_t pte = run->ptes[slot];
		struct frame *frame;
		uint64_t now;

		if ((uint32_t)pte != (uint32_t)first)
			break;
		frame = chunk_frame(frames, pte_frame(pte));
		memcpy(&now, frame, sizeof(now));
		if (now != counts || frame->flags != seen.flags)
			break;
		frame->flags = flags;
		/* page_move_anon_rmap; where others map the page too, they must go on finding it. */
		if (seen.mapcount == 1)
			frame->owner = anon;
		run->ptes[slot] = pte | more;
		chunk_body(bodies, pte_frame(pte))->value = value;
	}
	run_count(m, rule, slot - run->slot);
	machine_count(m, COW_COUNT_REUSES, slot - run->slot);
	return slot;
}

/* wp_page_copy of pages that others map too, and the write. */
static inline uint32_t run_copy(cow_machine *m, const struct run *run, const struct cow_rule *rule,
				uint64_t value)
{
	const struct vma *vma = run->vma;
	const uint64_t first = run->ptes[run->slot], counts = m->sight.counts;
	const uint64_t fewer = PLANTED(9) ? counts : counts - (UINT64_C(1) << 32 | 1);
	const uint32_t seen = frame_at(m, pte_frame(first))->flags;
	const struct frame fresh = { 1, 1, FRAME_ANON | frame_marker(m), vma->anon };
	const uint64_t flags = entry_flags(vma) | entry_written(vma) | PTE_DIRTY | PTE_YOUNG |
			       PTE_SOFT | entry_marker(m);
	char *const *frames = m->pools[POOL_FRAME].chunks, *const *bodies = m->pools[POOL_BODY].chunks;
	const uint64_t pgoff = vma_pgoff(vma, run->page) - run->slot;
	const uint32_t end = run_limit(m, run);
	struct taking taking = taking_begin(m);
	uint32_t slot = run->slot, pages;

	for (; slot < end; slot++) {
		uint64_t pte = run->ptes[slot], now;
		struct frame *frame;
		uint32_t new;

		if ((uint32_t)pte != (uint32_t)first)
			break;
		frame = chunk_frame(frames, pte_frame(pte));
		memcpy(&now, frame, sizeof(now));
		if (now != counts || frame->flags != seen)
			break;
		new = taking_next(&taking, frames);
		if (!new)
			break;
		memcpy(frame, &fewer, sizeof(fewer));
		*chunk_frame(frames, new) = fresh;
		*chunk_body(bodies, new) = (struct frame_body){ value, pgoff + slot };
		if (run->before)
			run->before[slot - run->slot] = pte;
		run->ptes[slot] = pte_make(new, flags);
	}
	pages = slot - run->slot;
	taking_end(m, &taking, pages);
	run_count(m, rule, pages);
	machine_count(m, COW_COUNT_COPIES, pages);
	machine_count(m, COW_COUNT_TLB_FLUSHES, pages);
	machine_count(m, COW_COUNT_ATOMICS, (PLANTED(9) ? 2 : 4) * (uint64_t)pages);
	return slot;
}

#endif
