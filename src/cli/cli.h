/* SPDX-License-Identifier: MIT
 *
 * What the verbs of the program share.  The program sees the public interface of the library only.
 * It alone prints, and it alone ends the process.  Read main.c next, then one file a verb.
 */
#ifndef COWLAB_CLI_CLI_H
#define COWLAB_CLI_CLI_H

#include <cowlab.h>
#include <stdio.h>

/* Of several that apply, the one that is first in cli_worst() counts. */
enum cli_exit {
	CLI_HELD = 0,   /* every assertion held */
	CLI_USAGE = 1,  /* unknown verb, option or policy */
	CLI_PARSE = 2,  /* a file did not parse */
	CLI_SYSTEM = 3, /* the system would not let it, or it is not modelled yet */
	CLI_BOUND = 5,  /* a bound was reached with no answer */
	CLI_FAILED = 10, /* an assertion did not hold */
	CLI_FAULT = 6,  /* a fault of the program itself */
};

enum cli_exit cli_worst(enum cli_exit a, enum cli_exit b);

/* Options, as a set that a verb takes. */
enum {
	CLI_POLICY = 1,
	CLI_FORMAT = 2,
	CLI_EXPLAIN = 4,
	CLI_GEOMETRY = 8,
	CLI_NO_AUDIT = 16,
	CLI_CHECK = 32,
	CLI_PRINT = 64,
	CLI_COMPARE = 128,
	CLI_FACTS = 256,
	CLI_SEED = 1 << 16,
	CLI_COUNT = 1 << 17,
	CLI_SECONDS = 1 << 18,
	CLI_PROFILE = 1 << 19,
	CLI_SHRINK_TO = 1 << 20,
	CLI_TOTALS = 1 << 21,
	CLI_JOBS = 1 << 22,
	CLI_WITHOUT = 1 << 23,
	CLI_HOST = 1 << 26,
	CLI_EXPLORE = 1 << 27, /* all of CLI_EXPLORE_OPTIONS */
};

/* Options of explore alone: id, option, what it takes (NULL: nothing). */
#define CLI_EXPLORE_OPTIONS(X)                      \
	X(PROCESSES, "--processes", "N")            \
	X(PAGES, "--pages", "N")                    \
	X(REFS, "--refs", "N")                      \
	X(FRAMES, "--frames", "N")                  \
	X(EVENTS, "--events", "LIST")               \
	X(DEPTH, "--depth", "N")                    \
	X(FIND, "--find", "WORDS")                  \
	X(EXACT, "--exact", NULL)                   \
	X(NO_SYMMETRY, "--no-symmetry", NULL)       \
	X(THREADS, "--threads", "N")                \
	X(MEMORY, "--memory", "BYTES")              \
	X(CHECKPOINT, "--checkpoint", "FILE")       \
	X(DOT, "--dot", "FILE")                     \
	X(TABLE, "--table", NULL)                   \
	X(DIFFER, "--differ", "two policies")

enum cli_explore_option {
#define X(id, name, value) CLI_EXPLORE_##id,
	CLI_EXPLORE_OPTIONS(X)
#undef X
	CLI_EXPLORE_COUNT
};

struct cli_arguments {
	const char *policy;                  /* LIST; NULL: not given */
	enum cow_format format;
	const struct cow_geometry *geometry; /* NULL: the default */
	const char *print;                   /* CASE; NULL: not given */
	bool explain, no_audit, check, compare, facts, totals, host, help;
	/* of fuzz; NULL: not given */
	const char *seed, *count, *seconds, *profile, *shrink_to, *jobs, *without;
	const char *explore[CLI_EXPLORE_COUNT]; /* NULL: not given; "": given, and takes nothing */
	char **operands;                     /* in the place of argv */
	int operand_count;
};

struct cli_verb {
	const char *name;
	enum cli_exit (*run)(const struct cli_arguments *arguments);
	unsigned options;   /* CLI_* */
	int least, most;    /* operands; -1: any number */
	const char *operand; /* what they are called */
	const char *help;
};

/* args.c: sorts argv into options and operands; prints what is wrong and returns CLI_USAGE. */
enum cli_exit cli_parse(const struct cli_verb *verb, int argc, char **argv,
			struct cli_arguments *out);
/* "unknown WHAT 'WORD'", with the nearest of the words, which end in NULL. */
void cli_unknown(const char *what, const char *word, const char *const *words);

/* print.c .. run.c: the verbs */
enum cli_exit cli_run(const struct cli_arguments *arguments);
enum cli_exit cli_matrix(const struct cli_arguments *arguments);
enum cli_exit cli_print(const struct cli_arguments *arguments);
enum cli_exit cli_policies(const struct cli_arguments *arguments);
enum cli_exit cli_selftest(const struct cli_arguments *arguments);
enum cli_exit cli_fuzz(const struct cli_arguments *arguments);
enum cli_exit cli_host(const struct cli_arguments *arguments);
enum cli_exit cli_referee(const struct cli_arguments *arguments);
enum cli_exit cli_explore(const struct cli_arguments *arguments);

/* Runs of every file under every policy. */
struct cli_batch {
	cow_policies *policies;
	cow_scenario **scenarios;
	size_t scenario_count;
	cow_report **reports;
	size_t report_count, report_capacity;
};

/*
 * batch.c: loads and runs.  What went wrong has been printed; the reports that there are can be
 * written whatever is returned, but for CLI_USAGE.  skip: without --policy, also report the
 * policies that a file does not speak of.
 */
enum cli_exit cli_batch_run(struct cli_batch *batch, const struct cli_arguments *arguments,
			    bool skip);
void cli_batch_free(struct cli_batch *batch);

/* "cowlab: ..." on standard error; control bytes are escaped. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Text with control bytes as \xNN, tabs kept or escaped too.  Returns the columns it took. */
size_t cli_escape(FILE *to, const char *text, size_t length, bool tabs);
/* Loads a file; prints why not.  *out is NULL then. */
enum cli_exit cli_load(const char *path, cow_scenario **out);
enum cli_exit cli_parse_policies(const char *list, cow_policies **out);

/* A sink to standard output. */
int cli_sink(void *ctx, const void *bytes, size_t size);
/* Says that a result could not be written, if so: error is 0 or a negative errno. */
enum cli_exit cli_written(int error);

extern const struct cli_verb cli_verbs[]; /* the last has no name */
extern const char cli_help[];

/* Prints a JSON string with its quotes. */
void json_text(const char *text);

#endif
