/* SPDX-License-Identifier: MIT
 *
 * What the programs here that open sessions share: checks that are counted, and scenarios from text.
 */
#ifndef COWLAB_TESTS_HOST_SESSION_H
#define COWLAB_TESTS_HOST_SESSION_H

#include <cowlab.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(what)                                                            \
	do {                                                                   \
		if (!(what)) {                                                 \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #what);      \
			failures++;                                            \
		}                                                              \
	} while (0)

static cow_scenario *parse(const char *text)
{
	cow_scenario *scenario;

	if (cow_scenario_parse("t", text, strlen(text), NULL, &scenario) ||
	    cow_scenario_errors(scenario))
		abort();
	return scenario;
}

#endif
