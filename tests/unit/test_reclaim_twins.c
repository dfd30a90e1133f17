/* SPDX-License-Identifier: MIT
 *
 * Two machines take the same steps.  Somebody looks on at the second, so that it goes the long way
 * everywhere, step by step through reclaim.c and drop.c; the first may go the short way.  They answer
 * alike, count alike, and are the same machine after every step.
 */
#include "machine/rmap.h"
#include "world.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

/* What the twins are asked to do: a step of the world, or reclaim in one pass, or page by page. */
struct act {
	struct step step;
	bool reclaim, single;
};

struct pair {
	struct world world[2]; /* [1] is watched */
	struct cow_policy moody;
	cow_policies *list;
	const char *policy;
	uint64_t seed;
	unsigned step;
	uint64_t outs, shared, drops; /* of both; acts that took out shared pages; of [1] */
};

/* Looks at every bit of a view, so that whoever takes the answer of another one is found out. */
static const struct cow_rule *moody(struct cow_view view)
{
	static const struct cow_rule rules[] = {
		{ COW_ACT_ALLOW, 1, "this", "a test" }, { COW_ACT_ALLOW, 3, "that", "a test" },
		{ COW_ACT_ALLOW, 0, "these", "a test" }, { COW_ACT_REFUSE, 2, "no", "a test" },
	};
	uint64_t word;

	memcpy(&word, &view, sizeof(word));
	return &rules[word * UINT64_C(0x9e3779b97f4a7c15) >> 62];
}

static void look_on(void *ctx, const struct cow_change *change)
{
	struct pair *pair = ctx;

	pair->drops += change->kind == COW_CHANGE_UNCACHE;
}

/* One page at a time where the act says so: the results add up. */
static int reclaim_all(const struct world *world, const struct act *act, bool freed,
		       struct cow_result *out, struct cow_result *dropped)
{
	cow_mm mm = world->mms[act->step.mm % world->mm_count];
	unsigned pages = act->single ? 1 : act->step.pages;
	struct cow_result more[2] = { { 0 } };

	for (unsigned at = 0; at < act->step.pages; at += pages) {
		uint64_t addr = world_addr(world, act->step.first + at);
		int error = freed ? cow_reclaim(world->m, mm, addr, pages, &more[0], &more[1])
				  : cow_swap_out(world->m, mm, addr, pages, act->step.flags & 1,
						 &more[0]);

		for (int id = 0; id < COW_OUTCOME_COUNT; id++) {
			out->counts[id] += more[0].counts[id];
			dropped->counts[id] += more[1].counts[id];
		}
		out->outcome = more[0].outcome;
		out->done += more[0].done;
		dropped->outcome = more[1].outcome;
		dropped->done += more[1].done;
		if (error)
			return error;
	}
	return 0;
}

static int act_do(struct world *world, const struct act *act, struct cow_result result[2])
{
	struct said said = { 0 };

	memset(result, 0, 2 * sizeof(*result));
	if (act->reclaim && world->mm_count)
		return reclaim_all(world, act, !(act->step.flags & 2), &result[0], &result[1]);
	world_step(world, &act->step, &said);
	result[0] = said.result;
	return said.error;
}

/* A third of the acts take pages out, a third touch what may be out; forks make pages of many mappings. */
static struct act act_random(struct rng *rng, const struct world *world)
{
	struct act act = { 0 };

	do {
		step_any(rng, world, false, &act.step);
		if ((act.step.kind == STEP_EXIT || act.step.kind == STEP_MUNMAP ||
		     act.step.kind == STEP_SWAPOFF) && rng_below(rng, 4))
			act.step.kind = rng_below(rng, 2) ? STEP_READ_RANGE : STEP_FORK;
	} while (!world_can(world, &act.step));
	act.reclaim = !rng_below(rng, 3);
	act.single = rng_below(rng, 2);
	if (!act.reclaim && rng_below(rng, 2))
		act.step.kind = rng_below(rng, 3) ? STEP_WRITE_RANGE : STEP_READ_RANGE;
	if (act.reclaim || act.step.kind == STEP_WRITE_RANGE || act.step.kind == STEP_READ_RANGE) {
		act.step.first = (unsigned)rng_below(rng, WORLD_PAGES);
		act.step.pages = 1 + (unsigned)rng_below(rng, WORLD_PAGES - act.step.first);
		act.step.flags = (unsigned)rng_next(rng);
	}
	return act;
}

/* Pages of the act that more than one PTE maps. */
static unsigned pages_shared(const struct world *world, const struct act *act)
{
	unsigned shared = 0;
	struct cow_page page;

	for (unsigned i = 0; world->mm_count && i < act->step.pages; i++)
		shared += !cow_page_look(world->m, world->mms[act->step.mm % world->mm_count],
					 world_addr(world, act->step.first + i), &page) &&
			  page.present && page.anon && page.mapcount > 1;
	return shared;
}

static bool same_result(const struct cow_result *a, const struct cow_result *b)
{
	return a->outcome == b->outcome && a->done == b->done &&
	       !memcmp(a->counts, b->counts, sizeof(a->counts));
}

static void must_be_twins(const struct pair *pair, const struct act *act)
{
	const cow_machine *a = pair->world[0].m, *b = pair->world[1].m;
	const char *what = act->reclaim ? "reclaim" : step_name(act->step.kind);
	struct cow_error error;

	for (int id = 0; id < COW_COUNTER_COUNT; id++)
		if (cow_machine_counter(a, id) != cow_machine_counter(b, id))
			fail_msg("%s, seed %llu, step %u, %s: %s is %llu, not %llu", pair->policy,
				 (unsigned long long)pair->seed, pair->step, what,
				 cow_counter_name(id),
				 (unsigned long long)cow_machine_counter(a, id),
				 (unsigned long long)cow_machine_counter(b, id));
	if (!cow_machine_equal(a, b))
		fail_msg("%s, seed %llu, step %u, %s: the machines differ", pair->policy,
			 (unsigned long long)pair->seed, pair->step, what);
	if (cow_machine_check(a, &error))
		fail_msg("%s, seed %llu, step %u, %s: %s", pair->policy,
			 (unsigned long long)pair->seed, pair->step, what, error.sentence);
}

/* Every other seed has a moody policy. */
static void pair_start(struct pair *pair, const char *policy, uint64_t seed)
{
	struct cow_observer observer = { .size = sizeof(observer), .ctx = pair, .change = look_on };
	struct cow_config config;

	pair->policy = policy;
	pair->seed = seed;
	cow_config_init(&config);
	config.policy = policy_parse(policy, &pair->list);
	assert_non_null(config.policy);
	pair->moody = *config.policy;
	pair->moody.decide[COW_DECIDE_SWAP_OUT] = moody;
	if (seed % 2)
		config.policy = &pair->moody;
	config.geometry = *cow_geometry_find("tiny");
	config.frames = 80 + seed / 2 % 2 * 400;
	config.swap = 5 + seed % 3 * 60;
	config.lru_batch = seed % 5 == 0 ? 3 : 0;
	config.stable_writes = seed / 4 % 4 == 0;
	for (int i = 0; i < 2; i++) {
		cow_machine *m;

		assert_int_equal(cow_machine_create(&config, &m), 0);
		if (i)
			assert_int_equal(cow_machine_observe(m, &observer), 0);
		assert_int_equal(world_init(&pair->world[i], m), 0);
		assert_int_equal(cow_mmap(m, pair->world[i].mms[0], pair->world[i].base, WORLD_PAGES,
					  COW_PROT_RW, 0), 0);
	}
}

static void pair_end(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		pair->outs += cow_machine_counter(pair->world[i].m, COW_COUNT_SWAP_OUTS);
		world_end(&pair->world[i]);
		cow_machine_destroy(pair->world[i].m);
	}
	cow_policies_free(pair->list);
}

static void pair_run(struct pair *pair, const char *policy, uint64_t seed, unsigned steps)
{
	struct rng rng = { seed };

	pair_start(pair, policy, seed);
	for (pair->step = 0; pair->step < steps; pair->step++) {
		struct act act = act_random(&rng, &pair->world[0]);
		struct cow_result results[2][2];
		unsigned before = act.reclaim ? pages_shared(&pair->world[0], &act) : 0;
		int first = act_do(&pair->world[0], &act, results[0]);
		int second = act_do(&pair->world[1], &act, results[1]);

		if (first != second || !same_result(&results[0][0], &results[1][0]) ||
		    !same_result(&results[0][1], &results[1][1]))
			fail_msg("%s, seed %llu, step %u: another answer", policy,
				 (unsigned long long)seed, pair->step);
		must_be_twins(pair, &act);
		if (act.reclaim && before > pages_shared(&pair->world[0], &act))
			pair->shared++;
	}
	pair_end(pair);
}

static void who_looks_on_changes_nothing(void **state)
{
	static const char *const policies[] = {
		"exclusive", "exclusive,marker=none", "exclusive,marker=pte", "exclusive,marker=extra",
		"exclusive-6.2", "pte-exclusive", "page-count", "mapcount",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		unsigned seeds = rounds(60);
		struct pair pair = { .policy = NULL };

		for (uint64_t seed = 1; seed <= seeds; seed++)
			pair_run(&pair, policies[i], seed, 300);
		/* It all happened, and often. */
		if (pair.outs < 150 * seeds || pair.drops < 60 * seeds || pair.shared < 2 * seeds)
			fail_msg("%s: only %llu went out, %llu away, %llu times shared", policies[i],
				 (unsigned long long)pair.outs, (unsigned long long)pair.drops,
				 (unsigned long long)pair.shared);
	}
}

/* Pages 1 to 3 are clean and in the swap cache, and no slot is left: madvise pageout takes one of them,
 * reclaim looks at none, though it looks as the last one did. */
static void no_slot_is_left(void **state)
{
	enum { PAGES = 24, SLOTS = 20, PAGE = 4096 };
	struct cow_result result, dropped;
	struct cow_config config;
	cow_machine *m;
	cow_mm p;

	(void)state;
	cow_config_init(&config);
	config.frames = 100;
	config.swap = SLOTS;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, &p), 0);
	assert_int_equal(cow_mmap(m, p, 0, PAGES, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(m, p, 0, PAGES, 7, NULL), 0);
	assert_int_equal(cow_swap_out(m, p, 0, 4, false, NULL), 0);
	assert_int_equal(cow_read_range(m, p, 0, 4, NULL, NULL), 0);
	assert_int_equal(cow_swap_out(m, p, 4 * PAGE, SLOTS - 4, false, &result), 0);
	assert_int_equal(result.counts[COW_OUT_MOVED], SLOTS - 4);
	assert_int_equal(cow_madvise(m, p, PAGE, 1, COW_ADV_PAGEOUT, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_MOVED);
	assert_int_equal(cow_swap_out(m, p, 2 * PAGE, 1, false, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_REFUSED);
	assert_int_equal(cow_swap_out(m, p, 2 * PAGE, 2, false, &result), 0);
	assert_int_equal(result.counts[COW_OUT_REFUSED], 2);
	assert_int_equal(cow_reclaim(m, p, 2 * PAGE, 1, &result, &dropped), 0);
	assert_int_equal(result.outcome, COW_OUT_REFUSED);
	assert_int_equal(dropped.outcome, COW_OUT_REFUSED);
	cow_machine_destroy(m);
}

/*
 *	       page 0      page 1
 *	P, D   frame 1     frame 2     in the swap cache, with slots 1 and 2
 *	C      slot 1      slot 2
 *
 * P is the parent of both.  Page 0 is asked about; page 1 looks as it did.  The entry of C names a slot
 * whose number is the frame's, and maps nothing.
 */
static void a_slot_is_no_frame(void **state)
{
	struct cow_result result;
	struct place places[3];
	struct cow_page page;
	struct cow_config config;
	cow_machine *m;
	cow_mm p, c, d;

	(void)state;
	cow_config_init(&config);
	config.frames = 100;
	config.swap = 20;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, &p), 0);
	assert_int_equal(cow_mmap(m, p, 0, 2, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(m, p, 0, 2, 7, NULL), 0);
	assert_int_equal(cow_fork(m, p, NULL, &c), 0);
	assert_int_equal(cow_swap_out(m, p, 0, 2, false, NULL), 0);
	assert_int_equal(cow_read_range(m, p, 0, 2, NULL, NULL), 0);
	assert_int_equal(cow_fork(m, p, NULL, &d), 0);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(cow_page_look(m, p, i * 4096, &page), 0);
		assert_int_equal(page.frame, i + 1);
		assert_int_equal(page.mapcount, 2);
		assert_int_equal(cow_page_look(m, c, i * 4096, &page), 0);
		assert_true(page.swapped);
		assert_int_equal(page.slot, i + 1);
	}
	assert_int_equal(rmap_places(m, 1, places, 3), 2);
	assert_true(*places[0].pte & *places[1].pte & PTE_PRESENT);
	assert_int_equal(rmap_places(m, 1, places, 1), 0);
	assert_int_equal(cow_swap_out(m, p, 0, 2, false, &result), 0);
	assert_int_equal(result.counts[COW_OUT_MOVED], 2);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(cow_page_look(m, d, i * 4096, &page), 0);
		assert_true(page.swapped);
		assert_int_equal(page.swapcount, 3);
	}
	cow_machine_destroy(m);
}

/* A machine with a process that maps and has written `pages` pages at 0, each with `value` and, if they
 * are `different`, its number. */
static cow_machine *written(uint64_t pages, uint64_t value, bool different, cow_mm *p)
{
	struct cow_config config;
	cow_machine *m;

	cow_config_init(&config);
	config.frames = 2000;
	config.swap = 100;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, p), 0);
	assert_int_equal(cow_mmap(m, *p, 0, pages, COW_PROT_RW, COW_MAP_THP), 0);
	assert_int_equal(cow_madvise(m, *p, 0, pages, COW_ADV_MERGEABLE, NULL), 0);
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(cow_write(m, *p, i * 4096, value + (different ? i : 0), NULL), 0);
	return m;
}

/* More mappings than the short way can keep in mind: the long way finds them all. */
static void very_many_mappings(void **state)
{
	enum { CHILDREN = 70 };
	struct cow_result result;
	struct cow_page page;
	cow_mm p, child;
	cow_machine *m = written(2, 7, true, &p);

	(void)state;
	for (int i = 0; i < CHILDREN; i++)
		assert_int_equal(cow_fork(m, p, NULL, &child), 0);
	assert_int_equal(cow_swap_out(m, p, 0, 2, false, &result), 0);
	assert_int_equal(result.counts[COW_OUT_MOVED], 2);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(cow_page_look(m, child, i * 4096, &page), 0);
		assert_true(page.swapped);
		assert_int_equal(page.swapcount, CHILDREN + 1);
	}
	assert_int_equal(cow_machine_check(m, NULL), 0);
	cow_machine_destroy(m);
}

/* Pages of KSM with one mapping look like each other; each has an item that leads to it. */
static void pages_of_ksm(void **state)
{
	struct cow_result result;
	struct cow_page page;
	cow_mm p;
	cow_machine *m = written(4, 7, true, &p);

	(void)state;
	/* A second region of the same contents, which goes again. */
	assert_int_equal(cow_mmap(m, p, 8 * 4096, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_madvise(m, p, 8 * 4096, 4, COW_ADV_MERGEABLE, NULL), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(cow_write(m, p, (8 + i) * 4096, 7 + i, NULL), 0);
	assert_int_equal(cow_ksm_scan(m, NULL), 0);
	assert_int_equal(cow_munmap(m, p, 8 * 4096, 4), 0);
	assert_int_equal(cow_swap_out(m, p, 0, 4, false, &result), 0);
	assert_int_equal(result.counts[COW_OUT_MOVED], 4);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(cow_read(m, p, i * 4096, NULL, NULL), 0);
		assert_int_equal(cow_page_look(m, p, i * 4096, &page), 0);
		assert_true(page.ksm && page.value == 7 + i);
	}
	assert_int_equal(cow_machine_check(m, NULL), 0);
	cow_machine_destroy(m);
}

/* Between two pages there is none, also where the last answer is good for its neighbours. */
static void addresses_of_no_page(void **state)
{
	struct cow_result result, dropped;
	cow_mm p;
	cow_machine *m = written(6, 7, true, &p);

	(void)state;
	assert_int_equal(cow_swap_out(m, p, 0, 2, false, NULL), 0);
	assert_int_equal(cow_swap_out(m, p, 2 * 4096 + 1, 1, false, &result), -EINVAL);
	assert_int_equal(cow_reclaim(m, p, 2 * 4096 + 1, 1, &result, &dropped), -EINVAL);
	assert_int_equal(cow_swap_out(m, p, 2 * 4096, 1, false, &result), 0);
	assert_int_equal(cow_reclaim(m, p, 3 * 4096, 1, &result, &dropped), 0);
	assert_int_equal(result.outcome, COW_OUT_MOVED);
	cow_machine_destroy(m);
}

/* A PMD has no page in the swap cache, and no PTEs to look at. */
static void dropping_a_pmd(void **state)
{
	struct cow_result result;
	struct cow_page page;
	cow_mm p;
	cow_machine *m = written(512, 7, false, &p);

	(void)state;
	assert_int_equal(cow_page_look(m, p, 0, &page), 0);
	assert_true(page.huge);
	assert_int_equal(cow_swap_drop(m, p, 0, 512, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_NONE);
	assert_int_equal(cow_page_look(m, p, 0, &page), 0);
	assert_true(page.huge);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_looks_on_changes_nothing),
		cmocka_unit_test(no_slot_is_left),
		cmocka_unit_test(a_slot_is_no_frame),
		cmocka_unit_test(very_many_mappings),
		cmocka_unit_test(pages_of_ksm),
		cmocka_unit_test(addresses_of_no_page),
		cmocka_unit_test(dropping_a_pmd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
