/* SPDX-License-Identifier: MIT
 *
 * cowlab host: scenarios on the running kernel, alone or beside the simulator.
 */
#include "cli/cli.h"

#ifdef COWLAB_HOST

struct host_work {
	cow_host *host;
	const struct cow_policy *policy; /* NULL: no comparison */
	size_t done, skipped;
};

static enum cli_exit told(struct host_work *work, const char *path, enum cow_host_status status)
{
	switch (status) {
	case COW_HOST_DONE:
		work->done++;
		if (work->policy)
			printf("%s  agrees\n", path);
		return CLI_HELD;
	case COW_HOST_SKIPPED:
		work->skipped++;
		printf("%s%s  skipped: %s\n", work->policy ? "" : "# ", path,
		       cow_host_reason(work->host));
		return CLI_HELD;
	case COW_HOST_KNOWN:
		work->done++;
		printf("%s  differs as known: %s\n%s\n", path,
		       cow_host_difference(work->host)->kind, cow_host_reason(work->host));
		return CLI_HELD;
	case COW_HOST_DIFFERS:
		work->done++;
		printf("%s  DIFFERS\n%s\n", path, cow_host_reason(work->host));
		return CLI_FAILED;
	default:
		work->done++;
		cli_error("%s", cow_host_reason(work->host));
		return CLI_FAILED;
	}
}

static enum cli_exit run_file(struct host_work *work, const char *path)
{
	cow_scenario *scenario;
	enum cow_host_status status;
	enum cli_exit code = cli_load(path, &scenario);
	int error;

	if (!scenario)
		return code;
	if (work->policy)
		error = cow_host_compare(work->host, scenario, work->policy, &status);
	else
		error = cow_host_run(work->host, scenario, cli_sink, NULL, &status);
	if (error)
		cli_error("%s: %s", path, cow_strerror(error));
	code = error ? CLI_SYSTEM : told(work, path, status);
	cow_scenario_free(scenario);
	return code;
}

/* The policy to compare with: the one that is asked for, or that of the running kernel. */
static enum cli_exit choose_policy(struct host_work *work, const struct cli_arguments *arguments,
				   cow_policies **policies)
{
	const char *name = arguments->policy ? arguments->policy : cow_host_policy(work->host);
	enum cli_exit code;

	if (!arguments->compare)
		return CLI_HELD;
	if (!name) {
		cli_error("no built-in policy is the running kernel: say --policy NAME");
		return CLI_USAGE;
	}
	code = cli_parse_policies(name, policies);
	if (code != CLI_HELD)
		return code;
	if (cow_policies_count(*policies) != 1) {
		cli_error("--policy: one policy to compare with, and not '%s'", name);
		return CLI_USAGE;
	}
	work->policy = cow_policies_at(*policies, 0);
	return CLI_HELD;
}

enum cli_exit cli_host(const struct cli_arguments *arguments)
{
	struct cow_host_options options;
	struct host_work work = { .host = NULL };
	cow_policies *policies = NULL;
	enum cli_exit code;
	int error;

	cow_host_options_init(&options);
	options.facts = arguments->facts;
	error = cow_host_open(&options, &work.host);
	if (error) {
		cli_error("the session on this kernel: %s", cow_strerror(error));
		return CLI_SYSTEM;
	}
	if (cow_host_unseen(work.host))
		cli_error("not seen here: %s", cow_host_unseen(work.host));
	code = choose_policy(&work, arguments, &policies);
	for (int i = 0; i < arguments->operand_count && code != CLI_USAGE; i++)
		code = cli_worst(code, run_file(&work, arguments->operands[i]));
	if (code == CLI_HELD && work.skipped && !work.done)
		code = CLI_SYSTEM;
	cow_policies_free(policies);
	cow_host_close(work.host);
	return code;
}

#else

/* The system is none that scenarios could be run on. */
typedef int cli_host_is_left_out;

#endif
