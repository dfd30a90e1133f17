/* SPDX-License-Identifier: MIT
 *
 * What cells expect and contents hold, without times and numbers.  Mostly it is enough to know of
 * each observer and each content that it can reach what it would make of finding it (rules.pairs);
 * else stamps have names.  form.h says why that is enough.
 */
#include "explore/taking.h"

static struct known *stamp_find(const struct taking *t, uint64_t stamp)
{
	for (uint32_t i = 0; i < *t->stamp_count; i++)
		if (t->stamps[i].stamp == stamp)
			return &t->stamps[i];
	return NULL;
}

void stamp_add(struct taking *t, uint64_t stamp)
{
	stamp = stamp_plain(stamp);
	if (stamp && !stamp_find(t, stamp))
		t->stamps[(*t->stamp_count)++] = (struct known){ .stamp = stamp };
}

void stamp_expect(struct taking *t, uint64_t stamp)
{
	struct known *known = stamp_find(t, stamp_plain(stamp));

	if (known)
		known->expected = true;
}

/* True if the write lies in the past of the observer: judge.c's rule, in other words. */
static bool in_past(const struct taking *t, uint64_t stamp, uint32_t observer)
{
	const struct process_truth *processes = t->audit->processes;
	uint32_t writer = stamp_process(stamp);
	uint64_t until = UINT64_MAX;

	if (!writer)
		return true;
	while (observer != writer) {
		until = processes[observer].born;
		observer = processes[observer].parent;
		if (!observer)
			return false;
	}
	return stamp_time(stamp) <= until;
}

static uint32_t means_of(uint64_t stamp)
{
	return (stamp & STAMP_BY_GET ? 1 : 0) | (stamp & STAMP_BY_PIN ? 2 : 0);
}

/* Who has the write in its past.  Of one through a FOLL_GET reference nobody asks. */
static uint32_t seen_by(const struct taking *t, uint64_t stamp)
{
	uint32_t set = 0;

	if (!(stamp & STAMP_BY_GET))
		for (uint32_t i = 0; i < t->graph->actors; i++)
			set |= (uint32_t)in_past(t, stamp, t->numbers[i]) << i;
	return set;
}

void put_stamp(struct taking *t, const struct known *known)
{
	put(t->graph, means_of(known->stamp));
	put(t->graph, TOKEN_SEEN | seen_by(t, known->stamp));
}

/* The same by name. */
static void put_named(struct taking *t, uint64_t stamp)
{
	const struct known *known = stamp_find(t, stamp_plain(stamp));
	uint32_t freed = stamp & STAMP_FREED ? 4 : 0;

	if (known)
		put(t->graph, TOKEN_NODE | known->node);
	else
		put(t->graph, stamp_plain(stamp) ? 8 | means_of(stamp) : 0);
	put(t->graph, freed);
}

/* Which of a stamp's properties judge.c asks about when it finds something else. */
void put_expected(struct taking *t, uint64_t stamp)
{
	if (t->rules->plain)
		return;
	if (t->rules->pairs) {
		put(t->graph, means_of(stamp) | (stamp & STAMP_FREED ? 4 : 0) |
				      (stamp_plain(stamp) && !t->rules->plain ? 8 : 0));
		return;
	}
	put_named(t, stamp);
}

/* What an observer would make of finding in a frame what it does not expect: 0 if it does, or if no
 * word that is still asked for can come of it.  Of what lies in its past the means are irrelevant,
 * and of what does not those of the expected write. */
uint32_t pair_code(const struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
		   const struct record *record)
{
	const unsigned stale = COW_VERDICT(STALE_PIN) | COW_VERDICT(STALE_GET);
	const unsigned all = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | stale;
	unsigned word, later;

	if (expected == seen || (t->rules->done & all) == all)
		return 0;
	if (!in_past(t, seen, observer)) {
		word = seen & STAMP_BY_GET ? COW_VERDICT(STALE_GET) : COW_VERDICT(LEAK);
		return 64 | (word & ~t->rules->done);
	}
	if (expected & STAMP_BY_GET)
		return COW_VERDICT(STALE_GET) & ~t->rules->done;
	word = expected & STAMP_BY_PIN ? COW_VERDICT(STALE_PIN) : COW_VERDICT(CORRUPTION);
	/* The word of a reference that has become stale; a process may take one of either kind. */
	later = !record ? stale
			: record->promised ? COW_VERDICT(STALE_PIN) : COW_VERDICT(STALE_GET);
	if (record && record->stale)
		return later & ~t->rules->done;
	return (word | later) & ~t->rules->done ? 128 | means_of(expected) : 0;
}

/* What a cell, or its shared cell, makes of what the observer finds in a frame. */
void put_pair(struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
	      const struct record *record)
{
	put(t->graph, pair_code(t, stamp_plain(expected), stamp_plain(seen), observer, record));
}

/* What a frame or a slot holds. */
void put_content(struct taking *t, struct content content)
{
	uint64_t stamp = stamp_plain(content.stamp);
	const struct known *known = stamp && !t->rules->pairs ? stamp_find(t, stamp) : NULL;

	if (t->rules->pairs) {
		put(t->graph,
		    t->rules->plain ? 0 : (stamp ? 1 : 0) | (stamp & STAMP_BY_GET ? 2 : 0));
	} else if (!known) {
		put(t->graph, 0);
	} else if (known->expected || t->keeps_names) {
		put(t->graph, TOKEN_NODE | known->node);
	} else {
		put(t->graph, 8 | means_of(stamp));
		put(t->graph, TOKEN_SEEN | seen_by(t, stamp));
	}
	put(t->graph, content.stamp & STAMP_MERGED ? 1 : 0);
}

uint64_t cell_stamp(const struct taking *t, uint64_t cell)
{
	return cell & STAMP_INDIRECT ? shared_at(t->audit, cell_shared(cell))->stamp : cell;
}

/* The same for a page: what it maps, and what its slot holds. */
void put_pairs(struct taking *t, uint64_t expected, uint64_t entry, uint32_t number)
{
	uint32_t frame =
		entry & PTE_SWAP ? slot_at(t->m, pte_frame(entry))->frame : pte_frame(entry);
	uint32_t slot = entry & PTE_SWAP                     ? pte_frame(entry)
			: frame && frame_cached(t->m, frame) ? frame_slot(t->m, frame)
							     : 0;

	if (!slot || frame)
		put_pair(t, expected, content_of(t->audit, frame)->stamp, number, NULL);
	if (slot)
		put_pair(t, expected, slot_truth(t->audit, slot)->content.stamp, number, NULL);
}
