/* SPDX-License-Identifier: MIT
 *
 * VMAs: the treap and the list, splitting and merging.
 */
#include "machine/anon.h"
#include "machine/object.h"
#include "machine/pmd.h"

/* Priority in the treap: a hash of the start, so that equal sets of VMAs make equal trees. */
static uint64_t priority(const struct vma *vma)
{
	uint64_t x = vma->start + UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint32_t vma_look(const cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t found = 0;
	uint32_t at = mm_at(m, mm)->vma_root;

	while (at) {
		const struct vma *vma = vma_at(m, at);

		if (vma->end > page) {
			found = at;
			if (vma->start <= page)
				break;
			at = vma->left;
		} else {
			at = vma->right;
		}
	}
	return found;
}

uint32_t vma_find_tree(cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t found = vma_look(m, mm, page);

	if (found) {
		m->cache.mm = mm;
		m->cache.vma = found;
	}
	return found;
}

static void tree_insert(cow_machine *m, uint32_t *link, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	uint64_t mine = priority(vma);
	uint32_t *left = &vma->left, *right = &vma->right;
	uint32_t at;

	while (*link && priority(vma_at(m, *link)) >= mine)
		link = vma->start < vma_at(m, *link)->start ? &vma_at(m, *link)->left
							    : &vma_at(m, *link)->right;
	at = *link;
	*link = index;
	/* Cut the subtree in two at our start: they become our children. */
	while (at) {
		struct vma *other = vma_at(m, at);

		if (other->start < vma->start) {
			*left = at;
			left = &other->right;
			at = other->right;
		} else {
			*right = at;
			right = &other->left;
			at = other->left;
		}
	}
	*left = *right = 0;
}

static void tree_remove(cow_machine *m, uint32_t *link, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	uint32_t left = vma->left, right = vma->right;

	while (*link != index)
		link = vma->start < vma_at(m, *link)->start ? &vma_at(m, *link)->left
							    : &vma_at(m, *link)->right;
	while (left && right) {
		if (priority(vma_at(m, left)) >= priority(vma_at(m, right))) {
			*link = left;
			link = &vma_at(m, left)->right;
			left = *link;
		} else {
			*link = right;
			link = &vma_at(m, right)->left;
			right = *link;
		}
	}
	*link = left ? left : right;
	vma->left = vma->right = 0;
}

/* The last VMA that starts before the page. */
static uint32_t before(const cow_machine *m, uint32_t mm, uint64_t page)
{
	uint32_t found = 0;
	uint32_t at = mm_at(m, mm)->vma_root;

	while (at) {
		if (vma_at(m, at)->start < page) {
			found = at;
			at = vma_at(m, at)->right;
		} else {
			at = vma_at(m, at)->left;
		}
	}
	return found;
}

void vma_link(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	struct mm *mm = mm_at(m, vma->mm);

	vma->prev = before(m, vma->mm, vma->start);
	vma->next = vma->prev ? vma_at(m, vma->prev)->next : mm->vma_first;
	if (vma->prev)
		vma_at(m, vma->prev)->next = index;
	else
		mm->vma_first = index;
	if (vma->next)
		vma_at(m, vma->next)->prev = index;
	tree_insert(m, &mm->vma_root, index);
	mm->vmas++;
	machine_forget(m);
}

void vma_unlink(cow_machine *m, uint32_t index)
{
	struct vma *vma = vma_at(m, index);
	struct mm *mm = mm_at(m, vma->mm);

	tree_remove(m, &mm->vma_root, index);
	if (vma->prev)
		vma_at(m, vma->prev)->next = vma->next;
	else
		mm->vma_first = vma->next;
	if (vma->next)
		vma_at(m, vma->next)->prev = vma->prev;
	vma->prev = vma->next = 0;
	mm->vmas--;
	machine_forget(m);
}

void vma_remove(cow_machine *m, uint32_t index)
{
	vma_unlink(m, index);
	anon_unlink(m, index);
	if (vma_at(m, index)->object)
		object_unlink(m, index);
	pool_give(&m->pools[POOL_VMA], index);
}

uint32_t vma_split(cow_machine *m, uint32_t index, uint64_t page)
{
	uint32_t upper = pool_take(&m->pools[POOL_VMA]);
	struct vma *vma = vma_at(m, index);
	struct vma *new = vma_at(m, upper);

	pmd_split_at(m, vma->mm, page);
	*new = *vma;
	new->start = page;
	new->pgoff = vma_pgoff(vma, page);
	new->chain = new->left = new->right = 0;
	vma->end = page;
	vma_link(m, upper);
	anon_clone(m, upper, index);
	if (new->object)
		object_link(m, upper);
	return upper;
}

/* The mark of write references hinders no merge: no real kernel has it.  Nor does VM_SOFTDIRTY. */
static bool flags_equal(const struct vma *a, const struct vma *b)
{
	return !((a->flags ^ b->flags) & ~(uint32_t)(VMA_HAD_WRITE_REF | VMA_TRACKED)) &&
	       a->order == b->order;
}

/* Lets `target` swallow its neighbour `source`, if Linux would (vma_merge; v6.16+ conditions).  Never of
 * hugetlb, which is VM_DONTEXPAND, one of VM_SPECIAL. */
static bool swallow(cow_machine *m, uint32_t target, uint32_t source)
{
	struct vma *into = vma_at(m, target);
	struct vma *from = vma_at(m, source);
	struct vma *low = into->start < from->start ? into : from;
	struct vma *high = low == into ? from : into;

	if ((into->flags & VMA_HUGETLB) || low->end != high->start || !flags_equal(into, from) ||
	    into->object != from->object ||
	    vma_pgoff(low, high->start) != high->pgoff || !anon_mergeable(m, target, source))
		return false;
	if (!into->anon && from->anon) {
		into->anon = from->anon;
		anon_clone(m, target, source);
	}
	into->flags |= from->flags & VMA_HAD_WRITE_REF;
	if (into == low) {
		uint64_t end = from->end;

		vma_remove(m, source);
		into->end = end;
	} else {
		uint64_t start = from->start, pgoff = from->pgoff;

		vma_unlink(m, target);
		vma_remove(m, source);
		into->start = start;
		into->pgoff = pgoff;
		vma_link(m, target);
	}
	machine_forget(m);
	return true;
}

uint32_t vma_merge(cow_machine *m, uint32_t index)
{
	uint32_t prev = vma_at(m, index)->prev;
	uint32_t next;

	if (prev && swallow(m, prev, index))
		index = prev;
	next = vma_at(m, index)->next;
	if (next && swallow(m, next, index))
		index = next;
	return index;
}

uint32_t vma_cut(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end)
{
	if (vma_at(m, vma)->start < first)
		vma = vma_split(m, vma, first);
	if (vma_at(m, vma)->end > end)
		vma_split(m, vma, end);
	return vma;
}

void vma_isolate(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end)
{
	uint32_t vma = vma_covering(m, mm, first);

	if (vma)
		vma_cut(m, vma, first, end);
	vma = vma_covering(m, mm, end);
	if (vma && vma_at(m, vma)->start < end)
		vma_split(m, vma, end);
}

int vma_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, uint64_t more)
{
	uint32_t low = vma_look(m, mm, first);
	uint32_t high = vma_look(m, mm, end);
	uint64_t chains = more + 2;
	int error = machine_reserve(m, POOL_VMA, more + 2);

	if (!error)
		error = pmd_split_reserve(m);
	if (low)
		chains += 2 * (uint64_t)anon_chain_length(m, low);
	if (high)
		chains += 2 * (uint64_t)anon_chain_length(m, high);
	return error ? error : machine_reserve(m, POOL_AVC, chains);
}
