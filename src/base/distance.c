/* SPDX-License-Identifier: MIT
 *
 * The edit distance of two words, row by row of the usual table.
 */
#include "base/distance.h"

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t word_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	uint32_t rows[3][WORD_LENGTH + 1];
	uint32_t *before = rows[0], *last = rows[1], *row = rows[2];

	if (a_length > WORD_LENGTH || b_length > WORD_LENGTH)
		return UINT32_MAX;
	for (uint32_t j = 0; j <= b_length; j++)
		last[j] = j;
	for (uint32_t i = 1; i <= a_length; i++) {
		uint32_t *spare = before;

		row[0] = i;
		for (uint32_t j = 1; j <= b_length; j++) {
			row[j] = least(last[j], row[j - 1]) + 1;
			row[j] = least(row[j], last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_length];
}
