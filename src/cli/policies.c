/* SPDX-License-Identifier: MIT
 *
 * cowlab policies: a list of policies, or the decision table of one.
 */
#include "cli/cli.h"

enum cli_exit cli_policies(const struct cli_arguments *arguments)
{
	bool named = arguments->operand_count > 0;
	cow_policies *policies;
	enum cli_exit code = cli_parse_policies(named ? arguments->operands[0] : "all", &policies);
	int error;

	if (code != CLI_HELD)
		return code;
	if (named && cow_policies_count(policies) == 1)
		error = cow_policy_table_write(cow_policies_at(policies, 0), arguments->format,
					       cli_sink, NULL);
	else
		error = cow_policies_write(policies, arguments->format, cli_sink, NULL);
	cow_policies_free(policies);
	return cli_written(error);
}
