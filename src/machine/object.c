/* SPDX-License-Identifier: MIT
 *
 * Shared anonymous memory.
 */
#include "machine/object.h"

uint32_t object_create(cow_machine *m)
{
	uint32_t object = pool_take(&m->pools[POOL_OBJECT]);

	object_at(m, object)->number = ++m->state.objects;
	object_at(m, object)->vmas = 1;
	return object;
}

uint32_t object_frame(const cow_machine *m, uint32_t object, uint64_t index)
{
	struct leaf leaf;

	if (!leaf_find(m, object_at(m, object)->root, index, &leaf))
		return 0;
	return pte_frame(leaf.ptes[leaf_slot(m, index)]);
}

void object_add(cow_machine *m, uint32_t object, uint64_t index, uint32_t frame)
{
	uint32_t tables = 0;
	struct leaf leaf;

	leaf_make(m, &object_at(m, object)->root, index, &leaf, &tables);
	pte_fill(m, &leaf, leaf_slot(m, index), pte_make(frame, PTE_PRESENT));
	frame_at(m, frame)->flags |= FRAME_SHARED;
	frame_at(m, frame)->owner = object;
	frame_at(m, frame)->refcount++;
	frame_body(m, frame)->index = index;
	machine_count(m, COW_COUNT_ATOMICS, 1);
}

void object_put(cow_machine *m, uint32_t index)
{
	struct object *object = object_at(m, index);
	uint32_t tables = 0;
	struct leaf leaf;

	if (--object->vmas)
		return;
	for (uint64_t page = 0; leaf_next(m, object->root, &page, m->pages, &leaf);
	     page = leaf.first + leaf_entries(m))
		for (uint32_t slot = 0; slot < leaf_entries(m); slot++)
			if (leaf.ptes[slot]) {
				uint32_t frame = pte_frame(leaf.ptes[slot]);

				pte_empty(m, &leaf, slot);
				/* A reference may keep the page; it belongs to nobody then. */
				frame_at(m, frame)->flags &= ~(uint32_t)FRAME_SHARED;
				frame_at(m, frame)->owner = 0;
				frame_put(m, frame, 1);
			}
	tables_prune(m, &object->root, 0, m->pages, &tables);
	pool_give(&m->pools[POOL_OBJECT], index);
}
