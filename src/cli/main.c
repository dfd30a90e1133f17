/* SPDX-License-Identifier: MIT
 *
 * The program: finds the verb, runs it, and makes sure that its output arrived.
 */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const struct cli_verb *find_verb(const char *name)
{
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

static enum cli_exit unknown_verb(const char *name)
{
	static const char *const others[] = { "help", "--help", "--version" };
	enum { OTHERS = sizeof(others) / sizeof(*others), WORDS = 32 };
	const char *words[WORDS];
	size_t count = 0;

	for (const struct cli_verb *verb = cli_verbs; verb->name && count < WORDS - OTHERS - 1; verb++)
		words[count++] = verb->name;
	for (size_t i = 0; i < OTHERS; i++)
		words[count++] = others[i];
	words[count] = NULL;
	cli_unknown(name[0] == '-' ? "option" : "verb", name, words);
	return CLI_USAGE;
}

static enum cli_exit show(const char *text)
{
	return cli_written(cli_sink(NULL, text, strlen(text)));
}

static enum cli_exit show_version(void)
{
	char text[64];

	snprintf(text, sizeof(text), "cowlab %s\n", cow_version());
	return show(text);
}

static enum cli_exit help(int argc, char **argv)
{
	const struct cli_verb *verb;

	if (argc == 0 || !strcmp(argv[0], "help") || !strcmp(argv[0], "--help"))
		return show(cli_help);
	verb = find_verb(argv[0]);
	return verb ? show(verb->help) : unknown_verb(argv[0]);
}

static enum cli_exit dispatch(int argc, char **argv)
{
	const struct cli_verb *verb;
	struct cli_arguments arguments;
	enum cli_exit code;

	if (argc < 2) {
		cli_error("a verb is missing (see cowlab --help)");
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return show(cli_help);
	if (!strcmp(argv[1], "--version"))
		return show_version();
	if (!strcmp(argv[1], "help"))
		return help(argc - 2, argv + 2);
	verb = find_verb(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	code = cli_parse(verb, argc - 2, argv + 2, &arguments);
	if (code != CLI_HELD)
		return code;
	return arguments.help ? show(verb->help) : verb->run(&arguments);
}

/* What is buffered may fail to be written only now. */
static enum cli_exit flush_output(enum cli_exit code)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fclose(stdout) && !failed)
		code = cli_worst(code, cli_written(errno ? -errno : -EIO));
	return code;
}

int main(int argc, char **argv)
{
	/* a pipe that its reader closed is an error of write(2), and told as one */
	signal(SIGPIPE, SIG_IGN);
	return flush_output(dispatch(argc, argv));
}
