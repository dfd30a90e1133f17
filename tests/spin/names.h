/* SPDX-License-Identifier: MIT
 *
 * Names of a state of cow.pml.  A value that is seen nowhere, or expected nowhere, needs none;
 * frames, other values, ghosts and what was left are called by the order of their first use; and
 * with NAMES 2 processes and references so that the whole is least.  Included by pan.c; changes
 * `now` alone.
 */
#include <string.h>

struct shape {
	unsigned char alive[procs], anon[procs], readonly[procs];
	unsigned char mapped[cells], pte[cells], writable[cells], cell[cells];
	unsigned char owner[refs], held[holds], taken[holds], stale[holds], left[holds];
	unsigned char count[frames + 1], mapcount[frames + 1], exclusive[frames + 1];
	unsigned char value[frames + 1], known[frames + 1];
};

enum { UNEXPECTED = values + 1, UNSEEN = values + 2 };

/* By old name, the new one; 0: none yet. */
struct names {
	int process[procs], ref[refs]; /* by new name, the old */
	unsigned char frame[frames + 1], value[values + 3], ghost[refs], left[holds];
	unsigned char old_frame[frames + 1];
	int frame_count, value_count, ghost_count, left_count;
};

/* Which values are seen, and which are expected. */
static void sort_values(struct names *names)
{
	unsigned char seen[values + 3] = { 0 }, expected[values + 3] = { 0 };

	for (int f = 1; f <= frames; f++)
		seen[now.value[f]] = 1;
	for (int p = 0; p < cells; p++)
		expected[now.cell[p]] = 1;
	for (int h = 0; h < holds; h++)
		expected[now.left[h]] = 1;
	for (int v = 1; v < values + 3; v++)
		names->value[v] = seen[v] && expected[v] ? 0 : seen[v] ? UNEXPECTED : UNSEEN;
}

static unsigned char value_name(struct names *names, int value)
{
	if (value && !names->value[value])
		names->value[value] = ++names->value_count;
	return value ? names->value[value] : 0;
}

/* Of 1 + frame, as entries and references have it. */
static unsigned char frame_name(struct names *names, int entry)
{
	if (entry < 2)
		return entry;
	if (!names->frame[entry - 1]) {
		names->frame[entry - 1] = ++names->frame_count;
		names->old_frame[names->frame_count] = entry - 1;
	}
	return 1 + names->frame[entry - 1];
}

static int owner_name(struct names *names, int owner)
{
	if (owner < procs) {
		int p = 0;

		while (names->process[p] != owner)
			p++;
		return p;
	}
	if (!names->ghost[owner - procs])
		names->ghost[owner - procs] = ++names->ghost_count;
	return procs + names->ghost[owner - procs] - 1;
}

static int taken_name(struct names *names, int taken)
{
	if (!taken)
		return 0;
	if (taken <= cells)
		return 1 + owner_name(names, (taken - 1) / pages) * pages + (taken - 1) % pages;
	taken -= cells + 1;
	if (!names->left[taken])
		names->left[taken] = ++names->left_count;
	return cells + names->left[taken];
}

/* The bits of `known` go with the processes and ghosts that they stand for. */
static unsigned char known_name(const struct names *names, int known)
{
	int to = 0;

	for (int p = 0; p < procs; p++)
		to |= (known >> names->process[p] & 1) << p;
	for (int k = 0; k < refs; k++)
		if (known >> (procs + k) & 1)
			to |= 1 << (procs + names->ghost[k] - 1);
	return to;
}

static void shape_processes(struct names *names, struct shape *to)
{
	for (int p = 0; p < procs; p++) {
		int from = names->process[p];

		to->alive[p] = now.alive[from];
		to->anon[p] = now.anon[from];
		to->readonly[p] = now.readonly[from];
		for (int g = 0; g < pages; g++) {
			int at = p * pages + g, old = from * pages + g;

			to->mapped[at] = now.mapped[old];
			to->pte[at] = frame_name(names, now.pte[old]);
			to->writable[at] = now.writable[old];
			to->cell[at] = value_name(names, now.cell[old]);
		}
	}
}

static void shape_refs(struct names *names, struct shape *to)
{
	for (int r = 0; r < refs; r++) {
		int from = names->ref[r];

		if (now.held[from * pages])
			to->owner[r] = owner_name(names, now.owner[from]);
		for (int g = 0; g < pages; g++) {
			int at = r * pages + g, old = from * pages + g, taken = now.taken[old];

			to->held[at] = frame_name(names, now.held[old]);
			to->taken[at] = taken_name(names, taken);
			to->stale[at] = now.stale[old];
			if (taken > cells)
				to->left[to->taken[at] - cells - 1] =
					value_name(names, now.left[taken - cells - 1]);
		}
	}
}

static void shape_make(struct names *names, struct shape *to)
{
	memset(to, 0, sizeof(*to));
	shape_processes(names, to);
	shape_refs(names, to);
	for (int f = 1; f <= names->frame_count; f++) {
		int from = names->old_frame[f];

		to->count[f] = now.count[from];
		to->mapcount[f] = now.mapcount[from];
		to->exclusive[f] = now.exclusive[from];
		to->value[f] = value_name(names, now.value[from]);
		to->known[f] = known_name(names, now.known[from]);
	}
}

/* The next order of 0 .. n - 1; 0 after the last. */
static int next_order(int *order, int n)
{
	int i = n - 2, j = n - 1, swapped;

	while (i >= 0 && order[i] > order[i + 1])
		i--;
	if (i < 0)
		return 0;
	while (order[j] < order[i])
		j--;
	swapped = order[i], order[i] = order[j], order[j] = swapped;
	for (i++, j = n - 1; i < j; i++, j--)
		swapped = order[i], order[i] = order[j], order[j] = swapped;
	return 1;
}

#define PUT(field) memcpy((void *)now.field, least.field, sizeof(least.field))

static void rename_all(void)
{
	struct names orders = { { 0 } };
	struct shape least, shape;
	int first = 1;

	if (!names_wanted)
		return;
	sort_values(&orders);
	for (int p = 0; p < procs; p++)
		orders.process[p] = p;
	do {
		for (int r = 0; r < refs; r++)
			orders.ref[r] = r;
		do {
			struct names names = orders;

			shape_make(&names, &shape);
			if (first || memcmp(&shape, &least, sizeof(shape)) < 0)
				least = shape;
			first = 0;
		} while (names_wanted > 1 && next_order(orders.ref, refs));
	} while (names_wanted > 1 && next_order(orders.process, procs));
	PUT(alive), PUT(anon), PUT(readonly);
	PUT(mapped), PUT(pte), PUT(writable), PUT(cell);
	PUT(owner), PUT(held), PUT(taken), PUT(stale), PUT(left);
	PUT(count), PUT(mapcount), PUT(exclusive), PUT(value), PUT(known);
}
