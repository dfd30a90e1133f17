/* SPDX-License-Identifier: MIT
 *
 * What the files of the simulator's side share: a machine with one process, and the proof that an
 * operation came to what it should.
 * Next: simulator.c, then swap.c, ksm.c and huge.c.
 */
#ifndef COWLAB_BENCH_SIMULATOR_H
#define COWLAB_BENCH_SIMULATOR_H

#include "bench.h"

#define REGION UINT64_C(0x100000000)

/* One machine, and how it is driven. */
struct run {
	cow_machine *machine;
	cow_audit *audit;          /* NULL: off */
	cow_mm parent;
	uint64_t pages, page_size; /* of the region */
	bool call;                 /* a call for each page, not one for all */
};

/* All of simulator.c. */
/* What is 0 in the configuration is the default.  @return 0 or a negative errno */
int run_start(struct run *run, const struct cow_policy *policy, struct cow_config *config,
	      bool audit);
/* Why the last call failed. */
const char *run_sentence(const struct run *run, int error);
void run_stop(struct run *run);
/* Sets the sample to be skipped unless `counted` pages came to `wanted`. */
bool outcome_holds(struct sample *out, enum cow_outcome wanted, uint64_t counted, uint64_t pages,
		   enum cow_outcome last);
/* The same; if it holds, the sample is the time a unit. */
void outcome_sample(struct sample *out, double ns, uint64_t units, enum cow_outcome wanted,
		    uint64_t pages, const struct cow_result *result);

#endif
