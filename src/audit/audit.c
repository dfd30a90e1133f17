/* SPDX-License-Identifier: MIT
 *
 * The audit as an observer: what it is told, it writes down; what is read, it judges.  Everything
 * that a call may need is reserved in `before`, so that the audit cannot fail half-way.
 */
#include "audit/truth.h"
#include "machine/vma.h"

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

	/* Without a memory object there is nothing to find. */
	uint32_t at = m->pools[POOL_OBJECT].live ? vma_look(m, op->mm, first) : 0;

	for (; at && vma_at(m, at)->start < end; at = vma_at(m, at)->next) {
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

/* ksmd may give a page that was never written the stamp of one that was. */
static int reserve_merge(struct cow_audit *audit)
{
	const cow_machine *m = audit->machine;
	size_t leaves = 0;

	for (uint32_t mm = 1; mm < m->pools[POOL_MM].used; mm++)
		for (uint32_t at = mm_at(m, mm)->number ? mm_at(m, mm)->vma_first : 0; at;
		     at = vma_at(m, at)->next)
			if (vma_at(m, at)->flags & VMA_MERGEABLE)
				leaves += cells_missing(audit, mm_at(m, mm)->number,
							vma_at(m, at)->start,
							vma_at(m, at)->end - vma_at(m, at)->start);
	return leaves_reserve(audit, leaves);
}

static int reserve_object(struct cow_audit *audit, uint32_t object, uint64_t index, uint64_t pages)
{
	int error = array_grow(&audit->allocator, (void **)&audit->objects, &audit->object_room,
			       (size_t)object + 1, sizeof(*audit->objects));

	if (error)
		return error;
	return pages ? leaves_reserve(audit, cells_missing(audit, space_of(0, object), index, pages))
		     : 0;
}

static int reserve(struct cow_audit *audit, const struct cow_op *op)
{
	uint32_t frames = audit->machine->pools[POOL_FRAME].capacity;
	uint32_t slots = audit->machine->pools[POOL_SLOT].capacity;
	uint64_t page = page_of(audit, op->addr);
	int error;

	/* contents has the smallest chunks and grows last, so it tells whether all have. */
	if (audit->contents.capacity <= frames &&
	    (pool_reserve(&audit->allocator, &audit->maps, frames) ||
	     pool_reserve(&audit->allocator, &audit->holds, frames) ||
	     pool_reserve(&audit->allocator, &audit->cached, frames) ||
	     pool_reserve(&audit->allocator, &audit->contents, frames)))
		return -ENOMEM;
	if (audit->slots.capacity <= slots && pool_reserve(&audit->allocator, &audit->slots, slots))
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
	case COW_OP_FILE_CREATE:
		return reserve_object(audit, op->object, 0, op->index);
	case COW_OP_FILE_WRITE:
		return reserve_object(audit, op->object, op->index, 1);
	case COW_OP_KSM_SCAN:
		return reserve_merge(audit);
	case COW_OP_UFFD_MOVE:
	case COW_OP_MREMAP:
		return cells_reserve_move(audit, op->process, page, op->pages);
	case COW_OP_GUP:
		if (refs_reserve(audit, op->ref, op->pages))
			return -ENOMEM;
		/* fallthrough */
	case COW_OP_WRITE:
	case COW_OP_FORCE_WRITE:
	case COW_OP_MADVISE:
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
	return audit_attach(m, &(struct audit_room){ 16, 16, 4, 1, 0 }, out);
}

int audit_attach(cow_machine *m, const struct audit_room *room, cow_audit **out)
{
	struct cow_observer observer = { .size = sizeof(observer), .before = on_before,
					 .change = audit_change,
					 .truth = on_truth };
	struct cow_audit *audit;
	bool failed;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!m)
		return -EINVAL;
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].change == audit_change)
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
			   room->frames) ||
		 pool_init(&m->allocator, &audit->maps, sizeof(uint32_t), MAPS_SHIFT,
			   room->frames) ||
		 pool_init(&m->allocator, &audit->holds, sizeof(uint32_t), MAPS_SHIFT,
			   room->frames) ||
		 pool_init(&m->allocator, &audit->cached, sizeof(uint32_t), MAPS_SHIFT,
			   room->frames) ||
		 pool_init(&m->allocator, &audit->slots, sizeof(struct slot_truth), SLOTS_SHIFT,
			   room->slots) ||
		 pool_init(&m->allocator, &audit->cells, sizeof(struct shared_cell), CELLS_SHIFT,
			   room->records) ||
		 pool_init(&m->allocator, &audit->records, sizeof(struct record), RECORDS_SHIFT,
			   room->records) ||
		 reserve_processes(audit, room->processes) ||
		 (room->buckets && buckets_make(audit, room->buckets)) ||
		 cow_machine_observe(m, &observer);
	audit->holds.sparse = audit->cached.sparse = true;
	if (!failed)
		machine_observe_runs(m, &(struct run_observer){ .ctx = audit, .tell = audit_run,
								.ready = audit_ready,
								.one = audit_one });
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
	pool_fini(&allocator, &audit->cached);
	pool_fini(&allocator, &audit->slots);
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
	       pool_memory(&audit->cached) + pool_memory(&audit->slots) +
	       pool_memory(&audit->cells) + pool_memory(&audit->records) +
	       audit->bucket_count * sizeof(*audit->buckets) +
	       audit->process_room * sizeof(*audit->processes) +
	       audit->object_room * sizeof(*audit->objects) +
	       audit->ref_room * sizeof(*audit->refs);
}
