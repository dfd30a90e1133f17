/* SPDX-License-Identifier: MIT
 *
 * VMAs: splitting at every page, merging over the product of what may hinder it, finding against a
 * naive search, and the depth of the tree.  The debug check proves after each that tree and list
 * agree and that every anon knows its VMAs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/anon.h"
#include "world.h"

static void holds(const cow_machine *m)
{
	struct cow_error error;

	if (cow_machine_check(m, &error))
		fail_msg("%s", error.sentence);
}

static cow_machine *machine_with(const char *geometry, cow_mm *mm)
{
	cow_machine *m = machine_new(geometry, NULL, 1 << 16, 0);

	assert_non_null(m);
	assert_int_equal(cow_mm_create(m, mm), 0);
	return m;
}

/* A VMA by hand, in the tree; its offset is `pgoff`. */
static uint32_t place(cow_machine *m, uint32_t mm, uint64_t start, uint64_t end, uint32_t flags,
		      uint64_t pgoff)
{
	uint32_t index;

	assert_int_equal(machine_reserve(m, POOL_VMA, 2), 0);
	assert_int_equal(machine_reserve(m, POOL_ANON, 2), 0);
	assert_int_equal(machine_reserve(m, POOL_AVC, 16), 0);
	index = pool_take(&m->pools[POOL_VMA]);
	*vma_at(m, index) = (struct vma){ .start = start, .end = end, .pgoff = pgoff,
					  .flags = flags, .mm = mm };
	vma_link(m, index);
	return index;
}

/*
 *       0        page      8
 *   P  |--lower--|--upper--|    for each page and kind of VMA
 */
static void split_at_each_page_and_merge_again(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) /* private or shared; touched or not */
		for (uint64_t page = 1; page < 8; page++) {
			cow_mm p;
			cow_machine *m = machine_with("tiny", &p);
			uint32_t low, high, chain, flags = kind & 1 ? COW_MAP_SHARED : 0;

			assert_int_equal(cow_mmap(m, p, 16 << 12, 8, COW_PROT_RW, flags), 0);
			if (kind & 2)
				assert_int_equal(cow_write_range(m, p, 16 << 12, 8, 1, NULL), 0);
			low = mm_at(m, p.index)->vma_first;
			chain = anon_chain_length(m, low);
			assert_int_equal(chain, kind == 2);
			assert_int_equal(vma_reserve(m, p.index, 16, 24, 0), 0);
			high = vma_split(m, low, 16 + page);
			assert_int_equal(vma_at(m, low)->start, 16);
			assert_int_equal(vma_at(m, low)->end, 16 + page);
			assert_int_equal(vma_at(m, high)->start, 16 + page);
			assert_int_equal(vma_at(m, high)->end, 24);
			assert_int_equal(vma_at(m, high)->pgoff, vma_at(m, low)->pgoff + page);
			assert_int_equal(vma_at(m, high)->anon, vma_at(m, low)->anon);
			assert_int_equal(vma_at(m, high)->object, vma_at(m, low)->object);
			assert_int_equal(anon_chain_length(m, high), chain);
			assert_int_equal(mm_at(m, p.index)->vmas, 2);
			for (uint64_t at = 10; at < 30; at++)
				assert_int_equal(vma_look(m, p.index, at), at < 16 + page ? low
									   : at < 24	  ? high
											  : 0);
			holds(m);
			/* It is swallowed by the neighbour: the name of the other survives. */
			assert_int_equal(vma_merge(m, kind & 1 ? high : low),
					 kind & 1 ? low : high);
			assert_int_equal(mm_at(m, p.index)->vmas, 1);
			low = mm_at(m, p.index)->vma_first;
			assert_int_equal(vma_at(m, low)->start, 16);
			assert_int_equal(vma_at(m, low)->end, 24);
			assert_int_equal(anon_chain_length(m, low), chain);
			holds(m);
			cow_machine_destroy(m);
		}
}

/* What a neighbour's anon may be. */
enum anon_kind { NONE, OWN, FORKED, ANON_KINDS };

static void give_anon(cow_machine *m, uint32_t vma, enum anon_kind kind, uint32_t parent)
{
	if (kind == OWN)
		anon_make(m, vma);
	else if (kind == FORKED)
		anon_fork(m, vma, parent);
}

static const uint32_t flag_kinds[] = {
	VMA_READ | VMA_WRITE | VMA_ACCOUNT,
	VMA_READ | VMA_ACCOUNT,
	VMA_READ,
	VMA_READ | VMA_WRITE | VMA_ACCOUNT | VMA_DONTCOPY,
	VMA_READ | VMA_WRITE | VMA_ACCOUNT | VMA_WIPEONFORK,
	VMA_READ | VMA_WRITE | VMA_ACCOUNT | VMA_HAD_WRITE_REF,
};

enum { FLAG_KINDS = sizeof(flag_kinds) / sizeof(*flag_kinds) };

/* Linux: equal flags (the mark of write references aside), continuous offsets, and anons of which
 * one is none and the other has no parents.  Two that were made apart are never one. */
static bool linux_merges(uint32_t low, uint32_t high, enum anon_kind a, enum anon_kind b,
			 uint64_t gap, uint64_t shift)
{
	return !((low ^ high) & ~(uint32_t)VMA_HAD_WRITE_REF) && !gap && !shift &&
	       (a == NONE || b == NONE) && a != FORKED && b != FORKED;
}

/*
 *       8      12   12+gap  16+gap
 *   C  |--low--| gap |--high--|         high was there first, low is merged with it, or the reverse
 *   P  |----------------------|         the parent of what is forked
 */
static void merge_over_all_that_may_hinder_it(void **state)
{
	unsigned merged = 0;

	(void)state;
	for (unsigned fl = 0; fl < FLAG_KINDS; fl++)
		for (unsigned fh = 0; fh < FLAG_KINDS; fh++)
			for (unsigned anons = 0; anons < ANON_KINDS * ANON_KINDS; anons++)
				for (unsigned bits = 0; bits < 8; bits++) {
					enum anon_kind a = (enum anon_kind)(anons % ANON_KINDS);
					enum anon_kind b = (enum anon_kind)(anons / ANON_KINDS);
					uint64_t gap = bits & 1, shift = bits >> 1 & 1;
					bool want = linux_merges(flag_kinds[fl], flag_kinds[fh], a,
								 b, gap, shift);
					uint32_t parent, low, high, left;
					cow_mm p, c;
					cow_machine *m = machine_with("tiny", &p);

					assert_int_equal(cow_mm_create(m, &c), 0);
					parent = place(m, p.index, 0, 20, flag_kinds[0], 0);
					anon_make(m, parent);
					/* Apart at first: neither takes the other's anon. */
					low = place(m, c.index, 8, 12, flag_kinds[fl], 8);
					give_anon(m, low, a, parent);
					vma_unlink(m, low);
					high = place(m, c.index, 12 + gap, 16 + gap, flag_kinds[fh],
						     12 + gap + shift);
					give_anon(m, high, b, parent);
					vma_link(m, low);
					left = vma_merge(m, bits & 4 ? low : high);
					holds(m);
					assert_int_equal(mm_at(m, c.index)->vmas, want ? 1 : 2);
					assert_true(want || left == (bits & 4 ? low : high));
					if (want) {
						merged++;
						assert_int_equal(vma_at(m, left)->start, 8);
						assert_int_equal(vma_at(m, left)->end, 16);
						assert_int_equal(vma_at(m, left)->pgoff, 8);
						assert_int_equal(vma_at(m, left)->anon != 0,
								 a != NONE || b != NONE);
						assert_int_equal(vma_at(m, left)->flags,
								 flag_kinds[fl] | flag_kinds[fh]);
					}
					cow_machine_destroy(m);
				}
	assert_int_equal(merged, (FLAG_KINDS + 2) * 3 * 2);
}

/*
 *       8    12    16    20
 *   P  |prev| new |next|      prev and next of one anon, of two, or without: one VMA, or two
 */
static void the_one_between_joins_both(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		cow_mm p;
		cow_machine *m = machine_with("tiny", &p);
		uint64_t size = 1 << 12;

		if (kind == 3) { /* one anon on both sides: they were one */
			assert_int_equal(cow_mmap(m, p, 8 * size, 12, COW_PROT_RW, 0), 0);
			assert_int_equal(cow_write_range(m, p, 8 * size, 12, 1, NULL), 0);
			assert_int_equal(cow_munmap(m, p, 12 * size, 4), 0);
		} else {
			assert_int_equal(cow_mmap(m, p, 8 * size, 4, COW_PROT_RW, 0), 0);
			assert_int_equal(cow_mmap(m, p, 16 * size, 4, COW_PROT_RW, 0), 0);
		}
		if (kind == 1 || kind == 2)
			assert_int_equal(cow_write(m, p, 8 * size, 1, NULL), 0);
		if (kind == 2)
			assert_int_equal(cow_write(m, p, 16 * size, 1, NULL), 0);
		assert_int_equal(mm_at(m, p.index)->vmas, 2);
		assert_int_equal(cow_mmap(m, p, 12 * size, 4, COW_PROT_RW, 0), 0);
		/* Two anons that were made apart stay apart: the one between goes low. */
		assert_int_equal(mm_at(m, p.index)->vmas, kind == 2 ? 2 : 1);
		assert_int_equal(vma_at(m, vma_look(m, p.index, 12))->start, 8);
		holds(m);
		cow_machine_destroy(m);
	}
}

/* Mappings of one object merge only where their offsets go on; mappings of two never do. */
static void shared_memory_merges_by_object_and_offset(void **state)
{
	cow_mm p;
	cow_machine *m = machine_with("tiny", &p);
	uint64_t size = 1 << 12;

	(void)state;
	assert_int_equal(cow_mmap(m, p, 0, 4, COW_PROT_RW, COW_MAP_SHARED), 0);
	assert_int_equal(cow_mmap(m, p, 4 * size, 4, COW_PROT_RW, COW_MAP_SHARED), 0);
	assert_int_equal(mm_at(m, p.index)->vmas, 2);
	assert_int_equal(cow_mremap(m, p, 2 * size, 2, 20 * size), 0);
	assert_int_equal(mm_at(m, p.index)->vmas, 3);
	assert_int_equal(m->pools[POOL_OBJECT].live, 2);
	assert_int_equal(cow_mremap(m, p, 20 * size, 2, 2 * size), 0);
	assert_int_equal(mm_at(m, p.index)->vmas, 2);
	holds(m);
	assert_int_equal(cow_munmap(m, p, 0, 8), 0);
	assert_int_equal(m->pools[POOL_OBJECT].live, 0);
	holds(m);
	cow_machine_destroy(m);
}

enum { SPAN = 512 };

/* First VMA that ends behind the page, by walking the list. */
static uint32_t naive_find(const cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t at = mm_at(m, mm)->vma_first;

	while (at && vma_at(m, at)->end <= page)
		at = vma_at(m, at)->next;
	return at;
}

static void find_agrees_with_a_naive_search(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= rounds(20); seed++) {
		struct rng rng = { seed };
		int prots[SPAN]; /* -1: not mapped */
		cow_mm p;
		cow_machine *m = machine_with("x86-64", &p);

		memset(prots, -1, sizeof(prots));
		for (unsigned i = 0; i < 400; i++) {
			uint64_t first = rng_below(&rng, SPAN), page = rng_below(&rng, SPAN + 10);
			uint64_t pages =
				1 + rng_below(&rng, rng_below(&rng, 8) ? 12 : SPAN - first);
			int prot = (int)rng_below(&rng, 3) + 1, set = -2;
			struct cow_page look;
			uint32_t want;

			if (pages > SPAN - first)
				pages = SPAN - first;
			switch (rng_below(&rng, 3)) {
			case 0:
				set = cow_mmap(m, p, first << 12, pages, (enum cow_prot)prot, 0)
					      ? -2
					      : prot;
				break;
			case 1:
				assert_int_equal(cow_munmap(m, p, first << 12, pages), 0);
				set = -1;
				break;
			default: /* up to the first hole */
				(void)cow_mprotect(m, p, first << 12, pages, (enum cow_prot)prot);
				for (uint64_t at = first; at < first + pages && prots[at] >= 0;
				     at++)
					prots[at] = prot;
			}
			for (uint64_t at = first; set > -2 && at < first + pages; at++)
				prots[at] = set;
			want = naive_find(m, p.index, page);
			assert_int_equal(vma_look(m, p.index, page), want);
			assert_int_equal(vma_find(m, p.index, page), want);
			want = naive_find(m, p.index, first);
			assert_int_equal(vma_find(m, p.index, first), want);
			for (uint64_t at = 0; at < SPAN; at++) {
				assert_int_equal(cow_page_look(m, p, at << 12, &look), 0);
				assert_int_equal(look.mapped, prots[at] >= 0);
				/* Write permission implies read permission. */
				if (look.mapped)
					assert_int_equal(look.prot, prots[at] & COW_PROT_WRITE
									    ? COW_PROT_RW
									    : COW_PROT_READ);
			}
			holds(m);
		}
		cow_machine_destroy(m);
	}
}

static unsigned depth_of(const cow_machine *m, uint32_t root)
{
	struct {
		uint32_t at;
		unsigned depth;
	} stack[256];
	unsigned top = 0, deepest = 0;

	stack[top].at = root;
	stack[top++].depth = 1;
	while (top) {
		uint32_t at = stack[--top].at;
		unsigned depth = stack[top].depth;

		if (!at)
			continue;
		if (depth > deepest)
			deepest = depth;
		assert_true(top + 2 <= 256);
		stack[top].at = vma_at(m, at)->left;
		stack[top++].depth = depth + 1;
		stack[top].at = vma_at(m, at)->right;
		stack[top++].depth = depth + 1;
	}
	return deepest;
}

/* Every second page is a VMA of its own: |r|.|r|.|r|. ... */
static void the_tree_stays_shallow(void **state)
{
	uint32_t count = rounds(100000);
	cow_mm p;
	cow_machine *m = machine_with("x86-64", &p);

	(void)state;
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(cow_mmap(m, p, i << 13, 1, COW_PROT_READ, 0), 0);
	assert_int_equal(mm_at(m, p.index)->vmas, count);
	/* A random tree of n nodes is about 4.3 ln n deep: 50 for 100000. */
	assert_true(depth_of(m, mm_at(m, p.index)->vma_root) < 64);
	holds(m);
	for (uint64_t i = 0; i < count; i += 2)
		assert_int_equal(cow_munmap(m, p, i << 13, 1), 0);
	assert_int_equal(mm_at(m, p.index)->vmas, count / 2);
	assert_true(depth_of(m, mm_at(m, p.index)->vma_root) < 64);
	holds(m);
	assert_int_equal(cow_mm_exit(m, p), 0);
	assert_int_equal(m->pools[POOL_VMA].live, 0);
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_at_each_page_and_merge_again),
		cmocka_unit_test(merge_over_all_that_may_hinder_it),
		cmocka_unit_test(the_one_between_joins_both),
		cmocka_unit_test(shared_memory_merges_by_object_and_offset),
		cmocka_unit_test(find_agrees_with_a_naive_search),
		cmocka_unit_test(the_tree_stays_shallow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
