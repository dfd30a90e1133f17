/* SPDX-License-Identifier: MIT
 *
 * Running a scenario under a policy: sets the machine up, does one statement after the other, and
 * leaves a report.  A scenario that needs what is not modelled is not begun.
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

static void *make(const struct engine *engine, size_t count, size_t size)
{
	return cow_zalloc_(&engine->report->allocator, (count ? count : 1) * size);
}

static void unmake(const struct engine *engine, void *memory, size_t count, size_t size)
{
	cow_release_(&engine->report->allocator, memory, (count ? count : 1) * size);
}

static int watch(struct engine *engine)
{
	struct cow_observer explain = { .size = sizeof(explain), .ctx = engine,
					.decision = record_decision };
	int error = 0;

	if (!engine->options->no_audit)
		error = cow_audit_attach(engine->machine, &engine->audit);
	if (!error && engine->options->explain)
		error = cow_machine_observe(engine->machine, &explain);
	if (!error && engine->options->observer)
		error = cow_machine_observe(engine->machine, engine->options->observer);
	return error;
}

/* The first page of the layout: far from address 0 where there is room. */
static uint64_t layout_base(const struct cow_geometry *geometry)
{
	unsigned bits = 0;

	for (unsigned level = 0; level < geometry->levels; level++)
		bits += geometry->bits[level];
	return bits <= 20 ? 0 : 0x10000;
}

/* The files are there before anything else.  One that cannot be is a failure of its line. */
static int make_files(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;
	const char *errno_name;
	char text[160];
	int error = 0;

	for (uint32_t i = 0; i < scenario->file_count && !error; i++) {
		const struct scenario_file *file = &scenario->files[i];

		error = cow_file_create(engine->machine, file->pages, file->value, file->huge,
					&engine->files[i]);
		if (!error || (error == -ENOMEM && cow_machine_error(engine->machine)->host))
			continue;
		snprintf(text, sizeof(text), "file %.100s %llu", file->text,
			 (unsigned long long)file->pages);
		errno_name = cow_errno_name(error);
		return record_failed_line(engine, file->line, text, "no error",
					  errno_name ? errno_name : "an unknown errno");
	}
	return error;
}

static int make_processes(struct engine *engine)
{
	int error = 0;

	for (uint32_t i = 0; i < engine->scenario->started && !error; i++) {
		error = cow_mm_create(engine->machine, &engine->processes[i]);
		if (error)
			continue;
		engine->numbers[engine->processes[i].generation] = i;
		engine->most = engine->processes[i].generation;
	}
	return error;
}

static int set_up(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = scenario->frames;
	config.swap = scenario->swap;
	config.no_swap = !scenario->swap;
	config.hugetlb = scenario->hugetlb;
	config.stable_writes = scenario->options & 1u << OPTION_STABLE_WRITES;
	config.ksm_zero_pages = scenario->options & 1u << OPTION_KSM_ZERO_PAGES;
	config.lru_batch = scenario->lru_batch;
	config.geometry = *geometry_of(engine);
	config.policy = engine->policy;
	config.allocator = engine->options->allocator;
	error = cow_machine_create(&config, &engine->machine);
	if (error)
		return error;
	error = watch(engine);
	if (error)
		return error;
	engine->processes = make(engine, scenario->process_count, sizeof(*engine->processes));
	engine->refs = make(engine, scenario->ref_count, sizeof(*engine->refs));
	engine->files = make(engine, scenario->file_count, sizeof(*engine->files));
	engine->pages = make(engine, scenario->region_count, sizeof(*engine->pages));
	engine->left = make(engine, scenario->statement_count, sizeof(*engine->left));
	if (!engine->processes || !engine->refs || !engine->files || !engine->pages ||
	    !engine->left || numbers_reserve(engine, scenario->started))
		return -ENOMEM;
	engine->base = layout_base(&config.geometry);
	scenario_lay_out(scenario, UINT64_C(1) << pmd_order(&config.geometry), engine->pages);
	error = make_files(engine);
	return error ? error : make_processes(engine);
}

static void tear_down(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;

	cow_audit_detach(engine->audit);
	cow_machine_destroy(engine->machine);
	unmake(engine, engine->processes, scenario->process_count, sizeof(*engine->processes));
	unmake(engine, engine->refs, scenario->ref_count, sizeof(*engine->refs));
	unmake(engine, engine->files, scenario->file_count, sizeof(*engine->files));
	unmake(engine, engine->pages, scenario->region_count, sizeof(*engine->pages));
	cow_release_(&engine->report->allocator, engine->numbers,
		     engine->number_room * sizeof(*engine->numbers));
	unmake(engine, engine->left, scenario->statement_count, sizeof(*engine->left));
}

static int run(struct engine *engine)
{
	int error = set_up(engine);

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
		tear_down(&engine);
	}
	if (error) {
		cow_report_free(engine.report);
		return error;
	}
	*out = engine.report;
	return 0;
}
