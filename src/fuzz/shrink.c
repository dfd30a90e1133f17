/* SPDX-License-Identifier: MIT
 *
 * Shrinking: a scenario that differs, down to one where nothing can be left out.  Delta debugging
 * over the events, then one simplification after the other, until neither finds anything.
 * Whoever compares decides what a difference is; what is kept is its kind.
 */
#include "fuzz/draft.h"

enum { SHRINK_TESTS = 20000, SHRINK_PAIRS = 14 };

struct shrinker {
	const struct cow_allocator *allocator;
	cow_compare_fn *compare;
	void *ctx;
	uint64_t tests;               /* that are left */
	char kind[sizeof(((struct cow_difference *)0)->kind)];
	cow_scenario *best;
};

/* Takes the draft if it differs as the first did.  1: taken, 0: not; or a negative errno. */
static int try_draft(struct shrinker *shrinker, const struct draft *draft)
{
	struct cow_difference difference = { 0 };
	cow_scenario *scenario;
	int error;

	if (!draft->scenario.statement_count)
		return 0;
	if (!shrinker->tests)
		return -ECANCELED;
	error = scenario_again(&draft->scenario, shrinker->allocator, &scenario);
	if (error)
		return error == -ENOMEM ? error : 0;
	shrinker->tests--;
	error = shrinker->compare(shrinker->ctx, scenario, &difference);
	if (error || difference.agreement != COW_DIFFERS ||
	    strcmp(difference.kind, shrinker->kind) != 0) {
		cow_scenario_free(scenario);
		return error;
	}
	cow_scenario_free(shrinker->best);
	shrinker->best = scenario;
	return 1;
}

static uint32_t length(const struct shrinker *shrinker)
{
	return cow_scenario_events(shrinker->best) ? shrinker->best->statement_count : 0;
}

/* Leaves out `count` statements from `first`, and `second` too if it is not COW_NONE. */
static int try_without(struct shrinker *shrinker, uint32_t first, uint32_t count, uint32_t second)
{
	struct draft draft;
	int result = draft_open(&draft, shrinker->best, shrinker->allocator);

	if (result)
		return result;
	if (first + count > draft.scenario.statement_count)
		count = draft.scenario.statement_count - first;
	if (second != COW_NONE && second < draft.scenario.statement_count)
		draft_drop(&draft, second, 1);
	if (first + count <= draft.scenario.statement_count)
		draft_drop(&draft, first, count);
	result = try_draft(shrinker, &draft);
	draft_close(&draft);
	return result;
}

/* From the end, where what comes after the difference is. */
static int drop_runs(struct shrinker *shrinker, bool *any)
{
	for (uint32_t size = (length(shrinker) + 1) / 2; size; size /= 2) {
		for (uint32_t end = length(shrinker); end;) {
			uint32_t first = end > size ? end - size : 0;
			int result = try_without(shrinker, first, end - first, COW_NONE);

			if (result < 0)
				return result;
			*any |= result > 0;
			end = first < length(shrinker) ? first : length(shrinker);
		}
	}
	return 0;
}

/* Two that need each other: on and off, out and in. */
static int drop_pairs(struct shrinker *shrinker, bool *any)
{
	if (length(shrinker) > SHRINK_PAIRS)
		return 0;
	for (uint32_t second = length(shrinker); second-- > 1;) {
		for (uint32_t first = second; first--;) {
			int result;

			if (second >= length(shrinker))
				break;
			result = try_without(shrinker, first, 1, second);
			if (result < 0)
				return result;
			*any |= result > 0;
		}
	}
	return 0;
}

static int simplify(struct shrinker *shrinker, bool *any)
{
	for (uint32_t step = 0;;) {
		struct draft draft;
		int way, result = draft_open(&draft, shrinker->best, shrinker->allocator);

		if (result)
			return result;
		way = draft_simplify(&draft, step);
		if (!way) {
			draft_sweep(&draft);
			result = try_draft(shrinker, &draft);
		}
		draft_close(&draft);
		if (way < 0 || result < 0)
			return result;
		*any |= result > 0;
		step += !result; /* once more from here, where it helped */
	}
}

static int shrink(struct shrinker *shrinker)
{
	bool any;
	int error;

	do {
		any = false;
		error = drop_runs(shrinker, &any);
		if (!error)
			error = simplify(shrinker, &any);
		if (!error && !any)
			error = drop_pairs(shrinker, &any);
	} while (!error && any);
	return error == -ECANCELED ? 0 : error;
}

int cow_shrink(const cow_scenario *scenario, cow_compare_fn *compare, void *ctx, uint64_t tests,
	       const struct cow_allocator *allocator, cow_scenario **out)
{
	struct shrinker shrinker = { .allocator = allocator, .compare = compare, .ctx = ctx,
				     .tests = tests ? tests : SHRINK_TESTS };
	struct cow_difference difference = { 0 };
	struct draft draft;
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!scenario || cow_scenario_errors(scenario) || !compare)
		return -EINVAL;
	error = compare(ctx, scenario, &difference);
	if (error)
		return error;
	if (difference.agreement != COW_DIFFERS)
		return -ENOENT;
	memcpy(shrinker.kind, difference.kind, sizeof(shrinker.kind));
	error = draft_open(&draft, scenario, allocator);
	if (error)
		return error;
	error = scenario_again(&draft.scenario, allocator, &shrinker.best);
	draft_close(&draft);
	if (!error)
		error = shrink(&shrinker);
	if (error) {
		cow_scenario_free(shrinker.best);
		return error;
	}
	*out = shrinker.best;
	return 0;
}
