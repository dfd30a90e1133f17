/* SPDX-License-Identifier: MIT
 *
 * Page tables: a radix tree of any geometry, and the marker "this mm owns the page outright" in
 * each of its homes.  A table names no mm, so that mms may share tables one day; the pages of an
 * object are kept in such a tree too.  A table exists as long as it has an entry.
 */
#ifndef COWLAB_MACHINE_TABLE_H
#define COWLAB_MACHINE_TABLE_H

#include "machine/frame.h"

/* A leaf table, found; or, from leaf_next alone, a PMD that maps as many pages as one. */
struct leaf {
	uint64_t *ptes;  /* its entries; NULL: a PMD */
	uint32_t table;  /* its index; of a PMD: that of the table it is in */
	uint64_t first;  /* page number of entry 0; of the first page that the PMD maps */
	uint64_t *pmd;   /* the PMD; NULL: a leaf table */
};

static inline uint64_t *table_at(const cow_machine *m, uint32_t index)
{
	return pool_at(&m->pools[POOL_TABLE], index);
}

static inline struct table_info *table_info(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_INFO], index, struct table_info, 10);
}

static inline uint32_t leaf_entries(const cow_machine *m)
{
	return 1u << m->state.bits[0];
}

static inline uint32_t leaf_slot(const cow_machine *m, uint64_t page)
{
	return (uint32_t)page & (leaf_entries(m) - 1);
}

static inline uint32_t pte_frame(uint64_t pte)
{
	return (uint32_t)(pte >> 32);
}

/* pte_marker_uffd_wp: of a VMA with an object alone. */
static inline bool pte_is_marker(uint64_t pte)
{
	return pte == PTE_UFFD;
}

/* Of hugetlb: an entry that maps nothing, and only tells something of what will be mapped. */
static inline bool pmd_is_note(uint64_t pmd)
{
	return (pmd & (PTE_HUGE | PTE_PRESENT)) == PTE_HUGE;
}

static inline uint64_t pte_make(uint32_t frame, uint64_t flags)
{
	return (uint64_t)frame << 32 | flags;
}

/* Finds the leaf table of a page in the tree at `root`; false: there is none, or a PMD maps it. */
bool leaf_find(const cow_machine *m, uint32_t root, uint64_t page, struct leaf *leaf);
/* Finds the first leaf table or PMD mapping at or behind *page and before `end`, and moves *page
 * into it. */
bool leaf_next(const cow_machine *m, uint32_t root, uint64_t *page, uint64_t end,
	       struct leaf *leaf);
/* The last one at or behind `first` and before *end; moves *end to where it, or the range, ends. */
bool leaf_prev(const cow_machine *m, uint32_t root, uint64_t first, uint64_t *end,
	       struct leaf *leaf);
/* Finds the PMD that maps a page; false: none does. */
static inline bool pmd_find(const cow_machine *m, uint32_t root, uint64_t page, struct leaf *leaf)
{
	return m->state.pmds && leaf_next(m, root, &page, page + 1, leaf) && leaf->pmd;
}

/* Fills the empty entry of the second level that covers a page, making the tables above. */
void pmd_fill(cow_machine *m, uint32_t *root, uint64_t page, uint32_t *tables, uint64_t pmd);
/* Empties the PMD; tables_prune must follow. */
void pmd_empty(cow_machine *m, const struct leaf *leaf);
/* Puts an empty leaf table, from those reserved, in the place of the PMD, which *leaf is then; it must
 * not stay empty. */
void pmd_to_table(cow_machine *m, struct leaf *leaf, uint32_t *tables);
/* Finds the leaf table or makes it, from reserved tables; *tables counts those made.  No PMD may map
 * the page. */
void leaf_make(cow_machine *m, uint32_t *root, uint64_t page, struct leaf *leaf, uint32_t *tables);
/* The same for an mm, remembering the last one. */
bool leaf_of_walk(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf);
void leaf_make_of(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf);

static inline bool leaf_of(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf)
{
	uint64_t first = page & ~(uint64_t)(leaf_entries(m) - 1);

	if (m->cache.leaf_mm != mm || m->cache.leaf_page != first || !m->cache.leaf)
		return leaf_of_walk(m, mm, page, leaf);
	leaf->ptes = m->cache.leaf_ptes;
	leaf->table = m->cache.leaf;
	leaf->first = first;
	leaf->pmd = NULL;
	return true;
}

/* leaf_of for those who come by many mms in turn: it remembers a table of each. */
bool leaf_near_walk(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf);

static inline bool leaf_near(cow_machine *m, uint32_t mm, uint64_t page, struct leaf *leaf)
{
	const struct known_leaf *known = &m->cache.leaves[mm % MACHINE_LEAVES];
	uint64_t first = page & ~(uint64_t)(leaf_entries(m) - 1);

	if (known->key != ((uint64_t)m->cache.forgets << 32 | mm) || known->first != first)
		return leaf_near_walk(m, mm, page, leaf);
	leaf->ptes = known->ptes;
	leaf->table = known->table;
	leaf->first = first;
	leaf->pmd = NULL;
	return true;
}

/* leaf_next for an mm, where the leaf table may well be the last one. */
static inline bool leaf_from(cow_machine *m, uint32_t mm, uint64_t *page, uint64_t end,
			     struct leaf *leaf)
{
	return *page < end && (leaf_of(m, mm, *page, leaf) ||
			       leaf_next(m, mm_at(m, mm)->root, page, end, leaf));
}

/* Tables that leaf_make and marker_set may have to make for pages first to end-1. */
uint64_t tables_missing(const cow_machine *m, uint32_t root, uint64_t first, uint64_t end);
/* Reserves them, and `more`.  Returns 0 or -ENOMEM. */
int tables_reserve(cow_machine *m, uint32_t root, uint64_t first, uint64_t end, uint64_t more);
/* Frees the tables between first and end that have no entry left. */
void tables_prune(cow_machine *m, uint32_t *root, uint64_t first, uint64_t end, uint32_t *tables);

/* Fills an empty entry, or empties one; counts how full the table is. */
static inline void pte_fill(cow_machine *m, const struct leaf *leaf, uint32_t slot, uint64_t pte)
{
	leaf->ptes[slot] = pte;
	table_info(m, leaf->table)->used++;
}

static inline void pte_empty(cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	leaf->ptes[slot] = 0;
	table_info(m, leaf->table)->used--;
}

/* The marker in a table beside the page tables. */
bool side_marker_get(cow_machine *m, const struct leaf *leaf, uint32_t slot);
void side_marker_put(cow_machine *m, const struct leaf *leaf, uint32_t slot, bool set);
/* The same without counting the look-up, for those who look from outside. */
bool side_marker_look(const cow_machine *m, const struct leaf *leaf, uint32_t slot);

static inline bool marker_get(cow_machine *m, const struct leaf *leaf, uint32_t slot,
			      const struct frame *frame)
{
	switch (m->state.marker) {
	case COW_MARKER_NONE:
		return false;
	case COW_MARKER_FRAME:
		return frame_exclusive(m, frame);
	case COW_MARKER_PTE:
		return leaf->ptes[slot] & PTE_MARKER;
	default:
		return side_marker_get(m, leaf, slot);
	}
}

static inline void marker_put(cow_machine *m, const struct leaf *leaf, uint32_t slot,
			      struct frame *frame, bool set)
{
	switch (m->state.marker) {
	case COW_MARKER_NONE:
		break;
	case COW_MARKER_FRAME:
		if (!set && (frame->flags & FRAME_LARGE))
			folio_settle(m, frame->owner);
		frame->flags = set ? frame->flags | FRAME_EXCLUSIVE
				   : frame->flags & ~(uint32_t)FRAME_EXCLUSIVE;
		break;
	case COW_MARKER_PTE:
		leaf->ptes[slot] = set ? leaf->ptes[slot] | PTE_MARKER
				       : leaf->ptes[slot] & ~PTE_MARKER;
		break;
	default:
		side_marker_put(m, leaf, slot, set);
	}
}

#endif
