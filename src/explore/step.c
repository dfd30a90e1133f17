/* SPDX-License-Identifier: MIT
 *
 * One event further: from a move to the event that it is now, done by the engine, and what it came
 * to.
 */
#include "explore/world.h"
#include "engine/engine.h"

static uint32_t lowest_free(uint32_t set)
{
	uint32_t name = 0;

	while (set >> name & 1)
		name++;
	return name;
}

struct cow_event move_event(const struct world *world, struct move move)
{
	const struct rules *rules = world->rules;
	const struct cow_kind *row = &rules->rows[move.row];
	const struct bound *bound = world->sides[0].bound;
	struct cow_event event = { .verb = row->verb,
				   .process = move.process,
				   .target = COW_NONE,
				   .region = bound->homes[move.process],
				   .other = COW_NONE,
				   .ref = COW_NONE,
				   .file = COW_NONE,
				   .times = 1,
				   .flags = row->flags,
				   .prot = row->prot };
	struct place place = { 0, rules->pages * rules->unit };
	bool fresh = !row->value;

	switch (row->verb) {
	case COW_EV_FORK:
		event.target = lowest_free(bound->alive);
		break;
	case COW_EV_EXIT:
	case COW_EV_CLEAR_REFS:
	case COW_EV_WRITEBACK_DONE:
	case COW_EV_KSM:
		event.region = COW_NONE;
		break;
	case COW_EV_MMAP:
		event.region = 0;
		event.pages = place.pages;
		break;
	case COW_EV_PEEK:
	case COW_EV_POKE:
	case COW_EV_RELEASE:
		event.region = COW_NONE;
		event.ref = move.operand;
		break;
	case COW_EV_FORCE_WRITE:
		event.target =
			move.process; /* through /proc/self/mem: whose it is does not matter */
		event.first = move.operand * rules->unit;
		event.pages = 1;
		break;
	case COW_EV_MREMAP:
		event.pages = place.pages;
		event.other = !bound->homes[move.process];
		break;
	case COW_EV_GET:
	case COW_EV_PIN:
		event.ref = lowest_free(bound->held);
		/* fallthrough */
	default:
		place = place_of(rules, move.operand);
		event.first = place.first;
		event.pages = place.pages;
		if (row->verb == COW_EV_UFFD_WP)
			fresh = false;
	}
	event.value = fresh ? (uint64_t)FRESH_VALUE + bound->depth : row->value;
	if (event.region == COW_NONE && row->verb != COW_EV_EXIT && row->verb != COW_EV_CLEAR_REFS)
		event.process = COW_NONE;
	/* Of an event of the kernel the process is the one whose place it is. */
	switch (row->verb) {
	case COW_EV_SWAP_OUT:
	case COW_EV_SWAP_OUT_BEGIN:
	case COW_EV_DROP:
	case COW_EV_SWAP_IN:
	case COW_EV_MIGRATE:
	case COW_EV_NUMA_HINT:
	case COW_EV_SPLIT:
		event.target = event.process;
		event.process = COW_NONE;
		break;
	default:
		break;
	}
	return event;
}

/* The bindings after an event. */
static void rebind(struct side *side, const struct cow_event *event, const struct came_to *came_to)
{
	struct bound *bound = side->bound;

	bound->depth++;
	if (came_to->outcome == COW_OUT_OOM || came_to->outcome == COW_OUT_KILLED) {
		bound->alive &= ~(1u << event->process);
		return;
	}
	if (came_to->failed)
		return;
	switch (event->verb) {
	case COW_EV_FORK:
		bound->alive |= 1u << event->target;
		bound->homes[event->target] = bound->homes[event->process];
		break;
	case COW_EV_EXIT:
		bound->alive &= ~(1u << event->process);
		break;
	case COW_EV_MMAP:
		bound->homes[event->process] = 0;
		break;
	case COW_EV_MREMAP:
		bound->homes[event->process] = (uint8_t)event->other;
		break;
	case COW_EV_GET:
	case COW_EV_PIN:
		bound->held |= 1u << event->ref;
		break;
	case COW_EV_RELEASE:
		bound->held &= ~(1u << event->ref);
		break;
	default:
		break;
	}
}

/* Who only looks changes nothing; a hit sets the young bit at most, which nobody reads. */
static bool only_looked(const struct rules *rules, const struct cow_event *event,
			const struct came_to *came_to)
{
	if (event->verb == COW_EV_PEEK)
		return true;
	return event->verb == COW_EV_READ && !rules->never_equal && !came_to->failed &&
	       came_to->result.counts[COW_OUT_HIT] == event->pages;
}

/* One page, or pages that all came to the same; of values of several nothing is known. */
static bool is_uniform(const struct cow_event *event, const struct came_to *came_to)
{
	if (event->verb == COW_EV_FORK || event->pages <= 1)
		return came_to->result.done <= 1 || !came_to->has_value;
	return !came_to->has_value &&
	       came_to->result.counts[came_to->outcome] == came_to->result.done;
}

/* What a process can tell of it, and what it cost. */
static bool differs(const struct came_to *a, const struct came_to *b)
{
	if (a->outcome != b->outcome || a->error != b->error || a->failed != b->failed ||
	    a->has_value != b->has_value || (a->has_value && a->result.value != b->result.value))
		return true;
	return memcmp(a->result.counts, b->result.counts, sizeof(a->result.counts)) != 0;
}

int world_do(struct world *world, struct move move, struct outcome *out)
{
	struct cow_event event = move_event(world, move);
	uint64_t copies[MOST_SIDES] = { 0 };
	unsigned found[MOST_SIDES] = { 0 };
	struct came_to all[MOST_SIDES];

	out->same = true;
	for (uint32_t i = 0; i < world->rules->sides; i++) {
		struct side *side = &world->sides[i];
		uint64_t *counters = side->machine->counters;
		struct came_to *came_to = &all[i];
		uint64_t faults;
		int error;

		side->audit->verdict = 0;
		side->audit->kept = 0;
		side->audit->finding_count = 0;
		counters[COW_COUNT_NEEDLESS_COPIES] = counters[COW_COUNT_UNSAFE_REUSES] = 0;
		counters[COW_COUNT_COPIES] = counters[COW_COUNT_EARLY_COPIES] = 0;
		counters[COW_COUNT_UNSHARES] = 0;
		faults = counters[COW_COUNT_FAULTS];
		error = event_apply(side->engine, &event, NULL, came_to);
		if (error)
			return error;
		found[i] = side->audit->verdict |
			   (counters[COW_COUNT_NEEDLESS_COPIES] ? COW_FIND(NEEDLESS_COPY) : 0) |
			   (counters[COW_COUNT_UNSAFE_REUSES] ? COW_FIND(UNSAFE_REUSE) : 0);
		copies[i] = counters[COW_COUNT_COPIES] + counters[COW_COUNT_EARLY_COPIES] +
			    counters[COW_COUNT_UNSHARES];
		out->same &= faults == counters[COW_COUNT_FAULTS] &&
			     only_looked(world->rules, &event, came_to);
		out->seen[i] = (struct seen){
			came_to->outcome,
			came_to->error,
			came_to->failed,
			came_to->has_value,
			is_uniform(&event, came_to),
			came_to->result.value,
		};
		out->verdict[i] = side->audit->verdict;
		rebind(side, &event, came_to);
	}
	out->found = found[0];
	if (world->rules->sides > 1)
		out->found =
			differs(&all[0], &all[1]) ||
					((found[0] ^ found[1]) & ((1u << COW_VERDICT_COUNT) - 1)) ||
					copies[0] != copies[1]
				? COW_FIND(DIFFERENCE)
				: 0;
	return 0;
}
