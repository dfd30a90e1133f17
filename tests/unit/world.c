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
	const char *more = getenv("COWLAB_ROUNDS");

#ifdef RUNNING_ON_VALGRIND
	quick = quick || RUNNING_ON_VALGRIND;
#endif
	if (quick)
		return often / 10 + 1;
	return more && atoi(more) > 0 ? often * (unsigned)atoi(more) : often;
}

static const struct {
	const char *name;
	unsigned weight;
} kinds[STEP_COUNT] = {
#define X(id, weight) { #id, weight },
	STEPS(X)
	MORE_STEPS(X)
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

static unsigned random_kind(struct rng *rng, unsigned kind)
{
	uint64_t ticket = rng_below(rng, 100);

	while (ticket >= kinds[kind].weight)
		ticket -= kinds[kind++].weight;
	return kind;
}

void step_random(struct rng *rng, struct step *step)
{
	unsigned kind = random_kind(rng, 0);

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

static uint64_t wide_page(const struct world *world, unsigned page)
{
	return world->huge ? (uint64_t)(page / 8) * world->huge + page % 8 : page;
}

uint64_t world_span(const struct world *world, unsigned first, unsigned pages)
{
	return wide_page(world, first + pages) - wide_page(world, first);
}

uint64_t world_addr(const struct world *world, unsigned page)
{
	return world->base + wide_page(world, page) * cow_machine_page_size(world->m);
}

/* What the mapping is of. */
static void random_mapping(struct rng *rng, bool hugetlb, struct step *step)
{
	static const unsigned orders[] = { 0, 0, 0, 2, 2, 3 };
	unsigned sort = (unsigned)rng_below(rng, 16);

	step->flags &= ~(unsigned)COW_MAP_SHARED;
	if (sort < 6)
		step->flags |= COW_MAP_THP | COW_MAP_ORDER(orders[rng_below(rng, 6)]);
	else if (sort < 8)
		step->flags |= COW_MAP_SHARED;
	else if (sort < 11 && hugetlb)
		step->flags |= COW_MAP_HUGETLB | (sort == 10 ? COW_MAP_SHARED : 0);
	/* Where no whole huge page fits, there is none. */
	if ((step->flags & COW_MAP_HUGETLB) || (sort < 6 && rng_below(rng, 3))) {
		step->first &= ~7u;
		step->pages = rng_below(rng, 2) ? 8 : 16;
	}
}

static void random_more(struct rng *rng, bool hugetlb, struct step *step)
{
	step->flags = (unsigned)rng_below(rng, 2);
	switch (step->kind) {
	case STEP_MMAP_FILE:
		step->index = (unsigned)rng_below(rng, 8);
		step->flags = rng_below(rng, 3) ? 0 : COW_MAP_SHARED;
		break;
	case STEP_FILE_CREATE:
		step->flags = hugetlb && !rng_below(rng, 3);
		step->index = 1 + (unsigned)rng_below(rng, 12);
		if (step->flags)
			step->index = 8 + (step->index & 8);
		break;
	case STEP_FILE_WRITE:
	case STEP_TRUNCATE:
		step->index = (unsigned)rng_below(rng, 16);
		if (hugetlb && rng_below(rng, 2))
			step->index &= ~7u;
		break;
	case STEP_SWAP_OUT:
		step->flags = !rng_below(rng, 4);
		break;
	case STEP_SWAPOFF:
		if (rng_below(rng, 8))
			step->kind = STEP_SWAP_OUT;
		break;
	default:
		break;
	}
}

/* Has the step something to do with the page?  Looks at nothing that the marker's home decides. */
static bool wanted(const struct world *world, const struct step *step, unsigned page, bool target)
{
	struct cow_page look;

	if (cow_page_look(world->m, world->mms[step->mm % world->mm_count], world_addr(world, page),
			  &look))
		return false;
	switch (step->kind) {
	case STEP_MMAP:
	case STEP_MMAP_FILE:
		return !look.mapped;
	case STEP_MREMAP:
		return look.mapped != target;
	case STEP_UFFD_MOVE:
		return look.mapped && target != (look.present || look.swapped);
	case STEP_SWAP_IN:
	case STEP_SWAP_DROP:
		return look.swapped;
	case STEP_SPLIT:
		return look.huge;
	default:
		return look.mapped;
	}
}

static unsigned random_page(struct rng *rng, const struct world *world, const struct step *step,
			    bool target)
{
	unsigned page = 0;

	for (int tries = 0; tries < 6; tries++) {
		page = (unsigned)rng_below(rng, WORLD_PAGES);
		if (wanted(world, step, page, target))
			break;
	}
	return page;
}

static void random_place(struct rng *rng, const struct world *world, struct step *step)
{
	step->first = random_page(rng, world, step, false);
	step->to = random_page(rng, world, step, true);
	if (!rng_below(rng, 3)) {
		step->first &= ~7u;
		step->to &= ~7u;
		step->pages = rng_below(rng, 4) ? 8 : 16;
	} else if (step->kind == STEP_UFFD_MOVE && rng_below(rng, 2)) {
		step->pages = 1;
	}
}

/* As long as it may be from where it is. */
static void cut_place(struct step *step)
{
	unsigned last = step->to > step->first ? step->to : step->first;

	if (step->kind == STEP_GUP && step->pages > WORLD_REF_PAGES)
		step->pages = WORLD_REF_PAGES;
	if (step->kind != STEP_MREMAP && step->kind != STEP_UFFD_MOVE)
		last = step->first;
	if (step->pages > WORLD_PAGES - last)
		step->pages = WORLD_PAGES - last;
}

void step_any(struct rng *rng, const struct world *world, bool hugetlb, struct step *step)
{
	static const enum cow_advice often[] = { COW_ADV_MERGEABLE, COW_ADV_COLLAPSE, COW_ADV_FREE,
						 COW_ADV_PAGEOUT, COW_ADV_POPULATE_WRITE };

	do {
		step_random(rng, step);
	} while ((step->kind == STEP_EXIT || step->kind == STEP_MUNMAP) && rng_below(rng, 3));
	step->file = (unsigned)rng_below(rng, 5040);
	if (rng_below(rng, 2)) {
		step->kind = (enum step_kind)random_kind(rng, STEP_DRAIN + 1);
		random_more(rng, hugetlb, step);
	}
	if (step->kind == STEP_MADVISE && rng_below(rng, 3))
		step->advice = (enum cow_advice)rng_below(rng, COW_ADVICE_COUNT);
	else if (step->kind == STEP_MADVISE && rng_below(rng, 2))
		step->advice = often[rng_below(rng, 5)];
	/* Equal pages for ksmd, pages of zeroes among them. */
	if (rng_below(rng, 2))
		step->value = rng_below(rng, 3);
	if (world->mm_count)
		random_place(rng, world, step);
	if (step->kind == STEP_MMAP)
		random_mapping(rng, hugetlb, step);
	cut_place(step);
}

void world_widen(struct world *world, uint64_t huge)
{
	world->huge = huge;
	/* x86-64: the first is the last of a table of the second level. */
	if (world->base)
		world->base = (UINT64_C(1) << 30) - huge * cow_machine_page_size(world->m);
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
	case STEP_FILE_CREATE:
		return world->file_count < WORLD_FILES;
	case STEP_MMAP_FILE:
	case STEP_FILE_WRITE:
		return world->mm_count && world->file_count;
	case STEP_TRUNCATE:
		return world->file_count;
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

static int file_step(struct world *world, const struct step *step, cow_mm mm)
{
	unsigned slot = world->file_count ? step->file % world->file_count : 0;
	bool huge = world->huge_files >> slot & 1;
	/* A hugetlb file is mapped in whole huge pages. */
	unsigned whole = huge ? 7 : 0, first = step->first & ~whole, index = step->index & ~whole;
	uint64_t at = wide_page(world, index);
	cow_machine *m = world->m;
	cow_file file = world->files[slot];
	int error;

	switch (step->kind) {
	case STEP_FILE_CREATE:
		error = cow_file_create(m, at, step->value, step->flags & 1, &file);
		if (!error) {
			world->files[world->file_count] = file;
			world->huge_files |= (step->flags & 1) << world->file_count++;
		}
		return error;
	case STEP_FILE_WRITE:
		return cow_file_write(m, mm, file, at, step->value);
	case STEP_TRUNCATE:
		return cow_file_truncate(m, file, at);
	default:
		return cow_mmap_file(m, mm, world_addr(world, first),
				     world_span(world, first, huge ? 8 : step->pages), step->prot,
				     step->flags | (huge ? COW_MAP_HUGETLB : 0), file, at);
	}
}

/* The calls of the kernel about pages of a process. */
static int kernel_step(struct world *world, const struct step *step, cow_mm mm,
		       struct cow_result *result)
{
	uint64_t addr = world_addr(world, step->first);
	uint64_t pages = world_span(world, step->first, step->pages);
	cow_machine *m = world->m;

	switch (step->kind) {
	case STEP_UFFD_WP:
		return cow_uffd_wp(m, mm, addr, pages, step->flags & 1);
	case STEP_UFFD_MOVE:
		return cow_uffd_move(m, mm, addr, pages, world_addr(world, step->to), result);
	case STEP_CLEAR_REFS:
		return cow_clear_refs(m, mm);
	case STEP_SWAP_OUT:
		return cow_swap_out(m, mm, addr, pages, step->flags & 1, result);
	case STEP_WRITEBACK_DONE:
		return cow_writeback_done(m);
	case STEP_SWAP_DROP:
		return cow_swap_drop(m, mm, addr, pages, result);
	case STEP_SWAP_IN:
		return cow_swap_in(m, mm, addr, pages, result);
	case STEP_SWAPOFF:
		return cow_swapoff(m);
	case STEP_KSM:
		return cow_ksm_scan(m, result);
	case STEP_MIGRATE:
		return cow_migrate(m, mm, addr, pages, result);
	case STEP_NUMA_HINT:
		return cow_numa_hint(m, mm, addr, pages, result);
	default:
		return cow_split(m, mm, addr, pages, result);
	}
}

void world_step(struct world *world, const struct step *step, struct said *said)
{
	uint64_t pages = world_span(world, step->first, step->pages);
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
		said->error = cow_mmap(m, mm, addr, pages, step->prot, step->flags);
		break;
	case STEP_MUNMAP:
		said->error = cow_munmap(m, mm, addr, pages);
		break;
	case STEP_MREMAP:
		said->error = cow_mremap(m, mm, addr, pages, world_addr(world, step->to));
		break;
	case STEP_MPROTECT:
		said->error = cow_mprotect(m, mm, addr, pages, step->prot);
		break;
	case STEP_MADVISE:
		said->error = cow_madvise(m, mm, addr, pages, step->advice, &said->result);
		break;
	case STEP_READ_RANGE:
		said->error = cow_read_range(m, mm, addr, pages, NULL, &said->result);
		break;
	case STEP_WRITE_RANGE:
		said->error = cow_write_range(m, mm, addr, pages, step->value, &said->result);
		break;
	case STEP_GUP:
		said->error = cow_gup(m, mm, addr, pages, step->flags, step->times,
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
	case STEP_FILE_CREATE:
	case STEP_FILE_WRITE:
	case STEP_TRUNCATE:
	case STEP_MMAP_FILE:
		said->error = file_step(world, step, mm);
		break;
	case STEP_READ:
	case STEP_WRITE:
	case STEP_FORCE_WRITE:
		said->error = one_page(world, step, mm, addr, &said->result);
		break;
	default:
		said->error = kernel_step(world, step, mm, &said->result);
	}
}

void world_end(struct world *world)
{
	while (world->ref_count)
		cow_ref_release(world->m, world->refs[--world->ref_count]);
	while (world->mm_count)
		cow_mm_exit(world->m, world->mms[--world->mm_count]);
	while (world->file_count)
		cow_file_truncate(world->m, world->files[--world->file_count], 0);
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
