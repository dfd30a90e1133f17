/* SPDX-License-Identifier: MIT
 *
 * A scenario on the running kernel: sets it up, does one statement after the other, tells a watcher
 * what was seen, and leaves nothing behind.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <unistd.h>

enum { CALM_PAGES = 256 }; /* more are not read all at once */

static void *make(const struct cow_host *host, size_t count, size_t size)
{
	return cow_zalloc_(&host->allocator, (count ? count : 1) * size);
}

static void unmake(const struct cow_host *host, void *memory, size_t count, size_t size)
{
	cow_release_(&host->allocator, memory, (count ? count : 1) * size);
}

static uint64_t total_pages(const cow_scenario *scenario)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < scenario->region_count; i++)
		pages += scenario->region_info[i].pages;
	return pages;
}

static int set_up(struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	struct cow_host *host = run->host;
	uint64_t pages = total_pages(scenario), window = 0;
	uint64_t *layout = make(host, scenario->region_count, sizeof(*layout));

	run->region = make(host, scenario->region_count, sizeof(*run->region));
	run->slots = scenario->swap + 2;
	run->cached = make(host, run->slots, sizeof(*run->cached));
	run->before = make(host, pages, sizeof(*run->before));
	run->after = make(host, pages, sizeof(*run->after));
	run->left = make(host, scenario->statement_count, sizeof(*run->left));
	if (!layout || !run->region || !run->cached || !run->before ||
	    !run->after || !run->left) {
		unmake(host, layout, scenario->region_count, sizeof(*layout));
		return -ENOMEM;
	}
	/* where nothing is huge all regions can lie beside each other, and be looked at together */
	scenario_lay_out(scenario, run->company == COW_CALM && !run->sized ? 1 : HOST_PMD, layout);
	for (uint32_t i = 0; i < scenario->region_count; i++) {
		uint64_t end = layout[i] + scenario->region_info[i].pages;

		run->region[i] = (struct host_region){ .page = layout[i], .file = COW_NONE };
		window = end > window ? end : window;
	}
	unmake(host, layout, scenario->region_count, sizeof(*layout));
	return run->company == COW_CALM
		       ? look_calmly(host, HOST_BASE, window <= CALM_PAGES ? window : 0) : 0;
}

static void tear_down(struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	struct cow_host *host = run->host;
	uint64_t pages = total_pages(scenario);

	processes_end(run);
	look_warily(host);
	references_close(run);
	for (uint32_t i = 0; i < HOST_FILES; i++)
		if (run->file[i] >= 0)
			close(run->file[i]);
	if (run->company != COW_CALM)
		settings_restore(host->guard.journal, run->settings);
	unmake(host, run->region, scenario->region_count, sizeof(*run->region));
	unmake(host, run->cached, run->slots, sizeof(*run->cached));
	unmake(host, run->before, pages, sizeof(*run->before));
	unmake(host, run->after, pages, sizeof(*run->after));
	unmake(host, run->left, scenario->statement_count, sizeof(*run->left));
}

static int start_workers(struct host_run *run)
{
	struct host_order drain = { .kind = ORDER_DRAIN };
	int error = 0;

	for (uint32_t i = 0; i < run->scenario->started && !error; i++) {
		error = process_start_first(run, i);
		if (!error)
			error = ksm_enter(run, i);
	}
	if (!error && run->scenario->lru_batch) /* what they touched to be there is none of it */
		error = process_order(run, 0, &drain);
	return error;
}

static int do_statement(struct host_run *run, uint32_t index, const struct host_watcher *watcher)
{
	const struct scenario_statement *statement = &run->scenario->statements[index];
	struct host_seen seen = { 0 };
	int error = 0;

	if (statement->kind == STATEMENT_EVENT)
		error = host_apply(run, index, &seen);
	return error ? error : watcher->seen(watcher->ctx, run, index, &seen);
}

static int do_statements(struct host_run *run, const struct host_watcher *watcher)
{
	const cow_scenario *scenario = run->scenario;
	int result = 0;

	for (uint32_t i = 0; i < scenario->statement_count && !result; i++) {
		const struct scenario_statement *statement = &scenario->statements[i];
		bool event = statement->kind == STATEMENT_EVENT;

		run->line = statement->line;
		if (event && statement->event.verb == COW_EV_REPEAT) {
			run->left[i] = statement->event.value; /* at least 1 */
		} else if (event && statement->event.verb == COW_EV_END) {
			if (--run->left[statement->partner])
				i = statement->partner;
		} else {
			result = do_statement(run, i, watcher);
		}
	}
	return result;
}

/*
 * Who was ended by somebody else let go of pages that others see.  So nobody is believed before all
 * who should be there have answered once more.
 */
static void ask_all(struct host_run *run)
{
	const struct host_order order = { .kind = ORDER_DRAIN };

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		if (run->process[slot].pid && process_order(run, slot, &order))
			break;
}

int host_run(struct cow_host *host, const cow_scenario *scenario,
	     const struct host_watcher *watcher, enum cow_host_status *status)
{
	struct host_run run = { .host = host, .scenario = scenario };
	int result;

	for (uint32_t i = 0; i < HOST_FILES; i++)
		run.file[i] = -1;
	host->reason[0] = 0;
	host->nursery_lost = false;
	*status = COW_HOST_SKIPPED;
	if (!plan_allows(&run))
		return 0;
	run.company = plan_company(&run);
	result = lane_enter(&run);
	if (result)
		return result;
	result = set_up(&run);
	if (!result && plan_prepare(&run)) {
		*status = COW_HOST_DONE;
		result = start_workers(&run);
		if (!result)
			result = do_statements(&run, watcher);
		if ((result || watcher->writes) && !run.skipped && !run.dead)
			ask_all(&run);
	}
	if (host->nursery_lost) {
		run.dead = true;
		host_say(host, "%.100s:%u: the process that starts the others died",
			 cow_scenario_name(scenario), run.line ? run.line : 1);
	}
	if (run.skipped || run.dead) {
		*status = run.skipped && !run.dead ? COW_HOST_SKIPPED : COW_HOST_LOST;
		result = 0;
	}
	tear_down(&run);
	lane_leave(&run);
	return result < 0 ? result : 0;
}
