/* SPDX-License-Identifier: MIT
 *
 * The machine as a whole.  `state` and the pools are what is cloned, compared, hashed and saved;
 * all below them (counters, observers, caches) is not.  Read types.h first, then frame.h, table.h,
 * vma.h, anon.h; the kernel that moves it is in kernel/.
 */
#ifndef COWLAB_MACHINE_MACHINE_H
#define COWLAB_MACHINE_MACHINE_H

#include "machine/types.h"

/* Pools: id, slot type, log2 slots a chunk.  Tables are special: their size is the geometry's. */
#define MACHINE_POOLS(X)                                                              \
	X(FRAME, struct frame, FRAME_SHIFT) X(BODY, struct frame_body, FRAME_SHIFT)       \
	X(TABLE, uint64_t, 4) X(INFO, struct table_info, 10) X(VMA, struct vma, 10)       \
	X(ANON, struct anon, 10) X(AVC, struct avc, 10) X(OBJECT, struct object, 8)       \
	X(MM, struct mm, 8) X(REF, struct ref, 8) X(LINK, struct link, 12)                \
	X(FOLIO, struct folio, 8) X(SLOT, struct slot, 12) X(ITEM, struct item, 12)

enum pool_id {
#define X(id, type, shift) POOL_##id,
	MACHINE_POOLS(X)
#undef X
	POOL_COUNT
};

enum { MACHINE_ORDERS = 16 }; /* folios have at most 2^15 frames */

/* Scalars that belong to the state.  No padding: it is compared as memory. */
struct machine_state {
	uint64_t frames;       /* frames of the machine, the zero page aside */
	uint64_t frames_used;  /* not free */
	uint32_t lru_batch;    /* pages a batch holds; 0: off */
	uint32_t processes;    /* numbers given to processes */
	uint32_t references;   /* numbers given to references */
	uint32_t objects;      /* numbers given to objects */
	uint32_t marker;       /* enum cow_marker: decides the size of a table */
	uint32_t page_shift;
	uint32_t levels;
	uint32_t bits[COW_MAX_LEVELS];
	uint32_t pmds;         /* entries with PTE_HUGE, of all mms and objects */
	uint32_t options;      /* enum machine_options */
	uint32_t slots;        /* swap slots of the machine; POOL_SLOT's live are in use */
	uint32_t pool;         /* huge pages of the hugetlb pool, */
	uint32_t pool_free;    /* of these not in use, */
	int32_t pool_reserved; /* and of these promised to mappings; less by pages with FOLIO_PROMISED that
	                          are in use, so that it may be below 0 */
	uint32_t blocks[MACHINE_ORDERS]; /* by order: free runs of as many frames, aligned; first frame */
	uint32_t blocked;      /* frames in them; the other free frames are on POOL_FRAME's list, */
	uint32_t scattered;    /* and as many were so when runs were last made of them */
	uint32_t ksm;          /* first frame on the list of all KSM pages */
	uint32_t unused;
};

enum machine_options {
	MACHINE_STABLE_WRITES = 1, /* of the swap device */
	MACHINE_ZERO_PAGES = 2,    /* KSM: use_zero_pages */
};

enum { MACHINE_OBSERVERS = 4 };

struct memo {
	uint64_t word;               /* the last view */
	const struct cow_rule *rule; /* the answer to it; NULL: none yet */
};

/* The same, by what the view would be made of. */
struct sight {
	uint64_t counts;             /* refcount and mapcount */
	uint64_t flags;              /* of frame, entry, VMA, mm and request, marker, swap count */
	struct cow_view view;        /* what they come to */
	const struct cow_rule *rule; /* NULL: none yet */
};

/* The last single write, for the next one: kernel/quick.h.  Good until anything else is done. */
struct quick {
	cow_mm handle;
	uint64_t first, pages;     /* of one leaf table and one VMA; 0 pages: nothing is remembered */
	uint64_t within;           /* bits of an address within a page */
	uint64_t *ptes;            /* the entry of `first` and those behind it */
	struct mm *mm;
	struct table_info *info;   /* of the leaf table */
	uint64_t pgoff;            /* of `first` */
	uint64_t flags;            /* of an entry that was written */
	struct frame fresh;        /* a page of the process's own */
	/* Of a page that was asked about: what was seen of it, */
	uint64_t counts;           /* refcount and mapcount, */
	uint32_t frame_flags, pte; /* flags of frame and entry, and */
	const struct cow_rule *rule; /* what was answered.  Then its frame has */
	uint32_t reused[2];        /* flags and owner, if it was reused, and */
	uint64_t fewer;            /* counts, if it was copied */
};

/* Pages behind each other to which one access came to the same, told at once: FRESH, COPY or REUSE of each,
 * and WRITE, a page after the other.  They are private, and no page of a file. */
struct page_run {
	enum cow_outcome outcome; /* HIT, ALLOC, COPY or REUSE */
	uint32_t mm, process;
	uint64_t page;            /* the first, and */
	uint32_t pages;           /* how many they are */
	const uint64_t *entries;  /* theirs, by now */
	const uint64_t *before;   /* of COPY: theirs as they were */
	uint64_t value;           /* written to each */
};

/* An observer that takes runs, and so has no decision and no `after`: only the audit is one. */
struct run_observer {
	void *ctx;
	void (*tell)(void *ctx, const struct page_run *run);
	/* What `before` is for, where one page is about to be written; NULL: not without `before`.  `one`,
	 * which is called at once then, takes what it returns. */
	void *(*ready)(void *ctx, uint32_t process, uint64_t page);
	/* A run of one page.  `entry`: by now; `before`: of COPY as it was, else 0. */
	void (*one)(void *ctx, void *ready, enum cow_outcome outcome, uint64_t entry,
		    uint64_t before, uint64_t value);
};

/* A leaf table that was found; stale once tables or VMAs have changed, which moves `forgets` on. */
struct known_leaf {
	uint64_t key;   /* forgets << 32 | mm; mm 0: none */
	uint64_t first; /* page of its first entry */
	uint64_t *ptes; /* as in struct leaf, and */
	uint32_t table;
	uint32_t unused;
};

enum { MACHINE_LEAVES = 64 };

struct cow_machine {
	struct machine_state state;
	struct pool pools[POOL_COUNT];

	/* Derived from the state. */
	uint64_t pages;                 /* size of an address space */
	uint32_t shifts[COW_MAX_LEVELS]; /* log2 pages that an entry of a level covers */

	/* Outside what is compared. */
	const struct cow_policy *policy;
	bool fork_keeps_promise; /* fork copies early only where a pin or a write reference was taken */
	struct memo memo[COW_DECISION_COUNT]; /* policies are pure, so the last answer is kept */
	struct sight sight; /* of write faults */
	struct sight sights[COW_DECISION_COUNT]; /* of what else is asked by sight */
	struct cow_observer observers[MACHINE_OBSERVERS];
	uint32_t observer_count;
	uint32_t decision_observers; /* those of them that want decisions, and */
	uint32_t after_observers;    /* those that want to know of the end of a call, and */
	uint32_t page_observers;     /* those that do not take runs */
	struct run_observer runs;    /* the one that does; tell is NULL: there is none */
	uint64_t counters[COW_COUNTER_COUNT];
	struct cow_error error;
	uint64_t identity;     /* `owner` of handles; a clone inherits it */
	struct cow_allocator allocator;
	struct {
		uint32_t mm, vma;    /* VMA found last */
		uint32_t leaf_mm, leaf; /* leaf table found last, and */
		uint64_t leaf_page;  /* its first page, and */
		uint64_t *leaf_ptes; /* its entries: slots do not move while the pool has chunks */
		uint32_t forgets;    /* times that all of this was forgotten */
		struct known_leaf leaves[MACHINE_LEAVES]; /* by mm: where the reverse map was last */
	} cache;
	struct quick quick;
};

static inline struct mm *mm_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_MM], index, struct mm, 8);
}

static inline struct ref *ref_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_REF], index, struct ref, 8);
}

static inline struct link *link_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_LINK], index, struct link, 12);
}

static inline struct folio *folio_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_FOLIO], index, struct folio, 8);
}

static inline struct slot *slot_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_SLOT], index, struct slot, 12);
}

static inline struct item *item_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_ITEM], index, struct item, 12);
}

static inline struct object *object_at(const cow_machine *m, uint32_t index)
{
	return POOL_AT(&m->pools[POOL_OBJECT], index, struct object, 8);
}

static inline void machine_count(cow_machine *m, enum cow_counter counter, uint64_t n)
{
	m->counters[counter] += n;
}

/* cow_machine_create where the caller says how many slots each pool begins with (NULL: the default). */
int machine_create(const struct cow_config *config, const uint32_t first[POOL_COUNT],
		   cow_machine **out);
/* Tells the observers that something changed. */
void change_tell(cow_machine *m, const struct cow_change *change);
/* Makes room in a pool.  Returns 0 or -ENOMEM, with the error record filled. */
int machine_reserve(cow_machine *m, enum pool_id id, uint64_t more);
/* The observer with that context, which was added last, takes runs too. */
void machine_observe_runs(cow_machine *m, const struct run_observer *observer);
/* Takes an observer off again, known by its context. */
void machine_unobserve(cow_machine *m, const void *ctx);
/* Fills the error record and returns its code. */
int machine_fail(cow_machine *m, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Forgets what was found last: a table or a VMA has changed its place or is gone. */
static inline void machine_forget(cow_machine *m)
{
	m->cache.mm = m->cache.vma = m->cache.leaf_mm = m->cache.leaf = 0;
	m->cache.leaf_ptes = NULL;
	m->quick.pages = 0;
	if (!++m->cache.forgets) /* else what is older than it seems could be taken for known */
		memset(m->cache.leaves, 0, sizeof(m->cache.leaves));
}

#endif
