/* SPDX-License-Identifier: MIT
 *
 * What the kernel part shares: resolving handles, telling observers, asking the policy, faults.
 *
 * Every public call has the same shape: check the arguments, reserve all host memory that the call
 * may need, let the observers veto, and only then change the machine, which cannot fail any more.
 * Running out of simulated frames is an outcome, not a failure.
 *
 * Reading order: ask.h, fault.c, access.c, fork.c, gup.c, zap.c, map.c, protect.c, advise.c.
 */
#ifndef COWLAB_KERNEL_KERNEL_H
#define COWLAB_KERNEL_KERNEL_H

#include "machine/anon.h"
#include "machine/object.h"

#include <errno.h>

/* True if the handle names a living address space of this machine. */
static inline bool mm_known(const cow_machine *m, cow_mm handle)
{
	return handle.owner == m->identity && handle.index &&
	       handle.index < m->pools[POOL_MM].used && handle.generation &&
	       mm_at(m, handle.index)->number == handle.generation;
}

/* Finds the slot that a handle names.  Returns 0, -EXDEV or -ESRCH. */
int mm_resolve(cow_machine *m, cow_mm handle, uint32_t *index);
int ref_resolve(cow_machine *m, cow_ref handle, uint32_t *index);
/* Checks a range in bytes and pages, and turns it into page numbers.  Returns 0 or -EINVAL. */
int range_check(cow_machine *m, uint64_t addr, uint64_t pages, uint64_t *first);

/* ---- observers: nothing here costs more than a test while there is none ---- */

int op_veto(cow_machine *m, const struct cow_op *op);
void op_tell(cow_machine *m, struct cow_op *op, int result);
void change_tell(cow_machine *m, const struct cow_change *change);

static inline int op_begin(cow_machine *m, const struct cow_op *op)
{
	return m->observer_count ? op_veto(m, op) : 0;
}

static inline int op_end(cow_machine *m, struct cow_op *op, int result)
{
	if (m->after_observers)
		op_tell(m, op, result);
	return result;
}

/* Field by field: a struct returned by value would be copied in pieces that the CPU must wait for. */
static inline void op_set(const cow_machine *m, struct cow_op *op, enum cow_op_kind kind,
			  uint32_t mm, uint64_t addr, uint64_t pages)
{
	op->kind = kind;
	op->mm = mm;
	op->process = mm_at(m, mm)->number;
	op->addr = addr;
	op->pages = pages;
	op->value = 0;
	op->flags = 0;
	op->ref = 0;
	op->result = 0;
}

/* A range has changed as a whole. */
static inline void note(cow_machine *m, enum cow_change_kind kind, uint32_t mm, uint64_t page,
			uint64_t pages, uint64_t from)
{
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = kind, .mm = mm,
						     .process = mm_at(m, mm)->number,
						     .addr = page << m->state.page_shift,
						     .pages = pages, .from = from });
}

/* A page of a VMA, which may be of shared memory, has changed or was accessed. */
static inline void note_page(cow_machine *m, enum cow_change_kind kind, uint32_t vma,
			     uint64_t page, uint32_t frame, uint64_t value, uint64_t from)
{
	const struct vma *in = vma_at(m, vma);

	if (m->observer_count)
		change_tell(m, &(struct cow_change){
				       .kind = kind, .mm = in->mm,
				       .process = mm_at(m, in->mm)->number, .frame = frame,
				       .addr = page << m->state.page_shift, .pages = 1,
				       .value = value, .from = from,
				       .object = in->object ? object_at(m, in->object)->number : 0,
				       .index = in->object ? vma_pgoff(in, page) : 0 });
}

/* Entries of a VMA are mapped, or are about to be unmapped. */
static inline void note_entries(cow_machine *m, enum cow_change_kind kind, uint32_t vma,
				uint64_t page, uint64_t pages, const uint64_t *entries)
{
	const struct vma *in = vma_at(m, vma);

	if (m->observer_count)
		change_tell(m, &(struct cow_change){
				       .kind = kind, .mm = in->mm,
				       .process = mm_at(m, in->mm)->number,
				       .addr = page << m->state.page_shift, .pages = pages,
				       .entries = entries,
				       .object = in->object ? object_at(m, in->object)->number : 0,
				       .index = in->object ? vma_pgoff(in, page) : 0 });
}

/* ---- faults ---- */

enum fault_flags {
	FAULT_WRITE = 1,   /* a write access */
	FAULT_UNSHARE = 2, /* FAULT_FLAG_UNSHARE: make it private, leave it read-only */
};

/* A fault on its way; nothing is kept elsewhere between its steps. */
struct fault {
	uint32_t mm, vma;  /* where */
	uint64_t page;
	unsigned flags;    /* enum fault_flags */
	bool wp;           /* it went through the write-protection path (VM_FAULT_WRITE) */
	struct leaf leaf;  /* the page's leaf table, made if need be */
	uint32_t slot;
	uint32_t old, new; /* frames, of a copy */
	const struct cow_rule *rule;
};

/* handle_mm_fault for a page whose VMA is known and allows the access.  `walked`: leaf and slot are
 * known too.  Returns the outcome. */
enum cow_outcome fault_handle(cow_machine *m, struct fault *fault, bool walked);
/* Reserves what faults on pages first to end-1 may need, `times` over.  Returns 0 or -ENOMEM. */
int fault_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		  unsigned times);

/* Sets up a frame just taken as an anonymous page of a VMA. */
void frame_make_anon(cow_machine *m, uint32_t frame, uint32_t vma, uint64_t page);

/* ---- others ---- */

/* zap_page_range: unmaps pages first to end-1 of a VMA and gives their content up. */
void zap_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
/* Drains the LRU batch before pages are zapped, if this kernel does. */
void zap_drain(cow_machine *m, uint32_t mm);
/* exit_mmap, and the mm itself. */
void mm_destroy(cow_machine *m, uint32_t mm);
/* munmap within a call: VMAs between first and end go; all has been reserved. */
void unmap_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);

static inline void result_clear(struct cow_result *result)
{
	*result = (struct cow_result){ 0 };
}

static inline void result_add(struct cow_result *result, enum cow_outcome outcome)
{
	result->outcome = outcome;
	result->counts[outcome]++;
}

#endif
