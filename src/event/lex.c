/* SPDX-License-Identifier: MIT
 *
 * Cuts a line into tokens, one at a time and without copying.
 * Owns the classes of bytes and the forms of numbers and names.  Never reports: a byte that
 * fits nowhere becomes TOKEN_BAD, and the parser says so with its place.
 */
#include "event/lex.h"

#include <string.h>

enum {
	LETTER = 1, /* letters and _ */
	DIGIT = 2,
	MARK = 4,   /* what policies, verbs and globs have besides: - . * */
	BLANK = 8,
	IN_WORD = LETTER | DIGIT | MARK
};

#define L LETTER
#define D DIGIT
#define M MARK
#define B BLANK
static const unsigned char class_of[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, B, 0, 0, 0, 0, 0, 0, /* \t */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	B, 0, 0, 0, 0, 0, 0, 0, 0, 0, M, 0, 0, M, M, 0, /* blank * - . */
	D, D, D, D, D, D, D, D, D, D, 0, 0, 0, 0, 0, 0,
	0, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
	L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, 0, L, /* _ */
	0, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
	L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, 0, 0,
};
#undef L
#undef D
#undef M
#undef B

static unsigned char class_at(const char *at)
{
	return class_of[(unsigned char)*at];
}

/* A word ends before `->` and `..`, whose first bytes may be in words. */
static void lex_word(struct lexer *lexer)
{
	const char *at = lexer->at;
	unsigned char class, classes = 0;

	while (at < lexer->end && ((class = class_at(at)) & IN_WORD)) {
		if (class == MARK && at + 1 < lexer->end &&
		    ((at[0] == '-' && at[1] == '>') || (at[0] == '.' && at[1] == '.')))
			break;
		classes |= class;
		at++;
	}
	lexer->token.kind = TOKEN_WORD;
	lexer->token.length = (uint32_t)(at - lexer->at);
	lexer->token.classes = classes;
	lexer->at = at;
}

/* Anything else; two bytes where they belong together. */
static void lex_mark(struct lexer *lexer)
{
	const char *at = lexer->at;
	size_t left = (size_t)(lexer->end - at);
	enum token_kind kind = TOKEN_BAD;
	uint32_t length = 1;

	switch (*at) {
	case ':': kind = TOKEN_COLON; break;
	case ';': kind = TOKEN_SEMICOLON; break;
	case ',': kind = TOKEN_COMMA; break;
	case '[': kind = TOKEN_OPEN; break;
	case ']': kind = TOKEN_CLOSE; break;
	case '+': kind = TOKEN_PLUS; break;
	case '=':
		if (left >= 2 && at[1] == '=') {
			kind = TOKEN_EQUAL;
			length = 2;
		}
		break;
	case '-':
		kind = TOKEN_ARROW;
		length = 2;
		break;
	case '.':
		kind = TOKEN_RANGE;
		length = 2;
		break;
	case '\'':
		if (left >= 3 && at[2] == '\'' && at[1] >= ' ' && at[1] <= '~') {
			kind = TOKEN_CHARACTER;
			length = 3;
		}
		break;
	}
	lexer->token.kind = kind;
	lexer->token.length = length;
	lexer->at = at + length;
}

void lex_next(struct lexer *lexer)
{
	const char *start = lexer->at;

	lexer->last = start;
	while (lexer->at < lexer->end && class_at(lexer->at) == BLANK)
		lexer->at++;
	lexer->token.glued = lexer->at == start;
	lexer->token.text = lexer->at;
	lexer->token.classes = 0;
	if (lexer->at == lexer->end || *lexer->at == '#') {
		lexer->token.kind = TOKEN_END;
		lexer->token.length = 0;
		return;
	}
	if (class_at(lexer->at) & IN_WORD) {
		lex_word(lexer);
		if (lexer->token.length)
			return;
	}
	lex_mark(lexer);
}

void lex_line(struct lexer *lexer, const char *line, size_t length)
{
	lexer->line = line;
	lexer->end = line + length;
	lexer->at = line;
	lex_next(lexer);
}

bool token_is_name(const struct token *token)
{
	return token->kind == TOKEN_WORD && !(token->classes & MARK) &&
	       (class_at(token->text) & LETTER);
}

bool token_is(const struct token *token, struct word word)
{
	return token->kind == TOKEN_WORD && token->length == word.length &&
	       !memcmp(token->text, word.text, word.length);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

enum number token_number(const struct token *token, uint64_t *value)
{
	const char *at = token->text, *end = at + token->length;
	uint64_t base = 10, sum = 0;
	bool large = false;

	if (token->kind == TOKEN_CHARACTER) {
		*value = (unsigned char)at[1];
		return NUMBER_OK;
	}
	if (token->kind != TOKEN_WORD || !(class_at(at) & DIGIT))
		return NUMBER_NONE;
	if (token->length > 2 && at[0] == '0' && at[1] == 'x') {
		base = 16;
		at += 2;
	}
	for (; at < end; at++) {
		uint64_t digit = (uint64_t)digit_of(*at);

		if (digit >= base)
			return NUMBER_NONE;
		if (sum > (UINT64_MAX - digit) / base)
			large = true;
		else
			sum = sum * base + digit;
	}
	*value = sum;
	return large ? NUMBER_LARGE : NUMBER_OK;
}

uint32_t word_find(const struct word *words, uint32_t count, const struct token *token)
{
	for (uint32_t i = 0; i < count; i++)
		if (words[i].length == token->length && words[i].text[0] == token->text[0] &&
		    token_is(token, words[i]))
			return i;
	return count;
}
