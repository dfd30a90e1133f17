/* SPDX-License-Identifier: MIT
 *
 * KSM, after mm/ksm.c: ksmd finds anonymous pages of equal content in mergeable VMAs and lets them
 * share one write-protected frame.
 *
 * Linux keeps two trees, ordered by content, and needs two scans of a page to trust it.  Here a
 * scan is one walk with a hash table of contents, and is repeated until nothing changes.  A write
 * to a KSM page is an ordinary fault, and madvise unmergeable is in unmerge.c.
 *
 * Never decides whether a page may be merged.  Read split.c for large folios, machine/rmap.c for
 * the items, unmerge.c next.
 */
#include "kernel/ask.h"
#include "kernel/split.h"
#include "machine/plant.h"

/* An item of a KSM page, as a key. */
struct way {
	uint64_t index;
	uint32_t anon;  /* 0: none */
	uint32_t frame;
};

/*
 * The page that stands for a content, a KSM page or the first that was found, in a word: its frame,
 * two flags, and 30 bits of the content's hash.  0: none.
 */
#define CONTENT_FRESH  (UINT64_C(1) << 32) /* of KSM since this walk: its items are known or new */
#define CONTENT_LOADED (UINT64_C(1) << 33) /* of KSM before, and its items are known by now */
#define CONTENT_TAG    (~UINT64_C(0) << 34)

struct scan {
	uint64_t *contents; /* hash table of `slots`, and */
	struct way *ways;   /* hash set of `way_slots` */
	uint64_t *order;    /* mms, by number: number << 32 | slot */
	uint64_t slots, way_slots, mms;
	uint64_t merged;    /* pages so far */
	bool split;         /* a folio was split: tables that were found are stale */
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

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

/* The word of a content; empty: no page of the walk has had it. */
static uint64_t *content_slot(const cow_machine *m, const struct scan *scan, uint64_t value,
			      uint64_t hash)
{
	uint64_t at = hash & (scan->slots - 1);

	while (scan->contents[at] &&
	       (((scan->contents[at] ^ hash) & CONTENT_TAG) ||
		frame_body(m, (uint32_t)scan->contents[at])->value != value))
		at = (at + 1) & (scan->slots - 1);
	return &scan->contents[at];
}

static struct fault at_page(const cow_machine *m, uint32_t vma, uint64_t page)
{
	return (struct fault){ .mm = vma_at(m, vma)->mm, .vma = vma, .page = page };
}

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
		scan->split = true;
		if (!at_find(m, at) || at_frame(m, at) != frame)
			return false; /* the zero page is there now */
	}
	question.pte = at_entry(at);
	return ask(m, question, view_entry(m, at->vma, &at->leaf, at->slot))->action ==
	       COW_ACT_ALLOW;
}

static void merge_note(cow_machine *m, struct scan *scan, const struct fault *at, uint32_t frame,
		       uint32_t from)
{
	note_page(m, COW_CHANGE_MERGE, at->vma, at->page, frame, frame_body(m, frame)->value, from);
	machine_count(m, COW_COUNT_MERGED, 1);
	machine_count(m, COW_COUNT_TLB_FLUSHES, 1);
	scan->merged++;
}

/* write_protect_page: the entry, and with it the page, is nobody's own any more. */
static void write_protect(cow_machine *m, const struct fault *at)
{
	uint64_t *pte = at_entry(at);

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
	frame_at(m, index)->flags &= ~(uint32_t)FRAME_LAZYFREE; /* SetPageDirty */
	ksm_add(m, index);
	way_add(m, index, anon, offset);
	*way_slot(scan, index, anon, offset) = (struct way){ offset, anon, index };
	merge_note(m, scan, at, index, index);
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
		if (!PLANTED(45))
			way_need(m, scan, content, at);
	}
	merge_note(m, scan, at, frame, old);
	frame_unmap(m, old, at->mm);
}

/* Of the mappings of a page in mergeable VMAs, the one that a walk comes by first: through it the
 * page came to stand for its content. */
static bool find_first(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	const struct vma *vma = vma_at(m, mapping->vma);
	struct fault *at = ctx;

	if ((vma->flags & VMA_MERGEABLE) &&
	    (!at->mm || mm_at(m, vma->mm)->number < mm_at(m, at->mm)->number)) {
		at->vma = mapping->vma;
		at->mm = vma->mm;
	}
	return true;
}

static struct fault first_mapping(cow_machine *m, uint32_t frame)
{
	struct fault at = { 0 };

	rmap_walk(m, frame, find_first, &at);
	at.page = vma_at(m, at.vma)->start + (page_index(m, frame) - vma_at(m, at.vma)->pgoff);
	return at;
}

/* cmp_and_merge_page, once another page of equal content is known.  The page at hand becomes the
 * KSM page, not the one that was found first: try_to_merge_two_pages. */
static void merge_pages(cow_machine *m, struct scan *scan, uint64_t *content, struct fault *at,
			uint32_t frame)
{
	bool known = frame_at(m, (uint32_t)*content)->flags & FRAME_KSM;
	bool mine = frame_at(m, frame)->flags & FRAME_KSM;
	struct fault other;

	if (known && mine)
		return; /* two pages of KSM are not joined */
	if (!mine && !merge_allowed(m, scan, at))
		return;
	if (known) {
		replace_page(m, scan, at, content);
		return;
	}
	other = first_mapping(m, (uint32_t)*content);
	/* What could not be merged stands in nobody's way any more. */
	*content = (*content & CONTENT_TAG) | frame;
	if (!other.mm || !merge_allowed(m, scan, &other))
		return;
	if (!mine) {
		become_ksm(m, scan, at);
		*content |= CONTENT_FRESH;
	}
	replace_page(m, scan, &other, content);
}

static void scan_page(cow_machine *m, struct scan *scan, uint32_t vma, uint64_t page,
		      uint32_t frame)
{
	uint64_t value = frame_body(m, frame)->value;
	uint64_t hash = mix(value);
	uint64_t *content;
	struct fault at;

	if (!value && (m->state.options & MACHINE_ZERO_PAGES)) {
		at = at_page(m, vma, page);
		if (merge_allowed(m, scan, &at))
			replace_page(m, scan, &at, NULL);
		return;
	}
	content = content_slot(m, scan, value, hash);
	/* What was found first may have been zeroes of a folio, and no more since that was split. */
	if (!*content || !frame_at(m, (uint32_t)*content)->flags) {
		*content = (hash & CONTENT_TAG) | frame;
	} else if ((uint32_t)*content != frame) { /* else fork alone shares it */
		at = at_page(m, vma, page);
		merge_pages(m, scan, content, &at, frame);
	}
}

/* ---- scanning ---- */

enum { AHEAD = 16 };

/* The hash table is as large as the memory that is scanned: asks for the slot of a page to come. */
static void scan_ahead(const cow_machine *m, const struct scan *scan, uint64_t entry)
{
	if ((entry & PTE_PRESENT) && !(entry & PTE_SPECIAL))
		__builtin_prefetch(&scan->contents[mix(frame_body(m, pte_frame(entry))->value) &
						   (scan->slots - 1)], 1);
}

static void scan_vma(cow_machine *m, struct scan *scan, uint32_t vma)
{
	uint32_t mm = vma_at(m, vma)->mm;
	uint64_t end = vma_at(m, vma)->end;
	struct leaf leaf;

	for (uint64_t page = vma_at(m, vma)->start; leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf);) {
		uint64_t high = leaf.first + leaf_entries(m);

		scan->split = false;
		for (; page < end && page < high && !scan->split; page++) {
			uint64_t entry = leaf.pmd ? *leaf.pmd : leaf.ptes[leaf_slot(m, page)];
			uint32_t frame = pte_frame(entry);

			if (!leaf.pmd && page + AHEAD < high)
				scan_ahead(m, scan, leaf.ptes[leaf_slot(m, page + AHEAD)]);
			if (!(entry & PTE_PRESENT) || (entry & PTE_SPECIAL))
				continue;
			if (leaf.pmd)
				frame = pmd_frame(m, entry, page);
			if (frame_at(m, frame)->flags & FRAME_ANON)
				scan_page(m, scan, vma, page, frame);
		}
	}
}

/* The stable tree is searched before the unstable one: pages of KSM come first, whoever maps them, and
 * also if they are in the swap cache alone. */
static void load_stable(const cow_machine *m, const struct scan *scan)
{
	for (uint32_t frame = m->state.ksm; frame; frame = ksm_next(m, frame)) {
		uint64_t value = frame_body(m, frame)->value, hash = mix(value);
		uint64_t *content = content_slot(m, scan, value, hash);

		if (!*content || (uint32_t)*content > frame) /* whatever the order of the list */
			*content = (hash & CONTENT_TAG) | frame;
	}
}

/* A full scan; true if it merged anything. */
static bool scan_all(cow_machine *m, struct scan *scan)
{
	uint64_t before = scan->merged;

	if (before)
		memset(scan->contents, 0, scan->slots * sizeof(*scan->contents));
	load_stable(m, scan);
	for (uint64_t i = 0; i < scan->mms; i++)
		for (uint32_t vma = mm_at(m, (uint32_t)scan->order[i])->vma_first; vma;
		     vma = vma_at(m, vma)->next)
			if (vma_at(m, vma)->flags & VMA_MERGEABLE)
				scan_vma(m, scan, vma);
	return scan->merged != before;
}

/* No more pages than these can be merged: of VMAs, and of the entries of their mm. */
static uint64_t mergeable_pages(const cow_machine *m, uint32_t mm)
{
	uint64_t pages = 0;

	for (uint32_t vma = mm_at(m, mm)->vma_first; vma; vma = vma_at(m, vma)->next)
		if (vma_at(m, vma)->flags & VMA_MERGEABLE)
			pages += vma_at(m, vma)->end - vma_at(m, vma)->start;
	return pages < mm_at(m, mm)->pages ? pages : mm_at(m, mm)->pages;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t table_slots(uint64_t elements)
{
	uint64_t slots = 16;

	while (slots < 2 * elements)
		slots *= 2;
	return slots;
}

static void scan_fini(cow_machine *m, struct scan *scan)
{
	cow_release_(&m->allocator, scan->contents, scan->slots * sizeof(*scan->contents));
	cow_release_(&m->allocator, scan->ways, scan->way_slots * sizeof(*scan->ways));
	cow_release_(&m->allocator, scan->order, (scan->mms + 1) * sizeof(*scan->order));
}

/* Reserves all that full scans may need.  Returns 0 or -ENOMEM. */
static int scan_init(cow_machine *m, struct scan *scan)
{
	uint64_t pages = 0, stable = 0, at = 0;
	int error;

	scan->mms = m->pools[POOL_MM].live;
	scan->order = cow_zalloc_(&m->allocator, (scan->mms + 1) * sizeof(*scan->order));
	for (uint32_t mm = 1; scan->order && mm < m->pools[POOL_MM].used; mm++)
		if (mm_at(m, mm)->number) {
			pages += mergeable_pages(m, mm);
			scan->order[at++] = (uint64_t)mm_at(m, mm)->number << 32 | mm;
		}
	for (uint32_t frame = m->state.ksm; frame; frame = ksm_next(m, frame))
		stable++;
	scan->slots = table_slots(pages + stable);
	scan->contents = chunk_zalloc(&m->allocator, scan->slots * sizeof(*scan->contents));
	scan->way_slots = table_slots(pages + m->pools[POOL_ITEM].live);
	scan->ways = cow_zalloc_(&m->allocator, scan->way_slots * sizeof(*scan->ways));
	if (!scan->order || !scan->contents || !scan->ways) {
		machine_fail(m, -ENOMEM, "no host memory for a scan of %llu pages",
			     (unsigned long long)pages);
		m->error.host = true;
		error = -ENOMEM;
	} else {
		qsort(scan->order, scan->mms, sizeof(*scan->order), by_number);
		error = machine_reserve(m, POOL_ITEM, pages);
	}
	return error || !pages ? error : split_folio_reserve(m);
}

int cow_ksm_scan(cow_machine *m, struct cow_result *result)
{
	struct cow_op op = { .kind = COW_OP_KSM_SCAN, .mm = COW_NONE };
	struct cow_result unwanted;
	struct scan scan = { 0 };
	int error = scan_init(m, &scan);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (!error)
		error = op_begin(m, &op);
	if (!error) {
		for (uint64_t i = 0; i < scan.mms; i++)
			batch_drain(m, (uint32_t)scan.order[i]); /* lru_add_drain_all */
		while (scan_all(m, &scan))
			;
		result->counts[COW_OUT_MERGED] = result->done = scan.merged;
		result->outcome = scan.merged ? COW_OUT_MERGED : COW_OUT_NONE;
		op_end(m, &op, 0);
	}
	scan_fini(m, &scan);
	return error;
}
