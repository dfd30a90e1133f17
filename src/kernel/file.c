/* SPDX-License-Identifier: MIT
 *
 * Files and shared anonymous memory: the fault on a page that is not mapped yet (do_read_fault,
 * do_cow_fault, do_shared_fault of mm/memory.c over shmem), mmap of a file, write(2), ftruncate.
 *
 * A file is a shared-memory one (tmpfs, memfd): its page cache is all there is of it, and a page
 * that is not there reads as zeroes.  Private mappings map the page cache read-only until they
 * write, so nothing here asks a policy.  The page cache itself is machine/object.c; files of huge
 * pages fault in hugetlb.c.
 */
#include "kernel/ask.h"
#include "machine/plant.h"

/* ---- faults ---- */

/* What a fault on a page of an object makes. */
struct file_fault {
	struct fault *fault;
	uint32_t object;
	uint64_t index; /* page of the object */
	uint32_t frame; /* in the page cache; 0: a hole */
};

/* True if the page lies behind the end of its file.  Shared anonymous memory has no end. */
static bool behind_end(const cow_machine *m, uint32_t object, uint64_t index)
{
	return (object_at(m, object)->flags & OBJECT_FILE) &&
	       index >= object_at(m, object)->pages && !PLANTED(56);
}

/* shmem_get_folio: the page, made if need be.  False: no frame is left. */
static bool file_page(cow_machine *m, struct file_fault *at)
{
	if (at->frame)
		return true;
	at->frame = frame_alloc(m);
	if (!at->frame)
		return false;
	object_add(m, at->object, at->index, at->frame);
	note_page(m, COW_CHANGE_ADD, at->fault->vma, at->fault->page, at->frame, 0, 0);
	return true;
}

/* do_set_pte for a page of the page cache.  vm_page_prot of a shared writable mapping is writable,
 * and that of a private one never; soft-dirty tracking and userfaultfd want to be told of the first
 * write (vma_wants_writenotify). */
static void map_page(cow_machine *m, const struct file_fault *at)
{
	struct fault *fault = at->fault;
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t flags = entry_flags(vma);

	if ((vma->flags & VMA_SHARED) || PLANTED(49)) {
		if (fault->flags & FAULT_WRITE)
			flags |= entry_written(vma);
		else if ((vma->flags & VMA_WRITE) && !(vma->flags & VMA_UFFD_WP) &&
			 !soft_dirty_needed(vma, flags))
			flags |= PTE_WRITE;
	}
	page_map(m, at->frame, fault->mm);
	pte_fill(m, &fault->leaf, fault->slot, pte_make(at->frame, flags));
	mm_at(m, fault->mm)->pages++;
	note_entries(m, COW_CHANGE_MAP, fault->vma, fault->page, 1, &fault->leaf.ptes[fault->slot]);
}

/* do_cow_fault, first step: a page of our own. */
static bool cow_prepare(cow_machine *m, struct file_fault *at)
{
	struct fault *fault = at->fault;

	/* Linux takes the private page first, and gives it back where the file gets none. */
	if (m->state.frames - m->state.frames_used < (at->frame ? 1u : 2u))
		return false;
	fault->new = frame_alloc(m);
	if (!fault->new)
		return false;
	if (!file_page(m, at)) {
		frame_free(m, fault->new);
		return false;
	}
	frame_make_anon(m, fault->new, fault->vma, fault->page);
	frame_body(m, fault->new)->value = frame_body(m, at->frame)->value;
	return true;
}

/* Second step: it is mapped, and the page of the file never is.  For the observers it was, so that
 * the private page has one to take the place of. */
static void cow_install(cow_machine *m, const struct file_fault *at)
{
	struct fault *fault = at->fault;
	const struct vma *vma = vma_at(m, fault->vma);
	uint64_t flags = entry_flags(vma);
	uint64_t passing = pte_make(at->frame, flags);

	/* maybe_mkwrite(pte_mkdirty()): dirty also where FOLL_FORCE writes to a read-only
	 * mapping. */
	flags |= entry_written(vma) | PTE_DIRTY | PTE_SOFT;
	note_entries(m, COW_CHANGE_MAP, fault->vma, fault->page, 1, &passing);
	pte_fill(m, &fault->leaf, fault->slot, pte_make(fault->new, flags));
	marker_put(m, &fault->leaf, fault->slot, frame_at(m, fault->new), true);
	batch_add(m, fault->mm, fault->new);
	mm_at(m, fault->mm)->pages++;
	note_page(m, COW_CHANGE_COPY, fault->vma, fault->page, fault->new, 0, at->frame);
}

/* do_fault */
enum cow_outcome fault_file(cow_machine *m, struct fault *fault)
{
	const struct vma *vma = vma_at(m, fault->vma);
	struct file_fault at = { .fault = fault,
				 .object = vma->object,
				 .index = vma_pgoff(vma, fault->page) };

	bool private = (fault->flags & FAULT_WRITE) && !(vma->flags & VMA_SHARED);

	/* do_cow_fault asks for the anon_vma first of all, so that the next fork copies entries. */
	if (private)
		anon_prepare(m, fault->vma);
	if (behind_end(m, at.object, at.index))
		return COW_OUT_SIGBUS;
	at.frame = object_frame(m, at.object, at.index);
	if (private && !PLANTED(49)) {
		if (!cow_prepare(m, &at))
			return COW_OUT_OOM;
		cow_install(m, &at);
	} else {
		if (!file_page(m, &at))
			return COW_OUT_OOM;
		map_page(m, &at);
	}
	machine_count(m, COW_COUNT_ALLOCS, 1);
	return COW_OUT_ALLOC;
}

/* pte_marker_handle_uffd_wp: the page comes as ever, and is protected (set_pte_range); so a write brings
 * it, and waits. */
enum cow_outcome fault_marker(cow_machine *m, struct fault *fault)
{
	uint64_t *pte = &fault->leaf.ptes[fault->slot];
	enum cow_outcome outcome;

	pte_empty(m, &fault->leaf, fault->slot);
	mm_at(m, fault->mm)->pages--;
	outcome = fault_file(m, fault);
	if (fault_failed(outcome)) {
		pte_fill(m, &fault->leaf, fault->slot, PTE_UFFD);
		mm_at(m, fault->mm)->pages++;
		return outcome;
	}
	if (!PLANTED(58))
		*pte = (*pte | PTE_UFFD) & ~PTE_WRITE;
	return fault->flags & FAULT_WRITE ? COW_OUT_BLOCKED : outcome;
}

/* ---- the calls ---- */

/* Finds the object that a handle names.  Returns 0, -EXDEV or -ESRCH. */
static int file_resolve(cow_machine *m, cow_file handle, uint32_t *index)
{
	if (handle.owner != m->identity)
		return machine_fail(m, -EXDEV, "the file belongs to another machine");
	if (!handle.index || handle.index >= m->pools[POOL_OBJECT].used || !handle.generation ||
	    object_at(m, handle.index)->number != handle.generation ||
	    !(object_at(m, handle.index)->flags & OBJECT_FILE))
		return machine_fail(m, -ESRCH, "there is no such file");
	*index = handle.index;
	return 0;
}

/* An object's page was made outside a fault. */
static void add_tell(cow_machine *m, const struct cow_op *op, uint32_t frame, uint64_t value)
{
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = COW_CHANGE_ADD,
						     .mm = op->mm,
						     .process = op->process,
						     .frame = frame,
						     .pages = 1,
						     .value = value,
						     .object = op->object,
						     .index = page_index(m, frame) });
}

/* Fills the page cache of a new file.  All of it has been found and reserved. */
static void file_fill(cow_machine *m, const struct cow_op *op, uint32_t object, bool huge)
{
	uint64_t step = huge ? pmd_pages(m) : 1;

	for (uint64_t index = 0; index < op->index; index += step) {
		uint32_t frame;

		if (huge) {
			frame = folio_at(m, hugetlb_page(m, object, index, false))->head;
		} else {
			frame = frame_alloc(m);
			object_add(m, object, index, frame);
		}
		for (uint32_t i = 0; i < step; i++) {
			frame_body(m, frame + i)->value = op->value;
			add_tell(m, op, frame + i, op->value);
		}
	}
}

/* Are there so many pages?  Reserves what they take.  Returns 0 or -ENOMEM. */
static int file_room(cow_machine *m, uint64_t pages, bool huge)
{
	uint64_t folios = huge ? pages >> m->state.bits[0] : 0;
	int error = 0;

	if (huge ? !hugetlb_spare(m, folios) : pages > m->state.frames - m->state.frames_used)
		error = machine_fail(m, -ENOMEM, "no room for a file of %llu pages",
				     (unsigned long long)pages);
	if (!error)
		error = machine_reserve(m, POOL_OBJECT, 1);
	if (!error)
		error = tables_reserve(m, 0, 0, pages, 0);
	if (!error)
		error = huge ? folio_reserve(m, 0, pmd_order(m), folios) : frame_reserve(m, pages);
	return error;
}

int cow_file_create(cow_machine *m, uint64_t pages, uint64_t value, bool huge, cow_file *out)
{
	struct cow_op op = {
		.kind = COW_OP_FILE_CREATE, .mm = COW_NONE, .value = value, .index = pages
	};
	uint32_t object;
	int error = 0;

	if (!out)
		return machine_fail(m, -EINVAL, "there is nowhere to put the handle");
	if (pages > m->pages)
		return machine_fail(m, -EINVAL, "a file has at most %llu pages",
				    (unsigned long long)m->pages);
	if (huge && (!pmd_possible(m) || (pages & (pmd_pages(m) - 1))))
		return machine_fail(m, -EINVAL, "a hugetlb file has whole huge pages");
	error = file_room(m, pages, huge);
	if (error)
		return error;
	op.object = m->state.objects + 1;
	error = op_begin(m, &op);
	if (error)
		return error;
	object = object_create(m, OBJECT_FILE | (huge ? OBJECT_HUGETLB : 0u));
	object_at(m, object)->pages = pages;
	file_fill(m, &op, object, huge);
	*out = (cow_file){ m->identity, object, object_at(m, object)->number };
	return op_end(m, &op, 0);
}

/* What mmap of a file may not be. */
static int mmap_check(cow_machine *m, const struct object *object, enum cow_prot prot,
		      unsigned flags, uint64_t first, uint64_t pages, uint64_t offset)
{
	bool huge = object->flags & OBJECT_HUGETLB;

	if ((unsigned)prot > COW_PROT_RW || (flags & ~(unsigned)(COW_MAP_SHARED | COW_MAP_HUGETLB)))
		return machine_fail(m, -EINVAL,
				    "unknown protection or flag, or one that fits no file");
	if (!huge != !(flags & COW_MAP_HUGETLB))
		return machine_fail(m, -EINVAL, "the file is %sof hugetlb pages",
				    huge ? "" : "not ");
	if (offset > m->pages || pages > m->pages - offset)
		return machine_fail(m, -EINVAL, "the offset is too large");
	if (huge && ((first | pages | offset) & (pmd_pages(m) - 1)))
		return machine_fail(m, -EINVAL, "a hugetlb file is mapped in whole huge pages");
	return 0;
}

int cow_mmap_file(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages, enum cow_prot prot,
		  unsigned flags, cow_file file, uint64_t offset)
{
	struct cow_op op;
	struct vma *vma;
	uint64_t first;
	uint32_t mm, object = 0, index;
	int error = mm_resolve(m, handle, &mm);

	if (flags & COW_MAP_HUGETLB)
		pages = hugetlb_length(m, pages);
	if (!error)
		error = file_resolve(m, file, &object);
	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		error = mmap_check(m, object_at(m, object), prot, flags, first, pages, offset);
	if (error)
		return error;
	index = vma_look(m, mm, first);
	if (index && vma_at(m, index)->start < first + pages)
		return machine_fail(m, -EEXIST, "something is mapped at 0x%llx already",
				    (unsigned long long)addr);
	/* The pages of the file itself are there already. */
	if ((flags & COW_MAP_HUGETLB) && !(flags & COW_MAP_SHARED))
		error = hugetlb_room(m, first, pages);
	if (!error)
		error = vma_reserve(m, mm, first, first + pages, 1);
	if (error)
		return error;
	op_set(m, &op, COW_OP_MMAP, mm, addr, pages);
	op.value = prot;
	op.flags = flags;
	op.object = object_at(m, object)->number;
	error = op_begin(m, &op);
	if (error)
		return error;
	index = pool_take(&m->pools[POOL_VMA]);
	vma = vma_at(m, index);
	vma->start = first;
	vma->end = first + pages;
	vma->mm = mm;
	vma->pgoff = offset;
	vma->object = object;
	vma->flags = vma_prot_flags(prot);
	if (flags & COW_MAP_SHARED)
		vma->flags |= VMA_SHARED;
	else if (vma->flags & VMA_WRITE)
		vma->flags |= VMA_ACCOUNT;
	object_link(m, index);
	if (flags & COW_MAP_HUGETLB) {
		vma->flags |= VMA_HUGETLB;
		hugetlb_map(m, index);
		/* hugetlbfs_file_mmap: a mapping that may write makes the file as long as it is. */
		if ((vma->flags & VMA_WRITE) && object_at(m, object)->pages < offset + pages)
			object_at(m, object)->pages = offset + pages;
	}
	vma_link(m, index);
	vma_merge(m, index);
	return op_end(m, &op, 0);
}

/* shmem_file_write_iter for one page.  Returns 0 or -ENOMEM. */
static int write_page(cow_machine *m, const struct cow_op *op, uint32_t object)
{
	uint32_t frame = object_frame(m, object, op->index);

	if (!frame) {
		frame = frame_alloc(m);
		if (!frame)
			return machine_fail(m, -ENOMEM, "no frame left for page %llu of the file",
					    (unsigned long long)op->index);
		object_add(m, object, op->index, frame);
		add_tell(m, op, frame, 0);
	}
	if (object_at(m, object)->pages <= op->index)
		object_at(m, object)->pages = op->index + 1;
	frame_body(m, frame)->value = op->value;
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = COW_CHANGE_WRITE,
						     .mm = op->mm,
						     .process = op->process,
						     .frame = frame,
						     .pages = 1,
						     .value = op->value,
						     .object = op->object,
						     .index = op->index });
	return 0;
}

int cow_file_write(cow_machine *m, cow_mm handle, cow_file file, uint64_t page, uint64_t value)
{
	struct cow_op op;
	uint32_t mm, object = 0;
	int error = mm_resolve(m, handle, &mm);

	if (!error)
		error = file_resolve(m, file, &object);
	if (!error && page >= m->pages)
		error = machine_fail(m, -EINVAL, "a file has at most %llu pages",
				     (unsigned long long)m->pages);
	if (!error && (object_at(m, object)->flags & OBJECT_HUGETLB))
		error = machine_fail(m, -EINVAL, "hugetlbfs knows no write(2)");
	if (!error)
		error = frame_reserve(m, 1);
	if (!error)
		error = tables_reserve(m, object_at(m, object)->root, page, page + 1, 0);
	if (error)
		return error;
	op_set(m, &op, COW_OP_FILE_WRITE, mm, 0, 1);
	op.value = value;
	op.object = object_at(m, object)->number;
	op.index = page;
	error = op_begin(m, &op);
	if (error)
		return error;
	return op_end(m, &op, write_page(m, &op, object));
}

/* unmap_mapping_range with even_cows: private copies go too.  Of hugetlb, markers do (hugetlb_vmtruncate). */
static void unmap_behind(cow_machine *m, uint32_t object, uint64_t pages)
{
	for (uint32_t at = object_at(m, object)->first; at; at = vma_at(m, at)->next_of_object) {
		const struct vma *vma = vma_at(m, at);
		uint64_t kept = pages > vma->pgoff ? pages - vma->pgoff : 0;

		if (kept >= vma->end - vma->start || (PLANTED(50) && !(vma->flags & VMA_SHARED)))
			continue;
		zap_range(m, at, vma->start + kept, vma->end,
			  (vma->flags & VMA_HUGETLB) && !PLANTED(77) ? ZAP_MARKERS : 0);
	}
}

/* truncate_setsize, and truncate_pagecache between its two unmappings. */
static void file_shrink(cow_machine *m, uint32_t object, uint64_t pages)
{
	uint64_t behind = object_at(m, object)->pages - pages;

	unmap_behind(m, object, pages);
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = COW_CHANGE_END,
						     .mm = COW_NONE,
						     .object = object_at(m, object)->number,
						     .index = pages,
						     .pages = behind });
	if (!PLANTED(51))
		object_drop(m, object, pages, pages + behind);
}

int cow_file_truncate(cow_machine *m, cow_file file, uint64_t pages)
{
	struct cow_op op = { .kind = COW_OP_FILE_TRUNCATE, .mm = COW_NONE, .index = pages };
	uint32_t object = 0;
	int error = file_resolve(m, file, &object);

	if (!error && pages > m->pages)
		error = machine_fail(m, -EINVAL, "a file has at most %llu pages",
				     (unsigned long long)m->pages);
	if (!error && (object_at(m, object)->flags & OBJECT_HUGETLB) &&
	    (pages & (pmd_pages(m) - 1)))
		error = machine_fail(m, -EINVAL, "a hugetlb file has whole huge pages");
	if (error)
		return error;
	op.object = object_at(m, object)->number;
	error = op_begin(m, &op);
	if (error)
		return error;
	if (pages < object_at(m, object)->pages)
		file_shrink(m, object, pages);
	else if (object_at(m, object)->flags & OBJECT_HUGETLB)
		unmap_behind(m, object, pages); /* hugetlbfs_setattr, shorter or not: markers go */
	object_at(m, object)->pages = pages;
	return op_end(m, &op, 0);
}
