/* SPDX-License-Identifier: MIT
 *
 * What came of one scenario under one policy: made by the engine, formatted by report/.
 * Owns everything but the scenario and the policy, which it borrows.  Never formats.
 */
#ifndef COWLAB_ENGINE_REPORT_H
#define COWLAB_ENGINE_REPORT_H

#include <cowlab.h>

enum { REPORT_MAX_STEPS = 65536, REPORT_MAX_DECISIONS = 65536, REPORT_MAX_FAILURES = 64 };

/* One statement that was executed. */
struct report_step {
	uint32_t statement;       /* index into scenario.statements */
	uint32_t line;            /* of the file */
	enum cow_outcome outcome; /* COW_OUT_NONE: it has none to tell */
	int error;                /* positive errno where outcome is COW_OUT_ERRNO */
	bool has_value;           /* it read something */
	uint64_t value;           /* what it read last */
	bool failed;              /* an assertion of this statement did not hold */
	uint32_t first_decision;  /* into report.decisions; with options.explain only */
	uint32_t decisions;
};

/* A decision as the policy made it, with names in place of numbers. */
struct report_decision {
	enum cow_decision_id id;
	struct cow_view view;
	const struct cow_rule *rule;
	char process[64]; /* name of the process */
	char place[96];   /* "a", "a[3]", "a[0..7]", or "0x7f..." outside any region */
	uint64_t pages;   /* length of the run */
};

struct report_failure {
	uint32_t line;
	char *message; /* "FILE:LINE: LINE: expected X, found Y" */
	char *text;    /* LINE */
	char *expected;
	char *found;
};

/* What the audit said, with the line at which it said it. */
struct report_finding {
	unsigned verdict; /* one bit; 0: a warning */
	uint32_t line;
	char sentence[200];
};

struct cow_report {
	struct cow_allocator allocator;
	const cow_scenario *scenario;    /* borrowed */
	const struct cow_policy *policy; /* borrowed */
	enum cow_status status;
	char reason[240];                /* of skipped, not modelled, fault: one sentence, with FILE:LINE */
	bool audited;
	bool explained;                  /* decisions were kept */
	unsigned verdict;                /* COW_VERDICT bits */
	uint64_t counters[COW_COUNTER_COUNT];
	uint64_t events;                 /* events executed, repeats counted */
	struct report_step *steps; uint32_t step_count; size_t step_room; uint64_t steps_lost;
	struct report_decision *decisions; uint32_t decision_count; size_t decision_room;
	uint64_t decisions_lost;
	struct report_failure *failures; uint32_t failure_count; size_t failure_room;
	uint64_t failures_lost;
	struct report_finding *findings; uint32_t finding_count; size_t finding_room;
};

#endif
