/* SPDX-License-Identifier: MIT
 *
 * Which places share a frame: as many places as huge pages have, and few stretches of them.
 */
#include "host/sharing.h"

#include <errno.h>

int sharing_note(struct sharing *sharing, uint64_t kernel, uint64_t simulator)
{
	struct stretch *last = sharing->count ? &sharing->at[sharing->count - 1] : NULL;

	if (last && kernel == last->kernel + last->pages &&
	    simulator == last->simulator + last->pages) {
		last->pages++;
		return 0;
	}
	if (array_grow(sharing->allocator, (void **)&sharing->at, &sharing->room,
		       sharing->count + 1, sizeof(*sharing->at)))
		return -ENOMEM;
	sharing->at[sharing->count++] = (struct stretch){ kernel, simulator, 1 };
	return 0;
}

static int by_kernel(const void *a, const void *b)
{
	const struct stretch *x = a, *y = b;

	return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

static int by_simulator(const void *a, const void *b)
{
	const struct stretch *x = a, *y = b;

	return (x->simulator > y->simulator) - (x->simulator < y->simulator);
}

/* Stretches that overlap on the one side are as far off on the other, all of them. */
bool sharing_differs(struct sharing *sharing, bool kernel)
{
	uint64_t end = 0, off = 0; /* of those that overlap so far */

	if (!sharing->count)
		return false;
	qsort(sharing->at, sharing->count, sizeof(*sharing->at), kernel ? by_kernel : by_simulator);
	for (size_t i = 0; i < sharing->count; i++) {
		const struct stretch *at = &sharing->at[i];
		uint64_t here = kernel ? at->kernel : at->simulator;
		uint64_t there = kernel ? at->simulator : at->kernel;

		if (here < end && there - here != off)
			return true;
		off = there - here;
		end = end > here + at->pages ? end : here + at->pages;
	}
	return false;
}

void sharing_end(struct sharing *sharing)
{
	cow_release_(sharing->allocator, sharing->at, sharing->room * sizeof(*sharing->at));
	*sharing = (struct sharing){ .allocator = sharing->allocator };
}
