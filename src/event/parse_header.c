/* SPDX-License-Identifier: MIT
 *
 * The statements before the first event: what the machine is like, and what exists at the start.
 * Owns the table of their words; each may stand once, but for `file`.
 */
#include "event/parse.h"

#define HEADERS(X)                                                               \
	X(TITLE, "title") X(FRAMES, "frames") X(SWAP, "swap") X(HUGETLB, "hugetlb")  \
	X(LRU_BATCH, "lru-batch") X(POLICIES, "policies") X(PROCESS, "process")      \
	X(FILE, "file") X(OPTION, "option")

enum header {
#define X(id, word) HEADER_##id,
	HEADERS(X)
#undef X
	HEADER_COUNT
};

const struct word header_words[HEADER_COUNT] = {
#define X(id, word) WORD(word),
	HEADERS(X)
#undef X
};

const uint32_t header_word_count = HEADER_COUNT;

/* Everything up to the comment. */
static bool parse_title(struct parser *parser)
{
	struct lexer *lex = &parser->lex;
	struct cow_scenario *scenario = parser->scenario;
	const char *start = lex->token.text, *end = start;

	if (lex->token.kind == TOKEN_END)
		return fail_expected(parser, "a title");
	for (const char *at = start; at < lex->end && *at != '#'; at++) {
		unsigned char byte = (unsigned char)*at;

		if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
			struct token bad = { .text = at, .length = 1, .kind = TOKEN_BAD };

			return fail_at(parser, &bad, "the byte 0x%02x in a title", byte);
		}
		if (byte != ' ' && byte != '\t')
			end = at + 1;
	}
	lex->at = end;
	lex_next(lex);
	scenario->title = arena_string(&scenario->allocator, &scenario->strings, start,
				       (size_t)(end - start));
	scenario->has_title = true;
	return parse_memory(parser, scenario->title);
}

static bool parse_policies(struct parser *parser)
{
	struct cow_scenario *scenario = parser->scenario;
	bool ok;

	do {
		SCENARIO_GROW(parser, wanted, (size_t)scenario->wanted_count + 1, &ok);
		if (!ok || !use_policy(parser, &scenario->wanted[scenario->wanted_count]))
			return false;
		scenario->wanted_count++;
	} while (parser->lex.token.kind == TOKEN_WORD);
	return parse_end(parser);
}

static bool parse_processes(struct parser *parser)
{
	uint32_t number;

	do {
		if (!new_name(parser, NAME_PROCESS, &number))
			return false;
		if (parser->new_name.given && !parser->new_name.taken &&
		    !define_process(parser, &parser->new_name.token, false))
			return false;
		parser->new_name = (struct new_name){ 0 };
	} while (parser->lex.token.kind == TOKEN_WORD);
	return parse_end(parser);
}

static bool parse_options(struct parser *parser)
{
	struct cow_scenario *scenario = parser->scenario;

	do {
		const struct token word = parser->lex.token;
		uint32_t option = word_find(option_words, OPTION_COUNT, &word);

		if (word.kind != TOKEN_WORD)
			return fail_expected(parser, "an option");
		if (option == OPTION_COUNT)
			return fail_unknown(parser, &word, "option", option_words, OPTION_COUNT);
		if (scenario->options & 1u << option)
			return fail_at(parser, &word, "'%.*s' is given twice", TOKEN_ARGS(&word));
		scenario->options |= 1u << option;
		lex_next(&parser->lex);
	} while (parser->lex.token.kind == TOKEN_WORD);
	return parse_end(parser);
}

static bool parse_file(struct parser *parser)
{
	struct token word = parser->lex.token;
	uint64_t pages = 0, value = 0;
	struct symbol *symbol;

	if (!token_is_name(&word))
		return fail_expected(parser, "a new name");
	symbol = symbol_find(&parser->symbols, &word);
	if (symbol && symbol->meaning[NAME_FILE] != COW_NONE)
		return fail_at(parser, &word, "file '%.*s' is there already", TOKEN_ARGS(&word));
	lex_next(&parser->lex);
	if (parse_number(parser, "a number of pages", 0, PARSE_MAX_PAGES, &pages) &&
	    (parser->lex.token.kind == TOKEN_END ||
	     parse_number(parser, "a value", 0, UINT64_MAX, &value)))
		parse_end(parser);
	return define_file(parser, &word, pages, value);
}

static bool parse_count(struct parser *parser, uint32_t header)
{
	struct cow_scenario *scenario = parser->scenario;
	uint64_t *const fields[] = { &scenario->frames, &scenario->swap, &scenario->hugetlb,
				     &scenario->lru_batch };
	static const uint64_t most[] = { PARSE_MAX_PAGES, PARSE_MAX_PAGES, PARSE_MAX_POOL, 255 };
	unsigned index = header - HEADER_FRAMES;

	scenario->given |= 1u << index;
	return parse_number(parser, "a number", header == HEADER_FRAMES, most[index],
			    fields[index]) &&
	       parse_end(parser);
}

bool parse_header(struct parser *parser, uint32_t header)
{
	bool again = parser->header & 1u << header;

	if (parser->in_events)
		fail_at(parser, &parser->word, "'%.*s' belongs before the first event",
			TOKEN_ARGS(&parser->word));
	else if (again && header != HEADER_FILE)
		fail_at(parser, &parser->word, "'%.*s' is given twice", TOKEN_ARGS(&parser->word));
	parser->header |= 1u << header;
	switch (header) {
	case HEADER_TITLE:
		return parse_title(parser);
	case HEADER_POLICIES:
		return parse_policies(parser);
	case HEADER_PROCESS:
		parser->has_process = true;
		return parse_processes(parser);
	case HEADER_FILE:
		return parse_file(parser);
	case HEADER_OPTION:
		return parse_options(parser);
	default:
		return parse_count(parser, header);
	}
}
