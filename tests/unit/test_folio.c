/* SPDX-License-Identifier: MIT
 *
 * Large folios below the kernel part: aligned runs of frames in every order, what a reservation
 * promises, how free frames are used again, and the mm ids of v6.15 against a model.
 *
 * frame 0  . . . . | folio . . . . | x . . x | folio |   x: single frames; runs and singles that
 * are zero page    aligned to its length             free are used before new ones
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/folio.h"
#include "world.h"

enum { MM = 7, ANON = 0, MOST = 64 };

static cow_machine *machine(const char *geometry, uint64_t frames)
{
	cow_machine *m = machine_new(geometry, NULL, frames, 0);

	assert_non_null(m);
	return m;
}

/* A folio with the first reference and no mapping. */
static uint32_t take(cow_machine *m, uint32_t order)
{
	uint32_t folio;

	assert_int_equal(folio_reserve(m, 0, order, 1), 0);
	folio = folio_alloc(m, order, false);
	if (folio)
		folio_make_anon(m, folio, ANON, 0);
	return folio;
}

/* The lists of free runs: aligned, zeroed but for the link, as many frames as are counted. */
static bool runs_valid(const cow_machine *m)
{
	uint64_t sum = 0;

	for (uint32_t order = 0; order < MACHINE_ORDERS; order++) {
		uint64_t frames = UINT64_C(1) << order;

		for (uint32_t head = m->state.blocks[order]; head;
		     head = frame_at(m, head)->refcount) {
			sum += frames;
			if (!order || (head & (frames - 1)) ||
			    head + frames > m->pools[POOL_FRAME].used || sum > m->state.blocked)
				return false;
			for (uint32_t i = 0; i < frames; i++) {
				const struct frame *frame = frame_at(m, head + i);

				if ((i && frame->refcount) || frame->mapcount || frame->flags ||
				    frame->owner)
					return false;
			}
		}
	}
	return sum == m->state.blocked;
}

/* Every frame is used, free singly, or in a run. */
static void check(const cow_machine *m, uint32_t used)
{
	const struct pool *pool = &m->pools[POOL_FRAME];
	uint32_t singles = 0;

	assert_true(runs_valid(m));
	for (uint32_t frame = pool->free; frame; frame = frame_at(m, frame)->refcount) {
		assert_int_equal(frame_at(m, frame)->flags, 0);
		singles++;
		assert_true(singles < pool->used);
	}
	assert_int_equal(pool->live, used);
	assert_int_equal(pool->used - 1 - pool->live, singles + m->state.blocked);
	assert_int_equal(m->pools[POOL_BODY].used, pool->used);
	assert_int_equal(m->pools[POOL_BODY].live, pool->live);
}

static void orders_are_aligned_and_counted(void **state)
{
	static const char *const geometries[] = { "x86-64", "arm64-16k", "arm64-64k", "tiny" };

	(void)state;
	for (unsigned g = 0; g < 4; g++) {
		cow_machine *m = machine(geometries[g], 65536);
		uint32_t most = pmd_order(m), frames = 0;
		uint32_t folios[2 * MACHINE_ORDERS];

		assert_int_equal(most, m->state.bits[0]);
		for (uint32_t order = 2; order <= most; order++) {
			for (uint32_t i = 0; i < 2; i++) {
				uint32_t index = take(m, order);
				const struct folio *folio = folio_at(m, index);

				assert_true(index);
				folios[2 * order + i] = index;
				assert_int_equal(folio->head & ((1u << order) - 1), 0);
				assert_int_equal(folio_frames(folio), 1u << order);
				for (uint32_t f = 0; f < 1u << order; f++) {
					assert_ptr_equal(folio_of(m, folio->head + f), folio);
					assert_int_equal(frame_at(m, folio->head + f)->mapcount, 0);
					assert_int_equal(frame_body(m, folio->head + f)->value, 0);
					frame_body(m, folio->head + f)->value = 5;
				}
				frames += 1u << order;
			}
			assert_int_equal(m->state.frames_used, frames);
			check(m, frames);
		}
		for (uint32_t order = 2; order <= most; order++)
			for (uint32_t i = 0; i < 2; i++) {
				folio_put(m, folios[2 * order + i], 1);
				frames -= 1u << order;
				check(m, frames);
			}
		assert_int_equal(m->state.frames_used, 0);
		cow_machine_destroy(m);
	}
}

/* The same frames again, and of a large run a part. */
static void freed_runs_are_taken_first(void **state)
{
	cow_machine *m = machine("x86-64", 4096);
	uint32_t large = take(m, 9), head = folio_at(m, large)->head;
	uint32_t used = m->pools[POOL_FRAME].used;
	uint32_t small, other;

	(void)state;
	for (int i = 0; i < 100; i++) {
		folio_put(m, large, 1);
		large = take(m, 9);
		assert_int_equal(folio_at(m, large)->head, head);
	}
	folio_put(m, large, 1);
	small = take(m, 3);
	other = take(m, 4);
	assert_true(folio_at(m, small)->head - head < 512);
	assert_true(folio_at(m, other)->head - head < 512);
	check(m, 24);
	/* Runs are broken for single frames only once there is no memory that was never used. */
	for (uint32_t left = 4096 - 24; left; left--) {
		uint32_t frame = frame_alloc(m);

		if (!frame)
			break;
		frame_at(m, frame)->flags = FRAME_ANON;
	}
	assert_int_equal(m->pools[POOL_FRAME].live, m->pools[POOL_FRAME].capacity - 1);
	assert_int_equal(m->state.blocked, 0);
	assert_true(m->pools[POOL_FRAME].used >= used);
	check(m, m->pools[POOL_FRAME].capacity - 1);
	cow_machine_destroy(m);
}

/* Frames of split folios come back one by one; the pool must not grow for ever. */
static void split_frames_are_gathered(void **state)
{
	cow_machine *m = machine("x86-64", 1 << 20);
	uint32_t most = 0;

	(void)state;
	for (unsigned round = 0; round < rounds(400); round++) {
		uint32_t order = 2 + round % 8, folio = take(m, order), head;

		assert_true(folio);
		head = folio_at(m, folio)->head;
		for (uint32_t i = 0; i < 1u << order; i++)
			page_map(m, head + i, MM);
		folio_put(m, folio, 1);
		assert_true(folio_splittable(folio_at(m, folio)));
		folio_split(m, folio);
		assert_int_equal(m->counters[COW_COUNT_FOLIO_SPLITS], round + 1);
		for (uint32_t i = 0; i < 1u << order; i++) {
			assert_int_equal(frame_at(m, head + i)->refcount, 1);
			frame_unmap(m, head + i, MM);
		}
		check(m, 0);
		if (m->pools[POOL_FRAME].used > most)
			most = m->pools[POOL_FRAME].used;
	}
	assert_true(most < 8192);
	cow_machine_destroy(m);
}

/* A gathering that found nothing is not tried again at once: cost, not only growth, is bounded. */
static void scattered_frames_do_not_cost(void **state)
{
	cow_machine *m = machine("x86-64", 1 << 20);
	uint32_t kept[512];

	(void)state;
	/* Of every four frames one stays in use: no run of four can be made. */
	assert_int_equal(frame_reserve(m, 4 * 512 * 4), 0);
	for (uint32_t i = 0; i < 4 * 512 * 4; i++) {
		uint32_t frame = frame_alloc(m);

		frame_at(m, frame)->flags = FRAME_ANON;
		frame_at(m, frame)->refcount = 1;
	}
	for (uint32_t frame = 1; frame <= 4 * 512 * 4; frame++)
		if (frame % 4)
			frame_put(m, frame, 1);
	for (uint32_t i = 0; i < 512; i++) {
		uint32_t scattered;

		kept[i] = take(m, 2);
		assert_true(kept[i]);
		scattered = m->state.scattered;
		if (i)
			assert_int_equal(scattered, 4 * 512 * 3);
	}
	for (uint32_t i = 0; i < 512; i++)
		folio_put(m, kept[i], 1);
	check(m, 4 * 512);
	cow_machine_destroy(m);
}

/* Whatever the order of single frames and folios: what was reserved can be taken. */
static void reservations_hold(void **state)
{
	struct rng rng = { 3 };

	(void)state;
	for (unsigned round = 0; round < rounds(200); round++) {
		cow_machine *m = machine("x86-64", 1 << 16);
		uint32_t used = 0;

		for (unsigned call = 0; call < 12; call++) {
			uint32_t order = 2 + (uint32_t)rng_below(&rng, 8);
			uint64_t small = rng_below(&rng, 300), large = rng_below(&rng, 12);
			uint32_t folios[12], frames[300], f = 0, s = 0;

			assert_int_equal(folio_reserve(m, small, order, large), 0);
			while (s < small || f < large) {
				if (f < large && (s == small || rng_below(&rng, 8) == 0)) {
					folios[f] = folio_alloc(m, order, false);
					assert_true(folios[f]);
					folio_make_anon(m, folios[f++], ANON, 0);
					used += 1u << order;
				} else {
					frames[s] = frame_alloc(m);
					assert_true(frames[s]);
					frame_at(m, frames[s])->flags = FRAME_ANON;
					frame_at(m, frames[s++])->refcount = 1;
					used++;
				}
			}
			while (f && rng_below(&rng, 4)) {
				folio_put(m, folios[--f], 1);
				used -= 1u << order;
			}
			while (s && rng_below(&rng, 40)) {
				frame_put(m, frames[--s], 1);
				used--;
			}
			check(m, used);
		}
		cow_machine_destroy(m);
	}
}

static void full_machine_has_no_folio(void **state)
{
	cow_machine *m = machine("x86-64", 1023);
	uint32_t folio = take(m, 9), pooled;

	(void)state;
	assert_true(folio);
	assert_int_equal(take(m, 9), 0);
	assert_int_equal(folio_reserve(m, UINT64_C(1) << 40, 9, 1), 0);
	assert_true(cow_machine_memory(m) < 1 << 20);
	/* The hugetlb pool's pages are beside the machine's frames. */
	m->state.pool = m->state.pool_free = 1;
	pooled = folio_alloc(m, 9, true);
	assert_true(pooled);
	assert_true(folio_at(m, pooled)->flags & FOLIO_HUGETLB);
	folio_make_anon(m, pooled, ANON, 0);
	assert_true(frame_at(m, folio_at(m, pooled)->head)->flags & FRAME_POOLED);
	assert_int_equal(m->state.frames_used, 512);
	m->state.pool_free--;
	folio_put(m, pooled, 1);
	assert_int_equal(m->state.pool_free, 1);
	assert_int_equal(m->state.frames_used, 512);
	folio_put(m, folio, 1);
	assert_int_equal(m->state.frames_used, 0);
	check(m, 0);
	cow_machine_destroy(m);
}

/* Pages of a folio that nothing maps are freed by a split, the others become base pages. */
static void split_frees_what_is_unmapped(void **state)
{
	cow_machine *m = machine("x86-64", 4096);
	uint32_t folio = take(m, 4), head = folio_at(m, folio)->head;

	(void)state;
	for (uint32_t i = 0; i < 16; i += 2)
		page_map(m, head + i, MM);
	assert_false(folio_splittable(folio_at(m, folio)));
	folio_put(m, folio, 1);
	frame_at(m, head + 2)->flags |= FRAME_EXCLUSIVE;
	frame_body(m, head + 2)->value = 9;
	assert_true(folio_splittable(folio_at(m, folio)));
	folio_split(m, folio);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(frame_at(m, head + i)->flags & FRAME_ANON, i % 2 ? 0 : FRAME_ANON);
	assert_int_equal(frame_at(m, head + 2)->flags, FRAME_ANON | FRAME_EXCLUSIVE);
	assert_int_equal(frame_body(m, head + 2)->value, 9);
	assert_int_equal(frame_body(m, head + 2)->index, 2);
	check(m, 8);
	cow_machine_destroy(m);
}

/* What a reference keeps is nobody's own any more. */
static void orphans_lose_their_markers(void **state)
{
	cow_machine *m = machine("x86-64", 4096);
	uint32_t folio = take(m, 9), head = folio_at(m, folio)->head;

	(void)state;
	folio_map_new(m, folio, MM);
	folio_at(m, folio)->refcount++;
	frame_at(m, head)->flags |= FRAME_EXCLUSIVE;
	folio_unmap_pmd(m, folio, MM);
	assert_int_equal(folio_at(m, folio)->refcount, 1);
	assert_false(frame_at(m, head)->flags & FRAME_EXCLUSIVE);
	folio_put(m, folio, 1);
	check(m, 0);

	folio = take(m, 2);
	head = folio_at(m, folio)->head;
	page_map(m, head, MM);
	page_map(m, head + 1, MM);
	frame_at(m, head)->flags |= FRAME_EXCLUSIVE;
	frame_unmap(m, head, MM);
	assert_false(frame_at(m, head)->flags & FRAME_EXCLUSIVE);
	assert_int_equal(folio_at(m, folio)->mapcount, 1);
	cow_machine_destroy(m);
}

/* ---- mm ids ---- */

static bool shared(const struct folio *folio)
{
	return folio->flags & FOLIO_SHARED;
}

static void two_mms_are_told_apart(void **state)
{
	struct folio folio = { .order = 9 };

	(void)state;
	folio_add(&folio, 1, 512);
	assert_false(shared(&folio));
	folio_add(&folio, 2, 1);
	assert_true(shared(&folio));
	folio_remove(&folio, 2, 1);
	assert_false(shared(&folio));
	folio_add(&folio, 2, 3);
	folio_remove(&folio, 1, 511);
	assert_true(shared(&folio));
	folio_remove(&folio, 1, 1);
	assert_false(shared(&folio));
	assert_int_equal(folio.mapcount, 3);
	folio_remove(&folio, 2, 3);
	assert_false(shared(&folio));
	assert_int_equal(folio.mm[0] | folio.mm[1] | folio.mm_mapcount[0] | folio.mm_mapcount[1],
			 0);
}

/* The third mm has no slot: alone at last, it still looks like two. */
static void third_mm_is_falsely_shared(void **state)
{
	struct folio folio = { .order = 9 };

	(void)state;
	folio_add(&folio, 1, 4);
	folio_add(&folio, 2, 4);
	folio_add(&folio, 3, 4);
	folio_remove(&folio, 2, 4);
	assert_true(shared(&folio));
	folio_remove(&folio, 1, 4);
	assert_true(shared(&folio));
	/* It takes a slot with its next mappings, which count less than it has. */
	folio_add(&folio, 3, 2);
	assert_int_equal(folio.mm_mapcount[0], 2);
	assert_true(shared(&folio));
	/* And gives it up before its last mapping is gone: no underflow. */
	folio_remove(&folio, 3, 5);
	assert_int_equal(folio.mm[0], 0);
	assert_int_equal(folio.mm_mapcount[0], 0);
	assert_int_equal(folio.mapcount, 1);
	assert_true(shared(&folio));
	folio_remove(&folio, 3, 1);
	assert_false(shared(&folio));
}

/* Never "exclusive" where two mms map it; exactly right as long as there were never three. */
static void mm_ids_are_never_falsely_exclusive(void **state)
{
	struct rng rng = { 11 };
	unsigned false_shared = 0;

	(void)state;
	for (unsigned round = 0; round < rounds(2000); round++) {
		struct folio folio = { .order = 4 };
		uint32_t count[4] = { 0 }, total = 0, mms = 1 + (uint32_t)rng_below(&rng, 4);

		for (unsigned step = 0; step < 60; step++) {
			uint32_t mm = (uint32_t)rng_below(&rng, mms);
			uint32_t n = 1 + (uint32_t)rng_below(&rng, 5), mapping = 0;

			if (rng_below(&rng, 2)) {
				folio_add(&folio, mm + 1, n);
				count[mm] += n;
				total += n;
			} else if (count[mm]) {
				n = n < count[mm] ? n : count[mm];
				folio_remove(&folio, mm + 1, n);
				count[mm] -= n;
				total -= n;
			}
			for (uint32_t i = 0; i < mms; i++)
				mapping += count[i] != 0;
			assert_int_equal(folio.mapcount, total);
			if (mapping > 1 || (mms < 3 && total))
				assert_int_equal(shared(&folio), mapping > 1);
			false_shared += mapping < 2 && shared(&folio);
			if (!total)
				assert_false(shared(&folio));
		}
	}
	assert_true(false_shared > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders_are_aligned_and_counted),
		cmocka_unit_test(freed_runs_are_taken_first),
		cmocka_unit_test(split_frames_are_gathered),
		cmocka_unit_test(scattered_frames_do_not_cost),
		cmocka_unit_test(reservations_hold),
		cmocka_unit_test(full_machine_has_no_folio),
		cmocka_unit_test(split_frees_what_is_unmapped),
		cmocka_unit_test(orphans_lose_their_markers),
		cmocka_unit_test(two_mms_are_told_apart),
		cmocka_unit_test(third_mm_is_falsely_shared),
		cmocka_unit_test(mm_ids_are_never_falsely_exclusive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
