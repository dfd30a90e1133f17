/* SPDX-License-Identifier: MIT
 *
 * Frames: taking, counting and freeing them.  The counts here are exact; what they mean for
 * ownership is for a policy to say.
 */
#ifndef COWLAB_MACHINE_FRAME_H
#define COWLAB_MACHINE_FRAME_H

#include "machine/machine.h"

static inline struct frame *frame_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_FRAME], index, struct frame, FRAME_SHIFT);
}

static inline struct frame_body *frame_body(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_BODY], index, struct frame_body, FRAME_SHIFT);
}

/* Makes room for `more` frames, as far as the machine has them.  Returns 0 or -ENOMEM. */
int frame_reserve(cow_machine *m, uint64_t more);

/* runs.c: makes single frames of a free run of them; false: there is none. */
bool runs_break(cow_machine *m);
/* frame_alloc once more a free run of frames has been broken up for it. */
uint32_t frame_alloc_single(cow_machine *m);

/* Takes a zeroed frame with no reference yet, from those reserved; 0: the machine has none left. */
static inline uint32_t frame_alloc(cow_machine *m)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	uint32_t index = pool->free;

	if (m->state.frames_used == m->state.frames)
		return 0;
	if (index) {
		struct frame *frame = frame_at(m, index);

		pool->free = frame->refcount;
		frame->refcount = 0;
	} else {
		/* Never asks first how much the host has given: equal machines take equal frames. */
		if (m->state.blocked && runs_break(m))
			return frame_alloc_single(m);
		/* Whoever did not reserve finds the machine full. */
		if (pool->used >= pool->capacity || pool->used >= m->pools[POOL_BODY].capacity)
			return 0;
		index = pool->used++;
		m->pools[POOL_BODY].used = pool->used;
	}
	pool->live++;
	m->pools[POOL_BODY].live = pool->live;
	if (++m->state.frames_used > m->counters[COW_COUNT_PEAK_FRAMES])
		m->counters[COW_COUNT_PEAK_FRAMES] = m->state.frames_used;
	return index;
}

/* folio.c: a page of a large folio loses a mapping; a folio loses references. */
void folio_unmap_page(cow_machine *m, uint32_t frame, uint32_t mm);
void folio_put(cow_machine *m, uint32_t folio, uint32_t references);
/* folio.c: each frame counts and says itself what its folio does for all of them.  Changes nothing that
 * can be seen; whoever takes something away from a single frame needs it. */
void folio_settle(cow_machine *m, uint32_t folio);

/* PG_anon_exclusive of any frame. */
static inline bool frame_exclusive(const cow_machine *m, const struct frame *frame)
{
	return (frame->flags & FRAME_EXCLUSIVE) ||
	       ((frame->flags & FRAME_LARGE) &&
		(folio_at(m, frame->owner)->flags & FOLIO_EXCLUSIVE));
}

/* swap.c: nothing maps the frame any more, and something holds it. */
void frame_unmapped(cow_machine *m, uint32_t frame);
/* rmap.c: the frame is no KSM page any more. */
void ksm_remove(cow_machine *m, uint32_t frame);

/* Frees a frame that nothing refers to. */
static inline void frame_free(cow_machine *m, uint32_t index)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	struct frame *frame = frame_at(m, index);

	if (frame->flags & FRAME_KSM)
		ksm_remove(m, index);
	/* The link of the free list is the slot's first word, as in every pool. */
	*frame = (struct frame){ .refcount = pool->free };
	*frame_body(m, index) = (struct frame_body){ 0 };
	pool->free = index;
	pool->live--;
	m->pools[POOL_BODY].live = pool->live;
	m->state.frames_used--;
}

/* put_page: drops references, and frees the frame with the last one. */
static inline void frame_put(cow_machine *m, uint32_t index, uint32_t references)
{
	struct frame *frame = frame_at(m, index);

	if (frame->flags & FRAME_LARGE) {
		folio_put(m, frame->owner, references);
		return;
	}
	machine_count(m, COW_COUNT_ATOMICS, 1);
	frame->refcount -= references;
	if (!frame->refcount)
		frame_free(m, index);
}

/* page_remove_rmap and put_page: one PTE of the mm less. */
static inline void frame_unmap(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct frame *frame = frame_at(m, index);

	if (frame->flags & FRAME_LARGE) {
		folio_unmap_page(m, index, mm);
		return;
	}
	machine_count(m, COW_COUNT_ATOMICS, 2);
	frame->refcount--;
	if (!--frame->mapcount) {
		if (frame->refcount)
			frame_unmapped(m, index);
		else
			frame_free(m, index);
	}
}

/* get_page of a base page.  Both counts are stored at once: a sight of the frame reads them at once, and
 * would wait for a half. */
static inline void frame_get(struct frame *frame)
{
	const uint32_t one[2] = { 1, 0 };
	uint64_t counts, more;

	_Static_assert(offsetof(struct frame, refcount) == 0 && offsetof(struct frame, mapcount) == 4,
		       "the counts lie first");
	memcpy(&counts, frame, sizeof(counts));
	memcpy(&more, one, sizeof(more));
	counts += more;
	memcpy(frame, &counts, sizeof(counts));
}

/* Exact number of FOLL_PIN references, counted over all of them. */
uint32_t frame_pincount(const cow_machine *m, uint32_t index);

/* Adds a frame to the LRU batch of an mm, which drains when it holds more than it may. */
void batch_take(cow_machine *m, uint32_t mm, uint32_t frame);

static inline void batch_add(cow_machine *m, uint32_t mm, uint32_t frame)
{
	if (m->state.lru_batch)
		batch_take(m, mm, frame);
}

/* lru_add_drain: drops the references of the batch. */
void batch_drain(cow_machine *m, uint32_t mm);

#endif
