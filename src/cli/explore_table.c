/* SPDX-License-Identifier: MIT
 *
 * cowlab explore --table: a row is a policy, a column a word, a cell the length of the shortest
 * sequence.  Then the sequences, each with the policies that it is the shortest of.
 */
#include "cli/explore.h"

#include <string.h>

static int policy_width(const struct explore *explore)
{
	int width = (int)strlen("policy");

	for (size_t i = 0; i < explore->count; i++)
		if ((int)strlen(explore->answers[i].policy) > width)
			width = (int)strlen(explore->answers[i].policy);
	return width;
}

/* Where the search did not end by itself: none in so many events, and then nobody knows. */
static void print_cell(const struct explore_answer *answer, unsigned bit)
{
	int width = (int)strlen(cow_find_word(bit));
	char text[16] = "-";

	if (answer->words[bit].length)
		snprintf(text, sizeof(text), "%u", answer->words[bit].length);
	else if (answer->totals.end != COW_END_COMPLETE)
		snprintf(text, sizeof(text), ">%u", answer->totals.levels);
	printf("  %*s", width, text);
}

static void print_rows(const struct explore *explore)
{
	int width = policy_width(explore);

	printf("%-*s", width, "policy");
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		if (explore->asked & 1u << bit)
			printf("  %s", cow_find_word(bit));
	printf("  %10s  end\n", "states");
	for (size_t i = 0; i < explore->count; i++) {
		const struct explore_answer *answer = &explore->answers[i];

		printf("%-*s", width, answer->policy);
		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
			if (explore->asked & 1u << bit)
				print_cell(answer, bit);
		printf("  %10llu  %s\n", (unsigned long long)answer->totals.states,
		       cow_end_word(answer->totals.end));
	}
}

static const char *line_of(const struct explore *explore, size_t policy, unsigned bit)
{
	const char *line = explore->answers[policy].words[bit].line;

	return line ? line : "";
}

static void print_line(const struct explore *explore, size_t first, unsigned bit)
{
	const char *line = line_of(explore, first, bit);

	printf("  %u  %s\n     ", explore->answers[first].words[bit].length, line);
	for (size_t i = first; i < explore->count; i++)
		if (!strcmp(line_of(explore, i, bit), line))
			printf(" %s", explore->answers[i].policy);
	putchar('\n');
}

static void print_word(const struct explore *explore, unsigned bit)
{
	bool some = false;

	for (size_t i = 0; i < explore->count; i++) {
		const char *line = line_of(explore, i, bit);
		size_t before = 0;

		while (before < i && strcmp(line_of(explore, before, bit), line) != 0)
			before++;
		if (before < i || !*line)
			continue;
		if (!some)
			printf("\n%s\n", cow_find_word(bit));
		some = true;
		print_line(explore, i, bit);
	}
}

void explore_write_table(const struct explore *explore)
{
	print_rows(explore);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		if (explore->asked & 1u << bit)
			print_word(explore, bit);
}
