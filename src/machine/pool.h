/* SPDX-License-Identifier: MIT
 *
 * Pools: arrays of equal slots that are named by 32-bit index and grow in chunks, so that a slot
 * never moves and a machine costs only what is touched.  Slot 0 stands for "none".
 * A free slot is zero but for the link to the next free one, in its first four bytes.
 * Nothing here knows what a slot holds.
 *
 * Memory is asked for in pool_reserve alone.  Whoever wants to change a machine reserves first all
 * that the change may need; from then on nothing can fail.  A chunk has room for more than was asked
 * for, in which a reservation that is too small would go unnoticed, so debug builds (no NDEBUG) count
 * what was granted, and the machine check tells of a slot that was taken beyond it.
 */
#ifndef COWLAB_MACHINE_POOL_H
#define COWLAB_MACHINE_POOL_H

#include "base/alloc.h"

struct pool {
	char **chunks;       /* directory of chunks; all full-sized but for a lone first one */
	uint32_t *blocks;    /* by chunk: how many chunks one block of memory holds from there on,
	                        0: within a block, or a chunk of its own */
	uint32_t directory;  /* room in both */
	uint32_t block_room; /* of `blocks`, while the two grow */
	uint32_t capacity;   /* slots that have memory */
	uint32_t used;       /* slots that were ever in use; slot 0 counts */
	uint32_t free;       /* first of the free list, 0: empty */
	uint32_t live;       /* slots in use, slot 0 aside */
	uint32_t size;       /* bytes a slot, a multiple of 4 */
	uint32_t shift;      /* log2 slots a chunk */
	bool sparse;         /* most of it will never be used: memory that the system gives at first use */
	bool overdrawn;      /* POOL_EXACT: a slot was taken that nobody had reserved */
	uint64_t granted;    /* POOL_EXACT: most slots that may be in use until the call ends */
};

#ifdef NDEBUG
enum { POOL_EXACT = 0 };
#else
enum { POOL_EXACT = 1 };
#endif

/* `more` slots beyond those in use may be taken. */
static inline void pool_grant(struct pool *pool, uint64_t more)
{
	if (POOL_EXACT && pool->granted < pool->live + more)
		pool->granted = pool->live + more;
}

/* What was granted and not taken is granted no more. */
static inline void pool_settle(struct pool *pool)
{
	if (POOL_EXACT)
		pool->granted = pool->live;
}

/* Slots that can be taken with no new memory. */
static inline uint64_t pool_spare(const struct pool *pool)
{
	return (uint64_t)pool->capacity - 1 - pool->live;
}

static inline void *pool_at(const struct pool *pool, uint32_t index)
{
	return pool->chunks[index >> pool->shift] +
	       (size_t)(index & ((1u << pool->shift) - 1)) * pool->size;
}

/* The same where slot size and chunk size are known when compiling. */
#define POOL_AT(pool, index, type, log2)                                                          \
	((type *)(void *)(pool)->chunks[(index) >> (log2)] + ((index) & ((1u << (log2)) - 1)))

/* Sets up an empty pool with slot 0 in use.  Returns 0 or -ENOMEM. */
int pool_init(const struct cow_allocator *allocator, struct pool *pool, uint32_t size,
	      uint32_t shift, uint32_t first);
void pool_fini(const struct cow_allocator *allocator, struct pool *pool);

/* Makes room for `more` slots beyond those in use.  Returns 0 or -ENOMEM; changes no state. */
int pool_grow(const struct cow_allocator *allocator, struct pool *pool, uint64_t more);

static inline int pool_reserve(const struct cow_allocator *allocator, struct pool *pool,
			       uint64_t more)
{
	return pool_spare(pool) >= more ? 0 : pool_grow(allocator, pool, more);
}

/* Takes a zeroed slot; there must be one to spare. */
uint32_t pool_take(struct pool *pool);
/* Gives a slot back and zeroes it. */
void pool_give(struct pool *pool, uint32_t index);

/* Bytes of host memory. */
uint64_t pool_memory(const struct pool *pool);

/* Makes `to`, which has been set up alike, an image of `from`.  Returns 0 or -ENOMEM. */
int pool_copy(const struct cow_allocator *allocator, struct pool *to, const struct pool *from);
bool pool_equal(const struct pool *a, const struct pool *b);

/* A run of used slots that lie behind each other in memory, from `index` on; NULL at the end. */
const void *pool_run(const struct pool *pool, uint32_t index, uint32_t *slots);

/* True if the free list is well formed: linked within `used`, as long as it should be, zeroed. */
bool pool_free_list_valid(const struct pool *pool);
/* The same where `elsewhere` of the free slots are not on it. */
bool pool_free_list_holds(const struct pool *pool, uint64_t elsewhere);

#endif
