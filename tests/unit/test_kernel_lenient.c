/* SPDX-License-Identifier: MIT
 *
 * Machines under policies of one's own, which allow what no built-in one does, and in geometries
 * that make borders of tables near: what the simulator sees to itself, whoever decides.  What a
 * scenario can say is in test_kernel_scenes.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cowlab.h>
#include <errno.h>

enum { PAGE = 4096, BASE = 0x1000000 };

/* A machine under a policy of one's own, and P with `pages` pages from BASE on. */
static cow_machine *machine_of(const struct cow_policy *policy, struct cow_geometry geometry,
			       uint64_t pages, unsigned flags, cow_mm *p)
{
	struct cow_config config;
	cow_machine *m;

	cow_config_init(&config);
	config.policy = policy;
	if (geometry.levels)
		config.geometry = geometry;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, p), 0);
	assert_int_equal(cow_mmap(m, *p, BASE, pages, COW_PROT_RW, flags), 0);
	assert_int_equal(cow_write_range(m, *p, BASE, pages, 1, NULL), 0);
	return m;
}

static void machine_end(cow_machine *m)
{
	struct cow_error error = { 0 };

	if (cow_machine_check(m, &error))
		fail_msg("%s", error.sentence);
	cow_machine_destroy(m);
}

static struct cow_page looked_at(cow_machine *m, cow_mm mm, uint64_t page)
{
	struct cow_page at;

	assert_int_equal(cow_page_look(m, mm, BASE + page * PAGE, &at), 0);
	return at;
}

/*
 *   from |HHHHHHHH|HHHHHHHH|   to |........|........|
 *
 * A PMD moves as a whole only from its first page, to where one may be, and if all of it is wanted.
 */
static void a_huge_page_moves_as_a_whole_or_in_pages(void **state)
{
	enum { TO = 24 };
	static const struct {
		uint64_t from, pages, to;
		bool whole;
	} moves[] = { { 0, 8, TO, true }, { 4, 8, TO, false }, { 0, 8, TO + 4, false },
		      { 0, 7, TO, false } };
	const struct cow_geometry small = { 12, 5, { 3, 3, 3, 3, 3 } };

	(void)state;
	for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
		uint64_t from = moves[i].from, to = moves[i].to, value = 0;
		struct cow_result result;
		cow_machine *m;
		cow_mm p;

		m = machine_of(NULL, small, 16, COW_MAP_THP, &p);
		assert_true(looked_at(m, p, 8).huge);
		for (uint64_t page = 0; page < 16; page++)
			assert_int_equal(cow_write(m, p, BASE + page * PAGE, 100 + page, NULL), 0);
		assert_int_equal(cow_mmap(m, p, BASE + TO * PAGE, 16, COW_PROT_RW, 0), 0);
		assert_int_equal(cow_uffd_move(m, p, BASE + from * PAGE, moves[i].pages,
					       BASE + to * PAGE, &result),
				 0);
		assert_int_equal(result.done, moves[i].pages);
		assert_int_equal(looked_at(m, p, to).huge, moves[i].whole);
		for (uint64_t page = 0; page < moves[i].pages; page++) {
			assert_int_equal(cow_read(m, p, BASE + (to + page) * PAGE, &value, NULL),
					 0);
			assert_int_equal(value, 100 + from + page);
			assert_false(looked_at(m, p, from + page).present);
		}
		machine_end(m);
	}
}

/* The page behind the destination may be the first that moves. */
static void pages_move_to_right_before_them(void **state)
{
	const struct cow_geometry usual = { 0 };
	uint64_t value = 0;
	cow_machine *m;
	cow_mm p;

	(void)state;
	m = machine_of(NULL, usual, 4, 0, &p);
	assert_int_equal(cow_munmap(m, p, BASE, 2), 0);
	assert_int_equal(cow_mmap(m, p, BASE, 2, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_uffd_move(m, p, BASE + 2 * PAGE, 2, BASE, NULL), 0);
	assert_int_equal(cow_read(m, p, BASE, &value, NULL), 0);
	assert_int_equal(value, 1);
	machine_end(m);
}

static const struct cow_rule *allows(struct cow_view view)
{
	static const struct cow_rule rule = { COW_ACT_ALLOW, 0, "allow", "test: always" };

	(void)view;
	return &rule;
}

static const struct cow_rule *reuses(struct cow_view view)
{
	static const struct cow_rule rule = { COW_ACT_REUSE, 0, "reuse", "test: always" };

	(void)view;
	return &rule;
}

static const struct cow_rule *upgrades(struct cow_view view)
{
	static const struct cow_rule rule = { COW_ACT_WRITABLE, 0, "writable", "test: always" };

	(void)view;
	return &rule;
}

static const struct cow_rule *demotes(struct cow_view view)
{
	static const struct cow_rule rule = { COW_ACT_DEMOTE, 0, "demote", "test: always" };

	(void)view;
	return &rule;
}

static const struct cow_rule *copies_what_is_tracked(struct cow_view view)
{
	static const struct cow_rule share = { COW_ACT_SHARE, 0, "share", "test: the rest" };
	static const struct cow_rule copy = { COW_ACT_EARLY_COPY, 0, "copy", "test: tracked" };

	return view.uffd_wp || view.soft_dirty ? &copy : &share;
}

/* A page that two map, and that a policy reuses all the same, still moves for both. */
static void both_follow_a_page_that_was_reused(void **state)
{
	const struct cow_geometry small = { 12, 5, { 3, 3, 3, 3, 3 } };
	struct cow_policy policy;
	struct cow_result result;
	uint32_t frame;
	cow_machine *m;
	cow_mm p, c;

	(void)state;
	cow_policy_init(&policy, cow_policy_find("mapcount"));
	policy.name = "reuses-all";
	policy.decide[COW_DECIDE_PMD] = reuses;
	m = machine_of(&policy, small, 8, COW_MAP_THP, &p);
	assert_int_equal(cow_fork(m, p, NULL, &c), 0);
	assert_int_equal(cow_write(m, c, BASE, 2, &result.outcome), 0);
	assert_int_equal(result.outcome, COW_OUT_REUSE);
	frame = looked_at(m, p, 0).frame;
	assert_int_equal(cow_migrate(m, p, BASE, 8, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_MOVED);
	assert_true(looked_at(m, p, 0).frame != frame);
	assert_int_equal(looked_at(m, p, 0).frame, looked_at(m, c, 0).frame);
	cow_machine_destroy(m); /* unchecked: two can write to the page */
}

/* What a policy allows does not lead the reverse map astray, nor lift userfaultfd's protection. */
static void not_all_is_up_to_the_policy(void **state)
{
	const struct cow_geometry small = { 12, 5, { 3, 3, 3, 3, 3 } };
	struct cow_policy policy;
	struct cow_result result;
	uint64_t value;
	cow_machine *m;
	cow_mm p, c;

	(void)state;
	cow_policy_init(&policy, NULL);
	policy.name = "allows-all";
	policy.decide[COW_DECIDE_MOVE] = allows;
	policy.decide[COW_DECIDE_PROTECT] = upgrades;
	policy.decide[COW_DECIDE_UFFD] = upgrades;
	m = machine_of(&policy, small, 9, COW_MAP_THP, &p);
	assert_int_equal(cow_uffd_wp(m, p, BASE, 8, true), 0);
	assert_int_equal(cow_mprotect(m, p, BASE, 8, COW_PROT_READ), 0);
	assert_int_equal(cow_mprotect(m, p, BASE, 8, COW_PROT_RW), 0);
	assert_true(looked_at(m, p, 0).huge);
	assert_false(looked_at(m, p, 0).writable);
	assert_int_equal(cow_numa_hint(m, p, BASE, 8, NULL), 0);
	assert_int_equal(cow_read(m, p, BASE, &value, NULL), 0);
	assert_false(looked_at(m, p, 0).writable);
	assert_int_equal(cow_uffd_wp(m, p, BASE, 8, false), 0);
	assert_true(looked_at(m, p, 0).writable);

	assert_int_equal(cow_fork(m, p, NULL, &c), 0);
	assert_int_equal(cow_mmap(m, p, BASE + 16 * PAGE, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_uffd_move(m, p, BASE + 8 * PAGE, 1, BASE + 16 * PAGE, &result),
			 -EBUSY);
	assert_int_equal(result.outcome, COW_OUT_REFUSED);
	machine_end(m);
}

/* A KSM page is nobody's own, though one mapping is left and the policy says so. */
static void no_policy_makes_a_ksm_page_writable(void **state)
{
	const struct cow_geometry usual = { 0 };
	struct cow_policy policy;
	uint64_t value;
	cow_machine *m;
	cow_mm p;

	(void)state;
	cow_policy_init(&policy, NULL);
	policy.name = "upgrades-all";
	policy.decide[COW_DECIDE_NUMA] = demotes;
	policy.decide[COW_DECIDE_PROTECT] = upgrades;
	policy.decide[COW_DECIDE_UFFD] = upgrades;
	m = machine_of(&policy, usual, 2, 0, &p);
	assert_int_equal(cow_madvise(m, p, BASE, 2, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(cow_ksm_scan(m, NULL), 0);
	assert_int_equal(cow_munmap(m, p, BASE + PAGE, 1), 0);
	assert_true(looked_at(m, p, 0).ksm);
	assert_int_equal(cow_uffd_wp(m, p, BASE, 1, true), 0);
	assert_int_equal(cow_uffd_wp(m, p, BASE, 1, false), 0);
	assert_false(looked_at(m, p, 0).writable);
	assert_int_equal(cow_numa_hint(m, p, BASE, 1, NULL), 0);
	assert_int_equal(cow_read(m, p, BASE, &value, NULL), 0);
	assert_false(looked_at(m, p, 0).writable);
	machine_end(m);
}

/* What cannot be accessed at all is not hinted at. */
static void no_hint_where_nothing_may_be_read(void **state)
{
	const struct cow_geometry usual = { 0 };
	struct cow_result result;
	cow_machine *m;
	cow_mm p;

	(void)state;
	m = machine_of(NULL, usual, 1, 0, &p);
	assert_int_equal(cow_mprotect(m, p, BASE, 1, COW_PROT_NONE), 0);
	assert_int_equal(cow_numa_hint(m, p, BASE, 1, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_NONE);
	machine_end(m);
}

/* Pins stay with the old folio if a policy lets it move all the same. */
static void pins_do_not_migrate(void **state)
{
	const struct cow_geometry small = { 12, 5, { 3, 3, 3, 3, 3 } };
	struct cow_policy policy;
	struct cow_result result;
	cow_machine *m;
	cow_mm p;
	cow_ref ref;

	(void)state;
	cow_policy_init(&policy, NULL);
	policy.name = "moves-all";
	policy.decide[COW_DECIDE_MIGRATE] = allows;
	m = machine_of(&policy, small, 8, COW_MAP_THP, &p);
	assert_int_equal(cow_gup(m, p, BASE, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(looked_at(m, p, 0).pincount, 1);
	assert_int_equal(cow_migrate(m, p, BASE, 8, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_MOVED);
	assert_int_equal(looked_at(m, p, 0).pincount, 0);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	assert_int_equal(cow_ref_release(m, ref), 0);
	assert_int_equal(cow_machine_counter(m, COW_COUNT_FRAMES_USED), 8);
	machine_end(m);

	/* nor does a pin of shared memory, whose old page is nobody's */
	m = machine_of(&policy, small, 1, COW_MAP_SHARED, &p);
	assert_int_equal(cow_gup(m, p, BASE, 1, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL, &ref), 0);
	assert_int_equal(cow_migrate(m, p, BASE, 1, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_MOVED);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	assert_int_equal(cow_ref_release(m, ref), 0);
	assert_int_equal(cow_machine_counter(m, COW_COUNT_FRAMES_USED), 1);
	machine_end(m);
}

/* Pages that look alike but for one bit are not taken for one another by fork. */
static void fork_asks_where_a_bit_differs(void **state)
{
	const struct cow_geometry usual = { 0 };
	struct cow_policy policy;

	(void)state;
	cow_policy_init(&policy, NULL);
	policy.name = "copies-tracked";
	policy.decide[COW_DECIDE_FORK] = copies_what_is_tracked;
	for (int soft = 0; soft < 2; soft++) {
		struct cow_result result;
		cow_machine *m;
		cow_mm p, c;

		m = machine_of(&policy, usual, 40, 0, &p);
		if (soft) {
			assert_int_equal(cow_clear_refs(m, p), 0);
			assert_int_equal(cow_mprotect(m, p, BASE, 40, COW_PROT_READ), 0);
			assert_int_equal(cow_mprotect(m, p, BASE, 40, COW_PROT_RW), 0);
			for (uint64_t page = 0; page < 40; page++)
				if (page != 20)
					assert_int_equal(cow_write(m, p, BASE + page * PAGE, 2,
								   NULL),
							 0);
			assert_int_equal(cow_mprotect(m, p, BASE, 40, COW_PROT_READ), 0);
		} else {
			assert_int_equal(cow_mprotect(m, p, BASE, 40, COW_PROT_READ), 0);
			assert_int_equal(cow_uffd_wp(m, p, BASE, 40, true), 0);
			assert_int_equal(cow_uffd_wp(m, p, BASE, 20, false), 0);
			assert_int_equal(cow_uffd_wp(m, p, BASE + 21 * PAGE, 19, false), 0);
		}
		assert_int_equal(cow_fork(m, p, &result, &c), 0);
		assert_int_equal(result.counts[COW_OUT_EARLY_COPY], 1);
		assert_int_equal(result.counts[COW_OUT_SHARE], 39);
		assert_true(looked_at(m, p, 20).frame != looked_at(m, c, 20).frame);
		machine_end(m);
	}
}

/* Fork of more huge pages than a table of PMDs has entries. */
static void fork_goes_on_in_the_next_table(void **state)
{
	const struct cow_geometry small = { 12, 5, { 3, 3, 3, 3, 3 } };
	uint64_t value = 0;
	cow_machine *m;
	cow_mm p, c;

	(void)state;
	m = machine_of(NULL, small, 3 * 64, COW_MAP_THP, &p);
	assert_true(looked_at(m, p, 0).huge);
	assert_int_equal(cow_fork(m, p, NULL, &c), 0);
	for (uint64_t page = 0; page < 3 * 64; page++) {
		assert_int_equal(cow_read(m, c, BASE + page * PAGE, &value, NULL), 0);
		assert_int_equal(value, 1);
		assert_int_equal(looked_at(m, c, page).mapcount, 2);
	}
	machine_end(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_huge_page_moves_as_a_whole_or_in_pages),
		cmocka_unit_test(pages_move_to_right_before_them),
		cmocka_unit_test(both_follow_a_page_that_was_reused),
		cmocka_unit_test(not_all_is_up_to_the_policy),
		cmocka_unit_test(no_policy_makes_a_ksm_page_writable),
		cmocka_unit_test(no_hint_where_nothing_may_be_read),
		cmocka_unit_test(pins_do_not_migrate),
		cmocka_unit_test(fork_asks_where_a_bit_differs),
		cmocka_unit_test(fork_goes_on_in_the_next_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
