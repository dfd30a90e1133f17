/* SPDX-License-Identifier: MIT
 *
 * What cowlab fuzz searches, and what it found.  fuzz.c searches, fuzz_keep.c shrinks and saves,
 * fuzz_host.c asks the running kernel, fuzz_jobs.c asks it several at a time, fuzz_without.c knows
 * what can be left out, fuzz_write.c writes.
 */
#ifndef COWLAB_CLI_FUZZ_H
#define COWLAB_CLI_FUZZ_H

#include "cli/cli.h"

/* A scenario on its way, and what came of it. */
struct fuzz_one {
	enum cow_profile profile;
	uint64_t seed;
	cow_scenario *scenario;
	int made, error;   /* of its making, and of comparing it: 0 or a negative errno */
	bool compared;     /* beside others; a difference is still to be confirmed */
	/* of fuzz_jobs.c */
	bool ready, taken; /* made, and to be compared beside others; done, or about to be */
	enum cow_company company;
	unsigned sizes;    /* of huge pages; 0: none */
	struct cow_difference difference;
};

/* Who a scenario is shown to: the simulator under a policy, or a kernel. */
struct fuzz_referee {
	const char *name;
	cow_compare_fn *compare;
	void *ctx;
	const struct cow_policy *policy; /* the simulator's, for the scenario that is saved */
	/* NULL but for a kernel: shrinking begins, or ends; the scenario with what it came to */
	void (*shrinking)(void *ctx, bool begins);
	int (*observe)(void *ctx, const cow_scenario *scenario, cow_sink_fn *sink, void *to);
	unsigned flags; /* COW_GENERATE_*: what it can be asked */
	/* NULL but for a kernel that is asked several at a time.  Makes and compares the scenarios,
	 * in order, until a time in milliseconds, 0: none; returns how many were begun. */
	size_t (*several)(void *ctx, struct fuzz_one *ones, size_t count, uint64_t until);
	/* of one that was: compares it if it was not, and makes sure of a difference */
	int (*confirm)(void *ctx, struct fuzz_one *one);
};

/* One sort of difference: the first scenario that had it, and how often it came. */
struct fuzz_found {
	enum cow_profile profile;
	uint64_t seed, times;
	size_t referee;
	struct cow_difference first; /* of the shrunk scenario; not shrunk if it is unstable */
	size_t events;               /* of it */
	char *text;                  /* it, as it is saved */
	char path[512];              /* of the file; "": not saved */
};

struct fuzz_profile {
	bool wanted;
	uint64_t scenarios, events, differences, skipped, unstable, known;
};

enum { FUZZ_FOUND = 64 /* sorts of differences that are kept */, FUZZ_NAMES = 32 };

/* Differences that the documents name, or reasons why a scenario is skipped; how often each came. */
struct fuzz_names {
	struct fuzz_name {
		char name[sizeof(((struct cow_difference *)0)->kind)];
		uint64_t times;
	} at[FUZZ_NAMES];
	size_t count;
};

struct fuzz {
	uint64_t seed, count, seconds; /* count 0: no bound */
	uint64_t jobs;                 /* at a time, beside a kernel; 0: as many as there are CPUs */
	const char *shrink_to;         /* NULL: print them */
	const char *without_text;      /* of --without; NULL: nothing */
	unsigned without;              /* COW_GENERATE_* that it means, and */
	unsigned flags;                /* with those that the referee wants */
	cow_policies *policies;
	struct fuzz_referee *referees;
	size_t referee_count;
	struct fuzz_profile profiles[COW_PROFILE_COUNT];
	uint64_t scenarios, events, compared, skipped, unstable, known, differences;
	bool out_of_time;
	struct fuzz_found found[FUZZ_FOUND];
	size_t found_count;
	struct fuzz_names names, reasons;
};

/*
 * fuzz_without.c: the words of --without.  asked: the profiles were named, so that none may go.
 */
enum cli_exit fuzz_leave_out(struct fuzz *fuzz, const char *list, bool asked);

/*
 * fuzz_keep.c: notes a difference, or what is not the same every time.  The first of its sort is
 * shrunk, and saved if it is to be.
 */
enum cli_exit fuzz_keep(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed, size_t referee,
			const struct cow_difference *difference, const cow_scenario *scenario);
/* Counts a name. */
void fuzz_keep_name(struct fuzz_names *names, const char *name);

#ifdef COWLAB_HOST
/* fuzz_host.c.  policy NULL: that of the running kernel; without: COW_GENERATE_* beside what it
 * lacks.  What went wrong has been printed. */
struct fuzz_host;
enum cli_exit fuzz_host_open(const char *policy, uint64_t jobs, unsigned without,
			     struct fuzz_host **out, struct fuzz_referee *referee);
void fuzz_host_close(struct fuzz_host *host);

/* fuzz_jobs.c: threads, each with a lane of a session of its own; the caller is the first. */
struct fuzz_jobs;
/* `jobs` 0: as many as there are CPUs; one: NULL is what comes out.  0 or a negative errno. */
int fuzz_jobs_start(const struct cow_host_options *options, cow_host *first, uint64_t jobs,
		    const struct cow_policy *policy, unsigned flags, struct fuzz_jobs **out);
size_t fuzz_jobs_do(struct fuzz_jobs *jobs, struct fuzz_one *ones, size_t count, uint64_t until);
void fuzz_jobs_end(struct fuzz_jobs *jobs);
#endif

/* fuzz.c: of a clock that only goes on. */
uint64_t fuzz_milliseconds(void);

/* fuzz_write.c.  Returns 0 or a negative errno. */
int fuzz_write(const struct fuzz *fuzz, enum cow_format format);

#endif
