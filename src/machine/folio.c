/* SPDX-License-Identifier: MIT
 *
 * Large folios: taking, counting, splitting and freeing them.  The frames that they are made of are
 * runs (runs.c).
 *
 * The frames of a folio are told from free ones by their flags, so it is stamped (folio_make_*)
 * before the next one is taken.
 */
#include "machine/folio.h"
#include "machine/plant.h"
#include "machine/runs.h"

int folio_reserve(cow_machine *m, uint64_t small, uint32_t order, uint64_t large)
{
	const struct pool *pool = &m->pools[POOL_FRAME];
	uint64_t left = m->state.frames - m->state.frames_used;
	int error = frame_reserve(m, small);
	uint64_t want;

	if (error || !large)
		return error;
	error = machine_reserve(m, POOL_FOLIO, large);
	if (error)
		return error;
	/* Behind what is used now, what `small` may take of it, and a gap for alignment: a gap
	 * is free singly, and the next single frames come from there. */
	if (small > left)
		small = left;
	want = pool->used + small + ((large + 1) << order);
	if (want <= pool->capacity && want <= m->pools[POOL_BODY].capacity)
		return 0;
	error = machine_reserve(m, POOL_FRAME, want - 1 - pool->live);
	return error ? error : machine_reserve(m, POOL_BODY, want - 1 - pool->live);
}

uint32_t folio_alloc(cow_machine *m, uint32_t order, bool pooled)
{
	struct pool *pool = &m->pools[POOL_FRAME];
	uint32_t frames = 1u << order;
	struct folio *folio;
	uint32_t head, index;

	if (!pooled && m->state.frames - m->state.frames_used < frames)
		return 0;
	if (!pool_spare(&m->pools[POOL_FOLIO]))
		return 0;
	head = run_alloc(m, order);
	if (!head)
		return 0;
	pool->live += frames;
	m->pools[POOL_BODY].live = pool->live;
	if (!pooled) {
		m->state.frames_used += frames;
		if (m->state.frames_used > m->counters[COW_COUNT_PEAK_FRAMES])
			m->counters[COW_COUNT_PEAK_FRAMES] = m->state.frames_used;
	}
	index = pool_take(&m->pools[POOL_FOLIO]);
	folio = folio_at(m, index);
	folio->head = head;
	folio->order = order;
	folio->flags = pooled ? FOLIO_HUGETLB : 0;
	return index;
}

/* Gives each frame its flags, its folio, and PTEs that map it. */
static void folio_stamp(cow_machine *m, uint32_t index, uint32_t flags, uint32_t mapcount)
{
	const struct folio *folio = folio_at(m, index);
	const struct frame stamp = { .flags = FRAME_LARGE | flags,
				     .owner = index,
				     .mapcount = mapcount };
	uint32_t end = folio->head + folio_frames(folio), count;

	for (uint32_t first = folio->head; first < end; first += count) {
		struct frame *frames = frames_chunk(m, first, end, &count);

		for (uint32_t i = 0; i < count; i++)
			frames[i] = stamp;
	}
}

static void folio_make(cow_machine *m, uint32_t index, uint32_t owner, uint64_t offset)
{
	struct folio *folio = folio_at(m, index);

	folio->refcount = 1;
	folio->owner = owner;
	folio->index = offset;
}

static uint32_t pooled_flag(const struct folio *folio)
{
	return folio->flags & FOLIO_HUGETLB ? FRAME_POOLED : 0;
}

void folio_make_anon(cow_machine *m, uint32_t index, uint32_t anon, uint64_t offset)
{
	folio_make(m, index, anon, offset);
	folio_stamp(m, index, FRAME_ANON | pooled_flag(folio_at(m, index)), 0);
}

void folio_make_mapped(cow_machine *m, uint32_t index, uint32_t anon, uint64_t offset, uint32_t mm)
{
	struct folio *folio = folio_at(m, index);

	folio_make(m, index, anon, offset);
	folio->refcount = folio_frames(folio);
	folio_add(folio, mm, folio_frames(folio));
	folio_stamp(m, index,
		    FRAME_ANON | (m->state.marker == COW_MARKER_FRAME ? FRAME_EXCLUSIVE : 0u), 1);
	machine_count(m, COW_COUNT_ATOMICS, 2);
}

void folio_make_shared(cow_machine *m, uint32_t index, uint32_t object, uint64_t offset)
{
	folio_make(m, index, object, offset); /* the reference is the page cache's */
	folio_stamp(m, index, FRAME_SHARED | pooled_flag(folio_at(m, index)), 0);
}

void folio_copy(cow_machine *m, uint32_t index, uint32_t from)
{
	const struct folio *folio = folio_at(m, index);

	/* Both are aligned to their length, so that chunks end at the same pages. */
	for (uint32_t done = 0, count; done < folio_frames(folio); done += count) {
		struct frame_body *to = frame_body(m, folio->head + done);
		const struct frame_body *old = frame_body(m, from + done);

		frames_chunk(m, folio->head + done, folio->head + folio_frames(folio), &count);
		for (uint32_t i = 0; i < count; i++)
			to[i].value = old[i].value;
	}
}

/* v6.15+: folio_add_large_mapcount */
void folio_add(struct folio *folio, uint32_t mm, uint32_t mappings)
{
	folio->mapcount += mappings;
	for (int i = 0; i < 2; i++)
		if (folio->mm[i] == mm) {
			folio->mm_mapcount[i] += mappings;
			return;
		}
	for (int i = 0; i < 2; i++)
		if (!folio->mm[i]) {
			folio->mm[i] = mm;
			folio->mm_mapcount[i] = mappings;
			if (folio->mapcount != mappings)
				folio->flags |= FOLIO_SHARED;
			return;
		}
}

/* v6.15+: folio_sub_large_mapcount.  A slot may count fewer mappings than its mm has, if both
 * were taken when the first of them were made; never more, so a slot that counts all is exact. */
void folio_remove(struct folio *folio, uint32_t mm, uint32_t mappings)
{
	folio->mapcount -= mappings;
	for (int i = 0; i < 2; i++) {
		if (folio->mm[i] != mm)
			continue;
		if (folio->mm_mapcount[i] > mappings) {
			folio->mm_mapcount[i] -= mappings;
			return;
		}
		folio->mm_mapcount[i] = 0;
		folio->mm[i] = 0;
		break;
	}
	if (folio->mm_mapcount[0] == folio->mapcount || folio->mm_mapcount[1] == folio->mapcount)
		folio->flags &= ~(uint32_t)FOLIO_SHARED;
}

void folio_map_new(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct folio *folio = folio_at(m, index);

	machine_count(m, COW_COUNT_ATOMICS, 2);
	folio->entire = 1;
	folio_add(folio, mm, 1);
}

void folio_map_pmd(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct folio *folio = folio_at(m, index);

	machine_count(m, COW_COUNT_ATOMICS, 2);
	folio->refcount++;
	folio->entire++;
	folio_add(folio, mm, 1);
}

uint32_t folio_mapped_most(const cow_machine *m, const struct folio *folio)
{
	uint32_t end = folio->head + folio_frames(folio), count, most = 0;

	if (folio->mapcount == folio->entire + (folio->every << folio->order))
		return folio->entire + folio->every; /* no frame counts a PTE */
	for (uint32_t first = folio->head; first < end; first += count) {
		const struct frame *frames = frames_chunk(m, first, end, &count);

		for (uint32_t i = 0; i < count; i++)
			most = frames[i].mapcount > most ? frames[i].mapcount : most;
	}
	return most + folio->every + folio->entire;
}

/* Of a folio that was just split from its PMD these are all frames of it, one like the other. */
void folio_settle(cow_machine *m, uint32_t index)
{
	struct folio *folio = folio_at(m, index);
	uint32_t end = folio->head + folio_frames(folio), every = folio->every, count;
	uint32_t flag = folio->flags & FOLIO_EXCLUSIVE ? FRAME_EXCLUSIVE : 0;

	if (!every)
		return;
	for (uint32_t first = folio->head; first < end; first += count) {
		struct frame *frames = frames_chunk(m, first, end, &count);

		for (uint32_t i = 0; i < count; i++) {
			frames[i].mapcount += every;
			frames[i].flags |= flag;
		}
	}
	folio->every = 0;
	folio->flags &= ~(uint32_t)FOLIO_EXCLUSIVE;
}

/* Nothing maps it any more: it lives on for its references alone. */
static void folio_orphan(cow_machine *m, struct folio *folio)
{
	uint32_t end = folio->head + folio_frames(folio), count;

	if (!(frame_at(m, folio->head)->flags & FRAME_ANON))
		return;
	folio->owner = 0;
	for (uint32_t first = folio->head; first < end; first += count) {
		struct frame *frames = frames_chunk(m, first, end, &count);

		for (uint32_t i = 0; i < count; i++)
			frames[i].flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	}
}

static void folio_free(cow_machine *m, uint32_t index)
{
	struct folio *folio = folio_at(m, index);
	uint32_t head = folio->head, order = folio->order;
	uint32_t end = head + folio_frames(folio), count;

	m->state.pool_reserved += (folio->flags & FOLIO_PROMISED) != 0;
	if (folio->flags & FOLIO_HUGETLB)
		m->state.pool_free++;
	else
		m->state.frames_used -= folio_frames(folio);
	for (uint32_t first = head; first < end; first += count) {
		struct frame *frames = frames_chunk(m, first, end, &count);

		memset(frames, 0, count * sizeof(*frames));
		memset(frame_body(m, first), 0, count * sizeof(struct frame_body));
	}
	m->pools[POOL_FRAME].live -= folio_frames(folio);
	m->pools[POOL_BODY].live = m->pools[POOL_FRAME].live;
	pool_give(&m->pools[POOL_FOLIO], index);
	run_give(m, order, head);
}

void folio_put(cow_machine *m, uint32_t index, uint32_t references)
{
	struct folio *folio = folio_at(m, index);

	machine_count(m, COW_COUNT_ATOMICS, 1);
	folio->refcount -= references;
	if (!folio->refcount)
		folio_free(m, index);
}

void folio_unmap_pmd(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct folio *folio = folio_at(m, index);

	machine_count(m, COW_COUNT_ATOMICS, 1);
	folio->entire--;
	folio_remove(folio, mm, 1);
	if (!folio->mapcount && folio->refcount > 1)
		folio_orphan(m, folio);
	folio_put(m, index, PLANTED(39) && folio->refcount > 1 ? 2 : 1);
}

void folio_unmap_page(cow_machine *m, uint32_t index, uint32_t mm)
{
	struct frame *frame = frame_at(m, index);
	uint32_t owner = frame->owner;
	struct folio *folio = folio_at(m, owner);

	machine_count(m, COW_COUNT_ATOMICS, 1);
	folio_settle(m, owner);
	/* Nobody owns what nobody maps; where PMDs map it, the first frame's marker is theirs. */
	if (!--frame->mapcount && !folio->entire)
		frame->flags &= ~(uint32_t)FRAME_EXCLUSIVE;
	folio_remove(folio, mm, 1);
	if (!folio->mapcount && folio->refcount > 1)
		folio_orphan(m, folio);
	folio_put(m, owner, 1);
}

void page_lazyfree(cow_machine *m, uint32_t frame, bool set)
{
	bool large = frame_large(m, frame);
	uint32_t first = large ? folio_of(m, frame)->head : frame, count;
	uint32_t end = first + (large ? folio_frames(folio_of(m, frame)) : 1);
	uint32_t flag = set ? FRAME_LAZYFREE : 0;

	for (; first < end; first += count) {
		struct frame *frames = frames_chunk(m, first, end, &count);

		for (uint32_t i = 0; i < count; i++)
			frames[i].flags = (frames[i].flags & ~(uint32_t)FRAME_LAZYFREE) | flag;
	}
}

void folio_split(cow_machine *m, uint32_t index)
{
	struct folio folio;
	uint32_t dirty;

	folio_settle(m, index);
	folio = *folio_at(m, index);
	dirty = folio.flags & FOLIO_DIRTY ? FRAME_DIRTY : 0;
	machine_count(m, COW_COUNT_FOLIO_SPLITS, 1);
	pool_give(&m->pools[POOL_FOLIO], index);
	for (uint32_t i = 0; i < folio_frames(&folio); i++) {
		struct frame *frame = frame_at(m, folio.head + i);

		frame->flags += dirty - FRAME_LARGE; /* it has FRAME_LARGE, and not FRAME_DIRTY */
		frame->refcount = frame->mapcount;
		frame->owner = folio.owner;
		frame_body(m, folio.head + i)->index = folio.index + i;
		if (!frame->mapcount)
			frame_free(m, folio.head + i);
	}
}
