/* SPDX-License-Identifier: MIT
 *
 * The pages that KSM has made already: a scan finds all of them, wherever they are, and looks at no
 * other frame of the machine.
 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum { PAGE = 4096 };
static const uint64_t A = UINT64_C(1) << 30, B = UINT64_C(1) << 40;

static cow_machine *started(uint64_t frames, cow_mm *p)
{
	struct cow_config config;
	cow_machine *m;

	cow_config_init(&config);
	config.frames = frames;
	config.swap = frames;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, p), 0);
	return m;
}

/* Pairs of equal pages: value, value, value+1, value+1, ... */
static void map_pairs(cow_machine *m, cow_mm p, uint64_t addr, uint64_t pairs, uint64_t value)
{
	assert_int_equal(cow_mmap(m, p, addr, 2 * pairs, COW_PROT_RW, 0), 0);
	for (uint64_t i = 0; i < 2 * pairs; i++)
		assert_int_equal(cow_write(m, p, addr + i * PAGE, value + i / 2, NULL), 0);
	assert_int_equal(cow_madvise(m, p, addr, 2 * pairs, COW_ADV_MERGEABLE, NULL), 0);
}

static uint64_t scan(cow_machine *m)
{
	struct cow_result result;

	assert_int_equal(cow_ksm_scan(m, &result), 0);
	return result.done;
}

static void checked(const cow_machine *m)
{
	struct cow_error error;

	if (cow_machine_check(m, &error))
		fail_msg("%s", error.sentence);
}

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* ns of a scan that has nothing left to merge, beside pages that are none of its business. */
static double scan_cost(uint64_t unrelated)
{
	double best = 0;
	cow_machine *m;
	cow_mm p, other;

	m = started(unrelated + 4096, &p);
	if (unrelated) {
		assert_int_equal(cow_mm_create(m, &other), 0);
		assert_int_equal(cow_mmap(m, other, B, unrelated, COW_PROT_RW, 0), 0);
		assert_int_equal(cow_write_range(m, other, B, unrelated, 7, NULL), 0);
	}
	map_pairs(m, p, A, 500, 1000);
	assert_true(scan(m) >= 500);
	for (int i = 0; i < 20; i++) {
		double start = cpu_ns(), ns;

		assert_int_equal(scan(m), 0);
		ns = cpu_ns() - start;
		best = !best || ns < best ? ns : best;
	}
	cow_machine_destroy(m);
	return best;
}

/* A walk over a million frames takes twenty times as long as a scan of a thousand pages. */
static void test_unrelated(void **state)
{
	double alone = scan_cost(0), beside = scan_cost(rounds(10) < 10 ? 1 << 14 : 1 << 20);

	(void)state;
	if (beside > 4 * alone)
		fail_msg("a scan costs %.0f ns, and %.0f ns beside pages that it need not look at",
			 alone, beside);
}

/*
 *   A  |1|1|2|2|3|3| ... merged; a FOLL_GET holds each page of KSM; unmapped then
 *   B  |x|           one page, of the content of one of them
 *
 * Pages that references alone hold are KSM's still, and more of them than the pages to be scanned; but nobody
 * joins them (is_page_sharing_candidate: one mapping at least).
 */
static void test_held(void **state)
{
	enum { PAIRS = 40 };
	cow_machine *m;
	cow_mm p;
	cow_ref refs[PAIRS];
	struct cow_page page;
	uint32_t frame;

	(void)state;
	m = started(4096, &p);
	map_pairs(m, p, A, PAIRS, 1);
	assert_true(scan(m) >= PAIRS);
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(cow_gup(m, p, A + 2 * i * PAGE, 1, 0, 1, NULL, &refs[i]), 0);
	assert_int_equal(cow_page_look(m, p, A + 2 * 11 * PAGE, &page), 0);
	assert_true(page.ksm);
	frame = page.frame;
	assert_int_equal(cow_munmap(m, p, A, 2 * PAIRS), 0);
	checked(m);
	assert_int_equal(cow_mmap(m, p, B, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write(m, p, B, 12, NULL), 0);
	assert_int_equal(cow_madvise(m, p, B, 1, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(scan(m), 0);
	checked(m);
	assert_int_equal(cow_page_look(m, p, B, &page), 0);
	assert_false(page.ksm);
	assert_int_not_equal(page.frame, frame);
	for (unsigned i = 0; i < PAIRS; i++) {
		assert_int_equal(cow_ref_release(m, refs[i]), 0);
		checked(m);
	}
	cow_machine_destroy(m);
}

/* Of the list of KSM pages each may go, at either end and between, or move to another frame; the
 * machine check follows the list. */
static void test_list(void **state)
{
	enum { PAIRS = 6 };

	(void)state;
	for (unsigned order = 0; order < PAIRS; order++) {
		cow_machine *m, *clone;
		cow_mm p;

		m = started(4096, &p);
		map_pairs(m, p, A, PAIRS, 1);
		assert_true(scan(m) >= PAIRS);
		checked(m);
		assert_int_equal(cow_migrate(m, p, A + 2 * order * PAGE, 3, NULL), 0);
		checked(m);
		for (unsigned i = 0; i < PAIRS; i++) {
			uint64_t addr = A + 2 * ((order + i * 5) % PAIRS) * PAGE;

			assert_int_equal(cow_write(m, p, addr, 100, NULL), 0);
			assert_int_equal(cow_write(m, p, addr + PAGE, 200, NULL), 0);
			checked(m);
			assert_int_equal(cow_machine_clone(m, &clone), 0);
			assert_int_equal(scan(m), scan(clone));
			assert_true(cow_machine_equal(m, clone));
			checked(m);
			cow_machine_destroy(clone);
		}
		cow_machine_destroy(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unrelated),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
