/* SPDX-License-Identifier: MIT
 *
 * An allocator that fails once, at the n-th call, while it is armed, and knows how much it has
 * given and not got back.  Asserts nothing.  Used by kept.h and swaplab.h.
 */
#ifndef COWLAB_TESTS_FAILING_H
#define COWLAB_TESTS_FAILING_H

#include <cowlab.h>

struct failing {
	bool armed;
	uint64_t fail, calls; /* calls are counted while it is armed */
	size_t live;          /* bytes */
};

/* Borrows `failing`, which is zeroed at first. */
struct cow_allocator failing_allocator(struct failing *failing);

#endif
