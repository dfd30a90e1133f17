/* SPDX-License-Identifier: MIT
 *
 * Policies with a planted defect.  Beside `exclusive`, which here is the kernel that they should
 * imitate, random scenarios find each, and shrinking leaves at most eight events.  Beside themselves,
 * what cow_compare_simulated says of policies that break a promise, or are no pure functions.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <cowlab.h>

#include "engine/report.h"

enum { MOST_SCENARIOS = 4000, MOST_EVENTS = 8, MOST_SECONDS = 30 };

/* ------------------------------------------------------------------ seven defects */

static const struct cow_rule reuse = { COW_ACT_REUSE, 0, "defect", "planted" };
static const struct cow_rule share = { COW_ACT_SHARE, 0, "defect", "planted" };
static const struct cow_rule take = { COW_ACT_TAKE, 0, "defect", "planted" };
static const struct cow_rule readonly = { COW_ACT_READONLY, 0, "defect", "planted" };
static const struct cow_rule writable = { COW_ACT_WRITABLE, 0, "writable", "planted" };
static const struct cow_rule allow = { COW_ACT_ALLOW, 0, "defect", "planted" };

static const struct cow_rule *ask(enum cow_decision_id id, struct cow_view view)
{
	return cow_policy_find("exclusive")->decide[id](view);
}

/* Who else has a reference is not looked at: CVE-2020-29374. */
static const struct cow_rule *write_by_mapcount(struct cow_view view)
{
	return view.anon && !view.ksm && !view.order && view.mapcount == 1 && !view.swapcount ?
		&reuse : ask(COW_DECIDE_WRITE, view);
}

/* Fork shares pages that may be pinned. */
static const struct cow_rule *fork_shares_pinned(struct cow_view view)
{
	(void)view;
	return &share;
}

/* A pin takes what is mapped, and unshares nothing. */
static const struct cow_rule *gup_takes(struct cow_view view)
{
	(void)view;
	return &take;
}

/* mprotect never upgrades a PTE, as until v5.19. */
static const struct cow_rule *protect_leaves(struct cow_view view)
{
	(void)view;
	return &readonly;
}

/* MADV_PAGEOUT takes pages that other processes map, too. */
static const struct cow_rule *pageout_takes(struct cow_view view)
{
	return view.maybe_pinned ? ask(COW_DECIDE_PAGEOUT, view) : &allow;
}

/* Who resolves a protection of userfaultfd gets a writable PTE, whoever else has the page. */
static const struct cow_rule *uffd_opens(struct cow_view view)
{
	(void)view;
	return &writable;
}

/* A page that comes back from swap is never its own: every write copies it. */
static const struct cow_rule *swap_in_shares(struct cow_view view)
{
	(void)view;
	return &readonly;
}

static const struct {
	const char *name;
	enum cow_decision_id id;
	cow_decide_fn *decide;
} defects[] = {
	{ "write-by-mapcount", COW_DECIDE_WRITE, write_by_mapcount },
	{ "fork-shares-pinned", COW_DECIDE_FORK, fork_shares_pinned },
	{ "gup-takes", COW_DECIDE_GUP, gup_takes },
	{ "protect-leaves", COW_DECIDE_PROTECT, protect_leaves },
	{ "pageout-takes", COW_DECIDE_PAGEOUT, pageout_takes },
	{ "uffd-opens", COW_DECIDE_UFFD, uffd_opens },
	{ "swap-in-shares", COW_DECIDE_SWAP_IN, swap_in_shares },
};

static struct cow_policy policy_of(const char *base, const char *name, enum cow_decision_id id,
				   cow_decide_fn *decide)
{
	struct cow_policy policy;

	cow_policy_init(&policy, cow_policy_find(base));
	policy.name = name;
	policy.decide[id] = decide;
	return policy;
}

static const char *word_of(const struct report_step *step)
{
	const char *word = step->outcome == COW_OUT_ERRNO ? cow_errno_name(step->error)
							  : cow_outcome_name(step->outcome);

	return word ? word : "nothing";
}

/* Differs where the policy comes to another outcome, or value, than `exclusive` does. */
static int beside_exclusive(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	cow_report *kernel = NULL, *own = NULL;
	int error = cow_run(scenario, NULL, NULL, &kernel);

	if (!error)
		error = cow_run(scenario, ctx, NULL, &own);
	for (uint32_t i = 0; !error && i < kernel->step_count && i < own->step_count; i++) {
		const struct report_step *a = &kernel->steps[i], *b = &own->steps[i];

		if (a->outcome == b->outcome && a->error == b->error &&
		    a->has_value == b->has_value && a->value == b->value)
			continue;
		out->agreement = COW_DIFFERS;
		out->line = a->line;
		snprintf(out->kind, sizeof(out->kind), "%s, not %s", word_of(b), word_of(a));
		break;
	}
	cow_report_free(kernel);
	cow_report_free(own);
	return error;
}

static int count_lines(void *ctx, const void *bytes, size_t size)
{
	size_t *lines = ctx;

	for (size_t i = 0; i < size; i++)
		*lines += ((const char *)bytes)[i] == '\n';
	return 0;
}

static void each_defect_is_found_and_shrunk(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(defects) / sizeof(*defects); i++) {
		struct cow_policy policy = policy_of("exclusive", defects[i].name, defects[i].id,
						     defects[i].decide);
		struct cow_difference again = { 0 };
		cow_scenario *small = NULL;
		clock_t start = clock();
		size_t lines = 0;

		for (uint64_t n = 0; n < MOST_SCENARIOS && !small; n++) {
			enum cow_profile profile = (enum cow_profile)(n % COW_PROFILE_COUNT);
			cow_scenario *scenario;
			int error;

			assert_int_equal(cow_generate(profile, n, COW_GENERATE_REAL, NULL,
						      &scenario), 0);
			error = cow_shrink(scenario, beside_exclusive, &policy, 0, NULL, &small);
			assert_true(!error || error == -ENOENT);
			cow_scenario_free(scenario);
		}
		if (!small)
			fail_msg("%s: not found", defects[i].name);
		assert_in_range(cow_scenario_events(small), 2, MOST_EVENTS);
		assert_int_equal(cow_scenario_print(small, count_lines, &lines), 0);
		assert_in_range(lines, cow_scenario_events(small) + 1, MOST_EVENTS + 12);
		/* what is left still shows it, and a sound policy does not */
		assert_int_equal(beside_exclusive(&policy, small, &again), 0);
		assert_int_equal(again.agreement, COW_DIFFERS);
		again = (struct cow_difference){ 0 };
		assert_int_equal(beside_exclusive((void *)(uintptr_t)cow_policy_find("exclusive"),
						  small, &again), 0);
		assert_int_equal(again.agreement, COW_AGREES);
		if (!getenv("COWLAB_QUICK")) /* Valgrind is slower */
			assert_in_range((clock() - start) / CLOCKS_PER_SEC, 0, MOST_SECONDS);
		cow_scenario_free(small);
	}
}

/* ------------------------------------------------------------------ beside itself */

static cow_scenario *parse(const char *text)
{
	cow_scenario *scenario;

	assert_int_equal(cow_scenario_parse("t", text, strlen(text), NULL, &scenario), 0);
	assert_int_equal(cow_scenario_errors(scenario), 0);
	return scenario;
}

static struct cow_difference compare(const struct cow_policy *policy, const char *text)
{
	struct cow_difference difference;
	cow_scenario *scenario = parse(text);

	assert_int_equal(cow_compare_simulated((void *)(uintptr_t)policy, scenario, &difference), 0);
	cow_scenario_free(scenario);
	return difference;
}

/* What decides as `exclusive` does is held to its promise, and without a marker breaks it. */
static void a_broken_promise_is_a_difference(void **state)
{
	struct cow_policy policy;
	struct cow_difference difference;

	(void)state;
	cow_policy_init(&policy, cow_policy_find("exclusive"));
	policy.marker = COW_MARKER_NONE;
	difference = compare(&policy, "process P\nP: mmap a 1\nP: pin r a write\nP: fork C1\n"
				      "poke r 1\nC1: read a\n");
	assert_int_equal(difference.agreement, COW_DIFFERS);
	assert_string_equal(difference.kind, "verdict leak");
	assert_int_equal(difference.line, 6);
	assert_non_null(strstr(difference.sentence, "C1: read a: "));
	/* with hugetlb pages nothing is promised */
	difference = compare(&policy, "hugetlb 2\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1\n"
				      "P: fork C\nC: get r a[0]\nC: munmap a\nP: write a[0] 2\n"
				      "peek r\n");
	assert_int_equal(difference.agreement, COW_AGREES);
}

/* A policy that lets two processes write one page: the machine check stops it. */
static const struct cow_rule *write_always(struct cow_view view)
{
	(void)view;
	return &reuse;
}

static void a_machine_that_is_wrong_is_a_difference(void **state)
{
	struct cow_policy policy = policy_of("exclusive", "write-always", COW_DECIDE_WRITE,
					     write_always);
	struct cow_difference difference = compare(&policy, "process P\nP: mmap a 1\nP: write a 1\n"
							    "P: fork C\nC: write a 2\n");

	(void)state;
	assert_int_equal(difference.agreement, COW_DIFFERS);
	assert_memory_equal(difference.kind, "machine check: ", 15);
	assert_int_equal(difference.line, 5);
	/* two of a kind differ in numbers only */
	assert_null(strpbrk(difference.kind, "0123456789"));
}

/* No pure functions: they answer otherwise from the `turns_at`th question on. */
static unsigned asked, turns_at;

static const struct cow_rule *write_turns(struct cow_view view)
{
	static const struct cow_rule copy = { COW_ACT_COPY, 0, "copy", "planted" };

	(void)view;
	return asked++ < turns_at ? &reuse : &copy;
}

static const struct cow_rule *protect_turns(struct cow_view view)
{
	(void)view;
	return asked++ < turns_at ? &writable : &readonly;
}

static struct cow_difference turning(struct cow_policy policy, unsigned at, const char *text)
{
	asked = 0;
	turns_at = at;
	return compare(&policy, text);
}

/* In the order in which the runs are made: checked, the other homes, printed with no audit. */
static void a_second_run_that_differs_is_a_difference(void **state)
{
	static const char again[] = "process P\nP: mmap a 1\nP: write a 1\nP: fork C\nC: exit\n"
				    "P: write a 2\n";
	static const char upgraded[] = "process P\nP: mmap a 1\nP: write a 1\nP: mprotect a ro\n"
				       "P: mprotect a rw\n";
	struct cow_policy marked = policy_of("exclusive", "write-turns", COW_DECIDE_WRITE,
					     write_turns);
	struct cow_policy bare = policy_of("page-count", "write-turns", COW_DECIDE_WRITE,
					   write_turns);
	struct cow_policy counted = policy_of("page-count", "protect-turns", COW_DECIDE_PROTECT,
					      protect_turns);
	struct cow_difference difference = turning(marked, 1, again);

	(void)state;
	assert_int_equal(difference.agreement, COW_DIFFERS);
	assert_string_equal(difference.kind, "marker=pte: reuse copy");
	assert_int_equal(difference.line, 6);
	assert_non_null(strstr(difference.sentence, "P: write a 2: reuse, and marker=pte: copy"));
	assert_string_equal(turning(marked, 2, again).kind, "marker=adjacent: reuse copy");
	assert_string_equal(turning(marked, 3, again).kind, "marker=extra: reuse copy");
	assert_string_equal(turning(marked, 4, again).kind, "printed, no audit: reuse copy");
	assert_int_equal(turning(marked, 5, again).agreement, COW_AGREES);
	assert_string_equal(turning(bare, 1, again).kind, "printed, no audit: reuse copy");
	/* no outcome tells it, but a counter does */
	difference = turning(counted, 1, upgraded);
	assert_string_equal(difference.kind, "printed, no audit: counter upgrades");
	assert_int_equal(difference.line, 0);
}

/* Fork is asked in advance, and again. */
static const struct cow_rule *fork_turns(struct cow_view view)
{
	static const struct cow_rule early = { COW_ACT_EARLY_COPY, 0, "early", "planted" };

	(void)view;
	return asked++ < turns_at ? &early : &share;
}

static void outcomes_of_fork_are_compared_too(void **state)
{
	static const char text[] = "process P\nP: mmap a 1\nP: write a 1\nP: fork C\n";
	struct cow_policy policy = policy_of("page-count", "fork-turns", COW_DECIDE_FORK,
					     fork_turns);
	struct cow_difference difference = turning(policy, 1, text);

	(void)state;
	for (unsigned at = 2; at < 5 && difference.agreement == COW_AGREES; at++)
		difference = turning(policy, at, text);
	assert_string_equal(difference.kind, "printed, no audit: early-copy share");
	assert_int_equal(difference.line, 4);
}

static void what_cannot_be_compared_is_not(void **state)
{
	const struct cow_policy *exclusive = cow_policy_find("exclusive");
	struct cow_difference difference;
	cow_scenario *scenario = parse("process P\nP: mmap a 1\n");

	(void)state;
	assert_int_equal(cow_compare_simulated(NULL, scenario, &difference), -EINVAL);
	assert_int_equal(cow_compare_simulated((void *)(uintptr_t)exclusive, NULL, &difference),
			 -EINVAL);
	cow_scenario_free(scenario);
	difference = compare(exclusive, "policies mapcount\nprocess P\nP: mmap a 1\n");
	assert_int_equal(difference.agreement, COW_NOT_COMPARED);
	assert_non_null(strstr(difference.sentence, "does not speak of policy exclusive"));
	difference = compare(exclusive, "process P\nP: mmap a 512 thp shared\n");
	assert_int_equal(difference.agreement, COW_NOT_COMPARED);
	assert_non_null(strstr(difference.sentence, "t:2: 'mmap thp shared' is not modelled"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_defect_is_found_and_shrunk),
		cmocka_unit_test(a_broken_promise_is_a_difference),
		cmocka_unit_test(a_machine_that_is_wrong_is_a_difference),
		cmocka_unit_test(a_second_run_that_differs_is_a_difference),
		cmocka_unit_test(outcomes_of_fork_are_compared_too),
		cmocka_unit_test(what_cannot_be_compared_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
