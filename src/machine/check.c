/* SPDX-License-Identifier: MIT
 *
 * The debug check: walks a whole machine and proves that its counts and links agree.  Trusts
 * nothing: it is also what a snapshot must pass, so no index is followed before it is tested.
 *
 *   mapcount  = PTEs that map the frame
 *   refcount  = those + page cache + GETs + pins x 1024 + batch
 *   a writable private PTE maps a page that nothing else maps, and carries the marker if there is one
 *   the reverse map and the page tables agree; nothing free is reachable, nothing else is unreachable
 */
#include "machine/anon.h"
#include "machine/object.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { UNSEEN, FREE, SEEN };
enum { TREE_DEPTH = 200 };

struct check {
	const cow_machine *m;
	struct cow_error *error;
	unsigned char *seen[POOL_COUNT]; /* by slot */
	uint32_t reached[POOL_COUNT];
	uint32_t *references; /* by frame: what refcount must be */
	uint32_t *mappings;   /* by frame: what mapcount must be */
	uint32_t *owners;     /* by anon: VMAs whose own it is */
	uint32_t *children;   /* by anon */
	uint32_t listed;      /* avcs on the lists of anons */
};

static int bad(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int bad(struct check *check, const char *format, ...)
{
	va_list arguments;

	check->error->code = -EUCLEAN;
	check->error->host = false;
	va_start(arguments, format);
	vsnprintf(check->error->sentence, sizeof(check->error->sentence), format, arguments);
	va_end(arguments);
	return -EUCLEAN;
}

static const char *const pool_names[POOL_COUNT] = {
#define X(id, type, shift) [POOL_##id] = #id,
	MACHINE_POOLS(X)
#undef X
};

/* Marks a slot as reached; it must be in use and must not have been reached before. */
static int reach(struct check *check, enum pool_id id, uint32_t slot, const char *from)
{
	if (!slot || slot >= check->m->pools[id].used)
		return bad(check, "%s names slot %u of %s, which was never in use", from, slot,
			   pool_names[id]);
	if (check->seen[id][slot] != UNSEEN)
		return bad(check, "%s names slot %u of %s, which is %s", from, slot, pool_names[id],
			   check->seen[id][slot] == FREE ? "free" : "named elsewhere too");
	check->seen[id][slot] = SEEN;
	check->reached[id]++;
	return 0;
}

/* Somebody holds references to a frame; a sum that wraps would hide the ones that are missing. */
static int hold(struct check *check, uint32_t frame, uint64_t more)
{
	if (more > REFCOUNT_LIMIT || check->references[frame] + more > REFCOUNT_LIMIT)
		return bad(check, "frame %u has more references than a refcount can count", frame);
	check->references[frame] += (uint32_t)more;
	return 0;
}

static bool zeroed(const struct pool *pool, uint32_t slot)
{
	const uint32_t *words = pool_at(pool, slot);

	for (uint32_t word = 0; word < pool->size / 4; word++)
		if (words[word])
			return false;
	return true;
}

static bool mirrors(enum pool_id id)
{
	return id == POOL_BODY || id == POOL_INFO;
}

static int check_pools(struct check *check)
{
	for (int id = 0; id < POOL_COUNT; id++) {
		const struct pool *pool = &check->m->pools[id];

		if (mirrors(id)) {
			const struct pool *other = &check->m->pools[id - 1];

			if (pool->used != other->used || pool->live != other->live || pool->free)
				return bad(check, "pools %s and %s differ in size",
					   pool_names[id - 1], pool_names[id]);
			continue;
		}
		if (!pool_free_list_valid(pool))
			return bad(check, "the free list of pool %s is damaged", pool_names[id]);
		for (uint32_t slot = pool->free; slot; slot = *(uint32_t *)pool_at(pool, slot))
			check->seen[id][slot] = FREE;
	}
	return 0;
}

/* ---- VMAs and their anons ---- */

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
		if (avc->vma != index || !avc->anon || avc->anon >= check->m->pools[POOL_ANON].used ||
		    check->seen[POOL_ANON][avc->anon] == FREE)
			return bad(check, "avc %u of VMA %u is not whole", at, index);
		own |= avc->anon == vma->anon;
	}
	if (!own)
		return bad(check, "VMA %u is not on the list of its own anon", index);
	if (vma->anon)
		check->owners[vma->anon]++;
	return 0;
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
	if (vma->anon >= m->pools[POOL_ANON].used || vma->object >= m->pools[POOL_OBJECT].used ||
	    !vma->object != !(vma->flags & VMA_SHARED) ||
	    (vma->object && check->seen[POOL_OBJECT][vma->object] == FREE))
		return bad(check, "VMA %u has a foreign object or anon", index);
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

/* ---- page tables ---- */

static int check_rmap(struct check *check, const struct vma *vma, uint64_t page, uint32_t frame)
{
	const cow_machine *m = check->m;
	uint32_t owner = frame_at(m, frame)->owner;

	if (frame_body(m, frame)->index != vma_pgoff(vma, page))
		return bad(check, "frame %u is mapped at an offset that the reverse map does not know",
			   frame);
	for (uint32_t at = vma->chain; at; at = avc_at(m, at)->next_of_vma)
		if (avc_at(m, at)->anon == owner)
			return 0;
	return bad(check, "frame %u is mapped by a VMA that its anon does not lead to", frame);
}

static int check_pte(struct check *check, const struct vma *vma, uint64_t page, uint64_t pte,
		     bool marker)
{
	const cow_machine *m = check->m;
	uint32_t index = pte_frame(pte);
	const struct frame *frame;
	bool private = !(vma->flags & VMA_SHARED);

	if (!(pte & PTE_PRESENT) || index >= m->pools[POOL_FRAME].used ||
	    check->seen[POOL_FRAME][index] == FREE)
		return bad(check, "the PTE of page %llu maps no frame in use",
			   (unsigned long long)page);
	frame = frame_at(m, index);
	if (!(pte & PTE_SPECIAL) != !(frame->flags & FRAME_ZERO))
		return bad(check, "PTE and frame %u differ about the zero page", index);
	if ((pte & PTE_WRITE) && (!(vma->flags & VMA_WRITE) || (pte & PTE_SPECIAL)))
		return bad(check, "page %llu is writable against its VMA", (unsigned long long)page);
	if (marker && (!(frame->flags & FRAME_ANON) || frame->mapcount != 1))
		return bad(check, "frame %u is marked exclusive and mapped %u times", index,
			   frame->mapcount);
	if (pte & PTE_SPECIAL)
		return private ? 0
			       : bad(check, "page %llu of shared memory is the zero page",
				     (unsigned long long)page);
	check->mappings[index]++;
	if (hold(check, index, 1))
		return -EUCLEAN;
	if (!private)
		return frame->owner == vma->object &&
				       frame_body(m, index)->index == vma_pgoff(vma, page)
			       ? 0
			       : bad(check, "frame %u is not the object's page", index);
	if (!(frame->flags & FRAME_ANON))
		return bad(check, "frame %u in a private mapping is not anonymous", index);
	if ((pte & PTE_WRITE) &&
	    (frame->mapcount != 1 || (m->state.marker != COW_MARKER_NONE && !marker)))
		return bad(check, "frame %u is writable, mapped %u times%s", index, frame->mapcount,
			   marker ? "" : " and not marked exclusive");
	return check_rmap(check, vma, page, index);
}

struct walk {
	uint32_t mm;     /* of page tables, with */
	uint32_t vma;    /* the VMA last seen; */
	uint32_t object; /* or the object whose tree it is */
	uint64_t pages;  /* present PTEs */
	uint32_t tables;
};

static bool marker_look(const cow_machine *m, const struct leaf *leaf, uint32_t slot)
{
	uint64_t pte = leaf->ptes[slot];

	switch (m->state.marker) {
	case COW_MARKER_NONE:
		return false;
	case COW_MARKER_FRAME:
		return pte_frame(pte) < m->pools[POOL_FRAME].used &&
		       (frame_at(m, pte_frame(pte))->flags & FRAME_EXCLUSIVE);
	case COW_MARKER_PTE:
		return pte & PTE_MARKER;
	default:
		return side_marker_look(m, leaf, slot);
	}
}

static int check_leaf_entry(struct check *check, struct walk *walk, const struct leaf *leaf,
			    uint32_t slot)
{
	const cow_machine *m = check->m;
	uint64_t page = leaf->first + slot;
	uint32_t frame = pte_frame(leaf->ptes[slot]);

	walk->pages++;
	if (walk->object) {
		if (!frame || frame >= m->pools[POOL_FRAME].used ||
		    check->seen[POOL_FRAME][frame] == FREE ||
		    frame_at(m, frame)->owner != walk->object ||
		    !(frame_at(m, frame)->flags & FRAME_SHARED) ||
		    frame_body(m, frame)->index != page)
			return bad(check, "object %u holds a frame that is not its own", walk->object);
		check->seen[POOL_FRAME][frame] = SEEN;
		return hold(check, frame, 1);
	}
	while (walk->vma && vma_at(m, walk->vma)->end <= page)
		walk->vma = vma_at(m, walk->vma)->next;
	if (!walk->vma || vma_at(m, walk->vma)->start > page)
		return bad(check, "page %llu is mapped outside any VMA", (unsigned long long)page);
	return check_pte(check, vma_at(m, walk->vma), page, leaf->ptes[slot],
			 marker_look(m, leaf, slot));
}

static int check_table(struct check *check, struct walk *walk, uint32_t table, uint32_t level,
		       uint64_t first)
{
	const cow_machine *m = check->m;
	uint32_t used = 0;
	struct leaf leaf;
	int error = reach(check, POOL_TABLE, table, "a page table");

	if (error)
		return error;
	walk->tables++;
	leaf = (struct leaf){ table_at(m, table), table, first };
	if (table_info(m, table)->extra) {
		error = level || m->state.marker != COW_MARKER_EXTRA
				? bad(check, "table %u has an extra table", table)
				: reach(check, POOL_TABLE, table_info(m, table)->extra, "a table");
		if (error)
			return error;
		if (!zeroed(&m->pools[POOL_INFO], table_info(m, table)->extra))
			return bad(check, "the extra table of table %u has entries of its own", table);
	}
	for (uint32_t slot = 0; slot < 1u << m->state.bits[level]; slot++) {
		if (!leaf.ptes[slot]) {
			if (!level && m->state.marker >= COW_MARKER_ADJACENT &&
			    side_marker_look(m, &leaf, slot))
				return bad(check, "page %llu is marked and not mapped",
					   (unsigned long long)(first + slot));
			continue;
		}
		used++;
		if (!level)
			error = check_leaf_entry(check, walk, &leaf, slot);
		else
			error = check_table(check, walk, pte_frame(leaf.ptes[slot]), level - 1,
					    first + ((uint64_t)slot << m->shifts[level]));
		if (error)
			return error;
	}
	if (!used || used != table_info(m, table)->used)
		return bad(check, "table %u holds %u entries and counts %u", table, used,
			   table_info(m, table)->used);
	return 0;
}

static int check_batch(struct check *check, const struct mm *mm)
{
	uint32_t length = 0;

	for (uint32_t at = mm->batch; at; at = link_at(check->m, at)->next) {
		uint32_t frame;
		int error = reach(check, POOL_LINK, at, "an LRU batch");

		if (error)
			return error;
		frame = link_at(check->m, at)->frame;
		if (!frame || frame >= check->m->pools[POOL_FRAME].used ||
		    !(frame_at(check->m, frame)->flags & FRAME_BATCHED))
			return bad(check, "the LRU batch holds frame %u, which is not batched", frame);
		if (hold(check, frame, 1))
			return -EUCLEAN;
		length++;
	}
	return length == mm->batched && length <= check->m->state.lru_batch
		       ? 0
		       : bad(check, "an LRU batch holds %u pages and counts %u", length, mm->batched);
}

static int check_mm(struct check *check, uint32_t index)
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
		error = check_table(check, &walk, mm->root, m->state.levels - 1, 0);
	if (!error && (walk.pages != mm->pages || walk.tables != mm->tables))
		error = bad(check, "mm %u counts %llu pages and %u tables, and has %llu and %u", index,
			    (unsigned long long)mm->pages, mm->tables,
			    (unsigned long long)walk.pages, walk.tables);
	return error ? error : check_batch(check, mm);
}

/* ---- objects, references, anons, frames ---- */

static int check_object(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	struct walk walk = { .object = index };
	uint32_t vmas = 0;

	for (uint32_t vma = 1; vma < m->pools[POOL_VMA].used; vma++)
		vmas += check->seen[POOL_VMA][vma] == SEEN && vma_at(m, vma)->object == index;
	if (!object_at(m, index)->number || object_at(m, index)->number > m->state.objects)
		return bad(check, "object %u has a number that was never given", index);
	if (!vmas || vmas != object_at(m, index)->vmas)
		return bad(check, "object %u is mapped by %u VMAs and counts %u", index, vmas,
			   object_at(m, index)->vmas);
	return object_at(m, index)->root
		       ? check_table(check, &walk, object_at(m, index)->root, m->state.levels - 1, 0)
		       : 0;
}

static int check_ref(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct ref *ref = ref_at(m, index);
	uint64_t pages = 0;

	if (!ref->number || ref->number > m->state.references || !ref->process ||
	    ref->process > m->state.processes)
		return bad(check, "reference %u has a number that was never given", index);
	for (uint32_t at = ref->first; at; at = link_at(m, at)->next) {
		uint32_t frame;
		int error = reach(check, POOL_LINK, at, "a reference");

		if (error)
			return error;
		frame = link_at(m, at)->frame;
		if (frame >= m->pools[POOL_FRAME].used || check->seen[POOL_FRAME][frame] == FREE)
			return bad(check, "reference %u holds frame %u, which is not in use", index,
				   frame);
		if (!(ref->flags & COW_GUP_PIN))
			error = hold(check, frame, ref->times);
		else if (frame) /* the zero page needs no pin */
			error = hold(check, frame, (uint64_t)ref->times * PIN_BIAS);
		if (error)
			return error;
		pages++;
	}
	return pages == ref->pages && ref->times
		       ? 0
		       : bad(check, "reference %u holds %llu pages and counts %llu", index,
			     (unsigned long long)pages, (unsigned long long)ref->pages);
}

static int check_anon(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct anon *anon = anon_at(m, index);
	uint32_t prev = 0;

	if (!anon->chain || anon->vmas != check->owners[index])
		return bad(check, "anon %u miscounts its VMAs", index);
	for (uint32_t at = anon->chain; at; prev = at, at = avc_at(m, at)->next_of_anon) {
		if (at >= m->pools[POOL_AVC].used || check->seen[POOL_AVC][at] != SEEN ||
		    avc_at(m, at)->anon != index || avc_at(m, at)->prev_of_anon != prev)
			return bad(check, "the list of anon %u is damaged", index);
		check->listed++;
	}
	if (anon->parent >= m->pools[POOL_ANON].used ||
	    (anon->parent && check->seen[POOL_ANON][anon->parent] == FREE))
		return bad(check, "anon %u has a foreign parent", index);
	if (check->seen[POOL_ANON][index] == UNSEEN) {
		check->seen[POOL_ANON][index] = SEEN;
		check->reached[POOL_ANON]++;
	}
	check->children[anon->parent ? anon->parent : index]++;
	return 0;
}

static int check_frame(struct check *check, uint32_t index)
{
	const struct frame *frame = frame_at(check->m, index);

	if (frame->refcount != check->references[index] || !frame->refcount)
		return bad(check, "frame %u has refcount %u, and %u references hold it", index,
			   frame->refcount, check->references[index]);
	if (frame->mapcount != check->mappings[index])
		return bad(check, "frame %u has mapcount %u, and %u PTEs map it", index,
			   frame->mapcount, check->mappings[index]);
	if (frame->mapcount && (frame->flags & FRAME_ANON) && !frame->owner)
		return bad(check, "frame %u is mapped and the reverse map has lost it", index);
	if (frame->owner && !(frame->mapcount && (frame->flags & FRAME_ANON)) &&
	    !(frame->flags & FRAME_SHARED))
		return bad(check, "frame %u is owned, and neither mapped anonymously nor shared",
			   index);
	if (!(frame->flags & FRAME_ZERO) != (index > 0) ||
	    !(frame->flags & FRAME_SHARED) != (check->seen[POOL_FRAME][index] != SEEN) ||
	    ((frame->flags & FRAME_SHARED) && (frame->flags & FRAME_ANON)))
		return bad(check, "frame %u is flagged as what it is not", index);
	return 0;
}

static int check_all(struct check *check)
{
	const cow_machine *m = check->m;
	uint32_t frames = 0;
	int error = check_pools(check);

	for (uint32_t slot = 1; !error && slot < m->pools[POOL_MM].used; slot++)
		if (check->seen[POOL_MM][slot] != FREE)
			error = check_mm(check, slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_OBJECT].used; slot++)
		if (check->seen[POOL_OBJECT][slot] != FREE)
			error = check_object(check, slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_REF].used; slot++)
		if (check->seen[POOL_REF][slot] != FREE)
			error = check_ref(check, slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_ANON].used; slot++)
		if (check->seen[POOL_ANON][slot] != FREE)
			error = check_anon(check, slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_ANON].used; slot++)
		if (check->seen[POOL_ANON][slot] != FREE &&
		    anon_at(m, slot)->children != check->children[slot])
			error = bad(check, "anon %u miscounts its children", slot);
	if (!error && check->listed != check->reached[POOL_AVC])
		error = bad(check, "%u avcs are on the lists of VMAs and %u on those of anons",
			    check->reached[POOL_AVC], check->listed);
	if (!error)
		error = hold(check, 0, 1); /* the kernel's own, of the zero page */
	for (uint32_t slot = 0; !error && slot < m->pools[POOL_FRAME].used; slot++)
		if (check->seen[POOL_FRAME][slot] != FREE) {
			error = check_frame(check, slot);
			frames += slot > 0;
		}
	if (!error && (frames != m->state.frames_used || frames > m->state.frames))
		error = bad(check, "%u frames are in use and %llu are counted", frames,
			    (unsigned long long)m->state.frames_used);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_FRAME].used; slot++)
		if (check->seen[POOL_FRAME][slot] == FREE && !zeroed(&m->pools[POOL_BODY], slot))
			error = bad(check, "free frame %u holds something", slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_TABLE].used; slot++)
		if (check->seen[POOL_TABLE][slot] == FREE && !zeroed(&m->pools[POOL_INFO], slot))
			error = bad(check, "free table %u counts entries", slot);
	for (int id = 0; !error && id < POOL_COUNT; id++)
		if ((id == POOL_TABLE || id == POOL_VMA || id == POOL_AVC || id == POOL_LINK ||
		     id == POOL_ANON) &&
		    check->reached[id] != m->pools[id].live)
			error = bad(check, "%u slots of pool %s are in use and %u can be reached",
				    m->pools[id].live, pool_names[id], check->reached[id]);
	return error;
}

int cow_machine_check(const cow_machine *m, struct cow_error *error)
{
	struct cow_error unwanted;
	struct check check = { .m = m, .error = error ? error : &unwanted };
	size_t frames, anons;
	bool room = true;
	int result;

	if (!m)
		return -EINVAL;
	*check.error = (struct cow_error){ 0 };
	frames = (size_t)m->pools[POOL_FRAME].used * sizeof(uint32_t);
	anons = (size_t)m->pools[POOL_ANON].used * sizeof(uint32_t);
	for (int id = 0; id < POOL_COUNT; id++) {
		check.seen[id] = cow_zalloc_(&m->allocator, m->pools[id].used);
		room &= check.seen[id] != NULL;
	}
	check.references = cow_zalloc_(&m->allocator, frames);
	check.mappings = cow_zalloc_(&m->allocator, frames);
	check.owners = cow_zalloc_(&m->allocator, anons);
	check.children = cow_zalloc_(&m->allocator, anons);
	room &= check.references && check.mappings && check.owners && check.children;
	if (room) {
		result = check_all(&check);
	} else {
		result = -ENOMEM;
		*check.error = (struct cow_error){ .code = -ENOMEM, .host = true,
						   .sentence = "no host memory for the check" };
	}
	for (int id = 0; id < POOL_COUNT; id++)
		cow_release_(&m->allocator, check.seen[id], m->pools[id].used);
	cow_release_(&m->allocator, check.references, frames);
	cow_release_(&m->allocator, check.mappings, frames);
	cow_release_(&m->allocator, check.owners, anons);
	cow_release_(&m->allocator, check.children, anons);
	return result;
}
