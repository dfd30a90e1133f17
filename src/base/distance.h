/* SPDX-License-Identifier: MIT
 *
 * How far a misspelled word is from one that is known.
 */
#ifndef COWLAB_BASE_DISTANCE_H
#define COWLAB_BASE_DISTANCE_H

#include <stddef.h>
#include <stdint.h>

enum { WORD_LENGTH = 64 }; /* bytes of a word that is compared */

/* Letters to insert, delete, replace, or swap with their neighbour, to make one word of the other.
 * UINT32_MAX: one is longer than WORD_LENGTH. */
uint32_t word_distance(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
