/* SPDX-License-Identifier: MIT
 *
 * What all forms of output say alike: the words for a status, a verdict, a view, and the tally of
 * runs.  Never decides a layout.  Read reports.c and matrix.c next.
 */
#ifndef COWLAB_REPORT_WORDS_H
#define COWLAB_REPORT_WORDS_H

#include "engine/report.h"
#include "event/scenario.h"
#include "report/json.h"

/* One word without blanks: "held", "failed", "skipped", "not-modelled", "fault". */
const char *status_word(enum cow_status status);

/* The run got to its end, so its counters and its verdict mean something. */
bool report_ran(const struct cow_report *report);
/* It did so under an audit. */
bool report_judged(const struct cow_report *report);
/* Pages copied by write faults, by fork and to unshare: what needless copies are a part of. */
uint64_t report_copied(const struct cow_report *report);
/* Assertions that failed, those that are not kept included. */
uint64_t report_failed(const struct cow_report *report);

/* "leak stale-pin", "ok", or "not-judged"; size >= VERDICT_TEXT. */
enum { VERDICT_TEXT = 64 };
void verdict_text(const struct cow_report *report, char *text, size_t size);
/* An array of words, empty for ok; null where nothing judged. */
void json_verdict(struct json *json, const struct cow_report *report);

/* Of a finding: its verdict word, or "warning". */
const char *finding_word(const struct report_finding *finding);
/* Of a step: "copy", "efault", ...; NULL: it came to nothing that has a name. */
const char *step_outcome(const struct report_step *step);
/* The line of a statement as written. */
const char *statement_text(const cow_scenario *scenario, uint32_t statement);

/* Base name of a scenario's file, without .cow: where it starts, and its length. */
const char *scenario_base(const cow_scenario *scenario, size_t *length);

/* Fields of a view, in the order of the struct. */
struct view_field {
	const char *name;
	unsigned width; /* bits */
	unsigned value;
};
#define X(field, bits) +1
enum { VIEW_FIELDS = 0 COW_VIEW_FIELDS(X) };
#undef X
void view_fields(struct cow_view view, struct view_field fields[VIEW_FIELDS]);

struct tally {
	uint64_t runs, held, failed, skipped, not_modelled, faults;
};
struct tally tally_reports(cow_report *const *reports, size_t count);
void tally_text(struct out *out, const struct tally *tally);
void tally_json(struct json *json, const struct tally *tally);

#endif
