/* SPDX-License-Identifier: MIT
 *
 * The operands of an event, one function a letter of COW_EVENTS: a new event whose operands
 * are known letters needs nothing here.  Fills struct cow_event; names are checked by define.c.
 */
#include "event/parse.h"

/* A word that gives a flag. */
struct flag_word {
	struct word word;
	unsigned flag;
};

static const struct word prot_words[] = { WORD("ro"), WORD("rw"), WORD("none") };
static const enum cow_prot prots[] = { COW_PROT_READ, COW_PROT_RW, COW_PROT_NONE };
enum { PROTS = 3 };

static const struct word order_word = WORD("order");
/* Of `thp order K`: below 4 pages no anonymous folio is large; 2^9 are what x86-64's PMD maps. */
enum { ORDER_LEAST = 2, ORDER_MOST = 9 };

/* Finds the current word in a table; 0: none of them is there, and nothing was read. */
static unsigned flag_of(struct parser *parser, const struct flag_word *flags, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (token_is(&parser->lex.token, flags[i].word))
			return flags[i].flag;
	return 0;
}

static bool twice(struct parser *parser)
{
	return fail_at(parser, &parser->lex.token, "'%.*s' is given twice",
		       TOKEN_ARGS(&parser->lex.token));
}

/* A word that is no flag: says which is near.  The flags of mmap have more than their table. */
static bool unknown_flag(struct parser *parser, const struct flag_word *flags, uint32_t count,
			 bool mmap)
{
	struct nearest nearest = { 0 };
	const struct token *token = &parser->lex.token;

	for (uint32_t i = 0; i < count; i++)
		nearest_offer(&nearest, token, flags[i].word.text, flags[i].word.length);
	for (uint32_t i = 0; mmap && i < PROTS; i++)
		nearest_offer(&nearest, token, prot_words[i].text, prot_words[i].length);
	if (mmap)
		nearest_offer(&nearest, token, order_word.text, order_word.length);
	return fail_nearest(parser, token, "flag", &nearest);
}

/* FILE[+OFFSET] */
static bool map_file(struct parser *parser, struct cow_event *event)
{
	if (!use_file(parser, &event->file))
		return false;
	if (parser->lex.token.kind != TOKEN_PLUS)
		return true;
	lex_next(&parser->lex);
	return parse_number(parser, "an offset in pages", 0, PARSE_MAX_PAGES, &event->first);
}

/* Right behind a region that is known, where nothing else lies. */
static bool map_after(struct parser *parser, struct cow_event *event)
{
	struct token word;

	if (!use_region(parser, &word, &event->other))
		return false;
	if (event->other == COW_NONE || !event->pages || parser->regions[event->other].unsure)
		return true;
	if (!track_room_behind(&parser->track, event->other, event->pages))
		fail_at(parser, &word, "there is no room for %llu pages right behind '%.*s'",
			(unsigned long long)event->pages, TOKEN_ARGS(&word));
	return true;
}

/* [order K], right behind `thp` */
static bool map_order(struct parser *parser, struct cow_event *event)
{
	uint64_t order;

	if (!token_is(&parser->lex.token, order_word))
		return true;
	lex_next(&parser->lex);
	if (!parse_number(parser, "an order", ORDER_LEAST, ORDER_MOST, &order))
		return false;
	event->flags |= COW_MAP_ORDER(order);
	return true;
}

static bool map_flags(struct parser *parser, struct cow_event *event)
{
	static const struct flag_word flags[] = {
		{ WORD("shared"), COW_MAP_SHARED }, { WORD("file"), COW_EVENT_FILE },
		{ WORD("thp"), COW_EVENT_THP }, { WORD("hugetlb"), COW_EVENT_HUGETLB },
		{ WORD("after"), COW_EVENT_AFTER },
	};
	const uint32_t count = sizeof(flags) / sizeof(flags[0]);
	struct token *token = &parser->lex.token;
	bool prot_given = false;

	event->prot = COW_PROT_RW;
	while (token->kind == TOKEN_WORD) {
		uint32_t prot = word_find(prot_words, PROTS, token);
		unsigned flag = flag_of(parser, flags, count);

		if (token_is(token, order_word))
			return COW_EVENT_ORDER(event->flags) ? twice(parser) :
			       fail_at(parser, token, "'order' stands right behind 'thp'");
		if (prot == PROTS && !flag)
			return unknown_flag(parser, flags, count, true);
		if (prot < PROTS ? prot_given : (event->flags & flag) != 0)
			return twice(parser);
		lex_next(&parser->lex);
		if (prot < PROTS) {
			prot_given = true;
			event->prot = prots[prot];
			continue;
		}
		event->flags |= flag;
		if (flag == COW_EVENT_FILE && !map_file(parser, event))
			return false;
		if (flag == COW_EVENT_THP && !map_order(parser, event))
			return false;
		if (flag == COW_EVENT_AFTER && !map_after(parser, event))
			return false;
	}
	return true;
}

static bool reference_flags(struct parser *parser, struct cow_event *event)
{
	static const struct word times = WORD("times");
	static const struct flag_word flags[] = {
		{ WORD("write"), COW_GUP_WRITE }, { WORD("fast"), COW_GUP_FAST },
		{ WORD("times"), 0 }, { WORD("longterm"), COW_GUP_LONGTERM },
	};
	const uint32_t count = event->verb == COW_EV_PIN ? 4 : 3;
	struct token *token = &parser->lex.token;
	bool times_given = false;
	uint64_t number;

	if (event->verb == COW_EV_PIN)
		event->flags = COW_GUP_PIN;
	while (token->kind == TOKEN_WORD) {
		bool is_times = token_is(token, times);
		unsigned flag = flag_of(parser, flags, count);

		if (!is_times && !flag)
			return unknown_flag(parser, flags, count, false);
		if (is_times ? times_given : (event->flags & flag) != 0)
			return twice(parser);
		lex_next(&parser->lex);
		event->flags |= flag;
		if (!is_times)
			continue;
		times_given = true;
		if (!parse_number(parser, "a count", 1, UINT32_MAX, &number))
			return false;
		event->times = (uint32_t)number;
	}
	return true;
}

/* One word of a table. */
static bool one_word(struct parser *parser, const char *article_what, const char *what,
		     const struct word *words, uint32_t count, uint32_t *out)
{
	struct token word = parser->lex.token;

	*out = word_find(words, count, &word);
	if (word.kind != TOKEN_WORD)
		return fail_expected(parser, article_what);
	if (*out == count)
		return fail_unknown(parser, &word, what, words, count);
	lex_next(&parser->lex);
	return true;
}

static bool operand(struct parser *parser, char letter, struct cow_event *event)
{
	static const struct word switches[] = { WORD("off"), WORD("on") };
	bool second = event->verb == COW_EV_MREMAP || event->verb == COW_EV_UFFD_MOVE;
	uint32_t index;

	switch (letter) {
	case 'r':
		return new_name(parser, NAME_REGION, second ? &event->other : &event->region);
	case 'c':
		return new_name(parser, NAME_PROCESS, &event->target);
	case 'f':
		return new_name(parser, NAME_REF, &event->ref);
	case 'p':
		return use_place(parser, false, &event->region, &event->first, &event->pages);
	case 'g':
		return use_place(parser, true, &event->region, &event->first, &event->pages);
	case 't':
		return use_process(parser, &event->target);
	case 'e':
		return use_ref(parser, &event->ref);
	case 'i':
		return use_file(parser, &event->file);
	case 'n':
		if (event->verb == COW_EV_FILE_WRITE)
			return parse_number(parser, "a page number", 0, PARSE_MAX_PAGES - 1,
					    &event->first);
		return parse_number(parser, "a number of pages", event->verb == COW_EV_MMAP,
				    PARSE_MAX_PAGES, &event->pages);
	case 'v':
		return parse_number(parser, "a value", 0, UINT64_MAX, &event->value);
	case 'k':
		return parse_number(parser, "a count", 1, UINT64_MAX, &event->value);
	case 'M':
		return map_flags(parser, event);
	case 'F':
		return reference_flags(parser, event);
	case 'o':
		if (!one_word(parser, "ro, rw or none", "protection", prot_words, PROTS, &index))
			return false;
		event->prot = prots[index];
		return true;
	case 'a':
		return one_word(parser, "an advice", "advice", advice_words, COW_ADVICE_COUNT,
				&event->flags);
	case 'w':
		if (!one_word(parser, "on or off", "switch", switches, 2, &index))
			return false;
		event->value = index;
		return true;
	}
	return true; /* q: with the results */
}

bool parse_event(struct parser *parser, enum cow_verb verb, struct scenario_statement *statement)
{
	const char *operands = event_rows[verb].operands;
	struct cow_event *event = &statement->event;

	event->verb = verb;
	for (const char *letter = operands; *letter; letter++)
		if (!operand(parser, *letter, event))
			return false;
	if (verb == COW_EV_REPEAT || verb == COW_EV_END)
		return parse_end(parser);
	return parse_results(parser, statement, strchr(operands, 'q') != NULL);
}
