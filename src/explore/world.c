/* SPDX-License-Identifier: MIT
 *
 * Worlds: made, put aside, taken up again, moved on by one event.
 */
#include "explore/world.h"
#include "engine/engine.h"

#include <stddef.h>

enum { ARENA_SIZE = 256 << 10 };

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

uint32_t world_twins(const struct world *world)
{
	return world->sides[0].needs->watch.twins;
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
		error = audit_attach(
			side->machine,
			&(struct audit_room){ first[POOL_FRAME] + 1, first[POOL_SLOT] + 1,
					      1 + rules->refs * rules->pages * rules->unit, 7, 8 },
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
		.policy = rules->policy[index],
		.options = &side->needs->options,
		.report = &side->needs->report,
		.machine = side->machine,
		.audit = side->audit,
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
	side->needs->watch.beside = rules->beside;
	side->needs->watch.twins = rules->twins;
	if (rules->blind || rules->twins) {
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

/* The state: all of the arena but what of a machine and of an audit only counts, caches or
 * tells. */
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

int world_open(struct world *world, const struct rules *rules,
	       const struct cow_allocator *allocator)
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
