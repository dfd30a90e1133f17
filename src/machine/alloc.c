/* SPDX-License-Identifier: MIT
 *
 * Growing arrays on top of the allocator hook.
 */
#include "machine/alloc.h"

#include <errno.h>

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
