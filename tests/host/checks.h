/* SPDX-License-Identifier: MIT
 *
 * Checks that are counted, for the programs here.
 */
#ifndef COWLAB_TESTS_HOST_CHECKS_H
#define COWLAB_TESTS_HOST_CHECKS_H

#include <stdio.h>

static int failures;

#define CHECK(what)                                                            \
	do {                                                                   \
		if (!(what)) {                                                 \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #what);      \
			failures++;                                            \
		}                                                              \
	} while (0)

#endif
