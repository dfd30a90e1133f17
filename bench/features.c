/* SPDX-License-Identifier: MIT
 *
 * The rounds of swap, KSM and huge pages, and what of them is about growth.  Owns the order in
 * which they are measured; the guard changes the system for the kernel's side, and no
 * longer than this.
 * Next: swap.c, ksm.c and huge.c, each with its host_ file; then goals.c.
 */
#include <unistd.h>

#include "bench.h"

/* A swap that is more than half full makes the kernel free slots early. */
#define SWAP_FILE(pages) ((pages) * 5 / 2)
#define KSM_SMALL (64 << 10)
#define KSM_LARGE (256 << 10)
#define MAPPINGS 16
#define OTHERS 1000
#define SCALE_REPEAT 5     /* of what takes but milliseconds */

const char *const feature_key[FEATURE_COUNT] = {
#define X(id, part, key, what, call, floor) [FEATURE_##id] = key,
	BENCH_FEATURES(X)
#undef X
};

const char *const feature_what[FEATURE_COUNT] = {
#define X(id, part, key, what, call, floor) [FEATURE_##id] = what,
	BENCH_FEATURES(X)
#undef X
};

const enum bench_part feature_part[FEATURE_COUNT] = {
#define X(id, part, key, what, call, floor) [FEATURE_##id] = PART_##part,
	BENCH_FEATURES(X)
#undef X
};

static const bool feature_is_call[FEATURE_COUNT] = {
#define X(id, part, key, what, call, floor) [FEATURE_##id] = call,
	BENCH_FEATURES(X)
#undef X
};

static const bool feature_has_floor[FEATURE_COUNT] = {
#define X(id, part, key, what, call, floor) [FEATURE_##id] = floor,
	BENCH_FEATURES(X)
#undef X
};

const char *const part_unit[PART_COUNT] = {
#define X(id, unit) [PART_##id] = unit,
	BENCH_PARTS(X)
#undef X
};

bool feature_on_side(enum bench_feature feature, enum bench_side side)
{
	if (side == SIDE_CALL)
		return feature_is_call[feature];
	if (side == SIDE_FLOOR)
		return feature_has_floor[feature];
	return side == SIDE_RANGE || side == SIDE_AUDIT_RANGE || side == SIDE_KERNEL;
}

void features_skip(struct feature_pass *pass, enum bench_part part, const char *reason)
{
	char copy[BENCH_REASON]; /* the reason may be one of the samples' */

	snprintf(copy, sizeof(copy), "%s", reason);
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (feature_part[i] == part)
			sample_skip(&pass->feature[i], "%s", copy);
}

/* Frames that the simulator needs memory for. */
static uint64_t pages_of(const struct bench *bench, enum bench_part part)
{
	uint64_t pages = bench->units[part];

	return part == PART_HUGE ? pages << cow_geometry_find("x86-64")->bits[0] : pages;
}

static void simulator_part(const struct bench *bench, enum bench_part part, enum bench_side side,
			   struct feature_pass *out)
{
	bool audit = side == SIDE_AUDIT_RANGE, call = side == SIDE_CALL;
	uint64_t units = bench->units[part];

	switch (part) {
	case PART_SWAP:
		simulator_swap(bench->policy, units, audit, call, out);
		break;
	case PART_KSM:
		if (call)
			break;
		simulator_ksm(bench->policy, units, false, audit, &out->feature[FEATURE_KSM_EQUAL]);
		simulator_ksm(bench->policy, units, true, audit,
			      &out->feature[FEATURE_KSM_DISTINCT]);
		break;
	case PART_HUGE:
		simulator_huge(bench->policy, units, audit, call, out);
		break;
	case PART_BASE:
	case PART_COUNT:
		break;
	}
}

static void part_add(struct bench *bench, enum bench_part part, enum bench_side side,
		     const struct feature_pass *pass)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (feature_part[i] == part && feature_on_side(i, side))
			series_add(&bench->feature[side][i], &pass->feature[i]);
}

static void floor_part(const struct bench *bench, enum bench_part part, struct feature_pass *out)
{
	uint64_t units = bench->units[part];

	if (part == PART_KSM) {
		floor_ksm(units, false, &out->feature[FEATURE_KSM_EQUAL]);
		floor_ksm(units, true, &out->feature[FEATURE_KSM_DISTINCT]);
	} else if (part == PART_HUGE) {
		floor_split(units, &out->feature[FEATURE_PMD_SPLIT]);
	}
}

static void side_part(const struct bench *bench, enum bench_part part, enum bench_side side,
		      struct host_kernel *host, struct feature_pass *out)
{
	if (side == SIDE_KERNEL) {
		host_kernel_features(host, part, bench->units[part], out);
		return;
	}
	memory_prepare(pages_of(bench, part));
	if (side == SIDE_FLOOR)
		floor_part(bench, part, out);
	else
		simulator_part(bench, part, side, out);
}

/* As for the base pages: the least disturbed of a few attempts counts. */
static void quiet_part(struct bench *bench, enum bench_part part, enum bench_side side,
		       struct host_kernel *host)
{
	struct feature_pass kept = { 0 };
	double disturbance, best = 0;
	unsigned attempt = 0;

	do {
		struct feature_pass pass = { 0 };
		struct watch watch;

		watch_start(bench, &watch);
		side_part(bench, part, side, host, &pass);
		disturbance = watch_stop(bench, &watch, pass.switches);
		if (!attempt || disturbance < best)
			kept = pass;
	} while (watch_again(bench, attempt++, disturbance, &best));
	part_add(bench, part, side, &kept);
}

static void part_round(struct bench *bench, enum bench_part part, struct host_kernel *host,
		       const char *refused)
{
	static const enum bench_side sides[] = { SIDE_RANGE, SIDE_CALL, SIDE_AUDIT_RANGE };
	struct feature_pass pass = { 0 };

	for (unsigned i = 0; i < sizeof(sides) / sizeof(*sides); i++)
		quiet_part(bench, part, sides[i], host);
	if (*refused) {
		features_skip(&pass, part, refused);
		part_add(bench, part, SIDE_KERNEL, &pass);
	} else {
		quiet_part(bench, part, SIDE_KERNEL, host);
	}
	quiet_part(bench, part, SIDE_FLOOR, host);
}

static void ksm_growth(struct bench *bench)
{
	static const struct {
		enum bench_single single;
		uint64_t pages;
		bool distinct, floor;
	} row[] = {
		{ SINGLE_KSM_EQUAL, KSM_SMALL, false, false },
		{ SINGLE_KSM_EQUAL_LARGE, KSM_LARGE, false, false },
		{ SINGLE_KSM_EQUAL_FLOOR, KSM_SMALL, false, true },
		{ SINGLE_KSM_EQUAL_FLOOR_LARGE, KSM_LARGE, false, true },
		{ SINGLE_KSM_DISTINCT, KSM_SMALL, true, false },
		{ SINGLE_KSM_DISTINCT_LARGE, KSM_LARGE, true, false },
		{ SINGLE_KSM_DISTINCT_FLOOR, KSM_SMALL, true, true },
		{ SINGLE_KSM_DISTINCT_FLOOR_LARGE, KSM_LARGE, true, true },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct sample sample = { 0 };

		memory_prepare(row[i].pages);
		if (row[i].floor)
			floor_ksm(row[i].pages, row[i].distinct, &sample);
		else
			simulator_ksm(bench->policy, row[i].pages, row[i].distinct, false, &sample);
		series_add(&bench->single[row[i].single], &sample);
	}
}

static void swap_growth(struct bench *bench)
{
	static const struct {
		enum bench_single single;
		unsigned mappings, others;
	} row[] = {
		{ SINGLE_OUT_1_1, 1, 1 },
		{ SINGLE_OUT_1_1000, 1, OTHERS },
		{ SINGLE_OUT_16_1, MAPPINGS, 1 },
		{ SINGLE_OUT_16_1000, MAPPINGS, OTHERS },
	};

	for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct sample sample = { 0 };

		simulator_swap_scale(bench->policy, row[i].mappings, row[i].others, &sample);
		series_add(&bench->single[row[i].single], &sample);
	}
}

void features_measure(struct bench *bench, struct host_kernel *host, struct host_guard *guard)
{
	/* A round of the kernel's takes seconds: half as many do. */
	unsigned rounds = (bench->rounds + 1) / 2;
	char refused[PART_COUNT][BENCH_REASON] = { "" };

	(void)host_guard_swap(guard, bench->swap_dir,
			      SWAP_FILE(bench->units[PART_SWAP]) * (uint64_t)sysconf(_SC_PAGESIZE),
			      refused[PART_SWAP]);
	(void)host_guard_ksm(guard, refused[PART_KSM]);
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned part = PART_SWAP; part <= PART_HUGE; part++)
			part_round(bench, part, host, refused[part]);
		ksm_growth(bench);
		for (unsigned i = 0; i < SCALE_REPEAT; i++)
			swap_growth(bench);
	}
	host_guard_undo(guard);
}
