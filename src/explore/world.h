/* SPDX-License-Identifier: MIT
 *
 * A world: a machine, its audit and what the names of a sequence stand for, in one arena, so that
 * to keep a state and to come back to it are a few copies of memory.  Owns the arena.  Events are
 * done by the engine, so that what a world does a scenario does.  Never decides what is tried;
 * read moves.h for that, and form.h for what two worlds have in common.
 */
#ifndef COWLAB_EXPLORE_WORLD_H
#define COWLAB_EXPLORE_WORLD_H

#include "explore/watch.h"

struct engine;
struct engine_needs;

enum {
	MOST_PROCESSES = 6,
	MOST_PAGES = 4,  /* of the region; huge pages, where there are any */
	MOST_REFS = 6,
	MOST_ROWS = 64,  /* kinds of events */
	MOST_PLACES = 1 + 2 * MOST_PAGES,
	MOST_SIDES = 2,  /* machines in lock-step */
	HUGE_PAGES = 4,  /* base pages of a huge page here */
	FRESH_VALUE = 0x10, /* the first of the values that are written once; kinds name lower ones */
};

/* What is the same for all states of a search. */
struct rules {
	const struct cow_policy *policy[MOST_SIDES];
	uint32_t sides;      /* 1, or 2: a search for a difference */
	uint32_t processes, pages, refs;
	uint64_t frames;     /* of a machine */
	bool frames_given;   /* by the caller: want of memory is an event too */
	uint64_t swap;       /* slots */
	struct cow_kind rows[MOST_ROWS];
	uint32_t row_count;
	bool huge;           /* some region may be of huge pages */
	bool moved;          /* regions move: there are two places for them */
	bool swapped;        /* pages may be in swap */
	bool ksm;            /* pages may be merged */
	bool frees;          /* madvise free: nobody else asks whether a page is dirty itself */
	bool names_count;    /* no renaming of processes and references */
	bool never_equal;    /* every sequence is a state */
	bool plain;          /* nothing tells the zero page from no page but an outcome */
	bool pairs;          /* of stamps it matters only who can see which */
	unsigned blind;      /* enum blind: what the policy has been seen to ignore so far */
	unsigned done;       /* verdict words whose shortest sequence is known */
	const struct cow_policy *const *beside; /* asked the same as the policy */
	uint32_t twins;      /* of these, who has not answered otherwise so far */
	uint32_t unit;       /* base pages of one page of the region: 1 or HUGE_PAGES */
	uint32_t home;       /* base pages from one home of a region to the other */
	struct cow_geometry geometry;
};

/* A part of the region, in base pages. */
struct place {
	uint32_t first, pages;
};

/* Memory of one world, given out from the front and never taken back. */
struct arena {
	char *base;
	size_t size, top;
};

/* What the names stand for.  Lies in the arena. */
struct bound {
	uint32_t alive;                /* set of processes */
	uint32_t held;                 /* set of references */
	uint8_t homes[MOST_PROCESSES]; /* of each region: 0 or 1 */
	uint8_t depth;                 /* events done */
};

struct side {
	struct arena arena;
	cow_machine *machine;
	cow_audit *audit;
	struct engine *engine; /* does the events; in the arena */
	struct engine_needs *needs; /* what it wants beside them; not in the arena */
	cow_mm *processes;     /* the engine's, by name */
	cow_ref *refs;
	struct bound *bound;
	struct { size_t first, end; } spans[4]; /* of the arena: the state; the last ends at its top */
};

struct world {
	const struct rules *rules;
	struct cow_allocator allocator; /* of the arenas */
	struct side sides[MOST_SIDES];
};

/* A state of a world, put aside. */
struct image {
	char *bytes;
	size_t room;
	size_t top[MOST_SIDES];
};

/* An event by its names: a row of the rules, the process, and a place, a reference or a target. */
struct move {
	uint8_t row, process, operand;
};

/* What an event came to, as far as a scenario can say it. */
struct seen {
	enum cow_outcome outcome;
	int error;        /* positive errno where that is COW_OUT_ERRNO */
	bool failed;
	bool has_value;
	bool uniform;     /* outcome and value are those of every page */
	uint64_t value;
};

/* What a move came to. */
struct outcome {
	struct seen seen[MOST_SIDES];
	unsigned verdict[MOST_SIDES]; /* COW_VERDICT bits of this event */
	unsigned found;  /* COW_FIND bits */
	bool same;       /* nothing has changed that could ever be noticed */
};

/* Places by operand: 0 the whole region, then its pages, then the first base page of each huge
 * page. */
struct place place_of(const struct rules *rules, uint32_t operand);
/* How many there are. */
uint32_t place_count(const struct rules *rules);

/* Makes a world at the beginning: one process, with nothing mapped.  Returns 0, -ENOMEM or
 * -EINVAL; what was made must be freed all the same. */
int world_open(struct world *world, const struct rules *rules,
	       const struct cow_allocator *allocator);
void world_close(struct world *world);

int image_save(const struct world *world, struct image *image);
void image_load(struct world *world, const struct image *image);
void image_free(const struct world *world, struct image *image);
/* The bits of rules.blind that some answer was seen to depend on. */
unsigned world_exposed(const struct world *world);
/* Who of rules.beside has answered as the policy did. */
uint32_t world_twins(const struct world *world);
/* Bytes of a state as it is. */
size_t world_bytes(const struct world *world);

/* The event that a move stands for now.  Names are those of the bindings, regions those of
 * homes. */
struct cow_event move_event(const struct world *world, struct move move);
/* Does it.  Returns 0 or -ENOMEM (of the host). */
int world_do(struct world *world, struct move move, struct outcome *out);

#endif
