/* SPDX-License-Identifier: MIT
 *
 * What can be asked of a parsed scenario, where its regions lie, and its end.
 * Owns the release of everything that the parser made.  Never parses; read parse.c for that.
 */
#include "event/intern.h"
#include "base/alloc.h"

bool scenario_match(const char *pattern, const char *name)
{
	size_t length = strlen(pattern);

	if (length && pattern[length - 1] == '*')
		return !strncmp(pattern, name, length - 1);
	return !strcmp(pattern, name);
}

static bool matches_any(char *const *patterns, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (scenario_match(patterns[i], name))
			return true;
	return false;
}

const struct scenario_choice *scenario_choose(const struct cow_scenario *scenario,
					      struct scenario_assertion assertion,
					      const char *policy)
{
	const struct scenario_choice *choices = scenario->choices + assertion.first_choice;

	if (!assertion.choices)
		return NULL;
	for (uint32_t i = 1; i < assertion.choices; i++)
		if (matches_any(scenario->patterns + choices[i].first_pattern,
				choices[i].patterns, policy))
			return &choices[i];
	return &choices[0];
}

void scenario_lay_out(const struct cow_scenario *scenario, uint64_t huge, uint64_t *page)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < scenario->region_count; i++) {
		const struct scenario_region *region = &scenario->region_info[i];

		if (region->head != i) {
			page[i] = page[region->head] + region->offset;
			continue;
		}
		page[i] = next;
		if (region->source != COW_NONE)
			page[i] += (page[region->source] + region->source_page) % huge;
		next = (page[i] + region->span + huge - 1) / huge * huge + huge;
	}
}

void scenario_strip(struct cow_scenario *scenario)
{
#define X(field)                                                                             \
	cow_release_(&scenario->allocator, scenario->field,                                  \
		     scenario->room[SCENARIO_ARRAY_##field] * sizeof(*scenario->field));     \
	scenario->field = NULL;                                                              \
	scenario->room[SCENARIO_ARRAY_##field] = 0;
	SCENARIO_ARRAYS(X)
#undef X
	scenario->process_count = scenario->region_count = scenario->ref_count = 0;
	scenario->file_count = scenario->wanted_count = scenario->pattern_count = 0;
	scenario->fact_count = scenario->choice_count = scenario->statement_count = 0;
	scenario->event_count = scenario->text_count = scenario->started = 0;
}

void cow_scenario_free(cow_scenario *scenario)
{
	struct cow_allocator allocator;

	if (!scenario)
		return;
	allocator = scenario->allocator;
	scenario_strip(scenario);
	cow_release_(&allocator, scenario->diagnostics,
		     SCENARIO_DIAGNOSTICS * sizeof(*scenario->diagnostics));
	cow_release_(&allocator, scenario->diagnostic_text,
		     SCENARIO_DIAGNOSTICS * (SCENARIO_LINE_BYTES + 1));
	arena_free(&allocator, scenario->strings);
	cow_release_(&allocator, scenario, sizeof(*scenario));
}

size_t cow_scenario_errors(const cow_scenario *scenario)
{
	return scenario->error_count;
}

const struct cow_diagnostic *cow_scenario_error(const cow_scenario *scenario, size_t index)
{
	return index < scenario->diagnostic_count ? &scenario->diagnostics[index] : NULL;
}

const char *cow_scenario_name(const cow_scenario *scenario)
{
	return scenario->name;
}

const char *cow_scenario_title(const cow_scenario *scenario)
{
	return scenario->title;
}

size_t cow_scenario_events(const cow_scenario *scenario)
{
	return scenario->event_count;
}

const struct cow_event *cow_scenario_event(const cow_scenario *scenario, size_t index)
{
	if (index >= scenario->event_count)
		return NULL;
	return &scenario->statements[scenario->events[index]].event;
}

bool cow_scenario_wants(const cow_scenario *scenario, const char *policy)
{
	return !scenario->wanted_count ||
	       matches_any(scenario->wanted, scenario->wanted_count, policy);
}
