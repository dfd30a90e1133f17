/* SPDX-License-Identifier: MIT
 *
 * Which moves a state has.
 */
#include "explore/moves.h"
#include "machine/pmd.h"
#include "machine/vma.h"

/* Base pages of a process, as sets. */
struct pages {
	uint32_t mapped, readable, writable;
	uint32_t filled; /* an entry, or a cell */
	uint32_t present, swapped;
	uint32_t huge; /* mapped by a PMD */
	uint32_t mergeable, dontfork, wipeonfork, tracked, uffd;
};

/* What one leaf table or PMD holds of the region, which begins at page `base`. */
static void look_leaf(const cow_machine *m, const struct leaf *leaf, uint64_t page, uint64_t end,
		      uint64_t base, struct pages *pages)
{
	for (; page < end; page++) {
		uint64_t entry = leaf->pmd ? *leaf->pmd : leaf->ptes[leaf_slot(m, page)];
		uint32_t bit = 1u << (page - base);

		if (entry)
			pages->filled |= bit;
		if (entry & PTE_SWAP)
			pages->swapped |= bit;
		if (entry & PTE_PRESENT)
			pages->present |= bit;
		if (leaf->pmd)
			pages->huge |= bit;
	}
}

static void look_side(const struct side *side, const struct rules *rules, uint32_t process,
		      struct pages *pages)
{
	const cow_machine *m = side->machine;
	uint32_t mm = side->processes[process].index;
	uint64_t base = side->bound->homes[process] ? rules->home : 0;
	uint64_t end = base + (uint64_t)rules->pages * rules->unit;
	uint64_t page = base;
	struct leaf leaf;

	for (uint32_t at = mm_at(m, mm)->vma_first; at; at = vma_at(m, at)->next) {
		const struct vma *vma = vma_at(m, at);
		uint32_t set = (1u << (vma->end - base)) - (1u << (vma->start - base));

		pages->mapped |= set;
		pages->readable |= vma->flags & VMA_READ ? set : 0;
		pages->writable |= vma->flags & VMA_WRITE ? set : 0;
		pages->mergeable |= vma->flags & VMA_MERGEABLE ? set : 0;
		pages->dontfork |= vma->flags & VMA_DONTCOPY ? set : 0;
		pages->wipeonfork |= vma->flags & VMA_WIPEONFORK ? set : 0;
		pages->tracked |= vma->flags & VMA_TRACKED ? set : 0;
		pages->uffd |= vma->flags & VMA_UFFD_WP ? set : 0;
	}
	while (leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf)) {
		uint64_t behind = leaf.first + leaf_entries(m);

		if (behind > end)
			behind = end;
		look_leaf(m, &leaf, page, behind, base, pages);
		page = behind;
	}
	for (uint32_t i = 0; i < end - base; i++) {
		const uint64_t *cell =
			side->audit->processes[mm_at(m, mm)->number].leaves
				? cell_find(side->audit, mm_at(m, mm)->number, base + i)
				: NULL;

		if (cell && *cell)
			pages->filled |= 1u << i;
	}
}

/* madvise of a place that is mapped. */
static bool advice_does(uint32_t advice, const struct pages *pages, uint32_t set)
{
	switch (advice) {
	case COW_ADV_DONTNEED:
		return pages->filled & set;
	case COW_ADV_FREE:
	case COW_ADV_PAGEOUT:
	case COW_ADV_COLD:
		return (pages->present | pages->swapped) & set;
	case COW_ADV_DONTFORK:
		return set & ~pages->dontfork;
	case COW_ADV_DOFORK:
		return set & pages->dontfork;
	case COW_ADV_WIPEONFORK:
		return set & ~pages->wipeonfork;
	case COW_ADV_KEEPONFORK:
		return set & pages->wipeonfork;
	case COW_ADV_MERGEABLE:
		return set & ~pages->mergeable;
	case COW_ADV_UNMERGEABLE:
		return set & pages->mergeable;
	default:
		return true;
	}
}

static bool protect_does(enum cow_prot prot, const struct pages *pages, uint32_t set)
{
	uint32_t readable = prot ? set : 0, writable = prot & COW_PROT_WRITE ? set : 0;

	return ((pages->readable & set) ^ readable) | ((pages->writable & set) ^ writable);
}

/* True if a kind does anything at a place, which is a set of base pages. */
static bool kind_does(const struct cow_kind *row, const struct pages *pages, uint32_t set)
{
	if ((pages->mapped & set) != set)
		return false;
	switch (row->verb) {
	case COW_EV_READ:
		return (pages->readable & set) == set;
	case COW_EV_WRITE:
		return (pages->writable & set) == set;
	case COW_EV_GET:
	case COW_EV_PIN:
		return ((row->flags & COW_GUP_WRITE ? pages->writable : pages->readable) & set) ==
		       set;
	case COW_EV_MPROTECT:
		return protect_does(row->prot, pages, set);
	case COW_EV_MADVISE:
		return advice_does(row->flags, pages, set);
	case COW_EV_UFFD_WP:
		return row->value || (pages->uffd & set) == set;
	case COW_EV_SWAP_OUT:
	case COW_EV_SWAP_OUT_BEGIN:
	case COW_EV_MIGRATE:
	case COW_EV_NUMA_HINT:
		return pages->present & set;
	case COW_EV_DROP:
	case COW_EV_SWAP_IN:
		return pages->swapped & set;
	case COW_EV_SPLIT:
		return pages->huge & set;
	default:
		return true;
	}
}

enum where { NOWHERE, ANYWHERE, PLACES, UNITS, REFERENCES };

/* What the operand of a kind is. */
static enum where kind_where(const struct cow_kind *row)
{
	switch (row->verb) {
	case COW_EV_FORK:
	case COW_EV_EXIT:
	case COW_EV_CLEAR_REFS:
	case COW_EV_MMAP:
	case COW_EV_MREMAP:
		return ANYWHERE;
	case COW_EV_WRITEBACK_DONE:
	case COW_EV_KSM:
		return NOWHERE;
	case COW_EV_PEEK:
	case COW_EV_POKE:
	case COW_EV_RELEASE:
		return REFERENCES;
	case COW_EV_FORCE_WRITE:
		return UNITS;
	default:
		return PLACES;
	}
}

static bool anywhere_does(const struct world *world, const struct cow_kind *row, uint32_t process,
			  const struct pages *pages)
{
	const struct bound *bound = world->sides[0].bound;
	uint32_t whole = (1u << world->rules->pages * world->rules->unit) - 1;

	switch (row->verb) {
	case COW_EV_FORK:
		return (uint32_t)__builtin_popcount(bound->alive) < world->rules->processes;
	case COW_EV_MMAP:
		return !pages->mapped;
	case COW_EV_MREMAP: {
		const cow_machine *m = world->sides[0].machine;
		uint32_t mm = world->sides[0].processes[process].index;

		/* Of more VMAs than one it is an error, or was until v6.16. */
		return pages->mapped == whole &&
		       (mm_at(m, mm)->vmas == 1 || (m->policy->flags & COW_POLICY_MREMAP_MANY));
	}
	case COW_EV_CLEAR_REFS:
		return pages->mapped;
	default:
		return true;
	}
}

static bool nowhere_does(const struct world *world, const struct cow_kind *row)
{
	const cow_machine *m = world->sides[0].machine;

	if (row->verb == COW_EV_KSM)
		return true;
	for (uint32_t slot = 1; slot < m->pools[POOL_SLOT].used; slot++) {
		uint32_t frame = slot_at(m, slot)->frame;

		if (frame && frame < m->pools[POOL_FRAME].used &&
		    (frame_at(m, frame)->flags & (FRAME_SWAPCACHE | FRAME_WRITEBACK)) ==
			    (FRAME_SWAPCACHE | FRAME_WRITEBACK))
			return true;
	}
	return false;
}

static bool reference_does(const struct world *world, const struct cow_kind *row, uint32_t ref)
{
	const struct side *side = &world->sides[0];

	if (!(side->bound->held >> ref & 1))
		return false;
	return row->verb != COW_EV_POKE ||
	       (ref_at(side->machine, side->refs[ref].index)->flags & COW_GUP_WRITE);
}

/* The moves of one kind by one process. */
static uint32_t process_moves(const struct world *world, uint8_t index, uint8_t process,
			      const struct pages *pages, struct move *moves)
{
	const struct rules *rules = world->rules;
	const struct cow_kind *row = &rules->rows[index];
	enum where where = kind_where(row);
	uint32_t count = 0, places = place_count(rules);

	if (where == ANYWHERE && anywhere_does(world, row, process, pages))
		moves[count++] = (struct move){ index, process, 0 };
	if (where == UNITS)
		for (uint8_t unit = 0; unit < rules->pages; unit++)
			if (pages->mapped >> unit * rules->unit & 1)
				moves[count++] = (struct move){ index, process, unit };
	if (where != PLACES ||
	    ((row->verb == COW_EV_GET || row->verb == COW_EV_PIN) &&
	     (uint32_t)__builtin_popcount(world->sides[0].bound->held) >= rules->refs))
		return count;
	for (uint8_t operand = 0; operand < places; operand++) {
		struct place place = place_of(rules, operand);

		if (kind_does(row, pages, ((1u << place.pages) - 1) << place.first))
			moves[count++] = (struct move){ index, process, operand };
	}
	return count;
}

uint32_t moves_list(const struct world *world, struct move moves[MOST_MOVES])
{
	const struct rules *rules = world->rules;
	const struct bound *bound = world->sides[0].bound;
	uint32_t count = 0;

	for (uint8_t process = 0; process < rules->processes; process++) {
		struct pages pages = { 0 };

		if (!(bound->alive >> process & 1))
			continue;
		for (uint32_t i = 0; i < rules->sides; i++)
			look_side(&world->sides[i], rules, process, &pages);
		for (uint8_t row = 0; row < rules->row_count; row++)
			count += process_moves(world, row, process, &pages, &moves[count]);
	}
	for (uint8_t row = 0; row < rules->row_count; row++) {
		enum where where = kind_where(&rules->rows[row]);

		if (where == NOWHERE && nowhere_does(world, &rules->rows[row]))
			moves[count++] = (struct move){ row, 0, 0 };
		for (uint8_t ref = 0; where == REFERENCES && ref < rules->refs; ref++)
			if (reference_does(world, &rules->rows[row], ref))
				moves[count++] = (struct move){ row, 0, ref };
	}
	return count;
}

bool move_possible(const struct world *world, struct move move)
{
	struct move moves[MOST_MOVES];
	uint32_t count = moves_list(world, moves);

	for (uint32_t i = 0; i < count; i++)
		if (move_code(moves[i]) == move_code(move))
			return true;
	return false;
}

bool kind_usable(const struct cow_kind *kind)
{
	const uint32_t gup = COW_GUP_WRITE | COW_GUP_LONGTERM | COW_GUP_FAST;

	switch (kind->verb) {
	case COW_EV_MMAP:
		return !(kind->flags & ~(uint32_t)COW_EVENT_THP) &&
		       (unsigned)kind->prot <= COW_PROT_RW;
	case COW_EV_MPROTECT:
		return (unsigned)kind->prot <= COW_PROT_RW;
	case COW_EV_MADVISE:
		return kind->flags < COW_ADVICE_COUNT;
	case COW_EV_GET:
		return !(kind->flags & ~(uint32_t)(COW_GUP_WRITE | COW_GUP_FAST));
	case COW_EV_PIN:
		return !(kind->flags & ~gup);
	case COW_EV_UFFD_WP:
		return kind->value <= 1;
	case COW_EV_WRITE:
	case COW_EV_POKE:
	case COW_EV_FORCE_WRITE:
		return kind->value < FRESH_VALUE;
	case COW_EV_FILE_WRITE:
	case COW_EV_TRUNCATE:
	case COW_EV_DRAIN_LRU:
	case COW_EV_SWAPOFF:
	case COW_EV_UFFD_MOVE:
	case COW_EV_REPEAT:
	case COW_EV_END:
		return false;
	default:
		return (unsigned)kind->verb < COW_VERB_COUNT;
	}
}
