/* SPDX-License-Identifier: MIT
 *
 * Swap under stress: the host's memory fails at every point, and random steps under the audit.
 */
#include "swaplab.h"

enum { CALLS = 13 };

static int numbered_call(struct lab *lab, cow_mm child, unsigned number)
{
	cow_machine *m = lab->m;

	switch (number) {
	case 0: return cow_swap_out(m, lab->p, 0, 40, true, NULL);
	case 1: return cow_writeback_done(m);
	case 2: return cow_swap_drop(m, lab->p, 0, 40, NULL);
	case 3: return cow_swap_in(m, lab->p, 0, 4, NULL);
	case 4: return cow_read_range(m, lab->p, 0, 8, NULL, NULL);
	case 5: return cow_write_range(m, child, 0, 12, 9, NULL);
	case 6: return cow_madvise(m, lab->p, 0, 20, COW_ADV_PAGEOUT, NULL);
	case 7: return cow_fork(m, lab->p, NULL, &child);
	case 8: return cow_madvise(m, lab->p, at(lab, 8), 8, COW_ADV_FREE, NULL);
	case 9: return cow_swap_out(m, lab->p, 0, 40, false, NULL);
	case 10: return cow_write(m, lab->p, at(lab, 30), 5, NULL);
	case 11: return cow_force_write(m, lab->p, at(lab, 31), 5, NULL);
	default: return cow_swapoff(m);
	}
}

/* The n-th allocation of one of the calls fails: the machine is as it was, and the call can be
 * repeated.  Returns false once there is no n-th one. */
static bool fail_nth(const char *policy, uint64_t n)
{
	bool failed = false;
	struct lab lab;
	cow_mm child;

	lab_init(&lab, policy);
	lab.config.frames = 512;
	lab.config.swap = 400;
	lab.config.lru_batch = 2;
	lab_start(&lab);
	map(&lab, 40, 7);
	child = forked(&lab, lab.p);
	assert_int_equal(cow_write_range(lab.m, lab.p, 0, 40, 8, NULL), 0);
	lab.failing.fail = n;
	for (unsigned i = 0; i < CALLS; i++) {
		cow_machine *clone;
		int error;

		assert_int_equal(cow_machine_clone(lab.m, &clone), 0);
		lab.failing.armed = true;
		error = numbered_call(&lab, child, i);
		lab.failing.armed = false;
		if (error) {
			failed = true;
			assert_int_equal(error, -ENOMEM);
			assert_true(cow_machine_error(lab.m)->host);
			assert_true(cow_machine_equal(lab.m, clone));
			checked(&lab);
			assert_int_equal(numbered_call(&lab, child, i), 0);
		}
		cow_machine_destroy(clone);
		checked(&lab);
	}
	lab_end(&lab);
	return failed;
}

static void host_memory_runs_out(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		uint64_t n = 1;

		while (fail_nth(homes[home], n))
			n++;
		assert_in_range(n, 4, 10000);
	}
}

static void random_swap(struct world *world, struct rng *rng)
{
	cow_mm mm = world->mms[rng_below(rng, world->mm_count)];
	unsigned first = (unsigned)rng_below(rng, WORLD_PAGES);
	unsigned pages = 1 + (unsigned)rng_below(rng, WORLD_PAGES - first);
	uint64_t addr = world_addr(world, first);
	cow_machine *m = world->m;
	int error = 0;

	switch (rng_below(rng, 12)) {
	case 0:
	case 1: error = cow_swap_out(m, mm, addr, pages, false, NULL); break;
	case 2:
	case 3: error = cow_swap_out(m, mm, addr, pages, true, NULL); break;
	case 4: error = cow_writeback_done(m); break;
	case 5:
	case 6: error = cow_swap_drop(m, mm, addr, pages, NULL); break;
	case 7: error = cow_swap_in(m, mm, addr, pages, NULL); break;
	case 8:
	case 9: error = cow_madvise(m, mm, addr, pages, COW_ADV_PAGEOUT, NULL); break;
	default: error = cow_madvise(m, mm, addr, pages, COW_ADV_FREE, NULL); break;
	}
	/* Holes, shared memory: as Linux has it. */
	assert_true(!error || error == -ENOMEM || error == -EINVAL);
	assert_false(cow_machine_error(m)->host);
}

/* Steps that mostly touch pages: what is unmapped has nothing to swap. */
static void random_touch(struct world *world, struct rng *rng)
{
	struct step step;
	struct said said;

	do {
		step_random(rng, &step);
		if ((step.kind == STEP_MMAP || step.kind == STEP_MUNMAP || step.kind == STEP_EXIT ||
		     step.kind == STEP_CREATE) &&
		    rng_below(rng, 8))
			step.kind = rng_below(rng, 2) ? STEP_READ_RANGE : STEP_WRITE_RANGE;
		if (step.kind == STEP_MADVISE && step.advice == COW_ADV_DONTNEED &&
		    rng_below(rng, 4))
			step.kind = STEP_WRITE;
	} while (!world_can(world, &step));
	world_step(world, &step, &said);
}

struct tally {
	uint64_t outs, ins, drops;
};

static void random_run(const char *policy, uint64_t seed, unsigned steps, struct tally *sum)
{
	unsigned bad = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | COW_VERDICT(STALE_PIN);
	struct rng rng = { seed };
	struct world world;
	cow_audit *audit;
	struct lab lab;

	lab_init(&lab, policy);
	lab.config.frames = 80 + seed % 2 * 400;
	lab.config.swap = 16 + seed % 3 * 100;
	lab.config.lru_batch = seed % 2 * 3;
	lab.config.stable_writes = seed % 4 == 0;
	assert_int_equal(cow_machine_create(&lab.config, &lab.m), 0);
	assert_int_equal(cow_audit_attach(lab.m, &audit), 0);
	assert_int_equal(world_init(&world, lab.m), 0);
	assert_int_equal(cow_mmap(lab.m, world.mms[0], world.base, WORLD_PAGES, COW_PROT_RW, 0), 0);
	for (unsigned i = 0; i < steps; i++) {
		if (world.mm_count && rng_below(&rng, 2))
			random_swap(&world, &rng);
		else
			random_touch(&world, &rng);
		checked(&lab);
		if (cow_audit_verdict(audit) & bad)
			fail_msg("%s, seed %llu, step %u: %s", policy, (unsigned long long)seed, i,
				 cow_audit_finding(audit, cow_audit_findings(audit) - 1)->sentence);
	}
	if (seed % 2 && !cow_swapoff(lab.m))
		checked(&lab);
	sum->outs += count(&lab, COW_COUNT_SWAP_OUTS);
	sum->ins += count(&lab, COW_COUNT_SWAP_INS);
	sum->drops += count(&lab, COW_COUNT_DROPPED);
	world_end(&world);
	checked(&lab);
	assert_int_equal(count(&lab, COW_COUNT_TABLES), 0);
	cow_audit_detach(audit);
	lab_end(&lab);
}

static void random_steps_keep_their_promises(void **state)
{
	static const char *const policies[] = {
		"exclusive", "pte-exclusive", "exclusive,marker=adjacent", "exclusive,marker=extra",
		"ideal",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		unsigned seeds = rounds(20);
		struct tally sum = { 0 };

		for (uint64_t seed = 1; seed <= seeds; seed++)
			random_run(policies[i], seed, 400, &sum);
		/* It all happened, and often. */
		assert_true(sum.outs > 40 * seeds && sum.ins > 30 * seeds && sum.drops > 4 * seeds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_memory_runs_out),
		cmocka_unit_test(random_steps_keep_their_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
