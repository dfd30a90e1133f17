/* SPDX-License-Identifier: MIT
 *
 * What the programs here that open sessions share: scenarios from text, and the checks of checks.h.
 */
#ifndef COWLAB_TESTS_HOST_SESSION_H
#define COWLAB_TESTS_HOST_SESSION_H

#include "checks.h"

#include <cowlab.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cow_scenario *parse(const char *text)
{
	cow_scenario *scenario;

	if (cow_scenario_parse("t", text, strlen(text), NULL, &scenario) ||
	    cow_scenario_errors(scenario))
		abort();
	return scenario;
}

#endif
