/* SPDX-License-Identifier: MIT
 *
 * Looking at many pages of one mm, for who looks at all of them after every event.  Changes
 * nothing.  Done in look.c.
 */
#ifndef COWLAB_KERNEL_LOOKS_H
#define COWLAB_KERNEL_LOOKS_H

#include "machine/table.h"

/* Where the last look has been.  Begins with its mm alone, and ends when anything changes. */
struct page_looks {
	uint32_t mm;
	uint32_t vma;     /* the first that ends behind the last page; 0: none known */
	bool there;       /* `leaf` is that of pages up to `end` */
	uint64_t end;
	struct leaf leaf;
};

/* The next page, by its number, which is greater than the last.  As cow_page_look, but for
 * `pincount`, which would take a walk over all references. */
void page_look_next(const cow_machine *m, struct page_looks *looks, uint64_t page,
		    struct cow_page *out);

#endif
