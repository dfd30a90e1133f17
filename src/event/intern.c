/* SPDX-License-Identifier: MIT
 *
 * The arena of strings and the hash table of names.
 * The hash decides no order that anybody sees, so results do not depend on it.
 */
#include "event/intern.h"

#include "base/alloc.h"

enum { ARENA_FIRST = 1024, ARENA_LARGEST = 1 << 20, SYMBOLS_FIRST = 64 };

char *arena_string(const struct cow_allocator *allocator, struct arena_block **arena,
		   const char *text, size_t length)
{
	struct arena_block *block = *arena;
	char *copy;

	if (!block || block->size - sizeof(*block) - block->used <= length) {
		size_t size = block ? block->size * 2 : ARENA_FIRST;

		if (size > ARENA_LARGEST)
			size = ARENA_LARGEST;
		if (size < sizeof(*block) + length + 1)
			size = sizeof(*block) + length + 1;
		block = cow_zalloc_(allocator, size);
		if (!block)
			return NULL;
		block->size = size;
		block->next = *arena;
		*arena = block;
	}
	copy = block->bytes + block->used;
	memcpy(copy, text, length);
	copy[length] = '\0';
	block->used += length + 1;
	return copy;
}

void arena_free(const struct cow_allocator *allocator, struct arena_block *arena)
{
	while (arena) {
		struct arena_block *next = arena->next;

		cow_release_(allocator, arena, arena->size);
		arena = next;
	}
}

/* FNV-1a, its high half folded in because the slot is taken from the low bits. */
static uint32_t hash_of(const char *text, uint32_t length)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (uint32_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
	return (uint32_t)(hash ^ (hash >> 32));
}

/* The slot of the token, or the free one where it would go. */
static struct symbol *slot_of(const struct symbols *symbols, const struct token *token,
			      uint32_t hash)
{
	size_t at = hash & (symbols->capacity - 1);

	for (;; at = (at + 1) & (symbols->capacity - 1)) {
		struct symbol *slot = &symbols->slots[at];

		if (!slot->text || (slot->hash == hash && slot->length == token->length &&
				    !memcmp(slot->text, token->text, token->length)))
			return slot;
	}
}

struct symbol *symbol_find(const struct symbols *symbols, const struct token *token)
{
	struct symbol *slot;

	if (!symbols->capacity)
		return NULL;
	slot = slot_of(symbols, token, hash_of(token->text, token->length));
	return slot->text ? slot : NULL;
}

static bool symbols_grow(struct symbols *symbols, const struct cow_allocator *allocator)
{
	struct symbols grown = { NULL, SYMBOLS_FIRST, symbols->count };

	if (symbols->capacity)
		grown.capacity = symbols->capacity * 2;
	grown.slots = cow_zalloc_(allocator, grown.capacity * sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < symbols->capacity; i++) {
		size_t at = symbols->slots[i].hash & (grown.capacity - 1);

		if (!symbols->slots[i].text)
			continue;
		while (grown.slots[at].text)
			at = (at + 1) & (grown.capacity - 1);
		grown.slots[at] = symbols->slots[i];
	}
	symbols_free(symbols, allocator);
	*symbols = grown;
	return true;
}

struct symbol *symbol_intern(struct symbols *symbols, const struct cow_allocator *allocator,
			     struct arena_block **arena, const struct token *token)
{
	uint32_t hash = hash_of(token->text, token->length);
	struct symbol *slot;

	if (symbols->count * 2 >= symbols->capacity && !symbols_grow(symbols, allocator))
		return NULL;
	slot = slot_of(symbols, token, hash);
	if (slot->text)
		return slot;
	slot->text = arena_string(allocator, arena, token->text, token->length);
	if (!slot->text)
		return NULL;
	slot->length = token->length;
	slot->hash = hash;
	for (int kind = 0; kind < NAME_KINDS; kind++)
		slot->meaning[kind] = COW_NONE;
	symbols->count++;
	return slot;
}

void symbols_free(struct symbols *symbols, const struct cow_allocator *allocator)
{
	cow_release_(allocator, symbols->slots, symbols->capacity * sizeof(*symbols->slots));
	*symbols = (struct symbols){ 0 };
}
