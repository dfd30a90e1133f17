/* SPDX-License-Identifier: MIT
 *
 * Drafts: copying a scenario's events, taking some out, and keeping the rest whole.
 */
#include "fuzz/draft.h"

int text_sink(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;
	void *array = text->bytes;

	if (array_grow(&text->allocator, &array, &text->room, text->size + size, 1))
		return -ENOMEM;
	text->bytes = array;
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	return 0;
}

void text_free(struct text *text)
{
	cow_release_(&text->allocator, text->bytes, text->room);
	text->bytes = NULL;
	text->size = text->room = 0;
}

int scenario_again(const struct cow_scenario *scenario, const struct cow_allocator *allocator,
		   cow_scenario **out)
{
	struct text text = { 0 };
	int error;

	*out = NULL;
	if (allocator)
		text.allocator = *allocator;
	error = cow_scenario_print(scenario, text_sink, &text);
	if (!error)
		error = cow_scenario_parse(scenario->name, text.bytes, text.size, allocator, out);
	text_free(&text);
	if (!error)
		return 0;
	cow_scenario_free(*out);
	*out = NULL;
	return error;
}

enum { ROOM_STATEMENTS, ROOM_REGIONS, ROOM_PROCESSES, ROOM_FILES, ROOM_REGION_NAMES };

static void *copy(struct draft *draft, int room, const void *from, uint32_t count, size_t size)
{
	void *to = cow_zalloc_(&draft->allocator, (count ? count : 1) * size);

	if (!to)
		return NULL;
	draft->rooms[room] = count ? count : 1;
	if (count)
		memcpy(to, from, count * size);
	return to;
}

#define RELEASE(draft, field, room)                                                          \
	cow_release_(&(draft)->allocator, (draft)->scenario.field,                           \
		     (draft)->rooms[room] * sizeof(*(draft)->scenario.field))

void draft_close(struct draft *draft)
{
	RELEASE(draft, statements, ROOM_STATEMENTS);
	RELEASE(draft, region_info, ROOM_REGIONS);
	RELEASE(draft, processes, ROOM_PROCESSES);
	RELEASE(draft, files, ROOM_FILES);
	RELEASE(draft, regions, ROOM_REGION_NAMES);
}

int draft_open(struct draft *draft, const struct cow_scenario *from,
	       const struct cow_allocator *allocator)
{
	struct cow_scenario *to = &draft->scenario;
	uint32_t count = 0;

	*draft = (struct draft){ .scenario = *from };
	if (allocator)
		draft->allocator = *allocator;
	to->statements = copy(draft, ROOM_STATEMENTS, from->statements, from->statement_count,
			      sizeof(*to->statements));
	to->region_info = copy(draft, ROOM_REGIONS, from->region_info, from->region_count,
			       sizeof(*to->region_info));
	to->processes = copy(draft, ROOM_PROCESSES, from->processes, from->process_count,
			     sizeof(*to->processes));
	to->files = copy(draft, ROOM_FILES, from->files, from->file_count, sizeof(*to->files));
	to->regions = copy(draft, ROOM_REGION_NAMES, from->regions, from->region_count,
			   sizeof(*to->regions));
	if (!to->statements || !to->region_info || !to->processes || !to->files || !to->regions) {
		draft_close(draft);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < from->statement_count; i++) {
		if (from->statements[i].kind != STATEMENT_EVENT)
			continue;
		to->statements[count] = from->statements[i];
		to->statements[count].outcome = to->statements[count].value =
			(struct scenario_assertion){ 0 };
		count++;
	}
	to->statement_count = count;
	return 0;
}

/* ------------------------------------------------------------------ what needs what */

static bool defines_region(const struct cow_event *event, uint32_t region)
{
	return event->verb == COW_EV_MMAP ? event->region == region :
	       event->verb == COW_EV_MREMAP || event->verb == COW_EV_UFFD_MOVE ?
		       event->other == region : false;
}

static bool process_there(const struct cow_scenario *scenario, uint32_t before, uint32_t process)
{
	if (process == COW_NONE || process < scenario->started)
		return true;
	for (uint32_t i = 0; i < before; i++)
		if (scenario->statements[i].event.verb == COW_EV_FORK &&
		    scenario->statements[i].event.target == process)
			return true;
	return false;
}

static bool region_there(const struct cow_scenario *scenario, uint32_t before, uint32_t region)
{
	if (region == COW_NONE)
		return true;
	for (uint32_t i = 0; i < before; i++)
		if (defines_region(&scenario->statements[i].event, region))
			return true;
	return false;
}

static bool ref_there(const struct cow_scenario *scenario, uint32_t before, uint32_t ref)
{
	if (ref == COW_NONE)
		return true;
	for (uint32_t i = 0; i < before; i++)
		if ((scenario->statements[i].event.verb == COW_EV_GET ||
		     scenario->statements[i].event.verb == COW_EV_PIN) &&
		    scenario->statements[i].event.ref == ref)
			return true;
	return false;
}

/* Every name that the statement uses is defined before it, and a repeat has its end. */
static bool stands(const struct cow_scenario *scenario, uint32_t index)
{
	const struct cow_event *event = &scenario->statements[index].event;
	uint32_t depth = 0;

	switch (event->verb) {
	case COW_EV_REPEAT:
		for (uint32_t i = index + 1; i < scenario->statement_count; i++) {
			enum cow_verb verb = scenario->statements[i].event.verb;

			if (verb == COW_EV_END && !depth--)
				return true;
			depth += verb == COW_EV_REPEAT;
		}
		return false;
	case COW_EV_END:
		for (uint32_t i = index; i--;) {
			enum cow_verb verb = scenario->statements[i].event.verb;

			if (verb == COW_EV_REPEAT && !depth--)
				return true;
			depth += verb == COW_EV_END;
		}
		return false;
	case COW_EV_MMAP:
		return process_there(scenario, index, event->process) &&
		       region_there(scenario, index, event->other);
	case COW_EV_FORK:
		return process_there(scenario, index, event->process);
	case COW_EV_GET:
	case COW_EV_PIN:
		return process_there(scenario, index, event->process) &&
		       region_there(scenario, index, event->region);
	default:
		return process_there(scenario, index, event->process) &&
		       process_there(scenario, index, event->target) &&
		       region_there(scenario, index, event->region) &&
		       ref_there(scenario, index, event->ref);
	}
}

static void take_out(struct cow_scenario *scenario, uint32_t first, uint32_t count)
{
	memmove(&scenario->statements[first], &scenario->statements[first + count],
		(scenario->statement_count - first - count) * sizeof(*scenario->statements));
	scenario->statement_count -= count;
}

/* A number above `gone` moves down by one. */
static void close_gap(uint32_t *number, uint32_t gone)
{
	if (*number != COW_NONE && *number > gone)
		--*number;
}

static void drop_unused_processes(struct cow_scenario *scenario)
{
	for (uint32_t process = scenario->started; process-- && scenario->started > 1;) {
		bool used = false;

		for (uint32_t i = 0; i < scenario->statement_count; i++)
			used |= scenario->statements[i].event.process == process ||
				scenario->statements[i].event.target == process;
		if (used)
			continue;
		for (uint32_t i = 0; i < scenario->statement_count; i++) {
			close_gap(&scenario->statements[i].event.process, process);
			close_gap(&scenario->statements[i].event.target, process);
		}
		memmove(&scenario->processes[process], &scenario->processes[process + 1],
			(scenario->process_count - process - 1) * sizeof(*scenario->processes));
		scenario->process_count--;
		scenario->started--;
	}
}

static void drop_unused_files(struct cow_scenario *scenario)
{
	for (uint32_t file = scenario->file_count; file--;) {
		bool used = false;

		for (uint32_t i = 0; i < scenario->statement_count; i++)
			used |= scenario->statements[i].event.file == file;
		if (used)
			continue;
		for (uint32_t i = 0; i < scenario->statement_count; i++)
			close_gap(&scenario->statements[i].event.file, file);
		memmove(&scenario->files[file], &scenario->files[file + 1],
			(scenario->file_count - file - 1) * sizeof(*scenario->files));
		scenario->file_count--;
	}
}

void draft_sweep(struct draft *draft)
{
	struct cow_scenario *scenario = &draft->scenario;
	uint32_t before;

	do {
		before = scenario->statement_count;
		for (uint32_t i = 0; i < scenario->statement_count;) {
			if (stands(scenario, i))
				i++;
			else
				take_out(scenario, i, 1);
		}
	} while (scenario->statement_count != before);
	drop_unused_processes(scenario);
	drop_unused_files(scenario);
}

void draft_drop(struct draft *draft, uint32_t first, uint32_t count)
{
	take_out(&draft->scenario, first, count);
	draft_sweep(draft);
}
