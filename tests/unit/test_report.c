/* SPDX-License-Identifier: MIT
 *
 * What report/ writes, against goldens in tests/golden.  The reports are built by hand, so nothing
 * runs here.  COWLAB_ACCEPT=1 in the environment writes the goldens anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/report.h"
#include "event/scenario.h"
#include "failing.h"
#include "report/out.h"

/* ---------------------------------------------------------------- */
/* What is written */

struct text {
	char bytes[1 << 18];
	size_t size;
	size_t calls;
	size_t fail_at; /* this call fails, counted from 1; 0: none */
	bool after;     /* a call came after the one that failed */
};

static int text_sink(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	text->calls++;
	if (text->fail_at && text->calls > text->fail_at)
		text->after = true;
	if (text->fail_at && text->calls >= text->fail_at)
		return -ENOSPC;
	assert_true(text->size + size < sizeof(text->bytes));
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	return 0;
}

static struct text *text_new(void)
{
	struct text *text = calloc(1, sizeof(*text));

	assert_non_null(text);
	return text;
}

static void assert_golden(const struct text *text, const char *name)
{
	const char *source = getenv("COWLAB_SOURCE");
	struct text *golden = text_new();
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/golden/%s", source ? source : ".", name);
	if (getenv("COWLAB_ACCEPT")) {
		file = fopen(path, "wb");
		assert_non_null(file);
		assert_int_equal(fwrite(text->bytes, 1, text->size, file), text->size);
		assert_int_equal(fclose(file), 0);
	}
	file = fopen(path, "rb");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	golden->size = fread(golden->bytes, 1, sizeof(golden->bytes) - 1, file);
	fclose(file);
	assert_string_equal(text->bytes, golden->bytes);
	assert_int_equal(text->size, golden->size);
	free(golden);
}

/* ---------------------------------------------------------------- */
/* Reports by hand */

static char first_text[] = "P: mmap a 1\0P: write a 0x01          -> alloc\0P: fork C\0"
			   "C: read a == 0x01\0verdict ok  [mapcount: leak]";

static struct scenario_statement first_statements[] = {
	{ .line = 4, .text = 0 },
	{ .line = 5, .text = 12 },
	{ .line = 6, .text = 46 },
	{ .line = 7, .text = 56 },
	{ .line = 9, .text = 74 },
};

static struct cow_scenario first_scenario = {
	.name = "examples/cve-2020-29374.cow",
	.title = "vmsplice in the child, unmap in the child (CVE-2020-29374)",
	.text = first_text,
	.statements = first_statements,
	.statement_count = 5,
};

/* A name and a title that need every kind of quoting. */
static struct cow_scenario odd_scenario = {
	.name = "odd, \"file\".cow",
	.title = "a \"quoted\"\ttitle, \x01\x7f \\ \xc3\xa9 \xff \xed\xa0\x80 \xc2\x85",
	.text = first_text,
};

static const struct cow_policy mapcount = { .name = "mapcount" };
static const struct cow_policy exclusive = { .name = "exclusive" };
static const struct cow_policy composed = { .name = "exclusive,gup=mapcount" };

static const struct cow_rule rule_shared = { COW_ACT_COPY, 1, "shared",
					     "do_wp_page: more than one PTE maps the page" };
static const struct cow_rule rule_keep = { COW_ACT_KEEP, 0, "always", "the flags are copied" };

static struct report_decision decisions[] = {
	{ COW_DECIDE_WRITE,
	  { .refcount = 2, .mapcount = 2, .anon = 1, .vma_write = 1, .req_write = 1 },
	  &rule_shared, "P", "a[0..7]", 8 },
	{ COW_DECIDE_TRACK, { .vma_had_write_ref = 1 }, &rule_keep, "P", "a", 1 },
};

static struct report_step steps[] = {
	{ .statement = 0, .line = 4, .outcome = COW_OUT_NONE },
	{ .statement = 1, .line = 5, .outcome = COW_OUT_ALLOC, .decisions = 1 },
	{ .statement = 2, .line = 6, .outcome = COW_OUT_SHARE, .first_decision = 1,
	  .decisions = 1 },
	{ .statement = 3, .line = 7, .outcome = COW_OUT_HIT, .has_value = true, .value = 0xff,
	  .failed = true },
	{ .statement = 3, .line = 7, .outcome = COW_OUT_ERRNO, .error = EFAULT },
};

static struct report_failure failures[] = {
	{ 7, "examples/cve-2020-29374.cow:7: C: read a == 0x01: expected 0x1, found 0xff",
	  "C: read a == 0x01", "0x1", "0xff" },
	{ 9, "examples/cve-2020-29374.cow:9: verdict ok: expected ok, found leak stale-pin",
	  "verdict ok", "ok", "leak stale-pin" },
};

static struct report_finding findings[] = {
	{ COW_VERDICT(LEAK), 7, "process C saw at a what process P wrote" },
	{ COW_VERDICT(STALE_PIN), 8, "the pin x and its owner's page a are two frames" },
	{ 0, 5, "process P changed the protection of a, which it has pinned" },
};

static struct cow_report held_leak = {
	.scenario = &first_scenario, .policy = &mapcount, .status = COW_RUN_HELD, .audited = true,
	.verdict = COW_VERDICT(LEAK), .findings = findings, .finding_count = 1, .events = 8,
	.counters = { [COW_COUNT_REUSES] = 1, [COW_COUNT_UNSAFE_REUSES] = 1,
		      [COW_COUNT_FAULTS] = 3 },
};

static struct cow_report held_ok = {
	.scenario = &first_scenario, .policy = &exclusive, .status = COW_RUN_HELD, .audited = true,
	.counters = { [COW_COUNT_COPIES] = 1, [COW_COUNT_EARLY_COPIES] = 2,
		      [COW_COUNT_UNSHARES] = 4, [COW_COUNT_NEEDLESS_COPIES] = 2,
		      [COW_COUNT_FAULTS] = 3 },
	.events = 8,
};

static struct cow_report failed = {
	.scenario = &first_scenario, .policy = &composed, .status = COW_RUN_FAILED,
	.audited = true, .verdict = COW_VERDICT(LEAK) | COW_VERDICT(STALE_PIN),
	.findings = findings, .finding_count = 3, .failures = failures, .failure_count = 2,
	.failures_lost = 7, .events = 9,
	.counters = { [COW_COUNT_COPIES] = 12, [COW_COUNT_NEEDLESS_COPIES] = 3,
		      [COW_COUNT_FAULTS] = UINT64_MAX },
};

static struct cow_report skipped = {
	.scenario = &odd_scenario, .policy = &mapcount, .status = COW_RUN_SKIPPED,
	.reason = "the file does not speak of mapcount",
};

static struct cow_report not_modelled = {
	.scenario = &odd_scenario, .policy = &exclusive, .status = COW_RUN_NOT_MODELLED,
	.reason = "odd.cow:3: ksm", .audited = true,
};

static struct cow_report fault = {
	.scenario = &odd_scenario, .policy = &composed, .status = COW_RUN_FAULT,
	.reason = "odd.cow:4: frame 7: mapcount 2, and 1 PTE maps it", .audited = true,
};

static struct cow_report unaudited = {
	.scenario = &odd_scenario, .policy = &exclusive, .status = COW_RUN_HELD,
	.counters = { [COW_COUNT_COPIES] = 2 },
};

static struct cow_report explained;

static cow_report *const all[] = { &held_leak, &held_ok, &failed,
				   &skipped, &not_modelled, &fault };
enum { ALL = 6 };

static int set_up(void **state)
{
	(void)state;
	/* every counter, so that the block needs several lines */
	explained = failed;
	explained.steps = steps;
	explained.step_count = 5;
	explained.steps_lost = 3;
	explained.explained = true;
	explained.decisions = decisions;
	explained.decision_count = 2;
	explained.decisions_lost = 1;
	for (unsigned i = 0; i < COW_COUNTER_COUNT; i++)
		explained.counters[i] = 100 + i;
	return 0;
}

/* ---------------------------------------------------------------- */

static void check_reports(cow_report *const *reports, size_t count, enum cow_format format,
			  const char *golden)
{
	struct text *text = text_new();

	assert_int_equal(cow_reports_write(reports, count, format, text_sink, text), 0);
	assert_golden(text, golden);
	free(text);
}

static void check_matrix(cow_report *const *reports, size_t count, enum cow_format format,
			 const char *golden)
{
	struct text *text = text_new();

	assert_int_equal(cow_matrix_write(reports, count, format, text_sink, text), 0);
	assert_golden(text, golden);
	free(text);
}

static void test_text_short(void **state)
{
	cow_report *const reports[] = { &held_leak, &held_ok, &failed,    &skipped,
					&not_modelled, &fault, &unaudited };

	(void)state;
	check_reports(reports, 7, COW_FORMAT_TEXT, "report-short.txt");
}

static void test_text_explained(void **state)
{
	cow_report *const reports[] = { &explained, &skipped };

	(void)state;
	check_reports(reports, 2, COW_FORMAT_TEXT, "report-explained.txt");
}

static void test_text_of_nothing(void **state)
{
	struct text *text = text_new();

	(void)state;
	assert_int_equal(cow_reports_write(NULL, 0, COW_FORMAT_TEXT, text_sink, text), 0);
	assert_string_equal(text->bytes, "0 runs: 0 held, 0 failed, 0 skipped, 0 not modelled\n");
	free(text);
}

static void test_json(void **state)
{
	cow_report *const reports[] = { &held_leak, &explained, &fault };

	(void)state;
	check_reports(reports, 3, COW_FORMAT_JSON, "report.json");
}

static void test_csv(void **state)
{
	(void)state;
	check_reports(all, ALL, COW_FORMAT_CSV, "report.csv");
}

static void test_matrix(void **state)
{
	(void)state;
	check_matrix(all, ALL, COW_FORMAT_TEXT, "matrix.txt");
	check_matrix(all, ALL, COW_FORMAT_JSON, "matrix.json");
	check_matrix(all, ALL, COW_FORMAT_CSV, "matrix.csv");
}

/* A cell that nobody ran stays empty, and of two runs in one cell the one that failed is shown. */
static void test_matrix_with_holes(void **state)
{
	cow_report again = failed, hole = unaudited;
	cow_report *const reports[] = { &held_leak, &held_ok, &again, &hole };

	(void)state;
	again.policy = &exclusive;
	hole.policy = &composed;
	check_matrix(reports, 4, COW_FORMAT_TEXT, "matrix-holes.txt");
}

static void test_matrix_of_nothing(void **state)
{
	struct text *text = text_new();

	(void)state;
	assert_int_equal(cow_matrix_write(NULL, 0, COW_FORMAT_TEXT, text_sink, text), 0);
	assert_string_equal(text->bytes, "0 runs: 0 held, 0 failed, 0 skipped, 0 not modelled\n");
	free(text);
}

/* More policies than fit side by side, and a scenario with a name that is too long for a row. */
static void test_matrix_in_bands(void **state)
{
	enum { POLICIES = 20 };
	static struct cow_scenario wide = {
		.name = "a/very-long-name-of-a-scenario-that-nobody-would-give-\xc3\xa9.cow",
		.title = "wide",
	};
	struct cow_policy policies[POLICIES];
	struct cow_report runs[POLICIES];
	cow_report *reports[POLICIES];
	char names[POLICIES][16];

	(void)state;
	for (unsigned i = 0; i < POLICIES; i++) {
		snprintf(names[i], sizeof(names[i]), "policy-%u", i);
		policies[i] = (struct cow_policy){ .name = names[i] };
		runs[i] = held_leak;
		runs[i].scenario = &wide;
		runs[i].policy = &policies[i];
		runs[i].counters[COW_COUNT_COPIES] = 1000 + i;
		runs[i].counters[COW_COUNT_NEEDLESS_COPIES] = i;
		reports[i] = &runs[i];
	}
	check_matrix(reports, POLICIES, COW_FORMAT_TEXT, "matrix-bands.txt");
}

/* ---------------------------------------------------------------- */
/* Errors */

static int write_reports(enum cow_format format, struct text *text)
{
	cow_report *const reports[] = { &explained, &failed, &held_leak, &held_ok, &fault };

	return cow_reports_write(reports, 5, format, text_sink, text);
}

static int write_matrix(enum cow_format format, struct text *text)
{
	static cow_report *many[600];

	for (size_t i = 0; i < 600; i++)
		many[i] = all[i % ALL];
	return cow_matrix_write(many, 600, format, text_sink, text);
}

static int write_list(enum cow_format format, struct text *text)
{
	cow_policies *policies;
	int error;

	assert_int_equal(cow_policies_parse("all", NULL, NULL, &policies), 0);
	error = cow_policies_write(policies, format, text_sink, text);
	cow_policies_free(policies);
	return error;
}

static int write_table(enum cow_format format, struct text *text)
{
	return cow_policy_table_write(cow_policy_find("exclusive"), format, text_sink, text);
}

/* A sink that fails at any call: its error comes back, and it is not called again. */
static void check_sink_errors(int (*writer)(enum cow_format format, struct text *text))
{
	struct text *text = text_new();

	for (int format = 0; format <= COW_FORMAT_CSV; format++) {
		size_t calls;

		memset(text, 0, sizeof(*text));
		assert_int_equal(writer((enum cow_format)format, text), 0);
		calls = text->calls;
		assert_true(calls > 0);
		for (size_t i = 1; i <= calls; i += getenv("COWLAB_QUICK") ? 7 : 1) {
			memset(text, 0, sizeof(*text));
			text->fail_at = i;
			assert_int_equal(writer((enum cow_format)format, text), -ENOSPC);
			assert_false(text->after);
		}
	}
	/* no such form */
	assert_int_equal(writer((enum cow_format)3, text), -EINVAL);
	free(text);
}

static void test_sink_errors(void **state)
{
	(void)state;
	check_sink_errors(write_reports);
	check_sink_errors(write_matrix);
	check_sink_errors(write_list);
	check_sink_errors(write_table);
}

static void test_bad_arguments(void **state)
{
	struct text *text = text_new();

	(void)state;
	assert_int_equal(cow_reports_write(NULL, 1, COW_FORMAT_TEXT, text_sink, text), -EINVAL);
	assert_int_equal(cow_matrix_write(NULL, 1, COW_FORMAT_TEXT, text_sink, text), -EINVAL);
	assert_int_equal(cow_reports_write(all, ALL, COW_FORMAT_TEXT, NULL, NULL), -EINVAL);
	assert_int_equal(cow_policies_write(NULL, COW_FORMAT_TEXT, text_sink, text), -EINVAL);
	assert_int_equal(cow_policy_table_write(NULL, COW_FORMAT_TEXT, text_sink, text), -EINVAL);
	assert_int_equal(cow_policy_table_write(&mapcount, COW_FORMAT_TEXT, text_sink, text),
			 -EINVAL);
	assert_int_equal(text->calls, 0);
	free(text);
}

/* The matrix is the one that allocates: where that fails, nothing is written and nothing lost. */
static void test_matrix_without_memory(void **state)
{
	struct text *text = text_new();
	struct failing failing = { 0 };
	cow_report first = held_leak;
	cow_report *reports[ALL];
	size_t allocations = 0;
	int error;

	(void)state;
	memcpy(reports, all, sizeof(reports));
	reports[0] = &first;
	first.allocator = failing_allocator(&failing);
	do {
		failing_after(&failing, allocations);
		text->size = 0;
		error = cow_matrix_write(reports, ALL, COW_FORMAT_TEXT, text_sink, text);
		assert_int_equal(failing.live, 0);
		assert_true(!error || (error == -ENOMEM && text->size == 0));
	} while (error && ++allocations < 100);
	assert_int_equal(allocations, 4);
	assert_golden(text, "matrix.txt");
	free(text);
}

/* ---------------------------------------------------------------- */
/* The writer */

static void check_quoting(size_t (*width)(const char *), const char *text, const char *shown,
			  const char *json, const char *csv)
{
	struct text *written = text_new();
	struct out out;

	out_init(&out, text_sink, written);
	assert_int_equal(out_text(&out, text), width(text));
	assert_int_equal(out_end(&out), 0);
	assert_string_equal(written->bytes, shown);

	memset(written, 0, sizeof(*written));
	out_json(&out, text);
	assert_int_equal(out_end(&out), 0);
	assert_string_equal(written->bytes, json);

	memset(written, 0, sizeof(*written));
	out_csv(&out, text);
	assert_int_equal(out_end(&out), 0);
	assert_string_equal(written->bytes, csv);
	free(written);
}

static void test_quoting(void **state)
{
	(void)state;
	check_quoting(text_width, "", "", "\"\"", "");
	check_quoting(text_width, "plain", "plain", "\"plain\"", "plain");
	check_quoting(text_width, "a,b", "a,b", "\"a,b\"", "\"a,b\"");
	check_quoting(text_width, "\"\\", "\"\\", "\"\\\"\\\\\"", "\"\"\"\\\"");
	check_quoting(text_width, "\b\f\n\r", "\\x08\\x0c\\x0a\\x0d", "\"\\b\\f\\n\\r\"",
		      "\"\b\f\n\r\"");
	check_quoting(text_width, "\t\x1b\x7f", " \\x1b\\x7f", "\"\\t\\u001b\\u007f\"",
		      "\t\x1b\x7f");
	/* two, three and four bytes */
	check_quoting(text_width, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x84",
		      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x84",
		      "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x84\"",
		      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x84");
	/* cut short, overlong, a surrogate, past the end of Unicode, a lone continuation */
	check_quoting(text_width, "\xe2\x82", "\\xe2\\x82", "\"\\ufffd\\ufffd\"", "\xe2\x82");
	check_quoting(text_width, "\xc0\x80", "\\xc0\\x80", "\"\\ufffd\\ufffd\"", "\xc0\x80");
	check_quoting(text_width, "\xe0\x80\x80", "\\xe0\\x80\\x80",
		      "\"\\ufffd\\ufffd\\ufffd\"", "\xe0\x80\x80");
	check_quoting(text_width, "\xed\xa0\x80", "\\xed\\xa0\\x80",
		      "\"\\ufffd\\ufffd\\ufffd\"", "\xed\xa0\x80");
	check_quoting(text_width, "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
		      "\"\\ufffd\\ufffd\\ufffd\\ufffd\"", "\xf4\x90\x80\x80");
	check_quoting(text_width, "\xf0\x80\x80\x80", "\\xf0\\x80\\x80\\x80",
		      "\"\\ufffd\\ufffd\\ufffd\\ufffd\"", "\xf0\x80\x80\x80");
	/* a C1 control moves a terminal, and is a character to JSON */
	check_quoting(text_width, "\xc2\x9b", "\\xc2\\x9b", "\"\xc2\x9b\"", "\xc2\x9b");
}

static void test_long_format(void **state)
{
	struct text *text = text_new();
	struct out out;

	(void)state;
	out_init(&out, text_sink, text);
	out_fmt(&out, "%0511d", 0);
	assert_int_equal(out_end(&out), 0);
	assert_int_equal(text->size, 511);
	out_fmt(&out, "%0512d", 0);
	assert_int_equal(out_end(&out), -EMSGSIZE);
	free(text);
}

/* Pieces of any size come out whole and in order. */
static void test_buffer(void **state)
{
	struct text *text = text_new();
	struct out out;
	char piece[OUT_BUFFER * 2 + 3];
	size_t sizes[] = { 1, OUT_BUFFER - 1, OUT_BUFFER, 7, sizeof(piece), 0, 5 }, total = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = (char)(i % 251);
	out_init(&out, text_sink, text);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		out_bytes(&out, piece, sizes[i]);
	assert_int_equal(out_end(&out), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_memory_equal(text->bytes + total, piece, sizes[i]);
		total += sizes[i];
	}
	assert_int_equal(text->size, total);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_short),
		cmocka_unit_test(test_text_explained),
		cmocka_unit_test(test_text_of_nothing),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_matrix_with_holes),
		cmocka_unit_test(test_matrix_of_nothing),
		cmocka_unit_test(test_matrix_in_bands),
		cmocka_unit_test(test_sink_errors),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_matrix_without_memory),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_long_format),
		cmocka_unit_test(test_buffer),
	};

	return cmocka_run_group_tests_name("report", tests, set_up, NULL);
}
