/* SPDX-License-Identifier: MIT
 *
 * Errors of a scenario: one sentence with its place, and the nearest word that is known.
 * Owns the form of the sentences that several places share.  Never prints; the caller of
 * cow_scenario_error() does.
 */
#include "base/distance.h"
#include "event/parse.h"

#include <stdarg.h>
#include <stdio.h>

static void keep(struct parser *parser, uint32_t line, const char *text, size_t length,
		 size_t column, const char *format, va_list arguments)
{
	struct cow_scenario *scenario = parser->scenario;
	struct cow_diagnostic *diagnostic;
	char *copy;

	if (scenario->error_count < UINT32_MAX)
		scenario->error_count++;
	if (scenario->diagnostic_count == SCENARIO_DIAGNOSTICS)
		return;
	if (!scenario->diagnostics)
		scenario->diagnostics = cow_zalloc_(&scenario->allocator, SCENARIO_DIAGNOSTICS *
						    sizeof(*scenario->diagnostics));
	if (!scenario->diagnostic_text)
		scenario->diagnostic_text = cow_zalloc_(&scenario->allocator, SCENARIO_DIAGNOSTICS *
							(SCENARIO_LINE_BYTES + 1));
	if (!scenario->diagnostics || !scenario->diagnostic_text) {
		parser->no_memory = true;
		return;
	}
	copy = scenario->diagnostic_text + scenario->diagnostic_count * (SCENARIO_LINE_BYTES + 1);
	diagnostic = &scenario->diagnostics[scenario->diagnostic_count++];
	diagnostic->line = line;
	diagnostic->column = (uint32_t)column;
	diagnostic->text = copy;
	if (length > SCENARIO_LINE_BYTES)
		length = SCENARIO_LINE_BYTES;
	diagnostic->text_length = (uint32_t)length;
	memcpy(copy, text, length);
	vsnprintf(diagnostic->sentence, sizeof(diagnostic->sentence), format, arguments);
}

void fail_line(struct parser *parser, uint32_t line, const char *text, size_t length,
	       size_t column, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	keep(parser, line, text, length, column, format, arguments);
	va_end(arguments);
}

bool fail_at(struct parser *parser, const struct token *where, const char *format, ...)
{
	const struct lexer *lex = &parser->lex;
	const char *at = where->kind == TOKEN_END ? lex->last : where->text;
	va_list arguments;

	if (parser->failed)
		return false;
	parser->failed = true;
	va_start(arguments, format);
	keep(parser, parser->line, lex->line, (size_t)(lex->end - lex->line),
	     (size_t)(at - lex->line) + 1, format, arguments);
	va_end(arguments);
	return false;
}

bool fail_is_kept(const struct parser *parser)
{
	return !parser->failed && parser->scenario->diagnostic_count < SCENARIO_DIAGNOSTICS;
}

bool fail_expected(struct parser *parser, const char *what)
{
	const struct token *token = &parser->lex.token;

	if (token->kind == TOKEN_END)
		return fail_at(parser, token, "%s is expected, and the line ends", what);
	if (token->kind == TOKEN_BAD && (*token->text < ' ' || *token->text > '~'))
		return fail_at(parser, token, "%s is expected, found the byte 0x%02x", what,
			       (unsigned char)*token->text);
	return fail_at(parser, token, "%s is expected, found '%.*s'", what, TOKEN_ARGS(token));
}

void nearest_offer(struct nearest *nearest, const struct token *token, const char *word,
		   uint32_t length)
{
	uint32_t gap = length > token->length ? length - token->length : token->length - length;
	uint32_t allowed = (token->length + 1) / 3, found;

	allowed = allowed < 2 ? allowed : 2;
	if (gap > allowed)
		return;
	found = word_distance(token->text, token->length, word, length);
	if (found > allowed || (nearest->text && found > nearest->distance))
		return;
	/* Letters are forgotten more often than added. */
	if (nearest->text && found == nearest->distance && length <= nearest->length)
		return;
	*nearest = (struct nearest){ word, length, found };
}

bool fail_nearest(struct parser *parser, const struct token *where, const char *what,
		  const struct nearest *nearest)
{
	if (nearest->text)
		return fail_at(parser, where, "unknown %s '%.*s': did you mean '%.*s'?", what,
			       TOKEN_ARGS(where), (int)nearest->length, nearest->text);
	return fail_at(parser, where, "unknown %s '%.*s'", what, TOKEN_ARGS(where));
}

bool fail_unknown(struct parser *parser, const struct token *where, const char *what,
		  const struct word *words, uint32_t count)
{
	struct nearest nearest = { 0 };

	if (fail_is_kept(parser))
		for (uint32_t i = 0; i < count; i++)
			nearest_offer(&nearest, where, words[i].text, words[i].length);
	return fail_nearest(parser, where, what, &nearest);
}

const char *name_kind_word(enum name_kind kind)
{
	static const char *const words[NAME_KINDS] = {
		"process", "region", "reference", "file", "policy",
	};

	return words[kind];
}

bool fail_unknown_name(struct parser *parser, const struct token *where, enum name_kind kind)
{
	const struct cow_scenario *scenario = parser->scenario;
	const struct scenario_name *names = kind == NAME_PROCESS ? scenario->processes :
					    kind == NAME_REGION ? scenario->regions :
					    scenario->refs;
	uint32_t count = kind == NAME_PROCESS ? scenario->process_count :
			 kind == NAME_REGION ? scenario->region_count : scenario->ref_count;
	struct nearest nearest = { 0 };
	const char *name;

	if (kind == NAME_FILE)
		count = scenario->file_count;
	if (fail_is_kept(parser)) {
		for (uint32_t i = 0; i < count; i++) {
			name = kind == NAME_FILE ? scenario->files[i].text : names[i].text;
			nearest_offer(&nearest, where, name, (uint32_t)strlen(name));
		}
	}
	return fail_nearest(parser, where, name_kind_word(kind), &nearest);
}
