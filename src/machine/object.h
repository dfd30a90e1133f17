/* SPDX-License-Identifier: MIT
 *
 * Files and shared anonymous memory: an object with a page cache of its own, a radix tree of the
 * geometry of page tables whose entries hold one reference each.  Mappings come and go; shared
 * anonymous memory is freed with its last VMA, a file never.
 */
#ifndef COWLAB_MACHINE_OBJECT_H
#define COWLAB_MACHINE_OBJECT_H

#include "machine/folio.h"

/* A new object with no page and no mapping; needs one object in reserve. */
uint32_t object_create(cow_machine *m, uint32_t flags);
/* The frame of a page, which is less than m->pages; 0: it has none. */
uint32_t object_frame(const cow_machine *m, uint32_t object, uint64_t index);
/* Gives a page a frame, and the frame its page-cache reference; needs tables in reserve. */
void object_add(cow_machine *m, uint32_t object, uint64_t index, uint32_t frame);
/* The same with a folio of the hugetlb pool, which has that reference already. */
void object_add_huge(cow_machine *m, uint32_t object, uint64_t index, uint32_t folio);
/* Puts another frame in the place of a page's, as migration does; references are the caller's. */
void object_replace(cow_machine *m, uint32_t object, uint64_t index, uint32_t frame);
/* Drops the pages from first to end-1 from the page cache. */
void object_drop(cow_machine *m, uint32_t object, uint64_t first, uint64_t end);

/* A VMA maps its object, or does no more.  The last one frees shared memory: object_unlink is true
 * then, after telling the observers. */
void object_link(cow_machine *m, uint32_t vma);
bool object_unlink(cow_machine *m, uint32_t vma);

#endif
