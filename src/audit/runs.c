/* SPDX-License-Identifier: MIT
 *
 * What the audit writes down of a run: the same as changes.c does of each of its pages, but what
 * is the same for all of them is found once.  Where references were taken, which may have to do with
 * any page, it is done a page at a time, by changes.c itself.
 */
#include "audit/truth.h"

/* Each page by itself. */
static void run_pages(struct cow_audit *audit, const struct page_run *run)
{
	static const enum cow_change_kind kinds[COW_OUTCOME_COUNT] = {
		[COW_OUT_ALLOC] = COW_CHANGE_FRESH, [COW_OUT_COPY] = COW_CHANGE_COPY,
		[COW_OUT_REUSE] = COW_CHANGE_REUSE,
	};

	for (uint32_t i = 0; i < run->pages; i++) {
		struct cow_change change = {
			.kind = kinds[run->outcome], .mm = run->mm, .process = run->process,
			.frame = cow_entry_frame(run->entries[i]),
			.addr = (run->page + i) << audit->machine->state.page_shift, .pages = 1,
			.from = run->outcome == COW_OUT_COPY ? cow_entry_frame(run->before[i]) : 0,
		};

		if (run->outcome != COW_OUT_HIT)
			audit_change(audit, &change);
		change.kind = COW_CHANGE_WRITE;
		change.value = run->value;
		change.from = 0;
		audit_change(audit, &change);
	}
}

/* judge_sole of an anonymous frame without references. */
static inline bool frame_sole(const struct cow_audit *audit, uint32_t frame)
{
	const uint32_t slot = cached_slot(audit, frame);

	return *maps_of(audit, frame) + (slot ? slot_truth(audit, slot)->maps : 0) <= 1;
}

/* A frame is mapped no longer, as a copy of it is. */
static inline void frame_copied(struct cow_audit *audit, uint32_t frame)
{
	uint32_t *maps = maps_of(audit, frame);

	audit->machine->counters[COW_COUNT_NEEDLESS_COPIES] += frame_sole(audit, frame);
	*maps -= *maps != 0;
}

/* A frame was allocated, and is mapped. */
static inline void frame_fresh(struct cow_audit *audit, uint32_t frame)
{
	*maps_of(audit, frame) = 1;
	slot_clear(audit, frame);
}

static inline void frame_reused(struct cow_audit *audit, uint32_t frame)
{
	audit->machine->counters[COW_COUNT_UNSAFE_REUSES] += !frame_sole(audit, frame);
}

/* The same of a row of frames that have never been in the swap cache. */
static void row_changed(struct cow_audit *audit, enum cow_outcome outcome, uint32_t low)
{
	uint32_t *maps = maps_of(audit, low), sole = 0;

	if (outcome == COW_OUT_ALLOC)
		for (uint32_t i = 0; i < ROW; i++)
			maps[i] = 1;
	if (outcome == COW_OUT_REUSE) {
		for (uint32_t i = 0; i < ROW; i++)
			sole += maps[i] <= 1;
		audit->machine->counters[COW_COUNT_UNSAFE_REUSES] += ROW - sole;
	}
	if (outcome == COW_OUT_COPY) {
		for (uint32_t i = 0; i < ROW; i++) {
			sole += maps[i] <= 1;
			maps[i] -= maps[i] != 0;
		}
		audit->machine->counters[COW_COUNT_NEEDLESS_COPIES] += sole;
	}
}

/* What came of ROW pages, or fewer, whose entries are those: a row where they can be one. */
static void pages_changed(struct cow_audit *audit, enum cow_outcome outcome,
			  const uint64_t *entries, uint32_t pages, bool row, uint32_t low)
{
	if (outcome == COW_OUT_HIT)
		return;
	if (row && !ever_swapped(audit)) {
		row_changed(audit, outcome, low);
		return;
	}
	for (uint32_t i = 0; i < pages; i++) {
		const uint32_t frame = cow_entry_frame(entries[i]);

		if (outcome == COW_OUT_ALLOC)
			frame_fresh(audit, frame);
		else if (outcome == COW_OUT_REUSE)
			frame_reused(audit, frame);
		else
			frame_copied(audit, frame);
	}
}

/* Writes to pages: each has a stamp of its own, the first one `stamp`. */
static void pages_written(struct cow_audit *audit, const uint64_t *entries, uint32_t pages, bool row,
			  uint64_t stamp, uint64_t value)
{
	struct content *contents = content_of(audit, cow_entry_frame(entries[0]));
	const bool rising = pages > 1 && entries[1] > entries[0];

	if (!row)
		for (uint32_t i = 0; i < pages; i++)
			*content_of(audit, cow_entry_frame(entries[i])) =
				(struct content){ stamp + i * STAMP_NEXT, value };
	else if (rising)
		for (uint32_t i = 0; i < ROW; i++)
			contents[i] = (struct content){ stamp + i * STAMP_NEXT, value };
	else
		for (uint32_t i = 0; i < ROW; i++)
			contents[-(int)i] = (struct content){ stamp + i * STAMP_NEXT, value };
}

/* Pages of a run whose cells are in one leaf. */
static void run_in_leaf(struct cow_audit *audit, const struct page_run *run, uint32_t first,
		      uint32_t end)
{
	leaf_written(audit, cells_make(audit, run->process, run->page + first), run->page + first,
		     end - first, stamp_make(audit->time + 1, run->process, 0));
	for (uint32_t next; first < end; first = next) {
		const uint64_t *entries = &run->entries[first];
		const uint64_t stamp = stamp_make(audit->time + 1, run->process, 0);
		uint32_t low = 0, pages = end - first < ROW ? end - first : ROW;
		bool row = pages == ROW && entries_row(entries, &low);

		next = first + pages;
		if (run->outcome == COW_OUT_COPY) {
			const uint64_t *before = &run->before[first];
			uint32_t old = 0;
			bool olds = pages == ROW && entries_row(before, &old);

			pages_changed(audit, COW_OUT_COPY, before, pages, olds, old);
			pages_changed(audit, COW_OUT_ALLOC, entries, pages, row, low);
		} else {
			pages_changed(audit, run->outcome, entries, pages, row, low);
		}
		pages_written(audit, entries, pages, row, stamp, run->value);
		audit->time += pages;
	}
}

void audit_run(void *ctx, const struct page_run *run)
{
	struct cow_audit *audit = ctx;
	const uint64_t mask = (UINT64_C(1) << audit->bits) - 1;

	if (audit->records.live) {
		run_pages(audit, run);
		return;
	}
	for (uint32_t first = 0, end; first < run->pages; first = end) {
		uint64_t page = run->page + first, left = mask + 1 - (page & mask);

		end = run->pages - first < left ? run->pages : first + (uint32_t)left;
		run_in_leaf(audit, run, first, end);
	}
}

void *audit_ready(void *ctx, uint32_t process, uint64_t page)
{
	struct cow_audit *audit = ctx;
	struct leafcells *leaf;

	if (audit->contents.capacity <= audit->machine->pools[POOL_FRAME].capacity ||
	    audit->slots.capacity <= audit->machine->pools[POOL_SLOT].capacity ||
	    audit->records.live)
		return NULL;
	leaf = leaf_lookup(audit, process, page >> audit->bits);
	if (!leaf)
		return NULL;
	audit->op++;
	return leaf_cell(audit, leaf, page);
}

void audit_one(void *ctx, void *ready, enum cow_outcome outcome, uint64_t entry, uint64_t before,
	       uint64_t value)
{
	struct cow_audit *audit = ctx;
	const uint32_t frame = cow_entry_frame(entry);
	const uint64_t stamp = stamp_make(++audit->time, (uint32_t)audit->last->space, 0);

	if (outcome == COW_OUT_REUSE)
		frame_reused(audit, frame);
	if (outcome == COW_OUT_COPY)
		frame_copied(audit, cow_entry_frame(before));
	if (outcome == COW_OUT_COPY || outcome == COW_OUT_ALLOC)
		frame_fresh(audit, frame);
	*content_of(audit, frame) = (struct content){ stamp, value };
	*(uint64_t *)ready = stamp;
}
