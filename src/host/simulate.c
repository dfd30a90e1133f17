/* SPDX-License-Identifier: MIT
 *
 * The simulator beside the kernel: the same events on a machine, one at a time.
 */
#include "host/simulate.h"

int simulation_begin(struct simulation *simulation, const cow_scenario *scenario,
		     const struct cow_policy *policy, const struct cow_allocator *allocator)
{
	struct engine *engine = &simulation->engine;

	*simulation = (struct simulation){ .engine = { .scenario = scenario, .policy = policy } };
	cow_run_options_init(&simulation->options);
	simulation->options.allocator = *allocator;
	simulation->options.no_audit = !(policy->flags & COW_POLICY_NEEDS_TRUTH);
	engine->options = &simulation->options;
	engine->report = cow_zalloc_(allocator, sizeof(*engine->report));
	if (!engine->report)
		return -ENOMEM;
	engine->report->allocator = *allocator;
	return world_make(engine);
}

void simulation_end(struct simulation *simulation)
{
	if (!simulation->engine.report)
		return;
	world_unmake(&simulation->engine);
	cow_report_free(simulation->engine.report);
}

const char *simulation_refused(const struct simulation *simulation)
{
	return cow_report_failure(simulation->engine.report, 0);
}

bool simulation_look(struct simulation *simulation, uint32_t process, uint32_t region,
		     uint64_t page, struct cow_page *out)
{
	struct engine *engine = &simulation->engine;

	return process != COW_NONE &&
	       !cow_page_look(engine->machine, engine->processes[process],
			      place_addr(engine, region, page), out);
}

bool simulation_looks(struct simulation *simulation, uint32_t process, struct page_looks *looks)
{
	struct engine *engine = &simulation->engine;
	uint32_t number;

	*looks = (struct page_looks){ .mm = engine->processes[process].index };
	return !cow_mm_number(engine->machine, engine->processes[process], &number);
}

void simulation_look_next(struct simulation *simulation, struct page_looks *looks, uint32_t region,
			  uint64_t page, struct cow_page *out)
{
	struct engine *engine = &simulation->engine;

	page_look_next(engine->machine, looks, engine->base + engine->pages[region] + page, out);
}
