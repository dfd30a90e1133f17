/* SPDX-License-Identifier: MIT
 *
 * hugetlb: what userfaultfd write-protects, and promises of pages that are given up.  Huge pages
 * have 8 pages here.  The machine check follows every call that changes a machine, and a ledger
 * kept from the changes must agree with the page tables.  Read test_kernel_hugetlb.c first.
 *
 *          0       8       16      24
 *   P     |H......|H......|       |     hugetlb, private unless a test says otherwise
 */
#include "hugetlb_lab.h"

static void map(const struct kept *lab, unsigned page, unsigned pages, unsigned flags)
{
	assert_int_equal(cow_mmap(lab->m, lab->p, addr(page), pages, COW_PROT_RW,
				  flags | COW_MAP_HUGETLB), 0);
	kept_check(lab);
}

static int protect(const struct kept *lab, unsigned page, unsigned pages, bool on)
{
	int error = cow_uffd_wp(lab->m, lab->p, addr(page), pages, on);

	kept_check(lab);
	return error;
}

static void give_up(const struct kept *lab, unsigned page)
{
	assert_int_equal(cow_madvise(lab->m, lab->p, addr(page), HUGE, COW_ADV_DONTNEED, NULL), 0);
	kept_check(lab);
}

/* Is the page there, and is it protected? */
static void assert_page(const struct kept *lab, cow_mm mm, unsigned page, bool present, bool mark)
{
	struct cow_page at = page_of(lab, mm, page);

	assert_int_equal(at.present, present);
	assert_int_equal(at.uffd_wp, mark);
	assert_false(at.writable && at.uffd_wp);
}

static void assert_pool(const struct kept *lab, int free, int reserved)
{
	assert_int_equal(lab->m->state.pool_free, free);
	assert_int_equal(lab->m->state.pool_reserved, reserved);
}

static void up_to_v5_18_it_is_refused(void **state)
{
	static const char *const policies[] = { "mapcount", "page-count", "page-count-5.18" };

	(void)state;
	for (size_t i = 0; i < sizeof(policies) / sizeof(*policies); i++) {
		struct kept lab;

		lab_open(&lab, 2, policies[i]);
		map(&lab, 0, 16, 0);
		assert_int_equal(protect(&lab, 0, 16, true), -EINVAL);
		assert_int_equal(protect(&lab, 0, 16, false), -ENOENT);
		assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
		lab_close(&lab, 0);
	}
}

static void a_range_cuts_no_page(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	lab.pool_alone = false;
	assert_int_equal(cow_mmap(lab.m, lab.p, addr(4), 4, COW_PROT_RW, 0), 0);
	map(&lab, 8, 16, 0);
	assert_int_equal(write_to(&lab, lab.p, 6, 1), COW_OUT_ALLOC);
	assert_int_equal(protect(&lab, 9, 8, true), -EINVAL);
	assert_int_equal(protect(&lab, 8, 7, true), -EINVAL);
	assert_int_equal(protect(&lab, 6, 6, true), -EINVAL);
	assert_int_equal(protect(&lab, 8, 8, false), -ENOENT);
	/* Whose end lies in no page may be registered; what comes before hugetlb is protected. */
	assert_int_equal(protect(&lab, 6, 18, true), -EINVAL);
	assert_page(&lab, lab.p, 6, true, true);
	assert_page(&lab, lab.p, 8, false, false);
	assert_int_equal(protect(&lab, 8, 16, true), 0); /* registered already */
	assert_page(&lab, lab.p, 8, false, true);
	assert_int_equal(protect(&lab, 8, 4, false), -EINVAL);
	assert_int_equal(write_to(&lab, lab.p, 8, 1), COW_OUT_BLOCKED);
	lab_close(&lab, 0);
}

static void a_write_to_a_marker_brings_the_page_and_waits(void **state)
{
	(void)state;
	for (unsigned shared = 0; shared < 2; shared++) {
		struct kept lab;

		lab_open(&lab, 2, "exclusive");
		map(&lab, 0, 16, shared ? COW_MAP_SHARED : 0);
		assert_int_equal(protect(&lab, 0, 16, true), 0);
		assert_page(&lab, lab.p, 0, false, true);
		assert_pool(&lab, 2, 2);
		assert_int_equal(write_to(&lab, lab.p, 3, 1), COW_OUT_BLOCKED);
		assert_page(&lab, lab.p, 0, true, true);
		assert_pool(&lab, 1, 1);
		assert_int_equal(write_to(&lab, lab.p, 3, 1), COW_OUT_BLOCKED);
		assert_int_equal(read_from(&lab, lab.p, 8, 0), COW_OUT_ALLOC);
		assert_page(&lab, lab.p, 15, true, true);
		assert_int_equal(page_of(&lab, lab.p, 8).exclusive, !shared);
		assert_int_equal(protect(&lab, 0, 16, false), 0);
		assert_int_equal(write_to(&lab, lab.p, 3, 1), COW_OUT_REUSE);
		assert_int_equal(write_to(&lab, lab.p, 8, 2), COW_OUT_REUSE);
		/* What is given up stays protected; munmap and mremap leave nothing. */
		assert_int_equal(protect(&lab, 0, 16, true), 0);
		give_up(&lab, 0);
		assert_page(&lab, lab.p, 0, false, true);
		assert_int_equal(cow_mremap(lab.m, lab.p, 0, 16, addr(16)), 0);
		kept_check(&lab);
		assert_page(&lab, lab.p, 16, false, false);
		assert_page(&lab, lab.p, 24, true, false);
		assert_int_equal(write_to(&lab, lab.p, 16, 3), COW_OUT_ALLOC);
		assert_int_equal(cow_munmap(lab.m, lab.p, addr(16), 16), 0);
		assert_int_equal(mm_at(lab.m, lab.p.index)->pages, 0);
		lab_close(&lab, 0);
	}
}

static void an_empty_pool_leaves_the_marker(void **state)
{
	struct kept lab;
	cow_file f;

	(void)state;
	lab_open(&lab, 1, "exclusive");
	assert_int_equal(cow_file_create(lab.m, 0, 0, true, &f), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 16, COW_PROT_RW,
				       COW_MAP_HUGETLB | COW_MAP_SHARED, f, 0), 0);
	kept_check(&lab);
	assert_int_equal(protect(&lab, 0, 16, true), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_BLOCKED);
	assert_int_equal(write_to(&lab, lab.p, 8, 1), COW_OUT_SIGBUS);
	assert_page(&lab, lab.p, 8, false, true);
	/* Truncation of hugetlbfs takes markers away, and dontneed does not. */
	give_up(&lab, 0);
	assert_page(&lab, lab.p, 0, false, true);
	assert_int_equal(cow_file_truncate(lab.m, f, 8), 0);
	kept_check(&lab);
	assert_page(&lab, lab.p, 0, false, true);
	assert_page(&lab, lab.p, 8, false, false);
	/* So does making the file longer, of markers that lie behind its new end. */
	assert_int_equal(protect(&lab, 0, 16, true), 0);
	assert_page(&lab, lab.p, 8, false, true);
	assert_int_equal(cow_file_truncate(lab.m, f, 0), 0);
	assert_int_equal(protect(&lab, 0, 16, true), 0);
	assert_int_equal(cow_file_truncate(lab.m, f, 8), 0);
	kept_check(&lab);
	assert_page(&lab, lab.p, 0, false, true);
	assert_page(&lab, lab.p, 8, false, false);
	kept_close(&lab); /* want of a page is the verdict killed */
}

static void the_child_is_not_registered(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 3, "exclusive");
	map(&lab, 0, 16, 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(protect(&lab, 0, 16, true), 0);
	split(&lab);
	assert_page(&lab, lab.q, 0, true, false);
	assert_page(&lab, lab.q, 8, false, false);
	assert_page(&lab, lab.p, 0, true, true);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_BLOCKED);
	assert_int_equal(write_to(&lab, lab.q, 0, 3), COW_OUT_COPY);
	assert_int_equal(read_from(&lab, lab.p, 0, 1), COW_OUT_HIT);
	assert_int_equal(protect(&lab, 0, 16, false), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_REUSE);
	lab_close(&lab, 0);
}

/* The page of a reference to read is unshared, and stays protected; until v6.3 it did not. */
static void unsharing_needs_nobodys_leave(void **state)
{
	(void)state;
	for (unsigned old = 0; old < 2; old++) {
		struct kept lab;
		cow_ref pin;

		lab_open(&lab, 2, old ? "exclusive-5.19" : "exclusive");
		map(&lab, 0, 8, 0);
		assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
		split(&lab);
		assert_int_equal(protect(&lab, 0, 8, true), 0);
		assert_int_equal(cow_gup(lab.m, lab.p, 0, 1, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL,
					 &pin), -EAGAIN);
		assert_int_equal(cow_gup(lab.m, lab.p, 0, 1, COW_GUP_PIN, 1, NULL, &pin), 0);
		kept_check(&lab);
		assert_page(&lab, lab.p, 0, true, !old);
		assert_true(page_of(&lab, lab.p, 0).exclusive);
		assert_int_equal(write_to(&lab, lab.p, 0, 2), old ? COW_OUT_REUSE : COW_OUT_BLOCKED);
		assert_int_equal(cow_ref_release(lab.m, pin), 0);
		lab_close(&lab, 0);
	}
}

/* A reference holds the page that is given up: until it goes, less is reserved than promised. */
static void a_promise_counts_when_the_page_is_free(void **state)
{
	struct kept lab;
	cow_ref get;

	(void)state;
	lab_open(&lab, 2, "exclusive-6.2");
	map(&lab, 0, 8, 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(cow_gup(lab.m, lab.p, 0, 1, 0, 1, NULL, &get), 0);
	give_up(&lab, 0);
	assert_pool(&lab, 1, 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_ALLOC);
	kept_check(&lab);
	assert_pool(&lab, 0, -1);
	/* One more than there are is not to be had all the same (allowed_mems_nr). */
	assert_int_equal(cow_mmap(lab.m, lab.p, addr(8), 8, COW_PROT_RW, COW_MAP_HUGETLB), -ENOMEM);
	assert_int_equal(cow_ref_release(lab.m, get), 0);
	kept_check(&lab);
	assert_pool(&lab, 1, 0);
	assert_int_equal(cow_munmap(lab.m, lab.p, 0, 8), 0);
	assert_pool(&lab, 2, 0);
	lab_close(&lab, 0);
}

/* The child maps what is given up.  0: the promise is used up; 1: so it is, but renewed where
 * nobody else maps the page; 2: renewed always. */
static void a_child_that_maps_the_page_may_end_the_promise(void **state)
{
	static const char *const policies[] = { "exclusive-5.19", "exclusive-6.2", "exclusive" };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct kept lab;

		lab_open(&lab, 3, policies[i]);
		map(&lab, 0, 16, 0);
		assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
		split(&lab);
		give_up(&lab, 0);
		assert_pool(&lab, 2, 1);
		/* It goes where the mapping goes, also protected, and in a part of it. */
		assert_int_equal(protect(&lab, 0, 8, true), 0);
		assert_int_equal(protect(&lab, 0, 8, false), 0);
		assert_int_equal(cow_mremap(lab.m, lab.p, 0, 8, addr(16)), 0);
		kept_check(&lab);
		assert_int_equal(cow_mremap(lab.m, lab.p, addr(8), 8, addr(24)), 0);
		assert_int_equal(write_to(&lab, lab.p, 16, 2), COW_OUT_ALLOC);
		kept_check(&lab);
		assert_pool(&lab, 1, i < 2 ? 1 : 0);
		assert_int_equal(cow_mm_exit(lab.m, lab.q), 0);
		kept_check(&lab);
		assert_pool(&lab, 2, 1);
		give_up(&lab, 16);
		assert_pool(&lab, 3, i ? 2 : 1);
		assert_int_equal(cow_munmap(lab.m, lab.p, addr(16), 16), 0);
		assert_pool(&lab, 3, 0);
		lab_close(&lab, 0);
	}
}

static void who_exits_before_its_child_counts_once(void **state)
{
	static const char *const policies[] = { "exclusive-5.19", "exclusive-6.2", "exclusive" };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct kept lab;

		lab_open(&lab, 2, policies[i]);
		map(&lab, 0, 8, 0);
		assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
		split(&lab);
		assert_int_equal(cow_munmap(lab.m, lab.p, 0, 8), 0);
		kept_check(&lab);
		assert_pool(&lab, 1, i == 2 ? -1 : 0);
		assert_int_equal(write_to(&lab, lab.q, 0, 2), COW_OUT_REUSE);
		assert_int_equal(cow_munmap(lab.m, lab.q, 0, 8), 0);
		assert_pool(&lab, 2, 0);
		lab_close(&lab, 0);
	}
}

/* Who was robbed of a page gets no other there; its own child does. */
static void the_child_of_who_was_robbed_was_not(void **state)
{
	struct kept lab;
	cow_mm child;

	(void)state;
	lab_open(&lab, 1, "exclusive");
	map(&lab, 0, 8, 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_REUSE);
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	assert_int_equal(cow_fork(lab.m, lab.q, NULL, &child), 0);
	assert_int_equal(cow_write(lab.m, lab.q, 0, 3, NULL), -EFAULT);
	assert_int_equal(cow_write(lab.m, child, 0, 3, NULL), 0);
	assert_int_equal(cow_mm_exit(lab.m, child), 0);
	assert_int_equal(cow_mm_exit(lab.m, lab.q), 0);
	kept_close(&lab);
}

/* A write to a private mapping of a file finds no page for its copy: that of the file stays mapped. */
static void a_copy_that_fails_leaves_the_page_of_the_file(void **state)
{
	struct kept lab;
	cow_file f;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(cow_file_create(lab.m, 8, 7, true, &f), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_HUGETLB, f, 0), 0);
	kept_check(&lab);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.q, 0, 1), COW_OUT_SIGBUS); /* P was promised the last */
	kept_check(&lab);
	assert_page(&lab, lab.q, 0, true, false);
	assert_int_equal(read_from(&lab, lab.q, 0, 7), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	kept_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(up_to_v5_18_it_is_refused),
		cmocka_unit_test(a_range_cuts_no_page),
		cmocka_unit_test(a_write_to_a_marker_brings_the_page_and_waits),
		cmocka_unit_test(an_empty_pool_leaves_the_marker),
		cmocka_unit_test(the_child_is_not_registered),
		cmocka_unit_test(unsharing_needs_nobodys_leave),
		cmocka_unit_test(a_promise_counts_when_the_page_is_free),
		cmocka_unit_test(a_child_that_maps_the_page_may_end_the_promise),
		cmocka_unit_test(who_exits_before_its_child_counts_once),
		cmocka_unit_test(the_child_of_who_was_robbed_was_not),
		cmocka_unit_test(a_copy_that_fails_leaves_the_page_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
