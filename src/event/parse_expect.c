/* SPDX-License-Identifier: MIT
 *
 * What a scenario asserts: outcomes, values, facts, totals and the verdict, each with its
 * exceptions `[POLICY,POLICY: X; POLICY: Y]`.  Fills scenario.choices, .facts and .patterns.
 * Never compares anything; the engine does.
 */
#include "event/parse.h"

/* What an assertion is about, and so the form of its X. */
enum subject { SUBJECT_OUTCOME, SUBJECT_VALUE, SUBJECT_FACTS, SUBJECT_NUMBER, SUBJECT_SAME,
	       SUBJECT_VERDICT };

static const struct word same_words[] = { WORD("differ"), WORD("same") };

static bool is_errno_word(const struct token *word, int *error)
{
	for (uint32_t i = 0; i < errno_row_count; i++) {
		if (token_is(word, errno_rows[i].word)) {
			*error = errno_rows[i].number;
			return true;
		}
	}
	return false;
}

static bool outcome(struct parser *parser, struct scenario_choice *choice)
{
	const struct token word = parser->lex.token;
	struct nearest nearest = { 0 };

	if (word.kind != TOKEN_WORD)
		return fail_expected(parser, "an outcome");
	choice->outcome = word_find(outcome_words, COW_OUTCOME_COUNT, &word);
	if (choice->outcome == COW_OUT_NONE || choice->outcome >= COW_OUT_ERRNO) {
		choice->outcome = COW_OUT_ERRNO;
		if (!is_errno_word(&word, &choice->error)) {
			for (uint32_t i = COW_OUT_NONE + 1; i < COW_OUT_ERRNO; i++)
				nearest_offer(&nearest, &word, outcome_words[i].text,
					      outcome_words[i].length);
			for (uint32_t i = 0; i < errno_row_count; i++)
				nearest_offer(&nearest, &word, errno_rows[i].word.text,
					      errno_rows[i].word.length);
			return fail_nearest(parser, &word, "outcome", &nearest);
		}
	}
	lex_next(&parser->lex);
	return true;
}

/* One fact, with its operand. */
static bool fact(struct parser *parser, struct scenario_fact *out)
{
	static const struct word yes = WORD("yes"), no = WORD("no");
	const struct token word = parser->lex.token;
	uint32_t kind = word_find(fact_words, FACT_COUNT, &word);

	if (kind == FACT_COUNT)
		return fail_unknown(parser, &word, "fact", fact_words, FACT_COUNT);
	*out = (struct scenario_fact){ kind, 0 };
	lex_next(&parser->lex);
	if (fact_operands[kind] == 'n')
		return parse_number(parser, "a number", 0, UINT64_MAX, &out->value);
	if (fact_operands[kind] != 'y')
		return true;
	out->value = token_is(&parser->lex.token, yes);
	if (!out->value && !token_is(&parser->lex.token, no))
		return fail_expected(parser, "yes or no");
	lex_next(&parser->lex);
	return true;
}

static bool facts(struct parser *parser, struct scenario_choice *choice)
{
	struct cow_scenario *scenario = parser->scenario;
	unsigned given = 0;
	bool ok;

	choice->first_fact = scenario->fact_count;
	if (parser->lex.token.kind != TOKEN_WORD)
		return fail_expected(parser, "a fact");
	while (parser->lex.token.kind == TOKEN_WORD) {
		const struct token word = parser->lex.token;
		struct scenario_fact found;

		if (!fact(parser, &found))
			return false;
		if (given & 1u << found.kind)
			return fail_at(parser, &word, "'%.*s' is given twice", TOKEN_ARGS(&word));
		given |= 1u << found.kind;
		SCENARIO_GROW(parser, facts, (size_t)scenario->fact_count + 1, &ok);
		if (!ok)
			return false;
		scenario->facts[scenario->fact_count++] = found;
		choice->facts++;
	}
	return true;
}

static bool verdict_words_of(struct parser *parser, struct scenario_choice *choice)
{
	static const struct word fine = WORD("ok");
	bool ok = false;

	if (parser->lex.token.kind != TOKEN_WORD)
		return fail_expected(parser, "a verdict");
	while (parser->lex.token.kind == TOKEN_WORD) {
		const struct token word = parser->lex.token;
		uint32_t bit = word_find(verdict_words, COW_VERDICT_COUNT, &word);
		struct nearest nearest = { 0 };

		if (token_is(&word, fine)) {
			if (ok || choice->verdict)
				return fail_at(parser, &word, "'ok' stands alone");
			ok = true;
		} else if (bit == COW_VERDICT_COUNT) {
			for (uint32_t i = 0; i < COW_VERDICT_COUNT; i++)
				nearest_offer(&nearest, &word, verdict_words[i].text,
					      verdict_words[i].length);
			return fail_nearest(parser, &word, "verdict", &nearest);
		} else if (ok) {
			return fail_at(parser, &word, "'ok' stands alone");
		} else if (choice->verdict & 1u << bit) {
			return fail_at(parser, &word, "'%.*s' is given twice", TOKEN_ARGS(&word));
		} else {
			choice->verdict |= 1u << bit;
		}
		lex_next(&parser->lex);
	}
	return true;
}

static bool subject(struct parser *parser, enum subject kind, struct scenario_choice *choice)
{
	switch (kind) {
	case SUBJECT_OUTCOME:
		return outcome(parser, choice);
	case SUBJECT_VALUE:
		return parse_number(parser, "a value", 0, UINT64_MAX, &choice->value);
	case SUBJECT_NUMBER:
		return parse_number(parser, "a number", 0, UINT64_MAX, &choice->value);
	case SUBJECT_FACTS:
		return facts(parser, choice);
	case SUBJECT_VERDICT:
		return verdict_words_of(parser, choice);
	case SUBJECT_SAME:
		choice->value = word_find(same_words, 2, &parser->lex.token);
		if (choice->value == 2)
			return fail_expected(parser, "same or differ");
		lex_next(&parser->lex);
		return true;
	}
	return false;
}

static bool add_choice(struct parser *parser, const struct scenario_choice *choice,
		       struct scenario_assertion *assertion)
{
	struct cow_scenario *scenario = parser->scenario;
	bool ok;

	SCENARIO_GROW(parser, choices, (size_t)scenario->choice_count + 1, &ok);
	if (!ok)
		return false;
	if (!assertion->choices)
		assertion->first_choice = scenario->choice_count;
	assertion->choices++;
	scenario->choices[scenario->choice_count++] = *choice;
	return true;
}

/* POLICY,POLICY: */
static bool patterns(struct parser *parser, struct scenario_choice *choice)
{
	struct cow_scenario *scenario = parser->scenario;
	bool ok;

	choice->first_pattern = scenario->pattern_count;
	for (;;) {
		SCENARIO_GROW(parser, patterns, (size_t)scenario->pattern_count + 1, &ok);
		if (!ok || !use_policy(parser, &scenario->patterns[scenario->pattern_count]))
			return false;
		scenario->pattern_count++;
		choice->patterns++;
		if (parser->lex.token.kind != TOKEN_COMMA)
			return parse_mark(parser, TOKEN_COLON, "',' or ':'");
		lex_next(&parser->lex);
	}
}

/* The default was read; now its exceptions, if it has any. */
static bool assertion(struct parser *parser, enum subject kind,
		      const struct scenario_choice *usual, struct scenario_assertion *out)
{
	*out = (struct scenario_assertion){ 0 };
	if (!add_choice(parser, usual, out))
		return false;
	if (parser->lex.token.kind != TOKEN_OPEN)
		return true;
	do {
		struct scenario_choice choice = { 0 };

		lex_next(&parser->lex);
		if (!patterns(parser, &choice) || !subject(parser, kind, &choice) ||
		    !add_choice(parser, &choice, out))
			return false;
	} while (parser->lex.token.kind == TOKEN_SEMICOLON);
	return parse_mark(parser, TOKEN_CLOSE, "';' or ']'");
}

static bool outcome_is_error(enum cow_outcome outcome)
{
	return outcome == COW_OUT_SEGV || outcome == COW_OUT_SIGBUS || outcome == COW_OUT_OOM ||
	       outcome == COW_OUT_KILLED || outcome == COW_OUT_ERRNO;
}

bool parse_results(struct parser *parser, struct scenario_statement *statement, bool value)
{
	const struct token *token = &parser->lex.token;

	for (;;) {
		struct scenario_choice usual = { 0 };
		bool is_value = token->kind == TOKEN_EQUAL && value;
		struct scenario_assertion *out = is_value ? &statement->value :
							    &statement->outcome;

		if (!is_value && token->kind != TOKEN_ARROW)
			return parse_end(parser);
		if (out->choices)
			return fail_at(parser, token, "'%.*s' is given twice", TOKEN_ARGS(token));
		lex_next(&parser->lex);
		if (!subject(parser, is_value ? SUBJECT_VALUE : SUBJECT_OUTCOME, &usual))
			return false;
		if (!is_value)
			parser->ends_in_error = outcome_is_error(usual.outcome);
		if (!assertion(parser, is_value ? SUBJECT_VALUE : SUBJECT_OUTCOME, &usual, out))
			return false;
	}
}

static bool expect_same(struct parser *parser, struct scenario_statement *statement,
			struct scenario_choice *usual)
{
	struct cow_event *event = &statement->event;
	uint64_t pages;

	statement->kind = STATEMENT_EXPECT_SAME;
	return subject(parser, SUBJECT_SAME, usual) && use_process(parser, &event->process) &&
	       use_place(parser, true, &event->region, &event->first, &event->pages) &&
	       parse_mark(parser, TOKEN_COMMA, "','") &&
	       use_process(parser, &statement->process2) &&
	       use_place(parser, true, &statement->region2, &statement->first2, &pages) &&
	       assertion(parser, SUBJECT_SAME, usual, &statement->fact) && parse_end(parser);
}

static bool expect_total(struct parser *parser, struct scenario_statement *statement,
			 struct scenario_choice *usual)
{
	struct token word;

	statement->kind = STATEMENT_EXPECT_TOTAL;
	lex_next(&parser->lex);
	word = parser->lex.token;
	if (word.kind != TOKEN_WORD)
		return fail_expected(parser, "a counter");
	statement->counter = word_find(counter_words, COW_COUNTER_COUNT, &word);
	if (statement->counter == COW_COUNTER_COUNT)
		return fail_unknown(parser, &word, "counter", counter_words, COW_COUNTER_COUNT);
	lex_next(&parser->lex);
	return subject(parser, SUBJECT_NUMBER, usual) &&
	       assertion(parser, SUBJECT_NUMBER, usual, &statement->fact) && parse_end(parser);
}

bool parse_expect(struct parser *parser, struct scenario_statement *statement)
{
	static const struct word total = WORD("total");
	struct cow_event *event = &statement->event;
	struct scenario_choice usual = { 0 };

	statement->kind = STATEMENT_EXPECT_PAGE;
	if (word_find(same_words, 2, &parser->lex.token) < 2)
		return expect_same(parser, statement, &usual);
	if (token_is(&parser->lex.token, total))
		return expect_total(parser, statement, &usual);
	return use_process(parser, &event->process) &&
	       use_place(parser, true, &event->region, &event->first, &event->pages) &&
	       subject(parser, SUBJECT_FACTS, &usual) &&
	       assertion(parser, SUBJECT_FACTS, &usual, &statement->fact) && parse_end(parser);
}

bool parse_verdict(struct parser *parser, struct scenario_statement *statement)
{
	struct scenario_choice usual = { 0 };

	statement->kind = STATEMENT_VERDICT;
	return subject(parser, SUBJECT_VERDICT, &usual) &&
	       assertion(parser, SUBJECT_VERDICT, &usual, &statement->fact) && parse_end(parser);
}
