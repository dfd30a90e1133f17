/* SPDX-License-Identifier: MIT
 *
 * anon_vmas: how the reverse map finds, from an anonymous frame, the VMAs that may map it.  A frame
 * names an anon and an offset; each VMA hangs on the anons of all the VMAs it was forked from.
 * Kept behind this small interface because Linux is about to change it.
 */
#ifndef COWLAB_MACHINE_ANON_H
#define COWLAB_MACHINE_ANON_H

#include "machine/vma.h"

static inline struct anon *anon_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_ANON], index, struct anon, 10);
}

static inline struct avc *avc_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_AVC], index, struct avc, 10);
}

/* anon_vma_prepare: gives the VMA an anon of its own, a mergeable neighbour's if there is one.
 * Needs one anon and one avc in reserve. */
void anon_make(cow_machine *m, uint32_t vma);

static inline void anon_prepare(cow_machine *m, uint32_t vma)
{
	if (!vma_at(m, vma)->anon)
		anon_make(m, vma);
}

/* anon_vma_clone: hangs `to` on every anon of `from`, as splitting and moving do. */
void anon_clone(cow_machine *m, uint32_t to, uint32_t from);
/* anon_vma_fork: the child's VMA hangs on the parent's anons and gets one of its own. */
void anon_fork(cow_machine *m, uint32_t child, uint32_t parent);
/* unlink_anon_vmas: takes the VMA off every anon. */
void anon_unlink(cow_machine *m, uint32_t vma);
/* Frees an anon that no VMA and no KSM page keeps any more. */
void anon_free_unused(cow_machine *m, uint32_t anon);
/* The root of its tree: what pages are put on that may be shared (__page_set_anon_rmap). */
uint32_t anon_root(const cow_machine *m, uint32_t anon);
/* True if `target` may grow over `source`, as far as their anons go. */
bool anon_mergeable(const cow_machine *m, uint32_t target, uint32_t source);
/* Length of a VMA's chain. */
uint32_t anon_chain_length(const cow_machine *m, uint32_t vma);

#endif
