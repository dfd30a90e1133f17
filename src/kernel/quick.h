/* SPDX-License-Identifier: MIT
 *
 * A single write to a page of the leaf table and the VMA of the write before it, when nothing else
 * was done in between: handle, VMA and table need no look then, and a write-protected page that looks
 * like the last one gets the same answer.  What it does is what fault.c does, for base pages of private
 * anonymous memory; anything else goes the way of access.c.  Decides nothing.
 *
 * m->quick says what is remembered; every call of the interface but a quick one forgets it, and so
 * does machine_forget.
 */
#ifndef COWLAB_KERNEL_QUICK_H
#define COWLAB_KERNEL_QUICK_H

#include "kernel/run.h"

/* Remembers where a write that went the way of access.c was; `rule`: what was answered of the page, NULL
 * if nobody was asked, and what the frame and the entry were before. */
void quick_keep(cow_machine *m, const struct fault *at, const struct cow_rule *rule,
		const struct frame *frame, uint64_t pte);

/* Asks whoever watches; what it answers is for quick_done.  False: the page must go another way. */
static inline bool quick_ready(cow_machine *m, uint64_t offset, void **ready)
{
	*ready = NULL;
	if (!m->runs.tell)
		return true;
	*ready = m->runs.ready(m->runs.ctx, m->quick.handle.generation, m->quick.first + offset);
	return *ready;
}

/* `before`: the entry, of a copy. */
static inline enum cow_outcome quick_done(cow_machine *m, void *ready, const uint64_t *entry,
					  uint64_t before, uint64_t value, enum cow_outcome outcome)
{
	if (ready)
		m->runs.one(m->runs.ctx, ready, outcome, *entry, before, value);
	return outcome;
}

/* frame_alloc, where taking_possible. */
static inline uint32_t quick_frame(cow_machine *m)
{
	struct pool *pool = &m->pools[POOL_FRAME], *body = &m->pools[POOL_BODY];
	uint32_t index = pool->free;

	if (index)
		pool->free = frame_at(m, index)->refcount;
	else
		index = pool->used++, body->used = pool->used;
	body->live = ++pool->live;
	if (++m->state.frames_used > m->counters[COW_COUNT_PEAK_FRAMES])
		m->counters[COW_COUNT_PEAK_FRAMES] = m->state.frames_used;
	return index;
}

/* A page of the process's own, with what is written to it. */
static inline void quick_map(cow_machine *m, uint64_t offset, uint64_t *entry, uint64_t value)
{
	const uint32_t new = quick_frame(m);

	*frame_at(m, new) = m->quick.fresh;
	*frame_body(m, new) = (struct frame_body){ value, m->quick.pgoff + offset };
	*entry = pte_make(new, m->quick.flags);
}

static inline enum cow_outcome quick_touch(cow_machine *m, uint64_t offset, uint64_t *entry,
					   uint64_t value)
{
	void *ready;

	if (!m->quick.fresh.owner || !taking_possible(m) || !quick_ready(m, offset, &ready))
		return COW_OUT_NONE;
	quick_map(m, offset, entry, value);
	m->quick.info->used++;
	m->quick.mm->pages++;
	machine_count(m, COW_COUNT_FAULTS, 1);
	machine_count(m, COW_COUNT_ALLOCS, 1);
	machine_count(m, COW_COUNT_ATOMICS, 2);
	return quick_done(m, ready, entry, 0, value, COW_OUT_ALLOC);
}

static inline enum cow_outcome quick_hit(cow_machine *m, uint64_t offset, uint64_t *entry,
					 uint64_t value)
{
	const uint64_t pte = *entry;
	void *ready;

	if (!quick_ready(m, offset, &ready))
		return COW_OUT_NONE;
	*entry = pte | PTE_DIRTY | PTE_YOUNG;
	frame_body(m, pte_frame(pte))->value = value;
	machine_count(m, COW_COUNT_HITS, 1);
	return quick_done(m, ready, entry, 0, value, COW_OUT_HIT);
}

/* The page looks like the one that was asked about last. */
static inline enum cow_outcome quick_wp(cow_machine *m, uint64_t offset, uint64_t *entry,
					struct frame *frame, uint64_t value)
{
	const uint64_t pte = *entry;
	const struct cow_rule *rule = m->quick.rule;
	void *ready;

	if (rule->action == COW_ACT_REUSE) {
		if (!quick_ready(m, offset, &ready))
			return COW_OUT_NONE;
		memcpy(&frame->flags, m->quick.reused, sizeof(m->quick.reused));
		*entry = pte | m->quick.flags;
		frame_body(m, pte_frame(pte))->value = value;
		machine_count(m, COW_COUNT_FAULTS, 1);
		machine_count(m, COW_COUNT_PAGE_LOCKS, rule->locks);
		machine_count(m, COW_COUNT_REUSES, 1);
		return quick_done(m, ready, entry, 0, value, COW_OUT_REUSE);
	}
	if (!taking_possible(m) || !quick_ready(m, offset, &ready))
		return COW_OUT_NONE;
	quick_map(m, offset, entry, value);
	memcpy(frame, &m->quick.fewer, sizeof(m->quick.fewer));
	machine_count(m, COW_COUNT_FAULTS, 1);
	machine_count(m, COW_COUNT_PAGE_LOCKS, rule->locks);
	machine_count(m, COW_COUNT_COPIES, 1);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	machine_count(m, COW_COUNT_ATOMICS, PLANTED(9) ? 2 : 4);
	return quick_done(m, ready, entry, pte, value, COW_OUT_COPY);
}

/* Writes to one page.  Returns what it came to; COW_OUT_NONE: nothing was changed. */
static inline enum cow_outcome write_quick(cow_machine *m, cow_mm handle, uint64_t addr,
					   uint64_t value)
{
	const uint64_t offset = (addr >> m->state.page_shift) - m->quick.first;
	struct frame *frame;
	uint64_t *entry;
	uint64_t counts;

	if (offset >= m->quick.pages || addr & m->quick.within ||
	    memcmp(&handle, &m->quick.handle, sizeof(handle)))
		return COW_OUT_NONE;
	entry = &m->quick.ptes[offset];
	if (!*entry)
		return quick_touch(m, offset, entry, value);
	if ((*entry & (PTE_PRESENT | PTE_PROTNONE | PTE_WRITE)) == (PTE_PRESENT | PTE_WRITE))
		return quick_hit(m, offset, entry, value);
	if ((uint32_t)*entry != m->quick.pte)
		return COW_OUT_NONE;
	frame = frame_at(m, pte_frame(*entry));
	memcpy(&counts, frame, sizeof(counts));
	if (counts != m->quick.counts || frame->flags != m->quick.frame_flags)
		return COW_OUT_NONE;
	return quick_wp(m, offset, entry, frame, value);
}

#endif
