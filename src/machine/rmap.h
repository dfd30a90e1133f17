/* SPDX-License-Identifier: MIT
 *
 * The reverse map: from a frame to the entries that map it.  Of an anonymous page through the VMAs on
 * its anon's list, of a KSM page through its items, of a page of an object through the VMAs that map
 * the object.  The cost grows with those VMAs, not with the machine.
 */
#ifndef COWLAB_MACHINE_RMAP_H
#define COWLAB_MACHINE_RMAP_H

#include "machine/anon.h"
#include "machine/folio.h"

/* One entry that maps a page. */
struct mapping {
	uint32_t vma;
	uint64_t page;      /* of a PMD: its first page */
	struct leaf leaf;   /* table of the PTE; of a PMD: leaf.pmd is the entry */
	uint32_t slot;      /* of the PTE in leaf.ptes */
};

/* May change or empty the entry and free tables, but change no VMA.  Once nothing maps the frame,
 * the walk ends by itself.  @return false to stop */
typedef bool rmap_fn(cow_machine *m, const struct mapping *mapping, void *ctx);

/* Visits every entry that maps the frame; of a frame of a large folio the PMDs that map it too. */
void rmap_walk(cow_machine *m, uint32_t frame, rmap_fn *visit, void *ctx);
/* The same for all frames of a folio; a PMD once. */
void folio_rmap_walk(cow_machine *m, uint32_t folio, rmap_fn *visit, void *ctx);

/* A PTE that maps a page. */
struct place {
	uint64_t *pte;
	uint32_t vma;
};

/* Finds the PTEs that map an anonymous base page, in the order of rmap_walk.  Returns how many: less than
 * its mapcount if it has more than `most`, or is a KSM page. */
uint32_t rmap_places(cow_machine *m, uint32_t frame, struct place *places, uint32_t most);

/* ---- pages of KSM ---- */

/* Where the list of a KSM page's items is kept. */
static inline uint32_t *ksm_items(const cow_machine *m, uint32_t frame)
{
	struct frame *at = frame_at(m, frame);

	return at->flags & FRAME_SWAPCACHE ? &slot_at(m, at->owner)->owner : &at->owner;
}

/* It has no items: a merge failed when it had become one, and no way leads from it to who maps
 * it; or nobody does. */
static inline bool ksm_lost(const cow_machine *m, uint32_t frame)
{
	return (frame_at(m, frame)->flags & FRAME_KSM) && !*ksm_items(m, frame);
}

/* The list of all KSM pages begins at m->state.ksm; 0: the end. */
static inline uint32_t ksm_next(const cow_machine *m, uint32_t frame)
{
	return (uint32_t)frame_body(m, frame)->index;
}

static inline uint32_t ksm_previous(const cow_machine *m, uint32_t frame)
{
	return (uint32_t)(frame_body(m, frame)->index >> 32);
}

/* An anonymous frame becomes a KSM page without items. */
void ksm_add(cow_machine *m, uint32_t frame);
/* Its items are freed. */
void ksm_lose(cow_machine *m, uint32_t frame);
/* It is one no more; its items are freed. */
void ksm_remove(cow_machine *m, uint32_t frame);
/* Another frame, a copy of it, takes its place on the list. */
void ksm_replace(cow_machine *m, uint32_t frame, uint32_t by);

/* A way to a KSM page more; needs one item in reserve.  Takes and returns the head of its list. */
uint32_t item_add(cow_machine *m, uint32_t first, uint32_t anon, uint64_t index);
/* Frees a list of items (0: none), and the anons that they alone kept. */
void items_free(cow_machine *m, uint32_t first);

#endif
