/* SPDX-License-Identifier: MIT
 *
 * Splitting a PMD, after __split_huge_pmd_locked: the folio stays, each page gets a PTE of its own.
 */
#include "machine/pmd.h"
#include "machine/plant.h"

/*
 * Filling 512 PTEs is what a split costs: two at once, and LINE of them a round, take two thirds of
 * the time of a plain loop.  No PMD maps fewer pages.  The frames are not touched: the folio
 * counts for all of them.
 */
typedef uint64_t pte_words __attribute__((vector_size(16)));
enum { LINE = 4 };

/* The PTEs of as many frames, `pte` that of the first. */
static void map_pages(const struct leaf *leaf, uint32_t pages, uint64_t pte)
{
	pte_words words = { pte, pte + pte_make(1, 0) }, next = { pte_make(2, 0), pte_make(2, 0) };

	for (uint32_t line = 0; line < pages; line += LINE) {
		for (uint32_t slot = line; slot < line + LINE; slot += 2) {
			memcpy(&leaf->ptes[slot], &words, sizeof(words));
			words += next;
		}
	}
}

/* The marker of each page in a table beside the page table. */
static void mark_side(cow_machine *m, const struct leaf *leaf)
{
	uint32_t pages = leaf_entries(m);
	uint64_t *side;

	side_marker_put(m, leaf, 0, true); /* makes the extra table */
	side = m->state.marker == COW_MARKER_ADJACENT
		       ? leaf->ptes + pages
		       : table_at(m, table_info(m, leaf->table)->extra);
	for (uint32_t slot = 1; slot < pages; slot++)
		side[slot] = true;
	machine_count(m, COW_COUNT_SIDE_LOOKUPS,
		      (uint64_t)(pages - 1) * (m->state.marker == COW_MARKER_EXTRA ? 2 : 1));
}

/* __split_huge_pmd_locked: a dirty PMD makes the folio dirty (PG_dirty), and until v6.1 the PTEs are clean
 * then. */
static void split_dirty(cow_machine *m, uint64_t *pmd)
{
	if (!(*pmd & PTE_DIRTY) || (*pmd & PTE_SPECIAL))
		return;
	page_make_dirty(m, pte_frame(*pmd));
	if ((m->policy->flags & COW_POLICY_SPLIT_CLEANS) && !PLANTED(62))
		*pmd &= ~PTE_DIRTY;
}

void pmd_split(cow_machine *m, uint32_t mm, struct leaf *leaf)
{
	split_dirty(m, leaf->pmd);
	pmd_split_alike(m, mm, leaf);
}

void pmd_split_alike(cow_machine *m, uint32_t mm, struct leaf *leaf)
{
	uint64_t pmd = *leaf->pmd;
	bool marker = pmd_marker_get(m, pmd);
	uint64_t flags = pmd & UINT64_C(0xffffffff) & ~(PTE_HUGE | PTE_MARKER);
	uint32_t pages = (uint32_t)pmd_pages(m);
	struct folio *folio;

	machine_count(m, COW_COUNT_PMD_SPLITS, 1);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	pmd_to_table(m, leaf, &mm_at(m, mm)->tables);
	table_info(m, leaf->table)->used = pages;
	if (pmd & PTE_SPECIAL) {
		for (uint32_t slot = 0; slot < pages; slot++)
			leaf->ptes[slot] = pte_make(0, flags);
		return;
	}
	if (marker && m->state.marker == COW_MARKER_PTE && !PLANTED(26))
		flags |= PTE_MARKER;
	map_pages(leaf, pages, pte_make(pte_frame(pmd), flags));
	if (marker && m->state.marker >= COW_MARKER_ADJACENT)
		mark_side(m, leaf);
	folio = folio_of(m, pte_frame(pmd));
	if (marker && m->state.marker == COW_MARKER_FRAME)
		folio->flags |= FOLIO_EXCLUSIVE;
	folio->flags = marker ? folio->flags & ~(uint32_t)FOLIO_HEAD_SHARED
			      : folio->flags | FOLIO_HEAD_SHARED;
	folio->entire--;
	folio->every++;
	folio->refcount += pages - 1;
	folio_add(folio, mm, pages - 1);
}

void pmd_split_at(cow_machine *m, uint32_t mm, uint64_t page)
{
	struct leaf leaf;

	if (page < m->pages && pmd_find(m, mm_at(m, mm)->root, page, &leaf) && leaf.first != page)
		pmd_split(m, mm, &leaf);
}

int pmd_split_reserve(cow_machine *m)
{
	int error;

	if (!m->state.pmds)
		return 0;
	error = machine_reserve(m, POOL_TABLE, 4);
	return error ? error : machine_reserve(m, POOL_INFO, pool_spare(&m->pools[POOL_TABLE]));
}
