/* SPDX-License-Identifier: MIT
 *
 * cowlab-bench-explore POLICY EVENTS PROCESSES PAGES REFS THREADS [symmetry|names]: one search to
 * its end, measured.  Prints `key value` lines for the script beside-pan, which is to be read
 * next.
 */
#define _GNU_SOURCE
#include <cowlab.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int usage(void)
{
	fputs("usage: cowlab-bench-explore POLICY EVENTS PROCESSES PAGES REFS THREADS "
	      "[symmetry|names]\n", stderr);
	return 1;
}

static void print(const struct cow_explore_totals *totals, double took)
{
	printf("end %s\nstates %llu\ntransitions %llu\ndepth %u\nbytes %llu\nstate_bytes %llu\n"
	       "seconds %.3f\n",
	       cow_end_word(totals->end), (unsigned long long)totals->states,
	       (unsigned long long)totals->transitions, totals->depth,
	       (unsigned long long)totals->peak_bytes,
	       (unsigned long long)totals->state_bytes, took);
}

int main(int argc, char **argv)
{
	struct cow_explore_options options;
	struct cow_error error = { 0 };
	cow_exploration *exploration;
	double begun;

	cow_explore_options_init(&options);
	if (argc < 7 || argc > 8)
		return usage();
	options.policy = cow_policy_find(argv[1]);
	if (!options.policy || cow_kinds_parse(argv[2], &error, &options.kinds))
		return usage();
	options.processes = (uint32_t)strtoul(argv[3], NULL, 10);
	options.pages = (uint32_t)strtoul(argv[4], NULL, 10);
	options.refs = (uint32_t)strtoul(argv[5], NULL, 10);
	options.no_refs = !options.refs;
	options.threads = (uint32_t)strtoul(argv[6], NULL, 10);
	options.no_symmetry = argc > 7 && !strcmp(argv[7], "names");
	begun = seconds();
	if (cow_explore(&options, &error, &exploration)) {
		fprintf(stderr, "cowlab-bench-explore: %s\n", error.sentence);
		return 3;
	}
	print(cow_exploration_totals(exploration), seconds() - begun);
	cow_exploration_free(exploration);
	return 0;
}
