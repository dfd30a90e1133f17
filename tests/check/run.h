/* SPDX-License-Identifier: MIT
 *
 * Random runs: a machine under a policy with an audit, in a world whose steps a seed chooses.  Fails
 * the test that calls it where a machine cannot be made or is not empty in the end.
 */
#ifndef COWLAB_TESTS_RUN_H
#define COWLAB_TESTS_RUN_H

#include "../unit/world.h"

/* A machine, and where its steps come from. */
struct shape {
	const char *policy, *geometry;
	uint64_t frames, lru_batch, seed;
	bool any;           /* steps of any kind, and: */
	uint64_t swap, pool; /* slots and hugetlb pages */
};

/* A run: a machine under a policy with an audit, and steps from a seed. */
struct run {
	const struct shape *shape;
	cow_policies *list;
	cow_audit *audit;
	struct world world;
	struct rng rng;
	bool no_longterm;
};

/* Makes the machine, its audit and its world. */
void run_begin(struct run *run, const struct shape *shape);
/* Ends everything: nothing may be left but the zero page. */
void run_end(struct run *run);
/* The next step that can be done. */
void run_choose(struct run *run, struct step *step);
void run_step(struct run *run, struct step *step, struct said *said);

/* A machine where all that can run out does: frames, swap slots, and pages of the hugetlb pool;
 * which of them is the seed's to say. */
void shape_scarce(struct shape *shape, const char *policy, uint64_t seed);

/* The homes of the marker. */
extern const char *const homes[4];

#endif
