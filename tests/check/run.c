/* SPDX-License-Identifier: MIT
 *
 * Random runs.
 */
#include "run.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

const char *const homes[4] = { "frame", "pte", "adjacent", "extra" };

void run_begin(struct run *run, const struct shape *shape)
{
	struct cow_config config;
	cow_machine *m;

	memset(run, 0, sizeof(*run));
	run->shape = shape;
	cow_config_init(&config);
	config.policy = policy_parse(shape->policy, &run->list);
	ck_assert_msg(config.policy != NULL, "%s", shape->policy);
	config.geometry = *cow_geometry_find(shape->geometry);
	config.frames = shape->frames;
	config.lru_batch = shape->lru_batch;
	config.swap = shape->swap;
	config.hugetlb = shape->pool;
	config.stable_writes = shape->any && (shape->seed & 4);
	config.ksm_zero_pages = shape->any && (shape->seed & 8);
	ck_assert_int_eq(cow_machine_create(&config, &m), 0);
	ck_assert_int_eq(cow_audit_attach(m, &run->audit), 0);
	ck_assert_int_eq(world_init(&run->world, m), 0);
	if (shape->any)
		world_widen(&run->world, UINT64_C(1) << config.geometry.bits[0]);
	run->rng.state = shape->seed;
	/* Until v6.2 a read-only FOLL_LONGTERM pin took the zero page, and was lost: bug A12. */
	run->no_longterm = !strcmp(shape->policy, "exclusive-5.19");
}

void run_end(struct run *run)
{
	cow_machine *m = run->world.m;
	struct cow_error error;

	world_end(&run->world);
	ck_assert_msg(cow_machine_check(m, &error) == 0, "%s, seed %llu, at the end: %s",
		      run->shape->policy, (unsigned long long)run->shape->seed, error.sentence);
	if (cow_machine_counter(m, COW_COUNT_FRAMES_USED)) { /* left in the swap cache */
		ck_assert_int_eq(cow_writeback_done(m), 0);
		ck_assert_int_eq(cow_swapoff(m), 0);
		ck_assert_msg(cow_machine_check(m, &error) == 0, "%s", error.sentence);
	}
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_FRAMES_USED), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_TABLES), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_PINS_ACQUIRED),
			  cow_machine_counter(m, COW_COUNT_PINS_RELEASED));
	cow_audit_detach(run->audit);
	cow_machine_destroy(m);
	cow_policies_free(run->list);
}

void run_choose(struct run *run, struct step *step)
{
	do {
		if (run->shape->any)
			step_any(&run->rng, &run->world, run->shape->pool, step);
		else
			step_random(&run->rng, step);
		if (run->no_longterm && step->kind == STEP_GUP)
			step->flags &= ~(unsigned)COW_GUP_LONGTERM;
	} while (!world_can(&run->world, step));
}

void run_step(struct run *run, struct step *step, struct said *said)
{
	run_choose(run, step);
	world_step(&run->world, step, said);
}

void shape_scarce(struct shape *shape, const char *policy, uint64_t seed)
{
	static const uint64_t frames[] = { 4096, 200, 64, 40 }, slots[] = { 1024, 24, 6 };

	*shape = (struct shape){ .policy = policy, .geometry = "tiny", .any = true, .seed = seed };
	shape->frames = frames[seed % 4];
	shape->lru_batch = seed % 5 ? 0 : 3;
	shape->swap = slots[seed % 3];
	shape->pool = seed % 7 % 4;
}
