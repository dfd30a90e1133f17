/* SPDX-License-Identifier: MIT
 *
 * Pools: growth, the free list, copies and equality.
 *
 *   slot   0     1..first-1 | ..chunk | chunk | chunk     the lone first chunk doubles until it is
 *         none   in use     |  room   |                   full-sized; all behind it are
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "machine/pool.h"
#include "world.h"

#include <errno.h>

struct slot {
	uint32_t link, number;
	uint64_t more;
};

enum { SHIFT = 4, CHUNK = 1 << SHIFT };

static struct slot *at(const struct pool *pool, uint32_t index)
{
	return pool_at(pool, index);
}

static uint32_t take(struct pool *pool, uint32_t number)
{
	uint32_t index;

	assert_int_equal(pool_reserve(NULL, pool, 1), 0);
	index = pool_take(pool);
	assert_int_equal(at(pool, index)->link, 0);
	assert_int_equal(at(pool, index)->number, 0);
	assert_int_equal(at(pool, index)->more, 0);
	at(pool, index)->number = number;
	at(pool, index)->more = number * UINT64_C(0x100000001);
	return index;
}

static void the_first_chunk_doubles_and_keeps_its_content(void **state)
{
	(void)state;
	for (uint32_t first = 1; first <= 2 * CHUNK; first++) {
		struct pool pool;
		uint32_t before;

		assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, first), 0);
		assert_int_equal(pool.capacity, first < CHUNK ? first : CHUNK);
		assert_int_equal(pool.used, 1);
		assert_int_equal(pool.live, 0);
		for (uint32_t i = 1; i < 5 * CHUNK; i++) {
			before = pool.capacity;
			assert_int_equal(take(&pool, i), i);
			if (before < CHUNK && pool.capacity != before)
				assert_true(pool.capacity == 2 * before || pool.capacity == CHUNK);
			assert_true(pool.capacity <= CHUNK || pool.capacity % CHUNK == 0);
			assert_true(pool_memory(&pool) >= pool.capacity * sizeof(struct slot));
		}
		for (uint32_t i = 1; i < 5 * CHUNK; i++)
			assert_int_equal(at(&pool, i)->more, i * UINT64_C(0x100000001));
		pool_fini(NULL, &pool);
	}
}

static void slots_do_not_move_behind_the_first_chunk(void **state)
{
	struct pool pool;
	struct slot *where[8 * CHUNK];

	(void)state;
	assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, CHUNK), 0);
	for (uint32_t i = 1; i < 8 * CHUNK; i++)
		where[i] = at(&pool, take(&pool, i));
	assert_int_equal(pool_reserve(NULL, &pool, 100 * CHUNK), 0);
	for (uint32_t i = 1; i < 8 * CHUNK; i++)
		assert_ptr_equal(where[i], at(&pool, i));
	pool_fini(NULL, &pool);
}

/* Slots that nobody took keep what was stored too: the audit keeps arrays by frame so. */
static void growing_keeps_slots_that_were_never_taken(void **state)
{
	struct pool pool;

	(void)state;
	assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, 4), 0);
	at(&pool, 3)->more = 77;
	assert_int_equal(pool_reserve(NULL, &pool, 6 * CHUNK), 0);
	assert_int_equal(at(&pool, 3)->more, 77);
	pool_fini(NULL, &pool);
}

static void what_was_reserved_needs_no_memory(void **state)
{
	struct failing failing = { 0 };
	struct cow_allocator allocator = failing_allocator(&failing);

	(void)state;
	for (uint64_t more = 0; more < 4 * CHUNK; more++) {
		struct pool pool;
		size_t live;

		assert_int_equal(pool_init(&allocator, &pool, sizeof(struct slot), SHIFT, 2), 0);
		assert_int_equal(pool_reserve(&allocator, &pool, more), 0);
		assert_true(pool_spare(&pool) >= more);
		live = failing.live;
		for (uint64_t i = 0; i < more; i++)
			assert_true(pool_take(&pool) < pool.capacity);
		assert_int_equal(failing.live, live);
		assert_int_equal(pool.live, more);
		pool_fini(&allocator, &pool);
		assert_int_equal(failing.live, 0);
	}
}

static void an_allocation_that_fails_changes_no_state(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 12; n++) {
		struct failing failing = { 0 };
		struct cow_allocator allocator = failing_allocator(&failing);
		struct pool pool, before;
		int result;

		assert_int_equal(pool_init(&allocator, &pool, sizeof(struct slot), SHIFT, 2), 0);
		take(&pool, 1);
		before = pool;
		failing.armed = true;
		failing.fail = n;
		result = pool_reserve(&allocator, &pool, 5 * CHUNK);
		assert_true(result == 0 || result == -ENOMEM);
		assert_int_equal(result == 0, !failing.failed);
		assert_int_equal(pool.used, before.used);
		assert_int_equal(pool.free, before.free);
		assert_int_equal(pool.live, before.live);
		assert_int_equal(at(&pool, 1)->number, 1);
		failing.armed = false;
		assert_int_equal(pool_reserve(&allocator, &pool, 5 * CHUNK), 0);
		pool_fini(&allocator, &pool);
		assert_int_equal(failing.live, 0);
	}
	/* More slots than 32 bits can name. */
	for (uint64_t more = UINT32_MAX - 8; more < UINT64_C(1) << 63; more *= 3) {
		struct pool pool;

		assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, 2), 0);
		assert_int_equal(pool_reserve(NULL, &pool, more), -ENOMEM);
		pool_fini(NULL, &pool);
	}
}

/* 512 KiB of slots: a sparse pool has them in a block, which costs what of it is used; others in chunks,
 * and with 1.75 MiB both take a block. */
static void a_sparse_pool_takes_blocks_early(void **state)
{
	(void)state;
	for (int sparse = 0; sparse < 2; sparse++)
		for (uint64_t slots = 128 << 10; slots <= 448 << 10; slots += 320 << 10) {
			const bool block = sparse || slots > 256 << 10;
			struct pool pool;

			assert_int_equal(pool_init(NULL, &pool, 4, 14, 1 << 14), 0);
			pool.sparse = sparse;
			assert_int_equal(pool_grow(NULL, &pool, slots + (1 << 14)), 0);
			assert_int_equal(pool.blocks[1] != 0, block);
			if (block)
				assert_int_equal(pool.capacity, (1 << 14) + (BLOCK_SIZE / 4));
			else
				assert_true(pool.capacity < (BLOCK_SIZE / 4));
			pool_fini(NULL, &pool);
		}
}

static void the_free_list_is_a_stack_of_zeroed_slots(void **state)
{
	struct pool pool;

	(void)state;
	assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, 2), 0);
	for (uint32_t i = 1; i <= 40; i++)
		take(&pool, i);
	for (uint32_t i = 1; i <= 40; i += 3) {
		pool_give(&pool, i);
		assert_true(pool_free_list_valid(&pool));
		assert_int_equal(at(&pool, i)->number, 0);
		assert_int_equal(at(&pool, i)->more, 0);
	}
	for (uint32_t i = 40; i >= 1; i -= 3) {
		assert_int_equal(take(&pool, 100 + i), i);
		if (i < 3)
			break;
	}
	assert_int_equal(pool.live, 40);
	assert_int_equal(pool.used, 41);
	pool_fini(NULL, &pool);
}

static void a_damaged_free_list_is_seen(void **state)
{
	struct pool pool;

	(void)state;
	assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, 2), 0);
	for (uint32_t i = 1; i <= 10; i++)
		take(&pool, i);
	for (uint32_t i = 2; i <= 8; i += 2)
		pool_give(&pool, i);
	assert_true(pool_free_list_valid(&pool));
	for (uint32_t link = 0; link < 20; link++) {
		uint32_t old = at(&pool, 4)->link;

		at(&pool, 4)->link = link; /* 8 -> 6 -> 4 -> 2 */
		assert_int_equal(pool_free_list_valid(&pool), link == old);
		at(&pool, 4)->link = old;
	}
	at(&pool, 4)->more = 1;
	assert_false(pool_free_list_valid(&pool));
	at(&pool, 4)->more = 0;
	pool.live++;
	assert_false(pool_free_list_valid(&pool));
	pool.live -= 2;
	assert_false(pool_free_list_valid(&pool));
	pool_fini(NULL, &pool);
}

static void copies_are_equal_until_a_bit_differs(void **state)
{
	struct rng rng = { 3 };

	(void)state;
	for (unsigned round = 0; round < rounds(200); round++) {
		uint32_t slots = 1 + (uint32_t)rng_below(&rng, 5 * CHUNK);
		struct pool from, to;
		uint32_t index;

		assert_int_equal(pool_init(NULL, &from, sizeof(struct slot), SHIFT, 2), 0);
		assert_int_equal(pool_init(NULL, &to, sizeof(struct slot), SHIFT, 16), 0);
		for (uint32_t i = 0; i < slots; i++)
			take(&from, 1 + (uint32_t)rng_below(&rng, 1000));
		for (uint32_t i = 1; i <= slots; i++)
			if (!rng_below(&rng, 3))
				pool_give(&from, i);
		assert_false(pool_equal(&from, &to));
		assert_int_equal(pool_copy(NULL, &to, &from), 0);
		assert_true(pool_equal(&from, &to));
		assert_true(pool_free_list_valid(&to));
		index = 1 + (uint32_t)rng_below(&rng, slots);
		((unsigned char *)pool_at(&to, index))[rng_below(&rng, sizeof(struct slot))] ^= 1;
		assert_false(pool_equal(&from, &to));
		pool_fini(NULL, &from);
		pool_fini(NULL, &to);
	}
}

static void runs_cover_every_slot_once(void **state)
{
	struct pool pool;
	uint32_t seen = 0, slots;
	const void *run;

	(void)state;
	assert_int_equal(pool_init(NULL, &pool, sizeof(struct slot), SHIFT, 2), 0);
	for (uint32_t i = 1; i < 3 * CHUNK + 5; i++)
		take(&pool, i);
	for (uint32_t index = 0; (run = pool_run(&pool, index, &slots)); index += slots) {
		assert_ptr_equal(run, pool_at(&pool, index));
		for (uint32_t i = 0; i < slots; i++)
			assert_ptr_equal((const struct slot *)run + i, pool_at(&pool, index + i));
		seen += slots;
	}
	assert_int_equal(seen, pool.used);
	pool_fini(NULL, &pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_chunk_doubles_and_keeps_its_content),
		cmocka_unit_test(slots_do_not_move_behind_the_first_chunk),
		cmocka_unit_test(growing_keeps_slots_that_were_never_taken),
		cmocka_unit_test(what_was_reserved_needs_no_memory),
		cmocka_unit_test(an_allocation_that_fails_changes_no_state),
		cmocka_unit_test(a_sparse_pool_takes_blocks_early),
		cmocka_unit_test(the_free_list_is_a_stack_of_zeroed_slots),
		cmocka_unit_test(a_damaged_free_list_is_seen),
		cmocka_unit_test(copies_are_equal_until_a_bit_differs),
		cmocka_unit_test(runs_cover_every_slot_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
