/* SPDX-License-Identifier: MIT
 *
 * Transparent huge pages: first touches, what the policy is shown of a PMD and what its answers do,
 * fork, partial and whole unmapping, mprotect, mremap, collapse; per-page markers in every home.
 *
 *   page   0 . . . . . . 7 | 8 . . . . . 15 |   "tiny": a PMD maps 8 pages, so that two huge pages
 *          one PMD         | or 8 PTEs      |   are 16; what depends on size runs on x86-64 too
 */
#include "failing.h"
#include "mocked.h"

#include <errno.h>

#include "world.h"

static const char *const homes[] = {
	"exclusive,marker=none",  "exclusive", "pte-exclusive", "exclusive,marker=adjacent",
	"exclusive,marker=extra",
};

enum { HOMES = sizeof(homes) / sizeof(*homes), HUGE = 8 };

/* A machine under a policy by name, one process. */
struct thp {
	cow_machine *m;
	cow_policies *list;
	cow_mm p;
	unsigned pages; /* of a PMD */
};

static void begin(struct thp *t, const char *policy, const char *geometry, uint64_t frames,
		  uint64_t batch)
{
	memset(t, 0, sizeof(*t));
	t->m = machine_new(geometry, policy_parse(policy, &t->list), frames, batch);
	assert_non_null(t->m);
	assert_int_equal(cow_mm_create(t->m, &t->p), 0);
	t->pages = 1u << cow_geometry_find(geometry)->bits[0];
}

static void check(const struct thp *t)
{
	struct cow_error error;

	if (cow_machine_check(t->m, &error))
		fail_msg("%s: %s", cow_machine_policy(t->m)->name, error.sentence);
}

static void end(struct thp *t)
{
	check(t);
	cow_machine_destroy(t->m);
	cow_policies_free(t->list);
}

static void map(const struct thp *t, unsigned page, unsigned pages, unsigned order)
{
	assert_int_equal(cow_mmap(t->m, t->p, (uint64_t)page * PAGE, pages, COW_PROT_RW,
				  COW_MAP_THP | COW_MAP_ORDER(order)),
			 0);
}

static enum cow_outcome put(const struct thp *t, cow_mm mm, unsigned page, uint64_t value)
{
	enum cow_outcome outcome;

	cow_write(t->m, mm, (uint64_t)page * PAGE, value, &outcome);
	check(t);
	return outcome;
}

/* Each page gets `value` and its number. */
static void fill(const struct thp *t, cow_mm mm, unsigned page, unsigned pages, uint64_t value)
{
	for (unsigned i = page; i < page + pages; i++)
		assert_int_equal(cow_write(t->m, mm, (uint64_t)i * PAGE, value + i, NULL), 0);
	check(t);
}

static void holds(const struct thp *t, cow_mm mm, unsigned page, unsigned pages, uint64_t value)
{
	for (unsigned i = page; i < page + pages; i++) {
		struct cow_page at;

		assert_int_equal(cow_page_look(t->m, mm, (uint64_t)i * PAGE, &at), 0);
		assert_int_equal(at.value, value + i);
	}
}

static struct cow_page at(const struct thp *t, cow_mm mm, unsigned page)
{
	struct cow_page look;

	assert_int_equal(cow_page_look(t->m, mm, (uint64_t)page * PAGE, &look), 0);
	return look;
}

static uint64_t count(const struct thp *t, enum cow_counter id)
{
	return cow_machine_counter(t->m, id);
}

static cow_mm forked(const struct thp *t, cow_mm parent)
{
	cow_mm child;

	assert_int_equal(cow_fork(t->m, parent, NULL, &child), 0);
	check(t);
	return child;
}

static bool marks(const struct thp *t)
{
	return cow_machine_policy(t->m)->marker != COW_MARKER_NONE;
}

/* ---- first touches ---- */

static void first_write_maps_a_folio(void **state)
{
	(void)state;
	for (unsigned home = 0; home < 2 * HOMES; home++) {
		struct thp t;
		struct cow_page page;

		begin(&t, homes[home / 2], home % 2 ? "x86-64" : "tiny", 4096, 3);
		map(&t, 0, 2 * t.pages, 0);
		assert_int_equal(put(&t, t.p, t.pages + 3, 5), COW_OUT_ALLOC);
		page = at(&t, t.p, t.pages);
		assert_true(page.huge && page.writable && page.dirty && page.anon);
		assert_int_equal(page.exclusive, marks(&t));
		assert_int_equal(1u << page.order, t.pages);
		assert_int_equal(page.refcount, 1);
		assert_int_equal(page.mapcount, 1);
		assert_int_equal(page.folio_mapcount, 1);
		assert_int_equal(page.value, 0);
		assert_false(at(&t, t.p, 0).present);
		assert_int_equal(at(&t, t.p, t.pages + 3).value, 5);
		assert_int_equal(at(&t, t.p, t.pages + 3).frame, page.frame + 3);
		assert_int_equal(put(&t, t.p, 2 * t.pages - 1, 6), COW_OUT_HIT);
		assert_int_equal(count(&t, COW_COUNT_ALLOCS), 1);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), t.pages);
		assert_int_equal(cow_munmap(t.m, t.p, 0, 2 * t.pages), 0);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
		assert_int_equal(count(&t, COW_COUNT_PMD_SPLITS), 0);
		end(&t);
	}
}

/* A large folio goes to the LRU list at once, and takes the batch with it. */
static void large_folio_drains_the_batch(void **state)
{
	struct thp t;

	(void)state;
	for (unsigned order = 0; order < 4; order += 2) {
		begin(&t, "exclusive", "tiny", 64, 5);
		map(&t, 0, HUGE, order);
		assert_int_equal(cow_mmap(t.m, t.p, 32 * PAGE, 2, COW_PROT_RW, 0), 0);
		put(&t, t.p, 32, 1);
		put(&t, t.p, 33, 1);
		assert_true(at(&t, t.p, 32).in_batch);
		put(&t, t.p, 0, 1);
		assert_false(at(&t, t.p, 32).in_batch || at(&t, t.p, 0).in_batch);
		assert_int_equal(at(&t, t.p, 0).refcount, order ? 4 : 1);
		assert_int_equal(count(&t, COW_COUNT_DRAINS), 1);
		end(&t);
	}
}

static void first_read_maps_the_huge_zero_page(void **state)
{
	static const struct {
		const char *policy;
		bool huge; /* what a write makes of it */
	} eras[] = { { "mapcount", true },
		     { "page-count", false },
		     { "exclusive-5.19", false },
		     { "exclusive", true } };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct cow_page page;
		struct thp t;
		cow_mm c;

		begin(&t, eras[i].policy, "x86-64", 4096, 0);
		map(&t, 0, t.pages, 0);
		assert_int_equal(cow_read(t.m, t.p, 7 * PAGE, NULL, NULL), 0);
		page = at(&t, t.p, 0);
		assert_true(page.huge && page.zero && !page.writable && !page.exclusive);
		assert_int_equal(count(&t, COW_COUNT_ZEROS), 1);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
		c = forked(&t, t.p);
		assert_true(at(&t, c, 3).zero && at(&t, c, 3).huge);
		assert_int_equal(put(&t, t.p, 9, 5), COW_OUT_COPY);
		page = at(&t, t.p, 9);
		assert_int_equal(page.huge, eras[i].huge);
		assert_true(page.writable);
		assert_int_equal(page.value, 5);
		assert_int_equal(at(&t, t.p, 10).zero, !eras[i].huge);
		assert_int_equal(count(&t, COW_COUNT_COPIES), eras[i].huge ? t.pages : 1);
		assert_int_equal(at(&t, c, 9).value, 0);
		assert_int_equal(cow_mm_exit(t.m, c), 0);
		end(&t);
	}
}

/* No room for a huge page for the huge zero page: it is split. */
static void huge_zero_page_splits_without_frames(void **state)
{
	struct thp t;

	(void)state;
	begin(&t, "exclusive", "tiny", HUGE - 1, 0);
	map(&t, 0, HUGE, 0);
	assert_int_equal(cow_read(t.m, t.p, 0, NULL, NULL), 0);
	assert_int_equal(put(&t, t.p, 2, 5), COW_OUT_COPY);
	assert_false(at(&t, t.p, 2).huge || at(&t, t.p, 3).huge);
	assert_true(at(&t, t.p, 3).zero);
	end(&t);
}

/*
 *   1 . . . . . . 7 | 8 . . . . 14     a VMA that has no whole huge page
 */
static void first_touch_falls_back(void **state)
{
	struct thp t;

	(void)state;
	begin(&t, "exclusive", "tiny", 18, 0);
	map(&t, 1, 14, 0);
	assert_int_equal(put(&t, t.p, 1, 1), COW_OUT_ALLOC);
	assert_int_equal(at(&t, t.p, 1).order, 0);
	assert_false(at(&t, t.p, 2).present);
	/* A page is there already. */
	map(&t, 16, 2 * HUGE, 0);
	put(&t, t.p, 16, 1);
	assert_int_equal(cow_madvise(t.m, t.p, 17 * PAGE, 7, COW_ADV_DONTNEED, NULL), 0);
	assert_false(at(&t, t.p, 17).present);
	put(&t, t.p, 20, 2);
	assert_int_equal(at(&t, t.p, 20).order, 0);
	assert_int_equal(at(&t, t.p, 16).order, 3);
	/* Frames are short: 18 - 1 - 8 - 1 are left, and one more is taken. */
	put(&t, t.p, 2, 1);
	assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 11);
	assert_int_equal(put(&t, t.p, 24, 2), COW_OUT_ALLOC);
	assert_int_equal(at(&t, t.p, 24).order, 0);
	assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 12);
	for (unsigned i = 25; i < 31; i++)
		assert_int_equal(put(&t, t.p, i, 2), COW_OUT_ALLOC);
	assert_int_equal(put(&t, t.p, 31, 2), COW_OUT_OOM);
	assert_int_equal(cow_mm_exit(t.m, t.p), 0);
	assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
	end(&t);
}

/* alloc_anon_folio: each order, by PTEs; where another page is, or the VMA ends, base pages. */
static void orders_are_mapped_by_ptes(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned order = 2; order < 9; order++) {
			unsigned n = 1u << order;
			struct cow_page page;
			struct thp t;

			begin(&t, homes[home], "x86-64", 4096, 0);
			map(&t, 1, 512 + n, order);
			assert_int_equal(put(&t, t.p, 1, 1), COW_OUT_ALLOC);
			assert_int_equal(at(&t, t.p, 1).order, 0);
			assert_int_equal(put(&t, t.p, 2 * n - 1, 1), COW_OUT_ALLOC);
			for (unsigned i = n; i < 2 * n; i++) {
				page = at(&t, t.p, i);
				assert_int_equal(page.order, order);
				assert_true(page.writable && page.dirty && !page.huge);
				assert_int_equal(page.exclusive, marks(&t));
				assert_int_equal(page.mapcount, 1);
				assert_int_equal(page.folio_mapcount, n);
				assert_int_equal(page.refcount, n);
			}
			assert_int_equal(page.value, 1);
			assert_false(at(&t, t.p, n - 1).present || at(&t, t.p, 2 * n).present);
			/* A page of the range is there, be it the zero page. */
			assert_int_equal(cow_read(t.m, t.p, (uint64_t)2 * n * PAGE, NULL, NULL), 0);
			assert_int_equal(put(&t, t.p, 2 * n, 1), COW_OUT_COPY);
			assert_int_equal(put(&t, t.p, 2 * n + 1, 1), COW_OUT_ALLOC);
			assert_int_equal(at(&t, t.p, 2 * n + 1).order, 0);
			/* The end of the VMA. */
			assert_int_equal(put(&t, t.p, 512 + n, 1), COW_OUT_ALLOC);
			assert_int_equal(at(&t, t.p, 512 + n).order, 0);
			assert_int_equal(cow_munmap(t.m, t.p, PAGE, 512 + n), 0);
			assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
			end(&t);
		}
}

/* ---- what the policy is shown of a PMD, and what its answers do ---- */

static void mock_tiny(struct mocked *k, uint64_t frames)
{
	mocked_init(k);
	k->config.geometry = *cow_geometry_find("tiny");
	k->config.frames = frames;
	mocked_start(k);
	assert_int_equal(cow_mmap(k->m, k->p, 0, 2 * HUGE, COW_PROT_RW, COW_MAP_THP), 0);
	must_write(k, k->p, 0, 1, COW_OUT_ALLOC);
	must_write(k, k->p, 3 * PAGE, 4, COW_OUT_HIT);
}

#define HUGE_OWN .refcount = 1, .mapcount = 1, .order = 3, .pmd = 1, .anon = 1, .pte_dirty = 1
#define HUGE_BOTH                                                                      \
	.refcount = 2, .mapcount = 2, .order = 3, .pmd = 1, .anon = 1, .pte_dirty = 1, \
	.mm_ids_shared = 1

/* P and C map the folio by PMDs. */
static cow_mm mock_fork(struct mocked *k)
{
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK_PMD, SHARE, HUGE_OWN, .exclusive = 1, .pte_write = 1, RW);
	return must_fork(k, k->p);
}

static void fork_shares_a_pmd(void **state)
{
	struct cow_page mine, theirs;
	struct cow_result result;
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK_PMD, SHARE, HUGE_OWN, .exclusive = 1, .pte_write = 1, RW);
	assert_int_equal(cow_fork(k.m, k.p, &result, &c), 0);
	assert_int_equal(result.counts[COW_OUT_SHARE], HUGE);
	mine = look(&k, k.p, 3 * PAGE);
	theirs = look(&k, c, 3 * PAGE);
	assert_true(mine.huge && theirs.huge);
	assert_int_equal(mine.frame, theirs.frame);
	assert_int_equal(mine.refcount, 2);
	assert_int_equal(mine.mapcount, 2);
	assert_int_equal(mine.folio_mapcount, 2);
	assert_false(mine.writable || theirs.writable || mine.exclusive || theirs.exclusive);
	mocked_end(&k);
}

/* Huge pages that look alike are asked about once in a row: two PMDs, one question. */
static void fork_asks_once_for_equal_pmds(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	must_write(&k, k.p, 8 * PAGE, 1, COW_OUT_ALLOC);
	c = mock_fork(&k);
	for (unsigned i = 0; i < 2 * HUGE; i++) {
		assert_int_equal(look(&k, c, i * PAGE).frame, look(&k, k.p, i * PAGE).frame);
		assert_int_equal(look(&k, c, i * PAGE).mapcount, 2);
		assert_false(look(&k, k.p, i * PAGE).writable || look(&k, k.p, i * PAGE).exclusive);
	}
	/* Of unlike ones each is asked about. */
	EXPECT(PMD, REUSE, HUGE_BOTH, .req_write = 1, RW);
	must_write(&k, k.p, 8 * PAGE, 1, COW_OUT_REUSE);
	EXPECT(FORK_PMD, SHARE, HUGE_BOTH, RW);
	EXPECT(FORK_PMD, SHARE, HUGE_BOTH, .exclusive = 1, .pte_write = 1, RW);
	must_fork(&k, k.p);
	mocked_drop(&k);
}

static void fork_splits_a_pmd(void **state)
{
	struct cow_page mine, theirs;
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK_PMD, SPLIT, HUGE_OWN, .exclusive = 1, .pte_write = 1, RW);
	for (unsigned i = 0; i < HUGE; i++)
		EXPECT(FORK, SHARE, .refcount = HUGE + i, .mapcount = HUGE + i, .order = 3,
		       .anon = 1, .pte_dirty = 1, .exclusive = 1, .pte_write = 1,
		       .mm_ids_shared = i > 0, RW);
	c = must_fork(&k, k.p);
	mine = look(&k, k.p, 3 * PAGE);
	theirs = look(&k, c, 3 * PAGE);
	assert_false(mine.huge || theirs.huge || mine.exclusive || mine.writable);
	assert_int_equal(mine.frame, theirs.frame);
	assert_int_equal(mine.mapcount, 2);
	assert_int_equal(mine.folio_mapcount, 2 * HUGE);
	assert_int_equal(counter(&k, COW_COUNT_PMD_SPLITS), 1);
	mocked_end(&k);
}

static void write_reuses_a_pmd(void **state)
{
	struct cow_page page;
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	c = mock_fork(&k);
	assert_int_equal(cow_mm_exit(k.m, c), 0);
	EXPECT(PMD, REUSE, HUGE_OWN, .req_write = 1, RW);
	must_write(&k, k.p, 5 * PAGE, 9, COW_OUT_REUSE);
	page = look(&k, k.p, 0);
	assert_true(page.huge && page.writable && page.exclusive);
	assert_int_equal(counter(&k, COW_COUNT_REUSES), 1);
	must_write(&k, k.p, 6 * PAGE, 9, COW_OUT_HIT);
	mocked_end(&k);
}

/*
 *  P: | 1 0 0 4 0 9 0 0 | rw, a folio of its own
 *  C: | 1 0 0 4 0 0 0 0 | ro
 */
static void write_copies_a_pmd(void **state)
{
	struct cow_page mine, theirs;
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	c = mock_fork(&k);
	EXPECT(PMD, COPY, HUGE_BOTH, .req_write = 1, RW);
	must_write(&k, k.p, 5 * PAGE, 9, COW_OUT_COPY);
	mine = look(&k, k.p, 3 * PAGE);
	theirs = look(&k, c, 3 * PAGE);
	assert_true(mine.huge && mine.writable && mine.exclusive && theirs.huge &&
		    !theirs.writable);
	assert_int_not_equal(mine.frame, theirs.frame);
	assert_int_equal(mine.value, 4);
	assert_int_equal(theirs.value, 4);
	assert_int_equal(theirs.refcount, 1);
	assert_int_equal(look(&k, c, 5 * PAGE).value, 0);
	assert_int_equal(counter(&k, COW_COUNT_COPIES), HUGE);
	assert_int_equal(counter(&k, COW_COUNT_FRAMES_USED), 2 * HUGE);
	mocked_end(&k);
}

/* No huge page can be had: the PMD is split, and the page is asked about. */
static void write_copies_a_page_without_frames(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 2 * HUGE - 1);
	c = mock_fork(&k);
	EXPECT(PMD, COPY, HUGE_BOTH, .req_write = 1, RW);
	EXPECT(WRITE, COPY, .refcount = HUGE + 1, .mapcount = HUGE + 1, .order = 3, .anon = 1,
	       .pte_dirty = 1, .mm_ids_shared = 1, .req_write = 1, RW);
	must_write(&k, k.p, 5 * PAGE, 9, COW_OUT_COPY);
	assert_false(look(&k, k.p, 5 * PAGE).huge || look(&k, k.p, 4 * PAGE).huge);
	assert_int_equal(look(&k, k.p, 5 * PAGE).order, 0);
	assert_int_equal(look(&k, k.p, 4 * PAGE).order, 3);
	assert_true(look(&k, c, 5 * PAGE).huge);
	assert_int_equal(counter(&k, COW_COUNT_FRAMES_USED), HUGE + 1);
	mocked_end(&k);
}

static void write_splits_a_pmd(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mock_tiny(&k, 64);
	c = mock_fork(&k);
	EXPECT(PMD, DRAIN_LRU, HUGE_BOTH, .req_write = 1, RW);
	EXPECT(PMD, FREE_SWAP, HUGE_BOTH, .drained = 1, .req_write = 1, RW);
	EXPECT(PMD, SPLIT, HUGE_BOTH, .drained = 1, .swap_freed = 1, .req_write = 1, RW);
	EXPECT(WRITE, COPY, .refcount = HUGE + 1, .mapcount = HUGE + 1, .order = 3, .anon = 1,
	       .pte_dirty = 1, .mm_ids_shared = 1, .req_write = 1, RW);
	must_write(&k, k.p, 5 * PAGE, 9, COW_OUT_COPY);
	assert_int_equal(look(&k, k.p, 3 * PAGE).frame, look(&k, c, 3 * PAGE).frame);
	assert_int_equal(look(&k, c, 5 * PAGE).mapcount, 1);
	assert_int_equal(look(&k, c, 3 * PAGE).mapcount, 2);
	assert_int_equal(look(&k, c, 3 * PAGE).folio_mapcount, HUGE);
	assert_int_equal(counter(&k, COW_COUNT_PMD_SPLITS), 1);
	mocked_end(&k);
}

/* A policy that never comes to an end is split by. */
static void endless_answers_split(void **state)
{
	struct mocked k;

	(void)state;
	mock_tiny(&k, 64);
	mock_fork(&k);
	EXPECT(PMD, DRAIN_LRU, HUGE_BOTH, .req_write = 1, RW);
	EXPECT(PMD, DRAIN_LRU, HUGE_BOTH, .drained = 1, .req_write = 1, RW);
	EXPECT(WRITE, REUSE, .refcount = HUGE + 1, .mapcount = HUGE + 1, .order = 3, .anon = 1,
	       .pte_dirty = 1, .mm_ids_shared = 1, .req_write = 1, RW);
	must_write(&k, k.p, 5 * PAGE, 9, COW_OUT_REUSE);
	assert_int_equal(look(&k, k.p, 5 * PAGE).mapcount, 2);
	mocked_drop(&k);
}

static void pin_unshares_a_pmd(void **state)
{
	struct mocked k;
	cow_ref ref;

	(void)state;
	mock_tiny(&k, 64);
	mock_fork(&k);
	EXPECT(GUP, UNSHARE, HUGE_BOTH, .mm_has_pinned = 1, .req_pin = 1, RW);
	EXPECT(PMD, COPY, HUGE_BOTH, .mm_has_pinned = 1, .req_unshare = 1, RW);
	EXPECT(GUP, TAKE, .refcount = 1, .mapcount = 1, .order = 3, .pmd = 1, .anon = 1,
	       .exclusive = 1, .mm_has_pinned = 1, .req_pin = 1, RW);
	assert_int_equal(cow_gup(k.m, k.p, 2 * PAGE, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_true(look(&k, k.p, 0).huge && !look(&k, k.p, 0).writable);
	assert_int_equal(look(&k, k.p, 0).pincount, 1);
	assert_int_equal(look(&k, k.p, 0).refcount, 2);
	assert_int_equal(counter(&k, COW_COUNT_UNSHARES), HUGE);
	assert_int_equal(cow_ref_release(k.m, ref), 0);
	mocked_end(&k);
}

static void mprotect_asks_about_a_pmd(void **state)
{
	(void)state;
	for (unsigned upgrade = 0; upgrade < 2; upgrade++) {
		struct mocked k;

		mock_tiny(&k, 64);
		assert_int_equal(cow_mprotect(k.m, k.p, 0, 2 * HUGE, COW_PROT_READ), 0);
		assert_false(look(&k, k.p, 0).writable);
		assert_int_equal(cow_mprotect(k.m, k.p, 0, 2 * HUGE, COW_PROT_NONE), 0);
		if (upgrade)
			EXPECT(PROTECT, WRITABLE, HUGE_OWN, .exclusive = 1, RW);
		else
			EXPECT(PROTECT, READONLY, HUGE_OWN, .exclusive = 1, RW);
		assert_int_equal(cow_mprotect(k.m, k.p, 0, 2 * HUGE, COW_PROT_RW), 0);
		assert_true(look(&k, k.p, 0).huge);
		assert_int_equal(look(&k, k.p, 0).writable, upgrade);
		assert_int_equal(counter(&k, COW_COUNT_UPGRADES), upgrade);
		/* One page alone splits the PMD, and each page keeps its marker. */
		assert_int_equal(cow_mprotect(k.m, k.p, PAGE, 1, COW_PROT_READ), 0);
		for (unsigned i = 0; i < HUGE; i++) {
			assert_int_equal(look(&k, k.p, i * PAGE).writable, upgrade && i != 1);
			assert_true(look(&k, k.p, i * PAGE).exclusive);
			assert_false(look(&k, k.p, i * PAGE).huge);
		}
		mocked_end(&k);
	}
}

/* Until v6.3, but not where the folio is split as well.  The folio is dirty then, so that nothing is lost
 * that was written since madvise free. */
static void a_split_may_clean_entries(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 4; how++) {
		struct mocked k;

		mocked_init(&k);
		k.config.geometry = *cow_geometry_find("tiny");
		k.config.frames = 64;
		if (how)
			k.policy.flags |= COW_POLICY_SPLIT_CLEANS;
		mocked_start(&k);
		assert_int_equal(cow_mmap(k.m, k.p, 0, HUGE, COW_PROT_RW, COW_MAP_THP), 0);
		must_write(&k, k.p, 0, 1, COW_OUT_ALLOC);
		if (how == 2) {
			assert_int_equal(cow_madvise(k.m, k.p, 0, HUGE, COW_ADV_FREE, NULL), 0);
			must_write(&k, k.p, 3 * PAGE, 2, COW_OUT_HIT);
		}
		assert_true(look(&k, k.p, 0).dirty && look(&k, k.p, 0).huge);
		if (how == 3)
			assert_int_equal(cow_madvise(k.m, k.p, PAGE, 1, COW_ADV_COLD, NULL), 0);
		else
			assert_int_equal(cow_mprotect(k.m, k.p, PAGE, 1, COW_PROT_READ), 0);
		for (unsigned i = 0; i < HUGE; i++) {
			assert_false(look(&k, k.p, i * PAGE).huge);
			assert_int_equal(look(&k, k.p, i * PAGE).dirty, how != 1 && how != 2);
		}
		if (how == 2) {
			assert_true(look(&k, k.p, 3 * PAGE).lazyfree);
			assert_int_equal(cow_swap_out(k.m, k.p, 0, HUGE, false, NULL), 0);
			assert_true(look(&k, k.p, 3 * PAGE).present);
			assert_false(look(&k, k.p, 3 * PAGE).lazyfree);
		}
		must_write(&k, k.p, 0, 3, COW_OUT_HIT);
		assert_true(look(&k, k.p, 0).dirty);
		mocked_end(&k);
	}
}

static void collapse_asks_about_each_page(void **state)
{
	struct mocked k;

	(void)state;
	mock_tiny(&k, 64);
	assert_int_equal(cow_split(k.m, k.p, 0, HUGE, NULL), 0);
	EXPECT(COLLAPSE, REFUSE, .refcount = HUGE, .mapcount = HUGE, .order = 3, .anon = 1,
	       .exclusive = 1, .pte_write = 1, .pte_dirty = 1, RW);
	assert_int_equal(cow_madvise(k.m, k.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), -EAGAIN);
	assert_false(look(&k, k.p, 0).huge);
	/* Equal views in a row are asked about once. */
	EXPECT(TRACK, CLEAR, RW);
	for (unsigned i = 0; i < HUGE; i++)
		EXPECT(FORK, SHARE, .refcount = HUGE + i, .mapcount = HUGE + i, .order = 3,
		       .anon = 1, .pte_dirty = 1, .exclusive = 1, .pte_write = 1,
		       .mm_ids_shared = i > 0, RW);
	must_fork(&k, k.p);
	EXPECT(COLLAPSE, ALLOW, .refcount = 2 * HUGE, .mapcount = 2 * HUGE, .order = 3, .anon = 1,
	       .pte_dirty = 1, .mm_ids_shared = 1, RW);
	assert_int_equal(cow_madvise(k.m, k.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), 0);
	assert_true(look(&k, k.p, 0).huge && look(&k, k.p, 0).writable &&
		    look(&k, k.p, 0).exclusive);
	assert_int_equal(look(&k, k.p, 3 * PAGE).value, 4);
	assert_int_equal(look(&k, k.p, 3 * PAGE).refcount, 1);
	mocked_end(&k);
}

/* ---- markers, page by page ---- */

/*
 *  P: | 0 1 2 3 4 5 6 7 |   split; then 2 and 3 go, 5 is shared with C, 6 is copied by it
 */
static void markers_are_per_page(void **state)
{
	(void)state;
	for (unsigned home = 1; home < HOMES; home++) {
		struct thp t;
		cow_mm c;

		begin(&t, homes[home], "tiny", 64, 0);
		map(&t, 0, HUGE, 0);
		fill(&t, t.p, 0, HUGE, 100);
		assert_int_equal(cow_munmap(t.m, t.p, 2 * PAGE, 2), 0);
		check(&t);
		for (unsigned i = 0; i < HUGE; i++) {
			assert_false(at(&t, t.p, i).huge);
			assert_int_equal(at(&t, t.p, i).exclusive, i != 2 && i != 3);
			assert_int_equal(at(&t, t.p, i).writable, i != 2 && i != 3);
		}
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), HUGE);
		assert_int_equal(cow_madvise(t.m, t.p, 0, 2, COW_ADV_DONTFORK, NULL), 0);
		c = forked(&t, t.p);
		for (unsigned i = 0; i < HUGE; i++)
			assert_int_equal(at(&t, t.p, i).exclusive, i < 2);
		assert_int_equal(put(&t, t.p, 5, 1), COW_OUT_COPY);
		assert_true(at(&t, t.p, 5).exclusive && !at(&t, c, 5).exclusive);
		assert_int_equal(cow_mm_exit(t.m, t.p), 0);
		check(&t);
		/* v6.15+: one mm alone maps what is left of the folio. */
		assert_int_equal(put(&t, c, 5, 2), COW_OUT_REUSE);
		assert_true(at(&t, c, 5).exclusive && !at(&t, c, 6).exclusive);
		assert_int_equal(at(&t, c, 6).value, 106);
		assert_int_equal(cow_mm_exit(t.m, c), 0);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
		end(&t);
	}
}

/* Reading after every way to split, in every home. */
static void contents_survive_splits(void **state)
{
	(void)state;
	for (unsigned home = 0; home < 2 * HOMES; home++) {
		struct cow_result result;
		struct thp t;

		begin(&t, homes[home / 2], home % 2 ? "x86-64" : "tiny", 4096, 0);
		map(&t, 0, 2 * t.pages, 0);
		fill(&t, t.p, 0, 2 * t.pages, 100);
		assert_int_equal(cow_split(t.m, t.p, PAGE, 1, &result), 0);
		check(&t);
		assert_int_equal(result.outcome, COW_OUT_MOVED);
		assert_int_equal(result.counts[COW_OUT_MOVED], 1);
		assert_int_equal(cow_split(t.m, t.p, 0, t.pages, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_REFUSED);
		holds(&t, t.p, 0, 2 * t.pages, 100);
		for (unsigned i = 0; i < t.pages; i++)
			assert_int_equal(at(&t, t.p, i).exclusive, marks(&t));
		assert_true(at(&t, t.p, t.pages).huge);
		assert_int_equal(put(&t, t.p, 0, 100), COW_OUT_HIT);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 2 * t.pages);
		assert_int_equal(cow_munmap(t.m, t.p, 0, 2 * t.pages - 1), 0);
		check(&t);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), t.pages);
		holds(&t, t.p, 2 * t.pages - 1, 1, 100);
		assert_int_equal(cow_mm_exit(t.m, t.p), 0);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
		end(&t);
	}
}

static void whole_pmds_move(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct thp t;

		begin(&t, homes[home], "tiny", 64, 0);
		map(&t, 0, 2 * HUGE, 0);
		fill(&t, t.p, 0, 2 * HUGE, 100);
		assert_int_equal(cow_mremap(t.m, t.p, 0, 2 * HUGE, 4 * HUGE * PAGE), 0);
		check(&t);
		holds(&t, t.p, 4 * HUGE, 2 * HUGE, 100 - 4 * HUGE);
		assert_true(at(&t, t.p, 4 * HUGE).huge && at(&t, t.p, 5 * HUGE).huge);
		assert_int_equal(at(&t, t.p, 5 * HUGE).exclusive, marks(&t));
		assert_false(at(&t, t.p, 0).mapped);
		/* To a place that is not aligned, or in part: by PTEs. */
		assert_int_equal(cow_mremap(t.m, t.p, 4 * HUGE * PAGE, HUGE, PAGE), 0);
		check(&t);
		holds(&t, t.p, 1, HUGE, 100 - 1);
		assert_int_equal(
			cow_mremap(t.m, t.p, (5 * HUGE + 2) * PAGE, 3, (2 * HUGE + 2) * PAGE), 0);
		check(&t);
		holds(&t, t.p, 2 * HUGE + 2, 3, 100 + HUGE - 2 * HUGE);
		holds(&t, t.p, 5 * HUGE, 2, 100 - 4 * HUGE);
		holds(&t, t.p, 5 * HUGE + 5, 3, 100 - 4 * HUGE);
		for (unsigned i = 1; i <= HUGE; i++) {
			assert_false(at(&t, t.p, i).huge);
			assert_int_equal(at(&t, t.p, i).exclusive, marks(&t));
			assert_int_equal(put(&t, t.p, i, i), COW_OUT_HIT);
		}
		assert_int_equal(count(&t, COW_COUNT_PMD_SPLITS), 2);
		end(&t);
	}
}

/* v5.9+: fork splits a pinned huge page, and as the pin is the folio's, every page is copied. */
static void fork_copies_a_pinned_huge_page(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct cow_result result;
		struct thp t;
		cow_ref ref;
		cow_mm c;

		begin(&t, home ? homes[home] : "page-count", "tiny", 64, 0);
		map(&t, 0, 2 * HUGE, 0);
		fill(&t, t.p, 0, 2 * HUGE, 100);
		assert_int_equal(
			cow_gup(t.m, t.p, 2 * PAGE, 1, COW_GUP_WRITE | COW_GUP_PIN, 1, NULL, &ref),
			0);
		assert_int_equal(cow_fork(t.m, t.p, &result, &c), 0);
		check(&t);
		assert_int_equal(result.counts[COW_OUT_EARLY_COPY], HUGE);
		assert_int_equal(result.counts[COW_OUT_SHARE], HUGE);
		holds(&t, c, 0, 2 * HUGE, 100);
		assert_true(at(&t, c, HUGE).huge && !at(&t, c, 0).huge && !at(&t, t.p, 0).huge);
		assert_int_equal(at(&t, c, 3).order, 0);
		assert_int_equal(put(&t, t.p, 2, 7), COW_OUT_HIT);
		assert_int_equal(cow_mm_exit(t.m, t.p), 0);
		check(&t);
		/* The reference keeps the whole folio. */
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 3 * HUGE);
		assert_int_equal(cow_ref_release(t.m, ref), 0);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 2 * HUGE);
		end(&t);
	}
}

/* ---- collapse ---- */

static void collapse_makes_a_huge_page(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct thp t;

		begin(&t, homes[home], "tiny", 64, 3);
		map(&t, 0, 2 * HUGE, 2);
		fill(&t, t.p, 0, 4, 100);                                      /* a folio of four */
		assert_int_equal(cow_read(t.m, t.p, 5 * PAGE, NULL, NULL), 0); /* the zero page */
		put(&t, t.p, 6, 106);
		/* 4 and 7 are not there, nor is all of the second huge page. */
		assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), 0);
		check(&t);
		assert_true(at(&t, t.p, 0).huge && at(&t, t.p, 0).writable && at(&t, t.p, 0).dirty);
		assert_int_equal(at(&t, t.p, 0).exclusive, marks(&t));
		holds(&t, t.p, 0, 4, 100);
		holds(&t, t.p, 6, 1, 100);
		assert_int_equal(at(&t, t.p, 4).value | at(&t, t.p, 5).value | at(&t, t.p, 7).value,
				 0);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), HUGE);
		assert_int_equal(count(&t, COW_COUNT_COLLAPSES), 1);
		/* It is one already. */
		assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), 0);
		assert_int_equal(count(&t, COW_COUNT_COLLAPSES), 1);
		/* A write in a VMA of smaller folios copies no huge page. */
		assert_int_equal(cow_mm_exit(t.m, forked(&t, t.p)), 0);
		assert_int_equal(put(&t, t.p, 0, 1), COW_OUT_REUSE);
		end(&t);
	}
}

/* Of 17 frames each collapse takes the eight that are free, and gives back eight for the next; so all
 * of the folios must have been reserved, not the one that has room at first. */
static void collapse_lives_on_what_it_frees(void **state)
{
	struct thp t;

	(void)state;
	begin(&t, "exclusive", "tiny", 3 * HUGE + 1, 0);
	assert_int_equal(cow_mmap(t.m, t.p, 0, 2 * HUGE, COW_PROT_RW, 0), 0);
	fill(&t, t.p, 0, 2 * HUGE, 100);
	assert_int_equal(cow_madvise(t.m, t.p, 0, 2 * HUGE, COW_ADV_COLLAPSE, NULL), 0);
	assert_true(at(&t, t.p, 0).huge && at(&t, t.p, HUGE).huge);
	assert_int_equal(count(&t, COW_COUNT_COLLAPSES), 2);
	holds(&t, t.p, 0, 2 * HUGE, 100);
	end(&t);
}

static void collapse_brings_swapped_pages_back(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct thp t;

		begin(&t, homes[home], "tiny", 64, 3);
		map(&t, 0, HUGE, 0);
		fill(&t, t.p, 0, HUGE, 100);
		assert_int_equal(cow_swap_out(t.m, t.p, PAGE, 5, false, NULL), 0);
		assert_int_equal(cow_swap_drop(t.m, t.p, 2 * PAGE, 2, NULL), 0);
		check(&t);
		assert_true(at(&t, t.p, 3).swapped);
		assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), 0);
		check(&t);
		assert_true(at(&t, t.p, 3).huge);
		holds(&t, t.p, 0, HUGE, 100);
		assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), HUGE);
		end(&t);
	}
}

static void collapse_says_why_not(void **state)
{
	struct thp t;
	cow_ref ref;

	(void)state;
	begin(&t, "exclusive", "tiny", 2 * HUGE + 3, 0);
	map(&t, 0, 3 * HUGE, 2);
	/* No huge page in the range, none in the VMA, and no table at all. */
	put(&t, t.p, 0, 1);
	assert_int_equal(cow_madvise(t.m, t.p, PAGE, 6, COW_ADV_COLLAPSE, NULL), -EINVAL);
	assert_int_equal(cow_madvise(t.m, t.p, PAGE, HUGE, COW_ADV_COLLAPSE, NULL), 0);
	assert_int_equal(cow_mmap(t.m, t.p, 40 * PAGE, 7, COW_PROT_RW, COW_MAP_THP), 0);
	assert_int_equal(cow_madvise(t.m, t.p, 40 * PAGE, 7, COW_ADV_COLLAPSE, NULL), -EINVAL);
	assert_int_equal(cow_madvise(t.m, t.p, HUGE * PAGE, HUGE, COW_ADV_COLLAPSE, NULL), -EINVAL);
	check(&t);
	/* A page with a reference; the others of the call are done. */
	put(&t, t.p, HUGE, 1);
	assert_int_equal(cow_gup(t.m, t.p, PAGE, 1, 0, 1, NULL, &ref), 0);
	assert_int_equal(cow_madvise(t.m, t.p, 0, 2 * HUGE, COW_ADV_COLLAPSE, NULL), -EAGAIN);
	check(&t);
	assert_false(at(&t, t.p, 0).huge);
	assert_true(at(&t, t.p, HUGE).huge);
	assert_int_equal(cow_ref_release(t.m, ref), 0);
	/* 4 + 8 of 19 frames are in use: no room for 8 more. */
	assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), -ENOMEM);
	check(&t);
	holds(&t, t.p, 0, 1, 1);
	assert_int_equal(cow_munmap(t.m, t.p, HUGE * PAGE, HUGE), 0);
	/* userfaultfd: a page that is missing, and a page that is protected. */
	assert_int_equal(cow_uffd_wp(t.m, t.p, 0, HUGE, true), 0);
	assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), -EINVAL);
	assert_int_equal(cow_uffd_wp(t.m, t.p, 0, HUGE, false), 0);
	assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), -EBUSY);
	fill(&t, t.p, 0, HUGE, 100);
	assert_int_equal(at(&t, t.p, 4).order, 0); /* registered: no large folio */
	assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), 0);
	holds(&t, t.p, 0, HUGE, 100);
	end(&t);
}

/* The zero page alone: there is no anon_vma, and so nothing to collapse into. */
static void collapse_wants_an_anon_vma(void **state)
{
	struct thp t;

	(void)state;
	begin(&t, "exclusive", "tiny", 64, 0);
	map(&t, 0, HUGE, 2);
	assert_int_equal(cow_read(t.m, t.p, 0, NULL, NULL), 0);
	assert_int_equal(cow_madvise(t.m, t.p, 0, HUGE, COW_ADV_COLLAPSE, NULL), -EINVAL);
	assert_int_equal(count(&t, COW_COUNT_FRAMES_USED), 0);
	end(&t);
}

/* ---- others ---- */

static void uffd_blocks_a_pmd(void **state)
{
	struct thp t;

	(void)state;
	begin(&t, "exclusive", "tiny", 64, 0);
	map(&t, 0, HUGE, 0);
	fill(&t, t.p, 0, HUGE, 100);
	assert_int_equal(cow_uffd_wp(t.m, t.p, 0, HUGE, true), 0);
	assert_true(at(&t, t.p, 3).huge && at(&t, t.p, 3).uffd_wp && !at(&t, t.p, 3).writable);
	assert_int_equal(put(&t, t.p, 3, 1), COW_OUT_BLOCKED);
	assert_int_equal(cow_uffd_wp(t.m, t.p, 0, HUGE, false), 0);
	assert_int_equal(put(&t, t.p, 3, 103), COW_OUT_HIT);
	holds(&t, t.p, 0, HUGE, 100);
	end(&t);
}

static void numa_hint_on_a_pmd(void **state)
{
	static const char *const policies[] = { "mapcount", "exclusive-5.19", "exclusive" };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		enum cow_outcome outcome;
		struct thp t;

		begin(&t, policies[i], "tiny", 64, 0);
		map(&t, 0, HUGE, 0);
		fill(&t, t.p, 0, HUGE, 100);
		assert_int_equal(cow_numa_hint(t.m, t.p, 0, HUGE, NULL), 0);
		check(&t);
		assert_int_equal(cow_read(t.m, t.p, 0, NULL, &outcome), 0);
		assert_int_equal(outcome, COW_OUT_HIT);
		check(&t);
		assert_true(at(&t, t.p, 0).huge && at(&t, t.p, 0).writable);
		assert_int_equal(cow_numa_hint(t.m, t.p, 0, HUGE, NULL), 0);
		assert_int_equal(put(&t, t.p, 1, 101), COW_OUT_HIT);
		holds(&t, t.p, 0, HUGE, 100);
		end(&t);
	}
}

/* ---- anything at all ---- */

enum { PAGES = 3 * HUGE, MMS = 4 };

/* What each process should find; processes end in any order. */
struct model {
	struct thp t;
	cow_mm mms[MMS];
	unsigned count;
	uint64_t value[MMS][PAGES];
	bool mapped[MMS][PAGES];
};

static void model_check(const struct model *model)
{
	check(&model->t);
	for (unsigned p = 0; p < model->count; p++)
		for (unsigned i = 0; i < PAGES; i++) {
			struct cow_page page = at(&model->t, model->mms[p], i);

			assert_int_equal(page.mapped, model->mapped[p][i]);
			if (page.mapped && !page.swapped)
				assert_int_equal(page.value, model->value[p][i]);
		}
}

static void model_forget(struct model *model, unsigned p, unsigned first, unsigned pages,
			 bool unmap)
{
	for (unsigned i = first; i < first + pages; i++) {
		model->value[p][i] = 0;
		if (unmap)
			model->mapped[p][i] = false;
	}
}

static void model_fork(struct model *model, unsigned p)
{
	if (model->count == MMS ||
	    cow_fork(model->t.m, model->mms[p], NULL, &model->mms[model->count]))
		return;
	memcpy(model->value[model->count], model->value[p], sizeof(model->value[p]));
	memcpy(model->mapped[model->count], model->mapped[p], sizeof(model->mapped[p]));
	model->count++;
}

static void model_exit(struct model *model, unsigned p)
{
	if (model->count < 2)
		return;
	assert_int_equal(cow_mm_exit(model->t.m, model->mms[p]), 0);
	model->count--;
	model->mms[p] = model->mms[model->count];
	memcpy(model->value[p], model->value[model->count], sizeof(model->value[p]));
	memcpy(model->mapped[p], model->mapped[model->count], sizeof(model->mapped[p]));
}

/* A move within the window, to a hole. */
static void model_move(struct model *model, unsigned p, unsigned first, unsigned pages, unsigned to)
{
	uint64_t value[PAGES];

	if (to + pages > PAGES || cow_mremap(model->t.m, model->mms[p], (uint64_t)first * PAGE,
					     pages, (uint64_t)to * PAGE))
		return;
	memcpy(value, &model->value[p][first], pages * sizeof(*value));
	model_forget(model, p, first, pages, true);
	for (unsigned i = 0; i < pages; i++) {
		model->value[p][to + i] = value[i];
		model->mapped[p][to + i] = true;
	}
}

static void model_write(struct model *model, unsigned p, unsigned page, uint64_t value)
{
	if (!cow_write(model->t.m, model->mms[p], (uint64_t)page * PAGE, value, NULL))
		model->value[p][page] = value;
}

static void model_step(struct model *model, struct rng *rng)
{
	cow_machine *m = model->t.m;
	unsigned p = (unsigned)rng_below(rng, model->count);
	unsigned first = (unsigned)rng_below(rng, PAGES);
	unsigned pages = 1 + (unsigned)rng_below(rng, PAGES - first), to = 0;
	uint64_t addr, kind = rng_below(rng, 20);
	cow_mm mm = model->mms[p];

	if (rng_below(rng, 3) == 0) {
		first &= ~7u;
		pages = (pages + 7) & ~7u;
	}
	if (first + pages > PAGES)
		pages = PAGES - first;
	to = (unsigned)rng_below(rng, PAGES);
	if (rng_below(rng, 2))
		to &= ~7u;
	addr = (uint64_t)first * PAGE;
	switch (kind) {
	case 0:
	case 1:
		if (!cow_mmap(m, mm, addr, pages, COW_PROT_RW,
			      COW_MAP_THP | COW_MAP_ORDER(rng_below(rng, 3) ? 0 : 2)))
			for (unsigned i = first; i < first + pages; i++)
				model->mapped[p][i] = true;
		break;
	case 2:
		assert_int_equal(cow_munmap(m, mm, addr, pages), 0);
		model_forget(model, p, first, pages, true);
		break;
	case 3:
		model_fork(model, p);
		break;
	case 4:
		model_exit(model, p);
		break;
	case 5:
		model_move(model, p, first, pages, to);
		break;
	case 6:
		cow_mprotect(m, mm, addr, pages, rng_below(rng, 2) ? COW_PROT_READ : COW_PROT_RW);
		cow_mprotect(m, mm, addr, pages, COW_PROT_RW);
		break;
	case 7:
		cow_madvise(m, mm, addr, pages, COW_ADV_COLLAPSE, NULL);
		break;
	case 8:
		cow_split(m, mm, addr, pages, NULL);
		break;
	case 9:
		cow_madvise(m, mm, addr, pages, COW_ADV_DONTNEED, NULL);
		model_forget(model, p, first, pages, false);
		break;
	case 10:
		cow_swap_out(m, mm, addr, pages, false, NULL);
		break;
	case 11:
		cow_numa_hint(m, mm, addr, pages, NULL);
		break;
	case 12:
		cow_read_range(m, mm, addr, pages, NULL, NULL);
		break;
	case 13: {
		cow_ref ref;
		unsigned flags = (rng_below(rng, 2) ? COW_GUP_PIN : 0u) |
				 (rng_below(rng, 2) ? COW_GUP_WRITE : 0u);

		if (!cow_gup(m, mm, addr, pages, flags, 1, NULL, &ref)) {
			check(&model->t);
			model_fork(model, p);
			cow_ref_release(m, ref);
		}
		break;
	}
	default:
		for (unsigned i = first; i < first + pages; i++)
			model_write(model, p, i, rng_next(rng) >> 8);
	}
}

static void contents_are_private(void **state)
{
	static const char *const policies[] = {
		"page-count-2.6",         "mapcount",  "page-count",    "page-count-5.18",
		"exclusive-5.19",         "exclusive", "pte-exclusive", "exclusive,marker=adjacent",
		"exclusive,marker=extra",
	};

	(void)state;
	for (unsigned run = 0; run < rounds(270); run++) {
		struct rng rng = { 1000 + run };
		struct model model = { .count = 1 };

		begin(&model.t, policies[run % 9], "tiny", 20 + rng_below(&rng, 80),
		      run % 2 ? 4 : 0);
		model.mms[0] = model.t.p;
		for (unsigned step = 0; step < 60; step++) {
			model_step(&model, &rng);
			model_check(&model);
		}
		while (model.count > 1)
			model_exit(&model, 0);
		assert_int_equal(cow_mm_exit(model.t.m, model.mms[0]), 0);
		assert_int_equal(count(&model.t, COW_COUNT_FRAMES_USED), 0);
		end(&model.t);
	}
}

/* ---- host memory ---- */

/* Some calls that need memory. */
static int demand(cow_machine *m, cow_mm mm, unsigned call)
{
	cow_mm child;

	switch (call) {
	case 0:
		return cow_mmap(m, mm, 0, 4096, COW_PROT_RW, COW_MAP_THP);
	case 1:
		return cow_write_range(m, mm, 0, 4096, 7, NULL);
	case 2:
		return cow_split(m, mm, 0, 4096, NULL);
	case 3:
		return cow_madvise(m, mm, 0, 4096, COW_ADV_COLLAPSE, NULL);
	case 4:
		return cow_fork(m, mm, NULL, &child);
	case 5:
		return cow_write_range(m, mm, PAGE, 4000, 8, NULL);
	case 6:
		return cow_munmap(m, mm, 3 * PAGE, 700);
	default:
		return cow_mremap(m, mm, 1000 * PAGE, 1000, 8192 * PAGE);
	}
}

static void host_failures_change_nothing(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct failing failing = { 0 };
		cow_policies *list;
		struct cow_config config;
		unsigned failed = 0;
		cow_machine *m;
		cow_mm mm;

		cow_config_init(&config);
		config.frames = 65536;
		config.policy = policy_parse(homes[home], &list);
		config.allocator = failing_allocator(&failing);
		assert_int_equal(cow_machine_create(&config, &m), 0);
		assert_int_equal(cow_mm_create(m, &mm), 0);
		for (unsigned call = 0; call < 8; call++) {
			int error = -ENOMEM;

			for (unsigned n = 1; error; n++) {
				uint64_t hash = cow_machine_hash(m);

				failing.armed = true;
				failing.fail = n;
				failing.calls = 0;
				error = demand(m, mm, call);
				failing.armed = false;
				if (error) {
					assert_int_equal(error, -ENOMEM);
					assert_true(cow_machine_error(m)->host);
					assert_int_equal(cow_machine_hash(m), hash);
					failed++;
				}
			}
			assert_int_equal(cow_machine_check(m, NULL), 0);
		}
		assert_true(failed > 5);
		cow_machine_destroy(m);
		assert_int_equal(failing.live, 0);
		cow_policies_free(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_write_maps_a_folio),
		cmocka_unit_test(large_folio_drains_the_batch),
		cmocka_unit_test(first_read_maps_the_huge_zero_page),
		cmocka_unit_test(huge_zero_page_splits_without_frames),
		cmocka_unit_test(first_touch_falls_back),
		cmocka_unit_test(orders_are_mapped_by_ptes),
		cmocka_unit_test(fork_shares_a_pmd),
		cmocka_unit_test(fork_asks_once_for_equal_pmds),
		cmocka_unit_test(fork_splits_a_pmd),
		cmocka_unit_test(write_reuses_a_pmd),
		cmocka_unit_test(write_copies_a_pmd),
		cmocka_unit_test(write_copies_a_page_without_frames),
		cmocka_unit_test(write_splits_a_pmd),
		cmocka_unit_test(endless_answers_split),
		cmocka_unit_test(pin_unshares_a_pmd),
		cmocka_unit_test(mprotect_asks_about_a_pmd),
		cmocka_unit_test(a_split_may_clean_entries),
		cmocka_unit_test(collapse_asks_about_each_page),
		cmocka_unit_test(markers_are_per_page),
		cmocka_unit_test(contents_survive_splits),
		cmocka_unit_test(whole_pmds_move),
		cmocka_unit_test(fork_copies_a_pinned_huge_page),
		cmocka_unit_test(collapse_makes_a_huge_page),
		cmocka_unit_test(collapse_lives_on_what_it_frees),
		cmocka_unit_test(collapse_brings_swapped_pages_back),
		cmocka_unit_test(collapse_says_why_not),
		cmocka_unit_test(collapse_wants_an_anon_vma),
		cmocka_unit_test(uffd_blocks_a_pmd),
		cmocka_unit_test(numa_hint_on_a_pmd),
		cmocka_unit_test(contents_are_private),
		cmocka_unit_test(host_failures_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
