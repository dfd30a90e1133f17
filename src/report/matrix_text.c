/* SPDX-License-Identifier: MIT
 *
 * The table for people.  Names of policies stand on stairs over their columns, so that a column is
 * as narrow as its cells; what does not fit in one width goes into a further band of columns.
 * A sum for each policy follows, in words of full length.
 */
#include "report/matrix.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MATRIX_WIDTH = 120, MATRIX_NAME = 40 /* longest name of a row */, CELL_TEXT = 64,
       CELL_MARKS = COW_VERDICT_COUNT + 3 };

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* A run of columns that is printed together. */
struct band {
	size_t first, end; /* policies */
};

static const char letters[] = "LCPGK";

_Static_assert(sizeof(letters) - 1 == COW_VERDICT_COUNT, "each verdict needs a letter");

/* "!" of a failed assertion, and the letters of the verdict. */
static void cell_marks(const struct cow_report *report, char marks[CELL_MARKS])
{
	size_t used = 0;

	if (report->status == COW_RUN_FAILED)
		marks[used++] = '!';
	if (!report_judged(report))
		marks[used++] = '?';
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (report_judged(report) && report->verdict & 1u << bit)
			marks[used++] = letters[bit];
	marks[used] = '\0';
}

/* marks: columns that the marks take, right-aligned so that the counts stand in a line. */
static void cell_text(const struct cow_report *report, size_t marks, char *text, size_t size)
{
	char mine[CELL_MARKS];
	uint64_t needless;
	size_t used;

	text[0] = '\0';
	if (!report)
		return;
	if (!report_ran(report)) {
		snprintf(text, size, "%s", report->status == COW_RUN_SKIPPED	    ? "skip"
					   : report->status == COW_RUN_NOT_MODELLED ? "n/m"
										    : "FAULT");
		return;
	}
	cell_marks(report, mine);
	snprintf(text, size, "%*s %" PRIu64, (int)marks, mine, report_copied(report));
	used = strlen(text);
	needless = report->counters[COW_COUNT_NEEDLESS_COPIES];
	if (report_judged(report) && needless)
		snprintf(text + used, size - used, "/%" PRIu64, needless);
}

/* Widths of the columns, each with the blank behind it. */
static void measure_columns(const struct matrix *matrix)
{
	char text[CELL_TEXT];

	for (size_t i = 0; i < matrix->policy_count; i++) {
		struct column *column = &matrix->columns[i];

		*column = (struct column){ .marks = 1, .width = 1 };
		for (size_t j = 0; j < matrix->scenario_count; j++) {
			const struct cow_report *report = matrix_cell(matrix, j, i);

			if (!report || !report_ran(report))
				continue;
			cell_marks(report, text);
			column->marks = larger(column->marks, strlen(text));
		}
		for (size_t j = 0; j < matrix->scenario_count; j++) {
			cell_text(matrix_cell(matrix, j, i), column->marks, text, sizeof(text));
			column->width = larger(column->width, strlen(text));
		}
		column->width++;
	}
}

/* Base name of a scenario, cut where a name would push the table off the screen. */
static void row_name(const cow_scenario *scenario, char name[MATRIX_NAME + 1])
{
	size_t length, used = 0;
	const char *base = scenario_base(scenario, &length);

	while (used < length) {
		size_t step = utf8_length(base + used);

		step = step ? step : 1;
		if (used + step > MATRIX_NAME)
			break;
		used += step;
	}
	memcpy(name, base, used);
	name[used] = '\0';
}

static size_t names_width(const struct matrix *matrix)
{
	char name[MATRIX_NAME + 1];
	size_t width = 0;

	for (size_t i = 0; i < matrix->scenario_count; i++) {
		row_name(matrix->scenarios[i], name);
		if (width < text_width(name))
			width = text_width(name);
	}
	return width + 2;
}

/* As many columns as fit, and one at least. */
static struct band band_from(const struct matrix *matrix, size_t first, size_t names)
{
	size_t used = names + matrix->columns[first].width;
	struct band band = { first, first + 1 };

	while (band.end < matrix->policy_count) {
		used += matrix->columns[band.end].width;
		/* the blank behind the last column is not printed */
		if (used > MATRIX_WIDTH + 1)
			break;
		band.end++;
	}
	return band;
}

static void text_stairs(struct out *out, const struct matrix *matrix, struct band band,
			size_t names)
{
	for (size_t step = band.first; step < band.end; step++) {
		out_pad(out, names);
		for (size_t i = band.first; i < step; i++)
			out_cell(out, "|", matrix->columns[i].width);
		out_text(out, matrix->policies[step]->name);
		out_str(out, "\n");
	}
}

static void text_row(struct out *out, const struct matrix *matrix, size_t row, struct band band,
		     size_t names)
{
	char name[MATRIX_NAME + 1];
	char text[CELL_TEXT];
	size_t behind;

	row_name(matrix->scenarios[row], name);
	behind = names - out_text(out, name);
	for (size_t i = band.first; i < band.end; i++) {
		cell_text(matrix_cell(matrix, row, i), matrix->columns[i].marks, text,
			  sizeof(text));
		if (text[0]) {
			out_pad(out, behind);
			out_str(out, text);
			behind = 0;
		}
		behind += matrix->columns[i].width - strlen(text);
	}
	out_str(out, "\n");
}

static void text_legend(struct out *out)
{
	out_str(out, "A row is a scenario, a column a policy.  `L 2/1`: the audit found a leak; "
		     "2 pages were copied, 1 needlessly.\n"
		     "L leak  C corruption  P stale-pin  G stale-get  K killed  (no letter: ok)  "
		     "? not judged  ! an assertion failed\n"
		     "skip: the file does not speak of the policy  n/m: not modelled yet  "
		     "FAULT: of cowlab itself\n\n");
}

static void text_sums(struct out *out, const struct matrix *matrix)
{
	size_t names = strlen("policy");

	for (size_t i = 0; i < matrix->policy_count; i++)
		if (names < text_width(matrix->policies[i]->name))
			names = text_width(matrix->policies[i]->name);
	out_cell(out, "policy", names);
	out_str(out, "  runs    ok");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		out_fmt(out, "  %s", cow_verdict_word(bit));
	out_str(out, "  copied  needless  unsafe  failed\n");
	for (size_t i = 0; i < matrix->policy_count; i++) {
		struct matrix_sum sum = matrix_sum(matrix, i);

		out_cell(out, matrix->policies[i]->name, names);
		out_fmt(out, "  %4" PRIu64 "  %4" PRIu64, sum.runs, sum.ok);
		for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
			out_fmt(out, "  %*" PRIu64, (int)strlen(cow_verdict_word(bit)),
				sum.verdicts[bit]);
		out_fmt(out, "  %6" PRIu64 "  %8" PRIu64 "  %6" PRIu64 "  %6" PRIu64 "%s\n",
			sum.copied, sum.needless, sum.unsafe, sum.failed, sum.failed ? "!" : "");
	}
}

void matrix_text(struct out *out, const struct matrix *matrix)
{
	struct tally tally = tally_reports(matrix->reports, matrix->report_count);
	size_t names = names_width(matrix);
	struct band band = { 0, 0 };

	if (matrix->report_count)
		text_legend(out);
	measure_columns(matrix);
	while (band.end < matrix->policy_count) {
		band = band_from(matrix, band.end, names);
		text_stairs(out, matrix, band, names);
		for (size_t i = 0; i < matrix->scenario_count; i++)
			text_row(out, matrix, i, band, names);
		out_str(out, "\n");
	}
	if (matrix->report_count) {
		text_sums(out, matrix);
		out_str(out, "\n");
	}
	tally_text(out, &tally);
}
