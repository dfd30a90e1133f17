/* SPDX-License-Identifier: MIT
 *
 * Shared anonymous memory: an object with a page cache of its own, a radix tree of the geometry of
 * page tables whose entries hold one reference each.  Mappings come and go; the last VMA frees it.
 */
#ifndef COWLAB_MACHINE_OBJECT_H
#define COWLAB_MACHINE_OBJECT_H

#include "machine/table.h"

/* A new object with no page; needs one object in reserve. */
uint32_t object_create(cow_machine *m);
/* The frame of a page; 0: it has none yet. */
uint32_t object_frame(const cow_machine *m, uint32_t object, uint64_t index);
/* Gives a page a frame, and the frame its page-cache reference; needs tables in reserve. */
void object_add(cow_machine *m, uint32_t object, uint64_t index, uint32_t frame);
/* One VMA less; the last one frees the object and drops its pages. */
void object_put(cow_machine *m, uint32_t object);

#endif
