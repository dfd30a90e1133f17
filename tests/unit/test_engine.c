/* SPDX-License-Identifier: MIT
 *
 * The engine: from the lines of a scenario to a report.  Outcomes and errnos, exceptions by policy,
 * repeat, what is not modelled, facts and totals, and how a failure is recorded.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cowlab.h>


#include "engine/report.h"

struct ran {
	cow_scenario *scenario;
	cow_policies *policies;
	cow_report *report;
};

static struct ran run_with(const char *policy, const char *text, struct cow_run_options *options)
{
	struct ran ran = { 0 };

	if (cow_scenario_parse("e.cow", text, strlen(text), NULL, &ran.scenario))
		fail_msg("%s", cow_scenario_error(ran.scenario, 0)->sentence);
	assert_int_equal(cow_policies_parse(policy, NULL, NULL, &ran.policies), 0);
	assert_int_equal(cow_run(ran.scenario, cow_policies_at(ran.policies, 0), options, &ran.report),
			 0);
	return ran;
}

static void done(struct ran *ran)
{
	cow_report_free(ran->report);
	cow_policies_free(ran->policies);
	cow_scenario_free(ran->scenario);
}

/* Everything that the scenario asserts holds. */
static void holds(const char *policy, const char *text)
{
	struct cow_run_options options;
	struct ran ran;

	cow_run_options_init(&options);
	options.check_each = true;
	ran = run_with(policy, text, &options);
	if (cow_report_failures(ran.report))
		fail_msg("%s", cow_report_failure(ran.report, 0));
	assert_int_equal(cow_report_status(ran.report), COW_RUN_HELD);
	done(&ran);
}

/* Just one assertion does not: that of the line. */
static void breaks(const char *policy, const char *text, uint32_t line, const char *expected,
		   const char *found)
{
	struct ran ran = run_with(policy, text, NULL);
	const struct report_failure *failure;
	char message[300];

	assert_int_equal(cow_report_status(ran.report), COW_RUN_FAILED);
	assert_int_equal(cow_report_failures(ran.report), 1);
	failure = &ran.report->failures[0];
	assert_int_equal(failure->line, line);
	assert_string_equal(failure->expected, expected);
	assert_string_equal(failure->found, found);
	snprintf(message, sizeof(message), "e.cow:%u: %s: expected %s, found %s", line,
		 failure->text, expected, found);
	assert_string_equal(cow_report_failure(ran.report, 0), message);
	assert_null(cow_report_failure(ran.report, 1));
	assert_int_equal(cow_status_exit_code(cow_report_status(ran.report)), 10);
	done(&ran);
}

#define HEAD "process P\nP: mmap a 4\n"

/* A written outcome must hold for every page; what was not written may be anything. */
static void outcomes_over_pages(void **state)
{
	(void)state;
	holds("all", HEAD "P: write a[0..1] 1 -> alloc\nP: write a 2\nP: write a 3 -> hit\n");
	breaks("exclusive", HEAD "P: write a[0..1] 1\nP: write a 2 -> alloc\n", 4, "alloc",
	       "hit and alloc");
	breaks("exclusive", HEAD "P: read a -> alloc\n", 3, "alloc", "zero");
	/* fork tells early-copy of one page at least. */
	holds("exclusive", HEAD "P: write a 1\nP: pin r a[2] write\nP: fork C -> early-copy\n");
	breaks("exclusive", HEAD "P: write a 1\nP: pin r a[2] write\nP: fork C -> share\n", 5, "share",
	       "share and early-copy");
}

static void values(void **state)
{
	(void)state;
	holds("exclusive", HEAD "P: write a 7\nP: read a == 7 -> hit\nP: get r a\npeek r == 7\n");
	breaks("exclusive", HEAD "P: write a 7\nP: write a[2] 8\nP: read a == 7\n", 5, "0x7",
	       "0x8 in page 2");
	breaks("exclusive", HEAD "P: write a 7\nP: read a[1] == 9\n", 4, "0x9", "0x7");
	breaks("exclusive", HEAD "P: get r a[3]\npeek r == 1\n", 4, "0x1", "0x0");
}

/* An error that is written holds, and one that is not fails the line. */
static void errors(void **state)
{
	(void)state;
	holds("all", HEAD "P: mprotect a ro\nP: write a 1 -> segv\nP: pin r a write -> efault\n"
			  "P: munmap a[1]\nP: madvise a dontneed -> enomem\nP: mremap a b -> efault\n"
			  "P: read a[1] -> segv\n");
	breaks("exclusive", HEAD "P: mprotect a ro\nP: write a 1\n", 4, "no error", "segv");
	breaks("exclusive", HEAD "P: munmap a[1]\nP: madvise a dontneed\n", 4, "no error", "enomem");
	breaks("exclusive", HEAD "P: munmap a[1]\nP: madvise a dontneed -> einval\n", 4, "einval",
	       "enomem");
	breaks("exclusive", HEAD "P: write a 1 -> segv\n", 3, "segv", "alloc");
	/* A reference that could not be taken is no reference. */
	holds("exclusive", HEAD "P: mprotect a ro\nP: get r a write -> efault\npeek r -> ebadf\n"
				"release r -> ebadf\n");
	/* Written through a reference that was taken for reading. */
	holds("exclusive", HEAD "P: get r a\npoke r 1 -> ebadf\n");
}

/* Who cannot have its page is killed; its references live on, and its name is gone. */
static void oom_ends_the_process(void **state)
{
	struct ran ran;

	(void)state;
	holds("exclusive", "frames 3\nprocess P\nP: mmap a 4\nP: write a[0] 1\nP: pin r a[0] write\n"
			   "P: write a[1..3] 2 -> oom\npeek r == 1\nexpect total frames-used 1\n"
			   "verdict killed\n");
	ran = run_with("exclusive", "frames 1\nprocess P\nP: mmap a 2\nP: write a 1 -> oom\n"
				    "expect P a[0] value 1\n", NULL);
	assert_int_equal(cow_report_status(ran.report), COW_RUN_FAILED);
	assert_string_equal(ran.report->failures[0].found, "one that has ended");
	assert_int_equal(cow_report_verdict(ran.report), COW_VERDICT(KILLED));
	done(&ran);
}

#define SHARED HEAD "P: write a 1\nP: fork C\n"

/* An exception takes the place of what the line asserts, for the policies that it names. */
static void exceptions(void **state)
{
	const char *text = SHARED "C: get r a\nC: munmap a\n"
				  "P: write a 2 -> copy [mapcount: reuse]\n"
				  "peek r == 1 [mapcount: 2]\n"
				  "expect total copies 4 [mapcount*: 0; mapcount-force-break: 4]\n"
				  "verdict ok [mapcount: leak]\n";

	(void)state;
	holds("mapcount", text);
	holds("page-count", text);
	holds("exclusive", text);
	breaks("exclusive", SHARED "P: write a 2 -> copy [exclusive: reuse]\n", 5, "reuse", "copy");
	breaks("exclusive-6.2", SHARED "P: write a 2 -> copy [excl*: reuse]\n", 5, "reuse", "copy");
	holds("exclusive-6.2", SHARED "P: write a 2 -> copy [exclusive: reuse]\n");
	/* A composed policy is meant by the name of its base. */
	holds("mapcount,fork=page-count", text);
	breaks("exclusive,write=mapcount", SHARED "P: write a 2 -> reuse [exclusive: hit]\n", 5, "hit",
	       "copy");
	/* A page was shared, and only the count of mappings forgives the reference. */
	holds("exclusive,write=mapcount", SHARED "P: get r a\nC: exit\n"
					  "P: write a 2 -> copy [exclusive: reuse]\n");
}

static void policies_line(void **state)
{
	struct ran ran;

	(void)state;
	ran = run_with("exclusive", "policies mapcount page-*\n" HEAD "verdict leak\n", NULL);
	assert_int_equal(cow_report_status(ran.report), COW_RUN_SKIPPED);
	assert_int_equal(ran.report->events, 0);
	assert_non_null(strstr(ran.report->reason, "exclusive"));
	assert_int_equal(cow_status_exit_code(COW_RUN_SKIPPED), 0);
	done(&ran);
}

static void repeats(void **state)
{
	struct ran ran;

	(void)state;
	ran = run_with("exclusive",
		       HEAD "P: write a 1\nrepeat 3\nP: fork C\nrepeat 2\nP: write a 2\nend\n"
			    "C: exit\nend\nexpect total copies 12\nverdict ok\n", NULL);
	assert_int_equal(cow_report_failures(ran.report), 0);
	/* mmap, write, and three times fork, two writes, exit */
	assert_int_equal(ran.report->events, 2 + 3 * 4);
	assert_int_equal(ran.report->step_count, 2 + 3 * 4);
	assert_int_equal(ran.report->steps[3].line, 7);
	assert_int_equal(ran.report->steps[3].outcome, COW_OUT_COPY);
	assert_int_equal(ran.report->steps[4].outcome, COW_OUT_HIT);
	done(&ran);
}

/* Nothing of a scenario is run that cannot be run to its end. */
static void not_modelled(void **state)
{
	static const struct {
		const char *text, *what;
		unsigned line;
	} cases[] = {
		{ HEAD "P: write a 1\nkernel: swap-out P a\n", "'swap-out'", 4 },
		{ HEAD "P: write a 1\nP: madvise a mergeable\n", "'madvise mergeable'", 4 },
		{ HEAD "P: write a 1\nP: uffd-wp a on\n", "'uffd-wp'", 4 },
		{ "process P\nP: mmap a 512 thp\n", "'mmap thp'", 2 },
		{ "process P\nfile f 1\nP: mmap a 1 file f\n", "'mmap file'", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ran ran = run_with("exclusive", cases[i].text, NULL);
		char place[40];

		assert_int_equal(cow_report_status(ran.report), COW_RUN_NOT_MODELLED);
		snprintf(place, sizeof(place), "e.cow:%u: ", cases[i].line);
		assert_memory_equal(ran.report->reason, place, strlen(place));
		assert_non_null(strstr(ran.report->reason, cases[i].what));
		assert_int_equal(ran.report->events, 0);
		assert_int_equal(cow_status_exit_code(COW_RUN_NOT_MODELLED), 3);
		done(&ran);
	}
}

static void facts_and_totals(void **state)
{
	(void)state;
	holds("exclusive", SHARED "P: munmap a[3]\nC: madvise a[2] dontneed\nP: read a[1]\n"
				  "expect P a[0] refcount 2 mapcount 2 pincount 0 swapcount 0 "
				  "exclusive no writable no dirty yes present value 1\n"
				  "expect P a[3] unmapped\nexpect C a[2] absent\n"
				  "expect same P a[0], C a[0]\nexpect differ P a[2], C a[2]\n"
				  "expect differ P a[0], P a[1]\n"
				  "expect total copies 0\nexpect total fork-pages 4\n");
	holds("exclusive", HEAD "P: read a[0]\nexpect P a[0] zero\n");
	breaks("exclusive", HEAD "P: write a 1\nexpect P a[0] refcount 2\n", 4, "refcount 2",
	       "refcount 1");
	breaks("exclusive", HEAD "P: write a 1\nexpect P a[0] exclusive no\n", 4, "exclusive no",
	       "exclusive yes");
	breaks("exclusive", SHARED "expect differ P a[0], C a[0]\n", 5, "two frames", "one frame");
	breaks("exclusive", HEAD "P: write a 1\nexpect total allocs 3\n", 4, "3", "4");
	breaks("exclusive", HEAD "P: write a 1\nverdict leak stale-pin\n", 4, "leak stale-pin", "ok");
}

/* Later lines run on: all failures of a run are told. */
static void every_failure_is_told(void **state)
{
	struct ran ran = run_with("exclusive", HEAD "P: write a 1 -> hit\nP: read a == 2 -> zero\n"
						    "expect total copies 9\nverdict leak\n", NULL);

	(void)state;
	assert_int_equal(cow_report_failures(ran.report), 5);
	assert_int_equal(ran.report->failures[1].line, 4);
	assert_int_equal(ran.report->failures[2].line, 4);
	assert_true(ran.report->steps[1].failed && ran.report->steps[2].failed);
	assert_false(ran.report->steps[0].failed);
	done(&ran);
}

/* Without the audit no verdict and none of its counters is asserted; `ideal` cannot run. */
static void without_the_audit(void **state)
{
	const char *text = SHARED "C: exit\nP: write a 2\nexpect total needless-copies 99\nverdict leak\n";
	struct cow_run_options options;
	struct ran ran;
	cow_report *report;

	(void)state;
	cow_run_options_init(&options);
	options.no_audit = true;
	ran = run_with("exclusive", text, &options);
	assert_int_equal(cow_report_status(ran.report), COW_RUN_HELD);
	assert_int_equal(cow_run(ran.scenario, cow_policy_find("ideal"), &options, &report), -EINVAL);
	assert_null(report);
	done(&ran);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcomes_over_pages),
		cmocka_unit_test(values),
		cmocka_unit_test(errors),
		cmocka_unit_test(oom_ends_the_process),
		cmocka_unit_test(exceptions),
		cmocka_unit_test(policies_line),
		cmocka_unit_test(repeats),
		cmocka_unit_test(not_modelled),
		cmocka_unit_test(facts_and_totals),
		cmocka_unit_test(every_failure_is_told),
		cmocka_unit_test(without_the_audit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
