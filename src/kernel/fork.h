/* SPDX-License-Identifier: MIT
 *
 * A fork on its way, shared by fork.c (the call, what it reserves, VMAs) and copy.c (page tables).
 */
#ifndef COWLAB_KERNEL_FORK_H
#define COWLAB_KERNEL_FORK_H

#include "kernel/ask.h"

struct fork {
	uint32_t parent, child;          /* mms */
	uint32_t vma, child_vma;
	bool flush;                      /* a PTE was writable */
	struct cow_result *result;
	/* What the last answer is good for. */
	uint64_t counts;                 /* refcount and mapcount */
	uint32_t flags;                  /* of the frame */
	uint32_t pte;                    /* PTE_WRITE, PTE_DIRTY and the marker */
	struct cow_view view;
	const struct cow_rule *rule;     /* NULL: ask */
};

/* What the policy sees of a page; `marker`: whether it has it. */
struct cow_view fork_view(cow_machine *m, const struct fork *fork, uint64_t page,
			  const uint64_t *pte, bool marker);
/* copy_page_range for one VMA.  False: out of frames. */
bool copy_pages(cow_machine *m, struct fork *fork);

#endif
