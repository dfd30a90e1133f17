/* SPDX-License-Identifier: MIT
 *
 * Page tables: walking, making, counting and pruning a radix tree; the side tables of the marker.
 */
#include "machine/table.h"

static uint32_t entry_slot(const cow_machine *m, uint64_t page, uint32_t level)
{
	return (uint32_t)(page >> m->shifts[level]) & ((1u << m->state.bits[level]) - 1);
}

static uint64_t leaf_first(const cow_machine *m, uint64_t page)
{
	return page & ~(uint64_t)(leaf_entries(m) - 1);
}

bool leaf_find(const cow_machine *m, uint32_t root, uint64_t page, struct leaf *leaf)
{
	uint32_t table = root;

	for (uint32_t level = m->state.levels - 1; table && level; level--) {
		uint64_t entry = table_at(m, table)[entry_slot(m, page, level)];

		table = entry & PTE_HUGE ? 0 : pte_frame(entry);
	}
	if (!table)
		return false;
	*leaf = (struct leaf){ table_at(m, table), table, leaf_first(m, page), NULL };
	return true;
}

/* Walks to the leaf table or PMD of a page.  Returns the level at which there is nothing, or 0. */
static uint32_t leaf_look(const cow_machine *m, uint32_t root, uint64_t page, struct leaf *leaf)
{
	uint32_t table = root;

	for (uint32_t level = m->state.levels - 1; level; level--) {
		uint64_t *entry = &table_at(m, table)[entry_slot(m, page, level)];

		if (*entry & PTE_HUGE) {
			*leaf = (struct leaf){ NULL, table, leaf_first(m, page), entry };
			return 0;
		}
		table = pte_frame(*entry);
		if (!table)
			return level;
	}
	*leaf = (struct leaf){ table_at(m, table), table, leaf_first(m, page), NULL };
	return 0;
}

bool leaf_next(const cow_machine *m, uint32_t root, uint64_t *page, uint64_t end,
	       struct leaf *leaf)
{
	while (root && *page < end) {
		uint32_t level = leaf_look(m, root, *page, leaf);

		if (!level)
			return true;
		*page = ((*page >> m->shifts[level]) + 1) << m->shifts[level];
	}
	return false;
}

bool leaf_prev(const cow_machine *m, uint32_t root, uint64_t first, uint64_t *end,
	       struct leaf *leaf)
{
	while (root && *end > first) {
		uint32_t level = leaf_look(m, root, *end - 1, leaf);

		if (!level)
			return true;
		*end = (*end - 1) >> m->shifts[level] << m->shifts[level];
	}
	return false;
}

/* True if a table of the level brings its side table with it. */
static bool has_adjacent(const cow_machine *m, uint32_t level)
{
	return !level && m->state.marker == COW_MARKER_ADJACENT;
}

static uint32_t table_alloc(cow_machine *m, uint32_t level, uint32_t *tables)
{
	uint32_t table = pool_take(&m->pools[POOL_TABLE]);

	m->pools[POOL_INFO].used = m->pools[POOL_TABLE].used;
	m->pools[POOL_INFO].live = m->pools[POOL_TABLE].live;
	machine_count(m, COW_COUNT_TABLES, 1);
	machine_count(m, COW_COUNT_SIDE_TABLES, has_adjacent(m, level));
	++*tables;
	return table;
}

static void table_free(cow_machine *m, uint32_t table, uint32_t level, uint32_t *tables)
{
	struct table_info *info = table_info(m, table);

	if (info->extra) {
		pool_give(&m->pools[POOL_TABLE], info->extra);
		machine_count(m, COW_COUNT_SIDE_TABLES, (uint64_t)-1);
	}
	*info = (struct table_info){ 0 };
	pool_give(&m->pools[POOL_TABLE], table);
	m->pools[POOL_INFO].live = m->pools[POOL_TABLE].live;
	machine_count(m, COW_COUNT_TABLES, (uint64_t)-1);
	if (has_adjacent(m, level))
		machine_count(m, COW_COUNT_SIDE_TABLES, (uint64_t)-1);
	--*tables;
	machine_forget(m);
}

void leaf_make(cow_machine *m, uint32_t *root, uint64_t page, struct leaf *leaf, uint32_t *tables)
{
	uint32_t table;

	if (!*root)
		*root = table_alloc(m, m->state.levels - 1, tables);
	table = *root;
	for (uint32_t level = m->state.levels - 1; level; level--) {
		uint64_t *entry = &table_at(m, table)[entry_slot(m, page, level)];

		if (!*entry) {
			*entry = pte_make(table_alloc(m, level - 1, tables), PTE_TABLE);
			table_info(m, table)->used++;
		}
		table = pte_frame(*entry);
	}
	*leaf = (struct leaf){ table_at(m, table), table, leaf_first(m, page), NULL };
}

void pmd_fill(cow_machine *m, uint32_t *root, uint64_t page, uint32_t *tables, uint64_t pmd)
{
	uint32_t table;

	if (!*root)
		*root = table_alloc(m, m->state.levels - 1, tables);
	table = *root;
	for (uint32_t level = m->state.levels - 1; level > 1; level--) {
		uint64_t *entry = &table_at(m, table)[entry_slot(m, page, level)];

		if (!*entry) {
			*entry = pte_make(table_alloc(m, level - 1, tables), PTE_TABLE);
			table_info(m, table)->used++;
		}
		table = pte_frame(*entry);
	}
	table_at(m, table)[entry_slot(m, page, 1)] = pmd;
	table_info(m, table)->used++;
	m->state.pmds++;
}

void pmd_empty(cow_machine *m, const struct leaf *leaf)
{
	*leaf->pmd = 0;
	table_info(m, leaf->table)->used--;
	m->state.pmds--;
}

void pmd_to_table(cow_machine *m, struct leaf *leaf, uint32_t *tables)
{
	uint32_t table = table_alloc(m, 0, tables);

	*leaf->pmd = pte_make(table, PTE_TABLE);
	m->state.pmds--;
	*leaf = (struct leaf){ table_at(m, table), table, leaf->first, NULL };
}

bool leaf_of_walk(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf)
{
	if (!leaf_find(m, mm_at(m, mm)->root, page, leaf))
		return false;
	m->cache.leaf_mm = mm;
	m->cache.leaf = leaf->table;
	m->cache.leaf_page = leaf->first;
	m->cache.leaf_ptes = leaf->ptes;
	return true;
}

bool leaf_near_walk(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf)
{
	if (!leaf_find(m, mm_at(m, mm)->root, page, leaf))
		return false;
	m->cache.leaves[mm % MACHINE_LEAVES] = (struct known_leaf){
		.key = (uint64_t)m->cache.forgets << 32 | mm,
		.first = leaf->first,
		.ptes = leaf->ptes,
		.table = leaf->table,
	};
	return true;
}

void leaf_make_of(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf)
{
	if (leaf_of(m, mm, page, leaf))
		return;
	leaf_make(m, &mm_at(m, mm)->root, page, leaf, &mm_at(m, mm)->tables);
}

/* Tables of a level that cover pages first to end-1. */
static uint64_t tables_covering(const cow_machine *m, uint32_t level, uint64_t first, uint64_t end)
{
	uint32_t shift = m->shifts[level] + m->state.bits[level];

	return ((end - 1) >> shift) - (first >> shift) + 1;
}

static uint64_t missing(const cow_machine *m, uint32_t table, uint32_t level, uint64_t first,
			uint64_t end)
{
	uint64_t sum = 0;

	if (!table) {
		for (uint32_t below = 0; below <= level; below++)
			sum += tables_covering(m, below, first, end);
		if (m->state.marker == COW_MARKER_EXTRA)
			sum += tables_covering(m, 0, first, end);
		return sum;
	}
	if (!level)
		return m->state.marker == COW_MARKER_EXTRA && !table_info(m, table)->extra;
	while (first < end) {
		uint64_t next = ((first >> m->shifts[level]) + 1) << m->shifts[level];
		uint64_t entry = table_at(m, table)[entry_slot(m, first, level)];

		if (next > end)
			next = end;
		/* A PMD may have to be split. */
		sum += missing(m, entry & PTE_HUGE ? 0 : pte_frame(entry), level - 1, first, next);
		first = next;
	}
	return sum;
}

uint64_t tables_missing(const cow_machine *m, uint32_t root, uint64_t first, uint64_t end)
{
	return first < end ? missing(m, root, m->state.levels - 1, first, end) : 0;
}

int tables_reserve(cow_machine *m, uint32_t root, uint64_t first, uint64_t end, uint64_t more)
{
	uint64_t most = more;
	int error;

	for (uint32_t level = 0; level < m->state.levels; level++)
		most += tables_covering(m, level, first, end) * (level ? 1 : 2);
	if (!POOL_EXACT && pool_spare(&m->pools[POOL_TABLE]) >= most &&
	    pool_spare(&m->pools[POOL_INFO]) >= most)
		return 0;
	error = machine_reserve(m, POOL_TABLE, more + tables_missing(m, root, first, end));
	/* Both pools are used at the same indices, so the second must be as large as the first. */
	return error ? error
		     : machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
}

static bool prune(cow_machine *m, uint32_t table, uint32_t level, uint64_t first, uint64_t end,
		  uint32_t *tables)
{
	if (level) {
		while (first < end) {
			uint64_t next = ((first >> m->shifts[level]) + 1) << m->shifts[level];
			uint64_t *entry = &table_at(m, table)[entry_slot(m, first, level)];

			if (*entry && !(*entry & PTE_HUGE) && prune(m, pte_frame(*entry), level - 1, first,
					    next < end ? next : end, tables)) {
				*entry = 0;
				table_info(m, table)->used--;
			}
			first = next;
		}
	}
	if (table_info(m, table)->used)
		return false;
	table_free(m, table, level, tables);
	return true;
}

void tables_prune(cow_machine *m, uint32_t *root, uint64_t first, uint64_t end, uint32_t *tables)
{
	if (*root && first < end &&
	    prune(m, *root, m->state.levels - 1, first, end, tables))
		*root = 0;
}

bool side_marker_look(const cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	uint32_t extra;

	if (m->state.marker == COW_MARKER_ADJACENT)
		return leaf->ptes[leaf_entries(m) + slot];
	extra = table_info(m, leaf->table)->extra;
	return extra && table_at(m, extra)[slot];
}

bool side_marker_get(cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	/* The extra table costs a pointer more to follow than the adjacent page. */
	machine_count(m, COW_COUNT_SIDE_LOOKUPS, m->state.marker == COW_MARKER_EXTRA ? 2 : 1);
	return side_marker_look(m, leaf, slot);
}

void side_marker_put(cow_machine *m, const struct leaf *leaf, uint32_t slot, bool set)
{
	struct table_info *info = table_info(m, leaf->table);

	if (m->state.marker == COW_MARKER_ADJACENT) {
		machine_count(m, COW_COUNT_SIDE_LOOKUPS, 1);
		leaf->ptes[leaf_entries(m) + slot] = set;
		return;
	}
	machine_count(m, COW_COUNT_SIDE_LOOKUPS, 2);
	if (!info->extra) {
		if (!set)
			return;
		info->extra = pool_take(&m->pools[POOL_TABLE]);
		m->pools[POOL_INFO].used = m->pools[POOL_TABLE].used;
		m->pools[POOL_INFO].live = m->pools[POOL_TABLE].live;
		machine_count(m, COW_COUNT_SIDE_TABLES, 1);
	}
	table_at(m, info->extra)[slot] = set;
}
