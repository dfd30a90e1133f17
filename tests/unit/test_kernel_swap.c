/* SPDX-License-Identifier: MIT
 *
 * Back from swap: slots and their counts, the swap cache and its reference, the marker in the entry
 * for each of its homes, what each era makes of it, readahead, swapoff, and no frame left.
 */
#include "swaplab.h"

/*
 *  P: | 7 |  ->  slot 1, and the frame in the swap cache  ->  P and C name slot 1  ->  nobody does
 */
static void slots_count_entries(void **state)
{
	struct cow_page page;
	struct lab lab;
	cow_mm c;

	(void)state;
	lab_begin(&lab, "exclusive", 1, 7);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	page = seen(&lab, lab.p, 0);
	assert_true(page.swapped && page.swapcache && !page.present && !page.writeback);
	assert_int_equal(page.swapcount, 1);
	assert_int_equal(page.refcount, 1); /* the swap cache's */
	assert_int_equal(page.mapcount, 0);
	assert_int_equal(page.value, 7);
	assert_int_equal(lab.written, 1);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_NONE);

	c = forked(&lab, lab.p);
	assert_int_equal(seen(&lab, c, 0).swapcount, 2);
	assert_int_equal(reads(&lab, lab.p, 0, 7), COW_OUT_SWAP_IN);
	page = seen(&lab, lab.p, 0);
	assert_int_equal(page.swapcount, 1);
	assert_int_equal(page.refcount, 2);
	assert_false(page.writable || page.exclusive);
	assert_int_equal(reads(&lab, c, 0, 7), COW_OUT_SWAP_IN);
	page = seen(&lab, c, 0);
	assert_int_equal(page.frame, seen(&lab, lab.p, 0).frame);
	assert_int_equal(page.swapcount, 0);
	assert_int_equal(page.mapcount, 2);
	assert_int_equal(page.refcount, 3);

	/* With its last mapping the page leaves the cache, and the slot is free. */
	assert_int_equal(cow_munmap(lab.m, lab.p, 0, 1), 0);
	checked(&lab);
	assert_true(seen(&lab, c, 0).swapcache);
	assert_int_equal(cow_mm_exit(lab.m, c), 0);
	checked(&lab);
	assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 0);
	assert_int_equal(count(&lab, COW_COUNT_SWAP_OUTS), 1);
	assert_int_equal(count(&lab, COW_COUNT_SWAP_INS), 2);

	/* A swapped page that is given up takes its slot and its frame with it. */
	map(&lab, 2, 8);
	assert_int_equal(out(&lab, lab.p, 0, 2), COW_OUT_MOVED);
	assert_int_equal(drop(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 1);
	advised(&lab, 0, 2, COW_ADV_DONTNEED);
	assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 0);
	assert_int_equal(reads(&lab, lab.p, 0, 0), COW_OUT_ZERO);
	lab_end(&lab);
}

/* The marker goes into the entry, and comes back with the page, unless fork has been there. */
static void marker_travels_in_the_entry(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		bool marked = home > 0;
		struct cow_page page;
		struct lab lab;
		cow_mm c;

		lab_begin(&lab, homes[home], 3, 7);
		assert_int_equal(out(&lab, lab.p, 0, 3), COW_OUT_MOVED);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(seen(&lab, lab.p, i).exclusive, marked);
		assert_int_equal(drop(&lab, lab.p, 0, 1), COW_OUT_MOVED);
		/* A read is enough: an exclusive page is mapped writable. */
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(reads(&lab, lab.p, i, 7), COW_OUT_SWAP_IN);
			page = seen(&lab, lab.p, i);
			assert_int_equal(page.exclusive, marked);
			assert_int_equal(page.writable, marked);
			assert_false(page.dirty);
		}
		c = forked(&lab, lab.p);
		for (unsigned i = 0; i < 3; i++) {
			assert_false(seen(&lab, lab.p, i).exclusive);
			assert_false(seen(&lab, c, i).exclusive);
		}
		assert_int_equal(reads(&lab, c, 2, 7), COW_OUT_SWAP_IN);
		assert_false(seen(&lab, c, 2).writable || seen(&lab, c, 2).exclusive);
		assert_int_equal(writes(&lab, lab.p, 2, 8), COW_OUT_COPY);
		assert_int_equal(reads(&lab, c, 2, 7), COW_OUT_HIT);

		/* Pages without a marker in use must not have one either when they move out. */
		assert_int_equal(out(&lab, c, 0, 3), COW_OUT_MOVED);
		assert_true(seen(&lab, lab.p, 0).swapped && !seen(&lab, lab.p, 0).exclusive);
		assert_int_equal(seen(&lab, lab.p, 2).exclusive, marked);

		/* swapoff gives back what the entries said, read-only. */
		assert_int_equal(out(&lab, lab.p, 2, 1), COW_OUT_MOVED);
		assert_int_equal(cow_swapoff(lab.m), 0);
		checked(&lab);
		page = seen(&lab, lab.p, 2);
		assert_true(page.present && !page.writable && !page.swapcache);
		assert_int_equal(page.exclusive, marked);
		assert_false(seen(&lab, lab.p, 0).exclusive);
		assert_int_equal(seen(&lab, lab.p, 0).mapcount, 2);
		assert_int_equal(writes(&lab, lab.p, 2, 9), COW_OUT_REUSE);
		assert_int_equal(out(&lab, lab.p, 0, 3), COW_OUT_REFUSED);
		lab_end(&lab);
	}
}

/* What a write comes to at once, after a read, and while something else holds the page. */
static void each_era_comes_back_its_own_way(void **state)
{
	static const struct {
		const char *policy;
		enum cow_outcome at_once, after_read, referenced, shared;
	} eras[] = {
		{ "mapcount", COW_OUT_SWAP_IN, COW_OUT_REUSE, COW_OUT_SWAP_IN, COW_OUT_COPY },
		{ "page-count", COW_OUT_SWAP_IN, COW_OUT_COPY, COW_OUT_SWAP_IN, COW_OUT_COPY },
		{ "page-count-5.18", COW_OUT_SWAP_IN, COW_OUT_REUSE, COW_OUT_COPY, COW_OUT_COPY },
		{ "exclusive-5.19", COW_OUT_SWAP_IN, COW_OUT_REUSE, COW_OUT_SWAP_IN, COW_OUT_COPY },
		{ "exclusive", COW_OUT_SWAP_IN, COW_OUT_HIT, COW_OUT_SWAP_IN, COW_OUT_COPY },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(eras) / sizeof(*eras); i++) {
		struct lab lab;
		cow_mm c;

		lab_begin(&lab, eras[i].policy, 4, 7);
		taken(&lab, lab.p, 2, 0);
		assert_int_equal(out(&lab, lab.p, 0, 4), COW_OUT_MOVED);
		assert_int_equal(seen(&lab, lab.p, 2).refcount, 2); /* unmapped all the same */
		assert_int_equal(drop(&lab, lab.p, 2, 1), COW_OUT_REFUSED);
		assert_int_equal(writes(&lab, lab.p, 0, 8), eras[i].at_once);
		assert_int_equal(reads(&lab, lab.p, 1, 7), COW_OUT_SWAP_IN);
		assert_int_equal(writes(&lab, lab.p, 1, 8), eras[i].after_read);
		assert_int_equal(writes(&lab, lab.p, 2, 8), eras[i].referenced);
		c = forked(&lab, lab.p);
		assert_int_equal(writes(&lab, lab.p, 3, 8), eras[i].shared);
		assert_int_equal(reads(&lab, c, 3, 7), COW_OUT_SWAP_IN);
		lab_end(&lab);
	}
}

/* Swapped pages are dropped, and their frames taken by others. */
static void frames_run_out(void **state)
{
	enum cow_outcome outcome;
	struct cow_result result;
	struct lab lab;
	cow_mm c;

	(void)state;
	lab_init(&lab, "exclusive");
	lab.config.frames = 4;
	lab_start(&lab);
	map(&lab, 4, 7);
	c = forked(&lab, lab.p);
	out(&lab, lab.p, 0, 4);
	drop(&lab, lab.p, 0, 4);
	assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 0);
	assert_int_equal(cow_mmap(lab.m, lab.p, at(&lab, 8), 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(lab.m, lab.p, at(&lab, 8), 4, 8, NULL), 0);
	assert_int_equal(cow_read(lab.m, lab.p, 0, NULL, &outcome), -ENOMEM);
	assert_int_equal(outcome, COW_OUT_OOM);
	assert_false(cow_machine_error(lab.m)->host);
	assert_true(seen(&lab, lab.p, 0).swapped);
	assert_int_equal(ahead(&lab, c, 0, 2), COW_OUT_REFUSED);
	assert_int_equal(cow_swapoff(lab.m), -ENOMEM);
	checked(&lab);
	assert_true(seen(&lab, lab.p, 0).swapped);

	/* One frame: it comes back, but a write finds none for a copy. */
	assert_int_equal(cow_munmap(lab.m, lab.p, at(&lab, 8), 1), 0);
	assert_int_equal(cow_write(lab.m, lab.p, 0, 9, &outcome), -ENOMEM);
	assert_int_equal(outcome, COW_OUT_OOM);
	checked(&lab);
	assert_true(seen(&lab, lab.p, 0).present && !seen(&lab, lab.p, 0).writable);
	assert_int_equal(reads(&lab, c, 0, 7), COW_OUT_SWAP_IN);
	/* swapoff gets as far as frames go, and can be tried again. */
	assert_int_equal(cow_munmap(lab.m, lab.p, at(&lab, 9), 1), 0);
	assert_int_equal(cow_swapoff(lab.m), -ENOMEM);
	checked(&lab);
	assert_true(seen(&lab, lab.p, 1).present && seen(&lab, lab.p, 2).swapped);
	assert_int_equal(cow_munmap(lab.m, lab.p, at(&lab, 10), 2), 0);
	assert_int_equal(cow_swapoff(lab.m), 0);
	assert_int_equal(cow_read_range(lab.m, c, 0, 4, NULL, &result), 0);
	assert_int_equal(result.counts[COW_OUT_HIT], 4);
	assert_int_equal(seen(&lab, c, 3).mapcount, 2);
	lab_end(&lab);
}

/* A swap entry moves with its page, and keeps its marker. */
static void entries_move_and_are_protected(void **state)
{
	(void)state;
	for (unsigned home = 1; home < HOMES; home++) {
		struct lab lab;

		lab_begin(&lab, homes[home], 2, 7);
		out(&lab, lab.p, 0, 2);
		assert_int_equal(cow_mremap(lab.m, lab.p, 0, 2, at(&lab, 20)), 0);
		checked(&lab);
		assert_true(seen(&lab, lab.p, 20).swapped && seen(&lab, lab.p, 20).exclusive);
		assert_int_equal(cow_mprotect(lab.m, lab.p, at(&lab, 20), 2, COW_PROT_READ), 0);
		checked(&lab);
		assert_true(seen(&lab, lab.p, 21).exclusive);
		assert_int_equal(reads(&lab, lab.p, 20, 7), COW_OUT_SWAP_IN);
		assert_true(seen(&lab, lab.p, 20).exclusive && !seen(&lab, lab.p, 20).writable);
		/* A forced write marks it dirty, and leaves it read-only. */
		assert_int_equal(cow_force_write(lab.m, lab.p, at(&lab, 21), 8, NULL), 0);
		checked(&lab);
		assert_true(seen(&lab, lab.p, 21).dirty && !seen(&lab, lab.p, 21).writable);
		assert_int_equal(reads(&lab, lab.p, 21, 8), COW_OUT_HIT);
		lab_end(&lab);
	}
}

/* UFFDIO_MOVE takes a swapped page along, and the cached frame with it. */
static void entries_move_to_another_vma(void **state)
{
	uint32_t frame;
	struct lab lab;

	(void)state;
	lab_begin(&lab, "exclusive", 2, 7);
	out(&lab, lab.p, 0, 2);
	drop(&lab, lab.p, 1, 1);
	frame = seen(&lab, lab.p, 0).frame;
	assert_int_equal(cow_mmap(lab.m, lab.p, at(&lab, 20), 2, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_uffd_move(lab.m, lab.p, 0, 2, at(&lab, 20), NULL), 0);
	checked(&lab);
	assert_int_equal(reads(&lab, lab.p, 20, 7), COW_OUT_SWAP_IN);
	assert_int_equal(reads(&lab, lab.p, 21, 7), COW_OUT_SWAP_IN);
	assert_int_equal(seen(&lab, lab.p, 20).frame, frame);
	assert_int_equal(out(&lab, lab.p, 20, 2), COW_OUT_MOVED);
	lab_end(&lab);
}

/* Readahead fills the cache and maps nothing; a fault then needs no frame. */
static void readahead_maps_nothing(void **state)
{
	struct cow_page page;
	struct lab lab;

	(void)state;
	lab_init(&lab, "exclusive");
	lab.config.lru_batch = 2;
	lab_start(&lab);
	map(&lab, 4, 7);
	assert_int_equal(ahead(&lab, lab.p, 0, 4), COW_OUT_NONE);
	out(&lab, lab.p, 0, 4);
	assert_int_equal(ahead(&lab, lab.p, 0, 4), COW_OUT_NONE);
	drop(&lab, lab.p, 0, 4);
	assert_int_equal(ahead(&lab, lab.p, 0, 4), COW_OUT_MOVED);
	page = seen(&lab, lab.p, 3);
	assert_true(page.swapped && page.swapcache && !page.in_batch);
	assert_int_equal(page.refcount, 1);
	assert_int_equal(count(&lab, COW_COUNT_SWAP_INS), 0);
	assert_int_equal(reads(&lab, lab.p, 3, 7), COW_OUT_SWAP_IN);
	assert_int_equal(seen(&lab, lab.p, 3).frame, page.frame);

	/* A page that a fault reads waits in the batch. */
	drop(&lab, lab.p, 0, 1);
	assert_int_equal(reads(&lab, lab.p, 0, 7), COW_OUT_SWAP_IN);
	page = seen(&lab, lab.p, 0);
	assert_true(page.in_batch && page.swapcache);
	assert_int_equal(page.refcount, 3);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_MOVED); /* drained first */
	lab_end(&lab);
}

/* userfaultfd's bit and soft-dirty are in the entry while the page is out. */
static void write_protection_survives(void **state)
{
	enum cow_outcome outcome;
	struct lab lab;

	(void)state;
	lab_begin(&lab, "exclusive", 2, 7);
	assert_int_equal(cow_uffd_wp(lab.m, lab.p, 0, 1, true), 0);
	assert_true(seen(&lab, lab.p, 0).uffd_wp);
	out(&lab, lab.p, 0, 2);
	assert_true(seen(&lab, lab.p, 0).uffd_wp && seen(&lab, lab.p, 0).soft_dirty);
	assert_int_equal(cow_write(lab.m, lab.p, 0, 8, &outcome), -EAGAIN);
	assert_int_equal(outcome, COW_OUT_BLOCKED);
	checked(&lab);
	/* Blocked, but back. */
	assert_true(seen(&lab, lab.p, 0).present && seen(&lab, lab.p, 0).uffd_wp);
	assert_true(seen(&lab, lab.p, 0).exclusive && seen(&lab, lab.p, 0).soft_dirty);
	out(&lab, lab.p, 0, 1);
	assert_int_equal(reads(&lab, lab.p, 0, 7), COW_OUT_SWAP_IN);
	assert_false(seen(&lab, lab.p, 0).writable);
	assert_int_equal(cow_uffd_wp(lab.m, lab.p, 0, 1, false), 0);
	writes(&lab, lab.p, 0, 8);

	/* A tracked page comes back read-only, so that its next write is noticed. */
	assert_int_equal(cow_clear_refs(lab.m, lab.p), 0);
	checked(&lab);
	out(&lab, lab.p, 0, 1);
	assert_false(seen(&lab, lab.p, 0).soft_dirty);
	assert_int_equal(reads(&lab, lab.p, 0, 8), COW_OUT_SWAP_IN);
	assert_false(seen(&lab, lab.p, 0).writable);
	assert_int_equal(writes(&lab, lab.p, 0, 9), COW_OUT_REUSE);
	assert_true(seen(&lab, lab.p, 0).soft_dirty);
	lab_end(&lab);
}

/*
 * Two processes, and pages of equal content at different offsets, merged:
 *
 *  P: | 7 | 7 |  =>  one frame  =>  one slot with four entries
 *  C: | 7 | 7 |
 */
static void ksm_pages_come_back_while_cached(void **state)
{
	struct cow_result result;
	struct cow_page page;
	struct lab lab;
	cow_mm c;

	(void)state;
	lab_begin(&lab, "exclusive", 2, 7);
	advised(&lab, 0, 2, COW_ADV_MERGEABLE);
	c = forked(&lab, lab.p);
	assert_int_equal(cow_ksm_scan(lab.m, &result), 0);
	checked(&lab);
	page = seen(&lab, lab.p, 0);
	assert_true(page.ksm);
	assert_int_equal(page.mapcount, 4);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	assert_int_equal(seen(&lab, c, 1).swapcount, 4);
	/* From the cache it comes back as what it was. */
	assert_int_equal(reads(&lab, c, 1, 7), COW_OUT_SWAP_IN);
	assert_int_equal(reads(&lab, lab.p, 0, 7), COW_OUT_SWAP_IN);
	assert_true(seen(&lab, c, 1).ksm && !seen(&lab, c, 1).writable);
	assert_int_equal(seen(&lab, lab.p, 0).frame, page.frame);
	assert_int_equal(out(&lab, c, 1, 1), COW_OUT_MOVED);
	/* From its slot it does not: who finds it at another offset gets a copy. */
	assert_int_equal(drop(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	assert_int_equal(reads(&lab, lab.p, 0, 7), COW_OUT_SWAP_IN);
	assert_int_equal(reads(&lab, c, 1, 7), COW_OUT_COPY);
	assert_int_equal(reads(&lab, c, 0, 7), COW_OUT_SWAP_IN);
	assert_int_equal(seen(&lab, c, 0).frame, seen(&lab, lab.p, 0).frame);
	assert_false(seen(&lab, lab.p, 0).ksm || seen(&lab, c, 1).ksm);
	assert_true(seen(&lab, c, 1).exclusive);
	assert_int_equal(cow_swapoff(lab.m), 0);
	checked(&lab);
	assert_true(seen(&lab, lab.p, 1).exclusive); /* a copy again */
	lab_end(&lab);
}

static void arguments_are_checked(void **state)
{
	struct cow_result result;
	struct lab lab, other;
	cow_mm gone;

	(void)state;
	lab_begin(&lab, "exclusive", 1, 7);
	lab_begin(&other, "exclusive", 1, 7);
	assert_int_equal(cow_mm_create(lab.m, &gone), 0);
	assert_int_equal(cow_mm_exit(lab.m, gone), 0);
	assert_int_equal(cow_swap_out(lab.m, gone, 0, 1, false, NULL), -ESRCH);
	assert_int_equal(cow_swap_drop(lab.m, gone, 0, 1, NULL), -ESRCH);
	assert_int_equal(cow_swap_in(lab.m, gone, 0, 1, NULL), -ESRCH);
	assert_int_equal(cow_swap_out(lab.m, other.p, 0, 1, false, NULL), -EXDEV);
	assert_int_equal(cow_swap_out(lab.m, lab.p, 1, 1, false, NULL), -EINVAL);
	assert_int_equal(cow_swap_drop(lab.m, lab.p, 0, 0, NULL), -EINVAL);
	assert_int_equal(cow_swap_in(lab.m, lab.p, 0, UINT64_MAX, NULL), -EINVAL);
	/* Nothing mapped, nothing to do. */
	assert_int_equal(cow_swap_out(lab.m, lab.p, at(&lab, 1), 4, false, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_NONE);
	assert_int_equal(cow_swap_drop(lab.m, lab.p, 0, 4, &result), 0);
	assert_int_equal(result.outcome, COW_OUT_NONE);
	lab_end(&other);
	lab_end(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_count_entries),
		cmocka_unit_test(marker_travels_in_the_entry),
		cmocka_unit_test(each_era_comes_back_its_own_way),
		cmocka_unit_test(frames_run_out),
		cmocka_unit_test(entries_move_and_are_protected),
		cmocka_unit_test(entries_move_to_another_vma),
		cmocka_unit_test(readahead_maps_nothing),
		cmocka_unit_test(write_protection_survives),
		cmocka_unit_test(ksm_pages_come_back_while_cached),
		cmocka_unit_test(arguments_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
