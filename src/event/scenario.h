/* SPDX-License-Identifier: MIT
 *
 * A parsed scenario: what the parser makes, the printer prints and the engine runs.
 * Owns names, statements and assertions, all as arrays that refer to each other by index.
 * Never touches a machine.  Read parse.c next.
 */
#ifndef COWLAB_EVENT_SCENARIO_H
#define COWLAB_EVENT_SCENARIO_H

#include <cowlab.h>

/* Facts of `expect PROC PAGE FACT...`: id, word, operand (0 none, 'n' number, 'y' yes or no). */
#define SCENARIO_FACTS(X)                                                        \
	X(REFCOUNT, "refcount", 'n') X(MAPCOUNT, "mapcount", 'n')                    \
	X(PINCOUNT, "pincount", 'n') X(SWAPCOUNT, "swapcount", 'n')                  \
	X(EXCLUSIVE, "exclusive", 'y') X(WRITABLE, "writable", 'y')                  \
	X(DIRTY, "dirty", 'y') X(PRESENT, "present", 0) X(ABSENT, "absent", 0)       \
	X(UNMAPPED, "unmapped", 0) X(ZERO, "zero", 0) X(SWAPPED, "swapped", 0)       \
	X(KSM, "ksm", 0) X(HUGE, "huge", 0) X(UFFD_WP, "uffd-wp", 'y')               \
	X(VALUE, "value", 'n')

/* Names of `option NAME...`: id, word.  Each is a bit of scenario.options. */
#define SCENARIO_OPTIONS(X)                                                      \
	X(STABLE_WRITES, "stable-writes") X(KSM_ZERO_PAGES, "ksm-zero-pages")

enum scenario_option {
#define X(id, word) OPTION_##id,
	SCENARIO_OPTIONS(X)
#undef X
	OPTION_COUNT
};

enum scenario_fact_kind {
#define X(id, word, operand) FACT_##id,
	SCENARIO_FACTS(X)
#undef X
	FACT_COUNT
};

struct scenario_fact {
	enum scenario_fact_kind kind;
	uint64_t value; /* number; 0 or 1 for no or yes */
};

/* A name with where it was first defined; index = the number in cow_event. */
struct scenario_name {
	char *text;
	uint32_t line;
};

struct scenario_file {
	char *text;
	uint32_t line;
	bool huge; /* some mmap maps it with hugetlb, so it is of huge pages */
	uint64_t pages;
	uint64_t value;
};

/* What is asserted: the default (no patterns), or what an exception puts in its place. */
struct scenario_choice {
	uint32_t first_pattern, patterns; /* into scenario.patterns; none in the default */
	enum cow_outcome outcome;         /* of `-> OUTCOME` */
	int error;                        /* positive errno where outcome is COW_OUT_ERRNO */
	uint64_t value;                   /* of `== V`, `expect total`; same: 1, differ: 0 */
	uint32_t first_fact, facts;       /* into scenario.facts; of `expect PROC PAGE` */
	unsigned verdict;                 /* COW_VERDICT bits; 0: ok */
};

/* The default, then its exceptions in the order of the file; the first that matches is taken. */
struct scenario_assertion {
	uint32_t first_choice, choices; /* into scenario.choices; 0 choices: nothing is asserted */
};

enum scenario_kind {
	STATEMENT_EVENT,
	STATEMENT_EXPECT_PAGE,   /* expect PROC PAGE FACT... */
	STATEMENT_EXPECT_SAME,   /* expect same, expect differ: choice.value */
	STATEMENT_EXPECT_TOTAL,  /* expect total COUNTER N */
	STATEMENT_VERDICT,       /* verdict WORD...; the last one */
};

struct scenario_statement {
	enum scenario_kind kind;
	uint32_t line;                     /* from 1 */
	struct cow_event event;            /* of expect: process, region, first (the page) */
	uint32_t process2, region2;        /* of same and differ: the second place */
	uint64_t first2;
	enum cow_counter counter;          /* of total */
	struct scenario_assertion outcome; /* `-> OUTCOME` */
	struct scenario_assertion value;   /* `== V` */
	struct scenario_assertion fact;    /* expect and verdict */
	uint32_t partner;                  /* repeat: statement of its end; end: of its repeat */
	uint32_t text;                     /* offset into scenario.text of the line as written,
					      without comment and outer blanks */
};

/* A region and those put behind it, directly or not, share a piece of address space: its head's. */
struct scenario_region {
	uint64_t pages;       /* extent */
	uint32_t head;        /* the region that it lies behind; itself: none */
	uint32_t source;      /* the region that it was moved from; COW_NONE: none */
	uint64_t offset;      /* first page, counted from the head's */
	uint64_t span;        /* of a head: pages up to the end of the last one behind it */
	uint64_t source_page; /* page of the source that is its first */
};

enum {
	SCENARIO_DIAGNOSTICS = 20, /* that are kept */
	SCENARIO_LINE_BYTES = 200, /* of the line that is kept with each */
};

/* The arrays that grow; each has its room in cow_scenario.room. */
#define SCENARIO_ARRAYS(X)                                                       \
	X(processes) X(regions) X(refs) X(files) X(region_info) X(wanted) X(patterns)\
	X(facts) X(choices) X(statements) X(events) X(text)

enum scenario_array {
#define X(field) SCENARIO_ARRAY_##field,
	SCENARIO_ARRAYS(X)
#undef X
	SCENARIO_ARRAY_COUNT
};

struct cow_scenario {
	struct cow_allocator allocator;
	char *name;
	char *title;          /* never NULL */
	bool has_title;
	uint64_t frames, swap, hugetlb, lru_batch; /* with defaults filled in */
	unsigned given;       /* by the file: bit 0 frames, 1 swap, 2 hugetlb, 3 lru-batch */
	unsigned options;     /* of the machine: 1 << enum scenario_option */
	uint32_t started;     /* processes that exist at the start: names 0 to started-1 */

	/* Every definition is an entry of its own: a name that is free again gets a new number. */
	struct scenario_name *processes; uint32_t process_count;
	struct scenario_name *regions;   uint32_t region_count;
	struct scenario_name *refs;      uint32_t ref_count;
	struct scenario_file *files;     uint32_t file_count;
	struct scenario_region *region_info; /* one a region */

	char **wanted; uint32_t wanted_count;     /* `policies NAME...` */
	char **patterns; uint32_t pattern_count;  /* policy names and globs of exceptions */
	struct scenario_fact *facts; uint32_t fact_count;
	struct scenario_choice *choices; uint32_t choice_count;
	struct scenario_statement *statements; uint32_t statement_count;
	uint32_t *events; uint32_t event_count; /* the statements that are events */

	char *text;            /* all statement lines, each ending in NUL */
	uint32_t text_count;   /* bytes */
	struct cow_diagnostic *diagnostics; uint32_t diagnostic_count; /* kept, at most 20 */
	char *diagnostic_text; /* their lines */
	uint32_t error_count;  /* found */

	struct arena_block *strings;       /* every name, pattern and title */
	size_t room[SCENARIO_ARRAY_COUNT]; /* elements that an array has room for */
};

/* The choice of an assertion that holds under a policy; NULL if nothing is asserted. */
const struct scenario_choice *scenario_choose(const struct cow_scenario *scenario,
					      struct scenario_assertion assertion,
					      const char *policy);

/*
 * The first page of every region, counted from 0, where a huge page has `huge` pages.  A region
 * begins at a multiple of that, and at least as much lies between two; one that was moved lies as
 * its source does within a huge page, so that PMDs can move whole.
 */
void scenario_lay_out(const struct cow_scenario *scenario, uint64_t huge, uint64_t *page);

/* Frees all but the name and the diagnostics. */
void scenario_strip(struct cow_scenario *scenario);

/* True if the name matches the pattern, in which '*' at the end stands for anything. */
bool scenario_match(const char *pattern, const char *name);

#endif
