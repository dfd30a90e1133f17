/* SPDX-License-Identifier: MIT
 *
 * Files and shared anonymous memory: the page cache, and the list of VMAs that map it.
 */
#include "machine/object.h"
#include "machine/vma.h"

uint32_t object_create(cow_machine *m, uint32_t flags)
{
	uint32_t object = pool_take(&m->pools[POOL_OBJECT]);

	object_at(m, object)->number = ++m->state.objects;
	object_at(m, object)->flags = flags;
	object_at(m, object)->vmas = (flags & OBJECT_FILE) != 0;
	return object;
}

uint32_t object_frame(const cow_machine *m, uint32_t object, uint64_t index)
{
	struct leaf leaf;
	uint64_t page = index;

	if (!leaf_next(m, object_at(m, object)->root, &page, index + 1, &leaf))
		return 0;
	return leaf.pmd ? pmd_frame(m, *leaf.pmd, index) : pte_frame(leaf.ptes[leaf_slot(m, index)]);
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

void object_add_huge(cow_machine *m, uint32_t object, uint64_t index, uint32_t folio)
{
	uint32_t tables = 0;

	pmd_fill(m, &object_at(m, object)->root, index, &tables,
		 pte_make(folio_at(m, folio)->head, PTE_PRESENT | PTE_HUGE));
}

void object_replace(cow_machine *m, uint32_t object, uint64_t index, uint32_t frame)
{
	struct leaf leaf;

	if (leaf_find(m, object_at(m, object)->root, index, &leaf))
		leaf.ptes[leaf_slot(m, index)] = pte_make(frame, PTE_PRESENT);
}

/* The page cache lets go of a frame. */
static void detach(cow_machine *m, uint32_t frame)
{
	struct frame *at = frame_at(m, frame);

	/* A reference may keep the page; it belongs to nobody then. */
	at->flags = (at->flags & ~(uint32_t)FRAME_SHARED) | FRAME_DETACHED;
	at->owner = 0;
	frame_put(m, frame, 1);
}

static void detach_huge(cow_machine *m, uint32_t head)
{
	uint32_t index = frame_at(m, head)->owner;
	struct folio *folio = folio_at(m, index);

	for (uint32_t i = 0; i < folio_frames(folio); i++) {
		struct frame *frame = frame_at(m, head + i);

		frame->flags = (frame->flags & ~(uint32_t)FRAME_SHARED) | FRAME_DETACHED;
	}
	folio->owner = 0;
	folio_put(m, index, 1);
}

void object_drop(cow_machine *m, uint32_t index, uint64_t first, uint64_t end)
{
	struct object *object = object_at(m, index);
	uint32_t tables = 0;
	uint64_t page = first;
	struct leaf leaf;

	while (leaf_next(m, object->root, &page, end, &leaf)) {
		if (leaf.pmd) {
			detach_huge(m, pte_frame(*leaf.pmd));
			pmd_empty(m, &leaf);
			page = leaf.first + pmd_pages(m);
			continue;
		}
		for (; page < end && page < leaf.first + leaf_entries(m); page++) {
			uint32_t slot = leaf_slot(m, page);
			uint32_t frame = pte_frame(leaf.ptes[slot]);

			if (!frame)
				continue;
			pte_empty(m, &leaf, slot);
			detach(m, frame);
		}
	}
	tables_prune(m, &object->root, first, end, &tables);
}

void object_link(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	struct object *object = object_at(m, vma->object);

	vma->prev_of_object = 0;
	vma->next_of_object = object->first;
	if (object->first)
		vma_at(m, object->first)->prev_of_object = index;
	object->first = index;
	object->vmas++;
}

bool object_unlink(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	uint32_t number = vma->object;
	struct object *object = object_at(m, number);

	if (vma->prev_of_object)
		vma_at(m, vma->prev_of_object)->next_of_object = vma->next_of_object;
	else
		object->first = vma->next_of_object;
	if (vma->next_of_object)
		vma_at(m, vma->next_of_object)->prev_of_object = vma->prev_of_object;
	vma->next_of_object = vma->prev_of_object = 0;
	if (--object->vmas)
		return false;
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = COW_CHANGE_END, .mm = vma->mm,
						     .process = mm_at(m, vma->mm)->number,
						     .object = object->number, .pages = m->pages });
	object_drop(m, number, 0, m->pages);
	m->state.pool_reserved -= (int32_t)object->reserved;
	pool_give(&m->pools[POOL_OBJECT], number);
	return true;
}
