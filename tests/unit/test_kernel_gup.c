/* SPDX-License-Identifier: MIT
 *
 * The kernel part and a mocked GUP decision: FOLL_GET and FOLL_PIN, slow and fast, what each shows
 * the policy, and how each answer goes on.
 */
#include "mocked.h"

#include <errno.h>

static int gup(struct mocked *k, unsigned flags, struct cow_result *result)
{
	cow_ref ref;

	return cow_gup(k->m, k->p, 0, 1, flags, 1, result, &ref);
}

/* Every request of one reference, by its flags: what is known of it. */
static void the_request_is_shown(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 16; flags++) {
		unsigned pin = (flags & COW_GUP_PIN) != 0;
		unsigned write = (flags & COW_GUP_WRITE) != 0;
		unsigned fast = (flags & COW_GUP_FAST) != 0;
		unsigned longterm = (flags & COW_GUP_LONGTERM) != 0;
		struct cow_result result;
		struct mocked k;

		mocked_page(&k);
		if (longterm && !pin) {
			assert_int_equal(gup(&k, flags, &result), -EINVAL);
			mocked_end(&k);
			continue;
		}
		/* gup-fast knows neither VMA nor mm. */
		if (fast)
			EXPECT(GUP, TAKE, OWN, .pte_write = 1, .req_write = write, .req_pin = pin,
			       .req_longterm = longterm, .req_fast = 1);
		else
			EXPECT(GUP, TAKE, OWN, .pte_write = 1, RW, .mm_has_pinned = pin,
			       .req_write = write, .req_pin = pin,
			       .req_longterm = longterm);
		assert_int_equal(gup(&k, flags, &result), 0);
		assert_int_equal(result.outcome, COW_OUT_HIT);
		assert_int_equal(look(&k, k.p, 0).refcount, pin ? 1025 : 2);
		assert_int_equal(look(&k, k.p, 0).pincount, pin);
		assert_int_equal(counter(&k, COW_COUNT_PINS_ACQUIRED), pin);
		assert_int_equal(counter(&k, COW_COUNT_FAULTS), 1);
		mocked_end(&k);
	}
}

/* BREAK: a write fault, then the same question about the page of one's own. */
static void break_faults_and_asks_again(void **state)
{
	struct cow_result result;
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_page(&k);
	c = mocked_share(&k);
	EXPECT(GUP, BREAK, BOTH, RW);
	EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1);
	EXPECT(GUP, TAKE, OWN, RW, .pte_write = 1);
	assert_int_equal(gup(&k, 0, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_COPY);
	assert_int_not_equal(look(&k, k.p, 0).frame, look(&k, c, 0).frame);
	assert_int_equal(look(&k, k.p, 0).refcount, 2);
	assert_int_equal(look(&k, c, 0).refcount, 1);
	mocked_end(&k);
}

/* A policy that never takes gets an end: -EFAULT, no reference, and the same counts as before. */
static void never_taking_is_efault(void **state)
{
	struct cow_result result;
	struct mocked k;
	uint64_t faults;

	(void)state;
	mocked_page(&k);
	mocked_share(&k);
	EXPECT(GUP, UNSHARE, BOTH, RW, .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(WRITE, COPY, BOTH, RW, .mm_has_pinned = 1, .req_unshare = 1);
	/* Read-only and one's own by now; the answer to the equal view stays the same. */
	EXPECT(GUP, UNSHARE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(WRITE, REUSE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .req_unshare = 1);
	faults = counter(&k, COW_COUNT_FAULTS);
	assert_int_equal(gup(&k, COW_GUP_PIN, &result), -EFAULT);
	assert_int_equal(result.done, 0);
	assert_true(counter(&k, COW_COUNT_FAULTS) - faults <= 16);
	assert_int_equal(look(&k, k.p, 0).refcount, 1);
	assert_int_equal(counter(&k, COW_COUNT_PINS_ACQUIRED), 0);
	assert_int_equal(cow_ref_at(k.m, 0, &(cow_ref){ 0 }), -ENOENT);
	mocked_end(&k);
}

/* All pages or none: the first page's reference is dropped when the second is refused. */
static void refusal_drops_what_was_taken(void **state)
{
	struct cow_result result;
	struct mocked k;
	cow_ref ref;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 2, COW_PROT_RW, 0), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	mocked_share(&k);
	must_write(&k, k.p, PAGE, 7, COW_OUT_ALLOC);
	EXPECT(GUP, TAKE, BOTH, RW, .mm_has_pinned = 1, .req_pin = 1);
	EXPECT(GUP, REFUSE, OWN, .pte_write = 1, RW, .mm_has_pinned = 1, .req_pin = 1);
	assert_int_equal(cow_gup(k.m, k.p, 0, 2, COW_GUP_PIN, 1, &result, &ref), -EFAULT);
	assert_int_equal(result.done, 1);
	assert_int_equal(look(&k, k.p, 0).refcount, 2);
	assert_int_equal(look(&k, k.p, PAGE).refcount, 1);
	assert_int_equal(counter(&k, COW_COUNT_PINS_ACQUIRED), 1);
	assert_int_equal(counter(&k, COW_COUNT_PINS_RELEASED), 1);
	mocked_end(&k);
}

/* gup-fast takes at once or not at all; whatever else it hears sends it the slow way. */
static void fast_goes_the_slow_way(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_page(&k);
	mocked_share(&k);
	EXPECT(GUP, REFUSE, BOTH, .req_fast = 1);
	EXPECT(GUP, TAKE, BOTH, RW);
	assert_int_equal(gup(&k, COW_GUP_FAST, &result), 0);
	assert_int_equal(look(&k, k.p, 0).refcount, 3);
	mocked_end(&k);

	/* An answer that needs a fault, too. */
	mocked_page(&k);
	mocked_share(&k);
	EXPECT(GUP, UNSHARE, BOTH, .req_fast = 1, .req_pin = 1);
	EXPECT(GUP, TAKE, BOTH, RW, .req_pin = 1, .mm_has_pinned = 1);
	assert_int_equal(gup(&k, COW_GUP_FAST | COW_GUP_PIN, &result), 0);
	assert_int_equal(counter(&k, COW_COUNT_UNSHARES), 0);
	mocked_end(&k);

	/* A write through a read-only PTE is not for gup-fast: nobody asks before the fault. */
	mocked_page(&k);
	mocked_share(&k);
	EXPECT(WRITE, COPY, BOTH, RW, .req_write = 1);
	EXPECT(GUP, TAKE, OWN, RW, .pte_write = 1, .req_write = 1);
	assert_int_equal(gup(&k, COW_GUP_FAST | COW_GUP_WRITE, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_COPY);
	mocked_end(&k);
}

/* v5.8's rule looks at the VMA alone: it is asked before there is a page. */
static void nothing_mapped(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	EXPECT(GUP, BREAK, RW);
	EXPECT(GUP, TAKE, OWN, RW, .pte_write = 1);
	assert_int_equal(gup(&k, 0, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_ALLOC);
	mocked_end(&k);

	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	EXPECT(GUP, TAKE, RW);
	EXPECT(GUP, TAKE, .refcount = 1, .zero = 1, RW);
	assert_int_equal(gup(&k, 0, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_ZERO);
	assert_true(look(&k, k.p, 0).zero);
	mocked_end(&k);
}

/* A pin of the zero page is taken and counted nowhere; unsharing it is no question of WRITE. */
static void the_zero_page(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_read(k.m, k.p, 0, NULL, NULL), 0);
	EXPECT(GUP, UNSHARE, .refcount = 1, .zero = 1, RW, .mm_has_pinned = 1, .req_pin = 1,
	       .req_longterm = 1);
	EXPECT(GUP, TAKE, .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, RW,
	       .mm_has_pinned = 1, .req_pin = 1, .req_longterm = 1);
	assert_int_equal(gup(&k, COW_GUP_PIN | COW_GUP_LONGTERM, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_UNSHARE);
	assert_false(look(&k, k.p, 0).zero || look(&k, k.p, 0).writable);
	mocked_end(&k);
}

/* Shared memory: asked, and seen to be no copy-on-write mapping. */
static void shared_memory_is_no_cow_mapping(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, COW_MAP_SHARED), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	/* One reference of the PTE, one of the page cache. */
	EXPECT(GUP, TAKE, .refcount = 2, .mapcount = 1, .pte_write = 1, .pte_dirty = 1,
	       .vma_write = 1, .mm_has_pinned = 1, .req_pin = 1);
	assert_int_equal(gup(&k, COW_GUP_PIN, &result), 0);
	assert_int_equal(look(&k, k.p, 0).refcount, 1026);
	mocked_end(&k);
}

/* What the VMA forbids is no question of policy. */
static void the_vma_is_checked_first(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_page(&k);
	assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_READ), 0);
	assert_int_equal(gup(&k, COW_GUP_WRITE, &result), -EFAULT);
	assert_int_equal(cow_mprotect(k.m, k.p, 0, 1, COW_PROT_NONE), 0);
	assert_int_equal(gup(&k, 0, &result), -EFAULT);
	assert_int_equal(gup(&k, COW_GUP_FAST, &result), -EFAULT);
	assert_int_equal(cow_munmap(k.m, k.p, 0, 1), 0);
	assert_int_equal(gup(&k, 0, &result), -EFAULT);
	mocked_end(&k);
}

/* Nor does gup-fast know that soft-dirty tracking waits for the next write. */
static void tracking_is_shown_to_the_slow_way(void **state)
{
	struct cow_result result;
	struct mocked k;

	(void)state;
	mocked_page(&k);
	EXPECT(CLEAN, ALLOW, OWN, RW, .pte_write = 1);
	assert_int_equal(cow_clear_refs(k.m, k.p), 0);
	EXPECT(GUP, TAKE, OWN, RW, .soft_dirty = 1);
	assert_int_equal(gup(&k, 0, &result), 0);
	EXPECT(GUP, TAKE, .refcount = 2, .mapcount = 1, .anon = 1, .exclusive = 1, .pte_dirty = 1,
	       .req_fast = 1);
	assert_int_equal(gup(&k, COW_GUP_FAST, &result), 0);
	mocked_end(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_is_shown),
		cmocka_unit_test(tracking_is_shown_to_the_slow_way),
		cmocka_unit_test(break_faults_and_asks_again),
		cmocka_unit_test(never_taking_is_efault),
		cmocka_unit_test(refusal_drops_what_was_taken),
		cmocka_unit_test(fast_goes_the_slow_way),
		cmocka_unit_test(nothing_mapped),
		cmocka_unit_test(the_zero_page),
		cmocka_unit_test(shared_memory_is_no_cow_mapping),
		cmocka_unit_test(the_vma_is_checked_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
