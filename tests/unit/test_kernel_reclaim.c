/* SPDX-License-Identifier: MIT
 *
 * Out to swap: every mapping is reached, what stays and what is written, writeback, slots that run
 * out, lazyfree pages, madvise pageout, huge pages, pages of objects; and what the policy is shown.
 */
#include "swaplab.h"

/* Which pins keep a page where it is. */
static void pinned_pages_stay_where_the_era_says(void **state)
{
	static const struct {
		const char *policy;
		enum cow_outcome fresh, cached;
	} eras[] = {
		{ "mapcount", COW_OUT_MOVED, COW_OUT_MOVED },
		{ "page-count", COW_OUT_REFUSED, COW_OUT_MOVED },
		{ "exclusive", COW_OUT_REFUSED, COW_OUT_REFUSED },
		{ "pte-exclusive", COW_OUT_REFUSED, COW_OUT_REFUSED },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(eras) / sizeof(*eras); i++) {
		struct cow_page page;
		struct lab lab;

		lab_begin(&lab, eras[i].policy, 2, 7);
		assert_int_equal(out(&lab, lab.p, 1, 1), COW_OUT_MOVED);
		reads(&lab, lab.p, 1, 7); /* stays in the swap cache */
		taken(&lab, lab.p, 0, COW_GUP_PIN);
		taken(&lab, lab.p, 1, COW_GUP_PIN);
		assert_int_equal(out(&lab, lab.p, 0, 1), eras[i].fresh);
		assert_int_equal(out(&lab, lab.p, 1, 1), eras[i].cached);
		page = seen(&lab, lab.p, 0);
		assert_int_equal(page.swapcache, eras[i].fresh == COW_OUT_MOVED);
		assert_int_equal(page.swapped, eras[i].fresh == COW_OUT_MOVED);
		page = seen(&lab, lab.p, 1);
		assert_true(page.swapcache);
		assert_int_equal(page.swapped, eras[i].cached == COW_OUT_MOVED);
		lab_end(&lab);
	}
}

static void writeback_and_stable_writes(void **state)
{
	(void)state;
	for (int stable = 0; stable < 2; stable++) {
		uint32_t frame;
		struct lab lab;

		lab_init(&lab, "exclusive");
		lab.config.stable_writes = stable;
		lab_start(&lab);
		map(&lab, 3, 7);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(begin_out(&lab, lab.p, i), COW_OUT_MOVED);
		assert_true(seen(&lab, lab.p, 0).writeback);
		assert_int_equal(drop(&lab, lab.p, 0, 1), COW_OUT_REFUSED);
		/* What is mapped again meanwhile is left alone. */
		frame = seen(&lab, lab.p, 0).frame;
		assert_int_equal(writes(&lab, lab.p, 0, 8),
				 stable ? COW_OUT_COPY : COW_OUT_SWAP_IN);
		assert_int_equal(seen(&lab, lab.p, 0).frame != frame, stable);
		assert_int_equal(out(&lab, lab.p, 0, 1), stable ? COW_OUT_MOVED : COW_OUT_REFUSED);
		/* Given up meanwhile: freed when it is written. */
		advised(&lab, 2, 1, COW_ADV_DONTNEED);
		assert_int_equal(cow_writeback_done(lab.m), 0);
		checked(&lab);
		assert_false(seen(&lab, lab.p, 0).writeback);
		assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 2);
		assert_int_equal(out(&lab, lab.p, 0, 1), stable ? COW_OUT_NONE : COW_OUT_MOVED);
		assert_int_equal(drop(&lab, lab.p, 0, 2), COW_OUT_MOVED);
		assert_int_equal(reads(&lab, lab.p, 0, 8), COW_OUT_SWAP_IN);
		assert_int_equal(reads(&lab, lab.p, 1, 7), COW_OUT_SWAP_IN);
		lab_end(&lab);
	}
}

/* A page that its slot still holds is not written again; one that was written to is. */
static void clean_pages_are_not_written_again(void **state)
{
	struct lab lab;
	cow_ref ref;

	(void)state;
	lab_begin(&lab, "exclusive", 1, 7);
	out(&lab, lab.p, 0, 1);
	reads(&lab, lab.p, 0, 7);
	assert_int_equal(begin_out(&lab, lab.p, 0), COW_OUT_MOVED);
	assert_int_equal(lab.written, 1);
	assert_false(seen(&lab, lab.p, 0).writeback);
	reads(&lab, lab.p, 0, 7);
	writes(&lab, lab.p, 0, 8); /* a hit, and the page stays in the cache */
	assert_true(seen(&lab, lab.p, 0).swapcache);
	out(&lab, lab.p, 0, 1);
	assert_int_equal(lab.written, 2);
	drop(&lab, lab.p, 0, 1);
	assert_int_equal(reads(&lab, lab.p, 0, 8), COW_OUT_SWAP_IN);

	/* Written through a reference, which no PTE knows of. */
	ref = taken(&lab, lab.p, 0, COW_GUP_WRITE);
	out(&lab, lab.p, 0, 1);
	assert_int_equal(cow_ref_poke(lab.m, ref, 9), 0);
	assert_int_equal(cow_ref_release(lab.m, ref), 0);
	assert_int_equal(drop(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	assert_int_equal(reads(&lab, lab.p, 0, 9), COW_OUT_SWAP_IN);
	lab_end(&lab);
}

static void slots_run_out(void **state)
{
	struct lab lab;

	(void)state;
	lab_init(&lab, "exclusive");
	lab.config.swap = 4;
	lab_start(&lab);
	map(&lab, 6, 7);
	assert_int_equal(out(&lab, lab.p, 0, 6), COW_OUT_REFUSED);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(seen(&lab, lab.p, i).swapped, i < 4);
		assert_int_equal(seen(&lab, lab.p, i).writable, i >= 4);
		assert_int_equal(seen(&lab, lab.p, i).value, 7);
	}
	/* vm_swap_full: what comes back gives its slot up. */
	reads(&lab, lab.p, 0, 7);
	assert_false(seen(&lab, lab.p, 0).swapcache);
	assert_int_equal(out(&lab, lab.p, 4, 1), COW_OUT_MOVED);
	assert_int_equal(out(&lab, lab.p, 5, 1), COW_OUT_REFUSED);
	lab_end(&lab);

	/* A slot that only the swap cache has is no free slot; and while there is none, nobody is looked
	 * at, were the page clean and in the cache (v6.18: can_reclaim_anon_pages). */
	lab_init(&lab, "exclusive");
	lab.config.swap = 4;
	lab_start(&lab);
	map(&lab, 6, 7);
	assert_int_equal(out(&lab, lab.p, 0, 2), COW_OUT_MOVED);
	reads(&lab, lab.p, 0, 7);
	reads(&lab, lab.p, 1, 7);
	assert_true(seen(&lab, lab.p, 0).swapcache && seen(&lab, lab.p, 1).swapcache);
	assert_int_equal(out(&lab, lab.p, 2, 3), COW_OUT_REFUSED);
	assert_true(seen(&lab, lab.p, 3).swapped && seen(&lab, lab.p, 4).present);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_REFUSED);
	assert_true(seen(&lab, lab.p, 0).present && seen(&lab, lab.p, 0).swapcache);
	lab_end(&lab);

	lab_init(&lab, "exclusive");
	lab.config.no_swap = true;
	lab_start(&lab);
	map(&lab, 1, 7);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_REFUSED);
	lab_end(&lab);
}

/*
 * The whole tree of forks maps one page, some of it elsewhere:
 *
 *  P: | 0 | 1 | 2 | 3 |   C: | 0 |   | 2 | 3 |   D: (of C) 2 and 3 moved to 12   E: (of P) exits
 */
static void swap_out_reaches_every_mapping(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct lab lab;
		cow_mm c, d, e;

		lab_begin(&lab, homes[home], 4, 7);
		c = forked(&lab, lab.p);
		e = forked(&lab, lab.p);
		assert_int_equal(cow_munmap(lab.m, c, at(&lab, 1), 1), 0);
		d = forked(&lab, c);
		assert_int_equal(cow_mremap(lab.m, d, at(&lab, 2), 2, at(&lab, 12)), 0);
		assert_int_equal(cow_mm_exit(lab.m, e), 0);
		checked(&lab);
		assert_int_equal(seen(&lab, lab.p, 2).mapcount, 3);
		/* Reclaimed by way of one process, and gone from all. */
		assert_int_equal(out(&lab, d, 12, 2), COW_OUT_MOVED);
		assert_int_equal(seen(&lab, lab.p, 2).swapcount, 3);
		assert_true(seen(&lab, c, 3).swapped && seen(&lab, d, 13).swapped);
		assert_int_equal(out(&lab, c, 0, 1), COW_OUT_MOVED);
		assert_true(seen(&lab, d, 0).swapped && seen(&lab, lab.p, 0).swapped);
		assert_true(seen(&lab, lab.p, 1).present);
		assert_int_equal(drop(&lab, lab.p, 0, 4), COW_OUT_MOVED);
		assert_int_equal(drop(&lab, lab.p, 0, 4), COW_OUT_NONE);
		assert_false(seen(&lab, lab.p, 2).swapcache);

		/* They come back as one frame, wherever it is mapped. */
		assert_int_equal(reads(&lab, d, 12, 7), COW_OUT_SWAP_IN);
		assert_int_equal(reads(&lab, lab.p, 2, 7), COW_OUT_SWAP_IN);
		assert_int_equal(writes(&lab, c, 2, 8), COW_OUT_COPY);
		assert_int_equal(seen(&lab, d, 12).frame, seen(&lab, lab.p, 2).frame);
		assert_int_equal(out(&lab, lab.p, 2, 1), COW_OUT_MOVED);
		assert_true(seen(&lab, d, 12).swapped && seen(&lab, c, 2).present);
		assert_int_equal(cow_mm_exit(lab.m, lab.p), 0);
		checked(&lab);
		assert_int_equal(reads(&lab, d, 12, 7), COW_OUT_SWAP_IN);
		assert_int_equal(reads(&lab, c, 2, 8), COW_OUT_HIT);
		lab_end(&lab);
	}
}

/* Another CPU's batch is not drained, and its pages are not on the LRU list. */
static void batched_pages_cannot_be_isolated(void **state)
{
	struct lab lab;
	cow_mm c;

	(void)state;
	lab_init(&lab, "exclusive");
	lab.config.lru_batch = 4;
	lab_start(&lab);
	map(&lab, 1, 7);
	c = forked(&lab, lab.p);
	assert_int_equal(out(&lab, c, 0, 1), COW_OUT_REFUSED);
	assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_MOVED);
	assert_true(seen(&lab, c, 0).swapped);
	lab_end(&lab);
}

/* madvise free, and what reclaim makes of it. */
static void lazyfree_pages_are_dropped_while_clean(void **state)
{
	struct cow_page page;
	struct lab lab;
	cow_ref ref;
	cow_mm c;

	(void)state;
	lab_begin(&lab, "exclusive", 6, 7);
	out(&lab, lab.p, 0, 1);
	advised(&lab, 0, 5, COW_ADV_FREE);
	/* What was swapped is gone at once; the rest stays writable, clean and old. */
	assert_false(seen(&lab, lab.p, 0).present || seen(&lab, lab.p, 0).swapped);
	page = seen(&lab, lab.p, 1);
	assert_true(page.lazyfree && page.writable && !page.dirty && page.exclusive);
	assert_false(seen(&lab, lab.p, 5).lazyfree);
	assert_int_equal(writes(&lab, lab.p, 2, 8), COW_OUT_HIT);
	ref = taken(&lab, lab.p, 3, 0);
	assert_int_equal(out(&lab, lab.p, 1, 3), COW_OUT_REFUSED); /* for the reference */
	assert_int_equal(cow_ref_release(lab.m, ref), 0);
	ref = taken(&lab, lab.p, 3, COW_GUP_WRITE);
	assert_false(seen(&lab, lab.p, 1).present || seen(&lab, lab.p, 1).swapped);
	/* Written since: an ordinary page again, for the next round. */
	page = seen(&lab, lab.p, 2);
	assert_true(page.present && page.writable && !page.lazyfree);
	assert_int_equal(out(&lab, lab.p, 2, 1), COW_OUT_MOVED);
	assert_true(seen(&lab, lab.p, 2).swapped && seen(&lab, lab.p, 3).present);
	assert_int_equal(cow_ref_poke(lab.m, ref, 9), 0);
	assert_int_equal(cow_ref_release(lab.m, ref), 0);
	assert_int_equal(out(&lab, lab.p, 3, 1), COW_OUT_REFUSED); /* dirty itself */
	assert_int_equal(out(&lab, lab.p, 3, 1), COW_OUT_MOVED);
	assert_int_equal(count(&lab, COW_COUNT_DROPPED), 1);
	assert_int_equal(reads(&lab, lab.p, 1, 0), COW_OUT_ZERO);
	assert_int_equal(reads(&lab, lab.p, 2, 8), COW_OUT_SWAP_IN);
	assert_int_equal(reads(&lab, lab.p, 3, 9), COW_OUT_SWAP_IN);

	/* Shared by fork afterwards, it goes from both; shared before, from who gave it up, if that is
	 * the older mapping. */
	c = forked(&lab, lab.p);
	assert_int_equal(out(&lab, c, 4, 1), COW_OUT_MOVED);
	assert_int_equal(count(&lab, COW_COUNT_DROPPED), 2);
	assert_int_equal(reads(&lab, lab.p, 4, 0), COW_OUT_ZERO);
	assert_int_equal(reads(&lab, c, 4, 0), COW_OUT_ZERO);
	advised(&lab, 5, 1, COW_ADV_FREE);
	assert_true(seen(&lab, lab.p, 5).lazyfree && !seen(&lab, lab.p, 5).dirty);
	assert_true(seen(&lab, c, 5).lazyfree && seen(&lab, c, 5).dirty);
	assert_int_equal(out(&lab, c, 5, 1), COW_OUT_REFUSED);
	assert_false(seen(&lab, lab.p, 5).present || seen(&lab, c, 5).lazyfree);
	assert_int_equal(count(&lab, COW_COUNT_DROPPED), 2);
	assert_int_equal(reads(&lab, c, 5, 7), COW_OUT_HIT);
	/* What swap had is dirty when it leaves the swap cache, or in it: then it must not be shared. */
	writes(&lab, lab.p, 5, 7);
	assert_int_equal(cow_mm_exit(lab.m, c), 0);
	c = forked(&lab, lab.p);
	assert_int_equal(out(&lab, c, 5, 1), COW_OUT_MOVED);
	reads(&lab, c, 5, 7);
	reads(&lab, lab.p, 5, 7);
	advised(&lab, 5, 1, COW_ADV_FREE);
	assert_false(seen(&lab, lab.p, 5).lazyfree);
	writes(&lab, lab.p, 5, 7);
	/* A page in the swap cache leaves it first, which writeback forbids. */
	assert_int_equal(cow_mm_exit(lab.m, c), 0);
	assert_int_equal(begin_out(&lab, lab.p, 5), COW_OUT_MOVED);
	reads(&lab, lab.p, 5, 7);
	advised(&lab, 5, 1, COW_ADV_FREE);
	assert_false(seen(&lab, lab.p, 5).lazyfree);
	assert_int_equal(cow_writeback_done(lab.m), 0);
	advised(&lab, 5, 1, COW_ADV_FREE);
	assert_true(seen(&lab, lab.p, 5).lazyfree && !seen(&lab, lab.p, 5).swapcache);
	lab_end(&lab);
}

/* One that `mapped` processes map, and all but number `dirty` have freed.  Reclaim comes by it in the
 * middle one, and drops it from the oldest on, up to the dirty one. */
static void lazyfree_case(const char *policy, unsigned mapped, unsigned dirty)
{
	cow_mm mms[33];
	struct lab lab;

	lab_begin(&lab, policy, 1, 7);
	mms[0] = lab.p;
	for (unsigned n = 1; n < mapped; n++)
		mms[n] = forked(&lab, lab.p);
	for (unsigned n = 0; n < mapped; n++)
		if (n != dirty)
			assert_int_equal(cow_madvise(lab.m, mms[n], 0, 1, COW_ADV_FREE, NULL), 0);
	assert_int_equal(out(&lab, mms[mapped / 2], 0, 1),
			 mapped / 2 < dirty ? COW_OUT_MOVED : COW_OUT_REFUSED);
	for (unsigned n = 0; n < mapped; n++)
		assert_int_equal(seen(&lab, mms[n], 0).present, n >= dirty);
	assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), dirty < mapped);
	assert_int_equal(count(&lab, COW_COUNT_DROPPED), dirty >= mapped);
	if (dirty < mapped)
		assert_false(seen(&lab, mms[dirty], 0).lazyfree);
	lab_end(&lab);
}

/* 16 mappings are dropped a walk (RECLAIM_SEEN).  Where one is left for a walk of its own it is another
 * than that by which the page was found. */
static void lazyfree_pages_go_from_all(void **state)
{
	static const unsigned mapped[] = { 2, 3, 16, 17, 18, 33 };

	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned i = 0; i < sizeof(mapped) / sizeof(*mapped); i++) {
			lazyfree_case(homes[home], mapped[i], mapped[i]); /* none */
			lazyfree_case(homes[home], mapped[i], mapped[i] - 1);
			lazyfree_case(homes[home], mapped[i], mapped[i] / 2);
		}
}

/* Lazyfree pages of every home go without leaving a marker, or a table, behind. */
static void dropping_leaves_nothing_behind(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct lab lab;

		lab_begin(&lab, homes[home], 8, 7);
		out(&lab, lab.p, 0, 4);
		advised(&lab, 0, 8, COW_ADV_FREE);
		assert_int_equal(out(&lab, lab.p, 0, 8), COW_OUT_MOVED);
		assert_int_equal(count(&lab, COW_COUNT_FRAMES_USED), 0);
		assert_int_equal(count(&lab, COW_COUNT_TABLES), 0);
		assert_int_equal(count(&lab, COW_COUNT_SIDE_TABLES), 0);
		lab_end(&lab);
	}
}

/* madvise pageout leaves alone what others map. */
static void pageout_takes_what_is_mapped_once(void **state)
{
	struct cow_result result;
	struct lab lab;
	cow_mm c;

	(void)state;
	lab_begin(&lab, "exclusive", 3, 7);
	c = forked(&lab, lab.p);
	assert_int_equal(writes(&lab, lab.p, 0, 8), COW_OUT_COPY);
	assert_int_equal(cow_madvise(lab.m, lab.p, 0, 3, COW_ADV_PAGEOUT, &result), 0);
	checked(&lab);
	assert_int_equal(result.outcome, COW_OUT_REFUSED);
	assert_int_equal(result.counts[COW_OUT_MOVED], 1);
	assert_int_equal(result.counts[COW_OUT_REFUSED], 2);
	assert_true(seen(&lab, lab.p, 0).swapped && seen(&lab, lab.p, 0).swapcache);
	assert_true(seen(&lab, lab.p, 1).present);
	assert_int_equal(cow_mm_exit(lab.m, c), 0);
	advised(&lab, 0, 3, COW_ADV_PAGEOUT);
	assert_true(seen(&lab, lab.p, 1).swapped && seen(&lab, lab.p, 2).swapped);
	lab_end(&lab);
}

/* A page of a file is unmapped everywhere, and found again in the page cache. */
static void pages_of_objects_are_unmapped(void **state)
{
	struct lab lab;
	cow_file file;
	cow_mm c;

	(void)state;
	lab_init(&lab, "exclusive");
	lab_start(&lab);
	assert_int_equal(cow_file_create(lab.m, 2, 5, false, &file), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, 0, 2, COW_PROT_RW, 0, file, 0), 0);
	assert_int_equal(cow_mmap_file(lab.m, lab.p, at(&lab, 4), 2, COW_PROT_RW, COW_MAP_SHARED,
				       file, 0),
			 0);
	writes(&lab, lab.p, 1, 6); /* private now, and to be swapped */
	reads(&lab, lab.p, 0, 5);
	reads(&lab, lab.p, 4, 5);
	c = forked(&lab, lab.p);
	assert_int_equal(out(&lab, lab.p, 0, 2), COW_OUT_MOVED);
	assert_false(seen(&lab, lab.p, 0).present || seen(&lab, lab.p, 4).present);
	assert_true(seen(&lab, lab.p, 1).swapped && seen(&lab, c, 1).swapped);
	assert_int_equal(count(&lab, COW_COUNT_SWAP_OUTS), 1);
	assert_int_equal(reads(&lab, lab.p, 4, 5), COW_OUT_ALLOC);
	assert_int_equal(reads(&lab, c, 0, 5), COW_OUT_ALLOC);
	assert_int_equal(reads(&lab, c, 1, 6), COW_OUT_SWAP_IN);
	lab_end(&lab);
}

static void huge_pages_are_split_first(void **state)
{
	struct lab lab;
	cow_ref ref;
	cow_mm c;

	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		lab_init(&lab, homes[home]);
		lab_start(&lab);
		assert_int_equal(cow_mmap(lab.m, lab.p, 0, 16, COW_PROT_RW, COW_MAP_THP), 0);
		writes(&lab, lab.p, 0, 7);
		writes(&lab, lab.p, 8, 7);
		assert_true(seen(&lab, lab.p, 0).huge && seen(&lab, lab.p, 8).huge);
		c = forked(&lab, lab.p);
		/* A reference keeps it whole. */
		ref = taken(&lab, lab.p, 1, 0);
		assert_int_equal(out(&lab, lab.p, 0, 1), COW_OUT_REFUSED);
		assert_true(seen(&lab, lab.p, 0).huge);
		assert_int_equal(cow_ref_release(lab.m, ref), 0);
		assert_int_equal(out(&lab, c, 0, 1), COW_OUT_MOVED);
		assert_true(seen(&lab, lab.p, 0).swapped && seen(&lab, c, 0).swapped);
		assert_true(seen(&lab, lab.p, 1).present && !seen(&lab, lab.p, 1).huge);
		assert_int_equal(seen(&lab, lab.p, 1).order, 0);
		assert_int_equal(cow_mm_exit(lab.m, c), 0);

		/* Part of one is freed, all of it, and dropped. */
		advised(&lab, 8, 8, COW_ADV_FREE);
		assert_true(seen(&lab, lab.p, 8).huge && seen(&lab, lab.p, 15).lazyfree);
		for (uint64_t page = 8; page < 16; page++)
			writes(&lab, lab.p, page, 8); /* or it is the zero page after the split */
		/* The PMD is dirty again, and so are all PTEs that it is split into. */
		assert_int_equal(out(&lab, lab.p, 8, 8), COW_OUT_REFUSED);
		assert_true(seen(&lab, lab.p, 8).present && !seen(&lab, lab.p, 8).lazyfree);
		assert_int_equal(out(&lab, lab.p, 8, 8), COW_OUT_MOVED);
		assert_true(seen(&lab, lab.p, 8).swapped && seen(&lab, lab.p, 15).swapped);
		assert_int_equal(reads(&lab, lab.p, 15, 8), COW_OUT_SWAP_IN);
		lab_end(&lab);
	}
	lab_init(&lab, "exclusive");
	lab_start(&lab);
	assert_int_equal(cow_mmap(lab.m, lab.p, 0, 8, COW_PROT_RW, COW_MAP_THP), 0);
	for (uint64_t page = 0; page < 8; page++)
		writes(&lab, lab.p, page, 7);
	advised(&lab, 6, 2, COW_ADV_FREE);
	assert_false(seen(&lab, lab.p, 5).lazyfree || seen(&lab, lab.p, 5).huge);
	assert_true(seen(&lab, lab.p, 6).lazyfree);
	advised(&lab, 0, 8, COW_ADV_PAGEOUT);
	assert_true(seen(&lab, lab.p, 5).swapped && !seen(&lab, lab.p, 6).swapped);
	assert_int_equal(count(&lab, COW_COUNT_DROPPED), 2);
	lab_end(&lab);
}

#define SHARED_BY_TWO .refcount = 2, .mapcount = 2, .mapped_most = 2, .anon = 1, .pte_dirty = 1

/* What it is shown, and that it is not asked for ever. */
static void the_policy_is_shown_what_there_is(void **state)
{
	struct mocked k;
	cow_mm c;

	(void)state;
	mocked_init(&k);
	k.config.lru_batch = 4;
	mocked_start(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 1, COW_PROT_RW, 0), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, .refcount = 2, .mapcount = 1, .mapped_most = 1, .anon = 1,
	       .exclusive = 1, .in_batch = 1, .pte_write = 1, .pte_dirty = 1, RW);
	c = must_fork(&k, k.p);
	assert_int_equal(cow_mprotect(k.m, c, 0, 1, COW_PROT_READ), 0);
	/* Asked for each mapping, before the page is in the swap cache.  One refuses: all stays. */
	EXPECT(SWAP_OUT, ALLOW, SHARED_BY_TWO, RO);
	EXPECT(SWAP_OUT, REFUSE, SHARED_BY_TWO, RW);
	assert_int_equal(cow_swap_out(k.m, k.p, 0, 1, false, NULL), 0);
	assert_true(look(&k, k.p, 0).present && look(&k, c, 0).present);
	assert_false(look(&k, c, 0).swapcache);
	EXPECT(SWAP_OUT, ALLOW, SHARED_BY_TWO, RO);
	EXPECT(SWAP_OUT, ALLOW, SHARED_BY_TWO, RW);
	assert_int_equal(cow_swap_out(k.m, k.p, 0, 1, true, NULL), 0);
	assert_true(look(&k, k.p, 0).swapped && look(&k, c, 0).swapped);

	/* The reference that becomes the mapping's is counted, and the entry no more. */
	EXPECT(SWAP_IN, FREE_SWAP, .refcount = 2, .anon = 1, .swapcount = 1, .swapcache = 1,
	       .writeback = 1, .req_write = 1, RW);
	EXPECT(SWAP_IN, FREE_SWAP, .refcount = 2, .anon = 1, .swapcount = 1, .swapcache = 1,
	       .writeback = 1, .req_write = 1, .swap_freed = 1, RW);
	EXPECT(WRITE, COPY, .refcount = 2, .mapcount = 1, .mapped_most = 1, .anon = 1,
	       .swapcount = 1, .swapcache = 1, .writeback = 1, .req_write = 1, RW);
	must_write(&k, k.p, 0, 8, COW_OUT_COPY);
	assert_int_equal(cow_writeback_done(k.m), 0);

	/* Read from the slot, it is in the cache and in a batch; both can be got rid of. */
	assert_int_equal(cow_mprotect(k.m, c, 0, 1, COW_PROT_RW), 0);
	assert_int_equal(cow_swap_drop(k.m, c, 0, 1, NULL), 0);
	EXPECT(SWAP_IN, DRAIN_LRU, .refcount = 3, .anon = 1, .swapcache = 1, .in_batch = 1,
	       .req_write = 1, RW);
	EXPECT(SWAP_IN, FREE_SWAP, .refcount = 2, .anon = 1, .swapcache = 1, .drained = 1,
	       .req_write = 1, RW);
	EXPECT(SWAP_IN, WRITABLE, .refcount = 1, .anon = 1, .drained = 1, .swap_freed = 1,
	       .req_write = 1, RW);
	must_write(&k, c, 0, 9, COW_OUT_SWAP_IN);
	assert_true(look(&k, c, 0).exclusive && look(&k, c, 0).dirty && !look(&k, c, 0).swapcache);
	assert_int_equal(counter(&k, COW_COUNT_SWAP_INS), 2);
	mocked_end(&k);
}

/* Two pages that look alike: one answer does for both, and each costs its locks. */
static void an_answer_is_kept_and_counted(void **state)
{
	struct mocked k;

	(void)state;
	mocked_begin(&k);
	assert_int_equal(cow_mmap(k.m, k.p, 0, 2, COW_PROT_RW, 0), 0);
	must_write(&k, k.p, 0, 7, COW_OUT_ALLOC);
	must_write(&k, k.p, PAGE, 8, COW_OUT_ALLOC);
	EXPECT(SWAP_OUT, ALLOW, OWN, RW, .pte_write = 1);
	assert_int_equal(cow_swap_out(k.m, k.p, 0, 2, false, NULL), 0);
	assert_true(look(&k, k.p, PAGE).swapped);
	assert_int_equal(counter(&k, COW_COUNT_PAGE_LOCKS), 2 * MOCKED_LOCKS);
	mocked_end(&k);
}

/* ---- the hot ways ---- */

static int looks_on(void *ctx, const struct cow_op *op)
{
	(void)ctx;
	(void)op;
	return 0;
}

/* Two machines that should be one: `watched` has an observer, so that no page of it goes a hot way. */
struct twins {
	struct lab lab;
	cow_machine *watched;
};

static void twins_are_one(const struct twins *t)
{
	assert_true(cow_machine_equal(t->lab.m, t->watched));
	for (unsigned id = 0; id < COW_COUNTER_COUNT; id++)
		assert_int_equal(cow_machine_counter(t->lab.m, id),
				 cow_machine_counter(t->watched, id));
	checked(&t->lab);
}

/* Does it to both: 0 and 1 are a swap-out (and its writeback), 2 a drop, 3 a reclaim, 4 a read. */
static void do_both(struct twins *t, unsigned what, unsigned page, unsigned pages)
{
	struct cow_result one[2], two[2];
	uint64_t addr = at(&t->lab, page);
	cow_machine *machines[2] = { t->lab.m, t->watched };

	memset(two, 0, sizeof(two));
	for (unsigned i = 0; i < 2; i++) {
		cow_machine *m = machines[i];
		int error;

		if (what == 4)
			error = cow_read_range(m, t->lab.p, addr, pages, NULL, &one[i]);
		else if (what == 3)
			error = cow_reclaim(m, t->lab.p, addr, pages, &one[i], &two[i]);
		else if (what == 2)
			error = cow_swap_drop(m, t->lab.p, addr, pages, &one[i]);
		else
			error = cow_swap_out(m, t->lab.p, addr, pages, what, &one[i]);
		assert_int_equal(error, 0);
	}
	assert_int_equal(one[0].outcome, one[1].outcome);
	assert_memory_equal(one[0].counts, one[1].counts, sizeof(one[0].counts));
	assert_int_equal(one[0].done, one[1].done);
	assert_int_equal(two[0].outcome, two[1].outcome);
	assert_memory_equal(two[0].counts, two[1].counts, sizeof(two[0].counts));
	twins_are_one(t);
}

/* Pages 0-7 own, 8-11 shared with a child, 12 pinned, 13 in the cache and clean, 14 in the cache and
 * dirty, 15 shared with a child that has exited. */
static void twins_begin(struct twins *t, const char *policy, uint64_t slots)
{
	struct cow_observer observer = { .size = sizeof(observer), .before = looks_on };
	cow_mm child;

	lab_init(&t->lab, policy);
	t->lab.config.swap = slots;
	lab_start(&t->lab);
	map(&t->lab, 16, 7);
	child = forked(&t->lab, t->lab.p);
	assert_int_equal(cow_mm_exit(t->lab.m, child), 0);
	for (unsigned page = 0; page < 15; page++)
		writes(&t->lab, t->lab.p, page, 10 + page);
	child = forked(&t->lab, t->lab.p);
	assert_int_equal(cow_munmap(t->lab.m, child, at(&t->lab, 0), 8), 0);
	assert_int_equal(cow_munmap(t->lab.m, child, at(&t->lab, 12), 4), 0);
	for (unsigned page = 0; page < 8; page += 2)
		writes(&t->lab, t->lab.p, page, 20 + page);
	taken(&t->lab, t->lab.p, 12, COW_GUP_PIN);
	out(&t->lab, t->lab.p, 13, 2);
	reads(&t->lab, t->lab.p, 13, 23);
	writes(&t->lab, t->lab.p, 14, 30);
	assert_int_equal(cow_machine_clone(t->lab.m, &t->watched), 0);
	assert_int_equal(cow_machine_observe(t->watched, &observer), 0);
	twins_are_one(t);
}

static void the_hot_way_comes_to_the_same(void **state)
{
	static const uint64_t slots[] = { 64, 6 };

	(void)state;
	for (unsigned i = 0; i < 2 * ERAS; i++)
		for (unsigned single = 0; single < 2; single++) {
			struct twins t;

			twins_begin(&t, every_era[i / 2], slots[i % 2]);
			for (unsigned round = 0; round < 3; round++)
				for (unsigned what = 0; what <= 4; what++)
					for (unsigned page = 0; page < 16; page += single ? 1 : 16)
						do_both(&t, what, page, single ? 1 : 16);
			cow_machine_destroy(t.watched);
			lab_end(&t.lab);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_kept_and_counted),
		cmocka_unit_test(pinned_pages_stay_where_the_era_says),
		cmocka_unit_test(writeback_and_stable_writes),
		cmocka_unit_test(clean_pages_are_not_written_again),
		cmocka_unit_test(slots_run_out),
		cmocka_unit_test(swap_out_reaches_every_mapping),
		cmocka_unit_test(batched_pages_cannot_be_isolated),
		cmocka_unit_test(lazyfree_pages_are_dropped_while_clean),
		cmocka_unit_test(lazyfree_pages_go_from_all),
		cmocka_unit_test(dropping_leaves_nothing_behind),
		cmocka_unit_test(pageout_takes_what_is_mapped_once),
		cmocka_unit_test(pages_of_objects_are_unmapped),
		cmocka_unit_test(huge_pages_are_split_first),
		cmocka_unit_test(the_policy_is_shown_what_there_is),
		cmocka_unit_test(the_hot_way_comes_to_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
