/* SPDX-License-Identifier: MIT
 *
 * The words of the scenario language as tables, made from the X-macros of cowlab.h.
 * Owns constants only.  Read names.c for the tables, lex.h for what is looked up in them.
 */
#ifndef COWLAB_EVENT_WORDS_H
#define COWLAB_EVENT_WORDS_H

#include "event/scenario.h"

struct word {
	const char *text;
	uint32_t length;
};

#define WORD(literal) { literal, sizeof(literal) - 1 }

/* What the parser and the printer know of an event besides its word. */
struct event_row {
	const char *operands; /* letters of COW_EVENTS */
	char actor;           /* P, K or N */
};

struct errno_row {
	struct word word;     /* "enomem" */
	int number;           /* positive */
	const char *sentence; /* NULL: the library never returns it */
};

extern const struct word verb_words[COW_VERB_COUNT];
extern const struct event_row event_rows[COW_VERB_COUNT];
extern const struct word outcome_words[COW_OUTCOME_COUNT];
extern const struct word advice_words[COW_ADVICE_COUNT];
extern const struct word counter_words[COW_COUNTER_COUNT];
extern const struct word verdict_words[COW_VERDICT_COUNT];
extern const struct word fact_words[FACT_COUNT];
extern const struct word option_words[OPTION_COUNT];
extern const char fact_operands[FACT_COUNT]; /* 0, 'n' or 'y' */
extern const struct errno_row errno_rows[];
extern const uint32_t errno_row_count;

#endif
