/* SPDX-License-Identifier: MIT
 *
 * The kernel part and mocked PROTECT and FORCE decisions: mprotect that gives write permission
 * back, and FOLL_FORCE writes to where there is none.
 */
#include "mocked.h"

#include <errno.h>

/* A written page whose mapping is read-only by now. */
static void begin_readonly(struct mocked *k)
{
	mocked_begin(k);
	assert_int_equal(cow_mmap(k->m, k->p, 0, 1, COW_PROT_RW, 0), 0);
	must_write(k, k->p, 0, 7, COW_OUT_ALLOC);
	assert_int_equal(cow_mprotect(k->m, k->p, 0, 1, COW_PROT_READ), 0);
	assert_false(look(k, k->p, 0).writable);
}

static int protect(struct mocked *k, enum cow_prot prot)
{
	return cow_mprotect(k->m, k->p, 0, 1, prot);
}

static int force(struct mocked *k, cow_mm mm, uint64_t value, enum cow_outcome *outcome)
{
	return cow_force_write(k->m, mm, 0, value, outcome);
}

static void protect_obeys(void **state)
{
	(void)state;
	for (int upgrades = 0; upgrades < 2; upgrades++) {
		struct mocked k;

		begin_readonly(&k);
		if (upgrades)
			EXPECT(PROTECT, WRITABLE, OWN, RW);
		else
			EXPECT(PROTECT, READONLY, OWN, RW);
		assert_int_equal(protect(&k, COW_PROT_RW), 0);
		assert_int_equal(look(&k, k.p, 0).writable, upgrades);
		assert_int_equal(counter(&k, COW_COUNT_UPGRADES), upgrades);
		assert_int_equal(counter(&k, COW_COUNT_REUSES), 0);
		if (upgrades) {
			must_write(&k, k.p, 0, 8, COW_OUT_HIT);
		} else {
			EXPECT(WRITE, REUSE, OWN, RW, .req_write = 1);
			must_write(&k, k.p, 0, 8, COW_OUT_REUSE);
		}
		mocked_end(&k);
	}
}

/* Only a private anonymous page that becomes writable is worth a question. */
static void protect_does_not_ask_about(void **state)
{
	struct mocked k;

	(void)state;
	begin_readonly(&k);
	assert_int_equal(protect(&k, COW_PROT_READ), 0); /* nothing changes */
	assert_int_equal(protect(&k, COW_PROT_NONE), 0); /* less */
	assert_int_equal(cow_read(k.m, k.p, 0, NULL, NULL), -EFAULT);
	assert_int_equal(protect(&k, COW_PROT_READ), 0); /* not for writing */
	mocked_end(&k);

	mocked_begin(&k); /* the zero page */
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_READ, 0), 0);
	assert_int_equal(cow_read(k.m, k.p, 0, NULL, NULL), 0);
	assert_int_equal(protect(&k, COW_PROT_RW), 0);
	assert_false(look(&k, k.p, 0).writable);
	mocked_end(&k);

	mocked_begin(&k); /* shared memory is writable at once */
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	assert_int_equal(protect(&k, COW_PROT_READ), 0);
	assert_int_equal(protect(&k, COW_PROT_RW), 0);
	assert_true(look(&k, k.p, 0).writable);
	mocked_end(&k);
}

/* A shared page, and a clean one of one's own that an unshare fault has made. */
static void protect_sees_marker_and_dirt(void **state)
{
	struct mocked k;
	cow_ref ref;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, OWN, RW, .pte_write = 1);
	must_fork(&k, k.p);
	assert_int_equal(protect(&k, COW_PROT_READ), 0);
	EXPECT(PROTECT, READONLY, BOTH, RW);
	assert_int_equal(protect(&k, COW_PROT_RW), 0);

	EXPECT(GUP, UNSHARE, BOTH, RW, .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(WRITE, COPY, BOTH, RW, .mm_has_pinned = 1, .req_unshare = 1);
	EXPECT(GUP, TAKE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k.m, k.p, 0, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(protect(&k, COW_PROT_READ), 0);
	EXPECT(PROTECT, READONLY, .refcount = 1025, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .maybe_pinned = 1);
	assert_int_equal(protect(&k, COW_PROT_RW), 0);
	mocked_end(&k);
}

/* TAKE: the page is written where it is, with no fault, and stays read-only for its process. */
static void force_takes(void **state)
{
	enum cow_outcome outcome;
	struct mocked k;
	uint64_t faults;

	(void)state;
	begin_readonly(&k);
	faults = counter(&k, COW_COUNT_FAULTS);
	EXPECT(FORCE, TAKE, OWN, RO, .req_write = 1);
	assert_int_equal(force(&k, k.p, 9, &outcome), 0);
	assert_int_equal(outcome, COW_OUT_HIT);
	assert_int_equal(look(&k, k.p, 0).value, 9);
	assert_false(look(&k, k.p, 0).writable);
	assert_int_equal(counter(&k, COW_COUNT_FAULTS), faults);
	mocked_end(&k);
}

/* BREAK: a write fault that leaves the PTE read-only and dirty, then FOLL_COW is known. */
static void force_breaks_and_asks_again(void **state)
{
	enum cow_outcome outcome;
	struct mocked k;
	cow_mm c;

	(void)state;
	begin_readonly(&k);
	EXPECT(TRACK, CLEAR, RO);
	EXPECT(FORK, SHARE, OWN, RO);
	c = must_fork(&k, k.p);
	EXPECT(FORCE, BREAK, BOTH, RO, .req_write = 1);
	EXPECT(WRITE, COPY, BOTH, RO, .req_write = 1);
	EXPECT(FORCE, TAKE, OWN, RO, .req_write = 1, .req_cow_broken = 1);
	assert_int_equal(force(&k, c, 9, &outcome), 0);
	assert_int_equal(outcome, COW_OUT_COPY);
	assert_int_equal(look(&k, c, 0).value, 9);
	assert_int_equal(look(&k, k.p, 0).value, 7);
	assert_false(look(&k, c, 0).writable);
	assert_true(look(&k, c, 0).dirty);
	mocked_end(&k);
}

static void force_that_is_never_let_through(void **state)
{
	enum cow_outcome outcome;
	struct mocked k;

	(void)state;
	begin_readonly(&k);
	EXPECT(FORCE, BREAK, OWN, RO, .req_write = 1);
	EXPECT(WRITE, REUSE, OWN, RO, .req_write = 1);
	EXPECT(FORCE, BREAK, OWN, RO, .req_write = 1, .req_cow_broken = 1);
	assert_int_equal(force(&k, k.p, 9, &outcome), -EFAULT);
	assert_int_equal(look(&k, k.p, 0).value, 7);
	mocked_end(&k);
}

/* Where the mapping is writable FOLL_FORCE changes nothing, and nobody is asked about it. */
static void force_is_a_plain_write_elsewhere(void **state)
{
	enum cow_outcome outcome;
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(force(&k, k.p, 1, &outcome), 0);
	assert_int_equal(outcome, COW_OUT_ALLOC);
	assert_int_equal(force(&k, k.p, 2, &outcome), 0);
	assert_int_equal(outcome, COW_OUT_HIT);
	assert_int_equal(look(&k, k.p, 0).value, 2);
	assert_int_equal(cow_munmap(k.m, k.p, 0, 1), 0);
	assert_int_equal(force(&k, k.p, 3, &outcome), -EFAULT);
	/* A read-only shared mapping has no copy to write to. */
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_READ, COW_MAP_SHARED), 0);
	assert_int_equal(force(&k, k.p, 3, &outcome), -EFAULT);
	mocked_end(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protect_obeys),
		cmocka_unit_test(protect_does_not_ask_about),
		cmocka_unit_test(protect_sees_marker_and_dirt),
		cmocka_unit_test(force_takes),
		cmocka_unit_test(force_breaks_and_asks_again),
		cmocka_unit_test(force_that_is_never_let_through),
		cmocka_unit_test(force_is_a_plain_write_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
