/* SPDX-License-Identifier: MIT
 *
 * hugetlb: the pool and what is promised of it, faults, copy-on-write, the owner that steals,
 * fork, files of huge pages.  Huge pages have 8 pages here.  The machine check follows every call
 * that changes a machine, and a ledger kept from the changes must agree with the page tables.
 *
 *          0       8       16      24
 *   P     |H......|H......|.......|     hugetlb, private unless a test says otherwise
 */
#include "hugetlb_lab.h"

static int map(const struct kept *lab, unsigned page, unsigned pages, unsigned flags)
{
	int error =
		cow_mmap(lab->m, lab->p, addr(page), pages, COW_PROT_RW, flags | COW_MAP_HUGETLB);

	kept_check(lab);
	return error;
}

static void assert_pool(const struct kept *lab, int free, int reserved)
{
	assert_int_equal(lab->m->state.pool_free, free);
	assert_int_equal(lab->m->state.pool_reserved, reserved);
}

static void a_mapping_is_promised_its_pages(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 3, "exclusive");
	assert_int_equal(map(&lab, 1, 8, 0), -EINVAL);
	assert_int_equal(map(&lab, 0, 9, 0), 0); /* a length is rounded up */
	assert_pool(&lab, 3, 2);
	assert_int_equal(map(&lab, 16, 16, COW_MAP_SHARED), -ENOMEM);
	assert_int_equal(map(&lab, 16, 8, COW_MAP_SHARED), 0);
	assert_pool(&lab, 3, 3);
	assert_int_equal(read_from(&lab, lab.p, 3, 0), COW_OUT_ALLOC);
	assert_pool(&lab, 2, 2);
	assert_true(page_of(&lab, lab.p, 0).huge && page_of(&lab, lab.p, 0).exclusive);
	assert_false(page_of(&lab, lab.p, 0).writable);
	assert_int_equal(page_of(&lab, lab.p, 0).order, 3);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_REUSE);
	assert_int_equal(write_to(&lab, lab.p, 7, 1), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 20, 1), COW_OUT_ALLOC);
	assert_pool(&lab, 1, 1);
	/* Half of a huge page cannot go, nor change. */
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(4), 4), -EINVAL);
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(0), 4), -EINVAL);
	assert_int_equal(cow_mprotect(lab.m, lab.p, addr(0), 12, COW_PROT_READ), -EINVAL);
	assert_int_equal(cow_mremap(lab.m, lab.p, addr(4), 4, addr(32)), -EINVAL);
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(8), 8), 0); /* promised, never touched */
	assert_pool(&lab, 1, 0);
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(0), 8), 0);
	assert_pool(&lab, 2, 0);
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(16), 8), 0);
	assert_pool(&lab, 3, 0);
	lab_close(&lab, 0);
}

static void what_is_given_up_is_promised_again(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 16, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_pool(&lab, 1, 1);
	assert_int_equal(cow_madvise(lab.m, lab.p, 0, 8, COW_ADV_DONTNEED, NULL), 0);
	assert_pool(&lab, 2, 2);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_ALLOC);
	/* The promise moves with the mapping, and with a part of it. */
	assert_int_equal(cow_mremap(lab.m, lab.p, addr(8), 8, addr(32)), 0);
	kept_check(&lab);
	assert_pool(&lab, 1, 1);
	assert_int_equal(cow_mremap(lab.m, lab.p, addr(0), 8, addr(40)), 0);
	kept_check(&lab);
	assert_int_equal(read_from(&lab, lab.p, 40, 2), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 32, 3), COW_OUT_ALLOC);
	assert_pool(&lab, 0, 0);
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	assert_pool(&lab, 2, 0);
	lab_close(&lab, 0);
}

static void a_shared_page_is_copied_whole(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	for (unsigned page = 0; page < 8; page++)
		(void)write_to(&lab, lab.p, page, 10 + page);
	split(&lab);
	assert_false(page_of(&lab, lab.p, 0).writable || page_of(&lab, lab.p, 0).exclusive);
	assert_int_equal(page_of(&lab, lab.q, 0).frame, page_of(&lab, lab.p, 0).frame);
	assert_int_equal(write_to(&lab, lab.q, 5, 1), COW_OUT_COPY);
	for (unsigned page = 0; page < 8; page++) {
		assert_int_equal(read_from(&lab, lab.p, page, 10 + page), COW_OUT_HIT);
		assert_int_equal(read_from(&lab, lab.q, page, page == 5 ? 1 : 10 + page),
				 COW_OUT_HIT);
	}
	assert_true(page_of(&lab, lab.q, 0).writable && page_of(&lab, lab.q, 0).exclusive);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_REUSE);
	assert_true(page_of(&lab, lab.p, 0).exclusive);
	assert_int_equal(cow_machine_counter(lab.m, COW_COUNT_COPIES), 1);
	assert_int_equal(cow_machine_counter(lab.m, COW_COUNT_NEEDLESS_COPIES), 0);
	lab_close(&lab, 0);
}

/* mprotect leaves what it makes writable to the next write. */
static void mprotect_upgrades_nothing_private(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	assert_int_equal(map(&lab, 8, 8, COW_MAP_SHARED), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.p, 8, 1), COW_OUT_ALLOC);
	assert_int_equal(cow_mprotect(lab.m, lab.p, 0, 16, COW_PROT_NONE), 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 0), COW_OUT_SEGV);
	assert_int_equal(cow_mprotect(lab.m, lab.p, 0, 16, COW_PROT_RW), 0);
	kept_check(&lab);
	assert_false(page_of(&lab, lab.p, 0).writable);
	assert_true(page_of(&lab, lab.p, 8).writable);
	assert_int_equal(write_to(&lab, lab.p, 0, 2), COW_OUT_REUSE);
	lab_close(&lab, 0);
}

/* The only page is the owner's, by force: the child's goes, and its next touch kills it. */
static void the_owner_steals_from_its_child(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 1, "exclusive");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	split(&lab);
	assert_int_equal(read_from(&lab, lab.q, 0, 1), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.q, 0, 2),
			 COW_OUT_SIGBUS); /* it has nobody to steal from */
	assert_int_equal(read_from(&lab, lab.q, 0, 1), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 0, 3), COW_OUT_REUSE);
	assert_false(page_of(&lab, lab.q, 0).present);
	assert_int_equal(page_of(&lab, lab.p, 0).refcount, 1);
	assert_int_equal(read_from(&lab, lab.q, 0, 0), COW_OUT_SIGBUS);
	/* Even with the pool full again. */
	assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
	assert_pool(&lab, 1, 0);
	lab.p = lab.q;
	assert_int_equal(read_from(&lab, lab.q, 0, 0), COW_OUT_SIGBUS);
	assert_pool(&lab, 1, 0);
	lab_close(&lab, COW_VERDICT(KILLED));
}

/* A policy that would copy even then asks in vain. */
static void who_never_reuses_starves(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 1, "always-copy");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.p, 0, 3), COW_OUT_SIGBUS);
	assert_false(page_of(&lab, lab.q, 0).present);
	assert_true(page_of(&lab, lab.p, 0).present);
	lab_close(&lab, COW_VERDICT(KILLED));
}

/* The promise is the parent's; a child that is first gets nothing of it. */
static void a_child_takes_what_is_left(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 16, 0), 0);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.q, 0, 1), COW_OUT_SIGBUS);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(cow_munmap(lab.m, lab.p, addr(8), 8), 0);
	assert_int_equal(write_to(&lab, lab.q, 8, 2), COW_OUT_ALLOC);
	assert_pool(&lab, 0, 0);
	lab_close(&lab, COW_VERDICT(KILLED));
}

static void a_pinned_page_is_copied_by_fork(void **state)
{
	struct kept lab;
	struct cow_result result;
	cow_ref pin;
	cow_mm none;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 3, 1), COW_OUT_ALLOC);
	assert_int_equal(
		cow_gup(lab.m, lab.p, addr(3), 1, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL, &pin), 0);
	assert_int_equal(page_of(&lab, lab.p, 3).pincount, 1);
	assert_int_equal(cow_fork(lab.m, lab.p, &result, &lab.q), 0);
	kept_check(&lab);
	assert_int_equal(result.counts[COW_OUT_EARLY_COPY], HUGE);
	assert_true(page_of(&lab, lab.p, 3).writable && page_of(&lab, lab.q, 3).writable);
	assert_true(page_of(&lab, lab.p, 3).frame != page_of(&lab, lab.q, 3).frame);
	assert_int_equal(read_from(&lab, lab.q, 3, 1), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 3, 2), COW_OUT_HIT);
	assert_int_equal(cow_ref_peek(lab.m, pin, &(uint64_t){ 2 }, &result), 0);
	assert_false(result.mismatch);
	/* The pool is empty: fork fails, and leaves nothing. */
	assert_int_equal(cow_fork(lab.m, lab.p, NULL, &none), -ENOMEM);
	assert_false(cow_machine_error(lab.m)->host);
	kept_check(&lab);
	assert_pool(&lab, 0, 0);
	assert_true(page_of(&lab, lab.p, 3).writable);
	/* A page goes back to the pool with its last reference, and then only its promise counts. */
	assert_int_equal(cow_munmap(lab.m, lab.p, 0, 8), 0);
	assert_pool(&lab, 0, -1);
	assert_int_equal(cow_ref_release(lab.m, pin), 0);
	assert_pool(&lab, 1, 0);
	lab_close(&lab, 0);
}

static void a_pin_unshares(void **state)
{
	struct kept lab;
	struct cow_result result;
	cow_ref pin;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(map(&lab, 0, 8, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	split(&lab);
	assert_int_equal(cow_gup(lab.m, lab.q, addr(0), 2, COW_GUP_PIN, 1, &result, &pin), 0);
	kept_check(&lab);
	assert_int_equal(result.counts[COW_OUT_UNSHARE], 1);
	assert_true(page_of(&lab, lab.q, 0).exclusive && !page_of(&lab, lab.q, 0).writable);
	assert_int_equal(page_of(&lab, lab.q, 0).refcount, 3);
	assert_int_equal(write_to(&lab, lab.q, 0, 2), COW_OUT_REUSE);
	assert_int_equal(read_from(&lab, lab.p, 0, 1), COW_OUT_HIT);
	lab_close(&lab, 0);
}

static void shared_memory_needs_no_decision(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 1, "exclusive");
	assert_int_equal(map(&lab, 0, 8, COW_MAP_SHARED), 0);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.q, 0, 1), COW_OUT_ALLOC);
	assert_pool(&lab, 0, 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_true(page_of(&lab, lab.p, 0).writable);
	assert_int_equal(write_to(&lab, lab.p, 1, 2), COW_OUT_HIT);
	assert_int_equal(read_from(&lab, lab.q, 1, 2), COW_OUT_HIT);
	assert_int_equal(cow_mprotect(lab.m, lab.p, 0, 8, COW_PROT_READ), 0);
	assert_false(page_of(&lab, lab.p, 0).writable);
	assert_int_equal(page_of(&lab, lab.p, 0).refcount, 3);
	lab_close(&lab, 0);
}

static void files_of_huge_pages(void **state)
{
	struct kept lab;
	cow_file f, none;

	(void)state;
	lab_open(&lab, 4, "exclusive");
	assert_int_equal(cow_file_create(lab.m, 12, 7, true, &none), -EINVAL);
	assert_int_equal(cow_file_create(lab.m, 40, 7, true, &none), -ENOMEM);
	assert_int_equal(cow_file_create(lab.m, 16, 7, true, &f), 0);
	kept_check(&lab);
	assert_pool(&lab, 2, 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, 0, f, 0), -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_HUGETLB, f, 4),
			 -EINVAL);
	/* A private mapping is promised a page for each; a shared one finds the file's. */
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 16, COW_PROT_RW, COW_MAP_HUGETLB, f, 0), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, addr(16), 8, COW_PROT_RW,
				       COW_MAP_HUGETLB | COW_MAP_SHARED, f, 8),
			 0);
	kept_check(&lab);
	assert_pool(&lab, 2, 2);
	assert_int_equal(read_from(&lab, lab.p, 1, 7), COW_OUT_ALLOC);
	assert_false(page_of(&lab, lab.p, 1).writable || page_of(&lab, lab.p, 1).anon);
	assert_int_equal(write_to(&lab, lab.p, 1, 1), COW_OUT_COPY);
	assert_pool(&lab, 1, 1);
	assert_int_equal(read_from(&lab, lab.p, 2, 7), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 8, 2), COW_OUT_ALLOC);
	assert_pool(&lab, 0, 0);
	assert_int_equal(read_from(&lab, lab.p, 16, 7), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.p, 17, 3), COW_OUT_HIT);
	assert_int_equal(read_from(&lab, lab.p, 9, 7), COW_OUT_HIT);
	/* No write(2), and no half pages. */
	assert_int_equal(cow_file_write(lab.m, lab.p, f, 0, 1), -EINVAL);
	assert_int_equal(cow_file_truncate(lab.m, f, 4), -EINVAL);
	assert_int_equal(cow_file_truncate(lab.m, f, 8), 0);
	kept_check(&lab);
	assert_pool(&lab, 2, 1);
	assert_int_equal(read_from(&lab, lab.p, 8, 0), COW_OUT_SIGBUS);
	assert_int_equal(read_from(&lab, lab.p, 16, 0), COW_OUT_SIGBUS);
	/* A hole takes a page that nobody was promised. */
	assert_int_equal(cow_file_truncate(lab.m, f, 16), 0);
	assert_int_equal(read_from(&lab, lab.p, 16, 0), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.p, 8, 4), COW_OUT_ALLOC);
	assert_pool(&lab, 0, 0);
	lab_close(&lab, 0); /* behind the end is no want of a page */
}

/* A mapping that may write makes the file as long as it is; one that may not leaves it. */
static void a_writable_mapping_makes_the_file_longer(void **state)
{
	const unsigned flags = COW_MAP_HUGETLB | COW_MAP_SHARED;
	struct kept lab;
	cow_file f;

	(void)state;
	lab_open(&lab, 4, "exclusive");
	assert_int_equal(cow_file_create(lab.m, 8, 7, true, &f), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 16, COW_PROT_READ, flags, f, 0), 0);
	assert_int_equal(read_from(&lab, lab.p, 8, 0), COW_OUT_SIGBUS);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, addr(16), 16, COW_PROT_RW, flags, f, 0), 0);
	assert_int_equal(read_from(&lab, lab.p, 8, 0), COW_OUT_ALLOC);
	lab_close(&lab, 0); /* behind the end is no want of a page */
}

/* The copies of a private mapping of a file are shared by fork, and stolen back, as others are. */
static void private_copies_of_a_file_are_stolen_too(void **state)
{
	struct kept lab;
	cow_file f;

	(void)state;
	lab_open(&lab, 2, "exclusive");
	assert_int_equal(cow_file_create(lab.m, 8, 7, true, &f), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_HUGETLB, f, 0), 0);
	assert_int_equal(write_to(&lab, lab.p, 1, 1), COW_OUT_ALLOC);
	split(&lab);
	assert_int_equal(write_to(&lab, lab.p, 1, 2), COW_OUT_REUSE);
	assert_false(page_of(&lab, lab.q, 1).present);
	assert_int_equal(read_from(&lab, lab.q, 1, 0), COW_OUT_SIGBUS);
	lab_close(&lab, COW_VERDICT(KILLED));
}

/* Until v6.0 an entry is as writable as the fault was, and the MMU asks no VMA. */
static void a_forced_write_may_open_a_page(void **state)
{
	(void)state;
	for (unsigned opens = 0; opens < 2; opens++) {
		struct kept lab;

		lab_open(&lab, 3, opens ? "page-count" : "exclusive");
		assert_int_equal(map(&lab, 0, 16, 0), 0);
		assert_int_equal(cow_mprotect(lab.m, lab.p, 0, 16, COW_PROT_READ), 0);
		assert_int_equal(cow_force_write(lab.m, lab.p, addr(3), 1, NULL), 0);
		kept_check(&lab);
		assert_int_equal(page_of(&lab, lab.p, 3).writable, opens);
		assert_int_equal(write_to(&lab, lab.p, 7, 2), opens ? COW_OUT_HIT : COW_OUT_SEGV);
		/* The next huge page was not written, nor is it by a range that begins before it. */
		assert_int_equal(cow_write_range(lab.m, lab.p, addr(6), 4, 3, NULL), -EFAULT);
		assert_int_equal(read_from(&lab, lab.p, 7, opens ? 3 : 0), COW_OUT_HIT);
		assert_false(page_of(&lab, lab.p, 8).present);
		split(&lab);
		assert_int_equal(write_to(&lab, lab.p, 3, 4), COW_OUT_SEGV);
		assert_int_equal(write_to(&lab, lab.q, 3, 4), COW_OUT_SEGV);
		assert_int_equal(cow_force_write(lab.m, lab.q, addr(3), 5, NULL), 0);
		assert_int_equal(write_to(&lab, lab.q, 3, 6), opens ? COW_OUT_HIT : COW_OUT_SEGV);
		assert_int_equal(cow_mprotect(lab.m, lab.q, 0, 16, COW_PROT_RW), 0);
		assert_int_equal(cow_mprotect(lab.m, lab.q, 0, 16, COW_PROT_READ), 0);
		assert_int_equal(write_to(&lab, lab.q, 3, 7), COW_OUT_SEGV);
		assert_int_equal(read_from(&lab, lab.p, 3, 1), COW_OUT_HIT);
		lab_close(&lab, 0);
	}
}

/* From v5.12 to v6.13 so is the copy that fork makes. */
static void fork_may_open_its_copy(void **state)
{
	(void)state;
	for (unsigned opens = 0; opens < 2; opens++) {
		struct kept lab;
		cow_ref pin;

		lab_open(&lab, 2, opens ? "exclusive-6.2" : "exclusive");
		assert_int_equal(map(&lab, 0, 8, 0), 0);
		assert_int_equal(write_to(&lab, lab.p, 3, 1), COW_OUT_ALLOC);
		assert_int_equal(cow_gup(lab.m, lab.p, addr(3), 1, COW_GUP_PIN | COW_GUP_WRITE, 1,
					 NULL, &pin), 0);
		assert_int_equal(cow_mprotect(lab.m, lab.p, 0, 8, COW_PROT_READ), 0);
		split(&lab);
		assert_int_equal(write_to(&lab, lab.q, 3, 2), opens ? COW_OUT_HIT : COW_OUT_SEGV);
		assert_int_equal(write_to(&lab, lab.p, 3, 2), COW_OUT_SEGV);
		assert_int_equal(cow_ref_release(lab.m, pin), 0);
		lab_close(&lab, 0);
	}
}

static void host_memory_may_fail_anywhere(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 4; which++)
		for (uint64_t fail = 1;; fail++) {
			struct kept lab;
			uint64_t hash;
			cow_file f;
			cow_ref pin;
			int error;

			lab_open(&lab, 6, "exclusive");
			assert_int_equal(map(&lab, 0, 16, 0), 0);
			assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
			assert_int_equal(cow_gup(lab.m, lab.p, 0, 1, COW_GUP_PIN, 1, NULL, &pin),
					 0);
			hash = cow_machine_hash(lab.m);
			lab.failing.armed = true;
			lab.failing.fail = fail;
			error = which == 0   ? cow_fork(lab.m, lab.p, NULL, &lab.q)
				: which == 1 ? cow_write(lab.m, lab.p, addr(8), 2, NULL)
				: which == 2 ? cow_file_create(lab.m, 24, 0, true, &f)
					     : cow_mmap(lab.m, lab.p, addr(16), 8, COW_PROT_RW,
							COW_MAP_HUGETLB | COW_MAP_SHARED);
			lab.failing.armed = false;
			if (error) {
				assert_int_equal(error, -ENOMEM);
				assert_true(cow_machine_error(lab.m)->host);
				assert_true(cow_machine_hash(lab.m) == hash);
			}
			lab_close(&lab, 0);
			if (!error)
				break;
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mapping_is_promised_its_pages),
		cmocka_unit_test(what_is_given_up_is_promised_again),
		cmocka_unit_test(a_shared_page_is_copied_whole),
		cmocka_unit_test(mprotect_upgrades_nothing_private),
		cmocka_unit_test(the_owner_steals_from_its_child),
		cmocka_unit_test(who_never_reuses_starves),
		cmocka_unit_test(a_child_takes_what_is_left),
		cmocka_unit_test(a_pinned_page_is_copied_by_fork),
		cmocka_unit_test(a_pin_unshares),
		cmocka_unit_test(shared_memory_needs_no_decision),
		cmocka_unit_test(files_of_huge_pages),
		cmocka_unit_test(a_writable_mapping_makes_the_file_longer),
		cmocka_unit_test(private_copies_of_a_file_are_stolen_too),
		cmocka_unit_test(a_forced_write_may_open_a_page),
		cmocka_unit_test(fork_may_open_its_copy),
		cmocka_unit_test(host_memory_may_fail_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
