/* SPDX-License-Identifier: MIT
 *
 * Reading a report, and freeing it.
 */
#include "engine/report.h"

#include "base/alloc.h"

static void free_text(const struct cow_allocator *allocator, char *text)
{
	if (text)
		cow_release_(allocator, text, strlen(text) + 1);
}

void cow_report_free(cow_report *report)
{
	struct cow_allocator allocator;

	if (!report)
		return;
	allocator = report->allocator;
	for (uint32_t i = 0; i < report->failure_count; i++) {
		free_text(&allocator, report->failures[i].message);
		free_text(&allocator, report->failures[i].text);
		free_text(&allocator, report->failures[i].expected);
		free_text(&allocator, report->failures[i].found);
	}
	cow_release_(&allocator, report->steps, report->step_room * sizeof(*report->steps));
	cow_release_(&allocator, report->decisions,
		     report->decision_room * sizeof(*report->decisions));
	cow_release_(&allocator, report->failures,
		     report->failure_room * sizeof(*report->failures));
	cow_release_(&allocator, report->findings,
		     report->finding_room * sizeof(*report->findings));
	cow_release_(&allocator, report, sizeof(*report));
}

enum cow_status cow_report_status(const cow_report *report)
{
	return report->status;
}

unsigned cow_report_verdict(const cow_report *report)
{
	return report->verdict;
}

uint64_t cow_report_counter(const cow_report *report, enum cow_counter counter)
{
	return (unsigned)counter < COW_COUNTER_COUNT ? report->counters[counter] : 0;
}

size_t cow_report_failures(const cow_report *report)
{
	return report->failure_count + report->failures_lost;
}

const char *cow_report_failure(const cow_report *report, size_t index)
{
	return index < report->failure_count ? report->failures[index].message : NULL;
}

int cow_status_exit_code(enum cow_status status)
{
	switch (status) {
	case COW_RUN_FAILED:
		return 10;
	case COW_RUN_NOT_MODELLED:
		return 3;
	case COW_RUN_FAULT:
		return 6;
	default:
		return 0;
	}
}
