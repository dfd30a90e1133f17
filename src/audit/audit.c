/* SPDX-License-Identifier: MIT
 *
 * The audit as an observer: what it is told, it writes down; what is read, it judges.  Everything
 * that a call may need is reserved in `before`, so that the audit cannot fail half-way.
 */
#include "audit/truth.h"
#include "machine/vma.h"

static uint64_t page_of(const struct cow_audit *audit, uint64_t addr)
{
	return addr >> audit->machine->state.page_shift;
}

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

static void on_map(struct cow_audit *audit, const struct cow_change *change)
{
	for (uint64_t i = 0; i < change->pages; i++)
		++*maps_of(audit, cow_entry_frame(change->entries[i]));
	if (change->object || !audit->records.live)
		return;
	for (uint64_t i = 0; i < change->pages; i++)
		if (change->entries[i])
			check_refs(audit, change->process,
				   change->addr + (i << audit->machine->state.page_shift),
				   cow_entry_frame(change->entries[i]));
}

static void on_unmap(struct cow_audit *audit, const struct cow_change *change)
{
	for (uint64_t i = 0; i < change->pages; i++)
		--*maps_of(audit, cow_entry_frame(change->entries[i]));
}

/* A frame of the process's own is mapped, in place of `old` if that is not the zero page. */
static void on_fresh(struct cow_audit *audit, const struct cow_change *change)
{
	uint32_t old = (uint32_t)change->from;

	if (old && judge_sole(audit, old, change->process, page_of(audit, change->addr)))
		audit->machine->counters[COW_COUNT_NEEDLESS_COPIES]++;
	*content_of(audit, change->frame) = *content_of(audit, old);
	*maps_of(audit, change->frame) = 1;
	if (old)
		--*maps_of(audit, old);
	if (audit->records.live)
		check_refs(audit, change->process, change->addr, change->frame);
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

	write_cell(audit, cell_make(audit, space, page), change, 0);
}

static void on_read(struct cow_audit *audit, const struct cow_change *change)
{
	uint64_t page, space = space_page(audit, change, &page);
	const uint64_t *cell = cell_find(audit, space, page);
	uint64_t expected = cell ? *cell : 0;

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

static void on_change(void *ctx, const struct cow_change *change)
{
	struct cow_audit *audit = ctx;
	uint64_t page = page_of(audit, change->addr);

	switch (change->kind) {
	case COW_CHANGE_FRESH:
	case COW_CHANGE_COPY:
		on_fresh(audit, change);
		break;
	case COW_CHANGE_ADD:
		*content_of(audit, change->frame) = (struct content){ 0 };
		break;
	case COW_CHANGE_REUSE:
		if (!judge_sole(audit, change->frame, change->process, page))
			audit->machine->counters[COW_COUNT_UNSAFE_REUSES]++;
		break;
	case COW_CHANGE_EARLY_COPY:
		if (!judge_pinned(audit, (uint32_t)change->from))
			audit->machine->counters[COW_COUNT_NEEDLESS_COPIES]++;
		*content_of(audit, change->frame) = *content_of(audit, (uint32_t)change->from);
		break;
	case COW_CHANGE_MAP:
		on_map(audit, change);
		break;
	case COW_CHANGE_UNMAP:
		on_unmap(audit, change);
		break;
	case COW_CHANGE_DROP:
		cells_drop(audit, change->process, page, change->pages);
		break;
	case COW_CHANGE_INHERIT:
		cells_inherit(audit, (uint32_t)change->from, change->process, page, change->pages);
		break;
	case COW_CHANGE_WIPE:
		break;
	case COW_CHANGE_MOVE:
		cells_move(audit, change->process, page_of(audit, change->from), page,
			   change->pages);
		break;
	case COW_CHANGE_READ:
		on_read(audit, change);
		break;
	case COW_CHANGE_WRITE:
		on_write(audit, change);
		break;
	case COW_CHANGE_END:
		cells_drop(audit, space_of(0, change->object), 0, change->pages);
		break;
	case COW_CHANGE_OOM:
		finding_add(audit, COW_VERDICT(KILLED), change->process, 0, change->addr,
			    "a process was killed for want of a page");
		break;
	case COW_CHANGE_GET: {
		uint64_t space = space_page(audit, change, &page);

		ref_get(audit, change, space, page);
		break;
	}
	case COW_CHANGE_PUT:
		ref_put(audit, change);
		break;
	case COW_CHANGE_PEEK:
		on_peek(audit, change);
		break;
	case COW_CHANGE_POKE:
		on_poke(audit, change);
		break;
	}
}

static void on_truth(void *ctx, uint32_t mm, uint64_t addr, uint32_t frame, struct cow_view *view)
{
	struct cow_audit *audit = ctx;
	uint32_t process = mm_at(audit->machine, mm)->number;

	view->truth_sole = judge_sole(audit, frame, process, page_of(audit, addr));
	view->truth_pinned = judge_pinned(audit, frame);
}

/* Who pins a mapping and wants coherency should not touch its protection. */
static void warn_pinned(struct cow_audit *audit, const struct cow_op *op)
{
	if (audit->processes[op->process].pins &&
	    cells_pinned(audit, op->process, page_of(audit, op->addr), op->pages))
		finding_add(audit, 0, op->process, 0, op->addr,
			    "the protection of a pinned mapping is changed");
}

static int reserve_processes(struct cow_audit *audit, uint32_t number)
{
	if (number >> STAMP_PROCESS_BITS)
		return -ENOSPC; /* a stamp has no room for its number */
	return array_grow(&audit->allocator, (void **)&audit->processes, &audit->process_room,
			  (size_t)number + 1, sizeof(*audit->processes));
}

/* Leaves for writes to a range: those of the process, and of the memory objects in it. */
static int reserve_cells(struct cow_audit *audit, const struct cow_op *op)
{
	const cow_machine *m = audit->machine;
	uint64_t first = page_of(audit, op->addr), end = first + op->pages;
	size_t leaves = cells_missing(audit, op->process, first, op->pages);

	for (uint32_t at = vma_look(m, op->mm, first); at && vma_at(m, at)->start < end;
	     at = vma_at(m, at)->next) {
		const struct vma *vma = vma_at(m, at);
		uint64_t low = vma->start > first ? vma->start : first;
		uint64_t high = vma->end < end ? vma->end : end;

		if (vma->object)
			leaves += cells_missing(audit,
						SPACE_OBJECT | object_at(m, vma->object)->number,
						vma_pgoff(vma, low), high - low);
	}
	return leaves ? leaves_reserve(audit, leaves) : 0;
}

static int reserve(struct cow_audit *audit, const struct cow_op *op)
{
	uint32_t frames = audit->machine->pools[POOL_FRAME].capacity;
	uint64_t page = page_of(audit, op->addr);
	int error;

	/* contents has the smallest chunks and grows last, so it tells whether all have. */
	if (audit->contents.capacity <= frames &&
	    (pool_reserve(&audit->allocator, &audit->maps, frames) ||
	     pool_reserve(&audit->allocator, &audit->holds, frames) ||
	     pool_reserve(&audit->allocator, &audit->contents, frames)))
		return -ENOMEM;
	switch (op->kind) {
	case COW_OP_MM_CREATE:
		return reserve_processes(audit, op->process);
	case COW_OP_FORK:
		error = reserve_processes(audit, (uint32_t)op->value);
		if (error)
			return error;
		return cells_reserve_copy(audit, op->process);
	case COW_OP_MMAP:
		return array_grow(&audit->allocator, (void **)&audit->objects, &audit->object_room,
				  (size_t)audit->machine->state.objects + 2,
				  sizeof(*audit->objects));
	case COW_OP_MREMAP:
		return cells_reserve_move(audit, op->process, page, op->pages);
	case COW_OP_GUP:
		if (refs_reserve(audit, op->ref, op->pages))
			return -ENOMEM;
		/* fallthrough */
	case COW_OP_WRITE:
	case COW_OP_FORCE_WRITE:
		return reserve_cells(audit, op);
	default:
		return 0;
	}
}

static int on_before(void *ctx, const struct cow_op *op)
{
	struct cow_audit *audit = ctx;
	int error = reserve(audit, op);

	if (error)
		return error;
	audit->op++;
	if (op->kind == COW_OP_MM_CREATE)
		audit->processes[op->process] = (struct process_truth){ 0 };
	if (op->kind == COW_OP_FORK)
		audit->processes[op->value] = (struct process_truth){ .parent = op->process,
								      .born = audit->time };
	if (op->kind == COW_OP_MPROTECT)
		warn_pinned(audit, op);
	return 0;
}

int cow_audit_attach(cow_machine *m, cow_audit **out)
{
	struct cow_observer observer = { .size = sizeof(observer), .before = on_before,
					 .change = on_change,
					 .truth = on_truth };
	struct cow_audit *audit;
	bool failed;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!m)
		return -EINVAL;
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].change == on_change)
			return machine_fail(m, -EEXIST, "the machine has an audit already");
	if (m->state.processes || m->pools[POOL_MM].live || m->pools[POOL_FRAME].live)
		return machine_fail(m, -EBUSY, "an audit must see the first process begin");
	audit = cow_zalloc_(&m->allocator, sizeof(*audit));
	if (!audit)
		return machine_fail(m, -ENOMEM, "no host memory for the audit");
	audit->machine = m;
	audit->allocator = m->allocator;
	audit->bits = m->state.bits[0] < 9 ? m->state.bits[0] : 9;
	observer.ctx = audit;
	failed = pool_init(&m->allocator, &audit->contents, sizeof(struct content), CONTENTS_SHIFT,
			   16) ||
		 pool_init(&m->allocator, &audit->maps, sizeof(uint32_t), MAPS_SHIFT, 16) ||
		 pool_init(&m->allocator, &audit->holds, sizeof(uint32_t), MAPS_SHIFT, 16) ||
		 pool_init(&m->allocator, &audit->cells, sizeof(struct shared_cell), CELLS_SHIFT,
			   4) ||
		 pool_init(&m->allocator, &audit->records, sizeof(struct record), RECORDS_SHIFT, 4) ||
		 reserve_processes(audit, 1) || cow_machine_observe(m, &observer);
	if (failed) {
		cow_audit_detach(audit);
		return machine_fail(m, m->observer_count == MACHINE_OBSERVERS ? -ENOSPC : -ENOMEM,
				    "no room for the audit");
	}
	*out = audit;
	return 0;
}

void cow_audit_detach(cow_audit *audit)
{
	struct cow_allocator allocator;

	if (!audit)
		return;
	allocator = audit->allocator;
	machine_unobserve(audit->machine, audit);
	cells_fini(audit);
	for (size_t slot = 0; slot < audit->ref_room; slot++)
		cow_release_(&allocator, audit->refs[slot].records,
			     audit->refs[slot].pages * sizeof(uint32_t));
	cow_release_(&allocator, audit->refs, audit->ref_room * sizeof(*audit->refs));
	cow_release_(&allocator, audit->processes,
		     audit->process_room * sizeof(*audit->processes));
	cow_release_(&allocator, audit->objects, audit->object_room * sizeof(*audit->objects));
	pool_fini(&allocator, &audit->contents);
	pool_fini(&allocator, &audit->maps);
	pool_fini(&allocator, &audit->holds);
	pool_fini(&allocator, &audit->cells);
	pool_fini(&allocator, &audit->records);
	cow_release_(&allocator, audit, sizeof(*audit));
}

unsigned cow_audit_verdict(const cow_audit *audit)
{
	return audit->verdict;
}

size_t cow_audit_findings(const cow_audit *audit)
{
	return audit->finding_count;
}

const struct cow_finding *cow_audit_finding(const cow_audit *audit, size_t index)
{
	return index < audit->finding_count ? &audit->findings[index] : NULL;
}

uint64_t cow_audit_memory(const cow_audit *audit)
{
	return sizeof(*audit) + audit->leaf_memory + pool_memory(&audit->contents) +
	       pool_memory(&audit->maps) + pool_memory(&audit->holds) +
	       pool_memory(&audit->cells) + pool_memory(&audit->records) +
	       audit->bucket_count * sizeof(*audit->buckets) +
	       audit->process_room * sizeof(*audit->processes) +
	       audit->object_room * sizeof(*audit->objects) +
	       audit->ref_room * sizeof(*audit->refs);
}
