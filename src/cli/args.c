/* SPDX-License-Identifier: MIT
 *
 * Options and operands.  An option may stand anywhere before `--`; `-` is an operand.
 * Every mistake is named with the nearest word that is known.
 */
#include "cli/cli.h"

#include <string.h>

enum { NEAREST_LENGTH = 32 };

static const struct {
	const char *name;
	unsigned bit;      /* CLI_*; 0: every verb has it */
	const char *value; /* what it takes; NULL: nothing */
} options[] = {
	{ "--policy", CLI_POLICY, "LIST" },
	{ "--format", CLI_FORMAT, "text, json or csv" },
	{ "--explain", CLI_EXPLAIN, NULL },
	{ "--geometry", CLI_GEOMETRY, "NAME" },
	{ "--no-audit", CLI_NO_AUDIT, NULL },
	{ "--check", CLI_CHECK, NULL },
	{ "--print", CLI_PRINT, "CASE" },
	{ "--compare", CLI_COMPARE, NULL },
	{ "--facts", CLI_FACTS, NULL },
	{ "--seed", CLI_SEED, "S" },
	{ "--count", CLI_COUNT, "N" },
	{ "--seconds", CLI_SECONDS, "T" },
	{ "--jobs", CLI_JOBS, "N" },
	{ "--profile", CLI_PROFILE, "LIST" },
	{ "--without", CLI_WITHOUT, "LIST" },
	{ "--shrink-to", CLI_SHRINK_TO, "DIR" },
	{ "--host", CLI_HOST, NULL },
	{ "--totals", CLI_TOTALS, NULL },
#define X(id, name, value) { name, CLI_EXPLORE, value },
	CLI_EXPLORE_OPTIONS(X)
#undef X
	{ "--help", 0, NULL },
};

enum { OPTION_COUNT = sizeof(options) / sizeof(*options) };

static const char *const explore_names[] = {
#define X(id, name, value) name,
	CLI_EXPLORE_OPTIONS(X)
#undef X
};

static const char *const formats[] = { "text", "json", "csv", NULL };
static const char *const geometries[] = { "x86-64", "x86-64-5", "arm64-16k", "arm64-64k", "tiny",
					  NULL };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edits that turn one word into another, a swap of neighbours being one; both are short. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t cost[NEAREST_LENGTH + 1][NEAREST_LENGTH + 1];
	size_t height = strlen(a), width = strlen(b);

	for (size_t i = 0; i <= height; i++)
		cost[i][0] = i;
	for (size_t j = 0; j <= width; j++)
		cost[0][j] = j;
	for (size_t i = 1; i <= height; i++) {
		for (size_t j = 1; j <= width; j++) {
			cost[i][j] = least(cost[i - 1][j], cost[i][j - 1]) + 1;
			cost[i][j] = least(cost[i][j],
					   cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
		}
	}
	return cost[height][width];
}

void cli_unknown(const char *what, const char *word, const char *const *words)
{
	const char *nearest = NULL;
	size_t allowed = (strlen(word) + 1) / 3 + 1;

	for (; *words && strlen(word) <= NEAREST_LENGTH; words++) {
		size_t found = edit_distance(word, *words);

		if (found < allowed) {
			nearest = *words;
			allowed = found;
		}
	}
	if (nearest)
		cli_error("unknown %s '%s': did you mean '%s'?", what, word, nearest);
	else
		cli_error("unknown %s '%s'", what, word);
}

static enum cli_exit set_option(unsigned bit, const char *value, struct cli_arguments *out)
{
	switch (bit) {
	case CLI_POLICY:
		out->policy = value;
		break;
	case CLI_FORMAT:
		for (int i = 0; formats[i]; i++) {
			if (!strcmp(value, formats[i])) {
				out->format = (enum cow_format)i;
				return CLI_HELD;
			}
		}
		cli_unknown("format", value, formats);
		return CLI_USAGE;
	case CLI_EXPLAIN:
		out->explain = true;
		break;
	case CLI_GEOMETRY:
		out->geometry = cow_geometry_find(value);
		if (!out->geometry) {
			cli_unknown("geometry", value, geometries);
			return CLI_USAGE;
		}
		break;
	case CLI_NO_AUDIT:
		out->no_audit = true;
		break;
	case CLI_CHECK:
		out->check = true;
		break;
	case CLI_COMPARE:
		out->compare = true;
		break;
	case CLI_FACTS:
		out->facts = true;
		break;
	case CLI_HOST:
		out->host = true;
		break;
	case CLI_TOTALS:
		out->totals = true;
		break;
	case CLI_PRINT:
		out->print = value;
		break;
	case CLI_SEED:
		out->seed = value;
		break;
	case CLI_COUNT:
		out->count = value;
		break;
	case CLI_SECONDS:
		out->seconds = value;
		break;
	case CLI_JOBS:
		out->jobs = value;
		break;
	case CLI_PROFILE:
		out->profile = value;
		break;
	case CLI_WITHOUT:
		out->without = value;
		break;
	case CLI_SHRINK_TO:
		out->shrink_to = value;
		break;
	default:
		out->help = true;
	}
	return CLI_HELD;
}

static void set_explore(const char *name, const char *value, struct cli_arguments *out)
{
	for (int i = 0; i < CLI_EXPLORE_COUNT; i++)
		if (!strcmp(explore_names[i], name))
			out->explore[i] = value ? value : "";
}

/* The option at argv[*at]; moves on over a value that is an argument of its own. */
static enum cli_exit parse_option(const struct cli_verb *verb, int argc, char **argv, int *at,
				  struct cli_arguments *out)
{
	const char *known[OPTION_COUNT + 1] = { NULL };
	const char *text = argv[*at];
	size_t length = strcspn(text, "=");
	const char *value = text[length] ? text + length + 1 : NULL;
	char word[64];
	int count = 0;

	for (int i = 0; i < OPTION_COUNT; i++) {
		if (options[i].bit && !(options[i].bit & verb->options))
			continue;
		known[count++] = options[i].name;
		if (strlen(options[i].name) != length || memcmp(options[i].name, text, length) != 0)
			continue;
		if (!options[i].value && value) {
			cli_error("%s takes no value", options[i].name);
			return CLI_USAGE;
		}
		if (options[i].value && !value) {
			if (*at + 1 >= argc) {
				cli_error("%s needs a value: %s", options[i].name,
					  options[i].value);
				return CLI_USAGE;
			}
			value = argv[++*at];
		}
		if (options[i].bit != CLI_EXPLORE)
			return set_option(options[i].bit, value, out);
		set_explore(options[i].name, value, out);
		return CLI_HELD;
	}
	snprintf(word, sizeof(word), "%.*s", length < sizeof(word) ? (int)length : 63, text);
	cli_unknown("option", word, known);
	return CLI_USAGE;
}

enum cli_exit cli_parse(const struct cli_verb *verb, int argc, char **argv,
			struct cli_arguments *out)
{
	bool options_end = false;

	*out = (struct cli_arguments){ .operands = argv };
	for (int i = 0; i < argc; i++) {
		enum cli_exit code;

		if (options_end || argv[i][0] != '-' || !argv[i][1]) {
			argv[out->operand_count++] = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			options_end = true;
			continue;
		}
		if (!strcmp(argv[i], "-h")) {
			out->help = true;
			continue;
		}
		code = parse_option(verb, argc, argv, &i, out);
		if (code != CLI_HELD)
			return code;
	}
	if (out->help)
		return CLI_HELD;
	if (out->operand_count < verb->least) {
		cli_error("%s: %s is missing (see cowlab %s --help)", verb->name, verb->operand,
			  verb->name);
		return CLI_USAGE;
	}
	if (!verb->most && out->operand_count) {
		cli_error("%s takes no operand, and '%s' is one", verb->name, out->operands[0]);
		return CLI_USAGE;
	}
	if (verb->most >= 0 && out->operand_count > verb->most) {
		cli_error("%s takes one %s, and '%s' is one more", verb->name, verb->operand,
			  out->operands[verb->most]);
		return CLI_USAGE;
	}
	return CLI_HELD;
}
