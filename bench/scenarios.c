/* SPDX-License-Identifier: MIT
 *
 * What the bench measures of the scenario language: parsing a long text, and the work of
 * `cowlab matrix` over a folder, in this process.  Writes no scenario to disk.
 * Next: goals.c.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const struct cow_allocator libc_allocator;

/* Ordinary lines, with what a user's file has: comments, alignment, brackets, names used again. */
static const char head[] = "title   a long run, for the parser\n"
			   "frames  65536\n"
			   "process P\n"
			   "\n"
			   "P: mmap a 64                       # the region of all rounds\n";

static int append_round(char *to, size_t size, unsigned round)
{
	unsigned page = round % 60;

	return snprintf(to, size,
			"\n# round %u: the child holds a reference while the parent writes\n"
			"P: write a[%u] 0x%x           -> reuse  [page-count*: copy]\n"
			"P: fork C\n"
			"C: read a[%u..%u] == %u        -> hit\n"
			"C: get r a[%u]\n"
			"C: munmap a[%u]\n"
			"P: write a[%u] 0xff           -> copy  [mapcount,vma-nocow: reuse]\n"
			"peek r == 0x%x                [mapcount: 0xff]\n"
			"expect P a[%u] refcount 1 mapcount 1 exclusive yes writable yes\n"
			"expect same P a[%u], C a[%u]\n"
			"release r\n"
			"P: mprotect a[%u..%u] ro\n"
			"P: mprotect a[%u..%u] rw\n"
			"C: exit\n",
			round, page, round, page, page + 3, round, page, page, page, round, page,
			page + 1, page + 1, page, page + 2, page, page + 2);
}

/* @return a text of at least `least` bytes, or NULL. */
static char *text_make(uint64_t least, size_t *out)
{
	size_t size = least + 4096, length = sizeof(head) - 1;
	char *text = malloc(size);

	if (!text)
		return NULL;
	memcpy(text, head, length);
	for (unsigned round = 0; length < least; round++)
		length += (size_t)append_round(text + length, size - length, round);
	*out = length;
	return text;
}

static void parse_once(const char *text, size_t size, struct sample *out)
{
	cow_scenario *scenario = NULL;
	double start = now_ns(), ns;
	int error = cow_scenario_parse("generated", text, size, &libc_allocator, &scenario);

	ns = now_ns() - start;
	if (error && scenario && cow_scenario_errors(scenario)) {
		const struct cow_diagnostic *first = cow_scenario_error(scenario, 0);

		sample_skip(out, "line %u: %.*s", (unsigned)first->line, 64, first->sentence);
	} else if (error) {
		sample_skip(out, "%s", cow_strerror(error));
	} else {
		*out = (struct sample){ .value = (double)size / ns * 1e3 };
	}
	cow_scenario_free(scenario);
}

void parse_measure(struct bench *bench)
{
	struct series *series = &bench->single[SINGLE_PARSE];
	size_t size;
	char *text = text_make(bench->parse_bytes, &size);

	if (!text) {
		snprintf(series->skipped, sizeof(series->skipped), "%s", strerror(ENOMEM));
		return;
	}
	bench->parsed_bytes = size;
	for (unsigned round = 0; round < bench->rounds; round++) {
		struct sample sample = { 0 };

		parse_once(text, size, &sample);
		series_add(series, &sample);
	}
	free(text);
}

/* The files of the folder, in the order of their names. */
struct files {
	char **path;
	unsigned count;
};

static int is_scenario(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 4 && !strcmp(entry->d_name + length - 4, ".cow");
}

static void files_free(struct files *files)
{
	for (unsigned i = 0; i < files->count; i++)
		free(files->path[i]);
	free(files->path);
}

static int files_find(const char *folder, struct files *files)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_scenario, alphasort), error = 0;

	*files = (struct files){ 0 };
	if (n < 0)
		return -errno;
	files->path = calloc((size_t)n + 1, sizeof(*files->path));
	for (int i = 0; i < n; i++) {
		if (!error && (!files->path ||
			       asprintf(&files->path[files->count], "%s/%s", folder,
					entries[i]->d_name) < 0))
			error = -ENOMEM;
		else if (!error)
			files->count++;
		free(entries[i]);
	}
	free(entries);
	if (!error && !n)
		error = -ENODATA;
	if (error)
		files_free(files);
	return error;
}

static int sink_count(void *ctx, const void *bytes, size_t size)
{
	(void)bytes;
	*(uint64_t *)ctx += size;
	return 0;
}

/* All that `cowlab matrix` does, from the files to the bytes of its table. */
struct matrix {
	cow_policies *policies;
	cow_scenario **scenario;
	cow_report **report;
	unsigned scenarios, reports;
};

static int matrix_run_file(struct matrix *matrix, const char *path)
{
	cow_scenario **scenario = &matrix->scenario[matrix->scenarios];
	int error = cow_scenario_load(path, &libc_allocator, scenario);

	if (*scenario)
		matrix->scenarios++;
	for (size_t i = 0; !error && i < cow_policies_count(matrix->policies); i++) {
		error = cow_run(*scenario, cow_policies_at(matrix->policies, i), NULL,
				&matrix->report[matrix->reports]);
		matrix->reports += !error;
	}
	return error;
}

static int matrix_run(struct matrix *matrix, const struct files *files, struct sample *out)
{
	uint64_t bytes = 0;
	int error = cow_policies_parse("all", &libc_allocator, NULL, &matrix->policies);

	if (error)
		return error;
	matrix->scenario = calloc(files->count, sizeof(*matrix->scenario));
	matrix->report = calloc(files->count * cow_policies_count(matrix->policies),
				sizeof(*matrix->report));
	if (!matrix->scenario || !matrix->report)
		return -ENOMEM;
	for (unsigned i = 0; i < files->count; i++) {
		error = matrix_run_file(matrix, files->path[i]);
		if (error) {
			sample_skip(out, "%.60s: %.30s", files->path[i], cow_strerror(error));
			return error;
		}
	}
	return cow_matrix_write(matrix->report, matrix->reports, COW_FORMAT_TEXT, sink_count,
				&bytes);
}

static void matrix_free(struct matrix *matrix)
{
	for (unsigned i = 0; i < matrix->reports; i++)
		cow_report_free(matrix->report[i]);
	for (unsigned i = 0; i < matrix->scenarios; i++)
		cow_scenario_free(matrix->scenario[i]);
	free(matrix->report);
	free(matrix->scenario);
	cow_policies_free(matrix->policies);
}

void matrix_measure(struct bench *bench)
{
	struct series *series = &bench->single[SINGLE_MATRIX];
	struct files files;
	int error;

	if (!bench->examples) {
		snprintf(series->skipped, sizeof(series->skipped), "no --examples");
		return;
	}
	error = files_find(bench->examples, &files);
	if (error) {
		snprintf(series->skipped, sizeof(series->skipped), "%.60s: %.30s", bench->examples,
			 error == -ENODATA ? "no .cow file" : strerror(-error));
		return;
	}
	for (unsigned round = 0; round < bench->rounds; round++) {
		struct matrix matrix = { 0 };
		struct sample sample = { 0 };
		double start = now_ns();

		error = matrix_run(&matrix, &files, &sample);
		sample.value = (now_ns() - start) / 1e9;
		if (error && !sample.skipped[0])
			sample_skip(&sample, "%s", cow_strerror(error));
		series_add(series, &sample);
		bench->matrix_files = matrix.scenarios;
		bench->matrix_runs = matrix.reports;
		matrix_free(&matrix);
	}
	files_free(&files);
}
