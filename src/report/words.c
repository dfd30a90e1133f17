/* SPDX-License-Identifier: MIT
 *
 * What all forms of output say alike.
 */
#include "report/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *status_word(enum cow_status status)
{
	switch (status) {
	case COW_RUN_HELD:
		return "held";
	case COW_RUN_FAILED:
		return "failed";
	case COW_RUN_SKIPPED:
		return "skipped";
	case COW_RUN_NOT_MODELLED:
		return "not-modelled";
	case COW_RUN_FAULT:
		break;
	}
	return "fault";
}

bool report_ran(const struct cow_report *report)
{
	return report->status == COW_RUN_HELD || report->status == COW_RUN_FAILED;
}

bool report_judged(const struct cow_report *report)
{
	return report->audited && report_ran(report);
}

uint64_t report_copied(const struct cow_report *report)
{
	return report->counters[COW_COUNT_COPIES] + report->counters[COW_COUNT_EARLY_COPIES] +
	       report->counters[COW_COUNT_UNSHARES];
}

uint64_t report_failed(const struct cow_report *report)
{
	return report->failure_count + report->failures_lost;
}

void verdict_text(const struct cow_report *report, char *text, size_t size)
{
	size_t used = 0;

	if (!report_judged(report)) {
		snprintf(text, size, "not-judged");
		return;
	}
	snprintf(text, size, "ok");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++) {
		if (!(report->verdict & 1u << bit))
			continue;
		snprintf(text + used, size - used, "%s%s", used ? " " : "",
			 cow_verdict_word(bit));
		used += strlen(text + used);
	}
}

void json_verdict(struct json *json, const struct cow_report *report)
{
	if (!report_judged(report)) {
		json_str(json, "verdict", NULL);
		return;
	}
	json_array(json, "verdict", JSON_FLAT);
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (report->verdict & 1u << bit)
			json_str(json, NULL, cow_verdict_word(bit));
	json_array_end(json);
}

const char *finding_word(const struct report_finding *finding)
{
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (finding->verdict & 1u << bit)
			return cow_verdict_word(bit);
	return "warning";
}

const char *step_outcome(const struct report_step *step)
{
	if (step->outcome == COW_OUT_NONE)
		return NULL;
	if (step->outcome == COW_OUT_ERRNO) {
		const char *name = cow_errno_name(-step->error);

		return name ? name : "errno";
	}
	return cow_outcome_name(step->outcome);
}

const char *statement_text(const cow_scenario *scenario, uint32_t statement)
{
	if (statement >= scenario->statement_count)
		return "";
	return scenario->text + scenario->statements[statement].text;
}

const char *scenario_base(const cow_scenario *scenario, size_t *length)
{
	const char *name = cow_scenario_name(scenario);
	const char *slash = strrchr(name, '/');

	if (slash && slash[1])
		name = slash + 1;
	*length = strlen(name);
	if (*length > 4 && !strcmp(name + *length - 4, ".cow"))
		*length -= 4;
	return name;
}

void view_fields(struct cow_view view, struct view_field fields[VIEW_FIELDS])
{
	unsigned count = 0;

#define X(field, bits) fields[count++] = (struct view_field){ #field, bits, view.field };
	COW_VIEW_FIELDS(X)
#undef X
}

struct tally tally_reports(cow_report *const *reports, size_t count)
{
	struct tally tally = { .runs = count };

	for (size_t i = 0; i < count; i++) {
		switch (reports[i]->status) {
		case COW_RUN_HELD:
			tally.held++;
			break;
		case COW_RUN_FAILED:
			tally.failed++;
			break;
		case COW_RUN_SKIPPED:
			tally.skipped++;
			break;
		case COW_RUN_NOT_MODELLED:
			tally.not_modelled++;
			break;
		case COW_RUN_FAULT:
			tally.faults++;
			break;
		}
	}
	return tally;
}

void tally_text(struct out *out, const struct tally *tally)
{
	out_fmt(out, "%" PRIu64 " run%s: %" PRIu64 " held, %" PRIu64 " failed, %" PRIu64
		     " skipped, %" PRIu64 " not modelled",
		tally->runs, tally->runs == 1 ? "" : "s", tally->held, tally->failed,
		tally->skipped, tally->not_modelled);
	if (tally->faults)
		out_fmt(out, ", %" PRIu64 " with a fault of the program", tally->faults);
	out_str(out, "\n");
}

void tally_json(struct json *json, const struct tally *tally)
{
	json_object(json, "total", JSON_FLAT);
	json_u64(json, "runs", tally->runs);
	json_u64(json, "held", tally->held);
	json_u64(json, "failed", tally->failed);
	json_u64(json, "skipped", tally->skipped);
	json_u64(json, "not-modelled", tally->not_modelled);
	json_u64(json, "fault", tally->faults);
	json_object_end(json);
}
