/* SPDX-License-Identifier: MIT
 *
 * Pages that look alike by their counts and are not: one of them is exclusive, in the swap cache,
 * of KSM, or another anon's.  Runs and quick writes (kernel/run.h, quick.h) and rows (kernel/row.h)
 * must stop at it.  What a machine comes to is held against a machine that goes page by page because
 * somebody looks on, and against the machine check.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/looks.h"

#include <string.h>

enum { PAGE = 4096, PAGES = 2048, STEPS = 400 };

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (seed >> 33) % below;
}

static void assert_same(const cow_machine *m, cow_mm mm, uint64_t page, const struct cow_page *seen)
{
	struct cow_page alone;

	assert_int_equal(cow_page_look(m, mm, page * PAGE, &alone), 0);
	assert_int_equal(seen->pincount, 0);
	alone.pincount = 0;
	assert_memory_equal(seen, &alone, sizeof(alone));
}

/* In steps of any width, from any page on. */
static void look_along(const cow_machine *m, cow_mm mm)
{
	struct page_looks looks = { .mm = mm.index };
	struct cow_page seen;

	memset(&seen, 0, sizeof(seen)); /* of holes in the structure, too */
	for (uint64_t page = draw(64); page < PAGES; page += 1 + (draw(8) ? 0 : draw(600))) {
		page_look_next(m, &looks, page, &seen);
		assert_same(m, mm, page, &seen);
	}
}

static void step(cow_machine *m, cow_mm mm)
{
	uint64_t page = draw(1100);
	enum cow_outcome outcome;

	switch (draw(6)) {
	case 0:
		cow_madvise(m, mm, page * PAGE, 1 + draw(20), COW_ADV_DONTNEED, NULL);
		break;
	case 1:
		cow_swap_out(m, mm, page * PAGE, 1 + draw(4), false, NULL);
		break;
	case 2:
		cow_munmap(m, mm, page * PAGE, 1 + draw(3));
		break;
	default:
		cow_write(m, mm, page * PAGE, draw(1000), &outcome);
	}
}

static void agrees_with_single_looks(void **state)
{
	struct cow_config config;
	cow_machine *m;
	cow_mm p, child;

	(void)state;
	cow_config_init(&config);
	config.policy = cow_policy_find("exclusive");
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_mm_create(m, &p), 0);
	assert_int_equal(cow_mmap(m, p, 0, 1024, COW_PROT_RW, COW_MAP_THP), 0);
	assert_int_equal(cow_mmap(m, p, UINT64_C(1024) * PAGE, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_mmap(m, p, UINT64_C(1040) * PAGE, 8, COW_PROT_RW,
				  COW_MAP_THP | COW_MAP_ORDER(2)), 0);
	look_along(m, p);
	for (uint64_t page = 0; page < 1048; page += 256)
		cow_write(m, p, page * PAGE, page, NULL);
	look_along(m, p);
	assert_int_equal(cow_fork(m, p, NULL, &child), 0);
	for (int i = 0; i < STEPS; i++) {
		step(m, i % 2 ? p : child);
		look_along(m, p);
		look_along(m, child);
	}
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_single_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
