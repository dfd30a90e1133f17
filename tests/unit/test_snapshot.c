/* SPDX-License-Identifier: MIT
 *
 * Snapshots: the round trip, and every way in which a file may lie: cut short, a bit flipped, of
 * another version or kind, from a source that fails, and forged with a checksum that fits.
 *
 *       a       b   a and b: 4 + 3 private pages, [c] 2 read-only ones, s 3 shared ones
 *   P  |----|..|---|[cc]|sss|
 *   C  |----|..|---|[cc]|sss|   forked; a pin, and an LRU batch
 *
 * and the machine of rich.h, which has something of everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rich.h"
#include "tape.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>

static void tape_copy(struct tape *to, const struct tape *from)
{
	to->size = to->at = 0;
	assert_int_equal(tape_write(to, from->bytes, from->size), 0);
}

static const char *const policies[] = {
	"exclusive", "exclusive,marker=pte", "exclusive,marker=adjacent", "exclusive,marker=extra",
	"page-count",
};

enum { POLICIES = sizeof(policies) / sizeof(*policies) };

static struct cow_config config_of(const struct cow_policy *policy)
{
	struct cow_config config;

	cow_config_init(&config);
	config.policy = policy;
	return config;
}

static int load(struct tape *tape, const struct cow_policy *policy, struct cow_error *error,
		cow_machine **out)
{
	struct cow_config config = config_of(policy);

	tape->at = 0;
	return cow_machine_load(&config, tape_read, tape, error, out);
}

/* The machine of the map above. */
static cow_machine *small_machine(const struct cow_policy *policy)
{
	cow_machine *m = machine_new("tiny", policy, 64, 3);
	cow_mm p, c;
	cow_ref pin;

	assert_non_null(m);
	assert_int_equal(cow_mm_create(m, &p), 0);
	assert_int_equal(cow_mmap(m, p, 0, 4, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_mmap(m, p, 6 << 12, 5, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_mmap(m, p, 11 << 12, 3, COW_PROT_RW, COW_MAP_SHARED), 0);
	assert_int_equal(cow_write_range(m, p, 0, 3, 5, NULL), 0);
	assert_int_equal(cow_write_range(m, p, 6 << 12, 8, 6, NULL), 0);
	assert_int_equal(cow_read(m, p, 3 << 12, NULL, NULL), 0);
	assert_int_equal(cow_mprotect(m, p, 9 << 12, 2, COW_PROT_READ), 0);
	assert_int_equal(cow_gup(m, p, 0, 2, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL, &pin), 0);
	assert_int_equal(cow_fork(m, p, NULL, &c), 0);
	assert_int_equal(cow_write(m, c, 7 << 12, 8, NULL), 0);
	assert_int_equal(cow_munmap(m, c, 2 << 12, 1), 0);
	assert_int_equal(cow_machine_check(m, NULL), 0);
	return m;
}

static cow_machine *rich_machine(const struct cow_policy *policy)
{
	struct rich rich;

	assert_int_equal(rich_init(&rich, policy, true), 0);
	assert_int_equal(cow_machine_check(rich.m, NULL), 0);
	return rich.m;
}

typedef cow_machine *make_fn(const struct cow_policy *policy);

static make_fn *const makers[] = { small_machine, rich_machine };

static void save(const cow_machine *m, struct tape *tape)
{
	tape_clear(tape);
	assert_int_equal(cow_machine_save(m, tape_write, tape), 0);
}

static void the_round_trip_gives_the_same_machine(void **state)
{
	struct tape tape = { 0 }, again = { 0 };

	(void)state;
	for (unsigned i = 0; i < 2 * POLICIES; i++) {
		for (size_t step = 0; step < 4; step++) {
			cow_policies *list;
			const struct cow_policy *policy = policy_parse(policies[i / 2], &list);
			cow_machine *m = makers[i % 2](policy), *loaded;
			struct cow_error error;

			save(m, &tape);
			tape.step = step;
			assert_int_equal(load(&tape, policy, &error, &loaded), 0);
			assert_int_equal(tape.at, tape.size);
			assert_int_equal(error.code, 0);
			assert_true(cow_machine_equal(m, loaded));
			assert_int_equal(cow_machine_hash(m), cow_machine_hash(loaded));
			assert_int_equal(cow_machine_page_size(loaded), 4096);
			assert_ptr_equal(cow_machine_policy(loaded), policy);
			for (int counter = COW_COUNT_SIDE_TABLES; counter <= COW_COUNT_TABLES; counter++)
				assert_int_equal(cow_machine_counter(loaded, counter),
						 cow_machine_counter(m, counter));
			save(loaded, &again);
			assert_int_equal(again.size, tape.size);
			assert_memory_equal(again.bytes, tape.bytes, tape.size);
			cow_machine_destroy(loaded);
			cow_machine_destroy(m);
			cow_policies_free(list);
		}
	}
	tape_clear(&tape);
	tape_clear(&again);
}

static void assert_refused(struct tape *tape, const struct cow_policy *policy, int code)
{
	struct cow_error error = { 0 };
	cow_machine *loaded = (cow_machine *)tape;
	int result = load(tape, policy, &error, &loaded);

	assert_int_equal(result, code);
	assert_null(loaded);
	assert_int_equal(error.code, code);
	if (code == -EBADMSG)
		assert_true(error.sentence[0] != '\0' && !error.host);
	assert_int_equal(load(tape, policy, NULL, &loaded), code);
}

static void every_shorter_file_is_refused(void **state)
{
	struct tape tape = { 0 };
	cow_machine *m = small_machine(NULL);
	size_t size;

	(void)state;
	save(m, &tape);
	size = tape.size;
	for (tape.size = 0; tape.size < size; tape.size += rounds(1) > 1 ? 1 : 7)
		assert_refused(&tape, NULL, -EBADMSG);
	cow_machine_destroy(m);
	tape_clear(&tape);
}

static void every_flipped_bit_is_refused(void **state)
{
	struct tape tape = { 0 };
	cow_machine *m = small_machine(NULL);
	unsigned bits = rounds(8) < 8 ? 1 : 8;

	(void)state;
	save(m, &tape);
	for (size_t at = 0; at < tape.size; at++)
		for (unsigned bit = 0; bit < bits; bit++) {
			unsigned which = bits == 1 ? at % 8 : bit;

			tape.bytes[at] ^= (unsigned char)(1u << which);
			assert_refused(&tape, NULL, -EBADMSG);
			tape.bytes[at] ^= (unsigned char)(1u << which);
		}
	cow_machine_destroy(m);
	tape_clear(&tape);
}

static void every_changed_byte_is_refused(void **state)
{
	struct tape tape = { 0 };
	cow_policies *list;
	const struct cow_policy *policy = policy_parse("exclusive,marker=extra", &list);
	cow_machine *m = small_machine(policy);

	(void)state;
	save(m, &tape);
	for (size_t at = 0; at < tape.size; at++) {
		tape.bytes[at] ^= 0xff;
		assert_refused(&tape, policy, -EBADMSG);
		tape.bytes[at] ^= 0xff;
	}
	cow_machine_destroy(m);
	cow_policies_free(list);
	tape_clear(&tape);
}

static void a_source_that_fails_is_heard(void **state)
{
	struct tape tape = { 0 };
	cow_machine *m = small_machine(NULL);

	(void)state;
	save(m, &tape);
	for (size_t at = 0; at < tape.size; at += 97) {
		tape.broken = at;
		tape.step = 97;
		tape.error = -EIO;
		assert_refused(&tape, NULL, -EIO);
		tape.error = -EINVAL; /* not to be mistaken for one of our own */
		assert_refused(&tape, NULL, -EINVAL);
	}
	cow_machine_destroy(m);
	tape_clear(&tape);
}

static void a_sink_that_fails_is_heard(void **state)
{
	struct tape tape = { 0 };
	cow_machine *m = small_machine(NULL);

	(void)state;
	save(m, &tape);
	for (size_t broken = 0, size = tape.size; broken < size; broken += 31) {
		tape_clear(&tape);
		tape.error = -ENOSPC;
		tape.broken = broken;
		assert_int_equal(cow_machine_save(m, tape_write, &tape), -ENOSPC);
	}
	assert_int_equal(cow_machine_save(m, NULL, &tape), -EINVAL);
	assert_int_equal(cow_machine_save(NULL, tape_write, &tape), -EINVAL);
	cow_machine_destroy(m);
	tape_clear(&tape);
}

/* ------------------------------------------------------------------ forged ones */

/* FNV-1a over all but the last eight bytes, as the format has it. */
static void sign(struct tape *tape)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t at = 0; at < tape->size - 8; at++)
		sum = (sum ^ tape->bytes[at]) * UINT64_C(0x100000001b3);
	memcpy(&tape->bytes[tape->size - 8], &sum, 8);
}

static void versions_and_kinds_are_told_apart(void **state)
{
	struct tape tape = { 0 }, good = { 0 };
	static const struct {
		size_t at;
		unsigned char with;
		const char *says;
	} lies[] = {
		{ 0, 'C', "no snapshot" }, { 8, 5, "version 5" },   { 12, 9, "another kind" },
		{ 16, 3, "another kind" }, { 20, 1, "another kind" },
	};
	cow_machine *m = small_machine(NULL), *loaded;
	struct cow_error error;

	(void)state;
	save(m, &good);
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		tape_copy(&tape, &good);
		tape.bytes[lies[i].at] = lies[i].with;
		sign(&tape);
		assert_int_equal(load(&tape, NULL, &error, &loaded), -EBADMSG);
		assert_non_null(strstr(error.sentence, lies[i].says));
	}
	/* Another home of the marker: the tables would be read amiss. */
	assert_int_equal(load(&good, cow_policy_find("pte-exclusive"), &error, &loaded), -EBADMSG);
	assert_non_null(strstr(error.sentence, "marker"));
	/* Another policy with the same home is a question that one may ask. */
	assert_int_equal(load(&good, cow_policy_find("exclusive-5.19"), &error, &loaded), 0);
	assert_true(cow_machine_equal(m, loaded));
	cow_machine_destroy(loaded);
	cow_machine_destroy(m);
	tape_clear(&tape);
	tape_clear(&good);
}

/* Uses the machine hard.  What it says does not matter; what the sanitizers say does. */
static void use(cow_machine *m, uint64_t seed)
{
	struct rng rng = { seed };
	struct world world;

	world_find(&world, m);
	for (unsigned i = 0; i < 40; i++) {
		struct step step;
		struct said said;

		step_any(&rng, &world, true, &step);
		if (world_can(&world, &step))
			world_step(&world, &step, &said);
	}
	for (uint32_t frame = 0; frame < 40; frame++)
		(void)cow_rmap_walk(m, frame, NULL, NULL);
	world_end(&world);
}

static int visit_nothing(void *ctx, cow_mm mm, uint64_t addr)
{
	(void)ctx;
	(void)mm;
	(void)addr;
	return 0;
}

/* A snapshot that is signed is believed only as far as the machine check goes: what passes it can
 * be used, to the last process, without a step into the void. */
static void what_is_forged_is_refused_or_can_be_used(void **state)
{
	struct tape good = { 0 }, tape = { 0 };
	unsigned passed = 0;

	(void)state;
	for (unsigned i = 0; i < 2 * POLICIES; i++) {
		cow_policies *list;
		const struct cow_policy *policy = policy_parse(policies[i / 2], &list);
		cow_machine *m = makers[i % 2](policy), *loaded;
		struct rng rng = { 1 + i };

		save(m, &good);
		for (unsigned round = 0; round < rounds(10000); round++) {
			unsigned changes = 1 + (unsigned)rng_below(&rng, 3);
			struct cow_error error;
			int result;

			tape_copy(&tape, &good);
			while (changes--) {
				size_t at = 24 + rng_below(&rng, tape.size - 32);
				static const unsigned char tempting[] = { 0, 1,  2,    3,   4,
									  8, 16, 0x7f, 0xff };

				tape.bytes[at] = tempting[rng_below(&rng, sizeof(tempting))];
			}
			sign(&tape);
			result = load(&tape, policy, &error, &loaded);
			if (result) {
				assert_int_equal(result, -EBADMSG);
				assert_true(error.sentence[0] != '\0');
				continue;
			}
			passed++;
			assert_int_equal(cow_machine_check(loaded, &error), 0);
			for (uint32_t frame = 0; frame < 32; frame++)
				(void)cow_rmap_walk(loaded, frame, visit_nothing, NULL);
			use(loaded, round);
			cow_machine_destroy(loaded);
		}
		cow_machine_destroy(m);
		cow_policies_free(list);
	}
	assert_true(passed > 0);
	tape_clear(&good);
	tape_clear(&tape);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_round_trip_gives_the_same_machine),
		cmocka_unit_test(every_shorter_file_is_refused),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(every_changed_byte_is_refused),
		cmocka_unit_test(a_source_that_fails_is_heard),
		cmocka_unit_test(a_sink_that_fails_is_heard),
		cmocka_unit_test(versions_and_kinds_are_told_apart),
		cmocka_unit_test(what_is_forged_is_refused_or_can_be_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
