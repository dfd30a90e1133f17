/* SPDX-License-Identifier: MIT
 *
 * Random calls from a seed: the machine check after each, under every policy and every home of the
 * marker; homes decide alike; the audit's word on `exclusive` and `ideal`.  Once with the calls of
 * base pages alone, and once with all there are, on machines where frames, swap and huge pages run
 * out.  Seeds are fixed; COWLAB_ROUNDS=N does N times as many.  Read test_model.c next.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/tape.h"
#include "run.h"
#include "suite.h"

#define EXCLUSIVE_FAMILY "exclusive-5.19", "exclusive-6.2", "exclusive", "pte-exclusive"

static void check_after(const struct run *run, const struct step *step, unsigned number)
{
	struct cow_error error;

	must(cow_machine_check(run->world.m, &error) == 0, "%s, seed %llu, step %u, %s: %s",
	     run->shape->policy, (unsigned long long)run->shape->seed, number,
	     step_name(step->kind), error.sentence);
}

/* ------------------------------------------------------------------ the machine check */

static void same_machine(const cow_machine *m, cow_machine *other)
{
	struct cow_error error;

	ck_assert(cow_machine_equal(m, other));
	ck_assert_uint_eq(cow_machine_hash(m), cow_machine_hash(other));
	ck_assert_msg(cow_machine_check(other, &error) == 0, "%s", error.sentence);
	cow_machine_destroy(other);
}

/* A clone, and what comes out of a snapshot, are the machine. */
static void copied(const struct run *run)
{
	struct tape tape = { 0 };
	struct cow_config config;
	cow_machine *other;

	ck_assert_int_eq(cow_machine_clone(run->world.m, &other), 0);
	same_machine(run->world.m, other);
	cow_config_init(&config);
	config.policy = cow_machine_policy(run->world.m);
	ck_assert_int_eq(cow_machine_save(run->world.m, tape_write, &tape), 0);
	ck_assert_int_eq(cow_machine_load(&config, tape_read, &tape, NULL, &other), 0);
	same_machine(run->world.m, other);
	tape_clear(&tape);
}

static void run_checked(const struct shape *shape, unsigned steps)
{
	struct step step;
	struct said said;
	struct run run;

	run_begin(&run, shape);
	for (unsigned i = 0; i < steps; i++) {
		run_step(&run, &step, &said);
		check_after(&run, &step, i);
		if (i % 97 == 96)
			copied(&run);
	}
	run_end(&run);
}

/* Of a policy that has a marker, each home; of another, itself. */
static void variant(const struct cow_policy *policy, unsigned home, char *text, size_t size)
{
	if (policy->marker == COW_MARKER_NONE)
		snprintf(text, size, "%s", policy->name);
	else
		snprintf(text, size, "%s,marker=%s", policy->name, homes[home]);
}

START_TEST(the_machine_holds_after_every_call)
{
	const struct cow_policy *policy;
	char text[80];

	for (size_t i = 0; (policy = cow_policy_at(i)); i++)
		for (unsigned home = 0; home < (policy->marker == COW_MARKER_NONE ? 1 : 4); home++)
			for (uint64_t seed = 1; seed <= 4; seed++) {
				variant(policy, home, text, sizeof(text));
				/* Frames in plenty, and few; without a batch, and with one. */
				run_checked(&(struct shape){ .policy = text, "tiny", seed & 1 ? 4096 : 24,
							     seed & 2 ? 3 : 0, seed * 7919 + i },
					    rounds(700));
			}
}
END_TEST

START_TEST(the_machine_holds_after_any_call)
{
	const struct cow_policy *policy = cow_policy_at((size_t)_i);
	struct shape shape;
	char text[80];

	for (unsigned home = 0; policy && home < (policy->marker == COW_MARKER_NONE ? 1 : 4); home++)
		for (uint64_t seed = 1; seed <= rounds(12); seed++) {
			variant(policy, home, text, sizeof(text));
			shape_scarce(&shape, text, seed * 7907 + (uint64_t)_i);
			run_checked(&shape, 600);
		}
}
END_TEST

/* Huge pages of their true size. */
START_TEST(the_machine_holds_after_any_call_on_x86_64)
{
	struct shape shape;
	char text[80];

	snprintf(text, sizeof(text), "exclusive,marker=%s", homes[_i]);
	for (uint64_t seed = 1; seed <= rounds(4); seed++) {
		shape_scarce(&shape, text, seed * 7901 + (uint64_t)_i);
		shape.geometry = "x86-64";
		shape.frames = 2200 + 2000 * (seed % 3);
		run_checked(&shape, 250);
	}
}
END_TEST

START_TEST(the_machine_holds_in_every_geometry)
{
	static const char *const geometries[] = { "x86-64", "x86-64-5", "arm64-16k", "arm64-64k" };

	for (unsigned home = 0; home < 4; home++) {
		char text[80];

		snprintf(text, sizeof(text), "exclusive,marker=%s", homes[home]);
		run_checked(&(struct shape){ .policy = text, geometries[_i], 4096, home, 4711 + home },
			    rounds(60));
	}
}
END_TEST

/* ------------------------------------------------------------------ homes of the marker */

static bool result_equal(const struct said *a, const struct said *b)
{
	return a->error == b->error && a->result.outcome == b->result.outcome &&
	       a->result.done == b->result.done && a->result.value == b->result.value &&
	       !memcmp(a->result.counts, b->result.counts, sizeof(a->result.counts));
}

static const enum cow_counter decided[] = {
	COW_COUNT_COPIES, COW_COUNT_REUSES, COW_COUNT_UNSHARES, COW_COUNT_EARLY_COPIES,
	COW_COUNT_NEEDLESS_COPIES, COW_COUNT_UNSAFE_REUSES, COW_COUNT_UPGRADES, COW_COUNT_FAULTS,
	COW_COUNT_HITS, COW_COUNT_ALLOCS, COW_COUNT_PEAK_FRAMES, COW_COUNT_TABLES,
};

static void homes_agree(const struct shape *shape, unsigned steps)
{
	struct shape shapes[4];
	struct run runs[4];
	uint64_t lookups[4];
	char texts[4][80];
	struct step step;
	struct said said[4];

	for (unsigned home = 0; home < 4; home++) {
		snprintf(texts[home], sizeof(texts[home]), "%s,marker=%s", shape->policy, homes[home]);
		shapes[home] = *shape;
		shapes[home].policy = texts[home];
		run_begin(&runs[home], &shapes[home]);
	}
	for (unsigned i = 0; i < steps; i++)
		for (unsigned home = 0; home < 4; home++) {
			cow_machine *m = runs[home].world.m;

			run_step(&runs[home], &step, &said[home]);
			ck_assert_msg(result_equal(&said[home], &said[0]),
				      "%s and %s, seed %llu, step %u, %s", homes[0], homes[home],
				      (unsigned long long)shape->seed, i, step_name(step.kind));
			for (size_t j = 0; j < sizeof(decided) / sizeof(*decided); j++)
				ck_assert_msg(
					cow_machine_counter(m, decided[j]) ==
						cow_machine_counter(runs[0].world.m, decided[j]),
					"%s: %s differs from %s, seed %llu, step %u, %s",
					cow_counter_name(decided[j]), homes[home], homes[0],
					(unsigned long long)shape->seed, i, step_name(step.kind));
			ck_assert_uint_eq(cow_audit_verdict(runs[home].audit),
					  cow_audit_verdict(runs[0].audit));
			/* A side table beside a leaf table at most, so fewer than tables. */
			ck_assert_uint_le(cow_machine_counter(m, COW_COUNT_SIDE_TABLES),
					  cow_machine_counter(m, COW_COUNT_TABLES));
			if (home < 2)
				ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 0);
			if (home == 3)
				ck_assert_uint_le(cow_machine_counter(m, COW_COUNT_SIDE_TABLES),
						  cow_machine_counter(runs[2].world.m,
								      COW_COUNT_SIDE_TABLES));
		}
	for (unsigned home = 0; home < 4; home++)
		lookups[home] = cow_machine_counter(runs[home].world.m, COW_COUNT_SIDE_LOOKUPS);
	ck_assert_uint_eq(lookups[0], 0);
	ck_assert_uint_eq(lookups[1], 0);
	ck_assert(lookups[2] || shape->any);
	/* Each look-up follows a pointer more where the table is an extra one. */
	ck_assert_uint_eq(lookups[3], 2 * lookups[2]);
	for (unsigned home = 0; home < 4; home++)
		run_end(&runs[home]);
}

START_TEST(the_homes_of_the_marker_decide_alike)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY, "always-copy" };

	for (uint64_t seed = 1; seed <= rounds(8); seed++) {
		homes_agree(&(struct shape){ .policy = policies[_i], "tiny", 4096, seed % 3, seed * 31 }, 600);
		homes_agree(&(struct shape){ .policy = policies[_i], "tiny", 20, seed % 3, seed * 37 }, 300);
	}
	homes_agree(&(struct shape){ .policy = policies[_i], "x86-64", 4096, 0, 99 }, 400);
}
END_TEST

START_TEST(the_homes_of_the_marker_decide_alike_on_any_call)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY, "always-copy" };
	struct shape shape;

	for (uint64_t seed = 1; seed <= rounds(24); seed++) {
		shape_scarce(&shape, policies[_i], seed * 41 + (uint64_t)_i);
		homes_agree(&shape, 500);
	}
}
END_TEST

/* ------------------------------------------------------------------ verdicts */

static void no_finding_but(const struct shape *shape, unsigned allowed, unsigned steps)
{
	bool ideal = !strcmp(shape->policy, "ideal");
	struct step step;
	struct said said;
	struct run run;

	run_begin(&run, shape);
	for (unsigned i = 0; i < steps; i++) {
		unsigned verdict;

		run_step(&run, &step, &said);
		verdict = cow_audit_verdict(run.audit) & ~allowed;
		if (verdict) {
			const struct cow_finding *found = cow_audit_finding(run.audit, 0);

			for (size_t j = 0; !(found->verdict & verdict);)
				found = cow_audit_finding(run.audit, ++j);
			ck_abort_msg("%s, seed %llu, step %u, %s: %s: %s", shape->policy,
				     (unsigned long long)shape->seed, i, step_name(step.kind),
				     cow_verdict_word((unsigned)__builtin_ctz(found->verdict)),
				     found->sentence);
		}
		if (ideal)
			ck_assert_msg(!cow_machine_counter(run.world.m, COW_COUNT_NEEDLESS_COPIES) &&
					      !cow_machine_counter(run.world.m,
								   COW_COUNT_UNSAFE_REUSES),
				      "seed %llu, step %u, %s: a needless copy or an unsafe reuse",
				      (unsigned long long)shape->seed, i, step_name(step.kind));
	}
	run_end(&run);
}

START_TEST(exclusive_never_leaks_corrupts_or_loses_a_pin)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY };
	unsigned allowed = COW_VERDICT(STALE_GET) | COW_VERDICT(KILLED);

	for (uint64_t seed = 1; seed <= rounds(150); seed++) {
		no_finding_but(&(struct shape){ .policy = policies[_i], "tiny", 4096, seed % 3, seed * 101 },
			       allowed & ~COW_VERDICT(KILLED), 500);
		no_finding_but(&(struct shape){ .policy = policies[_i], "tiny", 16, seed % 3, seed * 103 },
			       allowed, 200);
	}
}
END_TEST

/* hugetlb aside: that leaks on purpose, and a parent robs its children. */
START_TEST(exclusive_never_leaks_corrupts_or_loses_a_pin_by_any_call)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY };
	struct shape shape;

	for (uint64_t seed = 1; seed <= rounds(150); seed++) {
		shape_scarce(&shape, policies[_i], seed * 113 + (uint64_t)_i);
		shape.pool = 0;
		no_finding_but(&shape, COW_VERDICT(STALE_GET) | COW_VERDICT(KILLED), 500);
	}
}
END_TEST

START_TEST(ideal_has_no_finding_but_stale_get)
{
	for (uint64_t seed = 1; seed <= rounds(300); seed++)
		no_finding_but(&(struct shape){ .policy = "ideal", "tiny", 4096, seed % 3, seed * 107 },
			       COW_VERDICT(STALE_GET), 500);
}
END_TEST

/* With hugetlb where the pool has a page for every copy. */
START_TEST(ideal_has_no_finding_but_stale_get_by_any_call)
{
	struct shape shape;

	for (uint64_t seed = 1; seed <= rounds(300); seed++) {
		shape_scarce(&shape, "ideal", seed * 127);
		shape.pool = seed % 3 ? 0 : 40;
		no_finding_but(&shape, COW_VERDICT(STALE_GET) | COW_VERDICT(KILLED), 500);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("random");
	TCase *machine = tcase_create("machine"), *marker = tcase_create("marker");
	TCase *verdict = tcase_create("verdict");

	tcase_add_test(machine, the_machine_holds_after_every_call);
	tcase_add_loop_test(machine, the_machine_holds_in_every_geometry, 0, 4);
	tcase_add_loop_test(machine, the_machine_holds_after_any_call, 0, 16);
	tcase_add_loop_test(machine, the_machine_holds_after_any_call_on_x86_64, 0, 4);
	tcase_add_loop_test(marker, the_homes_of_the_marker_decide_alike, 0, 5);
	tcase_add_loop_test(marker, the_homes_of_the_marker_decide_alike_on_any_call, 0, 5);
	tcase_add_loop_test(verdict, exclusive_never_leaks_corrupts_or_loses_a_pin, 0, 4);
	tcase_add_test(verdict, ideal_has_no_finding_but_stale_get);
	tcase_add_loop_test(verdict, exclusive_never_leaks_corrupts_or_loses_a_pin_by_any_call, 0, 4);
	tcase_add_test(verdict, ideal_has_no_finding_but_stale_get_by_any_call);
	TCase *all[] = { machine, marker, verdict };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		tcase_set_timeout(all[i], 120);
		suite_add_tcase(s, all[i]);
	}
	return s;
}

int main(void)
{
	return run_suite(suite());
}
