/* SPDX-License-Identifier: MIT
 *
 * Moves that sleep: a state need not do them, since what they lead to and earn is known from a
 * state before it.  Owns what is known of the moves of one state, the parent.  Never decides what
 * a state is, nor how many transitions there are: a move that sleeps counts.  sleep.c says why
 * nothing is lost.
 */
#ifndef COWLAB_EXPLORE_SLEEP_H
#define COWLAB_EXPLORE_SLEEP_H

#include "explore/moves.h"

enum { MOST_LOOKED = 64 }; /* moves of a state that may make others sleep: the first ones */

/* What a move has to do with. */
struct marks {
	/* Of processes and references, see sleep.c; and counts and flags of frames, each with a
	 * bit in the order in which they are met.  Adds: changes that do not mind the order. */
	struct { uint64_t looks, adds, writes; } own, counts;
	struct { uint64_t looks, writes; } holds; /* contents of frames */
};

/* The moves of a state. */
struct look {
	bool is;
	uint32_t state;
	uint32_t count;
	uint32_t alone;   /* set of processes whose frames nobody else has, and that own no reference */
	uint32_t refless; /* set of processes that own none */
	uint16_t keys[MOST_LOOKED]; /* the moves, ascending */
	struct marks marks[MOST_LOOKED];
};

/* A state whose moves are asked for, in their order, whether they sleep. */
struct nap {
	const struct look *from;
	const struct rules *rules;
	struct move did;   /* what has led from there */
	struct seen seen;  /* and what it came to */
	bool any;
	uint64_t asleep;   /* moves of `from`, by place */
	uint32_t at;       /* how far the list of `from` has been gone through */
};

/* True if moves may sleep in a search. */
bool sleep_possible(const struct rules *rules);
/* Looks at the state that the world is in. */
void look_at(struct look *look, const struct world *world, uint32_t state);
/* `known`: the moves of `from`, by place, that led to states from before its first child. */
void nap_begin(struct nap *nap, const struct look *from, const struct rules *rules,
	       uint64_t known, struct move did, const struct seen *seen);
/* True if the move sleeps; it comes behind those that were asked for before it. */
bool nap_has(struct nap *nap, struct move move);

#endif
