/* SPDX-License-Identifier: MIT
 *
 * cow_reports_write, and its short forms: JSON and CSV.  Owns what a report is called in them.
 * Never looks at a machine.  Read reports_text.c for the form that people see.
 */
#include "report/reports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void json_decision(struct json *json, const struct report_decision *decision)
{
	struct view_field fields[VIEW_FIELDS];

	json_object(json, NULL, JSON_FLAT);
	json_str(json, "decision", cow_decision_key(decision->id));
	json_str(json, "process", decision->process);
	json_str(json, "place", decision->place);
	json_u64(json, "pages", decision->pages);
	view_fields(decision->view, fields);
	json_object(json, "view", JSON_FLAT);
	for (unsigned i = 0; i < VIEW_FIELDS; i++)
		json_u64(json, fields[i].name, fields[i].value);
	json_object_end(json);
	json_str(json, "answer", cow_action_name(decision->rule->action));
	json_str(json, "rule", decision->rule->name);
	json_str(json, "why", decision->rule->why);
	json_u64(json, "locks", decision->rule->locks);
	json_object_end(json);
}

static void json_step(struct json *json, const struct cow_report *report,
		      const struct report_step *step)
{
	bool explained = step->decisions > 0;

	json_object(json, NULL, explained ? JSON_LINES : JSON_FLAT);
	json_u64(json, "line", step->line);
	json_str(json, "text", statement_text(report->scenario, step->statement));
	json_str(json, "outcome", step_outcome(step));
	if (step->has_value) {
		char value[24];

		/* 64 bits do not fit the numbers of every reader */
		snprintf(value, sizeof(value), "0x%" PRIx64, step->value);
		json_str(json, "value", value);
	} else {
		json_str(json, "value", NULL);
	}
	json_bool(json, "failed", step->failed);
	if (explained) {
		json_array(json, "decisions", JSON_LINES);
		for (uint32_t i = 0; i < step->decisions; i++)
			json_decision(json, &report->decisions[step->first_decision + i]);
		json_array_end(json);
	}
	json_object_end(json);
}

static void json_failures(struct json *json, const struct cow_report *report)
{
	json_array(json, "failures", JSON_LINES);
	for (uint32_t i = 0; i < report->failure_count; i++) {
		const struct report_failure *failure = &report->failures[i];

		json_object(json, NULL, JSON_FLAT);
		json_u64(json, "line", failure->line);
		json_str(json, "text", failure->text);
		json_str(json, "expected", failure->expected);
		json_str(json, "found", failure->found);
		json_str(json, "message", failure->message);
		json_object_end(json);
	}
	json_array_end(json);
	json_u64(json, "failures_lost", report->failures_lost);
}

static void json_findings(struct json *json, const struct cow_report *report)
{
	json_array(json, "findings", JSON_LINES);
	for (uint32_t i = 0; i < report->finding_count; i++) {
		json_object(json, NULL, JSON_FLAT);
		json_str(json, "word", finding_word(&report->findings[i]));
		json_u64(json, "line", report->findings[i].line);
		json_str(json, "sentence", report->findings[i].sentence);
		json_object_end(json);
	}
	json_array_end(json);
}

static void json_report(struct json *json, const struct cow_report *report)
{
	json_object(json, NULL, JSON_LINES);
	json_str(json, "file", cow_scenario_name(report->scenario));
	json_str(json, "title", cow_scenario_title(report->scenario));
	json_str(json, "policy", report->policy->name);
	json_str(json, "status", status_word(report->status));
	json_str(json, "reason", report->reason[0] ? report->reason : NULL);
	json_bool(json, "audited", report->audited);
	json_verdict(json, report);
	json_u64(json, "events", report->events);
	json_object(json, "counters", JSON_FLAT);
	for (unsigned i = 0; i < COW_COUNTER_COUNT; i++)
		json_u64(json, cow_counter_name((enum cow_counter)i), report->counters[i]);
	json_object_end(json);
	json_failures(json, report);
	json_findings(json, report);
	json_array(json, "steps", JSON_LINES);
	for (uint32_t i = 0; i < report->step_count; i++)
		json_step(json, report, &report->steps[i]);
	json_array_end(json);
	json_u64(json, "steps_lost", report->steps_lost);
	json_u64(json, "decisions_lost", report->decisions_lost);
	json_object_end(json);
}

void reports_json(struct out *out, cow_report *const *reports, size_t count)
{
	struct tally tally = tally_reports(reports, count);
	struct json json;

	json_begin(&json, out, "cowlab-report-1");
	json_array(&json, "runs", JSON_LINES);
	for (size_t i = 0; i < count; i++)
		json_report(&json, reports[i]);
	json_array_end(&json);
	tally_json(&json, &tally);
	json_end(&json);
}

void reports_csv(struct out *out, cow_report *const *reports, size_t count)
{
	out_str(out, "file,title,policy,status,reason,verdict,failures,findings,events");
	for (unsigned i = 0; i < COW_COUNTER_COUNT; i++)
		out_fmt(out, ",%s", cow_counter_name((enum cow_counter)i));
	out_str(out, "\n");
	for (size_t i = 0; i < count; i++) {
		const struct cow_report *report = reports[i];
		char verdict[VERDICT_TEXT];

		verdict_text(report, verdict, sizeof(verdict));
		out_csv(out, cow_scenario_name(report->scenario));
		out_str(out, ",");
		out_csv(out, cow_scenario_title(report->scenario));
		out_str(out, ",");
		out_csv(out, report->policy->name);
		out_fmt(out, ",%s,", status_word(report->status));
		out_csv(out, report->reason);
		out_fmt(out, ",%s,%" PRIu64 ",%" PRIu32 ",%" PRIu64, verdict,
			report_failed(report), report->finding_count, report->events);
		for (unsigned j = 0; j < COW_COUNTER_COUNT; j++)
			out_fmt(out, ",%" PRIu64, report->counters[j]);
		out_str(out, "\n");
	}
}

int cow_reports_write(cow_report *const *reports, size_t count, enum cow_format format,
		      cow_sink_fn *sink, void *ctx)
{
	struct out out;

	if ((count && !reports) || (unsigned)format > COW_FORMAT_CSV)
		return -EINVAL;
	out_init(&out, sink, ctx);
	if (format == COW_FORMAT_TEXT)
		reports_text(&out, reports, count);
	else if (format == COW_FORMAT_JSON)
		reports_json(&out, reports, count);
	else
		reports_csv(&out, reports, count);
	return out_end(&out);
}
