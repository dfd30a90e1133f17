/* SPDX-License-Identifier: MIT
 *
 * Rows: entries behind each other that look alike and map frames that are neighbours, in rising or falling
 * order, as those of frames taken in a row mostly are.  Their frames look alike too, so that no page of
 * a row needs a look of its own, and the compiler can write several at once.  Changes nothing.
 */
#ifndef COWLAB_KERNEL_ROW_H
#define COWLAB_KERNEL_ROW_H

#include "machine/table.h"

enum { ROW = 16 }; /* pages of a row */
enum { PAUSE = 64 }; /* pages that go one by one where there is none: cheap for scattered frames */

typedef uint64_t frame_words __attribute__((vector_size(16)));
_Static_assert(sizeof(frame_words) == sizeof(struct frame), "a frame at once");

/* True if ROW frames are equal.  memcmp would be a call, and read each twice. */
static inline bool frames_alike(const struct frame *frames)
{
	frame_words first, next, differ = { 0, 0 };

	memcpy(&first, frames, sizeof(first));
	for (uint32_t i = 1; i < ROW; i++) {
		memcpy(&next, &frames[i], sizeof(next));
		differ |= next ^ first;
	}
	return !(differ[0] | differ[1]);
}

/* What two neighbours of a row differ by: a frame, up or down. */
static inline bool row_step(uint64_t step, bool *rising)
{
	*rising = step == pte_make(1, 0);
	return *rising || step == pte_make(UINT32_MAX, 0);
}

/* The lowest frame of the row that ROW entries are; 0: they are none, as far as the entries tell. */
static inline uint32_t row_low(const uint64_t *ptes)
{
	const uint64_t first = ptes[0], step = ptes[1] - first;
	uint64_t differs = 0;
	uint32_t low;
	bool rising;

	if (!row_step(step, &rising))
		return 0;
	low = pte_frame(first) - (rising ? 0 : ROW - 1);
	if ((low ^ (low + ROW - 1)) >> FRAME_SHIFT)
		return 0;
	for (uint32_t i = 0; i < ROW; i++)
		differs |= ptes[i] ^ (first + i * step);
	return differs ? 0 : low;
}

#endif
