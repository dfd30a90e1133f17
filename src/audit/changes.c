/* SPDX-License-Identifier: MIT
 *
 * What the audit writes down of each change, and what it judges when something is read: one handler
 * a kind.  Nothing here can fail; audit.c has reserved all that a handler needs.
 */
#include "audit/truth.h"
#include "machine/frame.h"

/* Space and page of a change: those of the process, or of the shared memory. */
static uint64_t space_page(const struct cow_audit *audit, const struct cow_change *change,
			   uint64_t *page)
{
	*page = change->object ? change->index : page_of(audit, change->addr);
	return space_of(change->process, change->object);
}

/* If references were taken of the page, they must be to the frame that it is in now. */
static void check_refs(struct cow_audit *audit, uint32_t process, uint64_t addr, uint32_t frame)
{
	const uint64_t *cell = cell_find(audit, process, page_of(audit, addr));

	if (cell && (*cell & STAMP_INDIRECT))
		shared_mapped(audit, cell_shared(*cell), process, addr, frame);
}

/* What an entry counts for: a frame (all that are empty count for frame 0), or a slot. */
static uint32_t *entry_maps(struct cow_audit *audit, uint64_t entry)
{
	return cow_entry_swapped(entry) ? &slot_truth(audit, cow_entry_frame(entry))->maps
					: maps_of(audit, cow_entry_frame(entry));
}

/* Adds to what ROW entries count for, if they are a row: then the compiler can add to several at once.
 * False: nothing was changed. */
static bool count_row(const struct cow_audit *audit, const uint64_t *entries, uint32_t more)
{
	uint32_t low, *maps;

	if (!entries_row(entries, &low))
		return false;
	maps = maps_of(audit, low);
	for (uint32_t i = 0; i < ROW; i++)
		maps[i] += more;
	return true;
}

/* Adds to what entries count for: 1, or -1 as an unsigned number. */
static void count_entries(struct cow_audit *audit, const struct cow_change *change, uint32_t more)
{
	uint64_t i = 0;

	while (i < change->pages) {
		uint64_t stop = change->pages - i < ROW ? change->pages : i + ROW;

		if (stop - i == ROW && count_row(audit, &change->entries[i], more))
			i = stop;
		for (; i < stop; i++)
			*entry_maps(audit, change->entries[i]) += more;
	}
}

static void on_map(struct cow_audit *audit, const struct cow_change *change)
{
	count_entries(audit, change, 1);
	if (change->object || !audit->records.live)
		return;
	for (uint64_t i = 0; i < change->pages; i++)
		if (change->entries[i] && !cow_entry_swapped(change->entries[i]))
			check_refs(audit, change->process,
				   change->addr + (i << audit->machine->state.page_shift),
				   cow_entry_frame(change->entries[i]));
}

static void on_unmap(struct cow_audit *audit, const struct cow_change *change)
{
	count_entries(audit, change, UINT32_MAX);
}

static void on_map_huge(struct cow_audit *audit, const struct cow_change *change)
{
	for (uint32_t i = 0; i < change->pages; i++)
		++*maps_of(audit, change->frame + i);
	if (change->object || !audit->records.live)
		return;
	for (uint32_t i = 0; i < change->pages; i++)
		check_refs(audit, change->process,
			   change->addr + ((uint64_t)i << audit->machine->state.page_shift),
			   change->frame + i);
}

static void on_unmap_huge(struct cow_audit *audit, const struct cow_change *change)
{
	for (uint32_t i = 0; i < change->pages; i++)
		--*maps_of(audit, change->frame + i);
}

/* A hugetlb page is one page, which is judged with its first frame. */
static uint32_t judged_pages(const struct cow_audit *audit, uint32_t frame)
{
	const cow_machine *m = audit->machine;

	return frame_at(m, frame)->flags & FRAME_POOLED ? 1u << m->state.bits[0] : 1;
}

/* Nobody else could reach the page. */
static bool copy_is_needless(struct cow_audit *audit, const struct cow_change *change, uint64_t page)
{
	uint32_t old = (uint32_t)change->from;
	uint32_t pages = judged_pages(audit, old);

	if (old & (pages - 1))
		return false;
	for (uint32_t i = 0; i < pages; i++)
		if (!judge_sole(audit, old + i, change->process, page + i))
			return false;
	return true;
}

/* A frame of the process's own is mapped, in place of `old` if that is not the zero page. */
static void on_fresh(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t old = (uint32_t)change->from;
	uint64_t page = page_of(audit, change->addr);

	if (old && !change->object && copy_is_needless(audit, change, page))
		audit->machine->counters[COW_COUNT_NEEDLESS_COPIES]++;
	*content_of(audit, change->frame) = *content_of(audit, old);
	*maps_of(audit, change->frame) = 1;
	slot_clear(audit, change->frame);
	/* A page of a file becomes the process's own, with what it holds now.  Whoever wrote that, it
	 * was for all who map the file to see: the process has it from nobody. */
	if (change->object) {
		uint64_t *cell = cell_make(audit, change->process, page);
		struct content *own = content_of(audit, change->frame);

		if (!(*cell & STAMP_INDIRECT)) {
			if (own->stamp)
				own->stamp = stamp_make(++audit->time, 0, own->stamp &
							(STAMP_BY_GET | STAMP_BY_PIN));
			*cell = own->stamp;
		}
		frame_parted(audit, change->process, page, old, change->frame);
	}
	if (old && *maps_of(audit, old))
		--*maps_of(audit, old);
	if (audit->records.live)
		check_refs(audit, change->process, change->addr, change->frame);
}

/* A page of an object: what a file holds from its beginning, nobody wrote, but that is no page of
 * zeroes. */
static void on_add(struct cow_audit *audit, const struct cow_change *change)
{
	uint64_t stamp = 0;

	if (change->value) {
		stamp = stamp_make(++audit->time, 0, 0);
		*cell_make(audit, space_of(0, change->object), change->index) = stamp;
	}
	*content_of(audit, change->frame) = (struct content){ stamp, change->value };
	*maps_of(audit, change->frame) = 0;
	slot_clear(audit, change->frame);
}

static void on_cache(struct cow_audit *audit, const struct cow_change *change)
{
	slot_truth(audit, (uint32_t)change->from)->frame = change->frame;
	*cached_of(audit, change->frame) = (uint32_t)change->from;
}

static void on_uncache(struct cow_audit *audit, const struct cow_change *change)
{
	slot_truth(audit, (uint32_t)change->from)->frame = 0;
	slot_clear(audit, change->frame);
}

static void on_swap_write(struct cow_audit *audit, const struct cow_change *change)
{
	slot_truth(audit, (uint32_t)change->from)->content = *content_of(audit, change->frame);
}

static void on_swap_read(struct cow_audit *audit, const struct cow_change *change)
{
	*content_of(audit, change->frame) = slot_truth(audit, (uint32_t)change->from)->content;
	*maps_of(audit, change->frame) = 0;
	slot_clear(audit, change->frame);
}

/* Everything that was in one frame is in another now; references alone stay behind. */
static void on_migrate(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t old = (uint32_t)change->from;
	uint32_t slot = cached_slot(audit, old);

	*content_of(audit, change->frame) = *content_of(audit, old);
	*maps_of(audit, change->frame) = *maps_of(audit, old);
	slot_clear(audit, change->frame);
	if (slot) {
		*cached_of(audit, change->frame) = slot;
		slot_truth(audit, slot)->frame = change->frame;
	}
	*maps_of(audit, old) = 0;
	slot_clear(audit, old);
	for (uint32_t at = held_by(audit, old); at; at = record_at(audit, at)->next_of_frame)
		if (shared_at(audit, record_at(audit, at)->cell)->attached)
			shared_mapped(audit, record_at(audit, at)->cell,
				      record_at(audit, at)->process, change->addr, change->frame);
}

/* A merge changes nothing for anybody; if it does, that shows when the page is read. */
static void on_merge(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t old = (uint32_t)change->from;
	struct content *merged = content_of(audit, change->frame);

	if (change->frame)
		merged->stamp |= STAMP_MERGED;
	if (old == change->frame)
		return;
	if (content_of(audit, old)->value == merged->value) {
		const uint64_t page = page_of(audit, change->addr);
		const uint64_t stamp = merged->stamp & ~STAMP_MERGED;
		uint64_t *cell = cell_find(audit, change->process, page);

		/* Splitting a folio maps the zero page where nobody may have written: no cell is wanted. */
		if (!cell && stamp)
			cell = cell_make(audit, change->process, page);
		if (cell && *cell & STAMP_INDIRECT)
			shared_at(audit, cell_shared(*cell))->stamp = stamp;
		else if (cell)
			*cell = stamp;
	}
	--*maps_of(audit, old);
	++*maps_of(audit, change->frame);
	if (audit->records.live)
		check_refs(audit, change->process, change->addr, change->frame);
}

static void on_collapse(struct cow_audit *audit, const struct cow_change *change)
{
	*content_of(audit, change->frame) = *content_of(audit, (uint32_t)change->from);
	*maps_of(audit, change->frame) = 0;
	slot_clear(audit, change->frame);
}

/* Somebody wrote: the cell, or the shared cell that it stands for, has a new stamp. */
static void write_cell(struct cow_audit *audit, uint64_t *cell, const struct cow_change *change,
		       uint64_t means)
{
	uint64_t stamp = stamp_make(++audit->time, change->process, means);

	*content_of(audit, change->frame) = (struct content){ stamp, change->value };
	if (*cell & STAMP_INDIRECT)
		shared_at(audit, cell_shared(*cell))->stamp = stamp;
	else
		*cell = stamp;
}

static void on_write(struct cow_audit *audit, const struct cow_change *change)
{
	uint64_t page, space = space_page(audit, change, &page);
	struct leafcells *leaf = cells_make(audit, space, page);
	uint64_t stamp;

	if (leaf_is_spread(leaf)) {
		write_cell(audit, leaf_cell(audit, leaf, page), change, 0);
		return;
	}
	stamp = stamp_make(++audit->time, change->process, 0);
	*content_of(audit, change->frame) = (struct content){ stamp, change->value };
	leaf_written(audit, leaf, page, 1, stamp);
}

static void on_read(struct cow_audit *audit, const struct cow_change *change)
{
	uint64_t page, space = space_page(audit, change, &page);
	const uint64_t *cell = cell_find(audit, space, page);
	uint64_t expected = cell ? *cell : 0;

	/* Once a private page of a file is the process's own, the file's will not do. */
	if (change->object && audit->processes[change->process].leaves) {
		cell = cell_find(audit, change->process, page_of(audit, change->addr));
		expected = cell && *cell ? *cell : expected;
	}
	if (expected & STAMP_INDIRECT)
		expected = shared_at(audit, cell_shared(expected))->stamp;
	judge_read(audit, change->process, change->addr, expected, change->frame, change->value, 0);
}

static void on_peek(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t index = audit->refs[change->ref].records[change->from];

	judge_read(audit, change->process, 0,
		   shared_at(audit, record_at(audit, index)->cell)->stamp, change->frame,
		   change->value, index);
}

static void on_poke(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t index = audit->refs[change->ref].records[change->from];

	write_cell(audit, &shared_at(audit, record_at(audit, index)->cell)->stamp, change,
		   change->flags & COW_GUP_PIN ? STAMP_BY_PIN : STAMP_BY_GET);
}

static void on_reuse(struct cow_audit *audit, const struct cow_change *change)
{
	if (!judge_sole(audit, change->frame, change->process, page_of(audit, change->addr)))
		audit->machine->counters[COW_COUNT_UNSAFE_REUSES]++;
}

/* No pin holds the page. */
static bool early_copy_is_needless(const struct cow_audit *audit, uint32_t old)
{
	uint32_t pages = judged_pages(audit, old);

	if (old & (pages - 1))
		return false;
	for (uint32_t i = 0; i < pages; i++)
		if (judge_pinned(audit, old + i))
			return false;
	return true;
}

static void on_early_copy(struct cow_audit *audit, const struct cow_change *change)
{
	if (early_copy_is_needless(audit, (uint32_t)change->from))
		audit->machine->counters[COW_COUNT_NEEDLESS_COPIES]++;
	*content_of(audit, change->frame) = *content_of(audit, (uint32_t)change->from);
	*maps_of(audit, change->frame) = 0;
	slot_clear(audit, change->frame);
}

static void on_free(struct cow_audit *audit, const struct cow_change *change)
{
	cells_free(audit, change->process, page_of(audit, change->addr), change->pages);
}

static void on_drop(struct cow_audit *audit, const struct cow_change *change)
{
	cells_drop(audit, change->process, page_of(audit, change->addr), change->pages);
}

static void on_inherit(struct cow_audit *audit, const struct cow_change *change)
{
	cells_inherit(audit, (uint32_t)change->from, change->process,
		      page_of(audit, change->addr), change->pages);
}

static void on_wipe(struct cow_audit *audit, const struct cow_change *change)
{
	(void)audit;
	(void)change;
}

static void on_move(struct cow_audit *audit, const struct cow_change *change)
{
	cells_move(audit, change->process, page_of(audit, change->from),
		   page_of(audit, change->addr), change->pages);
}

static void on_oom(struct cow_audit *audit, const struct cow_change *change)
{
	finding_add(audit, COW_VERDICT(KILLED), change->process, 0, change->addr,
		    "a process was killed for want of a page");
}

static void on_end(struct cow_audit *audit, const struct cow_change *change)
{
	cells_drop(audit, space_of(0, change->object), change->index, change->pages);
}

static void on_get(struct cow_audit *audit, const struct cow_change *change)
{
	uint64_t page, space = space_page(audit, change, &page);

	ref_get(audit, change, space, page);
}

/* A table, not a switch: of one function with all of it, a plain write would pay for the rest. */
void audit_change(void *ctx, const struct cow_change *change)
{
	static void (*const handler[])(struct cow_audit *, const struct cow_change *) = {
		[COW_CHANGE_FRESH] = on_fresh,     [COW_CHANGE_COPY] = on_fresh,
		[COW_CHANGE_REUSE] = on_reuse,     [COW_CHANGE_EARLY_COPY] = on_early_copy,
		[COW_CHANGE_ADD] = on_add,         [COW_CHANGE_MAP] = on_map,
		[COW_CHANGE_UNMAP] = on_unmap,     [COW_CHANGE_DROP] = on_drop,
		[COW_CHANGE_INHERIT] = on_inherit, [COW_CHANGE_WIPE] = on_wipe,
		[COW_CHANGE_MOVE] = on_move,       [COW_CHANGE_READ] = on_read,
		[COW_CHANGE_WRITE] = on_write,     [COW_CHANGE_OOM] = on_oom,
		[COW_CHANGE_END] = on_end,         [COW_CHANGE_GET] = on_get,
		[COW_CHANGE_PUT] = ref_put,        [COW_CHANGE_PEEK] = on_peek,
		[COW_CHANGE_POKE] = on_poke,       [COW_CHANGE_MAP_HUGE] = on_map_huge,
		[COW_CHANGE_UNMAP_HUGE] = on_unmap_huge,
		[COW_CHANGE_FREE] = on_free,       [COW_CHANGE_CACHE] = on_cache,
		[COW_CHANGE_UNCACHE] = on_uncache, [COW_CHANGE_SWAP_WRITE] = on_swap_write,
		[COW_CHANGE_SWAP_READ] = on_swap_read,
		[COW_CHANGE_MIGRATE] = on_migrate, [COW_CHANGE_MERGE] = on_merge,
		[COW_CHANGE_COLLAPSE] = on_collapse,
	};

	handler[change->kind](ctx, change);
}
