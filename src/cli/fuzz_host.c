/* SPDX-License-Identifier: MIT
 *
 * The running kernel as a referee of random scenarios.  A difference is believed when the kernel
 * comes to the same each time; a process that is lost costs the scenario, not the search.
 */
#include "cli/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef COWLAB_HOST

enum {
	REPEATS = 3,         /* of what differs */
	PATIENCE_MS = 2000,  /* that an event may take at first */
	LONG_PATIENCE_MS = 30000, /* before somebody is said to hang */
	SHRINK_SECONDS = 30, /* for one scenario */
};

struct fuzz_host {
	cow_host *host;
	cow_policies *policies;
	const struct cow_policy *policy;
	time_t until; /* shrinking ends then; 0: nothing is being shrunk */
	struct fuzz_jobs *jobs; /* NULL: one at a time */
};

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static int compare_once(struct fuzz_host *host, const cow_scenario *scenario,
			struct cow_difference *out)
{
	enum cow_host_status status;
	int error = cow_host_compare(host->host, scenario, host->policy, &status);

	if (!error)
		*out = *cow_host_difference(host->host);
	return error;
}

static bool same(const struct cow_difference *a, const struct cow_difference *b)
{
	return a->agreement == b->agreement && a->line == b->line && !strcmp(a->kind, b->kind);
}

/* Who did not come back in time may have been waiting for a CPU: it counts if much more time
 * is too little. */
static int once_more_patiently(struct fuzz_host *host, const cow_scenario *scenario,
			       struct cow_difference *out)
{
	int error;

	if (out->agreement != COW_DIFFERS || strcmp(out->kind, "cut off") != 0)
		return 0;
	*out = (struct cow_difference){ 0 };
	cow_host_patience(host->host, LONG_PATIENCE_MS);
	error = compare_once(host, scenario, out);
	cow_host_patience(host->host, PATIENCE_MS);
	return error;
}

/* Makes sure of a difference, if there is one. */
static int repeat(struct fuzz_host *host, const cow_scenario *scenario, struct cow_difference *out)
{
	int error = once_more_patiently(host, scenario, out);

	for (int i = 0; i < REPEATS && !error && out->agreement == COW_DIFFERS; i++) {
		struct cow_difference again = { 0 };

		error = compare_once(host, scenario, &again);
		if (!error && !same(out, &again))
			out->agreement = COW_UNSTABLE;
	}
	return error;
}

static int compare(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	struct fuzz_host *host = ctx;
	int error;

	if (host->until && seconds_now() >= host->until)
		return -ECANCELED;
	error = compare_once(host, scenario, out);
	return error ? error : repeat(host, scenario, out);
}

static size_t several(void *ctx, struct fuzz_one *ones, size_t count, uint64_t until)
{
	struct fuzz_host *host = ctx;

	return fuzz_jobs_do(host->jobs, ones, count, until);
}

/* Alone on the machine, and so the same whoever it was beside. */
static int confirm(void *ctx, struct fuzz_one *one)
{
	if (one->error)
		return one->error;
	return one->compared ? repeat(ctx, one->scenario, &one->difference) :
			       compare(ctx, one->scenario, &one->difference);
}

static void shrinking(void *ctx, bool begins)
{
	struct fuzz_host *host = ctx;

	host->until = begins ? seconds_now() + SHRINK_SECONDS : 0;
}

/* What the kernel came to, on every line. */
static int observe(void *ctx, const cow_scenario *scenario, cow_sink_fn *sink, void *to)
{
	struct fuzz_host *host = ctx;
	enum cow_host_status status;
	int error = cow_host_run(host->host, scenario, sink, to, &status);

	return !error && status == COW_HOST_SKIPPED ? cow_scenario_print(scenario, sink, to)
						    : error;
}

static enum cli_exit choose_policy(struct fuzz_host *host, const char *name)
{
	enum cli_exit code;

	if (!name)
		name = cow_host_policy(host->host);
	if (!name) {
		cli_error("no built-in policy is the running kernel: say --policy NAME");
		return CLI_USAGE;
	}
	code = cli_parse_policies(name, &host->policies);
	if (code != CLI_HELD)
		return code;
	if (cow_policies_count(host->policies) != 1) {
		cli_error("--policy: one policy to compare with, and not '%s'", name);
		return CLI_USAGE;
	}
	host->policy = cow_policies_at(host->policies, 0);
	return CLI_HELD;
}

enum cli_exit fuzz_host_open(const char *policy, uint64_t jobs, unsigned without,
			     struct fuzz_host **out, struct fuzz_referee *referee)
{
	struct fuzz_host *host = calloc(1, sizeof(*host));
	struct cow_host_options options;
	enum cli_exit code;
	unsigned flags;
	int error = host ? 0 : -ENOMEM;

	*out = host;
	cow_host_options_init(&options);
	options.facts = true;
	options.patience = PATIENCE_MS;
	if (!error)
		error = cow_host_open(&options, &host->host);
	if (error) {
		cli_error("the session on this kernel: %s", cow_strerror(error));
		return CLI_SYSTEM;
	}
	code = choose_policy(host, policy);
	if (code != CLI_HELD)
		return code;
	flags = cow_host_generates(host->host) | without;
	error = fuzz_jobs_start(&options, host->host, jobs, host->policy, flags, &host->jobs);
	if (error) {
		cli_error("--jobs: %s", cow_strerror(error));
		return CLI_SYSTEM;
	}
	*referee = (struct fuzz_referee){ .name = host->policy->name, .compare = compare,
						  .ctx = host, .policy = host->policy,
						  .shrinking = shrinking, .observe = observe,
						  .several = host->jobs ? several : NULL,
						  .confirm = confirm,
						  .flags = flags };
	return CLI_HELD;
}

void fuzz_host_close(struct fuzz_host *host)
{
	if (!host)
		return;
	fuzz_jobs_end(host->jobs);
	cow_policies_free(host->policies);
	cow_host_close(host->host);
	free(host);
}

#endif
