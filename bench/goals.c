/* SPDX-License-Identifier: MIT
 *
 * The goals of issues 2 and 3 and whether they are reached: every ratio is one of medians of this
 * run, of base pages at the smaller page count.  Holds no measurement and prints nothing.
 * Next: report.c (the table).
 */
#include <math.h>
#include <string.h>

#include "bench.h"

#define AUDIT_RATIO 2.5
#define FORK_FLOOR_RATIO 2.5
#define FEATURE_RATIO 30
#define GROWTH_TOLERANCE 1.10 /* noise of two medians on either side */

/* How many times faster than the kernel each operation is to be. */
static const double wanted_of_kernel[OP_COUNT] = {
	[OP_FIRST_FRESH] = 60, [OP_FIRST_USED] = 60, [OP_FORK] = 25, [OP_COPY] = 60,
	[OP_REUSE] = 40,       [OP_EXIT] = 20,       [OP_MUNMAP] = 50,
};

static struct goal *goal_add(struct bench *bench, const char *group, const char *what,
			     const char *variant)
{
	struct goal *goal = &bench->goal[bench->goals++];

	*goal = (struct goal){ .group = group, .simulator = NAN, .kernel = NAN, .floor = NAN,
			       .reached = NAN, .unit = "x" };
	snprintf(goal->what, sizeof(goal->what), "%s%s", what, variant);
	return goal;
}

/* Judges; the first series that has no value says why not. */
static void goal_close(struct goal *goal, const struct series *const *needed, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (needed[i]->count)
			continue;
		goal->state = GOAL_SKIPPED;
		goal->reached = NAN;
		memcpy(goal->reason, needed[i]->skipped, sizeof(goal->reason));
		return;
	}
	if (goal->at_most ? goal->reached <= goal->wanted : goal->reached >= goal->wanted)
		goal->state = GOAL_REACHED;
	else
		goal->state = GOAL_MISSED;
}

static const char *variant_of(enum bench_op op, enum bench_side side)
{
	if (!op_is_fault[op])
		return "";
	return side == SIDE_CALL || side == SIDE_AUDIT_CALL ? ", single call" : ", range";
}

static void goals_of_kernel(struct bench *bench)
{
	struct series(*page)[OP_COUNT] = bench->page[SIZE_SMALL];

	for (unsigned op = 0; op < OP_COUNT; op++) {
		for (unsigned side = SIDE_RANGE; side <= SIDE_CALL; side++) {
			const struct series *needed[] = { &page[side][op], &page[SIDE_KERNEL][op] };
			struct goal *goal;

			/* A machine that grows a page at a time waits for the host's memory more
			 * than for anything else: shown, and no goal. */
			if (!op_on_side(op, side) || (op == OP_FIRST_FRESH && side == SIDE_CALL))
				continue;
			goal = goal_add(bench, "times faster than the kernel", op_what[op],
					variant_of(op, side));
			goal->simulator = series_median(needed[0]);
			goal->kernel = series_median(needed[1]);
			goal->floor = series_median(&page[SIDE_FLOOR][op]);
			goal->reached = goal->kernel / goal->simulator;
			goal->wanted = wanted_of_kernel[op];
			goal_close(goal, needed, 2);
		}
	}
}

static void goal_of_floor(struct bench *bench)
{
	struct series(*page)[OP_COUNT] = bench->page[SIZE_SMALL];
	const struct series *needed[] = { &page[SIDE_RANGE][OP_FORK], &page[SIDE_FLOOR][OP_FORK] };
	struct goal *goal = goal_add(bench, "times the floor", op_what[OP_FORK], "");

	goal->simulator = series_median(needed[0]);
	goal->kernel = series_median(&page[SIDE_KERNEL][OP_FORK]);
	goal->floor = series_median(needed[1]);
	goal->reached = goal->simulator / goal->floor;
	goal->wanted = FORK_FLOOR_RATIO;
	goal->at_most = true;
	goal_close(goal, needed, 2);
}

static void goals_of_growth(struct bench *bench)
{
	for (unsigned op = 0; op < OP_COUNT; op++) {
		for (unsigned side = SIDE_RANGE; side <= SIDE_CALL; side++) {
			const struct series *needed[] = {
				&bench->page[SIZE_SMALL][side][op],
				&bench->page[SIZE_LARGE][side][op],
				&bench->page[SIZE_SMALL][SIDE_FLOOR][op],
				&bench->page[SIZE_LARGE][SIDE_FLOOR][op],
			};
			struct goal *goal;

			if (!op_on_side(op, side))
				continue;
			goal = goal_add(bench, "growth of the cost of a page (the floor's + 10 %)",
					op_what[op], variant_of(op, side));
			goal->simulator = series_median(needed[1]);
			goal->kernel = series_median(&bench->page[SIZE_LARGE][SIDE_KERNEL][op]);
			goal->floor = series_median(needed[3]);
			goal->reached = goal->simulator / series_median(needed[0]);
			goal->wanted = GROWTH_TOLERANCE * goal->floor / series_median(needed[2]);
			goal->at_most = true;
			goal_close(goal, needed, 4);
		}
	}
}

static void goals_of_audit(struct bench *bench)
{
	static const enum bench_side pair[][2] = { { SIDE_RANGE, SIDE_AUDIT_RANGE },
						   { SIDE_CALL, SIDE_AUDIT_CALL } };
	struct series(*page)[OP_COUNT] = bench->page[SIZE_SMALL];

	for (unsigned op = 0; op < OP_COUNT; op++) {
		for (unsigned i = 0; i < 2; i++) {
			enum bench_side off = pair[i][0], on = pair[i][1];
			const struct series *needed[] = { &page[off][op], &page[on][op] };
			struct goal *goal;

			if (!op_on_side(op, off))
				continue;
			goal = goal_add(bench, "times slower with the audit on", op_what[op],
					variant_of(op, off));
			goal->simulator = series_median(needed[1]);
			goal->kernel = series_median(&page[SIDE_KERNEL][op]);
			goal->floor = series_median(&page[SIDE_FLOOR][op]);
			goal->reached = goal->simulator / series_median(needed[0]);
			goal->wanted = AUDIT_RATIO;
			goal->at_most = true;
			goal_close(goal, needed, 2);
		}
	}
}

static void goals_of_features(struct bench *bench)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		for (unsigned side = SIDE_RANGE; side <= SIDE_CALL; side++) {
			const struct series *needed[] = { &bench->feature[side][i],
							  &bench->feature[SIDE_KERNEL][i] };
			struct goal *goal;

			if (!feature_on_side(i, side))
				continue;
			goal = goal_add(bench, "times faster than the kernel, a page or a PMD",
					feature_what[i],
					side == SIDE_CALL ? ", single call" : "");
			goal->simulator = series_median(needed[0]);
			goal->kernel = series_median(needed[1]);
			if (feature_on_side(i, SIDE_FLOOR))
				goal->floor = series_median(&bench->feature[SIDE_FLOOR][i]);
			goal->reached = goal->kernel / goal->simulator;
			goal->wanted = FEATURE_RATIO;
			goal_close(goal, needed, 2);
		}
	}
}

/* From the first single to the second, and of the floor's from the third to the fourth. */
static void goal_of_growth(struct bench *bench, const char *group, const char *what,
			   const enum bench_single *single, unsigned count, double linear)
{
	const struct series *needed[4] = { NULL };
	struct goal *goal = goal_add(bench, group, what, "");

	for (unsigned i = 0; i < count; i++)
		needed[i] = &bench->single[single[i]];
	goal->simulator = series_median(needed[1]);
	goal->reached = goal->simulator / series_median(needed[0]);
	goal->wanted = GROWTH_TOLERANCE * linear;
	if (count == 4) {
		goal->floor = series_median(needed[3]);
		goal->wanted *= goal->floor / series_median(needed[2]);
	}
	goal->at_most = true;
	goal_close(goal, needed, count);
}

static void goals_of_feature_growth(struct bench *bench)
{
	static const char ksm[] = "growth of a KSM scan, 64 Ki to 256 Ki (the floor's + 10 %)";
	static const char machine[] = "growth of a swap-out, 1 to 1000 unrelated processes";
	static const char mappings[] = "growth of a swap-out, 1 to 16 mappings of the page";
	static const enum bench_single equal[] = { SINGLE_KSM_EQUAL, SINGLE_KSM_EQUAL_LARGE,
						   SINGLE_KSM_EQUAL_FLOOR,
						   SINGLE_KSM_EQUAL_FLOOR_LARGE };
	static const enum bench_single distinct[] = {
		SINGLE_KSM_DISTINCT, SINGLE_KSM_DISTINCT_LARGE, SINGLE_KSM_DISTINCT_FLOOR,
		SINGLE_KSM_DISTINCT_FLOOR_LARGE
	};
	static const enum bench_single one[] = { SINGLE_OUT_1_1, SINGLE_OUT_1_1000 };
	static const enum bench_single many[] = { SINGLE_OUT_16_1, SINGLE_OUT_16_1000 };
	static const enum bench_single both[] = { SINGLE_OUT_1_1, SINGLE_OUT_16_1 };

	goal_of_growth(bench, ksm, "all pages equal", equal, 4, 1);
	goal_of_growth(bench, ksm, "all pages distinct", distinct, 4, 1);
	goal_of_growth(bench, machine, "a page of 1 mapping", one, 2, 1);
	goal_of_growth(bench, machine, "a page of 16 mappings", many, 2, 1);
	goal_of_growth(bench, mappings, "no more than linear", both, 2, 16);
}

static void goal_of_single(struct bench *bench, enum bench_single single, const char *what,
			   const char *unit, bool at_most, double wanted)
{
	const struct series *needed[] = { &bench->single[single] };
	struct goal *goal = goal_add(bench, "everything else", what, "");

	goal->reached = series_median(needed[0]);
	goal->wanted = wanted;
	goal->at_most = at_most;
	goal->unit = unit;
	goal_close(goal, needed, 1);
}

void goals_judge(struct bench *bench)
{
	goals_of_kernel(bench);
	goal_of_floor(bench);
	goals_of_growth(bench);
	goals_of_audit(bench);
	goals_of_features(bench);
	goals_of_feature_growth(bench);
	goal_of_single(bench, SINGLE_MEMORY_SMALL, "memory a touched page", " B", true, 48);
	goal_of_single(bench, SINGLE_START, "start of 2^28 frames", " ms", true, 10);
	goal_of_single(bench, SINGLE_PARSE, "parsing a scenario", " MB/s", false, 50);
	goal_of_single(bench, SINGLE_MATRIX, "the shipped matrix", " s", true, 0.2);
	goal_of_single(bench, SINGLE_SELFTEST, "cowlab selftest", " s", true, 2);
}
