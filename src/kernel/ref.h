/* SPDX-License-Identifier: MIT
 *
 * What gup.c and ref.c share: a reference while it is taken, and its end.
 */
#ifndef COWLAB_KERNEL_REF_H
#define COWLAB_KERNEL_REF_H

#include "machine/machine.h"

/* Tells of one page of a reference: `page` is its number in the reference.  mm and addr: where it
 * was taken, of COW_CHANGE_GET alone. */
void ref_tell(cow_machine *m, enum cow_change_kind kind, uint32_t slot, uint32_t mm, uint64_t addr,
	      uint64_t page, uint32_t frame, uint64_t value);
/* Drops the first `pages` pages of a reference, and the reference itself. */
void ref_drop(cow_machine *m, uint32_t slot, uint64_t pages);

#endif
