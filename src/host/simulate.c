/* SPDX-License-Identifier: MIT
 *
 * The simulator beside the kernel: the same events on a machine, one at a time.
 */
#include "host/simulate.h"

static void *make(const struct engine *engine, size_t count, size_t size)
{
	return cow_zalloc_(&engine->report->allocator, (count ? count : 1) * size);
}

static void unmake(const struct engine *engine, void *memory, size_t count, size_t size)
{
	cow_release_(&engine->report->allocator, memory, (count ? count : 1) * size);
}

static int make_names(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;

	engine->processes = make(engine, scenario->process_count, sizeof(*engine->processes));
	engine->refs = make(engine, scenario->ref_count, sizeof(*engine->refs));
	engine->files = make(engine, scenario->file_count, sizeof(*engine->files));
	engine->pages = make(engine, scenario->region_count, sizeof(*engine->pages));
	return !engine->processes || !engine->refs || !engine->files || !engine->pages ||
	       numbers_reserve(engine, scenario->started) ? -ENOMEM : 0;
}

static int make_world(struct engine *engine)
{
	const cow_scenario *scenario = engine->scenario;
	int error = 0;

	scenario_lay_out(scenario, UINT64_C(1) << pmd_order(geometry_of(engine)), engine->pages);
	for (uint32_t i = 0; i < scenario->file_count && !error; i++)
		error = cow_file_create(engine->machine, scenario->files[i].pages,
					scenario->files[i].value, scenario->files[i].huge,
					&engine->files[i]);
	for (uint32_t i = 0; i < scenario->started && !error; i++) {
		error = cow_mm_create(engine->machine, &engine->processes[i]);
		if (error)
			break;
		engine->numbers[engine->processes[i].generation] = i;
		engine->most = engine->processes[i].generation;
	}
	return error;
}

int simulation_begin(struct simulation *simulation, const cow_scenario *scenario,
		     const struct cow_policy *policy, const struct cow_allocator *allocator)
{
	struct engine *engine = &simulation->engine;
	struct cow_config config;
	int error;

	*simulation = (struct simulation){ .report = { .allocator = *allocator } };
	cow_run_options_init(&simulation->options);
	simulation->options.allocator = *allocator;
	engine->scenario = scenario;
	engine->policy = policy;
	engine->options = &simulation->options;
	engine->report = &simulation->report;
	cow_config_init(&config);
	config.frames = scenario->frames;
	config.swap = scenario->swap;
	config.no_swap = !scenario->swap;
	config.hugetlb = scenario->hugetlb;
	config.ksm_zero_pages = scenario->options & 1u << OPTION_KSM_ZERO_PAGES;
	config.lru_batch = scenario->lru_batch;
	config.policy = policy;
	config.allocator = *allocator;
	error = cow_machine_create(&config, &engine->machine);
	engine->base = 0x10000;
	if (!error)
		error = make_names(engine);
	return error ? error : make_world(engine);
}

void simulation_end(struct simulation *simulation)
{
	struct engine *engine = &simulation->engine;
	const cow_scenario *scenario = engine->scenario;

	cow_machine_destroy(engine->machine);
	unmake(engine, engine->processes, scenario->process_count, sizeof(*engine->processes));
	unmake(engine, engine->refs, scenario->ref_count, sizeof(*engine->refs));
	unmake(engine, engine->files, scenario->file_count, sizeof(*engine->files));
	unmake(engine, engine->pages, scenario->region_count, sizeof(*engine->pages));
	cow_release_(&engine->report->allocator, engine->numbers,
		     engine->number_room * sizeof(*engine->numbers));
}

bool simulation_look(struct simulation *simulation, uint32_t process, uint32_t region,
		     uint64_t page, struct cow_page *out)
{
	struct engine *engine = &simulation->engine;

	return !cow_page_look(engine->machine, engine->processes[process],
			      place_addr(engine, region, page), out);
}
