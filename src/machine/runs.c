/* SPDX-License-Identifier: MIT
 *
 * The aligned runs of free frames that large folios are made of.  A run goes back to the list of
 * its order; frames of a folio that was split come back one by one, and are gathered into runs
 * again when none is left and many are free.  So no machine fails for want of a run while it has
 * the frames: fragmentation is not modelled.
 *
 * Never counts frames in use: frame.h and folio.c do.
 */
#include "machine/runs.h"

void run_give(cow_machine *m, uint32_t order, uint32_t head)
{
	frame_at(m, head)->refcount = m->state.blocks[order];
	m->state.blocks[order] = head;
	m->state.blocked += 1u << order;
}

/* Takes a free run, zeroed, off its list; of a larger one the rest stays free.  0: there is
 * none. */
static uint32_t run_take(cow_machine *m, uint32_t order)
{
	uint32_t from = order;
	uint32_t head;

	while (from < MACHINE_ORDERS && !m->state.blocks[from])
		from++;
	if (from == MACHINE_ORDERS)
		return 0;
	head = m->state.blocks[from];
	m->state.blocks[from] = frame_at(m, head)->refcount;
	m->state.blocked -= 1u << from;
	frame_at(m, head)->refcount = 0;
	while (from-- > order)
		run_give(m, from, head + (1u << from));
	return head;
}

static void single_give(cow_machine *m, uint32_t frame)
{
	frame_at(m, frame)->refcount = m->pools[POOL_FRAME].free;
	m->pools[POOL_FRAME].free = frame;
}

/* A run from behind all that was ever used; what lies before its alignment is free singly. */
static uint32_t run_fresh(cow_machine *m, uint32_t order)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	uint64_t head = ((uint64_t)pool->used + (1u << order) - 1) >> order << order;
	uint64_t end = head + (1u << order);

	if (end > pool->capacity || end > m->pools[POOL_BODY].capacity)
		return 0;
	for (uint32_t gap = (uint32_t)head; gap-- > pool->used;)
		single_give(m, gap);
	pool->used = m->pools[POOL_BODY].used = (uint32_t)end;
	return (uint32_t)head;
}

enum { BREAK_ORDER = 4, GATHER_ORDER = 2 };

/* A few at a time: the rest of the run stays one. */
bool runs_break(cow_machine *m)
{
	for (uint32_t order = BREAK_ORDER; order; order--) {
		uint32_t head = run_take(m, order);

		if (!head)
			continue;
		for (uint32_t frame = head + (1u << order); frame-- > head;)
			single_give(m, frame);
		return true;
	}
	return false;
}

/* Makes runs, as large as they can be, of the free frames first to end-1; the rest is free
 * singly, in ascending order. */
static uint32_t *runs_make(cow_machine *m, uint32_t first, uint32_t end, uint32_t *tail)
{
	while (first < end) {
		uint32_t order = (uint32_t)__builtin_ctz(first);

		if (order >= MACHINE_ORDERS)
			order = MACHINE_ORDERS - 1;
		while (end - first < 1u << order)
			order--;
		if (order >= GATHER_ORDER) {
			run_give(m, order, first);
		} else {
			for (uint32_t i = 0; i < 1u << order; i++) {
				*tail = first + i;
				tail = &frame_at(m, first + i)->refcount;
			}
		}
		first += 1u << order;
	}
	return tail;
}

static uint32_t singles(const cow_machine *m)
{
	const struct pool *pool = &m->pools[POOL_FRAME];

	return pool->used - 1 - pool->live - m->state.blocked;
}

/* Makes runs of all that is free.  Frames in use have flags; free ones at most the link in their
 * first word. */
static void runs_gather(cow_machine *m)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	uint32_t *tail = &pool->free;
	uint32_t first = 0; /* of the free frames before this one; 0: it is in use */

	memset(m->state.blocks, 0, sizeof(m->state.blocks));
	m->state.blocked = 0;
	for (uint32_t frame = 1; frame < pool->used; frame++) {
		struct frame *at = frame_at(m, frame);

		if (!at->flags) {
			at->refcount = 0;
			first = first ? first : frame;
		} else if (first) {
			tail = runs_make(m, first, frame, tail);
			first = 0;
		}
	}
	if (first)
		tail = runs_make(m, first, pool->used, tail);
	*tail = 0;
	m->state.scattered = singles(m);
}

uint32_t run_alloc(cow_machine *m, uint32_t order)
{
	uint32_t head = run_take(m, order);

	/* Gathering walks all frames, so it waits until many are free that were not found
	 * scattered. */
	if (!head &&
	    singles(m) > m->state.scattered + m->pools[POOL_FRAME].used / 8 + (2u << order)) {
		runs_gather(m);
		head = run_take(m, order);
	}
	return head ? head : run_fresh(m, order);
}
