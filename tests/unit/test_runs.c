/* SPDX-License-Identifier: MIT
 *
 * Writes in runs, and quick single writes, against the long way: an observer that wants to hear of
 * each page makes a machine do everything a page at a time.  Two machines that differ in nothing else go
 * through the same steps and must be the same after each: outcomes, state, counters, and what the audit
 * says.  Half of the steps are bursts of writes, so that one is often preceded by another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

enum { FAST, SLOW, SIDES };

struct pair {
	cow_policies *list;
	struct world side[SIDES];
	cow_audit *audit[SIDES]; /* NULL: none */
	struct rng rng;
	uint64_t value;
	const char *what; /* for messages: the step */
};

static void hear(void *ctx, const struct cow_change *change)
{
	(void)ctx;
	(void)change;
}

static void pair_open(struct pair *pair, const char *policy, const char *geometry, uint64_t frames,
		      uint64_t batch, bool audited, uint64_t seed)
{
	struct cow_observer observer = { .size = sizeof(observer), .change = hear };

	memset(pair, 0, sizeof(*pair));
	pair->rng.state = seed;
	for (int i = 0; i < SIDES; i++) {
		cow_machine *m = machine_new(geometry, i ? cow_policies_at(pair->list, 0)
							 : policy_parse(policy, &pair->list),
					     frames, batch);

		assert_non_null(m);
		if (audited)
			assert_int_equal(cow_audit_attach(m, &pair->audit[i]), 0);
		if (i == SLOW)
			assert_int_equal(cow_machine_observe(m, &observer), 0);
		assert_int_equal(world_init(&pair->side[i], m), 0);
	}
}

static void pair_close(struct pair *pair)
{
	for (int i = 0; i < SIDES; i++) {
		cow_audit_detach(pair->audit[i]);
		cow_machine_destroy(pair->side[i].m);
	}
	cow_policies_free(pair->list);
}

static void same_findings(const struct pair *pair)
{
	size_t count = cow_audit_findings(pair->audit[FAST]);

	assert_int_equal(cow_audit_verdict(pair->audit[FAST]), cow_audit_verdict(pair->audit[SLOW]));
	assert_int_equal(count, cow_audit_findings(pair->audit[SLOW]));
	for (size_t i = 0; i < count; i++)
		assert_memory_equal(cow_audit_finding(pair->audit[FAST], i),
				    cow_audit_finding(pair->audit[SLOW], i),
				    sizeof(struct cow_finding));
}

static void same(const struct pair *pair)
{
	const cow_machine *fast = pair->side[FAST].m, *slow = pair->side[SLOW].m;
	struct cow_error error;

	if (cow_machine_check(fast, &error))
		fail_msg("%s: %s", pair->what, error.sentence);
	if (!cow_machine_equal(fast, slow))
		fail_msg("%s: the states differ", pair->what);
	for (int id = 0; id < COW_COUNTER_COUNT; id++)
		if (cow_machine_counter(fast, id) != cow_machine_counter(slow, id))
			fail_msg("%s: %s is %llu, not %llu", pair->what, cow_counter_name(id),
				 (unsigned long long)cow_machine_counter(fast, id),
				 (unsigned long long)cow_machine_counter(slow, id));
	if (pair->audit[FAST])
		same_findings(pair);
}

/* A step of any kind, and what it came to. */
static void any_step(struct pair *pair)
{
	struct said said[SIDES];
	struct step step;

	step_any(&pair->rng, &pair->side[FAST], false, &step);
	if (!world_can(&pair->side[FAST], &step))
		return;
	pair->what = step_name(step.kind);
	memset(said, 0, sizeof(said));
	for (int i = 0; i < SIDES; i++)
		world_step(&pair->side[i], &step, &said[i]);
	assert_int_equal(said[FAST].error, said[SLOW].error);
	assert_memory_equal(&said[FAST].result, &said[SLOW].result, sizeof(struct cow_result));
}

/* Single writes to neighbours and not, and now and then a range, by one process. */
static void burst(struct pair *pair)
{
	unsigned count = 1 + (unsigned)rng_below(&pair->rng, 2 * WORLD_PAGES);
	unsigned page = (unsigned)rng_below(&pair->rng, WORLD_PAGES);
	unsigned mm;

	pair->what = "burst";
	if (!pair->side[FAST].mm_count)
		return;
	mm = (unsigned)rng_below(&pair->rng, pair->side[FAST].mm_count);
	while (count--) {
		unsigned pages = rng_below(&pair->rng, 8) ? 1 : 1 + (unsigned)rng_below(&pair->rng, 16);
		enum cow_outcome outcome[SIDES] = { COW_OUT_NONE, COW_OUT_NONE };
		struct cow_result result[SIDES];
		int error[SIDES];

		pair->value++;
		memset(result, 0, sizeof(result));
		for (int i = 0; i < SIDES; i++) {
			const struct world *world = &pair->side[i];
			uint64_t addr = world_addr(world, page);

			error[i] = pages == 1
					   ? cow_write(world->m, world->mms[mm], addr, pair->value,
						       &outcome[i])
					   : cow_write_range(world->m, world->mms[mm], addr, pages,
							     pair->value, &result[i]);
		}
		assert_int_equal(error[FAST], error[SLOW]);
		assert_int_equal(outcome[FAST], outcome[SLOW]);
		assert_memory_equal(&result[FAST], &result[SLOW], sizeof(result[FAST]));
		page = rng_below(&pair->rng, 6) ? page + 1 : (unsigned)rng_below(&pair->rng, WORLD_PAGES);
		page %= WORLD_PAGES;
	}
}

static void walk(const char *policy, const char *geometry, uint64_t batch, bool audited, uint64_t seed)
{
	struct pair pair;

	/* Few frames at times, so that they run out. */
	pair_open(&pair, policy, geometry, seed % 3 ? 400 : 30, batch, audited, seed);
	for (unsigned i = 0; i < 120; i++) {
		if (rng_below(&pair.rng, 2))
			burst(&pair);
		else
			any_step(&pair);
		same(&pair);
	}
	pair_close(&pair);
}

static void runs_are_the_long_way(void **state)
{
	static const char *const policies[] = {
		"exclusive",    "page-count",  "mapcount",    "mapcount-unshare", "pte-exclusive",
		"page-count-2.6", "always-copy", "vma-nocow", "exclusive,marker=adjacent", "exclusive-5.19",
	};
	static const char *const geometries[] = { "tiny", "x86-64", "arm64-64k" };

	(void)state;
	for (unsigned i = 0; i < rounds(600); i++)
		walk(policies[i % 10], geometries[i / 10 % 3], i % 7 ? 0 : 3, i % 2 || i % 4, i + 1);
}

/* `ideal` wants the truth of each page: no answer is good for another. */
static void truth_is_asked_for_each_page(void **state)
{
	(void)state;
	for (unsigned i = 0; i < rounds(100); i++)
		walk("ideal", i % 2 ? "tiny" : "x86-64", 0, true, i + 1);
}

/*
 *  P: |wwww...w|     long runs: fork, writes that copy, exit, writes that reuse, twice over
 */
static void long_runs(void **state)
{
	enum { PAGES = 3000 };

	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		struct pair pair;

		pair_open(&pair, round & 1 ? "pte-exclusive" : "exclusive", "x86-64", 4 * PAGES, 0, round & 2,
			  round);
		for (int i = 0; i < SIDES; i++) {
			cow_machine *m = pair.side[i].m;
			cow_mm p = pair.side[i].mms[0], c;
			const uint64_t page = cow_machine_page_size(m), base = 7 * page;
			struct cow_result result;

			assert_int_equal(cow_mmap(m, p, base, PAGES, COW_PROT_RW, 0), 0);
			/* From the middle up, then all: frames rise, and then fall. */
			for (int again = 0; again < 2; again++) {
				assert_int_equal(cow_write_range(m, p, base + 1000 * page, PAGES - 1000, 1,
								 NULL), 0);
				assert_int_equal(cow_write_range(m, p, base, PAGES, 2, &result), 0);
				assert_int_equal(result.counts[COW_OUT_ALLOC], 1000);
				/* Reads are what the audit judges by. */
				assert_int_equal(cow_read_range(m, p, base, PAGES, NULL, NULL), 0);
				assert_int_equal(cow_fork(m, p, NULL, &c), 0);
				assert_int_equal(cow_write_range(m, p, base, 2000, 3, &result), 0);
				assert_int_equal(result.counts[COW_OUT_COPY], 2000);
				if (round & 4)
					for (unsigned at = 0; at < 300; at++)
						assert_int_equal(cow_write(m, c, base + 7 * at * page, 4, NULL),
								 0);
				assert_int_equal(cow_read_range(m, c, base, PAGES, NULL, NULL), 0);
				assert_int_equal(cow_read_range(m, p, base, PAGES, NULL, NULL), 0);
				assert_int_equal(cow_mm_exit(m, c), 0);
				assert_int_equal(cow_write_range(m, p, base, PAGES, 5, &result), 0);
				assert_int_equal(result.counts[COW_OUT_HIT], 2000);
				assert_int_equal(result.counts[COW_OUT_REUSE], 1000);
				assert_int_equal(cow_read_range(m, p, base, PAGES, NULL, NULL), 0);
				assert_int_equal(cow_munmap(m, p, base + 500 * page, PAGES - 500), 0);
				assert_int_equal(cow_munmap(m, p, base, 500), 0);
				assert_int_equal(cow_mmap(m, p, base, PAGES, COW_PROT_RW, 0), 0);
			}
		}
		pair.what = "long runs";
		same(&pair);
		if (pair.audit[FAST])
			assert_int_equal(cow_audit_verdict(pair.audit[FAST]), 0);
		pair_close(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_the_long_way),
		cmocka_unit_test(truth_is_asked_for_each_page),
		cmocka_unit_test(long_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
