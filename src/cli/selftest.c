/* SPDX-License-Identifier: MIT
 *
 * cowlab selftest: runs Linux's COW selftest under policies, and compares what came of each case
 * with the table; or prints one case.
 *
 * A run that differs has another verdict than the table, or an assertion of its scenario failed.
 * A policy that the table does not know (a composition) is run, and nothing is expected of it.
 */
#include "cli/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

/* The memory of a machine is the next one's.  Giving it back to the system in between, thousands of
 * times, takes a third of the time. */
static void keep_memory(void)
{
#if defined(__GLIBC__)
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

cow_scenario *selftest_parse(const char *name, const char *text, size_t length,
			     enum cli_exit *code)
{
	cow_scenario *scenario = NULL;
	int error = length ? cow_scenario_parse(name, text, length, NULL, &scenario) : -EINVAL;
	const struct cow_diagnostic *mistake;

	if (!error)
		return scenario;
	*code = error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
	mistake = scenario ? cow_scenario_error(scenario, 0) : NULL;
	if (mistake)
		cli_error("%s:%u:%u: %s: %.*s", name, mistake->line, mistake->column,
			  mistake->sentence, (int)mistake->text_length, mistake->text);
	else
		cli_error("%s: %s", name,
			  length ? cow_strerror(error) : "the case cannot be written down");
	cow_scenario_free(scenario);
	return NULL;
}

/* The scenario of a case; NULL: it could not be made, which has been said. */
static cow_scenario *parse_case(const struct selftest_case *one, enum cli_exit *code)
{
	char text[SELFTEST_TEXT];
	size_t length = selftest_write_case(one, text);

	return selftest_parse(one->name, text, length, code);
}

static enum cli_exit print_case(const struct selftest *test, const char *name)
{
	const char *names[SELFTEST_CASES + 1];
	enum cli_exit code = CLI_HELD;
	cow_scenario *scenario;

	for (size_t i = 0; i < test->case_count; i++) {
		names[i] = test->cases[i].name;
		if (strcmp(names[i], name) != 0)
			continue;
		scenario = parse_case(&test->cases[i], &code);
		if (scenario)
			code = cli_written(cow_scenario_print(scenario, cli_sink, NULL));
		cow_scenario_free(scenario);
		return code;
	}
	names[test->case_count] = NULL;
	cli_unknown("case", name, names);
	return CLI_USAGE;
}

/* The letter that the table gives; 0: it does not know the policy. */
static char expected_of(const char *letters, const struct cow_policy *policy)
{
	for (size_t i = 0; i < SELFTEST_POLICIES; i++)
		if (!strcmp(selftest_policies[i], policy->name))
			return letters[i];
	return 0;
}

static enum cli_exit run_one(const cow_scenario *scenario, const struct cow_policy *policy,
			     const struct cow_run_options *options, struct selftest_run *run)
{
	cow_report *report = NULL;
	const char *failure;
	int error = cow_run(scenario, policy, options, &report);

	if (error) {
		cli_error("%s: policy %s: %s", cow_scenario_name(scenario), policy->name,
			  cow_strerror(error));
		return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
	}
	run->status = cow_report_status(report);
	run->verdict = cow_report_verdict(report);
	run->copies = cow_report_counter(report, COW_COUNT_COPIES);
	run->needless = cow_report_counter(report, COW_COUNT_NEEDLESS_COPIES);
	run->early = cow_report_counter(report, COW_COUNT_EARLY_COPIES);
	run->unshares = cow_report_counter(report, COW_COUNT_UNSHARES);
	run->judged = run->status != COW_RUN_NOT_MODELLED && run->status != COW_RUN_FAULT;
	run->differs = run->expected && run->judged &&
		       (run->status != (run->expected == 'S' ? COW_RUN_SKIPPED : COW_RUN_HELD) ||
			run->verdict != selftest_verdict(run->expected));
	failure = run->differs ? cow_report_failure(report, 0) : NULL;
	if (failure)
		run->failure = strdup(failure);
	cow_report_free(report);
	if (failure && !run->failure) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	if (run->status == COW_RUN_FAILED)
		return run->differs ? CLI_FAILED : CLI_HELD;
	return (enum cli_exit)cow_status_exit_code(run->status);
}

enum cli_exit selftest_run_all(struct selftest *test, bool check_each)
{
	struct cow_run_options options;
	enum cli_exit code = CLI_HELD;

	cow_run_options_init(&options);
	options.check_each = check_each;
	test->runs = calloc(test->case_count * test->policy_count, sizeof(*test->runs));
	if (!test->runs) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	keep_memory();
	for (size_t i = 0; i < test->case_count; i++) {
		const char *letters = selftest_expected(&test->cases[i]);
		enum cli_exit made = CLI_HELD;
		cow_scenario *scenario = parse_case(&test->cases[i], &made);

		if (!scenario) {
			test->case_count = i; /* what was run is told */
			return cli_worst(code, made);
		}
		for (size_t p = 0; p < test->policy_count; p++) {
			const struct cow_policy *policy = cow_policies_at(test->policies, p);
			struct selftest_run *run = &test->runs[i * test->policy_count + p];

			run->expected = expected_of(letters, policy);
			code = cli_worst(code, run_one(scenario, policy, &options, run));
		}
		cow_scenario_free(scenario);
	}
	return code;
}

static enum cli_exit run_and_write(struct selftest *test, const struct cli_arguments *arguments)
{
	enum cli_exit code = cli_parse_policies(arguments->policy ? arguments->policy : "all",
						&test->policies);

	if (code != CLI_HELD)
		return code;
	test->policy_count = cow_policies_count(test->policies);
	code = selftest_run_all(test, arguments->check);
	return cli_worst(code, cli_written(selftest_write(test, arguments->format)));
}

static void free_runs(struct selftest *test)
{
	for (size_t i = 0; test->runs && i < test->case_count * test->policy_count; i++)
		free(test->runs[i].failure);
	free(test->runs);
	if (test->policies)
		cow_policies_free(test->policies);
}

enum cli_exit cli_selftest(const struct cli_arguments *arguments)
{
	struct selftest *test = calloc(1, sizeof(*test));
	enum cli_exit code;

	if (!test) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	test->case_count = selftest_make_cases(test->cases);
	if (test->case_count != SELFTEST_CASES) {
		cli_error("the tables of the selftest do not make %d cases", SELFTEST_CASES);
		code = CLI_FAULT;
	} else if (arguments->print) {
		code = print_case(test, arguments->print);
	} else if (arguments->host) {
		code = selftest_host(test, arguments);
	} else {
		code = run_and_write(test, arguments);
	}
	free_runs(test);
	free(test);
	return code;
}
