/* SPDX-License-Identifier: MIT
 *
 * states POLICY EVENTS PROCESSES PAGES REFS [names]: how many states and transitions there are.
 *
 * A search by default also takes for one what differs in nothing that its words could tell.  A
 * predicate may look at anything in a machine, and beside a second policy every value may matter:
 * with both, states are equal only if they are up to names, which is what pan counts.  So the
 * policy is searched beside itself, with a predicate that never holds.  Read check.sh next.
 */
#include <cowlab.h>

#include <stdio.h>
#include <stdlib.h>

static bool never(void *ctx, const cow_machine *machine)
{
	(void)ctx;
	(void)machine;
	return false;
}

int main(int argc, char **argv)
{
	struct cow_explore_options options;
	const struct cow_explore_totals *totals;
	struct cow_error error = { 0 };
	cow_exploration *exploration;
	int code = 1;

	cow_explore_options_init(&options);
	if (argc < 6 || argc > 7 || !cow_policy_find(argv[1]) ||
	    cow_kinds_parse(argv[2], &error, &options.kinds)) {
		fprintf(stderr, "usage: states POLICY EVENTS PROCESSES PAGES REFS [names]\n");
		return code;
	}
	options.policy = options.other = cow_policy_find(argv[1]);
	options.processes = (uint32_t)strtoul(argv[3], NULL, 10);
	options.pages = (uint32_t)strtoul(argv[4], NULL, 10);
	options.refs = (uint32_t)strtoul(argv[5], NULL, 10);
	options.predicate = never;
	options.no_symmetry = argc > 6;
	if (cow_explore(&options, &error, &exploration)) {
		fprintf(stderr, "states: %s\n", error.sentence);
		return code;
	}
	totals = cow_exploration_totals(exploration);
	if (totals->end == COW_END_COMPLETE) {
		printf("depth %u\nstates %llu\ntransitions %llu\n", totals->depth,
		       (unsigned long long)totals->states,
		       (unsigned long long)totals->transitions);
		code = 0;
	}
	cow_exploration_free(exploration);
	return code;
}
