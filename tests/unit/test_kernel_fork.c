/* SPDX-License-Identifier: MIT
 *
 * The kernel part and mocked FORK and TRACK decisions: what fork shows the policy, what it does
 * with the answer, what it does not ask about, and how it gathers equal pages into runs.
 */
#include "mocked.h"

#include <errno.h>

/* Runs of FORK decisions, as observers are told. */
struct runs {
	struct { uint64_t page, pages; enum cow_action action; } run[16];
	size_t count;
	unsigned covered[16]; /* how often a run covered the page */
	uint32_t frames[16];  /* from the entries */
};

static void on_decision(void *ctx, const struct cow_decision *decision)
{
	struct runs *runs = ctx;

	if (decision->id != COW_DECIDE_FORK)
		return;
	assert_true(runs->count < 16);
	runs->run[runs->count].page = decision->addr / PAGE;
	runs->run[runs->count].pages = decision->pages;
	runs->run[runs->count++].action = decision->rule->action;
	for (uint64_t i = 0; i < decision->pages; i++) {
		runs->covered[decision->addr / PAGE + i]++;
		runs->frames[decision->addr / PAGE + i] = cow_entry_frame(decision->entries[i]);
	}
}

static void watch(struct mocked *k, struct runs *runs)
{
	struct cow_observer observer = { .size = sizeof(observer), .ctx = runs,
					 .decision = on_decision };

	memset(runs, 0, sizeof(*runs));
	assert_int_equal(cow_machine_observe(k->m, &observer), 0);
}

static void map(struct mocked *k, uint64_t page, uint64_t pages)
{
	assert_int_equal(cow_mmap(k->m, k->p, page * PAGE, pages, COW_PROT_RW, 0), 0);
}

/*
 *  P: | 7 | ro --+
 *                frame, no marker
 *  C: | 7 | ro --+
 */
static void share_writeprotects_both(void **state)
{
	struct cow_page mine, theirs;
	struct cow_result result;
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_begin(&k);
	map(&k, 0, 1);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW);
	assert_int_equal(cow_fork(k.m, k.p, &result, &c), 0);
	assert_int_equal(result.outcome, COW_OUT_SHARE);
	assert_int_equal(result.counts[COW_OUT_SHARE], 1);
	mine = look(&k, k.p, 0);
	theirs = look(&k, c, 0);
	assert_int_equal(mine.frame, theirs.frame);
	assert_int_equal(mine.refcount, 2);
	assert_int_equal(mine.mapcount, 2);
	assert_false(mine.writable || theirs.writable || mine.exclusive || theirs.exclusive);
	assert_true(mine.dirty && theirs.dirty);
	assert_int_equal(counter(&k, COW_COUNT_FORK_PAGES), 1);
	assert_int_equal(counter(&k, COW_COUNT_PAGE_LOCKS), MOCKED_LOCKS);
	mocked_end(&k);
}

/* Pins a page for writing; the answer is always to take it. */
static cow_ref pin(struct mocked *k, uint64_t page)
{
	cow_ref ref;

	EXPECT(GUP, TAKE, OWN, .pte_write = 1, RW, .mm_has_pinned = 1,
	       .req_write = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k->m, k->p, page * PAGE, 1, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL,
				 &ref), 0);
	return ref;
}

#define PINNED .refcount = 1025, .mapcount = 1, .anon = 1, .exclusive = 1, .pte_dirty = 1, \
	       .maybe_pinned = 1, .mm_has_pinned = 1, .vma_had_write_ref = 1

/*
 *  P: | 7 | rw, pinned
 *  C: | 7 | rw, a frame of its own
 */
static void early_copy_is_for_the_child(void **state)
{
	struct cow_page before, mine, theirs;
	struct cow_result result;
	struct mocked k;
	cow_ref ref;
	cow_mm c;

	(void)state;
	mocked_begin(&k);
	map(&k, 0, 1);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	ref = pin(&k, 0);
	before = look(&k, k.p, 0);
	/* Fork asks first how many frames it will need, and then for good. */
	EXPECT(FORK, EARLY_COPY, PINNED, .pte_write = 1, RW);
	EXPECT(TRACK, CLEAR, .mm_has_pinned = 1, .vma_had_write_ref = 1, RW);
	EXPECT(FORK, EARLY_COPY, PINNED, .pte_write = 1, RW);
	assert_int_equal(cow_fork(k.m, k.p, &result, &c), 0);
	assert_int_equal(result.outcome, COW_OUT_EARLY_COPY);
	mine = look(&k, k.p, 0);
	theirs = look(&k, c, 0);
	assert_int_equal(mine.frame, before.frame);
	assert_true(mine.writable && mine.exclusive);
	assert_int_equal(mine.refcount, 1025);
	assert_int_equal(mine.pincount, 1);
	assert_int_not_equal(theirs.frame, mine.frame);
	assert_true(theirs.writable && theirs.dirty && theirs.exclusive);
	assert_int_equal(theirs.value, 7);
	assert_int_equal(theirs.refcount, 1);
	assert_int_equal(counter(&k, COW_COUNT_EARLY_COPIES), 1);
	assert_int_equal(counter(&k, COW_COUNT_COPIES), 0);
	assert_int_equal(cow_ref_release(k.m, ref), 0);
	mocked_end(&k);
}

/* An early copy in a machine without frames: no child, and nothing of it stays. */
static void early_copy_without_frames(void **state)
{
	struct mocked k;
	cow_mm c = { 0 };

	(void)state;
	mocked_init(&k);
	k.config.frames = 1;
	mocked_start(&k);
	map(&k, 0, 1);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	pin(&k, 0);
	EXPECT(FORK, EARLY_COPY, PINNED, .pte_write = 1, RW);
	EXPECT(TRACK, CLEAR, .mm_has_pinned = 1, .vma_had_write_ref = 1, RW);
	EXPECT(FORK, EARLY_COPY, PINNED, .pte_write = 1, RW);
	assert_int_equal(cow_fork(k.m, k.p, NULL, &c), -ENOMEM);
	assert_false(cow_machine_error(k.m)->host);
	assert_int_equal(cow_mm_at(k.m, 1, &c), -ENOENT);
	assert_int_equal(counter(&k, COW_COUNT_FRAMES_USED), 1);
	mocked_end(&k);
}

/*
 *  page  0      1     2       3        4          5
 *  P:  | zero | none| shared| 7 (no  | DONTFORK | WIPEONFORK |
 *                             anon_vma
 *                             at fork)
 */
static void fork_does_not_ask_about(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	/* A zero page and a hole in a VMA that has an anon_vma, by the page next to them. */
	mocked_begin(&k);
	map(&k, 0, 3);
	assert_int_equal(cow_read(k.m, k.p, 0, NULL, NULL), 0);
	must_write(&k, k.p, 2 * PAGE, 7, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW); /* page 2 alone */
	c = must_fork(&k, k.p);
	assert_true(look(&k, c, 0).zero);
	assert_false(look(&k, c, PAGE).present);
	mocked_end(&k);

	/* Without an anon_vma the zero page is not even copied. */
	mocked_begin(&k);
	map(&k, 0, 1);
	assert_int_equal(cow_read(k.m, k.p, 0, NULL, NULL), 0);
	EXPECT(TRACK, CLEAR, RW);
	c = must_fork(&k, k.p);
	assert_false(look(&k, c, 0).present);
	mocked_end(&k);

	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, .vma_write = 1);
	c = must_fork(&k, k.p);
	assert_false(look(&k, c, 0).present); /* it refaults */
	mocked_end(&k);

	mocked_begin(&k);
	map(&k, 0, 1);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	assert_int_equal(cow_madvise(k.m, k.p, 0, 1, COW_ADV_DONTFORK, NULL), 0);
	c = must_fork(&k, k.p);
	assert_false(look(&k, c, 0).mapped);
	mocked_end(&k);

	mocked_begin(&k);
	map(&k, 0, 1);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	assert_int_equal(cow_madvise(k.m, k.p, 0, 1, COW_ADV_WIPEONFORK, NULL), 0);
	EXPECT(TRACK, CLEAR, RW);
	c = must_fork(&k, k.p);
	assert_true(look(&k, c, 0).mapped);
	assert_false(look(&k, c, 0).present);
	assert_true(look(&k, k.p, 0).writable);
	mocked_end(&k);
}

/*
 *  page  0 1 2   3      4 5      6        7
 *  P:  | 7 7 7 | hole | 8 8 | pinned |  9  |
 *       one run        one    own       one: four runs, each page once
 */
static void equal_pages_are_one_run(void **state)
{
	struct cow_result result;
	struct mocked k;
	struct runs runs;
	cow_ref ref;

	(void)state;
	mocked_begin(&k);
	map(&k, 0, 8);
	assert_int_equal(cow_write_range(k.m, k.p, 0, 3, 7, NULL), 0);
	assert_int_equal(cow_write_range(k.m, k.p, 4 * PAGE, 4, 8, NULL), 0);
	EXPECT(GUP, TAKE, OWN, .pte_write = 1, RW);
	assert_int_equal(cow_gup(k.m, k.p, 6 * PAGE, 1, 0, 1024, NULL, &ref), 0);
	watch(&k, &runs);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW);                    /* 0 1 2 and 4 5 */
	EXPECT(FORK, SHARE, .refcount = 1025, .mapcount = 1, .anon = 1, .exclusive = 1,
	       .pte_dirty = 1, .maybe_pinned = 1, .pte_write = 1, RW);   /* 6 */
	EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW);                    /* 7 */
	assert_int_equal(cow_fork(k.m, k.p, &result, &(cow_mm){ 0 }), 0);
	assert_int_equal(result.counts[COW_OUT_SHARE], 7);
	assert_int_equal(runs.count, 4);
	for (uint64_t page = 0; page < 8; page++) {
		assert_int_equal(runs.covered[page], page != 3);
		if (page != 3)
			assert_int_equal(runs.frames[page], look(&k, k.p, page * PAGE).frame);
	}
	assert_int_equal(runs.run[0].pages, 3);
	assert_int_equal(runs.run[1].page, 4);
	assert_int_equal(runs.run[1].pages, 2);
	assert_int_equal(counter(&k, COW_COUNT_PAGE_LOCKS), MOCKED_LOCKS * (1 + 7));
	mocked_end(&k);
}

/* Side tables and tiny leaf tables cut runs shorter; the pages are covered once all the same. */
static void every_geometry_and_home_covers_each_page_once(void **state)
{
	static const char *const names[] = { "x86-64", "tiny", "arm64-64k" };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (int home = 0; home < COW_MARKER_COUNT; home++) {
			struct mocked k;
			struct runs runs;
			uint64_t size;
			cow_mm c;

			mocked_init(&k);
			k.policy.marker = (enum cow_marker)home;
			k.config.geometry = *cow_geometry_find(names[i]);
			mocked_start(&k);
			size = cow_machine_page_size(k.m);
			assert_int_equal(cow_mmap(k.m, k.p, 0, 12, COW_PROT_RW, 0), 0);
			assert_int_equal(cow_write_range(k.m, k.p, 0, 12, 7, NULL), 0);
			if (size == PAGE)
				watch(&k, &runs);
			EXPECT(TRACK, CLEAR, RW);
			EXPECT(FORK, SHARE, .refcount = 1, .mapcount = 1, .anon = 1,
			       .exclusive = home != COW_MARKER_NONE, .pte_dirty = 1, .pte_write = 1,
			       RW);
			c = must_fork(&k, k.p);
			for (uint64_t page = 0; page < 12; page++) {
				if (size == PAGE)
					assert_int_equal(runs.covered[page], 1);
				assert_int_equal(look(&k, c, page * size).frame,
						 look(&k, k.p, page * size).frame);
			}
			mocked_end(&k);
		}
}

/* TRACK: may the child's VMA keep the mark that a write reference has left? */
static void track_decides_on_the_childs_mark(void **state)
{
	(void)state;
	for (int keeps = 0; keeps < 2; keeps++) {
		struct mocked k;
		cow_mm c;

		mocked_begin(&k);
		map(&k, 0, 1);
		must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
		assert_int_equal(cow_ref_release(k.m, pin(&k, 0)), 0);
		EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW, .mm_has_pinned = 1,
		       .vma_had_write_ref = 1);
		if (keeps)
			EXPECT(TRACK, KEEP, RW, .mm_has_pinned = 1, .vma_had_write_ref = 1);
		else
			EXPECT(TRACK, CLEAR, RW, .mm_has_pinned = 1, .vma_had_write_ref = 1);
		EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW, .mm_has_pinned = 1,
		       .vma_had_write_ref = 1);
		c = must_fork(&k, k.p);
		/* The child has pinned nothing itself. */
		EXPECT(WRITE, COPY, BOTH, RW, .vma_had_write_ref = keeps, .req_write = 1);
		must_write(&k, c, 0, 8, COW_OUT_COPY);
		mocked_end(&k);
	}
}

static void tell_truth(void *ctx, uint32_t mm, uint64_t addr, uint32_t frame, struct cow_view *view)
{
	(void)mm;
	(void)frame;
	view->truth_sole = addr / PAGE & 1;
	view->truth_pinned = *(unsigned *)ctx;
}

/* The truth is asked for each page, and only for a policy that says it needs it. */
static void truth_is_for_those_who_need_it(void **state)
{
	unsigned pinned = 1;

	(void)state;
	for (int needs = 0; needs < 2; needs++) {
		struct cow_observer observer = { .size = sizeof(observer), .ctx = &pinned,
						 .truth = tell_truth };
		struct mocked k;

		mocked_init(&k);
		if (needs)
			k.policy.flags |= COW_POLICY_NEEDS_TRUTH;
		mocked_start(&k);
		assert_int_equal(cow_machine_observe(k.m, &observer), 0);
		map(&k, 0, 2);
		assert_int_equal(cow_write_range(k.m, k.p, 0, 2, 7, NULL), 0);
		EXPECT(TRACK, CLEAR, RW);
		if (needs) {
			EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW, .truth_pinned = 1);
			EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW, .truth_pinned = 1,
			       .truth_sole = 1);
		} else {
			EXPECT(FORK, SHARE, OWN, .pte_write = 1, RW);
		}
		must_fork(&k, k.p);
		mocked_end(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(share_writeprotects_both),
		cmocka_unit_test(early_copy_is_for_the_child),
		cmocka_unit_test(early_copy_without_frames),
		cmocka_unit_test(fork_does_not_ask_about),
		cmocka_unit_test(equal_pages_are_one_run),
		cmocka_unit_test(every_geometry_and_home_covers_each_page_once),
		cmocka_unit_test(track_decides_on_the_childs_mark),
		cmocka_unit_test(truth_is_for_those_who_need_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
