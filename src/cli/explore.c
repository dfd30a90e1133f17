/* SPDX-License-Identifier: MIT
 *
 * cowlab explore: every sequence of events up to a bound, one search a policy.  Reads the options
 * and keeps what is printed.  Read explore_jobs.c next.
 */
#include "cli/explore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ the options */

/* A number with K, M, G or T behind it, if `suffix`. */
static enum cli_exit number(const char *option, const char *text, uint64_t least, uint64_t most,
			    bool suffix, uint64_t *out)
{
	static const char letters[] = "KMGT";
	unsigned long long value;
	const char *letter;
	char *end;

	if (!text)
		return CLI_HELD;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (end == text || *text < '0' || *text > '9')
		errno = EINVAL;
	letter = suffix && *end ? strchr(letters, *end) : NULL;
	if (letter) {
		unsigned shift = 10 * (unsigned)(letter - letters + 1);

		if (value > UINT64_MAX >> shift)
			errno = ERANGE;
		value <<= shift;
		end++;
	}
	if (errno || *end || value < least || value > most) {
		if (most == UINT64_MAX)
			cli_error("%s: '%s' is no number from %llu on", option, text,
				  (unsigned long long)least);
		else
			cli_error("%s: '%s' is no number from %llu to %llu", option, text,
				  (unsigned long long)least, (unsigned long long)most);
		return CLI_USAGE;
	}
	*out = value;
	return CLI_HELD;
}

static uint64_t processors(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);

	return count < 1 ? 1 : count > 256 ? 256 : (uint64_t)count;
}

static enum cli_exit bounds(struct explore *explore, const struct cli_arguments *arguments)
{
	struct cow_explore_options *options = &explore->options;
	const char *const *given = arguments->explore;
	uint64_t processes = 3, pages = 1, refs = 2, depth = 0, threads = processors();
	enum cli_exit code = number("--processes", given[CLI_EXPLORE_PROCESSES], 1, 6, false,
				    &processes);

	if (code == CLI_HELD)
		code = number("--pages", given[CLI_EXPLORE_PAGES], 1, 4, false, &pages);
	if (code == CLI_HELD)
		code = number("--refs", given[CLI_EXPLORE_REFS], 0, 6, false, &refs);
	if (code == CLI_HELD)
		code = number("--frames", given[CLI_EXPLORE_FRAMES], 1, UINT32_MAX >> 1, false,
			      &options->frames);
	if (code == CLI_HELD)
		code = number("--depth", given[CLI_EXPLORE_DEPTH], 1, UINT32_MAX, false, &depth);
	if (code == CLI_HELD)
		code = number("--threads", given[CLI_EXPLORE_THREADS], 1, 256, false, &threads);
	if (code == CLI_HELD)
		code = number("--memory", given[CLI_EXPLORE_MEMORY], 1, UINT64_MAX, true,
			      &options->memory);
	if (!options->memory)
		options->memory = UINT64_C(8) << 30;
	options->processes = (uint32_t)processes;
	options->pages = (uint32_t)pages;
	options->refs = (uint32_t)refs;
	options->no_refs = !refs;
	options->depth = (uint32_t)depth;
	options->threads = (uint32_t)threads;
	options->exact = given[CLI_EXPLORE_EXACT];
	options->no_symmetry = given[CLI_EXPLORE_NO_SYMMETRY];
	return code;
}

/* Words that can be asked for: not those that need a predicate or a second policy. */
enum { NOT_ASKED = COW_FIND(PREDICATE) | COW_FIND(DIFFERENCE) };

static enum cli_exit find_words(struct explore *explore, const char *list)
{
	const char *known[COW_FIND_COUNT + 1];
	unsigned bits[COW_FIND_COUNT];
	size_t count = 0;

	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		if (!cow_find_word(bit) || (NOT_ASKED & 1u << bit))
			continue;
		bits[count] = 1u << bit;
		known[count++] = cow_find_word(bit);
	}
	known[count] = NULL;
	for (size_t i = 0; !list && i < count; i++)
		explore->asked |= bits[i];
	while (list) {
		size_t length = strcspn(list, ","), i = 0;
		char word[64];

		snprintf(word, sizeof(word), "%.*s", length < sizeof(word) ? (int)length : 63,
			 list);
		while (i < count && strcmp(known[i], word) != 0)
			i++;
		if (i == count) {
			cli_unknown("word", word, known);
			return CLI_USAGE;
		}
		explore->asked |= bits[i];
		explore->options.find |= bits[i];
		list = list[length] ? list + length + 1 : NULL;
	}
	return CLI_HELD;
}

static enum cli_exit choose_policies(struct explore *explore, const struct cli_arguments *arguments)
{
	const char *pair = arguments->explore[CLI_EXPLORE_DIFFER];
	const char *list = pair ? pair : arguments->policy ? arguments->policy : "exclusive";
	enum cli_exit code = cli_parse_policies(list, &explore->policies);

	if (code != CLI_HELD || !pair)
		return code;
	if (arguments->policy || arguments->explore[CLI_EXPLORE_FIND] || explore->table) {
		cli_error("--differ goes without --policy, --find and --table");
		return CLI_USAGE;
	}
	if (cow_policies_count(explore->policies) != 2) {
		cli_error("--differ: '%s' is not two policies", pair);
		return CLI_USAGE;
	}
	explore->options.other = cow_policies_at(explore->policies, 1);
	explore->other = explore->options.other->name;
	explore->asked = explore->options.find = COW_FIND(DIFFERENCE);
	return CLI_HELD;
}

/* What goes together. */
static enum cli_exit combine(const struct explore *explore)
{
	bool one = explore->other || cow_policies_count(explore->policies) == 1;

	if (!one && explore->checkpoint)
		cli_error("--checkpoint is for one policy");
	else if (!one && explore->dot)
		cli_error("--dot is for one policy");
	else if (explore->checkpoint && explore->dot)
		cli_error("--dot needs the whole search, --checkpoint goes on from a part of it");
	else
		return CLI_HELD;
	return CLI_USAGE;
}

static enum cli_exit set_up(struct explore *explore, const struct cli_arguments *arguments)
{
	const char *const *given = arguments->explore;
	struct cow_error error = { 0 };
	enum cli_exit code;

	cow_explore_options_init(&explore->options);
	explore->events = given[CLI_EXPLORE_EVENTS] ? given[CLI_EXPLORE_EVENTS] : "base";
	explore->checkpoint = given[CLI_EXPLORE_CHECKPOINT];
	explore->dot = given[CLI_EXPLORE_DOT];
	explore->table = given[CLI_EXPLORE_TABLE];
	explore->options.graph = explore->dot;
	code = bounds(explore, arguments);
	if (code == CLI_HELD && cow_kinds_parse(explore->events, &error, &explore->options.kinds)) {
		cli_error("--events: %s", error.sentence);
		code = CLI_USAGE;
	}
	if (code == CLI_HELD)
		code = choose_policies(explore, arguments);
	if (code == CLI_HELD && !explore->other)
		code = find_words(explore, given[CLI_EXPLORE_FIND]);
	return code == CLI_HELD ? combine(explore) : code;
}

/* ------------------------------------------------------------------ what is kept */

struct text {
	char *bytes;
	size_t size, room;
};

static int text_sink(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (text->size + size + 1 > text->room) {
		size_t room = (text->size + size + 1) * 2;
		char *more = realloc(text->bytes, room);

		if (!more)
			return -ENOMEM;
		text->bytes = more;
		text->room = room;
	}
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
	return 0;
}

static int keep_word(struct explore_word *word, const struct cow_counterexample *found)
{
	struct text text = { 0 };
	int error = cow_scenario_print(found->scenario, text_sink, &text);

	word->text = text.bytes;
	word->length = found->length;
	word->line = strdup(found->line);
	return error ? error : word->line ? 0 : -ENOMEM;
}

int explore_keep(const struct explore *explore, struct explore_answer *answer,
		 const cow_exploration *exploration)
{
	answer->totals = *cow_exploration_totals(exploration);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct cow_counterexample *found;
		int error;

		if (!(explore->asked & 1u << bit))
			continue;
		found = cow_exploration_counterexample(exploration, bit);
		error = found ? keep_word(&answer->words[bit], found) : 0;
		if (error)
			return error;
	}
	return 0;
}

enum cli_exit explore_judged(const struct explore *explore, const struct explore_answer *answer)
{
	bool some = false;

	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		some |= (explore->asked & 1u << bit) && answer->words[bit].length;
	/* Cut short from outside: what was not found may be yet to come. */
	if (answer->totals.end == COW_END_INTERRUPTED || answer->totals.end == COW_END_MEMORY)
		return CLI_BOUND;
	if (some)
		return CLI_FAILED;
	return answer->totals.end == COW_END_COMPLETE ? CLI_HELD : CLI_BOUND;
}

static void tidy(struct explore *explore)
{
	for (size_t i = 0; i < explore->count; i++) {
		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
			free(explore->answers[i].words[bit].line);
			free(explore->answers[i].words[bit].text);
		}
	}
	free(explore->answers);
	cow_policies_free(explore->policies);
}

enum cli_exit cli_explore(const struct cli_arguments *arguments)
{
	struct explore explore = { 0 };
	enum cli_exit code = set_up(&explore, arguments);

	if (code == CLI_HELD) {
		code = explore_search(&explore);
		if (explore.count)
			code = cli_worst(code, cli_written(explore_write(&explore,
									 arguments->format)));
	}
	tidy(&explore);
	return code;
}
