/* SPDX-License-Identifier: MIT
 *
 * Reports as a table: a row a scenario, a column a policy, both in the order in which they come.
 * Owns the arrays; borrows the reports.  Read matrix.c, then matrix_text.c.
 */
#ifndef COWLAB_REPORT_MATRIX_H
#define COWLAB_REPORT_MATRIX_H

#include "report/words.h"

struct matrix {
	const struct cow_allocator *allocator;
	cow_report *const *reports; /* all of them, borrowed */
	size_t report_count;
	const cow_scenario **scenarios;
	size_t scenario_count, scenario_capacity;
	const struct cow_policy **policies;
	size_t policy_count, policy_capacity;
	struct column {
		size_t width;            /* with the blank behind it */
		size_t marks;            /* of that: letters before the count */
	} *columns;                      /* one a policy; the text's to fill */
	const struct cow_report **cells; /* scenario_count rows of policy_count; NULL: not run */
};

/* One policy over all scenarios. */
struct matrix_sum {
	uint64_t runs;                        /* those that got to their end */
	uint64_t ok;                          /* of them, judged and nothing found */
	uint64_t verdicts[COW_VERDICT_COUNT]; /* runs in which the word was found */
	uint64_t failed;                      /* runs with an assertion that failed, or a fault */
	uint64_t copied, needless, unsafe;    /* copied: as report_copied */
};

/* Returns 0 or -ENOMEM; the matrix holds nothing then. */
int matrix_init(struct matrix *matrix, cow_report *const *reports, size_t count);
void matrix_free(struct matrix *matrix);
const struct cow_report *matrix_cell(const struct matrix *matrix, size_t scenario, size_t policy);
struct matrix_sum matrix_sum(const struct matrix *matrix, size_t policy);

void matrix_text(struct out *out, const struct matrix *matrix);

#endif
