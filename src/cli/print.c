/* SPDX-License-Identifier: MIT
 *
 * cowlab print: a scenario in its canonical form.
 */
#include "cli/cli.h"

enum cli_exit cli_print(const struct cli_arguments *arguments)
{
	cow_scenario *scenario;
	enum cli_exit code = cli_load(arguments->operands[0], &scenario);

	if (scenario)
		code = cli_written(cow_scenario_print(scenario, cli_sink, NULL));
	cow_scenario_free(scenario);
	return code;
}
