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

#include "audit/truth.h"
#include "machine/table.h"
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

static unsigned leaves_of_process(cow_audit *audit, size_t process, bool spread)
{
	unsigned leaves = 0;

	for (struct leafcells *leaf = audit->processes[process].leaves; leaf; leaf = leaf->next) {
		leaves++;
		if (spread && !leaf_is_spread(leaf))
			leaf_spread(audit, leaf);
	}
	return leaves;
}

/* The stamps of all pages, those of runs that are not written down yet included. */
static void same_cells(const struct pair *pair)
{
	cow_audit *fast = pair->audit[FAST], *slow = pair->audit[SLOW];

	assert_int_equal(fast->process_room, slow->process_room);
	for (size_t process = 0; process < fast->process_room; process++) {
		struct leafcells *leaf = fast->processes[process].leaves;

		assert_int_equal(leaves_of_process(fast, process, false),
				 leaves_of_process(slow, process, false));
		for (; leaf; leaf = leaf->next) {
			const uint64_t page = leaf->group << fast->bits;
			const uint64_t *cells = cell_find(slow, process, page);

			assert_non_null(cells);
			assert_memory_equal(leaf_cell(fast, leaf, page), cells,
					    sizeof(*cells) << fast->bits);
		}
	}
}

/* One side writes every stamp down after each step, the other one only when it must. */
static void compare_cells(struct pair *pair, bool now)
{
	if (!pair->audit[FAST])
		return;
	for (size_t process = 0; process < pair->audit[SLOW]->process_room; process++)
		leaves_of_process(pair->audit[SLOW], process, true);
	if (now)
		same_cells(pair);
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
		compare_cells(&pair, rng_below(&pair.rng, 8) == 0);
	}
	compare_cells(&pair, true);
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
		compare_cells(&pair, true);
		if (pair.audit[FAST])
			assert_int_equal(cow_audit_verdict(pair.audit[FAST]), 0);
		pair_close(&pair);
	}
}

/* A machine with an audit and one process, for a test that looks at the audit's cells. */
struct watched {
	cow_machine *m;
	cow_audit *audit;
	cow_policies *list;
	cow_mm p;
};

static void watched_begin(struct watched *w, uint64_t frames)
{
	w->m = machine_new("x86-64", policy_parse("exclusive", &w->list), frames, 0);
	assert_non_null(w->m);
	assert_int_equal(cow_audit_attach(w->m, &w->audit), 0);
	assert_int_equal(cow_mm_create(w->m, &w->p), 0);
}

static void watched_end(struct watched *w)
{
	assert_int_equal(cow_audit_verdict(w->audit), 0);
	cow_audit_detach(w->audit);
	cow_machine_destroy(w->m);
	cow_policies_free(w->list);
}

/*
 *  P: |wwwwwwww|  all leaves hold a run, and so do those of a child; no stamp is written down
 *  P: |.w......|  one is written: its leaf is written out, the others and the child's are not
 */
static void runs_are_not_written_down(void **state)
{
	enum { PAGES = 4 * 512 };
	const uint64_t page = 4096, base = 512 * page;
	struct watched w;
	cow_mm c;

	(void)state;
	watched_begin(&w, 2 * PAGES);
	assert_int_equal(cow_mmap(w.m, w.p, base, PAGES, COW_PROT_RW, 0), 0);
	for (int again = 0; again < 2; again++) {
		/* A first page that goes the long way writes its leaf out. */
		const unsigned least = again ? 3 : 4;
		const struct leafcells *leaf;
		unsigned written = 0, runs = 0, inherited = 0;

		assert_int_equal(cow_write_range(w.m, w.p, base, PAGES, 1, NULL), 0);
		for (leaf = w.audit->processes[1].leaves; leaf; leaf = leaf->next)
			runs += leaf->rest == REST_RUN;
		assert_true(runs >= least);
		assert_int_equal(cow_fork(w.m, w.p, NULL, &c), 0);
		for (leaf = w.audit->processes[2 + again].leaves; leaf; leaf = leaf->next)
			inherited += leaf->rest == REST_RUN;
		assert_int_equal(inherited, runs);
		assert_int_equal(cow_write(w.m, w.p, base + page, 2, NULL), 0);
		for (leaf = w.audit->processes[1].leaves; leaf; leaf = leaf->next)
			written += leaf_is_spread(leaf);
		assert_int_equal(written, 1);
		assert_int_equal(leaves_of_process(w.audit, 1, false), 4);
		assert_int_equal(leaves_of_process(w.audit, 2 + (size_t)again, false), 4);
		assert_int_equal(cow_read_range(w.m, c, base, PAGES, NULL, NULL), 0);
		assert_int_equal(cow_read_range(w.m, w.p, base, PAGES, NULL, NULL), 0);
		assert_int_equal(cow_mm_exit(w.m, c), 0);
	}
	watched_end(&w);
}

/* The stamps of some pages of a leaf, against those of single pages. */
static void cells_rise(cow_audit *audit, uint64_t process, uint64_t first, uint64_t pages, uint64_t stamp)
{
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(*cell_find(audit, process, first + i), stamp + i * STAMP_NEXT);
}

/*
 *  P: |wwww....|  a front on zeroes, in a leaf that was another's; fork, and both know it
 *  P: |wwwwssss|  a front on stamps that are written down
 */
static void a_front_goes_to_the_child(void **state)
{
	enum { PAGES = 512, FRONT = 100 };
	const uint64_t page = 4096, first = 512, base = first * page;
	struct watched w;
	cow_mm c, d;
	uint64_t stamp;

	(void)state;
	watched_begin(&w, 4 * PAGES);
	assert_int_equal(cow_mmap(w.m, w.p, base, PAGES, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(w.m, w.p, base, PAGES, 1, NULL), 0);
	assert_int_equal(cow_read_range(w.m, w.p, base, PAGES, NULL, NULL), 0);
	assert_int_equal(cow_munmap(w.m, w.p, base, PAGES), 0); /* the leaf goes back, full of stamps */

	assert_int_equal(cow_mmap(w.m, w.p, base, PAGES, COW_PROT_RW, 0), 0);
	stamp = stamp_make(w.audit->time + 1, 1, 0);
	assert_int_equal(cow_write_range(w.m, w.p, base, FRONT, 2, NULL), 0);
	assert_int_equal(w.audit->processes[1].leaves->front_pages, FRONT);
	assert_int_equal(cow_fork(w.m, w.p, NULL, &c), 0);
	assert_int_equal(w.audit->processes[2].leaves->front_pages, FRONT);
	for (uint64_t process = 1; process <= 2; process++) {
		cells_rise(w.audit, process, first, FRONT, stamp);
		for (uint64_t i = FRONT; i < PAGES; i++)
			assert_int_equal(*cell_find(w.audit, process, first + i), 0);
	}
	assert_int_equal(cow_mm_exit(w.m, c), 0);

	assert_int_equal(cow_write_range(w.m, w.p, base, PAGES, 3, NULL), 0);
	assert_true(leaf_is_spread(w.audit->processes[1].leaves));
	stamp = *cell_find(w.audit, 1, first + FRONT);
	assert_int_equal(cow_write_range(w.m, w.p, base, FRONT, 4, NULL), 0);
	assert_int_equal(w.audit->processes[1].leaves->front_pages, FRONT);
	assert_int_equal(cow_fork(w.m, w.p, NULL, &d), 0);
	for (uint64_t process = 1; process <= 3; process += 2) {
		cells_rise(w.audit, process, first, FRONT, stamp_make(w.audit->time - FRONT + 1, 1, 0));
		cells_rise(w.audit, process, first + FRONT, PAGES - FRONT, stamp);
	}
	watched_end(&w);
}

static uint32_t frame_of(const cow_machine *m, uint64_t page)
{
	struct leaf leaf;

	assert_true(leaf_find(m, mm_at(m, 1)->root, page, &leaf));
	return pte_frame(leaf.ptes[leaf_slot(m, page)]);
}

/* What was mapped in rising order and given up is mapped in rising order again: frames and tables. */
static void frames_come_back_in_order(void **state)
{
	enum { PAGES = 1600 };
	const uint64_t page = 4096, base = 100;
	cow_machine *m;
	cow_policies *list;
	cow_mm p, c;

	(void)state;
	m = machine_new("x86-64", policy_parse("exclusive", &list), 3 * PAGES, 0);
	assert_non_null(m);
	assert_int_equal(cow_mm_create(m, &p), 0);
	for (int again = 0; again < 3; again++) {
		assert_int_equal(cow_mmap(m, p, base * page, PAGES, COW_PROT_RW, 0), 0);
		assert_int_equal(cow_write_range(m, p, base * page, PAGES, 1, NULL), 0);
		for (uint64_t i = 1; i < PAGES; i++)
			assert_int_equal(frame_of(m, base + i), frame_of(m, base) + i);
		assert_int_equal(cow_fork(m, p, NULL, &c), 0);
		assert_int_equal(cow_write_range(m, p, base * page, PAGES, 1, NULL), 0);
		assert_int_equal(cow_mm_exit(m, c), 0);
		for (uint64_t i = 1; i < PAGES; i++)
			assert_int_equal(frame_of(m, base + i), frame_of(m, base) + i);
		assert_int_equal(cow_munmap(m, p, base * page, PAGES), 0);
	}
	cow_machine_destroy(m);
	cow_policies_free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_not_written_down),
		cmocka_unit_test(a_front_goes_to_the_child),
		cmocka_unit_test(frames_come_back_in_order),
		cmocka_unit_test(runs_are_the_long_way),
		cmocka_unit_test(truth_is_asked_for_each_page),
		cmocka_unit_test(long_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
