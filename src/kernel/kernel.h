/* SPDX-License-Identifier: MIT
 *
 * What the kernel part shares: resolving handles, telling observers, asking the policy, faults.
 *
 * Every public call has the same shape: check the arguments, reserve all host memory that the call
 * may need, let the observers veto, and only then change the machine, which cannot fail any more.
 * Running out of simulated frames is an outcome, not a failure.
 *
 * Reading order: ask.h, fault.c, access.c, run.h, quick.h, fork.c, copy.c, gup.c, zap.c, map.c,
 * protect.c, advise.c; then what else maps pages or takes them away: file.c, swap.c, thp.c, hugetlb.c, wp.c,
 * migrate.c, ksm.c.
 */
#ifndef COWLAB_KERNEL_KERNEL_H
#define COWLAB_KERNEL_KERNEL_H

#include "machine/object.h"
#include "machine/pmd.h"
#include "machine/rmap.h"
#include "machine/swap.h"

#include <errno.h>

/* True if the handle names a living address space of this machine. */
static inline bool mm_known(const cow_machine *m, cow_mm handle)
{
	return handle.owner == m->identity && handle.index &&
	       handle.index < m->pools[POOL_MM].used && handle.generation &&
	       mm_at(m, handle.index)->number == handle.generation;
}

/* Why a handle names nothing, or a range is none: -EXDEV or -ESRCH, and -EINVAL, with the sentence. */
int mm_refuse(cow_machine *m, cow_mm handle);
int range_refuse(cow_machine *m, uint64_t addr, uint64_t pages);

/* Finds the slot that a handle names.  Returns 0, -EXDEV or -ESRCH. */
static inline int mm_resolve(cow_machine *m, cow_mm handle, uint32_t *index)
{
	m->quick.pages = 0;
	*index = handle.index;
	return mm_known(m, handle) ? 0 : mm_refuse(m, handle);
}

int ref_resolve(cow_machine *m, cow_ref handle, uint32_t *index);

/* Checks a range in bytes and pages, and turns it into page numbers.  Returns 0 or -EINVAL. */
static inline int range_check(cow_machine *m, uint64_t addr, uint64_t pages, uint64_t *first)
{
	uint64_t page = addr >> m->state.page_shift;

	*first = page;
	if (page << m->state.page_shift != addr || !pages || page >= m->pages ||
	    pages > m->pages - page)
		return range_refuse(m, addr, pages);
	return 0;
}

/* ---- observers: nothing here costs more than a test while there is none ---- */

int op_veto(cow_machine *m, const struct cow_op *op);
void op_tell(cow_machine *m, struct cow_op *op, int result);

static inline int op_begin(cow_machine *m, const struct cow_op *op)
{
	m->quick.pages = 0;
	return m->observer_count ? op_veto(m, op) : 0;
}

static inline int op_end(cow_machine *m, struct cow_op *op, int result)
{
	if (m->after_observers)
		op_tell(m, op, result);
	for (int id = 0; POOL_EXACT && id < POOL_COUNT; id++)
		pool_settle(&m->pools[id]);
	return result;
}

/* Field by field: a struct returned by value would be copied in pieces that the CPU must wait for. */
static inline void op_set(const cow_machine *m, struct cow_op *op, enum cow_op_kind kind,
			  uint32_t mm, uint64_t addr, uint64_t pages)
{
	op->kind = kind;
	op->mm = mm;
	op->process = mm_at(m, mm)->number;
	op->addr = addr;
	op->pages = pages;
	op->value = 0;
	op->flags = 0;
	op->object = 0;
	op->index = 0;
	op->ref = 0;
	op->result = 0;
}

/* A call on pages of a process: what its arguments came to. */
struct call {
	uint32_t mm;
	uint64_t first, end;       /* pages */
	struct cow_result *result; /* the caller's, or `unwanted` */
	struct cow_result unwanted;
	struct cow_op op;
};

/* Checks handle and range, and clears the result, which may be NULL.  Returns 0 or an error. */
int call_check(cow_machine *m, struct call *call, cow_mm mm, uint64_t addr, uint64_t pages,
	       struct cow_result *result);
/* All has been reserved: the observers are asked.  Returns 0 or their error; op_end ends the call. */
int call_begin(cow_machine *m, struct call *call, enum cow_op_kind kind, uint64_t value);

static inline void result_clear(struct cow_result *result)
{
	enum { PIECE = 64 };
	size_t at = 0;

	/* In pieces: the compiler clears as much as this at once by a string instruction, which costs more
	 * than what many a call over one page does. */
	for (; at + PIECE <= sizeof(*result); at += PIECE)
		memset((char *)result + at, 0, PIECE);
	memset((char *)result + at, 0, sizeof(*result) - at);
}

/* A range has changed as a whole. */
static inline void note(cow_machine *m, enum cow_change_kind kind, uint32_t mm, uint64_t page,
			uint64_t pages, uint64_t from)
{
	if (m->observer_count)
		change_tell(m, &(struct cow_change){ .kind = kind, .mm = mm,
						     .process = mm_at(m, mm)->number,
						     .addr = page << m->state.page_shift,
						     .pages = pages, .from = from });
}

/* The number of the object whose page the frame is; 0: of none. */
static inline uint32_t frame_object(const cow_machine *m, uint32_t frame)
{
	return frame_at(m, frame)->flags & FRAME_SHARED
		       ? object_at(m, page_object(m, frame))->number
		       : 0;
}

/* A page of a VMA has changed or was accessed.  The object is that of `frame`; of a copy, that of the
 * frame `from` that it was made of. */
static inline void note_page(cow_machine *m, enum cow_change_kind kind, uint32_t vma,
			     uint64_t page, uint32_t frame, uint64_t value, uint64_t from)
{
	uint32_t of = kind == COW_CHANGE_COPY ? (uint32_t)from : frame;
	const struct vma *in;

	if (!m->observer_count)
		return;
	in = vma_at(m, vma);
	change_tell(m, &(struct cow_change){
			       .kind = kind, .mm = in->mm,
			       .process = mm_at(m, in->mm)->number, .frame = frame,
			       .addr = page << m->state.page_shift, .pages = 1,
			       .value = value, .from = from,
			       .object = frame_object(m, of),
			       .index = frame_object(m, of) ? page_index(m, of) : 0 });
}

/* Entries of a VMA are mapped, or are about to be unmapped. */
static inline void note_entries(cow_machine *m, enum cow_change_kind kind, uint32_t vma,
				uint64_t page, uint64_t pages, const uint64_t *entries)
{
	const struct vma *in = vma_at(m, vma);

	if (m->observer_count)
		change_tell(m, &(struct cow_change){
				       .kind = kind, .mm = in->mm,
				       .process = mm_at(m, in->mm)->number,
				       .addr = page << m->state.page_shift, .pages = pages,
				       .entries = entries,
				       .object = in->flags & VMA_SHARED ? object_at(m, in->object)->number
									: 0,
				       .index = in->flags & VMA_SHARED ? vma_pgoff(in, page) : 0 });
}

/* The PMD of a VMA maps a folio now, or is about to map it no more. */
static inline void note_pmd(cow_machine *m, enum cow_change_kind kind, uint32_t vma,
			    uint64_t first, uint64_t pmd)
{
	if (m->observer_count && !(pmd & PTE_SPECIAL)) {
		const struct vma *in = vma_at(m, vma);

		change_tell(m, &(struct cow_change){ .kind = kind, .mm = in->mm,
						     .process = mm_at(m, in->mm)->number,
						     .frame = pte_frame(pmd),
						     .addr = first << m->state.page_shift,
						     .pages = pmd_pages(m),
						     .object = frame_object(m, pte_frame(pmd)) });
	}
}

/* ---- faults ---- */

enum fault_flags {
	FAULT_WRITE = 1,   /* a write access */
	FAULT_UNSHARE = 2, /* FAULT_FLAG_UNSHARE: make it private, leave it read-only */
	FAULT_SPENT = 4,   /* hugetlb's own: the mapping has used up the promise of this page */
};

/* A fault on its way; nothing is kept elsewhere between its steps. */
struct fault {
	uint32_t mm, vma;  /* where */
	uint64_t page;
	unsigned flags;    /* enum fault_flags */
	bool wp;           /* it went through the write-protection path (VM_FAULT_WRITE) */
	struct leaf leaf;  /* the page's leaf table, made if need be; or the PMD that maps it */
	uint32_t slot;
	uint32_t old, new; /* frames, of a copy */
	const struct cow_rule *rule;
};

/* The frame in which a page is that an entry, of a leaf table or a PMD, maps. */
static inline uint32_t entry_frame(const cow_machine *m, uint64_t entry, uint64_t page)
{
	return entry & PTE_HUGE ? pmd_frame(m, entry, page) : pte_frame(entry);
}

/* The entry that maps the page of a fault, and the frame that it maps. */
static inline uint64_t *at_entry(const struct fault *at)
{
	return at->leaf.pmd ? at->leaf.pmd : &at->leaf.ptes[at->slot];
}

static inline uint32_t at_frame(const cow_machine *m, const struct fault *at)
{
	return entry_frame(m, *at_entry(at), at->page);
}

/* Finds the entry for a page, at->page of at->mm; false: there is neither a leaf table nor a PMD. */
static inline bool at_find(cow_machine *m, struct fault *at)
{
	at->slot = leaf_slot(m, at->page);
	return leaf_of(m, at->mm, at->page, &at->leaf) ||
	       pmd_find(m, mm_at(m, at->mm)->root, at->page, &at->leaf);
}

/* True if a private mapping may have the page for its own in place, should the policy say so: a KSM page
 * has to go through do_wp_page first, which makes an ordinary one of it. */
static inline bool page_ownable(const cow_machine *m, uint32_t frame)
{
	return (frame_at(m, frame)->flags & (FRAME_ANON | FRAME_KSM)) == FRAME_ANON;
}

/* True if the CPU may do it; false: a fault. */
static inline bool entry_allows(uint64_t entry, bool write)
{
	return (entry & PTE_PRESENT) && !(entry & PTE_PROTNONE) && (!write || (entry & PTE_WRITE));
}

/* handle_mm_fault for a page whose VMA is known and allows the access.  `walked`: at->leaf and at->slot
 * are those of its leaf table.  Returns the outcome; if that is no error (fault_failed), at_entry()
 * maps the page and allows the access. */
enum cow_outcome fault_handle(cow_machine *m, struct fault *fault, bool walked);
/* Reserves what faults on pages first to end-1 may need, `times` over.  Returns 0 or -ENOMEM. */
int fault_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end, bool write,
		  unsigned times);

static inline bool fault_failed(enum cow_outcome outcome)
{
	const unsigned failed = 1u << COW_OUT_OOM | 1u << COW_OUT_BLOCKED | 1u << COW_OUT_SIGBUS;

	return failed >> outcome & 1;
}

/* The flags of a PTE that maps a page of the VMA, as vm_page_prot has them: readable or not. */
static inline uint64_t entry_flags(const struct vma *vma)
{
	return PTE_PRESENT | PTE_YOUNG | (vma->flags & VMA_READ ? 0 : PTE_PROTNONE);
}

/* maybe_mkwrite(pte_mkdirty()): what a write fault adds to them. */
static inline uint64_t entry_written(const struct vma *vma)
{
	return vma->flags & VMA_WRITE ? PTE_WRITE | PTE_DIRTY | PTE_SOFT : 0;
}

/* ---- file.c: what a fault does where nothing is mapped of a VMA with an object ---- */
enum cow_outcome fault_file(cow_machine *m, struct fault *fault);
/* The same where userfaultfd has left a PTE marker. */
enum cow_outcome fault_marker(cow_machine *m, struct fault *fault);

/* ---- swap.c ---- */

/* do_swap_page: the PTE of the fault is a swap entry.  A write for which at->wp is not set then has to
 * go on to do_wp_page. */
enum cow_outcome fault_swap(cow_machine *m, struct fault *fault);
/* madvise pageout and free for a VMA's part of a range.  Counts outcomes of pageout in *result. */
void pageout_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end,
		   struct cow_result *result);
void free_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
/* madvise cold: splits large folios of which only a part lies in the range. */
void cold_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
/* Reserves what they may need. */
int pageout_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);

/* ---- thp.c, thp_whole.c, collapse.c ---- */

/* Tells of a change to each page of a folio that a PMD, or PTEs, map from page `first` on.  `from`: the
 * first frame that it was made of; 0: none. */
void note_pages(cow_machine *m, enum cow_change_kind kind, uint32_t vma, uint64_t first,
		const struct folio *folio, uint32_t from);

/* do_huge_pmd_anonymous_page, alloc_anon_folio: a first touch of a VMA with huge pages, where no PTE
 * is yet.  COW_OUT_NONE: take a base page. */
enum cow_outcome huge_fault(cow_machine *m, struct fault *fault);
/* A fault on the PMD fault->leaf.pmd of an anonymous VMA.  COW_OUT_NONE: it was split, fault->leaf is
 * the leaf table, go on there. */
enum cow_outcome huge_wp(cow_machine *m, struct fault *fault);
/* copy_huge_pmd: the child maps what from->pmd maps, and what PMDs behind it map that look the same.
 * Returns how many they are; 0: from->pmd was split, *from is the table. */
uint32_t huge_fork(cow_machine *m, uint32_t vma, uint32_t child_vma, struct leaf *from);
/* Unmaps a whole PMD; the caller counts mm->pages and prunes. */
void huge_zap(cow_machine *m, uint32_t vma, const struct leaf *leaf);
/* mprotect of a whole PMD; the VMA has its new flags. */
void huge_protect(cow_machine *m, uint32_t vma, const struct leaf *leaf);
/* mremap of a whole PMD to page `to`, with those of its flags that are kept.  False: it cannot move
 * whole. */
bool huge_move(cow_machine *m, uint32_t vma, const struct leaf *leaf, uint64_t to, uint64_t kept);
/* madvise collapse of whole huge pages in a range of a VMA.  Returns 0, -EINVAL, -ENOMEM, -EBUSY. */
int collapse_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
int collapse_reserve(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);
/* How many folios of which order first touches of a range may take. */
uint64_t huge_wanted(const cow_machine *m, const struct vma *vma, uint64_t first, uint64_t end,
		     uint32_t *order);

/* ---- hugetlb.c, hugetlb_pool.c ---- */

/* hugetlb_fault: on any page of a VMA with VMA_HUGETLB. */
enum cow_outcome hugetlb_fault(cow_machine *m, struct fault *fault);
/* Can a new mapping be had?  Returns 0, -EINVAL (not aligned), -ENOMEM (the pool is too small). */
int hugetlb_room(cow_machine *m, uint64_t first, uint64_t pages);
/* Takes the reservation for a new VMA, which has VMA_HUGETLB and its object: a private one becomes its
 * owner (VMA_RESERVED), a shared one's belongs to the object. */
void hugetlb_map(cow_machine *m, uint32_t vma);
/* fork of a hugetlb PMD, mm->pages included.  False: the pool has no page for an early copy. */
bool hugetlb_fork(cow_machine *m, uint32_t vma, uint32_t child_vma, const struct leaf *from,
		  struct cow_result *result);
/* Unmaps a hugetlb PMD, by enum zap_flags.  Returns by how much mm->pages is less; the caller
 * counts that and prunes. */
uint64_t hugetlb_zap(cow_machine *m, uint32_t vma, const struct leaf *leaf, unsigned flags);
/* mremap of a hugetlb PMD that maps nothing to page `to`, with those of its flags that are kept. */
void hugetlb_move_note(cow_machine *m, uint32_t mm, const struct leaf *leaf, uint64_t to,
		       uint64_t kept);
/* userfaultfd protects a part of a hugetlb VMA, whole huge pages, or does no more.  Needs the
 * tables that uffd_reserve makes. */
void hugetlb_guard(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, bool on);
/* mprotect of a hugetlb PMD; the VMA has its new flags. */
void hugetlb_protect(cow_machine *m, uint32_t vma, const struct leaf *leaf);
/* True if no hugetlb VMA of the mm has a huge page that lies on both sides of an end of the range. */
bool hugetlb_aligned(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);
/* hugetlb_vm_op_split: the VMA may be cut at the ends of the range. */
bool hugetlb_splits(const cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);
/* ksys_mmap_pgoff: the length of hugetlb memory is rounded up. */
uint64_t hugetlb_length(const cow_machine *m, uint64_t pages);
/* A VMA with VMA_RESERVED, which has been zapped, is about to go: gives its reservation back. */
void hugetlb_unmap(cow_machine *m, uint32_t vma);
/* True if so many pages of the pool are neither in use nor promised. */
bool hugetlb_spare(const cow_machine *m, uint64_t pages);
/* Takes a page of the pool, `reserved` or spare, into the page cache.  Returns its folio, or 0. */
uint32_t hugetlb_page(cow_machine *m, uint32_t object, uint64_t index, bool reserved);
/* True if SIGBUS at a page is for want of a page of the pool. */
bool hugetlb_starved(const cow_machine *m, uint32_t mm, uint64_t page);

/* ---- wp.c ---- */

/* userfaultfd_pte_wp: a mark that UFFDIO_MOVE took to memory that is not registered counts no more. */
static inline bool uffd_protects(const struct vma *vma, uint64_t entry)
{
	return (entry & PTE_UFFD) && (vma->flags & VMA_UFFD_WP);
}

/* True if the write has to wait for userfaultfd. */
static inline bool uffd_blocks(const struct vma *vma, uint64_t entry, unsigned flags)
{
	return uffd_protects(vma, entry) && (flags & FAULT_WRITE);
}

/* A NUMA hint fault: the entry is protnone although its VMA can be read.  Makes it present again. */
void numa_fault(cow_machine *m, struct fault *fault);

/* ---- unmerge.c ---- */

/* break_cow: the page of KSM at hand becomes the process's own, if a frame is left.  Needs one in
 * reserve. */
void break_cow(cow_machine *m, struct fault *at);

/* madvise unmergeable: every KSM page of a VMA's part becomes an ordinary one.  Needs what write faults
 * need.  Returns 0, or -ENOMEM: no simulated frame is left. */
int unmerge_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end);

/* Sets up a frame just taken as an anonymous page of a VMA. */
void frame_make_anon(cow_machine *m, uint32_t frame, uint32_t vma, uint64_t page);

/* ---- others ---- */

/* zap_page_range: unmaps pages first to end-1 of a VMA and gives their content up. */
enum zap_flags {
	ZAP_MARKERS = 1, /* userfaultfd's protection of files and hugetlb goes too (ZAP_FLAG_DROP_MARKER) */
	ZAP_UNMAP = 2,   /* the VMA is about to go */
};
void zap_range(cow_machine *m, uint32_t vma, uint64_t first, uint64_t end, unsigned flags);
/* Drains the LRU batch before pages are zapped, if this kernel does. */
void zap_drain(cow_machine *m, uint32_t mm);
/* exit_mmap, and the mm itself. */
void mm_destroy(cow_machine *m, uint32_t mm);
/* munmap within a call: VMAs between first and end go; all has been reserved. */
void unmap_range(cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);

static inline void result_add(struct cow_result *result, enum cow_outcome outcome)
{
	result->outcome = outcome;
	result->counts[outcome]++;
}

#endif
