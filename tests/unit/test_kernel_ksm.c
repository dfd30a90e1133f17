/* SPDX-License-Identifier: MIT
 *
 * KSM: what is merged and what is not, what a merged page is like, how it becomes one's own again,
 * and that the reverse map finds every mapping of it.
 */
#include "failing.h"
#include "ksmlab.h"

#include <errno.h>

/*
 *   P: A [1][1][2]   Q: A [1][3]    three pages of 1 become one; 2 and 3 stay
 */
static void test_merge(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_page page;
		enum cow_outcome outcome;
		uint64_t used;
		cow_mm q;

		start(&t, every_era[i]);
		assert_int_equal(cow_mm_create(t.m, &q), 0);
		map(&t, t.p, A, 2, 1);
		map(&t, t.p, A + 2 * PAGE, 1, 2);
		map(&t, q, A, 1, 1);
		map(&t, q, A + PAGE, 1, 3);
		used = counter(&t, COW_COUNT_FRAMES_USED);
		assert_int_equal(scan(&t), 3);
		assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), used - 2);
		assert_int_equal(counter(&t, COW_COUNT_MERGED), 3);
		page = look(&t, t.p, A);
		assert_true(page.ksm && page.anon && !page.writable && !page.dirty && !page.exclusive);
		assert_int_equal(page.mapcount, 3);
		assert_int_equal(page.refcount, 3);
		assert_int_equal(page.frame, look(&t, t.p, A + PAGE).frame);
		assert_int_equal(page.frame, look(&t, q, A).frame);
		assert_true(look(&t, t.p, A + 2 * PAGE).writable && !look(&t, q, A + PAGE).ksm);
		found(&t, t.p, A);
		assert_int_equal(scan(&t), 0);
		/* Each write copies, the last one too, but for v5.8 (reuse_ksm_page), and for v2.6.12,
		 * which knows no KSM. */
		for (unsigned n = 0; n < 3; n++) {
			bool reuses = n == 2 && (!strcmp(every_era[i], "mapcount-force-break") ||
						 !strcmp(every_era[i], "page-count-2.6"));

			must_write(&t, n < 2 ? t.p : q, A + (n == 1) * PAGE, 10 + n,
				   reuses ? COW_OUT_REUSE : COW_OUT_COPY);
			mocked_check(&t);
		}
		assert_false(look(&t, q, A).ksm);
		found(&t, q, A);
		assert_int_equal(cow_write(t.m, q, A, 7, &outcome), 0);
		assert_int_equal(outcome, COW_OUT_HIT);
		/* Written back to what they were, they are merged again. */
		must_write(&t, t.p, A, 1, COW_OUT_HIT);
		must_write(&t, q, A, 1, COW_OUT_HIT);
		assert_int_equal(scan(&t), 2);
		mocked_end(&t);
	}
}

/* What fork alone shares is not merged with itself; one equal page elsewhere merges all of it. */
static void test_fork(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_mm child, grandchild;
		uint32_t frame;

		start(&t, every_era[i]);
		map(&t, t.p, A, 1, 1);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		assert_int_equal(cow_fork(t.m, child, NULL, &grandchild), 0);
		frame = look(&t, child, A).frame;
		if (frame == look(&t, t.p, A).frame) {
			assert_int_equal(scan(&t), 0);
			assert_false(look(&t, t.p, A).ksm);
		}
		map(&t, child, B, 1, 1);
		assert_true(scan(&t) > 0);
		frame = look(&t, child, B).frame;
		assert_true(look(&t, child, B).ksm);
		assert_int_equal(look(&t, t.p, A).frame, frame);
		assert_int_equal(look(&t, child, A).frame, frame);
		assert_int_equal(look(&t, grandchild, A).frame, frame);
		assert_int_equal(look(&t, child, B).mapcount, 4);
		found(&t, child, B);
		/* A fork of what is merged, and then its parent's end. */
		assert_int_equal(cow_fork(t.m, child, NULL, &child), 0);
		mocked_check(&t);
		assert_int_equal(cow_mm_exit(t.m, t.p), 0);
		mocked_check(&t);
		found(&t, child, B);
		must_write(&t, grandchild, A, 9, COW_OUT_COPY);
		assert_int_equal(look(&t, child, A).value, 1);
		mocked_end(&t);
	}
}

/* The page at hand is asked about first, then the one that it equals; a scan drains the batches
 * before. */
static void test_asks(void **state)
{
	struct mocked t;

	(void)state;
	mocked_init(&t);
	t.config.lru_batch = 15;
	mocked_start(&t);
	map(&t, t.p, A, 2, 5);
	assert_int_equal(cow_mprotect(t.m, t.p, A, 1, COW_PROT_READ), 0);
	EXPECT(MERGE, ALLOW, OWN, RW, .mapped_most = 1, .pte_write = 1);
	EXPECT(MERGE, REFUSE, OWN, RO, .mapped_most = 1);
	assert_int_equal(scan(&t), 0);
	assert_int_equal(counter(&t, COW_COUNT_DRAINS), 1);
	assert_true(look(&t, t.p, A + PAGE).writable); /* nothing was changed in vain */
	mocked_end(&t);
}

/* Other frames of equal content: what was merged, swapped or is not mergeable. */
static void test_only_mergeable(void **state)
{
	struct mocked t;

	(void)state;
	start(&t, "exclusive");
	map(&t, t.p, A, 1, 1);
	assert_int_equal(cow_mmap(t.m, t.p, B, 2, COW_PROT_RW, 0), 0);
	must_write(&t, t.p, B, 1, COW_OUT_ALLOC);
	assert_int_equal(scan(&t), 0);
	assert_int_equal(cow_madvise(t.m, t.p, B, 2, COW_ADV_MERGEABLE, NULL), 0);
	assert_int_equal(cow_mprotect(t.m, t.p, B, 1, COW_PROT_NONE), 0);
	assert_int_equal(scan(&t), 2);
	assert_int_equal(look(&t, t.p, B).prot, COW_PROT_NONE);
	assert_int_equal(cow_read(t.m, t.p, B, NULL, NULL), -EFAULT);
	assert_int_equal(cow_mprotect(t.m, t.p, B, 1, COW_PROT_RW), 0);
	must_write(&t, t.p, B, 2, COW_OUT_COPY);
	mocked_end(&t);
}

static void test_zero_pages(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		const char *era = every_era[i];
		bool breaks = !strncmp(era, "exclusive", 9) && strcmp(era, "exclusive-5.19");
		struct mocked t;

		breaks |= !strcmp(every_era[i], "pte-exclusive");
		init(&t, every_era[i]);
		t.config.ksm_zero_pages = true;
		mocked_start(&t);
		map(&t, t.p, A, 3, 0);
		assert_int_equal(scan(&t), 3);
		assert_true(look(&t, t.p, A).zero && look(&t, t.p, A).ksm);
		assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), 0);
		must_write(&t, t.p, A, 3, COW_OUT_COPY);
		assert_int_equal(cow_madvise(t.m, t.p, A, 3, COW_ADV_UNMERGEABLE, NULL), 0);
		mocked_check(&t);
		assert_int_equal(look(&t, t.p, A + PAGE).zero, !breaks);
		mocked_end(&t);
	}
}

/* Pages of a huge page: it is split, unless a reference keeps it whole. */
static void test_large(void **state)
{
	const uint64_t at = 4 * HUGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < ERAS; i++)
		for (unsigned held = 0; held < 2; held++) {
			struct mocked t;
			cow_ref ref;

			start(&t, every_era[i]);
			map(&t, t.p, A, 1, 7);
			assert_int_equal(cow_mmap(t.m, t.p, at, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
			for (uint64_t n = 0; n < HUGE; n++)
				assert_int_equal(cow_write(t.m, t.p, at + n * PAGE, n, NULL), 0);
			assert_int_equal(cow_madvise(t.m, t.p, at, HUGE, COW_ADV_MERGEABLE, NULL), 0);
			assert_true(look(&t, t.p, at).huge);
			if (held)
				assert_int_equal(cow_gup(t.m, t.p, at + PAGE, 1, COW_GUP_PIN, 1, NULL,
							 &ref), 0);
			assert_int_equal(scan(&t), held ? 0 : 2);
			assert_int_equal(look(&t, t.p, at).huge, held);
			assert_int_equal(look(&t, t.p, at + 7 * PAGE).frame == look(&t, t.p, A).frame,
					 !held);
			if (!held)
				assert_int_equal(look(&t, t.p, at + 8 * PAGE).order, 0);
			mocked_end(&t);
		}
}

/* madvise unmergeable, by era: a write fault, or an unshare fault. */
static void test_unmerge(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		const char *era = every_era[i];
		bool unshares = unshares_at_break(era);
		bool blind;
		struct mocked t;

		start(&t, era);
		blind = t.policy.flags & COW_POLICY_KSM_KEEPS_UNREADABLE;
		map(&t, t.p, A, 5, 7);
		map(&t, t.p, B, 1, 7);
		assert_int_equal(scan(&t), 6);
		assert_int_equal(cow_mprotect(t.m, t.p, A + PAGE, 1, COW_PROT_READ), 0);
		assert_int_equal(cow_mprotect(t.m, t.p, A + 2 * PAGE, 1, COW_PROT_NONE), 0);
		assert_int_equal(cow_uffd_wp(t.m, t.p, A + 3 * PAGE, 1, true), 0);
		assert_int_equal(cow_munmap(t.m, t.p, A + 4 * PAGE, 1), 0);
		assert_int_equal(cow_madvise(t.m, t.p, A, 4, COW_ADV_UNMERGEABLE, NULL), 0);
		mocked_check(&t);
		for (unsigned n = 0; n < 2; n++)
			assert_false(look(&t, t.p, A + n * PAGE).ksm);
		/* v6.1 does not find what cannot be read */
		assert_int_equal(look(&t, t.p, A + 2 * PAGE).ksm, blind);
		assert_int_equal(look(&t, t.p, A).writable, !unshares);
		assert_false(look(&t, t.p, A + PAGE).writable);
		/* A23: the write fault finds userfaultfd in its way, and the page stays merged. */
		assert_int_equal(look(&t, t.p, A + 3 * PAGE).ksm, !unshares);
		assert_true(look(&t, t.p, A + 3 * PAGE).uffd_wp);
		assert_true(look(&t, t.p, B).ksm);
		assert_int_equal(look(&t, t.p, B).mapcount, 1 + !unshares + blind);
		assert_int_equal(scan(&t), 0);
		mocked_end(&t);
	}
}

static void test_unmerge_without_frames(void **state)
{
	struct mocked t;

	(void)state;
	init(&t, "exclusive");
	t.config.frames = 4;
	mocked_start(&t);
	map(&t, t.p, A, 4, 7);
	assert_int_equal(scan(&t), 4);
	map(&t, t.p, B, 2, 8);
	assert_int_equal(cow_madvise(t.m, t.p, A, 4, COW_ADV_UNMERGEABLE, NULL), -ENOMEM);
	assert_false(cow_machine_error(t.m)->host);
	assert_false(look(&t, t.p, A).ksm);
	assert_true(look(&t, t.p, A + 3 * PAGE).ksm);
	mocked_end(&t);
}

/* Wherever its mappings have gone, all are found: swap-out and migration reach them. */
static void test_reached(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_result result;
		cow_mm child, other, q;
		uint32_t frame;

		start(&t, every_era[i]);
		assert_int_equal(cow_mm_create(t.m, &q), 0);
		map(&t, t.p, A, 2, 7);
		map(&t, q, B, 1, 7);
		assert_int_equal(scan(&t), 3);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		assert_int_equal(cow_mremap(t.m, child, A, 1, 4 * B), 0);
		mocked_check(&t);
		/* mremap has made the page that moved an ordinary one, and no other. */
		assert_int_equal(look(&t, q, B).mapcount, 4);
		assert_false(look(&t, child, 4 * B).ksm);
		assert_true(look(&t, child, A + PAGE).ksm);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &other), 0);
		found(&t, q, B);
		frame = look(&t, q, B).frame;
		assert_int_equal(cow_migrate(t.m, t.p, A, 2, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_MOVED);
		assert_int_equal(result.done, 2);
		assert_int_equal(counter(&t, COW_COUNT_MIGRATED), 1); /* one page, mapped twice there */
		mocked_check(&t);
		assert_int_not_equal(look(&t, q, B).frame, frame);
		assert_int_equal(look(&t, q, B).mapcount, 6);
		assert_int_equal(look(&t, other, A).frame, look(&t, q, B).frame);
		assert_int_equal(cow_swap_out(t.m, t.p, A, 1, false, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_MOVED);
		mocked_check(&t);
		assert_true(look(&t, t.p, A).swapped && look(&t, t.p, A + PAGE).swapped);
		assert_true(look(&t, q, B).swapped && look(&t, other, A).swapped);
		mocked_end(&t);
	}
}

/* Two pages of a VMA that come and go do not make the list of items grow. */
static void test_items(void **state)
{
	struct mocked t;
	uint64_t memory = 0;

	(void)state;
	start(&t, "exclusive");
	map(&t, t.p, A, 3, 7);
	for (unsigned n = 0; n < 3000; n++) {
		scan(&t);
		found(&t, t.p, A);
		must_write(&t, t.p, A + n % 2 * PAGE, 8, COW_OUT_COPY);
		must_write(&t, t.p, A + n % 2 * PAGE, 7, COW_OUT_HIT);
		if (n == 10)
			memory = cow_machine_memory(t.m);
	}
	assert_int_equal(cow_machine_memory(t.m), memory);
	mocked_end(&t);
}

/* Every allocation fails once: the machine is as it was then. */
static void test_host_memory(void **state)
{
	struct failing failing = { 0 };
	struct mocked t;
	uint64_t hash;
	unsigned n = 0;
	int error;

	(void)state;
	init(&t, "exclusive");
	t.config.allocator = failing_allocator(&failing);
	mocked_start(&t);
	map(&t, t.p, A, 40, 1);
	hash = cow_machine_hash(t.m);
	do {
		failing_after(&failing, n++);
		error = cow_ksm_scan(t.m, NULL);
		if (error) {
			assert_int_equal(error, -ENOMEM);
			assert_true(cow_machine_error(t.m)->host);
			assert_int_equal(cow_machine_hash(t.m), hash);
		}
	} while (error);
	assert_true(n > 3);
	assert_int_equal(look(&t, t.p, A).mapcount, 40);
	failing.armed = false;
	mocked_end(&t);
	assert_int_equal(failing.live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),	     cmocka_unit_test(test_fork),
		cmocka_unit_test(test_asks),
		cmocka_unit_test(test_only_mergeable), cmocka_unit_test(test_zero_pages),
		cmocka_unit_test(test_large),	     cmocka_unit_test(test_unmerge),
		cmocka_unit_test(test_unmerge_without_frames), cmocka_unit_test(test_reached),
		cmocka_unit_test(test_items),	     cmocka_unit_test(test_host_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
