/* SPDX-License-Identifier: MIT
 *
 * Reports for people: fixed words, one fact a line.  A run in which all held is one line, unless
 * its decisions were kept to be explained.
 */
#include "report/reports.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_WIDTH = 100 };

/* Widths of the columns of the short form. */
struct columns {
	size_t file, policy, verdict;
};

static void text_view(struct out *out, const struct report_decision *decision)
{
	struct view_field fields[VIEW_FIELDS];
	/* a decision about a VMA has no page to count */
	bool counts = decision->id != COW_DECIDE_TRACK;

	view_fields(decision->view, fields);
	for (unsigned i = 0; i < VIEW_FIELDS; i++) {
		bool always = counts && (!strcmp(fields[i].name, "refcount") ||
					 !strcmp(fields[i].name, "mapcount"));

		if (fields[i].width > 1 && (fields[i].value || always))
			out_fmt(out, " %s %u", fields[i].name, fields[i].value);
		else if (fields[i].value)
			out_fmt(out, " %s", fields[i].name);
	}
}

static void text_decision(struct out *out, const struct report_decision *decision)
{
	out_fmt(out, "    %s ", cow_decision_key(decision->id));
	out_text(out, decision->process);
	out_str(out, " ");
	out_text(out, decision->place);
	if (decision->pages > 1)
		out_fmt(out, " (%" PRIu64 " pages)", decision->pages);
	out_str(out, ":");
	text_view(out, decision);
	out_fmt(out, "\n        %s by rule ", cow_action_name(decision->rule->action));
	out_text(out, decision->rule->name);
	out_str(out, ": ");
	out_text(out, decision->rule->why);
	out_str(out, "\n");
}

static void text_steps(struct out *out, const struct cow_report *report)
{
	for (uint32_t i = 0; i < report->step_count; i++) {
		const struct report_step *step = &report->steps[i];
		const char *outcome = step_outcome(step);

		out_fmt(out, "%" PRIu32 ": ", step->line);
		out_text(out, statement_text(report->scenario, step->statement));
		out_str(out, "\n");
		if (outcome || step->has_value || step->failed) {
			out_str(out, "    ->");
			if (outcome)
				out_fmt(out, " %s", outcome);
			if (step->has_value)
				out_fmt(out, " value 0x%" PRIx64, step->value);
			if (step->failed)
				out_str(out, " FAILED");
			out_str(out, "\n");
		}
		for (uint32_t j = 0; j < step->decisions; j++)
			text_decision(out, &report->decisions[step->first_decision + j]);
	}
	if (report->steps_lost)
		out_fmt(out, "and %" PRIu64 " steps more\n", report->steps_lost);
	if (report->decisions_lost)
		out_fmt(out, "and %" PRIu64 " decisions more\n", report->decisions_lost);
}

static void text_failures(struct out *out, const struct cow_report *report)
{
	for (uint32_t i = 0; i < report->failure_count; i++) {
		const struct report_failure *failure = &report->failures[i];

		out_text(out, cow_scenario_name(report->scenario));
		out_fmt(out, ":%" PRIu32 ": ", failure->line);
		out_text(out, failure->text);
		out_str(out, "\n    expected ");
		out_text(out, failure->expected);
		out_str(out, "\n    found    ");
		out_text(out, failure->found);
		out_str(out, "\n");
	}
	if (report->failures_lost)
		out_fmt(out, "and %" PRIu64 " failures more\n", report->failures_lost);
}

static void text_findings(struct out *out, const struct cow_report *report)
{
	for (uint32_t i = 0; i < report->finding_count; i++) {
		const struct report_finding *finding = &report->findings[i];

		out_fmt(out, "%s line %" PRIu32 ": ", finding_word(finding), finding->line);
		out_text(out, finding->sentence);
		out_str(out, "\n");
	}
}

/* The counters that are not zero, as many on a line as fit. */
static void text_counters(struct out *out, const struct cow_report *report)
{
	size_t column = 0;

	for (unsigned i = 0; i < COW_COUNTER_COUNT; i++) {
		const char *name = cow_counter_name((enum cow_counter)i);
		uint64_t value = report->counters[i];
		size_t width = 2 + strlen(name);

		if (!value)
			continue;
		for (uint64_t rest = value; rest; rest /= 10)
			width++;
		if (!column || column + width > TEXT_WIDTH) {
			out_str(out, column ? "\n        " : "counters");
			column = 8;
		}
		out_fmt(out, " %s %" PRIu64, name, value);
		column += width;
	}
	if (column)
		out_str(out, "\n");
}

static void text_end(struct out *out, const struct cow_report *report)
{
	switch (report->status) {
	case COW_RUN_HELD:
		out_str(out, "ok");
		break;
	case COW_RUN_FAILED:
		out_fmt(out, "FAILED %" PRIu64, report_failed(report));
		break;
	case COW_RUN_SKIPPED:
		out_str(out, "skipped: ");
		break;
	case COW_RUN_NOT_MODELLED:
		out_str(out, "not modelled yet: ");
		break;
	case COW_RUN_FAULT:
		out_str(out, "fault: ");
		break;
	}
	if (!report_ran(report))
		out_text(out, report->reason);
	out_str(out, "\n");
}

static void text_long(struct out *out, const struct cow_report *report)
{
	char verdict[VERDICT_TEXT];

	out_text(out, cow_scenario_name(report->scenario));
	out_str(out, ": ");
	out_text(out, cow_scenario_title(report->scenario));
	out_str(out, "\npolicy ");
	out_text(out, report->policy->name);
	out_str(out, "\n");
	text_steps(out, report);
	text_failures(out, report);
	text_findings(out, report);
	if (report_ran(report)) {
		verdict_text(report, verdict, sizeof(verdict));
		out_fmt(out, "verdict %s\n", verdict);
	}
	text_counters(out, report);
	text_end(out, report);
	out_str(out, "\n");
}

static void text_short(struct out *out, const struct cow_report *report,
		       const struct columns *columns)
{
	char verdict[VERDICT_TEXT];

	verdict_text(report, verdict, sizeof(verdict));
	out_cell(out, cow_scenario_name(report->scenario), columns->file);
	out_str(out, "  ");
	out_cell(out, report->policy->name, columns->policy);
	out_str(out, "  ");
	if (report_ran(report)) {
		out_str(out, "verdict ");
		out_cell(out, verdict, columns->verdict);
		out_fmt(out, "  copies %" PRIu64, report->counters[COW_COUNT_COPIES]);
		if (report->counters[COW_COUNT_EARLY_COPIES])
			out_fmt(out, " early-copies %" PRIu64,
				report->counters[COW_COUNT_EARLY_COPIES]);
		if (report->counters[COW_COUNT_UNSHARES])
			out_fmt(out, " unshares %" PRIu64, report->counters[COW_COUNT_UNSHARES]);
		if (report_judged(report))
			out_fmt(out, " (needless %" PRIu64 ")",
				report->counters[COW_COUNT_NEEDLESS_COPIES]);
		out_str(out, "  ");
	}
	text_end(out, report);
	if (report->status != COW_RUN_HELD) {
		text_failures(out, report);
		text_findings(out, report);
	}
}

static void widen(size_t *width, const char *text)
{
	size_t columns = text_width(text);

	if (*width < columns)
		*width = columns;
}

void reports_text(struct out *out, cow_report *const *reports, size_t count)
{
	struct tally tally = tally_reports(reports, count);
	struct columns columns = { 0, 0, 0 };
	bool explained = false;

	for (size_t i = 0; i < count; i++) {
		char verdict[VERDICT_TEXT];

		verdict_text(reports[i], verdict, sizeof(verdict));
		widen(&columns.file, cow_scenario_name(reports[i]->scenario));
		widen(&columns.policy, reports[i]->policy->name);
		if (report_ran(reports[i]))
			widen(&columns.verdict, verdict);
		explained |= reports[i]->explained;
	}
	for (size_t i = 0; i < count; i++) {
		if (explained)
			text_long(out, reports[i]);
		else
			text_short(out, reports[i], &columns);
	}
	tally_text(out, &tally);
}
