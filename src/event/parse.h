/* SPDX-License-Identifier: MIT
 *
 * The state of a parse, shared by parse.c (lines), parse_header.c, parse_event.c (operands),
 * parse_expect.c (assertions), parse_repeat.c, define.c (names) and diagnose.c (errors).
 * Owns what is known at the current line; what is known for good is in the scenario.
 *
 * Parsing functions return false when the line cannot be understood any further, or when
 * there is no memory.  A word that is understood and wrong (an unknown name, a page outside)
 * is reported and parsing goes on, so that what the line defines becomes known: one mistake
 * gives one error.  Only the first error of a line is kept.
 */
#ifndef COWLAB_EVENT_PARSE_H
#define COWLAB_EVENT_PARSE_H

#include "event/intern.h"
#include "event/track.h"
#include "base/alloc.h"

enum {
	PARSE_REPEATS = 8,      /* depth */
	PARSE_FORESIGHT = 4096, /* elements from which on an array grows by what the text wants */
};

#define PARSE_MAX_PAGES (UINT64_C(1) << 31)
#define PARSE_MAX_POOL (UINT64_C(1) << 20) /* huge pages */
#define PARSE_MAX_BYTES (UINT64_C(256) << 20)

/* What the parser knows of a definition besides its place in the scenario. */
struct definition {
	uint32_t line;
	bool gone;   /* exited or released */
	bool unsure; /* its line had an error: ask nothing of it */
};

/* A repeat that is open: the first names that its body defines. */
struct repeat {
	uint64_t count;
	uint32_t statement;
	uint32_t processes, regions, refs;
	uint32_t line;
	struct token word;
	const char *text; /* its line */
	size_t length;
};

/* The name that a line defines; it takes effect when the line has been read. */
struct new_name {
	struct token token;
	enum name_kind kind;
	bool given;
	bool taken; /* in use: reported */
};

struct parser {
	struct cow_scenario *scenario;
	struct lexer lex;
	const char *text;     /* the whole file */
	size_t size;
	uint32_t line;        /* from 1 */
	bool failed;          /* the line has an error */
	bool no_memory;
	bool in_events;       /* the header is over */
	bool no_processes;    /* no usable `process`: ask nothing of process names */
	bool has_process;     /* there was a `process` */
	bool header_unsure;   /* a line before the first event was not understood */
	bool plain;           /* the file is ASCII without control bytes */
	bool ends_in_error;   /* the line says that its event comes to an error */
	bool verdict;         /* there was one */
	bool after_verdict;   /* and something behind it was reported */
	unsigned header;      /* header words that were given, a bit each */
	struct symbols symbols;
	struct track track;
	struct definition *processes; size_t process_room;
	struct definition *regions;   size_t region_room;
	struct definition *refs;      size_t ref_room;
	struct repeat repeats[PARSE_REPEATS];
	uint32_t depth;       /* may exceed PARSE_REPEATS, after an error */
	struct new_name new_name;
	struct token word;    /* first of the statement */
};

/*
 * Makes room for `need` elements in an array of the scenario or of the parser, and for as many
 * as the rest of the text will want if it is like what was read.  Sets no_memory and gives false.
 */
bool parse_grow(struct parser *parser, void **array, size_t *room, size_t need, size_t element);
/* Arrays are reached through a void pointer of their own, for the sake of aliasing. */
#define PARSE_GROW(parser, array, room, need, ok)                                            \
	do {                                                                                 \
		void *array_ = (array);                                                      \
		*(ok) = (need) <= (room) ||                                                  \
			parse_grow((parser), &array_, &(room), (need), sizeof(*(array)));    \
		(array) = array_;                                                            \
	} while (0)
#define SCENARIO_GROW(parser, field, need, ok)                                               \
	PARSE_GROW(parser, (parser)->scenario->field,                                        \
		   (parser)->scenario->room[SCENARIO_ARRAY_##field], need, ok)

static inline bool parse_memory(struct parser *parser, bool ok)
{
	if (!ok)
		parser->no_memory = true;
	return ok;
}

/* ---- diagnose.c ---- */
#if defined(__GNUC__)
#define PARSE_FORMAT(at) __attribute__((format(printf, at, at + 1)))
#else
#define PARSE_FORMAT(at)
#endif

/* Reports an error at a token of the current line.  Always false. */
bool fail_at(struct parser *parser, const struct token *where, const char *format, ...)
	PARSE_FORMAT(3);
/* Reports an error at a byte of any line; every one counts. */
void fail_line(struct parser *parser, uint32_t line, const char *text, size_t length,
	       size_t column, const char *format, ...) PARSE_FORMAT(6);
/* "WHAT is expected, found ..." at the current token. */
bool fail_expected(struct parser *parser, const char *what);
/* "unknown WHAT 'x'", with the nearest of the words if one is near. */
bool fail_unknown(struct parser *parser, const struct token *where, const char *what,
		  const struct word *words, uint32_t count);
/* The same for names: the nearest that has a meaning of the kind. */
bool fail_unknown_name(struct parser *parser, const struct token *where, enum name_kind kind);
/* For the nearest of words that are in no one table: start with { NULL }, offer them all. */
struct nearest {
	const char *text;
	uint32_t length, distance;
};
void nearest_offer(struct nearest *nearest, const struct token *token, const char *word,
		   uint32_t length);
bool fail_nearest(struct parser *parser, const struct token *where, const char *what,
		  const struct nearest *nearest);
/* True if one more error would be kept, so that looking for the nearest word is worth it. */
bool fail_is_kept(const struct parser *parser);
/* Length and text for "%.*s": long words are cut. */
#define TOKEN_ARGS(token) ((token)->length > 40 ? 40 : (int)(token)->length), (token)->text
/* What a kind is called in a sentence. */
const char *name_kind_word(enum name_kind kind);

/* ---- define.c ---- */
/* These read one name; what is unknown is reported and gives COW_NONE. */
bool use_process(struct parser *parser, uint32_t *out);
bool use_ref(struct parser *parser, uint32_t *out);
bool use_file(struct parser *parser, uint32_t *out);
bool use_region(struct parser *parser, struct token *word, uint32_t *out);
/* PLACE, or PAGE where `one` */
bool use_place(struct parser *parser, bool one, uint32_t *region, uint64_t *first,
	       uint64_t *pages);
/* A policy or glob; gives the interned pattern. */
bool use_policy(struct parser *parser, char **out);
/* Reads the name that this line will define. */
bool new_name(struct parser *parser, enum name_kind kind, uint32_t *out);
/* At the end of a line: makes the new name known, and does what the event does to names. */
bool define_process(struct parser *parser, const struct token *token, bool unsure);
bool define_file(struct parser *parser, const struct token *token, uint64_t pages,
		 uint64_t value);
bool take_effect(struct parser *parser, const struct cow_event *event);

/* ---- parse_header.c ---- */
extern const struct word header_words[];
extern const uint32_t header_word_count;
/* `header` is the number of the word, which was passed. */
bool parse_header(struct parser *parser, uint32_t header);

/* ---- parse_event.c ---- */
bool parse_event(struct parser *parser, enum cow_verb verb, struct scenario_statement *statement);

/* ---- parse_expect.c ---- */
bool parse_expect(struct parser *parser, struct scenario_statement *statement);
bool parse_verdict(struct parser *parser, struct scenario_statement *statement);
/* The `== V` and `-> OUTCOME` of an event, in either order. */
bool parse_results(struct parser *parser, struct scenario_statement *statement, bool value);

/* ---- parse_repeat.c ---- */
/* The two statements, once understood. */
void repeat_begin(struct parser *parser, const struct cow_event *event);
void repeat_end(struct parser *parser, struct scenario_statement *statement);
/* Reports what is open at the end of the file. */
void repeat_unended(struct parser *parser);

/* ---- parse.c ---- */
bool parse_end(struct parser *parser);
/* A number from min to max; `what` is for the sentence. */
bool parse_number(struct parser *parser, const char *what, uint64_t min, uint64_t max,
		  uint64_t *out);
/* Current token is this mark: pass it. */
bool parse_mark(struct parser *parser, enum token_kind kind, const char *what);

#endif
