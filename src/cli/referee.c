/* SPDX-License-Identifier: MIT
 *
 * cowlab referee: what the kernel decided in a recorded program, from what `perf script` printed.
 */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

static long from_file(void *ctx, void *bytes, size_t size)
{
	FILE *file = ctx;
	size_t got;

	errno = 0;
	got = fread(bytes, 1, size, file);
	if (!got && ferror(file))
		return errno ? -errno : -EIO;
	return (long)got;
}

/* `FILE:LINE: SENTENCE` for what is wrong with the text. */
static enum cli_exit told(const char *name, const cow_referee *referee)
{
	const struct cow_referee_totals *totals = cow_referee_totals(referee);
	const struct cow_referee_note *note;

	for (size_t i = 0; (note = cow_referee_note(referee, i)); i++) {
		cli_escape(stderr, name, strlen(name), false);
		fprintf(stderr, ":%llu: %s\n", (unsigned long long)note->line, note->sentence);
	}
	if (totals->damaged > 20)
		cli_error("%s: %llu damaged lines in all", name,
			  (unsigned long long)totals->damaged);
	if (!totals->damaged && !totals->events) {
		cli_error("%s: no event in it that says anything of page faults", name);
		return CLI_PARSE;
	}
	return totals->damaged ? CLI_PARSE : CLI_HELD;
}

enum cli_exit cli_referee(const struct cli_arguments *arguments)
{
	const char *path = arguments->operands[0];
	bool standard = !strcmp(path, "-");
	const char *name = standard ? "<stdin>" : path;
	FILE *file = standard ? stdin : fopen(path, "rb");
	cow_referee *referee = NULL;
	enum cli_exit code;
	int error;

	if (!file) {
		cli_error("%s: %s", path, cow_strerror(-errno));
		return CLI_SYSTEM;
	}
	(void)setvbuf(file, NULL, _IONBF, 0); /* it is read by the megabyte */
	error = cow_referee_write(from_file, file, NULL, arguments->format, !arguments->totals,
				  cli_sink, NULL, &referee);
	if (!standard)
		fclose(file);
	if (error) {
		cli_error("%s: %s", name, cow_strerror(error));
		return CLI_SYSTEM;
	}
	code = told(name, referee);
	cow_referee_free(referee);
	return code;
}
