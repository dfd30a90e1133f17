/* SPDX-License-Identifier: MIT
 *
 * Steps of a small world, chosen by a seed.
 */
#include "../unit/world.h"

#include <stdlib.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

uint64_t rng_next(struct rng *rng)
{
	uint64_t x = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t rng_below(struct rng *rng, uint64_t below)
{
	return rng_next(rng) % below;
}

unsigned rounds(unsigned often)
{
	bool quick = getenv("COWLAB_QUICK") != NULL;

#ifdef RUNNING_ON_VALGRIND
	quick = quick || RUNNING_ON_VALGRIND;
#endif
	return quick ? often / 10 + 1 : often;
}

static const struct {
	const char *name;
	unsigned weight;
} kinds[STEP_COUNT] = {
#define X(id, weight) { #id, weight },
	STEPS(X)
#undef X
};

const char *step_name(enum step_kind kind)
{
	return kinds[kind].name;
}

static enum cow_advice random_advice(struct rng *rng)
{
	static const enum cow_advice advices[] = {
		COW_ADV_DONTNEED, COW_ADV_DONTNEED, COW_ADV_DONTFORK, COW_ADV_DOFORK,
		COW_ADV_WIPEONFORK, COW_ADV_KEEPONFORK, COW_ADV_COLD, COW_ADV_POPULATE_READ,
		COW_ADV_POPULATE_WRITE,
	};

	return advices[rng_below(rng, sizeof(advices) / sizeof(*advices))];
}

void step_random(struct rng *rng, struct step *step)
{
	uint64_t ticket = rng_below(rng, 100);
	unsigned kind = 0;

	while (kind < STEP_COUNT - 1 && ticket >= kinds[kind].weight)
		ticket -= kinds[kind++].weight;
	*step = (struct step){ .kind = (enum step_kind)kind };
	step->mm = (unsigned)rng_below(rng, 5040);
	step->ref = (unsigned)rng_below(rng, 5040);
	step->first = (unsigned)rng_below(rng, WORLD_PAGES);
	step->pages = 1 + (unsigned)rng_below(rng, rng_below(rng, 4) ? 6 : WORLD_PAGES);
	if (step->pages > WORLD_PAGES - step->first)
		step->pages = WORLD_PAGES - step->first;
	if (kind == STEP_GUP && step->pages > WORLD_REF_PAGES)
		step->pages = WORLD_REF_PAGES;
	step->to = (unsigned)rng_below(rng, WORLD_PAGES - step->pages + 1);
	step->value = rng_next(rng) | 1;
	step->prot = (enum cow_prot)(rng_below(rng, 3) ? COW_PROT_RW : rng_below(rng, 4));
	step->advice = random_advice(rng);
	if (kind == STEP_MMAP) {
		step->flags = rng_below(rng, 5) ? 0 : COW_MAP_SHARED;
	} else {
		step->flags = (unsigned)rng_below(rng, 16);
		if (!(step->flags & COW_GUP_PIN))
			step->flags &= ~(unsigned)COW_GUP_LONGTERM;
	}
	step->times = 1 + (uint32_t)(rng_below(rng, 8) ? 0 : rng_below(rng, 3));
}

uint64_t world_addr(const struct world *world, unsigned page)
{
	return world->base + page * cow_machine_page_size(world->m);
}

static unsigned log2_of(uint64_t power)
{
	unsigned shift = 0;

	while (power >>= 1)
		shift++;
	return shift;
}

/* Half the window lies before the first border of the tables below the top one. */
static uint64_t window(cow_machine *m)
{
	uint64_t size = cow_machine_page_size(m);
	unsigned shift = log2_of(size);

	/* tiny has 64 pages, so 8 a table; no other geometry has fewer than 2^22 pages. */
	return shift == 12 ? 0 : (UINT64_C(1) << (shift + 22)) - WORLD_PAGES / 2 * size;
}

int world_init(struct world *world, cow_machine *m)
{
	struct cow_page page;
	uint64_t far = (UINT64_C(1) << 30) - WORLD_PAGES / 2 * cow_machine_page_size(m);
	int error;

	memset(world, 0, sizeof(*world));
	world->m = m;
	error = cow_mm_create(m, &world->mms[0]);
	if (error)
		return error;
	world->mm_count = 1;
	world->base = window(m);
	if (!world->base && cow_page_look(m, world->mms[0], far, &page) == 0)
		world->base = far; /* x86-64: between two tables of the second level */
	return 0;
}

void world_find(struct world *world, cow_machine *m)
{
	struct cow_page page;
	cow_mm mm;
	cow_ref ref;

	memset(world, 0, sizeof(*world));
	world->m = m;
	while (world->mm_count < WORLD_MMS && !cow_mm_at(m, world->mm_count, &mm))
		world->mms[world->mm_count++] = mm;
	while (world->ref_count < WORLD_REFS && !cow_ref_at(m, world->ref_count, &ref))
		world->refs[world->ref_count++] = ref;
	world->base = window(m);
	if (!world->base && world->mm_count) {
		uint64_t far = (UINT64_C(1) << 30) - WORLD_PAGES / 2 * cow_machine_page_size(m);

		if (!cow_page_look(m, world->mms[0], far, &page))
			world->base = far;
	}
}

bool world_can(const struct world *world, const struct step *step)
{
	switch (step->kind) {
	case STEP_CREATE:
		return world->mm_count < WORLD_MMS;
	case STEP_EXIT:
		return world->mm_count > 1;
	case STEP_FORK:
		return world->mm_count && world->mm_count < WORLD_MMS;
	case STEP_GUP:
		return world->mm_count && world->ref_count < WORLD_REFS;
	case STEP_PEEK:
	case STEP_POKE:
	case STEP_RELEASE:
		return world->ref_count;
	default:
		return world->mm_count;
	}
}

static void keep_mm(struct world *world, cow_mm mm, int error)
{
	if (!error)
		world->mms[world->mm_count++] = mm;
}

static int one_page(const struct world *world, const struct step *step, cow_mm mm, uint64_t addr,
		    struct cow_result *result)
{
	enum cow_outcome outcome = COW_OUT_NONE;
	int error;

	if (step->kind == STEP_READ)
		error = cow_read(world->m, mm, addr, &result->value, &outcome);
	else if (step->kind == STEP_WRITE)
		error = cow_write(world->m, mm, addr, step->value, &outcome);
	else
		error = cow_force_write(world->m, mm, addr, step->value, &outcome);
	result->outcome = outcome;
	result->done = !error;
	return error;
}

void world_step(struct world *world, const struct step *step, struct said *said)
{
	unsigned mm_slot = world->mm_count ? step->mm % world->mm_count : 0;
	unsigned ref_slot = world->ref_count ? step->ref % world->ref_count : 0;
	uint64_t addr = world_addr(world, step->first);
	cow_machine *m = world->m;
	cow_mm mm = world->mms[mm_slot], child;
	cow_ref ref = world->refs[ref_slot];

	memset(said, 0, sizeof(*said));
	switch (step->kind) {
	case STEP_CREATE:
		said->error = cow_mm_create(m, &child);
		keep_mm(world, child, said->error);
		break;
	case STEP_EXIT:
		said->error = cow_mm_exit(m, mm);
		if (!said->error)
			world->mms[mm_slot] = world->mms[--world->mm_count];
		break;
	case STEP_FORK:
		said->error = cow_fork(m, mm, &said->result, &child);
		keep_mm(world, child, said->error);
		break;
	case STEP_MMAP:
		said->error = cow_mmap(m, mm, addr, step->pages, step->prot, step->flags);
		break;
	case STEP_MUNMAP:
		said->error = cow_munmap(m, mm, addr, step->pages);
		break;
	case STEP_MREMAP:
		said->error = cow_mremap(m, mm, addr, step->pages, world_addr(world, step->to));
		break;
	case STEP_MPROTECT:
		said->error = cow_mprotect(m, mm, addr, step->pages, step->prot);
		break;
	case STEP_MADVISE:
		said->error = cow_madvise(m, mm, addr, step->pages, step->advice, &said->result);
		break;
	case STEP_READ_RANGE:
		said->error = cow_read_range(m, mm, addr, step->pages, NULL, &said->result);
		break;
	case STEP_WRITE_RANGE:
		said->error = cow_write_range(m, mm, addr, step->pages, step->value, &said->result);
		break;
	case STEP_GUP:
		said->error = cow_gup(m, mm, addr, step->pages, step->flags, step->times,
				      &said->result, &ref);
		if (!said->error)
			world->refs[world->ref_count++] = ref;
		break;
	case STEP_PEEK:
		said->error = cow_ref_peek(m, ref, NULL, &said->result);
		break;
	case STEP_POKE:
		said->error = cow_ref_poke(m, ref, step->value);
		break;
	case STEP_RELEASE:
		said->error = cow_ref_release(m, ref);
		if (!said->error)
			world->refs[ref_slot] = world->refs[--world->ref_count];
		break;
	case STEP_DRAIN:
		said->error = cow_drain_lru(m);
		break;
	default:
		said->error = one_page(world, step, mm, addr, &said->result);
	}
}

void world_end(struct world *world)
{
	while (world->ref_count)
		cow_ref_release(world->m, world->refs[--world->ref_count]);
	while (world->mm_count)
		cow_mm_exit(world->m, world->mms[--world->mm_count]);
}

const struct cow_policy *policy_parse(const char *text, cow_policies **list)
{
	*list = NULL;
	if (cow_policies_parse(text, NULL, NULL, list) || cow_policies_count(*list) != 1)
		return NULL;
	return cow_policies_at(*list, 0);
}

cow_machine *machine_new(const char *geometry, const struct cow_policy *policy, uint64_t frames,
			 uint64_t lru_batch)
{
	struct cow_config config;
	cow_machine *m;

	cow_config_init(&config);
	config.frames = frames;
	config.lru_batch = lru_batch;
	config.geometry = *cow_geometry_find(geometry);
	config.policy = policy;
	return cow_machine_create(&config, &m) ? NULL : m;
}
