/* SPDX-License-Identifier: MIT
 *
 * The parser of scenarios: lines, statements, and cow_scenario_parse().
 * Owns the order of a file: what may stand where, and what is missing at its end.
 * Never looks into the header (parse_header.c), an operand (parse_event.c), an assertion
 * (parse_expect.c) or what is open (parse_repeat.c).
 * Time is linear in the text, but for names in trees; memory is a few structs a line.
 */
#include "event/parse.h"

#include <errno.h>

static const struct word kernel_word = WORD("kernel");
static const struct word expect_word = WORD("expect");
static const struct word verdict_word = WORD("verdict");

bool parse_grow(struct parser *parser, void **array, size_t *room, size_t need, size_t element)
{
	size_t done = (size_t)(parser->lex.end - parser->text), most = need * 16;

	if (need >= PARSE_FORESIGHT && done) {
		need = (size_t)((uint64_t)need * parser->size / done);
		need = need < most ? need : most;
	}
	return parse_memory(parser, !array_grow(&parser->scenario->allocator, array, room, need,
						element));
}

bool parse_end(struct parser *parser)
{
	const struct token *token = &parser->lex.token;

	if (token->kind == TOKEN_END)
		return true;
	if (token->kind == TOKEN_OPEN)
		return fail_at(parser, token, "an exception stands right behind what it changes");
	return fail_expected(parser, "the end of the line");
}

bool parse_mark(struct parser *parser, enum token_kind kind, const char *what)
{
	if (parser->lex.token.kind != kind)
		return fail_expected(parser, what);
	lex_next(&parser->lex);
	return true;
}

bool parse_number(struct parser *parser, const char *what, uint64_t min, uint64_t max,
		  uint64_t *out)
{
	const struct token *token = &parser->lex.token;
	uint64_t value = 0;

	switch (token_number(token, &value)) {
	case NUMBER_NONE:
		return fail_expected(parser, what);
	case NUMBER_LARGE:
		return fail_at(parser, token, "%.*s is too large for 64 bits", TOKEN_ARGS(token));
	case NUMBER_OK:
		break;
	}
	if (value > max)
		return fail_at(parser, token, "%.*s is too large: at most %llu", TOKEN_ARGS(token),
			       (unsigned long long)max);
	if (value < min)
		return fail_at(parser, token, "%.*s is too small: at least %llu",
			       TOKEN_ARGS(token), (unsigned long long)min);
	*out = value;
	lex_next(&parser->lex);
	return true;
}

/* The header is over at the first statement that is none of it. */
static void begin_events(struct parser *parser)
{
	if (parser->in_events)
		return;
	parser->in_events = true;
	parser->scenario->started = parser->scenario->process_count;
	if (parser->has_process)
		return;
	parser->no_processes = true;
	if (!parser->header_unsure)
		fail_at(parser, &parser->word, "no `process NAME...` before the first event");
}

/* A statement that begins with no word of the language. */
static bool unknown_statement(struct parser *parser)
{
	const struct token *word = &parser->word;
	uint32_t verb = word_find(verb_words, COW_VERB_COUNT, word);
	const struct symbol *symbol = symbol_find(&parser->symbols, word);
	struct nearest nearest = { 0 };

	if (symbol && symbol->meaning[NAME_PROCESS] != COW_NONE)
		return fail_expected(parser, "':' behind the process");
	if (verb < COW_VERB_COUNT)
		return fail_at(parser, word, event_rows[verb].actor == 'K' ?
			       "'%.*s' is an event of the kernel: `kernel: %.*s ...`" :
			       "'%.*s' is an event of a process: `NAME: %.*s ...`",
			       TOKEN_ARGS(word), TOKEN_ARGS(word));
	if (!parser->in_events)
		parser->header_unsure = true;
	if (fail_is_kept(parser)) {
		for (uint32_t i = 0; i < header_word_count; i++)
			nearest_offer(&nearest, word, header_words[i].text, header_words[i].length);
		for (uint32_t i = 0; i < COW_VERB_COUNT; i++)
			if (event_rows[i].actor == 'N')
				nearest_offer(&nearest, word, verb_words[i].text,
					      verb_words[i].length);
		nearest_offer(&nearest, word, expect_word.text, expect_word.length);
		nearest_offer(&nearest, word, verdict_word.text, verdict_word.length);
	}
	return fail_nearest(parser, word, "statement", &nearest);
}

/* ACTOR: VERB ... */
static bool parse_acted(struct parser *parser, struct scenario_statement *statement)
{
	char actor = token_is(&parser->word, kernel_word) ? 'K' : 'P';
	struct nearest nearest = { 0 };
	struct token verb_word;
	uint32_t verb;

	if (actor == 'K')
		lex_next(&parser->lex);
	else if (!use_process(parser, &statement->event.process))
		return false;
	lex_next(&parser->lex); /* the colon */
	verb_word = parser->lex.token;
	if (verb_word.kind != TOKEN_WORD)
		return fail_expected(parser, "a verb");
	verb = word_find(verb_words, COW_VERB_COUNT, &verb_word);
	if (verb < COW_VERB_COUNT && event_rows[verb].actor == actor) {
		lex_next(&parser->lex);
		return parse_event(parser, verb, statement);
	}
	if (verb < COW_VERB_COUNT)
		return fail_at(parser, &verb_word, event_rows[verb].actor == 'K' ?
			       "'%.*s' is an event of the kernel" :
			       event_rows[verb].actor == 'P' ?
			       "'%.*s' is an event of a process" :
			       "'%.*s' is an event of nobody: nothing stands before it",
			       TOKEN_ARGS(&verb_word));
	for (uint32_t i = 0; fail_is_kept(parser) && i < COW_VERB_COUNT; i++)
		if (event_rows[i].actor == actor)
			nearest_offer(&nearest, &verb_word, verb_words[i].text,
				      verb_words[i].length);
	return fail_nearest(parser, &verb_word, "verb", &nearest);
}

/* Any statement; the first word is current. */
static bool parse_statement(struct parser *parser, struct scenario_statement *statement)
{
	struct lexer start = parser->lex;
	uint32_t found;

	parser->word = start.token;
	if (parser->word.kind != TOKEN_WORD)
		return fail_expected(parser, "a statement");
	if (parser->verdict && !parser->after_verdict) {
		parser->after_verdict = true;
		fail_at(parser, &parser->word, "nothing stands behind the verdict");
	}
	lex_next(&parser->lex);
	if (parser->lex.token.kind == TOKEN_COLON) {
		parser->lex = start;
		begin_events(parser);
		return parse_acted(parser, statement);
	}
	if (token_is(&parser->word, expect_word)) {
		begin_events(parser);
		return parse_expect(parser, statement);
	}
	found = word_find(verb_words, COW_VERB_COUNT, &parser->word);
	if (found < COW_VERB_COUNT && event_rows[found].actor == 'N') {
		begin_events(parser);
		return parse_event(parser, found, statement);
	}
	if (token_is(&parser->word, verdict_word)) {
		begin_events(parser);
		parser->verdict = true;
		if (parser->depth) {
			parser->after_verdict = true;
			fail_at(parser, &parser->word, "the verdict is inside of a repeat");
		}
		return parse_verdict(parser, statement);
	}
	found = word_find(header_words, header_word_count, &parser->word);
	if (found < header_word_count) {
		statement->line = 0; /* none: nothing is to be kept */
		return parse_header(parser, found);
	}
	return unknown_statement(parser);
}

static bool keep_statement(struct parser *parser, struct scenario_statement *statement,
			   const char *start)
{
	struct cow_scenario *scenario = parser->scenario;
	size_t length = (size_t)(parser->lex.last - start);
	bool ok;

	SCENARIO_GROW(parser, text, (size_t)scenario->text_count + length + 1, &ok);
	if (!ok)
		return false;
	SCENARIO_GROW(parser, statements, (size_t)scenario->statement_count + 1, &ok);
	if (!ok)
		return false;
	if (statement->kind == STATEMENT_EVENT) {
		SCENARIO_GROW(parser, events, (size_t)scenario->event_count + 1, &ok);
		if (!ok)
			return false;
		scenario->events[scenario->event_count++] = scenario->statement_count;
	}
	statement->text = scenario->text_count;
	memcpy(scenario->text + scenario->text_count, start, length);
	scenario->text[scenario->text_count + length] = '\0';
	scenario->text_count += (uint32_t)length + 1;
	scenario->statements[scenario->statement_count++] = *statement;
	return true;
}

/* Length of the UTF-8 sequence at `at`; 0 if it is none. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
	size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 :
			at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	if (!length || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
	    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return length;
}

/* Text is UTF-8 without NUL, in comments too: anything else is a file of another kind. */
static void check_bytes(struct parser *parser)
{
	const char *at = parser->lex.line, *end = parser->lex.end;

	while (at < end && !parser->failed) {
		struct token bad = { .text = at, .length = 1, .kind = TOKEN_BAD };
		size_t length = utf8_length((const unsigned char *)at, (size_t)(end - at));

		if (!*at)
			fail_at(parser, &bad, "a NUL byte");
		else if (!length)
			fail_at(parser, &bad, "the byte 0x%02x is not UTF-8", (unsigned char)*at);
		at += length;
	}
}

static bool parse_line(struct parser *parser, const char *text, size_t length)
{
	struct cow_scenario *scenario = parser->scenario;
	struct scenario_statement statement = {
		.kind = STATEMENT_EVENT, .line = parser->line, .partner = COW_NONE,
		.process2 = COW_NONE, .region2 = COW_NONE,
		.event = { .line = parser->line, .process = COW_NONE, .target = COW_NONE,
			   .region = COW_NONE, .other = COW_NONE, .ref = COW_NONE,
			   .file = COW_NONE, .times = 1 },
	};
	const char *start;
	bool event;

	parser->failed = false;
	parser->ends_in_error = false;
	parser->new_name.given = parser->new_name.taken = false;
	lex_line(&parser->lex, text, length);
	if (!parser->plain)
		check_bytes(parser);
	if (parser->lex.token.kind == TOKEN_END)
		return true;
	start = parser->lex.token.text;
	statement.event.verb = COW_VERB_COUNT;
	parse_statement(parser, &statement);
	event = statement.kind == STATEMENT_EVENT && statement.event.verb < COW_VERB_COUNT;
	if (parser->no_memory || (event && !take_effect(parser, &statement.event)))
		return false;
	if (event && statement.event.verb == COW_EV_REPEAT)
		repeat_begin(parser, &statement.event);
	else if (event && statement.event.verb == COW_EV_END)
		repeat_end(parser, &statement);
	if (parser->no_memory)
		return false;
	if (!event)
		statement.event.verb = 0;
	if (!scenario->error_count)
		return !statement.line || keep_statement(parser, &statement, start);
	/* It will not run, so nothing but its names is needed any more. */
	scenario->statement_count = scenario->event_count = scenario->text_count = 0;
	scenario->choice_count = scenario->fact_count = scenario->pattern_count = 0;
	return true;
}

/* What is missing at the end of the file. */
static void check_whole(struct parser *parser, const char *last, size_t length)
{
	repeat_unended(parser);
	if (!parser->in_events && !parser->header_unsure && !parser->has_process)
		fail_line(parser, parser->line, last, length, 1,
			  "no `process NAME...` in the file");
	if (!parser->in_events)
		parser->scenario->started = parser->scenario->process_count;
}

static bool text_is_plain(const char *text, size_t size)
{
	unsigned char odd = 0;

	for (size_t i = 0; i < size; i++)
		odd |= (unsigned char)text[i] >= 0x7f || text[i] == 0;
	return !odd;
}

static bool parse_text(struct parser *parser, const char *text, size_t size)
{
	const char *end = text + size, *line = text;
	size_t length = 0;

	parser->text = text;
	parser->size = size;
	parser->line = 1;
	if (size > PARSE_MAX_BYTES) {
		fail_line(parser, 1, text, 0, 1, "a scenario has at most %llu bytes",
			  (unsigned long long)PARSE_MAX_BYTES);
		return !parser->no_memory;
	}
	parser->plain = text_is_plain(text, size);
	for (; line < end; parser->line++) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		length = (size_t)((stop ? stop : end) - line);
		if (length && line[length - 1] == '\r')
			length--;
		if (!parse_line(parser, line, length))
			return false;
		if (!stop || stop + 1 == end)
			break;
		line = stop + 1;
	}
	check_whole(parser, line, length);
	return !parser->no_memory;
}

static void parser_free(struct parser *parser)
{
	const struct cow_allocator *allocator = &parser->scenario->allocator;

	cow_release_(allocator, parser->processes,
		     parser->process_room * sizeof(*parser->processes));
	cow_release_(allocator, parser->regions, parser->region_room * sizeof(*parser->regions));
	cow_release_(allocator, parser->refs, parser->ref_room * sizeof(*parser->refs));
	symbols_free(&parser->symbols, allocator);
	track_free(&parser->track);
}

int cow_scenario_parse(const char *name, const char *text, size_t size,
		       const struct cow_allocator *allocator, cow_scenario **out)
{
	struct parser parser = { 0 };
	struct cow_scenario *scenario;
	bool ok;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!text && size)
		return -EINVAL;
	scenario = cow_zalloc_(allocator, sizeof(*scenario));
	if (!scenario)
		return -ENOMEM;
	if (allocator)
		scenario->allocator = *allocator;
	scenario->frames = 4096;
	scenario->swap = 1024;
	parser.scenario = scenario;
	track_init(&parser.track, &scenario->allocator);
	name = name ? name : "";
	scenario->name = arena_string(&scenario->allocator, &scenario->strings, name, strlen(name));
	scenario->title = scenario->name;
	ok = scenario->name && parse_text(&parser, text ? text : "", size);
	parser_free(&parser);
	if (!ok) {
		cow_scenario_free(scenario);
		return -ENOMEM;
	}
	*out = scenario;
	if (!scenario->error_count)
		return 0;
	scenario_strip(scenario);
	return -EINVAL;
}
