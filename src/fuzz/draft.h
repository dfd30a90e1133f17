/* SPDX-License-Identifier: MIT
 *
 * A scenario that is being made or taken apart: the events of one, with no assertions, in arrays
 * that may be changed.  What it stands for is printed and parsed: it is a valid scenario, or none.
 * Owns copies of what can change; names are borrowed from the scenario that it came from.
 * Never runs anything.  generate.c makes scenarios, shrink.c and simplify.c take them apart,
 * observe.c writes down what one came to, compare.c tests one in the simulator.
 */
#ifndef COWLAB_FUZZ_DRAFT_H
#define COWLAB_FUZZ_DRAFT_H

#include "event/scenario.h"
#include "base/alloc.h"

#include <errno.h>

struct draft {
	struct cow_allocator allocator;
	struct cow_scenario scenario; /* its arrays are the draft's, but for most names */
	uint32_t rooms[5];            /* elements of the arrays that are freed: see draft.c */
};

/* Bytes in memory, as a sink. */
struct text {
	struct cow_allocator allocator;
	char *bytes;
	size_t size, room;
};

int text_sink(void *ctx, const void *bytes, size_t size);
void text_free(struct text *text);

/* Prints a scenario and parses what was printed.  0, -ENOMEM, or -EINVAL: it does not parse. */
int scenario_again(const struct cow_scenario *scenario, const struct cow_allocator *allocator,
		   cow_scenario **out);

/* The events of a scenario.  0 or -ENOMEM. */
int draft_open(struct draft *draft, const struct cow_scenario *from,
	       const struct cow_allocator *allocator);
void draft_close(struct draft *draft);

/* Takes statements out, and with them all that needs what they define. */
void draft_drop(struct draft *draft, uint32_t first, uint32_t count);
/* Takes out what needs what is no longer defined, and names in the header that nobody uses. */
void draft_sweep(struct draft *draft);

/* ---- simplify.c ---- */

/*
 * Makes a draft simpler in one way; `step` counts the ways, from 0.  Returns 0: done; 1: that way
 * changes nothing here; -1: there are no more ways.
 */
int draft_simplify(struct draft *draft, uint32_t step);

#endif
