/* SPDX-License-Identifier: MIT
 *
 * Worlds: made, put aside, taken up again, moved on by one event.
 */
#include "explore/world.h"
#include "engine/engine.h"

#include <stddef.h>

enum { ARENA_SIZE = 256 << 10, WATCHED = 1024 };

/* Looks over the policy's shoulder: does an answer depend on what is held to be ignored? */
struct watch {
	const struct cow_policy *policy;
	const struct cow_audit *audit;
	unsigned blind, exposed;
	uint64_t known[WATCHED]; /* views that were tried, by hash; 0: none */
};

static struct cow_view flip(struct cow_view view, unsigned bits)
{
	view.mm_has_pinned ^= bits & BLIND_PINNED ? 1u : 0;
	view.vma_had_write_ref ^= bits & BLIND_WRITE_REF ? 1u : 0;
	view.pte_dirty ^= bits & BLIND_DIRTY ? 1u : 0;
	return view;
}

/* Tries a view in all the ways that would count as equal. */
static void watch_view(struct watch *watch, enum cow_decision_id id, struct cow_view view,
		       unsigned sure)
{
	cow_decide_fn *decide = watch->policy->decide[id];
	enum cow_action action = decide(view)->action;

	for (unsigned bits = 1; bits <= BLIND_ALL; bits++)
		if (!(bits & ~watch->blind) && !(bits & (watch->exposed | sure)) &&
		    decide(flip(view, bits))->action != action)
			watch->exposed |= bits;
}

static void watch_decision(void *ctx, const struct cow_decision *decision)
{
	struct watch *watch = ctx;
	/* Who holds a pin has taken one: that is no bit that could be different. */
	unsigned sure = watch->audit->processes[decision->process].pins ? BLIND_PINNED : 0;
	uint64_t word, key, slot;

	memcpy(&word, &decision->view, sizeof(word));
	key = ((word ^ (uint64_t)decision->id << 59 ^ (uint64_t)sure << 58) + 1) *
	      UINT64_C(0x9e3779b97f4a7c15);
	slot = key >> 54;
	if (watch->known[slot] == key)
		return;
	watch->known[slot] = key;
	watch_view(watch, decision->id, decision->view, sure);
}

/* What the kernel part asks without telling: of a VMA that is forked, and of one that has no page yet. */
static void watch_untold(struct watch *watch)
{
	for (unsigned bits = 0; bits < 256; bits++) {
		struct cow_view view = { .vma_write = bits & 1, .vma_cow = bits >> 1 & 1,
					 .req_write = bits >> 2 & 1, .req_pin = bits >> 3 & 1,
					 .req_longterm = bits >> 4 & 1,
					 .req_cow_broken = bits >> 5 & 1,
					 .mm_has_pinned = bits >> 6 & 1,
					 .vma_had_write_ref = bits >> 7 & 1 };

		watch_view(watch, COW_DECIDE_GUP, view, 0);
		if (!(bits & 0x3c))
			watch_view(watch, COW_DECIDE_TRACK, view, 0);
	}
}

/* What the engine wants of a run that is none: an allocator, and the geometry. */
struct engine_needs {
	cow_report report;
	struct cow_run_options options;
	struct watch watch;
};

unsigned world_exposed(const struct world *world)
{
	unsigned exposed = 0;

	for (uint32_t i = 0; i < world->rules->sides; i++)
		exposed |= world->sides[i].needs->watch.exposed;
	return exposed;
}

static void *arena_zalloc(void *ctx, size_t size)
{
	struct arena *arena = ctx;
	void *memory = arena->base + arena->top;

	size = (size + 15) & ~(size_t)15;
	if (size > arena->size - arena->top)
		return NULL;
	arena->top += size;
	return memset(memory, 0, size);
}

/* What is given back is not used again: growth is rare, and the next image_load undoes it. */
static void arena_release(void *ctx, void *memory, size_t size)
{
	(void)ctx;
	(void)memory;
	(void)size;
}

uint32_t place_count(const struct rules *rules)
{
	return (rules->pages > 1 ? 1 + rules->pages : 1) + (rules->huge ? rules->pages : 0);
}

struct place place_of(const struct rules *rules, uint32_t operand)
{
	uint32_t parts = rules->pages > 1 ? 1 + rules->pages : 1;

	if (!operand)
		return (struct place){ 0, rules->pages * rules->unit };
	if (operand < parts)
		return (struct place){ (operand - 1) * rules->unit, rules->unit };
	return (struct place){ (operand - parts) * rules->unit, 1 };
}

/* Slots that each pool begins with: enough for most states, since all of them are copied. */
static void first_slots(const struct rules *rules, uint32_t first[POOL_COUNT])
{
	uint32_t pages = rules->processes * rules->pages * rules->unit;
	uint32_t vmas = rules->processes * (rules->pages > 1 ? rules->pages : 1);

	for (int id = 0; id < POOL_COUNT; id++)
		first[id] = 1;
	first[POOL_FRAME] = first[POOL_BODY] = (uint32_t)rules->frames + 1;
	if (first[POOL_FRAME] > 64)
		first[POOL_FRAME] = first[POOL_BODY] = 64;
	first[POOL_TABLE] = 1 + rules->processes * rules->geometry.levels + 2;
	first[POOL_INFO] = first[POOL_TABLE];
	first[POOL_VMA] = 1 + vmas + 4;
	first[POOL_ANON] = 1 + 2 * vmas + 2;
	first[POOL_AVC] = 1 + 2 * vmas + 6;
	first[POOL_MM] = 1 + rules->processes;
	first[POOL_REF] = 1 + rules->refs;
	first[POOL_LINK] = 1 + rules->refs * rules->pages + 3;
	if (rules->swapped)
		first[POOL_SLOT] = 1 + pages;
}

static int side_make(struct side *side, const struct rules *rules, uint32_t index,
		     const struct cow_allocator *allocator)
{
	struct cow_config config;
	uint32_t first[POOL_COUNT];
	int error;

	side->arena.base = cow_zalloc_(allocator, ARENA_SIZE);
	if (!side->arena.base)
		return -ENOMEM;
	side->arena.size = ARENA_SIZE;
	cow_config_init(&config);
	config.frames = rules->frames;
	config.swap = rules->swap;
	config.no_swap = !rules->swap;
	config.geometry = rules->geometry;
	config.policy = rules->policy[index];
	config.allocator = (struct cow_allocator){ arena_zalloc, arena_release, &side->arena };
	first_slots(rules, first);
	error = machine_create(&config, first, &side->machine);
	if (!error)
		error = audit_attach(side->machine,
				     &(struct audit_room){ first[POOL_FRAME] + 1,
							   first[POOL_SLOT] + 1,
							   1 + rules->refs * rules->pages *
								   rules->unit, 7, 8 },
				     &side->audit);
	if (error)
		return error;
	side->needs = cow_zalloc_(allocator, sizeof(*side->needs));
	if (!side->needs)
		return -ENOMEM;
	side->needs->report.allocator = config.allocator;
	cow_run_options_init(&side->needs->options);
	side->needs->options.geometry = rules->geometry;
	side->engine = arena_zalloc(&side->arena, sizeof(*side->engine));
	side->bound = arena_zalloc(&side->arena, sizeof(*side->bound));
	if (!side->engine || !side->bound)
		return -ENOMEM;
	*side->engine = (struct engine){
		.policy = rules->policy[index], .options = &side->needs->options,
		.report = &side->needs->report, .machine = side->machine, .audit = side->audit,
		.processes = arena_zalloc(&side->arena, MOST_PROCESSES * sizeof(cow_mm)),
		.refs = arena_zalloc(&side->arena, MOST_REFS * sizeof(cow_ref)),
		.pages = arena_zalloc(&side->arena, 2 * sizeof(uint64_t)),
	};
	side->processes = side->engine->processes;
	side->refs = side->engine->refs;
	if (!side->processes || !side->refs || !side->engine->pages)
		return -ENOMEM;
	side->engine->pages[1] = rules->home;
	side->needs->watch.policy = rules->policy[index];
	side->needs->watch.blind = rules->blind;
	if (rules->blind) {
		struct cow_observer observer = { .size = sizeof(observer),
						 .ctx = &side->needs->watch,
						 .decision = watch_decision };

		error = cow_machine_observe(side->machine, &observer);
		if (error)
			return error;
		side->needs->watch.audit = side->audit;
		watch_untold(&side->needs->watch);
	}
	error = numbers_reserve(side->engine, 8);
	if (!error)
		error = cow_mm_create(side->machine, &side->engine->processes[0]);
	if (error)
		return error;
	side->engine->most = side->engine->processes[0].generation;
	side->bound->alive = 1;
	return 0;
}

/* The state: all of the arena but what of a machine and of an audit only counts, caches or tells. */
static void side_spans(struct side *side)
{
	size_t machine = (size_t)((char *)side->machine - side->arena.base);
	size_t audit = (size_t)((char *)side->audit - side->arena.base);

	side->spans[0].first = machine;
	side->spans[0].end = machine + offsetof(struct cow_machine, pages);
	side->spans[1].first = machine + sizeof(struct cow_machine);
	side->spans[1].end = audit;
	side->spans[2].first = audit;
	side->spans[2].end = audit + offsetof(struct cow_audit, findings);
	side->spans[3].first = audit + sizeof(struct cow_audit);
	side->spans[3].end = side->arena.top;
}

int world_open(struct world *world, const struct rules *rules, const struct cow_allocator *allocator)
{
	int error = 0;

	memset(world, 0, sizeof(*world));
	world->rules = rules;
	world->allocator = *allocator;
	for (uint32_t i = 0; i < rules->sides && !error; i++) {
		error = side_make(&world->sides[i], rules, i, allocator);
		if (!error)
			side_spans(&world->sides[i]);
	}
	return error;
}

void world_close(struct world *world)
{
	for (uint32_t i = 0; world->rules && i < world->rules->sides; i++) {
		struct side *side = &world->sides[i];

		cow_release_(&world->allocator, side->needs, sizeof(*side->needs));
		cow_release_(&world->allocator, side->arena.base, ARENA_SIZE);
	}
}

static size_t side_bytes(const struct side *side)
{
	size_t bytes = side->arena.top - side->spans[3].first;

	for (int i = 0; i < 3; i++)
		bytes += side->spans[i].end - side->spans[i].first;
	return bytes;
}

size_t world_bytes(const struct world *world)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < world->rules->sides; i++)
		bytes += side_bytes(&world->sides[i]);
	return bytes;
}

int image_save(const struct world *world, struct image *image)
{
	size_t bytes = world_bytes(world);
	char *to;

	if (bytes > image->room) {
		char *more = cow_zalloc_(&world->allocator, bytes + bytes / 2);

		if (!more)
			return -ENOMEM;
		image_free(world, image);
		image->bytes = more;
		image->room = bytes + bytes / 2;
	}
	to = image->bytes;
	for (uint32_t i = 0; i < world->rules->sides; i++) {
		const struct side *side = &world->sides[i];

		image->top[i] = side->arena.top;
		for (int s = 0; s < 4; s++) {
			size_t first = side->spans[s].first;
			size_t size = (s < 3 ? side->spans[s].end : side->arena.top) - first;

			memcpy(to, side->arena.base + first, size);
			to += size;
		}
	}
	return 0;
}

void image_load(struct world *world, const struct image *image)
{
	const char *from = image->bytes;

	for (uint32_t i = 0; i < world->rules->sides; i++) {
		struct side *side = &world->sides[i];

		side->arena.top = image->top[i];
		for (int s = 0; s < 4; s++) {
			size_t first = side->spans[s].first;
			size_t size = (s < 3 ? side->spans[s].end : side->arena.top) - first;

			memcpy(side->arena.base + first, from, size);
			from += size;
		}
		machine_forget(side->machine);
	}
}

void image_free(const struct world *world, struct image *image)
{
	cow_release_(&world->allocator, image->bytes, image->room);
	image->bytes = NULL;
	image->room = 0;
}

static uint32_t lowest_free(uint32_t set)
{
	uint32_t name = 0;

	while (set >> name & 1)
		name++;
	return name;
}

/* Values that are written once each: behind those that kinds may name. */
enum { FRESH_VALUE = 0x10 };

struct cow_event move_event(const struct world *world, struct move move)
{
	const struct rules *rules = world->rules;
	const struct cow_kind *row = &rules->rows[move.row];
	const struct bound *bound = world->sides[0].bound;
	struct cow_event event = { .verb = row->verb, .process = move.process, .target = COW_NONE,
				   .region = bound->homes[move.process], .other = COW_NONE,
				   .ref = COW_NONE, .file = COW_NONE, .times = 1,
				   .flags = row->flags, .prot = row->prot };
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
		event.target = move.process; /* through /proc/self/mem: whose it is does not matter */
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
			came_to->outcome, came_to->error, came_to->failed, came_to->has_value,
			is_uniform(&event, came_to), came_to->result.value,
		};
		out->verdict[i] = side->audit->verdict;
		rebind(side, &event, came_to);
	}
	out->found = found[0];
	if (world->rules->sides > 1)
		out->found = differs(&all[0], &all[1]) ||
					     ((found[0] ^ found[1]) &
					      ((1u << COW_VERDICT_COUNT) - 1)) ||
					     copies[0] != copies[1]
				     ? COW_FIND(DIFFERENCE)
				     : 0;
	return 0;
}
