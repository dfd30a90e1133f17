/* SPDX-License-Identifier: MIT
 *
 * Clones, equality and the hash: equal at once, independent from then on, and different after any
 * single change.  Handles are good for a machine and for its clones.
 *
 *       0       4    6      9
 *   P  |rwrwrwrw|....|shared|     and whatever random steps made of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#include "machine/machine.h"

static const char *const policies[] = {
	"mapcount", "page-count-5.18", "exclusive", "exclusive,marker=pte",
	"exclusive,marker=adjacent", "exclusive,marker=extra",
};

enum { POLICIES = sizeof(policies) / sizeof(*policies) };

static void random_steps(struct world *world, struct rng *rng, unsigned steps)
{
	while (steps--) {
		struct step step;
		struct said said;

		step_random(rng, &step);
		if (world_can(world, &step))
			world_step(world, &step, &said);
	}
}

static cow_machine *clone_of(const cow_machine *m)
{
	cow_machine *clone;

	assert_int_equal(cow_machine_clone(m, &clone), 0);
	assert_true(cow_machine_equal(m, clone));
	assert_true(cow_machine_equal(clone, m));
	assert_int_equal(cow_machine_hash(m), cow_machine_hash(clone));
	return clone;
}

/* The same steps from the same state come to the same state, answers and counters. */
static void a_clone_lives_the_same_life(void **state)
{
	(void)state;
	for (unsigned i = 0; i < POLICIES; i++)
		for (uint64_t seed = 1; seed <= rounds(12); seed++) {
			cow_policies *list;
			cow_machine *m =
				machine_new(seed & 1 ? "tiny" : "x86-64",
					    policy_parse(policies[i], &list), 64, seed % 3);
			struct rng rng = { seed };
			struct world world, twin;
			cow_machine *kept;

			assert_int_equal(world_init(&world, m), 0);
			random_steps(&world, &rng, 150);
			twin = world;
			twin.m = clone_of(m);
			kept = clone_of(m);
			for (unsigned step_no = 0; step_no < 100; step_no++) {
				struct said a, b;
				struct step step;

				step_random(&rng, &step);
				if (!world_can(&world, &step))
					continue;
				world_step(&world, &step, &a);
				world_step(&twin, &step, &b);
				assert_int_equal(a.error, b.error);
				assert_memory_equal(&a.result, &b.result, sizeof(a.result));
				assert_int_equal(cow_machine_hash(m), cow_machine_hash(twin.m));
			}
			assert_true(cow_machine_equal(m, twin.m));
			for (int id = 0; id < COW_COUNTER_COUNT; id++)
				assert_int_equal(cow_machine_counter(m, (enum cow_counter)id),
						 cow_machine_counter(twin.m, (enum cow_counter)id));
			world_end(&world);
			assert_false(cow_machine_equal(m, twin.m));
			assert_int_equal(cow_machine_check(twin.m, NULL), 0);
			assert_int_equal(cow_machine_check(kept, NULL), 0);
			cow_machine_destroy(m);
			world_end(&twin);
			cow_machine_destroy(twin.m);
			cow_machine_destroy(kept);
			cow_policies_free(list);
		}
}

/* ------------------------------------------------------------------ a single change */

struct desk {
	cow_machine *m;
	cow_mm p;
	cow_ref ref;
};

static struct desk desk_new(void)
{
	struct desk desk = { .m = machine_new("tiny", NULL, 64, 0) };

	assert_int_equal(cow_mm_create(desk.m, &desk.p), 0);
	assert_int_equal(cow_mmap(desk.m, desk.p, 0, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_mmap(desk.m, desk.p, 6 << 12, 3, COW_PROT_RW, COW_MAP_SHARED), 0);
	assert_int_equal(cow_write_range(desk.m, desk.p, 0, 2, 5, NULL), 0);
	assert_int_equal(cow_gup(desk.m, desk.p, 0, 1, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL,
				 &desk.ref), 0);
	return desk;
}

#define CHANGE(name, ...)                                             \
	static int change_##name(const struct desk *d)                \
	{                                                             \
		cow_mm mm;                                            \
		cow_ref ref;                                          \
		(void)mm, (void)ref;                                  \
		return __VA_ARGS__;                                   \
	}

CHANGE(value, cow_write(d->m, d->p, 0, 6, NULL))
CHANGE(poke, cow_ref_poke(d->m, d->ref, 6))
CHANGE(fresh, cow_write(d->m, d->p, 2 << 12, 0, NULL))
CHANGE(zero, cow_read(d->m, d->p, 2 << 12, NULL, NULL))
CHANGE(shared, cow_read(d->m, d->p, 6 << 12, NULL, NULL))
CHANGE(protect, cow_mprotect(d->m, d->p, 0, 1, COW_PROT_READ))
CHANGE(dontfork, cow_madvise(d->m, d->p, 3 << 12, 1, COW_ADV_DONTFORK, NULL))
CHANGE(dontneed, cow_madvise(d->m, d->p, 1 << 12, 1, COW_ADV_DONTNEED, NULL))
CHANGE(map, cow_mmap(d->m, d->p, 5 << 12, 1, COW_PROT_READ, 0))
CHANGE(unmap, cow_munmap(d->m, d->p, 3 << 12, 1))
CHANGE(move, cow_mremap(d->m, d->p, 3 << 12, 1, 20 << 12))
CHANGE(create, cow_mm_create(d->m, &mm))
CHANGE(fork, cow_fork(d->m, d->p, NULL, &mm))
CHANGE(exit, cow_mm_exit(d->m, d->p))
CHANGE(get, cow_gup(d->m, d->p, 1 << 12, 1, 0, 1, NULL, &ref))
CHANGE(release, cow_ref_release(d->m, d->ref))

static int (*const changes[])(const struct desk *) = {
	change_value, change_poke, change_fresh, change_zero, change_shared, change_protect,
	change_dontfork, change_dontneed, change_map, change_unmap, change_move, change_create,
	change_fork, change_exit, change_get, change_release,
};

enum { CHANGES = sizeof(changes) / sizeof(*changes) };

static void every_change_is_seen(void **state)
{
	uint64_t hashes[CHANGES + 1];

	(void)state;
	for (unsigned i = 0; i <= CHANGES; i++) {
		struct desk desk = desk_new();
		cow_machine *before = clone_of(desk.m);

		if (i < CHANGES) {
			assert_int_equal(changes[i](&desk), 0);
			assert_false(cow_machine_equal(desk.m, before));
		}
		hashes[i] = cow_machine_hash(desk.m);
		/* A write and a poke of one value come to the same. */
		for (unsigned j = 0; j < i; j++)
			assert_true(hashes[j] != hashes[i] || (i == 1 && j == 0));
		assert_int_equal(cow_machine_check(desk.m, NULL), 0);
		cow_machine_destroy(before);
		cow_machine_destroy(desk.m);
	}
}

/* Bits below the interface: any one of them, in any slot of any pool, makes the machines differ. */
static void every_bit_is_compared_and_hashed(void **state)
{
	struct desk desk = desk_new();
	cow_machine *clone = clone_of(desk.m);
	uint64_t hash = cow_machine_hash(desk.m);

	(void)state;
	for (int id = 0; id < POOL_COUNT; id++) {
		const struct pool *pool = &clone->pools[id];

		for (uint32_t slot = 0; slot < pool->used; slot++)
			for (uint32_t byte = 0; byte < pool->size; byte++) {
				unsigned char *at = (unsigned char *)pool_at(pool, slot) + byte;
				unsigned char flip = (unsigned char)(1u << (byte + slot) % 8);

				*at ^= flip;
				assert_false(cow_machine_equal(desk.m, clone));
				assert_int_not_equal(cow_machine_hash(clone), hash);
				*at ^= flip;
			}
	}
	assert_true(cow_machine_equal(desk.m, clone));
	cow_machine_destroy(clone);
	cow_machine_destroy(desk.m);
}

/* Looking is no change, and neither are counters, observers and the policy. */
static void looking_is_no_change(void **state)
{
	struct desk desk = desk_new();
	cow_machine *before = clone_of(desk.m);
	struct cow_observer observer = { .size = sizeof(observer) };
	struct cow_page page;
	uint64_t hits = cow_machine_counter(desk.m, COW_COUNT_HITS);
	cow_mm mm;
	cow_ref ref;

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(cow_page_look(desk.m, desk.p, (uint64_t)i << 12, &page), 0);
	assert_int_equal(cow_machine_observe(desk.m, &observer), 0);
	assert_int_equal(cow_mm_at(desk.m, 0, &mm), 0);
	assert_int_equal(cow_ref_at(desk.m, 0, &ref), 0);
	assert_int_equal(mm.generation, desk.p.generation);
	assert_int_equal(ref.index, desk.ref.index);
	assert_int_equal(cow_read(desk.m, desk.p, 0, NULL, NULL), 0);
	assert_int_equal(cow_ref_peek(desk.m, desk.ref, NULL, NULL), 0);
	assert_int_equal(cow_machine_counter(desk.m, COW_COUNT_HITS), hits + 1);
	assert_true(cow_machine_equal(desk.m, before));
	cow_machine_destroy(before);
	cow_machine_destroy(desk.m);
}

static void machines_of_another_shape_differ(void **state)
{
	cow_machine *a = machine_new("tiny", NULL, 64, 0);
	cow_machine *others[] = {
		machine_new("x86-64", NULL, 64, 0), machine_new("tiny", NULL, 65, 0),
		machine_new("tiny", NULL, 64, 1),
		machine_new("tiny", cow_policy_find("page-count"), 64, 0),
		machine_new("tiny", cow_policy_find("pte-exclusive"), 64, 0),
	};
	cow_machine *alike = machine_new("tiny", cow_policy_find("exclusive-6.2"), 64, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		assert_false(cow_machine_equal(a, others[i]));
		assert_int_not_equal(cow_machine_hash(a), cow_machine_hash(others[i]));
		cow_machine_destroy(others[i]);
	}
	assert_true(cow_machine_equal(a, alike));
	cow_machine_destroy(alike);
	cow_machine_destroy(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clone_lives_the_same_life),
		cmocka_unit_test(every_change_is_seen),
		cmocka_unit_test(every_bit_is_compared_and_hashed),
		cmocka_unit_test(looking_is_no_change),
		cmocka_unit_test(machines_of_another_shape_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
