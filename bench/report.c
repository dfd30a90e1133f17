/* SPDX-License-Identifier: MIT
 *
 * The report of a run, as text and as JSON (schema "cowlab-bench-1").  The JSON holds all that the
 * text shows, and every sample.  Measures and judges nothing.
 * Next: README.md, "How to read it".
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>

#include "report.h"

static const char *const single_key[SINGLE_COUNT] = {
#define X(id, key, what, unit) [SINGLE_##id] = key,
	BENCH_SINGLES(X)
#undef X
};

static const char *const single_what[SINGLE_COUNT] = {
#define X(id, key, what, unit) [SINGLE_##id] = what,
	BENCH_SINGLES(X)
#undef X
};

static const char *const single_unit[SINGLE_COUNT] = {
#define X(id, key, what, unit) [SINGLE_##id] = unit,
	BENCH_SINGLES(X)
#undef X
};

static const char *const state_word[] = {
	[GOAL_REACHED] = "reached", [GOAL_MISSED] = "MISSED", [GOAL_SKIPPED] = "skipped",
};

#ifdef __OPTIMIZE__
static const bool optimized = true;
#else
static const bool optimized = false;
#endif

unsigned goals_in_state(const struct bench *bench, enum goal_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < bench->goals; i++)
		n += bench->goal[i].state == state;
	return n;
}

unsigned series_skipped(const struct bench *bench)
{
	unsigned n = 0;

	for (unsigned size = 0; size < SIZE_COUNT; size++)
		for (unsigned side = 0; side < SIDE_COUNT; side++)
			for (unsigned op = 0; op < OP_COUNT; op++)
				n += op_on_side(op, side) && !bench->page[size][side][op].count;
	for (unsigned side = 0; side < SIDE_COUNT; side++)
		for (unsigned i = 0; i < FEATURE_COUNT; i++)
			n += feature_on_side(i, side) && !bench->feature[side][i].count;
	for (unsigned i = 0; i < SINGLE_COUNT; i++)
		n += !bench->single[i].count;
	return n;
}

static void cpu_model(char *model, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(model, size, "unknown");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) || !colon)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(model, size, "%s", colon + 2);
		break;
	}
	fclose(file);
}

/* ------------------------------------------------------------------ */
/* Text */

static void text_head(const struct bench *bench, FILE *out)
{
	struct utsname host = { 0 };
	char model[128];

	uname(&host);
	cpu_model(model, sizeof(model));
	fprintf(out, "cowlab-bench %s, policy %s, %u round%s%s\n", cow_version(),
		bench->policy->name, bench->rounds, bench->rounds == 1 ? "" : "s",
		bench->quick ? ", quick: the numbers mean nothing" : "");
	fprintf(out, "%s %s %s, %s, ", host.sysname, host.release, host.machine, model);
	if (bench->cpu >= 0)
		fprintf(out, "pinned to CPU %d", bench->cpu);
	else
		fprintf(out, "not pinned");
	fprintf(out, ", %" PRIu64 " MiB available, load %s\n", bench->available >> 20,
		bench->load);
	fprintf(out,
		"The CPU was taken away %ld times; %u passes were done again for that, and %u of those "
		"that count were disturbed.\n",
		bench->switches, bench->repeated, bench->disturbed);
	if (!optimized)
		fprintf(out, "This is no release build: it is not optimized.\n");
}

void text_cell(const struct series *series, bool exists, FILE *out)
{
	char cell[40];

	if (!exists)
		snprintf(cell, sizeof(cell), "-");
	else if (!series->count)
		snprintf(cell, sizeof(cell), "skipped");
	else
		snprintf(cell, sizeof(cell), "%.2f (%.2f)", series_median(series),
			 series_min(series));
	fprintf(out, " %18s", cell);
}

static void text_pages(const struct bench *bench, enum bench_size size, FILE *out)
{
	char name[24];

	fprintf(out, "\n%s pages: ns a page, median (min)\n%-26s",
		pages_name(bench->pages[size], name), "");
	for (unsigned side = 0; side < SIDE_COUNT; side++)
		fprintf(out, " %18s", side_heading[side]);
	fputc('\n', out);
	for (unsigned op = 0; op < OP_COUNT; op++) {
		fprintf(out, "%-26s", op_what[op]);
		for (unsigned side = 0; side < SIDE_COUNT; side++)
			text_cell(&bench->page[size][side][op], op_on_side(op, side), out);
		fputc('\n', out);
	}
	if (bench->copied_pages[size] && bench->copied_pages[size] < bench->pages[size])
		fprintf(out, "The kernel's copies went over %" PRIu64 " pages: there is no memory "
			"for more.\n", bench->copied_pages[size]);
}

/* A reason that all rows of a side share is told once. */
static void text_skipped_side(const struct bench *bench, enum bench_size size,
			      enum bench_side side, FILE *out)
{
	const struct series *series = bench->page[size][side];
	char name[24];
	bool same = true;

	pages_name(bench->pages[size], name);
	for (unsigned op = 0; op < OP_COUNT; op++)
		if (op_on_side(op, side) &&
		    (series[op].count || strcmp(series[op].skipped, series[0].skipped)))
			same = false;
	if (same) {
		fprintf(out, "%s, %s pages, every row: skipped: %s\n", side_heading[side], name,
			series[0].skipped);
		return;
	}
	for (unsigned op = 0; op < OP_COUNT; op++)
		if (op_on_side(op, side) && !series[op].count)
			fprintf(out, "%s, %s pages, %s: skipped: %s\n", side_heading[side], name,
				op_what[op], series[op].skipped);
}

static void text_skipped(const struct bench *bench, FILE *out)
{
	if (!series_skipped(bench))
		return;
	fputc('\n', out);
	for (unsigned size = 0; size < SIZE_COUNT; size++)
		for (unsigned side = 0; side < SIDE_COUNT; side++)
			text_skipped_side(bench, size, side, out);
}

static void text_singles(const struct bench *bench, FILE *out)
{
	fprintf(out, "\n");
	for (unsigned i = 0; i < SINGLE_COUNT; i++) {
		const struct series *series = &bench->single[i];

		fprintf(out, "%-36s", single_what[i]);
		if (series->count)
			fprintf(out, "%.3f %s", series_median(series), single_unit[i]);
		else
			fprintf(out, "skipped: %s", series->skipped);
		if (i == SINGLE_PARSE && series->count)
			fprintf(out, " (a text of %.1f MB)", (double)bench->parsed_bytes / 1e6);
		if (i == SINGLE_MATRIX && series->count)
			fprintf(out, " (%u files, %u runs)", bench->matrix_files,
				bench->matrix_runs);
		fputc('\n', out);
	}
}

static void text_growth(const struct bench *bench, FILE *out)
{
	static const enum bench_side sides[] = { SIDE_RANGE, SIDE_CALL, SIDE_KERNEL, SIDE_FLOOR };
	char small[24], large[24];

	fprintf(out, "\nGrowth of the cost of a page, from %s to %s pages\n%-26s",
		pages_name(bench->pages[SIZE_SMALL], small),
		pages_name(bench->pages[SIZE_LARGE], large), "");
	for (unsigned i = 0; i < 4; i++)
		fprintf(out, " %18s", side_heading[sides[i]]);
	fputc('\n', out);
	for (unsigned op = 0; op < OP_COUNT; op++) {
		fprintf(out, "%-26s", op_what[op]);
		for (unsigned i = 0; i < 4; i++) {
			double growth = series_median(&bench->page[SIZE_LARGE][sides[i]][op]) /
					series_median(&bench->page[SIZE_SMALL][sides[i]][op]);

			if (isnan(growth))
				fprintf(out, " %18s", "-");
			else
				fprintf(out, " %17.2fx", growth);
		}
		fputc('\n', out);
	}
}

static void text_ns(double ns, FILE *out)
{
	if (isnan(ns))
		fprintf(out, " %10s", "-");
	else
		fprintf(out, " %10.2f", ns);
}

static void text_goals(const struct bench *bench, FILE *out)
{
	const char *group = "";

	fprintf(out, "\n%-42s %10s %10s %10s %14s %16s\n", "Goals", "simulator", "kernel", "floor",
		"reached", "wanted");
	for (unsigned i = 0; i < bench->goals; i++) {
		const struct goal *goal = &bench->goal[i];
		char reached[32] = "-", wanted[32] = "-";

		if (strcmp(group, goal->group))
			fprintf(out, "%s:\n", goal->group);
		group = goal->group;
		if (!isnan(goal->reached))
			snprintf(reached, sizeof(reached), "%.2f%s", goal->reached, goal->unit);
		if (!isnan(goal->wanted))
			snprintf(wanted, sizeof(wanted), "%s %.2f%s", goal->at_most ? "<=" : ">=",
				 goal->wanted, goal->unit);
		fprintf(out, "  %-40s", goal->what);
		text_ns(goal->simulator, out);
		text_ns(goal->kernel, out);
		text_ns(goal->floor, out);
		fprintf(out, " %14s %16s  %s%s%s\n", reached, wanted, state_word[goal->state],
			goal->state == GOAL_SKIPPED ? ": " : "", goal->reason);
	}
}

void report_text(const struct bench *bench, FILE *out)
{
	text_head(bench, out);
	for (unsigned size = 0; size < SIZE_COUNT; size++)
		text_pages(bench, size, out);
	text_skipped(bench, out);
	text_growth(bench, out);
	text_features(bench, out);
	text_singles(bench, out);
	text_goals(bench, out);
	fprintf(out, "\n%u goals reached, %u missed, %u skipped; %u measurements skipped\n",
		goals_in_state(bench, GOAL_REACHED), goals_in_state(bench, GOAL_MISSED),
		goals_in_state(bench, GOAL_SKIPPED), series_skipped(bench));
}

/* ------------------------------------------------------------------ */
/* JSON */

static void json_string(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f) /* a path may hold any byte */
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

void json_field(const char *name, const char *text, FILE *out)
{
	fprintf(out, "\"%s\": ", name);
	json_string(text, out);
	fputs(", ", out);
}

static void json_number(double number, FILE *out)
{
	if (isfinite(number))
		fprintf(out, "%.6g", number);
	else
		fputs("null", out);
}

static void json_numbers(const char *name, double number, FILE *out)
{
	fprintf(out, "\"%s\": ", name);
	json_number(number, out);
	fputs(", ", out);
}

void json_series(const struct series *series, FILE *out)
{
	json_numbers("median", series_median(series), out);
	json_numbers("min", series_min(series), out);
	fputs("\"samples\": [", out);
	for (unsigned i = 0; i < series->count; i++) {
		fputs(i ? ", " : "", out);
		json_number(series->value[i], out);
	}
	fputs("]", out);
	if (series->skipped[0]) {
		fputs(", \"skipped\": ", out);
		json_string(series->skipped, out);
	}
	fputs("}", out);
}

static void json_head(const struct bench *bench, FILE *out)
{
	struct utsname host = { 0 };
	char model[128];

	uname(&host);
	cpu_model(model, sizeof(model));
	fputs("{\n  \"schema\": \"cowlab-bench-1\",\n  ", out);
	json_field("version", cow_version(), out);
	json_field("policy", bench->policy->name, out);
	fprintf(out, "\"rounds\": %u, \"quick\": %s, \"optimized\": %s,\n  \"host\": {",
		bench->rounds, bench->quick ? "true" : "false", optimized ? "true" : "false");
	json_field("system", host.sysname, out);
	json_field("release", host.release, out);
	json_field("machine", host.machine, out);
	json_field("cpu-model", model, out);
	json_field("load", bench->load, out);
	json_numbers("cpu", bench->cpu >= 0 ? bench->cpu : NAN, out);
	fprintf(out, "\"repeated\": %u, \"disturbed\": %u, ", bench->repeated, bench->disturbed);
	fprintf(out, "\"switches\": %ld, \"available-bytes\": %" PRIu64 "},\n", bench->switches,
		bench->available);
}

static void json_pages(const struct bench *bench, FILE *out)
{
	const char *separator = "";

	fputs("  \"pages\": [\n", out);
	for (unsigned size = 0; size < SIZE_COUNT; size++) {
		for (unsigned side = 0; side < SIDE_COUNT; side++) {
			for (unsigned op = 0; op < OP_COUNT; op++) {
				if (!op_on_side(op, side))
					continue;
				fprintf(out, "%s    {\"pages\": %" PRIu64 ", ", separator,
					bench->pages[size]);
				json_field("side", side_key[side], out);
				json_field("operation", op_key[op], out);
				if (side == SIDE_KERNEL && op == OP_COPY)
					fprintf(out, "\"copied-pages\": %" PRIu64 ", ",
						bench->copied_pages[size]);
				json_field("unit", "ns/page", out);
				json_series(&bench->page[size][side][op], out);
				separator = ",\n";
			}
		}
	}
	fputs("\n  ],\n", out);
}

static void json_singles(const struct bench *bench, FILE *out)
{
	fprintf(out, "  \"parsed-bytes\": %" PRIu64 ", \"matrix-files\": %u, "
		"\"matrix-runs\": %u,\n", bench->parsed_bytes, bench->matrix_files,
		bench->matrix_runs);
	fputs("  \"others\": [\n", out);
	for (unsigned i = 0; i < SINGLE_COUNT; i++) {
		fputs("    {", out);
		json_field("what", single_key[i], out);
		json_field("unit", single_unit[i], out);
		json_series(&bench->single[i], out);
		fputs(i + 1 < SINGLE_COUNT ? ",\n" : "\n", out);
	}
	fputs("  ],\n", out);
}

static void json_goals(const struct bench *bench, FILE *out)
{
	fputs("  \"goals\": [\n", out);
	for (unsigned i = 0; i < bench->goals; i++) {
		const struct goal *goal = &bench->goal[i];

		fputs("    {", out);
		json_field("group", goal->group, out);
		json_field("what", goal->what, out);
		json_numbers("simulator", goal->simulator, out);
		json_numbers("kernel", goal->kernel, out);
		json_numbers("floor", goal->floor, out);
		json_numbers("reached", goal->reached, out);
		json_field("relation", goal->at_most ? "at-most" : "at-least", out);
		json_numbers("wanted", goal->wanted, out);
		json_field("unit", goal->unit + strspn(goal->unit, " "), out);
		if (goal->state == GOAL_SKIPPED)
			json_field("reason", goal->reason, out);
		fprintf(out, "\"state\": \"%s\"}%s\n", state_word[goal->state],
			i + 1 < bench->goals ? "," : "");
	}
	fputs("  ],\n", out);
}

void report_json(const struct bench *bench, FILE *out)
{
	json_head(bench, out);
	json_pages(bench, out);
	json_features(bench, out);
	json_singles(bench, out);
	json_goals(bench, out);
	fprintf(out, "  \"summary\": {\"reached\": %u, \"missed\": %u, \"skipped\": %u, "
		"\"measurements-skipped\": %u}\n}\n", goals_in_state(bench, GOAL_REACHED),
		goals_in_state(bench, GOAL_MISSED), goals_in_state(bench, GOAL_SKIPPED),
		series_skipped(bench));
}
