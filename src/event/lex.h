/* SPDX-License-Identifier: MIT
 *
 * Tokens of one line of a scenario.  Owns nothing: a token points into the caller's text.
 * Never looks at the meaning of a word.  Read lex.c, then parse.h.
 */
#ifndef COWLAB_EVENT_LEX_H
#define COWLAB_EVENT_LEX_H

#include "event/words.h"

enum token_kind {
	TOKEN_END,       /* of the line, or the start of its comment */
	TOKEN_WORD,      /* letters, digits and _ - . * : names, keywords, numbers, policies */
	TOKEN_CHARACTER, /* 'c' */
	TOKEN_COLON, TOKEN_SEMICOLON, TOKEN_COMMA, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_PLUS,
	TOKEN_EQUAL,     /* == */
	TOKEN_ARROW,     /* -> */
	TOKEN_RANGE,     /* .. */
	TOKEN_BAD,       /* a byte that begins no token */
};

struct token {
	const char *text;
	uint32_t length;
	enum token_kind kind;
	bool glued;             /* no blank before it */
	unsigned char classes;  /* of a word: every class of byte that is in it */
};

struct lexer {
	const char *line, *end; /* the whole line, without its end */
	const char *at;         /* next byte */
	const char *last;       /* behind the last token that was passed */
	struct token token;     /* the current one */
};

/* Starts on a line; the first token is current then. */
void lex_line(struct lexer *lexer, const char *line, size_t length);
/* Makes the next token current. */
void lex_next(struct lexer *lexer);

/* True if the token has the form of a name: [A-Za-z_][A-Za-z0-9_]*. */
bool token_is_name(const struct token *token);
bool token_is(const struct token *token, struct word word);

enum number { NUMBER_OK, NUMBER_NONE, NUMBER_LARGE };
enum number token_number(const struct token *token, uint64_t *value);

/* Index of the word that the token is; `count` if it is none of them. */
uint32_t word_find(const struct word *words, uint32_t count, const struct token *token);

#endif
