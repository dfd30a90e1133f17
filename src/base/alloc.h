/* SPDX-License-Identifier: MIT
 *
 * The one door to host memory.  Nothing in the library calls libc's allocator but through here.
 */
#ifndef COWLAB_BASE_ALLOC_H
#define COWLAB_BASE_ALLOC_H

#include <cowlab.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed memory, or NULL.  A NULL or all-zero allocator is libc. */
static inline void *cow_zalloc_(const struct cow_allocator *allocator, size_t size)
{
	if (allocator && allocator->zalloc)
		return allocator->zalloc(allocator->ctx, size);
	return calloc(1, size);
}

static inline void cow_release_(const struct cow_allocator *allocator, void *memory, size_t size)
{
	if (!memory)
		return;
	if (allocator && allocator->zalloc)
		allocator->release(allocator->ctx, memory, size);
	else
		free(memory);
}

/*
 * A large block, zeroed.  From libc's side it comes in huge pages where the system grants them:
 * a machine of millions of frames is one long walk, and would miss the TLB at every step.
 */
enum { BLOCK_SIZE = 2 << 20 };
void *block_zalloc(const struct cow_allocator *allocator);
/* Memory as cow_zalloc_ gives it, present at once where that is cheaper than fault by fault. */
void *chunk_zalloc(const struct cow_allocator *allocator, size_t size);
void block_release(const struct cow_allocator *allocator, void *block);

/*
 * Makes room for `need` elements in a growing array: doubles, copies, zeroes the rest.
 * Returns 0 or -ENOMEM, and the array is as it was then.
 */
int array_grow(const struct cow_allocator *allocator, void **array, size_t *capacity, size_t need,
	       size_t element);

#endif
