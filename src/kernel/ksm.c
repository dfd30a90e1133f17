/* SPDX-License-Identifier: MIT
 *
 * KSM, after mm/ksm.c: ksmd finds anonymous pages of equal content in mergeable VMAs and lets
 * them share one write-protected frame.
 *
 * Linux keeps two trees, ordered by content, and needs two scans of a page to trust it.  Here a
 * scan is one walk with a hash table of contents for both, and is repeated until nothing changes.
 * A write to a KSM page is an ordinary fault, and madvise unmergeable is in unmerge.c.
 *
 * Never decides whether a page may be merged.  Read ksm_merge.c next.
 */
#include "kernel/ksm.h"
#include "kernel/split.h"

/* ---- contents ---- */

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

static void scan_page(cow_machine *m, struct scan *scan, uint32_t vma, uint64_t page,
		      uint32_t frame)
{
	uint64_t value = frame_body(m, frame)->value;
	uint64_t hash = mix(value);
	uint64_t *content;
	struct fault at;

	if (ksm_lost(m, frame))
		return;
	if (!value && (m->state.options & MACHINE_ZERO_PAGES)) {
		at = at_page(m, vma, page);
		if (merge_zeroes(m, scan, &at))
			return;
		frame = at_find(m, &at) ? at_frame(m, &at) : 0;
		if (!frame)
			return; /* a split has put the zero page there */
	}
	content = content_slot(m, scan, value, hash);
	/* What was found first may have been zeroes of a folio, and no more since that was
	 * split. */
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

/* The stable tree is searched before the unstable one: pages of KSM come first, whoever maps
 * them, and also if they are in the swap cache alone. */
static void load_stable(cow_machine *m, const struct scan *scan)
{
	for (uint32_t frame = m->state.ksm; frame; frame = ksm_next(m, frame)) {
		uint64_t value = frame_body(m, frame)->value, hash = mix(value);
		uint64_t *content = content_slot(m, scan, value, hash);

		/* whatever the order of the list */
		if (!ksm_lost(m, frame) && (!*content || (uint32_t)*content > frame) &&
		    ksm_has_room(m, scan, frame, NULL))
			*content = (hash & CONTENT_TAG) | frame;
	}
}

/* A full scan; true if the next one may merge more. */
static bool scan_all(cow_machine *m, struct scan *scan)
{
	uint64_t before = scan->merged;

	if (before || scan->again)
		memset(scan->contents, 0, scan->slots * sizeof(*scan->contents));
	scan->again = false;
	scan->walk++;
	for (uint64_t i = 0; i < scan->mms; i++)
		batch_drain(m, (uint32_t)scan->order[i]); /* lru_add_drain_all */
	load_stable(m, scan);
	for (uint64_t i = 0; i < scan->mms; i++)
		for (uint32_t vma = mm_at(m, (uint32_t)scan->order[i])->vma_first; vma;
		     vma = vma_at(m, vma)->next)
			if (vma_at(m, vma)->flags & VMA_MERGEABLE)
				scan_vma(m, scan, vma);
	return scan->merged != before || scan->again;
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

/* Leaf tables of a range, each of which may come to have markers of its own. */
static uint64_t leaf_tables(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint64_t page = first, leaves = 0;
	struct leaf leaf;

	while (leaf_next(m, mm_at(m, mm)->root, &page, end, &leaf)) {
		page = leaf.first + leaf_entries(m);
		leaves++;
	}
	return leaves;
}

/* No more tables than those of so many PMDs are made: whoever's PMDs they are, a mergeable VMA
 * maps a page of their folio; and where markers are in extra tables, a page that is broken may
 * be the first to want one. */
static uint64_t pmds_to_split(const cow_machine *m, const struct scan *scan)
{
	bool extra = scan->held && m->state.marker == COW_MARKER_EXTRA;
	uint64_t pmds = 0, leaves = 0;

	for (uint64_t i = 0; (m->state.pmds || extra) && i < scan->mms; i++)
		for (uint32_t at = mm_at(m, (uint32_t)scan->order[i])->vma_first; at;
		     at = vma_at(m, at)->next) {
			const struct vma *vma = vma_at(m, at);

			if (!(vma->flags & VMA_MERGEABLE))
				continue;
			pmds += split_pmds(m, vma->mm, vma->start, vma->end);
			leaves += extra ? leaf_tables(m, vma->mm, vma->start, vma->end) : 0;
		}
	return leaves + (pmds < m->state.pmds ? pmds : m->state.pmds);
}

/* Reserves all that full scans may need.  Returns 0 or -ENOMEM. */
static int scan_init(cow_machine *m, struct scan *scan)
{
	uint64_t pages = 0, stable = 0, at = 0;
	int error;

	scan->held = m->pools[POOL_REF].live;
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
	if (!error && scan->held)
		error = frame_reserve(m, pages + 1);
	if (!error && scan->held && m->state.lru_batch)
		error = machine_reserve(m, POOL_LINK, pages + m->state.lru_batch + 2);
	return error || !pages ? error : split_folio_reserve(m, pmds_to_split(m, scan));
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
		while (scan_all(m, &scan))
			;
		result->counts[COW_OUT_MERGED] = result->done = scan.merged;
		result->outcome = scan.merged ? COW_OUT_MERGED : COW_OUT_NONE;
		op_end(m, &op, 0);
	}
	scan_fini(m, &scan);
	return error;
}
