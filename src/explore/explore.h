/* SPDX-License-Identifier: MIT
 *
 * A search: levels of states, expanded batch by batch.  search.c is the loop, crew.c the threads,
 * found.c makes scenarios of paths, checkpoint.c writes and reads a search, explore.c is the
 * public face.  world.h, moves.h and form.h say what a state is.
 *
 * States are numbered in the order in which a single thread would find them: by the number of the
 * state that they were reached from, then by move.  A batch is a run of states in that order.  The
 * crew expands it in slices, against the table as it was before the batch; then one thread adds
 * what is new, slice by slice.  So no number depends on how many threads there are.
 */
#ifndef COWLAB_EXPLORE_EXPLORE_H
#define COWLAB_EXPLORE_EXPLORE_H

#include "explore/sleep.h"
#include "explore/states.h"

#include <pthread.h>

enum { SLICE = 32, SLICES = 64, MOST_DEPTH = 250 };

/* What a move led to, if that is not known yet; with `graph` every move. */
struct reached {
	struct hash128 hash;
	uint32_t parent;
	uint32_t known;   /* state, or NO_STATE */
	uint16_t move;
	uint16_t found;
	uint16_t place;   /* of the move among those of the parent */
	uint32_t text;    /* where its form begins, with exact */
};

/* The first of its kind. */
struct sighting {
	uint32_t parent;
	uint16_t move;
	uint16_t found;   /* all that it earns */
	bool is;
};

/* A way to it. */
struct way {
	uint32_t length;  /* 0: none is known */
	unsigned found;   /* all that the last move earns */
	uint16_t moves[MOST_DEPTH + 1];
};

/* What came of the states first to end-1. */
struct slice {
	uint32_t first, end;
	struct reached *reached; size_t room; uint32_t count;
	char *text; size_t text_room; size_t text_size;
	uint64_t transitions, tried;
	uint64_t known[SLICE]; /* by state: its moves that need not wait for what is added */
	struct sighting sightings[COW_FIND_COUNT];
};

struct edge {
	uint32_t from, to;
	uint16_t move;
	uint16_t found;
};

/* One thread's world, and the states on the path to where it is. */
struct worker {
	struct search *search;
	uint32_t index;
	struct world world;
	struct image images[MOST_DEPTH + 1];
	uint32_t path[MOST_DEPTH + 1];
	uint32_t depth;          /* images that are good, less one */
	uint32_t place;          /* of the move that is tried */
	bool open;
	struct look look;        /* of the state last expanded from */
	struct nap nap;          /* of the state that is expanded */
	struct form form;
	char text[5 * FORM_WORDS];
	struct move moves[MOST_MOVES];
	struct reached waiting[MOST_MOVES]; uint32_t waiting_count; /* to be looked up together */
	pthread_t thread;
	bool started;
};

/* Host memory, counted and one call at a time. */
struct meter {
	struct cow_allocator user;
	pthread_mutex_t lock;
	uint64_t held, peak;
};

struct search {
	struct rules rules;
	struct cow_explore_options options;
	struct meter meter;
	struct cow_allocator allocator; /* through the meter */
	struct states states;
	uint32_t level_first[MOST_DEPTH + 2]; /* first state of each level */
	uint32_t levels;       /* begun */
	uint32_t expanded;     /* states */
	uint64_t transitions;
	uint64_t tried;        /* of these, those whose move was done */
	bool awake;            /* no move may sleep, for tests */
	bool sleeps;           /* moves may; then of the last two levels: */
	struct known_moves {
		uint32_t first, count; /* states */
		uint64_t *moves; size_t room; /* of each, those that led to states from before its first
		                                 child */
	} known[2];
	struct way ways[COW_FIND_COUNT];
	unsigned found;
	unsigned settled;      /* of these, what was found in an earlier round: see search.c */
	struct edge *edges; size_t edge_room; uint64_t edge_count;

	struct worker **workers; uint32_t worker_count;
	struct slice slices[SLICES];
	uint32_t slice_count;

	/* The crew: under `lock`, but for `next`. */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	uint32_t threads;      /* that were started, beside the caller's */
	uint32_t allowed;      /* workers of this batch: the first ones */
	uint32_t round;        /* batches given out */
	uint32_t busy;         /* threads at work */
	uint32_t next;         /* slice that nobody has taken */
	int error;
	bool quit;
};

struct cow_exploration {
	struct search search;
	bool twin;             /* there are no states */
	struct cow_explore_totals totals;
	struct cow_counterexample counterexamples[COW_FIND_COUNT];
	char *lines[COW_FIND_COUNT]; size_t line_size[COW_FIND_COUNT];
	cow_scenario *scenarios[COW_FIND_COUNT];
};

/* ---- explore.c ---- */

/* cow_explore; `awake`: every move is done. */
int explore_with(const struct cow_explore_options *options, bool awake, struct cow_error *error,
		 cow_exploration **out);
/* An exploration that has not begun.  Returns 0 or -ENOMEM. */
int exploration_make(const struct cow_explore_options *options, const struct rules *rules,
		     cow_exploration **out);
/* Makes the counterexamples of what was found. */
int exploration_tell(cow_exploration *x);

/* ---- twin.c ---- */

/* Who of the policies beside might have the same search. */
uint32_t twins_possible(const struct rules *rules, const struct cow_explore_options *options);

/* ---- search.c ---- */

int search_run(struct search *search, enum cow_end *end);
int search_begin(struct search *search);
uint32_t search_depth(const struct search *search, uint32_t state);
/* Expands the states of a slice. */
int slice_expand(struct worker *worker, struct slice *slice);

/* ---- past.c ---- */

/* A level begins: room for what is known of its states.  Returns 0 or -ENOMEM. */
int past_begin(struct search *search);
/* The moves of a state of the level before that, by place, that led to states from before its first
 * child; none, if that has not been noted. */
uint64_t past_of(const struct search *search, uint32_t state);
/* A move of a state of the slice leads to a state that is there. */
void past_note(struct slice *slice, uint32_t state, uint32_t place);
/* Keeps what was noted in a slice; adds to it. */
void past_take(struct search *search, const struct slice *slice);
void past_add(struct search *search, uint32_t state, uint32_t place);
uint64_t past_bytes(const struct search *search);

/* ---- crew.c ---- */

int meter_init(struct meter *meter, const struct cow_allocator *user,
	       struct cow_allocator *allocator);
void meter_fini(struct meter *meter);
int crew_open(struct search *search);
/* Has the slices expanded.  Returns 0 or -ENOMEM. */
int crew_expand(struct search *search);
void crew_close(struct search *search);

/* ---- found.c ---- */

/* Makes the counterexample for one bit.  Returns 0, -ENOMEM, or -EUCLEAN: a run of it does not
 * come to the same, which is a fault of the program. */
int found_make(struct cow_exploration *x, unsigned bit);
/* A move in the words of a scenario, at the end of a path. */
int edge_words(const struct search *search, uint32_t from, uint16_t move, char *to, size_t size);

#endif
