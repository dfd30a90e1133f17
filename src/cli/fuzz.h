/* SPDX-License-Identifier: MIT
 *
 * What cowlab fuzz searches, and what it found.  fuzz.c searches, fuzz_write.c writes.
 */
#ifndef COWLAB_CLI_FUZZ_H
#define COWLAB_CLI_FUZZ_H

#include "cli/cli.h"

/* Who a scenario is shown to: the simulator under a policy, or a kernel. */
struct fuzz_referee {
	const char *name;
	cow_compare_fn *compare;
	void *ctx;
	const struct cow_policy *policy; /* the simulator's, for the scenario that is saved */
};

/* One sort of difference: the first scenario that had it, and how often it came. */
struct fuzz_found {
	enum cow_profile profile;
	uint64_t seed, times;
	size_t referee;
	struct cow_difference first; /* of the shrunk scenario */
	size_t events;               /* of it */
	char *text;                  /* it, as it is saved */
	char path[512];              /* of the file; "": not saved */
};

struct fuzz_profile {
	bool wanted;
	uint64_t scenarios, events, differences;
};

enum { FUZZ_FOUND = 64 /* sorts of differences that are kept */ };

struct fuzz {
	uint64_t seed, count, seconds; /* count 0: no bound */
	const char *shrink_to;         /* NULL: print them */
	cow_policies *policies;
	struct fuzz_referee *referees;
	size_t referee_count;
	struct fuzz_profile profiles[COW_PROFILE_COUNT];
	uint64_t scenarios, events, compared, skipped, unstable, differences;
	bool out_of_time;
	struct fuzz_found found[FUZZ_FOUND];
	size_t found_count;
};

/* fuzz_write.c.  Returns 0 or a negative errno. */
int fuzz_write(const struct fuzz *fuzz, enum cow_format format);

#endif
