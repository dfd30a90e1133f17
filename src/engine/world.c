/* SPDX-License-Identifier: MIT
 *
 * What a run begins with, and what goes with it: the machine with its observers, its files and its
 * first processes, and the tables of what the scenario's names stand for.  It does no event.
 */
#include "engine/engine.h"

#include <stdio.h>

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

int world_make(struct engine *engine)
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

void world_unmake(struct engine *engine)
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
