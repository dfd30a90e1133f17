/* SPDX-License-Identifier: MIT
 *
 * anon_vmas: how they multiply with fork, when one is taken over, that they go in any order, and
 * that the reverse map finds exactly the PTEs that a scan of all page tables finds.
 *
 *       0       4
 *   P  |p p p p|     an anon of its own:  a1
 *   C  |p p p p|     forked from P:       a2, a1
 *   G  |p p p p|     forked from C:       a3, a2, a1
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/anon.h"
#include "machine/frame.h"
#include "world.h"

#include <errno.h>

static void holds(const cow_machine *m)
{
	struct cow_error error;

	if (cow_machine_check(m, &error))
		fail_msg("%s", error.sentence);
}

static cow_machine *machine_with_pages(cow_mm *p)
{
	cow_machine *m = machine_new("tiny", NULL, 4096, 0);

	assert_int_equal(cow_mm_create(m, p), 0);
	assert_int_equal(cow_mmap(m, *p, 0, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(m, *p, 0, 4, 1, NULL), 0);
	return m;
}

static cow_mm child_of(cow_machine *m, cow_mm parent)
{
	cow_mm child;

	assert_int_equal(cow_fork(m, parent, NULL, &child), 0);
	return child;
}

static uint32_t first_vma(const cow_machine *m, cow_mm mm)
{
	return mm_at(m, mm.index)->vma_first;
}

static uint32_t anon_of(const cow_machine *m, cow_mm mm)
{
	return vma_at(m, first_vma(m, mm))->anon;
}

static void a_chain_of_forks_makes_a_chain_of_anons(void **state)
{
	enum { LONG = 12 };
	cow_mm mms[LONG];
	cow_machine *m = machine_with_pages(&mms[0]);

	(void)state;
	for (unsigned i = 1; i < LONG; i++)
		mms[i] = child_of(m, mms[i - 1]);
	for (unsigned i = 0; i < LONG; i++) {
		uint32_t anon = anon_of(m, mms[i]);

		assert_int_equal(anon_chain_length(m, first_vma(m, mms[i])), i + 1);
		assert_int_equal(anon_at(m, anon)->parent, i ? anon_of(m, mms[i - 1]) : 0);
		assert_int_equal(anon_at(m, anon)->vmas, 1);
		/* A root counts itself among its children. */
		assert_int_equal(anon_at(m, anon)->children, (i == 0) + (i + 1 < LONG));
	}
	assert_int_equal(m->pools[POOL_ANON].live, LONG);
	assert_int_equal(m->pools[POOL_AVC].live, LONG * (LONG + 1) / 2);
	holds(m);
	cow_machine_destroy(m);
}

/* v6.1+: an anon that lost its VMA and has one child at most is taken over by the next child. */
static void an_orphan_is_taken_over(void **state)
{
	cow_mm p, c, g, h;
	cow_machine *m = machine_with_pages(&p);
	uint32_t root, orphan;

	(void)state;
	c = child_of(m, p);
	g = child_of(m, c);
	root = anon_of(m, p);
	orphan = anon_of(m, c);
	assert_int_equal(anon_at(m, orphan)->children, 1);
	assert_int_equal(cow_mm_exit(m, c), 0);
	assert_int_equal(anon_at(m, orphan)->vmas, 0);
	h = child_of(m, g);
	assert_int_equal(anon_of(m, h), orphan);
	assert_int_equal(anon_at(m, orphan)->vmas, 1);
	assert_int_equal(anon_chain_length(m, first_vma(m, h)), 3);
	holds(m);
	/* A root that lost its VMA counts itself and its child, and so is no orphan. */
	assert_int_equal(cow_mm_exit(m, p), 0);
	assert_int_equal(anon_at(m, root)->vmas, 0);
	p = child_of(m, h);
	assert_int_not_equal(anon_of(m, p), root);
	holds(m);
	cow_machine_destroy(m);
}

/* Forking and exiting for ever needs no more anons than a few. */
static void a_daemon_that_forks_and_exits_does_not_grow(void **state)
{
	cow_mm p;
	cow_machine *m = machine_with_pages(&p);

	(void)state;
	for (unsigned i = 0; i < rounds(2000); i++) {
		cow_mm c = child_of(m, p);

		assert_int_equal(cow_mm_exit(m, p), 0);
		p = c;
		assert_true(m->pools[POOL_ANON].live <= 4);
	}
	holds(m);
	cow_machine_destroy(m);
}

/*       0   1   2   3   4
 *   P  |p c g h| in each order of exits, with a write of each before */
static void they_go_in_any_order(void **state)
{
	enum { FAMILY = 5 };

	(void)state;
	for (unsigned shape = 0; shape < 3; shape++) /* a chain, a brood, and both */
		for (unsigned order = 0; order < 120; order++) {
			cow_mm mms[FAMILY];
			cow_machine *m = machine_with_pages(&mms[0]);
			unsigned code = order;

			for (unsigned i = 1; i < FAMILY; i++) {
				unsigned parent = shape == 0 ? i - 1 : shape == 1 ? 0 : (i - 1) / 2;

				mms[i] = child_of(m, mms[parent]);
				assert_int_equal(
					cow_write(m, mms[i], (uint64_t)(i % 4) << 12, i, NULL), 0);
			}
			for (unsigned left = FAMILY; left; left--) {
				unsigned pick = code % left;

				code /= left;
				assert_int_equal(cow_mm_exit(m, mms[pick]), 0);
				mms[pick] = mms[left - 1];
				holds(m);
			}
			assert_int_equal(m->pools[POOL_ANON].live, 0);
			assert_int_equal(m->pools[POOL_AVC].live, 0);
			assert_int_equal(m->pools[POOL_VMA].live, 0);
			assert_int_equal(cow_machine_counter(m, COW_COUNT_FRAMES_USED), 0);
			cow_machine_destroy(m);
		}
}

/*
 * find_mergeable_anon_vma: who is next to an anon shares it, so that the two may merge one day.
 *
 *       8    12    16
 *   P  |rw a1| ro  |     one apart, of other flags, or of a forked neighbour: an anon of its own
 */
static void a_neighbour_shares_its_anon(void **state)
{
	enum { ALIKE, GAP, SHIFTED, MARKED_DONTFORK, MARKED_WRITE_REF, OF_A_FORK, CASES };

	(void)state;
	for (int which = 0; which < 2 * CASES; which++) {
		bool upper_first = which >= CASES;
		int what = which % CASES;
		uint64_t gap = what == GAP, shift = what == SHIFTED;
		uint32_t flags = VMA_READ | VMA_ACCOUNT, low, high;
		cow_mm p, c;
		cow_machine *m = machine_with_pages(&p);

		c = child_of(m, p);
		flags |= what == MARKED_DONTFORK ? VMA_DONTCOPY : 0;
		flags |= what == MARKED_WRITE_REF ? VMA_HAD_WRITE_REF : 0;
		assert_int_equal(machine_reserve(m, POOL_VMA, 2), 0);
		assert_int_equal(machine_reserve(m, POOL_ANON, 2), 0);
		assert_int_equal(machine_reserve(m, POOL_AVC, 8), 0);
		low = pool_take(&m->pools[POOL_VMA]);
		high = pool_take(&m->pools[POOL_VMA]);
		*vma_at(m, low) = (struct vma){ .start = 8, .end = 12, .pgoff = 8, .mm = c.index,
						.flags = VMA_READ | VMA_WRITE | VMA_ACCOUNT };
		*vma_at(m, high) = (struct vma){ .start = 12 + gap, .end = 16, .mm = c.index,
						 .pgoff = 12 + gap + shift, .flags = flags };
		vma_link(m, low);
		vma_link(m, high);
		if (what == OF_A_FORK)
			anon_fork(m, upper_first ? high : low, first_vma(m, p));
		else
			anon_make(m, upper_first ? high : low);
		anon_make(m, upper_first ? low : high);
		assert_int_equal(vma_at(m, low)->anon == vma_at(m, high)->anon,
				 what == ALIKE || what == MARKED_WRITE_REF);
		assert_int_equal(anon_at(m, vma_at(m, low)->anon)->vmas,
				 what == ALIKE || what == MARKED_WRITE_REF ? 2 : 1);
		holds(m);
		cow_machine_destroy(m);
	}
}

/* ------------------------------------------------------------------ the reverse map */

struct place {
	uint32_t process;
	uint64_t addr;
};

struct places {
	struct place at[WORLD_MMS * WORLD_PAGES];
	unsigned count;
};

static int found(void *ctx, cow_mm mm, uint64_t addr)
{
	struct places *places = ctx;

	for (unsigned i = 0; i < places->count; i++) /* each PTE once */
		assert_false(places->at[i].process == mm.generation && places->at[i].addr == addr);
	places->at[places->count++] = (struct place){ mm.generation, addr };
	return 0;
}

/* Scans everything for a frame, and compares. */
static void compare_walk(const struct world *world, uint32_t frame)
{
	struct places walked = { .count = 0 };
	unsigned scanned = 0;

	assert_int_equal(cow_rmap_walk(world->m, frame, found, &walked), 0);
	for (unsigned mm = 0; mm < world->mm_count; mm++)
		for (unsigned page = 0; page < WORLD_PAGES; page++) {
			uint64_t addr = world_addr(world, page);
			struct cow_page look;
			bool hit = false;

			assert_int_equal(cow_page_look(world->m, world->mms[mm], addr, &look), 0);
			if (!look.present || look.frame != frame)
				continue;
			scanned++;
			for (unsigned i = 0; i < walked.count; i++)
				hit |= walked.at[i].process == world->mms[mm].generation &&
				       walked.at[i].addr == addr;
			assert_true(hit);
			assert_true(look.anon);
		}
	assert_int_equal(scanned, walked.count);
	assert_int_equal(frame_at(world->m, frame)->mapcount, scanned);
}

static void the_walk_finds_what_a_scan_finds(void **state)
{
	static const char *const names[] = { "exclusive", "page-count", "mapcount-unshare",
					     "exclusive,marker=extra" };

	(void)state;
	for (uint64_t seed = 1; seed <= rounds(60); seed++) {
		cow_policies *list;
		const struct cow_policy *policy = policy_parse(names[seed % 4], &list);
		cow_machine *m = machine_new(seed % 5 ? "tiny" : "x86-64", policy, 4096, 0);
		struct rng rng = { seed };
		struct world world;

		assert_int_equal(world_init(&world, m), 0);
		for (unsigned i = 0; i < 300; i++) {
			struct step step;
			struct said said;

			step_random(&rng, &step);
			if (!world_can(&world, &step))
				continue;
			world_step(&world, &step, &said);
			if (i % 10)
				continue;
			for (uint32_t frame = 1; frame < m->pools[POOL_FRAME].used; frame++)
				if (frame_at(m, frame)->flags & FRAME_ANON)
					compare_walk(&world, frame);
			holds(m);
		}
		world_end(&world);
		assert_int_equal(m->pools[POOL_ANON].live, 0);
		assert_int_equal(m->pools[POOL_AVC].live, 0);
		cow_machine_destroy(m);
		cow_policies_free(list);
	}
}

static int stop_at_once(void *ctx, cow_mm mm, uint64_t addr)
{
	(void)mm;
	(void)addr;
	++*(unsigned *)ctx;
	return -EINTR;
}

static void the_walk_stops_when_told(void **state)
{
	cow_mm p;
	cow_machine *m = machine_with_pages(&p);
	struct cow_page look;
	unsigned visits = 0;

	(void)state;
	child_of(m, p);
	assert_int_equal(cow_page_look(m, p, 0, &look), 0);
	assert_int_equal(look.mapcount, 2);
	assert_int_equal(cow_rmap_walk(m, look.frame, stop_at_once, &visits), -EINTR);
	assert_int_equal(visits, 1);
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_of_forks_makes_a_chain_of_anons),
		cmocka_unit_test(an_orphan_is_taken_over),
		cmocka_unit_test(a_daemon_that_forks_and_exits_does_not_grow),
		cmocka_unit_test(they_go_in_any_order),
		cmocka_unit_test(a_neighbour_shares_its_anon),
		cmocka_unit_test(the_walk_finds_what_a_scan_finds),
		cmocka_unit_test(the_walk_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
