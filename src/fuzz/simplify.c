/* SPDX-License-Identifier: MIT
 *
 * Ways to make a draft simpler without leaving an event out: a header line less, one process or
 * region in place of two, fewer pages, smaller places, plain flags, small values.
 * Each way either changes something, and makes it strictly simpler, or says that it does not: so
 * trying them over and over comes to an end.
 */
#include "fuzz/draft.h"

enum { HUGE_PAGES = 512 };

/* ------------------------------------------------------------------ the header */

enum { HEADER_COUNTS = 4, HEADER_WAYS = HEADER_COUNTS + OPTION_COUNT };

static bool simpler_header(struct cow_scenario *scenario, uint32_t way)
{
	unsigned bit = way < HEADER_COUNTS ? 1u << way : 1u << (way - HEADER_COUNTS);
	unsigned *set = way < HEADER_COUNTS ? &scenario->given : &scenario->options;

	if (!(*set & bit))
		return false;
	*set &= ~bit; /* what is not printed has its default when it is parsed */
	return true;
}

/* ------------------------------------------------------------------ processes and regions */

/* The later process is the earlier one: its fork goes, and what it does the other does. */
static bool merge_processes(struct cow_scenario *scenario, uint32_t index)
{
	uint32_t child = scenario->statements[index].event.target;
	uint32_t parent = scenario->statements[index].event.process;

	if (scenario->statements[index].event.verb != COW_EV_FORK)
		return false;
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct cow_event *event = &scenario->statements[i].event;

		if (event->process == child)
			event->process = parent;
		if (event->target == child && event->verb != COW_EV_FORK)
			event->target = parent;
	}
	scenario->statement_count--;
	memmove(&scenario->statements[index], &scenario->statements[index + 1],
		(scenario->statement_count - index) * sizeof(*scenario->statements));
	return true;
}

/* Places of a region stay within it. */
static void clamp_places(struct cow_scenario *scenario, uint32_t region, uint64_t pages)
{
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct cow_event *event = &scenario->statements[i].event;

		if (event->region != region || event->verb == COW_EV_MMAP)
			continue;
		if (event->first >= pages)
			event->first = pages - 1;
		if (event->pages > pages - event->first)
			event->pages = pages - event->first;
	}
}

/* Region `other` is `region`: its mmap goes. */
static bool merge_regions(struct cow_scenario *scenario, uint32_t index, uint32_t region)
{
	uint32_t other = scenario->statements[index].event.region;

	if (scenario->statements[index].event.verb != COW_EV_MMAP || region >= other)
		return false;
	scenario->statement_count--;
	memmove(&scenario->statements[index], &scenario->statements[index + 1],
		(scenario->statement_count - index) * sizeof(*scenario->statements));
	clamp_places(scenario, other, scenario->region_info[region].pages);
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct cow_event *event = &scenario->statements[i].event;

		if (event->region == other)
			event->region = region;
		if (event->other == other)
			event->other = region;
	}
	return true;
}

/* What was moved stays where it was. */
static bool no_move(struct cow_scenario *scenario, uint32_t index)
{
	const struct cow_event move = scenario->statements[index].event;

	if (move.verb != COW_EV_MREMAP && move.verb != COW_EV_UFFD_MOVE)
		return false;
	scenario->statement_count--;
	memmove(&scenario->statements[index], &scenario->statements[index + 1],
		(scenario->statement_count - index) * sizeof(*scenario->statements));
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct cow_event *event = &scenario->statements[i].event;

		if (event->other == move.other)
			event->other = move.region;
		if (event->region != move.other)
			continue;
		event->region = move.region;
		event->first += move.first;
	}
	return true;
}

/* ------------------------------------------------------------------ pages */

/* The pages that a new region has; 0: the event makes none. */
static uint64_t region_pages(const struct cow_event *event)
{
	return event->verb == COW_EV_MMAP ? event->pages : 0;
}

static bool fewer_pages(struct cow_scenario *scenario, struct cow_event *event, uint64_t pages)
{
	if (!region_pages(event) || event->pages <= pages)
		return false;
	event->pages = pages;
	scenario->region_info[event->region].pages = pages;
	clamp_places(scenario, event->region, pages);
	return true;
}

static bool has_place(const struct cow_event *event)
{
	return event->region != COW_NONE && event->verb != COW_EV_MMAP;
}

/* A move makes a region as long as its place. */
static void place_set(struct cow_scenario *scenario, struct cow_event *event, uint64_t first,
		      uint64_t pages)
{
	event->first = first;
	event->pages = pages;
	if (event->verb != COW_EV_MREMAP && event->verb != COW_EV_UFFD_MOVE)
		return;
	scenario->region_info[event->other].pages = pages;
	clamp_places(scenario, event->other, pages);
}

/* ------------------------------------------------------------------ values and flags */

/* The values that are written become 1, 2, 3 ..., equal ones staying equal. */
static bool small_values(struct cow_scenario *scenario)
{
	uint64_t next = 0;
	bool any = false;

	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct cow_event *event = &scenario->statements[i].event;
		uint64_t old = event->value;

		if (!old || (event->verb != COW_EV_WRITE && event->verb != COW_EV_POKE &&
			     event->verb != COW_EV_FORCE_WRITE && event->verb != COW_EV_FILE_WRITE))
			continue;
		if (old <= next)
			continue;
		next++;
		any |= old != next;
		for (uint32_t j = i; j < scenario->statement_count && old != next; j++)
			if (scenario->statements[j].event.value == old &&
			    scenario->statements[j].event.verb != COW_EV_REPEAT)
				scenario->statements[j].event.value = next;
	}
	return any;
}

static bool flag_off(struct cow_event *event, unsigned flag)
{
	if (!(event->flags & flag))
		return false;
	event->flags &= ~flag;
	return true;
}

static bool plain_mmap(struct cow_event *event, uint32_t way)
{
	if (event->verb != COW_EV_MMAP)
		return false;
	switch (way) {
	case 0:
		event->other = COW_NONE;
		return flag_off(event, COW_EVENT_AFTER);
	case 1:
		return flag_off(event, COW_MAP_SHARED);
	case 2:
		if (!flag_off(event, COW_EVENT_FILE))
			return false;
		event->file = COW_NONE;
		event->first = 0;
		return true;
	case 3:
		return flag_off(event, COW_EVENT_HUGETLB);
	case 4:
		return flag_off(event, COW_EVENT_THP | COW_MAP_ORDER(15));
	case 5:
		return flag_off(event, COW_MAP_ORDER(15));
	default:
		if (event->prot == COW_PROT_RW)
			return false;
		event->prot = COW_PROT_RW;
		return true;
	}
}

static bool plain_reference(struct cow_event *event, uint32_t way)
{
	static const unsigned flags[] = { COW_GUP_FAST, COW_GUP_LONGTERM, COW_GUP_WRITE };

	if (event->verb != COW_EV_GET && event->verb != COW_EV_PIN)
		return false;
	if (way < 3)
		return flag_off(event, flags[way]);
	if (event->times <= 1)
		return false;
	event->times = 1;
	return true;
}

static bool one_round(struct cow_event *event)
{
	if (event->verb != COW_EV_REPEAT || event->value == 1)
		return false;
	event->value = 1;
	return true;
}

static bool first_process(struct cow_event *event)
{
	if (!event->process || event->process == COW_NONE)
		return false;
	event->process = 0;
	return true;
}

static bool first_target(struct cow_event *event)
{
	if (!event->target || event->target == COW_NONE || event->verb == COW_EV_FORK)
		return false;
	event->target = 0;
	return true;
}

/* ------------------------------------------------------------------ the ways */

enum {
	WAY_MERGE_PROCESS, WAY_NO_MOVE, WAY_MERGE_REGION, WAY_MERGE_REGION_2, WAY_ONE_PAGE,
	WAY_TWO_PAGES, WAY_HUGE_PAGE, WAY_PLACE_FIRST, WAY_PLACE_LAST, WAY_PLACE_START,
	WAY_PLACE_MIDDLE, WAY_MMAP, WAY_REFERENCE = WAY_MMAP + 7,
	WAY_ROUND = WAY_REFERENCE + 4, WAY_PROCESS,
	WAY_TARGET, WAYS_OF_EVENT
};

static bool simpler_event(struct cow_scenario *scenario, uint32_t index, uint32_t way)
{
	struct cow_event *event = &scenario->statements[index].event;

	switch (way) {
	case WAY_MERGE_PROCESS:
		return merge_processes(scenario, index);
	case WAY_NO_MOVE:
		return no_move(scenario, index);
	case WAY_MERGE_REGION:
	case WAY_MERGE_REGION_2:
		return merge_regions(scenario, index, way - WAY_MERGE_REGION);
	case WAY_ONE_PAGE:
		return fewer_pages(scenario, event, 1);
	case WAY_TWO_PAGES:
		return fewer_pages(scenario, event, 2);
	case WAY_HUGE_PAGE:
		return fewer_pages(scenario, event, HUGE_PAGES);
	case WAY_PLACE_FIRST:
		if (!has_place(event) || event->pages <= 1)
			return false;
		place_set(scenario, event, event->first, 1);
		return true;
	case WAY_PLACE_LAST:
		if (!has_place(event) || event->pages <= 1)
			return false;
		place_set(scenario, event, event->first + event->pages - 1, 1);
		return true;
	case WAY_PLACE_START:
		if (!has_place(event) || event->pages != 1 || !event->first)
			return false;
		place_set(scenario, event, 0, 1);
		return true;
	case WAY_PLACE_MIDDLE:
		if (!has_place(event) || event->pages < 4)
			return false;
		place_set(scenario, event, event->first, (event->pages + 1) / 2);
		return true;
	case WAY_ROUND:
		return one_round(event);
	case WAY_PROCESS:
		return first_process(event);
	case WAY_TARGET:
		return first_target(event);
	default:
		return way < WAY_REFERENCE ? plain_mmap(event, way - WAY_MMAP)
					   : plain_reference(event, way - WAY_REFERENCE);
	}
}

int draft_simplify(struct draft *draft, uint32_t step)
{
	struct cow_scenario *scenario = &draft->scenario;

	if (step < HEADER_WAYS)
		return !simpler_header(scenario, step);
	step -= HEADER_WAYS;
	if (!step)
		return !small_values(scenario);
	step--;
	if (step / WAYS_OF_EVENT >= scenario->statement_count)
		return -1;
	return !simpler_event(scenario, step / WAYS_OF_EVENT, step % WAYS_OF_EVENT);
}
