/* SPDX-License-Identifier: MIT
 *
 * Which moves of a state led to states that were there before its first child: what sleep.c wants
 * to know of a parent.  Kept of the level that is expanded and the one before it alone, 8 bytes a
 * state; of a level that a checkpoint has begun in part.  What is not known lets nothing sleep.
 */
#include "explore/explore.h"

#include <errno.h>

static struct known_moves *known_level(struct search *search, uint32_t level)
{
	return &search->known[level & 1];
}

int past_begin(struct search *search)
{
	struct known_moves *known = known_level(search, search->levels);
	uint32_t first = search->level_first[search->levels - 1];
	uint32_t count = search->level_first[search->levels] - first;

	known->count = 0;
	if (!search->sleeps)
		return 0;
	if (array_grow(&search->allocator, (void **)&known->moves, &known->room, count,
		       sizeof(*known->moves)))
		return -ENOMEM;
	/* Each is written by past_take before the next level begins, and read from then on. */
	known->first = first;
	known->count = count;
	return 0;
}

uint64_t past_of(const struct search *search, uint32_t state)
{
	const struct known_moves *known = &search->known[(search->levels - 1) & 1];

	return state - known->first < known->count ? known->moves[state - known->first] : 0;
}

void past_note(struct slice *slice, uint32_t state, uint32_t place)
{
	if (place < 64)
		slice->known[state - slice->first] |= UINT64_C(1) << place;
}

void past_take(struct search *search, const struct slice *slice)
{
	const struct known_moves *known = known_level(search, search->levels);

	for (uint32_t state = slice->first; state < slice->end; state++)
		if (state - known->first < known->count)
			known->moves[state - known->first] = slice->known[state - slice->first];
}

void past_add(struct search *search, uint32_t state, uint32_t place)
{
	const struct known_moves *known = known_level(search, search->levels);

	if (place < 64 && state - known->first < known->count)
		known->moves[state - known->first] |= UINT64_C(1) << place;
}

uint64_t past_bytes(const struct search *search)
{
	return (search->known[0].room + search->known[1].room) * sizeof(uint64_t);
}
