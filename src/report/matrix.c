/* SPDX-License-Identifier: MIT
 *
 * cow_matrix_write: sorts reports into a table, and its forms for programs.
 * Read matrix_text.c for the form that people see.
 */
#include "report/matrix.h"
#include "base/alloc.h"

#include <errno.h>
#include <inttypes.h>

/* The scenarios mostly come one after the other, so the last is the one. */
static size_t scenario_index(const struct matrix *matrix, const cow_scenario *scenario)
{
	size_t i = matrix->scenario_count;

	while (i && matrix->scenarios[i - 1] != scenario)
		i--;
	return i ? i - 1 : matrix->scenario_count;
}

static size_t policy_index(const struct matrix *matrix, const struct cow_policy *policy)
{
	size_t i = 0;

	while (i < matrix->policy_count && strcmp(matrix->policies[i]->name, policy->name) != 0)
		i++;
	return i;
}

static int matrix_add_scenario(struct matrix *matrix, const cow_scenario *scenario)
{
	int error;

	if (scenario_index(matrix, scenario) < matrix->scenario_count)
		return 0;
	error = array_grow(matrix->allocator, (void **)&matrix->scenarios,
			   &matrix->scenario_capacity, matrix->scenario_count + 1,
			   sizeof(const cow_scenario *));
	if (!error)
		matrix->scenarios[matrix->scenario_count++] = scenario;
	return error;
}

static int matrix_add_policy(struct matrix *matrix, const struct cow_policy *policy)
{
	int error;

	if (policy_index(matrix, policy) < matrix->policy_count)
		return 0;
	error = array_grow(matrix->allocator, (void **)&matrix->policies,
			   &matrix->policy_capacity, matrix->policy_count + 1,
			   sizeof(const struct cow_policy *));
	if (!error)
		matrix->policies[matrix->policy_count++] = policy;
	return error;
}

/* Two runs of one scenario under one policy share a cell: the one that did not hold is shown. */
static void matrix_put(struct matrix *matrix, const struct cow_report *report)
{
	size_t row = scenario_index(matrix, report->scenario);
	size_t column = policy_index(matrix, report->policy);
	const struct cow_report **cell = &matrix->cells[row * matrix->policy_count + column];

	if (!*cell || (*cell)->status == COW_RUN_HELD)
		*cell = report;
}

static size_t matrix_cells_size(const struct matrix *matrix)
{
	return matrix->scenario_count * matrix->policy_count * sizeof(*matrix->cells);
}

void matrix_free(struct matrix *matrix)
{
	cow_release_(matrix->allocator, matrix->cells, matrix_cells_size(matrix));
	cow_release_(matrix->allocator, matrix->columns,
		     matrix->policy_count * sizeof(*matrix->columns));
	cow_release_(matrix->allocator, matrix->policies,
		     matrix->policy_capacity * sizeof(*matrix->policies));
	cow_release_(matrix->allocator, matrix->scenarios,
		     matrix->scenario_capacity * sizeof(*matrix->scenarios));
	*matrix = (struct matrix){ .allocator = matrix->allocator };
}

int matrix_init(struct matrix *matrix, cow_report *const *reports, size_t count)
{
	int error = 0;

	*matrix = (struct matrix){ .reports = reports, .report_count = count };
	if (!count)
		return 0;
	matrix->allocator = &reports[0]->allocator;
	for (size_t i = 0; i < count && !error; i++) {
		error = matrix_add_scenario(matrix, reports[i]->scenario);
		if (!error)
			error = matrix_add_policy(matrix, reports[i]->policy);
	}
	if (!error && matrix->scenario_count > SIZE_MAX / sizeof(*matrix->cells) /
						       matrix->policy_count)
		error = -ENOMEM;
	if (!error) {
		matrix->cells = cow_zalloc_(matrix->allocator, matrix_cells_size(matrix));
		matrix->columns = cow_zalloc_(matrix->allocator,
					     matrix->policy_count * sizeof(*matrix->columns));
		error = matrix->cells && matrix->columns ? 0 : -ENOMEM;
	}
	if (error) {
		matrix_free(matrix);
		return error;
	}
	for (size_t i = 0; i < count; i++)
		matrix_put(matrix, reports[i]);
	return 0;
}

const struct cow_report *matrix_cell(const struct matrix *matrix, size_t scenario, size_t policy)
{
	return matrix->cells[scenario * matrix->policy_count + policy];
}

struct matrix_sum matrix_sum(const struct matrix *matrix, size_t policy)
{
	struct matrix_sum sum = { 0 };

	for (size_t i = 0; i < matrix->scenario_count; i++) {
		const struct cow_report *report = matrix_cell(matrix, i, policy);

		if (!report)
			continue;
		sum.failed += report->status == COW_RUN_FAILED || report->status == COW_RUN_FAULT;
		if (!report_ran(report))
			continue;
		sum.runs++;
		sum.ok += report_judged(report) && !report->verdict;
		for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
			sum.verdicts[bit] += report_judged(report) && report->verdict & 1u << bit;
		sum.copied += report_copied(report);
		sum.needless += report->counters[COW_COUNT_NEEDLESS_COPIES];
		sum.unsafe += report->counters[COW_COUNT_UNSAFE_REUSES];
	}
	return sum;
}

static void matrix_json_run(struct json *json, const struct cow_report *report)
{
	json_object(json, NULL, JSON_FLAT);
	json_str(json, "policy", report->policy->name);
	json_str(json, "status", status_word(report->status));
	json_str(json, "reason", report->reason[0] ? report->reason : NULL);
	json_verdict(json, report);
	json_u64(json, "copied", report_copied(report));
	json_u64(json, "copies", report->counters[COW_COUNT_COPIES]);
	json_u64(json, "early-copies", report->counters[COW_COUNT_EARLY_COPIES]);
	json_u64(json, "unshares", report->counters[COW_COUNT_UNSHARES]);
	json_u64(json, "needless-copies", report->counters[COW_COUNT_NEEDLESS_COPIES]);
	json_u64(json, "unsafe-reuses", report->counters[COW_COUNT_UNSAFE_REUSES]);
	json_u64(json, "failures", report_failed(report));
	json_object_end(json);
}

static void matrix_json_sum(struct json *json, const struct matrix *matrix, size_t policy)
{
	struct matrix_sum sum = matrix_sum(matrix, policy);

	json_object(json, NULL, JSON_FLAT);
	json_str(json, "policy", matrix->policies[policy]->name);
	json_u64(json, "runs", sum.runs);
	json_u64(json, "ok", sum.ok);
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		json_u64(json, cow_verdict_word(bit), sum.verdicts[bit]);
	json_u64(json, "copied", sum.copied);
	json_u64(json, "needless-copies", sum.needless);
	json_u64(json, "unsafe-reuses", sum.unsafe);
	json_u64(json, "failed", sum.failed);
	json_object_end(json);
}

static void matrix_json(struct out *out, const struct matrix *matrix)
{
	struct tally tally = tally_reports(matrix->reports, matrix->report_count);
	struct json json;

	json_begin(&json, out, "cowlab-matrix-1");
	json_array(&json, "scenarios", JSON_LINES);
	for (size_t i = 0; i < matrix->scenario_count; i++) {
		json_object(&json, NULL, JSON_LINES);
		json_str(&json, "file", cow_scenario_name(matrix->scenarios[i]));
		json_str(&json, "title", cow_scenario_title(matrix->scenarios[i]));
		json_array(&json, "runs", JSON_LINES);
		for (size_t j = 0; j < matrix->policy_count; j++)
			if (matrix_cell(matrix, i, j))
				matrix_json_run(&json, matrix_cell(matrix, i, j));
		json_array_end(&json);
		json_object_end(&json);
	}
	json_array_end(&json);
	json_array(&json, "policies", JSON_LINES);
	for (size_t i = 0; i < matrix->policy_count; i++)
		matrix_json_sum(&json, matrix, i);
	json_array_end(&json);
	tally_json(&json, &tally);
	json_end(&json);
}

static void matrix_csv(struct out *out, const struct matrix *matrix)
{
	static const enum cow_counter columns[] = {
		COW_COUNT_COPIES, COW_COUNT_EARLY_COPIES, COW_COUNT_UNSHARES,
		COW_COUNT_NEEDLESS_COPIES, COW_COUNT_UNSAFE_REUSES,
	};

	out_str(out, "scenario,title,policy,status,verdict,copied,copies,early-copies,unshares,"
		     "needless-copies,unsafe-reuses,failures\n");
	for (size_t i = 0; i < matrix->report_count; i++) {
		const struct cow_report *report = matrix->reports[i];
		char verdict[VERDICT_TEXT];

		verdict_text(report, verdict, sizeof(verdict));
		out_csv(out, cow_scenario_name(report->scenario));
		out_str(out, ",");
		out_csv(out, cow_scenario_title(report->scenario));
		out_str(out, ",");
		out_csv(out, report->policy->name);
		out_fmt(out, ",%s,%s,%" PRIu64, status_word(report->status), verdict,
			report_copied(report));
		for (size_t j = 0; j < sizeof(columns) / sizeof(*columns); j++)
			out_fmt(out, ",%" PRIu64, report->counters[columns[j]]);
		out_fmt(out, ",%" PRIu64 "\n", report_failed(report));
	}
}

int cow_matrix_write(cow_report *const *reports, size_t count, enum cow_format format,
		     cow_sink_fn *sink, void *ctx)
{
	struct matrix matrix;
	struct out out;
	int error;

	if ((count && !reports) || (unsigned)format > COW_FORMAT_CSV)
		return -EINVAL;
	out_init(&out, sink, ctx);
	error = matrix_init(&matrix, reports, count);
	if (error)
		return error;
	if (format == COW_FORMAT_TEXT)
		matrix_text(&out, &matrix);
	else if (format == COW_FORMAT_JSON)
		matrix_json(&out, &matrix);
	else
		matrix_csv(&out, &matrix);
	matrix_free(&matrix);
	return out_end(&out);
}
