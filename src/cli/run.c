/* SPDX-License-Identifier: MIT
 *
 * cowlab run: runs scenarios, checks what they assert, and reports each run.
 */
#include "cli/cli.h"

enum cli_exit cli_run(const struct cli_arguments *arguments)
{
	struct cli_batch batch;
	enum cli_exit code = cli_batch_run(&batch, arguments, false);

	if (code != CLI_USAGE)
		code = cli_worst(code, cli_written(cow_reports_write(batch.reports,
								     batch.report_count,
								     arguments->format, cli_sink,
								     NULL)));
	cli_batch_free(&batch);
	return code;
}
