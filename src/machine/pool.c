/* SPDX-License-Identifier: MIT
 *
 * Pools: growth by chunks, the free list, and the copies that clone, equality and snapshots need.
 */
#include "machine/pool.h"

#include <errno.h>

static uint32_t chunk_slots(const struct pool *pool)
{
	return 1u << pool->shift;
}

/* Slots in chunk `chunk`: the first one may be short while it is the only one. */
static uint32_t slots_in(const struct pool *pool, uint32_t chunk)
{
	uint32_t first = chunk << pool->shift;

	return pool->capacity - first < chunk_slots(pool) ? pool->capacity - first
							  : chunk_slots(pool);
}

int pool_init(const struct cow_allocator *allocator, struct pool *pool, uint32_t size,
	      uint32_t shift, uint32_t first)
{
	memset(pool, 0, sizeof(*pool));
	pool->size = size;
	pool->shift = shift;
	pool->used = 1;
	pool->granted = UINT64_MAX; /* not counted, but for pools of a machine */
	if (first > chunk_slots(pool))
		first = chunk_slots(pool);
	pool->chunks = cow_zalloc_(allocator, sizeof(*pool->chunks));
	if (!pool->chunks)
		return -ENOMEM;
	pool->directory = 1;
	pool->chunks[0] = cow_zalloc_(allocator, (size_t)first * size);
	if (!pool->chunks[0])
		return -ENOMEM;
	pool->capacity = first;
	return 0;
}

void pool_fini(const struct cow_allocator *allocator, struct pool *pool)
{
	uint32_t chunk = 0;

	while ((uint64_t)chunk << pool->shift < pool->capacity) {
		uint32_t block = chunk < pool->block_room ? pool->blocks[chunk] : 0;

		if (block)
			block_release(allocator, pool->chunks[chunk]);
		else
			cow_release_(allocator, pool->chunks[chunk],
				     (size_t)slots_in(pool, chunk) * pool->size);
		chunk += block ? block : 1;
	}
	cow_release_(allocator, pool->chunks, pool->directory * sizeof(*pool->chunks));
	cow_release_(allocator, pool->blocks, pool->block_room * sizeof(*pool->blocks));
	memset(pool, 0, sizeof(*pool));
}

static int grow_first(const struct cow_allocator *allocator, struct pool *pool, uint64_t want)
{
	uint64_t slots = pool->capacity;
	char *memory;

	while (slots < want && slots < chunk_slots(pool))
		slots *= 2;
	if (slots > chunk_slots(pool))
		slots = chunk_slots(pool);
	memory = cow_zalloc_(allocator, (size_t)slots * pool->size);
	if (!memory)
		return -ENOMEM;
	/* All of it: the audit keeps arrays by frame in pools that it takes no slot of. */
	memcpy(memory, pool->chunks[0], (size_t)pool->capacity * pool->size);
	cow_release_(allocator, pool->chunks[0], (size_t)pool->capacity * pool->size);
	pool->chunks[0] = memory;
	pool->capacity = (uint32_t)slots;
	return 0;
}

static int grow_directory(const struct cow_allocator *allocator, struct pool *pool, size_t chunks)
{
	size_t directory = pool->directory, room = pool->block_room;
	int error = array_grow(allocator, (void **)&pool->chunks, &directory, chunks,
			       sizeof(*pool->chunks));

	pool->directory = (uint32_t)directory;
	if (!error)
		error = array_grow(allocator, (void **)&pool->blocks, &room, chunks,
				   sizeof(*pool->blocks));
	pool->block_room = (uint32_t)room;
	return error;
}

/* Adds chunks: a block of them where the pool is large or is about to be, else a single one. */
static int grow_chunks(const struct cow_allocator *allocator, struct pool *pool, uint64_t want)
{
	size_t bytes = (size_t)chunk_slots(pool) * pool->size;
	uint32_t first = pool->capacity >> pool->shift;
	uint32_t chunks = (uint32_t)(BLOCK_SIZE / bytes);
	/* What a block may leave unused is small against what is needed, or against what there is. */
	bool block = chunks > 1 && BLOCK_SIZE % bytes == 0 &&
		     (first >= 8 * chunks ||
		      (want - pool->capacity) * pool->size >=
			      (pool->sparse ? BLOCK_SIZE / 8 : BLOCK_SIZE / 8 * 7));
	char *memory;

	if (!block)
		chunks = 1;
	if (grow_directory(allocator, pool, (size_t)first + chunks))
		return -ENOMEM;
	memory = block ? block_zalloc(allocator) : chunk_zalloc(allocator, bytes);
	if (!memory)
		return -ENOMEM;
	pool->blocks[first] = block ? chunks : 0;
	for (uint32_t chunk = 0; chunk < chunks; chunk++)
		pool->chunks[first + chunk] = memory + chunk * bytes;
	pool->capacity += chunks << pool->shift;
	return 0;
}

int pool_grow(const struct cow_allocator *allocator, struct pool *pool, uint64_t more)
{
	uint64_t want = 1 + (uint64_t)pool->live + more;

	if (want > UINT32_MAX - BLOCK_SIZE)
		return -ENOMEM;
	if (pool->capacity < chunk_slots(pool) && pool->capacity < want &&
	    grow_first(allocator, pool, want))
		return -ENOMEM;
	while (pool->capacity < want)
		if (grow_chunks(allocator, pool, want))
			return -ENOMEM;
	return 0;
}

uint32_t pool_take(struct pool *pool)
{
	uint32_t index = pool->free;

	if (POOL_EXACT && pool->live >= pool->granted)
		pool->overdrawn = true;
	if (index) {
		uint32_t *link = pool_at(pool, index);

		pool->free = *link;
		*link = 0;
	} else {
		index = pool->used++;
	}
	pool->live++;
	return index;
}

void pool_give(struct pool *pool, uint32_t index)
{
	void *slot = pool_at(pool, index);

	memset(slot, 0, pool->size);
	*(uint32_t *)slot = pool->free;
	pool->free = index;
	pool->live--;
}

uint64_t pool_memory(const struct pool *pool)
{
	return (uint64_t)pool->capacity * pool->size + pool->directory * sizeof(*pool->chunks) +
	       pool->block_room * sizeof(*pool->blocks);
}

const void *pool_run(const struct pool *pool, uint32_t index, uint32_t *slots)
{
	uint32_t end;

	if (index >= pool->used)
		return NULL;
	end = ((index >> pool->shift) + 1) << pool->shift;
	*slots = (end < pool->used ? end : pool->used) - index;
	return pool_at(pool, index);
}

int pool_copy(const struct cow_allocator *allocator, struct pool *to, const struct pool *from)
{
	const void *run;
	uint32_t slots;
	int error = pool_grow(allocator, to, from->used);

	if (error)
		return error;
	for (uint32_t index = 0; (run = pool_run(from, index, &slots)); index += slots)
		memcpy(pool_at(to, index), run, (size_t)slots * from->size);
	to->used = from->used;
	to->free = from->free;
	to->live = from->live;
	return 0;
}

bool pool_equal(const struct pool *a, const struct pool *b)
{
	const void *run;
	uint32_t slots;

	if (a->used != b->used || a->free != b->free || a->live != b->live || a->size != b->size)
		return false;
	for (uint32_t index = 0; (run = pool_run(a, index, &slots)); index += slots)
		if (memcmp(pool_at(b, index), run, (size_t)slots * a->size) != 0)
			return false;
	return true;
}

bool pool_free_list_holds(const struct pool *pool, uint64_t elsewhere)
{
	uint64_t left = (uint64_t)pool->used - 1 - pool->live - elsewhere;
	uint32_t index = pool->free;

	if (pool->live + elsewhere >= pool->used || pool->used > pool->capacity)
		return false;
	for (; index; left--) {
		const uint32_t *words;

		if (index >= pool->used || !left)
			return false;
		words = pool_at(pool, index);
		for (uint32_t word = 1; word < pool->size / 4; word++)
			if (words[word])
				return false;
		index = words[0];
	}
	return left == 0;
}

bool pool_free_list_valid(const struct pool *pool)
{
	return pool_free_list_holds(pool, 0);
}
