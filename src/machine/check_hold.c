/* SPDX-License-Identifier: MIT
 *
 * The debug check, last part: who holds what, added up, and what the counts say.
 *
 *   mapcount  = PTEs that map the frame; of a folio PTEs and PMDs that map any of it
 *   refcount  = those + page cache + swap cache + GETs + pins x 1024, or x 1 of a folio + batch
 *   count     = entries that name the swap slot
 */
#include "machine/check.h"

int hold(struct check *check, uint32_t frame, uint64_t more, uint64_t pins)
{
	const cow_machine *m = check->m;
	bool large = frame_large(m, frame);
	uint32_t *sum = &check->references[frame];

	if (large) {
		sum = &check->folios[frame_at(m, frame)->owner].references;
		check->folios[frame_at(m, frame)->owner].pins += (uint32_t)pins;
	} else {
		pins *= PIN_BIAS;
	}
	/* A sum that wraps would hide the ones that are missing. */
	if (more > REFCOUNT_LIMIT || pins > REFCOUNT_LIMIT || *sum + more + pins > REFCOUNT_LIMIT)
		return bad(check, "frame %u has more references than a refcount can count", frame);
	*sum += (uint32_t)(more + pins);
	return 0;
}

int check_ref(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct ref *ref = ref_at(m, index);
	uint64_t pages = 0;

	if (!ref->number || ref->number > m->state.references || !ref->process ||
	    ref->process > m->state.processes)
		return bad(check, "reference %u has a number that was never given", index);
	for (uint32_t at = ref->first; at; at = link_at(m, at)->next) {
		uint32_t frame;
		int error = reach(check, POOL_LINK, at, "a reference");

		if (error)
			return error;
		frame = link_at(m, at)->frame;
		if (frame && !in_use(check, POOL_FRAME, frame))
			return bad(check, "reference %u holds frame %u, which is not in use", index,
				   frame);
		if (!(ref->flags & COW_GUP_PIN))
			error = hold(check, frame, ref->times, 0);
		else if (frame) /* the zero page needs no pin */
			error = hold(check, frame, 0, ref->times);
		if (error)
			return error;
		pages++;
	}
	return pages == ref->pages && ref->times
		       ? 0
		       : bad(check, "reference %u holds %llu pages and counts %llu", index,
			     (unsigned long long)pages, (unsigned long long)ref->pages);
}

int check_batch(struct check *check, const struct mm *mm)
{
	uint32_t length = 0;

	for (uint32_t at = mm->batch; at; at = link_at(check->m, at)->next) {
		uint32_t frame;
		int error = reach(check, POOL_LINK, at, "an LRU batch");

		if (error)
			return error;
		frame = link_at(check->m, at)->frame;
		if (!in_use(check, POOL_FRAME, frame) ||
		    !(frame_at(check->m, frame)->flags & FRAME_BATCHED))
			return bad(check, "the LRU batch holds frame %u, which is not batched",
				   frame);
		if (hold(check, frame, 1, 0))
			return -EUCLEAN;
		length++;
	}
	check->batched += length;
	return length == mm->batched && length <= check->m->state.lru_batch
		       ? 0
		       : bad(check, "an LRU batch holds %u pages and counts %u", length,
			     mm->batched);
}

/* ---- anons ---- */

/* The way up from an anon ends at a root. */
static int check_root(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	uint32_t steps = 0;

	for (uint32_t at = index; at; at = anon_at(m, at)->parent) {
		if (!in_use(check, POOL_ANON, at))
			return bad(check, "anon %u has a foreign parent", index);
		if (check->anons[at].rooted)
			break;
		if (++steps > m->pools[POOL_ANON].live)
			return bad(check, "anon %u is its own parent", index);
	}
	for (uint32_t at = index; at && !check->anons[at].rooted; at = anon_at(m, at)->parent)
		check->anons[at].rooted = 1;
	return 0;
}

static int check_anon(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct anon *anon = anon_at(m, index);
	const struct anon_sum *sum = &check->anons[index];
	uint32_t prev = 0;

	if ((!anon->chain && !anon->items) || anon->vmas != sum->owners)
		return bad(check, "anon %u miscounts its VMAs", index);
	if (anon->items != sum->items)
		return bad(check, "anon %u is kept for %u KSM pages, and %u are its own", index,
			   anon->items, sum->items);
	for (uint32_t at = anon->chain; at; prev = at, at = avc_at(m, at)->next_of_anon) {
		if (at >= m->pools[POOL_AVC].used || check->seen[POOL_AVC][at] != SEEN ||
		    avc_at(m, at)->anon != index || avc_at(m, at)->prev_of_anon != prev)
			return bad(check, "the list of anon %u is damaged", index);
		check->listed++;
	}
	if (check->seen[POOL_ANON][index] == UNSEEN) {
		check->seen[POOL_ANON][index] = SEEN;
		check->reached[POOL_ANON]++;
	}
	if (check_root(check, index))
		return -EUCLEAN;
	check->anons[anon->parent ? anon->parent : index].children++;
	return 0;
}

int check_anons(struct check *check)
{
	const cow_machine *m = check->m;
	int error = 0;

	for (uint32_t slot = 1; !error && slot < m->pools[POOL_ANON].used; slot++)
		if (check->seen[POOL_ANON][slot] != FREE)
			error = check_anon(check, slot);
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_ANON].used; slot++)
		if (check->seen[POOL_ANON][slot] != FREE &&
		    anon_at(m, slot)->children != check->anons[slot].children)
			error = bad(check, "anon %u miscounts its children", slot);
	if (!error && check->listed != check->reached[POOL_AVC])
		error = bad(check, "%u avcs are on the lists of VMAs and %u on those of anons",
			    check->reached[POOL_AVC], check->listed);
	return error;
}

/* ---- the counts ---- */

static int check_frame(struct check *check, uint32_t index)
{
	const cow_machine *m = check->m;
	const struct frame *frame = frame_at(m, index);
	uint32_t counted = frame->mapcount +
			   (frame->flags & FRAME_LARGE ? folio_of(m, index)->every : 0);

	if (counted != check->mappings[index])
		return bad(check, "frame %u has mapcount %u, and %u PTEs map it", index, counted,
			   check->mappings[index]);
	check->batched -= (frame->flags & FRAME_BATCHED) != 0;
	if (frame->flags & FRAME_LARGE)
		return (frame->flags & FRAME_EXCLUSIVE) && folio_of(m, index)->entire &&
				       index != folio_of(m, index)->head
			       ? bad(check,
				     "frame %u is marked exclusive behind the first of its folio",
				     index)
			       : 0;
	if (frame->refcount != check->references[index] || !frame->refcount)
		return bad(check, "frame %u has refcount %u, and %u references hold it", index,
			   frame->refcount, check->references[index]);
	if (!(frame->flags & FRAME_SHARED) != (check->seen[POOL_FRAME][index] != SEEN))
		return bad(check, "frame %u is flagged as what it is not", index);
	return 0;
}

static int check_folio(struct check *check, uint32_t index)
{
	const struct folio *folio = folio_at(check->m, index);
	const struct folio_sum *sum = &check->folios[index];
	bool shared = frame_at(check->m, folio->head)->flags & FRAME_SHARED;

	if (folio->mapcount != sum->mapped || folio->entire != sum->entire)
		return bad(
			check,
			"folio %u has mapcount %u of PMDs %u, and %u PTEs and PMDs, %u PMDs map it",
			index, folio->mapcount, folio->entire, sum->mapped, sum->entire);
	if (folio->refcount != sum->references || !folio->refcount)
		return bad(check, "folio %u has refcount %u, and %u references hold it", index,
			   folio->refcount, sum->references);
	if (folio->pincount != sum->pins)
		return bad(check, "folio %u has pincount %u, and %u pins hold it", index,
			   folio->pincount, sum->pins);
	if ((folio->flags & FOLIO_EXCLUSIVE) && (folio->entire || folio->every != 1))
		return bad(check, "all of folio %u is marked exclusive, and PTEs map it %u times",
			   index, folio->every);
	if ((folio->flags & FOLIO_HEAD_SHARED) && !folio->entire &&
	    frame_exclusive(check->m, frame_at(check->m, folio->head)))
		return bad(check, "the first page of folio %u is marked exclusive, and taken for shared",
			   index);
	/* v6.15: folio_add_large_mapcount: an mm that is told apart late has mappings from
	 * before. */
	for (int i = 0; i < 2; i++)
		if (folio->mm[i] && folio->mm_mapcount[i] > sum->ids[i])
			return bad(check, "folio %u counts %u mappings by mm %u, which has %u",
				   index, folio->mm_mapcount[i], folio->mm[i], sum->ids[i]);
	if (sum->many && !(folio->flags & FOLIO_SHARED))
		return bad(check, "folio %u is taken for one mm's, and more than one map it",
			   index);
	return !shared != (check->seen[POOL_FRAME][folio->head] != SEEN)
		       ? bad(check, "folio %u is flagged as what it is not", index)
		       : 0;
}

int check_slot(struct check *check, uint32_t index)
{
	const struct slot *slot = slot_at(check->m, index);

	return slot->frame ? hold(check, slot->frame, 1, 0) : 0;
}

static int check_entries(struct check *check, uint32_t index)
{
	const struct slot *slot = slot_at(check->m, index);
	const struct slot_sum *sum = &check->slots[index];

	if (slot->count != sum->entries)
		return bad(check, "swap slot %u counts %u entries, and %u name it", index,
			   slot->count, sum->entries);
	if (sum->marked && slot->count != 1)
		return bad(check, "swap slot %u is marked exclusive, and %u entries name it", index,
			   slot->count);
	return slot->count && slot->frame &&
			       (frame_at(check->m, slot->frame)->flags & FRAME_EXCLUSIVE)
		       ? bad(check, "frame %u is marked exclusive, and a swap entry leads to it",
			     slot->frame)
		       : 0;
}

/* Pages of the pool are in use, or free, or there is a mistake. */
static int check_pool(struct check *check, uint32_t pooled)
{
	const struct machine_state *state = &check->m->state;

	if (pooled + (uint64_t)state->pool_free != state->pool)
		return bad(check, "%u of %u pages of the hugetlb pool are in use, and %u free",
			   pooled, state->pool, state->pool_free);
	return state->pool_reserved == check->promised
		       ? 0
		       : bad(check, "%lld pages of the hugetlb pool are promised, and %d counted",
			     (long long)check->promised, state->pool_reserved);
}

int check_counts(struct check *check)
{
	const cow_machine *m = check->m;
	uint32_t frames = 0, pooled = 0;
	int error = 0;

	for (uint32_t slot = 0; !error && slot < m->pools[POOL_FRAME].used; slot++)
		if (check->seen[POOL_FRAME][slot] != FREE) {
			error = check_frame(check, slot);
			frames += slot > 0 && !(frame_at(m, slot)->flags & FRAME_POOLED);
		}
	if (!error && (frames != m->state.frames_used || frames > m->state.frames))
		error = bad(check, "%u frames are in use and %llu are counted", frames,
			    (unsigned long long)m->state.frames_used);
	if (!error && check->batched)
		error = bad(check, "a frame is flagged as batched, and no LRU batch holds it");
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_FOLIO].used; slot++)
		if (check->seen[POOL_FOLIO][slot] != FREE) {
			error = check_folio(check, slot);
			pooled += (folio_at(m, slot)->flags & FOLIO_HUGETLB) != 0;
			check->promised -= (folio_at(m, slot)->flags & FOLIO_PROMISED) != 0;
		}
	for (uint32_t slot = 1; !error && slot < m->pools[POOL_SLOT].used; slot++)
		if (check->seen[POOL_SLOT][slot] != FREE)
			error = check_entries(check, slot);
	if (!error && m->pools[POOL_SLOT].live > m->state.slots)
		error = bad(check, "%u swap slots are in use, of %u", m->pools[POOL_SLOT].live,
			    m->state.slots);
	if (!error && check->pmds != m->state.pmds)
		error = bad(check, "there are %u PMDs, and %u are counted", check->pmds,
			    m->state.pmds);
	return error ? error : check_pool(check, pooled);
}
