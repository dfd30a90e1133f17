/* SPDX-License-Identifier: MIT
 *
 * The audit's words, one by one.  Most need a policy that decides wrongly, which is made here of
 * `exclusive` with one answer replaced; what the audit says then must not depend on why it went
 * wrong.  Each test is a scenario; its process order and values are told by its text.
 */
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
#include "machine/table.h"

#define ANSWER(name, action)                                                       \
	static const struct cow_rule *name(struct cow_view view)                       \
	{                                                                              \
		static const struct cow_rule rule = { COW_ACT_##action, 0, #name, "a bad rule" }; \
                                                                                   \
		(void)view;                                                                \
		return &rule;                                                              \
	}

ANSWER(always_reuse, REUSE)
ANSWER(always_write_copy, COPY)
ANSWER(always_share, SHARE)
ANSWER(always_early_copy, EARLY_COPY)
ANSWER(always_take, TAKE)
ANSWER(always_writable, WRITABLE)

/* `exclusive` but for one decision. */
static struct cow_policy bad(enum cow_decision_id id, cow_decide_fn *decide)
{
	struct cow_policy policy;

	cow_policy_init(&policy, NULL);
	policy.name = "bad";
	policy.flags = COW_POLICY_FORK_COPIES_FREELY;
	policy.decide[id] = decide;
	return policy;
}

/* Runs a scenario, whose assertions must hold. */
static cow_report *run(const struct cow_policy *policy, const char *text)
{
	struct cow_run_options options;
	cow_scenario *scenario;
	cow_report *report;

	cow_run_options_init(&options);
	options.no_check = true; /* a bad policy leaves a machine that is not sound */
	if (cow_scenario_parse("audit", text, strlen(text), NULL, &scenario))
		fail_msg("%s", cow_scenario_error(scenario, 0)->sentence);
	assert_int_equal(cow_run(scenario, policy, &options, &report), 0);
	if (cow_report_failures(report))
		fail_msg("%s", cow_report_failure(report, 0));
	assert_int_equal(cow_report_status(report), COW_RUN_HELD);
	cow_scenario_free(scenario);
	return report;
}

/* The same, for tests that look at the words alone: they stand in the scenario. */
static void hold(const struct cow_policy *policy, const char *text)
{
	cow_report_free(run(policy, text));
}

#define HEAD "process P\nP: mmap a 1\nP: write a 1\n"

/* P and C share a page; P's write goes into the frame that C reads. */
static void leak_by_cpu(void **state)
{
	struct cow_policy policy = bad(COW_DECIDE_WRITE, always_reuse);
	const struct report_finding *finding;
	cow_report *report;

	(void)state;
	report = run(&policy, HEAD "P: fork C\nP: write a 2 -> reuse\nC: read a == 2\n"
				   "expect total unsafe-reuses 1\nverdict leak\n");
	assert_int_equal(report->finding_count, 1);
	finding = &report->findings[0];
	assert_int_equal(finding->verdict, COW_VERDICT(LEAK));
	assert_int_equal(finding->line, 6);
	assert_non_null(strstr(finding->sentence, "C:"));
	assert_non_null(strstr(finding->sentence, "0x2"));
	assert_non_null(strstr(finding->sentence, "written by P"));
	cow_report_free(report);

	/* The value that was there before hides nothing: each write has an identity. */
	hold(&policy, HEAD "P: fork C\nP: write a 1 -> reuse\nC: read a == 1\nverdict leak\n");
	/* Unsafe, and nobody has looked yet. */
	hold(&policy, HEAD "P: fork C\nP: write a 2\nP: read a == 2\nexpect total unsafe-reuses 1\n"
			   "verdict ok\n");
}

static void leak_to_and_through_a_reference(void **state)
{
	const struct cow_policy *mapcount = cow_policy_find("mapcount");
	struct cow_policy policy = bad(COW_DECIDE_FORK, always_share);

	(void)state;
	/* CVE-2020-29374: the child's reference reads what the parent writes. */
	hold(mapcount, HEAD "P: fork C\nC: get r a\nC: munmap a\nP: write a 2 -> reuse\n"
			    "peek r == 2\nexpect total unsafe-reuses 1\nverdict leak\n");
	/* The other way: P's device writes the page that fork shared with C. */
	hold(&policy, HEAD "P: pin r a write\nP: fork C\npoke r 2\nC: read a == 2\nverdict leak\n");
	/* A FOLL_GET reference may do that: Linux does not promise more. */
	hold(&policy, HEAD "P: get r a write\nP: fork C\npoke r 2\nC: read a == 2\n"
			   "verdict stale-get\n");
}

/* What was written before two processes were separated is known to both. */
static void the_past_is_no_secret(void **state)
{
	const struct cow_policy *good = cow_policy_find("exclusive");
	struct cow_policy policy = bad(COW_DECIDE_WRITE, always_reuse);

	(void)state;
	hold(good, HEAD "P: fork C\nC: fork D\nP: exit\nC: write a 3\nD: read a == 1\nverdict ok\n");
	hold(good, HEAD "P: fork C\nP: write a 2\nP: fork D\nD: read a == 2\nC: read a == 1\n"
			"verdict ok\n");
	/* A sibling's write is no common past, nor is the grandparent's after the first fork. */
	hold(&policy, HEAD "P: fork C\nP: fork D\nC: write a 2\nD: read a == 2\nverdict leak\n");
	hold(&policy, HEAD "P: fork C\nC: fork D\nP: write a 2\nD: read a == 2\nverdict leak\n");
	/* What C wrote, D inherited; P has never seen it. */
	hold(&policy, HEAD "P: fork C\nC: write a 2\nC: fork D\nD: read a == 2\nverdict ok\n");
	hold(&policy, HEAD "P: fork C\nC: write a 2\nC: fork D\nP: read a == 2\nverdict leak\n");
}

/*
 * No decision of a policy can lose a process its own write: frames never get older.  So the machine
 * itself is damaged here.
 *
 *  P: | 1 | 2 |   =>   | 2 | 1 |, then page 0 gets a value that nobody wrote
 */
static void corruption(void **state)
{
	struct cow_page page;
	cow_machine *m;
	cow_audit *audit;
	struct leaf leaf;
	uint64_t pte;
	cow_ref ref;
	cow_mm p;

	(void)state;
	assert_int_equal(cow_machine_create(NULL, &m), 0);
	assert_int_equal(cow_audit_attach(m, &audit), 0);
	assert_int_equal(cow_mm_create(m, &p), 0);
	assert_int_equal(cow_mmap(m, p, 0, 2, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write(m, p, 0, 1, NULL), 0);
	assert_int_equal(cow_write(m, p, 4096, 2, NULL), 0);
	assert_int_equal(cow_read(m, p, 0, NULL, NULL), 0);
	assert_int_equal(cow_audit_verdict(audit), 0);

	assert_true(leaf_find(m, mm_at(m, p.index)->root, 0, &leaf));
	pte = leaf.ptes[0];
	leaf.ptes[0] = leaf.ptes[1];
	leaf.ptes[1] = pte;
	assert_int_equal(cow_read(m, p, 0, NULL, NULL), 0);
	assert_int_equal(cow_audit_verdict(audit), COW_VERDICT(CORRUPTION));
	assert_int_equal(cow_audit_findings(audit), 1);
	assert_int_equal(cow_audit_finding(audit, 0)->process, 1);
	assert_int_equal(cow_audit_finding(audit, 0)->writer, 1);
	assert_int_equal(cow_audit_finding(audit, 0)->addr, 0);
	assert_int_equal(cow_audit_finding(audit, 0)->op, 6); /* calls are counted from 1 */
	assert_non_null(strstr(cow_audit_finding(audit, 0)->sentence, "is not its last write"));

	leaf.ptes[1] = leaf.ptes[0];
	leaf.ptes[0] = pte;
	assert_int_equal(cow_gup(m, p, 0, 1, COW_GUP_PIN, 1, NULL, &ref), 0);
	assert_int_equal(cow_page_look(m, p, 0, &page), 0);
	frame_body(m, page.frame)->value = 99;
	assert_int_equal(cow_ref_peek(m, ref, NULL, NULL), 0);
	assert_int_equal(cow_audit_findings(audit), 2);
	assert_non_null(strstr(cow_audit_finding(audit, 1)->sentence,
			       "a reference saw 0x63, which nobody wrote there"));
	assert_int_equal(cow_audit_verdict(audit), COW_VERDICT(CORRUPTION));
	cow_audit_detach(audit);
	cow_machine_destroy(m);
}

/* A FOLL_PIN reference and its owner's page must stay one frame. */
static void stale_pin(void **state)
{
	struct cow_policy policy = bad(COW_DECIDE_FORK, always_share);
	struct cow_policy take = bad(COW_DECIDE_GUP, always_take);
	struct cow_policy copy = bad(COW_DECIDE_WRITE, always_write_copy);

	(void)state;
	/* RDMA and fork, with a fork that never copies. */
	hold(&policy, HEAD "P: pin r a write\nP: fork C\nP: write a 2 -> copy\nverdict stale-pin\n");
	/* The same by FOLL_GET is promised to nobody. */
	hold(&policy, HEAD "P: get r a write\nP: fork C\nP: write a 2 -> copy\nverdict stale-get\n");
	/* A read-only pin of a shared page, taken without unsharing it. */
	hold(&take, HEAD "P: fork C\nP: pin r a -> hit\nP: write a 2 -> copy\npeek r == 1\n"
			 "verdict stale-pin\n");
	/* Write-protected and copied under a pin of one's own. */
	copy.decide[COW_DECIDE_PROTECT] = cow_policy_find("page-count")->decide[COW_DECIDE_PROTECT];
	hold(&copy, HEAD "P: pin r a write\nP: mprotect a ro\nP: mprotect a rw\n"
			 "P: write a 2 -> copy\nexpect total needless-copies 1\nverdict stale-pin\n");
	/* Found when it happens, not when somebody looks; a release heals nothing. */
	hold(&policy, HEAD "P: pin r a write\nP: fork C\nP: write a 2\nrelease r\nverdict stale-pin\n");
}

/* Whoever drops the page has no claim on it; whoever moves it has. */
static void dropped_and_moved(void **state)
{
	const struct cow_policy *good = cow_policy_find("exclusive");
	const struct cow_policy *count = cow_policy_find("page-count");

	(void)state;
	hold(good, HEAD "P: pin r a write\nP: madvise a dontneed\nP: write a 2 -> alloc\n"
			"peek r == 1\npoke r 3\nP: read a == 2\nverdict ok\n");
	hold(good, HEAD "P: pin r a write\nP: munmap a\nP: mmap a 1\nP: write a 2\npeek r == 1\n"
			"verdict ok\n");
	hold(good, HEAD "P: pin r a write\nP: fork C\nP: exit\npoke r 3\npeek r == 3\nC: read a == 1\n"
			"verdict ok\n");
	hold(good, HEAD "P: pin r a write\nP: mremap a b\npoke r 3\nP: read b == 3\n"
			"P: write b 4\npeek r == 4\nverdict ok\n");
	/* mremap is followed: the loss is found at the new address. */
	hold(count, HEAD "P: pin r a write\nP: mremap a b\nP: mprotect b ro\nP: mprotect b rw\n"
			 "P: write b 4 -> copy\nverdict stale-pin\n");
}

/* The zero page: a long-term pin is promised to be reliable, a short one is not. */
static void zero_page(void **state)
{
	struct cow_policy take = bad(COW_DECIDE_GUP, always_take);

	(void)state;
	hold(&take, "process P\nP: mmap a 1\nP: read a\nP: pin r a\nP: write a 2 -> copy\n"
		    "verdict stale-get\n");
	hold(&take, "process P\nP: mmap a 1\nP: read a\nP: pin r a longterm\nP: write a 2 -> copy\n"
		    "expect total needless-copies 0\nverdict stale-pin\n");
}

static void killed(void **state)
{
	(void)state;
	hold(NULL, "frames 2\nprocess P\nP: mmap a 3\nP: write a 1 -> oom\nverdict killed\n");
	/* A call that gets ENOMEM kills nobody. */
	hold(NULL, "frames 2\nprocess P\nP: mmap a 3\nP: madvise a populate_write -> enomem\n"
		   "verdict ok\n");
}

/* A process that touches the protection of what it has pinned is warned, and not condemned. */
static void warning(void **state)
{
	cow_report *report = run(NULL, HEAD "P: pin r a write\nP: mprotect a ro\nverdict ok\n");

	(void)state;
	assert_int_equal(report->finding_count, 1);
	assert_int_equal(report->findings[0].verdict, 0);
	assert_int_equal(report->findings[0].line, 5);
	cow_report_free(report);
	report = run(NULL, HEAD "P: get r a write\nP: mprotect a ro\nverdict ok\n");
	assert_int_equal(report->finding_count, 0);
	cow_report_free(report);
	report = run(NULL, HEAD "P: pin r a\nrelease r\nP: mprotect a ro\nverdict ok\n");
	assert_int_equal(report->finding_count, 0);
	cow_report_free(report);
}

/* Needless and unsafe are counted by what can be reached, and are no verdict. */
static void counters(void **state)
{
	struct cow_policy copy = bad(COW_DECIDE_WRITE, always_write_copy);
	struct cow_policy early = bad(COW_DECIDE_FORK, always_early_copy);
	struct cow_policy writable = bad(COW_DECIDE_PROTECT, always_writable);

	(void)state;
	/* Copied although the child is gone; and although it is there, which is right. */
	hold(&copy, HEAD "P: fork C\nC: exit\nP: write a 2 -> copy\nexpect total needless-copies 1\n"
			 "verdict ok\n");
	hold(&copy, HEAD "P: fork C\nP: write a 2 -> copy\nexpect total needless-copies 0\n");
	/* A stranger's reference makes it needed, the writer's own does not. */
	hold(&copy, HEAD "P: fork C\nC: get r a\nC: exit\nP: write a 2 -> copy\n"
			 "expect total needless-copies 0\nverdict ok\n");
	hold(&copy, HEAD "P: get r a\nP: fork C\nC: exit\nP: write a 2 -> copy\n"
			 "expect total needless-copies 1\nverdict stale-get\n");
	/* Fork: needless without a pin. */
	hold(&early, HEAD "P: fork C -> early-copy\nexpect total needless-copies 1\nverdict ok\n");
	hold(&early, HEAD "P: pin r a\nP: fork C -> early-copy\nexpect total needless-copies 0\n");
	/* The zero page's copy is never needless. */
	hold(&copy, "process P\nP: mmap a 1\nP: read a\nP: write a 1 -> copy\n"
		    "expect total needless-copies 0\n");
	/* mprotect can be unsafe, too. */
	hold(&writable, HEAD "P: fork C\nP: mprotect a ro\nP: mprotect a rw\n"
			     "expect total unsafe-reuses 1\nverdict ok\n");
}

/* Shared memory is one cell for all: nothing written there is a leak. */
static void shared_memory(void **state)
{
	(void)state;
	hold(NULL, "process P\nP: mmap a 1 shared\nP: write a 1\nP: fork C\nC: write a 2\n"
		   "P: read a == 2\nP: pin r a write\npoke r 3\nC: read a == 3\nverdict ok\n");
}

/* The audit belongs to one machine, from before its first process. */
static void attaching(void **state)
{
	cow_machine *m;
	cow_audit *audit, *second;
	cow_mm mm;

	(void)state;
	assert_int_equal(cow_machine_create(NULL, &m), 0);
	assert_int_equal(cow_audit_attach(m, &audit), 0);
	assert_int_not_equal(cow_audit_attach(m, &second), 0);
	assert_null(second);
	assert_int_equal(cow_audit_verdict(audit), 0);
	assert_int_equal(cow_audit_findings(audit), 0);
	assert_null(cow_audit_finding(audit, 0));
	assert_true(cow_audit_memory(audit) > 0);
	cow_audit_detach(audit);
	assert_int_equal(cow_mm_create(m, &mm), 0);
	assert_int_not_equal(cow_audit_attach(m, &audit), 0);
	cow_machine_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leak_by_cpu),
		cmocka_unit_test(leak_to_and_through_a_reference),
		cmocka_unit_test(the_past_is_no_secret),
		cmocka_unit_test(corruption),
		cmocka_unit_test(stale_pin),
		cmocka_unit_test(dropped_and_moved),
		cmocka_unit_test(zero_page),
		cmocka_unit_test(killed),
		cmocka_unit_test(warning),
		cmocka_unit_test(counters),
		cmocka_unit_test(shared_memory),
		cmocka_unit_test(attaching),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
