/* SPDX-License-Identifier: MIT
 *
 * Page tables as radix trees, in every geometry: finding, making, walking, pruning, and the
 * estimate of how many tables are missing, which is exact where nothing is and never too small.
 *
 *   page  0 . . . . | leaf | leaf | . . . . . . | leaf | . . pages-1
 *         entries are filled and emptied through the same calls that the kernel part uses
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/table.h"
#include "world.h"

static const char *const geometries[] = { "x86-64", "x86-64-5", "arm64-16k", "arm64-64k", "tiny" };

enum { GEOMETRIES = sizeof(geometries) / sizeof(*geometries), MOST = 400 };

static const char *const homes[] = {
	"page-count", "exclusive", "pte-exclusive", "exclusive,marker=adjacent",
	"exclusive,marker=extra",
};

enum { HOMES = sizeof(homes) / sizeof(*homes) };

/* One tree, and the pages that are known to be in it. */
struct tree {
	cow_machine *m;
	cow_policies *list;
	uint32_t root, tables;
	uint64_t pages[MOST];
	unsigned count;
};

static void tree_begin(struct tree *tree, unsigned geometry, unsigned home)
{
	memset(tree, 0, sizeof(*tree));
	tree->m = machine_new(geometries[geometry], policy_parse(homes[home], &tree->list), 0, 0);
	assert_non_null(tree->m);
}

static void tree_end(struct tree *tree)
{
	cow_machine_destroy(tree->m);
	cow_policies_free(tree->list);
}

static uint64_t live(const struct tree *tree)
{
	return tree->m->pools[POOL_TABLE].live;
}

static void tree_fill(struct tree *tree, uint64_t page, bool mark)
{
	struct leaf leaf;

	assert_int_equal(tables_reserve(tree->m, tree->root, page, page + 1, 0), 0);
	leaf_make(tree->m, &tree->root, page, &leaf, &tree->tables);
	assert_int_equal(leaf.first, page - page % leaf_entries(tree->m));
	assert_int_equal(leaf.ptes[leaf_slot(tree->m, page)], 0);
	pte_fill(tree->m, &leaf, leaf_slot(tree->m, page), pte_make(0, PTE_PRESENT | PTE_SPECIAL));
	if (mark && tree->m->state.marker >= COW_MARKER_ADJACENT)
		side_marker_put(tree->m, &leaf, leaf_slot(tree->m, page), true);
	tree->pages[tree->count++] = page;
}

static void tree_empty(struct tree *tree, unsigned index)
{
	uint64_t page = tree->pages[index];
	struct leaf leaf;

	assert_true(leaf_find(tree->m, tree->root, page, &leaf));
	if (tree->m->state.marker >= COW_MARKER_ADJACENT)
		side_marker_put(tree->m, &leaf, leaf_slot(tree->m, page), false);
	pte_empty(tree->m, &leaf, leaf_slot(tree->m, page));
	tables_prune(tree->m, &tree->root, page, page + 1, &tree->tables);
	tree->pages[index] = tree->pages[--tree->count];
}

static bool known(const struct tree *tree, uint64_t page)
{
	for (unsigned i = 0; i < tree->count; i++)
		if (tree->pages[i] == page)
			return true;
	return false;
}

/* Pages near each other, near borders, and far away. */
static uint64_t random_page(struct rng *rng, const cow_machine *m)
{
	uint64_t level = rng_below(rng, m->state.levels);
	uint64_t border = (1 + rng_below(rng, 3)) << m->shifts[level];

	switch (rng_below(rng, 4)) {
	case 0:
		return rng_below(rng, m->pages);
	case 1:
		return m->pages - 1 - rng_below(rng, 20);
	default:
		return (border + rng_below(rng, 8) - 4) % m->pages;
	}
}

/* Tables that a set of pages needs, by counting prefixes. */
static uint64_t tables_needed(const struct tree *tree)
{
	uint64_t sum = 0;

	for (uint32_t level = 0; level < tree->m->state.levels; level++) {
		uint32_t shift = tree->m->shifts[level] + tree->m->state.bits[level];

		for (unsigned i = 0; i < tree->count; i++) {
			bool first = true;

			for (unsigned j = 0; j < i && first; j++)
				first = tree->pages[j] >> shift != tree->pages[i] >> shift;
			sum += first;
		}
	}
	return sum;
}

/* leaf_next gives every leaf with one of our pages, in order, and no other. */
static void check_walk(const struct tree *tree)
{
	uint32_t entries = leaf_entries(tree->m);
	unsigned found = 0;
	uint64_t behind = 0;
	struct leaf leaf;

	for (uint64_t page = 0; leaf_next(tree->m, tree->root, &page, tree->m->pages, &leaf);
	     page = behind) {
		assert_true(page >= behind);
		assert_int_equal(leaf.first, page - page % entries);
		behind = leaf.first + entries;
		for (unsigned i = 0; i < tree->count; i++)
			found += tree->pages[i] >= leaf.first && tree->pages[i] < behind;
	}
	assert_int_equal(found, tree->count);
}

/* leaf_prev gives what leaf_next gives, from the last to the first, in a range that may cut leaves. */
static void check_walk_back(const struct tree *tree, uint64_t first, uint64_t end)
{
	uint64_t at[MOST], page = first, high = end;
	unsigned leaves = 0;
	struct leaf leaf;

	while (leaf_next(tree->m, tree->root, &page, end, &leaf)) {
		at[leaves++] = leaf.first;
		page = leaf.first + leaf_entries(tree->m);
	}
	while (leaf_prev(tree->m, tree->root, first, &high, &leaf)) {
		assert_true(leaves > 0);
		assert_int_equal(leaf.first, at[--leaves]);
		assert_true(high > leaf.first && high > first);
		assert_true(high <= leaf.first + leaf_entries(tree->m) && high <= end);
		high = leaf.first > first ? leaf.first : first;
	}
	assert_int_equal(leaves, 0);
}

static void random_trees_hold_what_was_put_in(void **state)
{
	(void)state;
	for (unsigned geometry = 0; geometry < GEOMETRIES; geometry++)
		for (unsigned home = 0; home < HOMES; home++) {
			struct rng rng = { geometry * 100 + home };
			struct tree tree;
			struct leaf leaf;

			tree_begin(&tree, geometry, home);
			for (unsigned i = 0; i < rounds(150); i++) {
				uint64_t page = random_page(&rng, tree.m);

				if (!known(&tree, page))
					tree_fill(&tree, page, false);
				else
					tree_empty(&tree, (unsigned)rng_below(&rng, tree.count));
				assert_int_equal(tree.tables, tables_needed(&tree));
				assert_int_equal(live(&tree), tree.tables);
				if (i % 10 == 0) {
					uint64_t low = random_page(&rng, tree.m);

					check_walk(&tree);
					check_walk_back(&tree, 0, tree.m->pages);
					check_walk_back(&tree, low < page ? low : page,
							(low < page ? page : low) + 1);
				}
				page = random_page(&rng, tree.m);
				if (leaf_find(tree.m, tree.root, page, &leaf))
					assert_int_equal(leaf.ptes[leaf_slot(tree.m, page)] != 0,
							 known(&tree, page));
				else
					assert_false(known(&tree, page));
			}
			while (tree.count)
				tree_empty(&tree, 0);
			assert_int_equal(tree.root, 0);
			assert_int_equal(tree.tables, 0);
			assert_int_equal(live(&tree), 0);
			assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_TABLES), 0);
			tree_end(&tree);
		}
}

/* A range that is emptied at once loses all its tables, and its neighbours keep theirs. */
static void pruning_a_range_spares_its_neighbours(void **state)
{
	(void)state;
	for (unsigned geometry = 0; geometry < GEOMETRIES; geometry++) {
		struct tree tree;
		uint32_t entries, one;
		uint64_t low, high;
		struct leaf leaf;

		tree_begin(&tree, geometry, 4);
		entries = leaf_entries(tree.m);
		low = entries - 1;
		high = (uint64_t)5 * entries;
		tree_fill(&tree, low, true);
		one = tree.tables;
		for (uint64_t page = low + 1; page < high; page += entries / 4)
			tree_fill(&tree, page, true);
		tree_fill(&tree, high, true);
		for (uint64_t page = low + 1; leaf_next(tree.m, tree.root, &page, high, &leaf);
		     page = leaf.first + entries)
			for (uint32_t slot = 0; slot < entries; slot++)
				if (leaf.ptes[slot]) {
					side_marker_put(tree.m, &leaf, slot, false);
					pte_empty(tree.m, &leaf, slot);
				}
		tables_prune(tree.m, &tree.root, low + 1, high, &tree.tables);
		assert_int_equal(tree.tables, one + 1);
		assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_SIDE_TABLES), 2);
		assert_int_equal(live(&tree), tree.tables + 2);
		assert_true(leaf_find(tree.m, tree.root, low, &leaf));
		assert_true(side_marker_look(tree.m, &leaf, entries - 1));
		assert_true(leaf_find(tree.m, tree.root, high, &leaf));
		assert_true(side_marker_look(tree.m, &leaf, 0));
		assert_false(leaf_find(tree.m, tree.root, low + 1, &leaf));
		tables_prune(tree.m, &tree.root, low + 1, low + 1, &tree.tables);
		assert_int_equal(tree.tables, one + 1);
		tree_end(&tree);
	}
}

/* What tables_missing says is what filling the whole range takes: exactly, where nothing is. */
static void the_estimate_is_exact_where_nothing_is(void **state)
{
	(void)state;
	for (unsigned geometry = 0; geometry < GEOMETRIES; geometry++)
		for (unsigned home = 0; home < HOMES; home++)
			for (unsigned round = 0; round < 12; round++) {
				struct rng rng = { geometry * 1000 + home * 50 + round };
				struct tree tree;
				uint64_t first, end, missing;
				uint32_t step;

				tree_begin(&tree, geometry, home);
				step = leaf_entries(tree.m);
				first = random_page(&rng, tree.m);
				end = first + 1 + rng_below(&rng, (uint64_t)step * 3);
				if (end > tree.m->pages)
					end = tree.m->pages;
				assert_int_equal(tables_missing(tree.m, 0, first, first), 0);
				missing = tables_missing(tree.m, 0, first, end);
				for (uint64_t page = first; page < end;
				     page = (page / step + 1) * step)
					tree_fill(&tree, page, true);
				assert_int_equal(live(&tree), missing);
				assert_int_equal(tables_missing(tree.m, tree.root, first, end), 0);
				tree_end(&tree);
			}
}

static void the_estimate_is_never_too_small(void **state)
{
	(void)state;
	for (unsigned geometry = 0; geometry < GEOMETRIES; geometry++)
		for (unsigned home = 0; home < HOMES; home++) {
			struct rng rng = { geometry * 77 + home };

			for (unsigned round = 0; round < rounds(30); round++) {
				struct tree tree;
				uint64_t first, end, missing, before;
				uint32_t step;

				tree_begin(&tree, geometry, home);
				step = leaf_entries(tree.m);
				for (unsigned i = 0; i < 12; i++) {
					uint64_t page = random_page(&rng, tree.m);

					if (!known(&tree, page))
						tree_fill(&tree, page, rng_below(&rng, 2));
				}
				first = random_page(&rng, tree.m);
				end = first + 1 + rng_below(&rng, (uint64_t)step * 4);
				if (end > tree.m->pages)
					end = tree.m->pages;
				missing = tables_missing(tree.m, tree.root, first, end);
				before = live(&tree);
				for (uint64_t page = first; page < end; page++)
					if ((page == first || page % step == 0) &&
					    !known(&tree, page))
						tree_fill(&tree, page, true);
				assert_true(live(&tree) - before <= missing);
				tree_end(&tree);
			}
		}
}

/* The marker in each side home: a bit a page, which neighbours do not see, counted as it costs. */
static void side_markers_are_a_bit_a_page(void **state)
{
	(void)state;
	for (unsigned geometry = 0; geometry < GEOMETRIES; geometry++)
		for (unsigned home = 3; home < HOMES; home++) {
			unsigned cost = home == 3 ? 1 : 2;
			struct tree tree;
			struct leaf leaf;
			uint32_t entries;
			uint64_t lookups;

			tree_begin(&tree, geometry, home);
			entries = leaf_entries(tree.m);
			tree_fill(&tree, 0, false);
			tree_fill(&tree, entries - 1, false);
			assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_SIDE_TABLES),
					 home == 3);
			assert_true(leaf_find(tree.m, tree.root, 0, &leaf));
			assert_int_equal(tables_reserve(tree.m, tree.root, 0, 1, 0), 0);
			for (uint32_t slot = 0; slot < entries; slot++)
				assert_false(side_marker_look(tree.m, &leaf, slot));
			lookups = cow_machine_counter(tree.m, COW_COUNT_SIDE_LOOKUPS);
			side_marker_put(tree.m, &leaf, entries - 1, true);
			assert_true(side_marker_get(tree.m, &leaf, entries - 1));
			assert_false(side_marker_get(tree.m, &leaf, 0));
			assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_SIDE_LOOKUPS),
					 lookups + 3 * cost);
			assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_SIDE_TABLES), 1);
			/* The entries themselves are as they were. */
			assert_int_equal(leaf.ptes[entries - 1], PTE_PRESENT | PTE_SPECIAL);
			side_marker_put(tree.m, &leaf, entries - 1, false);
			for (uint32_t slot = 0; slot < entries; slot++)
				assert_false(side_marker_look(tree.m, &leaf, slot));
			while (tree.count)
				tree_empty(&tree, 0);
			assert_int_equal(cow_machine_counter(tree.m, COW_COUNT_SIDE_TABLES), 0);
			assert_int_equal(live(&tree), 0);
			tree_end(&tree);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_trees_hold_what_was_put_in),
		cmocka_unit_test(pruning_a_range_spares_its_neighbours),
		cmocka_unit_test(the_estimate_is_exact_where_nothing_is),
		cmocka_unit_test(the_estimate_is_never_too_small),
		cmocka_unit_test(side_markers_are_a_bit_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
