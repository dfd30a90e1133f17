/* SPDX-License-Identifier: MIT
 *
 * The simulator beside itself: what must hold of any scenario under a policy, whoever wrote it.
 *
 *   machine check   after every event
 *   verdict         none of those that the policy promises not to have
 *   homes           a marker in the frame, in the PTE and in two side tables decides alike
 *   print, audit    the scenario, printed and parsed, comes to the same with no audit: then
 *                   runs of alike pages are done at once, where the audit wants each told
 */
#include "fuzz/draft.h"

#include <stdio.h>

#include "engine/report.h"

/* ------------------------------------------------------------------ saying what differs */

/* Text without its numbers, so that two findings of one sort are the same. */
static void without_numbers(const char *text, char *out, size_t size)
{
	size_t used = 0;

	for (; *text && used + 1 < size; text++) {
		bool digit = *text >= '0' && *text <= '9';

		if (digit && used && out[used - 1] == '#')
			continue;
		out[used++] = digit ? '#' : *text;
	}
	out[used] = '\0';
}

static const char *line_text(const cow_scenario *scenario, uint32_t line)
{
	for (uint32_t i = 0; i < scenario->statement_count; i++)
		if (scenario->statements[i].line == line)
			return scenario->text + scenario->statements[i].text;
	return "";
}

static void differs(struct cow_difference *out, const cow_scenario *scenario, uint32_t line,
		    const char *kind, const char *what)
{
	out->agreement = COW_DIFFERS;
	out->line = line;
	without_numbers(kind, out->kind, sizeof(out->kind));
	if (line)
		snprintf(out->sentence, sizeof(out->sentence), "%.100s: %.200s",
			 line_text(scenario, line), what);
	else
		snprintf(out->sentence, sizeof(out->sentence), "%.300s", what);
}

/* ------------------------------------------------------------------ what a policy promises */

struct promise {
	const char *policy;
	unsigned no_verdict;  /* COW_VERDICT bits, beside CORRUPTION, which none decides */
	bool hugetlb;         /* with hugetlb pages, too */
	bool counts;          /* no needless copy, no unsafe reuse */
};

#define SAFE (COW_VERDICT(LEAK) | COW_VERDICT(STALE_PIN))

static const struct promise promises[] = {
	{ "exclusive-5.19", COW_VERDICT(LEAK), false, false },
	{ "exclusive-6.2", SAFE, false, false },
	{ "exclusive", SAFE, false, false },
	{ "pte-exclusive", SAFE, false, false },
	{ "always-copy", SAFE, false, false },
	{ "ideal", SAFE, true, true },
};

/* By what it decides: a composition promises nothing, another home of the marker the same. */
static const struct promise *promise_of(const struct cow_policy *policy)
{
	for (size_t i = 0; i < sizeof(promises) / sizeof(*promises); i++) {
		const struct cow_policy *one = cow_policy_find(promises[i].policy);

		if (one && one->flags == policy->flags &&
		    !memcmp(one->decide, policy->decide, sizeof(one->decide)))
			return &promises[i];
	}
	return NULL;
}

static bool uses_hugetlb(const cow_scenario *scenario)
{
	for (uint32_t i = 0; i < scenario->statement_count; i++)
		if (scenario->statements[i].kind == STATEMENT_EVENT &&
		    scenario->statements[i].event.verb == COW_EV_MMAP &&
		    scenario->statements[i].event.flags & COW_EVENT_HUGETLB)
			return true;
	return false;
}

/* Every process might want pages of its own, and the pool has fewer: then an owner may rob its
 * child. */
static bool pool_may_run_out(const cow_scenario *scenario)
{
	enum { PMD_PAGES = 512 };
	uint64_t wanted = 0;

	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		const struct cow_event *event = &scenario->statements[i].event;

		if (scenario->statements[i].kind == STATEMENT_EVENT && event->verb == COW_EV_MMAP &&
		    event->flags & COW_EVENT_HUGETLB)
			wanted += (event->pages + PMD_PAGES - 1) / PMD_PAGES;
	}
	return wanted * scenario->process_count > scenario->hugetlb;
}

/* Frames that a kill may leave: the zero page's, and those of a fault that wants two. */
enum { FRAMES_LEFT = 4 };

/* A process may be killed only for want of a page. */
static bool memory_ran_out(const cow_scenario *scenario, const cow_report *report)
{
	return uses_hugetlb(scenario) ||
	       report->counters[COW_COUNT_PEAK_FRAMES] + FRAMES_LEFT >= scenario->frames;
}

/* v5.19+: what a pin has unshared is clean, and madvise free of one who shares it takes it from all
 * (examples/free-unshared.cow). */
static bool frees_unshared(const cow_scenario *scenario, const cow_report *report)
{
	for (uint32_t i = 0; i < scenario->statement_count; i++)
		if (scenario->statements[i].kind == STATEMENT_EVENT &&
		    scenario->statements[i].event.verb == COW_EV_MADVISE &&
		    scenario->statements[i].event.flags == COW_ADV_FREE)
			return report->counters[COW_COUNT_UNSHARES];
	return false;
}

static void judge(const cow_scenario *scenario, const struct cow_policy *policy,
		  const cow_report *report, struct cow_difference *out)
{
	const struct promise *promise = promise_of(policy);
	unsigned never = promise && (promise->hugetlb || !uses_hugetlb(scenario)) ?
			 promise->no_verdict : 0;
	char kind[64];

	/* No decision makes the kernel lose a process's own write without another word for it; but
	 * there are two other ways, and one who was robbed of a hugetlb page may fork, whose child never
	 * learns of that. */
	if ((policy->flags & COW_POLICY_LOSES_NOTHING) ||
	    (!pool_may_run_out(scenario) && !frees_unshared(scenario, report)))
		never |= COW_VERDICT(CORRUPTION);
	if (!memory_ran_out(scenario, report))
		never |= COW_VERDICT(KILLED);
	for (uint32_t i = 0; i < report->finding_count; i++) {
		const struct report_finding *found = &report->findings[i];

		if (!(found->verdict & never))
			continue;
		snprintf(kind, sizeof(kind), "verdict %s",
			 cow_verdict_word((unsigned)__builtin_ctz(found->verdict)));
		differs(out, scenario, found->line, kind, found->sentence);
		return;
	}
	if (!promise || !promise->counts)
		return;
	if (report->counters[COW_COUNT_UNSAFE_REUSES])
		differs(out, scenario, 0, "unsafe reuse",
			"a page that another could reach was reused");
	else if (report->counters[COW_COUNT_NEEDLESS_COPIES])
		differs(out, scenario, 0, "needless copy",
			"a page that nobody else could reach was copied");
}

/* ------------------------------------------------------------------ two runs beside each other */

static const char *outcome_of(const struct report_step *step)
{
	const char *name = step->outcome == COW_OUT_ERRNO ? cow_errno_name(step->error)
							  : cow_outcome_name(step->outcome);

	return name ? name : "?";
}

static bool step_differs(const cow_scenario *scenario, const struct report_step *a,
			 const struct report_step *b, const char *which, struct cow_difference *out)
{
	char kind[128], what[160];

	if (a->outcome != b->outcome || a->error != b->error) {
		snprintf(kind, sizeof(kind), "%s: %s %s", which, outcome_of(a), outcome_of(b));
		snprintf(what, sizeof(what), "%s, and %s: %s", outcome_of(a), which, outcome_of(b));
	} else if (a->has_value != b->has_value || (a->has_value && a->value != b->value)) {
		snprintf(kind, sizeof(kind), "%s: value", which);
		snprintf(what, sizeof(what), "0x%llx, and %s: 0x%llx", (unsigned long long)a->value,
			 which, (unsigned long long)b->value);
	} else {
		return false;
	}
	differs(out, scenario, a->line, kind, what);
	return true;
}

static const enum cow_counter decided[] = {
	COW_COUNT_COPIES, COW_COUNT_REUSES, COW_COUNT_UNSHARES, COW_COUNT_EARLY_COPIES,
	COW_COUNT_NEEDLESS_COPIES, COW_COUNT_UNSAFE_REUSES, COW_COUNT_UPGRADES, COW_COUNT_FAULTS,
	COW_COUNT_HITS, COW_COUNT_ALLOCS, COW_COUNT_SWAP_OUTS, COW_COUNT_SWAP_INS, COW_COUNT_MERGED,
	COW_COUNT_MIGRATED, COW_COUNT_PMD_SPLITS, COW_COUNT_FOLIO_SPLITS, COW_COUNT_COLLAPSES,
	COW_COUNT_PEAK_FRAMES, COW_COUNT_TABLES,
};

static bool runs_differ(const cow_scenario *scenario, const cow_report *a, const cow_report *b,
			const char *which, struct cow_difference *out)
{
	char kind[128];

	for (uint32_t i = 0; i < a->step_count && i < b->step_count; i++)
		if (step_differs(scenario, &a->steps[i], &b->steps[i], which, out))
			return true;
	if (a->step_count != b->step_count || (b->audited && a->verdict != b->verdict)) {
		snprintf(kind, sizeof(kind), "%s: %s", which,
			 a->step_count != b->step_count ? "events" : "verdict");
		differs(out, scenario, 0, kind, kind);
		return true;
	}
	for (size_t i = 0; i < sizeof(decided) / sizeof(*decided); i++) {
		if (a->counters[decided[i]] == b->counters[decided[i]] ||
		    (!b->audited && (decided[i] == COW_COUNT_NEEDLESS_COPIES ||
				     decided[i] == COW_COUNT_UNSAFE_REUSES)))
			continue;
		snprintf(kind, sizeof(kind), "%s: counter %s", which, cow_counter_name(decided[i]));
		differs(out, scenario, 0, kind, kind);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ the comparison */

enum how { RUN_CHECKED /* after each event */, RUN_AUDITED, RUN_BARE };

static int run(const cow_scenario *scenario, const struct cow_policy *policy, enum how how,
	       cow_report **out)
{
	struct cow_run_options options;

	cow_run_options_init(&options);
	options.check_each = how == RUN_CHECKED;
	options.no_audit = how == RUN_BARE && !(policy->flags & COW_POLICY_NEEDS_TRUTH);
	options.allocator = scenario->allocator;
	return cow_run(scenario, policy, &options, out);
}

/* The machine check failed; `which` says in which run: "", or "marker=pte". */
static bool is_fault(const cow_scenario *scenario, const cow_report *report, const char *which,
		     struct cow_difference *out)
{
	const char *reason = report->reason, *colon;
	uint32_t line = report->step_count ? report->steps[report->step_count - 1].line : 0;
	char kind[128];

	if (report->status != COW_RUN_FAULT)
		return false;
	colon = strstr(reason, ": ");
	snprintf(kind, sizeof(kind), "%.20s%smachine check: %.80s", which, *which ? ": " : "",
		 colon ? colon + 2 : reason);
	differs(out, scenario, line, kind, kind);
	return true;
}

/* The scenario a second time, with one check at its end; `which` says what is different. */
static int run_beside(const cow_scenario *scenario, const cow_scenario *other,
		      const struct cow_policy *policy, const cow_report *report, enum how how,
		      const char *which, struct cow_difference *out)
{
	cow_report *beside;
	int error = run(other, policy, how, &beside);

	if (error)
		return error;
	if (!is_fault(scenario, beside, which, out))
		runs_differ(scenario, report, beside, which, out);
	cow_report_free(beside);
	return 0;
}

static int compare_homes(const cow_scenario *scenario, const struct cow_policy *policy,
			 const cow_report *report, struct cow_difference *out)
{
	static const char *const which[] = { NULL, "marker=frame", "marker=pte", "marker=adjacent",
					     "marker=extra" };

	if (policy->marker == COW_MARKER_NONE)
		return 0;
	for (int home = COW_MARKER_FRAME; home <= COW_MARKER_EXTRA; home++) {
		struct cow_policy moved = *policy;
		int error;

		if (home == (int)policy->marker)
			continue;
		moved.marker = (enum cow_marker)home;
		error = run_beside(scenario, scenario, &moved, report, RUN_AUDITED, which[home],
				   out);
		if (error || out->agreement == COW_DIFFERS)
			return error;
	}
	return 0;
}

static int compare_printed(const cow_scenario *scenario, const struct cow_policy *policy,
			   const cow_report *report, struct cow_difference *out)
{
	cow_scenario *printed;
	int error = scenario_again(scenario, &scenario->allocator, &printed);

	if (error == -EINVAL) {
		differs(out, scenario, 0, "print", "what is printed does not parse");
		return 0;
	}
	if (error)
		return error;
	error = run_beside(scenario, printed, policy, report, RUN_BARE, "printed, no audit", out);
	cow_scenario_free(printed);
	return error;
}

int cow_compare_simulated(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	const struct cow_policy *policy = ctx;
	cow_report *report;
	int error;

	*out = (struct cow_difference){ .agreement = COW_AGREES };
	if (!policy || !scenario || cow_scenario_errors(scenario))
		return -EINVAL;
	error = run(scenario, policy, RUN_CHECKED, &report);
	if (error)
		return error;
	if (report->status == COW_RUN_SKIPPED || report->status == COW_RUN_NOT_MODELLED) {
		out->agreement = COW_NOT_COMPARED;
		snprintf(out->sentence, sizeof(out->sentence), "%s", report->reason);
	} else if (!is_fault(scenario, report, "", out)) {
		judge(scenario, policy, report, out);
		if (out->agreement == COW_AGREES)
			error = compare_homes(scenario, policy, report, out);
		if (!error && out->agreement == COW_AGREES)
			error = compare_printed(scenario, policy, report, out);
	}
	cow_report_free(report);
	return error;
}
