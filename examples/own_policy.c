/* SPDX-License-Identifier: MIT
 *
 * A policy of one's own in one struct, judged beside the built-in ones.
 *
 * `page-count` copies a page that the process itself has pinned, and the device is left with the
 * old one.  The idea here: a pin counts 1024, so take pins off the count, and reuse the page if
 * nothing but our mapping is left.  The matrix shows the price: a count does not say *whose* pin
 * it is, so a child's pin is taken off too, and reads what the parent writes.
 *
 * Exits with 0 if the audit says just that.  Read watch_decisions.c next.
 */
#include <cowlab.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PIN = 1024, SCENARIOS = 3, POLICIES = 4 };

static const char *const names[SCENARIOS] = { "child-gets", "child-pins", "own-pin" };

static const char *const texts[SCENARIOS] = {
	"title   a child keeps a FOLL_GET reference over munmap (CVE-2020-29374)\n"
	"process P\n"
	"P: mmap a 1\n"
	"P: write a 0x01\n"
	"P: fork C\n"
	"C: get r a\n"
	"C: munmap a\n"
	"P: write a 0xff\n"
	"peek r\n",

	"title   the same with a FOLL_PIN reference\n"
	"process P\n"
	"P: mmap a 1\n"
	"P: write a 0x01\n"
	"P: fork C\n"
	"C: pin r a\n"
	"C: munmap a\n"
	"P: write a 0xff\n"
	"peek r\n",

	"title   a process loses its own pin to mprotect\n"
	"process P\n"
	"P: mmap a 1\n"
	"P: write a 0x01\n"
	"P: pin r a write\n"
	"P: mprotect a ro\n"
	"P: mprotect a rw\n"
	"P: write a 0x02\n"
	"peek r\n",
};

/* What the audit must find, policy by scenario. */
static const char *const policies[POLICIES] = { "mapcount", "page-count", "exclusive", "own-pins" };
static const unsigned expected[POLICIES][SCENARIOS] = {
	{ COW_VERDICT(LEAK), COW_VERDICT(LEAK), 0 },
	{ 0, 0, COW_VERDICT(STALE_PIN) },
	{ 0, 0, 0 },
	{ 0, COW_VERDICT(LEAK), 0 },
};

static const struct cow_rule foreign = { COW_ACT_COPY, 0, "foreign",
					 "KSM and zero pages are everybody's" };
static const struct cow_rule shared = { COW_ACT_COPY, 1, "shared",
					"pins aside, the count is more than our mapping" };
static const struct cow_rule alone = { COW_ACT_REUSE, 1, "alone",
				       "pins aside, the count is our mapping" };

static const struct cow_rule *decide_write(struct cow_view view)
{
	if (!view.anon || view.ksm || view.zero)
		return &foreign;
	return view.refcount % PIN == 1 ? &alone : &shared;
}

static int to_stdout(void *ctx, const void *bytes, size_t size)
{
	(void)ctx;
	return fwrite(bytes, 1, size, stdout) == size ? 0 : -EIO;
}

int main(void)
{
	cow_scenario *scenarios[SCENARIOS] = { NULL };
	cow_report *reports[POLICIES * SCENARIOS] = { NULL };
	struct cow_policy own;
	size_t count = 0;
	int error = 0, wrong = 0;

	/* Everything but the write fault as page-count decides it. */
	cow_policy_init(&own, cow_policy_find("page-count"));
	own.name = "own-pins";
	own.summary = "page-count that takes pins off the count";
	own.kernels = "none";
	own.decide[COW_DECIDE_WRITE] = decide_write;

	for (size_t s = 0; s < SCENARIOS && !error; s++)
		error = cow_scenario_parse(names[s], texts[s], strlen(texts[s]), NULL,
					   &scenarios[s]);

	for (size_t p = 0; p < POLICIES && !error; p++) {
		const struct cow_policy *policy = cow_policy_find(policies[p]);

		for (size_t s = 0; s < SCENARIOS && !error; s++, count++) {
			error = cow_run(scenarios[s], policy ? policy : &own, NULL,
					&reports[count]);
			if (!error && cow_report_verdict(reports[count]) != expected[p][s])
				wrong++;
		}
	}
	if (!error)
		error = cow_matrix_write(reports, count, COW_FORMAT_TEXT, to_stdout, NULL);
	if (error)
		fprintf(stderr, "own_policy: %s\n", cow_strerror(error));
	if (wrong)
		fprintf(stderr, "own_policy: %d verdicts are not as expected\n", wrong);

	for (size_t i = 0; i < POLICIES * SCENARIOS; i++)
		cow_report_free(reports[i]);
	for (size_t s = 0; s < SCENARIOS; s++)
		cow_scenario_free(scenarios[s]);
	return error || wrong;
}
