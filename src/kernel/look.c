/* SPDX-License-Identifier: MIT
 *
 * Looking at a machine without touching it: pagemap, kpagecount and kpageflags, so to speak; the
 * reverse map; the lists of address spaces and references; and the two calls without a page.
 */
#include "kernel/kernel.h"
#include "kernel/looks.h"

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

static bool look_marker(const cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	if (leaf->pmd)
		return pmd_marker_get(m, *leaf->pmd);
	switch (m->state.marker) {
	case COW_MARKER_NONE:
		return false;
	case COW_MARKER_FRAME:
		if (leaf->ptes[slot] & PTE_PRESENT)
			return frame_exclusive(m, frame_at(m, pte_frame(leaf->ptes[slot])));
		/* fallthrough */
	case COW_MARKER_PTE:
		return leaf->ptes[slot] & PTE_MARKER;
	default:
		return side_marker_look(m, leaf, slot);
	}
}

/* What the entry and the frame say; the frame 0 of an entry that maps none has nothing to say. */
static void look_frame(const cow_machine *m, uint32_t index, struct cow_page *out)
{
	const struct frame *frame = frame_at(m, index);

	out->anon = (frame->flags & FRAME_ANON) != 0;
	out->ksm |= (frame->flags & FRAME_KSM) != 0;
	out->in_batch = (frame->flags & FRAME_BATCHED) != 0;
	out->swapcache = frame_cached(m, index);
	out->writeback = (frame->flags & FRAME_WRITEBACK) != 0;
	out->lazyfree = (frame->flags & FRAME_LAZYFREE) != 0;
	out->order = frame_large(m, index) ? folio_of(m, index)->order : 0;
	out->refcount = page_refcount(m, index);
	out->mapcount = page_mapcount(m, index);
	out->folio_mapcount = page_folio_mapcount(m, index);
	out->value = frame_body(m, index)->value;
	if (out->swapcache)
		out->slot = frame_slot(m, index);
}

static void look_entry(const cow_machine *m, const struct leaf *leaf, uint64_t page,
		       struct cow_page *out)
{
	uint32_t slot = leaf_slot(m, page);
	uint64_t entry = leaf->pmd ? *leaf->pmd : leaf->ptes[slot];

	out->uffd_wp = (entry & PTE_UFFD) != 0;
	if (pte_is_marker(entry) || pmd_is_note(entry))
		return;
	out->soft_dirty = (entry & PTE_SOFT) != 0;
	out->exclusive = look_marker(m, leaf, slot);
	if (entry & PTE_SWAP) {
		const struct slot *swap = slot_at(m, pte_frame(entry));

		out->swapped = true;
		if (swap->frame)
			look_frame(m, swap->frame, out);
		out->frame = swap->frame;
		out->slot = pte_frame(entry);
		out->value = swap->frame ? out->value : swap->value;
	} else {
		out->present = true;
		out->huge = leaf->pmd != NULL;
		out->zero = (entry & PTE_SPECIAL) != 0;
		out->ksm = out->zero && (entry & PTE_DIRTY);
		out->writable = (entry & PTE_WRITE) != 0;
		out->dirty = (entry & PTE_DIRTY) != 0;
		out->frame = leaf->pmd ? pmd_frame(m, entry, page) : pte_frame(entry);
		look_frame(m, out->frame, out);
	}
	out->swapcount = out->slot ? slot_at(m, out->slot)->count : 0;
}

/* The VMA and the leaf table of the page before will do for most pages. */
void page_look_next(const cow_machine *m, struct page_looks *looks, uint64_t page,
		    struct cow_page *out)
{
	const struct vma *vma = looks->vma ? vma_at(m, looks->vma) : NULL;
	const struct leaf *leaf = &looks->leaf;

	*out = (struct cow_page){ 0 };
	if (!vma || page >= vma->end) {
		looks->vma = vma_look(m, looks->mm, page);
		vma = looks->vma ? vma_at(m, looks->vma) : NULL;
	}
	if (!vma || vma->start > page)
		return;
	out->mapped = true;
	out->prot = vma->flags & VMA_WRITE ? COW_PROT_RW
		    : vma->flags & VMA_READ ? COW_PROT_READ
					    : COW_PROT_NONE;
	out->vma_start = vma->start << m->state.page_shift;
	out->vma_end = vma->end << m->state.page_shift;
	if (page >= looks->end) {
		uint64_t at = page;

		looks->end = (page / leaf_entries(m) + 1) * leaf_entries(m);
		looks->there = leaf_next(m, mm_at(m, looks->mm)->root, &at, looks->end,
					 &looks->leaf);
	}
	if (looks->there && (leaf->pmd || leaf->ptes[leaf_slot(m, page)]))
		look_entry(m, leaf, page, out);
}

int cow_page_look(const cow_machine *m, cow_mm handle, uint64_t addr, struct cow_page *out)
{
	uint64_t page = addr >> m->state.page_shift;
	struct page_looks looks = { .mm = handle.index };
	uint32_t number;
	int error = out ? cow_mm_number(m, handle, &number) : -EINVAL;

	if (error)
		return error;
	*out = (struct cow_page){ 0 };
	if (page << m->state.page_shift != addr || page >= m->pages)
		return -EINVAL;
	page_look_next(m, &looks, page, out);
	if (out->frame && frame_large(m, out->frame))
		out->pincount = folio_of(m, out->frame)->pincount;
	else if (out->frame)
		out->pincount = frame_pincount(m, out->frame);
	return 0;
}

struct visitor {
	cow_rmap_fn *visit;
	void *ctx;
	uint32_t frame;
	int stop;
};

static bool visit_mapping(cow_machine *m, const struct mapping *mapping, void *ctx)
{
	struct visitor *visitor = ctx;
	uint32_t mm = vma_at(m, mapping->vma)->mm;
	uint64_t page = mapping->page;

	if (mapping->leaf.pmd)
		page += visitor->frame - pte_frame(*mapping->leaf.pmd);
	visitor->stop = visitor->visit(visitor->ctx, (cow_mm){ m->identity, mm, mm_at(m, mm)->number },
				       page << m->state.page_shift);
	return !visitor->stop;
}

int cow_rmap_walk(const cow_machine *m, uint32_t frame, cow_rmap_fn *visit, void *ctx)
{
	struct visitor visitor = { visit, ctx, frame, 0 };

	if (!visit || frame >= m->pools[POOL_FRAME].used ||
	    !(frame_at(m, frame)->flags & (FRAME_ANON | FRAME_SHARED)))
		return -EINVAL;
	rmap_walk((cow_machine *)m, frame, visit_mapping, &visitor); /* the visitor changes nothing */
	return visitor.stop;
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
