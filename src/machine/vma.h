/* SPDX-License-Identifier: MIT
 *
 * VMAs: found in logarithmic time in a treap whose shape depends on the starts alone, and kept on a
 * list in the order of their addresses.  They split and merge by Linux's conditions.  Pages are
 * counted, not bytes.  What the anon_vmas of merging VMAs must be like is in anon.h.
 */
#ifndef COWLAB_MACHINE_VMA_H
#define COWLAB_MACHINE_VMA_H

#include "machine/machine.h"

static inline struct vma *vma_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_VMA], index, struct vma, 10);
}

/* find_vma: the first VMA that ends behind the page; 0: none. */
uint32_t vma_find_tree(cow_machine *m, uint32_t mm, uint64_t page);

static inline uint32_t vma_find(cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t found = m->cache.vma;

	return found && m->cache.mm == mm && vma_at(m, found)->start <= page &&
			       page < vma_at(m, found)->end
		       ? found
		       : vma_find_tree(m, mm, page);
}

/* The same for those who only look. */
uint32_t vma_look(const cow_machine *m, uint32_t mm, uint64_t page);
/* The VMA that covers the page; 0: none. */
static inline uint32_t vma_covering(cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t vma = vma_find(m, mm, page);

	return vma && vma_at(m, vma)->start <= page ? vma : 0;
}


/* Puts a VMA with its range set into the tree and the list of its mm, or takes it out. */
void vma_link(cow_machine *m, uint32_t vma);
void vma_unlink(cow_machine *m, uint32_t vma);
/* Takes it out and frees it, with its avcs; drops the object. */
void vma_remove(cow_machine *m, uint32_t vma);

/* Splits a VMA at a page inside it.  Returns the upper part. */
uint32_t vma_split(cow_machine *m, uint32_t vma, uint64_t page);
/* Merges a VMA with its neighbours where it can.  Returns the VMA that covers its range then. */
uint32_t vma_merge(cow_machine *m, uint32_t vma);
/* Cuts a VMA down to its part between two pages, and returns that part. */
uint32_t vma_cut(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
/* Splits at the ends of a range, so that it is made of whole VMAs. */
void vma_isolate(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);
/* Reserves what vma_isolate, or vma_cut and vma_merge of each VMA, and `more` new VMAs may need. */
int vma_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, uint64_t more);

/* Write permission implies read permission on the machines that are modelled. */
static inline uint32_t vma_prot_flags(enum cow_prot prot)
{
	return prot & COW_PROT_WRITE ? VMA_READ | VMA_WRITE : prot & COW_PROT_READ ? VMA_READ : 0;
}

static inline uint64_t vma_pgoff(const struct vma *vma, uint64_t page)
{
	return vma->pgoff + (page - vma->start);
}

#endif
