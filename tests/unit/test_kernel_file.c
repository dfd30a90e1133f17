/* SPDX-License-Identifier: MIT
 *
 * Files: what is mapped where nothing was, private and shared, behind the end, and with no frame
 * left; write(2), ftruncate, and the mappings that they are seen through.  The machine check
 * follows every call that changes a machine, and a ledger kept from the changes must agree with
 * the page tables.
 *
 *   file  0 1 2 3 . .        each page holds 7
 *   P     |a a a a a a|      private, or shared, from page 0 on
 *   Q     |b b b b b b|
 */
#include "kept.h"

#include <errno.h>

enum { PAGES = 6, FILE_PAGES = 4 };

static void lab_open(struct kept *lab, uint64_t frames, const char *policy)
{
	struct cow_config config;

	cow_config_init(&config);
	config.frames = frames;
	kept_open(lab, config, policy, false);
	lab->pages = PAGES;
	assert_int_equal(cow_mm_create(lab->m, &lab->q), 0);
	assert_int_equal(cow_file_create(lab->m, FILE_PAGES, 7, false, &lab->f), 0);
}

static void map(const struct kept *lab, cow_mm mm, unsigned flags)
{
	assert_int_equal(cow_mmap_file(lab->m, mm, 0, PAGES, COW_PROT_RW, flags, lab->f, 0), 0);
	kept_check(lab);
}

static uint64_t used(const struct kept *lab)
{
	return cow_machine_counter(lab->m, COW_COUNT_FRAMES_USED);
}

static void a_private_mapping_reads_the_cache_and_copies(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	map(&lab, lab.q, 0);
	assert_int_equal(used(&lab), FILE_PAGES);
	assert_int_equal(read_from(&lab, lab.p, 0, 7), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.q, 0, 7), COW_OUT_ALLOC);
	assert_int_equal(page_of(&lab, lab.p, 0).frame, page_of(&lab, lab.q, 0).frame);
	assert_int_equal(page_of(&lab, lab.p, 0).refcount, 3);
	assert_false(page_of(&lab, lab.p, 0).writable || page_of(&lab, lab.p, 0).anon);
	/* The page that is mapped is copied, and one that is not is copied all the same. */
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_COPY);
	assert_int_equal(write_to(&lab, lab.p, 1, 2), COW_OUT_ALLOC);
	assert_true(page_of(&lab, lab.p, 1).writable && page_of(&lab, lab.p, 1).exclusive);
	assert_true(page_of(&lab, lab.p, 1).dirty && page_of(&lab, lab.p, 1).soft_dirty);
	assert_int_equal(page_of(&lab, lab.p, 1).refcount, 1);
	assert_int_equal(used(&lab), FILE_PAGES + 2);
	assert_int_equal(read_from(&lab, lab.q, 0, 7), COW_OUT_HIT);
	assert_int_equal(read_from(&lab, lab.q, 1, 7), COW_OUT_ALLOC);
	assert_int_equal(cow_machine_counter(lab.m, COW_COUNT_COPIES), 1);
	assert_int_equal(cow_machine_counter(lab.m, COW_COUNT_ALLOCS), 4);
	kept_close(&lab);
}

static void a_shared_mapping_is_writable_from_the_first_read(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, COW_MAP_SHARED);
	assert_int_equal(
		cow_mmap_file(lab.m, lab.q, 0, PAGES, COW_PROT_READ, COW_MAP_SHARED, lab.f, 0), 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 7), COW_OUT_ALLOC);
	assert_true(page_of(&lab, lab.p, 0).writable && !page_of(&lab, lab.p, 0).dirty);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_HIT);
	assert_int_equal(read_from(&lab, lab.q, 0, 1), COW_OUT_ALLOC);
	assert_false(page_of(&lab, lab.q, 0).writable);
	/* Tracked for soft-dirty, the first write is to be noticed. */
	assert_int_equal(cow_clear_refs(lab.m, lab.p), 0);
	assert_int_equal(read_from(&lab, lab.p, 1, 7), COW_OUT_ALLOC);
	assert_false(page_of(&lab, lab.p, 1).writable);
	assert_int_equal(write_to(&lab, lab.p, 1, 2), COW_OUT_REUSE);
	assert_true(page_of(&lab, lab.p, 1).soft_dirty && page_of(&lab, lab.p, 1).writable);
	assert_int_equal(write_to(&lab, lab.p, 2, 3), COW_OUT_ALLOC);
	assert_true(page_of(&lab, lab.p, 2).soft_dirty && page_of(&lab, lab.p, 2).writable);
	kept_close(&lab);
}

static void write_2_is_seen_until_the_page_is_private(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 7), COW_OUT_ALLOC);
	assert_int_equal(cow_file_write(lab.m, lab.q, lab.f, 0, 8), 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 8), COW_OUT_HIT);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_COPY);
	assert_int_equal(cow_file_write(lab.m, lab.q, lab.f, 0, 9), 0);
	assert_int_equal(read_from(&lab, lab.p, 0, 1), COW_OUT_HIT);
	/* Behind the end the file grows, and what lies between is a hole, which reads as 0. */
	assert_int_equal(read_from(&lab, lab.p, 5, 0), COW_OUT_SIGBUS);
	assert_int_equal(cow_file_write(lab.m, lab.q, lab.f, 5, 5), 0);
	assert_int_equal(used(&lab), FILE_PAGES + 2);
	assert_int_equal(read_from(&lab, lab.p, 5, 5), COW_OUT_ALLOC);
	assert_int_equal(used(&lab), FILE_PAGES + 2);
	assert_int_equal(read_from(&lab, lab.p, 4, 0), COW_OUT_ALLOC);
	assert_int_equal(used(&lab), FILE_PAGES + 3);
	assert_int_equal(lab.ledger.told[COW_CHANGE_ADD], FILE_PAGES + 2);
	kept_close(&lab);
}

static void truncation_takes_private_copies_too(void **state)
{
	struct kept lab;
	cow_ref file, own;
	uint64_t value = 7;
	struct cow_result result;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	map(&lab, lab.q, COW_MAP_SHARED);
	assert_int_equal(write_to(&lab, lab.p, 1, 1), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.p, 2, 7), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.q, 3, 7), COW_OUT_ALLOC);
	assert_int_equal(cow_gup(lab.m, lab.p, addr(1), 1, COW_GUP_PIN, 1, NULL, &own), 0);
	assert_int_equal(cow_gup(lab.m, lab.q, addr(3), 1, 0, 1, NULL, &file), 0);
	assert_int_equal(cow_file_truncate(lab.m, lab.f, 1), 0);
	kept_check(&lab);
	assert_int_equal(used(&lab), 1 + 2); /* and those that references hold */
	for (unsigned page = 1; page < PAGES; page++) {
		assert_int_equal(read_from(&lab, lab.p, page, 0), COW_OUT_SIGBUS);
		assert_int_equal(write_to(&lab, lab.p, page, 1), COW_OUT_SIGBUS);
		assert_int_equal(write_to(&lab, lab.q, page, 1), COW_OUT_SIGBUS);
		assert_false(page_of(&lab, lab.p, page).present);
	}
	assert_int_equal(cow_ref_peek(lab.m, file, &value, &result), 0);
	assert_false(result.mismatch);
	/* What comes back is new. */
	assert_int_equal(cow_file_truncate(lab.m, lab.f, 3), 0);
	assert_int_equal(read_from(&lab, lab.q, 2, 0), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.p, 1, 4), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.q, 1, 0), COW_OUT_ALLOC);
	assert_int_equal(cow_ref_release(lab.m, file), 0);
	assert_int_equal(cow_ref_release(lab.m, own), 0);
	assert_int_equal(used(&lab), 1 + 2 + 1);
	kept_close(&lab);
}

/* A swapped private copy goes with its slot. */
static void truncation_takes_swapped_copies_too(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	assert_int_equal(write_to(&lab, lab.p, 1, 1), COW_OUT_ALLOC);
	assert_int_equal(cow_swap_out(lab.m, lab.p, addr(1), 1, false, NULL), 0);
	assert_true(page_of(&lab, lab.p, 1).swapped);
	assert_int_equal(cow_file_truncate(lab.m, lab.f, 0), 0);
	kept_check(&lab);
	assert_false(page_of(&lab, lab.p, 1).swapped);
	assert_int_equal(used(&lab), 0);
	kept_close(&lab);
}

/* One frame is left.  A private write to a hole wants two, and makes nothing where there is one. */
static void too_few_frames(void **state)
{
	struct kept lab;
	cow_file other;

	(void)state;
	lab_open(&lab, FILE_PAGES + 2, "exclusive");
	map(&lab, lab.p, 0);
	assert_int_equal(cow_file_create(lab.m, 3, 0, false, &other), -ENOMEM);
	assert_false(cow_machine_error(lab.m)->host);
	assert_int_equal(used(&lab), FILE_PAGES);
	assert_int_equal(cow_file_truncate(lab.m, lab.f, PAGES), 0);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.p, 4, 1), COW_OUT_OOM);
	assert_int_equal(used(&lab), FILE_PAGES + 1);
	assert_int_equal(read_from(&lab, lab.p, 4, 0), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.p, 5, 0), COW_OUT_OOM);
	assert_int_equal(write_to(&lab, lab.p, 4, 1), COW_OUT_OOM);
	assert_int_equal(cow_file_write(lab.m, lab.p, lab.f, 5, 1), -ENOMEM);
	assert_int_equal(cow_file_write(lab.m, lab.p, lab.f, 4, 1), 0);
	assert_int_equal(read_from(&lab, lab.p, 4, 1), COW_OUT_HIT);
	kept_close(&lab);
}

/* A write through a read-only mapping by FOLL_FORCE: the copy is dirty and stays read-only. */
static void a_forced_write_copies_the_page_of_the_file(void **state)
{
	enum cow_outcome outcome;
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, PAGES, COW_PROT_READ, 0, lab.f, 0), 0);
	assert_int_equal(cow_force_write(lab.m, lab.p, addr(1), 3, &outcome), 0);
	assert_int_equal(outcome, COW_OUT_ALLOC);
	assert_true(page_of(&lab, lab.p, 1).dirty && !page_of(&lab, lab.p, 1).writable);
	assert_int_equal(read_from(&lab, lab.p, 1, 3), COW_OUT_HIT);
	map(&lab, lab.q, COW_MAP_SHARED);
	assert_int_equal(read_from(&lab, lab.q, 1, 7), COW_OUT_ALLOC);
	/* Nobody forces a write into a shared mapping that is read-only. */
	assert_int_equal(cow_mprotect(lab.m, lab.q, 0, PAGES, COW_PROT_READ), 0);
	assert_int_equal(cow_force_write(lab.m, lab.q, addr(1), 3, &outcome), -EFAULT);
	kept_close(&lab);
}

/* A long-term pin unshares a page of the file, mapped or not yet. */
static void a_long_term_pin_unshares(void **state)
{
	struct cow_result result;
	struct kept lab;
	cow_ref pin;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	assert_int_equal(
		cow_gup(lab.m, lab.p, 0, 1, COW_GUP_PIN | COW_GUP_LONGTERM, 1, &result, &pin), 0);
	kept_check(&lab);
	assert_int_equal(result.outcome, COW_OUT_UNSHARE);
	assert_true(page_of(&lab, lab.p, 0).anon && page_of(&lab, lab.p, 0).exclusive);
	assert_int_equal(page_of(&lab, lab.p, 0).pincount, 1);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_REUSE);
	kept_close(&lab);
}

static void fork_leaves_shared_pages_to_be_found_again(void **state)
{
	struct kept lab;
	cow_mm child;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, COW_MAP_SHARED);
	assert_int_equal(write_to(&lab, lab.p, 0, 1), COW_OUT_ALLOC);
	assert_int_equal(cow_fork(lab.m, lab.p, NULL, &child), 0);
	kept_check(&lab);
	assert_false(page_of(&lab, child, 0).present);
	assert_int_equal(write_to(&lab, child, 0, 2), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.p, 0, 2), COW_OUT_HIT);
	assert_int_equal(cow_mm_exit(lab.m, child), 0);
	/* Of a private mapping the pages of the file are copied with the others. */
	map(&lab, lab.q, 0);
	assert_int_equal(read_from(&lab, lab.q, 0, 2), COW_OUT_ALLOC);
	assert_int_equal(write_to(&lab, lab.q, 1, 3), COW_OUT_ALLOC);
	assert_int_equal(cow_fork(lab.m, lab.q, NULL, &child), 0);
	kept_check(&lab);
	assert_int_equal(page_of(&lab, child, 0).frame, page_of(&lab, lab.p, 0).frame);
	assert_int_equal(page_of(&lab, child, 0).mapcount, 3);
	assert_int_equal(write_to(&lab, child, 1, 4), COW_OUT_COPY);
	assert_int_equal(read_from(&lab, lab.q, 1, 3), COW_OUT_HIT);
	kept_close(&lab);
}

/* Neighbours merge if they are neighbours in the file too. */
static void mappings_merge_by_their_offset(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	for (unsigned i = 0; i < 2; i++) {
		unsigned flags = i ? COW_MAP_SHARED : 0;
		cow_mm mm = i ? lab.q : lab.p;

		assert_int_equal(cow_mmap_file(lab.m, mm, addr(0), 2, COW_PROT_RW, flags, lab.f, 0),
				 0);
		assert_int_equal(cow_mmap_file(lab.m, mm, addr(2), 2, COW_PROT_RW, flags, lab.f, 2),
				 0);
		assert_int_equal(cow_mmap_file(lab.m, mm, addr(4), 2, COW_PROT_RW, flags, lab.f, 0),
				 0);
		kept_check(&lab);
		assert_int_equal(page_of(&lab, mm, 1).vma_end, addr(4));
		assert_int_equal(page_of(&lab, mm, 4).vma_start, addr(4));
		assert_int_equal(cow_munmap(lab.m, mm, addr(1), 1), 0);
		kept_check(&lab);
		assert_int_equal(cow_mmap_file(lab.m, mm, addr(1), 1, COW_PROT_RW, flags, lab.f, 1),
				 0);
		assert_int_equal(page_of(&lab, mm, 1).vma_start, 0);
		assert_int_equal(page_of(&lab, mm, 1).vma_end, addr(4));
	}
	kept_close(&lab);
}

static int count(void *ctx, cow_mm mm, uint64_t at)
{
	(void)mm;
	(void)at;
	++*(unsigned *)ctx;
	return 0;
}

static void the_reverse_map_finds_both_sorts(void **state)
{
	unsigned found = 0;
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	map(&lab, lab.p, 0);
	map(&lab, lab.q, COW_MAP_SHARED);
	assert_int_equal(read_from(&lab, lab.p, 1, 7), COW_OUT_ALLOC);
	assert_int_equal(read_from(&lab, lab.q, 1, 7), COW_OUT_ALLOC);
	assert_int_equal(cow_rmap_walk(lab.m, page_of(&lab, lab.p, 1).frame, count, &found), 0);
	assert_int_equal(found, 2);
	assert_int_equal(write_to(&lab, lab.p, 1, 1), COW_OUT_COPY);
	found = 0;
	assert_int_equal(cow_rmap_walk(lab.m, page_of(&lab, lab.p, 1).frame, count, &found), 0);
	assert_int_equal(found, 1);
	kept_close(&lab);
}

static void what_makes_no_sense_is_refused(void **state)
{
	struct kept lab, far;
	cow_file none = { 0 }, out;
	uint64_t hash;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	lab_open(&far, 64, "exclusive");
	hash = cow_machine_hash(lab.m);
	assert_int_equal(cow_file_create(lab.m, 1, 0, false, NULL), -EINVAL);
	assert_int_equal(cow_file_create(lab.m, 65, 0, false, &out), -EINVAL);
	assert_int_equal(cow_file_create(lab.m, 4, 0, true, &out), -EINVAL);
	assert_int_equal(cow_file_create(lab.m, 8, 0, true, &out), -ENOMEM);
	assert_int_equal(cow_file_write(lab.m, lab.p, far.f, 0, 1), -EXDEV);
	assert_int_equal(cow_file_write(lab.m, lab.p, none, 0, 1), -EXDEV);
	none = lab.f;
	none.generation++;
	assert_int_equal(cow_file_write(lab.m, lab.p, none, 0, 1), -ESRCH);
	assert_int_equal(cow_file_truncate(lab.m, none, 0), -ESRCH);
	none = lab.f;
	none.index = 99;
	assert_int_equal(cow_file_truncate(lab.m, none, 0), -ESRCH);
	assert_int_equal(cow_file_write(lab.m, far.p, lab.f, 0, 1), -EXDEV);
	assert_int_equal(cow_file_write(lab.m, lab.p, lab.f, 64, 1), -EINVAL);
	assert_int_equal(cow_file_truncate(lab.m, lab.f, 65), -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 1, 1, COW_PROT_RW, 0, lab.f, 0), -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 2, COW_PROT_RW, 0, lab.f, 63), -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 1, COW_PROT_RW, 0, lab.f, UINT64_MAX),
			 -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 1, (enum cow_prot)4, 0, lab.f, 0), -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_THP, lab.f, 0),
			 -EINVAL);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_HUGETLB, lab.f, 0),
			 -EINVAL);
	assert_true(cow_machine_hash(lab.m) == hash);
	map(&lab, lab.p, 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, addr(5), 1, COW_PROT_RW, 0, lab.f, 0),
			 -EEXIST);
	kept_close(&far);
	kept_close(&lab);
}

/* What the n-th failing allocation may end: a call of each kind.  Returns true if it did. */
static bool starved(struct kept *lab, unsigned which)
{
	cow_file out;
	int error;

	lab->failing.armed = true;
	lab->failing.calls = 0;
	switch (which) {
	case 0:
		error = cow_file_create(lab->m, 20, 1, false, &out);
		break;
	case 1:
		error = cow_mmap_file(lab->m, lab->q, addr(8), 20, COW_PROT_RW, 0, lab->f, 40);
		break;
	case 2:
		error = cow_file_write(lab->m, lab->q, lab->f, 63, 1);
		break;
	case 3:
		error = cow_write_range(lab->m, lab->p, addr(8), 20, 1, NULL);
		break;
	default:
		error = cow_file_truncate(lab->m, lab->f, 2);
	}
	lab->failing.armed = false;
	if (!error)
		return false;
	assert_int_equal(error, -ENOMEM);
	assert_true(cow_machine_error(lab->m)->host);
	return true;
}

static void host_memory_may_fail_anywhere(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 5; which++)
		for (uint64_t fail = 1;; fail++) {
			struct kept lab;
			uint64_t hash;
			bool ended;

			lab_open(&lab, 128, "exclusive");
			lab.failing.fail = fail;
			map(&lab, lab.p, 0);
			assert_int_equal(cow_file_truncate(lab.m, lab.f, 60), 0);
			assert_int_equal(
				cow_mmap_file(lab.m, lab.p, addr(8), 20, COW_PROT_RW, 0, lab.f, 30),
				0);
			hash = cow_machine_hash(lab.m);
			ended = starved(&lab, which);
			if (ended)
				assert_true(cow_machine_hash(lab.m) == hash);
			kept_close(&lab);
			if (!ended)
				break;
		}
}

/* An audit of it all: nobody sees what is not his, and no copy of a file's page is needless. */
static void the_audit_has_nothing_to_say(void **state)
{
	static const char *const policies[] = { "mapcount", "page-count", "exclusive", "ideal" };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		cow_machine *m = machine_new("tiny", cow_policy_find(policies[i]), 64, 0);
		cow_audit *audit;
		cow_file f;
		cow_mm p, q;

		assert_int_equal(cow_audit_attach(m, &audit), 0);
		assert_int_equal(cow_mm_create(m, &p), 0);
		assert_int_equal(cow_mm_create(m, &q), 0);
		assert_int_equal(cow_file_create(m, 4, 7, false, &f), 0);
		assert_int_equal(cow_mmap_file(m, p, 0, 4, COW_PROT_RW, 0, f, 0), 0);
		assert_int_equal(cow_mmap_file(m, q, 0, 4, COW_PROT_RW, 0, f, 0), 0);
		assert_int_equal(cow_read_range(m, q, 0, 4, NULL, NULL), 0);
		assert_int_equal(cow_write_range(m, p, 0, 4, 1, NULL), 0);
		assert_int_equal(cow_read_range(m, q, 0, 4, NULL, NULL), 0);
		assert_int_equal(cow_write_range(m, q, 0, 4, 2, NULL), 0);
		assert_int_equal(cow_read_range(m, p, 0, 4, NULL, NULL), 0);
		assert_int_equal(cow_file_truncate(m, f, 1), 0);
		assert_int_equal(cow_read_range(m, p, 0, 4, NULL, NULL), -EFAULT);
		assert_int_equal(cow_audit_verdict(audit), 0);
		assert_int_equal(cow_machine_counter(m, COW_COUNT_NEEDLESS_COPIES), 0);
		assert_int_equal(cow_machine_counter(m, COW_COUNT_UNSAFE_REUSES), 0);
		cow_audit_detach(audit);
		cow_machine_destroy(m);
	}
}

/* A private mapping that may be written was charged for, when it was made or when it became so: the two
 * merge then. */
static void writable_mappings_are_accounted_alike(void **state)
{
	struct kept lab;

	(void)state;
	lab_open(&lab, 64, "exclusive");
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 2, COW_PROT_RW, 0, lab.f, 0), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, addr(2), 2, COW_PROT_READ, 0, lab.f, 2), 0);
	assert_int_equal(page_of(&lab, lab.p, 0).vma_end, addr(2));
	assert_int_equal(cow_mprotect(lab.m, lab.p, addr(2), 2, COW_PROT_RW), 0);
	assert_int_equal(page_of(&lab, lab.p, 0).vma_end, addr(4));
	kept_close(&lab);
}

/* Tables of one level have no PMDs, and no huge pages. */
static void no_huge_file_without_pmds(void **state)
{
	struct cow_config config;
	cow_machine *m;
	cow_file f;

	(void)state;
	cow_config_init(&config);
	config.geometry = (struct cow_geometry){ 12, 1, { 3 } };
	config.frames = 64;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_file_create(m, 0, 0, true, &f), -EINVAL);
	assert_int_equal(cow_file_create(m, 8, 0, false, &f), 0);
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_private_mapping_reads_the_cache_and_copies),
		cmocka_unit_test(a_shared_mapping_is_writable_from_the_first_read),
		cmocka_unit_test(write_2_is_seen_until_the_page_is_private),
		cmocka_unit_test(truncation_takes_private_copies_too),
		cmocka_unit_test(truncation_takes_swapped_copies_too),
		cmocka_unit_test(too_few_frames),
		cmocka_unit_test(a_forced_write_copies_the_page_of_the_file),
		cmocka_unit_test(a_long_term_pin_unshares),
		cmocka_unit_test(fork_leaves_shared_pages_to_be_found_again),
		cmocka_unit_test(mappings_merge_by_their_offset),
		cmocka_unit_test(the_reverse_map_finds_both_sorts),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(host_memory_may_fail_anywhere),
		cmocka_unit_test(the_audit_has_nothing_to_say),
		cmocka_unit_test(writable_mappings_are_accounted_alike),
		cmocka_unit_test(no_huge_file_without_pmds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
