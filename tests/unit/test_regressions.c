/* SPDX-License-Identifier: MIT
 *
 * What reviews and fuzzers found once, each in the smallest form that shows it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include "failing.h"
#include "tape.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, BASE = 0x10000000 };

static const struct cow_rule copy_now = { COW_ACT_EARLY_COPY, 0, "copy", "test: always" };

static const struct cow_rule *fork_copies(struct cow_view view)
{
	(void)view;
	return &copy_now;
}

/*
 *   P |wwww...w|   fork copies every page, as a policy of one's own may, and says so nowhere
 */
static void own_fork_policy_may_copy_all(void **state)
{
	enum { PAGES = 10000 };
	struct cow_policy policy;
	struct cow_config config;
	struct cow_result result;
	cow_machine *machine;
	cow_audit *audit;
	cow_mm parent, child;
	uint64_t value = 7;

	(void)state;
	cow_policy_init(&policy, NULL);
	policy.name = "copies-all";
	policy.decide[COW_DECIDE_FORK] = fork_copies;
	cow_config_init(&config);
	config.frames = 3 * PAGES;
	config.policy = &policy;
	assert_int_equal(cow_machine_create(&config, &machine), 0);
	assert_int_equal(cow_audit_attach(machine, &audit), 0);
	assert_int_equal(cow_mm_create(machine, &parent), 0);
	assert_int_equal(cow_mmap(machine, parent, BASE, PAGES, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(machine, parent, BASE, PAGES, value, NULL), 0);
	assert_int_equal(cow_fork(machine, parent, &result, &child), 0);
	assert_int_equal(result.counts[COW_OUT_EARLY_COPY], PAGES);
	assert_int_equal(cow_read_range(machine, child, BASE, PAGES, &value, &result), 0);
	assert_false(result.mismatch);
	assert_int_equal(cow_machine_counter(machine, COW_COUNT_NEEDLESS_COPIES), PAGES);
	assert_int_equal(cow_machine_check(machine, NULL), 0);
	cow_audit_detach(audit);
	cow_machine_destroy(machine);
}

/*
 *   P |rrrr|   read-only, untouched; a reference allocates each page, the LRU batch holds it, and
 *              the break of COW copies it: two frames a page
 */
static void a_reference_may_need_two_frames(void **state)
{
	cow_policies *policies;
	int failures = 0, error = -ENOMEM;

	(void)state;
	assert_int_equal(cow_policies_parse("page-count,gup=mapcount-force-break", NULL, NULL,
					    &policies),
			 0);
	for (uint64_t n = 1; error; n++) {
		struct failing failing = { .fail = n };
		struct cow_config config;
		cow_machine *machine, *before;
		cow_mm mm;
		cow_ref ref;

		cow_config_init(&config);
		config.lru_batch = 14;
		config.policy = cow_policies_at(policies, 0);
		config.allocator = failing_allocator(&failing);
		assert_int_equal(cow_machine_create(&config, &machine), 0);
		assert_int_equal(cow_mm_create(machine, &mm), 0);
		assert_int_equal(cow_mmap(machine, mm, BASE, 15, COW_PROT_READ, 0), 0);
		assert_int_equal(cow_machine_clone(machine, &before), 0);
		failing.armed = true;
		error = cow_gup(machine, mm, BASE, 15, 0, 1, NULL, &ref);
		failing.armed = false;
		if (error) {
			failures++;
			assert_int_equal(error, -ENOMEM);
			assert_true(cow_machine_error(machine)->host);
			assert_true(cow_machine_equal(machine, before));
		}
		assert_int_equal(cow_machine_check(machine, NULL), 0);
		cow_machine_destroy(before);
		cow_machine_destroy(machine);
	}
	assert_true(failures > 0);
	cow_policies_free(policies);
}

/* Processes and shared memory that are gone leave nothing with the audit but their numbers. */
static void the_audit_forgets(void **state)
{
	cow_machine *machine;
	cow_audit *audit;
	cow_mm parent, child;
	uint64_t before;

	(void)state;
	assert_int_equal(cow_machine_create(NULL, &machine), 0);
	assert_int_equal(cow_audit_attach(machine, &audit), 0);
	assert_int_equal(cow_mm_create(machine, &parent), 0);
	assert_int_equal(cow_mmap(machine, parent, BASE, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write(machine, parent, BASE, 1, NULL), 0);
	before = cow_audit_memory(audit);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(cow_fork(machine, parent, NULL, &child), 0);
		assert_int_equal(cow_write(machine, child, BASE, 2, NULL), 0);
		assert_int_equal(cow_mm_exit(machine, child), 0);
		assert_int_equal(cow_mmap(machine, parent, BASE + 16 * PAGE, 1, COW_PROT_RW,
					  COW_MAP_SHARED),
				 0);
		assert_int_equal(cow_write(machine, parent, BASE + 16 * PAGE, 3, NULL), 0);
		assert_int_equal(cow_munmap(machine, parent, BASE + 16 * PAGE, 1), 0);
	}
	/* 5000 records of 32 bytes for either, doubled by growth: far from a leaf of 4 KiB each. */
	assert_true(cow_audit_memory(audit) - before < 5000 * 2 * 2 * 64);
	cow_audit_detach(audit);
	cow_machine_destroy(machine);
}

static unsigned verdict_of(const char *text, const char *policy)
{
	cow_scenario *scenario;
	cow_policies *policies;
	cow_report *report;
	unsigned verdict;

	assert_int_equal(cow_scenario_parse("t", text, strlen(text), NULL, &scenario), 0);
	assert_int_equal(cow_policies_parse(policy, NULL, NULL, &policies), 0);
	assert_int_equal(cow_run(scenario, cow_policies_at(policies, 0), NULL, &report), 0);
	assert_int_equal(cow_report_status(report), COW_RUN_HELD);
	verdict = cow_report_verdict(report);
	cow_report_free(report);
	cow_policies_free(policies);
	cow_scenario_free(scenario);
	return verdict;
}

/* A write through a FOLL_GET reference, long ago, makes a later leak no smaller. */
static void a_get_hides_no_leak(void **state)
{
	(void)state;
	assert_int_equal(verdict_of("process P\nP: mmap a 1\nP: get w a write\npoke w 1\nrelease w\n"
				    "P: fork C\nC: get r a\nC: munmap a\nP: write a 9\npeek r\n",
				    "mapcount"),
			 COW_VERDICT(LEAK));
}

/* A decision taken from `ideal` makes fork ask page by page, and it must share as ever. */
static void truth_and_marker_go_together(void **state)
{
	static const char *const lists[] = { "exclusive,gup=ideal", "exclusive,protect=ideal",
					     "pte-exclusive,gup=ideal",
					     "exclusive,marker=extra,gup=ideal" };

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		assert_int_equal(verdict_of("process P\nP: mmap a 2\nP: write a 1\nP: fork C\n"
					    "P: write a 2 -> copy\nC: read a == 1\n"
					    "C: write a 3 -> reuse\nP: read a == 2\n",
					    lists[i]),
				 0);
}

/* Shared memory in a frame that held something else before reads as zeroes, and nobody leaks. */
static void shared_memory_begins_with_zeroes(void **state)
{
	(void)state;
	assert_int_equal(verdict_of("process P\nP: mmap a 1\nP: write a 5\nP: munmap a\n"
				    "P: mmap s 1 shared\nP: read s == 0 -> alloc\nP: fork C\n"
				    "C: read s == 0\nC: write s 4 -> hit\nP: read s == 4\n",
				    "exclusive"),
			 0);
}

/* Counters of what there is now hold in a machine that was loaded, whatever the marker's home. */
static void a_loaded_machine_counts_on(void **state)
{
	static const enum cow_marker homes[] = { COW_MARKER_FRAME, COW_MARKER_ADJACENT,
						 COW_MARKER_EXTRA };
	static const enum cow_counter now[] = { COW_COUNT_TABLES, COW_COUNT_SIDE_TABLES,
						COW_COUNT_FRAMES_USED };

	(void)state;
	for (size_t home = 0; home < sizeof(homes) / sizeof(*homes); home++) {
		struct tape tape = { 0 };
		struct cow_policy policy;
		struct cow_config config;
		cow_machine *machine, *loaded;
		cow_mm mm;

		cow_policy_init(&policy, NULL);
		policy.marker = homes[home];
		cow_config_init(&config);
		config.policy = &policy;
		assert_int_equal(cow_machine_create(&config, &machine), 0);
		assert_int_equal(cow_mm_create(machine, &mm), 0);
		assert_int_equal(cow_mmap(machine, mm, BASE, 3, COW_PROT_RW, 0), 0);
		assert_int_equal(cow_write_range(machine, mm, BASE, 3, 1, NULL), 0);
		assert_int_equal(cow_machine_save(machine, tape_write, &tape), 0);
		assert_int_equal(cow_machine_load(&config, tape_read, &tape, NULL, &loaded), 0);
		for (size_t i = 0; i < sizeof(now) / sizeof(*now); i++)
			assert_int_equal(cow_machine_counter(loaded, now[i]),
					 cow_machine_counter(machine, now[i]));
		tape_clear(&tape);
		assert_int_equal(cow_machine_counter(loaded, COW_COUNT_PEAK_FRAMES), 3);
		assert_int_equal(cow_mm_at(loaded, 0, &mm), 0);
		assert_int_equal(cow_munmap(loaded, mm, BASE, 3), 0);
		for (size_t i = 0; i < sizeof(now) / sizeof(*now); i++)
			assert_int_equal(cow_machine_counter(loaded, now[i]), 0);
		cow_machine_destroy(machine);
		cow_machine_destroy(loaded);
	}
}

/* The zero page is not pinned, and no pin of it is counted. */
static void the_zero_page_is_not_pinned(void **state)
{
	cow_machine *machine;
	cow_mm mm;
	cow_ref ref;

	(void)state;
	assert_int_equal(cow_machine_create(NULL, &machine), 0);
	assert_int_equal(cow_mm_create(machine, &mm), 0);
	assert_int_equal(cow_mmap(machine, mm, BASE, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_gup(machine, mm, BASE, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(cow_machine_counter(machine, COW_COUNT_PINS_ACQUIRED), 0);
	assert_int_equal(cow_ref_release(machine, ref), 0);
	assert_int_equal(cow_machine_counter(machine, COW_COUNT_PINS_RELEASED), 0);
	assert_int_equal(cow_machine_check(machine, NULL), 0);
	cow_machine_destroy(machine);
}

/* A machine under a policy, its audit, and P with `pages` writable pages from BASE on. */
struct lab {
	cow_machine *m;
	cow_audit *audit;
	cow_mm p;
};

static void lab_open(struct lab *lab, const char *policy, uint64_t pages)
{
	struct cow_config config;

	cow_config_init(&config);
	config.policy = cow_policy_find(policy);
	assert_int_equal(cow_machine_create(&config, &lab->m), 0);
	assert_int_equal(cow_audit_attach(lab->m, &lab->audit), 0);
	assert_int_equal(cow_mm_create(lab->m, &lab->p), 0);
	assert_int_equal(cow_mmap(lab->m, lab->p, BASE, pages, COW_PROT_RW, 0), 0);
}

static void lab_check(const struct lab *lab)
{
	struct cow_error error = { 0 };

	if (cow_machine_check(lab->m, &error))
		fail_msg("%s", error.sentence);
}

static void lab_close(struct lab *lab)
{
	lab_check(lab);
	cow_audit_detach(lab->audit);
	cow_machine_destroy(lab->m);
}

/* Pages of equal content are merged into one. */
static void lab_merge(struct lab *lab, cow_mm mm, uint64_t addr, uint64_t pages, uint64_t merged)
{
	struct cow_result result;

	assert_int_equal(cow_write_range(lab->m, mm, addr, pages, 5, NULL), 0);
	assert_int_equal(cow_madvise(lab->m, mm, addr, pages, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(cow_ksm_scan(lab->m, &result), 0);
	assert_int_equal(result.done, merged);
	lab_check(lab);
}

/* Only anonymous memory can be wiped: every other VMA has a file. */
static void no_file_is_wiped_on_fork(void **state)
{
	struct lab lab;
	cow_file file;

	(void)state;
	lab_open(&lab, "exclusive", 1);
	assert_int_equal(cow_file_create(lab.m, 1, 3, false, &file), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 1, COW_PROT_RW, 0, file, 0), 0);
	assert_int_equal(cow_madvise(lab.m, lab.p, 0, 1, COW_ADV_WIPEONFORK, NULL), -EINVAL);
	lab_close(&lab);
}

/*
 *   P |KK|  ->  |S.|  ->  |w|   reused out of the swap cache: its slot is not its first item
 */
static void a_swapped_ksm_page_is_reused(void **state)
{
	struct lab lab;

	(void)state;
	lab_open(&lab, "ideal", 2);
	lab_merge(&lab, lab.p, BASE, 2, 2);
	assert_int_equal(cow_swap_out(lab.m, lab.p, BASE, 2, false, NULL), 0);
	assert_int_equal(cow_munmap(lab.m, lab.p, BASE + PAGE, 1), 0);
	assert_int_equal(cow_write(lab.m, lab.p, BASE, 6, NULL), 0);
	lab_check(&lab);
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	lab_close(&lab);
}

/*
 *   P |K.|   mapped once, and still no page that mprotect, or a swap-in, may make writable
 */
static void a_ksm_page_mapped_once_is_not_upgraded(void **state)
{
	static const char *const policies[] = { "ideal", "exclusive", "page-count-2.6", "mapcount" };
	struct cow_page page;
	struct lab lab;

	(void)state;
	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		lab_open(&lab, policies[i], 2);
		lab_merge(&lab, lab.p, BASE, 2, 2);
		assert_int_equal(cow_munmap(lab.m, lab.p, BASE + PAGE, 1), 0);
		assert_int_equal(cow_mprotect(lab.m, lab.p, BASE, 1, COW_PROT_READ), 0);
		assert_int_equal(cow_mprotect(lab.m, lab.p, BASE, 1, COW_PROT_RW), 0);
		assert_int_equal(cow_page_look(lab.m, lab.p, BASE, &page), 0);
		assert_false(page.writable);
		assert_int_equal(cow_swap_out(lab.m, lab.p, BASE, 1, false, NULL), 0);
		assert_int_equal(cow_write(lab.m, lab.p, BASE, 6, NULL), 0);
		assert_int_equal(cow_page_look(lab.m, lab.p, BASE, &page), 0);
		assert_false(page.ksm);
		lab_close(&lab);
	}
}

/*
 *   P - B - C - D, and E   D goes last, and takes two ancestors' anons with it; the item keeps B's
 */
static void an_item_keeps_an_anon_whose_children_leave(void **state)
{
	cow_mm b, c, d, e;
	struct lab lab;

	(void)state;
	lab_open(&lab, "exclusive", 1);
	assert_int_equal(cow_write(lab.m, lab.p, BASE, 1, NULL), 0);
	assert_int_equal(cow_fork(lab.m, lab.p, NULL, &b), 0);
	assert_int_equal(cow_mm_create(lab.m, &e), 0);
	assert_int_equal(cow_mmap(lab.m, e, BASE, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write(lab.m, b, BASE, 5, NULL), 0);
	assert_int_equal(cow_madvise(lab.m, b, BASE, 1, COW_ADV_MERGEABLE, NULL), 0);
	lab_merge(&lab, e, BASE, 1, 2);
	assert_int_equal(cow_fork(lab.m, b, NULL, &c), 0);
	assert_int_equal(cow_fork(lab.m, c, NULL, &d), 0);
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	assert_int_equal(cow_mm_exit(lab.m, b), 0);
	assert_int_equal(cow_mm_exit(lab.m, c), 0);
	assert_int_equal(cow_mm_exit(lab.m, d), 0);
	lab_check(&lab);
	assert_int_equal(cow_mm_exit(lab.m, e), 0);
	lab_close(&lab);
}

/*
 *   P |KKK|  ->  |SSS|  ->  |KSS|....|K|   a KSM page again has the slot of three entries, and its
 *                                          items know the first and the last place alone
 */
static void entries_of_an_earlier_merge_are_found(void **state)
{
	uint64_t value = 5;
	struct cow_result result;
	struct lab lab;

	(void)state;
	lab_open(&lab, "exclusive", 3);
	lab_merge(&lab, lab.p, BASE, 3, 3);
	assert_int_equal(cow_swap_out(lab.m, lab.p, BASE, 3, false, NULL), 0);
	assert_int_equal(cow_swap_drop(lab.m, lab.p, BASE, 3, NULL), 0);
	assert_int_equal(cow_read(lab.m, lab.p, BASE, NULL, NULL), 0);
	assert_int_equal(cow_mmap(lab.m, lab.p, 0, 1, COW_PROT_RW, 0), 0);
	lab_merge(&lab, lab.p, 0, 1, 2);
	assert_int_equal(cow_read_range(lab.m, lab.p, BASE, 3, &value, &result), 0);
	assert_false(result.mismatch);
	lab_check(&lab);
	assert_int_equal(cow_migrate(lab.m, lab.p, BASE, 3, NULL), 0);
	lab_close(&lab);
}

/*
 *   P |f|w|   a swapped page with a reference was given up by madvise free; another moves there
 */
static void a_page_moves_to_where_one_was_freed(void **state)
{
	uint64_t value;
	struct lab lab;
	cow_ref ref;

	(void)state;
	lab_open(&lab, "exclusive", 2);
	assert_int_equal(cow_write_range(lab.m, lab.p, BASE, 2, 5, NULL), 0);
	assert_int_equal(cow_gup(lab.m, lab.p, BASE, 1, 0, 1, NULL, &ref), 0);
	assert_int_equal(cow_swap_out(lab.m, lab.p, BASE, 1, false, NULL), 0);
	assert_int_equal(cow_madvise(lab.m, lab.p, BASE, 1, COW_ADV_FREE, NULL), 0);
	assert_int_equal(cow_uffd_move(lab.m, lab.p, BASE + PAGE, 1, BASE, NULL), 0);
	assert_int_equal(cow_ref_release(lab.m, ref), 0);
	assert_int_equal(cow_read(lab.m, lab.p, BASE, &value, NULL), 0);
	assert_int_equal(value, 5);
	assert_int_equal(cow_audit_verdict(lab.audit) & ~COW_VERDICT(STALE_GET), 0);
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	lab_close(&lab);
}

/*
 *   P |K.|....|xx|   the first page is a KSM page mapped once, and pinned; others of its content come
 */
static void no_page_joins_one_that_ideal_pinned(void **state)
{
	struct lab lab;
	cow_ref ref;

	(void)state;
	lab_open(&lab, "ideal", 2);
	lab_merge(&lab, lab.p, BASE, 2, 2);
	assert_int_equal(cow_munmap(lab.m, lab.p, BASE + PAGE, 1), 0);
	assert_int_equal(cow_gup(lab.m, lab.p, BASE, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(cow_mmap(lab.m, lab.p, BASE + 4 * PAGE, 2, COW_PROT_RW, 0), 0);
	lab_merge(&lab, lab.p, BASE + 4 * PAGE, 2, 0);
	assert_int_equal(cow_write(lab.m, lab.p, BASE, 6, NULL), 0);
	assert_int_equal(cow_audit_verdict(lab.audit), 0);
	assert_int_equal(cow_machine_counter(lab.m, COW_COUNT_NEEDLESS_COPIES), 0);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_fork_policy_may_copy_all),
		cmocka_unit_test(a_reference_may_need_two_frames),
		cmocka_unit_test(the_audit_forgets),
		cmocka_unit_test(a_get_hides_no_leak),
		cmocka_unit_test(truth_and_marker_go_together),
		cmocka_unit_test(shared_memory_begins_with_zeroes),
		cmocka_unit_test(a_loaded_machine_counts_on),
		cmocka_unit_test(the_zero_page_is_not_pinned),
		cmocka_unit_test(no_file_is_wiped_on_fork),
		cmocka_unit_test(a_swapped_ksm_page_is_reused),
		cmocka_unit_test(a_ksm_page_mapped_once_is_not_upgraded),
		cmocka_unit_test(an_item_keeps_an_anon_whose_children_leave),
		cmocka_unit_test(entries_of_an_earlier_merge_are_found),
		cmocka_unit_test(a_page_moves_to_where_one_was_freed),
		cmocka_unit_test(no_page_joins_one_that_ideal_pinned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
