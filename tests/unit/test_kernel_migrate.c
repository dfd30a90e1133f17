/* SPDX-License-Identifier: MIT
 *
 * Pages that change their frame (compaction) or their place (UFFDIO_MOVE): every mapping follows,
 * keeps what it was, and who holds a reference is asked about first.
 */
#include "mocked.h"
#include "world.h"

#include <errno.h>

enum { A = 16 * PAGE, B = 64 * PAGE, HUGE = 512 };
#define H (UINT64_C(8) * HUGE * PAGE)

static void start(struct mocked *t, const char *policy, uint64_t frames)
{
	mocked_not(t, policy, frames);
	mocked_start(t);
}

static void map(const struct mocked *t, cow_mm mm, uint64_t addr, uint64_t pages, unsigned flags)
{
	assert_int_equal(cow_mmap(t->m, mm, addr, pages, COW_PROT_RW, flags), 0);
}

static cow_mm fork_of(const struct mocked *t, cow_mm mm)
{
	cow_mm child;

	assert_int_equal(cow_fork(t->m, mm, NULL, &child), 0);
	return child;
}

static enum cow_outcome migrate(const struct mocked *t, cow_mm mm, uint64_t addr, uint64_t pages,
				uint64_t moved)
{
	struct cow_result result;

	assert_int_equal(cow_migrate(t->m, mm, addr, pages, &result), 0);
	mocked_check(t);
	assert_int_equal(result.counts[COW_OUT_MOVED], moved);
	assert_int_equal(result.done, moved);
	return result.outcome;
}

/* The same page but for its frame. */
static void same_but_frame(struct cow_page a, struct cow_page b)
{
	assert_int_not_equal(a.frame, b.frame);
	b.frame = a.frame;
	assert_memory_equal(&a, &b, sizeof(a));
}

/* Writable, read-only and own, zero, and not there. */
static void test_migrate_entries(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_page page[2];
		uint64_t used;

		start(&t, every_era[i], 64);
		map(&t, t.p, A, 4, 0);
		must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
		must_write(&t, t.p, A + PAGE, 2, COW_OUT_ALLOC);
		assert_int_equal(cow_read(t.m, t.p, A + 2 * PAGE, NULL, NULL), 0);
		assert_int_equal(cow_uffd_wp(t.m, t.p, A + PAGE, 1, true), 0);
		page[0] = look(&t, t.p, A);
		page[1] = look(&t, t.p, A + PAGE);
		used = counter(&t, COW_COUNT_FRAMES_USED);
		assert_int_equal(migrate(&t, t.p, A, 4, 2), COW_OUT_MOVED);
		assert_int_equal(migrate(&t, t.p, A + 2 * PAGE, 2, 0), COW_OUT_NONE);
		assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), used);
		assert_int_equal(counter(&t, COW_COUNT_MIGRATED), 2);
		same_but_frame(page[0], look(&t, t.p, A));
		same_but_frame(page[1], look(&t, t.p, A + PAGE));
		must_write(&t, t.p, A, 3, COW_OUT_HIT);
		mocked_end(&t);
	}
}

/*
 *   P --- C --- G      all share A; C has moved its page, P's has one write more
 */
static void test_migrate_fork_tree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_page page;
		cow_mm c, g;

		start(&t, every_era[i], 64);
		map(&t, t.p, A, 2, 0);
		must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
		c = fork_of(&t, t.p);
		g = fork_of(&t, c);
		assert_int_equal(cow_mremap(t.m, c, A, 1, B), 0);
		page = look(&t, g, A);
		assert_int_equal(migrate(&t, g, A, 1, 1), COW_OUT_MOVED);
		same_but_frame(page, look(&t, g, A));
		if (page.mapcount == 3) {
			assert_int_equal(look(&t, t.p, A).frame, look(&t, g, A).frame);
			assert_int_equal(look(&t, c, B).frame, look(&t, g, A).frame);
			must_write(&t, t.p, A, 2, COW_OUT_COPY);
		}
		assert_int_equal(look(&t, c, B).value, 1);
		assert_int_equal(cow_mm_exit(t.m, t.p), 0);
		assert_int_equal(cow_mm_exit(t.m, g), 0);
		assert_int_equal(cow_write(t.m, c, B, 4, NULL), 0);
		assert_int_equal(migrate(&t, c, B, 1, 1), COW_OUT_MOVED);
		assert_int_equal(look(&t, c, B).value, 4);
		mocked_end(&t);
	}
}

static void test_migrate_references(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++)
		for (unsigned pin = 0; pin < 2; pin++) {
			struct mocked t;
			struct cow_page page;
			cow_ref ref;

			start(&t, every_era[i], 64);
			map(&t, t.p, A, 2, 0);
			must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
			must_write(&t, t.p, A + PAGE, 2, COW_OUT_ALLOC);
			page = look(&t, t.p, A);
			assert_int_equal(cow_gup(t.m, t.p, A, 1, pin ? COW_GUP_PIN : 0, 1, NULL, &ref), 0);
			assert_int_equal(migrate(&t, t.p, A, 2, 1), COW_OUT_REFUSED);
			assert_int_equal(look(&t, t.p, A).frame, page.frame);
			assert_true(look(&t, t.p, A).writable);
			assert_int_equal(cow_ref_release(t.m, ref), 0);
			assert_int_equal(migrate(&t, t.p, A, 2, 2), COW_OUT_MOVED);
			mocked_end(&t);
		}
}

/* A batch is drained first; a policy that does not care leaves the old frame to the reference. */
static void test_migrate_asks(void **state)
{
	struct mocked t;
	struct cow_result result;
	cow_ref ref;

	(void)state;
	mocked_init(&t);
	t.config.lru_batch = 15;
	mocked_start(&t);
	map(&t, t.p, A, 1, 0);
	must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
	EXPECT(MIGRATE, REFUSE, OWN, RW, .mapped_most = 1, .pte_write = 1);
	assert_int_equal(migrate(&t, t.p, A, 1, 0), COW_OUT_REFUSED);
	EXPECT(GUP, TAKE, OWN, RW, .mapped_most = 1, .pte_write = 1, .req_write = 1);
	assert_int_equal(cow_gup(t.m, t.p, A, 1, COW_GUP_WRITE, 1, NULL, &ref), 0);
	EXPECT(MIGRATE, ALLOW, .refcount = 2, .mapcount = 1, .mapped_most = 1, .anon = 1,
	       .exclusive = 1, .pte_dirty = 1, .pte_write = 1, RW, .vma_had_write_ref = 1);
	assert_int_equal(migrate(&t, t.p, A, 1, 1), COW_OUT_MOVED);
	assert_int_equal(cow_ref_poke(t.m, ref, 9), 0);
	assert_int_equal(look(&t, t.p, A).value, 1);
	assert_int_equal(look(&t, t.p, A).refcount, 1);
	assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), 2);
	assert_int_equal(cow_ref_release(t.m, ref), 0);
	assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), 1);
	assert_int_equal(cow_migrate(t.m, t.p, A, 0, &result), -EINVAL);
	mocked_end(&t);
}

static void test_migrate_without_frames(void **state)
{
	struct mocked t;

	(void)state;
	start(&t, "exclusive", 2);
	map(&t, t.p, A, 2, 0);
	must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
	assert_int_equal(migrate(&t, t.p, A, 2, 1), COW_OUT_MOVED);
	must_write(&t, t.p, A + PAGE, 1, COW_OUT_ALLOC);
	assert_int_equal(migrate(&t, t.p, A, 2, 0), COW_OUT_REFUSED);
	mocked_end(&t);
}

/* Shared memory, a file and the swap cache follow. */
static void test_migrate_caches(void **state)
{
	struct mocked t;
	struct cow_page page;
	cow_file file;
	cow_mm c;

	(void)state;
	start(&t, "exclusive", 64);
	map(&t, t.p, A, 1, COW_MAP_SHARED);
	must_write(&t, t.p, A, 5, COW_OUT_ALLOC);
	assert_int_equal(cow_file_create(t.m, 2, 6, false, &file), 0);
	assert_int_equal(cow_mmap_file(t.m, t.p, B, 2, COW_PROT_RW, 0, file, 0), 0);
	assert_int_equal(cow_read(t.m, t.p, B + PAGE, NULL, NULL), 0);
	c = fork_of(&t, t.p);
	assert_int_equal(cow_read(t.m, c, A, NULL, NULL), 0);
	page = look(&t, t.p, A);
	assert_int_equal(migrate(&t, c, A, 1, 1), COW_OUT_MOVED);
	same_but_frame(page, look(&t, t.p, A));
	page = look(&t, t.p, B + PAGE);
	assert_int_equal(migrate(&t, t.p, B, 2, 1), COW_OUT_MOVED);
	same_but_frame(page, look(&t, t.p, B + PAGE));
	assert_int_equal(cow_file_write(t.m, t.p, file, 1, 8), 0);
	assert_int_equal(look(&t, t.p, B + PAGE).value, 8);
	/* Swapped out and read again: mapped, and in the swap cache. */
	map(&t, t.p, A + 4 * PAGE, 1, 0);
	must_write(&t, t.p, A + 4 * PAGE, 3, COW_OUT_ALLOC);
	c = fork_of(&t, t.p);
	assert_int_equal(cow_swap_out(t.m, t.p, A + 4 * PAGE, 1, false, NULL), 0);
	assert_int_equal(migrate(&t, t.p, A + 4 * PAGE, 1, 0), COW_OUT_NONE);
	assert_int_equal(cow_read(t.m, t.p, A + 4 * PAGE, NULL, NULL), 0);
	page = look(&t, t.p, A + 4 * PAGE);
	assert_true(page.swapcache && page.swapcount == 1);
	assert_int_equal(migrate(&t, t.p, A + 4 * PAGE, 1, 1), COW_OUT_MOVED);
	same_but_frame(page, look(&t, t.p, A + 4 * PAGE));
	assert_int_equal(cow_read(t.m, c, A + 4 * PAGE, NULL, NULL), 0);
	assert_int_equal(look(&t, c, A + 4 * PAGE).frame, look(&t, t.p, A + 4 * PAGE).frame);
	mocked_end(&t);
}

/* A large folio moves as a whole: by its PMDs, its PTEs, or both. */
static void test_migrate_large(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++)
		for (unsigned split = 0; split < 3; split++) {
			struct mocked t;
			struct cow_page page[2], other;
			cow_mm c;

			start(&t, every_era[i], 4096);
			map(&t, t.p, H, HUGE, COW_MAP_THP);
			for (uint64_t n = 0; n < HUGE; n++)
				assert_int_equal(cow_write(t.m, t.p, H + n * PAGE, n, NULL), 0);
			c = fork_of(&t, t.p);
			if (split)
				assert_int_equal(cow_munmap(t.m, t.p, H, 1), 0);
			if (split == 2)
				assert_int_equal(cow_munmap(t.m, c, H + PAGE, HUGE - 1), 0);
			page[0] = look(&t, t.p, H + 5 * PAGE);
			page[1] = look(&t, c, H);
			assert_int_equal(page[0].huge, !split);
			assert_int_equal(page[0].order, 9);
			assert_int_equal(migrate(&t, t.p, H, HUGE, split ? HUGE - 1 : HUGE),
					 COW_OUT_MOVED);
			assert_int_equal(counter(&t, COW_COUNT_MIGRATED), HUGE);
			same_but_frame(page[0], look(&t, t.p, H + 5 * PAGE));
			same_but_frame(page[1], look(&t, c, H));
			other = look(&t, t.p, H + 7 * PAGE);
			assert_int_equal(other.frame, look(&t, t.p, H + 5 * PAGE).frame + 2);
			assert_int_equal(other.value, 7);
			assert_int_equal(counter(&t, COW_COUNT_FRAMES_USED), HUGE);
			assert_int_equal(cow_write(t.m, c, H, 99, NULL), 0);
			mocked_check(&t);
			mocked_end(&t);
		}
}

static void test_migrate_hugetlb(void **state)
{
	struct mocked t;

	(void)state;
	mocked_not(&t, "exclusive", 64);
	t.config.hugetlb = 2;
	mocked_start(&t);
	map(&t, t.p, H, HUGE, COW_MAP_HUGETLB);
	assert_int_equal(cow_write(t.m, t.p, H, 1, NULL), 0);
	assert_int_equal(migrate(&t, t.p, H, HUGE, 0), COW_OUT_REFUSED);
	mocked_end(&t);
}

/* ---- UFFDIO_MOVE ---- */

static int move(const struct mocked *t, uint64_t from, uint64_t pages, uint64_t to, uint64_t done)
{
	struct cow_result result;
	int error = cow_uffd_move(t->m, t->p, from, pages, to, &result);

	mocked_check(t);
	assert_int_equal(result.done, done);
	assert_int_equal(result.counts[COW_OUT_MOVED], done);
	assert_int_equal(result.outcome, error == -EBUSY ? COW_OUT_REFUSED
				 : error		 ? COW_OUT_NONE
							 : COW_OUT_MOVED);
	return error;
}

static void test_move(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_page page;
		cow_mm c;

		start(&t, every_era[i], 64);
		map(&t, t.p, A, 4, 0);
		map(&t, t.p, B, 4, 0);
		must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
		must_write(&t, t.p, A + PAGE, 2, COW_OUT_ALLOC);
		assert_int_equal(cow_read(t.m, t.p, A + 2 * PAGE, NULL, NULL), 0);
		page = look(&t, t.p, A + PAGE);
		assert_int_equal(move(&t, A, 3, B, 3), 0);
		assert_false(look(&t, t.p, A).present);
		assert_int_equal(look(&t, t.p, B + PAGE).frame, page.frame);
		assert_int_equal(look(&t, t.p, B + PAGE).exclusive, page.exclusive);
		assert_true(look(&t, t.p, B).writable && look(&t, t.p, B).dirty);
		assert_true(look(&t, t.p, B).soft_dirty && look(&t, t.p, B + 2 * PAGE).zero);
		must_write(&t, t.p, B, 3, COW_OUT_HIT);
		must_write(&t, t.p, A, 4, COW_OUT_ALLOC);
		/* Its anon is the destination's now: a child finds it there, and so does migration. */
		c = fork_of(&t, t.p);
		assert_int_equal(migrate(&t, c, B, 1, 1), COW_OUT_MOVED);
		if (page.mapcount == look(&t, c, B + PAGE).mapcount)
			assert_int_not_equal(look(&t, c, B).frame, look(&t, t.p, B).frame);
		assert_int_equal(cow_munmap(t.m, t.p, A, 4), 0);
		mocked_check(&t);
		mocked_end(&t);
	}
}

static void test_move_refuses(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_mm c;
		cow_ref ref;

		start(&t, every_era[i], 64);
		map(&t, t.p, A, 4, 0);
		map(&t, t.p, B, 4, 0);
		must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
		c = fork_of(&t, t.p);
		must_write(&t, t.p, A + PAGE, 1, COW_OUT_ALLOC);
		must_write(&t, t.p, A + 2 * PAGE, 1, COW_OUT_ALLOC);
		if (look(&t, t.p, A).mapcount == 2)
			assert_int_equal(move(&t, A, 1, B, 0), -EBUSY);
		/* What was moved before the one that cannot stays moved. */
		assert_int_equal(cow_gup(t.m, t.p, A + 2 * PAGE, 1, COW_GUP_WRITE | COW_GUP_PIN, 1,
					 NULL, &ref), 0);
		if (strncmp(every_era[i], "mapcount", 8)) {
			assert_int_equal(move(&t, A + PAGE, 3, B + PAGE, 1), -EBUSY);
			assert_true(look(&t, t.p, B + PAGE).present);
			assert_int_equal(cow_ref_release(t.m, ref), 0);
			assert_int_equal(move(&t, A + 2 * PAGE, 2, B + 2 * PAGE, 1), -ENOENT);
			assert_true(look(&t, t.p, B + 2 * PAGE).writable);
		}
		assert_int_equal(cow_mm_exit(t.m, c), 0);
		mocked_end(&t);
	}
}

static void test_move_errors(void **state)
{
	struct mocked t;

	(void)state;
	start(&t, "exclusive", 64);
	map(&t, t.p, A, 2, 0);
	map(&t, t.p, B, 2, 0);
	map(&t, t.p, 2 * B, 2, COW_MAP_SHARED);
	must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
	must_write(&t, t.p, B + PAGE, 1, COW_OUT_ALLOC);
	assert_int_equal(move(&t, A, 1, B + PAGE, 0), -EEXIST);
	assert_int_equal(move(&t, A + PAGE, 1, B, 0), -ENOENT);
	assert_int_equal(cow_uffd_move(t.m, t.p, A, 1, 4 * B, NULL), -ENOENT);
	assert_int_equal(cow_uffd_move(t.m, t.p, A, 1, 2 * B, NULL), -EINVAL);
	assert_int_equal(cow_uffd_move(t.m, t.p, A, 2, A + PAGE, NULL), -EINVAL);
	assert_int_equal(cow_uffd_move(t.m, t.p, A, 3, B, NULL), -EINVAL);
	assert_int_equal(cow_mprotect(t.m, t.p, B, 2, COW_PROT_READ), 0);
	assert_int_equal(cow_uffd_move(t.m, t.p, A, 1, B, NULL), -EINVAL);
	mocked_end(&t);
}

/* A swap entry that is the process's own moves, with its page in the swap cache or without. */
static void test_move_swapped(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++)
		for (unsigned drop = 0; drop < 2; drop++) {
			struct mocked t;
			cow_mm c;

			start(&t, every_era[i], 64);
			map(&t, t.p, A, 2, 0);
			map(&t, t.p, B, 2, 0);
			must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
			assert_int_equal(cow_swap_out(t.m, t.p, A, 1, false, NULL), 0);
			if (drop)
				assert_int_equal(cow_swap_drop(t.m, t.p, A, 1, NULL), 0);
			assert_int_equal(move(&t, A, 1, B, 1), 0);
			assert_true(look(&t, t.p, B).swapped && !look(&t, t.p, A).swapped);
			assert_int_equal(cow_write(t.m, t.p, B, 2, NULL), 0);
			mocked_check(&t);
			assert_int_equal(cow_swap_out(t.m, t.p, B, 1, false, NULL), 0);
			c = fork_of(&t, t.p);
			assert_int_equal(move(&t, B, 1, A, 0), -EBUSY);
			assert_int_equal(cow_mm_exit(t.m, c), 0);
			mocked_end(&t);
		}
}

/* A PMD moves whole to a whole place; else it is split, and the folio too if nothing holds it. */
static void test_move_huge(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_ref ref;

		start(&t, every_era[i], 4096);
		map(&t, t.p, H, 2 * HUGE, COW_MAP_THP);
		map(&t, t.p, 2 * H, 4 * HUGE, 0);
		for (uint64_t n = 0; n < 2 * HUGE; n++)
			assert_int_equal(cow_write(t.m, t.p, H + n * PAGE, n, NULL), 0);
		assert_int_equal(move(&t, H, HUGE, 2 * H, HUGE), 0);
		assert_true(look(&t, t.p, 2 * H + 7 * PAGE).huge);
		assert_int_equal(look(&t, t.p, 2 * H + 7 * PAGE).value, 7);
		must_write(&t, t.p, 2 * H + 7 * PAGE, 8, COW_OUT_HIT);
		if (strcmp(every_era[i], "page-count") && strncmp(every_era[i], "mapcount", 8)) {
			assert_int_equal(cow_gup(t.m, t.p, H + HUGE * PAGE, 1, COW_GUP_PIN, 1, NULL,
						 &ref), 0);
			assert_int_equal(move(&t, H + HUGE * PAGE, 3, 2 * H + HUGE * PAGE, 0), -EBUSY);
			/* The PMD is split before the pin is seen, if it says whose the page is. */
			assert_int_equal(look(&t, t.p, H + HUGE * PAGE).huge,
					 !strstr(every_era[i], "exclusive"));
			assert_true(look(&t, t.p, H + HUGE * PAGE).order);
			assert_int_equal(cow_ref_release(t.m, ref), 0);
		}
		if (!strncmp(every_era[i], "exclusive", 9) || !strncmp(every_era[i], "mapcount", 8)) {
			assert_int_equal(move(&t, H + HUGE * PAGE, 3, 2 * H + HUGE * PAGE, 3), 0);
			assert_int_equal(look(&t, t.p, 2 * H + (HUGE + 2) * PAGE).order, 0);
			assert_int_equal(look(&t, t.p, 2 * H + (HUGE + 2) * PAGE).value, HUGE + 2);
			assert_false(look(&t, t.p, H + (HUGE + 9) * PAGE).huge);
		}
		mocked_end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_migrate_entries),	   cmocka_unit_test(test_migrate_fork_tree),
		cmocka_unit_test(test_migrate_references), cmocka_unit_test(test_migrate_asks),
		cmocka_unit_test(test_migrate_without_frames), cmocka_unit_test(test_migrate_caches),
		cmocka_unit_test(test_migrate_large),	   cmocka_unit_test(test_migrate_hugetlb),
		cmocka_unit_test(test_move),		   cmocka_unit_test(test_move_refuses),
		cmocka_unit_test(test_move_errors),	   cmocka_unit_test(test_move_swapped),
		cmocka_unit_test(test_move_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
