/* SPDX-License-Identifier: MIT
 *
 * Which places share a frame, by stretches: for all sets of few places the same as by looking at
 * every two of them.  Exits with 0 if that holds.
 */
#include "host/sharing.h"

#include <stdio.h>

enum { PLACES = 6, FRAMES = 3 };

static bool differ(const unsigned *kernel, const unsigned *simulator, size_t count, bool by_kernel)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (by_kernel ? kernel[i] == kernel[j] && simulator[i] != simulator[j]
				      : simulator[i] == simulator[j] && kernel[i] != kernel[j])
				return true;
	return false;
}

/* `number` says the frames of each place on both sides. */
static bool agrees(unsigned number)
{
	static const struct cow_allocator libc;
	struct sharing sharing = { .allocator = &libc };
	unsigned kernel[PLACES], simulator[PLACES];
	bool same = true;

	for (size_t i = 0; i < PLACES; i++) {
		kernel[i] = number % FRAMES + 1;
		number /= FRAMES;
		simulator[i] = number % FRAMES + 1;
		number /= FRAMES;
		same &= !sharing_note(&sharing, kernel[i], simulator[i]);
	}
	same &= sharing_differs(&sharing, true) == differ(kernel, simulator, PLACES, true);
	same &= sharing_differs(&sharing, false) == differ(kernel, simulator, PLACES, false);
	sharing_end(&sharing);
	return same;
}

int main(void)
{
	unsigned sets = 1, wrong = 0;

	for (int i = 0; i < 2 * PLACES; i++)
		sets *= FRAMES;
	for (unsigned number = 0; number < sets; number++)
		wrong += !agrees(number);
	printf("%u sets, %u wrong\n", sets, wrong);
	return wrong != 0;
}
