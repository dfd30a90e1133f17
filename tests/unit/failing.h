/* SPDX-License-Identifier: MIT
 *
 * An allocator that fails at the n-th call, or from the n-th on, while it is armed, and knows how
 * much it has given and not got back.  Asserts nothing, but ends the program where more comes back
 * than it gave.  Linked to the tests of every folder.
 */
#ifndef COWLAB_TESTS_FAILING_H
#define COWLAB_TESTS_FAILING_H

#include <cowlab.h>

struct failing {
	bool armed;
	bool all;        /* every call from the n-th on */
	uint64_t fail;   /* n, from 1; 0: none */
	uint64_t calls;  /* while it is armed */
	uint64_t failed; /* how often */
	size_t live;     /* bytes */
};

/* Borrows `failing`, which is zeroed at first. */
struct cow_allocator failing_allocator(struct failing *failing);

/* From now on `good` calls succeed, and none after them. */
static inline void failing_after(struct failing *failing, uint64_t good)
{
	failing->armed = failing->all = true;
	failing->fail = good + 1;
	failing->calls = failing->failed = 0;
}

#endif
