/* SPDX-License-Identifier: MIT
 *
 * Running a scenario under a policy: has the machine set up (world.c), does one statement after the
 * other, and leaves a report.  A scenario that needs what is not modelled is not begun.
 */
#include "engine/engine.h"

#include <stdio.h>

void cow_run_options_init(struct cow_run_options *options)
{
	*options = (struct cow_run_options){ .size = sizeof(*options) };
}

static bool all_modelled(struct engine *engine)
{
	char what[96];

	for (uint32_t i = 0; i < engine->scenario->statement_count; i++) {
		const struct scenario_statement *statement = &engine->scenario->statements[i];

		if (statement->kind != STATEMENT_EVENT ||
		    event_modelled(engine, &statement->event, what, sizeof(what)))
			continue;
		engine->report->status = COW_RUN_NOT_MODELLED;
		snprintf(engine->report->reason, sizeof(engine->report->reason),
			 "%.120s:%u: %s", cow_scenario_name(engine->scenario), statement->line,
			 what);
		return false;
	}
	return true;
}

static bool wanted(struct engine *engine)
{
	if (cow_scenario_wants(engine->scenario, engine->policy_name))
		return true;
	engine->report->status = COW_RUN_SKIPPED;
	snprintf(engine->report->reason, sizeof(engine->report->reason),
		 "the file does not speak of policy %.100s", engine->policy_name);
	return false;
}

/* The debug check; a finding is a fault of the program (or of a policy that breaks its promise). */
static int check(struct engine *engine)
{
	struct cow_error error;
	int result = cow_machine_check(engine->machine, &error);

	if (result != -EUCLEAN)
		return result;
	engine->report->status = COW_RUN_FAULT;
	snprintf(engine->report->reason, sizeof(engine->report->reason), "%.80s:%u: %.130s",
		 cow_scenario_name(engine->scenario), engine->line, error.sentence);
	return 0;
}

static int do_event(struct engine *engine, uint32_t index,
		    const struct scenario_statement *statement)
{
	const struct scenario_choice *value =
		scenario_choose(engine->scenario, statement->value, engine->policy_name);
	uint32_t decisions = engine->report->decision_count;
	uint32_t failures = engine->report->failure_count;
	struct came_to came_to;
	int error;

	engine->report->events++;
	error = event_apply(engine, &statement->event, value ? &value->value : NULL, &came_to);
	if (!error)
		error = record_step(engine, index, &came_to);
	if (!error)
		error = assert_event(engine, statement, &came_to);
	if (!error && !engine->report->steps_lost) {
		struct report_step *step = &engine->report->steps[engine->report->step_count - 1];

		step->first_decision = decisions;
		step->decisions = engine->report->decision_count - decisions;
		step->failed = engine->report->failure_count > failures;
	}
	if (!error)
		error = record_findings(engine);
	if (!error && engine->options->check_each)
		error = check(engine);
	return error ? error : engine->error;
}

static int do_statements(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;
	int error = 0;

	for (uint32_t i = 0; i < scenario->statement_count && !error; i++) {
		const struct scenario_statement *statement = &scenario->statements[i];

		if (engine->report->status == COW_RUN_FAULT)
			break;
		engine->line = statement->line;
		if (statement->kind != STATEMENT_EVENT) {
			error = assert_statement(engine, statement);
		} else if (statement->event.verb == COW_EV_REPEAT) {
			engine->left[i] = statement->event.value;
			if (!engine->left[i])
				i = statement->partner;
		} else if (statement->event.verb == COW_EV_END) {
			if (--engine->left[statement->partner])
				i = statement->partner;
		} else {
			error = do_event(engine, i, statement);
		}
	}
	return error;
}

static int run(struct engine *engine)
{
	int error = world_make(engine);

	if (!error && engine->report->status != COW_RUN_FAILED)
		error = do_statements(engine);
	if (!error && !engine->options->no_check && engine->report->status != COW_RUN_FAULT)
		error = check(engine);
	if (error)
		return error;
	for (int counter = 0; counter < COW_COUNTER_COUNT; counter++)
		engine->report->counters[counter] =
			cow_machine_counter(engine->machine, (enum cow_counter)counter);
	engine->report->audited = engine->audit != NULL;
	engine->report->verdict = engine->audit ? cow_audit_verdict(engine->audit) : 0;
	return 0;
}

int cow_run(const cow_scenario *scenario, const struct cow_policy *policy,
	    const struct cow_run_options *options, cow_report **out)
{
	struct cow_run_options defaults;
	struct engine engine = { .scenario = scenario };
	int error = 0;

	if (!out)
		return -EINVAL;
	*out = NULL;
	cow_run_options_init(&defaults);
	engine.options = options ? options : &defaults;
	engine.policy = policy ? policy : cow_policy_find("exclusive");
	if (!scenario || cow_scenario_errors(scenario) || engine.options->size != sizeof(defaults) ||
	    cow_policy_check(engine.policy) ||
	    ((engine.policy->flags & COW_POLICY_NEEDS_TRUTH) && engine.options->no_audit))
		return -EINVAL;
	engine.report = cow_zalloc_(&engine.options->allocator, sizeof(*engine.report));
	if (!engine.report)
		return -ENOMEM;
	engine.report->allocator = engine.options->allocator;
	engine.report->scenario = scenario;
	engine.report->policy = engine.policy;
	engine.report->explained = engine.options->explain;
	snprintf(engine.policy_name, sizeof(engine.policy_name), "%.*s",
		 (int)strcspn(engine.policy->name, ","), engine.policy->name);
	if (wanted(&engine) && all_modelled(&engine)) {
		error = run(&engine);
		world_unmake(&engine);
	}
	if (error) {
		cow_report_free(engine.report);
		return error;
	}
	*out = engine.report;
	return 0;
}
