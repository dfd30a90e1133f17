/* SPDX-License-Identifier: MIT
 *
 * The table of states.  It grows by half, so that at worst half of it is unused: 8 bytes a state,
 * and at best 5.3.
 */
#include "explore/states.h"

#include <errno.h>

void states_init(struct states *states, const struct cow_allocator *allocator, bool merge,
		 bool exact)
{
	memset(states, 0, sizeof(*states));
	states->allocator = *allocator;
	states->merge = merge;
	states->exact = exact;
}

static void hold(struct states *states, uint64_t bytes)
{
	states->held += bytes;
	if (states->held > states->peak)
		states->peak = states->held;
}

void states_free(struct states *states)
{
	for (uint32_t i = 0; i < states->chunk_count; i++)
		cow_release_(&states->allocator, states->chunks[i], sizeof(struct state_chunk));
	for (uint32_t i = 0; states->exact && i < states->chunk_count; i++)
		cow_release_(&states->allocator, states->texts[i], STATES_CHUNK * sizeof(uint64_t));
	for (size_t i = 0; i < states->byte_count; i++)
		cow_release_(&states->allocator, states->bytes[i], TEXT_CHUNK);
	cow_release_(&states->allocator, states->chunks,
		     states->chunk_room * sizeof(*states->chunks));
	cow_release_(&states->allocator, states->texts,
		     states->text_rooms * sizeof(*states->texts));
	cow_release_(&states->allocator, states->bytes,
		     states->byte_chunks * sizeof(*states->bytes));
	cow_release_(&states->allocator, states->index, states->slots * sizeof(*states->index));
	memset(states, 0, sizeof(*states));
}

/* The chance of two hashes being far apart in it: any size will do, not only a power of two. */
static uint64_t slot_of(const struct states *states, struct hash128 hash)
{
	uint64_t high = hash.high >> 32, low = hash.high & UINT32_MAX;

	return (high * states->slots + (low * states->slots >> 32)) >> 32;
}

/* Slots that so many states want: three quarters are used at most. */
static uint64_t slots_for(const struct states *states, uint64_t count)
{
	uint64_t slots = states->slots ? states->slots : 1024;

	while (slots / 4 * 3 < count)
		slots += slots / 2;
	return slots;
}

static uint64_t chunk_bytes(const struct states *states)
{
	return sizeof(struct state_chunk) + (states->exact ? STATES_CHUNK * sizeof(uint64_t) : 0);
}

uint64_t states_want(const struct states *states, uint64_t more)
{
	uint64_t count = states->count + more;
	uint64_t chunks = (count + STATES_CHUNK - 1) >> STATES_SHIFT;
	uint64_t slots = slots_for(states, count), bytes = states->held;

	if (chunks > states->chunk_count)
		bytes += (chunks - states->chunk_count) * chunk_bytes(states);
	if (states->merge && slots > states->slots)
		bytes += slots * sizeof(*states->index);
	return bytes;
}

static int index_grow(struct states *states, uint64_t slots)
{
	uint32_t *old = states->index;
	uint64_t old_slots = states->slots;
	uint32_t *index = cow_zalloc_(&states->allocator, slots * sizeof(*index));

	if (!index)
		return -ENOMEM;
	hold(states, slots * sizeof(*index));
	states->index = index;
	states->slots = slots;
	for (uint32_t i = 0; i < states->count; i++) {
		uint64_t slot = slot_of(states, *state_hash(states, i));

		while (index[slot])
			slot = slot + 1 == slots ? 0 : slot + 1;
		index[slot] = i + 1;
	}
	cow_release_(&states->allocator, old, old_slots * sizeof(*old));
	states->held -= old_slots * sizeof(*old);
	return 0;
}

static int chunk_add(struct states *states)
{
	uint32_t at = states->chunk_count;

	if (array_grow(&states->allocator, (void **)&states->chunks, &states->chunk_room, at + 1u,
		       sizeof(*states->chunks)) ||
	    (states->exact && array_grow(&states->allocator, (void **)&states->texts,
					 &states->text_rooms, at + 1u, sizeof(*states->texts))))
		return -ENOMEM;
	states->chunks[at] = cow_zalloc_(&states->allocator, sizeof(struct state_chunk));
	if (!states->chunks[at])
		return -ENOMEM;
	if (states->exact) {
		states->texts[at] =
			cow_zalloc_(&states->allocator, STATES_CHUNK * sizeof(uint64_t));
		if (!states->texts[at]) {
			cow_release_(&states->allocator, states->chunks[at],
				     sizeof(struct state_chunk));
			return -ENOMEM;
		}
	}
	states->chunk_count++;
	hold(states, chunk_bytes(states));
	return 0;
}

int states_reserve(struct states *states, uint64_t more)
{
	uint64_t count = states->count + more;
	uint64_t slots = slots_for(states, count);

	if (count >= NO_STATE)
		return -ENOMEM;
	while ((uint64_t)states->chunk_count << STATES_SHIFT < count)
		if (chunk_add(states))
			return -ENOMEM;
	return states->merge && slots > states->slots ? index_grow(states, slots) : 0;
}

const char *states_text(const struct states *states, uint32_t number, size_t *size)
{
	uint64_t where = states->texts[number >> STATES_SHIFT][number & (STATES_CHUNK - 1)];
	const char *text = &states->bytes[where / TEXT_CHUNK][where % TEXT_CHUNK];

	return text_open(text, size);
}

static bool text_equal(const struct states *states, uint32_t number, const char *text, size_t size)
{
	size_t other;
	const char *have = states_text(states, number, &other);

	return other == size && !memcmp(have, text, size);
}

uint32_t states_find(const struct states *states, struct hash128 hash, const char *text,
		     size_t size)
{
	uint64_t slot;

	if (!states->merge || !states->slots)
		return NO_STATE;
	slot = slot_of(states, hash);
	for (; states->index[slot]; slot = slot + 1 == states->slots ? 0 : slot + 1) {
		uint32_t number = states->index[slot] - 1;
		const struct hash128 *have = state_hash(states, number);

		if (have->low == hash.low && have->high == hash.high &&
		    (!states->exact || text_equal(states, number, text, size)))
			return number;
	}
	return NO_STATE;
}

void states_expect(const struct states *states, struct hash128 hash)
{
	if (states->slots)
		__builtin_prefetch(&states->index[slot_of(states, hash)]);
}

void states_expect_more(const struct states *states, struct hash128 hash)
{
	uint32_t number = states->slots ? states->index[slot_of(states, hash)] : 0;

	if (number)
		__builtin_prefetch(state_hash(states, number - 1));
}

/* A form lies in one piece, its length before it. */
static int text_add(struct states *states, const char *text, size_t size)
{
	size_t left = TEXT_CHUNK - (size_t)(states->byte_end % TEXT_CHUNK);
	char *to;

	if (!states->byte_count || left < size + TEXT_HEAD || left == TEXT_CHUNK) {
		if (array_grow(&states->allocator, (void **)&states->bytes, &states->byte_chunks,
			       states->byte_count + 1, sizeof(*states->bytes)))
			return -ENOMEM;
		states->bytes[states->byte_count] = cow_zalloc_(&states->allocator, TEXT_CHUNK);
		if (!states->bytes[states->byte_count])
			return -ENOMEM;
		states->byte_end = (uint64_t)states->byte_count++ * TEXT_CHUNK;
		hold(states, TEXT_CHUNK);
	}
	to = &states->bytes[states->byte_end / TEXT_CHUNK][states->byte_end % TEXT_CHUNK];
	text_head(to, size);
	memcpy(to + TEXT_HEAD, text, size);
	states->texts[states->count >> STATES_SHIFT][states->count & (STATES_CHUNK - 1)] =
		states->byte_end;
	states->byte_end += size + TEXT_HEAD;
	return 0;
}

int states_add(struct states *states, struct hash128 hash, uint32_t parent, uint16_t move,
	       const char *text, size_t size)
{
	uint32_t number = states->count;
	struct state_chunk *chunk = states->chunks[number >> STATES_SHIFT];

	if (states->exact && text_add(states, text, size))
		return -ENOMEM;
	chunk->hash[number & (STATES_CHUNK - 1)] = hash;
	chunk->parent[number & (STATES_CHUNK - 1)] = parent;
	chunk->move[number & (STATES_CHUNK - 1)] = move;
	if (states->merge) {
		uint64_t slot = slot_of(states, hash);

		for (; states->index[slot]; slot = slot + 1 == states->slots ? 0 : slot + 1) {
			const struct hash128 *have = state_hash(states, states->index[slot] - 1);

			states->collisions += have->low == hash.low && have->high == hash.high;
		}
		states->index[slot] = number + 1;
	}
	states->count++;
	return 0;
}

uint32_t path_moves(const struct states *states, uint32_t state, uint16_t *moves)
{
	uint32_t count = 0;

	for (; state; state = state_parent(states, state))
		moves[count++] = state_move(states, state);
	for (uint32_t low = 0, high = count - 1; count && low < high; low++, high--) {
		uint16_t move = moves[low];

		moves[low] = moves[high];
		moves[high] = move;
	}
	return count;
}

size_t form_pack(const struct form *form, char *to)
{
	size_t size = 0;

	for (uint32_t i = 0; i < form->count; i++) {
		uint32_t word = form->words[i];

		/* Tags are in the high byte: turned about, a word is small. */
		for (word = word << 2 | word >> 30; word > 127; word >>= 7)
			to[size++] = (char)(word | 128);
		to[size++] = (char)word;
	}
	return size;
}
