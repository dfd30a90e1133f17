/* SPDX-License-Identifier: MIT
 *
 * KSM where Linux's two trees and its limits are to be seen: which page stands for a content,
 * what a merge that fails half-way leaves, pages of one huge page, the most that share a page,
 * and what a scan reserves.
 */
#include "ksmlab.h"

/*
 *   A  |5|5|5|   one of them is held by a reference, and stays
 *
 * The others merge without it, unless it comes first: then it is what each of them is compared
 * with, write-protected for, and given a new page after (try_to_merge_two_pages, break_cow).
 */
static void test_references(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++)
		for (unsigned held = 0; held < 3; held++)
			for (unsigned pin = 0; pin < 2; pin++) {
				struct mocked t;
				struct cow_page one, other;
				uint32_t frame;
				cow_ref ref;
				bool unshares;

				start(&t, every_era[i]);
				unshares = unshares_at_break(every_era[i]);
				map(&t, t.p, A, 3, 5);
				assert_int_equal(cow_gup(t.m, t.p, A + held * PAGE, 1,
							 pin ? COW_GUP_PIN : 0, 1, NULL, &ref), 0);
				frame = look(&t, t.p, A + PAGE).frame;
				assert_int_equal(scan(&t), held ? 2 : 0);
				assert_true(look(&t, t.p, A + held * PAGE).writable);
				one = look(&t, t.p, A + (held + 1) % 3 * PAGE);
				other = look(&t, t.p, A + (held + 2) % 3 * PAGE);
				assert_int_equal(one.frame == other.frame, held != 0);
				assert_int_equal(one.ksm, held != 0);
				if (!held) {
					/* 5.1 to 5.8 reuse a page of KSM that is mapped once */
					assert_true(!unshares || one.frame != frame);
					assert_int_equal(one.writable, !unshares);
					assert_int_equal(other.writable, !unshares);
					assert_int_equal(one.value, 5);
				}
				assert_int_equal(cow_ref_release(t.m, ref), 0);
				assert_int_equal(scan(&t), held ? 1 : 3);
				assert_int_equal(look(&t, t.p, A).mapcount, 3);
				found(&t, t.p, A);
				mocked_end(&t);
			}
}

/*
 *   P: A |5|   held      Q: B |5|-+ one frame, by fork
 *                        C: B |5|-+
 *
 * Q gets a new page when the merge fails, and C is left with a page of KSM that nobody knows: it
 * is neither merged nor reclaimed nor moved, and a write copies it.
 */
static void test_held_beside_fork(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct cow_page parent, child_page;
		struct cow_result result;
		struct mocked t;
		cow_mm q, child;
		cow_ref ref;
		bool apart;

		if (!unshares_at_break(every_era[i]))
			continue;
		start(&t, every_era[i]);
		assert_int_equal(cow_mm_create(t.m, &q), 0);
		map(&t, t.p, A, 1, 5);
		assert_int_equal(cow_gup(t.m, t.p, A, 1, 0, 1, NULL, &ref), 0);
		map(&t, q, B, 1, 5);
		assert_int_equal(cow_fork(t.m, q, NULL, &child), 0);
		apart = look(&t, q, B).frame != look(&t, child, B).frame;
		assert_int_equal(scan(&t), 0);
		parent = look(&t, q, B);
		child_page = look(&t, child, B);
		assert_true(!apart && parent.frame != child_page.frame);
		assert_true(!parent.ksm && child_page.ksm);
		assert_true(parent.mapcount == 1 && child_page.mapcount == 1);
		assert_true(parent.value == 5 && child_page.value == 5);
		assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), 3);
		assert_int_equal(counter(&t, COW_COUNT_MERGED), 0);
		assert_int_equal(cow_ref_release(t.m, ref), 0);
		assert_int_equal(scan(&t), 2);
		assert_int_equal(look(&t, t.p, A).frame, look(&t, q, B).frame);
		assert_int_equal(look(&t, child, B).mapcount, 1);
		assert_int_equal(cow_swap_out(t.m, child, B, 1, false, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_REFUSED);
		assert_int_equal(cow_migrate(t.m, child, B, 1, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_REFUSED);
		must_write(&t, child, B, 5, COW_OUT_COPY);
		assert_int_equal(scan(&t), 1);
		assert_int_equal(look(&t, t.p, A).mapcount, 3);
		mocked_end(&t);
	}
}

/* No frame is left to break a page: it stays where it is, and nothing else is changed. */
static void test_held_without_frames(void **state)
{
	struct mocked t;
	cow_ref ref;

	(void)state;
	init(&t, "exclusive");
	t.config.frames = 2;
	mocked_start(&t);
	map(&t, t.p, A, 2, 5);
	assert_int_equal(cow_gup(t.m, t.p, A, 1, 0, 1, NULL, &ref), 0);
	assert_int_equal(scan(&t), 0);
	assert_int_equal(look(&t, t.p, A + PAGE).value, 5);
	assert_int_equal(look(&t, t.p, A + PAGE).mapcount, 1);
	assert_true(look(&t, t.p, A + PAGE).ksm);
	assert_int_equal(cow_ref_release(t.m, ref), 0);
	assert_int_equal(scan(&t), 0);
	assert_int_equal(cow_munmap(t.m, t.p, A, 1), 0);
	must_write(&t, t.p, A + PAGE, 6, COW_OUT_COPY);
	assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), 1);
	mocked_end(&t);
}

/*
 *   P  |1|1|1|1| ... a huge page, of which these are mergeable      C  the same by its PMD
 *
 * The second page finds the first in the same folio, which is split then, and nothing more; the
 * third is merged with the first, so that C shares a page of KSM by its third.
 */
static void test_one_folio(void **state)
{
	const uint64_t at = (uint64_t)HUGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_mm child;

		start(&t, every_era[i]);
		assert_int_equal(cow_mmap(t.m, t.p, at, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
		assert_int_equal(cow_write_range(t.m, t.p, at, HUGE, 1, NULL), 0);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		if (look(&t, t.p, at).frame != look(&t, child, at).frame) {
			mocked_end(&t); /* early copies */
			continue;
		}
		assert_int_equal(cow_madvise(t.m, t.p, at, 4, COW_ADV_MERGEABLE, NULL), 0);
		assert_true(!look(&t, t.p, at).huge && look(&t, child, at).huge);
		assert_int_equal(scan(&t), 4);
		assert_false(look(&t, child, at).huge);
		for (unsigned n = 0; n < 4; n++) {
			assert_int_equal(look(&t, t.p, at + n * PAGE).frame,
					 look(&t, t.p, at).frame);
			assert_int_equal(look(&t, child, at + n * PAGE).ksm, n == 2);
		}
		assert_int_equal(look(&t, t.p, at).mapcount, 5);
		found(&t, t.p, at);
		mocked_end(&t);
	}
}

/* Two pages of a folio and no third: the split alone is nothing merged, and yet there is more
 * to do. */
static void test_one_folio_of_two(void **state)
{
	const uint64_t at = (uint64_t)HUGE * PAGE;
	struct mocked t;

	(void)state;
	start(&t, "exclusive");
	assert_int_equal(cow_mmap(t.m, t.p, at, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
	for (uint64_t n = 0; n < HUGE; n++)
		assert_int_equal(cow_write(t.m, t.p, at + n * PAGE, 1 + n / 2 * 2, NULL), 0);
	assert_int_equal(cow_madvise(t.m, t.p, at, 2, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(scan(&t), 2);
	assert_int_equal(look(&t, t.p, at).frame, look(&t, t.p, at + PAGE).frame);
	mocked_end(&t);
}

/* Many pages, all distinct but for the last, which equals those of another process: 256 share
 * a page. */
static void test_many(void **state)
{
	struct mocked t;
	cow_mm q;

	(void)state;
	init(&t, "pte-exclusive");
	t.config.frames = 20000;
	mocked_start(&t);
	assert_int_equal(cow_mm_create(t.m, &q), 0);
	assert_int_equal(cow_mmap(t.m, t.p, A, 8192, COW_PROT_RW, 0), 0);
	for (uint64_t n = 0; n < 8192; n++)
		assert_int_equal(cow_write(t.m, t.p, A + n * PAGE, n << 32 | n, NULL), 0);
	assert_int_equal(cow_madvise(t.m, t.p, A, 8192, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(scan(&t), 0);
	map(&t, q, A, 8192, 8191ull << 32 | 8191);
	assert_int_equal(scan(&t), 8192); /* one is left */
	assert_int_equal(look(&t, q, A).mapcount, 256);
	assert_int_equal(look(&t, t.p, A + 8191 * PAGE).mapcount, 256);
	assert_int_equal(look(&t, q, A + 254 * PAGE).frame, look(&t, t.p, A + 8191 * PAGE).frame);
	assert_int_equal(look(&t, q, A + 255 * PAGE).mapcount, 256);
	assert_false(look(&t, q, A + 8191 * PAGE).ksm);
	assert_int_equal(scan(&t), 0);
	mocked_check(&t);
	mocked_end(&t);
}

/* 20 children map the page that becomes one of KSM, and offered nothing: its 256 sharers are mapped beside
 * them. */
static void test_sharers_count_in_mergeable(void **state)
{
	const uint64_t low = A, high = low + PAGE, more = A + 8 * PAGE;
	struct mocked t;

	(void)state;
	start(&t, "exclusive");
	assert_int_equal(cow_mmap(t.m, t.p, high, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write(t.m, t.p, high, 5, NULL), 0);
	for (unsigned child = 0; child < 20; child++) {
		cow_mm unwanted;

		assert_int_equal(cow_fork(t.m, t.p, NULL, &unwanted), 0);
	}
	assert_int_equal(cow_madvise(t.m, t.p, high, 1, COW_ADV_MERGEABLE, NULL), 0);
	map(&t, t.p, low, 1, 5);
	map(&t, t.p, more, 300, 5);
	assert_int_equal(scan(&t), 302);
	assert_int_equal(look(&t, t.p, low).frame, look(&t, t.p, high).frame);
	assert_int_equal(look(&t, t.p, high).mapcount, 20 + 256);
	assert_int_equal(look(&t, t.p, more + 253 * PAGE).frame, look(&t, t.p, high).frame);
	assert_int_equal(look(&t, t.p, more + 254 * PAGE).mapcount, 302 - 256);
	assert_int_equal(scan(&t), 0);
	mocked_end(&t);
}

/*
 *   P: A |1|1|1| ... 512 pages of one folio, which fork shares with C
 *   C: A |1|1|1| ...
 *
 * P's second page meets the first one, of its own folio, and is passed over; C's entry of it comes when
 * no page of KSM has room, and stands for the content: it is merged, and P's in the next walk.
 */
static void test_full_beside_fork(void **state)
{
	const uint64_t at = (uint64_t)HUGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_mm child;

		init(&t, every_era[i]);
		t.config.frames = 8 * HUGE;
		mocked_start(&t);
		assert_int_equal(cow_mmap(t.m, t.p, at, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
		assert_int_equal(cow_write_range(t.m, t.p, at, HUGE, 1, NULL), 0);
		assert_int_equal(cow_madvise(t.m, t.p, at, HUGE, COW_ADV_MERGEABLE, NULL), 0);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		if (look(&t, child, at).frame == look(&t, t.p, at).frame) {
			scan(&t);
			assert_int_equal(look(&t, t.p, at).mapcount, 257);
			assert_int_equal(look(&t, t.p, at + 257 * PAGE).mapcount, 257);
			assert_int_equal(look(&t, child, at + PAGE).mapcount, 256);
			assert_int_equal(look(&t, child, at + PAGE).frame,
					 look(&t, child, at + 257 * PAGE).frame);
			assert_int_equal(look(&t, t.p, at + PAGE).mapcount, 254);
			assert_int_equal(look(&t, t.p, at + PAGE).frame,
					 look(&t, child, at + 511 * PAGE).frame);
			assert_int_equal(scan(&t), 0);
		}
		mocked_end(&t);
	}
}

/* Bytes that a scan of two pages takes beside PMDs, of which `mergeable` are to be split. */
static uint64_t scan_memory(unsigned pmds, unsigned mergeable)
{
	const uint64_t at = (uint64_t)HUGE * PAGE;
	struct mocked t;
	uint64_t before, after;

	init(&t, "exclusive");
	t.config.frames = 70 * HUGE;
	mocked_start(&t);
	map(&t, t.p, A, 2, 5);
	assert_int_equal(scan(&t), 2); /* what every scan takes has been taken */
	if (pmds)
		assert_int_equal(cow_mmap(t.m, t.p, at, (uint64_t)pmds * HUGE, COW_PROT_RW,
					  COW_MAP_THP), 0);
	for (unsigned n = 0; n < pmds; n++)
		assert_int_equal(cow_write(t.m, t.p, at + (uint64_t)n * HUGE * PAGE, n, NULL), 0);
	assert_true(!pmds || look(&t, t.p, at).huge);
	if (mergeable)
		assert_int_equal(cow_madvise(t.m, t.p, at, (uint64_t)mergeable * HUGE,
					     COW_ADV_MERGEABLE, NULL), 0);
	before = cow_machine_memory(t.m);
	scan(&t);
	after = cow_machine_memory(t.m);
	mocked_end(&t);
	return after - before;
}

/* Tables are reserved for the PMDs that may be split, and for no other. */
static void test_reserves(void **state)
{
	enum { TABLE = 4096 };

	(void)state;
	assert_int_equal(scan_memory(0, 0), 0);
	assert_int_equal(scan_memory(64, 0), 0);
	assert_true(scan_memory(64, 64) >= 64 * TABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references),  cmocka_unit_test(test_held_beside_fork),
		cmocka_unit_test(test_held_without_frames), cmocka_unit_test(test_one_folio),
		cmocka_unit_test(test_one_folio_of_two), cmocka_unit_test(test_many),
		cmocka_unit_test(test_sharers_count_in_mergeable),
		cmocka_unit_test(test_full_beside_fork),
		cmocka_unit_test(test_reserves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
