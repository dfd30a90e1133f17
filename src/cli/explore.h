/* SPDX-License-Identifier: MIT
 *
 * What cowlab explore is asked, and what it answers.  explore.c reads the options, explore_jobs.c
 * searches, explore_files.c has checkpoints, graphs and progress; explore_write.c and
 * explore_table.c print.
 */
#ifndef COWLAB_CLI_EXPLORE_H
#define COWLAB_CLI_EXPLORE_H

#include "cli/cli.h"

/* What was found for one word; copied, as a search holds all its states. */
struct explore_word {
	uint32_t length; /* events; 0: nothing was found */
	char *line;      /* them, in one line */
	char *text;      /* the scenario */
};

/* The answer of one search. */
struct explore_answer {
	const char *policy;
	bool is;         /* it has been searched */
	struct cow_explore_totals totals;
	struct explore_word words[COW_FIND_COUNT];
};

struct explore {
	struct cow_explore_options options;
	cow_policies *policies;
	const char *other;      /* of --differ: the second policy; NULL */
	const char *events;     /* as given */
	const char *checkpoint, *dot; /* files; NULL: not wanted */
	unsigned asked;         /* set of what is to be found, or to be proved absent */
	bool table;
	struct explore_answer *answers;
	size_t count;
};

/* explore.c */

/* Copies what is printed.  Returns 0 or a negative errno. */
int explore_keep(const struct explore *explore, struct explore_answer *answer,
		 const cow_exploration *exploration);
enum cli_exit explore_judged(const struct explore *explore, const struct explore_answer *answer);

/* explore_jobs.c */

/* Searches under every policy. */
enum cli_exit explore_search(struct explore *explore);

/* explore_files.c */

/* Called by the library; ctx is a struct explore_progress.  Not 0 after Ctrl-C. */
int explore_progress(void *ctx, const struct cow_explore_progress *progress);

struct explore_progress {
	const char *policy;
	uint64_t begun, told;   /* milliseconds */
	uint64_t expanded;      /* when it began */
	bool shown;             /* there is a line to wipe away */
};

/* From here on Ctrl-C ends a search, a second one the program. */
void explore_catch_interrupts(void);
bool explore_interrupted(void);
/* Wipes the line of progress away. */
void explore_progress_end(struct explore_progress *progress);

/* The checkpoint as a source; *in is NULL if there is no such file. */
enum cli_exit explore_open(const char *path, FILE **in);
long explore_source(void *ctx, void *bytes, size_t size);
/* Writes the checkpoint beside its place first, or removes it where nothing is left to be done. */
enum cli_exit explore_save(const char *path, const cow_exploration *exploration);
enum cli_exit explore_dot(const char *path, const cow_exploration *exploration);

/* explore_write.c and explore_table.c.  They return 0 or a negative errno. */
int explore_write(const struct explore *explore, enum cow_format format);
void explore_write_table(const struct explore *explore);
/* "none", or "none within depth N" where the search did not end by itself. */
void explore_absent(const struct explore_answer *answer, char *out, size_t size);

#endif
