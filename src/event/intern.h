/* SPDX-License-Identifier: MIT
 *
 * Strings that live as long as the scenario, and what each name means at this line.
 * Owns the arena and the hash table.  Never decides whether a name may be used.
 * Read intern.c, then track.h.
 */
#ifndef COWLAB_EVENT_INTERN_H
#define COWLAB_EVENT_INTERN_H

#include "event/lex.h"

/* Strings are never freed one by one. */
struct arena_block {
	struct arena_block *next;
	size_t size; /* of the whole block */
	size_t used; /* of bytes[] */
	char bytes[];
};

/* A copy that ends in NUL, or NULL. */
char *arena_string(const struct cow_allocator *allocator, struct arena_block **arena,
		   const char *text, size_t length);
void arena_free(const struct cow_allocator *allocator, struct arena_block *arena);

/* Names of different kinds never collide: a process and a region may both be called `a`. */
enum name_kind { NAME_PROCESS, NAME_REGION, NAME_REF, NAME_FILE, NAME_POLICY, NAME_KINDS };

struct symbol {
	char *text; /* in the arena; NULL: the slot is free */
	uint32_t length;
	uint32_t hash;
	uint32_t meaning[NAME_KINDS]; /* number of the newest definition, or COW_NONE */
};

struct symbols {
	struct symbol *slots;
	size_t capacity; /* a power of two, or 0 */
	size_t count;
};

/* The symbol of a token, or NULL if no name is spelt so. */
struct symbol *symbol_find(const struct symbols *symbols, const struct token *token);
/* The same, made where there is none; NULL: no memory.  Good until the next call. */
struct symbol *symbol_intern(struct symbols *symbols, const struct cow_allocator *allocator,
			     struct arena_block **arena, const struct token *token);
void symbols_free(struct symbols *symbols, const struct cow_allocator *allocator);

#endif
