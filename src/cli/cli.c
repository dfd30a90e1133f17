/* SPDX-License-Identifier: MIT
 *
 * Standard error and standard output, diagnostics, loading.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum cli_exit cli_worst(enum cli_exit a, enum cli_exit b)
{
	static const enum cli_exit order[] = { CLI_USAGE,  CLI_FAULT,  CLI_SYSTEM, CLI_PARSE,
					       CLI_FAILED, CLI_BOUND,  CLI_HELD };
	size_t i = 0;

	while (order[i] != a && order[i] != b)
		i++;
	return order[i];
}

/* Length of a printable character, 0 if its first byte must be escaped. */
static size_t printable(const unsigned char *text, size_t length)
{
	size_t need = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2
				       : *text < 0xf0		       ? 3
				       : *text < 0xf5		       ? 4
								       : 0;

	if (!need || need > length || *text < 0x20 || *text == 0x7f)
		return 0;
	if (*text == 0xc2 && text[1] < 0xa0) /* the C1 control characters */
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	return need;
}

size_t cli_escape(FILE *to, const char *text, size_t length, bool tabs)
{
	size_t columns = 0;

	for (size_t i = 0; i < length;) {
		size_t step = printable((const unsigned char *)text + i, length - i);

		if (tabs && text[i] == '\t')
			step = 1;
		if (step) {
			fwrite(text + i, 1, step, to);
			i += step;
			columns++;
		} else {
			fprintf(to, "\\x%02x", (unsigned char)text[i]);
			i++;
			columns += 4;
		}
	}
	return columns;
}

void cli_error(const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	fputs("cowlab: ", stderr);
	cli_escape(stderr, text, strlen(text), false);
	fputc('\n', stderr);
}

/* Blanks up to the place of an error, tabs where the line has them. */
static void print_caret(const struct cow_diagnostic *diagnostic)
{
	const unsigned char *text = (const unsigned char *)diagnostic->text;
	size_t length = diagnostic->text_length, place = diagnostic->column - 1;

	if (place > length)
		place = length;
	for (size_t i = 0; i < place;) {
		size_t step = printable(text + i, length - i);

		if (text[i] == '\t')
			fputc('\t', stderr);
		else
			fputs(step ? " " : "    ", stderr);
		i += step ? step : 1;
	}
	fputs("^\n", stderr);
}

static void print_diagnostic(const char *path, const struct cow_diagnostic *diagnostic)
{
	cli_escape(stderr, path, strlen(path), false);
	fprintf(stderr, ":%u:%u: error: ", diagnostic->line, diagnostic->column);
	cli_escape(stderr, diagnostic->sentence, strlen(diagnostic->sentence), false);
	fputc('\n', stderr);
	if (!diagnostic->text)
		return;
	fputs("    ", stderr);
	cli_escape(stderr, diagnostic->text, diagnostic->text_length, true);
	fputs("\n    ", stderr);
	print_caret(diagnostic);
}

static void print_diagnostics(const cow_scenario *scenario)
{
	const struct cow_diagnostic *diagnostic;
	size_t kept = 0;

	while ((diagnostic = cow_scenario_error(scenario, kept))) {
		print_diagnostic(cow_scenario_name(scenario), diagnostic);
		kept++;
	}
	if (cow_scenario_errors(scenario) > kept)
		cli_error("%s: %zu errors more", cow_scenario_name(scenario),
			  cow_scenario_errors(scenario) - kept);
}

enum cli_exit cli_load(const char *path, cow_scenario **out)
{
	cow_scenario *scenario = NULL;
	int error = cow_scenario_load(path, NULL, &scenario);

	*out = NULL;
	if (!error) {
		*out = scenario;
		return CLI_HELD;
	}
	if (!scenario) {
		cli_error("%s: %s", path, cow_strerror(error));
		return CLI_SYSTEM;
	}
	print_diagnostics(scenario);
	cow_scenario_free(scenario);
	return CLI_PARSE;
}

enum cli_exit cli_parse_policies(const char *list, cow_policies **out)
{
	struct cow_error error = { 0 };
	int code = cow_policies_parse(list, NULL, &error, out);

	if (!code)
		return CLI_HELD;
	*out = NULL;
	cli_error("%s", error.sentence[0] ? error.sentence : cow_strerror(code));
	return code == -ENOMEM ? CLI_SYSTEM : CLI_USAGE;
}

int cli_sink(void *ctx, const void *bytes, size_t size)
{
	(void)ctx;
	errno = 0;
	if (fwrite(bytes, 1, size, stdout) == size)
		return 0;
	return errno ? -errno : -EIO;
}

enum cli_exit cli_written(int error)
{
	if (!error)
		return CLI_HELD;
	cli_error("standard output: %s", cow_strerror(error));
	return CLI_SYSTEM;
}

void json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if (*text == '\n')
			printf("\\n");
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	}
	putchar('"');
}
