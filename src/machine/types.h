/* SPDX-License-Identifier: MIT
 *
 * The reading room: every structure of a simulated machine, with what each field means.
 *
 *   frame     a physical page and its struct page counts; the zero page is frame 0
 *   table     a page-table page of any level; an entry is 64 bits
 *   vma       a mapped range of an mm; pages are counted, not bytes
 *   anon      an anon_vma: where the reverse map finds the VMAs that may map a page
 *   avc       an anon_vma_chain: one VMA on the list of one anon
 *   object    a file or shared anonymous memory, with a page cache of its own
 *   folio     2^order frames that are managed as one, while they are
 *   slot      a swap slot
 *   item      where a KSM page came from: the reverse map of KSM pages
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
	FRAME_ANON = 1,       /* PageAnon; owner is its anon */
	FRAME_EXCLUSIVE = 2,  /* PG_anon_exclusive, where the marker lives in the frame; of a folio that
	                         PMDs map it is the first frame's that counts; see FOLIO_EXCLUSIVE */
	FRAME_BATCHED = 4,    /* an LRU batch holds a reference */
	FRAME_ZERO = 8,       /* the shared zero page */
	FRAME_SHARED = 16,    /* page of an object, which holds a reference; owner is the object */
	FRAME_KSM = 32,       /* PageKsm, with FRAME_ANON; owner is its first item */
	FRAME_LARGE = 64,     /* part of a large folio; owner is the folio, refcount is 0, and mapcount counts
	                         the PTEs that map this frame beside the folio's `every` */
	FRAME_SWAPCACHE = 128, /* in the swap cache, which holds a reference; owner is the slot */
	FRAME_WRITEBACK = 256, /* is being written to its slot */
	FRAME_LAZYFREE = 512,  /* madvise free: no PG_swapbacked, until reclaim finds it dirty; all frames of a
	                          folio, or none */
	FRAME_POOLED = 1024,   /* of the hugetlb pool: no frame of the machine's own */
	FRAME_DETACHED = 2048, /* of an object that is no more; references hold it */
	FRAME_DIRTY = 4096,    /* PG_dirty of an anonymous page.  Not kept of one in the swap cache, which is
	                          dirty when it leaves; of a large folio see FOLIO_DIRTY */
};

/* The counts of a frame: what fork touches, and nothing else. */
struct frame {
	uint32_t refcount; /* all references; a FOLL_PIN counts PIN_BIAS; if free: the next free frame */
	uint32_t mapcount; /* PTEs that map it; the zero page's are not counted */
	uint32_t flags;    /* enum frame_flags */
	uint32_t owner;    /* anon, object, item, folio or slot; 0 once nothing maps an anonymous page */
};

/* What a frame holds, beside its counts. */
struct frame_body {
	uint64_t value; /* the content of the page */
	uint64_t index; /* page offset within its anon or object; of a KSM page, its neighbours on the
	                   list of all KSM pages: previous << 32 | next */
};

_Static_assert(sizeof(struct frame) + sizeof(struct frame_body) == 32, "32 bytes a frame");

enum { FRAME_SHIFT = 12 }; /* 4096 frames a chunk: 64 KiB of each half */

enum folio_flags {
	FOLIO_SHARED = 1,  /* more than one mm may map it (FOLIO_MM_IDS_SHARED_BIT) */
	FOLIO_HUGETLB = 2, /* of the hugetlb pool; never split */
	FOLIO_EXCLUSIVE = 4, /* each of its frames is FRAME_EXCLUSIVE, whatever it says itself */
	FOLIO_HEAD_SHARED = 8, /* no PMD maps it, and fork shared its first page since that had the marker;
	                          PG_anon_exclusive of that page stays as it was when nothing maps it */
	FOLIO_PROMISED = 16, /* of hugetlb: when it is free, it is reserved for who was promised it
	                        (hugetlb_restore_reserve) */
	FOLIO_DIRTY = 32, /* PG_dirty, which an anonymous folio has as a whole */
};

/* A large folio: its frames lie behind each other, aligned to their number. */
struct folio {
	uint32_t head;     /* first frame; next free folio if free */
	uint32_t order;    /* log2 of the number of frames */
	uint32_t refcount; /* all references; a FOLL_PIN counts 1 */
	uint32_t mapcount; /* PTEs and PMDs that map any of it (large_mapcount) */
	uint32_t entire;   /* PMDs among them (entire_mapcount) */
	uint32_t pincount; /* FOLL_PIN references */
	uint32_t owner;    /* anon or object */
	uint32_t flags;    /* enum folio_flags */
	uint32_t mm[2];          /* mms that are told apart, 0: free; and */
	uint32_t mm_mapcount[2]; /* how much of mapcount is theirs */
	uint64_t index;    /* page offset of the first frame within its anon or object */
	uint32_t every;    /* PTEs that map each of its frames and that no frame counts: those of PMDs that
	                      were split, until one of its pages is unmapped (folio_settle) */
	uint32_t unused;
};

/* A swap slot: in use while an entry names it or the swap cache has it. */
struct slot {
	uint32_t frame;    /* in the swap cache, 0: none; next free slot if free */
	uint32_t count;    /* page-table entries that name it */
	uint32_t owner;    /* of the cached frame: its anon, or of a KSM page its first item */
	uint32_t unused;
	uint64_t value;    /* what was written to it */
};

/* One way to a KSM page: the anon and the offset of a page that was merged into it. */
struct item {
	uint32_t next;     /* of the same page; next free item if free */
	uint32_t anon;     /* is kept for it */
	uint64_t index;
};

/* An entry: flags in the low half; frame, swap slot (leaf) or table in the high half.  An entry of a
 * table of the second level may map a whole folio (PTE_HUGE). */
#define PTE_PRESENT  UINT64_C(1)   /* maps a frame */
#define PTE_WRITE    UINT64_C(2)   /* the CPU may write */
#define PTE_DIRTY    UINT64_C(4)
#define PTE_YOUNG    UINT64_C(8)
#define PTE_PROTNONE UINT64_C(16)  /* maps a frame, but no access is allowed */
#define PTE_SPECIAL  UINT64_C(32)  /* the zero page: no counts */
#define PTE_MARKER   UINT64_C(64)  /* exclusive, where the marker lives in the PTE */
#define PTE_TABLE    UINT64_C(128) /* names a table of the level below */
#define PTE_HUGE     UINT64_C(256) /* a PMD: maps the folio whose first frame it names, or, with
                                      PTE_SPECIAL, the huge zero page, which is frame 0 all over */
#define PTE_SOFT     UINT64_C(512) /* soft-dirty: written since the last clear_refs */
#define PTE_UFFD     UINT64_C(1024) /* userfaultfd write-protects it; alone, a PTE marker: nothing is
                                       mapped, and what is mapped next will be protected; so it is with
                                       PTE_HUGE of hugetlb */
#define PTE_SWAP     UINT64_C(2048) /* not present: names a swap slot; cow_entry_swapped() knows it.  Where
                                      the marker lives in the frame, PTE_MARKER stands in for it */

/* An entry with PTE_HUGE alone, of hugetlb, maps nothing, and has PTE_UFFD, this, or both. */
#define PMD_SPENT    PTE_DIRTY     /* the VMA was promised a huge page here, and the promise is used up */

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
	VMA_MERGEABLE = 128,     /* MADV_MERGEABLE */
	VMA_HUGEPAGE = 256,      /* MADV_HUGEPAGE */
	VMA_HUGETLB = 512,
	VMA_UFFD_WP = 1024,      /* registered with userfaultfd for write-protection */
	VMA_TRACKED = 2048,      /* soft-dirty tracking is on: VM_SOFTDIRTY is clear */
	VMA_RESERVED = 4096,     /* hugetlb: owns the reservation (HPAGE_RESV_OWNER) */
	VMA_UNMAPPED = 8192,     /* hugetlb: the owner has stolen pages (HPAGE_RESV_UNMAPPED) */
	VMA_NOHUGEPAGE = 16384,  /* MADV_NOHUGEPAGE */
};

struct vma {
	uint64_t start, end; /* page numbers, end not included */
	uint64_t pgoff;      /* page offset of start in its anon's or object's numbering */
	uint32_t flags;      /* enum vma_flags */
	uint32_t mm;         /* owner */
	uint32_t anon;       /* its own anon_vma, 0 until its first anonymous page */
	uint32_t object;     /* file or shared memory; 0: anonymous */
	uint32_t chain;      /* first avc */
	uint32_t left, right; /* treap by start, priority is a hash of start */
	uint32_t next, prev; /* list by start */
	uint32_t next_of_object, prev_of_object; /* VMAs that map the same object */
	uint32_t order;      /* of folios, where VMA_HUGEPAGE; 0: that of a PMD */
};

struct anon {
	uint32_t chain;    /* first avc; next free anon if free */
	uint32_t parent;   /* anon of the VMA that was forked; 0: a root */
	uint32_t children; /* anons whose parent this is, a root counting itself */
	uint32_t vmas;     /* VMAs whose own anon this is (num_active_vmas) */
	uint32_t items;    /* of KSM pages: they keep it when its chain is empty */
};

struct avc {
	uint32_t vma;
	uint32_t anon;
	uint32_t next_of_vma;
	uint32_t next_of_anon, prev_of_anon;
	uint32_t unused;
};

enum object_flags {
	OBJECT_FILE = 1,    /* has a name: lives on without mappings, which `vmas` counts as one */
	OBJECT_HUGETLB = 2, /* its pages are of the hugetlb pool, and entries of the second level */
};

struct object {
	uint32_t root;   /* radix tree of its pages, of the geometry of page tables; next free object if
	                    free */
	uint32_t vmas;   /* VMAs that map it, and one for the name of a file; the last one frees it */
	uint32_t number; /* 1, 2, ... in the order of creation; a file handle's generation */
	uint32_t flags;  /* enum object_flags */
	uint32_t first;  /* VMA that maps it */
	uint32_t unused;
	uint64_t pages;  /* length of a file; of shared memory 0 */
	uint64_t reserved; /* hugetlb: pages of the pool set aside for it, not used yet */
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
	uint64_t pages;       /* entries of leaf tables: present and swapped; a PMD counts as its pages */
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
