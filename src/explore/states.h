/* SPDX-License-Identifier: MIT
 *
 * The states that were found: of each the hash of its canonical form, the state that it was first
 * reached from and the move that led there, 22 bytes, and a hash table of numbers beside them.
 * With `exact` the forms too.  A state itself is not kept: its path makes it again.
 */
#ifndef COWLAB_EXPLORE_STATES_H
#define COWLAB_EXPLORE_STATES_H

#include "base/alloc.h"
#include "explore/form.h"

enum { STATES_SHIFT = 14, STATES_CHUNK = 1 << STATES_SHIFT, TEXT_CHUNK = 1 << 20, TEXT_HEAD = 4 };

#define NO_STATE UINT32_MAX

struct state_chunk {
	struct hash128 hash[STATES_CHUNK];
	uint32_t parent[STATES_CHUNK];
	uint16_t move[STATES_CHUNK];
};

struct states {
	struct cow_allocator allocator;
	uint32_t count;
	struct state_chunk **chunks; size_t chunk_room; uint32_t chunk_count;
	uint32_t *index; uint64_t slots; /* number + 1; 0: free */
	bool merge;        /* equal states are one */
	bool exact;        /* forms are kept: */
	uint64_t **texts; size_t text_rooms; /* per chunk of states: where each form begins */
	char **bytes; size_t byte_chunks; size_t byte_count; uint64_t byte_end;
	uint64_t held, peak; /* bytes of host memory */
	uint64_t collisions; /* with exact: forms that had one hash */
};

static inline struct hash128 *state_hash(const struct states *states, uint32_t number)
{
	return &states->chunks[number >> STATES_SHIFT]->hash[number & (STATES_CHUNK - 1)];
}

static inline uint32_t state_parent(const struct states *states, uint32_t number)
{
	return states->chunks[number >> STATES_SHIFT]->parent[number & (STATES_CHUNK - 1)];
}

static inline uint16_t state_move(const struct states *states, uint32_t number)
{
	return states->chunks[number >> STATES_SHIFT]->move[number & (STATES_CHUNK - 1)];
}

void states_init(struct states *states, const struct cow_allocator *allocator, bool merge,
		 bool exact);
void states_free(struct states *states);
/* Bytes that room for `more` states beyond those there would bring the whole to, for a moment. */
uint64_t states_want(const struct states *states, uint64_t more);
/* Makes that room; forms aside.  Returns 0 or -ENOMEM. */
int states_reserve(struct states *states, uint64_t more);
/* The state of a form, or NO_STATE.  `text` is the packed form where forms are kept, else NULL. */
uint32_t states_find(const struct states *states, struct hash128 hash, const char *text,
		     size_t size);
/* Has the processor fetch what states_find will look at: first the slot, then what it names. */
void states_expect(const struct states *states, struct hash128 hash);
void states_expect_more(const struct states *states, struct hash128 hash);
/* Adds one that is not there; there must be room.  Returns 0 or -ENOMEM (of forms alone). */
int states_add(struct states *states, struct hash128 hash, uint32_t parent, uint16_t move,
	       const char *text, size_t size);
/* The moves that lead to a state, into room for all of them.  Returns how many. */
uint32_t path_moves(const struct states *states, uint32_t state, uint16_t *moves);
/* A packed form has its length before it. */
static inline void text_head(char *to, size_t size)
{
	uint32_t length = (uint32_t)size;

	memcpy(to, &length, TEXT_HEAD);
}

static inline const char *text_open(const char *from, size_t *size)
{
	uint32_t length;

	memcpy(&length, from, TEXT_HEAD);
	*size = length;
	return from + TEXT_HEAD;
}

/* The packed form of a state, where forms are kept. */
const char *states_text(const struct states *states, uint32_t number, size_t *size);

/* A form as bytes; at most 5 a word.  Returns how many. */
size_t form_pack(const struct form *form, char *to);

#endif
