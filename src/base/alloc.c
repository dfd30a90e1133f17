/* SPDX-License-Identifier: MIT
 *
 * Growing arrays and large blocks on top of the allocator hook.  The only code of the library that
 * knows the system: where mmap is to be had, blocks are aligned so that they can be huge pages.
 */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif

#include "base/alloc.h"

#include <errno.h>

#if defined(__linux__) && defined(MADV_HUGEPAGE)
/* A block aligned to its size: maps twice as much and gives the ends back. */
static void *block_map(void)
{
	size_t size = BLOCK_SIZE;
	char *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (memory == MAP_FAILED)
		return NULL;
	before = (size_t)(-(uintptr_t)memory & (size - 1));
	if (before)
		munmap(memory, before);
	munmap(memory + before + size, size - before);
	/* Advice: where it is refused, small pages do. */
	(void)madvise(memory + before, size, MADV_HUGEPAGE);
	return memory + before;
}

static void block_unmap(void *block)
{
	munmap(block, BLOCK_SIZE);
}
#else
static void *block_map(void)
{
	return calloc(1, BLOCK_SIZE);
}

static void block_unmap(void *block)
{
	free(block);
}
#endif

void *chunk_zalloc(const struct cow_allocator *allocator, size_t size)
{
	char *memory = cow_zalloc_(allocator, size);
#if defined(__linux__) && defined(MADV_POPULATE_WRITE)
	uintptr_t page = 4096, first = ((uintptr_t)memory + page - 1) & ~(page - 1);

	/* Advice again, and one call instead of a fault a page. */
	if (memory && size >= 8 * page && !(allocator && allocator->zalloc))
		(void)madvise((char *)first, (size - (first - (uintptr_t)memory)) & ~(page - 1),
			      MADV_POPULATE_WRITE);
#endif
	return memory;
}

void *block_zalloc(const struct cow_allocator *allocator)
{
	return allocator && allocator->zalloc ? allocator->zalloc(allocator->ctx, BLOCK_SIZE)
					      : block_map();
}

void block_release(const struct cow_allocator *allocator, void *block)
{
	if (allocator && allocator->zalloc)
		allocator->release(allocator->ctx, block, BLOCK_SIZE);
	else
		block_unmap(block);
}

int array_grow(const struct cow_allocator *allocator, void **array, size_t *capacity, size_t need,
	       size_t element)
{
	size_t grown = *capacity ? *capacity : 8;
	void *memory;

	if (need <= *capacity)
		return 0;
	while (grown < need) {
		if (grown > SIZE_MAX / 2 / element)
			return -ENOMEM;
		grown *= 2;
	}
	memory = cow_zalloc_(allocator, grown * element);
	if (!memory)
		return -ENOMEM;
	if (*array)
		memcpy(memory, *array, *capacity * element);
	cow_release_(allocator, *array, *capacity * element);
	*array = memory;
	*capacity = grown;
	return 0;
}
