/* SPDX-License-Identifier: MIT
 *
 * A search that must end with a result, for the tests of the explorer.
 */
#ifndef COWLAB_TESTS_EXPLORED_H
#define COWLAB_TESTS_EXPLORED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cowlab.h>

/* What came of it is the caller's to free. */
static inline cow_exploration *explored(const struct cow_explore_options *options)
{
	struct cow_error error = { 0 };
	cow_exploration *x;

	if (cow_explore(options, &error, &x))
		fail_msg("%s", error.sentence);
	return x;
}

#endif
