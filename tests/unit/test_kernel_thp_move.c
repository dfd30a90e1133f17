/* SPDX-License-Identifier: MIT
 *
 * What the running kernel corrected of huge pages: the huge zero page where nothing is advised,
 * UFFDIO_MOVE of a page of a large folio, mremap of a protected PMD, pageout of a whole huge page of
 * madvise free.  In every home of the marker, where there is one.
 *
 *   page   0 . . . . . . 7 |   ...   | 32 . . . . . |   "tiny": a PMD maps 8 pages
 *          thp             |         | moved to     |
 */
#include "mocked.h"

#include <errno.h>

#include "world.h"

static const char *const homes[] = { "exclusive", "pte-exclusive", "exclusive,marker=adjacent",
				     "exclusive,marker=extra" };

enum { HOMES = sizeof(homes) / sizeof(*homes), HUGE = 8, TO = 32 };

struct place {
	cow_machine *m;
	cow_policies *list;
	cow_mm p;
};

static void checked(const struct place *at)
{
	struct cow_error error;

	if (cow_machine_check(at->m, &error))
		fail_msg("%s: %s", cow_machine_policy(at->m)->name, error.sentence);
}

/* A process with huge pages of `order` (0: a PMD's), and 16 pages to move to. */
static void begin_with(struct place *at, const char *policy, unsigned order, uint64_t frames)
{
	at->m = machine_new("tiny", policy_parse(policy, &at->list), frames, 0);
	assert_non_null(at->m);
	assert_int_equal(cow_mm_create(at->m, &at->p), 0);
	assert_int_equal(cow_mmap(at->m, at->p, 0, HUGE, COW_PROT_RW,
				  COW_MAP_THP | COW_MAP_ORDER(order)), 0);
	assert_int_equal(cow_mmap(at->m, at->p, TO * PAGE, 2 * HUGE, COW_PROT_RW, 0), 0);
}

static void begin(struct place *at, const char *policy, unsigned order)
{
	begin_with(at, policy, order, 64);
}

static void fill(const struct place *at)
{
	for (unsigned page = 0; page < HUGE; page++)
		assert_int_equal(cow_write(at->m, at->p, page * PAGE, 100 + page, NULL), 0);
	checked(at);
}

static void end(struct place *at)
{
	checked(at);
	cow_machine_destroy(at->m);
	cow_policies_free(at->list);
}

static struct cow_page seen(const struct place *at, cow_mm mm, unsigned page)
{
	struct cow_page page_seen;

	assert_int_equal(cow_page_look(at->m, mm, page * PAGE, &page_seen), 0);
	return page_seen;
}

static enum cow_outcome writes(const struct place *at, cow_mm mm, unsigned page, uint64_t value)
{
	enum cow_outcome outcome;

	cow_write(at->m, mm, page * PAGE, value, &outcome);
	checked(at);
	return outcome;
}

static int moves(const struct place *at, unsigned page, unsigned pages)
{
	int error = cow_uffd_move(at->m, at->p, page * PAGE, pages, (TO + page) * PAGE, NULL);

	checked(at);
	return error;
}

static uint64_t count(const struct place *at, enum cow_counter id)
{
	return cow_machine_counter(at->m, id);
}

/* ---- the huge zero page ---- */

/* v6.13+: do_huge_zero_wp_pmd asks for no advice; v4.19 does; v5.8 to v6.12 split. */
static void huge_zero_page_without_advice(void **state)
{
	static const struct {
		const char *policy;
		bool huge;
	} eras[] = {
		{ "page-count-2.6", false },		 { "mapcount", false },
		{ "page-count", false },		 { "exclusive-6.2", false },
		{ "exclusive", true },			 { "pte-exclusive", true },
		{ "exclusive-6.2,pmd=exclusive", true }, { "exclusive,pmd=mapcount", false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(eras) / sizeof(*eras); i++) {
		struct place at;

		begin(&at, eras[i].policy, 0);
		assert_int_equal(cow_read(at.m, at.p, 0, NULL, NULL), 0);
		assert_int_equal(cow_madvise(at.m, at.p, 0, HUGE, COW_ADV_NOHUGEPAGE, NULL), 0);
		assert_true(seen(&at, at.p, 3).huge && seen(&at, at.p, 3).zero);
		assert_int_equal(writes(&at, at.p, 3, 7), COW_OUT_COPY);
		assert_int_equal(seen(&at, at.p, 3).huge, eras[i].huge);
		assert_int_equal(seen(&at, at.p, 2).zero, !eras[i].huge);
		assert_int_equal(count(&at, COW_COUNT_FRAMES_USED), eras[i].huge ? HUGE : 1);
		assert_int_equal(seen(&at, at.p, 3).value, 7);
		end(&at);
	}
}

/* Moved whole to where nothing was advised ever; without the frames it is split. */
static void huge_zero_page_moves(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (int room = 0; room < 2; room++) {
			struct place at;

			begin_with(&at, homes[home], 0, room ? HUGE : HUGE - 1);
			assert_int_equal(cow_read(at.m, at.p, 0, NULL, NULL), 0);
			assert_int_equal(moves(&at, 0, HUGE), 0);
			assert_true(seen(&at, at.p, TO + 2).huge && seen(&at, at.p, TO + 2).zero);
			assert_int_equal(cow_write_range(at.m, at.p, (TO + 2) * PAGE, 2, 9, NULL), 0);
			assert_int_equal(seen(&at, at.p, TO + 2).huge, room);
			assert_int_equal(count(&at, COW_COUNT_FRAMES_USED), room ? HUGE : 2);
			end(&at);
		}
}

/* ---- UFFDIO_MOVE ---- */

/* The first page decides for all: it was shared and is the process's no more, so that a page which is
 * its own cannot move. */
static void first_page_shared_refuses_all(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned order = 0; order <= 2; order += 2) {
			struct place at;
			cow_mm child;

			begin(&at, homes[home], order);
			fill(&at);
			assert_int_equal(cow_fork(at.m, at.p, NULL, &child), 0);
			assert_int_equal(writes(&at, at.p, 0, 7), COW_OUT_COPY);
			assert_int_equal(cow_mm_exit(at.m, child), 0);
			assert_int_equal(writes(&at, at.p, 3, 7), COW_OUT_REUSE);
			assert_true(seen(&at, at.p, 3).exclusive);
			assert_int_equal(moves(&at, 3, 1), -EBUSY);
			assert_true(seen(&at, at.p, 3).order);
			assert_false(seen(&at, at.p, TO + 3).present);
			end(&at);
		}
}

/* The first page was the process's own when it was unmapped, and still counts as that. */
static void first_page_unmapped_allows(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned order = 0; order <= 2; order += 2) {
			struct place at;

			begin(&at, homes[home], order);
			fill(&at);
			assert_int_equal(cow_munmap(at.m, at.p, 0, 1), 0);
			assert_int_equal(moves(&at, 3, 1), 0);
			assert_int_equal(seen(&at, at.p, TO + 3).value, 103);
			assert_int_equal(seen(&at, at.p, TO + 3).order, 0);
			end(&at);
		}
}

/* A sharer's PMD was split, and the sharer is gone: whose PMD is made exclusive after that owns the first page
 * too. */
static void first_page_owned_again(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct place at;
		cow_mm child;

		begin(&at, homes[home], 0);
		fill(&at);
		assert_int_equal(cow_fork(at.m, at.p, NULL, &child), 0);
		assert_int_equal(cow_split(at.m, child, 0, 1, NULL), 0);
		assert_int_equal(cow_mm_exit(at.m, child), 0);
		assert_int_equal(writes(&at, at.p, 1, 7), COW_OUT_REUSE);
		assert_true(seen(&at, at.p, 0).huge);
		assert_int_equal(cow_split(at.m, at.p, 0, 1, NULL), 0);
		assert_false(seen(&at, at.p, 0).huge);
		assert_int_equal(moves(&at, 5, 1), 0);
		assert_int_equal(seen(&at, at.p, TO + 5).value, 105);
		end(&at);
	}
}

/* It is the process's own and the page is not: the folio is split, and then the page is asked. */
static void first_page_own_splits(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++) {
		struct place at;
		cow_mm child;

		begin(&at, homes[home], 0);
		for (unsigned page = 0; page < 3; page++)
			assert_int_equal(cow_write(at.m, at.p, page * PAGE, 1, NULL), 0);
		assert_int_equal(cow_fork(at.m, at.p, NULL, &child), 0);
		assert_int_equal(cow_mm_exit(at.m, child), 0);
		assert_int_equal(cow_split(at.m, at.p, 0, HUGE, NULL), 0);
		assert_int_equal(moves(&at, 2, 1), -EBUSY);
		assert_true(seen(&at, at.p, 2).order); /* the first page is not exclusive either */
		assert_int_equal(writes(&at, at.p, 0, 7), COW_OUT_REUSE);
		assert_int_equal(moves(&at, 2, 1), -EBUSY);
		assert_int_equal(seen(&at, at.p, 2).order, 0);
		/* Of zeroes the split leaves the zero page, which anybody may move. */
		assert_true(seen(&at, at.p, 5).zero);
		assert_int_equal(moves(&at, 5, 1), 0);
		assert_true(seen(&at, at.p, TO + 5).zero);
		end(&at);
	}
}

/* Migration marks what is mapped, and the first page is not. */
static void first_page_lost_by_migration(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned first = 0; first < 2; first++) {
			struct place at;

			begin(&at, homes[home], 0);
			fill(&at);
			assert_int_equal(cow_munmap(at.m, at.p, first * PAGE, 1), 0);
			assert_int_equal(cow_migrate(at.m, at.p, 2 * PAGE, 1, NULL), 0);
			assert_int_equal(moves(&at, 3, 1), first ? 0 : -EBUSY);
			end(&at);
		}
}

/* A pin anywhere keeps the folio whole, so that no page of it moves; of a PMD it is seen after the split. */
static void pinned_part_refuses_the_others(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned kind = 0; kind < 2; kind++) {
			struct place at;
			cow_ref ref;

			begin(&at, homes[home], 0);
			fill(&at);
			assert_int_equal(cow_gup(at.m, at.p, 5 * PAGE, 1, kind ? COW_GUP_PIN : 0u, 1,
						 NULL, &ref), 0);
			assert_int_equal(moves(&at, 3, 1), -EBUSY);
			assert_false(seen(&at, at.p, 3).huge);
			assert_true(seen(&at, at.p, 3).order && seen(&at, at.p, 3).exclusive);
			assert_int_equal(count(&at, COW_COUNT_FOLIO_SPLITS), 0);
			assert_int_equal(cow_ref_release(at.m, ref), 0);
			assert_int_equal(moves(&at, 3, 1), 0);
			assert_int_equal(seen(&at, at.p, TO + 3).value, 103);
			assert_int_equal(count(&at, COW_COUNT_FOLIO_SPLITS), 1);
			end(&at);
		}
}

/* ---- mremap ---- */

/* move_huge_pmd: the mark stays behind, as that of a PTE does. */
static void mremap_leaves_the_mark_of_a_pmd(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned to = 48; to < 50; to++) {
			struct place at;

			begin(&at, homes[home], 0);
			fill(&at);
			assert_int_equal(cow_uffd_wp(at.m, at.p, 0, HUGE, true), 0);
			assert_true(seen(&at, at.p, 3).uffd_wp);
			assert_int_equal(cow_mremap(at.m, at.p, 0, HUGE, to * PAGE), 0);
			checked(&at);
			assert_int_equal(seen(&at, at.p, to + 3).huge, to == 48);
			assert_false(seen(&at, at.p, to + 3).uffd_wp);
			assert_true(seen(&at, at.p, to + 3).exclusive);
			assert_int_equal(writes(&at, at.p, to + 3, 7), COW_OUT_REUSE);
			end(&at);
		}
}

/* ---- pageout of a huge page of madvise free ---- */

/* try_to_unmap_one drops it page by page and nobody splits the folio, so none of its zeroes becomes the
 * zero page; of a part, split_folio makes base pages first. */
static void pageout_drops_a_whole_huge_page(void **state)
{
	(void)state;
	for (unsigned home = 0; home < HOMES; home++)
		for (unsigned left = 0; left < 2; left++) {
			struct cow_result result;
			struct place at;

			begin(&at, homes[home], 0);
			assert_int_equal(cow_write(at.m, at.p, 0, 7, NULL), 0); /* the rest is zeroes */
			assert_int_equal(cow_madvise(at.m, at.p, 0, HUGE, COW_ADV_FREE, NULL), 0);
			assert_true(seen(&at, at.p, 3).huge && seen(&at, at.p, 3).lazyfree);
			assert_int_equal(cow_madvise(at.m, at.p, 0, HUGE - left, COW_ADV_PAGEOUT,
						     &result), 0);
			checked(&at);
			assert_int_equal(result.counts[COW_OUT_MOVED], left ? 1 : HUGE);
			assert_int_equal(seen(&at, at.p, 3).present, left);
			assert_int_equal(seen(&at, at.p, 3).zero, left);
			assert_int_equal(count(&at, COW_COUNT_FRAMES_USED), 0);
			assert_int_equal(count(&at, COW_COUNT_SWAP_OUTS), 0);
			end(&at);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(huge_zero_page_without_advice),
		cmocka_unit_test(huge_zero_page_moves),
		cmocka_unit_test(first_page_shared_refuses_all),
		cmocka_unit_test(first_page_unmapped_allows),
		cmocka_unit_test(first_page_owned_again),
		cmocka_unit_test(first_page_own_splits),
		cmocka_unit_test(first_page_lost_by_migration),
		cmocka_unit_test(pinned_part_refuses_the_others),
		cmocka_unit_test(mremap_leaves_the_mark_of_a_pmd),
		cmocka_unit_test(pageout_drops_a_whole_huge_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
