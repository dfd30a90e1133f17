/* SPDX-License-Identifier: MIT
 *
 * A random scenario in the making: what has been written so far, and what it left alive.
 * generate.c draws the verbs, operands.c what stands behind them.
 */
#ifndef COWLAB_FUZZ_MAKER_H
#define COWLAB_FUZZ_MAKER_H

#include "fuzz/draft.h"

enum {
	MAKER_STATEMENTS = 40,
	MAKER_PROCESSES = 6, /* living and dead */
	MAKER_REGIONS = 10,
	MAKER_MMAPS = 4,
	MAKER_REFS = 10,
	MAKER_FILES = 2,
	MAKER_NAME = 8, /* bytes */
};

struct maker {
	uint64_t random;
	enum cow_profile profile;
	unsigned flags;        /* COW_GENERATE_* */
	enum cow_verb last;
	bool in_repeat;
	bool glance;           /* a pin was taken that is to be released at once */
	bool no_pool;          /* no hugetlb, or */
	bool no_refs;          /* no references */
	uint32_t order;        /* of huge pages, where there can be one only; 0: none yet */
	int advice;            /* the next one, if it is not to be drawn: -1 */
	uint32_t mmaps;
	uint64_t value;        /* given last */

	bool alive[MAKER_PROCESSES];
	bool mapped[MAKER_PROCESSES][MAKER_REGIONS]; /* a part of it at least */
	bool followed[MAKER_REGIONS]; /* something was put `after` it */
	uint64_t hot[MAKER_REGIONS];  /* the page that is used most */
	bool protected[MAKER_REGIONS]; /* by mprotect or userfaultfd: the next is to take it back */
	bool released[MAKER_REFS];
	bool writes[MAKER_REFS];      /* it was taken for writing */

	/* The scenario, and its arrays. */
	struct cow_scenario scenario;
	struct scenario_statement statements[MAKER_STATEMENTS];
	struct scenario_name processes[MAKER_PROCESSES];
	struct scenario_name regions[MAKER_REGIONS];
	struct scenario_region region_info[MAKER_REGIONS];
	struct scenario_name refs[MAKER_REFS];
	struct scenario_file files[MAKER_FILES];
	char process_names[MAKER_PROCESSES][MAKER_NAME];
	char region_names[MAKER_REGIONS][MAKER_NAME];
	char ref_names[MAKER_REFS][MAKER_NAME];
	char file_names[MAKER_FILES][MAKER_NAME];
	char title[80], name[80];
};

uint64_t maker_random(struct maker *maker);
/* 0 to end - 1 */
uint32_t below(struct maker *maker, uint32_t end);
bool chance(struct maker *maker, uint32_t percent);
/* An index, by weight; `count` if all are 0. */
uint32_t draw(struct maker *maker, const unsigned *weights, uint32_t count);
uint32_t maker_alive(const struct maker *maker);

/* ---- operands.c ---- */

/* Fills in the operands of an event, and notes what it does.  False: it has no sense now. */
bool maker_fill(struct maker *maker, enum cow_verb verb, struct cow_event *event);
void maker_name_process(struct maker *maker, uint32_t process);
/* A value to write: one of its own, or, where pages are to be merged, one that comes again. */
uint64_t maker_value(struct maker *maker);
/* The profile has huge pages. */
bool maker_huge(const struct maker *maker);

#endif
