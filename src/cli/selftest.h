/* SPDX-License-Identifier: MIT
 *
 * What the files of `cowlab selftest` share.  A case is a test body put together with a variant's
 * set-up and a size; it is made as text and never stored.  Read selftest_cases.c (how the cases are
 * made), then selftest_table.c (what each should come to), selftest.c (the verb) and
 * selftest_write.c (what it prints).
 */
#ifndef COWLAB_CLI_SELFTEST_H
#define COWLAB_CLI_SELFTEST_H

#include "cli/cli.h"

/* Tests, as bits. */
#define SELFTEST_A(n) (1u << ((n) - 1))      /* 1 to 14: anonymous memory */
#define SELFTEST_T(n) (1u << (14 + (n) - 1)) /* 1 to 4: collapse */
#define SELFTEST_B(n) (1u << (18 + (n) - 1)) /* 1 to 3: zero pages and files */

/* What of a variant matters to a policy. */
enum selftest_class {
	SELFTEST_BASE = 1,     /* base pages */
	SELFTEST_SWAPPED = 2,  /* base pages that come back from swap */
	SELFTEST_PMD = 4,      /* a THP that a PMD maps */
	SELFTEST_PTES = 8,     /* a large folio that PTEs map, all of it */
	SELFTEST_SINGLE = 16,  /* one page of a large folio, the rest of it unmapped */
	SELFTEST_MOVED = 32,   /* half of a large folio; its owner maps the other half elsewhere */
	SELFTEST_HUGETLB = 64, /* anonymous hugetlb */
	SELFTEST_OTHER = 128,  /* no anonymous memory: zero pages, files, hugetlb files */
};

struct selftest_test {
	const char *name; /* "A3" */
	unsigned bit;
	char family;      /* 'A', 'T' or 'B' */
	const char *what; /* for the title */
	const char *body; /* see the templates of selftest_cases.c */
};

struct selftest_size {
	const char *name; /* "64K" */
	unsigned pages;   /* that the model takes for it */
	unsigned order;   /* of the folio */
	unsigned bit;     /* SIZE_* */
};

struct selftest_variant {
	const char *name;      /* "V5" */
	const char *families;  /* whose tests run on it: 'A', 'T', 'B' */
	enum selftest_class class;
	unsigned sizes;        /* a set of SIZE_* */
	const char *what;      /* for the title */
	const char *header;
	const char *setup;
	const char *place;     /* the memory under test */
	unsigned old;          /* what that holds before */
};

struct selftest_case {
	char name[16]; /* "A3-V5-64K" */
	const struct selftest_test *test;
	const struct selftest_variant *variant;
	const struct selftest_size *size;
};

enum { SELFTEST_CASES = 778, SELFTEST_POLICIES = 13, SELFTEST_TEXT = 4096 };

/* selftest_cases.c: fills the array.  Returns how many there are. */
size_t selftest_make_cases(struct selftest_case cases[SELFTEST_CASES]);
/* The scenario.  Returns its length; 0: it does not fit, which is a fault of the program. */
size_t selftest_write_case(const struct selftest_case *one, char text[SELFTEST_TEXT]);

/* selftest_table.c: the policies of the table, oldest first. */
extern const char *const selftest_policies[SELFTEST_POLICIES];
/* What a case should come to under each of them: a letter a policy, P pass, L leak, D stale pin
 * (the device is detached), S skipped, as the set-up cannot be made.
 * NULL: no row speaks of it, which is a fault of the program. */
const char *selftest_expected(const struct selftest_case *one);
/* The verdict of a letter. */
unsigned selftest_verdict(char letter);

/* What came of a case under a policy. */
struct selftest_run {
	enum cow_status status;
	unsigned verdict;
	char expected;     /* letter; 0: the table does not know the policy */
	bool judged;       /* it ran to its end, or was skipped */
	bool differs;      /* another verdict, or an assertion failed */
	char *failure;     /* the first assertion that failed; NULL: none */
	uint64_t copies, needless, early, unshares;
};

struct selftest {
	struct selftest_case cases[SELFTEST_CASES];
	size_t case_count;
	cow_policies *policies;
	size_t policy_count;
	struct selftest_run *runs; /* of a case all policies, then the next case */
};

/* selftest.c: a scenario of the text of a case; NULL: it does not parse, which has been said. */
cow_scenario *selftest_parse(const char *name, const char *text, size_t length,
			     enum cli_exit *code);
/* Runs every case under every policy of the list; makes test->runs. */
enum cli_exit selftest_run_all(struct selftest *test, bool check_each);

/* selftest_write.c.  Returns 0 or a negative errno. */
int selftest_write(const struct selftest *test, enum cow_format format);
/* A case and what it came to, without an end of line. */
void selftest_print_line(const struct selftest_case *one, const struct selftest_run *run);
/* `pass`, or the verdict as one word. */
const char *selftest_word(const struct selftest_run *run);

/* What a case is run without, where the kernel cannot do it. */
enum {
	SELFTEST_NO_TRACKING = 1, /* clear-refs */
	SELFTEST_BRIEF_PIN = 2,   /* a read-only pin that lasts, and what is read through it */
};

enum selftest_host_status {
	SELFTEST_HOST_SKIPPED,
	SELFTEST_HOST_AGREES,
	SELFTEST_HOST_DIFFERS,  /* every time that it was asked */
	SELFTEST_HOST_UNSTABLE, /* not every time */
};

enum { SELFTEST_WORD = 24 };

/* What came of a case on the running kernel. */
struct selftest_host_run {
	enum selftest_host_status status;
	unsigned left_out;         /* SELFTEST_NO_TRACKING, SELFTEST_BRIEF_PIN */
	const char *verdict;       /* NULL: not known */
	char write[SELFTEST_WORD]; /* outcome of the write that the case is about; "": several */
	char *reason;              /* why skipped, or what differed; NULL: neither */
};

/* selftest_host.c: `--host`. */
enum cli_exit selftest_host(struct selftest *test, const struct cli_arguments *arguments);
/* selftest_host_write.c.  Returns 0 or a negative errno. */
int selftest_host_write(const struct selftest *test, const struct selftest_host_run *runs,
			enum cow_format format);

#endif
