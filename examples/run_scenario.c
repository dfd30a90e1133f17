/* SPDX-License-Identifier: MIT
 *
 * A scenario in three calls: load it, run it, write the report.
 * usage: run_scenario FILE [POLICY].  Read own_policy.c next.
 */
#include <cowlab.h>
#include <errno.h>
#include <stdio.h>

static int to_stdout(void *ctx, const void *bytes, size_t size)
{
	(void)ctx;
	return fwrite(bytes, 1, size, stdout) == size ? 0 : -EIO;
}

int main(int argc, char **argv)
{
	const struct cow_policy *policy = cow_policy_find(argc > 2 ? argv[2] : "exclusive");
	cow_scenario *scenario = NULL;
	cow_report *report = NULL;
	int error = argc > 1 && policy ? 0 : -EINVAL;
	int code = 1;

	if (!error)
		error = cow_scenario_load(argv[1], NULL, &scenario);
	if (!error)
		error = cow_run(scenario, policy, NULL, &report);
	if (!error)
		error = cow_reports_write(&report, 1, COW_FORMAT_TEXT, to_stdout, NULL);
	if (!error)
		code = cow_status_exit_code(cow_report_status(report));
	else
		fprintf(stderr, "run_scenario: %s\n", cow_strerror(error));
	cow_report_free(report);
	cow_scenario_free(scenario);
	return code;
}
