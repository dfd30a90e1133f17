/* SPDX-License-Identifier: MIT
 *
 * anon_vmas, after mm/rmap.c: anon_vma_prepare, _clone, _fork, unlink_anon_vmas.
 */
#include "machine/anon.h"
#include "machine/plant.h"

static void chain(cow_machine *m, uint32_t vma, uint32_t anon)
{
	uint32_t index = pool_take(&m->pools[POOL_AVC]);
	struct avc *avc = avc_at(m, index);
	uint32_t head = anon_at(m, anon)->chain;

	avc->vma = vma;
	avc->anon = anon;
	avc->next_of_vma = vma_at(m, vma)->chain;
	vma_at(m, vma)->chain = index;
	avc->next_of_anon = head;
	if (head)
		avc_at(m, head)->prev_of_anon = index;
	anon_at(m, anon)->chain = index;
	mm_at(m, vma_at(m, vma)->mm)->avcs++;
}

static bool singular(const cow_machine *m, uint32_t vma)
{
	uint32_t first = vma_at(m, vma)->chain;

	return first && !avc_at(m, first)->next_of_vma;
}

/* list_is_singular() of no list is false; vma_had_uncowed_parents() asks for more than one. */
static bool had_parents(const cow_machine *m, uint32_t vma)
{
	return vma_at(m, vma)->chain && !singular(m, vma);
}

/* v6.16+: is_mergeable_anon_vma */
bool anon_mergeable(const cow_machine *m, uint32_t target, uint32_t source)
{
	uint32_t into = vma_at(m, target)->anon;
	uint32_t from = vma_at(m, source)->anon;

	if (!into && from)
		return !had_parents(m, source);
	if (into && !from)
		return !had_parents(m, target);
	return into == from;
}

/* anon_vma_compatible: neighbours that differ in their protection at most. */
static bool compatible(const struct vma *low, const struct vma *high)
{
	uint32_t ignored = VMA_READ | VMA_WRITE | VMA_HAD_WRITE_REF;

	return low->end == high->start && low->object == high->object &&
	       !((low->flags ^ high->flags) & ~ignored) &&
	       high->pgoff == vma_pgoff(low, high->start);
}

/* find_mergeable_anon_vma: the neighbour behind is asked first. */
static uint32_t neighbour_anon(const cow_machine *m, uint32_t index)
{
	const struct vma *vma = vma_at(m, index);

	if (vma->next && compatible(vma, vma_at(m, vma->next)) && singular(m, vma->next))
		return vma_at(m, vma->next)->anon;
	if (vma->prev && compatible(vma_at(m, vma->prev), vma) && singular(m, vma->prev))
		return vma_at(m, vma->prev)->anon;
	return 0;
}

void anon_make(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	uint32_t anon;

	anon = PLANTED(23) ? 0 : neighbour_anon(m, index);
	if (!anon) {
		anon = pool_take(&m->pools[POOL_ANON]);
		anon_at(m, anon)->children = 1; /* a root is its own parent */
	}
	vma->anon = anon;
	anon_at(m, anon)->vmas++;
	chain(m, index, anon);
}

void anon_clone(cow_machine *m, uint32_t to, uint32_t from)
{
	for (uint32_t at = vma_at(m, from)->chain; at; at = avc_at(m, at)->next_of_vma)
		chain(m, to, avc_at(m, at)->anon);
	if (vma_at(m, to)->anon)
		anon_at(m, vma_at(m, to)->anon)->vmas++;
}

void anon_fork(cow_machine *m, uint32_t child, uint32_t parent)
{
	struct vma *vma = vma_at(m, child);
	uint32_t own = 0;

	vma->anon = 0;
	if (!vma_at(m, parent)->anon)
		return;
	if (!PLANTED(22))
		anon_clone(m, child, parent);
	/* v6.0+: an anon that lost its VMA and has one child at most is taken over. */
	for (uint32_t at = vma->chain; at && !own; at = avc_at(m, at)->next_of_vma) {
		const struct anon *anon = anon_at(m, avc_at(m, at)->anon);

		if (!anon->vmas && anon->children < 2)
			own = avc_at(m, at)->anon;
	}
	if (!own) {
		own = pool_take(&m->pools[POOL_ANON]);
		anon_at(m, own)->parent = vma_at(m, parent)->anon;
		anon_at(m, vma_at(m, parent)->anon)->children++;
		chain(m, child, own);
	}
	vma->anon = own;
	anon_at(m, own)->vmas++;
}

void anon_unlink(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	struct mm *mm = mm_at(m, vma->mm);

	if (vma->anon)
		anon_at(m, vma->anon)->vmas--;
	/* A parent is on the chain of all that hang on its children, and so outlives them: first
	 * count the children off, then free. */
	for (uint32_t at = vma->chain; at; at = avc_at(m, at)->next_of_vma) {
		struct avc *avc = avc_at(m, at);
		struct anon *anon = anon_at(m, avc->anon);

		if (avc->prev_of_anon)
			avc_at(m, avc->prev_of_anon)->next_of_anon = avc->next_of_anon;
		else
			anon->chain = avc->next_of_anon;
		if (avc->next_of_anon)
			avc_at(m, avc->next_of_anon)->prev_of_anon = avc->prev_of_anon;
		if (!anon->chain && anon->parent) {
			anon_at(m, anon->parent)->children--;
			anon->parent = 0;
			anon->children++; /* itself; items may keep it, and its children still leave */
		}
	}
	while (vma->chain) {
		uint32_t at = vma->chain;
		uint32_t anon = avc_at(m, at)->anon;

		vma->chain = avc_at(m, at)->next_of_vma;
		pool_give(&m->pools[POOL_AVC], at);
		mm->avcs--;
		anon_free_unused(m, anon);
	}
	vma->anon = 0;
}

void anon_free_unused(cow_machine *m, uint32_t anon)
{
	if (!anon_at(m, anon)->chain && !anon_at(m, anon)->items)
		pool_give(&m->pools[POOL_ANON], anon);
}

uint32_t anon_root(const cow_machine *m, uint32_t anon)
{
	while (anon_at(m, anon)->parent)
		anon = anon_at(m, anon)->parent;
	return anon;
}

uint32_t anon_chain_length(const cow_machine *m, uint32_t vma)
{
	uint32_t length = 0;

	for (uint32_t at = vma_at(m, vma)->chain; at; at = avc_at(m, at)->next_of_vma)
		length++;
	return length;
}
