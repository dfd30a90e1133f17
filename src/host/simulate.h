/* SPDX-License-Identifier: MIT
 *
 * A run of the simulator that somebody else steps.  Never asserts; has an audit only for a policy
 * that asks it.
 */
#ifndef COWLAB_HOST_SIMULATE_H
#define COWLAB_HOST_SIMULATE_H

#include "engine/engine.h"
#include "kernel/looks.h"

struct simulation {
	struct engine engine;
	struct cow_run_options options;
};

/* Returns 0 or a negative errno; to be ended either way. */
int simulation_begin(struct simulation *simulation, const cow_scenario *scenario,
		     const struct cow_policy *policy, const struct cow_allocator *allocator);
void simulation_end(struct simulation *simulation);
/* Why the simulator could not begin where the kernel may; NULL: it could.  Borrowed. */
const char *simulation_refused(const struct simulation *simulation);
/* False if the process does not live, or is COW_NONE. */
bool simulation_look(struct simulation *simulation, uint32_t process, uint32_t region,
		     uint64_t page, struct cow_page *out);
/* The same of many pages of a process, in ascending order, while nothing changes; all but their
 * `pincount`.  False if the process does not live. */
bool simulation_looks(struct simulation *simulation, uint32_t process, struct page_looks *looks);
void simulation_look_next(struct simulation *simulation, struct page_looks *looks, uint32_t region,
			  uint64_t page, struct cow_page *out);

#endif
