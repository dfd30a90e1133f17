/* SPDX-License-Identifier: MIT
 *
 * userfaultfd write protection, soft-dirty tracking and NUMA hints: what they leave of an entry,
 * who has to wait, and what becomes writable again without a fault.
 */
#include "failing.h"
#include "mocked.h"
#include "world.h"

#include <errno.h>

enum { A = 16 * PAGE, HUGE = 512 };

/* A machine of a real policy, with `pages` pages at A that P has written: 1, 2, ... */
static void start(struct mocked *t, const char *policy, uint64_t pages)
{
	mocked_not(t, policy, 4096);
	mocked_start(t);
	assert_int_equal(cow_mmap(t->m, t->p, A, pages, COW_PROT_RW, 0), 0);
	for (uint64_t i = 0; i < pages; i++)
		must_write(t, t->p, A + i * PAGE, i + 1, COW_OUT_ALLOC);
}

static void uffd(const struct mocked *t, uint64_t addr, uint64_t pages, bool on)
{
	assert_int_equal(cow_uffd_wp(t->m, t->p, addr, pages, on), 0);
	mocked_check(t);
}

static enum cow_outcome read_at(const struct mocked *t, uint64_t addr, uint64_t value)
{
	enum cow_outcome outcome;
	uint64_t found;

	assert_int_equal(cow_read(t->m, t->p, addr, &found, &outcome), 0);
	assert_int_equal(found, value);
	return outcome;
}

static enum cow_outcome write_at(const struct mocked *t, uint64_t addr, uint64_t value)
{
	enum cow_outcome outcome;

	assert_int_equal(cow_write(t->m, t->p, addr, value, &outcome), 0);
	return outcome;
}

static bool upgrades_uffd(const char *policy)
{
	return strncmp(policy, "exclusive", 9) == 0 ? strcmp(policy, "exclusive-5.19") != 0
						    : strcmp(policy, "pte-exclusive") == 0;
}

/*
 *        0   1   2   3
 *      +---+---+---+---+
 *   A: | 1 | 2 | 3 | 4 |    1 and 2 are protected: three VMAs
 *      +---+---+---+---+
 */
static void test_uffd_blocks_writers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		enum cow_outcome outcome;
		struct cow_page page;
		cow_ref ref;

		start(&t, every_era[i], 4);
		page = look(&t, t.p, A + PAGE);
		uffd(&t, A + PAGE, 2, true);
		assert_int_equal(look(&t, t.p, A + PAGE).exclusive, page.exclusive);
		page = look(&t, t.p, A + PAGE);
		assert_true(page.uffd_wp && !page.writable && page.dirty);
		assert_int_equal(page.vma_start, A + PAGE);
		assert_int_equal(page.vma_end, A + 3 * PAGE);
		assert_true(look(&t, t.p, A).writable && !look(&t, t.p, A).uffd_wp);
		assert_int_equal(read_at(&t, A + PAGE, 2), COW_OUT_HIT);
		assert_int_equal(cow_write(t.m, t.p, A + PAGE, 9, &outcome), -EAGAIN);
		assert_int_equal(outcome, COW_OUT_BLOCKED);
		assert_int_not_equal(cow_gup(t.m, t.p, A + PAGE, 1, COW_GUP_WRITE, 1, NULL, &ref), 0);
		assert_int_not_equal(cow_force_write(t.m, t.p, A + PAGE, 9, &outcome), 0);
		mocked_check(&t);
		read_at(&t, A + PAGE, 2);
		/* Only what is resolved can be written; the rest goes on waiting. */
		uffd(&t, A + PAGE, 1, false);
		assert_int_equal(look(&t, t.p, A + PAGE).writable, upgrades_uffd(every_era[i]));
		assert_int_equal(write_at(&t, A + PAGE, 7),
				 upgrades_uffd(every_era[i]) ? COW_OUT_HIT : COW_OUT_REUSE);
		assert_int_equal(cow_write(t.m, t.p, A + 2 * PAGE, 9, &outcome), -EAGAIN);
		assert_int_equal(counter(&t, COW_COUNT_UPGRADES), upgrades_uffd(every_era[i]));
		/* Registration stays: all of it can be resolved again, and what is writable is so still. */
		uffd(&t, A + PAGE, 1, false);
		assert_int_equal(counter(&t, COW_COUNT_UPGRADES), upgrades_uffd(every_era[i]));
		uffd(&t, A + PAGE, 2, false);
		assert_int_not_equal(look(&t, t.p, A).vma_end, A + 4 * PAGE);
		mocked_end(&t);
	}
}

/* A shared page is not upgraded, and the blocked write copies once it is let through. */
static void test_uffd_shared(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_mm child;

		start(&t, every_era[i], 1);
		uffd(&t, A, 1, true);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		mocked_check(&t);
		uffd(&t, A, 1, false);
		if (look(&t, t.p, A).frame == look(&t, child, A).frame) {
			assert_false(look(&t, t.p, A).writable);
			assert_int_equal(write_at(&t, A, 5), COW_OUT_COPY);
		}
		assert_int_equal(look(&t, child, A).value, 1);
		mocked_end(&t);
	}
}

static void test_uffd_errors(void **state)
{
	struct mocked t;

	(void)state;
	start(&t, "page-count", 2);
	assert_int_equal(cow_uffd_wp(t.m, t.p, A - 2 * PAGE, 2, true), -EINVAL); /* a hole, all of it */
	assert_int_equal(cow_uffd_wp(t.m, t.p, A - 2 * PAGE, 2, false), -ENOENT);
	assert_int_equal(cow_uffd_wp(t.m, t.p, A, 1, false), -ENOENT); /* not registered */
	assert_int_equal(cow_uffd_wp(t.m, t.p, A + 1, 1, true), -EINVAL);
	assert_int_equal(cow_mmap(t.m, t.p, A + 2 * PAGE, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	assert_int_equal(cow_uffd_wp(t.m, t.p, A, 3, true), -EINVAL);
	assert_true(look(&t, t.p, A).writable); /* nothing was done */
	mocked_end(&t);
}

/*
 *	A   0 1 2 3    shared; pages 0 and 3 are there
 *
 * What is not there of shared memory gets a PTE marker, which stays when pages are given up, and goes with
 * the mapping.
 */
static void test_uffd_markers(void **state)
{
	const char *const policies[] = { "exclusive-5.19", "exclusive-6.2", "exclusive", "pte-exclusive" };

	(void)state;
	for (unsigned i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		struct mocked t;
		enum cow_outcome outcome;
		cow_mm child;

		mocked_not(&t, policies[i], 4096);
		mocked_start(&t);
		assert_int_equal(cow_mmap(t.m, t.p, A, 4, COW_PROT_RW, COW_MAP_SHARED), 0);
		must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
		must_write(&t, t.p, A + 3 * PAGE, 1, COW_OUT_ALLOC);
		uffd(&t, A, 3, true);
		for (unsigned at = 1; at < 3; at++)
			assert_true(look(&t, t.p, A + at * PAGE).uffd_wp &&
				    !look(&t, t.p, A + at * PAGE).present);
		assert_false(look(&t, t.p, A + 3 * PAGE).uffd_wp);
		/* A write behind a marker brings the page, and waits; a read keeps the mark. */
		assert_int_equal(cow_write(t.m, t.p, A + PAGE, 9, &outcome), -EAGAIN);
		assert_int_equal(outcome, COW_OUT_BLOCKED);
		assert_true(look(&t, t.p, A + PAGE).present && look(&t, t.p, A + PAGE).uffd_wp);
		assert_int_equal(look(&t, t.p, A + PAGE).value, 0);
		assert_int_equal(read_at(&t, A + 2 * PAGE, 0), COW_OUT_ALLOC);
		assert_int_equal(cow_write(t.m, t.p, A + 2 * PAGE, 9, &outcome), -EAGAIN);
		/* Given up, all four are absent, and three protected still. */
		assert_int_equal(cow_madvise(t.m, t.p, A, 4, COW_ADV_DONTNEED, NULL), 0);
		mocked_check(&t);
		for (unsigned at = 0; at < 4; at++)
			assert_true(!look(&t, t.p, A + at * PAGE).present &&
				    look(&t, t.p, A + at * PAGE).uffd_wp == (at < 3));
		/* Neither the child nor another place has them. */
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		assert_false(look(&t, child, A).uffd_wp);
		assert_int_equal(cow_mremap(t.m, t.p, A, 1, A + 64 * PAGE), 0);
		mocked_check(&t);
		assert_false(look(&t, t.p, A + 64 * PAGE).uffd_wp);
		assert_int_equal(write_at(&t, A + 64 * PAGE, 2), COW_OUT_ALLOC);
		uffd(&t, A + PAGE, 1, false);
		assert_int_equal(write_at(&t, A + PAGE, 3), COW_OUT_ALLOC);
		/* Registered memory is mapped read-only by a read, for the first write to be seen. */
		assert_int_equal(cow_madvise(t.m, t.p, A + PAGE, 1, COW_ADV_DONTNEED, NULL), 0);
		assert_int_equal(read_at(&t, A + PAGE, 3), COW_OUT_ALLOC);
		assert_int_equal(write_at(&t, A + PAGE, 4), COW_OUT_REUSE);
		assert_int_equal(cow_munmap(t.m, t.p, A, 4), 0);
		mocked_end(&t);
	}
}

/* The tables of markers may want host memory: then nothing is protected. */
static void test_uffd_starved(void **state)
{
	enum { PLACES = 64, APART = HUGE * HUGE };
	struct failing memory = { 0 };
	struct mocked t;
	unsigned failures = 0;

	(void)state;
	mocked_not(&t, "exclusive", 4096);
	t.config.allocator = failing_allocator(&memory);
	mocked_start(&t);
	for (uint64_t i = 0; i < PLACES; i++)
		assert_int_equal(cow_mmap(t.m, t.p, A + i * APART * PAGE, 4, COW_PROT_RW, COW_MAP_SHARED),
				 0);
	for (uint64_t i = 0; i < PLACES; i++) {
		uint64_t addr = A + i * APART * PAGE, hash = cow_machine_hash(t.m);
		int error;

		failing_after(&memory, 0);
		error = cow_uffd_wp(t.m, t.p, addr, 4, true);
		memory.armed = false;
		mocked_check(&t);
		if (error) {
			assert_int_equal(error, -ENOMEM);
			assert_true(cow_machine_error(t.m)->host);
			assert_true(cow_machine_hash(t.m) == hash);
			uffd(&t, addr, 4, true);
			failures++;
		}
		assert_true(look(&t, t.p, addr + 3 * PAGE).uffd_wp);
	}
	assert_true(failures > 0);
	mocked_end(&t);
	assert_int_equal(memory.live, 0);
}

/* What is not there is not protected; the zero page is, and a swap entry. */
static void test_uffd_other_entries(void **state)
{
	struct mocked t;
	enum cow_outcome outcome;

	(void)state;
	start(&t, "exclusive", 1);
	assert_int_equal(cow_mmap(t.m, t.p, A + PAGE, 2, COW_PROT_RW, 0), 0);
	read_at(&t, A + PAGE, 0);
	assert_int_equal(cow_swap_out(t.m, t.p, A, 1, false, NULL), 0);
	uffd(&t, A, 3, true);
	assert_true(look(&t, t.p, A).swapped && look(&t, t.p, A).uffd_wp);
	assert_true(look(&t, t.p, A + PAGE).zero && look(&t, t.p, A + PAGE).uffd_wp);
	assert_int_equal(cow_write(t.m, t.p, A + PAGE, 1, &outcome), -EAGAIN);
	assert_int_equal(write_at(&t, A + 2 * PAGE, 1), COW_OUT_ALLOC);
	uffd(&t, A, 3, false);
	assert_false(look(&t, t.p, A).uffd_wp);
	assert_true(look(&t, t.p, A).exclusive);
	assert_int_equal(write_at(&t, A + PAGE, 1), COW_OUT_COPY);
	write_at(&t, A, 3);
	mocked_end(&t);
}

/* What was not there needs no flush; clear_refs flushes once, whatever it finds. */
static void test_uffd_flushes(void **state)
{
	struct mocked t;
	uint64_t before;

	(void)state;
	start(&t, "exclusive", 1);
	assert_int_equal(cow_mmap(t.m, t.p, A + 8 * PAGE, 4, COW_PROT_RW, 0), 0);
	before = counter(&t, COW_COUNT_TLB_FLUSHES);
	uffd(&t, A + 8 * PAGE, 4, true);
	uffd(&t, A + 8 * PAGE, 4, false);
	assert_int_equal(counter(&t, COW_COUNT_TLB_FLUSHES), before);
	uffd(&t, A, 1, true);
	assert_int_equal(counter(&t, COW_COUNT_TLB_FLUSHES), before + 1);
	assert_int_equal(cow_clear_refs(t.m, t.p), 0);
	assert_int_equal(counter(&t, COW_COUNT_TLB_FLUSHES), before + 2);
	mocked_end(&t);
}

static void count_reuses(void *ctx, const struct cow_change *change)
{
	if (change->kind == COW_CHANGE_REUSE)
		*(uint64_t *)ctx += change->pages;
}

/* Of a PMD that is resolved whole each page is reused; one that is resolved in part is split, also
 * where no VMA is cut any more. */
static void test_uffd_huge_resolved(void **state)
{
	const uint64_t at = 4 * HUGE * PAGE;
	uint64_t reused = 0;
	struct cow_observer observer = { .size = sizeof(observer), .ctx = &reused,
					 .change = count_reuses };
	struct mocked t;

	(void)state;
	start(&t, "exclusive", 1);
	assert_int_equal(cow_mmap(t.m, t.p, at, 2 * HUGE, COW_PROT_RW, COW_MAP_THP), 0);
	must_write(&t, t.p, at, 1, COW_OUT_ALLOC);
	must_write(&t, t.p, at + HUGE * PAGE, 2, COW_OUT_ALLOC);
	uffd(&t, at, 2 * HUGE, true);
	assert_int_equal(cow_machine_observe(t.m, &observer), 0);
	uffd(&t, at, HUGE, false);
	assert_int_equal(reused, HUGE);
	assert_true(look(&t, t.p, at).huge && look(&t, t.p, at).writable);
	uffd(&t, at + HUGE * PAGE, 1, false);
	assert_int_equal(reused, HUGE + 1);
	assert_false(look(&t, t.p, at + HUGE * PAGE).huge);
	assert_true(look(&t, t.p, at + HUGE * PAGE).writable);
	assert_false(look(&t, t.p, at + HUGE * PAGE).uffd_wp);
	assert_true(look(&t, t.p, at + (HUGE + 1) * PAGE).uffd_wp);
	mocked_end(&t);
}

/* Nobody is asked about a page of a file that a private mapping has not copied. */
static void test_uffd_asks_about_no_file(void **state)
{
	struct mocked t;
	cow_file file;

	(void)state;
	mocked_init(&t);
	t.policy.flags |= COW_POLICY_UFFD_FILES;
	mocked_start(&t);
	assert_int_equal(cow_file_create(t.m, 1, 5, false, &file), 0);
	assert_int_equal(cow_mmap_file(t.m, t.p, A, 1, COW_PROT_RW, 0, file, 0), 0);
	assert_int_equal(read_at(&t, A, 5), COW_OUT_ALLOC);
	uffd(&t, A, 1, true);
	uffd(&t, A, 1, false);
	assert_false(look(&t, t.p, A).writable);
	mocked_end(&t);
}

/* A PMD that is covered stays one; else it is split. */
static void test_uffd_huge(void **state)
{
	const uint64_t at = 4 * HUGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		enum cow_outcome outcome;
		bool exclusive;

		start(&t, every_era[i], 1);
		assert_int_equal(cow_mmap(t.m, t.p, at, 2 * HUGE, COW_PROT_RW, COW_MAP_THP), 0);
		must_write(&t, t.p, at, 1, COW_OUT_ALLOC);
		must_write(&t, t.p, at + HUGE * PAGE, 2, COW_OUT_ALLOC);
		assert_true(look(&t, t.p, at).huge);
		exclusive = look(&t, t.p, at).exclusive;
		uffd(&t, at, HUGE + 1, true);
		assert_true(look(&t, t.p, at).huge && look(&t, t.p, at).uffd_wp);
		assert_int_equal(look(&t, t.p, at).exclusive, exclusive);
		assert_false(look(&t, t.p, at + HUGE * PAGE).huge);
		assert_true(look(&t, t.p, at + HUGE * PAGE).uffd_wp);
		assert_false(look(&t, t.p, at + (HUGE + 1) * PAGE).uffd_wp);
		assert_int_equal(cow_write(t.m, t.p, at + 5 * PAGE, 9, &outcome), -EAGAIN);
		uffd(&t, at, HUGE, false);
		if (upgrades_uffd(every_era[i]))
			assert_int_equal(write_at(&t, at + 5 * PAGE, 9), COW_OUT_HIT);
		else
			assert_int_equal(write_at(&t, at + 5 * PAGE, 9), COW_OUT_REUSE);
		mocked_check(&t);
		mocked_end(&t);
	}
}

/* Which view the policy sees, and that it is asked only of pages that may become writable. */
static void test_uffd_asks(void **state)
{
	struct mocked t;

	(void)state;
	mocked_begin(&t);
	assert_int_equal(cow_mmap(t.m, t.p, A, 1, COW_PROT_RW, 0), 0);
	must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
	uffd(&t, A, 1, true);
	EXPECT(UFFD, READONLY, OWN, RW, .mapped_most = 1);
	uffd(&t, A, 1, false);
	assert_false(look(&t, t.p, A).writable);
	assert_int_equal(cow_clear_refs(t.m, t.p), 0);
	EXPECT(UFFD, WRITABLE, OWN, RW, .mapped_most = 1, .soft_dirty = 1);
	uffd(&t, A, 1, false);
	assert_true(look(&t, t.p, A).writable);
	assert_int_equal(cow_mprotect(t.m, t.p, A, 1, COW_PROT_READ), 0);
	uffd(&t, A, 1, false); /* nothing is asked */
	mocked_end(&t);
}

/* ---- soft-dirty ---- */

static bool keeps_pinned(const char *policy)
{
	static const char *const not[] = { "mapcount", "mapcount-force-break", "page-count-2.6" };

	for (unsigned i = 0; i < sizeof(not) / sizeof(not[0]); i++)
		if (!strcmp(policy, not[i]))
			return false;
	return true;
}

static void test_clear_refs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		cow_ref ref;

		start(&t, every_era[i], 3);
		assert_int_equal(cow_gup(t.m, t.p, A + PAGE, 1, COW_GUP_WRITE | COW_GUP_PIN, 1, NULL,
					 &ref), 0);
		assert_true(look(&t, t.p, A).soft_dirty);
		assert_int_equal(cow_swap_out(t.m, t.p, A + 2 * PAGE, 1, false, NULL), 0);
		assert_int_equal(cow_clear_refs(t.m, t.p), 0);
		mocked_check(&t);
		assert_true(!look(&t, t.p, A).soft_dirty && !look(&t, t.p, A).writable);
		assert_false(look(&t, t.p, A + 2 * PAGE).soft_dirty);
		assert_int_equal(look(&t, t.p, A + PAGE).writable, keeps_pinned(every_era[i]));
		assert_int_equal(look(&t, t.p, A + PAGE).soft_dirty, keeps_pinned(every_era[i]));
		/* Tracking is on: mprotect must not make it writable behind the tracker's back. */
		assert_int_equal(cow_mprotect(t.m, t.p, A, 1, COW_PROT_READ), 0);
		assert_int_equal(cow_mprotect(t.m, t.p, A, 1, COW_PROT_RW), 0);
		assert_false(look(&t, t.p, A).writable);
		assert_int_equal(write_at(&t, A, 8), COW_OUT_REUSE);
		assert_true(look(&t, t.p, A).soft_dirty && look(&t, t.p, A).writable);
		mocked_check(&t);
		mocked_end(&t);
	}
}

/* Shared mappings lose their write permission too; what one mm tracks is nothing to another. */
static void test_clear_refs_shared(void **state)
{
	struct mocked t;
	cow_mm child;

	(void)state;
	start(&t, "exclusive", 1);
	assert_int_equal(cow_mmap(t.m, t.p, A + 4 * PAGE, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	write_at(&t, A + 4 * PAGE, 3);
	assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
	assert_int_equal(cow_read(t.m, child, A + 4 * PAGE, NULL, NULL), 0);
	assert_int_equal(cow_clear_refs(t.m, t.p), 0);
	mocked_check(&t);
	assert_false(look(&t, t.p, A + 4 * PAGE).writable);
	assert_true(look(&t, child, A + 4 * PAGE).writable);
	assert_int_equal(write_at(&t, A + 4 * PAGE, 4), COW_OUT_REUSE);
	assert_true(look(&t, t.p, A + 4 * PAGE).soft_dirty);
	mocked_end(&t);
}

static void test_clear_refs_asks(void **state)
{
	struct mocked t;
	cow_mm child;

	(void)state;
	mocked_begin(&t);
	assert_int_equal(cow_mmap(t.m, t.p, A, 2, COW_PROT_RW, 0), 0);
	must_write(&t, t.p, A, 1, COW_OUT_ALLOC);
	EXPECT(CLEAN, WRITABLE, OWN, RW, .mapped_most = 1, .pte_write = 1);
	assert_int_equal(cow_clear_refs(t.m, t.p), 0);
	assert_true(look(&t, t.p, A).writable && look(&t, t.p, A).soft_dirty);
	EXPECT(TRACK, CLEAR, .vma_cow = 1, .vma_write = 1);
	EXPECT(FORK, SHARE, OWN, RW, .mapped_most = 1, .pte_write = 1);
	child = must_fork(&t, t.p);
	assert_int_equal(cow_clear_refs(t.m, child), 0); /* read-only already: nothing to ask */
	/* Nor of shared memory, which is no page's own. */
	assert_int_equal(cow_mmap(t.m, child, A + 8 * PAGE, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	must_write(&t, child, A + 8 * PAGE, 1, COW_OUT_ALLOC);
	assert_int_equal(cow_clear_refs(t.m, child), 0);
	assert_false(look(&t, child, A).soft_dirty);
	mocked_end(&t);
}

/* ---- NUMA hints ---- */

static void test_numa(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		bool saves = !upgrades_uffd(every_era[i]); /* both came with v6.2 */
		struct mocked t;
		struct cow_result result;

		start(&t, every_era[i], 2);
		assert_int_equal(cow_numa_hint(t.m, t.p, A, 3, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_MOVED);
		assert_int_equal(result.counts[COW_OUT_MOVED], 2);
		mocked_check(&t);
		assert_int_equal(look(&t, t.p, A).writable, saves);
		assert_int_equal(write_at(&t, A, 4), COW_OUT_HIT); /* no copy-on-write fault of any era */
		assert_int_equal(counter(&t, COW_COUNT_FAULTS), 3);
		assert_int_equal(counter(&t, COW_COUNT_UPGRADES), !saves);
		assert_int_equal(read_at(&t, A + PAGE, 2), COW_OUT_HIT);
		assert_true(look(&t, t.p, A + PAGE).writable);
		mocked_check(&t);
		/* A shared page is left alone; so is what cannot be accessed, and nothing at all. */
		assert_int_equal(cow_numa_hint(t.m, t.p, A + 8 * PAGE, 1, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_NONE);
		mocked_end(&t);
	}
}

static void test_numa_shared(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_result result;
		cow_mm child;

		start(&t, every_era[i], 1);
		assert_int_equal(cow_numa_hint(t.m, t.p, A, 1, NULL), 0);
		assert_int_equal(cow_fork(t.m, t.p, NULL, &child), 0);
		mocked_check(&t);
		if (look(&t, t.p, A).frame == look(&t, child, A).frame) {
			/* Neither side may find its write permission saved. */
			assert_int_equal(write_at(&t, A, 5), COW_OUT_COPY);
			assert_int_equal(look(&t, child, A).value, 1);
			assert_int_equal(cow_read(t.m, child, A, NULL, NULL), 0);
			assert_int_equal(cow_fork(t.m, child, NULL, &child), 0);
			assert_int_equal(cow_numa_hint(t.m, child, A, 1, &result), 0);
			assert_int_equal(result.outcome, COW_OUT_REFUSED);
		}
		mocked_end(&t);
	}
}

static void test_numa_huge(void **state)
{
	const uint64_t at = 4 * HUGE * PAGE;

	(void)state;
	for (unsigned i = 0; i < ERAS; i++) {
		struct mocked t;
		struct cow_result result;

		start(&t, every_era[i], 1);
		assert_int_equal(cow_mmap(t.m, t.p, at, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
		must_write(&t, t.p, at, 1, COW_OUT_ALLOC);
		assert_int_equal(cow_numa_hint(t.m, t.p, at, HUGE, &result), 0);
		assert_int_equal(result.counts[COW_OUT_MOVED], HUGE);
		assert_int_equal(write_at(&t, at + 9 * PAGE, 4), COW_OUT_HIT);
		assert_true(look(&t, t.p, at).huge && look(&t, t.p, at).writable);
		mocked_check(&t);
		mocked_end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uffd_blocks_writers), cmocka_unit_test(test_uffd_shared),
		cmocka_unit_test(test_uffd_markers),	    cmocka_unit_test(test_uffd_starved),
		cmocka_unit_test(test_uffd_errors),	    cmocka_unit_test(test_uffd_other_entries),
		cmocka_unit_test(test_uffd_huge),	    cmocka_unit_test(test_uffd_asks),
		cmocka_unit_test(test_uffd_flushes),	    cmocka_unit_test(test_uffd_huge_resolved),
		cmocka_unit_test(test_uffd_asks_about_no_file),
		cmocka_unit_test(test_clear_refs),	    cmocka_unit_test(test_clear_refs_shared),
		cmocka_unit_test(test_clear_refs_asks),	    cmocka_unit_test(test_numa),
		cmocka_unit_test(test_numa_shared),	    cmocka_unit_test(test_numa_huge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
