/* SPDX-License-Identifier: MIT
 *
 * How a program of Check runs its one suite.
 */
#ifndef COWLAB_TESTS_SUITE_H
#define COWLAB_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

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
