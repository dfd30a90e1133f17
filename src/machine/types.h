/* SPDX-License-Identifier: MIT
 *
 * The reading room: every structure of a simulated machine, with what each field means.
 *
 *   frame     a physical page and its struct page counts; the zero page is frame 0
 *   table     a page-table page of any level; an entry is 64 bits
 *   vma       a mapped range of an mm; pages are counted, not bytes
 *   anon      an anon_vma: where the reverse map finds the VMAs that may map a page
 *   avc       an anon_vma_chain: one VMA on the list of one anon
 *   object    shared anonymous memory, with a page cache of its own
 *   ref       a FOLL_GET or FOLL_PIN reference to a run of pages
 *   link      a frame on a list: the pages of a ref, or of an LRU batch
 *
 * Everything is a slot of a pool and is named by its index; 0 is none.  No pointer is stored in a
 * slot, so clone, equality, hash and snapshot are copies of memory.  Nothing is decided here.
 */
#ifndef COWLAB_MACHINE_TYPES_H
#define COWLAB_MACHINE_TYPES_H

#include "machine/pool.h"

enum { PIN_BIAS = 1024 };             /* GUP_PIN_COUNTING_BIAS */
enum { REFCOUNT_LIMIT = 0x7fffffff }; /* try_grab_page refuses to go past it */

enum frame_flags {
	FRAME_ANON = 1,      /* PageAnon; owner is its anon */
	FRAME_EXCLUSIVE = 2, /* PG_anon_exclusive, where the marker lives in the frame */
	FRAME_BATCHED = 4,   /* an LRU batch holds a reference */
	FRAME_ZERO = 8,      /* the shared zero page */
	FRAME_SHARED = 16,   /* page of an object, which holds a reference; owner is the object */
};

/* The counts of a frame: what fork touches, and nothing else. */
struct frame {
	uint32_t refcount; /* all references; a FOLL_PIN counts PIN_BIAS; if free: the next free frame */
	uint32_t mapcount; /* PTEs that map it; the zero page's are not counted */
	uint32_t flags;    /* enum frame_flags */
	uint32_t owner;    /* anon or object; 0 once nothing maps an anonymous page */
};

/* What a frame holds, beside its counts. */
struct frame_body {
	uint64_t value; /* the content of the page */
	uint64_t index; /* page offset within its anon or object */
};

_Static_assert(sizeof(struct frame) + sizeof(struct frame_body) == 32, "32 bytes a frame");

enum { FRAME_SHIFT = 12 }; /* 4096 frames a chunk: 64 KiB of each half */

/* A page-table entry: flags in the low half, frame (leaf) or table in the high half. */
#define PTE_PRESENT  UINT64_C(1)   /* maps a frame */
#define PTE_WRITE    UINT64_C(2)   /* the CPU may write */
#define PTE_DIRTY    UINT64_C(4)
#define PTE_YOUNG    UINT64_C(8)
#define PTE_PROTNONE UINT64_C(16)  /* maps a frame, but no access is allowed */
#define PTE_SPECIAL  UINT64_C(32)  /* the zero page: no counts */
#define PTE_MARKER   UINT64_C(64)  /* exclusive, where the marker lives in the PTE */
#define PTE_TABLE    UINT64_C(128) /* names a table of the level below */

/* Beside a table: how full it is, and the extra table of the marker's home COW_MARKER_EXTRA. */
struct table_info {
	uint32_t used;  /* entries that are not zero; 0 entries: the table is freed */
	uint32_t extra; /* leaf tables: table of software PTEs, 0 until a marker is set */
};

enum vma_flags {
	VMA_READ = 1,
	VMA_WRITE = 2,
	VMA_SHARED = 4,
	VMA_DONTCOPY = 8,        /* MADV_DONTFORK */
	VMA_WIPEONFORK = 16,     /* MADV_WIPEONFORK */
	VMA_ACCOUNT = 32,        /* VM_ACCOUNT: was writable once; hinders merging, as in Linux */
	VMA_HAD_WRITE_REF = 64,  /* a write reference was taken through it */
};

struct vma {
	uint64_t start, end; /* page numbers, end not included */
	uint64_t pgoff;      /* page offset of start in its anon's or object's numbering */
	uint32_t flags;      /* enum vma_flags */
	uint32_t mm;         /* owner */
	uint32_t anon;       /* its own anon_vma, 0 until its first anonymous page */
	uint32_t object;     /* shared memory; 0: private */
	uint32_t chain;      /* first avc */
	uint32_t left, right; /* treap by start, priority is a hash of start */
	uint32_t next, prev; /* list by start */
	uint32_t unused;
};

struct anon {
	uint32_t chain;    /* first avc */
	uint32_t parent;   /* anon of the VMA that was forked; 0: a root */
	uint32_t children; /* anons whose parent this is, a root counting itself */
	uint32_t vmas;     /* VMAs whose own anon this is (num_active_vmas) */
};

struct avc {
	uint32_t vma;
	uint32_t anon;
	uint32_t next_of_vma;
	uint32_t next_of_anon, prev_of_anon;
	uint32_t unused;
};

struct object {
	uint32_t root;   /* radix tree of its pages, of the geometry of page tables */
	uint32_t vmas;   /* VMAs that map it; the last one frees it */
	uint32_t number; /* 1, 2, ... in the order of creation */
	uint32_t unused;
};

enum { MM_HAS_PINNED = 1 }; /* MMF_HAS_PINNED: set by the first FOLL_PIN, never cleared */

struct mm {
	uint32_t root;        /* top table, 0: empty; next free mm if free */
	uint32_t number;      /* of the process, from 1, never used twice; also the handle's
	                         generation; 0: free */
	uint32_t flags;       /* MM_HAS_PINNED */
	uint32_t vma_root;    /* treap */
	uint32_t vma_first;   /* list */
	uint32_t vmas;
	uint32_t avcs;        /* of all its VMAs: what fork must be able to copy */
	uint32_t tables;      /* page-table pages */
	uint64_t pages;       /* present PTEs */
	uint32_t batch;       /* LRU batch: first link */
	uint32_t batched;     /* its length */
};

struct ref {
	uint32_t first;   /* links, in the order of the pages; next free ref if free */
	uint32_t number;  /* generation of the handle, never used twice; 0: free */
	uint32_t flags;   /* COW_GUP_* */
	uint32_t times;   /* references a page */
	uint64_t pages;
	uint32_t process; /* number of the process that took it */
	uint32_t unused;
};

struct link {
	uint32_t next;
	uint32_t frame;
};

#endif
