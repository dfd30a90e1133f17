/* SPDX-License-Identifier: MIT
 *
 * cowlab matrix: runs scenarios under policies, and shows policy by scenario.
 */
#include "cli/cli.h"

enum cli_exit cli_matrix(const struct cli_arguments *arguments)
{
	struct cli_batch batch;
	enum cli_exit code = cli_batch_run(&batch, arguments, true);

	if (code != CLI_USAGE)
		code = cli_worst(code, cli_written(cow_matrix_write(batch.reports,
								    batch.report_count,
								    arguments->format, cli_sink,
								    NULL)));
	cli_batch_free(&batch);
	return code;
}
