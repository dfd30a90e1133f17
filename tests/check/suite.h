/* SPDX-License-Identifier: MIT
 *
 * How a program of Check runs its one suite.
 */
#ifndef COWLAB_TESTS_SUITE_H
#define COWLAB_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

/* ck_assert_msg for loops that go round a million times: Check writes to a file at each assertion, also
 * where it holds. */
#define must(condition, ...)                       \
	do {                                       \
		if (!(condition))                  \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* Runs it, tells, and frees it.  Returns the exit code of the program. */
static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
