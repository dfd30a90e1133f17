/* SPDX-License-Identifier: MIT
 *
 * The debug check, third part: page tables.  Tables count their entries; each entry maps what its
 * VMA may map, with the permission that it may have, and the reverse map leads to it.  Read
 * check_hold.c next.
 */
#include "machine/check.h"

static const uint64_t pte_bits = PTE_PRESENT | PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_PROTNONE |
				 PTE_SPECIAL | PTE_SOFT | PTE_UFFD;
static const uint64_t swap_bits = PTE_SWAP | PTE_SOFT | PTE_UFFD;

/* An entry of a page table, and what it maps. */
struct seen_entry {
	const struct vma *vma;
	uint64_t page;
	uint64_t entry;
	uint32_t frame;
	uint32_t mapped; /* how often the page is mapped; of a PMD its folio */
	bool marker, pmd;
};

static bool on_chain(const struct check *check, const struct vma *vma, uint32_t anon)
{
	for (uint32_t at = vma->chain; at; at = avc_at(check->m, at)->next_of_vma)
		if (avc_at(check->m, at)->anon == anon)
			return true;
	return false;
}

static int check_rmap(struct check *check, const struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	const struct frame *frame = frame_at(m, seen->frame);
	uint64_t pgoff = vma_pgoff(seen->vma, seen->page);
	uint32_t item;

	if (frame->flags & FRAME_KSM) {
		item = frame->flags & FRAME_SWAPCACHE ? slot_at(m, frame->owner)->owner
						      : frame->owner;
		if (!item)
			return 0; /* ksm_lost */
		for (; item; item = item_at(m, item)->next)
			if (item_at(m, item)->index == pgoff &&
			    on_chain(check, seen->vma, item_at(m, item)->anon))
				return 0;
		return bad(check, "frame %u is mapped by a VMA that none of its items leads to",
			   seen->frame);
	}
	if (page_index(m, seen->frame) != pgoff)
		return bad(check,
			   "frame %u is mapped at an offset that the reverse map does not know",
			   seen->frame);
	return on_chain(check, seen->vma, page_anon(m, seen->frame))
		       ? 0
		       : bad(check, "frame %u is mapped by a VMA that its anon does not lead to",
			     seen->frame);
}

/* An anonymous page: marked or writable, it is this mm's alone. */
static int check_anon_entry(struct check *check, const struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	bool alone = seen->mapped == 1 && !(frame_at(m, seen->frame)->flags & FRAME_KSM);

	if (seen->marker && !alone)
		return bad(check, "frame %u is marked exclusive and mapped %u times", seen->frame,
			   seen->mapped);
	if ((seen->entry & PTE_WRITE) &&
	    (!alone || (m->state.marker != COW_MARKER_NONE && !seen->marker) ||
	     frame_swapcount(m, seen->frame)))
		return bad(check, "frame %u is writable, mapped %u times%s%s", seen->frame,
			   seen->mapped, seen->marker ? "" : " and not marked exclusive",
			   frame_swapcount(m, seen->frame) ? ", and named by swap entries" : "");
	return check_rmap(check, seen);
}

/* A page of an object, mapped shared or private. */
static int check_object_entry(struct check *check, const struct seen_entry *seen)
{
	const cow_machine *m = check->m;

	if (!(frame_at(m, seen->frame)->flags & FRAME_SHARED) ||
	    page_object(m, seen->frame) != seen->vma->object ||
	    page_index(m, seen->frame) != vma_pgoff(seen->vma, seen->page))
		return bad(check, "frame %u is not the object's page", seen->frame);
	if (!(seen->vma->flags & VMA_SHARED) && (seen->entry & PTE_WRITE))
		return bad(check, "frame %u of a file is writable in a private mapping",
			   seen->frame);
	return seen->marker ? bad(check, "frame %u of an object is marked exclusive", seen->frame)
			    : 0;
}

static int check_mapping(struct check *check, const struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	unsigned long long page = seen->page;
	uint32_t flags;

	if ((seen->entry & PTE_WRITE) && (seen->entry & PTE_UFFD) &&
	    (seen->vma->flags & VMA_UFFD_WP))
		return bad(check, "page %llu is writable, and userfaultfd write-protects it", page);
	if ((seen->entry & PTE_WRITE) && !(seen->vma->flags & VMA_WRITE) &&
	    !((seen->vma->flags & VMA_HUGETLB) &&
	      (m->policy->flags & (COW_POLICY_FORCE_OPENS_HUGETLB | COW_POLICY_FORK_OPENS_HUGETLB))))
		return bad(check, "page %llu is writable against its VMA", page);
	if (seen->entry & PTE_SPECIAL) {
		if (seen->frame || seen->marker || (seen->entry & PTE_WRITE))
			return bad(check, "page %llu is the zero page, and writable or marked",
				   page);
		return seen->vma->flags & VMA_SHARED
			       ? bad(check, "page %llu of shared memory is the zero page", page)
			       : 0;
	}
	flags = frame_at(m, seen->frame)->flags;
	if (flags & FRAME_ZERO)
		return bad(check, "page %llu maps the zero page as if it were none", page);
	if (!(seen->vma->flags & VMA_SHARED) && (flags & FRAME_ANON))
		return check_anon_entry(check, seen);
	if (!seen->vma->object)
		return bad(check, "frame %u in a private mapping is not anonymous", seen->frame);
	return check_object_entry(check, seen);
}

/* One mapping more of a folio, by an mm. */
static void sum_mapping(struct check *check, uint32_t folio, uint32_t mm)
{
	struct folio_sum *sum = &check->folios[folio];

	sum->mapped++;
	sum->many |= sum->mm && sum->mm != mm;
	sum->mm = mm;
	for (int i = 0; i < 2; i++)
		sum->ids[i] += folio_at(check->m, folio)->mm[i] == mm;
}

static int check_swap(struct check *check, const struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	uint32_t slot = pte_frame(seen->entry);
	uint64_t marks = m->state.marker == COW_MARKER_FRAME || m->state.marker == COW_MARKER_PTE
				 ? PTE_MARKER
				 : 0;

	if ((seen->entry & UINT32_MAX & ~(swap_bits | marks)) || !in_use(check, POOL_SLOT, slot) ||
	    seen->vma->flags & (VMA_SHARED | VMA_HUGETLB))
		return bad(check, "the swap entry of page %llu names no slot in use",
			   (unsigned long long)seen->page);
	check->slots[slot].entries++;
	check->slots[slot].marked += seen->marker;
	return 0;
}

static int check_pte(struct check *check, struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	uint64_t bits = m->state.marker == COW_MARKER_PTE ? pte_bits | PTE_MARKER : pte_bits;
	const struct frame *frame;

	if (seen->vma->flags & VMA_HUGETLB)
		return bad(check, "page %llu of hugetlb memory has a page table",
			   (unsigned long long)seen->page);
	if (seen->entry & PTE_SWAP)
		return check_swap(check, seen);
	if (pte_is_marker(seen->entry))
		return seen->vma->object && (seen->vma->flags & VMA_UFFD_WP) && !seen->marker
			       ? 0
			       : bad(check, "page %llu has a PTE marker where none may be",
				     (unsigned long long)seen->page);
	seen->frame = pte_frame(seen->entry);
	if (!(seen->entry & PTE_PRESENT) || (seen->entry & UINT32_MAX & ~bits) ||
	    (seen->frame && !in_use(check, POOL_FRAME, seen->frame)))
		return bad(check, "the PTE of page %llu maps no frame in use",
			   (unsigned long long)seen->page);
	frame = frame_at(m, seen->frame);
	if (frame->flags & FRAME_POOLED)
		return bad(check, "a PTE maps frame %u of the hugetlb pool", seen->frame);
	if (!(seen->entry & PTE_SPECIAL) && seen->frame) {
		seen->mapped = page_mapcount(m, seen->frame);
		check->mappings[seen->frame]++;
		if (frame->flags & FRAME_LARGE)
			sum_mapping(check, frame->owner, seen->vma->mm);
		if (hold(check, seen->frame, 1, 0))
			return -EUCLEAN;
	}
	return check_mapping(check, seen);
}

/* A PMD of hugetlb that maps nothing. */
static int check_note(struct check *check, const struct seen_entry *seen)
{
	uint64_t what = seen->entry & ~PTE_HUGE;
	bool fits = (seen->vma->flags & VMA_HUGETLB) && what && !(what & ~(PTE_UFFD | PMD_SPENT)) &&
		    seen->vma->end - seen->page >= pmd_pages(check->m);

	if (!fits || ((what & PTE_UFFD) && !(seen->vma->flags & VMA_UFFD_WP)) ||
	    ((what & PMD_SPENT) && !(seen->vma->flags & VMA_RESERVED)))
		return bad(check, "the PMD of page %llu maps nothing, and tells what cannot be",
			   (unsigned long long)seen->page);
	check->promised -= (what & PMD_SPENT) != 0;
	return 0;
}

static int check_pmd(struct check *check, struct seen_entry *seen)
{
	const cow_machine *m = check->m;
	bool huge = seen->vma->flags & VMA_HUGETLB;
	uint64_t bits = pte_bits | PTE_HUGE | (m->state.marker > COW_MARKER_FRAME ? PTE_MARKER : 0);
	uint32_t index;

	seen->pmd = true;
	if (pmd_is_note(seen->entry))
		return check_note(check, seen);
	seen->frame = pte_frame(seen->entry);
	if (!pmd_possible(m) || !(seen->entry & PTE_PRESENT) ||
	    (seen->entry & UINT32_MAX & ~bits) || seen->vma->end - seen->page < pmd_pages(m))
		return bad(check, "the PMD of page %llu maps no huge page of one VMA",
			   (unsigned long long)seen->page);
	if ((seen->entry & PTE_SPECIAL) && (huge || seen->vma->object))
		return bad(check, "the PMD of page %llu maps the huge zero page where it must not",
			   (unsigned long long)seen->page);
	if (seen->entry & PTE_SPECIAL)
		return check_mapping(check, seen);
	if (!in_use(check, POOL_FRAME, seen->frame) || !frame_large(m, seen->frame) ||
	    folio_of(m, seen->frame)->head != seen->frame ||
	    folio_of(m, seen->frame)->order != pmd_order(m) ||
	    !(folio_of(m, seen->frame)->flags & FOLIO_HUGETLB) != !huge)
		return bad(check, "the PMD of page %llu maps no folio of its size",
			   (unsigned long long)seen->page);
	index = frame_at(m, seen->frame)->owner;
	seen->mapped = folio_at(m, index)->mapcount;
	check->folios[index].entire++;
	sum_mapping(check, index, seen->vma->mm);
	if ((seen->vma->flags & VMA_RESERVED) && (frame_at(m, seen->frame)->flags & FRAME_ANON))
		check->promised--;
	if (hold(check, seen->frame, 1, 0))
		return -EUCLEAN;
	return check_mapping(check, seen);
}

static bool marker_look(const cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	uint64_t pte = leaf->ptes[slot];

	if (m->state.marker == COW_MARKER_NONE)
		return false;
	if (m->state.marker >= COW_MARKER_ADJACENT)
		return side_marker_look(m, leaf, slot);
	if ((pte & PTE_SWAP) || m->state.marker == COW_MARKER_PTE)
		return pte & PTE_MARKER;
	return pte_frame(pte) < m->pools[POOL_FRAME].used &&
	       frame_exclusive(m, frame_at(m, pte_frame(pte)));
}

static bool pmd_marker_look(const cow_machine *m, uint64_t pmd)
{
	return (m->state.marker != COW_MARKER_FRAME ||
		pte_frame(pmd) < m->pools[POOL_FRAME].used) &&
	       pmd_marker_get(m, pmd);
}

/* An entry of an object's tree: a page, or a huge page of the hugetlb pool. */
static int check_page(struct check *check, const struct walk *walk, uint64_t page, uint64_t entry,
		      bool pmd)
{
	const cow_machine *m = check->m;
	const struct object *object = object_at(m, walk->object);
	uint32_t index = pte_frame(entry);

	if ((uint32_t)entry != (pmd ? PTE_PRESENT | PTE_HUGE : PTE_PRESENT) ||
	    !in_use(check, POOL_FRAME, index) || pmd != frame_large(m, index) ||
	    !pmd != !(object->flags & OBJECT_HUGETLB) ||
	    !(frame_at(m, index)->flags & FRAME_SHARED) || page_object(m, index) != walk->object ||
	    page_index(m, index) != page)
		return bad(check, "object %u holds a frame that is not its own", walk->object);
	if (pmd &&
	    (folio_of(m, index)->head != index || !(folio_of(m, index)->flags & FOLIO_HUGETLB)))
		return bad(check, "object %u holds a part of a huge page", walk->object);
	if ((object->flags & OBJECT_FILE) && page >= object->pages)
		return bad(check, "object %u holds page %llu, behind its end", walk->object,
			   (unsigned long long)page);
	check->seen[POOL_FRAME][index] = SEEN;
	return hold(check, index, 1, 0);
}

static int check_entry(struct check *check, struct walk *walk, const struct leaf *leaf,
		       uint32_t slot, bool pmd)
{
	const cow_machine *m = check->m;
	uint64_t step = pmd ? pmd_pages(m) : 1;
	uint64_t page = leaf->first + slot * step;
	uint64_t entry = leaf->ptes[slot];
	struct seen_entry seen = { .page = page, .entry = entry };

	walk->pages += step;
	check->pmds += pmd;
	if (walk->object)
		return check_page(check, walk, page, entry, pmd);
	while (walk->vma && vma_at(m, walk->vma)->end <= page)
		walk->vma = vma_at(m, walk->vma)->next;
	if (!walk->vma || vma_at(m, walk->vma)->start > page)
		return bad(check, "page %llu is mapped outside any VMA", (unsigned long long)page);
	seen.vma = vma_at(m, walk->vma);
	seen.marker = pmd ? pmd_marker_look(m, entry) : marker_look(m, leaf, slot);
	return pmd ? check_pmd(check, &seen) : check_pte(check, &seen);
}

/* ---- tables ---- */

static int check_extra(struct check *check, uint32_t table, uint32_t level)
{
	const cow_machine *m = check->m;
	uint32_t extra = table_info(m, table)->extra;
	int error;

	if (!extra)
		return 0;
	error = level || m->state.marker != COW_MARKER_EXTRA
			? bad(check, "table %u has an extra table", table)
			: reach(check, POOL_TABLE, extra, "a table");
	if (!error && !zeroed(&m->pools[POOL_INFO], extra))
		error = bad(check, "the extra table of table %u has entries of its own", table);
	return error;
}

static int check_table(struct check *check, struct walk *walk, uint32_t table, uint32_t level,
		       uint64_t first)
{
	const cow_machine *m = check->m;
	uint32_t used = 0;
	struct leaf leaf;
	int error = reach(check, POOL_TABLE, table, "a page table");

	if (!error)
		error = check_extra(check, table, level);
	if (error)
		return error;
	walk->tables++;
	leaf = (struct leaf){ table_at(m, table), table, first, NULL };
	for (uint32_t slot = 0; slot < 1u << m->state.bits[level]; slot++) {
		uint64_t entry = leaf.ptes[slot];

		if (!entry) {
			if (!level && m->state.marker >= COW_MARKER_ADJACENT &&
			    side_marker_look(m, &leaf, slot))
				return bad(check, "page %llu is marked and not mapped",
					   (unsigned long long)(first + slot));
			continue;
		}
		used++;
		if (!level || (level == 1 && (entry & PTE_HUGE)))
			error = check_entry(check, walk, &leaf, slot, level);
		else if ((uint32_t)entry != PTE_TABLE)
			error = bad(check, "an entry of table %u is neither a table nor a PMD",
				    table);
		else
			error = check_table(check, walk, pte_frame(entry), level - 1,
					    first + ((uint64_t)slot << m->shifts[level]));
		if (error)
			return error;
	}
	if (!used || used != table_info(m, table)->used)
		return bad(check, "table %u holds %u entries and counts %u", table, used,
			   table_info(m, table)->used);
	return 0;
}

int check_tables(struct check *check, struct walk *walk, uint32_t root)
{
	return check_table(check, walk, root, check->m->state.levels - 1, 0);
}
