/* SPDX-License-Identifier: MIT
 *
 * References: each page of each is a record on two lists, that of its frame and that of its cell.
 */
#include "audit/truth.h"
#include "machine/vma.h"

#include <stdio.h>

int refs_reserve(struct cow_audit *audit, uint32_t slot, uint64_t pages)
{
	struct ref_truth *ref;

	if (array_grow(&audit->allocator, (void **)&audit->refs, &audit->ref_room, (size_t)slot + 1,
		       sizeof(*audit->refs)) ||
	    pool_reserve(&audit->allocator, &audit->cells, pages) ||
	    pool_reserve(&audit->allocator, &audit->records, pages))
		return -ENOMEM;
	ref = &audit->refs[slot];
	if (ref->pages < pages) {
		uint32_t *records = cow_zalloc_(&audit->allocator, pages * sizeof(*records));

		if (!records)
			return -ENOMEM;
		cow_release_(&audit->allocator, ref->records, ref->pages * sizeof(*records));
		ref->records = records;
		ref->pages = pages;
	}
	return 0;
}

/* The shared cell of a page, made of its cell if there is none yet. */
static uint32_t share_cell(struct cow_audit *audit, uint64_t space, uint64_t page)
{
	uint64_t *cell = cell_make(audit, space, page);
	uint32_t index;

	if (*cell & STAMP_INDIRECT)
		return cell_shared(*cell);
	index = pool_take(&audit->cells);
	*shared_at(audit, index) = (struct shared_cell){ .stamp = *cell, .space = space,
							 .page = page, .attached = true };
	*cell = STAMP_INDIRECT | index;
	audit->last->indirect++;
	return index;
}

/* A read-only pin of the zero page, or of a page of a file that is mapped privately, is promised
 * nothing without FOLL_LONGTERM. */
static bool is_promised(const struct cow_audit *audit, const struct cow_change *change)
{
	const cow_machine *m = audit->machine;
	bool own = change->frame != 0;

	if (change->object) {
		uint32_t vma = vma_look(m, change->mm, change->addr >> m->state.page_shift);

		own = vma && (vma_at(m, vma)->flags & VMA_SHARED);
	}
	return (change->flags & COW_GUP_PIN) &&
	       (own || (change->flags & (COW_GUP_WRITE | COW_GUP_LONGTERM)));
}

void ref_get(struct cow_audit *audit, const struct cow_change *change, uint64_t space,
	     uint64_t page)
{
	uint32_t frame = change->frame;
	uint32_t index = pool_take(&audit->records);
	struct record *record = record_at(audit, index);
	uint32_t cell = share_cell(audit, space, page);
	struct shared_cell *shared = shared_at(audit, cell);

	*record = (struct record){ .next_of_frame = *holds_of(audit, frame),
				   .next_of_cell = shared->refs, .frame = frame, .cell = cell,
				   .process = change->process, .flags = change->flags,
				   .page = change->addr >> audit->machine->state.page_shift };
	record->promised = is_promised(audit, change);
	*holds_of(audit, frame) = index;
	shared->refs = index;
	shared->count++;
	audit->refs[change->ref].records[change->from] = index;
	if (change->flags & COW_GUP_PIN)
		audit->processes[change->process].pins++;
}

static void fold(struct cow_audit *audit, uint32_t index)
{
	struct shared_cell *shared = shared_at(audit, index);

	if (shared->attached) {
		*cell_find(audit, shared->space, shared->page) = shared->stamp;
		audit->last->indirect--;
	}
	pool_give(&audit->cells, index);
}

void ref_put(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t index = audit->refs[change->ref].records[change->from];
	struct record *record = record_at(audit, index);
	uint32_t *link = holds_of(audit, record->frame);
	uint32_t cell = record->cell;

	while (*link != index)
		link = &record_at(audit, *link)->next_of_frame;
	*link = record->next_of_frame;
	link = &shared_at(audit, cell)->refs;
	while (*link != index)
		link = &record_at(audit, *link)->next_of_cell;
	*link = record->next_of_cell;
	if (record->flags & COW_GUP_PIN)
		audit->processes[record->process].pins--;
	pool_give(&audit->records, index);
	if (!--shared_at(audit, cell)->count)
		fold(audit, cell);
}

void shared_detach(struct cow_audit *audit, uint64_t *cell)
{
	shared_at(audit, cell_shared(*cell))->attached = false;
	*cell = 0;
}

static void parted(struct cow_audit *audit, struct record *record, uint64_t addr, uint32_t frame)
{
	char sentence[160];

	record->stale = true;
	snprintf(sentence, sizeof(sentence),
		 "a %s reference holds frame %u, and the page is in frame %u now",
		 record->flags & COW_GUP_PIN ? "FOLL_PIN" : "FOLL_GET", record->frame, frame);
	finding_add(audit, record->promised ? COW_VERDICT(STALE_PIN) : COW_VERDICT(STALE_GET),
		    record->process, 0, addr, sentence);
}

void shared_mapped(struct cow_audit *audit, uint32_t cell, uint32_t process, uint64_t addr,
		   uint32_t frame)
{
	for (uint32_t at = shared_at(audit, cell)->refs; at; at = record_at(audit, at)->next_of_cell) {
		struct record *record = record_at(audit, at);

		if (!record->stale && record->frame != frame && record->process == process)
			parted(audit, record, addr, frame);
	}
}

void frame_parted(struct cow_audit *audit, uint32_t process, uint64_t page, uint32_t frame,
		  uint32_t now)
{
	for (uint32_t at = held_by(audit, frame); at; at = record_at(audit, at)->next_of_frame) {
		struct record *record = record_at(audit, at);

		if (!record->stale && record->process == process && record->page == page)
			parted(audit, record, page << audit->machine->state.page_shift, now);
	}
}
