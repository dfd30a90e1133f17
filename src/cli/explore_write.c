/* SPDX-License-Identifier: MIT
 *
 * What `cowlab explore` prints.  Text: of each policy a summary in comments, then each scenario, so
 * that the answer to one --find is a scenario itself.  JSON has all of it; CSV one line a word.
 * Never searches.
 */
#include "cli/explore.h"

#include <errno.h>
#include <string.h>

void explore_absent(const struct explore_answer *answer, char *out, size_t size)
{
	if (answer->totals.end == COW_END_COMPLETE)
		snprintf(out, size, "none");
	else
		snprintf(out, size, "none within %u events", answer->totals.levels);
}

/* "1 page", "2 pages" */
static void count(unsigned number, const char *one, const char *more)
{
	printf("%u %s", number, number == 1 ? one : more);
}

static void print_bounds(const struct explore *explore, const struct explore_answer *answer)
{
	const struct cow_explore_options *options = &explore->options;

	printf("# %s", answer->policy);
	if (explore->other)
		printf(" and %s", explore->other);
	printf(": ");
	count(options->processes, "process, ", "processes, ");
	count(options->pages, "page, ", "pages, ");
	count(options->no_refs ? 0 : options->refs, "reference", "references");
	if (options->frames)
		printf(", %llu frames", (unsigned long long)options->frames);
	printf("; events %s\n", explore->events);
}

static void print_end(const struct explore *explore, const struct explore_answer *answer)
{
	const struct cow_explore_totals *totals = &answer->totals;

	printf("# %s: %llu states, %llu transitions, ", cow_end_word(totals->end),
	       (unsigned long long)totals->states, (unsigned long long)totals->transitions);
	if (totals->end == COW_END_COMPLETE)
		printf("no new state after %u events", totals->depth);
	else
		printf("all sequences of %u events", totals->levels);
	if (!explore->options.exact)
		printf("; chance that a state was missed < %.0e", totals->omission);
	putchar('\n');
}

static void print_answer(const struct explore *explore, const struct explore_answer *answer)
{
	print_bounds(explore, answer);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct explore_word *word = &answer->words[bit];
		char absent[48];

		if (!(explore->asked & 1u << bit))
			continue;
		explore_absent(answer, absent, sizeof(absent));
		if (word->length)
			printf("# %-14s %u: %s\n", cow_find_word(bit), word->length, word->line);
		else
			printf("# %-14s %s\n", cow_find_word(bit), absent);
	}
	print_end(explore, answer);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		if (answer->words[bit].text)
			printf("\n# %s\n%s", cow_find_word(bit), answer->words[bit].text);
}

static void json_answer(const struct explore *explore, const struct explore_answer *answer)
{
	const struct cow_explore_totals *totals = &answer->totals;
	const char *comma = "";

	printf("{\"policy\": ");
	json_text(answer->policy);
	printf(", \"end\": \"%s\", \"states\": %llu, \"transitions\": %llu, \"depth\": %u, "
	       "\"levels\": %u, \"omission\": %.3e,\n     \"words\": [",
	       cow_end_word(totals->end), (unsigned long long)totals->states,
	       (unsigned long long)totals->transitions, totals->depth, totals->levels,
	       totals->omission);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct explore_word *word = &answer->words[bit];

		if (!(explore->asked & 1u << bit))
			continue;
		printf("%s\n      {\"word\": \"%s\", \"events\": ", comma, cow_find_word(bit));
		comma = ",";
		if (!word->length) {
			printf("null}");
			continue;
		}
		printf("%u, \"line\": ", word->length);
		json_text(word->line);
		printf(", \"scenario\": ");
		json_text(word->text);
		putchar('}');
	}
	printf("]}");
}

static void print_json(const struct explore *explore)
{
	const struct cow_explore_options *options = &explore->options;

	printf("{\n  \"schema\": \"cowlab-explore-1\",\n  \"processes\": %u,\n  \"pages\": %u,\n"
	       "  \"refs\": %u,\n  \"frames\": ", options->processes, options->pages,
	       options->no_refs ? 0 : options->refs);
	if (options->frames)
		printf("%llu", (unsigned long long)options->frames);
	else
		printf("null");
	printf(",\n  \"events\": ");
	json_text(explore->events);
	printf(",\n  \"exact\": %s,\n  \"symmetry\": %s,\n  \"other\": ",
	       options->exact ? "true" : "false", options->no_symmetry ? "false" : "true");
	if (explore->other)
		json_text(explore->other);
	else
		printf("null");
	printf(",\n  \"policies\": [");
	for (size_t i = 0; i < explore->count; i++) {
		printf("%s\n    ", i ? "," : "");
		json_answer(explore, &explore->answers[i]);
	}
	printf("\n  ]\n}\n");
}

static void csv(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

static void print_csv(const struct explore *explore)
{
	printf("policy,word,events,line,end,states,transitions,levels\n");
	for (size_t i = 0; i < explore->count; i++) {
		const struct explore_answer *answer = &explore->answers[i];

		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
			const struct explore_word *word = &answer->words[bit];

			if (!(explore->asked & 1u << bit))
				continue;
			csv(answer->policy);
			printf(",%s,", cow_find_word(bit));
			if (word->length)
				printf("%u", word->length);
			putchar(',');
			csv(word->line ? word->line : "");
			printf(",%s,%llu,%llu,%u\n", cow_end_word(answer->totals.end),
			       (unsigned long long)answer->totals.states,
			       (unsigned long long)answer->totals.transitions,
			       answer->totals.levels);
		}
	}
}

int explore_write(const struct explore *explore, enum cow_format format)
{
	errno = 0;
	if (format == COW_FORMAT_JSON)
		print_json(explore);
	else if (format == COW_FORMAT_CSV)
		print_csv(explore);
	else if (explore->table)
		explore_write_table(explore);
	else
		for (size_t i = 0; i < explore->count; i++) {
			if (i)
				putchar('\n');
			print_answer(explore, &explore->answers[i]);
		}
	if (!ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}
