/* SPDX-License-Identifier: MIT
 *
 * The debug check, second part: address spaces and objects.  VMAs are in order, in their tree, on
 * the lists of their anons and objects, and what they say of themselves is possible.  Read
 * check_table.c next.
 */
#include "machine/check.h"

enum { TREE_DEPTH = 200 };

static const uint32_t vma_bits = VMA_READ | VMA_WRITE | VMA_SHARED | VMA_DONTCOPY | VMA_WIPEONFORK |
				 VMA_ACCOUNT | VMA_HAD_WRITE_REF | VMA_MERGEABLE | VMA_HUGEPAGE |
				 VMA_HUGETLB | VMA_UFFD_WP | VMA_TRACKED | VMA_RESERVED |
				 VMA_UNMAPPED | VMA_NOHUGEPAGE;

static int check_chain(struct check *check, uint32_t index)
{
	const struct vma *vma = vma_at(check->m, index);
	bool own = !vma->anon;
	int error;

	for (uint32_t at = vma->chain; at; at = avc_at(check->m, at)->next_of_vma) {
		const struct avc *avc;

		error = reach(check, POOL_AVC, at, "a VMA's chain");
		if (error)
			return error;
		avc = avc_at(check->m, at);
		if (avc->vma != index || !in_use(check, POOL_ANON, avc->anon))
			return bad(check, "avc %u of VMA %u is not whole", at, index);
		own |= avc->anon == vma->anon;
	}
	if (!own)
		return bad(check, "VMA %u is not on the list of its own anon", index);
	if (vma->anon)
		check->anons[vma->anon].owners++;
	return 0;
}

/* True if the flags, the object and the ends of the VMA go together. */
static bool vma_possible(const struct check *check, const struct vma *vma)
{
	const cow_machine *m = check->m;
	bool huge = vma->flags & VMA_HUGETLB, shared = vma->flags & VMA_SHARED;
	const struct object *object;

	if ((vma->flags & ~vma_bits) || vma->order > pmd_order(m) || vma->order == 1)
		return false;
	if (huge ? !pmd_possible(m) ||
			    ((vma->start | vma->end | vma->pgoff) & (pmd_pages(m) - 1)) ||
			    (shared && (vma->flags & VMA_RESERVED))
		 : vma->flags & (VMA_RESERVED | VMA_UNMAPPED))
		return false;
	if (!vma->object)
		return !shared;
	if (!in_use(check, POOL_OBJECT, vma->object))
		return false;
	object = object_at(m, vma->object);
	return !(object->flags & OBJECT_HUGETLB) == !huge &&
	       (shared || (object->flags & OBJECT_FILE));
}

static int check_vma(struct check *check, uint32_t mm, uint32_t index, uint32_t prev)
{
	const cow_machine *m = check->m;
	const struct vma *vma;
	int error = reach(check, POOL_VMA, index, "the list of VMAs");

	if (error)
		return error;
	vma = vma_at(m, index);
	if (vma->mm != mm || vma->prev != prev || vma->start >= vma->end || vma->end > m->pages ||
	    (prev && vma_at(m, prev)->end > vma->start))
		return bad(check, "VMA %u is out of order", index);
	if (vma->pgoff > m->pages - (vma->end - vma->start))
		return bad(check, "VMA %u has an offset past any address space", index);
	if (vma->anon >= m->pools[POOL_ANON].used || !vma_possible(check, vma))
		return bad(check,
			   "VMA %u has a foreign object or anon, or is flagged as what it is not",
			   index);
	check->mapping += vma->object != 0;
	if (vma->flags & VMA_RESERVED)
		check->promised += (int64_t)((vma->end - vma->start) >> m->state.bits[0]);
	return check_chain(check, index);
}

/* The treap holds what the list holds, in the same order. */
static int check_tree(struct check *check, const struct mm *mm)
{
	const cow_machine *m = check->m;
	uint32_t stack[TREE_DEPTH];
	uint32_t depth = 0, at = mm->vma_root, next = mm->vma_first;

	while (at || depth) {
		while (at) {
			if (depth == TREE_DEPTH || at >= m->pools[POOL_VMA].used)
				return bad(check, "the tree of VMAs is damaged");
			stack[depth++] = at;
			at = vma_at(m, at)->left;
		}
		at = stack[--depth];
		if (at != next)
			return bad(check, "tree and list of VMAs differ");
		next = vma_at(m, at)->next;
		at = vma_at(m, at)->right;
	}
	return next ? bad(check, "the tree misses VMA %u", next) : 0;
}

int check_mm(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct mm *mm = mm_at(m, index);
	struct walk walk = { .mm = index, .vma = mm->vma_first };
	uint32_t prev = 0, vmas = 0, avcs = check->reached[POOL_AVC];
	int error = 0;

	if (!mm->number || mm->number > m->state.processes)
		return bad(check, "mm %u has number %u of %u", index, mm->number,
			   m->state.processes);
	for (uint32_t at = mm->vma_first; at; at = vma_at(m, at)->next) {
		error = check_vma(check, index, at, prev);
		if (error)
			return error;
		prev = at;
		vmas++;
	}
	error = check_tree(check, mm);
	if (!error && (vmas != mm->vmas || check->reached[POOL_AVC] - avcs != mm->avcs))
		error = bad(check, "mm %u miscounts its VMAs", index);
	if (!error && mm->root)
		error = check_tables(check, &walk, mm->root);
	if (!error && (walk.pages != mm->pages || walk.tables != mm->tables))
		error = bad(check, "mm %u counts %llu pages and %u tables, and has %llu and %u",
			    index, (unsigned long long)mm->pages, mm->tables,
			    (unsigned long long)walk.pages, walk.tables);
	return error ? error : check_batch(check, mm);
}

int check_object(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct object *object = object_at(m, index);
	struct walk walk = { .object = index };
	uint32_t vmas = 0, prev = 0;

	if (!object->number || object->number > m->state.objects)
		return bad(check, "object %u has a number that was never given", index);
	for (uint32_t at = object->first; at; prev = at, at = vma_at(m, at)->next_of_object) {
		if (at >= m->pools[POOL_VMA].used || check->seen[POOL_VMA][at] != SEEN ||
		    vma_at(m, at)->object != index || vma_at(m, at)->prev_of_object != prev)
			return bad(check, "the list of the VMAs of object %u is damaged", index);
		vmas++;
	}
	check->linked += vmas;
	if (object->flags & OBJECT_FILE)
		vmas++;
	if (!vmas || vmas != object->vmas)
		return bad(check, "object %u is mapped by %u VMAs and counts %u", index, vmas,
			   object->vmas);
	if ((object->flags & ~(uint32_t)(OBJECT_FILE | OBJECT_HUGETLB)) ||
	    object->pages > m->pages || (object->pages && !(object->flags & OBJECT_FILE)) ||
	    (object->reserved && object->flags != OBJECT_HUGETLB))
		return bad(check, "object %u is flagged as what it is not", index);
	check->promised += (int64_t)object->reserved;
	return object->root ? check_tables(check, &walk, object->root) : 0;
}
