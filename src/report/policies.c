/* SPDX-License-Identifier: MIT
 *
 * The list of policies, and the decision table of one.  Computes nothing: policy/table.h does.
 */
#include "policy/table.h"
#include "report/json.h"

#include <errno.h>
#include <string.h>

enum { TEXT_WIDTH = 100 };

static const char *marker_name(enum cow_marker marker)
{
	static const char *const names[] = {
#define X(id, name, what) name,
		COW_MARKERS(X)
#undef X
	};

	return (unsigned)marker < COW_MARKER_COUNT ? names[marker] : "?";
}

static const char *marker_meaning(enum cow_marker marker)
{
	static const char *const meanings[] = {
#define X(id, name, what) what,
		COW_MARKERS(X)
#undef X
	};

	return (unsigned)marker < COW_MARKER_COUNT ? meanings[marker] : "?";
}

static const char *decision_question(unsigned id)
{
	static const char *const questions[] = {
#define X(id, key, question) question,
		COW_DECISIONS(X)
#undef X
	};

	return questions[id];
}

static void list_text(struct out *out, const cow_policies *policies)
{
	size_t names = 0;

	for (size_t i = 0; i < cow_policies_count(policies); i++) {
		size_t width = text_width(cow_policies_at(policies, i)->name);

		names = names < width ? width : names;
	}
	for (size_t i = 0; i < cow_policies_count(policies); i++) {
		const struct cow_policy *policy = cow_policies_at(policies, i);

		out_cell(out, policy->name, names);
		out_str(out, "  ");
		out_text(out, policy->kernels);
		out_str(out, "\n");
		out_pad(out, names + 2);
		out_text(out, policy->summary);
		out_str(out, "\n");
	}
}

static void list_json(struct out *out, const cow_policies *policies)
{
	struct json json;

	json_begin(&json, out, "cowlab-policies-1");
	json_array(&json, "policies", JSON_LINES);
	for (size_t i = 0; i < cow_policies_count(policies); i++) {
		const struct cow_policy *policy = cow_policies_at(policies, i);

		json_object(&json, NULL, JSON_LINES);
		json_str(&json, "name", policy->name);
		json_str(&json, "summary", policy->summary);
		json_str(&json, "kernels", policy->kernels);
		json_str(&json, "marker", marker_name(policy->marker));
		json_bool(&json, "needs-audit", policy->flags & COW_POLICY_NEEDS_TRUTH);
		json_object_end(&json);
	}
	json_array_end(&json);
	json_end(&json);
}

static void list_csv(struct out *out, const cow_policies *policies)
{
	out_str(out, "name,kernels,marker,summary\n");
	for (size_t i = 0; i < cow_policies_count(policies); i++) {
		const struct cow_policy *policy = cow_policies_at(policies, i);

		out_csv(out, policy->name);
		out_str(out, ",");
		out_csv(out, policy->kernels);
		out_fmt(out, ",%s,", marker_name(policy->marker));
		out_csv(out, policy->summary);
		out_str(out, "\n");
	}
}

int cow_policies_write(const cow_policies *policies, enum cow_format format, cow_sink_fn *sink,
		       void *ctx)
{
	struct out out;

	if (!policies || (unsigned)format > COW_FORMAT_CSV)
		return -EINVAL;
	out_init(&out, sink, ctx);
	if (format == COW_FORMAT_TEXT)
		list_text(&out, policies);
	else if (format == COW_FORMAT_JSON)
		list_json(&out, policies);
	else
		list_csv(&out, policies);
	return out_end(&out);
}

/* Words from a column on, broken at blanks, the next lines indented. */
static void text_wrap(struct out *out, const char *text, size_t indent, size_t column)
{
	bool first = true;

	while (text && *text) {
		size_t word = strcspn(text, " ");

		if (!first && column + 1 + word > TEXT_WIDTH) {
			out_str(out, "\n");
			out_pad(out, indent);
			column = indent;
		} else if (!first) {
			out_str(out, " ");
			column++;
		}
		out_bytes(out, text, word);
		column += word;
		text += word;
		text += strspn(text, " ");
		first = false;
	}
	out_str(out, "\n");
}

static void text_row(struct out *out, const struct policy_row *row)
{
	enum { INDENT = 14 };
	size_t name;

	out_str(out, "  ");
	out_cell(out, cow_action_name(row->rule->action), INDENT - 2);
	text_wrap(out, row->when, INDENT, INDENT);
	out_pad(out, INDENT);
	name = out_text(out, row->rule->name);
	out_str(out, ": ");
	text_wrap(out, row->rule->why, INDENT + 4, INDENT + name + 2);
}

static void table_text(struct out *out, const struct policy_table *table)
{
	const struct cow_policy *policy = table->policy;

	out_text(out, policy->name);
	out_str(out, ": ");
	out_text(out, policy->summary);
	out_str(out, "\nkernels: ");
	out_text(out, policy->kernels);
	out_fmt(out, "\nmarker: %s, %s\n", marker_name(policy->marker),
		marker_meaning(policy->marker));
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++) {
		const struct policy_part *part = &table->parts[id];

		out_fmt(out, "\n%s: %s\n", cow_decision_key((enum cow_decision_id)id),
			decision_question(id));
		out_str(out, "  given ");
		text_wrap(out, part->given, 8, 8);
		out_str(out, "  looks at ");
		text_wrap(out, part->looks_at, 11, 11);
		for (size_t i = part->first; i < part->first + part->count; i++)
			text_row(out, &table->rows[i]);
	}
}

static void table_json(struct out *out, const struct policy_table *table)
{
	const struct cow_policy *policy = table->policy;
	struct json json;

	json_begin(&json, out, "cowlab-policy-1");
	json_str(&json, "name", policy->name);
	json_str(&json, "summary", policy->summary);
	json_str(&json, "kernels", policy->kernels);
	json_str(&json, "marker", marker_name(policy->marker));
	json_array(&json, "decisions", JSON_LINES);
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++) {
		const struct policy_part *part = &table->parts[id];

		json_object(&json, NULL, JSON_LINES);
		json_str(&json, "decision", cow_decision_key((enum cow_decision_id)id));
		json_str(&json, "question", decision_question(id));
		json_str(&json, "given", part->given);
		json_str(&json, "looks-at", part->looks_at);
		json_array(&json, "rows", JSON_LINES);
		for (size_t i = part->first; i < part->first + part->count; i++) {
			const struct policy_row *row = &table->rows[i];

			json_object(&json, NULL, JSON_FLAT);
			json_str(&json, "when", row->when);
			json_str(&json, "answer", cow_action_name(row->rule->action));
			json_str(&json, "rule", row->rule->name);
			json_str(&json, "why", row->rule->why);
			json_u64(&json, "locks", row->rule->locks);
			json_object_end(&json);
		}
		json_array_end(&json);
		json_object_end(&json);
	}
	json_array_end(&json);
	json_end(&json);
}

static void table_csv(struct out *out, const struct policy_table *table)
{
	out_str(out, "policy,decision,when,answer,rule,why,locks\n");
	for (size_t i = 0; i < table->count; i++) {
		const struct policy_row *row = &table->rows[i];

		out_csv(out, table->policy->name);
		out_fmt(out, ",%s,", cow_decision_key(row->id));
		out_csv(out, row->when);
		out_fmt(out, ",%s,", cow_action_name(row->rule->action));
		out_csv(out, row->rule->name);
		out_str(out, ",");
		out_csv(out, row->rule->why);
		out_fmt(out, ",%u\n", row->rule->locks);
	}
}

int cow_policy_table_write(const struct cow_policy *policy, enum cow_format format,
			   cow_sink_fn *sink, void *ctx)
{
	struct policy_table *table;
	struct out out;
	int error;

	if (!policy || (unsigned)format > COW_FORMAT_CSV)
		return -EINVAL;
	out_init(&out, sink, ctx);
	error = policy_table_make(policy, NULL, &table);
	if (error)
		return error;
	if (format == COW_FORMAT_TEXT)
		table_text(&out, table);
	else if (format == COW_FORMAT_JSON)
		table_json(&out, table);
	else
		table_csv(&out, table);
	policy_table_free(table);
	return out_end(&out);
}
