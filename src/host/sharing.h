/* SPDX-License-Identifier: MIT
 *
 * Which places share a frame, on the kernel and in the simulator.  Knows numbers of frames, and no
 * pages.
 */
#ifndef COWLAB_HOST_SHARING_H
#define COWLAB_HOST_SHARING_H

#include "base/alloc.h"

/* Places noted one after the other, whose frames follow each other on both sides. */
struct stretch {
	uint64_t kernel, simulator; /* the first frames */
	uint64_t pages;
};

struct sharing {
	const struct cow_allocator *allocator;
	struct stretch *at;
	size_t count, room;
};

/* The frames of a place.  Returns 0 or -ENOMEM. */
int sharing_note(struct sharing *sharing, uint64_t kernel, uint64_t simulator);
/* True if two places share a frame on one side, the kernel's or the simulator's, and not on the
 * other.  Sorts them. */
bool sharing_differs(struct sharing *sharing, bool kernel);
void sharing_end(struct sharing *sharing);

#endif
