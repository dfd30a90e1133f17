/* SPDX-License-Identifier: MIT
 *
 * What ksmd does with two pages of equal content, after try_to_merge_one_page and what calls it:
 * write-protects both, makes one the KSM page, and has the other's entry map it.
 *
 * Never decides whether a page may be merged: the policy is asked.  Read split.c for large folios,
 * machine/rmap.c for the items, unmerge.c next.
 */
#include "kernel/ask.h"
#include "kernel/ksm.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* ---- ways: what the reverse map knows already ---- */

static struct way *way_slot(const struct scan *scan, uint32_t frame, uint32_t anon, uint64_t index)
{
	uint64_t at = mix(mix(index << 32 ^ anon) ^ frame) & (scan->way_slots - 1);

	while (scan->ways[at].anon &&
	       (scan->ways[at].index != index || scan->ways[at].anon != anon ||
		scan->ways[at].frame != frame))
		at = (at + 1) & (scan->way_slots - 1);
	return &scan->ways[at];
}

static void ways_load(const cow_machine *m, const struct scan *scan, uint32_t frame)
{
	for (uint32_t at = *ksm_items(m, frame); at; at = item_at(m, at)->next) {
		const struct item *item = item_at(m, at);

		*way_slot(scan, frame, item->anon, item->index) =
			(struct way){ item->index, item->anon, frame };
	}
}

static void way_add(cow_machine *m, uint32_t frame, uint32_t anon, uint64_t index)
{
	uint32_t *items = ksm_items(m, frame);

	*items = item_add(m, *items, anon, index);
}

/* True if no other VMA hangs on the anon of this one, so that no other place has its offsets. */
static bool anon_alone(const cow_machine *m, const struct vma *vma)
{
	return !avc_at(m, vma->chain)->next_of_vma &&
	       !avc_at(m, anon_at(m, vma->anon)->chain)->next_of_anon;
}

/* stable_tree_append: the reverse map must find this mapping; an item of an anon that the VMA
 * hangs on does for it too.  A walk comes by each place once, so that of a fresh page nothing need
 * be looked up where the anon is the VMA's alone. */
static void way_need(cow_machine *m, const struct scan *scan, uint64_t *content,
		     const struct fault *at)
{
	const struct vma *vma = vma_at(m, at->vma);
	uint32_t frame = (uint32_t)*content;
	uint64_t index = vma_pgoff(vma, at->page);

	if (!(*content & CONTENT_FRESH) || !anon_alone(m, vma)) {
		if (!(*content & (CONTENT_FRESH | CONTENT_LOADED))) {
			ways_load(m, scan, frame);
			*content |= CONTENT_LOADED;
		}
		for (uint32_t avc = vma->chain; avc; avc = avc_at(m, avc)->next_of_vma)
			if (way_slot(scan, frame, avc_at(m, avc)->anon, index)->anon)
				return;
		*way_slot(scan, frame, vma->anon, index) = (struct way){ index, vma->anon, frame };
	}
	way_add(m, frame, vma->anon, index);
}

/* ---- merging ---- */

/* try_to_merge_one_page until it would change the page: base pages only, and write_protect_page's
 * conditions, which are the policy's. */
static bool merge_allowed(cow_machine *m, struct scan *scan, struct fault *at)
{
	struct question question = { COW_DECIDE_MERGE, at->mm, at->page, NULL };
	uint32_t frame;

	if (!at_find(m, at))
		return false;
	frame = at_frame(m, at);
	if (frame_large(m, frame)) {
		if (!split_folio(m, frame))
			return false;
		scan->split = scan->again = true;
		if (!at_find(m, at) || at_frame(m, at) != frame)
			return false; /* the zero page is there now */
	}
	question.pte = at_entry(at);
	return ask(m, question, view_entry(m, at->vma, &at->leaf, at->slot))->action ==
	       COW_ACT_ALLOW;
}

static void count_merged(cow_machine *m, struct scan *scan)
{
	machine_count(m, COW_COUNT_MERGED, 1);
	scan->merged++;
}

/* write_protect_page: the entry, and with it the page, is nobody's own any more. */
static void write_protect(cow_machine *m, const struct fault *at)
{
	uint64_t *pte = at_entry(at);

	if (*pte & PTE_DIRTY)
		page_make_dirty(m, pte_frame(*pte));
	*pte &= ~PTE_DIRTY;
	if (!PLANTED(43))
		*pte &= ~PTE_WRITE;
	if (!PLANTED(44))
		marker_put(m, &at->leaf, at->slot, frame_at(m, pte_frame(*pte)), false);
}

/* set_page_stable_node: the frame at hand becomes the KSM page.  Whoever maps it besides is found
 * through the anon that it had. */
static void become_ksm(cow_machine *m, struct scan *scan, const struct fault *at)
{
	uint32_t index = at_frame(m, at);
	uint32_t anon = page_anon(m, index);
	uint64_t offset = page_index(m, index);

	write_protect(m, at);
	page_make_dirty(m, index);
	ksm_add(m, index);
	way_add(m, index, anon, offset);
	*way_slot(scan, index, anon, offset) = (struct way){ offset, anon, index };
	note_page(m, COW_CHANGE_MERGE, at->vma, at->page, index, frame_body(m, index)->value,
		  index);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
}

/* replace_page: mk_pte with the protection of the VMA, so that the entry keeps nothing of what it
 * was, soft-dirty and userfaultfd's protection included.  Frame 0 is the zero page; dirty tells it
 * from one that a read fault has mapped (v6.6+: is_ksm_zero_pte). */
static void replace_page(cow_machine *m, struct scan *scan, const struct fault *at,
			 uint64_t *content)
{
	uint64_t *pte = at_entry(at);
	uint32_t old = pte_frame(*pte), frame = content ? (uint32_t)*content : 0;
	uint64_t flags = entry_flags(vma_at(m, at->vma));

	write_protect(m, at);
	*pte = pte_make(frame, frame ? flags : flags | PTE_SPECIAL | PTE_DIRTY);
	if (frame) {
		page_map(m, frame, at->mm);
		*content += CONTENT_ENTRY;
		if (!PLANTED(45))
			way_need(m, scan, content, at);
	}
	note_page(m, COW_CHANGE_MERGE, at->vma, at->page, frame, frame_body(m, frame)->value, old);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	count_merged(m, scan);
	frame_unmap(m, old, at->mm);
}

/* An ordinary page stands for a content by the place at which the unstable tree got it.  That is
 * the first of its places that the walk comes by, unless it had others to merge with there, and
 * those have become full: then this way of no anon remembers the process. */
static struct way *late_way(const struct scan *scan, uint32_t frame, uint32_t mm)
{
	return way_slot(scan, frame, UINT32_MAX, scan->walk << 32 | mm);
}

static void stand_late(const struct scan *scan, uint64_t *content, uint32_t frame, uint32_t mm)
{
	*content = (*content & CONTENT_TAG) | frame;
	if (PLANTED(65))
		return;
	*content |= CONTENT_LATE;
	*late_way(scan, frame, mm) = (struct way){ scan->walk << 32 | mm, UINT32_MAX, frame };
}

struct search {
	const struct scan *scan; /* NULL: the first place, else the one that is remembered */
	uint32_t frame;
	struct fault at;
};

static bool find_place(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	const struct vma *vma = vma_at(m, mapping->vma);
	struct search *search = ctx;
	struct fault *at = &search->at;

	if (!(vma->flags & VMA_MERGEABLE))
		return true;
	if (search->scan ? late_way(search->scan, search->frame, vma->mm)->anon != 0 :
			   !at->mm || mm_at(m, vma->mm)->number < mm_at(m, at->mm)->number) {
		at->vma = mapping->vma;
		at->mm = vma->mm;
	}
	return true;
}

/* Where the unstable tree has the page that stands for a content. */
static struct fault place_in_tree(cow_machine *m, const struct scan *scan, uint64_t content)
{
	uint32_t frame = (uint32_t)content;
	struct search search = { content & CONTENT_LATE ? scan : NULL, frame, { 0 } };
	struct fault *at = &search.at;

	rmap_walk(m, frame, find_place, &search);
	at->page = vma_at(m, at->vma)->start + (page_index(m, frame) - vma_at(m, at->vma)->pgoff);
	return *at;
}

/* True if both frames are of one large folio.  cmp_and_merge_page holds each of two pages
 * then, so that it cannot be split for them; it is, after that, and nothing is merged. */
static bool same_folio(const cow_machine *m, uint32_t frame, uint32_t other)
{
	return frame_large(m, frame) && frame_large(m, other) &&
	       frame_at(m, frame)->owner == frame_at(m, other)->owner;
}

/* The page at hand became a page of KSM, and the other one cannot be merged with it.  Where
 * others map or hold it besides it stays a page of KSM, which no tree knows: nobody joins it,
 * and it is merged with nobody (page_address_in_vma knows no page of KSM). */
static void merge_fails(cow_machine *m, struct scan *scan, struct fault *at)
{
	uint32_t frame = at_frame(m, at);

	become_ksm(m, scan, at);
	break_cow(m, at);
	if (frame_at(m, frame)->flags & FRAME_KSM)
		ksm_lose(m, frame);
}

/* try_to_merge_two_pages: the page at hand becomes the KSM page, and then the other one, which
 * the unstable tree has, is merged with it.  If that fails, break_cow gives the process a page
 * of its own again, a new one; the next page of this content will not fare better. */
static void merge_two(cow_machine *m, struct scan *scan, uint64_t *content, struct fault *at)
{
	struct fault other = place_in_tree(m, scan, *content);
	uint32_t frame = at_frame(m, at);

	if (!other.mm)
		return;
	if (merge_allowed(m, scan, &other)) {
		become_ksm(m, scan, at);
		count_merged(m, scan);
		*content = (*content & CONTENT_TAG) | CONTENT_ENTRY | CONTENT_FRESH | frame;
		replace_page(m, scan, &other, content);
	} else if (scan->held) {
		merge_fails(m, scan, at);
	}
}

enum { MOST_SHARERS = 256 }; /* max_page_sharing, as it is by default */

struct sharers {
	const struct fault *come_to;
	uint32_t count;
};

/* Linux counts the items of a page of KSM, one for each place of a mergeable VMA that ksmd has
 * come by. */
static bool count_sharer(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	const struct vma *vma = vma_at(m, mapping->vma);
	struct sharers *sharers = ctx;
	const struct fault *to = sharers->come_to;
	uint32_t mine = mm_at(m, vma->mm)->number, now = to ? mm_at(m, to->mm)->number : mine;

	if (vma->flags & VMA_MERGEABLE)
		sharers->count += mine < now || (mine == now && (!to || mapping->page < to->page));
	return sharers->count < MOST_SHARERS;
}

/* A page that has had no room stays so until the scan ends, and this way of no anon remembers it. */
static struct way *way_full(const struct scan *scan, uint32_t frame)
{
	return way_slot(scan, frame, UINT32_MAX, 0);
}

static void ksm_filled(const struct scan *scan, uint32_t frame)
{
	*way_full(scan, frame) = (struct way){ 0, UINT32_MAX, frame };
}

bool ksm_has_room(cow_machine *m, const struct scan *scan, uint32_t frame,
		  const struct fault *come_to)
{
	struct sharers sharers = { come_to, 0 };

	if (frame_at(m, frame)->mapcount < MOST_SHARERS)
		return true;
	if (way_full(scan, frame)->anon)
		return false;
	rmap_walk(m, frame, count_sharer, &sharers);
	if (sharers.count < MOST_SHARERS)
		return true;
	ksm_filled(scan, frame);
	return false;
}

/* True if this walk let so many entries map the page that there is no room for more. */
static bool content_full(uint64_t content)
{
	return (content & ~CONTENT_TAG) / CONTENT_ENTRY >= MOST_SHARERS;
}

/* cmp_and_merge_page, once another page of equal content is known. */
void merge_pages(cow_machine *m, struct scan *scan, uint64_t *content, struct fault *at,
		 uint32_t frame)
{
	bool known = frame_at(m, (uint32_t)*content)->flags & FRAME_KSM;

	if (frame_at(m, frame)->flags & FRAME_KSM)
		return; /* two pages of KSM are not joined */
	if (known && content_full(*content))
		ksm_filled(scan, (uint32_t)*content);
	if (known && !ksm_has_room(m, scan, (uint32_t)*content,
				   *content & CONTENT_FRESH ? at : NULL)) {
		/* the next one makes a new page of KSM of this one */
		stand_late(scan, content, frame, at->mm);
		return;
	}
	if (!known && same_folio(m, frame, (uint32_t)*content)) {
		if (split_folio(m, frame))
			scan->split = scan->again = true;
	} else if (!merge_allowed(m, scan, at)) {
		return;
	} else if (known) {
		replace_page(m, scan, at, content);
	} else {
		merge_two(m, scan, content, at);
	}
}

bool merge_zeroes(cow_machine *m, struct scan *scan, struct fault *at)
{
	if (!merge_allowed(m, scan, at))
		return false;
	replace_page(m, scan, at, NULL);
	return true;
}
