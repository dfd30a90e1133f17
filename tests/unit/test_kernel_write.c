/* SPDX-License-Identifier: MIT
 *
 * The kernel part and a mocked WRITE decision: what a write or unshare fault shows the policy, and
 * what it does with the answer.  Read mocked.h first.
 */
#include "mocked.h"

#include <errno.h>

/*
 *  P: | 7 rw |  hit, zero page, first touch, shared memory: the policy has no say
 */
static void nobody_asks_about_what_is_no_cow(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_page(&k);
	must_write(&k, k.p, 0, 8, COW_OUT_HIT);
	assert_int_equal(cow_mmap(k.m, k.p, PAGE, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_read(k.m, k.p, PAGE, NULL, NULL), 0);
	assert_true(look(&k, k.p, PAGE).zero);
	must_write(&k, k.p, PAGE, 1, COW_OUT_COPY); /* from the zero page */
	assert_int_equal(cow_munmap(k.m, k.p, 0, 2), 0);

	/* Shared memory, written by both sides of a fork. */
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	must_write(&k, k.p, 0, 1, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, .vma_write = 1);
	c = must_fork(&k, k.p);
	must_write(&k, c, 0, 2, COW_OUT_ALLOC);
	assert_int_equal(look(&k, k.p, 0).value, 2);
	assert_int_equal(counter(&k, COW_COUNT_COPIES), 1);
	mocked_end(&k);
}

/*
 *  P: | 7 | --+             P: | 9 | -- new
 *             frame   =>
 *  C: | 7 | --+             C: | 7 | -- frame
 */
static void copy_replaces_the_page(void **state)
{
	struct cow_page old, mine, theirs;
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_page(&k);
	c = mocked_share(&k);
	old = look(&k, c, 0);
	assert_int_equal(old.refcount, 2);
	assert_false(old.exclusive);
	EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1);
	must_write(&k, k.p, 0, 9, COW_OUT_COPY);
	mine = look(&k, k.p, 0);
	theirs = look(&k, c, 0);
	assert_int_not_equal(mine.frame, old.frame);
	assert_int_equal(theirs.frame, old.frame);
	assert_true(mine.writable && mine.dirty && mine.exclusive && mine.anon);
	assert_false(theirs.writable || theirs.exclusive);
	assert_int_equal(mine.refcount, 1);
	assert_int_equal(theirs.refcount, 1);
	assert_int_equal(theirs.mapcount, 1);
	assert_int_equal(mine.value, 9);
	assert_int_equal(theirs.value, 7);
	assert_int_equal(counter(&k, COW_COUNT_COPIES), 1);
	assert_int_equal(counter(&k, COW_COUNT_REUSES), 0);
	assert_int_equal(counter(&k, COW_COUNT_PAGE_LOCKS), 2 * MOCKED_LOCKS); /* fork, write */

	/* The other one is alone now, and asked about without the marker. */
	EXPECT(WRITE, REUSE, .refcount = 1, .mapcount = 1, .anon = 1, .pte_dirty = 1, RW,
	       .req_write = 1);
	must_write(&k, c, 0, 10, COW_OUT_REUSE);
	theirs = look(&k, c, 0);
	assert_int_equal(theirs.frame, old.frame);
	assert_true(theirs.writable && theirs.dirty && theirs.exclusive);
	assert_int_equal(counter(&k, COW_COUNT_REUSES), 1);
	must_write(&k, c, 0, 11, COW_OUT_HIT);
	mocked_end(&k);
}

/* An unsafe answer is obeyed all the same: the kernel part has no opinion. */
static void reuse_is_obeyed_even_if_shared(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_page(&k);
	c = mocked_share(&k);
	EXPECT(WRITE, REUSE, BOTH, RW, .req_write = 1);
	must_write(&k, k.p, 0, 9, COW_OUT_REUSE);
	assert_int_equal(look(&k, c, 0).value, 9);
	assert_int_equal(look(&k, k.p, 0).refcount, 2);
	assert_true(look(&k, k.p, 0).writable);
	assert_false(look(&k, c, 0).writable);
	/* The debug check is what finds such a policy out. */
	assert_int_equal(cow_machine_check(k.m, NULL), -EUCLEAN);
	mocked_drop(&k);
}

/* A new page sits in the LRU batch, with a reference more. */
static void drain_lru_asks_again(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	for (int again = 0; again < 2; again++) {
		mocked_init(&k);
		k.config.lru_batch = 4;
		mocked_start(&k);
		assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
		must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
		EXPECT(TRACK, CLEAR, RW);
		EXPECT(FORK, SHARE, .refcount = 2, .mapcount = 1, .anon = 1, .exclusive = 1,
		       .in_batch = 1, .pte_write = 1, .pte_dirty = 1, RW);
		c = must_fork(&k, k.p);
		EXPECT(WRITE, DRAIN_LRU, .refcount = 3, .mapcount = 2, .anon = 1, .in_batch = 1,
		       .pte_dirty = 1, RW, .req_write = 1);
		/* Who answers `drain` once more gets a copy, and is not asked for ever. */
		if (again)
			EXPECT(WRITE, DRAIN_LRU, BOTH, RW, .req_write = 1, .drained = 1);
		else
			EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1, .drained = 1);
		must_write(&k, k.p, 0, 8, COW_OUT_COPY);
		assert_int_equal(counter(&k, COW_COUNT_DRAINS), 1);
		assert_int_equal(look(&k, c, 0).refcount, 1);
		assert_true(look(&k, k.p, 0).in_batch); /* the copy is new, too */
		assert_int_equal(look(&k, k.p, 0).refcount, 2);
		mocked_end(&k);
	}
}

/* page_maybe_dma_pinned() guesses by the count; FOLL_GET references add up to a false positive. */
static void pin_guess_starts_at_1024(void **state)
{
	static const unsigned counts[] = { 1023, 1024, 1025, 16383, 20000 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		unsigned seen = counts[i] < 16383 ? counts[i] : 16383; /* the field saturates */
		bool maybe = counts[i] >= 1024;
		struct mocked k;
		cow_ref ref;

		mocked_page(&k);
		EXPECT(GUP, TAKE, OWN, RW, .pte_write = 1);
		assert_int_equal(cow_gup(k.m, k.p, 0, 1, 0, counts[i] - 1, NULL, &ref), 0);
		assert_int_equal(look(&k, k.p, 0).refcount, counts[i]);
		assert_int_equal(look(&k, k.p, 0).pincount, 0);
		assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_READ), 0);
		EXPECT(PROTECT, READONLY, .refcount = seen, .mapcount = 1, .anon = 1, .exclusive = 1,
		       .pte_dirty = 1, .maybe_pinned = maybe, RW);
		assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_RW), 0);
		EXPECT(WRITE, REUSE, .refcount = seen, .mapcount = 1, .anon = 1, .exclusive = 1,
		       .pte_dirty = 1, .maybe_pinned = maybe, RW, .req_write = 1);
		must_write(&k, k.p, 0, 8, COW_OUT_REUSE);
		assert_int_equal(cow_ref_release(k.m, ref), 0);
		mocked_end(&k);
	}
}

/* One FOLL_PIN counts 1024, and both mm and VMA remember it when it is gone. */
static void pins_leave_traces(void **state)
{
	struct mocked k;
	cow_ref ref;

	(void)state;
	mocked_page(&k);
	EXPECT(GUP, TAKE, OWN, RW, .pte_write = 1, .mm_has_pinned = 1,
	       .req_write = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k.m, k.p, 0, 1, COW_GUP_WRITE | COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_READ), 0);
	EXPECT(PROTECT, READONLY, .refcount = 1025, .mapcount = 1, .anon = 1, .exclusive = 1,
	       .pte_dirty = 1, .maybe_pinned = 1, .mm_has_pinned = 1, .vma_had_write_ref = 1, RW);
	assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_RW), 0);
	assert_int_equal(cow_ref_release(k.m, ref), 0);
	EXPECT(WRITE, REUSE, OWN, .mm_has_pinned = 1, .vma_had_write_ref = 1, RW, .req_write = 1);
	must_write(&k, k.p, 0, 8, COW_OUT_REUSE);
	mocked_end(&k);
}

/*
 *  P: | 7 7 7 7 | shared with C: four pages that look alike are one question
 */
static void equal_views_are_asked_once(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(k.m, k.p, 0, 4, 7, NULL), 0);
	mocked_share(&k);
	EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1);
	assert_int_equal(cow_write_range(k.m, k.p, 0, 4, 8, &result), 0);
	assert_int_equal(result.counts[COW_OUT_COPY], 4);
	/* But each takes its locks: the memory is ours, not the kernel's. */
	assert_int_equal(counter(&k, COW_COUNT_PAGE_LOCKS), (4 + 4) * MOCKED_LOCKS);
	mocked_end(&k);
}

/* FAULT_FLAG_UNSHARE, answered by a copy: a read-only page of one's own. */
static void unshare_by_copy_leaves_it_readonly(void **state)
{
	struct cow_page before, after;
	struct cow_result result;
	struct mocked k;
	cow_ref ref;

	(void)state;
	mocked_page(&k);
	mocked_share(&k);
	before = look(&k, k.p, 0);
	EXPECT(GUP, UNSHARE, BOTH, RW, .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(WRITE, COPY, BOTH, RW, .mm_has_pinned = 1, .req_unshare = 1);
	EXPECT(GUP, TAKE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k.m, k.p, 0, 1, COW_GUP_PIN, 1, &result, &ref), 0);
	after = look(&k, k.p, 0);
	assert_int_equal(result.counts[COW_OUT_UNSHARE], 1);
	assert_int_not_equal(after.frame, before.frame);
	assert_true(after.exclusive);
	assert_false(after.writable || after.dirty);
	assert_int_equal(after.value, 7);
	assert_int_equal(counter(&k, COW_COUNT_UNSHARES), 1);
	assert_int_equal(counter(&k, COW_COUNT_COPIES), 0);
	mocked_end(&k);
}

/* Answered by reuse: the page stays, read-only, and is known to be one's own. */
static void unshare_by_reuse_sets_the_marker_alone(void **state)
{
	struct cow_page before, after;
	struct cow_result result;
	struct mocked k;
	cow_ref ref;

	(void)state;
	mocked_page(&k);
	assert_int_equal(cow_mm_exit(k.m, mocked_share(&k)), 0);
	before = look(&k, k.p, 0);
	assert_false(before.exclusive);
	EXPECT(GUP, UNSHARE, .refcount = 1, .mapcount = 1, .anon = 1, .pte_dirty = 1, RW,
	       .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(WRITE, REUSE, .refcount = 1, .mapcount = 1, .anon = 1, .pte_dirty = 1, RW,
	       .mm_has_pinned = 1, .req_unshare = 1);
	EXPECT(GUP, TAKE, OWN, RW, .mm_has_pinned = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k.m, k.p, 0, 1, COW_GUP_PIN, 1, &result, &ref), 0);
	after = look(&k, k.p, 0);
	assert_int_equal(after.frame, before.frame);
	assert_true(after.exclusive);
	assert_false(after.writable);
	assert_int_equal(after.pincount, 1);
	assert_int_equal(counter(&k, COW_COUNT_UNSHARES), 0);
	mocked_end(&k);
}

/* Each home shows the same marker, and loses it at fork. */
static void every_home_of_the_marker_looks_alike(void **state)
{
	(void)state;
	for (int home = COW_MARKER_NONE; home < COW_MARKER_COUNT; home++) {
		unsigned has = home != COW_MARKER_NONE;
		struct mocked k;

		mocked_init(&k);
		k.policy.marker = (enum cow_marker)home;
		mocked_start(&k);
		assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
		must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
		EXPECT(TRACK, CLEAR, RW);
		EXPECT(FORK, SHARE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = has,
		       .pte_write = 1, .pte_dirty = 1, RW);
		must_fork(&k, k.p);
		EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1);
		must_write(&k, k.p, 0, 8, COW_OUT_COPY);
		assert_int_equal(look(&k, k.p, 0).exclusive, has);
		mocked_end(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_asks_about_what_is_no_cow),
		cmocka_unit_test(copy_replaces_the_page),
		cmocka_unit_test(reuse_is_obeyed_even_if_shared),
		cmocka_unit_test(drain_lru_asks_again),
		cmocka_unit_test(pin_guess_starts_at_1024),
		cmocka_unit_test(pins_leave_traces),
		cmocka_unit_test(equal_views_are_asked_once),
		cmocka_unit_test(unshare_by_copy_leaves_it_readonly),
		cmocka_unit_test(unshare_by_reuse_sets_the_marker_alone),
		cmocka_unit_test(every_home_of_the_marker_looks_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
