/* SPDX-License-Identifier: MIT
 *
 * Filling the report while a scenario runs.
 */
#include "engine/engine.h"

#include <stdio.h>

const char *process_name(const struct engine *engine, uint32_t number)
{
	return number && number < engine->number_room
		       ? engine->scenario->processes[engine->numbers[number]].text
		       : "?";
}

static char *copy_text(const struct cow_allocator *allocator, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = cow_zalloc_(allocator, size);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

int record_failed_line(struct engine *engine, uint32_t line, const char *text,
		       const char *expected, const char *found)
{
	cow_report *report = engine->report;
	struct report_failure *failure;
	char message[1024];

	report->status = COW_RUN_FAILED;
	if (report->failure_count == REPORT_MAX_FAILURES) {
		report->failures_lost++;
		return 0;
	}
	if (array_grow(&report->allocator, (void **)&report->failures, &report->failure_room,
		       (size_t)report->failure_count + 1, sizeof(*report->failures)))
		return -ENOMEM;
	snprintf(message, sizeof(message), "%s:%u: %s: expected %s, found %s",
		 cow_scenario_name(engine->scenario), line, text, expected, found);
	failure = &report->failures[report->failure_count++];
	failure->line = line;
	failure->message = copy_text(&report->allocator, message);
	failure->text = copy_text(&report->allocator, text);
	failure->expected = copy_text(&report->allocator, expected);
	failure->found = copy_text(&report->allocator, found);
	return failure->message && failure->text && failure->expected && failure->found ? 0
											: -ENOMEM;
}

int record_failure(struct engine *engine, const struct scenario_statement *statement,
		   const char *expected, const char *found)
{
	return record_failed_line(engine, statement->line,
				  engine->scenario->text + statement->text, expected, found);
}

int record_step(struct engine *engine, uint32_t statement, const struct came_to *came_to)
{
	cow_report *report = engine->report;
	struct report_step *step;

	if (report->step_count == REPORT_MAX_STEPS) {
		report->steps_lost++;
		return 0;
	}
	if (array_grow(&report->allocator, (void **)&report->steps, &report->step_room,
		       (size_t)report->step_count + 1, sizeof(*report->steps)))
		return -ENOMEM;
	step = &report->steps[report->step_count++];
	step->statement = statement;
	step->line = engine->line;
	step->outcome = came_to->outcome;
	step->error = came_to->error;
	step->has_value = came_to->has_value;
	step->value = came_to->result.value;
	return 0;
}

int record_findings(struct engine *engine)
{
	cow_report *report = engine->report;

	while (engine->audit && engine->findings < cow_audit_findings(engine->audit)) {
		const struct cow_finding *found =
			cow_audit_finding(engine->audit, engine->findings++);
		struct report_finding *finding;
		char writer[48] = "";

		if (array_grow(&report->allocator, (void **)&report->findings,
			       &report->finding_room, (size_t)report->finding_count + 1,
			       sizeof(*report->findings)))
			return -ENOMEM;
		if (found->writer && found->writer != found->process)
			snprintf(writer, sizeof(writer), " (written by %.28s)",
				 process_name(engine, found->writer));
		finding = &report->findings[report->finding_count++];
		finding->verdict = found->verdict;
		finding->line = engine->line;
		snprintf(finding->sentence, sizeof(finding->sentence), "%.32s: %.120s%.44s",
			 process_name(engine, found->process), found->sentence, writer);
	}
	return 0;
}

/* "a[3]", or the address where no region is. */
static void place_text(const struct engine *engine, uint64_t addr, uint64_t pages, char *text,
		       size_t size)
{
	uint64_t page_size = cow_machine_page_size(engine->machine);

	for (uint32_t region = engine->scenario->region_count; region--;) {
		uint64_t start = place_addr(engine, region, 0);
		uint64_t extent = engine->scenario->region_info[region].pages;
		uint64_t first = (addr - start) / page_size;
		const char *name = engine->scenario->regions[region].text;

		if (addr < start || first >= extent)
			continue;
		if (extent == 1)
			snprintf(text, size, "%.64s", name);
		else if (pages == 1)
			snprintf(text, size, "%.64s[%llu]", name, (unsigned long long)first);
		else
			snprintf(text, size, "%.48s[%llu..%llu]", name, (unsigned long long)first,
				 (unsigned long long)(first + pages - 1));
		return;
	}
	snprintf(text, size, "0x%llx", (unsigned long long)addr);
}

void record_decision(void *ctx, const struct cow_decision *decision)
{
	struct engine *engine = ctx;
	cow_report *report = engine->report;
	struct report_decision *kept;

	if (report->decision_count == REPORT_MAX_DECISIONS) {
		report->decisions_lost++;
		return;
	}
	if (array_grow(&report->allocator, (void **)&report->decisions, &report->decision_room,
		       (size_t)report->decision_count + 1, sizeof(*report->decisions))) {
		engine->error = -ENOMEM;
		return;
	}
	kept = &report->decisions[report->decision_count++];
	kept->id = decision->id;
	kept->view = decision->view;
	kept->rule = decision->rule;
	kept->pages = decision->pages;
	snprintf(kept->process, sizeof(kept->process), "%.63s",
		 process_name(engine, decision->process));
	place_text(engine, decision->addr, decision->pages, kept->place, sizeof(kept->place));
}
