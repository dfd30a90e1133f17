/* SPDX-License-Identifier: MIT
 *
 * Looking at a machine without touching it: pagemap, kpagecount and kpageflags, so to speak; the
 * reverse map; the lists of address spaces and references; and the two calls without a page.
 */
#include "kernel/kernel.h"

int cow_mm_number(const cow_machine *m, cow_mm handle, uint32_t *out)
{
	if (!out)
		return -EINVAL;
	if (handle.owner != m->identity)
		return -EXDEV;
	if (!mm_known(m, handle))
		return -ESRCH;
	*out = handle.generation;
	return 0;
}

int cow_mm_at(const cow_machine *m, size_t index, cow_mm *out)
{
	for (uint32_t slot = 1; slot < m->pools[POOL_MM].used; slot++)
		if (mm_at(m, slot)->number && !index--) {
			*out = (cow_mm){ m->identity, slot, mm_at(m, slot)->number };
			return 0;
		}
	return -ENOENT;
}

int cow_ref_at(const cow_machine *m, size_t index, cow_ref *out)
{
	for (uint32_t slot = 1; slot < m->pools[POOL_REF].used; slot++)
		if (ref_at(m, slot)->number && !index--) {
			*out = (cow_ref){ m->identity, slot, ref_at(m, slot)->number };
			return 0;
		}
	return -ENOENT;
}

static void look_frame(const cow_machine *m, const struct leaf *leaf, uint32_t slot,
		       struct cow_page *out)
{
	uint64_t pte = leaf->ptes[slot];
	const struct frame *frame = frame_at(m, pte_frame(pte));

	out->present = true;
	out->zero = (pte & PTE_SPECIAL) != 0;
	out->writable = (pte & PTE_WRITE) != 0;
	out->dirty = (pte & PTE_DIRTY) != 0;
	out->frame = pte_frame(pte);
	out->anon = (frame->flags & FRAME_ANON) != 0;
	out->in_batch = (frame->flags & FRAME_BATCHED) != 0;
	out->refcount = frame->refcount;
	out->mapcount = frame->mapcount;
	out->pincount = frame_pincount(m, out->frame);
	out->value = frame_body(m, out->frame)->value;
	if (m->state.marker == COW_MARKER_FRAME)
		out->exclusive = (frame->flags & FRAME_EXCLUSIVE) != 0;
	else if (m->state.marker == COW_MARKER_PTE)
		out->exclusive = (pte & PTE_MARKER) != 0;
	else if (m->state.marker != COW_MARKER_NONE)
		out->exclusive = side_marker_look(m, leaf, slot);
}

int cow_page_look(const cow_machine *m, cow_mm handle, uint64_t addr, struct cow_page *out)
{
	uint64_t page = addr >> m->state.page_shift;
	const struct vma *vma;
	struct leaf leaf;
	uint32_t number, index;
	int error = out ? cow_mm_number(m, handle, &number) : -EINVAL;

	if (error)
		return error;
	*out = (struct cow_page){ 0 };
	if (page << m->state.page_shift != addr || page >= m->pages)
		return -EINVAL;
	index = vma_look(m, handle.index, page);
	vma = index ? vma_at(m, index) : NULL;
	if (!vma || vma->start > page)
		return 0;
	out->mapped = true;
	out->prot = vma->flags & VMA_WRITE ? COW_PROT_RW
		    : vma->flags & VMA_READ ? COW_PROT_READ
					    : COW_PROT_NONE;
	out->vma_start = vma->start << m->state.page_shift;
	out->vma_end = vma->end << m->state.page_shift;
	if (leaf_find(m, mm_at(m, handle.index)->root, page, &leaf) &&
	    leaf.ptes[leaf_slot(m, page)])
		look_frame(m, &leaf, leaf_slot(m, page), out);
	return 0;
}

/* rmap_walk_anon */
int cow_rmap_walk(const cow_machine *m, uint32_t frame, cow_rmap_fn *visit, void *ctx)
{
	uint64_t index;
	uint32_t anon;

	if (!visit || frame >= m->pools[POOL_FRAME].used || !(frame_at(m, frame)->flags & FRAME_ANON))
		return -EINVAL;
	anon = frame_at(m, frame)->owner;
	index = frame_body(m, frame)->index;
	for (uint32_t at = anon ? anon_at(m, anon)->chain : 0; at; at = avc_at(m, at)->next_of_anon) {
		const struct vma *vma = vma_at(m, avc_at(m, at)->vma);
		uint64_t page = vma->start + (index - vma->pgoff);
		struct leaf leaf;
		int stop;

		if (index < vma->pgoff || page >= vma->end ||
		    !leaf_find(m, mm_at(m, vma->mm)->root, page, &leaf) ||
		    !(leaf.ptes[leaf_slot(m, page)] & PTE_PRESENT) ||
		    pte_frame(leaf.ptes[leaf_slot(m, page)]) != frame)
			continue;
		stop = visit(ctx, (cow_mm){ m->identity, vma->mm, mm_at(m, vma->mm)->number },
			     page << m->state.page_shift);
		if (stop)
			return stop;
	}
	return 0;
}

int cow_drain_lru(cow_machine *m)
{
	struct cow_op op = { .kind = COW_OP_DRAIN_LRU, .mm = COW_NONE };
	int error = op_begin(m, &op);

	if (error)
		return error;
	for (uint32_t slot = 1; slot < m->pools[POOL_MM].used; slot++)
		if (mm_at(m, slot)->number)
			batch_drain(m, slot);
	return op_end(m, &op, 0);
}
