/* SPDX-License-Identifier: MIT
 *
 * Large folios: 2^order frames that are counted as one, and what that makes of every count of a
 * page.  Also the mm ids of v6.15, by which a folio tells whether one mm alone maps it.
 *
 * page_*() work on any frame, of a large folio or not; folio_*() on a folio.
 */
#ifndef COWLAB_MACHINE_FOLIO_H
#define COWLAB_MACHINE_FOLIO_H

#include "machine/table.h"

/* The order of a folio that a PMD maps; 0: this geometry has no PMDs. */
static inline uint32_t pmd_order(const cow_machine *m)
{
	return m->state.levels > 1 && m->state.bits[0] < MACHINE_ORDERS ? m->state.bits[0] : 0;
}

static inline uint64_t pmd_pages(const cow_machine *m)
{
	return UINT64_C(1) << m->state.bits[0];
}

/* The folio of a frame that has FRAME_LARGE. */
static inline struct folio *folio_of(const cow_machine *m, uint32_t frame)
{
	return folio_at(m, frame_at(m, frame)->owner);
}

static inline bool frame_large(const cow_machine *m, uint32_t frame)
{
	return frame_at(m, frame)->flags & FRAME_LARGE;
}

static inline uint32_t folio_frames(const struct folio *folio)
{
	return 1u << folio->order;
}

/* The frames from `first` on that lie behind each other in memory, at most as many as to `end`. */
static inline struct frame *frames_chunk(const cow_machine *m, uint32_t first, uint32_t end,
					 uint32_t *count)
{
	uint32_t left = (1u << FRAME_SHIFT) - (first & ((1u << FRAME_SHIFT) - 1));

	*count = left < end - first ? left : end - first;
	return frame_at(m, first);
}

/* Makes room for `small` frames and `large` folios of an order, as far as the machine has them.
 * Returns 0 or -ENOMEM. */
int folio_reserve(cow_machine *m, uint64_t small, uint32_t order, uint64_t large);
/* Takes a folio of zeroed frames with no reference yet, from those reserved; 0: the machine has not
 * as many frames left.  `pooled`: of the hugetlb pool, which the caller counts. */
uint32_t folio_alloc(cow_machine *m, uint32_t order, bool pooled);
/* Makes a folio just taken an anonymous one of a VMA, with one reference and no mapping. */
void folio_make_anon(cow_machine *m, uint32_t folio, uint32_t anon, uint64_t index);

/* The same, each page mapped by a PTE of the mm that owns it outright; the marker is set where
 * it lives in the frame. */
void folio_make_mapped(cow_machine *m, uint32_t folio, uint32_t anon, uint64_t index, uint32_t mm);
/* Copies the content of as many frames, from `from` on. */
void folio_copy(cow_machine *m, uint32_t folio, uint32_t from);

/* Makes a folio just taken pages of an object, with the reference of the page cache. */
void folio_make_shared(cow_machine *m, uint32_t folio, uint32_t object, uint64_t index);

/* More or fewer mappings by an mm: mapcount and mm ids (folio_add_large_mapcount). */
void folio_add(struct folio *folio, uint32_t mm, uint32_t mappings);
void folio_remove(struct folio *folio, uint32_t mm, uint32_t mappings);

/* The first PMD maps a new folio, whose reference is the mapping's. */
void folio_map_new(cow_machine *m, uint32_t folio, uint32_t mm);
/* A PMD of the mm maps it, or does no more; unmapping drops the reference too. */
void folio_map_pmd(cow_machine *m, uint32_t folio, uint32_t mm);
void folio_unmap_pmd(cow_machine *m, uint32_t folio, uint32_t mm);

/* page_trans_huge_map_swapcount: how often that page of it is mapped that is mapped most. */
uint32_t folio_mapped_most(const cow_machine *m, const struct folio *folio);

/* Drops references, and frees the folio with the last one.  The hugetlb pool gets its page back. */
void folio_put(cow_machine *m, uint32_t folio, uint32_t references);

/* True if every reference is a mapping: the folio can be split. */
static inline bool folio_splittable(const struct folio *folio)
{
	return !folio->entire && folio->refcount == folio->mapcount &&
	       !(folio->flags & FOLIO_HUGETLB);
}

/* Makes base pages of a folio that is splittable, each as dirty as it was; those that nothing maps are
 * freed. */
void folio_split(cow_machine *m, uint32_t folio);

/* ---- any frame ---- */

static inline uint32_t page_refcount(const cow_machine *m, uint32_t frame)
{
	return frame_large(m, frame) ? folio_of(m, frame)->refcount : frame_at(m, frame)->refcount;
}

/* PTEs and PMDs that map this page. */
static inline uint32_t page_mapcount(const cow_machine *m, uint32_t frame)
{
	const struct frame *at = frame_at(m, frame);
	const struct folio *folio;

	if (!(at->flags & FRAME_LARGE))
		return at->mapcount;
	folio = folio_at(m, at->owner);
	return at->mapcount + folio->every + folio->entire;
}

/* PTEs and PMDs that map its folio. */
static inline uint32_t page_folio_mapcount(const cow_machine *m, uint32_t frame)
{
	return frame_large(m, frame) ? folio_of(m, frame)->mapcount : frame_at(m, frame)->mapcount;
}

/* page_maybe_dma_pinned: exact for a large folio. */
static inline bool page_maybe_pinned(const cow_machine *m, uint32_t frame)
{
	return frame_large(m, frame) ? folio_of(m, frame)->pincount > 0
				     : frame_at(m, frame)->refcount >= PIN_BIAS;
}

/* folio_test_dirty, folio_mark_dirty, folio_clear_dirty of an anonymous page. */
static inline bool page_dirty(const cow_machine *m, uint32_t frame)
{
	const struct frame *at = frame_at(m, frame);

	return at->flags & FRAME_LARGE ? (folio_at(m, at->owner)->flags & FOLIO_DIRTY) != 0
				       : (at->flags & FRAME_DIRTY) != 0;
}

static inline void page_make_dirty(cow_machine *m, uint32_t frame)
{
	struct frame *at = frame_at(m, frame);

	if (!(at->flags & FRAME_ANON) || (at->flags & (FRAME_SWAPCACHE | FRAME_POOLED)))
		return;
	if (at->flags & FRAME_LARGE)
		folio_at(m, at->owner)->flags |= FOLIO_DIRTY;
	else
		at->flags |= FRAME_DIRTY;
}

static inline void page_make_clean(cow_machine *m, uint32_t frame)
{
	struct frame *at = frame_at(m, frame);

	if (at->flags & FRAME_LARGE)
		folio_at(m, at->owner)->flags &= ~(uint32_t)FOLIO_DIRTY;
	else
		at->flags &= ~(uint32_t)FRAME_DIRTY;
}

/* folio_mark_lazyfree, and folio_set_swapbacked. */
void page_lazyfree(cow_machine *m, uint32_t frame, bool set);

/* A process has made a page of a large folio, which PTEs map, its own. */
static inline void folio_head_owned(const cow_machine *m, uint32_t frame)
{
	struct folio *folio = folio_of(m, frame);

	if (frame == folio->head)
		folio->flags &= ~(uint32_t)FOLIO_HEAD_SHARED;
}

/* One PTE of the mm maps the frame: a reference, and a mapping. */
static inline void page_map(cow_machine *m, uint32_t frame, uint32_t mm)
{
	struct frame *at = frame_at(m, frame);

	machine_count(m, COW_COUNT_ATOMICS, 2);
	at->mapcount++;
	if (at->flags & FRAME_LARGE) {
		struct folio *folio = folio_at(m, at->owner);

		folio->refcount++;
		folio_add(folio, mm, 1);
		if (frame == folio->head)
			folio->flags |= FOLIO_HEAD_SHARED;
	} else {
		at->refcount++;
	}
}

/* The anon of an anonymous frame, wherever it is kept; 0 of a KSM page. */
static inline uint32_t page_anon(const cow_machine *m, uint32_t frame)
{
	const struct frame *at = frame_at(m, frame);
	uint32_t owner = at->owner;

	if (!(at->flags & FRAME_ANON) || (at->flags & FRAME_KSM))
		return 0;
	if (at->flags & FRAME_LARGE)
		return folio_at(m, owner)->owner;
	return at->flags & FRAME_SWAPCACHE ? slot_at(m, owner)->owner : owner;
}

/* The object of a frame with FRAME_SHARED. */
static inline uint32_t page_object(const cow_machine *m, uint32_t frame)
{
	const struct frame *at = frame_at(m, frame);

	return at->flags & FRAME_LARGE ? folio_at(m, at->owner)->owner : at->owner;
}

/* Its page offset within its anon or object; of a KSM page 0. */
static inline uint64_t page_index(const cow_machine *m, uint32_t frame)
{
	if (frame_large(m, frame))
		return folio_of(m, frame)->index + (frame - folio_of(m, frame)->head);
	return frame_at(m, frame)->flags & FRAME_KSM ? 0 : frame_body(m, frame)->index;
}

/* page_move_anon_rmap */
static inline void page_set_anon(cow_machine *m, uint32_t frame, uint32_t anon)
{
	struct frame *at = frame_at(m, frame);

	if (at->flags & FRAME_LARGE)
		folio_at(m, at->owner)->owner = anon;
	else if (at->flags & FRAME_SWAPCACHE)
		slot_at(m, at->owner)->owner = anon;
	else
		at->owner = anon;
}

/* ---- entries that map folios ---- */

/* The frame of a page that a PMD maps. */
static inline uint32_t pmd_frame(const cow_machine *m, uint64_t pmd, uint64_t page)
{
	return pmd & PTE_SPECIAL
		       ? 0
		       : pte_frame(pmd) + ((uint32_t)page & ((1u << m->state.bits[0]) - 1));
}

/* The marker of a folio that a PMD maps: in its first frame, or in the entry for every other
 * home. */
static inline bool pmd_marker_get(const cow_machine *m, uint64_t pmd)
{
	if (m->state.marker == COW_MARKER_NONE || (pmd & PTE_SPECIAL))
		return false;
	return m->state.marker == COW_MARKER_FRAME
		       ? frame_at(m, pte_frame(pmd))->flags & FRAME_EXCLUSIVE
		       : (pmd & PTE_MARKER) != 0;
}

static inline void pmd_marker_put(cow_machine *m, uint64_t *pmd, bool set)
{
	struct frame *head = frame_at(m, pte_frame(*pmd));

	if (m->state.marker == COW_MARKER_NONE)
		return;
	if (m->state.marker == COW_MARKER_FRAME)
		head->flags = set ? head->flags | FRAME_EXCLUSIVE
				  : head->flags & ~(uint32_t)FRAME_EXCLUSIVE;
	else
		*pmd = set ? *pmd | PTE_MARKER : *pmd & ~PTE_MARKER;
}

#endif
