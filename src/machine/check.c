/* SPDX-License-Identifier: MIT
 *
 * The debug check: walks a whole machine and proves that its counts and links agree.  Trusts
 * nothing: it is also what a snapshot must pass, so no index is followed before it is tested.
 *
 *   every slot is in use or free, and what is in use can be reached, once
 *   counts are what page tables, page cache, swap cache, references and batches come to
 *   a writable private page is mapped once, and carries the marker if there is one
 *   the reverse map and the page tables agree
 *
 * This file: the free lists, the order of it all, and what must have been reached in the end.  Read
 * check.h next, then check_shape.c, check_vma.c, check_table.c, check_hold.c.
 */
#include "machine/check.h"

#include <stdarg.h>
#include <stdio.h>

int bad(struct check *check, const char *format, ...)
{
	va_list arguments;

	check->error->code = -EUCLEAN;
	check->error->host = false;
	va_start(arguments, format);
	vsnprintf(check->error->sentence, sizeof(check->error->sentence), format, arguments);
	va_end(arguments);
	return -EUCLEAN;
}

static const char *const pool_names[POOL_COUNT] = {
#define X(id, type, shift) [POOL_##id] = #id,
	MACHINE_POOLS(X)
#undef X
};

int reach(struct check *check, enum pool_id id, uint32_t slot, const char *from)
{
	if (!slot || slot >= check->m->pools[id].used)
		return bad(check, "%s names slot %u of %s, which was never in use", from, slot,
			   pool_names[id]);
	if (check->seen[id][slot] != UNSEEN)
		return bad(check, "%s names slot %u of %s, which is %s", from, slot, pool_names[id],
			   check->seen[id][slot] == FREE ? "free" : "named elsewhere too");
	check->seen[id][slot] = SEEN;
	check->reached[id]++;
	return 0;
}

bool zeroed(const struct pool *pool, uint32_t slot)
{
	const uint32_t *words = pool_at(pool, slot);

	for (uint32_t word = 0; word < pool->size / 4; word++)
		if (words[word])
			return false;
	return true;
}

/* Pools that are used at the indices of the one before them. */
static bool mirrors(enum pool_id id)
{
	return id == POOL_BODY || id == POOL_INFO;
}

/* A free run of frames is aligned, and zero but for the link in its first word. */
static int check_run(struct check *check, uint32_t order, uint32_t head)
{
	const struct pool *pool = &check->m->pools[POOL_FRAME];
	uint32_t frames = 1u << order;

	if ((head & (frames - 1)) || head >= pool->used || pool->used - head < frames)
		return bad(check, "a free run of %u frames cannot begin at frame %u", frames, head);
	for (uint32_t frame = head; frame < head + frames; frame++) {
		const struct frame *at = frame_at(check->m, frame);

		if (check->seen[POOL_FRAME][frame] == FREE || at->mapcount || at->flags ||
		    at->owner || (frame != head && at->refcount))
			return bad(check, "frame %u of a free run is in use, or free elsewhere too",
				   frame);
		check->seen[POOL_FRAME][frame] = FREE;
	}
	return 0;
}

static int check_runs(struct check *check, uint64_t *free)
{
	const cow_machine *m = check->m;

	*free = 0;
	for (uint32_t order = 0; order < MACHINE_ORDERS; order++)
		for (uint32_t at = m->state.blocks[order]; at; at = frame_at(m, at)->refcount) {
			int error = check_run(check, order, at);

			if (error)
				return error;
			*free += 1u << order;
		}
	return 0;
}

static int check_pools(struct check *check)
{
	uint64_t runs;
	int error;

	if (check->m->pools[POOL_FRAME].used > check->m->pools[POOL_FRAME].capacity)
		return bad(check, "pool FRAME has more slots in use than there are");
	error = check_runs(check, &runs);
	if (error)
		return error;
	for (int id = 0; id < POOL_COUNT; id++) {
		const struct pool *pool = &check->m->pools[id];

		if (mirrors(id)) {
			const struct pool *other = &check->m->pools[id - 1];

			if (pool->used != other->used || pool->live != other->live || pool->free)
				return bad(check, "pools %s and %s differ in size",
					   pool_names[id - 1], pool_names[id]);
			continue;
		}
		if (pool->overdrawn)
			return bad(check, "a slot of pool %s was taken that nobody had reserved",
				   pool_names[id]);
		if (!pool_free_list_holds(pool, id == POOL_FRAME ? runs : 0))
			return bad(check, "the free list of pool %s is damaged", pool_names[id]);
		for (uint32_t slot = pool->free; slot; slot = *(uint32_t *)pool_at(pool, slot))
			check->seen[id][slot] = FREE;
	}
	return 0;
}

/* What is free holds nothing, and what is in use can be reached. */
static int check_rest(struct check *check)
{
	static const enum pool_id reachable[] = { POOL_TABLE, POOL_VMA,  POOL_AVC,
						  POOL_LINK,  POOL_ANON, POOL_ITEM };
	const cow_machine *m = check->m;

	for (uint32_t slot = 1; slot < m->pools[POOL_FRAME].used; slot++)
		if (check->seen[POOL_FRAME][slot] == FREE && !zeroed(&m->pools[POOL_BODY], slot))
			return bad(check, "free frame %u holds something", slot);
	for (uint32_t slot = 1; slot < m->pools[POOL_TABLE].used; slot++)
		if (check->seen[POOL_TABLE][slot] == FREE && !zeroed(&m->pools[POOL_INFO], slot))
			return bad(check, "free table %u counts entries", slot);
	for (size_t i = 0; i < sizeof(reachable) / sizeof(*reachable); i++)
		if (check->reached[reachable[i]] != m->pools[reachable[i]].live)
			return bad(check, "%u slots of pool %s are in use and %u can be reached",
				   m->pools[reachable[i]].live, pool_names[reachable[i]],
				   check->reached[reachable[i]]);
	return check->linked == check->mapping
		       ? 0
		       : bad(check, "%u VMAs map objects and %u are on their lists", check->mapping,
			     check->linked);
}

static int check_all(struct check *check)
{
	static const struct {
		enum pool_id id;
		int (*check)(struct check *check, uint32_t slot);
	} parts[] = {
		{ POOL_MM, check_mm },
		{ POOL_OBJECT, check_object },
		{ POOL_REF, check_ref },
		{ POOL_SLOT, check_slot },
	};
	int error = check_pools(check);

	if (!error)
		error = check_shapes(check);
	for (int i = 0; i < 4; i++)
		for (uint32_t at = 1; !error && at < check->m->pools[parts[i].id].used; at++)
			if (check->seen[parts[i].id][at] != FREE)
				error = parts[i].check(check, at);
	if (!error)
		error = check_anons(check);
	if (!error)
		error = hold(check, 0, 1, 0); /* the kernel's own, of the zero page */
	if (!error)
		error = check_counts(check);
	return error ? error : check_rest(check);
}

enum { ARRAYS = POOL_COUNT + 5 };

/* Sizes of the arrays of the check: a byte a slot of each pool, then the sums. */
static void sizes_of(const cow_machine *m, size_t *sizes)
{
	const struct pool *pools = m->pools;

	for (int id = 0; id < POOL_COUNT; id++)
		*sizes++ = pools[id].used;
	*sizes++ = pools[POOL_FRAME].used * sizeof(uint32_t);
	*sizes++ = pools[POOL_FRAME].used * sizeof(uint32_t);
	*sizes++ = pools[POOL_FOLIO].used * sizeof(struct folio_sum);
	*sizes++ = pools[POOL_SLOT].used * sizeof(struct slot_sum);
	*sizes = pools[POOL_ANON].used * sizeof(struct anon_sum);
}

int cow_machine_check(const cow_machine *m, struct cow_error *error)
{
	struct cow_error unwanted;
	struct check check = { .m = m, .error = error ? error : &unwanted };
	size_t sizes[ARRAYS];
	void *arrays[ARRAYS];
	bool room = true;
	int result;

	if (!m)
		return -EINVAL;
	*check.error = (struct cow_error){ 0 };
	sizes_of(m, sizes);
	for (int i = 0; i < ARRAYS; i++) {
		arrays[i] = cow_zalloc_(&m->allocator, sizes[i]);
		room &= arrays[i] != NULL;
		if (i < POOL_COUNT)
			check.seen[i] = arrays[i];
	}
	check.references = arrays[POOL_COUNT];
	check.mappings = arrays[POOL_COUNT + 1];
	check.folios = arrays[POOL_COUNT + 2];
	check.slots = arrays[POOL_COUNT + 3];
	check.anons = arrays[POOL_COUNT + 4];
	if (room) {
		result = check_all(&check);
	} else {
		result = -ENOMEM;
		*check.error = (struct cow_error){ .code = -ENOMEM,
						   .host = true,
						   .sentence = "no host memory for the check" };
	}
	for (int i = 0; i < ARRAYS; i++)
		cow_release_(&m->allocator, arrays[i], sizes[i]);
	return result;
}
