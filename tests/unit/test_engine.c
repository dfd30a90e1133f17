/* SPDX-License-Identifier: MIT
 *
 * The engine: from the lines of a scenario to a report.  Outcomes and errnos, exceptions by policy,
 * repeat, what is not modelled, each kind of event down to the model, facts and totals, and how
 * a failure is recorded.
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
	static const struct cow_geometry flat = { 12, 1, { 10 } }, wide = { 12, 2, { 16, 4 } };
	const struct cow_geometry *tiny = cow_geometry_find("tiny");
	const struct {
		const char *text, *what;
		unsigned line;
		const struct cow_geometry *geometry;
	} cases[] = {
		{ HEAD "P: write a 1\nP: mmap b 512 thp shared\n", "'mmap thp shared' is", 4, NULL },
		{ "file f 1\nprocess P\nP: mmap a 1 thp file f\n", "'mmap thp file' is", 3, NULL },
		{ HEAD "P: mmap b 512 hugetlb thp\n", "'mmap thp hugetlb' is", 3, NULL },
		{ HEAD "P: mmap b 8 thp order 4\n", "'mmap thp order' is", 3, tiny },
		{ HEAD "P: mmap b 8 thp\n", "'mmap thp' is", 3, &flat },
		{ HEAD "P: mmap b 8 thp order 2\n", "'mmap thp order' is", 3, &flat },
		{ HEAD "P: mmap b 8 hugetlb\n", "'mmap hugetlb' is", 3, &flat },
		{ HEAD "P: madvise a hugepage\n", "'madvise hugepage' is", 3, &flat },
		{ HEAD "P: madvise a collapse\n", "'madvise collapse' is", 3, &wide },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cow_run_options options;
		struct ran ran;
		char place[40];

		cow_run_options_init(&options);
		if (cases[i].geometry)
			options.geometry = *cases[i].geometry;
		ran = run_with("exclusive", cases[i].text, &options);
		assert_int_equal(cow_report_status(ran.report), COW_RUN_NOT_MODELLED);
		snprintf(place, sizeof(place), "e.cow:%u: ", cases[i].line);
		assert_memory_equal(ran.report->reason, place, strlen(place));
		assert_non_null(strstr(ran.report->reason, cases[i].what));
		assert_int_equal(strstr(ran.report->reason, " in this geometry") != NULL,
				 cases[i].geometry != NULL);
		assert_int_equal(ran.report->events, 0);
		assert_int_equal(cow_status_exit_code(COW_RUN_NOT_MODELLED), 3);
		done(&ran);
	}
}

/*
 *	F  |7 |7 |	P: a, shared	Q: b, private
 *
 * A private page follows the file until it is written.  Who touches what was cut off lives on.
 */
static void files(void **state)
{
	(void)state;
	holds("all", "file F 2 7\nprocess P Q\nP: mmap a 2 shared file F\nQ: mmap b 1 file F+1\n"
		     "P: write a[0] 9\nP: read a[1] == 7\nQ: read b == 7 -> alloc\n"
		     "P: file-write F 1 8\nQ: read b == 8 -> hit\nP: read a[1] == 8\n"
		     "Q: write b 3 -> copy\nP: read a[1] == 8\nP: file-write F 1 5\n"
		     "Q: read b == 3\nP: truncate F 1\nP: read a[1] -> sigbus\n"
		     "Q: read b -> sigbus\nP: get r a[1] -> sigbus\npeek r -> ebadf\n"
		     "P: read a[0] == 9\n");
	breaks("exclusive", "file F 2\nprocess P\nP: mmap a 2 file F\nP: truncate F 1\n"
			    "P: read a[1]\n", 5, "no error", "sigbus");
}

/* A file that the machine cannot have is a failure of its line, and nothing is run. */
static void files_that_cannot_be(void **state)
{
	static const struct {
		const char *text, *line, *found;
		unsigned number;
	} cases[] = {
		{ "frames 8\nfile G 4\nfile F 5 1\nprocess P\nP: exit\n", "file F 5", "enomem", 3 },
		{ "hugetlb 1\nfile F 5\nprocess P\nP: mmap a 512 hugetlb file F\n", "file F 5",
		  "einval", 2 },
		{ "file F 512\nprocess P\nP: mmap a 512 hugetlb file F\n", "file F 512", "enomem", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ran ran = run_with("exclusive", cases[i].text, NULL);

		assert_int_equal(cow_report_status(ran.report), COW_RUN_FAILED);
		assert_int_equal(cow_report_failures(ran.report), 1);
		assert_int_equal(ran.report->failures[0].line, cases[i].number);
		assert_string_equal(ran.report->failures[0].text, cases[i].line);
		assert_string_equal(ran.report->failures[0].expected, "no error");
		assert_string_equal(ran.report->failures[0].found, cases[i].found);
		assert_int_equal(ran.report->events, 0);
		done(&ran);
	}
}

/* A place as a whole: one page that was left alone makes it refused, which is no error. */
static void moved_or_refused(void **state)
{
	const char *pinned = HEAD "P: write a 1\nP: pin r a[2]\n";
	char text[300];

	(void)state;
	snprintf(text, sizeof(text), "%skernel: migrate P a -> refused\nkernel: migrate P a\n"
		 "kernel: migrate P a[0..1] -> moved\n", pinned);
	holds("exclusive", text);
	snprintf(text, sizeof(text), "%skernel: migrate P a[2] -> moved\n", pinned);
	breaks("exclusive", text, 5, "moved", "refused");
	holds("exclusive", "swap 0\n" HEAD "P: write a 1\nkernel: swap-out P a -> refused\n"
			   "expect P a[0] present value 1\n");
}

static void swapping(void **state)
{
	(void)state;
	holds("exclusive", HEAD "P: write a 1\nP: fork C\nkernel: swap-out P a -> moved\n"
			   "expect P a[0] swapped swapcount 2\nkernel: drop P a -> moved\n"
			   "kernel: swap-in P a[0]\nP: read a == 1 -> swap-in\n"
			   "expect C a[0] swapped swapcount 1\nkernel: swapoff\n"
			   "expect C a[0] present value 1\nexpect same P a[0], C a[0]\nverdict ok\n");
	holds("exclusive", HEAD "P: write a 1\nkernel: swap-out-begin P a -> moved\n"
			   "expect P a[3] swapped\nkernel: drop P a -> refused\n"
			   "kernel: writeback-done\nkernel: drop P a -> moved\nP: read a == 1\n");
	breaks("exclusive", HEAD "P: write a 1\nkernel: swap-out P a\nexpect P a[0] absent\n", 5,
	       "absent", "not absent");
}

static void ksm(void **state)
{
	(void)state;
	holds("exclusive", HEAD "P: write a 1\nP: madvise a mergeable\nkernel: ksm -> merged\n"
			   "expect same P a[0], P a[3]\nexpect P a[0] ksm value 1\nkernel: ksm\n"
			   "P: write a[0] 2 -> copy\nP: read a[1] == 1\n");
	holds("exclusive", "option ksm-zero-pages\n" HEAD "P: write a 0\nP: madvise a mergeable\n"
			   "kernel: ksm -> merged\nexpect P a[0] zero ksm\n");
	breaks("exclusive", HEAD "P: write a 1\nexpect P a[0] ksm\n", 4, "ksm", "not ksm");
}

/* Who waits for a page to be resolved has not got it: no success, and no end of the process. */
static void userfaultfd(void **state)
{
	(void)state;
	holds("all", HEAD "P: write a 1\nP: uffd-wp a[0] on\nexpect P a[0] uffd-wp yes\n"
		     "expect P a[1] uffd-wp no\nP: write a[0] 2 -> blocked\nP: read a == 1\n"
		     "P: pin r a[0] write -> blocked\nrelease r -> ebadf\nP: uffd-wp a[0] off\n"
		     "P: write a 2\nP: read a == 2\n");
	breaks("exclusive", HEAD "P: write a 1\nP: uffd-wp a on\nP: write a[0] 2\n", 5, "no error",
	       "blocked");
	holds("exclusive", HEAD "P: write a 1\nP: uffd-move a[1..2] b -> moved\nP: read b == 1 -> hit\n"
			   "expect P a[1] absent\nexpect P a[0] present\n");
	/* Where nothing was moved, there is no region. */
	holds("exclusive", HEAD "P: write a 1\nP: fork C\nP: uffd-move a b -> refused\n"
			   "expect P b[0] unmapped\nP: uffd-move a c\nP: read a == 1\n");
	holds("exclusive", HEAD "P: uffd-move a b -> enoent\nexpect P b[0] unmapped\n");
}

/*
 *	a: |  512  |  512  |  512  |	moved from page 300 on: b[212] begins a huge page as a[512] did
 */
static void huge_pages(void **state)
{
	struct cow_run_options options;
	struct ran ran;

	(void)state;
	holds("exclusive", "process P\nP: mmap z 3\nP: mmap a 1536 thp\nP: write a 1\n"
			   "expect P a[0] huge\nexpect P a[1535] huge\nP: mremap a[300..1300] b\n"
			   "expect P b[212] huge\nexpect P b[723] huge\nkernel: split P b -> moved\n"
			   "P: read b == 1\n");
	breaks("exclusive", "process P\nP: mmap a 512 thp order 4\nP: write a 1\nexpect P a[0] huge\n",
	       4, "huge", "not huge");
	holds("exclusive", "hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1 \n"
			   "expect P a[0] huge\nP: mmap b 4 hugetlb -> enomem\n");
	/* The owner has the last page; the child gets SIGBUS when it asks for one. */
	holds("exclusive", "hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1\nP: fork C\n"
			   "P: write a 2\nC: read a -> sigbus\nverdict killed\n");
	/* In tiny a huge page has 8 pages, and regions begin at multiples of that. */
	cow_run_options_init(&options);
	options.geometry = *cow_geometry_find("tiny");
	options.check_each = true;
	ran = run_with("exclusive", "process P\nP: mmap z 1\nP: mmap a 8 thp\nP: write a 1\n"
				    "expect P a[7] huge\nP: mmap b 4\nP: write b 2\n", &options);
	if (cow_report_failures(ran.report))
		fail_msg("%s", cow_report_failure(ran.report, 0));
	done(&ran);
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
		cmocka_unit_test(files),
		cmocka_unit_test(files_that_cannot_be),
		cmocka_unit_test(moved_or_refused),
		cmocka_unit_test(swapping),
		cmocka_unit_test(ksm),
		cmocka_unit_test(userfaultfd),
		cmocka_unit_test(huge_pages),
		cmocka_unit_test(facts_and_totals),
		cmocka_unit_test(every_failure_is_told),
		cmocka_unit_test(without_the_audit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
