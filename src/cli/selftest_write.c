/* SPDX-License-Identifier: MIT
 *
 * What `cowlab selftest` prints: one line a case, beginning with its test, variant and size; then
 * the sums of each policy; then what differs from the table, and how.  In CSV one line a run.
 * Never runs or judges anything.
 */
#include "cli/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 64, SHOWN = 100 /* differing runs that are told in text */ };

/* `pass`, or the words of the verdict with a separator, or why there is none. */
static void words(const struct selftest_run *run, char separator, char out[CELL])
{
	size_t used = 0;

	if (run->status == COW_RUN_NOT_MODELLED) {
		snprintf(out, CELL, "not-modelled");
		return;
	}
	if (run->status == COW_RUN_FAULT) {
		snprintf(out, CELL, "fault");
		return;
	}
	snprintf(out, CELL, run->status == COW_RUN_SKIPPED ? "skipped" : "pass");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++) {
		if (!(run->verdict & 1u << bit))
			continue;
		if (used)
			out[used++] = separator;
		used += (size_t)snprintf(out + used, CELL - used, "%s", cow_verdict_word(bit));
	}
}

static const char *expected_word(char letter)
{
	switch (letter) {
	case 'P': return "pass";
	case 'L': return "leak";
	case 'D': return "stale-pin";
	case 'S': return "skipped";
	default: return "";
	}
}

/* Of one policy in many: the words, needless copies behind them, and ! where the table differs. */
static int cell(const struct selftest_run *run, char out[CELL])
{
	char word[CELL], needless[24] = "";

	words(run, '+', word);
	if (run->needless)
		snprintf(needless, sizeof(needless), "/%llu", (unsigned long long)run->needless);
	return snprintf(out, CELL, "%s%.30s%s", run->differs ? "!" : "", word, needless);
}

static const struct selftest_run *run_at(const struct selftest *test, size_t i, size_t p)
{
	return &test->runs[i * test->policy_count + p];
}

static void print_place(const struct selftest_case *one)
{
	char place[CELL];

	snprintf(place, sizeof(place), "%s %s %s", one->test->name, one->variant->name,
		 one->size->name);
	printf("%-12s", place);
}

const char *selftest_word(const struct selftest_run *run)
{
	char text[CELL];

	words(run, ' ', text);
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (!strcmp(text, cow_verdict_word(bit)))
			return cow_verdict_word(bit);
	return !strcmp(text, "pass") ? "pass" : !strcmp(text, "skipped") ? "skipped" : "other";
}

void selftest_print_line(const struct selftest_case *one, const struct selftest_run *run)
{
	char word[CELL];

	words(run, '+', word);
	print_place(one);
	printf("  %-9s  copies %llu (needless %llu)  unshared %llu  early %llu", word,
	       (unsigned long long)run->copies, (unsigned long long)run->needless,
	       (unsigned long long)run->unshares, (unsigned long long)run->early);
}

static void print_single(const struct selftest *test)
{
	for (size_t i = 0; i < test->case_count; i++) {
		const struct selftest_run *run = run_at(test, i, 0);

		selftest_print_line(&test->cases[i], run);
		printf("%s%s\n", run->differs ? "  ! expected " : "",
		       run->differs ? expected_word(run->expected) : "");
	}
}

/* As wide as the widest that is in the column; the last is not padded. */
static int column_width(const struct selftest *test, size_t p)
{
	int width = (int)strlen(cow_policies_at(test->policies, p)->name);
	char text[CELL];

	if (p + 1 == test->policy_count)
		return 0;
	for (size_t i = 0; i < test->case_count; i++) {
		int length = cell(run_at(test, i, p), text);

		width = length > width ? length : width;
	}
	return width;
}

static void print_grid(const struct selftest *test, int *widths)
{
	char text[CELL];

	printf("%12s", "");
	for (size_t p = 0; p < test->policy_count; p++) {
		widths[p] = column_width(test, p);
		printf("  %-*s", widths[p], cow_policies_at(test->policies, p)->name);
	}
	printf("\n");
	for (size_t i = 0; i < test->case_count; i++) {
		print_place(&test->cases[i]);
		for (size_t p = 0; p < test->policy_count; p++) {
			cell(run_at(test, i, p), text);
			printf("  %-*s", widths[p], text);
		}
		printf("\n");
	}
}

struct sums {
	uint64_t pass, leak, stale, skipped, other, differ, copies, needless, early, unshares;
};

static struct sums sum(const struct selftest *test, size_t p)
{
	struct sums sums = { 0 };

	for (size_t i = 0; i < test->case_count; i++) {
		const struct selftest_run *run = run_at(test, i, p);
		unsigned known = COW_VERDICT(LEAK) | COW_VERDICT(STALE_PIN);
		bool skipped = run->status == COW_RUN_SKIPPED;

		sums.skipped += skipped;
		sums.pass += run->judged && !skipped && !run->verdict;
		sums.leak += (run->verdict & COW_VERDICT(LEAK)) != 0;
		sums.stale += (run->verdict & COW_VERDICT(STALE_PIN)) != 0;
		sums.other += !run->judged || run->verdict & ~known;
		sums.differ += run->differs;
		sums.copies += run->copies;
		sums.needless += run->needless;
		sums.early += run->early;
		sums.unshares += run->unshares;
	}
	return sums;
}

static void print_sums(const struct selftest *test)
{
	int width = (int)strlen("policy");

	for (size_t p = 0; p < test->policy_count; p++) {
		int length = (int)strlen(cow_policies_at(test->policies, p)->name);

		width = length > width ? length : width;
	}
	printf("\n%-*s  cases  pass  leak  stale-pin  skipped  other  copies  needless  unshared  "
	       "early  differ\n",
	       width, "policy");
	for (size_t p = 0; p < test->policy_count; p++) {
		struct sums sums = sum(test, p);

		printf("%-*s  %5zu  %4llu  %4llu  %9llu  %7llu  %5llu  %6llu  %8llu  %8llu"
		       "  %5llu  %6llu%s\n",
		       width, cow_policies_at(test->policies, p)->name, test->case_count,
		       (unsigned long long)sums.pass, (unsigned long long)sums.leak,
		       (unsigned long long)sums.stale, (unsigned long long)sums.skipped,
		       (unsigned long long)sums.other, (unsigned long long)sums.copies,
		       (unsigned long long)sums.needless, (unsigned long long)sums.unshares,
		       (unsigned long long)sums.early, (unsigned long long)sums.differ,
		       sums.differ ? "!" : "");
	}
}

static void print_differences(const struct selftest *test)
{
	uint64_t count = 0, held = 0, unknown = 0, unjudged = 0;
	char word[CELL];

	for (size_t i = 0; i < test->case_count * test->policy_count; i++) {
		const struct selftest_run *run = &test->runs[i];

		unjudged += !run->judged;
		unknown += run->judged && !run->expected;
		held += run->judged && run->expected && !run->differs;
		if (!run->differs)
			continue;
		if (count++ >= SHOWN)
			continue;
		words(run, ' ', word);
		printf("%s%s under %s: expected %s, found %s\n", count == 1 ? "\n" : "",
		       test->cases[i / test->policy_count].name,
		       cow_policies_at(test->policies, i % test->policy_count)->name,
		       expected_word(run->expected), word);
		if (run->failure)
			printf("    %s\n", run->failure);
	}
	if (count > SHOWN)
		printf("and %llu more\n", (unsigned long long)count - SHOWN);
	printf("\n%zu cases, %zu %s: %llu as expected, %llu differ",
	       test->case_count, test->policy_count,
	       test->policy_count == 1 ? "policy" : "policies",
	       (unsigned long long)held, (unsigned long long)count);
	if (unjudged)
		printf(", %llu not run to the end", (unsigned long long)unjudged);
	if (unknown)
		printf(", %llu with nothing expected", (unsigned long long)unknown);
	printf("\n");
}

static void print_csv(const struct selftest *test)
{
	char word[CELL];

	printf("case,test,variant,size,policy,found,expected,differs,copies,needless,unshared,"
	       "early\n");
	for (size_t i = 0; i < test->case_count * test->policy_count; i++) {
		const struct selftest_case *one = &test->cases[i / test->policy_count];
		const char *policy = cow_policies_at(test->policies, i % test->policy_count)->name;
		const struct selftest_run *run = &test->runs[i];
		bool quoted = strchr(policy, ',') != NULL; /* a composition */

		words(run, ' ', word);
		printf("%s,%s,%s,%s,%s%s%s,%s,%s,%d,%llu,%llu,%llu,%llu\n", one->name,
		       one->test->name, one->variant->name, one->size->name, quoted ? "\"" : "",
		       policy, quoted ? "\"" : "", word, expected_word(run->expected), run->differs,
		       (unsigned long long)run->copies, (unsigned long long)run->needless,
		       (unsigned long long)run->unshares, (unsigned long long)run->early);
	}
}

/* Every word that stands in a string here is of letters that JSON need not escape. */
static void print_json(const struct selftest *test)
{
	char word[CELL];

	printf("{\n  \"schema\": \"cowlab-selftest-1\",\n  \"runs\": [");
	for (size_t i = 0; i < test->case_count * test->policy_count; i++) {
		const struct selftest_case *one = &test->cases[i / test->policy_count];
		const struct selftest_run *run = &test->runs[i];

		words(run, ' ', word);
		printf("%s\n    {\"case\": \"%s\", \"test\": \"%s\", \"variant\": \"%s\", "
		       "\"size\": \"%s\", \"policy\": \"%s\", \"found\": \"%s\", "
		       "\"expected\": \"%s\", \"differs\": %s, \"copies\": %llu, "
		       "\"needless\": %llu, \"unshared\": %llu, \"early\": %llu}",
		       i ? "," : "", one->name, one->test->name, one->variant->name,
		       one->size->name,
		       cow_policies_at(test->policies, i % test->policy_count)->name, word,
		       expected_word(run->expected), run->differs ? "true" : "false",
		       (unsigned long long)run->copies, (unsigned long long)run->needless,
		       (unsigned long long)run->unshares, (unsigned long long)run->early);
	}
	printf("\n  ],\n  \"policies\": [");
	for (size_t p = 0; p < test->policy_count; p++) {
		struct sums sums = sum(test, p);

		printf("%s\n    {\"policy\": \"%s\", \"cases\": %zu, \"pass\": %llu, "
		       "\"leak\": %llu, \"stale-pin\": %llu, \"skipped\": %llu, "
		       "\"other\": %llu, \"copies\": %llu, "
		       "\"needless\": %llu, \"unshared\": %llu, \"early\": %llu, "
		       "\"differ\": %llu}",
		       p ? "," : "", cow_policies_at(test->policies, p)->name, test->case_count,
		       (unsigned long long)sums.pass, (unsigned long long)sums.leak,
		       (unsigned long long)sums.stale, (unsigned long long)sums.skipped,
		       (unsigned long long)sums.other, (unsigned long long)sums.copies,
		       (unsigned long long)sums.needless, (unsigned long long)sums.unshares,
		       (unsigned long long)sums.early, (unsigned long long)sums.differ);
	}
	printf("\n  ]\n}\n");
}

int selftest_write(const struct selftest *test, enum cow_format format)
{
	int *widths = calloc(test->policy_count, sizeof(*widths));

	if (!widths)
		return -ENOMEM;
	errno = 0;
	if (format == COW_FORMAT_CSV) {
		print_csv(test);
	} else if (format == COW_FORMAT_JSON) {
		print_json(test);
	} else {
		if (test->policy_count == 1)
			print_single(test);
		else
			print_grid(test, widths);
		print_sums(test);
		print_differences(test);
	}
	free(widths);
	if (!ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}
