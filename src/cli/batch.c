/* SPDX-License-Identifier: MIT
 *
 * Runs every file under every policy.  One bad file does not stop the others.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>

static enum cli_exit batch_keep(struct cli_batch *batch, cow_report *report)
{
	if (batch->report_count == batch->report_capacity) {
		size_t capacity = batch->report_capacity ? batch->report_capacity * 2 : 64;
		cow_report **reports = realloc(batch->reports, capacity * sizeof(cow_report *));

		if (!reports) {
			cow_report_free(report);
			cli_error("%s", cow_strerror(-ENOMEM));
			return CLI_SYSTEM;
		}
		batch->reports = reports;
		batch->report_capacity = capacity;
	}
	batch->reports[batch->report_count++] = report;
	return CLI_HELD;
}

static enum cli_exit batch_run_one(struct cli_batch *batch, const cow_scenario *scenario,
				   const struct cow_policy *policy,
				   const struct cow_run_options *options)
{
	cow_report *report = NULL;
	enum cli_exit code;
	int error = cow_run(scenario, policy, options, &report);

	if (error) {
		cli_error("%s: policy %s: %s", cow_scenario_name(scenario), policy->name,
			  cow_strerror(error));
		return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
	}
	code = (enum cli_exit)cow_status_exit_code(cow_report_status(report));
	return cli_worst(code, batch_keep(batch, report));
}

static bool batch_leaves_out(const struct cow_policy *policy, const struct cli_arguments *arguments)
{
	return arguments->no_audit && policy->flags & COW_POLICY_NEEDS_TRUTH;
}

static enum cli_exit batch_run_file(struct cli_batch *batch, const cow_scenario *scenario,
				    const struct cow_run_options *options,
				    const struct cli_arguments *arguments, bool skip)
{
	enum cli_exit code = CLI_HELD;

	for (size_t i = 0; i < cow_policies_count(batch->policies); i++) {
		const struct cow_policy *policy = cow_policies_at(batch->policies, i);

		if (batch_leaves_out(policy, arguments))
			continue;
		if (!arguments->policy && !skip && !cow_scenario_wants(scenario, policy->name))
			continue;
		code = cli_worst(code, batch_run_one(batch, scenario, policy, options));
	}
	return code;
}

/* Says which policies cannot run without an audit.  One at least must be left. */
static enum cli_exit batch_check_audit(const struct cli_batch *batch,
				       const struct cli_arguments *arguments)
{
	size_t left = 0;

	for (size_t i = 0; i < cow_policies_count(batch->policies); i++) {
		const struct cow_policy *policy = cow_policies_at(batch->policies, i);

		if (!batch_leaves_out(policy, arguments))
			left++;
		else if (arguments->policy)
			cli_error("policy %s decides by the audit, and is left out", policy->name);
	}
	return left ? CLI_HELD : CLI_USAGE;
}

enum cli_exit cli_batch_run(struct cli_batch *batch, const struct cli_arguments *arguments,
			    bool skip)
{
	struct cow_run_options options;
	enum cli_exit code;

	*batch = (struct cli_batch){ 0 };
	code = cli_parse_policies(arguments->policy ? arguments->policy : "all", &batch->policies);
	if (code != CLI_HELD)
		return code;
	code = batch_check_audit(batch, arguments);
	if (code != CLI_HELD)
		return code;
	batch->scenarios = calloc((size_t)arguments->operand_count, sizeof(cow_scenario *));
	if (!batch->scenarios) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}

	cow_run_options_init(&options);
	options.no_audit = arguments->no_audit;
	options.check_each = arguments->check;
	options.explain = arguments->explain;
	if (arguments->geometry)
		options.geometry = *arguments->geometry;
	for (int i = 0; i < arguments->operand_count; i++) {
		cow_scenario *scenario;

		code = cli_worst(code, cli_load(arguments->operands[i], &scenario));
		if (!scenario)
			continue;
		batch->scenarios[batch->scenario_count++] = scenario;
		code = cli_worst(code, batch_run_file(batch, scenario, &options, arguments, skip));
	}
	return code;
}

void cli_batch_free(struct cli_batch *batch)
{
	for (size_t i = 0; i < batch->report_count; i++)
		cow_report_free(batch->reports[i]);
	free(batch->reports);
	for (size_t i = 0; i < batch->scenario_count; i++)
		cow_scenario_free(batch->scenarios[i]);
	free(batch->scenarios);
	if (batch->policies)
		cow_policies_free(batch->policies);
}
