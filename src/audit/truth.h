/* SPDX-License-Identifier: MIT
 *
 * What is true, kept beside the machine and by other means.
 *
 * A *stamp* names a write: who, when, by what means.  A *cell* is the stamp of the write whose value
 * one page of one process must hold; fork copies cells.  A *content* is what a frame should hold: the
 * stamp of the write that it comes from, and its value, as told by the changes.  Who reads a page
 * must find the cell's stamp in the content of the frame, and the content's value in the machine.
 * Stamps are unique, so equal values hide nothing.
 *
 * A private page of a file has no cell until it is the process's own: until then it is the file's.
 * A swap slot has a content and is mapped, as a frame is; the swap cache ties the two together.
 *
 * A cell that a reference was taken of becomes a record of its own (`shared cell`), which lives on
 * when the page is dropped.  No code of policy/ or of kernel/ is used here, and none asks us.
 */
#ifndef COWLAB_AUDIT_TRUTH_H
#define COWLAB_AUDIT_TRUTH_H

#include "machine/machine.h"

#include <errno.h>

/* A stamp: who wrote, when (a count of writes), and by what means. 0: nobody, a page of zeroes. */
#define STAMP_INDIRECT (UINT64_C(1) << 63) /* of a cell: the rest is the index of a shared cell */
#define STAMP_BY_GET   (UINT64_C(1) << 62) /* written through a FOLL_GET reference */
#define STAMP_BY_PIN   (UINT64_C(1) << 61) /* written through a FOLL_PIN reference */
#define STAMP_FREED    (UINT64_C(1) << 60) /* of a cell: madvise free, the page may read as 0 too */
#define STAMP_MERGED   (UINT64_C(1) << 59) /* of a content: ksmd merged others into it */
enum { STAMP_PROCESS_BITS = 24 };
#define STAMP_NEXT (UINT64_C(1) << STAMP_PROCESS_BITS) /* from a write to the next */

static inline uint64_t stamp_make(uint64_t time, uint32_t process, uint64_t means)
{
	return time << STAMP_PROCESS_BITS | process | means;
}

static inline uint32_t stamp_process(uint64_t stamp)
{
	return (uint32_t)stamp & ((1u << STAMP_PROCESS_BITS) - 1);
}

static inline uint64_t stamp_time(uint64_t stamp)
{
	return (stamp & ((UINT64_C(1) << 59) - 1)) >> STAMP_PROCESS_BITS;
}

/* The shared cell that a cell stands for; the cell must be indirect. */
static inline uint32_t cell_shared(uint64_t cell)
{
	return (uint32_t)cell;
}

/* What the cells of a leaf behind its front are. */
enum leaf_rest {
	REST_CELLS, /* what `cells` says */
	REST_RUN,   /* as the front, but from `back` on */
	REST_ZERO,
};

/* The cells of a run of pages of one space: a process, or shared memory.  Pages that were written one
 * after the other have stamps that need not be written down: those of the front, and of the rest. */
struct leafcells {
	uint64_t space, group;      /* key */
	struct leafcells *next;     /* of the same space; of the free list */
	struct leafcells *prev;     /* of the same space */
	struct leafcells *chained;  /* of the same bucket */
	uint32_t indirect;          /* cells that are shared cells */
	uint32_t rest;              /* enum leaf_rest */
	uint32_t front_pages;       /* the first so many */
	uint64_t front;             /* stamp of page 0, and STAMP_NEXT more for each page */
	uint64_t back;              /* the same of a page 0 of the rest */
	uint64_t *cells;            /* stamps, of the pages that are neither */
};

/* Memory of leaves, and apart from them of their cells, as many need none. */
struct leafslab {
	struct leafslab *next;
	uint64_t *cells;
	size_t size; /* bytes of cells; BLOCK_SIZE: a block */
	size_t leaves;
	struct leafcells leaf[];
};

/* A cell with references to it. */
struct shared_cell {
	uint32_t refs;     /* first record; also the link of a free slot */
	uint32_t count;    /* records */
	uint64_t stamp;
	uint64_t space;    /* where it is attached */
	uint64_t page;
	bool attached;     /* false: the page was dropped, the references alone hold it */
};

/* One page of one reference. */
struct record {
	uint32_t next_of_frame; /* also the link of a free slot */
	uint32_t next_of_cell;
	uint32_t frame;
	uint32_t cell;      /* shared cell */
	uint32_t process;   /* owner */
	uint32_t flags;     /* COW_GUP_* */
	uint64_t page;      /* where the owner took it */
	bool promised;      /* FOLL_PIN of a page that Linux promises to keep in place */
	bool stale;         /* page and frame have parted, and that was told */
};

/* What a frame should hold. */
struct content {
	uint64_t stamp; /* of the write that it comes from */
	uint64_t value; /* and what that wrote */
};

/* A swap slot. */
struct slot_truth {
	struct content content;
	uint32_t maps;  /* entries that name it */
	uint32_t frame; /* that the swap cache has for it; 0: none */
};

struct process_truth {
	struct leafcells *leaves;
	uint64_t born;    /* writes before it was forked */
	uint32_t parent;
	uint32_t pins;    /* FOLL_PIN records it owns */
};

/* Pages of one reference, by their number. */
struct ref_truth {
	uint32_t *records;
	uint64_t pages;
};

enum { FINDINGS = 64, FINDINGS_ROOM = FINDINGS + COW_VERDICT_COUNT + 1 };

struct cow_audit {
	cow_machine *machine;
	struct cow_allocator allocator;
	uint64_t time;  /* writes so far */
	uint64_t op;    /* calls so far */
	unsigned verdict;

	struct pool contents; /* struct content, by frame */
	struct pool maps;     /* uint32_t, by frame: PTEs that map it */
	struct pool holds;    /* uint32_t, by frame: first record of a reference to it */
	struct pool cached;   /* uint32_t, by frame: its slot while it is in the swap cache */
	struct pool slots;    /* struct slot_truth, by slot */
	struct pool cells;    /* struct shared_cell */
	struct pool records;  /* struct record */
	struct process_truth *processes; size_t process_room;
	struct process_truth *objects;   size_t object_room;
	struct ref_truth *refs;          size_t ref_room; /* by slot */

	struct leafcells **buckets; size_t bucket_count, leaf_count;
	struct leafcells *spare;     /* free list */
	size_t spare_count;
	struct leafslab *slabs;
	struct leafcells *last;      /* found last */
	uint64_t leaf_memory;
	uint32_t bits;               /* log2 cells a leaf */
	uint64_t tally;              /* of a walk over leaves */

	struct cow_finding findings[FINDINGS_ROOM];
	size_t finding_count;
	unsigned kept;               /* words that have a finding */
};

enum { CONTENTS_SHIFT = 12, MAPS_SHIFT = 14, CELLS_SHIFT = 8, RECORDS_SHIFT = 8, SLOTS_SHIFT = 11 };

static inline struct content *content_of(const struct cow_audit *audit, uint32_t frame)
{
	return POOL_AT(&audit->contents, frame, struct content, CONTENTS_SHIFT);
}

static inline uint32_t *maps_of(const struct cow_audit *audit, uint32_t frame)
{
	return POOL_AT(&audit->maps, frame, uint32_t, MAPS_SHIFT);
}

static inline uint32_t *holds_of(const struct cow_audit *audit, uint32_t frame)
{
	return POOL_AT(&audit->holds, frame, uint32_t, MAPS_SHIFT);
}

/* First record of a reference to a frame, 0: none.  Most audits see none at all, and then the array is
 * not touched; nor is that of slots. */
static inline uint32_t held_by(const struct cow_audit *audit, uint32_t frame)
{
	return audit->records.live ? *holds_of(audit, frame) : 0;
}

/* True if a slot was ever used: else no frame has ever been in the swap cache. */
static inline bool ever_swapped(const struct cow_audit *audit)
{
	return audit->machine->pools[POOL_SLOT].used > 1;
}

static inline uint32_t *cached_of(const struct cow_audit *audit, uint32_t frame)
{
	return POOL_AT(&audit->cached, frame, uint32_t, MAPS_SHIFT);
}

/* The slot of a frame while it is in the swap cache, else 0. */
static inline uint32_t cached_slot(const struct cow_audit *audit, uint32_t frame)
{
	return ever_swapped(audit) ? *cached_of(audit, frame) : 0;
}

static inline void slot_clear(const struct cow_audit *audit, uint32_t frame)
{
	if (ever_swapped(audit))
		*cached_of(audit, frame) = 0;
}

static inline struct slot_truth *slot_truth(const struct cow_audit *audit, uint32_t slot)
{
	return POOL_AT(&audit->slots, slot, struct slot_truth, SLOTS_SHIFT);
}

static inline struct shared_cell *shared_at(const struct cow_audit *audit, uint32_t index)
{
	return POOL_AT(&audit->cells, index, struct shared_cell, CELLS_SHIFT);
}

static inline struct record *record_at(const struct cow_audit *audit, uint32_t index)
{
	return POOL_AT(&audit->records, index, struct record, RECORDS_SHIFT);
}

enum { ROW = 16 }; /* entries that are looked at at once */

/* True if ROW entries look alike and their frames are neighbours, rising or falling, as those of frames
 * taken in a row mostly are; *low is the lowest frame then. */
static inline bool entries_row(const uint64_t *entries, uint32_t *low)
{
	const uint64_t first = entries[0], step = entries[1] - first;
	const bool rising = step == UINT64_C(1) << 32;
	uint64_t differs = 0;

	*low = cow_entry_frame(first) - (rising ? 0 : ROW - 1);
	if ((!rising && step != UINT64_MAX << 32) || (*low ^ (*low + ROW - 1)) >> CONTENTS_SHIFT ||
	    cow_entry_swapped(first))
		return false;
	for (uint32_t i = 0; i < ROW; i++)
		differs |= entries[i] ^ (first + i * step);
	return !differs;
}

/* Spaces: a process by its number, shared memory by its number beside a bit. */
#define SPACE_OBJECT (UINT64_C(1) << 32)

static inline uint64_t space_of(uint32_t process, uint32_t object)
{
	return object ? SPACE_OBJECT | object : process;
}

/* What an audit has room for at first. */
struct audit_room {
	uint32_t frames, slots, records, processes, buckets;
};
/* cow_audit_attach where the caller says so; `buckets` is a power of two. */
int audit_attach(cow_machine *machine, const struct audit_room *room, cow_audit **out);

/* ---- shadow.c ---- */

struct leafcells *leaf_lookup_hash(struct cow_audit *audit, uint64_t space, uint64_t group);

static inline struct leafcells *leaf_lookup(struct cow_audit *audit, uint64_t space,
					    uint64_t group)
{
	struct leafcells *leaf = audit->last;

	return leaf && leaf->space == space && leaf->group == group
		       ? leaf
		       : leaf_lookup_hash(audit, space, group);
}

/* Writes down all stamps of a leaf. */
void leaf_spread(const struct cow_audit *audit, struct leafcells *leaf);

/* True if all of them are. */
static inline bool leaf_is_spread(const struct leafcells *leaf)
{
	return !(leaf->front_pages | leaf->rest);
}

/* The cell of a page in its leaf, for reading and writing. */
static inline uint64_t *leaf_cell(const struct cow_audit *audit, struct leafcells *leaf, uint64_t page)
{
	if (!leaf_is_spread(leaf))
		leaf_spread(audit, leaf);
	return &leaf->cells[page & ((UINT64_C(1) << audit->bits) - 1)];
}

/* Pages of a leaf without shared cells were written one after the other, the first by `stamp`. */
void leaf_written(const struct cow_audit *audit, struct leafcells *leaf, uint64_t page, uint32_t pages,
		  uint64_t stamp);

/* The cell of a page; NULL: never written, so a page of zeroes.  audit->last is its leaf then. */
static inline uint64_t *cell_find(struct cow_audit *audit, uint64_t space, uint64_t page)
{
	struct leafcells *leaf = leaf_lookup(audit, space, page >> audit->bits);

	return leaf ? leaf_cell(audit, leaf, page) : NULL;
}

/* The leaf of a page, made from the reserve if it is not there. */
struct leafcells *cells_make(struct cow_audit *audit, uint64_t space, uint64_t page);
/* Its cell there. */
uint64_t *cell_make(struct cow_audit *audit, uint64_t space, uint64_t page);
/* Leaves that cell_make may have to make for `pages` pages of a space. */
size_t cells_missing(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages);
/* The first hash table of leaves.  Returns 0 or -ENOMEM. */
int buckets_make(struct cow_audit *audit, uint32_t count);
/* Reserves them; once a call, as a reserve is not added to.  Returns 0 or -ENOMEM. */
int leaves_reserve(struct cow_audit *audit, size_t leaves);
/* How many leaves a space has, and room for as many again. */
int cells_reserve_copy(struct cow_audit *audit, uint64_t space);
/* fork: pages of one process also become those of another. */
void cells_inherit(struct cow_audit *audit, uint32_t from, uint32_t to, uint64_t page,
		   uint64_t pages);
/* madvise free: the pages may read as 0 from now on. */
void cells_free(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages);
/* The pages are given up. */
void cells_drop(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages);
/* mremap */
void cells_move(struct cow_audit *audit, uint64_t space, uint64_t from, uint64_t to,
		uint64_t pages);
/* Reserves the leaves that cells_move may take. */
int cells_reserve_move(struct cow_audit *audit, uint64_t space, uint64_t from, uint64_t pages);
/* True if a FOLL_PIN reference was taken of one of the pages and still is. */
bool cells_pinned(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages);
void cells_fini(struct cow_audit *audit);

/* ---- changes.c ---- */

static inline uint64_t page_of(const struct cow_audit *audit, uint64_t addr)
{
	return addr >> audit->machine->state.page_shift;
}

/* The observer's callback: ctx is the audit. */
void audit_change(void *ctx, const struct cow_change *change);

/* ---- runs.c ---- */

/* The callbacks of struct run_observer: the same as audit_change of each page, and as `before`. */
void audit_run(void *ctx, const struct page_run *run);
void *audit_ready(void *ctx, uint32_t process, uint64_t page);
void audit_one(void *ctx, void *ready, enum cow_outcome outcome, uint64_t entry, uint64_t before,
	       uint64_t value);

/* ---- refs.c ---- */

int refs_reserve(struct cow_audit *audit, uint32_t slot, uint64_t pages);
void ref_get(struct cow_audit *audit, const struct cow_change *change, uint64_t space,
	     uint64_t page);
void ref_put(struct cow_audit *audit, const struct cow_change *change);
/* A shared cell lost its page. */
void shared_detach(struct cow_audit *audit, uint64_t *cell);
/* The page of a process is no longer in `frame`, nor is its content: the references that it took there
 * are stale. */
void frame_parted(struct cow_audit *audit, uint32_t process, uint64_t page, uint32_t frame,
		  uint32_t now);
/* A page that references were taken of is now in `frame`: those elsewhere are stale. */
void shared_mapped(struct cow_audit *audit, uint32_t cell, uint32_t process, uint64_t addr,
		   uint32_t frame);

/* ---- judge.c ---- */

/* A CPU of the process, or the reference (record, 0: none), has read `value` from the frame where it
 * should have found what `expected` wrote. */
void judge_read(struct cow_audit *audit, uint32_t process, uint64_t addr, uint64_t expected,
		uint32_t frame, uint64_t value, uint32_t record);
/* True if nobody but this page, and references taken of it, can reach the frame. */
bool judge_sole(struct cow_audit *audit, uint32_t frame, uint64_t space, uint64_t page);
/* True if a FOLL_PIN reference holds the frame. */
bool judge_pinned(const struct cow_audit *audit, uint32_t frame);
/* Keeps a finding; verdict 0 is a warning. */
void finding_add(struct cow_audit *audit, unsigned verdict, uint32_t process, uint32_t writer,
		 uint64_t addr, const char *sentence);

#endif
