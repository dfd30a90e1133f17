/* SPDX-License-Identifier: MIT
 *
 * A run in progress: the machine, the audit, and what the scenario's names stand for now.
 * world.c sets it up, apply.c does events, assert.c judges assertions, engine.c is the loop, record.c
 * fills the report.
 */
#ifndef COWLAB_ENGINE_ENGINE_H
#define COWLAB_ENGINE_ENGINE_H

#include "engine/report.h"
#include "event/scenario.h"
#include "base/alloc.h"

#include <errno.h>

/* What an event came to. */
struct came_to {
	enum cow_outcome outcome; /* COW_OUT_NONE: it has none to tell */
	int error;                /* positive errno, where outcome is COW_OUT_ERRNO */
	bool failed;              /* the outcome is no success */
	uint64_t pages;           /* pages it was about */
	struct cow_result result; /* of an access */
	bool has_value;           /* it read something */
};

struct engine {
	const cow_scenario *scenario;
	const struct cow_policy *policy;
	const struct cow_run_options *options;
	cow_report *report;
	cow_machine *machine;
	cow_audit *audit;
	char policy_name[64];   /* what exceptions are matched with: without composition */
	cow_mm *processes;      /* by name */
	cow_ref *refs;          /* by name; generation 0: there is none */
	cow_file *files;        /* by name */
	uint64_t *pages;        /* first page of each region, from the base */
	uint32_t *numbers;      /* process number to name */
	size_t number_room;
	uint32_t most;          /* number given last */
	uint64_t *left;         /* repetitions left, by statement of the repeat */
	uint64_t base;          /* first page of the layout */
	uint32_t line;          /* of the statement being done */
	size_t findings;        /* of the audit, told so far */
	int error;              /* of recording within a callback */
};

/* ---- world.c ---- */

/*
 * Makes what is missing of an engine that has scenario, policy, options and an empty report with its
 * allocator.  A file that cannot be is a failure in the report.  Returns 0 or a negative errno; to be
 * unmade either way.
 */
int world_make(struct engine *engine);
void world_unmake(struct engine *engine);

/* ---- apply.c ---- */

/* True if everything of the statement is modelled; else fills `what`: "'x' is not modelled yet". */
bool event_modelled(const struct engine *engine, const struct cow_event *event, char *what,
		    size_t size);
/* Does an event.  `expect`: what a read should find, or NULL.  Returns 0 or -ENOMEM (host). */
int event_apply(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		struct came_to *came_to);
const struct cow_geometry *geometry_of(const struct engine *engine);
/* log2 of the pages that a PMD maps; 0: no entry of this geometry maps more than a page. */
unsigned pmd_order(const struct cow_geometry *geometry);
/* Makes room for the number of a process.  Returns 0 or -ENOMEM. */
int numbers_reserve(struct engine *engine, uint32_t number);
uint64_t place_addr(const struct engine *engine, uint32_t region, uint64_t page);

/* ---- assert.c ---- */

/* Checks what a statement asserts.  Returns 0 or -ENOMEM. */
int assert_event(struct engine *engine, const struct scenario_statement *statement,
		 const struct came_to *came_to);
int assert_statement(struct engine *engine, const struct scenario_statement *statement);

/* ---- record.c ---- */

int record_failure(struct engine *engine, const struct scenario_statement *statement,
		   const char *expected, const char *found);
/* The same for a line that is no statement: that of a `file`, which `text` stands for. */
int record_failed_line(struct engine *engine, uint32_t line, const char *text,
		       const char *expected, const char *found);
int record_step(struct engine *engine, uint32_t statement, const struct came_to *came_to);
/* Takes over what the audit found since the last time. */
int record_findings(struct engine *engine);
void record_decision(void *ctx, const struct cow_decision *decision);
const char *process_name(const struct engine *engine, uint32_t number);

#endif
