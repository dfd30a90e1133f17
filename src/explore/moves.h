/* SPDX-License-Identifier: MIT
 *
 * What is tried in a state: every move that can do anything there, in a fixed order.  A move that
 * would only be an error, or that would find nothing to do, is left out; what decides that is part
 * of the canonical form, so that equal states have equal moves.
 */
#ifndef COWLAB_EXPLORE_MOVES_H
#define COWLAB_EXPLORE_MOVES_H

#include "explore/world.h"

enum { MOST_MOVES = MOST_ROWS * MOST_PROCESSES * MOST_PLACES };

/* A move in 16 bits. */
static inline uint16_t move_code(struct move move)
{
	return (uint16_t)(move.row << 8 | move.process << 5 | move.operand);
}

static inline struct move move_of(uint16_t code)
{
	return (struct move){ (uint8_t)(code >> 8), code >> 5 & 7, code & 31 };
}

/* Fills `moves` and returns how many there are. */
uint32_t moves_list(const struct world *world, struct move moves[MOST_MOVES]);
/* True if the move is one of them. */
bool move_possible(const struct world *world, struct move move);
/* True if a kind of the caller's can be tried. */
bool kind_usable(const struct cow_kind *kind);

#endif
